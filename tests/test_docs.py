"""The pages are true: each snippet runs, and prints what the page says it prints.

A page is read from above: its Python snippets share their names, its ``one-cache`` commands run in
the same folder, and a ``text`` block is what the snippet before it prints. What runs only with
other people's packages says so in its first line, and runs where they are installed.
"""

import contextlib
import io
import json
import os
import pkgutil
import re
import shlex
import shutil
import traceback
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest

import one_cache
from one_cache.cli import main
from one_cache.errors import OneCacheError

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
README = HERE.parent / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
THEIRS = re.compile(r"^(?:from|import) (one|neuprint|datajoint)\b", re.MULTILINE)
NOT_RUN = re.compile(r"# .*\(not run by the tests: .+\)")


# -- what a page needs -------------------------------------------------------------------------


def run(text, names):
    """Run Python; give what it prints, or the last line of its traceback."""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), warnings.catch_warnings():
            if THEIRS.search(text):
                warnings.simplefilter("ignore")
            exec(compile(text, "page", "exec"), names)
    except OneCacheError as error:
        return "".join(traceback.format_exception_only(error)).strip()
    return out.getvalue().strip()


class Stage:
    """Where the snippets of a page run: a folder with ``demo/lab``, names, other addresses.

    Attributes
    ----------
    names : dict
        What the snippets may use without defining it.
    instead : dict of str to str
        Text of a snippet, and what stands for it here: addresses that answer on this machine.
    """

    def __init__(self, names, instead=()):
        self.names = dict(names)
        self.instead = dict(instead)

    def python(self, text):
        """Run a snippet; give what it prints, or the last line of its traceback."""
        for there, here in self.instead.items():
            text = text.replace(there, here)
        return run(text, self.names)

    def as_shown(self, printed):
        """Give what was printed as a page shows it: folders and addresses are those of a user."""
        for there, here in self.instead.items():
            printed = printed.replace(here, there)
        return without_ends(printed.replace(os.getcwd(), "/home/me"))

    def sh(self, text):
        """Run the ``one-cache`` commands of a snippet; give what all of them say."""
        out = io.StringIO()
        for line in text.splitlines():
            name, *arguments = shlex.split(line, comments=True) or [""]
            if name != "one-cache" or arguments[0] in ("serve", "demo"):
                continue
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                main(arguments)
        return out.getvalue().strip()


def trials_stage(request, tmp_path):
    shutil.copytree(HERE / "data" / "antelop", tmp_path, dirs_exist_ok=True)
    led = [1, -1, 1, -1, 1, -1], [0.5, 0.6, 2.0, 2.1, 9.0, 9.1]
    port = [1, -1, 1, -1], [0.2, 1.5, 3.0, 10.0]
    import numpy as np

    session = {"led": tuple(map(np.array, led)), "port": tuple(map(np.array, port))}
    return Stage({"session": session})


def rig_stage(request, tmp_path):
    pytest.importorskip("pynwb", reason="the extra nwb is not installed")
    shutil.copytree(HERE / "data" / "antelop", tmp_path, dirs_exist_ok=True)
    (tmp_path / "session.nwb").symlink_to("session_fixed_rate.nwb")
    patch = request.getfixturevalue("monkeypatch")
    patch.setenv("ONE_CACHE_DIR", str(tmp_path / "behaviour"))
    patch.setenv("ONE_CACHE_ANALYSIS", str(tmp_path / "analysis"))
    session = {"experimenter": "alice", "experiment_id": 1, "session_id": 1}
    return Stage(
        {
            "masklist": json.loads((tmp_path / "masklist.json").read_text()),
            "session": session,
            "animals": [{"animal_id": 4, "animal_name": "mouse1"}],
            "restriction": session,
        }
    )


