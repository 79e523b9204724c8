"""The pages on trials, relations and rigs: their examples run, in order."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import matplotlib
import pytest

matplotlib.use("agg")
from matplotlib import pyplot

DOCS = Path(__file__).parent.parent / "docs"
DATA = Path(__file__).parent / "data" / "antelop"


def run(page):
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    space = {}
    try:
        for block in blocks:
            exec(compile(block, str(page), "exec"), space)
    finally:
        pyplot.close("all")
    return len(blocks)


def test_the_examples_of_the_page_on_trials_run_in_order():
    assert run(DOCS / "trials.md") > 8


def test_the_examples_of_the_page_on_rigs_run_in_order(tmp_path, monkeypatch):
    pytest.importorskip("pynwb", reason="the extra nwb is not installed")
    shutil.copytree(DATA, tmp_path / "lab")
    monkeypatch.chdir(tmp_path / "lab")
    assert run(DOCS / "rig.md") == 2
