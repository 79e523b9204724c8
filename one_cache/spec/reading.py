"""Paths and names taken apart: sessions, folders, file names and whole paths."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import PurePath
from typing import Literal, NamedTuple, Protocol, cast, overload

from one_cache.errors import ALFInvalid
from one_cache.spec.grammar import (
    COLLECTION_SPEC,
    FILE_SPEC,
    FOLDER_PARTS,
    NAME_PARTS,
    REL_PATH_SPEC,
    SESSION_PARTS,
    SESSION_SPEC,
    AnyPath,
    path_pattern,
    posix,
    regex,
)


class Reading(NamedTuple):
    """What was read of a path: its parts, and whether they are all that the path says."""

    parts: dict[str, str | None]
    whole: bool


class Parser(Protocol):
    """A call that reads the parts of a path.

    It takes the path, `as_dict` (a dict in place of a tuple) and `assert_valid` (raise
    :class:`~one_cache.errors.ALFInvalid` where the path is not of that form; otherwise missing
    and unreadable parts are None).
    """

    @overload
    def __call__(
        self, path: AnyPath, as_dict: Literal[False] = False, assert_valid: bool = True
    ) -> tuple[str | None, ...]: ...

    @overload
    def __call__(
        self, path: AnyPath, as_dict: Literal[True], assert_valid: bool = True
    ) -> dict[str, str | None]: ...

    @overload
    def __call__(
        self, path: AnyPath, as_dict: bool, assert_valid: bool = True
    ) -> tuple[str | None, ...] | dict[str, str | None]: ...


def _parser(form: str) -> Callable[[Callable[[AnyPath], Reading]], Parser]:
    """Make the public call of a reading; `form` is what a refused path is told to look like."""

    def decorate(read: Callable[[AnyPath], Reading]) -> Parser:
        # not its annotations and not `__wrapped__`: help() shows the three arguments
        @wraps(read, assigned=("__module__", "__name__", "__qualname__", "__doc__"), updated=())
        def parse(
            path: AnyPath, as_dict: bool = False, assert_valid: bool = True
        ) -> tuple[str | None, ...] | dict[str, str | None]:
            parts, whole = read(path)
            if assert_valid and not whole:
                raise ALFInvalid(f"{os.fspath(path)!r} is not of the form {form}")
            return parts if as_dict else tuple(parts.values())

        vars(parse).pop("__wrapped__")
        return cast("Parser", parse)

    return decorate


@_parser("(lab/Subjects/)subject/date/number")
def session_path_parts(path: AnyPath) -> Reading:
    """Read lab, subject, date and number, wherever in the path they stand.

    Parameters
    ----------
    path : str or path
        Any path; a string may have either kind of slash.
    as_dict : bool
        Give a dict; by default a tuple.
    assert_valid : bool
        Raise where there is no session; otherwise each part is None.

    Returns
    -------
    tuple or dict of str or None
        `lab`, `subject`, `date`, `number`.

    Raises
    ------
    ALFInvalid
        There is no session in that path.

    Examples
    --------
    >>> session_path_parts("/data/wittenlab/Subjects/NYU-40/2021-04-12/001/alf")
    ('wittenlab', 'NYU-40', '2021-04-12', '001')
    >>> session_path_parts("NYU-40/2021-04-12/1", as_dict=True)["number"]
    '1'
    """
    found = regex(SESSION_SPEC).search(posix(path))
    return Reading(found.groupdict() if found else dict.fromkeys(SESSION_PARTS), bool(found))


@_parser("(lab/Subjects/)subject/date/number/(collection/)(#revision#/)")
def folder_parts(path: AnyPath) -> Reading:
    """Read the session, collection and revision of a folder.

    Parameters
    ----------
    path : str or path
        A folder, or a file in a revision; a string may have either kind of slash.
    as_dict : bool
        Give a dict; by default a tuple.
    assert_valid : bool
        Raise where the folder is no ALF folder. Otherwise parts that cannot be read are None: all
        of them without a session, the collection where it is not of that form.

    Returns
    -------
    tuple or dict of str or None
        `lab`, `subject`, `date`, `number`, `collection`, `revision`.

    Raises
    ------
    ALFInvalid
        The folder is not of that form.

    Examples
    --------
    >>> folder_parts("wittenlab/Subjects/NYU-40/2021-04-12/001/alf/probe00/#2024-05-06#")
    ('wittenlab', 'NYU-40', '2021-04-12', '001', 'alf/probe00', '2024-05-06')
    """
    text = posix(path)
    # below a revision there are files only, so what stands there is no part of the folder
    above = read_folders(text.rpartition("/")[0])
    return above if above.whole and above.parts["revision"] else read_folders(text)


@_parser("(_namespace_)object.attribute(_timescale)(.extra).extension")
def filename_parts(path: AnyPath) -> Reading:
    """Read the parts of a file name.

    Parameters
    ----------
    path : str or path
        A name without folders.
    as_dict : bool
        Give a dict; by default a tuple.
    assert_valid : bool
        Raise where it is no ALF name; otherwise each part is None.

    Returns
    -------
    tuple or dict of str or None
        `namespace`, `object`, `attribute`, `timescale`, `extra`, `extension`; several extra parts
        are one string with dots.

    Raises
    ------
    ALFInvalid
        It is no ALF name.

    Examples
    --------
    >>> filename_parts("_ibl_trials.intervals_bpod.npy")
    ('ibl', 'trials', 'intervals', 'bpod', None, 'npy')
    >>> filename_parts("_spikeglx_ephysData_g0_t0.imec0.ap.cbin")
    ('spikeglx', 'ephysData_g0_t0', 'imec0', None, 'ap', 'cbin')
    """
    return _read_name(path.as_posix() if isinstance(path, PurePath) else os.fspath(path))


@_parser("(collection/)(#revision#/)(_namespace_)object.attribute(_timescale)(.extra).extension")
def rel_path_parts(path: AnyPath) -> Reading:
    """Read the parts of a file's path relative to its session.

    Parameters
    ----------
    path : str or path
        Relative to the session; a string may have either kind of slash.
    as_dict : bool
        Give a dict; by default a tuple.
    assert_valid : bool
        Raise where it is no such path; otherwise each part is None.

    Returns
    -------
    tuple or dict of str or None
        `collection`, `revision` and the parts of the name.

    Raises
    ------
    ALFInvalid
        It is no such path.

    Examples
    --------
    >>> rel_path_parts("alf/#v1.0#/spikes.times_ephysClock.npy")
    ('alf', 'v1.0', None, 'spikes', 'times', 'ephysClock', None, 'npy')
    """
    found = regex(REL_PATH_SPEC).match(posix(path))
    parts = ("collection", "revision", *NAME_PARTS)
    return Reading(found.groupdict() if found else dict.fromkeys(parts), bool(found))


@_parser(path_pattern())
def full_path_parts(path: AnyPath) -> Reading:
    """Read all parts of a file or folder with its session, or of a file name alone.

    A last part with fewer than two dots, or between ``#``, is a folder; any other is a file.

    Parameters
    ----------
    path : str or path
        A string may have either kind of slash.
    as_dict : bool
        Give a dict; by default a tuple.
    assert_valid : bool
        Raise where the path is no ALF path; otherwise parts that cannot be read are None.

    Returns
    -------
    tuple or dict of str or None
        The parts of :func:`folder_parts`, then those of :func:`filename_parts`.

    Raises
    ------
    ALFInvalid
        It is no ALF path, or one without its session.

    Examples
    --------
    >>> full_path_parts("NYU-40/2021-04-12/001/alf/spikes.times.npy", as_dict=True)["collection"]
    'alf'
    >>> full_path_parts("spikes.times.npy")[7:9]
    ('spikes', 'times')
    """
    text = posix(path)
    folder, slash, name = text.rpartition("/")
    if name.count(".") < 2 or regex(r"#{revision}#").fullmatch(name):
        folders, whole = read_folders(text)
        return Reading({**folders, **dict.fromkeys(NAME_PARTS)}, whole)
    parts, whole = _read_name(name)
    if not slash:
        return Reading({**dict.fromkeys(FOLDER_PARTS), **parts}, whole)
    folders, folders_whole = read_folders(folder)
    return Reading({**folders, **parts}, whole and folders_whole)


def read_folders(text: str) -> Reading:
    """Read a folder; `whole` where nothing but session, collection and revision is in it.

    Parameters
    ----------
    text : str
        A path with ``/`` between its parts.

    Returns
    -------
    Reading
    """
    found = regex(f"{SESSION_SPEC}/{COLLECTION_SPEC}").search(f"{text}/")
    if not found:
        return Reading(dict.fromkeys(FOLDER_PARTS), False)
    parts: dict[str, str | None] = found.groupdict()
    whole = found.end() == len(text) + 1
    if not whole and parts["revision"] is None:
        parts["collection"] = None  # cut short, it would name another folder
    return Reading(parts, whole)


def _read_name(name: str) -> Reading:
    found = regex(FILE_SPEC).match(name)
    return Reading(found.groupdict() if found else dict.fromkeys(NAME_PARTS), bool(found))
