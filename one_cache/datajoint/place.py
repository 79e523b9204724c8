"""Where a server is, and who asks it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from one_cache.errors import InvalidArgument

BACKENDS = {
    "mysql": "mysql",
    "mariadb": "mysql",
    "postgresql": "postgresql",
    "postgres": "postgresql",
}
PORTS = {"mysql": 3306, "postgresql": 5432}


@dataclass(frozen=True)
class Place:
    """Where a server is.

    Attributes
    ----------
    host : str
        Name or address.
    port : int
        Of the database.
    backend : str
        ``"mysql"`` or ``"postgresql"``.
    database : str or None
        Of PostgreSQL.
    """

    host: str
    port: int
    backend: str
    database: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        end = f"/{self.database}" if self.database else ""
        return f"{self.backend}://{host}:{self.port}{end}"


@dataclass(frozen=True)
class Login:
    """Who asks.

    Attributes
    ----------
    user, password : str
        Shown nowhere.
    """

    user: str = field(repr=False)
    password: str = field(repr=False)


def read_place(
    host: str | None, port: int | None, backend: str | None, database: str | None
) -> Place:
    """Give the place that arguments and environment name.

    Parameters
    ----------
    host, port, backend, database
        From the caller; ``DJ_HOST``, ``DJ_PORT``, ``DJ_BACKEND``, ``DJ_DATABASE_NAME`` stand in.

    Returns
    -------
    Place

    Raises
    ------
    InvalidArgument
        No such backend, or a port that is none.

    Examples
    --------
    >>> print(read_place("db.lab.org:3307", None, "mariadb", None))
    mysql://db.lab.org:3307
    >>> print(read_place("db.lab.org", 5432, None, None))
    postgresql://db.lab.org:5432
    """
    # the two protocols wait for one another: a wrong guess would take a minute to fail
    by_port = "postgresql" if port == 5432 or str(host).endswith(":5432") else "mysql"
    asked = backend or os.environ.get("DJ_BACKEND") or by_port
    kind = BACKENDS.get(asked.lower())
    if kind is None:
        raise InvalidArgument(
            f"backend must be one of {', '.join(map(repr, BACKENDS))}, got {asked!r}"
        )
    name = host or os.environ.get("DJ_HOST") or "localhost"
    # an address of version 6 has more colons
    if name.count(":") == 1:
        name, _, given = name.partition(":")
    else:
        given = str(port or os.environ.get("DJ_PORT") or PORTS[kind])
    if not given.isdigit():
        raise InvalidArgument(f"a port is a whole number, got {given!r}")
    if "@" in name or "/" in name:
        # it may hold a password: it is not shown
        raise InvalidArgument("host is the name of a server, without protocol and password")
    of_postgres = kind == "postgresql"
    base = (database or os.environ.get("DJ_DATABASE_NAME")) if of_postgres else None
    return Place(name, int(given), kind, base)


def read_login(user: str | None, password: str | None) -> Login:
    """Give who asks: the caller, or the environment.

    There ``DJ_USER`` and ``DJ_PASS`` come first, then ``DB_USER`` and ``DB_PASS``.

    Parameters
    ----------
    user, password : str, optional
        From the caller. A password of the environment belongs to the user that stands beside it.

    Returns
    -------
    Login

    Raises
    ------
    InvalidArgument
        Nobody is named, or there is no password.
    """
    for prefix in ("DJ", "DB"):
        beside = os.environ.get(f"{prefix}_USER")
        found = os.environ.get(f"{prefix}_PASS")
        if user is None and beside:
            user = beside
        if (
            password is None
            and found is not None
            and user is not None
            and user == (beside or user)
        ):
            password = found
    if user is None or password is None:
        missing = "user" if user is None else "password"
        raise InvalidArgument(
            f"no {missing} for the server: Mirror(cache, user=..., password=...), or set DJ_USER "
            "and DJ_PASS (or DB_USER and DB_PASS) in the environment"
        )
    return Login(user, password)
