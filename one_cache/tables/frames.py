"""A whole table as a frame, as users of ONE-api know it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from one_cache.tables.schema import QC_NAMES

if TYPE_CHECKING:
    import pandas as pd


def as_uuid(text: Any) -> Any:
    """Give an id as ``uuid.UUID``, and one that is none as it is.

    Examples
    --------
    >>> as_uuid("KS014/2023-03-10/001"), as_uuid("")
    ('KS014/2023-03-10/001', '')
    """
    if not isinstance(text, str):
        return text  # tables of other projects number their rows
    try:
        return uuid.UUID(text)
    except ValueError:
        return text  # old tables named a session by its path


def as_known(name: str, frame: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """Give the index and the types that ONE-api gives.

    Parameters
    ----------
    name : str
        Kind of table.
    frame : pandas.DataFrame
        All columns.
    key : sequence of str
        Columns of the index.

    Returns
    -------
    pandas.DataFrame
    """
    import pandas as pd

    if name == "datasets":
        frame["file_size"] = frame["file_size"].astype("UInt64")
        frame["qc"] = frame["qc"].astype(pd.CategoricalDtype(list(QC_NAMES), ordered=True))
        flags = frame["default_revision"].astype("boolean")
        frame["default_revision"] = flags if flags.hasnans else flags.astype("bool")
    if not key:
        return frame
    levels: list[Any] = [
        pd.Index([as_uuid(text) for text in frame[one]], dtype=object, name=one) for one in key
    ]
    index = levels[0] if len(key) == 1 else pd.MultiIndex.from_arrays(levels, names=list(key))
    return frame.drop(columns=list(key)).set_axis(index)
