"""Rigs and NWB files: described, inserted, split into trials."""

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from one_cache import Cache
from one_cache.errors import (
    ContentError,
    DuplicateKey,
    HashMismatch,
    InvalidArgument,
    ModeError,
    OneCacheError,
    StoreError,
)
from one_cache.rig.behaviour import Behaviour
from one_cache.rig.description import read_rig
from one_cache.trials import split_trials

pynwb = pytest.importorskip("pynwb", reason="the extra nwb is not installed")

DATA = Path(__file__).parent / "data" / "antelop"
SHARED = Path(os.environ.get("ONE_CACHE_SHARED", Path(__file__).parents[2] / "shared"))
SESSION = {"experimenter": "alice", "experiment_id": 1, "session_id": 1}
ANIMALS = [{"experimenter": "alice", "animal_id": 4, "animal_name": "mouse1"}]
MASKLIST = json.loads((DATA / "masklist.json").read_text())
KINDS = {
    "scales": "AnalogEvents",
    "head_pitch": "AnalogEvents",
    "reward": "DigitalEvents",
    "led": "IntervalEvents",
    "port": "IntervalEvents",
    "nose": "Kinematics",
}


@pytest.fixture
def rig():
    return json.loads((DATA / "rig.json").read_text())


@pytest.fixture
def lab(tmp_path):
    shutil.copytree(DATA / "analysis", tmp_path / "analysis")
    return Behaviour(Cache(tmp_path / "cache", silent=True), analysis=tmp_path / "analysis")


@pytest.fixture
def uploaded(lab):
    lab.upload_rig_json("alice", "arena", DATA / "rig.json", MASKLIST)
    return lab


@pytest.fixture
def inserted(uploaded):
    uploaded.insert_nwb(SESSION, ANIMALS, DATA / "session_fixed_rate.nwb")
    return uploaded


def everything(lab):
    """All rows, and the files of arrays."""
    names = ("World", "Self", "Object", "Video", *dict.fromkeys(KINDS.values()), "Mask")
    rows = {name: len(getattr(lab, name)) for name in names}
    folder = Path(lab.cache.cache_dir) / "rig"
    return rows, sorted(path.name for path in folder.rglob("*.npz"))


def series(name, data, unit="V", rate=1.0, **more):
    return pynwb.TimeSeries(name=name, data=data, unit=unit, rate=rate, **more)


def write_nwb(path, *, subject="mouse1", acquisition=(), stimulus=(), modules=None):
    """Write a file with these series, and those of the rig that are not among them."""
    nwb = pynwb.NWBFile("d", "i", dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc))
    nwb.subject = pynwb.file.Subject(
        subject_id=subject, species="Mus musculus", sex="M", age="P9D"
    )
    for one in acquisition:
        nwb.add_acquisition(one)
    for one in stimulus:
        nwb.add_stimulus(one)
    for name, series in (modules or {}).items():
        module = nwb.create_processing_module(name, "d")
        for one in series:
            module.add(one)
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwb)
    return path


def feature(name, data_type="analog", source="acquisition"):
    return {
        "name": name,
        "source": {"source_type": source},
        "ownership": {"ownership": "world"},
        "data_type": data_type,
        "coordinates": [1.0, 2.0, 3.0],
        "description": "",
    }


def small_rig(*features, videos=()):
    return {
        "specification": "antelop-behaviour",
        "version": "1",
        "reference_point": "floor",
        "features": list(features),
        "videos": list(videos),
    }


# -- descriptions --------------------------------------------------------------------------------


