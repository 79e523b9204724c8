"""What commands share: options, the cache that they mean, data written out, talk."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from one_cache.cache import Cache

FINE, FINDING, USAGE, INTERRUPTED = 0, 1, 2, 130

Command = Callable[[Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]
"""Takes what a command does and its name, gives the parser of its arguments."""


def say(text: str) -> None:
    """Talk to the person at the terminal."""
    print(_plain(text, sys.stderr), file=sys.stderr)


def give(value: Any, text: str, *, as_json: bool) -> None:
    """Write data, for a machine or for a person."""
    shown = json.dumps(value, indent=2, default=str) if as_json else text
    print(_plain(shown, sys.stdout))


def _plain(text: str, stream: TextIO) -> str:
    """Write out what would steer a terminal, or what it cannot show: names come from anywhere."""
    found = "".join(
        one if one == "\n" or one.isprintable() else one.encode("unicode_escape").decode()
        for one in text
    )
    encoding = stream.encoding or "utf-8"
    return found.encode(encoding, "backslashreplace").decode(encoding)


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


def open_cache(given: argparse.Namespace, *, source: str | None = None) -> Cache:
    """Open the cache that the common options mean, or else that of a source."""
    from one_cache.cache import ONE

    return ONE(
        given.base_url or source,
        cache_dir=given.cache_dir,
        tables_dir=given.tables_dir,
        mode=given.mode,
        silent=given.quiet,
    )


def common(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which cache is meant."""
    parser.add_argument("--base-url", help="address of the server")
    parser.add_argument("--cache-dir", help="folder of the cache")
    parser.add_argument("--tables-dir", help="folder of the tables, if another")
    parser.add_argument("--mode", default="remote", help="remote (default), local or fixed")
    quiet(parser)


def quiet(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to answer."""
    parser.add_argument("--json", action="store_true", help="data for machines")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
