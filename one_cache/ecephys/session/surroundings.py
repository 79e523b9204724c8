"""What a session shows of the world: stimuli, running, light, eyes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from one_cache.ecephys.session import gaze, presentations, stimuli
from one_cache.ecephys.session.recordings import Recordings, picked
from one_cache.errors import CacheWarning, near_misses

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd


class Surroundings(Recordings):
    """What was shown to the animal, and what it did.

    Attributes
    ----------
    DETAILED_STIMULUS_PARAMETERS : tuple of str
        Left out of the tables of stimuli, unless asked for.
    """

    DETAILED_STIMULUS_PARAMETERS = presentations.DETAILED_PARAMETERS

    @cached_property
    def _presentations(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Give all presentations, those of invalid times masked, and their conditions."""
        table = presentations.read_presentations(self._nwb)
        return stimuli.masked(table, self._invalid("stimulus")), presentations.conditions(table)

    @property
    def stimulus_presentations(self) -> pd.DataFrame:
        """What was shown when (s), index ``stimulus_presentation_id``; ``"null"`` is: no such."""
        return self._without_details(self._presentations[0])

    @property
    def stimulus_conditions(self) -> pd.DataFrame:
        """Distinct combinations of parameters, index ``stimulus_condition_id``."""
        return self._presentations[1]

    @property
    def num_stimulus_presentations(self) -> int:
        """Number of presentations."""
        return len(self._presentations[0])

    @property
    def stimulus_names(self) -> list[str]:
        """Names of the stimuli in the order in which they were shown first."""
        names: list[str] = self._presentations[0]["stimulus_name"].unique().tolist()
        return names

    @cached_property
    def inter_presentation_intervals(self) -> pd.DataFrame:
        """Time between each presentation and the next, s."""
        return stimuli.gaps(self._presentations[0])

    def _without_details(self, table: pd.DataFrame) -> pd.DataFrame:
        return table.drop(columns=list(self.DETAILED_STIMULUS_PARAMETERS), errors="ignore")

    def get_stimulus_table(
        self,
        stimulus_names: str | Iterable[str] | None = None,
        include_detailed_parameters: bool = False,
        include_unused_parameters: bool = False,
    ) -> pd.DataFrame:
        """Give the presentations of some stimuli, with the parameters that they have.

        Parameters
        ----------
        stimulus_names : str or iterable of str, optional
            All when not given.
        include_detailed_parameters : bool
            With :attr:`DETAILED_STIMULUS_PARAMETERS`.
        include_unused_parameters : bool
            With parameters that apply to none of them.

        Returns
        -------
        pandas.DataFrame
            Index ``stimulus_presentation_id``.

        Warns
        -----
        CacheWarning
            One of the stimuli was not shown.
        """
        table = self._presentations[0]
        known = self.stimulus_names
        names = known if stimulus_names is None else _listed(stimulus_names)
        for name in names:
            if name not in known:
                warnings.warn(
                    f"no stimulus {name!r} was shown.{near_misses(str(name), known)}",
                    CacheWarning,
                    stacklevel=2,
                )
        table = table[table["stimulus_name"].isin(names)]
        if not include_detailed_parameters:
            table = self._without_details(table)
        return table if include_unused_parameters else stimuli.without_unused(table)

    def get_stimulus_epochs(
        self, duration_thresholds: Mapping[str, float] | None = None
    ) -> pd.DataFrame:
        """List the times during which one stimulus was shown without a break.

        Parameters
        ----------
        duration_thresholds : mapping of str to float, optional
            By stimulus, s; shorter epochs of it are left out. ``{"spontaneous_activity": 90.0}``
            when not given, as in AllenSDK, where no stimulus is called so.

        Returns
        -------
        pandas.DataFrame
            Start, stop and duration in s, name and block.
        """
        usual = {"spontaneous_activity": 90.0}
        thresholds = usual if duration_thresholds is None else duration_thresholds
        return stimuli.epochs(self._presentations[0], thresholds)

    def get_inter_presentation_intervals_for_stimulus(
        self, stimulus_names: str | Iterable[str]
    ) -> pd.DataFrame:
        """Give the time between presentations that both are of some stimuli.

        Parameters
        ----------
        stimulus_names : str or iterable of str
            Which.

        Returns
        -------
        pandas.DataFrame
            As :attr:`inter_presentation_intervals`.
        """
        table = self._presentations[0]
        wanted = table.index[table["stimulus_name"].isin(_listed(stimulus_names))]
        found = self.inter_presentation_intervals
        first, second = (found.index.get_level_values(level).isin(wanted) for level in (0, 1))
        return found[first & second]

    def get_parameter_values_for_stimulus(
        self, stimulus_name: str, drop_nulls: bool = True
    ) -> dict[str, npt.NDArray[Any]]:
        """Give the values that each parameter took while a stimulus was shown.

        Parameters
        ----------
        stimulus_name : str
            Which.
        drop_nulls : bool
            Without ``"null"``.

        Returns
        -------
        dict of str to numpy.ndarray
            In order of appearance.
        """
        ids = self.get_stimulus_table([stimulus_name]).index
        return self.get_stimulus_parameter_values(ids, drop_nulls=drop_nulls)

    def get_stimulus_parameter_values(
        self, stimulus_presentation_ids: Any = None, drop_nulls: bool = True
    ) -> dict[str, npt.NDArray[Any]]:
        """Give the values that each parameter took.

        Parameters
        ----------
        stimulus_presentation_ids : collection of int, optional
            During these presentations; all when not given.
        drop_nulls : bool
            Without ``"null"``.

        Returns
        -------
        dict of str to numpy.ndarray
            In order of appearance.
        """
        import numpy as np

        table = self._presentations_of(stimulus_presentation_ids)
        table = presentations.parameters(table).drop(columns="stimulus_name")
        table = stimuli.without_unused(table)
        found, null = {}, presentations.NULL
        for column in table.columns:
            values = np.asarray(table[column].unique())
            nulls = np.array([isinstance(one, str) and one == null for one in values])
            kept = values[~nulls]
            found[column] = kept if drop_nulls else np.concatenate([kept, values[nulls]])
        return found

    def _presentations_of(self, ids: Any) -> pd.DataFrame:
        return picked(self.stimulus_presentations, ids, "stimulus_presentations")

    # -- behaviour and light -----------------------------------------------------------------

    @cached_property
    def running_speed(self) -> pd.DataFrame:
        """Speed of the wheel: start and end of each sample (s), velocity (cm/s)."""
        import pandas as pd

        speed, starts = self._nwb.series("processing/running/running_speed")
        _, ends = self._nwb.series("processing/running/running_speed_end_times")
        return pd.DataFrame({"start_time": starts, "end_time": ends, "velocity": speed[:]})

    @cached_property
    def optogenetic_stimulation_epochs(self) -> pd.DataFrame:
        """When light was given, how, and how much; times in s."""
        table = self._nwb.table("processing/optotagging/optogenetic_stimulation")
        return table.drop(columns="tags", errors="ignore").rename(
            columns={"name": "stimulus_name"}
        )

    def get_pupil_data(self) -> pd.DataFrame | None:
        """Give the ellipses fitted to eye, pupil and corneal reflection.

        Returns
        -------
        pandas.DataFrame or None
            Index in s; None where the eye was not tracked.
        """
        return gaze.pupil_data(self._nwb)

    def get_screen_gaze_data(self, include_filtered_data: bool = False) -> pd.DataFrame | None:
        """Give where on the screen the animal looked.

        Parameters
        ----------
        include_filtered_data : bool
            With columns in which blinks and artefacts are NaN.

        Returns
        -------
        pandas.DataFrame or None
            Index in s; None where the eye was not tracked.
        """
        return gaze.screen_gaze_data(self._nwb, filtered=include_filtered_data)


def _listed(value: str | Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
