"""The root folder of a cache: which paths lie in it, and with which rights new ones are made."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import time
from hashlib import blake2b
from pathlib import Path

from one_cache import locks
from one_cache.errors import OneCacheError, PathEscapes, StoreError
from one_cache.locks import Lock

_log = logging.getLogger(__name__)

# what the package keeps for itself below the root; no record may name a file there
OWN = ".one_cache"
_RESERVED = (f"{OWN}/verified", f"{OWN}/locks")

_ADVICE = {
    errno.ENOSPC: "Make room there, or put the cache on another disk",
    errno.EDQUOT: "Your quota is used up: make room there, or put the cache on another disk",
    errno.EROFS: 'Nothing can be written there; the modes "local" and "fixed" only read',
    errno.EACCES: "Ask its owner for the right to write, or use a cache folder of your own",
    errno.EPERM: "Ask its owner for the right to write, or use a cache folder of your own",
    errno.EISDIR: "A folder lies where the file should be; move it away",
    errno.ENOTEMPTY: "A folder lies where the file should be; move it away",
    errno.ENOTDIR: "A file lies where a folder should be; move it away",
    errno.EEXIST: "A file lies where a folder should be; move it away",
    errno.EMFILE: "Too many files are open: use fewer threads, or raise the limit (ulimit -n)",
    errno.ENAMETOOLONG: "The disk takes no name that long",
    errno.ELOOP: "A link leads to itself; remove it",
    errno.EIO: "The disk reports an error; check it",
}


class Root:
    """The root folder and the rule of what lies in it.

    A path is plain text with ``/`` between its parts. It may not leave the root, neither by its
    text (absolute, ``..``, a drive letter) nor by a link in a folder on its way. The root itself
    may be a link, and so may a file: it is read through, and replaced rather than written through.

    Parameters
    ----------
    folder : path-like
        Need not exist yet.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(os.path.abspath(os.path.expanduser(os.fspath(folder))))
        # folders seen to be real ones: relative path to absolute
        self._known: dict[str, str] = {"": str(self.folder)}
        self._seen: dict[str, tuple[float, os.stat_result]] = {}

    def place(self, path: str) -> str:
        """Give the absolute place of a file.

        Raises
        ------
        PathEscapes
            It would leave the root, or names what the package keeps there for itself.
        """
        if path.startswith(_RESERVED) or not path:
            raise PathEscapes(f"{path!r}: no file of a cache may lie there")
        folder, _, name = path.rpartition("/")
        if path.startswith("/"):
            raise self._escapes(path)
        return f"{self.within(folder)}{os.sep}{self._name(name, folder, path)}"

    def within(self, folder: str) -> str:
        """Give the absolute place of a folder; see :meth:`place`."""
        known = self._known.get(folder)
        if known is not None:
            return known
        above, _, name = folder.rpartition("/")
        if folder.startswith("/"):
            raise self._escapes(folder)
        place = f"{self.within(above)}{os.sep}{self._name(name, above, folder)}"
        if above not in self._known:
            # what lies in a folder that is not there, is not there
            return place
        try:
            mode = os.lstat(place).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return place
        except OSError as error:
            raise self.explain(error, folder) from error
        if stat.S_ISLNK(mode):
            real, top = os.path.realpath(place), os.path.realpath(self.folder)
            if os.path.commonpath([real, top]) != top:
                raise PathEscapes(
                    f"{folder!r}: a link there leads out of {self.folder}, to {real}"
                )
        # only what exists is kept: what does not may become a link later
        self._known[folder] = place
        return place

    def make(self, folder: str) -> str:
        """Make a folder and those above it; each gets the rights of the one it lies in.

        Raises
        ------
        StoreError
            The disk refuses, or a file lies in the way.
        """
        place = self.within(folder)
        if os.path.isdir(place):
            return place
        if not folder:
            with self.explained(""):
                os.makedirs(place, exist_ok=True)
            return place
        above = os.stat(self.make(folder.rpartition("/")[0]))
        with self.explained(folder):
            try:
                os.mkdir(place)
            except FileExistsError:
                if not os.path.isdir(place):
                    raise
                return place
            follow(place, above, stat.S_IMODE(above.st_mode) & ~stat.S_ISVTX)
        self._known[folder] = place
        return place

    def rights(self, place: str) -> os.stat_result:
        """Look at a folder, at most once a second, for the rights of what is made in it.

        Parameters
        ----------
        place : str
            Absolute.
        """
        now = time.monotonic()
        when, seen = self._seen.get(place, (-1.0, None))
        if seen is None or now - when > 1.0:
            seen = os.stat(place)
            self._seen[place] = now, seen
        return seen

    def lock(self, key: str, *, wait: float = 0.0) -> Lock | None:
        """Take the lock of a name; None if another one has it, a stand-in where there are none."""
        name = blake2b(key.encode(errors="surrogateescape"), digest_size=12).hexdigest()
        try:
            place = self.make(f"{OWN}/locks")
            # whoever may write the folder must be able to lock
            mode = 0o600 | stat.S_IMODE(os.stat(place).st_mode) & 0o066
            return locks.acquire(f"{place}{os.sep}{name}.lock", wait=wait, mode=mode)
        except OSError as error:
            _log.debug("no lock for %s: %s", key, error)
            return Lock()

    def explained(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Turn each OSError of the block into a StoreError about `what`."""
        return _Explained(self, what)

    def explain(self, error: OSError, what: str) -> StoreError:
        """Say what the disk refused, where, and what to do; `errno` is kept."""
        if isinstance(error, StoreError):
            return error
        where = f"{what}: " if what else ""
        reason = error.strerror or type(error).__name__
        advice = _ADVICE.get(error.errno or 0, "See whether the disk is well and still mounted")
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            with contextlib.suppress(OSError):
                reason = f"{reason} ({room(str(self.folder)) / 1e6:,.1f} MB free)"
        return StoreError(f"{where}{self.folder} refuses: {reason}. {advice}.", error.errno)

    def _name(self, name: str, folder: str, path: str) -> str:
        # a backslash separates folders on another system that shares this cache
        bad = name in ("", ".", "..") or "\\" in name or "\0" in name
        if bad or (not folder and name[1:2] == ":"):
            raise self._escapes(path)
        return name

    def _escapes(self, path: str) -> PathEscapes:
        return PathEscapes(
            f"{path!r}: not a path within {self.folder}. Expected plain names with '/' between "
            "them: no absolute path, no '..', no drive letter, no backslash"
        )


class _Explained(contextlib.AbstractContextManager[None]):
    def __init__(self, root: Root, what: str) -> None:
        self._root, self._what = root, what

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, OneCacheError):
            raise self._root.explain(error, self._what) from error


def room(folder: str) -> int:
    """Give the bytes that are free on the disk of a folder."""
    # brings three compressors along
    import shutil

    return shutil.disk_usage(folder).free


def file_mode(folder: os.stat_result) -> int:
    """Give the mode of a new file: what `folder` lets its group and others do, but execution.

    Others never may write: whoever can write the folder replaces the file as a whole.
    """
    return 0o600 | stat.S_IMODE(folder.st_mode) & 0o064


def follow(place: str | int, folder: os.stat_result, mode: int) -> os.stat_result:
    """Give a new file or folder the rights and, where its members write, the group of `folder`.

    Parameters
    ----------
    place : str or int
        Path or open file.
    folder : os.stat_result
        Of the folder that it lies in.
    mode : int
        Wanted; the umask is overruled, as git does for shared repositories.

    Returns
    -------
    os.stat_result
        Of the new one, as it was before.
    """
    now = os.stat(place)
    if os.name == "nt":
        return now
    if folder.st_mode & stat.S_IWGRP and now.st_gid != folder.st_gid:
        # not a member of that group: the rights of others decide
        with contextlib.suppress(OSError):
            os.chown(place, -1, folder.st_gid)
    if stat.S_IMODE(now.st_mode) != mode:
        with contextlib.suppress(OSError):
            os.chmod(place, mode)
    return now
