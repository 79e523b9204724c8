"""What is known of the files below a root: their states, from one ``stat`` each and a note."""

from __future__ import annotations

import errno
import logging
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping

from one_cache import hashes
from one_cache.modes import FileState
from one_cache.records import File
from one_cache.store import notes
from one_cache.store.notes import Note, Raw
from one_cache.store.root import OWN, Root

_log = logging.getLogger(__name__)
# a name that the disk does not take is none of a file that lies there
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_LOCKS = 16  # held for the time of a rename, so sessions may share them


def judge(file: File, now: os.stat_result, note: Note | None) -> FileState:
    """Decide what is known of a file from what the disk and its note say.

    Parameters
    ----------
    file : File
        What it must be. Without a hash in the record, the noted one of what arrived counts.
    now : os.stat_result
        What is there.
    note : Note or None
        How it looked when it was last hashed.

    Returns
    -------
    FileState
    """
    if not stat.S_ISREG(now.st_mode) or (file.size is not None and now.st_size != file.size):
        return FileState.WRONG
    if note is None or not note.fits(now):
        return FileState.UNCHECKED
    if not file.hash or file.hash in note.hashes:
        return FileState.GOOD
    wanted = hashes.parse(file.hash)
    for known in map(hashes.parse, note.hashes):
        if known.algorithm == wanted.algorithm:
            return FileState.GOOD if known == wanted else FileState.WRONG
    return FileState.UNCHECKED


def as_on_disk(file: File, note: Note | None) -> File:
    """Fill in size and hash as they are on disk.

    Parameters
    ----------
    file : File
        As asked for.
    note : Note or None
        That fits what is on disk.

    Returns
    -------
    File
    """
    if note is None:
        return file
    return File(file.path, note.size, file.hash or note.hashes[0], file.url, file.id)


class Ledger:
    """The notes of all sessions below a root, and what follows from them.

    Parameters
    ----------
    root : Root
        Where.
    writable : bool
        If False, notes are kept in memory and serve this process.
    """

    def __init__(self, root: Root, *, writable: bool) -> None:
        self._root = root
        self._writable = writable
        self._unwritten: dict[str, Note] = {}

    def scan(self, files: Iterable[File]) -> Iterator[tuple[FileState, Raw | None]]:
        """Give states and notes; made for thousands of files that are all there.

        Parameters
        ----------
        files : iterable of File
            What they must be; those of a session one after the other, or not.

        Yields
        ------
        (FileState, list or None)
            The note only if it fits what is on disk.

        Raises
        ------
        PathEscapes
            A path would leave the root.
        StoreError
            The disk refuses to tell.
        """
        folders: dict[str, tuple[str, str, dict[str, Raw]]] = {}
        sessions: dict[str, dict[str, Raw]] = {}
        for file in files:
            folder, _, name = file.path.rpartition("/")
            known = folders.get(folder)
            if known is None:
                known = folders[folder] = self._open(file.path, folder, sessions)
            elif name in ("", ".", "..") or "\\" in name or "\0" in name or not folder:
                self._root.place(file.path)
            place, within, noted = known
            if not place:
                yield FileState.MISSING, None
                continue
            try:
                now = os.stat(place + name)
            except OSError as error:
                if error.errno not in _NOT_THERE:
                    raise self._root.explain(error, file.path) from error
                yield FileState.MISSING, None
                continue
            raw = noted.get(within + name)
            if (
                raw is not None
                and raw[0] == now.st_size == file.size
                and raw[1] == now.st_mtime_ns
                and raw[2] == now.st_ino
                and file.hash in raw
            ):
                yield FileState.GOOD, raw
            else:
                yield self._judge(file, now, raw)

    def all(self) -> Iterator[tuple[str, Note]]:
        """Give every note, whether its file still is there or not.

        Yields
        ------
        (str, Note)
            Path relative to the root, and the note.
        """
        home = self._notes_of("").removesuffix(f"{os.sep}.json")
        for folder, _, names in sorted(os.walk(home)):
            for name in sorted(names):
                if name.endswith(".json"):
                    place = os.path.join(folder, name)
                    session = os.path.relpath(place, home).replace(os.sep, "/")
                    prefix = f"{session.removesuffix('.json')}/".lstrip("/")
                    for within, raw in notes.read(place).items():
                        if (note := Note.read(raw)) is not None:
                            yield prefix + within, note

    def add(self, found: Mapping[str, Note | None]) -> None:
        """Write notes, each session's once; failing costs the next process the hashing.

        Parameters
        ----------
        found : mapping
            Path to its note; None forgets it.
        """
        sessions: dict[str, dict[str, Note | None]] = {}
        for path, note in found.items():
            session = notes.session_of(path.rpartition("/")[0])
            within = path[len(session) :].lstrip("/")
            sessions.setdefault(session, {})[within] = note
            self._unwritten.pop(path, None)
        for session, changes in sessions.items():
            try:
                self._write(session, changes)
            except OSError as error:
                _log.debug("what is verified in %s is not noted: %s", session, error)
                prefix = f"{session}/" if session else ""
                kept = {prefix + within: note for within, note in changes.items() if note}
                self._unwritten.update(kept)

    def _judge(
        self, file: File, now: os.stat_result, raw: Raw | None
    ) -> tuple[FileState, Raw | None]:
        """Decide what the plain case of `scan` leaves open."""
        note = Note.read(raw)
        if note is None or not note.fits(now):
            note = self._unwritten.get(file.path)
        if note is None or not note.fits(now):
            return judge(file, now, None), None
        return judge(file, now, note), [*note[:3], *note.hashes]

    def _open(
        self, path: str, folder: str, sessions: dict[str, dict[str, Raw]]
    ) -> tuple[str, str, dict[str, Raw]]:
        """Give the place of a folder, its path within its session, and the session's notes.

        The place is empty where there is no such folder, so that nothing need be looked for in it.
        """
        self._root.place(path)
        place = self._root.within(folder)
        try:
            os.lstat(place)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise self._root.explain(error, path) from error
            return "", "", {}
        session = notes.session_of(folder)
        if session not in sessions:
            sessions[session] = notes.read(self._notes_of(session))
        within = folder[len(session) :].lstrip("/")
        return place + os.sep, f"{within}/" if within else "", sessions[session]

    def _notes_of(self, session: str) -> str:
        return f"{self._root.folder}{os.sep}{OWN}{os.sep}verified{os.sep}{session}.json"

    def _write(self, session: str, changes: Mapping[str, Note | None]) -> None:
        if not self._writable:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        self._root.make(f"{OWN}/verified/{session}".rpartition("/")[0])
        name = f"notes {zlib.crc32(session.encode(errors='surrogateescape')) % _LOCKS}"
        lock = self._root.lock(name, wait=5.0)
        try:
            # without the lock somebody else's notes may be lost: time, and nothing else
            notes.merge(self._notes_of(session), changes)
        finally:
            if lock is not None:
                lock.release()
