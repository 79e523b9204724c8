"""The neuPrint client on a cache: asked once, recorded, replayed, frozen."""

import copy
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("neuprint", reason="neuprint-python is not installed")

import neuprint_calls as calls
from neuprint_double import DATASET, NeuprintDouble
from neuprint_fixtures import (  # noqa: F401
    ASK,
    BOXED,
    COUNT,
    LOOK,
    client_of,
    files_of,
    neuprint_server,
    no_client_before,
    row_of,
    rows_of,
)

from one_cache import Cache
from one_cache import neuprint as ours
from one_cache.errors import (
    CacheWarning,
    HashMismatch,
    ModeError,
    NotInCache,
    QueryNotCached,
)
from one_cache.neuprint import fetch_custom, fetch_meta, fetch_neurons

# neuprint-python itself uses what pandas will take away
pytestmark = pytest.mark.filterwarnings("ignore:.*inplace:DeprecationWarning")


# -- record, replay, freeze ------------------------------------------------------------------


def in_new_process(server, folder, mode, seed, target):
    script = Path(calls.__file__)
    command = [sys.executable, "-W", "ignore", str(script), server.url, server.certificate]
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    done = subprocess.run(
        [*command, str(folder), mode, str(target)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with open(target, "rb") as file:
        return pickle.load(file)


def test_all_functions_replay_in_new_processes_without_a_server(tmp_path):
    folder = tmp_path / "cache"
    with NeuprintDouble() as server:
        first = in_new_process(server, folder, "remote", 1, tmp_path / "first")
        asked = len(server.asked)
        assert server.unknown == []
    assert asked > 100
    again = in_new_process(server, folder, "local", 2, tmp_path / "again")
    frozen = in_new_process(server, folder, "fixed", 3, tmp_path / "frozen")
    for replayed in (again, frozen):
        for name, result in first["results"].items():
            assert calls.same(replayed["results"][name], result), name
    assert set(again["queries"]) == set(frozen["queries"]) == set(first["queries"])
    errors = {name: one[0] for name, one in first["results"].items() if is_error(one)}
    assert errors == {
        "custom wrong": "QueryRefused",
        "neurons unknown roi": "RuntimeError",
        "adjacencies none": "RuntimeError",
        "skeleton unknown": "QueryRefused",
        "mesh unknown": "QueryRefused",
    }


def is_error(result):
    return isinstance(result, tuple) and isinstance(result[0], str)


def test_a_repeated_online_notebook_sends_one_request(server, tmp_path):
    client = client_of(server, tmp_path)
    asked_each_time = {"daily type", "version", "instances", "database", "paths none"}
    names = [name for name in calls.CALLS if name not in asked_each_time]
    first = calls.run(ours, names)
    assert server.counts[ASK] > 80
    assert server.counts["GET /api/version"] == 0
    client.cache.save_cache()
    server.forget()
    del client
    _client = client_of(server, tmp_path)
    again = calls.run(ours, names)
    assert server.counts == {LOOK: 1}
    assert all(calls.same(first[name], again[name]) for name in names)


def test_a_plain_query_is_one_request_and_then_none(server, tmp_path):
    client = client_of(server, tmp_path)
    fetch_custom(calls.TYPES)
    fetch_custom(f"\n\n   // the same\n{calls.TYPES}")
    client.fetch_custom(calls.TYPES, format="json")
    assert server.counts == {LOOK: 1, ASK: 1}


def test_answers_are_new_objects(server, tmp_path):
    _client = client_of(server, tmp_path)
    first = fetch_meta()
    first["roiInfo"].clear()
    assert fetch_meta()["roiInfo"]
    frame = fetch_custom(calls.TYPES)
    frame["n.type"] = "changed"
    assert fetch_custom(calls.TYPES)["n.type"][0] == "FB4Y"


def test_a_row_tells_all_of_an_answer(server, tmp_path):
    client = client_of(server, tmp_path)
    fetch_neurons(calls.directed(ours))
    row = row_of(client.cache, "MBON")
    said = client.fetch_datasets()[DATASET]
    assert (row["server"], row["dataset"], row["method"]) == (server.url, DATASET, "custom/custom")
    assert (row["uuid"], row["last_mod"]) == (said["uuid"], said["last-mod"])
    assert row["function"] == "fetch_neurons"
    assert "\n" not in row["query"]
    assert "//" in row["raw"]
    assert '"neuprint-python"' in row["versions"]
    assert (row["status"], row["inconclusive"]) == (200, False)
    place = client.cache.store.path(row["path"])
    assert place.stat().st_size == row["size"]
    assert client.cache.store.digest(row["path"], "sha256") == row["hash"]
    assert row["rows"] > 0
    assert "bodyId" in row["columns"]


def test_the_table_is_saved_and_merged_like_any_other(server, tmp_path):
    client = client_of(server, tmp_path)
    fetch_custom(calls.TYPES)
    saved = client.cache.save_cache()
    assert saved["queries"] == tmp_path / "queries.pqt"
    fetch_meta()
    client.cache.save_cache()
    assert len(pd.read_parquet(tmp_path / "queries.pqt")) == 3
    other = client_of(server, tmp_path / "copy", "local", cache=Cache(tmp_path / "copy"))
    with pytest.raises(QueryNotCached):
        other.fetch_custom(calls.TYPES)


# -- modes -----------------------------------------------------------------------------------


def test_local_needs_no_server_and_no_token(server, tmp_path):
    client = client_of(server, tmp_path)
    expected = fetch_custom(calls.TYPES)
    client.cache.save_cache()
    del client
    server.forget()
    client = client_of(server, tmp_path, "local", token=None)
    assert client.mode == "local"
    pd.testing.assert_frame_equal(fetch_custom(calls.TYPES), expected)
    assert server.asked == []


def test_a_missing_answer_names_function_and_query(server, tmp_path):
    _client = client_of(server, tmp_path, "local")
    with pytest.raises(QueryNotCached, match=r"fetch_neurons: no answer is kept") as caught:
        ours.fetch_neurons([1, 2, 3])
    assert "MATCH (n:Meta) RETURN n.neuronProperties" in str(caught.value)
    assert "mode='remote'" in str(caught.value)
    assert isinstance(caught.value, NotInCache)
    with pytest.raises(QueryNotCached, match="fetch_skeleton"):
        ours.default_client().fetch_skeleton(5)
    with pytest.raises(QueryNotCached, match="fetch_meta"):
        _ = ours.default_client().all_rois


def test_a_missing_batch_of_a_worker_thread_names_the_function(server, tmp_path):
    client = client_of(server, tmp_path)
    ours.fetch_adjacencies(calls.SOURCES, calls.TARGETS, batch_size=1)
    lost = [row for row in rows_of(client.cache) if "true as _" in row["query"]]
    assert len(lost) == 4
    client.cache.store.remove(lost[2]["path"])
    client.cache.save_cache()
    client = client_of(server, tmp_path, "local")
    with pytest.raises(QueryNotCached, match=r"^fetch_adjacencies: "):
        ours.fetch_adjacencies(calls.SOURCES, calls.TARGETS, batch_size=1, client=client)


def test_fixed_serves_what_is_pinned_and_nothing_else(server, tmp_path):
    client = client_of(server, tmp_path)
    fetch_custom(calls.TYPES)
    client.cache.freeze()
    later = client.fetch_custom(calls.NODES)
    assert len(later) == 1
    before = files_of(tmp_path)
    del client
    server.forget()
    frozen = client_of(server, tmp_path, "fixed", token=None)
    assert frozen.mode == "fixed"
    assert fetch_custom(calls.TYPES)["n.type"][0] == "FB4Y"
    with pytest.raises(QueryNotCached, match="the manifest pins no answer"):
        frozen.fetch_custom(calls.NODES)
    assert server.asked == []
    assert files_of(tmp_path) == before


def test_nothing_overrides_fixed(server, tmp_path):
    client = client_of(server, tmp_path)
    client.cache.freeze()
    del client
    frozen = client_of(server, tmp_path, "fixed")
    same = client_of(server, tmp_path, cache=frozen.cache, mode="remote")
    assert same.mode == "fixed"
    with pytest.raises(QueryNotCached):
        same.fetch_custom(calls.TYPES)
    with pytest.raises(ModeError, match="opened in mode 'local'"):
        client_of(server, tmp_path, cache=Cache(tmp_path), mode="fixed")


def test_a_client_may_ask_on_a_local_cache_and_stay_offline_on_a_remote_one(server, tmp_path):
    asking = client_of(server, tmp_path, cache=Cache(tmp_path), mode="remote")
    assert asking.fetch_custom(calls.TYPES).shape == (1, 2)
    offline = client_of(server, tmp_path, cache=Cache(tmp_path, mode="remote"), mode="local")
    server.forget()
    assert offline.fetch_custom(calls.TYPES).shape == (1, 2)
    with pytest.raises(QueryNotCached):
        offline.fetch_custom(calls.NODES)
    assert server.asked == []


def test_a_mode_that_changes_means_another_look(server, tmp_path):
    client_of(server, tmp_path).fetch_custom(calls.TYPES)
    server.edit()
    client = client_of(server, tmp_path, "local")
    client.fetch_datasets()
    client.cache.mode = "remote"
    server.forget()
    client.fetch_custom(calls.TYPES)
    assert server.counts == {LOOK: 1, ASK: 1}


def test_an_offline_client_of_a_remote_cache_notices_bytes_too(server, tmp_path):
    client = client_of(server, tmp_path)
    fetch_custom(calls.TYPES)
    offline = client_of(server, tmp_path, cache=client.cache, mode="local")
    path = client.cache.store.path(row_of(client.cache, calls.TYPES)["path"])
    path.write_bytes(path.read_bytes()[:-1] + b"X")
    with pytest.raises(HashMismatch, match="fetch_custom"):
        offline.fetch_custom(calls.TYPES)
    path.unlink()
    with pytest.raises(QueryNotCached):
        offline.fetch_custom(calls.TYPES)


def test_changed_bytes_are_noticed(server, tmp_path):
    client = client_of(server, tmp_path)
    fetch_custom(calls.TYPES)
    client.cache.freeze()
    path = client.cache.store.path(row_of(client.cache, calls.TYPES)["path"])
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"X")
    for mode in ("local", "fixed"):
        with pytest.raises(HashMismatch, match="fetch_custom"):
            client_of(server, tmp_path, mode).fetch_custom(calls.TYPES)
    server.forget()
    assert client_of(server, tmp_path).fetch_custom(calls.TYPES)["n.type"][0] == "FB4Y"
    assert server.counts == {LOOK: 1, ASK: 1}
    assert path.read_bytes() == good
    assert client_of(server, tmp_path, "fixed").fetch_custom(calls.TYPES).shape == (1, 2)


def test_a_lost_file_is_asked_for_again_or_refused(server, tmp_path):
    client = client_of(server, tmp_path)
    fetch_custom(calls.TYPES)
    client.cache.freeze()
    client.cache.store.remove(row_of(client.cache, calls.TYPES)["path"])
    with pytest.raises(QueryNotCached, match="not on disk"):
        client_of(server, tmp_path, "fixed").fetch_custom(calls.TYPES)
    assert client_of(server, tmp_path).fetch_custom(calls.TYPES).shape == (1, 2)
    assert client_of(server, tmp_path, "fixed").fetch_custom(calls.TYPES).shape == (1, 2)


def test_frozen_answers_outlive_a_new_version_of_the_dataset(server, tmp_path):
    client = client_of(server, tmp_path / "cache")
    server.say("count(n) AS n", ["n"], [[1]])
    fetch_custom(COUNT)
    client.cache.freeze(tmp_path / "paper")
    server.edit()
    server.say("count(n) AS n", ["n"], [[2]])
    assert client_of(server, tmp_path / "cache").fetch_custom(COUNT)["n"][0] == 2
    paper = Cache(tmp_path / "cache", tables_dir=tmp_path / "paper", mode="fixed")
    assert client_of(server, None, cache=paper).fetch_custom(COUNT)["n"][0] == 1


# -- what is still true ------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["uuid", "last-mod"])
def test_an_edited_dataset_is_asked_again(server, tmp_path, what):
    client = client_of(server, tmp_path)
    fetch_custom(calls.TYPES)
    server.edit(**{what: "another"})
    fetch_custom(calls.TYPES)
    assert server.counts[ASK] == 1, "the look is taken when the client is made"
    client.fetch_datasets(reload_cache=True)
    fetch_custom(calls.TYPES)
    fetch_custom(calls.TYPES)
    assert server.counts == {LOOK: 2, ASK: 2}
    row = row_of(client.cache, calls.TYPES)
    assert row[what.replace("-", "_")] == "another"


def test_metadata_that_is_remembered_goes_out_of_date_too(server, tmp_path):
    client = client_of(server, tmp_path)
    assert client.meta is client.meta
    assert server.counts[ASK] == 1
    server.edit()
    client.fetch_datasets(reload_cache=True)
    _ = client.all_rois, client.primary_rois, client.meta
    assert server.counts[ASK] == 2


def test_local_answers_serve_whatever_became_of_the_dataset(server, tmp_path):
    client_of(server, tmp_path).fetch_custom(calls.TYPES)
    server.edit()
    assert client_of(server, tmp_path, "local").fetch_custom(calls.TYPES).shape == (1, 2)


def test_what_belongs_to_no_dataset_is_asked_again_and_kept_for_replay(server, tmp_path):
    client = client_of(server, tmp_path)
    assert [client.fetch_version() for _ in range(2)] == ["1.9.2", "1.9.2"]
    assert server.counts["GET /api/version"] == 2
    assert client_of(server, tmp_path, "local").fetch_version() == "1.9.2"


def test_empty_time_boxed_answers_are_asked_again_but_replayed(server, tmp_path, caplog):
    client = client_of(server, tmp_path)
    server.say("MATCH p RETURN p", ["p"], [])
    assert len(client.fetch_custom(BOXED)) == 0
    client.cache.freeze()
    assert len(client.fetch_custom(BOXED)) == 0
    assert server.counts[ASK] == 2
    assert row_of(client.cache, "MATCH p")["inconclusive"]
    for mode in ("local", "fixed"):
        replayed = client_of(server, tmp_path, mode)
        replayed.cache.record_loaded = True
        caplog.clear()
        assert list(replayed.fetch_custom(BOXED).columns) == ["p"]
        assert "the time was up" in caplog.text
        assert "the time was up" in next(iter(replayed.cache.recorder)).note
    server.say("MATCH p RETURN p", ["p"], [[1]])
    fresh = client_of(server, tmp_path)
    server.forget()
    assert fresh.fetch_custom(BOXED)["p"].tolist() == [1]
    assert fresh.fetch_custom(BOXED)["p"].tolist() == [1]
    assert server.counts[ASK] == 1
    assert client_of(server, tmp_path, "local").fetch_custom(BOXED)["p"].tolist() == [1]


@pytest.mark.parametrize("status", [0, 500, 503, 504])
def test_the_server_may_be_away_while_its_datasets_are_known(server, tmp_path, status):
    client_of(server, tmp_path).fetch_custom(calls.TYPES)
    server.fail(100, status)
    with pytest.warns(CacheWarning, match="is away"):
        client = client_of(server, tmp_path, tries=1)
    assert client.fetch_custom(calls.TYPES).shape == (1, 2)
    down = {500: ours.QueryRefused, 504: ours.QueryTimeout}.get(status, ours.ServerAway)
    with pytest.raises(down):
        client.fetch_custom(calls.NODES)
    with pytest.raises(down):
        client_of(server, tmp_path / "other", tries=1)


def test_a_server_that_refuses_is_not_away(server, tmp_path):
    client_of(server, tmp_path).fetch_custom(calls.TYPES)
    server.fail(1, 403)
    with pytest.raises(ours.TokenRefused):
        client_of(server, tmp_path)
    server.fail(1, 404)
    with pytest.raises(ours.QueryRefused):
        client_of(server, tmp_path)


# -- interrupted -------------------------------------------------------------------------------


def test_finished_batches_are_not_asked_again(server, tmp_path):
    client = client_of(server, tmp_path, tries=1)
    server.fail(1, 500, on=f"[{calls.SOURCES[2]}]")
    server.fail(1, 500, on=f"n.bodyId = {calls.SOURCES[2]}")
    fetch = {"sources": calls.SOURCES, "targets": calls.TARGETS, "batch_size": 1, "threads": 1}
    with pytest.raises(ours.QueryRefused):
        ours.fetch_adjacencies(**fetch)
    before = [cypher for _, _, cypher in server.asked]
    server.forget()
    del client
    _client = client_of(server, tmp_path)
    neurons, connections = ours.fetch_adjacencies(**fetch)
    assert len(connections) == 21
    after = [cypher for _, path, cypher in server.asked if "custom" in path]
    assert set(before) & set(after) <= {before[-1]}
    assert len(after) < 6


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[4])
from one_cache import Cache
from one_cache.neuprint import Client, fetch_custom
client = Client(sys.argv[1], "hemibrain:v1.2.1", "token", verify=sys.argv[2],
                cache=Cache(sys.argv[3], mode="remote"))
