"""For tests: a remote in memory that fails on demand, and the contract that every remote keeps.

Whoever writes a remote proves it like this::

    class TestMyRemote(RemoteContract):
        @pytest.fixture
        def place(self, tmp_path):
            def put(files):  # {path: bytes}
                ...          # make the place hold exactly these
                return MyRemote(...)
            return put
"""

# ruff: noqa: D102 - the name of a test is its sentence
from __future__ import annotations

import fnmatch
import hashlib
import os
import pickle
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from one_cache.errors import NotOnRemote, PathEscapes, TransferError, TransferFailed
from one_cache.records import File
from one_cache.remotes import Body, Listing, Question, Remote

Place = Callable[[Mapping[str, bytes]], Remote]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with some openings: they fail, end early, or bring a wrong byte.

    Attributes
    ----------
    path : str
        Pattern of the paths concerned, as in :mod:`fnmatch`.
    times : int or None
        How many openings of a file go wrong before it heals; None: it never does.
    after : int or None
        Bytes that still arrive; None: the opening itself fails.
    error : callable or None
        Makes the error from a message; None: the bytes just end, as if the file were complete.
    flip : int or None
        Position in the file of a byte that arrives wrong; all bytes arrive, nothing is raised.
    """

    path: str = "*"
    times: int | None = 1
    after: int | None = None
    error: Callable[[str], TransferError] | None = TransferFailed
    flip: int | None = None

    def strike(self, path: str) -> None:
        """Raise the error, where there is one."""
        if self.error is not None and self.flip is None:
            raise self.error(f"{path}: a fault that the test asked for")


class MemoryRemote:
    """Files in memory, with counts of what was asked and faults where a test wants them.

    Parameters
    ----------
    files : mapping of str to bytes
        Path to content; ``*.pqt`` in the root are its tables. Kept, so a test may change it.
    name : str
        For messages.
    faults : sequence of Fault
        The first that fits an opening, and has not healed, strikes.
    chunk : int
        Most bytes in one chunk.

    Attributes
    ----------
    opened : collections.Counter
        How often each path was opened, failures included.
    sent : int
        Bytes yielded.
    open_bodies : int
        Bodies opened and not yet closed.

    Examples
    --------
    >>> remote = MemoryRemote({"a.npy": b"0123456789"}, faults=[Fault(after=4)], chunk=3)
    >>> body = remote.open(File("a.npy"))
    >>> next(body.chunks), next(body.chunks)
    (b'012', b'3')
    >>> next(body.chunks)
    Traceback (most recent call last):
    one_cache.errors.TransferFailed: a.npy: a fault that the test asked for
    >>> b"".join(remote.open(File("a.npy"), start=4).chunks), remote.opened["a.npy"], remote.sent
    (b'456789', 2, 10)
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        name: str = "memory",
        faults: Sequence[Fault] = (),
        chunk: int = 1 << 16,
    ) -> None:
        self.files = files
        self.name = name
        self.opened: Counter[str] = Counter()
        self.sent = 0
        self.open_bodies = 0
        self._chunk = chunk
        self._faults = [(fault, Counter[str]()) for fault in faults]
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.files)} files)"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def tables(self) -> Sequence[Listing]:
        """Name the ``*.pqt`` in the root, with their hash as fingerprint."""
        return [
            Listing(
                path.removesuffix(".pqt"), File(path, len(content), _hash(content)), _hash(content)
            )
            for path, content in sorted(self.files.items())
            if path.endswith(".pqt") and "/" not in path
        ]

    def records(self, question: Question) -> Sequence[Mapping[str, Any]] | None:
        """Answer nothing: there are only tables."""
        return None

    def open(self, file: File, start: int = 0, validator: str | None = None) -> Body:
        """Open `file`; its validator is the hash of its content.

        Raises
        ------
        NotOnRemote
            No such file.
        TransferError
            The error of a :class:`Fault`.
        """
        with self._lock:
            self.opened[file.path] += 1
            fault = self._fault(file.path)
            if file.path not in self.files:
                raise NotOnRemote(f"{file.path}: not in {self.name}")
            if fault is not None and fault.after is None:
                fault.strike(file.path)
            content = bytes(self.files[file.path])
            self.open_bodies += 1
        version = _hash(content)
        if start > len(content) or validator not in (None, version):
            start = 0
        return Body(
            self._read(file.path, content, start, fault),
            start=start,
            total=len(content),
            validator=version,
            close=self._closer(),
        )

    def url(self, file: File) -> str:
        """Give an address in the form of ``memory:///a/b.npy``."""
        return f"memory:///{quote(file.path)}"

    def _fault(self, path: str) -> Fault | None:
        for fault, struck in self._faults:
            fits = fnmatch.fnmatchcase(path, fault.path)
            if fits and (fault.times is None or struck[path] < fault.times):
                struck[path] += 1
                return fault
        return None

    def _read(self, path: str, content: bytes, start: int, fault: Fault | None) -> Iterator[bytes]:
        end = len(content)
        if fault is not None and fault.flip is not None:
            at = fault.flip
            wrong = bytes(byte ^ 1 for byte in content[at : at + 1])
            content = content[:at] + wrong + content[at + 1 :]
        elif fault is not None:
            end = min(end, start + (fault.after or 0))
        for position in range(start, end, self._chunk):
            chunk = content[position : min(position + self._chunk, end)]
            with self._lock:
                self.sent += len(chunk)
            yield chunk
        if fault is not None:
            fault.strike(path)

    def _closer(self) -> Callable[[], None]:
        left = [1]

        def close() -> None:
            with self._lock:
                self.open_bodies -= left.pop() if left else 0

        return close


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read(remote: Remote, path: str, start: int = 0, validator: str | None = None) -> bytes:
    """Read what `remote` gives for `path`, put in its place in a file.

    Returns
    -------
    bytes
        With zeros before the position where the body starts.
    """
    with remote.open(File(path), start, validator) as body:
        return bytes(body.start) + b"".join(body.chunks)


