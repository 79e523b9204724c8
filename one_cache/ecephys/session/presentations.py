"""What was shown to the animal, as it is read from the file: presentations and their conditions.

The rules are AllenSDK's: names and parameters as the releases call them, ``"null"`` where a
parameter does not apply.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from one_cache.ecephys.session.nwb import NwbFile, cells, columns_of
from one_cache.errors import ContentError

if TYPE_CHECKING:
    import pandas as pd

NULL = "null"
CONDITION = "stimulus_condition_id"

DETAILED_PARAMETERS = (
    "colorSpace",
    "flipHoriz",
    "flipVert",
    "depth",
    "interpolate",
    "mask",
    "opacity",
    "rgbPedestal",
    "tex",
    "texRes",
    "units",
    "rgb",
    "signalDots",
    "noiseDots",
    "fieldSize",
    "fieldShape",
    "fieldPos",
    "nDots",
    "dotSize",
    "dotLife",
    "color_triplet",
)
"""Parameters that few people want to see."""

NO_PARAMETERS = ("start_time", "stop_time", "duration", "stimulus_block", CONDITION)
"""Columns that say nothing of what was shown."""

_NAMES = {
    "": "spontaneous",
    "natural_movie_1": "natural_movie_one",
    "natural_movie_3": "natural_movie_three",
    "Natural Images": "natural_scenes",
    "flash_250ms": "flashes",
    "gabor_20_deg_250ms": "gabors",
    "contrast_response": "drifting_gratings_contrast",
    "Natural_Images_Shuffled": "natural_scenes_shuffled",
    "Natural_Images_Sequential": "natural_scenes_sequential",
    "natural_movie_1_more_repeats": "natural_movie_one",
    "natural_movie_shuffled": "natural_movie_one_shuffled",
    "motion_stimulus": "dot_motion",
    "drifting_gratings_more_repeats": "drifting_gratings_75_repeats",
    "signal_noise_test_0_200_repeats": "test_movie_one",
    "signal_noise_test_0": "test_movie_one",
    "signal_noise_test_1": "test_movie_two",
    **{
        f"signal_noise_session_{number}": f"dense_movie_{word}"
        for number, word in enumerate(("one", "two", "three", "four", "five", "six"), 1)
    },
}
_COLUMNS = {
    "Contrast": "contrast",
    "Ori": "orientation",
    "SF": "spatial_frequency",
    "TF": "temporal_frequency",
    "Phase": "phase",
    "Color": "color",
    "Image": "frame",
    "Pos_x": "x_position",
    "Pos_y": "y_position",
}
_FIRST = (
    "stimulus_block",
    "stimulus_block_name",
    "image_index",
    "image_name",
    "movie_frame_index",
    "duration",
    "start_time",
    "end_time",
    "stop_time",
    "start_frame",
    "end_frame",
    "is_change",
    "is_image_novel",
    "omitted",
    "movie_repeat",
    "flashes_since_change",
    "trials_id",
)
_WHOLE_NUMBERS = (
    "flashes_since_change",
    "image_index",
    "movie_repeat",
    "movie_frame_index",
    "repeat",
    "stimulus_index",
)
_NO_NUMBER = -99  # what AllenSDK writes where a whole number is missing

_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DIGITS = {str(number): word for number, word in enumerate(_WORDS, 1)}
_MOVIE = re.compile(
    r"natural_movie_(?P<number>\d+|one|two|three|four|five|six|seven|eight|nine)"
    r"(_shuffled)?(_more_repeats)?"
)
_SHUFFLED = re.compile("natural_movie_shuffled")
_TRIPLET = re.compile(r"\[(-{0,1}\d*\.\d*,\s*)*(-{0,1}\d*\.\d*)\]")
_ASIDE = ("tags", "timeseries", "tags_index", "timeseries_index")


# -- from the file ------------------------------------------------------------------------------


def read_presentations(nwb: NwbFile) -> pd.DataFrame:
    """Read what was shown, all stimuli in the order of time.

    Parameters
    ----------
    nwb : NwbFile
        The session.

    Returns
    -------
    pandas.DataFrame
        Index ``stimulus_presentation_id``; every parameter that any stimulus has, ``"null"``
        where one does not apply; ``duration`` (s) and ``stimulus_condition_id`` added.
    """
    import pandas as pd

    frames = []
    for name, group in nwb.need("intervals").items():
        if name.endswith("_presentations"):
            columns = [column for column in columns_of(group) if column not in _ASIDE]
            frames.append(pd.DataFrame({one: cells(group, one) for one in columns}))
    if not frames:
        raise ContentError(f"{nwb.path}: holds no presentations of stimuli")
    table = pd.concat([_with_objects(frame) for frame in frames], sort=False)
    table = _as_flags(table).sort_values("start_time", kind="stable")
    table = _as_whole_numbers(table.reset_index(drop=True))
    order = [name for name in _FIRST if name in table.columns]
    table = table[[*order, *(name for name in table.columns if name not in order)]]
    table.index.name = "stimulus_presentation_id"
    return _with_conditions(_named(_with_colors(table)))


def _with_objects(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep texts as objects, whatever pandas prefers; ``N/A`` is an empty text."""
    for column in frame.columns:
        if frame[column].dtype.kind not in "fiub":
            frame[column] = frame[column].astype(object).replace({"N/A": ""})
    return frame


