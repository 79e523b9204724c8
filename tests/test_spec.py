"""The grammar: parse, build, match, check."""

import contextlib
import subprocess
import sys
from pathlib import Path, PurePosixPath, PureWindowsPath
from uuid import UUID, uuid1, uuid4, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from one_cache import records, spec
from one_cache.errors import ALFInvalid, ALFPartMissing, UnknownPart

FULL = (
    "/data/my-lab/Subjects/NYU-40/2021-04-12/001/alf/probe00/#v1.0.0#/"
    "_ibl_trials.stimOn_times_bpod.raw.v12.npy"
)


# --- parse


def test_a_full_path_is_read_into_its_twelve_parts():
    assert spec.full_path_parts(FULL, as_dict=True) == {
        "lab": "my-lab",
        "subject": "NYU-40",
        "date": "2021-04-12",
        "number": "001",
        "collection": "alf/probe00",
        "revision": "v1.0.0",
        "namespace": "ibl",
        "object": "trials",
        "attribute": "stimOn_times",
        "timescale": "bpod",
        "extra": "raw.v12",
        "extension": "npy",
    }


def test_a_tuple_holds_the_values_of_the_dict_in_the_same_order():
    for parse in (spec.full_path_parts, spec.session_path_parts, spec.folder_parts):
        assert parse(FULL) == tuple(parse(FULL, as_dict=True).values())


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("spikes.times.npy", (None, "spikes", "times", None, None, "npy")),
        ("_ibl_trials.intervals_bpod.npy", ("ibl", "trials", "intervals", "bpod", None, "npy")),
        ("_ibl_trials.stimOn_times.npy", ("ibl", "trials", "stimOn_times", None, None, "npy")),
        ("t.go_intervals_a_b.csv", (None, "t", "go_intervals", "a_b", None, "csv")),
        ("t.stimOn_timesX.csv", (None, "t", "stimOn", "timesX", None, "csv")),
        ("a_b.c.d", (None, "a_b", "c", None, None, "d")),
        ("_ibl_a_b.c.d", ("ibl", "a_b", "c", None, None, "d")),
        ("_trials.x.npy", (None, "_trials", "x", None, None, "npy")),
        ("__ns_obj.x.npy", (None, "__ns_obj", "x", None, None, "npy")),
        ("_größe_x.y.z", (None, "_größe_x", "y", None, None, "z")),
        ("größe.y.z", (None, "größe", "y", None, None, "z")),
        ("channels._phy_ids.csv", (None, "channels", "_phy_ids", None, None, "csv")),
        ("_sglx_d_g0_t0.imec0.ap.cbin", ("sglx", "d_g0_t0", "imec0", None, "ap", "cbin")),
        ("a.b.x1.x-2.x_3.tar.gz", (None, "a", "b", None, "x1.x-2.x_3.tar", "gz")),
        (
            "a.b.f6ffe258-2706-425a-aaf5-919f70025835.npy",
            (None, "a", "b", None, "f6ffe258-2706-425a-aaf5-919f70025835", "npy"),
        ),
    ],
)
def test_a_name_is_read_into_its_parts(name, parts):
    assert spec.filename_parts(name) == parts
    assert spec.is_valid(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "notes.txt",
        "spike_train.npy",
        "spikes.times.",
        ".times.npy",
        "spikes..npy",
        "spi-kes.times.npy",
        "spikes.ti-mes.npy",
        "spikes.größe.npy",
        "spikes.times_.npy",
        "spikes.times.n-y",
        "spikes.times.npy\n",
        "spikes.times.npy ",
        "alf/spikes.times.npy",
        "spikes.ti mes.npy",
    ],
)
def test_a_name_outside_the_grammar_is_refused(name):
    assert not spec.is_valid(name)
    assert spec.filename_parts(name, assert_valid=False) == (None,) * 6
    with pytest.raises(ALFInvalid, match="not of the form"):
        spec.filename_parts(name)


def test_a_name_with_many_parts_is_refused_at_once():
    # the time would double with each dot if the pattern allowed two ways to split the name
    assert not spec.is_valid("a.b" + ".c" * 120 + "!")
    assert spec.filename_parts("a.b" + ".c" * 120 + ".d")[4] == ".".join("c" * 120)


@pytest.mark.parametrize("number", ["1", "01", "001", "999"])
def test_numbers_of_one_to_three_digits_are_read_as_they_are_written(number):
    assert spec.session_path_parts(f"s/2020-01-01/{number}")[3] == number


