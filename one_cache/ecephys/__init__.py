"""The Allen Neuropixels data: AllenSDK's project cache and sessions, on the cache of this package.

The names below are loaded on first use. Sessions need the extra ``nwb``.

::

    project    AllenSDK's project cache
    session    one session
    releases   the projects that are released on S3
    folder     what lies in the folder, and what is known of it
    source     the servers that the data come from
    filters    which units are good enough
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from one_cache.ecephys.filters import UNIT_FILTER_DEFAULTS
    from one_cache.ecephys.folder.formats import (
        read_csv,
        read_metrics_csv,
        read_movie,
        read_nwb,
        read_scene,
        write_csv,
        write_from_stream,
        write_metrics_csv,
    )
    from one_cache.ecephys.folder.layout import ManifestVersionError
    from one_cache.ecephys.missing import (
        ColumnSuppressed,
        MissingData,
        NotInSession,
        UnknownProbe,
    )
    from one_cache.ecephys.project.cache import EcephysProjectCache
    from one_cache.ecephys.project.joins import count_owned, get_grouped_uniques
    from one_cache.ecephys.releases.project import OutdatedManifestWarning
    from one_cache.ecephys.releases.projects import (
        VisualBehaviorNeuropixelsProjectCache,
        VisualBehaviorOphysProjectCache,
        project_cache,
    )
    from one_cache.ecephys.session.session import EcephysSession
    from one_cache.ecephys.source.lims import DbCredentials, Lims
    from one_cache.ecephys.source.warehouse import Warehouse

_WHERE = {
    "ColumnSuppressed": "missing",
    "DbCredentials": "source.lims",
    "EcephysProjectCache": "project.cache",
    "EcephysSession": "session.session",
    "Lims": "source.lims",
    "ManifestVersionError": "folder.layout",
    "MissingData": "missing",
    "NotInSession": "missing",
    "OutdatedManifestWarning": "releases.project",
    "UNIT_FILTER_DEFAULTS": "filters",
    "UnknownProbe": "missing",
    "VisualBehaviorNeuropixelsProjectCache": "releases.projects",
    "VisualBehaviorOphysProjectCache": "releases.projects",
    "Warehouse": "source.warehouse",
    "count_owned": "project.joins",
    "get_grouped_uniques": "project.joins",
    "project_cache": "releases.projects",
    "read_csv": "folder.formats",
    "read_metrics_csv": "folder.formats",
    "read_movie": "folder.formats",
    "read_nwb": "folder.formats",
    "read_scene": "folder.formats",
    "write_csv": "folder.formats",
    "write_from_stream": "folder.formats",
    "write_metrics_csv": "folder.formats",
}

__all__ = [
    "ColumnSuppressed",
    "DbCredentials",
    "EcephysProjectCache",
    "EcephysSession",
    "Lims",
    "ManifestVersionError",
    "MissingData",
    "NotInSession",
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
