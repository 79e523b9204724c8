"""The bar: one for the whole, where somebody sees it, and quiet otherwise."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest
from faults import FaultServer

from one_cache.progress import progress

SCRIPT = """
import sys
from one_cache.records import File
from one_cache.remotes.http import HttpRemote
from one_cache.store import Store
from one_cache.transfer import fetch
url, root, silent = sys.argv[1:]
fetch([File(f"{n}.npy", 30_000) for n in range(10)], HttpRemote(url), Store(root),
      threads=2, silent=silent == "silent")
"""


def run(folder, *, terminal, silent="", **environment):
    """Fetch in a process with a terminal or without; give what it wrote."""
    env = {name: value for name, value in os.environ.items() if name != "ONE_CACHE_PROGRESS"}
    env.update(environment)
    files = {f"{number}.npy": bytes(30_000) for number in range(10)}
    with FaultServer(files, rate=200_000) as server:
        command = [sys.executable, "-c", SCRIPT, server.url, str(folder), silent]
        if not terminal:
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
            return done.stdout + done.stderr
        reading, writing = pty.openpty()
        fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
        process = subprocess.Popen(command, env=env, stderr=writing, stdout=writing)
        os.close(writing)
        text = b""
        while True:
            try:
                piece = os.read(reading, 65536)
            except OSError:
                # the way a terminal ends on Linux
                break
            if not piece:
                break
            text += piece
        os.close(reading)
        assert process.wait() == 0, text
        return text.decode()


def test_a_terminal_shows_one_bar_for_all(tmp_path):
    text = run(tmp_path, terminal=True)
    last = [line for line in text.replace("\r", "\n").split("\n") if "Fetching" in line][-1]
    assert "100%" in last
    assert "300k/300k" in last
    assert "10/10 files" in last
    assert "B/s" in last
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("terminal", "silent", "environment"),
    [
        (False, "", {}),
        (True, "silent", {}),
        (True, "", {"ONE_CACHE_PROGRESS": "0"}),
    ],
    ids=["no terminal", "silent", "switched off"],
)
def test_otherwise_it_is_quiet(tmp_path, terminal, silent, environment):
    assert run(tmp_path, terminal=terminal, silent=silent, **environment) == ""


def test_what_nobody_sees_counts_nothing_and_needs_no_tqdm():
    code = (
        "import sys; from one_cache.progress import progress\n"
        "with progress(3, 'file', 'Counting') as bar: bar.update(3); bar.note('x')\n"
        "print(bar.shown, 'tqdm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False False\n", "")
    with progress(None, "B", "Fetching", silent=True) as bar:
        bar.update(-1)
        assert not bar.shown
