"""ALFPath: a pathlib.Path with ALF parts."""

import copy
import datetime as dt
import os
import pickle
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import GeneratorType
from uuid import UUID, uuid1

import pytest

from one_cache.errors import ALFInvalid, InvalidArgument
from one_cache.spec import (
    ALFPath,
    PureALFPath,
    PurePosixALFPath,
    PureWindowsALFPath,
    ensure_alf_path,
)

SESSION = "/data/my-lab/Subjects/NYU-40/2021-04-12/001"
FILE = f"{SESSION}/alf/probe00/#v1.0#/_ibl_trials.stimOn_times_bpod.raw.npy"
ID = "f6ffe258-2706-425a-aaf5-919f70025835"
OTHER_ID = "0718304d-1111-4222-8333-444455556666"


# --- a pathlib path


@pytest.mark.parametrize("kind", [ALFPath, PureALFPath, PurePosixALFPath, PureWindowsALFPath])
def test_every_way_to_a_new_path_keeps_the_class(kind):
    path = kind(FILE)
    made = [
        path / "x",
        "x" / path,
        path.parent,
        path.parents[3],
        path.with_name("a.b.c"),
        path.with_suffix(".csv"),
        path.with_stem("a.b"),
        path.relative_to(path.parent),
        path.joinpath(Path("x")),
        copy.copy(path),
        copy.deepcopy(path),
        pickle.loads(pickle.dumps(path)),
        path.session_path(),
        path.relative_to_session(),
        path.relative_to_lab(),
        path.without_lab(),
        path.without_revision(),
        path.with_lab("x"),
        path.with_collection("x"),
        path.with_revision("x"),
        path.with_uuid(ID),
        path.with_padded_sequence(),
    ]
    assert {type(one) for one in made} == {type(path)}


def test_a_pickled_path_is_the_same_after_its_parts_were_read():
    path = ALFPath(FILE)
    assert path.alf_parts
    assert pickle.loads(pickle.dumps(path)) == path
    assert pickle.loads(pickle.dumps(path)).alf_parts == path.alf_parts


def test_an_alf_path_equals_the_path_of_pathlib():
    assert ALFPath(FILE) == Path(FILE)
    assert Path(FILE) == ALFPath(FILE)
    assert hash(ALFPath(FILE)) == hash(Path(FILE))
    assert {Path(FILE): 1}[ALFPath(FILE)] == 1
    assert ALFPath("a") < Path("b")
    assert PureWindowsALFPath("A/b") == PureWindowsPath("a\\B")


def test_an_alf_path_is_a_path_and_reads_as_its_text():
    path = ALFPath("alf", "spikes.times.npy")
    assert isinstance(path, Path)
    assert isinstance(path, PureALFPath)
    assert str(path) == f"{path}" == os.fspath(path) == os.path.join("alf", "spikes.times.npy")
    assert f"{path!s:>20}".endswith("npy")
    assert repr(path) == "ALFPath('alf/spikes.times.npy')"
    assert ALFPath() == Path()


def test_a_path_opens_lists_and_resolves_as_its_own_class(tmp_path):
    root = ALFPath(tmp_path)
    (root / "a.b.c").write_text("x")
    assert [type(found) for found in (*root.iterdir(), *root.glob("*"), *root.rglob("*"))] == [
        ALFPath
    ] * 3
    assert type((root / "a.b.c").resolve()) is type(root.absolute()) is ALFPath
    with (root / "a.b.c").open() as file:
        assert file.read() == "x"


def test_a_pure_path_is_of_this_system_and_cannot_touch_the_disk():
    path = PureALFPath(FILE)
    assert isinstance(path, PureWindowsALFPath if os.name == "nt" else PurePosixALFPath)
    assert not isinstance(path, Path)
    assert not hasattr(path, "exists")


def test_a_class_derived_from_an_alf_path_is_kept():
    class MyPath(ALFPath):
        pass

    assert type(MyPath(FILE).with_revision("x")) is MyPath


# --- parts


def test_the_parts_are_properties():
    path = ALFPath(FILE)
    assert (path.lab, path.subject, path.date, path.sequence) == path.session_parts
    assert path.session_parts == ("my-lab", "NYU-40", "2021-04-12", "001")
    assert (path.collection, path.revision) == ("alf/probe00", "v1.0")
    assert path.dataset_name_parts == ("ibl", "trials", "stimOn_times", "bpod", "raw", "npy")
    assert path.dataset_name_parts[:5] == (
        *(path.namespace, path.object, path.attribute),
        *(path.timescale, path.extra),
    )
    assert path.alf_parts == (
        *path.session_parts,
        *(path.collection, path.revision),
        *path.dataset_name_parts,
    )


