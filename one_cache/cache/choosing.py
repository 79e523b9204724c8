"""Choose the datasets that a name means, or say why there is none."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from one_cache import query
from one_cache.cache.finding import Finding, split_parts
from one_cache.errors import (
    ALFMultipleCollectionsFound,
    ALFMultipleObjectsFound,
    ALFObjectNotFound,
    ALFWarning,
    InvalidArgument,
    OneCacheError,
    QCExcluded,
    QCWarning,
    near_misses,
)
from one_cache.records import QC, Dataset
from one_cache.spec import filename_parts

DatasetName = str | Mapping[str, Any]


class Choosing(Finding):
    """From names to datasets; nothing is brought or read here."""

    def _one_dataset(
        self,
        datasets: Sequence[Dataset],
        name: DatasetName,
        collection: query.Pattern | None,
        revision: str | None,
        qc: str | int | QC,
        *,
        is_path: bool = False,
    ) -> Dataset:
        """Choose the one dataset that a name means; a path names one revision exactly."""
        name, collection, revision, has_folder = split_name(name, collection, revision)
        if has_folder or is_path:
            return self._exact_dataset(datasets, str(name), qc, whole=is_path)
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
        found = query.choose_revisions(found, self._last(revision))
        if not found:
            raise self._not_found(asked, datasets, chosen, revision)
        return found[0]

    def _last(self, revision: str | None) -> str | None:
        """Give the date that a call means: its own, or the cut-off of this cache."""
        return self.revision_last_before if revision is None else revision

    def _readings(self, name: DatasetName) -> Iterable[DatasetName]:
        """Give what a name may mean: itself, and ``object.attribute`` with any namespace."""
        if isinstance(name, str) and self.wildcards and name.count(".") == 1:
            yield f"{name}.*"
            yield f"_*_{name}.*"
        else:
            yield name

    def _exact_dataset(
        self, datasets: Sequence[Dataset], path: str, qc: str | int | QC, *, whole: bool
    ) -> Dataset:
        """Choose a dataset by its relative path, the revision folder included.

        Unless it is a `whole` one, it may leave out the first folders.
        """
        pattern = path
        if self.wildcards and path.rpartition("/")[2].count(".") == 1:
            pattern = f"{path}.*"
        # a name without a folder lies in none
        folder = None if "/" in path else ""
        chosen = self._filter(pattern, folder, folder, qc)
        found = chosen(datasets)
        if whole:
            fits = query.whole_match(pattern, wildcards=self.wildcards)
            found = [one for one in found if fits(one.rel_path)]
        # rather the path itself than one that ends so
        found = [one for one in found if one.rel_path == path] or found
        if not found:
            raise self._not_found(path, datasets, chosen, None)
        if len(found) > 1:
            # a pattern may stand for several revisions
            found = query.choose_revisions(found, unique_default=False)
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
                f"{self._last(revision)!r}; there are: {have}"
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

    def _each_dataset(
        self,
        known: Sequence[Dataset],
        names: Sequence[DatasetName],
        collections: Sequence[str | None],
        revisions: Sequence[str | None],
        qc: str | int | QC,
        *,
        are_paths: bool,
    ) -> tuple[list[Dataset | None], list[OneCacheError]]:
        chosen: list[Dataset | None] = []
        problems: list[OneCacheError] = []
        for name, collection, revision in zip(names, collections, revisions, strict=True):
            try:
                chosen.append(
                    self._one_dataset(known, name, collection, revision, qc, is_path=are_paths)
                )
            except ALFObjectNotFound as error:
                chosen.append(None)
                problems.append(error)
        return chosen, problems

    def _warn_not_default(self, chosen: Sequence[Dataset | None]) -> None:
        """Warn of datasets that were named by path and that are not the default revision."""
        old = [one.rel_path for one in chosen if one and one.default_revision is False]
        if old:
            warnings.warn(
                f"not the default revision, and therefore not recommended for analysis: "
                f"{', '.join(old)}. Name a revision with revisions=, or use load_dataset",
                ALFWarning,
                stacklevel=3,
            )

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
        found = query.choose_revisions(passing, self._last(revision), unique_default=False)
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


def split_name(
    name: DatasetName, collection: query.Pattern | None, revision: str | None
) -> tuple[DatasetName, query.Pattern | None, str | None, bool]:
    """Take collection and revision out of a name that has them; tell whether it is a path."""
    if isinstance(name, str):
        if "/" in name and (collection is not None or revision is not None):
            raise InvalidArgument(
                f"{name!r} is a relative path, so collection= and revision= must not be given"
            )
        return name, collection, revision, "/" in name
    parts, collection, revision = split_parts(name, collection, revision)
    return parts, collection, revision, False


def split_names(
    datasets: Any,
    collections: str | Sequence[str | None] | None,
    revisions: str | Sequence[str | None] | None,
) -> tuple[list[DatasetName], list[str | None], list[str | None], bool]:
    """Give a name, collection and revision for each dataset; tell whether the names are paths.

    Names are paths when any has a folder, as in a list of relative paths: those without one lie
    in no collection then.
    """
    if isinstance(datasets, (str, Mapping)):
        raise TypeError(f"datasets takes several names, got the single one {datasets!r}")
    names = list(datasets["rel_path"]) if hasattr(datasets, "columns") else list(datasets)
    kinds = {str if isinstance(name, str) else Mapping for name in names}
    if len(kinds) > 1:
        raise InvalidArgument("datasets takes names as texts, or as mappings, not both")
    are_paths = hasattr(datasets, "columns") or any(
        isinstance(name, str) and "/" in name for name in names
    )
    if are_paths and (collections or revisions):
        raise InvalidArgument(
            "the datasets are relative paths, so collections= and revisions= must not be given"
        )

    def spread(value: str | Sequence[str | None] | None, what: str) -> list[str | None]:
        if value is None or isinstance(value, str):
            return [value] * len(names)
        if len(value) != len(names):
            raise InvalidArgument(
                f"{what} must be one for all or one for each of the {len(names)} datasets, "
                f"got {len(value)}"
            )
        return list(value)

    # one empty revision for all is "not asked", as everywhere; one of a list is "unrevised"
    revised = spread(revisions or None, "revisions")
    return names, spread(collections, "collections"), revised, are_paths


def require_one_object(datasets: Sequence[Dataset], asked: str) -> None:
    """Refuse datasets of several objects, or of an object in several collections."""
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
