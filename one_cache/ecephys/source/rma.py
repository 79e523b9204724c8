"""Questions to the Allen Institute's warehouse over HTTP, and all the rows of their answers.

The warehouse answers in pages. The first question asks for all rows; what the server gives says
how large its pages are, and the pages that are left are asked for side by side. An answer counts
when its status, its JSON, its ``success`` and its numbers of rows are right; all rows together
count when there are as many as the server said, each once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from one_cache.errors import InvalidArgument, RemoteError, TransferFailed
from one_cache.records import File
from one_cache.remotes.connections import Connections
from one_cache.remotes.http import HttpRemote
from one_cache.transfer.retry import backoff

_log = logging.getLogger(__name__)

Row = dict[str, Any]
T = TypeVar("T")

SCHEME, HOST = "http", "api.brain-map.org"
ALL = "'all'"
SMALL = 5000
"""Rows of a page that every server gives; asked for after a large answer failed."""

_SIDE_BY_SIDE = 4
_LONGEST_WAIT = 120.0  # s that a server may ask to wait
# what the criteria are written in, beside letters and digits
_PLAIN = "$'(),:=/&?"


@dataclass(frozen=True)
class Page:
    """One answer.

    Attributes
    ----------
    rows : list of dict
        As the server gives them.
    total : int
        How many there are on all pages.
    """

    rows: list[Row]
    total: int


class Rma:
    """Asks the warehouse in its language, RMA.

    Parameters
    ----------
    scheme, host : str
        Where it is.
    tries : int
        How often a question is asked, at most.
    timeout : float
        Seconds without a byte after which a question failed; a slow answer may take longer.

    Attributes
    ----------
    remote : HttpRemote
        Sends the questions, and brings files.

    Raises
    ------
    InvalidArgument
        That is no address of a web server.

    Examples
    --------
    >>> Rma().url("criteria=model::EcephysProbe[id$in1,2]", 0, 50)
    "http://api.brain-map.org/api/v2/data/query.json?criteria=model::EcephysProbe%5Bid$in1,2%5D,rma::options%5Bstart_row$eq0%5D%5Bnum_rows$eq50%5D%5Border$eq'id'%5D"
    """

    def __init__(
        self,
        scheme: str = SCHEME,
        host: str = HOST,
        *,
        tries: int = 2,
        timeout: float = 30.0,
    ) -> None:
        if "/" in host:
            raise InvalidArgument(f"the host is a name such as {HOST!r}, got {host!r}")
        self.remote = HttpRemote(f"{scheme}://{host}", timeout=timeout)
        self.tries = max(1, tries)
        self.timeout = timeout

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.remote.name!r})"

    def url(self, criteria: str, start: int, count: int | str) -> str:
        """Give the address of one page.

        Parameters
        ----------
        criteria : str
            What is asked, from ``criteria=`` on.
        start : int
            Number of the first row.
        count : int or str
            How many rows; :data:`ALL` for all that the server gives at once.

        Returns
        -------
        str
        """
        options = f"rma::options[start_row$eq{start}][num_rows$eq{count}][order$eq'id']"
        query = quote(f"{criteria},{options}", safe=_PLAIN)
        return f"{self.remote.name}/api/v2/data/query.json?{query}"

    def count(self, criteria: str) -> int:
        """Ask how many rows there are.

        Parameters
        ----------
        criteria : str
            What is asked.

        Returns
        -------
        int

        Raises
        ------
        TransferFailed, RemoteError
            See :meth:`rows`; asked once.
        """
        with self._connected():
            return self._page(criteria, 0, 1).total

    def rows(self, criteria: str) -> list[Row]:
        """Ask for all rows.

        Parameters
        ----------
        criteria : str
            What is asked.

        Returns
        -------
        list of dict
            Ordered by id.

        Raises
        ------
        TransferFailed
            The server is away, or stalls.
        RemoteError
            It answers with an error, with something else than JSON, or not with all rows.
        """
        with self._connected() as connections:
            pages = [self._first(criteria)]
            size, total = len(pages[0].rows), pages[0].total
            if total > size:
                if not size:
                    raise self._wrong(criteria, f"gives no row, though there are {total}")
                starts = range(size, total, size)
                with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
                    pages += pool.map(
                        lambda start: self._rest(connections, criteria, start, size, total), starts
                    )
        rows = [row for page in pages for row in page.rows]
        self._check_whole(criteria, rows, total)
        return rows

    # -- one page ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connections]:
        with Connections(stall=self.timeout) as connections, connections.used():
            yield connections

    def _first(self, criteria: str) -> Page:
        # a server that chokes on a large answer is asked for a small one
        sizes: list[int | str] = [ALL, *[SMALL] * (self.tries - 1)]
        page = self._tried(lambda failed: self._page(criteria, 0, sizes[failed]))
        if len(page.rows) >= min(page.total, SMALL):
            return page
        # it did not understand "all", and gave its usual few
        return self._tried(lambda failed: self._page(criteria, 0, SMALL))

    def _rest(
        self, connections: Connections, criteria: str, start: int, size: int, total: int
    ) -> Page:
        with connections.used():
            page = self._tried(lambda failed: self._page(criteria, start, size))
        if page.total != total:
            raise self._wrong(criteria, f"has {page.total} rows, where it had {total} before")
        if len(page.rows) != min(size, total - start):
            raise self._wrong(
                criteria,
                f"gives {len(page.rows)} rows from row {start} on, of {min(size, total - start)} "
                f"asked for and {total} in all",
            )
        return page

    def _tried(self, ask: Callable[[int], T]) -> T:
        """Ask, and ask again while that may help."""
        for failed in range(self.tries):
            try:
                return ask(failed)
            except (TransferFailed, RemoteError) as error:
                wait = getattr(error, "retry_after", None)
                if failed + 1 == self.tries or (wait or 0) > _LONGEST_WAIT:
                    raise
                wait = backoff(failed + 1) if wait is None else wait
                _log.info("%s; asking again in %.1f s", error, wait)
                time.sleep(wait)
        raise InvalidArgument(f"nothing is asked in {self.tries} tries")

    def _page(self, criteria: str, start: int, count: int | str) -> Page:
        url = self.url(criteria, start, count)
        with self.remote.open(File(_name(criteria), url=url)) as body:
            text = b"".join(body.chunks)
            if body.total is not None and len(text) != body.total:
                raise TransferFailed(f"{url}: ends after {len(text)} of {body.total} bytes")
        return self._read(url, text)

    def _read(self, url: str, text: bytes) -> Page:
        try:
            answer = json.loads(text)
        except ValueError as error:
            raise RemoteError(
                f"{url}: the answer is no JSON ({text[:60]!r}...): {error}"
            ) from error
        if not isinstance(answer, dict) or "success" not in answer:
            raise RemoteError(f"{url}: the answer does not say 'success' ({text[:60]!r}...)")
        rows = answer.get("msg")
        if not answer["success"]:
            raise RemoteError(f"{url}: the warehouse says: {rows}")
        total, number = answer.get("total_rows"), answer.get("num_rows")
        if not isinstance(rows, list) or not isinstance(total, int) or number != len(rows):
            said = len(rows) if isinstance(rows, list) else "no"
            raise RemoteError(
                f"{url}: the answer has {said} rows, says num_rows {number} and total_rows {total}"
            )
        return Page(rows, total)

    # -- all of them ---------------------------------------------------------------------------

    def _check_whole(self, criteria: str, rows: Sequence[Row], total: int) -> None:
        if len(rows) != total:
            raise self._wrong(criteria, f"gives {len(rows)} of {total} rows")
        ids = {row.get("id") for row in rows}
        if len(ids) != len(rows):
            raise self._wrong(criteria, f"gives {len(rows) - len(ids)} rows twice")

    def _wrong(self, criteria: str, what: str) -> RemoteError:
        return RemoteError(
            f"{self.remote.name} {what} ({criteria[:90]}). Its table may have changed meanwhile: "
            "ask again"
        )


def _name(criteria: str) -> str:
    """Name a question, for messages."""
    return "query of " + criteria.partition("model::")[2].partition(",")[0].partition("[")[0]


class Download:
    """Bytes that lie at an address: for the common transfer, or for whoever iterates over them.

    Parameters
    ----------
    remote : HttpRemote
        Brings them.
    url : str
        Where they lie.
    """

    def __init__(self, remote: HttpRemote, url: str) -> None:
        self.remote = remote
        self.url = url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __iter__(self) -> Iterator[bytes]:
        with self.remote.open(File(self.url, url=self.url)) as body:
            yield from body.chunks
