import datetime as dt
import io
import itertools
import random
import re
import zipfile

import pytest
from alyx_double import AlyxDouble

from one_cache import query
from one_cache.errors import CacheWarning, InvalidArgument
from one_cache.records import QC, Dataset, File, Session
from one_cache.remotes import Question
from one_cache.remotes.alyx import AlyxRemote
from one_cache.remotes.alyx.search import SESSIONS, literal_in, plan
from one_cache.tables import Tables

S1 = "cf3c1f52-1869-4341-b1b0-fc4fce30f60e"
S3 = "f974e06f-681c-4141-af80-46f2d3f1d67f"
S5 = "ea7b1bad-d25a-4fb3-ad27-a5af92c265be"
S6 = "c93a1a84-dba9-47e2-bc03-761967b6d51c"
S8 = "e0e8294e-b521-4df0-9c9e-8b68b4a75090"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
TAG = "2024_Q2_Test_et_al"


@pytest.fixture(scope="module")
def shared():
    with AlyxDouble() as double:
        yield double


@pytest.fixture
def alyx():
    with AlyxDouble() as double:
        yield double


def connected(double):
    return AlyxRemote(double.url, username="root", password="secret-of-root")


@pytest.fixture
def remote(shared):
    return connected(shared)


@pytest.fixture
def ask(remote):
    return lambda table, **terms: remote.records(Question(table, terms))


@pytest.fixture(scope="module")
def tables(shared, tmp_path_factory):
    """The same lab as access tables, as the server gives them whole."""
    folder = tmp_path_factory.mktemp("tables")
    with zipfile.ZipFile(io.BytesIO(shared.cache_zip()[0])) as archive:
        archive.extractall(folder)
    return Tables.open(folder)


# -- sessions ------------------------------------------------------------------------------------


def local(tables, terms):
    given = dict(terms)
    wildcards = given.pop("wildcards", True)
    return [one.id for one in query.search(tables, given, wildcards=wildcards)]


SEARCHES = [
    {},
    {"subject": "KS014"},
    {"subject": "ks014"},
    {"subject": "KS0"},
    {"subject": "KS01"},
    {"subject": "^KS01$"},
    {"subject": ["KS014", "KS01"]},
    {"subject": ["^KS01$", "ZFM"]},
    {"subject": "KS.*4"},
    {"subject": "KS01?4?$"},
    {"subject": r"\d{5}"},
    {"subject": "KS01|ZFM"},
    {"subject": "ZFM-01577"},
    {"subject": r"ZFM\-01577"},
    {"subject": "NOPE"},
    {"subject": ["NOPE", "NADA"]},
    {"subject": "KS.1", "wildcards": False},
    {"subject": "-015", "wildcards": False},
    {"subject": "['KS014']", "wildcards": False},
    {"subject": "None"},
    {"lab": "church"},
    {"lab": ["churchlandlab", "cortexlab"]},
    {"lab": "cortex", "subject": "KS014"},
    {"task_protocol": "ephys"},
    {"task_protocol": ["ephys", "training"]},
    {"task_protocol": "EPHYSchoice.*6.4"},
    {"task_protocol": "6.4.2", "wildcards": False},
    {"projects": "learninglife"},
    {"projects": ["learninglife", "brainwide"]},
    {"projects": "^churchland.*wide_01$"},
    {"number": 1},
    {"number": "2"},
    {"number": [1, 2]},
    {"number": 7},
    {"date_range": "2023-03-10"},
    {"date_range": ["2023-03-01", "2023-03-12"]},
    {"date_range": ["2023-03-10", None]},
    {"date_range": [None, "2023-03-10"]},
    {"date_range": dt.date(2024, 5, 10)},
    {"datasets": "spikes.times.npy"},
    {"datasets": "spikes.times"},
    {"datasets": ["spikes.times.npy", "_ibl_trials.table.pqt"]},
    {"datasets": ["spikes.times.npy", "no.such.npy"]},
    {"datasets": r"spikes\.(times|amps)\.npy"},
    {"datasets": r"spikes\.times\.npy"},
    {"datasets": [r".*wheel.*", "spikes.times.npy"]},
    {"datasets": "_ibl_leftCamera.times.npy"},
    {"datasets": "_ibl_leftCamera.times.npy", "dataset_qc_lte": "CRITICAL"},
    {"datasets": ".*leftCamera.*", "dataset_qc_lte": "CRITICAL"},
    {"datasets": "_ibl_wheelMoves.intervals.npy", "dataset_qc_lte": "WARNING"},
    {"datasets": "eye.times.npy"},
    {"dataset_qc_lte": "PASS"},
    {"dataset_qc_lte": 10},
    {"dataset_qc_lte": QC.CRITICAL},
    {"subject": "KS014", "number": 1, "date_range": ["2023-03-10", "2023-03-12"]},
    {"subject": None, "lab": None, "number": 2},
]


