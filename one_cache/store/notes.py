"""Which files were verified, and how they looked then: one small JSON file per session folder.

A note spares the next process the hashing; losing one costs time and nothing else. So a note that
cannot be read counts as none, one that cannot be written is passed over, and a reader takes no
lock: what it sees was renamed into place as a whole.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from one_cache import hashes
from one_cache.store.root import file_mode, follow

_log = logging.getLogger(__name__)
_SESSION = re.compile(r"(?:.*/)?\d{4}-\d\d-\d\d/\d{1,3}(?=/|$)")


_NEVER = -1  # ns, a time of change that no file has

# size, mtime, inode, hashes: as JSON gives it, since most are only looked at
Raw = list[Any]


class Note(NamedTuple):
    """How a file looked when it was hashed.

    Attributes
    ----------
    size : int
        Bytes.
    mtime : int
        Time of the last change, ns.
    inode : int
        Tells apart files that were renamed into place within one tick of the clock.
    hashes : tuple of str
        As :class:`one_cache.hashes.Hash` writes them, one per algorithm.
    """

    size: int
    mtime: int
    inode: int
    hashes: tuple[str, ...]

    @classmethod
    def read(cls, raw: Raw | None) -> Note | None:
        """Read a note as it is kept; what is none gives None."""
        if raw is None:
            return None
        try:
            size, mtime, inode, *found = raw
            return cls(int(size), int(mtime), int(inode), tuple(map(str, found)))
        except (TypeError, ValueError):
            return None

    @classmethod
    def of(cls, now: os.stat_result, *hashes: str) -> Note:
        """Note what `stat` says of a file and what it hashes to."""
        return cls(now.st_size, now.st_mtime_ns, now.st_ino, hashes)

    @classmethod
    def of_wrong(cls, now: os.stat_result, *hashes: str) -> Note:
        """Note what a file should be and is not: the note fits no file, and is hashed again."""
        return cls(now.st_size, _NEVER, now.st_ino, hashes)

    def fits(self, now: os.stat_result) -> bool:
        """Tell whether the file still is the one that was hashed."""
        return (
            self.size == now.st_size and self.mtime == now.st_mtime_ns and self.inode == now.st_ino
        )


def session_of(folder: str) -> str:
    """Give the session folder that `folder` lies in, or `folder` itself outside sessions.

    Parameters
    ----------
    folder : str
        Relative to the root.

    Returns
    -------
    str

    Examples
    --------
    >>> session_of("lab/Subjects/KS014/2019-12-06/001/alf/#2024-05-06#")
    'lab/Subjects/KS014/2019-12-06/001'
    >>> session_of("aggregates/Subjects")
    'aggregates/Subjects'
    """
    found = _SESSION.match(folder)
    return found.group() if found else folder


def read(path: str) -> dict[str, Raw]:
    """Read the notes of one session.

    Parameters
    ----------
    path : str
        The JSON file.

    Returns
    -------
    dict
        Path of a file, relative to the session, to its note; empty where there are none.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            found = json.loads(file.read())["files"]
        return {name: raw for name, raw in found.items() if type(raw) is list and len(raw) > 3}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _log.debug("notes %s are passed over: %s", path, error)
        return {}


def _others(raw: Raw | None, note: Note) -> list[str]:
    """Give what is known already of the same bytes by hashes of other algorithms."""
    known = Note.read(raw)
    if known is None or known[:3] != note[:3] or known.hashes == note.hashes:
        return []
    fresh = {hashes.parse(one).algorithm for one in note.hashes}
    return [one for one in known.hashes if hashes.parse(one).algorithm not in fresh]


def merge(path: str, changes: Mapping[str, Note | None]) -> None:
    """Add notes to those of one session; the caller holds the lock, where locks work.

    Parameters
    ----------
    path : str
        The JSON file; its folder exists.
    changes : mapping
        Path relative to the session to its note; None forgets it.

    Raises
    ------
    OSError
        They cannot be written; those that were there still are.
    """
    kept = read(path)
    for name, note in changes.items():
        if note is None:
            kept.pop(name, None)
        else:
            kept[name] = [*note[:3], *note.hashes, *_others(kept.get(name), note)]
    text = json.dumps({"version": 1, "files": kept}, separators=(",", ":"))
    beside = f"{path}.{os.getpid()}-{os.urandom(4).hex()}.part"
    try:
        with open(beside, "xb") as file:
            folder = os.stat(os.path.dirname(path))
            follow(file.fileno(), folder, file_mode(folder))
            file.write(text.encode())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
