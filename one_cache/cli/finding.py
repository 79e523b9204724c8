"""Commands that search, list, fetch and describe."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from one_cache.cli.shown import FINDING, FINE, Command, common, give, open_cache, say, table
from one_cache.errors import InvalidArgument


def _terms(pairs: Sequence[str]) -> dict[str, Any]:
    terms: dict[str, Any] = {}
    for pair in pairs:
        name, found, value = pair.partition("=")
        if not found:
            raise InvalidArgument(f"a search term is written name=value, got {pair!r}")
        values = value.split(",")
        # a range keeps its open end; elsewhere one value is one value
        terms[name] = [part or None for part in values] if len(values) > 1 else value
    return terms


def search(given: argparse.Namespace) -> int:
    """Find sessions: ``one-cache search subject=KS014 date=2023-01-01,``."""
    eids, records = open_cache(given).search(details=True, **_terms(given.terms))
    names = ("lab", "subject", "date", "number", "task_protocol", "projects")
    rows = [[record.id, *(record[name] for name in names)] for record in records]
    give(records, table(rows, ["eid", *names]), as_json=given.json)
    say(f"{len(eids)} sessions")
    return FINE if eids else FINDING


def ls(given: argparse.Namespace) -> int:
    """List the datasets of a session, or those of all."""
    from one_cache.cache.keeping import readable_size

    listed: Any = open_cache(given).list_datasets(
        given.session, given.name, given.collection, qc=given.qc, details=True
    )
    frame = listed.reset_index()
    columns = ["rel_path", "file_size", "qc", "default_revision", "id"]
    records = json.loads(frame.astype(object).to_json(orient="records", default_handler=str))
    rows = [
        [
            record["rel_path"],
            "" if record["file_size"] is None else readable_size(record["file_size"]),
            record["qc"],
            "yes" if record["default_revision"] else "no",
            record["id"],
        ]
        for record in records
    ]
    give(records, table(rows, columns), as_json=given.json)
    say(f"{len(rows)} datasets")
    return FINE if rows else FINDING


def get(given: argparse.Namespace) -> int:
    """Fetch datasets of a session and print the paths of the verified files."""
    cache = open_cache(given)
    if given.names:
        paths, _ = cache.load_datasets(given.session, given.names, download_only=True, qc=given.qc)
    else:
        names = cache.list_datasets(given.session, qc=given.qc, default_revisions_only=True)
        paths, _ = cache.load_datasets(given.session, names, download_only=True, qc=given.qc)
    give([str(path) for path in paths], "\n".join(map(str, paths)), as_json=given.json)
    return FINE


def info(given: argparse.Namespace) -> int:
    """Say what a cache is, or what a session is."""
    cache = open_cache(given)
    if given.session:
        record = cache.get_details(given.session)
        facts = {"eid": str(record.name), **{key: str(value) for key, value in record.items()}}
    else:
        facts = cache.facts()
    rows = [[key, value] for key, value in facts.items()]
    give(facts, table(rows, ["", ""]).lstrip("\n"), as_json=given.json)
    return FINE


def add(command: Command) -> None:
    """Add these commands."""
    one = command(search, "search")
    one.add_argument("terms", nargs="*", metavar="name=value[,value]")
    common(one)
    one = command(ls, "ls")
    one.add_argument("session", nargs="?", help="eid, subject/date/number, ...")
    one.add_argument("--name", help="file name, with * and ?")
    one.add_argument("--collection", help="folder, with * and ?")
    one.add_argument("--qc", default="CRITICAL", help="worst level to list")
    common(one)
    one = command(get, "get")
    one.add_argument("session", help="eid, subject/date/number, ...")
    one.add_argument("names", nargs="*", help="datasets; all default ones when none is named")
    one.add_argument("--qc", default="FAIL", help="worst level to fetch")
    common(one)
    one = command(info, "info")
    one.add_argument("session", nargs="?")
    common(one)
