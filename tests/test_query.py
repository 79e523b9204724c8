import datetime as dt
import warnings

import numpy as np
import pandas as pd
import pytest

from one_cache.errors import (
    ALFMultipleCollectionsFound,
    ALFMultipleObjectsFound,
    ALFMultipleRevisionsFound,
    ALFWarning,
    AmbiguousSearchTerm,
    InvalidArgument,
    InvalidDate,
    UnknownSearchTerm,
)
from one_cache.query import (
    Filter,
    choose_revisions,
    complete_term,
    complete_terms,
    last_before,
    read_date_range,
    require_one,
    search,
)
from one_cache.records import QC, Dataset, Session
from one_cache.tables import Tables


def dataset(path, **values):
    return Dataset(f"id-{path}", "e", path, **values)


PATHS = [
    "_ibl_wheel.position.npy",
    "alf/#2024-05-06#/spikes.times.npy",
    "alf/probe00/#2024-05-06#/spikes.times.npy",
    "alf/probe00/spikes.times.npy",
    "alf/probe01/spikes.times.npy",
    "alf/probe01/spikes.times_ephysClock.extra.npy",
    "alf/spikes.times.npy",
    "alf/wheelMoves.intervals.npy",
]
DATASETS = [dataset(path) for path in PATHS]


def paths(found):
    return [one.rel_path for one in found]


# -- terms -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("term", "full"),
    [
        ("subj", "subject"),
        ("SUBJECT", "subject"),
        ("lab", "lab"),
        ("laboratory", "lab"),
        ("dataset", "datasets"),
        ("datasets", "datasets"),
        ("dataset_qc", "dataset_qc_lte"),
        ("date", "date_range"),
        ("date_r", "date_range"),
        ("num", "number"),
        ("task", "task_protocol"),
        ("project", "projects"),
    ],
)
def test_a_term_may_be_abbreviated(term, full):
    assert complete_term(term) == full


def test_an_unknown_term_is_refused_with_the_nearest():
    with pytest.raises(UnknownSearchTerm, match="Did you mean 'subject'"):
        complete_term("subjct")


def test_an_ambiguous_beginning_is_refused_with_the_candidates():
    with pytest.raises(AmbiguousSearchTerm, match="dataset_qc_lte, datasets, date_range"):
        complete_term("da")


def test_a_term_given_twice_is_refused():
    with pytest.raises(InvalidArgument, match="twice"):
        complete_terms({"lab": "a", "laboratory": "b"})


@pytest.mark.parametrize(
    "day",
    [
        "2023-03-10",
        "2023-03-10T11:23:45.123456",
        dt.date(2023, 3, 10),
        dt.datetime(2023, 3, 10, 23, 59),
        np.datetime64("2023-03-10"),
        pd.Timestamp("2023-03-10 12:00"),
    ],
)
def test_a_day_is_read_from_whatever_holds_one(day):
    assert read_date_range(day) == (dt.date(2023, 3, 10), dt.date(2023, 3, 10))


def test_a_range_may_be_open():
    first = dt.date(2023, 3, 10)
    assert read_date_range(["2023-03-10"]) == (first, None)
    assert read_date_range([None, "2023-03-10"]) == (None, first)
    assert read_date_range(None) == (None, None)


@pytest.mark.parametrize(
    "value",
    ["yesterday", "2023-13-01", ["2023-01-01"] * 3, [], 20230310, ["2023-02-01", "2023-01-01"]],
)
def test_what_is_no_date_range_is_refused(value):
    with pytest.raises(InvalidDate):
        read_date_range(value)


# -- sessions --------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "disk"])
def tables(request, tmp_path):
    tables = Tables.open(None)
    rows = [
        ("1", "labA", "KS014", "2023-03-10", 1, "ephysChoiceWorld6.4.2", "bwm,ibl"),
        ("2", "labA", "KS014", "2023-03-10", 2, "trainingChoiceWorld", "ibl"),
        ("3", "labA", "KS01", "2023-02-01", 1, "ephysChoiceWorld", ""),
        ("4", "lab-B", "ZFM-01577", "2024-05-10", 1, "", ""),
    ]
    tables.add(
        "sessions",
        [
            Session(eid(key), lab, subject, dt.date.fromisoformat(day), number, task, projects)
            for key, lab, subject, day, number, task, projects in rows
        ],
    )
    names = {
        "1": [("alf/spikes.times.npy", "NOT_SET"), ("alf/trials.table.pqt", "PASS")],
        "2": [("alf/trials.table.pqt", "FAIL")],
        "3": [("alf/trials.table.pqt", "CRITICAL"), ("alf/x.spikes.times.npy", "PASS")],
    }
    tables.add(
        "datasets",
        [
            Dataset(eid(f"{key}{i}"), eid(key), path, 10, "ab" * 16, qc=QC[qc])
            for key, some in names.items()
            for i, (path, qc) in enumerate(some)
        ],
    )
    if request.param == "disk":
        tables.save(tmp_path)
        tables = Tables.open(tmp_path)
    return tables


