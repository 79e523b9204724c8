"""The Allen Institute's own database: queries without contact, and on a PostgreSQL server."""

import json
import os
import uuid

import numpy as np
import pytest
from allen_double import AllenDouble
from allen_project import STRUCTURES, make_project, units_of

from one_cache.ecephys import DbCredentials, EcephysProjectCache, Lims
from one_cache.errors import InvalidArgument, RemoteError, SessionNotFound, TransferFailed

SESSION, PROBE = 715000001, 729000001
NAMES = ("DBNAME", "USER", "HOST", "PORT", "PASSWORD")

TABLES = """
create table genders (id bigint primary key, name text);
create table ages (id bigint primary key, days float);
create table donors (id bigint primary key, full_genotype text, gender_id bigint, age_id bigint);
create table specimens (id bigint primary key, donor_id bigint);
create table structures (id bigint primary key, acronym text);
create table ecephys_sessions (id bigint primary key, specimen_id bigint, stimulus_name text,
    isi_experiment_id bigint, date_of_acquisition timestamp, published_at date,
    habituation boolean, workflow_state text);
create table ecephys_probes (id bigint primary key, ecephys_session_id bigint, name text,
    global_probe_sampling_rate numeric, global_probe_lfp_sampling_rate numeric, phase text,
    air_channel_index int, surface_channel_index int, use_lfp_data boolean,
    temporal_subsampling_factor numeric, workflow_state text);
create table ecephys_channels (id bigint primary key, ecephys_probe_id bigint, local_index int,
    probe_vertical_position int, probe_horizontal_position int, manual_structure_id bigint,
    anterior_posterior_ccf_coordinate numeric, dorsal_ventral_ccf_coordinate numeric,
    left_right_ccf_coordinate numeric, valid_data boolean);
create table ecephys_units (id bigint primary key, ecephys_channel_id bigint, quality text,
    snr float, firing_rate float, isi_violations float, presence_ratio float,
    amplitude_cutoff float, isolation_distance float, l_ratio float, d_prime float,
    nn_hit_rate float, nn_miss_rate float, silhouette_score float, max_drift float,
    cumulative_drift float, epoch_name_quality_metrics text, epoch_name_waveform_metrics text,
    duration float, halfwidth float, "PT_ratio" float, repolarization_slope float,
    recovery_slope float, amplitude float, spread float, velocity_above float,
    velocity_below float);
create table ecephys_analysis_runs (id bigint primary key, ecephys_session_id bigint,
    current boolean);
create table ecephys_analysis_run_probes (id bigint primary key, ecephys_probe_id bigint,
    ecephys_analysis_run_id bigint);
create table ecephys_unit_metric_bundles (id bigint primary key, ecephys_unit_id bigint,
    ecephys_analysis_run_id bigint, data jsonb);
create table well_known_file_types (id bigint primary key, name text);
create table well_known_files (id bigint primary key, attachable_id bigint, attachable_type text,
    well_known_file_type_id bigint);
create table stimulus_namespaces (id bigint primary key, name text);
create table stimuli (id bigint primary key, name text, stimulus_namespace_id bigint,
    well_known_file_id bigint);
"""
# "id bigint primary key, ecephys_channel_id bigint, ..." -> the names
_UNITS = TABLES.partition("create table ecephys_units (")[2].partition(");")[0]
UNIT_COLUMNS = [one.split()[0].strip('"') for one in _UNITS.split(",")]


# -- without contact -------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(f"LIMS_{name}", raising=False)


