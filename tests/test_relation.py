"""Relations: the algebra, its values on the way in and out, and tables that grow."""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import multiprocessing
import os
import pickle
import uuid
import warnings
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from one_cache.errors import (
    CacheWarning,
    DuplicateKey,
    InvalidArgument,
    NotOneRow,
    StoreError,
    TableCorrupt,
    TableReadOnly,
)
from one_cache.relation import (
    AndList,
    Column,
    Heading,
    Not,
    ParquetFile,
    Relation,
    Table,
    Top,
    U,
    View,
    know,
)
from one_cache.tables.engine import Engine
from one_cache.trials import trial_windows

DATA = Path(__file__).parent / "data" / "trials"
EXAMPLES = int(os.environ.get("ONE_CACHE_ROUNDS", "40"))
SESSION = ["subject", "session_datetime"]


@pytest.fixture(scope="module")
def trial():
    frame = pd.read_csv(DATA / "trials.csv", parse_dates=["session_datetime"])
    names = [*SESSION, "trial_id", "trial_type", "trial_start_time", "trial_stop_time"]
    return Relation(frame[names], [*SESSION, "trial_id"])


@pytest.fixture(scope="module")
def trial_event():
    frame = pd.read_csv(DATA / "events.csv", parse_dates=["session_datetime"])
    names = [*SESSION, "trial_id", "event_type", "event_start_time"]
    return Relation(frame[names], names)


@pytest.fixture
def rows():
    return Relation(
        [
            {"n": 1, "kind": "a", "x": 0.5},
            {"n": 2, "kind": "b", "x": None},
            {"n": 3, "kind": None, "x": 1.5},
        ],
        ["n"],
    )


def numbers(relation):
    return [row["n"] for row in relation]


# the reference page ----------------------------------------------------------------------------


def test_the_counts_of_the_reference_page(trial, trial_event):
    assert len(trial & "subject='subject1'") == 50
    assert len(trial_event & "trial_id<5" & "subject='subject1'") == 7
    ctrl = trial & {"subject": "subject1"} & 'trial_type = "ctrl"'
    assert len(ctrl) == 23
    assert [row["trial_id"] for row in ctrl.head(5)] == [2, 3, 4, 7, 8]


def test_the_conditions_of_the_reference_page(trial):
    know(["recording_id", "extraction_method", "alignment_name"])
    session = (trial & {"trial_id": 1}).fetch1("subject", "session_datetime")
    methods = ("caiman_dff", "caiman_deconvolution")
    activity = Relation(
        [
            dict(
                zip(
                    [*SESSION, "recording_id", "extraction_method"],
                    (*session, 0, method),
                    strict=True,
                )
            )
            for method in methods
        ]
    )
    activity_key = (activity & {"extraction_method": "caiman_dff"}).fetch1("KEY")
    assert len(trial & activity_key) == 50
    condition = Relation(
        [],
        heading=Heading(
            (
                *activity.heading.columns,
                Column("alignment_name"),
                Column("trial_condition"),
                Column("condition_description", default=""),
                Column("bin_size", "DOUBLE", default=0.04),
            ),
            (*activity.primary_key, "alignment_name", "trial_condition"),
        ),
    )
    key = {**activity_key, "alignment_name": "center_button", "trial_condition": "ctrl"}
    for _ in range(2):
        condition.insert1(key, skip_duplicates=True)
    assert condition.fetch("bin_size").tolist() == [0.04]
    sample = (condition * (trial & 'trial_type = "ctrl"') & key).proj()
    assert len(sample) == 23
    assert sample.primary_key == [*condition.primary_key, "trial_id"]
    part = Relation([], heading=sample.heading)
    for _ in range(2):
        part.insert(sample, skip_duplicates=True)
    assert len(part) == 23


def test_windows_are_found_from_relations(trial, trial_event):
    alignment = Relation(pd.read_csv(DATA / "alignments.csv"), ["alignment_name"])
    windows = trial_windows(
        trial & 'trial_type = "ctrl"',
        trial_event,
        alignment & {"alignment_name": "center_button"},
        strict=True,
    )
    expected = pd.read_parquet(DATA / "windows_datajoint.parquet")
    expected = expected[expected.alignment_name == "center_button"].event.to_numpy()
    np.testing.assert_array_equal(windows.event, expected)


# restrict --------------------------------------------------------------------------------------

cell = st.one_of(st.none(), st.sampled_from(["a", "b", "'", '"', "a b", "%", "\\", "`"]))


