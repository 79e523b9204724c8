"""Any web server that carries the folder of a cache and its tables."""

from __future__ import annotations

import contextlib
import json
import re
import zlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from one_cache.errors import (
    Forbidden,
    NotOnRemote,
    PathEscapes,
    RemoteError,
    SizeMismatch,
    TransferFailed,
)
from one_cache.records import File
from one_cache.remotes import Body, Listing, Question
from one_cache.remotes.connections import Answer, Connections, current
from one_cache.remotes.route import Address, basic

_TABLES = ("sessions", "datasets", "insertions", "trajectories", "channels", "aggregates")
_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 10
_CAN_HEAL = {408, 425, 429}
# kept as they are in an address that somebody else has built
_BUILT = "%/:?&=+,;@!$'()*[]~"


class HttpRemote:
    """A web server that carries the folder of a cache.

    The address of a file is that of the folder and the file's path, unless its record has a
    `url`. Credentials go to the host of the address and to no other.

    Parameters
    ----------
    base_url : str
        Address of the folder. A user name and password in it are taken out and used.
    username, password : str, optional
        For basic authentication.
    token : str, optional
        Sent as a bearer token instead.
    timeout : float
        Seconds without a byte after which a request fails; within a transfer, its own counts.

    Raises
    ------
    InvalidArgument
        Not an ``http`` or ``https`` address.

    Examples
    --------
    >>> remote = HttpRemote("https://me:secret@data.org/public/")
    >>> remote.name, remote.url(File("alf/#2024-05-06#/spikes.times.npy"))
    ('https://data.org/public', 'https://data.org/public/alf/%232024-05-06%23/spikes.times.npy')
    """

    def __init__(
        self,
        base_url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        parts = urlsplit(base_url.strip())
        root = Address.read(parts._replace(query="", fragment="").geturl())
        self._root = root._replace(target=quote(parts.path.rstrip("/"), safe=_BUILT))
        self.name = f"{root.origin.scheme}://{root.host}{self._root.target}"
        self.timeout = timeout
        self._secret = _authorization(
            username if username is not None else unquote(parts.username or ""),
            password if password is not None else unquote(parts.password or ""),
            token,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def url(self, file: File) -> str:
        """Give the address of a file, without a query, which may hold a signature.

        Raises
        ------
        PathEscapes
            Its path would leave the folder.
        """
        origin, host, target = self._address(file)
        return f"{origin.scheme}://{host}{target.partition('?')[0]}"

    def tables(self) -> Sequence[Listing]:
        """Name the tables: those that ``tables.json`` lists, else the usual ones that are there.

        Returns
        -------
        list of Listing
            The fingerprint is the one that ``tables.json`` gives, else the ETag, else date and
            size.

        Raises
        ------
        Forbidden, TransferFailed, RemoteError
            The server does not answer, or not with a list.
        """
        with self._connected():
            try:
                answer = self._ask("GET", self._at("tables.json"), "tables.json")
            except (NotOnRemote, Forbidden) as error:
                found = [table for name in _TABLES if (table := self._look_for(name))]
                if isinstance(error, Forbidden) and not found:
                    raise
                return found
            return self._read_listings(answer.read())

    def records(self, question: Question) -> Sequence[Mapping[str, Any]] | None:
        """Answer nothing: a web server has only its tables."""
        return None

    def open(self, file: File, start: int = 0, validator: str | None = None) -> Body:
        """Open `file` at byte `start`, given that its content still is that of `validator`.

        Parameters
        ----------
        file : File
            Its `size`, where known, must be the length that the server says.
        start : int
            First byte wanted; the body says where it does start.
        validator : str, optional
            Of the body that gave the bytes before `start`.

        Returns
        -------
        Body
            Its `validator` is the ETag, if that is a strong one.

        Raises
        ------
        NotOnRemote, Forbidden, TransferFailed, SizeMismatch, RemoteError
            As the server answers.
        """
        address = self._address(file)
        if not start:
            return self._body(file, self._ask("GET", address, file.path), 0)
        wanted = {"Range": f"bytes={start}-"}
        if validator:
            wanted["If-Range"] = validator
        answer = self._ask("GET", address, file.path, wanted)
        if answer.status == 200:
            return self._body(file, answer, 0)
        same = validator is None or _etag(answer) == validator
        if answer.status == 206 and same and _range(answer)[0] == start:
            return self._body(file, answer, start)
        # 416, another range than asked, or a part of another version
        answer.dismiss()
        return self._body(file, self._ask("GET", address, file.path), 0)

    def expect(self, file: File) -> Hashable | None:
        """Ask for a file whose :meth:`open` follows soon, in the same call of the transfer.

        Returns
        -------
        hashable or None
            What was sent, for :meth:`one_cache.remotes.connections.Connections.drop`.
        """
        connections = current()
        if connections is None:
            return None
        address = self._address(file)
        return connections.send_ahead("GET", address, self._headers(address))

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        """Keep connections for the block, if nothing around it does."""
        if current() is not None:
            yield
            return
        with Connections(stall=self.timeout) as connections, connections.used():
            yield

    def _address(self, file: File) -> Address:
        if file.url:
            # '#' starts a fragment, which is never sent: a revision folder is meant
            return Address.read(quote(file.url, safe=_BUILT))
        parts = file.path.split("/")
        if "\0" in file.path or "" in parts or "." in parts or ".." in parts:
            raise PathEscapes(f"{file.path!r}: not a path within {self.name}")
        return self._at(file.path)

    def _at(self, path: str) -> Address:
        root = self._root
        return Address(root.origin, root.host, f"{root.target}/{quote(path)}")

    def _ask(
        self, method: str, address: Address, path: str, extra: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request, follow redirects, and raise for what is no success."""
        connections = current() or Connections(stall=self.timeout, keep=False)
        folder = f"{address.target}/"
        for _ in range(_MOST_REDIRECTS + 1):
            try:
                answer = connections.send(method, address, self._headers(address, extra))
            except TransferFailed as error:
                raise TransferFailed(f"{path}: {error}") from error.__cause__
            except RemoteError as error:
                raise RemoteError(f"{path}: {error}", error.status) from error.__cause__
            if answer.status not in _REDIRECTS:
                return self._accept(answer, path)
            answer.dismiss()
            address = self._follow(address, answer, path)
            if address.target == folder:
                raise NotOnRemote(f"{path}: a folder on {self.name}, not a file")
        raise RemoteError(f"{path}: {self.name} redirects more than {_MOST_REDIRECTS} times")

    def _headers(self, address: Address, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity", "User-Agent": "one_cache", **(extra or {})}
        if self._secret and address.origin == self._root.origin:
            headers["Authorization"] = self._secret
        return headers

    def _follow(self, address: Address, answer: Answer, path: str) -> Address:
        here = f"{address.origin.scheme}://{address.host}{address.target}"
        there = quote(answer.headers.get("location", ""), safe=_BUILT + "#")
        try:
            found = Address.read(urljoin(here, there))
        except ValueError as error:
            raise RemoteError(
                f"{path}: {self.name} redirects to no web address", answer.status
            ) from error
        if address.origin.scheme == "https" and found.origin.scheme == "http":
            raise RemoteError(f"{path}: {self.name} redirects from https to http", answer.status)
        return found

    def _accept(self, answer: Answer, path: str) -> Answer:
        status = answer.status
        if status in (200, 206, 416):
            return answer
        answer.dismiss()
        said = f"{path}: {self.name} answers {status} {answer.reason}"
        if status in (404, 410):
            raise NotOnRemote(f"{path}: not on {self.name} ({status} {answer.reason})")
        if status in (401, 403):
            advice = (
                "Has this user the right?" if self._secret else "It may want a user and password"
            )
            raise Forbidden(f"{said}. {advice}")
        if status in _CAN_HEAL or status >= 500:
            raise TransferFailed(said, _retry_after(answer))
        raise RemoteError(said, status)

    def _body(self, file: File, answer: Answer, start: int) -> Body:
        try:
            if answer.status != (206 if start else 200):
                raise RemoteError(
                    f"{file.path}: {self.name} answers {answer.status} to a plain question",
                    answer.status,
                )
            total = _range(answer)[1] if start else answer.length
            encoding = _encoding(answer, file, total)
            if encoding:
                total = None
            self._check_head(file, answer, total)
        except BaseException:
            answer.close()
            raise
        return Body(
            _read(answer, encoding, file.path),
            start=start,
            total=total,
            validator=None if encoding else _etag(answer),
            close=answer.close,
        )

    def _check_head(self, file: File, answer: Answer, total: int | None) -> None:
        """Refuse what the head of the answer already gives away."""
        if file.size is not None and total is not None and total != file.size:
            raise SizeMismatch(
                f"{file.path}: expected {file.size} bytes, {self.name} has {total} "
                f"({answer.headers.get('content-type', 'of unknown type')}). "
                "The tables are outdated, or this is a login or error page"
            )
        if file.size is not None or file.hash:
            return
        if not answer.ends:
            raise RemoteError(
                f"{file.path}: neither the record nor {self.name} says how long it is, so a cut "
                "could not be told from its end",
                answer.status,
            )
        kind = answer.headers.get("content-type", "").lower()
        if kind.startswith("text/html") and not file.path.lower().endswith((".html", ".htm")):
            raise RemoteError(
                f"{file.path}: {self.name} sends an HTML page, a login or error page perhaps",
                answer.status,
            )

    def _look_for(self, name: str) -> Listing | None:
        path = f"{name}.pqt"
        try:
            answer = self._ask("HEAD", self._at(path), path)
        except (NotOnRemote, Forbidden):
            # stores of objects forbid what is not there
            return None
        answer.close()
        said = answer.headers.get("content-length", "")
        changed = answer.headers.get("last-modified", "")
        fingerprint = answer.headers.get("etag") or f"{changed} {said}".strip()
        return Listing(name, File(path, answer.length), fingerprint)

    def _read_listings(self, text: bytes) -> list[Listing]:
        try:
            return [
                Listing(
                    str(row["name"]),
                    File(
                        str(row.get("path") or f"{row['name']}.pqt"),
                        None if row.get("size") is None else int(row["size"]),
                        row.get("hash") or None,
                    ),
                    str(row.get("fingerprint") or row.get("hash") or row.get("size") or ""),
                )
                for row in json.loads(text)
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RemoteError(
                f"tables.json: {self.name} answers with something that is no list of tables "
                f"({text[:60]!r})"
            ) from error


def _authorization(username: str, password: str, token: str | None) -> str | None:
    if token:
        return f"Bearer {token}"
    return basic(username, password) if username or password else None


def _etag(answer: Answer) -> str | None:
    """Give the ETag where it promises equal bytes: a weak one does not."""
    etag = answer.headers.get("etag", "").strip()
    return etag if etag.startswith('"') and len(etag) > 2 else None


def _range(answer: Answer) -> tuple[int | None, int | None]:
    """Read first byte and total length from the Content-Range."""
    found = re.fullmatch(
        r"bytes\s+(\d{1,18})-\d+/(\d{1,18}|\*)", answer.headers.get("content-range", "").strip()
    )
    if not found:
        return None, None
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _retry_after(answer: Answer) -> float | None:
    """Read how many seconds the server asks to wait: a number, or a date by its own clock."""
    text = answer.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d*)?", text):
        return float(text)
    if not text:
        return None
    from email.utils import parsedate_to_datetime

    with contextlib.suppress(ValueError, TypeError, OverflowError):
        until = parsedate_to_datetime(text)
        now = parsedate_to_datetime(answer.headers.get("date", ""))
        return max(0.0, (until - now).total_seconds())
    return None


def _encoding(answer: Answer, file: File, total: int | None) -> str:
    """Tell how the body is compressed though nobody asked; empty where it is the file itself."""
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return ""
    if total is not None and total == file.size:
        return ""
    if (
        file.size is None
        and encoding in ("gzip", "x-gzip")
        and file.path.endswith((".gz", ".tgz"))
    ):
        # Apache's usual way to say that the file itself is compressed
        return ""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise RemoteError(
            f"{file.path}: compressed as {encoding!r} though asked for plain bytes", answer.status
        )
    return encoding


def _read(answer: Answer, encoding: str, path: str) -> Iterator[bytes]:
    try:
        yield from _decompressed(answer.chunks(), path) if encoding else answer.chunks()
    except TransferFailed as error:
        raise TransferFailed(f"{path}: {error}") from error.__cause__


def _decompressed(chunks: Iterator[bytes], path: str) -> Iterator[bytes]:
    # 32: the header tells gzip from zlib
    engine = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)
    try:
        for chunk in chunks:
            while chunk:
                if plain := engine.decompress(chunk, 1 << 20):
                    yield plain
                chunk = engine.unconsumed_tail
    except zlib.error as error:
        raise TransferFailed(f"what arrived cannot be decompressed: {error}") from error
    if not engine.eof:
        raise TransferFailed("the compressed body ends in the middle")
