"""What differs between tables, manifests, bundles, records; what of a record is outdated."""

import random
import uuid
from collections import Counter
from dataclasses import replace

import pytest

from one_cache import QC, Cache
from one_cache.bundle.compare import diff
from one_cache.errors import InvalidArgument, ManifestMismatch
from one_cache.recorder import Entry
from one_cache.records import Dataset, Session
from one_cache.tables import Tables

PLACE = "KS014/2024-02-07/001"


def write(folder, datasets=(), sessions=(), **others):
    tables = Tables.open(None)
    tables.add("sessions", sessions)
    tables.add("datasets", datasets)
    for name, rows in others.items():
        tables.add(name, rows)
    folder.mkdir(exist_ok=True)
    tables.save(folder, clobber=True)
    return folder


def make(name, *, revision="", session="e1", **fields):
    folder = f"alf/#{revision}#" if revision else "alf"
    key = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{session} {name} {revision}"))
    values = {"file_size": 10, "hash": key.replace("-", ""), "default_revision": True}
    return Dataset(key, session, f"{folder}/{name}", **{**values, **fields})


A = make("a.b.npy")
B = make("b.c.npy")


def kinds(found):
    return [(one.kind, one.path, one.before, one.after) for one in found]


def test_tables_that_say_the_same_do_not_differ(tmp_path):
    before = write(tmp_path / "a", [A, B], [Session("e1", "lab", "KS")])
    after = write(tmp_path / "b", [B, A], [Session("e1", "lab", "KS")])
    found = diff(before, after)
    assert len(found) == 0
    assert found.counts == {}
    assert repr(found) == "Diff(no difference)"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([A], [A, B], [("added", "alf/b.c.npy", "", "alf/b.c.npy")]),
        ([A, B], [A], [("removed", "alf/b.c.npy", "alf/b.c.npy", "")]),
        ([A], [replace(A, hash="f" * 32)], [("bytes", "alf/a.b.npy", A.hash, "f" * 32)]),
        ([A], [replace(A, hash=A.hash.upper())], []),
        (
            [replace(A, hash=None)],
            [replace(A, hash=None, file_size=11)],
            [("bytes", "alf/a.b.npy", "10 bytes", "11 bytes")],
        ),
        # hashes of two kinds cannot be compared
        ([A], [replace(A, hash="f" * 64)], []),
        ([replace(A, hash=None)], [A], []),
        ([A], [replace(A, qc=QC.FAIL)], [("qc", "alf/a.b.npy", "NOT_SET", "FAIL")]),
        ([replace(A, qc=QC.FAIL)], [A], [("qc", "alf/a.b.npy", "FAIL", "NOT_SET")]),
        ([A], [replace(A, default_revision=False)], [("default", "alf/a.b.npy", "yes", "no")]),
        ([A], [replace(A, default_revision=None)], []),
        ([A], [replace(A, exists=False)], [("removed", "alf/a.b.npy", "alf/a.b.npy", "")]),
        ([replace(A, exists=False)], [A], [("added", "alf/a.b.npy", "", "alf/a.b.npy")]),
        ([], [replace(A, exists=False)], []),
        (
            [A],
            [replace(A, rel_path="alf/a.d.npy")],
            [("moved", "alf/a.d.npy", "alf/a.b.npy", "alf/a.d.npy")],
        ),
        # the same place under another id
        (
            [A],
            [replace(A, id=B.id, qc=QC.PASS)],
            [("qc", "alf/a.b.npy", "NOT_SET", "PASS")],
        ),
        # the same name in another session
        ([A], [A, make("a.b.npy", session="e2")], [("added", "alf/a.b.npy", "", "alf/a.b.npy")]),
        (
            [A],
            [replace(A, default_revision=False), make("a.b.npy", revision="2024-05-06")],
            [
                ("revised", "alf/#2024-05-06#/a.b.npy", "alf/a.b.npy", "alf/#2024-05-06#/a.b.npy"),
                ("default", "alf/a.b.npy", "yes", "no"),
            ],
        ),
        # an earlier revision than the one that is there
        (
            [make("a.b.npy", revision="2024-05-06")],
            [make("a.b.npy", revision="2024-05-06"), make("a.b.npy", revision="2023-01-01")],
            [("added", "alf/#2023-01-01#/a.b.npy", "", "alf/#2023-01-01#/a.b.npy")],
        ),
        (
            [A, make("a.b.npy", revision="2024-01-01", default_revision=False)],
            [make("a.b.npy", revision="2024-05-06")],
            [
                ("removed", "alf/#2024-01-01#/a.b.npy", "alf/#2024-01-01#/a.b.npy", ""),
                ("removed", "alf/a.b.npy", "alf/a.b.npy", ""),
                ("revised", "alf/#2024-05-06#/a.b.npy", "alf/a.b.npy", "alf/#2024-05-06#/a.b.npy"),
            ],
        ),
    ],
)
def test_each_kind_of_change_is_told(tmp_path, before, after, expected):
    keep = make("keep.it.npy", session="e9")
    found = diff(write(tmp_path / "a", [*before, keep]), write(tmp_path / "b", [*after, keep]))
    assert kinds(found) == expected
    assert found.counts == Counter(kind for kind, *_ in expected)
    assert all(change.eid for change in found)


