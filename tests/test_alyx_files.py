"""Bytes of an Alyx database: the contract of remotes, and whose credentials go where."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from alyx_double import AlyxDouble, DataHandler
from test_remotes import fill

from one_cache import settings
from one_cache.errors import Forbidden, NotOnRemote, PathEscapes, TransferFailed
from one_cache.records import File
from one_cache.remotes import Question
from one_cache.remotes.alyx import AlyxRemote
from one_cache.remotes.alyx.servers import encoded, with_uuid
from one_cache.serve import DataServer
from one_cache.settings import Credentials
from one_cache.testing import RemoteContract, read

S1 = "cf3c1f52-1869-4341-b1b0-fc4fce30f60e"
S3 = "f974e06f-681c-4141-af80-46f2d3f1d67f"
S6 = "c93a1a84-dba9-47e2-bc03-761967b6d51c"
ROOT = {"username": "root", "password": "secret-of-root"}
DATA = {"data_username": "datauser", "data_password": "secret-of-data"}


class TestAlyxRemote(RemoteContract):
    """A database with one data server, whose root is that of the cache."""

    secrets = ("secret-of-root", "pa55:w0rd")

    @pytest.fixture
    def place(self, tmp_path):
        folder = tmp_path / "files"
        folder.mkdir()
        with (
            AlyxDouble() as alyx,
            DataServer(folder, username="me", password="pa55:w0rd") as server,
        ):
            repository = alyx.lab.tables["data-repository"][-1]
            alyx.lab.tables["data-repository"] = [{**repository, "data_url": f"{server.url}/"}]
            settings.save_credentials(server.url, Credentials("me", "pa55:w0rd"))

            def put(files):
                fill(folder, files)
                return AlyxRemote(alyx.url, **ROOT)

            yield put

    # a database carries no whole tables: what the contract says of listings does not apply

    def test_it_lists_the_tables_of_its_root(self, place):
        assert place({"sessions.pqt": b"S", "datasets.pqt": b"D"}).tables() == ()

    def test_a_fingerprint_changes_with_its_table_alone(self, place):
        assert place({"sessions.pqt": b"one"}).tables() == ()

    def test_a_copy_in_another_process_reads_the_same(self, place):
        remote = place({"sessions.pqt": b"table"})
        for copy in (pickle.loads(pickle.dumps(remote)), remote):
            assert read(copy, "sessions.pqt") == b"table"
            assert copy.name == remote.name
        assert read(pickle.loads(pickle.dumps(remote)), "sessions.pqt") == b"table"


@pytest.fixture
def alyx():
    with AlyxDouble() as double:
        yield double


@pytest.fixture
def remote(alyx):
    return AlyxRemote(alyx.url, **ROOT, **DATA)


def files_of(remote, eid, **terms):
    """Give the files of a session as a cache asks for them."""
    (session,) = remote.records(Question("sessions", {"id": [eid]}))
    day, number = session["date"], session["number"]
    head = f"{session['lab']}/Subjects/{session['subject']}/{day}/{number:03d}"
    rows = remote.records(Question("datasets", {"eid": eid, **terms}))
    return {
        row["rel_path"]: File(
            f"{head}/{row['rel_path']}",
            row["file_size"],
            row["hash"],
            url=row["extra"]["data_url"],
            id=row["id"],
        )
        for row in rows
    }


def content(remote, file):
    with remote.open(file) as body:
        return b"".join(body.chunks)


def served(alyx, file):
    (found,) = (data for path, data in alyx.lab.files.items() if file.id in path)
    return found


@pytest.mark.parametrize("eid", [S1, S6])
def test_each_file_of_a_session_arrives(alyx, remote, eid):
    files = files_of(remote, eid)
    assert len(files) > 20
    for file in files.values():
        assert content(remote, file) == served(alyx, file)


def test_a_file_is_found_without_its_address_as_tables_have_none(alyx, remote):
    for rel_path, file in files_of(remote, S6).items():
        bare = File(file.path, file.size, file.hash, id=file.id)
        assert content(remote, bare) == served(alyx, file), rel_path
    assert alyx.paths("/datasets/") == []


def test_an_aggregate_is_found_with_and_without_its_address(alyx, remote):
    (row,) = remote.records(Question("aggregates", {}))
    for url in (row["extra"]["data_url"], None):
        file = File(row["rel_path"], url=url, id=row["id"])
        assert content(remote, file) == served(alyx, file)


def test_a_root_that_is_named_otherwise_is_asked_of_the_record(alyx, remote):
    file = files_of(remote, S1, name="licks.times.npy")["alf/licks.times.npy"]
    expected = served(alyx, file)
    for one in alyx.lab.tables["data-repository"]:
        if one["data_url"]:
            one["data_url"] = one["data_url"].replace("Subjects", "rigs")
            one["globus_path"] = "/elsewhere/"
    alyx.lab.files = {path.replace("Subjects", "rigs"): x for path, x in alyx.lab.files.items()}
    bare = File(file.path, id=file.id)
    assert content(AlyxRemote(alyx.url, **ROOT, **DATA), bare) == expected


def test_a_part_of_a_file_is_continued(alyx, remote):
    file = files_of(remote, S1)["alf/licks.times.npy"]
    with remote.open(file) as body:
        whole, validator = b"".join(body.chunks), body.validator
    with remote.open(file, 100, validator) as body:
        assert (body.start, b"".join(body.chunks)) == (100, whole[100:])


def test_what_is_missing_at_its_address_is_told_with_it(remote):
    file = files_of(remote, S3)["alf/_ibl_bodyCamera.times.npy"]
    with pytest.raises(NotOnRemote, match=r"bodyCamera.*404.*names http.*c2f5566a") as caught:
        content(remote, file)
    assert "secret" not in str(caught.value)


def test_what_is_on_no_server_is_told_so(alyx, remote):
    file = files_of(remote, S3)["alf/eye.times.npy"]
    with pytest.raises(NotOnRemote, match=r"eye.times"):
        content(remote, file)
    for one in alyx.lab.tables["data-repository"]:
        one["data_url"] = None
    with pytest.raises(NotOnRemote, match="gives no address for it"):
        content(AlyxRemote(alyx.url, **ROOT, **DATA), file)


def test_an_address_of_another_kind_is_told_so(remote):
    file = File("aggregates/x.npy", url="s3://bucket/x.npy")
    with pytest.raises(NotOnRemote, match="s3://bucket/x.npy is not the address of a web server"):
        content(remote, file)


def test_a_data_server_that_is_away_can_heal(alyx, remote):
    file = files_of(remote, S1)["alf/licks.times.npy"]
    content(remote, file)
    with alyx.away(), pytest.raises(TransferFailed):
        content(remote, file)
    assert content(remote, file)


def test_files_arrive_while_the_database_is_away(alyx, remote):
    file = files_of(remote, S1)["alf/licks.times.npy"]
    content(remote, file)
    with alyx.away(data=False):
        assert content(remote, file) == served(alyx, file)


# -- credentials ----------------------------------------------------------------------------------


def licks(alyx, **options):
    remote = AlyxRemote(alyx.url, **ROOT, **options)
    return remote, files_of(remote, S1)["alf/licks.times.npy"]


def test_without_a_password_the_error_says_where_it_belongs(alyx):
    remote, file = licks(alyx)
    with pytest.raises(Forbidden, match=rf"401.*credentials.json.*{alyx._ports[1]}"):
        content(remote, file)


def test_the_password_is_found_in_the_settings_under_the_data_servers_name(alyx):
    settings.save_credentials(alyx.data_url, Credentials(*alyx.data_login))
    assert content(*licks(alyx))


def test_the_password_is_found_in_the_data_repository(alyx):
    for one in alyx.lab.tables["data-repository"]:
        one["json"] = {"username": "datauser", "password": "secret-of-data"}
    assert content(*licks(alyx))


def test_the_password_is_found_where_one_api_keeps_it(alyx, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".one" / f".{settings.server_key(alyx.url)}"
    path.parent.mkdir()
    theirs = {
        "HTTP_DATA_SERVER": f"{alyx.data_url}/",
        "HTTP_DATA_SERVER_LOGIN": "datauser",
        "HTTP_DATA_SERVER_PWD": "secret-of-data",
    }
    path.write_text(json.dumps(theirs))
    assert content(*licks(alyx))


def test_a_wrong_password_that_is_saved_gives_way_to_the_callers(alyx):
    settings.save_credentials(alyx.data_url, Credentials("datauser", "old"))
    assert content(*licks(alyx, **DATA))


def test_no_secret_ever_goes_to_a_server_that_a_record_names(alyx, monkeypatch):
    """A record is data: whoever can write one must not learn a password by it."""
    monkeypatch.setenv("ALYX_LOGIN", "root")
    monkeypatch.setenv("ALYX_PWD", "secret-of-root")
    monkeypatch.setenv("ONE_CACHE_TOKEN", alyx.tokens["root"])
    seen = []
    with AlyxDouble() as thief:

        def record(handler):
            seen.append(dict(handler.headers))
            handler.send(401, "", "text/html", WWW_Authenticate='Basic realm="give me all"')

        thief._data.RequestHandlerClass = _recording(record)
        remote, file = licks(alyx, **DATA)
        stolen = File(file.path, url=file.url.replace(alyx.data_url, thief.data_url), id=file.id)
        with pytest.raises(Forbidden):
            content(remote, stolen)
    assert seen
    assert not any("Authorization" in headers for headers in seen)


def _recording(record):
    class Recording(DataHandler):
        def do_GET(self):
            record(self)

    return Recording


def test_the_password_of_the_database_is_not_tried_on_the_data_server(alyx):
    alyx.data_login = ("root", "secret-of-root")
    remote, file = licks(alyx)
    with pytest.raises(Forbidden):
        content(remote, file)


def test_many_files_at_once_learn_the_password_together(alyx, remote):
    files = list(files_of(remote, S1).values())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda file: content(remote, file), files))
    assert found == [served(alyx, file) for file in files]


# -- addresses ------------------------------------------------------------------------------------


def test_the_address_of_a_file_is_given_without_asking(alyx, remote):
    file = files_of(remote, S6)["alf/probe00/pykilosort/#2024-05-06#/drift.times.npy"]
    asked = len(alyx.asked)
    assert remote.url(file) == file.url.replace("#", "%23")
    assert remote.url(File(file.path, id=file.id)) == f"{alyx.url}/datasets/{file.id}"
    assert len(alyx.asked) == asked
    content(remote, File(file.path, id=file.id))
    assert remote.url(File(file.path, id=file.id)) == file.url.replace("#", "%23")


@pytest.mark.parametrize("path", ["../x.npy", "a/../../x.npy", "cortexlab/Subjects/../../x.npy"])
def test_no_path_of_a_record_leaves_the_root(remote, path):
    with pytest.raises((PathEscapes, NotOnRemote)):
        content(remote, File(path, id="0718304d-0da5-49d8-9f47-c0fa497fd237"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("alf/licks.times.npy", "alf/licks.times.ID.npy"),
        ("a/_g0_t0.imec0.ap.meta", "a/_g0_t0.imec0.ap.ID.meta"),
        ("a.b/README", "a.b/README"),
    ],
)
def test_the_uuid_stands_before_the_extension(path, expected):
    assert with_uuid(path, "ID") == expected


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        ("http://h/a/#2024-05-06#/x.npy", "http://h/a/%232024-05-06%23/x.npy"),
        ("http://h/a/%232024-05-06%23/x.npy", "http://h/a/%232024-05-06%23/x.npy"),
        ("https://h:8/a b/é.npy", "https://h:8/a%20b/%C3%A9.npy"),
        ("http://h", "http://h"),
    ],
)
def test_addresses_are_sent_encoded_once(raw, sent):
    assert encoded(raw) == sent
