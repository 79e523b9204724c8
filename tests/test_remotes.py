"""The contract of remotes, kept by each remote of the package; and what is particular to some."""

import contextlib
import os
import pickle
import stat
import threading
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest

from one_cache.errors import (
    Forbidden,
    InvalidArgument,
    NotOnRemote,
    PathEscapes,
    RemoteError,
    TransferError,
    TransferFailed,
)
from one_cache.records import File
from one_cache.remotes import connect
from one_cache.remotes.folder import FolderRemote
from one_cache.serve import DataServer
from one_cache.testing import Fault, MemoryRemote, RemoteContract, read


def fill(folder: Path, files):
    """Make `folder` hold exactly `files`, each renamed into place as careful writers do."""
    for old in [path for path in folder.rglob("*") if path.is_file()]:
        if old.relative_to(folder).as_posix() not in files:
            old.unlink()
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "new").write_bytes(content)
        os.replace(folder / "new", folder / path)


class TestMemoryRemote(RemoteContract):
    @pytest.fixture
    def place(self):
        remote = MemoryRemote({})

        def put(files):
            remote.files = dict(files)
            return remote

        return put


class TestFolderRemote(RemoteContract):
    @pytest.fixture
    def place(self, tmp_path):
        def put(files):
            fill(tmp_path, files)
            return FolderRemote(tmp_path)

        return put


class TestFolderRemoteByUrl(RemoteContract):
    @pytest.fixture
    def place(self, tmp_path):
        folder = tmp_path / "shared drive #1"
        folder.mkdir()

        def put(files):
            fill(folder, files)
            return connect(folder.as_uri())

        return put


class TestZipRemote(RemoteContract):
    @pytest.fixture
    def place(self, tmp_path):
        def put(files):
            with zipfile.ZipFile(tmp_path / "new", "w") as archive:
                for path, content in files.items():
                    if "\0" not in path:
                        archive.writestr(path, content)
            os.replace(tmp_path / "new", tmp_path / "bundle.zip")
            return connect(str(tmp_path / "bundle.zip"))

        return put


class TestZipRemoteCompressed(RemoteContract):
    @pytest.fixture
    def place(self, tmp_path):
        path = tmp_path / "my bundle.zip"

        def put(files):
            with zipfile.ZipFile(tmp_path / "new", "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in files.items():
                    archive.writestr(name, content)
            os.replace(tmp_path / "new", path)
            return connect(f"zip://{quote(str(path))}")

        return put


class TestHttpRemoteWithToken(RemoteContract):
    secrets = ("correct-horse",)

    @pytest.fixture
    def place(self, tmp_path):
        with DataServer(tmp_path, token="correct-horse") as server:

            def put(files):
                fill(tmp_path, files)
                return connect(server.url, token="correct-horse")

            yield put


class TestHttpRemoteWithPassword(RemoteContract):
    secrets = ("pa55:wörd", "pa55%3Aw%C3%B6rd")

    @pytest.fixture
    def place(self, tmp_path):
        with DataServer(tmp_path, username="me", password="pa55:wörd") as server:
            address = server.url.replace("//", f"//me:{quote(self.secrets[0])}@")

            def put(files):
                fill(tmp_path, files)
                return connect(address)

            yield put


def snapshot(folder):
    return {
        path.relative_to(folder): (
            path.stat().st_mtime_ns,
            path.stat().st_ino,
            path.stat().st_mode,
        )
        for path in [folder, *folder.rglob("*")]
    }


def test_a_folder_is_left_as_it_was(tmp_path):
    fill(tmp_path, {"sessions.pqt": b"table", "a/b.npy": b"content"})
    before = snapshot(tmp_path)
    remote = FolderRemote(tmp_path)
    remote.tables()
    read(remote, "a/b.npy")
    with pytest.raises(NotOnRemote):
        remote.open(File("a/c.npy"))
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "form", ["path", "str", "file://", "file://localhost", "home", "relative"]
)
def test_a_folder_is_named_in_every_usual_way(tmp_path, monkeypatch, form):
    folder = tmp_path / "lab data"
    fill(folder, {"a.npy": b"x"})
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    address = {
        "path": folder,
        "str": str(folder),
        "file://": folder.as_uri(),
        "file://localhost": folder.as_uri().replace("file://", "file://localhost"),
        "home": "~/lab data",
        "relative": "lab data",
    }[form]
    remote = FolderRemote(address)
    monkeypatch.chdir("/")
    assert read(remote, "a.npy") == b"x"
    assert remote.name == str(folder)
    assert read(pickle.loads(pickle.dumps(remote)), "a.npy") == b"x"


