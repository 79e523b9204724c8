"""Properties: any order of pieces, cuts, resumes and writers ends in right bytes or an error."""

import contextlib
import hashlib
import itertools
import socket
import tempfile
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from one_cache.errors import HashMismatch, OneCacheError, SizeMismatch, TransferFailed
from one_cache.modes import FileState
from one_cache.records import File
from one_cache.remotes import Body
from one_cache.remotes.wire import Wire
from one_cache.store import Store, notes
from one_cache.store.incoming import BIG
from one_cache.store.notes import Note
from one_cache.transfer import fetch

quickly = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def md5(content):
    return hashlib.md5(content).hexdigest()


# what goes over the wire


def framed(body, sizes):
    """Write a body in chunks of these sizes, or with its length where there are none."""
    if not sizes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    text, at = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 0
    for size in itertools.cycle(sizes):
        piece = body[at : at + size]
        text += b"%x\r\n%b\r\n" % (len(piece), piece)
        if not piece:
            return text
        at += size
    return text


def answer(text, cuts, most):
    """Read an answer that arrives in segments that end at these places."""
    here, there = socket.socketpair()
    places = sorted({min(cut, len(text)) for cut in cuts} | {len(text)})

    def send():
        start = 0
        for place in places:
            there.sendall(text[start:place])
            start = place
        there.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        wire = Wire(here, 5.0)
        head = wire.ask(b"GET / HTTP/1.1\r\n\r\n")
        return b"".join(wire.body(head, most)), wire.clean
    finally:
        here.close()
        sender.join()
        there.close()


@quickly
@given(
    st.binary(max_size=300),
    st.lists(st.integers(1, 80), max_size=4),
    st.lists(st.integers(0, 400), max_size=6),
    st.integers(1, 100),
)
def test_a_body_does_not_depend_on_how_it_is_cut_up(body, sizes, cuts, most):
    assert answer(framed(body, sizes), cuts, most) == (body, True)


@quickly
@given(
    st.binary(min_size=1, max_size=300),
    st.lists(st.integers(1, 80), max_size=4),
    st.floats(0, 1, exclude_max=True),
)
def test_a_body_that_ends_early_is_never_taken_for_whole(body, sizes, fraction):
    text = framed(body, sizes)
    with pytest.raises(ConnectionError):
        answer(text[: int(len(text) * fraction)], [], 50)


# what a remote may do


class Scripted:
    """A remote that does what its script says, then serves the file as it is."""

    name = "scripted"

    def __init__(self, versions, script):
        self.versions = versions
        self.current = 0
        self.script = list(script)
        self.opened = 0

    def tables(self):
        return []

    def records(self, question):
        return None

    def url(self, file):
        return f"scripted:///{file.path}"

    def open(self, file, start=0, validator=None):
        self.opened += 1
        step = self.script.pop(0) if self.script else {}
        if step.get("switch"):
            self.current = (self.current + 1) % len(self.versions)
        content = self.versions[self.current]
        if step.get("refuse"):
            raise TransferFailed("refused", 0.0)
        named = md5(content) if step.get("named", True) else None
        same = validator in (None, named) or step.get("careless")
        if step.get("restart") or start > len(content) or not same:
            start = 0
        return Body(
            self._chunks(content, start, step),
            start=start,
            total=len(content) if step.get("length", True) else None,
            validator=named,
        )

    def _chunks(self, content, start, step):
        if (flip := step.get("flip")) is not None and flip < len(content):
            content = content[:flip] + bytes([content[flip] ^ 1]) + content[flip + 1 :]
        end = len(content) if step.get("cut") is None else min(len(content), start + step["cut"])
        sizes = itertools.cycle(step.get("sizes", [1 << 20]))
        while start < end:
            stop = min(end, start + next(sizes))
            yield content[start:stop]
            start = stop
        if step.get("cut") is not None and step.get("raises", True):
            raise TransferFailed("cut", 0.0)


steps = st.fixed_dictionaries(
    {},
    optional={
        "refuse": st.just(True),
        "restart": st.just(True),
        "switch": st.just(True),
        "careless": st.just(True),
        "named": st.booleans(),
        "length": st.booleans(),
        # an end without an error makes the transfer wait before it asks again
        "raises": st.sampled_from([True] * 9 + [False]),
        "cut": st.integers(0, 3000),
        "flip": st.integers(0, 2999),
        "sizes": st.lists(st.integers(1, 900), min_size=1, max_size=3),
    },
)


