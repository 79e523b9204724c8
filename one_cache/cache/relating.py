"""Access tables as relations, restricted and joined as DataJoint users write it; rows by id."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from one_cache.cache.desk import Desk
from one_cache.errors import InvalidArgument, ModeError, near_misses

if TYPE_CHECKING:
    from one_cache.mirrored import Schemas
    from one_cache.records import Dataset
    from one_cache.relation import Heading, Relation

_ROWS = uuid.UUID("6d0f0e0a-6a55-5b0a-9a35-2f1f7f6f7a11")


class Relating(Desk):
    """The tables of a cache as relations."""

    def relation(
        self,
        name: str,
        primary_key: str | Sequence[str] | None = None,
        *,
        heading: Heading | None = None,
    ) -> Relation:
        """Give an access table as a relation.

        Parameters
        ----------
        name : str
            ``"sessions"``, ``"datasets"``, or any table that a door added.
        primary_key : str or sequence of str, optional
            Columns that tell its rows apart; ``eid`` and ``id`` by default.
        heading : Heading, optional
            Columns of a table that may not be there yet: rows can be inserted all the same.

        Returns
        -------
        Relation
            It sees new rows as soon as they are added. What is inserted lies in memory until
            :meth:`save_cache`.

        Raises
        ------
        InvalidArgument
            There is no such table.

        Examples
        --------
        >>> from tempfile import mkdtemp
        >>> from one_cache import Cache
        >>> from one_cache.sample import write_sample_lab
        >>> cache = Cache(write_sample_lab(mkdtemp()).folder)
        >>> sessions = cache.relation("sessions")
        >>> trials = cache.relation("datasets").proj("rel_path", session="id", id="eid")
        >>> len(sessions & 'subject = "KS014"')
        3
        """
        from one_cache.relation import Relation, Table
        from one_cache.tables.schema import layout_of

        known = self.tables.names()
        if heading is None and name not in known:
            raise InvalidArgument(
                f"no table {name!r}.{near_misses(name, known)} There are: {', '.join(known)}"
            )
        if heading is None and primary_key is None:
            primary_key = layout_of(name, self.tables.columns(name)).key or None
        rows = TableRows(self, name, heading)
        return Relation(rows, primary_key, heading=heading, table=Table(name, name))

    @cached_property
    def schemas(self) -> Schemas:
        """Schemas of DataJoint pipelines that are mirrored here, by name.

        ``cache.schemas["u24_trial"].Trial`` is a relation; see :mod:`one_cache.datajoint`.
        """
        from one_cache.mirrored import Schemas

        return Schemas(self)

    def datasets_now(self, ids: Sequence[str]) -> dict[str, Dataset]:
        """Give what is known today of datasets, by id; unknown ones are left out.

        Parameters
        ----------
        ids : sequence of str
            Ids of datasets. A remote is asked where the mode asks.

        Returns
        -------
        dict of str to Dataset
        """
        found = self._catalogue().datasets(list(ids)) if ids else []
        return {dataset.id: dataset for dataset in found}


class _Home:
    """The tables of a cache as they are now: it may open others.

    Parameters
    ----------
    cache : Desk
        Whose they are.
    """

    def __init__(self, cache: Desk) -> None:
        self.cache = cache

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Home) and other.cache is self.cache

    def __hash__(self) -> int:
        return id(self.cache)

    def cursor(self) -> AbstractContextManager[Any]:
        """Lend a cursor."""
        return self.cache.tables.cursor()


class TableRows:
    """The rows of one access table; see :class:`one_cache.relation.Source`.

    Parameters
    ----------
    cache : Desk
        Whose table it is.
    name : str
        Of the table.
    heading : Heading or None
        Its columns, where it may not be there yet.
    """

    def __init__(self, cache: Desk, name: str, heading: Heading | None) -> None:
        from one_cache.relation.source import new_token

        self.token = new_token()
        self.home: Any = _Home(cache)
        self._cache = cache
        self._name = name
        self._heading = heading

    def select(self) -> str:
        """Give SQL for the rows, in the types of the heading."""
        from one_cache.tables.schema import quoted

        if self._heading is None:
            return f"SELECT * FROM {quoted(self._name)}"
        tables = self._cache.tables
        there = tables.columns(self._name) if self._name in tables.names() else ()
        columns = [(one.name, one.type, quoted(one.name)) for one in self._heading.columns]
        items = ", ".join(
            f"{name if plain in there else 'NULL'}::{kind} AS {name}"
            for plain, kind, name in columns
        )
        return f"SELECT {items} " + (f"FROM {quoted(self._name)}" if there else "WHERE false")

    def arrow(self) -> Any:
        """Give the rows as a ``pyarrow.Table``."""
        from one_cache.tables.engine import as_arrow_table

        with self.home.cursor() as cursor:
            return as_arrow_table(cursor, self.select())

    def alone(self) -> AbstractContextManager[Any]:
        """Keep nobody out: a row that two add is one row, by its id."""
        return contextlib.nullcontext()

    def append(self, rows: Any) -> None:
        """Add rows, each with an id that follows from its key where the table has no ids.

        Raises
        ------
        ModeError
            The mode writes nothing into the cache.
        """
        if not self._cache.policy().writes:
            raise ModeError(
                f"mode {self._cache.mode!r} writes nothing: no row is added to {self._name!r}"
            )
        key = self._heading.primary_key if self._heading is not None else ()
        added = rows.to_pylist()
        if "id" not in rows.column_names:
            added = [
                {**row, "id": row_id(self._name, *(row[one] for one in key))} for row in added
            ]
        self._cache.tables.add(self._name, added)


def row_id(table: str, *key: Any) -> str:
    """Give the id of a row that is named by its key.

    Parameters
    ----------
    table : str
        The table.
    *key
        Values of its primary key.

    Returns
    -------
    str
        A UUID; the same for the same key, wherever it is made.

    Examples
    --------
    >>> row_id("rigs", "alice", 1) == row_id("rigs", "alice", 1) != row_id("rigs", "alice", 2)
    True
    """
    return str(uuid.uuid5(_ROWS, json.dumps([table, *key], default=str, ensure_ascii=False)))
