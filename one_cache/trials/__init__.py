"""Trials: windows, alignment, splitting, plots: arrays in, arrays out; and results that are kept.

The names below are loaded on first use, so that no part makes another one heavier.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# at once: when it is imported later, the module of this name would hide the function
from one_cache.trials.align import align

if TYPE_CHECKING:
    from one_cache.trials.aligned import Aligned
    from one_cache.trials.masks import MaskFunction, mask_function, mask_functions
    from one_cache.trials.plot import (
        plot_aligned_activities,
        plot_peth,
        plot_raster,
        plot_raster_peth,
    )
    from one_cache.trials.results import Condition, Results, aligned_activity, populate
    from one_cache.trials.spikes import Peth, peth, spikes_around
    from one_cache.trials.split import check_mask, split_trials
    from one_cache.trials.windows import event_windows, trial_windows

__all__ = [
    "Aligned",
    "Condition",
    "MaskFunction",
    "Peth",
    "Results",
    "align",
    "aligned_activity",
    "check_mask",
    "event_windows",
    "mask_function",
    "mask_functions",
    "peth",
    "plot_aligned_activities",
    "plot_peth",
    "plot_raster",
    "plot_raster_peth",
    "populate",
    "spikes_around",
    "split_trials",
    "trial_windows",
]

_WHERE = {
    "Aligned": "one_cache.trials.aligned",
    "Condition": "one_cache.trials.results",
    "MaskFunction": "one_cache.trials.masks",
    "Peth": "one_cache.trials.spikes",
    "Results": "one_cache.trials.results",
    "aligned_activity": "one_cache.trials.results",
    "check_mask": "one_cache.trials.split",
    "event_windows": "one_cache.trials.windows",
    "mask_function": "one_cache.trials.masks",
    "mask_functions": "one_cache.trials.masks",
    "peth": "one_cache.trials.spikes",
    "plot_aligned_activities": "one_cache.trials.plot",
    "plot_peth": "one_cache.trials.plot",
    "plot_raster": "one_cache.trials.plot",
    "plot_raster_peth": "one_cache.trials.plot",
    "populate": "one_cache.trials.results",
    "spikes_around": "one_cache.trials.spikes",
    "split_trials": "one_cache.trials.split",
    "trial_windows": "one_cache.trials.windows",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'one_cache.trials' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
