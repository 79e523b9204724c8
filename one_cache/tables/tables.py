"""The access tables of a folder: opened, asked, added to, saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.errors import InvalidArgument, ManifestMismatch, StoreError
from one_cache.records import Dataset, Session
from one_cache.tables.asking import Asking
from one_cache.tables.files import hash_of
from one_cache.tables.memory import Row, read_row
from one_cache.tables.rowfile import SHAPED
from one_cache.tables.shelf import Shelf

if TYPE_CHECKING:
    from one_cache.tables.save import Wanted


class Tables(Asking):
    """The access tables of one folder, with what was added to them since.

    Make one with :meth:`open`. Questions may be asked from several threads and after a fork. A
    file that is replaced on disk is opened again at the next question, unless it is pinned.

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

    def __init__(self, shelf: Shelf) -> None:
        super().__init__(shelf)
        self._origins: dict[str, set[str]] = {}

    @classmethod
    def open(
        cls,
        folder: Path | None,
        *,
        writable: bool = True,
        pins: Mapping[str, str] | None = None,
        silent: bool = False,
        large: int = SHAPED,
    ) -> Tables:
        """Open the tables of a folder.

        A large table that was not written here is brought into shape at its first opening:
        sorted, beside the original or, where nothing may be written there, in the user's cache.

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
        large : int
            Rows from which on a table is brought into shape; a smaller one is asked as it is.

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
        for name, expected in (pins or {}).items():
            path = None if folder is None else folder / f"{name}.pqt"
            got = hash_of(path) if path is not None and path.is_file() else "no such table"
            if got != expected:
                raise ManifestMismatch(
                    f"table {name!r} in {folder}: the manifest expects sha256 {expected}, "
                    f"got {got}"
                )
        shelf = Shelf(
            None if folder is None else Path(folder),
            writable=writable,
            silent=silent,
            pinned=pins is not None,
            large=large,
        )
        shelf.open()
        return cls(shelf)

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
        with self._shelf.lock:
            fresh = self._shelf.add(name, read)
            if origin:
                self._origins.setdefault(name, set()).add(origin)
            if name == "datasets":
                for row in fresh:
                    self._answers.pop(row["eid"], None)

    def save(
        self, folder: Path | None = None, *, clobber: bool = False, origin: str = ""
    ) -> dict[str, Path]:
        """Merge the new records into the files of a folder.

        Parameters
        ----------
        folder : pathlib.Path, optional
            Another folder gets all that is open too; the folder of the tables when not given.
        clobber : bool
            Replace the tables that lie there instead of merging with them.
        origin : str
            Where new records come from that were added without one, for the table's metadata.

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
        if own and not self._shelf.writable:
            raise StoreError(f"{target}: opened for reading only, nothing is saved there")
        wanted = self._wanted(origin, whole=clobber or not own, merge=not clobber)
        if not wanted:
            return {}
        from one_cache.tables.save import save

        written = save(target, wanted, silent=self._shelf.silent)
        if own:
            with self._shelf.lock:
                for one in wanted:
                    self._shelf.memory.forget(one.name, one.rows)
                self._shelf.open()
        return written

    def _wanted(self, origin: str, *, whole: bool, merge: bool) -> list[Wanted]:
        from one_cache.tables.save import Wanted

        with self._shelf.lock:
            files, memory = self._shelf.current().files, self._shelf.memory
            names = dict.fromkeys([*(files if whole else ()), *memory.names()])
            usual = [origin] if origin else []
            return [
                Wanted(
                    name,
                    memory.rows(name),
                    files.get(name) if whole else None,
                    {
                        "origin": sorted(
                            self._origins.get(name, usual if memory.rows(name) else ())
                        )
                    },
                    merge,
                )
                for name in names
            ]

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
        if not self._shelf.writable:
            raise StoreError(f"{self.folder}: opened for reading only, nothing is saved there")
        from one_cache.tables.save import Wanted, save

        wanted = Wanted(name, rows, None, meta or {}, merge=False)
        written = save(self.folder, [wanted], silent=self._shelf.silent)
        with self._shelf.lock:
            self._shelf.memory.drop(name)
            self._shelf.open()
        return written[name]

    def refresh(self) -> None:
        """Look which tables other processes have written since."""
        self._shelf.open()

    def close(self) -> None:
        """Free the engine and the files; the next question opens them again."""
        self._shelf.close()

    def __reduce__(self) -> tuple[Any, ...]:
        memory = self._shelf.memory
        rows = {name: memory.rows(name) for name in memory.names()}
        return _reopened, (
            self.folder,
            self._shelf.writable,
            self._shelf.silent,
            self._shelf.large,
            rows,
        )


def _reopened(
    folder: Path | None,
    writable: bool,
    silent: bool,
    large: int,
    rows: Mapping[str, Sequence[Row]],
) -> Tables:
    tables = Tables.open(folder, writable=writable, silent=silent, large=large)
    for name, added in rows.items():
        tables.add(name, added)
    return tables
