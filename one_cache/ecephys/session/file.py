"""The file of one session: opened once, and what it says of the session as a whole."""

from __future__ import annotations

import datetime as dt
import re
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.ecephys.filters import UnitFilter
from one_cache.ecephys.session import gaze, stimuli
from one_cache.ecephys.session.nwb import NwbFile
from one_cache.errors import CacheWarning, ContentError, InvalidArgument

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import Self

_OLDEST = (2, 2, 2)  # of NWB, in which the sessions were written anew
# options of AllenSDK's reader that nothing is made of here
_UNUSED = ("additional_unit_metrics",)
_THRESHOLDS = (
    "amplitude_cutoff_maximum",
    "presence_ratio_minimum",
    "isi_violations_maximum",
    "filter_out_of_brain_units",
)


class SessionFile:
    """A session as a file: how it is opened and closed, and what it is.

    Parameters
    ----------
    nwb, unit_filter, filter_by_validity, probe_lfp_paths, channel_columns
        See :class:`one_cache.ecephys.session.session.EcephysSession`.
    """

    def __init__(
        self,
        nwb: NwbFile,
        *,
        unit_filter: UnitFilter | None = None,
        filter_by_validity: bool = True,
        probe_lfp_paths: Mapping[int, Any] | None = None,
        channel_columns: Callable[[], pd.DataFrame] | None = None,
    ) -> None:
        self._nwb = nwb
        self._filter = unit_filter or UnitFilter.read({})
        self._valid = filter_by_validity
        self._lfp = probe_lfp_paths
        self._known_channels = channel_columns
        self._warned = False

    @classmethod
    def from_nwb_path(
        cls,
        path: str | Path,
        nwb_version: float = 2,
        api_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Self:
        """Open a file.

        Parameters
        ----------
        path : path-like
            The NWB file of a session.
        nwb_version : float
            Version of NWB; only 2 is read.
        api_kwargs : mapping, optional
            As AllenSDK takes them: `filter_by_validity`, thresholds of units,
            `probe_lfp_paths`, `external_channel_columns`.
        **options
            As for the class.

        Returns
        -------
        EcephysSession

        Raises
        ------
        FileNotFoundError
            There is no such file.
        InvalidArgument
            An option or version that does not exist here.
        """
        if int(nwb_version) != 2:
            raise InvalidArgument(f"NWB version {nwb_version} is not read here; 2 is")
        if not Path(path).exists():
            raise FileNotFoundError(f"{path}: no such file")
        given = dict(api_kwargs or {})
        thresholds = {name: given.pop(name) for name in _THRESHOLDS if name in given}
        if thresholds:
            options["unit_filter"] = UnitFilter.read(thresholds, zero_is_no_limit=True)
        renamed = {"external_channel_columns": "channel_columns"}
        for name, value in given.items():
            if name not in _UNUSED:
                options[renamed.get(name, name)] = value
        try:
            return cls(NwbFile(path), **options)
        except TypeError as error:
            raise InvalidArgument(f"a session is not opened with that option: {error}") from error

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._nwb.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was read stays."""
        self._nwb.close()

    def test(self) -> None:
        """See that the file is that of a session.

        Raises
        ------
        ContentError
            It is not.

        Warns
        -----
        CacheWarning
            It was written for AllenSDK before 2.0, with parts in other places.
        """
        text = str(self._nwb.scalar("", "nwb_version") or "")
        found = tuple(map(int, re.findall(r"\d+", text)[:3]))
        _ = self.ecephys_session_id
        if found < _OLDEST:
            warnings.warn(
                f"{self._nwb.path}: was written for AllenSDK before 2.0 (NWB "
                f"{text or 'unknown'}); move it away to fetch the one of today",
                CacheWarning,
                stacklevel=3,
            )

    # -- what the session is -------------------------------------------------------------------

    @cached_property
    def ecephys_session_id(self) -> int:
        """Number of the session."""
        text = self._nwb.scalar("", "identifier")
        try:
            return int(text)
        except (TypeError, ValueError) as error:
            raise ContentError(
                f"{self._nwb.path}: is not the file of a session, its identifier is {text!r}"
            ) from error

    @cached_property
    def session_start_time(self) -> dt.datetime:
        """When the session started, with its zone."""
        return self._nwb.start_time()

    @property
    def session_type(self) -> str:
        """Which set of stimuli was shown."""
        return str(self._nwb.scalar("general", "stimulus"))

    @property
    def specimen_name(self) -> str:
        """Name of the mouse."""
        return str(self._nwb.scalar("general/subject", "specimen_name"))

    @property
    def age_in_days(self) -> Any:
        """Age of the mouse."""
        return self._nwb.scalar("general/subject", "age_in_days")

    @property
    def sex(self) -> str:
        """Sex of the mouse."""
        return str(self._nwb.scalar("general/subject", "sex"))

    @property
    def full_genotype(self) -> str:
        """Genotype of the mouse."""
        return str(self._nwb.scalar("general/subject", "genotype"))

    @cached_property
    def rig_geometry_data(self) -> pd.DataFrame | None:
        """Where monitor, camera and LED stood; None where nothing is known."""
        return gaze.rig_geometry(self._nwb)

    @property
    def rig_equipment_name(self) -> str | None:
        """Name of the rig; None where nothing is known."""
        name: str | None = gaze.rig_equipment(self._nwb)
        return name

    @cached_property
    def invalid_times(self) -> pd.DataFrame:
        """Times during which data are not valid (s), and tags that say which."""
        import pandas as pd

        if self._nwb.find("intervals/invalid_times") is None:
            return pd.DataFrame()
        return self._nwb.table("intervals/invalid_times")

    def get_invalid_times(self) -> pd.DataFrame:
        """Give :attr:`invalid_times`.

        Returns
        -------
        pandas.DataFrame
            A tag is a scope (``EcephysSession``, ``EcephysProbe``), its number, and what is not
            valid: ``all_probes``, the name of a probe, ``stimulus``, ``optotagging``.
        """
        return self.invalid_times

    def _invalid(self, *tags: str) -> pd.DataFrame:
        return stimuli.tagged(self.invalid_times, tags)
