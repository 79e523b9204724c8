"""The files beside the tables, as AllenSDK reads and writes them: CSV, NWB, movies, scenes."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.errors import ContentError, InvalidArgument

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

ID, UNIT_ID = "id", "ecephys_unit_id"


def read_csv(path: str | Path) -> pd.DataFrame:
    """Read a project table that AllenSDK wrote.

    Parameters
    ----------
    path : path-like
        For instance ``units.csv``.

    Returns
    -------
    pandas.DataFrame
        Index ``id``.

    Raises
    ------
    ContentError
        It is empty, cut off, or no such table.
    """
    return parse_csv(Path(path).read_bytes(), ID, str(path))


def write_csv(path: str | Path, df: pd.DataFrame) -> None:
    """Write a project table as AllenSDK does: with its index, floats in full.

    Parameters
    ----------
    path : path-like
        Where.
    df : pandas.DataFrame
        Index ``id``.
    """
    df.to_csv(path)


def read_metrics_csv(path: str | Path) -> pd.DataFrame:
    """Read a table of analysis metrics; see :func:`read_csv`.

    Parameters
    ----------
    path : path-like
        For instance ``session_715093703_analysis_metrics.csv``.

    Returns
    -------
    pandas.DataFrame
        Index ``ecephys_unit_id``.
    """
    return parse_csv(Path(path).read_bytes(), UNIT_ID, str(path))


def write_metrics_csv(path: str | Path, df: pd.DataFrame) -> None:
    """Write a table of analysis metrics; see :func:`write_csv`."""
    write_csv(path, df)


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """Give the bytes of the CSV file of a table."""
    return frame.to_csv(lineterminator="\n").encode()


def parse_csv(data: bytes, index: str, where: str) -> pd.DataFrame:
    r"""Read a table from the bytes of its file, and see that it is a whole one.

    Parameters
    ----------
    data : bytes
        The file.
    index : str
        Column that numbers the rows.
    where : str
        The file, for messages.

    Returns
    -------
    pandas.DataFrame
        Sorted by `index`.

    Raises
    ------
    ContentError
        It is empty, ends within a line, is no CSV, or its rows are not numbered.

    Examples
    --------
    >>> parse_csv(b"id,name\n2,probeB\n1,probeA\n", "id", "probes.csv").name.tolist()
    ['probeA', 'probeB']
    >>> parse_csv(b"id,name\n2,probeB\n1,pro", "id", "probes.csv")
    Traceback (most recent call last):
    one_cache.errors.ContentError: probes.csv: ends within a line, after 2 whole ones: it is ...
    """
    import pandas as pd

    if not data.strip():
        raise ContentError(f"{where}: is empty")
    if not data.endswith(b"\n"):
        lines = data.count(b"\n")
        raise ContentError(
            f"{where}: ends within a line, after {lines} whole ones: it is not all there"
        )
    try:
        frame = read_exactly(io.BytesIO(data), index_col=index)
    except (ValueError, UnicodeDecodeError) as error:
        raise ContentError(f"{where}: is no table with a column {index!r}: {error}") from error
    if not pd.api.types.is_integer_dtype(frame.index.dtype):
        raise ContentError(f"{where}: column {index!r} does not number the rows")
    if not frame.index.is_unique:
        twice = frame.index[frame.index.duplicated()][0]
        raise ContentError(f"{where}: row {twice} is there twice")
    return frame.sort_index()


def read_exactly(source: Any, **options: Any) -> pd.DataFrame:
    """Read a CSV file in one piece, every number as it stands there.

    Parameters
    ----------
    source : path-like or file
        What to read.
    **options
        As for :func:`pandas.read_csv`.

    Returns
    -------
    pandas.DataFrame
    """
    import pandas as pd

    if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1):
        # before, pandas rounded the 16th digit, unless told not to
        options["float_precision"] = "round_trip"
    # in pieces, types would depend on where the pieces meet
    frame: pd.DataFrame = pd.read_csv(source, low_memory=False, **options)
    return frame


def write_from_stream(path: str | Path, stream: Iterable[bytes]) -> None:
    """Write bytes as they come to a file.

    Parameters
    ----------
    path : path-like
        Where.
    stream : iterable of bytes
        The content, in order.
    """
    with open(path, "wb") as file:
        for chunk in stream:
            file.write(chunk)


def read_movie(path: str | Path) -> npt.NDArray[Any]:
    """Read the template of a natural movie.

    Parameters
    ----------
    path : path-like
        In NumPy's format, whatever its name says.

    Returns
    -------
    numpy.ndarray
        (frames, height, width) uint8.

    Raises
    ------
    ContentError
        It holds something else, or less than it says.
    """
    import numpy as np

    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise ContentError(f"{path}: is no array in NumPy's format: {error}") from error


def read_scene(path: str | Path) -> npt.NDArray[Any]:
    """Read the template of a natural scene.

    Parameters
    ----------
    path : path-like
        A TIFF image.

    Returns
    -------
    numpy.ndarray
        (height, width) uint8.

    Raises
    ------
    ContentError
        It is no image, or not a whole one.
    InvalidArgument
        Pillow, which reads images, is not installed.
    """
    import numpy as np

    try:
        from PIL import Image
    except ImportError as error:
        raise _needs("Pillow", "scenes are images") from error
    try:
        with Image.open(path) as image:
            return np.asarray(image).copy()
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ContentError(f"{path}: is no whole TIFF image: {error}") from error


def read_nwb(path: str | Path) -> Any:
    """Open an NWB file with pynwb.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    pynwb.NWBFile
        Its arrays are read when they are used.

    Raises
    ------
    InvalidArgument
        pynwb is not installed.
    """
    try:
        import pynwb  # type: ignore[import-untyped]  # it ships no types
    except ImportError as error:
        raise _needs("pynwb", "an NWBFile is asked for") from error
    return pynwb.NWBHDF5IO(str(path), "r", load_namespaces=True).read()


def _needs(package: str, why: str) -> InvalidArgument:
    return InvalidArgument(
        f"{package} is needed, since {why}; install it with: pip install 'one_cache[nwb]'"
    )
