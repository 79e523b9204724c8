import json
import os
import pickle
import stat
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from one_cache.errors import CacheWarning, RemoteError, TransferFailed
from one_cache.responses import ResponseCache, request_key

KEY = request_key("https://alyx.lab.org", "alice", "GET /labs")


def away():
    raise TransferFailed("nobody answers")


def aged(responses, key, value, age, ttl=300):
    """Keep an answer, and let it be that old."""
    responses.put(key, value, ttl)
    path = responses.folder / key
    line, _, body = path.read_bytes().partition(b"\n")
    about = {**json.loads(line), "stored": time.time() - age}
    path.write_bytes(json.dumps(about).encode() + b"\n" + body)


@pytest.fixture(params=["disk", "memory"])
def responses(request, tmp_path):
    return ResponseCache(tmp_path / "responses" if request.param == "disk" else None)


def test_a_fresh_answer_is_given_without_asking(responses):
    asked = []
    for _ in range(3):
        assert responses.answer(KEY, lambda: asked.append(1) or {"a": [1, None]}) == {
            "a": [1, None]
        }
    assert len(asked) == 1


def test_bytes_come_back_as_bytes(responses):
    content = bytes(range(256)) + b"\n{}\n"
    assert responses.answer(KEY, lambda: content) == content
    assert responses.get(KEY).value == content


def test_an_answer_that_is_changed_by_its_receiver_is_kept_as_it_was(responses):
    responses.answer(KEY, lambda: ["a"]).append("b")
    responses.answer(KEY, away).append("c")
    assert responses.answer(KEY, away) == ["a"]


def test_no_cache_asks_and_keeps_the_new_answer(responses):
    responses.answer(KEY, lambda: "old")
    assert responses.answer(KEY, lambda: "new", no_cache=True) == "new"
    assert responses.answer(KEY, away) == "new"


def test_no_cache_fails_when_the_server_is_away_and_loses_nothing(responses):
    responses.answer(KEY, lambda: "old")
    with pytest.raises(TransferFailed):
        responses.answer(KEY, away, no_cache=True)
    assert responses.get(KEY).value == "old"


def test_an_old_answer_serves_when_the_server_is_away_and_says_how_old_it_is(tmp_path):
    responses = ResponseCache(tmp_path)
    aged(responses, KEY, ["known"], age=3 * 3600)
    with pytest.warns(CacheWarning, match=r"alyx.lab.org is away.*3 hours.*nobody answers"):
        assert responses.answer(KEY, away, source="alyx.lab.org") == ["known"]


def test_an_old_answer_is_replaced_when_the_server_is_there(tmp_path):
    responses = ResponseCache(tmp_path)
    aged(responses, KEY, "old", age=301)
    assert responses.answer(KEY, lambda: "new") == "new"
    assert responses.get(KEY).fresh


def test_an_error_of_the_server_is_never_covered_by_an_old_answer(tmp_path):
    responses = ResponseCache(tmp_path)
    aged(responses, KEY, "old", age=301)

    def wrong():
        raise RemoteError("list index out of range", 500)

    with pytest.raises(RemoteError, match="index"):
        responses.answer(KEY, wrong)


def test_a_server_that_was_away_just_now_is_not_waited_for_again(tmp_path):
    responses = ResponseCache(tmp_path)
    other = request_key("https://alyx.lab.org", "alice", "GET /tags")
    aged(responses, KEY, "labs", age=400)
    aged(responses, other, "tags", age=400)
    with pytest.warns(CacheWarning):
        responses.answer(KEY, away)
    asked = []
    with pytest.warns(CacheWarning):
        assert responses.answer(other, lambda: asked.append(1)) == "tags"
    assert not asked


def test_an_answer_from_the_future_is_not_fresh(tmp_path):
    responses = ResponseCache(tmp_path)
    aged(responses, KEY, "old", age=-3600)
    assert responses.answer(KEY, lambda: "new") == "new"


def test_a_key_names_server_user_and_request():
    other = [
        request_key("https://alyx.lab.org", "bob", "GET /labs"),
        request_key("https://other.org", "alice", "GET /labs"),
        request_key("https://alyx.lab.org", "alice", "GET /tags"),
        request_key("https://alyx.lab.org", "alice", "GET /labs", {"name": "x"}),
    ]
    assert len({KEY, *other}) == 5


def test_the_order_of_parameters_does_not_matter():
    one = request_key("s", "u", "GET /x", {"a": "1", "b": ["2", "3"]})
    assert one == request_key("s", "u", "GET /x", {"b": ["2", "3"], "a": "1"})
    assert one != request_key("s", "u", "GET /x", {"a": "1", "b": ["3", "2"]})


