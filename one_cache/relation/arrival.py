"""How rows become relations, and how new rows get into them."""

from __future__ import annotations

import errno
import functools
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.errors import DuplicateKey, InvalidArgument, StoreError, TableCorrupt
from one_cache.relation.heading import Column, Heading
from one_cache.relation.source import Memory, ParquetFile, Query, Source
from one_cache.relation.values import fitted, plain
from one_cache.tables.schema import quoted

if TYPE_CHECKING:
    from one_cache.relation.relation import Relation


def read_source(
    thing: Any, key: str | Sequence[str] | None, heading: Heading | None
) -> tuple[Source, Heading]:
    """Give rows as a source, with their heading.

    Parameters
    ----------
    thing : DataFrame, pyarrow.Table, path, list of mappings, or Source
        The rows.
    key : str, sequence of str, or None
        The primary key, which then comes first.
    heading : Heading or None
        What is known of them; for an empty list, it says all.

    Returns
    -------
    source : Source
        The rows.
    heading : Heading
        Given, or read from the rows.

    Raises
    ------
    InvalidArgument
        It is none of these.
    TableCorrupt
        The file cannot be read.
    """
    key = (key,) if isinstance(key, str) else key
    source, index, uuids = _source(thing, heading)
    if heading is not None:
        return source, heading if key is None else heading.with_key(key)
    columns = Query(f"SELECT * FROM {quoted(source.token)}", (), (source,)).types()
    typed = tuple(replace(one, type="UUID") if one.name in uuids else one for one in columns)
    if key or index:
        return source, Heading(typed).with_key(key or index)
    # a set: rows are told apart by all that they are
    return source, Heading(typed, tuple(one.name for one in typed if not one.is_blob))


def _source(thing: Any, heading: Heading | None) -> tuple[Source, tuple[str, ...], frozenset[str]]:
    """Give rows as a source, with the key they name, and the columns of UUIDs."""
    import pandas as pd
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    if isinstance(thing, (str, Path)):
        return ParquetFile(thing), _key_of_file(Path(thing)), frozenset()
    if isinstance(thing, pa.Table):
        return Memory(thing), (), frozenset()
    if hasattr(thing, "token"):
        return thing, (), frozenset()
    if isinstance(thing, pd.DataFrame):
        key = tuple(str(name) for name in thing.index.names if name is not None)
        frame = thing.reset_index() if key else thing
        columns: dict[str, Any] = {str(name): frame[name] for name in frame.columns}
    elif isinstance(thing, Sequence) and all(isinstance(row, Mapping) for row in thing):
        names = dict.fromkeys(name for row in thing for name in row)
        if heading is not None:
            return Memory(_arrow_of(heading, thing)), (), frozenset()
        key, columns = (), {name: [row.get(name) for row in thing] for name in names}
    else:
        raise InvalidArgument(
            "a relation is made of a DataFrame, an Arrow table, a Parquet file or a list of "
            f"mappings, got {type(thing).__name__}"
        )
    if not columns:
        raise InvalidArgument("a relation has columns; heading= says which, where no row does")
    uuids = frozenset(name for name, values in columns.items() if _holds_uuids(values))
    table = pa.table({name: _array(name, values) for name, values in columns.items()})
    return Memory(table), key, uuids


def _key_of_file(path: Path) -> tuple[str, ...]:
    """Give the index of the frame that was written to a file."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        meta = parquet.read_schema(path).metadata or {}
    except FileNotFoundError as error:
        raise StoreError(f"{path}: there is no such file", errno.ENOENT) from error
    except (pa.ArrowInvalid, OSError) as error:
        raise TableCorrupt(f"{path}: {error}") from error
    described = json.loads(meta.get(b"pandas", b"{}"))
    return tuple(
        name
        for name in described.get("index_columns", ())
        if isinstance(name, str) and not name.startswith("__")
    )


def _holds_objects(values: Any) -> bool:
    """Say whether the values are Python's own, one by one."""
    return isinstance(values, list) or values.dtype.kind == "O"


def _holds_uuids(values: Any) -> bool:
    """Say whether the values are UUIDs."""
    if not _holds_objects(values):
        return False
    return isinstance(next((one for one in values if one is not None), None), uuid.UUID)


