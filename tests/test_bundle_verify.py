"""Every byte hashed again: what is found, what is repaired, what an interruption costs."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from one_cache import Cache
from one_cache.bundle.verify import SO_FAR, verify
from one_cache.errors import InvalidArgument, ModeError
from one_cache.modes import FileState
from one_cache.recorder import read_record
from one_cache.records import File
from one_cache.store import Store

PLACE = "KS014/2024-02-07/001"
OTHER = "KS01/2024-01-15/001"


@pytest.fixture
def cache(url, tmp_path):
    cache = Cache(tmp_path / "cache", remote=url, silent=True)
    with cache.recording():
        cache.load_object(PLACE, "wheel")
        cache.load_dataset(OTHER, "licks.times.npy")
    return cache


def damage(path):
    """Change a byte and nothing that a stat could tell."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def kinds(report):
    return {problem.path.rpartition("/")[2]: problem.kind for problem in report.problems}


def test_a_sound_cache_is_sound(cache):
    report = cache.verify()
    assert report.ok
    assert not report.problems
    assert len(report.files) == 3


def test_each_thing_that_is_wrong_is_named(cache):
    position, timestamps, licks = (cache.store.path(one.path) for one in cache.recorder)
    position.unlink()
    damage(timestamps)
    (licks.parent / "notes.txt").write_text("mine")
    (licks.parent / f".x.npy.once.{'0' * 6}-99999-{'0' * 8}.part").write_bytes(b"x")
    os.utime(licks.parent / f".x.npy.once.{'0' * 6}-99999-{'0' * 8}.part", (0, 0))
    report = cache.verify()
    assert kinds(report) == {
        position.name: "missing",
        timestamps.name: "different",
        "notes.txt": "extra",
        f".x.npy.once.{'0' * 6}-99999-{'0' * 8}.part": "unfinished",
    }
    reasons = {problem.kind: problem.reason for problem in report.problems}
    assert reasons["different"].startswith("expected md5")
    assert reasons["unfinished"] == "left by a process that is gone"
    assert not report.ok
    assert [file.path for file in report.files] == [list(cache.recorder)[2].path]


def test_strangers_alone_are_no_fault(cache):
    (cache.cache_dir / "results").mkdir()
    (cache.cache_dir / "results" / "figure.png").write_bytes(b"x")
    report = cache.verify()
    assert report.ok
    assert kinds(report) == {"figure.png": "extra"}


def test_what_the_cache_writes_for_itself_is_no_stranger(cache):
    cache.save_cache()
    cache.freeze()
    cache.save_loaded_ids()
    assert not cache.verify().problems


def test_a_record_is_all_that_is_looked_at(cache, tmp_path):
    record = cache.save_record(tmp_path / "record.jsonl")
    cache.load_dataset(PLACE, "licks.times.npy", download_only=True).unlink()
    assert not cache.verify(record).problems
    _, entries = read_record(record)
    cache.store.path(entries[0].path).unlink()
    assert [one.id for one in cache.verify(record).problems] == [entries[0].id]


def test_what_was_never_brought_is_not_missing_where_there_is_a_remote(cache, lab):
    assert len(cache.verify().files) == 3
    home = Cache(lab, silent=True)
    assert len(home.verify().files) == 294
    home.load_dataset(OTHER, "licks.times.npy", download_only=True).unlink()
    assert kinds(home.verify()) == {"licks.times.npy": "missing"}


def test_bad_files_are_repaired_in_remote_mode(cache, url):
    position, timestamps, licks = (cache.store.path(one.path) for one in cache.recorder)
    before = timestamps.read_bytes()
    position.unlink()
    damage(timestamps)
    report = cache.verify(repair=True)
    assert report.ok
    assert len(report.files) == 3
    assert timestamps.read_bytes() == before
    local = Cache(cache.cache_dir, mode="local")
    with pytest.raises(ModeError, match="fetches nothing"):
        local.verify(repair=True)


def test_what_cannot_be_repaired_is_still_named(lab, tmp_path):
    from one_cache.serve import DataServer

    with DataServer(lab) as server:
        cache = Cache(tmp_path / "cache", remote=server.url, silent=True)
        paths = [
            cache.load_dataset(PLACE, name, download_only=True)
            for name in ("licks.times.npy", "wheel.position")
        ]
        for path in paths:
            damage(path)
        os.remove(lab / paths[0].relative_to(cache.cache_dir))
        report = cache.verify(repair=True)
    assert kinds(report) == {"licks.times.npy": "gone"}


