"""What has to start anew in a forked child: locks that a lost thread may hold, lost threads."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """An object that a forked child cannot use as it is."""

    def forsake(self) -> None:
        """Start anew; called in the child."""
        ...


_KNOWN: weakref.WeakSet[Forkable] = weakref.WeakSet()


def mind_forks(thing: Forkable) -> None:
    """Call ``forsake`` of `thing` in each child that is forked while it lives.

    Parameters
    ----------
    thing : Forkable
        Held weakly.
    """
    _KNOWN.add(thing)


def _after_fork() -> None:
    for thing in list(_KNOWN):
        thing.forsake()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
