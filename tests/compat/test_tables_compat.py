"""The same tables through ONE-api and through ours.

What differs on purpose is tested under its own name at the end; ``docs/tables.md`` says why.
"""

from __future__ import annotations

import datetime as dt
import logging
import random
import shutil
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from one_cache.index import index_folder
from one_cache.records import QC, Dataset, Session
from one_cache.tables import Tables, Terms

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    theirs = pytest.importorskip("one.alf.cache", reason="ONE-api is not installed")
    from one.api import One

ONE2 = Path(__file__).parents[1] / "data" / "one2_tables"
NAMES = ["spikes.times.npy", "_ibl_trials.table.pqt", "licks.times.npy", "spikes.times.extra.npy"]
FOLDERS = ["alf/", "alf/probe00/", "alf/#2024-05-06#/", "alf/probe00/#2025-01-01#/"]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """ONE-api's own warnings and log are not ours to fix."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def lab(seed: int, *, sizes: bool = True) -> tuple[list[Session], list[Dataset]]:
    """Invent sessions and datasets, always the same for one seed; some sizes may be unknown."""
    rng = random.Random(seed)

    def new_id() -> str:
        return str(uuid.UUID(int=rng.getrandbits(128), version=4))

    listed = [
        Session(
            new_id(),
            rng.choice(["cortexlab", "churchlandlab"]),
            rng.choice(["KS01", "KS014", "ZFM-01577"]),
            dt.date(2024, 1, 1) + dt.timedelta(rng.randrange(90)),
            rng.randint(1, 3),
            rng.choice(["ephysChoiceWorld", "trainingChoiceWorld", ""]),
            rng.choice(["brainwide", "brainwide,drift", ""]),
        )
        for _ in range(12)
    ]
    found = []
    for session in listed[1:]:  # the first one has no datasets
        for path in {f + n for f in FOLDERS for n in NAMES if rng.random() < 0.4}:
            found.append(
                Dataset(
                    new_id(),
                    session.id,
                    path,
                    rng.choice([rng.randrange(10**9), rng.randrange(10**9) if sizes else None]),
                    f"{rng.getrandbits(128):032x}",
                    rng.random() < 0.9,
                    rng.choice(list(QC)),
                    rng.random() < 0.7,
                )
            )
    return listed, found


def saved(folder: Path, seed: int = 1, *, large: int = 1_000_000, sizes: bool = True) -> Tables:
    listed, found = lab(seed, sizes=sizes)
    tables = Tables.open(folder, silent=True, large=large)
    tables.add("sessions", listed, origin="alyx")
    tables.add("datasets", found, origin="alyx")
    tables.save()
    return tables


def plain(value: Any) -> Any:
    """Bring values of both to one type."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, uuid.UUID) else value


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows = frame.reset_index().astype(object).to_dict("records")
    return [{name: plain(value) for name, value in sorted(row.items())} for row in rows]


@pytest.mark.parametrize("name", ["sessions", "datasets"])
@pytest.mark.parametrize("large", [0, 1_000_000])
def test_one_api_reads_what_was_saved(tmp_path: Path, name: str, large: int) -> None:
    tables = saved(tmp_path, large=large, sizes=False)
    read = theirs.load_tables(tmp_path)[name]
    ours = tables.table(name)
    assert list(read.index.names) == list(ours.index.names)
    assert isinstance(read.index.get_level_values(0)[0], uuid.UUID)
    assert rows_of(read) == rows_of(ours)
    if name == "datasets":
        assert read["qc"].dtype == theirs.QC_TYPE
        assert read["file_size"].dtype == "UInt64"
        assert read["default_revision"].dtype == bool
        assert read["exists"].dtype == bool
    else:
        assert read["number"].dtype == np.uint16
        assert isinstance(read["date"].iloc[0], dt.date)
    assert ours.dtypes.astype(str).to_dict() == read.dtypes.astype(str).to_dict()


def test_one_api_knows_where_the_tables_come_from(tmp_path: Path) -> None:
    saved(tmp_path)
    meta = theirs.load_tables(tmp_path)["_meta"]
    assert meta["raw"]["datasets"]["origin"] == {"alyx"}
    assert meta["created_time"] <= dt.datetime.now()


@pytest.mark.parametrize("seed", range(3))
def test_both_find_and_list_the_same(tmp_path: Path, seed: int) -> None:
    tables = saved(tmp_path, seed)
    one = One(cache_dir=tmp_path)
    for names in (NAMES[:1], NAMES[:2], ["spikes.times.*"], ["nothing.x.npy"]):
        for level in ("PASS", "FAIL", "CRITICAL"):
            known = tables.dataset_names()
            wanted = [_matching(name, known) for name in names]
            ours = tables.find_sessions(Terms(), wanted, QC[level])
            their = one.search(datasets=names, dataset_qc_lte=level)
            assert {session.id for session in ours} == set(map(str, their))
    for subject in ("KS014", "ZFM"):
        fitting = [text for text in tables.distinct("sessions", "subject") if subject in text]
        ours = tables.find_sessions(Terms({"subject": fitting}))
        their = one.search(subject=subject)
        assert sorted(session.id for session in ours) == sorted(map(str, their))
        assert [session.date for session in ours] == [one.get_details(e)["date"] for e in their]
    for session in tables.find_sessions(Terms())[:6]:
        their = one.list_datasets(session.id, qc="CRITICAL", details=True)
        ours = tables.datasets_of(session.id)
        if not len(their):
            assert ours == []
            continue
        their = their.sort_values("rel_path")
        assert [one.rel_path for one in ours] == their["rel_path"].to_list()
        assert [one.id for one in ours] == their.index.map(str).to_list()


