"""Transfers against curl and against today's libraries, as ratios within one run.

``python benchmarks/transfers.py`` needs nginx, curl, openssl and a C compiler; what of it is
missing is said and left out, and so is each rival that ``--rivals PYTHON`` does not have.
``--smoke`` takes a few seconds: tiny files, a server of Python, no nginx.

Each client is a process of its own; rounds are interleaved in random order, and what is shown is
the median over the rounds of the ratio to curl, to ``os.stat`` or to reading within the round.
Files are written to a new folder each time: an ext4 that has just removed thousands of files
makes new ones slowly for seconds, for every client, but not for each alike.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.server
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent


# the clients: each reads {"files": [[path, size, md5], ...], "url", "into", "connections"}

CLIENTS = {
    "one_cache": """
        from one_cache.records import File
        from one_cache.remotes.http import HttpRemote
        from one_cache.store import Store
        from one_cache.transfer import fetch
        fetch([File(*row) for row in files], HttpRemote(url), Store(into), threads=connections)
        """,
    "ONE-api, its default": """
        from pathlib import Path
        from one.webclient import http_download_file_list
        folders = [Path(into, path).parent for path, _, _ in files]
        for folder in set(folders):
            folder.mkdir(parents=True, exist_ok=True)
        _, digests = http_download_file_list(
            [f"{url}/{path}" for path, _, _ in files],
            target_dir=folders, silent=True, return_md5=True)
        assert list(digests) == [md5 for _, _, md5 in files]
        """,
    "pooch": """
        import logging, pooch
        from concurrent.futures import ThreadPoolExecutor
        pooch.get_logger().setLevel(logging.ERROR)
        known = {path: f"md5:{md5}" for path, _, md5 in files}
        box = pooch.create(into, f"{url}/", registry=known)
        for path, _, _ in files:
            # its threads fail when two of them make the same folder
            Path(into, path).parent.mkdir(parents=True, exist_ok=True)
        bring = pooch.HTTPDownloader(chunk_size=1 << 20)
        with ThreadPoolExecutor(connections) as pool:
            list(pool.map(lambda row: box.fetch(row[0], downloader=bring), files))
        """,
    "huggingface_hub": """
        import os
        os.environ["HF_ENDPOINT"] = f"{url}/hf"
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        from concurrent.futures import ThreadPoolExecutor
        from huggingface_hub import hf_hub_download
        with ThreadPoolExecutor(connections) as pool:
            list(pool.map(lambda row: hf_hub_download("lab/data", row[0], cache_dir=into), files))
        """,
    "dandi": """
        import requests
        from concurrent.futures import ThreadPoolExecutor
        from pathlib import Path
        from threading import Lock
        from dandi.download import DownloadExisting, _download_file
        lock = Lock()
        def bring(row):
            path, size, md5 = row
            def download(start=0):
                answer = requests.get(f"{url}/{path}", stream=True)
                answer.raise_for_status()
                yield from answer.iter_content(chunk_size=1 << 20)
            target = Path(into, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            for state in _download_file(download, target, into, lock, size=size,
                                        existing=DownloadExisting.ERROR, digests={"md5": md5}):
                assert state.get("status") != "error", state
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(bring, files))
        """,
}
NEEDS = {
    "one_cache": "one_cache",
    "ONE-api, its default": "one.webclient",
    "pooch": "pooch",
    "huggingface_hub": "huggingface_hub",
    "dandi": "dandi",
}
CHECKS = {"curl": "no", "huggingface_hub": "no"}
HEADER = """
import json, sys
from pathlib import Path
job = json.load(open(sys.argv[1]))
files, url, into, connections = job["files"], job["url"], job["into"], job["connections"]
"""

WARM = {
    "one_cache": """
        from one_cache.modes import FileState
        from one_cache.records import File
        from one_cache.store import Store
        records = [File(*row) for row in files]
        start = time.perf_counter()
        states = Store(into).states(records)
        taken = time.perf_counter() - start
        assert set(states) == {FileState.GOOD}
        """,
    "os.stat": """
        paths = [os.path.join(into, path) for path, _, _ in files]
        start = time.perf_counter()
        sizes = [os.stat(path).st_size for path in paths]
        taken = time.perf_counter() - start
        """,
    "ONE-api": """
        from pathlib import Path
        from iblutil.io import hashfile
        few = files[:100]
        start = time.perf_counter()
        # what its loading does with each file that is there
        for path, size, md5 in few:
            place = Path(into, path)
            assert place.stat().st_size == size and hashfile.md5(place) == md5
        taken = (time.perf_counter() - start) * len(files) / len(few)
        """,
}
WARM_HEADER = """
import json, os, sys, time
job = json.load(open(sys.argv[1]))
files, into = job["files"], job["into"]
"""

MAPPED = """
import json, sys, time
job = json.load(open(sys.argv[1]))
import numpy as np
from one_cache.modes import FileState
from one_cache.records import File
from one_cache.store import Store
[row] = job["files"]
file = File(*row)
start = time.perf_counter()
store = Store(job["into"])
assert store.state(file) is FileState.GOOD
array = np.load(store.path(file.path), mmap_mode="r", allow_pickle=False)
first = array[0]
print(time.perf_counter() - start)
"""


@dataclass
class Run:
    """What one process took."""

    seconds: float
    cpu: float
    megabytes: float


@dataclass
class Scenario:
    """What is fetched, over what, by whom, measured against whom."""

    title: str
    files: list
    url: str
    connections: int
    clients: list
    rounds: int
    yardstick: str = "curl"
    runs: dict = field(default_factory=dict)


def measure(command, env=None):
    """Run a process; wall time, processor time and peak memory of it."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, env=env, stdout=subprocess.DEVNULL, stderr=errors, close_fds=True
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            text = errors.read().decode(errors="replace")[-800:]
            raise RuntimeError(f"{command[0]} failed with {process.returncode}: {text}")
    scale = 1 if sys.platform == "darwin" else 1024
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * scale / 1e6)


