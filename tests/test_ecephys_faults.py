"""Servers, disks and processes that fail; other sources; many at once."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from allen_double import AllenDouble
from allen_fixtures import (  # noqa: F401
    NO_NWB,
    SESSION,
    SESSION_FILE,
    TABLES,
    allen_project,
    allen_server,
    as_allensdk_left_it,
    calls,
    dead,
    filled_folder,
    filled_once,
    opened,
)
from allen_project import make_project

from one_cache.ecephys import (
    EcephysProjectCache,
    MissingData,
    NotInSession,
    Warehouse,
    read_csv,
    write_from_stream,
)
from one_cache.errors import (
    ContentError,
    HashMismatch,
    InvalidArgument,
    RemoteError,
    SessionNotFound,
    StoreError,
    TransferFailed,
)

# -- faults of the server ---------------------------------------------------------------------


def test_small_pages_are_asked_for_side_by_side(project, tmp_path):
    with AllenDouble(project, most=7) as allen:
        table = opened(allen, tmp_path).get_session_table()
        assert table.unit_count.sum() == 20
        # 72 units and 60 channels; what is asked a second time is asked with a number
        assert allen.counts()["EcephysUnit"] == 12
    with AllenDouble(project) as allen:
        pd.testing.assert_frame_equal(opened(allen, tmp_path / "all").get_session_table(), table)


def test_a_server_that_does_not_know_all_is_asked_with_a_number(project):
    with AllenDouble(project, knows_all=False) as allen:
        assert len(Warehouse.default("http", allen.host).get_units()) == 72
        # the usual 50, then all
        assert allen.counts()["EcephysUnit"] == 2


FAULTS = {
    "stall": (TransferFailed, "stalled"),
    "cut": (TransferFailed, "ends|closed|cut"),
    "cut, no length": (RemoteError, "says how long|no JSON"),
    "no json": (RemoteError, "no JSON"),
    "no rows": (RemoteError, "no row"),
    "fewer": (RemoteError, "rows"),
    "twice": (RemoteError, "rows twice"),
    "refused": (RemoteError, "synthetic failure"),
    "miscounted": (RemoteError, "says num_rows"),
    "page": (RemoteError, "HTML page"),
    "reset": (TransferFailed, "127.0.0.1"),
    500: (TransferFailed, "500"),
    503: (TransferFailed, "503"),
    404: (FileNotFoundError, "404"),
    403: (PermissionError, "403"),
}


@pytest.mark.parametrize("how", FAULTS, ids=str)
def test_a_bad_answer_about_a_table_is_a_clear_error(allen, how):
    allen.fail("EcephysUnit", how, times=99, after=40)
    kind, said = FAULTS[how]
    with pytest.raises(kind, match=said):
        Warehouse.default("http", allen.host, timeout=0.6, tries=1).get_units()
    if kind in (TransferFailed, RemoteError) and how != "twice":
        allen.heal()
        allen.fail("EcephysUnit", how, times=1, after=40)
        assert len(Warehouse.default("http", allen.host, timeout=0.6).get_units()) == 72


def test_a_table_that_cannot_be_fetched_leaves_nothing_and_the_others_stay(allen, tmp_path):
    allen.fail("EcephysUnit", "no json", times=99)
    with pytest.raises(RemoteError, match="no JSON"):
        opened(allen, tmp_path, fetch_tries=1).get_session_table()
    assert not (tmp_path / "units.csv").exists()
    assert {path.stem for path in tmp_path.glob("*.csv")} == {"sessions", "probes", "channels"}
    allen.heal()
    assert len(opened(allen, tmp_path).get_session_table()) == 3
    counts = allen.counts()
    assert (counts["EcephysUnit"], counts["EcephysChannel"]) == (2, 1)


def test_a_table_that_changes_between_pages_is_an_error(project):
    with AllenDouble(project, most=20) as allen:
        allen.fail("start_row$eq40", "other total", times=9)
        with pytest.raises(RemoteError, match="has .* rows, where it had"):
            Warehouse.default("http", allen.host, tries=1).get_units()


FILE_FAULTS = {
    "stall": (TransferFailed, "stalled"),
    "cut": (TransferFailed, "cut|ends|closed"),
    "cut, no length": ((RemoteError, TransferFailed), "says how long"),
    "wrong": (TransferFailed, "something else"),
    "page": (TransferFailed, "HTML page"),
    "reset": (TransferFailed, "127.0.0.1"),
    500: (TransferFailed, "500"),
    404: (FileNotFoundError, "404"),
}


@pytest.mark.parametrize("how", FILE_FAULTS, ids=str)
def test_a_bad_file_is_a_clear_error_and_leaves_nothing(allen, tmp_path, how):
    allen.fail("file_download", how, times=99, after=5000)
    kind, said = FILE_FAULTS[how]
    with pytest.raises(kind, match=said):
        opened(allen, tmp_path, timeout=0.6, fetch_tries=1).get_session_data(SESSION)
    assert not list(tmp_path.rglob("*.nwb"))
    allen.heal()
    assert opened(allen, tmp_path).get_session_data(SESSION).num_units == 8


@pytest.mark.parametrize("how", ["cut", "wrong", "page", 500], ids=str)
def test_a_bad_file_is_asked_for_again(allen, tmp_path, how):
    allen.fail("file_download", how, times=1, after=5000)
    assert opened(allen, tmp_path).get_session_data(SESSION).num_units == 8


def test_a_file_that_comes_whole_and_cannot_be_read_is_not_kept(tmp_path):
    project = make_project()
    scene, nwb = 0, project.file_of("EcephysNwb", SESSION)
    damaged = {
        one["id"]: project.contents[one["id"]]
        for one in project.files
        if one["path"] == f"/scenes/{scene}.tiff" or one["id"] == nwb
    }
    project.contents |= {id_: good[:8] + bytes(len(good) - 8) for id_, good in damaged.items()}
    with AllenDouble(project) as allen:
        cache = opened(allen, tmp_path)
        with pytest.raises(ContentError, match="nothing is kept"):
            cache.get_natural_scene_template(scene)
        with pytest.raises(ContentError, match="nothing is kept"):
            cache.get_session_data(SESSION)
        assert not [path for path in tmp_path.rglob("*.*") if path.suffix in (".tiff", ".nwb")]
        project.contents |= damaged
        assert cache.get_natural_scene_template(scene).shape == (6, 8)
        with cache.get_session_data(SESSION) as session:
            assert session.num_units


def test_ids_that_a_session_has_not_are_named(filled):
    with dead(filled).get_session_data(SESSION) as session:
        known = session.units.index[:1]
        with pytest.raises(NotInSession, match=r"7: not among the \d+ units"):
            session.presentationwise_spike_counts([0, 0.1], [3], [*known, 7])
        with pytest.raises(KeyError, match=r"901, 902, 903, \.\.\.: not among"):
            session.presentationwise_spike_times([901, 902, 903, 904], known)


def test_another_file_than_the_one_that_was_recorded_is_refused(filled, allen):
    (filled / SESSION_FILE).unlink()
    allen.fail("file_download", "flipped", times=99)
    with pytest.raises(HashMismatch, match="expected md5"):
        opened(allen, filled).get_session_data(SESSION)
    assert not (filled / SESSION_FILE).exists()


def test_sessions_that_are_unknown_or_have_no_file_are_named(allen, tmp_path):
    cache = opened(allen, tmp_path)
    for id_ in (1, NO_NWB):
        with pytest.raises(
            SessionNotFound, match=f"expected exactly 1 nwb file for session {id_}"
        ):
            cache.get_session_data(id_)
    with pytest.raises(KeyError, match="no analysis metrics"):
        cache.get_unit_analysis_metrics_for_session(1)
    with pytest.raises(ValueError, match=r"number 9, found 0; there are: 1, 3"):
        cache.get_natural_movie_template(9)
    assert not list(tmp_path.rglob("*.nwb"))


def test_a_type_of_sessions_never_leads_out_of_the_folder(allen, tmp_path):
    cache = opened(allen, tmp_path)
    with pytest.raises(InvalidArgument, match="unrecognized session type"):
        cache.get_unit_analysis_metrics_by_session_type("../../x")


def test_a_disk_that_is_full_is_a_clear_error(allen, tmp_path):
    code = f"""