def test_a_fixed_cache_is_verified_and_left_as_it_is(cache):
    cache.freeze()
    fixed = Cache(cache.cache_dir, mode="fixed")
    before = sorted(path for path in cache.cache_dir.rglob("*"))
    assert fixed.verify().ok
    damage(cache.store.path(next(iter(cache.recorder)).path))
    assert not Cache(cache.cache_dir, mode="fixed").verify().ok
    assert sorted(path for path in cache.cache_dir.rglob("*")) == before


def test_a_file_that_no_table_knows_must_be_as_it_was_noted(cache):
    cache.store.write("neuprint/answer.pqt", b"answer")
    assert cache.verify().ok
    damage(cache.store.path("neuprint/answer.pqt"))
    assert kinds(cache.verify()) == {"answer.pqt": "different"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_does_not_end_the_run(cache):
    path = cache.store.path(next(iter(cache.recorder)).path)
    path.chmod(0)
    try:
        report = cache.verify()
    finally:
        path.chmod(0o600)
    assert kinds(report) == {path.name: "failed"}
    assert len(report.files) == 2


def test_damage_is_named_again_by_each_later_run(cache):
    # the tables are at the remote: here, only the notes say what a file was
    file = next(iter(cache.recorder))
    damage(cache.store.path(file.path))
    reasons = [Cache(cache.cache_dir, remote=cache.source).verify().problems for _ in range(3)]
    assert [[one.kind for one in found] for found in reasons] == [["different"]] * 3
    assert reasons[0] == reasons[2]


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    store = Store(tmp_path)
    files = [store.write(f"a/{number}.npy", os.urandom(8 << 20)) for number in range(20)]
    code = (
        "import sys\n"
        "from one_cache.bundle.verify import verify\n"
        "from one_cache.records import File\n"
        "from one_cache.store import Store\n"
        f"files = [File(*one) for one in {[(f.path, f.size, f.hash) for f in files]!r}]\n"
        f"print(verify(Store({str(tmp_path)!r}), files, threads=1))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    log = tmp_path / SO_FAR
    while not log.exists() or len(log.read_text().splitlines()) < 2:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = [
        json.loads(line)[0]
        for line in log.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]
    assert 2 <= len(done) < 20
    # one that was found good has changed since; the others are not read again
    damage(tmp_path / done[0])
    os.utime(tmp_path / done[0])
    damage(tmp_path / done[1])
    [problem] = verify(store, files)
    assert problem.path == done[0]
    assert not log.exists()
    assert {one.path for one in verify(store, files)} == {done[0], done[1]}


def test_a_torn_log_of_an_interrupted_run_is_no_hindrance(tmp_path):
    store = Store(tmp_path)
    file = store.write("a.npy", b"x")
    (tmp_path / SO_FAR).parent.mkdir(exist_ok=True)
    (tmp_path / SO_FAR).write_text('["a.npy", 1, 2\nnonsense')
    assert verify(store, [file, File("b.npy", 1)])[0].kind == "missing"


def test_tables_that_were_saved_here_say_that_there_is_a_remote(cache):
    cache.search(subject="KS014")
    cache.list_datasets(PLACE)
    cache.save_cache()
    later = Cache(cache.cache_dir)
    assert later.tables.meta("datasets")["origin"] == [cache.source]
    assert later.verify().ok
    with pytest.raises(ModeError, match="name the remote"):
        Cache(cache.cache_dir, mode="local").verify(repair=True)


def test_less_than_one_thread_is_refused(cache):
    with pytest.raises(InvalidArgument, match="threads=0"):
        cache.verify(threads=0)


def test_notes_keep_what_is_known_by_another_algorithm(tmp_path):
    store = Store(tmp_path)
    file = store.write("a.npy", b"x")
    sha = f"sha256:{store.digest('a.npy', 'sha256')}"
    assert verify(store, [File("a.npy", hash=sha)]) == []
    fresh = Store(tmp_path)
    assert fresh.states([file, File("a.npy", hash=sha)]) == [FileState.GOOD] * 2
