"""A lab's servers on loopback: an Alyx made from recorded exchanges, and its data server.

``with AlyxDouble() as alyx:`` gives ``alyx.url``, ``alyx.data_url``, what was asked
(``alyx.asked``), and the ways in which servers fail: ``alyx.fail(...)``, ``alyx.away()``,
``alyx.revoke(user)``.
"""

import base64
import contextlib
import email.utils
import hashlib
import io
import json
import re
import socket
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

from alyx_lab import DATA, Lab, Refused

NOT_FOUND = (
    '\n<!doctype html>\n<html lang="en">\n<head>\n  <title>Not Found</title>\n</head>\n<body>\n'
    "  <h1>Not Found</h1><p>The requested resource was not found on this server.</p>\n</body>\n"
    "</html>\n"
)
NGINX_401 = "<html>\n<head><title>401 Authorization Required</title></head>\n</html>\n"
NGINX_404 = "<html>\n<head><title>404 Not Found</title></head>\n</html>\n"
MODELS = {
    "sessions": "Session",
    "datasets": "Dataset",
    "insertions": "ProbeInsertion",
    "revisions": "Revision",
    "tags": "Tag",
    "dataset-types": "DatasetType",
    "data-repository": "DataRepository",
    "data-notices": "DataNotice",
    "subjects": "Subject",
    "labs": "Lab",
    "users": "LabMember",
    "projects": "Project",
    "files": "FileRecord",
    "data-formats": "DataFormat",
}
BY_UUID = {"sessions", "datasets", "insertions", "files", "data-notices"}


@dataclass
class Fault:
    """What happens to requests whose path begins so: a status, or a dropped connection."""

    path: str
    status: int | None = None
    body: object = None
    headers: dict = field(default_factory=dict)
    times: int = 1
    cut: bool = False


class Server(ThreadingHTTPServer):
    """Serves until it is closed, and then closes what is still open."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port, handler, double):
        self.double = double
        self.sockets = set()
        super().__init__(("127.0.0.1", port), handler)
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self):
        self.shutdown()
        self.thread.join()
        self.server_close()
        for one in list(self.sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        pass


class AlyxDouble:
    """The Alyx server and the data server of one lab."""

    def __init__(self, *, tables_root_on_http=False):
        self.lab = Lab()
        self.users = {"root": "secret-of-root", "intbrainlab": "secret-of-public"}
        self.public = {"intbrainlab"}
        self.tokens = {user: hashlib.sha1(user.encode()).hexdigest() for user in self.users}
        self.data_login = ("datauser", "secret-of-data")
        self.tables_root_on_http = tables_root_on_http
        self.faults = []
        self.asked = []
        self.schema = json.loads((DATA / "openapi.json").read_text())
        self._ports = (0, 0)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self._alyx = Server(self._ports[0], AlyxHandler, self)
        self._data = Server(self._ports[1], DataHandler, self)
        self._ports = self._alyx.server_port, self._data.server_port
        self.url, self.data_url = (f"http://127.0.0.1:{port}" for port in self._ports)
        self.lab.alyx, self.lab.data = self.url, self.data_url

    def stop(self):
        self._alyx.close()
        self._data.close()

    @contextlib.contextmanager
    def away(self, *, data=True):
        """Let nothing answer; with ``data=False`` the data server still does."""
        self._alyx.close()
        if data:
            self._data.close()
        try:
            yield
        finally:
            self._alyx = Server(self._ports[0], AlyxHandler, self)
            if data:
                self._data = Server(self._ports[1], DataHandler, self)

    def fail(self, path, status=None, body=None, *, times=1, cut=False, **headers):
        """Answer the next requests for `path` with `status`; without one, drop the connection.

        With `cut` the connection is dropped in the middle of the body.
        """
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults.append(Fault(path, status, body, given, times, cut))

    def revoke(self, user):
        """Give a user another token; the old one is no longer valid."""
        self.tokens[user] = hashlib.sha1(self.tokens[user].encode()).hexdigest()

    def fault(self, path):
        for fault in self.faults:
            if path.startswith(fault.path) and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def paths(self, beginning="/"):
        """Give the paths that were asked for, without queries."""
        return [line.split()[1].partition("?")[0] for line in self.asked if beginning in line]

    def secrets(self):
        return [*self.users.values(), *self.tokens.values(), self.data_login[1]]

    def cache_zip(self, tag=None):
        """Give the whole tables, or those of a tag, as the server writes them."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        lab = self.lab
        rows = [
            one
            for one in lab.datasets.values()
            if one["session"]
            and any(name.startswith(("flatiron", "aws")) for name in lab.on_server(one))
            and (tag is None or tag in one["tags"])
        ]
        eids = {one["session"] for one in rows} if tag else set(lab.sessions)
        sessions = [lab.sessions[eid] for eid in sorted(eids)]
        meta = {"date_created": "2026-11-20 16:00", "origin": "alyx", "min_api_version": "2.10"}
        if tag:
            meta["database_tags"] = [tag]
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, table in (
                ("sessions", session_table(pa, sessions)),
                ("datasets", dataset_table(pa, lab, rows)),
            ):
                target = io.BytesIO()
                about = {"one_metadata": json.dumps(meta)}
                pq.write_table(table.replace_schema_metadata(about), target)
                archive.writestr(f"{name}.pqt", target.getvalue())
            archive.writestr("cache_info.json", json.dumps(meta))
        tables = {
            "sessions": {"nrecs": len(sessions), "size": 4397},
            "datasets": {"nrecs": len(rows), "size": 5026},
        }
        return packed.getvalue(), {**meta, "tables": tables}


