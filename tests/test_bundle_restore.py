"""What a record names is brought as it was read, whatever the source has become."""

import json
import os
import shutil
from dataclasses import replace

import pytest

from one_cache import ONE, QC, Cache
from one_cache.errors import InvalidArgument, NotInCache, OneCacheError
from one_cache.recorder import Entry, read_record
from one_cache.serve import DataServer
from one_cache.tables import Tables

PLACE = "KS014/2024-02-07/001"
OTHER = "KS01/2024-01-15/001"


def content(cache, entries):
    return {entry.path: cache.store.path(entry.path).read_bytes() for entry in entries}


def change_tables(lab, **changes):
    """Change rows of a lab: dataset id -> fields, or None to take the row away."""
    tables = Tables.open(lab, silent=True)
    rows = tables.rows("SELECT id FROM datasets")
    found = {one.id: one for one in tables.datasets([row["id"] for row in rows])}
    sessions = tables.sessions([row["id"] for row in tables.rows("SELECT id FROM sessions")])
    tables.close()
    for key, fields in changes.items():
        if fields is None:
            del found[key]
        else:
            found[key] = replace(found[key], **fields)
    fresh = Tables.open(None)
    fresh.add("sessions", sessions)
    fresh.add("datasets", list(found.values()))
    fresh.save(lab, clobber=True)


@pytest.fixture
def served(lab):
    with DataServer(lab) as server:
        yield server.url


@pytest.fixture
def first(served, tmp_path):
    """A cache that has read some datasets, and the record of it."""
    cache = Cache(tmp_path / "first", remote=served, silent=True)
    with cache.recording():
        cache.load_object(PLACE, "wheel")
        cache.load_dataset(PLACE, "drift.times.npy", revision="2024-01-01")
        cache.load_dataset(OTHER, "licks.times.npy")
    cache.record = cache.save_record(tmp_path / "record.jsonl")
    return cache


@pytest.fixture
def second(tmp_path):
    return Cache(tmp_path / "second", silent=True)


def test_a_record_comes_from_the_source_that_it_names(first, second):
    report = second.restore(first.record)
    assert report.ok
    assert len(report.files) == 4
    _, entries = read_record(first.record)
    assert content(second, entries) == content(first, entries)
    assert report.size == sum(entry.size for entry in entries)


@pytest.mark.parametrize("form", ["folder", "path", "address", "cache", "remote"])
def test_a_record_comes_from_any_place_that_has_the_files(first, second, form, lab, served):
    from one_cache.remotes import connect

    source = {
        "folder": str(lab),
        "path": lab,
        "address": served,
        "cache": first.cache_dir,
        "remote": connect(served),
    }[form]
    report = second.restore(first.record, source=source)
    assert report.ok
    assert second.load_dataset(OTHER, "licks.times.npy").size
    assert second.load_object(PLACE, "wheel").position.size


def test_the_restored_cache_runs_the_script_again(first, second):
    second.restore(first.record)
    assert second.mode == "local"
    later = Cache(second.cache_dir)
    assert len(later.search()) == 2
    revision = later.load_dataset(
        PLACE, "drift.times.npy", revision="2024-01-01", download_only=True
    )
    assert "#" not in str(revision)
    session = later.get_details(PLACE)
    assert session["task_protocol"]
    later.freeze()
    assert ONE(cache_dir=second.cache_dir, mode="fixed").load_object(PLACE, "wheel")


def test_the_recorded_revision_comes_though_there_is_a_newer_default(first, second, lab, sample):
    old, new = sample.revised
    change_tables(lab, **{old.id: {"default_revision": False, "qc": QC.CRITICAL}})
    report = second.restore(first.record)
    assert report.ok
    assert second.store.path(f"northlab/Subjects/{PLACE}/{old.rel_path}").is_file()
    assert not second.store.path(f"northlab/Subjects/{PLACE}/{new.rel_path}").exists()


def test_what_cannot_be_had_is_listed_with_its_reason_and_the_rest_comes(first, second, lab):
    _, (position, timestamps, drift, licks) = read_record(first.record)
    os.remove(lab / position.path)
    (lab / timestamps.path).write_bytes(os.urandom(timestamps.size))
    (lab / drift.path).write_bytes(b"shorter")
    report = second.restore(first.record)
    assert [file.path for file in report.files] == [licks.path]
    kinds = {problem.path: problem.kind for problem in report.problems}
    assert kinds == {position.path: "gone", timestamps.path: "changed", drift.path: "changed"}
    reasons = {problem.path: problem.reason for problem in report.problems}
    assert "404" in reasons[position.path]
    assert timestamps.hash[:12] in reasons[timestamps.path]
    assert not report.ok
    assert not second.store.path(timestamps.path).exists()
    with pytest.raises(NotInCache, match=position.hash):
        second.load_dataset(PLACE, "wheel.position")


