"""What an access table looks like, and how a foreign one is read as if it looked so.

A foreign table is one that ONE-api, a server or a lab's own script wrote: ids as text in any case,
as UUID, or (ONE-api 2) as two 64-bit integers; sizes as floats; columns missing or added. Its
columns are brought to one form by SQL expressions, so every question is asked in one way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from one_cache.errors import TableColumnMissing, TableForeign, TableTooNew, near_misses
from one_cache.records import QC

LAYOUT = 1
"""Version of the form in which this package writes tables; a later one is refused."""

MARK = "one_cache"
"""Key of a file's metadata that says: written by this package, sorted, in small groups."""

QC_NAMES = tuple(level.name for level in sorted(QC))
# SQL types from which a column can be read; the others from any that is not nested
_KINDS = {
    "id": "VARCHAR|UUID|NULL",
    "eid": "VARCHAR|UUID|NULL",
    "date": "VARCHAR|DATE|TIMESTAMP.*|NULL",
    "projects": r"[^(]*",
}
KNOWN_API = 3  # major version of ONE-api whose tables are known


@dataclass(frozen=True)
class Layout:
    """Columns of one kind of table.

    Attributes
    ----------
    columns : mapping of str to str
        Name and SQL type of the columns that are always there, in order.
    needed : tuple of str
        Columns without which a file is no such table; the others read as null.
    key : tuple of str
        Columns that name a row, in the order of sorting; empty when rows have no name.
    """

    columns: Mapping[str, str]
    needed: tuple[str, ...]
    key: tuple[str, ...]


LAYOUTS: Mapping[str, Layout] = {
    "sessions": Layout(
        {
            "id": "VARCHAR",
            "lab": "VARCHAR",
            "subject": "VARCHAR",
            "date": "DATE",
            "number": "USMALLINT",
            "task_protocol": "VARCHAR",
            "projects": "VARCHAR",
        },
        ("id", "subject", "date"),
        ("id",),
    ),
    "datasets": Layout(
        {
            "eid": "VARCHAR",
            "id": "VARCHAR",
            "rel_path": "VARCHAR",
            "file_size": "UBIGINT",
            "hash": "VARCHAR",
            "exists": "BOOLEAN",
            "qc": "VARCHAR",
            "default_revision": "BOOLEAN",
        },
        ("eid", "id", "rel_path"),
        ("eid", "id"),
    ),
}


def layout_of(name: str, columns: Sequence[str] = ()) -> Layout:
    """Give the layout of a table; of an unknown kind, what its id columns say.

    Parameters
    ----------
    name : str
        ``"sessions"``, ``"datasets"``, or any other.
    columns : sequence of str
        What the table has.

    Returns
    -------
    Layout

    Examples
    --------
    >>> layout_of("datasets").key, layout_of("insertions", ["id", "eid", "name"]).key
    (('eid', 'id'), ('eid', 'id'))
    """
    if name in LAYOUTS:
        return LAYOUTS[name]
    return Layout({}, (), tuple(one for one in ("eid", "id") if one in columns))


