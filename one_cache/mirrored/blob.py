"""Packed values of DataJoint pipelines, read without DataJoint.

A packed value begins with ``mYm`` (arrays, cells and structs, as MATLAB writes them too) or
``dj0`` (everything else of Python), and may be compressed as a whole (``ZL123``). Numbers lie in
the order of the bytes of a little-endian machine, arrays with the first axis fastest.
"""

from __future__ import annotations

import datetime as dt
import struct
import uuid
import zlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from one_cache.errors import ContentError

_COMPRESSED = b"ZL123\0"
_FORMATS = (b"mYm\0", b"dj0\0")
_DTYPES = {
    3: "?",
    6: "<f8",
    7: "<f4",
    8: "i1",
    9: "u1",
    10: "<i2",
    11: "<u2",
    12: "<i4",
    13: "<u4",
    14: "<i8",
    15: "<u8",
    **{
        65536 + place: f"<M8[{unit}]"
        for place, unit in enumerate(
            ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"]
        )
    },
}
_CHARS, _OBJECTS = 4, 5


def is_packed(data: bytes) -> bool:
    r"""Tell whether bytes are a packed value.

    Examples
    --------
    >>> is_packed(b"dj0\0\x0b\1"), is_packed(b"anything else")
    (True, False)
    """
    return data.startswith((_COMPRESSED, *_FORMATS))


def unpack(data: bytes) -> Any:
    r"""Give the value that was packed.

    Parameters
    ----------
    data : bytes
        As the server stores it.

    Returns
    -------
    any
        Arrays of numpy, and Python's own types; structs and cells of MATLAB as record arrays and
        arrays of objects.

    Raises
    ------
    ContentError
        It is cut off, or of a kind that nobody knows.

    Examples
    --------
    >>> unpack(b"dj0\0\x0a\1\0\7")
    7
    >>> unpack(b"dj0\0\x0a\2\0\7")
    Traceback (most recent call last):
    one_cache.errors.ContentError: a packed value of 8 bytes cannot be read: ...
    """
    try:
        whole = _inflated(data)
        if not whole.startswith(_FORMATS):
            raise ValueError(f"it begins with {whole[:6]!r}")
        reader = _Reader(whole, len(_FORMATS[0]))
        value = reader.value()
        if reader.at != len(whole):
            raise ValueError(f"{len(whole) - reader.at} bytes are left over")
    except (ValueError, IndexError, KeyError, TypeError, struct.error, zlib.error) as error:
        raise ContentError(
            f"a packed value of {len(data)} bytes cannot be read: {error!r}"
        ) from error
    return value


def _inflated(data: bytes) -> bytes:
    if not data.startswith(_COMPRESSED):
        return data
    start = len(_COMPRESSED) + 8
    (size,) = struct.unpack_from("<Q", data, len(_COMPRESSED))
    whole = zlib.decompress(data[start:])
    if len(whole) != size:
        raise ValueError(f"{size} bytes were compressed, {len(whole)} came out")
    return whole


