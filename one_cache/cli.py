"""The ``one-cache`` command: the only place that prints.

Data goes to standard output, talk to standard error. Exit status: 0 fine, 1 a finding (nothing
found, something missing or different), 2 usage. ``--json`` gives the data for machines.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache import __version__
from one_cache.errors import InvalidArgument, OneCacheError

if TYPE_CHECKING:
    from one_cache.cache import Cache

FINE, FINDING, USAGE, INTERRUPTED = 0, 1, 2, 130


def say(text: str) -> None:
    """Talk to the person at the terminal."""
    print(text, file=sys.stderr)


def give(value: Any, text: str, *, as_json: bool) -> None:
    """Write data, for a machine or for a person."""
    print(json.dumps(value, indent=2, default=str) if as_json else text)


def table(rows: Sequence[Sequence[Any]], head: Sequence[str]) -> str:
    """Lay out rows in columns that a person can read.

    Examples
    --------
    >>> print(table([["a", 1], ["bcd", 22]], ["name", "size"]))
    name  size
    a        1
    bcd     22
    """
    cells = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [all(isinstance(row[i], int) for row in rows) for i in range(len(head))]
    lines = []
    for row in cells:
        parts = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def open_cache(given: argparse.Namespace) -> Cache:
    """Open the cache that the common options mean."""
    from one_cache.cache import ONE

    return ONE(
        given.base_url,
        cache_dir=given.cache_dir,
        tables_dir=given.tables_dir,
        mode=given.mode,
        silent=given.quiet,
    )


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


def record(given: argparse.Namespace) -> int:
    """Show a record: what an analysis read."""
    from one_cache.recorder import read_record

    head, entries = read_record(Path(given.file))
    rows = [
        [entry.at, entry.kind, entry.path or entry.id, entry.hash or "", entry.mode]
        for entry in entries
    ]
    value = {"about": head, "entries": [vars(entry) for entry in entries]}
    give(value, table(rows, ["at", "kind", "what", "hash", "mode"]), as_json=given.json)
    say(", ".join(f"{key} {value}" for key, value in head.items() if isinstance(value, str)))
    return FINE if entries else FINDING


def index(given: argparse.Namespace) -> int:
    """Make the tables of a folder of ALF files."""
    from one_cache.index import index_folder

    summary = index_folder(Path(given.folder), hash=given.hash, silent=given.quiet)
    facts = {key: str(value) for key, value in vars(summary).items()}
    give(facts, table(list(facts.items()), ["", ""]).lstrip("\n"), as_json=given.json)
    return FINE


def serve(given: argparse.Namespace) -> int:
    """Serve a folder and its tables over HTTP until Ctrl-C."""
    from one_cache.serve import DataServer

    server = DataServer(given.folder, host=given.host, port=given.port, token=given.token)
    say(f"serving {given.folder} at {server.url} (Ctrl-C ends it)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("ended")
    return FINE


def demo(given: argparse.Namespace) -> int:
    """Make a sample lab, serve it, and run the quickstart remote, local and fixed."""
    from one_cache.demo import run_demo

    return FINE if run_demo(Path(given.dir) if given.dir else None, say) else FINDING


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base-url", help="address of the server")
    parser.add_argument("--cache-dir", help="folder of the cache")
    parser.add_argument("--tables-dir", help="folder of the tables, if another")
    parser.add_argument("--mode", default="remote", help="remote (default), local or fixed")
    _quiet(parser)


def _quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="data for machines")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def build_parser() -> argparse.ArgumentParser:
    """Give the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="one-cache", description="One local cache for neuroscience data."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(run: Callable[[argparse.Namespace], int], name: str) -> argparse.ArgumentParser:
        text = (run.__doc__ or "").splitlines()[0]
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    one = command(demo, "demo")
    one.add_argument("--dir", help="where to put the sample (a new temporary folder)")
    one = command(index, "index")
    one.add_argument("folder")
    one.add_argument("--hash", action="store_true", help="hash every file (md5)")
    _quiet(one)
    one = command(serve, "serve")
    one.add_argument("folder")
    one.add_argument("--host", default="127.0.0.1", help="127.0.0.1: this machine only")
    one.add_argument("--port", type=int, default=8000)
    one.add_argument("--token", help="bearer token that clients must send")
    one.add_argument("--readonly", action="store_true", help="spell out what is always so")
    one = command(search, "search")
    one.add_argument("terms", nargs="*", metavar="name=value[,value]")
    _common(one)
    one = command(ls, "ls")
    one.add_argument("session", nargs="?", help="eid, subject/date/number, ...")
    one.add_argument("--name", help="file name, with * and ?")
    one.add_argument("--collection", help="folder, with * and ?")
    one.add_argument("--qc", default="CRITICAL", help="worst level to list")
    _common(one)
    one = command(get, "get")
    one.add_argument("session", help="eid, subject/date/number, ...")
    one.add_argument("names", nargs="*", help="datasets; all default ones when none is named")
    one.add_argument("--qc", default="FAIL", help="worst level to fetch")
    _common(one)
    one = command(info, "info")
    one.add_argument("session", nargs="?")
    _common(one)
    one = command(record, "record")
    one.add_argument("file", help="what Cache.save_record wrote")
    _quiet(one)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; give the exit status."""
    given = build_parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
        return _run(given)


def _run(given: argparse.Namespace) -> int:
    try:
        status: int = given.run(given)
        sys.stdout.flush()
    except InvalidArgument as error:
        say(f"{type(error).__name__}: {error}")
        return USAGE
    except OneCacheError as error:
        say(f"{type(error).__name__}: {error}")
        return FINDING
    except BrokenPipeError:
        # the reader (head, less) has seen enough; Python would complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    return status


if __name__ == "__main__":
    sys.exit(main())
