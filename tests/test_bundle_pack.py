"""A bundle: opened as it is, restored from, the same bytes each time."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile

import pytest

from one_cache import ONE, Cache
from one_cache.errors import ALFObjectNotFound, CacheWarning, InvalidArgument
from one_cache.manifest import Manifest
from one_cache.recorder import read_record
from one_cache.serve import DataServer

PLACE = "KS014/2024-02-07/001"
OTHER = "KS01/2024-01-15/001"


@pytest.fixture
def cache(url, tmp_path):
    cache = Cache(tmp_path / "cache", remote=url, silent=True)
    with cache.recording():
        cache.load_object(PLACE, "wheel")
        cache.load_dataset(PLACE, "drift.times.npy", revision="2024-01-01")
        cache.load_dataset(OTHER, "licks.times.npy")
    cache.record = cache.save_record(tmp_path / "record.jsonl")
    return cache


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run_analysis(one):
    return (
        one.load_object(PLACE, "wheel").position.sum(),
        one.load_dataset(PLACE, "drift.times.npy", revision="2024-01-01").sum(),
        one.load_dataset(OTHER, "licks.times.npy").sum(),
    )


def test_a_folder_is_opened_as_it_is(cache, tmp_path):
    report = cache.bundle(cache.record, tmp_path / "out")
    assert report.ok
    assert len(report.files) == 4
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "datasets.pqt",
        "manifest.json",
        "northlab",
        "record.jsonl",
        "sessions.pqt",
    ]
    moved = shutil.copytree(tmp_path / "out", tmp_path / "elsewhere")
    expected = run_analysis(cache)
    fixed = ONE(cache_dir=moved, mode="fixed")
    assert run_analysis(fixed) == expected
    assert len(fixed.search()) == 2
    assert run_analysis(Cache(moved)) == expected
    with pytest.raises(ALFObjectNotFound, match="among the 1 datasets"):
        fixed.load_dataset(OTHER, "wheel.position")


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_a_bundle_is_restored_from(cache, tmp_path, name):
    cache.bundle(cache.record, tmp_path / name)
    other = Cache(tmp_path / "other", silent=True)
    report = other.restore(tmp_path / name)
    assert report.ok
    assert run_analysis(other) == run_analysis(cache)
    assert other.get_details(OTHER)["task_protocol"]
    third = Cache(tmp_path / "third", silent=True)
    assert third.restore(cache.record, source=tmp_path / name).ok
    fourth = ONE(str(tmp_path / name), cache_dir=tmp_path / "fourth", silent=True)
    assert run_analysis(fourth) == run_analysis(cache)


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_the_same_content_gives_the_same_bytes(cache, tmp_path, name, url):
    cache.bundle(cache.record, tmp_path / "a" / name)
    # saved again, by a cache elsewhere, which knows more than the record, a second later
    again = Cache(tmp_path / "again", remote=url, silent=True)
    again.load_dataset(OTHER, "wheel.position")
    again.restore(cache.record)
    os.environ["TZ"] = "Asia/Tokyo"
    try:
        again.bundle(cache.record, tmp_path / "b" / name)
    finally:
        del os.environ["TZ"]
    cache.bundle(cache.save_record(tmp_path / "later.jsonl"), tmp_path / "c" / name)
    cache.bundle(cache.recorder, tmp_path / "d" / name)
    a, b, c, d = (digests(tmp_path / letter) for letter in "abcd")
    assert a == b == c == d


def test_another_process_gives_the_same_bytes(cache, tmp_path):
    cache.bundle(cache.record, tmp_path / "a.zip")
    code = (
        "from one_cache import Cache\n"
        f"cache = Cache({str(cache.cache_dir)!r}, mode='local')\n"
        f"cache.load_cache({str(tmp_path / 'tables')!r})\n"
        f"cache.bundle({str(cache.record)!r}, {str(tmp_path / 'b.zip')!r})\n"
    )
    cache.save_cache(tmp_path / "tables")
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONHASHSEED": "7"}
    )
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_another_process_finds_the_rows_where_the_files_came_from(tmp_path, lab):
    with DataServer(lab) as server:
        cache = Cache(tmp_path / "cache", remote=server.url, silent=True)
        with cache.recording():
            cache.load_object(PLACE, "wheel")
        record = cache.save_record(tmp_path / "record.jsonl")
        cache.bundle(record, tmp_path / "a.zip")
        # as the next process: what the first one was told, and saved nowhere, is forgotten
        again = Cache(cache.cache_dir, remote=server.url, silent=True)
        again.bundle(record, tmp_path / "b.zip")
    # nor need the source be there: its tables were kept
    later = Cache(cache.cache_dir, remote=server.url, silent=True)
    with pytest.warns(CacheWarning, match="is away"):
        later.bundle(record, tmp_path / "c.zip")
    a, b, c = ((tmp_path / f"{letter}.zip").read_bytes() for letter in "abc")
    assert a == b == c


def test_tables_alone_pin_what_another_cache_holds(cache, tmp_path):
    report = cache.bundle(cache.record, tmp_path / "tables", tables_only=True)
    assert report.ok
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == [
        "datasets.pqt",
        "manifest.json",
        "record.jsonl",
        "sessions.pqt",
    ]
    fixed = ONE(cache_dir=cache.cache_dir, tables_dir=tmp_path / "tables", mode="fixed")
    assert run_analysis(fixed) == run_analysis(cache)


def test_the_record_of_a_bundle_is_what_was_read(cache, tmp_path):
    cache.bundle(cache.record, tmp_path / "out")
    head, entries = read_record(tmp_path / "out" / "record.jsonl")
    original, read = read_record(cache.record)
    assert entries == read
    assert {**original, "saved": ""} == {**head, "saved": ""}
    manifest = Manifest.read(tmp_path / "out")
    assert manifest.remotes == (cache.source,)
    assert manifest.tables["datasets"].rows == 4


def test_a_bundle_is_verified_against_its_record(cache, tmp_path):
    cache.bundle(cache.record, tmp_path / "out")
    bundle = Cache(tmp_path / "out", silent=True)
    assert bundle.verify().ok
    _, entries = read_record(cache.record)
    (tmp_path / "out" / entries[0].path).unlink()
    assert [problem.kind for problem in bundle.verify().problems] == ["missing"]


def test_a_zip_file_is_unpacked_to_the_folder_that_it_could_have_been(cache, tmp_path):
    cache.bundle(cache.record, tmp_path / "out")
    cache.bundle(cache.record, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    assert digests(tmp_path / "unpacked") == digests(tmp_path / "out")


def test_what_is_missing_is_listed_and_the_rest_is_bundled(cache, tmp_path):
    _, entries = read_record(cache.record)
    cache.store.path(entries[0].path).unlink()
    local = Cache(cache.cache_dir, mode="local")
    report = local.bundle(cache.record, tmp_path / "out")
    assert [(one.kind, one.path) for one in report.problems] == [("missing", entries[0].path)]
    assert len(report.files) == 3
    # in remote mode it is brought first
    assert cache.bundle(cache.record, tmp_path / "whole.zip").ok


def test_a_list_of_ids_is_bundled(cache, tmp_path):
    ids, path = cache.save_loaded_ids()
    assert cache.bundle(path, tmp_path / "out").ok
    fixed = ONE(cache_dir=tmp_path / "out", mode="fixed")
    assert len(fixed.datasets) == len(ids) == 4
    assert fixed.load_dataset(OTHER, "licks.times.npy").size


def test_files_without_hashes_are_pinned_by_what_they_are(lab, tmp_path):
    for table in lab.glob("*.pqt"):
        table.unlink()
    cache = Cache.index(lab, silent=True)
    with cache.recording():
        cache.load_dataset(OTHER, "licks.times.npy")
    ids, path = cache.save_loaded_ids(clear_list=False)
    cache.bundle(cache.recorder, tmp_path / "a")
    cache.bundle(path, tmp_path / "b")
    for name in "ab":
        fixed = ONE(cache_dir=tmp_path / name, mode="fixed")
        assert fixed.load_dataset(OTHER, "licks.times.npy").size


def test_nothing_is_overwritten_and_nothing_is_left_half_done(cache, tmp_path):
    cache.bundle(cache.record, tmp_path / "out")
    for name in ("out", "record.jsonl"):
        with pytest.raises(InvalidArgument, match="is there already"):
            cache.bundle(cache.record, tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert cache.bundle(cache.record, tmp_path / "empty").ok
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_a_killed_process_left_goes_when_it_is_silent_for_long(cache, tmp_path):
    left = {age: tmp_path / f".paper.zip.{age}-0a0b0c0d.part" for age in (10, 10_000)}
    for age, folder in left.items():
        folder.mkdir()
        (folder / "zip").write_bytes(b"half")
        for path in (folder / "zip", folder):
            os.utime(path, (time.time() - age,) * 2)
    assert cache.bundle(cache.record, tmp_path / "paper.zip").ok
    assert [folder.exists() for folder in left.values()] == [True, False]


def test_answers_and_tables_of_other_doors_come_along(cache, tmp_path):
    import pyarrow

    from one_cache.recorder import Entry

    file = cache.store.write("neuprint/q1.pqt", b"answer")
    row = {"id": "q1", "path": file.path, "size": file.size, "hash": file.hash, "server": "s"}
    cache.tables.add("queries", [row, {**row, "id": "q2"}])
    cache.tables.replace("units", pyarrow.table({"id": [2, 1], "snr": [1.5, None]}), meta={"k": 1})
    csv = cache.store.write("units.csv", b"id,snr\n")
    with cache.recording() as recorder:
        for kind, key, one in (("query", "q1", file), ("table", "units", csv)):
            recorder.add(Entry(kind, key, path=one.path, size=one.size, hash=one.hash))
    for name in ("a.zip", "b.zip"):
        assert cache.bundle(cache.recorder, tmp_path / name).ok
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    other = Cache(tmp_path / "other", silent=True)
    assert other.restore(tmp_path / "a.zip").ok
    assert other.store.path("units.csv").read_bytes() == b"id,snr\n"
    assert other.tables.rows("SELECT id FROM queries") == [{"id": "q1"}]
    assert other.tables.rows("SELECT id, snr FROM units ORDER BY id")[0] == {"id": 1, "snr": None}
    assert other.tables.meta("units")["k"] == 1
    cache.bundle(cache.recorder, tmp_path / "c")
    assert set(Manifest.read(tmp_path / "c").tables) == {
        "datasets",
        "sessions",
        "queries",
        "units",
    }


@pytest.mark.filterwarnings("ignore")
def test_one_api_opens_the_tables(cache, tmp_path):
    api = pytest.importorskip("one.api", reason="ONE-api is not installed")
    cache.bundle(cache.record, tmp_path / "out")
    one = api.One(cache_dir=tmp_path / "out")
    eids = one.search(subject="KS014")
    assert len(eids) == 1
    assert one.load_object(eids[0], "wheel")["position"].size
