"""What a relation's columns are: names, types, comments, units, and which are its key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from one_cache.errors import InvalidArgument, UnknownColumn, near_misses

_ARRAYS = ("BLOB", "STRUCT", "MAP", "UNION")


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    name : str
        Its name.
    type : str
        As the engine writes it: ``"INTEGER"``, ``"DOUBLE[]"``, ``"DECIMAL(10,4)"``, ...
    comment, unit : str
        For the preview; empty where unknown.
    nullable : bool
        Whether a row may leave it out.
    default : any
        Its value in rows that leave it out.
    decode : callable, optional
        Makes the value that users see from the one that is stored.
    shown : str
        Stands in previews for values that they leave alone.
    """

    name: str
    type: str = "VARCHAR"
    comment: str = ""
    unit: str = ""
    nullable: bool = True
    default: Any = None
    decode: Callable[[Any], Any] | None = field(default=None, compare=False, repr=False)
    shown: str = "=BLOB="

    @property
    def is_blob(self) -> bool:
        """Whether values are arrays and the like, which previews and conditions leave alone."""
        return self.decode is not None or self.type.endswith("]") or self.type.startswith(_ARRAYS)

    @property
    def label(self) -> str:
        """Comment and unit, for people."""
        if self.unit and f"({self.unit})" not in self.comment:
            return f"{self.comment} ({self.unit})".strip()
        return self.comment


@dataclass(frozen=True)
class ForeignKey:
    """Columns whose values are keys of another table.

    Attributes
    ----------
    table : str
        Full name of the other one.
    columns : mapping of str to str
        Own name and the name there.
    """

    table: str
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Heading:
    """The columns of a relation, in order.

    Attributes
    ----------
    columns : tuple of Column
        All of them.
    primary_key : tuple of str
        Names of those that tell rows apart.
    foreign_keys : tuple of ForeignKey
        For information; nothing enforces them.
    """

    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for name in self.names:
            # the engine does not tell upper from lower case in names
            if name.lower() in seen:
                raise InvalidArgument(f"column {name!r} comes twice")
            seen.add(name.lower())
        for name in self.primary_key:
            self[name]

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise UnknownColumn(f"no column {name!r}.{near_misses(str(name), self.names)}")

    def __contains__(self, name: object) -> bool:
        return name in self.names

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def secondary(self) -> tuple[str, ...]:
        """Names of the columns outside of the key."""
        return tuple(name for name in self.names if name not in self.primary_key)

    def determines(self, other: Heading) -> bool:
        """Say whether a row of this one has the whole key of the other one."""
        return set(other.primary_key) <= set(self.names)

    def join(self, other: Heading) -> Heading:
        """Give the heading of a join.

        The key is that of the side that determines the other one, the left one when both do, and
        both together when neither does, as in DataJoint 2.

        Parameters
        ----------
        other : Heading
            Of the right side.

        Returns
        -------
        Heading
        """
        if self.determines(other):
            return self._extended(other)
        if other.determines(self):
            return other._extended(self)
        key = tuple(dict.fromkeys((*self.primary_key, *other.primary_key)))
        names = dict.fromkeys((*key, *self.names, *other.names))
        columns = tuple(self[name] if name in self else other[name] for name in names)
        return Heading(columns, key)

    def _extended(self, other: Heading) -> Heading:
        """Add the columns that only the other one has."""
        more = tuple(column for column in other.columns if column.name not in self)
        return Heading((*self.columns, *more), self.primary_key)

    def with_key(self, key: Iterable[str]) -> Heading:
        """Give the same columns with another key, which comes first."""
        names = tuple(key)
        rest = (column for column in self.columns if column.name not in names)
        return Heading((*(self[name] for name in names), *rest), names)

    def select(
        self,
        keep: Iterable[str],
        renamed: Mapping[str, str],
        computed: Iterable[Column] = (),
    ) -> Heading:
        """Give the heading of a projection; what is renamed stays at its place and in the key.

        Parameters
        ----------
        keep : iterable of str
            Columns that keep their name.
        renamed : mapping of str to str
            New name and old one; one column may get several.
        computed : iterable of Column
            New columns, at the end.

        Returns
        -------
        Heading

        Raises
        ------
        InvalidArgument
            A column is not there, or a name comes twice.
        """
        kept = set(keep)
        for name in (*kept, *renamed.values()):
            self[name]
        columns: list[Column] = []
        key: list[str] = []
        for column in self.columns:
            names = [column.name] if column.name in kept else []
            names += [new for new, old in renamed.items() if old == column.name]
            columns += [replace(column, name=name) for name in names]
            key += names if column.name in self.primary_key else []
        return Heading((*columns, *computed), tuple(key))