class Bench:
    """Folders, servers and pythons of one run."""

    def __init__(self, work, rivals, smoke):
        self.work = work
        self.rivals = rivals
        self.smoke = smoke
        self.number = 0
        self.env = {**os.environ, "ONE_CACHE_PROGRESS": "0", "PYTHONWARNINGS": "ignore"}
        # the rivals must not read or write anything of the person who runs this
        self.env["HOME"] = str(work / "home")
        (work / "home").mkdir(exist_ok=True)

    def python_for(self, client):
        """Give a Python that has what a client needs, or None."""
        for python in (sys.executable, self.rivals):
            if python and (python != sys.executable or client in ("one_cache", "os.stat")):
                needed = NEEDS.get(client, "os")
                done = subprocess.run(
                    [python, "-c", f"import {needed}"], env=self.env, capture_output=True
                )
                if done.returncode == 0:
                    return python
        return None

    def folder(self):
        """Give a new folder to write to."""
        self.number += 1
        return self.work / "into" / f"{self.number:04d}"

    def run(self, scenario, client, into):
        """Run one client once."""
        job = self.work / "job.json"
        job.write_text(
            json.dumps(
                {
                    "files": scenario.files,
                    "url": scenario.url,
                    "into": str(into),
                    "connections": scenario.connections,
                }
            )
        )
        if client == "curl":
            return measure(self.curl(scenario, into), self.env)
        code = HEADER + textwrap.dedent(CLIENTS[client])
        return measure([self.python_for(client), "-c", code, str(job)], self.env)

    def curl(self, scenario, into):
        """Give the command that has curl fetch everything."""
        listing = self.work / "curl.cfg"
        listing.write_text(
            "".join(
                f'url = "{scenario.url}/{path}"\noutput = "{into}/{path}"\n'
                for path, _, _ in scenario.files
            )
        )
        command = ["curl", "--silent", "--fail", "--no-progress-meter", "--http1.1"]
        command += ["--parallel", "--parallel-max", str(scenario.connections)]
        if scenario.url.startswith("https"):
            command += ["--cacert", self.env["SSL_CERT_FILE"]]
        return [*command, "--create-dirs", "--config", str(listing)]

    def compare(self, scenario):
        """Run all clients of a scenario, in rounds of random order."""
        for number in range(scenario.rounds):
            order = [c for c, most in scenario.clients if number < most]
            random.shuffle(order)
            for client in order:
                into = self.folder()
                try:
                    run = self.run(scenario, client, into)
                except RuntimeError as error:
                    print(f"  {client}: {error}", flush=True)
                    continue
                scenario.runs.setdefault(client, {})[number] = run
                if client in ("one_cache", "curl"):
                    check(into, scenario.files)
                if scenario.files[0][1] > 1 << 24:
                    shutil.rmtree(into)


