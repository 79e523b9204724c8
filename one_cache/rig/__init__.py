"""Behaviour rigs and their recordings: rig descriptions and NWB files in, relations out.

The formats and the column names are those of Antelop::

    from one_cache.rig import *

    upload_rig_json("alice", "arena", "rig.json", masklist)
    insert_nwb({"experimenter": "alice", "experiment_id": 1, "session_id": 1}, animals, "s.nwb")
    mask = (Mask & restriction).fetch1("data", "timestamps")
    events = (AnalogEvents & restriction).fetch1("data", "timestamps")
    trials = split_trials(events, mask)

These names stand on the cache that ``ONE_CACHE_DIR`` names and on the analysis folder that
``ONE_CACHE_ANALYSIS`` names; :class:`Behaviour` has the same for any cache.
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from one_cache.relation import Relation
    from one_cache.rig.behaviour import Behaviour
    from one_cache.trials import split_trials

    AnalogEvents: Relation
    BehaviourRig: Relation
    DigitalEvents: Relation
    Feature: Relation
    IntervalEvents: Relation
    Kinematics: Relation
    Mask: Relation
    MaskFunction: Relation
    Object: Relation
    Self: Relation
    Video: Relation
    World: Relation

    def upload_rig_json(
        experimenter: str, rig_name: str, rig_json: Any, masklist: Any = ()
    ) -> Any:
        """See :meth:`one_cache.rig.behaviour.Behaviour.upload_rig_json`."""

    def insert_nwb(session: Any, animals: Any, nwbpath: Any) -> Any:
        """See :meth:`one_cache.rig.behaviour.Behaviour.insert_nwb`."""

    def recompute_masks(key: Any) -> Any:
        """See :meth:`one_cache.rig.behaviour.Behaviour.recompute_masks`."""


_ELSEWHERE = {"Behaviour": "one_cache.rig.behaviour", "split_trials": "one_cache.trials"}
__all__ = [
    "AnalogEvents",
    "Behaviour",
    "BehaviourRig",
    "DigitalEvents",
    "Feature",
    "IntervalEvents",
    "Kinematics",
    "Mask",
    "MaskFunction",
    "Object",
    "Self",
    "Video",
    "World",
    "connect",
    "insert_nwb",
    "recompute_masks",
    "split_trials",
    "upload_rig_json",
]


def connect() -> Behaviour:
    """Give what the environment names.

    ``ONE_CACHE_DIR`` is the folder of the cache, ``ONE_CACHE_ANALYSIS`` that of the mask functions
    (``analysis`` in the cache where it is not set), ``ONE_BASE_URL`` a server, if there is one.
    User and password for it come from ``DB_USER`` and ``DB_PASS``; they stay in memory.

    Returns
    -------
    Behaviour
        The same object for the same environment.
    """
    names = ("ONE_CACHE_DIR", "ONE_CACHE_ANALYSIS", "ONE_BASE_URL", "DB_USER", "DB_PASS")
    return _connected(*(os.environ.get(name) or None for name in names))


@lru_cache(maxsize=8)
def _connected(
    folder: str | None, analysis: str | None, url: str | None, user: str | None, word: str | None
) -> Behaviour:
    from one_cache import settings
    from one_cache.cache import Cache
    from one_cache.rig.behaviour import Behaviour

    access = settings.Credentials(username=user, password=word) if user and word else None
    return Behaviour(Cache(folder, remote=url, mode="local", access=access), analysis=analysis)


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        return getattr(import_module(_ELSEWHERE[name]), name)
    if name in __all__:
        return getattr(connect(), name)
    raise AttributeError(f"module 'one_cache.rig' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
