"""The tables of behaviour: Antelop's names and columns, and the access tables that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from one_cache.cache import Cache
from one_cache.cache.relating import TableRows
from one_cache.relation import Column, Heading, Relation, Table
from one_cache.rig.files import Reader
from one_cache.tables.schema import quoted

SESSION = ("experimenter", "experiment_id", "session_id")
RIG = ("experimenter", "behaviourrig_id")
_WORLD = (*SESSION, "behaviourrig_id")
_OBJECT = (*_WORLD, "feature_id")
_PLACE = ("x_coordinate", "y_coordinate", "z_coordinate")

_TYPES: Mapping[str, str] = {
    **dict.fromkeys(
        ("experiment_id", "session_id", "behaviourrig_id", "feature_id", "mask_id", "video_id"),
        "INTEGER",
    ),
    "animal_id": "INTEGER",
    **dict.fromkeys(_PLACE, "DOUBLE"),
}
_COMMENTS: Mapping[str, str] = {
    "data": "values of the events",
    "timestamps": "times of the events (s)",
    "unit": "of the data",
    **dict.fromkeys(_PLACE, "of the feature in the rig"),
    "object_type": "World or Self",
    "source_type": "where the feature is recorded",
    "mask_function": "script.function",
    "nwb_hash": "of the file that was inserted",
}

# class name: access table, primary key, other columns
_TABLES: Mapping[str, tuple[str, Sequence[str], Sequence[str]]] = {
    "BehaviourRig": ("rigs", RIG, ("behaviourrig_name", "rig_json")),
    "Feature": (
        "features",
        (*RIG, "feature_id"),
        ("feature_name", "source_type", "data_type", "feature_description", "feature_data"),
    ),
    "MaskFunction": (
        "mask_functions",
        (*RIG, "mask_id"),
        ("maskfunction_name", "mask_function", "maskfunction_description"),
    ),
    "World": ("worlds", SESSION, ("behaviourrig_id", "dlc_training", "nwb_file", "nwb_hash")),
    "Self": ("selves", (*SESSION, "animal_id"), ("animal_number", "animal_name")),
    "Object": ("objects", _OBJECT, ("object_name", "object_type", "animal_id")),
    "Video": ("videos", (*_WORLD, "video_id"), ("video_name", "video", "timestamps")),
    "AnalogEvents": (
        "analog_events",
        _OBJECT,
        ("data", "animal_id", "timestamps", *_PLACE, "unit", "analogevents_name"),
    ),
    "DigitalEvents": (
        "digital_events",
        _OBJECT,
        ("data", "animal_id", "timestamps", "unit", *_PLACE, "digitalevents_name"),
    ),
    "IntervalEvents": (
        "interval_events",
        _OBJECT,
        ("data", "animal_id", "timestamps", *_PLACE, "intervalevents_name"),
    ),
    "Kinematics": (
        "kinematics",
        (*_OBJECT, "video_id"),
        ("data", "animal_id", "timestamps", "kinematics_name"),
    ),
    "Mask": ("masks", (*_WORLD, "mask_id"), ("data", "timestamps", "mask_name")),
}
NAMES = tuple(_TABLES)
_OF_RIGS = ("BehaviourRig", "Feature", "MaskFunction")


def table_of(name: str) -> str:
    """Give the access table of a relation."""
    return _TABLES[name][0]


def key_of(name: str) -> Sequence[str]:
    """Give the primary key of a relation."""
    return _TABLES[name][1]


def relation(name: str, cache: Cache) -> Relation:
    """Give one of the relations, on the tables of a cache.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    cache : Cache
        Whose tables.

    Returns
    -------
    Relation
        Its arrays are read, verified and recorded when they are fetched.
    """
    table, key, rest = _TABLES[name]
    heading = Heading(tuple(_column(one, cache) for one in (*key, *rest)), tuple(key))
    rows = TableRows(cache, table, heading)
    source = rows if name in (*_OF_RIGS, "World") else SessionRows(cache, table, heading)
    return Relation(source, heading=heading, table=Table(name, table))


def _column(name: str, cache: Cache) -> Column:
    decode: Any = Reader(cache, name) if name in ("data", "timestamps") else None
    kind = "INTEGER" if name == "animal_number" else _TYPES.get(name, "VARCHAR")
    return Column(name, kind, comment=_COMMENTS.get(name, ""), decode=decode)


class SessionRows(TableRows):
    """Rows of sessions that were inserted as a whole.

    The row of a session in ``worlds`` is written last: without it, what is there is what a process
    left that was killed.
    """

    def select(self) -> str:
        """Give SQL for the rows of whole sessions."""
        rows = super().select()
        if table_of("World") not in self._cache.tables.names():
            return f"SELECT * FROM ({rows}) AS r WHERE false"
        same = " AND ".join(f"w.{quoted(one)} = r.{quoted(one)}" for one in SESSION)
        worlds = quoted(table_of("World"))
        return (
            f"SELECT * FROM ({rows}) AS r WHERE EXISTS (SELECT 1 FROM {worlds} AS w WHERE {same})"
        )
