"""When the samples of a recording were taken: between seconds and sample numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from one_cache.errors import InvalidArgument

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# seconds as floats are not exact: this part of an interval from a sample is on the sample
TOLERANCE = 1e-6


class Clock(Protocol):
    """Times of the samples of one recording."""

    @property
    def interval(self) -> float:
        """Seconds from one sample to the next, the median where they differ."""
        ...

    def nearest(self, event: NDArray[np.float64], time: NDArray[np.float64]) -> NDArray[np.intp]:
        """Give the sample nearest to each event + time; -1 where there is none.

        Parameters
        ----------
        event : (n_events,) float, s
        time : (n_time,) float, s
            Relative to the events.

        Returns
        -------
        (n_events, n_time) int
        """
        ...

    def position(
        self, event: NDArray[np.float64], time: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Give the place between the samples of each event + time; NaN outside.

        Parameters and shapes as in `nearest`; 2.25 is a quarter of the way from sample 2 to 3.
        """
        ...


@dataclass(frozen=True)
class Steady:
    """Samples at one rate.

    Attributes
    ----------
    start : float, s
        Time of the first sample.
    rate : float, Hz
        Samples a second.
    size : int
        How many there are.
    """

    start: float
    rate: float
    size: int

    @property
    def interval(self) -> float:
        """Seconds from one sample to the next."""
        return 1 / self.rate

    def nearest(self, event: NDArray[np.float64], time: NDArray[np.float64]) -> NDArray[np.intp]:
        """See `Clock`; a time axis in whole samples is found from the event alone."""
        step = time * self.rate
        whole = np.rint(step)
        if (np.abs(step - whole) < TOLERANCE).all():
            # rounded one by one, times half way between samples would skip some and repeat others
            index = self._nearest(event)[:, None] + whole.astype(np.intp)
        else:
            index = self._nearest(event[:, None] + time)
        return np.where((index >= 0) & (index < self.size), index, -1)

    def _nearest(self, time: NDArray[np.float64]) -> NDArray[np.intp]:
        """Give the nearest sample, inside or outside of the recording, the later one of two."""
        before = np.floor((time - self.start) * self.rate)
        to_before = time - (self.start + before / self.rate)
        to_after = (self.start + (before + 1) / self.rate) - time
        return (before + (to_after <= to_before)).astype(np.intp)

    def position(
        self, event: NDArray[np.float64], time: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `Clock`."""
        place = (event[:, None] + time - self.start) * self.rate
        whole = np.rint(place)
        place = np.where(np.abs(place - whole) < TOLERANCE, whole, place)
        return np.where((place >= 0) & (place <= self.size - 1), place, np.nan)


@dataclass(frozen=True)
class Uneven:
    """Samples at times of their own.

    Attributes
    ----------
    times : (n_samples,) float, s
        Increasing.
    """

    times: NDArray[np.float64]

    @property
    def interval(self) -> float:
        """Median of the seconds from one sample to the next."""
        return float(np.median(np.diff(self.times)))

    def nearest(self, event: NDArray[np.float64], time: NDArray[np.float64]) -> NDArray[np.intp]:
        """See `Clock`."""
        target = event[:, None] + time
        after = np.clip(np.searchsorted(self.times, target), 1, len(self.times) - 1)
        nearer = self.times[after] - target <= target - self.times[after - 1]
        reach = self.interval / 2
        inside = (target >= self.times[0] - reach) & (target <= self.times[-1] + reach)
        return np.where(inside, after - 1 + nearer, -1)

    def position(
        self, event: NDArray[np.float64], time: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `Clock`."""
        number = np.arange(len(self.times), dtype=np.float64)
        target = event[:, None] + time
        return np.interp(target, self.times, number, left=np.nan, right=np.nan)


def read_clock(rate: float | None, times: ArrayLike | None, size: int) -> Clock:
    """Make the clock of a recording from its rate or its times.

    Parameters
    ----------
    rate : float or None, Hz
        Then the first sample is at 0 s.
    times : (size,) float or None, s
        Steady times make a steady clock, whichever way they are given.
    size : int
        Samples of the recording.

    Returns
    -------
    Steady or Uneven

    Raises
    ------
    InvalidArgument
        Neither or both are given, the rate is not positive, or the times do not increase.

    Examples
    --------
    >>> read_clock(None, [1.0, 1.5, 2.0], 3)
    Steady(start=1.0, rate=2.0, size=3)
    """
    if (rate is None) == (times is None):
        raise InvalidArgument("give either rate= (Hz) or times= (s), and not both")
    if rate is not None:
        if not 0 < rate < np.inf:
            raise InvalidArgument(f"a rate is positive, got {rate} Hz")
        return Steady(0.0, float(rate), size)
    moments = np.asarray(times, dtype=np.float64).ravel()
    if len(moments) != size or size < 2:
        raise InvalidArgument(f"{len(moments)} times for {size} samples; two or more are needed")
    back = np.flatnonzero(~(np.diff(moments) > 0))
    if len(back):
        i = int(back[0])
        here, there = moments[i], moments[i + 1]
        raise InvalidArgument(f"times do not increase: times[{i}] is {here} s, then {there} s")
    interval = (moments[-1] - moments[0]) / (size - 1)
    line = moments[0] + np.arange(size) * interval
    if (np.abs(moments - line) < TOLERANCE * interval).all():
        return Steady(float(moments[0]), float(1 / interval), size)
    return Uneven(moments)
