"""Which units are good enough: thresholds, and how a call changes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from one_cache.errors import InvalidArgument, near_misses

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

UNIT_FILTER_DEFAULTS: Mapping[str, float] = {
    "amplitude_cutoff_maximum": 0.1,
    "presence_ratio_minimum": 0.95,
    "isi_violations_maximum": 0.5,
}
"""Thresholds that hold when a call names none; all inclusive."""

_BRAIN = "filter_out_of_brain_units"


@dataclass(frozen=True)
class UnitFilter:
    """Which units are wanted.

    Attributes
    ----------
    amplitude_cutoff_maximum, presence_ratio_minimum, isi_violations_maximum : float
        Thresholds; a unit for which one of the three was not calculated (NaN) never passes, as
        in AllenSDK.
    filter_out_of_brain_units : bool
        Units outside the brain are not wanted; of effect in sessions only, as in AllenSDK.
    """

    amplitude_cutoff_maximum: float
    presence_ratio_minimum: float
    isi_violations_maximum: float
    filter_out_of_brain_units: bool = True

    @classmethod
    def read(cls, options: Mapping[str, Any], *, zero_is_no_limit: bool = False) -> UnitFilter:
        """Read the options of a call.

        Parameters
        ----------
        options : mapping
            None for no limit.
        zero_is_no_limit : bool
            0 lifts a limit, too: so it is in AllenSDK's sessions, and not in its tables.

        Returns
        -------
        UnitFilter

        Raises
        ------
        InvalidArgument
            There is no such option, or no such value of it.

        Examples
        --------
        >>> UnitFilter.read({"isi_violations_maximum": None}).isi_violations_maximum
        inf
        >>> UnitFilter.read({"isi_violation_maximum": 0.1})
        Traceback (most recent call last):
        one_cache.errors.InvalidArgument: no unit filter 'isi_violation_maximum'... Did you mean...
        """
        known = (*UNIT_FILTER_DEFAULTS, _BRAIN)
        for name in options:
            if name not in known:
                raise InvalidArgument(
                    f"no unit filter {name!r}; there are: {', '.join(known)}."
                    f"{near_misses(name, known)}"
                )
        values = {}
        for name, default in UNIT_FILTER_DEFAULTS.items():
            value = options.get(name, default)
            lifted = value is None or (zero_is_no_limit and value == 0)
            values[name] = (
                _number(name, value)
                if not lifted
                else (-math.inf if name.endswith("minimum") else math.inf)
            )
        return cls(**values, filter_out_of_brain_units=bool(options.get(_BRAIN, True)))

    def passes(self, units: pd.DataFrame) -> npt.NDArray[Any]:
        """Say which units pass the three thresholds.

        Parameters
        ----------
        units : pandas.DataFrame
            With the columns ``amplitude_cutoff``, ``presence_ratio``, ``isi_violations``.

        Returns
        -------
        numpy.ndarray
            (units,) bool.
        """
        return (
            (units["amplitude_cutoff"].to_numpy() <= self.amplitude_cutoff_maximum)
            & (units["presence_ratio"].to_numpy() >= self.presence_ratio_minimum)
            & (units["isi_violations"].to_numpy() <= self.isi_violations_maximum)
        )


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"{name} must be a number or None, got {value!r}") from error
    if math.isnan(number):
        raise InvalidArgument(f"{name} must be a number or None, got {value!r}")
    return number