def _as_flags(table: pd.DataFrame) -> pd.DataFrame:
    """Read as flags the numbers that are 0, 1 or missing throughout, as AllenSDK does."""
    for column in table.columns:
        values = table[column]
        number = values.dtype.kind == "f" and not column.endswith("_index")
        if number and set(values.dropna().unique()) <= {0.0, 1.0}:
            table[column] = values.astype("boolean")
    return table


def _as_whole_numbers(table: pd.DataFrame) -> pd.DataFrame:
    for column in _WHOLE_NUMBERS:
        if column in table.columns:
            table[column] = table[column].fillna(_NO_NUMBER).astype("int64")
    return table


def _with_colors(table: pd.DataFrame) -> pd.DataFrame:
    """Part the two things that the column ``color`` holds: a number, and a triplet of numbers."""
    if "color" not in table.columns:
        return table
    colors = [value if isinstance(value, str) else "" for value in table["color"]]
    triplets = [bool(_TRIPLET.match(value)) for value in colors]
    old = table["color_triplet"] if "color_triplet" in table.columns else [""] * len(table)
    table["color_triplet"] = _object_series(
        [new if is_one else kept for new, is_one, kept in zip(colors, triplets, old, strict=True)],
        table,
    )
    table["color"] = _object_series(
        [
            "" if is_one or not value else ast.literal_eval(value)
            for value, is_one in zip(colors, triplets, strict=True)
        ],
        table,
    )
    return table


def _object_series(values: Sequence[Any], table: pd.DataFrame) -> Any:
    import pandas as pd

    return pd.Series(list(values), index=table.index, dtype=object)


# -- names and conditions -----------------------------------------------------------------------


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """Give stimuli and parameters the names of the releases, and fill what does not apply."""
    table = _collapsed(table.drop(columns="stimulus_index", errors="ignore"))
    table["stimulus_name"] = _object_series(_stimulus_names(list(table["stimulus_name"])), table)
    table = table.rename(columns=_COLUMNS)
    for column in table.columns:
        values = table[column]
        if values.dtype.kind in "iu" or (values.dtype.kind == "f" and not values.hasnans):
            continue
        if values.dtype.kind == "b" and values.dtype == bool:
            continue
        filled = values.astype(object).where(values.notna().to_numpy(), NULL)
        table[column] = _object_series(
            [NULL if isinstance(value, str) and value == "" else value for value in filled], table
        )
    return table


def _collapsed(table: pd.DataFrame) -> pd.DataFrame:
    """Join columns whose names differ by capitals, unless both say something of one row."""
    dropped = []
    for column in table.columns:
        for other in (column.upper(), column.capitalize()):
            if other == column or other not in table.columns:
                continue
            here, there = table[column].notna(), table[other].notna()
            if (here & there).any():
                continue
            joined = table[column].astype(object).where(here, table[other])
            table[column] = joined.infer_objects()
            dropped.append(other)
            break
    return table.drop(columns=dropped)


def _stimulus_names(names: Iterable[Any]) -> list[Any]:
    worded = [_worded(name) for name in names]
    numbers = {found["number"] for name in worded if (found := _movie(name))}
    renamed = []
    for name in worded:
        if isinstance(name, str) and _SHUFFLED.match(name):
            if len(numbers) != 1:
                raise ContentError(
                    f"which movie was shuffled cannot be told; candidates: {sorted(numbers)}"
                )
            name = f"natural_movie_{min(numbers)}_shuffled"
        renamed.append(_NAMES.get(name, name) if isinstance(name, str) else "spontaneous")
    return renamed


def _movie(name: Any) -> re.Match[str] | None:
    return _MOVIE.search(name) if isinstance(name, str) else None


def _worded(name: Any) -> Any:
    """Write the number of a movie as a word."""
    if not _movie(name):
        return name
    return re.sub(r"\d+", lambda found: _DIGITS.get(found[0], found[0]), name)


def _with_conditions(table: pd.DataFrame) -> pd.DataFrame:
    """Give each distinct combination of parameters a number, in order of appearance."""
    table["duration"] = table["stop_time"] - table["start_time"]
    known: dict[tuple[Any, ...], int] = {}
    rows = parameters(table).itertuples(index=False, name=None)
    table[CONDITION] = [known.setdefault(row, len(known)) for row in rows]
    return table


def parameters(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out what is no parameter of a stimulus; its name is one."""
    return table.drop(columns=[name for name in NO_PARAMETERS if name in table.columns])


def conditions(table: pd.DataFrame) -> pd.DataFrame:
    """List the distinct combinations of parameters.

    Parameters
    ----------
    table : pandas.DataFrame
        From :func:`read_presentations`, before anything is masked.

    Returns
    -------
    pandas.DataFrame
        Index ``stimulus_condition_id``.
    """
    first = table.drop_duplicates(CONDITION)
    found = parameters(first).set_axis(first[CONDITION].to_numpy())
    found.index.name = CONDITION
    for column in found.columns:
        if found[column].dtype.kind == "O" and not any(
            isinstance(value, str) for value in found[column]
        ):
            found[column] = found[column].infer_objects()
    return found
