"""Named conditions: which activity, around which event, in which trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from one_cache.errors import InvalidArgument
from one_cache.trials.align import align
from one_cache.trials.windows import trial_windows

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

    from one_cache.cache import Cache
    from one_cache.relation import Relation
    from one_cache.trials.aligned import Aligned


@dataclass(frozen=True, eq=False)
class Condition:
    """What aligned activity is made of.

    Attributes
    ----------
    activity : (n_roi, n_samples) array
        See :func:`one_cache.trials.align`.
    alignment : mapping or Series
        A row of AlignmentEvent; see :func:`one_cache.trials.trial_windows`.
    trials, events : DataFrame or Relation
        The trials of this condition; all events of the session.
    rate : float, Hz
        Of the samples, from 0 s on. This or `times`.
    times : (n_samples,) float, s
        Of the samples.
    bin_size : float, s
        Step of the time axis; one sample by default.
    roi : (n_roi,), optional
        Names of the rows of `activity`.
    unit : str
        Of the activity.
    """

    activity: ArrayLike
    alignment: Mapping[str, Any] | pd.Series[Any]
    trials: pd.DataFrame | Relation
    events: pd.DataFrame | Relation
    rate: float | None = None
    times: ArrayLike | None = None
    bin_size: float | None = None
    roi: ArrayLike | None = None
    unit: str = ""


def aligned_activity(
    cache: Cache, condition: Condition, *, method: str = "nearest", strict: bool = False
) -> Aligned:
    """Cut the activity of a condition around its event, for :func:`populate`.

    Parameters
    ----------
    cache : Cache
        Not used: a condition has all that is needed.
    condition : Condition
        What to cut.
    method : {"nearest", "linear"}
        See :func:`one_cache.trials.align`.
    strict : bool
        Windows and samples as DataJoint's ``ActivityAlignment`` computes them, which has no bins:
        `bin_size` is left aside then, as it is there.

    Returns
    -------
    Aligned
    """
    if method not in ("nearest", "linear"):
        raise InvalidArgument(f"method must be 'nearest' or 'linear', got {method!r}")
    windows = trial_windows(condition.trials, condition.events, condition.alignment, strict=strict)
    return align(
        condition.activity,
        windows,
        rate=condition.rate,
        times=condition.times,
        bin_size=None if strict else condition.bin_size,
        method="linear" if method == "linear" else "nearest",
        strict=strict,
        roi=condition.roi,
        unit=condition.unit,
    )
