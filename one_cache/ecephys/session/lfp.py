"""LFP and current source density of one probe, each from a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.ecephys.session.nwb import NwbFile

if TYPE_CHECKING:
    import pandas as pd

_CSD = "processing/current_source_density/ecephys_csd"


def read_lfp(path: Path, probe_id: int) -> Any:
    """Read the LFP of a probe.

    Parameters
    ----------
    path : pathlib.Path
        Its file.
    probe_id : int
        The probe.

    Returns
    -------
    xarray.DataArray
        (time, channel), V; times in s.
    """
    import xarray as xr

    with NwbFile(path) as nwb:
        place = f"acquisition/probe_{probe_id}_lfp/probe_{probe_id}_lfp_data"
        data, times = nwb.series(place)
        channels = nwb.need("general/extracellular_ephys/electrodes/id")[:].astype("int64")
        return xr.DataArray(
            data[:], name="LFP", dims=["time", "channel"], coords=[times, channels]
        )


def masked(lfp: Any, intervals: pd.DataFrame) -> Any:
    """Put NaN where data are not valid.

    Parameters
    ----------
    lfp : xarray.DataArray
        (time, channel).
    intervals : pandas.DataFrame
        Columns ``start_time`` and ``stop_time``, s, both inclusive.

    Returns
    -------
    xarray.DataArray
    """
    valid = lfp.time == lfp.time
    for _, one in intervals.iterrows():
        valid = valid & ~((lfp.time >= one["start_time"]) & (lfp.time <= one["stop_time"]))
    return lfp.where(valid)


def read_csd(path: Path) -> Any:
    """Read the current source density of a probe around flashes.

    Parameters
    ----------
    path : pathlib.Path
        Its file.

    Returns
    -------
    xarray.DataArray
        (virtual_channel_index, time); times in s from the onset, positions on the probe in µm.
    """
    import numpy as np
    import xarray as xr

    with NwbFile(path) as nwb:
        group = nwb.need(_CSD)
        data, times = nwb.series(f"{_CSD}/current_source_density")
        values = data[:].T
        here = ("virtual_channel_index",)
        return xr.DataArray(
            values,
            name="CSD",
            dims=["virtual_channel_index", "time"],
            coords={
                "virtual_channel_index": np.arange(len(values)),
                "time": times,
                "vertical_position": (here, group["virtual_electrode_y_positions"][:]),
                "horizontal_position": (here, group["virtual_electrode_x_positions"][:]),
            },
        )
