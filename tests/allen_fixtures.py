"""What the tests of the Allen door share."""

import shutil
from pathlib import Path

import pytest
from allen_double import AllenDouble
from allen_expected import running_stub
from allen_project import make_project

from one_cache.ecephys import EcephysProjectCache

SESSION, PROBE, NO_NWB = 715000001, 729000001, 715000009
SESSION_FILE = f"session_{SESSION}/session_{SESSION}.nwb"
TABLES = ("sessions", "probes", "channels", "units")


@pytest.fixture(name="project", scope="module")
def allen_project():
    return make_project()


@pytest.fixture(name="allen")
def allen_server(project):
    with AllenDouble(project) as double:
        yield double


@pytest.fixture(name="allen_stub", scope="module")
def reference_stub(tmp_path_factory):
    """Host of the stand-in that the reference outputs were made with."""
    with running_stub(tmp_path_factory.mktemp("stub")) as host:
        yield host


def opened(allen, folder, **options):
    return EcephysProjectCache.from_warehouse(
        "http", allen.host, manifest=Path(folder, "manifest.json"), silent=True, **options
    )


@pytest.fixture(name="_filled", scope="module")
def filled_once(project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("filled")
    with AllenDouble(project) as double:
        cache = opened(double, folder)
        cache.get_session_table()
        cache.get_unit_analysis_metrics_for_session(SESSION)
        cache.get_unit_analysis_metrics_by_session_type("brain_observatory_1.1")
        with cache.get_session_data(SESSION) as session:
            session.get_lfp(PROBE)
        cache.get_natural_movie_template(3)
    return folder


@pytest.fixture(name="filled")
def filled_folder(_filled, tmp_path):
    """A folder that holds the tables, metrics of a session, its NWB file, one LFP, a movie."""
    return shutil.copytree(_filled, tmp_path / "allen")


def as_allensdk_left_it(folder):
    """Remove what AllenSDK would not have written."""
    for name in ("one_cache", ".one_cache"):
        shutil.rmtree(folder / name)
    return folder


def everything(folder):
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
    }


def damage(path, how="flip"):
    data = path.read_bytes()
    new = {"flip": data[:-2] + bytes([data[-2] ^ 1]) + data[-1:], "cut": data[: len(data) // 2]}
    path.unlink()
    path.write_bytes(new.get(how, b"<html>error 500</html>" * 40))


def dead(folder, **options):
    """Open a folder whose server does not answer."""
    return EcephysProjectCache.from_warehouse(
        "http",
        "127.0.0.1:9",
        manifest=Path(folder, "manifest.json"),
        fetch_tries=1,
        silent=True,
        **options,
    )


def calls(cache):
    cache.get_session_table()
    cache.get_units(filter_by_validity=False)
    cache.get_unit_analysis_metrics_for_session(SESSION)
    cache.get_unit_analysis_metrics_by_session_type("brain_observatory_1.1")
    cache.get_natural_movie_template(3)
    with cache.get_session_data(SESSION) as session:
        session.get_lfp(PROBE)
        return session.units
