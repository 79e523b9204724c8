"""The functions that get a hand: stable orders, and the client that was given."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("neuprint", reason="neuprint-python is not installed")

import neuprint
import neuprint_calls as calls
from neuprint_double import NeuprintDouble
from neuprint_fixtures import client_of, neuprint_server, no_client_before  # noqa: F401

from one_cache import neuprint as ours
from one_cache.neuprint import MitoCriteria, NeuronCriteria, SynapseCriteria
from one_cache.neuprint.functions import _with_ordered_columns, _with_ordered_rois

pytestmark = pytest.mark.filterwarnings("ignore:.*inplace:DeprecationWarning")

PAGE = (
    "fetch_custom fetch_meta fetch_all_rois fetch_primary_rois fetch_roi_hierarchy fetch_neurons "
    "fetch_custom_neurons fetch_simple_connections fetch_adjacencies fetch_traced_adjacencies "
    "fetch_common_connectivity fetch_shortest_paths fetch_synapses fetch_mean_synapses "
    "fetch_synapse_connections fetch_mitochondria fetch_synapses_and_closest_mitochondria "
    "fetch_connection_mitochondria fetch_output_completeness fetch_downstream_orphan_tasks "
    "NeuronCriteria SynapseCriteria MitoCriteria"
)


@pytest.mark.parametrize("name", PAGE.split(" "))
def test_each_name_of_the_page_is_here_with_its_signature_and_help(name):
    one, other = getattr(ours, name), getattr(neuprint, name)
    assert name in ours.__all__
    assert inspect.signature(one) == inspect.signature(other)
    assert one.__doc__ == other.__doc__
    assert one.__name__ == name


# -- the client that was given -----------------------------------------------------------------

WITH_CLIENT = {
    "custom": lambda c: ours.fetch_custom(calls.TYPES, client=c),
    "meta": lambda c: ours.fetch_meta(client=c),
    "all rois": lambda c: ours.fetch_all_rois(client=c),
    "primary rois": lambda c: ours.fetch_primary_rois(client=c),
    "hierarchy": lambda c: ours.fetch_roi_hierarchy(client=c),
    "neurons": lambda c: ours.fetch_neurons(calls.MBON, returned_columns="core", client=c),
    "custom neurons": lambda c: ours.fetch_custom_neurons(calls.NODES, client=c),
    "simple": lambda c: ours.fetch_simple_connections(calls.SOURCES, calls.TARGETS, client=c),
    "adjacencies": lambda c: ours.fetch_adjacencies(calls.SOURCES, calls.TARGETS, client=c),
    "traced": lambda c: ours.fetch_traced_adjacencies(batch_size=20, client=c),
    "common": lambda c: ours.fetch_common_connectivity(calls.SOURCES[:2], client=c),
    "paths": lambda c: ours.fetch_shortest_paths(*calls.PATH, min_weight=10, client=c),
    "paths through": lambda c: ours.fetch_shortest_paths(
        *calls.PATH,
        min_weight=10,
        intermediate_criteria=NeuronCriteria(status=["Traced", "Roughly"]),
        client=c,
    ),
    "more paths": lambda c: ours.fetch_paths(
        *calls.PATH,
        min_weight=10,
        intermediate_criteria=NeuronCriteria(status=["Traced", "Roughly"]),
        client=c,
    ),
    "synapses": lambda c: ours.fetch_synapses(calls.ADL, client=c),
    "mean": lambda c: ours.fetch_mean_synapses(
        "LC10", SynapseCriteria(type="pre", rois=["LO(R)", "AOTU(R)"], client=c), client=c
    ),
    "synapse connections": lambda c: ours.fetch_synapse_connections(
        792368888, None, SynapseCriteria(rois=["PED(R)", "SMP(R)"], client=c), client=c
    ),
    "mitochondria": lambda c: ours.fetch_mitochondria(
        NeuronCriteria(type="ExR.*", rois=["EB"]),
        MitoCriteria(rois=["FB", "LAL(R)"], size=100_000, client=c),
        client=c,
    ),
    "closest": lambda c: ours.fetch_synapses_and_closest_mitochondria(
        NeuronCriteria(type="ExR2"), SynapseCriteria(type="pre", client=c), client=c
    ),
    "connection mitochondria": lambda c: ours.fetch_connection_mitochondria(
        792368888, [424767514, 5812981381], client=c
    ),
    "completeness": lambda c: ours.fetch_output_completeness(calls.SOURCES, client=c),
    "orphans": lambda c: ours.fetch_downstream_orphan_tasks(calls.SOURCES, client=c),
    "skeleton": lambda c: ours.fetch_skeleton(calls.ADL, client=c),
}


@pytest.fixture
def two_clients(server, tmp_path):
    """The client to use, and another one because of which there is no default."""
    with NeuprintDouble() as other:
        second = client_of(other, tmp_path / "other")
        yield client_of(server, tmp_path / "one"), other
        del second


def test_no_function_asks_another_client_than_the_one_given(two_clients, server):
    client, other = two_clients
    with pytest.raises(RuntimeError, match="more than one Client"):
        ours.fetch_meta()
    other.forget()
    for name, call in WITH_CLIENT.items():
        call(client)
        assert other.asked == [], name
    # the same calls through the default client, which the tape knows
    neuprint.set_default_client(client)
    for name in ("completeness", "orphans", "connection mitochondria", "paths through"):
        assert calls.same(WITH_CLIENT[name](client), calls.CALLS[name](ours)), name


# -- stable orders -----------------------------------------------------------------------------

ORDERS = """
import sys, warnings
sys.path.insert(0, sys.argv[4])
warnings.simplefilter("ignore")
import neuprint_calls as calls
import pandas as pd
from one_cache import Cache
from one_cache import neuprint as ours
client = ours.Client(sys.argv[1], "hemibrain:v1.2.1", "t", verify=sys.argv[2], progress=False,
                     cache=Cache(sys.argv[3], mode="remote"))
