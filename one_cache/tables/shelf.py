"""The tables of a folder behind one engine: the files, what was added since, and the views."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from one_cache.errors import TableChanged, TableError
from one_cache.records import Session
from one_cache.tables import shape
from one_cache.tables.engine import Engine, as_arrow_table, explained
from one_cache.tables.files import SUFFIX, Stamp, TableFile, open_file
from one_cache.tables.forks import mind_forks
from one_cache.tables.memory import Memory, Row, as_arrow
from one_cache.tables.rowfile import SHAPED, RowFile
from one_cache.tables.schema import LAYOUTS, layout_of, quoted

logger = logging.getLogger(__name__)

Answer = tuple[list[str], list[tuple[Any, ...]]]
T = TypeVar("T")
_ATTEMPTS = 20
_ADDED = "added"  # schema of the new rows; the views over both are called as the tables


@dataclass
class Edition:
    """The files as they were opened at one moment, and the engine that reads them.

    When a file is replaced a new edition is made; questions under way go on with the old one.

    Attributes
    ----------
    files : mapping of str to TableFile
        By name of the table.
    direct : mapping of str to RowFile
        For those that have one.
    engine : Engine
        Started by the first question in SQL.
    viewed : set of str
        Tables that the engine has a view of.
    waiting : mapping of str to list of dict
        New rows that the engine has not got yet.
    listed : list of Session or None
        The sessions of the file, newest first, where they were all asked for and are few.
    small : mapping of str to dict
        The rows by id of small tables without direct access, of which single ones were asked for.
    """

    files: dict[str, TableFile] = field(default_factory=dict)
    direct: dict[str, RowFile] = field(default_factory=dict)
    engine: Engine = field(default_factory=Engine)
    viewed: set[str] = field(default_factory=set)
    waiting: dict[str, list[Row]] = field(default_factory=dict)
    listed: list[Session] | None = None
    small: dict[str, dict[str, Row]] = field(default_factory=dict)


class Shelf:
    """Files and new rows, asked as one.

    Parameters
    ----------
    folder : pathlib.Path or None
        Where the files lie.
    writable : bool
        Whether something may be made there.
    silent : bool
        No progress bar.
    pinned : bool
        Whether a file that is replaced is an error.
    large : int
        Rows from which on a table is brought into shape.

    Attributes
    ----------
    lock : threading.RLock
        Held while the files, the new rows or the views change.
    memory : Memory
        The new rows.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        writable: bool = True,
        silent: bool = False,
        pinned: bool = False,
        large: int = SHAPED,
    ) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self.memory = Memory()
        self.writable = writable
        self.silent = silent
        self.large = large
        self._pinned = pinned
        self._edition = Edition()
        mind_forks(self)

    def forsake(self) -> None:
        """Start anew in a forked child: its engine has to be told everything again."""
        self.lock = threading.RLock()
        self._edition.viewed.clear()
        self._edition.waiting = self._all_new()

    def open(self) -> None:
        """Look at the files of the folder."""
        edition = Edition()
        for path in self._paths():
            found = self._open_one(edition.engine, path)
            if found is not None:
                file, rows = found
                edition.files[path.stem] = file
                if rows is not None and rows.columns:
                    edition.direct[path.stem] = rows
        with self.lock:
            edition.waiting = self._all_new()
            self._edition = edition

    def close(self) -> None:
        """Let go of the engine; questions under way end first."""
        with self.lock:
            files, direct = self._edition.files, self._edition.direct
            self._edition = Edition(files, direct, waiting=self._all_new())

    def _paths(self) -> list[Path]:
        if self.folder is None or not self.folder.is_dir():
            return []
        found = sorted(self.folder.glob(f"*{SUFFIX}"))
        # what is called as a table and is no file is refused when it is opened
        return [
            path
            for path in found
            if (path.is_file() or path.stem in LAYOUTS) and not path.name.startswith(".")
        ]

    def _open_one(self, engine: Engine, path: Path) -> tuple[TableFile, RowFile | None] | None:
        places = shape.places_of(path.parent, writable=self.writable)
        found = shape.find(path, places)
        if found is not None:
            return found
        file = open_file(engine, path)
        if file is None:
            logger.info("%s is no access table", path)
            return None
        return shape.shaped(file, places, silent=self.silent, large=self.large) or (file, None)

    def _all_new(self) -> dict[str, list[Row]]:
        return {name: self.memory.rows(name) for name in self.memory.names()}

    # -- what there is ---------------------------------------------------------------------

    def current(self) -> Edition:
        """Give the files as they are now; those that were replaced are opened again.

        Raises
        ------
        TableChanged
            A file is gone, or one that is pinned was replaced.
        """
        edition = self._edition
        for file in edition.files.values():
            try:
                same = Stamp.of(file.path) == file.stamp
            except OSError as error:
                raise TableChanged(f"{file.path}: removed while it was open: {error}") from error
            if not same:
                if self._pinned:
                    raise TableChanged(f"{file.path}: replaced while it was open, and is pinned")
                self.open()
                return self._edition
        return edition

    def names(self) -> list[str]:
        """Name the tables, sorted."""
        return sorted({*LAYOUTS, *self._edition.files, *self.memory.names()})

    def add(self, name: str, rows: Iterable[Row]) -> list[Row]:
        """Keep new rows in memory.

        Parameters
        ----------
        name : str
            Table.
        rows : iterable of dict
            As :func:`~one_cache.tables.memory.read_row` gives them.

        Returns
        -------
        list of dict
            Those that say something new.
        """
        with self.lock:
            fresh = self.memory.put(name, rows)
            self._edition.waiting.setdefault(name, []).extend(fresh)
        return fresh

    # -- questions -------------------------------------------------------------------------

    def ask(self, sql: str, params: Sequence[Any] = ()) -> Answer:
        """Ask in SQL; give the columns and the rows of the answer."""
        return self._steadily(lambda edition: edition.engine.ask(sql, params))

    def ask_arrow(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """Ask in SQL; the answer is a ``pyarrow.Table``."""

        def ask(edition: Edition) -> Any:
            with edition.engine.cursor() as cursor, explained("cannot answer"):
                return as_arrow_table(cursor, sql, params)

        return self._steadily(ask)

    def whole(self, name: str) -> Any:
        """Give all rows in the order of their key, as a ``pyarrow.Table``.

        A file of our own form is read as it is, without the engine, which takes as long to start.
        """
        file = self.current().files.get(name)
        if file is not None and file.is_plain and not self.memory.rows(name):
            return self._steadily(lambda edition: edition.files[name].read(), engine=False)
        columns = self.ask(f"SELECT * FROM {quoted(name)} LIMIT 0")[0]
        key = ", ".join(map(quoted, layout_of(name, columns).key))
        return self.ask_arrow(f"SELECT * FROM {quoted(name)}{key and ' ORDER BY '}{key}")

    def _steadily(self, ask: Callable[[Edition], T], *, engine: bool = True) -> T:
        """Ask again when a file was replaced meanwhile: what was read may be of two versions."""
        for _ in range(_ATTEMPTS):
            edition = self.current()
            try:
                if engine:
                    self._bring(edition)
                answer = ask(edition)
            except TableError as error:
                if self.current() is edition:
                    raise
                logger.info("asking again: %s", error)
                continue
            if self.current() is edition:
                return answer
        raise TableChanged(f"{self.folder}: the tables change faster than they can be read")

    @contextlib.contextmanager
    def cursor(self) -> Iterator[Any]:
        """Lend a cursor of the engine that knows all that is here."""
        edition = self.current()
        self._bring(edition)
        with edition.engine.cursor() as cursor:
            yield cursor

    def _bring(self, edition: Edition) -> None:
        """Bring what is new before the engine."""
        with self.lock:
            waiting = {name: rows for name, rows in edition.waiting.items() if rows}
            missing = {*LAYOUTS, *edition.files, *waiting} - edition.viewed
            if missing or waiting:
                with edition.engine.cursor() as cursor, explained("cannot answer"):
                    cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {_ADDED}")
                    for name, rows in waiting.items():
                        _load(cursor, name, rows)
                    for name in missing | set(waiting):
                        view = f"CREATE OR REPLACE VIEW {quoted(name)} AS "
                        cursor.execute(view + self._select(edition, name))
                edition.viewed |= missing
                edition.waiting = {}

    def _select(self, edition: Edition, name: str) -> str:
        """Give SQL for all rows of a table; a new row hides the one of its key in the file."""
        file, added = edition.files.get(name), f"{_ADDED}.{quoted(name)}"
        new = bool(self.memory.rows(name))
        if file is None and not new:
            kinds = LAYOUTS[name].columns.items()
            nothing = ", ".join(f"NULL::{kind} AS {quoted(column)}" for column, kind in kinds)
            return f"SELECT {nothing} WHERE false"
        if file is None:
            return f"SELECT * FROM {added}"
        if not new:
            return file.select
        key = layout_of(name, list(file.columns)).key
        same = " AND ".join(f"new.{quoted(column)} = old.{quoted(column)}" for column in key)
        kept = f" WHERE NOT EXISTS (SELECT 1 FROM {added} AS new WHERE {same})" if key else ""
        return (
            f"SELECT * FROM ({file.select}) AS old{kept} UNION ALL BY NAME SELECT * FROM {added}"
        )


def _load(cursor: Any, name: str, rows: list[Row]) -> None:
    """Put new rows before the engine, in the place of those of the same key."""
    table = f"{_ADDED}.{quoted(name)}"
    layout = layout_of(name, list(rows[0]))
    if layout.key:
        # of rows that were added one after the other, the last one of a key
        rows = list({tuple(row[one] for one in layout.key): row for row in rows}.values())
    cursor.register("arriving", as_arrow(name, rows))
    try:
        arriving = {row[0]: row[1] for row in cursor.execute("DESCRIBE arriving").fetchall()}
        kinds = {column: layout.columns.get(column, kind) for column, kind in arriving.items()}
        items = [f"{quoted(column)} {kind}" for column, kind in kinds.items()]
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(items)})")
        for item in items:
            cursor.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {item}")
        if layout.key:
            same = " AND ".join(f"a.{quoted(one)} = {table}.{quoted(one)}" for one in layout.key)
            cursor.execute(
                f"DELETE FROM {table} WHERE EXISTS (SELECT 1 FROM arriving AS a WHERE {same})"
            )
        cursor.execute(f"INSERT INTO {table} BY NAME SELECT * FROM arriving")
    finally:
        cursor.unregister("arriving")
