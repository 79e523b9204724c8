"""Which tables and which rows of them are meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from one_cache.datajoint.columns import describe
from one_cache.datajoint.server import Server, quiet
from one_cache.errors import InvalidArgument, near_misses
from one_cache.mirrored import About
from one_cache.relation.text import names_in


@dataclass(frozen=True)
class Chosen:
    """One table that is to be copied.

    Attributes
    ----------
    about : About
        What it is.
    table : datajoint.FreeTable
        The same for DataJoint.
    source : str
        SQL for its rows, to stand after FROM; they are called ``t``.
    is_restricted : bool
        Whether rows are left out.
    """

    about: About
    table: Any
    source: str
    is_restricted: bool


def schema_of(name: str) -> tuple[str, str]:
    """Give the schema, and the table or nothing, of a name that users give.

    Examples
    --------
    >>> schema_of("u24_trial"), schema_of("u24_trial.Trial.Attribute")
    (('u24_trial', ''), ('u24_trial', 'Trial.Attribute'))
    """
    if not isinstance(name, str) or not name:
        raise InvalidArgument(f"name a schema, or schema.Table, got {name!r}")
    schema, _, table = name.partition(".")
    return schema, table


def as_values(restrict: Any) -> Any:
    """Give a restriction with the keys of relations in their place.

    A relation belongs to a connection, or to a mirror; the server is asked through another one.

    Examples
    --------
    >>> from one_cache.relation import Relation
    >>> as_values({"Trial": Relation([{"trial_id": 1, "start": 0.2}], ["trial_id"])})
    {'Trial': [{'trial_id': 1}]}
    """
    if hasattr(restrict, "heading") and hasattr(restrict, "keys"):
        return restrict.keys()
    if isinstance(restrict, Mapping):
        return {name: as_values(one) for name, one in restrict.items()}
    if isinstance(restrict, list):
        return type(restrict)(map(as_values, restrict))
    return restrict


def choose(
    server: Server, tables: Sequence[str], names: Sequence[str], restrict: Any
) -> list[Chosen]:
    """Say what is to be copied.

    Parameters
    ----------
    server : Server
        Asked what the tables are.
    tables : sequence of str
        Full names of all tables of the schemas, parents first.
    names : sequence of str
        Schemas, or ``schema.Table``.
    restrict : any
        A condition as after ``&`` in DataJoint, or conditions by the name of the table.

    Returns
    -------
    list of Chosen
        Parents first.

    Raises
    ------
    InvalidArgument
        No such table, or a condition that fits none.
    """
    described = {name: describe(server, name) for name in tables}
    wanted = _wanted(described, names)
    conditions = _conditions(described, restrict)
    rows: dict[str, Any] = {}
    chosen = []
    for name, (about, table) in described.items():
        with server.explained(f"restrict={restrict!r} does not fit {about.class_name}"), quiet():
            found = _restricted(table, about, conditions.get(name), rows)
            if found is not None:
                rows[f"{about.schema}.{about.table}"] = found
            if name in wanted:
                source = f"{name} AS t" if found is None else f"({found.make_sql()}) AS t"
                chosen.append(Chosen(about, table, source, found is not None))
    return chosen


def _wanted(described: Mapping[str, tuple[About, Any]], names: Sequence[str]) -> set[str]:
    """Give the full names of the tables that are named."""
    wanted = set()
    for name in names:
        schema, table = schema_of(name)
        inside = {full: one for full, (one, _) in described.items() if one.schema == schema}
        found = {full for full, one in inside.items() if table in ("", one.class_name, one.table)}
        if table and not found:
            known = [one.class_name for one in inside.values()]
            raise InvalidArgument(
                f"schema {schema!r} has no table {table!r}.{near_misses(table, known)} There "
                f"are: {', '.join(known) or 'none'}"
            )
        wanted |= found
    return wanted


def _conditions(described: Mapping[str, tuple[About, Any]], restrict: Any) -> dict[str, Any]:
    """Give the condition of each table that has one."""
    # an empty list, as ever, means no rows
    is_empty = isinstance(restrict, (str, Mapping)) and not restrict
    if restrict is None or restrict is True or is_empty:
        return {}
    if isinstance(restrict, Mapping) and any(_is_class(name) for name in restrict):
        return _by_table(described, restrict)
    found = {
        full: restrict
        for full, (about, _) in described.items()
        if _fits(described, about, restrict)
    }
    if not found:
        raise InvalidArgument(f"restrict={restrict!r} fits no table: none has these columns")
    return found


def _is_class(name: Any) -> bool:
    """Tell the name of a class from that of a column, which has no capitals."""
    return isinstance(name, str) and name != name.lower()


def _by_table(described: Mapping[str, tuple[About, Any]], restrict: Any) -> dict[str, Any]:
    found = {}
    for name, condition in restrict.items():
        fits = [
            full
            for full, (one, _) in described.items()
            if name in (one.class_name, one.table, f"{one.schema}.{one.class_name}")
        ]
        if not fits:
            known = [one.class_name for one, _ in described.values()]
            raise InvalidArgument(
                f"restrict names the table {name!r}, which is not there."
                f"{near_misses(str(name), known)} There are: {', '.join(known)}"
            )
        found.update(dict.fromkeys(fits, condition))
    return found


def _fits(described: Mapping[str, tuple[About, Any]], about: About, condition: Any) -> bool:
    """Tell whether a table has the columns of a condition."""
    own = {one.name for one in about.attributes}
    if isinstance(condition, Mapping):
        # names that a table lacks restrict nothing, as ever
        return bool(own & set(condition))
    if isinstance(condition, str):
        columns = {one.name for other, _ in described.values() for one in other.attributes}
        named = names_in(condition) & columns
        return bool(named) and named <= own
    if isinstance(condition, Sequence):
        return all(_fits(described, about, one) for one in condition)
    return True


def _restricted(table: Any, about: About, condition: Any, rows: Mapping[str, Any]) -> Any:
    """Give the rows that are meant, or None for all.

    Of a table that refers to one of which rows are left out, those rows are meant that refer to
    the others, so that no row of the mirror refers to nothing.
    """
    found = table & condition if condition is not None else None
    nullable = {one.name for one in about.attributes if one.nullable}
    for key in about.foreign_keys:
        parent = rows.get(key.table)
        if parent is None or key.table == f"{about.schema}.{about.table}":
            continue
        named = {own: there for own, there in key.columns.items() if own != there}
        those = parent.proj(**named)
        extra = set(those.heading.names) - set(key.columns)
        # other columns of the parent's key may mean something else here
        those = those.proj(**{f"{name}__of_parent": name for name in extra}) if extra else those
        empty = [{name: None} for name in key.columns if name in nullable]
        found = (table if found is None else found) & ([those, *empty] if empty else those)
    return found
