"""The commands about records: what they print, and their exit status."""

import json
import os
import pty
import shutil
import subprocess
import sys
import time

import pytest

from one_cache import ONE, Cache
from one_cache.cli import main
from one_cache.recorder import read_record
from one_cache.serve import DataServer
from one_cache.tables import Tables

PLACE = "KS014/2024-02-07/001"


@pytest.fixture
def run(capsys):
    """Run the command; give exit status, data and talk."""

    def call(*arguments):
        status = main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def cache(url, tmp_path):
    cache = Cache(tmp_path / "cache", remote=url, silent=True)
    with cache.recording():
        cache.load_object(PLACE, "wheel")
        cache.load_dataset(PLACE, "drift.times.npy", revision="2024-01-01")
    cache.record = cache.save_record(tmp_path / "record.jsonl")
    return cache


def test_a_record_is_restored(run, cache, tmp_path, lab):
    there = tmp_path / "there"
    status, out, err = run("restore", cache.record, "--cache-dir", there, "--quiet")
    assert (status, out) == (0, "")
    assert err.startswith("3 files restored, ")
    assert Cache(there).load_object(PLACE, "wheel").position.size
    other = tmp_path / "other"
    status, out, _ = run("restore", cache.record, "--from", lab, "--cache-dir", other, "--json")
    assert status == 0
    value = json.loads(out)
    assert len(value["files"]) == 3
    assert value["problems"] == []


def test_without_options_the_cache_of_the_recorded_source_is_meant(run, cache, url):
    assert run("restore", cache.record)[0] == 0
    restored = ONE(url)
    assert restored.cache_dir != cache.cache_dir
    assert os.environ["ONE_CACHE_DIR"] in str(restored.cache_dir)
    assert restored.verify(cache.record).ok


def test_a_cache_without_tables_of_its_own_asks_the_recorded_source(run, cache, tmp_path):
    where = ["--cache-dir", cache.cache_dir, "--quiet"]
    assert not [*cache.cache_dir.glob("*.pqt")]
    status, out, _ = run("outdated", cache.record, *where)
    assert (status, [line.split()[0] for line in out.splitlines()]) == (1, ["change", "revised"])
    cache.store.path(next(iter(cache.recorder)).path).unlink()
    assert run("verify", "--record", cache.record, "--repair", *where)[0] == 0
    assert run("bundle", cache.record, tmp_path / "b", *where)[0] == 0
    [session] = Tables.open(tmp_path / "b").rows("SELECT * FROM sessions")
    assert session["task_protocol"]


def test_what_cannot_be_restored_is_listed_with_its_reason(run, cache, tmp_path, lab):
    _, entries = read_record(cache.record)
    os.remove(lab / entries[0].path)
    (lab / entries[1].path).write_bytes(b"other")
    options = ["--from", lab, "--cache-dir", tmp_path / "there", "--quiet"]
    status, out, err = run("restore", cache.record, *options)
    assert status == 1
    lines = out.splitlines()
    assert lines[0].split() == ["problem", "file", "reason"]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["gone", entries[0].path],
        ["changed", entries[1].path],
    ]
    assert "1 gone, 1 changed" in err
    status, out, _ = run("restore", cache.record, *options, "--json")
    assert status == 1
    assert [one["kind"] for one in json.loads(out)["problems"]] == ["gone", "changed"]


def test_a_bundle_is_made_opened_and_restored(run, cache, tmp_path):
    options = ["--cache-dir", cache.cache_dir, "--base-url", cache.source, "--quiet"]
    for out in ("out", "out.zip"):
        assert run("bundle", cache.record, tmp_path / out, *options)[0] == 0
    assert ONE(cache_dir=tmp_path / "out", mode="fixed").load_object(PLACE, "wheel")
    status, _, err = run("restore", tmp_path / "out.zip", "--cache-dir", tmp_path / "there")
    assert status == 0
    assert err.startswith("3 files restored")
    assert run("bundle", cache.record, tmp_path / "t", "--tables-only", *options)[0] == 0
    assert sorted(path.suffix for path in (tmp_path / "t").iterdir()) == [
        ".json",
        ".jsonl",
        ".pqt",
        ".pqt",
    ]
    status, _, err = run("bundle", cache.record, tmp_path / "out", *options)
    assert status == 2
    assert "is there already" in err


