"""Expressions of DataJoint users, and the answer of each in a form that can be compared."""

from __future__ import annotations

import datetime as dt
import warnings

import numpy as np
import pandas as pd

from one_cache.errors import CacheWarning

KEY = {"subject": "subject1", "session_datetime": dt.datetime(2021, 1, 1, 0, 0, 1)}
EXPRESSIONS = {
    "mapping": lambda t: t.Trial & {"trial_id": 3},
    "mapping with foreign names": lambda t: t.Trial & {**KEY, "recording_id": 0, "trial_id": 3},
    "mapping without known names": lambda t: t.Trial & {"recording_id": 0},
    "minus mapping without known names": lambda t: t.Trial - {"recording_id": 0},
    "empty mapping": lambda t: t.Trial & {},
    "mapping with none": lambda t: t.Note & {"note": None},
    "minus mapping with none": lambda t: t.Note - {"note": None},
    "mapping with text for a number": lambda t: t.Trial & {"trial_id": "3"},
    "mapping with a moment as text": lambda t: (
        t.Trial & {"session_datetime": "2021-01-01 00:00:01"}
    ),
    "mapping with a float": lambda t: t.Trial & {"trial_start_time": 2.662},
    "mapping with quotes": lambda t: t.Note & {"note": "it's \"n\" 100%"},
    "mapping with an injection": lambda t: t.Note & {"note": "' OR 1=1 OR note='"},
    "mapping with no match": lambda t: t.Trial & {"subject": "nobody"},
    "mapping of secondary": lambda t: t.Trial & {"trial_type": "ctrl"},
    "minus mapping": lambda t: t.Trial - {"trial_type": "ctrl"},
    "minus whole key": lambda t: t.Trial - {**KEY, "trial_id": 3},
    "mapping in another case": lambda t: t.Trial & {"subject": "SUBJECT1"},
    "text in another case": lambda t: t.Trial & "trial_type = 'CTRL'",
    "trailing space": lambda t: t.Trial & {"subject": "subject1 "},
    "text for a number": lambda t: t.Trial & "trial_id - 1 < 'x'",
    "text, single quotes": lambda t: t.Trial & "subject='subject1'",
    "text, double quotes": lambda t: t.Trial & 'trial_type = "ctrl"',
    "text, backticks": lambda t: t.Trial & '`trial_type` = "ctrl"',
    "text, number": lambda t: t.TrialEvent & "trial_id<5",
    "text, between": lambda t: t.Trial & "trial_start_time BETWEEN 3 AND 9.5",
    "text, in": lambda t: t.Trial & 'trial_id in (3, 4, 5) and trial_type in ("ctrl")',
    "text, like": lambda t: t.TrialEvent & "event_type like 'c%'",
    "text, is null": lambda t: t.Note & "note is null",
    "text, is not null": lambda t: t.Note & "score IS NOT NULL AND score > 0",
    "text, arithmetic": lambda t: t.Trial & "trial_stop_time - trial_start_time > 0.8639",
    "text, or": lambda t: t.Trial & "trial_id = 1 or trial_id = 2" & "trial_id = 2",
    "text, escaped quote": lambda t: t.Note & "note like 'it\\'s%'",
    "text, doubled quote": lambda t: t.Note & "note like 'it''s%'",
    "text, a moment": lambda t: t.Trial & 'session_datetime > "2020-12-31"',
    "text, functions": lambda t: t.Trial & "mod(trial_id, 7) = 3 and round(trial_start_time) > 5",
    "text, comparison of text": lambda t: t.Trial & "trial_type != 'ctrl'",
    "text, unknown column": lambda t: t.Trial & "no_such_column = 1",
    "minus text": lambda t: t.Trial - "trial_id > 3",
    "minus text on null": lambda t: t.Note - "score > 0",
    "chained": lambda t: t.Trial & KEY & 'trial_type = "ctrl"' & "trial_id < 10",
    "list": lambda t: t.Trial & [{"trial_id": 3}, {"trial_id": 5}],
    "tuple of texts": lambda t: t.Trial & ("trial_id = 3", "trial_id = 4"),
    "list of mixed": lambda t: t.Trial & [{"trial_id": 3}, "trial_id = 4", t.Note & {"score": 2}],
    "long list": lambda t: t.Trial & [{"trial_id": i} for i in range(2, 60, 2)],
    "minus list": lambda t: t.Trial - [{"trial_id": i} for i in range(2, 60, 2)],
    "long list with none": lambda t: (
        t.Note & [{"trial_id": 3 * i, "note": None} for i in range(40)]
    ),
    "empty list": lambda t: t.Trial & [],
    "minus empty list": lambda t: t.Trial - [],
    "list of lists": lambda t: t.Trial & [["trial_id = 1"], [{"trial_id": 2}]],
    "and list": lambda t: t.Trial & t.AndList(["trial_id < 9", {"trial_type": "ctrl"}]),
    "empty and list": lambda t: t.Trial & t.AndList([]),
    "minus and list": lambda t: t.Trial - t.AndList(["trial_id < 9", {"trial_type": "ctrl"}]),
    "minus empty and list": lambda t: t.Trial - t.AndList([]),
    "and list in list": lambda t: (
        t.Trial & [t.AndList(["trial_id < 9", {"trial_type": "ctrl"}]), "trial_id=50"]
    ),
    "not": lambda t: t.Trial & t.Not({"trial_type": "ctrl"}),
    "not not": lambda t: t.Trial & t.Not(t.Not("trial_id < 4")),
    "not in list": lambda t: t.Trial & [t.Not("trial_id > 2"), "trial_id = 9"],
    "true": lambda t: t.Trial & True,
    "false": lambda t: t.Trial & False,
    "minus true": lambda t: t.Trial - True,
    "none": lambda t: t.Trial & None,
    "number": lambda t: t.Trial & 5,
    "frame": lambda t: t.Trial & pd.DataFrame({"trial_id": [1, 2, 99]}),
    "records": lambda t: t.Trial & pd.DataFrame({"trial_id": [1, 2]}).to_records(index=False),
    "keys": lambda t: t.Trial & (t.TrialEvent & "event_type = 'left'").keys(),
    "semijoin": lambda t: t.Trial & (t.TrialEvent & {"event_type": "center"}),
    "antijoin": lambda t: t.Trial - (t.TrialEvent & {"event_type": "center"}),
    "semijoin on a secondary": lambda t: t.TrialType & (t.Trial & "trial_id < 4"),
    "antijoin on a secondary": lambda t: t.TrialType - t.Trial,
    "semijoin without common": lambda t: t.TrialType & t.EventType,
    "antijoin without common": lambda t: t.TrialType - t.EventType,
    "antijoin of nothing without common": lambda t: t.TrialType - (t.EventType & "FALSE"),
    "not a relation": lambda t: t.Trial & t.Not(t.Note),
    "join": lambda t: t.Trial * t.TrialEvent,
    "join, restricted": lambda t: t.Trial * t.TrialEvent & {"trial_id": 2},
    "join on a secondary": lambda t: t.Trial * t.TrialType,
    "join on a secondary, other way": lambda t: t.TrialType * t.Trial,
    "join, other way": lambda t: t.TrialEvent * t.Trial,
    "join of three": lambda t: t.Session * t.Trial * t.TrialEvent,
    "join, neither determines": lambda t: t.TrialEvent * t.Note,
    "join without common": lambda t: t.TrialType * t.EventType,
    "join of projections": lambda t: (
        t.Trial.proj("trial_type", before="trial_id") * t.Trial.proj(type="trial_type")
    ),
    "proj": lambda t: t.Trial.proj(),
    "proj of a name": lambda t: t.Trial.proj("trial_type"),
    "proj of a key": lambda t: t.Trial.proj("trial_id"),
    "proj of all": lambda t: t.Trial.proj(...),
    "proj of all but": lambda t: t.Trial.proj(..., "-trial_type"),
    "proj that drops a key": lambda t: t.Trial.proj(..., "-trial_id"),
    "proj that renames": lambda t: t.Trial.proj(kind="trial_type"),
    "proj that renames with all": lambda t: t.Trial.proj(..., kind="trial_type"),
    "proj that renames a key": lambda t: t.Trial.proj("trial_type", number="trial_id"),
    "proj that copies": lambda t: t.Trial.proj(kind="(trial_type)"),
    "proj that computes": lambda t: (
        t.Trial.proj(length="round(trial_stop_time-trial_start_time,3)")
    ),
    "proj that computes text": lambda t: t.Trial.proj(text="concat(trial_type, '-', trial_id)"),
    "proj with a constant": lambda t: t.Trial.proj(one="1", word="'a'"),
    "proj of an unknown name": lambda t: t.Trial.proj("no_such_column"),
    "proj with a name twice": lambda t: t.Trial.proj("trial_type", trial_type="trial_id + 1"),
    "restricted after computing": lambda t: (
        t.Trial.proj(middle="(trial_start_time+trial_stop_time)/2") & "middle > 30"
    ),
    "restricted after renaming": lambda t: t.Trial.proj(number="trial_id") & {"number": 7},
    "computed twice": lambda t: t.Trial.proj(a="trial_id*2").proj(b="a+1"),
    "aggr": lambda t: t.Trial.aggr(t.TrialEvent, n="count(event_type)"),
    "aggr of a restricted group": lambda t: (
        t.Trial.aggr(t.TrialEvent & "event_type='left'", n="count(*)")
    ),
    "aggr of matching": lambda t: (
        t.Trial.aggr(t.Note, n="count(*)", exclude_nonmatching=True)
    ),
    "aggr, default": lambda t: t.Trial.aggr(t.Note, n="count(note)"),
    "aggr that keeps all": lambda t: t.Trial.aggr(t.Note, n="count(*)", exclude_nonmatching=False),
    "aggr that keeps all, counting a column": lambda t: (
        t.Trial.aggr(t.Note, n="count(note)", exclude_nonmatching=False)
    ),
    "aggr with a name": lambda t: t.Trial.aggr(t.TrialEvent, "trial_type", n="count(event_type)"),
    "aggr with all": lambda t: t.Trial.aggr(t.TrialEvent, ..., last="max(event_start_time)"),
    "aggr that mentions the left side": lambda t: (
        t.Trial.aggr(t.TrialEvent, delay="round(min(event_start_time) - trial_start_time, 4)")
    ),
    "aggr, restricted": lambda t: t.Trial.aggr(t.TrialEvent, n="count(event_type)") & "n > 1",
    "aggr, restricted by mapping": lambda t: (
        t.Trial.aggr(t.TrialEvent, n="count(event_type)") & {"n": 2}
    ),
    "aggr of a session": lambda t: (
        t.Session.aggr(
            t.Trial, first="min(trial_start_time)", kinds="count(distinct trial_type)"
        )
    ),
    "aggr without the key": lambda t: t.TrialEvent.aggr(t.Trial, n="count(*)"),
    "aggr, joined": lambda t: t.Trial.aggr(t.TrialEvent, n="count(event_type)") * t.Note,
    "u": lambda t: t.U("trial_type") & t.Trial,
    "u of a key": lambda t: t.U("subject") & t.TrialEvent,
    "u of nothing known": lambda t: t.U("no_such_column") & t.Trial,
    "u aggr": lambda t: t.U("trial_type").aggr(t.Trial, n="count(*)"),
    "u aggr of everything": lambda t: t.U().aggr(t.Trial, n="count(*)", last="max(trial_id)"),
    "top": lambda t: t.Trial & t.Top(5),
    "top by a column": lambda t: t.Trial & t.Top(5, "trial_start_time DESC"),
    "top with an offset": lambda t: t.Trial & t.Top(5, "trial_id", 3),
}  # fmt: skip


def plain(value):
    """A value as both give it, give or take their types."""
    if isinstance(value, (int, float, np.number)) or type(value).__name__ == "Decimal":
        return round(float(value), 9)
    return value


def answered(expression, tables):
    """Rows in an order of their own, key and names; or that it fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        try:
            result = expression(tables)
            rows = result.to_dicts()
        except Exception as error:  # noqa: BLE001  # theirs lets errors of the driver through
            return f"refused: {type(error).__name__}"
    said = [{name: plain(value) for name, value in row.items()} for row in rows]
    return {
        "rows": sorted(said, key=repr),
        "key": list(result.primary_key),
        "names": list(result.heading.names),
        "count": len(result),
    }
