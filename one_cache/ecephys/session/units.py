"""Probes, channels and units of one session, from its NWB file and from the project's tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from one_cache.ecephys.filters import UnitFilter
from one_cache.ecephys.project.joins import WAVEFORM_NAMES
from one_cache.ecephys.session.nwb import NwbFile, ragged
from one_cache.errors import ContentError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

_ELECTRODES = "general/extracellular_ephys/electrodes"
_GROUPS = "general/extracellular_ephys"
_DEVICES = "general/devices"

# what the table of units shows, if the file has it; in AllenSDK's order
_UNIT_COLUMNS = (
    "PT_ratio",
    "amplitude",
    "amplitude_cutoff",
    "cluster_id",
    "cumulative_drift",
    "d_prime",
    "firing_rate",
    "isi_violations",
    "isolation_distance",
    "l_ratio",
    "local_index",
    "max_drift",
    "nn_hit_rate",
    "nn_miss_rate",
    "peak_channel_id",
    "presence_ratio",
    "quality",
    "recovery_slope",
    "repolarization_slope",
    "silhouette_score",
    "snr",
    "spread",
    "velocity_above",
    "velocity_below",
    "waveform_duration",
)
_NEEDED = (
    "peak_channel_id",
    "quality",
    "amplitude_cutoff",
    "presence_ratio",
    "isi_violations",
    "local_index",
    "cluster_id",
    "firing_rate",
)
_UNIT_NAMES = {
    **{old: new for old, new in WAVEFORM_NAMES.items() if old not in ("duration", "halfwidth")},
    "description": "probe_description",
    "sampling_rate": "probe_sampling_rate",
    "lfp_sampling_rate": "probe_lfp_sampling_rate",
    "has_lfp_data": "probe_has_lfp_data",
    "local_index_channel": "channel_local_index",
}
# AllenSDK shows this of every channel, whatever the file says
_FILTERING = "AP band: 500 Hz high-pass; LFP band: 1000 Hz low-pass"


def probes_table(nwb: NwbFile) -> pd.DataFrame:
    """Read the probes of a session.

    Parameters
    ----------
    nwb : NwbFile
        The session.

    Returns
    -------
    pandas.DataFrame
        Index ``id``; name (``description``), location, sampling rates (Hz), whether there is LFP.
    """
    import pandas as pd

    rows = []
    for name, group in nwb.need(_GROUPS).items():
        if "probe_id" not in group.attrs:
            continue
        place = f"{_GROUPS}/{name}"
        device = group["device"].name if "device" in group else f"{_DEVICES}/{name}"
        rows.append(
            {
                "id": int(nwb.scalar(place, "probe_id")),
                "description": name,
                "location": nwb.scalar(place, "location"),
                "sampling_rate": float(nwb.scalar(device, "sampling_rate")),
                "lfp_sampling_rate": float(nwb.scalar(place, "lfp_sampling_rate")),
                "has_lfp_data": bool(nwb.scalar(place, "has_lfp_data")),
            }
        )
    if not rows:
        raise ContentError(f"{nwb.path}: names no probe, as sessions of this project do")
    return pd.DataFrame(rows).set_index("id")


def channels_of_file(nwb: NwbFile) -> pd.DataFrame:
    """Read the channels of a session as its file describes them.

    Parameters
    ----------
    nwb : NwbFile
        The session.

    Returns
    -------
    pandas.DataFrame
        Index ``id``; positions on the probe and in the CCF in µm; ``structure_acronym`` without
        the part of the structure after ``-``, None outside the brain.
    """
    import pandas as pd

    table = nwb.table(_ELECTRODES)
    # older files call the number of a channel on its probe its local index
    number = "local_index" if "local_index" in table.columns else "probe_channel_number"
    for column in (number, "probe_id", "valid_data", "location", "x", "y", "z"):
        if column not in table.columns:
            raise ContentError(f"{nwb.path}: its channels have no {column!r}")
    acronyms = [
        None if name in ("None", "") or name is None else str(name).split("-")[0]
        for name in table["location"]
    ]
    columns = {
        "anterior_posterior_ccf_coordinate": table["x"],
        "dorsal_ventral_ccf_coordinate": table["y"],
        "filtering": pd.Series(_FILTERING, index=table.index, dtype=object),
        "left_right_ccf_coordinate": table["z"],
        "probe_channel_number": table[number],
        "probe_horizontal_position": table["probe_horizontal_position"],
        "probe_id": table["probe_id"],
        "probe_vertical_position": table["probe_vertical_position"],
        "structure_acronym": pd.Series(acronyms, index=table.index, dtype=object),
        "valid_data": table["valid_data"].astype(bool),
    }
    return pd.DataFrame(columns)


def channels_table(
    channels: pd.DataFrame,
    known: Callable[[], pd.DataFrame] | None,
    *,
    filter_by_validity: bool,
) -> pd.DataFrame:
    """Give the channels as they are shown.

    Parameters
    ----------
    channels : pandas.DataFrame
        From :func:`channels_of_file`.
    known : callable, optional
        Gives columns that take the place of those of the file; only channels that it knows are
        shown then.
    filter_by_validity : bool
        Only channels with valid data.

    Returns
    -------
    pandas.DataFrame
        Index ``id``.
    """
    import pandas as pd

    if known is not None:
        better = known()
        kept = [column for column in channels.columns if column not in better.columns]
        channels = pd.merge(channels[kept], better, left_index=True, right_index=True)
        channels.index.name = "id"
    if filter_by_validity:
        channels = channels[channels["valid_data"]].drop(columns="valid_data")
    return channels


class Units:
    """The units of a session: which are good enough, their table, spikes and waveforms.

    Parameters
    ----------
    nwb : NwbFile
        The session.
    probes : pandas.DataFrame
        From :func:`probes_table`.
    channels : pandas.DataFrame
        From :func:`channels_of_file`.
    """

    def __init__(self, nwb: NwbFile, probes: pd.DataFrame, channels: pd.DataFrame) -> None:
        self._nwb = nwb
        self._probes = probes
        self._channels = channels
        self._rows = self._read_rows()

    def _read_rows(self) -> pd.DataFrame:
        """Read the units of all probes, one probe after the other."""
        import pandas as pd

        table = self._nwb.table("units", _UNIT_COLUMNS)
        for column in _NEEDED:
            if column not in table.columns:
                raise ContentError(f"{self._nwb.path}: its units have no {column!r}")
        for column in _UNIT_COLUMNS:
            if column not in table.columns:
                # older files lack some of the metrics
                table[column] = float("nan")
        table["row"] = range(len(table))
        probe = table["peak_channel_id"].map(self._channels["probe_id"])
        rows = pd.concat([table[probe == one] for one in self._probes.index])
        ordered: pd.DataFrame = rows[[*_UNIT_COLUMNS, "row"]]
        return ordered

    def _wanted(self, unit_filter: UnitFilter, *, filter_by_validity: bool) -> Any:
        channels = self._channels
        if filter_by_validity:
            channels = channels[channels["valid_data"]]
        if unit_filter.filter_out_of_brain_units:
            channels = channels[channels["structure_acronym"].notna()]
        wanted = unit_filter.passes(self._rows)
        wanted &= self._rows["peak_channel_id"].isin(channels.index).to_numpy()
        if filter_by_validity:
            wanted &= (self._rows["quality"] == "good").to_numpy()
        return wanted

    def table(
        self, shown: pd.DataFrame, unit_filter: UnitFilter, *, filter_by_validity: bool
    ) -> pd.DataFrame:
        """Give the units that are good enough, with the columns of channel and probe.

        Parameters
        ----------
        shown : pandas.DataFrame
            From :func:`channels_table`.
        unit_filter : UnitFilter
            Thresholds.
        filter_by_validity : bool
            Only units of quality ``good`` on channels with valid data.

        Returns
        -------
        pandas.DataFrame
            Index ``unit_id``; sorted by probe and by position on it.
        """
        import pandas as pd

        wanted = self._wanted(unit_filter, filter_by_validity=filter_by_validity)
        table = self._rows[wanted].drop(columns="row")
        if filter_by_validity:
            table = table.drop(columns="quality")
        table = pd.merge(
            table,
            shown,
            left_on="peak_channel_id",
            right_index=True,
            suffixes=("_unit", "_channel"),
        )
        table = pd.merge(
            table,
            self._probes,
            left_on="probe_id",
            right_index=True,
            suffixes=("_unit", "_probe"),
        )
        table = table.rename_axis("unit_id").rename(columns=_UNIT_NAMES)
        order = ["probe_description", "probe_vertical_position", "probe_horizontal_position"]
        return table.sort_index().sort_values(order, kind="stable")

    def spikes(self, name: str, ids: Any = None) -> dict[int, npt.NDArray[np.float64]]:
        """Read something of each spike.

        Parameters
        ----------
        name : {"spike_times", "spike_amplitudes"}
            What: s, or V.
        ids : collection of int, optional
            Of units; all when not given.

        Returns
        -------
        dict of int to numpy.ndarray
            (n_spikes,) float for each unit.
        """
        return dict(self._ragged(name, ids))

    def _ragged(self, name: str, ids: Any) -> Iterator[tuple[int, Any]]:
        rows = self._rows if ids is None else self._rows[self._rows.index.isin(ids)]
        group = self._nwb.need("units")
        if name not in group:
            raise ContentError(f"{self._nwb.path}: its units have no {name!r}")
        values = ragged(group, name, rows["row"].tolist())
        yield from zip(rows.index.tolist(), values, strict=True)

    def waveforms(self, table: pd.DataFrame, shown: pd.DataFrame) -> dict[int, Any]:
        """Read the mean waveform of each unit that is shown, on the channels that are shown.

        Parameters
        ----------
        table : pandas.DataFrame
            From :meth:`table`.
        shown : pandas.DataFrame
            From :func:`channels_table`.

        Returns
        -------
        dict of int to xarray.DataArray
            (channel_id, time), V; times in s from the first sample.
        """
        import numpy as np
        import xarray as xr

        known = shown.reset_index().set_index(["probe_id", "probe_channel_number"])["id"]
        by_probe = {probe: known.xs(probe, level="probe_id") for probe in table.probe_id.unique()}
        found = {}
        for unit, data in self._ragged("waveform_mean", table.index):
            probe = table.at[unit, "probe_id"]
            channels = by_probe[probe].reindex(range(len(data)))
            here = channels.notna().to_numpy()
            rate = self._probes.at[probe, "sampling_rate"]
            found[unit] = xr.DataArray(
                data[here],
                dims=["channel_id", "time"],
                coords={
                    "channel_id": channels[here].to_numpy("int64"),
                    "time": np.arange(data.shape[1]) / rate,
                },
            )
        return found
