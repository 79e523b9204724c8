"""Activity cut around events and put on one time axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from one_cache.errors import InvalidArgument, TableColumnMissing
from one_cache.trials.aligned import Aligned
from one_cache.trials.clock import TOLERANCE, Clock, read_clock

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray


class _Windows(NamedTuple):
    """Columns of the windows as arrays."""

    trial_id: NDArray[Any]
    start: NDArray[np.float64]
    event: NDArray[np.float64]
    end: NDArray[np.float64]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Trials with an event."""
        return ~np.isnan(self.event)

    @property
    def reach(self) -> tuple[float, float]:
        """The longest way back to a start and on to an end, s."""
        known = self.known
        back = (self.event[known] - self.start[known]).max()
        ahead = (self.end[known] - self.event[known]).max()
        return float(back), float(ahead)


def align(
    traces: ArrayLike,
    windows: pd.DataFrame,
    *,
    rate: float | None = None,
    times: ArrayLike | None = None,
    bin_size: float | None = None,
    method: Literal["nearest", "linear"] = "nearest",
    strict: bool = False,
    roi: ArrayLike | None = None,
    unit: str = "",
) -> Aligned:
    """Cut the activity around the event of every trial.

    All trials share one time axis, as long as the longest window on each side, with steps of one
    sample (or `bin_size`) and a step at the event itself. Each value is that of the nearest
    sample (the later one of two equally near), or lies on the line between its neighbours.
    Nothing is invented: where the recording has no sample, the value is NaN. A sample stands for
    half an interval on each side, so "nearest" reaches that far beyond the first and last one,
    and "linear" does not.

    Parameters
    ----------
    traces : (n_roi, n_samples) or (n_samples,) array
        Activity, in any unit.
    windows : DataFrame
        ``trial_id``, ``start``, ``event``, ``end`` (s), as `trial_windows` and `event_windows`
        give them; NaN where a trial has no event. Windows may overlap.
    rate : float, Hz
        Sampling rate; the first sample is at 0 s. This or `times`.
    times : (n_samples,) float, s
        Increasing times of the samples, at a steady rate or not.
    bin_size : float, s
        Step of the time axis; the (median) interval between samples by default.
    method : {"nearest", "linear"}
        How a value between samples is found.
    strict : bool
        Whether to compute as DataJoint's ``ActivityAlignment`` does: trials without event left
        out; time axis from ``-longest way back`` in steps of ``1 / rate``; index of the first
        sample truncated, so that a trace is up to one sample late; a window that begins before
        the recording NaN as a whole, and one that ends before it filled from the recording's
        end. Needs `rate`, and allows no `bin_size` and no other `method`.
    roi : (n_roi,), optional
        Names of the rows of `traces`; 0, 1, 2, ... by default.
    unit : str
        Of the activity, for the axes of plots, for instance ``"dF/F"``.

    Returns
    -------
    Aligned
        ``data`` (n_roi, n_trials, n_time), ``time`` (n_time,) s, ``trial_id``, ``roi``.

    Raises
    ------
    InvalidArgument
        Neither or both of `rate` and `times`, times that do not increase, or shapes that differ.
    TableColumnMissing
        A column of `windows` is missing.

    Examples
    --------
    >>> from one_cache.trials import event_windows
    >>> a = align([[0, 10, 20, 30, 40]], event_windows([2.0, 3.5], (-1, 1)), rate=1.0)
    >>> a.time
    array([-1.,  0.,  1.])
    >>> a.data
    array([[[10., 20., 30.], [30., 40., nan]]])
    """
    rows = _windows(windows)
    samples = np.atleast_2d(np.asarray(traces))
    names = np.arange(len(samples)) if roi is None else np.asarray(roi)
    if samples.ndim != 2:
        raise InvalidArgument(f"traces are (n_roi, n_samples), got shape {samples.shape}")
    clock = read_clock(rate, times, samples.shape[1])
    if strict:
        if rate is None or bin_size is not None or method != "nearest":
            raise InvalidArgument("strict=True needs rate=, and no bin_size= or method=")
        data, time, rows = _as_datajoint(samples, rows, rate)
    else:
        time = _time_axis(rows, clock.interval if bin_size is None else bin_size)
        data = _cut(samples, rows, time, clock, method)
    return Aligned(data, time, rows.trial_id, names, unit)


