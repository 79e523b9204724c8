"""Recordings split into trials by a mask of plus and minus ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from one_cache.errors import InvalidArgument

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Series: TypeAlias = "tuple[NDArray[Any], NDArray[Any]]"
"""``(data, timestamps)``: values, samples first, and their times in s."""


def split_trials(
    data: tuple[ArrayLike, ArrayLike],
    mask: tuple[ArrayLike, ArrayLike],
    *,
    relative: bool = False,
    close_intervals: bool = False,
) -> list[Series]:
    """Split a recording into its trials.

    A trial holds what lies from its start to its end, both included, so a sample on the border of
    two trials is in both. The function of Antelop of this name gives the same values.

    Parameters
    ----------
    data : (values, timestamps)
        Analog ``(n,)``, digital ``(k,)``, interval ``(2m,)`` of +1 on and -1 off, or kinematics
        ``(n, 3)`` values; timestamps ``(n,)`` s. Any further shape is split along its first axis.
    mask : (values, timestamps)
        ``(2 * n_trials,)`` values, +1 where a trial starts and -1 where it ends, in turn;
        timestamps in s.
    relative : bool
        Whether times count from the start of each trial.
    close_intervals : bool
        Whether an interval that a border cuts is closed there: one that is on when the trial
        starts gets a +1 at the start, one that is on when it ends a -1 at the end.

    Returns
    -------
    list of (values, timestamps)
        One a trial; views of the input where it is sorted by time and nothing is changed.

    Raises
    ------
    InvalidArgument
        The mask is unbalanced, does not alternate or goes back in time; intervals are to be
        closed in data that are no plus and minus ones in the order of time; lengths differ. Says
        at which index.

    Examples
    --------
    >>> import numpy as np
    >>> analog = np.array([5, 6, 7, 8]), np.array([0.0, 1.0, 2.0, 3.0])
    >>> mask = [1, -1, 1, -1], [0.5, 2.0, 2.0, 9.0]
    >>> [values.tolist() for values, _ in split_trials(analog, mask)]
    [[6, 7], [7, 8]]
    """
    starts, ends = _borders(*mask)
    values, times = _series(data, "the data")
    if close_intervals:
        _refuse_other_than_intervals(values, times)
    places = _places(times, starts, ends)
    trials = [(values[place], times[place]) for place in places]
    if close_intervals:
        on = _on_at(values, times, starts)
        trials = [
            _closed(trial, start, end, bool(is_on))
            for trial, start, end, is_on in zip(trials, starts, ends, on, strict=True)
        ]
    if relative:
        trials = [(v, t - start) for (v, t), start in zip(trials, starts, strict=True)]
    return trials


def check_mask(mask: tuple[ArrayLike, ArrayLike]) -> Series:
    """Give a mask as arrays, or say at which index it is none.

    Parameters
    ----------
    mask : (values, timestamps)
        +1 where a trial starts and -1 where it ends, in turn; timestamps in s.

    Returns
    -------
    (values, timestamps)

    Raises
    ------
    InvalidArgument
        It is unbalanced, does not alternate or goes back in time.

    Examples
    --------
    >>> check_mask(([1, 1, -1], [0, 1, 2]))
    Traceback (most recent call last):
    one_cache.errors.InvalidArgument: the mask does not alternate: value 1 at index 1 (1 s) ...
    """
    values, times = _series(mask, "the mask")
    if values.ndim != 1:
        raise InvalidArgument(f"a mask has one value a time, got shape {values.shape}")
    expected = np.where(np.arange(len(values)) % 2, -1, 1)
    wrong = np.flatnonzero(values != expected)
    if len(wrong):
        i = int(wrong[0])
        raise InvalidArgument(
            f"the mask does not alternate: value {values[i]} at index {i} ({times[i]} s), "
            f"{expected[i]:+d} was expected"
        )
    if len(values) % 2:
        i = len(values) - 1
        raise InvalidArgument(
            f"the mask is unbalanced: the trial that starts at index {i} ({times[i]} s) never ends"
        )
    back = np.flatnonzero(~(times[1:] >= times[:-1]))
    if len(back):
        i = int(back[0]) + 1
        raise InvalidArgument(f"the mask goes back in time at index {i} ({times[i]} s)")
    return values, times


def _series(pair: tuple[ArrayLike, ArrayLike], what: str) -> Series:
    """Give values and times as arrays of one length."""
    values, times = (np.asarray(part) for part in pair)
    if times.ndim != 1 or not values.ndim or len(values) != len(times):
        raise InvalidArgument(
            f"{what} have values of shape {values.shape} and timestamps of shape {times.shape}; "
            "one timestamp a value is needed"
        )
    return values, times


def _borders(values: ArrayLike, times: ArrayLike) -> Series:
    """Give the starts and the ends of the trials."""
    _, moments = check_mask((values, times))
    return moments[::2], moments[1::2]


def _places(
    times: NDArray[Any], starts: NDArray[Any], ends: NDArray[Any]
) -> list[slice | NDArray[np.intp]]:
    """Give where the samples of each trial are."""
    if len(times) and not (times[1:] >= times[:-1]).all():
        # unsorted: kept in the order given, at the price of a copy
        return [
            np.flatnonzero((times >= start) & (times <= end))
            for start, end in zip(starts, ends, strict=True)
        ]
    first = np.searchsorted(times, starts, "left").tolist()
    last = np.searchsorted(times, ends, "right").tolist()
    return [slice(i, j) for i, j in zip(first, last, strict=True)]


def _refuse_other_than_intervals(values: NDArray[Any], times: NDArray[Any]) -> None:
    """Refuse what cannot be closed: other values, or an order that is not that of time."""
    other = np.flatnonzero(~np.isin(values, (-1, 1))) if values.ndim == 1 else np.array([0])
    if len(other):
        i = int(other[0])
        raise InvalidArgument(
            f"close_intervals=True needs data of +1 and -1, got {values[i]} at index {i}"
        )
    back = np.flatnonzero(~(times[1:] >= times[:-1]))
    if len(back):
        i = int(back[0]) + 1
        raise InvalidArgument(
            f"close_intervals=True needs times in order, they go back at index {i} ({times[i]} s)"
        )


def _on_at(values: NDArray[Any], times: NDArray[Any], starts: NDArray[Any]) -> NDArray[np.bool_]:
    """Say for each start whether an interval that began before it is still on."""
    if not len(times):
        return np.zeros(len(starts), dtype=bool)
    before = np.searchsorted(times, starts, "left") - 1
    on: NDArray[np.bool_] = (before >= 0) & (values[before] == 1)
    return on


def _closed(trial: Series, start: Any, end: Any, on: bool) -> Series:
    """Add the +1 at the start and the -1 at the end that the borders cut away."""
    values, times = trial
    # the recording itself may begin in an interval, whose first sign then is its end
    head = values[0] == -1 if len(values) else on
    tail = values[-1] == 1 if len(values) else on
    if not head and not tail:
        return trial
    extra = np.array([1, -1], dtype=values.dtype)
    values = np.concatenate([extra[:1][: int(head)], values, extra[1:][: int(tail)]])
    times = np.concatenate(
        [np.full(int(head), start, times.dtype), times, np.full(int(tail), end, times.dtype)]
    )
    return values, times
