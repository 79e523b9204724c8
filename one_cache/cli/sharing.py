"""Commands about records: show, restore, freeze, bundle, compare, verify, clean."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.bundle.report import Change, Problem, Report
from one_cache.cli.shown import (
    FINDING,
    FINE,
    Command,
    common,
    give,
    open_cache,
    quiet,
    say,
    table,
)

if TYPE_CHECKING:
    from one_cache.bundle.clean import Plan
    from one_cache.cache import Cache


def record(given: argparse.Namespace) -> int:
    """Show a record: what an analysis read."""
    from one_cache.bundle.wish import is_bundle, read_wish
    from one_cache.recorder import read_record

    if is_bundle(given.file):
        wish = read_wish(given.file)
        head, entries = dict(wish.head), [*wish.entries]
    else:
        head, entries = read_record(Path(given.file).expanduser())
    rows = [
        [entry.at, entry.kind, entry.path or entry.id, entry.hash or "", entry.mode]
        for entry in entries
    ]
    value = {"about": head, "entries": [vars(entry) for entry in entries]}
    give(value, table(rows, ["at", "kind", "what", "hash", "mode"]), as_json=given.json)
    say(", ".join(f"{key} {value}" for key, value in head.items() if isinstance(value, str)))
    return FINE if entries else FINDING


def restore(given: argparse.Namespace) -> int:
    """Bring what a record or a list of ids names, from its source, a folder or a bundle."""
    # a folder that is named becomes a home of what comes
    cache = _cache_of(given, None if given.cache_dir else given.file)
    report = cache.restore(given.file, source=given.source)
    return _tell(report, "restored", given)


def freeze(given: argparse.Namespace) -> int:
    """Pin the tables, or what a record names, for mode fixed; print the manifest."""
    cache = _cache_of(given, given.record)
    manifest = cache.freeze(given.folder, release=given.release, record=given.record)
    give(str(manifest), str(manifest), as_json=given.json)
    return FINE


def bundle(given: argparse.Namespace) -> int:
    """Put all that a record names into one folder or zip file."""
    cache = _cache_of(given, given.record)
    report = cache.bundle(given.record, given.out, tables_only=given.tables_only)
    if given.tables_only and not given.json:
        say(f"tables, manifest and record in {given.out}")
        return FINE
    return _tell(report, f"in {given.out}", given)


def diff(given: argparse.Namespace) -> int:
    """Say what differs between two sets of tables, manifests, bundles, remotes or records."""
    from one_cache.bundle.compare import diff
    from one_cache.cache.desk import open_remote

    # an address that needs credentials finds those that are kept for it
    sides = [open_remote(one) if "://" in one else one for one in (given.before, given.after)]
    found = diff(*sides, silent=given.quiet)
    _list_changes([*found], as_json=given.json)
    say(", ".join(f"{count} {kind}" for kind, count in found.counts.items()) or "no difference")
    return FINDING if len(found) else FINE


def outdated(given: argparse.Namespace) -> int:
    """Say what of a record is gone, revised, changed, of worse QC, or under a notice."""
    found = _cache_of(given, given.record).outdated(given.record)
    _list_changes(found, as_json=given.json)
    say(f"{len({change.id for change in found})} of the record outdated")
    return FINDING if found else FINE


def verify(given: argparse.Namespace) -> int:
    """Hash what is here again; say what is missing, different, extra or unfinished."""
    cache = _cache_of(given, given.record)
    report = cache.verify(given.record, repair=given.repair, threads=given.threads)
    return _tell(report, "right", given)


def clean(given: argparse.Namespace) -> int:
    """Remove what was not used for long and can be had again: a plan first, then the deed."""
    plan = open_cache(given).clean(
        given.keep,
        older_than=given.older_than,
        max_size=given.max_size,
        dry_run=given.dry_run,
        confirm=lambda plan: _show_plan(plan, given) and (given.yes or _is_agreed()),
    )
    if given.dry_run:
        _show_plan(plan, given)
        return FINE
    say(f"{len(plan.removals)} files removed, {_size(plan.freed)} freed")
    for problem in plan.problems:
        say(f"not removed: {problem.path}: {problem.reason}")
    return FINDING if plan.problems else FINE


def _cache_of(given: argparse.Namespace, record: str | None) -> Cache:
    """Open the cache that the options mean; where no tables are named, of the record's source."""
    from one_cache.bundle.wish import read_wish

    source, folder = None, given.tables_dir or given.cache_dir
    if record and not given.base_url and not (folder and [*Path(folder).glob("*.pqt")]):
        source = next(iter(read_wish(record).sources), None)
    return open_cache(given, source=source)


