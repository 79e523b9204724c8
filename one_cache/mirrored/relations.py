"""One mirrored table as a relation: its rows, its values, its files, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from one_cache.errors import (
    ContentError,
    HashMismatch,
    InvalidArgument,
    NotInCache,
    TableReadOnly,
    UnknownColumn,
)
from one_cache.mirrored.about import About, Attribute, Row
from one_cache.mirrored.blob import is_packed, unpack
from one_cache.recorder import Entry, moment
from one_cache.records import File
from one_cache.relation import Column, Heading, Relation, Table
from one_cache.relation.source import Query, new_token
from one_cache.tables.schema import parquet_source, quoted

if TYPE_CHECKING:
    from one_cache.cache.desk import Desk

KIND = "mirror"
"""What a record calls a mirrored table that was read."""


class MirroredRelation(Relation):
    """A relation on rows that were copied from a server; it takes none.

    Attributes
    ----------
    row : Row
        The table that it began with.
    """

    row: Row
    _is_restricted = False

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TableReadOnly(
            f"{self.row.schema}.{self.row.class_name} is a mirror of {self.row.server}: rows are "
            "changed there, with the pipeline, and pulled again"
        )

    insert = insert1 = update1 = delete = delete_quick = drop = drop_quick = _refuse

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Say of a column that is not there how it could be had."""
        try:
            yield
        except UnknownColumn as error:
            raise UnknownColumn(
                f"{error} {self.row.schema}.{self.row.class_name} has the columns of its last "
                f"pull, at {self.row.pulled_at}; "
                f"{how_to_pull(self.row.server, self.row.schema)} copies those that came since"
            ) from error

    def restrict(self, *conditions: Any) -> Relation:
        """See `Relation.restrict`."""
        for condition in conditions:
            self._refuse_paths(condition)
        with self._told():
            result = super().restrict(*conditions)
        if result is not self and isinstance(result, MirroredRelation):
            result._is_restricted = True
        return result

    def _refuse_paths(self, condition: Any) -> None:
        """Refuse what DataJoint would look for inside JSON; here it would restrict nothing."""
        for name in condition if isinstance(condition, Mapping) else ():
            column = re.split(r"[.:\[]", str(name))[0]
            if name not in self.heading and column != name and column in self.heading:
                raise InvalidArgument(
                    f"{name!r}: what is inside {column!r} cannot be asked of a mirror; fetch the "
                    "column and choose in Python"
                )

    def join(self, other: Relation, *, left: bool = False) -> Relation:
        """See `Relation.join`."""
        result = super().join(other, left=left)
        if isinstance(result, MirroredRelation):
            result._is_restricted |= getattr(other, "_is_restricted", False)
        return result

    def proj(self, *attrs: Any, **named: str) -> Relation:
        """See `Relation.proj`."""
        with self._told():
            return super().proj(*attrs, **named)

    def aggr(
        self,
        group: Relation,
        *attrs: Any,
        keep_all_rows: bool | None = None,
        exclude_nonmatching: bool | None = None,
        **named: str,
    ) -> Relation:
        """See `Relation.aggr`.

        As on the server of DataJoint 2, rows without any in `group` are kept, unless `group` is
        restricted or a parameter says otherwise.
        """
        if keep_all_rows is None:
            keep_all_rows = not getattr(group, "_is_restricted", False)
        more: dict[str, Any] = {
            **named,
            "keep_all_rows": keep_all_rows,
            "exclude_nonmatching": exclude_nonmatching,
        }
        with self._told():
            return super().aggr(group, *attrs, **more)

    def _names(self, attrs: Any) -> list[str]:
        with self._told():
            return super()._names(attrs)


class Rows:
    """The rows of a mirrored table; see :class:`one_cache.relation.Source`.

    Parameters
    ----------
    cache : Desk
        Holds the file.
    row : Row
        Pins it.
    attributes : tuple of Attribute
        Its columns.
    """

    home: Any = None

    def __init__(self, cache: Desk, row: Row, attributes: tuple[Attribute, ...]) -> None:
        self.token = new_token()
        self._cache = cache
        self._row = row
        self._attributes = attributes
        self._is_noted = False

    def select(self) -> str:
        """Give SQL for the rows of the file, which is verified as the mode wants it."""
        bring(self._cache, self._row)
        self._note()
        items = ", ".join(_item(one) for one in self._attributes)
        path = self._cache.store.path(self._row.path)
        return f"SELECT {items} FROM {parquet_source(path)}"

    def arrow(self) -> Any:
        """Give the rows as a ``pyarrow.Table``."""
        return Query(f"SELECT * FROM {quoted(self.token)}", (), (self,)).answer()[0]

    def alone(self) -> AbstractContextManager[Any]:
        """Keep nobody out: nothing is added."""
        return contextlib.nullcontext()

    def append(self, rows: Any) -> None:
        """Refuse.

        Raises
        ------
        TableReadOnly
            Always.
        """
        raise TableReadOnly(f"{self._row.schema}.{self._row.class_name} is a mirror")

    def _note(self) -> None:
        """Record that the table was read, once."""
        recorder = self._cache.recorder
        if not recorder.on or (self._is_noted and recorder.has(KIND, self._row.id)):
            return
        self._is_noted = True
        row = self._row
        recorder.add(
            Entry(
                KIND,
                row.id,
                path=row.path,
                rel_path=row.path,
                size=row.size,
                hash=row.hash,
                source=row.server,
                mode=self._cache.mode,
                note=f"only {row.restriction}" if row.restriction else "",
                at=moment(),
            )
        )


