"""Which function of neuprint-python was called, and what its user can do about an error."""

from __future__ import annotations

import sys
from dataclasses import replace
from inspect import signature
from types import FrameType

import neuprint  # type: ignore[import-untyped]  # it ships no types

from one_cache.neuprint.server import Call


def calling_function() -> str:
    """Name the function of neuprint-python that was called first, for messages and the table."""
    name = "Client"
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module, code = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if module.startswith(("neuprint.", "one_cache.neuprint.")):
            # the workers of fetch_adjacencies, where the stack begins
            threaded = module.endswith(".connectivity") and code == "_fetch"
            if threaded or code.startswith("fetch_"):
                name = "fetch_adjacencies" if threaded else code
        frame = frame.f_back
    return name


def told(call: Call) -> Call:
    """Add to a call what its errors should say."""
    function = calling_function()
    found = getattr(neuprint, function, None)
    batch = signature(found).parameters.get("batch_size") if callable(found) else None
    hint = "Ask in smaller batches: narrower criteria, or LIMIT and SKIP in a query of your own."
    if batch is not None:
        hint = (
            f"Pass a smaller batch_size= (the default is {batch.default}); batches that were "
            "answered are kept and not asked again."
        )
    cypher = call.json.get("cypher", "") if isinstance(call.json, dict) else ""
    return replace(call, about=function, hint=hint, text=cypher)
