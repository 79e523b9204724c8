"""What other processes of this machine read, on its way into the record of the one that began.

A recorder that travels, by a fork or pickled, takes its journal along: a folder in which each
process writes a file of its own, and from which the first one collects. It is made when there is
somebody to write into it, and removed when its owner ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from pathlib import Path


class Journal:
    """Lines that several processes write and their owner takes.

    Examples
    --------
    >>> journal = Journal()
    >>> journal.is_own
    True
    >>> journal.write("what a worker read"), journal.take(), journal.take()
    (True, ['what a worker read'], [])
    """

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._folder = tempfile.mkdtemp(prefix="one_cache-record-")
        self._taken: dict[str, int] = {}
        weakref.finalize(self, _remove, self._folder, self._owner)

    def __getstate__(self) -> dict[str, object]:
        return {"_owner": self._owner, "_folder": self._folder, "_taken": {}}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Journal) and other._folder == self._folder

    def __hash__(self) -> int:
        return hash(self._folder)

    @property
    def is_own(self) -> bool:
        """Whether this process is the one that takes."""
        return os.getpid() == self._owner

    def write(self, line: str) -> bool:
        """Add a line; False where the owner is not within reach: gone, or on another machine."""
        # opened for each line: a fork shares no handle, and what is written is there to be taken
        with contextlib.suppress(OSError):
            with open(os.path.join(self._folder, str(os.getpid())), "ab") as file:
                file.write(f"{line}\n".encode())
            return True
        return False

    def take(self) -> list[str]:
        """Give the lines that were written since the last time, those of a process in order."""
        lines: list[str] = []
        with contextlib.suppress(OSError):
            for path in sorted(Path(self._folder).iterdir()):
                with path.open("rb") as file:
                    file.seek(self._taken.get(path.name, 0))
                    # the end of a line that is being written is left for the next time
                    whole = file.read().rpartition(b"\n")[0]
                if whole:
                    self._taken[path.name] = self._taken.get(path.name, 0) + len(whole) + 1
                    lines += whole.decode().split("\n")
        return lines


def _remove(folder: str, owner: int) -> None:
    # a forked child that ends in the usual way comes by here too
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
