"""What a result depends on, as one hash: content of arrays and frames, source of functions."""

from __future__ import annotations

import ast
import dataclasses
import datetime as dt
import functools
import hashlib
import inspect
import textwrap
import tokenize
import types
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any

from one_cache.errors import InvalidArgument

_WRITTEN = (bool, int, float, complex, str, bytes, type(None))
_SHOWN = (dt.date, dt.time, dt.timedelta, dt.tzinfo, uuid.UUID, PurePath, Decimal)


def fingerprint(*values: Any) -> str:
    """Hash values by what they hold.

    Parameters
    ----------
    *values
        Numbers, texts, times, arrays, frames, relations, functions, dataclasses, and lists,
        mappings and sets of these. The order of a mapping or set does not count; a function
        counts by its source, and that of the functions of its module which it uses.

    Returns
    -------
    str
        Hex digest, the same in every process and on every machine.

    Raises
    ------
    InvalidArgument
        Something of which nobody can tell whether it changes.

    Examples
    --------
    >>> import numpy as np
    >>> fingerprint({"a": 1, "b": np.arange(3)}) == fingerprint({"b": np.arange(3), "a": 1})
    True
    >>> fingerprint(np.arange(3)) == fingerprint(np.arange(3.0))
    False
    """
    digest = hashlib.sha256()
    for value in values:
        for piece in _pieces(value):
            # the length before each piece: "ab", "c" is not "a", "bc"
            digest.update(str(memoryview(piece).nbytes).encode() + b":")
            digest.update(piece)
    return digest.hexdigest()


