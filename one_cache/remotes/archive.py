"""A zip file as a remote: a bundle as it came by mail, or from a journal's archive."""

from __future__ import annotations

import os
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from one_cache.errors import Forbidden, NotOnRemote, RemoteError, TransferError, TransferFailed
from one_cache.records import File
from one_cache.remotes import Body, Listing, Question

_CHUNK = 1 << 20


class _Opened(NamedTuple):
    archive: zipfile.ZipFile
    members: Mapping[str, zipfile.ZipInfo]
    version: str
    process: int


class ZipRemote:
    """A zip file that holds the folder of a cache: tables in its root, sessions below.

    Parameters
    ----------
    address : str or path-like
        The file, or its ``zip://`` address.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with zipfile.ZipFile(Path(folder, "b.zip"), "w") as archive:
    ...         archive.writestr("licks.times.npy", b"0123456789")
    ...     remote = ZipRemote(Path(folder, "b.zip"))
    ...     with remote.open(File("licks.times.npy"), start=4) as body:
    ...         print(body.start, body.total, b"".join(body.chunks))
    4 10 b'456789'
    """

    def __init__(self, address: str | os.PathLike[str]) -> None:
        text = os.fspath(address)
        if text.lower().startswith("zip://"):
            text = unquote(urlsplit(text).path)
        self._path = os.path.abspath(os.path.expanduser(text))
        self.name = self._path
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"address": self._path}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        ZipRemote.__init__(self, state["address"])

    def tables(self) -> Sequence[Listing]:
        """Name the ``*.pqt`` in the root, with size and CRC as fingerprint.

        Raises
        ------
        Forbidden, TransferFailed, RemoteError
            The file cannot be read as a zip file.
        """
        return [
            Listing(
                name.removesuffix(".pqt"),
                File(name, size=info.file_size),
                f"{info.file_size:x}-{info.CRC:08x}",
            )
            for name, info in sorted(self._open().members.items())
            if name.endswith(".pqt") and "/" not in name and not name.startswith(".")
        ]

    def records(self, question: Question) -> Sequence[Mapping[str, Any]] | None:
        """Answer nothing: there are only tables."""
        return None

    def open(self, file: File, start: int = 0, validator: str | None = None) -> Body:
        """Open `file` at byte `start`, or at 0 where its content is no longer that of `validator`.

        Raises
        ------
        NotOnRemote
            It is not in there.
        Forbidden, TransferFailed, RemoteError
            The zip file cannot be read.
        """
        opened = self._open()
        info = opened.members.get(file.path)
        if info is None:
            raise NotOnRemote(f"{file.path}: not in {self.name}")
        version = f"{opened.version}-{info.CRC:08x}"
        if start > info.file_size or validator not in (None, version):
            start = 0
        try:
            source = opened.archive.open(info)
        except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise self._explain(error, file.path) from error
        return Body(
            self._read(source, file.path, start),
            start=start,
            total=info.file_size,
            validator=version,
            close=source.close,
        )

    def url(self, file: File) -> str:
        """Give an address in the form of ``zip:///data/bundle.zip/alf/licks.times.npy``."""
        return f"zip://{quote(Path(self._path).as_posix())}/{quote(file.path)}"

    def _open(self) -> _Opened:
        """Open the file, or keep it open as long as it is the same."""
        try:
            now = os.stat(self._path)
            version = f"{now.st_size:x}-{now.st_mtime_ns:x}-{now.st_ino:x}"
            with self._lock:
                kept = self._opened
                # a forked child would share the position in the file with its parent
                if kept is None or (kept.version, kept.process) != (version, os.getpid()):
                    archive = zipfile.ZipFile(self._path)
                    members = {
                        info.filename: info for info in archive.infolist() if not info.is_dir()
                    }
                    kept = self._opened = _Opened(archive, members, version, os.getpid())
                return kept
        except (OSError, zipfile.BadZipFile) as error:
            raise self._explain(error, "its contents") from error

    def _read(self, source: IO[bytes], path: str, start: int) -> Iterator[bytes]:
        try:
            source.seek(start)
            while chunk := source.read(_CHUNK):
                yield chunk
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise self._explain(error, path) from error

    def _explain(self, error: Exception, path: str) -> TransferError | RemoteError:
        if isinstance(error, PermissionError):
            return Forbidden(f"{path}: {self.name} may not be read: {error.strerror}")
        if isinstance(error, OSError):
            return TransferFailed(f"{path}: reading {self.name} failed: {error.strerror}")
        return RemoteError(f"{path}: {self.name} cannot be read as a zip file: {error}")
