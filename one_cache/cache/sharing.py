"""Work with other processes, other machines and other people."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from one_cache.bundle.frozen import Frozen, other_tables
from one_cache.bundle.inventory import Inventory, expected
from one_cache.bundle.outdated import notices, outdated
from one_cache.bundle.pack import pack
from one_cache.bundle.report import Change, Problem, Report
from one_cache.bundle.verify import verify
from one_cache.bundle.wish import RECORD, AnyRecord, Wish, file_of, read_wish
from one_cache.cache.again import Again
from one_cache.cache.keeping import Keeping
from one_cache.catalogue import Catalogue, TableCatalogue
from one_cache.errors import (
    ALFObjectNotFound,
    InvalidArgument,
    ManifestError,
    ModeError,
    OneCacheError,
)
from one_cache.manifest import Manifest
from one_cache.modes import Action, FileState
from one_cache.recorder import Entry, Recorder, head_of
from one_cache.remotes import Question

if TYPE_CHECKING:
    from typing_extensions import Self

Item = TypeVar("Item")
Result = TypeVar("Result")


class Sharing(Again, Keeping):
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
            places = self._places(record, None)
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

    def _wish(self, record: AnyRecord) -> Wish:
        """Read a record; of a list of ids, what is known of them today."""
        wish = read_wish(record)
        if wish.kind:
            entries, problems = self._entries_of(wish, self._catalogue())
            if problems:
                raise ALFObjectNotFound("\n".join(problem.reason for problem in problems))
            wish = Wish(tuple(entries))
        return wish if wish.head else replace(wish, head=head_of(self._about()))

    def _frozen(self, wish: Wish, release: str | None) -> Frozen:
        """Give tables and manifest of a record."""
        known = TableCatalogue(self.tables)
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

    # -- what has become of it -----------------------------------------------------------------

    def outdated(self, record: AnyRecord) -> list[Change]:
        """Say what of a record is no longer the best there is.

        Parameters
        ----------
        record : path-like, Recorder, or sequence of Entry
            A full record or a bundle.

        Returns
        -------
        list of Change
            In the order of the record: ``gone``, other ``bytes``, a worse ``qc``, ``revised``
            (a later revision, up to the cut-off of this cache), no longer the ``default``, or a
            ``notice`` about it. In remote mode the remote is asked, otherwise the tables.

        Raises
        ------
        InvalidArgument
            A list of ids, which does not say what was read.

        Examples
        --------
        >>> from tempfile import mkdtemp
        >>> from one_cache import Cache
        >>> from one_cache.sample import write_sample_lab
        >>> lab = write_sample_lab(mkdtemp())
        >>> cache = Cache(lab.folder)
        >>> with cache.recording() as recorder:
        ...     drift = cache.load_dataset(lab.revised[0].eid, "drift.times.npy", revision="2024")
        >>> [(change.kind, change.after) for change in cache.outdated(recorder)]
        [('revised', 'alf/probe00/pykilosort/#2024-05-06#/drift.times.npy')]
        """
        wish = read_wish(record)
        if wish.kind:
            raise InvalidArgument(f"{record} is a list of ids, which does not say what was read")
        knower = self._catalogue()
        found = list(
            outdated(
                wish.entries,
                knower.datasets_of,
                knower.datasets,
                last_revision=self.revision_last_before,
            )
        )
        found += notices(wish.entries, self._notices(wish.entries, knower))
        place = {(entry.eid, entry.id): at for at, entry in enumerate(wish.entries)}
        return sorted(found, key=lambda change: place[change.eid, change.id])

    def _notices(self, entries: Sequence[Entry], knower: Catalogue) -> Sequence[Mapping[str, Any]]:
        if isinstance(knower, TableCatalogue):
            names = knower.tables.names()
            return knower.tables.rows("SELECT * FROM notices") if "notices" in names else ()
        ids = [entry.id for entry in entries if entry.kind == "dataset"]
        return self._require_remote().records(Question("notices", {"dataset": ids})) or ()

    # -- every byte ----------------------------------------------------------------------------

    def verify(
        self,
        record: AnyRecord | None = None,
        *,
        repair: bool = False,
        threads: int | None = None,
    ) -> Report:
        """Hash what is here again, and say what is missing, different, extra or unfinished.

        A run that was interrupted goes on where it stopped.

        Parameters
        ----------
        record : path-like, Recorder, or sequence of Entry, optional
            Only what this record names. In a bundle its own record when not given.
        repair : bool
            Fetch again what is missing or different.
        threads : int, optional
            As many as there are processors when not given.

        Returns
        -------
        Report
            `files` are right, those that were repaired included. Without a record, what was
            verified here once and is gone is missing; where there is no remote, all that the
            tables know must be here.

        Raises
        ------
        ModeError
            `repair`, and the mode of this cache fetches nothing.
        """
        if repair and self.policy().on[FileState.MISSING] is not Action.FETCH:
            raise ModeError(f"mode {self.mode!r} fetches nothing, so nothing can be repaired")
        own = self.tables_dir / RECORD
        if record is None and own.is_file():
            record = own
        remarks: list[Problem] = []
        if record is not None:
            files = [file_of(entry, url=True) for entry in self._wish(record).entries]
        else:
            seen = Inventory.take(Path(self.cache_dir), self.tables_dir)
            known = expected(self.store, self.tables, seen, whole=not self._comes_from)
            files = list(known.values())
            remarks = [*seen.extra(known), *seen.unfinished(Path(self.cache_dir))]
        found = verify(self.store, files, threads=threads, silent=self.silent)
        if repair and found:
            bad = {problem.path for problem in found}
            errors = self.bring([file for file in files if file.path in bad])
            found = [Problem.of(error, path) for path, error in errors.items()]
        bad = {problem.path for problem in found}
        good = tuple(file for file in files if file.path not in bad)
        return Report(good, (*found, *remarks))

    @property
    def _comes_from(self) -> tuple[str, ...]:
        """Where the files can be had again; empty where this folder is their home."""
        if self.source:
            return (self.source,)
        try:
            return Manifest.read(self.tables_dir).remotes
        except ManifestError:
            return ()

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
