"""Windows and aligned activity: against the reference numbers, and against their definition."""

from __future__ import annotations

import hashlib
import os
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from one_cache.errors import InvalidArgument, TableColumnMissing
from one_cache.trials import Aligned, align, event_windows, trial_windows

DATA = Path(__file__).parent / "data" / "trials"
SHARED = Path(os.environ.get("ONE_CACHE_SHARED", Path(__file__).parents[2] / "shared"))
CONDITIONS = [
    "center_button", "center_short", "left_button", "right_button", "right_from_left_to_center",
]  # fmt: skip
# of time axis and arrays of the first three masks, as DataJoint 2.3.5 computed them
DIGESTS = {
    "center_button": "854e1f70a6c1a0ada26541fce888faa2",
    "center_short": "5bd6be54166b7c5daaa5f273ea4fad35",
    "left_button": "8af0ce7d077086b7c137316f72813379",
    "right_button": "e1de67bc861b88f27e20d2ce8acc0f3d",
    "right_from_left_to_center": "5a988eded9fefa1b346d969c35fecec2",
}


@pytest.fixture(scope="module")
def trials():
    return pd.read_csv(DATA / "trials.csv")


@pytest.fixture(scope="module")
def events():
    return pd.read_csv(DATA / "events.csv")


@pytest.fixture(scope="module")
def alignments():
    return pd.read_csv(DATA / "alignments.csv").set_index("alignment_name")


def ctrl(trials):
    return trials[trials.trial_type == "ctrl"]


def spec(event, start=None, end=None, shifts=(0, 0, 0)):
    return {
        "alignment_event_type": event, "alignment_time_shift": shifts[1],
        "start_event_type": start or event, "start_time_shift": shifts[0],
        "end_event_type": end or event, "end_time_shift": shifts[2],
    }  # fmt: skip


def trial_table(*rows):
    return pd.DataFrame(rows, columns=["trial_id", "trial_start_time", "trial_stop_time"])


def event_table(*rows):
    return pd.DataFrame(rows, columns=["event_type", "event_start_time"])


# windows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONDITIONS)
def test_strict_windows_are_those_of_datajoint(trials, events, alignments, name):
    expected = pd.read_parquet(DATA / "windows_datajoint.parquet")
    expected = expected[expected.alignment_name == name].drop(columns="alignment_name")
    found = trial_windows(ctrl(trials), events, alignments.loc[name], strict=True)
    pd.testing.assert_frame_equal(found, expected.reset_index(drop=True), check_exact=True)


def test_five_seconds_around_the_event_are_measured_from_the_event(trials, events, alignments):
    windows = trial_windows(ctrl(trials), events, alignments.loc["center_button"]).dropna()
    assert len(windows) == 10
    np.testing.assert_array_equal(windows.start, windows.event - 5)
    np.testing.assert_array_equal(windows.end, windows.event + 5)


def test_different_types_are_read_alike_with_and_without_strict(trials, events, alignments):
    row = alignments.loc["right_from_left_to_center"]
    plain, strict = (trial_windows(ctrl(trials), events, row, strict=s) for s in (False, True))
    pd.testing.assert_frame_equal(plain, strict)


def one_trial_by_the_rule(trial, events, row, strict):
    """Follow the rule of one trial in words, one comparison at a time."""
    _, first, last = trial
    of = {kind: sorted(t for k, t in events if k == kind) for kind in "abc"}
    inside = [t for t in of[row["alignment_event_type"]] if first <= t <= last]
    if not inside:
        return [np.nan] * 3
    event = inside[-1]
    start = end = event
    if strict or row["start_event_type"] != row["alignment_event_type"]:
        before = [t for t in of[row["start_event_type"]] if t < event]
        start = max(before[-1], first) if before else first
    if strict or row["end_event_type"] != row["alignment_event_type"]:
        after = [t for t in of[row["end_event_type"]] if t > event]
        end = min(after[0], last) if after else last
    return [
        start + row["start_time_shift"],
        event + row["alignment_time_shift"],
        end + row["end_time_shift"],
    ]


quarters = st.integers(0, 40).map(lambda n: n / 4)


