"""What the tests of populate let workers and other processes run."""

import os
import sys
import time
from pathlib import Path

import numpy as np

from one_cache import Cache
from one_cache.trials import populate


def traced(cache, key, folder="", pause=0.0):
    """Leave a trace of each run, then give an array."""
    Path(folder, f"{key}-{os.getpid()}-{time.monotonic_ns()}").touch()
    time.sleep(pause)
    return {"key": key, "square": np.arange(5) * key, "pid": os.getpid()}


def mean_licks(cache, eid):
    return float(np.mean(cache.load_dataset(eid, "licks.times.npy")))


def picky(cache, key):
    if key == 2:
        raise ZeroDivisionError("two is not to my taste")
    return key + 1


if __name__ == "__main__":
    root, traces, count, pause = sys.argv[1:]
    given = {"folder": traces, "pause": float(pause)}
    found = populate(range(int(count)), traced, Cache(root, silent=False), arguments=given)
    values = [found[key]["square"].tolist() for key in range(int(count))]
    expected = [[at * key for at in range(5)] for key in range(int(count))]
    sys.exit(values != expected)
