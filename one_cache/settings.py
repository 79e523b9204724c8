"""Where caches and credentials live: arguments first, then the environment, then one file each.

==========================  ==================================================================
``ONE_BASE_URL``            the server that ``ONE()`` without an address means
``ONE_CACHE_DIR``           the folder under which each server's cache lies
``ONE_CACHE_CONFIG``        the folder of ``settings.json`` and ``credentials.json``
``ONE_REVISION_LAST_BEFORE``  the revision cut-off, an ISO date
``ONE_CACHE_TOKEN``         a bearer token for the data server
``ALYX_LOGIN``, ``ALYX_PWD``  user and password
==========================  ==================================================================

``credentials.json`` is readable by its owner only (0600); a file that others can read is
refused. Nothing of it is ever written into a cache, a record, a log or a message.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from one_cache.atomic import write_json
from one_cache.errors import InvalidArgument, StoreError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Credentials:
    """What a server wants to know; never shown by ``repr``.

    Attributes
    ----------
    username : str or None
        User.
    password : str or None
        Password.
    token : str or None
        Bearer token, instead of user and password.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


def config_folder() -> Path:
    """Give the folder of the settings (it may not exist)."""
    chosen = os.environ.get("ONE_CACHE_CONFIG")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_config_path

    return user_config_path("one_cache", appauthor=False)


def server_key(url: str) -> str:
    """Give the folder name of a server: its address without protocol, as ONE-api writes it.

    Examples
    --------
    >>> server_key("https://openalyx.internationalbrainlab.org/")
    'openalyx.internationalbrainlab.org'
    >>> server_key("http://127.0.0.1:8010")
    '127.0.0.1_8010'
    """
    parts = urlsplit(url)
    address = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
    key = re.sub(r"[^a-z0-9.-]", "_", address.strip("/").lower()).strip(".")
    if not key:
        raise InvalidArgument(f"{url!r} is no address; expected one like 'https://alyx.lab.org'")
    return key


def without_credentials(address: str) -> str:
    """Give an address without the user and password that may stand in it.

    Examples
    --------
    >>> without_credentials("https://user:secret@data.lab.org/public")
    'https://data.lab.org/public'
    """
    scheme, found, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{found}{host.rpartition('@')[2]}{slash}{path}" if found else address


def default_cache_dir(url: str | None = None) -> Path:
    """Give the folder of the cache of a server, or of the cache without a server.

    Parameters
    ----------
    url : str, optional
        Address of the server.

    Returns
    -------
    pathlib.Path
        Under ``ONE_CACHE_DIR``, or under the user's data folder.
    """
    chosen = os.environ.get("ONE_CACHE_DIR")
    if chosen:
        base = Path(chosen).expanduser()
    else:
        from platformdirs import user_data_path

        base = user_data_path("one_cache", appauthor=False)
    return base / (server_key(url) if url else "local")


def default_url() -> str | None:
    """Give the server that ``ONE()`` means: ``ONE_BASE_URL``, or the one first used."""
    return os.environ.get("ONE_BASE_URL") or _read("settings.json").get("default_url")


def remember_url(url: str) -> None:
    """Let `url` be the default server, unless there is one.

    A home that cannot be written is no reason to fail: the next call names its server again.
    """
    settings = _read("settings.json")
    if "default_url" in settings:
        return
    try:
        write_json(config_folder() / "settings.json", {**settings, "default_url": url})
    except OSError as error:
        _log.debug("settings not written: %s", error)


def revision_cutoff() -> str | None:
    """Give ``ONE_REVISION_LAST_BEFORE``, or None where it is unset or empty."""
    return os.environ.get("ONE_REVISION_LAST_BEFORE") or None


def credentials(
    url: str,
    *,
    username: str | None = None,
    password: str | None = None,
    token: str | None = None,
) -> Credentials:
    """Give the credentials for a server: arguments, then the environment, then the file.

    Parameters
    ----------
    url : str
        Address of the server.
    username, password, token : str, optional
        From the caller; they win.

    Returns
    -------
    Credentials

    Raises
    ------
    StoreError
        The credentials file can be read by others.
    """
    saved = saved_credentials(url)
    login = os.environ.get("ALYX_LOGIN")
    user = username or login or saved.username
    if user != saved.username:
        # another user's password or token is of no use to this one
        saved = Credentials()
    asked = os.environ.get("ALYX_PWD") if not login or user == login else None
    return Credentials(
        username=user,
        password=password or asked or saved.password,
        token=token or os.environ.get("ONE_CACHE_TOKEN") or saved.token,
    )


def saved_credentials(url: str) -> Credentials:
    """Give what the file holds for a server; the environment is not looked at.

    Raises
    ------
    StoreError
        The credentials file can be read by others.
    """
    entry = _read("credentials.json", private=True).get(server_key(url), {})
    return Credentials(*(entry.get(name) for name in ("username", "password", "token")))


def save_credentials(url: str, found: Credentials) -> Path:
    """Write the credentials of a server into the file of mode 0600.

    Parameters
    ----------
    url : str
        Address of the server.
    found : Credentials
        What to keep; what is None is left out.

    Returns
    -------
    pathlib.Path
        The file.
    """
    entry = {key: value for key, value in vars(found).items() if value is not None}
    path = config_folder() / "credentials.json"
    write_json(path, {**_read(path.name, private=True), server_key(url): entry}, private=True)
    return path


def _read(name: str, *, private: bool = False) -> dict[str, Any]:
    path = config_folder() / name
    try:
        mode = path.stat().st_mode
        if private and os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise StoreError(
                f"{path} can be read by others (mode {stat.S_IMODE(mode):04o}); "
                f"make it yours alone: chmod 600 {path}"
            )
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        raise StoreError(f"{path} is not JSON ({error}); mend it or remove it") from error
    return value if isinstance(value, dict) else {}
