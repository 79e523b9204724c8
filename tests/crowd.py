"""Processes that fetch, for the tests: forked from one that has no threads.

``python crowd.py URL CACHE LIST many COUNT [LOCKS]`` has COUNT processes fetch the same list at
once; ``... kills COUNT SEED`` kills a process COUNT times at random moments, looks for wrong
files each time, and lets the last one finish. Both print one line of JSON.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from one_cache.records import File
from one_cache.remotes.http import HttpRemote
from one_cache.store import Store
from one_cache.transfer import fetch


def bring(url, cache, files):
    fetch(files, HttpRemote(url), Store(cache), stall=10.0)


def wrong(cache, files):
    """Name the visible files that are not what they must be."""
    bad = []
    for file in files:
        path = Path(cache, file.path)
        if path.exists() and hashlib.md5(path.read_bytes()).hexdigest() != file.hash:
            bad.append(file.path)
    return bad


def start(url, cache, files):
    pid = os.fork()
    if pid:
        return pid
    try:
        bring(url, cache, files)
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 - the child ends here
        sys.stderr.write(f"{error!r}\n")
        os._exit(1)


def many(url, cache, files, count, locks="work"):
    if locks != "work":
        import fcntl

        def flock(handle, what):
            if locks == "missing":
                raise OSError(37, "No locks available")

        # a file system without working locks
        fcntl.flock = flock
    pids = [start(url, cache, files) for _ in range(int(count))]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    return {"codes": codes, "wrong": wrong(cache, files)}


def kills(url, cache, files, count, seed):
    dice, bad, finished = random.Random(int(seed)), [], 0
    for _ in range(int(count)):
        pid = start(url, cache, files)
        time.sleep(dice.uniform(0.0, 0.25))
        os.kill(pid, signal.SIGKILL)
        finished += os.waitpid(pid, 0)[1] == 0
        bad += wrong(cache, files)
        if finished:
            # all is there: begin again with some of it
            finished = 0
            for file in dice.sample(files, len(files) // 2):
                Path(cache, file.path).unlink(missing_ok=True)
    bring(url, cache, files)
    return {"wrong": bad + wrong(cache, files)}


if __name__ == "__main__":
    url, cache, listing, what, *rest = sys.argv[1:]
    files = [File(*row) for row in json.loads(Path(listing).read_text())]
    json.dump({"many": many, "kills": kills}[what](url, cache, files, *rest), sys.stdout)
