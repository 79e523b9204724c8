"""The large files: sessions, LFP, templates of stimuli; each fetched once and known by its hash.

Neither the warehouse nor AllenSDK's folder says what a file must hold. So the size and hash of
what first arrived are kept in the table ``ecephys_files`` and hold from then on. A file that was
there before, from AllenSDK or from a browser, is taken into that table when it is whole as far
as its format tells.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from one_cache.cache import Cache
from one_cache.ecephys.folder.formats import read_movie, read_scene
from one_cache.ecephys.missing import MissingData
from one_cache.ecephys.source.rma import Download
from one_cache.errors import (
    ContentError,
    NotInCache,
    RemoteError,
    StoreError,
    TransferFailed,
)
from one_cache.manifest import now
from one_cache.modes import Action, FileState
from one_cache.recorder import Entry
from one_cache.records import File
from one_cache.remotes import Body, Remote
from one_cache.transfer.retry import backoff

_log = logging.getLogger(__name__)

TABLE = "ecephys_files"
_CHUNK = 1 << 20

# how a file of a kind begins; a HDF5 file may have a block of the user before it, NWB has none
_BEGINS: Mapping[str, tuple[bytes, ...]] = {
    "nwb": (b"\x89HDF\r\n\x1a\n",),
    "movie": (b"\x93NUMPY",),
    "scene": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}


@dataclass(frozen=True)
class Wanted:
    """A file.

    Attributes
    ----------
    path : str
        Relative to the root.
    kind : {"nwb", "movie", "scene"}
        Its format.
    what : str
        What it is, for messages.
    find : callable
        Asks where it is: gives a Download, or an iterable of bytes.
    """

    path: str
    kind: str
    what: str
    find: Callable[[], Any]


class Files:
    """The files of one cache.

    Parameters
    ----------
    one : Cache
        Whose folder, table and mode they are.
    loose : bool
        See :class:`one_cache.ecephys.folder.tables.Shelf`.
    stream_writer : callable, optional
        Takes a path and an iterable of bytes, and writes them; for sources that give bytes.
    tries : int
        How often such a source is asked, at most.
    """

    def __init__(
        self,
        one: Cache,
        *,
        loose: bool = False,
        stream_writer: Callable[[str, Any], Any] | None = None,
        tries: int = 2,
    ) -> None:
        self._one = one
        self._loose = loose
        self._writer = stream_writer
        self._tries = max(1, tries)
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()

    def path(self, wanted: Wanted) -> Path:
        """Let a file be on disk and right, as far as the mode allows.

        Parameters
        ----------
        wanted : Wanted
            Which.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        MissingData
            It is not here, and the mode fetches nothing.
        HashMismatch, ContentError
            It is not the file of the record, or not a whole one of its kind.
        TransferFailed, RemoteError
            It cannot be fetched; what was here is as before.
        StoreError
            The disk refuses.
        """
        with self._lock:
            file = self._known(wanted)
            if file is None or self._one.store.state(file) is not FileState.GOOD:
                file = self._brought(wanted, file)
            elif self._one.policy().pinned:
                self._bring(wanted, file)
            self._record(wanted, file)
        return self._one.store.path(wanted.path)

    # -- what is known -------------------------------------------------------------------------

    def _known(self, wanted: Wanted) -> File | None:
        """Give the record of a file."""
        if TABLE not in self._one.tables.names():
            return None
        rows = self._one.tables.rows(
            f"SELECT path, size, hash, url FROM {TABLE} WHERE path = ?", [wanted.path]
        )
        return File(**rows[0]) if rows else None

    def _brought(self, wanted: Wanted, file: File | None) -> File | None:
        policy = self._one.policy()
        if not policy.writes:
            return self._found(wanted, file)
        with self._one.store.lock(f"ecephys {wanted.path}"):
            # another process may have brought it meanwhile
            self._one.tables.refresh()
            file = file or self._known(wanted)
            if file is not None:
                self._bring(wanted, file)
                return file
            if self._one.store.state(File(wanted.path)) is not FileState.MISSING:
                return self._adopt(wanted)
            if policy.on[FileState.MISSING] is not Action.FETCH:
                raise self._missing(wanted)
            return self._fetch(wanted, File(wanted.path))

    def _found(self, wanted: Wanted, file: File | None) -> File | None:
        """Serve a file in a mode that writes nothing."""
        if file is not None:
            self._bring(wanted, file)
            return file
        here = self._one.store.state(File(wanted.path)) is not FileState.MISSING
        if not (here and self._loose):
            raise self._missing(wanted, "is not pinned by the manifest" if here else "")
        self._check_whole(wanted)
        return None

    def _missing(self, wanted: Wanted, why: str = "") -> MissingData:
        return MissingData(
            f"{wanted.path}: the {wanted.what} {why or 'is not on disk'} "
            f"({self._one.store.path(wanted.path)}), and mode {self._one.mode!r} fetches nothing; "
            "open the cache with EcephysProjectCache.from_warehouse and ask for it once"
        )

    # -- how it is got -------------------------------------------------------------------------

    def _bring(self, wanted: Wanted, file: File) -> None:
        """Check a file against its record, and fetch it again where the mode says so."""
        row = self._one.policy()
        state = self._one.store.state(file)
        if state is FileState.UNCHECKED:
            state = self._one.store.check(file)
        if row.on[state] is Action.FETCH:
            self._fetch(wanted, file)
            return
        refused = self._one.bring([file])
        for error in refused.values():
            if isinstance(error, NotInCache):
                raise MissingData(f"{error} ({wanted.what})") from error
            raise error

    def _fetch(self, wanted: Wanted, file: File) -> File:
        source = wanted.find()
        if isinstance(source, Download):
            asked = replace(file, url=source.url)
            remote = Begins(source.remote, _BEGINS[wanted.kind])
            for error in self._one.bring([asked], "remote", remote=remote).values():
                raise error
        else:
            self._take(wanted, file, source)
        if not file.hash:
            self._check_arrived(wanted)
        return self._register(wanted, getattr(source, "url", None))

    def _check_arrived(self, wanted: Wanted) -> None:
        """See that what was just written is a whole file of its kind; drop it when it is not."""
        try:
            self._check_whole(wanted)
        except ContentError as error:
            self._one.store.remove(wanted.path)
            raise ContentError(f"{error}. The server sent it so; nothing is kept") from error

    def _take(self, wanted: Wanted, file: File, source: Iterable[bytes]) -> None:
        """Write the bytes that a source gives."""
        for failed in range(self._tries):
            try:
                with self._one.store.incoming(file) as incoming:
                    chunks = self._written(source) if self._writer else iter(source)
                    for chunk in begun(chunks, _BEGINS[wanted.kind], wanted.path):
                        incoming.write(chunk)
                    incoming.publish()
                return
            except StoreError:
                raise
            except OSError:
                if failed + 1 == self._tries:
                    raise
                threading.Event().wait(backoff(failed + 1))
                source = wanted.find()

    def _written(self, source: Iterable[bytes]) -> Iterator[bytes]:
        """Let the writer of the caller write the bytes, and read them from there."""
        with tempfile.TemporaryDirectory(dir=self._one.store.root) as folder:
            path = os.path.join(folder, "stream")
            if self._writer is not None:
                self._writer(path, source)
            with open(path, "rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk

    def _register(self, wanted: Wanted, url: str | None) -> File:
        """Remember the size and hash of what lies there."""
        if self._one.store.noted(wanted.path) is None:
            self._one.store.check(File(wanted.path))
        noted = self._one.store.noted(wanted.path)
        if noted is None:
            raise ContentError(f"{wanted.path}: changes while it is read")
        row = {
            "id": wanted.path,
            "path": wanted.path,
            "size": noted.size,
            "hash": noted.hash,
            "url": url or "",
            "what": wanted.what,
            "at": now(),
        }
        self._one.tables.add(TABLE, [row])
        try:
            self._one.tables.save()
        except StoreError as error:
            _log.warning("the hash of %s is not kept: %s", wanted.path, error)
        return File(wanted.path, noted.size, noted.hash, url or None)

    # -- files of somebody else ----------------------------------------------------------------

    def _adopt(self, wanted: Wanted) -> File:
        """Take a file into the table that was there before."""
        try:
            self._check_whole(wanted)
        except ContentError as error:
            if self._one.policy().on[FileState.WRONG] is not Action.FETCH:
                raise
            _log.warning("%s; it is fetched anew", error)
            return self._fetch(wanted, self._as_on_server(wanted, error))
        return self._register(wanted, None)

    def _as_on_server(self, wanted: Wanted, error: ContentError) -> File:
        """Give the file as it should be, so that the one here is seen to be another."""
        source = wanted.find()
        total = None
        if isinstance(source, Download):
            with source.remote.open(File(wanted.path, url=source.url)) as body:
                total = body.total
        if total in (None, self._one.store.path(wanted.path).stat().st_size):
            raise ContentError(f"{error}. Move it away; it is then fetched anew") from error
        return File(wanted.path, total)

    def _check_whole(self, wanted: Wanted) -> None:
        """See that a file is a whole one of its kind, as far as its format tells.

        Raises
        ------
        ContentError
            It is not.
        """
        path = self._one.store.path(wanted.path)
        if not path.is_file():
            raise StoreError(f"{path}: is no file; move it away")
        with path.open("rb") as file:
            start = file.read(8)
        if not start.startswith(_BEGINS[wanted.kind]):
            raise ContentError(f"{path}: is no {wanted.kind} file, it begins with {start!r}")
        checks: Mapping[str, Callable[[Path], Any]] = {
            "nwb": check_nwb,
            "movie": read_movie,
            "scene": read_scene,
        }
        checks[wanted.kind](path)

    def _record(self, wanted: Wanted, file: File | None) -> None:
        if not self._one.recorder.on:
            return
        if file is None:
            path = self._one.store.path(wanted.path)
            file = File(wanted.path, path.stat().st_size, self._one.store.digest(wanted.path))
        self._one.recorder.add(
            Entry(
                "file",
                wanted.path,
                path=wanted.path,
                size=file.size,
                hash=file.hash,
                source=self._one.source,
                mode=self._one.mode,
                at=now(),
            )
        )


def check_nwb(path: Path) -> None:
    """See that a HDF5 file is as long as it says.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Raises
    ------
    ContentError
        It is cut off or damaged at its beginning.
    """
    from one_cache.ecephys.session.nwb import opened

    with opened(path):
        pass


class Begins:
    """A remote whose files must begin as files of their kind do.

    What begins in another way, an error page for instance, is refused before it is kept.

    Parameters
    ----------
    remote : Remote
        Brings them.
    beginnings : tuple of bytes
        One of which each file must have.
    """

    def __init__(self, remote: Remote, beginnings: tuple[bytes, ...]) -> None:
        self.name = remote.name
        self._remote = remote
        self._beginnings = beginnings

    def tables(self) -> list[Any]:
        """Name no tables."""
        return []

    def records(self, question: Any) -> None:
        """Answer nothing."""
        return

    def url(self, file: File) -> str:
        """Give the address of a file."""
        return self._remote.url(file)

    def open(self, file: File, start: int = 0, validator: str | None = None) -> Body:
        """Open a file; see :class:`one_cache.remotes.Remote`.

        Raises
        ------
        TransferFailed
            What comes is something else; it is asked for again, as error pages pass.
        """
        try:
            body = self._remote.open(file, start, validator)
        except RemoteError as error:
            raise TransferFailed(str(error)) from error
        if body.start == 0:
            body.chunks = begun(body.chunks, self._beginnings, file.path)
        return body


def begun(chunks: Iterable[bytes], beginnings: tuple[bytes, ...], where: str) -> Iterator[bytes]:
    """Give chunks on, if the first ones begin as they must.

    Parameters
    ----------
    chunks : iterable of bytes
        In order.
    beginnings : tuple of bytes
        One of which is wanted.
    where : str
        The file, for messages.

    Yields
    ------
    bytes

    Raises
    ------
    TransferFailed
        They begin in another way.
    """
    start, length = b"", max(map(len, beginnings))
    rest = iter(chunks)
    for chunk in rest:
        start += chunk
        if len(start) >= length:
            break
    if not start.startswith(beginnings):
        raise TransferFailed(
            f"{where}: the server sends something else than this kind of file; it begins with "
            f"{start[:40]!r}"
        )
    yield start
    yield from rest
