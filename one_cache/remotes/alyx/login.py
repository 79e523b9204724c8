"""Who asks an Alyx server: credentials from where they are, a token learned once and kept.

Looked for in this order: arguments, environment, our settings file, and last the parameters
that ONE-api keeps in ``~/.one``, which are only read. Nothing is ever prompted for, and nothing
of it is in a message or a ``repr``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from one_cache import settings
from one_cache.errors import Forbidden
from one_cache.settings import Credentials, server_key

_log = logging.getLogger(__name__)

_HOW = (
    "give username= and password=, or set ALYX_LOGIN and ALYX_PWD, or keep them in "
    "credentials.json of the settings folder"
)


def one_api_parameters(base_url: str) -> Mapping[str, Any]:
    """Read what ONE-api keeps about a server in the user's home.

    Parameters
    ----------
    base_url : str
        Address of the Alyx server.

    Returns
    -------
    mapping
        ``ALYX_LOGIN``, ``TOKEN``, ``HTTP_DATA_SERVER``, ... as they are there; empty where there
        is no such file or it cannot be read.
    """
    windows = sys.platform in ("win32", "cygwin")
    home = Path(os.environ.get("APPDATA", "~") if windows else "~").expanduser()
    try:
        text = (home / ".one" / f".{server_key(base_url)}").read_text(encoding="utf-8")
        found = json.loads(text)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _from_one_api(base_url: str, username: str | None) -> Credentials | None:
    found = one_api_parameters(base_url)
    user = username or found.get("ALYX_LOGIN")
    tokens = found.get("TOKEN")
    entry = tokens.get(user) if isinstance(tokens, dict) else None
    token = entry.get("token") if isinstance(entry, dict) else None
    password = found.get("ALYX_PWD") if user == found.get("ALYX_LOGIN") else None
    return Credentials(user, password, token) if token or password else None


class Login:
    """The credentials of one user on one Alyx server.

    Parameters
    ----------
    base_url : str
        Address of the server.
    username, password, token : str, optional
        From the caller; they win.
    """

    def __init__(
        self,
        base_url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
    ) -> None:
        found = settings.credentials(base_url, username=username, password=password, token=token)
        if not (found.token or found.password):
            found = _from_one_api(base_url, found.username) or found
        self._base_url = base_url
        self.username = found.username
        self._password = found.password
        self._token = found.token
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base_url!r}, username={self.username!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def token(self, learn: Callable[[str, str], str]) -> str | None:
        """Give the token; without one it is learned, without a password there is none.

        Parameters
        ----------
        learn : callable
            Asks the server for the token of a user and password.

        Returns
        -------
        str or None
        """
        with self._lock:
            if self._token is None and self._password is not None:
                self._learn(learn)
            return self._token

    def renew(self, refused: str | None, learn: Callable[[str, str], str]) -> str:
        """Give another token than the one that the server refused.

        Raises
        ------
        Forbidden
            There is no password to learn it with.
        """
        with self._lock:
            if self._token != refused and self._token is not None:
                # another thread was faster
                return self._token
            if self._password is None:
                raise Forbidden(f"{self.explain('refuses the token')}; {_HOW}")
            self._learn(learn)
            return str(self._token)

    def explain(self, what: str) -> str:
        """Give a message that names server and user."""
        user = f" of user {self.username!r}" if self.username else ""
        return f"{self._base_url} {what}{user}"

    def missing(self) -> Forbidden:
        """Give the error of a server that wants to know who asks."""
        return Forbidden(f"{self._base_url} wants a login; {_HOW}")

    @property
    def mark(self) -> str:
        """Names the user among those of a server, and tells nothing of the token."""
        return hashlib.sha256(self._token.encode()).hexdigest()[:16] if self._token else ""

    def _learn(self, learn: Callable[[str, str], str]) -> None:
        if not self.username:
            raise Forbidden(f"{self._base_url}: there is a password but no user; {_HOW}")
        self._token = learn(self.username, self._password or "")
        self._keep()

    def _keep(self) -> None:
        """Write the token beside what is saved for this user; another user's entry stays."""
        try:
            saved = settings.saved_credentials(self._base_url)
            if saved.username not in (None, self.username):
                return
            found = Credentials(self.username, saved.password, self._token)
            settings.save_credentials(self._base_url, found)
        except OSError as error:
            # a home that cannot be written costs one request a process
            _log.debug("the token of %s is not kept: %s", self._base_url, error)
