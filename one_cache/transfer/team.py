"""The threads of one call: few where the processor is the limit, more where the network is.

Sixteen threads that all have something to compute take a third longer than two, as Python lets
one at a time; and for small files two take longer than one. So a call starts with one or two, and
doubles them for as long as they mostly wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_BUSY = 0.5  # s of processor time a second, above which more threads would stand in the way
_LOOK = 0.01  # s until a look at it; longer each time that nothing has to be done


class Team:
    """Threads that do the same work.

    Parameters
    ----------
    work : callable
        What each does; it is handed a function to call now and then, which tells how busy it is.
    most : int
        Threads at once.
    first : int
        Those to start with.

    Examples
    --------
    >>> done = []
    >>> team = Team(lambda tick: done.append(tick()), most=1)
    >>> team.grow(), team.join(1.0), len(done)
    (None, None, 1)
    """

    def __init__(
        self, work: Callable[[Callable[[], None]], None], most: int, first: int = 2
    ) -> None:
        self._work = work
        self._most = max(1, most)
        self._first = first
        self._threads: list[threading.Thread] = []
        self._used: list[float] = []
        self._look = _LOOK
        self._looked = 0.0
        self._sum = 0.0

    @property
    def is_alone(self) -> bool:
        """Whether a single thread does the work, though there might be more."""
        return len(self._threads) == 1 < self._most

    @property
    def patience(self) -> float:
        """Seconds after which :meth:`grow` should be asked again."""
        return self._look if len(self._threads) < self._most else 60.0

    def grow(self) -> None:
        """Start more threads, if there may be more and those at work mostly wait."""
        count, now = len(self._threads), time.monotonic()
        if count == self._most:
            return
        if not count:
            self._start(self._first)
        elif now - self._looked < self._look:
            return
        elif sum(self._used) - self._sum < _BUSY * (now - self._looked):
            self._start(count)
        else:
            self._look = min(2 * self._look, 0.5)
        self._looked, self._sum = now, sum(self._used)

    def join(self, seconds: float) -> None:
        """Wait for all of them to end, that long."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _start(self, more: int) -> None:
        for number in range(len(self._threads), min(len(self._threads) + more, self._most)):
            self._used.append(0.0)
            # daemons: one that asks a dead name server must not keep Python from ending
            thread = threading.Thread(
                target=self._run, args=(number,), name=f"one_cache {number}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                # the system gives no more threads; those there are do the work
                self._most = number
                if not number:
                    raise
                return
            self._threads.append(thread)

    def _run(self, number: int) -> None:
        def tick() -> None:
            self._used[number] = time.thread_time()

        self._work(tick)