@quickly
@given(st.lists(steps, max_size=6), st.binary(min_size=1, max_size=40), st.booleans())
def test_with_a_hash_the_right_bytes_or_an_error(script, seed, changes):
    content = (seed * 3000)[:3000]
    versions = [content, bytes(byte ^ 0x55 for byte in content)] if changes else [content]
    remote = Scripted(versions, script)
    file = File("s/a.npy", len(content), md5(content))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        got = None
        with contextlib.suppress(OneCacheError):
            got = fetch([file], remote, store, tries=9, silent=True)
        visible = {path.name: path.read_bytes() for path in store.root.glob("s/*")}
        assert visible == ({"a.npy": content} if got else {})
        assert got in (None, [file])
        assert remote.opened <= 12


@quickly
@given(
    st.lists(
        st.fixed_dictionaries(
            {"named": st.just(True), "length": st.just(True)},
            optional={
                "switch": st.just(True),
                "restart": st.just(True),
                "cut": st.integers(0, 3000),
                "sizes": st.lists(st.integers(1, 900), min_size=1, max_size=3),
            },
        ),
        max_size=6,
    )
)
def test_without_a_hash_one_version_whole_and_never_a_mixture(script):
    versions = [bytes([number]) * 3000 for number in (1, 2, 3)]
    remote = Scripted(versions, script)
    with tempfile.TemporaryDirectory() as folder:
        [got] = fetch([File("a.npy")], remote, Store(folder), tries=9, silent=True)
        content = Store(folder).path("a.npy").read_bytes()
        assert content in versions
        assert got == File("a.npy", 3000, md5(content))


# who writes at once


writes = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(["write", "write", "write", "restart", "publish"])
    ),
    max_size=40,
)


@quickly
@given(writes)
def test_writers_of_one_name_do_not_disturb_each_other(script):
    """Three writers of the same file, in any order of their steps: only whole files are seen."""
    content = bytes(range(250)) * 4
    file = File("s/a.npy", len(content), md5(content))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        writers = [store.incoming(file).__enter__() for _ in range(3)]
        closed = set()
        for number, what in script:
            if number in closed:
                continue
            writer = writers[number]
            if what == "write":
                writer.write(content[writer.position : writer.position + 250])
            elif what == "restart":
                writer.restart()
            elif writer.position == len(content):
                assert writer.publish() == file
                closed.add(number)
            else:
                with pytest.raises(SizeMismatch):
                    writer.publish()
            path = store.path(file.path)
            assert not path.exists() or path.read_bytes() == content
        for writer in writers:
            writer.__exit__(None, None, None)
        assert store.state(file) is (FileState.GOOD if closed else FileState.MISSING)
        assert len(list(store.root.glob("s/*"))) == bool(closed)


@quickly
@given(st.lists(st.integers(0, BIG + 1000), min_size=1, max_size=3), st.booleans())
def test_what_was_left_is_continued_only_if_it_is_right(lengths, spoilt):
    """Partial files of any length, right or spoilt, from earlier tries."""
    content = bytes(BIG + 1000)
    file = File("a.npy", len(content), md5(content))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for length in lengths:
            with store.incoming(file) as incoming:
                kept = max(incoming.resume(), default=0)
                incoming.write(content[kept : max(kept, length)])
        for part in store.root.glob("*.part"):
            if spoilt:
                part.write_bytes(b"x" + part.read_bytes()[1:])
        with store.incoming(file) as incoming:
            kept = max(incoming.resume(), default=0)
            incoming.write(content[kept:])
            if spoilt and kept:
                with pytest.raises(HashMismatch):
                    incoming.publish()
            else:
                assert incoming.publish() == file
        for path in store.root.glob("*.npy"):
            assert path.read_bytes() == content


@quickly
@given(
    st.dictionaries(
        st.text("abc/", min_size=1, max_size=6).filter(
            lambda name: "//" not in name and name.strip("/") == name
        ),
        st.integers(0, 99),
        max_size=6,
    ),
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.none() | st.integers(0, 99), max_size=3),
)
def test_notes_of_many_writers_are_joined(first, second):
    def noted(number):
        return None if number is None else Note(number, number, number, (md5(b""),))

    with tempfile.TemporaryDirectory() as folder:
        session = "lab/Subjects/s/2024-01-01/001"
        for found in (first, second):
            Store(folder).remember({f"{session}/{n}": noted(v) for n, v in found.items()})
        merged = {n: noted(v) for n, v in {**first, **second}.items() if v is not None}
        kept = notes.read(f"{folder}/.one_cache/verified/{session}.json")
        assert {name: Note.read(raw) for name, raw in kept.items()} == merged
