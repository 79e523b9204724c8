"""One file by its extension: what comes out, and what is refused."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from one_cache.alf import decoders, load_file, save_file
from one_cache.alf.files import flat
from one_cache.errors import ContentError, InvalidArgument

FRAME = pd.DataFrame({"choice": [1, -1, 1], "contrast": [0.5, np.nan, 1.0], "side": list("lrl")})


class Payload:
    """What a hostile file could hold: reading it runs a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    "shape", [(5,), (5, 1), (5, 2), (1, 1), (1,), (), (0,), (0, 1), (2, 3, 4)]
)
@pytest.mark.parametrize("mmap", [False, True, "r", "c"])
def test_an_array_is_read_with_a_single_column_as_a_vector(tmp_path, shape, mmap):
    array = np.random.default_rng(0).random(shape)
    np.save(tmp_path / "a.b.npy", array)
    loaded = load_file(tmp_path / "a.b.npy", mmap=mmap)
    np.testing.assert_array_equal(loaded, flat(array))
    assert loaded.shape == ((5,) if shape == (5, 1) else flat(array).shape)
    assert loaded.dtype == array.dtype


def test_a_mapped_array_is_not_read(tmp_path):
    path = tmp_path / "ephys.raw.npy"
    rows = 2**33  # 64 GB, more than can be read; the file has a hole in its place
    with open(path, "wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (rows, 1)}
        np.lib.format.write_array_header_2_0(file, header)
        try:
            file.truncate(file.tell() + rows * 8)
        except OSError:
            pytest.skip("this file system has no files with holes")
    array = load_file(path, mmap=True)
    assert isinstance(array, np.memmap)
    assert array.shape == (rows,)
    assert array[rows - 1] == 0


def test_a_map_is_read_only_or_copies_on_write(tmp_path):
    path = tmp_path / "a.b.npy"
    np.save(path, np.zeros(3))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="read-only"):
        load_file(path, mmap=True)[0] = 1
    copy = load_file(path, mmap="c")
    copy[0] = 1
    copy.flush()
    assert copy[0] == 1
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", ["r+", "w+", "w", "", "rc"])
def test_a_map_that_could_write_is_refused(tmp_path, mode):
    np.save(tmp_path / "a.b.npy", np.zeros(3))
    with pytest.raises(InvalidArgument, match="'r' or 'c'"):
        load_file(tmp_path / "a.b.npy", mmap=mode)


def test_python_objects_are_read_only_when_asked(tmp_path):
    path = tmp_path / "a.b.npy"
    np.save(path, np.array([{"x": 1}, None], dtype=object), allow_pickle=True)
    with pytest.raises(ContentError, match="allow_pickle=True"):
        load_file(path)
    assert load_file(path, allow_pickle=True)[0] == {"x": 1}
    with pytest.raises(ContentError, match="cannot be mapped"):
        load_file(path, allow_pickle=True, mmap=True)


def test_python_objects_in_a_field_of_a_record_are_refused(tmp_path):
    record = np.zeros(2, dtype=[("time", "f8"), ("O", "i4"), ("note", "O")])
    np.save(tmp_path / "a.b.npy", record, allow_pickle=True)
    np.save(tmp_path / "a.c.npy", record[["time", "O"]])
    with pytest.raises(ContentError, match="pickle"):
        load_file(tmp_path / "a.b.npy")
    assert load_file(tmp_path / "a.c.npy").dtype.names == ("time", "O")


@pytest.mark.parametrize("how", ["array", "bare", "archive"])
def test_a_hostile_pickle_does_not_run(tmp_path, how):
    mark = tmp_path / "ran"
    path = tmp_path / ("a.b.npz" if how == "archive" else "a.b.npy")
    hostile = np.array([Payload(mark)], dtype=object)
    if how == "bare":
        path.write_bytes(pickle.dumps(Payload(mark)))
    elif how == "array":
        np.save(path, hostile, allow_pickle=True)
    else:
        np.savez(path, x=hostile)
    with pytest.raises(ContentError, match="can run any code"):
        load_file(path)
    assert not mark.exists()


def test_a_bare_pickle_is_read_when_asked(tmp_path):
    (tmp_path / "a.b.npy").write_bytes(pickle.dumps({"x": 1}))
    assert load_file(tmp_path / "a.b.npy", allow_pickle=True) == {"x": 1}


def test_an_archive_is_read_at_once(tmp_path):
    path = tmp_path / "a.b.npz"
    np.savez(path, times=np.arange(3), amps=np.zeros((3, 1)))
    content = load_file(path)
    path.unlink()
    assert set(content) == {"times", "amps"}
    assert content["amps"].shape == (3, 1)


