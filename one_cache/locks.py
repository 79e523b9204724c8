"""Locks between processes: files that are locked, never removed.

The operating system lets go of a lock when its owner dies, so none is ever taken from a live
owner. On some network file systems everybody gets every lock: whoever takes one here must stay
right without it.
"""

from __future__ import annotations

import errno
import os
import sys
import time

_HELD = {errno.EAGAIN, errno.EACCES, errno.EDEADLK}
_POLL = 0.02  # s
_FLAGS = (
    os.O_RDWR
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOINHERIT", 0)
)


class Lock:
    """A lock that is held.

    Parameters
    ----------
    handle : int or None
        Of the open file; None for a stand-in where there are no locks.

    Attributes
    ----------
    is_real : bool
        Whether it is none of these.
    """

    def __init__(self, handle: int | None = None) -> None:
        self._handle = handle
        self.is_real = handle is not None

    def release(self) -> None:
        """Let the next one in; a second time does nothing."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        try:
            # not by closing alone: a forked child may have the file open too
            _unlock(handle)
        finally:
            os.close(handle)


def acquire(path: str, *, wait: float = 0.0, mode: int = 0o600) -> Lock | None:
    """Take the lock of a file, which is made when it is missing.

    Parameters
    ----------
    path : str
        Its folder exists.
    wait : float
        Seconds to wait for the one who has it.
    mode : int
        Of a new file: all who shall lock it must be able to write it.

    Returns
    -------
    Lock or None
        None if another one has it.

    Raises
    ------
    OSError
        There are no locks here.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = f"{folder}/a.lock"
    ...     mine = acquire(path)
    ...     second = acquire(path)
    ...     mine.release()
    ...     third = acquire(path)
    ...     third.release()
    >>> second is None, third is None
    (True, False)
    """
    handle = _open(path, mode)
    until = time.monotonic() + wait
    try:
        while not _lock(handle):
            if time.monotonic() >= until:
                os.close(handle)
                return None
            time.sleep(_POLL)
    except BaseException:
        os.close(handle)
        raise
    return Lock(handle)


def _open(path: str, mode: int) -> int:
    try:
        return os.open(path, _FLAGS)
    except PermissionError:
        # made by somebody who let no one else write; a lock needs no more than reading
        return os.open(path, _FLAGS & ~os.O_RDWR)
    except FileNotFoundError:
        handle = os.open(path, _FLAGS | os.O_CREAT, mode)
        if sys.platform != "win32" and os.fstat(handle).st_uid == os.geteuid():
            # whatever the umask: the others of a shared folder lock it too
            os.fchmod(handle, mode)
        return handle


def _lock(handle: int) -> bool:
    try:
        _try_lock(handle)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    return True


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

    def _unlock(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
