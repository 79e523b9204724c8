"""Rows of one table into a Parquet file, those that are unchanged from the file before."""

from __future__ import annotations

import datetime as dt
import io
import json
import re
import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from one_cache.datajoint.columns import Reading, arrow_type, as_column
from one_cache.datajoint.digests import Digests, ask_digests, bucket_of
from one_cache.datajoint.server import Server
from one_cache.mirrored import About
from one_cache.mirrored.about import BUCKET, FOLDER
from one_cache.progress import progress
from one_cache.records import File
from one_cache.store import Store
from one_cache.store.incoming import Incoming

_SAFE = re.compile(r"[^A-Za-z0-9_-]+")
_SOME = 0.5  # of all buckets: more than that, and all rows are asked for


@dataclass(frozen=True)
class Former:
    """The file of the last pull.

    Attributes
    ----------
    path : pathlib.Path
        Where it lies.
    file : File
        The same with size and hash.
    digests : Digests
        The state of its rows.
    """

    path: Path
    file: File
    digests: Digests

    @classmethod
    def find(cls, store: Store, file: File, about: About) -> Former | None:
        """Give the file, if its rows may be used again: it is right, and of the same columns."""
        from pyarrow import parquet  # type: ignore[import-untyped]  # no types

        from one_cache.errors import OneCacheError
        from one_cache.modes import FileState

        try:
            if store.check(file) is not FileState.GOOD:
                return None
            path = Path(store.path(file.path))
            if About.of_file(path) != about:
                return None
            return cls(path, file, Digests.of_metadata(parquet.read_schema(path).metadata))
        except (OneCacheError, KeyError, json.JSONDecodeError):
            # whatever it is: all rows are copied
            return None


@dataclass(frozen=True)
class Copied:
    """What became of a table.

    Attributes
    ----------
    file : File
        Holds its rows.
    rows : int
        How many there are.
    fetched : int
        How many of them came from the server this time.
    """

    file: File
    rows: int
    fetched: int


def copy_table(
    server: Server,
    store: Store,
    about: About,
    source: str,
    columns: Sequence[Reading],
    *,
    former: Former | None = None,
    silent: bool = False,
) -> Copied:
    """Copy a table, or what changed of it.

    Parameters
    ----------
    server : Server
        Where it is.
    store : Store
        Gets the file.
    about : About
        What it is.
    source : str
        SQL for the rows, to stand after FROM; they are called ``t``.
    columns : sequence of Reading
        How each column is read.
    former : Former, optional
        The file of the last pull.
    silent : bool
        No progress bar.

    Returns
    -------
    Copied
    """
    key = [one for one in columns if one.attribute.name in about.primary_key]
    digits = former.digests.digits if former else None
    now = ask_digests(server, source, key, columns, digits)
    changed = former.digests.changed(now) if former else set()
    if former is not None and not changed:
        with progress(now.rows, "row", about.class_name, silent) as bar:
            bar.update(now.rows)
        return Copied(former.file, now.rows, 0)
    if former is None or len(changed) > _SOME * max(len(now.buckets), 1):
        former, changed = None, set(now.buckets)
    sql = _select(server, source, key, columns, now.digits, changed if former else None)
    rows = _Rows(about, columns, now)
    with (
        store.incoming(File(_path(about))) as incoming,
        progress(now.rows, "row", about.class_name, silent) as bar,
        rows.writer(incoming) as writer,
    ):
        for batch in _kept(former, changed):
            bar.update(writer.write(batch))
        fetched = 0
        for piece in server.pieces(sql, now.widest):
            bar.update(writer.write(rows.batch(piece)))
            fetched += len(piece)
        writer.close()
        file = incoming.publish()
    return Copied(file, now.rows, fetched)


def _select(
    server: Server,
    source: str,
    key: Sequence[Reading],
    columns: Sequence[Reading],
    digits: int,
    buckets: Collection[str] | None,
) -> str:
    bucket = bucket_of(server, key, digits)
    items = ", ".join([*(one.sql for one in columns), bucket])
    listed = ", ".join(f"'{name}'" for name in sorted(buckets or ()))
    where = f" WHERE {bucket} IN ({listed or 'NULL'})" if buckets is not None else ""
    order = ", ".join(one.sql for one in key)
    return f"SELECT {items} FROM {source}{where}{f' ORDER BY {order}' if order else ''}"


def _path(about: About) -> str:
    """Name a new file: no two pulls write the same, so what is open stays as it is."""
    now = dt.datetime.now(dt.timezone.utc).strftime("%Y%m%dT%H%M%S")
    schema, table = (
        _SAFE.sub("_", name).strip("_") or "_" for name in (about.schema, about.table)
    )
    return f"{FOLDER}/{schema}/{table}-{now}-{secrets.token_hex(4)}.pqt"


def _kept(former: Former | None, changed: Collection[str]) -> Iterator[Any]:
    """Give the rows of the last pull that are still true."""
    if former is None:
        return
    import pyarrow as pa
    import pyarrow.compute as pc  # type: ignore[import-untyped]
    from pyarrow import parquet

    names = pa.array(sorted(changed), pa.string())
    with parquet.ParquetFile(former.path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            gone = pc.is_in(table[BUCKET].cast(pa.string()), value_set=names)
            yield table.filter(pc.invert(gone))


class _Rows:
    """Makes batches of rows, and the file that they go into.

    Parameters
    ----------
    about : About
        What the table is.
    columns : sequence of Reading
        How each column is read.
    digests : Digests
        The state of all rows.
    """

    def __init__(self, about: About, columns: Sequence[Reading], digests: Digests) -> None:
        import pyarrow as pa

        self._columns = columns
        fields = [pa.field(one.attribute.name, arrow_type(one.attribute.kind)) for one in columns]
        self._schema = pa.schema(
            [*fields, pa.field(BUCKET, pa.string())],
            metadata={**about.metadata(), **digests.metadata()},
        )

    def batch(self, rows: Sequence[Sequence[Any]]) -> Any:
        """Give rows of the server as a table."""
        import pyarrow as pa

        *values, buckets = zip(*rows, strict=True)
        arrays = [as_column(one, some) for one, some in zip(self._columns, values, strict=True)]
        return pa.table([*arrays, pa.array(buckets, pa.string())], schema=self._schema)

    def writer(self, incoming: Incoming) -> _Writer:
        """Open the file."""
        return _Writer(incoming, self._schema)


class _Writer:
    """A Parquet file on its way into the store; a context manager."""

    def __init__(self, incoming: Incoming, schema: Any) -> None:
        from pyarrow import parquet

        self._schema = schema
        self._file = parquet.ParquetWriter(_Sink(incoming), schema, compression="zstd")

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the end."""
        self._file.close()

    def write(self, table: Any) -> int:
        """Write rows; give how many."""
        if table.num_rows:
            self._file.write_table(table.cast(self._schema))
        return int(table.num_rows)


class _Sink(io.RawIOBase):
    """Writes into the store what a library writes into a file."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._incoming.position

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._incoming.write(piece)
        return len(piece)
