import warnings

import numpy as np
import pytest

from one_cache import Cache
from one_cache.errors import (
    ALFMultipleCollectionsFound,
    ALFMultipleObjectsFound,
    ALFObjectNotFound,
    ALFWarning,
    CacheWarning,
    InvalidArgument,
    NotOnServer,
    QCExcluded,
    QCWarning,
    SessionNotFound,
)
from one_cache.records import QC
from one_cache.spec import ALFPath

EPHYS = "KS014/2024-02-07/001"
POOR = "ZM-07/2024-03-11/001"


@pytest.fixture
def cache(lab):
    return Cache(lab, silent=True)


# -- one dataset -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "licks.times.npy",
        "licks.times",
        "alf/licks.times.npy",
        "alf/licks.times",
        "lic*.times.npy",
        {"object": "licks", "attribute": "times"},
        {"object": "licks", "collection": "alf"},
    ],
)
def test_a_dataset_is_named_in_many_ways(cache, name):
    data = cache.load_dataset(EPHYS, name)
    assert isinstance(data, np.ndarray)
    assert data.ndim == 1


def test_object_and_attribute_need_no_namespace(cache):
    with_namespace = cache.load_dataset(EPHYS, "_ibl_wheel.position.npy")
    np.testing.assert_array_equal(cache.load_dataset(EPHYS, "wheel.position"), with_namespace)


def test_paths_that_loads_give_are_alf_paths_in_the_cache(cache, lab):
    path = cache.load_dataset(EPHYS, "licks.times.npy", download_only=True)
    assert type(path) is type(ALFPath(path))
    assert path.relative_to_session().as_posix() == "alf/licks.times.npy"
    assert path == lab / "northlab/Subjects/KS014/2024-02-07/001/alf/licks.times.npy"


def test_a_name_in_two_collections_is_refused_with_both(cache):
    with pytest.raises(ALFMultipleCollectionsFound, match='"alf/probe00", "alf/probe01"'):
        cache.load_dataset(EPHYS, "spikes.times.npy")
    assert cache.load_dataset(EPHYS, "spikes.times.npy", collection="alf/probe00").size


def test_a_pattern_that_fits_several_is_refused_with_them(cache):
    with pytest.raises(ALFMultipleObjectsFound, match=r"wheel\.position.*wheel\.timestamps"):
        cache.load_dataset(EPHYS, "_ibl_wheel.*.npy")


def test_a_name_that_does_not_exist_is_told_with_the_nearest(cache):
    with pytest.raises(ALFObjectNotFound, match=r"Did you mean 'alf/licks\.times\.npy'"):
        cache.load_dataset(EPHYS, "alf/lick.times.npy")
    with pytest.raises(FileNotFoundError, match=r"'licks\.times\.npy'"):
        cache.load_dataset(EPHYS, "lick.times.npy")


def test_a_path_takes_no_collection(cache):
    with pytest.raises(InvalidArgument, match="relative path"):
        cache.load_dataset(EPHYS, "alf/licks.times.npy", collection="alf")
    with pytest.raises(ValueError, match="relative path"):
        cache.load_dataset(EPHYS, "alf/licks.times.npy", revision="2024-01-01")


def test_an_unknown_session_is_told_with_the_nearest(cache):
    with pytest.raises(SessionNotFound, match="KS014 has: northlab"):
        cache.load_dataset("KS014/2001-01-01/001", "licks.times.npy")
    with pytest.raises(SessionNotFound, match="Did you mean 'KS01"):
        cache.load_dataset("KS0144/2024-02-07/001", "licks.times.npy")
    with pytest.raises(KeyError):
        cache.load_dataset("00000000-0000-4000-8000-000000000000", "licks.times.npy")


# -- revisions -------------------------------------------------------------------------------

DRIFT = {"dataset": "drift.times.npy", "collection": "alf/probe00/pykilosort"}


@pytest.mark.parametrize(
    ("revision", "expected"),
    [
        (None, "2024-05-06"),
        ("2024-05-06", "2024-05-06"),
        ("2024-06-01", "2024-05-06"),
        ("2024-05-05", None),
        ("", "2024-05-06"),
    ],
)
def test_revisions_are_chosen_by_date(cache, revision, expected):
    path = cache.load_dataset(EPHYS, **DRIFT, revision=revision, download_only=True)
    assert (path.revision or None) == expected


