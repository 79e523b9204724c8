"""ONE's page on recording data access, run as it stands but for import, address and ids."""

import os

import numpy as np
import pandas as pd
import pytest

from one_cache import ONE

FIRST, SECOND = "KS014/2024-02-07/001", "ZM-07/2024-03-12/001"


@pytest.fixture
def server(url):
    return url


def test_recording_of_loaded_datasets(server):
    one = ONE(base_url=server)
    one.record_loaded = True

    eid = FIRST
    dsets = one.load_object(eid, "trials")
    eid = SECOND
    dset = one.load_dataset(eid, "probes.description")
    assert len(dsets.intervals)
    assert dset

    dataset_uuids, filename = one.save_loaded_ids(clear_list=False)
    frame = pd.read_csv(filename)
    assert list(frame.columns) == ["dataset_uuid"]
    assert frame["dataset_uuid"].tolist() == [str(one) for one in dataset_uuids]
    assert filename.parent == one.cache_dir
    assert frame["dataset_uuid"].is_monotonic_increasing

    session_uuids, filename = one.save_loaded_ids(sessions_only=True)
    frame = pd.read_csv(filename)
    assert list(frame.columns) == ["session_uuid"]
    assert frame["session_uuid"].tolist() == [str(one) for one in session_uuids]
    assert set(session_uuids) == {one.to_eid(FIRST), one.to_eid(SECOND)}

    # the same arguments give the previous object, from anywhere
    assert ONE(base_url=server).record_loaded
    ONE(base_url=server).record_loaded = False
    one.load_dataset(eid, "licks.times")
    with pytest.warns(UserWarning, match="no datasets loaded"):
        one.save_loaded_ids()


def test_saving_the_access_tables(server):
    one = ONE(base_url=server)
    one = ONE()
    eids = one.search(subject="KS014")
    position = one.load_dataset(FIRST, "wheel.position")
    one.save_cache()

    one = ONE(mode="local")
    assert one.search(subject="KS014") == eids
    np.testing.assert_array_equal(one.load_dataset(FIRST, "wheel.position"), position)


def test_saved_tables_are_used_in_remote_mode_only_when_asked(server):
    one = ONE(base_url=server)
    one.list_datasets(FIRST)
    one.save_cache()
    ONE.cache_clear()
    one = ONE()
    assert len(one.search()) == 12
    ONE.cache_clear()
    assert len(ONE().search(query_type="local")) == 1
    one = ONE()
    one.reset_cache()
    assert len(one.search(query_type="local")) == 1


def test_saving_tables_to_a_different_location(server):
    one = ONE(base_url=server)
    eids = one.search(subject="ZM")
    one.load_object(SECOND, "wheel")
    one.save_cache(one.cache_dir / "my_analysis_tables", clobber=True)

    one = ONE(mode="local")
    one.load_cache(one.cache_dir / "my_analysis_tables")
    assert one.search(subject="ZM") == eids
    assert one.load_object(SECOND, "wheel").position.size
    tables_dir = one.cache_dir / "my_analysis_tables"
    assert ONE(mode="local", tables_dir=tables_dir).search(subject="ZM") == eids


def test_setting_a_revision_date(server, monkeypatch):
    ONE(base_url=server)
    monkeypatch.setenv("ONE_REVISION_LAST_BEFORE", "2024-04-01")
    assert os.environ["ONE_REVISION_LAST_BEFORE"] == "2024-04-01"
    one = ONE()
    eid, collection = FIRST, "alf/probe00/pykilosort"
    file = one.load_dataset(eid, "drift.times.npy", collection=collection, download_only=True)
    assert str(file.relative_to_session()) == os.path.join(
        *collection.split("/"), "drift.times.npy"
    )
    assert one.list_datasets(eid, filename="drift.times.npy", collection=collection) == [
        f"{collection}/drift.times.npy"
    ]

    monkeypatch.delenv("ONE_REVISION_LAST_BEFORE")
    one = ONE()
    assert one.list_datasets(eid, filename="drift.times.npy", collection=collection) == [
        f"{collection}/#2024-05-06#/drift.times.npy",
        f"{collection}/drift.times.npy",
    ]
    file = one.load_dataset(eid, "drift.times.npy", collection=collection, download_only=True)
    assert file.revision == "2024-05-06"
    options = {"collection": collection, "revision": "2024-04-01", "download_only": True}
    assert not one.load_dataset(eid, "drift.times.npy", **options).revision


def test_a_dataset_that_was_deleted_from_the_server_loads_while_its_file_is_here(lab, tmp_path):
    from one_cache.serve import DataServer
    from one_cache.tables import Tables

    with DataServer(lab) as server:
        one = ONE(base_url=server.url, cache_dir=tmp_path / "cache")
        position = one.load_dataset(FIRST, "wheel.position")
        one.save_cache()
        tables = Tables.open(lab)
        kept = [
            row for row in tables.datasets_of(str(one.to_eid(FIRST))) if "wheel" not in row.name
        ]
        fresh = Tables.open(None)
        fresh.add("sessions", tables.sessions([str(one.to_eid(FIRST))]))
        fresh.add("datasets", kept)
        fresh.save(lab, clobber=True)
        ONE.cache_clear()
        one = ONE(base_url=server.url, cache_dir=tmp_path / "cache")
        with pytest.raises(FileNotFoundError):
            one.load_dataset(FIRST, "wheel.position")
        again = one.load_dataset(FIRST, "wheel.position", query_type="local")
        np.testing.assert_array_equal(again, position)
