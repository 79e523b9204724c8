"""What questions to large access tables cost, beside ONE-api in the same run.

usage: python benchmarks/tables.py [--rows 1000000 5000000] [--beyond 50000000]
                                   [--files 100000] [--folder DIR] [--without-one] [--smoke]

For each number of datasets, tables as a server writes them (unsorted, large row groups):

- a script in a new process that imports, opens, and lists one session's datasets: time and peak;
- ``search(datasets=)`` over all sessions, ``search(subject=, datasets=)``, once open;
- one dataset, one session and 1,000 datasets by id, the list of a session never asked for before,
  ``load_dataset(download_only=True)`` of a file that is there, once open;
- ``save_cache`` with 1,000 new datasets: time and peak.

ONE-api needs minutes and gigabytes at 5 million. ``--beyond`` measures the script and the list at
a size that is left to ours alone. ``--files`` indexes that many small files, twice.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from importlib.util import find_spec
from pathlib import Path

EACH = 100  # datasets of a session
KNOWN = "11111111-2222-4333-8444-555555555555"  # a session with a file on disk
FILE = b"x" * 1000
PATH = "lab00/Subjects/lab00_00000/2019-01-01/001"
META = '{"date_created": "2025-06-01 10:00", "origin": "alyx"}'
MD5 = hashlib.md5(FILE).hexdigest()

MEASURE = """
import json, resource, sys, time, warnings
warnings.simplefilter("ignore")
start = time.perf_counter()
found = {}

