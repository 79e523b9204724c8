"""Answers the questions to an Alyx server with rows, one method for each kind of record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from one_cache.errors import InvalidArgument, RemoteError, near_misses
from one_cache.records import QC
from one_cache.remotes.alyx import records, search
from one_cache.remotes.alyx.client import AlyxClient
from one_cache.remotes.alyx.servers import DataServers
from one_cache.remotes.alyx.values import listed, uuid_of

Row = dict[str, Any]
Terms = dict[str, Any]


class Questions:
    """One question to an Alyx server.

    Parameters
    ----------
    client : AlyxClient
        The database.
    servers : DataServers
        Its data repositories.
    no_cache : bool
        Ask the server in any case.
    """

    def __init__(
        self, client: AlyxClient, servers: DataServers, *, no_cache: bool = False
    ) -> None:
        self._client = client
        self._servers = servers
        self._no_cache = no_cache

    # -- kinds of records ----------------------------------------------------------------------

    def sessions(self, terms: Terms) -> list[Row]:
        """Give the sessions of ``id``, or those for which all search terms hold."""
        ids = _pop_ids(terms)
        _check(terms, search.SESSION_TERMS)
        plan = search.plan(search.SESSIONS, terms)
        rows = map(records.session_row, self._asked(search.SESSIONS, plan, ids))
        found = {row["id"]: row for row in rows if plan.fits(row)}
        for name in plan.names:
            good = self._good_datasets(found, "session__id", name, plan.qc)
            having = {row["eid"] for row in good}
            found = {eid: row for eid, row in found.items() if eid in having}
        return _newest_first(sorted(found.values(), key=lambda row: row["id"]))

    def details(self, terms: Terms) -> list[Row]:
        """Give the server's own records of the sessions of ``id``, in their order."""
        ids = _pop_ids(terms)
        _check(terms, ("id",))
        return self._read("/sessions", ids or ())

    def insertions(self, terms: Terms) -> list[Row]:
        """Give the insertions of ``id``, or those for which all search terms hold."""
        ids = _pop_ids(terms)
        _check(terms, search.INSERTION_TERMS)
        plan = search.plan(search.INSERTIONS, terms)
        rows = map(records.insertion_row, self._asked(search.INSERTIONS, plan, ids))
        found = {row["id"]: row for row in rows if plan.fits(row["session"])}
        for name in plan.names:
            own = {id for row in found.values() for id in row["datasets"]}
            having = {row["id"] for row in self._good_datasets(own, "id", name, plan.qc)}
            found = {pid: row for pid, row in found.items() if having & set(row["datasets"])}
        by_name = sorted(found.values(), key=lambda row: (row["name"], row["id"]))
        return _newest_first(by_name, lambda row: row["session"])

    def datasets(self, terms: Terms) -> list[Row]:
        """Give the datasets of ``eid``, ``id`` or ``tag``, by session and path."""
        _check(terms, ("eid", "id", "tag", "dataset_type", "name"))
        rows = map(self._dataset, self._dataset_records(terms))
        found = [
            row
            for row in rows
            if _is_among(row["eid"], terms, "eid")
            and _is_among(row["id"], terms, "id")
            and _is_among(row["extra"]["dataset_type"], terms, "dataset_type")
            and _is_among(row["rel_path"].rpartition("/")[2], terms, "name")
        ]
        return sorted(found, key=lambda row: (row["eid"], row["rel_path"], row["id"]))

    def aggregates(self, terms: Terms) -> list[Row]:
        """Give the datasets without a session, of a ``relation`` and part of ``identifier``."""
        _check(terms, ("relation", "identifier"))
        asked = self._every("/datasets", {"django": "session__isnull,True"})
        rows = [records.aggregate_row(one, self._servers.is_server) for one in asked]
        relation = str(terms.get("relation", "")).casefold()
        part = str(terms.get("identifier", ""))
        found = [
            row
            for row in rows
            if relation in ("", row["extra"]["relation"]) and part in row["extra"]["identifier"]
        ]
        return sorted(found, key=lambda row: (row["rel_path"], row["id"]))

    def search_terms(self, terms: Terms) -> list[Row]:
        """Give the ``name`` of each term that a ``table`` is searched by; nothing is asked."""
        _check(terms, ("table",))
        known = {"sessions": search.SESSION_TERMS, "insertions": search.INSERTION_TERMS}
        if terms.get("table") not in known:
            raise InvalidArgument(f"what is searched is one of {', '.join(known)}")
        return [{"name": name} for name in known[terms["table"]] if name != "wildcards"]

    def files(self, terms: Terms) -> list[Row]:
        """Give where the copies of datasets lie."""
        _check(terms, ("dataset",))
        asked = self._by_ids("/files", _uuids(terms.get("dataset", ())), "dataset")
        return sorted(map(records.file_row, asked), key=lambda row: (row["dataset"], row["id"]))

    def notices(self, terms: Terms) -> list[Row]:
        """Give the notices about datasets, the most important first."""
        _check(terms, ("dataset",))
        try:
            # all of them, which are few: one answer then serves for every load of some minutes
            asked = self._every("/data-notices")
        except RemoteError as error:
            if error.status == 404:
                # an older server
                return []
            raise
        rows = sorted(map(records.notice_row, asked), key=lambda row: -(row["importance"] or 0))
        wanted = set(_uuids(terms["dataset"])) if "dataset" in terms else None
        return [row for row in rows if wanted is None or wanted & set(row["datasets"])]

    def subjects(self, terms: Terms) -> list[Row]:
        """Give subjects and their labs."""
        asked = self._named("/subjects", terms)
        return [{"id": one["id"], "name": one["nickname"], "lab": one["lab"]} for one in asked]

    def revisions(self, terms: Terms) -> list[Row]:
        """Give what revisions are about."""
        fields = ("id", "name", "description", "created_datetime")
        return [records.picked(one, fields) for one in self._named("/revisions", terms)]

    def tags(self, terms: Terms) -> list[Row]:
        """Give what tags are about."""
        fields = ("id", "name", "description", "protected", "public", "hash")
        return [records.picked(one, fields) for one in self._named("/tags", terms)]

    def dataset_types(self, terms: Terms) -> list[Row]:
        """Give what dataset types are about."""
        fields = ("id", "name", "description", "filename_pattern")
        return [records.picked(one, fields) for one in self._named("/dataset-types", terms)]

    def repositories(self, terms: Terms) -> list[Row]:
        """Give the data repositories."""
        return [records.repository_row(one) for one in self._named("/data-repository", terms)]

    def cache(self, terms: Terms) -> list[Row]:
        """Give what the server has of whole tables, of all datasets or those of a ``tag``."""
        _check(terms, ("tag",))
        tag = terms.get("tag")
        if tag is not None:
            self._require_tag(str(tag))
        path = f"/cache/info/{quote(str(tag), safe='')}/" if tag else "/cache/info/"
        # a tag with a hyphen is not known there, though there is one
        info = self._client.read(path, no_cache=self._no_cache) or {}
        # without a place of its own for each tag, the one zip holds everything
        whole = f"{self._client.name}/cache.zip" if info and tag is None else None
        row = records.picked(info, ("date_created", "origin", "min_api_version"))
        tables = info.get("tables") or {}
        return [{**row, "tag": tag, "tables": tables, "data_url": info.get("location") or whole}]

    # -- how they are asked --------------------------------------------------------------------

    def _every(self, path: str, params: Mapping[str, str] | None = None) -> list[Row]:
        return self._client.every(path, params, no_cache=self._no_cache)

    def _by_ids(
        self,
        path: str,
        ids: Iterable[str],
        field: str = "id",
        params: Mapping[str, str] | None = None,
    ) -> list[Row]:
        return self._client.by_ids(
            path, list(ids), field=field, params=params, no_cache=self._no_cache
        )

    def _read(self, path: str, names: Iterable[str]) -> list[Row]:
        found = (
            self._client.read(f"{path}/{quote(name, safe='')}", no_cache=self._no_cache)
            for name in names
        )
        return [record for record in found if record is not None]

    def _named(self, path: str, terms: Terms) -> list[Row]:
        """Give the records of a ``name`` or several, or all."""
        _check(terms, ("name",))
        if "name" in terms:
            return self._read(path, map(str, listed(terms["name"])))
        return self._every(path)

    def _asked(
        self, endpoint: search.Endpoint, plan: search.Plan, ids: Sequence[str] | None
    ) -> list[Row]:
        """Ask all requests of a plan."""
        asked: list[Row] = []
        for params in plan.requests:
            if ids is None:
                asked += self._every(endpoint.path, params)
            else:
                asked += self._by_ids(endpoint.path, ids, params=params)
        return asked

    def _good_datasets(
        self, ids: Iterable[str], field: str, name: search.NameTest, qc: QC
    ) -> list[Row]:
        """Give the datasets of a fitting name that are on a server, by their or other ids."""
        asked = self._by_ids("/datasets", ids, field, name.params)
        rows = [self._dataset(one) for one in asked if name.fits(one["name"])]
        return [row for row in rows if row["exists"] and QC.read(row["qc"]) <= qc]

    def _dataset(self, record: Mapping[str, Any]) -> Row:
        return records.dataset_row(record, self._servers.is_server)

    def _dataset_records(self, terms: Terms) -> list[Row]:
        if "id" in terms:
            return self._by_ids("/datasets", _uuids(terms["id"]))
        if "eid" in terms:
            eids = _uuids(terms["eid"])
            if len(eids) == 1:
                return self._every("/datasets", {"session": eids[0]})
            return self._by_ids("/datasets", eids, "session__id")
        if "tag" not in terms:
            raise InvalidArgument("datasets are asked for by eid, id or tag")
        tags = map(str, listed(terms["tag"]))
        asked = (one for tag in tags for one in self._every("/datasets", {"tag": tag}))
        return list({one["url"]: one for one in asked}.values())

    def _require_tag(self, tag: str) -> None:
        if not self._read("/tags", [tag]):
            known = [one["name"] for one in self._every("/tags")]
            raise InvalidArgument(
                f"{self._client.name} has no tag {tag!r}; there are: {', '.join(known)}."
                + near_misses(tag, known)
            )


