"""Calcium activity around button presses: trials, events, conditions, populate, two figures.

The page of DataJoint's workflow-miniscope on event-aligned activity, without a database:

    python aligned_activity.py
    python aligned_activity.py --cache-dir lab     (again: nothing is computed twice)

`--strict` cuts windows and samples as DataJoint does; without it, +-5 s around the button is
+-5 s, and a trial without such a press is a row without values.
"""

import argparse
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace

import numpy as np
import pandas as pd

from one_cache import Cache
from one_cache.relation import Column, Heading, Relation, Table
from one_cache.trials import Condition, aligned_activity, plot_aligned_activities, populate

DATA = Path(__file__).parent / "data"
SESSION = ["subject", "session_datetime"]
ACTIVITY = [*SESSION, "recording_id", "paramset_id", "curation_id", "extraction_method"]
CONDITION = [*ACTIVITY, "alignment_name", "trial_condition"]


def show(name, relation):
    """Print the first ten rows of a table, and how many there are."""
    print(f"\n{name}\n{relation.preview(limit=10, width=20)}")


def read_tables(folder):
    """Give the tables of the schemas trial, event and miniscope."""
    rows = pd.read_csv(folder / "trials.csv", parse_dates=["session_datetime"])
    events = pd.read_csv(folder / "events.csv", parse_dates=["session_datetime"])
    alignments = pd.read_csv(folder / "alignments.csv").fillna({"alignment_description": ""})
    times = ["trial_start_time", "trial_stop_time"]
    key = {
        **rows.loc[0, SESSION].to_dict(),
        "recording_id": 0,
        "paramset_id": 0,
        "curation_id": 0,
    }
    trial = SimpleNamespace(
        Trial=Relation(rows[[*SESSION, "trial_id", "trial_type", *times]], [*SESSION, "trial_id"]),
        TrialEvent=Relation(
            events[[*SESSION, "trial_id", "event_type", "event_start_time"]],
            [*SESSION, "trial_id", "event_type", "event_start_time"],
        ),
    )
    event = SimpleNamespace(
        Event=Relation(
            events[[*SESSION, "event_type", "event_start_time"]].drop_duplicates(),
            [*SESSION, "event_type", "event_start_time"],
        ),
        AlignmentEvent=Relation(alignments[:3], "alignment_name"),
    )
    traces = np.load(folder / "activity.npz")
    methods = ("caiman_deconvolution", "caiman_dff")
    masks = [{**key, "mask_id": int(mask)} for mask in traces["mask_id"]]
    miniscope = SimpleNamespace(
        Activity=Relation([{**key, "extraction_method": one} for one in methods], ACTIVITY),
        Mask=Relation(masks, [*ACTIVITY[:-1], "mask_id"]),
        traces=traces,
    )
    return trial, event, miniscope


def condition_tables(trial):
    """Give the empty tables of conditions."""
    key = [trial.Trial.heading[one] for one in SESSION]
    key += [Column(one, "BIGINT") for one in ACTIVITY[2:5]]
    key += [Column(one) for one in CONDITION[5:]]
    more = (
        Column("condition_description", default=""),
        Column("bin_size", "FLOAT", unit="s", default=0.04),
    )
    trials = Relation(
        [], heading=Heading((*key, Column("trial_id", "BIGINT")), (*CONDITION, "trial_id"))
    )
    name = "ActivityAlignmentCondition"
    return Relation(
        [],
        heading=Heading((*key, *more), tuple(CONDITION)),
        table=Table(name, parts={"Trial": trials}),
    )


def insert_conditions(conditions, trials_of, activity_key, alignment_key):
    """Add a condition for each kind of trials, with its trials."""
    for kind, trials in trials_of.items():
        condition = {
            **activity_key,
            **alignment_key,
            "trial_condition": f"{kind}_center_button",
        }
        conditions.insert1(condition, skip_duplicates=True)
        sample = (conditions * trials & condition).proj()
        conditions.Trial.insert(sample, skip_duplicates=True)
        show("ActivityAlignmentCondition * trials", sample)
        show("ActivityAlignmentCondition.Trial", conditions.Trial & condition)
        show("ActivityAlignmentCondition", conditions())