@settings(max_examples=200, deadline=None)
@given(
    bounds=st.lists(st.tuples(quarters, quarters), max_size=5),
    events=st.lists(st.tuples(st.sampled_from("abc"), quarters), max_size=12),
    kinds=st.tuples(*[st.sampled_from("abc")] * 3),
    shifts=st.tuples(*[st.sampled_from([-1.5, 0, 2.0])] * 3),
    strict=st.booleans(),
)
def test_windows_follow_the_rule_for_any_trials_and_events(bounds, events, kinds, shifts, strict):
    trials = [(i, min(pair), max(pair)) for i, pair in enumerate(bounds)]
    row = spec(kinds[0], kinds[1], kinds[2], shifts)
    found = trial_windows(trial_table(*trials), event_table(*events), row, strict=strict)
    expected = [one_trial_by_the_rule(trial, events, row, strict) for trial in trials]
    np.testing.assert_array_equal(
        found[["start", "event", "end"]].to_numpy(), np.array(expected).reshape(-1, 3)
    )


def test_an_event_in_two_overlapping_trials_belongs_to_both(trials, events, alignments):
    windows = trial_windows(trials, events, alignments.loc["center_button"]).set_index("trial_id")
    assert windows.event[46] == windows.event[50]


def test_rows_come_in_the_order_of_trial_id():
    trials = trial_table((3, 5, 6), (1, 0, 1), (2, 2, 3))
    windows = trial_windows(trials, event_table(("go", 0.5), ("go", 5.5)), spec("go"))
    assert windows.trial_id.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(windows.event, [0.5, np.nan, 5.5])


def test_decimals_of_a_database_are_times():
    events = event_table(("go", Decimal("0.1234")))
    windows = trial_windows(trial_table((1, Decimal(0), Decimal(1))), events, spec("go"))
    assert windows.event.tolist() == [0.1234]


def test_what_gives_a_frame_is_taken_as_one():
    class Rows:
        def __init__(self, frame):
            self.frame = frame

        def to_pandas(self):
            return self.frame.set_index("trial_id") if "trial_id" in self.frame else self.frame

    windows = trial_windows(
        Rows(trial_table((7, 0, 1))), Rows(event_table(("go", 0.5))), spec("go")
    )
    assert windows.trial_id.tolist() == [7]
    with pytest.raises(InvalidArgument, match="got list"):
        trial_windows([], event_table(), spec("go"))


def test_no_trials_and_no_events_give_no_windows():
    assert trial_windows(trial_table(), event_table(("go", 1.0)), spec("go")).empty
    windows = trial_windows(trial_table((1, 0, 1)), event_table(), spec("go"))
    assert windows.isna().sum().tolist() == [0, 1, 1, 1]


def test_a_missing_column_is_named():
    with pytest.raises(TableColumnMissing, match="'trial_stop_time'.*'trial_start_time'"):
        trial_windows(trial_table().drop(columns="trial_stop_time"), event_table(), spec("go"))
    row = spec("go")
    del row["end_time_shift"]
    with pytest.raises(TableColumnMissing, match="end_time_shift"):
        trial_windows(trial_table(), event_table(), row)


def test_trials_and_events_of_several_sessions_are_refused():
    with pytest.raises(InvalidArgument, match="trial_id 1 comes twice"):
        trial_windows(trial_table((1, 0, 1), (1, 2, 3)), event_table(), spec("go"))
    trials = trial_table((1, 0, 1)).assign(subject="mouse1")
    events = event_table(("go", 0.5)).assign(subject="mouse2")
    with pytest.raises(InvalidArgument, match="subject is mouse1 and mouse2"):
        trial_windows(trials, events, spec("go"))


def test_the_same_window_around_given_events():
    windows = event_windows([3, np.nan], (-1, 2), trial_id=["a", "b"])
    assert windows.trial_id.tolist() == ["a", "b"]
    np.testing.assert_array_equal(windows.start, [2, np.nan])
    np.testing.assert_array_equal(windows.end, [5, np.nan])
    with pytest.raises(InvalidArgument, match="begins before it ends"):
        event_windows([3.0], (1, -1))
    with pytest.raises(InvalidArgument, match="1 events, but 2 trial ids"):
        event_windows([3.0], (0, 1), trial_id=[1, 2])


# strict alignment ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONDITIONS)
def test_strict_arrays_are_those_of_datajoint_bit_for_bit(trials, events, alignments, name):
    activity = np.load(DATA / "activity.npz")
    windows = trial_windows(ctrl(trials), events, alignments.loc[name], strict=True)
    aligned = align(activity["caiman_dff"], windows, rate=float(activity["fps"]), strict=True)
    digest = hashlib.sha256(aligned.time.tobytes() + aligned.data.tobytes()).hexdigest()
    assert digest[:32] == DIGESTS[name]


