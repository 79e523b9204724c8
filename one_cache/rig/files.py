"""Arrays of recordings as files of the cache, named by rows that pin their bytes."""

from __future__ import annotations

import hashlib
import io
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from one_cache.errors import ContentError
from one_cache.recorder import Entry, moment
from one_cache.records import File

if TYPE_CHECKING:
    from one_cache.cache import Cache

FOLDER = "rig"


def write(cache: Cache, row_id: str, stem: str, data: Any, timestamps: Any) -> dict[str, Any]:
    """Write the arrays of one row.

    Parameters
    ----------
    cache : Cache
        Where.
    row_id : str
        Of the row.
    stem : str
        Path below the folder of rigs, without an extension.
    data, timestamps : array
        What it holds.

    Returns
    -------
    dict
        Columns ``id``, ``path``, ``size``, ``hash``, ``data`` and ``timestamps`` of the row.
    """
    content = io.BytesIO()
    np.savez(content, data=data, timestamps=timestamps)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    parts = [re.sub(r"[^A-Za-z0-9_.-]+", "_", part).strip(".") or "_" for part in stem.split("/")]
    # named by its content: whoever reads the former one may go on
    path = f"{FOLDER}/{'/'.join(parts)}-{digest[:12]}.npz"
    file = cache.store.write(path, content.getvalue(), algorithm="sha256")
    pinned = {"id": row_id, "path": file.path, "size": file.size, "hash": file.hash}
    text = json.dumps(pinned)
    return {**pinned, "data": text, "timestamps": text}


class Reader:
    """Reads one array of a row when it is fetched.

    Parameters
    ----------
    cache : Cache
        Where the file lies.
    member : {"data", "timestamps"}
        Which array.
    """

    def __init__(self, cache: Cache, member: str) -> None:
        self.cache = cache
        self.member = member

    def __call__(self, text: str | None) -> Any:
        """Give the array, verified as the mode of the cache wants it, and record the file.

        Raises
        ------
        NotInCache, HashMismatch
            The file is not here, or is not the one of the row, and cannot be fetched.
        ContentError
            It holds no such array.
        """
        if text is None:
            return None
        pinned = json.loads(text)
        file = File(pinned["path"], size=pinned["size"], hash=pinned["hash"], id=pinned["id"])
        refused = self.cache.bring([file])
        if refused:
            raise refused[file.path]
        try:
            with np.load(self.cache.store.path(file.path), allow_pickle=False) as arrays:
                array = arrays[self.member]
        except (ValueError, KeyError, EOFError) as error:
            raise ContentError(f"{file.path} holds no {self.member}: {error}") from error
        self._record(file, str(pinned["id"]))
        return array

    def _record(self, file: File, row_id: str) -> None:
        recorder = self.cache.recorder
        # data and timestamps of a row lie in one file
        if recorder.on and not recorder.has("file", row_id):
            recorder.add(
                Entry(
                    "file",
                    row_id,
                    path=file.path,
                    rel_path=file.path,
                    size=file.size,
                    hash=file.hash,
                    source=self.cache.source,
                    mode=self.cache.mode,
                    at=moment(),
                )
            )
