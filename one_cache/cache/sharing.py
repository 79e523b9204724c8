"""Work in other processes."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, TypeVar

from one_cache.cache.desk import Desk
from one_cache.recorder import Entry, Recorder

if TYPE_CHECKING:
    from typing_extensions import Self

Item = TypeVar("Item")
Result = TypeVar("Result")


class Sharing(Desk):
    """Work in other processes, and what is shared with other people."""

    def map(
        self,
        executor: Executor,
        function: Callable[[Self, Item], Result],
        items: Iterable[Item],
    ) -> list[Result]:
        """Run a function for each item in the workers of an executor; their reads are recorded.

        Each worker opens the cache once. What the function reads joins the record in the order
        of the items, wherever the workers run.

        Parameters
        ----------
        executor : concurrent.futures.Executor
            A process or thread pool, ``dask.distributed.Client.get_executor()``, ...
        function : callable
            Takes the cache and an item. A process pool needs one that it can import.
        items : iterable
            For instance eids.

        Returns
        -------
        list
            What the function gives for each item, in their order.

        Raises
        ------
        Exception
            Whatever the function raised first; items that nobody has begun are dropped.

        Examples
        --------
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> from tempfile import mkdtemp
        >>> from one_cache import Cache
        >>> from one_cache.sample import write_sample_lab
        >>> cache = Cache(write_sample_lab(mkdtemp()).folder)
        >>> def count(cache, eid):
        ...     return len(cache.load_dataset(eid, "licks.times.npy"))
        >>> with cache.recording(), ThreadPoolExecutor(2) as pool:
        ...     counts = cache.map(pool, count, cache.search(subject="^KS014$"))
        >>> len(counts), len(cache.recorder)
        (3, 3)
        """
        packed = pickle.dumps(self)
        futures = [executor.submit(_run, packed, function, item) for item in items]
        results = []
        try:
            for future in futures:
                result, entries = future.result()
                self.recorder.extend(entries)
                results.append(result)
        finally:
            for future in futures:
                future.cancel()
        return results


# a worker may run several threads, and each cache records for one function at a time
_here = threading.local()


def _run(
    packed: bytes, function: Callable[[Any, Item], Result], item: Item
) -> tuple[Result, list[Entry]]:
    """Run in a worker; give what the function gave and what it read."""
    if getattr(_here, "packed", None) != packed:
        _here.packed, _here.cache = packed, pickle.loads(packed)
    cache = _here.cache
    # of its own: what it keeps comes back with the result and by no other way
    cache.recorder = Recorder(on=cache.recorder.on)
    result = function(cache, item)
    return result, list(cache.recorder)
