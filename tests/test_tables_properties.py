"""The same answers as a plain reading of the same rows, whatever the tables look like."""

from __future__ import annotations

import datetime as dt
import json
import os
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from one_cache.query.datasets import choose_revisions
from one_cache.records import QC, Dataset, Session
from one_cache.tables import Tables, Terms

EXAMPLES = int(os.environ.get("ONE_CACHE_EXAMPLES", "20"))
LEVELS = ["NOT_SET", "PASS", "WARNING", "FAIL", "CRITICAL"]
IDS = [
    str(uuid.UUID(int=number * 0x1234567890ABCDEF1234567, version=4)) for number in range(1, 12)
]
EIDS = [str(uuid.UUID(int=number << 90, version=4)) for number in range(1, 5)]

# no surrogates: a file name that is no UTF-8 cannot be in a Parquet text
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
hostile = st.sampled_from(
    [
        "a.x.npy",
        "b.y.npy",
        'it\'s."q".npy',
        "50%.x.npy",
        "#v1#.x.npy",
        "é.ü.npy",
        "a" * 300,
        ".",
        "",
    ]
)
folders = st.sampled_from(
    ["", "alf/", "alf/probe00/", "alf/#2024-01-01#/", "alf/#nan#/", "#nan#/"]
)
rel_paths = st.builds(
    lambda folder, name: folder + name.replace("/", "_"), folders, hostile | words
)
hashes = st.none() | st.just("") | st.text("0123456789abcdef", min_size=32, max_size=32) | words

datasets = st.fixed_dictionaries(
    {
        "eid": st.sampled_from(EIDS),
        "id": st.sampled_from(IDS),
        "rel_path": rel_paths,
        "file_size": st.none() | st.integers(0, 2**62),
        "hash": hashes,
        "exists": st.booleans(),
        "qc": st.sampled_from(LEVELS),
        "default_revision": st.none() | st.booleans(),
    }
)
sessions = st.fixed_dictionaries(
    {
        "id": st.sampled_from(EIDS),
        "lab": words,
        "subject": st.sampled_from(["KS01", "KS014", "it's"]) | words,
        "date": st.none() | st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)),
        "number": st.none() | st.integers(0, 999),
        "task_protocol": words,
        "projects": words,
    }
)
OPTIONAL = ["file_size", "hash", "exists", "qc", "default_revision"]


@dataclass(frozen=True)
class Form:
    """How the tables are written, and whether they are brought into shape when opened."""

    ids: str = "text"
    strings: str = "string"
    groups: int = 1_000_000
    large: int = 1_000_000
    dropped: tuple[str, ...] = ()
    saved: bool = False


forms = st.builds(
    Form,
    st.sampled_from(["text", "upper", "pairs"]),
    st.sampled_from(["string", "large_string"]),
    st.sampled_from([3, 1_000_000]),
    st.sampled_from([0, 1_000_000]),
    st.lists(st.sampled_from(OPTIONAL), max_size=2, unique=True).map(tuple),
    st.booleans(),
)


def pair(text: str) -> tuple[int, int]:
    """The two integers as which ONE-api 2 keeps an id."""
    raw = uuid.UUID(text).bytes
    return tuple(int.from_bytes(half, "little", signed=True) for half in (raw[:8], raw[8:]))  # type: ignore[return-value]


def id_columns(name: str, values: Sequence[str], form: Form) -> dict[str, Any]:
    if form.ids == "pairs":
        pairs = [pair(value) for value in values]
        return {
            f"{name}_{half}": pa.array([one[half] for one in pairs], pa.int64()) for half in (0, 1)
        }
    texts = [value.upper() if form.ids == "upper" else value for value in values]
    return {name: pa.array(texts, getattr(pa, form.strings)())}


def write(
    path: Path, rows: Sequence[Mapping[str, Any]], form: Form, columns: Sequence[str]
) -> None:
    text = getattr(pa, form.strings)()
    kinds = {
        "file_size": pa.uint64(),
        "exists": pa.bool_(),
        "default_revision": pa.bool_(),
        "date": pa.date32(),
        "number": pa.uint16(),
    }
    table: dict[str, Any] = {}
    for column in columns:
        values = [row[column] for row in rows]
        if column in ("id", "eid"):
            table |= id_columns(column, values, form)
        elif column == "qc":
            codes = pa.array([LEVELS.index(value) for value in values], pa.int8())
            table["qc"] = pa.DictionaryArray.from_arrays(codes, pa.array(LEVELS), ordered=True)
        elif column not in form.dropped:
            table[column] = pa.array(values, kinds.get(column, text))
    if "qc" in form.dropped:
        table.pop("qc", None)
    meta = {"one_metadata": json.dumps({"date_created": "2024-01-01 10:00", "origin": "alyx"})}
    pq.write_table(pa.table(table).replace_schema_metadata(meta), path, row_group_size=form.groups)


