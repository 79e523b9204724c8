"""Tables whose bytes follow from their rows alone, for what is compared and archived."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

from one_cache.records import Dataset, Session
from one_cache.tables.engine import connect, explained
from one_cache.tables.files import SUFFIX
from one_cache.tables.memory import as_arrow, read_row
from one_cache.tables.parquet import GROUP, file_schema, open_writer, portions
from one_cache.tables.schema import LAYOUT, MARK, layout_of, quoted
from one_cache.tables.shape import kinds_of
from one_cache.tables.streams import in_form


def write_exact(
    folder: Path,
    name: str,
    records: Sequence[Session | Dataset | Mapping[str, Any]] | pa.Table,
    meta: Mapping[str, Any],
) -> Path:
    """Write a new table: the same records give the same bytes, under one version of pyarrow.

    Parameters
    ----------
    folder : pathlib.Path
        Where; it exists, and nobody reads in it yet.
    name : str
        Kind of table.
    records : sequence of Session, Dataset or mapping, or pyarrow.Table
        At least one, in any order.
    meta : mapping
        What the table says of itself, dates included.

    Returns
    -------
    pathlib.Path
        The file.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> rows = [Session("b", subject="KS"), Session("a", subject="KS")]
    >>> with TemporaryDirectory() as folder:
    ...     first = write_exact(Path(folder), "sessions", rows, {}).read_bytes()
    ...     first == write_exact(Path(folder), "sessions", rows[::-1], {}).read_bytes()
    True
    """
    arrow = _as_arrow(name, records)
    path = folder / f"{name}{SUFFIX}"
    connection = connect()
    try:
        with explained(f"{path}: cannot be written"):
            connection.register("source", arrow)
            described = connection.execute("DESCRIBE source").fetchall()
            kinds = kinds_of(name, {row[0]: row[1] for row in described})
            # a column that only some records have stands where the first of them put it
            first = list(layout_of(name, list(kinds)).columns)
            kinds = {column: kinds[column] for column in [*first, *sorted({*kinds} - {*first})]}
            columns = {column: quoted(column) for column in arrow.schema.names}
            key = layout_of(name, list(kinds)).key
            batches = in_form(connection, columns, kinds, key)
            schema = _schema(batches.schema, name, meta)
            with open_writer(path, schema, key) as file:
                for portion in portions(batches, schema):
                    file.write_table(portion, row_group_size=GROUP)
    finally:
        connection.close()
    return path


def _as_arrow(name: str, records: Any) -> pa.Table:
    if isinstance(records, pa.Table):
        return records
    return as_arrow(name, [read_row(name, record) for record in records])


def _schema(found: pa.Schema, name: str, meta: Mapping[str, Any]) -> pa.Schema:
    schema = file_schema(found, name, meta)
    # the usual mark tells two writings apart, which are to be the same here
    mark = json.dumps({"layout": LAYOUT}).encode()
    return schema.with_metadata({**schema.metadata, MARK.encode(): mark})
