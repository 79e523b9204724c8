"""What was read: order, ids, revision, hash, size, source; saved, read back.

The recorder belongs to the cache, not to its tables, so no reload of tables loses it.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import itertools
import json
import platform
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from one_cache import __version__
from one_cache.atomic import write_bytes
from one_cache.errors import OneCacheError

LAYOUT = 1


@dataclass(frozen=True)
class Entry:
    """One thing that an analysis read.

    Attributes
    ----------
    kind : str
        ``"dataset"``, ``"table"`` or ``"query"``.
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
    mode : str
        Mode of the cache at that moment.
    note : str
        Warning under which it was loaded; empty for none.
    at : str
        ISO time, UTC.
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
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries))

    def __getstate__(self) -> dict[str, Any]:
        return {"on": self.on, "_entries": list(self._entries)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._known = {(entry.kind, entry.id) for entry in self._entries}
        self._lock = threading.Lock()

    def add(self, entry: Entry) -> None:
        """Keep `entry`, when the recorder is on."""
        if self.on:
            with self._lock:
                self._entries.append(entry)
                self._known.add((entry.kind, entry.id))

    def has(self, kind: str, id: str) -> bool:
        """Tell whether something is recorded already, for what is read often and noted once."""
        return (kind, id) in self._known

    def clear(self) -> None:
        """Forget all entries."""
        with self._lock:
            self._entries.clear()
            self._known.clear()

    @property
    def dataset_ids(self) -> list[str]:
        """Ids of the datasets that were read, each once, sorted."""
        return sorted({entry.id for entry in self._entries if entry.kind == "dataset"})

    @property
    def session_ids(self) -> list[str]:
        """Ids of the sessions that datasets were read of, each once, sorted."""
        return sorted({entry.eid for entry in self._entries if entry.eid})

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
            What the cache adds to the head: mode, cut-off, remotes, table hashes, decoders.

        Returns
        -------
        pathlib.Path
            `path`.
        """
        head = {
            "record": LAYOUT,
            "one_cache": __version__,
            "python": platform.python_version(),
            "saved": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
            **about,
        }
        lines = [head, *(asdict(entry) for entry in self._entries)]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_bytes(path, text.encode())
        return path


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
    OneCacheError
        It is no record, or one of a later layout.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        head, *rest = (json.loads(line) for line in lines)
        layout = head["record"]
        if layout > LAYOUT:
            raise OneCacheError(
                f"{path} is a record of layout {layout}; this version reads up to {LAYOUT}"
            )
        return head, [Entry(**entry) for entry in rest]
    except (ValueError, KeyError, TypeError) as error:
        raise OneCacheError(f"{path} is not a record of one_cache: {error!r}") from error
