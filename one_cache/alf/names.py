"""Names of files, until :mod:`one_cache.spec` is there."""

from __future__ import annotations

import re
from pathlib import Path as ALFPath

from one_cache.errors import ALFInvalid

__all__ = ["ALFPath", "filename_parts"]

_NAME = re.compile(
    r"_?(?P<namespace>(?<=_)[a-zA-Z0-9]+)?_?(?P<object>\w+)\."
    r"(?P<attribute>(?:_[a-z]+_)?[a-zA-Z0-9]+(?:_times(?=[_.])|_intervals(?=[_.]))?)"
    r"(?:_(?P<timescale>\w+))?(?:\.(?P<extra>[.\w-]+))*\.(?P<extension>\w+)$"
)


def filename_parts(name: str, as_dict: bool = True) -> dict[str, str | None]:
    """Parse a file name."""
    match = _NAME.match(name)
    if match is None:
        raise ALFInvalid(f"{name!r} is no ALF name")
    return match.groupdict()
