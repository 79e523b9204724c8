"""Answers as Parquet: what was put in comes out, value by value and type by type."""

import gc
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("neuprint", reason="neuprint-python is not installed")

from one_cache.errors import ContentError
from one_cache.neuprint.answers import Answer, pack, read_about, uncollected, unpack


def typed(value):
    """Values with their types, since 1 == 1.0 == True."""
    if isinstance(value, (list, tuple)):
        return [typed(one) for one in value]
    if isinstance(value, dict):
        return [(key, typed(one)) for key, one in value.items()]
    return type(value).__name__, repr(value)


CELLS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda cell: (
        st.lists(cell, max_size=3) | st.dictionaries(st.text(max_size=4), cell, max_size=3)
    ),
    max_leaves=6,
)
PLAIN = st.sampled_from(
    [
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
        st.booleans(),
    ]
)


@st.composite
def tables(draw):
    width, height = draw(st.integers(0, 4)), draw(st.integers(0, 6))
    columns = []
    for _ in range(width):
        cell = draw(PLAIN) if draw(st.booleans()) else CELLS
        columns.append(draw(st.lists(cell | st.none(), min_size=height, max_size=height)))
    names = draw(st.lists(st.text(max_size=5), min_size=width, max_size=width))
    return names, [list(row) for row in zip(*columns, strict=True)] if width else [[]] * height


@settings(max_examples=200, deadline=None)
@given(tables())
def test_any_table_comes_back_exactly(table):
    columns, rows = table
    again = unpack(pack(Answer(columns, rows)))
    assert list(again.columns) == columns
    assert typed(again.rows) == typed(rows)


@pytest.mark.parametrize(
    "values",
    [
        [1, 2.5, 3],
        [1.0, 2.0],
        [0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0],
        [2**63 - 1, -(2**63)],
        [2**64],
        [True, 1, None],
        ["", None, "null", "é"],
        ["\ud800"],
        [{"b": 1, "a": [1.0, {"c": None}]}, {}],
        [None, None],
        [[1, "x"], []],
        [{"AL(R)": True, "aL(R)": False}],
        [12345678901234567890123, "text"],
    ],
)
def test_values_that_parquet_would_bend(values):
    again = unpack(pack(Answer(["c"], [[one] for one in values])))
    assert typed([row[0] for row in again.rows]) == typed(values)


def test_names_that_differ_by_case_or_are_equal_stay_apart(tmp_path):
    columns = ["AL(R)", "aL(R)", "x", "x"]
    path = tmp_path / "a.pqt"
    path.write_bytes(pack(Answer(columns, [[1, 2, 3, 4]])))
    assert unpack(path).rows == [[1, 2, 3, 4]]
    assert list(unpack(path).columns) == columns


def test_plain_columns_are_plain_parquet(tmp_path):
    path = tmp_path / "a.pqt"
    path.write_bytes(pack(Answer(["bodyId", "type", "n"], [[5, "APL", {"a": [1]}]])))
    table = pq.read_table(path)
    assert table.schema.types == [pa.int64(), pa.string(), pa.string()]
    assert json.loads(table["n"][0].as_py()) == {"a": [1]}


def test_a_body_and_a_refusal_come_back():
    body = unpack(pack(Answer.of_body(b"\x00\xff swc", "text/plain")))
    assert (body.cell, body.media, body.status) == (b"\x00\xff swc", "text/plain", 200)
    refusal = unpack(pack(Answer.of_refusal(400, '{"error": "no"}')))
    assert (refusal.cell, refusal.status) == ('{"error": "no"}', 400)


def test_equal_answers_are_equal_bytes():
    rows = [[1, {"a": 1.5}], [2, None]]
    one = pack(Answer(["n", "m"], rows, about={"id": "x", "dataset": "d"}))
    assert one == pack(Answer(["n", "m"], rows, about={"dataset": "d", "id": "x"}))
    assert one != pack(Answer(["n", "m"], rows, about={"id": "y", "dataset": "d"}))


def test_the_caller_may_change_what_it_gets():
    data = pack(Answer(["m"], [[{"a": 1}]]))
    unpack(data).rows[0][0]["a"] = 2
    assert unpack(data).rows == [[{"a": 1}]]


def test_a_file_tells_what_it_answers(tmp_path):
    path = tmp_path / "a.pqt"
    path.write_bytes(pack(Answer(["n"], [[1], [2]], about={"id": "x"})))
    told = read_about(path)
    assert (told["id"], told["rows"], told["columns"], told["status"]) == ("x", 2, ["n"], 200)


def test_broken_and_foreign_files_are_refused(tmp_path):
    data = pack(Answer(["n"], [[1]]))
    for broken in (b"", data[:-9], b"PAR1" + data[4:-40] + b"PAR1"):
        with pytest.raises(ContentError):
            unpack(broken)
    foreign = tmp_path / "foreign.pqt"
    pq.write_table(pa.table({"n": [1]}), foreign)
    with pytest.raises(ContentError, match="no answer of a server"):
        unpack(foreign)


def test_rows_of_another_length_are_refused():
    with pytest.raises(ContentError, match="2 columns"):
        pack(Answer(["a", "b"], [[1, 2], [3]]))


def test_garbage_is_looked_for_again_whoever_stopped_it():
    with uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ContentError):
        unpack(b"no answer")
    assert gc.isenabled()
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled(), "it was stopped by someone else"
    finally:
        gc.enable()


def test_answers_of_many_rows_come_back_too():
    def cells(number):
        late = number > 12_000
        return [
            number,
            {"n": number} if late else None,
            0.5 * number if number % 3 else None,
            late,
        ]

    rows = [cells(number) for number in range(25_000)]
    again = unpack(pack(Answer(["n", "map", "share", "late"], rows)))
    assert typed(again.rows) == typed(rows)