def test_nothing_of_the_request_can_be_read_from_the_names(tmp_path):
    responses = ResponseCache(tmp_path)
    responses.put(request_key("https://alyx.lab.org", "alice", "GET /x", {"q": "secret"}), 1)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    for path in written:
        text = f"{path} {path.read_text()}"
        assert not any(word in text for word in ("secret", "alice", "alyx.lab.org"))


@pytest.mark.skipif(os.name != "posix", reason="file modes of POSIX")
def test_only_the_owner_can_read_what_is_kept(tmp_path):
    before = os.umask(0o000)
    try:
        ResponseCache(tmp_path / "r").put(KEY, "x")
    finally:
        os.umask(before)
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"{}",
        b"[1]\n2",
        b'{"format": 1, "stored": 1, "ttl": 1, "bytes": 5, "binary": false}\n"cu',
        b'{"format": 2, "stored": 1, "ttl": 1, "bytes": 1, "binary": false}\n1',
        b'{"format": 1, "stored": "x", "ttl": 1, "bytes": 1, "binary": false}\n1',
        b'{"format": 1, "stored": 1, "ttl": 1, "bytes": 1, "binary": false}\n{',
        b"\xff\xfe\x00garbage",
    ],
)
def test_a_broken_file_counts_as_absent_and_is_replaced(tmp_path, content):
    responses = ResponseCache(tmp_path)
    responses.put(KEY, "x")
    (tmp_path / KEY).write_bytes(content)
    assert responses.get(KEY) is None
    assert responses.answer(KEY, lambda: "new") == "new"
    assert responses.answer(KEY, away) == "new"


def test_a_folder_that_is_not_to_be_written_is_read_only(tmp_path):
    ResponseCache(tmp_path).put(KEY, "kept")
    other = request_key("s", "u", "other")
    responses = ResponseCache(tmp_path, writable=False)
    assert responses.answer(KEY, away) == "kept"
    assert responses.answer(other, lambda: "new") == "new"
    assert responses.answer(other, away) == "new"
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_folder_that_refuses_costs_only_the_keeping(tmp_path):
    (tmp_path / "file").write_text("in the way")
    responses = ResponseCache(tmp_path / "file" / "responses")
    assert responses.answer(KEY, lambda: "new") == "new"
    assert responses.answer(KEY, away) == "new"


def test_the_oldest_answers_go_when_there_are_too_many(tmp_path):
    responses = ResponseCache(tmp_path, max_bytes=20_000)
    keys = [request_key("s", "u", str(number)) for number in range(40)]
    for age, key in enumerate(keys):
        responses.put(key, "x" * 1000)
        moment = time.time() - 1000 + age
        os.utime(tmp_path / key, (moment, moment))
    assert responses.prune() <= 20_000
    assert responses.get(keys[-1]) is not None
    assert responses.get(keys[0]) is None


def test_answers_of_last_month_go(tmp_path):
    responses = ResponseCache(tmp_path)
    responses.put(KEY, "x")
    moment = time.time() - 31 * 24 * 3600
    os.utime(tmp_path / KEY, (moment, moment))
    responses.prune()
    assert responses.get(KEY) is None


def test_the_folder_stays_bounded_by_itself(tmp_path):
    responses = ResponseCache(tmp_path, max_bytes=10_000)
    for number in range(500):
        responses.put(request_key("s", "u", str(number)), "x" * 200)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert size < 10_000 + 200 * 400


def test_memory_stays_bounded_too():
    responses = ResponseCache(None, max_bytes=10_000)
    for number in range(100):
        responses.put(request_key("s", "u", str(number)), "x" * 1000)
    kept = [responses.get(request_key("s", "u", str(number))) for number in range(100)]
    assert 5 <= sum(one is not None for one in kept) <= 10


def test_many_threads_keep_and_read_at_once(tmp_path):
    responses = ResponseCache(tmp_path)

    def work(number):
        key = request_key("s", "u", str(number % 7))
        return responses.answer(key, lambda: {"n": number % 7}, no_cache=number % 3 == 0)

    with ThreadPoolExecutor(8) as pool:
        assert [one["n"] for one in pool.map(work, range(200))] == [n % 7 for n in range(200)]


def test_a_copy_in_another_process_shares_the_folder(tmp_path):
    responses = ResponseCache(tmp_path)
    responses.put(KEY, "kept")
    copy = pickle.loads(pickle.dumps(responses))
    assert copy.answer(KEY, away) == "kept"


def test_importing_it_loads_nothing_heavy():
    import subprocess

    code = "import sys, one_cache.responses; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"requests", "urllib3", "pandas", "numpy"} & set(done.stdout.split())
