"""The Allen Neuropixels data: AllenSDK's ``EcephysProjectCache`` on the cache of this package."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.cache import Cache
from one_cache.ecephys.filters import UnitFilter
from one_cache.ecephys.folder import layout
from one_cache.ecephys.folder.formats import read_movie, read_scene
from one_cache.ecephys.folder.layout import Disk
from one_cache.ecephys.project.joined import SESSION
from one_cache.ecephys.project.tables import ProjectTables, id_of
from one_cache.ecephys.source.lims import Lims
from one_cache.ecephys.source.warehouse import Warehouse
from one_cache.errors import InvalidArgument
from one_cache.manifest import FILE_NAME, Manifest, TablePin, now
from one_cache.tables import Tables

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from one_cache.ecephys.session.session import EcephysSession


class EcephysProjectCache(ProjectTables):
    """Sessions, probes, channels and units of the Allen Neuropixels data, and their files.

    It is best made with :meth:`from_warehouse`, :meth:`fixed` or :meth:`from_lims`. Its folder is
    AllenSDK's; tables and a manifest of this package lie beside, in ``one_cache``.

    Parameters
    ----------
    fetch_api : object, optional
        Where the data come from: methods ``get_sessions``, ``get_probes``, ``get_channels``,
        ``get_units``, ``get_unit_analysis_metrics`` give frames; ``get_session_data``,
        ``get_probe_lfp_data``, ``get_natural_movie_template``, ``get_natural_scene_template``
        give a :class:`~one_cache.ecephys.source.rma.Download` or an iterable of bytes. The
        released data when not given.
    fetch_tries : int
        How often anything is asked for, at most; 0 fetches nothing.
    stream_writer : callable, optional
        Takes a path and what the source gave, and writes it; for sources that give bytes.
    manifest : path-like, optional
        AllenSDK's manifest, whose folder is the cache; written when there is none.
        ``ecephys_project_manifest.json`` in the working directory when not given.
    version : str, optional
        That the manifest must have.
    cache : bool
        False keeps nothing: what is fetched lies in a temporary folder as long as this object.
    mode : {"remote", "local"}
        ``local`` fetches nothing; what is fixed is opened with :meth:`fixed`.
    timeout : float
        Seconds without a byte after which a file or question is given up.
    silent : bool
        No progress bars.

    Attributes
    ----------
    one : Cache
        Folder, tables, mode and record, as for every other kind of data.
    manifest : Disk
        Where each file lies.
    fetch_api, fetch_tries, stream_writer, cache
        As given.

    Raises
    ------
    ManifestVersionError
        The manifest has another version.
    ManifestError
        The manifest cannot be read.
    """

    def __init__(
        self,
        fetch_api: Any = None,
        fetch_tries: int = 2,
        stream_writer: Callable[[str, Any], Any] | None = None,
        manifest: str | Path | None = None,
        version: str | None = None,
        cache: bool = True,
        *,
        mode: str = "remote",
        timeout: float = 30.0,
        silent: bool = False,
    ) -> None:
        _check(fetch_tries, timeout)
        self.fetch_api = fetch_api or Warehouse.default(tries=fetch_tries, timeout=timeout)
        self.fetch_tries = fetch_tries
        self.stream_writer = stream_writer
        self.cache = bool(cache)
        name = manifest or layout.DEFAULT_NAME
        if not cache:
            name = Path(self._temporary(), Path(name).name)
        disk = Disk(name, version=version, make=True)
        one = Cache(
            disk.root,
            remote=getattr(getattr(self.fetch_api, "rma", self.fetch_api), "remote", None),
            tables_dir=disk.own,
            mode="local" if fetch_tries < 1 else mode,
            silent=silent,
        )
        one.tries, one.stall = max(1, fetch_tries), timeout
        self._open(disk, one, loose=False)

    # -- constructors ------------------------------------------------------------------------

    @classmethod
    def from_warehouse(
        cls,
        scheme: str | None = None,
        host: str | None = None,
        asynchronous: bool = True,
        manifest: str | Path | None = None,
        version: str | None = None,
        cache: bool = True,
        fetch_tries: int = 2,
        timeout: float = 30.0,
        **options: Any,
    ) -> EcephysProjectCache:
        """Open the released data.

        Parameters
        ----------
        scheme, host : str, optional
            Of another server; used when both are given.
        asynchronous : bool
            Without effect: files and pages come side by side in any case.
        manifest, version, cache, fetch_tries, timeout
            See the class.
        **options
            `mode` and `silent`, see the class.

        Returns
        -------
        EcephysProjectCache
        """
        where = (scheme, host) if scheme and host else ()
        _check(fetch_tries, timeout)
        api = Warehouse.default(*where, tries=fetch_tries, timeout=timeout)
        return cls(
            api,
            fetch_tries,
            manifest=manifest,
            version=version,
            cache=cache,
            timeout=timeout,
            **options,
        )

    @classmethod
    def from_lims(
        cls,
        lims_credentials: Any = None,
        scheme: str | None = None,
        host: str | None = None,
        asynchronous: bool = True,
        manifest: str | Path | None = None,
        version: str | None = None,
        cache: bool = True,
        fetch_tries: int = 2,
        timeout: float = 30.0,
        **options: Any,
    ) -> EcephysProjectCache:
        """Open the data of the Allen Institute's own database, for those within its network.

        Parameters
        ----------
        lims_credentials : object, optional
            With `dbname`, `user`, `host`, `port`, `password`; from ``LIMS_DBNAME``,
            ``LIMS_USER``, ``LIMS_HOST``, ``LIMS_PORT``, ``LIMS_PASSWORD`` when not given.
        scheme, host : str, optional
            Of the server of files; used when both are given.
        asynchronous, manifest, version, cache, fetch_tries, timeout, **options
            See :meth:`from_warehouse`.

        Returns
        -------
        EcephysProjectCache
            Nothing has been contacted yet.
        """
        where = {"scheme": scheme, "host": host} if scheme and host else {}
        _check(fetch_tries, timeout)
        api = Lims.default(lims_credentials, **where, timeout=timeout)
        return cls(
            api,
            fetch_tries,
            manifest=manifest,
            version=version,
            cache=cache,
            timeout=timeout,
            **options,
        )

    @classmethod
    def fixed(
        cls,
        manifest: str | Path | None = None,
        version: str | None = None,
        *,
        tables_dir: str | Path | None = None,
        release: str | None = None,
    ) -> EcephysProjectCache:
        """Open what is here, and nothing else: nothing is fetched, nothing is written.

        Parameters
        ----------
        manifest : path-like, optional
            AllenSDK's manifest; it must exist.
        version : str, optional
            That it must have.
        tables_dir : path-like, optional
            Folder that :meth:`freeze` wrote; the cache's own when not given.
        release : str, optional
            Name that :meth:`freeze` gave.

        Returns
        -------
        EcephysProjectCache
            Of a folder that was frozen: what its manifest pins, every file verified once. Of a
            folder that was not: what lies there, verified where a hash is known.

        Raises
        ------
        ManifestMissing
            There is no manifest.
        ManifestMismatch
            Of another version or release than asked for, or a table is not the one pinned.
        """
        disk = Disk(manifest or layout.DEFAULT_NAME, version=version)
        folder = Path(tables_dir) if tables_dir else disk.own
        self = cls.__new__(cls)
        self.fetch_api, self.fetch_tries, self.stream_writer = None, 0, None
        self.cache = True
        loose = tables_dir is None and release is None and not (folder / FILE_NAME).exists()
        if loose:
            folder = _pinned_copy(folder, Path(self._temporary(), layout.OWN))
        one = Cache(disk.root, tables_dir=folder, mode="fixed", version=release, silent=True)
        self._open(disk, one, loose=loose)
        return self

    # -- files -------------------------------------------------------------------------------

    def get_session_data(
        self, session_id: int, filter_by_validity: bool = True, **unit_filter_kwargs: Any
    ) -> EcephysSession:
        """Open a session; its NWB file is fetched when it is not here.

        Parameters
        ----------
        session_id : int
            Which.
        filter_by_validity : bool
            Only units of quality ``good``, on channels with valid data.
        **unit_filter_kwargs
            As for :meth:`get_units`, where 0 lifts a limit, too; `filter_out_of_brain_units`
            (True) leaves out units that lie in no structure.

        Returns
        -------
        EcephysSession

        Raises
        ------
        SessionNotFound
            There is no such session, or it has no NWB file.
        MissingData
            The file is not here, and the mode fetches nothing.
        """
        from one_cache.ecephys.session.session import EcephysSession

        id_ = id_of(session_id, "session")
        wanted = UnitFilter.read(unit_filter_kwargs, zero_is_no_limit=True)
        path = self._files.path(self._wanted(self.SESSION_NWB_KEY, id_, id_))
        session = EcephysSession.from_nwb_path(
            path,
            probe_lfp_paths=self._lfp_paths(id_),
            channel_columns=partial(self._channels_of, id_),
            unit_filter=wanted,
            filter_by_validity=filter_by_validity,
        )
        session.test()
        return session

    def get_natural_movie_template(self, number: int) -> npt.NDArray[Any]:
        """Give the frames of a movie that was shown.

        Parameters
        ----------
        number : int
            Which.

        Returns
        -------
        numpy.ndarray
            (frames, height, width) uint8.

        Raises
        ------
        InvalidArgument
            There is no such movie.
        """
        id_ = id_of(number, "movie")
        return read_movie(self._files.path(self._wanted(self.NATURAL_MOVIE_KEY, id_)))

    def get_natural_scene_template(self, number: int) -> npt.NDArray[Any]:
        """Give an image that was shown.

        Parameters
        ----------
        number : int
            Which.

        Returns
        -------
        numpy.ndarray
            (height, width) uint8.

        Raises
        ------
        InvalidArgument
            There is no such image.
        """
        id_ = id_of(number, "scene")
        return read_scene(self._files.path(self._wanted(self.NATURAL_SCENE_KEY, id_)))

    def _lfp_paths(self, session_id: int) -> dict[int, Callable[[], Path]]:
        """Say how the LFP file of each probe of a session is got."""
        probes = self._joined().probes
        return {
            int(probe): partial(
                self._files.path,
                self._wanted(self.PROBE_LFP_NWB_KEY, session_id, int(probe)),
            )
            for probe in probes.index[probes[SESSION] == session_id]
        }

    def _channels_of(self, session_id: int) -> pd.DataFrame:
        """Give what the project knows better of the channels than the NWB file."""
        channels = self._joined().channels
        columns = [
            "ecephys_structure_id",
            "ecephys_structure_acronym",
            "anterior_posterior_ccf_coordinate",
            "dorsal_ventral_ccf_coordinate",
            "left_right_ccf_coordinate",
        ]
        return channels.loc[channels[SESSION] == session_id, columns]


def _check(fetch_tries: Any, timeout: Any) -> None:
    if not isinstance(fetch_tries, Integral) or fetch_tries < 0:
        raise InvalidArgument(f"fetch_tries is a number of tries, 0 for none, got {fetch_tries!r}")
    if not isinstance(timeout, Real) or not float(timeout) > 0:
        raise InvalidArgument(f"timeout is a number of seconds above 0, got {timeout!r}")


def _pinned_copy(folder: Path, copy: Path) -> Path:
    """Copy our tables to another place and pin them there, as :meth:`Cache.freeze` does."""
    if folder.is_dir():
        shutil.copytree(folder, copy)
    copy.mkdir(parents=True, exist_ok=True)
    tables = Tables.open(copy, silent=True)
    try:
        pins = {
            name: TablePin(f"{name}.pqt", digest, tables.count(name))
            for name, digest in tables.hashes().items()
        }
    finally:
        tables.close()
    Manifest(tables=pins, created=now()).write(copy)
    return copy
