"""Rows of one table into a Parquet file, those that are unchanged from the file before."""

from __future__ import annotations

import datetime as dt
import io
import re
import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from one_cache.datajoint.columns import Reading, arrow_type, as_column, typed
from one_cache.datajoint.digests import Digests, ask_digests, bucket_of
from one_cache.datajoint.server import Server
from one_cache.errors import OneCacheError
from one_cache.mirrored import About
from one_cache.mirrored.about import BUCKET, FOLDER
from one_cache.modes import FileState
from one_cache.progress import progress
from one_cache.records import File
from one_cache.store import Store
from one_cache.store.incoming import Incoming

_SAFE = re.compile(r"[^A-Za-z0-9_-]+")
_SOME = 0.5  # of all buckets: more than that, and all rows are asked for


@dataclass(frozen=True)
class Former:
    """The file of the last pull.

    Attributes
    ----------
    path : pathlib.Path
        Where it lies.
    file : File
        The same with size and hash.
    digests : Digests
        The state of its rows.
    """

    path: Path
    file: File
    digests: Digests

    @classmethod
    def find(cls, store: Store, file: File, about: About) -> Former | None:
        """Give the file, if its rows may be used again: it is right, and of the same columns."""
        try:
            state = store.state(file)
            if state is FileState.UNCHECKED:
                state = store.check(file)
            if state is not FileState.GOOD:
                return None
            path = Path(store.path(file.path))
            if About.of_file(path) != about:
                return None
            return cls(path, file, Digests.unpack(store.path(_beside(file)).read_bytes()))
        except (OneCacheError, OSError, ValueError):
            # whatever it is: all rows are copied
            return None


@dataclass(frozen=True)
class Copied:
    """What became of a table.

    Attributes
    ----------
    file : File
        Holds its rows.
    rows : int
        How many there are.
    fetched : int
        How many of them came from the server this time.
    """

    file: File
    rows: int
    fetched: int


def copy_table(
    server: Server,
    store: Store,
    about: About,
    source: str,
    columns: Sequence[Reading],
    *,
    former: Former | None = None,
    silent: bool = False,
) -> Copied:
    """Copy a table, or what changed of it.

    Parameters
    ----------
    server : Server
        Where it is.
    store : Store
        Gets the file.
    about : About
        What it is.
    source : str
        SQL for the rows, to stand after FROM; they are called ``t``.
    columns : sequence of Reading
        How each column is read.
    former : Former, optional
        The file of the last pull.
    silent : bool
        No progress bar.

    Returns
    -------
    Copied
    """
    key = [one for one in columns if one.attribute.name in about.primary_key]
    bits = former.digests.bits if former else None
    now = ask_digests(server, source, key, columns, bits)
    changed = former.digests.changed(now) if former else set()
    if former is not None and not changed:
        with progress(now.rows, "row", about.class_name, silent) as bar:
            bar.update(now.rows)
        return Copied(former.file, now.rows, 0)
    if former is None or len(changed) > _SOME * max(len(now.buckets), 1):
        if former is not None:
            # the table may be of another size now
            now = ask_digests(server, source, key, columns)
        former, changed = None, set()
    rows = _Rows(server, about, columns, bucket_of(server, key, now.bits))
    sql = rows.select(source, key, changed if former else None)
    with (
        store.incoming(File(_path(about))) as incoming,
        progress(now.rows, "row", about.class_name, silent) as bar,
        _Writer(incoming, rows.schema) as writer,
    ):
        for batch in _kept(former, changed):
            bar.update(writer.write(batch))
        fetched = 0
        for piece in server.pieces(sql, now.widest):
            bar.update(writer.write(rows.batch(piece)))
            fetched += len(piece)
        writer.close()
        file = incoming.publish()
    # beside it, so that a question has less to read
    store.write(_beside(file), now.pack())
    return Copied(file, now.rows, fetched)


def _beside(file: File) -> str:
    """Name the file with the digests of the rows of another one."""
    return file.path.removesuffix(".pqt") + ".digests"


def _path(about: About) -> str:
    """Name a new file: no two pulls write the same, so what is open stays as it is."""
    now = dt.datetime.now(dt.timezone.utc).strftime("%Y%m%dT%H%M%S")
    schema, table = (
        _SAFE.sub("_", name).strip("_") or "_" for name in (about.schema, about.table)
    )
    return f"{FOLDER}/{schema}/{table}-{now}-{secrets.token_hex(4)}.pqt"


