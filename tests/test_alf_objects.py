"""The files of one object, joined."""

from __future__ import annotations

import json
import logging

import numpy as np
import pandas as pd
import pytest

from one_cache.alf import AlfBunch, load_object, read_ts, save_file
from one_cache.errors import (
    ALFInvalid,
    ALFMultipleObjectsFound,
    ALFObjectNotFound,
    ALFWarning,
    ContentError,
)

SYNC = np.array([[0, 10.0], [4, 12.0]])


def make(folder, **files):
    """Write files named as the keys, ``__`` for a dot, and give their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name.replace("__", ".") for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        save_file(path, content)
    return paths


def test_keys_are_made_of_attribute_timescale_and_extra(tmp_path):
    rows = np.arange(4)
    files = make(
        tmp_path,
        spikes__times__npy=rows,
        spikes__times_ephysClock__npy=rows,
        spikes__times__raw__v2__npy=rows,
        spikes__times_bpod__raw__npy=rows,
        _ibl_spikes__stimOn_times__npy=rows,
        _ibl_spikes__stimOn_times_bpod__npy=rows,
        spikes__names__json=["a", "b", "c", "d"],
    )
    assert set(load_object(files)) == {
        "times",
        "times_ephysClock",
        "times.raw.v2",
        "times_bpod.raw",
        "stimOn_times",
        "stimOn_times_bpod",
        "names",
    }


def test_short_keys_leave_the_extra_parts_out(tmp_path):
    files = make(tmp_path, spikes__times_bpod__raw__npy=np.arange(4), spikes__amps__v2__csv=FRAME)
    bunch = load_object(files, short_keys=True)
    assert list(bunch) == ["times_bpod", "amps"]
    assert type(bunch) is AlfBunch


FRAME = pd.DataFrame({"x": [1.0, 2, 3, 4], "y": [5.0, 6, 7, 8]})


def test_files_of_one_object_may_lie_in_several_folders(tmp_path):
    old = make(tmp_path / "alf", spikes__times__npy=np.arange(4))
    new = make(tmp_path / "alf" / "#2024-05-06#", spikes__amps__npy=np.ones(4))
    assert set(load_object([*old, *new])) == {"times", "amps"}
    assert set(load_object([str(path) for path in old])) == {"times"}


@pytest.mark.parametrize(
    "names",
    [
        ("spikes__times__npy", "spikes__times__pqt"),
        ("spikes__times__npy", "_ibl_spikes__times__npy"),
    ],
)
def test_two_files_of_one_attribute_are_refused_by_name(tmp_path, names):
    content = {"npy": np.arange(4), "pqt": FRAME}
    files = make(tmp_path, **{name: content[name[-3:]] for name in names})
    with pytest.raises(ALFMultipleObjectsFound, match="'times'") as caught:
        load_object(files)
    assert all(path.name in str(caught.value) for path in files)


def test_short_keys_that_are_the_same_are_refused(tmp_path):
    files = make(tmp_path, a__b__x__npy=np.arange(2), a__b__y__npy=np.arange(2))
    assert set(load_object(files)) == {"b.x", "b.y"}
    with pytest.raises(ALFMultipleObjectsFound, match="short_keys=False"):
        load_object(files, short_keys=True)


def test_files_of_several_objects_none_and_other_names_are_refused(tmp_path):
    files = make(tmp_path, spikes__times__npy=np.arange(2), wheel__position__npy=np.arange(2))
    with pytest.raises(ALFMultipleObjectsFound, match="spikes, wheel"):
        load_object(files)
    with pytest.raises(ALFObjectNotFound):
        load_object([])
    with pytest.raises(ALFInvalid, match=r"notes\.txt"):
        load_object([tmp_path / "notes.txt"])


def test_a_broken_file_of_an_object_is_named(tmp_path):
    files = make(tmp_path, spikes__times__npy=np.arange(2), spikes__amps__npy=np.arange(2))
    files[1].write_bytes(b"")
    with pytest.raises(ContentError, match=r"spikes\.amps\.npy"):
        load_object(files)


def test_a_file_without_reader_comes_as_its_path(tmp_path):
    files = make(tmp_path, camera__times__npy=np.arange(5))
    (tmp_path / "camera.raw.mp4").write_bytes(b"film")
    make(tmp_path, camera__timestamps__npy=SYNC)
    bunch = load_object([tmp_path / "camera.raw.mp4", tmp_path / "camera.timestamps.npy", *files])
    assert bunch.raw == tmp_path / "camera.raw.mp4"
    assert len(bunch.timestamps) == 5


def test_metadata_name_the_columns_of_an_array(tmp_path):
    xyz = np.arange(12.0).reshape(4, 3)
    files = make(
        tmp_path,
        _ns_clusters__ccf__npy=xyz,
        _ns_clusters__ccf__metadata__json={"columns": ["x", "y", "z"], "unit": "um"},
    )
    for chosen, beside in ((files, False), (files[::-1], False), (files[:1], True)):
        bunch = load_object(chosen, look_beside=beside)
        assert set(bunch) == {"x", "y", "z", "ccfmetadata"}
        assert bunch.ccfmetadata == {"unit": "um"}
        np.testing.assert_array_equal(bunch.y, xyz[:, 1])


def test_metadata_beside_are_read_only_when_asked(tmp_path):
    files = make(tmp_path, a__b__npy=np.zeros((4, 2)), a__b__metadata__json={"unit": "um"})
    assert set(load_object(files[:1])) == {"b"}
    assert set(load_object(files[:1], look_beside=True)) == {"b", "bmetadata"}
    assert set(load_object(files)) == {"b", "bmetadata"}


def test_metadata_that_only_name_columns_leave_no_attribute(tmp_path):
    files = make(tmp_path, a__b__npy=np.zeros((4, 1)), a__b__metadata__json={"columns": ["x"]})
    bunch = load_object(files)
    assert set(bunch) == {"x"}
    assert bunch.x.shape == (4,)


def test_metadata_may_lie_in_another_folder_when_given(tmp_path):
    files = make(tmp_path / "alf", a__b__npy=np.zeros(4))
    note = make(tmp_path / "alf" / "#2024-05-06#", a__b__metadata__json={"unit": "um"})
    assert set(load_object(files + note)) == {"b", "bmetadata"}


def test_metadata_belong_to_their_own_attribute_only(tmp_path):
    files = make(
        tmp_path,
        a__ccf__npy=np.zeros((4, 2)),
        a__ccfLocation__npy=np.zeros((4, 2)),
        a__ccf_bpod__npy=np.zeros((4, 2)),
        a__ccfLocation__metadata__json={"columns": ["x", "y"]},
        a__ccf_bpod__metadata__json={"unit": "um"},
    )
    assert set(load_object(files)) == {"ccf", "x", "y", "ccf_bpod", "ccf_bpodmetadata"}


def test_metadata_of_the_same_extra_parts_come_first(tmp_path):
    files = make(
        tmp_path,
        a__b__one__npy=np.zeros(4),
        a__b__two__npy=np.zeros(4),
        a__b__three__npy=np.zeros(4),
        a__b__one__metadata__json={"n": 1},
        a__b__two__metadata__json={"n": 2},
        a__b__metadata__json={"n": 0},
    )
    bunch = load_object(files)
    assert bunch["b.onemetadata"] == {"n": 1}
    assert bunch["b.twometadata"] == {"n": 2}
    assert bunch["b.threemetadata"] == {"n": 0}


def test_ids_in_names_do_not_keep_metadata_from_their_file(tmp_path):
    ids = ["2622b17c-9408-4910-99cb-abf16d9225b9", "c93a1a84-dba9-47e2-bc03-761967b6d51c"]
    save_file(tmp_path / f"a.b.{ids[0]}.npy", np.zeros(4))
    save_file(tmp_path / f"a.b.{ids[1]}.metadata.json", {"unit": "um"})
    bunch = load_object([tmp_path / f"a.b.{ids[0]}.npy"], look_beside=True)
    assert list(bunch) == [f"b.{ids[0]}", f"b.{ids[0]}metadata"]


@pytest.mark.parametrize("content", [["a", "list"], "text", 3])
def test_metadata_that_are_no_dict_come_as_they_are(tmp_path, content):
    files = make(tmp_path, a__b__npy=np.zeros(4), a__b__metadata__json=content)
    assert load_object(files).bmetadata == content


def test_metadata_that_name_too_many_columns_are_an_error(tmp_path):
    files = make(tmp_path, a__b__npy=np.zeros((4, 2)), a__b__metadata__json={"columns": ["x"] * 3})
    with pytest.raises(ContentError, match="names 3 columns of an array of 2"):
        load_object(files)


def test_metadata_that_name_too_few_columns_say_so(tmp_path):
    files = make(tmp_path, a__b__npy=np.zeros((4, 2)), a__b__metadata__json={"columns": ["x"]})
    with pytest.warns(ALFWarning, match="1 of 2 columns") as said:
        assert set(load_object(files)) == {"x"}
    assert said[0].filename == __file__


def test_metadata_of_a_frame_name_its_columns(tmp_path):
    files = make(tmp_path, a__b__pqt=FRAME, a__b__metadata__json={"columns": ["left", "right"]})
    np.testing.assert_array_equal(load_object(files).right, FRAME["y"])


def test_metadata_of_nothing_are_mentioned_in_the_log(tmp_path, caplog):
    files = make(tmp_path, a__b__npy=np.zeros(4), a__c__metadata__json={"unit": "um"})
    with caplog.at_level(logging.INFO, logger="one_cache"):
        assert set(load_object(files)) == {"b"}
    assert "a.c.metadata.json" in caplog.text


def test_a_stranger_among_the_metadata_stops_nothing(tmp_path):
    files = make(tmp_path, a__b__npy=np.zeros(4))
    (tmp_path / "my notes.metadata of today.json").write_text("{")
    assert set(load_object(files, look_beside=True)) == {"b"}


TABLE = pd.DataFrame(
    {
        "choice": np.array([1, -1, 1], dtype=np.int8),
        "rewardVolume": [1.5, np.nan, 3],
        "included": [True, False, True],
        "side": list("lrl"),
        "intervals_0": [0.0, 1, 2],
        "intervals_1": [1.0, 2, 3],
    }
)


def test_a_table_gives_its_columns_as_attributes_of_their_own_types(tmp_path):
    files = make(
        tmp_path,
        _ibl_trials__table__pqt=TABLE,
        _ibl_trials__goCue_times__npy=np.arange(3.0),
    )
    trials = load_object(files)
    names = {"choice", "rewardVolume", "included", "side", "intervals", "goCue_times"}
    assert set(trials) == names
    assert trials.choice.dtype == np.int8
    assert (~trials.included).tolist() == [False, True, False]
    assert trials.intervals.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert all(type(value) is np.ndarray for value in trials.values())


def test_the_columns_of_a_table_have_the_timescale_and_extra_of_its_file(tmp_path):
    files = make(tmp_path, trials__table_bpod__raw__csv=TABLE)
    assert {"choice_bpod.raw", "intervals_bpod.raw"} <= set(load_object(files))
    assert {"choice_bpod", "intervals_bpod"} <= set(load_object(files, short_keys=True))


def test_a_table_of_one_column_is_a_table_too(tmp_path):
    files = make(tmp_path, trials__table__csv=TABLE[["choice"]])
    assert load_object(files).choice.tolist() == [1, -1, 1]


def test_only_the_attribute_of_that_name_is_a_table(tmp_path):
    files = make(tmp_path, trials__tables__pqt=TABLE, trials__tableTimes__npy=np.arange(3))
    assert set(load_object(files)) == {"tables", "tableTimes"}


def test_a_table_wins_over_a_file_and_says_so(tmp_path):
    files = make(tmp_path, trials__choice__npy=np.zeros(3), trials__table__pqt=TABLE)
    for order in (files, files[::-1]):
        with pytest.warns(ALFWarning, match=r"'choice'.*trials\.table\.pqt is used") as said:
            assert load_object(order).choice.tolist() == [1, -1, 1]
        assert said[0].filename == __file__


@pytest.mark.parametrize("name", ["timestamps", "timestamps_bpod"])
def test_two_sync_points_become_the_times_of_all_samples(tmp_path, name):
    files = make(
        tmp_path,
        **{
            f"wheel__{name}__npy": SYNC,
            "wheel__gain__npy": np.ones(1),
            "wheel__position__npy": np.arange(5),
        },
    )
    assert load_object(files)[name].tolist() == [10, 10.5, 11, 11.5, 12]


def test_sync_points_alone_stay_as_they_are(tmp_path):
    files = make(tmp_path, wheel__timestamps__npy=SYNC, wheel__info__json={"rate": 4})
    assert load_object(files).timestamps.tolist() == SYNC.tolist()


def test_attributes_of_other_lengths_are_mentioned_and_kept(tmp_path):
    files = make(
        tmp_path,
        wheel__timestamps__npy=SYNC,
        wheel__position__npy=np.arange(5),
        wheel__speed__npy=np.arange(4),
    )
    with pytest.warns(ALFWarning, match=r"'wheel'.*position \(5,\), speed \(4,\)") as said:
        wheel = load_object(files)
    assert said[0].filename == __file__
    assert wheel.timestamps.shape == (2, 2)
    assert (len(wheel.position), len(wheel.speed)) == (5, 4)


def test_maps_and_objects_are_read_as_asked(tmp_path):
    files = make(tmp_path, a__b__npy=np.arange(5), a__timestamps__npy=np.arange(5.0))
    bunch = load_object(files, mmap=True)
    assert isinstance(bunch.b, np.memmap)
    assert isinstance(bunch.timestamps, np.memmap)
    np.save(tmp_path / "a.c.npy", np.array([None] * 5), allow_pickle=True)
    with pytest.raises(ContentError, match="allow_pickle=True"):
        load_object([*files, tmp_path / "a.c.npy"])
    assert load_object([tmp_path / "a.c.npy"], allow_pickle=True).c[0] is None


def test_values_are_read_with_their_times(tmp_path):
    files = make(tmp_path, _ibl_wheel__position__npy=np.zeros((5, 1)), wheelMoves__times__npy=SYNC)
    with pytest.raises(ALFObjectNotFound, match=r"wheel\.times\*\.npy"):
        read_ts(files[0])
    make(tmp_path, _ibl_wheel__timestamps__npy=SYNC)
    times, values = read_ts(files[0])
    assert times.tolist() == [10, 10.5, 11, 11.5, 12]
    assert values.shape == (5,)


def test_of_several_times_those_of_the_same_clock_are_read(tmp_path):
    rows = np.arange(3.0)
    make(
        tmp_path,
        wheel__position__npy=rows,
        wheel__position_bpod__npy=rows,
        wheel__position_nidq__npy=rows,
        wheel__times__npy=rows + 1,
        wheel__times_bpod__npy=rows + 2,
    )
    assert read_ts(tmp_path / "wheel.position.npy")[0].tolist() == [1, 2, 3]
    assert read_ts(str(tmp_path / "wheel.position_bpod.npy"))[0].tolist() == [2, 3, 4]
    with pytest.raises(ALFMultipleObjectsFound, match=r"wheel\.times\.npy, wheel\.times_bpod"):
        read_ts(tmp_path / "wheel.position_nidq.npy")
    make(tmp_path, wheel__timestamps__npy=rows)
    with pytest.raises(ALFMultipleObjectsFound):
        read_ts(tmp_path / "wheel.position.npy")


def test_times_and_values_of_a_text_table_are_arrays(tmp_path):
    make(tmp_path, a__b__csv=FRAME[["x"]], a__times__csv=FRAME[["y"]])
    times, values = read_ts(tmp_path / "a.b.csv")
    assert (times.tolist(), values.tolist()) == ([5, 6, 7, 8], [1, 2, 3, 4])


def test_metadata_are_json(tmp_path):
    files = make(tmp_path, a__b__npy=np.zeros(4))
    (tmp_path / "a.b.metadata.json").write_text(json.dumps({"unit": "um"})[:-3])
    with pytest.raises(ContentError, match=r"a\.b\.metadata\.json"):
        load_object(files, look_beside=True)
