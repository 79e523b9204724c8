"""Texts that fit: patterns of a shell or regular expressions, one or several, all Python's."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from one_cache.errors import InvalidArgument

Pattern = str | Sequence[str]


def listed(value: Any) -> list[Any]:
    """One value or several, as a list."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        return [value]
    return list(value)


def expression(pattern: Any, flags: int = 0) -> re.Pattern[str]:
    """Compile a regular expression, or refuse it as InvalidArgument."""
    try:
        return re.compile(str(pattern), flags)
    except re.error as error:
        raise InvalidArgument(
            f"{pattern!r} is not a regular expression ({error}); escape it with re.escape, or "
            "set wildcards=False to search plain text"
        ) from None


def text_test(value: Any, *, wildcards: bool) -> Callable[[str], bool]:
    """Give the test of a text term: whether a value contains any of the patterns.

    Upper and lower case are the same, as on an Alyx server, so that a script finds the same
    sessions in every mode.

    Parameters
    ----------
    value : str or sequence of str
        Patterns, any of which may fit.
    wildcards : bool
        Regular expressions; otherwise plain text.
    """
    if wildcards:
        found = [expression(item, re.IGNORECASE).search for item in listed(value)]
        return lambda text: any(search(text) for search in found)
    plain = [str(item).casefold() for item in listed(value)]
    return lambda text: any(item in text.casefold() for item in plain)


def whole_match(pattern: Pattern | None, *, wildcards: bool) -> Callable[[str], bool]:
    """Give the test of a whole text: None fits anything, a list is ORed."""
    if pattern is None:
        return lambda text: True
    texts = [str(item) for item in listed(pattern)]
    if wildcards:
        texts = [fnmatch.translate(text) for text in texts]
    tests = [expression(text).fullmatch for text in texts]
    return lambda text: any(test(text) for test in tests)


def part_match(pattern: Pattern | None, *, wildcards: bool) -> Callable[[str], bool]:
    """Give the test of a part that may be absent: the empty text fits absence, ``*`` does not."""
    if pattern is None:
        return lambda text: True
    fits = whole_match(pattern, wildcards=wildcards)
    fits_absence = "" in listed(pattern)
    return lambda text: fits(text) if text else fits_absence
