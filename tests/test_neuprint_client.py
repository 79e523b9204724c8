"""The neuPrint client: the record, what is never kept, datasets, tokens, copies."""

import copy
import io
import json
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pyarrow as pa
import pytest

pytest.importorskip("neuprint", reason="neuprint-python is not installed")

import neuprint
import neuprint_calls as calls
from neuprint_double import DATASET
from neuprint_fixtures import (  # noqa: F401
    ASK,
    LOOK,
    client_of,
    files_of,
    neuprint_server,
    no_client_before,
    rows_of,
)

from one_cache import neuprint as ours
from one_cache import settings
from one_cache.errors import (
    InvalidArgument,
    ModeError,
    OneCacheError,
    QueryNotCached,
)
from one_cache.neuprint import Client, fetch_custom
from one_cache.neuprint.cypher import rewritten

# neuprint-python itself uses what pandas will take away
pytestmark = pytest.mark.filterwarnings("ignore:.*inplace:DeprecationWarning")


# -- the record --------------------------------------------------------------------------------


def test_each_answer_that_was_read_is_recorded(server, tmp_path):
    client = client_of(server, tmp_path)
    client.cache.record_loaded = True
    fetch_custom(calls.TYPES)
    client.fetch_skeleton(calls.ADL)
    entries = list(client.cache.recorder)
    rows = {row["id"]: row for row in rows_of(client.cache)}
    assert [entry.kind for entry in entries] == ["query", "query"]
    for entry in entries:
        row = rows[entry.id]
        assert (entry.path, entry.size, entry.hash) == (row["path"], row["size"], row["hash"])
        assert (entry.source, entry.mode) == (server.url, "remote")
        assert entry.revision == row["last_mod"]


def test_what_is_remembered_is_recorded_by_whoever_uses_it(server, tmp_path):
    client = client_of(server, tmp_path)
    _ = client.all_rois
    client.cache.record_loaded = True
    _ = client.primary_rois, client.all_rois, client.primary_rois
    assert len(client.cache.recorder) == 1
    client.cache.recorder.clear()
    _ = client.all_rois
    assert len(client.cache.recorder) == 1
    client.fetch_neuron_keys()
    client.fetch_neuron_keys()
    assert len(client.cache.recorder) >= 2


# -- what is never kept ------------------------------------------------------------------------


def test_no_token_and_no_profile_is_ever_written(server, tmp_path):
    server.say("/profile", body='{"Email": "someone@example.org"}')
    server.say("/token", body='{"token": "secret-token"}')
    client = client_of(server, tmp_path)
    client.cache.record_loaded = True
    assert client.fetch_profile()["Email"] == "someone@example.org"
    assert client.fetch_token() == "secret-token"
    fetch_custom(calls.TYPES)
    client.cache.save_record(tmp_path / "record.jsonl")
    client.cache.freeze()
    for path, data in files_of(tmp_path).items():
        assert b"secret-token" not in data, path
        assert b"someone@example.org" not in data, path
    assert "secret-token" not in repr(client)
    with pytest.raises(ModeError, match="never kept"):
        client_of(server, tmp_path, "local").fetch_profile()


def test_queries_that_write_are_sent_once_and_not_kept(server, tmp_path):
    client = client_of(server, tmp_path)
    write = "MATCH (n:Neuron) SET n.type = 'x' RETURN n.bodyId AS id"
    server.say("SET n.type", ["id"], [[1]])
    assert client.fetch_custom(write)["id"].tolist() == [1]
    assert client.fetch_custom(write)["id"].tolist() == [1]
    assert server.counts[ASK] == 2
    assert [row["method"] for row in rows_of(client.cache)] == ["dbmeta/datasets"]
    server.fail(1, 502, on="SET n.type")
    with pytest.raises(ours.ServerAway):
        client.fetch_custom(write)
    assert server.counts[ASK] == 3
    with pytest.raises(ModeError):
        client_of(server, tmp_path, "local").fetch_custom(write)


