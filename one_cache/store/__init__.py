"""Files under one root. The only module that writes data files.

A file appears under its name when its bytes are complete and are those of the record. What was
verified is noted by size, time and inode, so that the next process trusts it after one ``stat``.
Each file is written beside its place and renamed; locks spare work, nothing rests on them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from one_cache import hashes
from one_cache.errors import StoreError
from one_cache.locks import Lock
from one_cache.modes import FileState
from one_cache.records import File
from one_cache.store.incoming import Incoming, Remember, clean, others_write, parts_of
from one_cache.store.ledger import Ledger, judge
from one_cache.store.notes import Note
from one_cache.store.root import Root

_CHUNK = 1 << 20


class Store:
    """The files of a cache.

    Parameters
    ----------
    root : path-like
        Folder of the cache; made when something is first written. It may be a link.
    writable : bool
        If False, nothing is made or changed in it, notes and locks included.
    durable : bool
        Wait for the disk before a file gets its name, so that a power cut leaves no named file
        without its bytes. Costs a flush per file: 0.2 ms on an SSD, 5 to 20 ms on a spinning
        disk. Without it, the size in the record still tells such a file.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     store = Store(folder)
    ...     file = store.write("lab/Subjects/s/2024-01-01/001/alf/licks.times.npy", b"0123")
    ...     print(file.size, file.hash, store.state(file).name)
    4 eb62f6b9306db575c2d596b1279627a4 GOOD
    """

    def __init__(
        self, root: str | os.PathLike[str], *, writable: bool = True, durable: bool = False
    ) -> None:
        self._root = Root(root)
        self.writable = writable
        self.durable = durable
        self._ledger = Ledger(self._root, writable=writable)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.root)!r}, writable={self.writable})"

    @property
    def root(self) -> Path:
        """Folder of the cache."""
        return self._root.folder

    def path(self, rel: str) -> Path:
        """Give the absolute path of a file.

        Parameters
        ----------
        rel : str
            Relative to the root, with ``/`` between the parts.

        Returns
        -------
        pathlib.Path
            Whether there is a file or not.

        Raises
        ------
        PathEscapes
            Absolute, with ``..``, a drive letter, a backslash or NUL, through a link that leads
            out of the root, or within what the package keeps for itself.
        """
        return Path(self._root.place(rel))

    # what is there

    def state(self, file: File) -> FileState:
        """Tell what is known of a file, from one ``stat`` and its note.

        Parameters
        ----------
        file : File
            What it must be. Without a hash in the record, the hash of what arrived counts.

        Returns
        -------
        FileState

        Raises
        ------
        StoreError
            The disk refuses to tell.
        """
        return self.states([file])[0]

    def states(self, files: Sequence[File]) -> list[FileState]:
        """Tell the states of many files; the notes of a session are read once.

        Parameters
        ----------
        files : sequence of File
            As for :meth:`state`.

        Returns
        -------
        list of FileState
            In the order asked.
        """
        return [state for state, _ in self._ledger.scan(files)]

    def look(self, files: Iterable[File]) -> Iterator[tuple[FileState, Note | None]]:
        """Give the state of each file, and its note if that still fits.

        Parameters
        ----------
        files : iterable of File
            As for :meth:`state`.

        Yields
        ------
        (FileState, Note or None)
        """
        for state, raw in self._ledger.scan(files):
            yield state, Note.read(raw)

    def check(self, file: File, *, remember: Remember | None = None) -> FileState:
        """Hash a file now, and note what it is.

        Parameters
        ----------
        file : File
            What it must be. Without a hash in the record, whatever is there becomes known.
        remember : callable, optional
            Takes the path and the note, to write many together with :meth:`remember`.

        Returns
        -------
        FileState
            GOOD, WRONG or MISSING.

        Raises
        ------
        StoreError
            The file cannot be read.
        """
        place = self._root.place(file.path)
        wanted = hashes.parse(file.hash) if file.hash else None
        with self._root.explained(file.path):
            try:
                before = os.stat(place)
                if judge(file, before, None) is FileState.WRONG:
                    return FileState.WRONG
                got = _digest(place, wanted)
                after = os.stat(place)
            except (FileNotFoundError, NotADirectoryError):
                return FileState.MISSING
        is_right = wanted in (None, got)
        if Note.of(before) == Note.of(after):
            note = Note.of(after, str(got)) if is_right else Note.of_wrong(after, str(wanted))
            (remember or self._remember_one)(file.path, note)
        return FileState.GOOD if is_right else FileState.WRONG

    def digest(self, rel: str, algorithm: str = hashes.DEFAULT) -> str:
        """Hash a file as it lies there.

        Parameters
        ----------
        rel : str
            Relative to the root.
        algorithm : str
            A name that :mod:`hashlib` knows.

        Returns
        -------
        str
            Hex digest.

        Raises
        ------
        StoreError
            The file cannot be read.
        """
        with self._root.explained(rel):
            return _digest(self._root.place(rel), algorithm).hex

    def noted(self, rel: str) -> File | None:
        """Give the size and hash of a file that was verified and has not changed since.

        Parameters
        ----------
        rel : str
            Relative to the root.

        Returns
        -------
        File or None
        """
        for _, note in self.look([File(rel)]):
            if note is not None:
                return File(rel, note.size, note.hashes[0])
        return None

    def all_notes(self) -> Iterator[tuple[str, Note]]:
        """Give what was ever verified here, and how it looked then, whether it still is here.

        Returns
        -------
        iterator of (str, Note)
            Path relative to the root, and the note.
        """
        return self._ledger.all()

    def problem(self, file: File) -> str:
        """Say in words what is wrong with a file; empty if nothing is.

        Parameters
        ----------
        file : File
            What it must be.

        Returns
        -------
        str
            For instance ``"expected 100 bytes, got 90"``.
        """
        place = self._root.place(file.path)
        try:
            now = os.stat(place)
            if not stat.S_ISREG(now.st_mode):
                return "expected a file, found a folder"
            if file.size is not None and now.st_size != file.size:
                return f"expected {file.size} bytes, got {now.st_size}"
            if not file.hash:
                return ""
            wanted = hashes.parse(file.hash)
            got = _digest(place, wanted)
        except (FileNotFoundError, NotADirectoryError):
            return "not on disk"
        except OSError as error:
            raise self._root.explain(error, file.path) from error
        return "" if got == wanted else f"expected {wanted.short}, got {got.short}"

    # what is written

    def incoming(self, file: File, *, remember: Remember | None = None) -> Incoming:
        """Open a place for the bytes of `file`: a context manager.

        Parameters
        ----------
        file : File
            What it must be.
        remember : callable, optional
            Takes the path and the note, to write many together with :meth:`remember`.

        Returns
        -------
        Incoming
            With `position`, `write`, `restart` and `publish`.
        """
        self._require_writable(file.path)
        return Incoming(self._root, file, remember or self._remember_one, durable=self.durable)

    def write(
        self, rel: str, data: bytes | Iterable[bytes], *, algorithm: str = hashes.DEFAULT
    ) -> File:
        """Write local content: readers see all of it, or what was there before.

        Parameters
        ----------
        rel : str
            Relative to the root.
        data : bytes or iterable of bytes
            The content.
        algorithm : str
            Of the hash.

        Returns
        -------
        File
            With size and hash.

        Raises
        ------
        StoreError
            The disk refuses.
        """
        chunks = (data,) if isinstance(data, bytes) else data
        self._require_writable(rel)
        with Incoming(
            self._root, File(rel), self._remember_one, durable=self.durable, algorithm=algorithm
        ) as incoming:
            for chunk in chunks:
                incoming.write(chunk)
            return incoming.publish()

    def remove(self, rel: str) -> bool:
        """Remove a file and what is noted of it.

        Parameters
        ----------
        rel : str
            Relative to the root.

        Returns
        -------
        bool
            Whether there was one.
        """
        self._require_writable(rel)
        with self._root.explained(rel):
            try:
                os.unlink(self._root.place(rel))
            except FileNotFoundError:
                return False
        self.remember({rel: None})
        return True

    def exists(self, rel: str) -> bool:
        """Tell whether something lies at a place, whatever it is."""
        return os.path.lexists(self._root.place(rel))

    def clean(self, folder: str) -> None:
        """Remove partial files that dead processes left in a folder.

        Parameters
        ----------
        folder : str
            Relative to the root.
        """
        if self.writable:
            clean(self._root.within(folder))

    def others_write(self, folder: str, names: Collection[str], before: str = "") -> bool:
        """Tell whether another process writes one of these files, whoever has the lock.

        Parameters
        ----------
        folder : str
            Relative to the root.
        names : collection of str
            Of files in it.
        before : str
            Only partial files that come before this one count.
        """
        return others_write(self._root.within(folder), names, before)

    def under_way(self, folder: str) -> list[tuple[str, int]]:
        """Give names and sizes of what is being written in a folder: a sign of life.

        Parameters
        ----------
        folder : str
            Relative to the root.

        Returns
        -------
        list of (str, int)
        """
        return parts_of(self._root.within(folder))

    def remember(self, found: Mapping[str, Note | None]) -> None:
        """Write notes, each session's once; failing costs the next process the hashing.

        Parameters
        ----------
        found : mapping
            Path to its note; None forgets it.
        """
        self._ledger.add(found)

    # locks

    @contextlib.contextmanager
    def lock(self, folder: str, *, wait: float = 600.0) -> Iterator[bool]:
        """Hold the lock of a folder, where the disk has locks.

        Parameters
        ----------
        folder : str
            Any text; paths relative to the root by custom.
        wait : float
            Seconds until it goes on without.

        Yields
        ------
        bool
            Whether nobody else holds it. False is no reason to stop: what is written stays right.
        """
        held = self.acquire(folder, wait=wait)
        try:
            yield held is not None
        finally:
            if held is not None:
                held.release()

    def acquire(self, folder: str, *, wait: float = 0.0) -> Lock | None:
        """Take the lock of a folder; None if another one has it.

        A process that dies lets go of its locks. Where there are no locks (a read-only folder, a
        network file system without them), everybody gets a stand-in.

        Parameters
        ----------
        folder : str
            As for :meth:`lock`.
        wait : float
            Seconds to wait for it.

        Returns
        -------
        Lock or None
        """
        return self._root.lock(folder, wait=wait) if self.writable else Lock()

    def _require_writable(self, path: str) -> None:
        if not self.writable:
            raise StoreError(
                f"{path}: the cache {self.root} is opened for reading only; nothing is written",
                errno.EROFS,
            )

    def _remember_one(self, path: str, note: Note) -> None:
        self.remember({path: note})


def _digest(place: str, wanted: hashes.Hash | str | None) -> hashes.Hash:
    """Hash a file: as `wanted` was, with that algorithm, or with the usual one."""
    if isinstance(wanted, hashes.Hash):
        algorithm, digest = wanted.algorithm, hashes.new(wanted.algorithm, len(wanted.hex))
    else:
        algorithm = wanted or hashes.DEFAULT
        digest = hashes.new(algorithm)
    with open(place, "rb", buffering=0) as source:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
    return hashes.Hash(algorithm, digest.hexdigest())
