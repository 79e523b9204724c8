"""The cache: the desk that joins tables, store, remote, modes and record, and its calls.

::

    desk      folders, tables, remote, store, recorder; what a policy says, done
    noting    what a record says of the datasets that were read
    naming    eid, path, reference, record, URL
    finding   search, list, details
    choosing  which datasets a name means, or why none
    loading   datasets, objects, collections
    notices   what a lab says about datasets after the fact
    lab       the database itself, probes, aggregates
    describing  what revisions and types of datasets are about
    opening   whole tables: of a folder, of the remote, of a tag
    packed    the zip that they come in
    keeping   save and freeze tables; the record; what people see
    sharing   other processes, other machines, other people
    relating  access tables as relations
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from one_cache import settings
from one_cache.cache.lab import Lab
from one_cache.cache.relating import Relating
from one_cache.cache.sharing import Sharing
from one_cache.errors import InvalidArgument, ManifestError
from one_cache.manifest import Manifest
from one_cache.modes import Mode, read_mode

__all__ = ["ONE", "Cache"]


class Cache(Lab, Sharing, Relating):
    """One folder, one manifest, one mode, one record: data by ID, each byte verified.

    Parameters
    ----------
    cache_dir : path-like, optional
        Root of the files; the default depends on the remote's address.
    remote : Remote or str, optional
        Where records and bytes come from: a folder, ``http(s)://...``, or an object that
        follows :class:`one_cache.remotes.Remote`.
    tables_dir : path-like, optional
        Where the tables and the manifest lie; `cache_dir` when not given.
    mode : {"remote", "local", "fixed"}, optional
        ``remote`` asks and fetches; ``local`` answers from the tables on disk and fetches
        nothing; ``fixed`` serves only what the manifest pins and whose bytes are verified.
        ``remote`` where there is a remote, else ``local``.
    wildcards : bool
        Names are patterns of a shell, search terms regular expressions.
    silent : bool
        No progress bars.
    version : str, optional
        Data release that the manifest must name.

    Raises
    ------
    ManifestError
        Mode ``fixed``, and there is no manifest, or one that does not fit.
    TableError
        A table that cannot be read; it is left as it is.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from one_cache.sample import write_sample_lab
    >>> folder = mkdtemp()
    >>> sample = write_sample_lab(folder)
    >>> cache = Cache(folder)
    >>> eid = cache.search(datasets="_ibl_trials.table.pqt")[0]
    >>> cache.load_object(eid, "wheel").position.shape == cache.load_dataset(
    ...     eid, "wheel.position").shape
    True
    """

    @classmethod
    def index(
        cls, folder: str | Path, *, hash: bool = False, silent: bool = False, **options: Any
    ) -> Cache:
        """Make the tables of a lab that has no database from its ALF folders, and open it.

        Parameters
        ----------
        folder : path-like
            Holds ``lab/Subjects/subject/date/number`` or ``subject/date/number``.
        hash : bool
            Hash every file (md5); needed for ``mode="fixed"`` and for safe transfers.
        silent : bool
            No progress bar.
        **options
            As for :class:`Cache`.

        Returns
        -------
        Cache
            On that folder, in local mode.
        """
        from one_cache.index import index_folder

        root = Path(folder).expanduser().absolute()
        index_folder(root, hash=hash, silent=silent)
        return cls(root, silent=silent, **options)


@lru_cache(maxsize=32)
def _one(address: str | None, cutoff: str | None, options: tuple[tuple[str, Any], ...]) -> Cache:
    """Open a cache for these arguments; the revision cut-off is one of them."""
    given = dict(options)
    access = {key: given.pop(key) for key in ("username", "password", "token")}
    if address is None:
        return Cache(**given)
    found = settings.credentials(address, **access) if any(access.values()) else None
    cache = Cache(remote=address, access=found, **given)
    settings.remember_url(settings.without_credentials(address))
    return cache


def _folder_address(cache_dir: str) -> str | None:
    """Give the remote that the manifest of a folder names."""
    try:
        remotes = Manifest.read(Path(cache_dir)).remotes
    except ManifestError:
        return None
    return remotes[0] if remotes else None


def ONE(
    base_url: str | None = None,
    *,
    cache_dir: str | Path | None = None,
    tables_dir: str | Path | None = None,
    mode: str = "remote",
    username: str | None = None,
    password: str | None = None,
    token: str | None = None,
    wildcards: bool = True,
    silent: bool = False,
    version: str | None = None,
) -> Cache:
    """Open a cache; the same arguments give the same object.

    Parameters
    ----------
    base_url : str, optional
        Address of the server, or a folder. Without it the one that the manifest in `cache_dir`
        names; without that folder the one of ``ONE_BASE_URL``, or the first that was ever used
        here.
    cache_dir, tables_dir, wildcards, silent, version
        See :class:`Cache`.
    mode : {"remote", "local", "fixed"}
        See :class:`Cache`; ``local`` takes the place of ``remote`` where no server is known.
    username, password, token : str, optional
        For the server; otherwise from the environment or the settings file.

    Returns
    -------
    Cache

    Raises
    ------
    InvalidArgument
        Neither a server nor a folder is known.

    Notes
    -----
    ``ONE.cache_clear()`` forgets all objects.
    """
    folder = str(Path(cache_dir).expanduser().absolute()) if cache_dir else None
    tables = str(Path(tables_dir).expanduser().absolute()) if tables_dir else None
    address = base_url or (_folder_address(folder) if folder else settings.default_url())
    if address is None and folder is None:
        raise InvalidArgument(
            "ONE() does not know a server yet: name one, ONE(base_url='https://...'), set "
            "ONE_BASE_URL, or name a folder, ONE(cache_dir=...)"
        )
    if address is None and read_mode(mode) is Mode.REMOTE:
        mode = "local"
    options = {
        "cache_dir": folder,
        "tables_dir": tables,
        "mode": str(mode),
        "username": username,
        "password": password,
        "token": token,
        "wildcards": wildcards,
        "silent": silent,
        "version": version,
    }
    address = address.rstrip("/") if address else None
    return _one(address, settings.revision_cutoff(), tuple(options.items()))


ONE.cache_clear = _one.cache_clear  # type: ignore[attr-defined]
