"""The whole drill: recorded, the source changes and goes away, run again on another machine."""

import importlib.util
import json
import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SCRIPT = HERE.parent / "examples" / "reproduce.py"


@pytest.fixture(scope="module")
def example():
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("reproduce", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def played(example, tmp_path_factory):
    """What the first run read, what each later run read, and what the commands found."""
    said = []
    found = example.drill(tmp_path_factory.mktemp("drill") / "drill", said.append)
    return (*found, "\n".join(said))


def test_the_first_run_reads_all(played):
    first, _, _, _ = played
    assert len(first["read"]) == 6
    assert first["refused"] == {}


@pytest.mark.parametrize(
    "run",
    [
        "analysis, restored from the bundle",
        "analysis, completed from the bundle",
        "analysis, in the bundle as it is",
        "analysis, frozen",
    ],
)
def test_without_the_source_the_same_bytes_are_read(played, run):
    first, results, _, _ = played
    assert results[run] == first


def test_from_the_changed_source_the_same_bytes_or_a_name(played):
    first, results, findings, _ = played
    found = results["analysis, restored from the changed source"]
    lost = {"alf/_ibl_wheel.position.npy", "alf/_ibl_wheel.timestamps.npy"}
    assert found["read"] == {key: one for key, one in first["read"].items() if key not in lost}
    assert set(found["refused"]) == lost
    assert all("NotInCache" in reason for reason in found["refused"].values())
    assert findings["record, from the changed source"] == {
        "_ibl_wheel.position.npy": "gone",
        "_ibl_wheel.timestamps.npy": "changed",
    }


def test_what_the_source_told_is_outdated(played):
    assert played[2]["outdated"] == {
        "alf/licks.times.npy": "revised",
        "alf/_ibl_wheel.position.npy": "gone",
        "alf/probe00/spikes.times.npy": "qc",
    }


def test_from_nowhere_each_dataset_is_named(played):
    assert list(played[2]["record, from nowhere"].values()) == ["failed"] * 6
    assert played[2]["bundle"] == {}
    assert "cannot be reached" in played[3]


# -- the same with the answers of a neuPrint server --------------------------------------------


def test_a_set_of_queries_is_asked_again_elsewhere(tmp_path, example):
    pytest.importorskip("neuprint", reason="neuprint-python is not installed")
    from neuprint_double import NeuprintDouble

    here, there = (example.Machine(tmp_path / name) for name in ("here", "there"))

    def ask(machine, folder, mode, *keep):
        script = ("-W", "ignore", HERE / "neuprint_notebook.py")
        status, out, err = machine.run(
            *script, server.url, server.certificate, folder, mode, *keep
        )
        assert status == 0, err
        return json.loads(out)

    with NeuprintDouble() as server:
        first = ask(here, "cache", "remote", here.folder)
        assert all(len(one) == 64 for one in first.values())
        os.rename(here.folder / "queries", there.folder / "queries")
        os.rename(here.folder / "cache", there.folder / "frozen")
        # the dataset is edited; one answer changes, another query is refused
        server.edit(uuid="another")
        server.say("UNWIND", ["x", "xs"], [[3, [3]]])
        server.say("5813027016", status=400, body='{"error": "gone"}')
        today = ask(here, "fresh", "remote")
        assert today["custom mixed"] not in (first["custom mixed"], "QueryRefused")
        assert today["custom"] == "QueryRefused"
    # and the server goes away
    record, bundle = here.folder / "record.jsonl", here.folder / "queries.zip"
    assert ask(there, "queries", "fixed") == first
    assert ask(there, "frozen", "fixed") == first
    restored = ("--cache-dir", "restored", "--json")
    status, out, _ = there.command("restore", record, *restored)
    assert status == 1
    problems = json.loads(out)["problems"]
    assert {one["kind"] for one in problems} == {"missing"}
    assert all(one["path"].startswith("neuprint/") and one["reason"] for one in problems)
    assert set(ask(there, "restored", "local").values()) == {"QueryNotCached"}
    status, _, err = there.command("restore", record, "--from", bundle, *restored)
    assert status == 0, err
    assert ask(there, "restored", "local") == first
