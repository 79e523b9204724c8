"""The four project tables put together, each join made once for one version of the tables."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from one_cache.ecephys.filters import UnitFilter
from one_cache.ecephys.folder.arrow import restored
from one_cache.ecephys.project.joins import (
    WAVEFORM_NAMES,
    count_owned,
    get_grouped_uniques,
    joined,
    probes_shown,
)

if TYPE_CHECKING:
    import pandas as pd

ACRONYM, ACRONYMS = "ecephys_structure_acronym", "ecephys_structure_acronyms"
STRUCTURE = "ecephys_structure_id"
CHANNEL, PROBE, SESSION = "ecephys_channel_id", "ecephys_probe_id", "ecephys_session_id"


def written_sessions(frame: pd.DataFrame) -> pd.DataFrame:
    """Give :attr:`Joined.sessions` as a table keeps it: structures as lists, null for none."""
    import pandas as pd

    lists = [
        None
        if isinstance(names, int)
        else [name if isinstance(name, str) else None for name in names]
        for names in frame[ACRONYMS]
    ]
    return frame.assign(**{ACRONYMS: pd.Series(lists, index=frame.index, dtype=object)})


def read_sessions(frame: pd.DataFrame) -> pd.DataFrame:
    """Undo :func:`written_sessions`."""
    import numpy as np
    import pandas as pd

    frame = restored(frame)
    lists = np.empty(len(frame), dtype=object)
    for place, names in enumerate(frame[ACRONYMS]):
        none = isinstance(names, float)
        lists[place] = (
            0 if none else np.array([np.nan if n is None else n for n in names], dtype=object)
        )
    return frame.assign(**{ACRONYMS: pd.Series(lists, index=frame.index, dtype=object)})


class Joined:
    """Sessions, probes, channels and units of a project.

    Every result is shared: copy it before you change it.

    Parameters
    ----------
    sessions, probes, channels, units : pandas.DataFrame
        As the server has them, sorted by id.
    """

    def __init__(
        self,
        sessions: pd.DataFrame,
        probes: pd.DataFrame,
        channels: pd.DataFrame,
        units: pd.DataFrame,
    ) -> None:
        self._sessions = sessions
        self._probes = probes
        self._channels = channels
        self._units = units

    # -- what belongs to what ------------------------------------------------------------------

    @cached_property
    def _probe_keys(self) -> pd.DataFrame:
        """Give the session of each probe, of those whose session is known."""
        keys = self._probes[[SESSION]]
        return keys[keys[SESSION].isin(self._sessions.index)]

    @cached_property
    def _channel_keys(self) -> pd.DataFrame:
        """Give probe, session and structure of each channel."""
        return joined(self._channels[[PROBE, ACRONYM]], self._probe_keys, PROBE, ("", "probe"))

    @cached_property
    def _unit_keys(self) -> pd.DataFrame:
        """Give channel, probe and session of each unit that is good enough by default."""
        units = self._units[self._wanted(UnitFilter.read({}), filter_by_validity=True)]
        keys = self._channel_keys[[PROBE, SESSION]]
        return joined(units[[CHANNEL]], keys, CHANNEL, ("", "channel"))

    def _wanted(self, unit_filter: UnitFilter, *, filter_by_validity: bool) -> Any:
        wanted = unit_filter.passes(self._units)
        if filter_by_validity and "quality" in self._units.columns:
            wanted &= (self._units["quality"] == "good").to_numpy()
        if unit_filter.filter_out_of_brain_units and STRUCTURE in self._units.columns:
            wanted &= self._units[STRUCTURE].notna().to_numpy()
        return wanted

    def _counted(self, frame: pd.DataFrame, key: str, **counted: pd.DataFrame) -> pd.DataFrame:
        frame = frame.copy()
        for name, owned in counted.items():
            count_owned(frame, owned, key, f"{name}_count", inplace=True)
        return frame

    def strays(self) -> list[str]:
        """Say which rows belong to none of the table above theirs: a table may not be whole."""
        found = []
        for name, rows, key, owner, owners in (
            ("probes", self._probes, SESSION, "session", self._sessions),
            ("channels", self._channels, PROBE, "probe", self._probes),
            ("units", self._units, CHANNEL, "channel", self._channels),
        ):
            number = int((~rows[key].isin(owners.index)).sum())
            if number:
                found.append(f"{number} of {len(rows)} {name} name a {owner} that is not there")
        return found

    # -- what is shown -------------------------------------------------------------------------

    @cached_property
    def sessions(self) -> pd.DataFrame:
        """Sessions with the numbers of what was recorded, and the structures."""
        frame = self._counted(
            self._sessions,
            SESSION,
            unit=self._unit_keys,
            channel=self._channel_keys,
            probe=self._probe_keys,
        )
        get_grouped_uniques(frame, self._channel_keys, SESSION, ACRONYM, ACRONYMS, inplace=True)
        return frame

    @cached_property
    def probes(self) -> pd.DataFrame:
        """Probes with the columns of their session, and the same numbers."""
        frame = self._counted(
            self._annotated_probes, PROBE, unit=self._unit_keys, channel=self._channel_keys
        )
        get_grouped_uniques(frame, self._channel_keys, PROBE, ACRONYM, ACRONYMS, inplace=True)
        return frame

    @cached_property
    def channels(self) -> pd.DataFrame:
        """Channels with the columns of their probe and session, and the number of units."""
        return self._counted(self._annotated_channels, CHANNEL, unit=self._unit_keys)

    def units(self, unit_filter: UnitFilter, *, filter_by_validity: bool) -> pd.DataFrame:
        """Give the units that are good enough, with the columns of channel, probe and session.

        Parameters
        ----------
        unit_filter : UnitFilter
            Thresholds.
        filter_by_validity : bool
            Only units whose quality is ``good``; the column is then left out.

        Returns
        -------
        pandas.DataFrame
        """
        units = self._units[self._wanted(unit_filter, filter_by_validity=filter_by_validity)]
        units = units.rename(columns=WAVEFORM_NAMES)
        if filter_by_validity:
            units = units.drop(columns="quality", errors="ignore")
        return joined(units, self._annotated_channels, CHANNEL, ("unit", "channel"))

    @cached_property
    def _annotated_probes(self) -> pd.DataFrame:
        probes = probes_shown(self._probes)
        return joined(probes, self._sessions, SESSION, ("probe", "session"))

    @cached_property
    def _annotated_channels(self) -> pd.DataFrame:
        return joined(self._channels, self._annotated_probes, PROBE, ("channel", "probe"))
