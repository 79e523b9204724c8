"""Pictures of what happens around events; each function returns the axes it drew on.

Needs the extra ``plot`` (matplotlib).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from one_cache.errors import InvalidArgument
from one_cache.trials.spikes import peth, spikes_around

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from one_cache.trials.aligned import Aligned

# told apart by readers who do not see red and green, and in grey
_TIME = "Time from event (s)"
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")


def plot_aligned_activities(
    aligned: Aligned,
    roi: Any,
    axs: Sequence[Axes] | NDArray[Any] | None = None,
    title: str | None = None,
) -> NDArray[Any]:
    """Draw the activity of one roi: a heat map of its trials above their mean.

    The band around the mean is its standard error. What is NaN is grey: a trial without event,
    a part outside of the recording. ``windows.dropna()`` before `align` leaves such trials out.

    Parameters
    ----------
    aligned : Aligned
        As `align` gives it; its `unit` labels the axes.
    roi : value of `aligned.roi`
        Which one to draw, by its name.
    axs : two matplotlib Axes, optional
        Where to draw; a new figure of 12 by 8 inches by default.
    title : str, optional
        Above the figure.

    Returns
    -------
    (2,) array of matplotlib Axes

    Raises
    ------
    InvalidArgument
        No such roi.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("agg")
    >>> from one_cache.trials import align, event_windows
    >>> a = align([[0, 10, 20, 30]], event_windows([1.0, 2.0], (-1, 1)), rate=1.0, unit="dF/F")
    >>> heat, mean = plot_aligned_activities(a, roi=0, title="center button")
    >>> heat.get_ylabel(), mean.get_ylabel(), mean.get_xlabel()
    ('Trial', 'dF/F', 'Time from event (s)')
    """
    trials, time = aligned.of(roi), aligned.time
    if not len(time):
        raise InvalidArgument("no trial has the event: there is nothing to draw")
    upper, lower = _two_axes((12, 8)) if axs is None else axs
    _draw_heat(upper, trials, aligned)
    _draw_mean(lower, trials, time)
    lower.set(xlabel=_TIME, ylabel=aligned.unit or "Activity")
    for ax in (upper, lower):
        ax.set_xlim(*_span(time))
    _finish(upper, None, line="white")
    _finish(lower, None)
    if title:
        upper.figure.suptitle(title)
    return np.array([upper, lower], dtype=object)


def plot_raster(
    spike_times: ArrayLike,
    events: ArrayLike,
    window: tuple[float, float],
    *,
    groups: ArrayLike | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the spikes of one unit around each event, one row an event, the first on top.

    Parameters
    ----------
    spike_times : (n_spikes,) float, s
        Spikes of one unit.
    events : (n_events,) float, s
        A NaN event keeps an empty row.
    window : (float, float), s
        Relative to the event.
    groups : (n_events,), optional
        Kind of each event: rows are sorted by it, each kind in its colour.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    title : str, optional
        Above the axes.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import matplotlib; matplotlib.use("agg")
    >>> ax = plot_raster([0.5, 1.2, 2.1, 3.5], events=[1.0, 3.0], window=(-1, 1))
    >>> ax.get_xlabel()
    'Time from event (s)'
    """
    time, event = spikes_around(spike_times, events, window)
    n_events = np.size(np.asarray(events))
    row = np.empty(n_events, dtype=np.intp)
    ax = _axes(ax)
    start = 0
    for color, _, member in _groups(groups, n_events):
        row[member] = start + np.arange(len(member))
        drawn = np.isin(event, member)
        y = row[event[drawn]]
        # lines of half a row and less vanish between pixels when there are hundreds of rows
        ax.vlines(time[drawn], y, y + 1, color=color, linewidth=1, rasterized=len(y) > 20_000)
        start += len(member)
    ax.set(xlim=window, ylim=(max(n_events, 1), 0), ylabel="Event", xlabel=_TIME)
    return _finish(ax, title)


