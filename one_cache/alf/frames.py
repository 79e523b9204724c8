"""Attributes as the columns of a data frame, and columns as attributes."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from one_cache.alf.dimensions import (
    check_dimensions,
    disagreement,
    is_frame,
    is_sync,
    n_rows,
    ts2vec,
)
from one_cache.errors import ALFWarning, InvalidArgument

if TYPE_CHECKING:
    import pandas as pd

# at most this many columns of one 2-D attribute, as in ONE-api
_MOST_COLUMNS = 10


def dataframe(bunch: Mapping[str, Any]) -> pd.DataFrame:
    """Give the attributes of one object as the columns of a data frame.

    A vector is one column; a 2-D array gives ``name_0``, ``name_1``, ..., at most ten of them; a
    frame its columns behind ``name_``. One row stands for all rows, two sync points for the times
    of all samples. What cannot be columns (3-D arrays, texts, dicts) is left out with a warning.

    Parameters
    ----------
    bunch : mapping
        Attributes of one object.

    Returns
    -------
    pandas.DataFrame
        One row an item.

    Raises
    ------
    InvalidArgument
        The attributes differ in length.

    Examples
    --------
    >>> dataframe({"choice": np.array([1, -1]), "intervals": np.array([[0, 1], [2, 3]])})
       choice  intervals_0  intervals_1
    0       1            0            1
    1      -1            2            3
    """
    import pandas as pd

    if check_dimensions(bunch):
        raise InvalidArgument(f"no data frame: {disagreement(bunch)}")
    kept = {key: np.asarray(v) if isinstance(v, list) else v for key, v in bunch.items()}
    rows = n_rows(kept)
    columns: dict[str, Any] = {}
    for key, value in kept.items():
        found = dict(_columns(key, value, rows))
        if not found:
            what = f"{type(value).__name__} {getattr(value, 'shape', '')}".strip()
            warnings.warn(f"{key!r} ({what}) is no column", ALFWarning, stacklevel=2)
        columns |= found
    return pd.DataFrame(columns)


def _columns(key: str, value: Any, rows: int | None) -> Iterator[tuple[str, Any]]:
    """Give the columns that one attribute makes: name and values."""
    if rows is not None and is_sync(str(key), value):
        value = ts2vec(value, rows)
    if is_frame(value):
        if value.ndim == 1:
            yield key, _broadcast(value.array, rows)
        else:
            for at, name in enumerate(value.columns):
                yield f"{key}_{name}", _broadcast(value.iloc[:, at].array, rows)
    elif isinstance(value, np.ndarray) and value.ndim == 1:
        yield key, _broadcast(value, rows)
    elif isinstance(value, np.ndarray) and value.ndim == 2:
        width = value.shape[1]
        for at in range(min(width, _MOST_COLUMNS)):
            yield (key if width == 1 else f"{key}_{at}"), _broadcast(value[:, at], rows)


def _broadcast(values: Any, rows: int | None) -> Any:
    return values.repeat(rows) if len(values) == 1 and rows not in (None, 1) else values


def split_columns(df: pd.DataFrame) -> dict[str, Any]:
    """Give the columns as arrays, and ``name_0``, ``name_1``, ... as one array `name`.

    Parameters
    ----------
    df : pandas.DataFrame
        One row an item.

    Returns
    -------
    dict of str to array
        Vectors of the type of their column; the joined ones, (n_rows, 2 or more), come last.

    Examples
    --------
    >>> import pandas as pd
    >>> split_columns(pd.DataFrame({"at_0": [1], "at_1": [2], "n": [3]}))
    {'n': array([3]), 'at': array([[1, 2]])}
    """
    # one column at a time: the values of the whole frame would be of one type for all columns
    columns = {str(name): df.iloc[:, at].to_numpy() for at, name in enumerate(df.columns)}
    firsts = [name for name in columns if name.endswith("_0")]
    runs = {name[:-2]: _run(name[:-2], columns) for name in firsts}
    runs = {stem: run for stem, run in runs.items() if stem and len(run) > 1}
    # a column of the joined name would be lost
    runs = {stem: run for stem, run in runs.items() if stem not in columns}
    joined = {part for run in runs.values() for part in run}
    out = {name: values for name, values in columns.items() if name not in joined}
    return out | {stem: np.column_stack([columns[x] for x in run]) for stem, run in runs.items()}


def _run(stem: str, columns: Collection[str]) -> list[str]:
    """Give ``stem_0``, ``stem_1``, ... as far as they go."""
    run: list[str] = []
    while (name := f"{stem}_{len(run)}") in columns:
        run.append(name)
    return run
