"""The Allen Institute's own database (LIMS): its questions in SQL, its files over HTTP.

For those within its network: what is not released yet, and the tables of what is. Nothing is
contacted before the first question.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from one_cache.ecephys.source.metrics import metrics_frame
from one_cache.ecephys.source.rma import Download
from one_cache.ecephys.source.warehouse import Ids, Names
from one_cache.errors import InvalidArgument, RemoteError, SessionNotFound, TransferFailed
from one_cache.remotes.http import HttpRemote

if TYPE_CHECKING:
    import pandas as pd

SCHEME, HOST = "http", "lims2"
NAMESPACE = "brain_observatory_1.1"  # in which the templates of the stimuli have their names
_PORT = 5432


class DbCredentials(NamedTuple):
    """How to reach the database.

    Attributes
    ----------
    dbname, user, host : str
        Which database, as whom, where.
    port : int
        Usually 5432.
    password : str
        Never shown.
    """

    dbname: str
    user: str
    host: str
    port: int | str
    password: str | None

    def __repr__(self) -> str:
        return f"DbCredentials({self.user!r} in {self.dbname!r} on {self.host!r})"


def read_credentials(given: Any = None) -> DbCredentials:
    """Take credentials from the argument of a call, or from the environment.

    Parameters
    ----------
    given : object, optional
        With the attributes of :class:`DbCredentials`, as AllenSDK's have them.

    Returns
    -------
    DbCredentials

    Raises
    ------
    InvalidArgument
        Something is missing.
    """
    values: dict[str, Any] = {}
    for name in DbCredentials._fields:
        default = _PORT if name == "port" else None
        values[name] = (
            getattr(given, name, None)
            if given is not None
            else os.environ.get(f"LIMS_{name.upper()}")
        ) or default
    # a server may let its own machines in without a password
    missing = [name for name in ("dbname", "user", "host") if not values[name]]
    if missing:
        wanted = ", ".join(f"LIMS_{name.upper()}" for name in missing)
        raise InvalidArgument(
            f"no {', '.join(missing)} for LIMS: give lims_credentials=DbCredentials(dbname, user, "
            f"host, port, password), or set {wanted}"
        )
    return DbCredentials(**values)


@dataclass(frozen=True)
class Query:
    """A question in SQL, and its values.

    Attributes
    ----------
    sql : str
        With ``%s`` for each of `params`.
    params : tuple
        Values, which never become part of the text.
    """

    sql: str
    params: tuple[Any, ...] = ()

    def where(self, condition: str, value: Any) -> Query:
        """Add a condition, unless its value is None; lists are lists of ids or names."""
        if value is None:
            return self
        if not isinstance(value, (str, int)):
            value = [one if isinstance(one, str) else int(one) for one in value]
        return Query(f"{self.sql}\n    and {condition}", (*self.params, value))


_GOOD = "not es.habituation and ep.workflow_state != 'failed' and es.workflow_state != 'failed'"

_SESSIONS = """select es.id, es.specimen_id, es.stimulus_name as session_type,
    es.isi_experiment_id, es.date_of_acquisition, es.published_at,
    coalesce(dn.full_genotype, 'wt') as genotype, gd.name as sex, ages.days as age_in_days,
    exists (
        select 1 from ecephys_analysis_runs ear
        join well_known_files wkf
            on wkf.attachable_id = ear.id and wkf.attachable_type = 'EcephysAnalysisRun'
        join well_known_file_types wkft on wkft.id = wkf.well_known_file_type_id
        where ear.ecephys_session_id = es.id and ear.current and wkft.name = 'EcephysNwb'
    ) as has_nwb
from ecephys_sessions es
join specimens sp on sp.id = es.specimen_id
join donors dn on dn.id = sp.donor_id
join genders gd on gd.id = dn.gender_id
join ages on ages.id = dn.age_id
where not es.habituation and es.workflow_state != 'failed'"""

_PROBES = f"""select ep.id, ep.ecephys_session_id, ep.name,
    ep.global_probe_sampling_rate as sampling_rate,
    ep.global_probe_lfp_sampling_rate as lfp_sampling_rate,
    ep.phase, ep.air_channel_index, ep.surface_channel_index, ep.use_lfp_data as has_lfp_data,
    ep.temporal_subsampling_factor as lfp_temporal_subsampling_factor
