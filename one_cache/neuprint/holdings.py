"""What a cache holds of a neuPrint server: a table of answers, a file each, the record of use.

``queries.pqt`` has a row for each answer and pins its file. A file is named by its query and
its bytes and says itself what it answers, so it is never changed, and one whose row was not
saved (the process was killed) is found all the same.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from one_cache import settings
from one_cache.errors import (
    CacheWarning,
    ContentError,
    HashMismatch,
    NotInCache,
    NotOnServer,
    OneCacheError,
    QueryNotCached,
    RemoteError,
    ServerTimeout,
    TransferFailed,
)
from one_cache.manifest import now
from one_cache.modes import FileState
from one_cache.neuprint.answers import Answer, pack, read_about, unpack
from one_cache.neuprint.kept import Kept, Version, versions
from one_cache.neuprint.query import Query
from one_cache.recorder import Entry
from one_cache.records import File

if TYPE_CHECKING:
    from pathlib import Path

    from one_cache.cache import Cache
    from one_cache.modes import Policy

_log = logging.getLogger(__name__)

TABLE = "queries"
FOLDER = "neuprint"
_NO_ROWS = "no rows within the time box: there are none, or the time was up"
_SHOWN = 1500  # characters of a query in a message
T = TypeVar("T")

# answers that were given while something was computed that is remembered
_given: ContextVar[list[tuple[Query, Kept]] | None] = ContextVar("given", default=None)


class Holdings:
    """The answers of one server in a cache.

    Parameters
    ----------
    cache : Cache
        Its tables, store, policy and recorder are used.
    server : str
        Address.
    mode : {None, "remote", "local", "fixed"}
        Of the client; that of the cache when None.
    """

    def __init__(self, cache: Cache, server: str, mode: str | None = None) -> None:
        self.cache = cache
        self.server = server
        self._mode = mode
        self._memory: dict[tuple[Any, ...], tuple[Any, list[tuple[Query, Kept]]]] = {}

    def __deepcopy__(self, memo: Mapping[int, Any]) -> Holdings:
        # copies of a client, one a thread, stand on the same
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Holdings, (self.cache, self.server, self._mode)

    @property
    def mode(self) -> str:
        """Mode in which the client answers; a frozen cache stays frozen."""
        return self.cache.mode if self.policy.pinned or self._mode is None else self._mode

    @property
    def policy(self) -> Policy:
        """What the mode allows."""
        return self.cache.policy(self._mode)

    # -- an answer -------------------------------------------------------------------------

    def answer(
        self,
        query: Query,
        ask: Callable[[], Answer],
        version: Callable[[str], Version],
        function: Callable[[], str],
    ) -> tuple[Answer, Kept]:
        """Give the answer to a query: kept and still true, or else asked for, and then kept.

        Parameters
        ----------
        query : Query
            What is asked.
        ask : callable
            Asks the server.
        version : callable
            Gives the state of a dataset as the server says it; called only if that matters.
        function : callable
            Names the function that the user called.

        Returns
        -------
        answer : Answer
            New objects.
        kept : Kept
            Where it lies.

        Raises
        ------
        QueryNotCached
            None is kept, and the mode asks nobody.
        HashMismatch
            The file differs from its record, and the mode asks nobody.
        """
        asks = self.policy.asks
        kept = self._find(query)
        if kept is not None and (not asks or self._is_true(kept, query, version)):
            try:
                return self._served(query, kept), kept
            except (NotInCache, NotOnServer, HashMismatch, ContentError) as error:
                if not asks:
                    raise self._unusable(error, query, function()) from error
                _log.info("%s; asked again", error)
        if not asks:
            raise self._missing(query, function())
        with self._alone(query):
            other = self._adopted(query) if query.lifetime else None
            if other is not None and other != kept and self._is_true(other, query, version):
                return self._served(query, other), other
            try:
                answer = ask()
            except (TransferFailed, RemoteError) as error:
                # only of what is asked each time: another answer may be known to be out of date
                if kept is None or query.lifetime or not _is_down(error):
                    raise
                return self._old(query, kept, error), kept
            kept = self._keep(query, answer, version(query.dataset), function())
        self.note(query, kept)
        return answer, kept

    def _is_true(self, kept: Kept, query: Query, version: Callable[[str], Version]) -> bool:
        """Whether an answer may serve without asking."""
        if kept.inconclusive or not query.lifetime:
            return False
        if kept.version != version(query.dataset):
            return False
        asked = dt.datetime.fromisoformat(kept.asked_at)
        return (dt.datetime.now(dt.timezone.utc) - asked).total_seconds() < query.lifetime

    def _served(self, query: Query, kept: Kept) -> Answer:
        """Read an answer whose file is verified as the mode wants it."""
        refused = self.cache.bring([kept.file], self._mode, lost={kept.path})
        if refused:
            raise self._why(kept, refused[kept.path])
        answer = unpack(self.cache.store.path(kept.path))
        if answer.about.get("id") != query.id:
            raise ContentError(f"{kept.path}: holds the answer to another query")
        if kept.inconclusive:
            _log.warning("%s (%s)", _NO_ROWS, query.text[:200])
        self.note(query, kept)
        return answer

    def _why(self, kept: Kept, error: OneCacheError) -> OneCacheError:
        """Give what is wrong with a file that nobody but us could bring again."""
        problem = self.cache.store.problem(kept.file)
        there = isinstance(error, NotOnServer) and self.cache.store.path(kept.path).exists()
        return HashMismatch(f"{kept.path}: {problem}") if there else error

    def _old(self, query: Query, kept: Kept, error: OneCacheError) -> Answer:
        """Give what the server said last time, where it is away."""
        answer = self._served(query, kept)
        warnings.warn(
            f"{self.server} is away ({error}); its answer of {kept.asked_at} is used for "
            f"{query.method}, and what is kept of its datasets counts as true",
            CacheWarning,
            stacklevel=6,
        )
        return answer

    @contextmanager
    def _alone(self, query: Query) -> Iterator[None]:
        """Let one process ask, while the others that want the same wait for its answer."""
        if not query.lifetime:
            yield
            return
        with self.cache.store.lock(f"{FOLDER}/{query.id[:3]}"):
            yield

    # -- rows and files --------------------------------------------------------------------

    def _find(self, query: Query) -> Kept | None:
        kept = self._row(query)
        if not self.policy.pinned and (kept is None or kept.inconclusive):
            return self._adopted(query) or kept
        return kept

    def _row(self, query: Query) -> Kept | None:
        row = self.cache.tables.by_id(TABLE, [query.id]).get(query.id)
        return Kept.of(row) if row else None

    def datasets(self) -> list[str]:
        """Name the datasets of which answers are kept."""
        if TABLE not in self.cache.tables.names():
            return []
        sql = f"SELECT DISTINCT dataset FROM {TABLE} WHERE server = ? AND dataset <> '' ORDER BY 1"
        return [row["dataset"] for row in self.cache.tables.rows(sql, [self.server])]

    def _folder(self, query: Query) -> str:
        dataset = re.sub(r"[^A-Za-z0-9.-]+", "_", query.dataset).strip("._") or "server"
        return f"{FOLDER}/{settings.server_key(self.server)}/{dataset}/{query.id[:2]}"

    def _keep(self, query: Query, answer: Answer, version: Version, function: str) -> Kept:
        """Write an answer and its row."""
        empty = query.timeboxed and answer.status == 200 and not answer.rows
        about = {
            "id": query.id,
            "server": query.server,
            "dataset": query.dataset,
            "uuid": version.uuid,
            "last_mod": version.last_mod,
            "method": query.method,
            "query": query.text,
            "inconclusive": empty,
            "debug": answer.about.get("debug"),
            "versions": versions(),
        }
        data = pack(Answer(answer.columns, answer.rows, answer.media, answer.status, about))
        digest = hashlib.sha256(data).hexdigest()
        path = f"{self._folder(query)}/{query.id}-{digest[:12]}.pqt"
        file = File(path, size=len(data), hash=digest)
        if self.cache.store.state(file) is not FileState.GOOD:
            self.cache.store.write(path, data, algorithm="sha256")
        about.update(rows=len(answer.rows), status=answer.status, columns=list(answer.columns))
        return self._add(about, file, now(), raw=query.raw, function=function)

    def _add(
        self,
        about: Mapping[str, Any],
        file: File,
        asked_at: str,
        *,
        raw: str,
        function: str = "",
    ) -> Kept:
        row = {
            **about,
            "function": function,
            "raw": raw,
            "columns": json.dumps(about["columns"]),
            "path": file.path,
            "size": file.size,
            "hash": file.hash,
            "asked_at": asked_at,
        }
        self.cache.tables.add(TABLE, [row], origin=self.server)
        return Kept.of(row)

    def _adopted(self, query: Query) -> Kept | None:
        """Give the newest answer on disk, which another process may have asked for."""
        folder = self._folder(query)
        known = self._row(query)
        for name in _newest_first(self.cache.store.path(folder), query.id):
            path = f"{folder}/{name}"
            if known is not None and known.path == path:
                return known
            digest = self.cache.store.digest(path, "sha256")
            if name != f"{query.id}-{digest[:12]}.pqt":
                continue  # being written, or damaged
            return self._adopt(query, path, digest)
        return None

    def _adopt(self, query: Query, path: str, digest: str) -> Kept:
        """Make again the row that a file tells of itself; who asked for it is not in it."""
        place = self.cache.store.path(path)
        stat = place.stat()
        written = dt.datetime.fromtimestamp(stat.st_mtime, dt.timezone.utc)
        file = File(path, size=stat.st_size, hash=digest)
        asked_at = written.isoformat(timespec="seconds")
        return self._add(read_about(place), file, asked_at, raw=query.raw)

    # -- the record ------------------------------------------------------------------------

    def note(self, query: Query, kept: Kept) -> None:
        """Record that an answer was read, or let what is computed from it know."""
        given = _given.get()
        if given is not None:
            given.append((query, kept))
        elif self.cache.recorder.on:
            self.cache.recorder.add(
                Entry(
                    "query",
                    kept.id,
                    path=kept.path,
                    revision=kept.last_mod,
                    size=kept.size,
                    hash=kept.hash,
                    source=self.server,
                    mode=self.mode,
                    note=_NO_ROWS if kept.inconclusive else "",
                    at=now(),
                )
            )

    def remember(
        self, dataset: str, name: str, compute: Callable[[], T], *, noted: bool = True
    ) -> T:
        """Compute once what is wanted often; whoever uses it has read the answers behind it.

        Parameters
        ----------
        dataset, name : str
            What it is.
        compute : callable
            Reads answers.
        noted : bool
            Whether its use is recorded, once.

        Returns
        -------
        any
            The same object each time.
        """
        key = (dataset, name, self.policy.asks)
        if key not in self._memory:
            given: list[tuple[Query, Kept]] = []
            token = _given.set(given)
            try:
                self._memory[key] = (compute(), given)
            finally:
                _given.reset(token)
        value, answers = self._memory[key]
        if noted and (self.cache.recorder.on or _given.get() is not None):
            for query, kept in answers:
                if _given.get() is not None or not self.cache.recorder.has("query", kept.id):
                    self.note(query, kept)
        found: T = value
        return found

    def forget(self) -> None:
        """Let everything that is remembered be computed again."""
        self._memory.clear()

    # -- what is said ----------------------------------------------------------------------

    def _missing(self, query: Query, function: str) -> QueryNotCached:
        pinned = self.policy.pinned
        there = "the manifest pins no answer" if pinned else "no answer is kept"
        known = self.datasets()
        hint = ""
        if query.dataset and query.dataset not in known:
            others = f"; there is: {', '.join(known)}" if known else ""
            hint = f" Nothing of {query.dataset!r} is there{others}."
        return QueryNotCached(
            f"{function}: {there} to this query in {self.cache.cache_dir}, and mode "
            f"{self.mode!r} asks no server.{hint} Run it once with mode='remote'"
            f"{' and freeze the cache again' if pinned else ''}. The query to {self.server}, "
            f"dataset {query.dataset!r}, is:\n{_shortened(query.text)}"
        )

    def _unusable(self, error: OneCacheError, query: Query, function: str) -> OneCacheError:
        lost = isinstance(error, (NotInCache, NotOnServer))
        kind = QueryNotCached if lost else type(error)
        return kind(
            f"{function}: the answer that is kept cannot be used: {error} The query is:\n"
            f"{_shortened(query.text)}"
        )


def _is_down(error: TransferFailed | RemoteError) -> bool:
    """Whether a server is away or broken, rather than of another opinion."""
    if isinstance(error, RemoteError):
        return isinstance(error, ServerTimeout) or (error.status or 0) >= 500
    return True


def _newest_first(folder: Path, start: str) -> list[str]:
    """Name the files of a folder whose names begin so."""
    found = []
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(start):
                # another process may remove it meanwhile
                with suppress(FileNotFoundError):
                    found.append((entry.stat().st_mtime_ns, entry.name))
    return [name for _, name in sorted(found, reverse=True)]


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