def test_a_missing_part_is_an_empty_string_in_properties_and_none_in_dicts():
    path = ALFPath("notes.txt")
    assert path.alf_parts == ("",) * 12
    assert path.lab == path.collection == path.object == path.extra == ""
    assert set(path.parse_alf_path().values()) == {None}
    assert path.parse_alf_path(as_dict=False) == (None,) * 12
    assert path.parse_alf_name(as_dict=False) == (None,) * 6
    assert list(path.parse_alf_name()) == [
        *("namespace", "object", "attribute", "timescale", "extra", "extension")
    ]


def test_a_path_relative_to_its_session_has_a_name_but_no_folders():
    path = ALFPath(FILE).relative_to_session()
    assert path.as_posix() == "alf/probe00/#v1.0#/_ibl_trials.stimOn_times_bpod.raw.npy"
    assert (path.object, path.collection, path.subject) == ("trials", "", "")


def test_windows_paths_are_read_on_any_system():
    path = PureWindowsALFPath(r"D:\my data\lab\Subjects\NYU-40\2021-04-12\1\alf\#r#\a.b.c")
    assert path.alf_parts[:8] == ("lab", "NYU-40", "2021-04-12", "1", "alf", "r", "", "a")
    assert str(path.with_revision("q")).endswith(r"\1\alf\#q#\a.b.c")
    assert str(path.without_lab()) == r"D:\my data\NYU-40\2021-04-12\1\alf\#r#\a.b.c"
    assert str(path.with_collection(r"x\y")).endswith(r"\1\x\y\#r#\a.b.c")
    assert str(path.with_padded_sequence().session_path()).endswith(r"\2021-04-12\001")


# --- sessions and labs


@pytest.mark.parametrize(
    ("path", "session"),
    [
        (FILE, SESSION),
        (SESSION, SESSION),
        ("s/2020-01-01/1/a.b.c", "s/2020-01-01/1"),
        ("my mouse/2020-01-01/1/x", "my mouse/2020-01-01/1"),
        ("s/2020-01-01/0001/x", "s/2020-01-01/0001"),
        ("s/2020-01-01", None),
        ("s/2020-13-45/001", None),
        ("s/2020-01-01/²", None),
        ("001/x/2020-01-01", None),
        ("", None),
    ],
)
def test_the_session_path_ends_at_the_number_after_a_date(path, session):
    for kind in (ALFPath, PureALFPath):
        expected = None if session is None else kind(session)
        assert kind(path).session_path() == expected


def test_what_follows_the_session_needs_one():
    with pytest.raises(ALFInvalid, match="no session"):
        ALFPath("alf/a.b.c").relative_to_session()


def test_the_short_path_has_the_lab_where_there_is_one():
    path = ALFPath(FILE)
    assert path.session_path_short() == "NYU-40/2021-04-12/001"
    assert path.session_path_short(include_lab=True) == "my-lab/NYU-40/2021-04-12/001"
    assert path.without_lab().session_path_short(include_lab=True) == "NYU-40/2021-04-12/001"
    assert ALFPath("alf").session_path_short() is None


def test_the_lab_is_taken_off_as_a_whole_folder():
    assert ALFPath(SESSION).without_lab() == Path("/data/NYU-40/2021-04-12/001")
    assert ALFPath(SESSION).relative_to_lab() == Path("NYU-40/2021-04-12/001")
    assert ALFPath("/x/lab/Subjects/y").without_lab() == Path("/x/y")
    nested = ALFPath("/mnt/Subjects/lab/Subjects/s/2020-01-01/1")
    assert nested.without_lab() == Path("/mnt/Subjects/s/2020-01-01/1")
    plain = ALFPath("/data.org/Subjects/s")
    assert plain.without_lab() is plain
    with pytest.raises(ALFInvalid, match="lab/Subjects"):
        plain.relative_to_lab()


# --- changes to the session


def test_session_parts_are_changed_in_place():
    path = ALFPath(FILE)
    assert path.with_lab("x-y") == Path(FILE.replace("my-lab", "x-y"))
    assert path.with_subject("a.b-c") == Path(FILE.replace("NYU-40", "a.b-c"))
    assert path.with_sequence(7) == path.with_sequence(" 07 ") == Path(FILE.replace("001", "007"))
    changed = Path(FILE.replace("2021-04-12", "2020-02-29"))
    for date in ("2020-02-29", dt.date(2020, 2, 29), dt.datetime(2020, 2, 29, 12)):
        assert path.with_date(date) == changed


