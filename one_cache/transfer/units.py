"""What is locked together: small files of a folder form a unit, a large file is one of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from one_cache.locks import Lock
from one_cache.records import File
from one_cache.store.incoming import BIG
from one_cache.store.notes import Note


@dataclass
class Unit:
    """Files under one lock.

    Attributes
    ----------
    key : str
        Of the lock.
    folder : str
        That the files lie in.
    files : list of File
        Longest first.
    """

    key: str
    folder: str
    files: list[File]
    lock: Lock | None = None
    left: int = 0
    opened: float = 0.0
    checked: bool = False
    notes: dict[str, Note | None] = field(default_factory=dict)
    noted: float = 0.0
    due: float = 0.0
    pause: float = 0.02
    since: float = 0.0
    sign: object = None


def units_of(files: Iterable[File]) -> list[Unit]:
    """Sort files into units: large ones first, longest first, then folders of small ones.

    Examples
    --------
    >>> files = [File("a/1", 10), File("b/2", 5 << 20), File("a/3", 20)]
    >>> [[file.path for file in unit.files] for unit in units_of(files)]
    [['b/2'], ['a/3', 'a/1']]
    """
    large, folders = [], dict[str, list[File]]()
    for file in files:
        folder = file.path.rpartition("/")[0]
        if file.size is not None and file.size >= BIG:
            large.append(Unit(f"file {file.path}", folder, [file]))
        else:
            folders.setdefault(folder, []).append(file)
    large.sort(key=lambda unit: -(unit.files[0].size or 0))
    small = [
        Unit(f"folder {folder}", folder, sorted(inside, key=lambda file: -(file.size or 0)))
        for folder, inside in folders.items()
    ]
    small.sort(key=lambda unit: -sum(file.size or 0 for file in unit.files))
    return [*large, *small]
