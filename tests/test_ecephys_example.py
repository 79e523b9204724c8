"""The example runs by itself, on any server, and without one; the page prints what it says."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from allen_double import AllenDouble
from allen_expected import require_shared, running_stub
from allen_project import make_project
from test_docs import BLOCK, run

pytest.importorskip("matplotlib", reason="the example draws")
pytest.importorskip("h5py", reason="NWB files are read with h5py")

SCRIPT = Path(__file__).parents[1] / "examples" / "allen_neuropixels.py"


def printed(picture, *options):
    command = [sys.executable, str(SCRIPT), *options, "--picture", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def inked(picture):
    """Give which part of a picture is not white."""
    from matplotlib.image import imread

    return (imread(picture)[..., :3].min(axis=2) < 0.99).mean()


def test_the_example_runs_by_itself(tmp_path):
    found = printed(tmp_path / "psth.png")
    assert (found["sessions"], found["probes"], found["channels"]) == (3, 6, 60)
    assert found["its units"] == found["its units with metrics"]
    assert found["spikes of that unit"] > 500
    assert 0.05 < inked(tmp_path / "psth.png") < 0.6


def test_the_example_gives_the_same_with_the_reference_server_and_without_it(tmp_path):
    require_shared()
    (tmp_path / "stub").mkdir()
    options = [str(tmp_path / "allen"), "--session", "715000001"]
    with running_stub(tmp_path / "stub") as host:
        found = printed(tmp_path / "a.png", *options, "--scheme", "http", "--host", host)
    assert (found["units"], found["units of every quality"]) == (155, 284)
    assert found["its units"] == 48
    assert inked(tmp_path / "a.png") > 0.05
    assert printed(tmp_path / "b.png", *options, "--mode", "fixed") == found
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a.png").read_bytes()


def test_the_page_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parents[1] / "docs" / "ecephys.md"
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    with AllenDouble(make_project()) as allen:
        names = {"server": allen.host}
        for (language, code), (follows, text) in pairwise(blocks):
            if language == "python":
                assert follows == "text", code
                assert run(code, names) == text.strip(), code
