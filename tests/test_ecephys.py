"""The Allen project cache: what its page promises, its folder, its modes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from allen_fixtures import (  # noqa: F401
    SESSION,
    SESSION_FILE,
    TABLES,
    allen_project,
    allen_server,
    as_allensdk_left_it,
    calls,
    damage,
    dead,
    everything,
    filled_folder,
    filled_once,
    opened,
)

from one_cache.ecephys import (
    EcephysProjectCache,
    ManifestVersionError,
    MissingData,
    count_owned,
    get_grouped_uniques,
    read_csv,
    read_metrics_csv,
    read_movie,
    read_scene,
    write_csv,
    write_from_stream,
    write_metrics_csv,
)
from one_cache.ecephys.folder.layout import manifest_text
from one_cache.errors import (
    CacheWarning,
    HashMismatch,
    InvalidArgument,
    ManifestError,
    ManifestMismatch,
    ManifestMissing,
)

# -- what a reference page promises -----------------------------------------------------------


def test_keys_and_suppressed_columns_are_those_of_the_page():
    page = {
        "CHANNELS_KEY": "channels",
        "MANIFEST_VERSION": "0.2.1",
        "NATURAL_MOVIE_DIR_KEY": "movie_dir",
        "NATURAL_MOVIE_KEY": "natural_movie",
        "NATURAL_SCENE_DIR_KEY": "natural_scene_dir",
        "NATURAL_SCENE_KEY": "natural_scene",
        "PROBES_KEY": "probes",
        "PROBE_LFP_NWB_KEY": "probe_lfp_nwb",
        "SESSIONS_KEY": "sessions",
        "SESSION_ANALYSIS_METRICS_KEY": "session_analysis_metrics",
        "SESSION_DIR_KEY": "session_data",
        "SESSION_NWB_KEY": "session_nwb",
        "TYPEWISE_ANALYSIS_METRICS_KEY": "typewise_analysis_metrics",
        "UNITS_KEY": "units",
    }
    assert {name: getattr(EcephysProjectCache, name) for name in page} == page
    of_session = (
        "date_of_acquisition",
        "published_at",
        "specimen_id",
        "session_type",
        "isi_experiment_id",
        "age_in_days",
        "sex",
        "genotype",
        "has_nwb",
        "lfp_temporal_subsampling_factor",
    )
    both = ("air_channel_index", "surface_channel_index")
    assert (*both, "name", *of_session) == EcephysProjectCache.SUPPRESS_FROM_CHANNELS
    assert (*both, *of_session) == EcephysProjectCache.SUPPRESS_FROM_PROBES


def test_the_functions_of_the_page_read_what_they_write(tmp_path, project):
    frame = pd.DataFrame({"name": ["a", "b"]}, index=pd.Index([1, 2], name="id"))
    write_csv(tmp_path / "x.csv", frame)
    assert read_csv(tmp_path / "x.csv").name.tolist() == ["a", "b"]
    metrics = frame.rename_axis("ecephys_unit_id")
    write_metrics_csv(tmp_path / "m.csv", metrics)
    assert read_metrics_csv(tmp_path / "m.csv").index.name == "ecephys_unit_id"
    movie, scene = (
        project.contents[one["id"]]
        for one in project.files
        if one["path"] in ("/movies/natural_movie_1.npy", "/scenes/14.tiff")
    )
    write_from_stream(tmp_path / "movie.h5", [movie[:30], movie[30:]])
    assert read_movie(tmp_path / "movie.h5").shape == (4, 6, 8)
    (tmp_path / "scene.tiff").write_bytes(scene)
    assert read_scene(tmp_path / "scene.tiff").shape == (6, 8)


def test_owned_rows_are_counted_and_their_values_listed():
    probes = pd.DataFrame({"x": [1, 2, 3]}, index=pd.Index([11, 12, 13], name="id"))
    channels = pd.DataFrame(
        {"probe": [12, 11, 12, 12], "where": ["CA1", np.nan, "DG", "CA1"]}, index=[1, 2, 3, 4]
    )
    counted = count_owned(probes, channels, "probe", "n")
    assert counted.n.tolist() == [1, 3, 0]
    assert "n" not in probes
    listed = get_grouped_uniques(probes, channels, "probe", "where", "areas")
    assert listed.areas[12].tolist() == ["CA1", "DG"]
    assert np.isnan(listed.areas[11][0])
    assert listed.areas[13] == 0
    assert count_owned(probes, channels, "probe", "n", inplace=True) is None
    assert get_grouped_uniques(probes, channels, "probe", "where", "areas", inplace=True) is None
    assert {"n", "areas"} <= set(probes.columns)
    with pytest.raises(InvalidArgument, match="belongs|among"):
        count_owned(probes.drop(12), channels, "probe", "n")


def test_tables_are_sorted_and_belong_to_the_caller(allen, tmp_path):
    cache = opened(allen, tmp_path)
    for table in (cache.get_session_table, cache.get_probes, cache.get_channels, cache.get_units):
        first = table()
        assert first.index.is_monotonic_increasing
        assert first.index.name == "id"
        column = first.columns[0]
        first[column] = None
        assert table()[column].notna().any()


def test_an_id_must_be_a_number(allen, tmp_path):
    cache = opened(allen, tmp_path)
    assert cache.get_session_data(np.int64(SESSION)).ecephys_session_id == SESSION
    for wrong in (str(SESSION), 1.5, None, -3, True):
        with pytest.raises(InvalidArgument, match="number"):
            cache.get_session_data(wrong)


def test_the_base_class_of_allensdk_is_there(allen, tmp_path):
    cache = opened(allen, tmp_path / "a")
    path = cache.get_cache_path(None, cache.SESSION_NWB_KEY, 5, 5)
    assert path == str(tmp_path / "a" / "session_5" / "session_5.nwb")
    assert cache.get_cache_path("other", cache.UNITS_KEY) == "other"
    cache.build_manifest(tmp_path / "other.json")
    assert json.loads((tmp_path / "other.json").read_text())["manifest"][1]["key"] == "BASEDIR"
    cache.load_manifest(tmp_path / "b" / "manifest.json")
    cache.get_session_table()
    assert (tmp_path / "b" / "units.csv").exists()
    assert not (tmp_path / "a" / "units.csv").exists()


# -- the folder and its manifest --------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.2.1", "0.3.0"])
def test_either_version_of_the_manifest_is_read_and_can_be_made(allen, tmp_path, version):
    cache = opened(allen, tmp_path, version=version)
    assert json.loads((tmp_path / "manifest.json").read_text()) == json.loads(
        manifest_text(version)
    )
    assert opened(allen, tmp_path).manifest.version == cache.manifest.version == version
    other = {"0.2.1": "0.3.0", "0.3.0": "0.2.1"}[version]
    with pytest.raises(ManifestMismatch, match=f"{version!r}.*{other!r}") as caught:
        opened(allen, tmp_path, version=other)
    assert (caught.value.version, caught.value.found_version) == (other, version)
    assert caught.value.outdated is (version < other)
    with pytest.raises(ManifestMismatch, match="version"):
        EcephysProjectCache.fixed(manifest=tmp_path / "manifest.json", version="0.10.0")


def test_a_version_that_nobody_knows_makes_nothing(allen, tmp_path):
    with pytest.raises(ManifestVersionError, match=r"'0\.9\.9'"):
        opened(allen, tmp_path / "new", version="0.9.9")
    assert not (tmp_path / "new").exists()
    text = manifest_text().replace("0.3.0", "0.10.0")
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(
        ManifestVersionError, match=r"'0\.10\.0'.*'0\.2\.1' or '0\.3\.0'"
    ) as caught:
        opened(allen, tmp_path)
    assert caught.value.outdated is False


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "{}", '{"manifest": []}', '{"manifest": [1]}', "\0\1", '{"manifest": {}}'],
)
def test_a_manifest_that_cannot_be_read_is_named_and_left(allen, tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ManifestError, match="manifest.json"):
        opened(allen, tmp_path)
    assert (tmp_path / "manifest.json").read_text() == text


def test_a_manifest_without_a_path_or_leading_out_is_refused(allen, tmp_path):
    entries = json.loads(manifest_text())["manifest"]
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"manifest": [e for e in entries if e.get("key") != "units"]}))
    with pytest.raises(ManifestError, match="names no path for units"):
        opened(allen, tmp_path)
    for spec in ("/etc", "..", "a/../../b"):
        path.write_text(json.dumps({"manifest": [{**entries[1], "spec": spec}, *entries[2:]]}))
        with pytest.raises(ManifestError):
            opened(allen, tmp_path)
        first = [entries[0], {**entries[1], "spec": spec}, *entries[2:]]
        path.write_text(json.dumps({"manifest": first}))
        with pytest.raises(ManifestError, match="leads out of its folder"):
            opened(allen, tmp_path)


def test_a_manifest_with_other_paths_is_followed(allen, tmp_path):
    text = manifest_text().replace('"units.csv"', '"tables/all units.csv"')
    (tmp_path / "manifest.json").write_text(text)
    assert len(opened(allen, tmp_path).get_units())
    assert (tmp_path / "tables" / "all units.csv").exists()


def test_the_manifest_is_made_in_the_working_directory_by_default(allen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    EcephysProjectCache.from_warehouse("http", allen.host, silent=True)
    assert (tmp_path / "ecephys_project_manifest.json").exists()


def test_a_cache_can_be_moved(filled, tmp_path):
    moved = filled.rename(tmp_path / "elsewhere")
    cache = dead(moved)
    assert len(cache.get_units())
    assert cache.get_session_data(SESSION).num_probes == 2


# -- modes ------------------------------------------------------------------------------------


def test_what_is_here_needs_no_server(filled, allen):
    before = len(allen.asked)
    units = calls(opened(allen, filled))
    assert len(allen.asked) == before
    pd.testing.assert_frame_equal(calls(dead(filled)), units)
    pd.testing.assert_frame_equal(calls(dead(filled, mode="local")), units)


@pytest.mark.parametrize("left_by", ["us, frozen", "AllenSDK"])
def test_fixed_gives_what_is_here_touches_nothing_and_opens_no_socket(filled, allen, left_by):
    expected = len(calls(dead(filled)))
    if left_by == "AllenSDK":
        as_allensdk_left_it(filled)
    else:
        opened(allen, filled).freeze()
    before = everything(filled)
    code = f"""
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("a socket was opened")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
sys.path.insert(0, {str(Path(__file__).parent)!r})
from allen_fixtures import calls
from one_cache.ecephys import EcephysProjectCache
print(len(calls(EcephysProjectCache.fixed(manifest={str(filled / "manifest.json")!r}))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == expected
    assert everything(filled) == before


def test_fixed_names_what_is_missing(filled):
    fixed = EcephysProjectCache.fixed(manifest=filled / "manifest.json")
    before = everything(filled)
    with pytest.raises(MissingData, match="natural_movie_1.h5.*'fixed' fetches nothing"):
        fixed.get_natural_movie_template(1)
    with pytest.raises(ValueError, match="NWB file of session 5"):
        fixed.get_session_data(5)
    with pytest.raises(FileNotFoundError, match="session_715000005_analysis_metrics.csv"):
        fixed.get_unit_analysis_metrics_for_session(715000005)
    with pytest.raises(MissingData, match="probe_729000003_lfp"):
        fixed.get_session_data(SESSION).get_lfp(729000003)
    assert everything(filled) == before


def test_fixed_makes_no_manifest(tmp_path):
    with pytest.raises(ManifestMissing, match="fill one with"):
        EcephysProjectCache.fixed(manifest=tmp_path / "a" / "manifest.json")
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_missing_everything(allen, tmp_path):
    opened(allen, tmp_path)
    fixed = EcephysProjectCache.fixed(manifest=tmp_path / "manifest.json")
    with pytest.raises(MissingData, match="sessions.csv"):
        fixed.get_session_table()


def test_fetching_may_be_forbidden(allen, tmp_path):
    cache = opened(allen, tmp_path, fetch_tries=0)
    with pytest.raises(MissingData, match="sessions.csv"):
        cache.get_session_table()
    with pytest.raises(MissingData):
        cache.get_session_data(SESSION)
    assert not allen.asked


def test_a_frozen_cache_refuses_what_changed(filled, allen):
    opened(allen, filled).freeze(release="2026-Q1")
    fixed = EcephysProjectCache.fixed(manifest=filled / "manifest.json", release="2026-Q1")
    assert fixed.get_session_data(SESSION).num_units
    with pytest.raises(ManifestMismatch, match="'2026-Q1'.*'2027'"):
        EcephysProjectCache.fixed(manifest=filled / "manifest.json", release="2027")
    damage(filled / SESSION_FILE)
    fixed = EcephysProjectCache.fixed(manifest=filled / "manifest.json")
    with pytest.raises(HashMismatch, match="expected md5"):
        fixed.get_session_data(SESSION)
    shutil.copy(filled / "units.csv", filled / "natural_movie_templates" / "natural_movie_1.h5")
    with pytest.raises(MissingData, match="is not pinned by the manifest"):
        fixed.get_natural_movie_template(1)
    opened(allen, filled).get_session_data(715000005)
    with pytest.raises(ManifestMismatch, match="ecephys_files"):
        EcephysProjectCache.fixed(manifest=filled / "manifest.json")


def test_a_folder_of_allensdk_can_be_frozen(filled, allen):
    as_allensdk_left_it(filled)
    opened(allen, filled).freeze()
    fixed = EcephysProjectCache.fixed(manifest=filled / "manifest.json")
    assert len(calls(fixed))
    damage(filled / SESSION_FILE)
    with pytest.raises(HashMismatch):
        EcephysProjectCache.fixed(manifest=filled / "manifest.json").get_session_data(SESSION)


def test_fixed_without_freezing_still_verifies_what_was_fetched_here(filled):
    damage(filled / SESSION_FILE)
    with pytest.raises(HashMismatch):
        EcephysProjectCache.fixed(manifest=filled / "manifest.json").get_session_data(SESSION)


def test_a_freeze_may_lie_elsewhere(filled, allen, tmp_path):
    cache = opened(allen, filled)
    cache.freeze(tmp_path / "paper")
    cache.get_natural_scene_template(14)
    options = {"manifest": filled / "manifest.json", "tables_dir": tmp_path / "paper"}
    fixed = EcephysProjectCache.fixed(**options)
    assert len(fixed.get_units())
    with pytest.raises(MissingData, match="natural_scene_14"):
        fixed.get_natural_scene_template(14)


def test_nothing_is_kept_when_nothing_is_to_be_kept(allen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cache = EcephysProjectCache.from_warehouse("http", allen.host, cache=False, silent=True)
    assert len(cache.get_session_table()) == 3
    assert cache.get_natural_scene_template(0).shape == (6, 8)
    assert cache.get_session_data(SESSION).num_probes == 2
    assert cache.get_cache_path(None, cache.UNITS_KEY) is None
    folder = cache.manifest.root
    assert folder.exists()
    del cache
    assert not folder.exists()
    assert not list(tmp_path.iterdir())


def test_what_was_read_is_recorded(filled, allen, tmp_path):
    cache = opened(allen, filled)
    with cache.one.recording() as record:
        calls(cache)
    entries = {entry.id: entry for entry in record}
    assert {f"ecephys_{name}" for name in TABLES} <= set(entries)
    assert entries[SESSION_FILE].kind == "file"
    assert len(entries[SESSION_FILE].hash) == 32
    assert entries[SESSION_FILE].source == f"http://{allen.host}"
    cache.one.save_record(tmp_path / "record.jsonl")
    assert "session_715000001.nwb" in (tmp_path / "record.jsonl").read_text()


def test_the_tables_answer_questions_in_sql(filled):
    cache = dead(filled)
    rows = cache.one.tables.rows(
        "SELECT s.sex, count(*) AS n FROM ecephys_probes p "
        "JOIN ecephys_sessions s ON s.id = p.ecephys_session_id GROUP BY 1 ORDER BY 1"
    )
    assert rows == [{"sex": "F", "n": 2}, {"sex": "M", "n": 4}]


# -- careless calls ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fetch_tries": -1}, "fetch_tries is a number of tries"),
        ({"fetch_tries": "2"}, "fetch_tries is a number of tries"),
        ({"timeout": 0}, "timeout is a number of seconds"),
        ({"timeout": "1"}, "timeout is a number of seconds"),
    ],
)
def test_limits_that_are_none_are_refused_at_once(allen, tmp_path, options, said):
    with pytest.raises(InvalidArgument, match=said):
        opened(allen, tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_a_host_is_a_name_and_a_manifest_is_a_file(allen, tmp_path):
    with pytest.raises(InvalidArgument, match=r"api\.brain-map\.org"):
        EcephysProjectCache.from_warehouse("http", f"http://{allen.host}", manifest=tmp_path / "m")
    with pytest.raises(ManifestError, match="is a folder; name the manifest in it"):
        EcephysProjectCache.from_warehouse("http", allen.host, manifest=tmp_path)


def test_one_column_may_be_suppressed_by_its_name(filled):
    cache = dead(filled)
    assert set(cache.get_session_table([])) - set(cache.get_session_table("sex")) == {"sex"}
    with pytest.raises(KeyError, match="'sex' is suppressed"):
        cache.get_all_sexes(suppress="sex")


def test_a_limit_is_a_number(filled):
    with pytest.raises(InvalidArgument, match="must be a number or None, got nan"):
        dead(filled).get_units(amplitude_cutoff_maximum=float("nan"))


def test_wrong_bins_stimuli_and_channels_are_named(filled):
    with dead(filled).get_session_data(SESSION) as session:
        ids, units = session.stimulus_presentations.index[:2], session.units.index[:1]
        for bins in ([], "abc", None, [[0, 1]], [0, float("nan")]):
            with pytest.raises(InvalidArgument, match="bin_edges"):
                session.presentationwise_spike_counts(bins, ids, units)
        with pytest.warns(
            CacheWarning, match="no stimulus 'flash' was shown. Did you mean 'flashes'"
        ):
            assert session.get_stimulus_table("flash").empty
        with pytest.raises(KeyError, match="7: not among the .* channels"):
            session.channel_structure_intervals([7])
