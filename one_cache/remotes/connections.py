"""HTTP connections of one call: kept while it lasts, closed at its end, cut on an interrupt."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from contextvars import ContextVar
from types import TracebackType

from one_cache.errors import RemoteError, TransferFailed
from one_cache.remotes.route import (
    Address,
    Origin,
    context,
    dial,
    proxy_headers,
    proxy_of,
    request,
    tunnel,
)
from one_cache.remotes.wire import Cut, Head, Wire

_PIECE = 1 << 18  # bytes at once: what is hashed and written next is still near the processor
_SHORT = 1 << 15  # bytes that are read rather than to connect anew
_IDLE = 1.0  # s, after which it is worth to look whether the server has closed
_current: ContextVar[Connections | None] = ContextVar("one_cache_connections", default=None)


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
    most : int, optional
        Connections to one host at once; who needs one more waits.

    Examples
    --------
    >>> with Connections(stall=5.0) as connections, connections.used():
    ...     connections is current()
    True
    """

    def __init__(
        self,
        *,
        stall: float = 30.0,
        connect: float = 10.0,
        keep: bool = True,
        most: int | None = None,
    ) -> None:
        self.stall = stall
        self.connect = min(connect, stall)
        self._keep = keep
        self._most = most
        self._count: Counter[Origin] = Counter()
        self._idle: dict[Origin, list[_Connection]] = {}
        self._ahead: dict[Hashable, _Connection] = {}
        self._open: set[socket.socket] = set()
        self._lock = threading.Condition(threading.Lock())
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

    def send(self, method: str, address: Address, headers: Mapping[str, str]) -> Answer:
        """Send one request and read the head of the answer; redirects are the caller's.

        Parameters
        ----------
        method : {"GET", "HEAD"}
            What to ask.
        address : Address
            Of what.
        headers : mapping
            Beyond ``Host``.

        Returns
        -------
        Answer

        Raises
        ------
        TransferFailed
            Not reached, cut, or stalled.
        RemoteError
            The certificate is not trusted.
        """
        sent = self._pop((method, address, tuple(headers.items()))) if self._ahead else None
        while True:
            connection, fresh = (sent, False) if sent else self._take(address.origin)
            try:
                if not sent:
                    connection.send(method, address, headers)
                return Answer(self, connection, connection.head())
            except OSError as error:
                sent = None
                connection.close()
                if fresh or isinstance(error, TimeoutError) or self._cut:
                    raise explain(error, address.origin) from error
                # closed by the server while it was idle: no failure, ask on a new one
            except BaseException:
                connection.close()
                raise

    def send_ahead(
        self, method: str, address: Address, headers: Mapping[str, str]
    ) -> Hashable | None:
        """Send a request whose answer will soon be asked for, with :meth:`send`.

        Then the answer arrives while the thread is busy with another one. Whatever goes wrong is
        left for :meth:`send`, which sends it again.

        Returns
        -------
        hashable or None
            For :meth:`drop`; None if nothing was sent, as when the same is under way already.
        """
        key = (method, address, tuple(headers.items()))
        if key in self._ahead:
            return None
        connection, _ = self._take(address.origin)
        try:
            connection.send(method, address, headers)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError):
                return None
            raise
        with self._lock:
            if not self._cut:
                self._ahead[key] = connection
                return key
        connection.close()
        return None

    def drop(self, key: Hashable) -> None:
        """Close the connection of a request that was sent ahead, if nobody asked for the answer.

        Otherwise it would count among those to its host until the call ends.
        """
        if key in self._ahead and (connection := self._pop(key)):
            connection.close()

    def release(self, connection: _Connection) -> None:
        """Keep a connection for the next request if nothing of its answer is left, or close it."""
        if connection.clean and self._keep:
            with self._lock:
                if not self._cut:
                    connection.idle_since = time.monotonic()
                    self._idle.setdefault(connection.origin, []).append(connection)
                    self._lock.notify_all()
                    return
        connection.close()

    def cut(self) -> None:
        """End everything: threads that wait for a byte get an error at once."""
        with self._lock:
            self._cut = True
            idle = [connection for kept in self._idle.values() for connection in kept]
            idle += self._ahead.values()
            self._idle.clear()
            self._ahead.clear()
            for connection in idle:
                self._open.discard(connection.socket)
            waited = list(self._open)
            self._lock.notify_all()
        for sock in waited:
            with contextlib.suppress(OSError):
                # not the method of a TLS socket: it would have the reader take ciphertext for data
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
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

    def left(self, connection: _Connection) -> None:
        """Know that a connection is closed, so that another one may be opened."""
        with self._lock:
            self._count[connection.origin] -= 1
            # all: the one who wakes may wait for another host
            self._lock.notify_all()

    def _pop(self, key: Hashable) -> _Connection | None:
        with self._lock:
            return self._ahead.pop(key, None)

    def _take(self, origin: Origin) -> tuple[_Connection, bool]:
        while True:
            with self._lock:
                # one more than allowed is better than waiting for ever
                self._lock.wait_for(lambda: self._has_room(origin), self.stall)
                kept = self._idle.get(origin)
                if not kept:
                    connection = _Connection(self, origin)
                    self._count[origin] += 1
                    return connection, True
                connection = kept.pop()
            if connection.is_open():
                return connection, False
            connection.close()

    def _has_room(self, origin: Origin) -> bool:
        full = self._most is not None and self._count[origin] >= self._most
        return bool(self._idle.get(origin)) or not full or self._cut


def current() -> Connections | None:
    """Give the connections that the surrounding block uses, if there is one."""
    return _current.get()


