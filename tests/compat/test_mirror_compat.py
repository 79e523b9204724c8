"""What a mirror answers against the live pipeline that it was made of, expression by expression.

On MariaDB and PostgreSQL, where ``ONE_CACHE_TEST_MARIADB`` and ``ONE_CACHE_TEST_POSTGRES`` say
that they answer. What the two answer differently is in `DIFFERENT`, with the reason in
docs/datajoint.md.
"""

from __future__ import annotations

import warnings
from operator import attrgetter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from datajoint_pipeline import DATA, KEY, mirror_of, reference
from expressions import EXPRESSIONS, answered

from one_cache import Cache, relation
from one_cache.trials import align, trial_windows

pytest.importorskip("datajoint")
pytestmark = pytest.mark.filterwarnings("default")
ACTIVITY = {**KEY, "recording_id": 0, "extraction_method": "caiman_dff"}


@pytest.fixture(scope="module", params=["mysql", "postgresql"])
def both(request, tmp_path_factory):
    """The live tables and the mirrored ones, under the same names."""
    pipeline = reference(request.param)
    try:
        pipeline.declare(
            "notes",
            {"Note": ("Manual", "-> trial.Trial\n---\nnote=null: varchar(64)\nscore=null: int\n")},
        )
        trials = pipeline.trial.Trial.keys()
        notes = [row for row in trials if row["trial_id"] % 3 == 0]
        for place, row in enumerate(notes):
            row["note"] = None if place % 4 == 0 else 'it\'s "n" 100%'
            row["score"] = None if place % 5 == 0 else place % 3
        pipeline.insert("notes", {"Note": notes})
        cache = Cache(tmp_path_factory.mktemp("mirror"))
        mirror_of(pipeline, cache).pull(*pipeline.names.values())
        import datajoint

        yield (
            _names({name: cache.schemas[full] for name, full in pipeline.names.items()}, relation),
            _names({name: getattr(pipeline, name) for name in pipeline.names}, datajoint),
            request.param,
        )
    finally:
        pipeline.drop()


def _names(schemas, algebra):
    classes = ("AndList", "Not", "Top", "U")
    tables = {
        "Session": schemas["session"].Session,
        "TrialType": schemas["trial"].TrialType,
        "EventType": schemas["event"].EventType,
        "Trial": schemas["trial"].Trial,
        "Event": schemas["event"].Event,
        "TrialEvent": schemas["trial"].TrialEvent,
        "Note": schemas["notes"].Note,
    }
    return SimpleNamespace(
        **tables, **schemas, **{name: getattr(algebra, name) for name in classes}
    )


# what the page does beyond the expressions that relations are compared by
PAGE = {
    "trials of a session": lambda t: t.trial.Trial() & "subject='subject1'",
    "events of trials": lambda t: t.trial.TrialEvent() & "trial_id<5" & "subject='subject1'",
    "alignments": lambda t: t.event.AlignmentEvent(),
    "one alignment": lambda t: t.event.AlignmentEvent & "alignment_name = 'center_button'",
    "activity": lambda t: t.miniscope.Activity(),
    "trials of an activity": lambda t: t.trial.Trial & ACTIVITY,
    "control trials": lambda t: t.trial.Trial & ACTIVITY & {"trial_type": "ctrl"},
    "conditions": lambda t: (
        (t.event.AlignmentEvent * (t.trial.Trial & {"trial_type": "ctrl"}))
        & {"alignment_name": "center_button"}
    ).proj(),
    "part tables": lambda t: t.trial.Trial.Attribute & "trial_id > 45",
    "a part and its master": lambda t: t.trial.Trial * t.trial.Trial.Attribute,
    "a part of another schema": lambda t: t.event.BehaviorRecording.File(),
    "traces": lambda t: t.miniscope.Activity.Trace & "mask_id < 2",
    "traces of one method": lambda t: t.miniscope.Activity.Trace & ACTIVITY,
    "traces without arrays": lambda t: t.miniscope.Activity.Trace.proj("fluorescence_channel"),
    "number of traces": lambda t: t.miniscope.Activity.aggr(
        t.miniscope.Activity.Trace, n="count(mask_id)"
    ),
    "renamed foreign key": lambda t: (
        t.event.AlignmentEvent * t.event.EventType.proj(alignment_event_type="event_type")
    ),
    "types that are aligned to": lambda t: (
        t.event.EventType & t.event.AlignmentEvent.proj(event_type="alignment_event_type")
    ),
    "blocks of trials": lambda t: t.trial.Block.aggr(t.trial.BlockTrial, n="count(trial_id)"),
    "events as decimals": lambda t: t.event.Event & "event_start_time < 2.5",
    "an event as a decimal": lambda t: t.event.Event & {"event_start_time": 1.649},
    "three schemas": lambda t: (
        t.session.Session * t.event.BehaviorRecording * t.trial.Trial & "trial_id = 7"
    ),
    "a duration in 32 bits": lambda t: t.event.BehaviorRecording.proj("recording_duration"),
    "no value": lambda t: t.event.Event & "event_end_time is null" & "event_type = 'left'",
}