def test_a_record_is_frozen(run, cache, tmp_path):
    options = ["--cache-dir", cache.cache_dir, "--quiet"]
    status, out, _ = run("freeze", tmp_path / "f", "--record", cache.record, *options)
    assert status == 0
    assert out == f"{tmp_path / 'f' / 'manifest.json'}\n"
    fixed = ONE(cache_dir=cache.cache_dir, tables_dir=tmp_path / "f", mode="fixed")
    assert fixed.load_object(PLACE, "wheel").position.size
    cache.save_cache()
    assert run("freeze", "--release", "2024", *options)[0] == 0
    assert ONE(cache_dir=cache.cache_dir, mode="fixed", version="2024").search()


def test_differences_are_listed(run, cache, tmp_path, lab):
    status, out, err = run("diff", cache.record, cache.record)
    assert (status, out, err) == (0, "", "no difference\n")
    status, out, err = run("diff", cache.record, lab)
    assert status == 1
    lines = out.splitlines()
    assert lines[0].split() == ["change", "session", "path", "before", "after"]
    assert lines[1].startswith("revised ")
    assert err == "1 revised\n"
    status, out, _ = run("diff", cache.record, lab, "--json")
    assert json.loads(out)[0]["kind"] == "revised"
    assert run("diff", cache.record, tmp_path / "nothing")[0] == 2


def test_a_server_that_asks_for_a_token_is_compared_with_it(run, lab, monkeypatch):
    with DataServer(lab, token="secret") as closed:
        status, _, err = run("diff", lab, closed.url, "--quiet")
        assert status == 1
        assert "Forbidden" in err
        monkeypatch.setenv("ONE_CACHE_TOKEN", "secret")
        assert run("diff", lab, closed.url, "--quiet") == (0, "", "no difference\n")


def test_what_is_outdated_is_listed(run, cache):
    options = ["--base-url", cache.source, "--cache-dir", cache.cache_dir, "--quiet"]
    status, out, err = run("outdated", cache.record, *options)
    assert status == 1
    assert "alf/probe00/pykilosort/#2024-05-06#/drift.times.npy" in out
    assert err == "1 of the record outdated\n"
    with cache.recording() as recorder:
        recorder.clear()
        cache.load_object(PLACE, "wheel")
    record = cache.save_record(cache.record.with_name("wheel.jsonl"))
    assert run("outdated", record, *options)[:2] == (0, "")


def test_a_cache_is_verified_and_repaired(run, cache, tmp_path):
    options = ["--base-url", cache.source, "--cache-dir", cache.cache_dir, "--quiet"]
    status, out, err = run("verify", *options)
    assert (status, out) == (0, "")
    assert err.startswith("3 files right, ")
    _, entries = read_record(cache.record)
    cache.store.path(entries[0].path).unlink()
    status, out, err = run("verify", *options)
    assert status == 1
    assert out.splitlines()[1].split()[:2] == ["missing", entries[0].path]
    assert run("verify", "--record", cache.record, *options)[0] == 1
    assert run("verify", "--repair", *options)[0] == 0
    assert run("verify", "--record", cache.record, "--threads", "1", *options)[0] == 0
    assert run("verify", "--repair", "--mode", "local", *options)[0] == 1
    (cache.cache_dir / "figure.png").write_bytes(b"x")
    status, out, _ = run("verify", *options)
    assert status == 0
    assert "extra" in out