class _Reader:
    """Reads one value after the other."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def value(self) -> Any:
        kind = self._take(1)
        read = _KINDS.get(kind)
        if read is None:
            raise ValueError(f"no kind of value is marked {kind!r}")
        return read(self)

    # -- small pieces ----------------------------------------------------------------------

    def _take(self, count: int) -> bytes:
        piece = self.data[self.at : self.at + count]
        if len(piece) < count:
            raise ValueError("it is cut off")
        self.at += count
        return piece

    def _number(self, code: str) -> Any:
        (found,) = struct.unpack(f"<{code}", self._take(struct.calcsize(f"<{code}")))
        return found

    def _name(self) -> str:
        end = self.data.index(b"\0", self.at)
        name = self.data[self.at : end].decode()
        self.at = end + 1
        return name

    def _sized(self) -> Any:
        """Read a value that says its length first."""
        end = self._number("Q") + self.at
        found = self.value()
        if self.at != end:
            raise ValueError("a value inside is longer or shorter than it says")
        return found

    def _shape(self) -> tuple[int, ...]:
        return tuple(self._number("Q") for _ in range(self._number("Q")))

    # -- scalars ---------------------------------------------------------------------------

    def _none(self) -> None:
        return None

    def _integer(self) -> int:
        return int.from_bytes(self._take(self._number("H")), "little", signed=True)

    def _truth(self) -> bool:
        return bool(self._take(1)[0])

    def _float(self) -> float:
        return float(self._number("d"))

    def _complex(self) -> complex:
        return complex(self._number("d"), self._number("d"))

    def _bytes(self) -> bytes:
        return self._take(self._number("Q"))

    def _text(self) -> str:
        return self._bytes().decode()

    def _decimal(self) -> Decimal:
        return Decimal(self._text())

    def _uuid(self) -> uuid.UUID:
        return uuid.UUID(bytes=self._take(16))

    def _moment(self) -> Any:
        date, time = self._number("i"), self._number("q")
        day = dt.date(date // 10000, date // 100 % 100, date % 100) if date >= 0 else None
        if time < 0:
            return day
        whole, fraction = divmod(time, 1_000_000)
        clock = dt.time(whole // 10000 % 100, whole // 100 % 100, whole % 100, fraction)
        return clock if day is None else dt.datetime.combine(day, clock)

    # -- several ---------------------------------------------------------------------------

    def _list(self) -> list[Any]:
        return [self._sized() for _ in range(self._number("Q"))]

    def _tuple(self) -> tuple[Any, ...]:
        return tuple(self._list())

    def _set(self) -> set[Any]:
        return set(self._list())

    def _dict(self) -> dict[Any, Any]:
        return {self._sized(): self._sized() for _ in range(self._number("Q"))}

    def _array(self) -> Any:
        import numpy as np

        shape = self._shape()
        count = int(np.prod(shape, dtype=int))
        kind, is_complex = self._number("I"), self._number("I")
        if kind == _OBJECTS:
            found: Any = np.empty(count, dtype=object)
            for place in range(count):
                found[place] = self._sized()
        elif kind == _CHARS:
            return self._letters(shape, count)
        else:
            found = self._numbers(kind, count)
            if is_complex:
                found = found + 1j * self._numbers(kind, count)
        # without an axis it is a number of numpy
        return found.reshape(shape, order="F") if shape else found[0]

    def _numbers(self, kind: int, count: int) -> Any:
        import numpy as np

        dtype = np.dtype(_DTYPES[kind])
        # a copy: users change what they fetch
        return np.frombuffer(self._take(count * dtype.itemsize), dtype).copy()

    def _letters(self, shape: tuple[int, ...], count: int) -> Any:
        """Read the characters of MATLAB, two bytes each; a row of them is one text."""
        import numpy as np

        text = self._take(2 * count)[::2].decode("latin-1")
        if len(shape) == 1 or (len(shape) == 2 and shape[0] == 1):
            return np.array([text])
        return np.array(list(text), dtype="U1").reshape(shape, order="F")

    def _records(self) -> Any:
        import numpy as np

        names = [self._name() for _ in range(self._number("I"))]
        if not names:
            return np.array(None)
        columns = [self.value() for _ in names]
        kind = [(name, column.dtype) for name, column in zip(names, columns, strict=True)]
        found = np.empty(columns[0].shape, kind)
        for name, column in zip(names, columns, strict=True):
            found[name] = column
        return found.view(np.recarray)

    def _struct(self) -> Any:
        import numpy as np

        shape = self._shape()
        names = [self._name() for _ in range(self._number("I"))]
        if not names:
            return np.array(None)
        count = int(np.prod(shape, dtype=int))
        rows = [tuple(self._sized() for _ in names) for _ in range(count)]
        found = np.array(rows, dtype=[(name, object) for name in names])
        return found.reshape(shape, order="F").view(np.recarray)

    def _cells(self) -> Any:
        import numpy as np

        shape = self._shape()
        count = int(np.prod(shape, dtype=int))
        found = np.empty(count, dtype=object)
        for place in range(count):
            found[place] = self._sized()
        return found.reshape(shape, order="F") if count else found


_KINDS: dict[bytes, Callable[[_Reader], Any]] = {
    b"A": _Reader._array,
    b"C": _Reader._cells,
    b"S": _Reader._struct,
    b"F": _Reader._records,
    b"\xff": _Reader._none,
    b"\x01": _Reader._tuple,
    b"\x02": _Reader._list,
    b"\x03": _Reader._set,
    b"\x04": _Reader._dict,
    b"\x05": _Reader._text,
    b"\x06": _Reader._bytes,
    b"\x0a": _Reader._integer,
    b"\x0b": _Reader._truth,
    b"\x0c": _Reader._complex,
    b"\x0d": _Reader._float,
    b"d": _Reader._decimal,
    b"t": _Reader._moment,
    b"u": _Reader._uuid,
}