def _kept(former: Former | None, changed: Collection[int]) -> Iterator[Any]:
    """Give the rows of the last pull that are still true."""
    if former is None:
        return
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
    import pyarrow.compute as pc  # type: ignore[import-untyped]
    from pyarrow import parquet

    numbers = pa.array(sorted(changed), pa.int32())
    with parquet.ParquetFile(former.path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            gone = pc.is_in(table[BUCKET], value_set=numbers)
            yield table.filter(pc.invert(gone))


class _Rows:
    """Asks for rows, and makes tables of them.

    Parameters
    ----------
    server : Server
        Where they are.
    about : About
        What the table is.
    columns : sequence of Reading
        How each column is read.
    bucket : str
        SQL for the bucket of a row.
    """

    def __init__(
        self, server: Server, about: About, columns: Sequence[Reading], bucket: str
    ) -> None:
        import pyarrow as pa

        self._columns = columns
        # numbers come as one text of a row: the driver, in Python, takes its time for each value
        self._packed = [one for one in columns if one.is_number]
        self._alone = [one for one in columns if not one.is_number]
        self._bucket = bucket
        fields = [pa.field(one.attribute.name, arrow_type(one.attribute.kind)) for one in columns]
        self.schema = pa.schema([*fields, pa.field(BUCKET, pa.int32())], about.metadata())

    def select(self, source: str, key: Sequence[Reading], buckets: Collection[int] | None) -> str:
        """Give SQL for the rows of some buckets, or of all."""
        numbers = ", ".join(f"ifnull({one.sql}, '')" for one in self._packed)
        first = f"concat_ws(',', {numbers}, {self._bucket})" if numbers else self._bucket
        items = ", ".join([first, *(one.sql for one in self._alone)])
        listed = ", ".join(map(str, sorted(buckets or ())))
        where = f" WHERE {self._bucket} IN ({listed})" if buckets is not None else ""
        order = ", ".join(one.sql for one in key)
        return f"SELECT {items} FROM {source}{where}{f' ORDER BY {order}' if order else ''}"

    def batch(self, rows: Sequence[Sequence[Any]]) -> Any:
        """Give rows of the server as a table."""
        import pyarrow as pa

        first, *values = zip(*rows, strict=True)
        found = self._numbers(first) if self._packed else {BUCKET: pa.array(first, pa.int32())}
        for one, some in zip(self._alone, values, strict=True):
            found[one.attribute.name] = as_column(one, some)
        return pa.table([found[name] for name in self.schema.names], schema=self.schema)

    def _numbers(self, texts: Sequence[Any]) -> dict[str, Any]:
        """Read rows of numbers and commas."""
        import pyarrow as pa
        from pyarrow import csv

        kinds = {
            one.attribute.name: pa.float32() if one.is_single else arrow_type(one.attribute.kind)
            for one in self._packed
        }
        lines = "\n".join(text if isinstance(text, str) else text.decode() for text in texts)
        table = csv.read_csv(
            io.BytesIO(lines.encode()),
            csv.ReadOptions(use_threads=False, column_names=[*kinds, BUCKET]),
            csv.ParseOptions(quote_char=False),
            csv.ConvertOptions(column_types={**kinds, BUCKET: pa.int32()}, null_values=[""]),
        )
        found = {one.attribute.name: typed(one, table[one.attribute.name]) for one in self._packed}
        return {**found, BUCKET: table[BUCKET]}


class _Writer:
    """A Parquet file on its way into the store; a context manager."""

    def __init__(self, incoming: Incoming, schema: Any) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self._schema = schema
        # what is packed already, or is noise, gets no smaller
        small = [one.name for one in schema if not pa.types.is_binary(one.type)]
        self._file = parquet.ParquetWriter(
            _Sink(incoming),
            schema,
            compression={one.name: "zstd" if one.name in small else "none" for one in schema},
            use_dictionary=small,
        )

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the end."""
        self._file.close()

    def write(self, table: Any) -> int:
        """Write rows; give how many."""
        if table.num_rows:
            self._file.write_table(table.cast(self._schema))
        return int(table.num_rows)


class _Sink(io.RawIOBase):
    """Writes into the store what a library writes into a file."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._incoming.position

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._incoming.write(piece)
        return len(piece)
