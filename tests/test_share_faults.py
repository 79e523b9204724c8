"""As bad luck would have it: killed, full, crowded, corrupt, hostile. Nothing is lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace

import pytest

from one_cache import Cache
from one_cache.bundle.verify import SO_FAR
from one_cache.cli import main
from one_cache.errors import CacheWarning, OneCacheError, StoreError
from one_cache.recorder import read_record, write_record

PLACE = "KS014/2024-02-07/001"
COMMAND = (sys.executable, "-m", "one_cache.cli")


@pytest.fixture
def cache(url, tmp_path):
    """A cache that has read a session, and its record."""
    cache = Cache(tmp_path / "cache", remote=url, silent=True)
    with cache.recording():
        cache.load_collection(PLACE, "alf", download_only=True)
        cache.load_collection(PLACE, "alf/probe00", download_only=True)
    cache.record = cache.save_record(tmp_path / "record.jsonl")
    return cache


def start(*arguments):
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def kill_after(seconds, *arguments):
    """Kill a command after some time; give whether it was still at it."""
    process = start(*arguments)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def is_right(folder, record):
    """Whether a folder holds all that the record names, and nothing half done."""
    report = Cache(folder, silent=True).verify(record)
    return report.ok and len(report.files) == len({entry.path for entry in read_record(record)[1]})


# -- killed ------------------------------------------------------------------------------------

DELAYS = [0.15, 0.3, 0.5, 0.7, 0.9, 1.2]


def test_a_restore_that_is_killed_goes_on_at_the_next_call(cache, tmp_path):
    there = tmp_path / "there"
    killed = [kill_after(delay, "restore", cache.record, "--cache-dir", there) for delay in DELAYS]
    assert any(killed)
    assert main(["restore", str(cache.record), "--cache-dir", str(there), "--quiet"]) == 0
    assert is_right(there, cache.record)
    assert len(Cache(there).load_collection(PLACE, "alf", download_only=True))


def test_a_bundle_that_is_killed_is_whole_or_not_there(cache, tmp_path):
    for name in ("paper.zip", "paper"):
        out = tmp_path / "out" / name
        killed = []
        for delay in DELAYS:
            killed.append(
                kill_after(delay, "bundle", cache.record, out, "--cache-dir", cache.cache_dir)
            )
            if out.exists():
                assert Cache(tmp_path / f"from {name} {delay}", silent=True).restore(out).ok
                break
        assert any(killed)
    # what the dead left beside it is not in the way
    for name in ("paper2.zip", "paper2"):
        assert cache.bundle(cache.record, tmp_path / "out" / name).ok


def test_a_cleaning_that_is_killed_has_removed_what_it_may_and_nothing_else(cache, tmp_path):
    kept = read_record(cache.record)[1][:3]
    write_record(tmp_path / "kept.jsonl", {"record": 1}, kept)
    options = ["--base-url", cache.source, "--cache-dir", cache.cache_dir, "--max-size", "0"]
    for delay in DELAYS:
        kill_after(delay, "clean", "--keep", tmp_path / "kept.jsonl", *options, "--yes")
    assert is_right(cache.cache_dir, tmp_path / "kept.jsonl")
    # what went can be had again
    assert cache.restore(cache.record).ok
    assert is_right(cache.cache_dir, cache.record)


def test_a_verification_that_is_killed_goes_on_at_the_next_call(cache):
    for delay in DELAYS:
        kill_after(delay, "verify", "--record", cache.record, "--cache-dir", cache.cache_dir)
    assert is_right(cache.cache_dir, cache.record)
    assert not (cache.cache_dir / SO_FAR).exists()


# -- disks -------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own, and what makes it read-only."""
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("only root can mount a disk")
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", place]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def read_only(place):
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)


def test_a_disk_that_fills_up_is_named_and_what_fits_is_right(cache, disk, capsys):
    status = main(["restore", str(cache.record), "--cache-dir", str(disk / "c"), "--quiet"])
    out, err = capsys.readouterr()
    assert status == 1
    assert "No space left" in out + err or "MB free" in out + err
    assert not list(disk.rglob("*.part"))
    found = [entry for entry in read_record(cache.record)[1] if (disk / "c" / entry.path).exists()]
    assert found
    assert Cache(disk / "c", silent=True).verify(found).ok


@pytest.mark.parametrize("name", ["paper", "paper.zip"])
def test_a_bundle_for_which_there_is_no_room_leaves_nothing(cache, disk, name):
    with pytest.raises(OneCacheError, match="No space left|MB free"):
        cache.bundle(cache.record, disk / name)
    assert list(disk.iterdir()) == []


def test_a_full_disk_is_verified(cache, disk):
    entries = read_record(cache.record)[1][:2]
    assert Cache(disk, silent=True).restore(entries, source=cache.cache_dir).ok
    free = shutil.disk_usage(disk).free
    (disk / "ballast").write_bytes(bytes(free))
    assert Cache(disk, silent=True).verify(entries).ok


def test_a_folder_that_only_can_be_read_is_verified_bundled_and_left(cache, disk, tmp_path):
    entries = read_record(cache.record)[1][:2]
    assert Cache(disk, silent=True).restore(entries, source=cache.cache_dir).ok
    read_only(disk)
    there = Cache(disk, remote=cache.remote, silent=True)
    assert there.verify(entries).ok
    assert there.bundle(entries, tmp_path / "paper.zip").ok
    with pytest.warns(CacheWarning, match="tables are not used"):
        report = there.restore(cache.record)
    assert len(report.files) == 2
    assert {problem.kind for problem in report.problems} == {"failed"}
    assert all("Read-only" in problem.reason for problem in report.problems)
    plan = there.clean(max_size=0)
    assert plan.removals == ()
    assert all("Read-only" in problem.reason for problem in plan.problems)
    with pytest.raises(StoreError, match="Read-only"):
        cache.bundle(entries, disk / "paper")


