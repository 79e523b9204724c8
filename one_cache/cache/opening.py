"""Whole tables: those of a folder, of the remote, of a tag of its database."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from one_cache.cache.desk import Desk, open_remote
from one_cache.cache.packed import read_state, tag_folder, unpacked, write_state
from one_cache.catalogue import RemoteCatalogue, TableCatalogue
from one_cache.depot import bring_tables
from one_cache.errors import CacheWarning, InvalidArgument, ModeError, QueryNotCached
from one_cache.remotes import Question, Remote
from one_cache.tables import Tables


class Opening(Desk):
    """Replaces the tables of a cache."""

    def load_cache(
        self,
        tables_dir: str | Path | None = None,
        clobber: bool = False,
        tag: str | None = None,
    ) -> None:
        """Read the tables again: from a folder, from where they were, or from the remote.

        In remote mode without a folder the remote's own tables, whole, become those of this
        cache; with a `tag`, those of just its datasets. Records that were not saved are kept only
        when nothing replaces them: save first.

        Parameters
        ----------
        tables_dir : path-like, optional
            Folder that holds tables, for instance what :meth:`save_cache` wrote; with a `tag` in
            remote mode, the folder for them. Or an address (``s3://bucket/prefix``), whose tables
            are merged with those of this cache.
        clobber : bool
            Bring the remote's tables even if those that are here are of the same date.
        tag : str, optional
            Of the database. Its tables lie in a folder of that name in the cache, where the
            other modes find them; called again without one, these are brought up to date.
            ``load_cache(cache.cache_dir)`` leaves it.

        Raises
        ------
        InvalidArgument
            The database has no such tag (the nearest ones are told), other tables lie in
            `tables_dir`, or there are none at that address.
        ModeError
            A fixed cache, and an address.
        QueryNotCached
            The mode asks nobody, and the tables of that tag are not here.
        TransferFailed
            The remote is away; the tables are as before.

        Warns
        -----
        CacheWarning
            There are no tables.
        """
        if "://" in str(tables_dir):
            if not self.policy().writes:
                raise ModeError(
                    f"mode {self.mode!r} writes nothing into the cache, tables neither"
                )
            bring_tables(open_remote(str(tables_dir)), self.tables_dir, silent=self.silent)
            tables_dir = self.tables_dir
        folder = Path(tables_dir).expanduser().absolute() if tables_dir else None
        asks = self.policy().asks
        if asks and tag is None and folder is None:
            tag = read_state(self.tables_dir).get("tag")
            if tag is None:
                self._load_remote_tables(again=clobber)
                return
            folder = self.tables_dir
        if tag is not None:
            own = Path(self.cache_dir, tag_folder(tag))
            folder = folder or own
            if asks and folder != own and read_state(folder).get("tag") != tag:
                _require_empty(folder, tag)
            if asks:
                self._bring_tag(tag, folder, again=clobber)
            elif not _has_tables(folder):
                raise QueryNotCached(
                    f"the tables of tag {tag!r} are not in {folder}, and mode {self.mode!r} asks "
                    f"nobody for them; load_cache(tag={tag!r}) in remote mode does"
                )
        self._use(folder or self.tables_dir)

    def _use(self, folder: Path) -> None:
        """Let the tables of a folder be those of this cache."""
        tables = self._open_tables(folder)
        self.tables.close()
        self.tables = tables
        if folder != self.tables_dir:
            self._tables_dir = folder
        self._sessions_seen.clear()
        if not any(tables.count(name) for name in tables.names()):
            warnings.warn(f"no access tables in {folder}", CacheWarning, stacklevel=3)

    def _load_remote_tables(self, *, again: bool) -> None:
        self._remote_tables = None
        catalogue = self._catalogue()
        if isinstance(catalogue, TableCatalogue):
            # by way of the disk: the tables may be larger than memory
            catalogue.tables.save(self.tables_dir)
            self._use(self.tables_dir)
            return
        remote = self._require_remote()
        info = _whole(remote, None, again=again) or {}
        url = _web_address(info)
        if url is None:
            warnings.warn(
                f"{self.source} carries no whole tables; it is asked question by question",
                CacheWarning,
                stacklevel=3,
            )
            return
        state = _state(remote, None, info)
        here = (self.tables_dir / "sessions.pqt").is_file()
        if not again and here and state == read_state(self.tables_dir):
            return
        with unpacked(remote, self.store, url, silent=self.silent) as tables:
            tables.save(self.tables_dir)
        write_state(self.tables_dir, state)
        self._use(self.tables_dir)

    def _bring_tag(self, tag: str, folder: Path, *, again: bool) -> None:
        """Let a folder hold the tables of a tag, and no others."""
        remote = self._require_remote()
        info = _whole(remote, tag, again=again)
        if info is None:
            raise InvalidArgument(f"{self.source} is no database, and has no tags")
        state = _state(remote, tag, info)
        url = _web_address(info)
        if url is None:
            # the server packs everything or nothing: its records are asked for
            tables = Tables.open(None, silent=self.silent)
            RemoteCatalogue(remote, tables, no_cache=again).bring_tag(tag)
            tables.save(folder, clobber=True)
        elif again or not _has_tables(folder) or state != read_state(folder):
            with unpacked(remote, self.store, url, silent=self.silent) as tables:
                tables.save(folder, clobber=True)
        folder.mkdir(parents=True, exist_ok=True)
        write_state(folder, state)


def _has_tables(folder: Path) -> bool:
    return any(folder.glob("*.pqt"))


def _require_empty(folder: Path, tag: str) -> None:
    if _has_tables(folder):
        raise InvalidArgument(
            f"{folder} holds other tables than those of tag {tag!r}, which would replace them; "
            "name an empty folder"
        )


def _whole(remote: Remote, tag: str | None, *, again: bool) -> Mapping[str, Any] | None:
    """Ask a remote about its whole tables; None where it knows nothing of that."""
    terms = {name: value for name, value in (("tag", tag), ("no_cache", again)) if value}
    rows = remote.records(Question("cache", terms))
    return None if rows is None else rows[0]


def _state(remote: Remote, tag: str | None, info: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: info.get(name) for name in ("date_created", "tables")}
    return {"remote": remote.name, "tag": tag, **known}


def _web_address(info: Mapping[str, Any]) -> str | None:
    url = info.get("data_url")
    return url if url and str(url).startswith(("http://", "https://")) else None