def test_a_relative_path_names_its_revision_exactly(cache):
    folder = "alf/probe00/pykilosort"
    path = cache.load_dataset(EPHYS, f"{folder}/drift.times.npy", download_only=True)
    assert not path.revision
    with pytest.raises(ALFObjectNotFound):
        cache.load_dataset(EPHYS, f"{folder}/#2024-05-07#/drift.times.npy")


@pytest.fixture
def cut_off(lab, monkeypatch):
    monkeypatch.setenv("ONE_REVISION_LAST_BEFORE", "2024-04-01")
    return Cache(lab, silent=True)


def test_the_cut_off_holds_in_every_list_and_load(cut_off):
    folder = "alf/probe00/pykilosort"
    assert "up to 2024-04-01" in repr(cut_off)
    assert cut_off.list_revisions(EPHYS) == [""]
    assert not [one for one in cut_off.list_datasets(EPHYS) if "#" in one]
    assert not cut_off.load_dataset(EPHYS, **DRIFT, download_only=True).revision
    paths, _ = cut_off.load_datasets(
        EPHYS, ["drift.times.npy"], collections=folder, download_only=True
    )
    assert not paths[0].revision
    objects = cut_off.load_object(EPHYS, "drift", collection=folder, download_only=True)
    assert {one.revision for one in objects} <= {"", None}
    collection = cut_off.load_collection(EPHYS, folder, download_only=True)
    assert {one.revision for one in collection} <= {"", None}
    with pytest.raises(ALFObjectNotFound, match="cut-off 2024-04-01"):
        cut_off.load_dataset(EPHYS, f"{folder}/#2024-05-06#/drift.times.npy")


def test_an_explicit_revision_wins_over_the_cut_off(cut_off):
    path = cut_off.load_dataset(EPHYS, **DRIFT, revision="2024-05-06", download_only=True)
    assert path.revision == "2024-05-06"
    assert cut_off.list_datasets(EPHYS, "drift.times.npy", revision="2024*")


# -- quality ---------------------------------------------------------------------------------


def test_a_critical_dataset_loads_only_when_asked_and_is_warned_of(cache, sample):
    critical = sample.by_qc[QC.CRITICAL].name
    with pytest.raises(QCExcluded, match=r"QC is CRITICAL.*qc='CRITICAL'"):
        cache.load_dataset(POOR, critical)
    cache.record_loaded = True
    with pytest.warns(QCWarning, match="has QC CRITICAL"):
        cache.load_dataset(POOR, critical, qc="CRITICAL")
    (entry,) = cache.recorder
    assert entry.qc == "CRITICAL"
    assert "has QC CRITICAL" in entry.note


