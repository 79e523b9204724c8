"""Aligned activity, spike counts and splits against pynapple, value by value."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from one_cache.trials import align, event_windows, peth, split_trials

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    nap = pytest.importorskip("pynapple", reason="pynapple is not installed")

# warnings of pynapple are not ours to fix
pytestmark = pytest.mark.filterwarnings("ignore")
RATE = 20.0


def recording(n_roi=4, seconds=120):
    rng = np.random.default_rng(7)
    traces = rng.normal(size=(n_roi, int(seconds * RATE)))
    return traces, nap.TsdFrame(t=np.arange(traces.shape[1]) / RATE, d=traces.T), rng


@pytest.mark.parametrize("decimals", [3, 12])
def test_aligned_activity_is_that_of_pynapple(decimals):
    # with three decimals, events lie half way between samples again and again
    traces, theirs, rng = recording()
    events = np.sort(np.round(rng.uniform(0, 119, 200), decimals))
    found = align(traces, event_windows(events, (-5, 5)), rate=RATE)
    expected = nap.compute_perievent(theirs, nap.Ts(events), (-5, 5))
    np.testing.assert_allclose(found.time, expected.t, atol=1e-9)
    np.testing.assert_array_equal(found.data, expected.values.transpose(2, 1, 0))
    assert np.isnan(found.data).any()


def test_uneven_windows_are_those_of_pynapple():
    traces, theirs, rng = recording()
    events = np.sort(rng.uniform(10, 110, 50))
    found = align(traces, event_windows(events, (-0.5, 2)), times=theirs.t)
    expected = nap.compute_perievent(theirs, nap.Ts(events), (-0.5, 2))
    np.testing.assert_array_equal(found.data, expected.values.transpose(2, 1, 0))


def test_counts_are_those_of_pynapple():
    rng = np.random.default_rng(8)
    times, clusters = np.sort(rng.uniform(0, 200, 4000)), rng.integers(0, 5, 4000)
    events = np.sort(rng.uniform(5, 195, 30))
    counts, unit_ids, edges = peth(times, clusters, events, (-1, 1), 0.1)
    group = nap.TsGroup({unit: nap.Ts(times[clusters == unit]) for unit in unit_ids})
    for row, around in enumerate(
        nap.compute_perievent(group, nap.Ts(events), (-1, 1))[unit] for unit in unit_ids
    ):
        expected = [np.histogram(around[event].t, edges)[0] for event in range(len(events))]
        np.testing.assert_array_equal(counts[row], expected)


def test_splits_are_those_of_restrict():
    rng = np.random.default_rng(9)
    times = np.sort(rng.uniform(0, 100, 2000))
    series = nap.Tsd(t=times, d=rng.normal(size=2000))
    borders = np.sort(rng.uniform(0, 100, 20))
    trials = split_trials((series.d, series.t), (np.tile([1, -1], 10), borders))
    for (values, moments), start, end in zip(trials, borders[::2], borders[1::2], strict=True):
        expected = series.restrict(nap.IntervalSet(start, end))
        np.testing.assert_array_equal(values, expected.d)
        np.testing.assert_array_equal(moments, expected.t)


def test_results_become_objects_of_pynapple():
    traces, _, _ = recording()
    windows = event_windows([5.0, 9.0, np.nan], (-1, 1), trial_id=[3, 7, 8])
    found = align(traces, windows, rate=RATE, roi=[2, 4, 6, 8])
    everything, one = found.to_pynapple(), found.to_pynapple(roi=4)
    assert isinstance(everything, nap.TsdTensor)
    np.testing.assert_array_equal(everything.d, found.data.transpose(2, 1, 0))
    assert isinstance(one, nap.TsdFrame)
    assert list(one.columns) == [3, 7, 8]
    np.testing.assert_array_equal(one.d, found.of(4).T)


# what is meant to differ --------------------------------------------------------------------


def test_an_event_outside_of_the_recording_keeps_its_row_here():
    traces, theirs, _ = recording()
    events = np.array([-30.0, 50.0, 500.0])
    found = align(traces, event_windows(events, (-1, 1)), rate=RATE)
    expected = nap.compute_perievent(theirs, nap.Ts(events), (-1, 1))
    assert (found.data.shape[1], expected.shape[1]) == (3, 1)
    np.testing.assert_array_equal(found.data[:, 1], expected.values[:, 0].T)


def test_overlapping_trials_stay_apart_here():
    series = nap.Tsd(t=np.arange(10.0), d=np.arange(10.0))
    joined = series.restrict(nap.IntervalSet([0, 3], [5, 8]))
    assert len(joined) == 9
    events = event_windows([0, 3], (0, 5))
    found = align(series.d, events, rate=1).data[0]
    assert found.tolist() == [[0, 1, 2, 3, 4, 5], [3, 4, 5, 6, 7, 8]]


def test_uneven_samples_are_aligned_here():
    rng = np.random.default_rng(10)
    times = np.arange(100) / RATE + rng.uniform(0, 1e-3, 100)
    series = nap.Tsd(t=times, d=rng.normal(size=100))
    with pytest.raises(RuntimeError, match="regularly sampled"):
        nap.compute_perievent(series, nap.Ts([2.0]), (-1, 1))
    found = align(series.d, event_windows([2.0], (-1, 1)), times=times, bin_size=1 / RATE)
    assert found.data.shape == (1, 1, 41)
