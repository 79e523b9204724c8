"""Relations: restrict, join, project, aggregate and fetch rows, wherever they lie."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.errors import InvalidArgument, TableReadOnly, near_misses
from one_cache.relation.arrival import insert, read_source
from one_cache.relation.condition import Not, Top, as_ours, clause, know
from one_cache.relation.heading import Column, Heading
from one_cache.relation.rows import Rows
from one_cache.relation.source import Query, Source
from one_cache.relation.text import as_sql, names_in
from one_cache.tables.schema import quoted

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

_NAME = re.compile(r"\s*`?(?!(?:null|true|false)\b)(?P<name>[a-z_]\w*)`?\s*", re.IGNORECASE)
_COUNT = re.compile(r"\bcount\s*\(\s*\*\s*\)", re.IGNORECASE)
_MATCHED = "_one_cache_matched"
_COPY = re.compile(rf"\s*\({_NAME.pattern}\)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """What makes a relation a table: rows of its own, and names.

    Attributes
    ----------
    name : str
        As users write it, ``"Trial"`` or ``"Trial.Attribute"``.
    full_name : str
        As its database writes it.
    comment : str
        What the rows are.
    parts : mapping of str to Relation
        Part tables, which become attributes.
    tier : str
        How rows come in: ``"manual"``, ``"lookup"``, ``"imported"``, ``"computed"``, ``"part"``.
    source : Source or None
        The rows; a relation knows its own.
    """

    name: str = ""
    full_name: str = ""
    comment: str = ""
    parts: Mapping[str, Relation] = field(default_factory=dict)
    tier: str = ""
    source: Source | None = None


class Relation(Rows):
    """Rows with a primary key, and the algebra of DataJoint on them.

    ``rows & x`` keeps the rows for which `x` is true, ``rows - x`` those for which it is not; `x`
    is a mapping (names that the relation lacks are ignored), SQL text (texts in either kind of
    quotes), a list of alternatives, `AndList`, `Not`, `Top`, or another relation (a match on all
    common columns). ``a * b`` joins on all common columns. Nothing is read before it is needed.

    Parameters
    ----------
    source : DataFrame, pyarrow.Table, path of a Parquet file, list of mappings, or Source
        The rows.
    primary_key : str or sequence of str, optional
        The index of a frame by default; without one, all columns that hold single values.
    heading : Heading, optional
        Types, comments and units, where the source does not say them.
    table : Table, optional
        Names and parts.

    Examples
    --------
    >>> trials = Relation([{"trial_id": 1, "kind": "stim"}, {"trial_id": 2, "kind": "ctrl"}],
    ...                   ["trial_id"])
    >>> trials & 'kind = "ctrl"'
    *trial_id    kind
    +----------+ +------+
    2            ctrl
     (Total: 1)
    >>> (trials & {"trial_id": 1}).fetch1("KEY")
    {'trial_id': 1}
    """

    def __init__(
        self,
        source: pd.DataFrame | pa.Table | str | Path | Sequence[Mapping[str, Any]] | Source,
        primary_key: str | Sequence[str] | None = None,
        *,
        heading: Heading | None = None,
        table: Table | None = None,
    ) -> None:
        found, described = read_source(source, primary_key, heading)
        self.heading = described
        self._table: Table | None = replace(table or Table(), source=found)
        self.query = Query(f"SELECT {_items(described)} FROM {quoted(found.token)}", (), (found,))
        know(described.names)

    def derived(self, heading: Heading, query: Query, *, check: bool = False) -> Relation:
        """Give a result; with `check`, users' SQL in it is read by the engine at once."""
        result = copy.copy(self)
        result.heading, result.query, result._table, result._order = heading, query, None, None
        if check:
            query.types(what="cannot understand the expression")
        know(heading.names)
        return result

    # -- tables ----------------------------------------------------------------------------

    def __call__(self) -> Relation:
        """Give itself: a table is written with or without parentheses."""
        return self

    def __getattr__(self, name: str) -> Any:
        table = self.__dict__.get("_table")
        if table is not None and name in table.parts:
            return table.parts[name]
        known = list(table.parts) if table is not None else []
        raise AttributeError(f"a relation has no {name!r}.{near_misses(name, known)}")

    @property
    def name(self) -> str:
        """Name of the table; empty for a result."""
        return self._table.name if self._table else ""

    @property
    def full_name(self) -> str:
        """Name of the table in its database; empty for a result."""
        return self._table.full_name if self._table else ""

    @property
    def comment(self) -> str:
        """What the rows of the table are; empty for a result."""
        return self._table.comment if self._table else ""

    @property
    def tier(self) -> str:
        """How rows come into the table; empty for a result."""
        return self._table.tier if self._table else ""

    @property
    def parts(self) -> Mapping[str, Relation]:
        """Part tables."""
        return dict(self._table.parts) if self._table else {}

    def insert(
        self,
        rows: Any,
        *,
        replace: bool = False,
        skip_duplicates: bool = False,
        ignore_extra_fields: bool = False,
    ) -> None:
        """Add rows to a table, all of them or none.

        Parameters
        ----------
        rows : iterable of mapping or sequence, Relation, DataFrame, or path of a CSV file
            Sequences are in the order of the columns.
        replace : bool
            Refused where a row of the same key is there: rows are added, not changed.
        skip_duplicates : bool
            Whether rows whose key is there already are left out.
        ignore_extra_fields : bool
            Whether names that the table lacks are left out.

        Raises
        ------
        TableReadOnly
            It is a result or belongs to another place.
        DuplicateKey
            A row of that key is there already.
        InvalidArgument
            A name that the table lacks, a value that its column cannot have, or a missing one.
        """
        source = self._table.source if self._table else None
        if source is None:
            raise TableReadOnly("rows are inserted into tables; this is the result of a question")
        if replace:
            raise InvalidArgument("rows are added, not changed: replace=True is not supported")
        insert(source, self, rows, skip=skip_duplicates, ignore=ignore_extra_fields)

    def insert1(self, row: Any, **options: bool) -> None:
        """Add one row; parameters and errors as in `insert`."""
        self.insert([row], **options)

    # -- restrict --------------------------------------------------------------------------

    def restrict(self, *conditions: Any) -> Relation:
        """Keep the rows for which all conditions are true.

        Parameters
        ----------
        *conditions : any
            See the class.

        Returns
        -------
        Relation

        Raises
        ------
        InvalidArgument
            A column that is not there, or a value that a column cannot have.
        """
        result = self
        for condition in map(as_ours, conditions):
            if isinstance(condition, Top):
                result = result._top(condition)
                continue
            found = clause(result.heading, condition)
            sql = f"SELECT * FROM ({result.query.sql}) AS r WHERE ({found.sql})"
            query = Query(
                sql,
                (*result.query.params, *found.params),
                (*result.query.sources, *found.sources),
            )
            # nothing but users' own text can be wrong
            result = result.derived(result.heading, query, check=found.is_text)
        return result

    def __and__(self, condition: Any) -> Relation:
        return self.restrict(condition)

    def __sub__(self, condition: Any) -> Relation:
        return self.restrict(Not(condition))

    def __neg__(self) -> Not:
        return Not(self)

    def __contains__(self, condition: Any) -> bool:
        return bool(self & condition)

    def _top(self, top: Top) -> Relation:
        """Keep the first rows."""
        end = self._sorted(top.order_by, top.limit, top.offset)
        sql = f"SELECT * FROM ({self.query.sql}) AS r{end}"
        result = self.derived(self.heading, replace(self.query, sql=sql))
        result._order = top.order_by
        return result

    # -- join ------------------------------------------------------------------------------

    def join(self, other: Relation, *, left: bool = False) -> Relation:
        """Join on all common columns; without one, every row with every row.

        Parameters
        ----------
        other : Relation
            The right side.
        left : bool
            Whether rows without a match are kept, with no value in the columns of `other`.

        Returns
        -------
        Relation
            Its key is that of the side that determines the other one, or both.

        Raises
        ------
        InvalidArgument
            `left`, and the key of `other` is not all there.
        """
        if not isinstance(other, Relation):
            raise InvalidArgument(f"a relation is joined with a relation, got {other!r}")
        if left and not self.heading.determines(other.heading):
            missing = set(other.primary_key) - set(self.heading.names)
            raise InvalidArgument(f"a left join needs the whole key: {sorted(missing)} is missing")
        heading = self.heading.join(other.heading)
        query = self._joined(other, left)
        items = ", ".join(map(quoted, heading.names))
        return self.derived(heading, replace(query, sql=f"SELECT {items} FROM {query.sql}"))

    def __mul__(self, other: Relation) -> Relation:
        return self.join(other)

    def extend(self, other: Relation) -> Relation:
        """Add the columns of a relation whose whole key is here: a left join.

        Parameters
        ----------
        other : Relation
            What each row belongs to.

        Returns
        -------
        Relation
            All rows, with no value where `other` has no match.

        Raises
        ------
        InvalidArgument
            The key of `other` is not all there.
        """
        return self.join(other, left=True)

    def _joined(self, other: Relation, left: bool) -> Query:
        """Give what stands after FROM for this one and another one."""
        common = [quoted(name) for name in self.heading.names if name in other.heading]
        way = "LEFT" if left else "INNER"
        on = f"USING ({', '.join(common)})" if common else "ON TRUE"
        return Query(
            f"({self.query.sql}) AS a {way} JOIN "
            f"(SELECT *, 1 AS {_MATCHED} FROM ({other.query.sql})) AS b {on}",
            (*self.query.params, *other.query.params),
            (*self.query.sources, *other.query.sources),
        )

    # -- project ---------------------------------------------------------------------------

    def proj(self, *attrs: Any, **named: str) -> Relation:
        """Keep, rename and compute columns; the primary key is always kept.

        Parameters
        ----------
        *attrs : str or ...
            Columns to keep; ``...`` for all, ``"-name"`` for all but this one.
        **named : str
            ``new="old"`` renames, ``new="(old)"`` copies, ``new="expression"`` computes.

        Returns
        -------
        Relation

        Raises
        ------
        InvalidArgument
            A column that is not there, a name that comes twice, or a key that is dropped.

        Examples
        --------
        >>> rows = Relation([{"a": 1, "b": 2, "c": 3}], ["a"])
        >>> rows.proj("b", id="a", total="b + c").to_dicts()
        [{'id': 1, 'b': 2, 'total': 5}]
        """
        renamed, computed = _sorted_out(named)
        moved = {new: old for new, (old, copied) in renamed.items() if not copied}
        keep = self._kept(attrs, set(moved.values()))
        old_names = {new: old for new, (old, _) in renamed.items()}
        heading = self.heading.select(keep, old_names, map(Column, computed))
        values = {name: f"r.{quoted(old_names.get(name, name))}" for name in heading.names}
        values.update((new, f"({as_sql(text)}\n)") for new, text in computed.items())
        items = ", ".join(f"{value} AS {quoted(name)}" for name, value in values.items())
        query = replace(self.query, sql=f"SELECT {items} FROM ({self.query.sql}) AS r")
        return self.derived(_typed(heading, query, computed), query)

    def _kept(self, attrs: Sequence[Any], moved: set[str]) -> list[str]:
        """Give the columns that a projection keeps under their name."""
        for attr in attrs:
            if attr is not ... and not isinstance(attr, str):
                raise InvalidArgument(f"a column is named by a text, got {attr!r}")
        names = [attr for attr in attrs if attr is not ...]
        dropped = {attr.strip()[1:].strip() for attr in names if attr.strip().startswith("-")}
        wanted = [attr for attr in names if not attr.strip().startswith("-")]
        for name in (*dropped, *wanted):
            if self.heading[name].name in dropped and name in self.heading.primary_key:
                raise InvalidArgument(f"{name!r} is in the primary key and cannot be dropped")
        rest = self.heading.secondary if ... in attrs else ()
        kept = (*self.heading.primary_key, *rest)
        return [*(n for n in kept if n not in moved and n not in dropped), *wanted]

    # -- aggregate -------------------------------------------------------------------------

    def aggr(
        self,
        group: Relation,
        *attrs: Any,
        keep_all_rows: bool = False,
        exclude_nonmatching: bool | None = None,
        **named: str,
    ) -> Relation:
        """Compute over the rows of another relation that belong to each row of this one.

        Parameters
        ----------
        group : Relation
            Has the whole key of this one.
        *attrs : str or ...
            Columns of this one to keep; its key is always kept.
        keep_all_rows : bool
            Whether rows without any in `group` are kept; their counts are 0.
        exclude_nonmatching : bool, optional
            The opposite, as it is called in DataJoint 2.
        **named : str
            ``new="expression"`` with functions such as ``count``, ``avg``, ``max``.

        Returns
        -------
        Relation

        Raises
        ------
        InvalidArgument
            `group` lacks a part of the key, or an expression cannot be understood.

        Examples
        --------
        >>> trials = Relation([{"trial": 1}, {"trial": 2}], ["trial"])
        >>> licks = Relation([{"trial": 1, "time": 0.5}, {"trial": 1, "time": 0.7}])
        >>> trials.aggr(licks, n="count(*)", last="max(time)").to_dicts()
        [{'trial': 1, 'n': 2, 'last': 0.7}]
        >>> trials.aggr(licks, n="count(*)", keep_all_rows=True).to_dicts()
        [{'trial': 1, 'n': 2}, {'trial': 2, 'n': 0}]
        """
        if not isinstance(group, Relation):
            raise InvalidArgument(f"a relation is aggregated, got {group!r}")
        if not group.heading.determines(self.heading):
            missing = set(self.primary_key) - set(group.heading.names)
            raise InvalidArgument(f"the group lacks {sorted(missing)} of the key")
        if exclude_nonmatching is not None:
            keep_all_rows = not exclude_nonmatching
        if keep_all_rows:
            # a row without a match is one row of the join, and none of the group
            named = {new: _COUNT.sub(f"count({_MATCHED})", text) for new, text in named.items()}
        query = self._joined(group, left=keep_all_rows)
        kept = [name for name in self._kept(attrs, set()) if name not in self.primary_key]
        mentioned = set().union(*map(names_in, named.values())) & set(self.heading.secondary)
        heading = self.heading.select([*self.primary_key, *kept], {})
        return self.grouped(heading, query, named, {*kept, *mentioned})

    def grouped(
        self, heading: Heading, query: Query, named: Mapping[str, str], more: Iterable[str] = ()
    ) -> Relation:
        """Give one row for each key of `heading`, with expressions over what stands after FROM.

        What the expressions mention of the left side is one value in each group; the engine wants
        to be told.
        """
        by = ", ".join(map(quoted, (*heading.primary_key, *sorted(more))))
        items = [quoted(name) for name in heading.names]
        items += [f"({as_sql(text)}\n) AS {quoted(new)}" for new, text in named.items()]
        sql = f"SELECT {', '.join(items)} FROM {query.sql}"
        grouped = replace(query, sql=f"{sql} GROUP BY {by}" if by else sql)
        whole = replace(heading, columns=(*heading.columns, *map(Column, named)))
        return self.derived(_typed(whole, grouped, named), grouped)