def holds(row, condition):
    """Evaluate a condition on one row in Python; None where SQL says NULL."""
    if isinstance(condition, Not):
        inner = holds(row, condition.condition)
        return None if inner is None else not inner
    if isinstance(condition, dict):
        tests = [
            row[name] is None
            if value is None
            else (None if row[name] is None else row[name] == value)
            for name, value in condition.items()
            if name in row
        ]
        return all_of(tests)
    inner = [holds(row, one) for one in condition]
    if isinstance(condition, AndList):
        return all_of(inner)
    return None if None in inner and True not in inner else any(inner)


def all_of(tests):
    return False if False in tests else (None if None in tests else True)


def mapping():
    return st.fixed_dictionaries(
        {}, optional={"n": st.integers(0, 4), "kind": cell, "elsewhere": st.just(1)}
    )


conditions = st.recursive(
    mapping(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(AndList),
        inner.map(Not),
    ),
    max_leaves=6,
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(kinds=st.lists(cell, min_size=1, max_size=5), condition=conditions)
def test_conditions_mean_what_they_say(kinds, condition):
    know(["elsewhere"])
    listed = [{"n": n, "kind": kind} for n, kind in enumerate(kinds)]
    relation = Relation(listed, heading=Heading((Column("n", "INTEGER"), Column("kind")), ("n",)))
    assert numbers(relation & condition) == [r["n"] for r in listed if holds(r, condition)]
    turned = [r["n"] for r in listed if holds(r, condition) is False]
    assert numbers(relation - condition) == turned


@settings(max_examples=EXAMPLES, deadline=None)
@given(texts=st.lists(st.text(max_size=12), min_size=1, max_size=4, unique=True), n=st.integers(0))
def test_no_value_of_a_mapping_can_become_sql(texts, n):
    texts = [text.replace("\0", "") for text in texts]
    relation = Relation([{"n": i, "text": text} for i, text in enumerate(texts)], ["n"])
    wanted = texts[n % len(texts)]
    for value in (wanted, f"{wanted}' OR '1'='1", f'{wanted}" OR 1=1 --', "x'; DROP TABLE r; --"):
        expected = [i for i, text in enumerate(texts) if text == value]
        assert numbers(relation & {"text": value}) == expected
        many = [{"text": value}] * 2 + [{"text": f"{value}{i}~"} for i in range(30)]
        found = numbers(relation & many)
        assert [i for i in found if texts[i] == value] == expected


@settings(max_examples=EXAMPLES, deadline=None)
@given(text=st.text(st.characters(exclude_characters="\\\0", codec="utf-8"), max_size=12))
def test_both_quote_styles_mean_the_same_text(text):
    relation = Relation([{"n": 1, "text": text}, {"n": 2, "text": text + "!"}], ["n"])
    single, double = text.replace("'", "''"), text.replace('"', '""')
    assert numbers(relation & f"text = '{single}'") == [1]
    assert numbers(relation & f'text = "{double}"') == [1]
    assert numbers(relation & f'`text` = "{double}" AND 1 = 1 -- a remark') == [1]


def test_escaped_quotes_are_read_as_in_mysql():
    relation = Relation(
        [{"n": 1, "text": "it's"}, {"n": 2, "text": 'a "b"'}, {"n": 3, "text": "\\"}]
    )
    assert numbers(relation & r"text = 'it\'s'") == [1]
    assert numbers(relation & r'text = "a \"b\""') == [2]
    assert numbers(relation & r"text = '\\'") == [3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no_such = 1", 'Referenced column "no_such"'),
        ("n = ", "cannot understand"),
        ("n = 1; DROP TABLE r", "no ';'"),
        ("n = 1) OR (1 = 1", "closed before it is opened"),
        ("(n = 1", "not closed"),
        ("kind = 'a", "a quote is not closed"),
        ("n = ?", "placeholders"),
        ("n = $1", "placeholders"),
    ],
)
def test_text_that_is_no_condition_is_refused_at_once(rows, text, message):
    with pytest.raises(InvalidArgument, match=message):
        rows & text  # noqa: B018


@pytest.mark.parametrize("condition", [None, 5, b"n = 1", Top])
def test_what_is_no_condition_is_refused(rows, condition):
    with pytest.raises(InvalidArgument, match="a condition is"):
        rows & condition  # noqa: B018


def test_truth_values_are_conditions(rows):
    assert len(rows & True) == len(rows - False) == len(rows & np.True_) == 3
    assert len(rows & False) == len(rows - True) == 0


def test_frames_and_records_are_lists_of_keys(rows):
    keys = pd.DataFrame({"n": [1, 3, 9]})
    for condition in (
        keys,
        keys.set_index("n"),
        keys.to_records(index=False),
        keys.to_dict("records"),
    ):
        assert numbers(rows & condition) == [1, 3]
        assert numbers(rows - condition) == [2]
    assert numbers(rows & ({"n": n} for n in (1, 2))) == [1, 2]


