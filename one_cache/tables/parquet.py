"""Parquet files that this package, ONE-api and pandas read alike: sorted, in small row groups."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
from pyarrow import parquet

from one_cache.tables.schema import LAYOUT, MARK, QC_NAMES, layout_of

GROUP = 20_480  # rows; a session's datasets lie in one or two groups, the footer stays small
_TOGETHER = 4  # row groups that are held in memory at a time
# texts that differ in nearly every row: a dictionary of them would only be given up again
_DISTINCT = ("id", "hash")


def portions(batches: Iterable[Any], schema: Any) -> Iterator[Any]:
    """Gather the batches of a stream into tables of whole row groups.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        In order.
    schema : pyarrow.Schema
        As :func:`file_schema` gives it.

    Yields
    ------
    pyarrow.Table
        Without chunks; the last one may be smaller, and empty.
    """
    waiting: list[Any] = []
    for batch in batches:
        columns = [_in_type(*pair) for pair in zip(batch.columns, schema, strict=True)]
        waiting.append(pa.RecordBatch.from_arrays(columns, schema=schema))
        if sum(map(len, waiting)) >= _TOGETHER * GROUP:
            table = pa.Table.from_batches(waiting)
            whole = len(table) // GROUP * GROUP
            yield table.slice(0, whole).combine_chunks()
            waiting = table.slice(whole).to_batches()
    yield pa.Table.from_batches(waiting, schema).combine_chunks()


def _in_type(column: Any, field: Any) -> Any:
    if not pa.types.is_dictionary(field.type):
        return column.cast(field.type)
    # an enumeration comes as a dictionary of all its names, in their order
    codes = column.indices.cast(pa.int8())
    return pa.DictionaryArray.from_arrays(codes, column.dictionary, ordered=True)


def open_writer(path: Path, schema: Any, key: Sequence[str]) -> Any:
    """Open a Parquet file for writing.

    Parameters
    ----------
    path : pathlib.Path
        The file to make.
    schema : pyarrow.Schema
        As :func:`file_schema` gives it.
    key : sequence of str
        Columns by which the rows are sorted.

    Returns
    -------
    pyarrow.parquet.ParquetWriter
    """
    plain = [field.name for field in schema if field.name not in _DISTINCT]
    return parquet.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=plain,
        sorting_columns=_order(schema.names, key),
    )


def _order(names: Sequence[str], key: Sequence[str]) -> list[Any]:
    return [parquet.SortingColumn(list(names).index(column)) for column in key]


def is_sorted(path: Path, key: Sequence[str]) -> bool:
    """Whether a file says of its rows that they are sorted, as ours do.

    Whoever reads such a file and writes its rows anew keeps the metadata, but not this.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    key : sequence of str
        Columns by which the rows must be sorted.

    Returns
    -------
    bool
    """
    said = parquet.read_metadata(path)
    groups = [said.row_group(0)] if said.num_row_groups else []
    return all([*group.sorting_columns] == _order(said.schema.names, key) for group in groups)


def file_schema(found: Any, name: str, meta: Mapping[str, Any]) -> Any:
    """Give the schema of a file, with what it says of itself.

    Parameters
    ----------
    found : pyarrow.Schema
        Columns and types of the rows.
    name : str
        Kind of table.
    meta : mapping
        For ``one_metadata``.

    Returns
    -------
    pyarrow.Schema
    """
    fields = []
    for field in found:
        kind = field.type
        if pa.types.is_dictionary(kind):
            kind = pa.dictionary(pa.int8(), pa.string(), ordered=True)
        fields.append(pa.field(field.name, kind))
    key = layout_of(name, found.names).key
    marks = {
        "one_metadata": json.dumps(dict(meta)),
        "pandas": json.dumps(_pandas_mark(fields, key)),
        MARK: json.dumps({"layout": LAYOUT, "token": secrets.token_hex(8)}),
    }
    return pa.schema(fields, metadata=marks)


def _pandas_mark(fields: Sequence[Any], key: Sequence[str]) -> dict[str, Any]:
    """Say to pandas what the columns were: which are the index, which are categories."""
    columns = []
    for field in fields:
        kind, numpy = str(field.type), "object"
        category = pa.types.is_dictionary(field.type)
        if pa.types.is_integer(field.type) or kind == "bool":
            numpy = "UInt64" if field.name == "file_size" else kind
        elif pa.types.is_floating(field.type):
            numpy = {"double": "float64", "float": "float32"}.get(kind, kind)
        elif category:
            kind, numpy = "categorical", "int8"
        columns.append(
            {
                "name": field.name,
                "field_name": field.name,
                "pandas_type": {"string": "unicode", "date32[day]": "date"}.get(kind, kind),
                "numpy_type": numpy,
                "metadata": {"num_categories": len(QC_NAMES), "ordered": True}
                if category
                else None,
            }
        )
    return {
        "index_columns": list(key),
        "column_indexes": [],
        "columns": columns,
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