def test_a_lab_is_added_before_the_subject():
    path = ALFPath("/data/s/2020-01-01/1/alf")
    assert path.with_lab("lab") == Path("/data/lab/Subjects/s/2020-01-01/1/alf")
    with pytest.raises(ALFInvalid, match="no lab"):
        path.with_lab("lab", strict=True)


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("with_lab", ["", None, "a/b", "a b", "lab\n", "..", "a.b"]),
        ("with_subject", ["", None, "a/b", "#", "..", "."]),
        ("with_date", ["", None, "6/1/2020", "2020-13-45", "2020-02-30", "2020-1-1", 20200101]),
        ("with_sequence", ["", None, "x", 1000, -1, 1.5, "0001x"]),
        ("with_collection", ["#r#", "a b", "..", "a/../b", "/"]),
        ("with_revision", ["", None, "#r#", "a/b", "a b"]),
        ("with_object", ["", None, "a.b", "a/b", "a-b"]),
        ("with_namespace", ["a_b", "a.b", "_a_", "ß"]),
        ("with_attribute", ["", None, "a.b", "a-b", "a_b"]),
        ("with_timescale", ["a.b", "a-b", "a/b"]),
        ("with_extra", ["a/b", "a b", ["a", "#"]]),
        ("with_extension", ["", None, ".npy", "tar.gz", "n y", "npy\n"]),
        ("with_uuid", ["", "x", ID.upper(), ID.replace("-", ""), 5, None]),
    ],
)
def test_a_value_outside_the_grammar_is_refused(method, values):
    for value in values:
        with pytest.raises(ValueError, match=r"no|cannot"):
            getattr(ALFPath(FILE), method)(value)


@pytest.mark.parametrize(
    ("method", "value"),
    [("with_lab", "x"), ("with_subject", "x"), ("with_date", "2020-01-01"), ("with_sequence", 1)],
)
def test_a_path_without_a_session_cannot_change_it(method, value):
    for path in ("alf/a.b.c", "s/2020-01-01/0001", "bad name/2020-01-01/001"):
        with pytest.raises(ALFInvalid, match="no session"):
            getattr(ALFPath(path), method)(value)


def test_a_number_is_padded():
    assert ALFPath("s/2020-01-01/1/alf/x").with_padded_sequence() == Path("s/2020-01-01/001/alf/x")
    assert ALFPath(SESSION).with_padded_sequence() == Path(SESSION)
    windows = PureWindowsPath(r"F:\x\s\2023-01-01\1\foo\bar.baz")
    padded = PureALFPath.with_padded_sequence(windows)
    assert padded == PureWindowsPath(r"F:\x\s\2023-01-01\001\foo\bar.baz")
    assert type(ALFPath.with_padded_sequence("s/2020-01-01/1")) is ALFPath
    with pytest.raises(ALFInvalid, match="no session"):
        ALFPath("foo/bar").with_padded_sequence()


# --- changes to collection and revision


@pytest.mark.parametrize(
    ("tail", "collection", "revision", "without"),
    [
        ("", "/new", "/#q.1#", ""),
        ("/alf", "/new", "/alf/#q.1#", "/alf"),
        ("/alf/probe00", "/new", "/alf/probe00/#q.1#", "/alf/probe00"),
        ("/#v1.0.0#", "/new/#v1.0.0#", "/#q.1#", ""),
        ("/alf/probe00/#v1.0.0#", "/new/#v1.0.0#", "/alf/probe00/#q.1#", "/alf/probe00"),
        ("/a.b.c", "/new/a.b.c", "/#q.1#/a.b.c", "/a.b.c"),
        ("/alf/a.b.c", "/new/a.b.c", "/alf/#q.1#/a.b.c", "/alf/a.b.c"),
        ("/alf/#r#/a.b.c", "/new/#r#/a.b.c", "/alf/#q.1#/a.b.c", "/alf/a.b.c"),
    ],
)
def test_collection_and_revision_of_files_and_folders(tail, collection, revision, without):
    path = ALFPath(SESSION + tail)
    assert path.with_collection("/new/") == Path(SESSION + collection)
    assert path.with_collection("") == path.with_collection(None)
    assert path.with_collection("") == Path(SESSION + collection.replace("/new", ""))
    assert path.with_revision("q.1") == Path(SESSION + revision)
    assert path.without_revision() == Path(SESSION + without)


