"""Work with other processes, other machines and other people."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from one_cache.bundle.frozen import Frozen, other_tables
from one_cache.bundle.pack import pack
from one_cache.bundle.report import Problem, Report
from one_cache.bundle.wish import AnyRecord, Wish, file_of
from one_cache.cache.keeping import Keeping
from one_cache.cache.upkeep import Upkeep
from one_cache.catalogue import Catalogue, TableCatalogue
from one_cache.errors import (
    InvalidArgument,
    OneCacheError,
    StoreError,
    TableError,
    TransferError,
)
from one_cache.recorder import Entry, Recorder

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from typing_extensions import Self

Item = TypeVar("Item")
Result = TypeVar("Result")


class Sharing(Upkeep, Keeping):
    """What leaves this process, and what is made of a record."""

    # -- what is made of a record --------------------------------------------------------------

    def freeze(
        self,
        path: str | Path | None = None,
        *,
        release: str | None = None,
        record: AnyRecord | None = None,
    ) -> Path:
        """Save the tables and write the manifest that ``mode="fixed"`` opens.

        Parameters
        ----------
        path : path-like, optional
            Folder for tables and manifest; the cache's own when not given. A fixed cache on
            another folder is opened with ``ONE(cache_dir=..., tables_dir=path, mode="fixed")``.
        release : str, optional
            Name of the data release, which ``version=`` can ask for later.
        record : path-like, Recorder, or sequence of Entry, optional
            Pin what this record names, as it was read, instead of all that the tables know. It
            needs a `path` of its own.

        Returns
        -------
        pathlib.Path
            The manifest.

        Raises
        ------
        InvalidArgument
            A `record` without a new or empty folder to write into.

        Notes
        -----
        A dataset whose record has no hash is hashed if its file is here, and the hash is
        pinned; if not, fixed mode will refuse it.
        """
        if record is None:
            return super().freeze(path, release=release)
        if path is None:
            raise InvalidArgument("name a folder for what is frozen: freeze(path, record=...)")
        folder = Path(path).expanduser().absolute()
        if folder.is_dir() and any(folder.iterdir()):
            raise InvalidArgument(f"{folder} is not empty; name a new folder")
        wish = self._wish(record)
        folder.mkdir(parents=True, exist_ok=True)
        return self._frozen(wish, release).write(folder)

    def bundle(self, record: AnyRecord, out: str | Path, *, tables_only: bool = False) -> Report:
        """Put all that a record names into one folder or zip file.

        A colleague opens the folder as it is, ``ONE(cache_dir=out, mode="fixed")``, or restores
        from either, ``one-cache restore OUT``. The same content gives the same bytes.

        Parameters
        ----------
        record : path-like, Recorder, or sequence of Entry
            See :meth:`restore`.
        out : path-like
            A zip file where the name ends so, else a folder; neither may be there already.
        tables_only : bool
            Tables, manifest and record, without the files.

        Returns
        -------
        Report
            `files` are in the bundle; `problems` say what is not, and why.

        Raises
        ------
        InvalidArgument
            `out` is there already.
        StoreError
            The disk refuses.
        """
        wish = self._wish(record)
        errors: dict[str, OneCacheError] = {}
        if not tables_only:
            places = self._places(wish, record)
            errors = self._have_again(wish.entries, places, given=False, query_type=None)
        wish = replace(wish, entries=tuple(self._filled(wish.entries, errors)))
        files = [file_of(entry) for entry in wish.entries if entry.path not in errors]
        frozen = self._frozen(wish, self.manifest.release if self.manifest else None)
        inside = [] if tables_only else files
        pack(
            Path(out).expanduser().absolute(), wish, frozen, self.store, inside, silent=self.silent
        )
        problems = [
            Problem.of(errors[entry.path], entry.path, entry.id)
            for entry in wish.entries
            if entry.path in errors
        ]
        return Report(tuple(inside), tuple(problems))

    def _filled(self, entries: Iterable[Entry], errors: Mapping[str, Any]) -> Iterator[Entry]:
        """Give entries with the hashes of what is here, where the tables lack them."""
        for entry in entries:
            is_here = entry.path not in errors and self.store.path(entry.path).is_file()
            yield entry if entry.hash or not is_here else self._as_on_disk(entry)

    def _frozen(self, wish: Wish, release: str | None) -> Frozen:
        """Give tables and manifest of a record."""
        eids = {entry.eid for entry in wish.entries if entry.kind == "dataset" and entry.eid}
        known: Catalogue = TableCatalogue(self.tables)
        if len(known.sessions([*eids])) < len(eids) and self.policy().asks:
            # whatever process asks, the rows are as whole as those of the one that read
            with suppress(TransferError, TableError, StoreError):
                known = self._catalogue()
        sessions, datasets = self._rows_of(wish.entries, known)
        others = other_tables(wish.entries, self.tables)
        return Frozen(
            {"sessions": sessions, "datasets": datasets, **others},
            {name: self.tables.meta(name) for name in others},
            date=wish.date,
            remotes=wish.sources,
            release=release,
            revision_last_before=wish.head.get("revision_last_before"),
        )

    # -- other processes -----------------------------------------------------------------------

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
