"""An analysis is recorded, its source changes and goes away, and it runs again elsewhere.

    python reproduce.py [FOLDER]

A sample lab is served. On one machine an analysis reads six datasets, saves its record, a bundle
and a manifest. Then the lab revises one dataset, deletes another, makes a third CRITICAL, changes
the bytes of a fourth without telling, and goes away. On another machine (another HOME, another
folder, new processes) the same analysis runs from the record, from the bundle and frozen. Each
gives the same bytes as the first run, or names what cannot be had.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from one_cache import ONE, QC, Cache
from one_cache.errors import OneCacheError
from one_cache.sample import write_sample_lab
from one_cache.serve import DataServer
from one_cache.tables import Tables

SESSION = "KS014/2024-02-07/001"
READ = {
    "alf/licks.times.npy": "revised",
    "alf/_ibl_wheel.position.npy": "deleted",
    "alf/probe00/spikes.times.npy": "made CRITICAL",
    "alf/_ibl_wheel.timestamps.npy": "changed without telling",
    "alf/_ibl_trials.intervals.npy": "left alone",
    "alf/probe00/spikes.clusters.npy": "left alone",
}
LATER = "alf/#2025-01-01#/licks.times.npy"


# -- the analysis, which knows nothing of all this ---------------------------------------------


def analyse(one):
    """Read each dataset; give the digests of the arrays, and what could not be read and why."""
    read, refused = {}, {}
    for name in READ:
        try:
            values = one.load_dataset(SESSION, name)
            read[name] = hashlib.sha256(values.tobytes()).hexdigest()
        except OneCacheError as error:
            refused[name] = f"{type(error).__name__}: {error}"
    return {"read": read, "refused": refused}


def first_run(one, folder):
    """Run the analysis and keep what others need to run it again."""
    with one.recording():
        found = analyse(one)
    record = one.save_record(folder / "record.jsonl")
    one.bundle(record, folder / "paper.zip")
    one.bundle(record, folder / "paper")
    one.freeze()
    return found


# -- what becomes of the source ----------------------------------------------------------------


def change(lab):
    """Revise, delete, condemn, and change in secret: a dataset each."""
    _, deleted, condemned, secret, *_ = READ
    place = lab / "northlab" / "Subjects" / SESSION
    (place / LATER).parent.mkdir()
    shutil.copy(place / "alf/_ibl_trials.stimOn_times.npy", place / LATER)
    (place / deleted).unlink()
    Cache.index(lab, hash=True, silent=True)
    tables = Tables.open(lab, silent=True)
    [row] = tables.rows("SELECT eid FROM datasets WHERE rel_path = ?", [LATER])
    [dataset] = [one for one in tables.datasets_of(row["eid"]) if one.rel_path == condemned]
    tables.add("datasets", [replace(dataset, qc=QC.CRITICAL)])
    tables.save()
    tables.close()
    content = bytearray((place / secret).read_bytes())
    content[-1] ^= 1
    (place / secret).write_bytes(content)


# -- two machines ------------------------------------------------------------------------------


class Machine:
    """A computer with a home and a disk of its own."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "home").mkdir(parents=True)
        ours = ("ONE_", "XDG_", "ALYX_")
        mine = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
        self.environment = {**mine, "HOME": str(folder / "home"), "ONE_CACHE_PROGRESS": "0"}

    def run(self, *arguments):
        """Run Python in a new process there; give exit status, output and talk."""
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=self.environment, cwd=self.folder
        )
        if done.returncode not in (0, 1):
            raise RuntimeError(done.stderr)
        return done.returncode, done.stdout, done.stderr.strip()

    def analyse(self, *options):
        """Run the analysis there."""
        status, out, err = self.run(__file__, "--analyse", *options)
        if status:
            raise RuntimeError(err)
        return json.loads(out)

    def command(self, *arguments):
        """Run ``one-cache`` there."""
        return self.run("-m", "one_cache.cli", *arguments)


