"""``cache.schemas``: mirrored tables by the names of their classes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, NoReturn

from one_cache.errors import NotMirrored, near_misses
from one_cache.mirrored.about import TABLE, Row
from one_cache.mirrored.relations import MirroredRelation, how_to_pull, mirrored
from one_cache.relation import Relation
from one_cache.tables.files import SUFFIX
from one_cache.tables.schema import quoted

if TYPE_CHECKING:
    from one_cache.cache.desk import Desk


class Schemas(Mapping[str, "Schema"]):
    """The schemas that are mirrored in a cache, by name.

    Parameters
    ----------
    cache : Desk
        Whose they are.
    """

    def __init__(self, cache: Desk) -> None:
        self._cache = cache
        self._opened: dict[str, Schema] = {}

    def __getitem__(self, name: str) -> Schema:
        known = list(self)
        if name not in known:
            there = f" There are: {', '.join(known)}." if known else ""
            raise NotMirrored(
                f"schema {name!r} is not mirrored in {self._cache.cache_dir}."
                f"{near_misses(name, known)}{there} {how_to_pull('', name)} copies it"
            )
        return self._opened.setdefault(name, Schema(self._cache, name))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(row.schema for row in rows_of(self._cache) if not row.state))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self)})"


class Schema:
    """The tables of one schema: attributes named as the classes of its pipeline.

    ``db.Trial``, ``db.Trial.Attribute``; ``db["_trial"]`` by the name on the server. What the
    last pull brought is seen at once; a relation that was made before stays as it was.

    Parameters
    ----------
    cache : Desk
        Holds it.
    name : str
        Of the schema.
    """

    def __init__(self, cache: Desk, name: str) -> None:
        self._cache = cache
        self._name = name
        self._seen: tuple[object, list[Row]] = (None, [])
        self._made: dict[str, tuple[object, MirroredRelation]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Schema, (self._cache, self._name)

    @property
    def name(self) -> str:
        """Its name on the server."""
        return self._name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except NotMirrored as error:
            # a bundle may have what was read of a part table, and nothing of its master
            if any(one.startswith(f"{name}.") for one in self):
                return _Master(self, name, error)
            raise

    def __getitem__(self, name: str) -> MirroredRelation:
        rows = self._all()
        return self._relation(self._row(name, rows), rows)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(row.class_name for row in self._here()))

    def __len__(self) -> int:
        return len(self._here())

    def __contains__(self, name: object) -> bool:
        return any(name in (row.class_name, row.table) for row in self._here())

    def __dir__(self) -> list[str]:
        names = [row.class_name for row in self._here() if "." not in row.class_name]
        return sorted({*super().__dir__(), *names})

    def __repr__(self) -> str:
        rows = sorted(self._here(), key=lambda row: row.class_name)
        wide = max((len(row.class_name) for row in rows), default=0)
        lines = [
            f"  {row.class_name:{wide}}  {row.tier:8}  {row.rows:,} rows{_limits(row)}"
            for row in rows
        ]
        return "\n".join([f"{self._name}: mirrored {_when(rows)}", *lines])

    def _repr_html_(self) -> str:
        rows = sorted(self._here(), key=lambda row: row.class_name)
        body = "".join(
            f"<tr><td>{escape(row.class_name)}</td><td>{row.tier}</td><td>{row.rows:,}</td>"
            f"<td>{escape(row.restriction)}</td></tr>"
            for row in rows
        )
        head = "".join(f"<th>{one}</th>" for one in ("table", "tier", "rows", "only"))
        title = f"{escape(self._name)}: mirrored {_when(rows)}"
        return f"<table><caption>{title}</caption><tr>{head}</tr>{body}</table>"

    # -- one table -------------------------------------------------------------------------

    def _here(self) -> list[Row]:
        return [row for row in self._all() if not row.state]

    def _all(self) -> list[Row]:
        """Give the rows of the access table, read again when it is another one."""
        tables = self._cache.tables
        stamp = None
        if tables.folder is not None and not tables.dirty:
            with contextlib.suppress(OSError):
                found = os.stat(tables.folder / f"{TABLE}{SUFFIX}")
                stamp = (id(tables), found.st_mtime_ns, found.st_ino, found.st_size)
        if stamp is None or stamp != self._seen[0]:
            self._seen = (stamp, rows_of(self._cache, self._name))
        return self._seen[1]

    def _row(self, name: str, rows: list[Row]) -> Row:
        """Find a table by the name of its class, or its own."""
        found = [row for row in rows if name in (row.class_name, row.table)]
        found = [row for row in found if row.table == name] or found
        server = rows[0].server if rows else ""
        pull = how_to_pull(server, self._name)
        here = [row for row in found if not row.state]
        if len(here) > 1:
            names = " and ".join(repr(row.table) for row in here)
            raise NotMirrored(f"{name!r} is the class of {names}: ask for one, db[{names[:20]}]")
        if here:
            return here[0]
        if found:
            raise NotMirrored(
                f"{self._name}.{name} was gone from {server} when it was pulled at "
                f"{found[0].pulled_at}. Records and fixed caches that read it still have it; "
                f"{pull} looks again"
            )
        near = near_misses(name, [row.class_name for row in rows])
        raise NotMirrored(
            f"no table {name!r} of {self._name!r} is mirrored in {self._cache.cache_dir}.{near} "
            f"If the server has it, {pull} copies it"
        )

    def _relation(self, row: Row, rows: list[Row]) -> MirroredRelation:
        parts = {
            one.class_name.partition(".")[2]: one
            for one in rows
            if not one.state and one.class_name.startswith(f"{row.class_name}.")
        }
        mark = (row, tuple(parts.values()))
        made = self._made.get(row.table)
        if made is None or made[0] != mark:
            inside = _Parts(parts, partial(self._relation, rows=rows))
            made = self._made[row.table] = (mark, mirrored(self._cache, row, inside))
        return made[1]


class _Parts(Mapping[str, Relation]):
    """Part tables, each opened when it is asked for: its file may not be here."""

    def __init__(self, rows: Mapping[str, Row], make: Callable[[Row], Relation]) -> None:
        self._rows = rows
        self._make = make

    def __getitem__(self, name: str) -> Relation:
        return self._make(self._rows[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


class _Master:
    """Stands for a table that is not here and has part tables that are.

    Parameters
    ----------
    schema : Schema
        Has the parts.
    name : str
        Of the class.
    error : NotMirrored
        Says what is missing.
    """

    def __init__(self, schema: Schema, name: str, error: NotMirrored) -> None:
        self._schema = schema
        self._name = name
        self._error = error

    def __getattr__(self, name: str) -> Any:
        whole = f"{self._name}.{name}"
        if whole in self._schema:
            return self._schema[whole]
        raise self._error

    def __dir__(self) -> list[str]:
        start = f"{self._name}."
        return [one.removeprefix(start) for one in self._schema if one.startswith(start)]

    def __repr__(self) -> str:
        return f"{self._name}: not mirrored, unlike its parts {', '.join(dir(self))}"

    def _refuse(self, *_: Any) -> NoReturn:
        raise self._error

    __call__ = __len__ = __iter__ = __and__ = __sub__ = __mul__ = _refuse


def rows_of(cache: Desk, schema: str | None = None) -> list[Row]:
    """Give what is mirrored in a cache.

    Parameters
    ----------
    cache : Desk
        The cache.
    schema : str, optional
        Only this one.

    Returns
    -------
    list of Row
        Ordered by schema and table; those that the server dropped too.
    """
    if TABLE not in cache.tables.names():
        return []
    columns = ", ".join(quoted(name) for name in Row.__dataclass_fields__)
    where, params = ("WHERE schema = ?", [schema]) if schema is not None else ("", [])
    sql = f'SELECT {columns} FROM {TABLE} {where} ORDER BY schema, "table"'
    return [Row(**row) for row in cache.tables.rows(sql, params)]


def _limits(row: Row) -> str:
    return f", only {row.restriction}" if row.restriction else ""


def _when(rows: list[Row]) -> str:
    times = sorted({row.pulled_at for row in rows})
    if not times:
        return "never"
    return f"at {times[0]}" if len(times) == 1 else f"between {times[0]} and {times[-1]}"
