"""Where records and bytes come from: the protocol that each remote follows, and the registry.

A remote is four methods. It returns records and yields bytes; it writes nothing, keeps no mode
and knows no cache folder. ``one_cache.testing`` holds the contract tests that each must pass.

- ``tables()`` names the whole access tables that the remote carries, each as a :class:`Listing`
  with a fingerprint that changes when the table does. A remote that answers questions one at a
  time (a database) may name none.
- ``records(question)`` answers one question with rows, or returns None: "ask my tables".
- ``open(file, start, validator)`` gives a :class:`Body`, the bytes from `start` on.
- ``url(file)`` gives the address of a file, for people and for records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from one_cache.errors import InvalidArgument
from one_cache.records import File


@dataclass(frozen=True)
class Listing:
    """A whole table that a remote carries.

    Attributes
    ----------
    name : str
        ``"sessions"``, ``"datasets"``, ...
    file : File
        What to open; its `path` is where the remote keeps it.
    fingerprint : str
        Changes when the table does: a hash, an ETag, or size and time.
    """

    name: str
    file: File
    fingerprint: str


@dataclass(frozen=True)
class Question:
    """What a cache asks of a remote that answers questions.

    Attributes
    ----------
    table : str
        The kind of record asked for.
    terms : mapping
        Full names of search terms and their values, validated.
    """

    table: str
    terms: Mapping[str, Any] = field(default_factory=dict)


class Body:
    """The bytes of one file, from some position on; a context manager that closes its source.

    Parameters
    ----------
    chunks : iterator of bytes
        In order; each as soon as it has arrived.
    start : int
        Position of the first byte. A remote that cannot start where it was asked gives 0.
    total : int or None
        Length of the whole file, where the remote says it.
    validator : str or None
        Names this version of the content (a strong ETag, say); equal only for equal bytes.
    close : callable, optional
        Frees what `chunks` reads from.
    """

    def __init__(
        self,
        chunks: Iterator[bytes],
        *,
        start: int = 0,
        total: int | None = None,
        validator: str | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.chunks = chunks
        self.start = start
        self.total = total
        self.validator = validator
        self._close = close

    def __enter__(self) -> Body:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()


@runtime_checkable
class Remote(Protocol):
    """What a cache needs of the place that its data come from.

    Attributes
    ----------
    name : str
        For messages and records: an address or a folder, never with a credential in it.
    """

    name: str

    def tables(self) -> Sequence[Listing]:
        """Name the whole tables that this remote carries."""
        ...

    def records(self, question: Question) -> Sequence[Mapping[str, Any]] | None:
        """Answer one question with rows; None means: ask my tables."""
        ...

    def open(self, file: File, start: int = 0, validator: str | None = None) -> Body:
        """Open `file` at byte `start`, given that its content still is that of `validator`.

        Raises
        ------
        NotOnRemote
            It is not there.
        Forbidden
            Credentials are missing, wrong, or without the right.
        TransferFailed
            A failure that can heal.
        """
        ...

    def url(self, file: File) -> str:
        """Give the address of `file`, without a credential in it; nothing is asked."""
        ...


# scheme of the address -> "module:class"; the module is imported when it is first needed
_REGISTRY: dict[str, str] = {
    "": "one_cache.remotes.folder:FolderRemote",
    "file": "one_cache.remotes.folder:FolderRemote",
    # an Alyx server or a plain one: the first question finds out
    "http": "one_cache.remotes.web:WebRemote",
    "https": "one_cache.remotes.web:WebRemote",
    "s3": "one_cache.remotes.s3:S3Remote",
    "zip": "one_cache.remotes.archive:ZipRemote",
}


def register(scheme: str, target: str) -> None:
    """Say which class serves addresses of `scheme`.

    Parameters
    ----------
    scheme : str
        For instance ``"s3"``.
    target : str
        ``"package.module:Class"``; the class takes the address and keyword options.
    """
    _REGISTRY[scheme.lower()] = target


def connect(address: str, **options: Any) -> Remote:
    """Give the remote for an address.

    Parameters
    ----------
    address : str
        A folder, a zip file, or an address whose scheme is registered.
    **options
        Handed to the remote's class: `username`, `password`, `token`, ...

    Returns
    -------
    Remote

    Raises
    ------
    InvalidArgument
        No remote serves that scheme.

    Examples
    --------
    >>> connect("gopher://data.org")
    Traceback (most recent call last):
    one_cache.errors.InvalidArgument: no remote for 'gopher://...'; there are: file, http, ...
    """
    scheme, found, _ = address.partition("://")
    scheme = scheme.lower() if found else ""
    if not found and address.lower().endswith(".zip"):
        scheme = "zip"
    if scheme not in _REGISTRY:
        known = ", ".join(sorted(filter(None, _REGISTRY)))
        raise InvalidArgument(f"no remote for '{scheme}://...'; there are: {known}")
    module, _, name = _REGISTRY[scheme].partition(":")
    remote: Remote = getattr(import_module(module), name)(address, **options)
    return remote
