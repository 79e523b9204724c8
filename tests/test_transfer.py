"""Many files at once: order, errors, resume, redirects, secrets, threads, time."""

import hashlib
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import faults
import pytest
from faults import FaultServer

from one_cache.errors import (
    HashMismatch,
    InvalidArgument,
    NotOnRemote,
    PathEscapes,
    RemoteError,
    StoreError,
    TransferErrors,
    TransferFailed,
)
from one_cache.modes import FileState
from one_cache.records import File
from one_cache.remotes.connections import Connections, current
from one_cache.remotes.http import HttpRemote
from one_cache.store import Store
from one_cache.testing import Fault, MemoryRemote
from one_cache.transfer import fetch

SESSION = "lab/Subjects/KS014/2019-12-06/001/alf"


def md5(content):
    return hashlib.md5(content).hexdigest()


def recorded(files):
    return [File(path, len(content), md5(content)) for path, content in files.items()]


def some(count, size=1000):
    return {f"{SESSION}/{number:03d}.npy": os.urandom(size + number) for number in range(count)}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache")


def test_files_come_in_the_order_asked_each_path_once(store):
    files = some(30)
    with FaultServer(files) as server:
        asked = recorded(files)
        asked = [*reversed(asked), asked[7]]
        got = fetch(asked, HttpRemote(server.url), store)
        assert got == asked
        assert len(server.asked) == 30
    assert all(store.path(path).read_bytes() == content for path, content in files.items())


def test_what_is_good_is_not_asked_for_again(tmp_path, store):
    files = some(5)
    with FaultServer(files) as server:
        remote = HttpRemote(server.url)
        fetch(recorded(files), remote, store)
        server.asked.clear()
        assert fetch(recorded(files), remote, Store(tmp_path / "cache")) == recorded(files)
        assert server.asked == []


def test_a_file_that_nobody_noted_is_hashed_rather_than_fetched(store):
    files = some(5)
    with FaultServer(files) as server:
        remote = HttpRemote(server.url)
        fetch(recorded(files), remote, store)
        for path in store.root.rglob("*.json"):
            path.unlink()
        store.path(f"{SESSION}/002.npy").write_bytes(b"x" * 1002)
        server.asked.clear()
        fetch(recorded(files), remote, store)
        assert [asked.path for asked in server.asked] == [f"{SESSION}/002.npy"]
    assert store.states(recorded(files)) == [FileState.GOOD] * 5


def test_without_a_record_the_hash_of_what_arrived_counts_from_then_on(store):
    files = some(1)
    bare = [File(path) for path in files]
    with FaultServer(files) as server:
        [got] = fetch(bare, HttpRemote(server.url), store)
    assert [got] == recorded(files)
    assert store.state(bare[0]) is FileState.GOOD
    store.path(got.path).write_bytes(b"y" * got.size)
    assert store.state(got) is FileState.UNCHECKED
    assert store.check(got) is FileState.WRONG


def test_one_failure_does_not_lose_the_others(store):
    files = some(10)
    with FaultServer(files) as server:
        asked = [*recorded(files), File("missing.npy"), File("gone.npy")]
        server.fail("gone.npy", always=faults.status(410))
        with pytest.raises(TransferErrors, match=r"2 of 12 files failed: .*npy: not on") as caught:
            fetch(asked, HttpRemote(server.url), store)
        assert set(caught.value.errors) == {"missing.npy", "gone.npy"}
        assert all(isinstance(error, NotOnRemote) for error in caught.value.errors.values())
        assert list(caught.value.done) == recorded(files)
        if sys.version_info >= (3, 11):
            assert len(caught.value.__cause__.exceptions) == 2
        with pytest.raises(NotOnRemote) as single:
            fetch([*recorded(files), File("missing.npy")], HttpRemote(server.url), store)
        assert list(single.value.done) == recorded(files)