FETCHES = {
    "KEY": lambda t: (t.trial.Trial & KEY).fetch("KEY"),
    "keys": lambda t: (t.trial.TrialEvent & KEY).keys(order_by="KEY"),
    "fetch1 of a key": lambda t: (
        t.event.AlignmentEvent & {"alignment_name": "left_button"}
    ).fetch1("KEY"),
    "fetch1": lambda t: (t.trial.Trial & {**KEY, "trial_id": 3}).fetch1(),
    "fetch1 of two": lambda t: (t.trial.Trial & {**KEY, "trial_id": 3}).fetch1(
        "trial_type", "trial_start_time"
    ),
    "fetch1 of many": lambda t: t.trial.Trial.fetch1(),
    "fetch1 of none": lambda t: (t.trial.Trial & {"trial_id": 99}).fetch1(),
    "two columns": lambda t: t.trial.Trial.fetch(
        "trial_start_time", "trial_type", order_by="trial_id"
    ),
    "one column": lambda t: t.trial.Trial.to_arrays("trial_stop_time", order_by="KEY"),
    "dicts": lambda t: t.trial.Trial.fetch(as_dict=True, order_by="KEY"),
    "dicts of two": lambda t: t.trial.Trial.proj("trial_type").to_dicts(order_by="KEY"),
    "frame": lambda t: t.trial.Trial.fetch(format="frame", order_by="KEY").reset_index(),
    "to_pandas": lambda t: t.trial.TrialEvent.to_pandas(order_by="KEY").reset_index(),
    "limit": lambda t: t.trial.Trial.to_dicts(order_by="trial_start_time DESC", limit=3),
    "limit and offset": lambda t: t.trial.Trial.to_dicts(order_by="KEY", limit=3, offset=5),
    "order of two in one text": lambda t: t.trial.Trial.to_dicts(
        order_by="trial_type DESC, trial_start_time", limit=7
    ),
    "arrays": lambda t: (t.miniscope.Activity.Trace & ACTIVITY).to_dicts(order_by="mask_id"),
    "an array": lambda t: (t.miniscope.Activity.Trace & ACTIVITY & "mask_id = 2").fetch1(
        "activity_trace"
    ),
    "times of frames": lambda t: t.miniscope.RecordingInfo.fetch1("time_stamps"),
    "rate": lambda t: t.miniscope.RecordingInfo.fetch1("fps"),
    "dates": lambda t: t.session.Session.to_arrays("session_datetime", order_by="KEY"),
    "structured": lambda t: (t.trial.Trial & "trial_id < 5").to_arrays(order_by="KEY").tolist(),
    "head": lambda t: t.trial.Trial.head(4),
    "length": lambda t: (len(t.trial.Trial()), bool(t.trial.Trial & "trial_id > 99")),
    "contains": lambda t: [row["trial_id"] for row in t.trial.Trial & "trial_id = 5"],
    "unknown column": lambda t: t.trial.Trial.to_dicts("no_such_column"),
}

FLOATS = "32-bit floats: the live ones are not the numbers that were typed"
NOT_POSTGRES = "theirs fails on PostgreSQL: another SQL"
# rows that the two answer differently, and why; "" for both servers
DIFFERENT = {
    "": {
        "minus and list": "theirs negates the first condition only",
        "minus whole key": "theirs negates the first column only",
        "aggr that keeps all": "theirs counts 1 where there is none",
        "mapping with a float": FLOATS,
        "restricted after computing": FLOATS,
    },
    "mysql": {
        "aggr with a name": "theirs fails on MariaDB: not in GROUP BY",
        "aggr with all": "theirs fails on MariaDB: not in GROUP BY",
        "aggr that mentions the left side": "theirs fails on MariaDB: not in GROUP BY",
        "mapping in another case": "MariaDB does not tell upper from lower case",
        "text in another case": "MariaDB does not tell upper from lower case",
        "trailing space": "MariaDB ignores it",
        "text for a number": "MariaDB takes text that is no number for 0",
        "three schemas": FLOATS,
        "a duration in 32 bits": FLOATS,
    },
    "postgresql": dict.fromkeys(
        [
            "text, double quotes",
            "text, backticks",
            "text, in",
            "text, escaped quote",
            "text, a moment",
            "chained",
            "proj that computes",
            "aggr that mentions the left side",
        ],
        NOT_POSTGRES,
    ),
}


