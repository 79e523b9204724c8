"""An Alyx server's records as rows of our tables: one field, one name, one type.

The same thing comes from Alyx under several names and types: the default revision is
``default_revision``, the *text* ``"True"``, in a session's record and ``default_dataset``, a
bool, in a dataset's; a revision is a UUID in one and a name in the other; QC is a name or a
number; an id is an id or the end of a URL. What is null or empty becomes None, once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from one_cache.errors import InvalidArgument
from one_cache.query.aggregates import aggregate_place
from one_cache.records import QC
from one_cache.remotes.alyx.values import is_true, uuid_of

Record = Mapping[str, Any]
Row = dict[str, Any]


def qc_name(value: Any) -> str:
    """Give the name of a QC level from its name or number; unknown ones are not set.

    Examples
    --------
    >>> qc_name(10), qc_name("critical"), qc_name(None)
    ('PASS', 'CRITICAL', 'NOT_SET')
    """
    try:
        return QC.read(int(value) if str(value).isdigit() else str(value)).name
    except InvalidArgument:
        return QC.NOT_SET.name


def session_row(record: Record) -> Row:
    """Give the row of a session, of its list or detail record, or of ``session_info``.

    Parameters
    ----------
    record : mapping
        From ``/sessions`` or from an insertion.

    Returns
    -------
    dict
        The fields of :class:`one_cache.records.Session`; `extra` has ``start_time``.

    Examples
    --------
    >>> row = session_row({"id": "cf3c1f52-1869-4341-b1b0-fc4fce30f60e", "subject": "KS014",
    ...                    "start_time": "2023-03-10T11:23:45.123456", "number": None})
    >>> row["date"], row["number"], row["projects"]
    (datetime.date(2023, 3, 10), None, '')
    """
    start = record.get("start_time") or ""
    number = record.get("number")
    return {
        "id": uuid_of(record["id"]),
        "lab": record.get("lab") or "",
        "subject": record.get("subject") or "",
        "date": dt.date.fromisoformat(start[:10]) if start else None,
        "number": None if number is None else int(number),
        "task_protocol": record.get("task_protocol") or "",
        # the server gives them in no order
        "projects": ",".join(sorted(record.get("projects") or ())),
        "extra": {"start_time": start or None},
    }


def dataset_row(record: Record, is_server: Callable[[str], bool]) -> Row:
    """Give the row of a dataset from its record of ``/datasets``.

    Parameters
    ----------
    record : mapping
        From ``/datasets``, with its file records.
    is_server : callable
        Whether a data repository, by name, is a server; asked only about a file that exists
        there and has no address.

    Returns
    -------
    dict
        The fields of :class:`one_cache.records.Dataset`; `extra` has ``data_url`` (None where
        no server gives one), ``dataset_type``, ``tags`` (joined by commas) and ``protected``.
        `eid` is empty for a file that belongs to no session, and its `rel_path` then begins at
        the root of the cache.
    """
    files = [one for one in record.get("file_records") or () if is_true(one.get("exists"))]
    url = _best_url(files, record)
    exists = url is not None or any(is_server(one["data_repository"]) for one in files)
    size = record.get("file_size")
    session = record.get("session")
    rel_path = _joined(record.get("collection"), record.get("revision"), record["name"])
    return {
        "id": uuid_of(record.get("id") or record["url"]),
        "eid": uuid_of(session) if session else "",
        "rel_path": rel_path if session else _aggregate_path(record, rel_path),
        "file_size": None if size is None else int(size),
        "hash": record.get("hash") or None,
        "exists": exists,
        "qc": qc_name(record.get("qc")),
        "default_revision": is_true(record.get("default_dataset")),
        "extra": {
            "data_url": url,
            "dataset_type": record.get("dataset_type") or None,
            "tags": ",".join(sorted(record.get("tags") or ())),
            "protected": is_true(record.get("protected")),
        },
    }


def _joined(collection: str | None, revision: str | None, name: str) -> str:
    folder = f"#{revision}#" if revision else ""
    return "/".join(part for part in ((collection or "").strip("/"), folder, name) if part)


def _best_url(files: Iterable[Record], record: Record) -> str | None:
    """Give the address of a file: an HTTP server's before any other, then by name."""
    found = sorted(
        (not one["data_url"].startswith("http"), str(one.get("data_repository")), one["data_url"])
        for one in files
        if one.get("data_url")
    )
    # a session's or an insertion's record has the address itself instead of file records
    return found[0][2] if found else record.get("data_url")


def _aggregate_path(record: Record, rel_path: str) -> str:
    """Give the place of an aggregate in the cache, ``aggregates/<relation>/...``.

    The repository's root says where it lies on the server; anything before ``aggregates/``
    (a public server has ``public/``) is that server's own.
    """
    for one in record.get("file_records") or ():
        whole = f"{one.get('data_repository_path') or ''}/{one.get('relative_path') or ''}"
        _, found, rest = whole.replace("//", "/").partition("aggregates/")
        if found:
            return found + rest.replace("//", "/")
    return rel_path if rel_path.startswith("aggregates/") else f"aggregates/{rel_path}"


def aggregate_row(record: Record, is_server: Callable[[str], bool]) -> Row:
    """Give the row of an aggregate: a dataset's, with ``relation`` and ``identifier`` in `extra`.

    For ``aggregates/Subjects/cortexlab/KS014/name`` these are ``subjects`` and
    ``cortexlab/KS014``.
    """
    row = dataset_row(record, is_server)
    relation, identifier = aggregate_place(row["rel_path"])
    row["extra"].update(relation=relation, identifier=identifier)
    return row


def insertion_row(record: Record) -> Row:
    """Give the row of an insertion.

    Parameters
    ----------
    record : mapping
        From ``/insertions``, list or detail.

    Returns
    -------
    dict
        ``id``, ``eid``, ``name``, ``model``, ``serial``, ``json`` (as it comes), ``datasets``
        (ids) and ``session`` (the row of its session).
    """
    datasets = record.get("datasets") or ()
    return {
        "id": uuid_of(record["id"]),
        "eid": uuid_of(record["session"]),
        "name": record.get("name") or "",
        "model": record.get("model") or "",
        "serial": record.get("serial") or "",
        "json": record.get("json"),
        "datasets": sorted(
            uuid_of(one["id"] if isinstance(one, Mapping) else one) for one in datasets
        ),
        "session": session_row({"id": record["session"], **(record.get("session_info") or {})}),
    }


def file_row(record: Record) -> Row:
    """Give the row of a file record: where one copy of a dataset lies, and whether it is there."""
    return {
        "id": uuid_of(record["url"]),
        "dataset": uuid_of(record["dataset"]),
        "repository": record["data_repository"],
        "rel_path": record.get("relative_path") or "",
        "exists": is_true(record.get("exists")),
    }


def notice_row(record: Record) -> Row:
    """Give the row of a data notice: what it says, and the ids of the datasets it is about."""
    row = picked(record, ("id", "name", "description", "importance", "created_datetime"))
    return {**row, "datasets": sorted(map(uuid_of, record.get("datasets") or ()))}


def repository_row(record: Record) -> Row:
    """Give the row of a data repository; its `json`, which may hold credentials, is left out."""
    row = picked(record, ("name", "data_url", "globus_path", "hostname", "repository_type"))
    return {**row, "personal": is_true(record.get("globus_is_personal"))}


def picked(record: Record, names: Sequence[str]) -> Row:
    """Give some fields of a record; None where it lacks one."""
    return {name: record.get(name) for name in names}