fetch_custom("MATCH (n:Neuron) WHERE n.bodyId = 5813027016 RETURN n.type, n.instance")
os._exit(9)
"""


def test_answers_of_a_killed_process_are_found(server, tmp_path):
    arguments = [server.url, server.certificate, str(tmp_path), str(Path(calls.__file__).parent)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert done.returncode == 9
    assert not (tmp_path / "queries.pqt").exists()
    server.forget()
    client = client_of(server, tmp_path)
    assert client.fetch_custom(calls.TYPES)["n.type"][0] == "FB4Y"
    assert server.counts == {LOOK: 1}
    client.cache.freeze()
    assert client_of(server, tmp_path, "fixed").fetch_custom(calls.TYPES).shape == (1, 2)
    row = row_of(client.cache, calls.TYPES)
    assert row["query"] == calls.TYPES
    assert row["raw"] == f"    {calls.TYPES}"
    assert '"one_cache"' in row["versions"]


def test_a_damaged_file_without_a_row_is_not_taken(server, tmp_path):
    client = client_of(server, tmp_path)
    fetch_custom(calls.TYPES)
    path = client.cache.store.path(row_of(client.cache, calls.TYPES)["path"])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(QueryNotCached):
        client_of(server, tmp_path, "local").fetch_custom(calls.TYPES)
    server.forget()
    assert client_of(server, tmp_path).fetch_custom(calls.TYPES).shape == (1, 2)
    assert server.counts[ASK] == 1


def test_many_threads_ask_once(server, tmp_path):
    client = client_of(server, tmp_path)
    copies = [copy.deepcopy(client) for _ in range(8)]
    gate = threading.Barrier(8)

    def ask(one):
        gate.wait()
        return one.fetch_custom(calls.TYPES)["n.type"][0]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, copies)) == ["FB4Y"] * 8
    assert server.counts[ASK] == 1


def test_two_caches_on_one_folder_share_answers(server, tmp_path):
    one, other = client_of(server, tmp_path), client_of(server, tmp_path)
    one.fetch_custom(calls.TYPES)
    other.fetch_custom(calls.TYPES)
    one.cache.save_cache()
    other.cache.save_cache()
    assert server.counts[ASK] == 1
