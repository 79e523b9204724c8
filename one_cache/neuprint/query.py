"""A query: what is asked of a server, its id, and how long its answer stays true."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from one_cache.errors import InvalidArgument
from one_cache.neuprint.cypher import canonical, is_timeboxed

CYPHER = "custom/custom"
_DAY = 24 * 3600.0
_FOREVER = float("inf")
# s for which an answer serves while its dataset is unchanged; what is not named here is asked
# again each time, and kept for replay
_LIFETIMES = {
    CYPHER: _FOREVER,
    "custom/arrow": _FOREVER,
    "skeletons/skeleton": _FOREVER,
    "roimeshes/mesh": _FOREVER,
    # the server computes these about once a day
    "cached/roicompleteness": _DAY,
    "cached/roiconnectivity": _DAY,
}
_DATASET = re.compile(r"(?:skeletons/skeleton|roimeshes/mesh)/([^/]+)/|\bdataset=([^&]+)")


class SetupError(InvalidArgument, RuntimeError):
    """No client can be made of these arguments: address, token or dataset."""


@dataclass(frozen=True)
class Query:
    """One question to a server.

    Attributes
    ----------
    server : str
        Address, as :func:`address_of` gives it.
    dataset : str
        With its tag, ``"hemibrain:v1.2.1"``; empty for what belongs to the server.
    method : str
        What answers: the beginning of the path, ``"custom/custom"`` for Cypher.
    text : str
        The canonical text of the Cypher, or the path with its parameters.
    raw : str
        The text as it is sent.
    timeboxed : bool
        No rows may mean that the time was up.
    """

    server: str
    dataset: str
    method: str
    text: str
    raw: str
    timeboxed: bool = False

    @classmethod
    def of_cypher(cls, server: str, dataset: str, cypher: str, method: str = CYPHER) -> Query:
        """Make the query that a Cypher text is.

        Examples
        --------
        >>> one = Query.of_cypher("https://np.org", "manc:v1.0", "RETURN  1 // one")
        >>> one.id == Query.of_cypher("https://np.org", "manc:v1.0", "RETURN 1").id
        True
        """
        return cls(server, dataset, method, canonical(cypher), cypher, is_timeboxed(cypher))

    @classmethod
    def of_path(cls, server: str, path: str) -> Query:
        """Make the query that a path below ``/api/`` is.

        Examples
        --------
        >>> path = "skeletons/skeleton/hemibrain:v1.2.1/42?format=swc"
        >>> one = Query.of_path("https://np.org", path)
        >>> one.method, one.dataset
        ('skeletons/skeleton', 'hemibrain:v1.2.1')
        """
        method = "/".join(path.partition("?")[0].split("/")[:2])
        found = _DATASET.search(path)
        dataset = (found[1] or found[2]) if found else ""
        return cls(server, dataset, method, path, path)

    @cached_property
    def id(self) -> str:
        """A UUID, as text: the same for the same question in every process."""
        asked = json.dumps([self.server, self.dataset, self.method, self.text], ensure_ascii=True)
        return str(uuid.UUID(bytes=hashlib.sha256(asked.encode()).digest()[:16]))

    @property
    def lifetime(self) -> float:
        """Seconds for which its answer serves while the dataset is unchanged."""
        return _LIFETIMES.get(self.method, 0.0)


def address_of(server: str) -> str:
    """Give the one way to write the address of a server.

    Parameters
    ----------
    server : str
        With or without ``https://``; nothing else is spoken.

    Returns
    -------
    str

    Raises
    ------
    SetupError
        Another protocol, or no address.

    Examples
    --------
    >>> address_of("NeuPrint.Janelia.org/")
    'https://neuprint.janelia.org'
    """
    given = server if "://" in server else f"https://{server}"
    parts = urlsplit(given)
    if parts.scheme.lower() != "https" or not parts.hostname:
        raise SetupError(
            f"{server!r}: a neuPrint server is spoken to by https only, as in "
            "'neuprint.janelia.org'; your token would be readable on the way"
        )
    if parts.username or parts.password:
        raise SetupError(
            f"the address of {parts.hostname} holds credentials; pass a token= instead"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = f":{parts.port}" if parts.port and parts.port != 443 else ""
    return f"https://{host}{port}{parts.path.rstrip('/')}"
