"""Find a session, load it, plot it, record what was read, save and freeze the tables.

The same script runs in every mode and reads the same bytes:

    one-cache serve LAB --port 8000
    python quickstart.py http://127.0.0.1:8000
    python quickstart.py http://127.0.0.1:8000 --mode local     (the server may be gone)
    python quickstart.py http://127.0.0.1:8000 --mode fixed
"""

import argparse
import json
from importlib.util import find_spec
from pathlib import Path

from one_cache import ONE
from one_cache.trials import peth


def draw(times, events, window, title, path):
    """Draw spikes around events to a file; without matplotlib there is no picture."""
    if find_spec("matplotlib") is None:
        return None
    import matplotlib

    from one_cache.trials import plot_raster_peth

    matplotlib.use("Agg")
    axes = plot_raster_peth(times, events, window, title=title)
    axes[0].figure.savefig(path, dpi=110)
    return str(path)


def run(base_url, mode="remote", out=".", cache_dir=None):
    one = ONE(base_url, mode=mode, cache_dir=cache_dir, silent=True)
    one.record_loaded = True

    # find: the sessions of a subject that have spikes and trials, newest first
    eids = one.search(subject="^KS014$", datasets=["spikes.times.npy", "_ibl_trials.table.pqt"])
    print(eids)
    eid = eids[0]

    # load: what is missing is fetched, every byte is verified
    trials = one.load_object(eid, "trials")
    spikes = one.load_object(eid, "spikes", collection="alf/probe00")
    wheel = one.load_object(eid, "wheel")

    # look: the busiest unit around the stimulus
    window = (-0.3, 0.7)
    counts, units, _ = peth(spikes.times, spikes.clusters, trials.stimOn_times, window, 0.02)
    unit = units[counts.sum(axis=(1, 2)).argmax()]
    picture = draw(
        spikes.times[spikes.clusters == unit],
        trials.stimOn_times,
        window,
        f"{one.eid2ref(eid, as_dict=False)}, unit {unit}, stimulus onset",
        Path(out, f"psth_{mode}.png"),
    )

    # keep: a list of what was read, and the tables that the answers came from, pinned
    ids, listed = one.save_loaded_ids()
    one.save_cache()
    one.freeze()
    return {
        "datasets": [str(dataset) for dataset in ids],
        "trials": len(trials.stimOn_times),
        "spikes": len(spikes.times),
        "unit": int(unit),
        "spikes around the stimulus": int(counts.sum()),
        "wheel": float(wheel.position.sum()),
        "record": str(listed),
        "picture": picture,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base_url")
    parser.add_argument("--mode", default="remote")
    parser.add_argument("--out", default=".")
    parser.add_argument("--cache-dir")
    print(json.dumps(run(**vars(parser.parse_args())), indent=2))
