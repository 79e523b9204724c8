"""Answers as files: Parquet that gives back exactly what the server said.

A column whose values are all of one plain type is stored as such; any other (maps, lists,
integers among floats) as JSON text, cell by cell. The bytes of a file depend on the answer and
what it belongs to, not on when or by whom it was asked.
"""

from __future__ import annotations

import gc
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it ships no types
import ujson

from one_cache.errors import ContentError

if TYPE_CHECKING:
    import os

LAYOUT = 1
_MARK = b"one_cache_answer"
_PORTION = 10_000  # rows that are read at once: the texts of more need not be in memory
_TYPES: Mapping[type, Callable[[], Any]] = {
    bool: pa.bool_,
    int: pa.int64,
    float: pa.float64,
    str: pa.string,
    bytes: pa.binary,
}


@dataclass(frozen=True)
class Answer:
    """What a server said.

    Attributes
    ----------
    columns : sequence of str
        Names, in order.
    rows : sequence of sequence
        A value for each column: what JSON can hold, or bytes.
    media : str
        Content type of an answer that is no table; it is the one cell of the one row.
    status : int
        HTTP status; of a refusal the cell is the server's message.
    about : mapping
        What it answers: server, dataset, version of the dataset, query.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    media: str = ""
    status: int = 200
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_body(cls, body: bytes, media: str) -> Answer:
        """Make the answer that is a file: a skeleton, a mesh, a JSON text."""
        return cls(("body",), ((body,),), media=media or "application/octet-stream")

    @classmethod
    def of_refusal(cls, status: int, message: str) -> Answer:
        """Make the answer that is a refusal."""
        return cls(("error",), ((message,),), status=status)

    @property
    def cell(self) -> Any:
        """The one cell of an answer that is no table."""
        return self.rows[0][0]


def pack(answer: Answer) -> bytes:
    """Give the file that holds an answer.

    Parameters
    ----------
    answer : Answer
        The same answer gives the same bytes (with one version of pyarrow).

    Returns
    -------
    bytes
        Parquet.

    Raises
    ------
    ContentError
        Rows of different lengths.

    Examples
    --------
    >>> rows = [[1, {"b": 1, "a": None}], [None, 1.5]]
    >>> again = unpack(pack(Answer(["n", "mixed"], rows)))
    >>> again.columns, again.rows
    (['n', 'mixed'], [[1, {'b': 1, 'a': None}], [None, 1.5]])
    """
    width = len(answer.columns)
    if any(len(row) != width for row in answer.rows):
        raise ContentError(f"an answer of {width} columns has rows of another length")
    cells = list(zip(*answer.rows, strict=True)) if answer.rows else [()] * width
    arrays = [_array(values) for values in cells]
    about = {
        "layout": LAYOUT,
        "rows": len(answer.rows),
        "json": [at for at, (_, is_json) in enumerate(arrays) if is_json],
        "media": answer.media,
        "status": answer.status,
        "about": dict(answer.about),
    }
    text = json.dumps(about, sort_keys=True, ensure_ascii=True)
    table = pa.Table.from_arrays([array for array, _ in arrays], names=list(answer.columns))
    sink = io.BytesIO()
    options = {"compression": "zstd", "store_schema": False, "write_statistics": False}
    with pq.ParquetWriter(sink, table.schema, **options) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_MARK: text.encode()})
    return sink.getvalue()


def unpack(source: bytes | str | os.PathLike[str]) -> Answer:
    """Give the answer that a file holds.

    Parameters
    ----------
    source : bytes or path-like
        What :func:`pack` gave, or the file with it.

    Returns
    -------
    Answer
        New lists and maps, which the caller may change.

    Raises
    ------
    ContentError
        It cannot be read, or is no such file.
    """
    where, opened = _opened(source)
    about = _about(opened, where)
    nested = set(about["json"])
    names = opened.schema_arrow.names
    rows: list[list[Any]] = [] if names else [[] for _ in range(about["rows"])]
    try:
        # the threads of Arrow cost a small answer more than they save
        with uncollected():
            for batch in opened.iter_batches(batch_size=_PORTION, use_threads=False):
                cells = [_values(column, at in nested) for at, column in enumerate(batch.columns)]
                rows += map(list, zip(*cells, strict=True))
    except (OSError, pa.ArrowException) as error:
        raise ContentError(f"{where}: cannot be read: {error}") from error
    return Answer(names, rows, about["media"], int(about["status"]), dict(about["about"]))


def read_about(path: Path) -> Mapping[str, Any]:
    """Read what a file says it answers; its rows are not read.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    mapping
        ``about`` of the answer, and ``columns``, ``rows``, ``status``, ``media``.

    Raises
    ------
    ContentError
        It cannot be read, or is no such file.
    """
    where, opened = _opened(path)
    found = _about(opened, where)
    names = opened.schema_arrow.names
    return {**found["about"], **{key: found[key] for key in ("rows", "status")}, "columns": names}


def parsed(text: bytes | str) -> Any:
    """Give what a JSON text holds.

    Raises
    ------
    ValueError
        It is no JSON.
    """
    with uncollected():
        return ujson.loads(text)


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage while many objects are made: it takes longer than making them.

    Examples
    --------
    >>> with uncollected():
    ...     gc.isenabled()
    False
    """
    # whoever finds it stopped, by a user or another thread, leaves it alone
    runs = gc.isenabled()
    if runs:
        gc.disable()
    try:
        yield
    finally:
        if runs:
            gc.enable()