@pytest.mark.parametrize(
    "path",
    [
        "alf/a.b.c",
        "a.b.c",
        "s/2020-01-01/001/bad name/a.b.c",
        "s/2020-01-01/001/alf/#r#/deeper/a.b.c",
        "s/2020-01-01/001/#r#/alf",
        "s/2020-01-01/001/../x/a.b.c",
        "s/2020-01-01/001/#r#/notes.txt",
    ],
)
def test_no_folder_is_lost_where_a_path_cannot_be_read(path):
    for change in (
        lambda p: p.with_collection("x"),
        lambda p: p.with_revision("x"),
        lambda p: p.without_revision(),
    ):
        with pytest.raises(ALFInvalid):
            change(ALFPath(path))


def test_a_file_on_disk_that_is_no_dataset_is_no_folder(tmp_path):
    notes = ALFPath(tmp_path) / "s" / "2020-01-01" / "001" / "alf" / "notes.txt"
    assert notes.with_revision("x").name == "#x#"
    notes.parent.mkdir(parents=True)
    notes.touch()
    for change in (lambda p: p.with_revision("x"), lambda p: p.with_collection("x")):
        with pytest.raises(ALFInvalid):
            change(notes)


# --- changes to the name


@pytest.mark.parametrize(
    ("name", "method", "value", "expected"),
    [
        ("a.b.c", "with_object", "x", "x.b.c"),
        ("_n_a.b.c", "with_object", "x", "_n_x.b.c"),
        ("a.b.c", "with_namespace", "n", "_n_a.b.c"),
        ("_m_a.b.c", "with_namespace", "n", "_n_a.b.c"),
        ("_m_a.b.c", "with_namespace", "", "a.b.c"),
        ("_m_a.b.c", "with_namespace", None, "a.b.c"),
        ("a.b_t.c", "with_attribute", "x", "a.x_t.c"),
        ("a.b_times.c", "with_attribute", "x", "a.x.c"),
        ("a.b.c", "with_attribute", "x_times", "a.x_times.c"),
        ("a.b_times.c", "with_timescale", "t", "a.b_times_t.c"),
        ("a.b_times_t.c", "with_timescale", "", "a.b_times.c"),
        ("a.b_t.x.c", "with_timescale", "u_v", "a.b_u_v.x.c"),
        ("a.b.c", "with_extra", "x.y", "a.b.x.y.c"),
        ("a.b.x.c", "with_extra", ["y", "", "z"], "a.b.y.z.c"),
        ("a.b.x.c", "with_extra", "", "a.b.c"),
        ("a.b.x.c", "with_extra", None, "a.b.c"),
        ("a.b.x.c", "with_extension", "npy", "a.b.x.npy"),
        ("a.b.c", "with_uuid", ID, f"a.b.{ID}.c"),
        ("a.b.c", "with_uuid", UUID(ID), f"a.b.{ID}.c"),
        (f"a.b.x.{OTHER_ID}.c", "with_uuid", ID, f"a.b.x.{ID}.c"),
        (f"a.b.{OTHER_ID.upper()}.c", "with_uuid", ID, f"a.b.{ID}.c"),
        (f"a.b.{ID.replace('-', '')}.c", "with_uuid", ID, f"a.b.{ID.replace('-', '')}.{ID}.c"),
    ],
)
def test_one_part_of_a_name_is_changed(name, method, value, expected):
    assert getattr(ALFPath(SESSION, name), method)(value) == Path(SESSION, expected)


def test_an_object_that_would_be_read_as_a_namespace_is_refused():
    with pytest.raises(ALFInvalid, match="cannot be the object"):
        ALFPath("a.b.c").with_object("_ns_x")


def test_extra_parts_are_appended():
    path = ALFPath("a.b.x.c")
    assert path.with_extra("y", append=True).name == "a.b.x.y.c"
    assert path.with_extra(["y", "z"], append=True).name == "a.b.x.y.z.c"
    assert path.with_extra("", append=True).name == "a.b.x.c"
    assert ALFPath("a.b.c").with_extra("y", append=True).name == "a.b.y.c"


def test_a_uuid_is_put_in_and_taken_out():
    one = uuid1()
    for path in (ALFPath(FILE), ALFPath("a.b.c")):
        for uuid in (ID, str(one), one):
            assert path.with_uuid(uuid).without_uuid() == path
    assert ALFPath("alf").without_uuid() == Path("alf")
    assert ALFPath(f"a.b.{ID}.meta.c").without_uuid().name == f"a.b.{ID}.meta.c"


def test_another_uuid_is_kept_where_the_call_is_strict():
    path = ALFPath(f"a.b.{OTHER_ID}.c")
    assert path.with_uuid(OTHER_ID, strict=True) == path
    with pytest.raises(InvalidArgument, match="another UUID"):
        path.with_uuid(ID, strict=True)


@pytest.mark.parametrize(
    "method",
    [
        *("with_object", "with_namespace", "with_attribute", "with_timescale", "with_extra"),
        *("with_extension",),
    ],
)
def test_a_name_outside_the_grammar_has_no_part_to_change(method):
    with pytest.raises(ALFInvalid, match="not of the form"):
        getattr(ALFPath(SESSION, "notes.txt"), method)("x")
    with pytest.raises(ALFInvalid, match="not of the form"):
        ALFPath("notes.txt").with_uuid(ID)


# --- checks


def test_checks_take_strings_and_paths():
    for kind in (ALFPath, PureALFPath):
        for path in (SESSION, Path(SESSION), PurePosixPath(SESSION), kind(SESSION)):
            assert kind.is_session_path(path)
            assert kind.is_valid_alf(path)
        assert not kind.is_session_path(FILE)
        assert kind.is_valid_alf(FILE)
        assert not kind.is_valid_alf("foo.bar")
        assert not kind.is_valid_alf("abc-@/2020-01-01/001")


@pytest.mark.parametrize("tail", ["alf", "alf/probe00", "#v1.0.0#", "alf/probe00/#v1.0.0#", ""])
def test_folders_of_a_session_are_alf_paths(tail):
    assert PureALFPath(SESSION, tail).is_valid_alf()
    assert not PureALFPath(SESSION, tail).is_dataset()


def test_the_disk_tells_files_from_folders(tmp_path):
    session = ALFPath(tmp_path, "s", "2020-01-01", "001")
    folder, file = session / "a.b.c", session / "#r.1.2#"
    for path in (folder, file, session):
        assert path.is_valid_alf()
    assert folder.is_dataset()
    folder.mkdir(parents=True)
    file.touch()
    assert not folder.is_valid_alf()
    assert not folder.is_dataset()
    assert not file.is_valid_alf()
    assert not ALFPath.is_valid_alf(str(file))
    for path in (folder, file):
        assert PureALFPath(path).is_valid_alf()
        assert PureALFPath.is_valid_alf(path)
    assert session.is_session_path()
    (fake := session.with_name("002")).touch()
    assert not fake.is_session_path()
    assert PureALFPath(fake).is_session_path()


def test_datasets_are_listed_in_order_and_nothing_else(tmp_path):
    session = ALFPath(tmp_path, "s", "2020-01-01", "001")
    names = ("b.c.d", "a.b.c", "notes.txt", "x-y.z.npy", "alf/c.d.e", "alf/#r#/c.d.e")
    for name in names:
        (session / name).parent.mkdir(parents=True, exist_ok=True)
        (session / name).touch()
    (session / "f.g.h").mkdir()
    assert isinstance(session.iter_datasets(), GeneratorType)
    assert list(session.iter_datasets()) == [session / "a.b.c", session / "b.c.d"]
    found = list(session.iter_datasets(recursive=True))
    assert found == sorted(session / name for name in names if name not in names[2:4])
    assert {type(path) for path in found} == {ALFPath}


# --- ensure_alf_path


def test_a_path_becomes_the_alf_path_of_its_kind():
    assert type(ensure_alf_path("a")) is type(ensure_alf_path(Path("a"))) is ALFPath
    assert type(ensure_alf_path(PurePosixPath("a"))) is PurePosixALFPath
    assert type(ensure_alf_path(PureWindowsPath("a"))) is PureWindowsALFPath
    assert isinstance(ensure_alf_path(PurePath("a")), PureALFPath)
    for path in (ALFPath("a"), PureALFPath("a")):
        assert ensure_alf_path(path) is path
    assert ensure_alf_path(iter(["a", Path("b")])) == [Path("a"), Path("b")]
    for wrong in (20, None, [20], b"a"):
        with pytest.raises(TypeError):
            ensure_alf_path(wrong)
