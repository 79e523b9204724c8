"""A pipeline mirrored and asked again, against DataJoint's own fetch from the live server.

usage: python benchmarks/datajoint.py [--smoke] [--repeat N]

Needs servers on loopback, named as for the tests: ``ONE_CACHE_TEST_MARIADB`` and
``ONE_CACHE_TEST_POSTGRES``, ``user:password@host:port``. It says so where there is none.

- mirroring: 200,000 rows of four numbers and texts, and 100 traces of 72,000 samples; DataJoint
  fetches them, ours also writes and hashes the file. Then a pull when nothing changed, and one
  after ten rows did. Peaks are of a process that does only that.
- a restriction and fetch of 1,000 rows, again and again, on a connection that is open.
"""

import argparse
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

HERE = Path(__file__).parent
# in the place of this folder: this file has the name of a package that it needs
sys.path[0] = str(HERE.parent / "tests")

import numpy as np  # noqa: E402
from datajoint_pipeline import VARIABLES, Pipeline, instance, mirror_of  # noqa: E402

from one_cache import Cache  # noqa: E402

DEFINITIONS = {
    "Spike": (
        "Manual",
        "session_id: int32\nspike_id: int32\n---\nspike_time: float64\nunit: varchar(16)\n",
    ),
    "Trace": ("Manual", "mask_id: int32\n---\ntrace: <blob>\n"),
}
PER_SESSION = 1000


def build(pipeline, n_rows, n_traces, n_samples):
    """Make a schema with many rows and some long traces."""
    made = pipeline.declare("big", DEFINITIONS)
    random = np.random.default_rng(0)
    for start in range(0, n_rows, 10_000):
        made.Spike().insert(
            [
                (i // PER_SESSION, i % PER_SESSION, float(random.random()), f"unit {i % 97}")
                for i in range(start, min(start + 10_000, n_rows))
            ]
        )
    for i in range(n_traces):
        made.Trace().insert1({"mask_id": i, "trace": random.random(n_samples)})


def peak():
    """Give the most memory that this process had, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def part(what, backend, schema, folder):
    """Do one thing in a process of its own; print seconds, and memory in MB beyond the start."""
    warnings.simplefilter("ignore")
    table = "Spike" if what.endswith("rows") else "Trace"
    if what.startswith("theirs"):
        live = instance(backend)
        free = live.FreeTable(name_of(backend, schema, table))
        len(free)
        start, before = time.perf_counter(), peak()
        kept = free.to_dicts()
        assert kept
    else:
        cache = Cache(folder, silent=True)
        pipeline = type("There", (), {"login": login_of(backend)})
        mirror = mirror_of(pipeline, cache)
        mirror.status(schema)
        start, before = time.perf_counter(), peak()
        mirror.pull(f"{schema}.{table}")
    print(time.perf_counter() - start, peak() - before)


def login_of(backend):
    """Say where the server of a kind is."""
    from datajoint_pipeline import login

    return login(backend)


def name_of(backend, schema, table):
    """Give the full name of a table, quoted."""
    quote = '"' if backend == "postgresql" else "`"
    return f"{quote}{schema}{quote}.{quote}{table.lower()}{quote}"


def apart(what, backend, schema, folder=""):
    """Run `part` in another process; give seconds and MB."""
    command = [sys.executable, str(HERE / "datajoint.py"), "--part", what, backend, schema, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    seconds, memory = map(float, done.stdout.split()[-2:])
    return seconds, memory


def mirroring(pipeline, folder, repeat):
    """Compare a fetch with a pull."""
    backend, schema = pipeline.backend, pipeline.names["big"]
    for what in ("rows", "traces"):
        theirs, ours = [], []
        for turn in range(repeat):
            theirs.append(apart(f"theirs {what}", backend, schema))
            ours.append(apart(f"ours {what}", backend, schema, f"{folder}/{what}{turn}"))
        (t, t_memory), (o, o_memory) = (
            [statistics.median(column) for column in zip(*runs, strict=True)]
            for runs in (theirs, ours)
        )
        print(
            f"  {what:22} fetch {t:6.2f} s, {t_memory:5.0f} MB   first pull {o:6.2f} s, "
            f"{o_memory:5.0f} MB   {t / o:5.1f} x"
        )
    place = f"{folder}/rows0"
    same = apart("ours rows", backend, schema, place)[0]
    query = pipeline.instance.connection.query
    query(f"UPDATE {name_of(backend, schema, 'Spike')} SET unit='x' WHERE spike_id=3 "
          "AND session_id < 10")  # fmt: skip
    few = apart("ours rows", backend, schema, place)[0]
    print(f"  rows, again            nothing changed {same:.2f} s, ten rows changed {few:.2f} s")


def questions(pipeline, folder, repeat):
    """Compare a restriction and fetch, again and again."""
    cache = Cache(f"{folder}/questions", silent=True)
    mirror_of(pipeline, cache).pull(pipeline.names["big"])
    db, live = cache.schemas[pipeline.names["big"]], pipeline.big
    n_sessions = len(db.Spike) // PER_SESSION
    ways = {
        "dicts": lambda table, i: (table & {"session_id": i}).to_dicts(),
        "arrays": lambda table, i: (table & {"session_id": i}).to_arrays("spike_time", "unit"),
        "SQL text, frame": lambda table, i: (table & f"session_id = {i}").to_pandas(),
        "one row": lambda table, i: (table & {"session_id": i, "spike_id": 5}).fetch1(),
    }
    for name, ask in ways.items():
        times = {"live": [], "mirror": []}
        for turn in range(repeat):
            for who, tables in (("live", live), ("mirror", db)):
                start = time.perf_counter()
                answer = ask(tables.Spike() if who == "live" else tables.Spike, turn % n_sessions)
                times[who].append(time.perf_counter() - start)
                assert len(answer)
        slow, fast = (1e3 * statistics.median(times[who]) for who in ("live", "mirror"))
        print(f"  1,000 rows as {name:16} live {slow:6.2f} ms   mirror {fast:6.2f} ms   "
              f"{slow / fast:5.1f} x")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few seconds, for CI")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--part", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    logging.getLogger("datajoint").setLevel(logging.ERROR)
    if given.part:
        part(*given.part)
        return
    warnings.simplefilter("ignore")
    sizes = (4_000, 4, 1_000) if given.smoke else (200_000, 100, 72_000)
    repeat = 1 if given.smoke else given.repeat
    for backend, variable in VARIABLES.items():
        if not os.environ.get(variable):
            print(f"{backend}: no server; set {variable}=user:password@host:port")
            continue
        pipeline = Pipeline(backend)
        print(f"{backend}: {sizes[0]:,} rows, {sizes[1]} traces of {sizes[2]:,}")
        try:
            build(pipeline, *sizes)
            with tempfile.TemporaryDirectory() as folder:
                mirroring(pipeline, folder, repeat)
                questions(pipeline, folder, 20 * repeat)
        finally:
            pipeline.drop()


if __name__ == "__main__":
    main()
