"""Parquet files that this package, ONE-api and pandas read alike: sorted, in small row groups."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.tables.schema import LAYOUT, QC_NAMES, layout_of, literal, quoted

if TYPE_CHECKING:
    import duckdb

MARK = "one_cache"
"""Key of the file's metadata that says: written by this package, sorted, in small groups."""

GROUP = 20_480  # rows; a session's datasets lie in one or two groups, the footer stays small
_TOGETHER = 8  # row groups that are held in memory at a time
# texts that differ in nearly every row: a dictionary of them would only be given up again
_DISTINCT = ("id", "hash")


def write_parquet(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    path: Path,
    name: str,
    meta: Mapping[str, Any],
) -> None:
    """Write the rows of a question as a table, as a stream.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Asks.
    sql : str
        The rows, in any order.
    path : pathlib.Path
        The file to make.
    name : str
        Kind of table.
    meta : mapping
        For ``one_metadata``.
    """
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
    from pyarrow import parquet

    relation = connection.sql(_in_form(connection, sql, name))
    with pa.RecordBatchReader.from_stream(relation) as reader:
        schema = _schema(reader.schema, name, meta)
        plain = [field.name for field in schema if field.name not in _DISTINCT]
        with parquet.ParquetWriter(
            path, schema, compression="zstd", compression_level=1, use_dictionary=plain
        ) as writer:
            for table in _portions(reader, schema):
                writer.write_table(table, row_group_size=GROUP)


def _in_form(connection: duckdb.DuckDBPyConnection, sql: str, name: str) -> str:
    """Give SQL for the rows in the types of their layout, sorted by key."""
    found = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {sql}").fetchall()}
    layout = layout_of(name, list(found))
    kinds = {column: layout.columns.get(column, kind) for column, kind in found.items()}
    if "qc" in layout.columns:
        kinds["qc"] = f"ENUM ({', '.join(map(literal, QC_NAMES))})"
    items = ", ".join(f"{quoted(one)}::{kind} AS {quoted(one)}" for one, kind in kinds.items())
    order = ", ".join(quoted(column) for column in layout.key)
    return f"SELECT {items} FROM ({sql})" + (f" ORDER BY {order}" if order else "")


def _portions(reader: Any, schema: Any) -> Iterator[Any]:
    """Gather the batches of a stream into tables of whole row groups."""
    import pyarrow as pa

    waiting: list[Any] = []
    for batch in reader:
        columns = [
            # an enumeration comes as a dictionary of all its names, in their order
            pa.DictionaryArray.from_arrays(
                column.indices.cast(pa.int8()), column.dictionary, ordered=True
            )
            if pa.types.is_dictionary(field.type)
            else column.cast(field.type)
            for column, field in zip(batch.columns, schema, strict=True)
        ]
        waiting.append(pa.RecordBatch.from_arrays(columns, schema=schema))
        if sum(map(len, waiting)) >= _TOGETHER * GROUP:
            table = pa.Table.from_batches(waiting)
            whole = len(table) // GROUP * GROUP
            yield table.slice(0, whole).combine_chunks()
            waiting = table.slice(whole).to_batches()
    yield pa.Table.from_batches(waiting, schema).combine_chunks()


def _schema(found: Any, name: str, meta: Mapping[str, Any]) -> Any:
    """Give the Arrow schema of the file, with what it says of itself."""
    import pyarrow as pa

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
    import pyarrow as pa

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