class Attached:
    """Gives what was attached to a row: the path of a file, or the array in it.

    Parameters
    ----------
    cache : Desk
        Holds the files.
    is_array : bool
        Whether the file is read.
    """

    def __init__(self, cache: Desk, is_array: bool = False) -> None:
        self._cache = cache
        self._is_array = is_array

    def __call__(self, text: str) -> Any:
        """Bring the files of one value, verified, and record them as datasets."""
        found = json.loads(text)
        files = [File(**one) for one in found["files"]]
        refused = self._cache.bring(files, lost=_lost(self._cache, files))
        for file in files:
            if file.path in refused:
                raise refused[file.path]
            self._cache.recorder.add(
                Entry(
                    "dataset",
                    file.id or "",
                    path=file.path,
                    rel_path=file.path,
                    size=file.size,
                    hash=file.hash,
                    qc="NOT_SET",
                    source=self._cache.source,
                    mode=self._cache.mode,
                    at=moment(),
                )
            )
        place = self._cache.store.path(found["path"])
        if not self._is_array:
            return str(place)
        import numpy as np

        try:
            return np.load(place, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ContentError(f"{place}: no array: {error}") from error


def mirrored(cache: Desk, row: Row, parts: Mapping[str, Relation]) -> MirroredRelation:
    """Give a mirrored table as a relation.

    Parameters
    ----------
    cache : Desk
        Holds the file.
    row : Row
        Pins it.
    parts : mapping of str to Relation
        Part tables.

    Returns
    -------
    MirroredRelation

    Raises
    ------
    NotInCache, HashMismatch
        The file is not here, or not the one that is pinned.
    """
    bring(cache, row)
    about = About.of_file(cache.store.path(row.path))
    columns = tuple(_column(cache, one) for one in about.attributes)
    heading = Heading(columns, about.primary_key, about.foreign_keys)
    table = Table(
        row.class_name, f"{about.schema}.{about.table}", about.comment, parts, tier=about.tier
    )
    found = MirroredRelation(Rows(cache, row, about.attributes), heading=heading, table=table)
    found.row = row
    return found


def bring(cache: Desk, row: Row) -> None:
    """Let the file of a mirrored table be here and right, as far as the mode allows.

    Raises
    ------
    NotInCache, HashMismatch
        It is not.
    """
    refused = cache.bring([row.file], lost=_lost(cache, [row.file]))
    for error in refused.values():
        kind = HashMismatch if isinstance(error, HashMismatch) else NotInCache
        raise kind(
            f"the mirror of {row.schema}.{row.class_name} cannot be read: {error}. "
            f"{how_to_pull(row.server, row.schema)} copies it anew"
        ) from error


def how_to_pull(server: str, schema: str) -> str:
    """Give the call that copies a schema.

    Examples
    --------
    >>> print(how_to_pull("mysql://db.lab.org:3306", "u24_trial"))
    Mirror(cache, host='db.lab.org', port=3306, backend='mysql').pull('u24_trial')
    """
    parts = urlsplit(server)
    port = f", port={parts.port}" if parts.port else ""
    base = f", database={parts.path[1:]!r}" if parts.path else ""
    where = f"host={parts.hostname!r}{port}, backend={parts.scheme!r}{base}"
    where = where if server else "host=..."
    return f"Mirror(cache, {where}).pull({schema!r})"


def _lost(cache: Desk, files: list[File]) -> set[str]:
    """Name the files that nobody but the server of the pipeline has."""
    return {file.path for file in files} if cache.remote is None else set()


def _column(cache: Desk, one: Attribute) -> Column:
    """Give the column that users see."""
    decoders: Mapping[str, Callable[[Any], Any]] = {
        "blob": unpack,
        "longblob": _value,
        "json": json.loads,
        "decimal": Decimal,
        "file": Attached(cache),
        "npy": Attached(cache, is_array=True),
    }
    kind = DECODED.get(one.kind, one.kind)
    # as DataJoint 2 shows it: "<blob@main>" is a "<blob>"
    codec = re.match(r"<\w+", one.declared)
    return Column(
        one.name,
        kind,
        one.comment,
        one.unit,
        one.nullable,
        one.default,
        decoders.get(one.kind),
        f"{codec[0]}>" if codec else "json" if one.kind == "json" else "bytes",
    )


DECODED: Mapping[str, str] = {
    "blob": "BLOB",
    "longblob": "BLOB",
    "bytes": "BLOB",
    "json": "VARCHAR",
    "decimal": "VARCHAR",
    "file": "VARCHAR",
    "npy": "VARCHAR",
}
"""Kinds whose values are decoded when they are read, and the type that is stored."""


def _value(data: bytes) -> Any:
    """Give what a column of the first DataJoint holds: a packed value, or just bytes."""
    if not is_packed(data):
        return data
    try:
        return unpack(data)
    except ContentError:
        # bytes of something else that begin alike
        return data


def _item(one: Attribute) -> str:
    name = quoted(one.name)
    return f"to_microseconds({name}) AS {name}" if one.kind == "INTERVAL" else name
