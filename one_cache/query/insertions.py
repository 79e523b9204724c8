"""Probe insertions: one value for what a database and a table say of one, and their search."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from one_cache.errors import QueryNotCached
from one_cache.query.patterns import expression, listed
from one_cache.query.sessions import search as search_sessions
from one_cache.records import QC, Bunch, Session

if TYPE_CHECKING:
    from one_cache.tables import Tables

TABLE = "insertions"
SESSION_TERMS = ("date_range", "lab", "number", "projects", "subject", "task_protocol")
"""Terms about the session of an insertion: of one that is found, so are all its neighbours."""

SEARCH_TERMS = tuple(
    sorted(
        (
            *SESSION_TERMS,
            *("dataset", "dataset_qc_lte", "datasets", "eid", "model", "name", "project"),
            *("serial", "session"),
        )
    )
)
"""What the insertions of tables are searched by."""

# other names of theirs
_SAME = {"project": "projects", "session": "eid"}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Insertion:
    """A probe, where it was inserted in one session.

    Attributes
    ----------
    id, eid : str
        The `pid` and the session, UUIDs as text.
    name : str
        Label, ``"probe00"``.
    model, serial : str
        Of the probe; empty where unknown.
    json : any
        What else the database keeps of it.
    datasets : tuple of str
        Ids of the datasets that were recorded there.
    session : Session
        Its session; only with an id where nothing more is known.
    """

    id: str
    eid: str
    name: str = ""
    model: str = ""
    serial: str = ""
    json: Any = None
    datasets: tuple[str, ...] = ()
    session: Session = field(default_factory=lambda: Session(""), compare=False)

    @classmethod
    def read(cls, row: Mapping[str, Any], session: Session | None = None) -> Insertion:
        """Read one from a table, ours or one of ONE-api, or from the row of a remote.

        Examples
        --------
        >>> Insertion.read({"id": "p", "eid": "e", "name": "probe00", "json": '{"qc": 10}'}).json
        {'qc': 10}
        """
        given = row.get("session")
        if session is None:
            session = Session(**given) if given else Session(str(row["eid"]))
        return cls(
            id=str(row["id"]),
            eid=str(row["eid"]),
            name=row.get("name") or "",
            model=row.get("model") or "",
            serial=row.get("serial") or "",
            json=_from_json(row.get("json")),
            # a list, or in tables a text
            datasets=tuple(sorted(_UUID.findall(str(row.get("datasets") or "").lower()))),
            session=session,
        )

    def row(self) -> dict[str, Any]:
        """Give the row of a table: nothing in it is nested."""
        names = ("id", "eid", "name", "model", "serial")
        return {
            **{name: getattr(self, name) for name in names},
            "json": None if self.json is None else json.dumps(self.json, default=str),
            "datasets": ",".join(self.datasets),
        }

    def record(self, session: Bunch) -> Bunch:
        """Give the record that users get, with that of its session.

        Parameters
        ----------
        session : Bunch
            As ``search(details=True)`` gives it.

        Returns
        -------
        Bunch
            ``session`` is the eid as text, as in a database's own record.
        """
        from uuid import UUID

        return Bunch(
            id=UUID(self.id),
            session=self.eid,
            name=self.name,
            model=self.model,
            serial=self.serial,
            json=self.json,
            datasets=list(self.datasets),
            session_info=session,
        )


def _from_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        # another program's table, which holds it in another form
        return value


def search(tables: Tables, terms: Mapping[str, Any], *, wildcards: bool = True) -> list[Insertion]:
    """Find the insertions for which all terms hold, by session newest first, then by name.

    Parameters
    ----------
    tables : Tables
        Where to look; they have a table of insertions.
    terms : mapping
        Full names of :data:`SEARCH_TERMS`, or ``id``, and values; None means that the term is
        not set.
    wildcards : bool
        Whether texts about sessions and datasets are regular expressions.

    Returns
    -------
    list of Insertion

    Raises
    ------
    QueryNotCached
        A term about datasets, of which the tables lack the records.

    Notes
    -----
    Terms about the session mean what they mean in a search of sessions. `name`, `model` and
    `serial` are whole, upper and lower case alike. `datasets`: the insertion has, for each, a
    dataset of that whole name that is on a server with QC at most `dataset_qc_lte` (FAIL when
    not given); `dataset`: one whose name contains it.
    """
    given = {_SAME.get(name, name): value for name, value in terms.items() if value is not None}
    about_session = {name: given.pop(name) for name in SESSION_TERMS if name in given}
    rows = tables.rows(f"SELECT * FROM {TABLE}")
    if about_session:
        sessions = search_sessions(tables, about_session, wildcards=wildcards)
    else:
        sessions = tables.sessions(sorted({row["eid"] for row in rows}))
    known = {session.id: session for session in sessions}
    found = [
        Insertion.read(row, known.get(row["eid"]))
        for row in rows
        if not about_session or row["eid"] in known
    ]
    for name in ("id", "eid", "name", "model", "serial"):
        if name in given:
            wanted = {str(one).casefold() for one in listed(given[name])}
            found = [one for one in found if getattr(one, name).casefold() in wanted]
    if found and {"dataset", "datasets", "dataset_qc_lte"} & set(given):
        found = _with_datasets(tables, found, given, wildcards=wildcards)
    return newest_first(found)


def newest_first(found: Sequence[Insertion]) -> list[Insertion]:
    """Sort as searches of sessions are, then by name."""

    def key(one: Insertion) -> tuple[int, str, int]:
        session = one.session
        day = session.date.toordinal() if session.date else -1
        return day, session.subject, -1 if session.number is None else session.number

    by_name = sorted(found, key=lambda one: (one.name, one.id))
    # a sort in reverse is stable too: what is equal stays in its order
    return sorted(by_name, key=key, reverse=True)


def _with_datasets(
    tables: Tables, found: Sequence[Insertion], given: Mapping[str, Any], *, wildcards: bool
) -> list[Insertion]:
    """Keep the insertions whose datasets are as the terms want them."""
    wanted = sorted({id for one in found for id in one.datasets})
    datasets = {dataset.id: dataset for dataset in tables.datasets(wanted)}
    missing = len(wanted) - len(datasets)
    if missing:
        raise QueryNotCached(
            f"the tables in {tables.folder} lack {missing} of the {len(wanted)} datasets of these "
            "insertions, so they cannot be searched by dataset; list the datasets of their "
            "sessions in remote mode and save_cache()"
        )
    level = given.get("dataset_qc_lte")
    worst = QC.FAIL if level is None else QC.read(level)
    names = listed(given.get("datasets", ()))
    tests = [expression(name).fullmatch if wildcards else str(name).__eq__ for name in names]
    parts = [str(part).casefold() for part in listed(given.get("dataset", ()))]

    def fits(one: Insertion) -> bool:
        own = [datasets[id] for id in one.datasets]
        good = [dataset for dataset in own if dataset.qc <= worst]
        if level is not None and not good:
            return False
        if parts and not any(part in ds.name.casefold() for ds in own for part in parts):
            return False
        there = [dataset.name for dataset in good if dataset.exists]
        return all(any(map(test, there)) for test in tests)

    return [one for one in found if fits(one)]
