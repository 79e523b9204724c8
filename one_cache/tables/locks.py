"""The right to write among processes: a lock that is never taken from a live owner."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from one_cache.errors import StoreError

if TYPE_CHECKING:
    from filelock import BaseFileLock

logger = logging.getLogger(__name__)

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
_PATIENCE = 10.0  # seconds after which the log says what is being waited for


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold a lock; wait for as long as a live process holds it.

    Parameters
    ----------
    path : pathlib.Path
        The lock file; its folder is made when it is missing.

    Yields
    ------
    bool
        Whether the lock is held; False where the file system knows no locks, and others may
        write at the same time.

    Raises
    ------
    StoreError
        The folder cannot be written.
    """
    lock = _acquired(path)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


def _acquired(path: Path) -> BaseFileLock | None:
    """Wait for a lock; give None where the file system has none."""
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # whoever may write in the folder may take the lock
        lock = FileLock(path, mode=0o666)
        try:
            lock.acquire(timeout=_PATIENCE)
        except Timeout:
            logger.warning("waiting for another process that writes in %s", path.parent)
            lock.acquire()
    except NotImplementedError:
        return None
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise StoreError(f"{path.parent}: cannot be written: {error}", error.errno) from error
    return lock


def sweep(folder: Path, pattern: str) -> None:
    """Remove what killed processes left; call it while the lock is held.

    Parameters
    ----------
    folder : pathlib.Path
        Where to look.
    pattern : str
        Names of temporary files and folders.
    """
    import shutil

    for path in folder.glob(pattern):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