def test_credentials_come_from_the_argument_or_the_environment(monkeypatch, tmp_path):
    with pytest.raises(InvalidArgument, match="set LIMS_DBNAME, LIMS_USER, LIMS_HOST"):
        EcephysProjectCache.from_lims(manifest=tmp_path / "a" / "m.json")
    assert not list(tmp_path.iterdir())
    for name, value in zip(NAMES, ("lims2", "me", "limsdb", "5433", "very-secret"), strict=True):
        monkeypatch.setenv(f"LIMS_{name}", value)
    cache = EcephysProjectCache.from_lims(manifest=tmp_path / "m.json")
    assert cache.fetch_api.credentials == ("lims2", "me", "limsdb", "5433", "very-secret")
    given = DbCredentials(dbname="x", user="y", host="z", port=1, password="w")
    assert Lims.default(given).credentials == given
    kept = repr(cache) + repr(cache.fetch_api) + (tmp_path / "m.json").read_text()
    assert "very-secret" not in kept


def test_queries_are_built_without_contact_and_values_stay_apart():
    lims = Lims.default(DbCredentials("lims2", "me", "nowhere.invalid", 5432, None))
    query = lims.units_query(unit_ids=[1, np.int64(2)], session_ids=[3], published_at="2019-10-03")
    assert query.params == ([1, 2], [3], "2019-10-03")
    assert query.sql.count("%s") == 3
    assert "not es.habituation" in query.sql
    assert lims.metrics_query(session_types=["a'; drop table x"]).params == (["a'; drop table x"],)
    for name in ("sessions", "probes", "channels", "units", "metrics"):
        assert getattr(lims, f"{name}_query")().params == ()
    assert lims.remote.name == "http://lims2"


def test_a_database_that_is_away_is_a_clear_error_without_the_password(tmp_path):
    pytest.importorskip("psycopg")
    credentials = DbCredentials("lims2", "me", "127.0.0.1", 9, "very-secret")
    cache = EcephysProjectCache.from_lims(credentials, manifest=tmp_path / "m.json", silent=True)
    with pytest.raises(TransferFailed, match=r"me into lims2 on 127\.0\.0\.1:9") as caught:
        cache.get_session_table()
    assert "very-secret" not in str(caught.value)
    assert not list(tmp_path.glob("*.csv"))


# -- on a server -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database():
    """A database of its own on the server that PGHOST or loopback names."""
    psycopg = pytest.importorskip("psycopg")
    host, user = os.environ.get("PGHOST", "127.0.0.1"), os.environ.get("PGUSER", "postgres")
    try:
        server = psycopg.connect(host=host, user=user, dbname="postgres", connect_timeout=3)
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL server to test with: {error}")
    name = f"lims_{uuid.uuid4().hex[:10]}"
    server.autocommit = True
    server.execute(f"create database {name}")
    connection = psycopg.connect(host=host, user=user, dbname=name)
    yield connection, DbCredentials(name, user, host, 5432, None)
    connection.close()
    server.execute(f"drop database {name} with (force)")
    server.close()


@pytest.fixture(scope="module")
def project():
    return make_project()


def insert(connection, table, rows):
    for row in rows:
        names = ", ".join(f'"{name}"' for name in row)
        places = ", ".join(["%s"] * len(row))
        connection.execute(f"insert into {table} ({names}) values ({places})", [*row.values()])


def fill(connection, project):
    connection.execute(TABLES)
    insert(connection, "genders", [{"id": 1, "name": "M"}, {"id": 2, "name": "F"}])
    insert(
        connection,
        "structures",
        [{"id": k, "acronym": v.split("-")[0]} for k, v in STRUCTURES.items()],
    )
    types = {"EcephysNwb": 1, "EcephysLfpNwb": 2, "Stimulus": 3}
    insert(connection, "well_known_file_types", [{"id": v, "name": k} for k, v in types.items()])
    fill_sessions(connection, project)
    fill_recordings(connection, project)
    fill_files(connection, project, types)
    connection.commit()


