"""The files of releases in one folder: each verified before it is trusted, each byte once."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from one_cache.atomic import write_json
from one_cache.cache import Cache
from one_cache.ecephys.folder.formats import read_exactly
from one_cache.ecephys.missing import MissingData
from one_cache.ecephys.releases.manifest import Release, ReleaseFile, is_manifest, latest
from one_cache.ecephys.releases.s3 import S3
from one_cache.errors import NotInCache, StoreError
from one_cache.manifest import now
from one_cache.modes import FileState
from one_cache.recorder import Entry
from one_cache.records import File

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

DOWNLOADED = "_downloaded_data.json"


class Holdings:
    """The files that a folder holds of the releases of a project.

    Attributes
    ----------
    one : Cache
        Folder, mode and record, as for every other kind of data.
    cache_dir : pathlib.Path
        The folder.
    release : Release
        The one in use.
    """

    PROJECT_NAME: ClassVar[str] = ""

    one: Cache
    cache_dir: Path
    release: Release
    _s3: S3 | None
    _static: bool

    def list_all_downloaded_manifests(self) -> list[str]:
        """Name the manifests that are here, sorted."""
        folder = self._manifest_folder()
        found = sorted(path.name for path in folder.glob("*.json")) if folder.is_dir() else []
        names = [name for name in found if is_manifest(name)]
        return [latest(names)] if self._static and names else names

    def latest_downloaded_manifest_file(self) -> str:
        """Name the latest manifest that is here; empty where there is none."""
        return latest(self.list_all_downloaded_manifests())

    def _manifest_folder(self) -> Path:
        if self._static:
            return self.cache_dir / self.PROJECT_NAME / "manifests"
        return self.cache_dir

    def download_data(self, file_id: str | int) -> Path:
        """Give a file of the release; it is fetched when it is not here.

        Parameters
        ----------
        file_id : str or int
            Its number, from the tables.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        InvalidArgument
            The release has no such file.
        MissingData
            It is not here, and nothing is fetched.
        HashMismatch
            Its bytes are not those of the release.
        """
        return self._brought(self.release.data_file(file_id))

    def download_metadata(self, fname: str) -> Path:
        """Give the file of a table; see :meth:`download_data`."""
        return self._brought(self.release.metadata_file(fname))

    def get_metadata(self, fname: str) -> pd.DataFrame:
        """Read a table of the release.

        Parameters
        ----------
        fname : str
            One of :attr:`metadata_file_names`.

        Returns
        -------
        pandas.DataFrame
        """
        return read_exactly(self.download_metadata(fname))

    def data_path(self, file_id: str | int) -> dict[str, Any]:
        """Say where a file lies, and whether it is there and right; nothing is fetched.

        Parameters
        ----------
        file_id : str or int
            Its number.

        Returns
        -------
        dict
            ``local_path``, ``exists``, ``file_attributes``.
        """
        return self._described(self.release.data_file(file_id))

    def metadata_path(self, fname: str) -> dict[str, Any]:
        """Say where a table lies; see :meth:`data_path`."""
        return self._described(self.release.metadata_file(fname))

    def construct_local_manifest(self) -> None:
        """Write AllenSDK's list of what is here; each file is verified first."""
        known = {}
        for file in self._files_of_all_releases():
            if self._is_right(file):
                place = self.one.store.path(file.path)
                known[str(place.resolve())] = file.hash or ""
        write_json(self.cache_dir / DOWNLOADED, known)

    def _file(self, entry: ReleaseFile, release: Release | None = None) -> File:
        used = release or self.release
        folder = used.project_name
        if not self._static:
            folder = f"{folder}-{used.version}"
        return File(f"{folder}/{entry.rel}", hash=entry.file_hash, url=entry.url)

    def _described(self, entry: ReleaseFile) -> dict[str, Any]:
        file = self._file(entry)
        return {
            "local_path": self.one.store.path(file.path),
            "exists": self._is_right(file),
            "file_attributes": entry,
        }

    def _is_right(self, file: File) -> bool:
        state = self.one.store.state(file)
        if state is FileState.UNCHECKED:
            state = self.one.store.check(file)
        return state is FileState.GOOD

    def _brought(self, entry: ReleaseFile) -> Path:
        file = self._file(entry)
        place = self.one.store.path(file.path)
        if not self._is_right(file):
            with self.one.store.lock(f"release file {file.path}"):
                if not self._is_right(file) and not self._linked(file, place):
                    self._fetch(entry, file)
            self._note_downloaded(file, place)
        self._record(file)
        return place

    def _fetch(self, entry: ReleaseFile, file: File) -> None:
        remote = None
        if self._s3 is not None:
            address = self._s3.address(entry.url, entry.version_id)
            file = File(file.path, hash=file.hash, url=address)
            remote = self._s3.remote
        for error in self.one.bring([file], remote=remote).values():
            if isinstance(error, NotInCache):
                raise MissingData(
                    f"{error}; open the folder with {type(self).__name__}.from_s3_cache"
                ) from error
            raise error

    # -- files that several releases have ------------------------------------------------------

    def _files_of_all_releases(self) -> Iterator[File]:
        for name in self.list_all_downloaded_manifests():
            release = Release.read(self._manifest_folder() / name)
            for entry in release.files():
                yield self._file(entry, release)

    def _linked(self, file: File, place: Path) -> bool:
        """Link a file to one of another release with the same bytes, if there is one."""
        if not self.one.policy().writes or self._static or os.path.isdir(place):
            return False
        for other in self._files_of_all_releases():
            same = other.hash == file.hash and other.path != file.path
            if same and self._is_right(other):
                target = Path(os.path.realpath(self.one.store.path(other.path)))
                if target.is_relative_to(os.path.realpath(self.cache_dir)):
                    return _link(place, target) and self._is_right(file)
        return False

    def _note_downloaded(self, file: File, place: Path) -> None:
        """Tell AllenSDK what is here, in its own list."""
        path = self.cache_dir / DOWNLOADED
        if self._static or not self.one.policy().writes:
            return
        try:
            with self.one.store.lock("list of downloaded files"):
                known: Any = {}
                with contextlib.suppress(OSError, ValueError):
                    known = json.loads(path.read_text(encoding="utf-8"))
                known = known if isinstance(known, dict) else {}
                write_json(path, {**known, str(place.resolve()): file.hash})
        except (OSError, StoreError) as error:
            _log.info("%s is not written: %s", DOWNLOADED, error)

    def _record(self, file: File) -> None:
        self.one.recorder.add(
            Entry(
                "file",
                file.path,
                path=file.path,
                revision=self.release.version,
                hash=file.hash,
                source=self.one.source,
                mode=self.one.mode,
                at=now(),
            )
        )


def _link(place: Path, target: Path) -> bool:
    """Make a link, relative so that the folder can be moved; a file in its place stays."""
    beside = place.with_name(f".{place.name}.{os.getpid()}.link")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink():
            # a link that leads nowhere, or to a file that is not right
            os.symlink(os.path.relpath(target, os.path.realpath(place.parent)), beside)
            os.replace(beside, place)
        else:
            os.symlink(os.path.relpath(target, os.path.realpath(place.parent)), place)
    except OSError as error:
        _log.info("%s is not linked to %s: %s", place, target, error)
        with contextlib.suppress(OSError):
            beside.unlink()
        return False
    return True
