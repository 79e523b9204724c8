"""What the tests of the neuPrint door share."""

from pathlib import Path

import neuprint
import pytest
from neuprint_double import DATASET, NeuprintDouble

from one_cache import Cache
from one_cache.neuprint import Client

ASK = "POST /api/custom/custom"
LOOK = "GET /api/dbmeta/datasets"
COUNT = "MATCH (n:Neuron) RETURN count(n) AS n"
BOXED = 'CALL apoc.cypher.runTimeboxed("MATCH p RETURN p", {}, 5) YIELD value RETURN value.p AS p'


@pytest.fixture(name="server")
def neuprint_server():
    """A double of a neuPrint server."""
    with NeuprintDouble() as double:
        yield double


@pytest.fixture(autouse=True)
def no_client_before(monkeypatch):
    """No test sees the clients or the token of another one."""
    monkeypatch.delenv("NEUPRINT_APPLICATION_CREDENTIALS", raising=False)
    # the tracebacks of a test that failed hold its clients
    neuprint.client._user_clients.clear()
    neuprint.clear_default_client()
    yield
    neuprint.clear_default_client()
    neuprint.Client.DATASETS_CACHE.clear()


def client_of(server, folder, opened="remote", **options):
    """A client of that server on a cache over that folder, opened in that mode."""
    given = {"dataset": DATASET, "token": "secret-token", "progress": False, "timeout": 20.0}
    given.update(options)
    if "cache" not in given:
        given["cache"] = Cache(folder, mode=opened)
    return Client(server.url, verify=server.certificate, **given)


def rows_of(cache):
    return cache.tables.rows("SELECT * FROM queries ORDER BY id")


def row_of(cache, part):
    return next(row for row in rows_of(cache) if part in row["query"])


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }
