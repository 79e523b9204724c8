"""Mirrors of DataJoint pipelines: what is copied, what stays, what goes wrong, on real servers."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datajoint_pipeline import KEY, Pipeline, instance, login, mirror_of, reference

from one_cache import Cache
from one_cache.errors import (
    CacheWarning,
    ContentError,
    Forbidden,
    HashMismatch,
    InvalidArgument,
    ModeError,
    NotInCache,
    NotMirrored,
    OneCacheError,
    RemoteError,
    TableReadOnly,
    TransferFailed,
    UnknownColumn,
)
from one_cache.mirrored import About, unpack

datajoint = pytest.importorskip("datajoint")
from one_cache.datajoint import Mirror  # noqa: E402

# DataJoint warns of MariaDB, and of types that have other names on other servers
pytestmark = pytest.mark.filterwarnings(
    "ignore:MariaDB is not", "ignore:No datajoint.json", "ignore::DeprecationWarning"
)
logging.getLogger("datajoint").setLevel(logging.ERROR)
BACKENDS = ["mysql", "postgresql"]


@pytest.fixture(scope="module", params=BACKENDS)
def page(request):
    """The pipeline of the reference page; tests only read it."""
    made = reference(request.param)
    yield made
    made.drop()


@pytest.fixture(params=BACKENDS)
def empty(request):
    """A pipeline without schemas, for one test."""
    made = Pipeline(request.param)
    yield made
    made.drop()


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache", silent=True)


def states(frame):
    return dict(zip(frame.table, frame.state, strict=True))


def rows(relation):
    """Rows in the order of the key, of either kind."""
    return relation.to_dicts(order_by="KEY")


def things(pipeline, n_rows=2000, **more):
    """A schema with a table of things and their notes."""
    made = pipeline.declare(
        "things",
        {
            "Thing": ("Manual", "thing_id: int32\n---\nsize: {float}\nname='': varchar(20)\n"),
            "Note": ("Manual", "-> Thing\nnote_id: int32\n---\ntrace=null: <blob>\n"),
            **more,
        },
    )
    listed = [{"thing_id": i, "size": i * 1.001, "name": f"thing {i}"} for i in range(n_rows)]
    made.Thing().insert(listed)
    made.Note().insert(
        {"thing_id": i, "note_id": 0, "trace": np.full(500, i * 0.5)} for i in range(0, n_rows, 10)
    )
    return made


# what is copied -------------------------------------------------------------------------------


def test_a_pull_says_what_it_copied_parents_first(page, cache):
    done = mirror_of(page, cache).pull(*page.names.values())
    assert set(done.state) == {"copied"}
    order = list(done.table)
    assert order.index("Session") < order.index("BehaviorRecording") < order.index("Trial")
    assert order.index("Trial") < order.index("Trial.Attribute")
    assert (done.rows == done.fetched).all()
    assert done.rows[order.index("Trial")] == 50
    assert done.pulled_at.nunique() == 1


def test_names_tiers_keys_comments_and_units_are_kept(page, cache):
    mirror_of(page, cache).pull(*page.names.values())
    db = cache.schemas[page.names["trial"]]
    assert sorted(db) == [
        "Block", "BlockTrial", "Trial", "Trial.Attribute", "TrialEvent", "TrialType",
    ]  # fmt: skip
    trial = db.Trial
    assert (trial.name, trial.tier, trial.comment) == ("Trial", "imported", "experimental trials")
    assert trial.full_name == f"{page.names['trial']}._trial"
    assert (db.TrialType.tier, trial.Attribute.tier) == ("lookup", "part")
    assert trial.primary_key == ["subject", "session_datetime", "trial_id"]
    start = trial.heading["trial_start_time"]
    assert start.comment == "(second) relative to recording start"
    assert start.unit == "second"
    assert trial.heading["trial_type"].nullable
    assert not trial.heading["trial_id"].nullable
    parents = {key.table.partition(".")[2]: key.columns for key in trial.heading.foreign_keys}
    assert parents["#trial_type"] == {"trial_type": "trial_type"}
    assert set(parents) == {"#trial_type", "behavior_recording"}
    aligned = cache.schemas[page.names["event"]].AlignmentEvent
    assert {"start_event_type": "event_type"} in [k.columns for k in aligned.heading.foreign_keys]
    assert db["_trial"] is db.Trial is db["Trial"]
    assert db["Trial.Attribute"].name == db.Trial.Attribute.name == "Trial.Attribute"
    assert "Trial" in dir(db)
    assert "Trial" in repr(db)
    assert "50" in db._repr_html_()
    assert "Total: 50" in db.Trial._repr_html_()
    assert "(Total: 50)" in repr(db.Trial)
    assert "<blob>" in repr(cache.schemas[page.names["miniscope"]].Activity.Trace)


def test_a_float_is_the_number_that_was_typed(page, cache):
    mirror_of(page, cache).pull(page.names["event"], page.names["trial"])
    recording = cache.schemas[page.names["event"]].BehaviorRecording
    assert set(recording.fetch("recording_duration")) == {1234.567}
    trial = cache.schemas[page.names["trial"]].Trial
    assert len(trial & {"trial_start_time": 0.193}) == 1
    assert len(trial & "trial_start_time = 0.193") == 1


VALUES = {
    "tiny": ("int8", -3),
    "flag": ("bool", True),
    "big": ("int64", 2**62),
    "facts": ("json", {"a": [1, 2.5, {"b": None}], "c": "é"}),
    "price": ("decimal(10,4)", Decimal("12.3400")),
    "single": ("{float}", 0.1),
    "also_single": ("float32", 1234.567),
    "real": ("float64", 1 / 3),
    "day": ("date", dt.date(2020, 2, 29)),
    "moment": ("datetime", dt.datetime(2020, 1, 2, 3, 4, 5)),
    "side": ("enum('left','right','in between')", "in between"),
    "text": ("varchar(40)", "it's “quoted” 100% \\ back"),
    "letters": ("char(3)", "abc"),
    "matrix": ("<blob>", np.arange(6.0).reshape(2, 3)),
    "large": ("<blob>", np.linspace(0, 1, 5000)),
    "mapping": ("<blob>", {"a": [1, 2], "b": ("x", None), "c": {3}}),
    "raw": ("bytes", b"\0\1mYm\0"),
}
OF_SERVER = {
    "mysql": {
        "id_of_it": ("uuid", uuid.UUID(int=5)),
        "huge": ("bigint unsigned", 2**63 + 5),
        "packed": ("longblob", np.arange(3)),
        "duration": ("time", -dt.timedelta(hours=30, seconds=1)),
        "exact": ("datetime(6)", dt.datetime(2020, 1, 2, 3, 4, 5, 678901)),
        "words": ("text", "many words"),
    },
    "postgresql": {
        "clock": ("time", dt.time(3, 4, 5, 6)),
        "words": ("text", "many words"),
    },
}


def test_values_of_every_type_are_kept(empty, cache):
    values = {**VALUES, **OF_SERVER[empty.backend]}
    lines = "".join(f"{name}=null: {kind}\n" for name, (kind, _) in values.items())
    made = empty.declare("types", {"Value": ("Manual", f"value_id: int32\n---\n{lines}")})
    row = {name: value for name, (_, value) in values.items()}
    sent = dict(row)
    if "packed" in row:
        sent["packed"] = datajoint.blob.pack(row["packed"])
    made.Value().insert([{"value_id": 1, **sent}, {"value_id": 2, **dict.fromkeys(row)}])
    mirror_of(empty, cache).pull(empty.names["types"])
    first, second = rows(cache.schemas[empty.names["types"]].Value)
    assert second == {"value_id": 2, **dict.fromkeys(row)}
    for name, value in row.items():
        np.testing.assert_equal(first[name], value, err_msg=name)
        assert isinstance(first[name], type(value)) or name == "flag", name
    arrays = cache.schemas[empty.names["types"]].Value.to_arrays("price", "day", order_by="KEY")
    assert arrays[0].tolist() == [Decimal("12.3400"), None]
    assert arrays[1].tolist() == [dt.date(2020, 2, 29), None]
    table = cache.schemas[empty.names["types"]].Value
    assert len(table & {"price": "12.34"} & {"day": "2020-02-29"} & "side = 'in between'") == 1
    assert len(table & {"real": None}) == 1
    with pytest.raises(InvalidArgument, match="inside 'facts'"):
        table & {"facts.a": 1}


PACKED = [
    np.arange(5), np.random.default_rng(0).normal(size=(3, 4)), np.zeros((0, 3)), np.array(2.5),
    np.float64(3.5), np.int32(4), 3, -700000000000000, True, 2.5, 1 + 2j, None, "héllo", b"abc",
    [1, [2, "x"]], (1, 2), {1, 2}, {"a": np.arange(3), "b": {"c": None}}, Decimal("1.23"),
    dt.datetime(2021, 1, 2, 3, 4, 5, 678), dt.date(2020, 1, 1), dt.time(1, 2, 3, 4),
    uuid.UUID(int=7), np.array(["a", "bcd"]), np.array([None, {"a": 1}], dtype=object),
    np.array(["2020-01-01", "2021-01-01"], dtype="datetime64[ns]"), np.array([1 + 2j, 3]),
    np.array([True, False]), np.asfortranarray(np.arange(6).reshape(2, 3)), np.zeros(9999),
    np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]), np.array([b"a", b"b"], dtype="c"),
    np.array([(1, "x")], dtype=[("a", "O"), ("b", "O")]).view(datajoint.blob.MatStruct),
    np.array([2.5, "x"], dtype=object).view(datajoint.blob.MatCell),
]  # fmt: skip


@pytest.mark.parametrize("value", PACKED, ids=lambda value: f"{type(value).__name__}")
def test_a_packed_value_is_read_as_datajoint_reads_it(value):
    packed = datajoint.blob.pack(value)
    ours, theirs = unpack(packed), datajoint.blob.unpack(packed)
    np.testing.assert_equal(ours, theirs)
    if isinstance(theirs, np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    else:
        assert type(ours) is type(theirs)


@pytest.mark.parametrize("cut", [0, 3, 5, 12, 20, 30])
def test_a_packed_value_that_is_cut_off_is_refused(cut):
    packed = datajoint.blob.pack({"a": np.arange(30.0)})
    with pytest.raises(ContentError, match="cannot be read"):
        unpack(packed[:cut])


def test_attachments_and_files_of_stores_become_datasets(empty, cache, tmp_path):
    store = tmp_path / "store"
    (store / "in").mkdir(parents=True)
    (store / "in" / "x.bin").write_bytes(b"abc" * 1000)
    note = tmp_path / "my note.txt"
    note.write_text("hello")
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "one.txt").write_text("1")
    (folder / "sub" / "two.txt").write_text("2")
    stores = {"default": "main", "main": {"protocol": "file", "location": str(store)}}
    empty.instance.config.stores.update(stores)
    columns = {
        "note": ("<attach>", str(note)),
        "file": ("<filepath@main>", "in/x.bin"),
        "trace": ("<npy@main>", np.arange(4)),
        "thing": ("<object@main>", str(folder)),
        **({"far": ("<blob@main>", {"a": 1})} if empty.backend == "postgresql" else {}),
    }
    lines = "".join(f"{name}=null: {kind}\n" for name, (kind, _) in columns.items())
    made = empty.declare("files", {"Paper": ("Manual", f"paper_id: int32\n---\n{lines}")})
    row = {name: value for name, (_, value) in columns.items()}
    made.Paper().insert([{"paper_id": 1, **row}, {"paper_id": 2, **dict.fromkeys(row)}])
    mirror = mirror_of(empty, cache, stores=stores)
    mirror.pull(empty.names["files"])
    for path in (note, store, folder):
        os.rename(path, f"{path}.gone")
    assert cache.verify().ok
    cache.record_loaded = True
    first, second = rows(cache.schemas[empty.names["files"]].Paper)
    assert second == {"paper_id": 2, **dict.fromkeys(row)}
    assert Path(first["note"]).name == "my note.txt"
    assert Path(first["note"]).read_text() == "hello"
    assert Path(first["file"]).read_bytes() == b"abc" * 1000
    np.testing.assert_array_equal(first["trace"], np.arange(4))
    inside = {p.name: p.read_text() for p in Path(first["thing"]).rglob("*.txt")}
    assert inside == {"one.txt": "1", "two.txt": "2"}
    assert first.get("far", {"a": 1}) == {"a": 1}
    kinds = [entry.kind for entry in cache.recorder]
    assert kinds.count("dataset") == 5
    ids = [entry.id for entry in cache.recorder if entry.kind == "dataset"]
    assert len(cache.datasets_now(ids)) == 5
    report = cache.bundle(cache.recorder, tmp_path / "bundle.zip")
    assert report.ok, report
    there = Cache(tmp_path / "there", silent=True)
    assert there.restore(tmp_path / "bundle.zip").ok
    found, _ = rows(there.schemas[empty.names["files"]].Paper)
    assert Path(found["note"]).read_text() == "hello"
    assert found["note"].startswith(str(tmp_path / "there"))
    Path(first["note"]).write_text("HELLO")
    with pytest.raises(OneCacheError, match="my note"):
        rows(cache.schemas[empty.names["files"]].Paper)


# only what changed ----------------------------------------------------------------------------


def test_only_what_changed_is_fetched_again(empty, cache):
    made = things(empty)
    mirror, schema = mirror_of(empty, cache), empty.names["things"]
    mirror.pull(schema)
    again = mirror.pull(schema)
    assert set(again.state) == {"unchanged"}
    assert again.fetched.sum() == 0

    made.Thing().insert1({"thing_id": 9999, "size": 3.0, "name": "new"})
    made.Thing().update1({"thing_id": 5, "size": 5.0051})  # the seventh digit
    (made.Thing() & "thing_id = 7").delete_quick()
    done = mirror.pull(schema).set_index("table")
    assert done.state.to_dict() == {"Thing": "updated", "Note": "unchanged"}
    assert 2 <= done.fetched["Thing"] < 200
    db = cache.schemas[schema]
    assert len(db.Thing) == 2000
    assert (db.Thing & {"thing_id": 5}).fetch1("size") == 5.0051
    assert not db.Thing & {"thing_id": 7}
    live = [{**row, "size": pytest.approx(row["size"], rel=1e-5)} for row in rows(made.Thing())]
    assert rows(db.Thing) == live

    (made.Note() & "thing_id < 1000").delete_quick()
    made.Note().update1({"thing_id": 1000, "note_id": 0, "trace": np.arange(3)})
    done = mirror.pull(schema).set_index("table")
    assert done.state.to_dict() == {"Thing": "unchanged", "Note": "updated"}
    assert len(db.Note) == 100
    np.testing.assert_array_equal((db.Note & {"thing_id": 1000}).fetch1("trace"), np.arange(3))


def test_rows_that_trade_their_values_are_noticed(empty, cache):
    made = things(empty, 100)
    mirror = mirror_of(empty, cache)
    mirror.pull(empty.names["things"])
    made.Thing().update1({"thing_id": 3, "name": "thing 4"})
    made.Thing().update1({"thing_id": 4, "name": "thing 3"})
    assert states(mirror.pull(empty.names["things"]))["Thing"] == "updated"
    named = dict(
        zip(*cache.schemas[empty.names["things"]].Thing.fetch("thing_id", "name"), strict=True)
    )
    assert (named[3], named[4]) == ("thing 4", "thing 3")


def test_no_value_and_an_empty_text_are_told_apart(empty, cache):
    made = empty.declare(
        "texts", {"Text": ("Manual", "text_id: int32\n---\na=null: varchar(9)\n")}
    )
    made.Text().insert([{"text_id": 1, "a": None}, {"text_id": 2, "a": ""}])
    mirror = mirror_of(empty, cache)
    mirror.pull(empty.names["texts"])
    table = cache.schemas[empty.names["texts"]].Text
    assert table.fetch("a").tolist() == [None, ""]
    made.Text().update1({"text_id": 1, "a": ""})
    made.Text().update1({"text_id": 2, "a": None})
    mirror.pull(empty.names["texts"])
    assert cache.schemas[empty.names["texts"]].Text.fetch("a").tolist() == ["", None]


def test_a_decimal_that_is_no_number_has_no_value(cache):
    empty = Pipeline("postgresql")
    try:
        made = empty.declare(
            "prices", {"Price": ("Manual", "price_id: int32\n---\nprice=null: decimal(8,2)\n")}
        )
        made.Price().insert([{"price_id": n, "price": Decimal("1.50")} for n in (1, 2)])
        mirror, schema = mirror_of(empty, cache), empty.names["prices"]
        mirror.pull(schema)
        # DataJoint inserts NaN as no value; other programs may not
        table = made.Price.full_table_name
        empty.instance.connection.query(f"UPDATE {table} SET price = 'NaN' WHERE price_id = 2")
        assert states(mirror.pull(schema)) == {"Price": "updated"}
        assert cache.schemas[schema].Price.fetch("price").tolist() == [Decimal("1.50"), None]
        assert states(mirror.pull(schema)) == {"Price": "unchanged"}
    finally:
        empty.drop()


def test_a_table_that_was_altered_is_copied_anew(empty, cache):
    made = things(empty, 30)
    mirror, schema = mirror_of(empty, cache), empty.names["things"]
    mirror.pull(schema)
    quote = '"' if empty.backend == "postgresql" else "`"
    empty.instance.connection.query(
        f"ALTER TABLE {made.Thing.full_table_name} ADD COLUMN {quote}colour{quote} varchar(9)"
    )
    before = cache.schemas[schema].Thing
    for ask in (
        lambda: before & "colour = 'red'",
        lambda: before.proj("colour"),
        lambda: before.fetch("colour"),
        lambda: before.to_dicts(order_by="colour"),
    ):
        with pytest.raises(UnknownColumn, match=rf"colour(.|\n)*pull\('{schema}'\)"):
            ask()
    assert states(mirror.status())["Thing"] == "altered"
    assert states(mirror.pull(schema)) == {"Thing": "updated", "Note": "unchanged"}
    assert cache.schemas[schema].Thing.fetch("colour").tolist() == [None] * 30
    # who had it open before goes on with what was
    assert "colour" not in before.heading
    assert len(before) == 30


def test_a_table_that_was_dropped_is_no_longer_mirrored(empty, cache):
    made = things(empty, 30)
    mirror, schema = mirror_of(empty, cache), empty.names["things"]
    mirror.pull(schema)
    made.Note().drop_quick()
    assert states(mirror.status())["Note"] == "dropped"
    with pytest.warns(CacheWarning, match=f"{schema}.Note is no longer on"):
        assert states(mirror.pull(schema)) == {"Thing": "unchanged", "Note": "dropped"}
    assert list(cache.schemas[schema]) == ["Thing"]
    with pytest.raises(NotMirrored, match="was gone from .* when it was pulled"):
        cache.schemas[schema]["Note"]
    assert states(mirror.pull(schema)) == {"Thing": "unchanged"}
    empty.declare("things", {"Note": ("Manual", "note_id: int32\n---\n")})
    assert states(mirror.pull(schema))["Note"] == "copied"
    assert len(cache.schemas[schema].Note) == 0


def test_status_says_what_is_behind(empty, cache):
    made = things(empty, 100)
    mirror, schema = mirror_of(empty, cache), empty.names["things"]
    assert mirror.status().empty
    assert set(mirror.status(schema).state) == {"new"}
    mirror.pull(f"{schema}.Thing")
    assert states(mirror.status()) == {"Thing": "current", "Note": "new"}
    made.Thing().insert1({"thing_id": 1000, "size": 1})
    status = mirror.status().set_index("table")
    assert status.state["Thing"] == "behind"
    assert (status.rows["Thing"], status.server_rows["Thing"]) == (100, 101)
    mirror.pull(schema, restrict="thing_id < 50")
    assert set(mirror.status().state) == {"current"}
    made.Thing().insert1({"thing_id": 1001, "size": 1})
    assert set(mirror.status().state) == {"current"}
    made.Thing().update1({"thing_id": 1, "size": 9})
    assert states(mirror.status()) == {"Thing": "behind", "Note": "current"}


# which rows -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restrict", "counts"),
    [
        ("thing_id < 50", {"Thing": 50, "Note": 5}),
        ({"thing_id": 30}, {"Thing": 1, "Note": 1}),
        ({"name": "thing 40"}, {"Thing": 1, "Note": 1}),
        ([{"thing_id": 30}, "thing_id = 31"], {"Thing": 2, "Note": 1}),
        ({"Note": "thing_id < 50"}, {"Thing": 100, "Note": 5}),
        ({"Thing": {"thing_id": 3}}, {"Thing": 1, "Note": 0}),
        (pd.DataFrame({"thing_id": [3, 10]}), {"Thing": 2, "Note": 1}),
        (datajoint.AndList(["thing_id < 50", "size > 10"]), {"Thing": 40, "Note": 4}),
        (datajoint.Not("thing_id < 50"), {"Thing": 50, "Note": 5}),
        ([], {"Thing": 0, "Note": 0}),
        ({}, {"Thing": 100, "Note": 10}),
        ("name like 'thing 1%'", {"Thing": 11, "Note": 1}),
        (None, {"Thing": 100, "Note": 10}),
    ],
)
def test_restrict_keeps_rows_and_what_belongs_to_them(restrict, counts, empty, cache):
    things(empty, 100)
    mirror_of(empty, cache).pull(empty.names["things"], restrict=restrict)
    db = cache.schemas[empty.names["things"]]
    assert {name: len(db[name]) for name in db} == counts
    assert not db.Note - db.Thing


def test_relations_restrict_by_their_keys(empty, cache):
    made = things(empty, 100)
    mirror, schema = mirror_of(empty, cache), empty.names["things"]
    mirror.pull(schema)
    # its sizes have 32 bits on the server, where they equal no number that was typed
    mirrored = cache.schemas[schema].Thing & "thing_id in (10, 11)"
    live = made.Thing & "thing_id in (10, 11)"
    for restrict in (mirrored, live, {"Thing": mirrored}, {"Thing": live}, [live, "thing_id < 0"]):
        mirror.pull(schema)
        mirror.pull(schema, restrict=restrict)
        db = cache.schemas[schema]
        assert db.Thing.fetch("thing_id").tolist() == [10, 11]
        assert db.Note.fetch("thing_id").tolist() == [10]
        assert set(mirror.status().state) == {"current"}


def test_another_restriction_takes_the_place_of_the_first(empty, cache):
    things(empty, 100)
    mirror, schema = mirror_of(empty, cache), empty.names["things"]
    mirror.pull(schema, restrict="thing_id < 50")
    assert "only 'thing_id < 50'" in repr(cache.schemas[schema])
    mirror.pull(schema, restrict="thing_id >= 90")
    assert cache.schemas[schema].Thing.fetch("thing_id").tolist() == list(range(90, 100))
    mirror.pull(schema)
    assert len(cache.schemas[schema].Thing) == 100
    assert "only" not in repr(cache.schemas[schema])


def test_rows_that_refer_to_restricted_ones_follow_renamed_and_empty_references(empty, cache):
    made = empty.declare(
        "links",
        {
            "Node": ("Manual", "node_id: int32\n---\nkind: varchar(9)\n"),
            "Edge": (
                "Manual",
                "-> Node.proj(a='node_id')\n-> Node.proj(b='node_id')\n---\n"
                "-> [nullable] Node.proj(via='node_id')\n",
            ),
        },
    )
    made.Node().insert([(i, "odd" if i % 2 else "even") for i in range(6)])
    made.Edge().insert([(1, 3, None), (1, 3 + 2, 3), (3, 5, 2), (0, 1, 1), (2, 4, None)])
    mirror = mirror_of(empty, cache)
    mirror.pull(empty.names["links"], restrict={"Node": {"kind": "odd"}})
    db = cache.schemas[empty.names["links"]]
    assert [tuple(row.values()) for row in rows(db.Edge)] == [(1, 3, None), (1, 5, 3)]
    mirror.pull(empty.names["links"])
    live = made.Edge() * made.Node().proj(a="node_id", kind_of_a="kind")
    assert rows(db.Edge * db.Node.proj(a="node_id", kind_of_a="kind")) == rows(live)


def test_conditions_that_fit_nothing_are_refused(empty, cache):
    things(empty, 10)
    mirror, schema = mirror_of(empty, cache), empty.names["things"]
    for restrict in ("no_such > 3", {"no_such": 1}, {"Thingy": "thing_id = 1"}, "thing_id <"):
        with pytest.raises(OneCacheError) as caught:
            mirror.pull(schema, restrict=restrict)
        assert str(caught.value)
        assert not len(cache.schemas)
    mirror.pull(schema, restrict={})
    assert len(cache.schemas[schema].Thing) == 10


def test_a_part_is_read_without_its_master(page, cache):
    mirror_of(page, cache).pull(f"{page.names['trial']}.Trial.Attribute")
    db = cache.schemas[page.names["trial"]]
    assert list(db) == ["Trial.Attribute"]
    assert len(db.Trial.Attribute) == len(db["Trial.Attribute"]) == 50
    assert dir(db.Trial) == ["Attribute"]
    assert "not mirrored" in repr(db.Trial)
    for ask in (lambda: db.Trial & KEY, lambda: len(db.Trial), lambda: db.Trial.fetch()):
        with pytest.raises(NotMirrored, match=r"no table 'Trial'.*pull\("):
            ask()


def test_tables_are_named_alone(empty, cache):
    things(empty, 30)
    mirror, schema = mirror_of(empty, cache), empty.names["things"]
    mirror.pull(f"{schema}.Note")
    assert list(cache.schemas[schema]) == ["Note"]
    with pytest.raises(NotMirrored, match=rf"no table 'Thing' .*pull\('{schema}'\)"):
        cache.schemas[schema]["Thing"]
    with pytest.raises(InvalidArgument, match="has no table 'Notes'.*Note"):
        mirror.pull(f"{schema}.Notes")
    mirror.pull(f"{schema}.Thing")
    assert len(cache.schemas[schema]) == 2
    with pytest.raises(InvalidArgument, match="name what to copy"):
        mirror.pull()


# odd pipelines --------------------------------------------------------------------------------


def test_empty_tables_single_rows_and_long_parts(empty, cache):
    made = empty.declare(
        "odd",
        {
            "Nothing": ("Manual", "nothing_id: int32\n---\ntrace: <blob>\nmoment: datetime\n"),
            "Only": ("Manual", "---\nthreshold: float64\n"),
            "KeyAlone": ("Lookup", "a: varchar(5)\nb: int32\n"),
            "Deep": ("Computed", "deep_id: int32\n---\n"),
            "Deep.PartOfIt": ("Part", "-> master\npart_id: int32\n---\nx=null: int32\n"),
            "Deep.Part2D": ("Part", "-> master.PartOfIt\n"),
        },
    )
    made.Only().insert1({"threshold": 0.5})
    made.KeyAlone().insert([("x", 1), ("y", 2)])
    made.Deep().insert1({"deep_id": 1}, allow_direct_insert=True)
    made.Deep.PartOfIt().insert1({"deep_id": 1, "part_id": 2})
    made.Deep.Part2D().insert1({"deep_id": 1, "part_id": 2})
    mirror, schema = mirror_of(empty, cache), empty.names["odd"]
    for _ in range(2):
        mirror.pull(schema)
        db = cache.schemas[schema]
        assert db.Nothing.to_dicts() == []
        assert db.Nothing.heading.names == ("nothing_id", "trace", "moment")
        assert db.Nothing.fetch("trace").tolist() == []
        assert db.Only.fetch1("threshold") == 0.5
        assert db.Only.primary_key == []
        assert rows(db.KeyAlone) == [{"a": "x", "b": 1}, {"a": "y", "b": 2}]
        assert db.Deep.tier == "computed"
        assert rows(db.Deep.PartOfIt * db.Deep.Part2D) == [{"deep_id": 1, "part_id": 2, "x": None}]
        assert len(db.KeyAlone & {}) == 2


def test_tables_that_no_class_made(empty, cache):
    connection = empty.instance.connection
    empty.declare("alien", {"Known": ("Manual", "known_id: int32\n---\n")})
    schema = empty.names["alien"]
    quote = '"' if empty.backend == "postgresql" else "`"
    names = ["weird-table name", "Upper", "with'quote", "a*b?[c]"]
    names = names if empty.backend == "mysql" else ["plain_name", "_two"]
    for name in names:
        table = f"{quote}{schema}{quote}.{quote}{name}{quote}"
        connection.query(f"CREATE TABLE {table} (n integer primary key, t varchar(9))")
        connection.query(f"INSERT INTO {table} VALUES (1, 'a')")
    keyless = f"{quote}{schema}{quote}.{quote}keyless{quote}"
    connection.query(f"CREATE TABLE {keyless} (n integer, t varchar(9))")
    connection.query(f"INSERT INTO {keyless} VALUES (1, 'a'), (1, 'a'), (2, NULL)")
    connection.query(f"CREATE TABLE {quote}{schema}{quote}.{quote}100%%{quote} (n integer)")
    mirror = mirror_of(empty, cache)
    with pytest.warns(CacheWarning, match="100%.*is left out"):
        mirror.pull(schema)
    db = cache.schemas[schema]
    for name in names:
        assert db[name].to_dicts() == [{"n": 1, "t": "a"}]
    assert db["WeirdTableName" if empty.backend == "mysql" else "PlainName"].fetch1("t") == "a"
    assert len(db.Keyless) == 3
    with pytest.warns(CacheWarning, match="is left out"):
        assert set(mirror.pull(schema).state) == {"unchanged"}


def test_texts_of_several_collations_are_told_apart(empty, cache):
    if empty.backend == "postgresql":
        kinds = 'a varchar(9) COLLATE "C", b varchar(9)'
    else:
        kinds = (
            "a varchar(9) CHARACTER SET latin1 COLLATE latin1_general_cs, "
            "b varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci, "
            "c enum('x', 'y') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        )
    empty.declare("texts", {"Known": ("Manual", "known_id: int32\n---\n")})
    query, table = empty.instance.connection.query, f"{empty.names['texts']}.mixed"
    query(f"CREATE TABLE {table} (n integer, {kinds}, PRIMARY KEY (n, a, b))")
    query(f"INSERT INTO {table} (n, a, b) VALUES (1, 'é', 'é'), (2, 'e', 'E,'), (2, 'e,', 'E')")
    mirror = mirror_of(empty, cache)
    mirror.pull(empty.names["texts"])
    mixed = cache.schemas[empty.names["texts"]].Mixed
    assert [(row["a"], row["b"]) for row in rows(mixed)] == [("é", "é"), ("e", "E,"), ("e,", "E")]
    query(f"UPDATE {table} SET b='e' WHERE a='e,'")
    assert states(mirror.pull(empty.names["texts"]))["Mixed"] == "updated"
    assert cache.schemas[empty.names["texts"]].Mixed.fetch("b").tolist() == ["é", "E,", "e"]


# what goes wrong ------------------------------------------------------------------------------


def test_a_wrong_password_is_refused_and_shown_nowhere(empty, cache, caplog):
    secret = "hunter2-%-secret"
    mirror = mirror_of(empty, cache, user="nobody_at_all", password=secret)
    assert secret not in repr(mirror)
    with pytest.raises(Forbidden, match="Check user and password") as caught:
        mirror.pull("whatever")
    said = [str(caught.value), repr(caught.value), caplog.text]
    chain = caught.value
    while chain is not None:
        said.append(repr(chain.args))
        chain = chain.__cause__
    assert not any(secret in one for one in said)


def test_no_password_is_written_anywhere(empty, cache, monkeypatch):
    things(empty, 10)
    place = login(empty.backend)
    user = f"u{uuid.uuid4().hex[:8]}"
    secret = f"secret-{uuid.uuid4().hex}"
    query = empty.instance.connection.query
    if empty.backend == "mysql":
        query(f"CREATE USER '{user}'@'%%' IDENTIFIED BY '{secret}'")
        query(f"GRANT SELECT ON `{empty.mark}\\_%%`.* TO '{user}'@'%%'")
        drop = f"DROP USER '{user}'@'%%'"
    else:
        query(f"CREATE ROLE {user} LOGIN PASSWORD '{secret}'")
        schema = empty.names["things"]
        query(f"GRANT USAGE ON SCHEMA {schema} TO {user}")
        query(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {user}")
        drop = f"DROP OWNED BY {user}; DROP ROLE {user}"
    try:
        for prefix in ("DJ", "DB"):
            monkeypatch.setenv(f"{prefix}_USER", user)
            monkeypatch.setenv(f"{prefix}_PASS", secret)
            mirror = Mirror(
                cache, host=place.host, port=place.port, backend=place.backend, use_tls=False
            )
            mirror.pull(empty.names["things"])
            assert set(mirror.status().state) == {"current"}
            monkeypatch.delenv(f"{prefix}_USER")
            monkeypatch.delenv(f"{prefix}_PASS")
        with pytest.raises(InvalidArgument, match="DJ_USER and DJ_PASS"):
            mirror.pull(empty.names["things"])
    finally:
        query(drop)
    cache.freeze()
    for path in Path(cache.cache_dir).rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes()
            assert user.encode() not in path.read_bytes()


def test_the_password_of_another_user_is_not_taken(cache, monkeypatch):
    monkeypatch.setenv("DJ_USER", "one")
    monkeypatch.setenv("DJ_PASS", "of-one")
    with pytest.raises(InvalidArgument, match="no password"):
        Mirror(cache, host="127.0.0.1", user="two").pull("x")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_server_that_is_away_is_named(backend, cache):
    mirror = Mirror(
        cache, host="127.0.0.1", port=9, backend=backend, user="me", password="secret-word"
    )
    for ask in (lambda: mirror.pull("x"), lambda: mirror.status("x")):
        with pytest.raises(
            TransferFailed, match=rf"(?s){backend}://127.0.0.1:9.*is the server up"
        ):
            ask()
    assert not len(cache.schemas)


@pytest.mark.parametrize(
    "wrong",
    [{"backend": "oracle"}, {"host": "db:port"}, {"host": "mysql://me:secret@db"}],
)
def test_places_that_are_none_are_refused(wrong, cache):
    with pytest.raises(InvalidArgument) as caught:
        Mirror(cache, **{"host": "db", **wrong})
    assert "secret" not in str(caught.value)


def test_a_schema_that_is_not_there_is_named_with_those_that_are(page, cache):
    wrong = page.names["trial"][:-1]
    with pytest.raises(InvalidArgument, match=f"no schema '{wrong}'.*{page.names['trial']}"):
        mirror_of(page, cache).pull(wrong)
    with pytest.raises(KeyError, match=r"is not mirrored(.|\n)*pull\('nothing_here'\)"):
        cache.schemas["nothing_here"]
    assert "nothing_here" not in cache.schemas
    mirror_of(page, cache).pull(page.names["trial"])
    with pytest.raises(AttributeError, match="no table 'Trail'.*Trial"):
        cache.schemas[page.names["trial"]]["Trail"]
    assert not hasattr(cache.schemas[page.names["trial"]], "Nothing")
    assert list(cache.schemas) == [page.names["trial"]]


def test_a_mirror_takes_no_rows(page, cache):
    mirror_of(page, cache).pull(page.names["trial"])
    trial = cache.schemas[page.names["trial"]].Trial
    row = (trial & {"trial_id": 3}).fetch1()
    for refuse in (
        lambda: trial.insert1({**row, "trial_id": 99}),
        lambda: trial.insert([row], skip_duplicates=True),
        lambda: (trial & "trial_id = 3").delete(),
        lambda: trial.update1(row),
        lambda: trial.drop(),
    ):
        with pytest.raises(TableReadOnly, match="rows are changed there"):
            refuse()
    assert len(trial) == 50


def _pull_in_child(backend, schema, folder, ready):
    from datajoint_pipeline import Pipeline

    made = Pipeline(backend)
    ready.set()
    mirror_of(made, Cache(folder, silent=True)).pull(schema)


@pytest.mark.parametrize("delay", [0.1, 0.3, 0.6])
def test_a_pull_that_is_killed_leaves_the_mirror_as_it_was(delay, empty, cache):
    made = things(empty, 100)
    mirror, schema = mirror_of(empty, cache), empty.names["things"]
    mirror.pull(schema)
    before = rows(cache.schemas[schema].Thing)
    made.Thing().insert(
        [{"thing_id": i, "size": i, "name": "x" * 20} for i in range(1000, 90_000)]
    )
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    arguments = (empty.backend, schema, str(cache.cache_dir), ready)
    child = context.Process(target=_pull_in_child, args=arguments)
    child.start()
    assert ready.wait(60)
    time.sleep(delay)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    fresh = Cache(cache.cache_dir, silent=True)
    found = rows(fresh.schemas[schema].Thing)
    assert found == before or len(found) == 89_100
    assert fresh.verify().problems == () or {one.kind for one in fresh.verify().problems} <= {
        "unfinished",
        "extra",
    }
    mirror.pull(schema)
    assert len(cache.schemas[schema].Thing) == 89_100


def test_a_connection_that_is_cut_leaves_the_mirror_as_it_was(empty, cache):
    made = things(empty, 100)
    mirror, schema = mirror_of(empty, cache), empty.names["things"]
    mirror.pull(schema)
    made.Thing().insert([(i, i, "x" * 20) for i in range(1000, 60_000)])
    query = empty.instance.connection.query
    own = empty.instance.connection.connection_id
    ours = (
        "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT%%_thing%%'"
        if empty.backend == "mysql"
        else "SELECT pid FROM pg_stat_activity WHERE query LIKE '%%hashtext%%'"
    )
    cut = "KILL {}" if empty.backend == "mysql" else "SELECT pg_terminate_backend({})"
    errors = []

    def pull():
        try:
            mirror.pull(schema)
        except OneCacheError as error:
            errors.append(error)

    puller = threading.Thread(target=pull)
    puller.start()
    killed = 0
    while puller.is_alive():
        for (found,) in query(ours).fetchall():
            if found != own:
                with contextlib.suppress(datajoint.errors.DataJointError):
                    query(cut.format(found))
                    killed += 1
        time.sleep(0.01)
    puller.join()
    if killed and errors:
        assert isinstance(errors[0], (TransferFailed, RemoteError))
        assert "Nothing was changed here" in str(errors[0])
        assert len(cache.schemas[schema].Thing) == 100
    mirror.pull(schema)
    assert len(cache.schemas[schema].Thing) == 59_100


def test_pulls_at_the_same_time_leave_one_whole_mirror(empty, cache):
    things(empty, 500)
    schema = empty.names["things"]
    errors = []

    def pull():
        try:
            mirror_of(empty, Cache(cache.cache_dir, silent=True)).pull(schema)
        except Exception as error:  # noqa: BLE001  # whatever it is, the test shows it
            errors.append(error)

    threads = [threading.Thread(target=pull) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    db = Cache(cache.cache_dir, silent=True).schemas[schema]
    assert (len(db.Thing), len(db.Note)) == (500, 50)


def test_all_tables_are_of_one_moment(empty, cache):
    empty.declare(
        "pairs",
        {
            "First": ("Manual", "n: int32\n---\n"),
            "Second": ("Manual", "-> First\n---\n"),
            "Third": ("Manual", "-> Second\n---\n"),
        },
    )
    mirror, schema = mirror_of(empty, cache), empty.names["pairs"]
    stop = threading.Event()
    other = instance(empty.backend)

    def write():
        tables = [
            other.FreeTable(getattr(empty.pairs, name).full_table_name)
            for name in ("First", "Second", "Third")
        ]
        n = 0
        while not stop.is_set():
            with other.connection.transaction:
                for table in tables:
                    table.insert1({"n": n})
            n += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            mirror.pull(schema)
            db = cache.schemas[schema]
            counts = {len(db[name]) for name in ("First", "Second", "Third")}
            assert len(counts) == 1
    finally:
        stop.set()
        writer.join()
    assert counts != {0}


# modes, records, bundles ----------------------------------------------------------------------


def test_what_is_mirrored_is_read_without_datajoint(page, cache):
    mirror_of(page, cache).pull(*page.names.values())
    code = f"""
