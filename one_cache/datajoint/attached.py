"""Attachments, and what rows name in stores: files and large values."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from one_cache.datajoint.server import Server
from one_cache.errors import NotOnRemote
from one_cache.mirrored.about import FOLDER
from one_cache.modes import FileState
from one_cache.records import Dataset, File
from one_cache.store import Store

_CHUNK = 1 << 20
_IDS = uuid.UUID("3e7d3f0e-51b5-5c93-8a53-0b1f0f6f2a41")
# what some disk or address cannot have in a name
_ODD = re.compile(r'[\x00-\x1f<>:"|?*\\/]')


class Attacher:
    """Puts files into a cache, and tells columns what to hold in their place.

    Parameters
    ----------
    server : Server
        Knows the stores.
    store : Store
        Gets the files.

    Attributes
    ----------
    datasets : dict of str to Dataset
        What was attached, by id.
    """

    def __init__(self, server: Server, store: Store) -> None:
        self._server = server
        self._store = store
        self.datasets: dict[str, Dataset] = {}

    def inside(self, value: Any) -> str:
        """Take an attachment that lies in the row: its name, a zero byte, its bytes.

        Parameters
        ----------
        value : bytes
            As the server has it.

        Returns
        -------
        str
            What the column holds; `one_cache.mirrored` reads it.
        """
        name, _, data = bytes(value).partition(b"\0")
        digest = hashlib.sha256(data).hexdigest()
        return self._written(_safe(name.decode("utf-8", "replace")), digest, lambda: data)

    def of_store(self, codec: str, store: str) -> Callable[[Any], Any]:
        """Give what takes a value of a column whose rows name things in a store.

        Parameters
        ----------
        codec, store : str
            As the column was declared, ``<blob@main>``.

        Returns
        -------
        callable
        """
        if codec in ("blob", "hash"):
            return partial(self._large, store)
        if codec == "attach":
            return lambda value: self.inside(self._large(store, value))
        return partial(self._named, store)

    def _large(self, store: str, value: Any) -> bytes:
        """Bring a large value, which is as it was packed."""
        from datajoint.hash_registry import get_hash  # type: ignore[import-untyped]

        about = {"store": store, **_read(value)}
        with self._server.explained(f"store {store!r}: {about.get('path')} cannot be read"):
            return bytes(get_hash(about, config=self._server.instance.config))

    def _named(self, store: str, value: Any) -> str:
        """Bring the files that a row names."""
        from datajoint.hash_registry import get_store_backend

        about = {"store": store, **_read(value)}
        path = about["path"]
        # a name in a store is given once; a file that is registered anew has another time
        mark = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        with self._server.explained(f"store {store!r}: {path} cannot be read"):
            # one that was left out is the default of the store's kind
            backend = get_store_backend(about["store"] or None, self._server.instance.config)
            if not about.get("is_dir"):
                return self._written(_safe(path), mark, lambda: _chunks(backend, path))
            return self._folder(backend, path, mark)

    def _folder(self, backend: Any, path: str, mark: str) -> str:
        top = backend._full_path(path)
        place = f"{FOLDER}/files/{mark[:2]}/{mark[:16]}"
        files = []
        for found in sorted(backend.fs.find(top)):
            inside = found[len(str(top).rstrip("/")) :].lstrip("/")
            parts = [_safe(part) for part in inside.split("/")]
            rel = "/".join([place, _safe(path), *parts])
            files.append(self._file(rel, partial(_chunks, backend, f"{path}/{inside}")))
        return _cell(f"{place}/{_safe(path)}", files)

    def _written(self, name: str, mark: str, content: Callable[[], Any]) -> str:
        path = f"{FOLDER}/files/{mark[:2]}/{mark[:16]}/{name}"
        return _cell(path, [self._file(path, content)])

    def _file(self, path: str, content: Callable[[], Any]) -> File:
        """Let a file be here; one that is here already and right is not brought again."""
        noted = self._store.noted(path)
        if noted is None or self._store.state(noted) is not FileState.GOOD:
            noted = self._store.write(path, content())
        id = str(uuid.uuid5(_IDS, path))
        self.datasets[id] = Dataset(
            id, "", path, file_size=noted.size, hash=noted.hash, default_revision=True
        )
        return File(path, noted.size, noted.hash, id=id)


def _cell(path: str, files: list[File]) -> str:
    """Write what a column holds in the place of files."""
    inside = [
        {"path": one.path, "size": one.size, "hash": one.hash, "id": one.id} for one in files
    ]
    return json.dumps({"path": path, "files": inside}, ensure_ascii=False)


def _read(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(value) if isinstance(value, (str, bytes)) else dict(value)
    return {key: one for key, one in found.items() if one is not None or key != "store"}


def _chunks(backend: Any, path: str) -> Iterator[bytes]:
    try:
        with backend.open(path, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    except FileNotFoundError as error:
        raise NotOnRemote(
            f"{path}: a row names this file, and the store does not have it"
        ) from error


def _safe(name: str) -> str:
    """Give the last part of a path as a name that is a name everywhere.

    Examples
    --------
    >>> _safe("a/b/plan 1?.txt"), _safe("../.."), _safe("")
    ('plan 1_.txt', 'file', 'file')
    """
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return _ODD.sub("_", last).lstrip(".").rstrip(". ")[-120:] or "file"