from ecephys_probes ep
join ecephys_sessions es on es.id = ep.ecephys_session_id
where {_GOOD}"""

_CHANNELS = f"""select ec.id, ec.ecephys_probe_id, ec.local_index,
    ec.probe_vertical_position, ec.probe_horizontal_position,
    ec.manual_structure_id as ecephys_structure_id, st.acronym as ecephys_structure_acronym,
    ec.anterior_posterior_ccf_coordinate, ec.dorsal_ventral_ccf_coordinate,
    ec.left_right_ccf_coordinate
from ecephys_channels ec
join ecephys_probes ep on ep.id = ec.ecephys_probe_id
join ecephys_sessions es on es.id = ep.ecephys_session_id
left join structures st on st.id = ec.manual_structure_id
where {_GOOD} and ec.valid_data"""

_UNITS = f"""select eu.id, eu.ecephys_channel_id, eu.quality, eu.snr, eu.firing_rate,
    eu.isi_violations, eu.presence_ratio, eu.amplitude_cutoff, eu.isolation_distance, eu.l_ratio,
    eu.d_prime, eu.nn_hit_rate, eu.nn_miss_rate, eu.silhouette_score, eu.max_drift,
    eu.cumulative_drift, eu.epoch_name_quality_metrics, eu.epoch_name_waveform_metrics,
    eu.duration, eu.halfwidth, eu."PT_ratio", eu.repolarization_slope, eu.recovery_slope,
    eu.amplitude, eu.spread, eu.velocity_above, eu.velocity_below
from ecephys_units eu
join ecephys_channels ec on ec.id = eu.ecephys_channel_id
join ecephys_probes ep on ep.id = ec.ecephys_probe_id
join ecephys_sessions es on es.id = ep.ecephys_session_id
where {_GOOD} and ec.valid_data"""

_METRICS = """select eumb.ecephys_unit_id, eumb.data
from ecephys_unit_metric_bundles eumb
join ecephys_analysis_runs ear on ear.id = eumb.ecephys_analysis_run_id
join ecephys_units eu on eu.id = eumb.ecephys_unit_id
join ecephys_channels ec on ec.id = eu.ecephys_channel_id
join ecephys_probes ep on ep.id = ec.ecephys_probe_id
join ecephys_sessions es on es.id = ep.ecephys_session_id
where ear.current"""

_SESSION_FILE = """select wkf.id from well_known_files wkf
join ecephys_analysis_runs ear
    on ear.id = wkf.attachable_id and wkf.attachable_type = 'EcephysAnalysisRun'
join well_known_file_types wkft on wkft.id = wkf.well_known_file_type_id
where ear.current and wkft.name = 'EcephysNwb'"""

_LFP_FILE = """select wkf.id from well_known_files wkf
join ecephys_analysis_run_probes earp
    on earp.id = wkf.attachable_id and wkf.attachable_type = 'EcephysAnalysisRunProbe'
