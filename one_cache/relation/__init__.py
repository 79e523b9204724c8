"""Relations: the algebra of DataJoint on frames, Parquet files, access tables and any view.

DuckDB answers every question; nothing is loaded before it is asked for.
"""

from __future__ import annotations

from one_cache.relation.condition import AndList, Not, Top, know
from one_cache.relation.heading import Column, ForeignKey, Heading
from one_cache.relation.relation import Relation, Table
from one_cache.relation.source import Home, Memory, ParquetFile, Source, View
from one_cache.relation.universe import U

__all__ = [
    "AndList",
    "Column",
    "ForeignKey",
    "Heading",
    "Home",
    "Memory",
    "Not",
    "ParquetFile",
    "Relation",
    "Source",
    "Table",
    "Top",
    "U",
    "View",
    "know",
]
