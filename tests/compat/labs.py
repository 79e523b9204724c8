"""Labs drawn at random, as files on disk and as tables of ONE-api's making or of ours."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import uuid
import warnings
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd

from one_cache.records import QC, Dataset, Session
from one_cache.tables import Tables

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from iblutil.io import parquet
    from one.alf.cache import QC_TYPE

LABS = ("cortexlab", "churchlandlab", "lab_3", "lab_33", "")
# parts of one another, with hyphens, dots and letters of other alphabets
SUBJECTS = ("KS014", "KS01", "ZFM-01577", "ZFM-015", "MFD_04", "mouse.1", "Übermaus")
PROTOCOLS = ("", "None", "nan", "_iblrig_tasks_ephysChoiceWorld6.4.2", "training (habituation)")
PROJECTS = ("", "ibl_brainwide", "ibl_brainwide,u19_proj", "Zador")
COLLECTIONS = (
    *("", "alf", "alf/probe00", "alf/probe01", "alf/probe00/pykilosort"),
    *("raw_ephys_data/probe00", "alf.v2", "raw-video"),
)
NAMESPACES = ("", "", "_ibl_", "_iblrig_", "_phy_")
OBJECTS = ("wheel", "wheelMoves", "spikes", "trials", "clusters", "leftCamera")
ATTRIBUTES = ("times", "intervals", "position", "stimOn_times", "amps", "table", "goCue_times")
TIMESCALES = ("", "", "", "bpod", "ephysClock")
EXTRAS = ("", "", "", "raw", "part1.v2")
EXTENSIONS = ("npy", "npy", "npy", "csv", "pqt", "json", "meta")
REVISIONS = ("", "2023-01-01", "2024-05-06", "2024-05-06b", "2024-07-10", "v1.0", "a")
LEVELS = ("NOT_SET", "NOT_SET", "NOT_SET", "PASS", "WARNING", "FAIL", "CRITICAL")
FLAGS = "default_revision"


@dataclass(frozen=True)
class Name:
    """A dataset's name, in its parts."""

    collection: str
    namespace: str
    object: str
    attribute: str
    timescale: str
    extra: str
    extension: str
    revision: str = ""

    @property
    def file(self):
        """The file name."""
        timescale = f"_{self.timescale}" if self.timescale else ""
        extra = f".{self.extra}" if self.extra else ""
        stem = f"{self.namespace}{self.object}.{self.attribute}{timescale}{extra}"
        return f"{stem}.{self.extension}"

    @property
    def rel_path(self):
        """The path within the session."""
        revision = f"#{self.revision}#" if self.revision else ""
        return "/".join(filter(None, [self.collection, revision, self.file]))

    @property
    def parts(self):
        """The parts of the file name, as ONE-api takes them."""
        return {
            "namespace": self.namespace.strip("_"),
            "object": self.object,
            "attribute": self.attribute,
            "timescale": self.timescale,
            "extra": self.extra,
            "extension": self.extension,
        }


@dataclass
class Lab:
    """Sessions and datasets as rows; `names` has the parts of each dataset by its id."""

    folder: Path
    sessions: list
    datasets: list
    names: dict

    def datasets_of(self, eid):
        """Rows of one session."""
        return [row for row in self.datasets if row["eid"] == eid]

    def path_of(self, session):
        """Folder of a session, relative to that of the lab."""
        return Session(**session).path


def new_id(random):
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


def write_content(random, path):
    """Six rows, or what the format has instead."""
    path.parent.mkdir(parents=True, exist_ok=True)
    column = [random.random() for _ in range(6)]
    if path.suffix == ".npy":
        np.save(path, np.array(column))
    elif path.suffix == ".csv":
        pd.DataFrame({"x": range(6), "y": column}).to_csv(path, index=False)
    elif path.suffix == ".pqt":
        pd.DataFrame({"choice": range(6), "reward": column}).to_parquet(path)
    elif path.suffix == ".json":
        path.write_text(json.dumps({"a": column}))
    else:
        path.write_text(str(column))


def draw_name(random, collections):
    attribute = random.choice(ATTRIBUTES)
    return Name(
        random.choice(collections),
        random.choice(NAMESPACES),
        random.choice(OBJECTS),
        attribute,
        random.choice(TIMESCALES),
        random.choice(EXTRAS),
        # ONE-api fails on a table that is no frame
        "pqt" if attribute == "table" else random.choice(EXTENSIONS),
    )


def draw_revisions(random):
    """Revisions of a dataset, and which of them are marked as the default."""
    revisions = [""] if random.random() < 0.5 else random.sample(REVISIONS, random.randint(1, 4))
    kind = random.random()
    if kind < 0.7:
        return revisions, {max(revisions)}
    if kind < 0.85:
        return revisions, {random.choice(revisions)}
    return revisions, set() if kind < 0.93 else set(revisions[:2])


