"""A pipeline of DataJoint 2 on a live server: the trial, event and activity schemas of the page.

``ONE_CACHE_TEST_MARIADB`` and ``ONE_CACHE_TEST_POSTGRES`` say where servers answer, each as
``user:password@host:port``. Schemas are named anew for each run and dropped at its end.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

DATA = Path(__file__).parent / "data" / "trials"
VARIABLES = {"mysql": "ONE_CACHE_TEST_MARIADB", "postgresql": "ONE_CACHE_TEST_POSTGRES"}
IN_CI = os.environ.get("CI", "").lower() == "true"
PORTS = {"mysql": 3306, "postgresql": 5432}
KEY = {"subject": "subject1", "session_datetime": dt.datetime(2021, 1, 1, 0, 0, 1)}
FPS, N_MASKS, N_FRAMES = 20.0, 4, 1200


def login(backend):
    """User, password, host and port of a server; the test is skipped where none answers."""
    text = os.environ.get(VARIABLES[backend])
    if not text:
        reason = f"no server: {VARIABLES[backend]} is not set"
        if IN_CI:
            pytest.fail(f"{reason}, and in CI this may not be skipped")
        pytest.skip(reason, allow_module_level=True)
    who, _, place = text.rpartition("@")
    user, _, password = who.partition(":")
    host, _, port = place.partition(":")
    return SimpleNamespace(
        host=host, user=user, password=password, port=int(port or PORTS[backend]), backend=backend
    )


def instance(backend):
    """A connection of DataJoint, quiet."""
    datajoint = pytest.importorskip("datajoint")
    found = login(backend)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = datajoint.Instance(**vars(found), use_tls=False)
    made.config["safemode"] = False
    return made


# tier and definition, in the order of declaration; "float" has 32 bits
SESSION = {
    "Session": ("Manual", "subject: varchar(8)\nsession_datetime: datetime\n---\n"),
}
EVENT = {
    "EventType": (
        "Lookup",
        "event_type: varchar(32)\n---\nevent_type_description='': varchar(256)\n",
    ),
    "BehaviorRecording": (
        "Manual",
        "-> session.Session\n---\nrecording_start_time=null: datetime\n"
        "recording_duration=null: {float}\nrecording_notes='': varchar(256)\n",
    ),
    "BehaviorRecording.File": ("Part", "-> master\nfilepath: varchar(64)\n"),
    "Event": (
        "Imported",
        "-> BehaviorRecording\n-> EventType\n"
        "event_start_time: decimal(10,4) # (second) relative to recording start\n---\n"
        "event_end_time=null: {float} # (second) relative to recording start\n",
    ),
    "AlignmentEvent": (
        "Manual",
        "alignment_name: varchar(32)\n---\nalignment_description='': varchar(1000)\n"
        "-> EventType.proj(alignment_event_type='event_type')\n"
        "alignment_time_shift: {float} # (s) WRT alignment_event_type\n"
        "-> EventType.proj(start_event_type='event_type')\n"
        "start_time_shift: {float} # (s) WRT start_event_type\n"
        "-> EventType.proj(end_event_type='event_type')\n"
        "end_time_shift: {float} # (s) WRT end_event_type\n",
    ),
}
TRIAL = {
    "Block": (
        "Imported",
        "-> event.BehaviorRecording\nblock_id: smallint # block number (1-based indexing)\n---\n"
        "block_start_time: {float}\nblock_stop_time: {float}\n",
    ),
    "TrialType": (
        "Lookup",
        "trial_type: varchar(16)\n---\ntrial_type_description='': varchar(256)\n",
    ),
    "Trial": (
        "Imported",
        "# experimental trials\n-> event.BehaviorRecording\n"
        "trial_id: smallint # trial number (1-based indexing)\n---\n"
        "-> [nullable] TrialType\n"
        "trial_start_time: {float} # (second) relative to recording start\n"
        "trial_stop_time: {float} # (second) relative to recording start\n",
    ),
    "Trial.Attribute": (
        "Part",
        "-> master\nattribute_name: varchar(16)\n---\nattribute_value='': varchar(2000)\n",
    ),
    "BlockTrial": ("Imported", "-> Block\n-> Trial\n---\n"),
    "TrialEvent": ("Imported", "-> Trial\n-> event.Event\n---\n"),
}
MINISCOPE = {
    "RecordingInfo": (
        "Imported",
        "-> session.Session\nrecording_id: int\n---\nnframes: int\nfps: {float} # (Hz) frames\n"
        "time_stamps: <blob>\n",
    ),
    "Activity": (
        "Computed",
        "-> RecordingInfo\nextraction_method: varchar(32)\n---\n",
    ),
    "Activity.Trace": (
        "Part",
        "-> master\nmask_id: smallint\n---\nfluorescence_channel: smallint # 0-based indexing\n"
        "activity_trace: <blob> # (a.u.) one value each frame\n",
    ),
}
SCHEMAS = {"session": SESSION, "event": EVENT, "trial": TRIAL, "miniscope": MINISCOPE}


def rows(backend):
    """The rows of each table, by schema and class."""
    trials = pd.read_csv(DATA / "trials.csv", parse_dates=["session_datetime"])
    events = pd.read_csv(DATA / "events.csv", parse_dates=["session_datetime"])
    key = ["subject", "session_datetime"]
    time = ["event_type", "event_start_time"]
    sessions = pd.concat([trials[key], pd.DataFrame([{**KEY, "subject": "subject2"}])])
    random = np.random.default_rng(0)
    names = [*key, "trial_id", "trial_type", "trial_start_time", "trial_stop_time"]
    blocks = pd.DataFrame(
        [{**KEY, "block_id": i, "block_start_time": 30.1 * i, "block_stop_time": 30.1 * i + 29.9}
         for i in range(2)]
    )  # fmt: skip
    recording = {**KEY, "recording_id": 0}
    methods = ("caiman_deconvolution", "caiman_dff")
    return {
        "session": {"Session": sessions.drop_duplicates()},
        "event": {
            "EventType": events[["event_type"]].drop_duplicates(),
            "BehaviorRecording": sessions.drop_duplicates().assign(
                recording_start_time=KEY["session_datetime"], recording_duration=1234.567
            ),
            "BehaviorRecording.File": pd.DataFrame([{**KEY, "filepath": "a/b.csv"}]),
            "Event": events[[*key, *time]].drop_duplicates(),
            "AlignmentEvent": pd.read_csv(DATA / "alignments.csv"),
        },
        "trial": {
            "Block": blocks,
            "TrialType": pd.DataFrame(
                {"trial_type": ["ctrl", "stim", "none"], "trial_type_description": ["c", "s", ""]}
            ),
            "Trial": trials[names],
            "Trial.Attribute": trials[[*key, "trial_id"]].assign(
                attribute_name="lumen", attribute_value=[f"{i * 1.5}" for i in range(len(trials))]
            ),
            "BlockTrial": trials[[*key, "trial_id"]].assign(block_id=(trials.trial_id > 25) * 1),
            "TrialEvent": events[[*key, "trial_id", *time]],
        },
        "miniscope": {
            "RecordingInfo": pd.DataFrame(
                [{**recording, "nframes": N_FRAMES, "fps": FPS,
                  "time_stamps": np.arange(N_FRAMES) / FPS}]
            ),
            "Activity": pd.DataFrame(
                [{**recording, "extraction_method": method} for method in methods]
            ),
            "Activity.Trace": pd.DataFrame(
                [{**recording, "extraction_method": method, "mask_id": mask,
                  "fluorescence_channel": 0,
                  "activity_trace": random.normal(size=N_FRAMES).cumsum()}
                 for method in methods for mask in range(N_MASKS)]
            ),
        },
    }  # fmt: skip


def plain_rows(frame):
    """The rows of a frame as DataJoint takes them."""
    found = frame.astype(object).where(frame.notna(), None).to_dict("records")
    for row in found:
        row.update({k: v.to_pydatetime() for k, v in row.items() if isinstance(v, pd.Timestamp)})
    return found


class Pipeline:
    """The schemas on one server.

    ``pipeline.trial.Trial`` is a class of DataJoint, ``pipeline.names["trial"]`` the name of its
    schema on the server.
    """

    def __init__(self, backend):
        self.backend = backend
        self.login = login(backend)
        self.instance = instance(backend)
        self.mark = f"oc{os.getpid()}_{secrets.token_hex(2)}"
        self.names, self.schemas = {}, {}

    def declare(self, schema, definitions, context=None):
        """Declare the classes of a schema; those of one part stand behind their master's."""
        import datajoint

        self.names[schema] = f"{self.mark}_{schema}"
        made = self.schemas[schema] = self.instance.Schema(self.names[schema])
        single = "float" if self.backend == "mysql" else "real"
        parts = {}
        for name, (tier, text) in definitions.items():
            if tier == "Part":
                master, _, part = name.partition(".")
                body = {"definition": text.replace("{float}", single)}
                parts.setdefault(master, {})[part] = type(part, (datajoint.Part,), body)
        classes = {}
        for name, (tier, text) in definitions.items():
            if tier == "Part":
                continue
            body = {"definition": text.replace("{float}", single), **parts.get(name, {})}
            if tier in ("Imported", "Computed"):
                body["make"] = lambda self, key: None
            base = getattr(datajoint, tier)
            known = {**vars(self), **classes, **(context or {})}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                classes[name] = made(type(name, (base,), body), context=known)
        setattr(self, schema, SimpleNamespace(**classes))
        return getattr(self, schema)

    def insert(self, schema, tables):
        """Insert frames or lists of rows."""
        for name, found in tables.items():
            table = getattr(self, schema)
            for part in name.split("."):
                table = getattr(table, part)
            listed = plain_rows(found) if isinstance(found, pd.DataFrame) else found
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                options = {} if "." in name else {"allow_direct_insert": True}
                table().insert(listed, **options)

    def drop(self):
        """Leave nothing on the server."""
        quote = '"' if self.backend == "postgresql" else "`"
        end = " CASCADE" if self.backend == "postgresql" else ""
        connection = self.instance.connection
        if self.backend == "mysql":
            connection.query("SET FOREIGN_KEY_CHECKS=0")
        for name in self.names.values():
            connection.query(f"DROP SCHEMA IF EXISTS {quote}{name}{quote}{end}")
        connection.close()


def reference(backend):
    """The pipeline of the reference page, with its rows."""
    made = Pipeline(backend)
    found = rows(backend)
    for name, definitions in SCHEMAS.items():
        made.declare(name, definitions)
        made.insert(name, found[name])
    return made


def mirror_of(pipeline, cache, **options):
    """A Mirror of the server of a pipeline."""
    from one_cache.datajoint import Mirror

    return Mirror(cache, **{**vars(pipeline.login), "use_tls": False, **options})