def eid(key):
    return f"00000000-0000-4000-8000-{key:0>12}"


def keys(tables, wildcards=True, **terms):
    return [int(one.id[-12:]) for one in search(tables, terms, wildcards=wildcards)]


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({}, [4, 2, 1, 3]),
        ({"subject": "KS01"}, [2, 1, 3]),
        ({"subject": "^KS01$"}, [3]),
        ({"subject": "ks014"}, [2, 1]),
        ({"subject": ["^KS01$", "ZFM"]}, [4, 3]),
        ({"subject": "nobody"}, []),
        ({"lab": "lab-B"}, [4]),
        ({"lab": ["labA", "lab-B"]}, [4, 2, 1, 3]),
        ({"number": 2}, [2]),
        ({"number": [1, "2"]}, [4, 2, 1, 3]),
        ({"date_range": "2023-03-10"}, [2, 1]),
        ({"date_range": ["2023-02-01", "2023-03-10"]}, [2, 1, 3]),
        ({"date_range": ["2023-03-11", None]}, [4]),
        ({"task_protocol": "ephys"}, [1, 3]),
        ({"projects": "bwm"}, [1]),
        ({"datasets": "trials.table.pqt"}, [2, 1]),
        ({"datasets": ["trials.table.pqt", "spikes.times.npy"]}, [1]),
        ({"datasets": "trials.table.pqt", "dataset_qc_lte": "PASS"}, [1]),
        ({"datasets": "trials.table.pqt", "dataset_qc_lte": "CRITICAL"}, [2, 1, 3]),
        ({"datasets": "trials.*"}, [2, 1]),
        ({"datasets": "trials"}, []),
        ({"datasets": "spikes.times.npy"}, [1]),
        ({"dataset_qc_lte": "PASS"}, [1, 3]),
        ({"dataset_qc_lte": 40}, [2, 1, 3]),
        ({"subject": "KS014", "datasets": "spikes.times.npy"}, [1]),
        ({"subject": "nobody", "datasets": "spikes.times.npy"}, []),
    ],
)
def test_sessions_are_found_newest_first(tables, terms, expected):
    assert keys(tables, **terms) == expected


@pytest.mark.parametrize("many", [0, 25_000], ids=["few", "many"])
def test_an_unknown_protocol_is_an_empty_text_at_every_size(tmp_path, many):
    tables = Tables.open(None)
    tables.add("sessions", [{"id": eid("1"), "subject": "m", "task_protocol": None}])
    tables.add("sessions", [{"id": eid("2"), "subject": "m", "task_protocol": ""}])
    rest = [{"id": eid(str(i + 3)), "subject": "n", "task_protocol": "t"} for i in range(many)]
    tables.add("sessions", rest)
    tables.save(tmp_path)
    for place in (tables, Tables.open(tmp_path)):
        assert sorted(keys(place, task_protocol=".*", subject="m")) == [1, 2]
        assert sorted(keys(place, task_protocol="^$")) == [1, 2]
        assert len(keys(place, task_protocol="t")) == many


def test_plain_text_is_no_expression(tables):
    assert keys(tables, wildcards=False, subject="^KS01$") == []
    assert keys(tables, wildcards=False, subject=["KS014", "ZFM-0"]) == [4, 2, 1]
    assert keys(tables, wildcards=False, datasets="trials.*") == []


@pytest.mark.parametrize(
    ("terms", "error"),
    [
        ({"subject": "("}, "regular expression"),
        ({"number": "first"}, "whole numbers"),
        ({"dataset_qc_lte": "GOOD"}, "QC must be one of"),
        ({"date_range": "soon"}, "not a date"),
    ],
)
def test_values_that_no_term_takes_are_refused(tables, terms, error):
    with pytest.raises(InvalidArgument, match=error):
        search(tables, terms)


