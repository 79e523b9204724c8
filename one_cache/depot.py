"""Tables that lie at an address, not in a folder: saved there, and brought from there."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Protocol, runtime_checkable

from one_cache.errors import InvalidArgument
from one_cache.remotes import Remote
from one_cache.store import Store
from one_cache.tables import Tables
from one_cache.transfer import fetch


@runtime_checkable
class Depot(Remote, Protocol):
    """A remote that also takes tables."""

    def put(self, path: str, source: Path) -> None:
        """Write a local file, so that readers see it whole or not at all."""
        ...


def save_tables(
    tables: Tables, remote: Remote, *, clobber: bool = False, silent: bool = False
) -> dict[str, str]:
    """Merge tables with those that lie at an address.

    Nobody else is kept from writing there meanwhile: of two that save at the same moment the
    later one's rows stay.

    Parameters
    ----------
    tables : Tables
        What is to be saved.
    remote : Remote
        The place.
    clobber : bool
        Replace what lies there instead.
    silent : bool
        No progress bar.

    Returns
    -------
    dict of str to str
        The address of each table.

    Raises
    ------
    InvalidArgument
        That place takes no tables.
    StoreError
        It refuses.
    """
    if not isinstance(remote, Depot):
        raise InvalidArgument(f"no tables can be saved at {remote.name}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not clobber:
            there = [listing.file for listing in remote.tables()]
            fetch(there, remote, Store(folder), silent=silent)
        written = tables.save(folder)
        # a session whose datasets are not there yet would look like one without any
        for path in sorted(written.values(), key=lambda path: path.stem):
            remote.put(path.name, path)
    return {name: f"{remote.name}/{path.name}" for name, path in written.items()}


def bring_tables(remote: Remote, folder: Path, *, silent: bool = False) -> None:
    """Merge the tables that lie at an address with those of a folder.

    Parameters
    ----------
    remote : Remote
        The place.
    folder : pathlib.Path
        Where they go.
    silent : bool
        No progress bar.

    Raises
    ------
    InvalidArgument
        There are none.
    TransferError
        They cannot be had.
    """
    there = [listing.file for listing in remote.tables()]
    if not there:
        raise InvalidArgument(f"there are no tables at {remote.name}")
    with tempfile.TemporaryDirectory() as name:
        fetch(there, remote, Store(name), silent=silent)
        tables = Tables.open(Path(name), silent=silent)
        tables.save(folder)
        tables.close()
