"""The examples print what the pages print that they follow, and run again from what they kept."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
DATA = Path(__file__).parent / "data" / "antelop"
# of each table on the page of workflow-miniscope, in its order
PAGE = {
    "Trial": 50,
    "TrialEvent": 7,
    "AlignmentEvent": 3,
    "Activity": 2,
    "Trial & activity_key": 50,
    "ctrl_trials": 23,
    "ActivityAlignmentCondition * trials": 23,
    "ActivityAlignmentCondition.Trial": 23,
    "ActivityAlignmentCondition": 1,
    "ActivityAlignment": 2,
    "ActivityAlignment.AlignedTrialActivity": 2938,
    "Segmentation.Mask & mask_id<3": 2,
}


def run(script, *arguments, cwd):
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def totals(text):
    """Give the total of each table where it is first printed."""
    found = {}
    for block in text.split("\n\n"):
        total = re.search(r"\(Total: (\d+)\)", block)
        if total:
            found.setdefault(block.strip().split("\n")[0], int(total[1]))
    return found


def test_aligned_activity_prints_the_tables_and_counts_of_the_page(tmp_path):
    pytest.importorskip("matplotlib", reason="the example draws")
    text = run("aligned_activity.py", "--strict", "--cache-dir", "lab", cwd=tmp_path)
    got = totals(text)
    assert {name: got[name] for name in PAGE} == PAGE
    assert text.count("(Total: 2)\n") >= 4  # both conditions, in the second round too
    assert re.search(r" 2 +center +1\.611 *\n.* 2 +center +1\.649", text)
    assert "computed: ctrl_center_button, stim_center_button" in text
    shown = text.split("AlignedTrialActivity")[-1].split("(Total")[0]
    ids = re.findall(r"ctrl_center_button\s+1\s+0\s+(\d+)", shown)
    assert ids == ["2", "7", "8", "9", "20", "27", "37", "43", "46", "50"]
    for name in ("stim", "ctrl"):
        assert (tmp_path / "lab" / f"{name}_center_button.png").stat().st_size > 10_000
    again = run("aligned_activity.py", "--strict", "--cache-dir", "lab", cwd=tmp_path)
    assert "computed: nothing, all results are there" in again
    assert totals(again) == got
    other = run("aligned_activity.py", "--cache-dir", "lab", cwd=tmp_path)
    assert totals(other)["ActivityAlignment.AlignedTrialActivity"] == 50 * 113


def test_antelop_script_runs_as_written_and_again(tmp_path):
    pytest.importorskip("pynwb", reason="the extra nwb is not installed")
    files = [DATA / one for one in ("rig.json", "masklist.json", "analysis")]
    given = [*files, DATA / "session_fixed_rate.nwb", "--cache-dir", tmp_path / "lab"]
    for _ in range(2):
        text = run("antelop_script.py", *given, cwd=tmp_path)
        assert "(Total: 7)" in text
        assert "head_pitch: 39 trials, 5282 samples" in text
        assert "reward: 39 trials, 27 samples" in text
        assert "port: 39 trials, 55 samples" in text
        assert "nose: 39 trials, 2637 samples" in text
        assert "masks computed anew: 1" in text
    assert os.listdir(tmp_path) == ["lab"]