def plain(rows: Sequence[Mapping[str, Any]], form: Form) -> list[dict[str, Any]]:
    """What the rows mean."""
    absent = {"exists": True, "qc": "NOT_SET"}
    read = []
    for row in rows:
        values = {**row, **{name: absent.get(name) for name in form.dropped if name in row}}
        if "rel_path" in values:
            values["rel_path"] = values["rel_path"].replace("/#nan#/", "/")
            if values["rel_path"].startswith("#nan#/"):
                values["rel_path"] = values["rel_path"][6:]
        read.append(values)
    return read


def as_dataset(row: Mapping[str, Any]) -> Dataset:
    return Dataset(**{**row, "qc": QC[row["qc"]], "hash": row["hash"] or None})


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield Path(folder)


def opened(
    base: Path, found: Sequence[Mapping[str, Any]], listed: Sequence[Mapping[str, Any]], form: Form
) -> Tables:
    folder = base / uuid.uuid4().hex
    folder.mkdir()
    columns = ["eid", "id", "rel_path", *OPTIONAL]
    write(folder / "datasets.pqt", found, form, columns)
    write(folder / "sessions.pqt", listed, form, list(Session("").__dict__)[:7])
    tables = Tables.open(folder, silent=True, large=form.large)
    if form.saved:
        tables.save(folder / "saved")
        tables = Tables.open(folder / "saved", silent=True, large=form.large)
    return tables


def by_key(rows: Sequence[Mapping[str, Any]], *key: str) -> list[dict[str, Any]]:
    """One row of each key, the last one."""
    return list({tuple(row[column] for column in key): dict(row) for row in rows}.values())


def sorted_rows(rows: Sequence[Dataset]) -> list[str]:
    return sorted(map(repr, rows))


checked = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
lists = st.lists(datasets, max_size=12)
listings = st.lists(sessions, max_size=4, unique_by=lambda row: row["id"])


@checked
@given(lists, listings, forms)
def test_lists_are_those_of_a_plain_reading(
    base: Path, found: list[dict[str, Any]], listed: list[dict[str, Any]], form: Form
) -> None:
    tables = opened(base, found, listed, form)
    rows = plain(found, form)
    assert tables.count("datasets") == len(rows)
    for eid in [*EIDS, "nowhere"]:
        wanted = [as_dataset(row) for row in rows if row["eid"] == eid]
        got = tables.datasets_of(eid)
        assert sorted_rows(got) == sorted_rows(wanted)
        assert [one.rel_path for one in got] == sorted(one.rel_path for one in wanted)
    names = {row["rel_path"].rpartition("/")[2] for row in rows}
    assert tables.dataset_names() == sorted(names)
    assert tables.rel_paths() == sorted({row["rel_path"] for row in rows})


@checked
@given(lists, listings, forms)
def test_ids_find_what_a_plain_reading_finds(
    base: Path, found: list[dict[str, Any]], listed: list[dict[str, Any]], form: Form
) -> None:
    tables = opened(base, found, listed, form)
    rows = plain(found, form)
    for asked in (IDS, IDS[:1], [*IDS[::-1], "unknown", IDS[0].upper()]):
        got = tables.datasets(asked)
        assert [one.id for one in got] == [
            one for one in asked if any(row["id"] == one for row in rows)
        ]
        # of several datasets with one id any may be given, but a whole one
        assert {repr(one) for one in got} <= {repr(as_dataset(row)) for row in rows}
    wanted = {row["id"]: Session(**row) for row in listed}
    assert tables.sessions(EIDS) == [wanted[eid] for eid in EIDS if eid in wanted]
    assert tables.distinct("sessions", "subject") == sorted({row["subject"] for row in listed})


@checked
@given(lists, listings, forms, st.data())
def test_searches_find_what_a_plain_reading_finds(
    base: Path,
    found: list[dict[str, Any]],
    listed: list[dict[str, Any]],
    form: Form,
    data: st.DataObject,
) -> None:
    tables = opened(base, found, listed, form)
    rows = plain(found, form)
    names = sorted({row["rel_path"].rpartition("/")[2] for row in rows}) or ["x"]
    requirements = data.draw(
        st.lists(st.lists(st.sampled_from(names), min_size=1, max_size=3), max_size=2)
    )
    level = data.draw(st.sampled_from(list(QC)))
    eids = data.draw(st.none() | st.lists(st.sampled_from(EIDS)))
    good: dict[str, set[str]] = {}
    for row in rows:
        if row["exists"] and QC[row["qc"]] <= level:
            good.setdefault(row["eid"], set()).add(row["rel_path"].rpartition("/")[2])
    wanted = sorted(
        eid
        for eid, has in good.items()
        if (eids is None or eid in eids) and all(has & set(some) for some in requirements)
    )
    assert tables.sessions_with(requirements, level, eids) == wanted

    subjects = data.draw(st.none() | st.lists(st.sampled_from(["KS01", "KS014", "it's"])))
    numbers = data.draw(st.none() | st.lists(st.integers(0, 999)))
    days = [row["date"] for row in listed if row["date"]] or [dt.date(2000, 1, 1)]
    first, last = (data.draw(st.none() | st.sampled_from(days)) for _ in range(2))
    terms = Terms({} if subjects is None else {"subject": subjects}, numbers, first, last)
    fitting = [
        row
        for row in listed
        if (subjects is None or row["subject"] in subjects)
        and (numbers is None or row["number"] in numbers)
        and (first is None or (row["date"] is not None and row["date"] >= first))
        and (last is None or (row["date"] is not None and row["date"] <= last))
    ]
    assert tables.find_sessions(terms) == newest_first(fitting)
    with_names = [row for row in fitting if row["id"] in tables.sessions_with(requirements, level)]
    assert tables.find_sessions(terms, requirements, level) == newest_first(with_names)


