"""The neuPrint door: each connectome query is kept, recorded, and answered again offline.

::

    from one_cache.neuprint import Client, fetch_adjacencies

    client = Client("neuprint.janelia.org", "hemibrain:v1.2.1")
    neurons, connections = fetch_adjacencies(sources, targets)

All names of neuprint-python are here: its functions work unchanged through this client, and
those that give their result in random order give it in a stable one. Needs neuprint-python,
``pip install 'one_cache[neuprint]'``.

::

    client     the client, standing on a cache
    functions  functions with a hand from us
    holdings   what a cache holds: the table of answers, a file each
    kept       a row of that table
    query      what is asked, and its id
    cypher     the canonical form of a Cypher text
    answers    an answer as Parquet, exactly
    rois       one ROI for each synapse, the same one every time
    server     requests, and what their failures mean
    caller     which function was called, and what to do about an error
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from one_cache.errors import DependencyMissing

try:
    import neuprint  # type: ignore[import-untyped]  # it ships no types
except ImportError as error:
    raise DependencyMissing(
        "one_cache.neuprint needs neuprint-python, which is not installed: "
        "pip install 'one_cache[neuprint]'"
    ) from error

from neuprint import (
    MitoCriteria,
    NeuronCriteria,
    SynapseCriteria,
    fetch_adjacencies,
    fetch_all_rois,
    fetch_common_connectivity,
    fetch_custom,
    fetch_mean_synapses,
    fetch_meta,
    fetch_primary_rois,
    fetch_roi_hierarchy,
    fetch_simple_connections,
    fetch_synapse_connections,
    fetch_traced_adjacencies,
)

from one_cache.neuprint.client import Client
from one_cache.neuprint.functions import (
    fetch_connection_mitochondria,
    fetch_custom_neurons,
    fetch_downstream_orphan_tasks,
    fetch_mitochondria,
    fetch_neurons,
    fetch_output_completeness,
    fetch_paths,
    fetch_shortest_paths,
    fetch_synapses,
    fetch_synapses_and_closest_mitochondria,
)
from one_cache.neuprint.query import SetupError
from one_cache.neuprint.server import QueryRefused, QueryTimeout, ServerAway, TokenRefused

__all__ = [
    "Client",
    "MitoCriteria",
    "NeuronCriteria",
    "QueryRefused",
    "QueryTimeout",
    "ServerAway",
    "SetupError",
    "SynapseCriteria",
    "TokenRefused",
    "fetch_adjacencies",
    "fetch_all_rois",
    "fetch_common_connectivity",
    "fetch_connection_mitochondria",
    "fetch_custom",
    "fetch_custom_neurons",
    "fetch_downstream_orphan_tasks",
    "fetch_mean_synapses",
    "fetch_meta",
    "fetch_mitochondria",
    "fetch_neurons",
    "fetch_output_completeness",
    "fetch_paths",
    "fetch_primary_rois",
    "fetch_roi_hierarchy",
    "fetch_shortest_paths",
    "fetch_simple_connections",
    "fetch_synapse_connections",
    "fetch_synapses",
    "fetch_synapses_and_closest_mitochondria",
    "fetch_traced_adjacencies",
]
# so that `from one_cache.neuprint import *` gives what it gives there
__all__ += [
    name
    for name, value in vars(neuprint).items()
    if not (name.startswith("_") or name in __all__ or isinstance(value, ModuleType))
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Give any other name of neuprint-python as it is there."""
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(neuprint, name)
