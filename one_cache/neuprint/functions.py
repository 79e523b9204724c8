"""The functions of neuprint-python that need a hand to give the same result in every process.

Where an order is random upstream (of columns, of rows, of the ROIs of a synapse), a stable one
takes its place; and functions that ask the default client all the same are given theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial, wraps
from inspect import signature, unwrap
from types import FunctionType
from typing import Any

import neuprint  # type: ignore[import-untyped]  # it ships no types
import numpy as np
import pandas as pd
from neuprint.client import inject_client  # type: ignore[import-untyped]  # it ships no types
from neuprint.queries.neuroncriteria import (  # type: ignore[import-untyped]  # it ships no types
    copy_as_neuroncriteria,
    neuroncriteria_args,
)
from neuprint.queries.neurons import (  # type: ignore[import-untyped]  # it ships no types
    CORE_NEURON_COLS,
)

from one_cache.neuprint.client import Client
from one_cache.neuprint.rois import one_roi_each

_MADE = ("inputRois", "outputRois")  # columns that upstream adds at the end


def _given(function: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
    """Give the arguments of a call by name, with the client that it means."""
    bound = signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    if bound.arguments.get("client") is None:
        bound.arguments["client"] = neuprint.default_client()
    return dict(bound.arguments)


@wraps(neuprint.fetch_neurons)
def fetch_neurons(*args: Any, **kwargs: Any) -> Any:
    """Fetch neurons; columns of random order come in the order asked, or by name."""
    found = neuprint.fetch_neurons(*args, **kwargs)
    wanted = signature(neuprint.fetch_neurons).bind(*args, **kwargs).arguments
    columns = wanted.get("returned_columns", "all")
    names = [] if isinstance(columns, str) else list(columns)
    if isinstance(found, tuple):
        return _with_ordered_columns(found[0], names), *found[1:]
    return _with_ordered_columns(found, names)


@wraps(neuprint.fetch_custom_neurons)
def fetch_custom_neurons(*args: Any, **kwargs: Any) -> Any:
    """Fetch neurons by a query; columns of random order come by name."""
    neurons, *others = neuprint.fetch_custom_neurons(*args, **kwargs)
    return _with_ordered_columns(neurons, []), *others


def _with_ordered_columns(frame: pd.DataFrame, wanted: Sequence[str]) -> pd.DataFrame:
    """Put the columns that are in random order as wanted, or by name."""
    fixed = [name for name in CORE_NEURON_COLS if name in frame.columns and name not in _MADE]
    made = [name for name in _MADE if name in frame.columns]
    rest = [name for name in frame.columns if name not in {*fixed, *made}]
    place = {name: at for at, name in enumerate(wanted)}
    rest.sort(key=lambda name: (place.get(name, len(place)), name))
    order = [*fixed, *rest, *made]
    return frame if order == list(frame.columns) else frame[order]


@wraps(neuprint.fetch_synapses)
def fetch_synapses(*args: Any, **kwargs: Any) -> Any:
    """Fetch synapses; one of several ROIs gets the first of them by name, not a random one."""
    given = _given(neuprint.fetch_synapses, args, kwargs)
    with _stable_rois(given["client"], given["synapse_criteria"]):
        return neuprint.fetch_synapses(**given)


def _stable_rois(client: Any, criteria: Any) -> AbstractContextManager[None]:
    if not isinstance(client, Client):
        return nullcontext()
    primary_only = criteria is None or criteria.primary_only
    rois = set(client.primary_rois if primary_only else client.all_rois)
    if criteria is not None and criteria.rois:
        rois &= set(criteria.rois)
    return one_roi_each(rois)


@wraps(neuprint.fetch_mitochondria)
def fetch_mitochondria(*args: Any, **kwargs: Any) -> Any:
    """Fetch mitochondria; the rows of one that lies in several ROIs come by name of the ROI."""
    return _with_ordered_rois(neuprint.fetch_mitochondria(*args, **kwargs))


@wraps(neuprint.fetch_synapses_and_closest_mitochondria)
def fetch_synapses_and_closest_mitochondria(*args: Any, **kwargs: Any) -> Any:
    """Fetch synapses with mitochondria; the rows of one synapse come by name of the ROI."""
    found = neuprint.fetch_synapses_and_closest_mitochondria(*args, **kwargs)
    return _with_ordered_rois(found)


def _with_ordered_rois(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort the rows of each thing by ROI: neighbours that differ in nothing else."""
    if len(frame) < 2:
        return frame
    new = np.zeros(len(frame), dtype=bool)
    for name in frame.columns.drop("roi"):
        codes, _ = pd.factorize(frame[name])
        new[1:] |= codes[1:] != codes[:-1]
    rois, _ = pd.factorize(frame["roi"], sort=True)
    order = np.lexsort((rois, new.cumsum()))
    if (order[1:] > order[:-1]).all():
        return frame
    return frame.iloc[order].reset_index(drop=True)


def _bound(function: Callable[..., Any], criteria: Sequence[str], **names: Any) -> Any:
    """Give a function of neuprint-python in which some names of its module mean something else."""
    inner = unwrap(function)
    spoken = {**inner.__globals__, **names}
    copy = FunctionType(
        inner.__code__, spoken, inner.__name__, inner.__defaults__, inner.__closure__
    )
    copy.__kwdefaults__ = inner.__kwdefaults__
    return inject_client(neuroncriteria_args(*criteria)(copy))


@wraps(neuprint.fetch_output_completeness)
def fetch_output_completeness(*args: Any, **kwargs: Any) -> Any:
    """Fetch the completeness of outputs, all of it through the client that is given."""
    given = _given(neuprint.fetch_output_completeness, args, kwargs)
    asked = partial(neuprint.fetch_custom, client=given["client"])
    bound = _bound(neuprint.fetch_output_completeness, ["criteria"], fetch_custom=asked)
    return bound(**given)


@wraps(neuprint.fetch_downstream_orphan_tasks)
def fetch_downstream_orphan_tasks(*args: Any, **kwargs: Any) -> Any:
    """Fetch downstream orphans, all of it through the client that is given."""
    bound = _bound(
        neuprint.fetch_downstream_orphan_tasks,
        ["criteria"],
        fetch_output_completeness=fetch_output_completeness,
    )
    return bound(*args, **kwargs)


@wraps(neuprint.fetch_connection_mitochondria)
def fetch_connection_mitochondria(*args: Any, **kwargs: Any) -> Any:
    """Fetch connections with mitochondria, all of it through the client that is given."""
    given = _given(neuprint.fetch_connection_mitochondria, args, kwargs)
    client = given["client"]
    closest = fetch_synapses_and_closest_mitochondria
    bound = _bound(
        neuprint.fetch_connection_mitochondria,
        ["source_criteria", "target_criteria"],
        fetch_synapse_connections=partial(neuprint.fetch_synapse_connections, client=client),
        fetch_synapses_and_closest_mitochondria=partial(closest, client=client),
    )
    return bound(**given)


def _with_own_client(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let the criteria of a path be checked against the ROIs of the client that is asked."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        given = _given(function, args, kwargs)
        criteria = given["intermediate_criteria"]
        if criteria is not None:
            criteria = copy_as_neuroncriteria(criteria)
            criteria.client = criteria.client or given["client"]
        return function(**{**given, "intermediate_criteria": criteria})

    return wrapper


fetch_shortest_paths = _with_own_client(neuprint.fetch_shortest_paths)
fetch_paths = _with_own_client(neuprint.fetch_paths)
