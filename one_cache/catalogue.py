"""Who answers a question: access tables, or a remote that answers one question at a time.

Both give the same records for the same question, so nothing above knows which one was asked.

What a remote answers is kept in tables: ``sessions``, ``datasets``, ``aggregates`` (datasets
without a session, which ONE-api could not read among the others), ``insertions``, and a small
table for each kind of which a database gives all records at once: ``dataset_types``,
``revisions``, ``notices``. The table ``questions`` names what was answered completely, so that
"there is none" can be told from "nobody asked".
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol

from one_cache import query
from one_cache.errors import QueryNotCached, RemoteError
from one_cache.query import insertions
from one_cache.query.insertions import Insertion
from one_cache.records import QC, Dataset, Session
from one_cache.remotes import Question, Remote

if TYPE_CHECKING:
    from one_cache.tables import Tables


Row = dict[str, Any]
QUESTIONS = "questions"
AGGREGATES = "aggregates"


class Catalogue(Protocol):
    """Answers questions about sessions and datasets."""

    @property
    def memory(self) -> Tables | None:
        """Where the answers are kept in memory; None where they come from there."""
        ...

    def search(self, terms: Mapping[str, Any], *, wildcards: bool) -> list[Session]:
        """Find sessions; see :func:`one_cache.query.search`."""
        ...

    def sessions(self, eids: Sequence[str]) -> list[Session]:
        """Give the sessions of these ids, in their order; unknown ones are left out."""
        ...

    def sessions_at(self, subject: str, date: dt.date, number: int) -> list[Session]:
        """Give the sessions of that subject, day and number."""
        ...

    def datasets_of(self, eid: str) -> list[Dataset]:
        """Give all datasets of a session, sorted by relative path."""
        ...

    def datasets(self, ids: Sequence[str]) -> list[Dataset]:
        """Give the datasets of these ids, in their order; unknown ones are left out."""
        ...

    def search_terms(self, table: str = "sessions") -> tuple[str, ...]:
        """Name what ``sessions`` or ``insertions`` are searched by, sorted."""
        ...

    def subjects(self) -> list[str]:
        """Name the subjects, sorted."""
        ...

    def insertions(self, terms: Mapping[str, Any], *, wildcards: bool) -> list[Insertion]:
        """Find insertions, also by ``id``; see :func:`one_cache.query.insertions.search`."""
        ...

    def aggregates(self) -> list[Dataset]:
        """Give the datasets that belong to no session, sorted by path."""
        ...

    def known(self, kind: str) -> list[Row]:
        """Give all records of ``dataset-types``, ``revisions`` or ``notices``, by name."""
        ...

    def is_complete(self, question: str) -> bool:
        """Whether "none" is an answer to this question, rather than "nobody asked"."""
        ...


class TableCatalogue:
    """Answers from access tables.

    Parameters
    ----------
    tables : Tables
        Where the records are.
    memory : Tables, optional
        Where the answers are kept in memory, for ``save_cache``; for a remote's own tables.
    """

    def __init__(self, tables: Tables, memory: Tables | None = None) -> None:
        self.tables = tables
        self.memory: Tables | None = memory

    def _sessions(self, found: list[Session]) -> list[Session]:
        if self.memory is not None and found:
            self.memory.add("sessions", found)
        return found

    def _datasets(self, found: list[Dataset]) -> list[Dataset]:
        if self.memory is not None and found:
            self.memory.add("datasets", found)
        return found

    def search(self, terms: Mapping[str, Any], *, wildcards: bool) -> list[Session]:
        """See :class:`Catalogue`."""
        return self._sessions(query.search(self.tables, terms, wildcards=wildcards))

    def sessions(self, eids: Sequence[str]) -> list[Session]:
        """See :class:`Catalogue`."""
        return self._sessions(self.tables.sessions(eids))

    def sessions_at(self, subject: str, date: dt.date, number: int) -> list[Session]:
        """See :class:`Catalogue`."""
        rows = self.tables.rows(
            "SELECT id FROM sessions WHERE subject = ? AND date = ? AND coalesce(number, 0) = ? "
            "ORDER BY id",
            [subject, date, number],
        )
        return self.sessions([row["id"] for row in rows])

    def datasets_of(self, eid: str) -> list[Dataset]:
        """See :class:`Catalogue`."""
        return self._datasets(self.tables.datasets_of(eid))

    def datasets(self, ids: Sequence[str]) -> list[Dataset]:
        """See :class:`Catalogue`."""
        found = {one.id: one for one in self._datasets(self.tables.datasets(ids))}
        if len(found) < len(set(ids)) and AGGREGATES in self.tables.names():
            found.update((one.id, one) for one in self.aggregates() if one.id in ids)
        return [found[one] for one in ids if one in found]

    def search_terms(self, table: str = "sessions") -> tuple[str, ...]:
        """See :class:`Catalogue`."""
        return query.SEARCH_TERMS if table == "sessions" else insertions.SEARCH_TERMS

    def subjects(self) -> list[str]:
        """See :class:`Catalogue`."""
        return sorted(filter(None, self.tables.distinct("sessions", "subject")))

    def insertions(self, terms: Mapping[str, Any], *, wildcards: bool) -> list[Insertion]:
        """See :class:`Catalogue`."""
        if "insertions" not in self.tables.names():
            self._require("insertions")
            return []
        found = insertions.search(self.tables, terms, wildcards=wildcards)
        if self.memory is not None:
            self.memory.add("insertions", [one.row() for one in found])
        return found

    def aggregates(self) -> list[Dataset]:
        """See :class:`Catalogue`."""
        if AGGREGATES not in self.tables.names():
            self._require(AGGREGATES)
            return []
        rows = self.tables.rows(f"SELECT * FROM {AGGREGATES} ORDER BY rel_path, id")
        found = list(map(_read_aggregate, rows))
        if self.memory is not None:
            keep_datasets(self.memory, found)
        return found

    def known(self, kind: str) -> list[Row]:
        """See :class:`Catalogue`."""
        name = kind.replace("-", "_")
        if name not in self.tables.names():
            self._require(kind)
            return []
        rows = self.tables.rows(f"SELECT * FROM {name} ORDER BY name, id")
        if self.memory is not None:
            self.memory.add(name, rows)
        return rows

    def is_complete(self, question: str) -> bool:
        """See :class:`Catalogue`."""
        whole = question.partition(" ")[0]
        if self.memory is not None:
            # a table is all that the remote has
            return whole.replace("-", "_") in self.tables.names()
        if QUESTIONS not in self.tables.names():
            return False
        sql = f"SELECT id FROM {QUESTIONS} WHERE id IN (?, ?)"
        return bool(self.tables.rows(sql, [question, whole]))

    def _require(self, question: str) -> None:
        """Raise unless there being none is an answer."""
        if self.is_complete(question):
            return
        if self.memory is not None:
            raise QueryNotCached(f"the tables that the server carries hold no {question}")
        raise QueryNotCached(
            f"the tables in {self.tables.folder or 'memory'} hold no {question}; ask for them in "
            "remote mode and save_cache(), or load tables that have them"
        )


class RemoteCatalogue:
    """Answers by asking a remote that has no tables.

    Parameters
    ----------
    remote : Remote
        Whom to ask.
    memory : Tables
        Where the answers are kept in memory, for ``save_cache``.
    no_cache : bool
        Ask in any case, whatever answers the remote keeps.
    """

    def __init__(self, remote: Remote, memory: Tables, *, no_cache: bool = False) -> None:
        self.remote = remote
        self.memory = memory
        self._always: Mapping[str, Any] = {"no_cache": True} if no_cache else {}

    def _answer(self, table: str, /, **terms: Any) -> Sequence[Mapping[str, Any]] | None:
        return self.remote.records(Question(table, {**terms, **self._always}))

    def _ask(self, table: str, /, **terms: Any) -> Sequence[Mapping[str, Any]]:
        rows = self._answer(table, **terms)
        if rows is None:
            raise RemoteError(
                f"{self.remote.name} carries no tables and answers no questions about {table}"
            )
        return rows

    def _sessions(self, **terms: Any) -> list[Session]:
        found = [Session(**row) for row in self._ask("sessions", **terms)]
        self.memory.add("sessions", found)
        return found

    def _datasets(self, **terms: Any) -> list[Dataset]:
        rows = self._ask("datasets", **terms)
        found = [_read_dataset(row) for row in rows]
        keep_datasets(self.memory, found)
        return found

    def search(self, terms: Mapping[str, Any], *, wildcards: bool) -> list[Session]:
        """See :class:`Catalogue`."""
        return self._sessions(**terms, wildcards=wildcards)

    def sessions(self, eids: Sequence[str]) -> list[Session]:
        """See :class:`Catalogue`."""
        found = {session.id: session for session in self._sessions(id=list(eids))}
        return [found[eid] for eid in eids if eid in found]

    def sessions_at(self, subject: str, date: dt.date, number: int) -> list[Session]:
        """See :class:`Catalogue`."""
        day = date.isoformat()
        # one without a number is called 0
        terms = {"number": number} if number else {}
        found = self._sessions(subject=subject, date_range=[day, day], wildcards=False, **terms)
        wanted = (subject, date, number)
        return [one for one in found if (one.subject, one.date, one.number or 0) == wanted]

    def datasets_of(self, eid: str) -> list[Dataset]:
        """See :class:`Catalogue`."""
        return sorted(self._datasets(eid=eid), key=lambda dataset: dataset.rel_path)

    def datasets(self, ids: Sequence[str]) -> list[Dataset]:
        """See :class:`Catalogue`."""
        found = {dataset.id: dataset for dataset in self._datasets(id=list(ids))}
        return [found[one] for one in ids if one in found]

    def search_terms(self, table: str = "sessions") -> tuple[str, ...]:
        """See :class:`Catalogue`."""
        return tuple(sorted(row["name"] for row in self._ask("search-terms", table=table)))

    def subjects(self) -> list[str]:
        """See :class:`Catalogue`."""
        return sorted({row["name"] for row in self._ask("subjects")})

    def insertions(self, terms: Mapping[str, Any], *, wildcards: bool) -> list[Insertion]:
        """See :class:`Catalogue`."""
        rows = self._ask("insertions", **terms, wildcards=wildcards)
        found = [Insertion.read(row) for row in rows]
        self.memory.add("sessions", [one.session for one in found])
        self.memory.add("insertions", [one.row() for one in found])
        names = {name for name, value in terms.items() if value is not None}
        # of a session that is found by these, all are found
        if not names:
            self._note("insertions")
        elif names == {"eid"}:
            self._note(*(f"insertions {eid}" for eid in query.listed(terms["eid"])))
        elif names <= set(insertions.SESSION_TERMS):
            self._note(*sorted({f"insertions {one.eid}" for one in found}))
        return found

    def aggregates(self) -> list[Dataset]:
        """See :class:`Catalogue`."""
        found = [_read_dataset(row) for row in self._ask("aggregates")]
        keep_datasets(self.memory, found)
        self._note(AGGREGATES)
        return found

    def known(self, kind: str) -> list[Row]:
        """See :class:`Catalogue`."""
        answer = self._answer(kind)
        if answer is None:
            raise QueryNotCached(f"{self.remote.name} knows nothing of {kind}")
        rows = [_flat(row) for row in answer]
        self.memory.add(kind.replace("-", "_"), rows)
        self._note(kind)
        return sorted(rows, key=lambda row: (row["name"], row["id"]))

    def is_complete(self, question: str) -> bool:
        """See :class:`Catalogue`."""
        return True

    def bring_tag(self, tag: str) -> None:
        """Bring the datasets of a tag, and their sessions, into memory."""
        found = self._datasets(tag=tag)
        self._sessions(id=sorted({one.eid for one in found if one.eid}))

    def _note(self, *questions: str) -> None:
        """Keep that these were answered completely."""
        rows = [{"id": one, "answered_by": self.remote.name} for one in questions]
        self.memory.add(QUESTIONS, rows)


def keep_datasets(tables: Tables, found: Sequence[Dataset]) -> None:
    """Add datasets to tables, those without a session to a table of their own."""
    tables.add("datasets", [one for one in found if one.eid])
    aggregates = [_aggregate_row(one) for one in found if not one.eid]
    if aggregates:
        tables.add(AGGREGATES, aggregates)


def _aggregate_row(dataset: Dataset) -> Row:
    row = {item.name: getattr(dataset, item.name) for item in fields(Dataset)}
    del row["eid"], row["extra"]
    return {**row, "qc": dataset.qc.name, **dataset.extra}


def _read_aggregate(row: Mapping[str, Any]) -> Dataset:
    known = {item.name for item in fields(Dataset)}
    size = row.get("file_size")
    return Dataset(
        id=row["id"],
        eid="",
        rel_path=row["rel_path"],
        # a column without any value has the type of text
        file_size=None if size is None else int(size),
        hash=row.get("hash") or None,
        exists=row.get("exists") is not False,
        qc=QC.read(row.get("qc") or "NOT_SET"),
        default_revision=row.get("default_revision"),
        extra={name: value for name, value in row.items() if name not in known},
    )


def _read_dataset(row: Mapping[str, Any]) -> Dataset:
    extra = dict(row.get("extra") or {})
    # a path says them already
    for name in ("relation", "identifier"):
        extra.pop(name, None)
    return Dataset(**{**row, "qc": QC.read(row.get("qc", "NOT_SET")), "extra": extra})


def _flat(row: Mapping[str, Any]) -> Row:
    """Give a row whose lists are texts, joined by commas."""
    return {
        name: ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        for name, value in row.items()
    }
