"""Search terms as questions that an Alyx server can answer, and the check of its answers.

A text term means here what it means on tables: text that the field contains, or a regular
expression, upper and lower case alike, any of a list. The server has no such filter: some of
its filters want the whole text, none takes a list or an expression. So each search is two
steps. It is narrowed on the server as far as can be said there with certainty, by a literal
text that every fitting value must contain; then each record is tested here by the very rule
that tables are searched with (:func:`one_cache.query.text_test`). The first step decides how
much is brought, the second what is found.

A filter ``django`` is made only of literals of letters, digits and ``_``, ``-``, ``.``, of ISO
dates, numbers and UUIDs: the server evaluates values that look like a list, and a comma ends
one. What the caller writes into ``django=`` is passed on as it is.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from one_cache.errors import InvalidArgument
from one_cache.query import SEARCH_TERMS, read_date_range, text_test
from one_cache.records import QC
from one_cache.remotes.alyx.records import Row
from one_cache.remotes.alyx.values import as_text, listed, uuid_of

Params = dict[str, str]

SESSION_TERMS = tuple(
    sorted(
        {
            *SEARCH_TERMS,
            *("atlas_acronym", "atlas_id", "atlas_name", "dataset_types", "django"),
            *("extended_qc", "histology", "json", "location", "nickname", "performance_gte"),
            *("performance_lte", "procedures", "project", "qc", "tag", "users", "wildcards"),
        }
    )
)
"""What sessions are searched by: the terms that tables know, and what only a server answers."""

INSERTION_TERMS = tuple(
    sorted(
        {
            *SEARCH_TERMS,
            *("atlas_acronym", "atlas_id", "atlas_name", "dataset", "dataset_types", "django"),
            *("eid", "model", "name", "project", "serial", "session", "tag", "wildcards"),
        }
    )
)
"""What insertions are searched by."""

# other names of theirs on the server; what they ask is the same
_SAME = {"project": "projects", "nickname": "subject", "session": "eid"}
# terms of which the server takes several at once, and what it then means is its own
_JOINED = ("dataset_types", "users", "extended_qc", "json", "django", "datasets")
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_WORDS = ("none", "true", "false")  # the server takes these for values of Python
_MOST_REQUESTS = 12
_FIRST, _LAST = dt.date(1900, 1, 1), dt.date(2999, 12, 31)


@dataclass(frozen=True)
class Endpoint:
    """How one endpoint is asked.

    Attributes
    ----------
    path : str
        Its list.
    contains : mapping of str to str
        For each text term the filter that finds values containing a text: the name of one, or
        the lookup of ``django`` after a colon.
    number : str
        Filter of the session's number.
    date_range : str
        Filter of a range of days; empty where there is none but ``django``.
    """

    path: str
    contains: Mapping[str, str]
    number: str
    date_range: str = ""


SESSIONS = Endpoint(
    "/sessions",
    {
        "subject": ":subject__nickname__icontains",
        "lab": ":lab__name__icontains",
        "task_protocol": "task_protocol",
        "projects": "projects",
    },
    number="number",
    date_range="date_range",
)
INSERTIONS = Endpoint(
    "/insertions",
    {
        "subject": ":session__subject__nickname__icontains",
        "lab": ":session__lab__name__icontains",
        "task_protocol": "task_protocol",
        "projects": "project",
    },
    number="experiment_number",
)


@dataclass(frozen=True)
class Clause:
    """What one term asks of the server, and what it says about a row.

    Attributes
    ----------
    choice : tuple of dict
        Filters, any of which may hold; empty where the server cannot be asked.
    test : callable, optional
        Whether the row of a session fits; None where only the server knows.
    """

    choice: tuple[Params, ...] = ()
    test: Callable[[Row], bool] | None = None


@dataclass(frozen=True)
class NameTest:
    """An expression that file names must match.

    Attributes
    ----------
    fits : callable
        Whether a name does.
    params : dict
        A filter of datasets that those which fit pass.
    """

    fits: Callable[[str], Any]
    params: Params


@dataclass(frozen=True)
class Plan:
    """What to ask the server, and what to test here.

    Attributes
    ----------
    requests : tuple of dict
        Filters; a session that fits is in the answer to at least one.
    tests : tuple of callable
        Each must hold for the row of a session.
    names : tuple of NameTest
        Tests of file names that the server cannot make: the session must have a dataset for
        each.
    qc : QC
        The worst QC of those datasets.
    """

    requests: tuple[Params, ...]
    tests: tuple[Callable[[Row], bool], ...]
    names: tuple[NameTest, ...] = ()
    qc: QC = QC.FAIL

    def fits(self, row: Row) -> bool:
        """Whether all tests hold for the row of a session."""
        return all(test(row) for test in self.tests)


def plan(endpoint: Endpoint, terms: Mapping[str, Any]) -> Plan:
    """Give the requests for a search and the tests of their records.

    Parameters
    ----------
    endpoint : Endpoint
        Whom to ask.
    terms : mapping
        Full names of search terms and values; ``wildcards`` among them says whether texts are
        regular expressions (they are when it is absent).

    Returns
    -------
    Plan

    Raises
    ------
    InvalidArgument
        A value that the term does not take.

    Examples
    --------
    >>> for request in plan(SESSIONS, {"subject": ["KS0", "ZFM"], "number": 1}).requests:
    ...     print(request)
    {'number': '1', 'django': 'subject__nickname__icontains,KS0'}
    {'number': '1', 'django': 'subject__nickname__icontains,ZFM'}
    """
    given = {_SAME.get(name, name): value for name, value in terms.items() if value is not None}
    wildcards = bool(given.pop("wildcards", True))
    level = given.get("dataset_qc_lte")
    patterns, names = _split_names(given.pop("datasets", ()), wildcards=wildcards)
    if names:
        given["datasets"] = names
    clauses = [
        _clause(endpoint, term, value, wildcards=wildcards) for term, value in given.items()
    ]
    return Plan(
        _requests([clause for clause in clauses if clause.choice]),
        tuple(clause.test for clause in clauses if clause.test is not None),
        tuple(_name_test(pattern) for pattern in patterns),
        QC.FAIL if level is None else QC.read(level),
    )


def _requests(clauses: Sequence[Clause]) -> tuple[Params, ...]:
    """Combine the choices; where that makes too many, rows are tested instead."""
    kept = sorted(clauses, key=lambda clause: (clause.test is not None, len(clause.choice)))
    while prod(len(clause.choice) for clause in kept) > _MOST_REQUESTS and kept[-1].test:
        kept.pop()
    return tuple(_merged(picks) for picks in product(*(clause.choice for clause in kept)))


def _merged(picks: Sequence[Params]) -> Params:
    django = ",".join(pick["django"] for pick in picks if "django" in pick)
    merged = {name: value for pick in picks for name, value in pick.items() if name != "django"}
    return {**merged, "django": django} if django else merged


def _clause(endpoint: Endpoint, term: str, value: Any, *, wildcards: bool) -> Clause:
    if term in endpoint.contains:
        return _text(endpoint.contains[term], term, value, wildcards=wildcards)
    if term == "number":
        return _number(endpoint.number, value)
    if term == "date_range":
        return _dates(endpoint, value)
    if term == "dataset_qc_lte":
        return Clause(({term: QC.read(value).name},))
    if term == "eid":
        eids = [uuid_of(one) for one in listed(value)]
        return Clause(tuple({"session": eid} for eid in eids))
    if term == "dataset":
        return _dataset(value)
    if term in _JOINED:
        return Clause(({term: as_text(value)},))
    return Clause(tuple({term: as_text(one)} for one in listed(value)))


def _text(lookup: str, term: str, value: Any, *, wildcards: bool) -> Clause:
    fits = text_test(value, wildcards=wildcards)
    literals = [literal_in(str(one), wildcards=wildcards) for one in listed(value)]
    found = [text for text in dict.fromkeys(literals) if text is not None]
    name, _, field = lookup.partition(":")
    return Clause(
        # one that cannot be narrowed would miss what the others do not find
        tuple({name: text} if name else {"django": f"{field},{text}"} for text in found)
        if None not in literals
        else (),
        lambda row: fits(row[term]),
    )


def _number(name: str, value: Any) -> Clause:
    try:
        numbers = {int(one) for one in listed(value)}
    except (TypeError, ValueError):
        raise InvalidArgument(f"number takes whole numbers, got {value!r}") from None
    return Clause(
        tuple({name: str(one)} for one in sorted(numbers)), lambda row: row["number"] in numbers
    )


def _dates(endpoint: Endpoint, value: Any) -> Clause:
    first, last = (
        day or limit for day, limit in zip(read_date_range(value), (_FIRST, _LAST), strict=True)
    )
    if endpoint.date_range:
        asked = {endpoint.date_range: f"{first},{last}"}
    else:
        day = "session__start_time__date"
        asked = {"django": f"{day}__gte,{first},{day}__lte,{last}"}
    return Clause((asked,), lambda row: row["date"] is not None and first <= row["date"] <= last)


def _dataset(value: Any) -> Clause:
    """Ask for insertions with a dataset whose name contains a text."""
    texts = listed(value)
    for text in texts:
        if not _SAFE.fullmatch(str(text)):
            raise InvalidArgument(
                f"dataset takes a part of a file name, of letters, digits, _ . -, got {text!r}"
            )
    return Clause(tuple({"django": f"datasets__name__icontains,{text}"} for text in texts))


def _name_test(pattern: str) -> NameTest:
    try:
        fits = re.compile(pattern).fullmatch
    except re.error as error:
        raise InvalidArgument(f"{pattern!r} is not a regular expression ({error})") from None
    part = literal_in(pattern, wildcards=True)
    return NameTest(fits, {"django": f"name__icontains,{part}"} if part else {})


def _split_names(value: Any, *, wildcards: bool) -> tuple[list[str], list[str]]:
    """Tell the file names that only Python can match from those that the server knows whole.

    A dot stands for itself: no two files of a session differ in what stands in its place.
    """
    plain, patterns = [], []
    for one in map(str, listed(value)):
        name = re.sub(r"\\(\W)", r"\1", one) if wildcards else one
        if _SAFE.fullmatch(name) or not wildcards:
            plain.append(name)
        else:
            patterns.append(one)
    return patterns, plain


def literal_in(pattern: str, *, wildcards: bool) -> str | None:
    r"""Give a text that every value that `pattern` finds must contain, safe to be sent.

    Parameters
    ----------
    pattern : str
        A regular expression where `wildcards`, else plain text.
    wildcards : bool
        Which of the two.

    Returns
    -------
    str or None
        The longest one that is certain; None where there is none.

    Examples
    --------
    >>> literal_in("KS0", wildcards=True), literal_in("^FD_04$", wildcards=True)
    ('KS0', 'FD_04')
    >>> literal_in("ephys.*World6?", wildcards=True), literal_in("a|b", wildcards=True)
    ('ephys', None)
    >>> literal_in(r"spikes\.times\.\w+", wildcards=True)
    'spikes.times.'
    """
    runs = _literals(pattern) if wildcards else [pattern]
    parts = (part for run in runs for part in _SAFE.findall(run))
    return max(filter(_is_safe, parts), key=len, default=None)


def _literals(pattern: str) -> list[str]:
    """Give the runs of characters that every match of an expression has, one after the other."""
    tokens = re.findall(r"\\.|.", pattern, re.DOTALL)
    if set("|()[]{}") & set(tokens):
        return []
    runs = [""]
    for token, following in zip(tokens, [*tokens[1:], ""], strict=False):
        escaped = token[0] == "\\" and not token[1:].isalnum()
        # what stands before * or ? may be absent
        if (escaped or token[0] not in "\\.^$+*?") and following not in ("*", "?"):
            runs[-1] += token[-1]
        else:
            runs.append("")
    return runs


def _is_safe(text: str) -> bool:
    """Whether the server takes a text for that text, and for nothing of Python."""
    if not _SAFE.fullmatch(text) or text.lower() in _WORDS:
        return False
    try:
        float(text)
    except ValueError:
        return True
    # as a number it is written again: 014 and 1e5 would come out as other texts
    return text.isdigit() and not text.startswith("0")