@pytest.mark.parametrize("size", [3, 40])
def test_a_list_of_keys_may_have_missing_values_and_different_names(rows, size):
    keys = [{"n": 90 + i, "kind": "z"} for i in range(size)]
    assert numbers(rows & [*keys, {"n": 3, "kind": None}, {"kind": "a"}]) == [1, 3]
    assert numbers(rows & [*keys, {"n": np.int64(2), "x": np.nan}]) == [2]


def test_a_name_that_no_table_has_draws_a_warning_where_it_is_written(rows):
    with pytest.warns(
        CacheWarning, match="no column|no table has a column 'kindd'.*'kind'"
    ) as seen:
        assert len(rows & {"kindd": "a"}) == 3
    assert seen[0].filename == __file__
    Relation([{"kindd": 1}])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(rows & {"kindd": "a"}) == 3


def test_values_are_compared_in_the_type_of_their_column():
    unit = uuid.uuid4()
    relation = Relation(
        pd.DataFrame(
            {
                "n": [1, 2],
                "id": [unit, uuid.uuid4()],
                "day": [dt.date(2021, 1, 1), dt.date(2021, 1, 2)],
                "moment": pd.to_datetime(["2021-01-01 00:00:01", "2021-01-02 12:00:00"]),
                "dec": [Decimal("1.2500"), Decimal("2.5000")],
                "single": np.array([1.649, 2], np.float32),
                "yes": [True, False],
                "kind": pd.Categorical(["a", "b"]),
            }
        ),
        ["n"],
    )
    for condition in (
        {"n": "1"}, {"n": 1.0}, {"n": np.uint8(1)}, {"n": True}, {"id": unit}, {"id": str(unit)},
        {"day": "2021-01-01"}, {"day": dt.date(2021, 1, 1)}, {"moment": "2021-01-01 00:00:01"},
        {"moment": pd.Timestamp("2021-01-01 00:00:01")}, {"dec": 1.25}, {"dec": "1.25"},
        {"dec": Decimal("1.25")}, {"single": 1.649}, {"yes": 1}, {"yes": np.True_}, {"kind": "a"},
    ):  # fmt: skip
        assert numbers(relation & condition) == [1], condition
        assert numbers(relation & [condition, *[{"n": 50 + i} for i in range(30)]]) == [1]
    for condition in (
        {"n": 1.5},
        {"kind": "c"},
        {"day": dt.datetime(2021, 1, 1, 5)},
        {"dec": 1.2501},
    ):
        assert numbers(relation & condition) == [], condition


@pytest.mark.parametrize(
    "condition", [{"n": "many"}, {"x": "half"}, {"n": [1, 2]}, {"n": np.array([1, 2])}]
)
def test_a_value_that_a_column_cannot_have_is_refused(rows, condition):
    with pytest.raises(InvalidArgument, match="its value cannot be"):
        rows & condition  # noqa: B018


def test_arrays_cannot_be_compared():
    relation = Relation([{"n": 1, "trace": np.zeros(3)}], ["n"])
    with pytest.raises(InvalidArgument, match="'trace' holds arrays"):
        relation & {"trace": 1}  # noqa: B018
    with pytest.raises(InvalidArgument, match="'trace' holds arrays"):
        relation & relation  # noqa: B018


def test_a_match_and_no_match_make_the_whole(trial, trial_event):
    left = trial_event & {"event_type": "left"}
    assert len(trial & left) + len(trial - left) == len(trial)
    assert {"trial_id": 3} in (trial & left)
    # what has no value matches nothing, and is not lost
    with_null = Relation([{"a": 1, "b": None}, {"a": 2, "b": "x"}], ["a"])
    other = Relation([{"b": None, "c": 1}, {"b": "x", "c": 2}], ["c"])
    assert [row["a"] for row in with_null & other] == [2]
    assert [row["a"] for row in with_null - other] == [1]


def test_without_a_common_column_it_is_all_or_nothing(trial):
    some = Relation([{"unrelated": 1}])
    assert len(trial & some) == 50
    assert len(trial - some) == 0
    assert len(trial & (some & False)) == 0
    assert len(trial - (some & False)) == 50


# join, project, aggregate ----------------------------------------------------------------------


def test_a_join_has_the_key_of_the_side_that_determines_the_other(trial, trial_event):
    kinds = Relation([{"trial_type": "ctrl", "colour": "blue"}], ["trial_type"])
    assert (trial * kinds).primary_key == (kinds * trial).primary_key == trial.primary_key
    assert len(trial * kinds) == 23
    assert (trial * trial_event).primary_key == trial_event.primary_key
    pairs = trial.proj(first="trial_id") * trial.proj(second="trial_id")
    assert pairs.primary_key == [*SESSION, "first", "second"]
    assert len(pairs) == 2500
    assert len(kinds * Relation([{"unrelated": 1}, {"unrelated": 2}])) == 2


