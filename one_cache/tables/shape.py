"""Large tables in the form in which a question costs what its answer costs.

A large foreign table gets a sorted copy in small row groups, and every large table a file of its
rows (see ``rowfile``). Both lie in a hidden folder beside the table, or, where that folder cannot
be written, in the user's cache folder. Their names carry a fingerprint of the table, so what
belongs to an earlier version of it is never taken for this one.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from one_cache.errors import TableChanged, TableCorrupt
from one_cache.tables.engine import explained
from one_cache.tables.files import TableFile, fingerprint
from one_cache.tables.locks import locked, sweep
from one_cache.tables.rowfile import RowFile
from one_cache.tables.schema import QC_NAMES, layout_of, literal, quoted

if TYPE_CHECKING:
    from one_cache.tables.draft import Draft

logger = logging.getLogger(__name__)

HIDDEN = ".one_cache"


def beside(folder: Path) -> Path:
    """Say where what is made of the tables of a folder lies."""
    return folder / HIDDEN / "shaped"


def places_of(folder: Path, *, writable: bool) -> list[Path]:
    """Say where what is made of the tables of a folder may lie; the last place can be written.

    Parameters
    ----------
    folder : pathlib.Path
        Where the tables lie.
    writable : bool
        Whether something may be made in it.

    Returns
    -------
    list of pathlib.Path
    """
    if writable and os.access(folder, os.W_OK):
        return [beside(folder)]
    from platformdirs import user_cache_path

    own = hashlib.blake2b(str(folder.absolute()).encode(), digest_size=8).hexdigest()
    return [beside(folder), user_cache_path("one_cache") / "shaped" / own]


def find(path: Path, places: Sequence[Path]) -> tuple[TableFile, RowFile] | None:
    """Look for what was made of a table before.

    Parameters
    ----------
    path : pathlib.Path
        The table.
    places : sequence of pathlib.Path
        Where to look.

    Returns
    -------
    tuple of TableFile and RowFile, or None
        None when nothing was made of this version of the table.
    """
    mark = ""
    for place in places:
        if not (place.is_dir() and path.is_file()):
            continue
        mark = mark or fingerprint(path)
        with contextlib.suppress(FileNotFoundError, TableCorrupt):
            rows = RowFile(place / f"{path.stem}.{mark}.rows")
            copy = place / f"{path.stem}.{mark}.pqt"
            data = copy if rows.footer["copied"] else path
            if data.exists():
                return TableFile.known(path, data, rows.footer), rows
            rows.close()
    return None


def shaped(
    file: TableFile, places: Sequence[Path], *, silent: bool, large: int
) -> tuple[TableFile, RowFile] | None:
    """Bring a large table into shape, once; other processes wait and then find it.

    Parameters
    ----------
    file : TableFile
        The table as it is.
    places : sequence of pathlib.Path
        See :func:`places_of`.
    silent : bool
        No progress bar.
    large : int
        Number of rows from which on it is worth while.

    Returns
    -------
    tuple of TableFile and RowFile, or None
        None when it is small, when there is no place for it, or when it is replaced meanwhile: it
        is then asked as it is.
    """
    if file.count < large:
        return None
    place = places[-1]
    try:
        with locked(place / f"{file.name}.lock") as alone:
            found = find(file.path, places)
            if found is None:
                _make(file, place, alone=alone, silent=silent)
                found = find(file.path, [place])
            return found
    except (OSError, TableChanged) as error:
        logger.warning("%s is asked as it is, which is slower: %s", file.path, error)
        return None


def _make(file: TableFile, place: Path, *, alone: bool, silent: bool) -> None:
    from one_cache.progress import progress
    from one_cache.tables.draft import DRAFTS, Draft

    if alone:
        sweep(place, f".{file.name}{DRAFTS[1:]}")
    mark = fingerprint(file.path)
    kinds = kinds_of(file.name, file.kinds)
    order = () if file.shaped else layout_of(file.name, list(kinds)).key
    with (
        progress(2 * file.count, "row", f"Bringing {file.path.name} into shape", silent) as bar,
        Draft(place, file.name, bar) as draft,
        explained(f"{file.path}: cannot be brought into shape"),
    ):
        batches = draft.stream(file, kinds, order)
        draft.write(batches, batches.schema, file.meta, table=not file.shaped)
        if mark != fingerprint(file.path):
            raise TableChanged(f"{file.path}: replaced while it was brought into shape")
        copy = None if file.shaped else place / f"{file.name}.{mark}.pqt"
        publish(draft, place, mark, file, copy)


def publish(draft: Draft, place: Path, mark: str, file: TableFile, target: Path | None) -> None:
    """Put what was made of a table where :func:`find` looks, and remove what is older.

    Parameters
    ----------
    draft : Draft
        What was made.
    place : pathlib.Path
        Where to put it.
    mark : str
        Fingerprint of the table.
    file : TableFile
        The table.
    target : pathlib.Path or None
        Where to put the table that was written, if one was: its own place, or that of a copy.
    """
    columns = {name: quoted(name) for name in file.columns}
    said = {"meta": dict(file.meta), "kinds_sql": dict(file.kinds), "columns": columns}
    # all is on the disk before anything gets its name: a full one changes nothing
    draft.finish_rows({**said, "copied": target not in (None, file.path)})
    if target is not None:
        draft.publish_table(target)
    draft.publish_rows(place / f"{file.name}.{mark}.rows")
    for suffix in ("pqt", "rows"):
        for path in place.glob(f"{file.name}.*.{suffix}"):
            if path.name != f"{file.name}.{mark}.{suffix}":
                with contextlib.suppress(OSError):  # where open files cannot be removed
                    path.unlink()


def kinds_of(name: str, found: Mapping[str, str]) -> dict[str, str]:
    """Give the SQL types in which the columns of a table are written.

    Parameters
    ----------
    name : str
        Kind of table.
    found : mapping of str to str
        Its columns and their types.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> kinds_of("sessions", {"number": "BIGINT", "weight": "DOUBLE"})
    {'number': 'USMALLINT', 'weight': 'DOUBLE'}
    """
    layout = layout_of(name, list(found))
    kinds = {column: layout.columns.get(column, kind) for column, kind in found.items()}
    if "qc" in layout.columns:
        kinds["qc"] = f"ENUM ({', '.join(map(literal, QC_NAMES))})"
    return kinds
