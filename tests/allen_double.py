"""The Allen Institute's warehouse on loopback, with the ways in which servers fail.

``with AllenDouble(make_project()) as allen:`` gives ``allen.host``, what was asked
(``allen.asked``), and ``allen.fail(where, how, times)``. It can be run by itself, too:

    python allen_double.py --port 8765
"""

import argparse
import contextlib
import hashlib
import json
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from allen_project import make_project

MODELS = {
    "EcephysSession": "sessions",
    "EcephysProbe": "probes",
    "EcephysChannel": "channels",
    "EcephysUnit": "units",
    "EcephysUnitMetricBundle": "bundles",
    "WellKnownFile": "files",
}


class AllenDouble:
    """A server; ``most`` rows fit on a page, and it may not know what "all" means."""

    def __init__(self, project, *, most=1_000_000, knows_all=True, port=0):
        self.project = project
        self.most = most
        self.knows_all = knows_all
        self.asked = []
        self._faults = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._answers = {}
        handler = type("Handler", (_Handler,), {"double": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def fail(self, where, how, times=1, after=0):
        """Answer the next requests whose address holds `where` in another way."""
        with self._lock:
            self._faults.append([where, how, times, after])

    def heal(self):
        with self._lock:
            self._faults.clear()

    def fault(self, path):
        with self._lock:
            self.asked.append(path)
            for one in self._faults:
                if one[0] in path and one[2]:
                    one[2] -= 1
                    return one[1], one[3]
        return None, 0

    def counts(self):
        """Count the requests by model, and those for files."""
        with self._lock:
            found = [re.search(r"model::(\w+)", path) for path in self.asked]
        return Counter(one[1] if one else "file" for one in found)

    # -- answers ---------------------------------------------------------------------------

    def rows(self, query):
        model = re.search(r"model::(\w+)", query)
        if not model or model[1] not in MODELS:
            raise ValueError(f"undefined model in {query}")
        rows = getattr(self.project, MODELS[model[1]])
        kind = re.search(r"well_known_file_type\[name\$eq'(\w+)'\]", query)
        if kind:
            owner = int(re.search(r"attachable_id\$eq(\d+)", query)[1])
            wanted = (kind[1], owner)
            rows = [one for one in rows if (one["_type"], one["attachable_id"]) == wanted]
        session = re.search(r"ecephys_session\[(\w+)\$in([^\]]+)\]", query)
        if session:
            column, values = session[1], {one.strip("'") for one in session[2].split(",")}
            wanted = [s for s in self.project.sessions if str(s[column]) in values]
            units = set()
            for one in wanted:
                units |= self._units_of(one)
            rows = [one for one in rows if one["ecephys_unit_id"] in units]
        return [{k: v for k, v in one.items() if not k.startswith("_")} for one in rows]

    def _units_of(self, session):
        from allen_project import units_of

        return {one["id"] for one in units_of(self.project, session)}

    def answer(self, query, how):
        key = (query, how)
        if key not in self._answers:
            rows = self.rows(query)
            start = int(re.search(r"start_row\$eq(\d+)", query)[1])
            asked = re.search(r"num_rows\$eq('?\w+'?)", query)[1].strip("'")
            number = (len(rows) if self.knows_all else 50) if asked == "all" else int(asked)
            page = rows[start : start + min(number, self.most)]
            total = len(rows)
            if how == "no rows":
                page = []
            if how == "fewer":
                page = page[:-1]
            if how == "twice":
                page = [page[0], *page[:-1]]
            if how == "other total":
                total += 1
            value = {
                "success": how != "refused",
                "id": 0,
                "start_row": start,
                "num_rows": len(page) + (how == "miscounted"),
                "total_rows": total,
                "msg": "synthetic failure" if how == "refused" else page,
            }
            self._answers[key] = json.dumps(value).encode()
        return self._answers[key]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    double = None

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = unquote(self.path)
        how, after = self.double.fault(path)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._answer(path, how, after)

    def _answer(self, path, how, after):
        if how == "reset":
            self.connection.close()
            self.close_connection = True
        elif isinstance(how, int):
            self._send(how, b"<html>error</html>", "text/html")
        elif how == "page":
            self._send(200, b"<html>login</html>", "text/html")
        elif path.startswith("/api/v2/data/query.json?"):
            self._query(path.partition("?")[2], how, after)
        else:
            found = re.search(r"well_known_file(?:_download|s/download)/(\d+)", path)
            content = self.double.project.contents.get(int(found[1])) if found else None
            if content is None:
                self._send(404, b"<html>404</html>", "text/html")
            else:
                self._file(content, how, after)

    def _query(self, query, how, after):
        try:
            body = self.double.answer(query, how)
        except ValueError as error:
            body = json.dumps({"success": False, "msg": str(error)}).encode()
        if how == "no json":
            body = body[: len(body) // 2]
        self._send(200, body, "application/json", how=how, after=after)

    def _file(self, content, how, after):
        tag = '"' + hashlib.md5(content).hexdigest() + '"'
        if how == "wrong":
            content = b"something else altogether" + content[25:]
        if how == "flipped":
            content = content[:-1] + bytes([content[-1] ^ 1])
        wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        headers = {"ETag": tag}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(
            206 if start else 200, content[start:], "application/octet-stream", headers, how, after
        )

    def _send(self, status, body, kind, headers=None, how=None, after=0):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if how == "cut, no length":
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if how in ("cut", "cut, no length"):
            self.wfile.write(body[:after])
            self.close_connection = True
        elif how == "stall":
            self.wfile.write(body[:after])
            self.wfile.flush()
            self.double._stopped.wait(60)
            self.close_connection = True
        else:
            self.wfile.write(body)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8765)
    with AllenDouble(make_project(), port=parser.parse_args().port) as allen:
        threading.Event().wait()