def _windows(windows: Any) -> _Windows:
    """Read the columns of the windows."""
    for name in _Windows._fields:
        if name not in windows:
            raise TableColumnMissing(f"a table of windows is without {name!r}")
    start, event, end = (
        np.asarray(windows[name], dtype=np.float64) for name in ("start", "event", "end")
    )
    trial_id = np.asarray(windows["trial_id"])
    open_ = np.flatnonzero(~np.isnan(event) & ~(np.isfinite(start) & np.isfinite(end)))
    if len(open_):
        raise InvalidArgument(f"trial {trial_id[open_[0]]} has an event, but no start or no end")
    return _Windows(trial_id, start, event, end)


def _time_axis(rows: _Windows, step: float) -> NDArray[np.float64]:
    """Give the steps that all windows share, with one at 0; none when no trial has an event."""
    if not 0 < step < np.inf:
        raise InvalidArgument(f"bin_size is positive, got {step} s")
    if not rows.known.any():
        return np.empty(0)
    back, ahead = rows.reach
    first, last = np.ceil(-back / step - TOLERANCE), np.floor(ahead / step + TOLERANCE)
    # picoseconds: the third step of 0.1 s is 0.3, not 0.30000000000000004
    return np.round(np.arange(first, last + 1) * step, 12)


def _cut(
    samples: NDArray[Any],
    rows: _Windows,
    time: NDArray[np.float64],
    clock: Clock,
    method: str,
) -> NDArray[Any]:
    """Give the value of each roi at each time of each trial, (n_roi, n_trials, n_time)."""
    if method not in ("nearest", "linear"):
        raise InvalidArgument(f"method must be 'nearest' or 'linear', got {method!r}")
    if samples.dtype.kind != "f":
        samples = samples.astype(np.float64)
    known = np.flatnonzero(rows.known)
    # trials first in memory: each is then written in one place, nearly as fast as memory is
    data = np.empty((len(rows.trial_id), len(samples), len(time)), samples.dtype)
    data[~rows.known] = np.nan
    if method == "nearest":
        indices = clock.nearest(rows.event[known], time)
        # a run of samples is copied far faster than a list of them
        runs = (indices >= 0).all(axis=1) & (np.diff(indices) == 1).all(axis=1)
        for trial, index, is_run in zip(known, indices, runs.tolist(), strict=True):
            if is_run:
                data[trial] = samples[:, index[0] : index[-1] + 1]
            else:
                data[trial] = samples[:, index]
                data[trial][:, index < 0] = np.nan
    else:
        for trial, place in zip(known, clock.position(rows.event[known], time), strict=True):
            _put_linear(data[trial], samples, place)
    return data.transpose(1, 0, 2)


def _put_linear(out: NDArray[Any], samples: NDArray[Any], place: NDArray[np.float64]) -> None:
    """Put the values at these places between samples into (n_roi, n_time)."""
    inside = ~np.isnan(place)
    before = np.floor(place[inside]).astype(np.intp)
    part = place[inside] - before
    value = samples[:, before]
    # on a sample, its neighbour does not count, be it NaN or beyond the end
    between = part > 0
    step = samples[:, before[between] + 1] - value[:, between]
    value[:, between] += (part[between] * step).astype(value.dtype)
    out[:, inside] = value
    out[:, ~inside] = np.nan


def _as_datajoint(
    samples: NDArray[Any], rows: _Windows, rate: float
) -> tuple[NDArray[Any], NDArray[np.float64], _Windows]:
    """Cut as ``ActivityAlignment.make`` does, its index arithmetic included."""
    if not rows.known.any():
        raise InvalidArgument("no trial has the event: strict=True then has no time axis")
    rows = _Windows(*(column[rows.known] for column in rows))
    back, ahead = rows.reach
    time = np.arange(-back, ahead, 1 / rate)
    data = np.full((len(samples), len(rows.trial_id), len(time)), np.nan)
    for trial, event in enumerate(rows.event):
        first = int((event - back) * rate)
        # a negative index counts from the end, here as there
        found = samples[:, first : first + len(time)]
        data[:, trial, : found.shape[1]] = found
    return data, time, rows
