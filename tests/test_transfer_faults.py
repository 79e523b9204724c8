"""Every fault of a server: the right bytes or a named error, in bounded time, nothing wrong kept.

Each case is one fault, on a small and on a large file, in the first request and in one that
continues after a cut, once and for ever, with a record of size and hash and without. They wait
more than they work, so they all run side by side and each test looks at what became of its own.
"""

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import faults
import pytest
from faults import FaultServer

from one_cache.errors import (
    Forbidden,
    HashMismatch,
    NotOnRemote,
    OneCacheError,
    RemoteError,
    SizeMismatch,
    TransferFailed,
)
from one_cache.modes import FileState
from one_cache.records import File
from one_cache.remotes.http import HttpRemote
from one_cache.store import Store
from one_cache.transfer import fetch

PATH = "lab/Subjects/KS014/2019-12-06/001/alf/#2024-05-06#/spikes.times.npy"
# one that the next process may continue, and one that it may not
CONTENT = {"small": os.urandom(20_000), "large": os.urandom((4 << 20) + 12_345)}
RIGHT = ()  # right bytes, even where the fault stays


@dataclass(frozen=True)
class Fault:
    """A fault, and what may come of it where it stays: the errors, or right bytes."""

    answer: object
    stays: tuple
    # the same without size and hash in the record; None where nobody could notice
    bare: tuple | None = None
    stall: float = 5.0


CUT = (TransferFailed,)
FAULTS = {
    "truncated": Fault(faults.truncated, CUT, CUT),
    "truncated_without_length": Fault(faults.truncated_without_length, CUT, (RemoteError,)),
    "truncated_chunked": Fault(faults.truncated_chunked, CUT, CUT),
    "reset_in_the_middle": Fault(faults.reset_in_the_middle, CUT, CUT),
    "closed_without_answer": Fault(faults.closed_without_answer, CUT, CUT),
    "stalled_before_the_head": Fault(faults.stalled_before_the_head, CUT, CUT, 0.5),
    "stalled_in_the_head": Fault(faults.stalled_in_the_head, CUT, CUT, 0.5),
    "stalled_in_the_body": Fault(faults.stalled_in_the_body, CUT, CUT, 0.5),
    "dripping_body": Fault(faults.dripping_body, CUT, CUT, 0.5),
    "dripping_head": Fault(faults.dripping_head, CUT, CUT, 0.5),
    "status_500": Fault(faults.status(500), CUT, CUT),
    "status_503": Fault(faults.status(503, Retry_After="0"), CUT, CUT),
    "status_429_seconds": Fault(faults.status(429, Retry_After="1"), CUT, CUT),
    "status_429_date": Fault(faults.retry_after_date(1), CUT, CUT),
    "status_408": Fault(faults.status(408), CUT, CUT),
    "length_too_small": Fault(faults.length_too_small, (SizeMismatch, *CUT)),
    "length_too_large": Fault(faults.length_too_large, (SizeMismatch,), CUT),
    "length_garbled": Fault(faults.length_garbled, CUT, CUT),
    "wrong_byte": Fault(faults.wrong_byte, (HashMismatch,)),
    "range_ignored": Fault(faults.range_ignored, RIGHT, RIGHT),
    "range_refused": Fault(faults.range_refused, RIGHT, RIGHT),
    "range_elsewhere": Fault(faults.range_elsewhere, RIGHT, RIGHT),
    "range_of_another_version": Fault(faults.range_of_another_version, RIGHT, RIGHT),
    "range_with_wrong_bytes": Fault(faults.range_with_wrong_bytes, RIGHT),
    "range_without_content_range": Fault(faults.range_without_content_range, RIGHT, RIGHT),
    "gzipped": Fault(faults.gzipped, RIGHT, RIGHT),
    "gzipped_and_cut": Fault(faults.gzipped_and_cut, CUT, (RemoteError,)),
    "compressed_unknown": Fault(faults.compressed_unknown, RIGHT, (RemoteError,)),
    "chunked": Fault(faults.chunked, RIGHT, RIGHT),
    "chunked_garbled": Fault(faults.chunked_garbled, CUT, CUT),
    "without_length": Fault(faults.without_length, RIGHT, (RemoteError,)),
    "empty_body": Fault(faults.empty_body, (SizeMismatch,)),
    "html_page": Fault(faults.html_page, (SizeMismatch,), (RemoteError,)),
    "no_http": Fault(faults.no_http, CUT, CUT),
    "announced": Fault(faults.announced, RIGHT, RIGHT),
    "status_401": Fault(faults.status(401), (Forbidden,), (Forbidden,)),
    "status_403": Fault(faults.status(403), (Forbidden,), (Forbidden,)),
    "status_404": Fault(faults.status(404), (NotOnRemote,), (NotOnRemote,)),
    "status_410": Fault(faults.status(410), (NotOnRemote,), (NotOnRemote,)),
    "status_418": Fault(faults.status(418), (RemoteError,), (RemoteError,)),
}
# what one more request does not heal, as it is not made
AT_ONCE = (Forbidden, NotOnRemote, RemoteError)
CASES = [
    (name, size, moment, lasts, record)
    for name, fault in FAULTS.items()
    for size in CONTENT
    for moment in ("first", "resumed")
    for lasts in ("once", "stays")
    for record in ("recorded", "bare")
    if record == "recorded" or (fault.bare is not None and size == "small")
]


@dataclass
class Outcome:
    """What became of a case."""

    error: Exception | None
    seconds: float
    visible: list
    asked: int
    healed: bool
    state: FileState
    left: list


def run(case, folder):
    name, size, moment, lasts, record = case
    fault, content = FAULTS[name], CONTENT[size]
    known = (len(content), hashlib.md5(content).hexdigest()) if record == "recorded" else ()
    file = File(PATH, *known)
    store = Store(folder)
    with FaultServer({PATH: content}) as server:
        remote = HttpRemote(server.url)
        before = [faults.reset_in_the_middle] if moment == "resumed" else []
        stays = fault.answer if lasts == "stays" else None
        server.fail(PATH, *before, fault.answer, always=stays)
        error, start = None, time.monotonic()
        try:
            fetch([file], remote, store, tries=2 + len(before), stall=fault.stall)
        except OneCacheError as problem:
            error = problem
        seconds = time.monotonic() - start
        visible = [path.read_bytes() for path in folder.rglob("*.npy")]
        asked = server.count(PATH)
        server.heal()
        fetch([file], remote, store)
    left = [path.name for path in folder.rglob("*.part")]
    healed = store.path(PATH).read_bytes() == content
    return Outcome(error, seconds, visible, asked, healed, Store(folder).state(file), left)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    with ThreadPoolExecutor(24) as pool:
        yield {
            case: pool.submit(run, case, folder / str(number)) for number, case in enumerate(CASES)
        }


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_fault_ends_in_right_bytes_or_a_named_error(case, outcomes):
    name, size, _, lasts, record = case
    fault = FAULTS[name]
    outcome = outcomes[case].result()
    allowed = fault.stays if record == "recorded" else fault.bare
    if lasts == "once":
        allowed = tuple(error for error in allowed if error in AT_ONCE)
    if outcome.error is None:
        assert outcome.visible == [CONTENT[size]]
        assert not any(error in AT_ONCE for error in allowed), "it cannot have been right"
    else:
        assert isinstance(outcome.error, allowed), repr(outcome.error)
        assert outcome.visible == [], "nothing under its name unless it is right"
        assert PATH in str(outcome.error)
    assert outcome.seconds < 25
    assert outcome.healed
    assert outcome.state is FileState.GOOD
    assert outcome.left == []