def session_table(pa, sessions):
    return pa.table(
        {
            "id": [one["id"] for one in sessions],
            "lab": [one["lab"] for one in sessions],
            "subject": [one["subject"] for one in sessions],
            "date": pa.array([one["start_time"][:10] for one in sessions]).cast(pa.date32()),
            "number": pa.array([one["number"] for one in sessions], pa.uint16()),
            "task_protocol": [one["task_protocol"] for one in sessions],
            "projects": [",".join(sorted(one["projects"])) for one in sessions],
        }
    )


def dataset_table(pa, lab, rows):
    def rel_path(one):
        parts = (one["collection"], one["revision"] and f"#{one['revision']}#", one["name"])
        return "/".join(filter(None, parts))

    return pa.table(
        {
            "eid": [one["session"] for one in rows],
            "id": [one["id"] for one in rows],
            "rel_path": [rel_path(one) for one in rows],
            "file_size": pa.array([one["file_size"] for one in rows], pa.uint64()),
            "hash": [one["hash"] for one in rows],
            "default_revision": [bool(one["default_dataset"]) for one in rows],
            "qc": [one["qc"] for one in rows],
            "exists": [True for _ in rows],
        }
    )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # as real servers do: otherwise each answer waits for the acknowledgement of its head
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.server.sockets.add(self.connection)

    def finish(self):
        self.server.sockets.discard(self.connection)
        super().finish()

    def log_message(self, *args):
        pass

    def send(self, status, body=b"", kind="application/json", *, missing=0, **headers):
        if not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data) + missing))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def faulted(self):
        """Do what a fault of the test says, if there is one for this request."""
        fault = self.server.double.fault(self.path)
        if fault is None:
            return False
        if fault.status is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            body = fault.body or {"detail": "injected fault"}
            self.send(fault.status, body, missing=100 * fault.cut, **fault.headers)
            self.close_connection = fault.cut
        return True


