"""Commands for whoever has the data: index a folder, serve it, see a demonstration."""

from __future__ import annotations

import argparse
from pathlib import Path

from one_cache.cli.shown import FINDING, FINE, Command, give, quiet, say, table


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


def add(command: Command) -> None:
    """Add these commands."""
    one = command(demo, "demo")
    one.add_argument("--dir", help="where to put the sample (a new temporary folder)")
    one = command(index, "index")
    one.add_argument("folder")
    one.add_argument("--hash", action="store_true", help="hash every file (md5)")
    quiet(one)
    one = command(serve, "serve")
    one.add_argument("folder")
    one.add_argument("--host", default="127.0.0.1", help="127.0.0.1: this machine only")
    one.add_argument("--port", type=int, default=8000)
    one.add_argument("--token", help="bearer token that clients must send")
    one.add_argument("--readonly", action="store_true", help="spell out what is always so")
