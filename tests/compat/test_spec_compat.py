"""The same calls through ONE-api's grammar and paths and through ours: the answers are compared.

What differs on purpose stands in ``DIFFERENCES`` with the reason; both sides of it are tested.
"""

import warnings
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from one_cache import spec as ours
from one_cache.errors import ALFInvalid, InvalidArgument

with warnings.catch_warnings():
    # what ONE-api's dependencies warn of when they are imported is not ours to judge
    warnings.simplefilter("ignore")
    theirs = pytest.importorskip("one.alf.path", reason="compares with ONE-api: not installed")
    their_spec = pytest.importorskip("one.alf.spec", reason="compares with ONE-api: not installed")
    their_errors = pytest.importorskip("one.alf.exceptions")

ID = "f6ffe258-2706-425a-aaf5-919f70025835"
OTHER_ID = "0718304d-1111-4222-8333-444455556666"

PROPERTIES = (
    *("lab", "subject", "date", "sequence", "collection", "revision"),
    *("namespace", "object", "attribute", "timescale", "extra"),
    *("session_parts", "dataset_name_parts", "alf_parts"),
)
METHODS = {
    "session_path": [()],
    "session_path_short": [(), (True,)],
    "without_lab": [()],
    "relative_to_lab": [()],
    "relative_to_session": [()],
    "parse_alf_path": [(), (False,)],
    "parse_alf_name": [(), (False,)],
    "is_dataset": [()],
    "is_session_path": [()],
    "is_valid_alf": [()],
    "with_lab": [("newlab",), ("newlab", True), ("",), ("#",)],
    "with_subject": [("sub-1.x",), ("",), ("#",)],
    "with_date": [("2021-02-03",), ("",), ("6/1/2020",)],
    "with_sequence": [(7,), ("012",), ("",), (None,), ("x",), (1000,)],
    "with_padded_sequence": [()],
    "with_collection": [("c1/c2",), ("/c1/",), ("#",), ("",)],
    "with_revision": [("r.1",), ("#r#",), ("",)],
    "without_revision": [()],
    "with_object": [("foo",)],
    "with_namespace": [("ns",), ("",), (None,)],
    "with_attribute": [("foo",), ("foo_times",)],
    "with_timescale": [("clk",), ("a_b",), ("",)],
    "with_extra": [("e1.e2",), (["e1", "e2"],), ("e", True), ("",)],
    "with_extension": [("xyz",), ("",), (".npy",)],
    "with_uuid": [(ID,), (UUID(OTHER_ID),), (ID, True), ("x",)],
    "without_uuid": [()],
}
PARSERS = ("session_path_parts", "folder_parts", "filename_parts", "full_path_parts")


def outcome(call, *args):
    """What a call gives, in a form that does not tell the two libraries apart."""
    try:
        value = call(*args)
    except Exception as error:  # noqa: BLE001  # which error it is, is the question
        return error
    if isinstance(value, PurePath):
        return ("path", isinstance(value, PureWindowsPath), value.as_posix())
    return ("dict", *value.items()) if isinstance(value, dict) else value


def agree(their, our):
    if isinstance(their, their_errors.ALFInvalid):
        return isinstance(our, ALFInvalid)
    if isinstance(their, Exception):
        return isinstance(our, type(their))
    return not isinstance(our, Exception) and our == their


def path_calls():
    for name in PROPERTIES:
        yield name, lambda path, name=name: getattr(path, name)
    for name, arguments in METHODS.items():
        for args in arguments:
            yield f"{name}{args}", lambda path, name=name, args=args: getattr(path, name)(*args)


def disagreements(text):
    """Every call on which the libraries differ for this path, with both answers."""
    for kind in ("PureALFPath", "ALFPath", "PureWindowsALFPath"):
        for name, call in path_calls():
            their = outcome(call, getattr(theirs, kind)(text))
            our = outcome(call, getattr(ours, kind)(text))
            if not agree(their, our):
                yield f"{kind}.{name}", their, our
    # a file is told from a folder relative to its session by nobody: only those are asked
    relative = ("rel_path_parts",) if not text.startswith(("/", "..")) else ()
    for name in (*PARSERS, *relative):
        for options in ((), (True,), (False, False), (True, False)):
            for path in (text, PurePosixPath(text)):
                their = outcome(getattr(theirs, name), path, *options)
                our = outcome(getattr(ours, name), path, *options)
                if not agree(their, our):
                    yield f"{name}{options}", their, our
    for name in ("is_valid", "is_session_path"):
        their, our = getattr(their_spec, name)(text), getattr(ours, name)(text)
        if their != our:
            yield name, their, our


