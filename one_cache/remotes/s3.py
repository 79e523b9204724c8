"""S3, or what speaks its protocol (MinIO, Ceph, ...), as a remote and as a place for tables."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

from one_cache.errors import (
    Forbidden,
    InvalidArgument,
    NotOnRemote,
    PathEscapes,
    StoreError,
    TransferError,
    TransferFailed,
)
from one_cache.records import File
from one_cache.remotes import Body, Listing, Question

# a request each; a chunk is held in memory by each thread
_CHUNK = 4 << 20
_CONNECT = 10.0  # s
_REFUSALS = (
    "ACCESS_DENIED",
    "INVALID_ACCESS_KEY_ID",
    "INVALID_CLIENT_TOKEN_ID",
    "SIGNATURE_DOES_NOT_MATCH",
    "EXPIRED_TOKEN",
    "UNRECOGNIZED_CLIENT",
)
# any of these says that somebody has credentials; without them, looking for some takes seconds
_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


class _Access(NamedTuple):
    """Kept apart from the rest so that no ``repr`` shows it."""

    key: str | None
    secret: str | None
    session: str | None

    def __repr__(self) -> str:
        return "<access>"


class S3Remote:
    """A bucket, or a prefix in one, that holds the folder of a cache.

    Parameters
    ----------
    address : str
        ``s3://bucket/prefix``; ``?endpoint_override=http://host:9000`` names a server that is
        not Amazon's, ``&region=`` the region.
    access_key, secret_key, session_token : str, optional
        Credentials; otherwise those of the environment or of ``~/.aws``.
    anonymous : bool, optional
        Send no credentials. When not given: where none are found. A machine whose role in the
        cloud gives them wants ``anonymous=False``.
    timeout : float
        Seconds without a byte after which a request fails.

    Raises
    ------
    InvalidArgument
        Not an ``s3://`` address with a bucket.

    Notes
    -----
    The endpoint is also taken from ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL``, the region
    from ``AWS_REGION`` or ``AWS_DEFAULT_REGION``.

    Examples
    --------
    >>> remote = S3Remote("s3://key:secret@lab-data/public")
    >>> remote.name, remote.url(File("alf/#2024-05-06#/spikes.times.npy"))
    ('s3://lab-data/public', 's3://lab-data/public/alf/%232024-05-06%23/spikes.times.npy')
    """

    def __init__(
        self,
        address: str,
        *,
        access_key: str | None = None,
        secret_key: str | None = None,
        session_token: str | None = None,
        anonymous: bool | None = None,
        timeout: float = 30.0,
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme.lower() != "s3" or not parts.hostname:
            raise InvalidArgument(f"{_shown(address)!r} is no address like 's3://bucket/prefix'")
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        # urlsplit would make the name of a bucket lower case, which it is, and drop a port
        bucket = parts.netloc.rpartition("@")[2]
        self._base = "/".join([bucket, *filter(None, unquote(parts.path).split("/"))])
        self._query = {key: query[key] for key in ("endpoint_override", "region") if key in query}
        self.name = f"s3://{quote(self._base)}"
        if self._query:
            options = "&".join(f"{key}={quote(value)}" for key, value in self._query.items())
            self.name = f"{self.name}?{options}"
        self.timeout = timeout
        self.anonymous = anonymous
        self._access = _Access(
            access_key or (unquote(parts.username) if parts.username else None),
            secret_key or (unquote(parts.password) if parts.password else None),
            session_token,
        )
        self._lock = threading.Lock()
        self._opened: tuple[int, Any] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __getstate__(self) -> dict[str, Any]:
        left = ("_lock", "_opened")
        return {name: value for name, value in vars(self).items() if name not in left}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock(), _opened=None)

    def tables(self) -> Sequence[Listing]:
        """Name the ``*.pqt`` in the prefix, with their ETags as fingerprints.

        Raises
        ------
        Forbidden, TransferFailed
            As the server answers.
        """
        from pyarrow import fs  # type: ignore[import-untyped]  # it ships no types

        system = self._system()
        try:
            selector = fs.FileSelector(self._base, allow_not_found=True)
            found = [info for info in system.get_file_info(selector) if _is_table(info)]
        except OSError as error:
            raise self._explain(error, "its tables") from error
        return [self._listing(info.base_name, info.size) for info in found]

    def records(self, question: Question) -> Sequence[Mapping[str, Any]] | None:
        """Answer nothing: a bucket has only its tables."""
        return None

    def open(self, file: File, start: int = 0, validator: str | None = None) -> Body:
        """Open `file` at byte `start`, or at 0 where its content is no longer that of `validator`.

        Parameters
        ----------
        file : File
            Its `path` says where.
        start : int
            First byte wanted; past the end gives the whole file.
        validator : str, optional
            Of the body that gave the bytes before `start`.

        Returns
        -------
        Body
            Its `validator` is the ETag.

        Raises
        ------
        PathEscapes
            The path leads out of the prefix.
        NotOnRemote, Forbidden, TransferFailed
            As the server answers.
        """
        source, size, version = self._source(file.path)
        if start > size or validator not in (None, version):
            start = 0
        return Body(
            self._read(source, file.path, start, version),
            start=start,
            total=size,
            validator=version,
            close=source.close,
        )

    def url(self, file: File) -> str:
        """Give the ``s3://`` address of `file`; nothing is asked.

        Raises
        ------
        PathEscapes
            The path leads out of the prefix.
        """
        return f"s3://{quote(self._place(file.path))}"

    def put(self, path: str, source: Path) -> None:
        """Write a local file, for the tables that a cache saves here; readers see it whole.

        Parameters
        ----------
        path : str
            Relative to the prefix.
        source : pathlib.Path
            The file.

        Raises
        ------
        StoreError
            The server refuses; what was there before still is.
        """
        target = self._place(path)
        folder, _, name = target.rpartition("/")
        # closing a stream publishes it, also where it breaks off: so beside its name first
        part = f"{folder}/.{name}.{secrets.token_hex(4)}.part"
        try:
            system = self._system()
            try:
                with source.open("rb") as content, system.open_output_stream(part) as stream:
                    while chunk := content.read(_CHUNK):
                        stream.write(chunk)
                system.move(part, target)
            except BaseException:
                with contextlib.suppress(OSError):
                    system.delete_file(part)
                raise
        except OSError as error:
            raise StoreError(f"{path}: {self.name} refuses it: {error}", error.errno) from error

    def _system(self) -> Any:
        """Give the connections of this process."""
        with self._lock:
            # those of a parent cannot be used by a forked child
            if self._opened is None or self._opened[0] != os.getpid():
                self._opened = os.getpid(), self._connect()
            return self._opened[1]

    def _connect(self) -> Any:
        from pyarrow import fs

        endpoint = (
            self._query.get("endpoint_override")
            or os.environ.get("AWS_ENDPOINT_URL_S3")
            or os.environ.get("AWS_ENDPOINT_URL")
            or ""
        )
        scheme, found, host = endpoint.partition("://")
        region = (
            self._query.get("region")
            or os.environ.get("AWS_REGION")
            or os.environ.get("AWS_DEFAULT_REGION")
            or ("us-east-1" if endpoint else None)
        )
        key, secret, session = self._access
        anonymous = self.anonymous
        if anonymous is None:
            anonymous = key is None and not _has_credentials()
        try:
            return fs.S3FileSystem(
                access_key=key,
                secret_key=secret,
                session_token=session,
                anonymous=anonymous,
                region=region or fs.resolve_s3_region(self._base.partition("/")[0]),
                endpoint_override=(host if found else scheme) or None,
                scheme=(scheme if found else None) or "https",
                connect_timeout=_CONNECT,
                request_timeout=self.timeout,
                # a transfer tries again by itself, and says so
                retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
            )
        except OSError as error:
            raise self._explain(error, "the bucket") from error

    def _source(self, path: str) -> tuple[Any, int, str]:
        """Open an object; give its length and its ETag too."""
        place = self._place(path)
        try:
            source = self._system().open_input_file(place)
            metadata = source.metadata()
            return source, source.size(), bytes(metadata.get("ETag", b"")).decode()
        except OSError as error:
            raise self._explain(error, path) from error

    def _listing(self, name: str, size: int) -> Listing:
        # the list itself tells times of changes to the second only
        source, _, version = self._source(name)
        source.close()
        return Listing(name.removesuffix(".pqt"), File(name, size=size), version)

    def _read(self, source: Any, path: str, start: int, version: str) -> Iterator[bytes]:
        count = 0
        try:
            source.seek(start)
            while chunk := source.read(_CHUNK):
                count += 1
                yield chunk
        except OSError as error:
            raise self._explain(error, path) from error
        if count > 1:
            # several requests, which nothing keeps to one version
            again, _, now = self._source(path)
            again.close()
            if now != version:
                raise TransferFailed(f"{path}: changed in {self.name} while it was read")

    def _place(self, path: str) -> str:
        parts = path.split("/")
        if "\0" in path or {"", ".", ".."} & {*parts}:
            raise PathEscapes(f"{path!r}: not a path within {self.name}")
        return f"{self._base}/{path}"

    def _explain(self, error: OSError, path: str) -> TransferError:
        """Say in the words of the package what the server or the network refused."""
        if isinstance(error, FileNotFoundError):
            return NotOnRemote(f"{path}: not in {self.name}")
        reason = str(error)
        if any(word in reason for word in _REFUSALS):
            advice = "Are the credentials right? " if not self.anonymous else ""
            return Forbidden(f"{path}: {self.name} may not be read. {advice}({reason})")
        if "NO_SUCH_BUCKET" in reason:
            return NotOnRemote(f"{path}: there is no bucket for {self.name}")
        return TransferFailed(f"{path}: reading {self.name} failed: {reason}")


def _is_table(info: Any) -> bool:
    name: str = info.base_name
    return bool(info.is_file) and name.endswith(".pqt") and not name.startswith(".")


def _has_credentials() -> bool:
    if any(os.environ.get(name) for name in _CREDENTIALS):
        return True
    places = (
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        ("AWS_CONFIG_FILE", "~/.aws/config"),
    )
    return any(
        Path(os.environ.get(name) or usual).expanduser().is_file() for name, usual in places
    )


def _shown(address: str) -> str:
    scheme, found, rest = address.partition("://")
    return f"{scheme}{found}{rest.rpartition('@')[2]}"
