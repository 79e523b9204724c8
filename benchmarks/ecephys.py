r"""Tables of the Allen Neuropixels project, as large as the released ones: ours and AllenSDK's.

usage: python benchmarks/ecephys.py [--smoke] [--repeat N] [--allensdk PYTHON] [--latency MS]

A server on loopback has 58 sessions, 332 probes, 123,224 channels and 99,180 units. Each run is a
process of its own that asks for the session table twice: "import" is the class with all that it
needs, pandas foremost, "first" the making of the cache and the first call, "second" the next call,
"whole" the process from its start to the first table, and "peak" its own peak of memory.

- fresh: an empty folder, so that everything is fetched;
- cached: the folder of the run before.

AllenSDK runs in an environment of its own, whose interpreter is given with ``--allensdk``; its
requirements are from 2023, and two packages must be older than it says:

    python3.11 -m venv allensdk
    allensdk/bin/pip install allensdk==2.16.2 'marshmallow<4' 'hdmf<4' 'ndx-events<0.4' \
        'aiohttp<3.10'

Without it the requests are compared with those that AllenSDK 2.16.2 was seen to make: one for
each 5,000 rows of a table, and one for a table that is smaller.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# in the place of this folder: this file has the name of a package that it needs
sys.path[0] = str(Path(__file__).parents[1] / "tests")

from allen_double import AllenDouble  # noqa: E402
from allen_project import make_project, make_released  # noqa: E402

UNCOMPILED = ("PYTHONDONTWRITEBYTECODE",)
PAGE = 5000  # rows that AllenSDK asks for at once
TABLES = ("sessions", "probes", "channels", "units")
TIMES = ("import", "first", "second", "whole", "peak")
OURS, THEIRS = (
    "one_cache.ecephys",
    "allensdk.brain_observatory.ecephys.ecephys_project_cache",
)

ASK = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
package, host, manifest = sys.argv[1:]
start = time.perf_counter()
Cache = getattr(__import__(package, fromlist=["EcephysProjectCache"]), "EcephysProjectCache")
imported = time.perf_counter()
cache = Cache.from_warehouse("http", host, manifest=manifest)
table = cache.get_session_table()
first, ended = time.perf_counter(), time.time()
again = cache.get_session_table()
second = time.perf_counter()
assert again.equals(table) and len(again) == len(table)
with open("/proc/self/status") as status:
    (peak,) = (int(line.split()[1]) for line in status if line.startswith("VmHWM"))
counts = {name: int(table[f"{name}_count"].sum()) for name in ("unit", "channel", "probe")}
print(json.dumps({
    "import": imported - start,
    "first": first - imported,
    "second": second - first,
    "ended": ended,
    "peak": peak / 1024,
    "table": {"rows": len(table), **counts},
}))
"""


class Latent(AllenDouble):
    """A server that takes its time for each request."""

    latency = 0.0

    def fault(self, path):
        """Wait, then answer."""
        time.sleep(self.latency)
        return super().fault(path)


def ask(python, package, allen, folder):
    """Ask for the session table in a new process; give its times and the requests it made."""
    allen.asked.clear()
    command = [python, "-c", ASK, package, allen.host, str(folder / "manifest.json")]
    start = time.time()
    # what is installed is compiled once, and so is what is read from a checkout
    known = {name: value for name, value in os.environ.items() if name not in UNCOMPILED}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=known)
    if done.returncode:
        raise SystemExit(f"{package} failed:\n{done.stderr[-3000:]}")
    found = json.loads(done.stdout)
    whole = found.pop("ended") - start
    return {**found, "whole": whole, "requests": len(allen.asked)}


def fastest(runs):
    """Take the shortest of each time; the other things are the same in all runs."""
    times = {
        name: min(run[name] for run in runs) for name in ("import", "first", "second", "peak")
    }
    return {**runs[0], **times}


def measure(python, package, allen, folder, repeat):
    """Measure a package with an empty folder, and with what it then left there."""
    fresh = ask(python, package, allen, folder)
    return fresh, fastest([ask(python, package, allen, folder) for _ in range(repeat)])


def show(name, run):
    times = ", ".join(f"{part} {run[part] * 1e3:.1f} ms" for part in TIMES[:-1])
    print(f"  {name:<17}{run['requests']:3d} requests, {times}, peak {run['peak']:.0f} MB")


def pages(project):
    """Count the requests that AllenSDK makes for whole tables."""
    return sum(-(-len(getattr(project, name)) // PAGE) for name in TABLES)


def compare(ours, theirs):
    for (what, here), there in zip(ours.items(), theirs, strict=True):
        if here["table"] != there["table"]:
            raise SystemExit(f"the tables differ: {here['table']}, {there['table']}")
        parts = [f"{there[part] / here[part]:.1f} ({part})" for part in TIMES[1:]]
        print(f"{what}, AllenSDK's by ours: {', '.join(parts)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few seconds, for CI")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--allensdk", help="interpreter of an environment that has AllenSDK")
    parser.add_argument("--latency", type=float, default=0.0, help="of each request, ms")
    given = parser.parse_args()
    project = make_project(files=False) if given.smoke else make_released()
    rows = ", ".join(f"{len(getattr(project, name)):,} {name}" for name in TABLES)
    print(f"{rows}; {given.latency:g} ms for each request")
    with Latent(project) as allen, tempfile.TemporaryDirectory() as folder:
        # the server makes each answer once, before anything is measured
        ask(sys.executable, OURS, allen, Path(folder, "before"))
        allen.latency = given.latency / 1e3
        repeat = 1 if given.smoke else given.repeat
        fresh, cached = measure(sys.executable, OURS, allen, Path(folder, "ours"), repeat)
        show("ours, fresh", fresh)
        show("ours, cached", cached)
        if given.allensdk:
            ask(given.allensdk, THEIRS, allen, Path(folder, "before, theirs"))
            theirs = measure(given.allensdk, THEIRS, allen, Path(folder, "theirs"), repeat)
            show("AllenSDK, fresh", theirs[0])
            show("AllenSDK, cached", theirs[1])
            adopted = ask(sys.executable, OURS, allen, Path(folder, "theirs"))
            show("ours, its folder", adopted)
            compare({"fresh": fresh, "cached": cached}, theirs)
        asked = theirs[0]["requests"] if given.allensdk else pages(project)
        seen = "" if given.allensdk else " (as it was seen to do)"
        print(
            f"first use: {fresh['requests']} requests, AllenSDK makes {asked}{seen}: "
            f"{asked / fresh['requests']:.1f} times as many"
        )
        if cached["requests"]:
            raise SystemExit(f"what is here was asked for again: {allen.asked}")


if __name__ == "__main__":
    main()
