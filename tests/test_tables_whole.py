"""Whole tables, as a door brings them: written at once, seen by every process that looks again."""

import multiprocessing

import pyarrow as pa
import pytest

from one_cache.errors import InvalidArgument, StoreError
from one_cache.tables import Tables


def units(count):
    return pa.table(
        {
            "id": list(range(900 + count, 900, -1)),
            "snr": [0.5] * count,
            "good": [True] * (count - 1) + [None],
        }
    )


def test_a_whole_table_takes_the_place_of_the_one_before(tmp_path):
    tables = Tables.open(tmp_path, silent=True)
    tables.replace("units", units(5))
    tables.add("units", [{"id": 1, "snr": 3.0, "good": True}])
    tables.replace("units", units(3), meta={"csv": "units.csv"})
    assert tables.rows("SELECT id, good FROM units ORDER BY id") == [
        {"id": 901, "good": None},
        {"id": 902, "good": True},
        {"id": 903, "good": True},
    ]
    assert tables.meta("units")["csv"] == "units.csv"
    assert not tables.dirty
    again = Tables.open(tmp_path, silent=True)
    assert again.count("units") == 3
    assert list(again.table("units").index) == [901, 902, 903]


def test_a_table_may_be_large_or_without_a_row(tmp_path):
    tables = Tables.open(tmp_path, silent=True)
    tables.replace("units", units(30_000))
    tables.replace("probes", units(30).slice(0, 0))
    assert tables.count("units") == 30_000
    assert (tables.count("probes"), tables.columns("probes")) == (0, ("id", "snr", "good"))
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    again = Tables.open(tmp_path, silent=True)
    assert again.frame("SELECT id FROM units ORDER BY id").id.iloc[-1] == 30_900
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == before


def write(folder):
    Tables.open(folder, silent=True).replace("units", units(4))


def test_a_table_of_another_process_is_seen_after_looking_again(tmp_path):
    tables = Tables.open(tmp_path, silent=True)
    assert "units" not in tables.names()
    process = multiprocessing.get_context("spawn").Process(target=write, args=(tmp_path,))
    process.start()
    process.join()
    tables.refresh()
    assert tables.count("units") == 4


def test_a_whole_table_needs_a_folder_that_can_be_written(tmp_path):
    with pytest.raises(InvalidArgument, match="no folder"):
        Tables.open(None).replace("units", units(2))
    with pytest.raises(StoreError, match="for reading only"):
        Tables.open(tmp_path, writable=False).replace("units", units(2))
    assert not list(tmp_path.iterdir())
