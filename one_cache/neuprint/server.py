"""Requests to a neuPrint server: in time, again where that helps, and errors that say what to do.

The errors are of our tree and of that of ``requests``, so scripts that catch ``HTTPError`` find
theirs. The server's own client waits without end and gives up on the first 502.
"""

from __future__ import annotations

import logging
import ssl
import time
from dataclasses import dataclass
from typing import Any

import requests

from one_cache.errors import Forbidden, RemoteError, ServerTimeout, TransferFailed
from one_cache.neuprint.answers import parsed
from one_cache.transfer.retry import backoff

_log = logging.getLogger(__name__)

CONNECT = 10.0  # s
_LONGEST_WAIT = 60.0  # s that a server may ask to wait
_SHOWN = 1500  # characters of a query in a message
_LASTING = ("neo.clienterror.statement", "neo.clienterror.procedure", "syntax", "not found")
_AGAIN = frozenset({429, 502, 503, 504})
_DROPPED = (
    requests.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


class _Answered:
    """What the errors of ``requests`` carry: the request and the response, where there is one."""

    request: Any = None
    response: Any = None


class QueryRefused(RemoteError, requests.HTTPError, _Answered):
    """The server understood and said no; `response` and `status` have its words."""


class QueryTimeout(ServerTimeout, requests.HTTPError, _Answered):
    """The server or its database gave up on a query, or did not answer in time."""


class TokenRefused(Forbidden, requests.HTTPError, _Answered):
    """The server wants a token, or another one."""


class ServerAway(TransferFailed, requests.ConnectionError, requests.HTTPError, _Answered):
    """The server cannot be reached, or says that it cannot answer now."""


Problem = QueryRefused | QueryTimeout | TokenRefused | ServerAway


@dataclass(frozen=True)
class Call:
    """One request, and what its errors should say of it.

    Attributes
    ----------
    method : str
        ``"GET"`` or ``"POST"``.
    url : str
        Without credentials.
    json, data : any, optional
        Body.
    about : str
        What it is, for messages: the function and the query.
    hint : str
        What to do when it takes too long.
    text : str
        The query, for messages.
    repeat : bool
        Whether it may be sent again; not for what changes something.
    """

    method: str
    url: str
    json: Any = None
    data: bytes | None = None
    about: str = ""
    hint: str = ""
    text: str = ""
    repeat: bool = True

    @property
    def shown(self) -> str:
        """The query as the end of a message."""
        text = self.text.strip()
        return f"\nThe query was:\n{text[:_SHOWN]}{'...' * (len(text) > _SHOWN)}" if text else ""


def send(
    session: requests.Session, call: Call, *, verify: bool | str, timeout: float, tries: int
) -> requests.Response:
    """Send a request.

    Parameters
    ----------
    session : requests.Session
        Holds the token.
    call : Call
        What to send.
    verify : bool or str
        As for ``requests``: whether, or with which file, the certificate is checked.
    timeout : float
        Longest silence of the server, s.
    tries : int
        How often it is sent, at most, while the server is away.

    Returns
    -------
    requests.Response
        Of status 2xx.

    Raises
    ------
    ServerAway
        It cannot be reached, cut the answer, or says 429, 502 or 503.
    QueryTimeout
        It did not answer in time, or says so of its database.
    TokenRefused
        401 or 403.
    QueryRefused
        Any other status, or a certificate that is not accepted.
    """
    sent = 1
    while True:
        try:
            return _once(session, call, verify, timeout)
        except (ServerAway, QueryTimeout) as error:
            wait = _wait(error, sent)
            if not call.repeat or sent >= tries or wait is None:
                raise
            _log.info("%s; trying again in %.1f s", error, wait)
            time.sleep(wait)
            sent += 1


def _once(
    session: requests.Session, call: Call, verify: bool | str, timeout: float
) -> requests.Response:
    try:
        response = session.request(
            call.method,
            call.url,
            json=call.json,
            data=call.data,
            verify=verify,
            timeout=(min(CONNECT, timeout), timeout),
        )
    except requests.exceptions.SSLError as error:
        if not isinstance(_cause(error), ssl.SSLCertVerificationError):
            raise ServerAway(f"{call.about}: no connection ({_reason(error)})") from error
        # no answer that is kept takes the place of one from a server that may be another one
        raise QueryRefused(
            f"{call.about}: the certificate of the server is not accepted ({_reason(error)}). If "
            "it is your own server, pass verify='its-certificate.pem'"
        ) from error
    except requests.ConnectTimeout as error:
        raise ServerAway(f"{call.about}: no connection within {CONNECT:.0f} s") from error
    except requests.Timeout as error:
        raise QueryTimeout(
            f"{call.about}: the server was silent for {timeout:g} s, and is not waited for any "
            f"longer. {call.hint}{call.shown}"
        ) from error
    except _DROPPED as error:
        raise ServerAway(f"{call.about}: no connection ({_reason(error)})") from error
    if response.ok:
        return response
    raise refusal(call, response)


def table_of(response: requests.Response) -> dict[str, Any]:
    """Read the table that a response holds.

    Parameters
    ----------
    response : requests.Response
        To a query.

    Returns
    -------
    dict
        ``columns``, ``data``, and what else the server says.

    Raises
    ------
    RemoteError
        It is none: a page to sign in, for instance.
    """
    try:
        found: dict[str, Any] = parsed(response.content)
        if isinstance(found["columns"], list) and isinstance(found["data"], (list, type(None))):
            return found
    except (ValueError, KeyError, TypeError):
        pass
    raise RemoteError(
        f"{response.url}: the server answered with what is no table: {response.text[:200]!r}"
    )


def body_of(response: requests.Response) -> tuple[bytes, str]:
    """Read what a response holds that is no table.

    Parameters
    ----------
    response : requests.Response
        With a skeleton, a mesh, metadata.

    Returns
    -------
    body : bytes
        As it came.
    media : str
        Its content type.

    Raises
    ------
    RemoteError
        It is a page for people, of whoever stands between us and the server.
    """
    media = response.headers.get("Content-Type", "")
    if media.lower().startswith("text/html"):
        raise RemoteError(
            f"{response.url}: a page came instead of data: {response.text[:200]!r}; open the "
            "address in a browser, the network may want you to sign in"
        )
    return response.content, media


def refusal(call: Call, response: requests.Response) -> Problem:
    """Give the error that a status means.

    Parameters
    ----------
    call : Call
        What was asked.
    response : requests.Response
        What came back.

    Returns
    -------
    QueryRefused, QueryTimeout, TokenRefused or ServerAway
        To be raised.
    """
    status, said = response.status_code, words(response)
    told = f"{call.about}: the server answered {status}{f': {said}' if said else ''}"
    error: Problem
    if status == 504 or is_timeout(status, said):
        said = said or "no answer from its database"
        error = QueryTimeout(
            f"{call.about}: timed out on the server ({said}). {call.hint}{call.shown}", status
        )
    elif status in (401, 403):
        error = TokenRefused(
            f"{told}. Pass the token of your account as token=, or set "
            "NEUPRINT_APPLICATION_CREDENTIALS"
        )
    elif status in _AGAIN:
        error = ServerAway(told, _asked_to_wait(response))
    else:
        error = QueryRefused(f"{told}{call.shown}", status)
    error.response, error.request = response, response.request
    return error


def is_timeout(status: int, said: str) -> bool:
    """Whether a refusal means that the database ran out of time.

    Examples
    --------
    >>> is_timeout(400, "Timeout experienced.  This could be due to database traffic...")
    True
    >>> is_timeout(400, "Neo.ClientError.Statement.SyntaxError (... n.timeout ...)")
    False
    """
    low = said.lower()
    # the database shows a wrong query with its message, and that may say anything
    if status in (401, 403) or "neo.clienterror.statement" in low:
        return False
    return any(mark in low for mark in ("timeout", "timed out", "timedout", "deadline exceeded"))


def is_lasting(said: str) -> bool:
    """Whether a refusal (400) would be the same next time: a wrong query, or what is not there.

    Examples
    --------
    >>> is_lasting("Neo.ClientError.Statement.SyntaxError (Invalid input)")
    True
    >>> is_lasting("Neo.TransientError.General.MemoryPoolOutOfMemoryError")
    False
    """
    low = said.lower()
    # the server says 400, too, when its database is away or has no memory left
    passing = any(mark in low for mark in ("transienterror", "memory", "connect"))
    return not passing and any(mark in low for mark in _LASTING)


def words(response: requests.Response) -> str:
    """Give what a server says of an error: its JSON, or the beginning of its text."""
    try:
        found = response.json()
    except ValueError:
        found = None
    if isinstance(found, dict):
        for key in ("error", "message"):
            if found.get(key):
                return str(found[key]).strip()
    text = response.text.strip()
    return text if len(text) <= 200 else f"{text[:200]}..."


def _wait(error: ServerAway | QueryTimeout, sent: int) -> float | None:
    """Give the seconds until the next try, or None where another one is of no use."""
    if isinstance(error, QueryTimeout):
        # a gateway may have lost its database for a moment; a database that gave up has not
        gateway = error.response is not None and error.response.status_code == 504
        return backoff(sent) if gateway else None
    if error.retry_after is None:
        return backoff(sent)
    return error.retry_after if error.retry_after <= _LONGEST_WAIT else None


def _asked_to_wait(response: requests.Response) -> float | None:
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None


def _cause(error: BaseException) -> BaseException:
    """Give the innermost cause; the outer ones repeat the address."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _reason(error: BaseException) -> str:
    cause = _cause(error)
    return f"{type(cause).__name__}: {str(cause)[:200]}"
