"""Which files may go: a plan first, and never what is kept, foreign, in use, or irreplaceable."""

import datetime as dt
import os
import time

import pytest

from one_cache import ONE, Cache
from one_cache.bundle.clean import carry_out, make_plan, read_age, read_size
from one_cache.bundle.inventory import Inventory
from one_cache.errors import InvalidArgument, ModeError
from one_cache.records import File
from one_cache.store import Store

PLACE = "KS014/2024-02-07/001"
OTHER = "KS01/2024-01-15/001"
DAY = 86400


def unused(path, days):
    then = time.time() - days * DAY
    os.utime(path, (then, then))


@pytest.fixture
def cache(url, tmp_path):
    """Four files, not used for 100, 50, 10 and 0 days; the record of all but the first."""
    cache = Cache(tmp_path / "cache", remote=url, silent=True)
    names = ["licks.times.npy", "wheel.position", "wheel.timestamps", "probes.description"]
    cache.paths = []
    for name, days in zip(names, (100, 50, 10, 0), strict=True):
        cache.record_loaded = days != 100
        cache.paths.append(cache.load_dataset(PLACE, name, download_only=True))
        unused(cache.paths[-1], days)
    cache.record = cache.save_record(tmp_path / "record.jsonl")
    return cache


def here(cache):
    return [path.is_file() for path in cache.paths]


def test_what_was_not_used_for_long_goes(cache):
    plan = cache.clean(older_than="30d")
    assert here(cache) == [False, False, True, True]
    assert [one.path.rpartition("/")[2] for one in plan.removals] == [
        "licks.times.npy",
        "_ibl_wheel.position.npy",
    ]
    assert plan.removals[0].reason == "not used for 100 days"
    assert not plan.problems
    assert plan.kept == sum(path.stat().st_size for path in cache.paths[2:])
    assert not cache.verify().problems
    # they come again when they are asked for
    assert cache.load_dataset(PLACE, "licks.times.npy").size


def test_a_dry_run_is_the_plan_and_nothing_else(cache):
    before = sorted(cache.cache_dir.rglob("*"))
    plan = cache.clean(older_than=30, dry_run=True)
    assert len(plan.removals) == 2
    assert plan.freed == sum(path.stat().st_size for path in cache.paths[:2])
    assert sorted(cache.cache_dir.rglob("*")) == before
    assert cache.clean(older_than=dt.timedelta(days=30)).removals == plan.removals


def test_a_size_is_reached_from_the_longest_unused_on(cache):
    sizes = [path.stat().st_size for path in cache.paths]
    plan = cache.clean(max_size=sum(sizes) - 1)
    assert here(cache) == [False, True, True, True]
    assert plan.kept == sum(sizes[1:])
    cache.clean(max_size=sizes[3])
    assert here(cache) == [False, False, False, True]
    assert cache.clean(max_size="1G").removals == ()


@pytest.mark.parametrize("form", ["record", "bundle", "zip", "ids", "entries", "several"])
def test_what_a_kept_record_needs_stays(cache, tmp_path, form):
    kept = cache.record
    if form == "bundle":
        cache.bundle(cache.record, kept := tmp_path / "out")
    elif form == "zip":
        cache.bundle(cache.record, kept := tmp_path / "out.zip")
    elif form == "ids":
        _, kept = cache.save_loaded_ids(clear_list=False)
    elif form == "entries":
        kept = list(cache.recorder)
    elif form == "several":
        kept = [cache.record, list(cache.recorder)[:1]]
    for path in cache.paths:
        unused(path, 1000)
    plan = cache.clean(kept, older_than="1d", max_size=0)
    assert here(cache) == [False, True, True, True]
    assert plan.needed == sum(path.stat().st_size for path in cache.paths[1:])
    assert cache.verify(cache.record).ok


def test_what_a_manifest_needs_stays(cache, tmp_path):
    cache.freeze(tmp_path / "frozen", record=cache.record)
    for kept in (tmp_path / "frozen", tmp_path / "frozen" / "manifest.json"):
        assert len(cache.clean(kept, max_size=0, dry_run=True).removals) == 1
    cache.freeze()
    assert cache.clean(max_size=0).removals == ()
    assert all(here(cache))
    fixed = ONE(cache_dir=cache.cache_dir, mode="fixed")
    with pytest.raises(ModeError, match="removes nothing"):
        fixed.clean(max_size=0)


