"""Windows of time around events: one row a trial, in seconds.

The rule is that of DataJoint's ``get_trialized_alignment_event_times`` (element-event, as it
computes in 64-bit floats), with one difference that ``strict=True`` takes back: see
:func:`trial_windows`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from one_cache.errors import InvalidArgument, TableColumnMissing, near_misses

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

# columns that say which session a row is of: their values must be those of one session
_SESSION = ("eid", "session", "session_id", "subject", "session_datetime")


class FrameLike(Protocol):
    """What gives its rows as a frame: a relation, an Arrow table."""

    def to_pandas(self) -> pd.DataFrame:
        """Give the rows as a frame."""
        ...


class _Anchor(NamedTuple):
    """An event type and what to add to its time."""

    event_type: str
    shift: float


def trial_windows(
    trials: pd.DataFrame | FrameLike,
    events: pd.DataFrame | FrameLike,
    alignment: Mapping[str, Any] | pd.Series[Any],
    *,
    strict: bool = False,
) -> pd.DataFrame:
    """Find, for each trial, the event to align to and the window around it.

    1. *event*: the last event of ``alignment_event_type`` from ``trial_start_time`` to
       ``trial_stop_time``, both included. Only times count: where trials overlap, an event
       belongs to each of them.
    2. *start*: the event itself when ``start_event_type`` is the same type; otherwise the last
       event of that type before it, wherever it is in the session, but not before the trial's
       start; the trial's start where there is none.
    3. *end*: the same on the other side.
    4. The three shifts are added last, so a window may leave its trial.

    With ``strict`` the same type is no exception in 2 and 3, as in DataJoint: "5 s before and
    after the center button" then reaches back to 5 s before the *previous* press or the start of
    the trial.

    Parameters
    ----------
    trials : DataFrame or what has ``to_pandas()``
        ``trial_id``, ``trial_start_time``, ``trial_stop_time`` (s); of one session.
    events : DataFrame or what has ``to_pandas()``
        ``event_type``, ``event_start_time`` (s); of the same session, within trials or not.
    alignment : mapping, Series, or relation of one row
        ``alignment_event_type``, ``alignment_time_shift``, ``start_event_type``,
        ``start_time_shift``, ``end_event_type``, ``end_time_shift`` (s); a row of AlignmentEvent.
    strict : bool
        Whether to follow the original where it surprises.

    Returns
    -------
    DataFrame
        ``trial_id``, ``start``, ``event``, ``end`` (float, s), in the order of `trial_id`; NaN
        where a trial has no such event.

    Raises
    ------
    TableColumnMissing
        A column or entry is missing.
    InvalidArgument
        A trial comes twice, or there are several sessions in one frame.

    Examples
    --------
    >>> import pandas as pd
    >>> trials = pd.DataFrame({
    ...     "trial_id": [1, 2], "trial_start_time": [0.2, 1.5], "trial_stop_time": [1.1, 2.3]})
    >>> events = pd.DataFrame({"event_type": ["go", "go"], "event_start_time": [1.6, 1.65]})
    >>> around_go = {
    ...     "alignment_event_type": "go", "alignment_time_shift": 0,
    ...     "start_event_type": "go", "start_time_shift": -5,
    ...     "end_event_type": "go", "end_time_shift": 5}
    >>> trial_windows(trials, events, around_go)
       trial_id  start  event   end
    0         1    NaN    NaN   NaN
    1         2  -3.35   1.65  6.65
    """
    import pandas as pd

    anchors = _anchors(alignment)
    trial_rows, event_rows = _frame(trials), _frame(events)
    _refuse_other_sessions(trial_rows, event_rows)
    trial_id, first, last = _trials(trial_rows)
    times = _event_times(event_rows, {anchor.event_type for anchor in anchors})
    aligned, before, after = (times[anchor.event_type] for anchor in anchors)

    event = _last(aligned, last, "right")
    event[~(event >= first)] = np.nan
    start = event if _anchors_itself(anchors[1], anchors[0], strict) else (
        np.fmax(_last(before, event, "left"), first)
    )  # fmt: skip
    end = event if _anchors_itself(anchors[2], anchors[0], strict) else (
        np.fmin(_next(after, event), last)
    )  # fmt: skip
    known = ~np.isnan(event)
    return pd.DataFrame(
        {
            "trial_id": trial_id,
            "start": np.where(known, start + anchors[1].shift, np.nan),
            "event": event + anchors[0].shift,
            "end": np.where(known, end + anchors[2].shift, np.nan),
        }
    )


def event_windows(
    events: ArrayLike, window: tuple[float, float], *, trial_id: ArrayLike | None = None
) -> pd.DataFrame:
    """Give the same window around each event, in the form that `align` takes.

    Parameters
    ----------
    events : (n_events,) float, s
        NaN for a trial without the event.
    window : (float, float), s
        Relative to the event.
    trial_id : (n_events,), optional
        Names of the rows; 0, 1, 2, ... by default.

    Returns
    -------
    DataFrame
        ``trial_id``, ``start``, ``event``, ``end`` (float, s), in the order given.

    Examples
    --------
    >>> event_windows([3.0, 8.0], (-1, 2))
       trial_id  start  event   end
    0         0    2.0    3.0   5.0
    1         1    7.0    8.0  10.0
    """
    import pandas as pd

    times = np.asarray(events, dtype=np.float64).ravel()
    names = np.arange(len(times)) if trial_id is None else np.asarray(trial_id).ravel()
    if len(names) != len(times):
        raise InvalidArgument(f"{len(times)} events, but {len(names)} trial ids")
    first, last = window
    if not first <= last:
        raise InvalidArgument(f"a window begins before it ends, got {window} s")
    return pd.DataFrame(
        {"trial_id": names, "start": times + first, "event": times, "end": times + last}
    )


def _anchors_itself(anchor: _Anchor, aligned: _Anchor, strict: bool) -> bool:
    """Say whether the event that is aligned to is this anchor as well."""
    return not strict and anchor.event_type == aligned.event_type


def _last(
    times: NDArray[np.float64], limit: NDArray[np.float64], side: Any
) -> NDArray[np.float64]:
    """Give the last of the sorted `times` before each limit; NaN where there is none.

    `side` "left" leaves the limit itself out, "right" includes it.
    """
    return np.append(times, np.nan)[np.searchsorted(times, limit, side) - 1]


def _next(times: NDArray[np.float64], limit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the first of the sorted `times` after each limit; NaN where there is none."""
    return np.append(times, np.nan)[np.searchsorted(times, limit, "right")]


