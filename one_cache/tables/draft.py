"""A table that is being written: beside its place, as a stream, renamed when it is whole."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.tables.engine import connect
from one_cache.tables.files import TableFile
from one_cache.tables.parquet import GROUP, file_schema, open_writer, portions
from one_cache.tables.rowwriter import RowWriter
from one_cache.tables.schema import layout_of, quoted
from one_cache.tables.streams import in_form, register_file

if TYPE_CHECKING:
    from one_cache.progress import Progress

_MEMORY = 200  # MB of each stream; a sort that needs more goes to the disk
_SORTING = 12e-6  # MB for each row: what DuckDB needs to merge the parts that it sorted
_UNKNOWN = 50_000_000  # rows of a stream that does not say how many it has
DRAFTS = ".*.draft*"
"""Names of what a killed process may have left."""


class Draft:
    """Temporary files of one table; a context manager that leaves none of them.

    Parameters
    ----------
    folder : pathlib.Path
        Where they lie: on the disk of the place to be.
    name : str
        Kind of table.
    bar : Progress
        Moves with each row that is read or written.
    """

    def __init__(self, folder: Path, name: str, bar: Progress) -> None:
        stem = f".{name}.{os.getpid()}-{secrets.token_hex(4)}"
        self.table = folder / f"{stem}.draft"
        self._rows_path = folder / f"{stem}.draft-rows"
        self._spill = folder / f"{stem}.draft-spill"
        self._name = name
        self._bar = bar
        self._rows: RowWriter | None = None
        self._connections: list[Any] = []

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_: object) -> None:
        if self._rows is not None:
            self._rows.close()
        for connection in self._connections:
            connection.close()
        for path in (self.table, self._rows_path):
            with contextlib.suppress(OSError):
                path.unlink()
        shutil.rmtree(self._spill, ignore_errors=True)

    def stream(
        self,
        source: TableFile | Any,
        kinds: Mapping[str, str],
        order: Sequence[str],
        kept: tuple[TableFile, Sequence[str]] | None = None,
    ) -> Any:
        """Read rows as a stream in the given types and order.

        Parameters
        ----------
        source : TableFile, pyarrow.Table or pyarrow.RecordBatchReader
            The rows.
        kinds : mapping of str to str
            Columns and SQL types of the stream.
        order : sequence of str
            Columns to sort by; none when the rows are sorted.
        kept : tuple of TableFile and sequence of str, optional
            A table, and the columns whose values there win over those of `source`.

        Returns
        -------
        pyarrow.RecordBatchReader
        """
        known = source.count if isinstance(source, TableFile) else None
        count = getattr(source, "num_rows", _UNKNOWN) if known is None else known
        memory = max(_MEMORY, _SORTING * count) if order else _MEMORY
        connection = connect(memory=f"{memory:.0f}MB", spill=self._spill)
        self._connections.append(connection)
        if isinstance(source, TableFile):
            register_file(connection, source.data, self._bar.update)
            return in_form(connection, source.columns, kinds, order)
        columns = {name: quoted(name) for name in source.schema.names}
        if kept is None:
            connection.register("source", source)
        else:
            connection.register("arriving", source)
            columns |= _join(connection, list(columns), *kept)
        return in_form(connection, columns, kinds, order)

    def write(
        self, batches: Iterable[Any], found: Any, meta: Mapping[str, Any], *, table: bool
    ) -> int:
        """Write a stream as a table, and as a file of its rows.

        Parameters
        ----------
        batches : iterable of pyarrow.RecordBatch
            Sorted by key.
        found : pyarrow.Schema
            Their columns and types.
        meta : mapping
            For ``one_metadata``.
        table : bool
            Whether the table itself is wanted.

        Returns
        -------
        int
            Number of rows.
        """
        schema = file_schema(found, self._name, meta)
        key = layout_of(self._name, schema.names).key
        self._rows = RowWriter(self._rows_path, schema, key)
        count = 0
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open_writer(self.table, schema, key)) if table else None
            # compression needs no interpreter: it goes on while the rows are written
            beside = stack.enter_context(ThreadPoolExecutor(1))
            writing: Future[None] | None = None
            for portion in portions(batches, schema):
                if writing is not None:
                    writing.result()
                if file is not None:
                    writing = beside.submit(file.write_table, portion, row_group_size=GROUP)
                self._rows.add(portion)
                count += len(portion)
                self._bar.update(len(portion))
            if writing is not None:
                writing.result()
        return count

    def publish_table(self, target: Path) -> None:
        """Give the table its name, after its bytes are on the disk."""
        with self.table.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(self.table, target)
        _sync_folder(target.parent)

    def finish_rows(self, said: Mapping[str, Any]) -> None:
        """Finish the file of rows; `said` goes into its footer."""
        if self._rows is not None:
            self._rows.finish(said)

    def publish_rows(self, target: Path) -> None:
        """Give the file of rows its name, after it is finished."""
        os.replace(self._rows_path, target)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every system can sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _join(
    connection: Any, arriving: Sequence[str], file: TableFile, keep: Sequence[str]
) -> dict[str, str]:
    """Put beside the arriving rows what a table says of the same ids; give the SQL of that."""
    key = layout_of(file.name, arriving).key
    taken = [name for name in file.columns if name in keep or name not in arriving]
    items = ", ".join(
        [*map(quoted, key), *(f"{quoted(name)} AS {quoted(f'kept {name}')}" for name in taken)]
    )
    by = ", ".join(map(quoted, key))
    connection.execute(
        f"CREATE TEMP VIEW source AS SELECT * FROM arriving "
        f"LEFT JOIN (SELECT {items} FROM ({file.select})) USING ({by})"
    )
    return {
        name: f"coalesce({quoted(f'kept {name}')}, {quoted(name)})"
        if name in arriving
        else quoted(f"kept {name}")
        for name in taken
    }