def fill_sessions(connection, project):
    for one in project.sessions:
        donor, id_ = one["specimen"]["donor"], one["id"]
        insert(connection, "ages", [{"id": id_, "days": donor["age"]["days"]}])
        gender = {"M": 1, "F": 2}[donor["sex"]]
        row = {"id": id_, "full_genotype": donor["full_genotype"], "gender_id": gender}
        insert(connection, "donors", [{**row, "age_id": id_}])
        insert(connection, "specimens", [{"id": one["specimen_id"], "donor_id": id_}])
        names = ("id", "specimen_id", "stimulus_name", "isi_experiment_id", "date_of_acquisition")
        row = {name: one[name] for name in (*names, "published_at")}
        good = {"habituation": False, "workflow_state": "uploaded"}
        insert(connection, "ecephys_sessions", [{**row, **good}])
        for run, current in ((id_ * 10, False), (id_ * 10 + 1, True)):
            row = {"id": run, "ecephys_session_id": id_, "current": current}
            insert(connection, "ecephys_analysis_runs", [row])
    # what nobody is to see
    for id_, bad in ((1, {"habituation": True}), (2, {"workflow_state": "failed"})):
        row = {**row, "id": id_, "specimen_id": project.sessions[0]["specimen_id"]}
        row = {key: row[key] for key in ("id", "specimen_id")}
        good = {"stimulus_name": "x", "habituation": False, "workflow_state": "uploaded"}
        insert(connection, "ecephys_sessions", [{**row, **good, **bad}])


def fill_recordings(connection, project):
    for one in project.probes:
        row = {
            "id": one["id"],
            "ecephys_session_id": one["ecephys_session_id"],
            "name": one["name"],
            "global_probe_sampling_rate": one["sampling_rate"],
            "global_probe_lfp_sampling_rate": one["lfp_sampling_rate"],
            "phase": one["phase"],
            "air_channel_index": one["air_channel_index"],
            "surface_channel_index": one["surface_channel_index"],
            "use_lfp_data": one["use_lfp_data"],
            "temporal_subsampling_factor": one["lfp_temporal_subsampling_factor"],
            "workflow_state": "uploaded",
        }
        insert(connection, "ecephys_probes", [row])
        run = one["ecephys_session_id"] * 10 + 1
        row = {"id": one["id"], "ecephys_probe_id": one["id"], "ecephys_analysis_run_id": run}
        insert(connection, "ecephys_analysis_run_probes", [row])
    for one in project.channels:
        row = {k: v for k, v in one.items() if not k.startswith("ecephys_structure")}
        structure = one["ecephys_structure_id"]
        row |= {"manual_structure_id": structure, "valid_data": True}
        insert(connection, "ecephys_channels", [row])
    row = {**project.channels[0], "id": 5, "valid_data": False}
    row = {k: v for k, v in row.items() if not k.startswith("ecephys_structure")}
    insert(connection, "ecephys_channels", [row])
    rows = [{name: one[name] for name in UNIT_COLUMNS} for one in project.units]
    insert(connection, "ecephys_units", rows)
    for session in project.sessions:
        units = {one["id"] for one in units_of(project, session)}
        run = session["id"] * 10 + 1
        for one in project.bundles:
            if one["ecephys_unit_id"] in units:
                insert(
                    connection,
                    "ecephys_unit_metric_bundles",
                    [{**one, "ecephys_analysis_run_id": run}],
                )


def fill_files(connection, project, types):
    insert(connection, "stimulus_namespaces", [{"id": 1, "name": "brain_observatory_1.1"}])
    for one in project.files:
        kind = one["_type"]
        owner = one["attachable_id"]
        if kind == "Stimulus":
            stem = one["path"].rpartition("/")[2].partition(".")[0]
            name = f"natural_scene_{stem}" if stem.isdecimal() else stem
            row = {"id": one["id"], "name": name, "stimulus_namespace_id": 1}
            insert(connection, "stimuli", [{**row, "well_known_file_id": one["id"]}])
        of_run = kind == "EcephysNwb"
        row = {
            "id": one["id"],
            "attachable_id": owner * 10 + 1 if of_run else owner,
            "attachable_type": "EcephysAnalysisRun" if of_run else "EcephysAnalysisRunProbe",
            "well_known_file_type_id": types[kind],
        }
        insert(connection, "well_known_files", [row])


@pytest.fixture(scope="module")
def filled(database, project):
    connection, credentials = database
    fill(connection, project)
    return credentials


