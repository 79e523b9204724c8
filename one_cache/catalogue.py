"""Who answers a question: access tables, or a remote that answers one question at a time.

Both give the same records for the same question, so nothing above knows which one was asked.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from one_cache import query
from one_cache.errors import RemoteError
from one_cache.records import QC, Dataset, Session
from one_cache.remotes import Question, Remote

if TYPE_CHECKING:
    from one_cache.tables import Tables


class Catalogue(Protocol):
    """Answers questions about sessions and datasets."""

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
        self.memory = memory

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
            "SELECT id FROM sessions WHERE subject = ? AND date = ? AND number = ? ORDER BY id",
            [subject, date, number],
        )
        return self.sessions([row["id"] for row in rows])

    def datasets_of(self, eid: str) -> list[Dataset]:
        """See :class:`Catalogue`."""
        return self._datasets(self.tables.datasets_of(eid))

    def datasets(self, ids: Sequence[str]) -> list[Dataset]:
        """See :class:`Catalogue`."""
        return self._datasets(self.tables.datasets(ids))


class RemoteCatalogue:
    """Answers by asking a remote that has no tables.

    Parameters
    ----------
    remote : Remote
        Whom to ask.
    memory : Tables
        Where the answers are kept in memory, for ``save_cache``.
    """

    def __init__(self, remote: Remote, memory: Tables) -> None:
        self.remote = remote
        self.memory = memory

    def _ask(self, table: str, **terms: Any) -> Sequence[Mapping[str, Any]]:
        rows = self.remote.records(Question(table, terms))
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
        found = [Dataset(**{**row, "qc": QC.read(row.get("qc", "NOT_SET"))}) for row in rows]
        self.memory.add("datasets", found)
        return found

    def search(self, terms: Mapping[str, Any], *, wildcards: bool) -> list[Session]:
        """See :class:`Catalogue`."""
        return self._sessions(**terms)

    def sessions(self, eids: Sequence[str]) -> list[Session]:
        """See :class:`Catalogue`."""
        found = {session.id: session for session in self._sessions(id=list(eids))}
        return [found[eid] for eid in eids if eid in found]

    def sessions_at(self, subject: str, date: dt.date, number: int) -> list[Session]:
        """See :class:`Catalogue`."""
        day = date.isoformat()
        found = self._sessions(subject=subject, date_range=[day, day], number=number)
        wanted = (subject, date, number)
        return [one for one in found if (one.subject, one.date, one.number) == wanted]

    def datasets_of(self, eid: str) -> list[Dataset]:
        """See :class:`Catalogue`."""
        return sorted(self._datasets(eid=eid), key=lambda dataset: dataset.rel_path)

    def datasets(self, ids: Sequence[str]) -> list[Dataset]:
        """See :class:`Catalogue`."""
        found = {dataset.id: dataset for dataset in self._datasets(id=list(ids))}
        return [found[one] for one in ids if one in found]