def test_a_rig_fills_its_three_tables(uploaded):
    key = {"experimenter": "alice", "behaviourrig_id": 1}
    assert (uploaded.BehaviourRig & key).fetch1("behaviourrig_name") == "arena"
    features = uploaded.Feature.to_dicts()
    assert [row["feature_id"] for row in features] == [1, 2, 3, 4, 5, 6, 7]
    assert [row["feature_name"] for row in features] == [*KINDS, "tail"]
    assert features[2]["data_type"] == "digital"
    assert features[2]["source_type"] == "stimulus"
    mask = uploaded.MaskFunction.fetch1()
    assert (mask["maskfunction_name"], mask["mask_function"]) == (
        "led_to_port",
        "masks.led_to_port",
    )
    names = set(uploaded.cache.tables.names())
    assert {"rigs", "features", "mask_functions"} <= names


def test_all_errors_of_a_description_come_at_once_each_with_its_path(lab, rig, tmp_path):
    rig["specification"] = "other"
    del rig["features"][0]["coordinates"]
    rig["features"][1]["ownership"] = {"ownership": "self"}
    rig["features"][2]["data_type"] = "digitl"
    del rig["features"][5]["source"]["module"]
    rig["features"][5]["source"].pop("video")
    rig["features"][6]["source"]["source_type"] = "deeplab"
    rig["videos"][0]["format"] = "gif"
    path = tmp_path / "rig.json"
    path.write_text(json.dumps(rig))
    with pytest.raises(InvalidArgument) as caught:
        lab.upload_rig_json("alice", "arena", path, [{"name": "x", "description": ""}])
    text = str(caught.value)
    for part in (
        "features[0]: 'coordinates' is a required property",
        "features[1].ownership: 'animal' is a required property",
        "features[2].data_type: 'digitl' is not one of",
        "features[5].source: 'module' is a required property",
        "features[5].source: 'video' is a required property",
        "features[6].source.source_type: 'deeplab'",
        "masklist[0]: 'function' is a required property",
        "specification: 'other' is not one of",
        "videos[0].format: 'gif'",
    ):
        assert part in text
    assert "9 errors" in text
    assert not lab.BehaviourRig


def test_names_that_come_twice_and_functions_that_do_not_exist_are_named(lab, rig):
    rig["features"][3]["name"] = "scales"
    rig["features"][5]["source"]["video"] = "top_camra"
    with pytest.raises(InvalidArgument) as caught:
        lab.upload_rig_json(
            "alice",
            "arena",
            rig,
            [{"name": "m", "description": "", "function": "masks.led_to_prt"}],
        )
    text = str(caught.value)
    assert "features[3].name: 'scales' is the name of features[0] too" in text
    assert "no video 'top_camra' in videos. Did you mean 'top_camera'?" in text
    assert "no function 'masks.led_to_prt'" in text
    assert "Did you mean 'masks.led_to_port'?" in text


def test_the_older_spelling_and_a_rig_without_videos_are_valid(rig):
    rig["specification"] = "antelope-behaviour"
    rig["features"] = rig["features"][:5]
    del rig["videos"]
    assert read_rig(rig).videos == ()


def test_a_file_that_is_no_json_is_refused(lab, tmp_path):
    path = tmp_path / "rig.json"
    path.write_text("{")
    with pytest.raises(InvalidArgument, match="is no JSON"):
        lab.upload_rig_json("alice", "arena", path, [])
    with pytest.raises(InvalidArgument, match="cannot be read"):
        lab.upload_rig_json("alice", "arena", tmp_path / "none.json", [])


def test_rig_names_are_unique_and_rigs_are_numbered(uploaded, rig):
    with pytest.raises(DuplicateKey, match="'arena'"):
        uploaded.upload_rig_json("bob", "arena", rig)
    second = uploaded.upload_rig_json("alice", "box", rig)
    assert second == {"experimenter": "alice", "behaviourrig_id": 2}
    assert uploaded.upload_rig_json("bob", "maze", rig)["behaviourrig_id"] == 1
    with pytest.raises(InvalidArgument, match="2 rigs fit .* 1 'arena', 2 'box'"):
        uploaded.insert_nwb(SESSION, ANIMALS, DATA / "session_fixed_rate.nwb")


