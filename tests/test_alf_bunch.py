"""The attributes of one object: by key and by dot, their rows, their data frame."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from one_cache.alf import AlfBunch, check_dimensions, dataframe, ts2vec
from one_cache.errors import ALFWarning, ContentError, InvalidArgument

SYNC = np.array([[0, 10.0], [4, 12.0]])


def test_attributes_are_read_set_and_deleted_by_dot_and_by_key():
    bunch = AlfBunch(times=np.arange(3))
    bunch.amps = np.ones(3)
    bunch["times_bpod"] = np.zeros(3)
    assert bunch.amps is bunch["amps"]
    assert {"amps", "times_bpod"} <= set(dir(bunch))
    del bunch.amps
    assert list(bunch) == ["times", "times_bpod"]
    with pytest.raises(AttributeError):
        del bunch.amps


def test_a_missing_attribute_says_what_is_near_or_what_there_is():
    bunch = AlfBunch(times=1, clusters=2)
    with pytest.raises(AttributeError, match=r"no attribute 'cluster'\. Did you mean 'clusters'"):
        _ = bunch.cluster
    with pytest.raises(AttributeError, match=r"no attribute 'xyz'\. There are: times, clusters"):
        _ = bunch.xyz
    assert not hasattr(bunch, "amps")
    assert getattr(bunch, "amps", None) is None


def test_a_name_of_the_class_is_not_hidden_by_an_attribute():
    bunch = AlfBunch(copy=1, values=2)
    assert bunch.copy() == bunch
    with pytest.raises(AttributeError, match=r"bunch\['items'\]"):
        bunch.items = 3


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_bunch_pickles_and_copies(protocol):
    bunch = AlfBunch(times=np.arange(3), nested=AlfBunch(x=[1]))
    again = pickle.loads(pickle.dumps(bunch, protocol))
    assert type(again) is AlfBunch
    assert type(again.nested) is AlfBunch
    np.testing.assert_array_equal(again.times, bunch.times)
    assert type(copy.copy(bunch)) is AlfBunch
    assert copy.deepcopy(bunch).times is not bunch.times


def test_a_copy_shares_its_arrays_and_a_deep_one_does_not():
    bunch = AlfBunch(times=np.arange(3))
    shallow, deep = bunch.copy(), bunch.copy(deep=True)
    shallow["amps"] = 1
    assert "amps" not in bunch
    assert shallow.times is bunch.times
    assert deep.times is not bunch.times
    assert type(deep) is type(shallow) is AlfBunch


def test_its_text_names_shapes_and_types(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(7))
    bunch = AlfBunch(
        times=np.arange(3.0),
        table=pd.DataFrame({"a": [1, 2]}),
        raw=np.load(tmp_path / "a.npy", mmap_mode="r"),
        video=Path("camera.raw.mp4"),
        metadata={"unit": "s"},
    )
    lines = repr(bunch).splitlines()
    assert lines[0] == "AlfBunch"
    assert [line.split() for line in lines[1:]] == [
        ["times", "(3,)", "float64"],
        ["table", "(2,", "1)", "DataFrame"],
        ["raw", "(7,)", "float64,", "mapped"],
        ["video", type(bunch.video).__name__],
        ["metadata", "(1)", "dict"],
    ]
    assert repr(AlfBunch()) == "AlfBunch (empty)"


def test_its_table_for_notebooks_escapes_names():
    text = AlfBunch({"<script>": np.zeros(2)})._repr_html_()
    assert "&lt;script&gt;" in text
    assert "<script>" not in text
    assert "float64" in text


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ({}, 0),
        ({"a": 1, "b": "text", "c": {}}, 0),
        ({"a": np.zeros(3), "b": np.zeros((3, 2))}, 0),
        ({"a": np.zeros(3), "b": np.zeros(1), "c": np.zeros((1, 9))}, 0),
        ({"a": np.zeros(3), "b": np.zeros(2)}, 1),
        ({"a": np.zeros(3), "b": np.zeros(0)}, 1),
        ({"a": np.zeros(0), "b": np.zeros(0)}, 0),
        ({"a": np.zeros(0), "b": np.zeros(1)}, 1),
        ({"a": np.zeros(3), "b": np.zeros(())}, 0),
        ({"a": np.zeros(3), "b": pd.DataFrame({"x": [1, 2]})}, 1),
        ({"a": np.zeros(3), "b": pd.Series([1, 2])}, 1),
        ({"a": np.zeros(5), "timestamps": SYNC}, 0),
        ({"a": np.zeros(5), "timestamps_bpod": SYNC}, 0),
        ({"a": np.zeros(5), "timestamps": np.zeros(5)}, 0),
        ({"a": np.zeros(5), "timestamps": np.zeros((5, 1))}, 0),
        ({"a": np.zeros(5), "timestamps": np.zeros(4)}, 1),
        ({"a": np.zeros(5), "timestamps": np.zeros((3, 2))}, 1),
        ({"a": np.zeros(5), "timestamps": np.zeros((5, 2))}, 1),
        ({"a": np.zeros(5), "times": SYNC}, 1),
        ({"a": np.zeros(5), "timestampsmetadata": {"unit": "s"}}, 0),
    ],
)
def test_the_rows_of_an_object_agree_or_not(attributes, status):
    assert check_dimensions(attributes) == status
    assert AlfBunch(attributes).check_dimensions == status


def test_appending_joins_row_by_row():
    first = AlfBunch(times=np.arange(2), names=["a", "b"], pos=np.zeros((2, 3)))
    table = pd.DataFrame({"x": [1, 2]})
    first["table"], first["unit"] = table, "s"
    second = {"times": np.arange(1), "names": ["c"], "pos": np.ones((1, 3)), "table": table[:1]}
    joined = first.append(second | {"unit": "s"})
    np.testing.assert_array_equal(joined.times, [0, 1, 0])
    assert joined.names == ["a", "b", "c"]
    assert joined.pos.shape == (3, 3)
    assert joined.table["x"].tolist() == [1, 2, 1]
    assert joined.table.index.tolist() == [0, 1, 2]
    assert first.names == ["a", "b"]
    assert len(first.times) == 2


def test_appending_in_place_changes_this_bunch():
    bunch, empty = AlfBunch(times=np.arange(2)), AlfBunch()
    assert bunch.append({"times": np.arange(3)}, inplace=True) is bunch
    assert len(bunch.times) == 5
    assert empty.append(bunch, inplace=True) is empty
    assert empty.times is bunch.times
    assert set(bunch.append({})) == {"times"}
    assert AlfBunch().append({}) == {}


def test_appending_other_attributes_is_refused():
    bunch = AlfBunch(times=np.arange(2))
    with pytest.raises(InvalidArgument, match="'amps'"):
        bunch.append({"times": np.arange(2), "amps": np.arange(2)})


def test_appending_says_what_it_cannot_join():
    with pytest.warns(ALFWarning, match="'unit' is a str: the first one is kept"):
        joined = AlfBunch(unit="s").append({"unit": "ms"})
    assert joined.unit == "s"
    with pytest.warns(ALFWarning, match=r"times \(4,\), amps \(3,\)"):
        AlfBunch(times=np.arange(2), amps=np.arange(2)).append(
            {"times": np.arange(2), "amps": np.arange(1)}
        )


def test_a_frame_has_a_column_for_each_column_of_an_array():
    df = dataframe(
        {
            "choice": np.array([1, -1, 1]),
            "intervals": np.arange(6).reshape(3, 2),
            "single": np.arange(3).reshape(3, 1),
            "wide": np.zeros((3, 12)),
            "names": ["a", "b", "c"],
            "side": pd.Series(list("lrl"), dtype="category", index=[5, 6, 7]),
            "all": np.array([0.5]),
        }
    )
    assert list(df.columns[:4]) == ["choice", "intervals_0", "intervals_1", "single"]
    assert [name for name in df if name.startswith("wide")] == [f"wide_{i}" for i in range(10)]
    assert df["side"].tolist() == ["l", "r", "l"]
    assert df["side"].dtype == "category"
    assert df["all"].tolist() == [0.5] * 3
    assert df.index.tolist() == [0, 1, 2]
    assert df["choice"].dtype.kind == "i"


def test_a_frame_has_the_times_of_all_samples():
    df = AlfBunch(position=np.zeros(5), timestamps=SYNC).to_df()
    assert df["timestamps"].tolist() == [10, 10.5, 11, 11.5, 12]
    assert list(AlfBunch(timestamps=SYNC).to_df()) == ["timestamps_0", "timestamps_1"]


def test_a_frame_inside_gives_its_columns():
    df = dataframe({"times": np.arange(2), "dlc": pd.DataFrame({"x": [1, 2], "y": [3, 4]})})
    assert list(df) == ["times", "dlc_x", "dlc_y"]


def test_what_is_no_column_is_left_out_with_a_warning():
    with pytest.warns(ALFWarning) as said:
        df = dataframe({"a": np.arange(2), "cube": np.zeros((2, 2, 2)), "metadata": {"u": "s"}})
    assert list(df) == ["a"]
    assert sorted(str(w.message) for w in said) == [
        "'cube' (ndarray (2, 2, 2)) is no column",
        "'metadata' (dict) is no column",
    ]


def test_attributes_of_other_lengths_make_no_frame():
    with pytest.raises(InvalidArgument, match=r"a \(3,\), b \(2,\)"):
        dataframe({"a": np.zeros(3), "b": np.zeros(2)})


def test_columns_keep_their_own_types():
    frame = pd.DataFrame({"n": [1, 2], "x": [0.5, np.nan], "ok": [True, False], "s": ["a", "b"]})
    bunch = AlfBunch.from_df(frame)
    assert [bunch[name].dtype.kind for name in bunch] == ["i", "f", "b", "O"]
    assert all(type(value) is np.ndarray for value in bunch.values())


def test_numbered_columns_are_joined_as_far_as_they_go():
    columns = ["at_1", "at_0", "at_2", "lone_0", "odd_1", "n_0", "n_1", "n", "_0", "_1", "gap_0"]
    frame = pd.DataFrame([range(len(columns))], columns=columns)
    bunch = AlfBunch.from_df(frame)
    assert bunch["at"].tolist() == [[1, 0, 2]]
    assert set(bunch) == set(columns) - {"at_0", "at_1", "at_2"} | {"at"}
    assert AlfBunch.from_df(pd.DataFrame([[1, 2]])).keys() == {"0", "1"}


@given(
    arrays=st.dictionaries(
        st.from_regex(r"[a-z]{1,5}(_times)?", fullmatch=True).filter(
            lambda name: not name.startswith("timestamps")
        ),
        st.one_of(
            npst.arrays(np.float64, (4,)),
            npst.arrays(np.int16, (4,)),
            npst.arrays(np.bool_, (4,)),
            npst.arrays(np.float32, st.tuples(st.just(4), st.integers(2, 10))),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_a_bunch_is_the_same_after_a_frame(arrays):
    again = AlfBunch.from_df(AlfBunch(arrays).to_df())
    assert set(again) == set(arrays)
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        np.testing.assert_array_equal(again[name], array)


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_times_that_are_a_vector_stay_as_they_are(shape):
    times = np.linspace(0, 1, 6).reshape(shape)
    np.testing.assert_array_equal(ts2vec(times, 6), times.reshape(-1))


def test_times_are_linear_between_sync_points():
    sync = [[0, 0.0], [2, 1.0], [10, 2.0]]
    np.testing.assert_allclose(ts2vec(np.array(sync), 5), [0, 0.5, 1, 1.125, 1.25])


def test_samples_outside_the_sync_points_are_mentioned():
    with pytest.warns(ALFWarning, match="samples 1 to 3 of 6"):
        times = ts2vec(np.array([[1, 0.0], [3, 1.0]]), 6)
    assert times.tolist() == [0, 0, 0.5, 1, 1, 1]


@pytest.mark.parametrize("shape", [(2, 3), (2, 2, 2), (), (3, 0)])
def test_times_of_another_shape_are_refused(shape):
    with pytest.raises(ContentError, match="shape"):
        ts2vec(np.zeros(shape), 3)


@pytest.mark.parametrize("sync", [[[3, 0], [0, 1]], [[0, 0], [0, 1]], [[0, 0], [np.nan, 1]]])
def test_sync_points_that_do_not_increase_are_refused(sync):
    with pytest.raises(ContentError, match="do not increase"):
        ts2vec(np.array(sync, dtype=float), 3)
