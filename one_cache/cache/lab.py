"""What a lab's database knows besides sessions and datasets: itself, probes, aggregates.

Each call is answered by the database in remote mode and by saved tables in the other modes, with
the same answer; what the tables lack is a ``QueryNotCached`` that names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from one_cache import query
from one_cache.cache.choosing import DatasetName
from one_cache.cache.describing import Describing
from one_cache.cache.desk import as_uuid, uuid_text
from one_cache.cache.frames import dataset_frame, session_record
from one_cache.cache.loading import Loading
from one_cache.catalogue import Catalogue
from one_cache.errors import (
    ALFObjectNotFound,
    CacheWarning,
    ModeError,
    QueryNotCached,
    near_misses,
)
from one_cache.query.aggregates import aggregate_place, choose_aggregates, is_exactly
from one_cache.query.insertions import Insertion
from one_cache.records import QC, Bunch, Dataset

if TYPE_CHECKING:
    import pandas as pd

    from one_cache.remotes.alyx import AlyxClient


class Lab(Loading, Describing):
    """The calls of ONE-api that need a database, in every mode."""

    @property
    def alyx(self) -> AlyxClient:
        """The database itself, ``cache.alyx.rest("sessions", "list", subject="KS014")``.

        Raises
        ------
        ModeError
            A fixed cache, which asks nobody; or the remote is no Alyx database.
        """
        if not self.policy("remote").asks:
            raise ModeError(f"mode {self.mode!r} asks nobody, so there is no database to ask")
        remote: Any = self._require_remote()
        # an address finds out by its first question what answers there
        remote = remote.resolve() if hasattr(remote, "resolve") else remote
        client: AlyxClient | None = getattr(remote, "client", None)
        if client is None:
            raise ModeError(f"{self.source} is no Alyx database, and has no endpoints to ask")
        return client

    @contextmanager
    def no_cache(self) -> Iterator[None]:
        """Ask the remote in any case within a ``with`` block; what it answers is kept anew.

        Examples
        --------
        >>> from tempfile import mkdtemp
        >>> from one_cache import Cache
        >>> from one_cache.sample import write_sample_lab
        >>> cache = Cache(mkdtemp(), remote=str(write_sample_lab(mkdtemp()).folder), silent=True)
        >>> with cache.no_cache():
        ...     len(cache.search(subject="^KS014$"))
        3
        """
        before = self._no_cache
        self._no_cache, self._remote_tables, self._known_notices = True, None, None
        self._sessions_seen.clear()
        try:
            yield
        finally:
            self._no_cache = before

    # -- probes ------------------------------------------------------------------------------

    def search_insertions(
        self, details: bool = False, query_type: str | None = None, **terms: Any
    ) -> list[UUID] | tuple[list[UUID], list[Bunch]]:
        """Find the probe insertions for which all terms hold.

        Parameters
        ----------
        details : bool
            Give the records too.
        query_type : {None, "remote", "local"}
            Who answers.
        **terms
            Those of :meth:`search` about the session, and `eid`, `name`, `model`, `serial`
            (whole), `datasets` (file names, all of which were recorded there), `dataset` (part of
            one). A database knows more; ``search_terms(endpoint="insertions")`` names them.

        Returns
        -------
        list of uuid.UUID
            `pids`, of the newest session first, then by name.
        list of Bunch
            With `details`, a record for each; ``session`` is its eid as text, ``session_info`` a
            record as :meth:`search` gives it.

        Raises
        ------
        UnknownSearchTerm, AmbiguousSearchTerm, InvalidDate, InvalidArgument
            What was wrong and what there is.
        QueryNotCached
            The tables hold no insertions, or not the datasets that a term is about.
        """
        found = self._insertions(self._catalogue(query_type), terms)
        pids = [as_uuid(one.id) for one in found]
        return (pids, list(map(_record, found))) if details else pids

    def _insertions(self, catalogue: Catalogue, terms: Mapping[str, Any]) -> list[Insertion]:
        full = self._complete(terms, catalogue, "insertions")
        if full.get("session") is not None:
            full["eid"] = full.pop("session")
        if full.get("eid") is not None:
            full["eid"] = [self._eid(one, catalogue) for one in query.listed(full["eid"])]
        return catalogue.insertions(full, wildcards=self.wildcards)

    def pid2eid(self, pid: Any, query_type: str | None = None) -> tuple[UUID, str]:
        """Give the session and the label of a probe insertion.

        Parameters
        ----------
        pid : str or UUID
            Insertion.
        query_type : {None, "remote", "local"}
            Who answers.

        Returns
        -------
        eid : uuid.UUID
            Session.
        name : str
            For instance ``"probe00"``.

        Raises
        ------
        ALFObjectNotFound
            It is unknown.
        QueryNotCached
            The tables hold no insertions.
        """
        catalogue = self._catalogue(query_type)
        key = uuid_text(pid, "insertion")
        found = catalogue.insertions({"id": key}, wildcards=self.wildcards)
        if not found:
            raise ALFObjectNotFound(f"insertion {key} is not known to {self._answerer(catalogue)}")
        return as_uuid(found[0].eid), found[0].name

    def eid2pid(
        self, eid: Any, query_type: str | None = None, details: bool = False, **terms: Any
    ) -> Any:
        """Give the probe insertions of a session, and their labels.

        Parameters
        ----------
        eid : any name of a session
            Session.
        query_type : {None, "remote", "local"}
            Who answers.
        details : bool
            Give the records too.
        **terms
            Further terms of :meth:`search_insertions`, ``name="probe00"``.

        Returns
        -------
        pids : list of uuid.UUID
            By label; empty for a session without probes.
        names : list of str
            Labels.
        records : list of Bunch
            With `details`.

        Raises
        ------
        SessionNotFound
            It is unknown.
        QueryNotCached
            The tables do not say whether it has any.
        """
        catalogue = self._catalogue(query_type)
        key = self._eid(eid, catalogue)
        found = self._insertions(catalogue, {**terms, "eid": key})
        if not found:
            self._session(key, catalogue)
        if not catalogue.is_complete(f"insertions {key}"):
            self._say_incomplete(key, found)
        names = [one.name for one in found]
        answer = [as_uuid(one.id) for one in found], names
        return (*answer, list(map(_record, found))) if details else answer

    def _say_incomplete(self, eid: str, found: Sequence[Insertion]) -> None:
        """Say that nobody asked for all insertions of a session."""
        if not found:
            raise QueryNotCached(
                f"the tables in {self.tables_dir} do not say whether session {eid} has such "
                "insertions; ask in remote mode and save_cache()"
            )
        self._warn_once(
            "insertions",
            eid,
            f"the tables know of {len(found)} in session {eid}, and nothing says that these are "
            "all of its insertions",
            CacheWarning,
        )

    # -- aggregates ----------------------------------------------------------------------------

    def list_aggregates(
        self,
        relation: str,
        identifier: str | None = None,
        dataset: query.FileName = None,
        revision: query.Pattern | None = None,
        assert_unique: bool = False,
        *,
        query_type: str | None = None,
    ) -> pd.DataFrame:
        """List datasets that were aggregated over something else than a session.

        Parameters
        ----------
        relation : str
            What over: ``"subjects"``, ``"tags"``, ``"projects"``.
        identifier : str, optional
            Part of which one, ``"KS014"`` or ``"cortexlab/KS014"``; with ``wildcards`` a regular
            expression.
        dataset, revision : optional
            As `filename` and `revision` of :meth:`list_datasets`.
        assert_unique : bool
            Refuse names that fit several datasets.
        query_type : {None, "remote", "local"}
            Who answers.

        Returns
        -------
        pandas.DataFrame
            As :meth:`list_datasets` with `details`, and the columns `relation`, `identifier`.

        Raises
        ------
        QueryNotCached
            The tables hold no aggregates.
        """
        found = self._aggregates(query_type, relation, identifier)
        found = self._filter(dataset, None, revision)(found)
        if assert_unique:
            query.require_one(found, f"aggregate {dataset or relation!r}")
        places = [aggregate_place(one.rel_path) for one in found]
        frame = dataset_frame(found)
        frame["relation"] = [place[0] for place in places]
        frame["identifier"] = [place[1] for place in places]
        return frame

    def _aggregates(
        self, query_type: str | None, relation: str, identifier: str | None
    ) -> list[Dataset]:
        known = self._catalogue(query_type).aggregates()
        found = choose_aggregates(known, relation, identifier, wildcards=self.wildcards)
        return sorted(found, key=attrgetter("rel_path"))

    def load_aggregate(
        self,
        relation: str,
        identifier: str,
        dataset: DatasetName | None = None,
        revision: str | None = None,
        download_only: bool = False,
        *,
        query_type: str | None = None,
        mmap: bool = False,
        allow_pickle: bool = False,
    ) -> Any:
        """Load one dataset that was aggregated over something else than a session.

        Parameters
        ----------
        relation, identifier
            As for :meth:`list_aggregates`, but the identifier is whole, or whole but for its
            first parts: ``"KS014"`` for ``"cortexlab/KS014"``, and never that of ``"KS0145"``.
        dataset, revision, download_only, query_type, mmap, allow_pickle
            As for :meth:`load_dataset`.

        Returns
        -------
        any
            By extension; the path with `download_only`.

        Raises
        ------
        ALFObjectNotFound
            There is none (with near misses), or it cannot be had.
        ALFMultipleObjectsFound, ALFMultipleCollectionsFound
            The names fit several.
        """
        from one_cache.alf import load_file

        known = self._aggregates(query_type, relation, None)
        found = [
            one for one in known if is_exactly(identifier, one.rel_path, wildcards=self.wildcards)
        ]
        if not found:
            places = {aggregate_place(one.rel_path)[1] for one in known}
            places |= {place.rpartition("/")[2] for place in places}
            raise ALFObjectNotFound(
                f"no aggregate over {relation!r} is known for {identifier!r}; there are "
                f"{len(known)} for others.{near_misses(identifier, places)}"
            )
        chosen = self._one_dataset(found, dataset or "*", None, revision or None, QC.FAIL)
        catalogue = self._catalogue(query_type)
        path = self._ready([chosen], catalogue, query_type, check_hash=True)[chosen.id]
        data = path if download_only else load_file(path, mmap=mmap, allow_pickle=allow_pickle)
        self._report([chosen], catalogue)
        return data


def _record(found: Insertion) -> Bunch:
    return found.record(session_record(found.session))
