"""A neuPrint server that fails, stalls, refuses; and what the client makes of it."""

import json
import socket
import threading

import pytest
import requests

pytest.importorskip("neuprint", reason="neuprint-python is not installed")

import neuprint_calls as calls
from neuprint_fixtures import client_of, neuprint_server, no_client_before  # noqa: F401

from one_cache import neuprint as ours
from one_cache.errors import (
    Forbidden,
    OneCacheError,
    RemoteError,
    ServerTimeout,
    TransferFailed,
)
from one_cache.neuprint.server import Call, is_timeout, send

ASK = "POST /api/custom/custom"
TIMEOUT = (
    '{"error": "Timeout experienced.  This could be due to database traffic or to non-optimal '
    'database queries. If the latter, please consult neuPrint documentation."}'
)
BOLT = (
    '{"error": "failed to execute query: Neo4jError: '
    'Neo.ClientError.Transaction.TransactionTimedOut (The transaction has been terminated.)"}'
)

pytestmark = pytest.mark.filterwarnings("ignore:.*inplace:DeprecationWarning")


AT_ONCE = {"Retry-After": "0"}


@pytest.mark.parametrize("status", [429, 502, 503, 504, 0])
def test_what_heals_is_tried_again(server, tmp_path, status):
    client = client_of(server, tmp_path)
    times = 2 if status else 1
    server.fail(times, status, on="5813027016", headers=AT_ONCE)
    assert client.fetch_custom(calls.TYPES)["n.type"][0] == "FB4Y"
    assert server.counts[ASK] == times + 1


@pytest.mark.parametrize("headers", [{"Content-Length": "5000"}, {"Content-Encoding": "gzip"}])
def test_an_answer_that_is_cut_or_garbled_is_asked_again(server, tmp_path, headers):
    client = client_of(server, tmp_path)
    server.fail(2, 200, '{"columns": ["n.type"], "da', on="5813027016", headers=headers)
    assert client.fetch_custom(calls.TYPES)["n.type"][0] == "FB4Y"
    assert server.counts[ASK] == 3


def test_a_connection_that_breaks_as_it_begins_is_tried_again():
    met = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                met.append(connection.recv(100))
                connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        call = Call(
            "GET", f"https://127.0.0.1:{listener.getsockname()[1]}/api", about="fetch_meta"
        )
        with pytest.raises(ours.ServerAway, match="fetch_meta: no connection"):
            send(requests.Session(), call, verify=True, timeout=5.0, tries=2)
    assert len(met) == 2


def test_the_first_look_is_tried_again_too(server, tmp_path):
    server.fail(2, 503, on="dbmeta", headers=AT_ONCE)
    assert client_of(server, tmp_path).dataset == "hemibrain:v1.2.1"


@pytest.mark.parametrize("status", [502, 503, 0])
def test_what_does_not_heal_is_an_error_after_some_tries(server, tmp_path, status):
    client = client_of(server, tmp_path, tries=2)
    server.fail(100, status, on="5813027016")
    with pytest.raises(ours.ServerAway, match="fetch_custom") as caught:
        client.fetch_custom(calls.TYPES)
    assert server.counts[ASK] == 2
    assert isinstance(caught.value, (TransferFailed, ConnectionError))
    assert isinstance(caught.value, requests.RequestException)


def test_the_server_says_how_long_to_wait(server, tmp_path):
    client = client_of(server, tmp_path)
    server.fail(1, 503, on="5813027016", headers={"Retry-After": "0"})
    assert client.fetch_custom(calls.TYPES).shape == (1, 2)
    server.fail(1, 503, on="425790257", headers={"Retry-After": "3600"})
    with pytest.raises(ours.ServerAway) as caught:
        client.fetch_custom("MATCH (n {bodyId: 425790257}) RETURN n.type")
    assert caught.value.retry_after == 3600


def test_other_errors_of_the_server_are_not_tried_again(server, tmp_path):
    client = client_of(server, tmp_path)
    server.fail(1, 500, '{"error": "broken"}', on="5813027016")
    with pytest.raises(ours.QueryRefused, match="500: broken") as caught:
        client.fetch_custom(calls.TYPES)
    assert caught.value.response.status_code == 500
    assert isinstance(caught.value, requests.HTTPError)
    assert isinstance(caught.value, RemoteError)
    assert client.fetch_custom(calls.TYPES).shape == (1, 2), "nothing of it was kept"


@pytest.mark.parametrize(("status", "body"), [(400, TIMEOUT), (400, BOLT), (500, BOLT)])
def test_a_timeout_of_the_database_says_so_and_what_to_do(server, tmp_path, status, body):
    _client = client_of(server, tmp_path)
    server.say("true as _", status=status, body=body)
    with pytest.raises(ours.QueryTimeout, match="timed out on the server") as caught:
        ours.fetch_adjacencies(calls.SOURCES, calls.TARGETS)
    assert "fetch_adjacencies" in str(caught.value)
    assert "smaller batch_size= (the default is 200)" in str(caught.value)
    assert "MATCH (n:Segment)-[e:ConnectsTo]->(m:Segment)" in str(caught.value)
    assert isinstance(caught.value, (TimeoutError, ServerTimeout))
    assert isinstance(caught.value, requests.HTTPError)


def test_a_timeout_is_not_kept(server, tmp_path):
    client = client_of(server, tmp_path)
    server.fail(1, 400, TIMEOUT, on="5813027016")
    with pytest.raises(ours.QueryTimeout, match="LIMIT"):
        client.fetch_custom(calls.TYPES)
    assert client.fetch_custom(calls.TYPES).shape == (1, 2)


