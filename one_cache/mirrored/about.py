"""What the file of a mirrored table says of itself, and the row that pins it."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from one_cache.errors import TableCorrupt
from one_cache.records import File
from one_cache.relation import ForeignKey

TABLE = "mirrored"
FOLDER = "datajoint"
BUCKET = "_bucket"
"""Column of the file by which changed rows are found; users do not see it."""

LAYOUT = 1
_KEY = b"one_cache_mirrored"
_IDS = uuid.UUID("0d3c9a54-8c3b-5c1f-9b0a-3a5a8f6f2f11")
_TIERS = (("__", "computed"), ("_", "imported"), ("#", "lookup"))
# people write "(s) calcium activity", "bin size (in second)" or "duration of the trial (s)"
_FIRST = re.compile(r"\s*\((?:in )?([^()]{1,24})\)")
_LATER = re.compile(r"\(in ([^()]{1,24})\)|\(([^()\s]{1,12})\)\s*$")
_UNITS = re.compile(
    r"(?:[kMGmunpfµμ]?(?:s|m|g|l|L|V|A|W|Hz|ohm|Ohm|Ω|b|B|rad|bar|Pa|lx)|sec|seconds?|min|minutes?|"
    r"h|hours?|days?|cm|px|pixels?|frames?|samples?|fps|deg|degrees?|°C?|%|a\.u\.|dB|dF/F|ΔF/F|C|K)"
    r"(?:[/*^·²2-].{0,8})?"
)


@dataclass(frozen=True)
class Attribute:
    """One column as the pipeline declared it.

    Attributes
    ----------
    name : str
        Its name.
    kind : str
        How it is stored here: a type of the engine, or one of the keys of `relations.DECODED`.
    declared : str
        Its type on the server, as DataJoint writes it.
    comment : str
        Its comment.
    nullable : bool
        Whether a row may have no value.
    default : str or None
        As the server writes it.
    """

    name: str
    kind: str
    declared: str = ""
    comment: str = ""
    nullable: bool = True
    default: str | None = None

    @property
    def unit(self) -> str:
        """Unit that the comment gives in parentheses; empty without one.

        Examples
        --------
        >>> comments = "(s) activity", "bin size (in second)", "speed (cm/s)", "number (0-based)"
        >>> [Attribute("x", "DOUBLE", comment=text).unit for text in comments]
        ['s', 'second', 'cm/s', '']
        """
        first, later = _FIRST.match(self.comment), _LATER.search(self.comment)
        if first:
            return first[1].strip()
        found = (later[1] or later[2]) if later else ""
        return found if _UNITS.fullmatch(found) else ""


@dataclass(frozen=True)
class About:
    """What a mirrored table is.

    Attributes
    ----------
    schema, table : str
        Names on the server.
    comment : str
        What the rows are.
    attributes : tuple of Attribute
        The columns, in order.
    primary_key : tuple of str
        Names of those that tell rows apart.
    foreign_keys : tuple of ForeignKey
        With full names of the tables, ``schema.table``.
    """

    schema: str
    table: str
    comment: str
    attributes: tuple[Attribute, ...]
    primary_key: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()

    @property
    def class_name(self) -> str:
        """Name of the class, ``"Trial"`` or ``"Trial.Attribute"``."""
        return class_name(self.table)

    @property
    def tier(self) -> str:
        """``"manual"``, ``"lookup"``, ``"imported"``, ``"computed"`` or ``"part"``."""
        return tier(self.table)

    def to_json(self) -> str:
        """Write it as text.

        Returns
        -------
        str
        """
        return json.dumps({"layout": LAYOUT, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> About:
        """Read what `to_json` wrote.

        Parameters
        ----------
        text : str or bytes
            JSON.

        Returns
        -------
        About
        """
        found: dict[str, Any] = json.loads(text)
        if found.pop("layout") > LAYOUT:
            raise TableCorrupt("written by a later version of one_cache; upgrade it")
        return cls(
            found["schema"],
            found["table"],
            found["comment"],
            tuple(Attribute(**one) for one in found["attributes"]),
            tuple(found["primary_key"]),
            tuple(ForeignKey(**one) for one in found["foreign_keys"]),
        )

    def metadata(self) -> dict[bytes, bytes]:
        """Give what is written into the file."""
        return {_KEY: self.to_json().encode()}

    @classmethod
    def of_file(cls, path: Path) -> About:
        """Read what a file says of itself.

        Parameters
        ----------
        path : pathlib.Path
            The file.

        Returns
        -------
        About

        Raises
        ------
        TableCorrupt
            It is no file of a mirrored table.
        """
        import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
        from pyarrow import parquet

        try:
            return cls.from_json((parquet.read_schema(path).metadata or {})[_KEY])
        except (pa.ArrowInvalid, OSError, KeyError, ValueError, TypeError) as error:
            raise TableCorrupt(f"{path}: no mirrored table: {error!r}") from error


@dataclass(frozen=True)
class Row:
    """One row of the access table.

    Attributes
    ----------
    id : str
        Of schema and table.
    schema, table, class_name, tier : str
        See `About`.
    rows : int
        How many there are.
    path, size, hash
        Of the file.
    server : str
        Address, without credentials.
    restriction : str
        What kept rows out, for people; empty where all were copied.
    source : str
        The same in SQL of the server.
    state : str
        ``""``, or ``"dropped"`` where the server has no such table any more.
    pulled_at : str
        ISO time of the snapshot, UTC.
    """

    id: str
    schema: str
    table: str
    class_name: str
    tier: str
    rows: int
    path: str
    size: int
    hash: str
    server: str
    restriction: str
    source: str
    state: str
    pulled_at: str

    @property
    def file(self) -> File:
        """The file that holds the rows."""
        return File(self.path, size=self.size, hash=self.hash, id=self.id)


def row_id(schema: str, table: str) -> str:
    """Give the id of a mirrored table.

    Parameters
    ----------
    schema, table : str
        Names on the server.

    Returns
    -------
    str
        A UUID; the same in every cache.
    """
    return str(uuid.uuid5(_IDS, json.dumps([schema, table])))


def tier(table: str) -> str:
    """Give the tier that the name of a table begins with.

    Examples
    --------
    >>> [tier(name) for name in ("session", "#kind", "_trial", "__activity", "_trial__note")]
    ['manual', 'lookup', 'imported', 'computed', 'part']
    """
    start = next((start for start, _ in _TIERS if table.startswith(start)), "")
    if "__" in table[len(start) :]:
        return "part"
    return dict(_TIERS).get(start, "manual")


def class_name(table: str) -> str:
    """Give the name of the class of a table.

    Parameters
    ----------
    table : str
        Its name on the server.

    Returns
    -------
    str
        A part table stands behind its master.

    Examples
    --------
    >>> class_name("#event_type"), class_name("__activity__trace"), class_name("_odd-table name")
    ('EventType', 'Activity.Trace', 'OddTableName')
    """
    start = next((start for start, _ in _TIERS if table.startswith(start)), "")
    parts = re.split(r"__(?=[^_])", table[len(start) :])
    return ".".join(_camel_case(part) for part in parts)


def _camel_case(name: str) -> str:
    return re.sub(r"(?:^|[_\W])+([a-zA-Z])", lambda match: match[1].upper(), name)
