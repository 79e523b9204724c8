"""What several tests need: the sample lab, served, and settings of its own for each test."""

import shutil
import signal
from pathlib import Path

import pytest

from one_cache import ONE


def pytest_configure():
    """Let the processes that tests start be interrupted, also where this one runs in a background.

    A shell lets its background jobs ignore SIGINT, and children inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_settings(tmp_path_factory, monkeypatch):
    """No test reads or writes the settings of the person who runs it."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ONE_CACHE_CONFIG", str(home / "config"))
    monkeypatch.setenv("ONE_CACHE_DIR", str(home / "caches"))
    monkeypatch.setenv("ONE_CACHE_PROGRESS", "0")
    for name in ("ALYX_LOGIN", "ALYX_PWD", "ONE_CACHE_TOKEN", "ONE_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("ONE_REVISION_LAST_BEFORE", raising=False)
    ONE.cache_clear()


@pytest.fixture(scope="session")
def _lab(tmp_path_factory):
    from one_cache.sample import write_sample_lab

    folder = tmp_path_factory.mktemp("sample") / "lab"
    return folder, write_sample_lab(folder)


@pytest.fixture(scope="session")
def sample(_lab):
    """What the sample lab holds."""
    return _lab[1]


@pytest.fixture
def lab(_lab, tmp_path):
    """A copy of the sample lab that a test may change."""
    return Path(shutil.copytree(_lab[0], tmp_path / "lab"))


@pytest.fixture(scope="session")
def _server(_lab):
    from one_cache.serve import DataServer

    with DataServer(_lab[0]) as server:
        yield server


@pytest.fixture
def url(_server):
    """Address of a data server that serves the sample lab."""
    return _server.url
