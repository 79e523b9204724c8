"""ALFPath: paths of pathlib that read, change and check their ALF parts."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, overload

from one_cache.errors import ALFInvalid
from one_cache.spec.changes import PathChanges
from one_cache.spec.grammar import AnyPath, is_session_path, is_valid
from one_cache.spec.parts import session_index
from one_cache.spec.reading import full_path_parts

if TYPE_CHECKING:
    from typing_extensions import Self

if sys.platform == "win32":
    _SystemPath = pathlib.WindowsPath
else:
    _SystemPath = pathlib.PosixPath


class PureALFPath(PathChanges):
    """A path that never looks at the disk, of this system's kind.

    Parameters
    ----------
    *args : str or path
        Parts, as for :class:`pathlib.PurePath`.

    Examples
    --------
    >>> path = PurePosixALFPath("/data/NYU-40/2021-04-12/1/alf/_ibl_trials.intervals_bpod.npy")
    >>> path.subject, path.collection, path.timescale, path.lab
    ('NYU-40', 'alf', 'bpod', '')
    >>> path.with_padded_sequence().with_revision("2024-05-06").relative_to_session()
    PurePosixALFPath('alf/#2024-05-06#/_ibl_trials.intervals_bpod.npy')
    """

    def __new__(cls, *args: AnyPath) -> Self:  # noqa: D102  # said by the class
        kind: Any = cls
        if cls is PureALFPath:
            kind = PureWindowsALFPath if os.name == "nt" else PurePosixALFPath
        made: Self = super().__new__(kind, *args)
        return made

    def with_padded_sequence(self: AnyPath) -> PureALFPath:
        """Pad the number of the session to three digits.

        Returns
        -------
        path

        Raises
        ------
        ALFInvalid
            There is no session in the path.

        Examples
        --------
        Also of other paths and strings:

        >>> PureALFPath.with_padded_sequence(pathlib.PurePosixPath("NYU-40/2021-04-12/1"))
        PurePosixALFPath('NYU-40/2021-04-12/001')
        """
        path = ensure_alf_path(self)
        at = session_index(path.parts)
        if at is None:
            raise ALFInvalid(f"{str(path)!r} holds no session, such as subject/2020-01-01/1")
        before, number, after = path.parts[:at], path.parts[at], path.parts[at + 1 :]
        return type(path)(*before, f"{int(number):03d}", *after)


class PurePosixALFPath(PureALFPath, pathlib.PurePosixPath):
    """A path with ``/`` between its parts, on any system."""


class PureWindowsALFPath(PureALFPath, pathlib.PureWindowsPath):
    r"""A path with ``\`` between its parts, on any system.

    Examples
    --------
    >>> PureWindowsALFPath(r"D:\data\NYU-40\2021-04-12\001\alf\spikes.times.npy").collection
    'alf'
    """


class ALFPath(PureALFPath, _SystemPath):
    """A path of this system, as :class:`pathlib.Path` with ALF parts.

    Parameters
    ----------
    *args : str or path
        Parts, as for :class:`pathlib.Path`.

    Examples
    --------
    >>> path = ALFPath("wittenlab/Subjects/NYU-40/2021-04-12/001/alf/spikes.times.npy")
    >>> path.lab, path.session_path_short(), path.exists()
    ('wittenlab', 'NYU-40/2021-04-12/001', False)
    """

    def is_dataset(self) -> bool:
        """Whether the name is that of a dataset, and no folder bears it."""
        return is_valid(self.name) and not self.is_dir()

    def is_session_path(self: AnyPath) -> bool:
        """Whether the path ends in ``subject/date/number``, and no file bears that name.

        Returns
        -------
        bool

        Examples
        --------
        Also of other paths and strings:

        >>> ALFPath.is_session_path("NYU-40/2021-04-12/001")
        True
        """
        path = ensure_alf_path(self)
        return is_session_path(path) and not (isinstance(path, ALFPath) and path.is_file())

    def is_valid_alf(self: AnyPath) -> bool:
        """Whether this is an ALF path: a file or folder with its session, or a file name alone.

        What the name says is a folder must not be a file on disk, nor the other way round.

        Returns
        -------
        bool

        Examples
        --------
        Also of other paths and strings:

        >>> ALFPath.is_valid_alf("spikes.times.npy"), ALFPath.is_valid_alf("notes.txt")
        (True, False)
        """
        if not PureALFPath.is_valid_alf(self):
            return False
        path = ensure_alf_path(self)
        if not isinstance(path, ALFPath):
            return True
        named_as_file = full_path_parts(path, as_dict=True)["object"] is not None
        return not (path.is_dir() if named_as_file else path.is_file())

    def iter_datasets(self, recursive: bool = False) -> Iterator[Self]:
        """Give the datasets in this folder, in the order of their paths.

        Parameters
        ----------
        recursive : bool
            Also those in the folders below.

        Yields
        ------
        path
            With this folder before it.
        """
        files = self.rglob("*.*.*") if recursive else self.glob("*.*.*")
        for file in sorted(files):
            if file.is_dataset():
                yield file


# a str is an iterable of str too: the first that fits is meant
@overload
def ensure_alf_path(path: str) -> ALFPath: ...  # type: ignore[overload-overlap]


@overload
def ensure_alf_path(path: AnyPath) -> PureALFPath: ...  # type: ignore[overload-overlap]


@overload
def ensure_alf_path(path: Iterable[AnyPath]) -> list[PureALFPath]: ...


def ensure_alf_path(path: AnyPath | Iterable[AnyPath]) -> PureALFPath | list[PureALFPath]:
    """Give the path as an ALF path of the same kind, or a list of them for several.

    Parameters
    ----------
    path : str, path or iterable of these
        An ALF path is given back as it is; a pure path becomes a pure one.

    Returns
    -------
    ALFPath, PureALFPath or list of these

    Raises
    ------
    TypeError
        It is no path.

    Examples
    --------
    >>> ensure_alf_path("alf/spikes.times.npy").object
    'spikes'
    >>> ensure_alf_path(pathlib.PureWindowsPath("alf", "spikes.times.npy"))
    PureWindowsALFPath('alf/spikes.times.npy')
    """
    if isinstance(path, PureALFPath):
        return path
    if isinstance(path, pathlib.PurePath) and not isinstance(path, pathlib.Path):
        windows = isinstance(path, pathlib.PureWindowsPath)
        return (PureWindowsALFPath if windows else PurePosixALFPath)(path)
    if isinstance(path, str | os.PathLike):
        return ALFPath(path)
    if isinstance(path, Iterable):
        return [ensure_alf_path(one) for one in path]
    raise TypeError(f"expected a path or several, got {path!r}")
