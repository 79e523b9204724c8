from uuid import UUID

import pandas as pd
import pytest

from one_cache import Cache
from one_cache.errors import InvalidArgument, SessionNotFound, UnknownSearchTerm

PLACE = "KS014/2024-02-07/001"


@pytest.fixture(params=["local", "remote"])
def cache(request, lab, url, tmp_path):
    """The same lab, asked in two ways: all answers are the same."""
    if request.param == "local":
        return Cache(lab, silent=True)
    return Cache(tmp_path / "cache", remote=url, silent=True)


def test_sessions_are_found_as_uuids_newest_first(cache, sample):
    eids = cache.search(subject="^KS014$")
    assert all(isinstance(eid, UUID) for eid in eids)
    days = [cache.get_details(eid)["date"] for eid in eids]
    assert days == sorted(days, reverse=True)
    assert len(cache.search()) == len(sample.eids) == 12
    assert cache.search(subject="nobody") == []


def test_details_are_a_record_for_each(cache):
    eids, details = cache.search(subject="KS014", details=True)
    assert [record.id for record in details] == eids
    assert {record["subject"] for record in details} == {"KS014"}
    assert cache.search(subject="nobody", details=True) == ([], [])


def test_unknown_terms_are_refused_with_the_nearest(cache):
    with pytest.raises(UnknownSearchTerm, match="Did you mean 'subject'"):
        cache.search(subjct="KS014")
    assert "subject" in cache.search_terms()


def test_subjects_are_listed(cache):
    assert cache.list_subjects() == ["KS01", "KS014", "ZM-07", "ZM_12"]


def test_datasets_are_listed_sorted(cache):
    paths = cache.list_datasets(PLACE)
    assert paths == sorted(paths)
    assert len(paths) == 28
    assert cache.list_datasets(PLACE, "*wheel*") == [
        "alf/_ibl_wheel.position.npy",
        "alf/_ibl_wheel.timestamps.npy",
    ]
    assert cache.list_datasets(PLACE, collection="alf/probe00", filename={"object": "spikes"})
    revisions = cache.list_datasets(PLACE, "drift.times.npy")
    assert len(revisions) == 2
    assert len(cache.list_datasets(PLACE, "drift.times.npy", default_revisions_only=True)) == 1


def test_details_of_datasets_are_a_frame(cache):
    frame = cache.list_datasets(PLACE, details=True)
    assert frame.index.name == "id"
    assert isinstance(frame.index[0], UUID)
    assert set(frame.columns) >= {"file_size", "hash", "exists", "rel_path", "qc"}
    assert str(frame["file_size"].dtype) == "UInt64"
    assert frame["qc"].cat.ordered
    assert cache.list_datasets(PLACE, details=True, keep_eid_index=True).index.names == [
        "eid",
        "id",
    ]
    empty = cache.list_datasets(PLACE, "no.such.npy", details=True)
    assert len(empty) == 0
    assert list(empty.columns) == list(frame.columns)


def test_critical_datasets_are_hidden_unless_asked(cache):
    poor = "ZM-07/2024-03-11/001"
    hidden = set(cache.list_datasets(poor, qc="CRITICAL")) - set(cache.list_datasets(poor))
    assert hidden == {"alf/_ibl_leftCamera.times.npy"}
    passing = cache.list_datasets(poor, qc="PASS", ignore_qc_not_set=True)
    assert passing == ["alf/probe00/spikes.times.npy"]


def test_datasets_of_all_sessions_are_listed_once_each(cache):
    paths = cache.list_datasets()
    assert len(paths) == len(set(paths))
    assert cache.list_datasets(filename="*wheel.position*") == ["alf/_ibl_wheel.position.npy"]
    frame = cache.list_datasets(filename="*wheel.position*", details=True)
    assert len(frame) == 12
    assert frame.index.names == ["eid", "id"]


