"""Tables of a folder without a database."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

import pandas as pd
import pytest

from one_cache.errors import InvalidArgument
from one_cache.index import IndexSummary, default_revisions, index_folder
from one_cache.records import Dataset, Session
from one_cache.tables import Tables

SESSION = "northlab/Subjects/KS014/2024-02-05/001"
OTHER = "ZM-07/2024-03-11/002"


def put(root: Path, path: str, content: bytes = b"x") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    put(tmp_path, f"{SESSION}/alf/_ibl_wheel.position.npy", b"12345")
    put(tmp_path, f"{SESSION}/alf/#2024-05-06#/_ibl_wheel.position.npy", b"123456")
    put(tmp_path, f"{SESSION}/spikes.times.npy")
    put(tmp_path, f"{OTHER}/alf/probe00/spikes.times.npy")
    return tmp_path


def paths(root: Path) -> set[str]:
    tables = Tables.open(root)
    sessions = {row["id"]: row for row in tables.rows("SELECT * FROM sessions")}
    found = set()
    for eid in sessions:
        session = tables.session(eid)
        assert session is not None
        found |= {f"{session.path}/{one.rel_path}" for one in tables.datasets_of(eid)}
    return found


def on_disk(root: Path) -> set[str]:
    files = (path for path in root.rglob("*.*.npy") if path.is_file())
    return {path.relative_to(root).as_posix() for path in files}


def test_every_session_and_dataset_is_found_with_and_without_a_lab(lab: Path) -> None:
    summary = index_folder(lab)
    assert summary == IndexSummary(sessions=2, datasets=4, new=4)
    assert paths(lab) == on_disk(lab)
    tables = Tables.open(lab)
    first, second = tables.sessions(
        [row["id"] for row in tables.rows("SELECT id FROM sessions ORDER BY subject")]
    )
    assert (first.lab, first.subject, first.number) == ("northlab", "KS014", 1)
    assert (second.lab, second.subject, second.number) == ("", "ZM-07", 2)
    assert str(second.date) == "2024-03-11"


def test_sizes_are_those_of_the_files_and_the_last_revision_is_the_default(lab: Path) -> None:
    index_folder(lab)
    tables = Tables.open(lab)
    eid = tables.rows("SELECT id FROM sessions WHERE subject = 'KS014'")[0]["id"]
    found = {one.rel_path: one for one in tables.datasets_of(eid)}
    assert {name: (one.file_size, one.default_revision) for name, one in found.items()} == {
        "alf/_ibl_wheel.position.npy": (5, False),
        "alf/#2024-05-06#/_ibl_wheel.position.npy": (6, True),
        "spikes.times.npy": (1, True),
    }
    assert all(one.hash is None and one.exists for one in found.values())


def test_the_default_is_the_last_revision_of_each_collection() -> None:
    rel_paths = ["a/#2024#/x.y.npy", "a/#2023#/x.y.npy", "b/x.y.npy", "b/#a#/z.y.npy"]
    assert default_revisions(rel_paths) == ["a/#2024#/x.y.npy", "b/x.y.npy", "b/#a#/z.y.npy"]


def test_ids_are_the_same_at_every_run_and_place_and_are_taken_by_one_api(
    lab: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    index_folder(lab)
    before = Tables.open(lab).rows("SELECT eid, id, rel_path FROM datasets ORDER BY id")
    copy = tmp_path_factory.mktemp("copy")
    for path in on_disk(lab):
        put(copy, path, (lab / path).read_bytes())
    index_folder(copy)
    assert Tables.open(copy).rows("SELECT eid, id, rel_path FROM datasets ORDER BY id") == before
    assert {uuid.UUID(row["id"]).version for row in before} == {3}
    assert len({row["id"] for row in before}) == 4


def test_hashes_are_made_on_request_and_only_once(lab: Path) -> None:
    assert index_folder(lab, hash=True).hashed == 4
    rows = Tables.open(lab).rows("SELECT hash FROM datasets WHERE file_size = 5")
    assert rows == [{"hash": hashlib.md5(b"12345").hexdigest()}]
    put(lab, f"{SESSION}/alf/new.x.npy")
    summary = index_folder(lab, hash=True)
    assert (summary.hashed, summary.new) == (1, 1)
    assert index_folder(lab, hash=True).hashed == 0


def test_hashes_of_unchanged_files_stay_when_none_are_asked_for(lab: Path) -> None:
    index_folder(lab, hash=True)
    put(lab, f"{SESSION}/alf/new.x.npy")
    index_folder(lab)
    hashes = [row["hash"] for row in Tables.open(lab).rows("SELECT hash FROM datasets")]
    assert sum(bool(one) for one in hashes) == 4


def test_a_second_run_writes_nothing(lab: Path) -> None:
    index_folder(lab)
    before = {path: path.stat().st_mtime_ns for path in lab.rglob("*")}
    assert index_folder(lab) == IndexSummary(sessions=2, datasets=4)
    assert {path: path.stat().st_mtime_ns for path in lab.rglob("*")} == before


def test_what_changed_and_what_vanished_is_seen(lab: Path) -> None:
    index_folder(lab, hash=True)
    changed = put(lab, f"{SESSION}/spikes.times.npy", b"y")
    os.utime(changed, ns=(1, 1))
    (lab / SESSION / "alf/_ibl_wheel.position.npy").unlink()
    summary = index_folder(lab, hash=True)
    assert summary == IndexSummary(sessions=2, datasets=3, new=0, changed=1, vanished=1, hashed=1)
    assert paths(lab) == on_disk(lab)
    for path in (lab / OTHER).rglob("*.npy"):
        path.unlink()
    (lab / OTHER / "alf/probe00").rmdir()
    (lab / OTHER / "alf").rmdir()
    (lab / OTHER).rmdir()
    summary = index_folder(lab)
    assert (summary.sessions, summary.vanished) == (1, 1)


def test_tables_that_were_lost_are_made_again(lab: Path) -> None:
    index_folder(lab)
    (lab / "datasets.pqt").unlink()
    index_folder(lab)
    assert paths(lab) == on_disk(lab)


@pytest.mark.parametrize(
    "name",
    [
        "alf/.hidden.x.npy",
        "alf/a.x.npy.part",
        "alf/a.x.npy~",
        "alf/readme.txt",
        "alf/notalf.npy",
        ".git/a.x.npy",
        "alf/my data/a.x.npy",
    ],
)
def test_what_is_no_dataset_is_left_out(lab: Path, name: str) -> None:
    put(lab, f"{SESSION}/{name}")
    summary = index_folder(lab)
    assert summary.datasets == 4
    assert summary.skipped == (0 if name.startswith(".git") else 1)


def test_folders_that_are_no_sessions_are_left_out(
    lab: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(lab, "KS014/2024-02-31/001/a.x.npy")
    put(lab, "KS014/notes/001/a.x.npy")
    put(lab, ".one_cache/KS014/2024-02-01/001/a.x.npy")
    put(lab, "KS014/2024-02-01/1/a.x.npy")
    assert index_folder(lab).sessions == 2
    assert "three digits" in caplog.text


def test_what_was_added_to_the_tables_stays(lab: Path) -> None:
    index_folder(lab)
    tables = Tables.open(lab)
    row = tables.rows("SELECT * FROM datasets WHERE file_size = 5")[0]
    tables.add("datasets", [{**row, "qc": "FAIL", "note": "noisy"}])
    session = tables.rows("SELECT * FROM sessions WHERE subject = 'KS014'")[0]
    tables.add("sessions", [{**session, "projects": "drift"}])
    tables.save()
    put(lab, f"{SESSION}/alf/new.x.npy")
    index_folder(lab)
    tables = Tables.open(lab)
    assert tables.rows("SELECT qc, note FROM datasets ORDER BY qc")[0] == {
        "qc": "FAIL",
        "note": "noisy",
    }
    assert tables.distinct("datasets", "qc") == ["FAIL", "NOT_SET"]
    assert tables.distinct("sessions", "projects") == ["", "drift"]


def test_tables_of_a_database_are_not_overwritten(lab: Path) -> None:
    tables = Tables.open(lab)
    tables.add("datasets", [Dataset(str(uuid.UUID(int=5)), "", "a.x.npy")], origin="alyx")
    tables.add("sessions", [Session(str(uuid.UUID(int=6)))], origin="alyx")
    tables.save()
    before = (lab / "datasets.pqt").read_bytes()
    with pytest.raises(InvalidArgument, match="alyx"):
        index_folder(lab)
    assert (lab / "datasets.pqt").read_bytes() == before


def test_an_empty_folder_has_empty_tables_and_a_missing_one_is_refused(tmp_path: Path) -> None:
    assert index_folder(tmp_path) == IndexSummary()
    assert Tables.open(tmp_path).count("datasets") == 0
    assert len(pd.read_parquet(tmp_path / "sessions.pqt")) == 0
    with pytest.raises(InvalidArgument, match="no such folder"):
        index_folder(tmp_path / "nowhere")


def test_damaged_notes_are_made_again(lab: Path) -> None:
    index_folder(lab)
    (lab / ".one_cache/index.jsonl").write_bytes(b"\xff{garbage\n")
    assert index_folder(lab).datasets == 4
    assert index_folder(lab).new == 0
