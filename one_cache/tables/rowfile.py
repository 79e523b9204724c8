"""Rows of a large table for direct access: fixed-width records, memory-mapped, bisected.

Parquet gives a session's rows by decoding a row group, and a row by its id by scanning all of
them. This file stands beside a large table and gives both at the cost of a few pages, without an
engine: the records lie in the table's own order, sorted by key, with the order of their ids and
the first row of each session. Texts lie once, in a heap. It holds nothing that the table does
not; it is made anew whenever the table changes.

::

    magic | records | texts | order of ids | sessions | distinct texts | checksums of all these
    | footer (JSON) | its length and checksum | magic

Whoever reads a block for the first time compares it with its checksum, so damage is an error and
never another row.
"""

from __future__ import annotations

import bisect
import contextlib
import datetime as dt
import json
import math
import mmap
import struct
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from one_cache.errors import TableCorrupt

MAGIC = b"1cache03"  # another number for each form; what is of another one is made anew
BLOCK = 4096  # bytes that have a checksum together
_FIRST = len(MAGIC)

SHAPED = 1_000  # rows; for a smaller table this file would save less than it costs
LARGE = 20_000  # rows; all of a smaller table are held where that answers sooner

NOTHING = -1  # an offset, flag or number that is null
DIGEST_NULL, DIGEST_MD5, DIGEST_TEXT = 0, 1, 2
NO_NUMBER = -(2**63)
NO_DAY = -(2**31)

# kind of column -> fields of its record
FIELDS: Mapping[str, tuple[str, ...]] = {
    "uuid": ("16s",),
    "text": ("q",),
    "digest": ("b", "16s"),
    "number": ("q",),
    "real": ("d",),
    "flag": ("b",),
    "day": ("i",),
}

LENGTH = struct.Struct("<I")
ENDING = struct.Struct("<II")  # length of the footer, its checksum
OFFSET = struct.Struct("<q")
ORDER = struct.Struct("<II")  # first 32 bits of an id, number of its row
SESSION = struct.Struct("<16sq")
Field = tuple[int, int, Callable[..., Any]]
_EPOCH = dt.date(1970, 1, 1).toordinal()


def record_of(kinds: Sequence[str]) -> struct.Struct:
    """Give the form of a record whose columns are of these kinds.

    Examples
    --------
    >>> record_of(["uuid", "text", "digest", "flag"]).size
    42
    """
    return struct.Struct("<" + "".join(field for kind in kinds for field in FIELDS[kind]))


def uuid_text(raw: bytes) -> str:
    """Write 16 bytes as a UUID.

    Examples
    --------
    >>> uuid_text(bytes(range(16)))
    '00010203-0405-0607-0809-0a0b0c0d0e0f'
    """
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uuid_bytes(text: str) -> bytes | None:
    """Read a UUID as tables write it; None for any other text.

    Examples
    --------
    >>> uuid_bytes("00010203-0405-0607-0809-0a0b0c0d0e0f") == bytes(range(16))
    True
    >>> uuid_bytes("KS014/2023-03-10/001") is None
    True
    """
    try:
        raw = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return None
    return raw if len(raw) == 16 and uuid_text(raw) == text else None


def _place_of(
    raw: bytes, count: int, prefix_at: Callable[[int], int], whole_at: Callable[[int], bytes]
) -> int | None:
    """Find an id among `count` sorted ones; of several that are equal, the first."""
    prefix = int.from_bytes(raw[:4], "big")
    # ids are random, so they lie evenly: a guess saves most of the reads of a bisection
    guess, width = prefix * count >> 32, 16 + 4 * math.isqrt(count)
    low, high = max(0, guess - width), min(count, guess + width)
    if low > 0 and prefix_at(low - 1) >= prefix:
        low = 0
    if high < count and prefix_at(high) < prefix:
        high = count
    at = bisect.bisect_left(range(count), prefix, low, high, key=prefix_at)
    if at + 1 < count and prefix_at(at + 1) == prefix:
        end = bisect.bisect_right(range(count), prefix, at, count, key=prefix_at)
        at = bisect.bisect_left(range(count), raw, at, end, key=whole_at)
    return at if at < count and whole_at(at) == raw else None


