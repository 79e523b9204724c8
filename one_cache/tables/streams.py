"""Rows of tables as sorted streams of Arrow batches, and the merging of two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
from pyarrow import compute, parquet

from one_cache.tables.schema import parquet_source, quoted

if TYPE_CHECKING:
    import duckdb

BATCH = 65_536  # rows
_BUFFER = 1 << 20  # bytes read ahead of each column


def register_file(
    connection: duckdb.DuckDBPyConnection, path: Path, seen: Callable[[int], None]
) -> None:
    """Let a connection read a Parquet file as ``source``, however large its row groups are.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Of this stream alone.
    path : pathlib.Path
        The file.
    seen : callable
        Told the number of rows of each batch that is read.
    """
    # DuckDB would hold whole row groups, and a foreign table may be a single one
    file = parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)

    def batches() -> Iterator[Any]:
        for batch in file.iter_batches(batch_size=BATCH, use_threads=False):
            yield batch
            seen(len(batch))

    if any(map(_is_other_in_arrow, file.schema_arrow.types)):
        connection.execute(f"CREATE TEMP VIEW source AS SELECT * FROM {parquet_source(path)}")
    else:
        stream = pa.RecordBatchReader.from_batches(file.schema_arrow, batches())
        connection.register("source", stream)


def _is_other_in_arrow(kind: Any) -> bool:
    """Whether Arrow would hand a column over in another type than DuckDB reads: ids as bytes."""
    tests = (pa.types.is_fixed_size_binary, pa.types.is_duration, pa.types.is_float16)
    return any(test(kind) for test in tests)


def in_form(
    connection: duckdb.DuckDBPyConnection,
    columns: Mapping[str, str],
    kinds: Mapping[str, str],
    order: Sequence[str],
) -> Any:
    """Bring the rows of ``source`` into the types of a table.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Of this stream alone.
    columns : mapping of str to str
        Column and the SQL that reads it.
    kinds : mapping of str to str
        Column of the result and its SQL type; what `columns` lacks is null.
    order : sequence of str
        Columns to sort by; none when the rows are sorted.

    Returns
    -------
    pyarrow.RecordBatchReader
    """
    items = ", ".join(
        f"CAST({columns.get(name, 'NULL')} AS {kind}) AS {quoted(name)}"
        for name, kind in kinds.items()
    )
    # ids are compared as text throughout, as the merge below does
    by = ", ".join(f"{quoted(name)}::VARCHAR" for name in order)
    connection.execute(f"SET preserve_insertion_order = {'false' if order else 'true'}")
    sql = f"SELECT {items} FROM source" + (f" ORDER BY {by}" if order else "")
    return pa.RecordBatchReader.from_stream(connection.sql(sql))


def _keys(batch: Any, key: Sequence[str]) -> Any:
    """Give what rows are compared by, (n,) bytes."""
    columns = [batch.column(name).cast(pa.string()) for name in key]
    # no id has a NUL in it, so joined ids sort as their tuples do
    joined = columns[0] if len(columns) == 1 else compute.binary_join_element_wise(*columns, "\0")
    offsets = np.frombuffer(joined.buffers()[1], np.int32)[joined.offset :][: len(joined) + 1]
    widths = np.diff(offsets)
    if len(widths) and (widths == widths[0]).all() and widths[0]:
        data = np.frombuffer(joined.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
        return data.view(f"S{widths[0]}")
    return np.array([text.encode() for text in joined.to_pylist()], dtype=bytes)


class _Head:
    """The batch at the head of a stream, and how far it was taken."""

    def __init__(self, stream: Iterator[Any], key: Sequence[str]) -> None:
        self._stream = stream
        self._key = key
        self._at = 0
        self._batch: Any = None
        self.keys: Any = None

    def filled(self) -> bool:
        """Whether there are rows left; the next batch is fetched when needed."""
        while self._batch is None or self._at == len(self._batch):
            self._batch = next(self._stream, None)
            if self._batch is None:
                return False
            self._at, self.keys = 0, _keys(self._batch, self._key)
        return True

    def take(self, limit: bytes | None) -> tuple[Any, Any]:
        """Take the rows up to `limit`, and their keys; all of the batch when it is None."""
        end = len(self._batch)
        if limit is not None:
            end = int(np.searchsorted(self.keys, limit, side="right"))
        start, self._at = self._at, max(end, self._at)
        return self._batch.slice(start, self._at - start), self.keys[start : self._at]


def _without(rows: Any, keys: Any, others: Any) -> tuple[Any, Any]:
    """Leave out the rows whose key is one of `others`, which are sorted."""
    if not len(keys) or not len(others):
        return rows, keys
    places = np.minimum(np.searchsorted(others, keys), len(others) - 1)
    kept = others[places] != keys
    return (rows, keys) if kept.all() else (rows.filter(pa.array(kept)), keys[kept])


def merged(upper: Iterator[Any], lower: Iterator[Any], key: Sequence[str]) -> Iterator[Any]:
    """Merge two sorted streams; of rows with one key, those of `upper` stay.

    Parameters
    ----------
    upper, lower : iterator of pyarrow.RecordBatch
        Each sorted by `key`, of one schema.
    key : sequence of str
        Columns; none when rows have no names, and all stay.

    Yields
    ------
    pyarrow.RecordBatch
        Sorted.
    """
    if not key:
        yield from lower
        yield from upper
        return
    above, below = _Head(upper, key), _Head(lower, key)
    last = np.array([], dtype=bytes)
    while True:
        more, other = above.filled(), below.filled()
        if not (more or other):
            return
        limit = min(above.keys[-1], below.keys[-1]) if more and other else None
        if more:
            ours, names = above.take(limit)
            last = names[-1:] if len(names) else last
        if other:
            theirs, others = below.take(limit)
            # a key may go on from one batch to the next, so the last one taken still counts
            theirs, others = _without(theirs, others, last)
        if not more:
            yield theirs
        elif not other:
            yield ours
        else:
            theirs, others = _without(theirs, others, names)
            yield _interleaved(ours, names, theirs, others)


def _interleaved(ours: Any, names: Any, theirs: Any, others: Any) -> Any:
    if not len(ours) or not len(theirs):
        return ours if len(ours) else theirs
    places = np.searchsorted(others, names, side="left")
    order = np.insert(np.arange(len(theirs)), places, len(theirs) + np.arange(len(ours)))
    together = pa.Table.from_batches([theirs, ours]).take(pa.array(order)).combine_chunks()
    return together.to_batches()[0]
