"""Many files at once, from a remote into a store: retries, resume, one bar, one error.

Correctness rests on no lock: the store gives each writer its own temporary file, and each file
its name only when it is right.
"""

from __future__ import annotations

import builtins
import contextlib
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NoReturn

from one_cache.errors import (
    InvalidArgument,
    OneCacheError,
    SizeMismatch,
    StoreError,
    TransferErrors,
    TransferFailed,
)
from one_cache.modes import FileState
from one_cache.progress import progress
from one_cache.records import File
from one_cache.remotes import Body, Remote
from one_cache.remotes.connections import Connections
from one_cache.store import Store
from one_cache.store.incoming import Incoming
from one_cache.store.ledger import as_on_disk
from one_cache.store.notes import Note
from one_cache.transfer.retry import Attempts
from one_cache.transfer.workers import Job, Work

_log = logging.getLogger(__name__)
_PATIENCE = 10.0  # s without progress, after which another process is not waited for
_LOOK = 0.02  # s
_THREADS = 16


def fetch(
    files: Sequence[File],
    remote: Remote,
    store: Store,
    *,
    threads: int | None = None,
    tries: int = 5,
    stall: float = 30.0,
    timeout: float | None = None,
    silent: bool = False,
) -> list[File]:
    """Bring the files that are not verified on disk yet.

    Parameters
    ----------
    files : sequence of File
        What is wanted; a path may be there twice.
    remote : Remote
        Where the bytes come from.
    store : Store
        Where they go.
    threads : int, optional
        Transfers at once; ``ONE_HTTP_DL_THREADS``, else 16.
    tries : int
        Requests for one file without progress, at most.
    stall : float
        Seconds without a byte after which a request counts as failed; also fewer than 1 KB/s over
        twice that time.
    timeout : float, optional
        Seconds for the whole call.
    silent : bool
        No bar.

    Returns
    -------
    list of File
        In the order asked, with the size and hash of what is on disk.

    Raises
    ------
    TransferError, RemoteError, StoreError
        What became of the one file that failed; `done` has the others.
    TransferErrors
        Several failed: `errors` says which and why, `done` has the others.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from one_cache.testing import MemoryRemote
    >>> remote = MemoryRemote({"alf/licks.times.npy": b"0123"})
    >>> with TemporaryDirectory() as folder:
    ...     [file] = fetch([File("alf/licks.times.npy")], remote, Store(folder))
    ...     print(file.size, file.hash)
    4 eb62f6b9306db575c2d596b1279627a4
    """
    wanted = _distinct(files)
    found: dict[str, File] = {}
    # what the disk refuses to tell is told with the file that it concerns
    with contextlib.suppress(StoreError):
        for file, (state, note) in zip(wanted.values(), store.look(wanted.values()), strict=True):
            if state is FileState.GOOD:
                found[file.path] = as_on_disk(file, note)
    missing = [file for file in wanted.values() if file.path not in found]
    errors: dict[str, Exception] = {}
    if missing:
        with Connections(stall=stall, most=(count := _threads(threads))) as connections:
            expect = getattr(remote, "expect", None)
            work = Work(
                missing, store, lambda job: _bring(job, remote, store, tries), connections, expect
            )
            with progress(_total(missing), "B", "Fetching", silent) as bar:
                work.run(count, bar, timeout)
        found.update(work.found)
        errors = work.errors
    if errors:
        _raise(errors, [found[path] for path in wanted if path in found])
    return [found[file.path] for file in files]


def _bring(job: Job, remote: Remote, store: Store, tries: int) -> File:
    """Bring the file of a job, unless it turns out to be there."""
    file = job.file
    folder, _, name = file.path.rpartition("/")
    while True:
        if job.work.careful:
            _wait_for_others(job, store)
        found = _found(job, store)
        if found is not None:
            return found
        with store.incoming(file, remember=job.remember) as incoming:
            if job.work.careful and store.others_write(folder, [name], before=incoming.part):
                # begun by another process at the same moment
                continue
            for position in incoming.resume():
                job.move(position)
            return _Transfer(job, remote, incoming, Attempts(tries)).run()


def _found(job: Job, store: Store) -> File | None:
    """Give the file if it is here: never hashed, or brought since the unit was opened."""
    file = job.file
    if job.state is not FileState.UNCHECKED and (job.looked_at or not store.exists(file.path)):
        return None
    notes: list[Note] = []
    if store.check(file, remember=lambda _, note: notes.append(note)) is not FileState.GOOD:
        return None
    for note in notes:
        job.remember(file.path, note)
    return as_on_disk(file, notes[-1] if notes else None)


