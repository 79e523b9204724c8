"""Populate: what is missing is computed, once; what holds is read."""

import fcntl
import json
import multiprocessing
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from uuid import UUID

import numpy as np
import pandas as pd
import populate_jobs
import pytest
from populate_jobs import mean_licks, picky, traced

from one_cache import Cache
from one_cache.errors import HashMismatch, InvalidArgument, NotInCache, OneCacheError
from one_cache.trials import Condition, align, aligned_activity, peth, populate, trial_windows
from one_cache.trials.fingerprint import fingerprint
from one_cache.trials.packing import pack, unpack

DATA = Path(__file__).parent / "data" / "trials"
JOBS = populate_jobs.__file__


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache", silent=True)


@pytest.fixture
def traces(tmp_path):
    folder = tmp_path / "traces"
    folder.mkdir()
    return folder


def runs(folder):
    """Which key was computed how often."""
    keys = [int(path.name.split("-")[0]) for path in folder.iterdir()]
    return {key: keys.count(key) for key in sorted(set(keys))}


# -- what is computed, and what not ---------------------------------------------------------------


def test_only_what_is_missing_is_computed(cache, traces):
    given = {"folder": str(traces)}
    first = populate([1, 2], traced, cache, arguments=given)
    second = populate([1, 2, 3], traced, cache, arguments=given)
    assert (first.computed, second.computed) == ([1, 2], [3])
    assert runs(traces) == {1: 1, 2: 1, 3: 1}
    np.testing.assert_array_equal(second[2]["square"], [0, 2, 4, 6, 8])
    assert second[1]["pid"] == first[1]["pid"] == os.getpid()


def test_another_process_finds_what_one_has_computed_without_saved_tables(cache, traces):
    given = {"folder": str(traces)}
    populate([1, 2], traced, cache, arguments=given)
    (Path(cache.cache_dir) / "results.pqt").unlink()
    again = Cache(cache.cache_dir, silent=True)
    assert populate([1, 2], traced, again, arguments=given).computed == []
    assert len(again.relation("results")) == 2


def test_equal_keys_are_computed_once(cache, traces):
    found = populate({"a": 7, "b": 7}, traced, cache, arguments={"folder": str(traces)})
    assert runs(traces) == {7: 1}
    assert found["a"]["key"] == found["b"]["key"] == 7


def test_changed_content_is_computed_again_and_nothing_else(cache):
    def total(cache, values):
        return float(np.sum(values))

    one, two = np.arange(3.0), np.arange(4.0)
    assert populate({"one": one, "two": two}, total, cache).computed == ["one", "two"]
    two[1] = 100
    found = populate({"one": one, "two": two}, total, cache)
    assert (found.computed, found["two"]) == (["two"], 105.0)
    two[1] = 1
    assert populate({"one": one, "two": two}, total, cache)["two"] == 6.0


def test_changed_arguments_and_changed_source_are_computed_again(cache):
    def total(cache, values, scale=1):
        return scale * sum(values)

    assert populate([(1, 2)], total, cache).computed == [(1, 2)]
    assert populate([(1, 2)], total, cache, arguments={"scale": 2})[(1, 2)] == 6
    assert populate([(1, 2)], total, cache).computed == []

    def total(cache, values, scale=1):
        return scale * sum(values) + 1

    assert populate([(1, 2)], total, cache).computed == [(1, 2)]


def _step():
    return 1


def _uses_step(cache, key):
    return key + _step()


def test_a_change_of_a_function_that_is_used_counts_too(monkeypatch):
    before = fingerprint(_uses_step)
    other = {}
    exec("def _step():\n    return 2\n", {"__name__": __name__}, other)
    monkeypatch.setitem(globals(), "_step", other["_step"])
    assert fingerprint(_uses_step) != before


def test_a_function_without_a_source_counts_by_its_code(tmp_path):
    def made(text, name):
        space = {}
        exec(compile(text, str(name), "exec"), space)
        return fingerprint(space["job"])

    page = tmp_path / "page.md"
    page.write_text("# A page with (one bracket that is open\n" * 3)
    one, two = (f"def job(cache, key):\n    return key + {n}\n" for n in (1, 2))
    for name in ("<input>", page):
        assert made(one, name) == made(one, name) != made(two, name)


def test_values_that_a_function_encloses_count():
    def made(offset):
        return lambda cache, key: key + offset

    assert fingerprint(made(1)) == fingerprint(made(1)) != fingerprint(made(2))
    assert fingerprint(partial(picky, key=1)) != fingerprint(partial(picky, key=2))


