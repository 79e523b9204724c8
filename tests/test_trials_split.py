"""Splitting by a mask, and the functions that make masks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from one_cache.errors import InvalidArgument
from one_cache.trials import check_mask, mask_function, mask_functions, split_trials

SHARED = Path(os.environ.get("ONE_CACHE_SHARED", Path(__file__).parents[2] / "shared"))


def pairs(trials):
    return [(values.tolist(), times.tolist()) for values, times in trials]


@settings(max_examples=150, deadline=None)
@given(
    ticks=st.lists(st.integers(0, 60), max_size=40),
    borders=st.lists(st.integers(0, 60), max_size=10),
    in_order=st.booleans(),
)
def test_a_trial_holds_what_lies_from_start_to_end(ticks, borders, in_order):
    times = np.array(sorted(ticks) if in_order else ticks, dtype=float)
    values = np.arange(len(times))
    moments = np.sort(np.array(borders[: len(borders) // 2 * 2], dtype=float))
    mask = np.tile([1, -1], len(moments) // 2), moments
    expected = []
    for start, end in zip(moments[::2], moments[1::2], strict=True):
        inside = (start <= times) & (times <= end)
        expected.append((values[inside].tolist(), times[inside].tolist()))
    assert pairs(split_trials((values, times), mask)) == expected


@pytest.mark.parametrize("name", ["scales", "head_pitch", "reward", "led", "port", "nose"])
def test_splits_are_those_of_antelop(name):
    folder = SHARED / "fixtures" / "antelop"
    if not folder.is_dir():
        pytest.skip(f"the recording and its reference are not at {folder} (ONE_CACHE_SHARED)")
    h5py = pytest.importorskip("h5py")
    expected = np.load(folder / "expected_split_trials.npz")
    with h5py.File(folder / "session.nwb") as file:
        places = ("acquisition", "stimulus/presentation", "processing/behaviour_coords")
        series = next(file[f"{place}/{name}"] for place in places if name in file[place])
        data = series["data"][:], series["timestamps"][:]
    trials = split_trials(data, (expected["mask_data"], expected["mask_timestamps"]))
    assert [len(values) for values, _ in trials] == expected[f"{name}_counts"].tolist()
    for part, key in enumerate(("data", "timestamps")):
        found = np.concatenate([trial[part] for trial in trials])
        np.testing.assert_array_equal(found, expected[f"{name}_{key}"])


def test_a_sample_on_a_shared_border_is_in_both_trials():
    trials = split_trials(([7, 8, 9], [0.0, 1.0, 2.0]), ([1, -1, 1, -1], [0, 1, 1, 2]))
    assert pairs(trials) == [([7, 8], [0, 1]), ([8, 9], [1, 2])]


def test_trials_are_views_and_the_input_stays():
    values, times = np.arange(10.0), np.arange(10.0)
    for relative in (False, True):
        trials = split_trials((values, times), ([1, -1], [2, 5]), relative=relative)
        assert np.shares_memory(trials[0][0], values)
    assert np.shares_memory(split_trials((values, times), ([1, -1], [2, 5]))[0][1], times)
    assert times.tolist() == list(range(10))


def test_kinematics_are_split_along_time():
    values = np.arange(12).reshape(4, 3)
    [(coordinates, times)] = split_trials((values, [0, 1, 2, 3]), ([1, -1], [1, 2]))
    assert coordinates.tolist() == [[3, 4, 5], [6, 7, 8]]
    assert times.tolist() == [1, 2]


def test_relative_times_count_from_the_start_of_the_trial():
    trials = split_trials(
        ([1, 2, 3], [1.0, 2.5, 4.0]), ([1, -1, 1, -1], [2, 3, 3, 5]), relative=True
    )
    assert pairs(trials) == [([2], [0.5]), ([3], [1.0])]


def test_cut_intervals_are_left_as_they_are_unless_closed():
    led = [1, -1, 1, -1], [1.0, 3.0, 5.0, 9.0]
    mask = [1, -1] * 4, [2, 4, 4, 4.5, 5, 6, 6, 8]
    assert pairs(split_trials(led, mask)) == [([-1], [3]), ([], []), ([1], [5]), ([], [])]
    assert pairs(split_trials(led, mask, close_intervals=True)) == [
        ([1, -1], [2, 3]),
        ([], []),
        ([1, -1], [5, 6]),
        ([1, -1], [6, 8]),
    ]
    assert pairs(split_trials(led, mask, close_intervals=True, relative=True))[3] == (
        [1, -1],
        [0, 2],
    )


def test_an_interval_that_was_on_before_the_recording_is_closed_too():
    trials = split_trials(([-1, 1], [1.0, 4.0]), ([1, -1], [0, 5]), close_intervals=True)
    assert pairs(trials) == [([1, -1, 1, -1], [0, 1, 4, 5])]


def test_closing_keeps_the_types():
    values, times = np.array([1], np.int8), np.array([1.0], np.float32)
    [(closed, moments)] = split_trials((values, times), ([1, -1], [0, 5]), close_intervals=True)
    assert closed.dtype == np.int8
    assert moments.dtype == np.float32


@settings(max_examples=100, deadline=None)
@given(
    on=st.lists(st.integers(0, 40), max_size=12, unique=True),
    borders=st.lists(st.integers(0, 40), max_size=8, unique=True),
)
def test_closed_intervals_have_the_length_that_lies_in_the_trial(on, borders):
    moments = np.sort(np.array(on[: len(on) // 2 * 2], dtype=float))
    edges = np.sort(np.array(borders[: len(borders) // 2 * 2], dtype=float))
    signs, mask = np.tile([1, -1], len(moments) // 2), np.tile([1, -1], len(edges) // 2)
    trials = split_trials((signs, moments), (mask, edges), close_intervals=True)
    for (values, times), start, end in zip(trials, edges[::2], edges[1::2], strict=True):
        expected = sum(
            max(0.0, min(off, end) - max(up, start))
            for up, off in zip(moments[::2], moments[1::2], strict=True)
        )
        assert values.tolist() == [1, -1] * (len(values) // 2)
        assert -np.dot(values, times) == expected


@pytest.mark.parametrize(
    ("values", "times", "message"),
    [
        ([1, 1, -1, -1], [0, 1, 2, 3], r"alternate: value 1 at index 1 \(1 s\), -1 was"),
        ([-1, 1], [0, 1], r"alternate: value -1 at index 0 \(0 s\), \+1 was"),
        ([1, 0], [0, 1], r"alternate: value 0 at index 1"),
        ([1, -1, 1], [0, 1, 2], r"unbalanced: the trial that starts at index 2 \(2 s\) never"),
        ([1, -1, 1, -1], [0, 3, 2, 4], r"goes back in time at index 2 \(2 s\)"),
        ([1, -1], [0, np.nan], "goes back in time at index 1"),
        ([1, -1], [0], "one timestamp a value"),
        ([[1, -1]], [0], "one value a time"),
    ],
)
def test_what_is_no_mask_is_refused_with_its_index(values, times, message):
    with pytest.raises(InvalidArgument, match=message):
        split_trials(([1.0], [0.0]), (values, times))


def test_data_that_cannot_be_split_are_refused():
    mask = [1, -1], [0, 1]
    with pytest.raises(InvalidArgument, match=r"shape \(2,\) and timestamps of shape \(1,\)"):
        split_trials(([1, 2], [0]), mask)
    with pytest.raises(InvalidArgument, match=r"\+1 and -1, got 2 at index 1"):
        split_trials(([1, 2], [0, 1]), mask, close_intervals=True)
    with pytest.raises(InvalidArgument, match=r"back at index 1 \(0 s\)"):
        split_trials(([1, -1], [1, 0]), mask, close_intervals=True)


def test_an_empty_mask_has_no_trials():
    assert split_trials(([1.0], [0.0]), ([], [])) == []


# mask functions --------------------------------------------------------------------------------

SCRIPT = '''
"""Trials of the two-port rig."""
import numpy as np

SIGNS = [1, -1]

def led_to_port(session):
    """From each light to the next poke."""
    return np.array(SIGNS * len(session)), np.repeat(session, 2) + np.tile([0, 0.5], len(session))

def broken(session):
    return [1, 1], [0, 1]

def nothing(session):
    return None

def _helper():
    pass
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "lab").mkdir()
    (tmp_path / "masks.py").write_text(SCRIPT)
    (tmp_path / "lab" / "other.py").write_text("def go(session):\n    return [], []\n")
    (tmp_path / "_private.py").write_text("raise SystemExit\n")
    return tmp_path


def test_functions_are_named_after_script_and_function_without_running_them(folder):
    (folder / "danger.py").write_text("raise SystemExit\ndef go(session): pass\n")
    assert list(mask_functions(folder)) == [
        "danger.go", "lab.other.go", "masks.led_to_port", "masks.broken", "masks.nothing",
    ]  # fmt: skip


def test_a_mask_function_gives_a_checked_mask(folder):
    function = mask_function("masks.led_to_port", folder)
    values, times = function(np.array([1.0, 3.0]))
    assert values.tolist() == [1, -1, 1, -1]
    assert times.tolist() == [1, 1.5, 3, 3.5]
    assert "From each light" in function.source
    assert mask_function("lab.other.go", folder)(None)[0].tolist() == []


def test_a_result_that_is_no_mask_names_the_function(folder):
    with pytest.raises(InvalidArgument, match="masks.broken: the mask does not alternate"):
        mask_function("masks.broken", folder)(None)
    with pytest.raises(InvalidArgument, match=r"masks.nothing must return .*, got NoneType"):
        mask_function("masks.nothing", folder)(None)


def test_a_function_that_does_not_exist_names_its_neighbours(folder):
    with pytest.raises(InvalidArgument, match="Did you mean 'masks.led_to_port'"):
        mask_function("masks.led_to_prt", folder)
    with pytest.raises(InvalidArgument, match="no analysis folder"):
        mask_functions(folder / "absent")


def test_a_script_that_is_no_python_is_named(folder):
    (folder / "bad.py").write_text("def f(:\n")
    with pytest.raises(InvalidArgument, match=r"bad.py is no Python: line 1"):
        mask_functions(folder)


def test_check_mask_gives_arrays():
    values, times = check_mask(([1, -1], [0, 1]))
    assert values.tolist() == [1, -1]
    assert times.tolist() == [0, 1]
