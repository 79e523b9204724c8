"""The Allen Neuropixels data: AllenSDK's project cache and sessions, on the cache of this package.

The names below are loaded on first use. Sessions need the extra ``nwb``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from one_cache.ecephys.behavior import (
        VisualBehaviorNeuropixelsProjectCache,
        VisualBehaviorOphysProjectCache,
        project_cache,
    )
    from one_cache.ecephys.cloud import OutdatedManifestWarning
    from one_cache.ecephys.csvfiles import (
        read_csv,
        read_metrics_csv,
        read_movie,
        read_nwb,
        read_scene,
        write_csv,
        write_from_stream,
        write_metrics_csv,
    )
    from one_cache.ecephys.disk import ManifestVersionError
    from one_cache.ecephys.filters import UNIT_FILTER_DEFAULTS
    from one_cache.ecephys.joins import count_owned, get_grouped_uniques
    from one_cache.ecephys.lims import DbCredentials, Lims
    from one_cache.ecephys.missing import MissingData, UnknownProbe
    from one_cache.ecephys.project import EcephysProjectCache
    from one_cache.ecephys.session import EcephysSession
    from one_cache.ecephys.warehouse import Warehouse

_WHERE = {
    "DbCredentials": "lims",
    "EcephysProjectCache": "project",
    "EcephysSession": "session",
    "Lims": "lims",
    "ManifestVersionError": "disk",
    "MissingData": "missing",
    "OutdatedManifestWarning": "cloud",
    "UNIT_FILTER_DEFAULTS": "filters",
    "UnknownProbe": "missing",
    "VisualBehaviorNeuropixelsProjectCache": "behavior",
    "VisualBehaviorOphysProjectCache": "behavior",
    "Warehouse": "warehouse",
    "count_owned": "joins",
    "get_grouped_uniques": "joins",
    "project_cache": "behavior",
    "read_csv": "csvfiles",
    "read_metrics_csv": "csvfiles",
    "read_movie": "csvfiles",
    "read_nwb": "csvfiles",
    "read_scene": "csvfiles",
    "write_csv": "csvfiles",
    "write_from_stream": "csvfiles",
    "write_metrics_csv": "csvfiles",
}

__all__ = [
    "DbCredentials",
    "EcephysProjectCache",
    "EcephysSession",
    "Lims",
    "ManifestVersionError",
    "MissingData",
    "OutdatedManifestWarning",
    "UNIT_FILTER_DEFAULTS",
    "UnknownProbe",
    "VisualBehaviorNeuropixelsProjectCache",
    "VisualBehaviorOphysProjectCache",
    "Warehouse",
    "count_owned",
    "get_grouped_uniques",
    "project_cache",
    "read_csv",
    "read_metrics_csv",
    "read_movie",
    "read_nwb",
    "read_scene",
    "write_csv",
    "write_from_stream",
    "write_metrics_csv",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
