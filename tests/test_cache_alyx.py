"""A lab's database behind the calls of a cache: what is asked, kept, said and refused."""

import io
import json
import shutil
import stat
import subprocess
import sys
import threading
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from alyx_double import AlyxDouble

from one_cache import ONE, Cache, settings
from one_cache.cache.packed import unpack
from one_cache.errors import (
    ALFMultipleObjectsFound,
    ALFObjectNotFound,
    CacheWarning,
    Forbidden,
    HashMismatch,
    InvalidArgument,
    ModeError,
    NotInCache,
    NotOnRemote,
    NotOnServer,
    OneCacheError,
    QCExcluded,
    QCWarning,
    QueryNotCached,
    RemoteError,
    SessionNotFound,
    SizeMismatch,
    TransferFailed,
    UnknownSearchTerm,
)
from one_cache.settings import Credentials

S1 = "cf3c1f52-1869-4341-b1b0-fc4fce30f60e"
S3 = "f974e06f-681c-4141-af80-46f2d3f1d67f"
S5 = "ea7b1bad-d25a-4fb3-ad27-a5af92c265be"
S6 = "c93a1a84-dba9-47e2-bc03-761967b6d51c"
S8 = "e0e8294e-b521-4df0-9c9e-8b68b4a75090"
PID = "716dad76-6127-4c5e-9352-14d62c1aa197"
DID = "0718304d-0da5-49d8-9f47-c0fa497fd237"
AGGREGATE = "b8aa26f0-01df-44da-9920-33bfd733bea7"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
TAG = "2024_Q2_Test_et_al"
CAMERA = "_ibl_leftCamera.times.npy"


@pytest.fixture
def alyx():
    with AlyxDouble() as double:
        yield double


@pytest.fixture
def connect(tmp_path):
    """Open caches of a database, as its user."""

    def open_one(alyx, name="cache", *, user="root", **options):
        settings.save_credentials(alyx.data_url, Credentials(*alyx.data_login))
        access = Credentials(user, alyx.users[user])
        folder = tmp_path / name
        return Cache(folder, remote=alyx.url, access=access, silent=True, **options)

    return open_one


@pytest.fixture
def cache(alyx, connect):
    return connect(alyx)


def asked(alyx, path):
    """What was asked, without the question whether it is a database at all."""
    lines = [line for line in alyx.asked if line != "GET /sessions?limit=1"]
    return [line for line in lines if line.split()[1].startswith(path)]


# -- search and list ---------------------------------------------------------------------------

SEARCHES = [
    {},
    {"subject": "KS0"},
    {"subject": ["^KS01$", "ZFM"]},
    {"lab": ["churchlandlab", "cortexlab"], "number": [1, 2]},
    {"task_protocol": "EPHYS", "date_range": ["2023-03-01", "2023-03-12"]},
    {"projects": "learninglife"},
    {"datasets": ["spikes.times.npy", "_ibl_trials.table.pqt"]},
    {"datasets": r"spikes\.(times|amps)\.npy"},
    {"datasets": CAMERA, "dataset_qc_lte": "CRITICAL"},
    {"date_range": None, "subject": "NOPE"},
]


def test_a_search_gives_what_the_tables_of_the_same_lab_give(alyx, cache, tmp_path):
    with zipfile.ZipFile(io.BytesIO(alyx.cache_zip()[0])) as archive:
        archive.extractall(tmp_path / "tables")
    for wildcards in (True, False):
        cache.wildcards = wildcards
        local = Cache(tmp_path / "tables", wildcards=wildcards)
        for terms in [*SEARCHES, {"subject": "KS.1"}]:
            assert cache.search(**terms) == local.search(**terms), terms
    assert cache.search(subject="KS.1") == []


def test_what_only_a_database_knows_is_asked_of_it_and_else_refused(cache):
    assert cache.search(tag=TAG) == [UUID(S1)]
    assert cache.search(performance_gte=70, lab="cortex") != cache.search(lab="church")
    assert {"tag", "django", "subject"} < set(cache.search_terms())
    assert "tag" not in cache.search_terms("local")
    assert {"name", "model"} < set(cache.search_terms(endpoint="insertions"))
    assert "wildcards" not in cache.search_terms()
    with pytest.raises(UnknownSearchTerm, match="Did you mean 'performance_gte'"):
        cache.search(performanse_gte=70)
    with pytest.raises(UnknownSearchTerm, match="a database, asked in remote mode, knows more"):
        cache.search(tag=TAG, query_type="local")
    with pytest.raises(InvalidArgument, match="alyx.rest"):
        cache.search_terms(endpoint="weighings")


