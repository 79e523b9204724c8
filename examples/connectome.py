"""The tables of neuprint-python's page of queries, asked once and then answered offline.

    python connectome.py neuprint.janelia.org               (asks, and keeps what it is told)
    python connectome.py neuprint.janelia.org --mode local  (no server, no token)
    python connectome.py neuprint.janelia.org --mode fixed  (only what the manifest pins)

The token is that of NEUPRINT_APPLICATION_CREDENTIALS. Each query of the page is a function here;
all of them print the same in every mode.
"""

import argparse

import pandas as pd

from one_cache import Cache
from one_cache.neuprint import (
    Client,
    MitoCriteria,
    NeuronCriteria,
    SynapseCriteria,
    fetch_adjacencies,
    fetch_custom,
    fetch_downstream_orphan_tasks,
    fetch_mean_synapses,
    fetch_meta,
    fetch_mitochondria,
    fetch_neurons,
    fetch_roi_hierarchy,
    fetch_shortest_paths,
    fetch_simple_connections,
    fetch_synapse_connections,
    fetch_synapses,
    fetch_synapses_and_closest_mitochondria,
    fetch_traced_adjacencies,
)

SOURCES = [329566174, 425790257, 424379864, 329599710]
TARGETS = [425790257, 424379864, 329566174, 329599710, 420274150]


def custom():
    yield fetch_custom("""
        MATCH (n:Neuron)
        WHERE n.bodyId = 5813027016
        RETURN n.type, n.instance
    """)


def metadata():
    yield list(fetch_meta())


def roi_hierarchy():
    yield fetch_roi_hierarchy(False, True, "text")[:180]


def neurons():
    criteria = NeuronCriteria(inputRois=["SIP(R)", "aL(R)"], status="Traced", type="MBON.*")
    found, counts = fetch_neurons(criteria)
    printed = ["bodyId", "instance", "type", "cellBodyFiber", "pre", "post", "size", "status"]
    yield found.loc[:4, [*printed, "cropped", "statusLabel", "somaRadius"]]
    yield found["inputRois"].head()
    yield counts[["bodyId", "roi", "pre", "post"]].head()


def simple_connections():
    yield fetch_simple_connections(SOURCES, TARGETS, weight_props=["weight"])


def adjacencies():
    found, connections = fetch_adjacencies(SOURCES, TARGETS)
    yield found[["bodyId", "instance", "type"]]
    yield connections
    yield connections.groupby(["bodyId_pre", "bodyId_post"], as_index=False)["weight"].sum()


def traced_adjacencies():
    _, connections = fetch_traced_adjacencies()
    yield connections.head()
    totals = connections.groupby(["bodyId_pre", "bodyId_post"], as_index=False)["weight"].sum()
    yield totals.head()


def shortest_paths():
    yield fetch_shortest_paths(329566174, 294792184, min_weight=10)


def synapses():
    criteria = NeuronCriteria(type="ADL.*", rois=["FB"])
    yield fetch_synapses(criteria, SynapseCriteria(rois=["LH(R)", "SIP(R)"], primary_only=True))


def mean_synapses():
    yield fetch_mean_synapses("LC10", SynapseCriteria(type="pre", rois=["LO(R)", "AOTU(R)"]))


def synapse_connections():
    criteria = SynapseCriteria(rois=["PED(R)", "SMP(R)"], primary_only=True)
    yield fetch_synapse_connections(792368888, None, criteria)


def mitochondria():
    criteria = MitoCriteria(rois=["FB", "LAL(R)"], size=100_000)
    yield fetch_mitochondria(NeuronCriteria(type="ExR.*", rois=["EB"]), criteria)


def closest_mitochondria():
    yield fetch_synapses_and_closest_mitochondria(
        NeuronCriteria(type="ExR2"), SynapseCriteria(type="pre")
    )


def orphan_tasks():
    tasks = fetch_downstream_orphan_tasks(
        NeuronCriteria(status="Traced", cropped=False, rois=["PB"])
    )
    yield tasks.drop(columns="statusLabel").query("cum_completeness < 0.2").head(10)


PAGE = [
    custom,
    metadata,
    roi_hierarchy,
    neurons,
    simple_connections,
    adjacencies,
    traced_adjacencies,
    shortest_paths,
    synapses,
    mean_synapses,
    synapse_connections,
    mitochondria,
    closest_mitochondria,
    orphan_tasks,
]


def run(server, dataset=None, mode="remote", cache_dir=None, token=None, verify=True):
    cache = Cache(cache_dir, mode=mode, silent=True) if cache_dir else None
    options = {"verify": verify, "progress": False, "cache": cache, "mode": mode}
    client = Client(server, dataset, token, **options)
    client.cache.record_loaded = True
    with pd.option_context("display.width", 300, "display.max_columns", 30):
        for query in PAGE:
            print(f"\n# {query.__name__}")
            for table in query():
                print(table)
    read = len(client.cache.recorder)
    client.cache.freeze()  # a frozen cache stays as it is
    print(f"\n# {read} answers were read from {client.cache.cache_dir} (mode {client.mode})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server")
    parser.add_argument("--dataset", default="hemibrain:v1.2.1")
    parser.add_argument("--mode", default="remote")
    parser.add_argument("--cache-dir")
    parser.add_argument("--token")
    parser.add_argument("--verify", default=True, help="certificate file of your own server")
    run(**vars(parser.parse_args()))
