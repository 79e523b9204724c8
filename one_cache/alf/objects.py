"""The files of one object, joined: keys, metadata, tables, and the times of its samples."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from one_cache.alf.bunch import AlfBunch
from one_cache.alf.dimensions import check_dimensions, disagreement, is_frame, n_rows, ts2vec
from one_cache.alf.files import load_file
from one_cache.alf.frames import split_columns
from one_cache.errors import (
    ALFInvalid,
    ALFMultipleObjectsFound,
    ALFObjectNotFound,
    ALFWarning,
    ContentError,
)
from one_cache.spec import filename_parts

_log = logging.getLogger(__name__)

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_TABLE = re.compile(r"table(?:[_.]|$)")


@dataclass(frozen=True)
class _Part:
    """One file of an object, with what its name says."""

    path: Path
    namespace: str
    object: str
    attribute: str
    timescale: str
    extra: str
    extension: str

    @classmethod
    def read(cls, path: Path) -> _Part:
        parts = filename_parts(path.name, as_dict=True)
        return cls(path, **{name: part or "" for name, part in parts.items()})

    @property
    def extras(self) -> tuple[str, ...]:
        """The extra parts that tell this file from others of its attribute."""
        parts = filter(None, self.extra.split("."))
        return tuple(part for part in parts if part != "metadata" and not _UUID.fullmatch(part))

    @property
    def is_metadata(self) -> bool:
        return self.extension == "json" and "metadata" in self.extra.split(".")

    def key(self, short: bool) -> str:
        name = f"{self.attribute}_{self.timescale}" if self.timescale else self.attribute
        return f"{name}.{self.extra}" if self.extra and not short else name

    def describes(self, other: _Part) -> bool:
        """Say whether this is metadata of the attribute that `other` holds."""
        mine = (self.namespace, self.object, self.attribute, self.timescale)
        return mine == (other.namespace, other.object, other.attribute, other.timescale)


def load_object(
    files: Sequence[str | os.PathLike[str]],
    *,
    short_keys: bool = False,
    look_beside: bool = False,
    mmap: bool | str = False,
    allow_pickle: bool = False,
) -> AlfBunch:
    """Read the files of one object into one bunch.

    The key of a file is ``attribute``, ``attribute_timescale``, ``attribute.extra`` or all
    three. Then, as in ONE-api:

    - ``object.attribute.metadata.json`` belongs to the attribute: its ``columns`` name the
      columns of the array, which become attributes of their own; what else it holds comes under
      the key of the attribute with ``metadata`` behind it;
    - the columns of a file of the attribute ``table`` become attributes (with the timescale and
      extra parts of the file), each of the type that it has in the table;
    - two sync points in ``timestamps`` become the times of all samples.

    Parameters
    ----------
    files : sequence of str or path
        The files of one object, from any folders, one file an attribute.
    short_keys : bool
        Leave the extra parts of the names out of the keys.
    look_beside : bool
        Look for metadata files in the folders of `files` too, as ONE-api does. By default
        nothing but `files` is read: what lies beside was not asked for, checked or recorded.
    mmap, allow_pickle
        As in :func:`one_cache.alf.files.load_file`.

    Returns
    -------
    AlfBunch
        With an :class:`~one_cache.errors.ALFWarning` if the attributes differ in length.

    Raises
    ------
    ALFObjectNotFound
        No files.
    ALFMultipleObjectsFound
        Files of several objects, or several files of one attribute.
    ALFInvalid
        A name outside the grammar.
    ContentError
        A file that cannot be read; see :func:`one_cache.alf.files.load_file`.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/wheel.position.npy", np.arange(5.0))
    ...     np.save(f"{folder}/wheel.timestamps.npy", [[0, 10.0], [4, 12.0]])
    ...     wheel = load_object(sorted(Path(folder).iterdir()))
    >>> wheel
    AlfBunch
      position    (5,)  float64
      timestamps  (5,)  float64
    >>> wheel.timestamps
    array([10. , 10.5, 11. , 11.5, 12. ])
    """
    parts = [_Part.read(Path(file)) for file in files]
    data = [part for part in parts if not part.is_metadata]
    notes = [part for part in parts if part.is_metadata]
    name = _one_object(parts)
    keyed = _by_key(data, short_keys)
    _mention_orphans(notes, data)
    out = AlfBunch()
    for key, part in keyed.items():
        content = load_file(part.path, mmap=mmap, allow_pickle=allow_pickle)
        note = _find_metadata(part, notes, data)
        if note is None and look_beside:
            note = _find_metadata(part, _beside(part), data)
        _put(out, _described(key, content, note) if note else {key: content}, part.path)
    table, columns = _pop_table(out)
    if table is not None:
        _put(out, columns, keyed[table].path)
    if check_dimensions(out):
        warnings.warn(f"object {name!r}: {disagreement(out)}", ALFWarning, stacklevel=2)
    else:
        _fill_times(out)
    return out


def _one_object(parts: Iterable[_Part]) -> str:
    names = sorted({part.object for part in parts})
    if not names:
        raise ALFObjectNotFound("no files to load an object from")
    if len(names) > 1:
        raise ALFMultipleObjectsFound(f"files of several objects: {', '.join(names)}")
    return names[0]


def _by_key(data: Iterable[_Part], short: bool) -> dict[str, _Part]:
    keyed: dict[str, _Part] = {}
    for part in data:
        first = keyed.setdefault(part.key(short), part)
        if first is not part:
            hint = " or use short_keys=False" if short else ""
            raise ALFMultipleObjectsFound(
                f"object {part.object!r} has two files of attribute {part.key(short)!r}: "
                f"{first.path}, {part.path}. Choose by namespace, extension or revision{hint}"
            )
    return keyed


def _find_metadata(part: _Part, notes: Iterable[_Part], data: Iterable[_Part]) -> _Part | None:
    """Choose the metadata of a file: of the same extra parts, else of none, else of nobody's."""
    fits = sorted((n for n in notes if n.describes(part)), key=lambda note: note.path.name)
    taken = {(other.attribute, other.timescale, other.extras) for other in data}
    same = (n for n in fits if n.extras == part.extras)
    bare = (n for n in fits if not n.extras)
    free = (n for n in fits if (n.attribute, n.timescale, n.extras) not in taken)
    return next((note for group in (same, bare, free) for note in group), None)


