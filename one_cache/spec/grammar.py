r"""The ALF grammar: patterns that say where each part of a path stands and what it looks like.

A path is ``lab/Subjects/subject/date/number/collection/#revision#/`` followed by a name,
``_namespace_object.attribute_timescale.extra.extension``. The patterns are strings with the
parts in braces, so a pattern for other parts, or with a part fixed, is one call of :func:`regex`.

The rules are those of ALF (https://int-brain-lab.github.io/ONE/alf_intro.html), held strictly
in four places: a part is a whole folder or nothing, a namespace stands between underscores,
``.`` and ``..`` are no folders, and what follows a session is read whole or not at all.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import PurePath, PurePosixPath

from one_cache.errors import UnknownPart

AnyPath = str | os.PathLike[str]

_FOLDER = r"(?!\.\.?(?:/|\Z))[\w.-]+"

PATTERNS: dict[str, str] = {
    # no dots: a folder named for a server (`data.org/Subjects`) is no lab
    "lab": r"[\w-]+",
    "subject": _FOLDER,
    "date": r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "number": r"[0-9]{1,3}",
    "collection": rf"{_FOLDER}(?:/{_FOLDER})*",
    "revision": r"[\w.-]+",
    "namespace": r"[a-zA-Z0-9]+",
    "object": r"\w+",
    # `_phy_ids` is an attribute with a namespace of its own (old, still found);
    # `stimOn_times` is one attribute, `intervals_bpod` an attribute with its timescale
    "attribute": r"(?:_[a-z]+_)?[a-zA-Z0-9]+(?:_(?:times|intervals)(?=[_.]))?",
    "timescale": r"\w+",
    "extra": r"[.\w-]+",
    "extension": r"\w+",
}
"""What each part may look like."""

SESSION_SPEC = r"(?<![^/])(?:{lab}/Subjects/)?{subject}/{date}/{number}(?![^/])"
"""Where a session lies: whole folders, anywhere in a path."""

COLLECTION_SPEC = r"(?:{collection}/)?(?:#{revision}#/)?"
"""Folders between a session and a file."""

# one optional `extra` that may hold dots: a repeated group would take exponential time to refuse
# a name with many of them
FILE_SPEC = (
    r"(?:_{namespace}_)?{object}\.{attribute}(?:_{timescale})?(?:\.{extra})?\.{extension}\Z"
)
"""A file name."""

REL_PATH_SPEC = f"{COLLECTION_SPEC}{FILE_SPEC}"
"""A file relative to its session."""

FULL_SPEC = f"{SESSION_SPEC}/{REL_PATH_SPEC}"
"""A file with its session."""

SESSION_PARTS = ("lab", "subject", "date", "number")
FOLDER_PARTS = (*SESSION_PARTS, "collection", "revision")
NAME_PARTS = ("namespace", "object", "attribute", "timescale", "extra", "extension")


def path_pattern() -> str:
    """Give the whole grammar as one line to read; what is optional stands in brackets.

    Returns
    -------
    str
    """
    return (
        "(lab/Subjects/)subject/date/number/(collection/)(#revision#/)"
        "(_namespace_)object.attribute(_timescale)(.extra).extension"
    )


def regex(spec: str = FULL_SPEC, **parts: str | None) -> re.Pattern[str]:
    r"""Build the regular expression of a pattern, a named group for each part.

    Parameters
    ----------
    spec : str
        A pattern with parts in braces, such as :data:`FILE_SPEC`; other braces stay as they are.
    **parts : str
        Expressions to put in the place of the default one of a part; None keeps the default.

    Returns
    -------
    re.Pattern
        Compiled; kept for the next call.

    Raises
    ------
    UnknownPart
        A name that is no part of ALF paths.

    Examples
    --------
    >>> trials = regex(FILE_SPEC, object="trials")
    >>> trials.match("_ibl_trials.intervals_bpod.npy")["timescale"]
    'bpod'
    >>> trials.match("_ibl_wheel.position.npy") is None
    True
    >>> regex(r"{collection}/probe\d{2}").match("alf/probe00")["collection"]
    'alf'
    """
    given = tuple(sorted((part, text) for part, text in parts.items() if text is not None))
    for part in parts:
        _check_part(part)
    return _compile(spec, given)


@lru_cache(maxsize=256)
def _compile(spec: str, given: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    patterns = {**PATTERNS, **dict(given)}

    def group(found: re.Match[str]) -> str:
        part = found[1]
        _check_part(part)
        return f"(?P<{part}>{patterns[part]})"

    return re.compile(re.sub(r"\{([A-Za-z_]\w*)\}", group, spec))


def _check_part(part: str) -> None:
    if part not in PATTERNS:
        known = ", ".join(PATTERNS)
        raise UnknownPart(f"no part of ALF paths is called {part!r}; there are: {known}")


def fits(part: str, value: str) -> bool:
    r"""Whether `value` may stand as a part of a path.

    Parameters
    ----------
    part : str
        Name of the part.
    value : str
        What is to stand there.

    Returns
    -------
    bool

    Examples
    --------
    >>> fits("subject", "NYU-40"), fits("subject", ".."), fits("revision", "#v1#")
    (True, False, False)
    """
    return regex(f"{{{part}}}").fullmatch(value) is not None


def is_valid(filename: str) -> bool:
    """Whether a file name is an ALF name.

    Parameters
    ----------
    filename : str
        Without folders.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_valid("_ibl_trials.stimOn_times.npy"), is_valid("spike_train.npy")
    (True, False)
    """
    return regex(FILE_SPEC).match(filename) is not None


def is_session_path(path: AnyPath) -> bool:
    """Whether a path ends in ``subject/date/number``; the disk is not looked at.

    Parameters
    ----------
    path : str or path
        A string may have either kind of slash.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_session_path("/data/NYU-40/2021-04-12/001"), is_session_path("NYU-40/2021-04-12")
    (True, False)
    """
    return regex(SESSION_SPEC + r"\Z").search(posix(path)) is not None


def posix(path: AnyPath) -> str:
    """Write a path with single ``/`` between its parts; ``.`` is dropped, ``..`` is kept."""
    if isinstance(path, PurePath):
        return path.as_posix()
    # no part may hold a backslash, so in a string it can only be a separator
    return PurePosixPath(os.fspath(path).replace("\\", "/")).as_posix()