def test_a_file_that_was_damaged_is_computed_again(cache, traces):
    given = {"folder": str(traces)}
    found = populate([1], traced, cache, arguments=given)
    path = Path(cache.cache_dir, found.row(1).path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises((HashMismatch, NotInCache), match="traced, key 1"):
        found[1]
    assert populate([1], traced, cache, arguments=given)[1]["key"] == 1
    assert runs(traces) == {1: 2}


# -- datasets that a function loads ---------------------------------------------------------------


def test_results_of_a_dataset_that_changed_are_computed_again(lab):
    cache = Cache(lab, silent=True)
    eids = [str(eid) for eid in cache.search(datasets="licks.times.npy")][:3]
    assert len(populate(eids, mean_licks, cache).computed) == 3
    path = cache.load_dataset(eids[1], "licks.times.npy", download_only=True)
    np.save(path, np.array([1.0, 3.0]))
    # the tables still name the old bytes
    assert populate(eids, mean_licks, cache).computed == []
    [dataset] = [one for one in cache.tables.datasets_of(eids[1]) if one.name == "licks.times.npy"]
    new = {
        "hash": cache.store.digest(str(path.relative_to(lab))),
        "file_size": path.stat().st_size,
    }
    cache.tables.add("datasets", [replace(dataset, **new)])
    found = populate(eids, mean_licks, cache)
    assert (found.computed, found[eids[1]]) == ([eids[1]], 2.0)


def test_results_of_a_revision_that_is_no_longer_the_default_are_computed_again(lab):
    cache = Cache(lab, silent=True)
    eid = str(cache.search(datasets="licks.times.npy")[0])
    [old] = [one for one in cache.tables.datasets_of(eid) if one.name == "licks.times.npy"]
    cache.tables.add("datasets", [replace(old, default_revision=True)])
    assert populate([eid], mean_licks, cache).computed == [eid]
    path = cache.load_dataset(eid, "licks.times.npy", download_only=True)
    rel_path = f"{old.collection}/#2030-01-01#/{old.name}"
    file = cache.store.write(
        f"{cache.tables.session(eid).path}/{rel_path}", path.read_bytes()[:-8] + bytes(8)
    )
    new = replace(old, id=str(UUID(int=9)), rel_path=rel_path, hash=file.hash)
    cache.tables.add("datasets", [replace(old, default_revision=False), new])
    assert populate([eid], mean_licks, cache).computed == [eid]
    [read] = populate([eid], mean_licks, cache).row(eid).read
    assert read["id"] == new.id


def test_the_row_names_what_was_read_and_the_record_gets_it(lab):
    cache = Cache(lab, silent=True)
    eid = str(cache.search(datasets="licks.times.npy")[0])
    with cache.recording() as record:
        found = populate([eid], mean_licks, cache)
    [read] = found.row(eid).read
    assert [entry.id for entry in record] == [read["id"]]
    assert read["hash"] == cache.tables.datasets([read["id"]])[0].hash
    record.clear()
    with cache.recording():
        populate([eid], mean_licks, cache)[eid]
    assert [(entry.kind, entry.id) for entry in record] == [("result", found.row(eid).id)]


def test_results_made_of_results_follow_them(cache):
    def first(cache, key):
        return key * 2

    def second(cache, key):
        return populate([key], first, cache)[key] + 1

    assert populate([1], second, cache)[1] == 3
    [read] = populate([1], second, cache).row(1).read
    assert read["kind"] == "result"
    assert populate([1], second, cache).computed == []
    row = cache.tables.rows("SELECT * FROM results WHERE id = ?", [read["id"]])[0]
    cache.tables.add("results", [{**row, "hash": "0" * 64}])
    (Path(cache.cache_dir) / row["path"]).with_name(f"{row['id']}.json").unlink()
    assert populate([1], second, cache).computed == [1]


# -- modes ----------------------------------------------------------------------------------------


def test_results_are_read_in_local_and_fixed_mode_and_bundled(lab, tmp_path):
    cache = Cache(lab, silent=True)
    eids = [str(eid) for eid in cache.search(datasets="licks.times.npy")][:2]
    with cache.recording() as record:
        expected = dict(populate(eids, mean_licks, cache).items())
    cache.freeze()
    frozen = Cache(lab, mode="fixed", silent=True)
    found = populate(eids, mean_licks, frozen)
    assert (found.computed, dict(found.items())) == ([], expected)
    report = cache.bundle(record, tmp_path / "bundle")
    assert not report.problems
    there = Cache(tmp_path / "bundle", mode="fixed", silent=True)
    assert dict(populate(eids, mean_licks, there).items()) == expected


def test_a_fixed_cache_computes_nothing(cache, traces):
    given = {"folder": str(traces)}
    populate([1], traced, cache, arguments=given)
    cache.freeze()
    frozen = Cache(cache.cache_dir, mode="fixed", silent=True)
    with pytest.raises(NotInCache, match="traced, key 2: .* mode 'fixed' computes nothing"):
        populate([1, 2], traced, frozen, arguments=given)
    found = populate([1, 2], traced, frozen, arguments=given, errors="collect")
    assert (list(found.errors), found[1]["key"]) == ([2], 1)
    path = Path(cache.cache_dir, found.row(1).path)
    path.write_bytes(path.read_bytes().replace(b"square", b"SQUARE"))
    with pytest.raises(HashMismatch):
        populate([1], traced, Cache(cache.cache_dir, mode="fixed"), arguments=given)[1]


# -- who computes ---------------------------------------------------------------------------------


def pools():
    spawn = multiprocessing.get_context("spawn")
    yield "threads", lambda: ThreadPoolExecutor(2)
    yield "processes", lambda: ProcessPoolExecutor(2, mp_context=spawn)


@pytest.mark.parametrize(("kind", "pool"), list(pools()), ids=lambda one: str(one)[:9])
def test_workers_compute_each_key_once_and_what_they_read_is_recorded(lab, kind, pool):
    cache = Cache(lab, silent=True)
    eids = [str(eid) for eid in cache.search(datasets="licks.times.npy")]
    with pool() as executor, cache.recording() as record:
        found = populate(eids, mean_licks, cache, executor=executor)
    assert found.computed == eids
    assert len(record) == len(eids)
    alone = Cache(lab, silent=True)
    for eid in eids:
        assert found[eid] == mean_licks(alone, eid)
    assert populate(eids, mean_licks, alone).computed == []


def test_a_dask_cluster_computes(lab):
    distributed = pytest.importorskip("distributed")
    cache = Cache(lab, silent=True)
    eids = [str(eid) for eid in cache.search(datasets="licks.times.npy")]
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        cache.recording() as record,
    ):
        found = populate(eids, mean_licks, cache, executor=client)
        failing = populate([1, 2, 3], picky, cache, executor=client, errors="collect")
    assert found.computed == eids
    assert sorted(entry.eid for entry in record) == sorted(eids)
    assert all(found[eid] == mean_licks(cache, eid) for eid in eids)
    assert (failing[3], list(failing.errors)) == (4, [2])