def test_a_session_that_was_found_is_not_asked_for_again(alyx, cache):
    for eid in cache.search(subject="^KS014$"):
        cache.eid2path(eid)
        cache.list_datasets(eid)
        cache.get_details(eid)
    assert len(asked(alyx, "/sessions")) == 1
    assert len(asked(alyx, "/datasets")) == 3


def test_subjects_are_asked_for_by_themselves(alyx, cache):
    alyx.lab.tables["subjects"].append({"id": UNKNOWN, "nickname": "ZZ_1", "lab": "cortexlab"})
    assert cache.list_subjects() == ["KS01", "KS014", "ZFM-01577", "ZZ_1"]
    assert not asked(alyx, "/sessions")
    with pytest.raises(SessionNotFound, match="Did you mean 'KS014'"):
        cache.to_eid("KS04/2023-03-10/001")


def test_a_dataset_that_is_on_no_server_is_listed_as_such_in_every_mode(cache):
    paths = cache.list_datasets(S3)
    frame = cache.list_datasets(S3, details=True)
    assert set(frame.rel_path[~frame.exists]) == {f"alf/{CAMERA}", "alf/eye.times.npy"}
    cache.save_cache()
    local = Cache(cache.cache_dir)
    assert local.list_datasets(S3) == paths
    pd.testing.assert_frame_equal(local.list_datasets(S3, details=True), frame)
    assert len(cache.list_datasets(S3, default_revisions_only=True)) == len(paths)


def test_all_datasets_at_once_are_those_that_were_listed_with_a_warning(cache):
    cache.list_datasets(S8)
    cache.list_datasets(S5)
    with pytest.warns(CacheWarning, match="session by session"):
        assert cache.list_datasets() == cache.list_datasets(S5)


# -- the same answers in every mode --------------------------------------------------------------

CALLS = {
    "search_insertions": lambda one: one.search_insertions(subject="KS014"),
    "by name": lambda one: one.search_insertions(name="PROBE01", lab="cortex"),
    "all": lambda one: one.search_insertions(),
    "of a session": lambda one: one.search_insertions(session=S1, serial="18005116491"),
    "by a dataset": lambda one: one.search_insertions(dataset="spikes.times"),
    "by datasets": lambda one: one.search_insertions(
        datasets=["spikes.times.npy", "clusters.metrics.pqt"]
    ),
    "by a pattern": lambda one: one.search_insertions(datasets=r"spikes\.(times|amps)\.npy"),
    "none": lambda one: one.search_insertions(subject="NOPE"),
    "details": lambda one: one.search_insertions(subject="ZFM", details=True),
    "pid2eid": lambda one: one.pid2eid(PID),
    "eid2pid": lambda one: one.eid2pid(S1),
    "eid2pid of one": lambda one: one.eid2pid("KS014/2023-03-10/001", name="probe01"),
    "eid2pid details": lambda one: one.eid2pid(S1, details=True),
    "eid2pid of none": lambda one: one.eid2pid(S8),
    "list_aggregates": lambda one: one.list_aggregates("subjects"),
    "list_aggregates of": lambda one: one.list_aggregates("Subjects", "KS01", revision=""),
    "list_aggregates none": lambda one: one.list_aggregates("tags"),
    "load_aggregate": lambda one: one.load_aggregate("subjects", "KS014", "subjectTrials.table"),
    "load_dataset_from_id": lambda one: one.load_dataset_from_id(AGGREGATE),
    "describe_dataset": lambda one: one.describe_dataset("spikes.times"),
    "describe a name": lambda one: one.describe_dataset("licks.times.npy"),
    "describe an id": lambda one: one.describe_dataset(UUID(DID)),
    "describe all": lambda one: one.describe_dataset(),
    "describe_revision": lambda one: one.describe_revision("#2024-05-06#"),
    "dataset2type": lambda one: one.dataset2type(DID),
    "dataset2type of a name": lambda one: one.dataset2type(f"alf/{CAMERA}"),
    "type2datasets": lambda one: one.type2datasets(S1, ["spikes.times", "spikes.amps"]),
    "type2datasets none": lambda one: one.type2datasets(S8, "spikes.times"),
    "type2datasets details": lambda one: one.type2datasets(S1, "leftCamera.times", details=True),
    "get_details": lambda one: one.get_details([S1, S6]),
    "get_details full": lambda one: one.get_details(S6, full=True),
    "path2url": lambda one: one.path2url(one.eid2path(S1) / "alf" / "licks.times.npy"),
    "path2url of an aggregate": lambda one: one.path2url(
        one.cache_dir / one.list_aggregates("subjects").rel_path.iloc[0]
    ),
    "list_revisions": lambda one: one.list_revisions(S6),
    "load_object": lambda one: one.load_object(S6, "trials", attribute="table"),
}