def test_several_changes_of_one_dataset_are_all_told(tmp_path):
    later = replace(A, hash="f" * 32, qc=QC.CRITICAL, default_revision=False)
    found = diff(write(tmp_path / "a", [A]), write(tmp_path / "b", [later]))
    assert found.counts == {"bytes": 1, "qc": 1, "default": 1}
    assert {change.id for change in found} == {A.id}


def test_sessions_and_tables_of_other_kinds_are_compared(tmp_path):
    before = write(tmp_path / "a", [], [Session("e1", "lab", "KS")], insertions=[{"id": "p1"}])
    after = write(
        tmp_path / "b",
        [],
        [Session("e1", "lab", "KS"), Session("e2", "lab", "KS")],
        insertions=[{"id": "p2"}],
        notices=[{"id": "n"}],
    )
    found = {(change.kind, change.path) for change in diff(before, after)}
    assert found == {("added", "lab/KS"), ("bytes", "insertions.pqt"), ("added", "notices.pqt")}


def test_many_rows_are_compared_as_a_dictionary_would(tmp_path):
    rng = random.Random(5)
    before = {}
    for number in range(4000):
        one = make(f"o{number}.a.npy", session=f"e{number % 50}")
        before[one.id] = one
    after = dict(before)
    expected = Counter()
    for key in rng.sample(sorted(before), 400):
        kind = rng.choice(["bytes", "qc", "default", "removed"])
        changed = {
            "bytes": {"hash": "e" * 32},
            "qc": {"qc": QC.WARNING},
            "default": {"default_revision": False},
            "removed": None,
        }[kind]
        expected[kind] += 1
        if changed is None:
            del after[key]
        else:
            after[key] = replace(after[key], **changed)
    found = diff(write(tmp_path / "a", before.values()), write(tmp_path / "b", after.values()))
    assert found.counts == expected
    back = diff(tmp_path / "b", tmp_path / "a")
    assert back.counts == {**{"added" if k == "removed" else k: n for k, n in expected.items()}}
    assert [one.kind for one in back] == sorted(
        (one.kind for one in back), key=["added", "bytes", "qc", "default"].index
    )


@pytest.fixture
def cache(url, tmp_path):
    cache = Cache(tmp_path / "cache", remote=url, silent=True)
    with cache.recording():
        cache.load_object(PLACE, "wheel")
        cache.load_dataset(PLACE, "drift.times.npy", revision="2024-01-01")
    cache.record = cache.save_record(tmp_path / "record.jsonl")
    return cache


def test_all_forms_of_the_same_thing_are_the_same(cache, tmp_path, url, lab):
    cache.bundle(cache.record, tmp_path / "out")
    cache.bundle(cache.record, tmp_path / "out.zip")
    forms = [cache.record, tmp_path / "out", tmp_path / "out.zip", tmp_path / "out/manifest.json"]
    for before in forms:
        for after in forms:
            assert len(diff(before, after)) == 0, (before, after)
    assert diff(url, lab).counts == {}
    assert diff(tmp_path / "out", url).counts["added"] > 200


def test_beside_a_record_only_what_was_read_counts(cache, lab):
    expected = ("revised", "alf/probe00/pykilosort/#2024-05-06#/drift.times.npy")
    [change] = diff(cache.record, lab)
    assert change[:2] == expected
    assert len(diff(lab, cache.record)) == 0


def test_two_records_are_compared_whole(cache, tmp_path):
    with cache.recording():
        cache.load_dataset(PLACE, "licks.times.npy")
    cache.recorder.add(Entry("query", "q"))
    later = cache.save_record(tmp_path / "later.jsonl")
    assert kinds(diff(cache.record, later)) == [
        ("added", "alf/licks.times.npy", "", "alf/licks.times.npy")
    ]
    assert diff(later, cache.record).counts == {"removed": 1}


def test_tables_that_are_not_those_of_their_manifest_are_refused(cache, tmp_path):
    manifest = cache.freeze()
    assert len(diff(manifest, manifest)) == 0
    cache.list_datasets("KS01/2024-01-15/001")
    cache.save_cache()
    with pytest.raises(ManifestMismatch, match=r"datasets\.pqt has"):
        diff(manifest, manifest)


def test_what_cannot_be_compared_is_named(cache, tmp_path):
    _, ids = cache.save_loaded_ids()
    with pytest.raises(InvalidArgument, match="nothing to compare"):
        diff(ids, cache.record)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidArgument, match="no tables in"):
        diff(tmp_path / "empty", cache.record)
    with pytest.raises(InvalidArgument, match="no record at"):
        diff(tmp_path / "nothing", cache.record)


