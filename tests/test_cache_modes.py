import os
import socket
import subprocess
import sys
import warnings

import numpy as np
import pytest

from one_cache import ONE, Cache
from one_cache.errors import (
    CacheWarning,
    HashMismatch,
    InvalidArgument,
    ManifestMismatch,
    ManifestMissing,
    ModeError,
    NotInCache,
    TransferFailed,
)
from one_cache.serve import DataServer

EPHYS = "KS014/2024-02-07/001"
WHEEL = "northlab/Subjects/KS014/2024-02-07/001/alf/_ibl_wheel.position.npy"


@pytest.fixture
def analysed(url, tmp_path):
    """A cache folder that an analysis filled from the server, saved and froze."""
    folder = tmp_path / "cache"
    cache = Cache(folder, remote=url, silent=True)
    cache.load_object(EPHYS, "wheel")
    cache.freeze()
    return folder


def everything(folder):
    return {
        path.relative_to(folder): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
    }


# -- remote ----------------------------------------------------------------------------------


def test_remote_mode_fetches_what_is_missing_and_nothing_twice(url, tmp_path):
    cache = Cache(tmp_path, remote=url, silent=True)
    first = cache.load_dataset(EPHYS, "wheel.position")
    path = tmp_path / WHEEL
    written = path.stat().st_mtime_ns
    again = Cache(tmp_path, remote=url, silent=True).load_dataset(EPHYS, "wheel.position")
    np.testing.assert_array_equal(first, again)
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_remote_mode_replaces_a_damaged_file(url, tmp_path, damage):
    cache = Cache(tmp_path, remote=url, silent=True)
    whole = cache.load_dataset(EPHYS, "wheel.position")
    _damage(tmp_path / WHEEL, damage)
    np.testing.assert_array_equal(cache.load_dataset(EPHYS, "wheel.position"), whole)


def _damage(path, how):
    data = path.read_bytes()
    changed = data[:-1] + bytes([data[-1] ^ 1])
    path.unlink()
    path.write_bytes({"flip": changed, "cut": data[:-10], "empty": b""}[how])


