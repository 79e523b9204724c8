"""Hashes as the records write them: hex alone, or the algorithm before it.

The four algorithms of the field differ in the length of their hex digest, so a bare digest says
which it is: 32 md5, 40 sha1, 64 sha256, 128 blake2b. Any other is written ``algorithm:hex``.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import NamedTuple, Protocol

from one_cache.errors import InvalidArgument

# md5, because that is what the tables of the field hold and what ONE-api compares with
DEFAULT = "md5"
_BY_LENGTH = {32: "md5", 40: "sha1", 64: "sha256", 128: "blake2b"}
_HEX = re.compile(r"[0-9a-f]+")


class Digest(Protocol):
    """A running hash of :mod:`hashlib`."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""
        ...

    def hexdigest(self) -> str:
        """Give the digest of what was added so far."""
        ...


class Hash(NamedTuple):
    """A digest and what made it.

    Attributes
    ----------
    algorithm : str
        A name that :mod:`hashlib` knows.
    hex : str
        Lower case.
    """

    algorithm: str
    hex: str

    def __str__(self) -> str:
        """Give the shortest form that says both: the bare digest where its length tells."""
        bare = _BY_LENGTH.get(len(self.hex)) == self.algorithm
        return self.hex if bare else f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        """``md5 0cc175b9c0f1…``, for messages."""
        return f"{self.algorithm} {self.hex[:12]}…"


@lru_cache(maxsize=4096)
def parse(text: str) -> Hash:
    """Read a hash as a record writes it.

    Parameters
    ----------
    text : str
        Hex digest of md5, sha1, sha256 or blake2b, or ``"algorithm:hex"``; any case.

    Returns
    -------
    Hash

    Raises
    ------
    InvalidArgument
        Not hex, of a length that no known algorithm has, or of an unknown algorithm.

    Examples
    --------
    >>> parse("0CC175B9C0F1B6A831C399E269772661")
    Hash(algorithm='md5', hex='0cc175b9c0f1b6a831c399e269772661')
    >>> parse("d41d8")
    Traceback (most recent call last):
    one_cache.errors.InvalidArgument: hash 'd41d8': 5 hex digits are none of md5 (32), ...
    """
    algorithm, colon, digest = text.strip().lower().rpartition(":")
    algorithm = algorithm.replace("-", "") if colon else _BY_LENGTH.get(len(digest), "")
    if not _HEX.fullmatch(digest):
        raise InvalidArgument(f"hash {text!r}: not a hex digest")
    if not algorithm:
        known = ", ".join(f"{name} ({length})" for length, name in _BY_LENGTH.items())
        raise InvalidArgument(f"hash {text!r}: {len(digest)} hex digits are none of {known}")
    if algorithm not in hashlib.algorithms_available:
        raise InvalidArgument(f"hash {text!r}: no algorithm {algorithm!r} on this machine")
    return Hash(algorithm, digest)


def new(algorithm: str, digits: int | None = None) -> Digest:
    """Start a hash.

    Parameters
    ----------
    algorithm : str
        As in :class:`Hash`.
    digits : int, optional
        Length of the hex digest wanted; blake2b alone can give several.

    Returns
    -------
    Digest

    Examples
    --------
    >>> new("sha1").hexdigest()[:8]
    'da39a3ee'
    """
    if algorithm == "blake2b" and digits is not None:
        return hashlib.blake2b(digest_size=min(64, max(1, digits // 2)))
    try:
        # tells FIPS builds that no secret depends on md5
        return hashlib.new(algorithm, usedforsecurity=False)
    except ValueError as error:
        raise InvalidArgument(f"no hash algorithm {algorithm!r} on this machine") from error