@pytest.mark.parametrize("terms", SEARCHES, ids=str)
def test_a_search_finds_what_the_tables_of_the_same_lab_find(ask, tables, terms):
    assert [row["id"] for row in ask("sessions", **terms)] == local(tables, terms)


def test_any_combination_of_terms_finds_what_the_tables_find(ask, tables):
    values = {
        "subject": ["KS014", "KS01", ["KS01$", "ZFM"], "0", "K.*1", "nope"],
        "lab": ["cortex", ["church", "cortexlab"], "^c"],
        "task_protocol": ["ephys", "training|ephys", ["World6", "x"]],
        "projects": ["brainwide", "life", "^$"],
        "number": [1, [1, 2], [3]],
        "date_range": [["2023-02-02", "2024-05-10"], [None, "2023-03-10"], "2023-03-10"],
        "datasets": ["_ibl_wheel.position.npy", r".*\.pqt", ["licks.times.npy", "spikes.*"]],
        "dataset_qc_lte": ["PASS", "FAIL", "CRITICAL"],
    }
    draw = random.Random(3)
    for _ in range(60):
        names = draw.sample(sorted(values), draw.randint(1, 4))
        terms = {name: draw.choice(values[name]) for name in names}
        assert [row["id"] for row in ask("sessions", **terms)] == local(tables, terms), terms


def test_sessions_are_rows_of_our_records(ask):
    (row,) = ask("sessions", id=[S1])
    session = Session(**row)
    assert session.path == "cortexlab/Subjects/KS014/2023-03-10/001"
    assert session.projects == "ibl_neuropixel_brainwide_01"
    assert session.extra["start_time"] == "2023-03-10T11:23:45.123456"


def test_sessions_are_given_by_id_whatever_form_it_has(ask, shared):
    forms = [S1.upper(), f"{shared.url}/sessions/{S6}", UNKNOWN]
    assert [row["id"] for row in ask("sessions", id=forms)] == [S6, S1]
    assert ask("sessions", id=[UNKNOWN]) == []
    assert ask("sessions", id=[]) == []
    with pytest.raises(InvalidArgument, match="not a UUID"):
        ask("sessions", id=["__import__('os')"])


def test_a_session_without_number_projects_or_start_is_still_one(alyx):
    alyx.lab.sessions[S8].update(number=None, projects=[], task_protocol="", lab="")
    rows = connected(alyx).records(Question("sessions", {}))
    (row,) = (row for row in rows if row["id"] == S8)
    assert Session(**row).number is None
    assert len(rows) == 8