# --- the same call, the same answer

SESSION = "lab/Subjects/NYU-40/2021-04-12/001"


@pytest.mark.parametrize(
    "path",
    [
        f"/mnt/s0/Data/{SESSION}",
        f"/my data/(old)/{SESSION}/alf/spikes.times.npy",
        f"{SESSION}/alf",
        f"{SESSION}/#2024-05-06#",
        f"{SESSION}/alf/probe00/pykilosort/#2024-05-06#",
        f"{SESSION}/alf/probe00/#v1.0.0#/_ibl_trials.intervals_bpod.npy",
        f"{SESSION}/alf/ks2.5/probe-00/spikes.times_ephysClock.raw.v12.npy",
        f"{SESSION}/_ibl_experiment.description.yaml",
        f"{SESSION}/raw_ephys_data/probe00/_spikeglx_ephysData_g0_t0.imec0.ap.cbin",
        f"{SESSION}/alf/spikes.times.{ID}.npy",
        f"{SESSION}/alf/spikes.times.raw.{OTHER_ID}.npy",
        f"{SESSION}/alf/a.b.{ID}.metadata.json",
        f"{SESSION}/alf/#r#/notes.txt",
        f"{SESSION}/#r#/alf",
        "NYU-40/2021-04-12/1/alf/channels._phy_ids.csv",
        "/NYU-40/2021-04-12/01",
        "мышь/2021-04-12/001/данные/тест.attr.npy",
        "SW.C_043/1999-12-31/999/2020-01-01/001/a.b.c",
        "a/2020-01-01/001/b/2021-01-01/002/alf/a.b.c",
        "Subjects/2020-01-01/001",
        "lab/Subjects/2020-01-01/001",
        "/x/lab/Subjects/y/notes.txt",
        "NYU-40/2021-04-12",
        "2021-04-12",
        "alf/#r#/a.b.c",
        "alf/probe00",
        "spikes.times.npy",
        "/spikes.times.npy",
        "spikes.größe.npy",
        "notes.txt",
        "abc-@/x/y",
        "~/x",
        "..",
        ".",
        "/",
        "C:/Data/lab/Subjects/s/2020-01-01/1/alf/a.b.c",
        # a piece of a folder is no part, whatever is made of it below
        "s/2020-01-01/a/001",
    ],
)
def test_both_give_the_same_answers(path):
    assert [found for found in disagreements(path) if not known(found[0], path)] == []


def test_windows_paths_give_the_same_answers():
    path = r"D:\my data\lab\Subjects\NYU-40\2021-04-12\1\alf\probe00\#r.1#\_ibl_trials.x_y.z.npy"
    for name, call in path_calls():
        their = outcome(call, theirs.PureWindowsALFPath(path))
        assert agree(their, outcome(call, ours.PureWindowsALFPath(path))), name


def known(call, path):
    """Whether a call is one of those that differ on purpose for many paths at once."""
    parts = ours.full_path_parts(path, as_dict=True, assert_valid=False)
    collection, attribute = parts["collection"] or "", parts["attribute"] or ""
    call = call.rpartition("ALFPath.")[2]
    if call == "session_path_short(True,)":
        return parts["lab"] is None
    if call.startswith(("with_attribute", "with_timescale")):
        return attribute.endswith(("_times", "_intervals")) and not parts["timescale"]
    if call.startswith(("is_valid_alf", "with_revision", "without_revision", "full_path_parts")):
        return "/" in collection and path.endswith(f"/{collection}")
    return False


def in_folders(*parts):
    return "/".join(part for part in parts if part)


