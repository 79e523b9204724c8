"""Which sessions are meant: the names of search terms, their values, the search."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from one_cache.errors import (
    AmbiguousSearchTerm,
    InvalidArgument,
    InvalidDate,
    UnknownSearchTerm,
    near_misses,
)
from one_cache.query.patterns import expression, listed, text_test
from one_cache.records import QC, Session

if TYPE_CHECKING:
    from one_cache.tables import Tables, Terms

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


def _numbers(value: Any) -> list[int]:
    try:
        return [int(item) for item in listed(value)]
    except (TypeError, ValueError):
        raise InvalidArgument(f"number takes whole numbers, got {value!r}") from None


def _session_terms(tables: Tables, terms: Mapping[str, Any], *, wildcards: bool) -> Terms:
    """Give what the sessions themselves must be, patterns resolved into the values that fit."""
    from one_cache.tables import Terms

    texts = {}
    for term in _TEXT_TERMS:
        if terms.get(term) is not None:
            fits = text_test(terms[term], wildcards=wildcards)
            texts[term] = [
                text for text in tables.distinct("sessions", term) if text and fits(text)
            ]
            if fits(""):
                texts[term].append("")
    numbers = None if terms.get("number") is None else _numbers(terms["number"])
    first, last = read_date_range(terms.get("date_range"))
    return Terms(texts, numbers, first, last)


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
    wanted = _session_terms(tables, terms, wildcards=wildcards)
    if terms.get("datasets") is None and terms.get("dataset_qc_lte") is None:
        return tables.find_sessions(wanted)
    level = terms.get("dataset_qc_lte")
    requirements = _dataset_names(tables, terms.get("datasets"), wildcards=wildcards)
    return tables.find_sessions(wanted, requirements, QC.FAIL if level is None else QC.read(level))


def _dataset_names(tables: Tables, value: Any, *, wildcards: bool) -> list[list[str]]:
    """Give, for each name asked for, the file names that fit it."""
    if value is None:
        return []
    names = tables.dataset_names()
    tests = [
        expression(pattern).fullmatch if wildcards else str(pattern).__eq__
        for pattern in listed(value)
    ]
    return [[name for name in names if fits(name)] for fits in tests]
