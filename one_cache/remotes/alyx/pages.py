"""A list that a server gives page by page."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

from one_cache.errors import CacheWarning, RemoteError

Record = dict[str, Any]
Fetch = Callable[[int], Mapping[str, Any]]


class Pages(Sequence[Record]):
    """Records of a list, each page brought when it is first needed.

    Behaves as the list it stands for: length, indices from both ends, slices, order, equality.
    The length is what the server said first; it tells it before the pages are there.

    Parameters
    ----------
    first : mapping
        The first page as the server gave it: ``count``, ``results``.
    fetch : callable
        Gives the page that begins at an offset.
    name : str
        Of the list, for messages.

    Examples
    --------
    >>> numbers = [{"id": number} for number in range(5)]
    >>> def fetch(offset):
    ...     return {"count": 5, "results": numbers[offset:offset + 2]}
    >>> pages = Pages(fetch(0), fetch)
    >>> len(pages), pages[-1], pages[1:4] == numbers[1:4], pages == numbers
    (5, {'id': 4}, True, True)
    """

    def __init__(self, first: Mapping[str, Any], fetch: Fetch, name: str = "the list") -> None:
        self._count = int(first["count"])
        self._size = max(1, len(first["results"]))
        self._pages: dict[int, Sequence[Record]] = {0: first["results"]}
        self._fetch = fetch
        self._name = name

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        brought = sum(map(len, self._pages.values()))
        return f"<{self._count} records of {self._name}, {brought} brought>"

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(self._count))]
        at = index + self._count if index < 0 else index
        if not 0 <= at < self._count:
            raise IndexError(f"{self._name} has {self._count} records, not one at {index}")
        number, within = divmod(at, self._size)
        page = self._page(number)
        if within >= len(page):
            raise RemoteError(
                f"{self._name} shrank on the server while it was read ({self._count} records at "
                "first); ask again"
            )
        return page[within]

    def __iter__(self) -> Iterator[Record]:
        return (self[index] for index in range(self._count))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(other) != len(self):
            return NotImplemented if not isinstance(other, Sequence) else False
        return all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # a list has no hash either

    def _page(self, number: int) -> Sequence[Record]:
        if number not in self._pages:
            answer = self._fetch(number * self._size)
            if answer["count"] != self._count:
                warnings.warn(
                    f"{self._name} changed on the server while it was read: {self._count} "
                    f"records at first, {answer['count']} now; some may be missing or twice",
                    CacheWarning,
                    stacklevel=4,
                )
            self._pages[number] = answer["results"]
        return self._pages[number]
