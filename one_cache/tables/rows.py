"""Rows of a question, and the records that they become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from one_cache.records import QC, Dataset, Session
from one_cache.tables.schema import LAYOUTS, QC_NAMES

_SESSION, _DATASET = list(LAYOUTS["sessions"].columns), list(LAYOUTS["datasets"].columns)
_LEVELS = {name: QC[name] for name in QC_NAMES}


def named(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Name the values of rows.

    Examples
    --------
    >>> named(["a", "b"], [(1, 2)])
    [{'a': 1, 'b': 2}]
    """
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _further(row: Mapping[str, Any], known: Sequence[str]) -> dict[str, Any]:
    if len(row) == len(known):
        return {}
    return {column: value for column, value in row.items() if column not in known}


def session_of(row: Mapping[str, Any]) -> Session:
    """Give the session that a row of the table describes."""
    return Session(
        row["id"],
        row["lab"],
        row["subject"],
        row["date"],
        row["number"],
        row["task_protocol"],
        row["projects"],
        _further(row, _SESSION),
    )


def dataset_of(row: Mapping[str, Any]) -> Dataset:
    """Give the dataset that a row of the table describes."""
    qc = row["qc"]
    return Dataset(
        row["id"],
        row["eid"],
        row["rel_path"],
        row["file_size"],
        row["hash"] or None,
        row["exists"],
        _LEVELS[qc] if qc in _LEVELS else QC.read(qc),
        row["default_revision"],
        _further(row, _DATASET),
    )