@pytest.mark.parametrize(
    ("terms", "count"),
    [
        ({"tag": TAG}, 1),
        ({"tag": ["2024_Q2", "protected"]}, 2),
        ({"django": "subject__nickname__startswith,KS0,number,1"}, 4),
        ({"django": ["~subject__nickname__startswith", "KS0"]}, 3),
        ({"django": "number,1", "subject": "KS0", "lab": "cortex"}, 4),
        ({"performance_lte": 60}, 1),
        ({"performance_gte": 70}, 7),
        ({"users": "experimenter"}, 8),
        ({"users": ["nobody", "experimenter"]}, 8),
        ({"location": "ephys_0"}, 8),
        ({"location": ["_cortexlab_", "_churchland_"]}, 8),
        ({"procedures": "Ephys"}, 3),
        ({"procedures": ["chronic", "acute"]}, 3),
        ({"extended_qc": ["_task_stimOn_goCue_delays__gte", 0.5]}, 8),
        ({"dataset_types": ["spikes.times", "trials.table"]}, 3),
        ({"qc": ["CRITICAL", "WARNING"]}, 2),
        ({"atlas_acronym": "VISp"}, 0),
        ({"nickname": "KS01"}, 5),
        ({"project": "learninglife"}, 2),
    ],
    ids=str,
)
def test_terms_that_only_a_server_knows_are_asked_of_it(ask, terms, count):
    rows = ask("sessions", **terms)
    assert len(rows) == count
    assert len({row["id"] for row in rows}) == count


def test_a_term_that_does_not_exist_is_refused(ask):
    with pytest.raises(InvalidArgument, match="'subjct'.*mean 'subject'"):
        ask("sessions", subjct="x")
    for table in ("datasets", "insertions", "files", "tags", "aggregates", "cache"):
        with pytest.raises(InvalidArgument, match="unknown term 'nosuch'"):
            ask(table, nosuch="x")


@pytest.mark.parametrize(
    "terms",
    [
        {"number": "x"},
        {"date_range": "yesterday"},
        {"dataset_qc_lte": "FOO"},
        {"subject": "("},
        {"datasets": "("},
    ],
    ids=str,
)
def test_a_value_that_the_term_does_not_take_is_refused(ask, terms):
    with pytest.raises(InvalidArgument):
        ask("sessions", **terms)


def test_a_search_asks_for_little_and_each_thing_once(alyx):
    remote = connected(alyx)
    remote.records(Question("sessions", {"subject": "KS014"}))
    remote.records(Question("sessions", {"subject": "KS014"}))
    assert len(alyx.paths("/sessions")) == 1
    remote.records(Question("sessions", {"subject": "KS014", "no_cache": True}))
    assert len(alyx.paths("/sessions")) == 2
    terms = {
        "subject": [f"KS0{n}" for n in range(9)],
        "lab": [f"lab{n}" for n in range(9)],
        "number": list(range(9)),
    }
    remote.records(Question("sessions", terms))
    assert len(alyx.paths("/sessions")) <= 2 + 12


NASTY = [
    "['a']",
    "('a',)",
    "__import__('os').system('x')",
    "a,number,2",
    "~x",
    "None",
    "[__import__('os')]",
    "a&b=c",
    "1e5",
    "007",
    "x y",
    "é",
    "",
]


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("wildcards", [True, False])
def test_no_text_of_the_caller_reaches_what_the_server_evaluates(alyx, text, wildcards):
    remote = connected(alyx)
    terms = {"wildcards": wildcards, "subject": re.escape(text) if wildcards else text}
    assert remote.records(Question("sessions", terms)) == (
        [] if text else remote.records(Question("sessions", {}))
    )
    remote.records(Question("insertions", {**terms, "lab": terms["subject"]}))
    assert alyx.lab.evaluated == []
    for line in alyx.asked:
        assert "django" not in line or "icontains%2C" in line


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("KS014", "KS014"),
        ("^KS014$", "KS014"),
        ("KS01?4", "KS0"),
        ("KS01*4", "KS0"),
        ("KS01+4", "KS01"),
        (".*World6.*", "World6"),
        ("(a|bcd)", None),
        ("[ab]cd", None),
        ("a{3}", None),
        (r"\d+abc", "abc"),
        (r"a\.b", "a.b"),
        (r"a\?", "a"),
        ("", None),
        (".", None),
        ("True", None),
        ("1e5", None),
        ("0123", None),
        ("123", "123"),
    ],
)
def test_only_what_every_match_contains_is_asked_for(pattern, expected):
    assert literal_in(pattern, wildcards=True) == expected


