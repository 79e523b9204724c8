"""Requests to an Alyx server, one pool of connections: waits as told, explains what went wrong."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from one_cache.errors import Forbidden, RemoteError, TransferFailed

if TYPE_CHECKING:
    import requests

_log = logging.getLogger(__name__)

_CONNECT = 10.0  # s
_ATTEMPTS = 5
_LONGEST_WAIT = 300.0  # s; a server that asks for more is reported instead
_HEALS = (429, 502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)


class Transport:
    """Sends requests to one server and gives its answers, success or not.

    Parameters
    ----------
    name : str
        Address of the server, without credentials.
    timeout : float
        Seconds without a byte after which a request fails.
    """

    def __init__(self, name: str, timeout: float = 60.0) -> None:
        self.name = name
        self.timeout = timeout
        self._session: requests.Session | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "timeout": self.timeout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _session=None, _lock=threading.Lock())

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        token: str | None = None,
        accept: str = "application/json",
        stream: bool = False,
    ) -> requests.Response:
        """Send a request; wait and repeat it while the server is busy.

        Parameters
        ----------
        method, path : str
            For instance ``"GET"``, ``"/sessions"``.
        params, data : mapping, optional
            Query, form.
        token : str, optional
            Of the user.
        accept : str
            Media type wanted.
        stream : bool
            Leave the body to be read.

        Returns
        -------
        requests.Response
            Of any status but those of a busy server.

        Raises
        ------
        TransferFailed
            The server cannot be reached, or stays busy.
        """
        headers = {"Accept": accept, **({"Authorization": f"Token {token}"} if token else {})}
        for attempt in range(_ATTEMPTS):
            _log.debug("%s %s%s", method, self.name, path)
            response = self._once(
                method, path, params=params, data=data, headers=headers, stream=stream
            )
            if response.status_code not in _HEALS:
                return response
            self._wait(response, path, attempt)
        raise TransferFailed(f"{self.name} is busy: {_ATTEMPTS} attempts at {path}")

    def _once(self, method: str, path: str, **options: Any) -> requests.Response:
        import requests

        # a form holds the password: it never follows a redirect
        options["allow_redirects"] = method == "GET"
        options["timeout"] = (_CONNECT, self.timeout)
        for attempt in range(2):
            try:
                return self._pool().request(method, self.name + path, **options)
            except (requests.exceptions.InvalidURL, requests.exceptions.SSLError) as error:
                raise RemoteError(f"{self.name} cannot be asked: {_reason(error)}") from None
            except requests.exceptions.Timeout:
                raise TransferFailed(f"{self.name} did not answer in time") from None
            except (
                requests.exceptions.ConnectionError,
                requests.exceptions.ChunkedEncodingError,
            ) as error:
                # a server closes idle connections: the first use of one may find it closed
                if attempt or "NewConnectionError" in repr(error):
                    raise TransferFailed(
                        f"{self.name} cannot be reached ({_reason(error)})"
                    ) from None
            except requests.exceptions.RequestException as error:
                raise RemoteError(f"{self.name} cannot be asked: {_reason(error)}") from None
        raise TransferFailed(f"{self.name} cannot be reached")

    def _pool(self) -> requests.Session:
        """Give the session; requests come from several threads."""
        import requests
        from requests.adapters import HTTPAdapter

        with self._lock:
            if self._session is None:
                self._session = requests.Session()
                # an `auth` of our own: otherwise ~/.netrc would replace the header of the token
                self._session.auth = _as_it_is
                for scheme in ("http://", "https://"):
                    self._session.mount(scheme, HTTPAdapter(pool_maxsize=16))
            return self._session

    def _wait(self, response: requests.Response, path: str, attempt: int) -> None:
        told = retry_after(response.headers)
        seconds = told if told is not None else 0.5 * 2**attempt
        said = f"{self.name} answers {response.status_code} to {path}"
        response.close()
        # a server that is down behind its proxy says nothing of when it is back
        if attempt + 1 == _ATTEMPTS or (told is None and attempt == 2):
            raise TransferFailed(f"{said}, {attempt + 1} times", told)
        if seconds > _LONGEST_WAIT:
            raise TransferFailed(f"{said}: come back in {seconds:.0f} s", told)
        _log.info("%s; waiting %.1f s", said, seconds)
        # many clients of a lab that were told the same time do not all come back at once
        time.sleep(seconds + random.uniform(0, min(1.0, 0.1 + seconds / 10)))


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _reason(error: Exception) -> str:
    """Give the cause of a failure without the request that it repeats."""
    inner = getattr(error.args[0], "reason", None) if error.args else None
    return f"{type(inner or error).__name__}"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how many seconds a server asks to wait: a number, or a date by its own clock.

    Examples
    --------
    >>> retry_after({"Retry-After": "60"}), retry_after({})
    (60.0, None)
    """
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(text)
        now = parsedate_to_datetime(headers["Date"]).timestamp() if "Date" in headers else None
        return max(0.0, until.timestamp() - (time.time() if now is None else now))
    except (ValueError, TypeError):
        return None


def detail(response: requests.Response) -> str:
    """Give what the server says in an answer that is no success."""
    try:
        said = response.json()
    except ValueError:
        kind = response.headers.get("Content-Type", "").partition(";")[0]
        text = "" if kind == "text/html" else response.text.strip()[:500]
        return text or f"a page of type {kind or 'unknown'}"
    if isinstance(said, dict):
        said.pop("status_code", None)
        said = said.get("detail", said)
    return said if isinstance(said, str) else str(said)


def refusal(response: requests.Response, what: str) -> Exception:
    """Give the error that an answer without success stands for, in the server's own words.

    Parameters
    ----------
    response : requests.Response
        Of a status other than 200.
    what : str
        Server and request.

    Returns
    -------
    Forbidden or RemoteError
    """
    status = response.status_code
    if status in (401, 403):
        return Forbidden(f"{what}: {detail(response)} ({status})")
    if status in _REDIRECTS:
        where = response.headers.get("Location", "elsewhere").partition("?")[0]
        return RemoteError(f"{what}: the server is at another address, {where}", status)
    return RemoteError(f"{what}: {status}, {detail(response)}", status)
