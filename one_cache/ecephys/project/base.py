"""What the project cache stands on: folder, tables, files, and AllenSDK's base class."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.atomic import write_bytes
from one_cache.cache import Cache
from one_cache.ecephys.filters import UNIT_FILTER_DEFAULTS
from one_cache.ecephys.folder import layout
from one_cache.ecephys.folder.files import Files, Wanted
from one_cache.ecephys.folder.formats import ID, UNIT_ID
from one_cache.ecephys.folder.layout import Disk
from one_cache.ecephys.folder.tables import Derived, Kept, Shelf
from one_cache.ecephys.project.joined import (
    CHANNEL,
    PROBE,
    SESSION,
    Joined,
    read_sessions,
    written_sessions,
)

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

# columns that show nothing about a session to most people, left out of the other tables
_OF_SESSIONS = (
    "date_of_acquisition",
    "published_at",
    "specimen_id",
    "session_type",
    "isi_experiment_id",
    "age_in_days",
    "sex",
    "genotype",
    "has_nwb",
    "lfp_temporal_subsampling_factor",
)


class ProjectBase:
    """Keys, folder, tables and files of a project cache; what people call stands above it.

    Attributes
    ----------
    one : Cache
        Folder, tables, mode and record, as for every other kind of data.
    manifest : Disk
        Where each file lies.
    """

    fetch_api: Any
    fetch_tries: int
    stream_writer: Callable[[str, Any], Any] | None
    cache: bool

    SESSIONS_KEY = "sessions"
    PROBES_KEY = "probes"
    CHANNELS_KEY = "channels"
    UNITS_KEY = "units"
    SESSION_DIR_KEY = "session_data"
    SESSION_NWB_KEY = "session_nwb"
    PROBE_LFP_NWB_KEY = "probe_lfp_nwb"
    NATURAL_MOVIE_DIR_KEY = "movie_dir"
    NATURAL_MOVIE_KEY = "natural_movie"
    NATURAL_SCENE_DIR_KEY = "natural_scene_dir"
    NATURAL_SCENE_KEY = "natural_scene"
    SESSION_ANALYSIS_METRICS_KEY = "session_analysis_metrics"
    TYPEWISE_ANALYSIS_METRICS_KEY = "typewise_analysis_metrics"
    MANIFEST_VERSION = layout.VERSIONS[0]

    SUPPRESS_FROM_UNITS = (
        "air_channel_index",
        "surface_channel_index",
        "has_nwb",
        "lfp_temporal_subsampling_factor",
        "epoch_name_quality_metrics",
        "epoch_name_waveform_metrics",
        "isi_experiment_id",
    )
    SUPPRESS_FROM_CHANNELS = ("air_channel_index", "surface_channel_index", "name", *_OF_SESSIONS)
    SUPPRESS_FROM_PROBES = ("air_channel_index", "surface_channel_index", *_OF_SESSIONS)
    SUPPRESS_FROM_SESSION_TABLE = ("has_nwb", "isi_experiment_id", "date_of_acquisition")

    def _open(self, disk: Disk, one: Cache, *, loose: bool) -> None:
        self.manifest = disk
        self.manifest_path = str(disk.manifest)
        self.one = one
        self._shelf = Shelf(one, loose=loose)
        self._files = Files(
            one, loose=loose, stream_writer=self.stream_writer, tries=self.fetch_tries
        )
        self._together: tuple[Any, Joined] | None = None

    def _temporary(self) -> str:
        """Make a folder that is removed with this object."""
        folder = tempfile.mkdtemp(prefix="one_cache-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.manifest_path!r}, mode={self.one.mode!r})"

    # -- what it stands on -------------------------------------------------------------------

    def _asked(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.fetch_api, method)(*args, **kwargs)

    # columns without which a CSV file is no table of that name
    _tables: Mapping[str, tuple[str, ...]] = {
        SESSIONS_KEY: ("session_type",),
        PROBES_KEY: (SESSION,),
        CHANNELS_KEY: (PROBE, "ecephys_structure_acronym"),
        UNITS_KEY: (CHANNEL, "amplitude_cutoff", "presence_ratio", "isi_violations"),
    }
    # format of a file, what it is, and the method that says where
    _formats: Mapping[str, tuple[str, str, str]] = {
        SESSION_NWB_KEY: ("nwb", "NWB file of session", "get_session_data"),
        PROBE_LFP_NWB_KEY: ("nwb", "LFP of probe", "get_probe_lfp_data"),
        NATURAL_MOVIE_KEY: ("movie", "natural movie", "get_natural_movie_template"),
        NATURAL_SCENE_KEY: ("scene", "natural scene", "get_natural_scene_template"),
    }

    def _kept(self, key: str) -> Kept:
        count = getattr(self.fetch_api, "count", None)
        return Kept(
            f"ecephys_{key}",
            self.manifest.rel(key),
            ID,
            self._tables[key],
            partial(self._asked, f"get_{key}"),
            partial(count, key) if count else None,
        )

    def _session_metrics(self, session_id: int) -> Kept:
        return Kept(
            f"ecephys_metrics_session_{session_id}",
            self.manifest.rel(self.SESSION_ANALYSIS_METRICS_KEY, session_id, session_id),
            UNIT_ID,
            (),
            partial(self._asked, "get_unit_analysis_metrics", ecephys_session_ids=[session_id]),
        )

    def _type_metrics(self, session_type: str) -> Kept:
        return Kept(
            "ecephys_metrics_type_" + re.sub(r"[^\w.-]", "_", session_type),
            self.manifest.rel(self.TYPEWISE_ANALYSIS_METRICS_KEY, session_type),
            UNIT_ID,
            (),
            partial(self._asked, "get_unit_analysis_metrics", session_types=[session_type]),
        )

    def _wanted(self, key: str, *numbers: int) -> Wanted:
        kind, what, method = self._formats[key]
        return Wanted(
            self.manifest.rel(key, *numbers),
            kind,
            f"{what} {numbers[-1]}",
            partial(self._asked, method, numbers[-1]),
        )

    def _joined(self) -> Joined:
        wanted = [self._kept(key) for key in self._tables]
        frames = self._shelf.frames(*wanted)
        version = self._shelf.version(*wanted)
        if self._together is None or self._together[0] != version:
            self._together = (version, Joined(*frames))
            for stray in self._together[1].strays():
                _log.warning("%s: %s", self.manifest.root, stray)
        return self._together[1]

    def _session_table(self) -> pd.DataFrame:
        """Give the sessions with their counts, without the other tables where that is known."""
        made = Derived(
            "ecephys_session_table",
            dict(UNIT_FILTER_DEFAULTS),
            lambda: self._joined().sessions,
            written_sessions,
            read_sessions,
        )
        return self._shelf.derived(made, *(self._kept(key) for key in self._tables))

    def freeze(self, path: str | Path | None = None, *, release: str | None = None) -> Path:
        """Pin what is here: write the manifest that :meth:`fixed` opens.

        Parameters
        ----------
        path : path-like, optional
            Folder for tables and manifest; ``one_cache`` in the cache when not given.
        release : str, optional
            Name for what is pinned, which :meth:`fixed` can ask for.

        Returns
        -------
        pathlib.Path
            The manifest.

        Notes
        -----
        Tables and files that AllenSDK wrote are read and hashed first, so that they are pinned,
        too.
        """
        self._take_over()
        return self.one.freeze(path, release=release)

    def _take_over(self) -> None:
        """Know every table and file that lies here."""
        for key, args in self.manifest.files():
            numbers = [int(arg) for arg in args if arg.isdecimal()]
            if key in self._tables:
                self._shelf.frame(self._kept(key))
            elif key == self.SESSION_ANALYSIS_METRICS_KEY:
                self._shelf.frame(self._session_metrics(numbers[0]))
            elif key == self.TYPEWISE_ANALYSIS_METRICS_KEY:
                self._shelf.frame(self._type_metrics(args[0]))
            else:
                self._files.path(self._wanted(key, *numbers[-2:]))

    # -- AllenSDK's base class ---------------------------------------------------------------

    def get_cache_path(
        self, file_name: str | Path | None, manifest_key: str, *args: Any
    ) -> str | None:
        """Give the path of a file.

        Parameters
        ----------
        file_name : path-like, optional
            Given back when there is one.
        manifest_key : str
            For instance :attr:`SESSION_NWB_KEY`.
        *args
            For each ``%d`` and ``%s`` of the folder and of the file.

        Returns
        -------
        str or None
            None when nothing is kept.
        """
        if not self.cache:
            return None
        return str(file_name) if file_name else self.manifest.get_path(manifest_key, *args)

    def manifest_dataframe(self) -> pd.DataFrame:
        """Show where files lie."""
        return self.manifest.frame()

    def add_manifest_paths(self, manifest_builder: Any) -> Any:
        """Add the paths of this layout to a builder of manifests."""
        return layout.add_layout(manifest_builder)

    def build_manifest(self, file_name: str | Path) -> None:
        """Write a manifest of the usual layout.

        Parameters
        ----------
        file_name : path-like
            Where; what lies there is replaced.
        """
        write_bytes(Path(file_name), layout.manifest_text().encode())

    def load_manifest(self, file_name: str | Path, version: str | None = None) -> None:
        """Go on with another manifest, and with its folder.

        Parameters
        ----------
        file_name : path-like
            Written when there is none.
        version : str, optional
            That it must have.
        """
        writes = self.one.policy().writes
        disk = Disk(file_name, version=version, make=writes)
        one = Cache(
            disk.root,
            remote=self.one.remote,
            tables_dir=disk.own,
            mode=self.one.mode,
            silent=self.one.silent,
        )
        one.tries, one.stall = self.one.tries, self.one.stall
        self._open(disk, one, loose=False)
