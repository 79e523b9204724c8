"""What is missing is computed, by whoever there is, and each key once."""

from __future__ import annotations

import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from one_cache.errors import InvalidArgument, NotInCache, OneCacheError
from one_cache.progress import progress
from one_cache.recorder import Entry, Recorder
from one_cache.trials.fingerprint import fingerprint
from one_cache.trials.results.shelf import FOLDER, Kept, Shelf
from one_cache.trials.results.task import Task, name_of, tasks_of

if TYPE_CHECKING:
    from one_cache.cache import Cache
    from one_cache.progress import Progress

_PAUSE = 0.05  # s between looks at keys that other processes compute
_SAVED_EVERY = 60.0  # s after which finished rows are saved while others are under way


def populate(
    keys: Mapping[str, Any] | Iterable[Any],
    function: Callable[..., Any],
    cache: Cache,
    *,
    arguments: Mapping[str, Any] | None = None,
    executor: Executor | None = None,
    errors: Literal["raise", "collect"] = "raise",
) -> Results:
    """Compute a function for each key, where its result is missing or no longer true.

    A result belongs to the source of the function, the arguments and the content of the key; what
    the function loads through the cache is remembered with it. Whatever of these changes, those
    results are computed again, and no others. A result is a file of the cache with a row in the
    table ``results``: it is verified when it is read, recorded, frozen and bundled as the rest is.

    Parameters
    ----------
    keys : mapping of str to any, or iterable
        Named keys (conditions), or keys: session ids, mappings, dataclasses, arrays, frames.
    function : callable
        Is called as ``function(cache, key, **arguments)``; returns arrays, frames, numbers,
        texts, `Aligned`, `Peth`, or lists and mappings of these. A process pool needs one that it
        can import.
    cache : Cache
        Where results are kept. A cache that writes nothing serves those that it has.
    arguments : mapping, optional
        Further arguments by name.
    executor : concurrent.futures.Executor, optional
        A thread or process pool, or a ``dask.distributed.Client``; this process by default.
        Processes that work on the same keys, on this machine or on others that share the folder,
        share them.
    errors : {"raise", "collect"}
        Whether the first error ends it, or all are collected in ``.errors``. What is done is kept.

    Returns
    -------
    Results
        By key, or by the name of the key; each is read when it is asked for.

    Raises
    ------
    NotInCache
        The mode writes nothing, and a result is not there.
    InvalidArgument
        A key of which nobody can tell whether it changes, or a result that cannot be kept.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from one_cache import Cache
    >>> def mean(cache, trace, scale=1):
    ...     return {"mean": sum(trace) / len(trace) * scale}
    >>> results = populate({"one": [1, 2], "two": [3, 5]}, mean, Cache(mkdtemp()))
    >>> results["two"], results.computed
    ({'mean': 4.0}, ['one', 'two'])
    """
    if errors not in ("raise", "collect"):
        raise InvalidArgument(f"errors must be 'raise' or 'collect', got {errors!r}")
    named = tasks_of(keys, function, dict(arguments or {}))
    tasks = {task.id: task for _, task in named}
    shelf = Shelf(cache)
    rows = shelf.serving(list(tasks))
    work = _Work(shelf, [task for id, task in tasks.items() if id not in rows])
    if cache.policy().writes:
        with progress(len(tasks), "key", name_of(function), cache.silent) as bar:
            bar.update(len(rows))
            work.run(executor, bar, stop=errors == "raise")
    else:
        work.refuse()
    if errors == "raise" and work.failed:
        raise next(iter(work.failed.values()))
    return Results(shelf, named, {**rows, **work.made}, work)


