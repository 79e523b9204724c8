"""Access tables: Parquet on disk, new records in memory, one engine for every question of them.

The tables of a folder are opened by reading what the files say of themselves, and a question
costs what its answer costs. New records are seen by every question at once; :meth:`Tables.save`
merges them into the files. The files are those of ONE-api 3, and its files are read here.

Questions come down through ``asking`` and ``shelf`` (files and new rows as one)
to ``engine`` (DuckDB) or ``rowfile`` (direct access); ``files`` and ``schema`` say how a file is
read, ``shape`` brings a large one into shape. Writing goes through ``save`` (what is merged),
``streams``, ``draft``, ``parquet`` and ``rowwriter``.
"""

from __future__ import annotations

from one_cache.tables.search import Terms
from one_cache.tables.tables import Tables

__all__ = ["Tables", "Terms"]
