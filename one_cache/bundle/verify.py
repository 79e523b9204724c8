"""Every byte hashed again, on all processors, and begun where it was interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from one_cache.bundle.report import Problem
from one_cache.errors import InvalidArgument, OneCacheError
from one_cache.modes import FileState
from one_cache.progress import Progress, progress
from one_cache.records import File
from one_cache.store import Store
from one_cache.store.notes import Note

SO_FAR = ".one_cache/verify.jsonl"
"""What a run has found good so far, relative to the root; removed at its end."""

_FRESH = 7 * 86400.0  # s, after which what an interrupted run found counts no more
_TOGETHER = 256  # notes that are written at a time

Seen = tuple[int, int, int, str]
"""Size, time and inode of a file that was found good, and the hash that it was to have."""


def verify(
    store: Store, files: Sequence[File], *, threads: int | None = None, silent: bool = False
) -> list[Problem]:
    """Hash files and compare them with their records.

    A run that was interrupted is continued: what it found good, and what has not changed since,
    is not hashed again.

    Parameters
    ----------
    store : Store
        Where they lie.
    files : sequence of File
        What they must be; one without a hash only has to be readable.
    threads : int, optional
        As many as there are processors when not given.
    silent : bool
        No bar.

    Returns
    -------
    list of Problem
        ``missing``, ``different``, ``refused`` or ``failed``, in the order of `files`.

    Raises
    ------
    InvalidArgument
        Fewer than one thread.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     store = Store(folder)
    ...     file = store.write("licks.times.npy", b"0123")
    ...     before = verify(store, [file])
    ...     _ = Path(folder, "licks.times.npy").write_bytes(b"0124")
    ...     before, verify(store, [file])[0].reason
    ([], 'expected md5 eb62f6b9306d…, got md5 a4bab3ce420e…')
    """
    if threads is not None and threads < 1:
        raise InvalidArgument(f"at least one thread must hash, got threads={threads}")
    count = threads or os.cpu_count() or 1
    total = sum(file.size or 0 for file in files)
    with progress(total, "B", "Verifying", silent) as bar, _Run(store, files, bar) as run:
        # needed here only, and slow to import
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(count) as pool:
            workers = [pool.submit(run.work) for _ in range(count)]
            try:
                for worker in workers:
                    worker.result()
            except BaseException:
                run.stop()
                raise
        run.finish()
    return [run.problems[file.path] for file in files if file.path in run.problems]


class _Run:
    """One run, shared by its threads; a context manager."""

    def __init__(self, store: Store, files: Sequence[File], bar: Progress) -> None:
        self.problems: dict[str, Problem] = {}
        self._store = store
        self._bar = bar
        self._files = iter(files)
        self._lock = threading.Lock()
        self._notes: dict[str, Note | None] = {}
        self._so_far = store.root / SO_FAR
        self._before = _read(self._so_far)
        self._log: IO[str] | None = None

    def __enter__(self) -> _Run:
        if self._store.writable:
            # a log that cannot be written costs the next run the hashing
            with contextlib.suppress(OSError):
                self._so_far.parent.mkdir(parents=True, exist_ok=True)
                self._log = self._so_far.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        if self._log is not None:
            with contextlib.suppress(OSError):
                self._log.close()

    def stop(self) -> None:
        """Let each thread end after the file that it is at."""
        with self._lock:
            self._files = iter(())

    def finish(self) -> None:
        """Forget what was found so far: all is done."""
        with contextlib.suppress(OSError):
            self._so_far.unlink()

    def work(self) -> None:
        """Take one file after the other."""
        while True:
            with self._lock:
                file = next(self._files, None)
            if file is None:
                return
            problem = None if self._was_good(file) else self._look(file)
            with self._lock:
                if problem is not None:
                    self.problems[file.path] = problem
                self._bar.update(file.size or 0)

    def _was_good(self, file: File) -> bool:
        if file.path not in self._before:
            return False
        with contextlib.suppress(OSError):
            now = os.stat(self._store.path(file.path))
            return self._before[file.path] == _seen(Note.of(now), file)
        return False

    def _look(self, file: File) -> Problem | None:
        """Hash one file."""
        notes: list[Note] = []
        try:
            state = self._store.check(file, remember=lambda path, note: notes.append(note))
            if state is FileState.MISSING:
                return Problem("missing", file.path, "not on disk", file.id or "")
            if notes:
                self._remember(file, notes[0], good=state is FileState.GOOD)
            if state is FileState.GOOD:
                return None
            return Problem("different", file.path, self._store.problem(file), file.id or "")
        except OneCacheError as error:
            return Problem.of(error, file.path, file.id or "")

    def _remember(self, file: File, note: Note, *, good: bool) -> None:
        with self._lock:
            self._notes[file.path] = note
            full = len(self._notes) >= _TOGETHER
            if good and self._log is not None:
                with contextlib.suppress(OSError):
                    self._log.write(json.dumps([file.path, *_seen(note, file)]) + "\n")
                    self._log.flush()
        if full:
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            notes, self._notes = self._notes, {}
        self._store.remember(notes)


def _seen(note: Note, file: File) -> Seen:
    return note.size, note.mtime, note.inode, file.hash or ""


def _read(path: Path) -> Mapping[str, Seen]:
    """Read what an interrupted run found good; the last line may be half a one."""
    found: dict[str, Seen] = {}
    with contextlib.suppress(OSError, ValueError):
        if time.time() - path.stat().st_mtime > _FRESH:
            path.unlink()
            return {}
        for line in path.read_text(encoding="utf-8").splitlines():
            name, size, mtime, inode, expected = json.loads(line)
            found[name] = (size, mtime, inode, expected)
    return found
