"""Questions about what was shown: invalid times, blocks, gaps, parameters that are not used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from one_cache.ecephys.session.presentations import NULL

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

INVALID = "invalid_presentation"


# -- invalid times --------------------------------------------------------------------------------


def tagged(invalid: pd.DataFrame, tags: Iterable[str]) -> pd.DataFrame:
    """Give the invalid times that bear one of some tags.

    Parameters
    ----------
    invalid : pandas.DataFrame
        Columns ``start_time``, ``stop_time`` (s), ``tags``.
    tags : iterable of str
        Wanted.

    Returns
    -------
    pandas.DataFrame
    """
    if invalid.empty:
        return invalid
    wanted = list(tags)
    return invalid[[any(tag in has for tag in wanted) for has in invalid["tags"]]]


def masked(table: pd.DataFrame, invalid: pd.DataFrame) -> pd.DataFrame:
    """Hide what was shown while the stimulus was not valid, but for its times.

    Parameters
    ----------
    table : pandas.DataFrame
        From :func:`read_presentations`.
    invalid : pandas.DataFrame
        Invalid times of the stimulus; a presentation that touches one is hidden.

    Returns
    -------
    pandas.DataFrame
        The hidden rows are called ``invalid_presentation`` and are NaN otherwise.
    """
    import numpy as np
    import pandas as pd

    hidden = np.zeros(len(table), dtype=bool)
    starts, stops = table["start_time"].to_numpy(), table["stop_time"].to_numpy()
    for _, one in invalid.iterrows():
        hidden |= (starts <= one["stop_time"]) & (stops >= one["start_time"])
    if not hidden.any():
        return table
    table = table.copy()
    for column in table.columns:
        if column not in ("start_time", "stop_time"):
            numbers = table[column].dtype.kind in "iuf"
            values = table[column].to_numpy(dtype="float64" if numbers else object, copy=True)
            values[hidden] = INVALID if column == "stimulus_name" else np.nan
            table[column] = pd.Series(values, index=table.index, dtype=values.dtype)
    return table


# -- questions ------------------------------------------------------------------------------------


def without_unused(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out the parameters that none of some presentations has."""
    unused = [
        column
        for column in table.columns
        if table[column].isna().all()
        or table[column].dtype.kind == "O"
        and any((table[column].astype(str) == text).all() for text in ("", NULL))
    ]
    return table.drop(columns=unused)


def epochs(table: pd.DataFrame, thresholds: Mapping[str, float]) -> pd.DataFrame:
    """List the times during which one stimulus was shown without a break.

    Parameters
    ----------
    table : pandas.DataFrame
        Presentations.
    thresholds : mapping of str to float
        By stimulus, s; shorter epochs of it are left out.

    Returns
    -------
    pandas.DataFrame
        Start, stop and duration in s, name and block.
    """
    import pandas as pd

    bounds = intervals(table["stimulus_block"].to_numpy())
    left, right = bounds[:-1], bounds[1:] - 1
    found = pd.DataFrame(
        {
            "start_time": table["start_time"].to_numpy()[left],
            "stop_time": table["stop_time"].to_numpy()[right],
            "stimulus_name": table["stimulus_name"].to_numpy()[left],
            "stimulus_block": table["stimulus_block"].to_numpy()[left],
        }
    )
    found.insert(2, "duration", found["stop_time"] - found["start_time"])
    for name, least in thresholds.items():
        found = found[(found["stimulus_name"] != name) | (found["duration"] >= least)]
    return found


def intervals(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Find where runs of equal values begin and end; missing values are equal to each other.

    Parameters
    ----------
    values : numpy.ndarray
        (n,), of any types.

    Returns
    -------
    numpy.ndarray
        (runs + 1,) int: where each run begins, and `n`.

    Examples
    --------
    >>> import numpy as np
    >>> intervals(np.array([1.0, 1.0, np.nan, np.nan, 2.0])).tolist()
    [0, 2, 4, 5]
    """
    import numpy as np

    bounds = [0]
    for place in range(1, len(values)):
        if _differ(values[place - 1], values[place]):
            bounds.append(place)
    return np.unique([*bounds, len(values)])


def _differ(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return True
    missing = left is None or left != left
    if missing and (right is None or right != right):
        return False
    return bool(left != right)


def gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Give the time between each presentation and the next.

    Parameters
    ----------
    table : pandas.DataFrame
        Presentations.

    Returns
    -------
    pandas.DataFrame
        Index ``from_presentation_id``, ``to_presentation_id``; ``interval`` in s.
    """
    import pandas as pd

    ids = table.index.to_numpy()
    index = pd.MultiIndex.from_arrays(
        [ids[:-1], ids[1:]], names=["from_presentation_id", "to_presentation_id"]
    )
    starts, stops = table["start_time"].to_numpy(), table["stop_time"].to_numpy()
    return pd.DataFrame({"interval": starts[1:] - stops[:-1]}, index=index)
