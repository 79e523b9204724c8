"""The lab of the recorded exchanges, and the rules by which a real Alyx server answered them.

The records lie in ``data/alyx/lab.json``. The filters do what the server was seen to do, bugs
included: unknown ones are ignored, joins give a session several times, mistakes are errors 500.
"""

import ast
import datetime as dt
import hashlib
import io
import itertools
import json
import re
from pathlib import Path

DATA = Path(__file__).parent / "data" / "alyx"
CHOICES = (
    "auto_datetime, data_dataset_session_related, end_time, extended_qc, field_of_view, id, json, "
    "lab, lab_id, location, location_id, n_correct_trials, n_trials, name, narrative, number, "
    "parent_session, parent_session_id, probe_insertion, procedures, projects, qc, session, "
    "start_time, subject, subject_id, task_protocol, tasks, type, users, "
    "wateradmin_session_related"
)
QC = {"NOT_SET": 0, "PASS": 10, "WARNING": 30, "FAIL": 40, "CRITICAL": 50}


class Refused(Exception):
    """An answer without success."""

    def __init__(self, status, body):
        super().__init__(body)
        self.status, self.body = status, body


class Lab:
    """Records of one database, and the files of its data server."""

    def __init__(self):
        raw = json.loads((DATA / "lab.json").read_text(encoding="utf-8"))
        self.lies = raw.pop("lies")
        self.tables = raw
        self.alyx = self.data = ""
        self.sessions = {one["id"]: one for one in raw["sessions"]}
        self.datasets = {one["id"]: one for one in raw["datasets"]}
        self.files = {}
        self.evaluated = []
        for one in self.datasets.values():
            self._make_file(one)

    # -- files -------------------------------------------------------------------------------

    def _make_file(self, one):
        """Give a dataset a content, and let its record tell the truth where it did."""
        content = make_content(one)
        lie = self.lies.get(one["id"])
        if one["file_size"] is not None and lie != "size":
            one["file_size"] = len(content)
        if one["hash"] and lie != "hash":
            one["hash"] = hashlib.md5(content).hexdigest()
        servers = [name for _, name, exists in one["files"] if exists and self.root(name)]
        if servers and lie != "missing":
            self.files[f"{self.root(servers[0])}{with_uuid(self.relative(one), one['id'])}"] = (
                content
            )

    def root(self, repository):
        """Path of a repository's root on the data server, or None."""
        (found,) = (one for one in self.tables["data-repository"] if one["name"] == repository)
        return found["data_url"] and found["data_url"].removeprefix("{data}")

    def relative(self, one):
        session = self.sessions.get(one["session"])
        parts = [one["collection"], one["revision"] and f"#{one['revision']}#", one["name"]]
        if session:
            day, number = session["start_time"][:10], session["number"]
            parts = [session["subject"], day, f"{number or 0:03d}", *parts]
        return "/".join(part for part in parts if part)

    def address(self, one, repository):
        root = self.root(repository)
        return root and f"{self.data}{root}{with_uuid(self.relative(one), one['id'])}"

    def is_personal(self, repository):
        (found,) = (one for one in self.tables["data-repository"] if one["name"] == repository)
        return found["globus_is_personal"]

    def on_server(self, one):
        return [name for _, name, exists in one["files"] if exists and not self.is_personal(name)]

    def of_session(self, eid):
        return [one for one in self.datasets.values() if one["session"] == eid]

    # -- records as they are sent --------------------------------------------------------------

    def session_record(self, one):
        names = ("id", "subject", "start_time", "number", "lab", "projects", "task_protocol")
        return {**{name: one[name] for name in names}, "url": f"{self.alyx}/sessions/{one['id']}"}

    def session_detail(self, one):
        insertions = [
            self.insertion_record(pid)
            for pid in self.tables["insertions"]
            if pid["session"] == one["id"]
        ]
        return {
            **one,
            "url": f"{self.alyx}/sessions/{one['id']}",
            "wateradmin_session_related": [],
            "data_dataset_session_related": [
                self.related(ds) for ds in self.of_session(one["id"]) if self.on_server(ds)
            ],
            "probe_insertion": insertions,
            "field_of_view": [],
            "notes": [],
        }

    def related(self, one):
        """A dataset within a session: flags are texts, the revision is a UUID."""
        revisions = {rev["name"]: rev["id"] for rev in self.tables["revisions"]}
        names = ("id", "name", "dataset_type", "file_size", "hash", "version", "collection", "qc")
        return {
            **{name: one[name] for name in names},
            "data_url": self.address(one, self.on_server(one)[0]),
            "url": f"{self.alyx}/datasets/{one['id']}",
            "revision": revisions.get(one["revision"], ""),
            "default_revision": str(bool(one["default_dataset"])),
        }

    def dataset_record(self, one, *, detail=False):
        """A dataset of its own: flags are bools, the revision is a name, there is no id."""
        session = self.sessions.get(one["session"])
        roots = {repo["name"]: repo["globus_path"] for repo in self.tables["data-repository"]}
        names = ("name", "created_by", "created_datetime", "dataset_type", "data_format")
        names += ("collection", "file_size", "hash", "version", "auto_datetime", "revision")
        names += ("default_dataset", "protected", "public", "tags", "qc", "json")
        record = {name: one[name] for name in names}
        if detail:
            del record["protected"], record["public"]
        return {
            **record,
            "url": f"{self.alyx}/datasets/{one['id']}",
            "session": session and f"{self.alyx}/sessions/{session['id']}",
            "experiment_number": session and session["number"],
            "file_records": [
                {
                    "id": fid,
                    "data_repository": name,
                    "data_repository_path": roots[name],
                    "relative_path": self.relative(one),
                    "data_url": self.address(one, name),
                    "exists": exists,
                }
                for fid, name, exists in one["files"]
            ],
        }

    def insertion_record(self, one, *, detail=False):
        session = self.session_record(self.sessions[one["session"]])
        session.pop("url")
        record = {**one, "session_info": session}
        if detail:
            names = ("id", "name", "dataset_type", "data_url", "url", "file_size", "hash")
            names += ("version", "collection")
            whole = [self.datasets[did] for did in one["datasets"]]
            record["datasets"] = [
                {**{name: self.related(ds)[name] for name in names}, "qc": QC[ds["qc"]]}
                for ds in whole
            ]
        return record

    def file_records(self):
        return [
            {
                "url": f"{self.alyx}/files/{fid}",
                "dataset": f"{self.alyx}/datasets/{one['id']}",
                "data_repository": name,
                "name": "",
                "json": None,
                "relative_path": self.relative(one),
                "exists": exists,
            }
            for one in self.datasets.values()
            for fid, name, exists in one["files"]
        ]

    def plain(self, endpoint):
        text = json.dumps(self.tables[endpoint])
        return json.loads(text.replace("{alyx}", self.alyx).replace("{data}", self.data))

    # -- lists ---------------------------------------------------------------------------------

    def list(self, endpoint, query):
        """Give the records of a list that a query means."""
        query = {name: value for name, value in query.items() if value != ""}
        if endpoint == "sessions":
            return self._sessions(query)
        if endpoint == "datasets":
            return [self.dataset_record(one) for one in self._datasets(query)]
        if endpoint == "insertions":
            return [self.insertion_record(one) for one in self._insertions(query)]
        if endpoint == "files":
            return self._files(query)
        if endpoint == "data-notices":
            return self._notices(query)
        found = self.plain(endpoint)
        for name in ("name", "nickname"):
            if name in query and endpoint in ("tags", "revisions", "data-repository", "subjects"):
                found = [one for one in found if one.get(name) == query[name]]
        return found

    def read(self, endpoint, name):
        """Give one record, or None."""
        if endpoint == "sessions":
            one = self.sessions.get(name)
            return one and self.session_detail(one)
        if endpoint == "datasets":
            one = self.datasets.get(name)
            return one and self.dataset_record(one, detail=True)
        if endpoint == "insertions":
            found = (one for one in self.tables["insertions"] if one["id"] == name)
            return next((self.insertion_record(one, detail=True) for one in found), None)
        field = {"subjects": "nickname", "users": "username", "data-notices": "id"}
        found = self.plain(endpoint)
        return next((one for one in found if one[field.get(endpoint, "name")] == name), None)

    def _sessions(self, query):
        found = sorted(self.sessions.values(), key=lambda one: one["start_time"], reverse=True)
        tests = {
            "subject": lambda one, value: one["subject"].lower() == value.lower(),
            "nickname": lambda one, value: one["subject"].lower() == value.lower(),
            "lab": lambda one, value: one["lab"].lower() == value.lower(),
            "task_protocol": lambda one, value: value.lower() in one["task_protocol"].lower(),
            "projects": lambda one, value: has_part(one["projects"], value),
            "project": lambda one, value: has_part(one["projects"], value),
            "location": lambda one, value: value.lower() in one["location"].lower(),
            "tag": lambda one, value: any(
                has_part(ds["tags"], value) for ds in self.of_session(one["id"])
            ),
            "number": lambda one, value: one["number"] == as_number("number", value),
            "date_range": is_within,
            "users": lambda one, value: set(value.split(",")) & set(one["users"]),
            "qc": lambda one, value: one["qc"].lower() == value.lower(),
            "performance_gte": lambda one, value: percent(one) >= float(value),
            "performance_lte": lambda one, value: percent(one) <= float(value),
            "extended_qc": lambda one, value: fits_json(one["extended_qc"], value),
            "json": lambda one, value: fits_json(one["json"], value),
            "id": lambda one, value: one["id"] == value,
            "atlas_acronym": lambda one, value: False,
            "dataset_types": lambda one, value: (
                {*value.split(",")} <= {ds["dataset_type"] for ds in self.of_session(one["id"])}
            ),
        }
        for name, value in query.items():
            if name in tests:
                found = [one for one in found if tests[name](one, value)]
        found = self._with_datasets(found, query)
        if "procedures" in query:
            found = [
                one
                for one in found
                for name in one["procedures"]
                if query["procedures"].lower() in name.lower()
            ]
        if "django" in query:
            found = self.django(found, query["django"], self.session_fields)
        return [self.session_record(one) for one in found]

    def _with_datasets(self, found, query):
        level = query.get("dataset_qc_lte")
        if level is not None and level not in QC:
            raise Refused(500, {"status_code": 500, "detail": f"{level} is not a valid QC"})
        if "datasets" in query:
            worst = QC[level or "FAIL"]

            def names(one):
                return {
                    ds["name"]
                    for ds in self.of_session(one["id"])
                    if self.on_server(ds) and QC[ds["qc"]] <= worst
                }

            return [one for one in found if {*query["datasets"].split(",")} <= names(one)]
        if level is not None:
            # the join gives a session once for each of its datasets
            return [
                one
                for one in found
                for ds in self.of_session(one["id"])
                if QC[ds["qc"]] <= QC[level]
            ]
        return found

    def _datasets(self, query):
        found = [self.datasets[did] for did in sorted(self.datasets)]
        if "session" in query and not re.fullmatch(r"[0-9a-f-]{36}", query["session"]):
            text = f"\u201c{query['session']}\u201d is not a valid UUID."
            raise Refused(400, {"session": [text], "status_code": 400})
        tests = {
            "tag": lambda one, value: value in one["tags"],
            "exists": lambda one, value: bool(self.on_server(one)) == (value.lower() == "true"),
            "subject": lambda one, value: self._session_of(one).get("subject") == value,
            "lab": lambda one, value: self._session_of(one).get("lab") == value,
        }
        for name in (
            "session",
            "id",
            "name",
            "collection",
            "revision",
            "hash",
            "dataset_type",
            "qc",
        ):
            tests[name] = lambda one, value, name=name: one[name] == value
        for name in ("protected", "public", "default_dataset"):
            tests[name] = lambda one, value, name=name: (
                bool(one[name]) == (value.lower() == "true")
            )
        for name, value in query.items():
            if name in tests:
                found = [one for one in found if tests[name](one, value)]
        if "django" in query:
            found = self.django(found, query["django"], self.dataset_fields)
        return found

    def _session_of(self, one):
        return self.sessions.get(one["session"]) or {}

    def _insertions(self, query):
        def session(one):
            return self.sessions[one["session"]]

        def names(one):
            return {self.datasets[did]["name"] for did in one["datasets"]}

        tests = {
            "session": lambda one, value: one["session"] == value,
            "name": lambda one, value: one["name"].lower() == value.lower(),
            "model": lambda one, value: one["model"] == value,
            "serial": lambda one, value: one["serial"] == value,
            "subject": lambda one, value: session(one)["subject"].lower() == value.lower(),
            "lab": lambda one, value: session(one)["lab"].lower() == value.lower(),
            "date": lambda one, value: session(one)["start_time"][:10] == value,
            "experiment_number": lambda one, value: (
                session(one)["number"] == as_number("experiment_number", value)
            ),
            "task_protocol": lambda one, value: (
                value.lower() in session(one)["task_protocol"].lower()
            ),
            "project": lambda one, value: has_part(session(one)["projects"], value),
            "tag": lambda one, value: any(
                has_part(self.datasets[did]["tags"], value) for did in one["datasets"]
            ),
            "datasets": lambda one, value: {*value.split(",")} <= names(one),
            "atlas_acronym": lambda one, value: False,
        }
        found = sorted(self.tables["insertions"], key=lambda one: one["name"])
        found.sort(key=lambda one: session(one)["start_time"], reverse=True)
        for name, value in query.items():
            if name in tests:
                found = [one for one in found if tests[name](one, value)]
        if "django" in query:
            found = self.django(found, query["django"], self.insertion_fields)
        # here a join does not show
        return list({one["id"]: one for one in found}.values())

    def _files(self, query):
        found = self.file_records()
        if "django" in query:
            found = self.django(found, query["django"], self.file_fields)
        if "exists" in query:
            found = [one for one in found if one["exists"] == (query["exists"].lower() == "true")]
        if "dataset" in query:
            found = [one for one in found if one["dataset"].endswith(query["dataset"])]
        return found

    def _notices(self, query):
        found = self.plain("data-notices")
        if "datasets" in query:
            wanted = set(query["datasets"].split(","))
            found = [one for one in found if wanted & set(one["datasets"])]
        if "dataset_tag" in query:
            tagged = {
                did for did, ds in self.datasets.items() if query["dataset_tag"] in ds["tags"]
            }
            found = [one for one in found if tagged & set(one["datasets"])]
        return found

    # -- the filter `django` -------------------------------------------------------------------

    def django(self, found, text, fields):
        """Apply ``field__lookup,value,...``; values that look like a list are evaluated."""
        parts = re.split(r",(?![^\[(]*[\])])", text)
        if len(parts) % 2:
            raise Refused(500, {"status_code": 500, "detail": "list index out of range"})
        for path, raw in zip(parts[::2], parts[1::2], strict=True):
            names, lookup = split_lookup(path.removeprefix("~"))
            get = fields.get("__".join(names))
            if get is None:
                detail = f"Cannot resolve keyword '{names[0]}' into field. Choices are: {CHOICES}"
                raise Refused(500, {"status_code": 500, "detail": detail})
            wanted = self._value(raw)
            holds = [[compare(lookup, value, wanted) for value in get(self, one)] for one in found]
            if path.startswith("~"):
                found = [one for one, each in zip(found, holds, strict=True) if not any(each)]
            else:
                found = [
                    one for one, each in zip(found, holds, strict=True) for hit in each if hit
                ]
        return found

    def _value(self, raw):
        if raw[:1] in "[(" and raw[-1:] in "])":
            self.evaluated.append(raw)
            return ast.literal_eval(raw)
        return {"True": True, "False": False, "None": None}.get(raw, raw)

    session_fields = {  # noqa: RUF012
        "pk": lambda lab, one: [one["id"]],
        "id": lambda lab, one: [one["id"]],
        "number": lambda lab, one: [one["number"]],
        "task_protocol": lambda lab, one: [one["task_protocol"]],
        "start_time": lambda lab, one: [one["start_time"]],
        "qc": lambda lab, one: [QC[one["qc"]]],
        "lab__name": lambda lab, one: [one["lab"]],
        "subject__nickname": lambda lab, one: [one["subject"]],
        "projects__name": lambda lab, one: one["projects"] or [None],
        "data_dataset_session_related__name": lambda lab, one: [
            ds["name"] for ds in lab.of_session(one["id"])
        ],
    }
    dataset_fields = {  # noqa: RUF012
        "pk": lambda lab, one: [one["id"]],
        "id": lambda lab, one: [one["id"]],
        "session": lambda lab, one: [one["session"]],
        "session__id": lambda lab, one: [one["session"]],
        "name": lambda lab, one: [one["name"]],
        "collection": lambda lab, one: [one["collection"]],
        "dataset_type__name": lambda lab, one: [one["dataset_type"]],
        "tags__name": lambda lab, one: one["tags"] or [None],
    }
    insertion_fields = {  # noqa: RUF012
        "pk": lambda lab, one: [one["id"]],
        "id": lambda lab, one: [one["id"]],
        "name": lambda lab, one: [one["name"]],
        "datasets__name": lambda lab, one: [lab.datasets[did]["name"] for did in one["datasets"]],
        **{
            f"session__{name}": lambda lab, one, get=get: get(lab, lab.sessions[one["session"]])
            for name, get in session_fields.items()
        },
    }
    file_fields = {  # noqa: RUF012
        "dataset": lambda lab, one: [one["dataset"][-36:]],
        "data_repository__name": lambda lab, one: [one["data_repository"]],
    }


