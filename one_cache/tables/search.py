"""Sessions that meet terms about themselves and about their datasets."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from one_cache.records import QC
from one_cache.tables.memory import Row
from one_cache.tables.rowfile import RowFile
from one_cache.tables.schema import QC_NAMES, quoted
from one_cache.tables.shelf import Shelf, rows_as_dicts

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

    def sql(self) -> tuple[str, list[Any]]:
        """Give the condition in SQL, and its values."""
        where = [f"{quoted(column)} IN {_VALUES}" for column in self.texts]
        values: list[Any] = [list(texts) for texts in self.texts.values()]
        if self.numbers is not None:
            where.append("number::BIGINT IN (SELECT unnest(?::BIGINT[]))")
            values.append(list(self.numbers))
        for day, operator in ((self.first, ">="), (self.last, "<=")):
            if day is not None:
                where.append(f"date {operator} ?")
                values.append(day)
        return " AND ".join(where) or "true", values


def newest_first(rows: Sequence[Row]) -> list[Row]:
    """Sort sessions by date, subject and number, all descending; null comes last.

    Examples
    --------
    >>> day = dt.date(2024, 3, 1)
    >>> rows = [{"id": "a", "date": None}, {"id": "c", "date": day}, {"id": "b", "date": day}]
    >>> [row["id"] for row in newest_first(rows)]
    ['b', 'c', 'a']
    """
    return sorted(
        sorted(rows, key=lambda row: row["id"]),
        key=lambda row: (
            row["date"] or dt.date.min,
            row.get("subject") or "",
            -1 if row.get("number") is None else row["number"],
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
    """See :meth:`one_cache.tables.Tables.sessions_with`."""
    direct = shelf.current().direct.get("datasets")
    if eids is not None and len(eids) <= FEW and direct is not None:
        return sorted(_with_few(shelf, direct, requirements, qc_at_most, eids))
    sql, values = _eids_sql(shelf, requirements, qc_at_most, eids)
    return sorted(row[0] for row in shelf.ask(sql, values)[1])


def find(
    shelf: Shelf, terms: Terms, requirements: Requirements | None, qc_at_most: QC
) -> list[Row]:
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
    list of dict
    """
    rows = _scanned(shelf, terms) if terms else None
    if rows is None and not (terms and requirements is not None):
        return _found(shelf, *terms.sql(), requirements, qc_at_most)
    if rows is None:
        rows = _found(shelf, *terms.sql(), None, qc_at_most)
    if requirements is not None:
        eids = set(sessions_with(shelf, requirements, qc_at_most, [row["id"] for row in rows]))
        rows = [row for row in rows if row["id"] in eids]
    return newest_first(rows)


def _found(
    shelf: Shelf, where: str, values: list[Any], requirements: Requirements | None, qc: QC
) -> list[Row]:
    """Ask the engine, in one question."""
    if requirements is not None:
        sql, more = _eids_sql(shelf, requirements, qc, None)
        where, values = f"{where} AND id IN ({sql})", [*values, *more]
    order = ", ".join(f"{one} DESC NULLS LAST" for one in ("date", "subject", "number"))
    sql = f"SELECT * FROM sessions WHERE {where} ORDER BY {order}, id"
    return rows_as_dicts(*shelf.ask(sql, values))


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
    direct = shelf.current().direct.get(table)
    if direct is not None and not shelf.memory.rows(table):
        known = direct.distinct(column)
        if known is not None:
            return known
    one = quoted(column)
    sql = f"SELECT DISTINCT {one} FROM {quoted(table)} WHERE {one} IS NOT NULL ORDER BY 1"
    return [row[0] for row in shelf.ask(sql)[1]]


# -- without the engine ----------------------------------------------------------------------


def _scanned(shelf: Shelf, terms: Terms) -> list[Row] | None:
    """Read the records of all sessions; None when that is no gain, or no way."""
    direct = shelf.current().direct.get("sessions")
    if direct is None or direct.count > _SCANNED or shelf.memory.rows("sessions"):
        return None
    rows = direct.matching(terms.texts, numbers=terms.numbers, days=(terms.first, terms.last))
    return None if rows is None else rows_as_dicts(direct.columns, rows)


def _with_few(
    shelf: Shelf,
    direct: RowFile,
    requirements: Requirements,
    qc_at_most: QC,
    eids: Collection[str],
) -> list[str]:
    good, wanted = set(good_levels(qc_at_most)), [set(names) for names in requirements]
    found = []
    for eid in set(eids):
        with shelf.lock:
            new = {row["id"]: row for row in shelf.memory.of_session(eid)}
        rows = direct.of_session(eid, ["rel_path", "exists", "qc", "id"])
        paths = {row[0] for row in rows if row[1] and row[2] in good and row[3] not in new}
        paths |= {row["rel_path"] for row in new.values() if row["exists"] and row["qc"] in good}
        names = {path.rpartition("/")[2] for path in paths}
        if names and all(not names.isdisjoint(some) for some in wanted):
            found.append(eid)
    return found