def _wait_for_others(job: Job, store: Store) -> None:
    """Wait for a process that writes the same file, as long as it gets on."""
    folder, _, name = job.file.path.rpartition("/")
    sign: object = None
    since = time.monotonic()
    while store.others_write(folder, [name]) and time.monotonic() - since < _PATIENCE:
        now = store.under_way(folder)
        if now != sign:
            sign, since = now, time.monotonic()
        job.pause(_LOOK)


class _Transfer:
    """The tries of one file."""

    def __init__(self, job: Job, remote: Remote, incoming: Incoming, attempts: Attempts) -> None:
        self._job = job
        self._file = job.file
        self._remote = remote
        self._incoming = incoming
        self._attempts = attempts
        self._validator: str | None = None

    def run(self) -> File:
        """Try until the file is published or the attempts are used up."""
        while True:
            start = self._incoming.position
            try:
                self._receive()
                return self._incoming.publish()
            except OneCacheError as error:
                wait = self._attempts.after(
                    error,
                    start=start,
                    gained=self._incoming.position - start,
                    size=self._file.size,
                )
                self._job.move(self._incoming.position)
                _log.info("%s; trying again in %.1f s", error, wait)
                if not isinstance(error, TransferFailed):
                    self._restart()
            self._job.pause(wait)

    def _receive(self) -> None:
        """Bring what is missing, in one request."""
        file, incoming = self._file, self._incoming
        if incoming.position == file.size and file.size:
            # complete already: a process died between the last byte and the name
            return
        if not (self._validator or file.hash):
            # nothing would tell whether two parts are of one version
            self._restart()
        with self._remote.open(file, incoming.position, self._validator) as body:
            self._join(body)
            size = body.total if file.size is None else file.size
            for chunk in body.chunks:
                incoming.write(chunk)
                self._job.move(incoming.position)
                if size is not None and incoming.position > size:
                    raise SizeMismatch(
                        f"{file.path}: expected {size} bytes, {self._remote.name} sends more"
                    )
        if size is not None and incoming.position < size:
            raise TransferFailed(
                f"{file.path}: {self._remote.name} ends after {incoming.position} of {size} bytes"
            )

    def _join(self, body: Body) -> None:
        """See that the body continues what is there, or start anew."""
        file, incoming = self._file, self._incoming
        if file.size is not None and body.total not in (None, file.size):
            raise SizeMismatch(
                f"{file.path}: expected {file.size} bytes, {self._remote.name} has {body.total}"
            )
        if body.start not in (0, incoming.position):
            raise TransferFailed(
                f"{file.path}: {self._remote.name} starts at byte {body.start}, "
                f"not at {incoming.position}"
            )
        if incoming.position and body.start == 0:
            incoming.restart()
        elif incoming.position and self._validator not in (None, body.validator):
            self._restart()
            raise TransferFailed(f"{file.path}: changed on {self._remote.name} in between")
        self._validator = body.validator

    def _restart(self) -> None:
        self._validator = None
        if self._incoming.position:
            self._incoming.restart()


def _distinct(files: Sequence[File]) -> dict[str, File]:
    """Give each path once."""
    wanted: dict[str, File] = {}
    for file in files:
        other = wanted.setdefault(file.path, file)
        if (other.size, other.hash) != (file.size, file.hash):
            raise InvalidArgument(
                f"{file.path}: asked for twice with different records, "
                f"{other.size} bytes {other.hash} and {file.size} bytes {file.hash}"
            )
    return wanted


def _threads(asked: int | None) -> int:
    if asked is None:
        text = os.environ.get("ONE_HTTP_DL_THREADS", "").strip() or str(_THREADS)
        if not text.isdecimal():
            raise InvalidArgument(f"ONE_HTTP_DL_THREADS must be a whole number, got {text!r}")
        asked = int(text)
    return max(1, asked)


def _total(files: Sequence[File]) -> int | None:
    sizes = [file.size for file in files if file.size is not None]
    return sum(sizes) if len(sizes) == len(files) else None


def _raise(errors: Mapping[str, Exception], done: Sequence[File]) -> NoReturn:
    """Raise the one error, or all of them together."""
    found = list(errors.values())
    refusals = {error.errno if isinstance(error, StoreError) else None for error in found}
    if len(found) == 1 or (len(refusals) == 1 and None not in refusals):
        # the disk says the same of each file
        error = found[0]
        if isinstance(error, OneCacheError):
            error.done = done
        raise error
    shown = "; ".join(str(error) for error in found[:3])
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    message = f"{len(found)} of {len(found) + len(done)} files failed: {shown}{more}"
    failure = TransferErrors(message, errors, done)
    if sys.version_info >= (3, 11):
        # so that a traceback shows each of them
        raise failure from builtins.ExceptionGroup("what failed", found)
    raise failure from found[0]