def split_lookup(path):
    names = path.split("__")
    lookups = {"exact", "iexact", "in", "isnull", "contains", "icontains", "startswith"}
    lookups |= {"istartswith", "endswith", "gte", "lte", "gt", "lt"}
    lookup = names.pop() if names[-1] in lookups else "exact"
    if names[-1] == "date":
        names.pop()
        lookup = f"date {lookup}"
    return names, lookup


def compare(lookup, value, wanted):
    """Give whether a lookup holds, once for each row of the join."""
    if lookup.startswith("date "):
        value, lookup = value[:10], lookup[5:]
    if lookup == "isnull":
        return (value is None) == wanted
    if lookup == "in":
        return value in wanted
    if value is None:
        return False
    if lookup in ("gte", "lte", "gt", "lt", "exact"):
        wanted = type(value)(wanted)
        sign = (value > wanted) - (value < wanted)
        return {"gte": sign >= 0, "lte": sign <= 0, "gt": sign > 0, "lt": sign < 0}.get(
            lookup, sign == 0
        )
    value, wanted = str(value), str(wanted)
    if lookup.startswith("i"):
        value, wanted, lookup = value.lower(), wanted.lower(), lookup[1:]
    tests = {"contains": value.__contains__, "startswith": value.startswith}
    return {**tests, "endswith": value.endswith, "exact": value.__eq__}[lookup](wanted)


