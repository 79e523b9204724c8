"""What a record says of the datasets that were read, and of the cache that read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from one_cache import settings
from one_cache.cache.desk import Desk, file_of
from one_cache.catalogue import Catalogue
from one_cache.recorder import Entry, moment
from one_cache.records import Dataset, Session


class Noting(Desk):
    """A desk that notes what was read."""

    def _record(self, datasets: Sequence[Dataset], catalogue: Catalogue, note: str = "") -> None:
        if not self.recorder.on:
            return
        for dataset in datasets:
            session = self._session(dataset.eid, catalogue) if dataset.eid else None
            entry = self._entry(dataset, session, note)
            if not entry.hash or entry.size is None:
                entry = self._as_on_disk(entry)
            self.recorder.add(entry)

    def _entry(self, dataset: Dataset, session: Session | None, note: str = "") -> Entry:
        """Give what a record says of a dataset."""
        file = file_of(dataset, session)
        return Entry(
            "dataset",
            dataset.id,
            eid=dataset.eid,
            path=file.path,
            rel_path=dataset.rel_path,
            revision=dataset.revision,
            size=file.size,
            hash=file.hash,
            qc=dataset.qc.name,
            source=self.source,
            # a query may hold a signature
            url=settings.without_credentials(file.url or "").partition("?")[0],
            default=dataset.default_revision,
            mode=self.mode,
            note=note,
            at=moment(),
        )

    def _about(self) -> dict[str, Any]:
        """Give what a record says of this cache."""
        from one_cache.alf import decoders

        return {
            "mode": self.mode,
            "revision_last_before": self.revision_last_before,
            "remotes": [self.source] if self.source else [],
            "decoders": decoders(),
        }

    def _as_on_disk(self, entry: Entry) -> Entry:
        """Fill in size and hash, where the tables lack them."""
        noted = self.store.noted(entry.path)
        size = self.store.path(entry.path).stat().st_size
        digest = noted.hash if noted else self.store.digest(entry.path)
        return replace(entry, size=size, hash=entry.hash or digest)