def draw_lab(folder, seed, missing=0.1):
    """Write the files of a lab and give its rows; some files are missing, some hashes unknown."""
    random = Random(seed)
    lab = Lab(folder, [], [], {})
    # a search there does not find files in no collection
    folders = COLLECTIONS[random.random() < 0.5 :]
    days = [dt.date(2023, month, day) for month in (1, 3) for day in (1, 10, 12)]
    slots = random.sample([(day, number) for day in days for number in (1, 2, 10)], 7)
    for day, number in slots[: random.randint(3, 7)]:
        session = {
            "id": new_id(random),
            "lab": random.choice(LABS),
            "subject": random.choice(SUBJECTS),
            "date": day,
            "number": number,
            "task_protocol": random.choice(PROTOCOLS),
            "projects": random.choice(PROJECTS),
        }
        lab.sessions.append(session)
        seen = set()
        collections = random.sample(folders, 4)
        for _ in range(random.randint(0, 12)):
            name = draw_name(random, collections)
            # two files of one attribute are refused here and overwrite each other there
            key = (name.collection, name.object, name.attribute, name.timescale, name.extra)
            if key not in seen:
                seen.add(key)
                write_datasets(random, lab, session, name, missing)
    return lab


def write_datasets(random, lab, session, name, missing):
    revisions, defaults = draw_revisions(random)
    for revision in revisions:
        revised = Name(**{**vars(name), "revision": revision})
        path = lab.folder / lab.path_of(session) / revised.rel_path
        write_content(random, path)
        content = path.read_bytes()
        row = {
            "eid": session["id"],
            "id": new_id(random),
            "rel_path": revised.rel_path,
            "file_size": len(content),
            "hash": hashlib.md5(content).hexdigest() if random.random() < 0.85 else None,
            "exists": random.random() < 0.9,
            "qc": random.choice(LEVELS),
            FLAGS: revision in defaults,
        }
        lab.datasets.append(row)
        lab.names[row["id"]] = revised
        if random.random() < missing:
            path.unlink()


def write_as_one_api(lab, tables, *, flags=True):
    """Write the tables as ONE-api does."""
    sessions = pd.DataFrame(lab.sessions).astype({"number": np.uint16})
    datasets = pd.DataFrame(lab.datasets, columns=["eid", "id", *DATASET_TYPES])
    datasets = datasets.astype(DATASET_TYPES)
    if not flags:
        datasets = datasets.drop(columns=FLAGS)
    note = {"date_created": "2025-03-01 10:00", "origin": "test"}
    parquet.save(tables / "sessions.pqt", sessions.set_index("id").sort_index(), note)
    parquet.save(tables / "datasets.pqt", datasets.set_index(["eid", "id"]).sort_index(), note)


DATASET_TYPES = {
    "rel_path": object,
    "file_size": "UInt64",
    "hash": object,
    "exists": bool,
    "qc": QC_TYPE,
    FLAGS: bool,
}


def write_as_ours(lab, tables):
    """Write the tables as this package does."""
    mine = Tables.open(None, silent=True)
    mine.add("sessions", [Session(**row) for row in lab.sessions])
    mine.add("datasets", [Dataset(**{**row, "qc": QC.read(row["qc"])}) for row in lab.datasets])
    mine.save(tables)
    mine.close()


def small_lab(folder, sessions, datasets):
    """Write a lab that is given: sessions by name, and a name and a path for each dataset.

    What is not given is as plain as can be; `on_disk` says whether the file is there.
    """
    lab = Lab(folder, [], [], {})
    for i, (name, given) in enumerate(sessions.items()):
        row = {"lab": "lab", "subject": name, "date": dt.date(2024, 1, 1 + i), "number": 1}
        row |= {"task_protocol": "", "projects": "", **given}
        lab.sessions.append({"id": str(uuid.UUID(int=i + 1, version=4)), **row})
    by_name = dict(zip(sessions, lab.sessions, strict=True))
    for i, (name, rel_path, given) in enumerate(datasets):
        session, given = by_name[name], dict(given)
        path = folder / lab.path_of(session) / rel_path
        write_content(Random(i), path)
        content = path.read_bytes()
        if not given.pop("on_disk", True):
            path.unlink()
        row = {"eid": session["id"], "id": str(uuid.UUID(int=1000 + i, version=4))}
        row |= {"rel_path": rel_path, "file_size": len(content), "exists": True, "qc": "NOT_SET"}
        row |= {"hash": hashlib.md5(content).hexdigest(), FLAGS: True, **given}
        lab.datasets.append(row)
    return lab
