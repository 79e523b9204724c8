"""Answers of servers: kept for minutes, and for when the server is away.

One small cache for all that ask questions over HTTP (Alyx, neuPrint, Allen). An answer is named
by server, user and request, so no user is ever given what another one was allowed to see. While
it is fresh, nothing is asked. Later the server is asked again, and only if it is away does the
old answer serve, with a warning that says how old it is. What a server refuses or gets wrong is
never covered by an old answer.

On disk an answer is one file, readable by its owner only, replaced whole or not at all; a file
that is truncated, foreign or of another user counts as absent. Names are hashes: neither a
query nor a credential can be read from them.

Why not `requests-cache`, which does most of this: on top of requests it takes about ten times as
long to import as this module (100 ms and 320 modules against 10 ms and 13, in one run); its keys
are made after credentials have been redacted, so two users' requests share one entry even with
``match_headers=["Authorization"]``; and with ``stale_if_error`` an old answer is served without
a word, for a server's own errors too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from one_cache.atomic import write_bytes
from one_cache.errors import CacheWarning, TransferFailed

_log = logging.getLogger(__name__)

MINUTES = 5 * 60.0
"""How long an answer is taken as it is, in s, where the caller has no better idea."""

WEEK = 7 * 24 * 3600.0

_FORMAT = 1
_KEEP = 30 * 24 * 3600.0  # s; an older answer is no help to anyone
_PRUNE_EVERY = 200  # writes between two looks at the whole folder
_AWAY = 30.0  # s for which a server that was away is not asked what is known anyway
_IN_MEMORY = 512


@dataclass(frozen=True)
class Cached:
    """An answer that was kept.

    Attributes
    ----------
    value : any
        What JSON can hold, or bytes.
    stored : float
        When it was given, s since 1970.
    ttl : float
        How long it is fresh, s.
    """

    value: Any
    stored: float
    ttl: float

    @property
    def age(self) -> float:
        """Seconds since it was given."""
        return time.time() - self.stored

    @property
    def fresh(self) -> bool:
        """Whether it may be given without asking; one from the future may not."""
        return 0 <= self.age < self.ttl


def request_key(
    server: str, user: str, request: str, params: Mapping[str, Any] | None = None
) -> str:
    """Name a request of a user to a server.

    Parameters
    ----------
    server : str
        Address.
    user : str
        Who asks; something that names the user, and no secret, is enough.
    request : str
        Method and path, or a whole query.
    params : mapping, optional
        Its parameters, in any order; what JSON can hold.

    Returns
    -------
    str
        ``<server and user>/<request>``, hex digits; equal only for equal requests of one user.

    Examples
    --------
    >>> ask = "GET /sessions"
    >>> alice = request_key("https://alyx.lab.org", "alice", ask, {"lab": "a", "number": 1})
    >>> alice == request_key("https://alyx.lab.org", "alice", ask, {"number": 1, "lab": "a"})
    True
    >>> alice == request_key("https://alyx.lab.org", "bob", ask, {"lab": "a", "number": 1})
    False
    """
    # folders are private, so users of one machine who share a server's account have one each
    owner = os.getuid() if hasattr(os, "getuid") else ""
    asked = [request, sorted((params or {}).items())]
    return f"{_digest([server, user, owner])[:16]}/{_digest(asked)}"


def _digest(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


class ResponseCache:
    """Answers by key, on disk where there is a folder, else for the life of this object.

    Parameters
    ----------
    folder : path-like or None
        Where to keep them, ``<cache>/.one_cache/responses``; made when first needed.
    writable : bool
        Whether the folder may be written; otherwise it is only read.
    max_bytes : int
        The oldest answers go when the folder holds more.

    Examples
    --------
    >>> responses = ResponseCache(None)
    >>> key = request_key("https://alyx.lab.org", "alice", "GET /labs")
    >>> responses.answer(key, lambda: ["cortexlab"])
    ['cortexlab']
    >>> responses.answer(key, lambda: 1 / 0)
    ['cortexlab']
    >>> responses.get(key).fresh
    True
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        writable: bool = True,
        max_bytes: int = 256 << 20,
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        self.writable = writable
        self.max_bytes = max_bytes
        self._memory: dict[str, bytes] = {}
        self._away: dict[str, float] = {}
        self._writes = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder) if self.folder else None!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def answer(
        self,
        key: str,
        ask: Callable[[], Any],
        *,
        ttl: float = MINUTES,
        no_cache: bool = False,
        source: str = "the server",
    ) -> Any:
        """Give the kept answer while it is fresh, else ask; an old one serves one who is away.

        Parameters
        ----------
        key : str
            See :func:`request_key`.
        ask : callable
            Asks the server.
        ttl : float
            How long a new answer is fresh, s.
        no_cache : bool
            Ask in any case, and fail if the server is away; the new answer is kept.
        source : str
            Name of the server, for the warning.

        Returns
        -------
        any
            What JSON can hold, or bytes; the caller may change it.

        Raises
        ------
        TransferFailed
            The server is away and nothing is kept.

        Warns
        -----
        CacheWarning
            The server is away; an old answer is given.
        """
        kept = None if no_cache else self.get(key)
        if kept is not None and (kept.fresh or self._is_away(key)):
            if not kept.fresh:
                _warn_old(kept, source, "it was away just now")
            return kept.value
        try:
            value = ask()
        except TransferFailed as error:
            self._away[key.partition("/")[0]] = time.monotonic()
            if kept is None:
                raise
            _warn_old(kept, source, str(error))
            return kept.value
        self._away.pop(key.partition("/")[0], None)
        self.put(key, value, ttl)
        return value

    def _is_away(self, key: str) -> bool:
        since = self._away.get(key.partition("/")[0])
        return since is not None and time.monotonic() - since < _AWAY

    def get(self, key: str) -> Cached | None:
        """Give what is kept under `key`, fresh or not, or None."""
        data = self._memory.get(key)
        if data is None and self.folder is not None:
            with suppress(OSError):
                data = (self.folder / key).read_bytes()
        return None if data is None else _unpack(data)

    def put(self, key: str, value: Any, ttl: float = MINUTES) -> None:
        """Keep `value` under `key`; a folder that refuses costs only the keeping.

        Parameters
        ----------
        key : str
            See :func:`request_key`.
        value : any
            What JSON can hold, or bytes.
        ttl : float
            How long it is fresh, s.
        """
        data = _pack(Cached(value, time.time(), ttl))
        if self.folder is None or not self.writable:
            self._remember(key, data)
            return
        path = self.folder / key
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_bytes(path, data, private=True)
        except OSError as error:
            _log.debug("an answer is kept in memory only: %s", error)
            self._remember(key, data)
            return
        with self._lock:
            self._memory.pop(key, None)
            self._writes += 1
            due = self._writes % _PRUNE_EVERY == 1
        if due:
            self.prune()

    def _remember(self, key: str, data: bytes) -> None:
        with self._lock:
            self._memory.pop(key, None)
            self._memory[key] = data
            size = sum(map(len, self._memory.values()))
            while len(self._memory) > 1 and (
                len(self._memory) > _IN_MEMORY or size > self.max_bytes
            ):
                size -= len(self._memory.pop(next(iter(self._memory))))

    def prune(self) -> int:
        """Remove answers of more than 30 days, then the oldest ones until the rest fits.

        Returns
        -------
        int
            Bytes that are left.
        """
        found = []
        for path in self.folder.glob("*/*") if self.folder is not None else ():
            # another process may remove it meanwhile
            with suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        found.sort()
        left = sum(size for _, size, _ in found)
        for stored, size, path in found:
            if left <= self.max_bytes and time.time() - stored <= _KEEP:
                break
            if self.writable:
                with suppress(OSError):
                    path.unlink()
                    left -= size
        return left