def test_a_plan_of_removal_is_shown_then_done(run, cache):
    options = ["--base-url", cache.source, "--cache-dir", cache.cache_dir, "--quiet"]
    _, entries = read_record(cache.record)
    then = time.time() - 100 * 86400
    licks = cache.load_dataset(PLACE, "licks.times.npy", download_only=True)
    for path in [licks, *(cache.store.path(one.path) for one in entries)]:
        os.utime(path, (then, then))
    arguments = ["clean", "--keep", cache.record, "--older-than", "90d", *options]
    status, out, err = run(*arguments, "--dry-run")
    assert status == 0
    assert out.splitlines()[1].split()[0].endswith("licks.times.npy")
    assert "not used for 100 days" in out
    assert err.startswith("1 files to remove, ")
    assert licks.exists()
    status, out, err = run(*arguments)
    assert status == 0
    assert "licks.times.npy" in out
    assert "1 files removed" in err
    assert not licks.exists()
    assert run("verify", "--record", cache.record, *options)[0] == 0
    status, out, err = run("clean", "--max-size", "0", "--dry-run", "--json", *options)
    assert len(json.loads(out)["removals"]) == 3
    assert run("clean", *options)[0] == 2
    assert run("clean", "--older-than", "soon", *options)[0] == 2


@pytest.mark.parametrize(("answer", "remains"), [("n\n", True), ("y\n", False)])
def test_a_person_is_asked_before_files_go(cache, answer, remains):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "one_cache.cli", "clean", "--max-size", "0"),
            *("--base-url", cache.source, "--cache-dir", str(cache.cache_dir), "--quiet"),
        ],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(ours, answer.encode())
    _, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0
    assert "Remove them?" in err
    _, entries = read_record(cache.record)
    assert [cache.store.path(one.path).exists() for one in entries] == [remains] * 3


def test_a_whole_lab_is_verified_as_its_home(run, lab):
    status, _, err = run("verify", "--cache-dir", lab, "--quiet")
    assert status == 0
    assert err.startswith("294 files right")
    status, _, err = run("clean", "--cache-dir", lab, "--max-size", "0")
    assert status == 2
    assert "could not be had again" in err


def test_records_that_cannot_be_read_are_one_line(run, tmp_path):
    for command in (["record"], ["restore"], ["outdated"], ["bundle", "--tables-only"]):
        arguments = [*command, tmp_path / "missing.jsonl"]
        arguments += [tmp_path / "out"] if "bundle" in command else []
        arguments += [] if "record" in command else ["--cache-dir", tmp_path]
        status, out, err = run(*arguments)
        assert status in (1, 2), command
        assert out == ""
        assert "missing.jsonl" in err
        assert "Traceback" not in err


def test_what_holds_no_record_is_said_in_words(run, tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    status, _, err = run("restore", empty, "--cache-dir", tmp_path)
    assert (status, err) == (
        1,
        f"OneCacheError: {empty} is no record and no list of ids: it is empty\n",
    )
    assert run("record", tmp_path / "missing.jsonl")[0] == 2


def test_the_record_of_a_bundle_is_shown(run, cache, tmp_path):
    for out in (tmp_path / "b", tmp_path / "b.zip"):
        cache.bundle(cache.record, out)
        assert run("record", out)[:2] == run("record", cache.record)[:2]


def test_nothing_is_frozen_where_there_are_no_tables(run, cache, tmp_path, url):
    # the tables are at the remote, and were not brought
    options = ["--base-url", url, "--cache-dir", tmp_path / "new"]
    status, out, err = run("freeze", tmp_path / "frozen", *options)
    assert (status, out) == (2, "")
    assert "freeze what a record names" in err
    assert not (tmp_path / "frozen").exists()


def test_the_drill_by_hand(run, cache, tmp_path, lab):
    """Bundle, throw everything away, restore from the bundle, verify, freeze, run."""
    options = ["--cache-dir", cache.cache_dir, "--quiet"]
    assert run("bundle", cache.record, tmp_path / "paper.zip", *options)[0] == 0
    shutil.rmtree(cache.cache_dir)
    there = ["--cache-dir", tmp_path / "there", "--quiet"]
    assert run("restore", tmp_path / "paper.zip", *there)[0] == 0
    assert run("verify", "--record", tmp_path / "paper.zip", *there)[0] == 0
    assert run("freeze", *there)[0] == 0
    assert ONE(cache_dir=tmp_path / "there", mode="fixed").load_object(PLACE, "wheel")
