"""What a user waits for every day, beside ONE-api in the same run.

usage: python benchmarks/cache.py [--smoke] [--repeat N]

- ``import one_cache``: whole processes, less the cost of a bare interpreter;
- load of a small cached file and of an object, once open: ONE-api hashes it again each time,
  here one ``stat`` tells that it did not change;
- the same for a cached file of 50 MB, by path.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from one_cache import Cache
from one_cache.sample import write_sample_lab

PLACE = "KS014/2024-02-07/001"


def median(call, repeat):
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def importing(repeat):
    """Whole processes, in turn: the machine drifts."""
    times = {"pass": [], "import one_cache": []}
    for _ in range(repeat):
        for code, found in times.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            found.append(time.perf_counter() - start)
    bare, ours = (min(found) for found in times.values())
    print(f"import one_cache: {(ours - bare) * 1e3:.1f} ms more than a bare interpreter")


def compare(name, ours, theirs, repeat):
    ours()
    mine = median(ours, repeat)
    if theirs is None:
        print(f"{name}: {mine * 1e3:.2f} ms (ONE-api is not installed)")
        return
    theirs()
    other = median(theirs, max(3, repeat // 5))
    print(f"{name}: {mine * 1e3:.2f} ms, ONE-api {other * 1e3:.1f} ms: {other / mine:.0f} times")


def open_one(folder):
    try:
        from one.api import One
    except ImportError:
        return None
    return One(cache_dir=folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few seconds, for CI")
    parser.add_argument("--repeat", type=int, default=50)
    given = parser.parse_args()
    repeat = 5 if given.smoke else given.repeat
    warnings.simplefilter("ignore")
    importing(3 if given.smoke else 15)
    with tempfile.TemporaryDirectory() as folder:
        write_sample_lab(folder)
        big = Path(folder, "northlab/Subjects", PLACE, "raw_ephys_data/ephys.raw.npy")
        big.parent.mkdir()
        np.save(big, np.zeros((1 if given.smoke else 50) * 125_000))
        for table in Path(folder).glob("*.pqt"):
            table.unlink()
        Cache.index(folder, hash=True, silent=True)
        cache, one = Cache(folder, silent=True), open_one(folder)
        eid = cache.to_eid(PLACE)
        calls = {
            "load_dataset, 1.7 kB": ("load_dataset", (eid, "licks.times.npy"), {}),
            "load_object, 2 files": ("load_object", (eid, "wheel"), {}),
            f"path of {big.stat().st_size / 1e6:.0f} MB": (
                "load_dataset",
                (eid, "ephys.raw.npy"),
                {"download_only": True},
            ),
        }
        for name, (method, args, options) in calls.items():
            compare(
                name,
                lambda m=method, a=args, o=options: getattr(cache, m)(*a, **o),
                one and (lambda m=method, a=args, o=options: getattr(one, m)(*a, **o)),
                repeat,
            )


if __name__ == "__main__":
    main()
