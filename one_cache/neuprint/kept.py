"""A row of the table of answers, as far as serving needs it, and what it is true of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version as version_of
from typing import Any, NamedTuple

from one_cache import __version__
from one_cache.records import File


class Version(NamedTuple):
    """State of a dataset: an answer is true as long as both are the same."""

    uuid: str = ""
    last_mod: str = ""


class Kept(NamedTuple):
    """What is needed of a row to serve its answer."""

    id: str
    path: str
    size: int
    hash: str
    uuid: str
    last_mod: str
    inconclusive: bool
    asked_at: str
    debug: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Kept:
        """Take what is needed of a row."""
        return cls(**{name: row[name] for name in cls._fields})

    @property
    def version(self) -> Version:
        """State of the dataset that was asked."""
        return Version(self.uuid, self.last_mod)

    @property
    def file(self) -> File:
        """The file that holds the answer."""
        return File(self.path, size=self.size, hash=self.hash)


@lru_cache(maxsize=1)
def versions() -> str:
    """Give the versions that an answer passed through, as JSON."""
    packages = {name: version_of(name) for name in ("neuprint-python", "pandas", "pyarrow")}
    return json.dumps({"one_cache": __version__, **packages})
