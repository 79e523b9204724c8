"""Where the rows of relations lie, and how a question over several of them is asked."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from one_cache.errors import TableCorrupt, TableReadOnly
from one_cache.relation.heading import Column
from one_cache.tables.engine import Engine, explained
from one_cache.tables.schema import parquet_source, quoted

if TYPE_CHECKING:
    import duckdb

_PIECES = 64
# one for all: rows in memory grow in microseconds, and a lock cannot be sent to another process
_GROWING = threading.RLock()
_COUNT = itertools.count()


class Home(Protocol):
    """A database that lends cursors; `one_cache.tables.engine.Engine` is one."""

    def cursor(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """Lend a cursor."""
        ...


class Source(Protocol):
    """Rows that a relation can stand on.

    Attributes
    ----------
    token : str
        Stands for the rows in SQL; no other source has it.
    home : Home or None
        The only database that knows them; None when any does.
    """

    token: str
    home: Home | None

    def select(self) -> str | None:
        """Give SQL for the rows, or None when they are in memory."""
        ...

    def arrow(self) -> Any:
        """Give the rows as a ``pyarrow.Table``."""
        ...

    def alone(self) -> AbstractContextManager[Any]:
        """Keep others from adding rows, so that a key that is not there stays so."""
        ...

    def append(self, rows: Any) -> None:
        """Add the rows of a ``pyarrow.Table`` of the same columns.

        Raises
        ------
        TableReadOnly
            These rows are not ours to change.
        """
        ...


# holds no rows, only threads: each question brings what it asks about
_ANYWHERE = Engine()


def new_token() -> str:
    """Give a name that no other source has, in this process or in another one."""
    return f"_relation_{os.getpid()}_{next(_COUNT)}"


class Memory:
    """Rows in memory, which grow.

    Parameters
    ----------
    table : pyarrow.Table
        The first ones.
    """

    home: Home | None = None

    def __init__(self, table: Any) -> None:
        self.token = new_token()
        self._table = table

    def select(self) -> str | None:
        """See `Source`."""
        return None

    def arrow(self) -> Any:
        """See `Source`."""
        return self._table

    def alone(self) -> AbstractContextManager[Any]:
        """See `Source`."""
        return _GROWING

    def append(self, rows: Any) -> None:
        """See `Source`; readers see all of the new rows or none of them."""
        import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

        old = self._table
        new = pa.concat_tables([old, rows.select(old.column_names).cast(old.schema)])
        # many small pieces are slow to read
        pieces = new.column(0).num_chunks if new.num_columns else 0
        self._table = new.combine_chunks() if pieces > _PIECES else new


class ParquetFile:
    """Rows of a Parquet file.

    Parameters
    ----------
    path : path
        Read where it lies; insertions replace it as a whole.
    writable : bool
        Whether rows may be inserted.
    """

    home: Home | None = None

    def __init__(self, path: str | Path, *, writable: bool = True) -> None:
        self.token = new_token()
        self.path = Path(path)
        self.writable = writable

    def select(self) -> str | None:
        """See `Source`."""
        return f"SELECT * FROM {parquet_source(self.path)}"

    def arrow(self) -> Any:
        """See `Source`."""
        import pyarrow as pa
        from pyarrow import parquet

        try:
            return parquet.ParquetFile(self.path).read()
        except pa.ArrowInvalid as error:
            raise TableCorrupt(f"{self.path}: {error}") from error

    def alone(self) -> AbstractContextManager[Any]:
        """See `Source`; one process at a time."""
        from filelock import FileLock

        if not self.writable:
            raise TableReadOnly(f"rows cannot be inserted into {self.path.name}")
        return FileLock(self.path.with_name(f".{self.path.name}.lock"))

    def append(self, rows: Any) -> None:
        """See `Source`; readers see one file or the other."""
        import pyarrow as pa
        from pyarrow import parquet

        from one_cache.atomic import write_bytes

        old = self.arrow()
        new = pa.concat_tables([old, rows.select(old.column_names).cast(old.schema)])
        buffer = pa.BufferOutputStream()
        parquet.write_table(new, buffer, compression="zstd")
        write_bytes(self.path, buffer.getvalue().to_pybytes())


class View:
    """Rows that a database knows: an access table, a view, any SQL.

    Parameters
    ----------
    home : Home
        The database.
    sql : str
        Gives the rows there.
    append : callable, optional
        Takes the new rows as a ``pyarrow.Table``; without it the rows cannot be added to.
    """

    def __init__(self, home: Home, sql: str, append: Callable[[Any], None] | None = None) -> None:
        self.token = new_token()
        self.home: Home | None = home
        self._sql = sql
        self._append = append

    def select(self) -> str | None:
        """See `Source`."""
        return self._sql

    def arrow(self) -> Any:
        """See `Source`."""
        return Query(f"SELECT * FROM {quoted(self.token)}", (), (self,)).answer()[0]

    def alone(self) -> AbstractContextManager[Any]:
        """See `Source`; the database keeps its own order."""
        return contextlib.nullcontext()

    def append(self, rows: Any) -> None:
        """See `Source`."""
        if self._append is None:
            raise TableReadOnly("rows cannot be inserted here; they belong to another place")
        self._append(rows)


@dataclass(frozen=True)
class Query:
    """A question in SQL with its values and the sources that it names.

    Attributes
    ----------
    sql : str
        Over the tokens of `sources`, with ``?`` for each of `params`, in order.
    params : tuple
        Values; they never become part of the text.
    sources : tuple of Source
        What the text names.
    """

    sql: str
    params: tuple[Any, ...] = ()
    sources: tuple[Source, ...] = ()

    def answer(self, *, what: str = "cannot answer") -> tuple[Any, list[str]]:
        """Ask.

        Parameters
        ----------
        what : str
            What is being done, for the message of an error.

        Returns
        -------
        table : pyarrow.Table
            The answer.
        types : list of str
            Types of its columns, as the engine names them.

        Raises
        ------
        InvalidArgument
            The question cannot be understood.
        TableError
            The rows cannot be read.
        """
        import pyarrow as pa

        def read(relation: Any) -> Any:
            return pa.RecordBatchReader.from_stream(relation).read_all()

        return self._with(read, what)

    def types(self, *, what: str = "cannot answer") -> list[Column]:
        """Give the columns of the answer without asking; parameters and errors as in `answer`."""
        names: list[str] = []

        def describe(relation: Any) -> None:
            names.extend(relation.columns)

        _, types = self._with(describe, what)
        return [Column(name, kind) for name, kind in zip(names, types, strict=True)]

    def _with(self, use: Callable[[Any], Any], what: str) -> tuple[Any, list[str]]:
        """Bring the sources before one database and put the question there."""
        sources = list(dict.fromkeys(self.sources))
        home = next((one.home for one in sources if one.home is not None), _ANYWHERE)
        selects, arriving = _arranged(sources, home)
        with home.cursor() as cursor, explained(what):
            try:
                for token, rows in arriving.items():
                    cursor.register(token, rows)
                # not an empty list: without values the text is taken as it is
                relation = cursor.sql(selects + self.sql, params=list(self.params) or None)
                return use(relation), [str(kind) for kind in relation.types]
            finally:
                for token in arriving:
                    cursor.unregister(token)


def _arranged(sources: Sequence[Source], home: Home) -> tuple[str, dict[str, Any]]:
    """Give the head of the question for what the database knows, and the rows that it does not."""
    selects, arriving = [], {}
    for source in sources:
        sql = source.select() if source.home in (None, home) else None
        if sql is None:
            arriving[source.token] = source.arrow()
        else:
            # not materialized: conditions reach the file
            selects.append(f"{quoted(source.token)} AS NOT MATERIALIZED ({sql})")
    return (f"WITH {', '.join(selects)} " if selects else ""), arriving
