"""The frozen values that the parts pass to each other: a file, a session, a dataset.

A table row becomes one of these as soon as it leaves the tables, so nothing above them handles
column names, and a remote, the store and the recorder speak of a file in the same words.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from one_cache.errors import InvalidArgument


class Bunch(dict[str, Any]):
    """A dict whose items are attributes too, as records of ONE-api are.

    Examples
    --------
    >>> ref = Bunch(subject="KS014", sequence=1)
    >>> ref.subject, ref["sequence"]
    ('KS014', 1)
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no item {name!r}; there are: {', '.join(self)}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def copy(self) -> Bunch:
        """Give a shallow copy of the same class."""
        return type(self)(self)


class QC(IntEnum):
    """Quality of a session or dataset, from unknown to unusable (values as in ONE-api)."""

    CRITICAL = 50
    FAIL = 40
    WARNING = 30
    PASS = 10
    NOT_SET = 0

    @classmethod
    def read(cls, value: str | int | QC) -> QC:
        """Read a QC level from its name (any case) or number.

        Parameters
        ----------
        value : str, int or QC
            For instance ``"PASS"``, ``"pass"``, ``10``, ``"10"``.

        Returns
        -------
        QC

        Raises
        ------
        InvalidArgument
            No such level.

        Examples
        --------
        >>> QC.read("fail"), QC.read(10)
        (<QC.FAIL: 40>, <QC.PASS: 10>)
        """
        try:
            if isinstance(value, str) and not value.isdecimal():
                return cls[value.upper()]
            return cls(int(value))
        except (KeyError, ValueError):
            known = ", ".join(f"{level.name} ({level.value})" for level in reversed(cls))
            raise InvalidArgument(f"QC must be one of {known}; got {value!r}") from None


@dataclass(frozen=True)
class File:
    """One file of a cache: where it lies under the root and which bytes it must hold.

    Attributes
    ----------
    path : str
        Relative to the root, with ``/`` between the parts.
    size : int or None
        Bytes; None where the record does not say.
    hash : str or None
        Hex digest, the algorithm told by its length (32 md5, 40 sha1, 64 sha256, 128 blake2b) or
        written before it (``"sha256:..."``); None where the record does not say.
    url : str or None
        Where the bytes lie, for a remote whose addresses do not follow from `path`.
    id : str or None
        The dataset's id, for messages and for remotes that address by id.
    """

    path: str
    size: int | None = None
    hash: str | None = None
    url: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class Session:
    """One recording.

    Attributes
    ----------
    id : str
        The `eid`, a UUID as text.
    lab, subject, task_protocol, projects : str
        Empty where unknown; `projects` is joined by commas.
    date : datetime.date or None
        Day of the recording.
    number : int or None
        Which session of that day.
    extra : mapping
        Further columns of the table, kept as they are.
    """

    id: str
    lab: str = ""
    subject: str = ""
    date: dt.date | None = None
    number: int | None = None
    task_protocol: str = ""
    projects: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def path(self) -> str:
        """``lab/Subjects/subject/date/number`` (without the first two where no lab is known)."""
        # one without a number lies in 000, as with ONE-api
        stem = f"{self.subject}/{self.date or ''}/{self.number or 0:03d}"
        return f"{self.lab}/Subjects/{stem}" if self.lab else stem

    @property
    def ref(self) -> str:
        """``date_number_subject``, the reference of ONE-api."""
        return f"{self.date or ''}_{self.number or 0}_{self.subject}"


@dataclass(frozen=True)
class Dataset:
    """One file of a session.

    Attributes
    ----------
    id, eid : str
        UUIDs as text; `eid` is empty for files that belong to no session (aggregates).
    rel_path : str
        ``collection/#revision#/name``, relative to the session.
    file_size : int or None
        Bytes.
    hash : str or None
        See :class:`File`.
    exists : bool
        Whether a server holds it.
    qc : QC
        Quality.
    default_revision : bool or None
        Whether it is the one to load when no revision is asked for; None where nothing says.
    extra : mapping
        Further columns of the table, kept as they are.
    """

    id: str
    eid: str
    rel_path: str
    file_size: int | None = None
    hash: str | None = None
    exists: bool = True
    qc: QC = QC.NOT_SET
    default_revision: bool | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        """File name, the last part of `rel_path`."""
        return self.rel_path.rpartition("/")[2]

    @property
    def folders(self) -> tuple[str, str]:
        """Collection and revision, each empty where there is none.

        Examples
        --------
        >>> Dataset("i", "e", "alf/probe00/#2024-05-06#/spikes.times.npy").folders
        ('alf/probe00', '2024-05-06')
        """
        folder = self.rel_path.rpartition("/")[0]
        before, _, last = folder.rpartition("/")
        if len(last) > 2 and last.startswith("#") and last.endswith("#"):
            return before, last[1:-1]
        return folder, ""

    @property
    def collection(self) -> str:
        """Folder within the session, without the revision."""
        return self.folders[0]

    @property
    def revision(self) -> str:
        """Name of the revision, empty for the unrevised file."""
        return self.folders[1]