def test_a_left_join_keeps_what_has_no_match(rows):
    more = Relation([{"n": 1, "note": "yes"}], ["n"])
    joined = rows.join(more, left=True)
    assert joined.fetch("note").tolist() == ["yes", None, None]
    with pytest.raises(InvalidArgument, match="whole key.*'m'"):
        rows.join(Relation([{"n": 1, "m": 2}]), left=True)
    with pytest.raises(InvalidArgument, match="with a relation"):
        rows * {"n": 1}


def test_projections_keep_the_key_and_rename_copy_and_compute(rows):
    assert rows.proj().heading.names == ("n",)
    assert rows.proj(..., "-x").heading.names == ("n", "kind")
    assert rows.proj("x", number="n").heading.names == ("number", "x")
    assert rows.proj("x", number="n").primary_key == ["number"]
    assert rows.proj(again="(n)").heading.names == ("n", "again")
    assert rows.proj(y="x * 2", word='"a"').to_dicts()[0] == {"n": 1, "y": 1.0, "word": "a"}
    assert numbers(rows.proj(y="x * 2") & "y > 1") == [3]
    assert numbers(rows.proj(y="n % 2") & {"y": 1}) == [1, 3]


@pytest.mark.parametrize(
    ("attrs", "named", "message"),
    [
        (["nn"], {}, "no column 'nn'"),
        (["-n"], {}, "in the primary key"),
        ([], {"y": "kindd"}, "no column 'kindd'.*'kind'"),
        ([], {"y": "x +"}, "cannot compute"),
        ([], {"y": "zz + 1"}, "zz"),
        (["x"], {"x": "n + 1"}, "'x' comes twice"),
        ([], {"y": 5}, "SQL text, got 5"),
        ([3], {}, "named by a text, got 3"),
    ],
)
def test_what_cannot_be_projected_is_refused(rows, attrs, named, message):
    with pytest.raises(InvalidArgument, match=message):
        rows.proj(*attrs, **named)


def test_aggregates_have_the_key_of_the_left_side(trial, trial_event):
    left = trial_event & {"event_type": "left"}
    counted = trial.aggr(left, "trial_type", n="count(*)", first="min(event_start_time)")
    assert counted.primary_key == trial.primary_key
    frame = pd.read_csv(DATA / "events.csv")
    expected = frame[frame.event_type == "left"].groupby("trial_id").event_start_time
    found = counted.to_pandas().reset_index().set_index("trial_id")
    assert found.n.to_dict() == expected.count().to_dict()
    assert found["first"].to_dict() == expected.min().to_dict()
    everything = trial.aggr(left, n="count(*)", keep_all_rows=True)
    assert (
        len(everything) == len(trial.aggr(left, n="COUNT( * )", exclude_nonmatching=False)) == 50
    )
    assert sum(everything.fetch("n")) == len(left)
    assert numbers(everything & "n > 1") == numbers(counted & "n > 1")


def test_an_aggregate_may_mention_the_left_side(trial, trial_event):
    delay = trial.aggr(trial_event, delay="min(event_start_time) - trial_start_time")
    assert (delay & {"trial_id": 1}).fetch1("delay") == pytest.approx(0.269 - 0.193)


def test_aggregates_need_the_key(trial, trial_event):
    with pytest.raises(InvalidArgument, match=r"lacks \['event_start_time', 'event_type'\]"):
        trial_event.aggr(trial, n="count(*)")


def test_all_values_narrowed_to_those_that_occur(trial):
    kinds = U("trial_type") & trial
    assert kinds.fetch("trial_type").tolist() == ["ctrl", "stim"]
    assert U("trial_type").aggr(trial, n="count(*)").fetch("n").tolist() == [23, 27]
    assert U().aggr(trial, n="count(*)").fetch1("n") == 50
    with pytest.raises(InvalidArgument, match="no column 'trial_typ'"):
        U("trial_typ") & trial  # noqa: B018
    assert len(trial & U("trial_type")) == 50


def test_sums_of_whole_numbers_are_whole_numbers(rows):
    total = U().aggr(rows, total="sum(n)").fetch1("total")
    assert total == 6
    assert isinstance(total, int)


def test_the_first_rows_stay_in_their_order(trial):
    last = trial & Top(3, "trial_start_time DESC")
    assert len(last) == 3
    assert last.fetch("trial_id").tolist() == [49, 48, 47]
    assert last.fetch("trial_id", order_by="trial_id").tolist() == [47, 48, 49]
    assert (trial & Top(2, offset=10)).fetch("trial_id").tolist() == [11, 12]
    assert len(trial & Top(None)) == 50
    assert len(trial & Top(3) & {"trial_id": 40}) == 0