def _beside(part: _Part) -> list[_Part]:
    """Find the metadata files in the folder of a file."""
    found = []
    for path in part.path.parent.glob("*.metadata*.json"):
        try:
            found.append(_Part.read(path))
        except ALFInvalid:
            continue  # somebody else's file
    return [note for note in found if note.is_metadata]


def _mention_orphans(notes: Iterable[_Part], data: Sequence[_Part]) -> None:
    for note in notes:
        if not any(note.describes(part) for part in data):
            _log.info("%s: describes no file of this object; not read", note.path)


def _described(key: str, content: Any, note: _Part) -> dict[str, Any]:
    """Give the attributes that a file makes with its metadata."""
    rest = load_file(note.path)
    out = {key: content}
    if isinstance(rest, Mapping) and "columns" in rest and hasattr(content, "shape"):
        rest = dict(rest)
        out = _named_columns(content, rest.pop("columns"), note.path)
    return out | {f"{key}metadata": rest} if rest else out


def _named_columns(content: Any, names: Iterable[str], source: Path) -> dict[str, Any]:
    if is_frame(content):
        frame = content.to_frame() if content.ndim == 1 else content
        columns = [frame.iloc[:, at].to_numpy() for at in range(frame.shape[1])]
    else:
        table = content if content.ndim > 1 else content.reshape(-1, 1)
        columns = [table[:, at] for at in range(table.shape[1])]
    names = list(map(str, names))
    if len(names) > len(columns):
        raise ContentError(f"{source}: names {len(names)} columns of an array of {len(columns)}")
    if len(names) < len(columns):
        few = f"names {len(names)} of {len(columns)} columns; the others are left out"
        warnings.warn(f"{source}: {few}", ALFWarning, stacklevel=4)
    return dict(zip(names, columns, strict=False))


def _put(out: AlfBunch, found: Mapping[str, Any], source: Path) -> None:
    """Add attributes; where two files give the same one, the later wins, as in ONE-api."""
    for name in sorted(found.keys() & out.keys()):
        text = f"attribute {name!r} is in several files; that of {source} is used"
        warnings.warn(text, ALFWarning, stacklevel=3)
    out.update(found)


def _pop_table(out: AlfBunch) -> tuple[str | None, dict[str, Any]]:
    """Take the first table out, and give its key and its columns as attributes."""
    key = next((key for key in out if _TABLE.match(key) and is_frame(out[key])), None)
    if key is None:
        return None, {}
    table = out.pop(key)
    columns = split_columns(table.to_frame() if table.ndim == 1 else table)
    suffix = key[len("table") :]
    return key, {name + suffix: values for name, values in columns.items()}


def _fill_times(out: AlfBunch) -> None:
    """Turn sync points into the times of all samples, where it is known how many there are."""
    rows = n_rows({key: value for key, value in out.items() if not key.startswith("timestamps")})
    if rows is None:
        return
    for key, value in out.items():
        if key.startswith("timestamps") and isinstance(value, np.ndarray) and value.ndim > 1:
            out[key] = ts2vec(value, rows)


def read_ts(path: str | os.PathLike[str]) -> tuple[Any, Any]:
    """Read a file of values and the times that lie beside it.

    The times are in the file of the same object and extension whose attribute starts with
    ``times``; where there are several, in the one of the same namespace, timescale and extra.

    Parameters
    ----------
    path : str or path
        File of values, for instance ``_ibl_wheel.position.npy``.

    Returns
    -------
    times : (n_samples,) array
        Seconds; sync points are made into the times of all samples.
    values : (n_samples, ...) array

    Raises
    ------
    ALFObjectNotFound
        No file of times.
    ALFMultipleObjectsFound
        Several files of times.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/wheel.position.npy", np.arange(3))
    ...     np.save(f"{folder}/wheel.timestamps.npy", [[0, 10.0], [2, 12.0]])
    ...     read_ts(f"{folder}/wheel.position.npy")
    (array([10., 11., 12.]), array([0, 1, 2]))
    """
    part = _Part.read(Path(path))
    found = _times_of(part)
    close = [other for other in found if _labels(other) == _labels(part)]
    chosen = found if len(found) == 1 else close or found
    if not chosen:
        name = f"{part.object}.times*.{part.extension}"
        raise ALFObjectNotFound(f"no times for {part.path}: no {name} beside it")
    if len(chosen) > 1:
        names = ", ".join(sorted(other.path.name for other in chosen))
        raise ALFMultipleObjectsFound(f"several times for {part.path}: {names}")
    values = np.asarray(load_file(part.path))
    return ts2vec(np.asarray(load_file(chosen[0].path)), len(values)), values


def _times_of(part: _Part) -> list[_Part]:
    found = []
    for path in part.path.parent.glob(f"*{part.object}.times*.{part.extension}"):
        try:
            other = _Part.read(path)
        except ALFInvalid:
            continue
        if other.object == part.object and not other.is_metadata:
            found.append(other)
    return found


def _labels(part: _Part) -> tuple[str, str, tuple[str, ...]]:
    return part.namespace, part.timescale, part.extras
