"""New records that lie in memory until they are saved."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from one_cache.errors import InvalidArgument
from one_cache.records import QC, Dataset, Session
from one_cache.tables.schema import layout_of

Row = dict[str, Any]
Key = tuple[Any, ...]


def _plain(column: str, value: Any) -> Any:
    """Bring one value to the type in which tables hold it."""
    if isinstance(value, uuid.UUID):
        return str(value)
    if column in ("id", "eid") and (value is None or isinstance(value, str)):
        return (value or "").lower()
    if column == "qc":
        return QC.NOT_SET.name if value is None else QC.read(value).name
    if column == "projects" and isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    if column == "date" and isinstance(value, str):
        return dt.date.fromisoformat(value[:10])
    if column == "date" and isinstance(value, dt.datetime):
        return value.date()
    return value


def read_row(name: str, record: Session | Dataset | Mapping[str, Any]) -> Row:
    """Give the row of a table that a record becomes.

    Parameters
    ----------
    name : str
        Kind of table.
    record : Session, Dataset or mapping
        The columns of the layout that it lacks become null; its further ones are kept.

    Returns
    -------
    dict

    Raises
    ------
    InvalidArgument
        It has no id, or a value that its column cannot hold.

    Examples
    --------
    >>> read_row("insertions", {"id": "AB", "name": "probe00"})
    {'id': 'ab', 'name': 'probe00'}
    """
    if isinstance(record, (Session, Dataset)):
        row = _row_of(record)
    else:
        row = _row_of_mapping(name, record)
    for column in ("id", "rel_path"):
        if column in row and not row[column] and column in layout_of(name).needed:
            raise InvalidArgument(f"cannot add to the table of {name}: no {column!r} in {row}")
    return row


def _row_of(record: Session | Dataset) -> Row:
    """Give the row of a record, whose values have their types already."""
    row: Row = dict(vars(record))
    row.update(row.pop("extra"))
    row["id"] = row["id"].lower()
    if isinstance(record, Dataset):
        row.update(eid=record.eid.lower(), qc=record.qc.name)
    return row


def _row_of_mapping(name: str, record: Mapping[str, Any]) -> Row:
    values = dict(record)
    extra = values.pop("extra", None)
    if isinstance(extra, Mapping):
        values.update(extra)
    layout = layout_of(name, list(values))
    row: Row = dict.fromkeys(layout.columns)
    if name == "datasets":
        row.update(eid="", exists=True, qc=QC.NOT_SET.name)
    try:
        row.update((column, _plain(column, value)) for column, value in values.items())
    except ValueError as error:
        raise InvalidArgument(f"cannot add to the table of {name}: {error}") from error
    texts = (column for column, kind in layout.columns.items() if kind == "VARCHAR")
    row.update((column, "") for column in texts if row[column] is None and column != "hash")
    return row


class Memory:
    """Rows of several tables, the last one of each key.

    Examples
    --------
    >>> memory = Memory()
    >>> memory.put("insertions", [{"id": "a", "name": "probe00"}, {"id": "a", "name": "probe01"}])
    [{'id': 'a', 'name': 'probe01'}]
    >>> memory.rows("insertions")
    [{'id': 'a', 'name': 'probe01'}]
    """

    def __init__(self) -> None:
        self._rows: dict[str, dict[Key, Row]] = {}
        self._of_session: dict[str, dict[Key, Row]] = {}
        self._by_id: dict[tuple[str, str], Row] = {}

    def __bool__(self) -> bool:
        return any(self._rows.values())

    def names(self) -> list[str]:
        """Name the tables that have rows here."""
        return [name for name, rows in self._rows.items() if rows]

    def rows(self, name: str) -> list[Row]:
        """Give the rows of one table."""
        return list(self._rows.get(name, {}).values())

    def put(self, name: str, rows: Iterable[Row]) -> list[Row]:
        """Keep `rows`; a later one replaces that of the same key.

        Parameters
        ----------
        name : str
            Table.
        rows : iterable of dict
            As :func:`read_row` gives them.

        Returns
        -------
        list of dict
            Those that say something new.
        """
        kept = self._rows.setdefault(name, {})
        fresh: dict[Key, Row] = {}
        for row in rows:
            key: Key = tuple(row[column] for column in layout_of(name, list(row)).key)
            key = key or (len(kept) + len(fresh),)
            if kept.get(key) == row and key not in fresh:
                continue
            fresh[key] = row
            self._by_id[name, row.get("id", "")] = row
            if name == "datasets":
                self._of_session.setdefault(row["eid"], {})[key] = row
        kept.update(fresh)
        return list(fresh.values())

    def drop(self, name: str) -> None:
        """Forget the rows of one table."""
        self.forget(name, self.rows(name))

    def forget(self, name: str, rows: Iterable[Row]) -> None:
        """Forget these very rows; one that was replaced meanwhile stays.

        Parameters
        ----------
        name : str
            Table.
        rows : iterable of dict
            As :meth:`rows` gave them.
        """
        gone = {id(row) for row in rows}
        kept = {key: row for key, row in self._rows.get(name, {}).items() if id(row) not in gone}
        self._rows[name] = {}
        if name == "datasets":
            self._of_session.clear()
        self._by_id = {key: row for key, row in self._by_id.items() if key[0] != name}
        self.put(name, kept.values())

    def of_session(self, eid: str) -> list[Row]:
        """Give the datasets of one session."""
        return list(self._of_session.get(eid, {}).values())

    def by_id(self, name: str, ids: Sequence[str]) -> dict[str, Row]:
        """Give the rows of these ids, the last one added of each."""
        found = ((one, self._by_id.get((name, one))) for one in ids)
        return {one: row for one, row in found if row is not None}


def as_arrow(name: str, rows: Sequence[Row]) -> Any:
    """Give rows as an Arrow table, for the engine.

    Parameters
    ----------
    name : str
        Kind of table.
    rows : sequence of dict
        Not empty; they may differ in their columns.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    InvalidArgument
        A column holds values of several types.
    """
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    columns: dict[str, None] = {}
    for row in rows:
        columns.update(dict.fromkeys(row))
    arrays = []
    for column in columns:
        try:
            array = pa.array([row.get(column) for row in rows], from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise InvalidArgument(
                f"cannot add to the table of {name}: column {column!r}: {error}"
            ) from error
        # a column without any value has no type yet; text takes any that comes later
        arrays.append(array.cast(pa.string()) if pa.types.is_null(array.type) else array)
    return pa.table(arrays, names=list(columns))
