"""What DataJoint says of a table, and how each column is asked for and stored."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from one_cache.datajoint.attached import Attacher
from one_cache.datajoint.server import Server, quiet
from one_cache.mirrored import About, Attribute
from one_cache.relation import ForeignKey

_DECIMAL = re.compile(r"(?:decimal|numeric)\((\d+)(?:\s*,\s*(\d+))?\)", re.IGNORECASE)
_LARGEST = 38  # digits of a decimal of the engine
# how types of servers begin, and what they are stored as; the first that fits counts
_TYPES = (
    (r"(tiny|small|medium|big)?int.* unsigned|serial", "UBIGINT"),
    (r"(tiny|small|medium|big)?int|year", "BIGINT"),
    (r"double", "DOUBLE"),
    (r"float|real", "DOUBLE"),
    (r"bool", "BOOLEAN"),
    (r"date$", "DATE"),
    (r"timestamp with time zone|timestamptz", "TIMESTAMP WITH TIME ZONE"),
    (r"datetime|timestamp", "TIMESTAMP"),
    (r"time with", "TIME"),
    (r"time", "INTERVAL"),
    (r"uuid", "UUID"),
    (r"jsonb?$", "json"),
    (r"bytea", "bytes"),
    (r"(var)?binary|bit", "bytes"),
    (r"(tiny|medium|long)?blob", "longblob"),
)
_CODECS = {"blob": "blob", "hash": "bytes", "npy": "npy"}
_FILES = ("attach", "filepath", "object")

Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class Reading:
    """How one column is read.

    Attributes
    ----------
    attribute : Attribute
        What it is.
    sql : str
        Gives the value.
    digest : str
        Gives a text that is another one when the value is.
    octets : str
        Gives the number of bytes, where it may be large; else empty.
    convert : callable or None
        Makes what is stored of what the driver gives, where it is not the same; None stays None.
    is_single : bool
        Whether the number has 32 bits on the server.
    """

    attribute: Attribute
    sql: str
    digest: str
    octets: str = ""
    convert: Convert | None = None
    is_single: bool = False


def describe(server: Server, full_name: str) -> tuple[About, Any]:
    """Ask what a table is.

    Parameters
    ----------
    server : Server
        Asks.
    full_name : str
        Of the table, quoted.

    Returns
    -------
    about : About
        What it is.
    table : datajoint.FreeTable
        The same for DataJoint.
    """
    with server.explained(f"{full_name} cannot be described"), quiet():
        table = server.instance.FreeTable(full_name)
        heading = table.heading
        schema, name = server.split(full_name)
        attributes = tuple(_attribute(one) for one in heading.attributes.values())
        about = About(
            schema,
            name,
            str(heading.table_status.get("comment") or ""),
            attributes,
            tuple(heading.primary_key),
            tuple(
                ForeignKey(".".join(server.split(parent)), dict(props["attr_map"]))
                for parent, props in server.connection.dependencies.parents(full_name)
            )
            if full_name in server.connection.dependencies
            else (),
        )
    return about, table


def _attribute(one: Any) -> Attribute:
    return Attribute(
        one.name,
        _kind(one),
        str(one.original_type or one.type),
        one.comment or "",
        bool(one.nullable),
        None if one.default is None else str(one.default),
    )


def _kind(one: Any) -> str:
    """Give how a column is stored."""
    codec = getattr(one.codec, "name", None) if one.codec else None
    if codec in _FILES:
        return "file"
    if codec in _CODECS:
        return _CODECS[codec]
    if one.codec:
        return "json" if one.json else "longblob" if one.is_blob else "VARCHAR"
    if one.uuid:
        return "UUID"
    if one.json:
        return "json"
    if one.original_type == "bytes":
        return "bytes"
    kind = str(one.type).lower()
    decimal = _DECIMAL.match(kind)
    if decimal:
        digits, places = int(decimal[1]), int(decimal[2] or 0)
        return f"DECIMAL({digits},{places})" if digits <= _LARGEST else "decimal"
    if kind.startswith(("decimal", "numeric")):
        return "decimal"
    return next((found for start, found in _TYPES if re.match(start, kind)), "VARCHAR")


def readings(server: Server, table: Any, about: About, attacher: Attacher) -> list[Reading]:
    """Say how each column of a table is read.

    Parameters
    ----------
    server : Server
        Where it is.
    table : datajoint.FreeTable
        The table.
    about : About
        What it is.
    attacher : Attacher
        Takes what lies in files.

    Returns
    -------
    list of Reading
    """
    columns = table.heading.attributes
    return [_reading(server, columns[one.name], one, attacher) for one in about.attributes]


def _reading(server: Server, column: Any, one: Attribute, attacher: Attacher) -> Reading:
    name = f"t.{server.quoted(one.name)}"
    codec = getattr(column.codec, "name", "") if column.codec else ""
    if column.codec and column.store is not None:
        # the row names what lies in the store
        text = f"{name}::text" if server.is_postgres else name
        return Reading(one, text, text, convert=attacher.of_store(codec, column.store))
    if codec == "attach":
        return Reading(one, name, name, f"octet_length({name})", attacher.inside)
    if one.kind in ("blob", "longblob", "bytes"):
        return Reading(one, name, name, f"octet_length({name})", bytes)
    is_single = bool(re.match("float|real", str(column.type).lower()))
    if server.is_postgres:
        return _of_postgres(name, one, is_single)
    if is_single:
        # as text it would have six digits
        return Reading(one, f"({name} + 0e0)", f"({name} + 0e0)", is_single=True)
    if one.kind == "UUID" and "uuid" not in str(column.type):
        return Reading(one, name, name, convert=lambda value: str(uuid.UUID(bytes=value)))
    if one.kind == "INTERVAL":
        return Reading(one, name, name, convert=_microseconds)
    if one.kind in ("TIMESTAMP", "DATE"):
        # 0000-00-00 comes as a text
        return Reading(one, name, name, convert=_no_text)
    return Reading(one, name, name, convert=_text if one.kind == "VARCHAR" else None)


def _of_postgres(name: str, one: Attribute, is_single: bool) -> Reading:
    text = f"{name}::text"
    if one.kind in ("VARCHAR", "json", "decimal", "UUID"):
        return Reading(one, text, text)
    return Reading(one, name, text, is_single=is_single)


def _microseconds(value: dt.timedelta) -> int:
    return int(value / dt.timedelta(microseconds=1))


def _no_text(value: Any) -> Any:
    return None if isinstance(value, str) else value


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def arrow_type(kind: str) -> Any:
    """Give the Arrow type in which a kind of column is stored.

    Parameters
    ----------
    kind : str
        Of an `Attribute`.

    Returns
    -------
    pyarrow.DataType
    """
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    decimal = _DECIMAL.match(kind)
    if decimal:
        return pa.decimal128(int(decimal[1]), int(decimal[2] or 0))
    return {
        "BIGINT": pa.int64(),
        "UBIGINT": pa.uint64(),
        "DOUBLE": pa.float64(),
        "float32": pa.float32(),
        "BOOLEAN": pa.bool_(),
        "DATE": pa.date32(),
        "TIMESTAMP": pa.timestamp("us"),
        "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", "UTC"),
        "TIME": pa.time64("us"),
        "INTERVAL": pa.int64(),
        "blob": pa.binary(),
        "longblob": pa.binary(),
        "bytes": pa.binary(),
    }.get(kind, pa.string())


def as_column(reading: Reading, values: Sequence[Any]) -> Any:
    """Give the values of one column as they are stored.

    Parameters
    ----------
    reading : Reading
        The column.
    values : sequence
        As the driver gave them.

    Returns
    -------
    pyarrow.Array
    """
    import pyarrow as pa

    convert = reading.convert
    if convert is not None:
        values = [None if one is None else convert(one) for one in values]
    if reading.is_single:
        # the shortest number that is this float is the one that was typed
        return pa.array(values, pa.float32()).cast(pa.string()).cast(pa.float64())
    return pa.array(values, arrow_type(reading.attribute.kind))
