"""Processes, kills, disks and users: what shares a cache folder, and what it must survive."""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import faults
import pytest
from faults import FaultServer

from one_cache.errors import StoreError, TransferErrors
from one_cache.modes import FileState
from one_cache.records import File
from one_cache.remotes.http import HttpRemote
from one_cache.store import Store
from one_cache.transfer import fetch

CROWD = Path(__file__).with_name("crowd.py")
# ONE_CACHE_KILLS=300 for the long run
KILLS = int(os.environ.get("ONE_CACHE_KILLS", "40"))


def md5(content):
    return hashlib.md5(content).hexdigest()


def recorded(files):
    return [File(path, len(content), md5(content)) for path, content in files.items()]


def crowd(server, folder, files, *arguments):
    listing = folder / "list.json"
    listing.write_text(json.dumps([[f.path, f.size, f.hash] for f in recorded(files)]))
    done = subprocess.run(
        [sys.executable, CROWD, server.url, folder / "cache", listing, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def sessions(count, inside, size):
    return {
        f"lab/Subjects/s{number}/2024-01-01/001/alf/{name}.npy": os.urandom(size + name)
        for number in range(count)
        for name in range(inside)
    }


def test_sixteen_processes_bring_each_file_once(tmp_path):
    files = sessions(10, 20, 3000)
    with FaultServer(files) as server:
        result, errors = crowd(server, tmp_path, files, "many", 16)
        assert result == {"codes": [0] * 16, "wrong": []}, errors
        assert sorted(asked.path for asked in server.asked) == sorted(files)
    assert Store(tmp_path / "cache").states(recorded(files)) == [FileState.GOOD] * 200
    assert list((tmp_path / "cache").rglob("*.part")) == []


def test_processes_that_want_one_large_file_bring_it_once(tmp_path):
    files = {"large.npy": os.urandom(6 << 20)}
    with FaultServer(files, rate=20 << 20) as server:
        result, errors = crowd(server, tmp_path, files, "many", 6)
        assert result == {"codes": [0] * 6, "wrong": []}, errors
        assert server.sent["large.npy"] == 6 << 20


@pytest.mark.parametrize("locks", ["lie", "missing"])
def test_without_working_locks_processes_still_share(tmp_path, locks):
    files = sessions(10, 20, 3000)
    with FaultServer(files, rate=3_000_000) as server:
        result, errors = crowd(server, tmp_path, files, "many", 8, locks)
        assert result == {"codes": [0] * 8, "wrong": []}, errors
        counts = [server.count(path) for path in files]
    # eight would ask eight times; the first file of all may be, before anybody can know
    assert sum(counts) <= 2 * len(counts)


@pytest.mark.parametrize("locks", ["lie", "missing"])
def test_without_working_locks_nothing_is_wrong(tmp_path, locks):
    files = {**sessions(4, 10, 3000), "large.npy": os.urandom(5 << 20)}
    with FaultServer(files) as server:
        result, errors = crowd(server, tmp_path, files, "many", 2, locks)
        assert result == {"codes": [0, 0], "wrong": []}, errors
        assert all(server.sent[path] <= 2 * len(content) for path, content in files.items())
    assert Store(tmp_path / "cache").states(recorded(files)).count(FileState.GOOD) >= 10


def test_a_killed_process_leaves_nothing_that_is_trusted(tmp_path):
    files = {
        **sessions(3, 5, 20_000),
        "lab/Subjects/s9/2024-01-01/001/raw/large.npy": os.urandom(5 << 20),
        "lab/Subjects/s9/2024-01-01/001/raw/other.npy": os.urandom(6 << 20),
    }
    seed = os.environ.get("ONE_CACHE_SEED", str(int(time.time())))
    with FaultServer(files, rate=40 << 20) as server:
        result, errors = crowd(server, tmp_path, files, "kills", KILLS, seed)
        assert result["wrong"] == [], f"{errors} (ONE_CACHE_SEED={seed})"
    cache = tmp_path / "cache"
    assert Store(cache).states(recorded(files)) == [FileState.GOOD] * len(files)
    assert all((cache / path).read_bytes() == content for path, content in files.items())
    assert list(cache.rglob("*.npy.*.part")) == [], "what dead processes left is cleaned up"


def test_a_killed_process_is_continued_by_the_next(tmp_path):
    files = {"a/large.npy": os.urandom(8 << 20)}
    script = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import crowd; "
        "from one_cache.records import File; "
        "crowd.bring(sys.argv[2], sys.argv[3], [File(*json.loads(sys.argv[4]))])"
    )
    cache = tmp_path / "cache"
    with FaultServer(files, rate=8 << 20) as server:
        [file] = recorded(files)
        record = json.dumps([file.path, file.size, file.hash])
        process = subprocess.Popen(
            [sys.executable, "-c", script, CROWD.parent, server.url, cache, record]
        )
        while server.sent[file.path] < 5 << 20:
            time.sleep(0.01)
        process.kill()
        process.wait()
        server.rate = None
        server.asked.clear()
        start = time.monotonic()
        assert fetch([file], HttpRemote(server.url), Store(cache)) == [file]
        assert time.monotonic() - start < 5, "a dead owner is replaced at once"
        [again] = server.asked
        assert int(again.headers["range"].strip("bytes=-")) > 3 << 20
    assert [path.name for path in (cache / "a").iterdir()] == ["large.npy"]


def test_a_live_process_is_waited_for(tmp_path):
    files = {"a/1.npy": os.urandom(200_000), "b/2.npy": os.urandom(1000)}
    first, _ = recorded(files)
    cache = tmp_path / "cache"
    with FaultServer(files, rate=100_000) as server:
        script = (
            "import sys, json; sys.path.insert(0, sys.argv[1]); import crowd; "
            "from one_cache.records import File; "
            "crowd.bring(sys.argv[2], sys.argv[3], [File(*json.loads(sys.argv[4]))])"
        )
        record = json.dumps([first.path, first.size, first.hash])
        process = subprocess.Popen(
            [sys.executable, "-c", script, CROWD.parent, server.url, cache, record]
        )
        while not server.sent[first.path]:
            time.sleep(0.01)
        fetch(recorded(files), HttpRemote(server.url), Store(cache))
        assert process.wait() == 0
        assert server.count(first.path) == 1


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 8 MB."""
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "none", disk], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr}")
    yield disk
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_is_named_and_room_heals_it(small_disk):
    files = {"a/1.npy": os.urandom(3 << 20), "a/2.npy": os.urandom(3 << 20)}
    with FaultServer(files) as server:
        remote, store = HttpRemote(server.url), Store(small_disk / "cache")
        (small_disk / "ballast").write_bytes(bytes(3 << 20))
        with pytest.raises((StoreError, TransferErrors), match="MB free.*Make room there"):
            fetch(recorded(files), remote, store)
        assert all(path.stat().st_size == 3 << 20 for path in small_disk.rglob("*.npy"))
        assert list(small_disk.rglob("*.part")) == []
        (small_disk / "ballast").unlink()
        fetch(recorded(files), remote, store)
        assert store.states(recorded(files)) == [FileState.GOOD] * 2


def test_a_file_larger_than_the_disk_is_not_begun(small_disk):
    with FaultServer({}) as server:
        with pytest.raises(StoreError, match=r"needs 9\.4 MB, .* has .* MB free") as caught:
            fetch([File("a.npy", 9 << 20, "0" * 32)], HttpRemote(server.url), Store(small_disk))
        assert caught.value.errno == 28
        assert server.asked == []


def test_a_disk_made_read_only_in_between_is_named(small_disk):
    files = sessions(2, 3, 1000)
    good, *rest = recorded(files)
    with FaultServer(files) as server:
        remote, store = HttpRemote(server.url), Store(small_disk)
        fetch([good], remote, store)
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        assert fetch([good], remote, store) == [good], "a read-only cache serves"
        with pytest.raises(StoreError, match='Read-only .* "local" and "fixed" only read'):
            fetch([good, *rest], remote, store)
        (note,) = (small_disk / ".one_cache/verified").rglob("*.json")
        assert store.check(good) is FileState.GOOD
        assert note.exists()


@pytest.fixture
def public(tmp_path):
    """A folder that other users can reach, as tmp_path is not."""
    if os.geteuid():
        pytest.skip("only root can play other users")
    folder = Path(tempfile.mkdtemp(prefix="one-cache-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_user(user, group, umask, work):
    """Do `work` in a child that is another user; its errors come out as text."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        try:
            os.setgroups([group])
            os.setgid(group)
            os.setuid(user)
            os.umask(umask)
            work()
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - the child ends here
            os.write(writing, repr(error).encode())
            os._exit(1)
    os.close(writing)
    with open(reading) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return text


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_users_of_one_group_share_a_folder(public):
    files = {"s/1.npy": b"one", "s/2.npy": b"two", "s/3.npy": b"three"}
    cache = public / "cache"
    cache.mkdir()
    os.chown(cache, 4001, 4242)
    cache.chmod(0o2770)
    first, second, third = recorded(files)
    with FaultServer(files) as server:
        remote = HttpRemote(server.url)
        for user, file in ((4001, first), (4002, second)):
            # the umask of most systems keeps the group from writing
            assert not as_user(user, 4242, 0o022, lambda f=file: fetch([f], remote, Store(cache)))

        def replace():
            store = Store(cache)
            assert store.states([first, second]) == [FileState.GOOD] * 2
            store.write("s/1.npy", b"new")
            store.remove("s/2.npy")
            fetch([third], remote, store)

        assert not as_user(4002, 4242, 0o077, replace)
        assert "PermissionError" in as_user(4003, 4003, 0o022, lambda: os.listdir(cache))
    for path in (cache / "s", *(cache / "s").iterdir(), *(cache / ".one_cache").rglob("*")):
        now = path.stat()
        assert now.st_gid == 4242, path
        wanted = 0o2770 if path.is_dir() else 0o660
        assert stat.S_IMODE(now.st_mode) == wanted, path


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_folder_of_somebody_else_is_read_and_named(public):
    files = {"s/1.npy": b"one", "s/2.npy": b"two"}
    first, second = recorded(files)
    with FaultServer(files) as server:
        remote = HttpRemote(server.url)
        fetch([first], remote, Store(public / "cache"))

        def read():
            assert fetch([first], remote, Store(public / "cache")) == [first]
            fetch([second], remote, Store(public / "cache"))

        text = as_user(4001, 4001, 0o022, read)
        assert text.startswith("StoreError('s/2.npy: ")
        assert "Ask its owner for the right to write" in text


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_folder_that_may_not_be_looked_into_any_more_is_not_taken_for_empty(public):
    public.chmod(0o777)

    def look():
        store = Store(public / "cache")
        file = store.write("s/t/1.npy", b"one")
        assert store.state(file) is FileState.GOOD
        (public / "cache" / "s").chmod(0)
        store.state(file)

    text = as_user(4001, 4001, 0o022, look)
    assert text.startswith("StoreError('s/t/1.npy: ")
    assert "Permission denied" in text


def test_a_private_folder_stays_private(tmp_path):
    (tmp_path / "cache").mkdir(mode=0o700)
    store = Store(tmp_path / "cache")
    store.write("s/1.npy", b"one")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "cache").rglob("*")}
    assert modes <= {0o700, 0o600}


