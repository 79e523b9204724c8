"""Results as files: the same value gives the same bytes, and nothing in them is ever run."""

from __future__ import annotations

import datetime as dt
import io
import json
import uuid
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from one_cache.errors import ContentError, InvalidArgument
from one_cache.trials.aligned import Aligned
from one_cache.trials.spikes import Peth

_STRUCTURE = "structure"
_TAG = "$"
_KINDS: Mapping[str, type] = {"Aligned": Aligned, "Peth": Peth}
_TIMES: Mapping[str, Any] = {
    "datetime": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
    "time": dt.time.fromisoformat,
    "UUID": uuid.UUID,
}


def pack(value: Any) -> tuple[bytes, str]:
    """Give a value as the content of a file.

    Parameters
    ----------
    value : array, DataFrame, number, text, time, Aligned, Peth, or lists and mappings of these
        What was computed.

    Returns
    -------
    content : bytes
        The same for the same value.
    extension : {".npy", ".pqt", ".npz"}
        An array, a frame, or anything else.

    Raises
    ------
    InvalidArgument
        Anything else, named with its place.

    Examples
    --------
    >>> content, extension = pack({"rate": np.arange(3.0), "units": [4, 7]})
    >>> extension
    '.npz'
    """
    import pandas as pd

    if isinstance(value, np.ndarray):
        return _npy(value, "the result"), ".npy"
    if isinstance(value, pd.DataFrame):
        return _parquet(value, "the result"), ".pqt"
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    tree = _node(value, "the result", arrays)
    text = np.frombuffer(json.dumps(tree).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, **{_STRUCTURE: text}, **arrays)  # type: ignore[arg-type]  # allow_pickle=
    return file.getvalue(), ".npz"


def unpack(path: Path) -> Any:
    """Give the value that a file holds.

    Parameters
    ----------
    path : pathlib.Path
        What :func:`pack` gave, under a name of that extension.

    Returns
    -------
    any
        As it was, with tuples as tuples.

    Raises
    ------
    ContentError
        It is no such file.
    """
    import pandas as pd

    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix == ".pqt":
            return pd.read_parquet(path)
        with np.load(path, allow_pickle=False) as found:
            return _value(json.loads(found[_STRUCTURE].tobytes()), found)
    except (ValueError, KeyError, TypeError, EOFError) as error:
        raise ContentError(f"{path}: is no result of this package: {error}") from error


def _npy(array: np.ndarray[Any, Any], where: str) -> bytes:
    _require_plain(array, where)
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _require_plain(array: np.ndarray[Any, Any], where: str) -> None:
    if array.dtype.hasobject:
        raise InvalidArgument(
            f"{where} is an array of Python objects, which no file can hold safely; give numbers, "
            "texts (dtype=str) or a DataFrame"
        )


def _parquet(frame: Any, where: str) -> bytes:
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    file = io.BytesIO()
    try:
        frame.to_parquet(file)
    except (ValueError, TypeError, pa.ArrowException) as error:
        raise InvalidArgument(f"{where} is a frame that Parquet cannot hold: {error}") from error
    return file.getvalue()


def _node(value: Any, where: str, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """Give a value in JSON; its arrays are put beside it."""
    import pandas as pd

    name = type(value).__name__
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is _KINDS.get(name):
        inside = {one: getattr(value, one) for one in _fields(value)}
        return {_TAG: name, "of": {k: _node(v, f"{where}.{k}", arrays) for k, v in inside.items()}}
    if isinstance(value, Mapping):
        pairs = [
            [_node(key, f"a key of {where}", arrays), _node(one, f"{where}[{key!r}]", arrays)]
            for key, one in value.items()
        ]
        return {_TAG: "mapping", "of": pairs}
    if isinstance(value, (list, tuple)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        parts = [_node(one, f"{where}[{at}]", arrays) for at, one in enumerate(value)]
        return {_TAG: kind, "of": parts}
    if name in _TIMES:
        return {_TAG: name, "of": str(value) if name == "UUID" else value.isoformat()}
    if isinstance(value, pd.DataFrame):
        content = np.frombuffer(_parquet(value, where), np.uint8)
        return {_TAG: "frame", "of": _put(content, arrays)}
    if isinstance(value, (np.ndarray, np.generic)):
        _require_plain(np.asarray(value), where)
        kind = "number" if isinstance(value, np.generic) else "array"
        return {_TAG: kind, "of": _put(np.asarray(value), arrays)}
    raise InvalidArgument(
        f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which cannot be kept; "
        "give arrays, frames, numbers, texts, Aligned, Peth, or lists and mappings of these"
    )


def _put(array: np.ndarray[Any, Any], arrays: dict[str, np.ndarray[Any, Any]]) -> str:
    name = f"a{len(arrays)}"
    arrays[name] = array
    return name


def _fields(value: Any) -> list[str]:
    return [one.name for one in fields(value)] if is_dataclass(value) else list(value._fields)


def _value(node: Any, arrays: Any) -> Any:
    """Give back what :func:`_node` took."""
    if not isinstance(node, dict):
        return node
    kind, of = node[_TAG], node["of"]
    if kind in _KINDS:
        return _KINDS[kind](**{name: _value(one, arrays) for name, one in of.items()})
    if kind == "mapping":
        return {_value(key, arrays): _value(one, arrays) for key, one in of}
    if kind in ("list", "tuple"):
        parts = [_value(one, arrays) for one in of]
        return tuple(parts) if kind == "tuple" else parts
    if kind in _TIMES:
        return _TIMES[kind](of)
    if kind == "frame":
        import pandas as pd

        return pd.read_parquet(io.BytesIO(arrays[of].tobytes()))
    return arrays[of][()] if kind == "number" else arrays[of]