word = st.from_regex(r"[a-zA-Z][a-zA-Z0-9]{0,5}", fullmatch=True)
folder = st.from_regex(r"[\w.-]{1,8}", fullmatch=True).filter(lambda text: text.strip("."))
collections = st.one_of(st.just(""), folder, st.builds(in_folders, folder, folder))
revisions = st.one_of(st.just(""), st.from_regex(r"#[\w-]{1,8}#", fullmatch=True))
sessions = st.builds(
    in_folders,
    st.one_of(st.just(""), st.from_regex(r"\w{1,8}/Subjects", fullmatch=True)),
    folder,
    st.dates().map(str),
    st.from_regex(r"[0-9]{1,3}", fullmatch=True),
)
clocks = st.sampled_from(["", "", "_bpod", "_ephysClock_min", "_clk2"])
names = st.builds(
    lambda namespace, obj, attribute, clock, extras, extension: ".".join(
        [namespace + obj, attribute + clock, *extras, extension]
    ),
    st.one_of(st.just(""), word.map(lambda text: f"_{text}_")),
    st.one_of(word, st.from_regex(r"[^\W_]\w{0,8}", fullmatch=True)),
    st.one_of(word, word.map(lambda text: f"{text}_times"), st.just("_phy_ids")),
    clocks,
    st.lists(st.one_of(word, st.just(OTHER_ID), st.just("v1-2")), max_size=3),
    word,
)
roots = st.sampled_from(["", "", "/", "/mnt/s0/My data (1)", "..", "~", "C:"])
valid_paths = st.one_of(
    names,
    st.builds(in_folders, collections, revisions, names),
    st.builds(in_folders, roots, sessions, collections, revisions),
    st.builds(in_folders, roots, sessions, collections, revisions, names),
)


@settings(max_examples=150, deadline=None)
@given(valid_paths)
@example("0/Subjects/0/2000-01-01/0")
def test_both_give_the_same_answers_for_any_valid_path(path):
    path = path.replace("//", "/")
    assert [found for found in disagreements(path) if not known(found[0], path)] == []


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="aB_1.-# ß", max_size=16))
def test_both_refuse_the_same_names(name):
    assert ours.is_valid(name) == their_spec.is_valid(name)


# --- the same call, another answer, and why

THEIRS = SimpleNamespace(**{**vars(their_spec), **vars(theirs)})
OURS = SimpleNamespace(**vars(ours))
S = "s/2020-01-01/001"