def test_a_cut_is_continued_where_it_happened(store):
    files = {"a.npy": os.urandom(300_000)}
    with FaultServer(files) as server:
        server.fail("a.npy", faults.truncated, faults.truncated)
        fetch(recorded(files), HttpRemote(server.url), store)
        first, second, third = server.asked
        assert "range" not in first.headers
        assert second.headers["range"] == "bytes=150000-"
        assert third.headers["range"] == "bytes=225000-"
        assert second.headers["if-range"] == f'"{md5(files["a.npy"])}"'
        assert server.sent["a.npy"] == 300_000
    assert all(asked.headers["accept-encoding"] == "identity" for asked in server.asked)


def test_a_partial_of_another_version_is_dropped(store):
    old, new = bytes(300_000), os.urandom(300_000)

    def replaced(x):
        faults.truncated(x)
        x.server.files["a.npy"] = new

    with FaultServer({"a.npy": old}) as server:
        server.fail("a.npy", replaced)
        [got] = fetch([File("a.npy")], HttpRemote(server.url), store)
        assert server.sent["a.npy"] == 150_000 + 300_000
    assert (got.hash, store.path("a.npy").read_bytes()) == (md5(new), new)


def test_without_hash_and_validator_nothing_is_continued(store):
    files = {"a.npy": os.urandom(300_000)}
    with FaultServer(files, etags=False) as server:
        server.fail("a.npy", faults.truncated)
        fetch([File("a.npy")], HttpRemote(server.url), store)
        assert not any("range" in asked.headers for asked in server.asked)
    assert store.path("a.npy").read_bytes() == files["a.npy"]


def test_the_next_call_continues_what_failed(store):
    files = {"a.npy": os.urandom(6 << 20)}
    with FaultServer(files) as server:
        server.fail("a.npy", faults.truncated, always=faults.status(500))
        with pytest.raises(TransferFailed):
            fetch(recorded(files), HttpRemote(server.url), store, tries=1)
        [part] = store.root.rglob("*.part")
        assert part.stat().st_size == 3 << 20
        server.heal()
        fetch(recorded(files), HttpRemote(server.url), store)
        assert server.asked[-1].headers["range"] == f"bytes={3 << 20}-"
        assert server.sent["a.npy"] == 6 << 20
    assert list(store.root.rglob("*.part")) == []


def test_a_partial_file_with_wrong_bytes_does_no_harm(store):
    files = {"a.npy": os.urandom(6 << 20)}
    with FaultServer(files) as server:
        server.fail("a.npy", faults.truncated, always=faults.status(500))
        with pytest.raises(TransferFailed):
            fetch(recorded(files), HttpRemote(server.url), store, tries=1)
        [part] = store.root.rglob("*.part")
        with part.open("r+b") as file:
            file.write(b"rubbish")
        server.heal()
        fetch(recorded(files), HttpRemote(server.url), store)
    assert store.path("a.npy").read_bytes() == files["a.npy"]


def test_progress_gives_new_tries(store):
    files = {"a.npy": os.urandom(3 << 20)}
    with FaultServer(files) as server:
        server.fail("a.npy", *[faults.truncated] * 5)
        fetch(recorded(files), HttpRemote(server.url), store, tries=2)
        assert len(server.asked) == 6


def test_wrong_bytes_are_asked_for_twice(store):
    files = {"a.npy": os.urandom(5000)}
    with FaultServer(files) as server:
        server.fail("a.npy", always=faults.wrong_byte)
        with pytest.raises(HashMismatch, match="a.npy: expected md5 .*, got md5 .*nothing kept"):
            fetch(recorded(files), HttpRemote(server.url), store)
        assert len(server.asked) == 2


def test_what_cannot_heal_is_not_asked_for_again(store):
    with FaultServer({}) as server:
        for code in (401, 403, 404, 410, 418):
            server.fail(f"{code}.npy", always=faults.status(code))
        with pytest.raises(TransferErrors):
            fetch(
                [File(f"{code}.npy") for code in (401, 403, 404, 410, 418)],
                HttpRemote(server.url),
                store,
            )
        assert len(server.asked) == 5


