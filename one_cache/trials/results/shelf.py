"""Rows and files of results: kept, found, still true or not, read and recorded.

``results.pqt`` has a row for each result and pins its file. Beside the file lies the row in JSON,
written last: by it other processes find what is not saved in the table yet.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Any

from one_cache import __version__
from one_cache.errors import HashMismatch, NotInCache, OneCacheError
from one_cache.hashes import parse
from one_cache.modes import FileState
from one_cache.recorder import Entry, moment
from one_cache.records import File
from one_cache.tables import Tables
from one_cache.trials.packing import pack, unpack

if TYPE_CHECKING:
    from one_cache.cache import Cache
    from one_cache.trials.results.task import Task

TABLE = "results"
FOLDER = "results"
_OTHERS = (
    "results",
    "queries",
    "mirrored",
)  # tables whose rows name a file that a function may have read


@dataclass(frozen=True)
class Kept:
    """One row of the table of results.

    Attributes
    ----------
    id : str
        Of function, arguments and key.
    function, key : str
        Names, for people.
    path, size, hash
        Of the file.
    inputs : str
        What the function read through the cache, JSON: kind, id, hash, whether it was the default
        revision, and the path.
    computed_at : str
        ISO time, UTC.
    versions : str
        Of the packages that it passed through, JSON.
    """

    id: str
    function: str
    key: str
    path: str
    size: int
    hash: str
    inputs: str
    computed_at: str
    versions: str

    @property
    def file(self) -> File:
        """The file that holds the result."""
        return File(self.path, size=self.size, hash=self.hash, id=self.id)

    @property
    def read(self) -> list[dict[str, Any]]:
        """What the function read."""
        found: list[dict[str, Any]] = json.loads(self.inputs)
        return found


class Shelf:
    """The results in a cache.

    Parameters
    ----------
    cache : Cache
        Whose tables, store, policy and recorder are used.
    """

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    # -- what is there ---------------------------------------------------------------------

    def serving(self, ids: Sequence[str]) -> dict[str, Kept]:
        """Give the results, among those of these ids, that still hold.

        Parameters
        ----------
        ids : sequence of str
            Of tasks.

        Returns
        -------
        dict of str to Kept
        """
        found = self.holding(self._rows(ids))
        rest = [one for one in ids if one not in found]
        if self.cache.policy().writes:
            beside = [kept for one in rest if (kept := self.adopted(one)) is not None]
            others = self.holding(beside)
            self.add(others.values())
            found.update(others)
        return found

    def holding(self, rows: Sequence[Kept]) -> dict[str, Kept]:
        """Give those whose inputs and file are what they were, by id."""
        read = [(kept, kept.read) for kept in rows]
        now = self._hashes_now([one for _, inputs in read for one in inputs])
        true = [kept for kept, inputs in read if all(_same(one, now) for one in inputs)]
        if not self.cache.policy().writes:
            # a file that is not right is an error when it is read: nothing can be computed here
            return {kept.id: kept for kept in true}
        states = self.cache.store.states([kept.file for kept in true])
        wrong = (FileState.MISSING, FileState.WRONG)
        return {
            kept.id: kept for kept, state in zip(true, states, strict=True) if state not in wrong
        }

    def adopted(self, id: str) -> Kept | None:
        """Give the row that lies beside a file, which another process may have written."""
        folder = self.cache.store.path(FOLDER)
        for place in folder.glob(f"*/{id[:2]}/{id}.json"):
            try:
                return Kept(**json.loads(place.read_text(encoding="utf-8")))
            except (FileNotFoundError, ValueError, TypeError):
                # removed, damaged or of another version: it is computed again
                continue
        return None

    def _rows(self, ids: Sequence[str]) -> list[Kept]:
        if TABLE not in self.cache.tables.names():
            return []
        columns = ", ".join(f'"{name}"' for name in Kept.__dataclass_fields__)
        sql = f"SELECT {columns} FROM {TABLE} WHERE id IN (SELECT unnest(?::VARCHAR[]))"
        return [Kept(**row) for row in self.cache.tables.rows(sql, [list(ids)])]

    def _hashes_now(self, inputs: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, bool]]:
        """Give hash of today, and whether it is no longer the default revision, by id."""
        by_id = {one["id"]: one for one in inputs}
        datasets = [one for one, read in by_id.items() if read["kind"] == "dataset"]
        now = {}
        for id, dataset in self.cache.datasets_now(datasets).items():
            digest = dataset.hash or self._hash_on_disk(by_id[id]["path"])
            now[id] = (digest, dataset.default_revision is False)
        others = [one for one in by_id if one not in datasets]
        for name in _OTHERS if others else ():
            if name in self.cache.tables.names():
                sql = f"SELECT id, hash FROM {name} WHERE id IN (SELECT unnest(?::VARCHAR[]))"
                rows = self.cache.tables.rows(sql, [others])
                now.update((row["id"], (row["hash"], False)) for row in rows)
        return now

    def _hash_on_disk(self, path: str) -> str:
        """Give the hash of a file of which the tables have none; empty where it is not here."""
        noted = self.cache.store.noted(path)
        if noted is not None and noted.hash:
            return noted.hash
        return self.cache.store.digest(path) if self.cache.store.exists(path) else ""

    # -- what is kept ----------------------------------------------------------------------

    def keep(self, task: Task, value: Any, entries: Iterable[Entry]) -> Kept:
        """Write a result: its file, then the row beside it.

        Parameters
        ----------
        task : Task
            What was computed.
        value : any
            What came of it.
        entries : iterable of Entry
            What was read.

        Returns
        -------
        Kept

        Raises
        ------
        InvalidArgument
            The value cannot be kept.
        """
        data, extension = pack(value)
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", task.name).strip("_") or "function"
        stem = f"{FOLDER}/{name}/{task.id[:2]}/{task.id}"
        digest = hashlib.sha256(data).hexdigest()
        # named by its content: whoever reads the former result may go on
        file = self.cache.store.write(f"{stem}-{digest[:12]}{extension}", data, algorithm="sha256")
        kept = Kept(
            task.id,
            task.name,
            task.label,
            file.path,
            len(data),
            str(file.hash),
            _inputs(entries),
            moment(),
            _versions(),
        )
        row = json.dumps(asdict(kept), ensure_ascii=False)
        self.cache.store.write(f"{stem}.json", row.encode())
        return kept

    def add(self, rows: Iterable[Kept]) -> None:
        """Add rows to the tables in memory."""
        self.cache.tables.add(TABLE, [asdict(kept) for kept in rows])

    def save(self, rows: Iterable[Kept]) -> None:
        """Merge rows into the table on disk; nothing else that is new is saved."""
        own = Tables.open(self.cache.tables_dir, silent=True)
        own.add(TABLE, [asdict(kept) for kept in rows])
        own.save()
        own.close()

    # -- what is read ----------------------------------------------------------------------

    def load(self, kept: Kept) -> Any:
        """Read a result, verified as the mode wants it, and record that it was read.

        Parameters
        ----------
        kept : Kept
            Which.

        Returns
        -------
        any

        Raises
        ------
        NotInCache, HashMismatch
            The file is not here, or not the one of the row, and cannot be fetched.
        """
        refused = self.cache.bring([kept.file])
        if refused:
            raise self._lost(refused[kept.path], kept)
        value = unpack(self.cache.store.path(kept.path))
        self.cache.recorder.add(
            Entry(
                "result",
                kept.id,
                path=kept.path,
                rel_path=kept.path,
                size=kept.size,
                hash=kept.hash,
                source=self.cache.source,
                mode=self.cache.mode,
                at=moment(),
            )
        )
        return value

    def _lost(self, error: OneCacheError, kept: Kept) -> OneCacheError:
        kind = type(error) if isinstance(error, (NotInCache, HashMismatch)) else NotInCache
        return kind(f"{kept.function}, key {kept.key}: {error}. Populate again to compute it anew")


def _inputs(entries: Iterable[Entry]) -> str:
    """Write what was read, each thing once."""
    read = {
        entry.id: {
            "kind": entry.kind,
            "id": entry.id,
            "hash": entry.hash,
            "default": entry.default,
            "path": entry.path,
        }
        for entry in entries
    }
    return json.dumps(list(read.values()), ensure_ascii=False)


def _same(one: Mapping[str, Any], now: Mapping[str, tuple[str, bool]]) -> bool:
    """Say whether what a function read is the same today; of what nobody knows, it is."""
    if one["id"] not in now:
        return True
    digest, superseded = now[one["id"]]
    if one["default"] and superseded:
        return False
    if not digest or not one["hash"]:
        return True
    old, new = parse(one["hash"]), parse(digest)
    # hashes of two algorithms cannot be compared
    return old.algorithm == new.algorithm and old == new


@lru_cache(maxsize=1)
def _versions() -> str:
    packages = {name: version_of(name) for name in ("numpy", "pandas")}
    return json.dumps({"one_cache": __version__, **packages})