def _opened(source: bytes | str | os.PathLike[str]) -> tuple[str, Any]:
    where = "an answer" if isinstance(source, bytes) else str(source)
    given = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        # most answers are small: reading ahead costs them more than it saves
        return where, pq.ParquetFile(given, pre_buffer=False)
    except (OSError, pa.ArrowException) as error:
        raise ContentError(f"{where}: cannot be read: {error}") from error


def _about(opened: Any, where: str) -> dict[str, Any]:
    found = (opened.metadata.metadata or {}).get(_MARK)
    if found is None:
        raise ContentError(f"{where}: no answer of a server: it does not say what it answers")
    about: dict[str, Any] = json.loads(found)
    if about["layout"] > LAYOUT:
        raise ContentError(
            f"{where}: written in layout {about['layout']}, this version knows {LAYOUT}; "
            "upgrade one_cache"
        )
    return about


def _array(values: Sequence[Any]) -> tuple[Any, bool]:
    """Give a column, and whether its cells are JSON text."""
    kinds = set(map(type, values)) - {type(None)}
    if len(kinds) == 1:
        plain = _TYPES.get(kinds.pop())
        if plain is not None:
            try:
                return pa.array(values, plain()), False
            # an integer of more than 64 bits, a text that is no UTF-8
            except (OverflowError, UnicodeEncodeError, pa.ArrowInvalid):
                pass
    texts = [None if value is None else _dumped(value) for value in values]
    return pa.array(texts, pa.string()), True


def _dumped(value: Any) -> str:
    try:
        return str(ujson.dumps(value, ensure_ascii=True, escape_forward_slashes=False))
    except (OverflowError, UnicodeEncodeError):
        return json.dumps(value, ensure_ascii=True)


def _values(column: Any, is_json: bool) -> list[Any]:
    """Give the Python values of a column; the same types as were put in."""
    if column.null_count == len(column):
        return [None] * len(column)
    if not is_json and (pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        return _whole(column)
    values: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
    if column.null_count and pa.types.is_floating(column.type):
        return [None if null else one for one, null in zip(values, _nulls(column), strict=True)]
    if is_json:
        return list(ujson.loads(f"[{','.join('null' if one is None else one for one in values)}]"))
    return values


def _whole(column: Any) -> list[Any]:
    if not column.null_count:
        return list(column.to_numpy(zero_copy_only=False).tolist())
    filled = column.fill_null(False if pa.types.is_boolean(column.type) else 0)
    values = filled.to_numpy(zero_copy_only=False).tolist()
    return [None if null else one for one, null in zip(values, _nulls(column), strict=True)]


def _nulls(column: Any) -> list[bool]:
    return list(column.is_null().to_numpy(zero_copy_only=False).tolist())
