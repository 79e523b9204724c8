"""The same files through ONE-api and through ours.

The differences that are meant are tested under their own names at the end.
"""

from __future__ import annotations

import json
import logging
import os
import warnings

import numpy as np
import pandas as pd
import pytest

from one_cache import alf
from one_cache.errors import ALFWarning, ContentError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    theirs = pytest.importorskip("one.alf.io", reason="ONE-api is not installed")

ROUNDS = int(os.environ.get("ONE_CACHE_ROUNDS", "60"))
SYNC = np.array([[0, 10.0], [19, 12.0]])


def ask_theirs(function, *args, **kwargs):
    """Call ONE-api, whose own deprecation warnings are not ours to fix."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


def assert_same(ours, original):
    if isinstance(original, np.lib.npyio.NpzFile):
        with original:
            assert_same(ours, {name: original[name] for name in original.files})
    elif isinstance(original, (pd.DataFrame, pd.Series)):
        check = "frame" if isinstance(original, pd.DataFrame) else "series"
        getattr(pd.testing, f"assert_{check}_equal")(ours, original)
    elif isinstance(original, np.ndarray):
        assert ours.shape == original.shape
        assert_same_values(ours, original)
    elif isinstance(original, dict):
        assert set(ours) == set(original)
        for name, value in original.items():
            assert_same(ours[name], value)
    elif isinstance(original, os.PathLike):
        assert os.fspath(ours) == os.fspath(original)
        assert type(ours).__name__.endswith("ALFPath")
    else:
        assert ours == original
        assert type(ours) is type(original)


def assert_same_values(ours, original):
    if original.dtype == object:
        # ONE-api gives a table of several types as Python objects: the values are the same
        assert all(
            a == b or (a != a and b != b)
            for a, b in zip(ours.ravel().tolist(), original.ravel().tolist(), strict=True)
        )
    else:
        np.testing.assert_array_equal(ours, original)


FRAME = pd.DataFrame(
    {
        "n": [1, 2, 3],
        "x": [0.5, np.nan, 2],
        "ok": [True, False, True],
        "name": ["a b", "", "ü"],
        "when": ["2024-01-01", "2024-01-02", "2024-01-03"],
    }
)


def npy(array):
    return lambda path: np.save(path, array)


def text(content):
    return lambda path: path.write_text(content, encoding="utf-8")


def table(frame, **options):
    return lambda path: frame.to_csv(path, index=False, **options)


CONTENTS = [
    ("npy", npy(np.arange(5))),
    ("npy", npy(np.arange(5.0).reshape(5, 1))),
    ("npy", npy(np.zeros((1, 1)))),
    ("npy", npy(np.zeros((1, 5), order="F"))),
    ("npy", npy(np.float32(3))),
    ("npy", npy(np.zeros((0, 1)))),
    ("npy", npy(np.zeros((2, 3, 1), dtype=">i2"))),
    ("npy", npy(np.array(["a", "bc"]))),
    ("npy", npy(np.array(["2024-01-01"], dtype="M8[D]"))),
    ("npy", npy(np.zeros(3, dtype=[("a", "f8"), ("b", "i1", (2,))]))),
    ("npz", lambda path: np.savez(path, x=np.arange(3), y=np.zeros((3, 1)))),
    ("npz", lambda path: np.savez_compressed(path, np.zeros((3, 1)))),
    ("npz", lambda path: np.savez(path, np.zeros(3), np.ones(3))),
    ("npz", lambda path: np.savez(path, arr_1=np.ones(3))),
    ("csv", table(FRAME)),
    ("csv", table(FRAME[["x"]])),
    ("csv", table(FRAME[["x"]][:1])),
    ("csv", table(FRAME[:0])),
    ("csv", text("a,b\n")),
    ("csv", text("a\n")),
    ("csv", text('a,b\n"x, y",2\n\n3,4')),
    ("ssv", table(FRAME, sep=" ")),
    ("tsv", table(FRAME, sep="\t")),
    ("tsv", table(FRAME[["name"]], sep="\t")),
    ("htsv", text("cluster_id\tgroup\n0\tgood\n1\tmua\n")),
    ("htsv", text("cluster_id\n0\n1\n")),
    ("json", text('{"a": [1, 2.5, null, true], "b": {"ü": NaN}}'.replace("NaN", "1e400"))),
    ("json", text("[1, 2]")),
    ("json", text("3")),
    ("jsonable", text('{"x": 1}\n[2, 3]\n')),
    ("yaml", text("a: [1, 2]\nb: {c: 2024-01-01}\n")),
    ("yml", text("- a\n- 1.5\n")),
    ("pqt", FRAME.to_parquet),
    ("pqt", FRAME.set_index("n").to_parquet),
    ("pqt", FRAME.set_index(["n", "name"]).to_parquet),
    ("pqt", FRAME[["x"]].to_parquet),
    ("pqt", FRAME[:0].to_parquet),
    ("pqt", FRAME.assign(name=FRAME["name"].astype("category")).to_parquet),
    ("pqt", FRAME.assign(when=pd.to_datetime(FRAME["when"], utc=True)).to_parquet),
    ("pqt", FRAME.assign(n=FRAME["n"].astype("Int64")).to_parquet),
    ("txt", text("some words")),
    ("mp4", text("film")),
    ("bin", text("1234")),
    ("NPY", text("not read by anyone")),
]


@pytest.mark.parametrize(("extension", "write"), CONTENTS)
def test_a_file_gives_the_same_content(tmp_path, extension, write):
    path = tmp_path / f"_ibl_object.attribute.{extension}"
    if extension in ("yaml", "yml"):
        pytest.importorskip("yaml", reason="PyYAML is not installed")
    write(path)
    assert_same(alf.load_file(path), ask_theirs(theirs.load_file_content, path))


def write_object(folder, random, n_files):
    """Write an object as labs have them, of `n_files` files, with the names drawn at random."""
    names = ["times", "amps", "position", "stimOn_times", "intervals", "table", "timestamps"]
    rows = 20
    for attribute in random.choice(names, n_files, replace=False):
        timescale = random.choice(["", "", "_bpod"])
        extra = random.choice(["", "", ".raw", ".raw.v2"])
        path = folder / f"_ibl_wheel.{attribute}{timescale}{extra}.npy"
        if attribute == "table":
            columns = ["choice", "rewardVolume", "intervals_0", "intervals_1", "included"]
            frame = pd.DataFrame(random.random((rows, 5)), columns=columns)
            frame["included"] = frame["included"] > random.choice([-1, 0.5])
            frame.to_parquet(path.with_suffix(".pqt"))
        elif attribute == "timestamps":
            np.save(path, SYNC if random.random() < 0.5 else np.arange(rows))
        elif attribute == "intervals":
            np.save(path, random.random((rows, 2)))
            if random.random() < 0.5:
                note = {"columns": ["start", "stop"]} | random.choice([{}, {"unit": "s"}])
                path.with_suffix(".metadata.json").write_text(json.dumps(note))
        elif random.random() < 0.2:
            pd.DataFrame({"x": random.random(rows)}).to_csv(path.with_suffix(".csv"), index=False)
        else:
            np.save(path, random.random((rows, 1)) if random.random() < 0.3 else np.arange(rows))


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_an_object_gives_the_same_attributes(tmp_path, seed):
    random = np.random.default_rng(seed)
    write_object(tmp_path, random, random.integers(1, 7))
    files = sorted(tmp_path.iterdir())
    with warnings.catch_warnings():
        # a table and a file can both have the intervals; ONE-api says nothing
        warnings.filterwarnings("ignore", "attribute 'intervals", ALFWarning)
        ours = alf.load_object(files)
    original = ask_theirs(theirs.load_object, files)
    assert_same(ours, original)
    data = [file for file in files if "metadata" not in file.name]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "attribute 'intervals", ALFWarning)
        assert_same(alf.load_object(data, look_beside=True), original)
    assert ours.check_dimensions == original.check_dimensions


def test_short_keys_are_the_same(tmp_path):
    for name in ("a.b.x", "a.c_bpod.y.z", "a.d_times_bpod.w"):
        np.save(tmp_path / f"{name}.npy", np.arange(3))
    files = sorted(tmp_path.iterdir())
    ours = alf.load_object(files, short_keys=True)
    assert_same(ours, theirs.load_object(files, short_keys=True))


SHAPES = [(20,), (1,), (20, 1), (1, 20), (20, 2), (2, 2), (19,), (0,), (20, 2, 2), (3, 2)]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_dimensions_agree_or_not_alike(seed):
    random = np.random.default_rng(seed)
    names = ["times", "amps", "timestamps", "timestamps_bpod", "table"]
    bunch = {
        str(name): np.zeros(SHAPES[random.integers(len(SHAPES))])
        for name in random.choice(names, random.integers(0, 5), replace=False)
    }
    if "table" in bunch:
        bunch["table"] = pd.DataFrame({"x": np.zeros(random.choice([20, 19]))})
    bunch["note"] = {"unit": "s"}
    assert alf.check_dimensions(bunch) == theirs.check_dimensions(bunch)


@pytest.mark.parametrize(
    "arrays",
    [
        {"a": np.arange(3), "b": np.ones(3)},
        {"a": np.arange(3), "b": np.ones((3, 2)), "c": np.ones((3, 1))},
        {"a": np.arange(3), "wide": np.arange(36).reshape(3, 12)},
        {"wide": np.arange(36).reshape(3, 12)},
        {"a": np.array(["x", "y", "z"])},
    ],
)
def test_a_frame_is_the_same(arrays):
    ours, original = alf.dataframe(arrays), theirs.dataframe(arrays)
    pd.testing.assert_frame_equal(ours, original)
    if "wide" not in arrays:
        again = theirs.AlfBunch.from_df(original)
        assert_same(alf.AlfBunch.from_df(ours), again)


@pytest.mark.parametrize("ts", [np.arange(20.0), np.arange(20.0)[:, None], SYNC])
def test_times_of_samples_are_the_same(tmp_path, ts):
    np.testing.assert_array_equal(alf.ts2vec(ts, 20), theirs.ts2vec(ts, 20))
    np.save(tmp_path / "_ibl_wheel.timestamps.npy", ts)
    np.save(tmp_path / "_ibl_wheel.position.npy", np.random.default_rng(0).random((20, 1)))
    np.save(tmp_path / "_ibl_wheelMoves.times.npy", np.arange(3))
    path = tmp_path / "_ibl_wheel.position.npy"
    for ours, original in zip(alf.read_ts(path), theirs.read_ts(path), strict=True):
        np.testing.assert_array_equal(ours, original)


def test_appending_gives_the_same():
    def bunches(kind):
        first = {"t": np.arange(2), "p": np.zeros((2, 2)), "n": ["a", "b"]}
        second = {"t": np.arange(3), "p": np.ones((3, 2)), "n": ["c", "d", "e"]}
        return kind(first), kind(second)

    first, second = bunches(alf.AlfBunch)
    their_first, their_second = bunches(theirs.AlfBunch)
    assert_same(first.append(second), their_first.append(their_second))
    assert_same(first, their_first)
    first.append(second, inplace=True)
    their_first.append(their_second, inplace=True)
    assert_same(first, their_first)


def test_our_files_are_read_by_the_original(tmp_path):
    for extension, data in [
        ("npy", np.arange(3.0)),
        ("npz", {"x": np.arange(3)}),
        ("csv", FRAME),
        ("tsv", FRAME),
        ("pqt", FRAME),
        ("json", {"a": 1}),
        ("jsonable", [{"a": 1}, {"b": 2}]),
    ]:
        path = tmp_path / f"a.b.{extension}"
        alf.save_file(path, data)
        assert_same(alf.load_file(path), ask_theirs(theirs.load_file_content, path))


# ---- differences that are meant


def test_unlike_the_original_an_empty_or_broken_file_is_an_error(tmp_path):
    (tmp_path / "a.b.npy").touch()
    (tmp_path / "a.b.json").write_text("{")
    logging.disable(logging.CRITICAL)
    try:
        assert theirs.load_file_content(tmp_path / "a.b.npy") is None
        assert theirs.load_file_content(tmp_path / "a.b.json") is None
    finally:
        logging.disable(logging.NOTSET)
    for name in ("a.b.npy", "a.b.json"):
        with pytest.raises(ContentError):
            alf.load_file(tmp_path / name)


def test_unlike_the_original_python_objects_need_a_word(tmp_path):
    np.save(tmp_path / "a.b.npy", np.array([{"x": 1}]), allow_pickle=True)
    with pytest.raises(ContentError):
        alf.load_file(tmp_path / "a.b.npy")
    original = theirs.load_file_content(tmp_path / "a.b.npy")
    assert_same(alf.load_file(tmp_path / "a.b.npy", allow_pickle=True), original)


def test_unlike_the_original_columns_keep_their_types():
    frame = pd.DataFrame({"n": [1, 2], "x": [0.5, 1.5], "ok": [True, False]})
    assert {v.dtype.kind for v in theirs.AlfBunch.from_df(frame).values()} == {"O"}
    assert [v.dtype.kind for v in alf.AlfBunch.from_df(frame).values()] == ["i", "f", "b"]


def test_unlike_the_original_only_columns_of_one_name_are_joined():
    frame = pd.DataFrame(
        {"a_0": [1, 2], "b_1": [3, 4], "c_0": [5, 6], "c_1": [7, 8], "c_2": [9, 9]}
    )
    assert "b_1" not in theirs.AlfBunch.from_df(frame)
    bunch = alf.AlfBunch.from_df(frame)
    assert list(bunch) == ["a_0", "b_1", "c"]
    assert bunch.c.shape == (2, 3)


def test_unlike_the_original_metadata_of_a_longer_name_are_not_taken(tmp_path):
    np.save(tmp_path / "a.ccf.npy", np.zeros((3, 2)))
    np.save(tmp_path / "a.ccfLocation.npy", np.zeros((3, 2)))
    (tmp_path / "a.ccfLocation.metadata.json").write_text('{"columns": ["x", "y"]}')
    files = sorted(tmp_path.iterdir())
    assert set(theirs.load_object(files)) == {"x", "y"}
    assert set(alf.load_object(files)) == {"ccf", "x", "y"}
