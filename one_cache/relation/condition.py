"""What may stand after ``&`` and ``-``, and the SQL that each of them becomes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from one_cache.errors import CacheWarning, InvalidArgument, near_misses
from one_cache.relation.heading import Heading
from one_cache.relation.rows import Rows
from one_cache.relation.source import Memory, Source
from one_cache.relation.text import as_sql
from one_cache.relation.universe import U
from one_cache.relation.values import fitted
from one_cache.tables.schema import quoted

# more keys than this are joined: the engine compares each row with each alternative of an OR
_MANY = 16

# names that some table or result of this process has or had: any other name in a mapping is
# most likely misspelt. It only decides about a warning
_KNOWN: set[str] = set()


class AndList(list[Any]):
    """Conditions that must all be true; an empty one is.

    Examples
    --------
    >>> AndList(["trial_id < 5", {"trial_type": "ctrl"}])
    ['trial_id < 5', {'trial_type': 'ctrl'}]
    """


@dataclass(frozen=True)
class Not:
    """A condition turned round: ``rows & Not(x)`` is ``rows - x``.

    Attributes
    ----------
    condition : any
        What may stand after ``&``.
    """

    condition: Any


@dataclass(frozen=True)
class Top:
    """The first rows in some order: ``rows & Top(5, order_by="trial_id DESC")``.

    Attributes
    ----------
    limit : int or None
        How many; None for all.
    order_by : str or sequence of str
        Columns, each with or without ``DESC``; ``"KEY"`` stands for the primary key.
    offset : int
        How many to skip first.
    """

    limit: int | None = 1
    order_by: Any = "KEY"
    offset: int = 0


@dataclass(frozen=True)
class Clause:
    """A condition in SQL.

    Attributes
    ----------
    sql, params, sources
        As in a `Query`.
    is_text : bool
        Whether users wrote a part of it, which the engine may not understand.
    """

    sql: str
    params: tuple[Any, ...] = ()
    sources: tuple[Source, ...] = ()
    is_text: bool = False


def as_ours(condition: Any) -> Any:
    """Give DataJoint's own ``AndList``, ``Not``, ``Top`` and ``U`` as ours.

    Anything else is given back as it is. They are told by their names, as DataJoint need not be
    installed.

    Examples
    --------
    >>> as_ours({"trial_id": 1})
    {'trial_id': 1}
    """
    kind = type(condition)
    if kind.__module__.partition(".")[0] != "datajoint":
        return condition
    if kind.__name__ == "AndList":
        return AndList(condition)
    if kind.__name__ == "Not":
        return Not(condition.restriction)
    if kind.__name__ == "Top":
        return Top(condition.limit, condition.order_by, condition.offset)
    return U(*condition.primary_key) if kind.__name__ == "U" else condition


def know(names: Iterable[str]) -> None:
    """Tell which names exist, so that a mapping may use them on any table without a warning.

    Parameters
    ----------
    names : iterable of str
        Columns of tables that are not open as relations yet.
    """
    _KNOWN.update(names)


def clause(heading: Heading, condition: Any) -> Clause:
    """Give the SQL of a condition.

    Parameters
    ----------
    heading : Heading
        Of the relation that is restricted, which the SQL calls ``r``.
    condition : any
        Text, mapping, relation, `AndList`, `Not`, truth value, frame, or a sequence of these, one
        of which must be true.

    Returns
    -------
    Clause

    Raises
    ------
    InvalidArgument
        It is none of these, or compares with a value that the column cannot have.
    """
    condition = as_ours(condition)
    if isinstance(condition, Not):
        inner = clause(heading, condition.condition)
        return replace(inner, sql=f"NOT ({inner.sql})")
    if isinstance(condition, AndList):
        return _joined(" AND ", "TRUE", [clause(heading, one) for one in condition])
    if isinstance(condition, str):
        # the line ends what may be a comment
        return Clause(f"{as_sql(condition)}\n", is_text=True)
    if isinstance(condition, Rows):
        return _matching(heading, condition)
    if isinstance(condition, U):
        return Clause("TRUE")
    return _of_values(heading, condition)


def _of_values(heading: Heading, condition: Any) -> Clause:
    """Give the SQL of a truth value, a mapping, a record, or several of anything."""
    import numpy as np
    import pandas as pd

    if isinstance(condition, (bool, np.bool_)):
        return Clause("TRUE" if condition else "FALSE")
    if isinstance(condition, Mapping):
        return _equal(heading, condition)
    if isinstance(condition, np.void) and condition.dtype.names:
        return _equal(heading, {name: condition[name] for name in condition.dtype.names})
    if isinstance(condition, pd.DataFrame):
        rows = condition.reset_index() if any(condition.index.names) else condition
        return _any(heading, rows.to_dict("records"))
    if isinstance(condition, Iterable) and not isinstance(condition, (bytes, Top)):
        return _any(heading, list(condition))
    raise InvalidArgument(
        f"a condition is a mapping, SQL text, a relation or a list of these, got {condition!r}"
    )


def _joined(word: str, empty: str, clauses: list[Clause]) -> Clause:
    """Put clauses together."""
    return Clause(
        word.join(f"({one.sql})" for one in clauses) or empty,
        tuple(param for one in clauses for param in one.params),
        tuple(source for one in clauses for source in one.sources),
        any(one.is_text for one in clauses),
    )


def _known(heading: Heading, mapping: Mapping[Any, Any]) -> dict[str, Any]:
    """Give the entries that the heading has, in its types; warn of names that no table has."""
    for name in mapping:
        if name not in heading and name not in _KNOWN:
            near = near_misses(str(name), heading.names)
            warnings.warn(
                f"no table has a column {name!r}: it restricts nothing.{near}",
                CacheWarning,
                stacklevel=_outside(),
            )
    known = {name: value for name, value in mapping.items() if name in heading}
    for name in known:
        if heading[name].is_blob:
            raise InvalidArgument(f"column {name!r} holds arrays and cannot be compared")
    return {name: fitted(heading[name], value) for name, value in known.items()}


def _outside() -> int:
    """Count the frames up to the one that is not of this package."""
    import sys

    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("one_cache.relation"):
        level, frame = level + 1, frame.f_back
    return level


def _equal(heading: Heading, mapping: Mapping[Any, Any]) -> Clause:
    """Give the SQL of a mapping: all of the names that are known have these values."""
    known = _known(heading, mapping)
    tests = [
        f"r.{quoted(name)} IS NULL" if value is None else f"r.{quoted(name)} = ?"
        for name, value in known.items()
    ]
    values = tuple(value for value in known.values() if value is not None)
    return Clause(" AND ".join(tests) or "TRUE", values)


def _any(heading: Heading, conditions: list[Any]) -> Clause:
    """Give the SQL of several conditions, one of which must be true."""
    keys = [one for one in conditions if isinstance(one, Mapping)]
    if len(keys) < len(conditions) or len(keys) <= _MANY:
        return _joined(" OR ", "FALSE", [clause(heading, one) for one in conditions])
    by_names: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for key in keys:
        known = _known(heading, key)
        by_names.setdefault(tuple(sorted(known)), []).append(known)
    return _joined(
        " OR ",
        "FALSE",
        [_among(heading, names, rows) for names, rows in by_names.items()],
    )


def _among(heading: Heading, names: tuple[str, ...], rows: list[dict[str, Any]]) -> Clause:
    """Give the SQL of many mappings of the same names: a match in a table of them."""
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    if not names:
        return Clause("TRUE")
    uuids = {name for name in names if heading[name].type == "UUID"}
    columns = {}
    for name in names:
        values = [row[name] for row in rows]
        columns[name] = (
            [None if v is None else str(v) for v in values] if name in uuids else values
        )
    source = Memory(pa.table(columns))
    tests = " AND ".join(
        f"o.{quoted(name)}{'::UUID' if name in uuids else ''} "
        f"IS NOT DISTINCT FROM r.{quoted(name)}"
        for name in names
    )
    found = f"EXISTS (SELECT 1 FROM {quoted(source.token)} AS o WHERE {tests})"
    return Clause(found, (), (source,))


def _matching(heading: Heading, other: Rows) -> Clause:
    """Give the SQL of a match in another relation, on all common columns."""
    common = [name for name in heading.names if name in other.heading]
    for name in common:
        if heading[name].is_blob or other.heading[name].is_blob:
            raise InvalidArgument(f"column {name!r} holds arrays and cannot be compared")
    tests = " AND ".join(f"o.{quoted(name)} = r.{quoted(name)}" for name in common) or "TRUE"
    query = other.query
    found = f"EXISTS (SELECT 1 FROM ({query.sql}) AS o WHERE {tests})"
    return Clause(found, query.params, query.sources)