# -- many at once ------------------------------------------------------------------------------


def test_sixteen_restores_at_once_are_one(cache, tmp_path):
    there = tmp_path / "there"
    processes = [start("restore", cache.record, "--cache-dir", there) for _ in range(16)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert is_right(there, cache.record)
    home = Cache(there)
    assert len(home.datasets) == len(read_record(cache.record)[1])
    assert not list(there.rglob("*.part"))


# -- corrupt -----------------------------------------------------------------------------------


@pytest.fixture
def paper(cache, tmp_path):
    cache.bundle(cache.record, tmp_path / "paper.zip")
    return tmp_path / "paper.zip"


def rewritten(paper, name, **members):
    """Give a copy of a bundle in which some members are others."""
    out = paper.with_name(name)
    with zipfile.ZipFile(paper) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            new.writestr(member, members.get(member.partition(".")[0]) or old.read(member))
    return out


@pytest.mark.parametrize("length", [0, 10, 5000, -30])
def test_half_a_bundle_is_said_to_be_none(paper, tmp_path, length):
    half = tmp_path / "half.zip"
    half.write_bytes(paper.read_bytes()[:length])
    with pytest.raises(OneCacheError, match=r"half\.zip is no zip file, or only a part"):
        Cache(tmp_path / "there", silent=True).restore(half)


def test_a_damaged_file_of_a_bundle_is_named_and_the_rest_comes(paper, cache, tmp_path):
    for name, compressed in (("stored.zip", False), ("deflated.zip", True)):
        bad = rewritten(paper, name) if compressed else shutil.copy(paper, tmp_path / name)
        with zipfile.ZipFile(bad) as archive:
            largest = max(archive.infolist(), key=lambda info: info.compress_size)
        content = bytearray(bad.read_bytes())
        at = largest.header_offset + largest.compress_size // 2
        content[at : at + 64] = os.urandom(64)
        bad.write_bytes(content)
        report = Cache(tmp_path / f"there {name}", silent=True).restore(bad)
        [problem] = report.problems
        assert problem.path == largest.filename
        assert name in problem.reason
        assert len(report.files) == len(read_record(cache.record)[1]) - 1


def test_damaged_tables_of_a_bundle_cost_what_only_they_said(paper, tmp_path):
    bad = rewritten(paper, "bad.zip", datasets=b"PAR1 nonsense PAR1")
    with pytest.warns(CacheWarning, match="not used: .*cannot be read"):
        assert Cache(tmp_path / "there", silent=True).restore(bad).ok


@pytest.mark.parametrize(
    "record", [b"{", b'{"record": 1}\n{"kind": 1}\n', b'{"record": 1}\n[]\n', b"\xff\xfe"]
)
def test_a_damaged_record_of_a_bundle_is_named(paper, tmp_path, record):
    bad = rewritten(paper, "bad.zip", record=record)
    with pytest.raises(OneCacheError, match=r"bad\.zip"):
        Cache(tmp_path / "there", silent=True).restore(bad)
    assert not list((tmp_path / "there").rglob("*.npy"))


# -- hostile -----------------------------------------------------------------------------------

HOSTILE = {
    "../out.npy": "refused",
    "x/../../out.npy": "refused",
    "/tmp/out.npy": "refused",
    "C:/out.npy": "refused",
    "a\\..\\out.npy": "refused",
    "a\0b.npy": "refused",
    "": "refused",
    "datasets.pqt": "refused",
    "manifest.json": "refused",
    "record.jsonl": "refused",
    ".one_cache/remotes/out": "refused",
    ".one_cache/verified/out.json": "refused",
    f"{'a' * 300}.npy": "failed",
    "a\x1b[31mb.npy": "gone",
}


def test_names_that_lead_astray_are_refused_and_the_rest_comes(cache, tmp_path, capsys):
    good = read_record(cache.record)[1][0]
    entries = [replace(good, id=str(i), path=path) for i, path in enumerate(HOSTILE)]
    record = tmp_path / "hostile.jsonl"
    write_record(record, {"record": 1}, [*entries, good])
    content = cache.store.path(good.path).read_bytes()
    # a zip file that has them inside
    with zipfile.ZipFile(tmp_path / "hostile.zip", "w") as archive:
        for path in HOSTILE:
            if path and path.isprintable() and path != "datasets.pqt":
                archive.writestr(path, content if len(path) > 255 else b"evil")
        archive.writestr(good.path, content)
    there = tmp_path / "there"
    options = ["--from", tmp_path / "hostile.zip", "--cache-dir", there, "--quiet"]
    assert main(["restore", *map(str, [record, *options, "--json"])]) == 1
    out, err = capsys.readouterr()
    assert out, err
    value = json.loads(out)
    assert {one["path"]: one["kind"] for one in value["problems"]} == HOSTILE
    assert [one["path"] for one in value["files"]] == [good.path]
    assert not [path for path in tmp_path.rglob("*out*") if "caches" not in str(path)]
    for name in ("manifest.json", "record.jsonl"):
        assert not (there / name).exists()
    # no name steers the terminal
    assert main(["restore", *map(str, [record, *options])]) == 1
    assert "\x1b" not in capsys.readouterr().out


def test_a_name_that_is_no_text_is_no_record(tmp_path):
    record = tmp_path / "record.jsonl"
    record.write_text('{"record": 1}\n{"kind": "dataset", "id": "1", "path": "a\\ud800.npy"}\n')
    with pytest.raises(OneCacheError, match="not a record"):
        Cache(tmp_path / "there", silent=True).restore(record)
