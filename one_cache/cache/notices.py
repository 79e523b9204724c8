"""Data notices: what a lab says about datasets after the fact, told to whoever loads them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from one_cache.cache.desk import Desk
from one_cache.catalogue import Catalogue
from one_cache.errors import CacheWarning, QueryNotCached, RemoteError, TransferError
from one_cache.records import Dataset
from one_cache.responses import MINUTES


class Notice(NamedTuple):
    """What is said about some datasets.

    Attributes
    ----------
    id : str
        Its id in the database.
    name, description : str
        The lab's words.
    """

    id: str
    name: str
    description: str

    def __str__(self) -> str:
        return f'data notice "{self.name}": {self.description}'


class _Known(NamedTuple):
    answerer: object
    until: float
    notices: Mapping[str, tuple[Notice, ...]]


class Noticing(Desk):
    """Asks for all notices at once, which are few, and keeps them for some minutes."""

    _known_notices: _Known | None = None

    def _notes_on(
        self, datasets: Sequence[Dataset], catalogue: Catalogue
    ) -> dict[str, tuple[Notice, ...]]:
        """Give the notices that datasets are under, by dataset id."""
        known = self._known_notices
        # new tables, or the other answerer, may know others
        answerer = (type(catalogue), self.tables, self._remote_tables)
        if known is None or known.answerer != answerer or time.monotonic() > known.until:
            until = time.monotonic() + MINUTES
            self._known_notices = known = _Known(answerer, until, self._all_notices(catalogue))
        found = known.notices
        return {one.id: found[one.id] for one in datasets if one.id in found}

    def _all_notices(self, catalogue: Catalogue) -> dict[str, tuple[Notice, ...]]:
        try:
            rows = catalogue.known("notices")
        except QueryNotCached:
            # these tables, or this remote, know none
            return {}
        except (TransferError, RemoteError) as error:
            # a load is not to fail of it
            self._warn_once(
                "notices",
                "",
                f"the notices about the datasets cannot be asked for ({error})",
                CacheWarning,
            )
            return {}
        found: dict[str, tuple[Notice, ...]] = {}
        for row in rows:
            for id in _ids(row):
                notice = Notice(row["id"], row["name"] or "", row["description"] or "")
                found[id] = (*found.get(id, ()), notice)
        return found


def _ids(row: Mapping[str, Any]) -> list[str]:
    return [one for one in (row.get("datasets") or "").split(",") if one]