def test_strangers_and_what_the_cache_keeps_for_itself_stay(cache):
    mine = cache.cache_dir / "results" / "figure.png"
    mine.parent.mkdir()
    mine.write_bytes(b"x" * 1000)
    beside = cache.paths[0].parent / "notes.txt"
    beside.write_text("mine")
    for path in (mine, beside):
        unused(path, 1000)
    cache.save_cache()
    ids, _ = cache.save_loaded_ids()
    before = {path for path in cache.cache_dir.iterdir() if path.is_file()}
    cache.clean(max_size=0)
    assert here(cache) == [False] * 4
    assert mine.exists()
    assert beside.exists()
    assert {path for path in cache.cache_dir.iterdir() if path.is_file()} == before


def test_answers_of_other_doors_go_like_files(cache):
    cache.store.write("neuprint/answer.pqt", b"answer")
    unused(cache.store.path("neuprint/answer.pqt"), 1000)
    plan = cache.clean(older_than="1y")
    assert [one.path for one in plan.removals] == ["neuprint/answer.pqt"]
    assert not (cache.cache_dir / "neuprint").exists()


def test_the_home_of_the_data_is_never_cleaned(lab):
    home = Cache(lab, silent=True)
    with pytest.raises(InvalidArgument, match="could not be had again"):
        home.clean(max_size=0)
    assert home.verify().ok


def test_a_cache_whose_manifest_names_a_remote_can_be_cleaned(cache, tmp_path):
    local = Cache(cache.cache_dir, mode="local")
    with pytest.raises(InvalidArgument, match="no remote"):
        local.clean(max_size=0)
    manifest = cache.freeze(tmp_path / "frozen", record=cache.record)
    local = Cache(cache.cache_dir, mode="local", tables_dir=manifest.parent)
    local.clean(max_size=0)
    assert here(cache) == [False, True, True, True]


def test_a_file_that_is_being_written_stays(cache):
    file = cache.store.write("x/big.npy", b"old content")
    unused(cache.store.path(file.path), 1000)
    with cache.store.incoming(File(file.path)) as incoming:
        incoming.write(b"new")
        plan = cache.clean(older_than="1d")
        assert cache.store.path(file.path).read_bytes() == b"old content"
        assert file.path not in [one.path for one in plan.removals]
        incoming.write(b" content")
        incoming.publish()
    assert cache.store.path(file.path).read_bytes() == b"new content"


def test_what_somebody_fetches_is_left_alone(cache, tmp_path):
    folder = cache.paths[0].parent.relative_to(cache.cache_dir).as_posix()
    other = Store(cache.cache_dir)
    lock = other.acquire(f"folder {folder}")
    try:
        plan = cache.clean(max_size=0)
    finally:
        lock.release()
    assert all(here(cache))
    assert {problem.reason for problem in plan.problems} == {"in use"}
    assert plan.removals == ()
    assert plan.kept == sum(path.stat().st_size for path in cache.paths)


def test_what_changed_since_the_plan_stays(cache):
    seen = Inventory.take(cache.cache_dir, cache.tables_dir)
    plan = make_plan(seen, set(seen.files), set(), max_size=0)
    cache.paths[0].write_bytes(b"somebody's")
    cache.paths[1].unlink()
    done = carry_out(plan, seen, cache.store)
    assert here(cache) == [True, False, False, False]
    assert [problem.reason for problem in done.problems] == ["changed since the plan was made"]
    assert len(done.removals) == 3


def test_leftovers_of_dead_processes_go_when_nobody_will_continue_them(cache):
    folder = cache.paths[0].parent
    old, new = (folder / f".{n}.npy.once.000000-99999-00000000.part" for n in ("old", "new"))
    for path, days in ((old, 10), (new, 1)):
        path.write_bytes(b"part")
        unused(path, days)
    plan = cache.clean(older_than="1y")
    assert [one.reason for one in plan.removals] == ["left by a process that is gone"]
    assert (old.exists(), new.exists()) == (False, True)


def test_a_folder_that_is_empty_then_goes_too(cache):
    cache.clean(max_size=0)
    assert not list(cache.cache_dir.glob("*lab"))
    assert cache.load_dataset(PLACE, "licks.times.npy").size


def test_the_plan_says_what_it_decides_by(cache):
    with pytest.raises(InvalidArgument, match="say what may go"):
        cache.clean()
    with pytest.raises(InvalidArgument, match="no record at"):
        cache.clean("missing.jsonl", max_size=0)
    assert all(here(cache))


@pytest.mark.parametrize("text", ["", "x", "90 days", "-1d", "d"])
def test_what_is_no_age_is_named(text):
    with pytest.raises(InvalidArgument, match="90d"):
        read_age(text)


@pytest.mark.parametrize("text", ["", "many", "-1", "1.G", "5X"])
def test_what_is_no_size_is_named(text):
    with pytest.raises(InvalidArgument, match="200G"):
        read_size(text)
