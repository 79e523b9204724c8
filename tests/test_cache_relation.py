"""Access tables of a cache as relations."""

import pytest

from one_cache import Cache
from one_cache.errors import DuplicateKey, InvalidArgument, ModeError
from one_cache.relation import Column, Heading

RATINGS = Heading(
    (Column("subject", "VARCHAR"), Column("day", "INTEGER"), Column("note", "VARCHAR")),
    ("subject", "day"),
)


def test_a_table_is_restricted_and_joined_as_a_relation(lab):
    cache = Cache(lab)
    sessions, datasets = cache.relation("sessions"), cache.relation("datasets")
    assert sessions.primary_key == ["id"]
    assert datasets.primary_key == ["eid", "id"]
    of_one = sessions & 'subject = "KS014"'
    assert sorted(of_one.fetch("id")) == sorted(map(str, cache.search(subject="^KS014$")))
    both = datasets.proj("rel_path", dataset="id") * of_one.proj(eid="id")
    expected = sum(len(cache.tables.datasets_of(eid)) for eid in of_one.fetch("id"))
    assert len(both) == expected > 0


def test_an_unknown_table_is_refused_with_what_there_is(lab):
    with pytest.raises(InvalidArgument, match="Did you mean 'sessions'"):
        Cache(lab).relation("session")


def test_rows_that_are_inserted_are_seen_at_once_saved_and_found_by_others(lab):
    cache = Cache(lab)
    ratings = cache.relation("ratings", heading=RATINGS)
    assert len(ratings) == 0
    ratings.insert([("a", 1, "good"), ("b", 2, None)])
    with pytest.raises(DuplicateKey):
        ratings.insert1({"subject": "a", "day": 1})
    ratings.insert1({"subject": "a", "day": 1, "note": "other"}, skip_duplicates=True)
    assert (ratings & {"subject": "a"}).fetch1("note") == "good"
    cache.save_cache()
    assert len(ratings) == 2
    again = Cache(lab).relation("ratings", heading=RATINGS)
    assert again.to_dicts() == ratings.to_dicts()
    assert "id" not in again.heading


def test_two_processes_that_insert_one_row_insert_one_row(lab):
    first, second = Cache(lab), Cache(lab)
    for cache in (first, second):
        cache.relation("ratings", heading=RATINGS).insert1(("a", 1, "x"))
        cache.save_cache()
    assert len(Cache(lab).relation("ratings", heading=RATINGS)) == 1


def test_a_relation_follows_the_cache_to_other_tables(lab, tmp_path):
    cache = Cache(lab)
    sessions = cache.relation("sessions")
    total = len(sessions)
    other = Cache(tmp_path / "other")
    other.tables.add("sessions", cache.tables.sessions(list(sessions.fetch("id"))[:1]))
    other.save_cache()
    cache.load_cache(tmp_path / "other")
    assert len(sessions) == 1 < total


def test_a_fixed_cache_takes_no_rows(lab):
    Cache(lab).freeze()
    cache = Cache(lab, mode="fixed")
    with pytest.raises(ModeError, match="fixed"):
        cache.relation("ratings", heading=RATINGS).insert1(("a", 1, "x"))
    assert len(cache.relation("sessions")) > 0