def as_condition(row, conditions, trial, event, miniscope):
    """Give what a row of ActivityAlignmentCondition means."""
    return Condition(
        activity=miniscope.traces[row["extraction_method"]],
        alignment=(event.AlignmentEvent & row).fetch1(),
        trials=trial.Trial & (conditions.Trial & row),
        events=event.Event & row,
        rate=float(miniscope.traces["fps"]),
        roi=miniscope.traces["mask_id"],
        unit="dF/F",
    )


def as_tables(keys, results):
    """Give the results as DataJoint shows them: a row a condition, and a row a trace."""
    name = "trial_condition"
    rows = [{**key, "aligned_timestamps": results[key[name]].time} for key in keys]
    traces = [
        {
            **key,
            "mask_id": int(mask),
            "fluorescence_channel": 0,
            "trial_id": int(trial),
            "aligned_trace": trace,
        }
        for key in keys
        for aligned in [results[key[name]]]
        for mask, layer in zip(aligned.roi, aligned.data, strict=True)
        for trial, trace in zip(aligned.trial_id, layer, strict=True)
    ]
    parts = [*CONDITION, "mask_id", "fluorescence_channel", "trial_id"]
    return Relation(rows, CONDITION), Relation(traces, parts)


def draw(results, folder):
    """Draw both conditions to files; without matplotlib there are no pictures."""
    try:
        import matplotlib
    except ImportError:
        print("\nno pictures: matplotlib is not installed (pip install 'one_cache[plot]')")
        return
    matplotlib.use("Agg")
    for name, title in (
        ("stim_center_button", "Stimulus Center Button"),
        ("ctrl_center_button", "Control Center Button"),
    ):
        axes = plot_aligned_activities(results[name], roi=2, title=title)
        path = folder / f"{name}.png"
        axes[0].figure.savefig(path, dpi=80)
        print(f"\n{title}: {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache-dir", type=Path, help="where results are kept")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the tables")
    parser.add_argument("--strict", action="store_true", help="as DataJoint computes")
    given = parser.parse_args()
    folder = given.cache_dir or Path(mkdtemp(prefix="aligned-"))
    trial, event, miniscope = read_tables(given.data)

    show("Trial", trial.Trial & "subject='subject1'")
    show("TrialEvent", trial.TrialEvent() & "trial_id<5" & "subject='subject1'")
    show("AlignmentEvent", event.AlignmentEvent())
    show("Activity", miniscope.Activity())
    activity_key = (
        miniscope.Activity & {"subject": "subject1", "extraction_method": "caiman_dff"}
    ).fetch1("KEY")
    show("Trial & activity_key", trial.Trial & activity_key)
    ctrl_trials = trial.Trial & activity_key & 'trial_type = "ctrl"'
    stim_trials = trial.Trial & activity_key & 'trial_type = "stim"'
    show("ctrl_trials", ctrl_trials)
    alignment_key = (event.AlignmentEvent & 'alignment_name = "center_button"').fetch1("KEY")

    conditions = condition_tables(trial)
    of_kind = {"ctrl": ctrl_trials, "stim": stim_trials}
    insert_conditions(conditions, of_kind, activity_key, alignment_key)

    named = {
        row["trial_condition"]: as_condition(row, conditions, trial, event, miniscope)
        for row in conditions
    }
    cache = Cache(folder)
    results = populate(named, aligned_activity, cache, arguments={"strict": given.strict})
    print(f"\ncomputed: {', '.join(results.computed) or 'nothing, all results are there'}")

    alignment, traces = as_tables(conditions.keys(), results)
    show("ActivityAlignment", alignment)
    show("ActivityAlignment.AlignedTrialActivity", traces)
    show("Segmentation.Mask & mask_id<3", miniscope.Mask & "mask_id<3")
    show("results", cache.relation("results").proj("function", "key", "size", "computed_at"))
    draw(results, folder)


if __name__ == "__main__":
    main()
