"""What a record asks for: things that were read, or ids of which the rest is to be looked up."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from one_cache.errors import InvalidArgument, OneCacheError
from one_cache.manifest import FILE_NAME
from one_cache.recorder import Entry, Recorder, parse_record, read_ids
from one_cache.records import File

RECORD = "record.jsonl"
"""Where the record lies in a bundle."""

_NEVER = "1970-01-01T00:00:00+00:00"  # lists of ids do not say when

AnyRecord: TypeAlias = str | Path | Recorder | Iterable[Entry]


@dataclass(frozen=True)
class Wish:
    """What is to be had again.

    Attributes
    ----------
    entries : tuple of Entry
        What was read, in order, each path once: the last reading of it counts.
    head : mapping
        What the record says of itself; empty for a list of ids.
    ids : tuple of str
        Instead of entries, ids of datasets or sessions; `kind` says which.
    kind : {"", "dataset", "session"}
        Of what `ids` are.
    """

    entries: tuple[Entry, ...] = ()
    head: Mapping[str, Any] = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    kind: str = ""

    @property
    def sources(self) -> tuple[str, ...]:
        """Addresses that the entries were read from; the database of a mirror gives no files."""
        read = (entry.source for entry in self.entries if entry.kind != "mirror")
        return tuple(dict.fromkeys(source for source in read if source))

    @property
    def date(self) -> str:
        """Time of the last reading, which dates whatever is made of the record."""
        return max((entry.at for entry in self.entries), default="") or _NEVER


def read_wish(record: AnyRecord) -> Wish:
    """Read what a record asks for.

    Parameters
    ----------
    record : path-like, Recorder, or iterable of Entry
        A full record, a bundle (folder or zip), or a list of ids as ONE-api writes it.

    Returns
    -------
    Wish

    Raises
    ------
    InvalidArgument
        There is no such file.
    OneCacheError
        It is none of these.

    Examples
    --------
    >>> recorder = Recorder(on=True)
    >>> recorder.add(Entry("dataset", "1", path="a.npy", hash="of the first reading"))
    >>> recorder.add(Entry("dataset", "1", path="a.npy", hash="of the second"))
    >>> [entry.hash for entry in read_wish(recorder).entries]
    ['of the second']
    """
    if not isinstance(record, (str, Path)):
        return Wish(_distinct(record))
    path = Path(record).expanduser()
    try:
        if path.is_dir():
            path = path / RECORD
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as bundle:
                return _full(bundle.read(RECORD).decode(), path)
        elif path.suffix.lower() == ".zip" and path.is_file():
            raise OneCacheError(f"{path} is no zip file, or only a part of one; get it again")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InvalidArgument(f"there is no record at {path}") from None
    except KeyError as error:
        raise OneCacheError(f"{path} is no bundle: it has no {RECORD}") from error
    except (OSError, UnicodeDecodeError, zipfile.BadZipFile) as error:
        raise OneCacheError(f"{path} cannot be read as a record: {error}") from error
    if text.lstrip().startswith("{"):
        return _full(text, path)
    kind, ids = read_ids(path)
    return Wish(ids=tuple(dict.fromkeys(ids)), kind=kind)


def _full(text: str, path: Path) -> Wish:
    head, entries = parse_record(text, path)
    return Wish(_distinct(entries), head)


def _distinct(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    found: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        if not isinstance(entry, Entry):
            raise InvalidArgument(
                f"{entry!r} is no entry of a record; give a record, or the file of one"
            )
        found[entry.kind, entry.path or entry.id] = entry
    return tuple(found.values())


def is_bundle(record: AnyRecord) -> bool:
    """Tell whether a record is a bundle, which holds the files too."""
    if not isinstance(record, (str, Path)):
        return False
    path = Path(record).expanduser()
    return (path / RECORD).is_file() or (path.is_file() and zipfile.is_zipfile(path))


def manifest_folder(record: AnyRecord) -> Path | None:
    """Give the folder of a manifest; None where a record is meant."""
    if not isinstance(record, (str, Path)):
        return None
    path = Path(record).expanduser()
    if path.name == FILE_NAME:
        return path.parent
    return path if (path / FILE_NAME).is_file() and not (path / RECORD).exists() else None


def file_of(entry: Entry, *, url: bool = False) -> File:
    """Give the file that an entry speaks of, with the address that it had if that is wanted."""
    return File(entry.path, entry.size, entry.hash, (entry.url or None) if url else None, entry.id)
