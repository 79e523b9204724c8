"""A DataJoint pipeline mirrored, analysed without its server, recorded, and rerun from a bundle.

    DJ_HOST=127.0.0.1 DJ_USER=root DJ_PASS= python mirrored_pipeline.py
    DJ_BACKEND=postgresql DJ_USER=postgres DJ_PASS=... python mirrored_pipeline.py

A small pipeline of trials, button presses and calcium traces is declared on the server under a
name of its own, and dropped before the analysis begins.
"""

import argparse
import logging
import os
import secrets
import warnings
from pathlib import Path
from tempfile import mkdtemp

import datajoint as dj
import numpy as np
import pandas as pd

from one_cache import Cache
from one_cache.datajoint import Mirror
from one_cache.trials import align, trial_windows

DATA = Path(__file__).parent / "data"
SESSION = ["subject", "session_datetime"]
RATE = 20.0


class Session(dj.Manual):
    definition = """
    subject: varchar(8)
    session_datetime: datetime
    """


class EventType(dj.Lookup):
    definition = """
    event_type: varchar(32)
    """


class Event(dj.Imported):
    definition = """
    -> Session
    -> EventType
    event_start_time: decimal(10,4)   # (s) relative to recording start
    """


class Trial(dj.Imported):
    definition = """
    # experimental trials
    -> Session
    trial_id: int32                   # trial number (1-based indexing)
    ---
    trial_type: enum('ctrl', 'stim')
    trial_start_time: float32         # (s) relative to recording start
    trial_stop_time: float32          # (s) relative to recording start
    """


class Activity(dj.Computed):
    definition = """
    -> Session
    """

    class Trace(dj.Part):
        definition = """
        -> master
        mask_id: int32
        ---
        activity_trace: <blob>        # (dF/F) one value each frame
        """


def connect():
    """Connect as DataJoint users do."""
    postgres = os.environ.get("DJ_BACKEND", "mysql").startswith("postgres")
    return dj.Instance(
        host=os.environ.get("DJ_HOST", "127.0.0.1"),
        user=os.environ["DJ_USER"],
        password=os.environ["DJ_PASS"],
        port=int(os.environ.get("DJ_PORT") or (5432 if postgres else 3306)),
        backend="postgresql" if postgres else "mysql",
        use_tls=False,
    )


def declare(name):
    """Make the pipeline on the server, with its rows."""
    schema = connect().Schema(name)
    classes = {}
    for one in (Session, EventType, Event, Trial, Activity):
        classes[one.__name__] = schema(one, context=dict(classes))
    trials = pd.read_csv(DATA / "trials.csv", parse_dates=["session_datetime"])
    events = pd.read_csv(DATA / "events.csv", parse_dates=["session_datetime"])
    key = {
        **trials.loc[0, SESSION],
        "session_datetime": trials.session_datetime[0].to_pydatetime(),
    }
    direct = {"allow_direct_insert": True}
    Session.insert1(key)
    EventType.insert({"event_type": one} for one in events.event_type.unique())
    names = ["trial_id", "trial_type", "trial_start_time", "trial_stop_time"]
    Trial.insert(({**key, **row} for row in trials[names].to_dict("records")), **direct)
    presses = events[["event_type", "event_start_time"]].drop_duplicates()
    Event.insert(({**key, **row} for row in presses.to_dict("records")), **direct)
    Activity.insert1(key, **direct)
    random = np.random.default_rng(0)
    Activity.Trace.insert(
        {**key, "mask_id": i, "activity_trace": random.normal(size=1300)} for i in range(5)
    )
    return schema


def analyse(cache, name):
    """Align the activity of control trials to the center button."""
    db = cache.schemas[name]
    ctrl = db.Trial & {"subject": "subject1"} & 'trial_type = "ctrl"'
    around_center = {
        f"{one}_{what}": value
        for one, shift in (("start", -5), ("end", 5))
        for what, value in (("event_type", "center"), ("time_shift", shift))
    }
    around_center.update(alignment_event_type="center", alignment_time_shift=0)
    windows = trial_windows(ctrl, db.Event, around_center)
    traces = np.stack(db.Activity.Trace.fetch("activity_trace"))
    return ctrl, align(traces, windows, rate=RATE)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache-dir", type=Path, default=None)
    folder = parser.parse_args().cache_dir or Path(mkdtemp())
    warnings.simplefilter("ignore")
    logging.getLogger("datajoint").setLevel(logging.ERROR)

    name = f"one_cache_example_{secrets.token_hex(4)}"
    schema = declare(name)
    cache = Cache(folder / "lab", silent=True)
    mirror = Mirror(cache, use_tls=False)
    try:
        print(mirror.pull(name)[["table", "state", "rows"]].to_string(index=False))
        print("pulled again:", *set(mirror.pull(name).state))
    finally:
        schema.drop(prompt=False)

    print("\nwithout the server:")
    with cache.recording() as recorder:
        ctrl, aligned = analyse(cache, name)
    print(ctrl.preview(limit=3, width=18))
    print("aligned to the center button:", aligned.data.shape, "(roi, trial, time)")
    for entry in recorder:
        print("read:", entry.path.rpartition("/")[2].partition("-")[0], entry.size, "bytes")

    report = cache.bundle(recorder, folder / "paper.zip")
    paper = Cache(folder / "paper", silent=True)
    paper.restore(folder / "paper.zip")
    _, again = analyse(paper, name)
    same = np.array_equal(again.data, aligned.data, equal_nan=True)
    print(f"from a bundle of {len(report.files)} files, the same numbers: {same}")


if __name__ == "__main__":
    main()