@pytest.mark.parametrize("name", CONDITIONS)
def test_strict_arrays_of_all_masks_are_those_of_datajoint(trials, events, alignments, name):
    folder = SHARED / "fixtures" / "trials"
    if not folder.is_dir():
        pytest.skip(f"the full reference arrays are not at {folder} (ONE_CACHE_SHARED)")
    activity = np.load(folder / "activity.npz")
    expected = np.load(folder / "expected" / f"aligned__ctrl_{name}.npz")
    windows = trial_windows(ctrl(trials), events, alignments.loc[name], strict=True)
    aligned = align(activity["caiman_dff"], windows, rate=float(activity["fps"]), strict=True)
    assert aligned.time.tobytes() == expected["aligned_timestamps"].tobytes()
    assert aligned.data.tobytes() == expected["aligned_trace"].tobytes()
    assert aligned.trial_id.tolist() == expected["trial_id"].tolist()


def test_strict_leaves_a_window_that_begins_before_the_recording_empty():
    traces, windows = np.arange(20.0), event_windows([2.0, 10.0], (-4, 4))
    aligned = align(traces, windows, rate=1, strict=True)
    assert np.isnan(aligned.data[0, 0]).all()
    np.testing.assert_array_equal(aligned.data[0, 1], np.arange(6.0, 14))


def test_strict_refuses_what_the_original_has_not():
    windows = event_windows([2.0], (-1, 1))
    for options in (
        {"times": np.arange(9.0)},
        {"rate": 1, "bin_size": 0.5},
        {"rate": 1, "method": "linear"},
    ):
        with pytest.raises(InvalidArgument, match="strict=True needs"):
            align(np.arange(9.0), windows, strict=True, **options)
    with pytest.raises(InvalidArgument, match="no trial has the event"):
        align(np.arange(9.0), event_windows([np.nan], (-1, 1)), rate=1, strict=True)


# alignment -------------------------------------------------------------------------------------


def nearest_one_by_one(traces, times, reach, event, time):
    """Look at each value alone: the nearest sample, the later of two, NaN out of reach."""
    out = np.full((len(traces), len(event), len(time)), np.nan)
    for e in range(len(event)):
        for k in range(len(time)):
            distance = np.abs(times - (event[e] + time[k]))
            best = len(times) - 1 - np.argmin(distance[::-1])
            if distance[best] <= reach:
                out[:, e, k] = traces[:, best]
    return out


def test_nearest_samples_are_those_of_the_definition():
    rng = np.random.default_rng(3)
    traces, event = rng.normal(size=(3, 200)), rng.uniform(-1, 21, 25)
    aligned = align(traces, event_windows(event, (-1.5, 2)), rate=10)
    expected = nearest_one_by_one(traces, np.arange(200) / 10, 0.05, event, aligned.time)
    np.testing.assert_array_equal(aligned.data, expected)
    np.testing.assert_allclose(aligned.time, np.arange(-15, 21) / 10)


def test_nearest_samples_of_uneven_times_are_those_of_the_definition():
    rng = np.random.default_rng(4)
    traces, times = rng.normal(size=(3, 300)), np.sort(rng.uniform(0, 30, 300))
    event = rng.uniform(-1, 31, 25)
    aligned = align(traces, event_windows(event, (-1.5, 2)), times=times, bin_size=0.07)
    reach = np.median(np.diff(times)) / 2
    target = event[:, None] + aligned.time
    inside = (target >= times[0] - reach) & (target <= times[-1] + reach)
    expected = nearest_one_by_one(traces, times, np.inf, event, aligned.time)
    np.testing.assert_array_equal(aligned.data, np.where(inside, expected, np.nan))


def test_linear_values_are_those_of_interp():
    rng = np.random.default_rng(5)
    traces, times = rng.normal(size=(2, 300)), np.sort(rng.uniform(0, 30, 300))
    event = rng.uniform(-1, 31, 25)
    for clock in ({"times": times}, {"rate": 10.0}):
        own = clock.get("times", np.arange(300) / 10)
        aligned = align(
            traces, event_windows(event, (-1, 1)), method="linear", bin_size=0.03, **clock
        )
        target = event[:, None] + aligned.time
        expected = [np.interp(target, own, trace, left=np.nan, right=np.nan) for trace in traces]
        np.testing.assert_allclose(aligned.data, expected, atol=1e-9)


