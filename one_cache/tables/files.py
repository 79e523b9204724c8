"""One access table as it lies on disk: what it says of itself, and how it is read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache import hashes
from one_cache.errors import TableCorrupt, TableForeign
from one_cache.tables.engine import explained
from one_cache.tables.schema import (
    LAYOUTS,
    MARK,
    check_known,
    check_meta,
    layout_of,
    only,
    parquet_source,
    quoted,
    reading,
)

if TYPE_CHECKING:
    from one_cache.tables.engine import Engine

SUFFIX = ".pqt"


_CHUNK = 1 << 20  # bytes
_TAIL = 65_536  # bytes; holds the end of the footer, where two writings of a table differ


@dataclass(frozen=True)
class Stamp:
    """What tells one version of a file from another without reading it."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Take the stamp of a file."""
        stat = os.stat(path)
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ino)


@dataclass(frozen=True)
class TableFile:
    """An access table on disk.

    Attributes
    ----------
    name : str
        Kind of table, the stem of the file.
    path : pathlib.Path
        The file.
    data : pathlib.Path
        What is read: the file, or the copy that was brought into shape.
    stamp : Stamp
        Of the file when it was opened.
    meta : mapping
        What it says of itself under ``one_metadata``.
    kinds : mapping of str to str
        Column and its SQL type.
    columns : mapping of str to str
        Column and the SQL that reads it.
    count : int
        Number of rows.
    shaped : bool
        Whether it is sorted by key, in small row groups, in our form.
    """

    name: str
    path: Path
    data: Path
    stamp: Stamp
    meta: Mapping[str, Any]
    kinds: Mapping[str, str]
    columns: Mapping[str, str]
    count: int
    shaped: bool

    @classmethod
    def known(cls, path: Path, data: Path, said: Mapping[str, Any]) -> TableFile:
        """Take what was said of a table when it was brought into shape.

        Parameters
        ----------
        path, data : pathlib.Path
            See the attributes.
        said : mapping
            Footer of its file of rows.

        Returns
        -------
        TableFile
        """
        return cls(
            path.stem,
            path,
            data,
            Stamp.of(path),
            said["meta"],
            said["kinds_sql"],
            said["columns"],
            said["count"],
            True,
        )

    @property
    def is_plain(self) -> bool:
        """Whether its columns are read as they lie there, in the order of the key."""
        return self.shaped and all(sql == quoted(name) for name, sql in self.columns.items())

    @property
    def select(self) -> str:
        """SQL that reads the whole table."""
        items = ", ".join(f"{sql} AS {quoted(name)}" for name, sql in self.columns.items())
        return f"SELECT {items} FROM {parquet_source(self.data)}"

    def read(self) -> Any:
        """Read the file as it is, as a ``pyarrow.Table``.

        Raises
        ------
        TableCorrupt
            It cannot be read.
        """
        import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
        from pyarrow import parquet

        try:
            with parquet.ParquetFile(self.data) as file:
                # what pandas would make of it does not concern those who ask
                return file.read().replace_schema_metadata(None)
        except (pa.ArrowInvalid, OSError) as error:
            raise TableCorrupt(f"{self.data}: cannot be read as Parquet: {error}") from error


def hash_of(path: Path | str, algorithm: str = "sha256") -> str:
    """Hash a file.

    Parameters
    ----------
    path : path-like
        The file.
    algorithm : str
        As :func:`one_cache.hashes.new` takes it.

    Returns
    -------
    str
        Hex digest.
    """
    digest = hashes.new(algorithm)
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def fingerprint(path: Path) -> str:
    """Name this version of a file: of its size, time and the end of its footer.

    Parameters
    ----------
    path : pathlib.Path
        A Parquet file.

    Returns
    -------
    str
        16 hex digits.
    """
    with path.open("rb") as file:
        stat = os.fstat(file.fileno())
        file.seek(max(0, stat.st_size - _TAIL))
        tail = file.read()
    known = f"{stat.st_size}:{stat.st_mtime_ns}:".encode()
    return hashlib.blake2b(known + tail, digest_size=8).hexdigest()


def _metadata(engine: Engine, path: Path) -> tuple[dict[str, Any] | None, int | None]:
    """Read ``one_metadata`` and the layout in which this package wrote, if it did."""
    _, rows = engine.ask(
        "SELECT key, value FROM parquet_kv_metadata(?) WHERE key IN ('one_metadata', ?)",
        [only(path), MARK],
        what=f"{path}: cannot be read as Parquet",
    )
    found = {bytes(key).decode(): bytes(value) for key, value in rows}
    try:
        meta = json.loads(found["one_metadata"]) if "one_metadata" in found else None
        mark = json.loads(found[MARK]) if MARK in found else {}
        if not isinstance(meta, (dict, type(None))):
            raise ValueError(f"one_metadata is {meta!r}")
        return meta, int(mark["layout"]) if mark else None
    except (ValueError, TypeError, KeyError) as error:
        raise TableCorrupt(f"{path}: its metadata are not what they should be: {error}") from error


def _is_sorted(path: Path, key: Sequence[str]) -> bool:
    # heavy, and needed only where no file of rows says what the table is
    import pyarrow as pa

    from one_cache.tables.parquet import is_sorted

    try:
        return is_sorted(path, key)
    except (pa.ArrowException, OSError) as error:
        raise TableCorrupt(f"{path}: cannot be read as Parquet: {error}") from error


def open_file(engine: Engine, path: Path) -> TableFile | None:
    """Look at a Parquet file.

    Parameters
    ----------
    engine : Engine
        Reads it.
    path : pathlib.Path
        The file.

    Returns
    -------
    TableFile or None
        None when it does not say that it is a table, and is not called as one.

    Raises
    ------
    TableCorrupt
        It cannot be read.
    TableForeign
        It is called ``sessions.pqt`` or ``datasets.pqt`` and is something else, a folder even.
    TableColumnMissing
        It lacks a column without which it is no such table.
    TableTooNew
        A later version wrote it.
    """
    name, where = path.stem, str(path)
    if not path.is_file():
        raise TableForeign(f"{where}: no file, or a link to none")
    stamp = Stamp.of(path)
    meta, layout = _metadata(engine, path)
    if meta is None and name not in LAYOUTS:
        return None
    check_meta(meta or {}, layout, where)
    source = parquet_source(path)
    with engine.cursor() as cursor, explained(f"{path}: cannot be read as Parquet"):
        described = cursor.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
        counted = cursor.execute(f"SELECT count(*) FROM {source}").fetchone()
    types = {row[0]: row[1] for row in described}
    if meta is None:
        check_known(name, types, where)
    shaped = layout is not None and _is_sorted(path, layout_of(name, list(types)).key)
    columns = reading(name, types, shaped=shaped, where=where)
    count = counted[0] if counted else 0
    file = TableFile(name, path, path, stamp, meta or {}, {}, columns, count, shaped=shaped)
    _, rows = engine.ask(f"DESCRIBE {file.select}", what=f"{path}: cannot be read as a table")
    return replace(file, kinds={row[0]: row[1] for row in rows})
