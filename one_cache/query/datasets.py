"""Which datasets of a session are meant: names, collections, quality, revisions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from one_cache.errors import (
    ALFMultipleCollectionsFound,
    ALFMultipleObjectsFound,
    ALFMultipleRevisionsFound,
    ALFWarning,
    UnknownPart,
    near_misses,
)
from one_cache.query.patterns import Pattern, listed, part_match, whole_match
from one_cache.records import QC, Dataset
from one_cache.spec import filename_parts

FileName = str | Mapping[str, Pattern | None] | Sequence[str] | None


@dataclass(frozen=True)
class Filter:
    """Which datasets of a session are meant.

    Attributes
    ----------
    filename : str, sequence of str, mapping or None
        A file name with or without wildcards, several (any may fit), or ALF parts by name
        (``{"object": "wheel", "extension": "npy"}``; an object may have its namespace with it,
        ``_ibl_wheel``, and an attribute its timescale, ``times_bpod``). A name with a ``/`` is a
        relative path, or what one ends with after a folder.
    collection, revision : str, sequence of str or None
        Patterns of the whole folder; None fits all, and only an empty text fits "none".
    qc : QC
        The worst level that passes.
    ignore_qc_not_set : bool
        Leave out datasets without QC.
    wildcards : bool
        Patterns are those of a shell (``*``, ``?``, ``[ab]``); otherwise regular expressions.
    last_revision : str or None
        Datasets of later revisions (compared as text) do not exist.
    """

    filename: FileName = None
    collection: Pattern | None = None
    revision: Pattern | None = None
    qc: QC = QC.FAIL
    ignore_qc_not_set: bool = False
    wildcards: bool = True
    last_revision: str | None = None

    def passes_qc(self, dataset: Dataset) -> bool:
        """Whether QC lets the dataset through."""
        unset = self.ignore_qc_not_set and dataset.qc is QC.NOT_SET
        return dataset.qc <= self.qc and not unset

    def named(self, datasets: Iterable[Dataset]) -> list[Dataset]:
        """Give the datasets whose names and folders fit, whatever their QC."""
        in_collection = part_match(self.collection, wildcards=self.wildcards)
        in_revision = part_match(self.revision, wildcards=self.wildcards)
        is_meant = self._name_test()
        fits = []
        for dataset in datasets:
            collection, revision = dataset.folders
            if self.last_revision is not None and revision > self.last_revision:
                continue
            if in_collection(collection) and in_revision(revision) and is_meant(dataset):
                fits.append(dataset)
        return fits

    def __call__(self, datasets: Iterable[Dataset]) -> list[Dataset]:
        """Give the datasets that fit and pass QC."""
        return [dataset for dataset in self.named(datasets) if self.passes_qc(dataset)]

    def _name_test(self) -> Callable[[Dataset], bool]:
        if self.filename is None:
            return lambda dataset: True
        if isinstance(self.filename, Mapping):
            return self._parts_test(self.filename)
        tests = []
        for name in listed(self.filename):
            fits = whole_match(name, wildcards=self.wildcards)
            tests.append((fits, "/" in str(name)))
        # a slash may also be one that an expression excludes: the name is tried all the same
        return lambda dataset: any(
            any(map(fits, _endings(dataset.rel_path))) if has_slash else fits(dataset.name)
            for fits, has_slash in tests
        )

    def _parts_test(self, parts: Mapping[str, Pattern | None]) -> Callable[[Dataset], bool]:
        known = ("namespace", "object", "attribute", "timescale", "extra", "extension")
        for name in parts:
            if name not in known:
                raise UnknownPart(
                    f"unknown part {name!r} of a file name; there are: {', '.join(known)}."
                    + near_misses(name, known)
                )
        may_lack = ("timescale", "extra")
        tests = {
            name: (part_match if name in may_lack else whole_match)(
                pattern, wildcards=self.wildcards
            )
            for name, pattern in parts.items()
            if pattern is not None
        }

        def fits(dataset: Dataset) -> bool:
            found = filename_parts(dataset.name, as_dict=True, assert_valid=False)
            if found.get("object") is None:
                return False
            return all(any(map(test, _spellings(found, name))) for name, test in tests.items())

        return fits


def _endings(path: str) -> list[str]:
    """Give a path and what it ends with after each of its folders."""
    parts = path.split("/")
    return ["/".join(parts[i:]) for i in range(len(parts))]


def _spellings(parts: Mapping[str, str | None], name: str) -> list[str]:
    """Give a part of a file name alone, and with what belongs to it."""
    part = parts[name] or ""
    if name == "object" and parts["namespace"]:
        return [part, f"_{parts['namespace']}_{part}"]
    if name == "attribute" and parts["timescale"]:
        return [part, f"{part}_{parts['timescale']}"]
    return [part]


def _unrevised(dataset: Dataset) -> str:
    collection, _ = dataset.folders
    return f"{collection}/{dataset.name}" if collection else dataset.name


def last_before(revisions: Sequence[str], revision: str | None) -> str | None:
    """Give the last of `revisions` that is not after `revision`, compared as text.

    Parameters
    ----------
    revisions : sequence of str
        Names of revisions; an empty text is the unrevised one and sorts before all others.
    revision : str or None
        None gives the last of all.

    Returns
    -------
    str or None
        None where all are later.

    Examples
    --------
    >>> last_before(["", "2024-05-06", "2024-07-10"], "2024-06-01")
    '2024-05-06'
    """
    fits = [name for name in revisions if revision is None or name <= revision]
    return max(fits, default=None)


def choose_revisions(
    datasets: Iterable[Dataset], revision: str | None = None, *, unique_default: bool = True
) -> list[Dataset]:
    """Keep one revision of each dataset.

    Parameters
    ----------
    datasets : iterable of Dataset
        Of one session.
    revision : str, optional
        The last one not after it (after the empty text nothing comes but the unrevised one);
        without it the default revision.
    unique_default : bool
        Several defaults of one dataset are an error; otherwise a warning, and the last is taken.

    Returns
    -------
    list of Dataset
        Sorted by the relative path without its revision; a dataset whose revisions are all later
        is not in it.

    Raises
    ------
    ALFMultipleRevisionsFound
        Several revisions of a dataset are marked as its default.

    Warns
    -----
    ALFWarning
        No default among several revisions, or the kept ones have different revisions.
    """
    chosen = []
    ordered = sorted(datasets, key=lambda dataset: (_unrevised(dataset), dataset.revision))
    for name, group in groupby(ordered, key=_unrevised):
        revisions = {dataset.revision: dataset for dataset in group}
        kept = _chosen_revision(name, revisions, revision, unique_default=unique_default)
        if kept is not None:
            chosen.append(revisions[kept])
    found = sorted({dataset.revision for dataset in chosen})
    if len(found) > 1:
        listed = ", ".join(f'"{name}"' for name in found)
        warnings.warn(f"Multiple revisions: {listed}", ALFWarning, stacklevel=2)
    return chosen


def _chosen_revision(
    name: str, revisions: Mapping[str, Dataset], revision: str | None, *, unique_default: bool
) -> str | None:
    if revision is not None:
        return last_before(list(revisions), revision)
    defaults = [key for key, dataset in revisions.items() if dataset.default_revision]
    if len(defaults) == 1:
        return defaults[0]
    if len(defaults) > 1 and unique_default:
        listed = ", ".join(f'"{key}"' for key in defaults)
        raise ALFMultipleRevisionsFound(
            f"{name}: several revisions are marked as the default: {listed}; "
            "name one with revision="
        )
    if len(revisions) > 1:
        warnings.warn(
            f"No default revision for dataset {name}; using most recent", ALFWarning, stacklevel=4
        )
    return last_before(list(revisions), None)


def require_one(datasets: Sequence[Dataset], asked: str) -> None:
    """Refuse datasets that are more than one, or of more than one collection.

    Raises
    ------
    ALFMultipleCollectionsFound, ALFMultipleObjectsFound
        With the candidates.
    """
    collections = sorted({dataset.collection for dataset in datasets})
    if len(collections) > 1:
        listed = ", ".join(f'"{name}"' for name in collections)
        raise ALFMultipleCollectionsFound(
            f"{asked} is in several collections: {listed}; name one with collection="
        )
    names = sorted({_unrevised(dataset) for dataset in datasets})
    if len(names) > 1:
        listed = ", ".join(f'"{name}"' for name in names)
        raise ALFMultipleObjectsFound(f"{asked} fits several datasets: {listed}; name one of them")
