"""Whether a transfer that failed is tried again, and when: decided here, done by the transfer."""

from __future__ import annotations

import random
import socket

from one_cache.errors import HashMismatch, OneCacheError, SizeMismatch, TransferFailed

_FIRST = 0.5  # s
_LONGEST = 30.0  # s between two tries
_PATIENCE = 120.0  # s that a server may ask to wait
_UNREACHABLE = 2  # tries where nobody answers at all: a wrong address does not heal


class Attempts:
    """The tries of one file.

    What can heal is tried again, at most `tries` times without progress; what a transfer gained
    and can continue from resets the count, so a line that is cut again and again still brings a
    large file. Wrong bytes are asked for once more, from the start.

    Parameters
    ----------
    tries : int
        Requests without progress, at most.
    """

    def __init__(self, tries: int) -> None:
        self._tries = max(1, tries)
        self._failed = 0
        self._wrong = 0
        self._joined_wrongly = False

    def after(self, error: OneCacheError, *, start: int, gained: int, size: int | None) -> float:
        """Decide what follows a failure.

        Parameters
        ----------
        error : OneCacheError
            What went wrong.
        start : int
            Where this try began; what it had from before is part of what may be wrong.
        gained : int
            Bytes that it added and that can be continued from.
        size : int or None
            Of the file.

        Returns
        -------
        float
            Seconds to wait before the next try.

        Raises
        ------
        OneCacheError
            `error`, or a TransferFailed that says how often it was tried.
        """
        if isinstance(error, (HashMismatch, SizeMismatch)):
            return self._after_wrong_bytes(error, start)
        if not isinstance(error, TransferFailed):
            raise error
        asked = error.retry_after
        if asked is not None and asked > _PATIENCE:
            raise TransferFailed(
                f"{error}; it asks to wait {asked:.0f} s. Try again then", asked
            ) from error
        # 1 % of the file: a server that sends a byte and cuts must come to an end
        if gained >= max(1 << 16, (size or 0) // 100):
            self._failed = 0
            return asked or 0.0
        self._failed += 1
        most = self._tries
        if isinstance(error.__cause__, (ConnectionRefusedError, socket.gaierror)):
            most = min(most, _UNREACHABLE)
        if self._failed >= most:
            tried = f" ({self._failed} tries)" if self._failed > 1 else ""
            raise TransferFailed(f"{error}{tried}", asked) from error
        return asked if asked is not None else backoff(self._failed)

    def _after_wrong_bytes(self, error: OneCacheError, start: int) -> float:
        if start and not self._joined_wrongly:
            # the part from before may be to blame; that is no try of its own
            self._joined_wrongly = True
            return 0.0
        self._wrong += 1
        if self._wrong >= min(2, self._tries):
            raise error
        return backoff(1)


def backoff(failed: int) -> float:
    """Give the seconds to wait after so many failures: doubling, and no two callers alike."""
    return min(_LONGEST, _FIRST * 2.0 ** (failed - 1)) * random.uniform(0.5, 1.5)
