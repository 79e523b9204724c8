"""The session of AllenSDK: spikes put to stimuli, on all that the file holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from one_cache.ecephys.session import spikes
from one_cache.ecephys.session.surroundings import Surroundings

if TYPE_CHECKING:
    import pandas as pd


class EcephysSession(Surroundings):
    """Units, spikes, stimuli and behaviour of one session; each part is read when it is used.

    It is made with :meth:`EcephysProjectCache.get_session_data`, or from a file with
    :meth:`from_nwb_path`. It may be used in a ``with`` block, or closed; a file that is closed is
    opened again when something else is asked for.

    Parameters
    ----------
    nwb : NwbFile
        The file.
    unit_filter : UnitFilter, optional
        Which units are wanted.
    filter_by_validity : bool
        Only units of quality ``good``, and channels with valid data.
    probe_lfp_paths : mapping, optional
        By probe, the path of its LFP file, or what gives it.
    channel_columns : callable, optional
        Gives what is known better of the channels than the file says.
    """

    @property
    def metadata(self) -> dict[str, Any]:
        """All of the above, numbers of things, structures and stimuli."""
        names = (
            "specimen_name",
            "session_type",
            "full_genotype",
            "sex",
            "age_in_days",
            "rig_equipment_name",
            "num_units",
            "num_channels",
            "num_probes",
            "num_stimulus_presentations",
            "session_start_time",
            "ecephys_session_id",
            "structure_acronyms",
            "stimulus_names",
        )
        return {name: getattr(self, name) for name in names}

    def presentationwise_spike_counts(
        self,
        bin_edges: Any,
        stimulus_presentation_ids: Any,
        unit_ids: Any,
        binarize: bool = False,
        dtype: Any = None,
        large_bin_size_threshold: float = 0.001,
        time_domain_callback: Callable[[Any], Any] | None = None,
    ) -> Any:
        """Count the spikes around the onset of presentations.

        Parameters
        ----------
        bin_edges : array-like
            (bins + 1,) s, relative to the onset.
        stimulus_presentation_ids, unit_ids : collection of int
            Which.
        binarize : bool
            1 for any number of spikes.
        dtype : data type, optional
            uint16, or uint8 with `binarize`, when not given.
        large_bin_size_threshold : float
            s; `binarize` with wider bins gives a warning.
        time_domain_callback : callable, optional
            Takes the edges of all bins, (presentations, bins + 1), and gives others.

        Returns
        -------
        xarray.DataArray
            (stimulus_presentation_id, time_relative_to_stimulus_onset, unit_id) counts; times in
            s are those of the middle of the bins.
        """
        import numpy as np
        import xarray as xr

        presentations = self._presentations_of(stimulus_presentation_ids)
        units = self._units_of(unit_ids)
        edges = spikes.edges_of(bin_edges)
        if binarize:
            spikes.warn_of_wide_bins(edges, large_bin_size_threshold)
        domain = spikes.time_domain(
            edges, presentations["start_time"].to_numpy(), time_domain_callback
        )
        counts = spikes.histogram(domain, self.spike_times, units, binarize=binarize, dtype=dtype)
        coords = {
            "stimulus_presentation_id": presentations.index.to_numpy(),
            "time_relative_to_stimulus_onset": edges[:-1] + np.diff(edges) / 2,
            "unit_id": np.asarray(units, dtype="int64"),
        }
        return xr.DataArray(counts, name="spike_counts", coords=coords, dims=list(coords))

    def presentationwise_spike_times(
        self, stimulus_presentation_ids: Any = None, unit_ids: Any = None
    ) -> pd.DataFrame:
        """List the spikes that fell into presentations.

        Parameters
        ----------
        stimulus_presentation_ids, unit_ids : collection of int, optional
            Which; all when not given.

        Returns
        -------
        pandas.DataFrame
            Index ``spike_time`` (s); presentation, unit, time since the onset (s).
        """
        presentations = self._presentations_of(stimulus_presentation_ids)
        return spikes.spikes_in(presentations, self.spike_times, self._units_of(unit_ids))

    def conditionwise_spike_statistics(
        self, stimulus_presentation_ids: Any = None, unit_ids: Any = None, use_rates: bool = False
    ) -> pd.DataFrame:
        """Sum up the spikes of each unit over the presentations of each condition.

        Parameters
        ----------
        stimulus_presentation_ids : collection of int, optional
            Which; all when not given.
        unit_ids : collection of int, optional
            Which; those with a spike in these presentations when not given.
        use_rates : bool
            Spikes a second rather than spikes.

        Returns
        -------
        pandas.DataFrame
            Index ``unit_id``, ``stimulus_condition_id``.
        """
        presentations = self._presentations_of(stimulus_presentation_ids)
        units = self._units_of(unit_ids)
        found = spikes.spikes_in(presentations, self.spike_times, units)
        if unit_ids is None and len(found):
            units = [int(one) for one in found["unit_id"].unique()]
        return spikes.statistics(presentations, found, units, use_rates=use_rates)