@pytest.mark.parametrize(
    "path",
    [
        "s/2020-01-01/0001",
        "s/2020-01-01/001_copy",
        "s/2020-01-01",
        "2020-01-01/001",
        "s/2020-1-1/001",
        "s/20200101/001",
        "s/2020-01-01x/001",
        "bad name/2020-01-01/001",
        "a#b/2020-01-01/001",
        "../2020-01-01/001",
        "s/٢٠٢٠-٠١-٠١/001",
        "s/2020-01-01/²",
        "",
        ".",
        "/",
    ],
)
def test_no_session_is_read_from_a_piece_of_a_folder(path):
    assert spec.session_path_parts(path, assert_valid=False) == (None,) * 4
    assert not spec.is_session_path(path)
    with pytest.raises(ALFInvalid, match="subject/date/number"):
        spec.session_path_parts(path)


def test_a_lab_is_a_whole_folder_before_subjects():
    assert spec.session_path_parts("/x/my-lab/Subjects/s/2020-01-01/1")[0] == "my-lab"
    assert spec.session_path_parts("/Subjects/s/2020-01-01/1")[0] is None
    assert spec.session_path_parts("/data.org/Subjects/s/2020-01-01/1")[0] is None


def test_a_session_is_found_anywhere_in_a_path():
    assert spec.session_path_parts("/my data/(old)/SW.1/2020-01-01/1/x y/z")[1] == "SW.1"


def test_strings_may_have_the_separators_of_windows():
    path = FULL.replace("/", "\\")
    assert spec.full_path_parts("D:" + path) == spec.full_path_parts(FULL)
    assert spec.session_path_parts(r"D:\data\NYU-40\2021-04-12\1")[1] == "NYU-40"
    assert spec.rel_path_parts(r"alf\probe00\spikes.times.npy")[0] == "alf/probe00"
    assert spec.folder_parts("s\\2020-01-01\\001\\alf\\#r#\\")[4:] == ("alf", "r")
    assert spec.is_session_path("D:\\s\\2020-01-01\\001\\")


def test_paths_have_the_separators_of_their_kind():
    path = FULL.replace("/", "\\")
    assert spec.full_path_parts(PureWindowsPath(path)) == spec.full_path_parts(FULL)
    assert not spec.is_session_path(PurePosixPath("s\\2020-01-01\\001"))


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("spikes.times.npy", (None, None)),
        ("alf/spikes.times.npy", ("alf", None)),
        ("#v1.0.0#/spikes.times.npy", (None, "v1.0.0")),
        ("alf/ks2.5/probe-00/#2024-05-06#/spikes.times.npy", ("alf/ks2.5/probe-00", "2024-05-06")),
        ("./alf//probe00/spikes.times.npy", ("alf/probe00", None)),
        ("мышь/spikes.times.npy", ("мышь", None)),
    ],
)
def test_a_relative_path_is_read(path, parts):
    expected = (*parts, None, "spikes", "times", None, None, "npy")
    assert spec.rel_path_parts(path) == spec.rel_path_parts(PurePosixPath(path)) == expected


@pytest.mark.parametrize(
    "path",
    [
        "../spikes.times.npy",
        "alf/../../spikes.times.npy",
        "/alf/spikes.times.npy",
        "alf/#r#/deeper/spikes.times.npy",
        "#a#/#b#/spikes.times.npy",
        "##/spikes.times.npy",
        "bad name/spikes.times.npy",
        "alf/notes.txt",
    ],
)
def test_a_relative_path_that_leaves_its_session_or_the_grammar_is_refused(path):
    assert spec.rel_path_parts(path, assert_valid=False) == (None,) * 8
    with pytest.raises(ALFInvalid):
        spec.rel_path_parts(path)


@pytest.mark.parametrize(
    ("folder", "parts"),
    [
        ("", (None, None)),
        ("alf", ("alf", None)),
        ("alf/probe00", ("alf/probe00", None)),
        ("#v1.0.0#", (None, "v1.0.0")),
        ("alf/probe00/#2024-05-06#", ("alf/probe00", "2024-05-06")),
        ("alf/#r#/spikes.times.npy", ("alf", "r")),
    ],
)
def test_a_folder_is_read_with_its_session(folder, parts):
    path = f"/data/lab/Subjects/s/2020-01-01/001/{folder}"
    assert spec.folder_parts(path) == ("lab", "s", "2020-01-01", "001", *parts)
    if not folder.endswith("npy"):
        assert spec.full_path_parts(path)[:6] == spec.folder_parts(path)


