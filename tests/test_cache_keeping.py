import csv
import multiprocessing
import pickle
import time

import numpy as np
import pytest

from one_cache import ONE, Cache
from one_cache.errors import CacheWarning, ModeError, OneCacheError, StoreError
from one_cache.recorder import Entry, Recorder, read_record

PLACE = "KS014/2024-02-07/001"
OTHER = "KS01/2024-01-15/001"


@pytest.fixture
def cache(url, tmp_path):
    return Cache(tmp_path / "cache", remote=url, silent=True)


# -- the record ------------------------------------------------------------------------------


def test_only_what_was_loaded_while_recording_is_recorded(cache, sample):
    cache.load_dataset(PLACE, "licks.times.npy")
    cache.record_loaded = True
    cache.load_object(PLACE, "wheel")
    cache.load_dataset(OTHER, "licks.times.npy", download_only=True)
    with pytest.raises(FileNotFoundError):
        cache.load_dataset(PLACE, "no.such.npy")
    cache.list_datasets(PLACE)
    cache.record_loaded = False
    cache.load_dataset(PLACE, "licks.times.npy")
    ids, path = cache.save_loaded_ids(clear_list=False)
    assert len(ids) == 3
    assert path.parent == cache.tables_dir
    assert path.name.endswith("_loaded_dataset_uuids.csv")
    rows = list(csv.reader(path.read_text().splitlines()))
    assert rows == [["dataset_uuid"], *[[str(one)] for one in sorted(ids, key=str)]]
    sessions, other = cache.save_loaded_ids(sessions_only=True)
    assert {str(one) for one in sessions} == {sample.eid(PLACE), sample.eid(OTHER)}
    assert other.name.endswith("_loaded_session_uuids.csv")
    assert other.read_text().startswith("session_uuid\n")
    with pytest.warns(CacheWarning, match="no datasets loaded"):
        assert cache.save_loaded_ids() == ([], None)


def test_the_record_outlives_a_reload_of_the_tables(cache):
    cache.record_loaded = True
    cache.load_dataset(PLACE, "licks.times.npy")
    cache.save_cache()
    cache.load_cache()
    cache.reset_cache()
    assert len(cache.recorder) == 1
    cache.load_dataset(PLACE, "licks.times.npy")
    assert len(cache.save_loaded_ids()[0]) == 1


def test_two_lists_within_one_second_are_two_files(cache):
    cache.record_loaded = True
    cache.load_dataset(PLACE, "licks.times.npy")
    paths = [cache.save_loaded_ids(clear_list=False)[1] for _ in range(3)]
    assert len(set(paths)) == 3


def test_the_full_record_has_order_hash_and_source(cache, tmp_path, url):
    with cache.recording():
        cache.load_dataset(PLACE, "wheel.position")
        cache.load_dataset(PLACE, "licks.times.npy")
        cache.load_dataset(PLACE, "wheel.position")
    assert not cache.record_loaded
    path = cache.save_record(tmp_path / "paper" / "record.jsonl")
    head, entries = read_record(path)
    names = [entry.rel_path.rsplit("/")[-1] for entry in entries]
    assert names == ["_ibl_wheel.position.npy", "licks.times.npy", "_ibl_wheel.position.npy"]
    assert entries[0].hash
    assert entries[0].size
    assert (entries[0].source, entries[0].mode) == (url, "remote")
    assert head["decoders"]["numpy"] == np.__version__
    assert head["mode"] == "remote"


def test_a_fixed_cache_writes_its_lists_elsewhere(cache, tmp_path, monkeypatch):
    cache.load_dataset(PLACE, "licks.times.npy")
    cache.freeze()
    fixed = Cache(cache.cache_dir, mode="fixed")
    fixed.record_loaded = True
    fixed.load_dataset(PLACE, "licks.times.npy")
    monkeypatch.chdir(tmp_path)
    _, path = fixed.save_loaded_ids(clear_list=False)
    assert path.parent == tmp_path
    with pytest.raises(ModeError, match="writes nothing into the cache"):
        fixed.save_record(cache.cache_dir / "record.jsonl")
    assert fixed.save_record(tmp_path / "record.jsonl").exists()


def test_a_recorder_travels_to_other_processes():
    recorder = Recorder(on=True)
    recorder.add(Entry("dataset", "1"))
    assert [entry.id for entry in pickle.loads(pickle.dumps(recorder))] == ["1"]


@pytest.mark.parametrize("text", ["", "{}\n", "nonsense\n", '{"record": 99}\n'])
def test_what_is_no_record_is_named(tmp_path, text):
    path = tmp_path / "record.jsonl"
    path.write_text(text)
    with pytest.raises(OneCacheError, match="record"):
        read_record(path)


