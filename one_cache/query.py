"""Which rows are meant: search terms, dataset names, collections, revisions, quality.

Two halves. :func:`search` and :func:`find_datasets` ask whole tables; :class:`Filter` and
:func:`choose_revisions` work on the datasets of one session, a short list, in plain Python.
A regular expression is always Python's: it is tried on the distinct values of a column (few),
and the tables are then asked for the values that fit (fast), so an expression means the same
at every size and in every mode.

The names and their meaning are those of ONE-api 3: search terms hold when the text contains
the value, lists are ORed except for ``datasets``, and all terms must hold.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from one_cache.errors import (
    ALFMultipleCollectionsFound,
    ALFMultipleObjectsFound,
    ALFMultipleRevisionsFound,
    ALFWarning,
    AmbiguousSearchTerm,
    InvalidArgument,
    InvalidDate,
    UnknownSearchTerm,
    near_misses,
)
from one_cache.records import QC, Dataset, Session
from one_cache.spec import filename_parts

if TYPE_CHECKING:
    from one_cache.tables import Tables

SEARCH_TERMS = (
    "dataset_qc_lte",
    "datasets",
    "date_range",
    "lab",
    "number",
    "projects",
    "subject",
    "task_protocol",
)
# names that are whole in other releases of ONE-api, or that its documentation uses
_ALIASES = {"laboratory": "lab", "dataset": "datasets", "date": "date_range"}
_TEXT_TERMS = ("lab", "projects", "subject", "task_protocol")

Pattern = str | Sequence[str]
FileName = str | Mapping[str, Pattern | None] | Sequence[str] | None


def complete_term(term: str, known: Sequence[str] = SEARCH_TERMS) -> str:
    """Give the full name of a search term from an unambiguous beginning of it.

    Parameters
    ----------
    term : str
        For instance ``"subj"`` or ``"task"``.
    known : sequence of str
        The names there are.

    Returns
    -------
    str

    Raises
    ------
    UnknownSearchTerm
        None begins so; the message has the nearest ones.
    AmbiguousSearchTerm
        Several begin so.

    Examples
    --------
    >>> complete_term("subj"), complete_term("dataset")
    ('subject', 'datasets')
    """
    key = term.casefold()
    if key in known:
        return key
    if key in _ALIASES and _ALIASES[key] in known:
        return _ALIASES[key]
    names = {**{name: name for name in known}, **_ALIASES}
    fits = sorted({full for name, full in names.items() if name.startswith(key)} & set(known))
    if len(fits) > 1:
        raise AmbiguousSearchTerm(f"search term {term!r} is ambiguous: {', '.join(fits)}")
    if not fits:
        raise UnknownSearchTerm(
            f"unknown search term {term!r}; there are: {', '.join(known)}."
            + near_misses(key, names)
        )
    return fits[0]


def complete_terms(
    terms: Mapping[str, Any], known: Sequence[str] = SEARCH_TERMS
) -> dict[str, Any]:
    """Give the full names of all terms of a search; see :func:`complete_term`.

    Raises
    ------
    InvalidArgument
        Two of the names mean the same term.
    """
    full: dict[str, Any] = {}
    for term, value in terms.items():
        name = complete_term(term, known)
        if name in full:
            raise InvalidArgument(f"search term {name!r} is given twice")
        full[name] = value
    return full


def read_date(value: Any) -> dt.date | None:
    """Read a date from text, ``date``, ``datetime``, pandas or numpy; None stays None.

    Raises
    ------
    InvalidDate
        The value is no date.

    Examples
    --------
    >>> read_date("2023-03-10T11:23:45")
    datetime.date(2023, 3, 10)
    """
    if value is None:
        return None
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, dt.date):
        return value
    # numpy.datetime64 and pandas.Timestamp write themselves in ISO form
    text = str(value).strip()
    try:
        # Python 3.11 reads more forms of a date than 3.10
        if not re.match(r"\d{4}-\d{2}-\d{2}(?!\d)", text):
            raise ValueError(text)
        return dt.date.fromisoformat(text[:10])
    except ValueError:
        raise InvalidDate(
            f"{value!r} is not a date; expected ISO form, for instance '2024-04-01'"
        ) from None


def read_date_range(value: Any) -> tuple[dt.date | None, dt.date | None]:
    """Read what ``date_range`` accepts: one day, or a first and a last day (None is open).

    Parameters
    ----------
    value : date-like, or sequence of one or two date-like
        One value is that day; ``[first]`` and ``[first, None]`` are open to the future.

    Returns
    -------
    tuple of (datetime.date or None, datetime.date or None)
        First and last day, both included.

    Raises
    ------
    InvalidDate
        Not a date, more than two, or the last before the first.

    Examples
    --------
    >>> read_date_range(["2023-01-01", None])
    (datetime.date(2023, 1, 1), None)
    """
    if value is None:
        return None, None
    if isinstance(value, str) or not isinstance(value, Iterable):
        day = read_date(value)
        return day, day
    days = [read_date(day) for day in value]
    if len(days) == 1:
        days.append(None)
    if len(days) != 2:
        raise InvalidDate(f"date_range takes one day or a first and a last one, got {value!r}")
    first, last = days
    if first and last and last < first:
        raise InvalidDate(f"date_range ends ({last}) before it begins ({first})")
    return first, last


def _listed(value: Any) -> list[Any]:
    """One value or several, as a list."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        return [value]
    return list(value)