def _pieces(value: Any) -> Iterator[bytes | memoryview]:
    """Give the bytes of a value, a tag first."""
    plain = _plain(value)
    if plain is not None:
        yield plain
    elif isinstance(value, (list, tuple)):
        yield f"list {len(value)}".encode()
        for one in value:
            yield from _pieces(one)
    elif isinstance(value, Mapping):
        yield b"mapping"
        yield from sorted(fingerprint(key, one).encode() for key, one in value.items())
    elif isinstance(value, Set):
        yield b"set"
        yield from sorted(fingerprint(one).encode() for one in value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield type(value).__qualname__.encode()
        for item in dataclasses.fields(value):
            yield item.name.encode()
            yield from _pieces(getattr(value, item.name))
    elif isinstance(value, (functools.partial, types.FunctionType, types.MethodType)):
        yield from _function(value)
    else:
        yield from _columns(value)


def _plain(value: Any) -> bytes | None:
    """Give the bytes of a single value; None for anything else."""
    if isinstance(value, Enum):
        return f"{type(value).__qualname__}.{value.name}".encode()
    if isinstance(value, _WRITTEN):
        # a numpy number is the number
        kind: Any = next(one for one in _WRITTEN if isinstance(value, one))
        return f"{kind.__name__} {None if value is None else kind(value)!r}".encode()
    if isinstance(value, _SHOWN):
        return f"{type(value).__name__} {value}".encode()
    if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        item = value.item()
        if isinstance(item, (*_WRITTEN, *_SHOWN)):
            return _plain(item)
    return None


def _columns(value: Any) -> Iterator[bytes | memoryview]:
    """Give the bytes of an array, a frame, a series or a relation."""
    import numpy as np
    import pandas as pd

    if isinstance(value, np.ndarray):
        yield from _array(value)
    elif isinstance(value, pd.DataFrame):
        yield f"frame {len(value)}".encode()
        yield from _pieces([value.index, list(value.columns)])
        for at in range(value.shape[1]):
            yield from _pieces(value.iloc[:, at])
    elif isinstance(value, pd.MultiIndex):
        yield from _pieces([list(value.names), *map(value.get_level_values, range(value.nlevels))])
    elif isinstance(value, (pd.Series, pd.Index)):
        yield from _pieces(value.name)
        # text is text, however this version of pandas holds it
        numbers = isinstance(value.dtype, np.dtype) and value.dtype.kind != "O"
        yield from _array(value.to_numpy() if numbers else value.to_numpy(dtype=object))
    elif hasattr(value, "to_pandas"):
        yield from _columns(value.to_pandas())
    elif _is_missing(value):
        yield b"missing"
    else:
        raise InvalidArgument(
            f"a result cannot depend on a {type(value).__module__}.{type(value).__qualname__}: "
            "nobody can tell whether it changes. Hand over what it holds: arrays, frames, "
            "numbers, texts, or a dataclass of these"
        )


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return value is pd.NA or value is pd.NaT


def _array(value: Any) -> Iterator[bytes | memoryview]:
    import numpy as np

    if value.dtype.kind == "O":
        yield f"objects {value.shape}".encode()
        for one in value.ravel():
            # None, NaN and NA all say that a text is missing, as versions of pandas do
            yield from _pieces(None if _is_missing(one) or one != one else one)
        return
    value = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
    yield f"array {value.dtype.descr if value.dtype.names else value.dtype.str}".encode()
    yield str(value.shape).encode()
    yield memoryview(value.reshape(-1).view(np.uint8)) if value.size else b""


# -- functions -----------------------------------------------------------------------------------


def _function(function: Callable[..., Any]) -> Iterator[bytes | memoryview]:
    """Give source, defaults and closures of a function, and what it uses of its module."""
    if isinstance(function, functools.partial):
        yield from _pieces([function.func, function.args, function.keywords])
        return
    if isinstance(function, types.MethodType):
        yield from _pieces([function.__func__, function.__self__])
        return
    seen: dict[str, str] = {}
    _collect(function, seen)
    for name in sorted(seen):
        yield name.encode()
        yield seen[name].encode()


def _collect(function: Any, seen: dict[str, str]) -> None:
    # without the module: a script that is run is called __main__
    name = function.__qualname__
    if name in seen:
        return
    seen[name] = _source(function)
    if not isinstance(function, types.FunctionType):
        return
    seen[name] += _held(function.__defaults__, function.__kwdefaults__)
    for cell in function.__closure__ or ():
        seen[name] += _followed(cell.cell_contents, function, seen)
    for used in sorted(_names(function.__code__)):
        if used in function.__globals__:
            seen[name] += _followed(function.__globals__[used], function, seen)


def _followed(value: Any, user: Any, seen: dict[str, str]) -> str:
    """Follow what a function uses: functions of the same module, and values."""
    if isinstance(value, (types.FunctionType, type)):
        if value.__module__ == user.__module__:
            _collect(value, seen)
        return f" {value.__qualname__}"
    # what other packages give is named in the source; their versions stand in the result's row
    return "" if isinstance(value, types.ModuleType) or callable(value) else _held(value)


def _held(*values: Any) -> str:
    """Hash values where they can be; a logger, say, changes no result."""
    try:
        return f" {fingerprint(*values)}"
    except InvalidArgument:
        return ""


def _names(code: types.CodeType) -> set[str]:
    """Give the names that code uses, with those of the functions within it."""
    inner = (one for one in code.co_consts if isinstance(one, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _source(function: Any) -> str:
    """Give the text of a function or class; of one that was made without a file, its code."""
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError, SyntaxError, tokenize.TokenError):
        text = ""
    # code that was compiled under the name of another file would show its lines
    if function.__name__ == "<lambda>" and "lambda" in text:
        return text
    if text and function.__name__ in _defined(text):
        return text
    code = getattr(function, "__code__", None)
    if code is None:
        return str(function.__qualname__)
    return f"{code.co_code.hex()} {_constants(code.co_consts)} {code.co_names}"


def _defined(text: str) -> Sequence[str]:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return ()
    return [one.name for one in tree.body if isinstance(one, (ast.FunctionDef, ast.ClassDef))]


def _constants(found: Sequence[Any]) -> str:
    """Write constants of code; code within it has an address in its own text."""
    return str(
        [
            f"{one.co_code.hex()} {_constants(one.co_consts)} {one.co_names}"
            if isinstance(one, types.CodeType)
            else repr(one)
            for one in found
        ]
    )