def measure(name, call, repeat=5):
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - begin)
    found[name] = sorted(times)[len(times) // 2]
    return result

def peak():
    # getrusage includes what the parent held when it forked; this mark does not
    try:
        marks = dict(line.split(":") for line in open("/proc/self/status"))
        return int(marks["VmHWM"].split()[0]) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2

def end():
    found["peak"] = peak()
    print(json.dumps(found))

folder, eid, subject = sys.argv[1:4]
"""

OURS = """
from one_cache import ONE
one = ONE(cache_dir=folder, mode="local", silent=True)
"""
THEIRS = """
import logging
logging.disable(logging.CRITICAL)
from one.api import One
one = One(cache_dir=folder)
"""

LIST = """
found["datasets"] = len(one.list_datasets(eid))
found["script"] = time.perf_counter() - start
end()
"""

ASK = """
measure("search subject", lambda: one.search(subject=subject, datasets="spikes.times0.npy"))
if all_sessions:
    measure("search all", lambda: one.search(datasets="spikes.times0.npy"), 3 if ours else 1)
"""

ONCE_OPEN = """
tables = one.tables
every = max(1, tables.count("sessions") // 300)
eids = [str(eid) for eid in one.search()[::every]]
fresh = iter(eids)
measure("list", lambda: one.list_datasets(next(fresh)), 21)
ids = [item.id for some in eids[:200] for item in tables.datasets_of(some)[:5]]
tables.refresh()
asked = iter(ids)
measure("one id", lambda: tables.datasets([next(asked)]), 21)
measure("session", lambda: tables.sessions([next(fresh)]), 21)
assert len(measure("1000 ids", lambda: tables.datasets(ids))) == 1000
load = lambda: one.load_dataset(known, "alf/spikes.times0.npy", download_only=True)
load()
measure("load", load, 21)
end()
"""

SAVE_OURS = """
import uuid
from one_cache.records import Dataset
rows = [Dataset(str(uuid.uuid4()), eid, f"new/x{n}.y.npy") for n in range(1000)]
one.tables.add("datasets", rows)
measure("save", one.save_cache, 1)
end()
"""
SAVE_THEIRS = """
import datetime, uuid
import pandas as pd
from one.alf.cache import merge_tables
new = one._cache["datasets"].iloc[:1000].copy()
index = [(new.index[0][0], uuid.uuid4()) for _ in range(len(new))]
new.index = pd.MultiIndex.from_tuples(index, names=["eid", "id"])
merge_tables(one._cache, datasets=new)
one._cache["_meta"]["modified_time"] = datetime.datetime.now() + datetime.timedelta(seconds=1)
measure("save", one.save_cache, 1)
end()
"""


def make_tables(folder, rows):
    """Write tables as a server does: ids as text, in no order, in large row groups."""
    import duckdb

    folder.mkdir(parents=True)
    connection = duckdb.connect(
        config={"memory_limit": "2GB", "temp_directory": str(folder / "spill")}
    )
    connection.execute("SET preserve_insertion_order = false")
    n = rows // EACH
    mark = f"KV_METADATA {{one_metadata: '{META}'}}"
    connection.execute(
        f"CREATE TABLE s AS SELECT CASE WHEN i = 0 THEN '{KNOWN}' ELSE uuid()::VARCHAR END AS id, "
        "'lab' || lpad((i % 12)::VARCHAR, 2, '0') AS lab, 'lab' || lpad((i % 12)::VARCHAR, 2, '0')"
        f" || '_' || lpad((i % {n // 60 + 1})::VARCHAR, 5, '0') AS subject, "
        "DATE '2019-01-01' + (i % 2200)::INT AS date, (1 + i % 3)::USMALLINT AS number, "
        "'ephysChoiceWorld' AS task_protocol, 'brainwide' AS projects "
        f"FROM range({n}) t(i)"
    )
    connection.execute(f"COPY s TO '{folder}/sessions.pqt' (FORMAT parquet, {mark})")
    objects = ["spikes.times", "spikes.clusters", "clusters.metrics", "drift.times", "drift.um"]
    levels = ["NOT_SET", "PASS", "NOT_SET", "WARNING", "NOT_SET"]
    known = f"s.id = '{KNOWN}' AND j = 0"
    connection.execute(f"""
        COPY (
            SELECT s.id AS eid, uuid()::VARCHAR AS id,
                CASE WHEN j < 20 THEN 'alf/'
                     WHEN j < 60 THEN 'alf/probe0' || (j % 2) || '/pykilosort/'
                     ELSE 'raw_video_data/#2025-01-' || lpad((1 + j % 28)::VARCHAR, 2, '0') || '#/'
                END || ({objects})[1 + j % 5] || (j // 5) || '.npy' AS rel_path,
                CASE WHEN {known} THEN {len(FILE)} ELSE (random() * 1e9)::BIGINT END::UBIGINT
                    AS file_size,
                CASE WHEN {known} THEN '{MD5}' ELSE md5(random()::VARCHAR) END AS hash,
                true AS exists, ({levels})[1 + j % 5] AS qc, true AS default_revision
            FROM s, range({EACH}) r(j) ORDER BY hash(j, s.id)
        ) TO '{folder}/datasets.pqt' (FORMAT parquet, ROW_GROUP_SIZE 1000000, {mark})""")
    file = folder / PATH / "alf/spikes.times0.npy"
    file.parent.mkdir(parents=True)
    file.write_bytes(FILE)
    return connection.execute("SELECT id, subject FROM s LIMIT 1 OFFSET 3").fetchall()[0]


def run(code, *given):
    """Run code in a new process; give what it measured, and how long all of it took."""
    start = time.perf_counter()
    out = subprocess.run(
        [sys.executable, "-c", MEASURE + textwrap.dedent(code), *map(str, given)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return {**json.loads(out.splitlines()[-1]), "process": time.perf_counter() - start}


def time_of(seconds):
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def tell(name, ours, theirs, wanted=""):
    text = f"  {name}: {time_of(ours)}"
    if theirs is not None:
        text += f", ONE-api {time_of(theirs)}: {theirs / ours:.0f} times faster"
    print(f"{text}{f'  (wanted: {wanted})' if wanted else ''}", flush=True)


def measure(folder, rows, *, one, all_sessions):
    """Measure one size; give what the script cost."""
    eid, subject = make_tables(folder, rows)
    given = (folder, eid, subject)
    print(f"{rows:,} datasets, {rows // EACH:,} sessions", flush=True)
    theirs = {}
    if one:
        listing = run(THEIRS + LIST, *given)
        asking = f"ours, all_sessions = False, {all_sessions}\n"
        theirs = run(THEIRS + asking + ASK + SAVE_THEIRS, *given)
        theirs.update({"process": listing["process"], "script peak": listing["peak"]})
        shutil.rmtree(folder)
        eid, subject = make_tables(folder, rows)  # those that ONE-api saved are sorted
        given = (folder, eid, subject)
    first = run(OURS + LIST, *given)
    print(f"  first opening, once: {time_of(first['process'])}, {first['peak']:.0f} MB")
    script = min((run(OURS + LIST, *given) for _ in range(5)), key=lambda one: one["process"])
    head = f"ours, all_sessions, known = True, {all_sessions}, {KNOWN!r}\n"
    ours = run(OURS + head + ASK + ONCE_OPEN, *given)
    saved = run(OURS + SAVE_OURS, *given)
    tell("script that lists one session", script["process"], theirs.get("process"), "100 times")
    peak = f", ONE-api {theirs['script peak']:.0f} MB" if theirs else ""
    print(f"  its peak: {script['peak']:.0f} MB{peak}  (wanted: 250 MB)")
    if all_sessions:
        tell("search(datasets=)", ours["search all"], theirs.get("search all"), "150 times")
    searching = ours["search subject"], theirs.get("search subject")
    tell("search(subject=, datasets=)", *searching, "20 times")
    limits = {"one id": 15, "session": 15, "1000 ids": 100, "list": 10, "load": 10}
    for name, limit in limits.items():
        tell(name, ours[name], None, f"{limit} ms")
    tell("save_cache of 1,000 datasets", saved["save"], theirs.get("save"), "15 times")
    print(f"  its peak: {saved['peak']:.0f} MB  (wanted: 1000 MB)", flush=True)
    return script


def measure_beyond(folder, rows, script):
    """Measure the script at a size that ONE-api cannot open."""
    given = (folder, *make_tables(folder, rows))
    print(f"{rows:,} datasets", flush=True)
    first = run(OURS + LIST, *given)
    print(f"  first opening, once: {time_of(first['process'])}, {first['peak']:.0f} MB")
    here = min((run(OURS + LIST, *given) for _ in range(5)), key=lambda one: one["process"])
    head = f"ours, all_sessions, known = True, False, {KNOWN!r}\n"
    ours = run(OURS + head + ONCE_OPEN, *given)
    for name, scale, unit in (("process", 1e3, "ms"), ("peak", 1, "MB")):
        ratio = here[name] / script[name]
        print(
            f"  script, {name}: {here[name] * scale:.0f} {unit}, {ratio:.2f} times (wanted: 1.5)"
        )
    for name in ("list", "load", "one id", "1000 ids"):
        tell(name, ours[name], None)


def measure_index(folder, files):
    """Index small files twice."""
    for number in range(files // 100):
        session = folder / f"lab/Subjects/s{number // 50}/2024-01-{1 + number % 28:02d}"
        session /= f"{1 + number % 50:03d}"
        for part in range(4):
            place = session / f"alf/probe{part:02d}"
            place.mkdir(parents=True)
            for n in range(25):
                (place / f"_ibl_obj{n}.times.npy").write_bytes(b"x" * 100)
    times = []
    for _ in range(2):
        start = time.perf_counter()
        command = [sys.executable, "-m", "one_cache.cli", "index", str(folder), "--quiet"]
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    first, again = times
    print(f"index of {files:,} files: {files / first:,.0f} a second  (wanted: 10,000)")
    print(f"  with nothing changed: {first / again:.1f} times faster  (wanted: 3)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000, 5_000_000])
    parser.add_argument("--beyond", type=int, help="a size for ours alone")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where to work; some GB are written")
    parser.add_argument("--without-one", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="small, to see that it runs")
    given = parser.parse_args()
    if given.smoke:
        given.rows, given.beyond, given.files = [30_000], None, 2_000
    one = not given.without_one and find_spec("one") is not None
    with tempfile.TemporaryDirectory(dir=given.folder) as work:
        script = None
        for rows in given.rows:
            place = Path(work, str(rows))
            script = measure(place, rows, one=one, all_sessions=rows <= 1_000_000)
            shutil.rmtree(place)
        if given.beyond and script:
            measure_beyond(Path(work, "beyond"), given.beyond, script)
            shutil.rmtree(Path(work, "beyond"))
        if given.files:
            measure_index(Path(work, "files"), given.files)


if __name__ == "__main__":
    main()