class RowFile:
    """A file of rows, open for reading.

    Parameters
    ----------
    path : pathlib.Path
        As :class:`~one_cache.tables.rowwriter.RowWriter` made it.

    Attributes
    ----------
    footer : mapping
        What the maker said of the table.
    columns : tuple of str
        What each row holds, in order; empty when the table cannot be kept in this way.
    count : int
        Number of rows.

    Raises
    ------
    TableCorrupt
        It is no such file, or not all of it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            try:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError as error:
                raise TableCorrupt(f"{path}: empty") from error
        end = len(self._map) - len(MAGIC) - ENDING.size
        if end < 0 or self._map[end + ENDING.size :] != MAGIC:
            raise TableCorrupt(f"{path}: no file of rows, or not all of it")
        length, checksum = ENDING.unpack_from(self._map, end)
        footer = self._map[max(0, end - length) : end]
        if zlib.crc32(footer) != checksum:
            raise TableCorrupt(f"{path}: damaged")
        self.footer: Mapping[str, Any] = json.loads(footer)
        kinds: Mapping[str, str] = self.footer["kinds"]
        self.columns = tuple(kinds)
        self.count: int = self.footer["count"]
        self._grouped: bool = self.footer["grouped"]
        stored = self.columns[1:] if self._grouped else self.columns
        self._record = record_of([kinds[column] for column in stored])
        self._fields = self._placed([(column, kinds[column]) for column in stored])
        self._texts: int = self.footer.get("texts", 0)
        self._order: int = self.footer.get("order", 0)
        self._sessions: int = self.footer.get("sessions", 0)
        self._session_count: int = self.footer.get("session_count", 0)
        self._checks: int = self.footer.get("checks", 0)
        self._checked = bytearray(self._checks // BLOCK + 1)
        self._known: dict[int, str] = {}

    def _check(self, start: int, size: int) -> int:
        """Compare what is read for the first time with its checksum; give `start` back."""
        first, last = start // BLOCK, (start + size - 1) // BLOCK
        if first == last and self._checked[first]:  # nearly always
            return start
        for block in range(first, last + 1):
            if not self._checked[block]:
                place = block * BLOCK
                found = zlib.crc32(self._map[place : min(place + BLOCK, self._checks)])
                if found != LENGTH.unpack_from(self._map, self._checks + LENGTH.size * block)[0]:
                    self._refuse()
                self._checked[block] = 1
        return start

    def _refuse(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()  # it holds nothing that the table does not, and is made anew
        raise TableCorrupt(
            f"{self._path}: damaged, and removed; the table itself is as it was. Open the tables "
            "again: it is made anew"
        )

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()

    def of_session(self, eid: str, columns: Sequence[str] = ()) -> list[tuple[Any, ...]]:
        """Give the rows of one session.

        Parameters
        ----------
        eid : str
            A UUID as text.
        columns : sequence of str
            Which to give, of those other than ``eid``; all, in the order of `columns`, when none
            is named.

        Returns
        -------
        list of tuple
        """
        raw = uuid_bytes(eid)
        if raw is None or not self._grouped:
            return []
        at = _place_of(raw, self._session_count, self._eid_prefix, self._eid_at)
        if at is None:
            return []
        first, last = self._start_of(at), self._start_of(at + 1)
        size = self._record.size
        start = self._check(_FIRST + first * size, (last - first) * size)
        records = self._record.iter_unpack(self._map[start : start + (last - first) * size])
        if columns:
            wanted = [self._fields[column] for column in columns]
            return [
                tuple([decode(*record[start:end]) for start, end, decode in wanted])
                for record in records
            ]
        return [(eid, *self._decoded(record)) for record in records]

    def find(self, ids: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        """Give the row of each id that is there; of several, the first in the table's order.

        Parameters
        ----------
        ids : sequence of str
            UUIDs as text.

        Returns
        -------
        dict of str to tuple
        """
        found = {}
        for one in ids:
            raw = uuid_bytes(one)
            if raw is None:
                continue
            at = _place_of(raw, self.count, self._id_prefix, self._id_at)
            if at is not None:
                found[one] = self._row(self._row_at(at))
        return found

    def matching(
        self,
        texts: Mapping[str, Collection[str]],
        *,
        numbers: Collection[int] | None = None,
        days: tuple[dt.date | None, dt.date | None] = (None, None),
    ) -> list[tuple[Any, ...]] | None:
        """Give the rows whose columns have certain values, by reading all records.

        Parameters
        ----------
        texts : mapping of str to collection of str
            Column of texts and the values that it may have.
        numbers : collection of int, optional
            Values that ``number`` may have.
        days : tuple of two dates or None
            First and last ``date``.

        Returns
        -------
        list of tuple or None
            None when a column cannot be compared without reading each of its texts.
        """
        tests: dict[str, Callable[[Any], bool]] = {}
        for column, values in texts.items():
            offsets = self._offsets_of(column, values)
            if offsets is None:
                return None
            tests[column] = offsets.__contains__
        if numbers is not None:
            tests["number"] = set(numbers).__contains__
        if days != (None, None):
            first = (days[0] or dt.date.min).toordinal() - _EPOCH
            last = (days[1] or dt.date.max).toordinal() - _EPOCH
            tests["date"] = lambda day: first <= day <= last and day != NO_DAY
        if not all(column in self._fields for column in tests):
            return None
        return [self._row(number) for number in self._passing(tests)]

    def _passing(self, tests: Mapping[str, Callable[[Any], bool]]) -> list[int]:
        """Give the numbers of the rows that pass all tests of raw fields, one of each column."""
        kinds: Mapping[str, str] = self.footer["kinds"]
        form, order = "<", []
        for column in self._fields:
            fields = FIELDS[kinds[column]]
            if column in tests:
                form += fields[0]
                order.append(tests[column])
            else:
                form += f"{struct.calcsize('<' + ''.join(fields))}x"
        size = self.count * self._record.size
        start = self._check(_FIRST, size)
        records = struct.iter_unpack(form, memoryview(self._map)[start : start + size])
        if len(order) == 1:
            test = order[0]
            return [number for number, (value,) in enumerate(records) if test(value)]
        return [
            number
            for number, record in enumerate(records)
            if all(test(value) for test, value in zip(order, record, strict=True))
        ]

    def _offsets_of(self, column: str, texts: Collection[str]) -> set[int] | None:
        places = self._places(column)
        wanted = set(texts)
        if places is None:
            return None
        # nothing reads as the empty text, as it does in a Session
        return {at for at in (*places, NOTHING) if (self._text(at) or "") in wanted}

    def distinct(self, column: str) -> list[str] | None:
        """Give the distinct texts of a column, sorted; None when there are too many to keep."""
        places = self._places(column)
        if places is None:
            return None
        return sorted({text for text in map(self._text, places) if text is not None})

    def _places(self, column: str) -> list[int] | None:
        """Give where the texts of a column lie, each once."""
        if column not in self.footer.get("distinct", {}):
            return None
        start, count = self.footer["distinct"][column]
        self._check(start, 8 * count)
        return memoryview(self._map)[start : start + 8 * count].cast("q").tolist()

    # -- where things lie ------------------------------------------------------------------

    def _row_at(self, at: int) -> int:
        """Give the number of the row whose id is the `at`-th smallest."""
        start = self._check(self._order + at * ORDER.size, ORDER.size)
        row: int = ORDER.unpack_from(self._map, start)[1]
        return row

    def _id_prefix(self, at: int) -> int:
        start = self._check(self._order + at * ORDER.size, ORDER.size)
        prefix: int = ORDER.unpack_from(self._map, start)[0]
        return prefix

    def _id_at(self, at: int) -> bytes:
        start = self._check(_FIRST + self._row_at(at) * self._record.size, 16)
        return self._map[start : start + 16]

    def _eid_prefix(self, at: int) -> int:
        return int.from_bytes(self._eid_at(at)[:4], "big")

    def _eid_at(self, at: int) -> bytes:
        start = self._check(self._sessions + at * SESSION.size, SESSION.size)
        return self._map[start : start + 16]

    def _start_of(self, at: int) -> int:
        if at == self._session_count:
            return self.count
        place = self._check(self._sessions + at * SESSION.size, SESSION.size)
        start: int = SESSION.unpack_from(self._map, place)[1]
        return start

    def _row(self, number: int) -> tuple[Any, ...]:
        start = self._check(_FIRST + number * self._record.size, self._record.size)
        values = self._decoded(self._record.unpack_from(self._map, start))
        if not self._grouped:
            return tuple(values)
        after = bisect.bisect_right(range(self._session_count), number, key=self._start_of)
        return (uuid_text(self._eid_at(after - 1)), *values)

    # -- what they mean --------------------------------------------------------------------

    def _decoded(self, record: Sequence[Any]) -> list[Any]:
        return [decode(*record[start:end]) for start, end, decode in self._fields.values()]

    def _placed(self, kinds: Sequence[tuple[str, str]]) -> dict[str, Field]:
        """Say for each column which fields of a record hold it, and what reads them."""
        decode: Mapping[str, Callable[..., Any]] = {
            "uuid": uuid_text,
            "text": self._text,
            "digest": self._digest,
            "number": lambda value: None if value == NO_NUMBER else value,
            "real": lambda value: None if value != value else value,
            "flag": lambda value: None if value == NOTHING else bool(value),
            "day": lambda value: None if value == NO_DAY else dt.date.fromordinal(_EPOCH + value),
        }
        placed, start = {}, 0
        for column, kind in kinds:
            end = start + len(FIELDS[kind])
            placed[column] = (start, end, decode[kind])
            start = end
        return placed

    def _text(self, offset: int) -> str | None:
        if offset == NOTHING:
            return None
        text = self._known.get(offset)
        if text is None:
            start = self._check(self._texts + offset, LENGTH.size)
            length = LENGTH.unpack_from(self._map, start)[0]
            self._check(start, LENGTH.size + length)
            text = self._map[start + 4 : start + 4 + length].decode()
            if len(self._known) < 65_536:
                self._known[offset] = text
        return text

    def _digest(self, form: int, raw: bytes) -> str | None:
        if form == DIGEST_NULL:
            return None
        return raw.hex() if form == DIGEST_MD5 else self._text(OFFSET.unpack_from(raw)[0])
