"""What each part of an ALF path means, in words."""

from __future__ import annotations

import textwrap

from one_cache.errors import UnknownPart
from one_cache.spec.grammar import path_pattern

SPEC_DESCRIPTION: dict[str, str] = {
    "lab": "Where the data were recorded. Optional; stands before the folder `Subjects`.",
    "Subjects": "A folder of that name, between lab and subject. Needed where there is a lab.",
    "subject": "The name of the animal or person: letters, digits, `_`, `-` and `.`.",
    "date": "The day of the session, yyyy-mm-dd.",
    "number": "Which session of that day: one to three digits, usually padded to three (001).",
    "collection": (
        "Folders that group files by device, modality or processing, for instance "
        "`raw_video_data` or `alf/probe00`. Optional; needed where two files of a session would "
        "bear the same name."
    ),
    "revision": (
        "A folder that holds a later version of files, its name between pound signs: "
        "`#2024-05-06#`. Optional. Revisions are ordered as strings, so ISO dates serve best. Who "
        "asks for a revision that a file does not have is given the last one before it."
    ),
    "namespace": (
        "Letters and digits between underscores before the object: `_ibl_`, `_phy_`. Optional. "
        "Says that the file follows the conventions of one lab, rig or program."
    ),
    "object": (
        "What the file is about, plural and in camel case: `trials`, `wheelMoves`. All files of "
        "one object in one collection have the same number of rows, as the columns of a table "
        "have; each attribute is a column.\n"
        "A file whose attribute is the name of another object holds row numbers of that object, "
        "from 0: `spikes.clusters.npy` says to which row of `clusters.*` each spike belongs."
    ),
    "attribute": (
        "Which property of the object, in camel case.\n"
        "`times` are times of events, in seconds on the session's main clock; `intervals` are two "
        "columns, start and end; `timestamps` are times of the samples of a continuous signal, "
        "either all of them or two or more rows of (sample number, time) to interpolate between. "
        "`_times` and `_intervals` may follow another word: `stimOn_times`."
    ),
    "timescale": (
        "The clock that times refer to where it is not the main one, after an underscore: "
        "`spikes.times_ephysClock.npy`. Optional."
    ),
    "extra": (
        "More parts, with dots between, that change nothing in the meaning of the file: its UUID, "
        "a hash, the number of a piece. Optional. Pieces are put together in the order of their "
        "names."
    ),
    "extension": (
        "The format of the file: npy for arrays, pqt or csv or tsv for tables, json or yaml for "
        "settings; any other format that has rows will do."
    ),
}
"""The meaning of each part."""


def describe(part: str | None = None, width: int = 99) -> str:
    """Describe the grammar of ALF paths, or one part of it.

    Parameters
    ----------
    part : str, optional
        Name of the part; by default all are described.
    width : int
        Characters in a line.

    Returns
    -------
    str
        Text to print.

    Raises
    ------
    UnknownPart
        There is no part of that name.

    Examples
    --------
    >>> print(describe("date"))
    (lab/Subjects/)subject/date/number/(collection/)(#revision#/)(_namespace_)object.attribute...
                           ^^^^
    <BLANKLINE>
    DATE
    The day of the session, yyyy-mm-dd.
    """
    pattern = path_pattern()
    lines = [pattern]
    if part is not None:
        if part not in SPEC_DESCRIPTION:
            known = ", ".join(SPEC_DESCRIPTION)
            raise UnknownPart(f"no part of ALF paths is called {part!r}; there are: {known}")
        lines.append(" " * pattern.index(part) + "^" * len(part))
    for name in [part] if part is not None else SPEC_DESCRIPTION:
        lines += ["", name.upper()]
        for paragraph in SPEC_DESCRIPTION[name].splitlines():
            lines += textwrap.wrap(paragraph, width)
    return "\n".join(lines)