def _expression(pattern: Any, flags: int = 0) -> re.Pattern[str]:
    try:
        return re.compile(str(pattern), flags)
    except re.error as error:
        raise InvalidArgument(
            f"{pattern!r} is not a regular expression ({error}); escape it with re.escape, or "
            "set wildcards=False to search plain text"
        ) from None


def text_test(value: Any, *, wildcards: bool) -> Callable[[str], bool]:
    """Give the test of a text term: whether a value contains any of the patterns.

    Upper and lower case are the same, as on an Alyx server, so that a script finds the same
    sessions in every mode.

    Parameters
    ----------
    value : str or sequence of str
        Patterns, any of which may fit.
    wildcards : bool
        Regular expressions; otherwise plain text.
    """
    if wildcards:
        found = [_expression(item, re.IGNORECASE).search for item in _listed(value)]
        return lambda text: any(search(text) for search in found)
    plain = [str(item).casefold() for item in _listed(value)]
    return lambda text: any(item in text.casefold() for item in plain)


def _numbers(value: Any) -> list[int]:
    try:
        return [int(item) for item in _listed(value)]
    except (TypeError, ValueError):
        raise InvalidArgument(f"number takes whole numbers, got {value!r}") from None


def _session_conditions(
    tables: Tables, terms: Mapping[str, Any], *, wildcards: bool
) -> tuple[list[str], list[Any]]:
    """Give SQL conditions on the sessions table, with their parameters."""
    where: list[str] = []
    values: list[Any] = []
    for term in _TEXT_TERMS:
        if terms.get(term) is not None:
            fits = text_test(terms[term], wildcards=wildcards)
            known = tables.distinct("sessions", term)
            where.append(f"list_contains(?, {term})")
            values.append([text for text in known if text is not None and fits(text)])
    if terms.get("number") is not None:
        where.append("list_contains(?, number::BIGINT)")
        values.append(_numbers(terms["number"]))
    first, last = read_date_range(terms.get("date_range"))
    for day, operator in ((first, ">="), (last, "<=")):
        if day is not None:
            where.append(f"date {operator} ?")
            values.append(day)
    return where, values