def newest_first(rows: Sequence[Mapping[str, Any]]) -> list[Session]:
    def late(row: Mapping[str, Any]) -> tuple[Any, ...]:
        day = row["date"].toordinal() if row["date"] else -1
        return (-day, [-ord(one) for one in row["subject"]] + [1], -1)

    # texts descend character by character, and a longer one comes before its beginning
    return [
        Session(**row)
        for row in sorted(
            rows,
            key=lambda row: (
                *late(row)[:2],
                1 if row["number"] is None else -row["number"],
                row["id"],
            ),
        )
    ]


@checked
@given(lists, st.lists(st.lists(datasets.filter(lambda row: row["rel_path"])), max_size=3), forms)
def test_new_records_and_saved_ones_answer_alike(
    base: Path, found: list[dict[str, Any]], added: list[list[dict[str, Any]]], form: Form
) -> None:
    tables = opened(base, by_key(found, "eid", "id"), [], form)
    rows = plain(by_key(found, "eid", "id"), form)
    for some in added:
        tables.add("datasets", some)
        rows = by_key([*rows, *some], "eid", "id")
        asked = tables.rows("SELECT id FROM datasets ORDER BY id")
        assert [row["id"] for row in asked] == sorted(row["id"] for row in rows)
    wanted = {
        eid: sorted_rows([as_dataset(row) for row in rows if row["eid"] == eid]) for eid in EIDS
    }
    assert {eid: sorted_rows(tables.datasets_of(eid)) for eid in EIDS} == wanted
    names = tables.sessions_with([["a.x.npy"], ["b.y.npy", ""]], QC.WARNING, EIDS)
    tables.save()
    assert not tables.dirty
    for again in (tables, Tables.open(tables.folder, silent=True, large=form.large)):
        assert {eid: sorted_rows(again.datasets_of(eid)) for eid in EIDS} == wanted
        assert again.sessions_with([["a.x.npy"], ["b.y.npy", ""]], QC.WARNING, EIDS) == names
        assert again.count("datasets") == len(rows)


revised = st.builds(
    lambda folder, revision, name: f"{folder}{f'#{revision}#/' if revision else ''}{name}",
    st.sampled_from(["", "alf/", "alf/probe00/"]),
    st.sampled_from(["", "2023-01-01", "2024-05-06", "2024-05-06a", "v1"]),
    st.sampled_from(["a.x.npy", "b.y.npy", "é'.\"%.npy"]),
)
histories = st.lists(
    st.builds(lambda row, path: {**row, "rel_path": path}, datasets, revised),
    max_size=12,
    unique_by=lambda row: (row["eid"], row["rel_path"]),
)


def revision_by_pandas(frame: pd.DataFrame, asked: str | None) -> set[str]:
    """Paths of one session that a revision, or its absence, means."""
    form = r"^(?P<folder>.*?)(?:#(?P<revision>[^/]*)#/)?(?P<name>[^/]+)$"
    frame = frame.assign(**frame["rel_path"].str.extract(form).fillna(""))
    meant = set()
    for _, group in frame.groupby(["folder", "name"]):
        group = group.sort_values("revision")
        if asked is not None:
            group = group[group["revision"] <= asked]
        elif group["default_revision"].eq(True).sum() == 1:
            group = group[group["default_revision"].eq(True)]
        meant |= set(group["rel_path"].iloc[-1:])
    return meant


@checked
@given(histories, forms, st.none() | st.sampled_from(["", "2023-06-01", "2024-05-06", "a", "z"]))
def test_revisions_are_those_of_a_plain_reading(
    base: Path, found: list[dict[str, Any]], form: Form, asked: str | None
) -> None:
    form = replace(form, ids="text")
    tables = opened(base, found, [], form)
    frame = pd.read_parquet(tables.folder / "datasets.pqt").reset_index()
    if "default_revision" not in frame:
        frame["default_revision"] = None
    for eid in EIDS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours = choose_revisions(tables.datasets_of(eid), asked, unique_default=False)
        wanted = revision_by_pandas(frame[frame["eid"] == eid], asked)
        assert {one.rel_path for one in ours} == wanted
