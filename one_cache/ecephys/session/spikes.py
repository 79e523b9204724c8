"""Spikes put to presentations: counted in bins, listed, summed up by condition."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from one_cache.ecephys.session.presentations import CONDITION
from one_cache.errors import CacheWarning, InvalidArgument

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

PRESENTATION = "stimulus_presentation_id"
ONSET = "time_since_stimulus_presentation_onset"


def time_domain(
    edges: npt.NDArray[Any],
    onsets: npt.NDArray[Any],
    callback: Callable[[Any], Any] | None = None,
) -> npt.NDArray[Any]:
    """Give the edges of the bins around each onset.

    Parameters
    ----------
    edges : numpy.ndarray
        (bins + 1,) float, s, relative to the onset.
    onsets : numpy.ndarray
        (presentations,) float, s.
    callback : callable, optional
        Takes the result and gives another of that shape.

    Returns
    -------
    numpy.ndarray
        (presentations, bins + 1) float, s.

    Raises
    ------
    InvalidArgument
        The edges of a presentation are not in order.

    Warns
    -----
    CacheWarning
        The windows of neighbouring presentations overlap.
    """
    import numpy as np

    domain: npt.NDArray[Any] = onsets[:, None] + edges[None, :]
    if callback is not None:
        domain = np.asarray(callback(domain))
    rows, columns = np.nonzero(np.diff(domain, axis=1) < 0)
    if len(rows):
        where = list(zip(rows.tolist(), columns.tolist(), strict=True))[:5]
        raise InvalidArgument(
            "The time domain specified contains out-of-order bin edges; the first ones stand at "
            f"(presentation, edge) {where}"
        )
    gaps = domain[1:, 0] - domain[:-1, -1]
    overlapping = np.flatnonzero(gaps < 0)
    if len(overlapping):
        warnings.warn(
            f"{len(overlapping)} time windows overlap the next one, by up to "
            f"{-gaps.min():.6g} s; the first is that of presentation {overlapping[0]}: spikes "
            "there are counted twice",
            CacheWarning,
            stacklevel=4,
        )
    return domain


def histogram(
    domain: npt.NDArray[Any],
    spike_times: Mapping[int, npt.NDArray[Any]],
    units: Sequence[int],
    *,
    binarize: bool = False,
    dtype: Any = None,
) -> npt.NDArray[Any]:
    """Count spikes.

    Parameters
    ----------
    domain : numpy.ndarray
        (presentations, bins + 1) float, s.
    spike_times : mapping of int to numpy.ndarray
        (n_spikes,) float, s, sorted, for each unit.
    units : sequence of int
        Those to count for.
    binarize : bool
        1 for any number of spikes.
    dtype : data type, optional
        uint16, or uint8 with `binarize`, when not given.

    Returns
    -------
    numpy.ndarray
        (presentations, bins, units); a spike at an edge counts in both bins, as in AllenSDK.
    """
    import numpy as np

    kind = (np.uint8 if binarize else np.uint16) if dtype is None else dtype
    counts = np.zeros((domain.shape[0], domain.shape[1] - 1, len(units)), dtype=kind)
    for place, unit in enumerate(units):
        times = np.asarray(spike_times[unit])
        first = np.searchsorted(times, domain[:, :-1], side="left")
        last = np.searchsorted(times, domain[:, 1:], side="right")
        found = last - first
        counts[:, :, place] = found > 0 if binarize else found
    return counts


def edges_of(bin_edges: Any) -> npt.NDArray[Any]:
    """Read the edges of bins.

    Parameters
    ----------
    bin_edges : array-like
        (bins + 1,) s.

    Returns
    -------
    numpy.ndarray
        The same.

    Raises
    ------
    InvalidArgument
        They are no list of numbers.

    Examples
    --------
    >>> edges_of([0, 0.1]).tolist()
    [0.0, 0.1]
    """
    import numpy as np

    edges = np.asarray(bin_edges)
    if edges.ndim != 1 or not edges.size or edges.dtype.kind not in "iuf":
        raise InvalidArgument(f"bin_edges are a list of numbers (s), got {bin_edges!r}")
    if np.isnan(edges).any():
        raise InvalidArgument("bin_edges hold NaN")
    return edges


def warn_of_wide_bins(edges: npt.NDArray[Any], threshold: float) -> None:
    """Say that counting a spike or none loses much in wide bins.

    Parameters
    ----------
    edges : numpy.ndarray
        (bins + 1,) float, s.
    threshold : float
        s; wider bins are worth a warning.
    """
    import numpy as np

    widest = float(np.amax(np.diff(edges)))
    if widest > threshold:
        warnings.warn(
            f"binarize with bins of up to {widest:.5f} s: more than one spike in a bin counts as "
            f"one. Bins of at most {threshold} s lose little",
            CacheWarning,
            stacklevel=3,
        )


def spikes_in(
    presentations: pd.DataFrame,
    spike_times: Mapping[int, npt.NDArray[Any]],
    units: Sequence[int],
) -> pd.DataFrame:
    """List the spikes that fell into presentations.

    Parameters
    ----------
    presentations : pandas.DataFrame
        Columns ``start_time``, ``stop_time``, s; a spike belongs to one if it comes after its
        start and not after its stop.
    spike_times : mapping of int to numpy.ndarray
        (n_spikes,) float, s, sorted, for each unit.
    units : sequence of int
        Whose spikes.

    Returns
    -------
    pandas.DataFrame
        Index ``spike_time``, sorted; presentation, unit, time since the onset (s).
    """
    import numpy as np
    import pandas as pd

    ids = presentations.index.to_numpy("int64")
    starts, stops = (presentations[name].to_numpy() for name in ("start_time", "stop_time"))
    found: list[tuple[Any, Any, Any]] = []
    for unit in units:
        times = np.asarray(spike_times[unit])
        first = np.searchsorted(times, starts, side="right")
        number = np.maximum(np.searchsorted(times, stops, side="right") - first, 0)
        which = np.repeat(np.arange(len(ids)), number)
        within = np.arange(len(which)) - np.repeat(np.cumsum(number) - number, number)
        found.append((which, np.full(len(which), unit), times[first[which] + within]))
    which, unit_ids, times = (
        np.concatenate([one[part] for one in found]) if found else np.empty(0, kind)
        for part, kind in enumerate(("int64", "int64", "float64"))
    )
    order = np.argsort(times, kind="stable")
    which, times = which[order], times[order]
    return pd.DataFrame(
        {
            PRESENTATION: ids[which],
            "unit_id": unit_ids[order].astype("int64"),
            ONSET: times - starts[which],
        },
        index=pd.Index(times, name="spike_time", dtype="float64"),
    )


def statistics(
    presentations: pd.DataFrame, spikes: pd.DataFrame, units: Sequence[int], *, use_rates: bool
) -> pd.DataFrame:
    """Sum up the spikes of each unit over the presentations of each condition.

    Parameters
    ----------
    presentations : pandas.DataFrame
        Columns ``stimulus_condition_id`` and ``duration`` (s); one without a condition does not
        count.
    spikes : pandas.DataFrame
        From :func:`spikes_in`.
    units : sequence of int
        Those to sum up for.
    use_rates : bool
        Spikes a second rather than spikes.

    Returns
    -------
    pandas.DataFrame
        Index ``unit_id``, ``stimulus_condition_id``; number of presentations, mean, standard
        deviation and standard error; NaN where one presentation tells no deviation.
    """
    import numpy as np
    import pandas as pd

    index = pd.MultiIndex.from_product(
        [presentations.index, units], names=[PRESENTATION, "unit_id"]
    )
    counted = spikes.groupby([PRESENTATION, "unit_id"]).size()
    each = counted.reindex(index, fill_value=0).rename("spike_count").reset_index()
    each[CONDITION] = np.repeat(presentations[CONDITION].to_numpy(), len(units))
    value = "spike_count"
    if use_rates:
        value = "spike_rate"
        each[value] = each["spike_count"] / np.repeat(
            presentations["duration"].to_numpy("float64"), len(units)
        )
    groups = each.groupby([CONDITION, "unit_id"])[value]
    number = groups.size()
    table = pd.DataFrame(
        {
            "spike_count": groups.sum(),
            "stimulus_presentation_count": number,
            "spike_mean": groups.mean(),
            "spike_std": groups.std(ddof=1),
            "spike_sem": groups.std(ddof=1) / np.sqrt(number),
        }
    )
    if use_rates:
        table = table.drop(columns="spike_count")
    return table.reorder_levels(["unit_id", CONDITION])
