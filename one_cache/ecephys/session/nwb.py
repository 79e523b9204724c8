"""Parts of an NWB file, read with h5py: only what is asked for, and never in anyone's way."""

from __future__ import annotations

import datetime as dt
import os
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.errors import ContentError, InvalidArgument

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Array = npt.NDArray[np.generic]

# columns of a table that refer to other parts of the file
_REFERENCES = ("timeseries", "group")


def opened(path: str | Path) -> Any:
    """Open a HDF5 file for reading.

    Parameters
    ----------
    path : path-like
        The file. It is not locked: others may read it, and replace it, meanwhile.

    Returns
    -------
    h5py.File

    Raises
    ------
    ContentError
        It is no HDF5 file, or not a whole one.
    FileNotFoundError
        There is none.
    InvalidArgument
        h5py is not installed.
    """
    try:
        import h5py  # type: ignore[import-untyped]  # it ships no types
    except ImportError as error:
        raise InvalidArgument(
            "h5py is needed to read NWB files; install it with: pip install 'one_cache[nwb]'"
        ) from error
    try:
        return h5py.File(path, "r", locking=False)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ContentError(f"{path}: is no whole HDF5 file: {error}") from error


class NwbFile:
    """One NWB file: opened on first use, once a process, closed at the end.

    Parameters
    ----------
    path : path-like
        The file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: Any = None
        self._process = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]  # a new object, not open yet

    def __enter__(self) -> NwbFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def root(self) -> Any:
        """The open file."""
        # a forked child must not share the position in the file with its parent
        if self._file is None or self._process != os.getpid():
            self._file = opened(self.path)
            self._process = os.getpid()
            weakref.finalize(self, self._file.close)
        return self._file

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = None

    def find(self, place: str) -> Any:
        """Give a group or dataset, or None where there is none.

        Parameters
        ----------
        place : str
            For instance ``"processing/running"``.

        Returns
        -------
        h5py.Group, h5py.Dataset or None
        """
        return self.root.get(place)

    def need(self, place: str) -> Any:
        """Give a group or dataset.

        Raises
        ------
        ContentError
            There is none: it is no NWB file of this project.
        """
        found = self.find(place)
        if found is None:
            raise ContentError(f"{self.path}: has no {place!r}, as sessions of this project have")
        return found

    def scalar(self, place: str, name: str) -> Any:
        """Give a single value, kept as an attribute of a group or as a dataset in it.

        Parameters
        ----------
        place : str
            The group; empty for the file itself.
        name : str
            Of the value.

        Returns
        -------
        object
            None where there is none.
        """
        group = self.find(place) if place else self.root
        if group is None:
            return None
        if name in group.attrs:
            return _plain(group.attrs[name])
        return _plain(group[name][()]) if name in group else None

    def table(self, place: str, columns: tuple[str, ...] | None = None) -> pd.DataFrame:
        """Read a table.

        Parameters
        ----------
        place : str
            A ``DynamicTable``.
        columns : tuple of str, optional
            Those wanted; all but references to other parts of the file when not given.

        Returns
        -------
        pandas.DataFrame
            Index ``id``; a column of lists has an array in each cell.
        """
        import pandas as pd

        group = self.need(place)
        names = [name for name in columns_of(group) if name not in _REFERENCES]
        wanted = names if columns is None else [name for name in names if name in columns]
        values = {name: cells(group, name) for name in wanted}
        index = pd.Index(group["id"][:].astype("int64"), name="id")
        return pd.DataFrame(values, index=index)

    def series(self, place: str) -> tuple[Any, Array]:
        """Give the data of a time series, to be read, and its times.

        Parameters
        ----------
        place : str
            A ``TimeSeries``.

        Returns
        -------
        data : h5py.Dataset
            (n_samples, ...).
        times : numpy.ndarray
            (n_samples,) float, s.
        """
        group = self.need(place)
        return group["data"], times_of(group)

    def start_time(self) -> dt.datetime:
        """Give the time at which the session started, with its zone."""
        text = str(self.scalar("", "session_start_time"))
        try:
            return dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError as error:
            raise ContentError(f"{self.path}: session_start_time is {text!r}") from error


def columns_of(group: Any) -> list[str]:
    """Name the columns of a table in their order."""
    return [_plain(name) for name in group.attrs.get("colnames", ())]


def cells(group: Any, name: str) -> Any:
    """Read one column of a table.

    Parameters
    ----------
    group : h5py.Group
        The table.
    name : str
        The column.

    Returns
    -------
    numpy.ndarray
        (n_rows,); objects where the cells are texts or lists.
    """
    import numpy as np

    values = _values(group[name])
    if f"{name}_index" not in group:
        return values if values.ndim == 1 else _objects(list(values))
    ends = group[f"{name}_index"][:].astype("int64")
    starts = np.concatenate([[0], ends[:-1]])
    return _objects([values[a:b] for a, b in zip(starts, ends, strict=True)])


def ragged(group: Any, name: str, rows: Iterator[int] | list[int]) -> Iterator[Any]:
    """Read some cells of a column of lists, each when its turn comes.

    Parameters
    ----------
    group : h5py.Group
        The table.
    name : str
        The column.
    rows : iterable of int
        Numbers of the rows.

    Yields
    ------
    numpy.ndarray
    """
    ends = group[f"{name}_index"][:].astype("int64")
    for row in rows:
        start = ends[row - 1] if row else 0
        yield group[name][start : ends[row]]


def times_of(group: Any) -> Any:
    """Give the times of a time series, (n_samples,) float, s."""
    import numpy as np

    if "timestamps" in group:
        return group["timestamps"][:]
    start = group["starting_time"]
    return start[()] + np.arange(len(group["data"])) / start.attrs["rate"]


def _values(dataset: Any) -> Any:
    """Read a dataset; texts come as texts."""
    import h5py

    text = h5py.check_string_dtype(dataset.dtype)
    return dataset.asstr()[:] if text else dataset[:]


def _objects(values: list[Any]) -> Any:
    import numpy as np

    array = np.empty(len(values), dtype=object)
    # one by one: arrays of one length would become rows
    for place, value in enumerate(values):
        array[place] = value
    return array


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