class Results:
    """What :func:`populate` found and computed; values are read when they are asked for.

    Attributes
    ----------
    computed : list
        Keys, or names of keys, that were computed now.
    errors : dict
        Key, or name of the key, to what its function raised, where errors are collected. Keys
        that are no dict's keys stand as text.
    """

    def __init__(
        self,
        shelf: Shelf,
        named: Sequence[tuple[Any, Task]],
        rows: Mapping[str, Kept],
        work: _Work,
    ) -> None:
        self._shelf = shelf
        self._rows = rows
        self._labels = [label for label, _ in named]
        self._ids = {fingerprint(label): task.id for label, task in named}
        self.computed = [label for label, task in named if task.id in work.computed]
        self.errors = {
            (label if isinstance(label, (str, int, tuple)) else task.label): work.failed[task.id]
            for label, task in named
            if task.id in work.failed
        }

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._labels)

    def __getitem__(self, label: Any) -> Any:
        kept = self.row(label)
        return self._shelf.load(kept)

    def __repr__(self) -> str:
        names = ", ".join(map(str, self._labels[:5])) + (", ..." if len(self) > 5 else "")
        return f"<Results: {len(self)} keys ({names}), {len(self.errors)} errors>"

    def row(self, label: Any) -> Kept:
        """Give the row of a result: id, file, what was read, when.

        Parameters
        ----------
        label : any
            Key, or name of the key.

        Raises
        ------
        InvalidArgument
            There is no such key.
        OneCacheError
            Its function failed.
        """
        id = self._ids.get(fingerprint(label))
        if id is None:
            raise InvalidArgument(f"no key {label!r} among {self!r}")
        if id not in self._rows:
            raise OneCacheError(f"there is no result of key {label!r}: see .errors")
        return self._rows[id]

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Read all results, with their keys; those that failed are left out."""
        for label in self._labels:
            if self._ids[fingerprint(label)] in self._rows:
                yield label, self[label]


class _Outcome(NamedTuple):
    """What came of one task, and whether it was computed now or found."""

    kept: Kept
    entries: Sequence[Entry]
    computed: bool


@dataclass
class _Work:
    """The tasks of one call, and what came of them."""

    shelf: Shelf
    tasks: Sequence[Task]
    made: dict[str, Kept] = field(default_factory=dict)
    computed: set[str] = field(default_factory=set)
    failed: dict[str, BaseException] = field(default_factory=dict)

    def refuse(self) -> None:
        """Let every task fail: nothing is computed in this mode."""
        cache = self.shelf.cache
        for task in self.tasks:
            self.failed[task.id] = NotInCache(
                f"{task.name}, key {task.label}: no result that holds is in {cache.cache_dir}, "
                f"and mode {cache.mode!r} computes nothing. Populate in another mode, and freeze "
                "the cache again"
            )

    def run(self, executor: Any, bar: Progress, *, stop: bool) -> None:
        """Do all tasks; with `stop`, until the first that fails."""
        if not self.tasks:
            return
        # a client of a Dask cluster gives one
        executor = executor.get_executor() if hasattr(executor, "get_executor") else executor
        alone = executor is None
        place: Any = self.shelf.cache if alone else pickle.dumps(self.shelf.cache)
        queue, waiting = deque(self.tasks), dict[Future[Any], Task]()
        pool, most = (_Here(), 1) if alone else (executor, len(queue))
        in_vain, self._saved, self._unsaved = 0, time.monotonic(), list[Kept]()
        try:
            while queue or waiting:
                # the others compute what is left: look again after a while
                if in_vain and in_vain >= len(queue) + len(waiting):
                    time.sleep(_PAUSE)
                    in_vain = 0
                while queue and len(waiting) < most:
                    task = queue.popleft()
                    waiting[pool.submit(_attempt, place, task)] = task
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    task = waiting.pop(future)
                    if self._settle(task, future):
                        bar.update(1)
                        in_vain = 0
                    else:
                        queue.append(task)
                        in_vain += 1
                if stop and self.failed:
                    return
        finally:
            for future in waiting:
                future.cancel()
            self._save()

    def _settle(self, task: Task, future: Future[_Outcome | None]) -> bool:
        """Take what came of a task; False where another process is at it."""
        error = future.exception()
        if error is not None:
            self.failed[task.id] = error
            return True
        outcome = future.result()
        if outcome is None:
            return False
        self.made[task.id] = outcome.kept
        self._unsaved.append(outcome.kept)
        self.shelf.add([outcome.kept])
        if outcome.computed:
            self.computed.add(task.id)
            if self.shelf.cache.recorder.on:
                self.shelf.cache.recorder.extend(outcome.entries)
        if time.monotonic() - self._saved > _SAVED_EVERY:
            self._save()
        return True

    def _save(self) -> None:
        if self._unsaved:
            self.shelf.save(self._unsaved)
        self._saved, self._unsaved = time.monotonic(), []


class _Here(Executor):
    """Runs in this thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run now."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller raises or collects it
            future.set_exception(error)
        return future


# a worker may run several threads, and each cache records for one task at a time
_opened = threading.local()


def _attempt(place: Any, task: Task) -> _Outcome | None:
    """Compute one key and keep its result; None where another process is at it."""
    cache = _cache(place)
    shelf = Shelf(cache)
    # one of 4096 locks: a key for each would leave a file for each
    lock = cache.store.acquire(f"{FOLDER}/{task.id[:3]}")
    if lock is None:
        return None
    try:
        beside = shelf.adopted(task.id)
        if beside is not None and shelf.holding([beside]):
            return _Outcome(beside, (), computed=False)
        recorder, cache.recorder = cache.recorder, Recorder(on=True)
        try:
            value = task.run(cache)
            entries = list(cache.recorder)
        finally:
            cache.recorder = recorder
        return _Outcome(shelf.keep(task, value, entries), entries, computed=True)
    finally:
        lock.release()


def _cache(place: Any) -> Any:
    """Give the cache, in another process or thread a copy of it, opened once."""
    if not isinstance(place, bytes):
        return place
    if getattr(_opened, "place", None) != place:
        _opened.place, _opened.cache = place, pickle.loads(place)
    return _opened.cache