def _array(name: str, values: Any, kind: Any = None) -> Any:
    """Give one column as an Arrow array, arrays within it as lists."""
    import pyarrow as pa

    if _holds_objects(values):
        values = [_cell(one) for one in values]
    try:
        found = pa.array(values, kind, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InvalidArgument(f"column {name!r} cannot be a column of a table: {error}") from error
    if pa.types.is_null(found.type):
        # nothing says what it will hold; anything can be a text
        return found.cast(pa.string())
    return found.dictionary_decode() if pa.types.is_dictionary(found.type) else found


def _cell(value: Any) -> Any:
    """Give one value in a form that Arrow takes."""
    if hasattr(value, "__array__") and value.ndim:
        return value if value.ndim == 1 else value.tolist()
    if isinstance(value, uuid.UUID):
        return str(value)
    return value if isinstance(value, (list, dict, tuple)) else plain(value)


def insert(source: Source, table: Relation, rows: Any, *, skip: bool, ignore: bool) -> None:
    """Add rows to a source.

    Parameters
    ----------
    source : Source
        Gets them.
    table : Relation
        What is there, with its heading.
    rows : any
        See `Relation.insert`.
    skip : bool
        Whether rows whose key is there are left out.
    ignore : bool
        Whether names that the table lacks are left out.

    Raises
    ------
    TableReadOnly, DuplicateKey, InvalidArgument
        See `Relation.insert`.
    """
    heading = table.heading
    new = [_row(heading, row, ignore) for row in _as_mappings(heading, rows)]
    if not new:
        return
    with source.alone():
        fresh = _fresh(table, new, skip)
        if fresh:
            source.append(_arrow_of(heading, fresh))


def _as_mappings(heading: Heading, rows: Any) -> Iterable[Mapping[Any, Any]]:
    """Give each of the rows as a mapping."""
    import numpy as np
    import pandas as pd

    if isinstance(rows, (str, Path)):
        rows = pd.read_csv(rows)
    if isinstance(rows, pd.DataFrame):
        return (rows.reset_index() if any(rows.index.names) else rows).to_dict("records")
    if isinstance(rows, Mapping):
        raise InvalidArgument("insert takes several rows; insert1 takes one")
    listed: list[Mapping[str, Any]] = []
    for row in rows:
        if isinstance(row, Mapping):
            listed.append(row)
        elif isinstance(row, np.void) and row.dtype.names:
            listed.append({name: row[name] for name in row.dtype.names})
        elif len(row) == len(heading.names):
            listed.append(dict(zip(heading.names, row, strict=True)))
        else:
            raise InvalidArgument(f"a row has {len(heading.names)} values, got {len(row)}")
    return listed


def _row(heading: Heading, row: Mapping[str, Any], ignore: bool) -> dict[str, Any]:
    """Give a whole row in the types of the columns."""
    for name in row:
        if name not in heading and not ignore:
            heading[name]
    return {column.name: _value(heading, column, row) for column in heading.columns}


def _value(heading: Heading, column: Column, row: Mapping[str, Any]) -> Any:
    """Give the value of one column in a row."""
    value = row.get(column.name, column.default)
    value = value if column.is_blob else fitted(column, value)
    if value is None and (column.name in heading.primary_key or not column.nullable):
        raise InvalidArgument(f"column {column.name!r} needs a value")
    return value


def _fresh(table: Relation, new: list[dict[str, Any]], skip: bool) -> list[dict[str, Any]]:
    """Give the rows whose key is not there; refuse the others unless they are to be skipped."""
    names = table.heading.primary_key
    there = _keys_there(table, new)
    fresh = []
    for row in new:
        key = tuple(row[name] for name in names)
        if key not in there:
            there.add(key)
            fresh.append(row)
        elif not skip:
            said = ", ".join(f"{name}={value!r}" for name, value in zip(names, key, strict=True))
            raise DuplicateKey(
                f"{table.name or 'the table'} has a row of {said} already; nothing was inserted. "
                "skip_duplicates=True leaves such rows out"
            )
    return fresh


def _keys_there(table: Relation, new: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    """Give those keys of new rows that the table has."""
    names = table.heading.primary_key
    if not names:
        return set()
    keys = [{name: row[name] for name in names} for row in new]
    return {
        tuple(fitted(table.heading[name], found[name]) for name in names)
        for found in (table & keys).keys()  # noqa: SIM118  # a relation is no dict
    }


def _arrow_of(heading: Heading, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Give rows as an Arrow table of the types of a heading."""
    import pyarrow as pa

    schema = _schema(tuple((one.name, one.type) for one in heading.columns))
    return pa.table(
        [
            _array(name, [row.get(name) for row in rows], schema.field(name).type)
            for name in heading.names
        ],
        schema=schema,
    )


@functools.lru_cache(maxsize=64)
def _schema(columns: tuple[tuple[str, str], ...]) -> Any:
    """Give the Arrow schema of columns of these names and types, as the engine makes it."""
    nulls = ", ".join(f"NULL::{kind} AS {quoted(name)}" for name, kind in columns)
    return Query(f"SELECT {nulls} LIMIT 0").answer(what="cannot make a table")[0].schema
