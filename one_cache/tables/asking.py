"""Every question about sessions, datasets and any other table."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from one_cache.records import QC, Dataset, Session
from one_cache.tables import search
from one_cache.tables.files import hash_of
from one_cache.tables.memory import Row
from one_cache.tables.rowfile import LARGE
from one_cache.tables.rows import dataset_of, named, session_of
from one_cache.tables.schema import layout_of, quoted
from one_cache.tables.search import FEW, Terms
from one_cache.tables.shelf import Edition, Shelf

if TYPE_CHECKING:
    import pandas as pd

_REMEMBERED = 1024  # sessions whose datasets are kept in memory after they were asked for

Record = TypeVar("Record", Session, Dataset)


class Asking:
    """The questions that tables answer; :class:`~one_cache.tables.Tables` adds opening and saving.

    Parameters
    ----------
    shelf : Shelf
        Files and new records.

    Attributes
    ----------
    folder : pathlib.Path or None
        Where the files lie; None for tables that live in memory only.
    """

    folder: Path | None

    def __init__(self, shelf: Shelf) -> None:
        self.folder = shelf.folder
        self._shelf = shelf
        # datasets of sessions, as long as the edition they come from is the current one
        self._answers: OrderedDict[str, tuple[Dataset, ...]] = OrderedDict()
        self._answered: object = None

    # -- what there is ---------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """Name the tables."""
        return tuple(self._shelf.names())

    def columns(self, name: str) -> tuple[str, ...]:
        """Name the columns of a table."""
        return tuple(self._shelf.ask(f"SELECT * FROM {quoted(name)} LIMIT 0")[0])

    def meta(self, name: str) -> dict[str, Any]:
        """Give what a table says of itself (``one_metadata``)."""
        files = self._shelf.current().files
        return dict(files[name].meta) if name in files else {}

    def count(self, name: str) -> int:
        """Count the rows of a table."""
        alone = not self._shelf.memory.rows(name)
        file = self._shelf.current().files.get(name)
        if file is not None and alone:
            return file.count
        return int(self._shelf.ask(f"SELECT count(*) FROM {quoted(name)}")[1][0][0])

    def hashes(self) -> dict[str, str]:
        """Give the SHA-256 of each table file on disk."""
        files = self._shelf.current().files
        return {name: hash_of(file.path) for name, file in sorted(files.items())}

    @property
    def dirty(self) -> bool:
        """Whether there are records that were not saved."""
        return bool(self._shelf.memory)

    # -- questions -------------------------------------------------------------------------

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Ask in SQL.

        Parameters
        ----------
        sql : str
            Over the names of the tables, with ``?`` for each of `params`. To compare with many
            values pass them as one list: ``id IN (SELECT unnest(?))``.
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
        return named(*self._shelf.ask(sql, params))

    def by_id(self, name: str, ids: Sequence[str]) -> dict[str, Row]:
        """Give the rows of some ids, in less time than a question in SQL takes.

        Parameters
        ----------
        name : str
            Any table that has a column ``id``.
        ids : sequence of str
            Lower-case; those that are not there are left out.

        Returns
        -------
        dict of str to dict

        Examples
        --------
        >>> from one_cache.tables import Tables
        >>> tables = Tables.open(None)
        >>> tables.add("insertions", [{"id": "a", "name": "probe00"}])
        >>> tables.by_id("insertions", ["a", "b"])
        {'a': {'id': 'a', 'name': 'probe00'}}
        """
        with self._shelf.lock:
            # together: what is saved goes from one to the other
            edition = self._shelf.current()
            found = {one: dict(row) for one, row in self._shelf.memory.by_id(name, ids).items()}
        rest = [one for one in ids if one not in found]
        file, direct = edition.files.get(name), edition.direct.get(name)
        if file is None or not rest:
            return found
        if direct is not None:
            rows: Iterable[Row] = named(direct.columns, direct.find(rest).values())
        elif file.count <= LARGE:
            small = self._small(edition, name)
            rows = [dict(small[one]) for one in rest if one in small]
        else:
            rows = self._of_ids(name, rest)
        return {**{row["id"]: row for row in rows}, **found}

    def _small(self, edition: Edition, name: str) -> dict[str, Row]:
        """Give all rows of a small table by id; they are read once."""
        if name not in edition.small:
            edition.small[name] = {row["id"]: row for row in self.whole(name).to_pylist()}
        return edition.small[name]

    def cursor(self) -> AbstractContextManager[Any]:
        """Lend a cursor of the engine, which knows each table by its name.

        Returns
        -------
        context manager of duckdb.DuckDBPyConnection
            For one thread, and to be read from; :meth:`add` brings rows.

        Examples
        --------
        >>> from one_cache.tables import Tables
        >>> with Tables.open(None).cursor() as cursor:
        ...     cursor.execute("SELECT count(*) FROM sessions").fetchone()
        (0,)
        """
        return self._shelf.cursor()

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
        frame: pd.DataFrame = self.arrow(sql, params).to_pandas()
        return frame

    def arrow(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """Ask in SQL; the answer is a ``pyarrow.Table``, in the types that the tables have.

        Parameters
        ----------
        sql : str
            See :meth:`rows`.
        params : sequence
            Values.

        Returns
        -------
        pyarrow.Table
        """
        return self._shelf.ask_arrow(sql, params)

    def whole(self, name: str) -> Any:
        """Give a whole table as it is, as a ``pyarrow.Table`` in the order of its key.

        Parameters
        ----------
        name : str
            Which.

        Returns
        -------
        pyarrow.Table
        """
        return self._shelf.whole(name)

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
        file = self._shelf.current().files.get(name)
        sorted_ = file is not None and file.shaped and not self._shelf.memory.rows(name)
        order = "" if sorted_ or not key else f" ORDER BY {', '.join(map(quoted, key))}"
        return as_known(name, self.frame(f"SELECT * FROM {quoted(name)}{order}"), key)

    def session(self, eid: str) -> Session | None:
        """Give one session, or None when it is not known."""
        found = self.sessions([eid])
        return found[0] if found else None

    def sessions(self, eids: Sequence[str]) -> list[Session]:
        """Give the sessions of these ids, in their order; unknown ones are left out."""
        return self._by_id("sessions", eids, session_of)

    def datasets(self, ids: Sequence[str]) -> list[Dataset]:
        """Give the datasets of these ids, in their order; unknown ones are left out."""
        return self._by_id("datasets", ids, dataset_of)

    def datasets_of(self, eid: str) -> list[Dataset]:
        """Give all datasets of a session, sorted by relative path."""
        with self._shelf.lock:
            # together: what is saved goes from one to the other
            edition = self._shelf.current()
            if self._answered is not edition:
                self._answers.clear()
                self._answered = edition
            if eid in self._answers:
                self._answers.move_to_end(eid)
                return list(self._answers[eid])
            new = self._shelf.memory.of_session(eid)
        direct = edition.direct.get("datasets")
        if direct is None:
            rows = self.rows("SELECT * FROM datasets WHERE eid = ?", [eid])
        else:
            hidden = {row["id"] for row in new}
            old = named(direct.columns, direct.of_session(eid))
            rows = [*new, *(row for row in old if row["id"] not in hidden)]
        found = tuple(sorted(map(dataset_of, rows), key=lambda one: (one.rel_path, one.id)))
        with self._shelf.lock:
            # not if something was added while the answer was made
            if self._answered is edition and new == self._shelf.memory.of_session(eid):
                self._answers[eid] = found
                while len(self._answers) > _REMEMBERED:
                    self._answers.popitem(last=False)
        return list(found)

    def distinct(self, table: str, column: str) -> list[Any]:
        """Give the distinct values of a column, sorted, without null."""
        return search.distinct(self._shelf, table, column)

    def rel_paths(self) -> list[str]:
        """Give the distinct relative paths of all datasets, sorted."""
        return self.distinct("datasets", "rel_path")

    def dataset_names(self) -> list[str]:
        """Give the distinct file names of all datasets, sorted."""
        return sorted({path.rpartition("/")[2] for path in self.rel_paths()})

    def sessions_with(
        self,
        names_per_requirement: Sequence[Collection[str]],
        qc_at_most: QC = QC.FAIL,
        eids: Sequence[str] | None = None,
    ) -> list[str]:
        """Find the sessions that have, for each requirement, a dataset of one of its names.

        Parameters
        ----------
        names_per_requirement : sequence of collections of str
            File names, any of which meets the requirement; none at all: any dataset does.
        qc_at_most : QC
            Worst level that counts; ``NOT_SET`` is the best.
        eids : sequence of str, optional
            Where to look; all sessions when None.

        Returns
        -------
        list of str
            Their ids, sorted. Only datasets that exist on a server count.
        """
        return sorted(search.sessions_with(self._shelf, names_per_requirement, qc_at_most, eids))

    def find_sessions(
        self,
        terms: Terms,
        names_per_requirement: Sequence[Collection[str]] | None = None,
        qc_at_most: QC = QC.FAIL,
    ) -> list[Session]:
        """Find the sessions that meet all terms, newest first.

        Parameters
        ----------
        terms : Terms
            About the sessions themselves.
        names_per_requirement : sequence of collections of str, optional
            About their datasets, see :meth:`sessions_with`; None: whatever they are.
        qc_at_most : QC
            Worst level that counts for the datasets.

        Returns
        -------
        list of Session
            By date, subject and number, all descending.

        Examples
        --------
        >>> from one_cache.tables import Tables
        >>> tables = Tables.open(None)
        >>> tables.add("sessions", [Session("a", subject="m1"), Session("b", subject="m2")])
        >>> [session.id for session in tables.find_sessions(Terms({"subject": ["m2", "m3"]}))]
        ['b']
        """
        return search.find(self._shelf, terms, names_per_requirement, qc_at_most)

    def _by_id(
        self, name: str, ids: Sequence[str], record: Callable[[Row], Record]
    ) -> list[Record]:
        """Give the records of these ids, in their order."""
        with self._shelf.lock:
            # together: what is saved goes from one to the other
            edition = self._shelf.current()
            found = self._shelf.memory.by_id(name, ids)
        rest = [one for one in dict.fromkeys(ids) if one not in found]
        direct = edition.direct.get(name)
        rows: Iterable[Row] = ()
        if direct is not None and (name == "datasets" or len(rest) <= FEW):
            rows = named(direct.columns, direct.find(rest).values())
        elif name in edition.files:
            rows = self._of_ids(name, rest)
        for row in rows:
            found.setdefault(row["id"], row)
        return [record(found[one]) for one in ids if one in found]

    def _of_ids(self, name: str, ids: Sequence[str]) -> list[Row]:
        if not ids:
            return []
        # a constant is compared with the smallest and largest value of each row group
        test = "= ?" if len(ids) == 1 else "IN (SELECT unnest(?::VARCHAR[]))"
        sql = f"SELECT * FROM {quoted(name)} WHERE id {test}"
        return self.rows(sql, [ids[0] if len(ids) == 1 else ids])