import sys
sys.modules["datajoint"] = sys.modules["pymysql"] = sys.modules["psycopg2"] = None
from one_cache import Cache
cache = Cache({str(cache.cache_dir)!r})
db = cache.schemas[{page.names["miniscope"]!r}]
trace = (db.Activity.Trace & {{"mask_id": 1}} & 'extraction_method = "caiman_dff"')
print(trace.fetch1("activity_trace").shape, len(cache.schemas))
from one_cache.datajoint import Mirror
from one_cache.errors import DependencyMissing
try:
    Mirror(cache, host="x", user="a", password="b").pull("y")
except DependencyMissing as error:
    print("datajoint]" in str(error))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["(1200,) 4", "True"], done.stderr


def test_a_fixed_cache_serves_what_was_frozen(empty, cache):
    made = things(empty, 100)
    mirror, schema = mirror_of(empty, cache), empty.names["things"]
    mirror.pull(schema)
    cache.freeze(release="v1")
    fixed = Cache(cache.cache_dir, mode="fixed", silent=True)
    again = mirror_of(empty, fixed)
    assert set(again.pull(schema).state) == {"pinned"}
    with pytest.raises(NotMirrored):
        again.pull(f"{schema}_other")
    with pytest.raises(ModeError):
        again.status()
    assert len(fixed.schemas[schema].Thing) == 100
    [path] = Path(cache.cache_dir).glob("datajoint/*things/thing-*.pqt")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(HashMismatch, match=r"mirror of .*Thing.*pull\("):
        len(Cache(cache.cache_dir, mode="fixed", silent=True).schemas[schema].Thing)
    assert [one.path for one in cache.verify().problems] == [
        str(path.relative_to(cache.cache_dir))
    ]
    # the next pull sees that the file is wrong, and copies all of it
    made.Thing().insert1({"thing_id": 1000, "size": 1})
    assert mirror.pull(schema).set_index("table").fetched["Thing"] == 101
    cache.freeze()
    for gone in Path(cache.cache_dir).glob("datajoint/*things/thing-*.pqt"):
        gone.unlink()
    for mode in ("fixed", "local"):
        with pytest.raises(NotInCache, match=r"mirror of .*Thing.*pull\("):
            len(Cache(cache.cache_dir, mode=mode, silent=True).schemas[schema].Thing)
    mirror.pull(schema)
    assert len(cache.schemas[schema].Thing) == 101


