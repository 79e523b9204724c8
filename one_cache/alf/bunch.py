"""The attributes of one object: a dictionary with dots."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from one_cache.alf.dimensions import check_dimensions, disagreement, is_frame
from one_cache.alf.frames import dataframe, split_columns
from one_cache.errors import ALFWarning, InvalidArgument, near_misses

if TYPE_CHECKING:
    import pandas as pd


class AlfBunch(dict[str, Any]):
    """The attributes of one object, by key or by dot.

    All of them have the same number of rows, or one, or are sync points (``timestamps``).

    Examples
    --------
    >>> spikes = AlfBunch(times=np.array([0.1, 0.2]), clusters=np.array([3, 1]))
    >>> spikes
    AlfBunch
      times     (2,)  float64
      clusters  (2,)  int64
    >>> spikes.clusters
    array([3, 1])
    >>> spikes.time
    Traceback (most recent call last):
    AttributeError: no attribute 'time'. Did you mean 'times'?
    """

    def __getattr__(self, name: str) -> Any:
        # called only for what a dict does not have itself
        try:
            return self[name]
        except KeyError:
            pass
        if name.startswith("__"):
            raise AttributeError(name)  # pickle, copy and notebooks ask for many of these
        hint = near_misses(name, map(str, self)) or f" There are: {', '.join(map(str, self))}"
        raise AttributeError(f"no attribute {name!r}.{hint}")

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name):
            raise AttributeError(f"{name!r} belongs to AlfBunch; write bunch[{name!r}] = ...")
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(f"no attribute {name!r}")
        del self[name]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *map(str, self)})

    def __repr__(self) -> str:
        rows = [(str(key), *_describe(value)) for key, value in self.items()]
        if not rows:
            return "AlfBunch (empty)"
        wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines = (f"  {key:{wide[0]}}  {shape:{wide[1]}}  {kind}" for key, shape, kind in rows)
        return "\n".join(["AlfBunch", *lines])

    def _repr_html_(self) -> str:
        import html

        rows = [(str(key), *_describe(value)) for key, value in self.items()]
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
        )
        head = "<tr><th>attribute</th><th>shape</th><th>type</th></tr>"
        return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"

    @property
    def check_dimensions(self) -> int:
        """0 where the dimensions agree, 1 where they do not; see :func:`check_dimensions`."""
        return check_dimensions(self)

    def copy(self, deep: bool = False) -> AlfBunch:
        """Give another bunch with the same attributes, or with copies of them.

        Parameters
        ----------
        deep : bool
            Copy the arrays too.

        Returns
        -------
        AlfBunch
        """
        return copy.deepcopy(self) if deep else AlfBunch(self)

    def append(self, other: Mapping[str, Any], inplace: bool = False) -> AlfBunch:
        """Add the rows of another bunch below those of this one.

        Arrays, lists, frames and series are joined; anything else is kept as it is here, with a
        warning if it differs there. An empty bunch takes the other's attributes.

        Parameters
        ----------
        other : mapping
            Of the same attributes.
        inplace : bool
            Change this bunch instead of making a new one.

        Returns
        -------
        AlfBunch
            The new bunch, or this one.

        Raises
        ------
        InvalidArgument
            The attributes are not the same.

        Examples
        --------
        >>> AlfBunch(times=np.array([0.1])).append({"times": np.array([0.2])}).times
        array([0.1, 0.2])
        """
        if self and other and set(self) != set(other):
            only = ", ".join(sorted(map(repr, set(self) ^ set(other))))
            raise InvalidArgument(f"bunches of different attributes: {only} in one of them only")
        if not self:
            joined = dict(other)
        elif not other:
            joined = dict(self)
        else:
            joined = {key: _join(key, value, other[key]) for key, value in self.items()}
        out = self if inplace else AlfBunch()
        out.update(joined)
        if check_dimensions(out):
            warnings.warn(f"appended: {disagreement(out)}", ALFWarning, stacklevel=2)
        return out

    def to_df(self) -> pd.DataFrame:
        """Give the attributes as columns; see :func:`dataframe`."""
        return dataframe(self)

    @staticmethod
    def from_df(df: pd.DataFrame) -> AlfBunch:
        """Give the columns as attributes, each with the type it has in the frame.

        Columns ``name_0``, ``name_1``, ... become one attribute `name` of shape (n_rows, 2 or
        more); the index is left out.

        Parameters
        ----------
        df : pandas.DataFrame
            One row an item.

        Returns
        -------
        AlfBunch

        Examples
        --------
        >>> import pandas as pd
        >>> df = pd.DataFrame({"at_0": [0.0, 2.0], "at_1": [1.0, 3.0], "choice": [1, -1]})
        >>> AlfBunch.from_df(df)
        AlfBunch
          choice  (2,)    int64
          at      (2, 2)  float64
        """
        return AlfBunch(split_columns(df))


def _describe(value: Any) -> tuple[str, str]:
    """Give the shape and the type of an attribute, as texts."""
    kind = type(value).__name__
    if isinstance(value, np.ndarray):
        mapped = ", mapped" if isinstance(value, np.memmap) else ""
        return str(value.shape), f"{value.dtype}{mapped}"
    if hasattr(value, "shape"):
        return str(tuple(value.shape)), kind
    return (f"({len(value)})" if isinstance(value, (list, dict, tuple)) else ""), kind


def _join(key: str, first: Any, second: Any) -> Any:
    if isinstance(first, np.ndarray):
        return np.concatenate((first, second), axis=0)
    if isinstance(first, list):
        return [*first, *second]
    if is_frame(first):
        import pandas as pd

        return pd.concat([first, second], ignore_index=True)
    if first != second:
        kind = type(first).__name__
        warnings.warn(f"{key!r} is a {kind}: the first one is kept", ALFWarning, stacklevel=4)
    return first