class RemoteContract:
    """What each remote must do; a subclass gives the fixture `place`.

    ``place(files)`` makes the place that the remote reads from hold exactly `files` (path to
    content) and gives a remote on it. Called again within a test, it changes the same place, and
    the remotes it gave before see the change.

    Attributes
    ----------
    secrets : tuple of str
        Passwords and tokens that `place` uses; no remote shows them.
    """

    secrets: tuple[str, ...] = ()

    def test_it_is_a_remote_with_a_name(self, place: Place) -> None:
        remote = place({})
        assert isinstance(remote, Remote)
        assert isinstance(remote.name, str)
        assert remote.name

    def test_it_lists_the_tables_of_its_root(self, place: Place) -> None:
        files = {"sessions.pqt": b"S" * 9, "datasets.pqt": b"D", "a/_ibl_trials.table.pqt": b"no"}
        remote = place({**files, "notes.txt": b"no"})
        listings = {listing.name: listing for listing in remote.tables()}
        assert set(listings) == {"sessions", "datasets"}
        for name, listing in listings.items():
            content = files[f"{name}.pqt"]
            with remote.open(listing.file) as body:
                assert b"".join(body.chunks) == content
            assert listing.file.size in (None, len(content))
            assert listing.fingerprint

    def test_it_lists_nothing_where_there_are_no_tables(self, place: Place) -> None:
        assert list(place({"a/licks.times.npy": b"x"}).tables()) == []

    def test_a_fingerprint_changes_with_its_table_alone(self, place: Place) -> None:
        remote = place({"sessions.pqt": b"one", "datasets.pqt": b"old"})
        before = {listing.name: listing.fingerprint for listing in remote.tables()}
        assert before == {listing.name: listing.fingerprint for listing in remote.tables()}
        place({"sessions.pqt": b"two", "datasets.pqt": b"longer"})
        after = {listing.name: listing.fingerprint for listing in remote.tables()}
        assert before["sessions"] != after["sessions"]
        assert before["datasets"] != after["datasets"]

    def test_it_answers_a_question_with_rows_or_not_at_all(self, place: Place) -> None:
        rows = place({}).records(Question("sessions"))
        assert rows is None or all(isinstance(row, Mapping) for row in rows)

    def test_a_file_arrives_whole(self, place: Place) -> None:
        content = bytes(range(256)) * 40
        with place({"a/spikes.times.npy": content}).open(File("a/spikes.times.npy")) as body:
            assert body.start == 0
            assert body.total in (None, len(content))
            assert b"".join(body.chunks) == content

    def test_an_empty_file_arrives(self, place: Place) -> None:
        with place({"a/empty.csv": b""}).open(File("a/empty.csv")) as body:
            assert (body.start, b"".join(body.chunks)) == (0, b"")
            assert body.total in (None, 0)

    def test_a_large_file_arrives_in_chunks(self, place: Place) -> None:
        content = os.urandom(1 << 16) * 100 + b"end"
        with place({"large.npy": content}).open(File("large.npy")) as body:
            chunks = list(body.chunks)
        assert b"".join(chunks) == content
        assert len(chunks) > 1, "a file of any size must fit in memory"

    def test_it_starts_in_the_middle(self, place: Place) -> None:
        content = os.urandom(10_000)
        remote = place({"a.npy": content})
        with remote.open(File("a.npy")) as body:
            validator = body.validator
        for given in (None, validator):
            with remote.open(File("a.npy"), 6_000, given) as body:
                assert body.start in (0, 6_000)
                assert b"".join(body.chunks) == content[body.start :]
                assert body.total in (None, len(content))

    def test_it_starts_at_the_end(self, place: Place) -> None:
        with place({"a.npy": b"0123456789"}).open(File("a.npy"), 10) as body:
            assert b"".join(body.chunks) == b"0123456789"[body.start :]

    def test_a_start_beyond_the_end_gives_the_whole_file(self, place: Place) -> None:
        remote = place({"a.npy": b"0123456789", "empty.npy": b""})
        for path, content in (("a.npy", b"0123456789"), ("empty.npy", b"")):
            with remote.open(File(path), 11) as body:
                assert (body.start, b"".join(body.chunks)) == (0, content)

    def test_a_validator_is_equal_only_for_equal_bytes(self, place: Place) -> None:
        remote = place({"a.npy": b"old content"})
        seen = set()
        for _ in range(2):
            with remote.open(File("a.npy")) as body:
                seen.add(body.validator)
        assert len(seen) == 1
        place({"a.npy": b"new content"})
        with remote.open(File("a.npy")) as body:
            assert body.validator is None or body.validator not in seen

    def test_changed_content_is_never_continued(self, place: Place) -> None:
        remote = place({"a.npy": b"old content"})
        with remote.open(File("a.npy")) as body:
            validator = body.validator
        place({"a.npy": b"new content"})
        if validator is not None:
            with remote.open(File("a.npy"), 4, validator) as body:
                assert (body.start, b"".join(body.chunks)) == (0, b"new content")

    def test_what_is_missing_is_not_on_the_remote(self, place: Place) -> None:
        remote = place({"a/there.npy": b"x"})
        for path in ("missing.npy", "a/missing.npy", "b/c/missing.npy", "a", "a/there.npy/x"):
            self._raises(NotOnRemote, remote, path)

    def test_no_path_leaves_the_root(self, place: Place) -> None:
        remote = place({"a/there.npy": b"x"})
        for path in ("../a", "a/../../b", "/etc/hostname", "..", "a/%2e%2e/%2e%2e/b", "a\0b"):
            self._raises((PathEscapes, NotOnRemote), remote, path)

    def test_every_name_is_a_name(self, place: Place) -> None:
        paths = [
            "lab/Subjects/s/2024-01-01/001/alf/#2024-05-06#/drift.times.npy",
            "with space.npy",
            "per%cent.npy",
            "per%23cent.npy",
            "plus+and&.npy",
            "what?.npy",
            "semi;colon,comma.npy",
            "quote'.npy",
            "mäuse/日本.npy",
            "tilde~(1)=[2]@!$*.npy",
        ]
        files = {path: path.encode() for path in paths}
        remote = place(files)
        assert {path: read(remote, path) for path in paths} == files

    def test_a_file_has_an_address_of_its_own(self, place: Place) -> None:
        remote = place({"a b/#1#/c.npy": b"x"})
        paths = ["a b/#1#/c.npy", "a b/c.npy", "missing.npy"]
        urls = [remote.url(File(path)) for path in paths]
        assert len(set(urls)) == len(paths)
        for url in urls:
            assert urlsplit(url).scheme
            assert urlsplit(url).path.endswith(".npy"), "a '#' left as it is ends the path"

    def test_several_files_are_read_at_once(self, place: Place) -> None:
        files = {f"{number:02d}.npy": os.urandom(50_000 + number) for number in range(24)}
        remote = place(files)
        with ThreadPoolExecutor(8) as pool:
            got = pool.map(lambda path: read(remote, path), files)
            assert list(got) == list(files.values())

    def test_two_bodies_do_not_mix(self, place: Place) -> None:
        a, b = os.urandom(3 << 20), os.urandom(3 << 20)
        remote = place({"a.npy": a, "b.npy": b})
        with remote.open(File("a.npy")) as first, remote.open(File("b.npy")) as second:
            start = next(first.chunks), next(second.chunks)
            assert start[0] + b"".join(first.chunks) == a
            assert start[1] + b"".join(second.chunks) == b

    def test_closing_early_frees_what_was_opened(self, place: Place) -> None:
        remote = place({"a.npy": bytes(3 << 20)})
        before = _count_handles()
        for _ in range(40):
            with remote.open(File("a.npy")) as body:
                next(body.chunks)
        # a pool may keep some connections
        assert _count_handles() < before + 20
        assert read(remote, "a.npy") == bytes(3 << 20)

    def test_it_writes_nothing(self, place: Place) -> None:
        files = {"sessions.pqt": b"table", "a/b.npy": b"content"}
        remote = place(files)
        before = [(listing.name, listing.fingerprint) for listing in remote.tables()]
        for path in (*files, "a/b.npy"):
            read(remote, path)
        self._raises(NotOnRemote, remote, "c.npy")
        self._raises(NotOnRemote, remote, "c.npy")
        assert before == [(listing.name, listing.fingerprint) for listing in remote.tables()]
        assert {path: read(remote, path) for path in files} == files

    def test_a_copy_in_another_process_reads_the_same(self, place: Place) -> None:
        remote = place({"sessions.pqt": b"table"})
        read(remote, "sessions.pqt")
        copy = pickle.loads(pickle.dumps(remote))
        assert copy.name == remote.name
        assert read(copy, "sessions.pqt") == b"table"
        assert [listing.name for listing in copy.tables()] == ["sessions"]

    def test_it_never_shows_a_secret(self, place: Place) -> None:
        remote = place({"a.npy": b"x"})
        shown = [remote.name, repr(remote), str(remote), remote.url(File("a.npy"))]
        shown.append(str(self._raises(NotOnRemote, remote, "missing.npy")))
        for secret in self.secrets:
            assert not any(secret in text for text in shown)

    @staticmethod
    def _raises(
        kind: type[Exception] | tuple[type[Exception], ...], remote: Remote, path: str
    ) -> Exception:
        try:
            content = read(remote, path)
        except kind as error:
            return error
        raise AssertionError(f"{path!r} gave {content[:40]!r}, expected {kind}")


def _count_handles() -> int:
    """Count the open files and sockets of this process, where the system tells (Linux, macOS)."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        if os.path.isdir(folder):
            return len(os.listdir(folder))
    return 0