def test_an_archive_of_one_unnamed_array_is_that_array(tmp_path):
    np.savez_compressed(tmp_path / "a.b.npz", np.arange(3))
    np.testing.assert_array_equal(load_file(tmp_path / "a.b.npz"), [0, 1, 2])


@pytest.mark.parametrize(
    ("extension", "delimiter"), [("csv", ","), ("ssv", " "), ("tsv", "\t"), ("htsv", "\t")]
)
def test_a_text_table_is_a_frame_and_a_single_column_a_series(tmp_path, extension, delimiter):
    path = tmp_path / f"a.b.{extension}"
    FRAME.to_csv(path, sep=delimiter, index=False)
    pd.testing.assert_frame_equal(load_file(path), FRAME)
    FRAME[["side"]].to_csv(path, sep=delimiter, index=False)
    pd.testing.assert_series_equal(load_file(path), FRAME["side"])


@pytest.mark.parametrize("extension", ["pqt", "parquet"])
def test_a_parquet_file_is_a_frame_with_its_index(tmp_path, extension):
    frame = FRAME.set_index("side")
    frame.to_parquet(tmp_path / f"a.b.{extension}")
    pd.testing.assert_frame_equal(load_file(tmp_path / f"a.b.{extension}"), frame)


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path):
    (tmp_path / "subject=KS014").mkdir()
    path = tmp_path / "subject=KS014" / "a.b.pqt"
    FRAME.to_parquet(path)
    assert list(load_file(path).columns) == list(FRAME.columns)


