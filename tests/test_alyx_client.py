import json
import logging
import os
import pickle
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from alyx_double import AlyxDouble

from one_cache import settings
from one_cache.errors import (
    CacheWarning,
    Forbidden,
    InvalidArgument,
    RemoteError,
    TransferFailed,
)
from one_cache.remotes import connect
from one_cache.remotes.alyx import AlyxClient, is_alyx
from one_cache.responses import ResponseCache
from one_cache.settings import Credentials

S1 = "cf3c1f52-1869-4341-b1b0-fc4fce30f60e"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def alyx():
    with AlyxDouble() as double:
        yield double


@pytest.fixture
def client(alyx):
    return AlyxClient(alyx.url, username="root", password="secret-of-root")


def one_file(home, alyx, **parameters):
    """Write what ONE-api keeps of a server."""
    path = home / ".one" / f".{settings.server_key(alyx.url)}"
    path.parent.mkdir()
    path.write_text(json.dumps({"ALYX_URL": alyx.url, **parameters}))


# -- who asks ----------------------------------------------------------------------------------


def test_nothing_is_asked_before_the_first_question(alyx):
    AlyxClient(alyx.url, username="root", password="secret-of-root")
    assert alyx.asked == []


def test_a_token_is_learned_once_and_kept_for_the_next_process(alyx, client):
    assert len(client.rest("labs")) == 2
    assert len(client.rest("tags")) == 3
    again = AlyxClient(alyx.url)
    assert again.username == "root"
    assert len(again.rest("revisions")) == 3
    assert alyx.paths("auth-token") == ["/auth-token"]
    saved = settings.saved_credentials(alyx.url)
    assert (saved.username, saved.token) == ("root", alyx.tokens["root"])


@pytest.mark.skipif(os.name != "posix", reason="file modes of POSIX")
def test_the_file_of_the_token_is_its_owners_alone_and_has_no_password(client):
    client.rest("labs")
    path = settings.config_folder() / "credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "secret-of-root" not in path.read_text()


def test_user_and_password_come_from_the_environment(alyx, monkeypatch):
    monkeypatch.setenv("ALYX_LOGIN", "intbrainlab")
    monkeypatch.setenv("ALYX_PWD", "secret-of-public")
    assert AlyxClient(alyx.url).rest("labs")
    assert settings.saved_credentials(alyx.url).username == "intbrainlab"


def test_arguments_win_over_the_environment_and_over_what_is_saved(alyx, client, monkeypatch):
    client.rest("labs")
    monkeypatch.setenv("ALYX_LOGIN", "root")
    monkeypatch.setenv("ALYX_PWD", "wrong")
    other = AlyxClient(alyx.url, username="intbrainlab", password="secret-of-public")
    other.rest("labs")
    assert alyx.paths("auth-token") == ["/auth-token"] * 2
    # the one who was here first stays the one who is meant without a name
    assert settings.saved_credentials(alyx.url).username == "root"


def test_the_token_of_one_user_is_never_sent_for_another(alyx, client, monkeypatch):
    client.rest("labs")
    monkeypatch.setenv("ALYX_LOGIN", "intbrainlab")
    with pytest.raises(Forbidden, match="wants a login"):
        AlyxClient(alyx.url).rest("tags")


def test_user_and_password_in_the_address_are_used_and_not_shown(alyx):
    address = alyx.url.replace("://", "://root:secret-of-root@")
    client = AlyxClient(address)
    assert client.name == alyx.url
    assert client.rest("labs")
    assert "secret" not in repr(client)


def test_a_token_is_used_as_it_is_given(alyx):
    assert AlyxClient(alyx.url, token=alyx.tokens["root"]).rest("labs")
    assert alyx.paths("auth-token") == []


def test_what_one_api_keeps_serves_as_a_last_resort(alyx, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    tokens = {"root": {"token": alyx.tokens["root"]}}
    one_file(tmp_path, alyx, ALYX_LOGIN="root", TOKEN=tokens)
    assert AlyxClient(alyx.url).rest("labs")
    assert AlyxClient(alyx.url, username="root").rest("tags")
    assert alyx.paths("auth-token") == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"TOKEN": 3}', '{"TOKEN": {"root": "x"}}'])
