"""Access tables: Parquet on disk, new records in memory, one engine for every question of them.

The tables of a folder are opened by reading what the files say of themselves, and a question
costs what its answer costs. New records are seen by every question at once; :meth:`Tables.save`
merges them into the files. The files are those of ONE-api 3, and its files are read here.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.errors import InvalidArgument, ManifestMismatch, StoreError, TableChanged
from one_cache.records import QC, Dataset, Session
from one_cache.tables import shape
from one_cache.tables.engine import Engine, as_arrow_table, explained
from one_cache.tables.files import SUFFIX, Stamp, TableFile, open_file
from one_cache.tables.memory import Memory, Row, as_arrow, read_row
from one_cache.tables.schema import LAYOUTS, QC_NAMES, layout_of, quoted

if TYPE_CHECKING:
    import pandas as pd

    from one_cache.tables.rowfile import RowFile
    from one_cache.tables.save import Wanted

__all__ = ["Tables"]

_REMEMBERED = 1024  # sessions whose datasets are kept in memory after they were asked for
_CHUNK = 1 << 20  # bytes


def sha256_of(path: Path) -> str:
    """Hash a file.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    str
        Hex digest.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _session(row: Mapping[str, Any]) -> Session:
    known = {column: row[column] for column in LAYOUTS["sessions"].columns}
    extra = {column: value for column, value in row.items() if column not in known}
    texts = ("lab", "subject", "task_protocol", "projects")
    known.update((column, known[column] or "") for column in texts)
    return Session(**known, extra=extra)


def _dataset(row: Mapping[str, Any]) -> Dataset:
    known = {column: row[column] for column in LAYOUTS["datasets"].columns}
    extra = {column: value for column, value in row.items() if column not in known}
    known.update(qc=QC.read(known["qc"]), hash=known["hash"] or None)
    return Dataset(**known, extra=extra)


