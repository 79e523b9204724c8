"""Merge tables and write them: under a lock, as a stream, renamed when they are whole."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from one_cache.errors import StoreError
from one_cache.progress import progress
from one_cache.tables import shape
from one_cache.tables.draft import DRAFTS, Draft
from one_cache.tables.engine import Engine, explained
from one_cache.tables.files import SUFFIX, Stamp, TableFile, fingerprint, open_file
from one_cache.tables.locks import locked, sweep
from one_cache.tables.memory import Row, as_arrow
from one_cache.tables.schema import layout_of, quoted
from one_cache.tables.streams import merged

_ATTEMPTS = 10


@dataclass(frozen=True)
class Wanted:
    """What is to be written as one table.

    Attributes
    ----------
    name : str
        Kind of table.
    rows : sequence of dict, pyarrow.Table, or callable
        New rows; they win over those of the same key in the files. What is called gives a
        ``pyarrow.RecordBatchReader``, anew each time.
    opened : TableFile or None
        A table whose rows win over those that lie at the target.
    meta : mapping
        For ``one_metadata``; it wins over what the files say.
    merge : bool
        Whether the rows at the target stay.
    keep : tuple of str
        Columns whose values at the target stay, where the new rows are of the same key and
        `merge` is false; so do all columns that the new rows lack.
    """

    name: str
    rows: list[Row] | Any
    opened: TableFile | None
    meta: Mapping[str, Any]
    merge: bool = True
    keep: tuple[str, ...] = ()


def save(folder: Path, wanted: Sequence[Wanted], *, silent: bool = False) -> dict[str, Path]:
    """Write tables into a folder.

    Parameters
    ----------
    folder : pathlib.Path
        Made when it is missing.
    wanted : sequence of Wanted
        The tables.
    silent : bool
        No progress bar.

    Returns
    -------
    dict of str to pathlib.Path
        The files.

    Raises
    ------
    StoreError
        The disk refuses or is full; what was there before is still there.
    TableError
        A table that was to be merged cannot be read; it is left as it is.
    """
    hidden = folder / shape.HIDDEN
    written = {}
    with locked(hidden / "tables.lock") as alone:
        if alone:
            sweep(hidden, DRAFTS)
        for one in wanted:
            try:
                written[one.name] = _write(folder, one, silent=silent)
            except OSError as error:
                if isinstance(error, StoreError):
                    raise
                text = f"{folder / one.name}{SUFFIX}: cannot be written: {error}"
                raise StoreError(text, error.errno) from error
    return written


def _write(folder: Path, wanted: Wanted, *, silent: bool) -> Path:
    target = folder / f"{wanted.name}{SUFFIX}"
    for _ in range(_ATTEMPTS):
        before = Stamp.of(target) if target.exists() else None
        files = _files(target if before and wanted.merge else None, wanted.opened)
        total = 2 * sum(file.count for file in files)
        with (
            progress(total, "row", f"Saving {target.name}", silent) as bar,
            Draft(folder / shape.HIDDEN, wanted.name, bar) as draft,
            explained(f"{target}: cannot be written"),
        ):
            count, meta, kinds = _merge(draft, wanted, files, _kept(target, wanted))
            # where locks lie, another process may have written meanwhile: merge again
            if wanted.merge and before != (Stamp.of(target) if target.exists() else None):
                continue
            mark, stamp = fingerprint(draft.table), Stamp.of(draft.table)
            columns = {name: quoted(name) for name in kinds}
            file = TableFile(wanted.name, target, target, stamp, meta, kinds, columns, count, True)
            place = shape.beside(folder)
            place.mkdir(parents=True, exist_ok=True)
            shape.publish(draft, place, mark, file, target)
            return target
    raise StoreError(f"{target}: changed {_ATTEMPTS} times while it was being merged; try again")


def _files(target: Path | None, opened: TableFile | None) -> list[TableFile]:
    """Give the files to merge, the one whose rows win first."""
    files = [opened] if opened else []
    if target is not None:
        # a copy in shape is sorted already
        found = shape.find(target, [shape.beside(target.parent)])
        lying = found[0] if found else open_file(Engine(), target)
        if lying is not None and opened is not None and opened.path == lying.path:
            return [lying]
        if lying is not None:
            files.append(lying)
    return files


def _arrow(name: str, rows: Any) -> Any:
    """Give new rows as a source of Arrow batches."""
    if callable(rows):
        return rows()
    if not isinstance(rows, Sequence):
        return rows
    return as_arrow(name, rows or [dict.fromkeys(layout_of(name).columns)]).slice(0, len(rows))


def _kept(target: Path, wanted: Wanted) -> TableFile | None:
    """Give the table at the target when only some of its columns stay."""
    return (
        open_file(Engine(), target)
        if wanted.keep and not wanted.merge and target.exists()
        else None
    )


def _merge(
    draft: Draft, wanted: Wanted, files: Sequence[TableFile], kept: TableFile | None
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Write all rows; of two with one key, that of the earlier source."""
    fresh = _arrow(wanted.name, wanted.rows) if wanted.rows or not files else None
    kinds = _all_kinds(wanted.name, fresh, [*files, kept] if kept else files)
    key = layout_of(wanted.name, list(kinds)).key
    values = (kept, wanted.keep) if kept else None
    streams = [draft.stream(fresh, kinds, key, values)] if fresh is not None else []
    streams += [draft.stream(file, kinds, () if file.shaped else key) for file in files]
    batches: Iterator[Any] = iter(streams[-1])
    for upper in reversed(streams[:-1]):
        batches = merged(iter(upper), batches, key)
    meta = _all_meta(wanted.meta, [file.meta for file in files])
    return draft.write(batches, streams[0].schema, meta, table=True), meta, kinds


def _all_kinds(name: str, fresh: Any, files: Sequence[TableFile]) -> dict[str, str]:
    """Give the columns that the sources have together, and types that hold the values of all."""
    parts = [f"({file.select})" for file in files]
    with Engine().cursor() as cursor:
        if fresh is not None:
            cursor.register("fresh", fresh.schema.empty_table())
            parts.append("(SELECT * FROM fresh)")
        sql = f"DESCRIBE SELECT * FROM ({' UNION ALL BY NAME '.join(parts)})"
        found = {row[0]: row[1] for row in cursor.execute(sql).fetchall()}
    layout = layout_of(name, list(found))
    return shape.kinds_of(name, {**layout.columns, **found})


def _listed(origin: Any) -> list[str]:
    return [origin] if isinstance(origin, str) else list(origin or ())


def _all_meta(ours: Mapping[str, Any], theirs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join what the sources say of themselves: the first date, all origins."""
    now = dt.datetime.now().isoformat(sep=" ", timespec="minutes")
    merged_meta: dict[str, Any] = {}
    for meta in (*reversed(theirs), ours):
        merged_meta.update(meta)
    sources = (ours, *theirs)
    dates = [str(one["date_created"]) for one in sources if one.get("date_created")]
    origins = {origin for meta in sources for origin in _listed(meta.get("origin"))}
    return {
        **merged_meta,
        "date_created": min(dates, default=now),
        "origin": sorted(origins),
        "date_modified": now,
    }
