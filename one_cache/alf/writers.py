"""One file's content, the other way: data written by extension, whole or not at all."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from one_cache.errors import InvalidArgument


def save_file(path: str | os.PathLike[str], data: Any) -> None:
    """Write one file by its extension; it appears under its name only when it is complete.

    Parameters
    ----------
    path : str or path
        Where to; the extension is one of npy, npz, csv, ssv, tsv, htsv, pqt, parquet, json,
        jsonable.
    data : Any
        What :func:`load_file` gives for that extension. Arrays of Python objects are refused.

    Raises
    ------
    InvalidArgument
        The extension has no writer, or its format cannot hold `data`.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     save_file(f"{folder}/licks.times.npy", np.array([0.5, 0.7]))
    ...     np.load(f"{folder}/licks.times.npy")
    array([0.5, 0.7])
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix)
    if writer is None:
        known = ", ".join(_WRITERS)
        raise InvalidArgument(f"{path}: no writer for {path.suffix!r}; there are: {known}")
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        writer(beside, data)
        os.replace(beside, path)
    except (ValueError, TypeError, AttributeError) as error:
        what = f"cannot hold a {type(data).__name__}: {error}"
        raise InvalidArgument(f"{path}: {path.suffix} {what}") from error
    finally:
        beside.unlink(missing_ok=True)


def _write_npy(path: Path, data: Any) -> None:
    with open(path, "wb") as file:  # by name, numpy would add an extension
        np.save(file, data, allow_pickle=False)


def _write_npz(path: Path, data: Any) -> None:
    with open(path, "wb") as file:
        if isinstance(data, np.ndarray):
            np.savez(file, data)
        else:
            np.savez(file, **data)


def _write_delimited(delimiter: str) -> Callable[[Path, Any], None]:
    def write(path: Path, data: Any) -> None:
        data.to_csv(path, sep=delimiter, index=False)

    return write


def _write_parquet(path: Path, data: Any) -> None:
    data.to_parquet(path)


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")


def _write_jsonable(path: Path, data: Any) -> None:
    path.write_text("".join(json.dumps(item) + "\n" for item in data), encoding="utf-8")


_WRITERS: dict[str, Callable[[Path, Any], None]] = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".csv": _write_delimited(","),
    ".ssv": _write_delimited(" "),
    ".tsv": _write_delimited("\t"),
    ".htsv": _write_delimited("\t"),
    ".pqt": _write_parquet,
    ".parquet": _write_parquet,
    ".json": _write_json,
    ".jsonable": _write_jsonable,
}
