"""A neuPrint server on loopback that answers from recorded exchanges, and fails as servers do.

``with NeuprintDouble() as server:`` gives ``server.url``, ``server.certificate``, what was asked
(``server.asked``), and ways to change the answers: ``server.say(...)``, ``server.fail(...)``,
``server.edit()``. The exchanges in ``data/neuprint/tape.json.gz`` were recorded with

    python neuprint_double.py record SERVER CERTIFICATE

from a server whose small synthetic dataset reproduces the tables that neuprint-python's page of
queries prints. The key of the certificate is public, and good for nothing but these tests.
"""

import contextlib
import gzip
import json
import re
import ssl
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DATA = Path(__file__).parent / "data" / "neuprint"
TAPE = DATA / "tape.json.gz"
CERTIFICATE = DATA / "loopback.pem"
DATASET = "hemibrain:v1.2.1"


def key_of(method, path, body):
    """Name an exchange; the words of a query count, in any order: sets order some of them."""
    if not body:
        return f"{method} {path}"
    asked = json.loads(body)
    words = sorted(re.findall(r"\w+|[^\w\s]", asked.pop("cypher", "")))
    return f"{method} {path} {json.dumps(asked, sort_keys=True)} {' '.join(words)}"


class NeuprintDouble:
    """The server, for a ``with`` block."""

    def __init__(self, tape=None, upstream=None, port=0):
        if tape is None and TAPE.exists():
            tape = json.loads(gzip.decompress(TAPE.read_bytes()))
        self.tape = dict(tape or {})
        self.upstream = upstream
        self.asked = []
        self.unknown = []
        self.tokens = set()
        self._said = []
        self._failing = []
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"double": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_suffix(".key"))
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port = self._server.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.certificate = str(CERTIFICATE)

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()

    # -- what tests arrange ------------------------------------------------------------------

    def say(self, part, columns=(), data=(), *, status=200, body=None, media="application/json"):
        """Answer what contains `part` with these rows, or with this status and body."""
        table = json.dumps({"columns": list(columns), "data": list(data), "debug": "said"})
        self._said.insert(0, (part, (status, media, table if body is None else body)))

    def fail(self, times, status=502, body="<html>Bad Gateway</html>", *, on="", headers=()):
        """Fail the next requests whose text contains `on`; status 0 cuts the connection.

        A float instead of a status is a silence of so many seconds before the cut.
        """
        self._failing.append([times, status, body, on, dict(headers)])

    def edit(self, **changes):
        """Change what the server says of the dataset."""
        path = "GET /api/dbmeta/datasets"
        status, media, body = self.tape[path]
        known = json.loads(body)
        known[DATASET].update(changes or {"last-mod": f"edited {time.time_ns()}"})
        self.tape[path] = [status, media, json.dumps(known)]

    @property
    def counts(self):
        """How often each path was asked."""
        return Counter(f"{method} {path}" for method, path, _ in self.asked)

    def forget(self):
        """Count from here."""
        self.asked.clear()

    # -- what it answers ---------------------------------------------------------------------

    def answer(self, method, path, body):
        text = body.decode() if body else ""
        cypher = json.loads(text).get("cypher", "") if text else ""
        with self._lock:
            self.asked.append((method, path, cypher))
            for failing in self._failing:
                if failing[0] > 0 and failing[3] in f"{path} {cypher}":
                    failing[0] -= 1
                    return failing[1], "text/html", failing[2], failing[4]
        for part, said in self._said:
            if part in f"{path} {cypher}":
                return *said, {}
        key = key_of(method, path, text)
        if key not in self.tape and self.upstream is not None:
            self.tape[key] = self.upstream(method, path, text)
        if key not in self.tape:
            self.unknown.append((method, path, cypher))
            return 400, "application/json", '{"error": "this is not on the tape"}', {}
        return *self.tape[key], {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True  # the first answer would wait 40 ms for the handshake's end

    def log_message(self, *args):
        pass

    def do_GET(self):
        self._answer("GET")

    def do_POST(self):
        self._answer("POST")

    def _answer(self, method):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = self.headers.get("Authorization", "")
        self.double.tokens.add(token)
        if token in ("", "Bearer bad"):
            found = (401, "application/json", '{"message": "not authenticated"}', {})
        else:
            found = self.double.answer(method, self.path, body)
        status, media, text, headers = found
        if not status or isinstance(status, float):
            time.sleep(status)
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.close()
            return
        data = text if isinstance(text, bytes) else text.encode()
        self.send_response(status)
        told = {"Content-Type": media, "Content-Length": str(len(data)), **headers}
        for name, value in told.items():
            self.send_header(name, value)
        self.close_connection = int(told["Content-Length"]) != len(data)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()


def record(server, certificate):
    """Record the exchanges of all calls with a server."""
    import neuprint
    import neuprint_calls
    import requests

    session = requests.Session()
    session.headers["Authorization"] = "Bearer recorder"

    def upstream(method, path, text):
        options = {"data": text} if text else {}
        response = session.request(method, server + path, verify=certificate, **options)
        return [response.status_code, response.headers["Content-Type"], response.text]

    with NeuprintDouble({}, upstream) as double:
        client = neuprint.Client(
            double.url, DATASET, "recorder", verify=double.certificate, progress=False
        )
        neuprint_calls.run(neuprint)
        neuprint_calls.run(neuprint, table=neuprint_calls.page())
        del client
    text = json.dumps(dict(sorted(double.tape.items())), indent=0)
    TAPE.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(len(double.tape), "exchanges,", TAPE.stat().st_size, "bytes")  # noqa: T201


if __name__ == "__main__" and sys.argv[1:2] == ["record"]:
    record(*sys.argv[2:])
