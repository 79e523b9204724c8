"""The tables of a remote, kept beside ours: brought when they changed, used when it is away."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from one_cache.atomic import write_json
from one_cache.errors import CacheWarning, TransferFailed
from one_cache.records import File
from one_cache.remotes import Body, Listing, Question, Remote
from one_cache.store import Store
from one_cache.tables import Tables
from one_cache.transfer import fetch

STATE = "remote.json"


class _Elsewhere:
    """A remote whose files are to lie under other names here."""

    def __init__(self, remote: Remote, origins: Mapping[str, File]) -> None:
        self.name = remote.name
        self._remote = remote
        self._origins = origins

    def tables(self) -> Sequence[Listing]:
        return self._remote.tables()

    def records(self, question: Question) -> Sequence[Mapping[str, Any]] | None:
        return self._remote.records(question)

    def open(self, file: File, start: int = 0, validator: str | None = None) -> Body:
        return self._remote.open(self._origins[file.path], start, validator)

    def url(self, file: File) -> str:
        return self._remote.url(self._origins[file.path])


def _folder(remote: Remote) -> str:
    """Give a name of its own for each remote that a person can recognise."""
    digest = hashlib.sha256(remote.name.encode()).hexdigest()[:8]
    words = re.sub(r"[^A-Za-z0-9.-]+", "_", remote.name.partition("://")[2] or remote.name)
    return f".one_cache/remotes/{words.strip('_')[-60:]}-{digest}"


def remote_tables(remote: Remote, store: Store, *, silent: bool = False) -> Tables | None:
    """Open the tables that a remote carries, as they are there now.

    Parameters
    ----------
    remote : Remote
        Asked once which tables it has; those that changed are brought.
    store : Store
        Cache that keeps the copies.
    silent : bool
        No progress bar.

    Returns
    -------
    Tables or None
        None where the remote has no tables: it answers questions itself.

    Raises
    ------
    TransferFailed
        The remote is away and there are no copies.

    Warns
    -----
    CacheWarning
        The remote is away; the copies are used, and how old they are.
    """
    base = _folder(remote)
    home = store.path(base)
    try:
        listings = remote.tables()
    except TransferFailed as error:
        return _kept(home, error)
    if not listings:
        return None
    # a folder for each version: whoever reads the former one is not disturbed
    version = _version(listings)
    files = {f"{base}/{version}/{one.name}.pqt": one.file for one in listings}
    wanted = [replace(file, path=path) for path, file in files.items()]
    fetch(wanted, _Elsewhere(remote, files), store, silent=silent)
    state = _read_state(home)
    if state.get("version") != version:
        write_json(home / STATE, {"remote": remote.name, "version": version, "at": time.time()})
        _forget(home, keep={version, state.get("version")})
    return Tables.open(home / version, silent=silent)


def _version(listings: Sequence[Listing]) -> str:
    """Name a set of tables by their fingerprints."""
    text = "\n".join(sorted(f"{one.name} {one.fingerprint}" for one in listings))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _forget(home: Path, keep: Collection[str | None]) -> None:
    """Remove the versions before the last one; a reader of the last one may still be there."""
    for folder in home.iterdir():
        if folder.is_dir() and not folder.name.startswith(".") and folder.name not in keep:
            shutil.rmtree(folder, ignore_errors=True)


def _read_state(home: Path) -> dict[str, Any]:
    try:
        state = json.loads((home / STATE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        # lost or half-written: the tables are brought again, which costs time only
        return {}
    return state if isinstance(state, dict) else {}


def _kept(home: Path, error: TransferFailed) -> Tables:
    state = _read_state(home)
    if not state.get("version"):
        raise TransferFailed(
            f"{error}; nothing was brought from there before. Check the address and the network, "
            "or use mode='local' with saved tables"
        ) from error
    hours = (time.time() - state.get("at", 0)) / 3600
    warnings.warn(
        f"{state.get('remote')} is away ({error}); using the tables that were brought "
        f"{hours:.1f} h ago",
        CacheWarning,
        stacklevel=5,
    )
    return Tables.open(home / state["version"], writable=False)
