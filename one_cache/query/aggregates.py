"""Files that belong to no session but to a subject, a tag, ...: what their paths say."""

from __future__ import annotations

from collections.abc import Sequence

from one_cache.query.patterns import Pattern, text_test
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


def is_exactly(identifier: str, rel_path: str) -> bool:
    """Whether an aggregate is of this identifier, or of one that ends with it.

    Examples
    --------
    >>> is_exactly("KS01", "aggregates/Subjects/lab/KS01/a.b.pqt")
    True
    >>> is_exactly("KS01", "aggregates/Subjects/lab/KS014/a.b.pqt")
    False
    """
    whole = aggregate_place(rel_path)[1].casefold()
    return f"/{whole}".endswith(f"/{identifier.casefold().strip('/')}")
