"""Every exception and warning of the package.

One tree: each error derives from :class:`OneCacheError` and from the built-in type that a
caller would catch, so ``except FileNotFoundError`` and ``except KeyError`` work as they read.
The ALF names are those that users of ONE-api catch already::

    OneCacheError
    ├── ALFError
    │   ├── ALFInvalid                    ValueError         a path or name outside the ALF grammar
    │   │   └── ALFPartMissing            TypeError          a name that lacks a part
    │   ├── ALFObjectNotFound             FileNotFoundError  no dataset of that name
    │   │   ├── QCExcluded                                   there is one, its QC keeps it out
    │   │   ├── NotOnServer                                  it is known, no server holds it
    │   │   ├── NotInCache                                   known, not on disk, may not be fetched
    │   │   │   └── QueryNotCached                           no answer is kept, none may be asked
    │   │   └── SessionNotFound           KeyError, ValueError   no session of that name
    │   ├── ALFMultipleObjectsFound       LookupError        the name fits several
    │   ├── ALFMultipleCollectionsFound   LookupError        ... in several collections
    │   └── ALFMultipleRevisionsFound     LookupError        ... in several (default) revisions
    ├── InvalidArgument                   ValueError
    │   ├── UnknownSearchTerm
    │   ├── AmbiguousSearchTerm
    │   ├── UnknownPart                   KeyError           no part of ALF paths has that name
    │   ├── UnknownColumn                 KeyError           a relation has no such column
    │   └── InvalidDate
    ├── TableError                        ValueError
    │   ├── TableCorrupt                  not Parquet, truncated, half-written
    │   ├── TableForeign                  Parquet, but no access table
    │   ├── TableColumnMissing            KeyError
    │   ├── TableTooNew                   written by a later version of this package
    │   ├── TableChanged                  replaced while it was open
    │   ├── TableReadOnly                 rows cannot be inserted there
    │   └── DuplicateKey                  a row of that primary key is there already
    ├── NotMirrored                       AttributeError, KeyError   no such schema or table here
    ├── NotOneRow                         LookupError, ValueError
    ├── ManifestError                     ValueError
    │   ├── ManifestMissing               FileNotFoundError
    │   └── ManifestMismatch              another layout, release or table than asked for
    ├── ModeError                         RuntimeError       the mode forbids it
    ├── ContentError                      ValueError         a file that its format cannot hold
    ├── StoreError                        OSError            the cache folder refuses
    │   └── PathEscapes                   ValueError         a path that would leave the root
    ├── TransferError                     OSError
    │   ├── HashMismatch                  ValueError         bytes differ from the record
    │   ├── SizeMismatch                  ValueError
    │   ├── NotOnRemote                   FileNotFoundError  404, 410
    │   ├── Forbidden                     PermissionError    401, 403
    │   ├── TransferFailed                ConnectionError    cut, reset, stalled, 5xx; can heal
    │   └── TransferErrors                                   several files of one call failed
    ├── RemoteError                       OSError            a server's answer that is no answer
    │   └── ServerTimeout                 TimeoutError       it gave up, or did not answer in time
    └── DependencyMissing                 ImportError        an optional package is not installed

Warnings: :class:`ALFWarning` (revisions), :class:`QCWarning` (a FAIL or CRITICAL dataset was
loaded), :class:`CacheWarning` (everything else that one should know and that stops nothing).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class OneCacheError(Exception):
    """Base of all errors of this package; its text is the message, never a repr of it.

    Attributes
    ----------
    done : sequence
        Files of the same call that arrived all the same, where a call brings several.
    """

    done: Sequence[Any] = ()

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        # KeyError would print the repr, OSError would look for an errno
        return self.message


class ALFError(OneCacheError):
    """Base of the errors about ALF names and datasets."""


class ALFInvalid(ALFError, ValueError):
    """A path or name that the ALF grammar does not allow."""


class ALFPartMissing(ALFInvalid, TypeError):
    """A name cannot be built without its object, attribute or extension."""


class ALFObjectNotFound(ALFError, FileNotFoundError):
    """No dataset or object of that name in that session."""


class QCExcluded(ALFObjectNotFound):
    """The dataset exists; its QC is worse than the call allows."""


class NotOnServer(ALFObjectNotFound):
    """The dataset is known, but no server holds its file."""


class NotInCache(ALFObjectNotFound):
    """The dataset is known, its file is not on disk, and this mode fetches nothing."""


class QueryNotCached(NotInCache):
    """No answer to this query is kept here, and this mode asks nobody."""


class SessionNotFound(ALFObjectNotFound, KeyError, ValueError):
    """No session of that name or id is known."""


class ALFMultipleObjectsFound(ALFError, LookupError):
    """The name fits several datasets or objects."""


class ALFMultipleCollectionsFound(ALFError, LookupError):
    """The name fits datasets of several collections."""


class ALFMultipleRevisionsFound(ALFError, LookupError):
    """The name fits several revisions, or several are marked as the default."""


class InvalidArgument(OneCacheError, ValueError):
    """A value that no call accepts."""


class UnknownSearchTerm(InvalidArgument):
    """A search term that does not exist."""


class AmbiguousSearchTerm(InvalidArgument):
    """An abbreviation that fits several search terms."""


class UnknownPart(InvalidArgument, KeyError):
    """No part of ALF paths has that name."""


class UnknownColumn(InvalidArgument, KeyError):
    """A relation has no column of that name."""


class InvalidDate(InvalidArgument):
    """A date or date range that cannot be read."""


class TableError(OneCacheError, ValueError):
    """Base of the errors about access tables."""


class TableCorrupt(TableError):
    """Not Parquet, truncated or half-written; the file is left as it is."""


class TableForeign(TableError):
    """A Parquet file that is no access table."""


class TableColumnMissing(TableError, KeyError):
    """The table lacks a column that the question needs."""


class TableTooNew(TableError):
    """Written in a layout that this version does not know."""


class TableChanged(TableError):
    """Replaced on disk while it was open."""


class TableReadOnly(TableError):
    """Rows cannot be inserted there: a result, a mirror, or an access table."""


class DuplicateKey(TableError):
    """A row of that primary key is there already."""


class NotMirrored(OneCacheError, AttributeError, KeyError):
    """No schema or table of that name was copied from a pipeline."""


class NotOneRow(OneCacheError, LookupError, ValueError):
    """A single row was asked for, and there are none or several."""


class ManifestError(OneCacheError, ValueError):
    """Base of the errors about manifests."""


class ManifestMissing(ManifestError, FileNotFoundError):
    """There is no manifest where one is needed."""


class ManifestMismatch(ManifestError):
    """Another layout version, release or table than the manifest or the caller names."""


class ModeError(OneCacheError, RuntimeError):
    """The mode of this cache does not allow it."""


class ContentError(OneCacheError, ValueError):
    """A file whose bytes its format cannot hold: empty, truncated, broken, or pickled."""


class StoreError(OneCacheError, OSError):
    """The cache folder cannot be read or written; `errno` is kept."""

    def __init__(self, message: str = "", errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


class PathEscapes(StoreError, ValueError):
    """A path that would leave the root of the cache."""


class TransferError(OneCacheError, OSError):
    """Base of the errors about bringing bytes from a remote."""


class HashMismatch(TransferError, ValueError):
    """The bytes are not those of the record."""


class SizeMismatch(TransferError, ValueError):
    """The length is not that of the record."""


class NotOnRemote(TransferError, FileNotFoundError):
    """The remote has no such file."""


class Forbidden(TransferError, PermissionError):
    """The remote refuses: credentials missing, wrong, or without the right."""


class TransferFailed(TransferError, ConnectionError):
    """Cut, reset, stalled or refused for now.

    Parameters
    ----------
    message : str
        What happened.
    retry_after : float, optional
        Seconds that the server asks to wait.
    """

    def __init__(self, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TransferErrors(TransferError):
    """Several files of one call did not arrive; the others did and are kept.

    Parameters
    ----------
    message : str
        What happened, in short.
    errors : mapping of str to Exception
        Path to the error of that file.
    done : sequence
        Files that arrived.
    """

    def __init__(
        self,
        message: str = "",
        errors: Mapping[str, Exception] | None = None,
        done: Sequence[Any] = (),
    ) -> None:
        super().__init__(message)
        self.errors = dict(errors or {})
        self.done = done


class RemoteError(OneCacheError, OSError):
    """A server answered with an error or with something that cannot be read.

    Parameters
    ----------
    message : str
        What happened, with the server's own words.
    status : int, optional
        HTTP status.
    """

    def __init__(self, message: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ServerTimeout(RemoteError, TimeoutError):
    """The server or its database gave up on a question, or did not answer in time."""


class DependencyMissing(OneCacheError, ImportError):
    """A package that only this part needs is not installed."""


class CacheWarning(UserWarning):
    """Something one should know that stops nothing."""


class ALFWarning(CacheWarning):
    """Cautions about revisions and names."""


class QCWarning(CacheWarning):
    """A dataset of QC FAIL or CRITICAL was loaded."""


def near_misses(name: str, known: Iterable[str], most: int = 3) -> str:
    """Give ``" Did you mean 'a' or 'b'?"``, or an empty text when nothing is near.

    Parameters
    ----------
    name : str
        What was asked for.
    known : iterable of str
        What there is.
    most : int
        How many to name.

    Returns
    -------
    str

    Examples
    --------
    >>> near_misses("wheel.positon.npy", ["wheel.position.npy", "licks.times.npy"])
    " Did you mean 'wheel.position.npy'?"
    >>> near_misses("x", [])
    ''
    """
    near = difflib.get_close_matches(name, list(known), n=most, cutoff=0.6)
    # what is much farther than the nearest is noise
    close = [difflib.SequenceMatcher(None, one, name).ratio() for one in near]
    near = [one for one, ratio in zip(near, close, strict=True) if ratio > close[0] - 0.1]
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
