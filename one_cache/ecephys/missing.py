"""What is raised where AllenSDK raises errors of its own."""

from __future__ import annotations

from one_cache.errors import InvalidArgument, NotInCache


class MissingData(NotInCache, ValueError):
    """A table or file is not in the cache, and its mode fetches nothing."""


class UnknownProbe(InvalidArgument, KeyError):
    """No probe of that number, or no LFP file of it."""


class ColumnSuppressed(InvalidArgument, KeyError):
    """The column that a call lists was suppressed by the same call."""


class NotInSession(InvalidArgument, KeyError):
    """A session has no unit, channel or presentation of that number."""
