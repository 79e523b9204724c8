import json
import stat

import pytest

from one_cache import settings
from one_cache.errors import InvalidArgument, StoreError
from one_cache.settings import Credentials

URL = "https://alyx.lab.org"


@pytest.fixture(autouse=True)
def _own_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("ONE_CACHE_CONFIG", str(tmp_path / "config"))
    for name in ("ALYX_LOGIN", "ALYX_PWD", "ONE_CACHE_TOKEN", "ONE_BASE_URL", "ONE_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_saved_credentials_are_readable_by_their_owner_only(tmp_path):
    path = settings.save_credentials(URL, Credentials("ana", token="t0ken"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert settings.credentials(URL) == Credentials("ana", token="t0ken")


def test_a_credentials_file_that_others_can_read_is_refused():
    path = settings.save_credentials(URL, Credentials("ana", token="t0ken"))
    path.chmod(0o644)
    with pytest.raises(StoreError, match="chmod 600") as caught:
        settings.credentials(URL)
    assert "t0ken" not in str(caught.value)


def test_arguments_win_over_environment_and_environment_over_file(monkeypatch):
    settings.save_credentials(URL, Credentials("ana", "filed"))
    monkeypatch.setenv("ALYX_PWD", "environment")
    assert settings.credentials(URL).password == "environment"
    assert settings.credentials(URL, password="argument").password == "argument"


def test_a_token_of_one_user_is_never_given_to_another():
    settings.save_credentials(URL, Credentials("ana", token="t0ken"))
    assert settings.credentials(URL, username="ben").token is None


def test_credentials_of_one_server_are_not_those_of_another():
    settings.save_credentials(URL, Credentials("ana", token="t0ken"))
    assert settings.credentials("https://other.org") == Credentials()


def test_secrets_are_not_in_a_repr():
    text = repr(Credentials("ana", "secret", "t0ken"))
    assert "secret" not in text
    assert "t0ken" not in text


def test_the_first_server_becomes_the_default_and_stays_it():
    assert settings.default_url() is None
    settings.remember_url(URL)
    settings.remember_url("https://other.org")
    assert settings.default_url() == URL


def test_the_environment_names_the_default_server(monkeypatch):
    monkeypatch.setenv("ONE_BASE_URL", "https://else.org")
    assert settings.default_url() == "https://else.org"


def test_a_home_that_cannot_be_written_stops_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("ONE_CACHE_CONFIG", str(tmp_path / "file" / "config"))
    settings.remember_url(URL)
    assert settings.default_url() is None


def test_broken_settings_are_named_not_destroyed(tmp_path):
    path = tmp_path / "config" / "settings.json"
    path.parent.mkdir()
    path.write_text("{half")
    with pytest.raises(StoreError, match=r"settings\.json is not JSON"):
        settings.default_url()
    assert path.read_text() == "{half"


def test_each_server_has_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("ONE_CACHE_DIR", str(tmp_path))
    folders = {
        settings.default_cache_dir(url)
        for url in (None, "http://a.org", "http://a.org:81", "https://b.org/x/..")
    }
    assert len(folders) == 4
    assert all(folder.parent == tmp_path for folder in folders)


def test_what_is_no_address_is_refused():
    with pytest.raises(InvalidArgument, match="no address"):
        settings.server_key("https://")


def test_nothing_else_of_the_settings_is_lost(tmp_path):
    path = tmp_path / "config" / "settings.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"theme": "dark"}))
    settings.remember_url(URL)
    assert json.loads(path.read_text()) == {"theme": "dark", "default_url": URL}
