"""What was recorded in a session: probes, channels, units, spikes, waveforms, LFP."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.ecephys.missing import NotInSession, UnknownProbe
from one_cache.ecephys.session import lfp, stimuli
from one_cache.ecephys.session.file import SessionFile
from one_cache.ecephys.session.units import Units, channels_of_file, channels_table, probes_table
from one_cache.errors import CacheWarning

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Spikes = dict[int, npt.NDArray[np.float64]]

_ACRONYM = "ecephys_structure_acronym"


class Recordings(SessionFile):
    """Probes, channels and units of a session."""

    @cached_property
    def probes(self) -> pd.DataFrame:
        """Probes, index ``id``."""
        return probes_table(self._nwb)

    @cached_property
    def _file_channels(self) -> pd.DataFrame:
        return channels_of_file(self._nwb)

    @cached_property
    def channels(self) -> pd.DataFrame:
        """Channels, index ``id``; structures and coordinates as the project's table has them."""
        return channels_table(
            self._file_channels, self._known_channels, filter_by_validity=self._valid
        )

    @cached_property
    def _all_units(self) -> Units:
        return Units(self._nwb, self.probes, self._file_channels)

    @cached_property
    def _units(self) -> pd.DataFrame:
        return self._all_units.table(self.channels, self._filter, filter_by_validity=self._valid)

    @property
    def units(self) -> pd.DataFrame:
        """Units that are good enough, index ``unit_id``; a copy."""
        return self._units.copy()

    @property
    def num_units(self) -> int:
        """Number of units."""
        return len(self._units)

    @property
    def num_channels(self) -> int:
        """Number of channels."""
        return len(self.channels)

    @property
    def num_probes(self) -> int:
        """Number of probes."""
        return len(self.probes)

    @property
    def _acronyms(self) -> str:
        """Which column names structures: a file that is opened alone has another one."""
        return _ACRONYM if _ACRONYM in self.channels.columns else "structure_acronym"

    @property
    def structure_acronyms(self) -> list[Any]:
        """Structures in which channels lie; NaN (None in a file opened alone) is outside."""
        names: list[Any] = self.channels[self._acronyms].unique().tolist()
        return names

    @property
    def structurewise_unit_counts(self) -> pd.Series[int]:
        """Number of units in each structure."""
        counts: pd.Series[int] = self._units[self._acronyms].value_counts()
        counts.index.name = None
        return counts.rename(self._acronyms)

    @cached_property
    def _spike_times(self) -> Spikes:
        return self._all_units.spikes("spike_times", self._units.index)

    @property
    def spike_times(self) -> Spikes:
        """Times of the spikes of each unit, (n_spikes,) float, s."""
        if not self._warned:
            self._warned = True
            if not self._invalid("all_probes", *self.probes["description"]).empty:
                warnings.warn(
                    "Session includes invalid time intervals, see its 'invalid_times'; spikes "
                    "within them may have to be excluded",
                    CacheWarning,
                    stacklevel=2,
                )
        return self._spike_times

    @cached_property
    def spike_amplitudes(self) -> Spikes:
        """Amplitudes of the spikes of every unit, good or not, (n_spikes,) float, V."""
        return self._all_units.spikes("spike_amplitudes")

    @cached_property
    def mean_waveforms(self) -> dict[int, Any]:
        """Mean waveform of each unit, (channel_id, time) DataArray, V and s."""
        return self._all_units.waveforms(self._units, self.channels)

    # -- LFP -------------------------------------------------------------------------------------

    def _lfp_path(self, probe_id: int) -> Path:
        paths = self._lfp or {}
        if probe_id not in paths:
            known = ", ".join(map(str, paths)) or "none; open the session from its project cache"
            raise UnknownProbe(f"no LFP file is known for probe {probe_id}; there are: {known}")
        found = paths[probe_id]
        return Path(found() if callable(found) else found)

    def get_lfp(self, probe_id: int, mask_invalid_intervals: bool = True) -> Any:
        """Read the LFP of a probe; its file is fetched when it is not here.

        Parameters
        ----------
        probe_id : int
            Which.
        mask_invalid_intervals : bool
            NaN where data of this probe, or of all, are not valid.

        Returns
        -------
        xarray.DataArray
            (time, channel), V and s. It is large, and not kept.

        Raises
        ------
        UnknownProbe
            There is no such probe.
        """
        if mask_invalid_intervals and probe_id not in self.probes.index:
            raise UnknownProbe(f"no probe {probe_id}; there are: {list(self.probes.index)}")
        found = lfp.read_lfp(self._lfp_path(probe_id), probe_id)
        if not mask_invalid_intervals:
            return found
        name = str(self.probes.at[probe_id, "description"])
        return lfp.masked(found, self._invalid("all_probes", name))

    def get_current_source_density(self, probe_id: int) -> Any:
        """Read the current source density of a probe around flashes.

        Parameters
        ----------
        probe_id : int
            Which.

        Returns
        -------
        xarray.DataArray
            (virtual_channel_index, time).
        """
        return lfp.read_csd(self._lfp_path(probe_id))

    def channel_structure_intervals(
        self, channel_ids: Collection[int]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Find where along some channels each structure begins and ends.

        Parameters
        ----------
        channel_ids : collection of int
            In order.

        Returns
        -------
        labels : numpy.ndarray
            (intervals,) structures.
        intervals : numpy.ndarray
            (intervals + 1,) int: where each begins among the channels, and their number.

        Warns
        -----
        CacheWarning
            The channels are of several probes.
        """
        table = picked(self.channels, channel_ids, "channels")
        if table["probe_id"].nunique() > 1:
            warnings.warn(
                "Calculating structure boundaries across channels from multiple probes.",
                CacheWarning,
                stacklevel=2,
            )
        key = "ecephys_structure_id"
        bounds = stimuli.intervals(
            table[key if key in table.columns else self._acronyms].to_numpy()
        )
        return table[self._acronyms].iloc[bounds[:-1]].to_numpy(), bounds

    def _units_of(self, ids: Any) -> list[int]:
        return [int(one) for one in picked(self._units, ids, "units").index]


def picked(table: pd.DataFrame, ids: Any, what: str) -> pd.DataFrame:
    """Give some rows of a table, in the order asked.

    Parameters
    ----------
    table : pandas.DataFrame
        The rows.
    ids : int or collection of int, optional
        All when not given.
    what : str
        Name of the table, for the warning when none is left.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    NotInSession
        One of them is not there.
    """
    if ids is None:
        return table
    wanted = list(ids) if isinstance(ids, Collection) and not isinstance(ids, str) else [ids]
    unknown = [one for one in wanted if one not in table.index]
    if unknown:
        some = ", ".join(map(repr, unknown[:3])) + (", ..." if len(unknown) > 3 else "")
        raise NotInSession(f"{some}: not among the {len(table)} {what} of this session")
    found = table.loc[wanted]
    if not len(found):
        warnings.warn(f"filtering to an empty set of {what}!", CacheWarning, stacklevel=4)
    return found