for name in ("neurons chosen", "custom neurons", "synapses all rois", "synapses of rois",
             "mitochondria all rois", "closest all rois"):
    found = calls.CALLS[name](ours)
    found = found[0] if isinstance(found, tuple) else found
    print(name, list(found.columns), pd.util.hash_pandas_object(found.astype(str)).sum())
"""


def test_orders_are_the_same_under_every_hash_seed(server, tmp_path):
    told = set()
    for seed in ("1", "2", "3"):
        arguments = [server.url, server.certificate, str(tmp_path), str(Path(__file__).parent)]
        done = subprocess.run(
            [sys.executable, "-c", ORDERS, *arguments],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        told.add(done.stdout)
    assert len(told) == 1


def test_columns_come_as_asked_or_by_name():
    frame = pd.DataFrame(columns=["zeta", "type", "alpha", "bodyId", "inputRois", "roiInfo"])
    order = ["bodyId", "type", "roiInfo", "alpha", "zeta", "inputRois"]
    assert list(_with_ordered_columns(frame, []).columns) == order
    asked = ["bodyId", "type", "roiInfo", "zeta", "alpha", "inputRois"]
    assert list(_with_ordered_columns(frame, ["zeta", "alpha"]).columns) == asked
    ordered = frame[order]
    assert _with_ordered_columns(ordered, []) is ordered


def test_rows_of_one_thing_are_sorted_and_no_others():
    frame = pd.DataFrame(
        {
            "bodyId": [2, 2, 2, 1, 1, 2],
            "roi": ["b", "a", None, "d", "c", "a"],
            "x": [1.5, 1.5, float("nan"), 1, 1, 1.5],
        }
    )
    found = _with_ordered_rois(frame)
    assert found["roi"].tolist()[:2] == ["a", "b"]
    assert found["bodyId"].tolist() == [2, 2, 2, 1, 1, 2]
    assert found["roi"].tolist()[3:] == ["c", "d", "a"]
    assert found.dtypes.equals(frame.dtypes)
    assert _with_ordered_rois(found) is found


def test_a_synapse_of_several_rois_gets_the_first_by_name(server, tmp_path):
    client = client_of(server, tmp_path)
    found = calls.CALLS["synapses all rois"](ours)
    criteria = SynapseCriteria(primary_only=False)
    rows = client.cache.tables.rows("SELECT query FROM queries WHERE query LIKE '%syn_info%'")
    assert criteria.rois == []
    rois = {}
    for row in rows:
        data = client.fetch_custom(row["query"], format="json")["data"]
        for body, kind, _, x, y, z, info, *_ in data:
            rois[body, kind, x, y, z] = sorted(set(info) & set(client.all_rois))
    several = 0
    for one in found.itertuples():
        known = rois[one.bodyId, one.type, one.x, one.y, one.z]
        several += len(known) > 1
        assert one.roi == known[0] if known else one.roi is None
    assert several


def test_functions_work_with_a_plain_client_too(server, tmp_path):
    client = neuprint.Client(server.url, token="t", verify=server.certificate, progress=False)
    kept = client_of(server, tmp_path)
    one = ours.fetch_synapses(calls.ADL, client=client)
    assert calls.same(one, ours.fetch_synapses(calls.ADL, client=kept))
    completeness = ours.fetch_output_completeness(calls.SOURCES, client=client)
    assert len(completeness)