class Drill:
    """What is played, what each run read, and what each command found."""

    def __init__(self, root, say):
        self.here, self.there = Machine(root / "here"), Machine(root / "there")
        self.lab = root / "lab"
        self.say = say
        self.first, self.results, self.findings = {}, {}, {}

    def open_lab(self):
        """Write the sample lab, with tables that follow from its files."""
        write_sample_lab(self.lab)
        for table in self.lab.glob("*.pqt"):
            table.unlink()
        Cache.index(self.lab, hash=True, silent=True)

    def begin(self, url):
        """Run the analysis for the first time, and carry over what travels."""
        mine, others = self.here.folder, self.there.folder
        self.first = self.here.analyse(
            "--base-url", url, "--cache-dir", mine / "cache", "--keep", mine
        )
        self.say(f"first run: {len(self.first['read'])} datasets read from {url}")
        for name in ("record.jsonl", "paper.zip"):
            shutil.copy(mine / name, others)
        for name in ("paper", "cache"):
            shutil.copytree(mine / name, others / name)

    def run(self, name, *options):
        """Run the analysis elsewhere and compare."""
        found = self.results[name] = self.there.analyse(*options)
        same = sum(found["read"][key] == self.first["read"][key] for key in found["read"])
        self.say(f"{name}: {same} of {len(READ)} datasets read, the same bytes")
        for path, reason in found["refused"].items():
            self.say(f"  not {path}: {reason.partition(':')[0]}")

    def restore(self, name, record, *options):
        """Restore elsewhere and say what could not be had."""
        status, out, err = self.there.command("restore", record, "--json", *options)
        problems = json.loads(out)["problems"]
        self.findings[name] = {Path(one["path"]).name: one["kind"] for one in problems}
        self.say(f"{name}: {err.splitlines()[0]}, exit {status}")
        for one in problems:
            reason = one["reason"].removeprefix(f"{one['path']}: ")
            self.say(f"  {one['kind']:8} {Path(one['path']).name}: {reason}")

    def ask_what_changed(self, url):
        """Say what of the record is outdated."""
        options = ("--base-url", url, "--cache-dir", "asked", "--json")
        _, out, err = self.there.command("outdated", "record.jsonl", *options)
        found = self.findings["outdated"] = {one["path"]: one["kind"] for one in json.loads(out)}
        self.say(f"{err}: {', '.join(found.values())}")


def drill(root, say=print):
    """Play all of it in a folder; give what each run read and each command found."""
    played = Drill(root, say)
    run, restore = played.run, played.restore
    played.open_lab()
    with DataServer(played.lab) as server:
        played.begin(server.url)
        change(played.lab)
        say("\nthe lab: " + ", ".join(dict.fromkeys(f"one {what}" for what in READ.values())))
        played.ask_what_changed(server.url)
        restore("record, from the changed source", "record.jsonl", "--cache-dir", "restored")
        run("analysis, restored from the changed source", "--cache-dir", "restored")
    say("\nthe source is gone")
    restore("record, from nowhere", "record.jsonl", "--cache-dir", "nothing")
    restore("bundle", "paper.zip", "--cache-dir", "unpacked")
    bundle = ("--from", "paper.zip", "--cache-dir", "restored")
    restore("record, from the bundle", "record.jsonl", *bundle)
    run("analysis, restored from the bundle", "--cache-dir", "unpacked")
    run("analysis, completed from the bundle", "--cache-dir", "restored")
    run("analysis, in the bundle as it is", "--cache-dir", "paper", "--mode", "fixed")
    run("analysis, frozen", "--cache-dir", "cache", "--mode", "fixed")
    return played.first, played.results, played.findings


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="new; a temporary one when not given")
    parser.add_argument("--analyse", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--base-url", help=argparse.SUPPRESS)
    parser.add_argument("--cache-dir", help=argparse.SUPPRESS)
    parser.add_argument("--mode", default="remote", help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.analyse:
        one = ONE(given.base_url, cache_dir=given.cache_dir, mode=given.mode, silent=True)
        print(json.dumps(first_run(one, given.keep) if given.keep else analyse(one)))
    elif given.folder:
        drill(given.folder.absolute())
    else:
        with tempfile.TemporaryDirectory() as folder:
            drill(Path(folder))


if __name__ == "__main__":
    main()
