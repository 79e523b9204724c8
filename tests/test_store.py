"""The files under one root: paths, states, notes, publishing, locks."""

import errno
import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from one_cache.errors import (
    HashMismatch,
    InvalidArgument,
    PathEscapes,
    SizeMismatch,
    StoreError,
    TransferFailed,
)
from one_cache.modes import FileState
from one_cache.records import File
from one_cache.store import Store
from one_cache.store.incoming import BIG

REL = "lab/Subjects/KS014/2019-12-06/001/alf/#2024-05-06#/spikes.times.npy"


def md5(content):
    return hashlib.md5(content).hexdigest()


@pytest.mark.parametrize(
    "rel",
    ["", "/etc/passwd", "../x", "a/../../x", "a/..", "C:/x", "C:x", "a\\b", "a\0b", "a//b", "./a"],
)
def test_a_path_that_is_not_within_the_root_is_refused(tmp_path, rel):
    store = Store(tmp_path)
    with pytest.raises(PathEscapes):
        store.path(rel)
    with pytest.raises(PathEscapes):
        store.state(File(rel))


def test_what_is_written_is_good_for_the_next_store(tmp_path):
    written = Store(tmp_path).write(REL, [b"01", b"23"])
    assert written == File(REL, 4, md5(b"0123"))
    assert Store(tmp_path).state(written) is FileState.GOOD


def test_a_changed_file_is_hashed_again(tmp_path):
    store = Store(tmp_path)
    file = store.write(REL, b"0123")
    store.path(REL).write_bytes(b"4567")
    assert store.state(file) is FileState.UNCHECKED
    assert store.check(file) is FileState.WRONG
    # what it should be stays noted; what it happens to be is not
    assert store.state(file) is FileState.UNCHECKED
    assert store.noted(REL) is None
    assert {note.hashes[0] for _, note in store.all_notes()} == {file.hash}
    assert "expected md5 eb62f6b9306d…, got md5" in store.problem(file)


def test_wrong_bytes_never_get_the_name(tmp_path):
    store = Store(tmp_path)
    for file, error in ((File(REL, 5), SizeMismatch), (File(REL, 4, md5(b"x")), HashMismatch)):
        with store.incoming(file) as incoming:
            incoming.write(b"0123")
            with pytest.raises(error):
                incoming.publish()
    assert [name for _, _, names in os.walk(tmp_path) for name in names] == []


def test_a_store_for_reading_changes_nothing(tmp_path):
    file = Store(tmp_path).write(REL, b"0123")
    os.remove(tmp_path / ".one_cache/verified/lab/Subjects/KS014/2019-12-06/001.json")
    before = sorted(tmp_path.rglob("*"))
    store = Store(tmp_path, writable=False)
    assert store.state(file) is FileState.UNCHECKED
    assert store.check(file) is FileState.GOOD
    assert store.state(file) is FileState.GOOD, "known to this process"
    with store.lock("lab") as alone:
        assert alone
    with pytest.raises(StoreError, match="reading only"):
        store.write(REL, b"")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "blake2b", "sha512", "sha3_256"])
def test_every_algorithm_is_told_by_its_length_or_its_name(tmp_path, algorithm):
    store = Store(tmp_path)
    digest = hashlib.new(algorithm, b"0123").hexdigest()
    store.write(REL, b"0123")
    assert store.digest(REL, algorithm) == digest
    for text in (digest, digest.upper(), f"{algorithm}:{digest}"):
        if algorithm in ("sha512", "sha3_256") and ":" not in text:
            continue
        file = File(REL, 4, text)
        # the note knows another algorithm: hashed once, then both are known
        assert store.check(file) is FileState.GOOD
        assert store.state(file) is FileState.GOOD
        assert store.state(File(REL, 4, md5(b"0123"))) is FileState.GOOD
        assert store.problem(file) == ""
    with store.incoming(File("other", 4, f"{algorithm}:{digest}")) as incoming:
        incoming.write(b"0123")
        assert incoming.publish().size == 4


def test_a_blake2b_of_another_length_is_named(tmp_path):
    digest = hashlib.blake2b(b"0123", digest_size=32).hexdigest()
    store = Store(tmp_path)
    store.write(REL, b"0123")
    assert store.check(File(REL, 4, f"blake2b:{digest}")) is FileState.GOOD
    assert store.state(File(REL, 4, f"blake2b:{digest}")) is FileState.GOOD
    assert store.check(File(REL, 4, digest)) is FileState.WRONG, "64 digits alone are sha256"


@pytest.mark.parametrize("text", ["abc", "x" * 32, "md6:ab", "ab:cd"])
def test_a_hash_that_is_none_is_refused(tmp_path, text):
    store = Store(tmp_path)
    store.write(REL, b"0123")
    with pytest.raises(InvalidArgument, match="hash"):
        store.check(File(REL, 4, text))


