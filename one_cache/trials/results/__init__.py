"""Results: what is missing is computed, once, and kept as files of the cache.

::

    populate   what is missing, who computes it, what came of it
    task       one key: the function, its arguments, and the id that follows from them
    shelf      rows and files of the results; whether they still hold; the record
    condition  named conditions of aligned activity
"""

from __future__ import annotations

from one_cache.trials.results.condition import Condition, aligned_activity
from one_cache.trials.results.populate import Results, populate

__all__ = ["Condition", "Results", "aligned_activity", "populate"]