def test_a_server_that_never_answered_is_one_clear_error(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    cache = Cache(tmp_path, remote=f"http://127.0.0.1:{port}", silent=True)
    with pytest.raises(TransferFailed, match="nothing was brought from there before"):
        cache.search()
    with pytest.raises(ConnectionError):
        cache.list_datasets(EPHYS)
    assert cache.mode == "remote"


def test_a_server_that_went_away_is_answered_for_by_what_was_brought(lab, tmp_path):
    folder = tmp_path / "cache"
    with DataServer(lab) as server:
        first = Cache(folder, remote=server.url, silent=True)
        eids = first.search()
        first.load_dataset(EPHYS, "licks.times.npy")
        address = server.url
    later = Cache(folder, remote=address, silent=True)
    with pytest.warns(CacheWarning, match=r"is away .*using the tables that were brought 0\.0 h"):
        assert later.search() == eids
    assert later.load_dataset(EPHYS, "licks.times.npy").size
    assert later.mode == "remote"


def test_revised_tables_of_the_server_are_noticed(lab, tmp_path):
    from dataclasses import replace

    from one_cache.tables import Tables

    folder = tmp_path / "cache"
    with DataServer(lab) as server:
        cache = Cache(folder, remote=server.url, silent=True)
        assert "new.times.npy" not in cache.list_datasets(EPHYS)
        tables = Tables.open(lab)
        eid = str(cache.to_eid(EPHYS))
        one = tables.datasets_of(eid)[0]
        new = replace(one, id=one.id[:-12] + "0" * 12, rel_path="new.times.npy")
        tables.add("datasets", [new])
        tables.save()
        assert "new.times.npy" in Cache(folder, remote=server.url).list_datasets(EPHYS)


# -- local -----------------------------------------------------------------------------------


def test_local_mode_answers_as_remote_mode_did(url, analysed, tmp_path):
    remote = Cache(tmp_path / "other", remote=url, silent=True)
    local = Cache(analysed)
    assert local.mode == "local"
    assert local.list_datasets(EPHYS) == remote.list_datasets(EPHYS)
    np.testing.assert_array_equal(
        local.load_object(EPHYS, "wheel").position, remote.load_object(EPHYS, "wheel").position
    )


def test_local_mode_fetches_nothing_unless_a_call_says_so(url, analysed):
    local = Cache(analysed, remote=url, mode="local", silent=True)
    with pytest.raises(NotInCache, match=r"licks\.times\.npy.*not on disk.*one-cache get"):
        local.load_dataset(EPHYS, "licks.times.npy")
    assert local.load_dataset(EPHYS, "licks.times.npy", query_type="remote").size
    assert local.load_dataset(EPHYS, "licks.times.npy").size


def test_local_mode_gives_no_damaged_data(analysed):
    _damage(analysed / WHEEL, "flip")
    with pytest.raises(HashMismatch, match=r"expected md5 .*got"):
        Cache(analysed).load_dataset(EPHYS, "wheel.position")


def test_a_cache_without_a_remote_says_so(analysed):
    local = Cache(analysed)
    local.mode = "remote"
    with pytest.raises(ModeError, match="has no remote"):
        local.search()


# -- fixed -----------------------------------------------------------------------------------


def test_fixed_mode_gives_the_same_bytes_and_writes_nothing(analysed):
    before = everything(analysed)
    fixed = Cache(analysed, mode="fixed")
    np.testing.assert_array_equal(
        fixed.load_dataset(EPHYS, "wheel.position"), np.load(analysed / WHEEL)
    )
    fixed.record_loaded = True
    fixed.load_object(EPHYS, "wheel", query_type="remote")
    assert fixed.save_cache() == {}
    fixed.freeze()
    assert everything(analysed) == before


def test_fixed_mode_opens_no_socket(analysed):
    code = f"""
import socket
def refuse(*args, **kwargs):
    raise AssertionError("a socket was opened")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from one_cache import ONE
one = ONE("http://127.0.0.1:9", cache_dir={str(analysed)!r}, mode="fixed")
print(one.load_object({EPHYS!r}, "wheel", query_type="remote").position.sum())
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_fixed_mode_refuses_a_changed_file(analysed, damage):
    _damage(analysed / WHEEL, damage)
    with pytest.raises(HashMismatch, match=r"expected .*got.*to restore it: one-cache get"):
        Cache(analysed, mode="fixed").load_dataset(EPHYS, "wheel.position")


def test_fixed_mode_hashes_even_what_looks_unchanged(analysed):
    path = analysed / WHEEL
    Cache(analysed).load_dataset(EPHYS, "wheel.position")
    was = path.stat()
    data = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(bytes([data[-1] ^ 1]))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    with pytest.raises(HashMismatch):
        Cache(analysed, mode="fixed").load_dataset(EPHYS, "wheel.position")


def test_fixed_mode_names_what_is_missing(analysed):
    fixed = Cache(analysed, mode="fixed")
    with pytest.raises(NotInCache, match=r"licks\.times\.npy.*expected \d+ bytes, [0-9a-f]{32}"):
        fixed.load_dataset(EPHYS, "licks.times.npy")


def test_fixed_mode_refuses_tables_that_changed(analysed):
    cache = Cache(analysed)
    cache.tables.add("sessions", [{"id": "0" * 8 + "-0000-4000-8000-" + "0" * 12, "subject": "x"}])
    cache.save_cache()
    with pytest.raises(ManifestMismatch, match="'sessions'.*expects sha256"):
        Cache(analysed, mode="fixed")


def test_fixed_mode_needs_a_manifest_of_the_release_asked_for(analysed, tmp_path):
    with pytest.raises(ManifestMissing, match="freeze"):
        Cache(tmp_path / "empty", mode="fixed")
    Cache(analysed).freeze(release="2026-Q1")
    Cache(analysed, mode="fixed", version="2026-Q1")
    with pytest.raises(ManifestMismatch, match="release '2026-Q1'.*version='2027'"):
        Cache(analysed, mode="fixed", version="2027")


def test_a_cache_neither_becomes_fixed_nor_stops_being_it(analysed):
    with pytest.raises(ModeError, match="opened as one"):
        Cache(analysed).mode = "fixed"
    fixed = Cache(analysed, mode="fixed")
    with pytest.raises(ModeError, match="stays one"):
        fixed.mode = "remote"
    fixed.mode = "fixed"


def test_a_frozen_cache_keeps_its_cut_off(url, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("ONE_REVISION_LAST_BEFORE", "2024-04-01")
    cache = Cache(folder, remote=url, silent=True)
    cache.list_datasets(EPHYS)
    cache.freeze()
    monkeypatch.delenv("ONE_REVISION_LAST_BEFORE")
    assert Cache(folder, mode="fixed").list_revisions(EPHYS) == [""]


def test_a_dataset_without_a_recorded_hash_is_pinned_by_what_is_on_disk(lab):
    from dataclasses import replace

    from one_cache.tables import Tables

    tables = Tables.open(lab)
    bare = [replace(one, hash=None) for one in tables.datasets_of(str(Cache(lab).to_eid(EPHYS)))]
    tables.add("datasets", bare)
    tables.save()
    Cache(lab).freeze()
    fixed = Cache(lab, mode="fixed")
    assert fixed.load_dataset(EPHYS, "wheel.position").size
    _damage(lab / WHEEL, "flip")
    with pytest.raises(HashMismatch):
        Cache(lab, mode="fixed").load_dataset(EPHYS, "wheel.position")


# -- opening ---------------------------------------------------------------------------------


def test_the_same_arguments_give_the_same_object(url, tmp_path, monkeypatch):
    one = ONE(url, cache_dir=tmp_path)
    assert ONE(base_url=url, cache_dir=tmp_path) is one
    assert ONE(url, cache_dir=str(tmp_path)) is one
    assert ONE(url, cache_dir=tmp_path, mode="local") is not one
    monkeypatch.setenv("ONE_REVISION_LAST_BEFORE", "2024-01-01")
    assert ONE(url, cache_dir=tmp_path) is not one
    monkeypatch.delenv("ONE_REVISION_LAST_BEFORE")
    ONE.cache_clear()
    assert ONE(url, cache_dir=tmp_path) is not one


def test_one_without_arguments_means_the_server_used_first(url, tmp_path):
    with pytest.raises(InvalidArgument, match="does not know a server yet"):
        ONE()
    first = ONE(url)
    assert ONE().source == first.source == url
    assert ONE().cache_dir == first.cache_dir
    assert ONE(mode="local").cache_dir == first.cache_dir


def test_a_frozen_folder_remembers_its_server(url, analysed):
    assert ONE(cache_dir=analysed).source == url
    assert ONE(cache_dir=analysed, mode="local").mode == "local"


def test_a_folder_without_a_server_is_local(lab):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = ONE(cache_dir=lab)
    assert one.mode == "local"
    assert one.offline
    assert len(one.search()) == 12


def test_a_folder_can_be_a_remote(lab, tmp_path):
    cache = Cache(tmp_path / "cache", remote=str(lab), silent=True)
    assert cache.load_object(EPHYS, "wheel").position.size
    assert (tmp_path / "cache" / WHEEL).exists()


@pytest.mark.parametrize("mode", ["online", "REMOTE"])
def test_an_unknown_mode_is_refused(lab, mode):
    with pytest.raises(InvalidArgument, match="mode must be one of"):
        Cache(lab, mode=mode)