# -- sessions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["session_fixed_rate.nwb", "session.nwb"])
def test_the_snippets_of_the_reference_page_give_the_reference_trials(uploaded, name):
    path = DATA / name if (DATA / name).exists() else SHARED / "fixtures" / "antelop" / name
    if not path.exists():
        pytest.skip(f"{name} is too large to be kept here; set ONE_CACHE_SHARED")
    uploaded.insert_nwb(SESSION, ANIMALS, path)
    expected = np.load(DATA / "expected_split_trials.npz")
    restriction = SESSION
    mask = (uploaded.Mask & restriction).fetch1("data", "timestamps")
    np.testing.assert_array_equal(mask[0], expected["mask_data"])
    np.testing.assert_array_equal(mask[1], expected["mask_timestamps"])
    for feature_name, kind in KINDS.items():
        if name == "session_fixed_rate.nwb" and feature_name == "scales":
            continue  # the reference is of explicit times, which differ
        column = f"{kind.lower()}_name"
        events = (getattr(uploaded, kind) & restriction & {column: feature_name}).fetch1(
            "data", "timestamps"
        )
        trials = split_trials(events, mask)
        counts = expected[f"{feature_name}_counts"]
        assert [len(times) for _, times in trials] == counts.tolist()
        for at, part in enumerate(("data", "timestamps")):
            joined = np.concatenate([trial[at] for trial in trials])
            np.testing.assert_array_equal(joined, expected[f"{feature_name}_{part}"])


def test_all_rows_of_a_session_are_there_with_the_columns_of_antelop(inserted):
    rows, files = everything(inserted)
    assert rows == {
        "World": 1, "Self": 1, "Object": 7, "Video": 1, "AnalogEvents": 2, "DigitalEvents": 1,
        "IntervalEvents": 2, "Kinematics": 1, "Mask": 1,
    }  # fmt: skip
    assert len(files) == 8
    reward = inserted.DigitalEvents.fetch1()
    assert (reward["unit"], reward["x_coordinate"], reward["y_coordinate"]) == ("ul", 136.6, 50.0)
    assert reward["digitalevents_name"] == "reward"
    assert reward["animal_id"] is None
    assert (inserted.AnalogEvents & 'analogevents_name="head_pitch"').fetch1("animal_id") == 4
    assert (inserted.Object & {"object_name": "tail"}).fetch1("object_type") == "Self"
    video = inserted.Video.fetch1()
    assert (video["video_name"], video["video"]) == ("top_camera", "top.avi")
    assert len(video["timestamps"]) == 15000
    nose = inserted.Kinematics.fetch1()
    assert nose["data"].shape[1] == 3
    assert nose["video_id"] == 1
    assert len(inserted.Feature * inserted.Object) == 7


def test_series_of_a_fixed_rate_get_times(inserted):
    data, times = (inserted.AnalogEvents & 'analogevents_name="scales"').fetch1(
        "data", "timestamps"
    )
    np.testing.assert_array_equal(times, 0.25 + np.arange(60000) / 100)
    assert len(data) == 60000


