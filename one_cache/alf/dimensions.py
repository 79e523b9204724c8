"""The rows of an object: the rule that its attributes agree, and the times of its samples."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from one_cache.errors import ALFWarning, ContentError


def is_frame(value: Any) -> bool:
    """Say whether it is a DataFrame or Series, without importing pandas to ask."""
    classes = ((base.__module__.partition(".")[0], base.__name__) for base in type(value).__mro__)
    return any(c in (("pandas", "DataFrame"), ("pandas", "Series")) for c in classes)


def is_sync(key: str, value: Any) -> bool:
    """Say whether it holds two sync points instead of a time for each sample."""
    return key.startswith("timestamps") and getattr(value, "shape", ()) == (2, 2)


def n_rows(bunch: Mapping[str, Any]) -> int | None:
    """Give the rows of the longest attribute, sync points apart; None if none has any."""
    rows = [
        value.shape[0]
        for key, value in bunch.items()
        if _has_rows(value) and not is_sync(str(key), value)
    ]
    return max(rows, default=None)


def _has_rows(value: Any) -> bool:
    return (isinstance(value, np.ndarray) and value.ndim > 0) or is_frame(value)


def check_dimensions(bunch: Mapping[str, Any]) -> int:
    """Say whether the attributes have the same number of rows.

    The first dimensions must be equal or 1. The keys that start with ``timestamps`` may also
    hold two sync points, shape (2, 2). What has no dimensions (text, dict, path) is passed over.

    Parameters
    ----------
    bunch : mapping
        Attributes of one object.

    Returns
    -------
    int
        0 where they agree, 1 where they do not (as ONE-api has it).

    Examples
    --------
    >>> sync = np.array([[0, 10.0], [99, 20.0]])
    >>> check_dimensions({"position": np.zeros(100), "timestamps": sync})
    0
    >>> check_dimensions({"times": np.zeros(100), "amps": np.zeros(99)})
    1
    """
    rows = set()
    for key, value in bunch.items():
        if not _has_rows(value):
            continue
        if is_sync(str(key), value):
            continue
        if str(key).startswith("timestamps") and value.ndim > 1 and value.shape[1] != 1:
            return 1
        rows.add(value.shape[0])
    return int(not rows <= {max(rows, default=1), 1})


def disagreement(bunch: Mapping[str, Any]) -> str:
    """Name each attribute that has dimensions, with its shape, for a message."""
    shapes = (
        f"{key} {tuple(value.shape)}"
        for key, value in bunch.items()
        if getattr(value, "shape", ()) != ()
    )
    return f"the attributes differ in length: {', '.join(shapes)}"


def ts2vec(ts: Any, n_samples: int) -> Any:
    """Give the time of every sample from sync points.

    Parameters
    ----------
    ts : (n_samples,) or (n_samples, 1) or (n_points, 2) array
        Times in seconds, which are given back as a vector; or sync points: sample number
        (counted from 0) and time.
    n_samples : int
        How many samples there are.

    Returns
    -------
    (n_samples,) array
        Seconds, linear between the sync points. Samples outside of them get the time of the
        nearest one, as in ONE-api, with a warning.

    Raises
    ------
    ContentError
        Another shape, or sample numbers that do not increase.

    Examples
    --------
    >>> ts2vec(np.array([[0, 10.0], [4, 12.0]]), 5)
    array([10. , 10.5, 11. , 11.5, 12. ])
    """
    ts = np.asarray(ts)
    if ts.ndim == 1 or (ts.ndim == 2 and ts.shape[1] == 1):
        return ts.reshape(-1)
    if ts.ndim != 2 or ts.shape[1] != 2:
        raise ContentError(
            f"timestamps of shape {ts.shape}: expected one time a sample (n,), or sync points "
            "(n, 2) of sample number and time"
        )
    samples, times = ts[:, 0], ts[:, 1]
    if len(samples) == 0 or not np.all(np.diff(samples) > 0):
        raise ContentError(f"the sample numbers of the sync points do not increase: {samples}")
    if samples[0] > 0 or samples[-1] < n_samples - 1:
        warnings.warn(
            f"sync points cover the samples {samples[0]:g} to {samples[-1]:g} of {n_samples}; the "
            "samples outside get the time of the nearest point",
            ALFWarning,
            stacklevel=2,
        )
    return np.interp(np.arange(n_samples), samples, times)