# fetch -----------------------------------------------------------------------------------------


def test_rows_come_in_the_order_of_the_key():
    relation = Relation([{"b": b, "a": a} for b in (3, 1, 2) for a in ("y", "x")], ["a", "b"])
    assert [(row["a"], row["b"]) for row in relation] == [
        ("x", 1), ("x", 2), ("x", 3), ("y", 1), ("y", 2), ("y", 3)
    ]  # fmt: skip


def test_rows_are_fetched_in_every_form(rows):
    whole = rows.fetch()
    assert whole.dtype.names == ("n", "kind", "x")
    assert whole["n"].tolist() == [1, 2, 3]
    assert rows.fetch("n").dtype == np.int64
    np.testing.assert_array_equal(rows.fetch("x"), [0.5, np.nan, 1.5])
    kind, n = rows.fetch("kind", "n", order_by="n DESC", limit=2)
    assert kind.tolist() == [None, "b"]
    assert n.tolist() == [3, 2]
    keys, x = rows.fetch("KEY", "x", order_by="x DESC", limit=1, offset=1)
    assert keys == [{"n": 1}]
    assert x.tolist() == [0.5]
    assert rows.fetch("KEY") == rows.keys() == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert rows.fetch("n", "kind", as_dict=True)[0] == {"n": 1, "kind": "a"}
    assert rows.fetch(as_dict=True) == rows.to_dicts() == list(rows)
    assert rows.tail(2)[0]["n"] == 2
    keys, kind = rows.to_arrays("kind", include_key=True)
    assert keys[2] == {"n": 3}
    with pytest.raises(InvalidArgument, match="format must be"):
        rows.fetch(format="json")
    with pytest.raises(InvalidArgument, match="no column 'm'"):
        rows.fetch("m")


def test_an_order_names_several_columns_in_one_text():
    rows = Relation([{"n": n, "m": m} for n, m in enumerate([2, None, 1, 2])], ["n"])
    assert rows.fetch("n", order_by="m DESC, n desc").tolist() == [3, 0, 2, 1]
    assert rows.fetch("n", order_by=["m , n"]).tolist() == [2, 0, 3, 1]
    assert (rows & Top(2, "m, n DESC")).fetch("n").tolist() == [2, 3]


@pytest.mark.parametrize("order", ["n; DROP", "m", "n DOWN", ["n", "-x"], "n,", "n, m"])
def test_an_order_is_columns_and_directions(rows, order):
    with pytest.raises(InvalidArgument):
        rows.fetch(order_by=order)
    with pytest.raises(InvalidArgument, match="limit is a whole number"):
        rows.fetch(limit="2; DROP")


def test_a_frame_has_the_key_as_its_index(rows):
    frame = rows.fetch(format="frame")
    assert frame.index.names == ["n"]
    assert frame.x.tolist()[0] == 0.5
    assert list(Relation(frame).to_pandas().index) == [1, 2, 3]
    assert Relation(frame).primary_key == ["n"]


def test_the_only_row_is_fetched_or_refused(rows):
    assert (rows & {"n": 1}).fetch1() == {"n": 1, "kind": "a", "x": 0.5}
    assert (rows & {"n": 1}).fetch1("kind") == "a"
    assert (rows & {"n": 1}).fetch1("KEY") == {"n": 1}
    assert (rows & {"n": 1}).fetch1("x", "KEY") == (0.5, {"n": 1})
    with pytest.raises(NotOneRow, match="there are 3 rows"):
        rows.fetch1()
    with pytest.raises(NotOneRow, match="there are no rows"):
        (rows & False).fetch1("KEY")


def test_values_come_out_as_pythons_own():
    row = {
        "n": 1,
        "id": uuid.uuid4(),
        "day": dt.date(2021, 1, 1),
        "moment": dt.datetime(2021, 1, 1, 0, 0, 1, 5),
        "length": dt.timedelta(hours=30, microseconds=7),
        "dec": Decimal("1.2500"),
        "yes": True,
        "text": "a",
        "raw": b"\x00\x01",
        "tags": ["a", "b"],
        "info": {"a": 1},
    }
    relation = Relation(pd.DataFrame([row]), ["n"])
    found = relation.fetch1()
    assert found == row
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in row.items()
    }
    assert relation.fetch("moment")[0] == row["moment"]


