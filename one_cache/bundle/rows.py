"""Sessions and datasets as a record saw them, whatever the tables say today."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import replace

from one_cache.errors import ALFError
from one_cache.recorder import Entry
from one_cache.records import QC, Dataset, Session
from one_cache.spec import session_path_parts


def datasets_as_read(entries: Iterable[Entry], known: Mapping[str, Dataset]) -> list[Dataset]:
    """Give the datasets of a record: revision, bytes, QC and default as they were then.

    Parameters
    ----------
    entries : iterable of Entry
        What was read; other things than datasets are passed over.
    known : mapping of str to Dataset
        By id, rows of today, for the columns that a record does not have.

    Returns
    -------
    list of Dataset

    Examples
    --------
    >>> entry = Entry("dataset", "i", eid="e", rel_path="a.b.npy", hash="old", default=True)
    >>> today = Dataset("i", "e", "a.b.npy", hash="new", default_revision=False, extra={"x": 1})
    >>> [found] = datasets_as_read([entry], {"i": today})
    >>> found.hash, found.default_revision, found.extra
    ('old', True, {'x': 1})
    """
    found = []
    for entry in entries:
        if entry.kind == "dataset":
            row = known.get(entry.id) or Dataset(entry.id, entry.eid, entry.rel_path)
            found.append(
                replace(
                    row,
                    eid=entry.eid,
                    rel_path=entry.rel_path,
                    file_size=entry.size,
                    hash=entry.hash,
                    exists=True,
                    qc=QC.read(entry.qc or QC.NOT_SET),
                    default_revision=entry.default,
                )
            )
    return found


def sessions_as_read(entries: Iterable[Entry], known: Mapping[str, Session]) -> list[Session]:
    """Give the sessions of a record; of one that nobody knows, what its path says.

    Parameters
    ----------
    entries : iterable of Entry
        What was read.
    known : mapping of str to Session
        By id, rows of today.

    Returns
    -------
    list of Session
        Each once.

    Examples
    --------
    >>> entry = Entry("dataset", "i", eid="e", path="lab/Subjects/KS/2024-02-07/001/alf/a.b.npy",
    ...               rel_path="alf/a.b.npy")
    >>> [found] = sessions_as_read([entry], {})
    >>> found.subject, found.date, found.number
    ('KS', datetime.date(2024, 2, 7), 1)
    """
    found: dict[str, Session] = {}
    for entry in entries:
        if entry.kind != "dataset" or not entry.eid or entry.eid in found:
            continue
        session = known.get(entry.eid)
        place = entry.path.removesuffix(entry.rel_path).rstrip("/")
        # a session that was renamed since: its files lie where they were read
        found[entry.eid] = session if session and session.path == place else _at(entry.eid, place)
    return list(found.values())


def _at(eid: str, place: str) -> Session:
    try:
        parts = session_path_parts(place, as_dict=True)
    except ALFError:
        return Session(eid)
    return Session(
        eid,
        parts["lab"] or "",
        parts["subject"] or "",
        dt.date.fromisoformat(parts["date"] or ""),
        int(parts["number"] or 0),
    )