@pytest.mark.parametrize("folder", ["bad name", "alf/bad name", "alf#r#", "..", "alf/../x"])
def test_a_collection_is_read_whole_or_not_at_all(folder):
    path = f"s/2020-01-01/001/{folder}"
    for refused in (path, f"{path}/spikes.times.npy"):
        with pytest.raises(ALFInvalid):
            spec.full_path_parts(refused)
    parts = spec.full_path_parts(f"{path}/spikes.times.npy", assert_valid=False)
    assert parts[:8] == (None, "s", "2020-01-01", "001", None, None, None, "spikes")


@pytest.mark.parametrize("below", ["notes.txt", "deeper", "deeper/spikes.times.npy"])
def test_below_a_revision_its_folders_are_known_but_the_path_is_refused(below):
    path = f"s/2020-01-01/001/alf/#r#/{below}"
    assert spec.full_path_parts(path, assert_valid=False)[4:6] == ("alf", "r")
    with pytest.raises(ALFInvalid):
        spec.full_path_parts(path)


def test_a_name_alone_has_no_folders_and_folders_alone_need_a_session():
    assert spec.full_path_parts("spikes.times.npy") == (
        *(None,) * 6,
        *(None, "spikes", "times", None, None, "npy"),
    )
    for path in ("alf/spikes.times.npy", "alf/#r#", "alf", ""):
        with pytest.raises(ALFInvalid):
            spec.full_path_parts(path)


def test_what_is_no_path_is_a_type_error():
    with pytest.raises(TypeError):
        spec.session_path_parts(None)


# --- match


def test_parts_of_a_pattern_can_be_replaced():
    pattern = spec.regex(spec.FILE_SPEC, namespace="ibl", object="trials|wheel", extra=None)
    assert pattern.match("_ibl_wheel.position.npy")["object"] == "wheel"
    assert pattern.match("trials.intervals.npy")["namespace"] is None
    assert not pattern.match("_my_wheel.position.npy")
    assert not pattern.match("_ibl_wheelMoves.position.npy")


def test_a_pattern_keeps_braces_that_are_no_parts():
    assert spec.regex(r"{subject}/x{2,3}/\d{4}\Z").match("s-1/xx/2020")["subject"] == "s-1"


def test_a_pattern_of_unknown_parts_names_them():
    for call in (lambda: spec.regex(foo="x"), lambda: spec.regex("{foo}")):
        with pytest.raises(UnknownPart, match="'foo'.*there are: lab, subject") as caught:
            call()
        assert isinstance(caught.value, KeyError)


def test_the_pattern_of_a_full_path_finds_it_below_any_root():
    found = spec.regex().search(FULL)
    assert found.groupdict() == spec.full_path_parts(FULL, as_dict=True)
    assert found.start() == len("/data/")


# --- build


@pytest.mark.parametrize(
    ("parts", "options", "name"),
    [
        (("spikes", "times", "npy"), {}, "spikes.times.npy"),
        (("spikes", "times", ".npy"), {"namespace": "ibl"}, "_ibl_spikes.times.npy"),
        (("wheel moves", "peak_amplitude", "npy"), {}, "wheelMoves.peakAmplitude.npy"),
        (("trials", "stim On_times", "npy"), {}, "trials.stimOn_times.npy"),
        (("mpci ROIs", "x", "npy"), {}, "mpciROIs.x.npy"),
        (("a", "times", "npy"), {"timescale": "ephys clock"}, "a.times_ephysClock.npy"),
        (("a", "times", "npy"), {"timescale": ("x", "", "y z")}, "a.times_x_yZ.npy"),
        (("a", "b", "npy"), {"extra": "raw.v12"}, "a.b.raw.v12.npy"),
        (("a", "b", "npy"), {"extra": ("raw", "v12")}, "a.b.raw.v12.npy"),
        (("a", "b", "npy"), {"extra": (), "timescale": "", "namespace": ""}, "a.b.npy"),
    ],
)
def test_a_name_is_built_of_its_parts(parts, options, name):
    assert spec.to_alf(*parts, **options) == name
    assert spec.is_valid(name)


