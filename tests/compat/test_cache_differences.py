"""What ours answers otherwise than ONE-api on the same folder, each with both answers.

``docs/differences.md`` has the reasons. Where ONE-api comes to give the same, a test here fails.
"""

from __future__ import annotations

import datetime as dt
import logging
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest

from one_cache import Cache
from one_cache.errors import (
    ALFMultipleCollectionsFound,
    ALFMultipleRevisionsFound,
    ALFObjectNotFound,
    HashMismatch,
    InvalidArgument,
    InvalidDate,
    ModeError,
    NotInCache,
    QCExcluded,
    QCWarning,
    SessionNotFound,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    one_api = pytest.importorskip("one.api", reason="ONE-api is not installed")
    import one.alf.exceptions as alferr
    from labs import FLAGS, small_lab, write_as_one_api

from answers import Answer, assert_agree, plain, told

SESSIONS = {
    "KS014": {"task_protocol": "ephysChoice", "projects": "u19_proj"},
    "ks014": {"lab": "lab_3"},
    "ZFM-01": {"task_protocol": None, "projects": None, "lab": ""},
    "mouse.1": {},
}
DATASETS = [
    ("KS014", "alf/probe00/spikes.times.npy", {}),
    ("KS014", "alf/probe01/spikes.times.npy", {}),
    ("KS014", "alf/_ibl_wheel.position.npy", {"qc": "FAIL"}),
    ("KS014", "alf/_iblrig_wheel.times.npy", {"on_disk": False}),
    ("KS014", "alf/trials.stimOn_times.npy", {}),
    ("KS014", "alf/trials.times_bpod.npy", {}),
    ("KS014", "alf/trials.times.raw.npy", {"qc": "CRITICAL"}),
    ("KS014", "licks.times.npy", {"qc": "CRITICAL"}),
    ("KS014", "#2024-01-01#/licks.amps.npy", {}),
    ("ks014", "lonely.times.npy", {}),
    ("ks014", "alf/a.b.npy", {"qc": "PASS"}),
    ("ks014", "alf/#2024-05-06#/a.b.npy", {"qc": "PASS"}),
]


class Pair:
    """ONE-api and ours on the same folder, and the sessions' ids by subject."""

    def __init__(self, folder, sessions=None, datasets=None, *, flags=True, wildcards=True):
        self.lab = small_lab(
            folder, sessions or SESSIONS, DATASETS if datasets is None else datasets
        )
        write_as_one_api(self.lab, folder, flags=flags)
        self.one = one_api.One(folder, wildcards=wildcards)
        self.ours = Cache(folder, wildcards=wildcards, silent=True)
        self.eids = {row["subject"]: row["id"] for row in self.lab.sessions}

    def differ(self, call, theirs, ours, *args, **options):
        """Assert what both answer: a value, or an error as its class."""
        for cache, expected in ((self.one, theirs), (self.ours, ours)):
            answer = told(partial(getattr(cache, call), *args, **options))[0]
            if isinstance(expected, type) and issubclass(expected, Exception):
                assert not isinstance(answer, Answer), (cache, answer)
                assert expected.__name__ in answer.kinds, answer
            else:
                assert_agree(answer, Answer(expected), f"{call} of {cache}")

    def subjects(self, cache, **terms):
        """Whose sessions a search finds."""
        subject = {row["id"]: row["subject"] for row in self.lab.sessions}
        return sorted(subject[str(eid)] for eid in cache.search(**terms))

    def found(self, theirs, ours, **terms):
        """Assert whose sessions both find; an error as its class."""
        for cache, expected in ((self.one, theirs), (self.ours, ours)):
            if isinstance(expected, type):
                with pytest.raises(expected):
                    cache.search(**terms)
            else:
                assert self.subjects(cache, **terms) == sorted(expected)

    def listed(self, theirs, ours, *args, **options):
        """Assert what both list of KS014, by the ends of the paths."""
        for cache, expected in ((self.one, theirs), (self.ours, ours)):
            paths = cache.list_datasets(self.eids["KS014"], *args, **options)
            assert sorted(paths) == sorted(expected)


@pytest.fixture(autouse=True)
def _quiet():
    """ONE-api's own warnings and log are not ours to fix."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path)


@pytest.fixture
def eid(pair):
    return pair.eids["KS014"]


ALL = list(SESSIONS)


# -- search ------------------------------------------------------------------------------------


def test_upper_and_lower_case_are_alike(pair):
    pair.found(["KS014"], ["KS014", "ks014"], subject="KS")


def test_an_alias_is_no_ambiguity(pair):
    pair.found(ValueError, ["ks014"], dataset="a.b.npy")


def test_none_is_not_set(pair):
    for term in ("date_range", "subject", "number", "datasets"):
        pair.found(TypeError, ALL, **{term: None})
    pair.found(ValueError, ["ks014"], datasets="a.b.npy", dataset_qc_lte=None)


def test_quality_alone_finds_sessions(pair):
    pair.found([], ["KS014", "ks014"], dataset_qc_lte="PASS")


def test_a_time_of_day_in_a_date_range_is_that_day(pair):
    late = dt.datetime(2024, 1, 1, 18)
    pair.found(["ks014"], ["KS014"], date_range=late)
    pair.found(ALL[1:], ALL, date_range=[late, None])


def test_a_date_is_an_iso_date(pair):
    pair.found(["KS014"], InvalidDate, date_range="2024-01")
    pair.found(["ks014"], InvalidDate, date_range="Jan 2 2024")


def test_a_range_that_ends_before_it_begins_is_an_error(pair):
    pair.found([], InvalidDate, date_range=["2024-03-01", "2024-01-01"])


def test_arguments_are_checked_also_when_nothing_is_left(pair):
    pair.found([], InvalidArgument, subject="nobody", dataset_qc_lte="BAD")
    pair.found([], InvalidArgument, subject="nobody", date_range="yesterday")


def test_a_term_that_is_given_twice_is_an_error(pair):
    pair.found(["ks014"], InvalidArgument, subject="KS014", subj="ks014")


def test_an_empty_list_fits_nothing(pair):
    pair.found(ALL, [], subject=[])


def test_a_text_that_is_null_is_an_empty_one(pair):
    pair.found(["KS014", "ks014", "mouse.1"], ALL, task_protocol=".*")
    series = [cache.get_details(pair.eids["ZFM-01"]) for cache in (pair.one, pair.ours)]
    assert [one["projects"] for one in map(plain, series)] == [None, ""]


def test_a_file_in_no_collection_is_found(pair):
    # where another file of the session lies in one
    pair.found([], ["ks014"], datasets="lonely.times.npy")


def test_plain_texts_are_ored_and_names_are_plain_without_wildcards(tmp_path):
    pair = Pair(tmp_path, wildcards=False)
    pair.found([], ["KS014", "ZFM-01", "ks014"], subject=["KS", "ZFM"])
    pair.found(["ks014"], [], datasets="a.b.n..")


def test_details_have_the_ids(pair):
    eids, records = pair.one.search(subject="ZFM", details=True)
    ours, our_records = pair.ours.search(subject="ZFM", details=True)
    assert ours == eids
    assert "id" not in records[0]
    assert our_records[0].id == eids[0]
    pair.differ("search", ([], None), ([], []), subject="nobody", details=True)


def test_the_term_lab_is_called_lab(pair):
    assert set(pair.one.search_terms()) ^ set(pair.ours.search_terms()) == {"lab", "laboratory"}
    pair.found(["ks014"], ["ks014"], laboratory="lab_3")
    pair.found(["ks014"], ["ks014"], lab="lab_3")


# -- lists -------------------------------------------------------------------------------------


def test_a_session_that_is_unknown_is_an_error(pair):
    nobody = "00000000-0000-4000-8000-00000000000f"
    empty = pair.one._cache.datasets.iloc[:0]
    pair.differ("list_datasets", empty, SessionNotFound, nobody)
    pair.differ("list_collections", [], SessionNotFound, nobody)


def test_a_session_without_datasets_has_an_empty_list_of_them(pair):
    pair.differ("list_datasets", pair.one._cache.datasets.iloc[:0], [], pair.eids["mouse.1"])


def test_a_list_of_names_is_ored(pair, eid):
    # the first name only is looked for in collections
    both = ["alf/probe00/spikes.times.npy", "alf/probe01/spikes.times.npy"]
    pair.listed([], both, ["nosuch.times.npy", "spikes.times.npy"])


def test_a_list_may_have_the_empty_text_for_none(pair):
    root = ["#2024-01-01#/licks.amps.npy"]
    probe = ["alf/probe00/spikes.times.npy"]
    pair.listed(probe, probe + root, collection=["alf/probe00", ""])
    rest = pair.ours.list_datasets(pair.eids["KS014"], revision="")
    pair.listed(root, rest + root, revision=["2024-01-01", ""])


def test_the_empty_text_is_no_timescale_extra_or_namespace(pair):
    known = pair.ours.list_datasets(pair.eids["KS014"])
    pair.listed([], [path for path in known if "_bpod" not in path], {"timescale": ""})
    pair.listed([], known, {"extra": ""})
    pair.listed(known, [path for path in known if "_ibl" not in path], {"namespace": ""})


def test_a_pattern_of_a_part_stays_within_it(pair):
    wheel, times = "alf/_ibl_wheel.position.npy", "alf/_iblrig_wheel.times.npy"
    pair.listed([wheel, times], [wheel], {"namespace": "ibl"})
    pair.listed(["alf/trials.stimOn_times.npy"], [], {"attribute": "stimOn"})
    pair.listed(["alf/probe00/spikes.times.npy"], [], "probe00*")
    known = pair.ours.list_datasets(pair.eids["KS014"])
    pair.listed(known, [path for path in known if path.startswith("alf/")], collection="*")


def test_a_path_is_filtered_by_its_collection_too(pair):
    path = "alf/probe00/spikes.times.npy"
    pair.listed([], [path], path, collection="alf/probe00")


def test_collection_among_the_parts_counts(pair):
    parts = {"object": "licks", "collection": "alf"}
    pair.listed(["#2024-01-01#/licks.amps.npy"], [], parts)


def test_lists_honour_the_cutoff(tmp_path, monkeypatch):
    monkeypatch.setenv("ONE_REVISION_LAST_BEFORE", "2024-04-01")
    monkeypatch.setattr(one_api, "REVISION_LAST_BEFORE", "2024-04-01")
    pair = Pair(tmp_path)
    paths = ["alf/#2024-05-06#/a.b.npy", "alf/a.b.npy", "lonely.times.npy"]
    pair.differ("list_datasets", paths, paths[1:], pair.eids["ks014"])


def test_tables_without_default_revision_have_the_column_empty(tmp_path):
    pair = Pair(tmp_path, flags=False)
    assert FLAGS not in pair.one.list_datasets(details=True)
    assert pair.ours.list_datasets(details=True)[FLAGS].isna().all()
    options = {"default_revisions_only": True}
    pair.differ("list_datasets", alferr.ALFError, alferr.ALFError, **options)
    pair.differ("list_datasets", alferr.ALFError, alferr.ALFError, pair.eids["KS014"], **options)


# -- loads -------------------------------------------------------------------------------------


def test_object_attribute_is_found_with_any_namespace(pair, eid):
    pair.differ("load_dataset", ALFObjectNotFound, NotInCache, eid, "wheel.times")
    assert pair.ours.load_dataset(eid, "wheel.position").shape == (6,)


def test_quality_is_named_and_may_be_asked_for(pair, eid):
    name = "licks.times.npy"
    pair.differ("load_dataset", ALFObjectNotFound, QCExcluded, eid, name)
    with pytest.warns(QCWarning, match="CRITICAL"):
        assert pair.ours.load_dataset(eid, name, qc="CRITICAL").shape == (6,)


def test_a_failed_dataset_is_warned_of_once(pair, eid):
    name = "_ibl_wheel.position.npy"
    with pytest.warns(QCWarning, match="FAIL"):
        pair.ours.load_dataset(eid, name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pair.ours.load_dataset(eid, name)
        pair.one.load_dataset(eid, name)


def test_an_attribute_that_is_not_on_disk_is_an_error(pair, eid):
    assert set(pair.one.load_object(eid, "wheel")) == {"position"}
    with pytest.raises(NotInCache, match=r"_iblrig_wheel\.times\.npy"):
        pair.ours.load_object(eid, "wheel")
    assert set(pair.ours.load_object(eid, "wheel", assert_present=False)) == {"position"}


def test_an_attribute_that_quality_keeps_out_is_named(pair, eid):
    found = pair.one.load_object(eid, "trials")
    with pytest.warns(QCWarning, match=r"trials\.times\.raw\.npy is left out"):
        assert set(pair.ours.load_object(eid, "trials")) == set(found)


def test_a_damaged_file_is_not_loaded(pair, eid):
    path = pair.ours.load_dataset(eid, "trials.times_bpod.npy", download_only=True)
    np.save(path, np.zeros(6))
    pair.differ("load_dataset", np.zeros(6), HashMismatch, eid, "trials.times_bpod.npy")


def test_a_collection_has_revisions(pair):
    options = {"revision": "2024-05-06", "download_only": True}
    eid = pair.eids["ks014"]
    path = [pair.ours.eid2path(eid) / "alf/#2024-05-06#/a.b.npy"]
    pair.differ("load_collection", ALFObjectNotFound, path, eid, "alf", **options)


def test_collections_are_not_merged(pair, eid):
    several = ["alf", "alf/probe00"]
    assert set(pair.one.load_collection(eid, several)) == {"wheel", "trials", "spikes"}
    with pytest.raises(ALFMultipleCollectionsFound):
        pair.ours.load_collection(eid, several)


def test_a_path_may_be_loaded_below_a_cutoff(tmp_path, monkeypatch):
    monkeypatch.setenv("ONE_REVISION_LAST_BEFORE", "2024-04-01")
    monkeypatch.setattr(one_api, "REVISION_LAST_BEFORE", "2024-04-01")
    pair = Pair(tmp_path)
    eid = pair.eids["ks014"]
    path = pair.ours.eid2path(eid) / "alf/a.b.npy"
    how = {"download_only": True}
    pair.differ("load_dataset", ValueError, path, eid, "alf/a.b.npy", **how)
    later = "alf/#2024-05-06#/a.b.npy"
    pair.differ("load_dataset", ValueError, ALFObjectNotFound, eid, later, **how)


def test_several_defaults_are_an_error_also_with_a_collection_among_the_parts(pair):
    # both revisions of a.b.npy are marked
    eid = pair.eids["ks014"]
    pair.differ(
        "load_dataset", alferr.ALFMultipleRevisionsFound, ALFMultipleRevisionsFound, eid, "a.b.npy"
    )
    parts = {"object": "a", "attribute": "b", "collection": "alf"}
    newest = pair.ours.eid2path(eid) / "alf/#2024-05-06#/a.b.npy"
    how = {"download_only": True}
    pair.differ("load_dataset", newest, ALFMultipleRevisionsFound, eid, parts, **how)


def test_revision_among_the_parts_is_the_last_not_after_it(tmp_path):
    datasets = [
        ("KS014", f"alf/{folder}a.b.npy", {FLAGS: not folder}) for folder in ("", "#2024-01-01#/")
    ]
    pair = Pair(tmp_path, datasets=datasets)
    parts = {"object": "a", "attribute": "b", "revision": "2024-01-01"}
    eid, how = pair.eids["KS014"], {"download_only": True}
    folder = pair.ours.eid2path(eid) / "alf"
    pair.differ(
        "load_dataset", folder / "a.b.npy", folder / "#2024-01-01#/a.b.npy", eid, parts, **how
    )


def test_one_revision_alone_needs_no_warning(tmp_path):
    pair = Pair(tmp_path, flags=False)
    answers = [
        told(partial(cache.load_dataset, pair.eids["KS014"], "trials.times_bpod.npy"))
        for cache in (pair.one, pair.ours)
    ]
    assert [cautions for _, cautions in answers] == [{"No default revision"}, set()]


def test_load_datasets_gives_one_thing_for_each_name(pair, eid):
    nobody = pair.eids["mouse.1"]
    empty = pair.one._cache.datasets.iloc[:0]
    options = {"assert_present": False}
    pair.differ("load_datasets", (None, empty), ([None], [None]), nobody, ["a.b.npy"], **options)
    pair.differ("load_datasets", (None, empty), ([], []), eid, [])


def test_what_is_missing_is_told_whatever_names_it(pair, eid):
    names = [{"object": "nosuch"}]
    pair.differ("load_datasets", TypeError, ALFObjectNotFound, eid, names)


# -- names -------------------------------------------------------------------------------------


def test_what_is_unknown_is_one_kind_of_error(pair):
    nobody = "00000000-0000-4000-8000-00000000000f"
    pair.differ("eid2path", None, SessionNotFound, nobody)
    pair.differ("path2eid", None, SessionNotFound, "nobody/2020-01-01/001")
    pair.differ("path2eid", None, InvalidArgument, "nowhere")
    pair.differ("ref2eid", AssertionError, SessionNotFound, "2020-01-01_1_nobody")
    pair.differ("ref2eid", KeyError, InvalidArgument, "garbage")
    pair.differ("path2record", None, SessionNotFound, "/x/lab/Subjects/nobody/2020-01-01/001")
    pair.differ("get_details", ALFObjectNotFound, SessionNotFound, nobody)
    assert issubclass(SessionNotFound, (ALFObjectNotFound, KeyError, ValueError))


def test_a_uuid_may_be_in_capitals(tmp_path):
    pair = Pair(tmp_path, sessions={"KS014": {}}, datasets=[])
    pair.lab.sessions[0]["id"] = eid = "abcdef00-0000-4000-8000-000000000000"
    write_as_one_api(pair.lab, tmp_path)
    pair.differ("to_eid", ValueError, Cache(tmp_path).to_eid(eid), eid.upper())


def test_a_reference_names_the_whole_subject(tmp_path):
    same = {"date": dt.date(2024, 1, 1)}
    pair = Pair(tmp_path, sessions={"KS01": same, "KS014": same}, datasets=[])
    eid = pair.ours.search(subject="^KS01$")[0]
    pair.differ("ref2eid", AssertionError, eid, "2024-01-01_1_KS01")
    other = pair.ours.search(subject="^KS014$")[0]
    pair.differ("ref2eid", other, SessionNotFound, "2024-01-01_1_S014")


def test_the_lab_of_a_path_counts(pair, eid):
    known = pair.ours.to_eid(eid)
    pair.differ("path2eid", known, SessionNotFound, "other/Subjects/KS014/2024-01-01/001")
    # but not where the tables know none
    pair.differ(
        "path2record",
        None,
        plain(pair.ours.get_details(pair.eids["ZFM-01"])),
        "other/Subjects/ZFM-01/2024-01-03/001",
    )


def test_a_record_needs_no_lab(pair, eid):
    record = {"subject": "KS014", "date": "2024-01-01", "number": 1}
    pair.differ("to_eid", AssertionError, pair.ours.to_eid(eid), record)


def test_the_reference_of_a_path(pair):
    path = "mouse.1/2024-01-04/001"
    pair.differ("path2ref", "2024-01-04_001_1", "2024-01-04_001_mouse.1", path, as_dict=False)
    plainly = {"as_dict": False, "parse": False}
    pair.differ("path2ref", TypeError, "2024-01-04_001_mouse.1", path, **plainly)
    pair.differ("path2ref", None, "2024-01-04_02_KS014", "KS014/2024-01-04/02", as_dict=False)


def test_a_critical_dataset_has_a_record(pair, eid):
    path = pair.ours.eid2path(eid) / "licks.times.npy"
    assert pair.one.path2record(path) is None
    assert pair.ours.path2record(path)["qc"] == "CRITICAL"


def test_all_details_of_a_session_without_datasets_are_no_rows(pair):
    frames = [
        cache.get_details(pair.eids["mouse.1"], full=True) for cache in (pair.one, pair.ours)
    ]
    assert [len(frame) for frame in frames] == [1, 0]
    assert frames[0]["rel_path"].isna().all()


def test_several_sessions_have_several_details(pair):
    eids = list(pair.eids.values())[:2]
    pair.differ(
        "get_details", ALFObjectNotFound, [pair.ours.get_details(eid) for eid in eids], eids
    )


def test_there_are_no_addresses_without_a_remote(pair, eid):
    pair.differ("path2url", AssertionError, ModeError, pair.ours.eid2path(eid))


# -- tables and record -------------------------------------------------------------------------


def test_tables_are_saved_where_they_are_asked_for(pair, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    pair.one.save_cache(folder)
    # nothing was changed since they were read
    assert not list(folder.iterdir())
    assert set(pair.ours.save_cache(folder)) == {"sessions", "datasets"}


def test_ids_are_a_list_of_uuids_sorted(pair, eid):
    for cache in (pair.one, pair.ours):
        cache.record_loaded = True
        cache.load_dataset(eid, "trials.times_bpod.npy")
    theirs, ours = (cache.save_loaded_ids()[0] for cache in (pair.one, pair.ours))
    assert isinstance(theirs, np.ndarray)
    assert ours == sorted(theirs)


def test_the_record_outlives_the_tables(pair, eid):
    for cache in (pair.one, pair.ours):
        cache.record_loaded = True
        cache.load_dataset(eid, "trials.times_bpod.npy")
        cache.load_cache()
    assert [len(cache.save_loaded_ids()[0]) for cache in (pair.one, pair.ours)] == [0, 1]


def test_a_table_keeps_default_revision_when_it_is_merged(pair, tmp_path):
    # a table without the column lies there already
    folder = tmp_path / "mixed"
    folder.mkdir()
    write_as_one_api(pair.lab, folder, flags=False)
    pair.one._cache["_meta"]["modified_time"] = dt.datetime.max
    pair.one.save_cache(folder)
    assert FLAGS not in pd.read_parquet(folder / "datasets.pqt")
    pair.ours.save_cache(folder)
    assert FLAGS in pd.read_parquet(folder / "datasets.pqt")
