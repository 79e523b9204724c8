"""One local cache for neuroscience data: find, fetch, verify, record, rerun.

The names below are loaded on first use, so ``import one_cache`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from one_cache.cache import ONE, Cache
    from one_cache.records import QC
    from one_cache.spec import ALFPath

__version__ = "0.1.0"
__all__ = ["ONE", "QC", "ALFPath", "Cache"]

_WHERE = {
    "ONE": "one_cache.cache",
    "Cache": "one_cache.cache",
    "ALFPath": "one_cache.spec",
    "QC": "one_cache.records",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'one_cache' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
