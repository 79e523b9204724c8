"""The ``one-cache`` command: the only place that prints.

Data goes to standard output, talk to standard error. Exit status: 0 fine, 1 a finding (nothing
found, something missing or different), 2 usage. ``--json`` gives the data for machines.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence

from one_cache import __version__
from one_cache.cli import finding, lab, sharing
from one_cache.cli.shown import FINDING, FINE, INTERRUPTED, USAGE, say
from one_cache.errors import InvalidArgument, OneCacheError

__all__ = ["main"]


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

    for group in (lab, finding, sharing):
        group.add(command)
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
