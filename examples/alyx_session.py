"""One recording of a lab's Alyx database: find it, load a probe and the trials, read about them.

The same script runs in every mode and gives the same numbers:

    python alyx_session.py https://openalyx.internationalbrainlab.org --username intbrainlab
    python alyx_session.py https://openalyx.internationalbrainlab.org --mode local
    python alyx_session.py https://openalyx.internationalbrainlab.org --mode fixed
    python alyx_session.py             (all three against the database of this project's tests)

The password is that of --password or ALYX_PWD; the token that is learned with it is kept in the
settings file, so later runs need neither.
"""

import argparse
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

from one_cache import ONE


def run(base_url, username=None, password=None, subject=None, mode="remote", cache_dir=None):
    access = {"username": username, "password": password} if mode == "remote" else {}
    one = ONE(base_url, mode=mode, cache_dir=cache_dir, silent=True, **access)
    one.record_loaded = True

    # find: the newest session that has spikes and trials, and its probes
    names = ["spikes.times.npy", "_ibl_trials.table.pqt"]
    eid = one.search(subject=subject, datasets=names)[0]
    pids, labels = one.eid2pid(eid)

    # load: what is missing is fetched, every byte is verified
    trials = one.load_dataset(eid, "_ibl_trials.table.pqt")
    spikes = one.load_object(eid, "spikes", collection=f"alf/{labels[0]}*")

    # read about it: what the database says of the session, its revisions and its datasets
    session = one.get_details(eid)
    revisions = [name for name in one.list_revisions(eid) if name]
    about = {name: one.describe_revision(name).description for name in revisions}
    kind = one.describe_dataset(one.dataset2type("spikes.times.npy"))
    aggregates = one.list_aggregates("subjects", session["subject"])

    # keep: what was read, and everything that the answers came from, pinned
    notes = sorted({entry.note for entry in one.recorder if entry.note})
    one.freeze()
    return {
        "session": one.eid2ref(eid, as_dict=False),
        "probes": dict(zip(labels, map(str, pids), strict=True)),
        "trials": len(trials),
        "spikes": len(spikes["times"]),
        "mean time of a spike, s": round(float(spikes["times"].mean()), 6),
        "spikes.times are": kind.description,
        "revisions": about,
        "aggregates of the subject": len(aggregates),
        "warnings about what was read": notes,
        "read": one.recorder.dataset_ids,
    }


def run_on_double():
    """Run in all modes against the database that the tests of this project use."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from alyx_double import AlyxDouble

    from one_cache import settings

    with tempfile.TemporaryDirectory() as folder, AlyxDouble() as alyx:
        # nothing of it stays in the settings of who runs this
        os.environ["ONE_CACHE_CONFIG"] = f"{folder}/settings"
        settings.save_credentials(alyx.data_url, settings.Credentials(*alyx.data_login))
        found = {"remote": run(alyx.url, "root", alyx.users["root"], cache_dir=folder)}
        with alyx.away():
            for mode in ("local", "fixed"):
                found[mode] = run(alyx.url, mode=mode, cache_dir=folder)
    if not found["remote"] == found["local"] == found["fixed"]:
        raise SystemExit(f"the modes differ: {json.dumps(found, indent=2)}")
    return found["remote"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base_url", nargs="?")
    parser.add_argument("--username")
    parser.add_argument("--password")
    parser.add_argument("--subject", help="part of its name, or a regular expression")
    parser.add_argument("--mode", default="remote")
    parser.add_argument("--cache-dir")
    options = vars(parser.parse_args())
    warnings.simplefilter("default")
    answer = run(**options) if options["base_url"] else run_on_double()
    print(json.dumps(answer, indent=2))