def test_a_literal_is_in_every_text_that_its_pattern_finds():
    draw = random.Random(5)
    for _ in range(3000):
        pattern = "".join(draw.choice("aab1.^$*+?\\_-|(x") for _ in range(draw.randint(1, 7)))
        try:
            found = re.compile(pattern, re.IGNORECASE)
        except re.error:
            continue
        literal = literal_in(pattern, wildcards=True)
        if literal is None:
            continue
        for length in range(5):
            for letters in itertools.islice(itertools.product("ab1_.-", repeat=length), 300):
                text = "".join(letters)
                if found.search(text):
                    assert literal.lower() in text.lower(), pattern


def test_choices_that_would_make_too_many_requests_are_tested_here():
    terms = {"subject": list("abcdef"), "lab": list("uvwxyz"), "tag": ["t1", "t2", "t3"]}
    requests = plan(SESSIONS, terms).requests
    assert len(requests) == 3
    assert {request["tag"] for request in requests} == {"t1", "t2", "t3"}


# -- datasets ------------------------------------------------------------------------------------


def datasets(ask, **terms):
    return {
        row["rel_path"]: Dataset(**{**row, "qc": QC.read(row["qc"])})
        for row in ask("datasets", **terms)
    }


def test_the_datasets_of_a_session_are_those_of_the_tables(ask, tables):
    for session in tables.sessions([row["id"] for row in ask("sessions")]):
        expected = {one.rel_path: one for one in tables.datasets_of(session.id)}
        found = datasets(ask, eid=session.id)
        there = {path: one for path, one in found.items() if one.exists}
        assert set(there) == set(expected)
        for path, one in there.items():
            want = expected[path]
            assert (one.id, one.eid, one.qc) == (want.id, want.eid, want.qc)
            assert (one.file_size, one.hash or None) == (want.file_size, want.hash or None)
            assert one.default_revision == want.default_revision


def test_what_no_server_has_is_known_and_does_not_exist(ask):
    found = datasets(ask, eid=S3)
    assert len(found) == 18
    missing = {path for path, one in found.items() if not one.exists}
    assert missing == {"alf/_ibl_leftCamera.times.npy", "alf/eye.times.npy"}
    assert all(found[path].extra["data_url"] is None for path in missing)


def test_odd_values_become_one_thing(ask, alyx):
    assert datasets(ask, eid=S3)["alf/_ibl_rightCamera.times.npy"].hash is None
    assert datasets(ask, eid=S5)["alf/lightSource.times.npy"].file_size is None
    drift = datasets(ask, eid=S6)
    folder = "alf/probe00/pykilosort"
    assert drift[f"{folder}/#2024-05-06#/drift.times.npy"].default_revision is True
    assert drift[f"{folder}/drift.times.npy"].default_revision is False
    assert drift[f"{folder}/drift.times.npy"].revision == ""


def test_a_session_stays_usable_whatever_one_record_lacks(alyx):
    one = next(ds for ds in alyx.lab.datasets.values() if ds["session"] == S1)
    one.update(hash=None, file_size=None, qc=None, collection=None, tags=None, version=None)
    rows = connected(alyx).records(Question("datasets", {"eid": S1}))
    assert len(rows) == 22
    (row,) = (row for row in rows if row["id"] == one["id"])
    assert (row["hash"], row["file_size"], row["qc"], row["rel_path"]) == (
        None,
        None,
        "NOT_SET",
        one["name"],
    )


