"""Trials: windows, alignment, splitting, plots. Arrays in, arrays out.

The names below are loaded on first use, so that no part makes another one heavier.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from one_cache.trials.plot import plot_peth, plot_raster, plot_raster_peth
    from one_cache.trials.spikes import Peth, peth, spikes_around

__all__ = ["Peth", "peth", "plot_peth", "plot_raster", "plot_raster_peth", "spikes_around"]

_WHERE = {
    "Peth": "one_cache.trials.spikes",
    "peth": "one_cache.trials.spikes",
    "plot_peth": "one_cache.trials.plot",
    "plot_raster": "one_cache.trials.plot",
    "plot_raster_peth": "one_cache.trials.plot",
    "spikes_around": "one_cache.trials.spikes",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'one_cache.trials' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
