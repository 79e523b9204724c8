"""What revisions and types of datasets are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from one_cache import query
from one_cache.cache.desk import uuid_text
from one_cache.cache.finding import Finding
from one_cache.cache.frames import dataset_frame
from one_cache.catalogue import Catalogue
from one_cache.errors import ALFMultipleObjectsFound, ALFObjectNotFound, near_misses
from one_cache.records import Bunch, Dataset
from one_cache.spec import filename_parts

if TYPE_CHECKING:
    import pandas as pd


class Describing(Finding):
    """The words of a database about what it holds; nothing is printed."""

    def describe_revision(
        self, revision: str, full: bool = True, *, query_type: str | None = None
    ) -> Bunch:
        """Give what a revision is about; nothing is printed.

        Parameters
        ----------
        revision : str
            Its name, with or without ``#``.
        full : bool
            Accepted as in ONE-api; the record is given in any case.
        query_type : {None, "remote", "local"}
            Who answers.

        Returns
        -------
        Bunch
            ``id``, ``name``, ``description``, ``created_datetime``.

        Raises
        ------
        ALFObjectNotFound
            There is none of that name; the nearest are told.
        QueryNotCached
            The tables hold no revisions.
        """
        catalogue = self._catalogue(query_type)
        return self._described(catalogue, "revisions", "revision", revision.strip("#"))

    def describe_dataset(
        self, dataset_type: Any = None, *, query_type: str | None = None
    ) -> Bunch | list[Bunch]:
        """Give what a type of datasets is about; nothing is printed.

        Parameters
        ----------
        dataset_type : str or UUID, optional
            Name of a type, ``"spikes.times"``, or whatever :meth:`dataset2type` takes; all types
            when not given.
        query_type : {None, "remote", "local"}
            Who answers.

        Returns
        -------
        Bunch, or list of Bunch
            ``id``, ``name``, ``description``, ``filename_pattern``.

        Raises
        ------
        ALFObjectNotFound
            There is none of that name; the nearest are told.
        QueryNotCached
            The tables hold no dataset types.
        """
        catalogue = self._catalogue(query_type)
        kinds = catalogue.known("dataset-types")
        if dataset_type is None:
            return [Bunch(one) for one in kinds]
        name = str(dataset_type)
        if name not in {one["name"] for one in kinds}:
            name = self.dataset2type(dataset_type, query_type=query_type)
        return self._described(catalogue, "dataset-types", "dataset type", name)

    def _described(self, catalogue: Catalogue, kind: str, what: str, name: str) -> Bunch:
        found = {one["name"]: one for one in catalogue.known(kind)}
        if name not in found:
            raise ALFObjectNotFound(
                f"{what} {name!r} is not known to {self._answerer(catalogue)}."
                + near_misses(name, found)
            )
        return Bunch(found[name])

    def dataset2type(self, dset: Any, *, query_type: str | None = None) -> str:
        """Give the type of a dataset.

        Parameters
        ----------
        dset : str or UUID
            Its id, or a file name. Where no dataset of that name is known here, the rule of the
            database is applied: the type whose pattern fits, or, of those without a pattern, the
            one called ``object.attribute``.
        query_type : {None, "remote", "local"}
            Who answers.

        Returns
        -------
        str

        Raises
        ------
        ALFObjectNotFound
            The dataset is unknown, or no type fits.
        ALFMultipleObjectsFound
            Several types fit.
        QueryNotCached
            The tables do not say it.
        """
        catalogue = self._catalogue(query_type)
        text = str(dset)
        if not isinstance(dset, UUID) and not _is_uuid(text):
            return self._type_of_name(text.rpartition("/")[2], catalogue)
        found = catalogue.datasets([uuid_text(dset, "dataset")])
        if not found:
            raise ALFObjectNotFound(f"dataset {dset} is not known to {self._answerer(catalogue)}")
        return _said(found[0]) or self._type_of_name(found[0].name, catalogue)

    def type2datasets(
        self,
        eid: Any,
        dataset_type: str | Sequence[str],
        details: bool = False,
        *,
        query_type: str | None = None,
    ) -> list[str] | pd.DataFrame:
        """List the datasets of a session that are of a type, whatever their QC.

        Parameters
        ----------
        eid : any name of a session
            Session.
        dataset_type : str or sequence of str
            For instance ``"camera.times"``; any of several.
        details : bool
            Give the records.
        query_type : {None, "remote", "local"}
            Who answers.

        Returns
        -------
        list of str, or pandas.DataFrame
            Relative paths, sorted; with `details` a row for each.

        Raises
        ------
        ALFObjectNotFound
            There is no such type; the nearest are told.
        QueryNotCached
            The tables do not say of which type the datasets are.
        """
        catalogue = self._catalogue(query_type)
        wanted = set(query.listed(dataset_type))
        known = self._datasets_of(self._eid(eid, catalogue), catalogue)
        kinds = [] if all(_said(one) for one in known) else catalogue.known("dataset-types")
        found = [one for one in known if wanted & set(_types(one, kinds))]
        if not found:
            for name in sorted(wanted):
                self._described(catalogue, "dataset-types", "dataset type", str(name))
        if details:
            return dataset_frame(sorted(found, key=attrgetter("id")))
        return sorted(one.rel_path for one in found)

    def _type_of_name(self, name: str, catalogue: Catalogue) -> str:
        said = self._said_of(name)
        if len(said) == 1:
            return said[0]
        kinds = catalogue.known("dataset-types")
        fits = types_of(name, kinds)
        if len(fits) > 1:
            raise ALFMultipleObjectsFound(f"{name} is of several types: {', '.join(fits)}")
        if not fits:
            raise ALFObjectNotFound(
                f"{name} is of no type that {self._answerer(catalogue)} knows."
                + near_misses(name, [str(one["name"]) for one in kinds])
            )
        return fits[0]

    def _said_of(self, name: str) -> list[str]:
        """Give the types of the datasets of that name that are known here."""
        if "dataset_type" not in self.tables.columns("datasets"):
            return []
        sql = (
            "SELECT DISTINCT dataset_type FROM datasets "
            "WHERE coalesce(dataset_type, '') != '' AND (rel_path = ? OR ends_with(rel_path, ?))"
        )
        return [row["dataset_type"] for row in self.tables.rows(sql, [name, f"/{name}"])]


def types_of(name: str, kinds: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give the types that a file name is of, by the rule of Alyx.

    Parameters
    ----------
    name : str
        File name.
    kinds : sequence of mapping
        Types, each with ``name`` and ``filename_pattern``.

    Returns
    -------
    list of str
        One, if the patterns are as they should be.

    Examples
    --------
    >>> kinds = [{"name": "spikes.times", "filename_pattern": "*spikes.times*.npy"},
    ...          {"name": "wheel.position", "filename_pattern": ""}]
    >>> types_of("spikes.times.npy", kinds), types_of("_ibl_wheel.position.npy", kinds)
    (['spikes.times'], ['wheel.position'])
    """
    parts = filename_parts(name, as_dict=True, assert_valid=False)
    own = f"{parts['object']}.{parts['attribute']}" if parts.get("object") else ""
    own = own or name.rpartition(".")[0] or name
    found = []
    for kind in kinds:
        pattern = str(kind.get("filename_pattern") or "").strip()
        if fnmatchcase(name.lower(), pattern.lower()) if pattern else kind["name"] == own:
            found.append(str(kind["name"]))
    return found


def _said(dataset: Dataset) -> str:
    """Give the type that a record says; empty where it says none."""
    return str(dataset.extra.get("dataset_type") or "")


def _types(dataset: Dataset, kinds: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give the type that a record says, else those of its name."""
    said = _said(dataset)
    return [said] if said else types_of(dataset.name, kinds)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
