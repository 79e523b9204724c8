"""Files that belong to no session but to a subject, a tag, ...: what their paths say."""

from __future__ import annotations

import re
from collections.abc import Sequence

from one_cache.query.patterns import Pattern, expression, text_test
from one_cache.records import Dataset


def aggregate_place(rel_path: str) -> tuple[str, str]:
    """Give the relation and identifier of an aggregate.

    Parameters
    ----------
    rel_path : str
        ``aggregates/<relation>/<identifier>/[#revision#/]<name>``.

    Returns
    -------
    relation : str
        What was aggregated over, lower case; empty where the path does not say.
    identifier : str
        Which one; may have several parts.

    Examples
    --------
    >>> aggregate_place("aggregates/Subjects/cortexlab/KS014/_ibl_subjectTrials.table.pqt")
    ('subjects', 'cortexlab/KS014')
    >>> aggregate_place("aggregates/notes.txt")
    ('', '')
    """
    relation, *parts = [*rel_path.split("/")[1:-1], ""]
    return relation.casefold(), "/".join(
        part for part in parts if part and not part.startswith("#")
    )


def choose_aggregates(
    datasets: Sequence[Dataset],
    relation: str,
    identifier: Pattern | None = None,
    *,
    wildcards: bool = True,
) -> list[Dataset]:
    """Keep the aggregates over a relation whose identifier contains a text.

    Parameters
    ----------
    datasets : sequence of Dataset
        Without a session.
    relation : str
        Upper and lower case alike.
    identifier : str or sequence of str, optional
        Part of it, as a search term is.
    wildcards : bool
        Whether `identifier` is a regular expression.

    Returns
    -------
    list of Dataset
    """
    fits = text_test("" if identifier is None else identifier, wildcards=wildcards)
    places = [(one, aggregate_place(one.rel_path)) for one in datasets]
    return [one for one, (over, which) in places if over == relation.casefold() and fits(which)]


def is_exactly(identifier: str, rel_path: str, *, wildcards: bool = True) -> bool:
    """Whether an aggregate is of this identifier, whole or without its first parts.

    Parameters
    ----------
    identifier : str
        ``"KS014"`` or ``"cortexlab/KS014"``.
    rel_path : str
        Path of the aggregate.
    wildcards : bool
        Whether `identifier` is a regular expression.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_exactly("KS01", "aggregates/Subjects/lab/KS01/a.b.pqt")
    True
    >>> is_exactly("KS01", "aggregates/Subjects/lab/KS014/a.b.pqt")
    False
    """
    parts = aggregate_place(rel_path)[1].split("/")
    tails = ["/".join(parts[start:]) for start in range(len(parts))]
    asked = identifier.strip("/")
    pattern = expression(asked if wildcards else re.escape(asked), re.IGNORECASE)
    return any(pattern.fullmatch(tail) for tail in tails)
