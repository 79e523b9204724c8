"""HTTP connections of one call: kept while it lasts, closed at its end, cut on an interrupt.

Built on :mod:`http.client`: per small file it takes half the time of urllib3 and a fourth of
requests', and its sockets are at hand. That is needed to end a call at once, and to notice a
server that sends a byte now and then, which no read timeout does.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from types import TracebackType
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from one_cache.errors import RemoteError, TransferFailed

_SLOWEST = 1024  # bytes/s; below it for two stall times, the connection is given up
_BUFFER = 1 << 16
Origin = tuple[str, str, int]

_current: ContextVar[Connections | None] = ContextVar("one_cache_connections", default=None)


def origin_of(url: SplitResult) -> Origin:
    """Give scheme, host and port: what credentials and connections belong to."""
    scheme = url.scheme.lower()
    return scheme, (url.hostname or "").lower(), url.port or (443 if scheme == "https" else 80)


class Connections:
    """The connections of one call, to any number of hosts.

    Parameters
    ----------
    stall : float
        Seconds without a byte after which a connection is given up; also fewer than 1 KB/s over
        twice that time.
    connect : float
        Seconds to reach each address of a host.
    keep : bool
        Keep a connection for the next request; otherwise each ends with its answer.

    Examples
    --------
    >>> with Connections(stall=5.0).used() as connections:
    ...     connections is current()
    True
    """

    def __init__(self, *, stall: float = 30.0, connect: float = 10.0, keep: bool = True) -> None:
        self.stall = stall
        self.keep = keep
        self.connect = min(connect, stall)
        self._idle: dict[Origin, list[Connection]] = {}
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._cut = False

    @contextlib.contextmanager
    def used(self) -> Iterator[Connections]:
        """Use these connections for every request that this thread makes in the block."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)

    def __enter__(self) -> Connections:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cut()

    def send(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        """Send one request and read the head of the answer; redirects are the caller's.

        Raises
        ------
        TransferFailed
            Not reached, cut, or stalled.
        RemoteError
            The certificate is not trusted, or what answers does not speak HTTP.
        """
        parts = urlsplit(url)
        origin = origin_of(parts)
        while True:
            connection, fresh = self._take(origin)
            try:
                return connection.ask(method, parts, headers)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if fresh or isinstance(error, TimeoutError) or self._cut:
                    raise explain(error, origin) from error
                # closed by the server while it was idle: no failure, ask on a new one

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        with self._lock:
            if self.keep and not self._cut:
                self._idle.setdefault(connection.origin, []).append(connection)
                return
        connection.close()

    def cut(self) -> None:
        """End everything: threads that wait for a byte get an error at once."""
        with self._lock:
            self._cut = True
            idle = [connection for kept in self._idle.values() for connection in kept]
            self._idle.clear()
            waited = list(self._open)
        for sock in waited:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for connection in idle:
            connection.close()

    def watch(self, sock: socket.socket) -> None:
        """Know of an open socket, so that :meth:`cut` reaches it."""
        with self._lock:
            if self._cut:
                raise ConnectionAbortedError("the call was ended")
            self._open.add(sock)

    def forget(self, sock: socket.socket) -> None:
        """Forget a socket that is closed."""
        with self._lock:
            self._open.discard(sock)

    def _take(self, origin: Origin) -> tuple[Connection, bool]:
        while True:
            with self._lock:
                kept = self._idle.get(origin)
                connection = kept.pop() if kept else None
            if connection is None:
                return Connection(self, origin), True
            if connection.is_alive():
                return connection, False
            connection.close()


def current() -> Connections | None:
    """Give the connections that the surrounding block uses, if there is one."""
    return _current.get()


class Connection:
    """One connection to one origin, through the proxy that the environment names."""

    def __init__(self, pool: Connections, origin: Origin) -> None:
        self.pool = pool
        self.origin = origin
        scheme, host, port = origin
        self._proxy = _proxy(scheme, host)
        self._http = http.client.HTTPConnection(host, port)
        # http.client connects by itself unless there is a socket already
        self._http.auto_open = 0
        self._line: _Line | None = None

    def ask(self, method: str, url: SplitResult, headers: Mapping[str, str]) -> Answer:
        """Send a request and read the head of the answer."""
        if self._line is None:
            self._connect()
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        host = url.netloc.rpartition("@")[2]
        headers = {"Host": host, **headers}
        if self._proxy and self.origin[0] == "http":
            target = f"http://{host}{target}"
            headers.update(_proxy_headers(self._proxy))
        if self._line is not None:
            self._line.begin()
        self._http.request(method, target, headers=headers)
        return Answer(self, self._http.getresponse())

    def is_alive(self) -> bool:
        """Tell whether the server has left the idle connection open."""
        return self._line is not None and not self._line.readable()

    def keep(self) -> None:
        """Give it back to the pool."""
        self.pool.give_back(self)

    def close(self) -> None:
        """Close it now, whatever still arrives."""
        line, self._line = self._line, None
        self._http.close()
        if line is not None:
            line.end()

    def _connect(self) -> None:
        scheme, host, port = self.origin
        proxy = self._proxy
        to = (proxy.hostname or "", proxy.port or 80) if proxy else (host, port)
        sock = _dial(self.pool, to)
        try:
            if scheme == "https":
                if proxy:
                    _tunnel(sock, proxy, f"{host}:{port}")
                raw = sock
                sock = _context().wrap_socket(raw, server_hostname=host)
                self.pool.forget(raw)
                self.pool.watch(sock)
            sock.settimeout(self.pool.stall)
        except BaseException:
            self.pool.forget(sock)
            sock.close()
            raise
        self._line = _Line(self.pool, sock)
        self._http.sock = self._line


class Answer:
    """The answer to one request: its head has been read, its body has not.

    Attributes
    ----------
    status : int
        Of HTTP.
    reason : str
        The server's word for it.
    headers : http.client.HTTPMessage
        Names in any case.
    """

    def __init__(self, connection: Connection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        self.status = response.status
        self.reason = response.reason
        self.headers = response.headers

    @property
    def length(self) -> int | None:
        """Bytes of the body that are still to come, where the head says it."""
        length: int | None = self._response.length
        return length

    @property
    def delimited(self) -> bool:
        """Tell whether the end of the body is marked, rather than by closing the connection."""
        return bool(self._response.chunked) or self._response.length is not None

    def chunks(self, size: int = 1 << 20) -> Iterator[bytes]:
        """Give the bytes of the body, each chunk as soon as it has arrived.

        Raises
        ------
        TransferFailed
            Cut or stalled.
        """
        response = self._response
        try:
            while response.length != 0:
                chunk = response.read1(size)
                if not chunk:
                    break
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            raise explain(error, self._connection.origin) from error
        if response.length:
            raise TransferFailed(f"the server closed with {response.length} bytes still to come")

    def read(self, most: int = 64 << 20) -> bytes:
        """Read the whole body and close.

        Raises
        ------
        RemoteError
            Longer than `most` bytes.
        TransferFailed
            Cut or stalled.
        """
        parts, total = [], 0
        try:
            for chunk in self.chunks():
                parts.append(chunk)
                total += len(chunk)
                if total > most:
                    raise RemoteError(f"the answer is longer than {most} bytes", self.status)
        finally:
            self.close()
        return b"".join(parts)

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it."""
        response, connection = self._response, self._connection
        ended = response.length == 0 if response.length is not None else response.isclosed()
        response.close()
        if ended and not response.will_close:
            connection.keep()
        else:
            connection.close()


class _Line:
    """What http.client needs of a socket; counts what arrives and closes when nobody reads."""

    def __init__(self, pool: Connections, sock: socket.socket) -> None:
        self._pool = pool
        self._sock = sock
        self._readers = 0
        self._closing = False
        self._window = 2 * pool.stall
        self.begin()

    def begin(self) -> None:
        """Start to count: a request goes out."""
        self._since = time.monotonic()
        self._bytes = 0

    def sendall(self, data: bytes) -> None:
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        self._readers += 1
        return io.BufferedReader(_Reader(self), _BUFFER)

    def read_into(self, buffer: Any) -> int:
        count = self._sock.recv_into(buffer)
        self._bytes += count
        now = time.monotonic()
        if now - self._since >= self._window:
            if count and self._bytes < _SLOWEST * self._window:
                raise TimeoutError(
                    f"{self._bytes} bytes in {now - self._since:.0f} s: slower than 1 KB/s"
                )
            self._since, self._bytes = now, 0
        return count

    def readable(self) -> bool:
        """Tell whether something arrived that nobody asked for: bytes, or the end."""
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._sock, select.POLLIN)
            return bool(poll.poll(0))
        return bool(select.select([self._sock], [], [], 0)[0])

    def reader_closed(self) -> None:
        self._readers -= 1
        if self._closing:
            self.end()

    def close(self) -> None:
        # http.client closes its side while the answer is still being read
        self._closing = True
        if not self._readers:
            self.end()

    def end(self) -> None:
        self._pool.forget(self._sock)
        self._sock.close()


class _Reader(io.RawIOBase):
    def __init__(self, line: _Line) -> None:
        self._line: _Line | None = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._line is None:
            raise ValueError("read after close")
        return self._line.read_into(buffer)

    def close(self) -> None:
        line, self._line = self._line, None
        super().close()
        if line is not None:
            line.reader_closed()


def explain(error: Exception, origin: Origin) -> TransferFailed | RemoteError:
    """Say what became of a connection; the causes that cannot heal are a RemoteError."""
    host = origin[1]
    if isinstance(error, ssl.SSLCertVerificationError):
        return RemoteError(
            f"the certificate of {host} is not trusted: {error.verify_message}. If your institute "
            "signs its own, name its bundle in REQUESTS_CA_BUNDLE or SSL_CERT_FILE"
        )
    if isinstance(error, socket.gaierror):
        return TransferFailed(f"the name {host!r} cannot be resolved ({error.strerror})")
    if isinstance(error, ConnectionRefusedError):
        return TransferFailed(f"{host}:{origin[2]} refuses connections")
    if isinstance(error, TimeoutError):
        return TransferFailed(f"{host} stalled ({error})")
    if isinstance(error, http.client.IncompleteRead):
        return TransferFailed(f"{host} closed in the middle")
    return TransferFailed(f"the connection to {host} broke ({type(error).__name__}: {error})")


def _dial(pool: Connections, to: tuple[str, int]) -> socket.socket:
    """Connect to the first address that answers."""
    failure: OSError = OSError(f"no address for {to[0]}")
    for family, kind, protocol, _, address in socket.getaddrinfo(*to, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            pool.watch(sock)
            sock.settimeout(pool.connect)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            pool.forget(sock)
            sock.close()
            failure = error
            if isinstance(error, ConnectionAbortedError):
                break
    raise failure


def _tunnel(sock: socket.socket, proxy: SplitResult, target: str) -> None:
    """Have the proxy connect us to `target`."""
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    lines += [f"{name}: {value}" for name, value in _proxy_headers(proxy).items()]
    sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
    response = http.client.HTTPResponse(sock, method="CONNECT")
    try:
        response.begin()
        if response.status != 200:
            raise RemoteError(
                f"the proxy {proxy.hostname} refuses: {response.status} {response.reason}",
                response.status,
            )
    finally:
        response.close()


def _proxy(scheme: str, host: str) -> SplitResult | None:
    """Give the proxy that the environment or the system names for a host."""
    from urllib.request import getproxies, proxy_bypass

    address = getproxies().get(scheme) or getproxies().get("all")
    if not address or proxy_bypass(host):
        return None
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    if proxy.scheme != "http":
        raise RemoteError(f"a proxy of kind {proxy.scheme!r} is not supported; http is")
    return proxy


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    return {"Proxy-Authorization": basic(unquote(proxy.username), unquote(proxy.password or ""))}


def basic(username: str, password: str) -> str:
    """Give the header value of a user name and password.

    Examples
    --------
    >>> basic("user", "pass")
    'Basic dXNlcjpwYXNz'
    """
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def _context() -> ssl.SSLContext:
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return _context_of(bundle, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@lru_cache(maxsize=4)
def _context_of(bundle: str | None, file: str | None, folder: str | None) -> ssl.SSLContext:
    """Make a context; `file` and `folder` are read by OpenSSL and part of the key only."""
    try:
        if bundle:
            is_folder = os.path.isdir(bundle)
            return ssl.create_default_context(
                cafile=None if is_folder else bundle, capath=bundle if is_folder else None
            )
        context = ssl.create_default_context()
    except (OSError, ssl.SSLError) as error:
        raise RemoteError(f"the certificates of {bundle} cannot be read: {error}") from error
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or paths.capath) and os.name != "nt":
        # a Python without the system's certificates, as some installers bring
        import certifi

        context.load_verify_locations(certifi.where())
    return context
