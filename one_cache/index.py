"""Access tables of a folder of ALF files, for a lab that has no database.

What was seen of each file lies beside the tables, so a second run reads only what changed. Ids
follow from the paths: they are the same at every run and on every machine.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import logging
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.errors import InvalidArgument, StoreError
from one_cache.progress import progress
from one_cache.records import Dataset
from one_cache.spec.grammar import REL_PATH_SPEC, fits, regex
from one_cache.tables import Tables
from one_cache.tables.files import hash_of

if TYPE_CHECKING:
    from one_cache.progress import Progress

logger = logging.getLogger(__name__)

NOTES = ".one_cache/index.jsonl"
_NAMESPACE = b"one_cache:index:"
_INDEXED = "indexed_by"  # key of a table's metadata: it was made here, so it may be replaced here
_READERS = 8  # threads that hash: more than cores, because they wait for the disk
_BATCH = 50_000  # rows
_TEMPORARY = re.compile(r"\.|.*(?:\.part|\.tmp|~)\Z")

Listing = list[tuple[str, int, int]]
"""Path relative to the session, bytes, time of the last change in ns; of each file, sorted."""


@dataclass(frozen=True)
class IndexSummary:
    """What an index run found.

    Attributes
    ----------
    sessions, datasets : int
        How many there are now.
    new, changed, vanished : int
        Datasets, since the last run.
    hashed : int
        Files that were read.
    skipped : int
        Files of sessions that are no datasets: hidden, temporary, or with no ALF name.
    """

    sessions: int = 0
    datasets: int = 0
    new: int = 0
    changed: int = 0
    vanished: int = 0
    hashed: int = 0
    skipped: int = 0


def index_folder(folder: Path, *, hash: bool = False, silent: bool = False) -> IndexSummary:
    """Make or renew the access tables of a folder.

    Parameters
    ----------
    folder : pathlib.Path
        Holds ``lab/Subjects/subject/date/number`` or ``subject/date/number``, with three digits
        in the number. The tables are written into it.
    hash : bool
        Hash every file that changed since it was last hashed (md5).
    silent : bool
        No progress bar.

    Returns
    -------
    IndexSummary

    Raises
    ------
    InvalidArgument
        There is no such folder, or its tables were made by something else: they would be lost.
    StoreError
        The folder cannot be read or written.

    Notes
    -----
    Of several revisions of a dataset the last is the default one. QC, task protocols, projects
    and further columns that were added to the tables stay with their rows.
    """
    root = Path(os.path.abspath(folder))
    if not root.is_dir():
        raise InvalidArgument(f"{folder}: no such folder")
    tables = Tables.open(root, silent=silent)
    try:
        _check_ours(tables)
        with (
            _Run(root, tables, hash=hash) as run,
            progress(None, "file", "Indexing", silent) as bar,
        ):
            run.walk(bar)
            if run.differs:
                run.save(silent=silent)
            return run.summary()
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{root}: cannot be indexed: {error}", error.errno) from error
    finally:
        tables.close()


def path_id(path: str) -> str:
    """Give the id that follows from a path.

    Parameters
    ----------
    path : str
        Of a session or dataset, relative to the folder that is indexed.

    Returns
    -------
    str
        A UUID of version 3: ONE-api takes those of versions 3 and 4 for ids.

    Examples
    --------
    >>> path_id("KS014/2023-03-10/001")
    '87ee4402-1958-3dd8-a200-268cfdcb98d4'
    """
    raw = bytearray(hashlib.md5(_NAMESPACE + path.encode(), usedforsecurity=False).digest())
    raw[6] = raw[6] & 0x0F | 0x30
    raw[8] = raw[8] & 0x3F | 0x80
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _check_ours(tables: Tables) -> None:
    for name in ("sessions", "datasets"):
        meta = tables.meta(name)
        if meta and _INDEXED not in meta:
            raise InvalidArgument(
                f"{tables.folder}/{name}.pqt was not made by indexing (origin "
                f"{meta.get('origin', 'unknown')}); its records would be lost. Move the tables "
                "away, or index another folder"
            )


# -- what lies in the folder ---------------------------------------------------------------


def _folders(path: str) -> Iterator[os.DirEntry[str]]:
    """Give the folders in a folder, sorted; links are not followed, they may lead back."""
    with os.scandir(path) as entries:
        found = [one for one in entries if one.is_dir(follow_symlinks=False)]
    yield from sorted((one for one in found if one.name[0] != "."), key=lambda one: one.name)


def _is_day(name: str) -> bool:
    try:
        return fits("date", name) and bool(dt.date.fromisoformat(name))
    except ValueError:
        return False


def _of_subject(subject: os.DirEntry[str], stem: str) -> Iterator[tuple[str, str]]:
    for day in _folders(subject.path):
        if not _is_day(day.name):
            continue
        for number in _folders(day.path):
            if fits("number", number.name) and len(number.name) == 3:
                yield f"{stem}{subject.name}/{day.name}/{number.name}", number.path
            elif fits("number", number.name):
                # records write the number with three digits, and would lead to another folder
                logger.warning("%s: not indexed, its number needs three digits", number.path)


def _sessions(root: Path) -> Iterator[tuple[str, str]]:
    """Give the sessions of a folder: the path relative to it, and the whole path."""
    for first in _folders(str(root)):
        if fits("subject", first.name):
            yield from _of_subject(first, "")
        subjects = Path(first.path, "Subjects")
        if fits("lab", first.name) and subjects.is_dir():
            for subject in _folders(str(subjects)):
                if fits("subject", subject.name):
                    yield from _of_subject(subject, f"{first.name}/Subjects/")


def _listing(folder: str, before: str = "") -> Listing:
    found: Listing = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name[0] != ".":
                    found += _listing(entry.path, f"{before}{entry.name}/")
            elif entry.is_file():
                try:
                    stat = entry.stat()
                except FileNotFoundError:
                    continue  # removed since the folder was listed
                found.append((before + entry.name, stat.st_size, stat.st_mtime_ns))
    if not before:
        found.sort()
    return found


def _is_dataset(rel_path: str) -> bool:
    if _TEMPORARY.match(rel_path.rpartition("/")[2]):
        return False
    return regex(REL_PATH_SPEC).match(rel_path) is not None


# -- what was seen before --------------------------------------------------------------------


@dataclass(frozen=True)
class _Note:
    """One line of the notes: a session and its files.

    Attributes
    ----------
    path : str
        Session, relative to the root.
    digest : str
        Of its listing.
    hashed : bool
        Whether each file has its hash.
    skipped : int
        Files that are no datasets.
    count : int
        Number of datasets.
    files : str
        JSON: relative path to size, time and hash.
    """

    path: str
    digest: str
    hashed: bool
    skipped: int
    count: int
    files: str

    @classmethod
    def read(cls, line: str) -> _Note:
        path, digest, hashed, skipped, count, files = line.rstrip("\n").split("\t", 5)
        return cls(path, digest, hashed == "1", int(skipped), int(count), files)

    def line(self) -> str:
        head = (self.path, self.digest, str(int(self.hashed)), str(self.skipped), str(self.count))
        return "\t".join((*head, self.files)) + "\n"

    def seen(self) -> dict[str, tuple[int, int, str]]:
        return {name: tuple(seen) for name, seen in json.loads(self.files).items()}


def _digest(listing: Listing) -> str:
    text = "\n".join([f"{name}\0{size}\0{changed}" for name, size, changed in listing])
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _read_notes(path: Path) -> tuple[dict[str, Any], dict[str, _Note]]:
    """Read what the last run saw; nothing when that cannot be read."""
    try:
        with path.open(encoding="utf-8") as file:
            head = json.loads(file.readline())
            notes = [_Note.read(line) for line in file]
    except (OSError, ValueError):
        return {}, {}
    return head, {note.path: note for note in notes}


def _stamps(root: Path) -> dict[str, list[int]]:
    """Tell this version of the tables from any other."""
    stamps = {}
    for name in ("sessions", "datasets"):
        with contextlib.suppress(FileNotFoundError):
            stat = (root / f"{name}.pqt").stat()
            stamps[name] = [stat.st_size, stat.st_mtime_ns]
    return stamps


class _Run:
    """One run over a folder: what it sees goes into new notes, the tables are made of those."""

    def __init__(self, root: Path, tables: Tables, *, hash: bool) -> None:
        self._root = root
        self._tables = tables
        self._hash = hash
        self._head, self._known = _read_notes(root / NOTES)
        self._new: list[_Note] = []
        self._counts = dict.fromkeys(("new", "changed", "vanished", "hashed"), 0)
        self._readers = ThreadPoolExecutor(_READERS if hash else 1)

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *_: object) -> None:
        self._readers.shutdown()

    def walk(self, bar: Progress) -> None:
        """Look at every session."""
        for path, folder in _sessions(self._root):
            listing = _listing(folder)
            digest = _digest(listing)
            note = self._known.get(path)
            if note is None or note.digest != digest or (self._hash and not note.hashed):
                note = self._look(path, folder, digest, listing)
            self._new.append(note)
            bar.update(len(listing))
        for path in self._known.keys() - {note.path for note in self._new}:
            self._counts["vanished"] += self._known[path].count

    def _look(self, path: str, folder: str, digest: str, listing: Listing) -> _Note:
        """Read what changed in one session."""
        old = self._known[path].seen() if path in self._known else {}
        files: dict[str, list[Any]] = {}
        for name, size, changed in listing:
            if _is_dataset(name):
                before = old.get(name)
                same = before is not None and before[:2] == (size, changed)
                files[name] = [size, changed, before[2] if before and same else ""]
                self._counts["new"] += before is None
                self._counts["changed"] += before is not None and not same
        self._counts["vanished"] += len(old.keys() - files.keys())
        if self._hash:
            unread = [name for name, seen in files.items() if not seen[2]]
            digests = self._readers.map(
                partial(hash_of, algorithm="md5"), (f"{folder}/{name}" for name in unread)
            )
            for name, md5 in zip(unread, digests, strict=True):
                files[name][2] = md5
            self._counts["hashed"] += len(unread)
        skipped = len(listing) - len(files)
        return _Note(path, digest, self._hash, skipped, len(files), json.dumps(files))

    @property
    def differs(self) -> bool:
        """Whether the tables have to be written."""
        same = list(self._known.values()) == self._new
        return not same or not self._known or self._head.get("tables") != _stamps(self._root)

    def summary(self) -> IndexSummary:
        """Say what was found."""
        return IndexSummary(
            sessions=len(self._new),
            datasets=sum(note.count for note in self._new),
            skipped=sum(note.skipped for note in self._new),
            **self._counts,
        )

    def save(self, *, silent: bool) -> None:
        """Write the tables, then the notes: a run that is cut short is done again."""
        from one_cache.tables.save import Wanted, save

        meta = {_INDEXED: "one_cache", "origin": [str(self._root)]}
        sessions = [_session_row(note.path) for note in self._new]
        added = ("task_protocol", "projects")
        wanted = [
            Wanted("sessions", sessions, None, meta, merge=False, keep=added),
            Wanted("datasets", self._dataset_rows, None, meta, merge=False, keep=("qc",)),
        ]
        save(self._root, wanted, silent=silent)
        path = self._root / NOTES
        beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: beside.unlink(missing_ok=True))
            with beside.open("w", encoding="utf-8") as file:
                file.write(json.dumps({"tables": _stamps(self._root)}) + "\n")
                file.writelines(note.line() for note in self._new)
            os.replace(beside, path)

    def _dataset_rows(self) -> Any:
        """Give the rows of the datasets, as a stream of Arrow batches."""
        import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

        kinds = {"eid": pa.string(), "id": pa.string(), "rel_path": pa.string()}
        kinds |= {"file_size": pa.uint64(), "hash": pa.string(), "default_revision": pa.bool_()}
        kinds |= {"exists": pa.bool_(), "qc": pa.string()}
        schema = pa.schema(kinds)

        def batches() -> Iterator[Any]:
            rows: list[tuple[Any, ...]] = []
            for note in self._new:
                rows += _rows_of(note)
                if len(rows) >= _BATCH or note is self._new[-1]:
                    columns = zip(*rows, strict=True) if rows else ((),) * len(schema)
                    arrays = [pa.array(*pair) for pair in zip(columns, schema.types, strict=True)]
                    yield pa.RecordBatch.from_arrays(arrays, schema=schema)
                    rows = []

        return pa.RecordBatchReader.from_batches(schema, batches())


def _session_row(path: str) -> dict[str, Any]:
    *lab, subject, day, number = path.split("/")
    return {
        "id": path_id(path),
        "lab": lab[0] if lab else "",
        "subject": subject,
        "date": dt.date.fromisoformat(day),
        "number": int(number),
        "task_protocol": "",
        "projects": "",
    }


def _rows_of(note: _Note) -> list[tuple[Any, ...]]:
    """Give the datasets of a session, in the order of the columns."""
    files = json.loads(note.files)
    default = set(default_revisions(files))
    eid = path_id(note.path)
    return [
        (eid, path_id(f"{note.path}/{name}"), name, size, md5, name in default, True, "NOT_SET")
        for name, (size, _, md5) in files.items()
    ]


def default_revisions(rel_paths: Iterable[str]) -> list[str]:
    """Give the last revision of each dataset; the unrevised file comes before all others.

    Parameters
    ----------
    rel_paths : iterable of str
        Of one session.

    Returns
    -------
    list of str

    Examples
    --------
    >>> default_revisions(["alf/a.x.npy", "alf/#2024-05-06#/a.x.npy", "alf/b.x.npy"])
    ['alf/#2024-05-06#/a.x.npy', 'alf/b.x.npy']
    """
    last: dict[tuple[str, str], tuple[str, str]] = {}
    for rel_path in rel_paths:
        dataset = Dataset("", "", rel_path)
        collection, revision = dataset.folders
        key = (collection, dataset.name)
        last[key] = max(last.get(key, ("", "")), (revision, rel_path))
    return [rel_path for _, rel_path in last.values()]
