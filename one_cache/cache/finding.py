"""Find sessions and datasets: search, list, details."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from one_cache import query
from one_cache.cache.frames import (
    SearchResult,
    dataset_frame,
    one_frame,
    session_record,
    session_series,
)
from one_cache.cache.naming import Naming, each
from one_cache.catalogue import Catalogue, RemoteCatalogue, TableCatalogue
from one_cache.errors import ALFError, CacheWarning, InvalidArgument, UnknownSearchTerm
from one_cache.records import QC, Bunch, Dataset

if TYPE_CHECKING:
    import pandas as pd


_NO_DEFAULTS = (
    "no dataset says whether it is the default revision, so default_revisions_only cannot be told"
)


class Finding(Naming):
    """The questions of ONE-api."""

    def search_terms(
        self, query_type: str | None = None, endpoint: str | None = None
    ) -> tuple[str, ...]:
        """Give the names of the search terms; a database has more of them than tables.

        Parameters
        ----------
        query_type : {None, "remote", "local"}
            Who answers.
        endpoint : {"sessions", "insertions"}, optional
            What is searched.

        Returns
        -------
        tuple of str
            Sorted.
        """
        table = endpoint or "sessions"
        if table not in ("sessions", "insertions"):
            raise InvalidArgument(
                f"endpoint must be 'sessions' or 'insertions', got {endpoint!r}; the filters of "
                "others are told by alyx.rest, which refuses what they do not have"
            )
        return self._catalogue(query_type).search_terms(table)

    def _complete(
        self, terms: Mapping[str, Any], catalogue: Catalogue, table: str = "sessions"
    ) -> dict[str, Any]:
        """Give the full names of search terms."""
        try:
            return query.complete_terms(terms, catalogue.search_terms(table))
        except UnknownSearchTerm as error:
            if isinstance(catalogue, RemoteCatalogue):
                raise
            raise UnknownSearchTerm(
                f"{error} These are the terms that tables know; a database, asked in remote mode, "
                "knows more"
            ) from None

    def search(
        self, details: bool = False, query_type: str | None = None, **terms: Any
    ) -> SearchResult | tuple[SearchResult, list[Bunch]]:
        """Find the sessions for which all terms hold.

        Parameters
        ----------
        details : bool
            Give the records too.
        query_type : {None, "remote", "local"}
            Who answers.
        subject, lab, task_protocol, projects : str or list of str
            Text that the field contains, upper and lower case alike; with ``wildcards`` a
            regular expression. Any of a list.
        date_range : date-like, or list of two
            A day, or the first and the last one (None is open).
        number : int or list of int
            Which session of the day.
        datasets : str or list of str
            File names, all of which the session has.
        dataset_qc_lte : str or QC
            The worst QC that counts; FAIL when not given.
        **terms
            The above, each by its name or an unambiguous beginning of it.

        Returns
        -------
        SearchResult
            A list of ``uuid.UUID``, newest first.
        list of Bunch
            With `details`, a record for each.

        Notes
        -----
        An Alyx database knows further terms (`tag`, `django`, `users`, `performance_gte`, ...);
        :meth:`search_terms` names them.

        Raises
        ------
        UnknownSearchTerm, AmbiguousSearchTerm, InvalidDate, InvalidArgument
            What was wrong and what there is.
        """
        catalogue = self._catalogue(query_type)
        found = catalogue.search(self._complete(terms, catalogue), wildcards=self.wildcards)
        if isinstance(catalogue, RemoteCatalogue):
            # saves a request for each of them
            self._sessions_seen.update((session.id, session) for session in found)
        result = SearchResult(found)
        return (result, [session_record(one) for one in found]) if details else result

    def list_subjects(self, query_type: str | None = None) -> list[str]:
        """Give the names of all subjects, sorted; of a database also those without sessions."""
        return self._catalogue(query_type).subjects()

    def _filter(
        self,
        filename: query.FileName,
        collection: query.Pattern | None,
        revision: query.Pattern | None,
        qc: str | int | QC = QC.FAIL,
        *,
        ignore_qc_not_set: bool = False,
        explicit_revision: bool = False,
    ) -> query.Filter:
        if isinstance(filename, Mapping):
            filename, collection, revision = split_parts(filename, collection, revision)
        explicit = explicit_revision or revision is not None
        return query.Filter(
            filename,
            collection,
            revision,
            QC.read(qc),
            ignore_qc_not_set=ignore_qc_not_set,
            wildcards=self.wildcards,
            last_revision=None if explicit else self.revision_last_before,
        )

    def list_datasets(
        self,
        eid: Any = None,
        filename: query.FileName = None,
        collection: query.Pattern | None = None,
        revision: query.Pattern | None = None,
        qc: str | int | QC = QC.FAIL,
        ignore_qc_not_set: bool = False,
        details: bool = False,
        query_type: str | None = None,
        default_revisions_only: bool = False,
        keep_eid_index: bool = False,
    ) -> list[str] | pd.DataFrame:
        """List the datasets of a session, or the distinct ones of all sessions.

        Parameters
        ----------
        eid : any name of a session, optional
            Without it all sessions.
        filename : str, list of str or mapping of ALF parts, optional
            Names with ``*`` and ``?``, or ``{"object": ..., "attribute": ...}``.
        collection, revision : str or list of str, optional
            Folder and revision, with ``*`` and ``?``; an empty text is "none".
        qc : str, int or QC
            The worst level that is listed.
        ignore_qc_not_set : bool
            Leave out datasets without QC.
        details : bool
            Give the records.
        query_type : {None, "remote", "local"}
            Who answers.
        default_revisions_only : bool
            Only those that load when no revision is asked for.
        keep_eid_index : bool
            With `details`, index ``(eid, id)`` instead of ``id``.

        Returns
        -------
        list of str, or pandas.DataFrame
            Relative paths, sorted; with `details` a row for each.

        Raises
        ------
        SessionNotFound
            The session is unknown. One without datasets gives an empty list.
        ALFError
            `default_revisions_only`, and no dataset says whether it is one.
        """
        chosen = self._filter(
            filename, collection, revision, qc, ignore_qc_not_set=ignore_qc_not_set
        )
        if details:
            return self._frame(eid, chosen, query_type, default_revisions_only, keep_eid_index)
        return self._paths(eid, chosen, query_type, default_revisions_only)

    def _paths(
        self, eid: Any, chosen: query.Filter, query_type: str | None, defaults: bool = False
    ) -> list[str]:
        """Give the relative paths of the datasets that fit, each once, sorted."""
        catalogue = self._catalogue(query_type)
        if _is_none(eid):
            frame = self._list_all(catalogue, chosen, "DISTINCT rel_path", defaults=defaults)
            return sorted(frame["rel_path"].tolist())
        return [one.rel_path for one in self._list_one(eid, catalogue, chosen, defaults=defaults)]

    def _frame(
        self,
        eid: Any,
        chosen: query.Filter,
        query_type: str | None,
        defaults: bool = False,
        keep_eid: bool = False,
    ) -> pd.DataFrame:
        """Give the records of the datasets that fit."""
        catalogue = self._catalogue(query_type)
        if _is_none(eid):
            return one_frame(
                self._list_all(catalogue, chosen, "*", defaults=defaults), keep_eid=True
            )
        found = self._list_one(eid, catalogue, chosen, defaults=defaults)
        # the rows of a table are sorted by id, also where only those of a session are taken
        return dataset_frame(sorted(found, key=attrgetter("id")), keep_eid=keep_eid)

    def _datasets_of(self, eid: str, catalogue: Catalogue) -> list[Dataset]:
        """Give the datasets of a session that is known."""
        found = catalogue.datasets_of(eid)
        if not found:
            self._session(eid, catalogue)
        elif catalogue.memory is not None and eid not in self._sessions_seen:
            # what is saved later is of use only with its session
            self._sessions_seen.update((one.id, one) for one in catalogue.sessions([eid]))
        return found

    def _list_one(
        self, eid: Any, catalogue: Catalogue, chosen: query.Filter, *, defaults: bool
    ) -> list[Dataset]:
        """Give the datasets of a session that fit, sorted by relative path."""
        known = self._datasets_of(self._eid(eid, catalogue), catalogue)
        if not defaults:
            return chosen(known)
        if known and all(one.default_revision is None for one in known):
            raise ALFError(_NO_DEFAULTS)
        return [one for one in chosen(known) if one.default_revision]

    def _list_all(
        self, catalogue: Catalogue, chosen: query.Filter, what: str, *, defaults: bool
    ) -> pd.DataFrame:
        """Give the datasets of all sessions: names by Python's rules, rows by the engine."""
        if isinstance(catalogue, RemoteCatalogue):
            warnings.warn(
                f"{self.source} is asked session by session, not for all datasets at once; these "
                "are the ones that were listed before",
                CacheWarning,
                stacklevel=4,
            )
        tables = catalogue.tables if isinstance(catalogue, TableCatalogue) else self.tables
        paths = [Dataset("", "", path) for path in tables.rel_paths()]
        fits = [dataset.rel_path for dataset in chosen.named(paths)]
        levels = [level.name for level in QC if level <= chosen.qc]
        if chosen.ignore_qc_not_set:
            levels.remove(QC.NOT_SET.name)
        where = (
            "rel_path IN (SELECT unnest(?::VARCHAR[])) AND "
            "coalesce(qc, 'NOT_SET') IN (SELECT unnest(?::VARCHAR[]))"
        )
        if defaults:
            flags = "SELECT count(default_revision) FROM datasets"
            if tables.rows(f"{flags} HAVING count(*) > 0 AND count(default_revision) = 0"):
                raise ALFError(_NO_DEFAULTS)
            where += " AND default_revision"
        order = "" if what.startswith("DISTINCT") else " ORDER BY eid, id"
        return tables.frame(f"SELECT {what} FROM datasets WHERE {where}{order}", [fits, levels])

    def list_collections(
        self,
        eid: Any = None,
        filename: query.FileName = None,
        collection: query.Pattern | None = None,
        revision: query.Pattern | None = None,
        details: bool = False,
        query_type: str | None = None,
    ) -> list[str] | dict[str, pd.DataFrame]:
        """List the collections that the fitting datasets lie in; see :meth:`list_datasets`.

        Returns
        -------
        list of str, or dict of str to pandas.DataFrame
            Sorted, an empty text for "none"; with `details` the datasets of each.
        """
        return self._list_folders(
            0, eid, filename, collection, revision, details=details, query_type=query_type
        )

    def list_revisions(
        self,
        eid: Any = None,
        filename: query.FileName = None,
        collection: query.Pattern | None = None,
        revision: query.Pattern | None = None,
        details: bool = False,
        query_type: str | None = None,
    ) -> list[str] | dict[str, pd.DataFrame]:
        """List the revisions of the fitting datasets; see :meth:`list_datasets`.

        Returns
        -------
        list of str, or dict of str to pandas.DataFrame
            Sorted, an empty text for unrevised; with `details` the datasets of each.
        """
        return self._list_folders(
            1, eid, filename, collection, revision, details=details, query_type=query_type
        )

    def _list_folders(
        self,
        which: int,
        eid: Any,
        filename: query.FileName,
        collection: query.Pattern | None,
        revision: query.Pattern | None,
        *,
        details: bool,
        query_type: str | None,
    ) -> list[str] | dict[str, pd.DataFrame]:
        chosen = self._filter(filename, collection, revision)
        if not details:
            paths = self._paths(eid, chosen, query_type)
            return sorted({Dataset("", "", path).folders[which] for path in paths})
        frame = self._frame(eid, chosen, query_type)
        keys = [Dataset("", "", path).folders[which] for path in frame["rel_path"].tolist()]
        return {key: frame[[one == key for one in keys]] for key in sorted(set(keys))}

    def get_details(self, eid: Any, full: bool = False, query_type: str | None = None) -> Any:
        """Give the record of a session.

        Parameters
        ----------
        eid : any name of a session, or list of these
            Session.
        full : bool
            Give its datasets too.
        query_type : {None, "remote", "local"}
            Who answers.

        Returns
        -------
        pandas.Series, pandas.DataFrame, or list of these
            The session's fields, named by its eid; with `full` a row for each dataset, with the
            session's fields beside it.

        Raises
        ------
        SessionNotFound
            It is unknown.
        """
        catalogue = self._catalogue(query_type)

        def convert(one: Any) -> pd.Series[Any] | pd.DataFrame:
            session = self._session(self._eid(one, catalogue), catalogue)
            series = session_series(session)
            if not full:
                return series
            datasets = sorted(catalogue.datasets_of(session.id), key=attrgetter("id"))
            frame = dataset_frame(datasets, keep_eid=True).assign(**series)
            return frame if session.number is None else frame.astype({"number": "uint16"})

        return each(eid, convert)

    @property
    def sessions(self) -> pd.DataFrame:
        """The sessions that this cache's tables hold, a row for each, index ``id``."""
        return self.tables.table("sessions")

    @property
    def datasets(self) -> pd.DataFrame:
        """The datasets that this cache's tables hold, a row for each, index ``(eid, id)``."""
        return self.tables.table("datasets")


def split_parts(
    parts: Mapping[str, Any], collection: Any, revision: Any
) -> tuple[dict[str, Any], Any, Any]:
    """Take collection and revision out of the parts of a name that has them.

    Raises
    ------
    InvalidArgument
        They are given as arguments too.
    """
    rest = dict(parts)
    inner = {key: rest.pop(key) for key in ("collection", "revision") if key in rest}
    if inner and (collection is not None or revision is not None):
        raise InvalidArgument(
            "collection and revision are given both in the parts of the name and as arguments"
        )
    return rest, inner.get("collection", collection), inner.get("revision", revision)


def _is_none(eid: Any) -> bool:
    return eid is None or (isinstance(eid, str) and not eid)