def test_the_states_of_a_file(tmp_path):
    store = Store(tmp_path)
    file = File(REL, 4, md5(b"0123"))
    assert store.state(file) is FileState.MISSING
    assert store.check(file) is FileState.MISSING
    assert store.problem(file) == "not on disk"
    store.path(REL).parent.mkdir(parents=True)
    store.path(REL).write_bytes(b"0123")
    assert store.state(file) is FileState.UNCHECKED
    assert store.noted(REL) is None
    assert store.check(file) is FileState.GOOD
    assert store.state(file) is FileState.GOOD
    assert store.noted(REL) == file
    assert store.state(File(REL, 5, md5(b"0123"))) is FileState.WRONG
    assert store.problem(File(REL, 5)) == "expected 5 bytes, got 4"
    assert store.state(File(REL, 4, md5(b"x"))) is FileState.WRONG
    assert store.state(File(REL)) is FileState.GOOD, "without a record what was noted counts"
    store.path(REL).unlink()
    store.path(REL).mkdir()
    assert store.state(file) is FileState.WRONG
    assert store.problem(file) == "expected a file, found a folder"
    assert store.state(File(f"{REL}/x")) is FileState.MISSING


@pytest.mark.parametrize("change", ["size", "time", "inode"])
def test_a_note_counts_for_the_file_it_was_made_of(tmp_path, change):
    store = Store(tmp_path)
    file = store.write(REL, b"0123")
    path = store.path(REL)
    before = path.stat()
    if change == "size":
        path.write_bytes(b"01234")
    elif change == "time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns - 1))
    else:
        other = path.with_name("other")
        other.write_bytes(b"4567")
        os.replace(other, path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    wanted = FileState.WRONG if change == "size" else FileState.UNCHECKED
    assert store.state(file) is wanted


def test_the_states_of_many_files_come_in_order(tmp_path):
    store = Store(tmp_path)
    files = [
        store.write(f"lab/Subjects/s/2024-01-0{day}/001/{folder}{number}.npy", b"%d" % number)
        for number in range(5)
        for day in (1, 2)
        for folder in ("", "alf/", "alf/#r#/", "raw/")
    ]
    store.path(files[3].path).unlink()
    store.path(files[17].path).write_bytes(b"longer")
    wanted = [FileState.GOOD] * 40
    wanted[3], wanted[17] = FileState.MISSING, FileState.WRONG
    assert Store(tmp_path).states(files) == wanted
    assert len(list((tmp_path / ".one_cache/verified").rglob("*.json"))) == 2


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'{"files": 3}',
        b'{"files": {"licks.npy": [1]}}',
        b"\xff\xfe",
        b'{"files": {"licks.npy": ["a", 2, 3, "b"]}}',
        b'{"files": {"licks.npy": 4}}',
    ],
)
def test_notes_that_cannot_be_read_cost_the_hashing_only(tmp_path, text):
    rel = "lab/Subjects/s/2024-01-01/001/licks.npy"
    store = Store(tmp_path)
    file = store.write(rel, b"0123")
    [notes] = (tmp_path / ".one_cache/verified").rglob("*.json")
    notes.write_bytes(text)
    assert store.state(file) is FileState.UNCHECKED
    assert store.check(file) is FileState.GOOD
    assert Store(tmp_path).state(file) is FileState.GOOD


def test_notes_of_many_threads_are_all_kept(tmp_path):
    files = [File(f"lab/Subjects/s/2024-01-01/001/alf/{n:03d}.npy") for n in range(60)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda file: Store(tmp_path).write(file.path, b"0123"), files))
    assert Store(tmp_path).states(files) == [FileState.GOOD] * 60


def test_what_is_written_appears_whole_or_not_at_all(tmp_path):
    store = Store(tmp_path)
    store.write(REL, b"before")

    def chunks():
        yield b"af"
        assert store.path(REL).read_bytes() == b"before"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.write(REL, chunks())
    assert store.path(REL).read_bytes() == b"before"
    assert [path.name for path in store.path(REL).parent.iterdir()] == ["spikes.times.npy"]
    durable = Store(tmp_path, durable=True)
    assert durable.write(REL, b"after", algorithm="sha256").hash == (
        hashlib.sha256(b"after").hexdigest()
    )
    assert store.path(REL).read_bytes() == b"after"


def test_what_is_removed_is_forgotten(tmp_path):
    store = Store(tmp_path)
    file = store.write(REL, b"0123")
    assert store.remove(REL)
    assert not store.remove(REL)
    assert store.state(file) is FileState.MISSING
    assert REL.rpartition("/")[2] not in next(tmp_path.rglob("*.json")).read_text()