def check(into, files):
    """See that what was written is right, whoever wrote it."""
    for path, size, md5 in files if len(files) < 10 else random.sample(files, 10):
        with open(Path(into, path), "rb") as file:
            digest = hashlib.md5()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        if digest.hexdigest() != md5:
            raise SystemExit(f"{path}: wrong bytes, expected {size} of {md5}")


def show(scenario):
    """Print the table of a scenario."""
    yardstick = scenario.runs.get(scenario.yardstick, {})
    print(f"\n### {scenario.title}\n")
    print("| client | checks hash | n | wall min / med (s) | CPU (s) | MB | ÷ curl |")
    print("|---|---|---|---|---|---|---|")
    for client, runs in sorted(
        scenario.runs.items(), key=lambda item: min(run.seconds for run in item[1].values())
    ):
        walls = [run.seconds for run in runs.values()]
        ratios = [
            run.seconds / yardstick[number].seconds
            for number, run in runs.items()
            if number in yardstick
        ]
        print(
            f"| {client} | {CHECKS.get(client, 'yes')} | {len(runs)} "
            f"| {min(walls):.2f} / {statistics.median(walls):.2f} "
            f"| {statistics.median(run.cpu for run in runs.values()):.2f} "
            f"| {max(run.megabytes for run in runs.values()):.0f} "
            f"| {statistics.median(ratios):.2f} |"
            if ratios
            else f"| {client} | | {len(runs)} | {min(walls):.2f} | | | |",
            flush=True,
        )


# what is served


def make_small(folder, count):
    """Write files of 10 to 50 KB, twenty to a session."""
    dice, rows = random.Random(1), []
    for number in range(count):
        session, inside = divmod(number, 20)
        path = f"lab/Subjects/s{session // 10:03d}/2024-01-{session % 10 + 1:02d}/001/alf"
        content = dice.randbytes(dice.randint(10_000, 50_000))
        rows.append(write(folder, f"{path}/x{inside:02d}.times.npy", [content]))
    return rows


