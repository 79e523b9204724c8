import datetime as dt
from pathlib import Path
from uuid import UUID

import pandas as pd
import pytest

from one_cache import Cache
from one_cache.cache.naming import read_session_name
from one_cache.errors import ALFObjectNotFound, InvalidArgument, ModeError, SessionNotFound
from one_cache.spec import ALFPath

PLACE = "KS014/2024-02-07/001"


@pytest.fixture
def cache(lab):
    return Cache(lab, silent=True)


@pytest.fixture
def eid(sample):
    return UUID(sample.eid(PLACE))


@pytest.mark.parametrize(
    "name",
    [
        PLACE,
        "KS014/2024-02-07/1",
        f"northlab/Subjects/{PLACE}",
        f"/data/northlab/Subjects/{PLACE}/alf/probe00/spikes.times.npy",
        f"http://data.org/northlab/Subjects/{PLACE}/alf/x.y.npy",
        f"C:\\data\\northlab\\Subjects\\{PLACE}".replace("/", "\\"),
        Path("/somewhere", PLACE),
        ALFPath(f"northlab/Subjects/{PLACE}"),
        "2024-02-07_1_KS014",
        "2024-02-07_001_KS014",
        {"subject": "KS014", "date": "2024-02-07", "sequence": "001"},
        {"subject": "KS014", "date": dt.date(2024, 2, 7), "number": 1, "lab": "northlab"},
        {"subject": "KS014", "start_time": "2024-02-07T11:23:45.1", "number": 1},
    ],
    ids=str,
)
def test_a_session_is_named_in_many_ways(cache, eid, name):
    assert cache.to_eid(name) == eid
    assert len(cache.list_datasets(name)) == 28


def test_an_id_is_a_name_in_every_form(cache, eid):
    forms = [eid, str(eid), str(eid).upper(), f"http://alyx.org/sessions/{eid}", {"id": str(eid)}]
    assert cache.to_eid(forms) == [eid] * len(forms)
    assert cache.to_eid(cache.get_details(eid)) == eid
    assert cache.to_eid(None) is None
    unknown = UUID(int=7)
    assert cache.to_eid(unknown) == unknown


@pytest.mark.parametrize("name", ["garbage", "", 7, 1.5, {"subject": "KS014"}, b"x", "2024-02-07"])
def test_what_names_no_session_is_refused(cache, name):
    with pytest.raises(InvalidArgument, match="name"):
        cache.to_eid(name)


def test_names_turn_into_one_another(cache, eid, lab):
    path = lab / "northlab/Subjects" / PLACE
    ref = {"subject": "KS014", "date": dt.date(2024, 2, 7), "sequence": 1}
    assert cache.eid2path(eid) == path
    assert isinstance(cache.eid2path(eid), ALFPath)
    assert cache.eid2path([eid, str(eid)]) == [path, path]
    assert cache.path2eid(path) == eid
    assert cache.path2eid(str(path / "alf" / "x.y.npy")) == eid
    assert cache.eid2ref(eid) == ref
    assert cache.eid2ref(eid, as_dict=False) == "2024-02-07_1_KS014"
    assert cache.eid2ref(eid, as_dict=False, parse=False) == "2024-02-07_001_KS014"
    assert cache.eid2ref(eid, parse=False).sequence == "001"
    assert cache.ref2eid("2024-02-07_1_KS014") == eid
    assert cache.ref2eid([ref, ref]) == [eid, eid]
    assert cache.ref2path(ref) == path
    assert cache.path2ref(path) == ref
    assert cache.path2ref(path, as_dict=False) == "2024-02-07_001_KS014"
    assert cache.path2ref("/nowhere") is None


@pytest.mark.parametrize("call", ["eid2path", "eid2ref", "get_details", "list_datasets"])
def test_an_unknown_id_is_one_kind_of_error(cache, call):
    with pytest.raises(SessionNotFound, match="is not known to the tables in"):
        getattr(cache, call)("00000000-0000-4000-8000-000000000000")


@pytest.mark.parametrize("call", ["path2eid", "ref2eid", "ref2path"])
def test_an_unknown_place_is_one_kind_of_error(cache, call):
    name = "2001-01-01_1_KS014" if call.startswith("ref") else "KS014/2001-01-01/001"
    with pytest.raises(SessionNotFound):
        getattr(cache, call)(name)


def test_the_same_place_in_two_labs_needs_the_lab(tmp_path):
    from one_cache.records import Session

    cache = Cache(tmp_path)
    day = dt.date(2024, 1, 1)
    ids = [f"00000000-0000-4000-8000-{i:012d}" for i in (1, 2)]
    rows = [Session(one, lab, "m", day, 1) for one, lab in zip(ids, "ab", strict=True)]
    cache.tables.add("sessions", rows)
    with pytest.raises(InvalidArgument, match="several sessions: a/Subjects.*b/Subjects"):
        cache.to_eid("m/2024-01-01/001")
    assert str(cache.to_eid("b/Subjects/m/2024-01-01/001")) == ids[1]


def test_records_of_sessions_and_datasets_are_found_by_path(cache, eid, lab, sample):
    session = cache.path2record(lab / "northlab/Subjects" / PLACE)
    assert session.name == eid
    assert session["lab"] == "northlab"
    path = (
        lab / "northlab/Subjects" / PLACE / "alf/probe00/pykilosort/#2024-05-06#/drift.times.npy"
    )
    record = cache.path2record(path)
    assert record.name == (eid, UUID(sample.revised[1].id))
    assert cache.record2path(record) == path
    assert cache.record2path([record]) == [path]
    frame = pd.DataFrame([record])
    assert cache.record2path(frame) == [path]
    listed = cache.list_datasets(eid, "drift.times.npy", details=True, keep_eid_index=True)
    assert path in cache.record2path(listed)


def test_the_id_in_a_file_name_finds_its_record(cache, sample):
    one = sample.revised[0]
    path = f"/elsewhere/drift.times.{one.id}.npy"
    assert cache.path2record(path)["rel_path"] == one.rel_path


def test_a_file_that_is_no_dataset_is_told_with_the_nearest(cache, lab):
    path = lab / "northlab/Subjects" / PLACE / "alf/lick.times.npy"
    with pytest.raises(ALFObjectNotFound, match=r"Did you mean 'alf/licks\.times\.npy'"):
        cache.path2record(path)
    with pytest.raises(InvalidArgument, match="lies in no session"):
        cache.path2record("/x.y.npy")


def test_addresses_are_those_of_the_remote(url, tmp_path):
    import requests

    cache = Cache(tmp_path, remote=url, silent=True)
    path = (
        cache.eid2path(cache.to_eid(PLACE)) / "alf/probe00/pykilosort/#2024-05-06#/drift.times.npy"
    )
    address = cache.path2url(path)
    assert address.startswith(f"{url}/northlab/Subjects/{PLACE}/alf/")
    assert "%232024-05-06%23" in address
    assert requests.head(address, timeout=5).ok
    assert cache.path2url(cache.eid2path(cache.to_eid(PLACE))).endswith(PLACE)


def test_a_cache_without_a_remote_has_no_addresses(cache, lab):
    with pytest.raises(ModeError, match="no remote"):
        cache.path2url(lab / "northlab/Subjects" / PLACE)


def test_the_last_place_in_a_path_counts():
    name = read_session_name(f"/backup/old/2001-01-01/001/northlab/Subjects/{PLACE}/alf")
    assert str(name) == f"northlab/Subjects/{PLACE}"
