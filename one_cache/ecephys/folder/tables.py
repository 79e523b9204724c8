"""Project tables: fetched once, kept as AllenSDK's CSV and as tables of this package.

A table of ours says of which CSV file it was made, by size and hash. As long as that file lies
beside it unchanged, or was removed, the table is read; a CSV that changed, or that somebody else
wrote, is read and checked before it is trusted. Several processes may want the same table: one
brings it, the others wait and find it. What follows from several tables may be kept as well, with
the hashes of those that it was made of.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from one_cache.cache import Cache
from one_cache.ecephys.folder.arrow import arrow_of, restored
from one_cache.ecephys.folder.formats import ID, csv_bytes, parse_csv
from one_cache.ecephys.missing import MissingData
from one_cache.errors import (
    ContentError,
    HashMismatch,
    OneCacheError,
    StoreError,
    TransferFailed,
)
from one_cache.manifest import now
from one_cache.modes import Action, FileState
from one_cache.recorder import Entry
from one_cache.records import File

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

_META = "csv"
_OF = "made_of"


@dataclass(frozen=True)
class Kept:
    """One table: what it is called, where its CSV lies, and who has it.

    Attributes
    ----------
    name : str
        Of our table.
    path : str
        Of the CSV file, relative to the root.
    index : str
        Column of the CSV file that numbers the rows.
    needed : tuple of str
        Columns without which it is no such table.
    fetch : callable
        Brings it from where the data come from.
    count : callable, optional
        Asks there how many rows it has.
    """

    name: str
    path: str
    index: str
    needed: tuple[str, ...]
    fetch: Callable[[], pd.DataFrame]
    count: Callable[[], int] | None = None


@dataclass(frozen=True)
class Derived:
    """A table that follows from others, and is kept so that it need not be made again.

    Attributes
    ----------
    name : str
        Of our table.
    rule : object
        What its values depend on beside those tables; a JSON value.
    make : callable
        Makes it.
    written : callable
        Gives it as it is kept, with columns of one type each.
    read : callable
        Undoes that.
    """

    name: str
    rule: Any
    make: Callable[[], pd.DataFrame]
    written: Callable[[pd.DataFrame], pd.DataFrame]
    read: Callable[[pd.DataFrame], pd.DataFrame]


class Shelf:
    """The tables of one cache.

    Parameters
    ----------
    one : Cache
        Whose folder, tables and mode they are.
    loose : bool
        Whether a CSV file that nothing pins may be read in a mode that serves only what is
        pinned: that of a folder which was never frozen.
    """

    def __init__(self, one: Cache, *, loose: bool = False) -> None:
        self._one = one
        self._loose = loose
        self._read: dict[str, tuple[Any, pd.DataFrame]] = {}
        self._lock = threading.RLock()
        self._alone = False

    def __getstate__(self) -> dict[str, Any]:
        return {"_one": self._one, "_loose": self._loose}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._read, self._lock, self._alone = {}, threading.RLock(), False

    def frame(self, kept: Kept) -> pd.DataFrame:
        """Give a whole table; see :meth:`frames`."""
        return self.frames(kept)[0]

    def frames(self, *wanted: Kept) -> list[pd.DataFrame]:
        """Give whole tables; those that must be fetched come side by side.

        Parameters
        ----------
        *wanted : Kept
            Which.

        Returns
        -------
        list of pandas.DataFrame
            Sorted by their index. They are shared: copy one before you change it.

        Raises
        ------
        MissingData
            One is not here, and the mode fetches nothing.
        HashMismatch, ContentError
            A CSV file is not the one of the record, or not a whole table.
        TransferFailed, RemoteError
            One cannot be fetched.
        StoreError
            One was fetched and cannot be written.
        """
        with self._lock:
            stale = [kept for kept in wanted if not self._is_read(kept)]
            if stale:
                for kept, frame in self._get(stale):
                    self._read[kept.name] = (self._stamp(kept), frame)
            for kept in wanted:
                self._record(kept)
            return [self._read[kept.name][1] for kept in wanted]

    def derived(self, made: Derived, *wanted: Kept) -> pd.DataFrame:
        """Give a table that follows from others, made once for one version of them.

        Parameters
        ----------
        made : Derived
            Which.
        *wanted : Kept
            What it follows from.

        Returns
        -------
        pandas.DataFrame
            It is shared: copy it before you change it.

        Raises
        ------
        OneCacheError
            See :meth:`frames`.
        """
        with self._lock:
            stamps = [self._stamp(kept) for kept in wanted]
            if made.name not in self._read or self._read[made.name][0] != stamps:
                kept_here = self._kept_derived(made, wanted)
                frame = self._made(made, wanted) if kept_here is None else kept_here
                self._read[made.name] = ([self._stamp(kept) for kept in wanted], frame)
            for kept in wanted:
                self._record(kept)
            return self._read[made.name][1]

    def _versions(self, made: Derived, wanted: Sequence[Kept]) -> dict[str, Any] | None:
        """Name what a derived table follows from; None where that is not all here and right."""
        files = {}
        for kept in wanted:
            state, file = self._state(kept)
            if state is not FileState.GOOD or file is None or not file.hash:
                return None
            files[kept.name] = file.hash
        return {"rule": made.rule, "tables": files}

    def _kept_derived(self, made: Derived, wanted: Sequence[Kept]) -> pd.DataFrame | None:
        if made.name not in self._one.tables.names():
            return None
        said = self._one.tables.meta(made.name).get(_OF)
        if said is None or said != self._versions(made, wanted):
            return None
        return made.read(self._one.tables.whole(made.name).to_pandas().set_index(ID))

    def _made(self, made: Derived, wanted: Sequence[Kept]) -> pd.DataFrame:
        frame = made.make()
        versions = self._versions(made, wanted)
        if versions is not None and self._one.policy().writes:
            try:
                rows = arrow_of(made.written(frame))
                self._one.tables.replace(made.name, rows, meta={_OF: versions})
            except (StoreError, ContentError) as error:
                # nothing is lost but the time that it takes to make it
                _log.info("the table %s is not kept: %s", made.name, error)
        return frame

    def version(self, *wanted: Kept) -> Any:
        """Name the versions of tables that were read; equal only for equal tables."""
        with self._lock:
            return [self._read[kept.name][0] for kept in wanted]

    def _is_read(self, kept: Kept) -> bool:
        return kept.name in self._read and self._read[kept.name][0] == self._stamp(kept)

    # -- what there is -------------------------------------------------------------------------

    def _stamp(self, kept: Kept) -> Any:
        """Say which version of a table lies there, from two ``stat``."""
        found: list[Any] = []
        for path in (
            self._one.store.path(kept.path),
            self._one.tables_dir / f"{kept.name}.pqt",
        ):
            try:
                stat = path.stat()
                found.append((stat.st_size, stat.st_mtime_ns, stat.st_ino))
            except (FileNotFoundError, NotADirectoryError):
                found.append(None)
        return found

    def _recorded(self, kept: Kept) -> File | None:
        """Give the CSV file of which our table was made."""
        if kept.name not in self._one.tables.names():
            return None
        meta = self._one.tables.meta(kept.name).get(_META) or {}
        return File(kept.path, meta.get("size"), meta.get("hash"))

    def _state(self, kept: Kept) -> tuple[FileState, File | None]:
        """Say what is known of a table: GOOD when ours can be read."""
        file = self._recorded(kept)
        store = self._one.store
        if file is None:
            here = store.state(File(kept.path)) is not FileState.MISSING
            return (FileState.UNCHECKED if here else FileState.MISSING), None
        if self._one.policy().pinned:
            # the manifest pins our table, whatever became of the file
            return FileState.GOOD, file
        state = store.state(file)
        state = store.check(file) if state is FileState.UNCHECKED else state
        if state is FileState.GOOD and self._may_count(kept) and not self._counted(kept):
            return FileState.UNCHECKED, file
        return state, file

    def _counted(self, kept: Kept) -> bool:
        """Whether the rows of our table were counted where they come from."""
        return (self._one.tables.meta(kept.name).get(_META) or {}).get("counted") is not False

    def _may_count(self, kept: Kept) -> bool:
        return kept.count is not None and self._one.policy().asks and not self._alone

    # -- how it is got -------------------------------------------------------------------------

    def _get(self, wanted: list[Kept]) -> Iterator[tuple[Kept, pd.DataFrame]]:
        missing = []
        for kept in wanted:
            state, _ = self._state(kept)
            if state is FileState.GOOD:
                yield kept, self._from_table(kept)
            elif self._one.policy().writes:
                missing.append(kept)
            else:
                yield kept, self._without_writing(kept, state)
        if not missing:
            return
        with contextlib.ExitStack() as locks:
            # always in one order, so that no two processes wait for each other
            for kept in sorted(missing, key=lambda one: one.path):
                locks.enter_context(self._one.store.lock(f"table {kept.path}"))
            # another process may have brought them meanwhile
            self._one.tables.refresh()
            yield from self._get_alone(missing)

    def _get_alone(self, wanted: list[Kept]) -> Iterator[tuple[Kept, pd.DataFrame]]:
        missing = []
        for kept in wanted:
            state, file = self._state(kept)
            frame = self._from_table(kept) if state is FileState.GOOD else None
            if state is FileState.UNCHECKED:
                frame = self._adopt(kept)
                state = FileState.WRONG
            if frame is not None:
                yield kept, frame
            elif self._one.policy().on[state] is Action.FETCH:
                missing.append(kept)
            elif state is FileState.MISSING and file is not None:
                # AllenSDK's file was removed, ours is here
                yield kept, self._from_table(kept)
            else:
                raise self._refusal(kept, state, file)
        if missing:
            yield from self._fetch(missing)

    def _without_writing(self, kept: Kept, state: FileState) -> pd.DataFrame:
        if self._loose and state is FileState.UNCHECKED:
            return self._parse(kept, self._bytes(kept))
        raise self._refusal(kept, state, None)

    def _refusal(self, kept: Kept, state: FileState, file: File | None) -> OneCacheError:
        mode = self._one.mode
        if state is FileState.WRONG and file is not None:
            rows = self._one.tables.count(kept.name)
            return HashMismatch(
                f"{kept.path}: {self._one.store.problem(file)}; it is not the file of {rows} rows "
                f"that the table {kept.name} was made of, and mode {mode!r} fetches nothing. "
                "Remove it to read that table, or open the cache in mode 'remote'"
            )
        where = self._one.store.path(kept.path)
        pinned = "" if state is FileState.MISSING else ", is not pinned by the manifest,"
        what = "is not on disk" if state is FileState.MISSING else "is on disk"
        return MissingData(
            f"{kept.path}: {what}{pinned} ({where}), and mode {mode!r} fetches nothing; open the "
            "cache with EcephysProjectCache.from_warehouse and ask for it once"
        )

    def _from_table(self, kept: Kept) -> pd.DataFrame:
        frame = self._one.tables.whole(kept.name).to_pandas()
        return restored(frame).set_index(ID).rename_axis(kept.index)

    def _bytes(self, kept: Kept) -> bytes:
        path = self._one.store.path(kept.path)
        try:
            return path.read_bytes()
        except OSError as error:
            raise StoreError(
                f"{path}: cannot be read: {error.strerror or error}", error.errno
            ) from error

    def _parse(self, kept: Kept, data: bytes) -> pd.DataFrame:
        frame = parse_csv(data, kept.index, kept.path)
        missing = [column for column in kept.needed if column not in frame.columns]
        if missing:
            raise ContentError(
                f"{kept.path}: is another table: it has no column {', '.join(missing)}"
            )
        return frame

    def _adopt(self, kept: Kept) -> pd.DataFrame | None:
        """Trust a CSV file that somebody else wrote, if it is a whole table."""
        try:
            data = self._bytes(kept)
            frame = self._parse(kept, data)
            counted = self._check_count(kept, len(frame))
        except ContentError as error:
            if self._one.policy().on[FileState.WRONG] is not Action.FETCH:
                raise
            _log.warning("%s; it is fetched anew", error)
            return None
        self._one.store.check(File(kept.path))
        file = self._one.store.noted(kept.path)
        if file is not None and file.size == len(data):
            self._keep(kept, frame, file, counted=counted)
        return frame

    def _check_count(self, kept: Kept, rows: int) -> bool:
        """See that a table has as many rows as there are, if somebody can be asked."""
        if kept.count is None or not self._may_count(kept):
            return False
        try:
            there = kept.count()
        except TransferFailed as error:
            # asked once: nobody waits for a network that is not there, table by table
            self._alone = True
            _log.warning(
                "whether the tables that lie in %s are whole could not be asked (%s); they are "
                "used as they are",
                self._one.cache_dir,
                error,
            )
            return False
        if there != rows:
            raise ContentError(f"{kept.path}: has {rows} rows, there are {there}")
        return True

    def _fetch(self, wanted: list[Kept]) -> Iterator[tuple[Kept, pd.DataFrame]]:
        with ThreadPoolExecutor(len(wanted)) as pool:
            coming = [pool.submit(kept.fetch) for kept in wanted]
        failure = next((one.exception() for one in coming if one.exception()), None)
        for kept, done in zip(wanted, coming, strict=True):
            if done.exception() is None:
                yield kept, self._write(kept, done.result())
        if failure is not None:
            raise failure

    def _write(self, kept: Kept, frame: pd.DataFrame) -> pd.DataFrame:
        data = csv_bytes(frame)
        # what is given is what the file says: types and rounding as in AllenSDK
        parsed = self._parse(kept, data)
        self._keep(kept, parsed, self._one.store.write(kept.path, data), counted=True)
        return parsed

    def _keep(self, kept: Kept, frame: pd.DataFrame, file: File, *, counted: bool) -> None:
        """Write our table; a folder that cannot be written costs the next process the parsing."""
        csv = {"path": kept.path, "size": file.size, "hash": file.hash, "rows": len(frame)}
        meta = {
            _META: {**csv, "counted": counted},
            "origin": [self._one.source] if self._one.source else [],
        }
        try:
            self._one.tables.replace(kept.name, arrow_of(frame), meta=meta)
        except (StoreError, ContentError) as error:
            _log.warning("the table %s is not kept: %s", kept.name, error)

    def _record(self, kept: Kept) -> None:
        if not self._one.recorder.on:
            return
        file = self._recorded(kept)
        self._one.recorder.add(
            Entry(
                "table",
                kept.name,
                path=kept.path,
                size=file.size if file else None,
                hash=file.hash if file else self._one.store.digest(kept.path),
                source=self._one.source,
                mode=self._one.mode,
                at=now(),
            )
        )