def alyx_stage(request, tmp_path):
    from alyx_double import AlyxDouble

    from one_cache import settings

    server = request.getfixturevalue("closing").enter_context(AlyxDouble())
    settings.save_credentials(server.data_url, settings.Credentials(*server.data_login))
    return Stage({"server": server.url})


def neuprint_stage(request, tmp_path):
    pytest.importorskip("neuprint", reason="neuprint-python is not installed")
    import neuprint
    from neuprint_double import NeuprintDouble

    server = request.getfixturevalue("closing").enter_context(NeuprintDouble())
    request.getfixturevalue("closing").callback(neuprint.clear_default_client)
    neuprint.clear_default_client()
    neuprint.Client.DATASETS_CACHE.clear()
    given = f'"{server.url}", "hemibrain:v1.2.1", "token", verify={server.certificate!r}'
    return Stage({}, {'"neuprint.janelia.org", "hemibrain:v1.2.1"': given})


def ecephys_stage(request, tmp_path):
    from allen_double import AllenDouble
    from allen_project import make_project

    server = request.getfixturevalue("closing").enter_context(AllenDouble(make_project()))
    manifest = "manifest="
    return Stage(
        {"server": server.host},
        {f"from_warehouse({manifest}": f'from_warehouse("http", "{server.host}", {manifest}'},
    )


def pipeline_stage(request, tmp_path):
    pytest.importorskip("datajoint", reason="datajoint is not installed")
    from datajoint_pipeline import PORTS, login, reference

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, made = vars(login("mysql")), reference("mysql")
    request.getfixturevalue("closing").callback(made.drop)
    options = ", ".join(f"{name}={value!r}" for name, value in {**found, "use_tls": False}.items())
    host, port = found["host"], found["port"]
    return Stage(
        {},
        {
            'host="db.lab.org", backend="mysql"': options,
            f"host='db.lab.org', port={PORTS['mysql']}": f"host={host!r}, port={port}",
            **{f"u24_{name}": full for name, full in made.names.items()},
        },
    )


def folder_stage(request, tmp_path):
    moto = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    request.getfixturevalue("closing").callback(server.stop)
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    patch = request.getfixturevalue("monkeypatch")
    patch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="my-lab")
    lab = tmp_path / "demo" / "lab"
    for path in (*lab.glob("*.pqt"), *lab.glob("northlab/Subjects/KS01/**/licks.times.npy")):
        name = path.relative_to(lab).as_posix()
        client.put_object(Bucket="my-lab", Key=f"data/{name}", Body=path.read_bytes())
    query = f"?endpoint_override={endpoint}"
    places = {f"s3://my-lab/{name}": f"s3://my-lab/{name}{query}" for name in ("data", "tables")}
    return Stage({}, places)


STAGES = {
    "folder.md": folder_stage,
    "alyx.md": alyx_stage,
    "trials.md": trials_stage,
    "rig.md": rig_stage,
    "neuprint.md": neuprint_stage,
    "ecephys.md": ecephys_stage,
    "moving-allen": ecephys_stage,
    "moving-neuprint": neuprint_stage,
    "datajoint.md": pipeline_stage,
    "moving-datajoint": pipeline_stage,
}