def plot_peth(
    spike_times: ArrayLike,
    events: ArrayLike,
    window: tuple[float, float],
    *,
    bin_size: float = 0.02,
    groups: ArrayLike | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the mean rate of one unit around the events, with its standard error.

    Parameters
    ----------
    spike_times : (n_spikes,) float, s
        Spikes of one unit.
    events : (n_events,) float, s
        NaN events are left out.
    window : (float, float), s
        Relative to the event.
    bin_size : float, s
        Width of a bin.
    groups : (n_events,), optional
        Kind of each event: one curve a kind, named in a legend.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    title : str, optional
        Above the axes.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import matplotlib; matplotlib.use("agg")
    >>> ax = plot_peth([0.5, 1.2, 2.1], events=[1.0, 3.0], window=(-1, 1), bin_size=0.5)
    >>> ax.get_ylabel()
    'Rate (spikes/s)'
    """
    event_times = np.asarray(events, dtype=np.float64).ravel()
    ax = _axes(ax)
    for color, label, member in _groups(groups, len(event_times)):
        counted = peth(spike_times, None, event_times[member], window, bin_size, units=[0])
        rates = counted.trial_rates[0]
        if not len(rates):
            continue
        mean, spread = rates.mean(axis=0), _standard_error(rates)
        ax.stairs(mean, counted.bin_edges, color=color, label=f"{label} (n = {len(rates)})")
        ax.stairs(
            mean + spread, counted.bin_edges, baseline=mean - spread,
            fill=True, color=color, alpha=0.25, linewidth=0,
        )  # fmt: skip
    if groups is not None and ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False)
    ax.set(xlim=window, xlabel=_TIME, ylabel="Rate (spikes/s)")
    ax.set_ylim(bottom=0)
    return _finish(ax, title)


def plot_raster_peth(
    spike_times: ArrayLike,
    events: ArrayLike,
    window: tuple[float, float],
    *,
    bin_size: float = 0.02,
    groups: ArrayLike | None = None,
    axs: tuple[Axes, Axes] | None = None,
    title: str | None = None,
) -> NDArray[Any]:
    """Draw the raster of one unit above its mean rate; parameters as in the two parts.

    Parameters
    ----------
    spike_times : (n_spikes,) float, s
        Spikes of one unit.
    events : (n_events,) float, s
        NaN events have no spikes.
    window : (float, float), s
        Relative to the event.
    bin_size : float, s
        Width of a bin of the mean.
    groups : (n_events,), optional
        Kind of each event.
    axs : two matplotlib Axes, optional
        Where to draw; a new figure by default.
    title : str, optional
        Above the upper axes.

    Returns
    -------
    (2,) array of matplotlib Axes

    Examples
    --------
    >>> import matplotlib; matplotlib.use("agg")
    >>> raster, rate = plot_raster_peth([0.5, 1.2], [1.0, 3.0], (-1, 1), title="unit 7")
    >>> raster.get_title(), rate.get_xlabel()
    ('unit 7', 'Time from event (s)')
    """
    upper, lower = _two_axes((6, 6)) if axs is None else axs
    plot_raster(spike_times, events, window, groups=groups, ax=upper, title=title)
    plot_peth(spike_times, events, window, bin_size=bin_size, groups=groups, ax=lower)
    upper.set_xlabel("")
    return np.array([upper, lower], dtype=object)


def _axes(ax: Axes | None) -> Axes:
    """Give the axes, or those of a new figure."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(6, 4), layout="constrained")[1]


def _two_axes(size: tuple[float, float]) -> tuple[Axes, Axes]:
    """Make two axes, one above the other, on one time axis."""
    from matplotlib import pyplot

    _, (upper, lower) = pyplot.subplots(
        2, 1, figsize=size, sharex=True, layout="constrained", height_ratios=[3, 2]
    )
    return upper, lower


def _span(time: NDArray[np.float64]) -> tuple[float, float]:
    """Give where the first sample begins and the last one ends, each centred on its time."""
    half = (time[1] - time[0]) / 2 if len(time) > 1 else 0.5
    return float(time[0] - half), float(time[-1] + half)


def _draw_heat(ax: Axes, trials: NDArray[Any], aligned: Aligned) -> None:
    """Draw trials by time, the first trial on top, each row named by its trial."""
    image = ax.imshow(
        trials,
        cmap="inferno",
        interpolation="nearest",
        aspect="auto",
        extent=(*_span(aligned.time), len(trials), 0),
    )
    ax.set_facecolor("0.75")
    every = -(-len(trials) // 12)
    ax.set_yticks(np.arange(0, len(trials), every) + 0.5, aligned.trial_id[::every])
    ax.set_ylabel("Trial")
    # beside the axes and not taken from them, so that both panels keep one time axis
    beside = ax.inset_axes((1.01, 0, 0.015, 1))
    ax.figure.colorbar(image, cax=beside, label=aligned.unit or "Activity")


def _draw_mean(ax: Axes, trials: NDArray[Any], time: NDArray[np.float64]) -> None:
    """Draw the mean of the trials that have a value, with its standard error."""
    count = (~np.isnan(trials)).sum(axis=0)
    covered = count > 0
    mean, spread = np.full(len(time), np.nan), np.full(len(time), np.nan)
    mean[covered] = np.nanmean(trials[:, covered], axis=0)
    several = count > 1
    deviation = np.nanstd(trials[:, several], axis=0, ddof=1)
    spread[several] = deviation / np.sqrt(count[several])
    ax.plot(time, mean, color="black", linewidth=1.5)
    ax.fill_between(time, mean - spread, mean + spread, color="black", alpha=0.2, linewidth=0)


def _groups(groups: ArrayLike | None, n_events: int) -> list[tuple[str, str, NDArray[np.intp]]]:
    """Give colour, name and events of each kind, in order of first appearance."""
    if groups is None:
        return [("black", "all", np.arange(n_events))]
    kinds = np.asarray(groups).ravel()
    if len(kinds) != n_events:
        raise InvalidArgument(f"{n_events} events, but {len(kinds)} groups")
    names, first = np.unique(kinds, return_index=True)
    ordered = names[np.argsort(first)]
    return [
        (_COLORS[i % len(_COLORS)], str(name), np.flatnonzero(kinds == name))
        for i, name in enumerate(ordered)
    ]


def _standard_error(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the standard error of the mean over rows; 0 for a single one."""
    if len(rows) < 2:
        return np.zeros(rows.shape[1])
    error: NDArray[np.float64] = rows.std(axis=0, ddof=1) / np.sqrt(len(rows))
    return error


def _finish(ax: Axes, title: str | None, line: str = "0.35") -> Axes:
    """Add the line at the event and the title, take the box away."""
    ax.axvline(0, color=line, linestyle="--", linewidth=1)
    ax.spines[["top", "right"]].set_visible(False)
    if title:
        ax.set_title(title)
    return ax
