"""Some queries, and digests of what they gave: run by tests in processes of their own.

usage: python neuprint_notebook.py SERVER CERTIFICATE CACHE_DIR MODE [KEEP]
"""

import hashlib
import json
import sys
from pathlib import Path

import neuprint_calls as calls
from neuprint_double import DATASET

from one_cache import Cache
from one_cache import neuprint as ours
from one_cache.errors import OneCacheError

NAMES = ["custom", "custom mixed", "adjacencies", "skeleton", "meta"]


def ask():
    """Give the digest of each answer, or the name of its error."""
    found = {}
    for name in NAMES:
        try:
            found[name] = hashlib.sha256(repr(calls.CALLS[name](ours)).encode()).hexdigest()
        except OneCacheError as error:
            found[name] = type(error).__name__
    return found


def main():
    server, certificate, folder, mode, *keep = sys.argv[1:]
    cache = Cache(folder, mode=mode, silent=True)
    token = "token" if mode == "remote" else None
    options = {"verify": certificate, "cache": cache, "progress": False}
    _client = ours.Client(server, DATASET, token, **options)
    with cache.recording():
        found = ask()
    for place in map(Path, keep):
        record = cache.save_record(place / "record.jsonl")
        cache.bundle(record, place / "queries.zip")
        cache.bundle(record, place / "queries")
        cache.freeze()
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