def test_a_symlinked_cache_serves_and_a_linked_file_is_replaced(tmp_path):
    files = {"s/1.npy": b"right", "s/2.npy": b"dangling", "s/3.npy": b"good"}
    archive = tmp_path / "archive"
    archive.mkdir()
    for name, content in (("1.npy", b"stale"), ("3.npy", b"good")):
        (archive / name).write_bytes(content)
    real = tmp_path / "real"
    (real / "s").mkdir(parents=True)
    for name in ("1.npy", "2.npy", "3.npy"):
        (real / "s" / name).symlink_to(archive / name)
    (tmp_path / "link").symlink_to(real)
    store = Store(tmp_path / "link")
    with FaultServer(files) as server:
        fetch(recorded(files), HttpRemote(server.url), store)
        assert server.count("s/3.npy") == 0, "read through the link"
    assert [store.path(path).read_bytes() for path in files] == list(files.values())
    assert (archive / "1.npy").read_bytes() == b"stale", "nothing is written through a link"
    assert not (archive / "2.npy").exists()


def test_a_clock_that_is_set_back_changes_nothing(tmp_path):
    files = {**sessions(1, 3, 1000), "s/large.npy": os.urandom(5 << 20)}
    future = time.time() + 400 * 86400
    with FaultServer(files) as server:
        remote, store = HttpRemote(server.url), Store(tmp_path)
        server.fail("s/large.npy", faults.truncated, always=faults.status(500))
        with pytest.raises(Exception, match="500"):
            fetch(recorded(files), remote, store, tries=1)
        for path in tmp_path.rglob("*"):
            os.utime(path, (future, future))
        server.heal()
        server.asked.clear()
        fetch(recorded(files), remote, store)
        # hashed again, as their time changed, and not fetched; the partial file is continued
        assert [asked.path for asked in server.asked] == ["s/large.npy"]
        assert "range" in server.asked[0].headers
        assert fetch(recorded(files), remote, store) == recorded(files)
        assert len(server.asked) == 1
    assert list(tmp_path.rglob("*.part")) == []
