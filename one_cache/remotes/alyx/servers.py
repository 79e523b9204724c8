"""Which web server holds a file, and what it wants to know: learned, never built in.

The address of a file is its record's ``data_url``. Where a record has none (tables do not), it
is made as Alyx makes it: the root of a data repository, the path below it, and the dataset's
UUID before the extension. Credentials belong to one host and go to no other: those of the
settings file or of ONE-api's parameters under that host's name; those that a data repository
has in its `json`; and those of the caller, which are for the hosts of the data repositories.
The Alyx server's own token and password are never sent to a data server.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from one_cache import settings
from one_cache.errors import Forbidden, NotOnRemote, PathEscapes
from one_cache.records import File
from one_cache.remotes import Body
from one_cache.remotes.alyx.client import AlyxClient
from one_cache.remotes.alyx.login import one_api_parameters
from one_cache.remotes.alyx.records import dataset_row
from one_cache.remotes.alyx.values import is_true
from one_cache.remotes.http import HttpRemote
from one_cache.settings import Credentials


class DataServers:
    """The web servers that hold the files of an Alyx database.

    Parameters
    ----------
    client : AlyxClient
        The database.
    username, password : str, optional
        For the servers that its data repositories name.
    """

    def __init__(
        self, client: AlyxClient, *, username: str | None = None, password: str | None = None
    ) -> None:
        self._client = client
        self._given = Credentials(username, password)
        self._remotes: dict[str, HttpRemote] = {}
        self._repositories: Mapping[str, Mapping[str, Any]] | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def repositories(self) -> Mapping[str, Mapping[str, Any]]:
        """Give the data repositories by name, asked for once."""
        with self._lock:
            if self._repositories is None:
                found = self._client.every("/data-repository")
                self._repositories = {one["name"]: one for one in found}
            return self._repositories

    def is_server(self, name: str) -> bool:
        """Whether a data repository is a server, rather than somebody's own disk."""
        found = self.repositories().get(name)
        return found is not None and not is_true(found.get("globus_is_personal"))

    def open(self, file: File, start: int = 0, validator: str | None = None) -> Body:
        """Open a file where it lies.

        Raises
        ------
        PathEscapes
            Its path would leave the cache.
        NotOnRemote
            No server has it.
        Forbidden
            The server's credentials are missing, wrong, or without the right.
        TransferFailed
            A failure that can heal.
        """
        parts = file.path.split("/")
        if "\0" in file.path or any(part in ("", ".", "..") for part in parts):
            raise PathEscapes(f"{file.path!r}: not a path within a cache")
        missing: NotOnRemote | None = None
        for url in self._addresses(file):
            try:
                return self._open(url, file, start, validator)
            except NotOnRemote as error:
                missing = missing or NotOnRemote(f"{error}; {self._client.name} names {url}")
        raise missing or NotOnRemote(
            f"{file.path}: {self._client.name} gives no address for it, and none of its data "
            "repositories is a web server"
        )

    def address(self, file: File) -> str | None:
        """Give the address of a file as far as it is known without asking."""
        if file.url:
            return encoded(file.url)
        if self._repositories is None:
            return None
        return next(self._made(file, self._repositories.values()), None)

    def _addresses(self, file: File) -> Iterator[str]:
        """Give where a file may lie, the surest first; each is only asked for when needed."""
        if file.url:
            yield encoded(file.url)
            return
        seen = []
        for url in self._made(file, self.repositories().values()):
            seen.append(url)
            yield url
        if file.id:
            record = self._client.read(f"/datasets/{quote(file.id)}")
            known = dataset_row(record, self.is_server)["extra"]["data_url"] if record else None
            if known and encoded(known) not in seen:
                yield encoded(known)
            # a lab's own server may hold the files under their plain names
            yield from self._made(File(file.path), self.repositories().values())

    def _made(self, file: File, repositories: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        """Make the addresses of a file on the repositories that can hold it."""
        path = with_uuid(file.path, file.id) if file.id else file.path
        roots = {
            str(one["data_url"]): str(one.get("globus_path") or "")
            for one in repositories
            if str(one.get("data_url") or "").startswith("http")
            and not is_true(one.get("globus_is_personal"))
        }
        fitting = [
            f"{root.rstrip('/')}/{quote(path[len(head) :])}"
            for root, folder in sorted(roots.items())
            for head in _heads(path)
            if urlsplit(root).path.rstrip("/").endswith(f"/{head.rstrip('/')}")
            or folder.rstrip("/").endswith(f"/{head.rstrip('/')}")
        ]
        if not fitting and len(roots) == 1:
            # one server for all: its root is that of the cache
            fitting = [f"{next(iter(roots)).rstrip('/')}/{quote(path)}"]
        yield from dict.fromkeys(fitting)

    def _open(self, url: str, file: File, start: int, validator: str | None) -> Body:
        root = _root(url)
        if not root:
            raise NotOnRemote(f"{file.path}: {url} is not the address of a web server")
        there = File(file.path, file.size, file.hash, url=url, id=file.id)
        try:
            return self._remote(root).open(there, start, validator)
        except Forbidden as error:
            other = self._learned(root)
            if other is None:
                raise Forbidden(
                    f"{error}. Its user and password belong into credentials.json of the "
                    f"settings folder, under {settings.server_key(root)!r}"
                ) from None
            remote = _connect(root, other)
            body = remote.open(there, start, validator)
            with self._lock:
                self._remotes[root] = remote
            return body

    def _remote(self, root: str) -> HttpRemote:
        with self._lock:
            if root not in self._remotes:
                self._remotes[root] = _connect(root, self._saved(root))
            return self._remotes[root]

    def _saved(self, root: str) -> Credentials:
        """Give what the settings, or ONE-api's parameters, hold for a server."""
        saved = settings.saved_credentials(root)
        if saved.username or saved.token:
            return saved
        theirs = one_api_parameters(self._client.name)
        if _root(str(theirs.get("HTTP_DATA_SERVER") or "")) != root:
            return saved
        return Credentials(
            theirs.get("HTTP_DATA_SERVER_LOGIN"), theirs.get("HTTP_DATA_SERVER_PWD")
        )

    def _learned(self, root: str) -> Credentials | None:
        """Give what the caller, or a data repository, has for a server that refused."""
        for one in self.repositories().values():
            if _root(str(one.get("data_url") or "")) != root:
                continue
            if self._given.username:
                return self._given
            found = one.get("json")
            if isinstance(found, Mapping) and found.get("username"):
                return Credentials(str(found["username"]), str(found.get("password") or ""))
        return None


def _connect(root: str, found: Credentials) -> HttpRemote:
    return HttpRemote(root, username=found.username, password=found.password, token=found.token)


def _root(url: str) -> str:
    """Give scheme, host and port of a web address; empty for any other."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


def encoded(url: str) -> str:
    """Give an address as it is sent; Alyx gives it with raw ``#``, other servers may not.

    Examples
    --------
    >>> encoded("http://data.org/a/#2024-05-06#/x y.npy")
    'http://data.org/a/%232024-05-06%23/x%20y.npy'
    """
    scheme, found, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{found}{host}{slash}{quote(unquote(path))}"


def with_uuid(path: str, uuid: str) -> str:
    """Give the path under which a data server holds a dataset: its UUID before the extension.

    Examples
    --------
    >>> with_uuid("alf/licks.times.npy", "ce3837fb-2226-463e-bede-0c08b22420a2")
    'alf/licks.times.ce3837fb-2226-463e-bede-0c08b22420a2.npy'
    """
    stem, dot, extension = path.rpartition(".")
    return f"{stem}.{uuid}{dot}{extension}" if dot and "/" not in extension else path


def _heads(path: str) -> list[str]:
    """Give the beginnings of a path that a repository's root may have already."""
    found = re.match(r"[^/]+/Subjects/|aggregates/", path)
    return [found[0]] if found else []
