"""Activity of every trial on one time axis, and its forms in other packages."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from one_cache.errors import InvalidArgument

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Aligned:
    """Activity around an event, (roi, trial, time).

    Attributes
    ----------
    data : (n_roi, n_trials, n_time) float
        NaN where a trial has no event or the recording no sample.
    time : (n_time,) float, s
        The event is at 0.
    trial_id : (n_trials,)
        Which trial each row is.
    roi : (n_roi,)
        Which region, cell or channel each layer is.
    unit : str
        Of `data`, for axes; empty where unknown.
    """

    data: NDArray[Any]
    time: NDArray[np.float64]
    trial_id: NDArray[Any]
    roi: NDArray[Any]
    unit: str = ""

    def __post_init__(self) -> None:
        shape = len(self.roi), len(self.trial_id), len(self.time)
        if self.data.shape != shape:
            raise InvalidArgument(
                f"data of shape {self.data.shape} do not fit {shape[0]} rois, "
                f"{shape[1]} trials and {shape[2]} times"
            )

    def __repr__(self) -> str:
        rois, trials, times = self.data.shape
        span = f", {self.time[0]:g} to {self.time[-1]:g} s" if times else ""
        return f"<Aligned: {rois} rois, {trials} trials, {times} times{span}>"

    def of(self, roi: Any) -> NDArray[Any]:
        """Give the trials of one roi, (n_trials, n_time).

        Parameters
        ----------
        roi : value of `self.roi`
            Its name, not its position.

        Returns
        -------
        (n_trials, n_time) array
            A view.

        Raises
        ------
        InvalidArgument
            No such roi.

        Examples
        --------
        >>> import numpy as np
        >>> a = Aligned(np.zeros((2, 3, 4)), np.arange(4.0), np.arange(3), np.array([7, 9]))
        >>> a.of(9).shape
        (3, 4)
        """
        place = np.flatnonzero(np.asarray(self.roi) == roi)
        if not len(place):
            some = ", ".join(map(str, self.roi[:5]))
            raise InvalidArgument(f"no roi {roi!r} among {len(self.roi)}: {some}, ...")
        trials: NDArray[Any] = self.data[place[0]]
        return trials

    def to_pandas(self) -> pd.DataFrame:
        """Give one row a roi and trial, one column a time.

        Returns
        -------
        DataFrame
            Index ``roi``, ``trial_id``; columns ``time`` (s). ``.stack()`` makes it long.

        Examples
        --------
        >>> import numpy as np
        >>> a = Aligned(np.zeros((1, 2, 2)), np.array([0, 0.5]), np.array([3, 8]), np.array([7]))
        >>> a.to_pandas()
        time          0.0  0.5
        roi trial_id
        7   3         0.0  0.0
            8         0.0  0.0
        """
        import pandas as pd

        return pd.DataFrame(
            self.data.reshape(-1, len(self.time)),
            index=pd.MultiIndex.from_product([self.roi, self.trial_id], names=["roi", "trial_id"]),
            columns=pd.Index(self.time, name="time"),
        )

    def to_xarray(self) -> Any:
        """Give a DataArray with the dimensions ``roi``, ``trial_id``, ``time``.

        Returns
        -------
        xarray.DataArray
            The data are shared, not copied.
        """
        xarray = import_module("xarray")
        return xarray.DataArray(
            self.data,
            dims=("roi", "trial_id", "time"),
            coords={
                "roi": self.roi,
                "trial_id": self.trial_id,
                "time": ("time", self.time, {"units": "s"}),
            },
            name="activity",
            attrs={"units": self.unit} if self.unit else {},
        )

    def to_pynapple(self, roi: Any = None) -> Any:
        """Give a pynapple object, with the time first as there.

        Parameters
        ----------
        roi : value of `self.roi`, optional
            One roi only.

        Returns
        -------
        pynapple.TsdTensor, or pynapple.TsdFrame for one roi
            (time, trial, roi), the order of pynapple's own perievent; for one roi
            (time, trial), its columns named by `trial_id`.
        """
        pynapple = import_module("pynapple")
        if roi is None:
            return pynapple.TsdTensor(t=self.time, d=self.data.transpose(2, 1, 0))
        return pynapple.TsdFrame(t=self.time, d=self.of(roi).T, columns=self.trial_id)
