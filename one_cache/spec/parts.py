"""Paths that know their ALF parts: what can be read of a path without looking at the disk."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, overload

from one_cache.errors import ALFInvalid
from one_cache.spec.grammar import (
    SESSION_SPEC,
    AnyPath,
    is_session_path,
    is_valid,
    regex,
)
from one_cache.spec.reading import filename_parts, full_path_parts, session_path_parts

if TYPE_CHECKING:
    from typing_extensions import Self

_DATE = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})")
_NUMBER = re.compile(r"[0-9]+")


class PathParts(PurePath):
    """Reads the parts of a path; a missing part is an empty string."""

    @cached_property
    def session_parts(self) -> tuple[str, ...]:
        """Lab, subject, date and number."""
        return tuple(part or "" for part in session_path_parts(self, assert_valid=False))

    @cached_property
    def dataset_name_parts(self) -> tuple[str, ...]:
        """Namespace, object, attribute, timescale, extra and extension."""
        return tuple(part or "" for part in filename_parts(self.name, assert_valid=False))

    @cached_property
    def alf_parts(self) -> tuple[str, ...]:
        """All parts, in the order of the grammar."""
        return tuple(part or "" for part in full_path_parts(self, assert_valid=False))

    @property
    def lab(self) -> str:
        """The folder before ``Subjects``."""
        return self.session_parts[0]

    @property
    def subject(self) -> str:
        """The folder before the date."""
        return self.session_parts[1]

    @property
    def date(self) -> str:
        """Day of the session, yyyy-mm-dd."""
        return self.session_parts[2]

    @property
    def sequence(self) -> str:
        """Number of the session on that day, as it is written."""
        return self.session_parts[3]

    @property
    def collection(self) -> str:
        """Folders between the session and the revision or file; read only after a session."""
        return self.alf_parts[4]

    @property
    def revision(self) -> str:
        """Name of the revision, without its pound signs; read only after a session."""
        return self.alf_parts[5]

    @property
    def namespace(self) -> str:
        """What stands between underscores before the object."""
        return self.dataset_name_parts[0]

    @property
    def object(self) -> str:
        """What the file is about."""
        return self.dataset_name_parts[1]

    @property
    def attribute(self) -> str:
        """Which property of the object."""
        return self.dataset_name_parts[2]

    @property
    def timescale(self) -> str:
        """The clock, where it is not the main one."""
        return self.dataset_name_parts[3]

    @property
    def extra(self) -> str:
        """Further parts of the name, with dots between."""
        return self.dataset_name_parts[4]

    @overload
    def parse_alf_path(self, as_dict: Literal[True] = True) -> dict[str, str | None]: ...

    @overload
    def parse_alf_path(self, as_dict: Literal[False]) -> tuple[str | None, ...]: ...

    def parse_alf_path(
        self, as_dict: bool = True
    ) -> dict[str, str | None] | tuple[str | None, ...]:
        """Read all parts; a missing one is None.

        Parameters
        ----------
        as_dict : bool
            False gives a tuple.

        Returns
        -------
        dict or tuple
            See :func:`~one_cache.spec.full_path_parts`.
        """
        return full_path_parts(self, as_dict, assert_valid=False)

    @overload
    def parse_alf_name(self, as_dict: Literal[True] = True) -> dict[str, str | None]: ...

    @overload
    def parse_alf_name(self, as_dict: Literal[False]) -> tuple[str | None, ...]: ...

    def parse_alf_name(
        self, as_dict: bool = True
    ) -> dict[str, str | None] | tuple[str | None, ...]:
        """Read the parts of the name; a missing one is None.

        Parameters
        ----------
        as_dict : bool
            False gives a tuple.

        Returns
        -------
        dict or tuple
            See :func:`~one_cache.spec.filename_parts`.
        """
        return filename_parts(self.name, as_dict, assert_valid=False)

    def is_dataset(self) -> bool:
        """Whether the name is that of a dataset."""
        return is_valid(self.name)

    def is_session_path(self: AnyPath) -> bool:
        """Whether the path ends in ``subject/date/number``.

        Returns
        -------
        bool

        Examples
        --------
        Also of other paths and strings:

        >>> PathParts.is_session_path("NYU-40/2021-04-12/001")
        True
        """
        return is_session_path(self)

    def is_valid_alf(self: AnyPath) -> bool:
        """Whether this is an ALF path: a file or folder with its session, or a file name alone.

        Returns
        -------
        bool

        Examples
        --------
        Also of other paths and strings:

        >>> PathParts.is_valid_alf("spikes.times.npy"), PathParts.is_valid_alf("notes.txt")
        (True, False)
        """
        try:
            full_path_parts(self)
        except ALFInvalid:
            return False
        return True

    def session_path(self) -> Self | None:
        """Give the path down to the session: to the first folder of digits in that of a date.

        Returns
        -------
        path or None
            None where there is no such folder.
        """
        index = session_index(self.parts)
        return None if index is None else type(self)(*self.parts[: index + 1])

    def session_path_short(self, include_lab: bool = False) -> str | None:
        """Give ``subject/date/number``.

        Parameters
        ----------
        include_lab : bool
            Put the lab before it, where there is one.

        Returns
        -------
        str or None
            None where there is no session in the path.
        """
        parts = self.session_parts[0 if include_lab else 1 :]
        return "/".join(filter(None, parts)) or None

    def relative_to_session(self) -> Self:
        """Give the path from the session on.

        Returns
        -------
        path

        Raises
        ------
        ALFInvalid
            There is no session in the path.
        """
        session = self.session_path()
        if session is None:
            raise ALFInvalid(f"{str(self)!r} holds no session, such as subject/2020-01-01/001")
        return self.relative_to(session)

    def relative_to_lab(self) -> Self:
        """Give the path from the subject on.

        Returns
        -------
        path

        Raises
        ------
        ALFInvalid
            There is no ``lab/Subjects/`` in the path.
        """
        before_and_after = self._around_lab()
        if before_and_after is None:
            raise ALFInvalid(f"{str(self)!r} holds no lab/Subjects/")
        return type(self)(before_and_after[1])

    def without_lab(self) -> Self:
        """Give the path without ``lab/Subjects/``, or the same path where it has none.

        Returns
        -------
        path
        """
        before_and_after = self._around_lab()
        return self if before_and_after is None else type(self)(*before_and_after)

    def _around_lab(self) -> tuple[str, str] | None:
        """Split the path at ``lab/Subjects/``: that of the session, or else the first one."""
        text = self.as_posix()
        session = regex(SESSION_SPEC).search(text)
        if session and session["lab"] is not None:
            return text[: session.start()], text[session.start("subject") :]
        found = regex("(?<![^/]){lab}/Subjects/").search(text)
        return (text[: found.start()], text[found.end() :]) if found else None


def session_index(parts: Sequence[str]) -> int | None:
    """Find the first folder of digits that lies in one of a date, whatever comes before them.

    Parameters
    ----------
    parts : sequence of str
        Parts of a path.

    Returns
    -------
    int or None
        Its place among `parts`.
    """
    for index in range(1, len(parts)):
        if _NUMBER.fullmatch(parts[index]) and _is_date(parts[index - 1]):
            return index
    return None


def _is_date(text: str) -> bool:
    found = _DATE.fullmatch(text)
    if not found:
        return False
    try:
        dt.date(*map(int, found.groups()))
    except ValueError:
        return False
    return True
