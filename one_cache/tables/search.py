"""Sessions that meet terms about themselves and about their datasets."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from one_cache.records import QC, Session
from one_cache.tables.memory import Row
from one_cache.tables.rowfile import LARGE, RowFile
from one_cache.tables.rows import named, session_of
from one_cache.tables.schema import LAYOUTS, QC_NAMES, quoted
from one_cache.tables.shelf import Shelf

FEW = 200  # sessions that are looked at one by one in less time than a scan of all takes
_SCANNED = 200_000  # sessions whose records are read here in less time than an engine starts
_VALUES = "(SELECT unnest(?::VARCHAR[]))"

Requirements = Sequence[Collection[str]]
"""File names: a session must have, of each collection, one that exists in good quality."""


@dataclass(frozen=True)
class Terms:
    """What sessions are looked for.

    Attributes
    ----------
    texts : mapping of str to collection of str
        Column and the values that it may have.
    numbers : collection of int or None
        Values that ``number`` may have.
    first, last : datetime.date or None
        Days between which the session lies, both included.

    Examples
    --------
    >>> Terms({"subject": ["KS014"]}, last=dt.date(2024, 3, 1)).sql()
    ('"subject" IN (SELECT unnest(?::VARCHAR[])) AND date <= ?',
     [['KS014'], datetime.date(2024, 3, 1)])
    """

    texts: Mapping[str, Collection[str]] = field(default_factory=dict)
    numbers: Collection[int] | None = None
    first: dt.date | None = None
    last: dt.date | None = None

    def __bool__(self) -> bool:
        return bool(self.texts) or any(
            term is not None for term in (self.numbers, self.first, self.last)
        )

    def test(self) -> Callable[[Session], bool]:
        """Give the test whether a session meets the terms.

        Examples
        --------
        >>> Terms({"subject": ["KS014"]}, numbers=[1]).test()(Session("a", subject="KS014"))
        False
        """
        texts = [(_getter(column), set(values)) for column, values in self.texts.items()]
        numbers = None if self.numbers is None else set(self.numbers)
        first, last = self.first or dt.date.min, self.last or dt.date.max
        any_day = self.first is None and self.last is None

        def fits(session: Session) -> bool:
            return (
                all(get(session) in values for get, values in texts)
                and (numbers is None or session.number in numbers)
                and (any_day or (session.date is not None and first <= session.date <= last))
            )

        return fits

    def sql(self) -> tuple[str, list[Any]]:
        """Give the condition in SQL, and its values."""
        where = [
            # nothing reads as the empty text, as it does in a Session
            f"{_or_empty(column) if '' in texts else quoted(column)} IN {_VALUES}"
            for column, texts in self.texts.items()
        ]
        values: list[Any] = [list(texts) for texts in self.texts.values()]
        if self.numbers is not None:
            where.append("number::BIGINT IN (SELECT unnest(?::BIGINT[]))")
            values.append(list(self.numbers))
        for day, operator in ((self.first, ">="), (self.last, "<=")):
            if day is not None:
                where.append(f"date {operator} ?")
                values.append(day)
        return " AND ".join(where) or "true", values


def _or_empty(column: str) -> str:
    return f"coalesce({quoted(column)}, '')"


def _getter(column: str) -> Callable[[Session], Any]:
    if column in LAYOUTS["sessions"].columns:
        return attrgetter(column)
    return lambda session: session.extra.get(column)


def newest_first(sessions: Iterable[Session]) -> list[Session]:
    """Sort sessions by date, subject and number, all descending; what is unknown comes last.

    Examples
    --------
    >>> day = dt.date(2024, 3, 1)
    >>> [one.id for one in newest_first([Session("a"), Session("c", date=day), Session("b")])]
    ['c', 'a', 'b']
    """
    return sorted(
        sorted(sessions, key=attrgetter("id")),
        key=lambda one: (
            one.date or dt.date.min,
            one.subject,
            -1 if one.number is None else one.number,
        ),
        reverse=True,
    )


def good_levels(qc_at_most: QC) -> list[str]:
    """Name the levels that count.

    Examples
    --------
    >>> good_levels(QC.PASS)
    ['NOT_SET', 'PASS']
    """
    return [name for name in QC_NAMES if QC[name] <= qc_at_most]


def sessions_with(
    shelf: Shelf, requirements: Requirements, qc_at_most: QC, eids: Collection[str] | None
) -> list[str]:
    """Give the sessions with these datasets; see `Tables.sessions_with`. In no order."""
    if eids is not None and len(eids) <= FEW:
        with shelf.lock:
            # together: what is saved goes from one to the other
            direct = shelf.current().direct.get("datasets")
            fresh = {eid: shelf.memory.of_session(eid) for eid in eids}
        if direct is not None:
            return _with_few(direct, fresh, requirements, qc_at_most)
    sql, values = _eids_sql(shelf, requirements, qc_at_most, eids)
    return [row[0] for row in shelf.ask(sql, values)[1]]


def find(
    shelf: Shelf, terms: Terms, requirements: Requirements | None, qc_at_most: QC
) -> list[Session]:
    """Find the sessions that meet all terms, newest first.

    Parameters
    ----------
    shelf : Shelf
        Where to look.
    terms : Terms
        About the sessions.
    requirements : sequence of collections of str, or None
        About their datasets; None: whatever they are.
    qc_at_most : QC
        Worst level that counts for `requirements`.

    Returns
    -------
    list of Session
    """
    found = _meeting(shelf, terms)
    if requirements is None or not found:
        return found
    eids = [one.id for one in found] if terms else None
    good = set(sessions_with(shelf, requirements, qc_at_most, eids))
    return [one for one in found if one.id in good]


def _meeting(shelf: Shelf, terms: Terms) -> list[Session]:
    """Give the sessions that meet the terms about themselves, newest first."""
    # in this order: what is saved goes from the one to the other
    alone = not shelf.memory.rows("sessions")
    edition = shelf.current()
    file, direct = edition.files.get("sessions"), edition.direct.get("sessions")
    if alone and terms and direct is not None and direct.count <= _SCANNED:
        days = (terms.first, terms.last)
        rows = direct.matching(terms.texts, numbers=terms.numbers, days=days)
        if rows is not None:
            return newest_first(map(session_of, named(direct.columns, rows)))
    if alone and file is not None and file.count <= LARGE:
        # asked once for all, they are kept: most searches of a lab go over the same few
        listed = edition.listed or _asked(shelf, Terms())
        edition.listed = listed
        return list(filter(terms.test(), listed)) if terms else list(listed)
    return _asked(shelf, terms)


def _asked(shelf: Shelf, terms: Terms) -> list[Session]:
    where, values = terms.sql()
    order = ", ".join(f"{one} DESC NULLS LAST" for one in ("date", "subject", "number"))
    sql = f"SELECT * FROM sessions WHERE {where} ORDER BY {order}, id"
    return list(map(session_of, named(*shelf.ask(sql, values))))


def _eids_sql(
    shelf: Shelf, requirements: Requirements, qc_at_most: QC, eids: Collection[str] | None
) -> tuple[str, list[Any]]:
    where = ['"exists"', f"qc IN {_VALUES}"]
    values: list[Any] = [good_levels(qc_at_most)]
    if eids is not None:
        where.append(f"eid IN {_VALUES}")
        values.append(list(eids))
    having = ""
    if requirements:
        known = distinct(shelf, "datasets", "rel_path")
        paths = [(path, path.rpartition("/")[2]) for path in known]
        wanted = [[path for path, name in paths if name in names] for names in requirements]
        where.append(f"rel_path IN {_VALUES}")
        values.append(list({path for some in wanted for path in some}))
        if len(wanted) > 1:
            having = " HAVING " + " AND ".join([f"bool_or(rel_path IN {_VALUES})"] * len(wanted))
            values += wanted
    return f"SELECT eid FROM datasets WHERE {' AND '.join(where)} GROUP BY eid{having}", values


def distinct(shelf: Shelf, table: str, column: str) -> list[Any]:
    """See :meth:`one_cache.tables.Tables.distinct`."""
    alone = not shelf.memory.rows(table)
    direct = shelf.current().direct.get(table)
    if direct is not None and alone:
        known = direct.distinct(column)
        if known is not None:
            return known
    one = quoted(column)
    sql = f"SELECT DISTINCT {one} FROM {quoted(table)} WHERE {one} IS NOT NULL ORDER BY 1"
    return [row[0] for row in shelf.ask(sql)[1]]


# -- without the engine ----------------------------------------------------------------------


def _with_few(
    direct: RowFile,
    fresh: Mapping[str, Sequence[Row]],
    requirements: Requirements,
    qc_at_most: QC,
) -> list[str]:
    """Choose among sessions, each given with its new rows."""
    good, wanted = set(good_levels(qc_at_most)), [set(names) for names in requirements]
    found = []
    for eid, added in fresh.items():
        new = {row["id"]: row for row in added}
        rows = direct.of_session(eid, ["rel_path", "exists", "qc", "id"])
        paths = {row[0] for row in rows if row[1] and row[2] in good and row[3] not in new}
        paths |= {row["rel_path"] for row in new.values() if row["exists"] and row["qc"] in good}
        names = {path.rpartition("/")[2] for path in paths}
        if names and all(not names.isdisjoint(some) for some in wanted):
            found.append(eid)
    return found
