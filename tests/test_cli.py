import json
import subprocess
import sys

import pytest

from one_cache.cli import main

PLACE = "KS014/2024-02-07/001"


@pytest.fixture
def run(capsys):
    """Run the command; give exit status, data and talk."""

    def call(*arguments):
        status = main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return call


def test_sessions_are_searched(run, lab):
    status, out, err = run("search", "subject=^KS014$", "number=1,2", "--cache-dir", lab)
    assert status == 0
    assert out.splitlines()[0].split() == [
        *("eid", "lab", "subject", "date", "number", "task_protocol", "projects")
    ]
    assert len(out.splitlines()) == 4
    assert err == "3 sessions\n"
    status, out, _ = run("search", "subject=nobody", "--cache-dir", lab)
    assert status == 1
    status, out, _ = run(
        "search", "date=2024-02-06,", "subject=KS014", "--json", "--cache-dir", lab
    )
    assert [record["date"] for record in json.loads(out)] == ["2024-02-07"]


def test_datasets_are_listed_in_columns(run, lab):
    status, out, err = run("ls", PLACE, "--name", "*drift*", "--cache-dir", lab)
    assert status == 0
    lines = out.splitlines()
    assert lines[0].split() == ["rel_path", "file_size", "qc", "default_revision", "id"]
    assert len({line.index(line.split()[-1]) for line in lines[1:]}) == 1
    assert "datasets" in err
    status, out, _ = run("ls", PLACE, "--json", "--cache-dir", lab)
    assert len(json.loads(out)) == 28
    assert run("ls", PLACE, "--name", "no.such.npy", "--cache-dir", lab)[0] == 1


def test_datasets_are_fetched_and_their_paths_printed(run, url, tmp_path):
    options = ["--base-url", url, "--cache-dir", tmp_path / "cache", "--quiet"]
    status, out, _ = run("get", PLACE, "licks.times.npy", "wheel.position", *options)
    assert status == 0
    assert [line.rsplit("/")[-1] for line in out.splitlines()] == [
        "licks.times.npy",
        "_ibl_wheel.position.npy",
    ]
    status, out, _ = run("get", PLACE, *options)
    assert status == 0
    assert len(out.splitlines()) == 26
    assert "#2024-05-06#" in out


def test_a_cache_and_a_session_are_described(run, lab):
    status, out, _ = run("info", "--cache-dir", lab)
    assert status == 0
    assert f"folder     {lab}" in out
    status, out, _ = run("info", PLACE, "--json", "--cache-dir", lab)
    assert json.loads(out)["subject"] == "KS014"


def test_a_record_is_shown(run, lab, tmp_path):
    from one_cache import Cache

    cache = Cache(lab)
    with cache.recording():
        cache.load_dataset(PLACE, "licks.times.npy")
    path = cache.save_record(tmp_path / "record.jsonl")
    status, out, err = run("record", path)
    assert status == 0
    assert "alf/licks.times.npy" in out
    assert "one_cache" in err
    assert json.loads(run("record", path, "--json")[1])["entries"][0]["mode"] == "local"


def test_a_folder_is_indexed(run, lab):
    for table in lab.glob("*.pqt"):
        table.unlink()
    status, out, _ = run("index", lab, "--hash", "--quiet")
    assert status == 0
    assert "12" in out
    assert run("search", "--cache-dir", lab)[2] == "12 sessions\n"


@pytest.mark.parametrize(
    ("arguments", "status", "talk"),
    [
        (["search", "subjct=x"], 2, "Did you mean 'subject'"),
        (["search", "subject"], 2, "name=value"),
        (["ls", "garbage"], 2, "names no session"),
        (["ls", "KS014/2001-01-01/001"], 1, "SessionNotFound"),
        (["get", PLACE, "no.such.npy"], 1, "ALFObjectNotFound"),
        (["info", "--mode", "fixed"], 1, "ManifestMissing"),
        (["info", "--mode", "online"], 2, "mode must be one of"),
    ],
)
def test_errors_are_one_line_and_a_status(run, lab, arguments, status, talk):
    got, out, err = run(*arguments, "--cache-dir", lab)
    assert got == status
    assert talk in err
    assert out == ""
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["get"], ["serve"]])
def test_usage_is_status_two(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "one_cache.cli", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(lab):
    command = f"{sys.executable} -m one_cache.cli ls --cache-dir {lab} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout.startswith("rel_path")
    assert "Traceback" not in done.stderr


def test_a_folder_is_served_until_interrupted(lab):
    import signal

    import requests

    process = subprocess.Popen(
        [sys.executable, "-m", "one_cache.cli", "serve", str(lab), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stderr.readline()
        address = line.split(" at ")[1].split()[0]
        assert requests.get(f"{address}/tables.json", timeout=5).json()
    finally:
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "ended" in rest
