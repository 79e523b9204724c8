"""Several processes on one cache of a neuPrint server, and one that is killed at its work."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("neuprint", reason="neuprint-python is not installed")

import neuprint_calls as calls
from neuprint_double import NeuprintDouble
from neuprint_fixtures import no_client_before  # noqa: F401

from one_cache import Cache

FETCH = """
import sys
sys.path.insert(0, sys.argv[4])
import neuprint_calls as calls
from one_cache.neuprint import Client, fetch_adjacencies
client = Client(sys.argv[1], "hemibrain:v1.2.1", "token", verify=sys.argv[2], progress=False,
                cache=sys.argv[3])
neurons, found = fetch_adjacencies(calls.SOURCES, calls.TARGETS, batch_size=1, threads=2)
client.cache.save_cache()
print(len(neurons), len(found))
"""


class SlowDouble(NeuprintDouble):
    """A server that takes its time."""

    def answer(self, method, path, body):
        """Wait, then answer."""
        time.sleep(0.1)
        return super().answer(method, path, body)


@pytest.fixture
def server():
    """A slow double of a neuPrint server."""
    with SlowDouble() as double:
        yield double


def started(server, folder, seed):
    """Start a large fetch in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", FETCH, server.url, server.certificate]
    return subprocess.Popen(
        [*command, str(folder), str(Path(calls.__file__).parent)],
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        stdout=subprocess.PIPE,
        text=True,
    )


def printed(process):
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return told


def queries(server):
    return Counter(cypher for _, path, cypher in server.asked if "custom" in path)


def test_processes_share_what_they_are_told(server, tmp_path):
    told = {printed(one) for one in [started(server, tmp_path, seed) for seed in range(3)]}
    assert told == {"5 21\n"}
    asked = queries(server)
    assert len(asked) > 8
    assert set(asked.values()) == {1}
    cache = Cache(tmp_path)
    assert cache.verify().ok
    assert cache.tables.count("queries") == len(asked) + 1  # the look at the datasets


def test_a_large_fetch_goes_on_after_a_kill(server, tmp_path):
    process = started(server, tmp_path, 1)
    while len(server.asked) < 8:
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(0.3)
    before = queries(server)
    server.forget()
    assert printed(started(server, tmp_path, 2)) == "5 21\n"
    after = queries(server)
    # those that were on their way when it was killed, one for each thread
    assert len(after & before) <= 2
    assert len(after) < len(before)