def quoted(name: str) -> str:
    """Quote the name of a table or column for SQL.

    Examples
    --------
    >>> print(quoted('a "b" c'))
    "a ""b"" c"
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text for SQL.

    Examples
    --------
    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def parquet_source(path: Path | str) -> str:
    """Give SQL that reads one Parquet file, whatever it and its folders are called.

    Examples
    --------
    >>> print(parquet_source("lab=a/[1].pqt"))
    read_parquet('lab=a/[[]1].pqt', hive_partitioning = false)
    """
    return f"read_parquet({literal(only(path))}, hive_partitioning = false)"


def only(path: Path | str) -> str:
    """Write the name of a file as a pattern that fits this file alone.

    Examples
    --------
    >>> only("data[1]/what?.pqt")
    'data[[]1]/what[?].pqt'
    """
    return re.sub(r"[*?\[]", r"[\g<0>]", str(path))


def _half(column: str) -> str:
    """Give SQL for the 16 hex digits of a 64-bit integer, lowest byte first as in memory."""
    digits = f"lpad(to_hex({quoted(column)}::BIGINT), 16, '0')"
    return " || ".join(f"{digits}[{at}:{at + 1}]" for at in range(15, 0, -2))


def _uuid_of_pair(column: str) -> str:
    digits = f"lower({_half(f'{column}_0')} || {_half(f'{column}_1')})"
    cuts = ((1, 8), (9, 12), (13, 16), (17, 20), (21, 32))
    parts = " || '-' || ".join(f"hex[{first}:{last}]" for first, last in cuts)
    # a macro would have to exist in every connection; a one-element list names the value instead
    return f"list_transform([{digits}], lambda hex: {parts})[1]"


def _qc(column: str, kind: str) -> str:
    text = f"upper({column})" if kind == "VARCHAR" else f"TRY_CAST({column} AS INTEGER)::VARCHAR"
    cases = " ".join(f"WHEN '{level.value}' THEN '{level.name}'" for level in QC)
    return f"CASE coalesce({text}, '') WHEN '' THEN 'NOT_SET' {cases} ELSE {text} END"


def _date(column: str, kind: str) -> str:
    if kind == "VARCHAR":
        return f"CAST(nullif({column}, '') AS DATE)"
    if has_zone(kind):
        # a cast alone would give the day of this machine's time zone
        return f"CAST(make_timestamp(epoch_us({column}::TIMESTAMPTZ)) AS DATE)"
    return f"CAST({column} AS DATE)"


def has_zone(kind: str) -> bool:
    """Whether an SQL type is a time that knows its zone.

    Examples
    --------
    >>> has_zone("TIMESTAMP WITH TIME ZONE"), has_zone("TIMESTAMP_NS")
    (True, False)
    """
    return "TIME ZONE" in kind or kind.startswith("TIMESTAMPTZ")


def _clean(name: str, column: str, kind: str) -> str:
    """Give SQL that brings one column of a foreign table into its form."""
    raw = quoted(column)
    if column in ("id", "eid") and kind in ("VARCHAR", "UUID"):
        return f"coalesce(lower({raw}::VARCHAR), '')"
    target = layout_of(name).columns.get(column)
    if target == "BOOLEAN" and kind in ("FLOAT", "DOUBLE"):
        # NaN is null, not true; DuckDB's isnan trusts statistics, which leave NaN out
        raw = f"TRY_CAST({raw} AS INTEGER)"
    if column == "qc" and target:
        return _qc(raw, kind)
    if column == "exists" and target:
        return f"coalesce(TRY_CAST({raw} AS BOOLEAN), true)"
    if column == "rel_path" and target:
        # some servers wrote "no revision" as the revision "nan"
        return f"coalesce(regexp_replace({raw}::VARCHAR, '(^|/)#nan#/', '\\1', 'g'), '')"
    if column == "hash" and target:
        return f"{raw}::VARCHAR"
    if target == "VARCHAR":
        text = f"array_to_string({raw}, ',')" if kind.endswith("[]") else f"{raw}::VARCHAR"
        return f"coalesce({text}, '')"
    if target in ("UBIGINT", "USMALLINT", "BOOLEAN"):
        return f"TRY_CAST({raw} AS {target})"
    return _date(raw, kind) if target else raw


def _check_kinds(name: str, types: Mapping[str, str], where: str) -> None:
    for column in LAYOUTS[name].columns if name in LAYOUTS else ():
        kind = types.get(column, "NULL").strip('"')
        fits = _KINDS.get(column, r"[^\[(]*")
        if not re.fullmatch(fits, kind):
            raise TableForeign(
                f"{where}: no table of {name}: its column {column!r} holds {kind}; expected a "
                f"form of {layout_of(name).columns[column]}"
            )


def _pairs(types: Mapping[str, str]) -> list[str]:
    """Name the ids that a table of ONE-api 2 holds as two integers."""
    first = (re.fullmatch(r"(.*id)_0", column) for column in types)
    names = [match[1] for match in first if match]
    return [name for name in names if f"{name}_1" in types and name not in types]


def reading(name: str, types: Mapping[str, str], *, shaped: bool, where: str) -> dict[str, str]:
    """Say in SQL how each column of a file is read.

    Parameters
    ----------
    name : str
        Kind of table.
    types : mapping of str to str
        Columns of the file and their SQL types.
    shaped : bool
        Whether this package wrote the file; its columns are then taken as they are.
    where : str
        The file, for messages.

    Returns
    -------
    dict of str to str
        Column and expression; those of the layout first, further ones as they come.

    Raises
    ------
    TableColumnMissing
        A needed column is not there.
    TableForeign
        A column holds something else than it does in such a table.

    Examples
    --------
    >>> reading("insertions", {"id": "UUID", "name": "VARCHAR"}, shaped=False, where="x")["name"]
    '"name"'
    """
    if shaped:
        return {column: quoted(column) for column in types}
    _check_kinds(name, types, where)
    sources = {column: _clean(name, column, kind) for column, kind in types.items()}
    for pair in _pairs(types):
        del sources[f"{pair}_0"], sources[f"{pair}_1"]
        sources[pair] = _uuid_of_pair(pair)
    if name == "sessions" and "project" in sources and "projects" not in sources:
        del sources["project"]
        sources["projects"] = f"coalesce({quoted('project')}::VARCHAR, '')"
    layout = layout_of(name)
    for column in layout.needed:
        if column not in sources:
            raise TableColumnMissing(
                f"{where}: a table of {name} needs the column {column!r}, this one has "
                f"{', '.join(map(repr, types))}.{near_misses(column, types)}"
            )
    absent = {"exists": "true", "qc": "'NOT_SET'"}
    found = {}
    for column, kind in layout.columns.items():
        value = "''" if kind == "VARCHAR" and column != "hash" else f"NULL::{kind}"
        found[column] = sources.pop(column, absent.get(column, value))
    return {**found, **sources}


def check_meta(meta: Mapping[str, object], layout: int | None, where: str) -> None:
    """Refuse a table that a later version wrote.

    Parameters
    ----------
    meta : mapping
        What the file says of itself under ``one_metadata``.
    layout : int or None
        The layout that this package wrote, where it did.
    where : str
        The file, for messages.

    Raises
    ------
    TableTooNew
        Written in a layout, or for a ONE-api, that this version does not know.
    """
    if layout is not None and layout > LAYOUT:
        raise TableTooNew(
            f"{where}: written in layout {layout}, this version knows {LAYOUT}; upgrade one_cache"
        )
    version = re.match(r"\d+", str(meta.get("min_api_version", "0")))
    if version and int(version[0]) > KNOWN_API:
        raise TableTooNew(
            f"{where}: needs ONE-api {meta['min_api_version']}, this version knows "
            f"{KNOWN_API}; upgrade one_cache"
        )


def check_known(name: str, types: Mapping[str, str], where: str) -> None:
    """Refuse a Parquet file under the name of a table that says nothing of being one.

    Parameters
    ----------
    name : str
        ``"sessions"`` or ``"datasets"``.
    types : mapping of str to str
        Columns of the file.
    where : str
        The file, for messages.

    Raises
    ------
    TableForeign
        It has neither ``one_metadata`` nor the columns of such a table.
    """
    names = {*types, *_pairs(types)}
    missing = [column for column in layout_of(name).needed if column not in names]
    if missing:
        raise TableForeign(
            f"{where}: no access table: it has no 'one_metadata', and none of the columns "
            f"{', '.join(map(repr, missing))}"
        )
