"""A server of DataJoint pipelines: the connection, one moment of it, and what it refuses."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from one_cache.datajoint.place import Login, Place
from one_cache.errors import (
    CacheWarning,
    DependencyMissing,
    Forbidden,
    InvalidArgument,
    OneCacheError,
    RemoteError,
    TransferFailed,
    near_misses,
)

# what servers call a login that they refuse
_REFUSED = (
    "access denied",
    "authentication failed",
    "command denied",
    "permission denied",
    "no pg_hba.conf",
    'fatal:  role "',
)
# the table is not as it was when the snapshot began
_ALTERED = (
    "1412",  # MySQL: table definition has changed
    "definition has changed",
    "doesn't exist",
    "does not exist",
    "unknown column",
    "is not defined",
)
_PIECE = 4 << 20  # bytes of arrays that are held at once
_ROWS = 8192


class Altered(Exception):  # noqa: N818  # no error of users: the pull begins again
    """Somebody changed a table while it was read."""


class Server:
    """A connection that only reads.

    Parameters
    ----------
    place : Place
        Where.
    login : Login
        Who asks.
    use_tls : bool or dict, optional
        As for DataJoint: None tries it and goes on without.
    stores : mapping, optional
        Stores of files and large values, as in ``datajoint.json``.
    """

    def __init__(
        self,
        place: Place,
        login: Login,
        *,
        use_tls: bool | dict[str, Any] | None = None,
        stores: Mapping[str, Any] | None = None,
    ) -> None:
        self.place = place
        self._secret = login.password
        with self.explained("cannot connect"), quiet():
            dj = _datajoint()
            options = {"database__name": place.database} if place.database else {}
            self.instance = dj.Instance(
                host=place.host,
                user=login.user,
                password=login.password,
                port=place.port,
                backend=place.backend,
                use_tls=use_tls,
                **options,
            )
            if stores:
                self.instance.config.stores.update(stores)
            self.connection = self.instance.connection
            self.adapter = self.connection.adapter
            self._driver = self.connection._conn

    @property
    def is_postgres(self) -> bool:
        """Whether it is PostgreSQL."""
        return self.place.backend == "postgresql"

    def close(self) -> None:
        """Let go of the connection."""
        with contextlib.suppress(Exception):
            self.connection.close()

    # -- questions -------------------------------------------------------------------------

    def quoted(self, name: str) -> str:
        """Quote a name as this server does."""
        quote = '"' if self.is_postgres else "`"
        return f"{quote}{name.replace(quote, quote * 2)}{quote}"

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask a small question.

        Parameters
        ----------
        sql : str
            Percent signs twice, as DataJoint writes them.

        Returns
        -------
        list of tuple
        """
        with self.explained("cannot be asked"):
            return list(self.connection.query(sql, reconnect=False).fetchall())

    def pieces(self, sql: str, widest: int) -> Iterator[list[tuple[Any, ...]]]:
        """Ask a large question; the answer comes piece by piece and is never held as a whole.

        Parameters
        ----------
        sql : str
            See `ask`.
        widest : int
            Bytes of the arrays in the largest row.

        Yields
        ------
        list of tuple
        """
        count = max(1, min(_ROWS, _PIECE // max(widest, 1)))
        with (
            self.explained("rows cannot be read"),
            contextlib.closing(self._streaming()) as cursor,
        ):
            if self.is_postgres:
                cursor.itersize = count
            cursor.execute(sql, ())
            while rows := cursor.fetchmany(count):
                yield list(rows)

    def _streaming(self) -> Any:
        if self.is_postgres:
            return self._driver.cursor(name="one_cache")
        from pymysql.cursors import SSCursor  # type: ignore[import-untyped]  # it ships no types

        return self._driver.cursor(SSCursor)

    # -- one moment ------------------------------------------------------------------------

    @contextlib.contextmanager
    def snapshot(self, tables: Sequence[str] = ()) -> Iterator[None]:
        """See everything as it was at one moment, and change nothing.

        Parameters
        ----------
        tables : sequence of str
            Full names, quoted; PostgreSQL keeps others from altering them meanwhile.
        """
        if self.is_postgres:
            self._driver.set_session(
                isolation_level="REPEATABLE READ", readonly=True, autocommit=False
            )
        try:
            with self.explained("cannot give one moment"):
                self._begin(tables)
            yield
        finally:
            # a connection that broke has no transaction to end
            with contextlib.suppress(Exception):
                self._driver.rollback()
            if self.is_postgres:
                with contextlib.suppress(Exception):
                    self._driver.set_session(autocommit=True)

    def _begin(self, tables: Sequence[str]) -> None:
        if not self.is_postgres:
            self.ask("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            self.ask("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            return
        # before the first question, which begins the moment: a table that is rewritten after it
        # would look empty
        if tables:
            self.connection.query(f"LOCK TABLE {', '.join(tables)} IN ACCESS SHARE MODE")

    # -- what there is ---------------------------------------------------------------------

    def schemas(self) -> list[str]:
        """Name the schemas."""
        own = ("information_schema", "performance_schema", "mysql", "sys")
        names = [row[0] for row in self.ask(self.adapter.list_schemas_sql())]
        return sorted(name for name in names if name not in own and not name.startswith("pg_"))

    def require(self, names: Sequence[str]) -> None:
        """Refuse names of schemas that are not there.

        Raises
        ------
        InvalidArgument
            Names it, and what there is.
        """
        known = self.schemas()
        for name in names:
            if name not in known:
                raise InvalidArgument(
                    f"no schema {name!r} on {self.place}.{near_misses(name, known)} There are: "
                    f"{', '.join(known) or 'none that this user may see'}"
                )

    def tables(self, schemas: Sequence[str]) -> list[str]:
        """Give the full names of the tables of schemas, parents first.

        Parameters
        ----------
        schemas : sequence of str
            Names.

        Returns
        -------
        list of str
            Quoted as the server does. Tables that DataJoint keeps for itself are left out.
        """
        with self.explained("tables cannot be listed"), quiet():
            dependencies = self.connection.dependencies
            dependencies.load(force=True, schema_names=set(schemas))
            sorted_out = [self.split(name) for name in dependencies.topo_sort()]
            listed = [
                (schema, row[0])
                for schema in schemas
                for row in self.ask(self.adapter.list_tables_sql(schema))
            ]
        there = [pair for pair in listed if not pair[1].startswith("~")]
        odd = [pair for pair in there if not self._can_be_described(pair[1])]
        there = [pair for pair in there if pair not in odd]
        ordered = [pair for pair in sorted_out if pair in set(there)]
        # those without a key have no place in the order
        ordered += [pair for pair in there if pair not in set(ordered)]
        for schema, table in odd:
            warnings.warn(
                f"{schema}.{table}: DataJoint cannot describe a table of that name; it is left "
                "out. No class of a pipeline makes such a name",
                CacheWarning,
                stacklevel=5,
            )
        return [self.full_name(*pair) for pair in ordered]

    def _can_be_described(self, table: str) -> bool:
        """Tell whether DataJoint can ask about a table; it quotes some names too little."""
        if self.is_postgres:
            return re.fullmatch(r"[a-z_#][a-z0-9_#]*", table) is not None
        return "%" not in table

    def full_name(self, schema: str, table: str) -> str:
        """Give the full name of a table, quoted."""
        return f"{self.quoted(schema)}.{self.quoted(table)}"

    def split(self, full_name: str) -> tuple[str, str]:
        """Give schema and table of a full name."""
        schema, table = self.adapter.split_full_table_name(full_name)
        return str(schema), str(table)

    # -- errors ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Turn errors of DataJoint and the driver into ours, without the password."""
        try:
            yield
        except (OneCacheError, Altered):
            raise
        except ImportError as error:
            raise DependencyMissing(
                f"{error}. Mirroring needs DataJoint: pip install 'one_cache[datajoint]'"
            ) from error
        except Exception as error:
            if not _is_of_server(error):
                raise
            text = self._without_secret(" ".join(str(one) for one in error.args) or repr(error))
            # the chain would show what the driver was given
            raise self._ours(what, text) from None

    def _ours(self, what: str, text: str) -> Exception:
        said = text.lower()
        message = f"{self.place}: {what}: {text}"
        if any(one in said for one in _REFUSED):
            return Forbidden(f"{message}. Check user and password (DJ_USER, DJ_PASS)")
        if what == "cannot connect" or "lost connection" in said or "server closed" in said:
            return TransferFailed(
                f"{message}. Nothing was changed here; is the server up, and its backend "
                f"{self.place.backend!r}?"
            )
        if any(one in said for one in _ALTERED):
            return Altered(message)
        return RemoteError(f"{message}. Nothing was changed here")

    def _without_secret(self, text: str) -> str:
        # shorter ones are parts of words, and to cut them out would tell them
        return text.replace(self._secret, "...") if len(self._secret) > 3 else text


def _is_of_server(error: Exception) -> bool:
    """Tell an answer of the server or its driver from a fault of this program."""
    modules = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return bool(modules & {"datajoint", "pymysql", "psycopg2"}) or isinstance(error, OSError)


def _datajoint() -> Any:
    import datajoint  # type: ignore[import-untyped]  # it ships no types

    version = getattr(datajoint, "__version__", "0")
    if version.partition(".")[0] in ("0", "1"):
        raise ImportError(f"DataJoint {version} is installed, 2 or later is needed")
    return datajoint


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep DataJoint from talking: what matters is an error."""
    log = logging.getLogger("datajoint")
    log.addFilter(_nothing)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.CRITICAL