class Answer:
    """The answer to one request: its head has been read, its body has not.

    Attributes
    ----------
    status : int
        Of HTTP.
    reason : str
        The server's word for it.
    headers : mapping of str to str
        Names in lower case.
    """

    def __init__(self, pool: Connections, connection: _Connection, head: Head) -> None:
        self._pool = pool
        self._connection: _Connection | None = connection
        self._head = head
        self._origin = connection.origin
        self.status = head.status
        self.reason = head.reason
        self.headers = head.headers
        self.length = head.length

    @property
    def ends(self) -> bool:
        """Whether the end of the body is marked, rather than by closing the connection."""
        return self._head.chunked or self.length is not None

    def chunks(self, most: int = _PIECE) -> Iterator[bytes]:
        """Give the bytes of the body, each piece as soon as it has arrived.

        Raises
        ------
        TransferFailed
            Cut or stalled.
        """
        if self._connection is None:
            raise TransferFailed("the answer is closed")
        try:
            yield from self._connection.body(self._head, most)
        except OSError as error:
            raise explain(error, self._origin) from error

    def read(self, most: int = 64 << 20) -> bytes:
        """Read the whole body and close.

        Raises
        ------
        RemoteError
            Longer than `most` bytes.
        TransferFailed
            Cut or stalled.
        """
        pieces, total = [], 0
        try:
            for piece in self.chunks():
                pieces.append(piece)
                total += len(piece)
                if total > most:
                    raise RemoteError(f"the answer is longer than {most} bytes", self.status)
        finally:
            self.close()
        return b"".join(pieces)

    def dismiss(self) -> None:
        """Give the connection back, after reading what is left of a short body."""
        if self.ends and (self.length or 0) <= _SHORT:
            with contextlib.suppress(TransferFailed):
                left = _SHORT
                for piece in self.chunks(_SHORT):
                    left -= len(piece)
                    if left < 0:
                        break
        self.close()

    def close(self) -> None:
        """Give the connection back; it is closed where something of the body is still to come."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.release(connection)


class _Connection:
    """One connection to one origin, through the proxy that the environment names."""

    def __init__(self, pool: Connections, origin: Origin) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self._pool = pool
        self._counts = True
        self._wire: Wire | None = None
        self._proxy = proxy_of(origin)

    @property
    def clean(self) -> bool:
        """Whether the next request can be sent on it."""
        return self._wire is not None and self._wire.clean

    @property
    def socket(self) -> socket.socket | None:
        """What to close."""
        return self._wire.sock if self._wire else None

    def send(self, method: str, address: Address, headers: Mapping[str, str]) -> None:
        """Send a request."""
        if self._wire is None:
            self._wire = self._connect()
        target = address.target
        if self._proxy and self.origin.scheme == "http":
            target = f"http://{address.host}{target}"
            headers = {**headers, **proxy_headers(self._proxy)}
        text = request(method, target, {"Host": address.host, **headers})
        self._wire.send(text, bodiless=method == "HEAD")

    def head(self) -> Head:
        """Read the head of the answer."""
        if self._wire is None:
            raise Cut("it was closed")
        return self._wire.head()

    def body(self, head: Head, most: int) -> Iterator[bytes]:
        """Give the bytes of the body."""
        return self._wire.body(head, most) if self._wire else iter(())

    def is_open(self) -> bool:
        """Tell whether the server has left the idle connection open."""
        if self._wire is None:
            return False
        if time.monotonic() - self.idle_since < _IDLE:
            return True
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._wire.sock, select.POLLIN)
            return not poll.poll(0)
        return not select.select([self._wire.sock], [], [], 0)[0]

    def close(self) -> None:
        """Close it now, whatever still arrives."""
        wire, self._wire = self._wire, None
        if wire is not None:
            self._pool.forget(wire.sock)
            wire.sock.close()
        if self._counts:
            self._counts = False
            self._pool.left(self)

    def _connect(self) -> Wire:
        scheme, host, port = self.origin
        proxy = self._proxy
        to = (proxy.hostname or "", proxy.port or 80) if proxy else (host, port)
        sock = dial(self._pool, to)
        try:
            if scheme == "https":
                if proxy:
                    tunnel(Wire(sock, self._pool.stall), proxy, f"{host}:{port}")
                plain = sock
                plain.settimeout(self._pool.stall)
                # an end without notice is a cut, not the end of a body
                sock = context().wrap_socket(
                    plain, server_hostname=host, suppress_ragged_eofs=False
                )
                self._pool.forget(plain)
                self._pool.watch(sock)
            return Wire(sock, self._pool.stall)
        except BaseException:
            self._pool.forget(sock)
            sock.close()
            raise


def explain(error: OSError, origin: Origin) -> TransferFailed | RemoteError:
    """Say what became of a connection; what cannot heal is a RemoteError."""
    host = origin.host
    if isinstance(error, (TransferFailed, RemoteError)):
        return error
    if type(error).__name__ == "SSLCertVerificationError":
        why = getattr(error, "verify_message", "")
        return RemoteError(
            f"the certificate of {host} is not trusted: {why}. If your institute "
            "signs its own, name its bundle in REQUESTS_CA_BUNDLE or SSL_CERT_FILE"
        )
    if isinstance(error, socket.gaierror):
        return TransferFailed(f"the name {host!r} cannot be resolved ({error.strerror})")
    if isinstance(error, ConnectionRefusedError):
        return TransferFailed(f"{host}:{origin.port} refuses connections")
    if isinstance(error, TimeoutError):
        return TransferFailed(f"{host} stalled ({error})")
    if isinstance(error, Cut):
        return TransferFailed(f"{host} broke off: {error}")
    return TransferFailed(f"the connection to {host} broke ({type(error).__name__}: {error})")