def test_collections_and_revisions_are_listed(cache):
    collections = cache.list_collections(PLACE)
    assert collections == ["alf", "alf/probe00", "alf/probe00/pykilosort", "alf/probe01"]
    assert cache.list_collections(PLACE, filename="*wheel*") == ["alf"]
    assert cache.list_revisions(PLACE) == ["", "2024-05-06"]
    assert cache.list_revisions(PLACE, revision="2024*") == ["2024-05-06"]
    tables = cache.list_collections(PLACE, details=True)
    assert sorted(tables) == collections
    assert all(isinstance(table, pd.DataFrame) for table in tables.values())
    assert set(cache.list_revisions(PLACE, details=True)) == {"", "2024-05-06"}
    assert "alf/probe01" in cache.list_collections()


def test_details_of_a_session(cache, sample):
    details = cache.get_details(PLACE)
    assert details.name == UUID(sample.eid(PLACE))
    assert (details["subject"], details["number"]) == ("KS014", 1)
    full = cache.get_details(PLACE, full=True)
    assert len(full) == 28
    assert set(full["subject"]) == {"KS014"}
    assert len(cache.get_details([PLACE, PLACE])) == 2


def test_an_unknown_session_is_an_error_and_one_without_datasets_is_not(cache):
    with pytest.raises(SessionNotFound):
        cache.list_datasets("00000000-0000-4000-8000-000000000000")
    cache.tables.add("sessions", [{"id": "00000000-0000-4000-8000-000000000001", "subject": "e"}])
    assert cache.list_datasets("00000000-0000-4000-8000-000000000001", query_type="local") == []


def test_wildcards_can_be_turned_off(lab):
    cache = Cache(lab, wildcards=False)
    assert cache.list_datasets(PLACE, r".*wheel\.position\.npy") == ["alf/_ibl_wheel.position.npy"]
    assert cache.search(subject="^KS014$") == []
    with pytest.raises(InvalidArgument, match="regular expression"):
        cache.list_datasets(PLACE, "*wheel*")


def test_what_questions_brought_is_saved(url, tmp_path):
    cache = Cache(tmp_path, remote=url, silent=True)
    cache.list_datasets(PLACE)
    assert len(cache.datasets) == 28
    assert len(cache.sessions) == 1
    assert cache.sessions.index.name == "id"
    assert cache.datasets.index.names == ["eid", "id"]


def test_people_see_a_table(cache):
    found = cache.search(subject="KS014")
    text = repr(found)
    assert text.startswith("3 sessions\n")
    assert str(found[0]) in text
    assert "northlab" in text
    page = found._repr_html_()
    assert page.count("<tr>") == 4
    assert "<td>KS014</td>" in page
    assert repr(cache.search(subject="nobody")) == "0 sessions"
    found.append("more")
    assert repr(found).startswith("[UUID(")


def test_people_see_what_a_cache_is(cache):
    cache.search()
    page = cache._repr_html_()
    for word in ("folder", "mode", "revisions", "sessions", "datasets", "on disk"):
        assert word in page
    assert "mode=" in repr(cache)
    assert "datasets=" in repr(cache)


def test_ids_that_are_no_uuids_are_given_as_they_are(tmp_path):
    pd.DataFrame(
        {"id": ["mouse/2024-03-01/001", None], "subject": "mouse", "date": None}
    ).to_parquet(tmp_path / "sessions.pqt")
    pd.DataFrame(
        {"id": ["first"], "eid": ["mouse/2024-03-01/001"], "rel_path": "a.b.npy"}
    ).to_parquet(tmp_path / "datasets.pqt")
    cache = Cache(tmp_path, mode="local", silent=True)
    found, records = cache.search(details=True)
    assert sorted(found) == sorted(one.id for one in records) == ["", "mouse/2024-03-01/001"]
    frame = cache.list_datasets(details=True)
    assert list(frame.index) == [("mouse/2024-03-01/001", "first")]