# -- tables ----------------------------------------------------------------------------------


def test_saved_tables_serve_local_mode_elsewhere(cache, tmp_path):
    cache.load_object(PLACE, "wheel")
    eids = cache.search()
    folder = cache.cache_dir / "my_analysis_tables"
    written = cache.save_cache(folder, clobber=True)
    assert sorted(path.name for path in written.values()) == ["datasets.pqt", "sessions.pqt"]
    local = Cache(cache.cache_dir, mode="local", tables_dir=folder)
    assert local.search() == eids
    assert local.load_object(PLACE, "wheel").position.size
    late = Cache(cache.cache_dir, mode="local")
    with pytest.warns(CacheWarning, match="nothing can be found"):
        assert late.search() == []
    late.load_cache(folder)
    assert late.search() == eids
    assert late.tables_dir == folder


def test_saving_merges_unless_told_to_clobber(cache, url):
    cache.list_datasets(PLACE)
    cache.save_cache()
    again = Cache(cache.cache_dir, remote=url, silent=True)
    again.list_datasets(OTHER)
    again.save_cache()
    assert len(Cache(cache.cache_dir, mode="local").search()) == 2
    fresh = Cache(cache.cache_dir, remote=url, tables_dir=cache.cache_dir / "t", silent=True)
    fresh.list_datasets(OTHER)
    fresh.save_cache(cache.cache_dir, clobber=True)
    assert len(Cache(cache.cache_dir, mode="local").search()) == 1


def test_questions_go_on_after_saving(cache):
    cache.list_datasets(PLACE)
    cache.save_cache()
    cache.list_datasets(OTHER)
    cache.load_dataset(OTHER, "licks.times.npy")
    cache.save_cache()
    assert len(Cache(cache.cache_dir, mode="local").search()) == 2


def test_loading_the_cache_brings_the_whole_tables_of_the_remote(cache):
    cache.load_cache()
    assert len(cache.sessions) == 12
    assert len(cache.datasets) == 295
    assert len(Cache(cache.cache_dir, mode="local").search()) == 12


def test_no_tables_are_warned_of(tmp_path):
    cache = Cache(tmp_path)
    with pytest.warns(CacheWarning, match="no access tables"):
        cache.load_cache()
    with pytest.warns(CacheWarning, match="nothing can be found"):
        assert cache.search() == []
    assert cache.search() == []


def test_saved_tables_choose_the_same_revision(cache):
    drift = {"dataset": "drift.times.npy", "collection": "alf/probe00/pykilosort"}
    remote = cache.load_dataset(PLACE, **drift, download_only=True)
    cache.save_cache()
    local = Cache(cache.cache_dir, mode="local")
    assert local.load_dataset(PLACE, **drift, download_only=True) == remote


def test_resetting_forgets_what_was_not_saved(cache):
    cache.list_datasets(PLACE)
    cache.save_cache()
    cache.list_datasets(OTHER)
    cache.reset_cache()
    assert len(cache.sessions) == 1


def test_a_folder_that_cannot_be_written_is_named(url, tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file" / "cache", remote=url, silent=True)
    with pytest.raises(StoreError, match="file/cache refuses"):
        cache.load_dataset(PLACE, "licks.times.npy")


def _save_one(url, folder, place, start):
    cache = Cache(folder, remote=url, silent=True)
    cache.load_dataset(place, "licks.times.npy")
    time.sleep(max(0, start - time.time()))
    cache.save_cache()


def test_processes_that_save_at_the_same_moment_all_keep_their_rows(url, tmp_path, sample):
    context = multiprocessing.get_context("spawn")
    places = [session.path for session in sample.sessions][:6]
    start = time.time() + 4
    workers = [
        context.Process(target=_save_one, args=(url, tmp_path, place, start)) for place in places
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 6
    assert len(Cache(tmp_path, mode="local").search()) == 6


# -- a folder without a database -------------------------------------------------------------


def test_a_bare_folder_becomes_a_lab(lab):
    for table in lab.glob("*.pqt"):
        table.unlink()
    cache = Cache.index(lab, hash=True, silent=True)
    assert len(cache.search()) == 12
    first = cache.list_datasets(PLACE, details=True)
    assert cache.load_object(PLACE, "wheel").position.size
    again = Cache.index(lab, hash=True, silent=True)
    assert first.equals(again.list_datasets(PLACE, details=True))
    again.freeze()
    assert ONE(cache_dir=lab, mode="fixed").load_object(PLACE, "wheel").position.size
