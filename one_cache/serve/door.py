"""Who may come in."""

from __future__ import annotations

import base64
import hmac
import re

from one_cache.errors import InvalidArgument


class Door:
    """Opens to whoever has the token, or the name and password; to all where neither is set.

    Parameters
    ----------
    token : str or None
        For ``Authorization: Bearer``.
    username, password : str or None
        For basic authentication; both or neither.

    Attributes
    ----------
    challenge : str
        What to show to whoever is not let in; empty where the door stands open.

    Raises
    ------
    InvalidArgument
        A credential that no header can carry, or half a pair.

    Examples
    --------
    >>> door = Door(token="s3cret")
    >>> door.admits("Bearer s3cret"), door.admits("Bearer guess"), door.admits(None)
    (True, False, False)
    """

    def __init__(
        self, token: str | None = None, username: str | None = None, password: str | None = None
    ) -> None:
        if (username is None) != (password is None):
            raise InvalidArgument("a username needs a password, and a password a username")
        if token is not None and not re.fullmatch(r"[!-~]+", token):
            raise InvalidArgument("a token is one word of printable ASCII characters")
        if username is not None and ":" in username:
            raise InvalidArgument("a username has no colon: in basic authentication it ends there")
        self._keys: list[tuple[str, bytes]] = []
        challenges = []
        if token is not None:
            self._keys.append(("bearer", token.encode()))
            challenges.append('Bearer realm="one_cache"')
        if username is not None:
            pair = f"{username}:{password}"
            # some clients send latin-1
            codes = (
                ["utf-8", "latin-1"] if all(ord(letter) < 256 for letter in pair) else ["utf-8"]
            )
            self._keys += [("basic", base64.b64encode(pair.encode(code))) for code in codes]
            challenges.append('Basic realm="one_cache", charset="UTF-8"')
        self.challenge = ", ".join(challenges)

    def admits(self, header: str | None) -> bool:
        """Tell whether the ``Authorization`` header lets its sender in, in constant time."""
        scheme, _, value = (header or "").strip().partition(" ")
        sent = value.strip().encode("latin-1", "replace")
        fits = [
            hmac.compare_digest(sent, key) for kind, key in self._keys if kind == scheme.lower()
        ]
        return any(fits) or not self._keys