# -- datasets of a session -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        (Filter(), PATHS),
        (Filter("spikes.times.npy"), [1, 2, 3, 4, 6]),
        (Filter("*wheel*"), [0, 7]),
        (Filter(["*wheel.*", "spikes.times_*"]), [0, 5]),
        (Filter("alf/probe00/spikes.times.npy"), [3]),
        (Filter(collection=""), [0]),
        (Filter(collection="alf"), [1, 6, 7]),
        (Filter(collection="*probe*"), [2, 3, 4, 5]),
        (Filter(collection=["alf", ""]), [0, 1, 6, 7]),
        (Filter(revision=""), [0, 3, 4, 5, 6, 7]),
        (Filter(revision="2024*"), [1, 2]),
        (Filter({"object": "wheel*"}), [0, 7]),
        (Filter({"object": ["wheel", "spike?"], "namespace": None}), [0, 1, 2, 3, 4, 5, 6]),
        (Filter({"object": "wheel", "namespace": "ibl"}), [0]),
        (Filter({"object": "spikes", "timescale": "ephysClock"}), [5]),
        (Filter({"object": "spikes", "timescale": ""}), [1, 2, 3, 4, 6]),
        (Filter({"extension": "n?y", "extra": "extra"}), [5]),
        (Filter(r".*\.times\.npy", wildcards=False), [1, 2, 3, 4, 6]),
        (Filter(collection="alf/probe0[01]", wildcards=False), [2, 3, 4, 5]),
        (Filter(last_revision="2024-05-05"), [0, 3, 4, 5, 6, 7]),
    ],
)
def test_datasets_fit_by_name_and_folder(filter_, expected):
    wanted = [PATHS[one] if isinstance(one, int) else one for one in expected]
    assert paths(filter_(DATASETS)) == wanted


def test_quality_keeps_datasets_out():
    levels = [dataset(f"a.b{level.name}.npy", qc=level) for level in QC]
    assert len(Filter()(levels)) == 4
    assert len(Filter(qc=QC.CRITICAL)(levels)) == 5
    assert len(Filter(qc=QC.PASS)(levels)) == 2
    assert len(Filter(qc=QC.PASS, ignore_qc_not_set=True)(levels)) == 1


def test_an_unknown_part_of_a_name_is_refused():
    with pytest.raises(InvalidArgument, match="Did you mean 'attribute'"):
        Filter({"object": "a", "atribute": "b"})(DATASETS)


# -- revisions -------------------------------------------------------------------------------

REVISED = [
    dataset("alf/d.t.npy", default_revision=False),
    dataset("alf/#2024-05-06#/d.t.npy", default_revision=True),
    dataset("alf/#2024-07-10#/d.t.npy", default_revision=False),
]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, "2024-05-06"),
        ("", ""),
        ("2024-05-06", "2024-05-06"),
        ("2024-06-01", "2024-05-06"),
        ("2024-05-05", ""),
        ("2024-12-01", "2024-07-10"),
        ("a", "2024-07-10"),
    ],
)
def test_the_revision_is_the_last_one_not_after_the_date(asked, expected):
    assert [one.revision for one in choose_revisions(REVISED, asked)] == [expected]


def test_without_a_default_the_last_one_is_taken_with_a_warning():
    unmarked = [dataset("a.b.npy"), dataset("#2024-01-01#/a.b.npy")]
    with pytest.warns(ALFWarning, match=r"No default revision for dataset a\.b\.npy"):
        assert paths(choose_revisions(unmarked)) == ["#2024-01-01#/a.b.npy"]


def test_a_single_revision_needs_no_default():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert paths(choose_revisions([dataset("#x#/a.b.npy")])) == ["#x#/a.b.npy"]


def test_two_defaults_are_an_error_that_names_them_or_a_warning():
    two = [
        dataset("a.b.npy", default_revision=True),
        dataset("#r#/a.b.npy", default_revision=True),
    ]
    with pytest.raises(ALFMultipleRevisionsFound, match='"", "r"'):
        choose_revisions(two)
    with pytest.warns(ALFWarning):
        assert paths(choose_revisions(two, unique_default=False)) == ["#r#/a.b.npy"]


def test_different_revisions_of_several_datasets_are_warned_of():
    mixed = [dataset("a.b.npy"), dataset("#r#/a.c.npy")]
    with pytest.warns(ALFWarning, match='Multiple revisions: "", "r"'):
        choose_revisions(mixed)


def test_revisions_compare_as_text():
    assert last_before(["", "10", "9"], "95") == "9"
    assert last_before(["b"], "a") is None
    assert last_before([], None) is None


def test_several_datasets_for_one_name_are_refused_with_the_candidates():
    with pytest.raises(ALFMultipleCollectionsFound, match='"alf", "alf/probe00"'):
        require_one([DATASETS[1], DATASETS[2]], "x")
    with pytest.raises(ALFMultipleObjectsFound, match="wheelMoves"):
        require_one([DATASETS[6], DATASETS[7]], "x")
    require_one([DATASETS[1], DATASETS[6]], "x")
