"""The data server: what it serves, what it hides, and how it takes bad requests."""

import base64
import email.utils
import hashlib
import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from urllib.parse import quote

import pytest

from one_cache.errors import InvalidArgument
from one_cache.serve import DataServer

CONTENT = bytes(range(256)) * 4


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "lab data"
    (root / "lab/Subjects/KS01/2024-01-01/001/alf/#2024-05-06#").mkdir(parents=True)
    (root / "a.npy").write_bytes(CONTENT)
    (root / "lab/Subjects/KS01/2024-01-01/001/alf/#2024-05-06#/drift.times.npy").write_bytes(b"d")
    return root


@pytest.fixture
def server(folder):
    with DataServer(folder) as server:
        yield server


def ask(server, path, method="GET", body=None, **headers):
    """Send one request on a connection of its own; `_` in a header's name stands for `-`."""
    host = server.url.removeprefix("http://")
    with closing(http.client.HTTPConnection(host, timeout=10)) as connection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, headers=named)
        answer = connection.getresponse()
        answer.content = answer.read()
        return answer


def talk(server, text, wait=True):
    """Send raw bytes and give all that comes back until the server closes."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(text)
        if wait:
            connection.shutdown(socket.SHUT_WR)
        got = b""
        while chunk := connection.recv(65536):
            got += chunk
        return got


def test_a_file_is_served_with_its_validators(server, folder):
    answer = ask(server, "/a.npy")
    assert (answer.status, answer.content) == (200, CONTENT)
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"].startswith('"')
    modified = email.utils.parsedate_to_datetime(answer.headers["Last-Modified"]).timestamp()
    assert modified == int((folder / "a.npy").stat().st_mtime)
    assert "Python" not in str(answer.headers)


def test_head_says_the_same_without_the_bytes(server):
    get, head = ask(server, "/a.npy"), ask(server, "/a.npy", "HEAD")
    assert (head.status, head.content) == (200, b"")
    differs = {"Date"}
    assert [item for item in get.headers.items() if item[0] not in differs] == [
        item for item in head.headers.items() if item[0] not in differs
    ]


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 3_000_000])
def test_files_of_every_size_arrive(server, folder, size):
    content = os.urandom(size)
    (folder / "sized.npy").write_bytes(content)
    answer = ask(server, "/sized.npy")
    assert (answer.status, answer.content) == (200, content)
    part = ask(server, "/sized.npy", Range="bytes=1-")
    assert (part.status, part.content) == (206, content[1:]) if size > 1 else (part.status == 416)


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-", 0, 1024),
        ("bytes=0-0", 0, 1),
        ("bytes=1000-", 1000, 1024),
        ("bytes=10-19", 10, 20),
        ("bytes=10-999999", 10, 1024),
        ("bytes=-5", 1019, 1024),
        ("bytes=-5000", 0, 1024),
        ("Bytes = 3-4", 3, 5),
    ],
)
def test_a_range_is_a_part(server, asked, start, stop):
    answer = ask(server, "/a.npy", Range=asked)
    assert (answer.status, answer.content) == (206, CONTENT[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/1024"
    assert answer.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize(
    "asked",
    ["bytes=5-2", "bytes=0-1,5-6", "bytes=-", "bytes=a-b", "lines=0-5", "", "bytes=1" + "0" * 99],
)
def test_a_range_that_means_nothing_gives_the_whole(server, asked):
    answer = ask(server, "/a.npy", Range=asked)
    assert (answer.status, answer.content) == (200, CONTENT)


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=9999-10000", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused_with_the_size(server, asked):
    answer = ask(server, "/a.npy", Range=asked)
    assert answer.status == 416
    assert answer.headers["Content-Range"] == "bytes */1024"


def test_a_known_version_is_not_sent_again(server):
    first = ask(server, "/a.npy")
    for condition in (
        {"If_None_Match": first.headers["ETag"]},
        {"If_None_Match": f'"other", W/{first.headers["ETag"]}'},
        {"If_None_Match": "*"},
        {"If_Modified_Since": first.headers["Last-Modified"]},
        {"if_none_match": first.headers["ETag"]},
    ):
        answer = ask(server, "/a.npy", **condition)
        assert (answer.status, answer.content) == (304, b""), condition
        assert answer.headers["ETag"] == first.headers["ETag"]


def test_another_version_is_sent(server):
    first = ask(server, "/a.npy")
    for condition in (
        {"If_None_Match": '"other"'},
        # where there is a tag, the date is not looked at
        {"If_None_Match": '"other"', "If_Modified_Since": first.headers["Last-Modified"]},
        {"If_Modified_Since": "Mon, 01 Jan 2001 00:00:00 GMT"},
        {"If_Modified_Since": "yesterday"},
    ):
        assert ask(server, "/a.npy", **condition).status == 200, condition


def test_if_range_continues_the_same_version_alone(server, folder):
    os.utime(folder / "a.npy", (1.7e9, 1.7e9))
    old = ask(server, "/a.npy")
    for condition in (old.headers["ETag"], old.headers["Last-Modified"]):
        assert ask(server, "/a.npy", Range="bytes=9-", If_Range=condition).status == 206
    (folder / "new").write_bytes(CONTENT[::-1])
    os.replace(folder / "new", folder / "a.npy")
    for condition in (
        old.headers["ETag"],
        old.headers["Last-Modified"],
        "W/" + ask(server, "/a.npy").headers["ETag"],
        # written this very second: its date may name another content still
        ask(server, "/a.npy").headers["Last-Modified"],
    ):
        answer = ask(server, "/a.npy", Range="bytes=9-", If_Range=condition)
        assert (answer.status, answer.content) == (200, CONTENT[::-1])


def test_a_replaced_file_of_equal_size_and_time_has_another_etag(server, folder):
    old = ask(server, "/a.npy").headers["ETag"]
    now = (folder / "a.npy").stat()
    (folder / "new").write_bytes(CONTENT[::-1])
    os.utime(folder / "new", ns=(now.st_atime_ns, now.st_mtime_ns))
    os.replace(folder / "new", folder / "a.npy")
    assert ask(server, "/a.npy").headers["ETag"] != old


def test_many_requests_share_one_connection(server, folder):
    for number in range(20):
        (folder / f"{number}.npy").write_bytes(b"x" * number)
    host = server.url.removeprefix("http://")
    with closing(http.client.HTTPConnection(host, timeout=10)) as connection:
        connection.connect()
        own = connection.sock.getsockname()
        for number in range(20):
            for path, size in ((f"/{number}.npy", number), ("/missing", 10), ("/", None)):
                connection.request("GET", path)
                content = connection.getresponse().read()
                assert size is None or len(content) == size
        assert connection.sock.getsockname() == own


def test_requests_sent_ahead_are_answered_in_order(server):
    one = b"GET /a.npy HTTP/1.1\r\nHost: x\r\nRange: bytes=%d-%d\r\n\r\n"
    got = talk(server, b"".join(one % (n, n) for n in range(65, 70)))
    assert [part[-1:] for part in got.split(b"HTTP/1.1 206")[1:]] == [b"A", b"B", b"C", b"D", b"E"]


def test_every_name_is_served(server, folder):
    names = ["a b.npy", "50%.npy", "a%23b.npy", "a+b&c=d;e.npy", "what?.npy", "mäuse.npy", "a:b"]
    for name in names:
        (folder / name).write_bytes(name.encode())
        assert ask(server, "/" + quote(name)).content == name.encode()
    revised = "/lab/Subjects/KS01/2024-01-01/001/alf/#2024-05-06#/drift.times.npy"
    assert ask(server, quote(revised)).content == b"d"
    # as clients send it that do not quote
    assert talk(server, f"GET {revised} HTTP/1.0\r\n\r\n".encode()).endswith(b"\r\n\r\nd")
    assert talk(server, "GET /mäuse.npy HTTP/1.0\r\n\r\n".encode()).endswith("mäuse.npy".encode())


def test_a_name_that_is_no_unicode_is_served(server, folder):
    name = os.fsencode(folder) + b"/\xff.npy"
    with open(name, "wb") as file:
        file.write(b"latin")
    assert ask(server, "/%ff.npy").content == b"latin"
    assert b'href="/%FF.npy"' in ask(server, "/").content


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.npy",
        "/lab/../../secret.npy",
        "/lab/../a.npy",
        "/%2e%2e/secret.npy",
        "/..%2fsecret.npy",
        "/%2e%2e%2fsecret.npy",
        "/..%5csecret.npy",
        "/lab\\..\\a.npy",
        "//etc/hostname",
        "/%2fetc/hostname",
        "/a.npy%00",
        "/a.npy/",
        "/a.npy/x",
        "/lab//Subjects/",
        "/.hidden.npy",
        "/.one_cache/state.json",
        "/.one_cache/",
        "/.half.npy.part",
        "/half.npy.part",
        "/outside.npy",
        "/outside/secret.npy",
        "/loop.npy",
        "/dangling.npy",
        "/pipe.npy",
        "/missing.npy",
        "/lab",
        pytest.param("/" + "x" * 300, id="long name"),
        pytest.param("/" + "x/" * 3000, id="long path"),
    ],
)
def test_what_is_hidden_outside_or_missing_is_not_found(server, folder, path):
    (folder.parent / "secret.npy").write_bytes(b"secret")
    (folder / ".hidden.npy").write_bytes(b"secret")
    (folder / ".one_cache").mkdir()
    (folder / ".one_cache/state.json").write_bytes(b"secret")
    (folder / ".half.npy.part").write_bytes(b"secret")
    (folder / "half.npy.part").write_bytes(b"secret")
    (folder / "outside.npy").symlink_to(folder.parent / "secret.npy")
    (folder / "outside").symlink_to(folder.parent)
    (folder / "loop.npy").symlink_to("loop.npy")
    (folder / "dangling.npy").symlink_to("gone.npy")
    os.mkfifo(folder / "pipe.npy")
    got = talk(server, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert got.split(b" ")[1] == b"404", got
    assert b"secret" not in got


def test_a_link_within_the_folder_is_served(server, folder):
    (folder / "link.npy").symlink_to("a.npy")
    assert ask(server, "/link.npy").content == CONTENT


def test_a_file_that_may_not_be_read_is_forbidden(server, folder):
    os.chmod(folder / "a.npy", 0)
    user = os.geteuid()
    try:
        if user == 0:  # root reads everything
            os.seteuid(65534)
        assert ask(server, "/a.npy").status == 403
    finally:
        os.seteuid(user)


def test_a_folder_lists_what_it_serves(server, folder):
    (folder / ".hidden").write_bytes(b"")
    (folder / "x.npy.part").write_bytes(b"")
    (folder / "outside").symlink_to(folder.parent)
    (folder / "<script>#1.npy").write_bytes(b"")
    page = ask(server, "/").content.decode()
    assert '<a href="/a.npy">a.npy</a><td align="right">1,024' in page
    assert '<a href="/lab/">lab/</a>' in page
    assert '<a href="/%3Cscript%3E%231.npy">&lt;script&gt;#1.npy</a>' in page
    assert "hidden" not in page
    assert "part" not in page
    assert "outside" not in page
    assert "KS01" in ask(server, "/lab/Subjects/").content.decode()


def test_the_tables_are_listed_with_their_hashes(server, folder):
    (folder / "sessions.pqt").write_bytes(b"sessions")
    (folder / "datasets.pqt").write_bytes(b"datasets!")
    (folder / ".hidden.pqt").write_bytes(b"x")
    (folder / "folder.pqt").mkdir()
    (folder / "lab/_ibl_trials.table.pqt").write_bytes(b"x")
    digest = hashlib.sha256(b"datasets!").hexdigest()
    listed = json.loads(ask(server, "/tables.json").content)
    assert [table["name"] for table in listed] == ["datasets", "sessions"]
    assert listed[0] == {
        "name": "datasets",
        "path": "datasets.pqt",
        "size": 9,
        "hash": digest,
        "fingerprint": digest,
    }


def test_the_list_of_tables_follows_the_folder(server, folder):
    assert json.loads(ask(server, "/tables.json").content) == []
    (folder / "sessions.pqt").write_bytes(b"old")
    first = ask(server, "/tables.json")
    assert ask(server, "/tables.json", If_None_Match=first.headers["ETag"]).status == 304
    (folder / "new").write_bytes(b"new")
    os.replace(folder / "new", folder / "sessions.pqt")
    second = ask(server, "/tables.json", If_None_Match=first.headers["ETag"])
    assert json.loads(second.content)[0]["hash"] == hashlib.sha256(b"new").hexdigest()


TOKEN = "correct-horse"
BASIC = "Basic " + base64.b64encode("käthe:paß:wort".encode()).decode()
LATIN = "Basic " + base64.b64encode("käthe:paß:wort".encode("latin-1")).decode()


@pytest.mark.parametrize("path", ["/", "/a.npy", "/tables.json", "/missing", "/../x"])
def test_who_has_no_credential_learns_nothing(folder, path):
    with DataServer(folder, token=TOKEN, username="käthe", password="paß:wort") as server:
        for wrong in (
            {},
            {"Authorization": ""},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer "},
            {"Authorization": "Bearer correct-hors"},
            {"Authorization": "Bearer correct-horse2"},
            {"Authorization": "Basic correct-horse"},
            {"Authorization": "Basic !!!"},
            {"Authorization": "Basic " + base64.b64encode(b"k:p").decode()},
            {"Authorization": "Token correct-horse"},
        ):
            answer = ask(server, path, **wrong)
            assert (answer.status, answer.content) == (401, b"Unauthorized\n"), wrong
            assert "Bearer" in answer.headers["WWW-Authenticate"]
            assert "Basic" in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("right", [f"Bearer {TOKEN}", f"bearer  {TOKEN}", BASIC, LATIN])
def test_who_has_a_credential_comes_in(folder, right):
    with DataServer(folder, token=TOKEN, username="käthe", password="paß:wort") as server:
        assert ask(server, "/a.npy", Authorization=right).content == CONTENT


@pytest.mark.parametrize(
    "options",
    [
        {"token": ""},
        {"token": "two words"},
        {"token": "line\r\nbreak"},
        {"username": "only"},
        {"password": "only"},
        {"username": "a:b", "password": "c"},
        {"readonly": False},
        {"port": 70_000},
        {"host": "no.such.host.invalid"},
    ],
)
def test_options_that_cannot_work_are_refused(folder, options):
    with pytest.raises(InvalidArgument):
        DataServer(folder, **options).start()


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="nowhere"):
        DataServer(tmp_path / "nowhere")


def test_a_port_that_is_taken_is_named(server, folder):
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(InvalidArgument, match=str(port)):
        DataServer(folder, port=port).start()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_nothing_is_ever_written(server, folder, method):
    before = sorted(folder.rglob("*"))
    answer = ask(server, "/a.npy", method, body=b"changed")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert sorted(folder.rglob("*")) == before
    assert (folder / "a.npy").read_bytes() == CONTENT


def test_who_asks_before_uploading_is_told_before(server):
    head = b"PUT /b.npy HTTP/1.1\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n"
    assert talk(server, head, wait=False).startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET\r\n\r\n", b"400"),
        (b"GET /a.npy HTTP/9.9\r\n\r\n", b"505"),
        (b"GET a.npy HTTP/1.0\r\n\r\n", b"404"),
        (b"BREW /a.npy HTTP/1.1\r\n\r\n", b"501"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /a.npy HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /%zz HTTP/1.0\r\n\r\n", b"404"),
        (b"GET /%ff%fe HTTP/1.0\r\n\r\n", b"404"),
        (b"GET http://elsewhere/a.npy HTTP/1.0\r\nRange: bytes=0-0\r\n\r\n", b"206"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
    ],
)
def test_bad_requests_are_answered_and_the_server_lives(server, text, status):
    assert status in talk(server, text)
    assert ask(server, "/a.npy").content == CONTENT


def test_the_body_of_a_get_is_not_the_next_request(server):
    inner = b"GET /lab/ HTTP/1.1\r\nHost: x\r\n\r\n"
    outer = b"GET /a.npy HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(inner)
    got = talk(server, outer + inner, wait=False)
    assert got.count(b"HTTP/1.1 200") == 1


def test_clients_that_go_away_leave_no_trace(server, folder, capfd, caplog):
    (folder / "large.npy").write_bytes(bytes(20_000_000))
    host, port = server.url.removeprefix("http://").split(":")
    for text in (b"GET /large.npy HTTP/1.1\r\n\r\n", b"GET /lar", b""):
        connection = socket.create_connection((host, int(port)))
        # closing with a linger of 0 is a reset
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.sendall(text)
        time.sleep(0.05)
        connection.close()
    assert ask(server, "/a.npy").content == CONTENT
    server.stop()
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_a_file_that_shrinks_while_it_is_sent_arrives_short_and_never_filled(server, folder):
    size = 80_000_000
    with open(folder / "large.npy", "wb") as file:
        file.truncate(size)
    host = server.url.removeprefix("http://")
    with closing(http.client.HTTPConnection(host, timeout=10)) as connection:
        connection.request("GET", "/large.npy")
        answer = connection.getresponse()
        answer.read(1 << 20)
        os.truncate(folder / "large.npy", 1 << 20)
        with pytest.raises(http.client.IncompleteRead):
            answer.read()


def test_requests_are_logged_without_query_and_credential(folder, caplog):
    caplog.set_level(logging.DEBUG, "one_cache.serve")
    with DataServer(folder, token=TOKEN) as server:
        ask(server, "/a.npy?token=s3cret", Authorization=f"Bearer {TOKEN}")
        ask(server, "/%1b[31mred", Authorization="Bearer guess")
        talk(server, b"GET /\x1b[31m HTTP/1.1\r\n\r\n")
    logged = [record.getMessage() for record in caplog.records]
    assert any("GET /a.npy" in line and line.endswith("200") for line in logged)
    assert not any(
        secret in line for line in logged for secret in ("s3cret", TOKEN, "guess", "\x1b")
    )


def test_a_server_open_to_the_network_without_a_token_is_warned_about(folder, caplog):
    with DataServer(folder, host="0.0.0.0", token=TOKEN) as server:
        assert ask(server, "/a.npy").status == 401
    assert caplog.records == []
    with DataServer(folder, host="0.0.0.0"):
        assert "no token" in caplog.text


def test_a_server_starts_and_stops_again(folder):
    server = DataServer(folder)
    server.stop()
    for _ in range(2):
        server.start()
        server.start()
        assert ask(server, "/a.npy").status == 200
        url = server.url
        server.stop()
        server.stop()
        assert server.url == url
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(url.removeprefix("http://").split(":"), timeout=5)


def test_the_address_is_known_before_the_first_answer(folder):
    server = DataServer(folder)
    url = server.url
    with server:
        assert server.url == url
        assert ask(server, "/a.npy").status == 200
    unused = DataServer(folder)
    assert unused.url
    unused.stop()


def test_stopping_ends_connections_that_idle(folder):
    server = DataServer(folder)
    server.start()
    host, port = server.url.removeprefix("http://").split(":")
    before = threading.active_count()
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /a.npy HTTP/1.1\r\nRange: bytes=0-0\r\n\r\n")
        assert connection.recv(65536)
        start = time.monotonic()
        server.stop()
        assert connection.recv(1) == b""
        assert time.monotonic() - start < 4
    assert threading.active_count() < before + 1


def test_many_clients_at_once_are_served(server, folder):
    files = {f"{number}.npy": os.urandom(40_000 + 3_000 * number) for number in range(40)}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    wrong = []

    def fetch(name):
        if ask(server, f"/{name}").content != files[name]:
            wrong.append(name)

    threads = [threading.Thread(target=fetch, args=(name,)) for name in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_version_6_addresses_are_served(folder):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")
    try:
        with DataServer(folder, host="::1") as server:
            assert server.url.startswith("http://[::1]:")
            assert ask(server, "/a.npy").content == CONTENT
    except InvalidArgument as error:
        pytest.skip(f"no IPv6 on this machine: {error}")


def test_its_repr_shows_no_secret(folder):
    with DataServer(folder, token=TOKEN, username="u", password="p4ss") as server:
        assert server.url in repr(server)
        assert TOKEN not in repr(server)
        assert "p4ss" not in repr(server)


def test_serving_forever_ends_with_ctrl_c(folder):
    code = (
        "import sys; from one_cache.serve import DataServer\n"
        "try:\n"
        "    server = DataServer(sys.argv[1]); print(server.url, flush=True)\n"
        "    server.serve_forever()\n"
        "except KeyboardInterrupt: print('bye')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        url = process.stdout.readline().strip()
        host, port = url.removeprefix("http://").split(":")
        socket.create_connection((host, int(port)), timeout=10).close()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert (out, err, process.returncode) == ("bye\n", "", 0)
