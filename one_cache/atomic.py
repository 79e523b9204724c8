"""Small files written whole or not at all: beside their place, then renamed into it.

Settings, manifests, records and notes are written here. Data files are the store's, tables are
the tables' own; both publish in the same way.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from one_cache.errors import StoreError


def write_bytes(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write `data` to `path` so that a reader sees all of it or what was there before.

    Parameters
    ----------
    path : pathlib.Path
        Its folder is made when it is missing.
    data : bytes
        The whole content.
    private : bool
        Readable by the owner only (0600) from the first byte on.

    Raises
    ------
    StoreError
        The folder refuses; what was there before is still there.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_bytes(Path(folder, "a", "b.txt"), b"whole")
    ...     Path(folder, "a", "b.txt").read_text()
    'whole'
    """
    try:
        _publish(path, data, 0o600 if private else 0o666)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror}; what was there before is as it was",
            error.errno,
        ) from error


def _publish(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # a name of its own for each writer: two processes never share a temporary file
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def write_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Write `value` as indented JSON; see :func:`write_bytes`.

    Parameters
    ----------
    path : pathlib.Path
        Where.
    value : any
        What JSON can hold.
    private : bool
        See :func:`write_bytes`.
    """
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    write_bytes(path, f"{text}\n".encode(), private=private)
