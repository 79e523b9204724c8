"""The tables of a project: sessions, probes, channels, units, and metrics of units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from one_cache.ecephys.filters import UnitFilter
from one_cache.ecephys.folder.formats import UNIT_ID
from one_cache.ecephys.missing import ColumnSuppressed
from one_cache.ecephys.project.base import ProjectBase
from one_cache.ecephys.project.joined import SESSION
from one_cache.ecephys.project.joins import shown
from one_cache.errors import InvalidArgument

if TYPE_CHECKING:
    import pandas as pd


class ProjectTables(ProjectBase):
    """What a project cache shows as tables; each frame belongs to who asked for it."""

    def get_session_table(self, suppress: Iterable[str] | None = None) -> pd.DataFrame:
        """Give the sessions.

        Parameters
        ----------
        suppress : iterable of str, optional
            Columns to leave out, instead of :attr:`SUPPRESS_FROM_SESSION_TABLE`.

        Returns
        -------
        pandas.DataFrame
            Index ``id``. Numbers of units are those of :meth:`get_units` without arguments;
            ``ecephys_structure_acronyms`` has NaN where channels lie outside the brain.
        """
        frame = shown(self._session_table(), suppress, self.SUPPRESS_FROM_SESSION_TABLE)
        return _own(frame.rename(columns={"genotype": "full_genotype"}))

    def get_probes(self, suppress: Iterable[str] | None = None) -> pd.DataFrame:
        """Give the probes, with the columns of their session.

        Parameters
        ----------
        suppress : iterable of str, optional
            Columns to leave out, instead of :attr:`SUPPRESS_FROM_PROBES`.

        Returns
        -------
        pandas.DataFrame
            Index ``id``; sampling rates in Hz.
        """
        return _own(shown(self._joined().probes, suppress, self.SUPPRESS_FROM_PROBES))

    def get_channels(self, suppress: Iterable[str] | None = None) -> pd.DataFrame:
        """Give the channels, with the columns of their probe and session.

        Parameters
        ----------
        suppress : iterable of str, optional
            Columns to leave out, instead of :attr:`SUPPRESS_FROM_CHANNELS`.

        Returns
        -------
        pandas.DataFrame
            Index ``id``; positions on the probe and coordinates of the CCF in µm.
        """
        frame = shown(self._joined().channels, suppress, self.SUPPRESS_FROM_CHANNELS)
        return _own(frame.rename(columns={"name": "probe_name"}))

    def get_units(
        self,
        suppress: Iterable[str] | None = None,
        filter_by_validity: bool = True,
        **unit_filter_kwargs: Any,
    ) -> pd.DataFrame:
        """Give the units, with the columns of their channel, probe and session.

        Parameters
        ----------
        suppress : iterable of str, optional
            Columns to leave out, instead of :attr:`SUPPRESS_FROM_UNITS`.
        filter_by_validity : bool
            Only units whose quality is ``good``.
        **unit_filter_kwargs
            `amplitude_cutoff_maximum` (0.1), `presence_ratio_minimum` (0.95),
            `isi_violations_maximum` (0.5), inclusive, None for no limit. A unit without one of the
            three values is left out in any case.

        Returns
        -------
        pandas.DataFrame
            Index ``id``.

        Raises
        ------
        InvalidArgument
            There is no such filter.
        """
        wanted = UnitFilter.read(unit_filter_kwargs)
        frame = self._joined().units(wanted, filter_by_validity=filter_by_validity)
        return _own(shown(frame, suppress, self.SUPPRESS_FROM_UNITS))

    def get_unit_analysis_metrics_for_session(
        self,
        session_id: int,
        annotate: bool = True,
        filter_by_validity: bool = True,
        **unit_filter_kwargs: Any,
    ) -> pd.DataFrame:
        """Give what was calculated of the responses of the units of one session.

        Parameters
        ----------
        session_id : int
            Which.
        annotate : bool
            With the columns of :meth:`get_units`, and only its units.
        filter_by_validity, **unit_filter_kwargs
            See :meth:`get_units`; without effect when nothing is annotated.

        Returns
        -------
        pandas.DataFrame
            Index ``ecephys_unit_id``.

        Raises
        ------
        SessionNotFound
            There are no metrics of that session.
        """
        id_ = id_of(session_id, "session")
        UnitFilter.read(unit_filter_kwargs)
        metrics = self._shelf.frame(self._session_metrics(id_))
        if not annotate:
            return _own(metrics)
        units = self.get_units(filter_by_validity=filter_by_validity, **unit_filter_kwargs)
        return _annotated(units[units[SESSION] == id_], metrics)

    def get_unit_analysis_metrics_by_session_type(
        self,
        session_type: str,
        annotate: bool = True,
        filter_by_validity: bool = True,
        **unit_filter_kwargs: Any,
    ) -> pd.DataFrame:
        """Give what was calculated of the responses of the units of all sessions of a type.

        Parameters
        ----------
        session_type : str
            One of :meth:`get_all_session_types`.
        annotate, filter_by_validity, **unit_filter_kwargs
            See :meth:`get_unit_analysis_metrics_for_session`.

        Returns
        -------
        pandas.DataFrame
            Index ``ecephys_unit_id``; the columns depend on the type.

        Raises
        ------
        InvalidArgument
            There is no such type.
        """
        UnitFilter.read(unit_filter_kwargs)
        known = self.get_all_session_types()
        if session_type not in known:
            raise InvalidArgument(
                f"unrecognized session type: {session_type}. Available types: {known}"
            )
        metrics = self._shelf.frame(self._type_metrics(session_type))
        if not annotate:
            return _own(metrics)
        units = self.get_units(filter_by_validity=filter_by_validity, **unit_filter_kwargs)
        return _annotated(units, metrics)

    def get_all_session_types(self, **session_kwargs: Any) -> list[Any]:
        """List the types of sessions."""
        return self._distinct("session_type", self.get_session_table, session_kwargs)

    def get_all_full_genotypes(self, **session_kwargs: Any) -> list[Any]:
        """List the genotypes of the mice."""
        return self._distinct("full_genotype", self.get_session_table, session_kwargs)

    def get_all_ages(self, **session_kwargs: Any) -> list[Any]:
        """List the ages of the mice, in days."""
        return self._distinct("age_in_days", self.get_session_table, session_kwargs)

    def get_all_sexes(self, **session_kwargs: Any) -> list[Any]:
        """List the sexes of the mice."""
        return self._distinct("sex", self.get_session_table, session_kwargs)

    def get_structure_acronyms(self, **channel_kwargs: Any) -> list[Any]:
        """List the structures in which channels lie; NaN is outside the brain."""
        return self._distinct("ecephys_structure_acronym", self.get_channels, channel_kwargs)

    def _distinct(
        self, column: str, table: Callable[..., pd.DataFrame], options: Mapping[str, Any]
    ) -> list[Any]:
        frame = table(**options)
        if column not in frame.columns:
            raise ColumnSuppressed(f"{column!r} is suppressed, and would be listed")
        values: list[Any] = frame[column].unique().tolist()
        return values


def _own(frame: pd.DataFrame) -> pd.DataFrame:
    """Give a frame that its receiver may change."""
    return frame.copy()


def _annotated(units: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    both = pd.merge(units, metrics, left_index=True, right_index=True, how="inner")
    return both.rename_axis(UNIT_ID).sort_index()


def id_of(value: Any, what: str) -> int:
    """Read a number that names something; numbers in texts name nothing, as in AllenSDK."""
    if isinstance(value, (str, bytes, bool)):
        raise InvalidArgument(f"the id of a {what} is a number, got {value!r}")
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidArgument(f"the id of a {what} is a number, got {value!r}") from error
    if number != value or number < 0:
        raise InvalidArgument(f"the id of a {what} is a whole number, got {value!r}")
    return number