def plain(value):
    """Give an answer in a form that can be compared."""
    if isinstance(value, (pd.DataFrame, pd.Series)):
        return json.loads(value.reset_index().astype(object).to_json(default_handler=str))
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What the database answers; the same asked of what was saved and frozen, without it."""
    folder = tmp_path_factory.mktemp("answers")
    patch = pytest.MonkeyPatch()
    patch.setenv("ONE_CACHE_CONFIG", str(folder / "config"))
    with AlyxDouble() as alyx, patch.context():
        settings.save_credentials(alyx.data_url, Credentials(*alyx.data_login))
        access = Credentials("root", alyx.users["root"])
        remote = Cache(folder / "cache", remote=alyx.url, access=access, silent=True)
        for eid in remote.search():
            remote.list_datasets(eid)
        found = {"remote": {name: call(remote) for name, call in CALLS.items()}}
        remote.freeze()
        with alyx.away():
            alyx.asked.clear()
            for mode in ("local", "fixed"):
                one = Cache(folder / "cache", remote=alyx.url, access=access, mode=mode)
                found[mode] = {name: call(one) for name, call in CALLS.items()}
            alone = Cache(folder / "cache")
            found["alone"] = {name: call(alone) for name, call in CALLS.items()}
        assert not alyx.asked
    patch.undo()
    return found


@pytest.mark.parametrize("mode", ["local", "fixed", "alone"])
@pytest.mark.parametrize("name", CALLS)
def test_a_call_answers_without_the_database_as_it_did_with_it(answers, name, mode):
    assert plain(answers[mode][name]) == plain(answers["remote"][name])


def test_the_answers_are_what_the_lab_has(answers):
    got = answers["remote"]
    assert got["pid2eid"] == (UUID(S1), "probe00")
    assert got["eid2pid"][0][0] == UUID(PID)
    assert got["eid2pid"][1] == ["probe00", "probe01"]
    assert got["eid2pid of none"] == ([], [])
    assert len(got["all"]) == len(got["by a pattern"]) == 4
    assert got["by name"] == got["eid2pid of one"][0]
    (pids, (record,)) = got["details"]
    assert record["id"] == pids[0]
    assert record.session == S6
    assert record.session_info.subject == "ZFM-01577"
    assert record.json["extended_qc"] == {"tracing_exists": True}
    assert list(got["list_aggregates"].identifier) == ["cortexlab/KS014"]
    assert len(got["list_aggregates of"]) == 1
    assert got["list_aggregates none"].empty
    assert len(got["load_aggregate"]) == 200
    assert got["describe a name"].name == "licks.times"
    assert got["describe_revision"].description.endswith("drift re-estimated")
    assert got["dataset2type of a name"] == "leftCamera.times"
    assert len(got["describe all"]) == 24
    assert got["path2url"].endswith("alf/licks.times.ce3837fb-2226-463e-bede-0c08b22420a2.npy")


MISSING = {
    "insertions": ["search_insertions", "pid2eid", "eid2pid"],
    "aggregates": ["list_aggregates", "load_aggregate"],
    "revisions": ["describe_revision"],
    "dataset-types": ["describe_dataset", "dataset2type of a name"],
}


@pytest.mark.parametrize("what", MISSING)
def test_what_the_tables_lack_is_named(alyx, cache, tmp_path, what):
    with zipfile.ZipFile(io.BytesIO(alyx.cache_zip()[0])) as archive:
        archive.extractall(tmp_path / "tables")
    local = Cache(tmp_path / "tables")
    for name in MISSING[what]:
        with pytest.raises(QueryNotCached, match=rf"hold no {what}.*remote mode"):
            CALLS[name](local)


def test_a_plain_server_says_that_its_tables_lack_them(url, tmp_path):
    plain_server = Cache(tmp_path, remote=url, silent=True)
    with pytest.raises(QueryNotCached, match="the server carries hold no insertions"):
        plain_server.search_insertions()
    with pytest.raises(ModeError, match="no Alyx database"):
        plain_server.alyx.rest("sessions")
    with pytest.raises(InvalidArgument, match="has no tags"):
        plain_server.load_cache(tag=TAG)
    assert "tag" not in plain_server.search_terms()


def test_types_of_tables_that_do_not_say_them_follow_from_the_names(alyx, cache):
    expected = cache.type2datasets(S1, "spikes.times")
    cache.load_cache()
    cache.describe_dataset("spikes.times")
    cache.save_cache()
    local = Cache(cache.cache_dir)
    assert local.type2datasets(S1, "spikes.times") == expected
    assert local.dataset2type("spikes.times.npy") == "spikes.times"
    with pytest.raises(ALFMultipleObjectsFound, match="camera.times, leftCamera.times"):
        local.dataset2type(CAMERA)


def test_what_is_unknown_is_one_kind_of_error_with_what_is_near(cache):
    for call, near in (
        (lambda: cache.pid2eid(UNKNOWN), "not known"),
        (lambda: cache.eid2pid(UNKNOWN), "not known"),
        (lambda: cache.load_aggregate("subjects", "KS01"), "there are 1 for others"),
        (lambda: cache.load_aggregate("subjects", "KS0144"), "Did you mean 'KS014'"),
        (lambda: cache.describe_revision("2024-05-07"), "Did you mean '2024-05-06'"),
        (lambda: cache.describe_dataset("spikes.tims"), "Did you mean 'spikes.times'"),
        (lambda: cache.type2datasets(S1, "spikes.tims"), "Did you mean 'spikes.times'"),
        (lambda: cache.dataset2type(UNKNOWN), "not known"),
        (lambda: cache.path2url(cache.cache_dir / "aggregates/Subjects/x.npy"), "no aggregate"),
        (lambda: cache.path2url(cache.eid2path(S3) / "alf" / CAMERA), "on no server"),
    ):
        with pytest.raises(ALFObjectNotFound, match=near):
            call()


def test_an_identifier_that_is_the_whole_means_that_one(alyx, cache):
    (one,) = (ds for ds in alyx.lab.datasets.values() if ds["session"] is None)
    other = {**one, "id": UNKNOWN, "collection": "Subjects/cortexlab/KS01"}
    alyx.lab.datasets[UNKNOWN] = other
    alyx.lab._make_file(other)
    assert len(cache.list_aggregates("subjects", "KS01")) == 2
    path = cache.load_aggregate("subjects", "KS01", download_only=True)
    assert path.parent.name == "KS01"
    with pytest.raises(OneCacheError, match="several collections"):
        cache.load_aggregate("subjects", "KS01.*")
    with pytest.raises(ALFObjectNotFound, match="Did you mean 'KS01'"):
        cache.load_aggregate("subjects", "KS0")


def test_a_file_without_session_or_folder_hides_no_aggregate(alyx, cache):
    (one,) = (ds for ds in alyx.lab.datasets.values() if ds["session"] is None)
    stray = {**one, "id": UNKNOWN, "collection": None, "files": []}
    alyx.lab.datasets[UNKNOWN] = stray
    assert list(cache.list_aggregates("subjects").identifier) == ["cortexlab/KS014"]


def test_insertions_that_a_search_happened_to_find_are_not_taken_for_all(cache):
    cache.search_insertions(name="probe00")
    cache.search(subject="KS014")
    cache.save_cache()
    local = Cache(cache.cache_dir)
    with pytest.warns(CacheWarning, match="nothing says that these are all"):
        assert local.eid2pid(S1) == ([UUID(PID)], ["probe00"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        local.eid2pid(S1)
    with pytest.raises(QueryNotCached, match="do not say whether"):
        local.eid2pid("KS014/2023-03-10/002")
    with pytest.raises(QueryNotCached, match="lack .* datasets of these insertions"):
        local.search_insertions(datasets="spikes.times.npy")


# -- notices -----------------------------------------------------------------------------------


def test_a_notice_is_told_once_and_recorded_with_each_load(alyx, cache):
    cache.record_loaded = True
    says = r'data notice "camera clock".*unreliable'
    with pytest.warns(QCWarning), pytest.warns(CacheWarning, match=says) as told:
        cache.load_dataset(S1, CAMERA, qc="CRITICAL")
    assert [one.category for one in told] == [QCWarning, CacheWarning]
    assert told[1].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.load_dataset(S1, CAMERA, qc="CRITICAL")
        cache.load_dataset(S1, "licks.times.npy")
    notes = [entry.note for entry in cache.recorder]
    assert notes[0] == notes[1]
    assert "QC CRITICAL; data notice" in notes[0]
    assert notes[2] == ""
    assert len(asked(alyx, "/data-notices")) == 1
    cache.save_cache()
    with pytest.warns(QCWarning), pytest.warns(CacheWarning, match="camera clock"):
        Cache(cache.cache_dir).load_dataset(S1, CAMERA, qc="CRITICAL")


@pytest.mark.parametrize(("status", "told"), [(404, 0), (403, 1), (500, 1), (None, 1)])
def test_a_load_does_not_fail_of_notices_that_cannot_be_asked_for(alyx, cache, status, told):
    alyx.fail("/data-notices", status, {"detail": "no"}, times=9)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert cache.load_dataset(S1, "licks.times.npy").size
        assert cache.load_dataset(S1, "wheel.position").size
    assert sum("notices about the datasets cannot" in str(one.message) for one in seen) == told


# -- the database itself -------------------------------------------------------------------------


def test_the_database_itself_can_be_asked(alyx, cache, connect):
    assert len(cache.alyx.rest("sessions", "list", subject="KS014")) == 3
    assert cache.alyx.rest("insertions", "read", PID)["name"] == "probe00"
    with pytest.raises(InvalidArgument, match="unknown filter 'foo'"):
        cache.alyx.rest("sessions", "list", foo="bar")
    cache.list_datasets(S8)
    cache.freeze()
    with pytest.raises(ModeError, match="'fixed' asks nobody"):
        _ = connect(alyx, mode="fixed").alyx
    with pytest.raises(ModeError, match="has no remote"):
        _ = Cache(cache.cache_dir, mode="local").alyx


def test_one_opens_a_database_with_user_and_password(alyx, tmp_path):
    settings.save_credentials(alyx.data_url, Credentials(*alyx.data_login))
    one = ONE(alyx.url, username="root", password="secret-of-root", cache_dir=tmp_path)
    assert one.load_object(S1, "wheel")["position"].size
    again = ONE(alyx.url, cache_dir=tmp_path)
    assert again.search(tag=TAG) == [UUID(S1)]
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    text = b"".join(path.read_bytes() for path in kept)
    assert not [secret for secret in alyx.secrets() if secret.encode() in text]


# -- answers that are kept -----------------------------------------------------------------------


def test_answers_are_kept_in_the_cache_for_its_owner_alone(alyx, cache, connect):
    found = cache.search(subject="KS014")
    folder = cache.cache_dir / ".one_cache" / "responses"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    alyx.asked.clear()
    assert connect(alyx).search(subject="KS014") == found
    assert not asked(alyx, "/sessions")
    assert connect(alyx, user="intbrainlab").search(subject="KS014") == found
    assert len(asked(alyx, "/sessions")) == 1


def test_a_database_that_is_away_is_answered_for_by_what_it_said(alyx, cache, connect):
    eids = cache.search(subject="KS014")
    licks = cache.load_dataset(S1, "licks.times.npy")
    pids = cache.eid2pid(S1)
    _grow_old(cache)
    with alyx.away():
        later = connect(alyx)
        with pytest.warns(CacheWarning, match=r"is away; its answer of 3 hours ago is used"):
            assert later.search(subject="KS014") == eids
        with pytest.warns(CacheWarning, match="3 hours ago"):
            np.testing.assert_array_equal(later.load_dataset(S1, "licks.times.npy"), licks)
        with pytest.warns(CacheWarning, match="3 hours ago"):
            assert later.eid2pid(S1) == pids
        with (
            pytest.warns(CacheWarning),
            pytest.raises(TransferFailed, match=r"wheel\.position.*refuses connections"),
        ):
            later.load_dataset(S1, "wheel.position")
        with pytest.raises(TransferFailed, match=f"{alyx.url} cannot be reached"):
            later.search(subject="ZFM")
        assert later.mode == "remote"
    assert connect(alyx).load_dataset(S1, "wheel.position").size


def test_a_block_can_ask_in_any_case(alyx, cache):
    assert len(cache.search(subject="KS014")) == 3
    licks = cache.load_dataset(S1, "licks.times.npy")
    alyx.lab.sessions[S5]["subject"] = "KS014"
    alyx.asked.clear()
    assert len(cache.search(subject="KS014")) == 3
    np.testing.assert_array_equal(cache.load_dataset(S1, "licks.times.npy"), licks)
    assert not alyx.asked
    with cache.no_cache():
        assert len(cache.search(subject="KS014")) == 4
        cache.load_dataset(S1, "licks.times.npy")
    assert {"/sessions", "/datasets", "/data-notices"} == set(alyx.paths())
    assert len(cache.search(subject="KS014")) == 4
    with alyx.away(), cache.no_cache(), pytest.raises(TransferFailed, match="cannot be reached"):
        cache.search(subject="KS014")


def _grow_old(cache, hours=3):
    for path in (cache.cache_dir / ".one_cache" / "responses").rglob("*"):
        if path.is_file():
            line, _, body = path.read_bytes().partition(b"\n")
            about = json.loads(line)
            about["stored"] -= hours * 3600
            path.write_bytes(json.dumps(about).encode() + b"\n" + body)


def test_a_database_that_never_answered_is_one_clear_error(alyx, cache):
    with alyx.away():
        for call in (cache.search, cache.load_cache, lambda: cache.eid2pid(S1)):
            with pytest.raises(TransferFailed, match="cannot be reached"):
                call()
    assert cache.mode == "remote"
    assert len(cache.search()) == 8


def test_a_user_whom_the_database_does_not_know_is_told_so(alyx, tmp_path):
    one = Cache(tmp_path, remote=alyx.url, access=Credentials("root", "wrong"), silent=True)
    with pytest.raises(Forbidden, match="wrong user name or password"):
        one.search()


# -- what can be wrong with a dataset ------------------------------------------------------------


@pytest.mark.parametrize(
    ("eid", "name", "kind", "says"),
    [
        (S3, CAMERA, NotOnServer, "is recorded, but is on no server and not on disk"),
        (S3, "eye.times.npy", NotOnServer, "on no server"),
        (S1, CAMERA, QCExcluded, "its QC is CRITICAL.*pass qc='CRITICAL'"),
        (S3, "_ibl_bodyCamera.times.npy", NotOnRemote, "404 Not Found.*names http://"),
        (S3, "_ibl_trials.included.npy", HashMismatch, "expected md5 0000.*nothing kept"),
        (S3, "_ibl_wheelMoves.intervals.npy", SizeMismatch, "expected 123456 bytes.*has 3328"),
    ],
)
def test_each_thing_that_is_wrong_has_its_own_message(cache, eid, name, kind, says):
    with pytest.raises(kind, match=says) as error:
        cache.load_dataset(eid, name)
    assert type(error.value) is kind
    assert name in str(error.value)
    assert not (cache.eid2path(eid) / "alf" / name).exists()
    # the others of the session are as usable as before
    assert cache.load_dataset(eid, "licks.times.npy").size


def test_a_file_that_is_on_no_server_loads_where_it_is_on_disk(alyx, cache):
    path = cache.eid2path(S3) / "alf" / "eye.times.npy"
    path.parent.mkdir(parents=True)
    (one,) = (
        ds
        for ds in alyx.lab.datasets.values()
        if ds["session"] == S3 and ds["name"] == "eye.times.npy"
    )
    from alyx_lab import make_content

    path.write_bytes(make_content(one))
    assert cache.load_dataset(S3, "eye.times.npy").size


def test_what_is_null_makes_nothing_unusable(alyx, cache):
    lab = alyx.lab
    own = [one for one in lab.datasets.values() if one["session"] == S5]
    own[0].update(hash="", file_size=None)
    own[1].update(hash=None, qc=None, tags=None, version=None)
    lab.sessions[S5].update(number=None, projects=[], task_protocol="")
    for one in own:
        lab._make_file(one)
    unplaced = next(one for one in own[2:] if one["name"] == "licks.times.npy")
    repository = {**lab.tables["data-repository"][-1], "name": "server_without", "data_url": None}
    lab.tables["data-repository"].append(repository)
    alyx.lab.files = {path: data for path, data in lab.files.items() if unplaced["id"] not in path}
    unplaced["files"] = [[UNKNOWN, "server_without", True]]
    assert UUID(S5) in cache.search(subject="^KS01$", date_range="2023-02-02")
    assert str(cache.eid2path(S5)).endswith("KS01/2023-02-02/000")
    assert cache.path2eid(cache.eid2path(S5)) == UUID(S5)
    assert cache.to_eid(cache.eid2ref(S5)) == UUID(S5)
    frame = cache.list_datasets(S5, details=True)
    assert len(frame) == len(own)
    loaded = 0
    for path in cache.list_datasets(S5):
        if path.endswith("licks.times.npy"):
            with pytest.raises(NotOnRemote, match="licks"):
                cache.load_dataset(S5, path)
            continue
        cache.load_dataset(S5, path)
        loaded += 1
    assert loaded == len(own) - 1
    cache.save_cache()
    local = Cache(cache.cache_dir)
    pd.testing.assert_frame_equal(local.list_datasets(S5, details=True), frame)
    assert local.eid2path(S5) == cache.eid2path(S5)
    assert local.path2eid(local.eid2path(S5)) == UUID(S5)
    assert local.load_dataset(S5, "wheel.position").size


def test_an_aggregate_without_a_hash_is_pinned_by_what_is_on_disk(alyx, cache, connect):
    (one,) = (ds for ds in alyx.lab.datasets.values() if ds["session"] is None)
    one["hash"] = ""
    cache.list_datasets(S8)
    table = cache.load_aggregate("subjects", "KS014")
    cache.freeze()
    fixed = connect(alyx, mode="fixed")
    pd.testing.assert_frame_equal(fixed.load_aggregate("subjects", "KS014"), table)
    fixed.load_aggregate("subjects", "KS014", download_only=True).write_bytes(b"other")
    with pytest.raises(HashMismatch):
        connect(alyx, mode="fixed").load_aggregate("subjects", "KS014")


def test_an_aggregate_that_is_not_here_is_named(alyx, cache):
    cache.list_aggregates("subjects")
    cache.save_cache()
    with pytest.raises(NotInCache, match=r"subjectTrials\.table\.pqt.*not on disk"):
        Cache(cache.cache_dir).load_aggregate("subjects", "KS014")


# -- whole tables --------------------------------------------------------------------------------


def ids(cache):
    return {str(one) for one in cache.datasets.index.get_level_values("id")}


def tagged(alyx, tag=TAG):
    return {one["id"] for one in alyx.lab.datasets.values() if tag in one["tags"]}


def test_whole_tables_are_brought_once(alyx, cache):
    cache.load_cache()
    assert (len(cache.sessions), len(cache.datasets)) == (8, 85)
    assert len(cache.search(query_type="local")) == 8
    assert cache.load_dataset(S1, "licks.times.npy", query_type="local").size
    cache.load_cache()
    assert len(asked(alyx, "/cache.zip")) == 1
    cache.load_cache(clobber=True)
    assert len(asked(alyx, "/cache.zip")) == 2
    assert not list((cache.cache_dir / ".one_cache").glob("packed-*"))


@pytest.mark.parametrize("packed", [False, True])
def test_the_tables_of_a_tag_are_those_of_the_tag_alone(connect, packed):
    with AlyxDouble(tables_root_on_http=packed) as alyx:
        cache = connect(alyx)
        cache.search()
        cache.load_cache(tag=TAG)
        assert ids(cache) == tagged(alyx)
        assert list(cache.sessions.index) == [UUID(S1)]
        assert cache.search(query_type="local") == [UUID(S1)]
        assert cache.tables_dir == cache.cache_dir / TAG
        assert cache.load_dataset(S1, "spikes.times", "alf/probe00*", query_type="local").size
        assert len(asked(alyx, "/tables")) == packed
        # it grows on the server, and here when it is asked for again
        (new,) = (
            one
            for one in alyx.lab.datasets.values()
            if one["session"] == S5 and one["name"] == "licks.times.npy"
        )
        new["tags"] = [*new["tags"], TAG]
        cache.load_cache(clobber=True)
        assert ids(cache) == tagged(alyx)
        assert len(cache.sessions) == 2
        # another script, without the server
        with alyx.away():
            local = connect(alyx, mode="local")
            local.load_cache(tag=TAG)
            assert ids(local) == tagged(alyx)
            with pytest.raises(QueryNotCached, match="'Brainwidemap' are not in"):
                local.load_cache(tag="Brainwidemap")
            # what the server said of the tag still serves
            cache.load_cache()
            assert ids(cache) == tagged(alyx)
            cache.freeze()
            fixed = connect(alyx, mode="fixed", tables_dir=cache.tables_dir)
            fixed.load_cache(tag=TAG)
            assert ids(fixed) == tagged(alyx)
        with pytest.warns(CacheWarning, match="no access tables"):
            cache.load_cache(cache.cache_dir)
        assert cache.tables_dir == cache.cache_dir


def test_a_tag_that_does_not_exist_is_told_with_the_nearest(cache):
    with pytest.raises(InvalidArgument, match="Did you mean '2024_Q2_Test_et_al'"):
        cache.load_cache(tag="2024_Q2_Test")
    assert cache.tables_dir == cache.cache_dir


def test_other_tables_are_not_replaced_by_those_of_a_tag(cache, tmp_path):
    cache.list_datasets(S6)
    cache.save_cache()
    with pytest.raises(InvalidArgument, match="holds other tables"):
        cache.load_cache(cache.cache_dir, tag=TAG)
    assert len(cache.datasets) > 0
    cache.load_cache(tmp_path / "mine", tag=TAG)
    assert cache.tables_dir == tmp_path / "mine"
    cache.load_cache(tmp_path / "mine", tag=TAG)
    assert list(cache.sessions.index) == [UUID(S1)]


def test_a_tag_is_never_the_name_of_a_place_outside_the_cache(alyx, cache):
    for name in ("../../out", ".one_cache", "a b", "a_b"):
        alyx.lab.tables["tags"].append({**alyx.lab.tables["tags"][0], "name": name})
    (one,) = (ds for ds in alyx.lab.datasets.values() if ds["id"] == DID)
    one["tags"] = ["../../out", ".one_cache", "a b", "a_b"]
    places = set()
    for name in one["tags"]:
        cache.load_cache(tag=name)
        assert ids(cache) == {DID}
        assert cache.tables_dir.parent == cache.cache_dir
        places.add(cache.tables_dir)
    assert len(places) == 4


def test_whole_tables_that_a_server_does_not_have_are_told(alyx, cache):
    alyx.fail("/cache/info", 404, {"detail": "no"}, times=9)
    with pytest.warns(CacheWarning, match="carries no whole tables"):
        cache.load_cache()


def test_tables_stay_when_the_new_ones_do_not_arrive(alyx, cache):
    cache.tries = 1
    cache.load_cache()
    alyx.lab.datasets.pop(DID)
    alyx.fail("/cache.zip", 500, times=9)
    with pytest.raises(OneCacheError, match="500"):
        cache.load_cache(clobber=True)
    assert DID in ids(cache)
    assert DID in ids(Cache(cache.cache_dir))
    assert not list((cache.cache_dir / ".one_cache").glob("packed-*"))


def made_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


BAD = {
    "lacks datasets.pqt": [("sessions.pqt", b"x")],
    "lacks sessions.pqt": [("../sessions.pqt", b"x"), ("datasets.pqt", b"x")],
    "would unpack to": [("sessions.pqt", bytes(1 << 28)), ("datasets.pqt", b"")],
}


@pytest.mark.parametrize("says", BAD)
def test_a_zip_that_is_not_one_of_tables_is_refused(tmp_path, says):
    path = made_zip(tmp_path / "a.zip", BAD[says])
    (tmp_path / "out").mkdir()
    with pytest.raises(RemoteError, match=says):
        unpack(path, tmp_path / "out", "http://alyx/cache.zip")
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["a.zip", "out"]


def test_only_the_members_that_are_known_are_unpacked(tmp_path):
    names = ["sessions.pqt", "datasets.pqt", "../evil.pqt", "/abs.pqt", "more.txt"]
    path = made_zip(tmp_path / "a.zip", [(name, b"data") for name in names])
    (tmp_path / "out").mkdir()
    unpack(path, tmp_path / "out", "x")
    found = sorted(one.name for one in tmp_path.rglob("*"))
    assert found == ["a.zip", "datasets.pqt", "out", "sessions.pqt"]


@pytest.mark.parametrize("damage", ["page", "cut", "flip"])
def test_a_damaged_zip_changes_nothing(alyx, cache, tmp_path, damage):
    whole = alyx.cache_zip()[0]
    middle = len(whole) // 3
    data = {
        "page": b"<html>log in</html>",
        "cut": whole[:middle],
        "flip": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
    }[damage]
    (tmp_path / "a.zip").write_bytes(data)
    (tmp_path / "out").mkdir()
    with pytest.raises(RemoteError, match="no zip of tables"):
        unpack(tmp_path / "a.zip", tmp_path / "out", "x")


def test_two_threads_that_load_the_same_tables_get_them_both(alyx, connect):
    caches = [connect(alyx), connect(alyx)]
    threads = [threading.Thread(target=one.load_cache, kwargs={"tag": TAG}) for one in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ids(one) for one in caches] == [tagged(alyx)] * 2


def test_a_load_costs_no_more_requests_than_it_needs(alyx, cache):
    cache.load_object(S1, "wheel")
    cache.load_object(S1, "trials")
    paths = Counter(line.split()[1].partition("?")[0] for line in alyx.asked)
    files = [path for path in paths if path.startswith("/cortexlab/")]
    # the first question finds out what answers there
    once = {"/auth-token": 1, "/sessions": 2, "/datasets": 1, "/data-notices": 1}
    assert paths == {**once, **dict.fromkeys(files, 1)}
    assert len(files) > 3


def test_what_a_cache_saved_goes_on_elsewhere(alyx, cache, tmp_path):
    cache.load_object(S1, "wheel")
    cache.eid2pid(S1)
    cache.save_cache()
    moved = shutil.copytree(cache.cache_dir, tmp_path / "moved")
    local = Cache(moved)
    assert local.load_object(S1, "wheel")["position"].size
    assert local.eid2pid(S1) == cache.eid2pid(S1)


# -- the example ---------------------------------------------------------------------------------

EXAMPLE = Path(__file__).parents[1] / "examples" / "alyx_session.py"


def run_example(*options):
    command = [sys.executable, "-W", "ignore", str(EXAMPLE), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_example_runs_by_itself():
    found = run_example()
    assert found["session"] == "2024-05-10_1_ZFM-01577"
    assert found["trials"] == 200
    assert not settings.config_folder().exists()


def test_the_example_gives_the_same_on_any_server_in_every_mode(alyx, tmp_path):
    settings.save_credentials(alyx.data_url, Credentials(*alyx.data_login))
    options = [alyx.url, "--cache-dir", str(tmp_path), "--subject", "^KS014$"]
    login = ["--username", "root", "--password", alyx.users["root"]]
    found = run_example(*options, *login)
    assert found["aggregates of the subject"] == 1
    with alyx.away():
        for mode in ("local", "fixed"):
            assert run_example(*options, "--mode", mode) == found