def test_what_the_remote_of_the_cache_lacks_comes_from_the_source_of_the_record(
    first, lab, tmp_path
):
    shutil.copytree(lab, tmp_path / "mirror")
    _, entries = read_record(first.record)
    os.remove(tmp_path / "mirror" / entries[0].path)
    (tmp_path / "mirror" / entries[1].path).write_bytes(b"other")
    cache = Cache(tmp_path / "third", remote=str(tmp_path / "mirror"), silent=True)
    assert cache.restore(first.record).ok
    assert content(cache, entries) == content(first, entries)
    # where one is named, it is the only one
    other = Cache(tmp_path / "fourth", remote=str(lab), silent=True)
    report = other.restore(first.record, source=tmp_path / "mirror")
    assert [problem.kind for problem in report.problems] == ["gone", "changed"]


def test_a_record_of_two_sources_comes_from_both(first, second, lab, tmp_path):
    _, entries = read_record(first.record)
    with DataServer(tmp_path / "first") as elsewhere:
        mixed = [replace(entries[0], source=elsewhere.url), *entries[1:]]
        os.remove(lab / entries[0].path)
        assert second.restore(mixed).ok


def test_what_is_forbidden_is_said_to_be(first, second, lab):
    with DataServer(lab, token="secret") as closed:
        report = second.restore(first.record, source=closed.url)
    assert {problem.kind for problem in report.problems} == {"forbidden"}
    assert len(report.problems) == 4


def test_what_is_here_needs_no_source(first, lab, tmp_path):
    again = Cache(first.cache_dir, silent=True)
    shutil.rmtree(lab)
    report = again.restore(first.record, source=lab)
    assert report.ok
    _, entries = read_record(first.record)
    again.store.path(entries[0].path).unlink()
    report = again.restore(first.record, source=lab)
    assert [(one.path, one.kind) for one in report.problems] == [(entries[0].path, "failed")]
    assert "there is no folder" in report.problems[0].reason


def test_damaged_files_are_brought_again(first, lab):
    _, entries = read_record(first.record)
    place = first.store.path(entries[0].path)
    before = place.read_bytes()
    place.write_bytes(bytes(len(before)))
    assert first.restore(first.record).ok
    assert place.read_bytes() == before


def test_a_fixed_cache_is_only_looked_at(first, lab):
    first.freeze()
    fixed = Cache(first.cache_dir, remote=str(lab), mode="fixed")
    assert fixed.restore(first.record).ok
    _, entries = read_record(first.record)
    fixed.store.path(entries[0].path).unlink()
    [problem] = (
        Cache(first.cache_dir, remote=str(lab), mode="fixed").restore(first.record).problems
    )
    assert (problem.kind, problem.path) == ("missing", entries[0].path)


def test_rows_that_the_tables_have_stay_as_they_are(first, tmp_path, lab, sample):
    old, new = sample.revised
    cache = Cache(tmp_path / "third", remote=str(lab), silent=True)
    cache.load_dataset(PLACE, "drift.times.npy")
    cache.save_cache()
    before = {one.id: one for one in cache.tables.datasets_of(old.eid)}
    cache.restore(first.record)
    after = {one.id: one for one in Cache(cache.cache_dir).tables.datasets_of(old.eid)}
    assert after == before
    assert (
        "#"
        in Cache(cache.cache_dir)
        .load_dataset(PLACE, "drift.times.npy", download_only=True)
        .as_posix()
    )


@pytest.mark.parametrize("sessions_only", [False, True])
def test_lists_of_ids_are_restored_from_what_is_known_today(
    first, tmp_path, served, sessions_only
):
    ids, path = first.save_loaded_ids(sessions_only=sessions_only)
    cache = Cache(tmp_path / "third", remote=served, silent=True)
    report = cache.restore(path)
    assert report.ok
    if sessions_only:
        # each default dataset of both sessions
        assert len(report.files) == 26 + 24
    else:
        assert {file.id for file in report.files} == {str(one) for one in ids}
    bare = Cache(tmp_path / "fourth", silent=True)
    assert bare.restore(path, source=served).files == report.files


def test_ids_that_nobody_knows_are_listed(tmp_path, served, sample):
    known = sample.datasets[0].id
    path = tmp_path / "ids.csv"
    path.write_text(
        f"dataset_uuid\n{known}\n00000000-0000-4000-8000-000000000000\n{sample.missing.id}\n"
    )
    report = Cache(tmp_path / "cache", silent=True).restore(path, source=served)
    assert [file.id for file in report.files] == [known]
    kinds = {problem.id: problem.kind for problem in report.problems}
    assert kinds == {
        "00000000-0000-4000-8000-000000000000": "unknown",
        sample.missing.id: "gone",
    }


