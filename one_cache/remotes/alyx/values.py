"""Values as they come from an Alyx server, and as its filters read them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any
from uuid import UUID

from one_cache.errors import InvalidArgument


def uuid_of(value: Any) -> str:
    """Give the UUID that `value` is or ends with, as lower-case text.

    Parameters
    ----------
    value : str or UUID
        An id, or the URL of a record.

    Returns
    -------
    str

    Raises
    ------
    InvalidArgument
        There is none in it.

    Examples
    --------
    >>> uuid_of("http://alyx/datasets/CE3837FB-2226-463e-bede-0c08b22420a2")
    'ce3837fb-2226-463e-bede-0c08b22420a2'
    """
    try:
        return str(UUID(str(value)[-36:]))
    except ValueError:
        raise InvalidArgument(f"{value!r} is not a UUID, nor the address of a record") from None


def is_true(value: Any) -> bool:
    """Read a flag that comes as a bool, a number or a text.

    Examples
    --------
    >>> [is_true(value) for value in (True, 1, "True", "false", "", None)]
    [True, True, True, False, False, False]
    """
    return str(value).lower() in ("true", "1", "1.0")


def listed(value: Any) -> list[Any]:
    """Give one value or several as a list.

    Examples
    --------
    >>> listed("KS014"), listed(("KS014", "KS01"))
    (['KS014'], ['KS014', 'KS01'])
    """
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        return [value]
    return list(value)


def as_text(value: Any) -> str:
    """Write the value of a filter as Alyx reads it; several are joined by commas.

    Examples
    --------
    >>> as_text(["KS014", 1, True])
    'KS014,1,True'
    """
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, (dt.date, dt.datetime)):
        return value.isoformat()
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        return str(value)
    return ",".join(map(as_text, value))
