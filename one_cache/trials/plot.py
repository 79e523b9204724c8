"""Pictures of what happens around events; each function returns the axes it drew on.

Needs the extra ``plot`` (matplotlib).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from one_cache.errors import InvalidArgument
from one_cache.trials.spikes import peth, spikes_around

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

# told apart by readers who do not see red and green, and in grey
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")


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
    ax.set(xlim=window, ylim=(max(n_events, 1), 0), ylabel="Event", xlabel="Time from event (s)")
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
    ax.set(xlim=window, xlabel="Time from event (s)", ylabel="Rate (spikes/s)")
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
    upper, lower = _two_axes() if axs is None else axs
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


def _two_axes() -> tuple[Axes, Axes]:
    """Make two axes, one above the other, on one time axis."""
    from matplotlib import pyplot

    _, (upper, lower) = pyplot.subplots(
        2, 1, figsize=(6, 6), sharex=True, layout="constrained", height_ratios=[3, 2]
    )
    return upper, lower


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


def _finish(ax: Axes, title: str | None) -> Axes:
    """Add the line at the event and the title, take the box away."""
    ax.axvline(0, color="0.35", linestyle="--", linewidth=1)
    ax.spines[["top", "right"]].set_visible(False)
    if title:
        ax.set_title(title)
    return ax