def test_keys_and_transactions_pass_through_where_the_mode_asks(server, tmp_path):
    from neuprint.admin import Transaction

    transaction = "/api/raw/cypher/transaction"
    server.say(transaction, body='{"transaction_id": 7}')
    server.say(f"{transaction}/7/commit", body="{}")
    server.say("CREATE (n)", ["n"], [[1]])
    server.say("/api/raw/keyvalue", body="")
    client = client_of(server, tmp_path)
    client.post_raw_keyvalue("instance", "key", b"{}")
    with Transaction(DATASET, client=client) as one:
        one.query("CREATE (n) RETURN n")
    assert [row["method"] for row in rows_of(client.cache)] == ["dbmeta/datasets"]
    offline = client_of(server, tmp_path, "local")
    server.forget()
    with pytest.raises(ModeError):
        offline.post_raw_keyvalue("instance", "key", b"{}")
    with pytest.raises(ModeError):
        Transaction(DATASET, client=offline).__enter__()
    assert server.asked == []


# -- the client --------------------------------------------------------------------------------


def test_datasets_are_chosen_and_named(server, tmp_path):
    assert client_of(server, tmp_path, dataset=None).dataset == DATASET
    with pytest.raises(ours.SetupError, match="Did you mean 'hemibrain:v1.2.1'"):
        client_of(server, tmp_path, dataset="hemibrain:v1.2")
    assert client_of(server, tmp_path, "local", dataset="another").dataset == "another"
    with pytest.raises(RuntimeError, match="name a dataset"):
        client_of(server, tmp_path / "empty", "local", dataset=None)
    client_of(server, tmp_path).fetch_custom(calls.TYPES)
    assert client_of(server, tmp_path, "local", dataset=None).cache.mode == "local"


def test_a_token_is_wanted_where_the_server_is_asked(server, tmp_path, monkeypatch):
    with pytest.raises(ours.SetupError, match="wants a token"):
        client_of(server, tmp_path, token=None)
    with pytest.raises(ours.TokenRefused, match="NEUPRINT_APPLICATION_CREDENTIALS"):
        client_of(server, tmp_path, token="bad")
    settings.save_credentials(server.url, settings.Credentials(token="from-the-file"))
    assert client_of(server, tmp_path, token=None).token == "from-the-file"
    monkeypatch.setenv("NEUPRINT_APPLICATION_CREDENTIALS", '{"token": "from-outside"}')
    assert client_of(server, tmp_path, token=None).token == "from-outside"
    monkeypatch.setenv("ONE_CACHE_TOKEN", "of-another-server")
    client_of(server, tmp_path, token="given").fetch_custom(calls.TYPES)
    assert "Bearer of-another-server" not in server.tokens


def test_the_default_cache_is_one_for_each_server(server):
    client = client_of(server, None, cache=None)
    assert client.mode == "remote"
    assert Path(client.cache.cache_dir) == settings.default_cache_dir(server.url)
    assert fetch_custom(calls.TYPES).shape == (1, 2)
    offline = client_of(server, None, cache=None, mode="local")
    assert offline.fetch_custom(calls.TYPES).shape == (1, 2)


def test_a_cache_may_be_given_by_its_folder(server, tmp_path):
    client = client_of(server, None, cache=tmp_path / "here")
    assert (client.mode, Path(client.cache.cache_dir)) == ("remote", tmp_path / "here")
    assert fetch_custom(calls.TYPES).shape == (1, 2)
    client.cache.freeze()
    frozen = client_of(server, None, cache=str(tmp_path / "here"), mode="fixed", token=None)
    assert frozen.fetch_custom(calls.TYPES).shape == (1, 2)


OFFLINE = """
import sys
from one_cache.neuprint import Client, fetch_custom
client = Client(sys.argv[1], "hemibrain:v1.2.1", cache=sys.argv[2], mode=sys.argv[3])
fetch_custom(sys.argv[4])
print("duckdb" in sys.modules)
"""