@pytest.fixture
def closing():
    """What a stage opens and the end of the test closes."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def stage(request, tmp_path, monkeypatch, lab, url):
    """Make the stage of a page, or of a part of it, in a folder of its own."""

    def make(name):
        if find_spec("matplotlib") is None:
            pytest.skip("the pages draw, and matplotlib is not installed")
        import matplotlib

        matplotlib.use("Agg")
        (tmp_path / "demo").mkdir()
        lab.rename(tmp_path / "demo" / "lab")
        monkeypatch.chdir(tmp_path)
        if name in STAGES:
            return STAGES[name](request, tmp_path)
        return Stage({"server": url}, {"https://data.lab.org": url})

    yield make
    if find_spec("matplotlib") is not None:
        from matplotlib import pyplot

        pyplot.close("all")


# -- the pages ---------------------------------------------------------------------------------


def play(stage, text, where):
    """Run the blocks of a text; give how many ran."""
    blocks = list(BLOCK.finditer(text))
    ran = 0
    for number, block in enumerate(blocks):
        language, code = block.groups()
        if language not in ("python", "sh") or NOT_RUN.match(code) or not can_run(code):
            continue
        printed = stage.python(code) if language == "python" else stage.sh(code)
        ran += 1
        follows = blocks[number + 1] if number + 1 < len(blocks) else None
        if follows and follows[1] == "text" and not text[block.end() : follows.start()].strip():
            assert stage.as_shown(printed) == without_ends(follows[2]), f"{where}, block {number}"
        else:
            assert "Error" not in printed.split("(")[0], printed
    return ran


def without_ends(text):
    """Leave out the white space at the ends of lines, which pages do not keep."""
    return re.sub(r" +$", "", text.strip(), flags=re.MULTILINE)


def can_run(code):
    """Whether the packages of others that a snippet imports are installed."""
    return all(find_spec(name) for name in THEIRS.findall(code))


def parts_of(page):
    """Give the parts of a page that stand on stages of their own."""
    text = page.read_text(encoding="utf-8")
    if page.name != "moving.md":
        return {page.name: text}
    found = re.split(r"^<!-- stage: (\S+) -->$", text, flags=re.MULTILINE)
    return {page.name: found[0], **dict(zip(found[1::2], found[2::2], strict=True))}


PARTS = {
    (page.relative_to(HERE.parent).as_posix(), name): text
    for page in PAGES
    for name, text in parts_of(page).items()
    if re.search(r"^```(python|sh)$", text, re.MULTILINE)
}


@pytest.mark.parametrize("part", PARTS, ids=lambda part: " ".join(dict.fromkeys(part)))
@pytest.mark.filterwarnings("ignore:.*inplace:DeprecationWarning", "ignore:MariaDB is not")
def test_snippets_run_and_print_what_the_page_says(part, stage, tmp_path):
    assert play(stage(part[1]), PARTS[part], part[0])
    assert os.getcwd() == str(tmp_path)


def test_no_snippet_is_of_a_language_that_is_not_run():
    for page in PAGES:
        languages = {language for language, _ in BLOCK.findall(page.read_text(encoding="utf-8"))}
        assert languages <= {"python", "sh", "text"}, page


def test_only_packages_that_cannot_be_installed_beside_ours_are_left_out():
    left = {
        (page.name, code.splitlines()[0])
        for page in PAGES
        for _, code in BLOCK.findall(page.read_text(encoding="utf-8"))
        if NOT_RUN.match(code)
    }
    assert left == {
        ("moving.md", "# AllenSDK (not run by the tests: it needs packages of years ago)"),
        ("moving.md", "# DataJoint (not run by the tests: it asks a server of yours)"),
    }


def test_the_first_lines_of_the_readme_are_two_commands():
    blocks = BLOCK.findall(README.read_text(encoding="utf-8"))
    commands = [text.strip() for language, text in blocks if language == "sh"]
    assert commands == [
        'pip install ".[plot]" && one-cache demo',
        'pip install ".[test]" && python -m pytest -q',
    ]


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:\s]+)[)#]", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_every_page_is_in_the_contents():
    contents = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        assert page.relative_to(DOCS).as_posix() in contents, page


# what users meet only through other things
INSIDE = {
    *("atomic", "cache", "catalogue", "cli", "demo", "depot", "hashes", "index", "journal"),
    *("locks", "progress", "query", "records", "responses", "snapshot"),
}


def test_the_reference_has_every_public_module():
    text = (DOCS / "reference.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^::: one_cache\.(\w+)", text, re.MULTILINE))
    modules = {one.name for one in pkgutil.iter_modules(one_cache.__path__)}
    assert modules - INSIDE <= named
    assert set(one_cache.__all__) <= named