def test_a_server_without_an_address_has_the_file_and_no_way_to_it(alyx):
    (repository,) = (
        one for one in alyx.lab.tables["data-repository"] if one["name"] == "flatiron_cortexlab"
    )
    repository["data_url"] = None
    remote = connected(alyx)
    rows = remote.records(Question("datasets", {"eid": S1}))
    assert len(rows) == 22
    assert all(row["exists"] and row["extra"]["data_url"] is None for row in rows)


def test_datasets_are_given_by_id_tag_type_and_name(ask, shared):
    ids = [did for did in shared.lab.datasets if did.startswith(("0", "7"))]
    assert {row["id"] for row in ask("datasets", id=[*ids, UNKNOWN])} == set(ids)
    assert len(ask("datasets", tag=TAG)) == 18
    assert len(ask("datasets", tag=[TAG, "Brainwidemap", "protected_release"])) == 19
    assert len(ask("datasets", eid=[S1, S6])) == 43
    assert len(ask("datasets", eid=S1, dataset_type=["spikes.times", "spikes.amps"])) == 4
    assert [row["eid"] for row in ask("datasets", eid=S1, name="licks.times.npy")] == [S1]
    assert ask("datasets", eid=UNKNOWN) == []
    with pytest.raises(InvalidArgument, match="eid, id or tag"):
        ask("datasets", name="licks.times.npy")


def test_protection_tags_and_type_are_beside_the_dataset(ask):
    eid = "437d3ecb-b115-402c-a3f5-20ea5fbfb97e"
    extra = datasets(ask, eid=eid)["alf/_ibl_trials.table.pqt"].extra
    assert (extra["protected"], extra["tags"]) == (True, "protected_release")
    assert extra["dataset_type"] == "trials.table"


def test_aggregates_lie_below_the_root_of_the_cache(ask):
    (row,) = ask("aggregates", relation="subjects")
    assert row["rel_path"] == "aggregates/Subjects/cortexlab/KS014/_ibl_subjectTrials.table.pqt"
    assert (row["eid"], row["extra"]["relation"]) == ("", "subjects")
    assert row["extra"]["identifier"] == "cortexlab/KS014"
    assert len(ask("aggregates", identifier="KS014")) == 1
    assert ask("aggregates", relation="tags") == []
    assert ask("aggregates", relation="Subjects", identifier="KS9") == []


# -- insertions and the small ones ---------------------------------------------------------------


def test_insertions_are_searched_as_sessions_are(ask):
    def names(**terms):
        return [(row["session"]["subject"], row["name"]) for row in ask("insertions", **terms)]

    every = names()
    assert every == [
        ("ZFM-01577", "probe00"),
        ("KS014", "probe00"),
        ("KS014", "probe00"),
        ("KS014", "probe01"),
    ]
    assert names(subject="KS0") == every[1:]
    assert names(subject=["^KS014$", "ZFM"]) == every
    assert names(lab="church") == every[:1]
    assert names(name="probe01") == every[3:]
    assert names(name=["probe00", "probe01"]) == every
    assert names(eid=S1) == every[2:]
    assert names(session=[S1, S6]) == [every[0], *every[2:]]
    assert names(number=1, date_range="2023-03-13") == every[1:2]
    assert names(dataset="spikes.times") == every
    assert names(datasets=["spikes.times.npy", "clusters.metrics.pqt"]) == every
    assert names(tag="Brainwidemap") == every[2:]
    assert names(projects="learninglife") == every[:1]
    assert names(django="session__subject__nickname,KS014") == every[1:]
    assert names(subject="NOPE") == []


def test_an_insertion_has_its_session_and_datasets(ask):
    (row,) = ask("insertions", id="716dad76-6127-4c5e-9352-14d62c1aa197")
    assert (row["eid"], row["name"], row["model"]) == (S1, "probe00", "3B2")
    assert Session(**row["session"]).path == "cortexlab/Subjects/KS014/2023-03-10/001"
    assert set(row["datasets"]) <= {one["id"] for one in ask("datasets", eid=S1)}
    assert ask("insertions", id=UNKNOWN) == []
    with pytest.raises(InvalidArgument, match="part of a file name"):
        ask("insertions", dataset="['x']")


