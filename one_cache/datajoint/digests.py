"""Which rows changed: digests of all rows, computed by the server, a number for each bucket.

Rows fall into buckets by the hash of their key. Of each bucket the server gives the number of
rows and the sum of their hashes, of 60 bits or more; where these are as they were, no row was
added, changed or removed. So a changed row costs its bucket, an unchanged table some kilobytes.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from one_cache.datajoint.columns import Reading
from one_cache.datajoint.server import Server

_PER_BUCKET = 4  # rows, as long as there are not more than the most buckets
_FEWEST, _MOST = 4, 12  # bits of the number of a bucket


@dataclass(frozen=True)
class Digests:
    """The state of all rows of a table.

    Attributes
    ----------
    bits : int
        Of the number of a bucket.
    buckets : mapping of str to str
        By bucket: number of rows, and the sum.
    rows : int
        How many there are.
    widest : int
        Bytes of the arrays in the largest row.
    """

    bits: int
    buckets: Mapping[str, str]
    rows: int
    widest: int = 0

    def changed(self, now: Digests) -> set[int]:
        """Give the buckets that are not the same now, those that vanished among them."""
        names = {*self.buckets, *now.buckets}
        return {int(name) for name in names if self.buckets.get(name) != now.buckets.get(name)}

    def pack(self) -> bytes:
        """Write them; `unpack` reads them back."""
        return zlib.compress(json.dumps(asdict(self)).encode())

    @classmethod
    def unpack(cls, data: bytes) -> Digests:
        """Read what `pack` wrote.

        Raises
        ------
        ValueError
            It is something else.
        """
        try:
            return cls(**json.loads(zlib.decompress(data)))
        except (zlib.error, TypeError) as error:
            raise ValueError(f"no digests: {error}") from error


def bucket_of(server: Server, key: Sequence[Reading], bits: int) -> str:
    """Give SQL for the number of the bucket of a row.

    Parameters
    ----------
    server : Server
        Whose SQL.
    key : sequence of Reading
        The primary key.
    bits : int
        Of the number.

    Returns
    -------
    str
    """
    function = "hashtext" if server.is_postgres else "crc32"
    return f"({function}({_all(server, key)}) & {2**bits - 1})"


def ask_digests(
    server: Server,
    source: str,
    key: Sequence[Reading],
    columns: Sequence[Reading],
    bits: int | None = None,
) -> Digests:
    """Ask for the state of all rows.

    Parameters
    ----------
    server : Server
        Asks.
    source : str
        SQL for the rows, to stand after FROM; they are called ``t``.
    key, columns : sequence of Reading
        The primary key, and all columns.
    bits : int, optional
        As of another state, which this one is to be compared with.

    Returns
    -------
    Digests
    """
    if bits is None:
        rows = int(server.ask(f"SELECT count(*) FROM {source}")[0][0])
        bits = math.ceil(math.log2(max(rows / _PER_BUCKET, 1)))
        bits = max(_FEWEST, min(_MOST, bits))
    octets = " + ".join(f"coalesce({one.octets}, 0)" for one in columns if one.octets) or "0"
    found = server.ask(
        f"SELECT {bucket_of(server, key, bits)}, count(*), sum({_number(server, columns)}), "
        f"max({octets}) FROM {source} GROUP BY 1"
    )
    return Digests(
        bits,
        {str(row[0]): f"{row[1]} {int(row[2]):x}" for row in found},
        sum(int(row[1]) for row in found),
        max((int(row[3]) for row in found), default=0),
    )


def _all(server: Server, readings: Sequence[Reading]) -> str:
    """Give SQL for a text of all values, which is another one when any value is."""
    parts = [one.digest for one in readings] or ["''"]
    # one function has a hundred arguments at most, the other server no such operator
    if server.is_postgres:
        return " || ',' || ".join(parts)
    return f"concat_ws(',', {', '.join(parts)})"


def _number(server: Server, columns: Sequence[Reading]) -> str:
    """Give SQL for a hash of a row as a number."""
    text = _all(server, columns)
    if server.is_postgres:
        return f"hashtextextended({text}, 0)"
    return f"cast(conv(left(md5({text}), 15), 16, 10) as unsigned)"