def test_conversion_and_offset_are_applied_and_what_lies_in_containers_is_found(lab, tmp_path):
    positions = pynwb.behavior.Position(
        spatial_series=pynwb.behavior.SpatialSeries(
            name="nose", data=np.ones((4, 2)), reference_frame="r", rate=2.0, conversion=0.5
        )
    )
    volts = series(
        "lick",
        np.array([1, 2, 3], np.int16),
        rate=10.0,
        starting_time=5.0,
        conversion=0.5,
        offset=1.0,
    )
    on = pynwb.misc.IntervalSeries(
        name="led", data=np.array([1, -1], np.int8), timestamps=[0.5, 1.5]
    )
    extra = series("else", [1.0])
    camera = pynwb.image.ImageSeries(
        name="cam",
        external_file=["c.mp4"],
        format="external",
        rate=25.0,
        num_samples=3,
        unit="n.a.",
    )
    path = write_nwb(
        tmp_path / "s.nwb",
        acquisition=[volts, extra, camera],
        stimulus=[on],
        modules={"behaviour": [positions]},
    )
    video = {"name": "cam", "description": "", "format": "mp4"}
    nose = feature("nose", "kinematics", "processing")
    nose["source"].update(module="behaviour", video="cam")
    nose["ownership"] = {"ownership": "self", "animal": 1}
    lick, led = feature("lick"), feature("led", "interval", "stimulus")
    lab.upload_rig_json("alice", "arena", small_rig(lick, led, nose, videos=[video]))
    lab.insert_nwb(SESSION, {1: {"animal_name": "mouse1"}}, path)
    found = lab.AnalogEvents.fetch1()
    assert found["data"].tolist() == [1.5, 2.0, 2.5]
    assert found["timestamps"].tolist() == [5.0, 5.1, 5.2]
    assert lab.IntervalEvents.fetch1("data").tolist() == [1, -1]
    assert lab.Kinematics.fetch1("data").tolist() == [[0.5, 0.5]] * 4
    assert lab.Kinematics.fetch1("timestamps").tolist() == [0, 0.5, 1, 1.5]
    assert lab.Video.fetch1("timestamps").tolist() == [0.0, 0.04, 0.08]


def test_all_that_a_file_lacks_is_listed_with_what_it_has_and_nothing_is_written(lab, tmp_path):
    rig = json.loads((DATA / "rig.json").read_text())
    lab.upload_rig_json("alice", "arena", rig, MASKLIST)
    path = write_nwb(
        tmp_path / "s.nwb",
        subject="mouse9",
        acquisition=[series("scale", [1.0])],
        stimulus=[series("port", [1.0])],
    )
    with pytest.raises(InvalidArgument) as caught:
        lab.insert_nwb(SESSION, [*ANIMALS, {"animal_name": "mouse2"}], path)
    text = str(caught.value)
    for part in (
        "feature 'scales' is not in acquisition, which has scale. Did you mean 'scale'?",
        "feature 'head_pitch' is not in acquisition",
        "feature 'port' is not in acquisition, which has scale. It is in stimulus.",
        "feature 'reward' is not in stimulus, which has port",
        "feature 'nose': there is no processing/behaviour_coords; the file has acquisition",
        "video 'top_camera' is not in acquisition",
        "animals: the rig has 1 (numbers [1]), 2 were given (numbers [1, 2])",
        "animals: the file is of 'mouse9', given were 'mouse1', 'mouse2'",
    ):
        assert part in text
    assert "tail" not in text
    assert everything(lab) == (dict.fromkeys(everything(lab)[0], 0), [])


def test_data_of_another_kind_are_refused(lab, tmp_path):
    path = write_nwb(
        tmp_path / "s.nwb",
        acquisition=[
            series("lick", np.zeros((3, 2))),
            series("led", [1.0, 0.0]),
        ],
    )
    lab.upload_rig_json("alice", "arena", small_rig(feature("lick"), feature("led", "interval")))
    with pytest.raises(InvalidArgument) as caught:
        lab.insert_nwb(SESSION, [], path)
    assert "feature 'lick' (analog) needs one value a time, has shape (3, 2)" in str(caught.value)
    assert "feature 'led' (interval) needs +1 and -1, has 0.0 at index 1" in str(caught.value)


def test_a_mask_that_fails_leaves_nothing(uploaded):
    masks = uploaded.analysis / "masks.py"
    masks.write_text("def led_to_port(session):\n    return [1, 1], session['led'][1][:2]\n")
    with pytest.raises(InvalidArgument, match="masks.led_to_port: the mask does not alternate"):
        uploaded.insert_nwb(SESSION, ANIMALS, DATA / "session_fixed_rate.nwb")
    masks.write_text("def other(session):\n    return [1, -1], [0, 1]\n")
    with pytest.raises(InvalidArgument, match=r"mask functions are not in .*'masks.led_to_port'"):
        uploaded.insert_nwb(SESSION, ANIMALS, DATA / "session_fixed_rate.nwb")
    assert everything(uploaded) == (dict.fromkeys(everything(uploaded)[0], 0), [])


