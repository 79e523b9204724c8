"""A folder as a remote: a shared drive, a mounted server, a disk from a colleague.

Nothing is ever written there, so a drive mounted read-only serves as well as any other.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from one_cache.errors import (
    Forbidden,
    InvalidArgument,
    NotOnRemote,
    PathEscapes,
    TransferError,
    TransferFailed,
)
from one_cache.records import File
from one_cache.remotes import Body, Listing, Question

_CHUNK = 1 << 20
_ABSENT = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EINVAL,
}
_REFUSED = {errno.EACCES, errno.EPERM}


class FolderRemote:
    r"""A folder, with the access tables in its root and the sessions below.

    Links are followed, also those that lead out of the folder: labs spread one tree over several
    disks, and whoever owns the drive made them. A `path` in a table, which anyone may have
    written, never leads out.

    Parameters
    ----------
    address : str or path-like
        A path (``~`` is expanded), or a ``file://`` URL. On Windows also ``D:\data``,
        ``\\server\share`` and ``file://server/share``.

    Raises
    ------
    InvalidArgument
        An empty address, or a ``file://`` URL of another machine where the system has no path
        for it.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from one_cache.records import File
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "licks.times.npy").write_bytes(b"0123456789")
    ...     remote = FolderRemote(folder)
    ...     with remote.open(File("licks.times.npy"), start=4) as body:
    ...         print(body.start, body.total, b"".join(body.chunks))
    4 10 b'456789'
    """

    def __init__(self, address: str | os.PathLike[str]) -> None:
        self._root = os.path.abspath(_path_of(os.fspath(address)))
        self.name = self._root

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def tables(self) -> Sequence[Listing]:
        """Name the ``*.pqt`` files in the root of the folder.

        Returns
        -------
        list of Listing
            Sorted by name; the fingerprint is made of size, time and inode, as hashing a large
            table over a network costs as much as copying it.

        Raises
        ------
        Forbidden
            The folder may not be read.
        TransferFailed
            The folder is not there: a drive that is not mounted comes back.
        """
        try:
            names = sorted(name for name in os.listdir(self._root) if _is_table(name))
        except OSError as error:
            raise self._explain(error, "its tables") from error
        return [self._listing(name) for name in names if not os.path.isdir(self._at(name))]

    def records(self, question: Question) -> Sequence[Mapping[str, Any]] | None:
        """Answer nothing: a folder has only its tables."""
        return None

    def open(self, file: File, start: int = 0, validator: str | None = None) -> Body:
        """Open `file` at byte `start`, or at 0 where its content is no longer that of `validator`.

        Parameters
        ----------
        file : File
            Its `path` says where; a `url` is not looked at.
        start : int
            First byte wanted; past the end gives the whole file.
        validator : str, optional
            Of the body that gave the bytes before `start`.

        Returns
        -------
        Body

        Raises
        ------
        PathEscapes
            The path leads out of the folder.
        NotOnRemote
            No such file, or no regular one.
        Forbidden
            It may not be read.
        TransferFailed
            The drive is gone, or the file changed while it was read.
        """
        place = self._place(file.path)
        try:
            if not stat.S_ISREG(os.stat(place).st_mode):
                # a pipe would block for ever once opened
                raise NotOnRemote(f"{file.path}: not a regular file in {self.name}")
            source = open(place, "rb", buffering=0)  # noqa: SIM115 - the body closes it
        except OSError as error:
            if isinstance(error, TransferError):
                raise
            raise self._explain(error, file.path) from error
        now = os.fstat(source.fileno())
        version = _version(now)
        if start > now.st_size or validator not in (None, version):
            start = 0
        return Body(
            self._read(source, file.path, start, now),
            start=start,
            total=now.st_size,
            validator=version,
            close=source.close,
        )

    def url(self, file: File) -> str:
        """Give the ``file://`` address of `file`; nothing is looked up.

        Raises
        ------
        PathEscapes
            The path leads out of the folder.
        """
        return Path(self._place(file.path)).as_uri()

    def _listing(self, name: str) -> Listing:
        try:
            now = os.stat(self._at(name))
        except OSError as error:
            raise self._explain(error, name) from error
        return Listing(name.removesuffix(".pqt"), File(name, size=now.st_size), _version(now))

    def _read(
        self, source: BinaryIO, path: str, start: int, opened: os.stat_result
    ) -> Iterator[bytes]:
        try:
            source.seek(start)
            while chunk := source.read(_CHUNK):
                yield chunk
            now = os.fstat(source.fileno())
        except OSError as error:
            raise self._explain(error, path) from error
        if (now.st_size, now.st_mtime_ns) != (opened.st_size, opened.st_mtime_ns):
            raise TransferFailed(f"{path}: changed in {self.name} while it was read")

    def _place(self, path: str) -> str:
        parts = path.replace(os.sep, "/").split("/")
        if "\0" in path or ".." in parts or parts[0] == "" or os.path.splitdrive(path)[0]:
            raise PathEscapes(f"{path!r}: not a path within {self.name}")
        return self._at(*parts)

    def _at(self, *parts: str) -> str:
        return os.path.join(self._root, *parts)

    def _explain(self, error: OSError, path: str) -> TransferError:
        """Say in the words of the package what the operating system refused."""
        reason = error.strerror or type(error).__name__
        if error.errno in _REFUSED:
            return Forbidden(f"{path}: {self.name} may not be read: {reason}")
        if error.errno not in _ABSENT:
            return TransferFailed(f"{path}: reading from {self.name} failed: {reason}")
        if os.path.isdir(self._root):
            return NotOnRemote(f"{path}: not in {self.name}: {reason}")
        return TransferFailed(
            f"{path}: there is no folder {self.name}. Is the address right, and the drive mounted?"
        )


def _is_table(name: str) -> bool:
    return name.endswith(".pqt") and not name.startswith(".")


def _path_of(address: str) -> str:
    if not address:
        raise InvalidArgument("the address of a folder is empty")
    scheme, found, rest = address.partition("://")
    if not found or scheme.lower() != "file":
        return os.path.expanduser(address)
    # brings the web client of the standard library along
    from urllib.request import url2pathname

    host, slash, path = rest.partition("/")
    if host.lower() in ("", "localhost"):
        return url2pathname(slash + path)
    if os.name == "nt":
        return url2pathname(f"//{host}/{path}")
    raise InvalidArgument(
        f"{address}: a file on another machine ({host}). Mount the drive and give its path"
    )


def _version(now: os.stat_result) -> str:
    """Name a version of the content without reading it."""
    # the inode tells apart files renamed into place within one tick of the clock
    return f"{now.st_size:x}-{now.st_mtime_ns:x}-{now.st_ino:x}"