def _items(heading: Heading) -> str:
    """Give the columns of a table in the types of its heading."""
    return ", ".join(
        f"{quoted(column.name)}::UUID AS {quoted(column.name)}"
        if column.type == "UUID"
        else quoted(column.name)
        for column in heading.columns
    )


def _sorted_out(named: Mapping[str, str]) -> tuple[dict[str, tuple[str, bool]], dict[str, str]]:
    """Tell what is renamed or copied (old name, whether it is a copy) from what is computed."""
    renamed, computed = {}, {}
    for new, text in named.items():
        if not isinstance(text, str):
            raise InvalidArgument(f"{new} is made from a column or an SQL text, got {text!r}")
        moved, copied = _NAME.fullmatch(text), _COPY.fullmatch(text)
        found = moved or copied
        if found:
            renamed[new] = (found["name"], moved is None)
        else:
            computed[new] = text
    return renamed, computed


def _typed(heading: Heading, query: Query, computed: Iterable[str]) -> Heading:
    """Give the heading with the types of computed columns, as the engine sees them."""
    if not computed:
        return heading
    found = {column.name: column.type for column in query.types(what="cannot compute")}
    columns = tuple(
        replace(column, type=found[column.name]) if column.name in computed else column
        for column in heading.columns
    )
    return replace(heading, columns=columns)