class AlyxHandler(Handler):
    """The REST interface."""

    def do_GET(self):
        self.double = self.server.double
        self.double.asked.append(f"{self.command} {self.path}")
        length = int(self.headers.get("Content-Length") or 0)
        self.form = dict(parse_qsl(self.rfile.read(length).decode()))
        if self.faulted():
            return
        try:
            self.answer()
        except Refused as refused:
            text = isinstance(refused.body, str)
            kind = "text/html; charset=utf-8" if text else "application/json"
            self.send(refused.status, refused.body, kind)

    do_POST = do_PATCH = do_DELETE = do_PUT = do_HEAD = do_OPTIONS = do_GET

    def answer(self):
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        if path == "/auth-token":
            self.give_token()
        elif path == "/api/schema":
            self.send(200, self.double.schema, "application/vnd.oai.openapi+json")
        elif path in ("/docs", "/cache/info") or re.fullmatch(r"/cache/info/\w+", path):
            self.send(301, kind="text/html; charset=utf-8", Location=f"{path}/")
        elif path.strip("/").partition("/")[0] in (*MODELS, "cache", "cache.zip"):
            endpoint, _, name = path.strip("/").partition("/")
            if endpoint in BY_UUID and name and not re.fullmatch(r"[0-9a-f-]{36}", name):
                raise Refused(404, NOT_FOUND)
            self.require_login()
            self.answer_user(path.strip("/"), parse_qs(parts.query, keep_blank_values=True))
        else:
            raise Refused(404, NOT_FOUND)

    def give_token(self):
        missing = [name for name in ("username", "password") if not self.form.get(name)]
        if self.command != "POST" or missing:
            said = {name: ["This field is required."] for name in missing}
            raise Refused(400, {**said, "status_code": 400})
        user = self.form["username"]
        if self.double.users.get(user) != self.form["password"]:
            said = ["Unable to log in with provided credentials."]
            raise Refused(400, {"non_field_errors": said, "status_code": 400})
        self.send(200, {"token": self.double.tokens[user]})

    def require_login(self):
        given = self.headers.get("Authorization")
        if not (given or "").startswith("Token "):
            said = "Authentication credentials were not provided."
            raise Refused(403, {"detail": said, "status_code": 403})
        users = {token: user for user, token in self.double.tokens.items()}
        user = users.get(given.removeprefix("Token "))
        if user is None:
            raise Refused(403, {"detail": "Invalid token.", "status_code": 403})
        if user in self.double.public and self.command != "GET":
            said = "You do not have permission to perform this action."
            raise Refused(403, {"detail": said, "status_code": 403})

    def answer_user(self, path, query):
        endpoint, _, name = path.partition("/")
        if path == "cache.zip":
            self.send(200, self.double.cache_zip()[0], "application/zip")
        elif endpoint == "cache":
            self.give_info(name.removeprefix("info").strip("/"))
        elif not name:
            self.give_list(endpoint, {key: values[-1] for key, values in query.items()})
        else:
            record = self.double.lab.read(endpoint, name)
            if record is None:
                said = f"No {MODELS[endpoint]} matches the given query."
                raise Refused(404, {"detail": said, "status_code": 404})
            self.send(200, record)

    def give_info(self, tag):
        known = {one["name"] for one in self.double.lab.tables["tags"]}
        if tag and not re.fullmatch(r"\w+", tag):
            raise Refused(404, NOT_FOUND)
        if tag and tag not in known:
            raise Refused(404, "Tag matching query does not exist.")
        _, info = self.double.cache_zip(tag or None)
        if self.double.tables_root_on_http:
            info["location"] = f"{self.double.data_url}/tables/{tag or 'all'}/cache.zip"
        self.send(200, info)

    def give_list(self, endpoint, query):
        found = self.double.lab.list(endpoint, query)
        limit = min(int(query.get("limit") or 0) or 250, 1000)
        offset = int(query.get("offset") or 0)

        def page(begin):
            host = self.headers["Host"]
            more = {**query, "limit": limit, "offset": begin}
            if not begin:
                del more["offset"]
            return f"http://{host}/{endpoint}?{urlencode(sorted(more.items()))}"

        self.send(
            200,
            {
                "count": len(found),
                "next": page(offset + limit) if offset + limit < len(found) else None,
                "previous": page(max(0, offset - limit)) if offset else None,
                "results": found[offset : offset + limit],
            },
        )


class DataHandler(Handler):
    """The web server of the files: a user and password, ranges, strong ETags."""

    def do_GET(self):
        double = self.server.double
        double.asked.append(f"DATA {self.path}")
        if self.faulted():
            return
        login = base64.b64encode(":".join(double.data_login).encode()).decode()
        if self.headers.get("Authorization") != f"Basic {login}":
            realm = 'Basic realm="data"'
            self.send(401, NGINX_401, "text/html", WWW_Authenticate=realm)
            return
        path = unquote(urlsplit(self.path).path)
        tables = re.fullmatch(r"/tables/(\w+)/cache.zip", path)
        if tables:
            tag = None if tables[1] == "all" else tables[1]
            self.give(double.cache_zip(tag)[0])
        elif path in double.lab.files:
            self.give(double.lab.files[path])
        else:
            self.send(404, NGINX_404, "text/html")

    do_HEAD = do_GET

    def give(self, data):
        etag = f'"{hashlib.md5(data).hexdigest()[:16]}"'
        about = {"ETag": etag, "Accept_Ranges": "bytes", "Last_Modified": email.utils.formatdate()}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        kind = "application/octet-stream"
        if not wanted or self.headers.get("If-Range", etag) != etag:
            self.send(200, data, kind, **about)
        elif int(wanted[1]) >= len(data):
            self.send(416, b"", kind, Content_Range=f"bytes */{len(data)}")
        else:
            start = int(wanted[1])
            where = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.send(206, data[start:], kind, Content_Range=where, **about)
