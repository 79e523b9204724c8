"""Projects that the Allen Institute releases on S3: one folder, all releases, each byte once.

The folder is AllenSDK's: manifests of releases at its top, the files of each release in a folder
of their own, a file that another release has already as a link to it. Every file has a hash in
the manifest and is verified before it is first trusted, whoever wrote it.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from one_cache.atomic import write_bytes
from one_cache.cache import Cache
from one_cache.ecephys.folder.layout import OWN
from one_cache.ecephys.releases.holdings import Holdings
from one_cache.ecephys.releases.manifest import (
    Changes,
    Release,
    changes,
    is_manifest,
    latest,
    summary,
)
from one_cache.ecephys.releases.s3 import S3, Item
from one_cache.errors import (
    CacheWarning,
    InvalidArgument,
    ManifestMissing,
    ModeError,
    TransferFailed,
)
from one_cache.records import File
from one_cache.store import Store

if TYPE_CHECKING:
    pass

_log = logging.getLogger(__name__)

LAST_USED = "_manifest_last_used.txt"


class OutdatedManifestWarning(CacheWarning):
    """There is a later release than the one in use."""


class CloudProject(Holdings):
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
            Another server than Amazon's; see :class:`one_cache.ecephys.releases.s3.S3`.
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

    def latest_manifest_file(self) -> str:
        """Name the manifest of the latest release; empty where there is none."""
        return latest(self.list_manifest_file_names())

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
