"""Buckets of S3 over plain HTTP: what there is in one, and objects in any of their versions.

The buckets of the Allen Institute are public and asked without credentials. A bucket that refuses
is asked again with those of the environment, where there are some.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import os
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit
from xml.etree import ElementTree

from one_cache.errors import Forbidden, InvalidArgument, RemoteError
from one_cache.records import File
from one_cache.remotes import Body
from one_cache.remotes.connections import Connections
from one_cache.remotes.http import HttpRemote

_HOST = re.compile(r"(?P<bucket>.+)\.s3[.a-z0-9-]*\.amazonaws\.com")
_REGION = re.compile(r".+\.s3[.-](?P<region>[a-z]+-[a-z-]+-\d)\.amazonaws\.com")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_VALID = 3600  # s for which a signed address holds


@dataclass(frozen=True)
class Item:
    """An object of a bucket.

    Attributes
    ----------
    key : str
        Its name.
    size : int
        Bytes.
    md5 : str or None
        Hex digest, where S3 gives it.
    """

    key: str
    size: int
    md5: str | None


def bucket_of(url: str) -> str:
    """Read the name of the bucket from the address of an object.

    Parameters
    ----------
    url : str
        ``https://<bucket>.s3.<region>.amazonaws.com/<key>``.

    Returns
    -------
    str

    Raises
    ------
    InvalidArgument
        That is no such address.

    Examples
    --------
    >>> bucket_of("https://some-data.s3.us-west-2.amazonaws.com/a/b.csv")
    'some-data'
    """
    found = _HOST.fullmatch(urlsplit(url).hostname or "")
    if not found:
        raise InvalidArgument(f"{url!r} is not the address of an object in a bucket of S3")
    return found["bucket"]


def key_of(url: str) -> str:
    """Read the name of an object from its address.

    Examples
    --------
    >>> key_of("https://some-data.s3.amazonaws.com/a/b%20c.csv")
    'a/b c.csv'
    """
    return unquote(urlsplit(url).path).lstrip("/")


class Keys(NamedTuple):
    """Credentials for S3; never shown."""

    key: str
    secret: str
    token: str | None

    def __repr__(self) -> str:
        return "Keys(...)"

    @classmethod
    def read(cls) -> Keys | None:
        """Take the credentials of the environment, where there are some."""
        key, secret = (os.environ.get(f"AWS_{n}") for n in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
        token = os.environ.get("AWS_SESSION_TOKEN") or None
        return cls(key, secret, token) if key and secret else None


def signed(url: str, keys: Keys, at: dt.datetime) -> str:
    """Sign an address, as version 4 of Amazon's signatures wants it.

    Parameters
    ----------
    url : str
        Of the object, with its version perhaps.
    keys : Keys
        Credentials.
    at : datetime.datetime
        Now, UTC.

    Returns
    -------
    str
        Good for an hour.
    """
    parts = urlsplit(url)
    found = _REGION.fullmatch(parts.hostname or "")
    usual = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    scope = f"{at:%Y%m%d}/{found['region'] if found else usual}/s3/aws4_request"
    query = {
        **dict(parse_qsl(parts.query, keep_blank_values=True)),
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{keys.key}/{scope}",
        "X-Amz-Date": f"{at:%Y%m%dT%H%M%SZ}",
        "X-Amz-Expires": str(_VALID),
        "X-Amz-SignedHeaders": "host",
        **({"X-Amz-Security-Token": keys.token} if keys.token else {}),
    }
    text = "&".join(
        f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(query.items())
    )
    path = quote(unquote(parts.path or "/"), safe="/-_.~")
    request = "\n".join(
        ["GET", path, text, f"host:{parts.netloc}", "", "host", "UNSIGNED-PAYLOAD"]
    )
    digest = hashlib.sha256(request.encode()).hexdigest()
    secret = f"AWS4{keys.secret}".encode()
    for step in scope.split("/"):
        secret = hmac.digest(secret, step.encode(), "sha256")
    wanted = "\n".join(["AWS4-HMAC-SHA256", query["X-Amz-Date"], scope, digest])
    signature = hmac.digest(secret, wanted.encode(), "sha256").hex()
    return f"{parts.scheme}://{parts.netloc}{path}?{text}&X-Amz-Signature={signature}"


class Bucket(HttpRemote):
    """A bucket as a remote: asked without credentials, or with them where it refuses."""

    _refuses = False

    def expect(self, file: File) -> Hashable | None:
        """Ask ahead where no signature is needed: each is good for one moment."""
        return None if self._refuses else super().expect(file)

    def open(self, file: File, start: int = 0, validator: str | None = None) -> Body:
        """Open an object; see :class:`one_cache.remotes.http.HttpRemote`."""
        if not self._refuses:
            try:
                return super().open(file, start, validator)
            except Forbidden:
                if Keys.read() is None:
                    raise
                self._refuses = True
        keys = Keys.read()
        if keys is None:
            raise Forbidden(f"{file.path}: {self.name} wants credentials, and there are none now")
        url = signed(file.url or self.url(file), keys, dt.datetime.now(dt.timezone.utc))
        return super().open(replace(file, url=url), start, validator)


class S3:
    """Buckets of one server.

    Parameters
    ----------
    bucket : str
        The one whose objects are listed; objects of others are reached by their addresses.
    endpoint_url : str, optional
        Of a server that speaks the protocol of S3; from ``AWS_ENDPOINT_URL_S3`` or
        ``AWS_ENDPOINT_URL`` when not given, else Amazon's.
    timeout : float
        Seconds without a byte after which a request failed.

    Attributes
    ----------
    remote : Bucket
        Brings objects.

    Examples
    --------
    >>> s3 = S3("some-data", endpoint_url="http://127.0.0.1:5000")
    >>> s3.address("https://other.s3.us-west-2.amazonaws.com/p/x.csv", "v1")
    'http://127.0.0.1:5000/other/p/x.csv?versionId=v1'
    """

    def __init__(
        self, bucket: str, *, endpoint_url: str | None = None, timeout: float = 30.0
    ) -> None:
        self.bucket = bucket
        found = [os.environ[name] for name in _ENDPOINTS if os.environ.get(name)]
        self._endpoint = (endpoint_url or (found[0] if found else "")).rstrip("/")
        self.timeout = timeout
        self.remote = Bucket(self._root(bucket), timeout=timeout)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.remote.name!r})"

    def _root(self, bucket: str) -> str:
        if self._endpoint:
            return f"{self._endpoint}/{quote(bucket)}"
        return f"https://{bucket}.s3.amazonaws.com"

    def address(self, url: str, version: str | None = None) -> str:
        """Give the address at which an object is asked for.

        Parameters
        ----------
        url : str
            Its address at Amazon.
        version : str, optional
            Which version of it.

        Returns
        -------
        str
        """
        plain = url if not self._endpoint else f"{self._root(bucket_of(url))}/{quote(key_of(url))}"
        return f"{plain}?{urlencode({'versionId': version})}" if version else plain

    def address_of(self, key: str) -> str:
        """Give the address of an object of the bucket, in its latest version."""
        return f"{self._root(self.bucket)}/{quote(key)}"

    def items(self, prefix: str) -> Iterator[Item]:
        """List the objects whose names begin so.

        Parameters
        ----------
        prefix : str
            Beginning of the names.

        Yields
        ------
        Item

        Raises
        ------
        TransferFailed
            The server is away.
        RemoteError
            It does not answer as S3 does.
        """
        after: str | None = None
        with Connections(stall=self.timeout) as connections, connections.used():
            while True:
                query = {"list-type": "2", "prefix": prefix}
                if after:
                    query["continuation-token"] = after
                url = f"{self._root(self.bucket)}?{urlencode(query)}"
                with self.remote.open(File(f"list of {prefix}", url=url)) as body:
                    page = self._read(url, b"".join(body.chunks))
                for entry in page.findall("{*}Contents"):
                    yield _item(entry)
                after = page.findtext("{*}NextContinuationToken")
                if not after:
                    return

    def _read(self, url: str, text: bytes) -> ElementTree.Element:
        try:
            page = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise RemoteError(f"{url}: the answer is no list of S3 ({text[:60]!r})") from error
        if not page.tag.endswith("ListBucketResult"):
            raise RemoteError(f"{url}: the answer is no list of S3 ({text[:60]!r})")
        return page


def _item(entry: ElementTree.Element) -> Item:
    tag = (entry.findtext("{*}ETag") or "").strip('"')
    # the tag of an object that came in parts is no digest of it
    md5 = tag if re.fullmatch("[0-9a-f]{32}", tag) else None
    return Item(entry.findtext("{*}Key") or "", int(entry.findtext("{*}Size") or 0), md5)