def test_arrays_come_out_as_arrays_that_may_be_changed():
    traces = [np.arange(4, dtype=np.float32), np.arange(3, dtype=np.float32), None]
    planes = [np.arange(6).reshape(2, 3), np.zeros((1, 1), int), None]
    relation = Relation(
        pd.DataFrame({"roi": [1, 2, 3], "trace": traces, "plane": planes}), ["roi"]
    )
    fetched = relation.fetch("trace")
    assert fetched.shape == (3,)
    np.testing.assert_array_equal(fetched[0], traces[0])
    assert fetched[0].dtype == np.float32
    assert fetched[2] is None
    fetched[0] -= 1
    np.testing.assert_array_equal(relation.fetch("trace")[0], traces[0])
    np.testing.assert_array_equal((relation & {"roi": 1}).fetch1("plane"), planes[0])
    same = Relation([{"roi": i, "trace": np.zeros(5)} for i in range(3)], ["roi"])
    assert same.fetch("trace").shape == (3,)


def test_a_column_without_any_value_takes_texts():
    relation = Relation(pd.DataFrame({"n": [1], "note": [None]}), "n")
    relation.insert1({"n": 2, "note": "late"})
    assert relation.fetch("note").tolist() == [None, "late"]


def test_whole_numbers_with_gaps_stay_whole_numbers():
    relation = Relation(pd.DataFrame({"n": [1, 2], "m": pd.array([7, None], "Int64")}), ["n"])
    assert relation.fetch("m").tolist() == [7, None]
    assert relation.fetch("m").dtype == object


def test_a_column_may_say_how_its_values_are_read():
    heading = Heading(
        (
            Column("n", "INTEGER"),
            Column("packed", "BLOB", decode=lambda raw: np.frombuffer(raw, "<i2")),
        ),
        ("n",),
    )
    relation = Relation([{"n": 1, "packed": b"\x01\x00\x02\x00"}], heading=heading)
    assert relation.fetch1("packed").tolist() == [1, 2]
    assert "=BLOB=" in repr(relation)


# previews --------------------------------------------------------------------------------------


def test_a_preview_is_a_table_that_ends_with_the_total(trial):
    lines = trial.preview(limit=2).split("\n")
    assert lines == [
        "*subject     *session_datet *trial_id    trial_type     trial_start_ti trial_stop_tim",
        "+----------+ +------------+ +----------+ +------------+ +------------+ +------------+",
        "subject1     2021-01-01 00: 1            stim           0.193          1.057         ",
        "subject1     2021-01-01 00: 2            ctrl           1.468          2.332         ",
        "   ...",
        " (Total: 50)",
        "",
    ]
    assert repr(trial).count("\n") == 16
    assert repr(trial & False).endswith("+\n\n (Total: 0)\n")


def test_arrays_are_not_read_for_a_preview():
    heading = Heading(
        (Column("n", "INTEGER"), Column("x", "DOUBLE", decode=lambda x: 1 / 0)), ("n",)
    )
    assert "=BLOB=" in repr(Relation([{"n": 1, "x": 2.0}], heading=heading))


def test_a_notebook_shows_comments_and_units_and_escapes_values():
    heading = Heading(
        (
            Column("n", "INTEGER", comment="trial number"),
            Column("t", "FLOAT", comment="start", unit="s"),
            Column("text", unit="V"),
        ),
        ("n",),
    )
    relation = Relation([{"n": 1, "t": 0.193, "text": "<b>&"}], heading=heading)
    html = relation._repr_html_()
    assert "<th><b>n</b><br><small>trial number</small></th>" in html
    assert "<small>start (s)</small>" in html
    assert "<small>(V)</small>" in html
    assert "<td>0.193</td><td>&lt;b&gt;&amp;</td>" in html
    assert html.endswith("<p>Total: 1</p>")


# tables ----------------------------------------------------------------------------------------


@pytest.fixture
def table():
    heading = Heading(
        (
            Column("n", "INTEGER"),
            Column("kind", default="plain"),
            Column("x", "DOUBLE", nullable=False, default=0.5),
            Column("trace", "DOUBLE[]"),
        ),
        ("n",),
    )
    return Relation([], heading=heading)


def test_rows_are_inserted_in_every_form(table, tmp_path):
    table.insert1({"n": "1", "kind": "a", "trace": np.arange(3)})
    table.insert([(2, "b", 1.5, None), {"n": 3}])
    table.insert(pd.DataFrame({"n": [4]}))
    table.insert(pd.DataFrame({"n": [5]}).to_records(index=False))
    table.insert([{"n": 6}])
    table.insert(Relation([{"n": 7, "kind": "r"}], ["n"]))
    (tmp_path / "more.csv").write_text("n,kind\n8,csv\n")
    table.insert(tmp_path / "more.csv")
    assert numbers(table) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert table.fetch("kind").tolist() == ["a", "b", *["plain"] * 4, "r", "csv"]
    assert table.fetch("x").tolist() == [0.5, 1.5, *[0.5] * 6]
    np.testing.assert_array_equal((table & {"n": 1}).fetch1("trace"), [0, 1, 2])


