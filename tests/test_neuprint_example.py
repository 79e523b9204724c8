"""The example prints the tables of upstream's page of queries, in every mode the same."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("neuprint", reason="neuprint-python is not installed")

import neuprint
from neuprint_double import NeuprintDouble
from neuprint_fixtures import no_client_before  # noqa: F401
from test_docs import BLOCK, run

SCRIPT = Path(__file__).parents[1] / "examples" / "connectome.py"
# the page's tables whose rows the small dataset of the tests holds; those whose order of rows no
# query asks for are compared without the number of the row
IN_ORDER = ["custom", "simple_connections", "adjacencies"]
WITHOUT_NUMBERS = [
    "synapses",
    "synapse_connections",
    "mitochondria",
    "closest_mitochondria",
    "shortest_paths",
]


def printed(server, folder, mode):
    command = [sys.executable, "-W", "ignore", str(SCRIPT), server.url, "--mode", mode]
    command += ["--cache-dir", str(folder), "--verify", server.certificate]
    command += ["--token", "t"] if mode == "remote" else []
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert server.unknown == []
    *pages, last = re.split(r"^# ", done.stdout, flags=re.MULTILINE)[1:]
    return {name: text for name, _, text in (page.partition("\n") for page in pages)}, last


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """What is printed in each mode, with the server and after it has stopped."""
    folder = tmp_path_factory.mktemp("connectome")
    with NeuprintDouble() as server:
        found = {"remote": printed(server, folder, "remote")}
    found |= {mode: printed(server, folder, mode) for mode in ("local", "fixed")}
    return found


def help_of(name):
    elsewhere = {
        "closest_mitochondria": "synapses_and_closest_mitochondria",
        "shortest_paths": "paths",
    }
    return words(getattr(neuprint, f"fetch_{elsewhere.get(name, name)}").__doc__)


def words(text):
    return " ".join(text.split())


def rows(text, numbered=True):
    found = (re.match(r"\s*(\d+) +(.*)", line) for line in text.splitlines())
    return [words(one[0] if numbered else one[2]) for one in found if one]


def test_it_prints_the_same_in_every_mode(pages):
    assert pages["remote"][0] == pages["local"][0] == pages["fixed"][0]
    counts = {mode: re.match(r"\d+", last)[0] for mode, (_, last) in pages.items()}
    assert len(set(counts.values())) == 1
    assert "(mode fixed)" in pages["fixed"][1]


@pytest.mark.parametrize("name", IN_ORDER)
def test_it_prints_the_rows_of_the_page(pages, name):
    text, known = pages["remote"][0][name], help_of(name)
    assert len(rows(text)) > 0
    for row in rows(text):
        assert row in known


def test_it_prints_the_neurons_of_the_page(pages):
    # pandas 2 shows what is missing as None
    found = rows(pages["remote"][0]["neurons"].replace(" None", "  NaN"))
    known = help_of("neurons")
    assert [row for row in found[:5] if row not in known] == []


def test_it_prints_the_metadata_and_the_rois_of_the_page(pages):
    found = pages["remote"][0]
    keys = re.findall(r"'(\w+)'", found["metadata"])
    assert len(keys) == 20
    assert all(f"'{key}'" in neuprint.fetch_meta.__doc__ for key in keys)
    known = words(neuprint.fetch_roi_hierarchy.__doc__)
    assert words(found["roi_hierarchy"]) in known


@pytest.mark.parametrize("name", WITHOUT_NUMBERS)
def test_it_prints_rows_of_the_page(pages, name):
    found, known = rows(pages["remote"][0][name], numbered=False), help_of(name)
    there = [row for row in found if row.partition(" ")[2] in known]
    # the small dataset has two large mitochondria more than the page prints
    assert len(found) - len(there) == (2 if name == "mitochondria" else 0)
    assert len(there) >= 8


def test_the_snippets_of_the_page_print_what_it_says(tmp_path, monkeypatch):
    page = Path(__file__).parents[1] / "docs" / "neuprint.md"
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEUPRINT_APPLICATION_CREDENTIALS", "t")
    with NeuprintDouble() as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.certificate)
        names = {}
        for number, (language, text) in enumerate(blocks):
            if language == "python":
                printed = run(text.replace("neuprint.janelia.org", server.url), names)
                assert blocks[number + 1][0] == "text"
                assert printed == blocks[number + 1][1].strip(), f"snippet {number}"
        assert names["client"].mode == "local"
        assert server.unknown == []
