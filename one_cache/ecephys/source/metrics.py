"""Bundles of metrics: what was calculated of the responses of units, as the servers keep it."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from one_cache.errors import RemoteError

if TYPE_CHECKING:
    import pandas as pd


def metrics_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Unpack bundles of metrics.

    Parameters
    ----------
    rows : sequence of dict
        Each with ``ecephys_unit_id``, ``data`` (JSON) and ``id``.

    Returns
    -------
    pandas.DataFrame
        Index ``ecephys_unit_id``, a column a metric.

    Raises
    ------
    RemoteError
        A bundle is no JSON.

    Examples
    --------
    >>> rows = [{"id": 1, "ecephys_unit_id": 7, "data": '{"pref_ori_dg": 45.0}'}]
    >>> metrics_frame(rows).loc[7].to_dict()
    {'pref_ori_dg': 45.0}
    """
    import pandas as pd

    items = []
    for row in rows:
        try:
            data = row["data"]
            metrics = json.loads(data) if isinstance(data, str) else dict(data)
        except (ValueError, KeyError, TypeError) as error:
            raise RemoteError(f"metric bundle {row.get('id')} cannot be read: {error}") from error
        rest = {name: value for name, value in row.items() if name not in ("data", "id")}
        items.append({**rest, **metrics})
    frame = pd.DataFrame(items).set_index("ecephys_unit_id")
    for column in frame.columns:
        frame[column] = _evaluated(frame[column])
    return _unswapped(frame)


def _evaluated(column: pd.Series[Any]) -> Any:
    """Read the literals that a column of texts holds; leave it when one of them is none."""
    if not any(isinstance(value, str) for value in column):
        return column
    try:
        return [ast.literal_eval(str(value)) for value in column]
    except (ValueError, SyntaxError):
        return column


def _unswapped(frame: pd.DataFrame) -> pd.DataFrame:
    """Put two metrics into their places, which the server has exchanged.

    ``on_screen_rf`` is a flag and ``p_value_rf`` a number; should the server ever be corrected,
    nothing is exchanged.
    """
    first, second = "p_value_rf", "on_screen_rf"
    if not {first, second} <= set(frame.columns):
        return frame
    flags, numbers = frame[first].dropna(), frame[second].dropna()
    flagged = len(flags) and all(isinstance(value, bool) for value in flags.tolist())
    numbered = len(numbers) and all(isinstance(value, float) for value in numbers.tolist())
    if not (flagged and numbered):
        return frame
    return frame.assign(**{first: frame[second], second: frame[first]})