@pytest.fixture
def both(filled, project, tmp_path):
    """The same project from LIMS and from the warehouse."""
    with AllenDouble(project) as allen:
        yield (
            EcephysProjectCache.from_lims(
                filled, "http", allen.host, manifest=tmp_path / "lims" / "m.json", silent=True
            ),
            EcephysProjectCache.from_warehouse(
                "http", allen.host, manifest=tmp_path / "warehouse" / "m.json", silent=True
            ),
        )


def test_lims_gives_the_tables_of_the_warehouse(both):
    lims, warehouse = both
    for table in ("get_session_table", "get_probes", "get_channels", "get_units"):
        ours, theirs = getattr(lims, table)(), getattr(warehouse, table)()
        assert ours.index.tolist() == theirs.index.tolist()
        shared = [name for name in theirs.columns if name in ours.columns]
        missing = set(theirs.columns) - set(shared)
        assert missing <= {"cluster_id", "local_index_unit", "local_index_channel"}
        for name in shared:
            if name in ("published_at", "date_of_acquisition"):
                continue  # written in another way
            mine, other = ours[name].tolist(), theirs[name].tolist()
            assert list(map(str, mine)) == list(map(str, other)), (table, name)


def test_lims_gives_metrics_and_files(both):
    lims, warehouse = both
    mine, other = (
        one.get_unit_analysis_metrics_for_session(SESSION, annotate=False) for one in both
    )
    assert mine.index.tolist() == other.index.tolist()
    assert mine.p_value_rf.tolist() == other.p_value_rf.tolist()
    kind = "functional_connectivity"
    metrics = lims.get_unit_analysis_metrics_by_session_type(kind, annotate=False)
    assert len(metrics) == 24
    with lims.get_session_data(SESSION) as session:
        assert session.num_units == 8
        assert session.get_lfp(PROBE).shape == (200, 3)
    np.testing.assert_array_equal(
        lims.get_natural_movie_template(3), warehouse.get_natural_movie_template(3)
    )
    np.testing.assert_array_equal(
        lims.get_natural_scene_template(14), warehouse.get_natural_scene_template(14)
    )


def test_lims_filters_by_ids_and_by_date(filled, project):
    lims = Lims.default(filled)
    unit = project.units[3]["id"]
    assert lims.get_units(unit_ids=[unit]).index.tolist() == [unit]
    assert lims.get_unit_analysis_metrics(unit_ids=[unit]).index.tolist() == [unit]
    assert len(lims.get_channels(probe_ids=[PROBE])) == 10
    assert lims.get_probes(session_ids=[SESSION]).name.tolist() == ["probeA", "probeB"]
    assert len(lims.get_sessions(published_at="2019-10-03")) == 3
    with pytest.raises(RemoteError, match="empty table"):
        lims.get_sessions(published_at="2018-01-01")
    with pytest.raises(SessionNotFound, match="no analysis metrics"):
        lims.get_unit_analysis_metrics(unit_ids=[1])


def test_lims_names_what_it_has_not(both, filled):
    lims, _ = both
    with pytest.raises(
        ValueError, match="expected exactly 1 current NWB file for session 715000009"
    ):
        lims.get_session_data(715000009)
    with pytest.raises(ValueError, match="expected exactly 1 template for natural_movie_9"):
        lims.get_natural_movie_template(9)
    wrong = Lims.default(filled._replace(dbname="nowhere"))
    with pytest.raises(TransferFailed, match="nowhere"):
        wrong.get_sessions()


def test_a_query_that_the_server_refuses_is_a_clear_error(database, filled):
    connection, _ = database
    connection.execute("alter table genders rename to sexes")
    connection.commit()
    try:
        with pytest.raises(RemoteError, match="genders"):
            Lims.default(filled).get_sessions()
    finally:
        connection.execute("alter table sexes rename to genders")
        connection.commit()
    assert json.dumps(Lims.default(filled).get_sessions().sex.tolist()) == '["M", "F", "M"]'