def test_a_folder_needs_an_address():
    with pytest.raises(InvalidArgument, match="empty"):
        FolderRemote("")


@pytest.mark.skipif(os.name == "nt", reason="Windows has paths for other machines")
def test_a_file_url_of_another_machine_is_refused():
    with pytest.raises(InvalidArgument, match="fileserver"):
        connect("file://fileserver/data")


def test_a_drive_that_is_not_mounted_can_come_back(tmp_path):
    remote = FolderRemote(tmp_path / "mount")
    with pytest.raises(TransferFailed, match="mounted"):
        remote.tables()
    with pytest.raises(TransferFailed, match="mounted"):
        remote.open(File("a.npy"))
    (tmp_path / "mount").mkdir()
    with pytest.raises(NotOnRemote, match=r"a\.npy"):
        remote.open(File("a.npy"))
    fill(tmp_path / "mount", {"a.npy": b"x"})
    assert read(remote, "a.npy") == b"x"


@pytest.mark.parametrize("path", ["../x", "a/../../x", "a/../b", "/etc/passwd", "", "a\0b", ".."])
def test_a_path_that_leaves_the_folder_is_named(tmp_path, path):
    fill(tmp_path, {"in/a.npy": b"x", "x": b"secret"})
    with pytest.raises(PathEscapes) as caught:
        FolderRemote(tmp_path / "in").open(File(path))
    assert repr(path) in str(caught.value)


def test_links_on_the_drive_are_followed(tmp_path):
    fill(tmp_path, {"disk2/spikes.times.npy": b"spikes", "drive/x": b""})
    os.symlink(tmp_path / "disk2", tmp_path / "drive" / "KS01")
    os.symlink(tmp_path / "gone", tmp_path / "drive" / "dangling.npy")
    os.symlink("loop.npy", tmp_path / "drive" / "loop.npy")
    remote = FolderRemote(tmp_path / "drive")
    assert read(remote, "KS01/spikes.times.npy") == b"spikes"
    for path in ("dangling.npy", "loop.npy"):
        with pytest.raises(NotOnRemote, match=path):
            remote.open(File(path))


def test_a_folder_that_may_not_be_read_is_forbidden(tmp_path):
    fill(tmp_path, {"closed/sessions.pqt": b"x"})
    remote = FolderRemote(tmp_path / "closed")
    os.chmod(tmp_path / "closed", 0)
    user = os.geteuid()
    try:
        if user == 0:  # root reads everything
            os.seteuid(65534)
        with pytest.raises(Forbidden, match="closed"):
            remote.tables()
        with pytest.raises(Forbidden, match=r"sessions\.pqt"):
            remote.open(File("sessions.pqt"))
    finally:
        os.seteuid(user)
        os.chmod(tmp_path / "closed", stat.S_IRWXU)


def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(NotOnRemote, match="not a regular file"):
        FolderRemote(tmp_path).open(File("pipe.npy"))


def test_a_file_that_changes_while_it_is_read_is_not_taken_for_whole(tmp_path):
    fill(tmp_path, {"a.npy": bytes(3 << 20)})
    with FolderRemote(tmp_path).open(File("a.npy")) as body:
        next(body.chunks)
        with open(tmp_path / "a.npy", "r+b") as file:
            file.truncate(2 << 20)
        with pytest.raises(TransferFailed, match="changed"):
            list(body.chunks)


