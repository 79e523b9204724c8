"""An http(s) address, before it is known what answers there: Alyx, or a plain web server."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from one_cache.records import File
from one_cache.remotes import Body, Listing, Question, Remote
from one_cache.remotes.alyx import AlyxRemote, is_alyx
from one_cache.remotes.http import HttpRemote
from one_cache.responses import WEEK, ResponseCache, request_key


class _Access(NamedTuple):
    """Kept apart from the rest so that no ``repr`` shows it."""

    username: str | None
    password: str | None
    token: str | None

    def __repr__(self) -> str:
        return "<access>"


class WebRemote:
    """Whatever answers at an http(s) address; found out by the first question, then remembered.

    Nothing is asked before, so that a cache whose mode asks nothing can be opened without a
    network; and what was found out is kept with the answers, so that old ones serve when the
    server is away.

    Parameters
    ----------
    base_url : str
        Address.
    username, password, token : str, optional
        For the server.
    responses : ResponseCache, optional
        Where answers are kept; in memory when not given.

    Attributes
    ----------
    name : str
        The address, without credentials.

    Raises
    ------
    InvalidArgument
        Not an ``http`` or ``https`` address.
    """

    def __init__(
        self,
        base_url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        responses: ResponseCache | None = None,
    ) -> None:
        self.name = HttpRemote(base_url).name
        self._address = base_url
        self._access = _Access(username, password, token)
        self._responses = responses if responses is not None else ResponseCache(None)
        self._found: AlyxRemote | HttpRemote | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    @property
    def responses(self) -> ResponseCache:
        """Where answers are kept; may be set."""
        return self._responses

    @responses.setter
    def responses(self, value: ResponseCache) -> None:
        self._responses = value
        if isinstance(self._found, AlyxRemote):
            self._found.responses = value

    def resolve(self) -> AlyxRemote | HttpRemote:
        """Give the remote that serves this address.

        Raises
        ------
        TransferFailed
            Nothing answers, and it is not known what did before.
        """
        with self._lock:
            if self._found is None:
                key = request_key(self.name, "", "kind of server")
                kind = self._responses.answer(key, self._ask, ttl=WEEK, source=self.name)
                access = self._access._asdict()
                if kind == "alyx":
                    self._found = AlyxRemote(self._address, responses=self._responses, **access)
                else:
                    self._found = HttpRemote(self._address, **access)
            return self._found

    def _ask(self) -> str:
        return "alyx" if is_alyx(self.name) else "http"

    def tables(self) -> Sequence[Listing]:
        """Name the whole tables that the server carries."""
        return self.resolve().tables()

    def records(self, question: Question) -> Sequence[Mapping[str, Any]] | None:
        """Answer a question with rows, or say that there are tables to ask."""
        return self.resolve().records(question)

    def open(self, file: File, start: int = 0, validator: str | None = None) -> Body:
        """Open `file` at byte `start`; see :meth:`one_cache.remotes.Remote.open`."""
        return self.resolve().open(file, start, validator)

    def url(self, file: File) -> str:
        """Give the address of `file`; nothing is asked."""
        remote: Remote = self._found or HttpRemote(self._address)
        return remote.url(file)