def test_what_one_api_left_half_written_is_no_hindrance(alyx, tmp_path, monkeypatch, text):
    monkeypatch.setenv("HOME", str(tmp_path))
    one_file(tmp_path, alyx)
    (tmp_path / ".one" / f".{settings.server_key(alyx.url)}").write_text(text)
    with pytest.raises(Forbidden, match="wants a login"):
        AlyxClient(alyx.url).rest("labs")


def test_a_wrong_password_is_one_clear_error(alyx):
    client = AlyxClient(alyx.url, username="root", password="wr0ng")
    with pytest.raises(Forbidden, match="'root'.*wrong user name or password") as caught:
        client.rest("labs")
    assert "wr0ng" not in str(caught.value)
    assert settings.saved_credentials(alyx.url) == Credentials()


def test_without_credentials_the_error_says_where_they_are_looked_for(alyx):
    with pytest.raises(Forbidden, match="ALYX_LOGIN.*credentials.json"):
        AlyxClient(alyx.url).rest("labs")


def test_a_token_that_became_invalid_is_renewed_once(alyx, client):
    client.rest("labs")
    alyx.revoke("root")
    assert client.rest("tags")
    assert alyx.paths("auth-token") == ["/auth-token"] * 2
    assert settings.saved_credentials(alyx.url).token == alyx.tokens["root"]


def test_a_saved_token_that_became_invalid_is_renewed_with_the_password(alyx, client):
    client.rest("labs")
    alyx.revoke("root")
    again = AlyxClient(alyx.url, username="root", password="secret-of-root")
    assert again.rest("labs")


def test_an_invalid_token_without_a_password_is_one_clear_error(alyx, client):
    client.rest("labs")
    alyx.revoke("root")
    with pytest.raises(Forbidden, match="refuses the token of user 'root'.*password"):
        AlyxClient(alyx.url).rest("labs")
    assert settings.saved_credentials(alyx.url).username == "root"


def test_a_server_that_never_accepts_the_token_is_asked_only_twice(alyx, client):
    alyx.fail("/labs", 403, {"detail": "Invalid token.", "status_code": 403}, times=99)
    with pytest.raises(Forbidden, match="Invalid token"):
        client.rest("labs")
    assert alyx.paths("/labs") == ["/labs"] * 2


def test_a_right_that_is_missing_is_told_in_the_servers_words(alyx, client):
    said = "You do not have permission to perform this action."
    alyx.fail("/labs", 403, {"detail": said, "status_code": 403})
    with pytest.raises(Forbidden, match="do not have permission"):
        client.rest("labs")
    assert alyx.paths("auth-token") == ["/auth-token"]


def test_many_threads_learn_one_token(alyx, client):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: client.rest("sessions", "list", number=n % 3), range(16)))
    assert len(found) == 16
    assert alyx.paths("auth-token") == ["/auth-token"]