@pytest.mark.parametrize(
    ("parts", "options"),
    [
        (("a.b", "c", "npy"), {}),
        (("a", "b.c", "npy"), {}),
        (("a", "b", "tar.gz"), {}),
        (("a", "b", "npy"), {"namespace": "x.y"}),
        (("a", "b", "npy"), {"namespace": "_x_"}),
        (("a", "b", "npy"), {"namespace": "x-y"}),
        (("a", "b", "npy"), {"timescale": ("x", "y.z")}),
        (("_x_a", "b", "npy"), {}),
        (("a-b", "c", "npy"), {}),
        (("a", "b", "npy"), {"extra": "x/y"}),
        (("a", "../b", "npy"), {}),
    ],
)
def test_parts_that_make_no_name_are_refused(parts, options):
    with pytest.raises(ALFInvalid):
        spec.to_alf(*parts, **options)


@pytest.mark.parametrize(
    "parts", [("", "b", "c"), ("a", "", "c"), ("a", "b", ""), ("a", "b", None)]
)
def test_a_name_needs_object_attribute_and_extension(parts):
    with pytest.raises(ALFPartMissing) as caught:
        spec.to_alf(*parts)
    assert isinstance(caught.value, TypeError)


@given(st.from_regex(spec.regex(spec.FILE_SPEC), fullmatch=True))
def test_parsing_and_joining_a_name_gives_it_back(name):
    assert spec.join_name(spec.filename_parts(name, as_dict=True)) == name


@given(st.text(alphabet="_aB1.ß-t", max_size=14))
def test_reading_never_cuts_a_name(name):
    parts = spec.filename_parts(name, as_dict=True, assert_valid=False)
    assert parts["object"] is None or spec.join_name(parts) == name


@given(st.text(alphabet="/a.#-_20 \\é\n", max_size=30))
def test_any_text_is_read_or_refused_as_invalid(text):
    for parse in (spec.session_path_parts, spec.folder_parts, spec.full_path_parts):
        quiet = parse(text, assert_valid=False)
        with contextlib.suppress(ALFInvalid):
            assert parse(text) == quiet
    assert ".." not in (spec.rel_path_parts(text, assert_valid=False)[0] or "").split("/")


# --- words


def test_names_become_labels():
    assert spec.readableALF("blueChipTime") == "blue chip time"
    assert spec.readableALF("DAQData") == "DAQ data"
    assert spec.readableALF("FooBAR", capitalize=True) == "Foo BAR"
    assert spec.readableALF("", capitalize=True) == ""


def test_the_description_marks_the_part_and_wraps_it():
    lines = spec.describe("revision", width=40).splitlines()
    start = lines[1].index("^")
    assert lines[0][start : start + len("revision")] == "revision"
    assert lines[1].strip() == "^" * len("revision")
    assert "REVISION" in lines
    assert max(map(len, lines[3:])) <= 40


def test_every_part_is_described():
    text = spec.describe()
    for part in [*spec.regex().groupindex, "Subjects"]:
        assert f"\n{part.upper()}\n" in text
        assert part in spec.path_pattern()
    with pytest.raises(UnknownPart, match="there are: lab") as caught:
        spec.describe("dimension")
    assert isinstance(caught.value, ValueError)


# --- UUIDs and QC


def test_uuids_are_told_by_version_and_form():
    four, five = uuid4(), uuid5(UUID(int=0), "x")
    for value in (four, str(four), four.hex, four.bytes, four.int, f"{{{four}}}"):
        assert spec.is_uuid(value)
    for value in (None, "x", 12, -1, 2**128, b"short", five, str(uuid1()), True, [str(four)]):
        assert not spec.is_uuid(value)
    assert spec.is_uuid(five, versions=(5,))


def test_a_uuid_string_has_hyphens_and_small_letters():
    text = "f6ffe258-2706-425a-aaf5-919f70025835"
    assert spec.is_uuid_string(text)
    for value in (None, UUID(text), text.upper(), text.replace("-", ""), f"{text} ", str(uuid1())):
        assert not spec.is_uuid_string(value)


def test_qc_is_that_of_the_records():
    assert spec.QC is records.QC


# --- imports


def test_the_grammar_needs_the_standard_library_only():
    code = (
        "import sys, one_cache.spec\n"
        "heavy = {'numpy', 'pandas', 'pyarrow', 'duckdb', 'requests'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    root = Path(spec.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
