"""Where the animal looked, its pupil, and the rig that watched it, from the file of a session."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from one_cache.ecephys.session.nwb import NwbFile, times_of

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

_RAW, _FILTERED = "processing/raw_gaze_mapping", "processing/filtered_gaze_mapping"
_TRACKING = "processing/eye_tracking"
_RIG = "processing/eye_tracking_rig_metadata/eye_tracking_rig_metadata"

# part of the eye that a table of ellipses describes
_PARTS = {
    "corneal_reflection": "cr_ellipse_fits",
    "pupil": "pupil_ellipse_fits",
    "eye": "eye_ellipse_fits",
}
_RIG_PARTS = (
    "monitor_position",
    "camera_position",
    "led_position",
    "monitor_rotation",
    "camera_rotation",
)


def _lacks(nwb: NwbFile, what: str, *places: str) -> bool:
    missing = [place for place in places if nwb.find(place) is None]
    if missing:
        _log.info("%s has no %s: %s", nwb.path, what, ", ".join(missing))
    return bool(missing)


def _index(nwb: NwbFile) -> Any:
    import pandas as pd

    return pd.Index(times_of(nwb.need(f"{_RAW}/eye_area")), name="Time (s)")


def pupil_data(nwb: NwbFile) -> pd.DataFrame | None:
    """Read the ellipses that were fitted to eye, pupil and corneal reflection.

    Parameters
    ----------
    nwb : NwbFile
        The session.

    Returns
    -------
    pandas.DataFrame or None
        Index in s; centre, height, width (pixels) and angle of each. None where the eye was not
        tracked.
    """
    import pandas as pd

    if _lacks(nwb, "eye tracking", _TRACKING, _RAW):
        return None
    found = {}
    for part, name in _PARTS.items():
        fits = nwb.table(f"{_TRACKING}/{name}")
        for column in ("center_x", "center_y"):
            found[f"{part}_{column}"] = fits[column].to_numpy()
        # the file holds half of each axis
        for column in ("height", "width"):
            found[f"{part}_{column}"] = 2 * fits[column].to_numpy()
        found[f"{part}_phi"] = fits["phi"].to_numpy()
    return pd.DataFrame(found, index=_index(nwb))


def screen_gaze_data(nwb: NwbFile, *, filtered: bool) -> pd.DataFrame | None:
    """Read where on the screen the animal looked.

    Parameters
    ----------
    nwb : NwbFile
        The session.
    filtered : bool
        With the columns in which blinks and artefacts are NaN.

    Returns
    -------
    pandas.DataFrame or None
        Index in s; areas (pixels²), coordinates on the screen in cm and in degrees. None where
        the eye was not tracked.
    """
    import pandas as pd

    if _lacks(nwb, "gaze data", _RAW, _FILTERED):
        return None
    found = {}
    for prefix, place in (("raw", _RAW), ("filtered", _FILTERED)):
        if prefix == "filtered" and not filtered:
            continue
        flat = nwb.need(f"{place}/screen_coordinates")["data"]
        spherical = nwb.need(f"{place}/screen_coordinates_spherical")["data"]
        found[f"{prefix}_eye_area"] = nwb.need(f"{place}/eye_area")["data"][:]
        found[f"{prefix}_pupil_area"] = nwb.need(f"{place}/pupil_area")["data"][:]
        # y stands before x in the file
        found[f"{prefix}_screen_coordinates_x_cm"] = flat[:, 1]
        found[f"{prefix}_screen_coordinates_y_cm"] = flat[:, 0]
        found[f"{prefix}_screen_coordinates_spherical_x_deg"] = spherical[:, 1]
        found[f"{prefix}_screen_coordinates_spherical_y_deg"] = spherical[:, 0]
    return pd.DataFrame(found, index=_index(nwb))


def rig_geometry(nwb: NwbFile) -> pd.DataFrame | None:
    """Read where monitor, camera and LED stood.

    Parameters
    ----------
    nwb : NwbFile
        The session.

    Returns
    -------
    pandas.DataFrame or None
        Rows x, y, z; a column a part, with its unit. None where nothing is known.
    """
    import pandas as pd

    if _lacks(nwb, "rig metadata", _RIG):
        return None
    rig = nwb.need(_RIG)
    found = {f"{part}_{rig[part].attrs['unit']}": rig[part][:] for part in _RIG_PARTS}
    return pd.DataFrame(found).rename(index={0: "x", 1: "y", 2: "z"})


def rig_equipment(nwb: NwbFile) -> Any:
    """Read the name of the rig; None where nothing is known."""
    return nwb.scalar(_RIG, "equipment")
