"""The HTTP underneath: certificates, proxies, tables, and servers with habits."""

import base64
import contextlib
import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time

import faults
import pytest
from faults import FaultServer

from one_cache.errors import (
    Forbidden,
    InvalidArgument,
    NotOnRemote,
    RemoteError,
    StoreError,
    TransferErrors,
    TransferFailed,
)
from one_cache.records import File
from one_cache.remotes.connections import Connections
from one_cache.remotes.http import HttpRemote
from one_cache.remotes.route import Address
from one_cache.remotes.wire import Garbled, read_head
from one_cache.store import Store
from one_cache.transfer import fetch


def read(remote, path="a"):
    with remote.open(File(path)) as body:
        return b"".join(body.chunks)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of 127.0.0.1 that signs itself."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    folder = tmp_path_factory.mktemp("certificate")
    wish = "-newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run(
        ["openssl", "req", "-x509", *wish.split(), "-addext", names],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return folder / "cert.pem", context


@pytest.fixture
def trusted(certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    return certificate[1]


@pytest.mark.parametrize("named", ["by the system", "in a file", "in a folder", "nowhere"])
def test_an_untrusted_certificate_is_refused_at_once(certificate, tmp_path, monkeypatch, named):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    expected = "certificate of 127.0.0.1 is not trusted.*BUNDLE"
    if named == "in a file":
        monkeypatch.setenv("SSL_CERT_FILE", str(ssl.get_default_verify_paths().openssl_cafile))
    elif named == "in a folder":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    elif named == "nowhere":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
        expected = "missing.pem cannot be read"
    with FaultServer({"a": b"x"}, context=certificate[1]) as server:
        with pytest.raises(RemoteError, match=expected):
            fetch([File("a")], HttpRemote(server.url), Store(tmp_path))
        # the server may count later than the client gives up
        assert server.connections <= 1
        many = [File(f"{number}.npy") for number in range(200)]
        with pytest.raises(TransferErrors, match="200 of 200 files failed"):
            fetch(many, HttpRemote(server.url), Store(tmp_path))
        assert server.connections < 60


def test_a_certificate_of_another_host_is_refused(trusted, tmp_path):
    with FaultServer({"a": b"x"}, context=trusted) as server:
        url = f"https://127.0.0.2:{server.port}"
        # whatever answers there, it is not who it must be
        with pytest.raises((RemoteError, TransferFailed)):
            fetch([File("a")], HttpRemote(url), Store(tmp_path), tries=1)


def test_a_bundle_of_the_institute_is_honoured(trusted, tmp_path):
    files = {f"{n}.npy": bytes(n * 1000) for n in range(40)}
    with FaultServer(files, context=trusted) as server:
        got = fetch([File(path) for path in files], HttpRemote(server.url), Store(tmp_path))
        assert [file.size for file in got] == [len(content) for content in files.values()]
        assert server.connections <= 16


@pytest.mark.parametrize("fault", [faults.truncated, faults.without_length, faults.chunked])
def test_faults_heal_over_tls_too(trusted, tmp_path, fault):
    content = bytes(range(256)) * 1000
    with FaultServer({"a": content}, context=trusted) as server:
        server.fail("a", fault)
        fetch([File("a", len(content))], HttpRemote(server.url), Store(tmp_path))
    assert (tmp_path / "a").read_bytes() == content


def test_what_answers_in_plain_text_is_no_tls(tmp_path):
    with FaultServer({"a": b"x"}) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises((RemoteError, TransferFailed), match="127.0.0.1"):
            fetch([File("a")], HttpRemote(url), Store(tmp_path), tries=1, stall=2.0)


class Proxy:
    """A proxy that passes on what it is asked, and writes it down."""

    def __init__(self):
        self.asked = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.2)
        self._stop = threading.Event()
        self.url = f"http://me:secret@127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._listen)]

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _listen(self):
        while not self._stop.is_set():
            try:
                sock, _ = self._listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client):
        with client:
            head = client.recv(65536)
            self.asked.append(head.decode())
            method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
            host = target if method == "CONNECT" else target.split("/")[2]
            name, _, port = host.partition(":")
            with socket.create_connection((name, int(port))) as server:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    server.sendall(head)
                back = threading.Thread(target=self._pump, args=(server, client))
                back.start()
                self._pump(client, server)
                back.join()

    @staticmethod
    def _pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for sock in (source, sink):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_the_proxy_of_the_environment_is_used(no_proxies, monkeypatch):
    with FaultServer({"a": b"x"}) as server, Proxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert read(HttpRemote(server.url)) == b"x"
        [asked] = proxy.asked
        assert asked.startswith(
            f"GET {server.url}/a HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        )
        assert f"Basic {base64.b64encode(b'me:secret').decode()}" in asked
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert read(HttpRemote(server.url)) == b"x"
        assert len(proxy.asked) == 1


def test_the_proxy_is_a_tunnel_for_tls(no_proxies, trusted, monkeypatch):
    with FaultServer({"a": b"x"}, context=trusted) as server, Proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert read(HttpRemote(server.url, token="for-the-server")) == b"x"
        [asked] = proxy.asked
        assert asked.startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n")
        assert "Proxy-Authorization" in asked
        assert "for-the-server" not in asked


def test_a_proxy_that_refuses_is_named_without_its_password(no_proxies, monkeypatch):
    with FaultServer({"a": b"x"}) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//me:secret@"))
        with pytest.raises(RemoteError, match="the proxy 127.0.0.1 refuses: 404") as caught:
            read(HttpRemote("https://data.invalid"))
        assert "secret" not in str(caught.value)
        monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1")
        with pytest.raises(RemoteError, match="'socks5' is not supported"):
            read(HttpRemote("https://data.invalid"))


def test_tables_are_those_that_the_server_lists():
    rows = [
        {"name": "sessions", "path": "sessions.pqt", "size": 5, "hash": "ab", "fingerprint": "f1"},
        {"name": "probes", "hash": "cd"},
    ]
    with FaultServer({"tables.json": json.dumps(rows).encode()}) as server:
        first, second = HttpRemote(server.url).tables()
        assert (first.name, first.file, first.fingerprint) == (
            "sessions",
            File("sessions.pqt", 5, "ab"),
            "f1",
        )
        assert (second.file.path, second.fingerprint) == ("probes.pqt", "cd")


def test_the_tables_of_any_web_server_are_found():
    with FaultServer({"x/sessions.pqt": b"12345", "x/datasets.pqt": b"1"}) as server:
        found = HttpRemote(f"{server.url}/x/").tables()
        assert [(one.name, one.file.size) for one in found] == [("sessions", 5), ("datasets", 1)]
        before = [one.fingerprint for one in found]
        server.files["x/sessions.pqt"] = b"54321"
        after = [one.fingerprint for one in HttpRemote(f"{server.url}/x").tables()]
        assert before[0] != after[0]
        assert before[1] == after[1]


def test_what_is_no_list_of_tables_is_refused():
    with FaultServer({"tables.json": b"<html>login</html>"}) as server:
        with pytest.raises(RemoteError, match="no list of tables.*<html>"):
            HttpRemote(server.url).tables()
        server.fail("tables.json", always=faults.status(401))
        with pytest.raises(Forbidden, match="user and password"):
            HttpRemote(server.url).tables()


def test_a_store_of_objects_forbids_what_is_not_there():
    with FaultServer({"datasets.pqt": b"1"}) as server:
        for name in ("tables.json", "sessions.pqt", "insertions.pqt"):
            server.fail(name, always=faults.status(403))
        assert [one.name for one in HttpRemote(server.url).tables()] == ["datasets"]


def test_a_folder_is_no_file():
    with FaultServer({"a/": b"<html>a listing</html>"}) as server:
        server.fail("a", always=lambda x: x.head(301, Location="/a/", Content_Length=0))
        with pytest.raises(NotOnRemote, match="a folder"):
            read(HttpRemote(server.url))


def test_a_redirect_to_a_weaker_or_no_address_is_refused(trusted):
    with FaultServer({"a": b"x"}) as plain, FaultServer({"a": b"x"}, context=trusted) as server:
        server.fail("a", faults.redirect_to(plain.url), faults.redirect_to("ftp://data.org"))
        with pytest.raises(RemoteError, match="from https to http"):
            read(HttpRemote(server.url))
        with pytest.raises(RemoteError, match="no web address"):
            read(HttpRemote(server.url))
        assert plain.asked == []


@pytest.mark.parametrize(
    "place", ["http://[::1/a", "http://[bad]/a", "//[a", "http://h:x/", "ftp:/a"]
)
def test_a_redirect_to_nowhere_does_not_lose_the_other_files(tmp_path, place):
    content, files = small_files(10)
    with FaultServer(content) as server:
        server.fail("a/03", always=lambda x: x.head(302, Location=place, Content_Length=0))
        with pytest.raises(RemoteError, match="a/03: .* redirects to no web address") as caught:
            fetch(files, HttpRemote(server.url), Store(tmp_path))
    assert len(caught.value.done) == 9


def test_a_number_without_end_does_not_lose_the_other_files(tmp_path):
    content, files = small_files(10)
    with FaultServer(content) as server:
        server.fail("a/03", always=lambda x: x.good_head(Content_Length="1" * 5000))
        with pytest.raises(TransferFailed, match="a/03: .* is no number") as caught:
            fetch(files, HttpRemote(server.url), Store(tmp_path), tries=1)
        assert len(caught.value.done) == 9

        def part(x):
            x.good_head(Content_Range=f"bytes {x.start}-999/{'1' * 5000}")
            x.close()

        server.fail("a/04", faults.truncated, always=part)
        file = File("a/04", 1000, hashlib.md5(content["a/04"]).hexdigest())
        with pytest.raises(TransferFailed, match="a/04"):
            fetch([file], HttpRemote(server.url), Store(tmp_path / "b"), tries=2)


def test_a_date_out_of_all_bounds_does_not_lose_the_other_files(tmp_path):
    content, files = small_files(10)
    with FaultServer(content) as server:
        date = "Fri, 31 Dec 2021 23:59:59 +9999999999999999999"
        server.fail("a/03", always=faults.status(429, Retry_After=date))
        with pytest.raises(TransferFailed, match="a/03: .* answers 429") as caught:
            fetch(files, HttpRemote(server.url), Store(tmp_path), tries=1)
    assert len(caught.value.done) == 9


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked"])
def test_a_body_that_is_coded_for_its_transfer_is_never_taken_for_the_file(coding, tmp_path):
    def coded(x):
        x.head(200, Transfer_Encoding=coding)
        x.send(b"3\r\nabc\r\n0\r\n\r\n")
        x.close()

    with FaultServer({"a": b"x" * 9}) as server:
        server.fail("a", always=coded)
        with pytest.raises(TransferFailed, match="Transfer-Encoding 'gzip"):
            fetch([File("a")], HttpRemote(server.url), Store(tmp_path), tries=1)
    assert not (tmp_path / "a").exists()


def test_a_file_that_is_compressed_itself_is_left_so():
    with FaultServer({"a.csv.gz": b"\x1f\x8b not really"}) as server:
        # Apache says this of every .gz
        server.fail("a.csv.gz", lambda x: x.body(x.good_head(Content_Encoding="x-gzip")))
        assert read(HttpRemote(server.url), "a.csv.gz") == b"\x1f\x8b not really"


@pytest.mark.parametrize("url", ["ftp://data.org", "data.org", "http://", "http://h:port/"])
def test_what_is_no_web_address_is_refused(url):
    with pytest.raises(InvalidArgument):
        HttpRemote(url)


def test_a_line_break_in_a_token_is_refused():
    with FaultServer({"a": b"x"}) as server:
        with pytest.raises(InvalidArgument, match="line break"):
            read(HttpRemote(server.url, token="x\r\nX-Evil: 1"))
        assert server.asked == []


def test_ipv6_and_case_in_an_address():
    assert Address.read("HTTP://[::1]:8080/A").origin == ("http", "::1", 8080)
    assert HttpRemote("http://Data.ORG/A b/").name == "http://data.org/A%20b"


def test_heads_as_servers_send_them():
    head = read_head(b"HTTP/1.0 200\nContent-Length: 5, 5\nX: a\nX: b\n folded")
    assert (head.length, head.keep, head.headers["x"]) == (5, False, "a, b folded")
    head = read_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5")
    assert (head.length, head.chunked, head.keep) == (None, True, True)
    for bad in (b"HTTP/2 200", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6"):
        with pytest.raises(Garbled):
            read_head(bad)


def test_refusals_and_redirects_cost_no_connection():
    with FaultServer({"a": b"x"}) as server:
        remote = HttpRemote(server.url)
        server.fail("b", always=faults.status(404, X_Long="yes"))
        server.fail("a", faults.redirect_to(server.url), faults.chunked, faults.status(503))
        with Connections() as connections, connections.used():
            assert [one.name for one in remote.tables()] == []
            for _ in range(2):
                with pytest.raises(NotOnRemote):
                    read(remote, "b")
            read(remote)
            with pytest.raises(TransferFailed):
                read(remote)
        assert server.connections == 1


def test_an_answer_that_never_comes_to_its_point_is_given_up():
    def announcing(x):
        x.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    def trailing(x):
        x.good_head(Content_Length=None, Transfer_Encoding="chunked")
        x.send(b"0\r\n" + b"X: y\r\n" * 1000)

    def heading(x):
        x.send(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000)

    with FaultServer({"a": b"x"}) as server:
        for endless in (announcing, trailing, heading):
            server.fail("a", endless)
            with pytest.raises(TransferFailed):
                read(HttpRemote(server.url))


def test_a_cut_pool_makes_no_new_connections():
    with FaultServer({"a": b"x"}) as server:
        with Connections() as connections, connections.used():
            read(HttpRemote(server.url))
        with connections.used(), pytest.raises(TransferFailed):
            read(HttpRemote(server.url))


def small_files(count):
    content = {f"a/{number:02d}": bytes([number]) * 1000 for number in range(count)}
    return content, [File(path, len(data)) for path, data in content.items()]


def test_the_answer_to_the_next_small_file_arrives_meanwhile(tmp_path):
    content, files = small_files(30)
    with FaultServer(content) as server:
        remote = HttpRemote(server.url)
        ahead = []
        remote.expect = lambda file: (ahead.append(file.path), HttpRemote.expect(remote, file))
        assert [file.size for file in fetch(files, remote, Store(tmp_path))] == [1000] * 30
        assert ahead
        assert [server.count(path) for path in content] == [1] * 30
    for path, data in content.items():
        assert (tmp_path / path).read_bytes() == data


def test_one_transfer_at_a_time_is_one_connection(tmp_path):
    content, files = small_files(10)
    with FaultServer(content) as server:
        fetch(files, HttpRemote(server.url), Store(tmp_path), threads=1)
        assert server.connections == 1


@pytest.mark.parametrize(
    "fault",
    [
        faults.closed_without_answer,
        faults.reset_in_the_middle,
        faults.truncated,
        faults.status(503),
        faults.redirect_chain(2),
        faults.chunked,
        faults.no_http,
    ],
)
def test_what_was_asked_ahead_may_fail_as_anything_else(tmp_path, fault):
    content, files = small_files(20)
    with FaultServer(content) as server:
        for path in content:
            server.fail(path, fault)
        fetch(files, HttpRemote(server.url), Store(tmp_path))
    for path, data in content.items():
        assert (tmp_path / path).read_bytes() == data


def test_a_file_asked_ahead_that_is_not_there_is_told_once(tmp_path):
    content, files = small_files(10)
    with FaultServer(content) as server:
        del server.files["a/05"]
        with pytest.raises(NotOnRemote, match="a/05") as caught:
            fetch(files, HttpRemote(server.url), Store(tmp_path))
        assert len(caught.value.done) == 9
        assert server.count("a/05") == 1


def test_an_answer_asked_ahead_and_not_wanted_any_more_is_dropped():
    with FaultServer({"a": b"x" * 9, "b": b"y"}) as server:
        remote = HttpRemote(server.url)
        with Connections() as connections, connections.used():
            remote.expect(File("a"))
            assert read(remote, "b") == b"y"
        with pytest.raises(TransferFailed), connections.used():
            read(remote, "a")


def test_what_was_asked_ahead_and_is_not_wanted_takes_no_place(tmp_path):
    content, files = small_files(30)
    (tmp_path / "a").write_text("a file where the folder should be")
    with FaultServer(content) as server:
        started = time.monotonic()
        with pytest.raises(StoreError, match="move it away"):
            fetch(files, HttpRemote(server.url), Store(tmp_path), threads=2, stall=5.0)
        assert time.monotonic() - started < 4.0


def test_a_request_ahead_that_cannot_be_sent_takes_no_place():
    with FaultServer({}) as server:
        remote = HttpRemote(server.url, token="a\nb")
        with Connections(stall=5.0, most=1) as connections, connections.used():
            started = time.monotonic()
            for number in range(3):
                with pytest.raises(InvalidArgument, match="line break"):
                    remote.expect(File(f"{number}"))
            assert time.monotonic() - started < 4.0


def test_files_of_one_address_are_asked_for_as_often_as_there_are(tmp_path):
    with FaultServer({"x": b"1" * 100, "y": b"2" * 100}) as server:
        files = [
            File(f"a/{number:02d}", 100, url=f"{server.url}/{'xyy'[number % 3]}")
            for number in range(30)
        ]
        started = time.monotonic()
        fetch(files, HttpRemote(server.url), Store(tmp_path), threads=3, stall=5.0)
        assert time.monotonic() - started < 4.0
        assert (server.count("x"), server.count("y")) == (10, 20)
    for number in range(30):
        assert (tmp_path / f"a/{number:02d}").read_bytes() == b"122"[number % 3 :][:1] * 100


def test_no_file_is_asked_for_twice_when_more_threads_come_to_help(tmp_path):
    # a server so slow that the call starts more threads while the next file is asked for
    content, files = small_files(60)
    with FaultServer(content, rate=100_000) as server:
        fetch(files, HttpRemote(server.url), Store(tmp_path))
        assert server.connections > 4
        assert [server.count(path) for path in content] == [1] * 60
