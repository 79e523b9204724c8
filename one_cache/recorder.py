"""What was read: order, ids, revision, hash, size, source; saved, read back.

The recorder belongs to the cache, not to its tables, so no reload of tables loses it. What worker
processes of the same machine read joins it by itself (``one_cache.journal``); what others read is
brought by ``Cache.map``, or by hand with :meth:`Recorder.extend`.
"""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import io
import itertools
import json
import os
import platform
import threading
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from one_cache import __version__
from one_cache.atomic import write_bytes
from one_cache.errors import CacheWarning, InvalidArgument, OneCacheError
from one_cache.journal import Journal

LAYOUT = 1
_NONE = type(None)


@dataclass(frozen=True)
class Entry:
    """One thing that an analysis read.

    Attributes
    ----------
    kind : str
        ``"dataset"``, ``"table"``, ``"query"``, ``"result"`` or ``"mirror"``.
    id : str
        Its id.
    eid : str
        Session that it belongs to; empty for none.
    path : str
        Relative to the root of the cache.
    rel_path : str
        Relative to the session.
    revision : str
        Empty for the unrevised file.
    size : int or None
        Bytes.
    hash : str or None
        Of the record, or of what was on disk where the record has none.
    qc : str
        Name of the level.
    source : str
        Remote that the cache stands on; empty for none. Never a credential.
    url : str
        Where the bytes lay, for a source whose addresses do not follow from `path`; without a
        query, which may hold a signature.
    default : bool or None
        Whether it was the revision to load where none is asked for; None where nothing said.
    mode : str
        Mode of the cache at that moment.
    note : str
        Warning under which it was loaded; empty for none.
    at : str
        ISO time, UTC, to the millisecond.
    """

    kind: str
    id: str
    eid: str = ""
    path: str = ""
    rel_path: str = ""
    revision: str = ""
    size: int | None = None
    hash: str | None = None
    qc: str = ""
    source: str = ""
    url: str = ""
    default: bool | None = None
    mode: str = ""
    note: str = ""
    at: str = ""


class Recorder:
    """Collects entries while it is on.

    Parameters
    ----------
    on : bool
        Whether :meth:`add` keeps anything.

    Examples
    --------
    >>> recorder = Recorder(on=True)
    >>> recorder.add(Entry("dataset", "d1", eid="s1", rel_path="alf/licks.times.npy"))
    >>> recorder.dataset_ids, recorder.session_ids
    (['d1'], ['s1'])
    >>> recorder.has("dataset", "d1")
    True
    """

    def __init__(self, *, on: bool = False) -> None:
        self.on = on
        self._entries: list[Entry] = []
        self._known: set[tuple[str, str]] = set()
        self._journal: Journal | None = None
        self._made_journal = False
        self._told = False
        self._lock = threading.Lock()
        _RECORDERS.add(self)

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._all())

    def __getstate__(self) -> dict[str, Any]:
        return {"on": self.on, "entries": self._all(), "journal": self._shared()}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        Recorder.__init__(self, on=state["on"])
        self._keep(state["entries"])
        self._journal = state["journal"]

    def add(self, entry: Entry) -> None:
        """Keep `entry`, when the recorder is on.

        Warns
        -----
        CacheWarning
            This is a copy in another process, and the record it came from is out of reach.
        """
        if not self.on:
            return
        with self._lock:
            self._keep([entry])
            journal = self._journal
        if journal is None or self._collects:
            return
        if not journal.write(_line(asdict(entry))) and not self._told:
            self._told = True
            warnings.warn(
                "what this process reads joins no record: the process that began it is gone or "
                "on another machine. Cache.map brings what workers read",
                CacheWarning,
                stacklevel=2,
            )

    def has(self, kind: str, id: str) -> bool:
        """Tell whether something is recorded already, for what is read often and noted once."""
        return (kind, id) in self._known

    def extend(self, entries: Iterable[Entry]) -> None:
        """Keep what another recorder has, whether this one is on or not.

        Parameters
        ----------
        entries : iterable of Entry
            For instance another recorder. One whose entries come by themselves, because it
            descends from this one, adds nothing twice.
        """
        journal = entries._journal if isinstance(entries, Recorder) else None
        if journal is not None and journal == self._journal:
            return
        found = list(entries)
        with self._lock:
            self._keep(found)

    def clear(self) -> None:
        """Forget all entries."""
        self._all()
        with self._lock:
            self._entries.clear()
            self._known.clear()

    def for_worker(self) -> Recorder:
        """Give an empty recorder for another process, of which this one collects what it reads."""
        other = Recorder(on=self.on)
        other._journal = self._shared()
        return other

    def _keep(self, entries: Sequence[Entry]) -> None:
        self._entries += entries
        self._known.update((entry.kind, entry.id) for entry in entries)

    def _shared(self) -> Journal | None:
        """Give the journal; one is made when there is something to record."""
        with self._lock:
            if self._journal is None and self.on:
                self._journal = Journal()
                self._made_journal = True
            return self._journal

    @property
    def _collects(self) -> bool:
        """Whether this is the one that takes what its copies write: not a copy, not a fork."""
        return self._made_journal and self._journal is not None and self._journal.is_own

    def _all(self) -> tuple[Entry, ...]:
        """Give all entries; what other processes read stands behind, in order of time."""
        with self._lock:
            if self._journal is not None and self._collects:
                arrived = [Entry(**json.loads(line)) for line in self._journal.take()]
                self._keep(sorted(arrived, key=lambda entry: entry.at))
            return tuple(self._entries)

    @property
    def dataset_ids(self) -> list[str]:
        """Ids of the datasets that were read, each once, sorted."""
        return sorted({entry.id for entry in self if entry.kind == "dataset"})

    @property
    def session_ids(self) -> list[str]:
        """Ids of the sessions that datasets were read of, each once, sorted."""
        return sorted({entry.eid for entry in self if entry.eid})

    def save_ids(self, folder: Path, *, sessions_only: bool = False) -> tuple[list[str], Path]:
        """Write the ids as CSV, named and headed as ONE-api does.

        Parameters
        ----------
        folder : pathlib.Path
            Where; a file that is there already is never overwritten.
        sessions_only : bool
            Ids of sessions instead of datasets.

        Returns
        -------
        ids : list of str
            What was written.
        path : pathlib.Path
            ``<time>_loaded_dataset_uuids.csv`` or ``.._loaded_session_uuids.csv``.
        """
        header = "session_uuid" if sessions_only else "dataset_uuid"
        ids = self.session_ids if sessions_only else self.dataset_ids
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([[header], *([one] for one in ids)])
        stamp = dt.datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
        stem = f"{stamp}_loaded_{header}s"
        # two calls within one second
        names = itertools.chain([stem], (f"{stem}_{i}" for i in itertools.count(2)))
        path = next(path for name in names if not (path := folder / f"{name}.csv").exists())
        write_bytes(path, text.getvalue().encode())
        return ids, path

    def save(self, path: Path, about: Mapping[str, Any]) -> Path:
        """Write the full record as JSON lines: a head, then an entry a line, in order.

        Parameters
        ----------
        path : pathlib.Path
            Where.
        about : mapping
            What the cache adds to the head: mode, cut-off, remotes, decoders.

        Returns
        -------
        pathlib.Path
            `path`.
        """
        write_record(path, head_of(about), self)
        return path