def _same(one, other):
    """Whether two answers are the same, arrays and frames inside them too."""
    if isinstance(one, pd.DataFrame):
        one, other = one.to_dict("list"), other.to_dict("list")
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)) or (isinstance(one, np.ndarray) and one.dtype.kind == "O"):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, np.ndarray):
        return one.shape == other.shape and np.array_equal(one, other.astype(one.dtype))
    if isinstance(one, str) != isinstance(other, str):
        return False
    if pd.isna(one) or pd.isna(other):
        return bool(pd.isna(one) and pd.isna(other))
    return bool(one == other)


def _answer(fetch, tables):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return fetch(tables)
        except Exception as error:  # noqa: BLE001  # theirs lets errors of the driver through
            return f"refused: {type(error).__name__}"


def _compared(name, expression, both):
    mine, theirs, backend = both
    ours, original = answered(expression, mine), answered(expression, theirs)
    if name in DIFFERENT[""] | DIFFERENT[backend]:
        assert not _same(ours, original), "they agree now: take it off the list"
    elif not (isinstance(ours, str) and isinstance(original, str)):
        assert _same(ours, original), (ours, original)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_has_the_same_rows_and_key(name, both):
    _compared(name, EXPRESSIONS[name], both)


@pytest.mark.parametrize("name", PAGE)
def test_what_the_page_asks_has_the_same_rows_and_key(name, both):
    _compared(name, PAGE[name], both)


@pytest.mark.parametrize("name", FETCHES)
def test_what_is_fetched_is_the_same(name, both):
    mine, theirs, _ = both
    ours, original = _answer(FETCHES[name], mine), _answer(FETCHES[name], theirs)
    refused = [isinstance(one, str) and one.startswith("refused") for one in (ours, original)]
    assert refused[0] == refused[1], (ours, original)
    assert all(refused) or _same(ours, original), (ours, original)


CONDITIONS = ["center_button", "left_button", "right_button", "center_short"]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("trial_type", ["ctrl", "stim"])
@pytest.mark.parametrize("name", CONDITIONS)
def test_activity_is_aligned_to_the_same_numbers(name, trial_type, strict, both):
    aligned = []
    for tables in both[:2]:
        trials = tables.trial.Trial & KEY & {"trial_type": trial_type}
        alignment = (tables.event.AlignmentEvent & {"alignment_name": name}).fetch1()
        events = tables.event.Event & KEY
        windows = trial_windows(
            trials.to_pandas().reset_index(), events.to_pandas().reset_index(), alignment,
            strict=strict,
        )  # fmt: skip
        traces = (tables.miniscope.Activity.Trace & ACTIVITY).to_dicts(order_by="mask_id")
        rate = float((tables.miniscope.RecordingInfo & KEY).fetch1("fps"))
        activity = np.stack([row["activity_trace"] for row in traces])
        aligned.append((windows, align(activity, windows, rate=rate, strict=strict)))
    (ours, mine), (original, theirs) = aligned
    pd.testing.assert_frame_equal(ours, original, check_dtype=False)
    np.testing.assert_array_equal(mine.time, theirs.time)
    np.testing.assert_array_equal(mine.data, theirs.data)
    expected = pd.read_parquet(DATA / "windows_datajoint.parquet")
    expected = expected[expected.alignment_name == name]
    if strict and len(expected) == len(ours):
        np.testing.assert_allclose(ours.event, expected.event.to_numpy())


def test_windows_are_found_from_the_relations_of_a_mirror(both):
    tables = both[0]
    windows = trial_windows(
        tables.trial.Trial & KEY,
        tables.event.Event & KEY,
        tables.event.AlignmentEvent & {"alignment_name": "center_button"},
    )
    assert len(windows) == 50
    # the page has 26 trials with a press of the center button, 10 of them control trials
    assert windows.event.notna().sum() == 26


PREVIEWS = [
    "trial.Trial", "trial.TrialType", "trial.Trial.Attribute", "notes.Note",
    "event.AlignmentEvent",
]  # fmt: skip


@pytest.mark.parametrize("name", PREVIEWS)
@pytest.mark.parametrize(("limit", "width"), [(5, 14), (3, 30)])
def test_a_preview_looks_as_it_does_live(name, limit, width, both):
    mine, theirs = (attrgetter(name)(tables) for tables in both[:2])
    # the live one comes in the order of the server unless it is told
    original = theirs & both[1].Top(limit=10_000, order_by="KEY")
    assert (mine & "TRUE").preview(limit=limit, width=width) == original.preview(
        limit=limit, width=width
    )


def test_a_preview_says_which_columns_hold_arrays(both):
    mine, theirs = (tables.miniscope.Activity.Trace & {"mask_id": 1} for tables in both[:2])
    # the live one cuts the name of such a column to the width of "<blob>"
    assert "activity_trace" in repr(mine)
    for shown in (repr(mine), repr(theirs)):
        assert shown.count("<blob>") == 2