def test_a_home_that_cannot_be_written_costs_only_the_keeping(alyx, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ONE_CACHE_CONFIG", str(tmp_path / "file" / "config"))
    client = AlyxClient(alyx.url, username="root", password="secret-of-root")
    assert client.rest("labs")


def test_no_secret_is_shown_logged_or_kept_with_the_answers(alyx, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    responses = ResponseCache(tmp_path / "responses")
    client = AlyxClient(alyx.url, username="root", password="secret-of-root", responses=responses)
    repositories = alyx.lab.tables["data-repository"]
    repositories[2]["json"] = {"aws_secret_access_key": "secret-of-aws"}
    client.rest("labs")
    client.rest("data-repository")
    alyx.fail("/tags", 500, {"detail": "oops"})
    with pytest.raises(RemoteError) as caught:
        client.rest("tags", "list", name="x")
    texts = [caplog.text, repr(client), repr(client._login), str(caught.value), repr(caught.value)]
    texts += [path.read_bytes().decode() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(texts) > 6
    for secret in [*alyx.secrets(), "secret-of-aws"]:
        assert not any(secret in text for text in texts)


def test_the_netrc_of_the_user_does_not_replace_the_token(alyx, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    client = AlyxClient(alyx.url, username="root", password="secret-of-root")
    assert client.rest("labs")


def test_a_login_is_never_redirected_to_another_server(alyx):
    with AlyxDouble() as thief:
        alyx.fail("/auth-token", 307, "", Location=f"{thief.url}/auth-token")
        client = AlyxClient(alyx.url, username="root", password="secret-of-root")
        with pytest.raises(RemoteError, match="at another address"):
            client.rest("labs")
        assert thief.asked == []


# -- rest --------------------------------------------------------------------------------------


def test_records_are_read_by_id_name_and_address(alyx, client):
    assert client.rest("sessions", "read", id=S1)["subject"] == "KS014"
    assert client.rest("sessions", "read", f"{alyx.url}/sessions/{S1}")["subject"] == "KS014"
    assert client.rest("revisions", "read", "2024-05-06")["description"].startswith("revision")
    assert client.rest("/subjects", "read", "ZFM-01577")["lab"] == "churchlandlab"


def test_a_list_takes_filters_an_id_and_a_query_in_its_name(client):
    assert len(client.rest("sessions", "list", subject="KS014")) == 3
    assert [one["id"] for one in client.rest("sessions", "list", id=S1)] == [S1]
    assert len(client.rest("sessions?lab=cortexlab", "list", number=2)) == 1
    joined = client.rest("sessions", "list", django=["subject__nickname", "KS014", "number", 1])
    assert len(joined) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"endpoint": "sesions"}, "did you mean 'sessions'"),
        ({"endpoint": "sessions", "subjct": "x"}, "unknown filter 'subjct'.*mean 'subject'"),
        ({"endpoint": "sessions", "foo": "x"}, "answer with everything"),
        ({"endpoint": "tags", "action": "create"}, "'list' or 'read'"),
        ({"endpoint": "tags", "action": "read"}, "takes its id"),
        ({"endpoint": "sessions", "id": "['x']"}, "not a UUID"),
    ],
)
def test_what_the_server_would_ignore_or_misread_is_refused_here(alyx, client, call, message):
    with pytest.raises(InvalidArgument, match=f"(?i){message}"):
        client.rest(**call)
    assert not alyx.paths("/sessions")


def test_filters_are_those_that_the_server_describes(alyx, client):
    alyx.schema["paths"]["/sessions"]["get"]["parameters"].append(
        {"in": "query", "name": "moon_phase"}
    )
    assert len(client.rest("sessions", "list", moon_phase="full")) == 8


def test_a_server_that_does_not_describe_itself_is_known_anyway(alyx, client):
    alyx.fail("/api/schema", 404, "nothing here", times=9)
    with pytest.raises(InvalidArgument, match="'subject'"):
        client.rest("sessions", "list", subjct="x")
    assert len(client.rest("sessions", "list", subject="KS01")) == 2


def test_the_description_is_asked_for_once_a_week(alyx, tmp_path):
    for _ in range(2):
        responses = ResponseCache(tmp_path)
        client = AlyxClient(
            alyx.url, username="root", password="secret-of-root", responses=responses
        )
        client.rest("labs")
        client.rest("tags")
    assert alyx.paths("/api/schema") == ["/api/schema"]


def test_pages_are_brought_when_they_are_needed(alyx, client):
    found = client.rest("datasets", "list", limit=20)
    assert len(found) == 88
    assert len(alyx.paths("/datasets")) == 1
    assert found[-1]["url"] > found[0]["url"]
    assert len(alyx.paths("/datasets")) == 2
    assert len({one["url"] for one in found}) == 88
    assert len(alyx.paths("/datasets")) == 5
    assert [one["url"] for one in found[18:22]] == [found[n]["url"] for n in range(18, 22)]
    assert found == client.rest("datasets", "list", limit=1000)
    with pytest.raises(IndexError):
        found[88]


def test_pages_come_from_the_address_that_was_asked(alyx, client):
    """Behind a proxy the server's own `next` names a host that nobody can reach."""
    first = client.get("/datasets", {"limit": "50"})
    body = {**first, "next": "http://inside.invalid/datasets?limit=50&offset=50"}
    alyx.fail("/datasets?limit=50", 200, body)
    found = client.pages("/datasets", {"limit": "50"}, no_cache=True)
    assert len([one["url"] for one in found]) == 88


def test_a_list_that_changes_while_it_is_read_is_told(alyx, client):
    found = client.rest("datasets", "list", limit=50)
    alyx.lab.datasets.popitem()
    with (
        pytest.warns(CacheWarning, match="88 records at first, 87 now"),
        pytest.raises(RemoteError, match="shrank"),
    ):
        list(found)


