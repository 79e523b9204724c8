"""What every method of a cache stands on: its folders, tables, remote, store and recorder.

The doors (ecephys, neuprint, datajoint, ...) stand on the same: they add rows to ``tables``,
write and check files through ``store``, ask ``policy()`` what the mode allows, and tell
``recorder`` what was read. The desk decides nothing by mode: it does what the policy's row says.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache import settings
from one_cache.catalogue import Catalogue, RemoteCatalogue, TableCatalogue
from one_cache.errors import (
    CacheWarning,
    HashMismatch,
    InvalidArgument,
    ManifestError,
    ModeError,
    NotInCache,
    NotOnServer,
    OneCacheError,
    SessionNotFound,
    TransferErrors,
)
from one_cache.manifest import Manifest
from one_cache.modes import Action, FileState, Mode, Policy, policy, read_mode
from one_cache.recorder import Recorder
from one_cache.records import Dataset, File, Session
from one_cache.remotes import Remote, connect
from one_cache.responses import ResponseCache
from one_cache.snapshot import remote_tables
from one_cache.spec import ALFPath
from one_cache.store import Store
from one_cache.tables import Tables
from one_cache.tables.schema import LAYOUTS
from one_cache.transfer import fetch

if TYPE_CHECKING:
    from uuid import UUID

_log = logging.getLogger(__name__)


class Desk:
    """Holds what a cache is made of; the public methods stand in the classes above it.

    Parameters
    ----------
    cache_dir : path-like, optional
        Root of the files; the default depends on the remote's address (``settings``).
    remote : Remote or str, optional
        Where records and bytes come from, or its address.
    tables_dir : path-like, optional
        Where the tables and the manifest lie; `cache_dir` when not given.
    mode : {"remote", "local", "fixed"}, optional
        ``remote`` where there is a remote, else ``local``.
    wildcards : bool
        Names are patterns of a shell, search terms regular expressions.
    silent : bool
        No progress bars.
    version : str, optional
        Data release that the manifest must name.
    access : Credentials, optional
        For a remote that is given by its address; otherwise looked up in ``settings``.

    Attributes
    ----------
    tries : int
        Requests for one file without progress, at most.
    stall : float
        Seconds without a byte after which a request counts as failed.
    """

    tries = 5
    stall = 30.0

    def __init__(
        self,
        cache_dir: str | Path | None = None,
        *,
        remote: Remote | str | None = None,
        tables_dir: str | Path | None = None,
        mode: str | Mode | None = None,
        wildcards: bool = True,
        silent: bool = False,
        version: str | None = None,
        access: settings.Credentials | None = None,
    ) -> None:
        address = remote if isinstance(remote, str) else None
        self._address = address
        self._access = access
        self._remote = None if isinstance(remote, str) else remote
        self._mode = read_mode(mode or (Mode.LOCAL if remote is None else Mode.REMOTE))
        root = Path(cache_dir) if cache_dir else settings.default_cache_dir(address)
        self.cache_dir = ALFPath(root.expanduser().absolute())
        self._tables_dir = Path(tables_dir).expanduser().absolute() if tables_dir else None
        self.wildcards = wildcards
        self.silent = silent
        self.revision_last_before = settings.revision_cutoff()
        self.recorder = Recorder()
        self._warned: set[tuple[str, str]] = set()
        self._hashed: set[str] = set()
        self._remote_tables: Tables | None = None
        self._sessions_seen: dict[str, Session] = {}
        self._no_cache = False
        self.manifest: Manifest | None = None
        self.tables = self._open_tables(self.tables_dir, version)
        self.store = Store(self.cache_dir, writable=self.policy().writes)
        if self._remote is not None:
            self._with_answers(self._remote)

    def __getstate__(self) -> dict[str, Any]:
        # records that were not saved travel along; what was read stays, and what the other
        # process reads joins it
        options = {
            "cache_dir": str(self.cache_dir),
            "remote": self._address or self._remote,
            "tables_dir": self._tables_dir,
            "mode": self._mode,
            "wildcards": self.wildcards,
            "silent": self.silent,
            "access": self._access,
        }
        kept = ("revision_last_before", "tries", "stall")
        return {
            "options": options,
            "kept": {name: getattr(self, name) for name in kept},
            "tables": self.tables if self.tables.dirty else None,
            "recorder": self.recorder.for_worker(),
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        Desk.__init__(self, **state["options"])
        vars(self).update(state["kept"], recorder=state["recorder"])
        if state["tables"] is not None:
            self.tables = state["tables"]

    # -- what it is ------------------------------------------------------------------------

    @property
    def tables_dir(self) -> Path:
        """Folder of the tables and the manifest."""
        return self._tables_dir or Path(self.cache_dir)

    @property
    def mode(self) -> str:
        """``"remote"``, ``"local"`` or ``"fixed"``; a frozen cache stays frozen."""
        return self._mode.value

    @mode.setter
    def mode(self, value: str | Mode) -> None:
        new = read_mode(value)
        if new is self._mode:
            return
        if Mode.FIXED in (new, self._mode):
            raise ModeError(
                f"mode {self.mode!r} cannot become {new.value!r}: a fixed cache is opened as "
                "one, ONE(..., mode='fixed'), and stays one"
            )
        self._mode = new

    @property
    def offline(self) -> bool:
        """Whether questions are answered without a remote."""
        return not self.policy().asks

    @property
    def remote(self) -> Remote | None:
        """Where records and bytes come from; an address is connected to on first use."""
        if self._remote is None and self._address is not None:
            self._remote = self._with_answers(open_remote(self._address, self._access))
        return self._remote

    def _with_answers(self, remote: Remote) -> Remote:
        """Let a remote that keeps answers keep them in this cache, unless it has a place."""
        kept = getattr(remote, "responses", None)
        if isinstance(kept, ResponseCache) and kept.folder is None:
            place = Path(self.cache_dir, ".one_cache", "responses")
            answers = ResponseCache(place, writable=self.policy().writes)
            remote.responses = answers  # type: ignore[attr-defined]  # not every remote has any
        return remote

    @property
    def source(self) -> str:
        """Address of the remote, without credentials; empty where there is none."""
        if self._remote is not None:
            return self._remote.name
        return settings.without_credentials(self._address) if self._address else ""

    @property
    def origins(self) -> tuple[str, ...]:
        """Addresses where the files can be had again; empty where this folder is their home."""
        if self.source:
            return (self.source,)
        with suppress(ManifestError):
            return Manifest.read(self.tables_dir).remotes
        # tables that were saved here say it too; those of an indexed folder name that folder
        origin = self.tables.meta("datasets").get("origin") or ()
        listed = (origin,) if isinstance(origin, str) else origin
        return tuple(one for one in listed if "://" in one)

    def policy(self, query_type: str | None = None) -> Policy:
        """Give what the mode allows to a call of this `query_type`; see ``one_cache.modes``."""
        return policy(self._mode, query_type)

    # -- tables ----------------------------------------------------------------------------

    def _open_tables(self, folder: Path, version: str | None = None) -> Tables:
        row = self.policy()
        if not row.pinned:
            if version is not None:
                Manifest.read(folder).require_release(version)
            return Tables.open(folder, writable=row.writes, silent=self.silent)
        self.manifest = Manifest.read(folder)
        self.manifest.require_release(version)
        self.revision_last_before = self.manifest.revision_last_before
        pins = {name: pin.sha256 for name, pin in self.manifest.tables.items()}
        return Tables.open(folder, writable=False, pins=pins, silent=self.silent)

    def _catalogue(self, query_type: str | None = None) -> Catalogue:
        """Give who answers a call of this `query_type`."""
        if not self.policy(query_type).asks:
            self._warn_of_no_tables()
            return TableCatalogue(self.tables)
        remote = self._require_remote()
        if self._remote_tables is None:
            self._remote_tables = remote_tables(remote, self.store, silent=self.silent)
        if self._remote_tables is None:
            return RemoteCatalogue(remote, self.tables, no_cache=self._no_cache)
        return TableCatalogue(self._remote_tables, memory=self.tables)

    def _warn_of_no_tables(self) -> None:
        if ("no tables", "") in self._warned or set(self.tables.names()) - set(LAYOUTS):
            return
        if not self.tables.count("sessions"):
            self._warn_once(
                "no tables",
                "",
                f"no access tables in {self.tables_dir}: nothing can be found. Save some in "
                "remote mode (save_cache), load others (load_cache), or make them "
                "(one-cache index)",
                CacheWarning,
            )

    def _require_remote(self) -> Remote:
        remote = self.remote
        if remote is None:
            raise ModeError(
                f"the cache {self.cache_dir} has no remote to ask; name one, "
                "ONE(base_url=...), or use mode='local'"
            )
        return remote

    # -- sessions and files ----------------------------------------------------------------

    def _session(self, eid: str, catalogue: Catalogue) -> Session:
        if eid not in self._sessions_seen:
            found = catalogue.sessions([eid])
            if not found:
                raise SessionNotFound(f"session {eid} is not known to {self._answerer(catalogue)}")
            self._sessions_seen[eid] = found[0]
        return self._sessions_seen[eid]

    def _answerer(self, catalogue: Catalogue) -> str:
        own = isinstance(catalogue, TableCatalogue) and catalogue.memory is None
        return f"the tables in {self.tables_dir}" if own else self.source

    def _file(self, dataset: Dataset, catalogue: Catalogue) -> File:
        return file_of(dataset, self._session(dataset.eid, catalogue) if dataset.eid else None)

    def bring(
        self,
        files: Sequence[File],
        query_type: str | None = None,
        *,
        remote: Remote | None = None,
        check_hash: bool = True,
        lost: Collection[str] = (),
        restore: Callable[[File], str] = lambda file: "",
    ) -> dict[str, OneCacheError]:
        """Let each file be on disk and right, as far as the mode allows.

        Parameters
        ----------
        files : sequence of File
            What is wanted.
        query_type : {None, "remote", "local"}
            As given to the call.
        remote : Remote, optional
            Where the bytes come from; the cache's own when not given.
        check_hash : bool
            False trusts a file of the right size that was not hashed since it changed.
        lost : collection of str
            Paths of files that no server holds.
        restore : callable
            Gives the command that would restore a file, for the message.

        Returns
        -------
        dict of str to OneCacheError
            By path, why a file cannot be had; empty when all are there.
        """
        row = self.policy(query_type)
        refused: dict[str, OneCacheError] = {}
        wanted: list[File] = []
        for file, known in zip(files, self.store.states(files), strict=True):
            state = self._state(file, known, row, check_hash=check_hash)
            action = row.on[state]
            if action is Action.FETCH and file.path not in lost:
                wanted.append(file)
            elif action is Action.FETCH:
                refused[file.path] = NotOnServer(
                    f"{file.path}: dataset {file.id} is recorded, but is on no server and not on "
                    "disk"
                )
            elif action is not Action.USE:
                refused[file.path] = self._refusal(file, state, row, restore(file))
        if wanted:
            refused.update(self._fetch(wanted, remote or self._require_remote()))
        return refused

    def _state(self, file: File, state: FileState, row: Policy, *, check_hash: bool) -> FileState:
        """Give what is known of a file, hashed where the policy wants it."""
        if row.pinned and file.hash is None:
            return FileState.MISSING if state is FileState.MISSING else FileState.WRONG
        first = row.pinned and state is FileState.GOOD and file.path not in self._hashed
        hashes = row.on[state] is Action.HASH and (check_hash or row.pinned)
        if first or hashes:
            state = self.store.check(file)
            self._hashed.add(file.path)
        return FileState.GOOD if state is FileState.UNCHECKED else state

    def _fetch(self, wanted: Sequence[File], remote: Remote) -> dict[str, OneCacheError]:
        try:
            fetch(
                wanted,
                remote,
                self.store,
                tries=self.tries,
                stall=self.stall,
                silent=self.silent,
            )
        except TransferErrors as group:
            errors = group.errors
        except OneCacheError as error:
            errors = {file.path: error for file in wanted}
        else:
            return {}
        # the others of the call arrived
        states = self.store.states(wanted)
        return {
            file.path: _known(errors[file.path])
            for file, state in zip(wanted, states, strict=True)
            if state is not FileState.GOOD
        }

    def _refusal(self, file: File, state: FileState, row: Policy, restore: str) -> OneCacheError:
        what = f"dataset {file.id}" if file.id else "it"
        advice = f"; to restore it: {restore}" if restore else ""
        if row.pinned and file.hash is None:
            return NotInCache(
                f"{file.path}: the manifest pins no hash for {what}, so it cannot be verified; "
                f"fetch it and freeze the cache again{advice}"
            )
        if state is FileState.WRONG:
            return HashMismatch(
                f"{file.path}: {self.store.problem(file)}; {what} was not loaded, and mode "
                f"{self.mode!r} fetches nothing{advice}"
            )
        parts = (file.size is not None and f"{file.size} bytes", file.hash)
        expected = ", ".join(str(part) for part in parts if part)
        return NotInCache(
            f"{file.path}: {what} is not on disk (expected {expected or 'a file'}), and mode "
            f"{self.mode!r} fetches nothing{advice}"
        )

    def _bring_datasets(
        self,
        datasets: Sequence[Dataset],
        catalogue: Catalogue,
        query_type: str | None,
        *,
        check_hash: bool = True,
    ) -> dict[str, OneCacheError]:
        """Let each dataset be on disk and right; give what cannot be had, by dataset id."""
        files = {dataset.id: self._file(dataset, catalogue) for dataset in datasets}
        by_path = {files[dataset.id].path: dataset for dataset in datasets}

        def restore(file: File) -> str:
            dataset = by_path[file.path]
            if not dataset.eid:
                return ""
            where = "".join(f" --base-url {one}" for one in self.origins[:1])
            return (
                f"one-cache get {dataset.eid} {dataset.rel_path!r} "
                f"--cache-dir {self.cache_dir}{where}"
            )

        refused = self.bring(
            list({file.path: file for file in files.values()}.values()),
            query_type,
            check_hash=check_hash,
            lost={path for path, dataset in by_path.items() if not dataset.exists},
            restore=restore,
        )
        return {key: refused[file.path] for key, file in files.items() if file.path in refused}

    def _path(self, dataset: Dataset, catalogue: Catalogue) -> ALFPath:
        return ALFPath(self.store.path(self._file(dataset, catalogue).path))

    def _warn_once(self, kind: str, key: str, message: str, category: type[Warning]) -> None:
        if (kind, key) not in self._warned:
            self._warned.add((kind, key))
            warnings.warn(message, category, stacklevel=4)


def file_of(dataset: Dataset, session: Session | None) -> File:
    """Give the file of a dataset, which lies in the folder of its session, if it has one."""
    return File(
        f"{session.path}/{dataset.rel_path}" if session else dataset.rel_path,
        size=dataset.file_size,
        hash=dataset.hash or None,
        url=dataset.extra.get("data_url"),
        id=dataset.id,
    )


def open_remote(address: str, access: settings.Credentials | None = None) -> Remote:
    """Give the remote of an address, with the credentials that are known for it."""
    if address.partition("://")[0].lower() not in ("http", "https"):
        return connect(address)
    access = access or settings.credentials(address)
    known = {name: value for name, value in vars(access).items() if value is not None}
    return connect(address, **known)


def _known(error: Exception) -> OneCacheError:
    if isinstance(error, OneCacheError):
        return error
    raise error


def as_uuid(text: str) -> UUID:
    """Give the UUID written in `text`."""
    from uuid import UUID

    return UUID(text)


def uuid_text(value: Any, what: str = "id") -> str:
    """Give a UUID as lower-case text.

    Raises
    ------
    InvalidArgument
        It is none.
    """
    from uuid import UUID

    if isinstance(value, UUID):
        return str(value)
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise InvalidArgument(f"{value!r} is not a UUID, as the {what} must be") from None
