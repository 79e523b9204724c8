import json

import pytest

from one_cache.errors import ManifestError, ManifestMismatch, ManifestMissing
from one_cache.manifest import Manifest, TablePin


def test_a_manifest_comes_back_as_it_was_written(tmp_path):
    manifest = Manifest(
        tables={"datasets": TablePin("datasets.pqt", "ab" * 32, 12)},
        remotes=("http://127.0.0.1:1",),
        release="2026-Q1",
        revision_last_before="2024-04-01",
        created="2026-11-20T10:00:00+00:00",
    )
    assert manifest.write(tmp_path) == tmp_path / "manifest.json"
    assert Manifest.read(tmp_path) == manifest
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_missing_manifest_says_how_to_make_one(tmp_path):
    with pytest.raises(ManifestMissing, match=r"freeze\(\)"):
        Manifest.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        Manifest.read(tmp_path)


def test_another_layout_is_refused_with_both_versions(tmp_path):
    (tmp_path / "manifest.json").write_text('{"layout": 9, "tables": {}}')
    with pytest.raises(ManifestMismatch, match=r"layout version 9.*reads 1"):
        Manifest.read(tmp_path)


def test_another_release_is_refused_with_both_names():
    with pytest.raises(ManifestMismatch, match="release '2025'.*version='2026'"):
        Manifest(release="2025").require_release("2026")
    Manifest(release="2025").require_release(None)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"tables": {}}', '{"layout": 1}', '{"layout": 1, "tables": {"a": 1}}']
)
def test_what_is_no_manifest_is_named(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ManifestError, match="manifest"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("name", ["../x.pqt", "/etc/x.pqt", "a/b.pqt", "..", ""])
def test_a_manifest_names_no_file_elsewhere(tmp_path, name):
    pin = {"file": name, "sha256": "", "rows": 0}
    (tmp_path / "manifest.json").write_text(json.dumps({"layout": 1, "tables": {"a": pin}}))
    with pytest.raises(ManifestError, match="elsewhere"):
        Manifest.read(tmp_path)
