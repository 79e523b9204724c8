"""What each mode does: one table that says ask or not, use, hash, fetch or raise.

Nothing else in the package compares modes. A method looks its mode up here and does what the
row says, so a new mode is a new row and not a search for every ``if``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from one_cache.errors import InvalidArgument


class Mode(str, Enum):
    """How a cache answers."""

    REMOTE = "remote"
    LOCAL = "local"
    FIXED = "fixed"

    def __str__(self) -> str:
        return self.value


class FileState(Enum):
    """What is known of a file of the cache, decided by the store from one ``stat``."""

    MISSING = "not on disk"
    WRONG = "differs from its record"
    UNCHECKED = "on disk, size agrees, not hashed since it changed"
    GOOD = "verified and unchanged since"


class Action(Enum):
    """What to do with a file in some state."""

    USE = "use"
    HASH = "hash, then decide again"
    FETCH = "fetch"
    RAISE = "raise"


@dataclass(frozen=True)
class Policy:
    """One row of the table: all that a mode decides.

    Attributes
    ----------
    asks : bool
        Questions go to the remote; otherwise to the tables of this cache.
    writes : bool
        Files, tables and notes may be written into the cache.
    pinned : bool
        Only what the manifest pins is served, and each file is hashed once a process.
    on : mapping of FileState to Action
        What happens to a file that is asked for.
    """

    asks: bool
    writes: bool
    pinned: bool
    on: Mapping[FileState, Action]


_FETCHES = {
    FileState.MISSING: Action.FETCH,
    FileState.WRONG: Action.FETCH,
    FileState.UNCHECKED: Action.HASH,
    FileState.GOOD: Action.USE,
}
_SERVES = {
    FileState.MISSING: Action.RAISE,
    FileState.WRONG: Action.RAISE,
    FileState.UNCHECKED: Action.HASH,
    FileState.GOOD: Action.USE,
}

_REMOTE = Policy(asks=True, writes=True, pinned=False, on=_FETCHES)
_REMOTE_FROM_TABLES = Policy(asks=False, writes=True, pinned=False, on=_FETCHES)
_LOCAL = Policy(asks=False, writes=True, pinned=False, on=_SERVES)
# a file of a frozen cache was hashed before, by someone: it is hashed again, once a process
_FIXED = Policy(asks=False, writes=False, pinned=True, on=_SERVES)

# the mode of the cache, then the `query_type` of the call
_POLICIES: Mapping[Mode, Mapping[str | None, Policy]] = {
    Mode.REMOTE: {None: _REMOTE, "remote": _REMOTE, "local": _REMOTE_FROM_TABLES},
    Mode.LOCAL: {None: _LOCAL, "remote": _REMOTE, "local": _LOCAL},
    Mode.FIXED: {None: _FIXED, "remote": _FIXED, "local": _FIXED},
}


def read_mode(value: str | Mode) -> Mode:
    """Read the name of a mode.

    Parameters
    ----------
    value : str or Mode
        ``"remote"``, ``"local"`` or ``"fixed"``.

    Returns
    -------
    Mode

    Raises
    ------
    InvalidArgument
        Any other name.

    Examples
    --------
    >>> read_mode("local")
    <Mode.LOCAL: 'local'>
    """
    try:
        return Mode(value)
    except ValueError:
        known = ", ".join(repr(mode.value) for mode in Mode)
        raise InvalidArgument(f"mode must be one of {known}, got {value!r}") from None


def policy(mode: Mode, query_type: str | None = None) -> Policy:
    """Give the policy of one call: the cache's mode, overridden by the call's `query_type`.

    ``query_type`` says where questions go; a remote cache that asks its own tables still
    fetches what is missing, as in ONE-api. Nothing overrides ``fixed``: a script that asks for
    ``query_type="remote"`` reruns frozen.

    Parameters
    ----------
    mode : Mode
        The mode of the cache.
    query_type : {None, "remote", "local"}
        The argument of the call, as in ONE-api.

    Returns
    -------
    Policy

    Examples
    --------
    >>> policy(Mode.LOCAL, "remote").asks, policy(Mode.FIXED, "remote").asks
    (True, False)
    """
    try:
        return _POLICIES[mode][query_type]
    except KeyError:
        raise InvalidArgument(
            f"query_type must be 'remote', 'local' or None, got {query_type!r}"
        ) from None