@pytest.mark.parametrize(
    "slow", [faults.status(429, Retry_After="1"), faults.retry_after_date(1)], ids=["s", "date"]
)
def test_the_server_says_how_long_to_wait(store, slow):
    files = some(1)
    [path] = files
    with FaultServer(files) as server:
        server.fail(path, slow)
        start = time.monotonic()
        fetch(recorded(files), HttpRemote(server.url), store)
        assert 0.9 < time.monotonic() - start < 10


def test_nobody_waits_an_hour(store):
    with FaultServer({"a": b"x"}) as server:
        server.fail("a", always=faults.status(503, Retry_After="3600"))
        with pytest.raises(TransferFailed, match="asks to wait 3600 s") as caught:
            fetch([File("a")], HttpRemote(server.url), store)
        assert caught.value.retry_after == 3600


def test_a_server_that_is_down_is_not_asked_for_every_file(store):
    files = some(200)
    with FaultServer(files) as server:
        for path in files:
            server.fail(path, always=faults.status(503))
        with pytest.raises(TransferErrors, match="200 of 200") as caught:
            fetch(recorded(files), HttpRemote(server.url), store, threads=4, tries=1)
        assert len(server.asked) < 20
    assert any("not tried" in str(error) for error in caught.value.errors.values())


def test_an_address_where_nobody_listens_ends_soon(store):
    with FaultServer({}) as server:
        url = server.url
    start = time.monotonic()
    with pytest.raises(TransferFailed, match=r"127.0.0.1:\d+ refuses connections \(2 tries\)"):
        fetch([File("a")], HttpRemote(url), store)
    with pytest.raises(TransferFailed, match=r"'no-such-host.invalid' cannot be resolved"):
        fetch([File("a")], HttpRemote("http://no-such-host.invalid"), store)
    assert time.monotonic() - start < 30


def test_a_call_has_a_time_limit(store):
    files = some(3)
    slow, *others = files
    with FaultServer(files) as server:
        server.fail(slow, always=faults.stalled_in_the_body)
        start = time.monotonic()
        with pytest.raises(TransferFailed, match="not done within 1 s") as caught:
            fetch(recorded(files), HttpRemote(server.url), store, timeout=1)
        assert time.monotonic() - start < 5
        assert {file.path for file in caught.value.done} == set(others)
    assert list(store.root.rglob("*.part")) == []


def test_no_thread_and_no_socket_outlives_the_call(store):
    files = some(50)
    before = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    with FaultServer(files) as server:
        fetch(recorded(files), HttpRemote(server.url), store)
        names = {thread.name for thread in set(threading.enumerate()) - before[0]}
        assert not any(name.startswith("one_cache") for name in names)
        assert server.connections <= 16
    assert set(threading.enumerate()) == before[0]
    assert len(os.listdir("/proc/self/fd")) == before[1]


INTERRUPTED = """
import sys, threading, time
from one_cache.records import File
from one_cache.remotes.http import HttpRemote
from one_cache.store import Store
from one_cache.transfer import fetch
print("ready", flush=True)
try:
    fetch([File(f"{n}.npy", 6 << 20, "0" * 32) for n in range(20)],
          HttpRemote(sys.argv[1]), Store(sys.argv[2]))
except KeyboardInterrupt:
    print("interrupted", threading.active_count(), flush=True)
"""


def test_an_interrupt_ends_the_call_within_a_second(tmp_path):
    files = {f"{n}.npy": bytes(6 << 20) for n in range(20)}
    with FaultServer(files) as server:
        for n in range(0, 20, 2):
            server.fail(f"{n}.npy", always=faults.stalled_before_the_head)
        for n in range(1, 20, 2):
            server.fail(f"{n}.npy", always=faults.stalled_in_the_body)
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, server.url, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline() == "ready\n"
        while len(server.asked) < 16:
            time.sleep(0.01)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
        assert out == "interrupted 1\n"
        # the time includes the end of Python itself
        assert time.monotonic() - start < 2
    assert list(tmp_path.rglob("*.npy")) == []


