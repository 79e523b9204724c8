"""The same projects, drawn at random, through AllenSDK and through ours.

AllenSDK needs an environment of its own, see ``benchmarks/ecephys.py``; its interpreter is named
by ``ONE_CACHE_ALLENSDK``. What it answered once is compared without it in
``tests/test_ecephys_reference.py``.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from allen_double import AllenDouble
from allen_project import make_project

OURS, THEIRS = (
    "one_cache.ecephys",
    "allensdk.brain_observatory.ecephys.ecephys_project_cache",
)
SCRIPT = Path(__file__).with_name("ecephys_answers.py")


@pytest.fixture(scope="module")
def allensdk():
    """Interpreter of an environment that has AllenSDK."""
    python = os.environ.get("ONE_CACHE_ALLENSDK")
    if not python:
        pytest.skip("no AllenSDK: name an interpreter that has it in ONE_CACHE_ALLENSDK")
    return python


def asked(python, package, host, folder, *options):
    command = [python, str(SCRIPT), package, host, str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def drawn(seed):
    """Draw a project: of some size, with gaps of some kind."""
    rng = random.Random(seed)
    sizes = [rng.randrange(*span) for span in ((2, 5), (1, 4), (4, 15), (3, 30))]
    project = make_project(*sizes, seed=seed)
    gaps = rng.choice(["none", "values", "metrics", "channels"])
    if gaps == "values":
        for probe in project.probes[::2]:
            probe |= dict.fromkeys(("lfp_sampling_rate", "lfp_temporal_subsampling_factor"))
        for session in project.sessions[::2]:
            session["published_at"] = session["specimen"]["donor"]["sex"] = None
    if gaps == "metrics":
        for unit in project.units[::3]:
            unit |= {"snr": None, "quality": None, "firing_rate": rng.random() * 1e4}
    if gaps == "channels":
        first = str(project.probes[0]["id"])
        gone = {one["id"] for one in project.channels if one["ecephys_probe_id"] == first}
        project.channels[:] = [one for one in project.channels if one["id"] not in gone]
        project.units[:] = [
            one for one in project.units if str(one["ecephys_channel_id"]) not in gone
        ]
    return project


@pytest.mark.parametrize("seed", range(4))
def test_tables_are_those_of_allensdk(allensdk, tmp_path, seed):
    with AllenDouble(drawn(seed)) as allen:
        theirs = asked(allensdk, THEIRS, allen.host, tmp_path / "theirs")
        ours = asked(sys.executable, OURS, allen.host, tmp_path / "ours")
    assert len(ours) > 40
    different = [name for name in theirs if theirs[name] != ours[name]]
    assert not different, (theirs[different[0]], ours[different[0]])
    # each reads what the other wrote, without a server
    again = asked(allensdk, THEIRS, "127.0.0.1:9", tmp_path / "ours", "0")
    assert again == theirs
    assert asked(sys.executable, OURS, "127.0.0.1:9", tmp_path / "theirs") == ours