def test_processes_share_the_keys_and_compute_none_twice(cache, traces):
    count = 8
    command = [sys.executable, JOBS, str(cache.cache_dir), str(traces), str(count), "0.3"]
    started = [subprocess.Popen(command) for _ in range(3)]
    assert [one.wait(60) for one in started] == [0, 0, 0]
    assert runs(traces) == dict.fromkeys(range(count), 1)
    assert len({path.name.split("-")[1] for path in traces.iterdir()}) > 1  # they shared
    assert len(Cache(cache.cache_dir).relation("results")) == count


def test_a_process_that_is_killed_leaves_what_is_done_and_nothing_half_done(cache, traces):
    command = [sys.executable, JOBS, str(cache.cache_dir), str(traces), "6", "0.4"]
    one = subprocess.Popen(command)
    end = time.monotonic() + 60
    while len(list(traces.iterdir())) < 3 and time.monotonic() < end:
        time.sleep(0.02)
    one.kill()
    one.wait()
    assert subprocess.run(command, check=False).returncode == 0
    times = runs(traces)
    assert sorted(times) == list(range(6))
    assert all(n == 1 for key, n in times.items() if key != 2)  # the third was under way
    assert times[2] == 2


def test_errors_are_raised_or_collected_and_what_is_done_is_kept(cache):
    with pytest.raises(ZeroDivisionError, match="taste"):
        populate([1, 2, 3], picky, cache)
    found = populate([1, 2, 3], picky, cache, errors="collect")
    assert found.computed == [3]  # the first one was kept
    assert dict(found.items()) == {1: 2, 3: 4}
    assert isinstance(found.errors[2], ZeroDivisionError)
    with pytest.raises(OneCacheError, match="no result of key 2"):
        found[2]
    with pytest.raises(InvalidArgument, match="no key 9"):
        found[9]


def test_the_bar_is_named_after_the_function(cache, traces):
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, JOBS, str(cache.cache_dir), str(traces), "2", "0"]
    env = {**os.environ, "ONE_CACHE_PROGRESS": "1", "TERM": "xterm"}
    done = subprocess.run(command, stderr=follower, env=env, check=False)
    os.close(follower)
    shown = os.read(leader, 10_000).decode()
    os.close(leader)
    assert done.returncode == 0
    assert "traced: 100%" in shown
    assert "2/2" in shown


# -- conditions -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def conditions():
    trials, events = pd.read_csv(DATA / "trials.csv"), pd.read_csv(DATA / "events.csv")
    alignments = pd.read_csv(DATA / "alignments.csv").set_index("alignment_name")
    activity = np.load(DATA / "activity.npz")
    return {
        f"{kind}_center": Condition(
            activity["caiman_dff"],
            alignments.loc["center_button"],
            trials[trials.trial_type == kind],
            events,
            rate=float(activity["fps"]),
            bin_size=0.04,
            unit="dF/F",
        )
        for kind in ("stim", "ctrl")
    }