def test_a_record_that_names_places_outside_the_cache_is_refused(second, lab, tmp_path):
    (lab / "secret.npy").write_bytes(b"x")
    entries = [
        Entry("dataset", "1", path="../secret.npy", size=1),
        Entry("dataset", "2", path="/etc/passwd"),
        Entry("dataset", "3", path="a.npy", hash="no hash at all"),
        Entry("dataset", "4", path="secret.npy", rel_path="secret.npy", size=1),
    ]
    report = second.restore(entries, source=lab)
    assert [file.path for file in report.files] == ["secret.npy"]
    assert [problem.kind for problem in report.problems] == ["refused", "refused", "failed"]
    assert not (tmp_path / "secret.npy").exists()


def test_answers_come_from_folders_and_not_from_servers(second, lab, served):
    (lab / "neuprint").mkdir()
    (lab / "neuprint" / "answer.pqt").write_bytes(b"answer")
    entry = Entry("query", "q", path="neuprint/answer.pqt", size=6, source=served)
    [problem] = second.restore([entry]).problems
    assert problem.kind == "missing"
    assert "bundle" in problem.reason
    assert second.restore([entry], source=lab).ok


def test_the_last_reading_of_a_path_counts(second, lab, sample):
    dataset = sample.by_qc[QC.PASS]
    path = f"southlab/Subjects/ZM-07/2024-03-11/001/{dataset.rel_path}"
    fields = {"eid": dataset.eid, "path": path, "rel_path": dataset.rel_path}
    old = Entry("dataset", dataset.id, **fields, hash="0" * 32)
    new = Entry("dataset", dataset.id, **fields, hash=dataset.hash)
    assert second.restore([old, new], source=lab).ok
    assert not second.restore([new, old], source=lab).ok


@pytest.mark.parametrize(
    "text", ["", "nonsense", '{"record": 1}\n{"kind": "dataset", "id": 3}\n', '{"record": 99}\n']
)
def test_what_is_no_record_is_named(second, tmp_path, text):
    (tmp_path / "r.jsonl").write_text(text)
    with pytest.raises(OneCacheError, match=r"r\.jsonl"):
        second.restore(tmp_path / "r.jsonl")
    with pytest.raises(InvalidArgument, match="no record at"):
        second.restore(tmp_path / "missing.jsonl")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidArgument, match="no record at"):
        second.restore(tmp_path / "folder")


def test_a_thousand_small_files_are_one_transfer(tmp_path, second):
    home = tmp_path / "home"
    cache = Cache(home, silent=True)
    entries = []
    for number in range(1000):
        path = f"lab/Subjects/s/2024-01-01/001/alf/o{number:04d}.a.npy"
        file = cache.store.write(path, json.dumps(number).encode())
        entries.append(
            Entry(
                "dataset",
                f"{number:08d}-0000-4000-8000-000000000000",
                "e",
                path,
                path.split("/001/")[1],
                size=file.size,
                hash=file.hash,
            )
        )
    report = second.restore(entries, source=home)
    assert report.ok
    assert len(report.files) == 1000
    assert len(second.datasets) == 1000


# -- frozen ----------------------------------------------------------------------------------


def test_a_record_is_frozen_as_it_was_read(first, lab, sample, tmp_path):
    old, new = sample.revised
    # today: another default, and a worse QC
    change_tables(lab, **{old.id: {"qc": QC.CRITICAL}})
    today = Cache(first.cache_dir, remote=str(lab), silent=True)
    today.load_cache()
    manifest = today.freeze(tmp_path / "frozen", record=first.record, release="paper")
    assert manifest == tmp_path / "frozen" / "manifest.json"
    fixed = ONE(
        cache_dir=first.cache_dir, tables_dir=tmp_path / "frozen", mode="fixed", version="paper"
    )
    assert len(fixed.datasets) == 4
    assert len(fixed.sessions) == 2
    [dataset] = fixed.tables.datasets([old.id])
    assert dataset.qc is QC.NOT_SET
    assert fixed.load_dataset(PLACE, "drift.times.npy", revision="2024-01-01").size
    assert fixed.load_object(PLACE, "wheel").position.size


def test_a_frozen_record_needs_a_folder_of_its_own(first, tmp_path):
    with pytest.raises(InvalidArgument, match="name a folder"):
        first.freeze(record=first.record)
    with pytest.raises(InvalidArgument, match="not empty"):
        first.freeze(first.cache_dir, record=first.record)