def test_a_key_is_inserted_once(table):
    table.insert1({"n": 1, "kind": "first"})
    for rows in ([{"n": 2}, {"n": 1}], [{"n": 3}, {"n": 3}]):
        with pytest.raises(DuplicateKey, match=r"a row of n=\d already; nothing was inserted"):
            table.insert(rows)
    assert numbers(table) == [1]
    table.insert([{"n": 1, "kind": "second"}, {"n": 2}, {"n": 2}], skip_duplicates=True)
    assert table.fetch("kind").tolist() == ["first", "plain"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"n": 1, "kindd": 2}], "no column 'kindd'.*'kind'"),
        ([{"kind": "a"}], "'n' needs a value"),
        ([{"n": 1, "x": None}], "'x' needs a value"),
        ([{"n": "one"}], "'n' is INTEGER, its value cannot be 'one'"),
        ([{"n": 1, "trace": "text"}], "'trace' cannot be a column"),
        ([(1, 2)], "a row has 4 values, got 2"),
        ({"n": 1}, "insert1 takes one"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_none_is_inserted(table, rows, message):
    with pytest.raises(InvalidArgument, match=message):
        table.insert([{"n": 9}, *rows] if isinstance(rows, list) else rows)
    assert len(table) == 0


def test_names_that_a_table_lacks_may_be_left_out(table):
    table.insert1({"n": 1, "elsewhere": 2}, ignore_extra_fields=True)
    assert numbers(table) == [1]


def test_results_cannot_be_inserted_into(table):
    with pytest.raises(TableReadOnly, match="the result of a question"):
        (table & "n > 1").insert1({"n": 1})
    with pytest.raises(InvalidArgument, match="replace=True"):
        table.insert1({"n": 1}, replace=True)


def test_results_see_rows_that_come_later(table):
    late = table & "n > 1"
    assert not late
    for n in range(150):
        table.insert1({"n": n})
    assert len(late) == 148


def test_a_table_has_names_and_parts(trial):
    part = Relation([{"trial_id": 1, "attribute": "lumen"}], table=Table("Trial.Attribute"))
    master = Relation(
        [{"trial_id": 1}],
        table=Table("Trial", "`trial`.`_trial`", "trials of a session", {"Attribute": part}),
    )
    assert master().Attribute() is part
    assert (master.name, master.full_name) == ("Trial", "`trial`.`_trial`")
    assert master.comment == "trials of a session"
    assert (master & True).name == ""
    with pytest.raises(AttributeError, match="no 'Atribute'.*'Attribute'"):
        master.Atribute  # noqa: B018


def test_a_heading_has_each_name_once():
    with pytest.raises(InvalidArgument, match="'N' comes twice"):
        Heading((Column("n"), Column("N")))
    with pytest.raises(InvalidArgument, match="no column 'm'"):
        Heading((Column("n"),), ("m",))


# places ----------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    index = pd.Index(list(range(1000)), name="n")
    frame = pd.DataFrame({"kind": ["a", "b"] * 500}, index=index)
    path = tmp_path / "it's a table.pqt"
    frame.to_parquet(path)
    return path


def test_a_parquet_file_is_a_relation_with_the_key_of_its_frame(file):
    relation = Relation(file)
    assert relation.primary_key == ["n"]
    assert len(relation & "kind = 'a'") == 500
    assert len(Relation(str(file)) & [{"n": n} for n in range(0, 2000, 10)]) == 100


def test_a_parquet_file_grows_and_is_replaced_as_a_whole(file):
    relation, before = Relation(file), file.read_bytes()
    with pytest.raises(DuplicateKey):
        relation.insert([{"n": 5000}, {"n": 3}])
    assert file.read_bytes() == before
    relation.insert([{"n": 5000, "kind": "c"}])
    assert (Relation(file) & {"n": 5000}).fetch1("kind") == "c"
    assert pd.read_parquet(file).loc[5000, "kind"] == "c"
    with pytest.raises(TableReadOnly, match="it's a table.pqt"):
        Relation(ParquetFile(file, writable=False), "n").insert1({"n": 6000})
    assert [one.name for one in file.parent.iterdir() if not one.name.startswith(".")] == [
        file.name
    ]


def test_many_threads_and_processes_insert_each_key_once(file):
    memory = Relation([{"n": -1}], "n")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: memory.insert1({"n": n % 10}, skip_duplicates=True), range(40)))
    assert numbers(memory) == [-1, *range(10)]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(insert_some, [file] * 2))
    assert sorted(pd.read_parquet(file).index) == list(range(1010))


