"""A bundle: tables, manifest, record and files, in a folder or in a zip file.

The same content gives the same bytes (under one version of pyarrow, which writes the tables):
names are sorted, times are fixed or taken from the record, nothing is compressed twice.
"""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import shutil
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

from one_cache.bundle.frozen import Frozen
from one_cache.bundle.wish import RECORD, Wish
from one_cache.errors import HashMismatch, InvalidArgument, StoreError
from one_cache.hashes import new, parse
from one_cache.progress import Progress, progress
from one_cache.recorder import write_record
from one_cache.records import File
from one_cache.remotes.folder import FolderRemote
from one_cache.store import Store
from one_cache.store.root import OWN
from one_cache.transfer import fetch

_CHUNK = 1 << 20
_SILENT = 3600.0  # s without a byte, after which who writes a bundle counts as dead
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip file can say


def pack(
    out: Path,
    wish: Wish,
    frozen: Frozen,
    store: Store,
    files: Sequence[File],
    *,
    silent: bool = False,
) -> Path:
    """Write a bundle, whole or not at all.

    Parameters
    ----------
    out : pathlib.Path
        A zip file where the name ends so, else a folder, which is made.
    wish : Wish
        The record.
    frozen : Frozen
        Its tables and manifest.
    store : Store
        Where the files lie.
    files : sequence of File
        What to put in; each must be right on disk.
    silent : bool
        No bar.

    Returns
    -------
    pathlib.Path
        `out`.

    Raises
    ------
    InvalidArgument
        There is something at `out` already.
    HashMismatch
        A file changed meanwhile.
    StoreError
        The disk refuses.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InvalidArgument(f"{out} is there already; name a new file or folder")
    _forget_dead(out)
    beside = out.with_name(f".{out.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        beside.mkdir(parents=True)
        # when a record was saved is no part of what was read
        write_record(beside / RECORD, {**wish.head, "saved": wish.date}, wish.entries)
        frozen.write(beside)
        if out.suffix.lower() == ".zip":
            _zip(beside, store, files, silent=silent)
            os.replace(beside / "zip", out)
        else:
            fetch(files, FolderRemote(store.root), Store(beside), silent=silent)
            # what was verified here says nothing on another disk
            shutil.rmtree(beside / OWN, ignore_errors=True)
            if out.exists():
                out.rmdir()
            os.replace(beside, out)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{out} cannot be written: {error}", error.errno) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return out


def _forget_dead(out: Path) -> None:
    """Remove what others left that wanted to write the same bundle and were killed."""
    for left in out.parent.glob(f".{glob.escape(out.name)}.*.part"):
        with contextlib.suppress(OSError):
            newest = max(path.stat().st_mtime for path in (left, *left.rglob("*")))
            if time.time() - newest > _SILENT:
                shutil.rmtree(left, ignore_errors=True)


def _zip(folder: Path, store: Store, files: Sequence[File], *, silent: bool) -> None:
    """Write what lies in `folder`, and the files of a store, into the file ``zip`` there."""
    own = [path for path in folder.iterdir() if path.is_file()]
    members: dict[str, tuple[Path, File | None]] = {path.name: (path, None) for path in own}
    members.update((file.path, (store.path(file.path), file)) for file in files)
    total = sum(place.stat().st_size for place, _ in members.values())
    with (
        progress(total, "B", "Bundling", silent) as bar,
        zipfile.ZipFile(folder / "zip", "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, (place, file) in sorted(members.items()):
            _add(archive, name, place, file, bar)


def _add(
    archive: zipfile.ZipFile, name: str, place: Path, file: File | None, bar: Progress
) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system, info.external_attr = 3, 0o644 << 16  # as on Unix, wherever it is made
    info.file_size = place.stat().st_size
    expected = parse(file.hash) if file is not None and file.hash else None
    digest = new(expected.algorithm, len(expected.hex)) if expected else None
    with place.open("rb") as source, archive.open(info, "w") as target:
        while chunk := source.read(_CHUNK):
            target.write(chunk)
            bar.update(len(chunk))
            if digest is not None:
                digest.update(chunk)
    if expected and digest is not None and digest.hexdigest() != expected.hex:
        raise HashMismatch(f"{name}: changed while it was put into the bundle; run it again")