@pytest.mark.parametrize("where", ["folder", "above", "absolute", "loop"])
def test_a_link_in_a_folder_does_not_lead_out(tmp_path, where):
    outside, root = tmp_path / "outside", tmp_path / "root"
    (outside / "s").mkdir(parents=True)
    (outside / "s" / "x.npy").write_bytes(b"secret")
    (root / "inside" / "s").mkdir(parents=True)
    target = {"absolute": outside, "loop": root / "link", "above": "../outside"}.get(
        where, outside
    )
    (root / "link").symlink_to(target)
    (root / "fine").symlink_to("inside")
    store = Store(root)
    for act in (store.path, store.exists, lambda rel: store.write(rel, b"x"), store.remove):
        with pytest.raises(StoreError):
            act("link/s/x.npy")
    with pytest.raises(StoreError):
        store.states([File("link/s/x.npy")])
    store.write("fine/s/y.npy", b"a link within the root is fine")
    assert (root / "inside" / "s" / "y.npy").exists()
    assert (outside / "s" / "x.npy").read_bytes() == b"secret"


@pytest.mark.parametrize("rel", [".one_cache/verified/x.json", ".one_cache/locks/x.lock"])
def test_no_record_names_what_the_store_keeps_for_itself(tmp_path, rel):
    with pytest.raises(PathEscapes):
        Store(tmp_path).write(rel, b"forged")


def test_a_name_as_long_as_the_disk_allows(tmp_path):
    store = Store(tmp_path)
    for name in ("x" * 251 + ".npy", "é" * 120 + ".npy"):
        file = store.write(f"s/{name}", b"0123")
        assert store.state(file) is FileState.GOOD
    with pytest.raises(StoreError, match="no name that long") as caught:
        store.write("x" * 300, b"")
    assert caught.value.errno == errno.ENAMETOOLONG


def test_a_lock_is_for_one_at_a_time(tmp_path):
    store, other = Store(tmp_path), Store(tmp_path)
    with store.lock("lab/s") as alone:
        assert alone
        with other.lock("lab/other") as second:
            assert second
        with other.lock("lab/s", wait=0.05) as second:
            assert not second
        assert other.acquire("lab/s") is None
    with other.lock("lab/s", wait=0) as alone:
        assert alone


def test_old_partial_files_are_cleaned_and_those_of_the_living_are_not(tmp_path):
    store = Store(tmp_path)
    big = File("s/big.npy", BIG, md5(bytes(BIG)))
    with store.incoming(File("s/live.npy")) as live:
        live.write(b"01")
        with store.incoming(big) as begun:
            begun.write(bytes(2 << 20))
        [part] = (path for path in (tmp_path / "s").iterdir() if "big" in path.name)
        old = part.with_name(".old.npy.0123456789ab.aaaaaa-1-00000000.part")
        dead = part.with_name(".dead.npy.once.aaaaaa-1-00000000.part")
        for path, days in ((old, 8), (dead, 1)):
            path.write_bytes(b"x")
            os.utime(path, (time.time() - days * 86400,) * 2)
        store.clean("s")
        names = {path.name for path in (tmp_path / "s").iterdir()}
        assert names == {part.name, next(n for n in names if n.startswith(".live"))}
        assert store.under_way("s")
        live.write(b"23")
        live.publish()
    with store.incoming(big) as incoming:
        assert incoming.position == 0
        assert list(incoming.resume()) == [1 << 20, 2 << 20]
        incoming.restart()
        incoming.write(bytes(BIG))
        incoming.publish()
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["big.npy", "live.npy"]
    assert not store.under_way("s")


def test_a_partial_file_that_is_gone_when_it_is_looked_at_is_in_nobodys_way(tmp_path):
    data = b"x" * (5 << 20)
    file = File("s/big.npy", len(data), hashlib.md5(data).hexdigest())
    store = Store(tmp_path)
    with store.incoming(file) as incoming:
        incoming.write(data[: 2 << 20])
    [part] = (tmp_path / "s").iterdir()
    part.unlink()
    # a link that leads nowhere is listed, and cannot be asked for its size
    part.symlink_to("nowhere")
    with store.incoming(file) as incoming:
        assert list(incoming.resume()) == []
        incoming.write(data)
        incoming.publish()
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["big.npy"]


def test_a_partial_file_that_another_program_removes_is_made_anew(tmp_path):
    store = Store(tmp_path)
    with store.incoming(File("s/a.npy", 4)) as incoming:
        incoming.write(b"0123")
        [part] = (tmp_path / "s").iterdir()
        part.unlink()
        with pytest.raises(TransferFailed, match="removed by another program"):
            incoming.publish()
        assert incoming.position == 0
        incoming.write(b"4567")
        incoming.publish()
    assert (tmp_path / "s" / "a.npy").read_bytes() == b"4567"


def test_a_file_without_the_right_to_read_is_named(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    store = Store(tmp_path)
    file = store.write(REL, b"0123")
    store.path(REL).chmod(0)
    with pytest.raises(StoreError, match="Permission denied"):
        store.check(file)


def test_the_door_to_the_store_is_light():
    code = "import sys, one_cache.store, one_cache.transfer; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    heavy = {"numpy", "pandas", "duckdb", "pyarrow", "requests", "tqdm", "filelock", "asyncio"}
    assert heavy.isdisjoint(loaded.split())