def _frame(table: Any) -> pd.DataFrame:
    """Give the rows of a frame-like thing as a frame with plain columns."""
    import pandas as pd

    frame = table if isinstance(table, pd.DataFrame) else None
    if frame is None and hasattr(table, "to_pandas"):
        frame = table.to_pandas()
    if not isinstance(frame, pd.DataFrame):
        raise InvalidArgument(f"a DataFrame or a relation is needed, got {type(table).__name__}")
    if not isinstance(frame.index, pd.RangeIndex) and any(frame.index.names):
        frame = frame.reset_index()
    return frame


def _refuse_other_sessions(trials: pd.DataFrame, events: pd.DataFrame) -> None:
    """Refuse rows of more than one session: their times have different zeros."""
    for name in _SESSION:
        values = {value for rows in (trials, events) if name in rows for value in rows[name]}
        if len(values) > 1:
            some = " and ".join(sorted(map(str, values))[:3])
            raise InvalidArgument(f"windows are of one session, but {name} is {some}")


def _column(table: Mapping[Any, Any] | pd.DataFrame, name: str, what: str) -> Any:
    """Give a column or entry, or say which one is missing."""
    try:
        return table[name]
    except KeyError:
        near = near_misses(name, map(str, table.keys()))
        raise TableColumnMissing(f"{what} without {name!r}.{near}") from None


def _anchors(alignment: Any) -> Sequence[_Anchor]:
    """Give the anchors of the event, the start and the end."""
    # a relation that was restricted to one row will do
    row = alignment.fetch1() if hasattr(alignment, "fetch1") else dict(alignment)
    return [
        _Anchor(
            _column(row, f"{part}_event_type", "the alignment is"),
            float(_column(row, f"{part}_time_shift", "the alignment is")),
        )
        for part in ("alignment", "start", "end")
    ]


def _trials(
    frame: pd.DataFrame,
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    """Give id, start and stop of the trials, in the order of their ids."""
    trial_id = _column(frame, "trial_id", "a table of trials").to_numpy()
    order = np.argsort(trial_id, kind="stable")
    ordered = trial_id[order]
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        raise InvalidArgument(
            f"trial_id {ordered[twice[0]]} comes twice; windows are of one session"
        )
    first, last = (
        _column(frame, name, "a table of trials").to_numpy(np.float64)[order]
        for name in ("trial_start_time", "trial_stop_time")
    )
    return ordered, first, last


def _event_times(frame: pd.DataFrame, types: set[str]) -> dict[str, NDArray[np.float64]]:
    """Give the sorted times of each type of event."""
    kind = _column(frame, "event_type", "a table of events").to_numpy()
    # decimals of a database become floats here
    time = _column(frame, "event_start_time", "a table of events").to_numpy(np.float64)
    return {name: np.sort(time[(kind == name) & ~np.isnan(time)]) for name in types}
