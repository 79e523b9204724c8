"""The REST interface of an Alyx server, for reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

from one_cache.errors import Forbidden, InvalidArgument, OneCacheError, RemoteError
from one_cache.remotes import Body
from one_cache.remotes.alyx.login import Login
from one_cache.remotes.alyx.pages import Pages
from one_cache.remotes.alyx.schema import (
    BUILT_IN,
    Filters,
    check_endpoint,
    check_filters,
    read_openapi,
)
from one_cache.remotes.alyx.transport import Transport, detail, refusal
from one_cache.remotes.alyx.values import as_text, uuid_of
from one_cache.responses import MINUTES, WEEK, ResponseCache, request_key

if TYPE_CHECKING:
    import requests

_PAGE = 1000  # records; the most that a server gives
_IDS = 80  # in a request: the line of a request is cut or refused at 4 kB by common servers
# their records can hold credentials, which are never written into a cache
_NOT_KEPT = ("data-repository",)


class AlyxClient:
    """Asks an Alyx server, and keeps what it answers for minutes.

    Parameters
    ----------
    base_url : str
        Address of the server. A user name and password in it are taken out and used.
    username, password, token : str, optional
        Who asks; otherwise from the environment, the settings file, or ONE-api's parameters.
        The token of a user is learned with the password once, and kept in the settings file.
    responses : ResponseCache, optional
        Where answers are kept; in memory when not given.
    timeout : float
        Seconds without a byte after which a request fails.

    Raises
    ------
    InvalidArgument
        Not an ``http`` or ``https`` address.

    Notes
    -----
    Nothing is asked before the first question, and nothing is ever prompted for.
    """

    def __init__(
        self,
        base_url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        responses: ResponseCache | None = None,
        timeout: float = 60.0,
    ) -> None:
        parts = urlsplit(base_url.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidArgument("the address of an Alyx server starts with http:// or https://")
        host = parts.netloc.rpartition("@")[2]
        self.name = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self.responses = responses if responses is not None else ResponseCache(None)
        self._private = ResponseCache(None)
        self._filters: Filters | None = None
        self._transport = Transport(self.name, timeout)
        self._login = Login(
            self.name,
            username=username or unquote(parts.username or "") or None,
            password=password or unquote(parts.password or "") or None,
            token=token,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, username={self.username!r})"

    @property
    def username(self) -> str | None:
        """Who asks; None where only a token says it."""
        return self._login.username

    # -- the interface of ONE-api ------------------------------------------------------------

    def rest(
        self,
        endpoint: str,
        action: str = "list",
        id: Any = None,
        *,
        no_cache: bool = False,
        **filters: Any,
    ) -> Any:
        """Ask one endpoint.

        Parameters
        ----------
        endpoint : str
            For instance ``"sessions"``, ``"data-repository"``; a query after ``?`` is read.
        action : {"list", "read"}
            Many records, or the one named by `id`.
        id : str or UUID, optional
            Id, name, or URL of a record.
        no_cache : bool
            Ask the server in any case; the new answer is kept.
        **filters
            Of the list. A list of values is joined by commas; what that means is up to the
            filter. None means that the filter is not set.

        Returns
        -------
        dict, list of dict, or Pages
            A record; or records, whose further pages are brought when they are needed.

        Raises
        ------
        InvalidArgument
            An endpoint, action or filter that does not exist.
        RemoteError
            The server's error, in its words; `status` has its number.
        Forbidden
            The login is missing, refused, or without the right.
        TransferFailed
            The server is away, and nothing is kept.
        """
        endpoint, _, asked = endpoint.strip("/").partition("?")
        filters = {**dict(parse_qsl(asked)), **filters}
        if action not in ("list", "read"):
            raise InvalidArgument(f"action must be 'list' or 'read', got {action!r}: this reads")
        known = self.filters()
        if action == "read":
            check_endpoint(endpoint, known)
            if id is None or filters:
                raise InvalidArgument(f"to read one of {endpoint} takes its id and no filter")
            name = quote(str(id).rstrip("/").rpartition("/")[2], safe="")
            return self.get(f"/{endpoint}/{name}", no_cache=no_cache)
        check_filters(endpoint, filters, known)
        if id is not None:
            given = filters.get("django")
            filters["django"] = ",".join(
                filter(None, (given and as_text(given), f"pk,{uuid_of(id)}"))
            )
        params = {name: as_text(value) for name, value in filters.items() if value is not None}
        return self.pages(f"/{endpoint}", params, no_cache=no_cache)

    def filters(self) -> Filters:
        """Give the endpoints and the filters of their lists.

        Returns
        -------
        mapping of str to list of str
            As the server describes itself, which is kept for a week; of a server that does not,
            or that is away, what this package knows.
        """
        if self._filters is None:
            key = request_key(self.name, "", "filters")
            kept = self.responses.get(key)
            if kept is None or not kept.fresh:
                # one that is away, or refuses to describe itself, may yet answer questions
                with suppress(OneCacheError):
                    self.responses.put(key, self._ask_filters(), WEEK)
                    kept = self.responses.get(key)
            self._filters = (kept.value if kept else None) or BUILT_IN
        return self._filters

    def _ask_filters(self) -> dict[str, list[str]]:
        response = self._transport.send(
            "GET", "/api/schema", accept="application/vnd.oai.openapi+json"
        )
        with suppress(ValueError):
            if response.status_code == 200:
                return read_openapi(response.json())
        return {}

    # -- answers -----------------------------------------------------------------------------

    def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        ttl: float = MINUTES,
        no_cache: bool = False,
    ) -> Any:
        """Give the answer to a GET, kept or new.

        Parameters
        ----------
        path : str
            For instance ``"/sessions"``.
        params : mapping, optional
            Its query.
        ttl : float
            How long the answer is fresh, s.
        no_cache : bool
            Ask in any case.

        Returns
        -------
        any
            What the JSON holds.

        Raises
        ------
        RemoteError, Forbidden, TransferFailed
            See :meth:`rest`.
        """
        kept = self._private if path.split("/")[1] in _NOT_KEPT else self.responses
        self._login.token(self._learn)
        key = request_key(self.name, self._login.mark, f"GET {path}", params)
        return kept.answer(
            key,
            lambda: self._json(self._request(path, params), path),
            ttl=ttl,
            no_cache=no_cache,
            source=self.name,
        )

    def pages(
        self, path: str, params: Mapping[str, str] | None = None, *, no_cache: bool = False
    ) -> Any:
        """Give a whole list, or its pages where it has several."""
        given = dict(params or {})
        first = self.get(path, given, no_cache=no_cache)
        if not isinstance(first, dict) or "results" not in first:
            return first
        begin = int(given.get("offset") or 0)
        if begin or len(first["results"]) >= first["count"] or not first["results"]:
            return first["results"]
        size = str(len(first["results"]))

        def fetch(offset: int) -> Mapping[str, Any]:
            # the server's own `next` is built from the host that it believes to have
            more = {**given, "limit": size, "offset": str(offset)}
            page: Mapping[str, Any] = self.get(path, more, no_cache=no_cache)
            return page

        return Pages(first, fetch, path.strip("/"))

    def every(
        self, path: str, params: Mapping[str, str] | None = None, *, no_cache: bool = False
    ) -> list[dict[str, Any]]:
        """Give all records of a list, each once.

        Filters that join give a record several times, and a list without order, read page by
        page, may too.
        """
        asked = {**(params or {}), "limit": str(_PAGE)}
        found = self.pages(path, asked, no_cache=no_cache)
        named = {
            one.get("id") or one.get("url") or one.get("name") or index: one
            for index, one in enumerate(found)
        }
        return list(named.values())

    def by_ids(
        self,
        path: str,
        ids: Sequence[str],
        *,
        field: str = "id",
        params: Mapping[str, str] | None = None,
        no_cache: bool = False,
    ) -> list[dict[str, Any]]:
        """Give the records of these ids, as many in one request as fit.

        Parameters
        ----------
        path : str
            List.
        ids : sequence of str
            UUIDs; the caller has made sure of it, as the server evaluates lists in a filter.
        field : str
            Field that has one of the ids, as the server names it.
        params : mapping, optional
            Further filters; a ``django`` among them is added to.
        no_cache : bool
            See :meth:`get`.
        """
        found: list[dict[str, Any]] = []
        unique = sorted(set(ids))
        given = dict(params or {})
        more = given.pop("django", "")
        for start in range(0, len(unique), _IDS):
            part = unique[start : start + _IDS]
            quoted = ",".join(f"'{one}'" for one in part)
            query = f"{field},{part[0]}" if len(part) == 1 else f"{field}__in,[{quoted}]"
            django = f"{query},{more}" if more else query
            found += self.every(path, {**given, "django": django}, no_cache=no_cache)
        return found

    def read(self, path: str, *, no_cache: bool = False) -> Any:
        """Give one record, or None where the server has none of that name."""
        try:
            return self.get(path, no_cache=no_cache)
        except RemoteError as error:
            if error.status == 404:
                return None
            raise

    def open(self, path: str) -> Body:
        """Open a file that the server itself gives, ``/cache.zip``."""
        response = self._request(path, None, accept="*/*", stream=True)
        length = response.headers.get("Content-Length", "")
        return Body(
            self._chunks(response, path),
            total=int(length) if length.isdigit() else None,
            close=response.close,
        )

    # -- requests ----------------------------------------------------------------------------

    def _request(
        self,
        path: str,
        params: Mapping[str, str] | None,
        *,
        accept: str = "application/json",
        stream: bool = False,
    ) -> requests.Response:
        """Send a GET with the token; one that the server refuses is renewed once."""
        for renewed in (False, True):
            token = self._login.token(self._learn)
            response = self._transport.send(
                "GET", path, params=params, token=token, accept=accept, stream=stream
            )
            if response.status_code == 200:
                return response
            said = detail(response) if response.status_code in (401, 403) else ""
            if not renewed and "invalid token" in said.lower():
                self._login.renew(token, self._learn)
            elif token is None and "credentials were not provided" in said:
                raise self._login.missing()
            else:
                raise refusal(response, self._what(path, response))
        raise Forbidden(self._login.explain("refuses the token"))

    def _what(self, path: str, response: requests.Response) -> str:
        query = urlsplit(response.url).query
        return f"{self.name} refuses GET {path}{f'?{query}' if query else ''}"

    def _learn(self, username: str, password: str) -> str:
        """Ask for the token of a user."""
        response = self._transport.send(
            "POST", "/auth-token", data={"username": username, "password": password}
        )
        if response.status_code == 400:
            raise Forbidden(
                f"{self.name} does not let {username!r} in: wrong user name or password"
            )
        if response.status_code != 200:
            raise refusal(response, f"{self.name} refuses POST /auth-token")
        answer = self._json(response, "/auth-token")
        token = answer.get("token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token:
            raise RemoteError(f"{self.name}: /auth-token gives no token; is this an Alyx server?")
        return token

    def _json(self, response: requests.Response, path: str) -> Any:
        try:
            return response.json()
        except ValueError:
            kind = response.headers.get("Content-Type", "something unknown")
            raise RemoteError(
                f"{self.name} answers {path} with {kind.partition(';')[0]}, not JSON; is it an "
                "Alyx server, and is there a login page before it?",
                response.status_code,
            ) from None

    def _chunks(self, response: requests.Response, path: str) -> Iterator[bytes]:
        import requests

        from one_cache.errors import TransferFailed

        try:
            yield from response.iter_content(1 << 20)
        except requests.exceptions.RequestException as error:
            raise TransferFailed(f"{self.name}{path} broke off ({type(error).__name__})") from None