def test_named_conditions_give_aligned_activity(cache, conditions):
    found = populate(conditions, aligned_activity, cache)
    assert list(found) == ["stim_center", "ctrl_center"]
    one = conditions["ctrl_center"]
    windows = trial_windows(one.trials, one.events, one.alignment)
    expected = align(one.activity, windows, rate=one.rate, bin_size=0.04, unit="dF/F")
    got = found["ctrl_center"]
    np.testing.assert_array_equal(got.data, expected.data)
    np.testing.assert_array_equal(got.time, expected.time)
    assert got.unit == "dF/F"
    assert populate(conditions, aligned_activity, cache).computed == []
    strict = populate(conditions, aligned_activity, cache, arguments={"strict": True})
    assert strict.computed == ["stim_center", "ctrl_center"]
    assert len(strict["ctrl_center"].trial_id) == 10


# -- content and files ----------------------------------------------------------------------------


def test_what_holds_the_same_has_the_same_hash():
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [0.5, np.nan]})
    assert fingerprint(frame) == fingerprint(frame.copy())
    assert fingerprint(frame) == fingerprint(frame.astype({"b": object}))
    assert fingerprint(frame) != fingerprint(frame.assign(b=["x", "y"]))
    assert fingerprint(frame) != fingerprint(frame.rename(columns={"a": "d"}))
    assert fingerprint(frame) != fingerprint(frame.set_index("a"))
    strided = np.arange(12).reshape(3, 4)[:, ::2]
    assert fingerprint(strided) == fingerprint(strided.copy())
    assert fingerprint(strided) == fingerprint(strided.astype(">i8"))
    assert fingerprint(strided) != fingerprint(strided.T)
    assert fingerprint(np.float64(0.5), np.int32(3)) == fingerprint(0.5, 3)
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert fingerprint([1, [2, 3]]) != fingerprint([[1, 2], 3])
    assert fingerprint(True) != fingerprint(1) != fingerprint(1.0)
    with pytest.raises(InvalidArgument, match="cannot depend on a builtins.object"):
        fingerprint({"a": [object()]})


def test_the_hash_is_the_same_in_another_process():
    code = (
        "import populate_jobs, numpy as np; from one_cache.trials.fingerprint import fingerprint;"
        "print(fingerprint({'a', 'b', 'c'}, {'k': np.arange(4)}, populate_jobs.traced))"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(JOBS).parent), "PYTHONHASHSEED": "77"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    here = fingerprint({"a", "b", "c"}, {"k": np.arange(4)}, traced)
    assert done.stdout.strip() == here


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6).reshape(6, 1),
        np.array(["a", "bc"]),
        {"a": [1, 2.5, None, True], 3: ("x", np.float32(1.5)), "t": date(2024, 1, 2)},
        UUID(int=5),
        float("inf"),
        "text",
        [],
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_comes_back_as_it_was(tmp_path, value):
    content, extension = pack(value)
    assert pack(value)[0] == content
    path = tmp_path / f"x{extension}"
    path.write_bytes(content)
    found = unpack(path)
    assert type(found) is type(value)
    np.testing.assert_equal(found, value)


def test_frames_and_counts_come_back_too(tmp_path):
    counts = peth([0.5, 1.25], [4, 7], [1.0], (-1, 1), 1.0)
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=pd.Index([5, 6], name="unit"))
    content, extension = pack({"counts": counts, "frame": frame})
    path = tmp_path / f"x{extension}"
    path.write_bytes(content)
    found = unpack(path)
    assert type(found["counts"]) is type(counts)
    np.testing.assert_equal(found["counts"], counts)
    pd.testing.assert_frame_equal(found["frame"], frame)


def test_what_cannot_be_kept_is_named_with_its_place(cache):
    with pytest.raises(InvalidArgument, match=r"the result\['a'\]\[1\] is a builtins.object"):
        pack({"a": [1, object()]})
    with pytest.raises(InvalidArgument, match="array of Python objects"):
        pack(np.array([object()]))

    def bad(cache, key):
        return object()

    with pytest.raises(InvalidArgument, match="cannot be kept"):
        populate([1], bad, cache)


def test_a_row_says_what_its_result_is(cache, traces):
    found = populate({"one": 1}, traced, cache, arguments={"folder": str(traces)})
    row = (cache.relation("results") & 'function = "traced"').fetch1()
    assert (row["key"], row["id"], row["path"]) == (
        "one",
        found.row("one").id,
        found.row("one").path,
    )
    assert json.loads(row["versions"])["numpy"] == np.__version__