def has_part(names, value):
    return any(value.lower() in name.lower() for name in names)


def as_number(name, value):
    try:
        return int(value)
    except ValueError:
        raise Refused(400, {name: ["Enter a number."], "status_code": 400}) from None


def is_within(one, value):
    days = value.split(",")
    if len(days) < 2:
        raise Refused(500, {"status_code": 500, "detail": "list index out of range"})
    first, last = (dt.date.fromisoformat(day) for day in days[:2])
    return first <= dt.date.fromisoformat(one["start_time"][:10]) <= last


def percent(one):
    return 100 * one["n_correct_trials"] / one["n_trials"]


def fits_json(found, text):
    parts = text.split(",")
    for path, wanted in zip(parts[::2], parts[1::2], strict=True):
        names, lookup = split_lookup(path)
        value = (found or {}).get("__".join(names))
        if value is None or not compare(lookup, value, wanted):
            return False
    return True


def with_uuid(path, did):
    stem, _, extension = path.rpartition(".")
    return f"{stem}.{did}.{extension}"


def make_content(one):
    """Give a file that its extension promises, the same for the same name and collection."""
    import numpy as np

    seed = int(hashlib.md5(f"{one['collection']}{one['name']}".encode()).hexdigest()[:8], 16)
    random = np.random.default_rng(seed)
    extension = one["name"].rpartition(".")[2]
    target = io.BytesIO()
    if extension == "npy":
        rows = 200 if "trials" in one["name"] or "spikes" not in one["name"] else 1000
        shape = (rows, 2) if "intervals" in one["name"] else (rows,)
        np.save(target, np.sort(random.random(shape), axis=0))
        return target.getvalue()
    if extension == "pqt":
        import pandas as pd

        columns = {"contrastLeft": random.random(200), "choice": random.integers(-1, 2, 200)}
        # by way of pandas, as labs do: ONE-api reads no other Parquet
        pd.DataFrame(columns).to_parquet(target)
        return target.getvalue()
    if extension == "csv":
        lines = (f"{a},{b}" for a, b in random.integers(0, 9, (300, 2)))
        return "\n".join(itertools.chain(["a,b"], lines)).encode() + b"\n"
    if extension == "json":
        return json.dumps({"SESSION": one["name"], "seed": seed}).encode()
    return f"{one['name']}={seed}\n".encode()
