"""Tables mirrored from DataJoint pipelines, read without a server and without DataJoint.

A mirrored table is a Parquet file among the files of the cache, written by
:class:`one_cache.datajoint.Mirror`. The file says itself what it holds: names, tier, key, foreign
keys, comments, units. The access table ``mirrored`` has a row for each and pins its file, so one
rename of that table shows a whole pull, and manifest, record and bundle hold what they say.

::

    about     what the file of a mirrored table says of itself; names of classes
    blob      packed values
    relations one table: its rows, its values, what it refuses
    schemas   ``cache.schemas``: classes and part tables
"""

from __future__ import annotations

from one_cache.mirrored.about import About, Attribute, Row, class_name
from one_cache.mirrored.blob import is_packed, unpack
from one_cache.mirrored.relations import MirroredRelation
from one_cache.mirrored.schemas import Schema, Schemas

__all__ = [
    "About",
    "Attribute",
    "MirroredRelation",
    "Row",
    "Schema",
    "Schemas",
    "class_name",
    "is_packed",
    "unpack",
]
