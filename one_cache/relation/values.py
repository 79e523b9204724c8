"""Single values on their way into a question, and columns of values on their way out."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from one_cache.errors import InvalidArgument
from one_cache.relation.heading import Column

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INTEGERS = {
    f"{sign}{size}"
    for sign in ("", "U")
    for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
}


def plain(value: Any) -> Any:
    """Give a value as Python's own type; everything that means "no value" as None.

    Parameters
    ----------
    value : any
        Of numpy, pandas or Python.

    Returns
    -------
    any

    Examples
    --------
    >>> import numpy as np
    >>> plain(np.int64(3)), plain(float("nan")), plain(np.datetime64("2021-01-01T00:00:01"))
    (3, None, datetime.datetime(2021, 1, 1, 0, 0, 1))
    """
    import numpy as np
    import pandas as pd

    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    elif isinstance(value, np.timedelta64):
        value = pd.Timedelta(value)
    elif isinstance(value, np.generic) and not isinstance(value, np.void):
        value = value.item()
    if value is pd.NaT or value is pd.NA or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime(warn=False)
    if isinstance(value, pd.Timedelta):
        return value.to_pytimedelta()
    return str(value) if isinstance(value, str) else value


def fitted(column: Column, value: Any) -> Any:
    """Give a value in the type of a column, so that the engine compares like with like.

    Parameters
    ----------
    column : Column
        What it is compared with or put into.
    value : any
        For instance ``"2021-01-01 00:00:01"`` for a timestamp.

    Returns
    -------
    any
        None for no value.

    Raises
    ------
    InvalidArgument
        The column cannot hold such a value.

    Examples
    --------
    >>> fitted(Column("n", "INTEGER"), "3"), fitted(Column("t", "DATE"), "2021-01-01")
    (3, datetime.datetime(2021, 1, 1, 0, 0))
    """
    found = plain(value)
    if found is None:
        return None
    kind = column.type.partition("(")[0]
    try:
        if isinstance(found, (list, tuple, set, dict)) or hasattr(found, "__array__"):
            raise TypeError("not a single value")
        if kind in _INTEGERS or kind == "DECIMAL":
            return _number(found)
        if kind in _FITS:
            return _FITS[kind](found)
        if kind.startswith("TIMESTAMP"):
            return _moment(found)
    except (TypeError, ValueError, InvalidOperation) as error:
        raise InvalidArgument(
            f"column {column.name!r} is {column.type}, its value cannot be {value!r}"
        ) from error
    return found


def _number(value: Any) -> Any:
    """Give a whole number, a decimal, or a float that is none of both."""
    if isinstance(value, str):
        value = Decimal(value)
    if isinstance(value, bool) or value == int(value):
        return int(value)
    return value


def _single(value: Any) -> float:
    """Give the nearest 32-bit float."""
    import numpy as np

    return float(np.float32(float(value)))


def _truth(value: Any) -> bool:
    """Give True or False, of 1 and 0 too."""
    if value in (0, 1):
        return bool(value)
    raise ValueError


def _moment(value: Any) -> Any:
    """Give a date and time."""
    if isinstance(value, str):
        return dt.datetime.fromisoformat(value)
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, dt.date):
        return dt.datetime.combine(value, dt.time())
    raise TypeError


def _uuid(value: Any) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(str(value))


_FITS: dict[str, Callable[[Any], Any]] = {
    "VARCHAR": str,
    "ENUM": str,
    "BOOLEAN": _truth,
    "FLOAT": _single,
    "DOUBLE": float,
    "UUID": _uuid,
    "DATE": _moment,
}


def as_list(column: Column, values: Any) -> list[Any]:
    """Give the values of an answer as Python's own types, arrays as numpy arrays.

    Parameters
    ----------
    column : Column
        Whose values these are.
    values : pyarrow.ChunkedArray
        As the engine answered.

    Returns
    -------
    list
        None where there is no value.
    """
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    if pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type):
        found = _arrays(values)
    elif column.type == "UUID":
        found = [None if one is None else uuid.UUID(str(one)) for one in values.to_pylist()]
    elif column.type in _INTEGERS and not pa.types.is_integer(values.type):
        # sums of whole numbers come as decimals
        found = [None if one is None else int(one) for one in values.to_pylist()]
    elif pa.types.is_timestamp(values.type):
        zone = values.type.tz
        found = values.cast(pa.timestamp("us", zone), safe=False).to_pylist()
    elif pa.types.is_interval(values.type):
        found = [None if one is None else _duration(one) for one in values.to_pylist()]
    else:
        found = values.to_pylist()
    if column.decode is None:
        return found
    return [None if one is None else column.decode(one) for one in found]


def as_array(column: Column, values: Any) -> NDArray[Any]:
    """Give the values of an answer as one array.

    Parameters
    ----------
    column : Column
        Whose values these are.
    values : pyarrow.ChunkedArray
        As the engine answered.

    Returns
    -------
    (n_rows,) array
        Numbers and truth values in their own type when no value is missing, floats with NaN for
        missing ones; objects for everything else.
    """
    import numpy as np
    import pyarrow as pa

    kind = values.type
    whole = (pa.types.is_integer(kind) or pa.types.is_boolean(kind)) and not values.null_count
    if column.decode is None and (whole or pa.types.is_floating(kind)):
        found: NDArray[Any] = values.to_numpy()
        return found.copy()
    listed = as_list(column, values)
    out = np.empty(len(listed), dtype=object)
    # one by one: arrays of one length would become a matrix
    for place, one in enumerate(listed):
        out[place] = one
    return out


def _arrays(values: Any) -> list[Any]:
    """Give each list of numbers as an array of its own, other lists as lists."""
    import numpy as np
    import pyarrow as pa

    kind = values.type.value_type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        nested = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
        found = values.to_pylist()
        return [np.array(one) for one in found] if nested else found
    out: list[Any] = []
    for chunk in values.chunks:
        for scalar in chunk:
            # a copy: users change what they fetch
            listed = scalar.values
            out.append(None if listed is None else np.array(listed.to_numpy(zero_copy_only=False)))
    return out


def _duration(interval: Any) -> dt.timedelta:
    """Give an interval of days and seconds."""
    months, days, nanoseconds = interval
    if months:
        raise InvalidArgument("an interval of months has no length")
    return dt.timedelta(days=days, microseconds=nanoseconds / 1000)
