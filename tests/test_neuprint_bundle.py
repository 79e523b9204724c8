"""Answers are treated like datasets: verified, bundled, restored, kept from removal."""

import os
import time

import pytest

pytest.importorskip("neuprint", reason="neuprint-python is not installed")

import neuprint_calls as calls
from neuprint_fixtures import client_of, neuprint_server, no_client_before  # noqa: F401

from one_cache import Cache
from one_cache import neuprint as ours
from one_cache.errors import QueryNotCached
from one_cache.remotes.folder import FolderRemote

pytestmark = pytest.mark.filterwarnings("ignore:.*inplace:DeprecationWarning")


def notebook():
    return [calls.CALLS[name](ours) for name in ("custom", "adjacencies", "skeleton", "meta")]


@pytest.fixture
def recorded(server, tmp_path):
    """A cache with the answers of a notebook, its record, and what the notebook gave."""
    client = client_of(server, tmp_path / "cache")
    client.fetch_custom(calls.NODES)
    with client.cache.recording() as recorder:
        found = notebook()
    client.cache.save_cache()
    server.forget()
    return client.cache, recorder, found


def path_of(cache, part):
    sql = "SELECT path FROM queries WHERE contains(query, ?)"
    return cache.store.path(cache.tables.rows(sql, [part])[0]["path"])


def test_a_bundle_holds_the_answers_of_a_record_and_no_others(recorded, server, tmp_path):
    cache, recorder, found = recorded
    assert cache.bundle(recorder, tmp_path / "bundle").ok
    frozen = client_of(server, tmp_path / "bundle", "fixed")
    assert calls.same(notebook(), found)
    with pytest.raises(QueryNotCached, match="pins no answer"):
        frozen.fetch_custom(calls.NODES)
    assert server.asked == []


def test_answers_are_restored_from_a_bundle(recorded, server, tmp_path):
    cache, recorder, found = recorded
    cache.bundle(recorder, tmp_path / "notebook.zip")
    there = Cache(tmp_path / "there")
    report = there.restore(tmp_path / "notebook.zip")
    assert report.ok
    assert len(report.files) == len({entry.path for entry in recorder})
    _client = client_of(server, None, cache=there)
    assert calls.same(notebook(), found)
    assert server.asked == []


def test_answers_that_are_here_are_restored_without_asking(recorded, server, tmp_path):
    cache, recorder, _ = recorded
    report = Cache(cache.cache_dir).restore(recorder)
    assert report.ok
    assert len(report.files) == len({entry.path for entry in recorder})
    report = Cache(tmp_path / "there").restore(recorder)
    assert {problem.kind for problem in report.problems} == {"missing"}
    assert "name a folder or a bundle" in report.problems[0].reason
    assert Cache(tmp_path / "there").restore(recorder, source=cache.cache_dir).ok
    assert server.asked == []


def test_every_answer_is_verified(recorded):
    cache, recorder, _ = recorded
    home = Cache(cache.cache_dir)
    assert home.verify().ok
    assert home.verify(recorder).ok
    changed, lost = path_of(cache, "5813027016"), path_of(cache, "type = 'APL'")
    changed.write_bytes(changed.read_bytes()[:-1] + b"X")
    lost.unlink()
    problems = {
        problem.path.rpartition("/")[2]: problem.kind for problem in home.verify().problems
    }
    assert problems == {changed.name: "different", lost.name: "missing"}
    assert [problem.kind for problem in home.verify(recorder).problems] == ["different"]


def test_answers_that_the_tables_know_and_nobody_noted_must_be_here(recorded, tmp_path):
    cache, _, _ = recorded
    (tmp_path / "tables").mkdir()
    cache.tables.save(tmp_path / "tables")
    bare = Cache(tmp_path / "bare", tables_dir=tmp_path / "tables")
    kinds = {problem.kind for problem in bare.verify().problems}
    assert kinds == {"missing"}
    assert len(bare.verify().problems) == cache.tables.count("queries")


def test_pinned_answers_are_not_removed(recorded, server, tmp_path):
    cache, recorder, found = recorded
    cache.freeze(tmp_path / "paper", record=recorder)
    old = time.time() - 400 * 86400
    for path in (tmp_path / "cache" / "neuprint").rglob("*.pqt"):
        os.utime(path, (old, old))
    (tmp_path / "lab").mkdir()
    mixed = Cache(tmp_path / "cache", remote=FolderRemote(tmp_path / "lab"))
    plan = mixed.clean(keep=tmp_path / "paper", older_than="90d")
    removed = {one.path for one in plan.removals}
    assert removed
    assert not removed & {entry.path for entry in recorder}
    paper = Cache(tmp_path / "cache", tables_dir=tmp_path / "paper", mode="fixed")
    _client = client_of(server, None, cache=paper)
    assert calls.same(notebook(), found)


def test_answers_that_changed_since_are_outdated(recorded, server):
    cache, recorder, _ = recorded
    assert cache.outdated(recorder) == []
    server.say("n.status AS now", ["now"], [["Traced"]])
    with cache.recording() as before:
        client_of(server, None, cache=cache).fetch_custom("MATCH (n) RETURN n.status AS now")
    server.edit()
    server.say("n.status AS now", ["now"], [["Orphan"]])
    client_of(server, None, cache=cache).fetch_custom("MATCH (n) RETURN n.status AS now")
    [change] = cache.outdated(before)
    assert change.kind == "bytes"
    assert change.id in {entry.id for entry in before}