# -- outdated --------------------------------------------------------------------------------


def today(folder, *datasets, notices=()):
    sessions = [Session(eid, "lab", eid) for eid in {one.eid for one in datasets} if eid]
    others = {"notices": list(notices)} if notices else {}
    return Cache(write(folder, datasets, sessions, **others), silent=True)


def entry(dataset, **fields):
    values = {
        "eid": dataset.eid,
        "path": dataset.rel_path,
        "rel_path": dataset.rel_path,
        "revision": dataset.revision,
        "size": dataset.file_size,
        "hash": dataset.hash,
        "qc": dataset.qc.name,
        "default": dataset.default_revision,
    }
    return Entry("dataset", dataset.id, **{**values, **fields})


def test_what_is_as_it_was_is_not_outdated(tmp_path):
    assert today(tmp_path / "t", A, B).outdated([entry(A), entry(B)]) == []


def test_a_better_qc_is_no_reason_to_look(tmp_path):
    better = replace(A, qc=QC.PASS)
    assert today(tmp_path / "t", better).outdated([entry(A, qc="WARNING")]) == []


def test_each_reason_is_told_in_the_order_of_the_record(tmp_path):
    gone, lost, bad, other = (make(f"{name}.x.npy") for name in ("gone", "lost", "bad", "other"))
    revised = make("a.b.npy", revision="2024-05-06")
    cache = today(
        tmp_path / "t",
        replace(A, default_revision=False),
        revised,
        replace(lost, exists=False),
        replace(bad, qc=QC.CRITICAL),
        replace(other, hash="f" * 32, default_revision=False),
        notices=[{"id": "n1", "name": "drift", "description": "wrong clock", "datasets": bad.id}],
    )
    found = cache.outdated([entry(one) for one in (A, gone, lost, bad, other)])
    assert kinds(found) == [
        ("revised", "alf/a.b.npy", "alf/a.b.npy", "alf/#2024-05-06#/a.b.npy"),
        ("gone", "alf/gone.x.npy", "alf/gone.x.npy", "no record of it"),
        ("gone", "alf/lost.x.npy", "alf/lost.x.npy", "on no server"),
        ("qc", "alf/bad.x.npy", "NOT_SET", "CRITICAL"),
        ("notice", "alf/bad.x.npy", "", "drift: wrong clock"),
        ("bytes", "alf/other.x.npy", other.hash, "f" * 32),
        ("default", "alf/other.x.npy", "yes", "no"),
    ]


def test_a_revision_after_the_cut_off_does_not_exist(tmp_path, monkeypatch):
    datasets = [A, make("a.b.npy", revision="2024-05-06"), make("a.b.npy", revision="2025-01-01")]
    monkeypatch.setenv("ONE_REVISION_LAST_BEFORE", "2024-12-31")
    [change] = today(tmp_path / "t", *datasets).outdated([entry(A)])
    assert change.after == "alf/#2024-05-06#/a.b.npy"
    monkeypatch.setenv("ONE_REVISION_LAST_BEFORE", "2024-01-01")
    assert today(tmp_path / "t", *datasets).outdated([entry(A)]) == []


def test_datasets_of_no_session_are_looked_up_by_id(tmp_path):
    one = Dataset(A.id, "", "aggregates/subjectTrials.table.pqt", hash="0" * 32)
    cache = today(tmp_path / "t", replace(one, hash="1" * 32), B)
    assert [change.kind for change in cache.outdated([entry(one)])] == ["bytes"]


def test_remote_mode_asks_the_remote(cache, lab, tmp_path):
    assert [change.kind for change in cache.outdated(cache.record)] == ["revised"]
    _, ids = cache.save_loaded_ids()
    with pytest.raises(InvalidArgument, match="list of ids"):
        cache.outdated(ids)


class Database:
    """A remote that answers questions, with notices."""

    name = "database"

    def __init__(self, datasets, notices):
        self.datasets, self.notices, self.asked = datasets, notices, []

    def tables(self):
        return []

    def records(self, question):
        self.asked.append(question)
        if question.table == "notices":
            return self.notices
        rows = [vars(one) for one in self.datasets]
        if "eid" in question.terms:
            return [row for row in rows if row["eid"] == question.terms["eid"]]
        return [row for row in rows if row["id"] in question.terms["id"]]

    def open(self, file, start=0, validator=None):
        raise NotImplementedError

    def url(self, file):
        return f"database:///{file.path}"


def test_a_database_is_asked_for_notices(tmp_path):
    remote = Database([A, B], [{"id": "1", "name": "n", "description": "d", "datasets": [B.id]}])
    cache = Cache(tmp_path, remote=remote)
    [change] = cache.outdated([entry(A), entry(B)])
    assert (change.kind, change.id, change.after) == ("notice", B.id, "n: d")
    assert "notices" in [one.table for one in remote.asked]
