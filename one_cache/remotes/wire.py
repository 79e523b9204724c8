"""One request and its answer on an open socket: HTTP/1.1 as far as a download needs it.

Why not a library: a small file costs 0.2 to 0.5 ms of processor time in those that there are,
more than reading, hashing and storing it. A download needs little of HTTP, and it needs the
socket at hand: to end a call at once, and to notice a server that sends a byte now and then,
which no read timeout does.
"""

from __future__ import annotations

import re
import socket
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_SLOWEST = 1024  # bytes/s; below it for two stall times, the connection is given up
_BLOCK = 1 << 16
_MOST_HEAD = 1 << 17
_MOST_TRAILERS = 100
_MOST_DIGITS = 19  # of a length
_MOST_ANNOUNCED = 10  # answers of status 100 and 103, before the one that counts
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(r"HTTP/1\.(\d) (\d{3})(?: (.*))?")
_CHUNK_SIZE = re.compile(rb"\s*([0-9a-fA-F]{1,15})\s*(?:;.*)?", re.DOTALL)


class Cut(ConnectionError):
    """The server closed before the end."""


class Garbled(ConnectionError):
    """What answers does not speak HTTP, or not correctly."""


class Head(NamedTuple):
    """What precedes the body of an answer.

    Attributes
    ----------
    status : int
        Of HTTP.
    reason : str
        The server's word for it.
    headers : mapping of str to str
        Names in lower case; those that are repeated joined by commas.
    keep : bool
        Whether the connection stays open afterwards.
    chunked : bool
        Whether the body says its length chunk by chunk.
    length : int or None
        Bytes of the body, where the head says it.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    keep: bool
    chunked: bool
    length: int | None


def read_head(text: bytes) -> Head:
    r"""Read the head of an answer.

    Parameters
    ----------
    text : bytes
        All lines up to the empty one.

    Returns
    -------
    Head

    Raises
    ------
    Garbled
        Not HTTP/1.

    Examples
    --------
    >>> head = read_head(b'HTTP/1.1 206 Partial Content\r\nContent-Length: 6\r\nETag: "a"')
    >>> head.status, head.reason, head.length, head.headers["etag"], head.keep
    (206, 'Partial Content', 6, '"a"', True)
    """
    first, *lines = text.decode("latin-1").replace("\r", "").split("\n")
    found = _STATUS.fullmatch(first.strip())
    if not found:
        raise Garbled(f"it answers {first[:40]!r}, which is not HTTP/1.1")
    headers: dict[str, str] = {}
    name = ""
    for line in lines:
        if line[:1] in (" ", "\t"):
            # an obsolete way to go on with the line before
            headers[name] = f"{headers.get(name, '')} {line.strip()}"
            continue
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    wish = headers.get("connection", "").lower()
    keep = "close" not in wish if found[1] != "0" else "keep-alive" in wish
    chunked = _is_chunked(headers.get("transfer-encoding", "").lower())
    said = headers.get("content-length")
    length = None if said is None or chunked else _length(said)
    return Head(int(found[2]), (found[3] or "").strip(), headers, keep, chunked, length)


def _is_chunked(text: str) -> bool:
    codings = {part.strip() for part in text.split(",")} - {"", "identity"}
    if codings - {"chunked"}:
        # nobody asked for it, and its bytes are not those of the file
        raise Garbled(f"Transfer-Encoding {text[:40]!r} is none that it was asked for")
    return bool(codings)


def _length(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS:
        return int(text)
    parts = {part.strip() for part in text.split(",")}
    if len(parts) == 1 and "," in text:
        return _length(parts.pop())
    raise Garbled(f"Content-Length {text[:40]!r} is no number")


class Wire:
    """An open socket that counts what arrives.

    Parameters
    ----------
    sock : socket.socket
        Connected.
    stall : float
        Seconds without a byte after which reading fails; also fewer than 1 KB/s over twice that.
    """

    def __init__(self, sock: socket.socket, stall: float) -> None:
        self.sock = sock
        self.clean = True
        self._window = 2 * stall
        self._bodiless = False
        self._rest = b""
        self._since = 0.0
        self._count = 0
        _limit(sock, stall)

    def ask(self, request: bytes, *, bodiless: bool = False) -> Head:
        """Send a request and read the head of its answer; see :meth:`send` and :meth:`head`."""
        self.send(request, bodiless=bodiless)
        return self.head()

    def send(self, request: bytes, *, bodiless: bool = False) -> None:
        """Send a request.

        Parameters
        ----------
        request : bytes
            With all its headers.
        bodiless : bool
            It is one whose answer has no body: HEAD or CONNECT.

        Raises
        ------
        OSError
            Not sent.
        """
        self.clean = False
        self._bodiless = bodiless
        try:
            self.sock.sendall(request)
        except BlockingIOError as error:
            raise TimeoutError("timed out") from error

    def head(self) -> Head:
        """Read the head of the answer to what was sent.

        Returns
        -------
        Head

        Raises
        ------
        OSError
            Cut, stalled, or no HTTP.
        """
        self._since, self._count = time.monotonic(), 0
        for _ in range(_MOST_ANNOUNCED):
            head = read_head(self._up_to_empty_line())
            if head.status >= 200:
                break
        else:
            raise Garbled("it announces an answer again and again")
        self._bodiless = self._bodiless or head.length == 0 or head.status in (204, 304)
        self.clean = head.keep and self._bodiless
        return head

    def body(self, head: Head, most: int) -> Iterator[bytes]:
        """Give the bytes of the body, each piece as soon as it has arrived.

        Parameters
        ----------
        head : Head
            Of the answer.
        most : int
            Bytes in one piece.

        Yields
        ------
        bytes

        Raises
        ------
        OSError
            Cut, stalled, or no HTTP.
        """
        if self._bodiless:
            return
        if head.chunked:
            yield from self._chunked(most)
        elif (length := head.length) is not None:
            yield from self._exactly(length, most)
        else:
            while piece := self._some(most):
                yield piece
            return
        self.clean = head.keep and not self._rest

    def _exactly(self, length: int, most: int) -> Iterator[bytes]:
        while length:
            piece = self._some(min(length, most))
            if not piece:
                raise Cut(f"it closed with {length} bytes still to come")
            length -= len(piece)
            yield piece

    def _chunked(self, most: int) -> Iterator[bytes]:
        while size := self._chunk_size():
            yield from self._exactly(size, most)
            if self._line():
                raise Garbled("a chunk is longer than it says")
        # trailers say nothing that a download needs
        for _ in range(_MOST_TRAILERS):
            if not self._line():
                return
        raise Garbled("its trailers do not end")

    def _chunk_size(self) -> int:
        line = self._line()
        found = _CHUNK_SIZE.fullmatch(line)
        if not found:
            raise Garbled(f"{line[:20]!r} is no length of a chunk")
        return int(found[1], 16)

    def _line(self) -> bytes:
        while (end := self._rest.find(b"\n")) < 0:
            self._more()
        line, self._rest = self._rest[:end], self._rest[end + 1 :]
        return line.rstrip(b"\r")

    def _up_to_empty_line(self) -> bytes:
        while not (found := _HEAD_END.search(self._rest)):
            self._more()
        head, self._rest = self._rest[: found.start()], self._rest[found.end() :]
        return head

    def _more(self) -> None:
        if len(self._rest) > _MOST_HEAD:
            raise Garbled("its head does not end")
        piece = self._receive(_BLOCK)
        if not piece:
            raise Cut("it closed without an answer" if not self._rest else "it closed in between")
        self._rest += piece

    def _some(self, most: int) -> bytes:
        if self._rest:
            piece, self._rest = self._rest[:most], self._rest[most:]
            return piece
        return self._receive(most)

    def _receive(self, most: int) -> bytes:
        try:
            piece = self.sock.recv(most)
        except BlockingIOError as error:
            raise TimeoutError("timed out") from error
        self._count += len(piece)
        now = time.monotonic()
        if now - self._since >= self._window:
            if piece and self._count < _SLOWEST * self._window:
                raise TimeoutError(
                    f"{self._count} bytes in {now - self._since:.0f} s, slower than 1 KB/s"
                )
            self._since, self._count = now, 0
        return piece


def _limit(sock: socket.socket, seconds: float) -> None:
    """Have each call on the socket end after that time."""
    if type(sock) is not socket.socket or sys.platform != "linux":
        sock.settimeout(seconds)
        return
    # by the system: Python asks before each call whether there is something, and lets other
    # threads run meanwhile, which costs a tenth of the time of a small file
    whole, part = divmod(max(seconds, 1e-6), 1)
    span = struct.pack("@ll", int(whole), int(part * 1e6))
    sock.settimeout(None)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, span)