def test_rate_and_equal_times_give_equal_values():
    rng = np.random.default_rng(6)
    traces, event = rng.normal(size=(2, 500)), np.round(rng.uniform(0, 16, 40), 3)
    windows = event_windows(event, (-2, 2))
    for method in ("nearest", "linear"):
        by_rate = align(traces, windows, rate=30, method=method)
        by_times = align(traces, windows, times=np.arange(500) / 30, method=method)
        np.testing.assert_array_equal(by_rate.data, by_times.data)


@settings(max_examples=100, deadline=None)
@given(
    events=st.lists(st.integers(-50, 450).map(lambda n: n / 40), min_size=1, max_size=4),
    method=st.sampled_from(["nearest", "linear"]),
)
def test_no_sample_comes_from_elsewhere_and_none_is_skipped(events, method):
    # each sample is its own number: the value says where it came from. Events lie half way
    # between samples again and again
    traces = np.arange(200.0)
    aligned = align(traces, event_windows(events, (-1, 1)), rate=20, method=method)
    for event, values in zip(events, aligned.data[0], strict=True):
        inside = ~np.isnan(values)
        target = (event + aligned.time[inside]) * 20
        assert (np.abs(values[inside] - target) <= 0.5 + 1e-9).all()
        assert (np.diff(values[inside]) == 1).all() or method == "linear"
        place = (event + aligned.time) * 20
        assert inside[(place >= 0) & (place <= 199)].all()
        assert not inside[(place < -0.5 - 1e-9) | (place > 199.5 + 1e-9)].any()


def test_a_window_that_begins_before_the_recording_is_nan_on_the_left_only():
    aligned = align(np.arange(100.0), event_windows([0.2, 9.8], (-0.5, 0.5)), rate=10)
    assert np.isnan(aligned.data[0, 0]).tolist() == [True] * 3 + [False] * 8
    assert np.isnan(aligned.data[0, 1]).tolist() == [False] * 7 + [True] * 4


def test_a_window_wholly_outside_of_the_recording_is_nan():
    aligned = align(np.arange(100.0), event_windows([-30.0, 50.0, 5.0], (-1, 1)), rate=10)
    assert np.isnan(aligned.data[0, :2]).all()
    assert not np.isnan(aligned.data[0, 2]).any()


def test_each_trial_has_its_row_with_or_without_an_event(trials, events, alignments):
    windows = trial_windows(ctrl(trials), events, alignments.loc["center_button"])
    aligned = align(np.ones((4, 1080)), windows, rate=20, roi=[5, 6, 7, 8])
    assert aligned.data.shape == (4, 23, 201)
    assert aligned.trial_id.tolist() == windows.trial_id.tolist()
    without = windows.event.isna().to_numpy()
    assert np.isnan(aligned.data[:, without]).all()
    assert aligned.time[100] == 0


def test_the_axis_spans_the_longest_window_on_each_side():
    windows = pd.DataFrame(
        {"trial_id": [1, 2], "start": [9.0, 18.0], "event": [10.0, 20.0], "end": [13.0, 21.0]}
    )
    aligned = align(np.arange(300.0), windows, rate=10)
    assert aligned.time[[0, -1]].tolist() == [-2, 3]
    assert not np.isnan(aligned.data).any()


def test_steps_of_the_axis_are_as_a_person_would_write_them():
    aligned = align(np.zeros(100), event_windows([5.0], (-0.3, 0.3)), rate=10)
    assert aligned.time.tolist() == [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3]


def test_a_bin_size_sets_the_steps_of_the_axis():
    aligned = align(np.arange(100.0), event_windows([5.0], (-0.5, 0.5)), rate=10, bin_size=0.25)
    assert aligned.time.tolist() == [-0.5, -0.25, 0, 0.25, 0.5]
    assert aligned.data[0, 0].tolist() == [45, 48, 50, 53, 55]
    linear = align(
        np.arange(100.0),
        event_windows([5.0], (-0.5, 0.5)),
        rate=10,
        bin_size=0.25,
        method="linear",
    )
    np.testing.assert_allclose(linear.data[0, 0], [45, 47.5, 50, 52.5, 55])


def test_on_a_sample_its_neighbour_does_not_count():
    traces = np.array([0, 1, 2, np.nan, 4])
    linear = align(traces, event_windows([2.0], (-1, 2)), rate=1, method="linear")
    np.testing.assert_array_equal(linear.data[0, 0], [1, 2, np.nan, 4])


