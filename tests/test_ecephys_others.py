"""Tables and files that AllenSDK, a browser or an accident left in the folder."""

import os

import pandas as pd
import pytest
from allen_fixtures import (  # noqa: F401
    SESSION,
    SESSION_FILE,
    TABLES,
    allen_project,
    allen_server,
    as_allensdk_left_it,
    damage,
    dead,
    filled_folder,
    filled_once,
    opened,
)

from one_cache.ecephys import read_csv, write_csv
from one_cache.errors import (
    ContentError,
    HashMismatch,
    StoreError,
    TransferFailed,
)

# -- tables of others -------------------------------------------------------------------------


def test_tables_of_allensdk_are_parsed_once(filled, allen):
    as_allensdk_left_it(filled)
    asked = len(allen.asked)
    first = opened(allen, filled)
    table = first.get_session_table()
    assert len(allen.asked) == asked + 4  # each asks how many rows there are
    assert sorted(path.stem for path in (filled / "one_cache").glob("*.pqt")) == sorted(
        f"ecephys_{name}" for name in (*TABLES, "session_table")
    )
    for name in TABLES:
        os.chmod(filled / f"{name}.csv", 0)
    again = opened(allen, filled)
    pd.testing.assert_frame_equal(again.get_session_table(), table)
    assert len(allen.asked) == asked + 4


@pytest.mark.parametrize(
    ("name", "how"),
    [(name, "row") for name in TABLES]
    + [("units", how) for how in ("line", "empty", "html", "foreign")],
)
def test_a_partial_or_foreign_table_is_noticed_and_fetched_anew(filled, allen, name, how):
    as_allensdk_left_it(filled)
    path = filled / f"{name}.csv"
    good = path.read_bytes()
    lines = good.splitlines(keepends=True)
    path.write_bytes(
        {
            "line": good[: len(good) // 2],
            "row": b"".join(lines[:-1]),
            "empty": b"",
            "html": b"<html>\n<p>error</p>\n</html>\n",
            "foreign": b"id,weight\n1,2\n",
        }[how]
    )
    bad = path.read_bytes()
    if how != "row":
        with pytest.raises(ContentError, match=f"{name}.csv"):
            dead(filled, mode="local").get_session_table()
        assert path.read_bytes() == bad
        with pytest.raises(TransferFailed):
            dead(filled).get_session_table()
    else:
        dead(filled).get_session_table()
    assert path.read_bytes() == bad
    table = opened(allen, filled).get_session_table()
    assert table.unit_count.sum() == 20
    assert path.read_bytes() == good


def test_a_table_whose_rows_could_not_be_counted_is_counted_later(filled, allen, caplog):
    as_allensdk_left_it(filled)
    path = filled / "units.csv"
    good = path.read_bytes()
    path.write_bytes(b"".join(good.splitlines(keepends=True)[:-2]))
    assert len(dead(filled).get_session_table()) == 3
    assert "could not be asked" in caplog.text
    assert caplog.text.count("could not be asked") == 1
    before = len(allen.asked)
    assert opened(allen, filled).get_session_table().unit_count.sum() == 20
    assert path.read_bytes() == good
    asked = len(allen.asked)
    assert asked == before + 5
    opened(allen, filled).get_session_table()
    assert len(allen.asked) == asked


def test_rows_that_belong_to_none_are_told_of(filled, caplog):
    as_allensdk_left_it(filled)
    path = filled / "probes.csv"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    assert dead(filled, mode="local").get_session_table().probe_count.sum() == 4
    assert "20 of 60 channels" in caplog.text


def test_a_table_that_changed_is_fetched_again_or_refused(filled, allen):
    cache = opened(allen, filled)
    before = cache.get_units()
    path = filled / "units.csv"
    text = path.read_text()
    path.write_text(text.replace("good", "bad "))
    with pytest.raises(HashMismatch, match="not the file of 72 rows"):
        dead(filled, mode="local").get_units()
    with pytest.raises(TransferFailed):
        dead(filled).get_units()
    assert path.read_text() != text
    # an open cache notices, too
    pd.testing.assert_frame_equal(cache.get_units(), before)
    assert path.read_text() == text
    path.unlink()
    pd.testing.assert_frame_equal(dead(filled, mode="local").get_units(), before)
    pd.testing.assert_frame_equal(opened(allen, filled).get_units(), before)
    assert path.read_text() == text


# -- files of others --------------------------------------------------------------------------


def test_a_file_from_a_browser_is_taken_as_it_is_and_known_from_then_on(project, allen, tmp_path):
    content = project.contents[project.file_of("EcephysNwb", SESSION)]
    path = tmp_path / SESSION_FILE
    path.parent.mkdir()
    path.write_bytes(content)
    cache = opened(allen, tmp_path)
    cache.get_session_data(SESSION).close()
    assert not allen.counts()["file"]
    (row,) = cache.one.tables.rows("SELECT path, size FROM ecephys_files")
    assert row == {"path": SESSION_FILE, "size": len(content)}
    damage(path)
    with pytest.raises(HashMismatch):
        dead(tmp_path, mode="local").get_session_data(SESSION)
    opened(allen, tmp_path).get_session_data(SESSION)
    assert path.read_bytes() == content


@pytest.mark.parametrize("how", ["cut", "html"])
def test_half_a_file_is_fetched_anew_and_kept_when_that_fails(filled, allen, how):
    as_allensdk_left_it(filled)
    path = filled / SESSION_FILE
    good = path.read_bytes()
    damage(path, how)
    bad = path.read_bytes()
    with pytest.raises(ContentError, match=SESSION_FILE):
        dead(filled, mode="local").get_session_data(SESSION)
    with pytest.raises(TransferFailed):
        dead(filled).get_session_data(SESSION)
    assert path.read_bytes() == bad
    opened(allen, filled).get_session_data(SESSION)
    assert path.read_bytes() == good


def test_a_folder_where_a_file_should_be_is_named(allen, tmp_path):
    (tmp_path / SESSION_FILE).mkdir(parents=True)
    with pytest.raises(StoreError, match="move it away"):
        opened(allen, tmp_path).get_session_data(SESSION)
    assert (tmp_path / SESSION_FILE).is_dir()


def test_a_good_file_survives_every_failure(filled, allen):
    content = (filled / SESSION_FILE).read_bytes()
    damage(filled / "units.csv", "cut")
    for cache in (dead(filled), dead(filled, mode="local")):
        with pytest.raises((TransferFailed, HashMismatch)):
            cache.get_session_data(SESSION).num_units  # noqa: B018
    assert (filled / SESSION_FILE).read_bytes() == content


def test_the_session_table_is_kept_and_made_anew_when_a_table_changes(filled):
    kept = filled / "one_cache" / "ecephys_session_table.pqt"
    before = dead(filled).get_session_table(suppress=[])
    made = kept.stat().st_mtime_ns
    pd.testing.assert_frame_equal(dead(filled).get_session_table(suppress=[]), before)
    assert kept.stat().st_mtime_ns == made

    left = kept.read_bytes()
    as_allensdk_left_it(filled)
    units = read_csv(filled / "units.csv")
    write_csv(filled / "units.csv", units.iloc[: len(units) // 3])
    kept.parent.mkdir()
    kept.write_bytes(left)
    after = dead(filled).get_session_table(suppress=[])
    assert 0 < after["unit_count"].sum() < before["unit_count"].sum()
    assert after["channel_count"].tolist() == before["channel_count"].tolist()
    pd.testing.assert_frame_equal(dead(filled).get_session_table(suppress=[]), after)
