"""What is raised where AllenSDK raises errors of its own."""

from __future__ import annotations

from one_cache.errors import InvalidArgument, NotInCache


class MissingData(NotInCache, ValueError):
    """A table or file is not in the cache, and its mode fetches nothing."""


class UnknownProbe(InvalidArgument, KeyError):
    """No probe of that number, or no LFP file of it."""


class NotInSession(InvalidArgument, KeyError):
    """A session has no unit or presentation of that number."""