class Tables:
    """The access tables of one folder, with what was added to them since.

    Make one with :meth:`open`. Questions may be asked from several threads and after a fork.

    Attributes
    ----------
    folder : pathlib.Path or None
        Where the files lie; None for tables that live in memory only.

    Examples
    --------
    >>> tables = Tables.open(None)
    >>> tables.add("sessions", [Session("e1", "lab", "mouse", number=1)])
    >>> tables.rows("SELECT subject FROM sessions WHERE id = ?", ["e1"])
    [{'subject': 'mouse'}]
    """

    def __init__(self, folder: Path | None, *, writable: bool, silent: bool, pinned: bool) -> None:
        self.folder = folder
        self._writable = writable
        self._silent = silent
        self._pinned = pinned
        self._engine = Engine()
        self._lock = threading.RLock()
        self._files: dict[str, TableFile] = {}
        self._direct: dict[str, RowFile] = {}
        self._memory = Memory()
        self._pending: dict[str, list[Row]] = {}
        self._loaded: set[str] = set()
        self._origins: dict[str, set[str]] = {}
        self._answers: OrderedDict[str, tuple[Dataset, ...]] = OrderedDict()

    @classmethod
    def open(
        cls,
        folder: Path | None,
        *,
        writable: bool = True,
        pins: Mapping[str, str] | None = None,
        silent: bool = False,
    ) -> Tables:
        """Open the tables of a folder.

        Parameters
        ----------
        folder : pathlib.Path or None
            Each ``*.pqt`` in it that is an access table; None for empty tables in memory.
        writable : bool
            Whether something may be made in the folder.
        pins : mapping of str to str, optional
            Table and the SHA-256 that its file must have.
        silent : bool
            No progress bar.

        Returns
        -------
        Tables

        Raises
        ------
        ManifestMismatch
            A file is not the one that is pinned.
        TableError
            A file cannot be read as a table; see :func:`one_cache.tables.files.open_file`.
        """
        tables = cls(folder, writable=writable, silent=silent, pinned=pins is not None)
        tables._open_files()
        for name, expected in (pins or {}).items():
            got = tables.hashes().get(name, "no such table")
            if got != expected:
                raise ManifestMismatch(
                    f"table {name!r} in {folder}: the manifest expects sha256 {expected}, "
                    f"got {got}"
                )
        return tables

    # -- what there is ---------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """Name the tables."""
        return tuple(sorted({*LAYOUTS, *self._files, *self._memory.names()}))

    def columns(self, name: str) -> tuple[str, ...]:
        """Name the columns of a table."""
        with self._lock:
            self._ready()
            names, _ = self._engine.ask(f"SELECT * FROM {quoted(name)} LIMIT 0")
        return tuple(names)

    def meta(self, name: str) -> dict[str, Any]:
        """Give what a table says of itself (``one_metadata``)."""
        return dict(self._files[name].meta) if name in self._files else {}

    def count(self, name: str) -> int:
        """Count the rows of a table."""
        return int(self._ask(f"SELECT count(*) FROM {quoted(name)}")[1][0][0])

    @property
    def dirty(self) -> bool:
        """Whether there are records that were not saved."""
        return bool(self._memory)

    # -- questions -------------------------------------------------------------------------

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Ask in SQL.

        Parameters
        ----------
        sql : str
            Over the names of the tables, with ``?`` for each of `params`.
        params : sequence
            Values.

        Returns
        -------
        list of dict
            Ids are lower-case text, ``qc`` is the name of the level.

        Raises
        ------
        InvalidArgument
            The question cannot be understood: no such table or column, or no SQL.
        """
        names, rows = self._ask(sql, params)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def frame(self, sql: str, params: Sequence[Any] = ()) -> pd.DataFrame:
        """Ask in SQL; the answer is a frame.

        Parameters
        ----------
        sql : str
            See :meth:`rows`.
        params : sequence
            Values.

        Returns
        -------
        pandas.DataFrame
        """
        self._ready()
        with self._engine.cursor() as cursor, explained("cannot answer"):
            frame: pd.DataFrame = as_arrow_table(cursor, sql, params).to_pandas()
        return frame

    def table(self, name: str) -> pd.DataFrame:
        """Give a whole table as users of ONE-api know it.

        Parameters
        ----------
        name : str
            Which.

        Returns
        -------
        pandas.DataFrame
            Index of ``uuid.UUID``; ``qc`` is an ordered category, ``file_size`` is ``UInt64``.
        """
        from one_cache.tables.frames import as_known

        key = layout_of(name, self.columns(name)).key
        order = f" ORDER BY {', '.join(map(quoted, key))}" if key else ""
        return as_known(name, self.frame(f"SELECT * FROM {quoted(name)}{order}"), key)

    def session(self, eid: str) -> Session | None:
        """Give one session, or None when it is not known."""
        found = self.sessions([eid])
        return found[0] if found else None

    def sessions(self, eids: Sequence[str]) -> list[Session]:
        """Give the sessions of these ids, in their order; unknown ones are left out."""
        found = self._by_id("sessions", eids)
        return [_session(found[eid]) for eid in eids if eid in found]

    def datasets(self, ids: Sequence[str]) -> list[Dataset]:
        """Give the datasets of these ids, in their order; unknown ones are left out."""
        found = self._by_id("datasets", ids)
        return [_dataset(found[one]) for one in ids if one in found]

    def datasets_of(self, eid: str) -> list[Dataset]:
        """Give all datasets of a session, sorted by relative path."""
        self._fresh()
        with self._lock:
            if eid in self._answers:
                self._answers.move_to_end(eid)
                return list(self._answers[eid])
        rows = self._rows_of_session(eid)
        found = tuple(sorted(map(_dataset, rows), key=lambda one: (one.rel_path, one.id)))
        with self._lock:
            self._answers[eid] = found
            while len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)
        return list(found)

    def distinct(self, table: str, column: str) -> list[str]:
        """Give the distinct values of a column, sorted."""
        one = quoted(column)
        sql = f"SELECT DISTINCT {one} FROM {quoted(table)} WHERE {one} IS NOT NULL ORDER BY 1"
        return [row[0] for row in self._ask(sql)[1]]

    def rel_paths(self) -> list[str]:
        """Give the distinct relative paths of all datasets, sorted."""
        return self.distinct("datasets", "rel_path")

    def dataset_names(self) -> list[str]:
        """Give the distinct file names of all datasets, sorted."""
        paths = (row[0] for row in self._ask("SELECT DISTINCT rel_path FROM datasets")[1])
        return sorted({path.rpartition("/")[2] for path in paths})

    def sessions_with(
        self,
        names_per_requirement: Sequence[Sequence[str]],
        qc_at_most: QC = QC.FAIL,
        eids: Sequence[str] | None = None,
    ) -> list[str]:
        """Find the sessions that have, for each requirement, a dataset of one of its names.

        Parameters
        ----------
        names_per_requirement : sequence of sequence of str
            File names, any of which meets the requirement; none at all: any dataset does.
        qc_at_most : QC
            Worst level that counts; ``NOT_SET`` is the best.
        eids : sequence of str, optional
            Where to look; all sessions when None.

        Returns
        -------
        list of str
            Their ids, sorted.
        """
        good = [name for name in QC_NAMES if QC[name] <= qc_at_most]
        where = ['"exists"', "qc IN (SELECT unnest(?))"]
        params: list[Any] = [good]
        if eids is not None:
            where.append("eid IN (SELECT unnest(?::VARCHAR[]))")
            params.append(list(eids))
        having = []
        paths = self.rel_paths() if names_per_requirement else []
        for names in names_per_requirement:
            wanted = set(names)
            having.append("bool_or(rel_path IN (SELECT unnest(?::VARCHAR[])))")
            params.append([path for path in paths if path.rpartition("/")[2] in wanted])
        clause = f" HAVING {' AND '.join(having)}" if having else ""
        sql = (
            f"SELECT eid FROM datasets WHERE {' AND '.join(where)} GROUP BY eid{clause} ORDER BY 1"
        )
        return [row[0] for row in self._ask(sql, params)[1]]

    # -- new records -----------------------------------------------------------------------

    def add(
        self,
        name: str,
        rows: Sequence[Session | Dataset | Mapping[str, Any]],
        *,
        origin: str | None = None,
    ) -> None:
        """Add records; they live in memory until :meth:`save`.

        Parameters
        ----------
        name : str
            Table.
        rows : sequence of Session, Dataset or mapping
            Each replaces the one of the same id; columns that the table lacks are added.
        origin : str, optional
            Where they come from, for the table's metadata.

        Raises
        ------
        InvalidArgument
            A record without an id, or a value that its column cannot hold.
        """
        read = [read_row(name, row) for row in rows]
        with self._lock:
            fresh = self._memory.put(name, read)
            self._pending.setdefault(name, []).extend(fresh)
            if origin:
                self._origins.setdefault(name, set()).add(origin)
            if name == "datasets":
                for row in fresh:
                    self._answers.pop(row["eid"], None)

    def save(self, folder: Path | None = None, *, clobber: bool = False) -> dict[str, Path]:
        """Merge the new records into the files of a folder.

        Parameters
        ----------
        folder : pathlib.Path, optional
            Another folder gets all that is open too; the folder of the tables when not given.
        clobber : bool
            Replace the tables that lie there instead of merging with them.

        Returns
        -------
        dict of str to pathlib.Path
            The tables that were written.

        Raises
        ------
        StoreError
            The folder refuses or the disk is full; what was there before is still there.
        TableError
            A table that lies there cannot be read; it is left as it is.
        """
        target = folder or self.folder
        if target is None:
            raise InvalidArgument("these tables have no folder; say where to save them")
        own = self.folder is not None and target.absolute() == self.folder.absolute()
        if own and not self._writable:
            raise StoreError(f"{target}: opened for reading only, nothing is saved there")
        with self._lock:
            whole = clobber or not own
            names = [*self._files, *self._memory.names()] if whole else self._memory.names()
            if not names:
                return {}
            from one_cache.tables.save import save

            wanted = [self._wanted(name, whole, clobber) for name in dict.fromkeys(names)]
            written = save(target, wanted, silent=self._silent)
            if own:
                self._memory = Memory()
                self._open_files()
        return written

    def replace(self, name: str, rows: Any, *, meta: Mapping[str, Any] | None = None) -> Path:
        """Write a whole table at once, in the place of the one that lies there.

        Parameters
        ----------
        name : str
            Table.
        rows : pyarrow.Table
            All of its rows, in any order and in their own types; a column ``id`` names them.
        meta : mapping, optional
            What the table says of itself, beside its dates.

        Returns
        -------
        pathlib.Path
            The file. Records of that table which were added and not saved are dropped.

        Raises
        ------
        StoreError
            The folder refuses or the disk is full; what was there before is still there.

        Examples
        --------
        >>> import pyarrow
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     tables = Tables.open(Path(folder), silent=True)
        ...     path = tables.replace("probes", pyarrow.table({"id": [2, 1]}))
        ...     tables.rows("SELECT id FROM probes ORDER BY id")
        [{'id': 1}, {'id': 2}]
        """
        if self.folder is None:
            raise InvalidArgument("these tables have no folder to write a table into")
        if not self._writable:
            raise StoreError(f"{self.folder}: opened for reading only, nothing is saved there")
        from one_cache.tables.save import Wanted, save

        with self._lock:
            wanted = Wanted(name, rows, None, meta or {}, merge=False)
            written = save(self.folder, [wanted], silent=self._silent)
            self._memory.drop(name)
            self._open_files()
        return written[name]

    def refresh(self) -> None:
        """Look which tables other processes have written since."""
        with self._lock:
            self._open_files()

    def _wanted(self, name: str, whole: bool, clobber: bool) -> Wanted:
        from one_cache.tables.save import Wanted

        meta: dict[str, Any] = {}
        if name in self._origins:
            meta["origin"] = sorted(self._origins[name])
        opened = self._files.get(name) if whole else None
        return Wanted(name, self._memory.rows(name), opened, meta, merge=not clobber)

    def hashes(self) -> dict[str, str]:
        """Give the SHA-256 of each table file on disk."""
        return {name: sha256_of(file.path) for name, file in sorted(self._files.items())}

    def close(self) -> None:
        """Free the engine; the next question starts it again."""
        with self._lock:
            self._loaded.clear()
            self._engine.close()

    def __reduce__(self) -> tuple[Any, ...]:
        rows = {name: self._memory.rows(name) for name in self._memory.names()}
        return _reopened, (self.folder, self._writable, self._silent, rows)

    # -- the machinery ---------------------------------------------------------------------

    def _open_files(self) -> None:
        files, direct = {}, {}
        if self.folder is not None and self.folder.is_dir():
            places = shape.places_of(self.folder, writable=self._writable)
            for path in sorted(self.folder.glob(f"*{SUFFIX}")):
                if not path.is_file() or path.name.startswith("."):
                    continue
                found = shape.find(path, places)
                if found is None:
                    file = open_file(self._engine, path)
                    if file is None:
                        continue
                    found = shape.shaped(file, places, silent=self._silent)
                    files[path.stem] = file
                if found is not None:
                    files[path.stem] = found[0]
                    if found[1].columns:
                        direct[path.stem] = found[1]
        with self._lock:
            self._files, self._direct = files, direct
            self._answers.clear()
            self.close()
            self._pending = {name: self._memory.rows(name) for name in self._memory.names()}

    def _fresh(self) -> None:
        """Open again what was replaced on disk; what is pinned must not be."""
        for file in self._files.values():
            try:
                same = Stamp.of(file.path) == file.stamp
            except FileNotFoundError:
                raise TableChanged(f"{file.path}: removed while it was open") from None
            if not same:
                if self._pinned:
                    raise TableChanged(f"{file.path}: replaced while it was open, and is pinned")
                self._open_files()
                return

    def _ready(self) -> None:
        """Bring what is new before the engine."""
        self._fresh()
        with self._lock:
            waiting = {name: rows for name, rows in self._pending.items() if rows}
            known = {*LAYOUTS, *self._files, *waiting}
            if self._engine.started and not waiting and known <= self._loaded:
                return
            with self._engine.cursor() as cursor:
                cursor.execute("CREATE SCHEMA IF NOT EXISTS added")
                for name, rows in waiting.items():
                    _load(cursor, name, rows)
                for name in known - (self._loaded - set(waiting)):
                    cursor.execute(self._view(cursor, name))
            self._pending = {}
            self._loaded |= known

    def _view(self, cursor: Any, name: str) -> str:
        file, one = self._files.get(name), quoted(name)
        memory = bool(self._memory.rows(name))
        if file is None and not memory:
            columns = LAYOUTS[name].columns.items()
            items = ", ".join(f"NULL::{kind} AS {quoted(column)}" for column, kind in columns)
            return f"CREATE OR REPLACE VIEW {one} AS SELECT {items} WHERE false"
        if file is None:
            return f"CREATE OR REPLACE VIEW {one} AS SELECT * FROM added.{one}"
        if not memory:
            return f"CREATE OR REPLACE VIEW {one} AS {file.select}"
        key = layout_of(name, list(file.columns)).key
        same = " AND ".join(f"new.{quoted(column)} = old.{quoted(column)}" for column in key)
        kept = f" WHERE NOT EXISTS (SELECT 1 FROM added.{one} AS new WHERE {same})" if key else ""
        return (
            f"CREATE OR REPLACE VIEW {one} AS SELECT * FROM ({file.select}) AS old{kept} "
            f"UNION ALL BY NAME SELECT * FROM added.{one}"
        )

    def _ask(
        self, sql: str, params: Sequence[Any] = ()
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        self._ready()
        return self._engine.ask(sql, params)

    def _rows_of_session(self, eid: str) -> list[Row]:
        """Give the rows of the datasets of a session."""
        direct = self._direct.get("datasets")
        if direct is None:
            return self.rows("SELECT * FROM datasets WHERE eid = ?", [eid])
        with self._lock:
            new = self._memory.of_session(eid)
        hidden = {row["id"] for row in new}
        old = (dict(zip(direct.columns, row, strict=True)) for row in direct.of_session(eid))
        return [*new, *(row for row in old if row["id"] not in hidden)]

    def _by_id(self, name: str, ids: Sequence[str]) -> dict[str, Row]:
        """Give the row of each id that is known."""
        self._fresh()
        with self._lock:
            found = self._memory.by_id(name, ids)
        rest = [one for one in dict.fromkeys(ids) if one not in found]
        direct = self._direct.get(name)
        if direct is not None:
            rows = direct.find(rest).items()
            found.update((one, dict(zip(direct.columns, row, strict=True))) for one, row in rows)
        elif rest:
            # a constant is compared with the smallest and largest value of each row group
            test = "= ?" if len(rest) == 1 else "IN (SELECT unnest(?::VARCHAR[]))"
            sql = f"SELECT * FROM {quoted(name)} WHERE id {test}"
            for row in self.rows(sql, [rest[0] if len(rest) == 1 else rest]):
                found.setdefault(row["id"], row)
        return found


def _load(cursor: Any, name: str, rows: list[Row]) -> None:
    """Put new rows before the engine, in the place of those of the same key."""
    table = f"added.{quoted(name)}"
    layout = layout_of(name, list(rows[0]))
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


def _reopened(
    folder: Path | None, writable: bool, silent: bool, rows: Mapping[str, Sequence[Row]]
) -> Tables:
    tables = Tables.open(folder, writable=writable, silent=silent)
    for name, added in rows.items():
        tables.add(name, added)
    return tables
