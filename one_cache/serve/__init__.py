"""A small data server for one folder: a demo, tests, a lab's own use.

It only reads. What it serves: the files of the folder, with ranges and validators, and
``/tables.json``, which lists the access tables of its root with their hashes. What it hides: names
that start with a dot, ``*.part`` files, and whatever lies outside the folder.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import socket
import socketserver
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, BinaryIO

from one_cache.errors import InvalidArgument
from one_cache.serve.door import Door
from one_cache.serve.site import Reply, Site

__all__ = ["DataServer"]

_logger = logging.getLogger(__name__)

_INLINE = 1 << 16  # up to this size, headers and content leave together
_IDLE = 60.0  # seconds without a byte after which a connection is given up


class DataServer:
    """Serve a folder over HTTP, read-only, to this machine unless told otherwise.

    Parameters
    ----------
    folder : str or path-like
        With the access tables in its root.
    host : str
        Address to listen on; ``"0.0.0.0"`` lets other machines in, which wants a token.
    port : int
        0 takes any free one.
    token : str, optional
        Asked of every request as ``Authorization: Bearer``.
    username, password : str, optional
        Asked of every request by basic authentication.
    readonly : bool
        A promise that scripts may spell out: this server never writes.

    Raises
    ------
    InvalidArgument
        No such folder; half a credential; a port that cannot be had; ``readonly=False``.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from urllib.request import urlopen
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "licks.times.npy").write_bytes(b"0123456789")
    ...     with DataServer(folder) as server, urlopen(f"{server.url}/licks.times.npy") as answer:
    ...         print(answer.read())
    b'0123456789'
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        username: str | None = None,
        password: str | None = None,
        readonly: bool = True,
    ) -> None:
        if not readonly:
            raise InvalidArgument("this server only reads: there is no readonly=False")
        if not os.path.isdir(folder):
            raise InvalidArgument(f"no folder to serve at {os.fspath(folder)}")
        self.folder = os.path.abspath(folder)
        self._site = Site(self.folder)
        self._door = Door(token, username, password)
        self._address = (host, port)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._url = ""

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.folder!r}, {self._url if self._thread else 'stopped'})"
        )

    def __enter__(self) -> DataServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Address of the root, without a slash at its end; after a stop, what it was.

        Raises
        ------
        InvalidArgument
            The port cannot be had: asking for the address of a new server takes it.
        """
        if not self._url:
            self._listen()
        return self._url

    def start(self) -> None:
        """Listen, and answer from a thread; started already, do nothing.

        Raises
        ------
        InvalidArgument
            The port cannot be had.
        """
        server = self._listen()
        if self._thread is not None:
            return
        if not self._door.challenge and not _is_loopback(self._address[0]):
            _logger.warning("%s is open to the network: no token is asked for", self.folder)
        self._thread = threading.Thread(
            # the interval is how long stop() may take
            target=server.serve_forever,
            args=(0.05,),
            name="one_cache.serve",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and end every connection; stopped already, do nothing."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is None:
            return
        if thread is not None:
            server.shutdown()
            thread.join()
        server.server_close()
        server.hang_up()

    def _listen(self) -> _Server:
        if self._server is None:
            host, port = self._address
            try:
                self._server = _Server(self._address, self._site, self._door)
            except (OSError, OverflowError) as error:
                raise InvalidArgument(f"cannot listen on {host} port {port}: {error}") from error
            name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
            name = f"[{name}]" if ":" in name else name
            self._url = f"http://{name}:{self._server.server_port}"
        return self._server

    def serve_forever(self) -> None:
        """Serve until another thread stops it or Ctrl-C is pressed, started or not."""
        self.start()
        try:
            while (thread := self._thread) is not None and thread.is_alive():
                thread.join(1)  # without a limit, Windows would not hear Ctrl-C
        finally:
            self.stop()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Server(ThreadingHTTPServer):
    """A thread for each connection, and an end to all of them."""

    daemon_threads = True
    request_queue_size = 128
    # on Windows the option would let a second server take the same port
    allow_reuse_address = os.name != "nt"

    def __init__(self, address: tuple[str, int], site: Site, door: Door) -> None:
        self.site = site
        self.door = door
        self._live: set[Any] = set()
        self._change = threading.Condition()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer would ask DNS for the name of the host, which can take seconds
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._change:
            self._live.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._change:
            self._live.discard(request)
            self._change.notify_all()

    def hang_up(self) -> None:
        """End the connections that are still open, and wait for their threads."""
        with self._change:
            for connection in self._live:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._change.wait_for(lambda: not self._live, timeout=5)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            _logger.debug("%s went away", client_address[0])
        else:
            _logger.exception("a request of %s failed", client_address[0])


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, has its reply decided, and sends that."""

    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _IDLE
    disable_nagle_algorithm = True
    wbufsize = _INLINE + 4096  # headers and a small file are one packet

    def do_GET(self) -> None:
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            # nobody reads that body, and it must not be taken for the next request
            self.close_connection = True
        self._send(self._decide())

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self.close_connection = True
        self._send(Reply.text(HTTPStatus.METHOD_NOT_ALLOWED, Allow="GET, HEAD"))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse

    def handle_expect_100(self) -> bool:
        if self.command in ("GET", "HEAD"):
            return super().handle_expect_100()
        # who asks before uploading hears the answer before
        self._refuse()
        return False

    def _decide(self) -> Reply:
        if not self.server.door.admits(self.headers.get("Authorization")):
            challenge = self.server.door.challenge
            return Reply.text(HTTPStatus.UNAUTHORIZED, WWW_Authenticate=challenge)
        asked = {name.title(): value for name, value in self.headers.items()}
        try:
            return self.server.site.reply(self.path, asked)
        except OSError as error:
            _logger.warning("%r cannot be read: %s", self.path, error)
            return Reply.text(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _send(self, reply: Reply) -> None:
        try:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.content)
                if reply.source is not None:
                    self._stream(reply.source, reply.start, reply.count)
        finally:
            if reply.source is not None:
                reply.source.close()

    def _stream(self, source: BinaryIO, start: int, count: int) -> None:
        if count <= _INLINE:
            source.seek(start)
            sent = self.wfile.write(source.read(count))
        else:
            self.wfile.flush()
            sent = self.connection.sendfile(source, start, count)
        if sent < count:
            # the file shrank: the client must see that bytes are missing
            self.close_connection = True

    def version_string(self) -> str:
        return "one_cache"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        # nothing reads the query, but somebody may have put a secret there
        line = self.requestline.partition("?")[0]
        _logger.info("%s %r %s", self.client_address[0], line, int(code))

    def log_message(self, format: str, *args: Any) -> None:
        _logger.debug("%s %s", self.client_address[0], ascii(format % args))
