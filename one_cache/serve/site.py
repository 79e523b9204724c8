"""What a folder looks like from outside: the reply to each request, decided and not yet sent."""

from __future__ import annotations

import errno
import hashlib
import html
import json
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, BinaryIO
from urllib.parse import quote, unquote_to_bytes

from one_cache.serve.conditions import Version, read_range

_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}
_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".pqt": "application/vnd.apache.parquet",
    ".tsv": "text/tab-separated-values; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class Reply:
    """An answer, decided before a byte of it is sent.

    Attributes
    ----------
    status : int
        Of HTTP.
    headers : mapping
        All but those of the connection.
    content : bytes
        The body, where it is in memory.
    source : file object or None
        The body, where it is `count` bytes of an open file from `start` on.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    source: BinaryIO | None = None
    start: int = 0
    count: int = 0

    @classmethod
    def text(cls, status: HTTPStatus, message: str = "", **headers: str) -> Reply:
        """Make a reply that a person can read; `_` in the name of a header stands for `-`."""
        content = f"{message or status.phrase}\n".encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(
            status, {**named, **_described("text/plain; charset=utf-8", len(content))}, content
        )


def _described(kind: str, size: int) -> dict[str, str]:
    return {"Content-Type": kind, "Content-Length": str(size), "X-Content-Type-Options": "nosniff"}


class Site:
    """What a folder looks like from outside: decides the reply to each request.

    Parameters
    ----------
    folder : str
        Its real path.
    """

    def __init__(self, folder: str) -> None:
        self.folder = os.path.realpath(folder)
        self._hashes: dict[str, tuple[str, str]] = {}
        self._hashing = threading.Lock()

    def reply(self, target: str, asked: Mapping[str, str]) -> Reply:
        """Decide the reply to a ``GET`` of `target`.

        Parameters
        ----------
        target : str
            The path of the request, percent-encoded.
        asked : mapping
            Headers of the request, their names in the form ``If-None-Match``.

        Returns
        -------
        Reply
            Whoever sends it closes its `source`.

        Raises
        ------
        OSError
            The disk fails.
        """
        path = _decode(target)
        if path == "/tables.json":
            return self._list_tables(asked)
        place = self.locate(path)
        if place is None:
            return Reply.text(HTTPStatus.NOT_FOUND)
        try:
            mode = os.stat(place).st_mode
            if stat.S_ISDIR(mode) and path.endswith("/"):
                return self._list_folder(place, path)
            # a pipe would block for ever once opened; a folder needs its slash, so that no page
            # is ever taken for the content of a file
            if not stat.S_ISREG(mode) or path.endswith("/"):
                return Reply.text(HTTPStatus.NOT_FOUND)
            return _reply_file(place, asked)
        except PermissionError:
            return Reply.text(HTTPStatus.FORBIDDEN)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            return Reply.text(HTTPStatus.NOT_FOUND)

    def locate(self, path: str) -> str | None:
        """Give the real place of a decoded path, or None where it is hidden or outside."""
        parts = path.strip("/").split("/") if path.strip("/") else []
        if not path.startswith("/") or "\0" in path or any(map(_is_hidden, parts)):
            return None
        try:
            place = os.path.realpath(os.path.join(self.folder, *parts))
        except OSError:
            return None
        inside = place == self.folder or place.startswith(self.folder.rstrip(os.sep) + os.sep)
        return place if inside else None

    def tables(self) -> list[dict[str, Any]]:
        """Describe the access tables in the root of the folder.

        Returns
        -------
        list of dict
            With `name`, `path`, `size`, `hash` (SHA-256) and `fingerprint`, sorted by name.
        """
        found = []
        for path in sorted(os.listdir(self.folder)):
            place = self.locate(f"/{path}") if path.endswith(".pqt") else None
            if place is not None and os.path.isfile(place):
                size, digest = self._hash(place)
                name = path.removesuffix(".pqt")
                found.append(
                    {
                        "name": name,
                        "path": path,
                        "size": size,
                        "hash": digest,
                        "fingerprint": digest,
                    }
                )
        return found

    def _hash(self, place: str) -> tuple[int, str]:
        # the lock: many clients that start at once have each table hashed once
        with self._hashing, open(place, "rb") as file:
            before = os.fstat(file.fileno())
            version = Version.of(before).etag
            known, digest = self._hashes.get(place, ("", ""))
            if known != version:
                running = hashlib.sha256()
                while chunk := file.read(1 << 20):
                    running.update(chunk)
                digest = running.hexdigest()
                if Version.of(os.fstat(file.fileno())).etag == version:
                    self._hashes[place] = version, digest
            return before.st_size, digest

    def _list_tables(self, asked: Mapping[str, str]) -> Reply:
        content = json.dumps(self.tables(), indent=1).encode()
        version = Version(f'"{hashlib.sha256(content).hexdigest()}"', 0)
        headers = {"ETag": version.etag, "Cache-Control": "no-cache"}
        if "If-None-Match" in asked and version.is_known(asked):
            return Reply(HTTPStatus.NOT_MODIFIED, headers)
        described = _described("application/json", len(content))
        return Reply(HTTPStatus.OK, {**headers, **described}, content)

    def _list_folder(self, place: str, path: str) -> Reply:
        rows = "".join(self._rows(place, path))
        title = html.escape(f"{os.path.basename(self.folder)}{path}")
        tables = '<p>Access tables: <a href="/tables.json">tables.json</a></p>'
        content = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
            f"<h1>{title}</h1>{tables if path == '/' else ''}<table>{rows}</table></html>\n"
        ).encode("utf-8", "backslashreplace")
        headers = {
            **_described("text/html; charset=utf-8", len(content)),
            "Content-Security-Policy": "default-src 'none'",
        }
        return Reply(HTTPStatus.OK, headers, content)

    def _rows(self, place: str, path: str) -> Iterator[str]:
        for name in sorted(os.listdir(place)):
            there = self.locate(path + name)
            if there is None or not os.path.exists(there):
                continue
            is_folder = os.path.isdir(there)
            shown = html.escape(name) + "/" * is_folder
            link = quote(os.fsencode(path + name)) + "/" * is_folder
            size = "" if is_folder else f"{os.path.getsize(there):,}"
            yield f'<tr><td><a href="{link}">{shown}</a><td align="right">{size}'


def _decode(target: str) -> str:
    if target[:7].lower() == "http://":  # the absolute form that is sent to proxies
        target = "/" + target[7:].partition("/")[2]
    # the request line was read as latin-1; a raw "#" is a part of the path here
    return os.fsdecode(unquote_to_bytes(target.partition("?")[0].encode("latin-1")))


def _is_hidden(part: str) -> bool:
    drive = os.name == "nt" and ":" in part
    return part == "" or part.startswith(".") or part.endswith(".part") or "\\" in part or drive


def _reply_file(place: str, asked: Mapping[str, str]) -> Reply:
    source = open(place, "rb", buffering=0)  # noqa: SIM115 - the sender closes it
    now = os.fstat(source.fileno())
    size, version = now.st_size, Version.of(now)
    headers = {**version.headers, "Accept-Ranges": "bytes"}
    if version.is_known(asked):
        source.close()
        return Reply(HTTPStatus.NOT_MODIFIED, headers)
    part = read_range(asked.get("Range"), size) if version.is_continued(asked) else None
    kind = _TYPES.get(os.path.splitext(place)[1].lower(), "application/octet-stream")
    if part is None:
        return Reply(HTTPStatus.OK, {**headers, **_described(kind, size)}, b"", source, 0, size)
    start, count = part
    if count == 0:
        source.close()
        return Reply.text(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, Content_Range=f"bytes */{size}"
        )
    headers |= {"Content-Range": f"bytes {start}-{start + count - 1}/{size}"}
    headers |= _described(kind, count)
    return Reply(HTTPStatus.PARTIAL_CONTENT, headers, b"", source, start, count)
