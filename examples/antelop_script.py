"""A rig and a session: its description checked, its NWB file inserted, its trials split.

Antelop's page on scripts, without a database:

    python antelop_script.py rig.json masklist.json analysis session.nwb --cache-dir lab

The files of this package's tests will do:

    cd tests/data/antelop
    python ../../../examples/antelop_script.py rig.json masklist.json analysis \
        session_fixed_rate.nwb
"""

import argparse
import json
import os
from pathlib import Path
from tempfile import mkdtemp

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("rig_json", type=Path)
parser.add_argument("masklist", type=Path)
parser.add_argument("analysis", type=Path, help="folder of the mask functions")
parser.add_argument("nwbpath", type=Path)
parser.add_argument("--cache-dir", type=Path)
given = parser.parse_args()

# as `export ONE_CACHE_DIR=... ONE_CACHE_ANALYSIS=...` before the script is run
os.environ["ONE_CACHE_DIR"] = str(given.cache_dir or mkdtemp(prefix="rig-"))
os.environ["ONE_CACHE_ANALYSIS"] = str(given.analysis)

from one_cache.rig import *  # noqa: E402, F403 - as the page writes it

# ruff: noqa: F405
session = {"experimenter": "alice", "experiment_id": 1, "session_id": 1}
animals = [{"experimenter": "alice", "animal_id": 1, "animal_name": "mouse1"}]
masklist = json.loads(given.masklist.read_text())

if not BehaviourRig & {"behaviourrig_name": "arena"}:
    upload_rig_json("alice", "arena", given.rig_json, masklist)
print(Feature.proj("feature_name", "source_type", "data_type"))

if not World & session:
    insert_nwb(session, animals, given.nwbpath)
print(AnalogEvents & session)

restriction = session
mask = (Mask & restriction).fetch1("data", "timestamps")
for relation, name in (
    (AnalogEvents, "head_pitch"),
    (DigitalEvents, "reward"),
    (IntervalEvents, "port"),
    (Kinematics, "nose"),
):
    column = f"{relation.name.lower()}_name"
    events = (relation & restriction & {column: name}).fetch1("data", "timestamps")
    trials = split_trials(events, mask)
    samples = sum(len(times) for _, times in trials)
    print(f"{name}: {len(trials)} trials, {samples} samples in them")

print("masks computed anew:", len(recompute_masks(session)))