DIFFERENCES = [
    # a part is a whole folder: ONE-api takes the piece of it that fits
    (
        lambda lib: lib.session_path_parts(f"my-lab/Subjects/{S}"),
        ("lab", "s", "2020-01-01", "001"),
        ("my-lab", "s", "2020-01-01", "001"),
    ),
    (lambda lib: lib.ALFPath(f"/x/my-lab/Subjects/{S}").without_lab(), f"/x/my-/{S}", f"/x/{S}"),
    (
        lambda lib: lib.ALFPath(f"my-lab/Subjects/{S}").with_lab("new"),
        f"my-new/Subjects/{S}",
        f"new/Subjects/{S}",
    ),
    (lambda lib: lib.ALFPath("s/2020-01-01/0012").sequence, "001", ""),
    (lambda lib: lib.ALFPath("my mouse/2020-01-01/001").subject, "mouse", ""),
    (lambda lib: lib.is_session_path("my mouse/2020-01-01/001"), True, False),
    (
        lambda lib: lib.ALFPath("my mouse/2020-01-01/001").with_subject("x"),
        "my x/2020-01-01/001",
        ALFInvalid,
    ),
    # the lab is that of the session
    (
        lambda lib: lib.ALFPath(f"/x/Subjects/lab/Subjects/{S}").without_lab(),
        f"/lab/Subjects/{S}",
        f"/x/Subjects/{S}",
    ),
    # no lab, no slash
    (lambda lib: lib.ALFPath(S).session_path_short(include_lab=True), f"/{S}", S),
    # a namespace stands between underscores: ONE-api splits words where it finds one
    (lambda lib: lib.filename_parts("_trials.x.npy")[:2], ("trial", "s"), (None, "_trials")),
    (lambda lib: lib.filename_parts("_größe_a.x.npy")[:2], ("gr", "öße_a"), (None, "_größe_a")),
    (lambda lib: lib.filename_parts("__n_obj.x.npy")[:2], (None, "n_obj"), (None, "__n_obj")),
    (lambda lib: lib.filename_parts("_n_.x.npy")[:2], ("n", "_"), (None, "_n_")),
    # `stimOn_times` is one attribute where it is changed as where it is read
    (lambda lib: lib.ALFPath("a.on_times.npy").with_attribute("x"), "a.x_times.npy", "a.x.npy"),
    (
        lambda lib: lib.ALFPath("a.on_times.npy").with_timescale("t"),
        "a.on_t.npy",
        "a.on_times_t.npy",
    ),
    # a changed name is read back as it was meant, or refused
    (lambda lib: lib.ALFPath("a.b.npy").with_object("x.y"), "x.y.b.npy", ALFInvalid),
    (lambda lib: lib.ALFPath("a.b.npy").with_object(""), ".b.npy", ALFInvalid),
    (lambda lib: lib.ALFPath("a.b.npy").with_namespace("x_y"), "_x_y_a.b.npy", ALFInvalid),
    (lambda lib: lib.ALFPath("a.b.npy").with_attribute("x y"), "a.x y.npy", ALFInvalid),
    (lambda lib: lib.ALFPath("a.b.npy").with_extra("x y"), "a.b.x y.npy", ALFInvalid),
    (lambda lib: lib.ALFPath(S).with_date("2020-13-45"), "s/2020-13-45/001", ALFInvalid),
    (lambda lib: lib.ALFPath(f"l/Subjects/{S}").with_lab("x\n"), f"x\n/Subjects/{S}", ALFInvalid),
    (lambda lib: lib.ALFPath(S).with_subject(".."), "../2020-01-01/001", ALFInvalid),
    (lambda lib: lib.is_valid("a.b.npy\n"), True, False),
    # folders of a session
    (lambda lib: lib.PureALFPath(f"{S}/alf/probe00").is_valid_alf(), False, True),
    (
        lambda lib: lib.PureALFPath(f"{S}/alf/probe00").with_revision("r"),
        ALFInvalid,
        f"{S}/alf/probe00/#r#",
    ),
    (lambda lib: lib.PureALFPath(f"{S}/alf/#v1.0.0#").revision, "", "v1.0.0"),
    (lambda lib: lib.PureALFPath(f"{S}/alf/#v1.0.0#").is_valid_alf(), False, True),
    (lambda lib: lib.PureALFPath(f"{S}/alf/#v1.0.0#").without_revision(), ALFInvalid, f"{S}/alf"),
    # a collection is read whole or not at all, and nothing of a path is dropped
    (lambda lib: lib.ALFPath(f"{S}/alf/my probe/a.b.c").collection, "alf", ""),
    (lambda lib: lib.ALFPath(f"{S}/alf/my probe/a.b.c").is_valid_alf(), True, False),
    (
        lambda lib: lib.ALFPath(f"{S}/alf/my probe/a.b.c").without_revision(),
        f"{S}/alf/a.b.c",
        ALFInvalid,
    ),
    (lambda lib: lib.ALFPath(f"{S}/#r#/alf/a.b.c").without_revision(), f"{S}/a.b.c", ALFInvalid),
    (
        lambda lib: lib.ALFPath(f"{S}/my probe/a.b.c").with_collection("x"),
        f"{S}/x/my probe/a.b.c",
        ALFInvalid,
    ),
    (lambda lib: lib.PureALFPath(f"{S}/alf/a-b.c.d").with_collection("x"), f"{S}/x", ALFInvalid),
    (lambda lib: lib.folder_parts(f"{S}/#r#/alf/x")[4:], (None, "r"), ALFInvalid),
    # `..` is no folder, and a path relative to a session does not start at the root
    (lambda lib: lib.rel_path_parts("../../x/a.b.c")[0], "../../x", ALFInvalid),
    (lambda lib: lib.rel_path_parts("/etc/a.b.c")[0], "/etc", ALFInvalid),
    (lambda lib: lib.ALFPath(f"{S}/../x/a.b.c").is_valid_alf(), True, False),
    (lambda lib: lib.ALFPath(S).with_collection("../x"), f"{S}/../x", ALFInvalid),
    (lambda lib: lib.ALFPath("x/../2020-01-01/001").subject, "..", ""),
    (lambda lib: lib.rel_path_parts("./alf//a.b.c")[0], "./alf/", "alf"),
    # a number follows its date, in digits of ASCII
    (lambda lib: lib.ALFPath("001/x/2020-01-01").session_path(), "001", None),
    (lambda lib: lib.ALFPath("s/2020-01-01/²").session_path(), "s/2020-01-01/²", None),
    (lambda lib: lib.ALFPath("s/٢٠٢٠-٠١-٠١/001").subject, "s", ""),
    # strings with the separators of Windows, and Windows paths elsewhere
    (lambda lib: lib.session_path_parts(r"D:\s\2020-01-01\1", False, False)[1], None, "s"),
    (lambda lib: lib.rel_path_parts(r"alf\a.b.c", False, False)[0], None, "alf"),
    (lambda lib: lib.is_session_path(r"D:\s\2020-01-01\1"), False, True),
    (lambda lib: lib.PureWindowsALFPath(S).with_collection(r"x\y"), ValueError, f"{S}/x/y"),
    # a UUID is one with hyphens, among the extra parts, of any version: a hash is none
    (
        lambda lib: lib.ALFPath(f"a.b.{UUID(ID).hex}.npy").with_uuid(OTHER_ID),
        f"a.b.{OTHER_ID}.npy",
        f"a.b.{UUID(ID).hex}.{OTHER_ID}.npy",
    ),
    (
        lambda lib: lib.ALFPath(f"a.{UUID(ID).hex}.npy").with_uuid(OTHER_ID),
        f"a.{OTHER_ID}.npy",
        f"a.{UUID(ID).hex}.{OTHER_ID}.npy",
    ),
    (
        lambda lib: lib.ALFPath(f"a.b.{ID.upper()}.npy").without_uuid(),
        f"a.b.{ID.upper()}.npy",
        "a.b.npy",
    ),
    (
        lambda lib: lib.ALFPath("a.b.c").with_uuid(str(UUID(int=1))),
        ValueError,
        f"a.b.{UUID(int=1)}.c",
    ),
    (
        lambda lib: lib.ALFPath(f"a.b.{UUID(int=1)}.c").without_uuid(),
        f"a.b.{UUID(int=1)}.c",
        "a.b.c",
    ),
    (lambda lib: lib.ALFPath("a.b.c").with_uuid(5), "a.b.5.c", InvalidArgument),
    (lambda lib: lib.is_uuid(True), TypeError, False),
    # checks that are said to take strings do
    (lambda lib: lib.ALFPath.is_session_path(S), AttributeError, True),
    # names that are built are valid, or refused
    (lambda lib: lib.to_alf("a", "b", "c", timescale=("x", "y.z")), "a.b_x_y.z.c", ALFInvalid),
    (lambda lib: lib.to_alf("a-b", "c", "npy"), "a-b.c.npy", ALFInvalid),
    (lambda lib: lib.to_alf("a", "", "npy"), "a..npy", ALFInvalid),
    (lambda lib: lib.to_alf("", "b", "npy"), IndexError, ALFInvalid),
    (lambda lib: lib.readableALF("FooBar"), " foo bar", "foo bar"),
    # a pattern may have braces of its own
    (lambda lib: lib.regex(r"{subject}/\d{4}").groups, (IndexError, KeyError), 1),
]


@pytest.mark.parametrize(("call", "their", "our"), DIFFERENCES)
def test_what_differs_differs_as_it_is_said(call, their, our):
    their = their_errors.ALFInvalid if their is ALFInvalid else their
    for lib, expected in ((THEIRS, their), (OURS, our)):
        found = outcome(call, lib)
        if isinstance(found, Exception):
            assert isinstance(found, expected)
        else:
            assert (
                found[2] if isinstance(found, tuple) and found[0] == "path" else found
            ) == expected


def test_only_datasets_are_listed(tmp_path):
    for name in ("a.b.c", "x-y.z.npy"):
        (tmp_path / name).touch()
    names = [path.name for path in ours.ALFPath(tmp_path).iter_datasets()]
    assert names == ["a.b.c"]
    assert {path.name for path in theirs.ALFPath(tmp_path).iter_datasets()} == {
        "a.b.c",
        "x-y.z.npy",
    }