def test_a_disk_that_refuses_leaves_nothing(uploaded):
    if os.geteuid() == 0:
        # root may write anywhere: a file in the way of a folder refuses everybody
        (Path(uploaded.cache.cache_dir) / "rig" / "alice" / "1" / "1").mkdir(parents=True)
        (Path(uploaded.cache.cache_dir) / "rig" / "alice" / "1" / "1" / "masks").touch()
    else:
        pytest.skip("needs a place that refuses root too")
    with pytest.raises(StoreError):
        uploaded.insert_nwb(SESSION, ANIMALS, DATA / "session_fixed_rate.nwb")
    assert everything(uploaded) == (dict.fromkeys(everything(uploaded)[0], 0), [])


def test_rows_of_a_session_that_was_not_finished_are_not_seen(inserted):
    cache = inserted.cache
    table = cache.tables.arrow("SELECT * FROM worlds")
    cache.tables.replace("worlds", table.slice(0, 0))
    assert everything(inserted)[0] == dict.fromkeys(everything(inserted)[0], 0)
    inserted.insert_nwb(SESSION, ANIMALS, DATA / "session_fixed_rate.nwb")
    assert everything(inserted)[0]["AnalogEvents"] == 2


def test_a_session_is_inserted_once(inserted):
    with pytest.raises(DuplicateKey, match="session"):
        inserted.insert_nwb(SESSION, ANIMALS, DATA / "session_fixed_rate.nwb")
    second = {**SESSION, "session_id": 2}
    inserted.insert_nwb(second, ANIMALS, DATA / "session_fixed_rate.nwb")
    assert len(inserted.World) == 2
    assert len(inserted.AnalogEvents & second) == 2


def test_keys_that_do_not_fit_are_refused(uploaded, tmp_path):
    path = DATA / "session_fixed_rate.nwb"
    with pytest.raises(InvalidArgument, match="lacks experiment_id, session_id"):
        uploaded.insert_nwb({"experimenter": "alice"}, ANIMALS, path)
    with pytest.raises(InvalidArgument, match="0 rigs fit .* bob has none"):
        uploaded.insert_nwb({**SESSION, "experimenter": "bob"}, ANIMALS, path)
    with pytest.raises(InvalidArgument, match="animal 1 is of experimenter 'bob'"):
        uploaded.insert_nwb(SESSION, [{"experimenter": "bob", "animal_id": 1}], path)
    with pytest.raises(InvalidArgument, match="no file"):
        uploaded.insert_nwb(SESSION, ANIMALS, tmp_path / "none.nwb")
    bad = tmp_path / "bad.nwb"
    bad.write_bytes(b"no HDF5")
    with pytest.raises(ContentError, match="not readable as NWB"):
        uploaded.insert_nwb(SESSION, ANIMALS, bad)


# -- masks ---------------------------------------------------------------------------------------


def test_masks_are_computed_anew_in_the_place_of_the_old_ones(inserted):
    second = {**SESSION, "session_id": 2}
    inserted.insert_nwb(second, ANIMALS, DATA / "session_fixed_rate.nwb")
    source = (
        "def led_to_port(session):\n    t = session['led'][1]\n    return [1, -1], t[[0, -1]]\n"
    )
    (inserted.analysis / "masks.py").write_text(source)
    keys = inserted.recompute_masks(SESSION)
    assert [key["session_id"] for key in keys] == [1]
    assert len((inserted.Mask & SESSION).fetch1("data")) == 2
    assert len((inserted.Mask & second).fetch1("data")) == 78
    inserted.recompute_masks({"experimenter": "alice", "experiment_id": 1})
    assert len((inserted.Mask & second).fetch1("data")) == 2
    assert len(inserted.Mask) == 2