def test_a_failed_dataset_is_warned_of_once(cache, sample):
    failed = sample.by_qc[QC.FAIL].name
    with pytest.warns(QCWarning, match="has QC FAIL"):
        cache.load_dataset(POOR, failed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.load_dataset(POOR, failed)


def test_attributes_that_quality_keeps_out_are_named(cache, sample):
    with pytest.raises(QCExcluded):
        cache.load_object(POOR, "leftCamera")
    with pytest.warns(QCWarning):
        bunch = cache.load_object(POOR, "leftCamera", qc="CRITICAL")
    assert "times" in bunch


# -- several ---------------------------------------------------------------------------------


def test_several_datasets_come_in_the_order_asked_with_their_records(cache):
    names = ["licks.times.npy", "_ibl_wheel.position.npy", "licks.times.npy"]
    data, records = cache.load_datasets(EPHYS, names)
    assert [record.rel_path.split("/")[-1] for record in records] == names
    np.testing.assert_array_equal(data[0], data[2])
    assert records[0].eid == cache.to_eid(EPHYS)


def test_missing_datasets_are_an_error_or_none(cache):
    names = ["licks.times.npy", "no.such.npy"]
    with pytest.raises(ALFObjectNotFound, match=r"no\.such\.npy"):
        cache.load_datasets(EPHYS, names)
    with pytest.warns(CacheWarning, match=r"no\.such\.npy"):
        data, records = cache.load_datasets(EPHYS, names, assert_present=False)
    assert data[0] is not None
    assert data[1] is None
    assert records[1] is None


def test_a_frame_of_datasets_loads_exactly_its_rows(cache):
    frame = cache.list_datasets(EPHYS, "drift.times.npy", details=True)
    assert len(frame) == 2
    with pytest.warns(ALFWarning, match="not the default revision"):
        paths, _ = cache.load_datasets(EPHYS, frame, download_only=True)
    found = [path.relative_to_session().as_posix() for path in paths]
    assert found == frame["rel_path"].tolist()


@pytest.mark.parametrize(
    ("names", "options", "error"),
    [
        ("licks.times.npy", {}, TypeError),
        (["licks.times.npy"], {"collections": ["alf", "alf"]}, InvalidArgument),
        (["licks.times.npy", {"object": "licks"}], {}, InvalidArgument),
        (["alf/licks.times.npy"], {"collections": "alf"}, InvalidArgument),
    ],
)
def test_arguments_that_do_not_fit_are_refused(cache, names, options, error):
    with pytest.raises(error):
        cache.load_datasets(EPHYS, names, **options)


def test_no_names_give_nothing(cache):
    assert cache.load_datasets(EPHYS, []) == ([], [])


# -- objects and collections -----------------------------------------------------------------


def test_an_object_is_all_its_attributes(cache):
    wheel = cache.load_object(EPHYS, "wheel")
    assert set(wheel) == {"position", "timestamps"}
    assert len(wheel.position) == len(wheel.timestamps)
    assert set(cache.load_object(EPHYS, "wheel", attribute="position")) == {"position"}


def test_an_object_pattern_that_fits_several_is_refused_with_them(cache):
    with pytest.raises(ALFMultipleObjectsFound, match='"wheel", "wheelMoves"'):
        cache.load_object(POOR, "wheel*", collection="alf")


def test_an_object_in_two_collections_is_refused_with_both(cache):
    with pytest.raises(ALFMultipleCollectionsFound, match="probe00"):
        cache.load_object(EPHYS, "spikes")


def test_an_unknown_object_is_told_with_the_nearest(cache):
    with pytest.raises(ALFObjectNotFound, match="Did you mean 'wheel"):
        cache.load_object(EPHYS, "weel")
    with pytest.raises(InvalidArgument, match="Did you mean 'attribute'"):
        cache.load_object(EPHYS, "wheel", atribute="position")


def test_an_attribute_that_is_not_on_disk_is_named_not_left_out(cache, lab):
    (lab / "northlab/Subjects/KS014/2024-02-07/001/alf/_ibl_wheel.position.npy").unlink()
    with pytest.raises(ALFObjectNotFound, match=r"_ibl_wheel\.position\.npy.*not on disk"):
        cache.load_object(EPHYS, "wheel")
    with pytest.warns(CacheWarning, match=r"_ibl_wheel\.position\.npy"):
        wheel = cache.load_object(EPHYS, "wheel", assert_present=False)
    assert set(wheel) == {"timestamps"}


def test_a_collection_is_its_objects(cache):
    probe = cache.load_collection(EPHYS, "alf/probe00")
    assert {"spikes", "clusters"} <= set(probe)
    assert probe.spikes.times.size
    assert set(cache.load_collection(EPHYS, "alf/probe00", object="spikes")) == {"spikes"}
    paths = cache.load_collection(EPHYS, "alf/probe00", download_only=True)
    assert {path.collection for path in paths} == {"alf/probe00"}
    with pytest.raises(ALFMultipleCollectionsFound):
        cache.load_collection(EPHYS, "alf/probe0*", object="spikes")


def test_a_dataset_loads_by_its_id_alone(cache, sample):
    dataset = next(one for one in sample.datasets if one.name == "licks.times.npy")
    data, record = cache.load_dataset_from_id(dataset.id, details=True)
    assert data.size
    assert record["rel_path"] == dataset.rel_path
    with pytest.raises(ALFObjectNotFound):
        cache.load_dataset_from_id("00000000-0000-4000-8000-000000000000")
    with pytest.raises(InvalidArgument, match="not a UUID"):
        cache.load_dataset_from_id("licks")


def test_a_dataset_on_no_server_says_so(url, tmp_path, sample):
    cache = Cache(tmp_path, remote=url, silent=True)
    with pytest.raises(NotOnServer, match="on no server"):
        cache.load_dataset(sample.missing.eid, sample.missing.name)


def test_an_npy_can_be_mapped(cache):
    mapped = cache.load_dataset(EPHYS, "spikes.times.npy", collection="alf/probe00", mmap=True)
    assert isinstance(mapped, np.memmap)
