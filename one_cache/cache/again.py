"""What a record asks for, had again: where it may come from, and what the tables learn of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from one_cache import hashes
from one_cache.bundle.frozen import other_tables
from one_cache.bundle.inventory import is_own
from one_cache.bundle.report import Problem, Report
from one_cache.bundle.rows import datasets_as_read, sessions_as_read
from one_cache.bundle.wish import AnyRecord, Wish, file_of, is_bundle, read_wish
from one_cache.cache.desk import open_remote
from one_cache.cache.noting import Noting
from one_cache.catalogue import Catalogue, RemoteCatalogue, TableCatalogue, keep_datasets
from one_cache.errors import (
    ALFObjectNotFound,
    CacheWarning,
    InvalidArgument,
    NotInCache,
    OneCacheError,
    PathEscapes,
    RemoteError,
    StoreError,
    TableError,
    TransferError,
)
from one_cache.recorder import Entry, head_of
from one_cache.records import Dataset, File, Session
from one_cache.remotes import Body, Listing, Question, Remote
from one_cache.snapshot import remote_tables
from one_cache.tables import Tables
from one_cache.tables.schema import quoted

# a full record says nearly all that tables could: larger ones are not brought for the rest
_SMALL = 64_000_000  # bytes
# for files whatever they are, where entries have no place of their own
_ANY = ""

Places = Mapping[str, Remote]


class Again(Noting):
    """Brings what a record names."""

    def restore(self, record: AnyRecord, source: Remote | str | Path | None = None) -> Report:
        """Bring the datasets of a record as they were read: that revision, those bytes.

        What cannot be had is reported and the rest still comes. The tables learn of datasets
        that they did not know; what they knew stays as it is.

        Parameters
        ----------
        record : path-like, Recorder, or sequence of Entry
            A full record, a bundle, or a list of dataset or session ids as ONE-api writes it.
            Of ids alone the bytes are those that the tables name today; of a session, all
            datasets that are the default today.
        source : Remote or str, optional
            Where to get the bytes: a folder, a bundle, an address. Otherwise the bundle that
            the record lies in, the remote of this cache, then the sources that the record names.

        Returns
        -------
        Report
            `files` are there and verified; `problems` say what is not, and why.

        Raises
        ------
        OneCacheError
            `record` cannot be read as one.

        Examples
        --------
        >>> from tempfile import mkdtemp
        >>> from one_cache import Cache
        >>> from one_cache.sample import write_sample_lab
        >>> lab = write_sample_lab(mkdtemp())
        >>> here = Cache(lab.folder)
        >>> with here.recording() as recorder:
        ...     wheel = here.load_object(lab.eids[0], "wheel")
        >>> there = Cache(mkdtemp())
        >>> report = there.restore(recorder, source=lab.folder)
        >>> len(report.files), report.ok, sorted(there.load_object(lab.eids[0], "wheel"))
        (2, True, ['position', 'timestamps'])
        """
        wish = read_wish(record)
        places = self._places(wish, record, source)
        only = next(iter(places.values())) if len(places) == 1 else None
        knower = self._knower(places.get(_ANY, only), needed=bool(wish.ids))
        entries, problems = self._entries_of(wish, knower)
        given = source is not None or is_bundle(record)
        errors = self._have_again(entries, places, given=given)
        try:
            self._learn([one for one in entries if _is_sound(one, errors.get(one.path))], knower)
        except StoreError as error:
            problems.append(Problem.of(error, "datasets.pqt"))
        problems += [
            Problem.of(errors[entry.path], entry.path, entry.id)
            for entry in entries
            if entry.path in errors
        ]
        files = tuple(file_of(entry) for entry in entries if entry.path not in errors)
        return Report(files, tuple(problems))

    # -- what is wanted ---------------------------------------------------------------------

    def _wish(self, record: AnyRecord) -> Wish:
        """Read a record; of a list of ids, what is known of them today."""
        wish = read_wish(record)
        if wish.kind:
            entries, problems = self._entries_of(wish, self._catalogue())
            if problems:
                raise ALFObjectNotFound("\n".join(problem.reason for problem in problems))
            wish = Wish(tuple(entries))
        return wish if wish.head else replace(wish, head=head_of(self._about()))

    # -- where from ------------------------------------------------------------------------

    def _places(
        self, wish: Wish, record: AnyRecord, source: Remote | str | Path | None = None
    ) -> Places:
        """Give who may be asked: one remote for all, or one for each source of the record."""
        if source is None and is_bundle(record):
            source = str(record)
        if isinstance(source, (str, Path)):
            return {_ANY: open_remote(str(source))}
        if source is not None:
            return {_ANY: source}
        own = {} if self.remote is None else {_ANY: self.remote}
        if own and not self.policy("remote").asks:
            return own
        # who answered queries holds no files of them
        asked = dict.fromkeys(entry.source for entry in wish.entries if entry.kind == "dataset")
        others = (address for address in asked if address not in ("", self.source))
        return {**own, **{address: open_remote(address) for address in others}}

    def _knower(self, remote: Remote | None, *, needed: bool) -> Catalogue:
        """Give who knows of the datasets: the tables here where nobody else may be asked."""
        if remote is None or not self.policy("remote").asks:
            return TableCatalogue(self.tables)
        try:
            listings = remote.tables()
            size = sum(listing.file.size or 0 for listing in listings)
            if listings and size > _SMALL and not needed:
                return TableCatalogue(self.tables)
            tables = remote_tables(remote, self.store, silent=self.silent)
        except TransferError:
            # each file will say so too
            return TableCatalogue(self.tables)
        except (TableError, StoreError) as error:
            if needed:
                raise
            # a full record says enough
            self._warn_once(
                "tables", remote.name, f"its tables are not used: {error}", CacheWarning
            )
            return TableCatalogue(self.tables)
        # answers for this call alone: they must not change what the tables here say
        if tables is None:
            return RemoteCatalogue(remote, Tables.open(None))
        return TableCatalogue(tables)

    def _entries_of(self, wish: Wish, knower: Catalogue) -> tuple[list[Entry], list[Problem]]:
        """Give the entries of a wish; of ids, what is known of them today."""
        if not wish.kind:
            return list(wish.entries), []
        found: list[Dataset] = []
        unknown: Sequence[str] = ()
        if wish.kind == "dataset":
            found = knower.datasets(wish.ids)
            unknown = sorted({*wish.ids} - {dataset.id for dataset in found})
        else:
            for session in knower.sessions(wish.ids):
                datasets = knower.datasets_of(session.id)
                found += [one for one in datasets if one.default_revision is not False]
            unknown = sorted({*wish.ids} - {dataset.eid for dataset in found})
        problems = [
            Problem("unknown", "", f"{wish.kind} {one} is not known {self._where(knower)}", one)
            for one in unknown
        ]
        sessions = {one.id: one for one in knower.sessions(list({one.eid for one in found}))}
        entries = [
            # nothing was read yet
            replace(self._entry(dataset, sessions.get(dataset.eid)), at="", mode="")
            for dataset in found
        ]
        gone = {dataset.id for dataset in found if not dataset.exists}
        problems += [
            Problem("gone", entry.path, f"{entry.path}: on no server", entry.id)
            for entry in entries
            if entry.id in gone
        ]
        return [entry for entry in entries if entry.id not in gone], problems

    def _where(self, knower: Catalogue) -> str:
        own = isinstance(knower, TableCatalogue) and knower.tables is self.tables
        return f"to the tables in {self.tables_dir}; name a source" if own else "to the source"

    def _have_again(
        self,
        entries: Sequence[Entry],
        places: Places,
        *,
        given: bool,
        query_type: str | None = "remote",
    ) -> dict[str, OneCacheError]:
        """Let the files of entries be on disk and right; say by path which cannot be had."""
        errors: dict[str, OneCacheError] = {}
        wanted: list[tuple[File, list[str]]] = []
        for entry in entries:
            try:
                self._check_entry(entry)
            except OneCacheError as error:
                errors[entry.path] = error
                continue
            # a server gives datasets; answers and tables lie in folders and bundles
            fits = given or entry.kind == "dataset"
            where = [one for one in (_ANY, entry.source) if fits and one in places]
            wanted.append((file_of(entry, url=not given), where))
        # what the remote of this cache does not have, the source that the record names may
        for turn in (0, 1):
            groups: dict[str | None, list[File]] = {}
            for file, where in wanted:
                if turn == 0 or (file.path in errors and turn < len(where)):
                    groups.setdefault(where[turn] if where else None, []).append(file)
            for address, files in groups.items():
                remote = _NOWHERE if address is None else places[address]
                found = self.bring(files, query_type, remote=remote)
                for file in files:
                    errors.pop(file.path, None)
                errors.update(found)
        return errors

    def _check_entry(self, entry: Entry) -> None:
        """Refuse what a record may not ask for; anyone can have written it."""
        self.store.path(entry.path)
        if is_own(entry.path):
            raise PathEscapes(f"{entry.path}: a cache keeps its own tables and notes there")
        if entry.hash:
            hashes.parse(entry.hash)

    # -- what the tables learn -------------------------------------------------------------

    def _learn(self, entries: Sequence[Entry], knower: Catalogue) -> None:
        """Tell the tables of sessions and datasets that they do not know."""
        if not self.policy().writes:
            return
        if isinstance(knower, TableCatalogue) and knower.tables is not self.tables:
            self._learn_others(entries, knower.tables)
        sessions, datasets = self._rows_of(entries, knower)
        known = {one.id for one in self.tables.sessions([one.id for one in sessions])}
        own = TableCatalogue(self.tables)
        known |= {one.id for one in own.datasets([one.id for one in datasets])}
        self.tables.add("sessions", [one for one in sessions if one.id not in known])
        keep_datasets(self.tables, [one for one in datasets if one.id not in known])
        if self.tables.dirty:
            self.tables.save()

    def _learn_others(self, entries: Sequence[Entry], theirs: Tables) -> None:
        """Tell the tables what others know of answers and of tables that were read."""
        for name, rows in other_tables(entries, theirs).items():
            if not isinstance(rows, list):
                if name not in self.tables.names():
                    self.tables.replace(name, rows, meta=theirs.meta(name))
                continue
            known: set[Any] = set()
            if name in self.tables.names():
                known = {row["id"] for row in self.tables.rows(f"SELECT id FROM {quoted(name)}")}
            self.tables.add(name, [row for row in rows if row["id"] not in known])

    def _rows_of(
        self, entries: Sequence[Entry], knower: Catalogue
    ) -> tuple[list[Session], list[Dataset]]:
        """Give the sessions and datasets of entries as they were read."""
        read = [entry for entry in entries if entry.kind == "dataset" and entry.rel_path]
        eids = list(dict.fromkeys(entry.eid for entry in read if entry.eid))
        sessions: dict[str, Session] = {}
        datasets: dict[str, Dataset] = {}
        # without them the record says enough
        with suppress(RemoteError, TransferError):
            sessions = {one.id: one for one in knower.sessions(eids)}
            datasets = {one.id: one for one in knower.datasets([entry.id for entry in read])}
        return sessions_as_read(read, sessions), datasets_as_read(read, datasets)


def _is_sound(entry: Entry, error: OneCacheError | None) -> bool:
    """Tell whether the tables may learn of an entry, which anyone can have written."""
    return bool(entry.id) and not isinstance(error, (PathEscapes, InvalidArgument))


class _Nowhere:
    """The remote of what no remote has."""

    name = "nowhere"

    def tables(self) -> Sequence[Listing]:
        return ()

    def records(self, question: Question) -> Sequence[Mapping[str, Any]] | None:
        return None

    def open(self, file: File, start: int = 0, validator: str | None = None) -> Body:
        raise NotInCache(
            f"{file.path}: not on disk, and the record names no place that has it; name a folder "
            "or a bundle that does"
        )

    def url(self, file: File) -> str:
        raise InvalidArgument(f"{file.path} has no address")


_NOWHERE = _Nowhere()
