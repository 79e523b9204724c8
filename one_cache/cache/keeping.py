"""What outlives a script: tables saved and loaded, the freeze, the record of what was read."""

from __future__ import annotations

import html
import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from one_cache.cache.desk import file_of, open_remote
from one_cache.cache.noting import Noting
from one_cache.cache.opening import Opening
from one_cache.catalogue import AGGREGATES, TableCatalogue, keep_datasets
from one_cache.depot import save_tables
from one_cache.errors import CacheWarning, InvalidArgument, ModeError
from one_cache.manifest import Manifest, TablePin, now
from one_cache.recorder import Recorder
from one_cache.tables import Tables

_log = logging.getLogger(__name__)


class Keeping(Opening, Noting):
    """Tables, manifest and record of a cache."""

    # -- tables ------------------------------------------------------------------------------

    def save_cache(
        self, save_dir: str | Path | None = None, clobber: bool = False
    ) -> dict[str, Path] | dict[str, str]:
        """Write the tables: what was on disk, and all records that questions brought.

        Tables that are there already are merged with, row by row, under a lock.

        Parameters
        ----------
        save_dir : path-like, optional
            Folder, or an address that takes tables (``s3://bucket/prefix``); the cache's own
            folder when not given.
        clobber : bool
            Replace what is there instead.

        Returns
        -------
        dict of str to pathlib.Path
            The file of each table, or its address as text. Empty in a fixed cache that is asked
            to save into itself: what it holds is what is there.
        """
        if "://" in str(save_dir):
            place = open_remote(str(save_dir))
            return save_tables(self.tables, place, clobber=clobber, silent=self.silent)
        folder = Path(save_dir).expanduser().absolute() if save_dir else self.tables_dir
        if self._is_own(folder):
            _log.info("mode %s writes nothing into %s", self.mode, folder)
            return {}
        return self.tables.save(folder, clobber=clobber, origin=self.source)

    def _is_own(self, folder: Path) -> bool:
        """Whether a folder lies in this cache while its mode writes nothing there."""
        if self.policy().writes:
            return False
        return any(
            folder.resolve().is_relative_to(own.resolve())
            for own in (Path(self.cache_dir), self.tables_dir)
        )

    def reset_cache(self) -> None:
        """Forget the records in memory; the tables on disk are as before, and the record too."""
        self.tables.close()
        self.tables = self._open_tables(self.tables_dir)
        self._remote_tables = None
        self._sessions_seen.clear()

    def freeze(self, path: str | Path | None = None, *, release: str | None = None) -> Path:
        """Save the tables and write the manifest that ``mode="fixed"`` opens.

        Parameters
        ----------
        path : path-like, optional
            Folder for tables and manifest; the cache's own when not given. A fixed cache on
            another folder is opened with ``ONE(cache_dir=..., tables_dir=path, mode="fixed")``.
        release : str, optional
            Name of the data release, which ``version=`` can ask for later.

        Returns
        -------
        pathlib.Path
            The manifest.

        Raises
        ------
        InvalidArgument
            There are no tables, so nothing would be pinned.

        Notes
        -----
        A dataset whose record has no hash is hashed if its file is here, and the hash is
        pinned; if not, fixed mode will refuse it.
        """
        folder = Path(path).expanduser().absolute() if path else self.tables_dir
        if self._is_own(folder):
            _log.info("mode %s is frozen already in %s", self.mode, folder)
            return folder / "manifest.json"
        if not any(self.tables.count(name) for name in self.tables.names()):
            raise InvalidArgument(
                f"there are no tables in {self.tables_dir}, so nothing would be pinned; bring "
                "those of the remote with load_cache(), or freeze what a record names "
                "(one-cache freeze FOLDER --record RECORD)"
            )
        self._pin_unhashed()
        self.tables.save(folder, clobber=folder != self.tables_dir, origin=self.source)
        saved = Tables.open(folder, silent=self.silent)
        pins = {
            name: TablePin(f"{name}.pqt", digest, saved.count(name))
            for name, digest in saved.hashes().items()
        }
        saved.close()
        before = self.manifest.remotes if self.manifest else ()
        manifest = Manifest(
            tables=pins,
            remotes=(self.source,) if self.source else before,
            release=release,
            revision_last_before=self.revision_last_before,
            created=now(),
        )
        return manifest.write(folder)

    def _pin_unhashed(self) -> None:
        """Give the datasets without a hash that of their file, where it is on disk."""
        rows = self.tables.rows("SELECT id FROM datasets WHERE coalesce(hash, '') = ''")
        known = self.tables.datasets([row["id"] for row in rows])
        if AGGREGATES in self.tables.names():
            known += [one for one in TableCatalogue(self.tables).aggregates() if not one.hash]
        sessions = {one.id: one for one in self.tables.sessions([one.eid for one in known])}
        learned = []
        for dataset in known:
            if dataset.eid and dataset.eid not in sessions:
                continue
            path = file_of(dataset, sessions.get(dataset.eid)).path
            if self.store.path(path).is_file():
                size = self.store.path(path).stat().st_size
                digest = self.store.digest(path)
                learned.append(replace(dataset, hash=digest, file_size=size))
        keep_datasets(self.tables, learned)

    # -- the record ----------------------------------------------------------------------------

    @property
    def record_loaded(self) -> bool:
        """Whether what is loaded is recorded."""
        return self.recorder.on

    @record_loaded.setter
    def record_loaded(self, value: bool) -> None:
        self.recorder.on = bool(value)

    @contextmanager
    def recording(self) -> Iterator[Recorder]:
        """Record within a ``with`` block; gives the recorder."""
        before = self.recorder.on
        self.recorder.on = True
        try:
            yield self.recorder
        finally:
            self.recorder.on = before

    def save_loaded_ids(
        self, sessions_only: bool = False, clear_list: bool = True
    ) -> tuple[list[UUID], Path | None]:
        """Write the ids of what was loaded since :attr:`record_loaded` was set.

        Parameters
        ----------
        sessions_only : bool
            Ids of the sessions instead of the datasets.
        clear_list : bool
            Forget the record after writing.

        Returns
        -------
        ids : list of uuid.UUID
            Sorted.
        path : pathlib.Path or None
            ``<time>_loaded_dataset_uuids.csv`` with the header ``dataset_uuid``, or
            ``<time>_loaded_session_uuids.csv`` with ``session_uuid``, among the tables (a fixed
            cache: in the working directory). None where nothing was recorded.
        """
        if not len(self.recorder):
            warnings.warn(
                "no datasets loaded; set record_loaded = True before loading",
                CacheWarning,
                stacklevel=2,
            )
            return [], None
        folder = self.tables_dir if self.policy().writes else Path.cwd()
        ids, path = self.recorder.save_ids(folder, sessions_only=sessions_only)
        if clear_list:
            self.recorder.clear()
        return [UUID(one) for one in ids], path

    def save_record(self, path: str | Path) -> Path:
        """Write the full record: what was read, in order, with revision, hash, size, source.

        Parameters
        ----------
        path : path-like
            A file of JSON lines; its folder is made when missing.

        Returns
        -------
        pathlib.Path
            `path`.

        Raises
        ------
        ModeError
            A fixed cache, and a path inside it.
        """
        target = Path(path).expanduser().absolute()
        if self._is_own(target):
            raise ModeError(
                f"mode {self.mode!r} writes nothing into the cache; save {target.name} elsewhere"
            )
        return self.recorder.save(target, self._about())

    # -- shown to people -----------------------------------------------------------------------

    def facts(self) -> dict[str, str]:
        """Give what one wants to know of a cache at a glance, by name."""
        names = self.tables.names()
        cutoff = self.revision_last_before
        counts = {
            name: f"{self.tables.count(name):,}" if name in names else "none"
            for name in ("sessions", "datasets")
        }
        return {
            "folder": str(self.cache_dir),
            **({"tables": str(self.tables_dir)} if self._tables_dir else {}),
            "mode": self.mode,
            "remote": self.source or "none",
            "revisions": f"up to {cutoff}" if cutoff else "all",
            **counts,
            "recorded": f"{len(self.recorder)} loads" if self.recorder.on else "off",
        }

    def __repr__(self) -> str:
        facts = self.facts()
        inside = ", ".join(f"{key}={value}" for key, value in facts.items())
        return f"{type(self).__name__}({inside})"

    def size_on_disk(self, seconds: float | None = None) -> tuple[int, bool]:
        """Give the bytes that the files of this cache take, tables included.

        Parameters
        ----------
        seconds : float, optional
            Stop counting after that long.

        Returns
        -------
        size : int
            Bytes.
        complete : bool
            Whether all files were counted.
        """
        end = None if seconds is None else time.monotonic() + seconds
        size = 0
        for folder, _, names in os.walk(self.cache_dir):
            for name in names:
                # a file that another process removes meanwhile takes no space
                with suppress(FileNotFoundError):
                    size += os.lstat(os.path.join(folder, name)).st_size
            if end is not None and time.monotonic() > end:
                return size, False
        return size, True

    def _repr_html_(self) -> str:
        size, complete = self.size_on_disk(seconds=0.5)
        on_disk = f"{'' if complete else 'more than '}{readable_size(size)}"
        facts = {**self.facts(), "on disk": on_disk}
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(key)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for key, value in facts.items()
        )
        return f"<table><caption>{type(self).__name__}</caption><tbody>{rows}</tbody></table>"


def readable_size(count: float) -> str:
    """Give a number of bytes as people read it.

    Examples
    --------
    >>> readable_size(812), readable_size(3_400_000)
    ('812 B', '3.4 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
