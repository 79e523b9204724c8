"""What is recorded: every field, and what other processes and executors read."""

import json
import multiprocessing
import os
import pickle
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from one_cache import Cache
from one_cache.errors import CacheWarning, OneCacheError
from one_cache.journal import Journal
from one_cache.recorder import Entry, Recorder, read_ids, read_record

PLACES = ["KS014/2024-02-05/001", "KS014/2024-02-05/002", "KS014/2024-02-07/001"]
METHODS = [name for name in ("fork", "spawn") if name in multiprocessing.get_all_start_methods()]


@pytest.fixture
def cache(url, tmp_path):
    return Cache(tmp_path / "cache", remote=url, silent=True)


def load_licks(cache, place):
    return len(cache.load_dataset(place, "licks.times.npy"))


def load_or_fail(cache, place):
    cache.load_dataset(place, "licks.times.npy")
    if place == PLACES[1]:
        raise ValueError("as the test wants")


def test_each_field_is_what_it_says(cache, tmp_path, sample, url, monkeypatch):
    first, revised = sample.revised
    monkeypatch.setenv("ONE_REVISION_LAST_BEFORE", "2024-12-31")
    cache = Cache(tmp_path / "cache", remote=url, silent=True)
    with cache.recording():
        cache.load_dataset(revised.eid, "drift.times.npy", revision="2024-05-06")
        cache.load_dataset_from_id(first.id)
    head, (late, early) = read_record(cache.save_record(tmp_path / "record.jsonl"))
    assert head["revision_last_before"] == "2024-12-31"
    assert set(head) >= {"one_cache", "python", "decoders", "mode", "remotes", "saved"}
    assert (late.id, late.eid, late.revision) == (revised.id, revised.eid, "2024-05-06")
    assert (early.id, early.revision) == (first.id, "")
    assert (late.default, early.default) == (True, False)
    assert (late.size, late.hash) == (revised.file_size, revised.hash)
    assert late.path.endswith(f"/001/{late.rel_path}")
    assert (late.qc, late.source, late.mode, late.kind) == ("NOT_SET", url, "remote", "dataset")
    assert late.at <= early.at
    assert len(late.at.split(".")[1]) == len("123+00:00")


def test_a_file_without_a_hash_in_its_record_is_recorded_as_it_is_on_disk(lab, tmp_path):
    for table in lab.glob("*.pqt"):
        table.unlink()
    cache = Cache.index(lab, silent=True)
    with cache.recording():
        path = cache.load_dataset(PLACES[0], "licks.times.npy", download_only=True)
    [entry] = cache.recorder
    assert entry.size == path.stat().st_size
    assert entry.hash == cache.store.digest(entry.path)


def test_a_cache_travels_with_its_settings_and_without_its_record(cache, url):
    cache.wildcards, cache.tries = False, 2
    cache.list_datasets(PLACES[0])
    with cache.recording():
        load_licks(cache, PLACES[0])
        copy = pickle.loads(pickle.dumps(cache))
    assert (copy.cache_dir, copy.mode, copy.source) == (cache.cache_dir, "remote", url)
    assert (copy.wildcards, copy.tries, copy.silent) == (False, 2, True)
    assert copy.record_loaded
    assert len(copy.recorder) == 0
    assert len(cache.recorder) == 1
    copy.mode = "local"
    assert load_licks(copy, PLACES[0])


def test_a_fixed_cache_travels_as_a_fixed_one(cache):
    load_licks(cache, PLACES[0])
    cache.freeze()
    copy = pickle.loads(pickle.dumps(Cache(cache.cache_dir, mode="fixed")))
    assert copy.mode == "fixed"
    assert load_licks(copy, PLACES[0])
    with pytest.raises(OneCacheError):
        load_licks(copy, PLACES[1])


@pytest.mark.parametrize("method", METHODS)
def test_what_workers_read_joins_the_record_in_the_order_of_the_items(cache, method):
    context = multiprocessing.get_context(method)
    with cache.recording(), ProcessPoolExecutor(2, mp_context=context) as pool:
        load_licks(cache, PLACES[0])
        counts = cache.map(pool, load_licks, PLACES[::-1])
    assert len(counts) == 3
    assert all(counts)
    read = [entry.path.split("Subjects/")[1][:20] for entry in cache.recorder]
    assert read == [PLACES[0], *PLACES[::-1]]


def test_threads_of_an_executor_do_not_mix_their_records(cache):
    with cache.recording(), ThreadPoolExecutor(3) as pool:
        cache.map(pool, load_licks, PLACES * 5)
    read = [entry.path.split("Subjects/")[1][:20] for entry in cache.recorder]
    assert read == PLACES * 5