def head_of(about: Mapping[str, Any]) -> dict[str, Any]:
    """Give the head of a record: the versions that read, the time, and what a cache adds."""
    return {
        "record": LAYOUT,
        "one_cache": __version__,
        "python": platform.python_version(),
        "saved": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        **about,
    }


def write_record(path: Path, head: Mapping[str, Any], entries: Iterable[Entry]) -> None:
    """Write a full record, whole or not at all: the head, then an entry a line."""
    lines = [head, *(asdict(entry) for entry in entries)]
    write_bytes(path, "".join(f"{_line(line)}\n" for line in lines).encode())


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def read_record(path: Path) -> tuple[dict[str, Any], list[Entry]]:
    """Read a full record.

    Parameters
    ----------
    path : pathlib.Path
        What :meth:`Recorder.save` wrote.

    Returns
    -------
    head : dict
        Versions, mode, cut-off.
    entries : list of Entry
        In the order of reading.

    Raises
    ------
    InvalidArgument
        There is no such file.
    OneCacheError
        It is no record, or one of a later layout.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidArgument(f"there is no record at {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise OneCacheError(f"{path} cannot be read as a record: {error}") from error
    return parse_record(text, path)


def parse_record(text: str, path: Path) -> tuple[dict[str, Any], list[Entry]]:
    """Read a full record from its text; see :func:`read_record`.

    Parameters
    ----------
    text : str
        The record.
    path : pathlib.Path
        Where it came from, for messages.

    Returns
    -------
    head : dict
        Versions, mode, cut-off.
    entries : list of Entry
        In the order of reading.
    """
    try:
        # by the line end alone: a name may hold other characters that end lines
        head, *rest = (json.loads(line) for line in text.rstrip("\n").split("\n"))
        layout = head["record"]
        if layout > LAYOUT:
            raise OneCacheError(
                f"{path} is a record of layout {layout}; this version reads up to {LAYOUT}"
            )
        return head, [_checked(Entry(**entry)) for entry in rest]
    except (ValueError, KeyError, TypeError) as error:
        raise OneCacheError(f"{path} is not a record of one_cache: {error!r}") from error


def _checked(entry: Entry) -> Entry:
    texts = (entry.kind, entry.id, entry.eid, entry.path, entry.rel_path, entry.hash or "")
    if not all(isinstance(text, str) for text in texts) or type(entry.size) not in (int, _NONE):
        raise TypeError(f"an entry that cannot be: {entry}")
    # JSON can spell halves of characters, which no file can be named by
    "".join(texts).encode()
    return entry


def read_ids(path: Path) -> tuple[str, list[str]]:
    """Read a list of ids, as :meth:`Recorder.save_ids` and ONE-api write it.

    Parameters
    ----------
    path : pathlib.Path
        CSV with the header ``dataset_uuid`` or ``session_uuid``.

    Returns
    -------
    kind : {"dataset", "session"}
        What the ids are of.
    ids : list of str
        Lower case, in their order.

    Raises
    ------
    OneCacheError
        It is no such list.
    """
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
        if not rows or not rows[0]:
            raise ValueError("it is empty")
        kind, _, rest = rows[0][0].strip().partition("_")
        if kind not in ("dataset", "session") or rest != "uuid":
            raise ValueError(f"headed {rows[0][0]!r}, not 'dataset_uuid' or 'session_uuid'")
        return kind, [str(UUID(row[0].strip())) for row in rows[1:] if row]
    except (ValueError, IndexError) as error:
        raise OneCacheError(f"{path} is no record and no list of ids: {error}") from error


def moment() -> str:
    """Give the time now as ISO text, UTC, to the millisecond."""
    return dt.datetime.now(dt.timezone.utc).isoformat(timespec="milliseconds")


_RECORDERS: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _before_fork() -> None:
    for recorder in list(_RECORDERS):
        with contextlib.suppress(OSError):
            recorder._shared()


def _after_fork() -> None:
    # a thread that does not exist here may have held one
    for recorder in list(_RECORDERS):
        recorder._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