def test_precision_of_the_traces_is_kept_and_integers_become_floats():
    windows = event_windows([2.0], (-1, 1))
    assert align(np.zeros((2, 9), np.float32), windows, rate=1).data.dtype == np.float32
    assert align(np.zeros((2, 9), np.int16), windows, rate=1).data.dtype == np.float64


def test_no_event_in_any_trial_gives_rows_without_times():
    aligned = align(np.zeros((2, 9)), event_windows([np.nan, np.nan], (-1, 1)), rate=1)
    assert aligned.data.shape == (2, 2, 0)


def test_the_input_is_left_alone():
    traces, windows = np.arange(100.0), event_windows([5.0, np.nan], (-1, 1))
    before = windows.copy()
    aligned = align(traces, windows, rate=10)
    aligned.data[:] = -1
    assert traces.tolist() == list(range(100))
    pd.testing.assert_frame_equal(windows, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either rate= .* or times="),
        ({"rate": 1, "times": np.arange(9.0)}, "either rate= .* or times="),
        ({"rate": 0}, "a rate is positive"),
        ({"times": np.arange(8.0)}, "8 times for 9 samples"),
        ({"times": [0, 1, 2, 3, 3, 4, 5, 6, 7]}, r"times\[3\] is 3.0 s, then 3.0 s"),
        ({"rate": 1, "bin_size": -1}, "bin_size is positive"),
        ({"rate": 1, "method": "cubic"}, "'nearest' or 'linear', got 'cubic'"),
        ({"rate": 1, "roi": [1, 2]}, "do not fit 2 rois"),
    ],
)
def test_what_cannot_be_aligned_is_refused(options, message):
    with pytest.raises(InvalidArgument, match=message):
        align(np.zeros((1, 9)), event_windows([2.0], (-1, 1)), **options)


def test_windows_must_be_whole():
    with pytest.raises(TableColumnMissing, match="'end'"):
        align(np.zeros(9), event_windows([2.0], (-1, 1)).drop(columns="end"), rate=1)
    windows = event_windows([2.0], (-1, 1)).assign(end=np.nan)
    with pytest.raises(InvalidArgument, match="trial 0 has an event, but no start or no end"):
        align(np.zeros(9), windows, rate=1)
    with pytest.raises(InvalidArgument, match="got shape"):
        align(np.zeros((1, 2, 3)), event_windows([2.0], (-1, 1)), rate=1)


# forms -----------------------------------------------------------------------------------------


@pytest.fixture
def aligned():
    traces = np.arange(200.0).reshape(2, 100)
    windows = event_windows([5.0, 1.0, np.nan], (-1, 2), trial_id=[4, 2, 9])
    return align(traces, windows, rate=10, roi=[11, 12], unit="dF/F")


def test_a_frame_has_a_row_for_each_roi_and_trial(aligned):
    frame = aligned.to_pandas()
    assert frame.shape == (6, 31)
    assert frame.loc[(12, 4), 0.0] == 150
    assert frame.columns.name == "time"


def test_a_roi_is_taken_by_its_name(aligned):
    assert aligned.of(12)[0, 10] == 150
    assert np.shares_memory(aligned.of(12), aligned.data)
    with pytest.raises(InvalidArgument, match="no roi 3 among 2: 11, 12"):
        aligned.of(3)


def test_its_text_says_what_it_holds(aligned):
    assert repr(aligned) == "<Aligned: 2 rois, 3 trials, 31 times, -1 to 2 s>"


def test_data_and_labels_must_fit():
    with pytest.raises(InvalidArgument, match=r"\(1, 2, 3\) do not fit 1 rois, 2 trials and 4"):
        Aligned(np.zeros((1, 2, 3)), np.arange(4.0), np.arange(2), np.arange(1))


def test_a_data_array_has_names_and_units(aligned):
    pytest.importorskip("xarray")
    array = aligned.to_xarray()
    assert array.sel(roi=12, trial_id=4, time=0) == 150
    assert array.attrs["units"] == "dF/F"
    assert array.time.attrs["units"] == "s"
    assert np.shares_memory(array.values, aligned.data)


def test_the_function_is_not_hidden_by_its_module():
    import importlib

    import one_cache.trials

    importlib.import_module("one_cache.trials.align")
    assert callable(one_cache.trials.align)
    assert set(one_cache.trials.__all__) <= set(dir(one_cache.trials))
    for name in one_cache.trials.__all__:
        assert getattr(one_cache.trials, name).__name__ == name
    with pytest.raises(AttributeError, match="no_such"):
        one_cache.trials.no_such  # noqa: B018