def test_what_is_not_recorded_here_is_not_recorded_in_workers(cache):
    with ThreadPoolExecutor(1) as pool:
        cache.map(pool, load_licks, PLACES[:1])
    assert len(cache.recorder) == 0


def test_the_first_error_of_a_worker_is_raised(cache):
    with (
        cache.recording(),
        ThreadPoolExecutor(1) as pool,
        pytest.raises(ValueError, match="as the test wants"),
    ):
        cache.map(pool, load_or_fail, PLACES)
    assert len(cache.recorder) == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_cache_given_to_any_pool_records_for_the_one_that_gave_it(cache, method, tmp_path):
    context = multiprocessing.get_context(method)
    with cache.recording(), ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(load_licks, [cache] * 3, PLACES))
        assert len(cache.recorder) == 3
        assert sorted(cache.recorder.dataset_ids) == sorted(e.id for e in cache.recorder)
        list(pool.map(load_licks, [cache], PLACES))
    head, entries = read_record(cache.save_record(tmp_path / "record.jsonl"))
    assert len(entries) == 4
    assert [entry.at for entry in entries[:3]] == sorted(entry.at for entry in entries[:3])


def _in_a_fork(_):
    return load_licks(_GLOBAL, PLACES[0])


@pytest.mark.skipif("fork" not in METHODS, reason="this system does not fork")
def test_a_forked_process_records_for_its_parent(cache):
    global _GLOBAL
    _GLOBAL = cache
    with cache.recording(), multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(_in_a_fork, range(4))
    assert len(cache.recorder) == 4
    cache.recorder.clear()
    assert len(cache.recorder) == 0


def test_a_recorder_that_comes_back_adds_nothing_twice(cache):
    recorder = Recorder(on=True)
    other = recorder.for_worker()
    recorder.extend([Entry("dataset", "1")])
    recorder.extend(other)
    stranger = Recorder(on=True)
    stranger.add(Entry("dataset", "2"))
    recorder.extend(stranger)
    assert [entry.id for entry in recorder] == ["1", "2"]
    assert recorder.has("dataset", "2")


def test_a_copy_takes_nothing_from_the_one_it_came_from():
    recorder = Recorder(on=True)
    first = recorder.for_worker()
    first.add(Entry("dataset", "1"))
    # made while others read already, as executors do that pickle one item after the other
    second = pickle.loads(pickle.dumps(recorder.for_worker()))
    assert len(second) == 0
    second.add(Entry("dataset", "2"))
    assert sorted(entry.id for entry in recorder) == ["1", "2"]


def test_items_pickled_while_others_are_read_are_all_recorded(cache):
    context = multiprocessing.get_context("spawn")
    with cache.recording(), ProcessPoolExecutor(1, context) as pool:
        for place in PLACES * 2:
            pool.submit(load_licks, cache, place).result()
    assert len(cache.recorder) == 2 * len(PLACES)


def test_a_process_out_of_reach_is_told_that_nothing_is_recorded(tmp_path):
    recorder = Recorder(on=True)
    state = pickle.dumps(recorder)
    del recorder
    if os.fork() == 0:
        copy = pickle.loads(state)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            copy.add(Entry("dataset", "1"))
            copy.add(Entry("dataset", "2"))
        told = [str(one.message) for one in caught if one.category is CacheWarning]
        (tmp_path / "told").write_text(json.dumps(told))
        os._exit(0)
    os.wait()
    [message] = json.loads((tmp_path / "told").read_text())
    assert "Cache.map" in message


def test_half_a_line_waits_for_its_end():
    journal = Journal()
    assert journal.write("one")
    folder = journal._folder
    with open(os.path.join(folder, "99"), "ab") as file:
        file.write(b"whole\nha")
    assert sorted(journal.take()) == ["one", "whole"]
    with open(os.path.join(folder, "99"), "ab") as file:
        file.write(b"lf\n")
    assert journal.take() == ["half"]
    del journal
    assert not os.path.exists(folder)


@pytest.mark.parametrize("kind", ["dataset", "session"])
def test_lists_of_ids_are_read_back(cache, kind):
    with cache.recording():
        load_licks(cache, PLACES[0])
    ids, path = cache.save_loaded_ids(sessions_only=kind == "session")
    assert read_ids(path) == (kind, [str(one) for one in ids])


@pytest.mark.parametrize("text", ["", "name\nx\n", "dataset_uuid\nnonsense\n", "dataset_id\n"])
def test_what_is_no_list_of_ids_is_named(tmp_path, text):
    (tmp_path / "ids.csv").write_text(text)
    with pytest.raises(OneCacheError, match=r"ids\.csv"):
        read_ids(tmp_path / "ids.csv")