def test_a_file_replaced_while_it_is_read_arrives_as_it_was(tmp_path):
    fill(tmp_path, {"a.npy": b"a" * (3 << 20)})
    remote = FolderRemote(tmp_path)
    with remote.open(File("a.npy")) as body:
        first = next(body.chunks)
        fill(tmp_path, {"a.npy": b"b" * (3 << 20)})
        assert first + b"".join(body.chunks) == b"a" * (3 << 20)
    assert read(remote, "a.npy", 1 << 20, body.validator) == b"b" * (3 << 20)


def test_hidden_and_half_written_tables_are_no_tables(tmp_path):
    names = [".sessions.pqt", "sessions.pqt.part", "SESSIONS.parquet", "datasets.pqt"]
    fill(tmp_path, dict.fromkeys(names, b"x"))
    (tmp_path / "folder.pqt").mkdir()
    assert [listing.name for listing in FolderRemote(tmp_path).tables()] == ["datasets"]


@pytest.mark.parametrize("times", [1, 3])
def test_a_fault_heals_after_its_times(times):
    remote = MemoryRemote({"a.npy": b"0123456789"}, faults=[Fault(times=times)])
    for _ in range(times):
        with pytest.raises(TransferFailed, match=r"a\.npy"):
            remote.open(File("a.npy"))
    assert read(remote, "a.npy") == b"0123456789"
    assert remote.opened == {"a.npy": times + 1}


def test_each_fault_does_what_it_says():
    def forbid(message: str) -> TransferError:
        return Forbidden(message)

    faults = [
        Fault("cut.npy", after=3),
        Fault("short.npy", after=3, error=None),
        Fault("wrong.npy", flip=5, times=None),
        Fault("closed/*", error=forbid),
    ]
    content = b"0123456789"
    paths = ["cut.npy", "short.npy", "wrong.npy", "closed/x.npy", "good.npy"]
    remote = MemoryRemote(dict.fromkeys(paths, content), faults=faults)
    body = remote.open(File("cut.npy"), start=2)
    assert next(body.chunks) == b"234"
    with pytest.raises(TransferFailed):
        next(body.chunks)
    assert read(remote, "short.npy") == b"012"
    assert read(remote, "wrong.npy") == read(remote, "wrong.npy") == b"0123446789"
    with pytest.raises(Forbidden):
        remote.open(File("closed/x.npy"))
    assert read(remote, "good.npy") == content


def test_memory_counts_bodies_that_are_left_open():
    remote = MemoryRemote({"a.npy": b"x"})
    body = remote.open(File("a.npy"))
    assert remote.open_bodies == 1
    for _ in range(2):
        body.__exit__(None, None, None)
    assert remote.open_bodies == 0


def test_memory_counts_right_from_many_threads():
    remote = MemoryRemote({"a.npy": bytes(1000)}, chunk=7, faults=[Fault(times=50)])

    def work():
        for _ in range(50):
            with contextlib.suppress(TransferFailed):
                read(remote, "a.npy")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (remote.opened["a.npy"], remote.sent, remote.open_bodies) == (200, 150_000, 0)


def test_what_is_no_zip_file_is_named(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"no zip file")
    with pytest.raises(RemoteError, match=r"a\.zip"):
        connect(str(tmp_path / "a.zip")).tables()
    with pytest.raises(TransferFailed, match=r"b\.zip"):
        connect(str(tmp_path / "b.zip")).open(File("a.npy"))


def test_a_zip_file_that_is_damaged_gives_no_bytes_for_good_ones(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.npy", bytes(5000))
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[2500] ^= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(RemoteError, match=r"a\.npy"):
        read(connect(str(tmp_path / "a.zip")), "a.npy")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_reads_a_zip_file_by_itself(tmp_path):
    content = os.urandom(4 << 20)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.npy", content)
    remote = connect(str(tmp_path / "a.zip"))
    with remote.open(File("a.npy")) as body:
        first = next(body.chunks)
        if os.fork() == 0:
            os._exit(read(remote, "a.npy") != content)
        _, status = os.wait()
        assert first + b"".join(body.chunks) == content
    assert status == 0