def test_a_record_that_a_join_gives_often_is_there_once(client):
    assert len(client.get("/sessions", {"dataset_qc_lte": "PASS"})["results"]) == 84
    assert len(client.every("/sessions", {"dataset_qc_lte": "PASS"})) == 7


def test_many_ids_are_asked_for_in_lines_that_every_server_takes(alyx, client):
    ids = [*alyx.lab.datasets, *alyx.lab.sessions]
    assert len(client.by_ids("/datasets", ids * 2)) == 88
    asked = [line for line in alyx.asked if "/datasets" in line]
    assert len(asked) == 2
    assert max(map(len, asked)) < 4000


# -- kept answers --------------------------------------------------------------------------------


def test_an_answer_serves_for_minutes_and_no_cache_asks_again(alyx, client):
    client.rest("tags")
    alyx.lab.tables["tags"].pop()
    assert len(client.rest("tags")) == 3
    assert len(client.rest("tags", no_cache=True)) == 2
    assert len(client.rest("tags")) == 2


def test_another_user_is_never_given_what_the_first_one_saw(alyx, tmp_path):
    for user in ("root", "intbrainlab"):
        client = AlyxClient(
            alyx.url,
            username=user,
            password=alyx.users[user],
            responses=ResponseCache(tmp_path),
        )
        client.rest("users")
    invalid = AlyxClient(alyx.url, token="f" * 40, responses=ResponseCache(tmp_path))
    with pytest.raises(Forbidden):
        invalid.rest("users")
    assert len(alyx.paths("/users")) == 3


def test_another_server_in_the_same_folder_has_answers_of_its_own(alyx, tmp_path):
    with AlyxDouble() as other:
        other.lab.tables["tags"].pop()
        found = [
            AlyxClient(
                double.url,
                username="root",
                password="secret-of-root",
                responses=ResponseCache(tmp_path),
            ).rest("tags")
            for double in (alyx, other)
        ]
    assert [len(one) for one in found] == [3, 2]


def make_old(folder, seconds):
    """Let all answers in a folder be that old."""
    for path in folder.rglob("*"):
        if path.is_file():
            line, _, body = path.read_bytes().partition(b"\n")
            about = {**json.loads(line), "stored": time.time() - seconds}
            path.write_bytes(json.dumps(about).encode() + b"\n" + body)


def test_a_server_that_is_away_leaves_what_it_said(alyx, tmp_path):
    responses = ResponseCache(tmp_path)
    client = AlyxClient(alyx.url, username="root", password="secret-of-root", responses=responses)
    expected = client.rest("tags")
    with alyx.away():
        assert client.rest("tags") == expected
        make_old(tmp_path, 7200)
        later = AlyxClient(alyx.url, responses=ResponseCache(tmp_path))
        with pytest.warns(CacheWarning, match="is away; its answer of 2 hours ago"):
            assert later.rest("tags") == expected
        with pytest.raises(TransferFailed, match="cannot be reached"):
            later.rest("labs")
        with pytest.raises(TransferFailed, match="cannot be reached"):
            later.rest("tags", no_cache=True)
    assert later.rest("labs")


def test_a_server_that_is_away_and_never_knew_us_is_one_clear_error(alyx):
    with alyx.away():
        client = AlyxClient(alyx.url, username="root", password="secret-of-root")
        with pytest.raises(TransferFailed, match=f"{alyx.url} cannot be reached") as caught:
            client.rest("labs")
    assert caught.value.__cause__ is None


# -- failure -------------------------------------------------------------------------------------


def test_a_busy_server_is_waited_for_as_it_says(alyx, client):
    client.rest("labs")
    alyx.fail("/tags", 429, {"detail": "Request was throttled."}, times=1, Retry_After="1")
    began = time.monotonic()
    assert client.rest("tags")
    assert 1.0 <= time.monotonic() - began < 4.0


def test_a_server_that_wants_an_hour_is_not_waited_for(alyx, client):
    client.rest("labs")
    alyx.fail("/tags", 429, times=9, Retry_After="4000")
    with pytest.raises(TransferFailed, match="come back in 4000 s") as caught:
        client.rest("tags")
    assert caught.value.retry_after == 4000


def test_a_server_that_is_unwell_for_a_moment_is_asked_again(alyx, client):
    client.rest("labs")
    alyx.fail("/tags", 503)
    assert client.rest("tags")


