"""The pages are true: each Python snippet runs, and prints what the page says it prints."""

import contextlib
import io
import os
import re
import traceback
from pathlib import Path

import pytest

from one_cache.errors import OneCacheError

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [
    DOCS / name for name in ("index.md", *(f"howto/{n}.md" for n in ("server", "folder", "paper")))
]


def run(code, names):
    """Give what a snippet prints, or the last line of its traceback."""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(code, "page", "exec"), names)
    except OneCacheError as error:
        return "".join(traceback.format_exception_only(error)).strip()
    return out.getvalue().strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_snippets_print_what_the_page_says(page, lab, url, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="the pages draw")
    import matplotlib

    matplotlib.use("Agg")
    (tmp_path / "demo").mkdir()
    lab.rename(tmp_path / "demo" / "lab")
    monkeypatch.chdir(tmp_path)
    names = {"server": url}
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks
    for number, (language, text) in enumerate(blocks):
        if language != "python":
            continue
        printed = run(text, names)
        follows = blocks[number + 1] if number + 1 < len(blocks) else ("", "")
        if follows[0] == "text":
            assert printed == follows[1].strip(), f"{page.name}, snippet {number}"
        else:
            assert "Error" not in printed.split("(")[0], printed
    matplotlib.pyplot.close("all")
    assert os.getcwd() == str(tmp_path)


def test_the_first_lines_of_the_readme_are_two_commands():
    blocks = BLOCK.findall((DOCS.parent / "README.md").read_text(encoding="utf-8"))
    commands = [text.strip() for language, text in blocks if language == "sh"]
    assert commands == [
        'pip install ".[plot]" && one-cache demo',
        'pip install ".[test]" && python -m pytest -q',
    ]


def test_links_between_pages_lead_somewhere():
    for page in [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]:
        for target in re.findall(r"\]\(([^)#:\s]+)[)#]", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"
