"""Sessions, probes, channels and units put together: joins, counts, lists of structures.

Pure functions on frames whose index is the id; the results are sorted by id.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from one_cache.errors import InvalidArgument

if TYPE_CHECKING:
    import pandas as pd

WAVEFORM_NAMES = {
    "PT_ratio": "waveform_PT_ratio",
    "amplitude": "waveform_amplitude",
    "duration": "waveform_duration",
    "halfwidth": "waveform_halfwidth",
    "recovery_slope": "waveform_recovery_slope",
    "repolarization_slope": "waveform_repolarization_slope",
    "spread": "waveform_spread",
    "velocity_above": "waveform_velocity_above",
    "velocity_below": "waveform_velocity_below",
    "l_ratio": "L_ratio",
}
"""Names under which units show what was measured of their waveforms."""


def joined(
    this: pd.DataFrame, other: pd.DataFrame, key: str, names: tuple[str, str]
) -> pd.DataFrame:
    """Give each row the columns of the row that it belongs to; drop what belongs to none.

    Parameters
    ----------
    this : pandas.DataFrame
        Rows.
    other : pandas.DataFrame
        Their owners.
    key : str
        Column of `this` that names the owner.
    names : tuple of str
        Appended, after ``_``, to columns that both have.

    Returns
    -------
    pandas.DataFrame
        Sorted as `this`.
    """
    import pandas as pd

    suffixes = (f"_{names[0]}", f"_{names[1]}")
    both = pd.merge(this, other, left_on=key, right_index=True, suffixes=suffixes)
    both.index.name = this.index.name
    return both.sort_index()


def probes_shown(probes: pd.DataFrame) -> pd.DataFrame:
    """Give the rate of the LFP that was kept, rather than of the one that was recorded.

    Parameters
    ----------
    probes : pandas.DataFrame
        As the server has them.

    Returns
    -------
    pandas.DataFrame
        ``lfp_sampling_rate`` in Hz after subsampling.
    """
    rate, factor = "lfp_sampling_rate", "lfp_temporal_subsampling_factor"
    if not {rate, factor} <= set(probes.columns):
        return probes
    return probes.assign(**{rate: probes[rate] / probes[factor]})


def _owners(ids: Any, table: pd.DataFrame) -> Any:
    """Give the position in `table` of each id, or -1."""
    return table.index.get_indexer(ids)


def count_owned(
    this: pd.DataFrame,
    other: pd.DataFrame,
    foreign_key: str,
    count_key: str,
    inplace: bool = False,
) -> pd.DataFrame | None:
    """Count for each row of one table the rows of another that belong to it.

    Parameters
    ----------
    this : pandas.DataFrame
        The owners.
    other : pandas.DataFrame
        What they own.
    foreign_key : str
        Column of `other` that names the owner.
    count_key : str
        Column to be written.
    inplace : bool
        Write into `this`, and return nothing.

    Returns
    -------
    pandas.DataFrame or None

    Raises
    ------
    InvalidArgument
        A row of `other` belongs to none of `this`.

    Examples
    --------
    >>> import pandas as pd
    >>> probes = pd.DataFrame(index=pd.Index([1, 2], name="id"))
    >>> channels = pd.DataFrame({"ecephys_probe_id": [1, 1]})
    >>> count_owned(probes, channels, "ecephys_probe_id", "channel_count").channel_count.tolist()
    [2, 0]
    """
    import numpy as np

    at = _known_owners(this, other, foreign_key)
    target = this if inplace else this.copy()
    target[count_key] = np.bincount(at, minlength=len(this))
    return None if inplace else target


def get_grouped_uniques(
    this: pd.DataFrame,
    other: pd.DataFrame,
    foreign_key: str,
    field_key: str,
    unique_key: str,
    inplace: bool = False,
) -> pd.DataFrame | None:
    """List for each row of one table the distinct values of the rows of another that it owns.

    Parameters
    ----------
    this : pandas.DataFrame
        The owners.
    other : pandas.DataFrame
        What they own.
    foreign_key : str
        Column of `other` that names the owner.
    field_key : str
        Column of `other` whose values are listed.
    unique_key : str
        Column to be written.
    inplace : bool
        Write into `this`, and return nothing.

    Returns
    -------
    pandas.DataFrame or None
        Arrays in order of appearance; 0 for a row that owns nothing, as in AllenSDK.

    Raises
    ------
    InvalidArgument
        A row of `other` belongs to none of `this`.
    """
    import numpy as np
    import pandas as pd

    at = _known_owners(this, other, foreign_key)
    target = this if inplace else this.copy()
    values = np.empty(len(this), dtype=object)
    values[:] = 0
    codes, distinct = pd.factorize(other[field_key], use_na_sentinel=False)
    names = np.asarray(distinct, dtype=object)
    names[pd.isna(names)] = np.nan
    pairs = pd.DataFrame({"at": at, "code": codes}).drop_duplicates()
    for owner, group in pairs.groupby("at", sort=False)["code"]:
        values[int(str(owner))] = names[group.to_numpy()]
    target[unique_key] = pd.Series(values, index=target.index, dtype=object)
    return None if inplace else target


def _known_owners(this: pd.DataFrame, other: pd.DataFrame, foreign_key: str) -> Any:
    ids = other[foreign_key]
    at = _owners(ids, this)
    if (at < 0).any():
        raise InvalidArgument(
            f"{foreign_key} {ids[at < 0].iloc[0]!r} is not among the {len(this)} rows to count for"
        )
    return at


def shown(frame: pd.DataFrame, suppress: Iterable[str] | None, usual: Iterable[str]) -> Any:
    """Leave out the columns that are not to be shown.

    Parameters
    ----------
    frame : pandas.DataFrame
        All columns.
    suppress : str or iterable of str, optional
        Left out, as far as they are there; `usual` when None.
    usual : iterable of str
        Left out when the call says nothing.

    Returns
    -------
    pandas.DataFrame
    """
    wanted = usual if suppress is None else suppress
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    return frame.drop(columns=names, errors="ignore")
