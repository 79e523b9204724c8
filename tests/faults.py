"""A web server on the loopback that fails as real ones do, when a test asks for it."""

import contextlib
import gzip
import hashlib
import itertools
import re
import socket
import ssl
import struct
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from urllib.parse import quote, unquote


@dataclass
class Asked:
    """A request that arrived."""

    method: str
    path: str
    headers: dict = field(default_factory=dict)


class Exchange:
    """One request and the means to answer it, well or badly."""

    def __init__(self, server, sock, asked):
        self.server = server
        self.sock = sock
        self.asked = asked
        self.content = server.files.get(asked.path)
        self.open = True

    @property
    def etag(self):
        return _etag(self.content) if self.server.etags else None

    @property
    def start(self):
        """First byte to send: what the range asks for, if the version still is the one meant."""
        found = re.fullmatch(r"bytes=(\d+)-", self.asked.headers.get("range", ""))
        meant = self.asked.headers.get("if-range")
        return int(found[1]) if found and meant in (None, self.etag) else 0

    def head(self, status, **headers):
        lines = [f"HTTP/1.1 {status} Whatever", f"Date: {formatdate(usegmt=True)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def send(self, data):
        self.sock.sendall(data)

    def body(self, data):
        """Send bytes of a file, at the server's pace."""
        for at in range(0, len(data), self.server.piece):
            piece = data[at : at + self.server.piece]
            # before it goes: a test looks as soon as the client has it
            self.server.sent[self.asked.path] += len(piece)
            try:
                self.send(piece)
            except OSError:
                self.server.sent[self.asked.path] -= len(piece)
                raise
            if self.server.rate:
                time.sleep(len(piece) / self.server.rate)

    def good_head(self, **changed):
        """Send the head of a right answer; give the bytes that should follow."""
        start = self.start
        if start and start >= len(self.content):
            self.head(416, Content_Range=f"bytes */{len(self.content)}", Content_Length=0)
            return b""
        rest = self.content[start:]
        headers = {"Content_Length": len(rest), "Accept_Ranges": "bytes"}
        if self.etag:
            headers["ETag"] = self.etag
        if start:
            last = len(self.content) - 1
            headers["Content_Range"] = f"bytes {start}-{last}/{len(self.content)}"
        headers.update(changed)
        self.head(
            206 if start else 200,
            **{name: value for name, value in headers.items() if value is not None},
        )
        return rest

    def close(self, *, reset=False):
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.open = False

    def hold(self, seconds=60.0):
        """Do nothing until the client gives up."""
        self.server.stopped.wait(seconds)
        self.close()


class FaultServer:
    """Serves `files`; what `faults` names for a path answers its next requests instead.

    Attributes
    ----------
    files : dict of str to bytes
        Path to content; may be changed at any time.
    faults : dict of str to deque
        Path to the functions that answer its next requests, one each; None is a right answer.
    always : dict of str to callable
        Path to the function that answers all the others.
    asked : list of Asked
        Every request.
    sent : Counter
        Bytes of bodies, by path.
    rate : float or None
        Bytes a second on each connection.
    """

    def __init__(self, files, *, context=None, etags=True, rate=None, piece=1 << 16):
        self.files = dict(files)
        self.faults = {}
        self.always = {}
        self.asked = []
        self.sent = Counter()
        self.etags = etags
        self.rate = rate
        self.piece = piece
        self.stopped = threading.Event()
        self.connections = 0
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.settimeout(0.2)
        self._open = set()
        self._threads = []
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self):
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self._listener.close()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 0.2).close()
        self._thread.join(2)
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def fail(self, path, *faults, always=None):
        """Say how the next requests for a path are answered, and all after them."""
        self.faults[path] = deque(faults)
        self.always.pop(path, None)
        if always is not None:
            self.always[path] = always

    def heal(self):
        self.faults.clear()
        self.always.clear()

    def count(self, path):
        return sum(asked.path == path for asked in self.asked)

    def _listen(self):
        while not self.stopped.is_set():
            try:
                sock, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock):
        sock.settimeout(30)
        self._open.add(sock)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                raw, sock = sock, self._context.wrap_socket(sock, server_side=True)
                self._open.discard(raw)
                self._open.add(sock)
            buffer = b""
            while not self.stopped.is_set():
                while b"\r\n\r\n" not in buffer:
                    data = sock.recv(65536)
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                exchange = Exchange(self, sock, self._read(head))
                self._answer(exchange)
                if not exchange.open:
                    return
        except (OSError, ssl.SSLError):
            pass
        finally:
            self._open.discard(sock)
            sock.close()

    def _read(self, head):
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        # a proxy hands on the whole address
        target = re.sub(r"^http://[^/]*", "", target)
        asked = Asked(method, unquote(target.partition("?")[0]).lstrip("/"), headers)
        self.asked.append(asked)
        return asked

    def _answer(self, exchange):
        path = exchange.asked.path
        queue = self.faults.get(path)
        fault = queue.popleft() if queue else self.always.get(path)
        if fault is not None:
            fault(exchange)
        elif exchange.content is None:
            exchange.head(404, Content_Length=0)
        elif exchange.asked.method == "HEAD":
            exchange.good_head()
        else:
            exchange.body(exchange.good_head())


@lru_cache(maxsize=64)
def _etag(content):
    return f'"{hashlib.md5(content).hexdigest()}"'


# the faults: each answers one request


