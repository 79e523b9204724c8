"""The Visual Behavior projects of the Allen Institute, as they are released on S3."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.ecephys.folder.formats import read_exactly
from one_cache.ecephys.missing import UnknownProbe
from one_cache.ecephys.releases.project import CloudProject
from one_cache.ecephys.releases.shapes import IMAGING, RECORDINGS, Shape
from one_cache.errors import InvalidArgument, SessionNotFound

if TYPE_CHECKING:
    import pandas as pd


class TabledProject(CloudProject):
    """A released project whose tables are shown in some shape."""

    _shapes: Mapping[str, Shape] = {}

    def table(self, name: str) -> pd.DataFrame:
        """Read a table of the release, once a process.

        Parameters
        ----------
        name : str
            One of :attr:`metadata_file_names`.

        Returns
        -------
        pandas.DataFrame
            Indexed by the column that numbers its rows, where one is known; a copy.
        """
        path = self.download_metadata(name)
        stat = path.stat()
        return _read(path, stat.st_mtime_ns, stat.st_size, self._shapes.get(name)).copy()

    def _file_of(self, table: pd.DataFrame, row: Any, what: str) -> int | None:
        """Give the number of the file of a row; None where it has none of its own."""
        import pandas as pd

        if row not in table.index:
            raise SessionNotFound(f"no {what} {row!r} in release {self.version}")
        file_id: Any = table.at[row, self.file_id_column]
        missing = pd.isna(file_id) or int(file_id) < 0
        return None if missing else int(file_id)

    def _path_of(self, table: pd.DataFrame, row: Any, what: str) -> Path:
        file_id = self._file_of(table, row, what)
        if file_id is None:
            raise SessionNotFound(f"{what} {row!r} has no file of its own")
        return self.download_data(file_id)


@lru_cache(maxsize=16)
def _read(path: Path, mtime: int, size: int, shape: Shape | None) -> pd.DataFrame:
    return read_exactly(path) if shape is None else shape.read(path)


class VisualBehaviorNeuropixelsProjectCache(TabledProject):
    """Visual Behavior Neuropixels: tables and NWB files.

    Examples
    --------
    >>> VisualBehaviorNeuropixelsProjectCache.BUCKET_NAME
    'visual-behavior-neuropixels-data'
    """

    PROJECT_NAME = "visual-behavior-neuropixels"
    BUCKET_NAME = "visual-behavior-neuropixels-data"
    _shapes = RECORDINGS

    def get_ecephys_session_table(self, filter_abnormalities: bool = True) -> pd.DataFrame:
        """Give the sessions.

        Parameters
        ----------
        filter_abnormalities : bool
            Without sessions whose histology or activity is abnormal.

        Returns
        -------
        pandas.DataFrame
            Index ``ecephys_session_id``.
        """
        frame = self.table("ecephys_sessions")
        columns = [one for one in ("abnormal_histology", "abnormal_activity") if one in frame]
        if filter_abnormalities and columns:
            frame = frame[frame[columns].isna().all(axis=1)]
        return frame

    def get_behavior_session_table(self) -> pd.DataFrame:
        """Give the sessions of behaviour, index ``behavior_session_id``."""
        return self.table("behavior_sessions")

    def get_probe_table(self) -> pd.DataFrame:
        """Give the probes, index ``ecephys_probe_id``."""
        return self.table("probes")

    def get_channel_table(self) -> pd.DataFrame:
        """Give the channels, index ``ecephys_channel_id``."""
        return self.table("channels")

    def get_unit_table(self) -> pd.DataFrame:
        """Give the units, index ``unit_id``."""
        return self.table("units")

    def ecephys_session_path(self, ecephys_session_id: int) -> Path:
        """Give the NWB file of a session; it is fetched when it is not here.

        Parameters
        ----------
        ecephys_session_id : int
            Which.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        SessionNotFound
            The release has no such session.
        """
        table = self.get_ecephys_session_table(filter_abnormalities=False)
        return self._path_of(table, ecephys_session_id, "session")

    def behavior_session_path(self, behavior_session_id: int) -> Path:
        """Give the NWB file of a session of behaviour, or of the recording that it is part of.

        Parameters
        ----------
        behavior_session_id : int
            Which.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        SessionNotFound
            The release has no such session.
        """
        table = self.get_behavior_session_table()
        file_id = self._file_of(table, behavior_session_id, "session")
        if file_id is not None:
            return self.download_data(file_id)
        recording: Any = table.at[behavior_session_id, "ecephys_session_id"]
        return self.ecephys_session_path(int(recording))

    def lfp_path(self, ecephys_probe_id: int) -> Path:
        """Give the NWB file with the LFP of a probe; it is fetched when it is not here.

        Parameters
        ----------
        ecephys_probe_id : int
            Which.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        UnknownProbe
            The release has no LFP of that probe.
        """
        table = self.get_probe_table()
        if self.file_id_column not in table.columns or ecephys_probe_id not in table.index:
            raise UnknownProbe(f"no LFP of probe {ecephys_probe_id} in release {self.version}")
        return self._path_of(table, ecephys_probe_id, "LFP of probe")


class VisualBehaviorOphysProjectCache(TabledProject):
    """Visual Behavior 2P: tables and NWB files."""

    PROJECT_NAME = "visual-behavior-ophys"
    BUCKET_NAME = "visual-behavior-ophys-data"
    _shapes = IMAGING

    def get_behavior_session_table(self) -> pd.DataFrame:
        """Give the sessions of behaviour, index ``behavior_session_id``."""
        return self.table("behavior_session_table")

    def get_ophys_session_table(self) -> pd.DataFrame:
        """Give the sessions of imaging, index ``ophys_session_id``."""
        return self.table("ophys_session_table")

    def get_ophys_experiment_table(self) -> pd.DataFrame:
        """Give the imaged planes, index ``ophys_experiment_id``."""
        return self.table("ophys_experiment_table")

    def get_ophys_cells_table(self) -> pd.DataFrame:
        """Give the cells, index ``cell_roi_id``."""
        return self.table("ophys_cells_table")

    def ophys_experiment_path(self, ophys_experiment_id: int) -> Path:
        """Give the NWB file of a plane; it is fetched when it is not here.

        Parameters
        ----------
        ophys_experiment_id : int
            Which.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        SessionNotFound
            The release has no such plane.
        """
        return self._path_of(self.get_ophys_experiment_table(), ophys_experiment_id, "experiment")


def project_cache(project_name: str, bucket_name: str) -> type[TabledProject]:
    """Make a class for another project that is released in this way.

    Parameters
    ----------
    project_name, bucket_name : str
        As in the bucket.

    Returns
    -------
    type

    Examples
    --------
    >>> project_cache("dynamic-gating", "dynamic-gating-data").PROJECT_NAME
    'dynamic-gating'
    """
    if not project_name or "/" in project_name:
        raise InvalidArgument(f"{project_name!r} is no name of a project")
    names = {"PROJECT_NAME": project_name, "BUCKET_NAME": bucket_name, "__doc__": project_name}
    return type("ProjectCache", (TabledProject,), names)
