"""What the conditions of a request mean for a file: its version, and the range asked for.

The rules are those of RFC 9110, sections 13 (conditions) and 14 (ranges).
"""

from __future__ import annotations

import email.utils
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass


def read_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Read a ``Range`` header: the first byte and how many, for a file of `size` bytes.

    Parameters
    ----------
    header : str or None
        For instance ``"bytes=100-"``.
    size : int
        Bytes of the whole file.

    Returns
    -------
    (int, int) or None
        None: send the whole file, as nothing, several ranges or nonsense is asked for
        (RFC 9110, 14.2). A count of 0: the range cannot be satisfied.

    Examples
    --------
    >>> read_range("bytes=2-5", 10), read_range("bytes=8-", 10), read_range("bytes=-3", 10)
    ((2, 4), (8, 2), (7, 3))
    >>> read_range("bytes=10-", 10), read_range("bytes=5-2", 10), read_range("bytes=0-1,4-5", 10)
    ((10, 0), None, None)
    """
    found = re.fullmatch(r"\s*bytes\s*=\s*([0-9]*)\s*-\s*([0-9]*)\s*", header or "", re.IGNORECASE)
    # more digits than any file has bytes would only cost time
    if found is None or found[1] + found[2] == "" or len(found[0]) > 60:
        return None
    if not found[1]:
        count = min(int(found[2]), size)
        return size - count, count
    start = int(found[1])
    last = int(found[2]) if found[2] else size - 1
    if found[2] and last < start:
        return None
    return start, max(0, min(last, size - 1) - start + 1)


@dataclass(frozen=True)
class Version:
    """A version of a file, told from one ``stat``.

    Attributes
    ----------
    etag : str
        Strong: size, time and inode.
    modified : int
        Seconds since 1970.
    """

    etag: str
    modified: int

    @classmethod
    def of(cls, now: os.stat_result) -> Version:
        """Read the version off a ``stat``."""
        return cls(f'"{now.st_size:x}-{now.st_mtime_ns:x}-{now.st_ino:x}"', int(now.st_mtime))

    @property
    def headers(self) -> dict[str, str]:
        """The validators of a reply."""
        date = email.utils.formatdate(self.modified, usegmt=True)
        return {"ETag": self.etag, "Last-Modified": date}

    def is_known(self, asked: Mapping[str, str]) -> bool:
        """Tell whether the client has it already (``If-None-Match``, ``If-Modified-Since``)."""
        tags = asked.get("If-None-Match")
        if tags is not None:
            return tags.strip() == "*" or self.etag in re.findall(r'"[^"]*"', tags)
        since = _read_date(asked.get("If-Modified-Since"))
        return since is not None and self.modified <= since

    def is_continued(self, asked: Mapping[str, str]) -> bool:
        """Tell whether a part may be sent to a client that holds another part (``If-Range``)."""
        condition = asked.get("If-Range", self.etag).strip()
        if condition == self.etag:
            return True
        # a date has seconds only: it names one version no sooner than the second is over
        return self.modified == _read_date(condition) and time.time() - self.modified > 2


def _read_date(text: str | None) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text or "").timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