def test_masks_of_all_sessions_or_of_none(inserted):
    second = {**SESSION, "session_id": 2}
    inserted.insert_nwb(second, ANIMALS, DATA / "session_fixed_rate.nwb")
    (inserted.analysis / "masks.py").write_text(
        "def led_to_port(session):\n"
        "    if session.key['session_id'] == 2:\n        return [1], [0.0]\n"
        "    return [1, -1], [0.0, 1.0]\n"
    )
    with pytest.raises(InvalidArgument, match="unbalanced"):
        inserted.recompute_masks({})
    assert len((inserted.Mask & SESSION).fetch1("data")) == 78
    with pytest.raises(InvalidArgument, match="no session fits"):
        inserted.recompute_masks({"session_id": 9})


# -- as the rest of a cache ----------------------------------------------------------------------


def test_arrays_are_verified_recorded_frozen_and_bundled(inserted, tmp_path):
    cache = inserted.cache
    with cache.recording() as record:
        expected = inserted.DigitalEvents.fetch1("data", "timestamps")
    [entry] = record
    assert (entry.kind, entry.path.split("/")[0]) == ("file", "rig")
    cache.freeze()
    frozen = Behaviour(Cache(cache.cache_dir, mode="fixed", silent=True))
    np.testing.assert_array_equal(frozen.DigitalEvents.fetch1("data"), expected[0])
    with pytest.raises(ModeError):
        frozen.insert_nwb({**SESSION, "session_id": 2}, ANIMALS, DATA / "session_fixed_rate.nwb")
    with pytest.raises(ModeError):
        frozen.upload_rig_json("alice", "other", DATA / "rig.json")
    with pytest.raises(ModeError):
        frozen.recompute_masks(SESSION)
    report = cache.bundle(record, tmp_path / "bundle")
    assert [file.path for file in report.files] == [entry.path]
    path = Path(cache.cache_dir, entry.path)
    path.write_bytes(path.read_bytes().replace(b"timestamps", b"TIMESTAMPS"))
    with pytest.raises(HashMismatch):
        Behaviour(Cache(cache.cache_dir, mode="fixed")).DigitalEvents.fetch1("data")


def test_the_names_of_the_module_stand_on_what_the_environment_names(tmp_path):
    shutil.copytree(DATA / "analysis", tmp_path / "cache" / "analysis")
    code = (
        "from one_cache.rig import *\n"
        f"upload_rig_json('alice', 'arena', {str(DATA / 'rig.json')!r}, {MASKLIST!r})\n"
        f"insert_nwb({SESSION!r}, {ANIMALS!r}, {str(DATA / 'session_fixed_rate.nwb')!r})\n"
        "recompute_masks({'session_id': 1})\n"
        "mask = (Mask & {'session_id': 1}).fetch1('data', 'timestamps')\n"
        "events = (AnalogEvents & {'analogevents_name': 'scales'}).fetch1('data', 'timestamps')\n"
        "print(len(split_trials(events, mask)), len(World), len(Feature), len(Self))\n"
    )
    env = {
        **os.environ,
        "ONE_CACHE_DIR": str(tmp_path / "cache"),
        "DB_USER": "somebody-7f3",
        "DB_PASS": "secret-9c1",
    }
    env.pop("ONE_CACHE_ANALYSIS", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["39", "1", "7", "1"], done.stderr
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"secret-9c1" not in path.read_bytes()
            assert b"somebody-7f3" not in path.read_bytes()


def test_names_that_do_not_exist_are_refused(inserted):
    with pytest.raises(AttributeError, match="Did you mean 'AnalogEvents'"):
        inserted.AnalogEvent  # noqa: B018 - that is the test
    session = inserted.session(SESSION)
    assert sorted(session) == sorted(KINDS)
    with pytest.raises(OneCacheError, match="Did you mean 'led'"):
        session["leds"]
