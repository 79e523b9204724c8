"""Load datasets, objects and collections of a session: choose, bring, decode, record."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from one_cache import query
from one_cache.cache.desk import uuid_text
from one_cache.cache.finding import Finding
from one_cache.cache.frames import dataset_record, dataset_series
from one_cache.catalogue import Catalogue
from one_cache.errors import (
    ALFMultipleCollectionsFound,
    ALFMultipleObjectsFound,
    ALFObjectNotFound,
    ALFWarning,
    CacheWarning,
    InvalidArgument,
    NotInCache,
    OneCacheError,
    QCExcluded,
    QCWarning,
    near_misses,
)
from one_cache.records import QC, Bunch, Dataset
from one_cache.spec import ALFPath, filename_parts

DatasetName = str | Mapping[str, Any]


class Loading(Finding):
    """The loads of ONE-api. All of them verify, and record what they gave."""

    # -- which datasets ---------------------------------------------------------------------

    def _one_dataset(
        self,
        datasets: Sequence[Dataset],
        name: DatasetName,
        collection: query.Pattern | None,
        revision: str | None,
        qc: str | int | QC,
    ) -> Dataset:
        """Choose the one dataset that a name means."""
        name, collection, revision, exact = _split_name(name, collection, revision)
        if exact:
            return self._exact_dataset(datasets, str(name), qc)
        asked = name if isinstance(name, str) else "/".join(map(str, name.values()))
        found: list[Dataset] = []
        for candidate in self._readings(name):
            chosen = self._filter(
                candidate, collection, None, qc, explicit_revision=revision is not None
            )
            named = chosen.named(datasets)
            found = [dataset for dataset in named if chosen.passes_qc(dataset)]
            if found or named:
                break
        query.require_one(found, f"dataset {asked!r}")
        found = query.choose_revisions(found, revision or self.revision_last_before)
        if not found:
            raise self._not_found(asked, datasets, chosen, revision)
        return found[0]

    def _readings(self, name: DatasetName) -> Iterable[DatasetName]:
        """Give what a name may mean: itself, and ``object.attribute`` with any namespace."""
        if isinstance(name, str) and self.wildcards and name.count(".") == 1:
            yield f"{name}.*"
            yield f"_*_{name}.*"
        else:
            yield name

    def _exact_dataset(
        self, datasets: Sequence[Dataset], path: str, qc: str | int | QC
    ) -> Dataset:
        """Choose a dataset by its relative path, the revision folder included."""
        pattern = path
        if self.wildcards and path.rpartition("/")[2].count(".") == 1:
            pattern = f"{path}.*"
        chosen = self._filter(pattern, None, None, qc)
        found = chosen(datasets)
        if not found:
            raise self._not_found(path, datasets, chosen, None)
        if len(found) > 1:
            listed = ", ".join(f'"{dataset.rel_path}"' for dataset in found)
            raise ALFMultipleObjectsFound(f"{path!r} fits several datasets: {listed}")
        return found[0]

    def _not_found(
        self,
        asked: str,
        datasets: Sequence[Dataset],
        chosen: query.Filter,
        revision: str | None,
    ) -> ALFObjectNotFound:
        """Say why nothing fits: QC, a revision after the date, or no such name."""
        named = chosen.named(datasets)
        worse = [dataset for dataset in named if not chosen.passes_qc(dataset)]
        if worse:
            level = worse[0].qc.name
            return QCExcluded(
                f"dataset {asked!r} not loaded: its QC is {level}, the worst that loads here is "
                f"{chosen.qc.name}. To load it all the same pass qc={level!r}"
            )
        if named:
            have = ", ".join(repr(dataset.revision) for dataset in named)
            return ALFObjectNotFound(
                f"dataset {asked!r} has no revision up to "
                f"{revision or self.revision_last_before!r}; there are: {have}"
            )
        if chosen.last_revision is not None:
            later = query.Filter(
                chosen.filename, chosen.collection, wildcards=self.wildcards
            ).named(datasets)
            if later:
                return ALFObjectNotFound(
                    f"dataset {asked!r} exists only in revisions after the cut-off "
                    f"{chosen.last_revision} ({later[0].rel_path}); pass revision= to load it"
                )
        known = [dataset.rel_path for dataset in datasets]
        names = known if "/" in asked else sorted({dataset.name for dataset in datasets})
        near = near_misses(asked, names)
        where = f" in collection {chosen.collection!r}" if chosen.collection is not None else ""
        return ALFObjectNotFound(
            f"dataset {asked!r} not found{where} among the {len(datasets)} datasets of the "
            f"session.{near}"
        )

    # -- bring, decode, record ---------------------------------------------------------------

    def _ready(
        self,
        datasets: Sequence[Dataset],
        catalogue: Catalogue,
        query_type: str | None,
        *,
        check_hash: bool,
    ) -> dict[str, ALFPath]:
        """Bring datasets that must all be there; give their paths by id."""
        refused = self._bring(datasets, catalogue, query_type, check_hash=check_hash)
        if refused:
            raise _joined(list(refused.values()))
        return {dataset.id: self._path(dataset, catalogue) for dataset in datasets}

    def _report(self, datasets: Sequence[Dataset], catalogue: Catalogue) -> None:
        """Record what was loaded, and warn of QC that one should know."""
        for dataset in datasets:
            note = ""
            if dataset.qc >= QC.FAIL:
                note = f"{dataset.rel_path} has QC {dataset.qc.name}"
                self._warn_once("qc", dataset.id, note, QCWarning)
            self._record([dataset], catalogue, note)

    # -- the calls ---------------------------------------------------------------------------

    def load_dataset(
        self,
        eid: Any,
        dataset: DatasetName,
        collection: query.Pattern | None = None,
        revision: str | None = None,
        query_type: str | None = None,
        download_only: bool = False,
        check_hash: bool = True,
        *,
        qc: str | int | QC = QC.FAIL,
        mmap: bool = False,
        allow_pickle: bool = False,
    ) -> Any:
        """Load one dataset of a session.

        Parameters
        ----------
        eid : any name of a session
            See :meth:`to_eid`.
        dataset : str or mapping
            ``object.attribute``, a file name, a path relative to the session, or ALF parts by
            name; ``*`` and ``?`` are allowed in names.
        collection : str, optional
            Folder, with ``*`` and ``?``; an empty text is "none".
        revision : str, optional
            The last revision not after it; without it the default one.
        query_type : {None, "remote", "local"}
            Who answers.
        download_only : bool
            Give the path of the verified file instead of its content.
        check_hash : bool
            False trusts a file of the right size that was not hashed since it changed.
        qc : str, int or QC
            The worst QC that loads; CRITICAL needs ``qc="CRITICAL"``, and is warned of.
        mmap : bool
            Map an ``.npy`` file instead of reading it.
        allow_pickle : bool
            Let ``.npy`` files hold pickled objects, which can run code.

        Returns
        -------
        any
            By extension; see :func:`one_cache.alf.load_file`. An :class:`ALFPath` with
            `download_only`.

        Raises
        ------
        ALFObjectNotFound
            No such dataset (with near misses), QC excludes it, it is on no server, or it is not
            on disk and the mode fetches nothing.
        ALFMultipleObjectsFound, ALFMultipleCollectionsFound, ALFMultipleRevisionsFound
            The name fits several; the message has the candidates.
        InvalidArgument
            A relative path together with `collection` or `revision`.
        """
        from one_cache.alf import load_file

        catalogue = self._catalogue(query_type)
        datasets = self._datasets_of(self._eid(eid, catalogue), catalogue)
        chosen = self._one_dataset(datasets, dataset, collection, revision, qc)
        path = self._ready([chosen], catalogue, query_type, check_hash=check_hash)[chosen.id]
        data = path if download_only else load_file(path, mmap=mmap, allow_pickle=allow_pickle)
        self._report([chosen], catalogue)
        return data

    def load_datasets(
        self,
        eid: Any,
        datasets: Any,
        collections: str | Sequence[str | None] | None = None,
        revisions: str | Sequence[str | None] | None = None,
        query_type: str | None = None,
        assert_present: bool = True,
        download_only: bool = False,
        check_hash: bool = True,
        *,
        qc: str | int | QC = QC.FAIL,
        mmap: bool = False,
        allow_pickle: bool = False,
    ) -> tuple[list[Any], list[Bunch | None]]:
        """Load several datasets of a session.

        Parameters
        ----------
        eid : any name of a session
            See :meth:`to_eid`.
        datasets : sequence of names, or frame of :meth:`list_datasets`
            Each as for :meth:`load_dataset`.
        collections, revisions : str or sequence of str, optional
            One for all, or one for each.
        query_type, download_only, check_hash, qc, mmap, allow_pickle
            As for :meth:`load_dataset`.
        assert_present : bool
            Raise for what cannot be had; otherwise give None in its place, with a warning.

        Returns
        -------
        data : list
            In the order asked.
        records : list of Bunch or None
            What each is.

        Raises
        ------
        TypeError
            `datasets` is a single text.
        """
        from one_cache.alf import load_file

        names, collections, revisions = _split_names(datasets, collections, revisions)
        catalogue = self._catalogue(query_type)
        known = self._datasets_of(self._eid(eid, catalogue), catalogue)
        chosen, problems = self._each_dataset(known, names, collections, revisions, qc)
        self._warn_not_default(names, chosen)
        present = [dataset for dataset in chosen if dataset is not None]
        refused = self._bring(present, catalogue, query_type, check_hash=check_hash)
        problems += refused.values()
        if problems and assert_present:
            raise _joined(problems)
        if problems:
            warnings.warn(str(_joined(problems)), CacheWarning, stacklevel=2)
        data: list[Any] = []
        records: list[Bunch | None] = []
        for dataset in chosen:
            here = dataset is not None and dataset.id not in refused
            if dataset is None or not here:
                data.append(None)
            else:
                path = self._path(dataset, catalogue)
                options = {"mmap": mmap, "allow_pickle": allow_pickle}
                data.append(path if download_only else load_file(path, **options))
                self._report([dataset], catalogue)
            records.append(None if dataset is None else dataset_record(dataset))
        return data, records

    def _each_dataset(
        self,
        known: Sequence[Dataset],
        names: Sequence[DatasetName],
        collections: Sequence[str | None],
        revisions: Sequence[str | None],
        qc: str | int | QC,
    ) -> tuple[list[Dataset | None], list[OneCacheError]]:
        chosen: list[Dataset | None] = []
        problems: list[OneCacheError] = []
        for name, collection, revision in zip(names, collections, revisions, strict=True):
            try:
                chosen.append(self._one_dataset(known, name, collection, revision, qc))
            except ALFObjectNotFound as error:
                chosen.append(None)
                problems.append(error)
        return chosen, problems

    def _warn_not_default(
        self, names: Sequence[DatasetName], chosen: Sequence[Dataset | None]
    ) -> None:
        old = [
            dataset.rel_path
            for name, dataset in zip(names, chosen, strict=True)
            if isinstance(name, str) and "/" in name
            if dataset is not None and dataset.default_revision is False
        ]
        if old:
            warnings.warn(
                f"not the default revision, and therefore not recommended for analysis: "
                f"{', '.join(old)}. Name a revision with revisions=, or use load_dataset",
                ALFWarning,
                stacklevel=3,
            )

    def load_object(
        self,
        eid: Any,
        obj: str,
        collection: query.Pattern | None = None,
        revision: str | None = None,
        query_type: str | None = None,
        download_only: bool = False,
        check_hash: bool = True,
        *,
        assert_present: bool = True,
        qc: str | int | QC = QC.FAIL,
        mmap: bool = False,
        allow_pickle: bool = False,
        **parts: query.Pattern | None,
    ) -> Any:
        """Load all attributes of an object of a session.

        Parameters
        ----------
        eid : any name of a session
            See :meth:`to_eid`.
        obj : str
            Object, with ``*`` and ``?``.
        collection, revision, query_type, download_only, check_hash, qc, mmap, allow_pickle
            As for :meth:`load_dataset`.
        assert_present : bool
            Raise when an attribute cannot be had; otherwise leave it out with a warning that
            names it.
        **parts
            Further parts of the names: ``attribute=["times", "clusters"]``, ``namespace=``,
            ``timescale=``, ``extra=``, ``extension=``.

        Returns
        -------
        AlfBunch
            Attribute and content; list of :class:`ALFPath` with `download_only`.

        Raises
        ------
        ALFObjectNotFound
            No such object (with near misses), or attributes that cannot be had, all named.
        ALFMultipleObjectsFound, ALFMultipleCollectionsFound
            The name fits several.

        Warns
        -----
        QCWarning
            Attributes that QC keeps out, or that it warns of.
        """
        from one_cache.alf import load_object

        catalogue = self._catalogue(query_type)
        known = self._datasets_of(self._eid(eid, catalogue), catalogue)
        meant = {"object": obj, **parts}
        found = self._object_datasets(known, meant, collection, revision, qc)
        _require_one_object(found, obj)
        present = self._present(
            found, catalogue, query_type, check_hash=check_hash, assert_present=assert_present
        )
        paths = [self._path(dataset, catalogue) for dataset in present]
        options = {"mmap": mmap, "allow_pickle": allow_pickle}
        data = paths if download_only else load_object(paths, **options)
        self._report(present, catalogue)
        return data

    def _present(
        self,
        found: Sequence[Dataset],
        catalogue: Catalogue,
        query_type: str | None,
        *,
        check_hash: bool,
        assert_present: bool,
    ) -> list[Dataset]:
        """Bring the datasets of an object; say which attributes cannot be had."""
        refused = self._bring(found, catalogue, query_type, check_hash=check_hash)
        if refused and (assert_present or len(refused) == len(found)):
            raise _joined(list(refused.values()))
        if refused:
            warnings.warn(str(_joined(list(refused.values()))), CacheWarning, stacklevel=3)
        return [dataset for dataset in found if dataset.id not in refused]

    def _object_datasets(
        self,
        known: Sequence[Dataset],
        parts: Mapping[str, Any],
        collection: query.Pattern | None,
        revision: str | None,
        qc: str | int | QC,
    ) -> list[Dataset]:
        """Choose the datasets of an object (or of several), one revision of each."""
        chosen = self._filter(parts, collection, None, qc, explicit_revision=revision is not None)
        named = chosen.named(known)
        passing = [dataset for dataset in named if chosen.passes_qc(dataset)]
        wanted = revision or self.revision_last_before
        found = query.choose_revisions(passing, wanted, unique_default=False)
        asked = str(parts.get("object") or "*")
        if not found:
            raise self._object_not_found(asked, known, chosen, revision)
        kept_out = {dataset.rel_path for dataset in named} - {one.rel_path for one in passing}
        for path in sorted(kept_out):
            self._warn_once(
                "left out",
                f"{named[0].eid}/{path}",
                f"{path} is left out of object {asked!r}: its QC is worse than {chosen.qc.name}; "
                "pass qc= to load it",
                QCWarning,
            )
        return found

    def _object_not_found(
        self,
        asked: str,
        known: Sequence[Dataset],
        chosen: query.Filter,
        revision: str | None,
    ) -> ALFObjectNotFound:
        if chosen.named(known):
            return self._not_found(asked, known, chosen, revision)
        parts = [filename_parts(one.name, as_dict=True, assert_valid=False) for one in known]
        objects = {str(part["object"]) for part in parts if part.get("object")}
        where = f" in collection {chosen.collection!r}" if chosen.collection is not None else ""
        return ALFObjectNotFound(
            f"object {asked!r} not found{where} among the {len(known)} datasets of the session."
            + near_misses(asked, objects)
        )

    def load_collection(
        self,
        eid: Any,
        collection: str,
        object: str | None = None,
        revision: str | None = None,
        query_type: str | None = None,
        download_only: bool = False,
        check_hash: bool = True,
        *,
        assert_present: bool = True,
        qc: str | int | QC = QC.FAIL,
        mmap: bool = False,
        allow_pickle: bool = False,
        **parts: query.Pattern | None,
    ) -> Any:
        """Load all objects of a collection.

        Parameters
        ----------
        eid : any name of a session
            See :meth:`to_eid`.
        collection : str
            Folder, with ``*`` and ``?``; it must mean one collection.
        object : str, optional
            Only objects of that name, with ``*`` and ``?``.
        revision, query_type, download_only, check_hash, assert_present, qc, mmap, allow_pickle
            As for :meth:`load_object`.
        **parts
            As for :meth:`load_object`.

        Returns
        -------
        Bunch of AlfBunch
            By object; list of :class:`ALFPath` with `download_only`.
        """
        from one_cache.alf import load_object

        catalogue = self._catalogue(query_type)
        known = self._datasets_of(self._eid(eid, catalogue), catalogue)
        found = self._object_datasets(known, {"object": object, **parts}, collection, revision, qc)
        collections = sorted({dataset.collection for dataset in found})
        if len(collections) > 1:
            listed = ", ".join(f'"{name}"' for name in collections)
            raise ALFMultipleCollectionsFound(f"{collection!r} fits several: {listed}")
        present = self._present(
            found, catalogue, query_type, check_hash=check_hash, assert_present=assert_present
        )
        paths = [self._path(dataset, catalogue) for dataset in present]
        if download_only:
            self._report(present, catalogue)
            return paths
        objects: dict[str, list[ALFPath]] = {}
        for path in paths:
            objects.setdefault(path.object, []).append(path)
        options = {"mmap": mmap, "allow_pickle": allow_pickle}
        data = Bunch({name: load_object(files, **options) for name, files in objects.items()})
        self._report(present, catalogue)
        return data

    def load_dataset_from_id(
        self,
        dset_id: Any,
        download_only: bool = False,
        details: bool = False,
        check_hash: bool = True,
        *,
        query_type: str | None = None,
        mmap: bool = False,
        allow_pickle: bool = False,
    ) -> Any:
        """Load a dataset by its id, whichever session it is of.

        Parameters
        ----------
        dset_id : str or UUID
            Id of the dataset.
        download_only, check_hash, query_type, mmap, allow_pickle
            As for :meth:`load_dataset`.
        details : bool
            Give its record too.

        Returns
        -------
        any
            The content, or the path; with `details` also a pandas.Series.

        Raises
        ------
        ALFObjectNotFound
            No dataset has that id. QC excludes nothing: an id is as explicit as can be; FAIL and
            CRITICAL are warned of.
        """
        from one_cache.alf import load_file

        catalogue = self._catalogue(query_type)
        key = uuid_text(dset_id, "dataset")
        found = catalogue.datasets([key])
        if not found:
            raise ALFObjectNotFound(f"dataset {key} is not known to {self._answerer(catalogue)}")
        dataset = found[0]
        path = self._ready(found[:1], catalogue, query_type, check_hash=check_hash)[key]
        data = path if download_only else load_file(path, mmap=mmap, allow_pickle=allow_pickle)
        self._report([dataset], catalogue)
        return (data, dataset_series(dataset)) if details else data


def _split_name(
    name: DatasetName, collection: query.Pattern | None, revision: str | None
) -> tuple[DatasetName, query.Pattern | None, str | None, bool]:
    """Take collection and revision out of a name that has them; tell whether it is a path."""
    if isinstance(name, str):
        if "/" in name and (collection is not None or revision is not None):
            raise InvalidArgument(
                f"{name!r} is a relative path, so collection= and revision= must not be given"
            )
        return name, collection, revision, "/" in name
    parts = dict(name)
    inner = {key: parts.pop(key) for key in ("collection", "revision") if key in parts}
    if inner and (collection is not None or revision is not None):
        raise InvalidArgument(
            "collection and revision are given both in the parts of the name and as arguments"
        )
    return (
        parts,
        inner.get("collection", collection),
        inner.get("revision", revision),
        False,
    )


def _split_names(
    datasets: Any,
    collections: str | Sequence[str | None] | None,
    revisions: str | Sequence[str | None] | None,
) -> tuple[list[DatasetName], list[str | None], list[str | None]]:
    """Give a name, collection and revision for each dataset asked for."""
    if isinstance(datasets, (str, Mapping)):
        raise TypeError(f"datasets takes several names, got the single one {datasets!r}")
    names = list(datasets["rel_path"]) if hasattr(datasets, "columns") else list(datasets)
    kinds = {str if isinstance(name, str) else Mapping for name in names}
    if len(kinds) > 1:
        raise InvalidArgument("datasets takes names as texts, or as mappings, not both")
    if hasattr(datasets, "columns"):
        # a frame names exact rows: a file in no collection is a path all the same
        names = [name if "/" in name else {"collection": "", **_parts(name)} for name in names]

    def spread(value: str | Sequence[str | None] | None, what: str) -> list[str | None]:
        if value is None or isinstance(value, str):
            return [value] * len(names)
        if len(value) != len(names):
            raise InvalidArgument(
                f"{what} must be one for all or one for each of the {len(names)} datasets, "
                f"got {len(value)}"
            )
        return list(value)

    return names, spread(collections, "collections"), spread(revisions, "revisions")


def _parts(name: str) -> dict[str, Any]:
    parts = filename_parts(name, as_dict=True, assert_valid=False)
    return {key: "" if value is None else value for key, value in parts.items()}


def _require_one_object(datasets: Sequence[Dataset], asked: str) -> None:
    parts = [filename_parts(one.name, as_dict=True) for one in datasets]
    objects = sorted({str(part["object"]) for part in parts})
    if len(objects) > 1:
        listed = ", ".join(f'"{name}"' for name in objects)
        raise ALFMultipleObjectsFound(f"object {asked!r} fits several: {listed}; name one of them")
    collections = sorted({dataset.collection for dataset in datasets})
    if len(collections) > 1:
        listed = ", ".join(f'"{name}"' for name in collections)
        raise ALFMultipleCollectionsFound(
            f"object {asked!r} is in several collections: {listed}; name one with collection="
        )


def _joined(problems: Sequence[OneCacheError]) -> OneCacheError:
    """Give one error for several: itself when it is one, else of the type that all share."""
    if len(problems) == 1:
        return problems[0]
    text = f"{len(problems)} datasets cannot be had:\n" + "\n".join(f"- {one}" for one in problems)
    kinds = {type(one) for one in problems}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind is not None and issubclass(kind, ALFObjectNotFound):
        return kind(text)
    if all(isinstance(one, ALFObjectNotFound) for one in problems):
        return NotInCache(text)
    return OneCacheError(text)
