"""What lies in the folder of a cache, and what its tables and notes say should."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from one_cache.bundle.report import Problem
from one_cache.bundle.wish import RECORD
from one_cache.manifest import FILE_NAME
from one_cache.records import File, Session
from one_cache.store import Store
from one_cache.store.incoming import is_abandoned
from one_cache.store.notes import session_of
from one_cache.store.root import OWN
from one_cache.tables import Tables
from one_cache.tables.schema import LAYOUTS, quoted

_PINS = {"id", "path", "size", "hash"}
"""Columns of a table of another kind whose rows pin a file each."""

_AT_ONCE = 500  # sessions whose datasets are asked for together


@dataclass(frozen=True)
class Inventory:
    """What lies in the folder of a cache.

    Attributes
    ----------
    files : mapping of str to os.stat_result
        By path relative to the root. What the cache keeps for itself is left out: its notes,
        tables, manifest and lists.
    parts : mapping of str to os.stat_result
        Partial files.
    abandoned : frozenset of str
        Those among them whose writers are gone.
    at : float
        When it was looked at, s since 1970.
    """

    files: Mapping[str, os.stat_result]
    parts: Mapping[str, os.stat_result] = field(default_factory=dict)
    abandoned: frozenset[str] = frozenset()
    at: float = 0.0

    @classmethod
    def take(cls, root: Path, tables_dir: Path) -> Inventory:
        """Look at every file.

        Parameters
        ----------
        root, tables_dir : pathlib.Path
            Of the cache.

        Returns
        -------
        Inventory
        """
        at = time.time()
        files: dict[str, os.stat_result] = {}
        parts: dict[str, os.stat_result] = {}
        for folder, names, found in os.walk(root):
            names[:] = sorted(name for name in names if name != OWN)
            here = os.path.relpath(folder, root).replace(os.sep, "/")
            prefix = "" if here == "." else f"{here}/"
            own = Path(folder) in (root, tables_dir)
            for name in sorted(found):
                if own and is_own(name):
                    continue
                is_part = name.startswith(".") and name.endswith(".part")
                # one that was removed meanwhile, or a link to nowhere
                with contextlib.suppress(FileNotFoundError):
                    stats = os.stat(os.path.join(folder, name))
                    (parts if is_part else files)[prefix + name] = stats
        abandoned = frozenset(part for part in parts if is_abandoned(str(root / part)))
        return cls(files, parts, abandoned, at)

    def unfinished(self) -> list[Problem]:
        """Say what became of each partial file."""
        gone, here = "left by a process that is gone", "being written"
        return [
            Problem("unfinished", path, gone if path in self.abandoned else here)
            for path in self.parts
        ]

    def extra(self, known: Collection[str]) -> list[Problem]:
        """Name the files that are not among the known ones."""
        return [
            Problem("extra", path, "in no table, and not brought by this cache")
            for path in self.files
            if path not in known
        ]


def is_own(path: str) -> bool:
    """Tell whether a path is that of something which a cache keeps for itself.

    Parameters
    ----------
    path : str
        Relative to the folder of the files, or of the tables.

    Returns
    -------
    bool

    Examples
    --------
    >>> [is_own(path) for path in ("datasets.pqt", "manifest.json", "alf/_ibl_trials.table.pqt")]
    [True, True, False]
    """
    folder, _, name = path.rpartition("/")
    if folder:
        return path.startswith(f"{OWN}/")
    lists = ("_loaded_dataset_uuids", "_loaded_session_uuids")
    return (
        name.endswith(".pqt")
        or name in (FILE_NAME, RECORD)
        or (name.endswith(".csv") and any(one in name for one in lists))
    )


def files_of_tables(tables: Tables, folders: Collection[str] | None = None) -> Iterator[File]:
    """Give the files that the tables know, and that are on some server.

    Parameters
    ----------
    tables : Tables
        The tables.
    folders : collection of str, optional
        Only those of sessions in these folders, and those of no session.

    Yields
    ------
    File
    """
    rows = tables.rows("SELECT id, lab, subject, date, number FROM sessions")
    paths = {row.pop("id"): Session("", **row).path for row in rows}
    eids = iter([eid for eid, path in paths.items() if folders is None or path in folders])
    chosen = [""]
    while chosen:
        sql = (
            "SELECT id, eid, rel_path, file_size, hash FROM datasets "
            'WHERE eid IN (SELECT unnest(?::VARCHAR[])) AND "exists"'
        )
        for row in tables.rows(sql, [chosen]):
            place = f"{paths[row['eid']]}/" if row["eid"] else ""
            path = f"{place}{row['rel_path']}"
            yield File(path, row["file_size"], row["hash"] or None, id=row["id"])
        chosen = list(islice(eids, _AT_ONCE))
    yield from _files_of_others(tables)


def _files_of_others(tables: Tables) -> Iterator[File]:
    """Give the files that tables of other kinds pin: answers of servers, say."""
    for name in tables.names():
        if name in LAYOUTS or not _PINS.issubset(tables.columns(name)):
            continue
        sql = f"SELECT id, path, size, hash FROM {quoted(name)} WHERE path <> '' AND hash <> ''"
        for row in tables.rows(sql):
            yield File(row["path"], row["size"], row["hash"], id=str(row["id"]))


def expected(store: Store, tables: Tables, seen: Inventory, *, whole: bool) -> dict[str, File]:
    """Give the files that should be on disk.

    Parameters
    ----------
    store : Store
        What it noted was here once.
    tables : Tables
        What they know of the sessions that are here.
    seen : Inventory
        What is here.
    whole : bool
        Whether all that the tables know must be here: where there is no remote, this folder is
        the data's home.

    Returns
    -------
    dict of str to File
        By path; a file that no table knows must be as it was noted.
    """
    noted = {
        path: File(path, note.size, note.hashes[0])
        for path, note in store.all_notes()
        if not path.startswith(f"{OWN}/")
    }
    folders = None if whole else {session_of(path.rpartition("/")[0]) for path in seen.files}
    found = {}
    for file in files_of_tables(tables, folders):
        if whole or file.path in seen.files or file.path in noted:
            found[file.path] = file
    return {**noted, **found}
