"""Frames as Arrow tables and back, with the missing values that a CSV reader gives."""

from __future__ import annotations

from typing import Any

# whoever imports a project cache reads tables with it, and waits for these but once
import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

from one_cache.ecephys.folder.formats import ID
from one_cache.errors import ContentError


def arrow_of(frame: pd.DataFrame) -> Any:
    """Give a frame as a table whose key is called ``id``.

    Parameters
    ----------
    frame : pandas.DataFrame
        Its index numbers the rows.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    ContentError
        A column holds values of several types.
    """
    flat = frame.rename_axis(ID).reset_index()
    try:
        return pa.Table.from_pandas(flat, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ContentError(f"a column holds values of several types: {error}") from error


def is_text(column: pd.Series[Any]) -> bool:
    """Tell the texts of pandas 3, which know what is missing, from plain objects."""
    return str(column.dtype) != "object"


def restored(frame: pd.DataFrame) -> pd.DataFrame:
    """Give back the missing values that a CSV reader gives: NaN, in columns of objects, too.

    Parameters
    ----------
    frame : pandas.DataFrame
        From Arrow, where a missing text is None.

    Returns
    -------
    pandas.DataFrame
        The same.
    """
    for column in frame.columns:
        if frame[column].dtype.kind != "O" or is_text(frame[column]):
            continue
        values = frame[column].to_numpy(dtype=object, copy=True)
        values[pd.isna(values)] = np.nan
        frame[column] = pd.Series(values, index=frame.index, dtype=object)
    return frame
