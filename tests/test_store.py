"""The files under one root: paths, states, notes, publishing, locks."""

import hashlib
import os

import pytest

from one_cache.errors import HashMismatch, PathEscapes, SizeMismatch, StoreError
from one_cache.modes import FileState
from one_cache.records import File
from one_cache.store import Store

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
    assert store.state(file) is FileState.WRONG
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
