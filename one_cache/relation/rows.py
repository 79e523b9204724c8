"""The rows of a relation, in the forms that users ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from operator import index
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex

from one_cache.errors import InvalidArgument, NotOneRow
from one_cache.relation.heading import Heading
from one_cache.relation.preview import as_html, as_text
from one_cache.relation.source import Query
from one_cache.relation.values import as_array, as_list
from one_cache.tables.schema import quoted

if TYPE_CHECKING:
    import pandas as pd

Order = str | Sequence[str] | None
_ORDER = re.compile(r"\s*`?(?P<name>[^`\s]+)`?(?:\s+(?P<way>asc|desc))?\s*", re.IGNORECASE)


class Rows:
    """What can be read: a question and the columns of its answer.

    Rows come in the order of the primary key unless a call says otherwise, so the same question
    always has the same answer.

    Attributes
    ----------
    query : Query
        The question.
    heading : Heading
        The columns of the answer.
    """

    query: Query
    heading: Heading
    # of a result that is in an order: the first rows by some column
    _order: Order = None

    @property
    def primary_key(self) -> list[str]:
        """Names of the columns that tell rows apart."""
        return list(self.heading.primary_key)

    # -- how many --------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(self._ask(f"SELECT count(*) AS n FROM ({self.query.sql})")["n"][0].as_py())

    def __bool__(self) -> bool:
        sql = f"SELECT EXISTS (SELECT 1 FROM ({self.query.sql})) AS n"
        return bool(self._ask(sql)["n"][0].as_py())

    # -- all rows --------------------------------------------------------------------------

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.to_dicts())

    def to_dicts(
        self, *attrs: str, order_by: Order = None, limit: int | None = None, offset: int = 0
    ) -> list[dict[str, Any]]:
        """Give each row as a dict.

        Parameters
        ----------
        *attrs : str
            Columns, ``"KEY"`` for those of the primary key; all by default.
        order_by : str or sequence of str, optional
            Columns, each with or without ``DESC``; ``"KEY"`` for the primary key, the default.
            A text may name several, with commas. Rows without a value come last either way.
        limit : int, optional
            How many rows at most.
        offset : int
            How many to skip first.

        Returns
        -------
        list of dict
            Values of Python's own types, arrays as numpy arrays, None for no value.
        """
        names = self._names(attrs)
        table = self.to_arrow(*names, order_by=order_by, limit=limit, offset=offset)
        columns = [as_list(self.heading[name], table[name]) for name in names]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def to_arrow(
        self, *attrs: str, order_by: Order = None, limit: int | None = None, offset: int = 0
    ) -> Any:
        """Give the rows as a ``pyarrow.Table``, as they are stored; parameters as in `to_dicts`.

        Returns
        -------
        pyarrow.Table
        """
        names = self._names(attrs)
        if not names:
            raise InvalidArgument("no column is asked for")
        selected = ", ".join(f"r.{quoted(name)}" for name in names)
        end = self._sorted(order_by, limit, offset)
        return self._ask(f"SELECT {selected} FROM ({self.query.sql}) AS r{end}")

    def to_pandas(
        self, *attrs: str, order_by: Order = None, limit: int | None = None, offset: int = 0
    ) -> pd.DataFrame:
        """Give the rows as a frame with the primary key as its index; parameters as in `to_dicts`.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd

        names = self._names(attrs)
        table = self.to_arrow(*names, order_by=order_by, limit=limit, offset=offset)
        frame = pd.DataFrame(
            {name: as_array(self.heading[name], table[name]) for name in names}
        ).infer_objects()
        key = [name for name in self.heading.primary_key if name in names]
        return frame.set_index(key) if key else frame

    def to_arrays(
        self,
        *attrs: str,
        include_key: bool = False,
        order_by: Order = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Any:
        """Give columns as arrays.

        Parameters
        ----------
        *attrs : str
            Columns; all, in one structured array, by default.
        include_key : bool
            Whether the keys come first, as a list of dicts.
        order_by, limit, offset
            As in `to_dicts`.

        Returns
        -------
        array, or tuple of arrays
            One of shape (n_rows,) for each column that is named. Arrays within rows stay apart,
            in an array of objects.
        """
        names = self._names(attrs)
        wanted = list(dict.fromkeys((*self.heading.primary_key, *names) if include_key else names))
        table = self.to_arrow(*wanted, order_by=order_by, limit=limit, offset=offset)
        arrays = [as_array(self.heading[name], table[name]) for name in names]
        if not attrs:
            return _structured(names, arrays)
        if include_key:
            return (self._keys_of(table), *arrays)
        return arrays[0] if len(arrays) == 1 else tuple(arrays)

    def keys(
        self, *, order_by: Order = None, limit: int | None = None, offset: int = 0
    ) -> list[dict[str, Any]]:
        """Give the primary key of each row; parameters as in `to_dicts`.

        Returns
        -------
        list of dict
        """
        return self.to_dicts("KEY", order_by=order_by, limit=limit, offset=offset)

    def head(self, limit: int = 25) -> list[dict[str, Any]]:
        """Give the first rows in the order of the key."""
        return self.to_dicts(limit=limit)

    def tail(self, limit: int = 25) -> list[dict[str, Any]]:
        """Give the last rows in the order of the key."""
        return self.to_dicts(order_by="KEY DESC", limit=limit)[::-1]

    # -- as DataJoint users write it -------------------------------------------------------

    def fetch(
        self,
        *attrs: str,
        as_dict: bool = False,
        format: Literal["array", "frame"] | None = None,
        order_by: Order = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Any:
        """Give rows or columns.

        Parameters
        ----------
        *attrs : str
            Columns; ``"KEY"`` gives the primary key of each row as a dict.
        as_dict : bool
            Whether each row is a dict.
        format : {"array", "frame"}, optional
            ``"frame"`` for a DataFrame.
        order_by, limit, offset
            As in `to_dicts`.

        Returns
        -------
        structured array, array, tuple of arrays, list of dict, or DataFrame
            All columns as a structured array; one array for one column, a tuple for several.

        Raises
        ------
        InvalidArgument
            No such column.
        """
        if format not in (None, "array", "frame"):
            raise InvalidArgument(f"format must be 'array' or 'frame', got {format!r}")
        if format == "frame":
            return self.to_pandas(*attrs, order_by=order_by, limit=limit, offset=offset)
        if as_dict or attrs == ("KEY",):
            return self.to_dicts(*attrs, order_by=order_by, limit=limit, offset=offset)
        if "KEY" not in attrs:
            return self.to_arrays(*attrs, order_by=order_by, limit=limit, offset=offset)
        table = self.to_arrow(*attrs, order_by=order_by, limit=limit, offset=offset)
        return tuple(
            self._keys_of(table) if name == "KEY" else as_array(self.heading[name], table[name])
            for name in attrs
        )

    def fetch1(self, *attrs: str) -> Any:
        """Give the only row.

        Parameters
        ----------
        *attrs : str
            Columns; ``"KEY"`` gives the primary key as a dict.

        Returns
        -------
        dict, value, or tuple of values
            The row; the value of one column; the values of several.

        Raises
        ------
        NotOneRow
            There is none, or there are several.
        """
        rows = self.to_dicts(*attrs, limit=2)
        if len(rows) != 1:
            found = len(self) if rows else "no"
            raise NotOneRow(f"fetch1 needs exactly one row, there are {found} rows")
        if not attrs:
            return rows[0]
        key = {name: rows[0][name] for name in self.primary_key} if "KEY" in attrs else None
        values = tuple(key if name == "KEY" else rows[0][name] for name in attrs)
        return values[0] if len(values) == 1 else values

    # -- for people ------------------------------------------------------------------------

    def preview(self, limit: int = 12, width: int = 14) -> str:
        """Give the first rows as text.

        Parameters
        ----------
        limit : int
            How many rows.
        width : int
            How many characters of a column.

        Returns
        -------
        str
        """
        shown, more = self._shown(limit)
        return as_text(self.heading, shown, width, more, len(self))

    def __repr__(self) -> str:
        return self.preview()

    def _repr_html_(self) -> str:
        shown, more = self._shown(12)
        return as_html(self.heading, shown, more, len(self))

    def _shown(self, limit: int) -> tuple[list[list[Any]], bool]:
        """Give the rows of a preview, without arrays, and whether there are more."""
        names = [name for name in self.heading.names if not self.heading[name].is_blob]
        table = self.to_arrow(*names, limit=limit + 1) if names else None
        columns = {name: as_array(self.heading[name], table[name]) for name in names if table}
        n_rows = table.num_rows if table is not None else min(len(self), limit + 1)
        rows = [
            [
                columns[name][row] if name in columns else self.heading[name].shown
                for name in self.heading.names
            ]
            for row in range(min(n_rows, limit))
        ]
        return rows, n_rows > limit

    # -- the machinery ---------------------------------------------------------------------

    def _names(self, attrs: Sequence[str]) -> list[str]:
        """Give the names of the columns asked for."""
        names: list[str] = []
        for name in attrs or self.heading.names:
            names += self.heading.primary_key if name == "KEY" else [self.heading[name].name]
        return list(dict.fromkeys(names))

    def _keys_of(self, table: Any) -> list[dict[str, Any]]:
        """Give the primary keys in an answer."""
        names = self.heading.primary_key
        columns = [as_list(self.heading[name], table[name]) for name in names]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def _ask(self, sql: str) -> Any:
        """Ask something about the rows."""
        return Query(sql, self.query.params, self.query.sources).answer()[0]

    def _sorted(self, order_by: Order, limit: int | None, offset: int) -> str:
        """Give the end of a question: order, limit and offset."""
        terms = []
        order_by = order_by or self._order or "KEY"
        texts = [order_by] if isinstance(order_by, str) else order_by
        for term in (term for text in texts for term in text.split(",")):
            match = _ORDER.fullmatch(term)
            if match is None:
                raise InvalidArgument(f"order_by is a column with or without DESC, got {term!r}")
            way = (match["way"] or "asc").upper()
            terms += [f"r.{quoted(name)} {way}" for name in self._names([match["name"]])]
        end = f" ORDER BY {', '.join(terms)}" if terms else ""
        for word, number in (("LIMIT", limit), ("OFFSET", offset or None)):
            if number is None:
                continue
            if not isinstance(number, SupportsIndex) or index(number) < 0:
                raise InvalidArgument(f"{word.lower()} is a whole number, got {number!r}")
            end += f" {word} {index(number)}"
        return end


def _structured(names: list[str], arrays: list[Any]) -> Any:
    """Give columns as one structured array."""
    import numpy as np

    kind = [(name, array.dtype) for name, array in zip(names, arrays, strict=True)]
    out = np.empty(len(arrays[0]), dtype=kind)
    for name, array in zip(names, arrays, strict=True):
        out[name] = array
    return out
