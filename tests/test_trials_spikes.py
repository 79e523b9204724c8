"""Spikes around events: counts, borders, events without a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from one_cache.errors import InvalidArgument
from one_cache.trials import peth, spikes_around


def counted_one_by_one(times, clusters, events, edges, units):
    """Count with one comparison a spike, event and bin: the definition."""
    counts = np.zeros((len(units), len(events), len(edges) - 1), dtype=int)
    for u, unit in enumerate(units):
        own = times[clusters == unit]
        for e, event in enumerate(events):
            for b in range(len(edges) - 1):
                inside = (own >= event + edges[b]) & (own < event + edges[b + 1])
                counts[u, e, b] = inside.sum()
    return counts


def test_counts_are_those_of_the_definition():
    rng = np.random.default_rng(1)
    times, clusters = rng.uniform(0, 100, 3000), rng.choice([3, 8, 900], 3000)
    events = rng.uniform(-1, 101, 30)
    counts, unit_ids, edges = peth(times, clusters, events, (-0.5, 1.0), 0.1)
    assert unit_ids.tolist() == [3, 8, 900]
    np.testing.assert_array_equal(
        counts, counted_one_by_one(times, clusters, events, edges, unit_ids)
    )


@settings(max_examples=60, deadline=None)
@given(
    ticks=st.lists(st.integers(0, 400), max_size=60),
    event_ticks=st.lists(st.integers(0, 400), min_size=1, max_size=6),
    first=st.integers(-30, 0),
    n_bins=st.integers(1, 20),
)
def test_spikes_on_the_edges_fall_in_the_later_bin(ticks, event_ticks, first, n_bins):
    # times written in hundredths of a second lie on edges again and again
    times, events = np.array(ticks) / 100, np.array(event_ticks) / 100
    counts, _, edges = peth(times, None, events, (first / 100, (first + n_bins) / 100), 0.01)
    expected = counted_one_by_one(np.sort(times), np.zeros(len(times)), events, edges, [0])
    if len(times):
        np.testing.assert_array_equal(counts, expected)


def test_order_of_spikes_and_events_does_not_matter():
    rng = np.random.default_rng(2)
    times, clusters, events = (
        rng.uniform(0, 50, 500),
        rng.integers(0, 5, 500),
        np.arange(5, 45, 3.0),
    )
    whole = peth(times, clusters, events, (-1, 1), 0.25)
    order = rng.permutation(500)
    shuffled = peth(times[order], clusters[order], events[::-1], (-1, 1), 0.25)
    np.testing.assert_array_equal(whole.counts, shuffled.counts[:, ::-1])


def test_an_event_without_a_time_keeps_its_row_as_nan():
    counts = peth([1.0, 2.0], [0, 0], [1.0, np.nan, 2.0], (-0.5, 0.5), 0.5).counts
    assert counts.shape == (1, 3, 2)
    assert np.isnan(counts[0, 1]).all()
    assert counts[0, [0, 2]].tolist() == [[0, 1], [0, 1]]


def test_chosen_units_come_in_the_order_asked_for_even_when_silent():
    peths = peth([1.0, 1.1, 1.2], [5, 6, 6], [1.0], (0, 1), 1.0, units=[6, 99, 5])
    assert peths.counts[:, 0, 0].tolist() == [2, 0, 1]
    assert peths.unit_ids.tolist() == [6, 99, 5]


def test_units_may_have_names():
    peths = peth([1.0, 1.1, 1.2], ["b", "a", "b"], [1.0], (0, 1), 1.0)
    assert peths.unit_ids.tolist() == ["a", "b"]
    assert peths.counts[:, 0, 0].tolist() == [1, 2]


def test_units_with_large_or_negative_ids_are_counted():
    for ids in ([10**12, 3], [-4, 7]):
        peths = peth([1.0, 1.1], ids, [1.0], (0, 1), 1.0)
        assert peths.unit_ids.tolist() == sorted(ids)
        assert peths.counts.sum() == 2


def test_overlapping_windows_count_a_spike_once_in_each():
    assert peth([1.0], None, [0.9, 1.0, 1.1], (-0.5, 0.5), 1.0).counts[0, :, 0].tolist() == [1] * 3


def test_nothing_in_gives_empty_counts():
    assert peth([], [], [1.0], (-1, 1), 0.5).counts.shape == (0, 1, 4)
    assert peth([], None, [1.0], (-1, 1), 0.5).counts.shape == (0, 1, 4)
    assert peth([1.0], [0], [], (-1, 1), 0.5).counts.shape == (1, 0, 4)


def test_edges_are_written_as_a_person_would():
    assert peth([0.0], None, [0.0], (-0.3, 0.3), 0.1).bin_edges.tolist() == [
        -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3
    ]  # fmt: skip


def test_only_whole_bins_are_counted():
    edges = peth([0.0], None, [0.0], (-0.25, 0.5), 0.2).bin_edges
    np.testing.assert_allclose(edges, [-0.25, -0.05, 0.15, 0.35])


def test_rate_is_the_mean_over_known_events():
    peths = peth([1.0, 1.1], None, [1.0, np.nan, 5.0], (0, 0.5), 0.5)
    assert peths.rate.tolist() == [[2.0]]
    assert peths.time.tolist() == [0.25]


@pytest.mark.parametrize(("window", "bin_size"), [((1, -1), 0.1), ((0, 0.1), 0.2), ((0, 1), 0)])
def test_a_window_without_a_bin_is_refused(window, bin_size):
    with pytest.raises(InvalidArgument, match="holds no bin"):
        peth([1.0], [0], [1.0], window, bin_size)


def test_times_and_clusters_of_different_length_are_refused():
    with pytest.raises(InvalidArgument, match="3 spike times, but 2 spike clusters"):
        peth([1, 2, 3], [1, 2], [1], (0, 1), 0.1)


def test_relative_times_hold_both_ends_of_the_window():
    time, event = spikes_around([0.5, 1.0, 1.5, 1.75], [1.0, np.nan], (-0.5, 0.5))
    assert time.tolist() == [-0.5, 0.0, 0.5]
    assert event.tolist() == [0, 0, 0]