def analysis(cache, schema):
    """An analysis of a pipeline, which knows nothing of servers."""
    db = cache.schemas[schema]
    ctrl = db.Trial & KEY & 'trial_type = "ctrl"'
    with_event = ctrl & (db.TrialEvent & "event_type = 'center'")
    return rows(with_event.proj("trial_start_time")), rows(
        ctrl.aggr(db.TrialEvent, n="count(event_type)")
    )


def test_an_analysis_reruns_when_the_server_is_changed_and_gone(empty, cache, tmp_path):
    from datajoint_pipeline import SCHEMAS
    from datajoint_pipeline import rows as page_rows

    for name in ("session", "event", "trial"):
        empty.declare(name, SCHEMAS[name])
        empty.insert(name, page_rows(empty.backend)[name])
    mirror, schema = mirror_of(empty, cache), empty.names["trial"]
    mirror.pull(*empty.names.values())
    cache.record_loaded = True
    expected = analysis(cache, schema)
    assert len(expected[0]) == 8
    assert {entry.kind for entry in cache.recorder} == {"mirror"}
    assert len(cache.recorder) == 2
    assert {entry.source for entry in cache.recorder} == {mirror.server}
    record = cache.save_record(tmp_path / "record.jsonl")
    cache.freeze(tmp_path / "frozen")
    cache.freeze(tmp_path / "frozen_record", record=record)
    assert cache.bundle(record, tmp_path / "bundle").ok
    assert cache.bundle(record, tmp_path / "bundle.zip").ok

    # the server changes, and the mirror follows it
    empty.instance.connection.query(f"DELETE FROM {empty.trial.TrialEvent.full_table_name}")
    (empty.trial.BlockTrial() & "trial_id > 20").delete_quick()
    (empty.trial.Trial.Attribute() & "trial_id > 20").delete_quick(
        parts_warn=False
    ) if False else (
        empty.instance.connection.query(
            f"DELETE FROM {empty.trial.Trial.Attribute.full_table_name}"
        )
    )
    (empty.trial.Trial() & "trial_id > 20").delete_quick()
    empty.instance.connection.query(
        f"ALTER TABLE {empty.trial.Trial.full_table_name} ADD COLUMN extra int"
    )
    mirror.pull(*empty.names.values())
    cache.recorder.on = False
    assert analysis(cache, schema)[0] != expected[0]
    # and then the server is gone
    empty.drop()
    empty.instance = instance(empty.backend)

    same = Cache(cache.cache_dir, tables_dir=tmp_path / "frozen", mode="fixed", silent=True)
    assert analysis(same, schema) == expected
    same = Cache(cache.cache_dir, tables_dir=tmp_path / "frozen_record", mode="fixed", silent=True)
    assert analysis(same, schema) == expected
    assert analysis(Cache(tmp_path / "bundle", mode="fixed", silent=True), schema) == expected
    for source in (tmp_path / "bundle", tmp_path / "bundle.zip"):
        there = Cache(tmp_path / f"there_{source.suffix}", silent=True)
        assert there.restore(source).ok
        assert analysis(there, schema) == expected
        with pytest.raises(NotMirrored, match="no table 'Block'"):
            there.schemas[schema]["Block"]
    # a record alone, from the folder where it was made
    there = Cache(tmp_path / "from_record", silent=True)
    assert there.restore(record, source=str(cache.cache_dir)).ok
    assert analysis(there, schema) == expected
    assert there.verify().ok


