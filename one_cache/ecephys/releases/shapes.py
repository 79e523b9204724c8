"""How the tables of released projects are shown: what numbers their rows, types, order of columns.

The rules are AllenSDK's.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.ecephys.folder.formats import read_exactly
from one_cache.errors import ContentError

if TYPE_CHECKING:
    import pandas as pd

# columns of the tables of imaging, in the order in which AllenSDK shows them first
_OPHYS_ORDER = (
    "behavior_session_id",
    "ophys_session_id",
    "ophys_container_id",
    "mouse_id",
    "indicator",
    "full_genotype",
    "driver_line",
    "cre_line",
    "reporter_line",
    "sex",
    "age_in_days",
    "imaging_depth",
    "targeted_structure",
    "targeted_imaging_depth",
    "imaging_plane_group_count",
    "imaging_plane_group",
    "project_code",
    "session_type",
    "session_number",
    "image_set",
    "behavior_type",
    "passive",
    "experience_level",
    "prior_exposures_to_session_type",
    "prior_exposures_to_image_set",
    "prior_exposures_to_omissions",
    "date_of_acquisition",
    "equipment_name",
    "num_depths_per_area",
    "ophys_experiment_id",
    "num_targeted_structures",
    "published_at",
    "isi_experiment_id",
)


@dataclass(frozen=True)
class Shape:
    """How a table is shown.

    Attributes
    ----------
    index : str
        Column that numbers its rows.
    whole : tuple of str
        Columns of whole numbers, some of which may be missing.
    texts : tuple of str
        Columns of texts, also where they look like numbers.
    times : tuple of str
        Columns of times, which are UTC.
    literals : tuple of str
        Columns whose texts are Python literals, as lists are.
    order : tuple of str
        Columns that come first.
    """

    index: str
    whole: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    literals: tuple[str, ...] = ()
    order: tuple[str, ...] = ()

    def read(self, path: Path) -> pd.DataFrame:
        """Read the file of the table.

        Parameters
        ----------
        path : pathlib.Path
            In CSV.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        ContentError
            A column holds something else than it should.
        """
        import pandas as pd

        frame = read_exactly(path, dtype=dict.fromkeys(self.texts, object))
        try:
            for name in frame.columns.intersection(list(self.literals)):
                values = [_evaluated(value) for value in frame[name]]
                frame[name] = pd.Series(values, frame.index, dtype=object).infer_objects()
            for name in frame.columns.intersection(list(self.times)):
                frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
            for name in frame.columns.intersection(list(self.whole)):
                frame[name] = frame[name].astype("Int64")
        except (ValueError, TypeError, SyntaxError) as error:
            raise ContentError(f"{path}: column {name!r} cannot be read: {error}") from error
        first = [name for name in self.order if name in frame.columns]
        frame = frame[[*first, *(name for name in frame.columns if name not in first)]]
        return frame.set_index(self.index) if self.index in frame.columns else frame


def _evaluated(value: Any) -> Any:
    return ast.literal_eval(value) if isinstance(value, str) else value


_RECORDED = (
    "prior_exposures_to_image_set",
    "ecephys_session_id",
    "unit_count",
    "probe_count",
    "channel_count",
)

RECORDINGS: Mapping[str, Shape] = {
    "ecephys_sessions": Shape("ecephys_session_id", whole=_RECORDED),
    "behavior_sessions": Shape("behavior_session_id", whole=_RECORDED),
    "probes": Shape("ecephys_probe_id"),
    "channels": Shape("ecephys_channel_id"),
    "units": Shape("unit_id"),
}
"""Tables of recordings, by name."""


_IMAGED = ("behavior_session", "ophys_session", "ophys_experiment")
_LITERALS = ("ophys_experiment_id", "ophys_container_id", "driver_line")


def _imaged(index: str) -> Shape:
    return Shape(
        index,
        whole=(
            "session_number",
            "age_in_days",
            "prior_exposures_to_image_set",
            "prior_exposures_to_session_type",
            "prior_exposures_to_omissions",
            "ophys_session_id",
            "imaging_plane_group_count",
            "imaging_plane_group",
            "targeted_areas",
            "num_depths_per_area",
            "num_targeted_structures",
            "cell_specimen_id",
        ),
        texts=("mouse_id",),
        times=("date_of_acquisition",),
        literals=_LITERALS,
        order=_OPHYS_ORDER,
    )


IMAGING: Mapping[str, Shape] = {
    **{f"{kind}_table": _imaged(f"{kind}_id") for kind in _IMAGED},
    "ophys_cells_table": Shape("cell_roi_id", whole=("cell_specimen_id",), literals=_LITERALS),
}
"""Tables of imaging, by name."""
