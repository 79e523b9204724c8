"""Spikes around events: their times relative to each event, and counts in bins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from one_cache.errors import InvalidArgument
from one_cache.trials.aligned import Aligned

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class Peth(NamedTuple):
    """Spike counts around events; unpacks as ``counts, unit_ids, bin_edges``.

    Attributes
    ----------
    counts : (n_units, n_events, n_bins) int32
        Spikes in each bin. Float, with NaN for the rows of NaN events, when there are any.
    unit_ids : (n_units,)
        Which unit each row is.
    bin_edges : (n_bins + 1,) float, s
        Relative to the event; a bin holds its first edge and not its last one.
    """

    counts: NDArray[Any]
    unit_ids: NDArray[Any]
    bin_edges: NDArray[np.float64]

    @property
    def time(self) -> NDArray[np.float64]:
        """Centres of the bins, (n_bins,) s."""
        return (self.bin_edges[:-1] + self.bin_edges[1:]) / 2

    @property
    def rate(self) -> NDArray[np.float64]:
        """Mean over events, (n_units, n_bins) spikes/s."""
        rates: NDArray[np.float64] = self.trial_rates.mean(axis=1)
        return rates

    @property
    def trial_rates(self) -> NDArray[np.float64]:
        """Rates of the events that are not NaN, (n_units, n_known_events, n_bins) spikes/s."""
        known = ~np.isnan(self.counts).any(axis=(0, 2))
        return self.counts[:, known] / np.diff(self.bin_edges)

    def to_aligned(self, trial_id: ArrayLike | None = None) -> Aligned:
        """Give the counts in the form of aligned activity, with its frames, arrays and plots.

        Parameters
        ----------
        trial_id : (n_events,), optional
            Names of the events; 0, 1, 2, ... by default.

        Returns
        -------
        Aligned
            ``roi`` names the units, ``time`` is the centre of each bin.

        Examples
        --------
        >>> peth([0.5, 1.25], [4, 7], [1.0], (-1, 1), 1.0).to_aligned().to_pandas()
        time          -0.5   0.5
        roi trial_id
        4   0            1     0
        7   0            0     1
        """
        names = np.arange(self.counts.shape[1]) if trial_id is None else np.asarray(trial_id)
        return Aligned(self.counts, self.time, names, self.unit_ids, "spikes")


def peth(
    spike_times: ArrayLike,
    spike_clusters: ArrayLike | None,
    events: ArrayLike,
    window: tuple[float, float],
    bin_size: float,
    *,
    units: ArrayLike | None = None,
) -> Peth:
    """Count the spikes of each unit in bins around each event.

    Parameters
    ----------
    spike_times : (n_spikes,) float, s
        Sorted or not.
    spike_clusters : (n_spikes,) int or None
        The unit of each spike; None when all are of one unit, which gets the id 0.
    events : (n_events,) float, s
        In any order; windows may overlap. A NaN (a trial without the event) keeps its row,
        which is NaN.
    window : (float, float), s
        First and last edge, relative to the event. Only whole bins are counted.
    bin_size : float, s
        Width of a bin.
    units : (n_units,), optional
        Which units, in which order; all that occur, sorted, by default.

    Returns
    -------
    Peth
        ``counts`` (n_units, n_events, n_bins), ``unit_ids`` and ``bin_edges``.

    Raises
    ------
    InvalidArgument
        The window holds no bin, times and clusters differ in length, or a unit is asked for twice.

    Examples
    --------
    >>> counts, unit_ids, bin_edges = peth(
    ...     [0.5, 1.2, 2.1, 3.5], [4, 7, 7, 4], [1.0, 3.0], (-1, 1), 0.5)
    >>> counts
    array([[[0, 1, 0, 0], [0, 0, 0, 1]],
           [[0, 0, 1, 0], [1, 0, 0, 0]]], dtype=int32)
    >>> unit_ids, bin_edges
    (array([4, 7]), array([-1. , -0.5,  0. ,  0.5,  1. ]))
    """
    edges = _edges(window, bin_size)
    event_times = np.asarray(events, dtype=np.float64).ravel()
    times, clusters = _sorted_spikes(spike_times, spike_clusters)
    unit_ids = _unit_ids(clusters) if units is None else _without_doubles(units)
    find_rows = _row_finder(clusters, unit_ids)

    n_units, n_bins = len(unit_ids), len(edges) - 1
    counts = np.zeros((n_units, len(event_times), n_bins), dtype=np.int32)
    for place in np.flatnonzero(np.isfinite(event_times)):
        cuts = np.searchsorted(times, event_times[place] + edges)
        bin_ = np.repeat(np.arange(n_bins), np.diff(cuts))
        row = find_rows(clusters[cuts[0] : cuts[-1]])
        flat = (row * n_bins + bin_)[row >= 0]
        counted = np.bincount(flat, minlength=n_units * n_bins)
        counts[:, place] = counted.reshape(n_units, n_bins)
    unknown = np.isnan(event_times)
    if unknown.any():
        return Peth(np.where(unknown[None, :, None], np.nan, counts), unit_ids, edges)
    return Peth(counts, unit_ids, edges)


def spikes_around(
    spike_times: ArrayLike, events: ArrayLike, window: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Give the time of each spike relative to each event whose window holds it.

    Parameters
    ----------
    spike_times : (n_spikes,) float, s
        Spikes of one unit.
    events : (n_events,) float, s
        NaN events have no spikes.
    window : (float, float), s
        Relative to the event; both ends included.

    Returns
    -------
    time : (n,) float, s
        Relative to the event.
    event : (n,) int
        Index of the event.

    Examples
    --------
    >>> spikes_around([0.5, 1.25, 3.5], [1.0, 3.0], (-1, 1))
    (array([-0.5 ,  0.25,  0.5 ]), array([0, 0, 1]))
    """
    times, _ = _sorted_spikes(spike_times, None)
    event_times = np.asarray(events, dtype=np.float64).ravel()
    known = np.flatnonzero(np.isfinite(event_times))
    first = np.searchsorted(times, event_times[known] + window[0], "left")
    last = np.searchsorted(times, event_times[known] + window[1], "right")
    around = [
        times[i:j] - event for i, j, event in zip(first, last, event_times[known], strict=True)
    ]
    return np.concatenate([np.empty(0), *around]), np.repeat(known, last - first)


