"""Whole tables that a database gives as one zip: brought, checked, unpacked; what a folder holds.

A zip is taken apart with care: only the members that are known, no larger than tables can be,
into a folder that nobody else looks into. What became of it is noted beside the tables, so that
the same tables are not brought twice and a tag's tables are not mixed with others.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from one_cache.atomic import write_json
from one_cache.errors import RemoteError, StoreError
from one_cache.records import File
from one_cache.remotes import Remote
from one_cache.store import Store
from one_cache.tables import Tables
from one_cache.transfer import fetch

_log = logging.getLogger(__name__)

_TABLES = ("sessions.pqt", "datasets.pqt")
_MEMBERS = (*_TABLES, "cache_info.json")
_STATE = Path(".one_cache", "whole.json")
# Parquet is compressed already: what unpacks to more than this is no zip of tables
_MOST_TIMES = 200
_MOST_MORE = 64 << 20  # bytes


def tag_folder(tag: str) -> str:
    """Give the name of the folder for the tables of a tag.

    Examples
    --------
    >>> tag_folder("2024_Q2_Test_et_al")
    '2024_Q2_Test_et_al'
    >>> tag_folder("../a b")
    '_._a_b-2c2c791a'
    """
    name = re.sub(r"[^\w.-]|^\.|\.\.", "_", tag)
    if name == tag:
        return name
    # another tag may come to the same
    return f"{name}-{hashlib.sha256(tag.encode()).hexdigest()[:8]}"


def read_state(folder: Path) -> dict[str, Any]:
    """Give what was noted of the whole tables in a folder; empty where nothing was.

    Parameters
    ----------
    folder : pathlib.Path
        Holds tables.

    Returns
    -------
    dict
        ``remote``, ``tag``, ``date_created``, ``tables``.
    """
    try:
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # lost or half-written: the tables are brought again, which costs time only
        return {}
    return state if isinstance(state, dict) else {}


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Note which whole tables a folder holds."""
    (folder / _STATE).parent.mkdir(parents=True, exist_ok=True)
    write_json(folder / _STATE, dict(state))


@contextmanager
def unpacked(remote: Remote, store: Store, url: str, *, silent: bool = False) -> Iterator[Tables]:
    """Bring a zip of tables; they are open as long as the block lasts.

    Parameters
    ----------
    remote : Remote
        Who gives it.
    store : Store
        Cache in which it lies meanwhile.
    url : str
        Address of the zip.
    silent : bool
        No progress bar.

    Yields
    ------
    Tables

    Raises
    ------
    TransferError
        It does not arrive.
    RemoteError
        It is no zip of tables.
    """
    hidden = store.path(".one_cache")
    hidden.mkdir(parents=True, exist_ok=True)
    # a folder of its own: another process may be at the same
    home = Path(tempfile.mkdtemp(prefix="packed-", dir=hidden))
    try:
        name = f".one_cache/{home.name}/cache.zip"
        fetch([File(name, url=url)], remote, store, silent=silent)
        folder = home / "tables"
        folder.mkdir()
        unpack(store.path(name), folder, url)
        tables = Tables.open(folder, silent=silent)
        yield tables
        tables.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def unpack(archive: Path, folder: Path, source: str) -> None:
    """Take the tables out of a zip.

    Parameters
    ----------
    archive : pathlib.Path
        The zip.
    folder : pathlib.Path
        Empty.
    source : str
        Where it comes from, for messages.

    Raises
    ------
    RemoteError
        It is no zip, lacks a table, or would unpack to more than tables can be.
    StoreError
        The disk refuses or is full.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            for info in _members(opened, archive.stat().st_size, source):
                # reads no more than the declared size, and checks the sum at the end
                with opened.open(info) as given, (folder / info.filename).open("xb") as target:
                    shutil.copyfileobj(given, target, 1 << 20)
    except (zipfile.BadZipFile, NotImplementedError, zlib.error, EOFError) as error:
        raise RemoteError(f"{source} is no zip of tables: {error}") from error
    except OSError as error:
        if isinstance(error, RemoteError):
            raise
        raise StoreError(f"{folder}: cannot be written: {error}", error.errno) from error


def _members(opened: zipfile.ZipFile, size: int, source: str) -> list[zipfile.ZipInfo]:
    """Choose what is unpacked; the names are exactly those that are expected."""
    found = {info.filename: info for info in opened.infolist() if info.filename in _MEMBERS}
    others = sorted(set(opened.namelist()) - set(found))
    if others:
        _log.info("%s: left out: %s", source, ", ".join(others))
    missing = [name for name in _TABLES if name not in found]
    if missing:
        raise RemoteError(f"{source} is no zip of tables: it lacks {' and '.join(missing)}")
    if any(info.flag_bits & 1 for info in found.values()):
        raise RemoteError(f"{source} is encrypted")
    total = sum(info.file_size for info in found.values())
    if total > _MOST_MORE + _MOST_TIMES * size:
        raise RemoteError(
            f"{source}: {size} bytes would unpack to {total}, more than tables can; not unpacked"
        )
    return list(found.values())