join ecephys_analysis_runs ear on ear.id = earp.ecephys_analysis_run_id
join well_known_file_types wkft on wkft.id = wkf.well_known_file_type_id
where ear.current and wkft.name ~ 'EcephysLfpNwb'"""

_TEMPLATE = """select st.well_known_file_id as id from stimuli st
join stimulus_namespaces sn on sn.id = st.stimulus_namespace_id
where st.well_known_file_id is not null"""


class Lims:
    """What LIMS can be asked: AllenSDK's ``EcephysProjectLimsApi``.

    Parameters
    ----------
    credentials : DbCredentials
        For the database.
    remote : HttpRemote
        The server of files.

    Examples
    --------
    >>> lims = Lims.default(DbCredentials("lims2", "me", "limsdb", 5432, "secret"))
    >>> lims.probes_query(session_ids=[7]).params
    ([7],)
    >>> lims.credentials
    DbCredentials('me' in 'lims2' on 'limsdb')
    """

    def __init__(self, credentials: DbCredentials, remote: HttpRemote) -> None:
        self.credentials = credentials
        self.remote = remote

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.credentials!r})"

    @classmethod
    def default(
        cls,
        lims_credentials: Any = None,
        *,
        scheme: str = SCHEME,
        host: str = HOST,
        timeout: float = 30.0,
    ) -> Lims:
        """Give one for the usual servers.

        Parameters
        ----------
        lims_credentials : object, optional
            See :func:`read_credentials`.
        scheme, host : str
            Of the server of files.
        timeout : float
            Seconds without a byte after which a request failed.

        Returns
        -------
        Lims
            Nothing has been contacted yet.
        """
        credentials = read_credentials(lims_credentials)
        return cls(credentials, HttpRemote(f"{scheme}://{host}", timeout=timeout))

    # -- questions -----------------------------------------------------------------------------

    def sessions_query(self, session_ids: Ids = None, published_at: str | None = None) -> Query:
        """Ask for sessions."""
        query = Query(_SESSIONS).where("es.id = any(%s)", session_ids)
        return query.where("es.published_at <= %s", published_at)

    def probes_query(
        self, probe_ids: Ids = None, session_ids: Ids = None, published_at: str | None = None
    ) -> Query:
        """Ask for probes."""
        query = Query(_PROBES).where("ep.id = any(%s)", probe_ids)
        query = query.where("es.id = any(%s)", session_ids)
        return query.where("es.published_at <= %s", published_at)

    def channels_query(
        self,
        channel_ids: Ids = None,
        probe_ids: Ids = None,
        session_ids: Ids = None,
        published_at: str | None = None,
    ) -> Query:
        """Ask for channels."""
        query = Query(_CHANNELS).where("ec.id = any(%s)", channel_ids)
        query = query.where("ep.id = any(%s)", probe_ids).where("es.id = any(%s)", session_ids)
        return query.where("es.published_at <= %s", published_at)

    def units_query(
        self,
        unit_ids: Ids = None,
        channel_ids: Ids = None,
        probe_ids: Ids = None,
        session_ids: Ids = None,
        published_at: str | None = None,
    ) -> Query:
        """Ask for units."""
        query = Query(_UNITS).where("eu.id = any(%s)", unit_ids)
        query = query.where("ec.id = any(%s)", channel_ids).where("ep.id = any(%s)", probe_ids)
        query = query.where("es.id = any(%s)", session_ids)
        return query.where("es.published_at <= %s", published_at)

    def metrics_query(
        self, unit_ids: Ids = None, ecephys_session_ids: Ids = None, session_types: Names = None
    ) -> Query:
        """Ask for analysis metrics."""
        query = Query(_METRICS).where("eu.id = any(%s)", unit_ids)
        query = query.where("es.id = any(%s)", ecephys_session_ids)
        return query.where("es.stimulus_name = any(%s)", session_types)

    # -- tables --------------------------------------------------------------------------------

    def get_sessions(
        self, session_ids: Ids = None, published_at: str | None = None
    ) -> pd.DataFrame:
        """Give sessions that were not of habituation and have not failed.

        Parameters
        ----------
        session_ids : sequence of int, optional
            Those wanted.
        published_at : str, optional
            ISO date; only what was published until then.

        Returns
        -------
        pandas.DataFrame
            Index ``id``.
        """
        return self._frame(self.sessions_query(session_ids, published_at))

    def get_probes(self, *args: Any, **kwargs: Any) -> pd.DataFrame:
        """Give probes, index ``id``; arguments as for :meth:`probes_query`."""
        return self._frame(self.probes_query(*args, **kwargs))

    def get_channels(self, *args: Any, **kwargs: Any) -> pd.DataFrame:
        """Give channels of valid data, index ``id``; arguments as for :meth:`channels_query`."""
        return self._frame(self.channels_query(*args, **kwargs))

    def get_units(self, *args: Any, **kwargs: Any) -> pd.DataFrame:
        """Give units, index ``id``; arguments as for :meth:`units_query`."""
        return self._frame(self.units_query(*args, **kwargs))

    def get_unit_analysis_metrics(self, *args: Any, **kwargs: Any) -> pd.DataFrame:
        """Give analysis metrics, index ``ecephys_unit_id``; see :meth:`metrics_query`.

        Raises
        ------
        SessionNotFound
            There are none.
        """
        query = self.metrics_query(*args, **kwargs)
        rows = self._select(query)
        if not rows:
            raise SessionNotFound(f"LIMS knows no analysis metrics of {list(query.params)}")
        return metrics_frame(rows)

    def _frame(self, query: Query) -> pd.DataFrame:
        import pandas as pd

        rows = self._select(query)
        if not rows:
            raise RemoteError("LIMS gives an empty table")
        return pd.DataFrame(rows).set_index("id").sort_index()

    # -- files ---------------------------------------------------------------------------------

    def get_session_data(self, session_id: int) -> Download:
        """Give the NWB file of a session, from its current analysis.

        Raises
        ------
        SessionNotFound
            There is not exactly one.
        """
        query = Query(_SESSION_FILE).where("ear.ecephys_session_id = %s", int(session_id))
        return self._one_file(query, f"current NWB file for session {session_id}")

    def get_probe_lfp_data(self, probe_id: int) -> Download:
        """Give the NWB file with the LFP of a probe; see :meth:`get_session_data`."""
        query = Query(_LFP_FILE).where("earp.ecephys_probe_id = %s", int(probe_id))
        return self._one_file(query, f"current LFP NWB file for probe {probe_id}")

    def get_natural_movie_template(self, number: int) -> Download:
        """Give the frames of a movie; see :meth:`get_session_data`."""
        return self._template(f"natural_movie_{int(number)}")

    def get_natural_scene_template(self, number: int) -> Download:
        """Give an image; see :meth:`get_session_data`."""
        return self._template(f"natural_scene_{int(number)}")

    def _template(self, name: str) -> Download:
        query = Query(_TEMPLATE).where("st.name = %s", name).where("sn.name = %s", NAMESPACE)
        return self._one_file(query, f"template for {name}")

    def _one_file(self, query: Query, what: str) -> Download:
        rows = self._select(query)
        if len(rows) != 1:
            raise SessionNotFound(f"expected exactly 1 {what}, found {len(rows)} in LIMS")
        id_ = int(rows[0]["id"])
        url = f"{self.remote.name}/well_known_files/download/{id_}?wkf_id={id_}"
        return Download(self.remote, url)

    # -- the database --------------------------------------------------------------------------

    def _select(self, query: Query) -> list[dict[str, Any]]:
        with self._connected() as (connection, error_class):
            try:
                with connection.cursor() as cursor:
                    cursor.execute(query.sql, query.params)
                    names = [column[0] for column in cursor.description]
                    return [
                        dict(zip(names, row, strict=True)) for row in _plain(cursor.fetchall())
                    ]
            except error_class as error:
                raise RemoteError(f"LIMS cannot answer: {_said(error)}") from error

    @contextmanager
    def _connected(self) -> Iterator[tuple[Any, type[Exception]]]:
        try:
            import psycopg
        except ImportError as error:
            raise InvalidArgument(
                "psycopg is needed to ask LIMS; install it with: pip install 'one_cache[lims]'"
            ) from error
        known = self.credentials
        try:
            connection = psycopg.connect(
                dbname=known.dbname,
                user=known.user,
                host=known.host,
                port=int(known.port),
                password=known.password,
                connect_timeout=10,
            )
        except psycopg.Error as error:
            raise TransferFailed(
                f"LIMS does not let {known.user} into {known.dbname} on {known.host}:"
                f"{known.port}: {_said(error)}"
            ) from error
        with connection:
            yield connection, psycopg.Error


def _said(error: Exception) -> str:
    return " ".join(str(error).split())


def _plain(rows: Sequence[Sequence[Any]]) -> Iterator[list[Any]]:
    """Give exact decimals as the numbers that tables hold."""
    from decimal import Decimal

    for row in rows:
        yield [float(value) if isinstance(value, Decimal) else value for value in row]
