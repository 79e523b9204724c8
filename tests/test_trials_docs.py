"""The page on trials and relations: its examples run, in order."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot

PAGE = Path(__file__).parent.parent / "docs" / "trials.md"


def test_the_examples_of_the_page_run_in_order():
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) > 6
    space = {}
    try:
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), space)
    finally:
        pyplot.close("all")
