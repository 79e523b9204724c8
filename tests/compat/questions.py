"""Questions to a cache, drawn at random: the same call can be made of ONE-api and of ours.

What the two are known to answer differently is not drawn here; each such difference has a test
of its own. A pattern of a part is drawn so that it cannot reach into the part beside it.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from labs import LEVELS, PROJECTS, PROTOCOLS, REVISIONS, SUBJECTS

UNKNOWN = "00000000-0000-4000-8000-000000000005"
TEXT_TERMS = ("subject", "lab", "task_protocol", "projects")


@dataclass(frozen=True)
class Question:
    """A call, and the error that ours must answer where ONE-api says "unknown" in any way."""

    name: str
    args: tuple = ()
    options: dict[str, Any] = field(default_factory=dict)
    unknown: str = ""

    def ask(self, cache, **more):
        """Make the call."""
        return getattr(cache, self.name)(*self.args, **{**self.options, **more})


class Draw:
    """Draws questions that make sense for one lab."""

    def __init__(self, lab, random, *, wildcards, flags=True):
        self.lab = lab
        self.flags = ("ignore_qc_not_set", "keep_eid_index")
        if flags:
            self.flags += ("default_revisions_only",)
        self.random = random
        self.wildcards = wildcards
        self.star = "*" if wildcards else ".*"
        self.one = "?" if wildcards else "."

    # -- names and patterns --------------------------------------------------------------

    def chance(self, share):
        return self.random.random() < share

    def prefix(self, text):
        """A pattern that `text` fits by its beginning, which no part beside it has in it."""
        start = text[: self.random.randint(min(3, len(text)), len(text))]
        return self.literal(start.rstrip("/")) + self.star

    def literal(self, text):
        return text if self.wildcards else re.escape(text)

    def one_off(self, text):
        """A pattern that stands for one letter."""
        letters = [i for i, letter in enumerate(text) if letter.isalpha()]
        if not letters:
            return self.literal(text)
        i = self.random.choice(letters)
        return self.literal(text[:i]) + self.one + self.literal(text[i + 1 :])

    def suffix(self, text):
        """A pattern that a file name fits by its end, within the name."""
        end = self.literal(text[self.random.randrange(len(text)) :])
        return f"*{end}" if self.wildcards else f"[^/]*{end}"

    def folder_pattern(self, text):
        """A pattern for a collection or revision, or a list of them."""
        kinds = [self.literal, self.literal, self.prefix, self.one_off]
        pattern = self.random.choice(kinds)(text) if text else ""
        return [pattern, "zzz"] if pattern and self.chance(0.15) else pattern

    def file_pattern(self, name, *, listed=False):
        """A pattern for a file name; as an expression the last kind has a slash in it."""
        kinds = [self.literal, self.literal, self.prefix, self.one_off, self.suffix]
        return self.random.choice(kinds[: None if self.wildcards or listed else -1])(name.file)

    def parts(self, name, *, lists=True):
        """Some parts of a name; those beside a pattern are given whole."""
        parts = {key: self.literal(text) for key, text in name.parts.items() if text}
        for key in ("timescale", "extra"):
            if key in parts and self.chance(0.3):
                parts[key] = self.star
        if self.chance(0.3):
            del parts["extension"]
        if self.chance(0.3) and "timescale" not in parts:
            parts["attribute"] = self.prefix(name.attribute)
        if self.chance(0.2):
            parts["object"] = self.prefix(name.object)
            parts.pop("namespace", None)
        for key in ("namespace", "timescale", "extra"):
            if self.chance(0.4):
                parts.pop(key, None)
        if lists and self.chance(0.15):
            key = self.random.choice(sorted(parts))
            parts[key] = [parts[key], "zzz"]
        return parts

    def session(self):
        return self.random.choice(self.lab.sessions)

    def eid(self):
        """A session, mostly one that has datasets."""
        rich = [row["eid"] for row in self.lab.datasets]
        return self.random.choice(rich) if rich and self.chance(0.95) else self.session()["id"]

    def dataset(self, eid=None):
        """Name of a dataset, of that session where it has any."""
        rows = (eid and self.lab.datasets_of(eid)) or self.lab.datasets
        row = self.random.choice(rows)
        return self.lab.names[row["id"]]

    def named(self, session):
        """The session by one of its names."""
        eid, subject, day, number = (session[key] for key in ("id", "subject", "date", "number"))
        plain = f"{subject}/{day}/{number:03d}"
        return self.random.choice(
            [
                *(eid, eid, eid, uuid.UUID(eid), plain, f"{subject}/{day}/{number}"),
                *(f"{day}_{number}_{subject}", f"{day}_{number:03d}_{subject}"),
                *(self.lab.path_of(session), f"https://alyx.org/sessions/{eid}"),
                self.lab.folder / self.lab.path_of(session),
                self.lab.folder / self.lab.path_of(session) / "alf",
                {"subject": subject, "date": str(day), "number": number, "lab": session["lab"]},
                {"subject": subject, "date": str(day), "sequence": f"{number:03d}"},
            ]
        )

    def named_eid(self, eid):
        return self.named(next(row for row in self.lab.sessions if row["id"] == eid))

    # -- search --------------------------------------------------------------------------

    def text(self, value, more):
        """A search pattern for a text."""
        i = self.random.randrange(len(value) + 1)
        piece = value[i : self.random.randint(i, len(value))]
        plain = [value, value[:i], piece, self.random.choice(more)]
        if not self.wildcards:
            return self.random.choice(plain)
        # what a person writes is an expression there: "(" would not be one
        plain = [re.escape(one) for one in plain]
        value = re.escape(value)
        return self.random.choice(
            [*plain, f"^{value}$", f"({value}|zzz)", f"{value}.*", [value, "zzz"], ["zz", *plain]]
        )

    def days(self, day):
        iso = str(day)
        return self.random.choice(
            [
                *(iso, day, np.datetime64(day), pd.Timestamp(day), dt.datetime(*_ymd(day))),
                *([iso], [day, None], [None, iso], [iso, iso], ("2022-01-01", day)),
                *([iso, "2023-12-01"], np.array([iso, "2023-12-01"], dtype="M8[D]")),
            ]
        )

    def term(self, term):
        session = self.session()
        if term == "number":
            number = session["number"]
            written = (number, str(number), f"{number:03d}", [number, 99], np.int64(number))
            return self.random.choice(written)
        if term == "date_range":
            return self.days(session["date"])
        if term == "dataset_qc_lte":
            return self.random.choice(["PASS", "pass", 10, "10", "WARNING", "CRITICAL", 0])
        if term != "datasets":
            more = {"subject": SUBJECTS, "task_protocol": PROTOCOLS, "projects": PROJECTS}
            return self.text(session[term], more.get(term, ("lab", "lab_3", "x")))
        names = [re.escape(self.dataset().file) for _ in range(2)]
        parts = [self.dataset().object, "no.such.npy"]
        if self.wildcards:
            parts += [f".*{parts[0]}.*", [f".*{parts[0]}.*", f".*{self.dataset().attribute}.*"]]
        else:
            names = [self.dataset().file]
        return self.random.choice([names[0], names[0], names, *parts])

    def search(self):
        terms = [*TEXT_TERMS, "number", "date_range", "datasets", "dataset_qc_lte"]
        if not self.lab.datasets:
            terms = terms[:-2]
        elif any(not name.collection for name in self.lab.names.values()):
            terms.remove("datasets")
        short = {"subject": "subj", "lab": "laboratory", "task_protocol": "task", "number": "Num"}
        chosen = self.random.sample(terms, self.random.choice([0, 1, 1, 1, 2, 3]))
        options = {
            short.get(term, term) if self.chance(0.2) else term: self.term(term) for term in chosen
        }
        if self.chance(0.25):
            options["details"] = True
        if self.chance(0.1):
            options["query_type"] = "local"
        return Question("search", options=options)

    # -- lists ---------------------------------------------------------------------------

    def folders(self, name):
        """Filters by collection and revision that do not eat one another."""
        options = {}
        if self.chance(0.4):
            options["collection"] = self.folder_pattern(name.collection)
        if self.chance(0.4):
            some = (name.revision, name.revision, "", "2024", "9")
            options["revision"] = self.folder_pattern(self.random.choice(some))
        if options.get("revision") == "" and options.get("collection"):
            options["collection"] = self.literal(name.collection)
        return options

    def filters(self):
        if not self.lab.datasets:
            return {}
        name = self.dataset()
        kind = self.random.randrange(4)
        if kind == 0:
            return {"filename": self.parts(name), **self.folders(name)}
        if kind == 1:
            return {"filename": self.file_pattern(name, listed=True), **self.folders(name)}
        if kind == 2:
            return {"filename": self.literal(name.rel_path)}
        return self.folders(name)

    def listing(self, call):
        options = self.filters()
        args = (self.named(self.session()),) if self.chance(0.7) else ()
        if self.chance(0.4):
            options["details"] = True
        if call == "list_datasets":
            if self.chance(0.25):
                some = (*LEVELS, 30, 50, "warning", "10")
                options["qc"] = self.random.choice(some)
            for flag in self.flags:
                if self.chance(0.2):
                    options[flag] = True
        return Question(call, args, options)

    # -- loads ---------------------------------------------------------------------------

    def revision(self, name):
        some = (name.revision, name.revision, "2024-06-01", "2022-01-01", "z", "", *REVISIONS)
        return self.random.choice(some)

    def load_dataset(self):
        eid = self.eid()
        name = self.dataset(eid)
        short = ".".join(name.file.split(".")[:2])
        options = {"collection": self.folder_pattern(name.collection)} if self.chance(0.6) else {}
        if self.chance(0.3):
            options["revision"] = self.revision(name)
        kind = self.random.randrange(7)
        dataset = name.file
        if kind == 0:
            dataset = self.parts(name)
        elif kind == 1:
            dataset = self.file_pattern(name)
        elif kind == 2:
            # ONE-api would count the dot of the folder too, and append nothing
            dataset = short if self.wildcards else self.literal(name.file)
        elif kind == 3:
            dataset = re.sub("^_[a-z]+_", "", short) if self.wildcards else "no[.]such[.]npy"
        elif kind == 4:
            # a path names one dataset
            dataset, options = self.literal(name.rel_path), {}
        options |= self.how()
        if self.chance(0.2):
            options["check_hash"] = False
        return Question("load_dataset", (self.named_eid(eid), dataset), options)

    def how(self):
        return {"download_only": True} if self.chance(0.5) else {}

    def load_datasets(self):
        eid = self.eid()
        names = [self.dataset(eid) for _ in range(self.random.randint(1, 3))]
        kind = self.random.randrange(4)
        options = {}
        if kind == 0:
            datasets = [name.rel_path for name in names]
        else:
            datasets = [self.literal(name.file) for name in names]
            options["collections"] = [self.literal(name.collection) for name in names]
        if kind == 1:
            # ONE-api builds a name of the parts for its message: all must be there, and plain
            datasets = [
                {key: text for key, text in name.parts.items() if text and "." not in text}
                for name in names
            ]
        if kind == 2:
            options["revisions"] = [self.revision(name) for name in names]
        if kind == 3 and self.chance(0.5):
            datasets.append("no.such.npy")
            options["collections"].append(None)
        options |= self.how()
        if self.chance(0.5):
            options["assert_present"] = False
        return Question("load_datasets", (self.named_eid(eid), datasets), options)

    def load_object(self):
        eid = self.eid()
        name = self.dataset(eid)
        options = {}
        if self.chance(0.8):
            options["collection"] = self.folder_pattern(name.collection)
        if self.chance(0.3):
            options["revision"] = self.revision(name)
        whole = self.parts(name, lists=False)
        meant = whole.pop("object", name.object)
        for key, value in whole.items():
            if self.chance(0.25):
                options[key] = value
        if "namespace" in options:
            meant = name.object
        asked = self.random.choice([meant, name.object, name.object, "nosuch"])
        return Question("load_object", (self.named_eid(eid), asked), options | self.how())

    def load_collection(self):
        eid = self.eid()
        name = self.dataset(eid)
        options = {"object": self.literal(name.object)} if self.chance(0.5) else {}
        if self.chance(0.2):
            options["extension"] = name.extension
        asked = self.random.choice([name.collection, name.collection, "nosuch"])
        return Question("load_collection", (self.named_eid(eid), asked), options | self.how())

    def load_dataset_from_id(self):
        row = self.random.choice(self.lab.datasets)
        options = self.how() | ({"details": True} if self.chance(0.3) else {})
        if self.chance(0.1):
            return Question("load_dataset_from_id", (UNKNOWN,), options)
        known = self.random.choice([row["id"], uuid.UUID(row["id"])])
        return Question("load_dataset_from_id", (known,), options)

    # -- names of sessions and files -----------------------------------------------------

    def conversion(self):
        session = self.session()
        eid, path = session["id"], self.lab.path_of(session)
        text = self.random.choice([{}, {"as_dict": False}, {"parse": False}])
        ref = f"{session['date']}_{session['number']}_{session['subject']}"
        ref = self.random.choice([ref, {"subject": session["subject"], "date": session["date"]}])
        if isinstance(ref, dict):
            ref["sequence"] = session["number"]
        folder = self.random.choice([path, self.lab.folder / path, f"http://server.org/{path}"])
        plain = self.random.choice([eid, uuid.UUID(eid), [eid, uuid.UUID(eid)]])
        calls = [
            Question("to_eid", (self.random.choice([self.named(session), [eid, path]]),)),
            Question("eid2path", (plain,)),
            Question("eid2ref", (plain,), text),
            Question("eid2ref", (eid,), {"as_dict": False, "parse": False}),
            Question("path2eid", (self.random.choice([folder, [path, path], f"{path}/alf/x"]),)),
            Question("ref2eid", (self.random.choice([ref, [ref, ref]]),)),
            Question("ref2path", (ref,)),
            Question("path2record", (folder,)),
            Question("get_details", (self.named(session),)),
            Question("eid2path", (UNKNOWN,), unknown="SessionNotFound"),
            Question("path2eid", ("nobody/2020-01-01/001",), unknown="SessionNotFound"),
            Question("ref2eid", ("2020-01-01_1_nobody",), unknown="SessionNotFound"),
            Question("ref2path", ("2020-01-01_1_nobody",), unknown="SessionNotFound"),
            Question("get_details", (UNKNOWN,), unknown="SessionNotFound"),
            Question("list_datasets", (UNKNOWN,), unknown="SessionNotFound"),
            Question("to_eid", ("garbage",), unknown="InvalidArgument"),
            Question("get_details", ("garbage",), unknown="InvalidArgument"),
            Question("search", (), {"subject": "no such subject"}),
            Question("search", (), {"subjct": "x"}, unknown="UnknownSearchTerm"),
            Question("search", (), {"p": "x"}),
            Question("list_subjects"),
        ]
        if session["subject"] != "mouse.1":
            # a dot ends a name there
            spelled = [folder, f"{path}/alf/x.y.npy", [path, path], f"x/{path}", "nowhere"]
            calls += [Question("path2ref", (one,), text) for one in spelled]
        if self.lab.datasets_of(eid):
            calls.append(Question("get_details", (eid,), {"full": True}))
        return self.random.choice(calls)

    def record(self):
        """Questions about one dataset's record; a CRITICAL one is not found there."""
        rows = [row for row in self.lab.datasets if row["qc"] != "CRITICAL"] or self.lab.datasets
        row = self.random.choice(rows)
        session = next(one for one in self.lab.sessions if one["id"] == row["eid"])
        folder = self.lab.folder / self.lab.path_of(session)
        stem, _, extension = row["rel_path"].rpartition(".")
        with_id = folder / f"{stem}.{row['id']}.{extension}"
        key = (uuid.UUID(row["eid"]), uuid.UUID(row["id"]))
        series = pd.Series(row, name=key)[["rel_path", "file_size", "hash", "exists", "qc"]]
        missing = folder / "alf" / "no.such.npy"
        return self.random.choice(
            [
                Question("path2record", (folder / row["rel_path"],)),
                Question("path2record", (str(folder / row["rel_path"]),)),
                Question("path2record", (with_id,)),
                Question("path2record", (missing,), unknown="ALFObjectNotFound"),
                Question("record2path", (series,)),
                Question("record2path", (pd.DataFrame([series]),)),
            ]
        )

    def question(self):
        """Any of the above."""
        calls = [
            *(self.search, self.search, self.conversion, self.conversion),
            *(lambda: self.listing("list_datasets"), lambda: self.listing("list_datasets")),
            *(lambda: self.listing("list_collections"), lambda: self.listing("list_revisions")),
        ]
        loads = [
            *(self.load_dataset, self.load_dataset, self.load_datasets, self.load_object),
            *(self.load_collection, self.load_dataset_from_id, self.record),
        ]
        return self.random.choice(calls + loads if self.lab.datasets else calls)()


def _ymd(day):
    return day.year, day.month, day.day