def test_a_gateway_that_gives_up_is_a_timeout(server, tmp_path):
    client = client_of(server, tmp_path, tries=2)
    server.fail(100, 504, "<html>Gateway Time-out</html>", on="5813027016")
    with pytest.raises(ours.QueryTimeout, match="timed out on the server"):
        client.fetch_custom(calls.TYPES)
    assert server.counts[ASK] == 2


def test_a_silent_server_is_not_waited_for(server, tmp_path):
    client = client_of(server, tmp_path, timeout=0.3)
    server.fail(1, 2.0, on="5813027016")
    with pytest.raises(ours.QueryTimeout, match=r"silent for 0\.3 s"):
        client.fetch_custom(calls.TYPES)
    assert server.counts[ASK] == 1


def test_a_wrong_query_is_refused_the_same_way_again(server, tmp_path):
    client = client_of(server, tmp_path)
    with pytest.raises(ours.QueryRefused, match="SyntaxError") as first:
        client.fetch_custom("MATCH (n:Neuron RETURN n")
    with pytest.raises(ours.QueryRefused) as again:
        client.fetch_custom("MATCH (n:Neuron RETURN n")
    assert server.counts[ASK] == 1
    offline = client_of(server, tmp_path, "local")
    with pytest.raises(ours.QueryRefused) as replayed:
        offline.fetch_custom("MATCH (n:Neuron RETURN n")
    assert str(first.value) == str(again.value) == str(replayed.value)
    assert replayed.value.response.status_code == replayed.value.status == 400
    assert replayed.value.response.json()["error"].startswith("failed to execute")


@pytest.mark.parametrize(
    "said",
    [
        "Neo4jError: Neo.TransientError.General.MemoryPoolOutOfMemoryError",
        "failed to execute query: ConnectivityError: Unable to retrieve routing table",
        "something that nobody foresaw",
    ],
)
def test_a_refusal_that_may_pass_is_not_kept(server, tmp_path, said):
    client = client_of(server, tmp_path)
    server.fail(1, 400, json.dumps({"error": said}), on="5813027016")
    with pytest.raises(ours.QueryRefused, match=said[:20]):
        client.fetch_custom(calls.TYPES)
    assert client.fetch_custom(calls.TYPES).shape == (1, 2)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_no_answer(server, tmp_path, status):
    client = client_of(server, tmp_path)
    server.fail(1, status, '{"message": "no"}', on="5813027016")
    with pytest.raises(ours.TokenRefused) as caught:
        client.fetch_custom(calls.TYPES)
    assert isinstance(caught.value, (Forbidden, PermissionError))
    assert "secret-token" not in str(caught.value)
    assert client.fetch_custom(calls.TYPES).shape == (1, 2)


@pytest.mark.parametrize(
    "body", ["<html>sign in</html>", "{}", '{"columns": 1, "data": []}', "[]"]
)
def test_what_is_no_table_is_no_answer(server, tmp_path, body):
    client = client_of(server, tmp_path)
    server.fail(1, 200, body, on="5813027016")
    with pytest.raises(RemoteError, match="no table"):
        client.fetch_custom(calls.TYPES)
    assert client.fetch_custom(calls.TYPES).shape == (1, 2)


def test_a_page_is_no_skeleton(server, tmp_path):
    client = client_of(server, tmp_path)
    server.fail(1, 200, "<html>sign in</html>", on="/skeleton/")
    with pytest.raises(RemoteError, match="a page came instead of data"):
        client.fetch_skeleton(calls.ADL, format="swc")
    assert client.fetch_skeleton(calls.ADL, format="swc").startswith("#")


def test_rows_that_do_not_fit_their_columns_are_no_answer(server, tmp_path):
    client = client_of(server, tmp_path)
    server.say("RETURN 1", ["a", "b"], [[1]])
    with pytest.raises(OneCacheError, match="2 columns"):
        client.fetch_custom("RETURN 1")


def test_a_certificate_that_is_not_known_is_refused_at_once(server, tmp_path):
    cache = client_of(server, tmp_path).cache
    server.forget()
    with pytest.raises(ours.QueryRefused, match=r"verify='its-certificate\.pem'"):
        ours.Client(server.url, token="t", cache=cache)
    assert server.asked == []


def test_nobody_at_that_address(server, tmp_path):
    call = Call("GET", "https://127.0.0.1:9/api/version", about="fetch_version")
    with pytest.raises(ours.ServerAway, match="fetch_version: no connection"):
        send(requests.Session(), call, verify=True, timeout=2.0, tries=2)


def test_the_token_goes_to_its_server_only(server, tmp_path):
    client = client_of(server, tmp_path)
    server.fail(
        1, 302, "", on="5813027016", headers={"Location": f"https://localhost:{server.port}/api/x"}
    )
    server.tokens.clear()
    with pytest.raises(OneCacheError):
        client.fetch_custom(calls.TYPES)
    assert server.tokens == {"Bearer secret-token", ""}


@pytest.mark.parametrize(
    ("status", "said", "timeout"),
    [
        (400, "Timeout experienced.", True),
        (400, "context deadline exceeded", True),
        (400, "syntax", False),
        (400, "Neo.ClientError.Statement.SyntaxError (WHERE n.timeout = 1)", False),
        (401, "timeout", False),
    ],
)
def test_refusals_that_are_timeouts(status, said, timeout):
    assert is_timeout(status, said) is timeout
