"""Make the file of rows of a large table, from a stream of it; see ``rowfile``."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import zlib
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
from pyarrow import compute

from one_cache.tables.rowfile import (
    BLOCK,
    DIGEST_MD5,
    DIGEST_NULL,
    DIGEST_TEXT,
    ENDING,
    LENGTH,
    MAGIC,
    NO_DAY,
    NO_NUMBER,
    NOTHING,
    SESSION,
)

logger = logging.getLogger(__name__)

_REMEMBERED = 250_000  # texts; further ones are written again rather than held in memory
_SPOOLED = 1 << 20  # bytes that are kept in memory before a file is made for them
_VOCABULARY = 65_536  # distinct texts; of columns with more, none are listed
_ENTRY = np.dtype([("id", ">u8", 2), ("row", "<u4")])
_DASHES = (8, 13, 18, 23)
_NIBBLES = np.full(256, 255, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)


class _Unsuited(Exception):
    """A value that the file cannot hold."""


def kind_of(column: str, type_: Any) -> str | None:
    """Say how a column is kept; None when it cannot be.

    Examples
    --------
    >>> kind_of("hash", pa.string()), kind_of("number", pa.uint16())
    ('digest', 'number')
    """
    if column in ("id", "eid"):
        return "uuid" if pa.types.is_string(type_) else None
    if pa.types.is_string(type_) or pa.types.is_dictionary(type_):
        return "digest" if column == "hash" else "text"
    if pa.types.is_integer(type_):
        return "number"
    if pa.types.is_boolean(type_):
        return "flag"
    if pa.types.is_date32(type_):
        return "day"
    return "real" if pa.types.is_float64(type_) else None


def _kinds(schema: Any, key: Sequence[str]) -> dict[str, str]:
    """Say how each column is kept, those of the key first; nothing when one cannot be."""
    if tuple(key) not in (("id",), ("eid", "id")):
        return {}
    columns = [*key, *(name for name in schema.names if name not in key)]
    kinds = {name: kind_of(name, schema.field(name).type) for name in columns}
    return {name: kind for name, kind in kinds.items() if kind} if all(kinds.values()) else {}


def _characters(column: Any, width: int) -> Any:
    """Give texts of one width as an array, (n, width) uint8; None when they are of several."""
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset :][: len(column) + 1]
    if column.null_count or (np.diff(offsets) != width).any():
        return None
    data = np.frombuffer(column.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    return data.reshape(-1, width)


def _uuids(column: Any) -> Any:
    """Read UUIDs as bytes, (n, 16) uint8."""
    characters = _characters(column, 36)
    if characters is None or (characters[:, _DASHES] != ord("-")).any():
        raise _Unsuited("an id is no UUID")
    nibbles = _NIBBLES[np.delete(characters, _DASHES, axis=1)]
    if (nibbles > 15).any():
        raise _Unsuited("an id is no UUID")
    return np.ascontiguousarray(nibbles[:, 0::2] << 4 | nibbles[:, 1::2])


class _Summed:
    """A file that is written from its beginning to its end, and the checksums of its blocks."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._rest = b""
        self._size = 0
        self.sums = array("L")

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._size += len(data)
        waiting = memoryview(self._rest + data)
        whole = len(waiting) // BLOCK * BLOCK
        self.sums.extend(zlib.crc32(waiting[at : at + BLOCK]) for at in range(0, whole, BLOCK))
        self._rest = bytes(waiting[whole:])

    def tell(self) -> int:
        return self._size

    def write_sums(self) -> None:
        """Write the checksums of all that was written."""
        self.write(np.array([*self.sums, zlib.crc32(self._rest)], "<u4").tobytes())

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class RowWriter:
    """Writes a file of rows while the table itself is written.

    Parameters
    ----------
    path : pathlib.Path
        The file to make.
    schema : pyarrow.Schema
        Columns of the table.
    key : sequence of str
        Columns by which the rows are sorted: ``id``, or ``eid`` and ``id``.

    Notes
    -----
    A table that such a file cannot hold gives a file that says so: no columns, no records. What
    cannot be held is an id that is no UUID, and a column of a rarely used type.
    """

    def __init__(self, path: Path, schema: Any, key: Sequence[str]) -> None:
        self._path = path
        self._file = _Summed(path)
        self._file.write(MAGIC)
        self._heap = self._temporary()
        self._aside = [self._temporary() for _ in range(16)]
        self._heap_size = 0
        self._offsets: dict[str, int] = {}
        self._distinct: dict[str, set[int]] = {}
        self._count = 0
        self._sessions: list[bytes] = []
        self._last = b""
        self._kinds = _kinds(schema, key)
        self._grouped = len(key) == 2
        self._stored = list(self._kinds)[1:] if self._grouped else list(self._kinds)
        self._dtype = np.dtype([field for name in self._stored for field in self._fields_of(name)])

    def _temporary(self) -> IO[bytes]:
        return SpooledTemporaryFile(_SPOOLED, dir=str(self._path.parent))  # noqa: SIM115

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fields_of(self, name: str) -> list[tuple[str, Any]]:
        kind = self._kinds[name]
        if kind == "digest":
            return [(f"{name}.form", "i1"), (name, "V16")]
        types = {"uuid": "V16", "text": "<i8", "number": "<i8", "real": "<f8", "flag": "i1"}
        return [(name, types.get(kind, "<i4"))]

    def add(self, table: Any) -> None:
        """Add the next rows.

        Parameters
        ----------
        table : pyarrow.Table
            Sorted, after all that were added.
        """
        try:
            for batch in table.to_batches():
                if self._kinds and len(batch):
                    self._add(batch)
        except _Unsuited as error:
            logger.info("%s: no file of rows: %s", self._path, error)
            self._kinds = {}
        self._count += len(table)

    def _add(self, batch: Any) -> None:
        records = np.zeros(len(batch), self._dtype)
        for name in self._stored:
            getattr(self, f"_put_{self._kinds[name]}")(records, name, batch.column(name))
        if self._grouped:
            eids = _uuids(batch.column("eid"))
            starts = np.flatnonzero(np.r_[True, (eids[1:] != eids[:-1]).any(axis=1)])
            if eids[0].tobytes() == self._last:
                starts = starts[1:]
            self._last = eids[-1].tobytes()
            marks = np.zeros(len(starts), np.dtype([("eid", "V16"), ("row", "<i8")]))
            marks["eid"] = eids[starts].view("V16")[:, 0]
            marks["row"] = starts + self._count
            self._sessions.append(marks.tobytes())
        self._file.write(records.tobytes())

    # -- one method for each kind of column --------------------------------------------------

    def _put_uuid(self, records: Any, name: str, column: Any) -> None:
        ids = _uuids(column)
        records[name] = ids.view("V16")[:, 0]
        if name == "id":
            self._put_aside(ids)

    def _put_text(self, records: Any, name: str, column: Any) -> None:
        records[name] = places = self._texts(column)
        known = self._distinct.setdefault(name, set())
        if len(known) <= _VOCABULARY:
            known.update(np.unique(places).tolist())

    def _put_digest(self, records: Any, name: str, column: Any) -> None:
        form = f"{name}.form"
        # the usual digest has 32 hex digits; what is null or of another kind goes to the heap
        usual = compute.fill_null(compute.equal(compute.binary_length(column), 32), False)
        rows = np.flatnonzero(usual.to_numpy(zero_copy_only=False))
        nibbles = _NIBBLES[_characters(column.filter(usual), 32)]
        good = (nibbles < 16).all(axis=1)
        raw = np.ascontiguousarray(nibbles[good, 0::2] << 4 | nibbles[good, 1::2])
        records[form][rows[good]] = DIGEST_MD5
        records[name][rows[good]] = raw.view("V16")[:, 0]
        others = np.flatnonzero(records[form] != DIGEST_MD5)
        if not len(others):
            return
        offsets = np.zeros((len(others), 2), np.int64)
        offsets[:, 0] = self._texts(column.take(pa.array(others)))
        records[form][others] = np.where(offsets[:, 0] == NOTHING, DIGEST_NULL, DIGEST_TEXT)
        records[name][others] = offsets.view("V16")[:, 0]

    def _put_number(self, records: Any, name: str, column: Any) -> None:
        try:
            numbers = column.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise _Unsuited("a number beyond 64 bits") from error
        records[name] = compute.fill_null(numbers, NO_NUMBER).to_numpy()

    def _put_real(self, records: Any, name: str, column: Any) -> None:
        records[name] = compute.fill_null(column, float("nan")).to_numpy()

    def _put_flag(self, records: Any, name: str, column: Any) -> None:
        records[name] = compute.fill_null(column.cast(pa.int8()), NOTHING).to_numpy()

    def _put_day(self, records: Any, name: str, column: Any) -> None:
        days = column.cast(pa.int32())
        records[name] = compute.fill_null(days, NO_DAY).to_numpy()

    def _texts(self, column: Any) -> Any:
        """Give the place of each text in the heap, (n,) int64."""
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        places = [self._place(text) for text in column.dictionary.to_pylist()]
        codes = compute.fill_null(column.indices.cast(pa.int64()), len(places)).to_numpy()
        return np.array([*places, NOTHING], np.int64)[codes]

    def _place(self, text: str) -> int:
        place = self._offsets.get(text)
        if place is None:
            place, raw = self._heap_size, text.encode()
            self._heap.write(LENGTH.pack(len(raw)) + raw)
            self._heap_size += LENGTH.size + len(raw)
            if len(self._offsets) < _REMEMBERED:
                self._offsets[text] = place
        return place

    # -- the end -----------------------------------------------------------------------------

    def finish(self, said: Mapping[str, Any]) -> None:
        """Write what finds the rows, and close the file.

        Parameters
        ----------
        said : mapping
            Goes into the footer.
        """
        footer = {**said, "count": self._count, "kinds": self._kinds, "grouped": self._grouped}
        if self._kinds:
            footer["texts"] = self._file.tell()
            self._heap.seek(0)
            shutil.copyfileobj(self._heap, self._file, 1 << 20)
            footer["order"] = self._file.tell()
            self._write_order()
            footer["sessions"] = self._file.tell()
            self._file.write(b"".join(self._sessions))
            footer["session_count"] = sum(map(len, self._sessions)) // SESSION.size
            footer["distinct"] = self._write_distinct()
            footer["checks"] = self._file.tell()
            self._file.write_sums()
        raw = json.dumps(footer).encode()
        self._file.write(raw + ENDING.pack(len(raw), zlib.crc32(raw)) + MAGIC)
        self._file.sync()
        self.close()

    def _put_aside(self, ids: Any) -> None:
        """Keep ids and numbers of rows for the order of the ids, by the first digit of the id."""
        entries = np.zeros(len(ids), _ENTRY)
        entries["id"] = ids.view(">u8")
        entries["row"] = np.arange(self._count, self._count + len(ids))
        digits = ids[:, 0] >> 4
        order = np.argsort(digits, kind="stable")
        ends = np.searchsorted(digits[order], np.arange(17))
        for file, first, end in zip(self._aside, ends, ends[1:], strict=False):
            file.write(entries[order[first:end]].tobytes())

    def _write_order(self) -> None:
        """Write the numbers of the rows in the order of their ids, a sixteenth at a time."""
        for file in self._aside:
            file.seek(0)
            entries = np.frombuffer(file.read(), _ENTRY)
            first, second = entries["id"].astype("<u8").T
            order = np.argsort(first, kind="stable")
            if (np.diff(first[order]) == 0).any():
                order = np.lexsort((second, first))
            marks = np.zeros(len(order), np.dtype([("prefix", "<u4"), ("row", "<u4")]))
            marks["prefix"] = first[order] >> 32
            marks["row"] = entries["row"][order]
            self._file.write(marks.tobytes())

    def _write_distinct(self) -> dict[str, tuple[int, int]]:
        """Write where the texts of each column lie, for columns with few; say where that is."""
        said = {}
        for name, places in self._distinct.items():
            if len(places) <= _VOCABULARY:
                said[name] = (self._file.tell(), len(places))
                self._file.write(np.array(sorted(places), "<i8").tobytes())
        return said

    def close(self) -> None:
        """Let go of the files."""
        files: list[_Summed | IO[bytes]] = [self._heap, *self._aside, self._file]
        for file in files:
            with contextlib.suppress(OSError):  # a full disk was reported by what filled it
                file.close()
