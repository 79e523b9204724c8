"""One file's content: which extension is read how.

The formats and the types that come out are those of ONE-api; a file that cannot be read is an
error here, never None. Each decoder is imported by the reader that needs it: an array file costs
numpy only.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from one_cache.errors import CacheWarning, ContentError, InvalidArgument
from one_cache.spec import ALFPath

if TYPE_CHECKING:
    import pandas as pd

_PACKAGES = (
    *("numpy", "pandas", "pyarrow", "PyYAML", "sparse"),
    *("h5py", "pynwb", "neuprint-python"),
)

# what decoders raise on bytes that are not theirs, found by damaging files at random
_BROKEN = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    OSError,
    EOFError,
    SyntaxError,
    tokenize.TokenError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class _How:
    """What the caller allows a reader to do."""

    mmap: str | None = None
    allow_pickle: bool = False


def load_file(
    path: str | os.PathLike[str], *, mmap: bool | str = False, allow_pickle: bool = False
) -> Any:
    """Read one file by its extension.

    ======================  ==================================================================
    extension               content
    ======================  ==================================================================
    npy                     array; (n, 1) becomes (n,)
    npz                     dict of arrays, or the array if it was saved without a name
    csv, ssv, tsv, htsv     DataFrame; a Series if there is one column only
    pqt, parquet            DataFrame
    json                    what it holds
    jsonable                list, one item a line
    yaml, yml               what it holds (needs ``pip install one_cache[yaml]``)
    sparse_npz              sparse array (needs the package sparse; without it, the path)
    any other               the path
    ======================  ==================================================================

    Parameters
    ----------
    path : str or path
        The file.
    mmap : bool or {"r", "c"}
        Map a ``.npy`` into memory instead of reading it; ``"r"`` (the same as True) read-only,
        ``"c"`` copy-on-write: changes stay in memory. Other formats are read as usual.
    allow_pickle : bool
        Read arrays of Python objects, which can run any code. Only for files that you trust.

    Returns
    -------
    Any
        See the table.

    Raises
    ------
    ContentError
        The file is empty or broken, or holds Python objects and `allow_pickle` is False, or the
        package that reads it is missing.
    FileNotFoundError
        There is no such file.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/spikes.times.npy", [[0.1], [0.2]])
    ...     load_file(f"{folder}/spikes.times.npy")
    array([0.1, 0.2])
    """
    path = Path(path)
    how = _How(_mmap_mode(mmap), allow_pickle)
    reader = _READERS.get(path.suffix)
    size = path.stat().st_size
    if reader is None:
        return ALFPath(path)
    if size == 0:
        raise _broken(path, "the file is empty")
    try:
        return reader(path, how)
    except ContentError:
        raise
    except _BROKEN as error:
        # a disk that refuses says nothing about the content; a seek to before the start does
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _broken(path, f"not readable as {path.suffix}: {reason}") from error


def _mmap_mode(mmap: bool | str) -> str | None:
    if isinstance(mmap, bool):
        return "r" if mmap else None
    if mmap in ("r", "c"):
        return mmap
    # a writable map would change bytes that the tables pin
    raise InvalidArgument(f"mmap must be True, False, 'r' or 'c', got {mmap!r}")


def _broken(path: Path, what: str) -> ContentError:
    size = path.stat().st_size
    return ContentError(
        f"{path} ({size} bytes): {what}. Delete the file and load it again to fetch a new copy; "
        "if that one is the same, it was broken before it was registered"
    )


def _read_npy(path: Path, how: _How) -> Any:
    if _holds_objects(path):
        if not how.allow_pickle:
            raise _pickled(path)
        if how.mmap:
            raise ContentError(
                f"{path}: arrays of Python objects cannot be mapped; use mmap=False"
            )
    mode: Any = how.mmap
    array = np.load(path, mmap_mode=mode, allow_pickle=how.allow_pickle)
    return flat(array) if isinstance(array, np.ndarray) else array


def _holds_objects(path: Path) -> bool:
    """Say whether a ``.npy`` holds Python objects: by its header, or as a bare pickle."""
    with open(path, "rb") as file:
        start = file.read(10)
        if start[:1] == b"\x80":
            return True
        if start[:6] != b"\x93NUMPY" or len(start) < 10:
            # numpy would take it for an archive or a pickle, and speak of that
            raise ValueError("its first bytes are not those of an array")
        length = file.read(2) if start[6] > 1 else b""
        header = file.read(int.from_bytes(start[8:10] + length, "little"))
    return b"'|O" in header


def _read_npz(path: Path, how: _How) -> Any:
    # read at once: a lazy archive would keep the file open, and fail later, elsewhere
    # and of a broken one, numpy would leave the file open that it opened itself
    with open(path, "rb") as file, np.load(file, allow_pickle=how.allow_pickle) as archive:
        try:
            arrays = {name: archive[name] for name in archive.files}
        except ValueError as error:
            if "allow_pickle" in str(error):
                raise _pickled(path) from error
            raise
    return arrays["arr_0"] if set(arrays) == {"arr_0"} else arrays


def _pickled(path: Path) -> ContentError:
    return ContentError(
        f"{path}: holds Python objects (pickle). Reading them can run any code that the file's "
        "author wrote, so it is not done unasked; if you trust the file, pass allow_pickle=True"
    )


def flat(array: Any) -> Any:
    """Give a single column (n, 1) as a vector (n,), without copying; others as they are."""
    return array.reshape(-1) if array.ndim == 2 and array.shape[1] == 1 else array


def _read_delimited(delimiter: str) -> Callable[[Path, _How], Any]:
    def read(path: Path, how: _How) -> Any:
        import pandas as pd

        return pd.read_csv(path, delimiter=delimiter).squeeze("columns")

    return read


def _read_parquet(path: Path, how: _How) -> pd.DataFrame:
    # not read_table: that takes a folder named a=b in the path for a column
    from pyarrow import parquet  # type: ignore[import-untyped]  # it ships no types

    with parquet.ParquetFile(path) as file:
        frame: pd.DataFrame = file.read().to_pandas()
    return frame


def _read_json(path: Path, how: _How) -> Any:
    return json.loads(path.read_bytes())


def _read_jsonable(path: Path, how: _How) -> list[Any]:
    items = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            if line.strip():
                items.append(json.loads(line))
        except ValueError as error:
            raise _broken(path, f"line {number} is not JSON: {error}") from error
    return items


def _read_yaml(path: Path, how: _How) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ContentError(
            f"{path}: reading YAML needs a package; pip install one_cache[yaml]"
        ) from error
    try:
        return yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _read_sparse(path: Path, how: _How) -> Any:
    try:
        sparse = import_module("sparse")
    except ImportError:
        warnings.warn(
            f"{path.name}: given as a path; reading it needs a package: pip install sparse",
            CacheWarning,
            stacklevel=3,
        )
        return ALFPath(path)
    return sparse.load_npz(path)


_READERS: dict[str, Callable[[Path, _How], Any]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".csv": _read_delimited(","),
    ".ssv": _read_delimited(" "),
    ".tsv": _read_delimited("\t"),
    ".htsv": _read_delimited("\t"),
    ".pqt": _read_parquet,
    ".parquet": _read_parquet,
    ".json": _read_json,
    ".jsonable": _read_jsonable,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".sparse_npz": _read_sparse,
}


@lru_cache(maxsize=1)
def _versions() -> tuple[tuple[str, str], ...]:
    from importlib import metadata  # as slow as all else here; a load does not need it

    found = []
    for package in _PACKAGES:
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


def decoders() -> dict[str, str]:
    """Give name and version of each installed package that decodes files, for the record.

    Nothing is imported; the answer is looked up once a process.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> decoders()["numpy"] == np.__version__
    True
    """
    return dict(_versions())