def _pack(kept: Cached) -> bytes:
    """Give a line that describes the answer, then the answer."""
    binary = isinstance(kept.value, bytes)
    body = kept.value if binary else json.dumps(kept.value).encode()
    about = {
        "format": _FORMAT,
        "stored": kept.stored,
        "ttl": kept.ttl,
        "bytes": len(body),
        "binary": binary,
    }
    return json.dumps(about).encode() + b"\n" + body


def _unpack(data: bytes) -> Cached | None:
    """Give the answer that :func:`_pack` packed; None for anything else."""
    line, _, body = data.partition(b"\n")
    try:
        about = json.loads(line)
        if about["format"] != _FORMAT or about["bytes"] != len(body):
            return None
        value = body if about["binary"] else json.loads(body)
        return Cached(value, float(about["stored"]), float(about["ttl"]))
    except (ValueError, KeyError, TypeError):
        return None


def _warn_old(kept: Cached, source: str, reason: str) -> None:
    warnings.warn(
        f"{source} is away; its answer of {readable_time(kept.age)} ago is used ({reason})",
        CacheWarning,
        stacklevel=3,
    )


def readable_time(seconds: float) -> str:
    """Give a span of time as people say it.

    Examples
    --------
    >>> readable_time(3), readable_time(100), readable_time(5000), readable_time(200_000)
    ('3 seconds', '2 minutes', '1 hour', '2 days')
    """
    unit, length = next(
        (one for one in (("day", 86400), ("hour", 3600), ("minute", 60)) if seconds >= one[1]),
        ("second", 1),
    )
    count = round(seconds / length)
    return f"{count} {unit}{'' if count == 1 else 's'}"