def search(tables: Tables, terms: Mapping[str, Any], *, wildcards: bool = True) -> list[Session]:
    """Find the sessions for which all terms hold, newest first.

    Parameters
    ----------
    tables : Tables
        Where to look.
    terms : mapping
        Full names (see :func:`complete_terms`) and values; None means that the term is not set.
    wildcards : bool
        Whether texts are regular expressions.

    Returns
    -------
    list of Session
        Sorted by date, subject and number, all descending.

    Raises
    ------
    InvalidArgument
        A value that the term does not take.

    Notes
    -----
    ``datasets`` holds when the session has, for each name, a dataset of that whole file name
    that exists on a server with QC at most ``dataset_qc_lte`` (FAIL when not given).
    ``dataset_qc_lte`` alone holds when any of the session's datasets is that good.
    """
    where, values = _session_conditions(tables, terms, wildcards=wildcards)
    eids = None
    if terms.get("datasets") is not None or terms.get("dataset_qc_lte") is not None:
        eids = _eids_with_datasets(tables, terms, where, values, wildcards=wildcards)
        if not eids:
            return []
        where = [*where, "list_contains(?, id)"]
        values = [*values, eids]
    clause = f" WHERE {' AND '.join(where)}" if where else ""
    rows = tables.rows(
        f"SELECT id FROM sessions{clause} "
        "ORDER BY date DESC NULLS LAST, subject DESC NULLS LAST, number DESC NULLS LAST, id",
        values,
    )
    return tables.sessions([row["id"] for row in rows])


def _eids_with_datasets(
    tables: Tables,
    terms: Mapping[str, Any],
    where: list[str],
    values: list[Any],
    *,
    wildcards: bool,
) -> list[str]:
    level = terms.get("dataset_qc_lte")
    qc = QC.FAIL if level is None else QC.read(level)
    requirements: list[list[str]] = []
    if terms.get("datasets") is not None:
        names = tables.dataset_names()
        for pattern in _listed(terms["datasets"]):
            fits = _expression(pattern).fullmatch if wildcards else str(pattern).__eq__
            requirements.append([name for name in names if fits(name)])
        if not all(requirements):
            return []
    eids = None
    if where:
        clause = " AND ".join(where)
        rows = tables.rows(f"SELECT id FROM sessions WHERE {clause}", values)
        eids = [row["id"] for row in rows]
    return tables.sessions_with(requirements, qc, eids)


def _whole_match(pattern: Pattern | None, *, wildcards: bool) -> Callable[[str], bool]:
    """Test of a whole text: None fits anything, a list is ORed."""
    if pattern is None:
        return lambda text: True
    texts = [str(item) for item in _listed(pattern)]
    if wildcards:
        texts = [fnmatch.translate(text) for text in texts]
    tests = [_expression(text).fullmatch for text in texts]
    return lambda text: any(test(text) for test in tests)


def _part_match(pattern: Pattern | None, *, wildcards: bool) -> Callable[[str], bool]:
    """Test of a part that may be absent: only the empty text fits absence, ``*`` does not."""
    if pattern is None:
        return lambda text: True
    fits = _whole_match(pattern, wildcards=wildcards)
    fits_absence = "" in _listed(pattern)
    return lambda text: fits(text) if text else fits_absence


@dataclass(frozen=True)
class Filter:
    """Which datasets of a session are meant.

    Attributes
    ----------
    filename : str, sequence of str, mapping or None
        A file name with or without wildcards, several (any may fit), or ALF parts by name
        (``{"object": "wheel", "extension": "npy"}``). A name with a ``/`` is a whole relative
        path.
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
        in_collection = _part_match(self.collection, wildcards=self.wildcards)
        in_revision = _part_match(self.revision, wildcards=self.wildcards)
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
        for name in _listed(self.filename):
            fits = _whole_match(name, wildcards=self.wildcards)
            tests.append((fits, "/" in str(name)))
        return lambda dataset: any(
            fits(dataset.rel_path if is_path else dataset.name) for fits, is_path in tests
        )

    def _parts_test(self, parts: Mapping[str, Pattern | None]) -> Callable[[Dataset], bool]:
        known = ("namespace", "object", "attribute", "timescale", "extra", "extension")
        for name in parts:
            if name not in known:
                raise InvalidArgument(
                    f"unknown part {name!r} of a file name; there are: {', '.join(known)}."
                    + near_misses(name, known)
                )
        may_lack = ("timescale", "extra")
        tests = {
            name: (_part_match if name in may_lack else _whole_match)(
                pattern, wildcards=self.wildcards
            )
            for name, pattern in parts.items()
            if pattern is not None
        }

        def fits(dataset: Dataset) -> bool:
            found = filename_parts(dataset.name, as_dict=True, assert_valid=False)
            if found.get("object") is None:
                return False
            return all(test(found[name] or "") for name, test in tests.items())

        return fits


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