def make_big(folder, count, megabytes):
    """Write arrays of many megabytes."""
    rows = []
    for number in range(count):
        shape = (megabytes * (1 << 20) // 8,)
        head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
        head += b" " * (-(len(head) + 11) % 64) + b"\n"
        start = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head
        block = random.Random(number).randbytes(1 << 20)
        rows.append(write(folder, f"raw/{number}.npy", [start, *[block] * megabytes]))
    return rows


def write(folder, path, chunks):
    digest, size = hashlib.md5(), 0
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    with open(folder / path, "wb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return [path, size, digest.hexdigest()]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


NGINX = """
{user} worker_processes 2; daemon off; pid {work}/nginx.pid; error_log {work}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
  client_body_temp_path {work}/temp; proxy_temp_path {work}/temp;
  fastcgi_temp_path {work}/temp; uwsgi_temp_path {work}/temp; scgi_temp_path {work}/temp;
  ssl_certificate {work}/cert.pem; ssl_certificate_key {work}/key.pem;
  ssl_session_tickets off;
  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl; root {root};
    location /hf/lab/data/resolve/main/ {{
      alias {root}/;
      add_header X-Repo-Commit 0123456789012345678901234567890123456789;
    }}
  }}
}}
"""


@contextlib.contextmanager
def nginx(work, root):
    """Serve a folder, plain and with TLS; gives both addresses."""
    plain, tls = free_port(), free_port()
    wish = "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *wish.split(), *name], cwd=work, check=True, capture_output=True)
    settings = work / "nginx.conf"
    # the folder is private: its workers must not become somebody else
    user = "" if os.geteuid() else "user root;"
    settings.write_text(NGINX.format(work=work, root=root, plain=plain, tls=tls, user=user))
    process = subprocess.Popen(
        ["nginx", "-c", str(settings), "-p", str(work)], stderr=subprocess.DEVNULL
    )
    try:
        wait_for(plain)
        yield plain, tls
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def distance(work, port, milliseconds):
    """Put a distance before a port; gives the port to use, or None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        yield None
        return
    program = work / "latency"
    subprocess.run([compiler, "-O2", "-o", program, HERE / "latency.c"], check=True)
    far = free_port()
    process = subprocess.Popen([program, str(far), str(port), str(milliseconds)])
    try:
        wait_for(far)
        yield far
    finally:
        process.terminate()
        process.wait()


def wait_for(port):
    for _ in range(200):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


@contextlib.contextmanager
def python_server(root):
    """Serve a folder without nginx, for the smoke run."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(root))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


# the parts of a run


def small_files(bench, wanted, rounds):
    """Run the scenarios with small files."""
    count = 40 if bench.smoke else 2000
    root = bench.work / "small"
    rows = make_small(root, count)
    if bench.smoke:
        with python_server(root) as port:
            clients = [("one_cache", 1)] + ([("curl", 1)] if shutil.which("curl") else [])
            scenario = Scenario(
                f"{count} small files", rows, f"http://127.0.0.1:{port}", 4, clients, 1
            )
            bench.compare(scenario)
            show(scenario)
        return rows
    rivals = [name for name in CLIENTS if name != "one_cache" and present(bench, name)]
    once = [(name, 1 if name == "ONE-api, its default" else 2) for name in rivals]
    ours = [("curl", rounds), ("one_cache", rounds)]
    with nginx(bench.work, root) as (plain, tls):
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            bench.env[name] = str(bench.work / "cert.pem")
        if "near" in wanted:
            scenario = Scenario(
                f"{count} files of 10-50 KB, no latency, 16 connections",
                rows, f"http://127.0.0.1:{plain}", 16, ours + once, rounds,
            )  # fmt: skip
            bench.compare(scenario)
            show(scenario)
        if "far" in wanted:
            with distance(bench.work, tls, 30) as port:
                if port is None:
                    print("no C compiler: the run with latency is left out")
                    return rows
                scenario = Scenario(
                    f"{count} files of 10-50 KB, TLS, 30 ms, 16 connections",
                    rows, f"https://127.0.0.1:{port}", 16,
                    ours + [c for c in once if c[0].startswith("ONE")], rounds,
                )  # fmt: skip
                bench.compare(scenario)
                show(scenario)
    return rows


def present(bench, name):
    if bench.python_for(name):
        return True
    print(f"{name} is not installed in {bench.rivals or 'any --rivals'}: left out")
    return False


def big_files(bench, wanted, rounds):
    """Run the scenarios with large files, in memory where there is room."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > 6e9
    megabytes = 8 if bench.smoke else 500
    with tempfile.TemporaryDirectory(dir=shared if roomy else bench.work) as name:
        folder = Path(name)
        inside = Bench(folder, bench.rivals, bench.smoke)
        rows = make_big(folder / "big", 1 if bench.smoke else 4, megabytes)
        server = python_server(folder / "big") if bench.smoke else nginx(folder, folder / "big")
        with server as port:
            port = port if bench.smoke else port[0]
            clients = [("one_cache", rounds)]
            clients += [("curl", rounds)] if shutil.which("curl") else []
            scenario = Scenario(
                f"{len(rows)} files of {megabytes} MB", rows, f"http://127.0.0.1:{port}", 8,
                clients, rounds,
            )  # fmt: skip
            if "big" in wanted:
                inside.compare(scenario)
                show(scenario)
            if "mapped" in wanted:
                one = Scenario("", rows[:1], scenario.url, 4, [], 1)
                into = inside.folder()
                inside.run(one, "one_cache", into)
                taken = [timed(inside, MAPPED, sys.executable) for _ in range(5)]
                print(f"\n### a cached .npy of {megabytes} MB, opened with mmap\n")
                print(f"{min(taken) * 1e3:.2f} ms (median {statistics.median(taken) * 1e3:.2f})")


def timed(bench, code, python):
    """Run a process that prints the seconds that its part in question took."""
    done = subprocess.run(
        [python, "-c", code, str(bench.work / "job.json")],
        env=bench.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout)


def warm_cache(bench, rows, rounds):
    """Ask for files that are all there, each time in a new process."""
    into = bench.folder()
    server = python_server if bench.smoke else None
    root = bench.work / "small"
    with server(root) if server else nginx(bench.work, root) as port:
        port = port if bench.smoke else port[0]
        bench.run(Scenario("", rows, f"http://127.0.0.1:{port}", 16, [], 1), "one_cache", into)
    clients = {"os.stat": sys.executable, "one_cache": sys.executable}
    if present(bench, "ONE-api, its default"):
        clients["ONE-api"] = bench.rivals
    taken = {client: [] for client in clients}
    for number in range(rounds):
        for client, python in clients.items():
            if client != "ONE-api" or number == 0:
                code = f"{WARM_HEADER}{textwrap.dedent(WARM[client])}\nprint(taken)"
                taken[client].append(timed(bench, code, python))
    print(f"\n### {len(rows)} files that are all there, in a new process\n")
    print("| client | n | min / med (ms) | ÷ os.stat |\n|---|---|---|---|")
    for client, values in taken.items():
        ratio = statistics.median(a / b for a, b in zip(values, taken["os.stat"], strict=False))
        print(
            f"| {client} | {len(values)} | {min(values) * 1e3:.1f} / "
            f"{statistics.median(values) * 1e3:.1f} | {ratio:.1f} |"
        )
    if "ONE-api" in taken:
        times = taken["ONE-api"][0] / statistics.median(taken["one_cache"])
        print(f"\nONE-api (100 files, times {len(rows) // 100}): {times:,.0f} times one_cache")


def main():
    """Read the arguments and run."""
    reader = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    reader.add_argument("--smoke", action="store_true", help="tiny sizes, without nginx")
    reader.add_argument("--rounds", type=int, default=5)
    reader.add_argument(
        "--rivals", help="a Python that has pooch, huggingface_hub, dandi, ONE-api"
    )
    reader.add_argument("--only", nargs="*", help="near, far, big, mapped, warm")
    reader.add_argument("--work", help="folder on the disk to measure; a temporary one otherwise")
    arguments = reader.parse_args()
    if not arguments.smoke and not (shutil.which("nginx") and shutil.which("curl")):
        raise SystemExit("needs nginx and curl (apt-get install nginx-light curl), or --smoke")
    wanted = arguments.only or ["near", "far", "big", "mapped", "warm"]
    rounds = 1 if arguments.smoke else arguments.rounds
    with tempfile.TemporaryDirectory(dir=arguments.work) as name:
        bench = Bench(Path(name), arguments.rivals, arguments.smoke)
        if {"near", "far", "warm"} & set(wanted):
            rows = small_files(bench, wanted, rounds)
            if "warm" in wanted:
                warm_cache(bench, rows, rounds)
        if {"big", "mapped"} & set(wanted):
            big_files(bench, wanted, rounds)


if __name__ == "__main__":
    main()
