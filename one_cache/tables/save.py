"""Merge tables and write them: under a lock, as a stream, beside their place, then renamed."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.errors import StoreError
from one_cache.tables.engine import Engine, connect, explained
from one_cache.tables.files import SUFFIX, Stamp, TableFile, open_file
from one_cache.tables.memory import Row, as_arrow
from one_cache.tables.parquet import write_parquet
from one_cache.tables.schema import layout_of, quoted

if TYPE_CHECKING:
    import duckdb

logger = logging.getLogger(__name__)

HIDDEN = ".one_cache"
MEMORY = "600MB"
_ATTEMPTS = 10


@dataclass(frozen=True)
class Draft:
    """What is to be written as one table.

    Attributes
    ----------
    name : str
        Kind of table.
    rows : sequence of dict
        New rows; they win over those of the same key in the files.
    opened : TableFile or None
        A table whose rows win over those that lie at the target.
    meta : mapping
        For ``one_metadata``; it wins over what the target says.
    merge : bool
        Whether the rows at the target stay.
    """

    name: str
    rows: Sequence[Row]
    opened: TableFile | None
    meta: Mapping[str, Any]
    merge: bool = True


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the tables of a folder.

    Parameters
    ----------
    folder : pathlib.Path
        Made when it is missing.
    """
    from filelock import FileLock

    hidden = folder / HIDDEN
    try:
        hidden.mkdir(parents=True, exist_ok=True)
        lock = FileLock(hidden / "tables.lock")
        lock.acquire()
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {error}", error.errno) from error
    try:
        yield
    finally:
        lock.release()


def write(folder: Path, draft: Draft) -> Path:
    """Write one table into a folder; call it under :func:`locked`.

    Parameters
    ----------
    folder : pathlib.Path
        Where.
    draft : Draft
        What.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    StoreError
        The disk refuses or is full; what was there before is still there.
    TableCorrupt
        A table that was to be merged cannot be read; it is left as it is.
    """
    target = folder / f"{draft.name}{SUFFIX}"
    for _ in range(_ATTEMPTS):
        before = Stamp.of(target) if target.exists() else None
        beside = folder / f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part"
        try:
            _write_beside(beside, target if before and draft.merge else None, draft)
            # where locks lie, another process may have written meanwhile: merge again
            if not draft.merge or before == (Stamp.of(target) if target.exists() else None):
                publish(beside, target)
                return target
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{target}: cannot be written: {error}", error.errno) from error
        finally:
            with contextlib.suppress(OSError):
                beside.unlink()
    raise StoreError(f"{target}: changed {_ATTEMPTS} times while it was being merged; try again")


def publish(beside: Path, target: Path) -> None:
    """Give a whole file its name, after its bytes are on the disk.

    Parameters
    ----------
    beside : pathlib.Path
        The file.
    target : pathlib.Path
        Its name to be, in the same folder.
    """
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(beside, target)
    with contextlib.suppress(OSError):  # not every system can sync a folder
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _write_beside(beside: Path, target: Path | None, draft: Draft) -> None:
    engine = Engine()
    try:
        lying = open_file(engine, target) if target else None
    finally:
        engine.close()
    spill = beside.with_suffix(".spill")
    connection = connect(memory=MEMORY, spill=spill)
    try:
        files = [one for one in (draft.opened, lying) if one is not None]
        if len(files) == 2 and files[0].path == files[1].path:
            files = files[1:]
        meta = _merged_meta(draft.meta, [one.meta for one in files])
        with explained(f"{beside.parent / draft.name}: cannot be written"):
            sql = _merged(connection, draft, files)
            write_parquet(connection, sql, beside, draft.name, meta)
    finally:
        connection.close()
        shutil.rmtree(spill, ignore_errors=True)


def _merged(
    connection: duckdb.DuckDBPyConnection, draft: Draft, files: Sequence[TableFile]
) -> str:
    """Give SQL for all rows; of two with one key, that of the earlier source."""
    sources = []
    if draft.rows:
        connection.register("fresh", as_arrow(draft.name, draft.rows))
        sources.append("SELECT * FROM fresh")
    sources += [one.select for one in files]
    columns = [
        *(draft.rows[0] if draft.rows else ()),
        *(name for one in files for name in one.columns),
    ]
    key = layout_of(draft.name, columns).key
    parts: list[str] = []
    for sql in sources:
        same = " AND ".join(f"earlier.{quoted(one)} = here.{quoted(one)}" for one in key)
        hidden = [
            f"NOT EXISTS (SELECT 1 FROM ({earlier}) AS earlier WHERE {same})"
            for earlier in sources[: len(parts)]
            if key
        ]
        where = f" WHERE {' AND '.join(hidden)}" if hidden else ""
        parts.append(f"SELECT * FROM ({sql}) AS here{where}")
    return " UNION ALL BY NAME ".join(parts)


def _listed(origin: Any) -> list[str]:
    return [origin] if isinstance(origin, str) else list(origin or ())


def _merged_meta(ours: Mapping[str, Any], theirs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join what the sources say of themselves: the first date, all origins."""
    now = dt.datetime.now().isoformat(sep=" ", timespec="minutes")
    merged: dict[str, Any] = {}
    for meta in (*reversed(theirs), ours):
        merged.update(meta)
    sources = (ours, *theirs)
    merged["date_created"] = min(
        (str(one["date_created"]) for one in sources if one.get("date_created")), default=now
    )
    merged["origin"] = sorted({one for meta in sources for one in _listed(meta.get("origin"))})
    merged["date_modified"] = now
    return merged
