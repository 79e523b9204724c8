"""The client of neuprint-python, standing on a cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import neuprint  # type: ignore[import-untyped]  # it ships no types
import requests
from neuprint.queries import fetch_meta  # type: ignore[import-untyped]  # it ships no types
from requests.adapters import HTTPAdapter

from one_cache import settings
from one_cache.errors import (
    InvalidArgument,
    ModeError,
    QueryNotCached,
    RemoteError,
    near_misses,
)
from one_cache.modes import policy, read_mode
from one_cache.neuprint.answers import Answer, parsed
from one_cache.neuprint.caller import calling_function, told
from one_cache.neuprint.cypher import is_write, rewritten
from one_cache.neuprint.holdings import Holdings
from one_cache.neuprint.kept import Kept, Version
from one_cache.neuprint.query import CYPHER, Query, SetupError, address_of
from one_cache.neuprint.rois import rows_of
from one_cache.neuprint.server import (
    Call,
    QueryRefused,
    body_of,
    is_lasting,
    refusal,
    send,
    table_of,
    words,
)

if TYPE_CHECKING:
    from one_cache.cache import Cache

_NO_TOKEN = "no-token-in-this-mode"
# whether the caller wishes the transport by Arrow
_arrow: ContextVar[bool] = ContextVar("arrow", default=False)


class Reply:
    """What is needed of a response: its bytes and its content type."""

    def __init__(self, content: bytes, media: str) -> None:
        self.content = content
        self.headers = {"Content-Type": media}


class Client(neuprint.Client):  # type: ignore[misc]  # it ships no types
    """A ``neuprint.Client`` that keeps what it was told.

    All functions of neuprint-python work through it. In mode ``remote`` an answer that is kept
    and still true is not asked for again; in mode ``local`` the kept answers serve; in mode
    ``fixed`` those that the manifest pins. ``local`` and ``fixed`` need no server and no token.

    Parameters
    ----------
    server : str
        Address, with or without ``https://``.
    dataset : str, optional
        With its tag; needed where there are several.
    token : str, optional
        Otherwise that of ``NEUPRINT_APPLICATION_CREDENTIALS``, or of the credentials file.
    verify : bool or str
        Whether the certificate of the server is checked, or the file to check it with.
    progress : bool
        Progress bars.
    cache : Cache or path-like, optional
        Where answers are kept, or the folder of a cache to open for them; one for this server
        under the default folder when not given.
    mode : {"remote", "local", "fixed"}, optional
        That of the cache when not given; ``remote`` where no cache is given either.
    timeout : float
        Longest silence of the server, s.
    tries : int
        How often a request is sent, at most, while the server is away.

    Raises
    ------
    SetupError
        No such dataset, no token, or no https address.
    ModeError
        Mode ``fixed`` on a cache that was not opened in it.
    ServerAway
        Mode ``remote``, the server is away, and nothing of it is kept.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from one_cache import Cache
    >>> client = Client("np.lab.org", "hemibrain:v1.2.1", cache=Cache(mkdtemp()))
    >>> client.mode
    'local'
    >>> client.fetch_custom("MATCH (n:Neuron) RETURN count(n)")
    Traceback (most recent call last):
    one_cache.errors.QueryNotCached: fetch_custom: no answer is kept to this query in ..., ...
    """

    def __init__(
        self,
        server: str,
        dataset: str | None = None,
        token: str | None = None,
        verify: bool | str = True,
        progress: bool = True,
        *,
        cache: Cache | str | os.PathLike[str] | None = None,
        mode: str | None = None,
        timeout: float = 300.0,
        tries: int = 4,
    ) -> None:
        address = address_of(server)
        cache, mode = _cache_and_mode(address, cache, mode)
        self._holdings = Holdings(cache, address, mode)
        self._timeout = timeout
        self._tries = tries
        known = token or os.environ.get("NEUPRINT_APPLICATION_CREDENTIALS")
        if not known and self._asks:
            known = settings.saved_credentials(address).token
        if not known and self._asks:
            raise SetupError(
                f"{address} wants a token: pass token=, or set NEUPRINT_APPLICATION_CREDENTIALS. "
                "You find yours in the account menu of the neuPrint page"
            )
        super().__init__(address, dataset, known or _NO_TOKEN, verify, progress)

    # -- what it is ------------------------------------------------------------------------

    @property
    def cache(self) -> Cache:
        """The cache that it stands on."""
        return self._holdings.cache

    @property
    def mode(self) -> str:
        """``"remote"``, ``"local"`` or ``"fixed"``."""
        return self._holdings.mode

    @property
    def _asks(self) -> bool:
        return self._holdings.policy.asks

    def _identity(self) -> tuple[Any, ...]:
        places = (str(self.cache.cache_dir), str(self.cache.tables_dir))
        return (type(self), self.server, self.dataset, self.token, self.verify, self.mode, *places)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Client) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __deepcopy__(self, memo: dict[int, Any]) -> Client:
        # a copy for a thread, or within criteria, is no second client of the user's: upstream
        # registers it as one, and may forget the default client over it
        copy = object.__new__(type(self))
        memo[id(self)] = copy
        copy.__dict__.update(deepcopy(self.__dict__, memo))
        return copy

    def __repr__(self) -> str:
        place = f"cache={str(self.cache.cache_dir)!r}, mode={self.mode!r}"
        dataset = getattr(self, "dataset", None)  # shown while it is made, too
        return f"Client({self.server!r}, {dataset!r}, {place})"

    # -- datasets --------------------------------------------------------------------------

    def fetch_datasets(self, reload_cache: bool = False) -> dict[str, Any]:
        """Fetch what the server says of its datasets; this is how answers go out of date.

        Parameters
        ----------
        reload_cache : bool
            Ask again; otherwise the server is asked once, when the client is made.

        Returns
        -------
        dict
            By name, with ``uuid``, ``last-mod``, ``ROIs`` and more.
        """
        if reload_cache:
            self._holdings.forget()
        return self._datasets(noted=True)

    def _datasets(self, *, noted: bool) -> dict[str, Any]:
        url = f"{self.server}/api/dbmeta/datasets"
        found: dict[str, Any] = self._holdings.remember(
            "", "datasets", lambda: self._fetch_json(url), noted=noted
        )
        return found

    def _select_dataset(self, dataset: str | None, reload_cache: bool) -> str:
        # called when the session is made; what is sent again is decided in `server.send` alone
        self.session.mount("https://", HTTPAdapter(max_retries=0))
        if dataset and not self._asks:
            return dataset
        # `reload_cache` is the second try of the base class with what may be old; ours is not
        known = self._known_datasets()
        if dataset in known:
            return dataset
        if not dataset and len(known) == 1:
            return known[0]
        there = ", ".join(known) or "none"
        if not dataset:
            raise SetupError(f"name a dataset of {self.server}; there are: {there}")
        near = near_misses(dataset, known)
        raise SetupError(f"{self.server} has no dataset {dataset!r}; there are: {there}.{near}")

    def _known_datasets(self) -> list[str]:
        try:
            return list(self._datasets(noted=False))
        except QueryNotCached:
            return self._holdings.datasets()

    def _version(self, dataset: str) -> Version:
        """Give the state of a dataset, as of the one look at the server."""
        if not dataset:
            return Version()
        found = self._datasets(noted=False).get(dataset, {})
        return Version(str(found.get("uuid") or ""), str(found.get("last-mod") or ""))

    # -- what is wanted often --------------------------------------------------------------

    @property
    def meta(self) -> dict[str, Any]:
        """Metadata of the dataset, as ``fetch_meta`` gives it."""
        found: dict[str, Any] = self._remember("meta", lambda: fetch_meta(client=self))
        return found

    @property
    def primary_rois(self) -> list[str]:
        """Names of the ROIs that do not overlap, sorted."""
        found: list[str] = self._remember("primary", lambda: sorted(self.meta["primaryRois"]))
        return found

    @property
    def all_rois(self) -> list[str]:
        """Names of all ROIs, sorted."""
        from neuprint.queries.rois import (  # type: ignore[import-untyped]  # it ships no types
            _all_rois_from_meta,
        )

        found: list[str] = self._remember("rois", lambda: _all_rois_from_meta(self.meta))
        return found

    def fetch_neuron_keys(self) -> list[str]:
        """Fetch the names of the properties of neurons."""
        fetch = neuprint.Client.fetch_neuron_keys.__wrapped__
        found: list[str] = self._remember("neuron keys", lambda: fetch(self))
        return found

    def fetch_synapse_nt_keys(self) -> list[str]:
        """Fetch the names of the neurotransmitter properties of synapses."""
        fetch = neuprint.Client.fetch_synapse_nt_keys.__wrapped__
        found: list[str] = self._remember("nt keys", lambda: fetch(self))
        return found

    def _remember(self, name: str, compute: Callable[[], Any]) -> Any:
        return self._holdings.remember(self.dataset, name, compute)

    # -- requests --------------------------------------------------------------------------

    def fetch_custom(
        self,
        cypher: str,
        dataset: str = "",
        format: str = "pandas",
        use_arrow: bool | None = False,
    ) -> Any:
        """Ask a Cypher query.

        Parameters
        ----------
        cypher : str
            The query. One that writes is sent and never kept.
        dataset : str
            Another one than that of the client.
        format : {"pandas", "json"}
            A frame, or the response as a dict of ``columns``, ``data`` and ``debug``.
        use_arrow : bool or None
            Transport by Arrow, which loses types; None takes it where the server has it.

        Returns
        -------
        pandas.DataFrame or dict

        Raises
        ------
        QueryNotCached
            No answer is kept, and the mode asks nobody.
        QueryTimeout
            The database gave up; what was answered before is kept.
        QueryRefused
            The query is wrong.
        """
        if format not in ("pandas", "json"):
            raise InvalidArgument(f"format must be 'pandas' or 'json', got {format!r}")
        token = _arrow.set(use_arrow is not False)
        try:
            return super().fetch_custom(cypher, dataset, format, use_arrow)
        finally:
            _arrow.reset(token)

    def arrow_endpoint(self) -> bool:
        """Whether the server can answer by Arrow; it is asked only if that is wanted."""
        return _arrow.get() and bool(super().arrow_endpoint())

    def _fetch_json(self, url: str, json: Any = None, ispost: bool = False) -> Any:
        if ispost and url == f"{self.server}/api/{CYPHER}":
            return self._ask_cypher(url, json)
        try:
            return parsed(self._fetch(url, json, ispost).content)
        except ValueError as error:
            raise RemoteError(f"{url}: the server answered with what is no JSON") from error

    def _fetch(self, url: str, json: Any = None, ispost: bool = False) -> Reply | Any:
        below = f"{self.server}/api/"
        if not ispost and url.startswith(below):
            query = Query.of_path(self.server, url[len(below) :])
        elif ispost and url == f"{below}custom/arrow" and not is_write(json["cypher"]):
            cypher, dataset = json["cypher"], json["dataset"]
            query = Query.of_cypher(self.server, dataset, cypher, "custom/arrow")
        else:
            # profiles, tokens, transactions and keys that are written
            return self._send(self._call(url, json, ispost, repeat=not ispost))
        call = self._call(url, json, ispost)

        def ask() -> Answer:
            return Answer.of_body(*body_of(self._send(call)))

        answer, _ = self._answer(query, call, ask)
        return Reply(answer.cell, answer.media)

    def _ask_cypher(self, url: str, json: dict[str, str]) -> dict[str, Any]:
        cypher, dataset = json["cypher"], json["dataset"]
        if is_write(cypher):
            return table_of(self._send(self._call(url, json, True, repeat=False)))
        call = self._call(url, json, True)

        def ask() -> Answer:
            found = table_of(self._send(call))
            debug = found.get("debug")
            about = {} if debug == rewritten(cypher, dataset) else {"debug": debug}
            return Answer(found["columns"], found["data"] or [], about=about)

        query = Query.of_cypher(self.server, dataset, cypher)
        answer, kept = self._answer(query, call, ask)
        debug = rewritten(cypher, dataset) if kept.debug is None else kept.debug
        return {"columns": list(answer.columns), "data": rows_of(answer), "debug": debug}

    def _answer(self, query: Query, call: Call, ask: Callable[[], Answer]) -> tuple[Answer, Kept]:
        """Give an answer that is kept or asked for; a refusal that is kept is raised again."""

        def asked() -> Answer:
            try:
                return ask()
            except QueryRefused as error:
                if error.status != 400 or not is_lasting(words(error.response)):
                    raise
                return Answer.of_refusal(400, error.response.text)

        answer, kept = self._holdings.answer(query, asked, self._version, calling_function)
        if answer.status != 200:
            response = requests.Response()
            response.status_code, response._content = answer.status, answer.cell.encode()
            response.url = call.url
            raise refusal(told(call), response)
        return answer, kept

    def _call(self, url: str, json: Any, ispost: bool, *, repeat: bool = True) -> Call:
        return Call("POST" if ispost else "GET", url, json=json, repeat=repeat)

    def _send(self, call: Call) -> requests.Response:
        if not self._asks:
            raise ModeError(
                f"{call.method} {call.url} is never kept, and mode {self.mode!r} asks no server"
            )
        options = {"verify": self.verify, "timeout": self._timeout, "tries": self._tries}
        return send(self.session, told(call), **options)

    def post_raw_keyvalue(self, instance: str, key: str, value: bytes) -> None:
        """Store a value on the server; nothing of it is kept here."""
        if not isinstance(value, bytes):
            raise InvalidArgument(f"the value must be bytes, got {type(value).__name__}")
        url = f"{self.server}/api/raw/keyvalue/key/{instance}/{key}"
        self._send(Call("POST", url, data=value, repeat=False))


def _cache_and_mode(
    address: str, cache: Cache | str | os.PathLike[str] | None, mode: str | None
) -> tuple[Cache, str | None]:
    """Give the cache, and the mode where it is another one than that of the cache."""
    if cache is None or isinstance(cache, (str, os.PathLike)):
        from one_cache.cache import Cache

        folder = Path(cache) if cache else settings.default_cache_dir(address)
        return Cache(folder, mode=mode or "remote", silent=True), None
    if mode is None or cache.policy().pinned:
        return cache, None
    if policy(read_mode(mode)).pinned:
        raise ModeError(
            f"mode {mode!r} serves what a manifest pins, and this cache was opened in mode "
            f"{cache.mode!r}; open it so, Cache({str(cache.cache_dir)!r}, mode={mode!r})"
        )
    return cache, mode