def test_a_mirror_on_a_shared_folder_is_read_from_there(page, cache, tmp_path):
    mirror_of(page, cache).pull(page.names["trial"])
    there = Cache(tmp_path / "there", remote=str(cache.cache_dir), silent=True)
    there.load_cache()
    db = there.schemas[page.names["trial"]]
    assert rows(db.Trial) == rows(cache.schemas[page.names["trial"]].Trial)
    here = [path.name.partition("-")[0] for path in (tmp_path / "there").rglob("*-*.pqt")]
    assert here == ["trial"]


def test_a_schema_of_another_server_takes_the_place_of_the_first(cache):
    pipelines = [Pipeline(backend) for backend in BACKENDS]
    try:
        for n_rows, made in zip((20, 30), pipelines, strict=True):
            made.mark = pipelines[0].mark
            things(made, n_rows)
            for _ in range(2):
                mirror = mirror_of(made, cache)
                mirror.pull(made.names["things"])
            assert set(mirror.status().state) == {"current"}
            assert len(cache.schemas[made.names["things"]].Thing) == n_rows
        assert mirror_of(pipelines[0], cache).status().empty
    finally:
        for made in pipelines:
            made.drop()


def test_a_relation_is_sent_to_another_process(page, cache):
    import pickle

    mirror_of(page, cache).pull(page.names["trial"])
    ctrl = cache.schemas[page.names["trial"]].Trial & {"trial_type": "ctrl"}
    assert rows(pickle.loads(pickle.dumps(ctrl))) == rows(ctrl)
    db = pickle.loads(pickle.dumps(cache.schemas))[page.names["trial"]]
    whole = pickle.loads(pickle.dumps(db.Trial))
    assert len(whole.Attribute) == 50
    with pytest.raises(TypeError, match="holds a password"):
        pickle.dumps(mirror_of(page, cache))


def test_a_file_says_what_it_holds(page, cache):
    mirror_of(page, cache).pull(page.names["trial"])
    [path] = Path(cache.cache_dir).glob("datajoint/*/trial-*.pqt")
    about = About.of_file(path)
    assert (about.class_name, about.tier) == ("Trial", "imported")
    assert About.from_json(about.to_json()) == about
    frame = pd.read_parquet(path)
    assert len(frame) == 50
    assert frame.trial_start_time.min() == 0.193
    assert json.loads(about.to_json())["schema"] == page.names["trial"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_example_runs_where_a_server_answers(backend, tmp_path):
    place = login(backend)
    environment = {
        **os.environ,
        "DJ_HOST": place.host,
        "DJ_PORT": str(place.port),
        "DJ_USER": place.user,
        "DJ_PASS": place.password,
        "DJ_BACKEND": backend,
    }
    script = Path(__file__).parents[1] / "examples" / "mirrored_pipeline.py"
    command = [sys.executable, str(script), "--cache-dir", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pulled again: unchanged" in done.stdout
    assert "(Total: 23)" in done.stdout
    assert "(5, 23, 201) (roi, trial, time)" in done.stdout
    assert "the same numbers: True" in done.stdout