def truncated(x):
    rest = x.good_head()
    x.body(rest[: len(rest) // 2])
    x.close()


def truncated_without_length(x):
    rest = x.good_head(Content_Length=None, Connection="close")
    x.body(rest[: len(rest) // 2])
    x.close()


def truncated_chunked(x):
    rest = x.good_head(Content_Length=None, Transfer_Encoding="chunked")
    x.send(f"{len(rest):x}\r\n".encode())
    x.body(rest[: len(rest) // 2])
    x.close()


def reset_in_the_middle(x):
    rest = x.good_head()
    x.body(rest[: len(rest) // 2])
    # lets what was sent arrive: a reset overtakes it
    time.sleep(0.05)
    x.close(reset=True)


def closed_without_answer(x):
    x.close()


def stalled_before_the_head(x):
    x.hold()


def stalled_in_the_head(x):
    x.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    x.hold()


def stalled_in_the_body(x):
    rest = x.good_head()
    x.body(rest[: len(rest) // 2])
    x.hold()


def dripping_body(x):
    for byte in x.good_head():
        x.send(bytes([byte]))
        if x.server.stopped.wait(0.1):
            return


def dripping_head(x):
    for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000:
        x.send(bytes([byte]))
        if x.server.stopped.wait(0.1):
            return


def status(code, **headers):
    def answer(x):
        x.head(code, Content_Length=3, **headers)
        x.send(b"no\n")

    return answer


def retry_after_date(seconds):
    def answer(x):
        # the server's clock is a day behind: only its own Date makes sense of it
        now = time.time() - 86400
        x.send(
            "HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\n"
            f"Date: {formatdate(now, usegmt=True)}\r\n"
            f"Retry-After: {formatdate(now + seconds, usegmt=True)}\r\n\r\n".encode()
        )

    return answer


def length_too_small(x):
    rest = x.good_head(Content_Length=max(0, len(x.content) - x.start - 10))
    x.body(rest)
    x.close()


def length_too_large(x):
    rest = x.good_head(Content_Length=len(x.content) - x.start + 10)
    x.body(rest)
    x.close()


def length_garbled(x):
    x.body(x.good_head(Content_Length="twelve"))
    x.close()


def wrong_byte(x):
    rest = bytearray(x.good_head())
    rest[len(rest) // 2] ^= 1
    x.body(bytes(rest))


def changed(x):
    """From now on there is another version, of the same length."""
    x.server.files[x.asked.path] = x.content = bytes(byte ^ 0xFF for byte in x.content)
    x.body(x.good_head())


def range_ignored(x):
    x.asked.headers.pop("range", None)
    x.body(x.good_head())


def range_refused(x):
    if x.start:
        x.head(416, Content_Range=f"bytes */{len(x.content)}", Content_Length=0)
    else:
        x.body(x.good_head())


def range_elsewhere(x):
    """A part that starts ten bytes late."""
    if not x.start:
        return x.body(x.good_head())
    start = x.start + 10
    rest = x.content[start:]
    x.head(
        206,
        Content_Length=len(rest),
        Content_Range=f"bytes {start}-{len(x.content) - 1}/{len(x.content)}",
    )
    return x.body(rest)


def range_of_another_version(x):
    """A part of other bytes, of which only the ETag tells."""
    if not x.start:
        return x.body(x.good_head())
    return x.body(bytes(byte ^ 1 for byte in x.good_head(ETag='"another"')))


def range_with_wrong_bytes(x):
    if not x.start:
        return x.body(x.good_head())
    return x.body(bytes(byte ^ 1 for byte in x.good_head()))


def range_without_content_range(x):
    rest = x.good_head(Content_Range=None)
    x.body(rest)


def gzipped(x):
    data = gzip.compress(x.content)
    x.head(200, Content_Length=len(data), Content_Encoding="gzip", ETag='"zip"')
    x.body(data)


def gzipped_and_cut(x):
    data = gzip.compress(x.content)
    x.head(200, Content_Encoding="gzip", Connection="close")
    x.body(data[: len(data) // 2])
    x.close()


def compressed_unknown(x):
    x.body(x.good_head(Content_Encoding="br"))


def chunked(x):
    rest = x.good_head(Content_Length=None, Transfer_Encoding="chunked")
    for at in range(0, len(rest), 1 + len(rest) // 7):
        piece = rest[at : at + 1 + len(rest) // 7]
        x.send(f"{len(piece):x};name=value\r\n".encode())
        x.body(piece)
        x.send(b"\r\n")
    x.send(b"0\r\nTrailer: yes\r\n\r\n")


def chunked_garbled(x):
    x.good_head(Content_Length=None, Transfer_Encoding="chunked")
    x.send(b"zz\r\nwhat\r\n")
    x.close()


def without_length(x):
    x.body(x.good_head(Content_Length=None, Connection="close"))
    x.close()


def empty_body(x):
    x.head(200, Content_Length=0)


def html_page(x):
    page = b"<html><body>Please log in</body></html>"
    x.head(200, Content_Length=len(page), Content_Type="text/html; charset=utf-8")
    x.body(page)


def no_http(x):
    x.send(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n")
    x.close()


def announced(x):
    x.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    x.body(x.good_head())


def redirect_chain(length):
    """Send the client on `length` times, then answer."""
    left = itertools.count(length, -1)

    def answer(x):
        if next(left) > 0:
            x.head(302, Location=f"/{quote(x.asked.path)}", Content_Length=0)
        else:
            x.body(x.good_head())

    return answer


def redirect_to(url, code=302):
    def answer(x):
        x.head(code, Location=f"{url}/{quote(x.asked.path)}", Content_Length=0)

    return answer


def redirect_loop(x):
    x.head(301, Location=f"/{quote(x.asked.path)}", Content_Length=0)
