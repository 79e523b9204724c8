"""The way to a host: its address, the proxy before it, and the certificates that are trusted."""

from __future__ import annotations

import base64
import os
import socket
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from one_cache.errors import InvalidArgument, RemoteError
from one_cache.remotes.wire import Wire

if TYPE_CHECKING:
    import ssl

    from one_cache.remotes.connections import Connections


class Origin(NamedTuple):
    """What credentials and connections belong to."""

    scheme: str
    host: str
    port: int


class Address(NamedTuple):
    """A web address, taken apart once.

    Attributes
    ----------
    origin : Origin
        Where to connect to.
    host : str
        As the server is told it, with the port where it is not the usual one.
    target : str
        Path and query.
    """

    origin: Origin
    host: str
    target: str

    @classmethod
    def read(cls, url: str) -> Address:
        """Take an address apart; a user name and password in it are left out.

        Raises
        ------
        InvalidArgument
            Not an address of a web server.

        Examples
        --------
        >>> Address.read("https://me:secret@Data.org/a?b")
        Address(origin=Origin(scheme='https', host='data.org', port=443), host='data.org',
                target='/a?b')
        """
        try:
            parts = urlsplit(url)
            scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
            port = parts.port or (443 if scheme == "https" else 80)
        except ValueError as error:
            raise InvalidArgument(f"no address of a web server: {error}") from None
        if scheme not in ("http", "https") or not host:
            raise InvalidArgument("the address of a web server starts with http:// or https://")
        shown = parts.netloc.rpartition("@")[2].lower()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(Origin(scheme, host, port), shown, target)


def request(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Write a request without a body.

    Raises
    ------
    InvalidArgument
        A line break in it, which would make two requests of one.
    """
    text = "\r\n".join(
        [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    )
    if text.count("\n") != len(headers) or text.count("\r") != len(headers):
        raise InvalidArgument("a line break in an address, a token or a user name")
    return f"{text}\r\n\r\n".encode("latin-1", "replace")


def dial(pool: Connections, to: tuple[str, int]) -> socket.socket:
    """Connect to the first address of a host that answers; the pool may cut it short.

    Raises
    ------
    OSError
        No such name, refused, or no answer in time.
    """
    failure: OSError = OSError(f"no address for {to[0]}")
    try:
        found = socket.getaddrinfo(*to, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "not a name of a host") from error
    for family, kind, protocol, _, address in found:
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


def tunnel(wire: Wire, proxy: SplitResult, target: str) -> None:
    """Have the proxy connect us to `target`.

    Raises
    ------
    RemoteError
        It refuses.
    """
    head = wire.ask(
        request("CONNECT", target, {"Host": target, **proxy_headers(proxy)}), bodiless=True
    )
    if head.status != 200:
        raise RemoteError(
            f"the proxy {proxy.hostname} refuses: {head.status} {head.reason}", head.status
        )


def proxy_of(origin: Origin) -> SplitResult | None:
    """Give the proxy that the environment or the system names for a host."""
    if sys.platform not in ("win32", "darwin") and not any(
        name.lower().endswith("_proxy") for name in os.environ
    ):
        return None
    # slow to import, so only where there may be one
    from urllib.request import getproxies, proxy_bypass

    known = getproxies()
    address = known.get(origin.scheme) or known.get("all")
    if not address or proxy_bypass(f"{origin.host}:{origin.port}"):
        return None
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    if proxy.scheme != "http":
        raise RemoteError(f"a proxy of kind {proxy.scheme!r} is not supported, http is")
    return proxy


def proxy_headers(proxy: SplitResult) -> dict[str, str]:
    """Give what a proxy wants to know of us."""
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


def context() -> ssl.SSLContext:
    """Give the certificates that the environment or the system trusts; read once a process."""
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return _context_of(bundle, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@lru_cache(maxsize=4)
def _context_of(bundle: str | None, file: str | None, folder: str | None) -> ssl.SSLContext:
    """Make a context; `file` and `folder` are read by OpenSSL and part of the key only."""
    # ten milliseconds, and not every server wants it
    import ssl

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