def _tell(report: Report, done: str, given: argparse.Namespace) -> int:
    """Write what came of a call."""
    value = {
        "files": [vars(file) for file in report.files],
        "problems": [vars(problem) for problem in report.problems],
    }
    if given.json:
        give(value, "", as_json=True)
    elif report.problems:
        give(value, _problems(report.problems), as_json=False)
    say(f"{len(report.files)} files {done}, {_size(report.size)}")
    counts = dict.fromkeys(dict.fromkeys(one.kind for one in report.problems), 0)
    for problem in report.problems:
        counts[problem.kind] += 1
    if counts:
        say(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    return FINE if report.ok else FINDING


def _problems(problems: tuple[Problem, ...]) -> str:
    # the path has a column of its own
    rows = [
        [one.kind, one.path or one.id, one.reason.removeprefix(f"{one.path}: ")]
        for one in problems
    ]
    return table(rows, ["problem", "file", "reason"])


def _list_changes(changes: list[Change], *, as_json: bool) -> None:
    rows = [[one.kind, one.eid, one.path, one.before, one.after] for one in changes]
    head = ["change", "session", "path", "before", "after"]
    if as_json or rows:
        give([one._asdict() for one in changes], table(rows, head), as_json=as_json)


def _show_plan(plan: Plan, given: argparse.Namespace) -> bool:
    """Write a plan; tell whether there is anything to do."""
    value: dict[str, Any] = {
        "removals": [vars(one) for one in plan.removals],
        "freed": plan.freed,
        "kept": plan.kept,
        "needed": plan.needed,
    }
    rows = [
        [
            one.path,
            _size(one.size),
            time.strftime("%Y-%m-%d", time.localtime(one.used)),
            one.reason,
        ]
        for one in plan.removals
    ]
    if rows or given.json:
        give(value, table(rows, ["file", "size", "last used", "reason"]), as_json=given.json)
    say(
        f"{len(rows)} files to remove, {_size(plan.freed)}; {_size(plan.kept)} stay, "
        f"{_size(plan.needed)} of it needed by what is kept"
    )
    return bool(rows)


def _is_agreed() -> bool:
    """Ask the person at the terminal; where there is none, the command itself is the answer."""
    if not sys.stdin.isatty():
        return True
    say("Remove them? [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _size(count: float) -> str:
    from one_cache.cache.keeping import readable_size

    return readable_size(count)


def add(command: Command) -> None:
    """Add these commands."""
    one = command(record, "record")
    one.add_argument("file", help="what Cache.save_record wrote, or a bundle")
    quiet(one)
    one = command(restore, "restore")
    one.add_argument("file", help="record, bundle, or list of dataset or session ids")
    one.add_argument("--from", dest="source", metavar="PLACE", help="folder, bundle or address")
    common(one)
    one = command(freeze, "freeze")
    one.add_argument("folder", nargs="?", help="for tables and manifest; that of the cache")
    one.add_argument("--record", help="pin what it names, and nothing else")
    one.add_argument("--release", help="name of the data release")
    common(one)
    one = command(bundle, "bundle")
    one.add_argument("record", help="record, or list of dataset or session ids")
    one.add_argument("out", help="OUT.zip, or a new folder")
    one.add_argument("--tables-only", action="store_true", help="without the files")
    common(one)
    one = command(diff, "diff")
    one.add_argument("before", metavar="A", help="folder, manifest, bundle, record or address")
    one.add_argument("after", metavar="B")
    quiet(one)
    one = command(outdated, "outdated")
    one.add_argument("record")
    common(one)
    one = command(verify, "verify")
    one.add_argument("--record", help="only what it names")
    one.add_argument("--repair", action="store_true", help="fetch again what is bad")
    one.add_argument("--threads", type=int, help="as many as processors")
    common(one)
    one = command(clean, "clean")
    one.add_argument(
        "--keep",
        nargs="+",
        action="extend",
        default=[],
        metavar="RECORD",
        help="records, bundles and manifests that must stay complete",
    )
    one.add_argument("--older-than", metavar="AGE", help="not used for so long: 90d, 4w")
    one.add_argument("--max-size", metavar="SIZE", help="may stay: 200G; longest unused go first")
    one.add_argument("--dry-run", action="store_true", help="only show the plan")
    one.add_argument("--yes", action="store_true", help="do not ask")
    common(one)
