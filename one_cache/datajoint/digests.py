"""Which rows changed: digests of all rows, computed by the server, a number for each bucket.

Rows fall into buckets by the hash of their key. Of each bucket the server gives the number of
rows and two sums over the hashes of the rows; where these are as they were, no row was added,
changed or removed. So a changed row costs its bucket, and an unchanged table a few kilobytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from one_cache.datajoint.columns import Reading
from one_cache.datajoint.server import Server

_KEY = b"one_cache_digests"
_PER_BUCKET = 4  # rows, as long as there are not more than the most buckets
_MOST = 3  # hex digits of the name of a bucket: 4096 buckets


@dataclass(frozen=True)
class Digests:
    """The state of all rows of a table.

    Attributes
    ----------
    digits : int
        Hex digits of the name of a bucket.
    buckets : mapping of str to str
        By bucket: number of rows, and two sums.
    rows : int
        How many there are.
    widest : int
        Bytes of the arrays in the largest row.
    """

    digits: int
    buckets: Mapping[str, str]
    rows: int
    widest: int = 0

    def changed(self, now: Digests) -> set[str]:
        """Give the buckets that are not the same now, those that vanished among them."""
        names = {*self.buckets, *now.buckets}
        return {name for name in names if self.buckets.get(name) != now.buckets.get(name)}

    def metadata(self) -> dict[bytes, bytes]:
        """Give what is written into the file."""
        value = {"digits": self.digits, "rows": self.rows, "buckets": dict(self.buckets)}
        return {_KEY: json.dumps(value, separators=(",", ":")).encode()}

    @classmethod
    def of_metadata(cls, metadata: Mapping[bytes, bytes]) -> Digests:
        """Read what `metadata` gave."""
        found: dict[str, Any] = json.loads(metadata[_KEY])
        return cls(found["digits"], found["buckets"], found["rows"])


def bucket_of(server: Server, key: Sequence[Reading], digits: int) -> str:
    """Give SQL for the bucket of a row.

    Parameters
    ----------
    server : Server
        Whose SQL.
    key : sequence of Reading
        The primary key.
    digits : int
        Hex digits.

    Returns
    -------
    str
    """
    return f"left(md5({_all(server, key)}), {digits})"


def ask_digests(
    server: Server,
    source: str,
    key: Sequence[Reading],
    columns: Sequence[Reading],
    digits: int | None = None,
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
    digits : int, optional
        Hex digits of the buckets of another state, which this one is to be compared with.

    Returns
    -------
    Digests
    """
    if digits is None:
        rows = int(server.ask(f"SELECT count(*) FROM {source}")[0][0])
        digits = max(1, min(_MOST, math.ceil(math.log(max(rows / _PER_BUCKET, 1), 16))))
    octets = " + ".join(f"coalesce({one.octets}, 0)" for one in columns if one.octets) or "0"
    inner = (
        f"SELECT {bucket_of(server, key, digits)} AS b, md5({_all(server, columns)}) AS h, "
        f"{octets} AS o FROM {source}"
    )
    sums = ", ".join(f"sum({_number(server, start)})" for start in (1, 16))
    found = server.ask(f"SELECT b, count(*), {sums}, max(o) FROM ({inner}) AS d GROUP BY b")
    return Digests(
        digits,
        {str(row[0]): f"{row[1]} {int(row[2]):x} {int(row[3]):x}" for row in found},
        sum(int(row[1]) for row in found),
        max((int(row[4]) for row in found), default=0),
    )


def _all(server: Server, readings: Sequence[Reading]) -> str:
    """Give SQL for a text of all values, which is another one when any value is."""
    # a hash of each, so that no value can look like the end of the one before
    parts = [f"coalesce(md5({one.digest}), '-')" for one in readings]
    if not parts:
        return "''"
    # one function has a hundred arguments at most, the other server no such operator
    return f"({' || '.join(parts)})" if server.is_postgres else f"concat({', '.join(parts)})"


def _number(server: Server, start: int) -> str:
    """Give SQL for fifteen hex digits of a hash as a number."""
    piece = f"substring(h, {start}, 15)"
    if server.is_postgres:
        return f"('x' || {piece})::bit(60)::bigint"
    return f"cast(conv({piece}, 16, 10) AS unsigned)"
