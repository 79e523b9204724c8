"""The files of one call, shared between threads, and with other processes that want the same.

Threads take the files of open units first, then open another one; a unit that another process
holds is put off and looked at again, when most of it is done.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass

from one_cache.errors import OneCacheError, RemoteError, TransferFailed
from one_cache.locks import Lock
from one_cache.modes import FileState
from one_cache.progress import Progress
from one_cache.records import File
from one_cache.remotes.connections import Connections
from one_cache.store import Store
from one_cache.store.ledger import as_on_disk
from one_cache.store.notes import Note
from one_cache.transfer.team import Team
from one_cache.transfer.units import Unit, units_of

_log = logging.getLogger(__name__)
_FLUSH = 2.0  # s after which the notes of a unit that is still under way are written
_PATIENCE = 180.0  # s without a sign of life, after which a unit is fetched without its lock
_SMALL = 1 << 18  # bytes; what costs more processor time by its number than by its length
_MOMENT = 1.0  # s that what was seen of a unit's files is taken to hold
_JOIN = 0.8  # s for the threads to end


@dataclass(eq=False)
class Job:
    """One file under way.

    Attributes
    ----------
    file : File
        What it must be.
    state : FileState
        What was known of it when its unit was opened.
    position : int
        How far it has come.
    asking : bool
        A thread sends the request for it ahead; nobody takes it meanwhile.
    ahead : hashable or None
        The request for it that was sent ahead.
    """

    file: File
    state: FileState
    unit: Unit
    work: Work
    position: int = 0
    asking: bool = False
    ahead: Hashable | None = None

    @property
    def looked_at(self) -> bool:
        """Whether `state` was true a moment ago; a look at each file again would cost time."""
        return not self.work.careful and time.monotonic() - self.unit.opened < _MOMENT

    def move(self, position: int) -> None:
        """Say how far it has come.

        Raises
        ------
        TransferFailed
            The call was ended.
        """
        self.position = position
        if self.work.stopped.is_set():
            raise TransferFailed(f"{self.file.path}: the call was ended")

    def pause(self, seconds: float) -> None:
        """Wait before the next try; see :meth:`move`."""
        self.work.stopped.wait(seconds)
        self.move(self.position)

    def remember(self, path: str, note: Note) -> None:
        """Keep a note until the unit is done or some time has passed."""
        self.work.remember(self.unit, path, note)


class Work:
    """What is to do in one call, who does it, and what came of it.

    Parameters
    ----------
    files : list of File
        Each path once.
    store : Store
        Where they go.
    bring : callable
        Brings the file of a job.
    connections : Connections
        Cut at the end.
    expect : callable, optional
        Asks for a small file that is brought next, and says what was sent.

    Attributes
    ----------
    found, errors : dict
        Path to what came of it.
    stopped : threading.Event
        The call is over.
    careful : bool
        Locks do not work here: others may bring the same files.
    """

    def __init__(
        self,
        files: list[File],
        store: Store,
        bring: Callable[[Job], File],
        connections: Connections,
        expect: Callable[[File], Hashable | None] | None = None,
    ) -> None:
        self.found: dict[str, File] = {}
        self.errors: dict[str, Exception] = {}
        self.stopped = threading.Event()
        self.careful = False
        self._files = files
        self._store = store
        self._bring = bring
        self._connections = connections
        self._expect = expect
        # of our own: a script's random.seed changes nothing, and forks differ
        self._dice = random.Random()
        self._turn = threading.Condition()
        self._ready = deque(units_of(files))
        self._busy: list[Unit] = []
        self._open: dict[str, Unit] = {}
        self._opening = 0
        self._jobs: deque[Job] = deque()
        self._active: dict[str, Job] = {}
        self._arrived = 0
        self._crash: BaseException | None = None
        self._in_vain = 0
        self._hopeless = ""

    def run(self, threads: int, bar: Progress, timeout: float | None) -> None:
        """Do it; every file is in `found` or `errors` afterwards.

        Parameters
        ----------
        threads : int
            Transfers at once.
        bar : Progress
            Moved on from this thread.
        timeout : float or None
            Seconds for all.
        """
        self._threads = max(1, min(threads, len(self._files)))
        small = all(_is_small(file) for file in self._files)
        self._team = Team(self._work, self._threads, first=1 if small else 2)
        try:
            self._watch(self._team, bar, timeout)
        finally:
            self._end(self._team)
        if self._crash is not None:
            raise self._crash

    def remember(self, unit: Unit, path: str, note: Note) -> None:
        """Keep a note of a unit, written when the unit is done or some time has passed."""
        with self._turn:
            unit.notes[path] = note
            if time.monotonic() - unit.noted < _FLUSH:
                return
            notes, unit.notes, unit.noted = unit.notes, {}, time.monotonic()
        self._store.remember(notes)

    # the caller's thread

    def _watch(self, team: Team, bar: Progress, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        shown = 0
        while True:
            team.grow()
            with self._turn:
                if self._left and self._crash is None:
                    self._turn.wait(min(team.patience, 0.1 if bar.shown else 0.5))
                left, over = self._left, not self._left or self._crash is not None
                so_far = self._arrived + sum(job.position for job in self._active.values())
            bar.note(f"{len(self._files) - left}/{len(self._files)} files")
            bar.update(so_far - shown)
            shown = so_far
            if over:
                return
            if deadline is not None and time.monotonic() >= deadline:
                self._expire(f"not done within {timeout:g} s")
                return

    @property
    def _left(self) -> int:
        return len(self._files) - len(self.found) - len(self.errors)

    def _expire(self, reason: str) -> None:
        self.stopped.set()
        with self._turn:
            for file in self._files:
                if file.path not in self.found:
                    self.errors.setdefault(file.path, TransferFailed(f"{file.path}: {reason}"))

    def _end(self, team: Team) -> None:
        self.stopped.set()
        with self._turn:
            self._turn.notify_all()
        self._connections.cut()
        team.join(_JOIN)
        for unit in list(self._open.values()):
            self._close(unit)

    # the workers' threads

    def _work(self, tick: Callable[[], None]) -> None:
        with self._connections.used():
            try:
                while (task := self._next()) is not None:
                    if isinstance(task, Unit):
                        self._start(task)
                    else:
                        self._look_ahead(task)
                        self._do(task)
                    tick()
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                with self._turn:
                    self._crash = error
                    self._turn.notify_all()

    def _look_ahead(self, job: Job) -> None:
        """Ask for the file after this one, so that a thread that is alone never waits."""
        if self._expect is None or not self._team.is_alone or not _is_small(job.file):
            return
        with self._turn:
            after = self._jobs[0] if self._jobs else None
            if after is None or after.ahead is not None or not _is_small(after.file):
                return
            if after.asking or after.state is not FileState.MISSING:
                return
            after.asking = True
        # what is wrong with it is told when its turn comes
        with suppress(OneCacheError, OSError):
            after.ahead = self._expect(after.file)
        after.asking = False

    def _next(self) -> Job | Unit | None:
        """Take a file of an open unit, else a unit to open; wait for either."""
        with self._turn:
            while self._left and not self.stopped.is_set():
                job = self._take_job()
                if job is not None:
                    self._active[job.file.path] = job
                    return job
                # two at a time: what is not open yet is for other processes
                unit = self._take_unit() if self._opening < 2 else None
                if unit is not None:
                    self._opening += 1
                    return unit
                self._turn.wait(0.02 if self._busy else 0.5)
        return None

    def _take_job(self) -> Job | None:
        for job in self._jobs:
            if not job.asking:
                self._jobs.remove(job)
                return job
        return None

    def _take_unit(self) -> Unit | None:
        if self._ready:
            return self._ready.popleft()
        now = time.monotonic()
        for unit in self._busy:
            if unit.due <= now:
                self._busy.remove(unit)
                return unit
        return None

    def _start(self, unit: Unit) -> None:
        """Lock a unit, see what another process has brought, and queue the rest."""
        missing: list[Job] | None = []
        try:
            missing = self._recheck(unit) if self._lock(unit) else None
        except (OneCacheError, OSError) as error:
            for file in unit.files:
                self._settle(file, error)
        with self._turn:
            self._opening -= 1
            if missing is None:
                self._busy.append(unit)
            else:
                unit.left = len(missing)
                unit.opened = unit.noted = time.monotonic()
                self._open[unit.key] = unit
                self._jobs.extend(missing)
            self._turn.notify_all()
        if missing == []:
            self._close(unit)
        if self._hopeless:
            self._drop(self._hopeless)

    def _lock(self, unit: Unit) -> bool:
        unit.lock = self._store.acquire(unit.key)
        if unit.lock is not None:
            return True
        now = time.monotonic()
        unit.due = now + unit.pause
        unit.pause = min(0.5, 1.5 * unit.pause)
        sign = self._store.under_way(unit.folder)
        if sign != unit.sign:
            unit.sign, unit.since = sign, now
        if now - unit.since < _PATIENCE:
            return False
        _log.warning("%s is locked by somebody who does nothing; going on without", unit.key)
        unit.lock = Lock()
        return True

    def _recheck(self, unit: Unit) -> list[Job]:
        missing = []
        for file, (state, note) in zip(unit.files, self._store.look(unit.files), strict=True):
            if state is FileState.GOOD:
                self._settle(file, as_on_disk(file, note))
            else:
                missing.append(Job(file, state, unit, self))
        if missing:
            self._store.clean(unit.folder)
            self._mistrust(unit)
        if self.careful:
            self._dice.shuffle(missing)
        return missing

    def _mistrust(self, unit: Unit) -> None:
        """Become careful if the lock of a unit keeps nobody out.

        Then each process takes the files in an order of its own, and looks before each of them.
        """
        names = [file.path.rpartition("/")[2] for file in unit.files]
        real = unit.lock is not None and unit.lock.is_real
        if self.careful or (real and not self._store.others_write(unit.folder, names)):
            return
        with self._turn:
            self.careful = True
            self._dice.shuffle(self._jobs)
            self._dice.shuffle(self._ready)

    def _do(self, job: Job) -> None:
        try:
            self._settle(job.file, self._bring(job))
        except (OneCacheError, OSError) as error:
            self._settle(job.file, error)
        finally:
            # it was there already, say, or its folder cannot be written
            self._connections.drop(job.ahead)
            with self._turn:
                self._active.pop(job.file.path, None)
                job.unit.left -= 1
                done = not job.unit.left
                first, job.unit.checked = not job.unit.checked, True
            if first and not done:
                self._mistrust(job.unit)
            if done:
                self._close(job.unit)

    def _settle(self, file: File, result: File | Exception) -> None:
        with self._turn:
            if file.path in self.errors or file.path in self.found:
                return
            if isinstance(result, File):
                self.found[file.path] = result
                self._arrived += result.size or 0
                self._in_vain = 0
            else:
                self.errors[file.path] = result
                self._in_vain += _is_the_server(result)
                if self._in_vain >= max(3, self._threads):
                    self._hopeless = f"not tried, as {self._in_vain} in a row failed: {result}"
            if not self._left:
                self._turn.notify_all()
        if self._hopeless:
            self._drop(self._hopeless)

    def _drop(self, reason: str) -> None:
        """Give up what is not under way: a server that is down must not be asked for each file."""
        with self._turn:
            waiting = [file for unit in (*self._ready, *self._busy) for file in unit.files]
            for file in (*waiting, *(job.file for job in self._jobs)):
                self.errors.setdefault(file.path, TransferFailed(f"{file.path}: {reason}"))
            for job in self._jobs:
                job.unit.left -= 1
            self._ready.clear()
            self._busy.clear()
            self._jobs.clear()
            self._turn.notify_all()

    def _close(self, unit: Unit) -> None:
        with self._turn:
            if self._open.pop(unit.key, None) is None:
                return
            notes, unit.notes = unit.notes, {}
        if notes:
            self._store.remember(notes)
        if unit.lock is not None:
            unit.lock.release()


def _is_small(file: File) -> bool:
    return file.size is not None and file.size <= _SMALL


def _is_the_server(error: Exception) -> bool:
    """Tell whether a failure says more of the server than of the file."""
    return isinstance(error, TransferFailed) or (
        # a certificate, a proxy: no answer at all
        isinstance(error, RemoteError) and error.status is None
    )