ANSWERS: Mapping[str, Callable[[Questions, Terms], list[Row]]] = {
    "sessions": Questions.sessions,
    "session-details": Questions.details,
    "insertions": Questions.insertions,
    "datasets": Questions.datasets,
    "aggregates": Questions.aggregates,
    "search-terms": Questions.search_terms,
    "files": Questions.files,
    "notices": Questions.notices,
    "subjects": Questions.subjects,
    "revisions": Questions.revisions,
    "tags": Questions.tags,
    "dataset-types": Questions.dataset_types,
    "data-repository": Questions.repositories,
    "cache": Questions.cache,
}


def _check(terms: Terms, known: Sequence[str]) -> None:
    for name in terms:
        if name not in known:
            raise InvalidArgument(
                f"unknown term {name!r}; there are: {', '.join(known)}." + near_misses(name, known)
            )


def _pop_ids(terms: Terms) -> list[str] | None:
    return _uuids(terms.pop("id")) if "id" in terms else None


def _uuids(value: Any) -> list[str]:
    return [uuid_of(one) for one in listed(value)]


def _is_among(value: Any, terms: Terms, name: str) -> bool:
    """Whether a term is not set, or has this value among those it lists."""
    if name not in terms:
        return True
    wanted = _uuids(terms[name]) if name in ("id", "eid") else listed(terms[name])
    return value in wanted


def _newest_first(
    rows: Sequence[Row], session: Callable[[Row], Row] = lambda row: row
) -> list[Row]:
    """Sort as searches of tables are: by date, subject, number, all descending, None last."""

    def key(row: Row) -> tuple[int, str, int]:
        one = session(row)
        day, number = one["date"], one["number"]
        return day.toordinal() if day else -1, one["subject"], -1 if number is None else number

    # a sort in reverse is stable too: what is equal stays in its order
    return sorted(rows, key=key, reverse=True)