def test_it_works_in_a_thread_and_in_several_at_once(store):
    files = some(40)
    errors = []

    def call():
        try:
            fetch(recorded(files), remote, store)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    with FaultServer(files) as server:
        remote = HttpRemote(server.url)
        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert errors == []
        assert len(server.asked) == 40, "threads share the work as processes do"
    assert store.states(recorded(files)) == [FileState.GOOD] * 40


SPAWNED = """
import multiprocessing, sys
from one_cache.records import File
from one_cache.remotes.http import HttpRemote
from one_cache.store import Store
from one_cache.transfer import fetch

def call(arguments):
    files, remote, root = arguments
    return fetch(files, remote, Store(root))

if __name__ == "__main__":
    url, root, method = sys.argv[1:]
    remote = HttpRemote(url, username="me", password="secret")
    fetch([File("a")], remote, Store(root))
    with multiprocessing.get_context(method).Pool(2) as pool:
        jobs = [([File(name)], remote, root) for name in "bcd"]
        print([file.size for [file] in pool.map(call, jobs)])
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_it_works_in_forked_and_spawned_workers(tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(SPAWNED)
    with FaultServer({"a": b"1", "b": b"12", "c": b"123", "d": b"1234"}) as server:
        done = subprocess.run(
            [sys.executable, script, server.url, tmp_path / "cache", method],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.stdout, done.stderr) == ("[2, 3, 4]\n", "")
        assert {asked.headers["authorization"] for asked in server.asked} == {"Basic bWU6c2VjcmV0"}


def test_redirects_are_followed_and_credentials_stay_at_home(store):
    files = some(3)
    with FaultServer(files) as home, FaultServer(files) as abroad:
        first, second, third = files
        home.fail(first, faults.redirect_to(abroad.url))
        home.fail(second, faults.redirect_chain(3), always=faults.redirect_chain(0))
        home.fail(third, faults.redirect_to(f"http://localhost:{abroad.port}", 307))
        remote = HttpRemote(home.url, token="very-secret")
        fetch(recorded(files), remote, store)
        assert all(a.headers["authorization"] == "Bearer very-secret" for a in home.asked)
        assert {asked.path for asked in abroad.asked} == {first, third}
        assert not any("authorization" in asked.headers for asked in abroad.asked)


def test_a_redirect_loop_ends(store):
    with FaultServer({"a": b"x"}) as server:
        server.fail("a", always=faults.redirect_loop)
        with pytest.raises(RemoteError, match="a: .* redirects more than 10 times"):
            fetch([File("a")], HttpRemote(server.url), store)


def test_a_secret_is_nowhere_to_be_read(store, caplog):
    caplog.set_level(logging.DEBUG)
    files = some(2)
    first, second = files
    with FaultServer(files) as server:
        url = server.url.replace("//", "//me:very-secret@")
        remote = HttpRemote(f"{url}/", token="also-secret")
        server.fail(first, faults.status(500), faults.truncated)
        server.fail(second, always=faults.status(403))
        signed = File("signed.npy", url=f"{url}/x?X-Amz-Signature=sig-secret")
        with pytest.raises(TransferErrors) as caught:
            fetch([*recorded(files), signed], remote, store)
        text = repr(remote) + remote.name + caplog.text + repr(caught.value)
        text += "".join(map(repr, caught.value.errors.values())) + remote.url(signed)
        assert "trying again" in caplog.text, "a line per retry"
        assert "secret" not in text
        assert pickle.loads(pickle.dumps(remote)).name == server.url


def test_each_folder_of_a_table_is_asked_for_with_its_signs_encoded(store):
    path = "alf/#2024-05-06#/a b%.npy"
    lines = []

    def raw(x):
        lines.append(x.asked.path)
        x.body(x.good_head())

    with FaultServer({path: b"0123"}) as server:
        server.fail(path, raw)
        fetch([File(path)], HttpRemote(server.url), store)
        fetch(
            [File("other.npy", url=f"{server.url}/alf/%232024-05-06#/a%20b%25.npy")],
            HttpRemote("http://elsewhere.invalid"),
            store,
        )
    assert lines == [path]
    assert store.path("other.npy").read_bytes() == b"0123"


def test_the_number_of_threads_is_that_of_the_argument_or_the_environment(store, monkeypatch):
    files = some(40)
    with FaultServer(files, rate=20_000) as server:
        fetch(recorded(files), HttpRemote(server.url), store, threads=3)
        assert server.connections == 3
        server.connections = 0
        for path in files:
            store.remove(path)
        monkeypatch.setenv("ONE_HTTP_DL_THREADS", "5")
        fetch(recorded(files), HttpRemote(server.url), store)
        assert server.connections == 5
    monkeypatch.setenv("ONE_HTTP_DL_THREADS", "many")
    with pytest.raises(InvalidArgument, match="ONE_HTTP_DL_THREADS"):
        fetch([File("x")], HttpRemote(server.url), store)


def test_two_records_of_one_path_are_refused(store):
    with pytest.raises(InvalidArgument, match="asked for twice"):
        fetch([File("a", 1), File("a", 2)], MemoryRemote({}), store)


def test_any_remote_is_healed(store):
    files = {"a.npy": os.urandom(100_000), "b.npy": os.urandom(50_000)}
    remote = MemoryRemote(files, faults=[Fault(times=2, after=30_000), Fault("b.npy", flip=7)])
    assert fetch(recorded(files), remote, store) == recorded(files)
    assert remote.open_bodies == 0


def test_a_crash_of_a_remote_is_raised_and_ends_the_call(store):
    class Broken(MemoryRemote):
        def open(self, file, start=0, validator=None):
            raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        fetch(recorded(some(5)), Broken({}), store)
    assert current() is None


def test_a_path_that_leaves_the_root_does_not_stop_the_others(store):
    files = some(3)
    with FaultServer(files) as server:
        with pytest.raises(PathEscapes) as caught:
            fetch([File("../x.npy"), *recorded(files)], HttpRemote(server.url), store)
        assert list(caught.value.done) == recorded(files)


def test_a_folder_in_the_way_is_named(store):
    files = {"a/b.npy": b"0123", "big.npy": bytes(5 << 20), "c/d.npy": b"x"}
    (store.root / "a/b.npy").mkdir(parents=True)
    (store.root / "big.npy").mkdir(parents=True)
    (store.root / "c").write_text("a file where a folder should be")
    with FaultServer(files) as server:
        with pytest.raises(TransferErrors) as caught:
            fetch(recorded(files), HttpRemote(server.url), store)
        errors = caught.value.errors
        assert all(isinstance(error, StoreError) for error in errors.values()), errors
        assert "A folder lies where the file should be" in str(errors["a/b.npy"])
        assert "A folder lies where the file should be" in str(errors["big.npy"])
        assert "A file lies where a folder should be" in str(errors["c/d.npy"])
        assert server.count("big.npy") == 0, "found before the transfer"
    assert list(store.root.rglob("*.part")) == []


def test_an_idle_connection_that_the_server_closed_is_no_failure(store, caplog):
    caplog.set_level(logging.INFO)
    files = some(12)

    def last(x):
        x.body(x.good_head())
        x.close()

    with FaultServer(files) as server:
        for path in files:
            server.fail(path, last)
        fetch(recorded(files), HttpRemote(server.url), store, threads=2, tries=1)
        assert server.connections == 12
    assert caplog.text == ""


def test_connections_of_one_call_end_with_it():
    with FaultServer({"a": b"x"}) as server:
        remote = HttpRemote(server.url)
        with Connections() as connections, connections.used():
            for _ in range(3):
                with remote.open(File("a")) as body:
                    assert b"".join(body.chunks) == b"x"
            assert server.connections == 1
        with remote.open(File("a")) as body:
            assert b"".join(body.chunks) == b"x"
        assert server.connections == 2