def test_a_server_that_stays_unwell_is_reported_or_its_old_answer_used(alyx, client):
    client.rest("tags")
    alyx.fail("/labs", 502, times=99)
    with pytest.raises(TransferFailed, match="502 to /labs, 3 times"):
        client.rest("labs")


def test_a_dropped_connection_is_tried_once_more(alyx, client):
    client.rest("labs")
    alyx.fail("/tags")
    assert client.rest("tags")
    alyx.fail("/revisions", times=9)
    with pytest.raises(TransferFailed):
        client.rest("revisions")


def test_an_answer_that_is_cut_is_never_taken_for_one(alyx, client):
    client.rest("labs")
    alyx.fail("/tags", 200, {"count": 0, "results": []}, cut=True)
    assert len(client.rest("tags")) == 3
    alyx.fail("/revisions", 200, {"count": 0, "results": []}, cut=True, times=9)
    with pytest.raises(TransferFailed):
        client.rest("revisions")


def test_an_error_of_the_server_is_shown_in_its_words(client):
    with pytest.raises(RemoteError, match="Cannot resolve keyword 'nosuchfield'") as caught:
        client.rest("sessions", "list", django="nosuchfield,1")
    assert caught.value.status == 500
    with pytest.raises(RemoteError, match="FOO is not a valid QC"):
        client.rest("sessions", "list", dataset_qc_lte="FOO")
    with pytest.raises(RemoteError, match="Enter a number") as caught:
        client.rest("sessions", "list", number=[1, 2])
    assert caught.value.status == 400


def test_what_does_not_exist_is_told_with_its_status(client):
    with pytest.raises(RemoteError, match="No Session matches") as caught:
        client.rest("sessions", "read", UNKNOWN)
    assert caught.value.status == 404
    assert client.read(f"/sessions/{UNKNOWN}") is None


def test_an_old_answer_does_not_hide_an_error_of_the_server(alyx, tmp_path):
    client = AlyxClient(
        alyx.url, username="root", password="secret-of-root", responses=ResponseCache(tmp_path)
    )
    client.rest("tags")
    make_old(tmp_path, 7200)
    alyx.fail("/tags", 500, {"detail": "database is down", "status_code": 500})
    with pytest.raises(RemoteError, match="database is down"):
        client.rest("tags")


def test_a_page_in_the_place_of_an_answer_is_told(alyx, client):
    client.rest("labs")
    alyx.fail("/tags", 200, "<html>please log in</html>")
    with pytest.raises(RemoteError, match="not JSON.*login page"):
        client.rest("tags")


# -- which server is it --------------------------------------------------------------------------


def test_an_alyx_server_is_told_from_others_by_one_request(alyx, url):
    assert is_alyx(alyx.url)
    assert alyx.asked == ["GET /sessions?limit=1"]
    assert not is_alyx(alyx.data_url)
    assert not is_alyx(url)
    with alyx.away(), pytest.raises(TransferFailed):
        is_alyx(alyx.url)


def test_an_address_finds_out_what_answers_there(alyx, url):
    remote = connect(alyx.url, username="root", password="secret-of-root")
    assert (remote.name, alyx.asked) == (alyx.url, [])
    assert remote.tables() == ()
    assert [one.name for one in connect(url).tables()] == ["datasets", "sessions"]


def test_what_answered_at_an_address_is_remembered_when_nothing_does(alyx, tmp_path):
    first = connect(alyx.url, username="root", password="secret-of-root")
    first.responses = ResponseCache(tmp_path)
    assert first.tables() == ()
    with alyx.away():
        later = connect(alyx.url)
        later.responses = ResponseCache(tmp_path)
        assert later.tables() == ()
        with pytest.raises(TransferFailed):
            connect(alyx.url).tables()


def test_a_copy_in_another_process_asks_the_same(alyx, client):
    remote = connect(alyx.url, username="root", password="secret-of-root")
    assert len(remote.resolve().client.rest("labs")) == 2
    copy = pickle.loads(pickle.dumps(remote))
    assert len(copy.resolve().client.rest("tags")) == 3
    assert "secret" not in repr(copy)
    assert len(pickle.loads(pickle.dumps(client)).rest("tags")) == 3


@pytest.mark.parametrize("address", ["ftp://alyx.org", "alyx.org", "http://"])
def test_only_web_addresses_are_taken(address):
    with pytest.raises(InvalidArgument, match="http"):
        AlyxClient(address)