def _edges(window: tuple[float, float], bin_size: float) -> NDArray[np.float64]:
    """Give the edges of the whole bins in `window`."""
    first, last = window
    n_bins = int((last - first) / bin_size + 1e-6) if bin_size > 0 else 0
    if n_bins < 1:
        raise InvalidArgument(f"the window {window} s holds no bin of {bin_size} s")
    # picoseconds: three bins of 0.1 s after -0.3 s end at 0, not at 5.6e-17
    return np.round(first + bin_size * np.arange(n_bins + 1), 12)


def _sorted_spikes(
    spike_times: ArrayLike, spike_clusters: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Give the spikes in the order of time, with their units."""
    times = np.asarray(spike_times, dtype=np.float64).ravel()
    if spike_clusters is None:
        clusters: NDArray[Any] = np.zeros(len(times), dtype=np.intp)
    else:
        clusters = np.asarray(spike_clusters).ravel()
    if len(times) != len(clusters):
        raise InvalidArgument(f"{len(times)} spike times, but {len(clusters)} spike clusters")
    if len(times) and not (times[1:] >= times[:-1]).all():
        order = np.argsort(times, kind="stable")
        times, clusters = times[order], clusters[order]
    return times, clusters


def _unit_ids(clusters: NDArray[Any]) -> NDArray[Any]:
    """Give the units that occur, sorted."""
    if _is_small(clusters):
        # a table of seen ids is ten times faster than sorting millions of spikes
        return np.flatnonzero(np.bincount(clusters)).astype(clusters.dtype)
    return np.unique(clusters)


def _without_doubles(units: ArrayLike) -> NDArray[Any]:
    """Give the units that are asked for, each of which gets one row."""
    unit_ids = np.asarray(units).ravel()
    names, times = np.unique(unit_ids, return_counts=True)
    if (times > 1).any():
        raise InvalidArgument(f"unit {names[times > 1][0]} is asked for twice")
    return unit_ids


def _row_finder(
    clusters: NDArray[Any], unit_ids: NDArray[Any]
) -> Callable[[NDArray[Any]], NDArray[np.intp]]:
    """Make what gives the row of each spike's unit, -1 for a unit that was not asked for."""
    if _is_small(clusters) and unit_ids.dtype.kind in "iu":
        table = np.full(int(clusters.max()) + 1, -1, dtype=np.intp)
        there = np.flatnonzero((unit_ids >= 0) & (unit_ids < len(table)))
        table[unit_ids[there]] = there
        return table.__getitem__

    order = np.argsort(unit_ids, kind="stable")

    def search(some: NDArray[Any]) -> NDArray[np.intp]:
        if not len(unit_ids):
            return np.full(len(some), -1, dtype=np.intp)
        place = np.searchsorted(unit_ids, some, sorter=order)
        row = order[np.minimum(place, len(unit_ids) - 1)]
        return np.where(unit_ids[row] == some, row, -1)

    return search


def _is_small(clusters: NDArray[Any]) -> bool:
    """Say whether the ids are whole numbers that can index a table."""
    if clusters.dtype.kind not in "iu" or not len(clusters):
        return False
    return bool(clusters.min() >= 0 and clusters.max() < 10 * len(clusters) + 1000)
