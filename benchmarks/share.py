"""What it costs to verify, to compare and to restore, beside the least that could do it.

usage: python benchmarks/share.py [--rounds 5] [--rows 5000000] [--folder DIR] [--smoke]

- ``verify`` of large and of small files, beside hashlib over the same bytes on as many threads:
  both in turn, files in the memory of the system;
- ``diff`` of two tables as a server writes them, of which one row in 1,000 differs, in a process
  of its own: time and peak memory;
- ``restore`` of 2,000 small files from a server on this machine, beside the plain transfer of the
  same files (``one_cache.transfer.fetch``): at most 1.3 times as long. Each in a new process, in
  turn; the packages that open tables and ask servers (0.4 s) are imported before either.
"""

import argparse
import datetime as dt
import hashlib
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

from tables import make_tables, run, time_of

from one_cache import Cache
from one_cache.bundle.verify import verify
from one_cache.records import Dataset, Session
from one_cache.store import Store
from one_cache.tables import Tables

CHUNK = 1 << 20
CHANGES = """
COPY (SELECT * REPLACE (
    if(abs(hash(id)) % 1000 = 0, md5(hash), hash) AS hash,
    if(abs(hash(id)) % 1000 = 1, 'FAIL', qc) AS qc
) FROM read_parquet('{before}') WHERE abs(hash(id)) % 1000 <> 2)
TO '{after}' (FORMAT parquet, ROW_GROUP_SIZE 1000000, KV_METADATA {{one_metadata: '{meta}'}})
"""
DIFF = """
from one_cache.bundle.compare import diff
start = time.perf_counter()
changes = diff(sys.argv[1], sys.argv[2], silent=True)
found["seconds"], found["counts"] = time.perf_counter() - start, changes.counts
end()
"""
READ = """
import duckdb, pandas, pyarrow.compute, pyarrow.parquet, requests
from one_cache.recorder import read_record
from one_cache.remotes import connect
source, record, target = sys.argv[1:4]
"""
RESTORE = """
from one_cache import Cache
cache = Cache(target, silent=True)
measure("seconds", lambda: cache.restore(record, source=source), 1)
assert len(cache.datasets) == len(read_record(Path(record))[1])
"""
FETCH = """
from one_cache.bundle.wish import file_of
from one_cache.store import Store
from one_cache.transfer import fetch
files = [file_of(entry) for entry in read_record(Path(record))[1]]
measure("seconds", lambda: fetch(files, connect(source), Store(target), silent=True), 1)
"""


def hash_alone(places):
    """Hash files as hashlib can, on all processors."""

    def digest(place):
        found = hashlib.md5()
        with open(place, "rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                found.update(chunk)
        return found.hexdigest()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(digest, places))


def measure_verify(folder, count, size, rounds):
    store = Store(folder)
    content = os.urandom(size)
    files = [
        store.write(f"lab/Subjects/s/2024-01-01/001/alf/o{i:05}.a.npy", [content])
        for i in range(count)
    ]
    places = [store.path(file.path) for file in files]
    ours, theirs = [], []
    for _ in range(rounds):
        start = perf_counter()
        digests = hash_alone(places)
        theirs.append(perf_counter() - start)
        start = perf_counter()
        assert verify(store, files, silent=True) == []
        ours.append(perf_counter() - start)
        assert [file.hash for file in files] == digests
    ratio, total = min(ours) / min(theirs), count * size
    print(
        f"verify of {count:,} files of {size / 1e3:,.0f} kB: {time_of(min(ours))}, "
        f"{total / min(ours) / 1e9:.2f} GB/s, {ratio:.2f} times hashlib",
        flush=True,
    )


def measure_diff(folder, rows):
    import duckdb
    from tables import META

    before, after = folder / "before", folder / "after"
    make_tables(before, rows)
    after.mkdir()
    (after / "sessions.pqt").write_bytes((before / "sessions.pqt").read_bytes())
    paths = {"before": before / "datasets.pqt", "after": after / "datasets.pqt", "meta": META}
    duckdb.connect(config={"memory_limit": "2GB"}).execute(CHANGES.format(**paths))
    found = run(DIFF, before, after, "")
    counts = ", ".join(f"{number:,} {kind}" for kind, number in found["counts"].items())
    print(
        f"diff of two tables of {rows:,} rows: {time_of(found['seconds'])}, peak "
        f"{found['peak']:,.0f} MB; {counts}",
        flush=True,
    )


def write_lab(folder, count, size):
    """Write a folder of small files with its tables, and a record that names all."""
    store, tables = Store(folder), Tables.open(None)
    day = dt.date(2024, 1, 1)
    sessions = [
        Session(f"{i:08}-0000-4000-8000-000000000000", "lab", f"m{i:02}", day, 1)
        for i in range(20)
    ]
    tables.add("sessions", sessions)
    datasets = []
    for i in range(count):
        session = sessions[i % len(sessions)]
        file = store.write(f"{session.path}/alf/o{i:04}.times.npy", os.urandom(size))
        datasets.append(
            Dataset(
                f"{i:08}-0000-4000-8000-000000000001",
                session.id,
                f"alf/o{i:04}.times.npy",
                size,
                file.hash,
                default_revision=True,
            )
        )
    tables.add("datasets", datasets)
    tables.save(folder)
    cache = Cache(folder, silent=True)
    with cache.recording():
        for session in sessions:
            cache.load_collection(session.id, "alf", download_only=True)
    return cache.save_record(folder.parent / "record.jsonl")


def measure_restore(folder, count, size, rounds):
    record = write_lab(folder / "lab", count, size)
    command = [sys.executable, "-m", "one_cache.cli", "serve", folder / "lab", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            url = server.stderr.readline().split(" at ")[1].split()[0]
            times = {RESTORE: [], FETCH: []}
            for number in range(rounds):
                for code, taken in times.items():
                    target = folder / f"{len(taken)}{number}{len(code)}"
                    found = run(
                        "from pathlib import Path" + READ + code + "end()", url, record, target
                    )
                    taken.append(found["seconds"])
        finally:
            server.terminate()
    ours, plain = min(times[RESTORE]), min(times[FETCH])
    print(
        f"restore of {count:,} files of {size / 1e3:.0f} kB: {time_of(ours)}, plain transfer "
        f"{time_of(plain)}: {ours / plain:.2f} times",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--folder", type=Path, help="where to work; some GB are written")
    parser.add_argument("--smoke", action="store_true", help="small, to see that it runs")
    given = parser.parse_args()
    rounds = 1 if given.smoke else given.rounds
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        work = Path(name)
        measure_verify(work / "large", *((2, 1 << 20) if given.smoke else (40, 25 << 20)), rounds)
        measure_verify(work / "small", *((20, 20_000) if given.smoke else (4000, 20_000)), rounds)
        measure_diff(work, 20_000 if given.smoke else given.rows)
        measure_restore(work / "restore", 40 if given.smoke else 2000, 20_000, rounds)


if __name__ == "__main__":
    main()
