"""Calls of all functions of neuprint-python's reference page, by name; what two results share.

Each call takes a module that has the names of neuprint-python: theirs or ours.
"""

import math
import os
import pickle
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

MBON = ["MBON14", "MBON06", "MBON11"]
SOURCES = [329566174, 425790257, 424379864, 329599710]
TARGETS = [425790257, 424379864, 329566174, 329599710, 420274150]
ADL = 5812983094
EXR = 1136865339
PATH = (329566174, 294792184)
TYPES = "MATCH (n:Neuron) WHERE n.bodyId = 5813027016 RETURN n.type, n.instance"
NODES = "MATCH (n:Neuron) WHERE n.type = 'APL' RETURN n"


def directed(np_, **more):
    """Criteria whose query text depends on the hash seed."""
    return np_.NeuronCriteria(
        inputRois=["SIP(R)", "aL(R)"], status="Traced", type="MBON.*", **more
    )


CALLS = {
    # general
    "custom": lambda m: m.fetch_custom(TYPES),
    "custom json": lambda m: m.fetch_custom(TYPES, format="json"),
    "custom nodes": lambda m: m.fetch_custom(NODES),
    "custom empty": lambda m: m.fetch_custom("MATCH (n:Neuron {bodyId: 1}) RETURN n.type AS t"),
    "custom mixed": lambda m: m.fetch_custom("UNWIND [1, 2.5, null] AS x RETURN x, [x] AS xs"),
    "custom wrong": lambda m: m.fetch_custom("MATCH (n:Neuron RETURN n"),
    "custom rois that differ by case": lambda m: m.fetch_custom(
        "MATCH (n:Neuron) WHERE n.`aL(R)` RETURN n.bodyId AS `aL(R)`, n.type AS `AL(R)` "
        "ORDER BY n.bodyId"
    ),
    "meta": lambda m: m.fetch_meta(),
    # ROIs
    "all rois": lambda m: m.fetch_all_rois(),
    "primary rois": lambda m: m.fetch_primary_rois(),
    "hierarchy": lambda m: m.fetch_roi_hierarchy(),
    "hierarchy text": lambda m: m.fetch_roi_hierarchy(False, True, "text"),
    "hierarchy graph": lambda m: sorted(m.fetch_roi_hierarchy(format="nx").edges),
    # neurons
    "neurons": lambda m: m.fetch_neurons(directed(m)),
    "neurons any": lambda m: m.fetch_neurons(directed(m, outputRois=["SMP(R)"], roi_req="any")),
    "neurons core": lambda m: m.fetch_neurons(MBON, returned_columns="core"),
    "neurons chosen": lambda m: m.fetch_neurons(
        MBON, returned_columns=["type", "statusLabel", "bodyId", "hemilineage", "pre"]
    ),
    "neurons flat": lambda m: m.fetch_neurons(SOURCES, omit_rois=True),
    "neurons none": lambda m: m.fetch_neurons([1, 2]),
    "neurons unknown roi": lambda m: m.fetch_neurons(m.NeuronCriteria(rois=["nowhere"])),
    "neurons cropped": lambda m: m.fetch_neurons(m.NeuronCriteria(cropped=False, min_pre=10)),
    "custom neurons": lambda m: m.fetch_custom_neurons(NODES),
    "custom neurons none": lambda m: m.fetch_custom_neurons(
        "MATCH (n:Neuron {bodyId: 1}) RETURN n"
    ),
    # connectivity
    "simple": lambda m: m.fetch_simple_connections(SOURCES, TARGETS),
    "simple rois": lambda m: m.fetch_simple_connections(
        SOURCES, TARGETS, rois=["gL(R)"], min_weight=3, weight_props=["weight"]
    ),
    "simple properties": lambda m: m.fetch_simple_connections(
        SOURCES, TARGETS, properties=["status", "roiInfo"]
    ),
    "adjacencies": lambda m: m.fetch_adjacencies(SOURCES, TARGETS),
    "adjacencies rois": lambda m: m.fetch_adjacencies(SOURCES, TARGETS, rois=["SLP(R)"]),
    "adjacencies all rois": lambda m: m.fetch_adjacencies(
        SOURCES, TARGETS, include_nonprimary=True, min_total_weight=5
    ),
    "adjacencies batches": lambda m: m.fetch_adjacencies(SOURCES, TARGETS, batch_size=1),
    "adjacencies flat": lambda m: m.fetch_adjacencies(SOURCES, TARGETS, omit_rois=True),
    "adjacencies strong": lambda m: m.fetch_adjacencies(
        SOURCES, TARGETS, min_roi_weight=3, min_total_weight=10
    ),
    "adjacencies directed": lambda m: m.fetch_adjacencies(directed(m), None),
    "adjacencies none": lambda m: m.fetch_adjacencies(m.NeuronCriteria(type="nothing"), TARGETS),
    "traced": lambda m: m.fetch_traced_adjacencies(batch_size=20),
    "common upstream": lambda m: m.fetch_common_connectivity(SOURCES[:2]),
    "common downstream": lambda m: m.fetch_common_connectivity(SOURCES[1:3], "downstream"),
    "paths": lambda m: m.fetch_shortest_paths(*PATH, min_weight=10),
    "paths through": lambda m: m.fetch_shortest_paths(
        *PATH, min_weight=10, intermediate_criteria=m.NeuronCriteria(status=["Traced", "Roughly"])
    ),
    "paths none": lambda m: m.fetch_shortest_paths(294792184, 329566174, min_weight=10_000),
    # synapses
    "synapses": lambda m: m.fetch_synapses(
        m.NeuronCriteria(type="ADL.*", rois=["FB"]),
        m.SynapseCriteria(rois=["LH(R)", "SIP(R)"], primary_only=True),
    ),
    "synapses plain": lambda m: m.fetch_synapses(ADL),
    "synapses all rois": lambda m: m.fetch_synapses(
        m.NeuronCriteria(type="ADL.*"), m.SynapseCriteria(primary_only=False)
    ),
    "synapses of rois": lambda m: m.fetch_synapses(
        m.NeuronCriteria(type="ADL.*"),
        m.SynapseCriteria(primary_only=False, rois=["SNP(R)", "SIP(R)"]),
    ),
    "synapses none": lambda m: m.fetch_synapses([1]),
    "synapses batches": lambda m: m.fetch_synapses(
        m.NeuronCriteria(type=["ADL.*", "LC10"]), batch_size=1
    ),
    "mean": lambda m: m.fetch_mean_synapses(
        "LC10", m.SynapseCriteria(type="pre", rois=["LO(R)", "AOTU(R)"])
    ),
    "mean whole": lambda m: m.fetch_mean_synapses("LC10", by_roi=False, batch_size=2),
    "synapse connections": lambda m: m.fetch_synapse_connections(
        792368888, None, m.SynapseCriteria(rois=["PED(R)", "SMP(R)"], primary_only=True)
    ),
    "synapse connections all rois": lambda m: m.fetch_synapse_connections(
        792368888, None, m.SynapseCriteria(primary_only=False), batch_size=3
    ),
    # mitochondria
    "mitochondria": lambda m: m.fetch_mitochondria(
        m.NeuronCriteria(type="ExR.*", rois=["EB"]),
        m.MitoCriteria(rois=["FB", "LAL(R)"], size=100_000),
    ),
    "mitochondria all rois": lambda m: m.fetch_mitochondria(
        m.NeuronCriteria(type="ExR.*"), m.MitoCriteria(primary_only=False)
    ),
    "closest": lambda m: m.fetch_synapses_and_closest_mitochondria(
        m.NeuronCriteria(type="ExR2"), m.SynapseCriteria(type="pre")
    ),
    "closest all rois": lambda m: m.fetch_synapses_and_closest_mitochondria(
        m.NeuronCriteria(type="ExR2"), m.SynapseCriteria(primary_only=False)
    ),
    "connection mitochondria": lambda m: m.fetch_connection_mitochondria(
        792368888, [424767514, 5812981381]
    ),
    # reconstruction
    "completeness": lambda m: m.fetch_output_completeness(SOURCES),
    "completeness statuses": lambda m: m.fetch_output_completeness(
        m.NeuronCriteria(status="Traced"), ["Traced", "Assign"], batch_size=30
    ),
    "orphans": lambda m: m.fetch_downstream_orphan_tasks(SOURCES),
    # the other readers
    "skeleton": lambda m: m.default_client().fetch_skeleton(ADL),
    "skeleton swc": lambda m: m.fetch_skeleton(ADL, format="swc"),
    "skeleton healed": lambda m: m.fetch_skeleton(ADL, heal=True, with_distances=True),
    "skeleton unknown": lambda m: m.default_client().fetch_skeleton(1),
    "mesh": lambda m: m.default_client().fetch_roi_mesh("b'L(R)"),
    "mesh unknown": lambda m: m.default_client().fetch_roi_mesh("nowhere"),
    "datasets": lambda m: m.default_client().fetch_datasets(),
    "completeness of rois": lambda m: m.default_client().fetch_roi_completeness(),
    "connectivity of rois": lambda m: m.default_client().fetch_roi_connectivity(),
    "daily type": lambda m: m.default_client().fetch_daily_type(),
    "version": lambda m: m.default_client().fetch_version(),
    "instances": lambda m: m.default_client().fetch_instances(),
    "database": lambda m: m.default_client().fetch_database(),
    "neuron keys": lambda m: m.default_client().fetch_neuron_keys(),
    "nt keys": lambda m: m.default_client().fetch_synapse_nt_keys(),
    "rois of the client": lambda m: (
        m.default_client().all_rois,
        m.default_client().primary_rois,
        sorted(m.default_client().meta),
    ),
}
# calls whose columns or rows come in random order upstream
RANDOM_ORDER = {
    "neurons",
    "neurons any",
    "neurons chosen",
    "neurons cropped",
    "neurons flat",
    "neurons none",
    "custom neurons",
    "custom neurons none",
    "mitochondria all rois",
    "closest all rois",
}
# calls that give each synapse one of its ROIs at random upstream
RANDOM_ROI = {"synapses all rois", "synapses of rois"}


