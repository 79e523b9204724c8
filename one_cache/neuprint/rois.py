"""Which of its ROIs a synapse keeps, where neuprint-python takes one at random."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from one_cache.neuprint.answers import Answer

_COLUMN = "syn_info"  # a synapse with its properties, as the queries for synapses name it
_choice: ContextVar[frozenset[str] | None] = ContextVar("choice", default=None)


@contextmanager
def one_roi_each(rois: Iterable[str]) -> Iterator[None]:
    """Let each synapse that is read in a ``with`` block have one of these ROIs, the first by name.

    Parameters
    ----------
    rois : iterable of str
        Those that count; others stay as they are.
    """
    token = _choice.set(frozenset(rois))
    try:
        yield
    finally:
        _choice.reset(token)


def rows_of(answer: Answer) -> list[Any]:
    """Give the rows of an answer, with the choice of ROIs that holds now.

    Examples
    --------
    >>> answer = Answer(["syn_info"], [[{"b": True, "a": True, "type": "pre"}]])
    >>> with one_roi_each(["a", "b"]):
    ...     rows_of(answer)
    [[{'a': True, 'type': 'pre'}]]
    """
    rows, rois = list(answer.rows), _choice.get()
    if rois is None or _COLUMN not in answer.columns:
        return rows
    at = list(answer.columns).index(_COLUMN)
    for row in rows:
        for roi in sorted(rois & row[at].keys())[1:]:
            del row[at][roi]
    return rows
