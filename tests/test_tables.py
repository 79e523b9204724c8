"""Access tables: open, ask, add, save."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
import uuid
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from one_cache.errors import (
    InvalidArgument,
    ManifestMismatch,
    StoreError,
    TableChanged,
    TableColumnMissing,
    TableCorrupt,
    TableForeign,
    TableTooNew,
)
from one_cache.records import QC, Dataset, Session
from one_cache.tables import Tables

ONE2 = Path(__file__).parent / "data" / "one2_tables"
E1, E2 = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
LEVELS = ["NOT_SET", "PASS", "WARNING", "FAIL", "CRITICAL"]


def some_id(number: int) -> str:
    return str(uuid.UUID(int=number << 64 | 7))


def write_foreign(path: Path, frame: pd.DataFrame, meta: dict[str, str] | None = None) -> None:
    """Write a table as ONE-api does."""
    table = pa.Table.from_pandas(frame)
    said = meta if meta is not None else {"date_created": "2025-01-01 10:00", "origin": "alyx"}
    marks = {**table.schema.metadata, b"one_metadata": json.dumps(said).encode()}
    pq.write_table(table.replace_schema_metadata(marks), path)


def datasets_frame(**columns: object) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "eid": [E1, E1, E2],
            "id": [some_id(3), some_id(1), some_id(2)],
            "rel_path": ["alf/b.x.npy", "alf/#2024-01-01#/a.x.npy", "alf/a.x.npy"],
            "file_size": pd.array([1, None, 3], dtype="UInt64"),
            "hash": ["0" * 32, "", None],
            "exists": [True, False, True],
            "qc": pd.Categorical(["PASS", "NOT_SET", "FAIL"], LEVELS, ordered=True),
            "default_revision": [True, False, True],
            **columns,
        }
    )
    return frame.set_index(["eid", "id"])


def sessions_frame() -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "id": [E2, E1],
            "lab": ["cortexlab", "churchland"],
            "subject": ["KS014", "ZFM-01577"],
            "date": [dt.date(2024, 1, 2), dt.date(2023, 3, 4)],
            "number": pd.array([1, 2], dtype="uint16"),
            "task_protocol": ["ephys", ""],
            "projects": ["a,b", ""],
        }
    )
    return frame.set_index("id")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_foreign(tmp_path / "sessions.pqt", sessions_frame())
    write_foreign(tmp_path / "datasets.pqt", datasets_frame())
    return tmp_path


def test_the_tables_of_one_api_are_read(folder: Path) -> None:
    tables = Tables.open(folder)
    assert tables.names() == ("datasets", "sessions")
    assert tables.count("datasets") == 3
    assert tables.meta("sessions")["origin"] == "alyx"
    assert tables.session(E2) == Session(
        E2, "cortexlab", "KS014", dt.date(2024, 1, 2), 1, "ephys", "a,b"
    )
    first, second = tables.datasets_of(E1)
    assert first == Dataset(
        some_id(1), E1, "alf/#2024-01-01#/a.x.npy", None, None, False, QC.NOT_SET, False
    )
    assert second == Dataset(some_id(3), E1, "alf/b.x.npy", 1, "0" * 32, True, QC.PASS, True)


def test_the_tables_of_one_api_2_are_read() -> None:
    tables = Tables.open(ONE2, writable=False)
    session = tables.rows("SELECT * FROM sessions WHERE subject = 'ZFM-01935'")[0]
    assert session["id"] == str(uuid.UUID(session["id"]))
    assert session["projects"] == "None"  # as the server wrote it
    assert session["number"] == 1
    found = tables.datasets_of(session["id"])
    assert found
    assert {one.extra["session_path"] for one in found} == {
        "mainenlab/Subjects/ZFM-01935/2021-02-05/001"
    }


def test_ids_are_asked_for_in_any_number_and_come_in_that_order(folder: Path) -> None:
    tables = Tables.open(folder)
    asked = [some_id(2), some_id(9), some_id(1)]
    assert [one.id for one in tables.datasets(asked)] == [some_id(2), some_id(1)]
    assert [one.id for one in tables.sessions([E2, E1, "x"])] == [E2, E1]


def test_new_records_are_seen_at_once_and_win(folder: Path) -> None:
    tables = Tables.open(folder)
    assert len(tables.datasets_of(E1)) == 2
    tables.add(
        "datasets", [Dataset(some_id(3), E1, "alf/new.x.npy"), Dataset("d9", E1, "z.y.npy")]
    )
    assert [one.rel_path for one in tables.datasets_of(E1)] == [
        "alf/#2024-01-01#/a.x.npy",
        "alf/new.x.npy",
        "z.y.npy",
    ]
    assert tables.count("datasets") == 4
    assert tables.datasets([some_id(3)])[0].rel_path == "alf/new.x.npy"
    assert tables.dirty


def test_searching_needs_all_names_in_good_quality(folder: Path) -> None:
    tables = Tables.open(folder)
    assert tables.dataset_names() == ["a.x.npy", "b.x.npy"]
    assert tables.sessions_with([["b.x.npy"]], QC.FAIL) == [E1]
    assert tables.sessions_with([["a.x.npy"]], QC.FAIL) == [E2]  # that of E1 does not exist
    assert tables.sessions_with([["a.x.npy"]], QC.PASS) == []
    assert tables.sessions_with([["a.x.npy", "b.x.npy"]], QC.FAIL) == [E1, E2]
    assert tables.sessions_with([["a.x.npy"], ["b.x.npy"]], QC.FAIL) == []
    assert tables.sessions_with([["a.x.npy", "b.x.npy"]], QC.FAIL, [E2, "x"]) == [E2]
    assert tables.sessions_with([], QC.PASS) == [E1]


def test_saving_merges_and_keeps_every_column(folder: Path) -> None:
    write_foreign(folder / "datasets.pqt", datasets_frame(note=["x", "y", "z"]))
    tables = Tables.open(folder)
    tables.add("datasets", [{"id": "d9", "eid": E2, "rel_path": "z.y.npy", "extra": {"n": 3}}])
    assert tables.save() == {"datasets": folder / "datasets.pqt"}
    assert not tables.dirty
    for again in (tables, Tables.open(folder)):
        found = {one.id: one for one in again.datasets_of(E2)}
        assert found["d9"].extra == {"note": None, "n": 3}
        assert found[some_id(2)].extra == {"note": "z", "n": None}
        assert found[some_id(2)].default_revision is True
        assert again.count("datasets") == 4
    frame = pd.read_parquet(folder / "datasets.pqt")
    assert frame.index.names == ["eid", "id"]
    assert frame.index.is_monotonic_increasing
    assert list(frame["qc"].cat.categories) == LEVELS
    assert frame["qc"].cat.ordered
    assert str(frame["file_size"].dtype) == "UInt64"
    assert [path.name for path in folder.iterdir() if path.name[0] != "."] == [
        path.name for path in folder.glob("*.pqt")
    ]


def test_saving_elsewhere_takes_all_that_is_open(folder: Path, tmp_path: Path) -> None:
    tables = Tables.open(folder)
    tables.add("insertions", [{"id": some_id(5), "eid": E1, "name": "probe00"}])
    written = tables.save(tmp_path / "other")
    assert set(written) == {"datasets", "sessions", "insertions"}
    other = Tables.open(tmp_path / "other")
    assert other.rows("SELECT name FROM insertions") == [{"name": "probe00"}]
    assert other.datasets_of(E1) == tables.datasets_of(E1)
    assert tables.dirty


def test_tables_in_memory_have_no_folder() -> None:
    tables = Tables.open(None)
    assert tables.count("datasets") == 0
    assert tables.columns("sessions")[0] == "id"
    assert tables.datasets_of(E1) == []
    with pytest.raises(InvalidArgument, match="no folder"):
        tables.save()


def test_a_pinned_table_must_be_the_one_that_is_pinned(folder: Path) -> None:
    pins = Tables.open(folder).hashes()
    tables = Tables.open(folder, pins=pins, writable=False)
    with pytest.raises(ManifestMismatch, match="'sessions'.*expects sha256 00.*got"):
        Tables.open(folder, pins={**pins, "sessions": "00"})
    write_foreign(folder / "sessions.pqt", sessions_frame().iloc[:1])
    with pytest.raises(TableChanged, match="pinned"):
        tables.session(E1)


def test_nothing_is_written_into_a_folder_that_is_only_read(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    tables = Tables.open(folder, writable=False)
    tables.datasets_of(E1)
    tables.add("datasets", [Dataset("d", E1, "x.y.npy")])
    tables.datasets_of(E1)
    with pytest.raises(StoreError, match="reading only"):
        tables.save()
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"abc", b"PAR1" + b"x" * 500, b"half"])
def test_what_is_no_parquet_is_refused_and_left_as_it_is(folder: Path, content: bytes) -> None:
    path = folder / "datasets.pqt"
    if content == b"half":
        content = path.read_bytes()[: path.stat().st_size // 2]
    tables = Tables.open(None)
    tables.add("datasets", [Dataset("d", E1, "x.y.npy")])
    path.write_bytes(content)
    with pytest.raises(TableCorrupt, match="datasets.pqt"):
        Tables.open(folder)
    with pytest.raises(TableCorrupt, match="datasets.pqt"):
        tables.save(folder)
    assert path.read_bytes() == content


def test_wrong_and_later_tables_are_refused(folder: Path) -> None:
    path = folder / "datasets.pqt"
    write_foreign(path, datasets_frame().drop(columns="rel_path"))
    with pytest.raises(TableColumnMissing, match="'rel_path'"):
        Tables.open(folder)
    pd.DataFrame({"a": [1]}).to_parquet(path)
    with pytest.raises(TableForeign, match="no access table"):
        Tables.open(folder)
    write_foreign(path, datasets_frame(), {"date_created": "x", "min_api_version": "9.0.0"})
    with pytest.raises(TableTooNew, match="9.0.0"):
        Tables.open(folder)
    path.unlink()
    pd.DataFrame({"a": [1]}).to_parquet(folder / "mine.pqt")
    assert Tables.open(folder).names() == ("datasets", "sessions")


def test_a_question_that_makes_no_sense_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidArgument, match="nosuch"):
        Tables.open(folder).rows("SELECT nosuch FROM sessions")


def test_a_row_added_twice_before_a_question_is_one_row():
    tables = Tables.open(None)
    tables.add("queries", [{"id": "a", "text": "first"}])
    tables.add("queries", [{"id": "a", "text": "second"}])
    assert tables.rows("SELECT * FROM queries") == [{"id": "a", "text": "second"}]


def test_a_whole_table_comes_as_it_is_whoever_wrote_it(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": [3, 1, 2], "names": [["a", None], None, []], "x": [0.1, None, 3]})
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    tables = Tables.open(tmp_path, silent=True)
    tables.replace("probes", arrow)
    assert tables.whole("probes").to_pylist() == arrow.sort_by("id").to_pylist()

    tables.add("probes", [{"id": 0, "names": ["new"], "x": 1.0}])
    assert tables.whole("probes")["id"].to_pylist() == [0, 1, 2, 3]

    write_foreign(tmp_path / "datasets.pqt", datasets_frame())
    foreign = Tables.open(tmp_path, silent=True).whole("datasets")
    assert foreign["rel_path"].to_pylist() == [
        "alf/#2024-01-01#/a.x.npy",
        "alf/b.x.npy",
        "alf/a.x.npy",
    ]


def test_a_whole_table_that_is_damaged_is_named(tmp_path: Path) -> None:
    tables = Tables.open(tmp_path, silent=True)
    path = tables.replace("probes", pa.table({"id": [1], "x": ["a" * 99]}))
    stat = path.stat()
    data = path.read_bytes()
    with path.open("r+b") as file:
        file.write(b"PAR1" + bytes(len(data) // 2))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(TableCorrupt, match=r"probes\.pqt"):
        tables.whole("probes")


@pytest.mark.parametrize("large", [0, 1_000_000])
def test_rows_of_any_table_are_found_by_id(tmp_path: Path, large: int) -> None:
    known = {"text": "a", "none": None, "number": 2**60, "share": 0.5, "right": True}
    rows = [{"id": some_id(number), **known, "place": number} for number in range(50)]
    tables = Tables.open(tmp_path, silent=True)
    tables.add("answers", rows)
    asked = [some_id(number) for number in (7, 99, 3)]
    expected = {one: row for one in asked for row in rows if row["id"] == one}
    assert tables.by_id("answers", asked) == expected, "new rows"
    tables.save()
    (tmp_path / ".one_cache" / "shaped").rename(tmp_path / "moved")
    saved = Tables.open(tmp_path, silent=True, large=large)
    found = saved.by_id("answers", asked)
    assert found == expected
    assert found == {
        row["id"]: row for row in saved.rows("SELECT * FROM answers") if row["id"] in found
    }
    found[asked[0]]["text"] = "changed"
    assert saved.by_id("answers", asked) == expected
    saved.add("answers", [{**rows[3], "text": "b"}])
    assert saved.by_id("answers", asked)[some_id(3)]["text"] == "b"
    assert saved.by_id("nothing", asked) == {}


def opened_with(folder: Path, large: int, name: str, **columns: object) -> Tables:
    """A foreign table of three rows with these columns among its own."""
    ids = [some_id(number) for number in range(3)]
    known = {"eid": ids, "rel_path": ["a.x.npy"] * 3, "subject": ["KS"] * 3, "date": [None] * 3}
    table = pa.table({"id": ids, **known, **columns})
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"one_metadata": "{}"}), folder / f"{name}.pqt")
    return Tables.open(folder, silent=True, large=large)


@pytest.mark.parametrize("large", [0, 1_000_000])
def test_a_value_reads_alike_in_each_type_that_writers_give_it(tmp_path: Path, large: int) -> None:
    nan = float("nan")
    forms = {
        "default_revision": (
            [True, False, None],
            [pa.array([1, 0, None], pa.int8()), pa.array([1.0, 0.0, nan])],
        ),
        "qc": (
            [QC.PASS, QC.CRITICAL, QC.NOT_SET],
            [pa.array([10.0, 50.0, nan]), ["10", "50", ""], ["pass", "Critical", None]],
        ),
        "file_size": ([5, 0, None], [pa.array([5.0, 0.0, nan]), ["5", "0", ""]]),
    }
    for column, (expected, arrays) in forms.items():
        for number, array in enumerate(arrays):
            folder = tmp_path / column / str(number)
            tables = opened_with(folder, large, "datasets", **{column: array})
            found = tables.datasets([some_id(number) for number in range(3)])
            assert [getattr(one, column) for one in found] == expected, (column, array)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system cannot change its time zone")
@pytest.mark.parametrize("large", [0, 1_000_000])
def test_days_do_not_depend_on_the_time_zone_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    moment = dt.datetime(2024, 3, 1, 0, 30, tzinfo=dt.timezone.utc)
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        for number, unit in enumerate(["us", "ns"]):
            times = pa.array([moment] * 3, pa.timestamp(unit, "UTC"))
            columns = {"date": times, "start_time": times}
            tables = opened_with(tmp_path / str(number), large, "sessions", **columns)
            tables.add("sessions", [Session(some_id(9))])
            (found,) = tables.sessions([some_id(0)])
            assert found.date == dt.date(2024, 3, 1)
            assert found.extra["start_time"] == moment
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("name", "column", "values"),
    [
        ("sessions", "date", [True, False, None]),
        ("sessions", "date", [20240301, None, None]),
        ("sessions", "subject", [["KS"], [], None]),
        ("datasets", "id", [b"0" * 16] * 3),
        ("datasets", "eid", [1.0, 2.0, 3.0]),
        ("datasets", "rel_path", [["a"], ["b"], ["c"]]),
        ("datasets", "file_size", [{"bytes": 1}] * 3),
    ],
)
def test_a_column_that_holds_something_else_is_named(
    tmp_path: Path, name: str, column: str, values: list[object]
) -> None:
    with pytest.raises(TableForeign, match=rf"{name}\.pqt: .*'{column}' holds"):
        opened_with(tmp_path, 1_000_000, name, **{column: values})


@pytest.mark.parametrize("large", [0, 1_000_000])
def test_further_columns_of_any_type_are_kept(tmp_path: Path, large: int) -> None:
    columns = {
        "spent": pa.array([dt.timedelta(seconds=1)] * 3, pa.duration("us")),
        "share": pa.array([1.5] * 3, pa.float32()).cast(pa.float16()),
        "tags": pa.array([["a"], [], None]),
    }
    tables = opened_with(tmp_path, large, "datasets", **columns)
    tables.add("datasets", [Dataset(some_id(9), some_id(9), "b.x.npy")])
    tables.save()
    found = Tables.open(tmp_path, silent=True, large=large).datasets([some_id(0)])
    kept = {name: found[0].extra[name] for name in columns}
    assert kept == {"spent": 1_000_000, "share": 1.5, "tags": ["a"]}


@pytest.mark.parametrize("what", ["folder", "link"])
def test_a_table_that_is_no_file_is_refused(tmp_path: Path, what: str) -> None:
    tables = Tables.open(tmp_path, silent=True)
    tables.add("datasets", [Dataset(some_id(1), E1, "a.x.npy")])
    path = tables.save()["datasets"]
    path.unlink()
    path.mkdir() if what == "folder" else path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(TableForeign, match=r"datasets\.pqt: no file"):
        Tables.open(tmp_path)


@pytest.mark.parametrize(
    "meta",
    [{"one_metadata": "[1]"}, {"one_metadata": "{}", "one_cache": '{"layout": null}'}],
)
def test_metadata_of_another_form_are_refused(tmp_path: Path, meta: dict[str, str]) -> None:
    table = pa.table({"eid": [E1], "id": [E2], "rel_path": ["a.x.npy"]})
    pq.write_table(table.replace_schema_metadata(meta), tmp_path / "datasets.pqt")
    with pytest.raises(TableCorrupt, match="metadata"):
        Tables.open(tmp_path)


@pytest.mark.parametrize("large", [0, 1_000_000])
def test_rows_that_another_wrote_anew_are_not_taken_for_sorted(tmp_path: Path, large: int) -> None:
    tables = Tables.open(tmp_path, silent=True)
    ids = [some_id(number) for number in range(200)]
    tables.add("datasets", [Dataset(one, ids[n % 20], "a.x.npy") for n, one in enumerate(ids)])
    path = tables.save()["datasets"]
    table = pq.read_table(path)
    turned = table.take(list(range(0, 200, 2)) + list(range(1, 200, 2))).drop_columns(["qc"])
    assert b"one_cache" in turned.schema.metadata
    pq.write_table(turned, path)

    again = Tables.open(tmp_path, silent=True, large=large)
    assert [len(again.datasets_of(eid)) for eid in ids[:20]] == [10] * 20
    again.add("datasets", [Dataset(one, ids[n % 20], "b.x.npy") for n, one in enumerate(ids)])
    again.save()
    assert pq.read_table(path)["rel_path"].to_pylist() == ["b.x.npy"] * 200
    assert {one.qc for one in again.datasets(ids)} == {QC.NOT_SET}