def page():
    """Calls of the example that prints the tables of the page of queries."""
    path = Path(__file__).parents[1] / "examples" / "connectome.py"
    example = runpy.run_path(str(path))
    return {query.__name__: lambda m, q=query: list(q()) for query in example["PAGE"]}


def run(module, names=None, table=CALLS):
    """Give the result of each call, or the error that it raised."""
    found = {}
    for name in names or table:
        try:
            found[name] = table[name](module)
        except Exception as error:  # noqa: BLE001  # errors are results, too
            found[name] = error
    return found


def same(one, other):
    """Whether two results are the same: types, values, order, columns."""
    if isinstance(one, BaseException) or isinstance(other, BaseException):
        return isinstance(one, BaseException) and isinstance(other, BaseException)
    if type(one) is not type(other):
        return False
    if isinstance(one, pd.DataFrame):
        plain = list(one.columns) == list(other.columns) and list(one.index) == list(other.index)
        kinds = [str(kind) for kind in one.dtypes] == [str(kind) for kind in other.dtypes]
        return plain and kinds and same(one.to_numpy().tolist(), other.to_numpy().tolist())
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return same(one.tolist(), other.tolist())
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)


def in_order(result):
    """Give a result with columns and rows sorted."""
    if isinstance(result, tuple):
        return tuple(map(in_order, result))
    if not isinstance(result, pd.DataFrame):
        return result
    frame = result[sorted(result.columns)]
    rows = frame.astype(str).sort_values(list(frame.columns)).index if len(frame) else frame.index
    return frame.loc[rows].reset_index(drop=True)


def main(server, certificate, folder, mode, target):
    """Run all calls in a process of its own and write the results."""
    import one_cache.neuprint as module
    from one_cache import Cache

    cache = Cache(folder, mode=mode)
    cache.record_loaded = True
    client = module.Client(
        server, "hemibrain:v1.2.1", "token", verify=certificate, progress=False, cache=cache
    )
    found = run(module)
    found = {
        name: (type(one).__name__, str(one)) if isinstance(one, BaseException) else one
        for name, one in found.items()
    }
    queries = [entry.id for entry in cache.recorder]
    if cache.policy().writes:
        cache.save_cache()
        cache.freeze()
    del client
    with open(target, "wb") as file:
        pickle.dump(
            {"results": found, "queries": queries, "seed": os.environ.get("PYTHONHASHSEED")}, file
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
