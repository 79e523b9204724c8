"""Load datasets, objects and collections of a session: choose, bring, decode, record."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from one_cache import query
from one_cache.cache.choosing import Choosing, DatasetName, require_one_object, split_names
from one_cache.cache.desk import uuid_text
from one_cache.cache.frames import dataset_record, dataset_series
from one_cache.cache.notices import Noticing
from one_cache.cache.noting import Noting
from one_cache.catalogue import Catalogue
from one_cache.errors import (
    ALFMultipleCollectionsFound,
    ALFObjectNotFound,
    CacheWarning,
    NotInCache,
    OneCacheError,
    QCWarning,
)
from one_cache.records import QC, Bunch, Dataset
from one_cache.spec import ALFPath


class Loading(Choosing, Noticing, Noting):
    """The loads of ONE-api. All of them verify, and record what they gave."""

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
        refused = self._bring_datasets(datasets, catalogue, query_type, check_hash=check_hash)
        if refused:
            raise _joined(list(refused.values()))
        return {dataset.id: self._path(dataset, catalogue) for dataset in datasets}

    def _report(self, datasets: Sequence[Dataset], catalogue: Catalogue) -> None:
        """Record what was loaded, and warn of QC and notices that one should know."""
        under = self._notes_on(datasets, catalogue)
        for dataset in datasets:
            notes = []
            if dataset.qc >= QC.FAIL:
                notes.append(f"{dataset.rel_path} has QC {dataset.qc.name}")
                self._warn_once("qc", dataset.id, notes[0], QCWarning)
            for notice in under.get(dataset.id, ()):
                notes.append(str(notice))
                text = f"{dataset.rel_path} is under a {notice}"
                self._warn_once("notice", notice.id, text, CacheWarning)
            self._record([dataset], catalogue, "; ".join(notes))

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
        chosen = self._one_dataset(datasets, dataset, collection, revision or None, qc)
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

        names, collections, revisions, are_paths = split_names(datasets, collections, revisions)
        catalogue = self._catalogue(query_type)
        known = self._datasets_of(self._eid(eid, catalogue), catalogue)
        chosen, problems = self._each_dataset(
            known, names, collections, revisions, qc, are_paths=are_paths
        )
        if are_paths:
            self._warn_not_default(chosen)
        present = [dataset for dataset in chosen if dataset is not None]
        refused = self._bring_datasets(present, catalogue, query_type, check_hash=check_hash)
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
        found = self._object_datasets(known, meant, collection, revision or None, qc)
        require_one_object(found, obj)
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
        refused = self._bring_datasets(found, catalogue, query_type, check_hash=check_hash)
        if refused and (assert_present or len(refused) == len(found)):
            raise _joined(list(refused.values()))
        if refused:
            warnings.warn(str(_joined(list(refused.values()))), CacheWarning, stacklevel=3)
        return [dataset for dataset in found if dataset.id not in refused]

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
        meant = {"object": object, **parts}
        found = self._object_datasets(known, meant, collection, revision or None, qc)
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