import resource, signal, sys
from one_cache.ecephys import EcephysProjectCache
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
cache = EcephysProjectCache.from_warehouse(
    "http", {allen.host!r}, manifest={str(tmp_path / "manifest.json")!r}, silent=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    cache.get_session_data({SESSION})
except OSError as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("StoreError"), done.stderr
    assert not list(tmp_path.rglob("*.nwb"))
    assert opened(allen, tmp_path).get_session_data(SESSION).num_units == 8


@pytest.fixture
def read_only(filled, tmp_path):
    """A disk that cannot be written, with a folder of AllenSDK on it."""
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("only root can mount a disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", disk]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    shutil.copytree(as_allensdk_left_it(filled), disk / "allen")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    yield disk / "allen"
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_folder_that_cannot_be_written_serves_what_it_holds(read_only, allen):
    cache = opened(allen, read_only)
    assert len(calls(cache))
    assert len(calls(EcephysProjectCache.fixed(manifest=read_only / "manifest.json")))
    with pytest.raises(StoreError, match="Read-only"):
        cache.get_natural_movie_template(1)
    with pytest.raises(StoreError, match="Read-only"):
        cache.get_unit_analysis_metrics_for_session(715000005)
    with pytest.raises(StoreError, match=r"other/manifest.json: cannot be written"):
        opened(allen, read_only / "other")


# -- other sources ----------------------------------------------------------------------------


class Source:
    """An interface of somebody's own, as AllenSDK's constructor takes it."""

    def __init__(self, project, frames):
        self.project, self.frames, self.asked, self.broken = project, frames, [], 0

    def __getattr__(self, name):
        if not name.startswith("get_"):
            raise AttributeError(name)

        def answer(*args, **kwargs):
            self.asked.append(name)
            if name in self.frames:
                return self.frames[name]
            content = self.project.contents[self.project.file_of("EcephysNwb", args[0])]
            if self.broken:
                self.broken -= 1
                return self._broken(content)
            return [content[:1000], content[1000:]]

        return answer

    def _broken(self, content):
        yield content[:1000]
        raise ConnectionError("cut")


@pytest.fixture
def source(project, filled):
    frames = {f"get_{name}": read_csv(filled / f"{name}.csv") for name in TABLES}
    return Source(project, frames)


def test_another_source_may_give_frames_and_bytes(source, tmp_path):
    written = []

    def writer(path, stream):
        written.append(path)
        write_from_stream(path, stream)

    cache = EcephysProjectCache(source, 2, writer, manifest=tmp_path / "m.json", silent=True)
    assert len(cache.get_session_table()) == 3
    cache.get_session_data(SESSION).close()
    cache.get_session_data(SESSION).close()
    assert source.asked.count("get_session_data") == len(written) == 1
    assert not Path(written[0]).exists()
    plain = EcephysProjectCache(fetch_api=source, manifest=tmp_path / "b" / "m.json", silent=True)
    assert plain.get_session_data(SESSION).num_units == 8


def test_bytes_that_break_off_are_asked_for_again(source, tmp_path):
    source.broken = 1
    cache = EcephysProjectCache(source, manifest=tmp_path / "m.json", silent=True)
    assert cache.get_session_data(SESSION).num_units == 8
    source.broken = 9
    cache = EcephysProjectCache(source, manifest=tmp_path / "b" / "m.json", silent=True)
    with pytest.raises(ConnectionError):
        cache.get_session_data(SESSION)
    assert not list((tmp_path / "b").rglob("*.nwb"))


# -- many at once -----------------------------------------------------------------------------


def run_many(count, allen, folder):
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from one_cache.ecephys import EcephysProjectCache
cache = EcephysProjectCache.from_warehouse(
    "http", {allen.host!r}, manifest={str(folder / "manifest.json")!r}, silent=True)
table = cache.get_session_table()
with cache.get_session_data({SESSION}) as session:
    print(table.unit_count.sum(), table.channel_count.sum(), session.num_units,
          cache.get_natural_movie_template(1).sum())
"""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    return [process.communicate() for process in started]


def test_many_processes_on_a_fresh_folder_fetch_everything_once(allen, tmp_path):
    answers = run_many(int(os.environ.get("ONE_CACHE_TEST_PROCESSES", "6")), allen, tmp_path)
    assert not [error for _, error in answers if error]
    assert len({out for out, _ in answers}) == 1
    assert answers[0][0].startswith("20 60 8 ")
    counts = allen.counts()
    assert counts["file"] == 2
    assert {counts[f"Ecephys{name}"] for name in ("Session", "Probe", "Channel", "Unit")} == {1}


def test_threads_of_one_object_fetch_everything_once(allen, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    cache = opened(allen, tmp_path)
    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(lambda _: cache.get_units(), range(8)))
        units = list(pool.map(lambda _: cache.get_session_data(SESSION).num_units, range(8)))
    assert len({len(table) for table in tables}) == len(set(units)) == 1
    assert allen.counts()["EcephysUnit"] == allen.counts()["file"] == 1


def test_a_killed_download_leaves_nothing_that_is_trusted(allen, project, tmp_path):
    allen.fail("file_download", "stall", times=1, after=50_000)
    code = f"""
from one_cache.ecephys import EcephysProjectCache
EcephysProjectCache.from_warehouse(
    "http", {allen.host!r}, manifest={str(tmp_path / "manifest.json")!r}, silent=True
).get_session_data({SESSION})
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    for _ in range(400):
        if list(tmp_path.rglob("*.part")):
            break
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (tmp_path / SESSION_FILE).exists()
    with pytest.raises(MissingData):
        dead(tmp_path, mode="local").get_session_data(SESSION)
    assert opened(allen, tmp_path).get_session_data(SESSION).num_units == 8
    content = project.contents[project.file_of("EcephysNwb", SESSION)]
    assert (tmp_path / SESSION_FILE).read_bytes() == content


def test_caches_and_sessions_travel_to_other_processes(filled, allen):
    import pickle

    cache = opened(allen, filled)
    cache.get_session_table()
    session = cache.get_session_data(SESSION)
    units = session.units
    again = pickle.loads(pickle.dumps(cache))
    pd.testing.assert_frame_equal(again.get_session_table(), cache.get_session_table())
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(session)).units, units)
