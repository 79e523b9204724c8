"""What of a record is no longer the best there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from one_cache import hashes
from one_cache.bundle.report import Change
from one_cache.errors import InvalidArgument
from one_cache.recorder import Entry
from one_cache.records import QC, Dataset


def outdated(
    entries: Iterable[Entry],
    datasets_of: Callable[[str], Sequence[Dataset]],
    datasets: Callable[[Sequence[str]], Sequence[Dataset]],
    *,
    last_revision: str | None = None,
) -> Iterator[Change]:
    """Compare what was read with what is known today.

    Parameters
    ----------
    entries : iterable of Entry
        What was read; other things than datasets are passed over.
    datasets_of : callable
        Gives the datasets of a session.
    datasets : callable
        Gives the datasets of these ids, for those that belong to no session.
    last_revision : str, optional
        Later revisions do not exist.

    Yields
    ------
    Change
        ``gone``, ``bytes``, ``qc`` (a worse one), ``revised`` (there is a later revision) or
        ``default`` (it was the revision to load, and is no more).

    Examples
    --------
    >>> read = Entry("dataset", "i", eid="e", rel_path="alf/a.b.npy", qc="PASS", default=True)
    >>> today = [Dataset("i", "e", "alf/a.b.npy", qc=QC.FAIL, default_revision=False),
    ...          Dataset("j", "e", "alf/#2024-01-01#/a.b.npy", default_revision=True)]
    >>> for change in outdated([read], lambda eid: today, lambda ids: []):
    ...     print(change.kind, change.before, change.after)
    qc PASS FAIL
    revised alf/a.b.npy alf/#2024-01-01#/a.b.npy
    """
    read = [entry for entry in entries if entry.kind == "dataset"]
    loose = {one.id: one for one in datasets([entry.id for entry in read if not entry.eid])}
    sessions: dict[str, Mapping[str, Dataset]] = {"": loose}
    for entry in read:
        if entry.eid not in sessions:
            sessions[entry.eid] = {one.id: one for one in datasets_of(entry.eid)}
        yield from _changes(entry, sessions[entry.eid], last_revision)


def _changes(
    entry: Entry, today: Mapping[str, Dataset], last_revision: str | None
) -> Iterator[Change]:
    def change(kind: str, before: str, after: str) -> Change:
        return Change(kind, entry.rel_path, before, after, entry.id, entry.eid)

    now = today.get(entry.id)
    if now is None or not now.exists:
        yield change("gone", entry.rel_path, "no record of it" if now is None else "on no server")
    else:
        if _bytes_differ(entry, now):
            yield change(
                "bytes", _bytes_of(entry.hash, entry.size), _bytes_of(now.hash, now.file_size)
            )
        if now.qc > QC.read(entry.qc or QC.NOT_SET):
            yield change("qc", entry.qc, now.qc.name)
    later = _later(entry, today.values(), last_revision)
    if later is not None:
        yield change("revised", entry.rel_path, later.rel_path)
    elif now is not None and entry.default and now.default_revision is False:
        yield change("default", "yes", "no")


def _later(entry: Entry, today: Iterable[Dataset], last_revision: str | None) -> Dataset | None:
    """Give the last revision of what was read, if it is a later one."""
    read = Dataset(entry.id, entry.eid, entry.rel_path)
    found = [
        one
        for one in today
        if (one.collection, one.name) == (read.collection, read.name)
        and one.exists
        and one.revision > read.revision
        and (last_revision is None or one.revision <= last_revision)
    ]
    return max(found, key=lambda one: one.revision, default=None)


def _bytes_differ(entry: Entry, today: Dataset) -> bool:
    """Tell whether the record of today is of other bytes than those that were read."""
    if None not in (entry.size, today.file_size) and entry.size != today.file_size:
        return True
    if not entry.hash or not today.hash:
        return False
    try:
        then, now = hashes.parse(entry.hash), hashes.parse(today.hash)
    except InvalidArgument:
        return entry.hash != today.hash
    # hashes of two kinds cannot be compared
    return then.algorithm == now.algorithm and then != now


def _bytes_of(hash: str | None, size: int | None) -> str:
    return hash or ("" if size is None else f"{size} bytes")


def changed(
    entries: Iterable[Entry], rows: Callable[[Sequence[str]], Mapping[str, Mapping[str, Any]]]
) -> Iterator[Change]:
    """Compare answers, results and mirrored tables that were read with those here today.

    Parameters
    ----------
    entries : iterable of Entry
        What was read; datasets are passed over.
    rows : callable
        Gives the rows of these ids that tables of other kinds hold.

    Yields
    ------
    Change
        ``bytes``: asked, computed or mirrored again since, with another result.

    Examples
    --------
    >>> read = Entry("query", "q", path="a.parquet", hash="sha256:1")
    >>> today = {"q": {"hash": "sha256:2"}}
    >>> [(change.kind, change.after) for change in changed([read], lambda ids: today)]
    [('bytes', 'sha256:2')]
    """
    read = [entry for entry in entries if entry.kind != "dataset" and entry.hash]
    today = rows([entry.id for entry in read]) if read else {}
    for entry in read:
        now = today.get(entry.id, {}).get("hash")
        if now and now != entry.hash:
            yield Change("bytes", entry.path, entry.hash or "", now, entry.id, entry.eid)


def notices(entries: Iterable[Entry], rows: Iterable[Mapping[str, Any]]) -> Iterator[Change]:
    """Give the notices about what was read.

    Parameters
    ----------
    entries : iterable of Entry
        What was read.
    rows : iterable of mapping
        Each with ``name``, ``description`` and the ids of the ``datasets`` that it is about, as
        a list or joined by commas.

    Yields
    ------
    Change
        Of kind ``notice``.
    """
    about: dict[str, list[str]] = {}
    for row in rows:
        named = row.get("datasets") or ()
        ids = named.split(",") if isinstance(named, str) else named
        text = ": ".join(str(row[key]) for key in ("name", "description") if row.get(key))
        for one in ids:
            about.setdefault(str(one).strip(), []).append(text)
    for entry in entries:
        for text in about.get(entry.id, ()):
            yield Change("notice", entry.rel_path, "", text, entry.id, entry.eid)
