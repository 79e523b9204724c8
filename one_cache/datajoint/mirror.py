"""Mirror: copies tables of DataJoint pipelines into a cache, and says what is behind."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from one_cache.catalogue import keep_datasets
from one_cache.datajoint.attached import Attacher
from one_cache.datajoint.choice import Chosen, as_values, choose, schema_of
from one_cache.datajoint.columns import readings
from one_cache.datajoint.copying import Former, copy_table
from one_cache.datajoint.digests import ask_digests
from one_cache.datajoint.place import read_login, read_place
from one_cache.datajoint.server import Altered, Server
from one_cache.errors import CacheWarning, InvalidArgument, ModeError, RemoteError
from one_cache.mirrored.about import FOLDER, TABLE, About, Row, row_id
from one_cache.mirrored.schemas import rows_of
from one_cache.recorder import moment
from one_cache.tables import Tables

if TYPE_CHECKING:
    import pandas as pd

    from one_cache.cache import Cache

_log = logging.getLogger(__name__)
_TRIES = 3
_SHOWN = 200  # characters of a restriction


@dataclass(frozen=True)
class Line:
    """What a pull did with one table, or would do.

    Attributes
    ----------
    schema, table : str
        Schema, and name of the class.
    state : str
        See `Mirror.pull` and `Mirror.status`.
    rows : int
        In the mirror.
    fetched : int
        Rows that came from the server; of a status, rows of the server.
    pulled_at : str
        ISO time of the snapshot, UTC.
    """

    schema: str
    table: str
    state: str
    rows: int
    fetched: int
    pulled_at: str


class Mirror:
    """A server of DataJoint pipelines, whose tables are copied into a cache.

    Nothing is asked before it is needed, so a script that makes one runs without a server too.

    Parameters
    ----------
    cache : Cache
        Gets the copies; ``cache.schemas`` reads them.
    host : str, optional
        Name of the server, with or without ``:port``; ``DJ_HOST`` stands in, then ``localhost``.
    user, password : str, optional
        ``DJ_USER`` and ``DJ_PASS``, or ``DB_USER`` and ``DB_PASS``, stand in. Neither is written
        anywhere.
    port : int, optional
        3306 for MySQL and MariaDB, 5432 for PostgreSQL.
    backend : {"mysql", "mariadb", "postgresql", "postgres"}, optional
        ``DJ_BACKEND`` stands in, then ``"mysql"``.
    database : str, optional
        Of PostgreSQL; ``"postgres"`` when not given.
    use_tls : bool or dict, optional
        As for DataJoint: None tries it and goes on without.
    stores : mapping, optional
        Where files and large values lie, as in ``datajoint.json``, which stands in.

    Raises
    ------
    InvalidArgument
        A backend or host that is none.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from one_cache import Cache
    >>> Mirror(Cache(mkdtemp()), host="db.lab.org", backend="mysql", user="me", password="x")
    Mirror(mysql://db.lab.org:3306)
    """

    def __init__(
        self,
        cache: Cache,
        *,
        host: str | None = None,
        user: str | None = None,
        password: str | None = None,
        port: int | None = None,
        backend: str | None = None,
        database: str | None = None,
        use_tls: bool | dict[str, Any] | None = None,
        stores: Mapping[str, Any] | None = None,
    ) -> None:
        self.cache = cache
        self._place = read_place(host, port, backend, database)
        self._given = (user, password)
        self._use_tls = use_tls
        self._stores = stores

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place})"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a Mirror holds a password and is not sent anywhere; make another one")

    @property
    def server(self) -> str:
        """Address, without user and password."""
        return str(self._place)

    # -- pull ------------------------------------------------------------------------------

    def pull(self, *names: str, restrict: Any = None) -> pd.DataFrame:
        """Copy tables, or what changed of them since the last pull.

        All that is copied was on the server at one moment. It is seen when it is complete: a
        pull that is interrupted leaves the mirror as it was.

        Parameters
        ----------
        *names : str
            Schemas, or tables as ``"schema.Trial"``.
        restrict : condition, or mapping of str to condition, optional
            Rows to copy: what may stand after ``&`` in DataJoint, put to every table that has its
            columns; or such conditions by the name of the class. Of tables that refer to these,
            the rows that belong to them. The mirror then holds these rows and no others.

        Returns
        -------
        pandas.DataFrame
            A row for each table, parents first: ``schema``, ``table``, ``state`` (``"copied"``,
            ``"updated"``, ``"unchanged"``, ``"dropped"`` where the server has it no more,
            ``"pinned"`` in a fixed cache, which asks nobody), ``rows``, ``fetched`` (how many
            came from the server), ``pulled_at``.

        Raises
        ------
        InvalidArgument
            No such schema or table; a condition that fits none; no user or password.
        NotMirrored
            The cache is fixed, and does not have it.
        Forbidden
            The server refuses user or password.
        TransferFailed
            It cannot be reached, or went away.
        RemoteError
            It cannot answer, or tables were altered again and again meanwhile.
        DependencyMissing
            DataJoint is not installed.
        StoreError
            The disk refuses.
        """
        if not names:
            raise InvalidArgument("name what to copy: mirror.pull('schema', 'other.Table')")
        schemas = list(dict.fromkeys(schema_of(name)[0] for name in names))
        if self.cache.policy().pinned:
            return self._pinned(names)
        restrict = as_values(restrict)
        with self._server() as server, self.cache.store.lock(FOLDER):
            server.require(schemas)
            for left in reversed(range(_TRIES)):
                try:
                    lines = self._pull(server, schemas, names, restrict)
                    break
                except Altered as error:
                    if not left:
                        raise RemoteError(
                            f"{error}. A table was altered, or dropped, while it was read; the "
                            "mirror is as it was. Pull again"
                        ) from None
        return _frame(lines)

    def _pinned(self, names: Sequence[str]) -> pd.DataFrame:
        """Say what a fixed cache has of it, so that the script that made it reruns as it is."""
        lines = []
        for schema, table in map(schema_of, names):
            of = [
                row
                for row in rows_of(self.cache, schema)
                if not row.state and table in ("", row.class_name, row.table)
            ]
            if not of:
                # says what is missing
                self.cache.schemas[schema][table]
            lines += [
                Line(one.schema, one.class_name, "pinned", one.rows, 0, one.pulled_at)
                for one in of
            ]
        _log.info("mode %s asks no server; what is pinned serves", self.cache.mode)
        return _frame(lines)

    def _pull(
        self, server: Server, schemas: Sequence[str], names: Sequence[str], restrict: Any
    ) -> list[Line]:
        """Copy once; what was copied is seen at the end."""
        tables = server.tables(schemas)
        before = self._former(schemas)
        attacher = Attacher(server, self.cache.store)
        found = []
        with server.snapshot(tables):
            at = moment()
            for one in choose(server, tables, names, restrict):
                found.append(self._copied(server, one, before, attacher, at, restrict))
        dropped = self._dropped(before, names, {server.split(name) for name in tables}, at)
        self._show([row for row, _ in found] + [row for row, _ in dropped], attacher)
        return [line for _, line in (*found, *dropped)]

    def _copied(
        self,
        server: Server,
        one: Chosen,
        before: Mapping[tuple[str, str], Row],
        attacher: Attacher,
        at: str,
        restrict: Any,
    ) -> tuple[Row, Line]:
        about, row = one.about, before.get((one.about.schema, one.about.table))
        here = row if row is not None and not row.state and row.server == self.server else None
        former = Former.find(self.cache.store, here.file, about) if here else None
        copied = copy_table(
            server,
            self.cache.store,
            about,
            one.source,
            readings(server, one.table, about, attacher),
            former=former,
            silent=self.cache.silent,
        )
        same = former is not None and copied.file.path == former.file.path
        state = "unchanged" if same else "updated" if here else "copied"
        new = Row(
            row_id(about.schema, about.table),
            about.schema,
            about.table,
            about.class_name,
            about.tier,
            copied.rows,
            copied.file.path,
            copied.file.size or 0,
            str(copied.file.hash),
            self.server,
            _shown(restrict) if one.is_restricted else "",
            one.source if one.is_restricted else "",
            "",
            at,
        )
        return new, Line(about.schema, about.class_name, state, copied.rows, copied.fetched, at)

    def _dropped(
        self,
        before: Mapping[tuple[str, str], Row],
        names: Sequence[str],
        there: set[tuple[str, str]],
        at: str,
    ) -> list[tuple[Row, Line]]:
        """Mark the tables that the server has no more, where a whole schema is pulled."""
        whole = {schema for schema, table in map(schema_of, names) if not table}
        gone = [
            row
            for key, row in before.items()
            if key not in there and not row.state and row.schema in whole
        ]
        for row in gone:
            warnings.warn(
                f"{row.schema}.{row.class_name} is no longer on {self.server}, so it is no longer "
                f"mirrored; its file stays, {row.path}",
                CacheWarning,
                stacklevel=4,
            )
        return [
            (
                Row(**{**asdict(row), "state": "dropped", "pulled_at": at, "server": self.server}),
                Line(row.schema, row.class_name, "dropped", row.rows, 0, at),
            )
            for row in gone
        ]

    def _former(self, schemas: Sequence[str]) -> dict[tuple[str, str], Row]:
        """Give what is mirrored, as it lies on disk now."""
        self.cache.tables.refresh()
        return {
            (row.schema, row.table): row
            for schema in schemas
            for row in rows_of(self.cache, schema)
        }

    def _show(self, rows: Sequence[Row], attacher: Attacher) -> None:
        """Let the rows be seen, all by one rename; nothing else that is new is saved."""
        own = Tables.open(self.cache.tables_dir, silent=True)
        try:
            keep_datasets(own, list(attacher.datasets.values()))
            if own.dirty:
                # first the files, then the rows that name them
                own.save()
            own.add(TABLE, [asdict(row) for row in rows], origin=self.server)
            own.save()
        finally:
            own.close()
        self.cache.tables.refresh()

    # -- status ----------------------------------------------------------------------------

    def status(self, *names: str) -> pd.DataFrame:
        """Say what is behind the server.

        Parameters
        ----------
        *names : str
            Schemas; all that are mirrored from this server when not given.

        Returns
        -------
        pandas.DataFrame
            A row for each table: ``schema``, ``table``, ``state`` (``"current"``; ``"behind"``:
            rows were added, changed or removed; ``"altered"``: its columns were; ``"new"``: not
            mirrored yet; ``"dropped"``: not on the server any more), ``rows`` (in the mirror),
            ``server_rows``, ``pulled_at``.

        Raises
        ------
        ModeError
            The cache is fixed.
        Forbidden, TransferFailed, RemoteError
            As in `pull`.
        """
        if not self.cache.policy("remote").asks:
            raise ModeError(f"mode {self.cache.mode!r} asks no server")
        self.cache.tables.refresh()
        known = [row for row in rows_of(self.cache) if row.server == self.server]
        schemas = list(names) or list(dict.fromkeys(row.schema for row in known))
        with self._server() as server:
            there = set(server.schemas())
            if names:
                server.require([name for name in names if name not in {r.schema for r in known}])
            here = [name for name in schemas if name in there]
            tables = server.tables(here) if here else []
            with server.snapshot(tables):
                chosen = choose(server, tables, here, None) if here else []
                lines = list(self._compared(server, chosen, schemas, known))
        return _frame(lines).rename(columns={"fetched": "server_rows"})

    def _compared(
        self, server: Server, chosen: Sequence[Chosen], schemas: Sequence[str], known: list[Row]
    ) -> Iterator[Line]:
        by_key = {(row.schema, row.table): row for row in known if row.schema in schemas}
        for one in chosen:
            about = one.about
            row = by_key.pop((about.schema, about.table), None)
            if row is None or row.state:
                count = int(server.ask(f"SELECT count(*) FROM {one.source}")[0][0])
                yield Line(about.schema, about.class_name, "new", 0, count, "")
                continue
            state, count = self._state(server, one, row)
            yield Line(about.schema, about.class_name, state, row.rows, count, row.pulled_at)
        for row in by_key.values():
            if not row.state:
                yield Line(row.schema, row.class_name, "dropped", row.rows, 0, row.pulled_at)

    def _state(self, server: Server, one: Chosen, row: Row) -> tuple[str, int]:
        """Compare a table with its mirror, under the restriction of that."""
        attacher = Attacher(server, self.cache.store)
        columns = readings(server, one.table, one.about, attacher)
        key = [each for each in columns if each.attribute.name in one.about.primary_key]
        former = Former.find(self.cache.store, row.file, one.about)
        if former is None:
            count = int(server.ask(f"SELECT count(*) FROM {one.source}")[0][0])
            path = self.cache.store.path(row.path)
            is_altered = path.is_file() and About.of_file(path) != one.about
            return ("altered" if is_altered else "behind"), count
        now = ask_digests(server, row.source or one.source, key, columns, former.digests.bits)
        return ("behind" if former.digests.changed(now) else "current"), now.rows

    # -- the connection --------------------------------------------------------------------

    @contextmanager
    def _server(self) -> Iterator[Server]:
        login = read_login(*self._given)
        server = Server(self._place, login, use_tls=self._use_tls, stores=self._stores)
        try:
            yield server
        finally:
            server.close()


def _shown(restrict: Any) -> str:
    text = repr(restrict)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _frame(lines: Sequence[Line]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([asdict(line) for line in lines], columns=list(Line.__annotations__))