def insert_some(path):
    for n in range(1000, 1010):
        Relation(path).insert1({"n": n}, skip_duplicates=True)


def test_signs_of_a_pattern_in_a_path_are_only_themselves(tmp_path):
    for name in ("a[b]c", "abc"):
        (tmp_path / name).mkdir()
        pd.DataFrame({"name": [name]}).to_parquet(tmp_path / name / "t*.pqt")
    assert Relation(tmp_path / "a[b]c" / "t*.pqt").fetch1("name") == "a[b]c"


def test_a_file_that_is_no_table_is_named(tmp_path):
    (tmp_path / "bad.pqt").write_text("nothing")
    with pytest.raises(TableCorrupt, match=r"bad\.pqt"):
        Relation(tmp_path / "bad.pqt")
    with pytest.raises(StoreError, match=r"absent\.pqt: there is no such file"):
        Relation(tmp_path / "absent.pqt")
    with pytest.raises(InvalidArgument, match="heading= says which"):
        Relation([])
    with pytest.raises(InvalidArgument, match="a relation is made of .*, got int"):
        Relation(5)


def test_a_view_of_a_database_is_asked_there(rows):
    engine, other = Engine(), Engine()
    for one in (engine, other):
        with one.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE licks AS SELECT range AS n, range * 2.0 AS t FROM range(10)"
            )
    licks = Relation(View(engine, "SELECT * FROM licks"), ["n"])
    assert len(licks & "t > 10") == 4
    # rows of other places come to it
    assert numbers(licks & rows) == [1, 2, 3]
    assert len(licks * rows) == len(rows * licks) == 3
    elsewhere = Relation(View(other, "SELECT n, t AS u FROM licks"), ["n"])
    assert len(licks * elsewhere * rows) == 3
    with pytest.raises(TableReadOnly):
        licks.insert1({"n": 99})
    got = []
    Relation(View(engine, "SELECT * FROM licks", got.append), ["n"]).insert1({"n": 99, "t": 1})
    assert got[0].to_pylist() == [{"n": 99, "t": 1.0}]


def test_an_arrow_table_is_a_relation():
    table = pa.table({"n": [1, 2], "kind": pa.array(["a", "b"]).dictionary_encode()})
    assert numbers(Relation(table, ["n"]) & {"kind": "b"}) == [2]


def test_questions_may_be_asked_from_many_threads(trial, trial_event):
    def ask(n):
        return len(trial & {"trial_id": n} & trial_event), len(trial_event & "trial_id < 5")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(1, 41))) == [(1, 7)] * 40


def test_a_relation_can_be_sent_to_another_process(trial, file):
    for relation in (trial & {"trial_id": 3}, Relation(file) & {"n": 3}):
        assert pickle.loads(pickle.dumps(relation)).to_dicts() == relation.to_dicts()


def test_a_parquet_file_is_read_where_it_lies_and_not_before(tmp_path):
    path = tmp_path / "large.pqt"
    parquet.write_table(pa.table({"n": range(300_000)}), path, row_group_size=1000)
    relation = Relation(path, ["n"]) & {"n": 250_000}
    assert relation.fetch1() == {"n": 250_000}
    path.unlink()
    with pytest.raises(Exception, match=r"large\.pqt"):
        relation.fetch1()


def test_conditions_of_datajoint_mean_what_they_mean_there():
    dj = pytest.importorskip("datajoint", reason="datajoint is not installed")
    rows = Relation([{"n": n, "even": n % 2 == 0} for n in range(6)], ["n"])
    assert (rows & dj.AndList(["n > 1", "n < 4"])).fetch("n").tolist() == [2, 3]
    assert (rows & dj.Not("n > 1")).fetch("n").tolist() == [0, 1]
    assert (rows - dj.Not("n > 1")).fetch("n").tolist() == [2, 3, 4, 5]
    assert (rows & dj.Top(2, order_by="n DESC", offset=1)).fetch("n").tolist() == [4, 3]
    assert (rows & [dj.AndList(["n > 1", "n < 3"]), {"n": 5}]).fetch("n").tolist() == [2, 5]
    assert len(rows & dj.U("n")) == 6


def test_rows_are_extended_by_what_they_belong_to():
    rows = Relation([{"n": 1, "kind": "a"}, {"n": 2, "kind": "b"}], ["n"])
    kinds = Relation([{"kind": "a", "size": 3}], ["kind"])
    assert rows.extend(kinds).fetch("n", as_dict=True) == [{"n": 1}, {"n": 2}]
    assert rows.extend(kinds).to_dicts()[1]["size"] is None
    with pytest.raises(InvalidArgument, match="'n'"):
        kinds.extend(rows)
