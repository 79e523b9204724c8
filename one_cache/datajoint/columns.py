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
_NUMBERS = ("BIGINT", "UBIGINT", "DOUBLE")
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
        Gives a text that is another one when the value is, and that no comma can end.
    octets : str
        Gives the number of bytes, where it may be large; else empty.
    convert : callable or None
        Makes what is stored of what the driver gives, where it is not the same; None stays None.
    is_single : bool
        Whether the number has 32 bits on the server.
    is_number : bool
        Whether the driver makes the value of a text of digits, which is done faster here.
    """

    attribute: Attribute
    sql: str
    digest: str
    octets: str = ""
    convert: Convert | None = None
    is_single: bool = False
    is_number: bool = False


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
    text = f"{name}::text" if server.is_postgres else name
    hashed = f"coalesce(md5({text}), '-')"
    codec = getattr(column.codec, "name", "") if column.codec else ""
    if column.codec and column.store is not None:
        # the row names what lies in the store
        return Reading(one, text, hashed, convert=attacher.of_store(codec, column.store))
    if codec == "attach" or one.kind in ("blob", "longblob", "bytes"):
        convert = attacher.inside if codec == "attach" else bytes
        return Reading(one, name, f"coalesce(md5({name}), '-')", f"octet_length({name})", convert)
    is_single = bool(re.match("float|real", str(column.type).lower()))
    if server.is_postgres:
        return _of_postgres(name, one, is_single)
    return _of_mysql(name, column, one, is_single)


def _of_mysql(name: str, column: Any, one: Attribute, is_single: bool) -> Reading:
    # as text a number of 32 bits would have six digits
    sql = f"({name} + 0e0)" if is_single else name
    shown = f"ifnull({sql}, '-')"
    if one.kind in _NUMBERS or one.kind.startswith("DECIMAL"):
        return Reading(one, sql, shown, is_single=is_single, is_number=True)
    if one.kind == "UUID" and "uuid" not in str(column.type):
        to_text: Convert = lambda value: str(uuid.UUID(bytes=value))  # noqa: E731
        return Reading(one, name, f"ifnull(hex({name}), '-')", convert=to_text)
    if one.kind == "INTERVAL":
        return Reading(one, name, shown, convert=_microseconds)
    if one.kind in ("TIMESTAMP", "DATE"):
        # 0000-00-00 comes as a text
        return Reading(one, name, shown, convert=_no_text)
    is_short = re.match(r"(var)?char|enum", str(column.type).lower())
    # as bytes: texts of two collations cannot be joined
    digest = f"cast(quote({name}) as binary)" if is_short else f"ifnull(md5({name}), '-')"
    return Reading(one, name, digest, convert=_text if one.kind == "VARCHAR" else None)


def _of_postgres(name: str, one: Attribute, is_single: bool) -> Reading:
    text = f"{name}::text"
    if one.kind in ("VARCHAR", "decimal", "UUID"):
        return Reading(one, text, f"quote_nullable({text})")
    if one.kind == "json":
        return Reading(one, text, f"coalesce(md5({text}), '-')")
    if one.kind.startswith("DECIMAL"):
        # a decimal of the engine has no NaN, which DataJoint inserts as no value
        return Reading(one, f"nullif({name}, 'NaN')", f"coalesce({text}, '-')")
    return Reading(one, name, f"coalesce({text}, '-')", is_single=is_single)


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
    kind = pa.float32() if reading.is_single else arrow_type(reading.attribute.kind)
    return typed(reading, pa.array(values, kind))


def typed(reading: Reading, values: Any) -> Any:
    """Give numbers as they were typed: of those with 32 bits, the shortest that is the same.

    Parameters
    ----------
    reading : Reading
        The column.
    values : pyarrow.Array or pyarrow.ChunkedArray
        Of 32 bits where the server has no more.

    Returns
    -------
    pyarrow.Array or pyarrow.ChunkedArray
    """
    import pyarrow as pa

    if not reading.is_single:
        return values
    return values.cast(pa.string()).cast(pa.float64())