def test_text_formats_give_what_they_hold(tmp_path):
    value = {"a": [1, 2.5, None], "ß": "µ"}
    (tmp_path / "a.b.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(value).encode())
    (tmp_path / "a.c.jsonable").write_text('{"x": 1}\n[2]\n\n"three"\n')
    assert load_file(tmp_path / "a.b.json") == value
    assert load_file(str(tmp_path / "a.c.jsonable")) == [{"x": 1}, [2], "three"]


@pytest.mark.parametrize("extension", ["yaml", "yml"])
def test_yaml_is_read_without_running_what_it_names(tmp_path, extension):
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    path = tmp_path / f"a.b.{extension}"
    path.write_text("probe: [0, 1]\n")
    assert load_file(path) == {"probe": [0, 1]}
    path.write_text("!!python/object/apply:os.getcwd []")
    with pytest.raises(ContentError):
        load_file(path)


def test_a_format_whose_package_is_missing_says_how_to_get_it(tmp_path):
    (tmp_path / "a.b.yaml").write_text("x: 1")
    (tmp_path / "a.b.sparse_npz").write_bytes(b"x")
    code = """
import sys, warnings
sys.modules.update(yaml=None, sparse=None)
from one_cache.alf import load_file
try:
    load_file("a.b.yaml")
except ValueError as error:
    print(type(error).__name__, error)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    print(load_file("a.b.sparse_npz"))
print(said[0].category.__name__, said[0].message, said[0].filename)
"""
    lines = _run(code, tmp_path).splitlines()
    assert lines[0].startswith("ContentError a.b.yaml")
    assert "pip install one_cache[yaml]" in lines[0]
    assert lines[1] == "a.b.sparse_npz"
    assert lines[2].startswith("CacheWarning")
    assert "pip install sparse" in lines[2]
    assert lines[2].endswith("<string>")


@pytest.mark.parametrize("name", ["camera.raw.mp4", "a.b.bin", "a.b.meta", "a.b.txt", "README"])
def test_any_other_file_is_given_as_its_path(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"")
    assert load_file(path) == path


FORMATS = ["npy", "npz", "csv", "ssv", "tsv", "htsv", "pqt", "parquet", "json", "jsonable", "yaml"]


@pytest.mark.parametrize("extension", FORMATS)
def test_an_empty_file_is_an_error_that_names_it(tmp_path, extension):
    path = tmp_path / f"a.b.{extension}"
    path.touch()
    with pytest.raises(ContentError) as caught:
        load_file(path)
    assert str(path) in str(caught.value)
    assert "0 bytes" in str(caught.value)
    assert "load it again" in str(caught.value)


@pytest.mark.parametrize("extension", ["npy", "npz", "pqt", "json", "jsonable"])
@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_a_truncated_file_is_an_error(tmp_path, extension, keep):
    path = tmp_path / f"a.b.{extension}"
    save_file(path, _sample(extension))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(ContentError) as caught:
        load_file(path)
    assert f"({path.stat().st_size} bytes)" in str(caught.value)
    if extension == "npy":
        with pytest.raises(ContentError):
            load_file(path, mmap=True)


@pytest.mark.parametrize("extension", ["npy", "npz", "pqt", "parquet", "json", "jsonable"])
def test_a_web_page_in_the_place_of_a_file_is_an_error(tmp_path, extension):
    path = tmp_path / f"a.b.{extension}"
    path.write_text("<html><body>404 Not found</body></html>\n")
    for options in ({}, {"mmap": True}, {"allow_pickle": True}):
        with pytest.raises(ContentError, match="not (readable|JSON)|is not JSON"):
            load_file(path, **options)


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "a.b.jsonable"
    path.write_text('{"x": 1}\n{"x": \n')
    with pytest.raises(ContentError, match="line 2"):
        load_file(path)


@pytest.mark.parametrize("extension", ["npy", "npz", "pqt", "csv", "json", "jsonable", "yaml"])
@given(data=st.data())
@settings(
    max_examples=int(os.environ.get("ONE_CACHE_FUZZ", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_damage_gives_content_or_a_content_error(tmp_path, extension, data):
    if extension == "yaml":
        pytest.importorskip("yaml", reason="PyYAML is not installed")
    path = tmp_path / f"a.b.{extension}"
    whole = _bytes(path, extension)
    at = data.draw(st.integers(0, len(whole) - 1))
    damage = data.draw(st.binary(max_size=4))
    cut = data.draw(st.sampled_from([None, at, at + 4, at + len(damage)]))
    path.write_bytes(whole[:at] + damage + (whole[cut:] if cut is not None else b""))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(ContentError):
            load_file(path)
        with contextlib.suppress(ContentError):
            load_file(path, mmap=True)


def test_a_missing_file_and_a_folder_say_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_file(tmp_path / "a.b.npy")
    (tmp_path / "a.c.json").mkdir()
    with pytest.raises((IsADirectoryError, PermissionError)):
        load_file(tmp_path / "a.c.json")


def test_an_array_costs_neither_pandas_nor_pyarrow(tmp_path):
    np.save(tmp_path / "a.b.npy", np.arange(3))
    np.save(tmp_path / "a.c.npy", np.arange(4))
    (tmp_path / "a.b.metadata.json").write_text('{"unit": "s"}')
    code = """
import sys
import one_cache
assert "numpy" not in sys.modules
from one_cache.alf import load_file, load_object
load_file("a.b.npy"), load_file("a.b.metadata.json")
repr(load_object(["a.b.npy"]))
print([name for name in ("pandas", "pyarrow", "yaml", "duckdb") if name in sys.modules])
"""
    assert _run(code, tmp_path).strip() == "[]"


@pytest.mark.parametrize(
    "extension",
    ["npy", "npz", "csv", "ssv", "tsv", "htsv", "pqt", "parquet", "json", "jsonable"],
)
def test_what_is_saved_is_what_is_loaded(tmp_path, extension):
    path = tmp_path / f"a.b.{extension}"
    save_file(path, _sample(extension))
    _assert_same(load_file(path), _sample(extension))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("extension", "data"),
    [
        ("npy", np.array([{}], dtype=object)),
        ("json", {1j}),
        ("csv", [1, 2]),
        ("pqt", np.arange(3)),
        ("jsonable", [object()]),
        ("mp4", b""),
    ],
)
def test_what_cannot_be_saved_leaves_the_old_file(tmp_path, extension, data):
    path = tmp_path / f"a.b.{extension}"
    path.write_text("old")
    with pytest.raises(InvalidArgument, match=extension):
        save_file(path, data)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_decoders_are_named_with_their_versions():
    found = decoders()
    assert found["numpy"] == np.__version__
    assert found["pandas"] == pd.__version__
    found.clear()
    assert decoders()


def _sample(extension):
    if extension in ("json", "jsonable"):
        return [{"x": 1}, {"y": [1, 2, 3]}]
    if extension == "npy":
        return np.arange(20.0)
    if extension == "npz":
        return {"times": np.arange(20.0), "amps": np.zeros(20)}
    return FRAME


def _bytes(path, extension):
    if extension == "yaml":
        return b"probe: [0, 1]\nname: {a: 'b', c: |\n  text}\n"
    save_file(path, _sample(extension))
    return path.read_bytes()


def _assert_same(found, expected):
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected)
    else:
        np.testing.assert_equal(found, expected)


def _run(code, folder):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