def _matching(pattern: str, names: list[str]) -> list[str]:
    import re

    return [name for name in names if re.fullmatch(pattern, name)]


def test_what_one_api_saved_is_read(tmp_path: Path) -> None:
    saved(tmp_path / "ours", sizes=False)
    one = One(cache_dir=tmp_path / "ours")
    shutil.copytree(tmp_path / "ours", tmp_path / "theirs", ignore=lambda *_: [".one_cache"])
    one.save_cache(tmp_path / "theirs", clobber=True)
    before, after = Tables.open(tmp_path / "ours"), Tables.open(tmp_path / "theirs")
    for name in ("sessions", "datasets"):
        columns = ", ".join(f'"{column}"' for column in before.columns(name))
        sql = f"SELECT {columns} FROM {name} ORDER BY id"
        assert after.rows(sql) == before.rows(sql)


def test_both_write_into_the_same_tables_in_turn(tmp_path: Path) -> None:
    tables = saved(tmp_path)
    one = One(cache_dir=tmp_path)
    new = one._cache["datasets"].iloc[:1].copy()
    new.index = pd.MultiIndex.from_tuples([(new.index[0][0], uuid.uuid4())], names=new.index.names)
    new["rel_path"] = "theirs.x.npy"
    theirs.merge_tables(one._cache, datasets=new)
    one._cache["_meta"]["modified_time"] = dt.datetime.now() + dt.timedelta(seconds=1)
    one.save_cache()
    count = len(lab(1)[1])
    assert tables.count("datasets") == count + 1
    tables.add("datasets", [Dataset(str(uuid.uuid4()), str(new.index[0][0]), "ours.x.npy")])
    tables.save()
    read = theirs.load_tables(tmp_path)["datasets"]
    assert len(read) == count + 2
    assert {"theirs.x.npy", "ours.x.npy"} <= set(read["rel_path"])


@pytest.mark.parametrize("name", ["sessions", "datasets"])
def test_the_tables_of_one_api_2_mean_the_same_to_both(name: str) -> None:
    their = theirs.load_tables(ONE2)[name]
    ours = Tables.open(ONE2, writable=False).table(name)
    shared = [column for column in their.columns if column in ours.columns]
    assert set(their.columns) <= set(ours.columns)
    assert rows_of(ours[shared].sort_index()) == rows_of(their[shared].sort_index())


def test_a_folder_is_indexed_alike(tmp_path: Path) -> None:
    rng = random.Random(3)
    for session in (
        "northlab/Subjects/KS014/2024-02-05/001",
        "northlab/Subjects/K2/2024-02-06/002",
    ):
        for name in (
            "alf/spikes.times.npy",
            "alf/probe00/#2024-05-06#/a.b_times.extra.npy",
            "x.y.z",
        ):
            file = tmp_path / session / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(rng.randbytes(100))
    (tmp_path / "theirs").mkdir()
    theirs.make_parquet_db(tmp_path, out_dir=tmp_path / "theirs", hash_files=True)
    index_folder(tmp_path, hash=True)
    sql = (
        "SELECT rel_path, file_size, hash, subject, lab, date, number FROM datasets d "
        "JOIN sessions s ON d.eid = s.id ORDER BY subject, rel_path"
    )
    assert Tables.open(tmp_path).rows(sql) == Tables.open(tmp_path / "theirs").rows(sql)
    one = One(cache_dir=tmp_path)
    (eid,) = one.search(subject="KS014")
    assert one.list_datasets(eid) == [
        "alf/probe00/#2024-05-06#/a.b_times.extra.npy",
        "alf/spikes.times.npy",
        "x.y.z",
    ]


# -- what differs on purpose ---------------------------------------------------------------------


def test_a_merge_keeps_columns_that_one_api_drops(tmp_path: Path) -> None:
    tables = saved(tmp_path)
    one_eid = lab(1)[1][0].eid
    tables.add(
        "datasets", [{"id": str(uuid.uuid4()), "eid": one_eid, "rel_path": "a.b.c", "n": 1}]
    )
    tables.save()
    assert {"default_revision", "n"} <= set(theirs.load_tables(tmp_path)["datasets"].columns)


def test_the_revision_nan_is_no_revision(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"eid": [lab(1)[0][0].id], "id": [lab(1)[1][0].id], "rel_path": ["alf/#nan#/a.b.npy"]}
    )
    frame.to_parquet(tmp_path / "datasets.pqt")
    assert Tables.open(tmp_path).rel_paths() == ["alf/a.b.npy"]


def test_a_dataset_in_the_folder_of_the_session_is_found(tmp_path: Path) -> None:
    session = lab(1)[0][0]
    tables = Tables.open(tmp_path, silent=True)
    tables.add("sessions", [session])
    names = ["a.b.npy", "alf/c.d.npy"]
    tables.add("datasets", [Dataset(str(uuid.uuid4()), session.id, name) for name in names])
    tables.save()
    assert One(cache_dir=tmp_path).search(datasets="a.b.npy") == []  # looks below folders only
    assert tables.find_sessions(Terms(), [["a.b.npy"]]) == [session]