def test_copies_notices_and_descriptions_are_rows(ask, shared):
    did = "0718304d-0da5-49d8-9f47-c0fa497fd237"
    files = ask("files", dataset=did)
    assert {row["repository"] for row in files} == {"flatiron_cortexlab", "cortexlab_local"}
    (notice,) = ask("notices")
    assert notice["name"] == "camera clock"
    assert ask("notices", dataset=notice["datasets"][:1]) == [notice]
    assert ask("notices", dataset=[did]) == []
    assert [row["name"] for row in ask("subjects")] == ["KS01", "KS014", "ZFM-01577"]
    assert ask("revisions", name="2024-05-06")[0]["description"].startswith("revision")
    assert ask("revisions", name="2000-01-01") == []
    assert len(ask("tags")) == 3
    assert ask("dataset-types", name=["spikes.times", "no.such"])[0]["name"] == "spikes.times"
    repositories = {row["name"]: row for row in ask("data-repository")}
    assert repositories["cortexlab_local"]["personal"] is True
    assert repositories["flatiron_cortexlab"]["data_url"].startswith(shared.data_url)
    assert "json" not in repositories["flatiron_cortexlab"]
    assert len(ask("session-details", id=[S1])[0]["data_dataset_session_related"]) == 22
    assert ask("session-details", id=[UNKNOWN]) == []
    assert ask("weather") is None


def test_a_server_that_knows_no_notices_has_none(alyx):
    alyx.fail("/data-notices", 404, "<html>")
    assert connected(alyx).records(Question("notices", {})) == []


# -- whole tables --------------------------------------------------------------------------------


def test_whole_tables_are_where_the_server_says(ask, remote, shared):
    (row,) = ask("cache")
    assert row["tables"]["datasets"]["nrecs"] == 85
    with remote.open(File("cache.zip", url=row["data_url"])) as body:
        content = b"".join(body.chunks)
    assert zipfile.ZipFile(io.BytesIO(content)).namelist()[:2] == ["sessions.pqt", "datasets.pqt"]


def test_the_tables_of_a_tag_are_never_those_of_everything(ask):
    (row,) = ask("cache", tag=TAG)
    assert (row["tag"], row["data_url"]) == (TAG, None)
    with pytest.raises(InvalidArgument, match="no tag '2024_Q2'.*Brainwidemap"):
        ask("cache", tag="2024_Q2")


def test_the_tables_of_a_tag_come_from_their_own_place_where_there_is_one():
    with AlyxDouble(tables_root_on_http=True) as double:
        remote = AlyxRemote(
            double.url,
            username="root",
            password="secret-of-root",
            data_username="datauser",
            data_password="secret-of-data",
        )
        (row,) = remote.records(Question("cache", {"tag": TAG}))
        with remote.open(File("cache.zip", url=row["data_url"])) as body:
            archive = zipfile.ZipFile(io.BytesIO(b"".join(body.chunks)))
        assert f'"database_tags": ["{TAG}"]' in archive.read("cache_info.json").decode()


def test_a_tag_that_the_server_cannot_spell_is_still_one(alyx):
    alyx.lab.tables["tags"].append({**alyx.lab.tables["tags"][0], "name": "my-tag"})
    (row,) = connected(alyx).records(Question("cache", {"tag": "my-tag"}))
    assert row["data_url"] is None


def test_old_answers_serve_every_question_when_the_server_is_away(alyx, recwarn):
    remote = connected(alyx)
    expected = remote.records(Question("datasets", {"eid": S3}))
    with alyx.away():
        assert remote.records(Question("datasets", {"eid": S3})) == expected
    assert not [one for one in recwarn if one.category is CacheWarning]
