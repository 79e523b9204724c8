"""The same call through neuprint-python's own client and through ours: the same result.

What differs on purpose is in the table of docs/neuprint.md: stable orders where upstream has
random ones, the client that was given, and errors of our tree.
"""

import itertools
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import requests

pytest.importorskip("neuprint", reason="neuprint-python is not installed")

import neuprint
import neuprint_calls as calls
from neuprint_double import CERTIFICATE, DATASET
from neuprint_fixtures import client_of, neuprint_server, no_client_before  # noqa: F401

from one_cache import Cache
from one_cache import neuprint as ours

SHARED = Path(os.environ.get("ONE_CACHE_SHARED", Path(__file__).parents[3] / "shared"))

pytestmark = pytest.mark.filterwarnings("ignore:.*inplace:DeprecationWarning")


def upstream(url, names=None, table=calls.CALLS):
    client = neuprint.Client(url, DATASET, "secret-token", verify=str(CERTIFICATE), progress=False)
    found = calls.run(neuprint, names, table)
    del client
    neuprint.clear_default_client()
    return found


def compare(theirs, mine):
    different = []
    for name, one in theirs.items():
        other = mine[name]
        if isinstance(one, Exception):
            kinds = isinstance(other, (type(one), *type(one).__mro__[:1]))
            if not kinds or type(other).__name__ == "QueryNotCached":
                different.append((name, repr(one), repr(other)))
            continue
        if name in calls.RANDOM_ORDER:
            one, other = calls.in_order(one), calls.in_order(other)
        if name in calls.RANDOM_ROI:
            one, other = one.drop(columns="roi"), other.drop(columns="roi")
        if not calls.same(one, other):
            different.append((name, one, other))
    return different


def test_all_calls_give_what_upstream_gives(server, tmp_path):
    theirs = upstream(server.url)
    client = client_of(server, tmp_path)
    assert compare(theirs, calls.run(ours)) == []
    assert compare(theirs, calls.run(ours)) == [], "from the cache"
    client.cache.freeze()
    del client
    neuprint.clear_default_client()
    server.forget()
    _frozen = client_of(server, tmp_path, "fixed")
    assert compare(theirs, calls.run(ours)) == [], "frozen"
    assert server.asked == []


def test_upstream_functions_work_through_our_client(server, tmp_path):
    theirs = upstream(server.url)
    _client = client_of(server, tmp_path)
    assert compare(theirs, calls.run(neuprint)) == []


# -- a server with an engine, which answers calls that were not recorded ------------------------


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """Address of a server that runs any query, where there is one."""
    script = SHARED / "tools" / "neuprint_server" / "server.py"
    if not script.exists():
        pytest.skip(f"no neuPrint server with an engine at {script} (ONE_CACHE_SHARED)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(script), "--port", str(port), "--cert", str(CERTIFICATE)]
    command += ["--key", str(CERTIFICATE.with_suffix(".key"))]
    with (tmp_path_factory.mktemp("engine") / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"https://127.0.0.1:{port}"
    for _ in range(200):
        try:
            requests.get(f"{url}/_stats", verify=str(CERTIFICATE), timeout=5)
            break
        except requests.ConnectionError:
            time.sleep(0.1)
    yield url
    process.kill()
    process.wait()


def criteria():
    """Neuron criteria of many kinds, as arguments."""
    yield from (
        {"type": "MBON.*"},
        {"type": ["APL", "MBON14"], "status": "Traced"},
        {"instance": "APL_R", "type": "OA.*", "regex": True},
        {"bodyId": [*calls.SOURCES, *calls.TARGETS]},
        {"status": ["Traced", None]},
        {"rois": ["SLP(R)", "SIP(R)"], "roi_req": "any"},
        {"outputRois": ["SMP(R)"], "min_roi_outputs": 2},
        {"inputRois": ["MB(R)", "aL(R)"], "rois": ["MB(R)", "aL(R)", "SIP(R)"]},
        {"cropped": False, "min_pre": 5, "min_post": 5},
        {"label": "Segment", "statusLabel": "Roughly traced"},
        {"somaLocation": neuprint.NotNull},
    )


def more_calls():
    found = {}
    everything = os.environ.get("ONE_CACHE_ALL_CALLS")
    for at, given in enumerate(criteria()):
        found[f"neurons {at}"] = lambda m, g=given: m.fetch_neurons(m.NeuronCriteria(**g))
        if everything or at % 2 == 0:
            found[f"adjacencies {at}"] = lambda m, g=given: m.fetch_adjacencies(
                m.NeuronCriteria(**g), None
            )
        if everything or at % 3 == 0:
            found[f"synapses {at}"] = lambda m, g=given: m.fetch_synapses(m.NeuronCriteria(**g))
            found[f"completeness {at}"] = lambda m, g=given: m.fetch_output_completeness(
                m.NeuronCriteria(**g), batch_size=7
            )
    pairs = itertools.product([True, False], [1, 4], ["all", ["weight"]])
    for at, (nonprimary, weight, props) in enumerate(pairs):
        found[f"weights {at}"] = lambda m, n=nonprimary, w=weight, p=props: m.fetch_adjacencies(
            calls.SOURCES,
            calls.TARGETS,
            include_nonprimary=n,
            min_total_weight=w,
            weight_props=p,
            threads=2,
            batch_size=2,
        )
    return found


def test_calls_of_many_kinds_give_what_upstream_gives(engine, tmp_path):
    table = more_calls()
    theirs = upstream(engine, table=table)
    cache = Cache(tmp_path, mode="remote")
    options = {"verify": str(CERTIFICATE), "progress": False, "cache": cache}
    _client = ours.Client(engine, DATASET, "secret-token", **options)
    asked = calls.run(ours, table=table)
    kept = calls.run(ours, table=table)
    random = {name for name in table if name.startswith("neurons")}
    for name in random:
        for found in (theirs, asked, kept):
            found[name] = calls.in_order(found[name])
    assert compare(theirs, asked) == []
    assert compare(theirs, kept) == []
    failed = [name for name, one in theirs.items() if isinstance(one, Exception)]
    assert len(failed) < len(table) / 4, failed


def test_frames_are_those_that_upstream_builds(engine, tmp_path):
    queries = [
        "UNWIND [1, 2, null] AS x RETURN x",
        "UNWIND [1, 2.5] AS x RETURN x",
        "UNWIND [true, null] AS x RETURN x",
        "UNWIND ['a', null] AS x RETURN x, {a: x} AS m, [x, 1] AS l",
        "UNWIND [9007199254740993, 1] AS x RETURN x",
        "MATCH (n:Neuron) RETURN n.bodyId, n.somaLocation, n.roiInfo ORDER BY n.bodyId LIMIT 5",
        "MATCH (n)-[e:ConnectsTo]->(m) RETURN e, n LIMIT 3",
        "MATCH (n:Neuron {bodyId: 0}) RETURN n.type AS a, n AS b",
    ]
    options = {"verify": str(CERTIFICATE), "progress": False}
    plain = neuprint.Client(engine, DATASET, "t", **options)
    kept = ours.Client(engine, DATASET, "t", cache=Cache(tmp_path, mode="remote"), **options)
    for query in queries:
        expected = plain.fetch_custom(query)
        for _ in range(2):
            pd.testing.assert_frame_equal(kept.fetch_custom(query), expected)
        json = plain.fetch_custom(query, format="json")
        assert calls.same(kept.fetch_custom(query, format="json"), json)