@pytest.mark.parametrize("mode", ["local", "fixed"])
def test_a_replay_starts_no_engine(server, tmp_path, mode):
    client = client_of(server, tmp_path)
    fetch_custom(calls.TYPES)
    client.cache.freeze()
    arguments = [server.url, str(tmp_path), mode, calls.TYPES]
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, *arguments], capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize("debug", ["", "as the server rewrote it", None])
def test_the_response_is_the_same_from_the_cache(server, tmp_path, debug):
    debug = rewritten(f"    {calls.TYPES}", DATASET) if debug is None else debug
    body = {"columns": ["n"], "data": [[1]], "debug": debug}
    server.say("5813027016", body=json.dumps(body))
    client = client_of(server, tmp_path)
    assert client.fetch_custom(calls.TYPES, format="json") == body
    other = client_of(server, tmp_path, "local")
    assert other.fetch_custom(calls.TYPES, format="json") == body, "found without a row"
    client.cache.freeze()
    frozen = client_of(server, tmp_path, "fixed")
    assert frozen.fetch_custom(calls.TYPES, format="json") == body


def test_clients_are_equal_by_value(server, tmp_path):
    one, other = client_of(server, tmp_path), client_of(server, tmp_path)
    plain = neuprint.Client(server.url, DATASET, "secret-token", verify=server.certificate)
    assert one == other
    assert hash(one) == hash(other)
    assert one != plain
    assert plain != one
    assert one != client_of(server, tmp_path / "elsewhere")
    assert one != client_of(server, tmp_path, "local")
    assert one != client_of(server, tmp_path, token="another")


def test_copies_stand_on_the_same_cache(server, tmp_path):
    client = client_of(server, tmp_path)
    twin = copy.deepcopy(client)
    assert twin.cache is client.cache
    assert twin.session is not client.session
    assert neuprint.default_client().cache is client.cache


def test_a_copy_within_criteria_does_not_take_the_default_client_away(server, tmp_path):
    one, other = client_of(server, tmp_path), client_of(server, tmp_path / "other")
    neuprint.set_default_client(one)
    ours.fetch_simple_connections(calls.SOURCES, calls.TARGETS)
    assert neuprint.default_client() == one
    assert len(neuprint.list_all_clients() & {one, other}) == 2


def test_a_client_goes_to_another_process(server, tmp_path):
    client = client_of(server, tmp_path)
    fetch_custom(calls.TYPES)
    client.cache.save_cache()
    again = pickle.loads(pickle.dumps(client))
    assert again == client
    server.forget()
    assert again.fetch_custom(calls.TYPES).shape == (1, 2)
    assert server.counts == {LOOK: 1}


def test_arrow_is_kept_as_it_came(server, tmp_path):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, pa.schema([("n", pa.int64())])) as writer:
        writer.write_table(pa.table({"n": [1]}))
    server.say(
        "/api/custom/arrow", media="application/vnd.apache.arrow.stream", body=sink.getvalue()
    )
    query = "RETURN 1 AS n"
    frame = client_of(server, tmp_path).fetch_custom(query, use_arrow=True)
    assert frame["n"].tolist() == [1]
    offline = client_of(server, tmp_path, "local")
    pd.testing.assert_frame_equal(offline.fetch_custom(query, use_arrow=None), frame)
    assert server.counts == {LOOK: 1, "GET /api/version": 1, "POST /api/custom/arrow": 1}
    with pytest.raises(QueryNotCached):
        offline.fetch_custom(query)


def test_formats_are_two(server, tmp_path):
    with pytest.raises(InvalidArgument, match="'pandas' or 'json'"):
        client_of(server, tmp_path).fetch_custom("RETURN 1", format="frames")


def test_without_neuprint_python_the_error_says_what_to_install():
    code = "import sys; sys.modules['neuprint'] = None; import one_cache.neuprint"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "DependencyMissing" in done.stderr
    assert "pip install 'one_cache[neuprint]'" in done.stderr


def test_all_names_of_neuprint_python_are_here():
    for name in neuprint.__dict__:
        if not name.startswith("_"):
            assert hasattr(ours, name), name
    starred = {}
    exec("from one_cache.neuprint import *", starred)
    values = {name: one for name, one in vars(neuprint).items() if not name.startswith("_")}
    theirs = {name for name, one in values.items() if not isinstance(one, ModuleType)}
    assert theirs <= set(starred)
    assert starred["Client"] is Client
    assert theirs <= set(dir(ours))
    assert issubclass(Client, neuprint.Client)
    with pytest.raises(AttributeError):
        _ = ours.no_such_name
    assert issubclass(ours.QueryRefused, OneCacheError)
