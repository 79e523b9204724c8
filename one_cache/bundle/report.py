"""What is there, what is not and why, and what has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from one_cache.errors import (
    Forbidden,
    HashMismatch,
    NotInCache,
    NotOnRemote,
    NotOnServer,
    OneCacheError,
    PathEscapes,
    SizeMismatch,
)
from one_cache.records import File

_KINDS: Mapping[type[OneCacheError], str] = {
    NotOnRemote: "gone",
    NotOnServer: "gone",
    HashMismatch: "changed",
    SizeMismatch: "changed",
    Forbidden: "forbidden",
    NotInCache: "missing",
    PathEscapes: "refused",
}
_HARMLESS = ("extra", "unfinished")


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be.

    Attributes
    ----------
    kind : str
        ``gone`` (from where it came), ``changed`` (other bytes there now), ``forbidden``,
        ``missing`` (not on disk), ``different`` (other bytes on disk), ``unknown`` (an id),
        ``refused`` (a path that leaves the cache), ``extra``, ``unfinished``, or ``failed``.
    path : str
        Relative to the root of the cache; empty for an id that nobody knows.
    reason : str
        In words.
    id : str
        Of the dataset; empty where none is known.
    """

    kind: str
    path: str
    reason: str
    id: str = ""

    @classmethod
    def of(cls, error: OneCacheError, path: str, id: str = "") -> Problem:
        """Name an error.

        Examples
        --------
        >>> Problem.of(NotOnRemote("a.npy: not on data.org (404)"), "a.npy").kind
        'gone'
        """
        kinds = (_KINDS[base] for base in type(error).__mro__ if base in _KINDS)
        return cls(next(kinds, "failed"), path, str(error), id)


@dataclass(frozen=True)
class Report:
    """What came of a call that is about many files.

    Attributes
    ----------
    files : tuple of File
        What is there and verified, in the order of the record.
    problems : tuple of Problem
        What is not.
    """

    files: tuple[File, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is amiss; files that nobody asked for harm nothing."""
        return all(problem.kind in _HARMLESS for problem in self.problems)

    @property
    def size(self) -> int:
        """Bytes of `files`."""
        return sum(file.size or 0 for file in self.files)


class Change(NamedTuple):
    """One thing that differs.

    Attributes
    ----------
    kind : str
        ``added``, ``removed``, ``revised`` (a later revision of a dataset that was there),
        ``bytes``, ``qc``, ``default`` (whether it is the revision to load), ``moved``; of what
        is outdated also ``gone`` and ``notice``. A whole table of another kind is ``added``,
        ``removed`` or has other ``bytes``.
    path : str
        Relative to the session; of a session or a table, what names it.
    before, after : str
        What it was and what it is: a path, a hash, a QC, yes or no. Empty where there is none.
    id, eid : str
        Of the dataset and its session.
    """

    kind: str
    path: str
    before: str = ""
    after: str = ""
    id: str = ""
    eid: str = ""
