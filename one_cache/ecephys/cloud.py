"""Projects that the Allen Institute releases on S3: one folder, all releases, each byte once.

The folder is AllenSDK's: manifests of releases at its top, the files of each release in a folder
of their own, a file that another release has already as a link to it. Every file has a hash in
the manifest and is verified before it is first trusted, whoever wrote it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from one_cache.atomic import write_bytes, write_json
from one_cache.cache import Cache
from one_cache.ecephys.csvfiles import read_exactly
from one_cache.ecephys.disk import OWN
from one_cache.ecephys.missing import MissingData
from one_cache.ecephys.releases import (
    Changes,
    Release,
    ReleaseFile,
    changes,
    is_manifest,
    latest,
    summary,
)
from one_cache.ecephys.s3 import S3, Item
from one_cache.errors import (
    CacheWarning,
    InvalidArgument,
    ManifestMissing,
    ModeError,
    NotInCache,
    StoreError,
    TransferFailed,
)
from one_cache.manifest import now
from one_cache.modes import FileState
from one_cache.recorder import Entry
from one_cache.records import File
from one_cache.store import Store

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

LAST_USED = "_manifest_last_used.txt"
DOWNLOADED = "_downloaded_data.json"


class OutdatedManifestWarning(CacheWarning):
    """There is a later release than the one in use."""


class CloudProject:
    """A released project: its manifests, tables and files.

    Make one with :meth:`from_s3_cache` or :meth:`from_local_cache` of a class that names the
    project.

    Parameters
    ----------
    one : Cache
        Folder and mode.
    s3 : S3, optional
        Where the files come from.
    static : bool
        The folder is laid out as the bucket is, and never written.

    Attributes
    ----------
    PROJECT_NAME, BUCKET_NAME : str
        Which project, and where it is released.
    one : Cache
        Folder, mode and record, as for every other kind of data.
    release : Release
        The one in use.

    Raises
    ------
    ManifestMissing
        No release is here, and none can be asked for.
    """

    PROJECT_NAME: ClassVar[str] = ""
    BUCKET_NAME: ClassVar[str] = ""

    release: Release

    def __init__(self, one: Cache, s3: S3 | None = None, *, static: bool = False) -> None:
        self.one = one
        self.cache_dir = Path(one.cache_dir)
        self._s3 = s3
        self._static = static
        self._current = ""
        self._warned = ""
        self._online = {} if s3 is None else self._ask_for_manifests(s3)
        self._load_last()

    # -- constructors ------------------------------------------------------------------------

    @classmethod
    def from_s3_cache(
        cls,
        cache_dir: str | Path,
        bucket_name_override: str | None = None,
        *,
        endpoint_url: str | None = None,
        timeout: float = 30.0,
        silent: bool = False,
    ) -> Any:
        """Open a folder, and the bucket that it is filled from.

        Parameters
        ----------
        cache_dir : path-like
            The folder; made when it is missing.
        bucket_name_override : str, optional
            Another bucket than the project's own.
        endpoint_url : str, optional
            Another server than Amazon's; see :class:`one_cache.ecephys.s3.S3`.
        timeout : float
            Seconds without a byte after which a request is given up.
        silent : bool
            No progress bars.

        Returns
        -------
        CloudProject
            With the release that was used last, or the latest one.
        """
        s3 = S3(
            bucket_name_override or cls.BUCKET_NAME, endpoint_url=endpoint_url, timeout=timeout
        )
        one = Cache(
            cache_dir,
            remote=s3.remote,
            tables_dir=Path(cache_dir, OWN),
            mode="remote",
            silent=silent,
        )
        one.stall = timeout
        return cls(one, s3)

    @classmethod
    def from_local_cache(cls, cache_dir: str | Path, use_static_cache: bool = False) -> Any:
        """Open a folder, and nothing else.

        Parameters
        ----------
        cache_dir : path-like
            The folder.
        use_static_cache : bool
            It is laid out as the bucket is (a mounted bucket, say): only the latest release is
            seen, and nothing is written.

        Returns
        -------
        CloudProject
        """
        one = Cache(cache_dir, tables_dir=Path(cache_dir, OWN), mode="local", silent=True)
        if use_static_cache:
            one.store = Store(one.cache_dir, writable=False)
        return cls(one, static=use_static_cache)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.cache_dir)!r}, {self._current!r})"

    # -- manifests ---------------------------------------------------------------------------

    def list_manifest_file_names(self) -> list[str]:
        """Name the manifests of all releases that can be loaded, sorted."""
        here = self.list_all_downloaded_manifests()
        return sorted({*self._online, *here}) if self._s3 is not None else here

    def list_all_downloaded_manifests(self) -> list[str]:
        """Name the manifests that are here, sorted."""
        folder = self._manifest_folder()
        found = sorted(path.name for path in folder.glob("*.json")) if folder.is_dir() else []
        names = [name for name in found if is_manifest(name)]
        return [latest(names)] if self._static and names else names

    def latest_manifest_file(self) -> str:
        """Name the manifest of the latest release; empty where there is none."""
        return latest(self.list_manifest_file_names())

    def latest_downloaded_manifest_file(self) -> str:
        """Name the latest manifest that is here; empty where there is none."""
        return latest(self.list_all_downloaded_manifests())

    def current_manifest(self) -> str:
        """Name the manifest in use."""
        return self._current

    @property
    def version(self) -> str:
        """Version of the release in use."""
        return self.release.version

    @property
    def file_id_column(self) -> str:
        """Column of the tables that numbers the files."""
        return self.release.file_id_column

    @property
    def metadata_file_names(self) -> list[str]:
        """Names of the tables of the release in use, sorted."""
        return sorted(self.release.metadata_files)

    def load_manifest(self, manifest_name: str) -> None:
        """Use another release.

        Parameters
        ----------
        manifest_name : str
            One of :meth:`list_manifest_file_names`; fetched when it is not here.

        Raises
        ------
        InvalidArgument
            There is no such release.
        ManifestError
            Its manifest cannot be read.

        Warns
        -----
        OutdatedManifestWarning
            There is a later one; once.
        """
        release = self._release(manifest_name)
        newest = self.latest_manifest_file()
        if manifest_name != newest and self._warned != newest:
            self._warned = newest
            warnings.warn(
                f"{manifest_name} is not the latest release of {self.PROJECT_NAME}, {newest} is. "
                f"To see what changed: compare_manifests({manifest_name!r}, {newest!r}); to use "
                "it: load_latest_manifest()",
                OutdatedManifestWarning,
                stacklevel=2,
            )
        self.release, self._current = release, manifest_name
        if not self._static:
            self._note_last_used()

    def load_latest_manifest(self) -> None:
        """Use the latest release; files of the others stay as they are."""
        self.load_manifest(self.latest_manifest_file())

    def summarize_comparison(
        self, manifest_0_name: str, manifest_1_name: str
    ) -> dict[str, Changes]:
        """List what changed from one release to another.

        Parameters
        ----------
        manifest_0_name, manifest_1_name : str
            Their manifests, the older one first.

        Returns
        -------
        dict
            ``metadata_changes`` and ``data_changes``: path within the project, and what became
            of it.
        """
        if self._static:
            raise ModeError(
                "a static cache shows the latest release only; nothing can be compared with it"
            )
        old, new = self._release(manifest_0_name), self._release(manifest_1_name)
        return {
            "metadata_changes": changes(old.metadata_files.values(), new.metadata_files.values()),
            "data_changes": changes(old.data_files.values(), new.data_files.values()),
        }

    def compare_manifests(self, manifest_0_name: str, manifest_1_name: str) -> str:
        """Write what changed from one release to another; see :meth:`summarize_comparison`.

        Returns
        -------
        str
            A line a file.
        """
        changed = self.summarize_comparison(manifest_0_name, manifest_1_name)
        return summary(manifest_0_name, manifest_1_name, changed)

    def _manifest_folder(self) -> Path:
        if self._static:
            return self.cache_dir / self.PROJECT_NAME / "manifests"
        return self.cache_dir

    def _ask_for_manifests(self, s3: S3) -> dict[str, Item]:
        try:
            items = list(s3.items(f"{self.PROJECT_NAME}/manifests/"))
        except TransferFailed as error:
            if not self.list_all_downloaded_manifests():
                raise
            _log.warning("%s; the releases that are here are used", error)
            return {}
        named = {item.key.rpartition("/")[2]: item for item in items}
        return {name: item for name, item in named.items() if is_manifest(name)}

    def _load_last(self) -> None:
        known = self.list_manifest_file_names()
        if not known:
            where = self._s3 or self._manifest_folder()
            raise ManifestMissing(f"no manifest of a release of {self.PROJECT_NAME} in {where}")
        last = ""
        if not self._static:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                last = (self.cache_dir / LAST_USED).read_text(encoding="utf-8").strip()
        if last and last not in known:
            _log.warning("%s names %r, which is no release; the latest is used", LAST_USED, last)
        self.load_manifest(last if last in known else latest(known))

    def _release(self, name: str) -> Release:
        if name not in self.list_manifest_file_names():
            raise InvalidArgument(
                f"no release {name!r}; there are: {', '.join(self.list_manifest_file_names())}"
            )
        item = self._online.get(name)
        if item is not None and self._s3 is not None:
            file = File(name, item.size, item.md5, url=self._s3.address_of(item.key))
            for error in self.one.bring([file], remote=self._s3.remote).values():
                raise error
        return Release.read(self._manifest_folder() / name)

    def _note_last_used(self) -> None:
        path = self.cache_dir / LAST_USED
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if path.read_text(encoding="utf-8") == self._current:
                return
        try:
            write_bytes(path, self._current.encode())
        except OSError as error:
            _log.info("which release is used is not noted: %s", error)

    # -- files ---------------------------------------------------------------------------------

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
