"""DuckDB: the engine behind every question that is put in SQL.

One in-memory database for each set of tables. Questions may come from several threads, each on a
cursor of its own; a forked child gets a database of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from one_cache.errors import (
    InvalidArgument,
    StoreError,
    TableCorrupt,
    TableError,
    UnknownColumn,
)
from one_cache.tables.forks import mind_forks
from one_cache.tables.schema import has_zone

if TYPE_CHECKING:
    import duckdb

# questions of tables need little; a sort of a large table spills to disk beyond this
MEMORY = "512MB"
THREADS = 4
# how DuckDB speaks of a file whose content cannot be read
_OF_A_FILE = re.compile(
    r"(?i)parquet|magic bytes|footer|decompress|snappy|zstd|thrift|TProtocol|what type"
)


def connect(*, memory: str = MEMORY, spill: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Open an empty in-memory database that never looks for extensions.

    Parameters
    ----------
    memory : str
        What it may use before it writes to `spill`.
    spill : pathlib.Path, optional
        Folder for what does not fit; made when needed, removed at the end. The system's folder
        for temporary files when not given.

    Returns
    -------
    duckdb.DuckDBPyConnection
    """
    import duckdb

    if spill is None:
        spill = Path(tempfile.gettempdir(), f"one_cache-{os.getpid()}-{os.urandom(4).hex()}")
    return duckdb.connect(
        config={
            # a machine without a network must not wait for a download that nothing needs
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            # the system caches files already, and knows at once when one is replaced
            "enable_external_file_cache": False,
            "memory_limit": memory,
            "temp_directory": str(spill),
            "threads": min(THREADS, os.cpu_count() or 1),
        }
    )


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn DuckDB's errors into ours.

    Parameters
    ----------
    what : str
        What was being done, for the message.

    Raises
    ------
    InvalidArgument
        The question cannot be understood.
    StoreError
        The disk refuses, or is full.
    TableCorrupt
        A file cannot be read.
    TableError
        Anything else.
    """
    import duckdb

    try:
        yield
    except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException) as error:
        is_column = "Referenced column" in str(error)
        kind = UnknownColumn if is_column else InvalidArgument
        raise kind(f"{what}: {error}") from error
    except duckdb.Error as error:
        text = str(error)
        if "No space left" in text:
            raise StoreError(f"{what}: the disk is full: {text}", errno.ENOSPC) from error
        if isinstance(error, duckdb.IOException) or _OF_A_FILE.search(text):
            raise TableCorrupt(f"{what}: {text}") from error
        raise TableError(f"{what}: {text}") from error


def as_arrow_table(
    connection: duckdb.DuckDBPyConnection, sql: str, params: Sequence[Any] = ()
) -> Any:
    """Ask one question; the answer is a ``pyarrow.Table``.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Asks.
    sql : str
        With ``?`` for each of `params`.
    params : sequence
        Values.

    Returns
    -------
    pyarrow.Table
    """
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    # the stream protocol is what all versions of DuckDB have in common
    relation = connection.sql(sql, params=list(params))
    return pa.RecordBatchReader.from_stream(relation).read_all()


class Engine:
    """A database, and cursors for as many threads as ask at once."""

    def __init__(self) -> None:
        self._start()
        mind_forks(self)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._root: duckdb.DuckDBPyConnection | None = None
        self._idle: list[duckdb.DuckDBPyConnection] = []

    @contextlib.contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a cursor that no other thread has."""
        with self._lock:
            if self._root is None:
                self._root = connect()
            cursor = self._idle.pop() if self._idle else self._root.cursor()
        try:
            yield cursor
        finally:
            with self._lock:
                self._idle.append(cursor)

    def ask(
        self, sql: str, params: Sequence[Any] = (), *, what: str = "cannot answer"
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Ask one question.

        Parameters
        ----------
        sql : str
            With ``?`` for each of `params`.
        params : sequence
            Values.
        what : str
            For the message of an error.

        Returns
        -------
        names : list of str
            Columns of the answer.
        rows : list of tuple
            Its rows.
        """
        with self.cursor() as cursor, explained(what):
            values = [str(one) if isinstance(one, UUID) else one for one in params]
            cursor.execute(sql, values)
            columns = cursor.description or ()
            names = [column[0] for column in columns]
            if not any(has_zone(str(column[1])) for column in columns):
                return names, cursor.fetchall()
            # DuckDB needs one more package to make Python's times of these; Arrow does not
            cursor.execute("SELECT 0").fetchall()  # a cursor takes one question at a time
            table = as_arrow_table(cursor, sql, values)
            return names, list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def forsake(self) -> None:
        """Start anew in a forked child, where the threads of the old database do not exist."""
        for connection in (self._root, *self._idle):
            if connection is not None:
                # to close it, or to let it be collected, would wait for those threads for ever
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        self._start()
