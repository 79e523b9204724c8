"""The same question to ONE-api and to ours, of the same files and tables.

Questions and labs are drawn at random. `KNOWN` is the table of the known differences that such
questions meet: each says what ONE-api must be asked instead, or what ours gives instead, and
everything else must be equal. Differences that are never drawn are tested under their own names.
"""

from __future__ import annotations

import logging
import os
import re
import uuid
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest

from one_cache import Cache
from one_cache.records import QC

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    One = pytest.importorskip("one.api", reason="ONE-api is not installed").One
    import labs
    from one.alf.cache import make_parquet_db

from answers import Answer, Refusal, assert_agree, plain, told
from labs import FLAGS, draw_lab, write_as_one_api, write_as_ours
from questions import TEXT_TERMS, Draw, Question

ROUNDS = int(os.environ.get("ONE_CACHE_ROUNDS", "3"))
QUESTIONS = int(os.environ.get("ONE_CACHE_QUESTIONS", "40"))


@pytest.fixture(autouse=True)
def _quiet():
    """ONE-api's own warnings and log are not ours to fix."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


# -- the known differences ---------------------------------------------------------------------


@dataclass(frozen=True)
class Round:
    """One question, of which lab, and the ONE-api that is asked."""

    question: Question
    lab: labs.Lab
    one: Any
    wildcards: bool


def as_it_is(asked, answer):
    return answer


@dataclass(frozen=True)
class Difference:
    """Where ours answers otherwise than ONE-api, and why.

    `asks` gives the question that ONE-api must be asked to mean the same; `gives` makes of what
    ONE-api gave what ours must give.
    """

    reason: str
    asks: Callable[[Round], Question] = lambda asked: asked.question
    gives: Callable[[Round, Answer | Refusal], Answer | Refusal] = as_it_is


def unknown(asked, theirs):
    if not asked.question.unknown:
        return theirs
    empty = isinstance(theirs, Answer) and (theirs.value is None or not len(theirs.value))
    assert empty or isinstance(theirs, Refusal)
    return Refusal((asked.question.unknown,))


def in_any_case(asked):
    question = asked.question
    if question.name != "search":
        return question
    options = dict(question.options)
    for key, value in options.items():
        if key in (*TEXT_TERMS, "subj", "laboratory", "task"):
            texts = [value] if isinstance(value, str) else value
            texts = texts if asked.wildcards else map(re.escape, texts)
            options[key] = [f"(?i:{text})" for text in texts]
    return replace(question, options=options)


def is_quality_alone(question):
    given = question.options
    return question.name == "search" and "dataset_qc_lte" in given and "datasets" not in given


def without_quality(asked):
    if not is_quality_alone(asked.question):
        return asked.question
    options = dict(asked.question.options)
    del options["dataset_qc_lte"]
    return replace(asked.question, options=options)


def of_that_quality(asked, theirs):
    if not is_quality_alone(asked.question) or isinstance(theirs, Refusal):
        return theirs
    level = QC.read(asked.question.options["dataset_qc_lte"])
    rows = [row for row in asked.lab.datasets if row["exists"] and QC[row["qc"]] <= level]
    good = {row["eid"] for row in rows}
    if not asked.question.options.get("details"):
        return Answer([eid for eid in theirs.value if str(eid) in good])
    eids, records = theirs.value
    kept = [pair for pair in zip(eids, records or [], strict=True) if str(pair[0]) in good]
    return Answer(([eid for eid, _ in kept], [record for _, record in kept]))


def with_ids(asked, theirs):
    if asked.question.name != "search" or not asked.question.options.get("details"):
        return theirs
    if isinstance(theirs, Refusal):
        return theirs
    eids, records = theirs.value
    return Answer(
        (eids, [{"id": eid, **one} for eid, one in zip(eids, records or [], strict=True)])
    )


def no_datasets(asked, theirs):
    if asked.question.name != "list_datasets" or not asked.question.args:
        return theirs
    if isinstance(theirs, Refusal) or len(theirs.value):
        return theirs
    if not asked.question.options.get("details"):
        return Answer([])
    if asked.question.options.get("keep_eid_index") or theirs.value.index.nlevels == 1:
        return theirs
    return Answer(theirs.value.reset_index("eid", drop=True))


def one_for_each(asked, theirs):
    if asked.question.name != "load_datasets" or isinstance(theirs, Refusal):
        return theirs
    data, records = theirs.value
    nothing = [None] * len(asked.question.args[1])
    return Answer((nothing, nothing)) if data is None else theirs


def sorted_lists(asked, theirs):
    question = asked.question
    listed = question.name in ("list_collections", "list_revisions") or (
        question.name == "list_datasets" and not question.args
    )
    if isinstance(theirs, Refusal) or not listed or not isinstance(theirs.value, list):
        return theirs
    return Answer(sorted(theirs.value))


def sorted_paths(asked, theirs):
    loads = ("load_object", "load_collection")
    if asked.question.name not in loads or not asked.question.options.get("download_only"):
        return theirs
    if isinstance(theirs, Refusal):
        return theirs
    return Answer(sorted(theirs.value, key=lambda path: re.sub("#.*#/", "", str(path))))


def with_any_namespace(asked, theirs):
    """Ask again with a namespace, unless the plain name is there and something else bars it."""
    question = asked.question
    if question.name != "load_dataset" or not isinstance(question.args[1], str):
        return theirs
    eid, name = question.args
    barred = not isinstance(theirs, Refusal) or theirs.kind != "ALFObjectNotFound"
    if barred or name.count(".") != 1 or "/" in name or not asked.wildcards:
        return theirs
    collection = question.options.get("collection")
    if len(asked.one.list_datasets(eid, f"{name}.*", collection, qc="CRITICAL")):
        return theirs
    again = replace(question, args=(eid, f"_*_{name}.*"))
    return told(partial(again.ask, asked.one, check_hash=False))[0]


def first_told(asked, theirs):
    several = isinstance(theirs, Refusal) and theirs.kind == "ALFMultipleRevisionsFound"
    return Refusal(("LookupError",), theirs.text) if several else theirs


def with_flags(asked, theirs):
    if isinstance(theirs, Refusal) or FLAGS in asked.one._cache.datasets:
        return theirs
    return Answer(flagged(theirs.value))


def flagged(value):
    if isinstance(value, pd.DataFrame) and "rel_path" in value:
        none = pd.array([None] * len(value), dtype="boolean")
        return value.assign(**{FLAGS: none if len(value) else none.astype("bool")})
    if isinstance(value, pd.Series) and "rel_path" in value:
        return pd.Series({**value.to_dict(), FLAGS: None}, name=value.name)
    if isinstance(value, dict):
        values = {key: flagged(one) for key, one in value.items()}
        return {**values, FLAGS: None} if "rel_path" in value else values
    if isinstance(value, (list, tuple)):
        return [flagged(one) for one in value]
    return value


KNOWN = (
    Difference("what is unknown is an error that says where it was looked for", gives=unknown),
    Difference("upper and lower case are alike, as on a server", asks=in_any_case),
    Difference(
        "dataset_qc_lte alone finds each session that has a dataset that good",
        asks=without_quality,
        gives=of_that_quality,
    ),
    Difference("search(details=True) gives the ids too, and never None", gives=with_ids),
    Difference("a session without datasets has an empty list of them", gives=no_datasets),
    Difference("load_datasets gives one thing for each name, always", gives=one_for_each),
    Difference("lists are sorted", gives=sorted_lists),
    Difference("paths of a load are sorted by name", gives=sorted_paths),
    Difference("object.attribute is found with any namespace", gives=with_any_namespace),
    Difference("of several ambiguities another is told", gives=first_told),
    Difference("tables without default_revision have the column, empty", gives=with_flags),
)

# what ours is asked beside, to do as ONE-api does
MORE = {
    # files that are not on disk are left out
    "load_object": {"assert_present": False},
    "load_collection": {"assert_present": False},
}


# -- the same questions ------------------------------------------------------------------------


def write_tables(lab, tables, made_by):
    tables.mkdir()
    if made_by == "ours":
        write_as_ours(lab, tables)
    else:
        write_as_one_api(lab, tables, flags=made_by == "one_api")


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("wildcards", [True, False], ids=["patterns", "expressions"])
@pytest.mark.parametrize("made_by", ["one_api", "ours", "one_api_without_flags"])
def test_the_same_questions_have_the_same_answers(tmp_path, made_by, wildcards, seed):
    # another lab each time
    drawn = 100 * seed + 10 * wildcards + len(made_by)
    lab = draw_lab(tmp_path / "files", drawn)
    write_tables(lab, tmp_path / "tables", made_by)
    options = {"tables_dir": tmp_path / "tables", "wildcards": wildcards}
    ours, one = Cache(lab.folder, silent=True, **options), One(lab.folder, **options)
    pristine = {name: one._cache[name].copy() for name in ("sessions", "datasets")}
    flags = made_by != "one_api_without_flags"
    draw = Draw(lab, Random(drawn), wildcards=wildcards, flags=flags)
    for i in range(QUESTIONS):
        question = draw.question()
        # a load may have changed the tables that it holds
        one._cache.update({name: frame.copy() for name, frame in pristine.items()})
        expected, warned = expected_answer(question, lab, one)
        got, ours_warned = told(partial(question.ask, ours, **MORE.get(question.name, {})))
        note = f"question {i} of lab {drawn}: {question}"
        assert_agree(got, expected, note)
        if warned is not None and isinstance(got, Answer) and flags:
            assert ours_warned == warned, note


def expected_answer(question, lab, one):
    """What ours must answer, and of what it must warn; None where that is not to be compared."""
    asked = Round(question, lab, one, one.wildcards)
    for difference in KNOWN:
        asked = replace(asked, question=difference.asks(asked))
    # its hashing takes 256 MB and a tenth of a second a file, and changes nothing here
    quick = {"check_hash": False} if question.name.startswith("load") else {}
    # texts in any case are expressions there
    one.wildcards = asked.wildcards or question.name == "search"
    theirs, warned = told(partial(asked.question.ask, one, **quick))
    one.wildcards = asked.wildcards
    asked, expected = replace(asked, question=question), theirs
    for difference in KNOWN:
        expected = difference.gives(asked, expected)
    is_load = question.name.startswith("load") and expected is theirs
    return expected, warned if is_load else None


# -- the same tables ---------------------------------------------------------------------------


def listed(cache):
    """All that a cache lists: datasets with their records, and which sessions they are of."""
    frame = cache.list_datasets(details=True, qc="CRITICAL", keep_eid_index=True)
    return frame.sort_index().sort_index(axis=1)


def found(cache):
    """All sessions, with their records."""
    eids, records = cache.search(details=True)
    return [{**record, "id": eid} for eid, record in zip(eids, records or [], strict=True)]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_one_api_opens_what_ours_saved_and_lists_the_same(tmp_path, seed):
    lab = draw_lab(tmp_path / "files", seed)
    write_tables(lab, tmp_path / "tables", "one_api")
    before = One(lab.folder, tables_dir=tmp_path / "tables")
    ours = Cache(lab.folder, tables_dir=tmp_path / "tables")
    ours.save_cache(tmp_path / "saved", clobber=True)
    after = One(lab.folder, tables_dir=tmp_path / "saved")
    for name in ("sessions", "datasets"):
        pd.testing.assert_frame_equal(after._cache[name], before._cache[name], check_like=True)
    pd.testing.assert_frame_equal(listed(after), listed(ours))
    assert found(after) == found(ours)
    assert isinstance(after._cache.datasets.index[0][0], uuid.UUID)
    assert after._cache.datasets["qc"].dtype == before._cache.datasets["qc"].dtype


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_ours_opens_what_one_api_saved_and_lists_the_same(tmp_path, seed):
    lab = draw_lab(tmp_path / "files", seed)
    write_tables(lab, tmp_path / "tables", "ours")
    one = One(lab.folder, tables_dir=tmp_path / "tables")
    (tmp_path / "saved").mkdir()
    one.save_cache(tmp_path / "saved", clobber=True)
    ours = Cache(lab.folder, tables_dir=tmp_path / "saved")
    pd.testing.assert_frame_equal(listed(ours), listed(one))
    assert found(ours) == found(one)
    pd.testing.assert_frame_equal(ours.sessions, one._cache.sessions, check_like=True)
    pd.testing.assert_frame_equal(ours.datasets, one._cache.datasets, check_like=True)


def test_a_folder_that_one_api_indexed_is_the_same_to_both(tmp_path):
    folder = tmp_path / "files"
    lab = draw_lab(folder, 3, missing=0)
    make_parquet_db(folder)
    one, ours = One(folder), Cache(folder)
    assert len(listed(ours)) == len(lab.datasets)
    flags = listed(ours).pop("default_revision")
    assert flags.isna().all()
    pd.testing.assert_frame_equal(listed(ours).drop(columns="default_revision"), listed(one))
    assert found(ours) == found(one)


def test_what_was_loaded_is_recorded_alike(tmp_path):
    lab = draw_lab(tmp_path / "files", 4)
    folders = [tmp_path / "theirs", tmp_path / "ours"]
    for folder in folders:
        write_tables(lab, folder, "one_api")
    one, ours = One(lab.folder, tables_dir=folders[0]), Cache(lab.folder, tables_dir=folders[1])
    one.record_loaded = ours.record_loaded = True
    how = {"assert_present": False, "download_only": True, "check_hash": False}
    for session in lab.sessions[:3]:
        names = [row["rel_path"] for row in lab.datasets_of(session["id"])]
        loaded = [cache.load_datasets(session["id"], names, **how)[0] for cache in (one, ours)]
        assert plain(loaded[0]) == plain(loaded[1])
    for options in ({"sessions_only": True, "clear_list": False}, {"clear_list": False}, {}):
        ids, path = one.save_loaded_ids(**options)
        our_ids, our_path = ours.save_loaded_ids(**options)
        assert len(ids) > 1
        assert sorted(ids) == our_ids
        # within a second ours takes another name, where there the last file stays
        assert re.sub(r"(_\d)?\.csv", "", our_path.name)[19:] == path.stem[19:]
        pd.testing.assert_frame_equal(pd.read_csv(our_path), in_order(pd.read_csv(path)))
    assert plain(one.save_loaded_ids()) == plain(ours.save_loaded_ids()) == [[], None]


@pytest.mark.parametrize("sessions_only", [False, True])
def test_a_list_that_one_api_wrote_is_restored(lab, tmp_path, sessions_only):
    one = One(lab)
    one.record_loaded = True
    eid = one.search(subject="KS014")[0]
    wheel = one.load_object(eid, "wheel")
    ids, path = one.save_loaded_ids(sessions_only=sessions_only)
    there = Cache(tmp_path / "there", silent=True)
    report = there.restore(path, source=lab)
    assert report.ok
    if not sessions_only:
        assert {file.id for file in report.files} == {str(one) for one in ids}
    np.testing.assert_array_equal(there.load_object(eid, "wheel").position, wheel["position"])


def in_order(frame):
    return frame.sort_values(list(frame)).reset_index(drop=True)
