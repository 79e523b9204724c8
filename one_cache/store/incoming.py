"""One file on its way into the store: a temporary beside its place, then its name.

The name appears when length and hash agree with the record, never before. Each writer has a
temporary of its own, so that a lock saves work and correctness never rests on one: flock is known
to let everybody in on some network file systems.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import socket
import time
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from hashlib import blake2b
from types import TracebackType

from one_cache import hashes
from one_cache.errors import HashMismatch, SizeMismatch, StoreError, TransferFailed
from one_cache.records import File
from one_cache.store.notes import Note
from one_cache.store.root import Root, file_mode, follow, room

# from this size on, a cut transfer is continued by the next process and a file has its own lock
BIG = 4 << 20
_CHUNK = 1 << 20
_SILENT = 300.0  # s without a byte, after which the writer on another machine counts as dead
_OLD = 7 * 86400.0  # s, after which nobody comes back for a partial file
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_PART = re.compile(
    r"\.(?P<name>.+)\.(?P<version>[0-9a-f]{12}|once)"
    r"\.(?P<machine>[0-9a-f]{6})-(?P<pid>\d+)-[0-9a-f]{8}\.part"
)

Remember = Callable[[str, Note], None]

# partial files that threads of this process write: its number alone does not tell dead from alive
_writing: set[str] = set()
# of our own, so that a script's random.seed changes nothing
_names = random.Random()


class Incoming:
    """Bytes of one file as they arrive; a context manager.

    Left without :meth:`publish`, it keeps what arrived if the next process can continue it (a
    large file whose hash is known), and otherwise leaves nothing.

    Parameters
    ----------
    root : Root
        Where.
    file : File
        What it must be.
    remember : callable
        Takes the path and the note of the published file.
    durable : bool
        Wait until the disk has the bytes before the name appears.
    algorithm : str
        Of the hash, where the record has none.
    """

    def __init__(
        self,
        root: Root,
        file: File,
        remember: Remember,
        *,
        durable: bool = False,
        algorithm: str = hashes.DEFAULT,
    ) -> None:
        self.file = file
        self.position = 0
        self._algorithm = algorithm
        self._root = root
        self._remember = remember
        self._durable = durable
        self._wanted = hashes.parse(file.hash) if file.hash else None
        self._place = root.place(file.path)
        self._folder, _, self._name = self._place.rpartition(os.sep)
        self._part = ""
        self._handle = -1
        self._inode = 0
        self._digest: hashes.Digest

    def __enter__(self) -> Incoming:
        try:
            with self._root.explained(self.file.path):
                self._create()
                if self._resumable:
                    self._require_place()
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle < 0:
            return
        self._close()
        worth = self._resumable and self.position >= _CHUNK
        if not worth or isinstance(error, (HashMismatch, SizeMismatch)):
            with contextlib.suppress(OSError):
                os.unlink(self._part)

    @property
    def part(self) -> str:
        """Name of the temporary file."""
        return self._part.rpartition(os.sep)[2]

    def resume(self) -> Iterator[int]:
        """Start from what a dead process left of the same version, if anything.

        It is copied: whatever its writer does, should it live after all, changes nothing here.

        Yields
        ------
        int
            The position after each piece; a large one takes its time.
        """
        for _, part in self._leftovers() if self._resumable else ():
            with contextlib.suppress(OSError):
                if self.position == 0 and os.path.getsize(part) <= (self.file.size or 1 << 62):
                    yield from self._copy(part)
            with contextlib.suppress(OSError):
                os.unlink(part)

    def write(self, chunk: bytes) -> None:
        """Add bytes.

        Raises
        ------
        StoreError
            The disk refuses.
        """
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        except OSError as error:
            raise self._root.explain(error, self.file.path) from error
        self._digest.update(chunk)
        self.position += len(chunk)

    def restart(self) -> None:
        """Drop what arrived."""
        with self._root.explained(self.file.path):
            os.ftruncate(self._handle, 0)
            os.lseek(self._handle, 0, os.SEEK_SET)
        self._digest = self._start_digest()
        self.position = 0

    def publish(self) -> File:
        """Check the whole and give it its name.

        Returns
        -------
        File
            With the size and hash of what is on disk.

        Raises
        ------
        SizeMismatch, HashMismatch
            Not the bytes of the record; nothing becomes visible.
        TransferFailed
            The temporary file was taken away.
        StoreError
            The disk refuses.
        """
        got = self._check()
        with self._root.explained(self.file.path):
            if self._durable:
                os.fsync(self._handle)
            self._close()
            try:
                os.replace(self._part, self._place)
            except FileNotFoundError as error:
                self._create()
                raise TransferFailed(
                    f"{self.file.path}: its temporary file was removed by another program"
                ) from error
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(self._part)
                raise
            if self._durable:
                _sync_folder(self._folder)
            self._note(got)
        return File(self.file.path, self.position, str(got), self.file.url, self.file.id)

    def _check(self) -> hashes.Hash:
        file = self.file
        if file.size is not None and self.position != file.size:
            raise SizeMismatch(
                f"{file.path}: expected {file.size} bytes, got {self.position}; nothing kept"
            )
        algorithm = self._wanted.algorithm if self._wanted else self._algorithm
        got = hashes.Hash(algorithm, self._digest.hexdigest())
        if self._wanted and got != self._wanted:
            raise HashMismatch(
                f"{file.path}: expected {self._wanted.short}, got {got.short}; nothing kept. "
                "The server has another file than the tables know: refresh them, or tell who "
                "runs it"
            )
        return got

    def _note(self, got: hashes.Hash) -> None:
        # after the rename: network file systems settle the time of a file when it is closed
        try:
            now = os.stat(self._place)
        except FileNotFoundError:
            return
        if now.st_ino == self._inode:
            self._remember(self.file.path, Note.of(now, str(got)))

    @property
    def _resumable(self) -> bool:
        size = self.file.size
        return self._wanted is not None and (size is None or size >= BIG)

    def _start_digest(self) -> hashes.Digest:
        if self._wanted:
            return hashes.new(self._wanted.algorithm, len(self._wanted.hex))
        return hashes.new(self._algorithm)

    def _create(self) -> None:
        version = self._wanted.hex[:12] if self._wanted and self._resumable else "once"
        self._part = (
            f"{self._folder}{os.sep}.{_short(self._name)}.{version}"
            f".{_machine()}-{os.getpid()}-{_names.getrandbits(32):08x}.part"
        )
        try:
            self._handle = os.open(self._part, _NEW, 0o666)
        except FileNotFoundError:
            self._root.make(self.file.path.rpartition("/")[0])
            self._handle = os.open(self._part, _NEW, 0o666)
        _writing.add(self._part)
        folder = self._root.rights(self._folder)
        self._inode = follow(self._handle, folder, file_mode(folder)).st_ino
        self._digest = self._start_digest()
        self.position = 0

    def _close(self) -> None:
        handle, self._handle = self._handle, -1
        _writing.discard(self._part)
        os.close(handle)

    def _require_place(self) -> None:
        if os.path.isdir(self._place):
            # found before the transfer rather than after it
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        size, free = self.file.size, room(self._folder)
        # what is there of it is copied first and then makes room
        free += sum(left for left, _ in self._leftovers())
        if size is not None and size > free:
            raise StoreError(
                f"{self.file.path}: needs {size / 1e6:,.1f} MB, {self._root.folder} has "
                f"{free / 1e6:,.1f} MB free. Make room there, or put the cache on another disk.",
                errno.ENOSPC,
            )

    def _discard(self) -> None:
        if self._handle < 0:
            return
        self._close()
        with contextlib.suppress(OSError):
            os.unlink(self._part)

    def _copy(self, part: str) -> Iterator[int]:
        with open(part, "rb", buffering=0) as source:
            while chunk := source.read(_CHUNK):
                try:
                    self.write(chunk)
                except StoreError:
                    # no room for two copies: the transfer starts anew
                    self.restart()
                    return
                yield self.position

    def _leftovers(self) -> list[tuple[int, str]]:
        """Give sizes and places of what the dead left of this version, the longest first.

        What they left of other versions is dropped.
        """
        version = self._wanted.hex[:12] if self._wanted else ""
        left = []
        for entry in _parts(self._folder):
            found = _PART.fullmatch(entry.name)
            if found and found["name"] == _short(self._name) and _is_dead(entry, found):
                with contextlib.suppress(OSError):
                    if found["version"] == version:
                        left.append((entry.stat(follow_symlinks=False).st_size, entry.path))
                    else:
                        os.unlink(entry.path)
        return sorted(left, reverse=True)


def clean(folder: str) -> None:
    """Remove what dead processes left in `folder` and nobody can continue.

    Parameters
    ----------
    folder : str
        Absolute.
    """
    for entry in _parts(folder):
        found = _PART.fullmatch(entry.name)
        with contextlib.suppress(OSError):
            old = time.time() - entry.stat(follow_symlinks=False).st_mtime > _OLD
            if old or (found and found["version"] == "once" and _is_dead(entry, found)):
                os.unlink(entry.path)


def others_write(folder: str, names: Collection[str], before: str = "") -> bool:
    """Tell whether a live process other than this one writes one of these files.

    Parameters
    ----------
    folder : str
        Absolute.
    names : collection of str
        Of files in it.
    before : str
        Only partial files that come before this one count, where one of two has to give way.
    """
    for entry in _parts(folder):
        found = _PART.fullmatch(entry.name)
        if before and entry.name >= before:
            continue
        named = found is not None and found["name"] in map(_short, names)
        if found and named and entry.path not in _writing and not _is_dead(entry, found):
            return True
    return False


def parts_of(folder: str) -> list[tuple[str, int]]:
    """Give names and sizes of the partial files in a folder: they change while somebody works."""
    with contextlib.suppress(OSError):
        return sorted((entry.name, entry.stat().st_size) for entry in _parts(folder))
    return []


def is_abandoned(part: str) -> bool:
    """Tell whether the writer of a partial file is gone.

    Parameters
    ----------
    part : str
        Absolute path.
    """
    folder, _, name = part.rpartition(os.sep)
    for entry in _parts(folder):
        if entry.name == name:
            found = _PART.fullmatch(name)
            with contextlib.suppress(OSError):
                old = time.time() - entry.stat(follow_symlinks=False).st_mtime > _SILENT
                return _is_dead(entry, found) if found else old
    return False


def written_as(part: str) -> str:
    """Give what :func:`place_of` gives for the file that a partial one becomes.

    Parameters
    ----------
    part : str
        Path with ``/`` between its parts.
    """
    folder, _, name = part.rpartition("/")
    found = _PART.fullmatch(name)
    return f"{folder}/{found['name'] if found else name}"


def place_of(path: str) -> str:
    """Name a file as its partial ones do.

    Examples
    --------
    >>> part = "alf/.licks.times.npy.once.0123ab-99-00000000.part"
    >>> place_of("alf/licks.times.npy") == written_as(part)
    True
    """
    folder, _, name = path.rpartition("/")
    return f"{folder}/{_short(name)}"


def _parts(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [
                entry
                for entry in entries
                if entry.name.endswith(".part") and entry.name.startswith(".")
            ]
    except OSError:
        return []


def _is_dead(entry: os.DirEntry[str], found: re.Match[str]) -> bool:
    """Tell whether the writer of a partial file is gone."""
    if found["machine"] == _machine() and os.name != "nt":
        if int(found["pid"]) == os.getpid():
            return entry.path not in _writing
        try:
            os.kill(int(found["pid"]), 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass
    try:
        # abs: a clock that was set back must not keep it for ever
        return abs(time.time() - entry.stat(follow_symlinks=False).st_mtime) > _SILENT
    except OSError:
        return False


def _short(name: str) -> str:
    """Give the name, or a short stand-in where the additions would make it too long for a disk."""
    long = len(os.fsencode(name)) > 180
    return blake2b(os.fsencode(name), digest_size=16).hexdigest() if long else name


@lru_cache(maxsize=1)
def _machine() -> str:
    """Name this machine since it was started, and the container whose process numbers count."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        with open("/proc/sys/kernel/random/boot_id") as file:
            parts.append(file.read().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return blake2b("\n".join(parts).encode(), digest_size=3).hexdigest()


def _sync_folder(folder: str) -> None:
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
