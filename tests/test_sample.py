"""The sample lab: the same at every run, and with one of each thing that matters."""

import hashlib
import json
import uuid

import numpy as np
import pandas as pd
import pytest

from one_cache.records import QC
from one_cache.sample import write_sample_lab
from one_cache.tables import Tables

# of all files but the Parquet ones, whose bytes name the version of pyarrow
DIGEST = "a093f42ee97c1963a5ecf13996ea862f50394b60cd0d9cbdb493823663448b47"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return write_sample_lab(tmp_path_factory.mktemp("sample") / "lab")


def path_of(lab, dataset):
    session = next(one for one in lab.sessions if one.id == dataset.eid)
    return lab.folder / session.path / dataset.rel_path


def load(lab, eid, rel_path):
    dataset = next(one for one in lab.datasets if (one.eid, one.rel_path) == (eid, rel_path))
    return np.load(path_of(lab, dataset))


def digest(folder):
    running = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".pqt" and ".one_cache" not in path.parts:
            running.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return running.hexdigest()


def test_it_is_the_same_on_every_machine(lab):
    assert digest(lab.folder) == DIGEST


def test_it_is_the_same_at_every_run(lab, tmp_path):
    again = write_sample_lab(tmp_path)
    assert (again.sessions, again.datasets) == (lab.sessions, lab.datasets)
    assert digest(tmp_path) == digest(lab.folder)


def test_a_second_run_leaves_the_files_alone_and_mends_what_is_broken(tmp_path):
    first = write_sample_lab(tmp_path)
    files = [path_of(first, one) for one in first.datasets if one.exists]
    before = [path.stat().st_mtime_ns for path in files]
    files[7].write_bytes(b"broken")
    files[9].unlink()
    second = write_sample_lab(tmp_path)
    after = [path.stat().st_mtime_ns for path in files]
    changed = [
        index for index, pair in enumerate(zip(before, after, strict=True)) if len({*pair}) == 2
    ]
    assert changed == [7, 9]
    assert second.datasets == first.datasets
    assert digest(tmp_path) == DIGEST


def test_it_is_small(lab):
    assert sum(one.file_size or 0 for one in lab.datasets) < 20e6


def test_it_has_labs_subjects_and_sessions(lab):
    assert len(lab.labs) == 2
    assert len(lab.subjects) == 4
    assert len(lab.sessions) == len(set(lab.eids)) == 12
    assert any(a != b and b.startswith(a) for a in lab.subjects for b in lab.subjects)
    days = [(one.subject, one.date) for one in lab.sessions]
    assert len(set(days)) < 12, "no day has two sessions"
    assert lab.eid("KS014/2024-02-05/002") == lab.sessions[4].id


def test_each_session_has_trials_wheel_and_two_probes(lab):
    for eid in lab.eids:
        paths = {one.rel_path for one in lab.datasets if one.eid == eid}
        for name in ("_ibl_trials.table.pqt", "_ibl_wheel.position.npy", "licks.times.npy"):
            assert f"alf/{name}" in paths
        for probe in ("probe00", "probe01"):
            for name in ("spikes.times.npy", "spikes.clusters.npy", "clusters.metrics.csv"):
                assert f"alf/{probe}/{name}" in paths


def test_ids_have_the_shape_of_version_4(lab):
    ids = [*lab.eids, *(one.id for one in lab.datasets)]
    assert len(set(ids)) == len(ids)
    assert {uuid.UUID(one).version for one in ids} == {4}


def test_the_records_fit_the_files(lab):
    found = {path for path in lab.folder.rglob("*") if path.is_file()}
    found = {
        path for path in found if path.parent != lab.folder and ".one_cache" not in path.parts
    }
    there = [one for one in lab.datasets if one.exists]
    assert {path_of(lab, one) for one in there} == found
    for one in there:
        content = path_of(lab, one).read_bytes()
        assert (len(content), hashlib.md5(content).hexdigest()) == (one.file_size, one.hash)


def test_the_tables_hold_the_records(lab):
    tables = Tables.open(lab.folder, writable=False)
    assert tables.sessions(lab.eids) == list(lab.sessions)
    assert tables.datasets([one.id for one in lab.datasets]) == list(lab.datasets)
    assert tables.count("datasets") == len(lab.datasets)


def test_one_dataset_is_revised(lab):
    unrevised, revised = lab.revised
    assert revised.rel_path == "alf/probe00/pykilosort/#2024-05-06#/drift.times.npy"
    assert unrevised.rel_path == "alf/probe00/pykilosort/drift.times.npy"
    assert (unrevised.default_revision, revised.default_revision) == (False, True)
    assert unrevised.hash != revised.hash
    others = [one for one in lab.datasets if "drift" not in one.name]
    assert all(one.default_revision for one in others)


def test_there_is_one_dataset_of_each_qc(lab):
    assert set(lab.by_qc) == set(QC)
    for level, dataset in lab.by_qc.items():
        assert dataset.qc == level
        assert dataset.exists
        same = [one for one in lab.datasets if one.qc == level]
        assert same == [dataset] or level == QC.NOT_SET


def test_one_dataset_is_on_no_server(lab):
    assert [one for one in lab.datasets if not one.exists] == [lab.missing]
    assert lab.missing.eid == lab.eids[-1]
    assert not path_of(lab, lab.missing).exists()


def test_units_answer_to_the_stimulus(lab):
    for eid in lab.eids:
        onsets = load(lab, eid, "alf/_ibl_trials.stimOn_times.npy")
        for probe in ("probe00", "probe01"):
            times = load(lab, eid, f"alf/{probe}/spikes.times.npy")
            units = load(lab, eid, f"alf/{probe}/spikes.clusters.npy")
            rates = [
                [
                    np.mean(
                        np.searchsorted(times[units == unit], onsets + stop)
                        - np.searchsorted(times[units == unit], onsets + start)
                    )
                    / (stop - start)
                    for start, stop in ((-0.3, 0), (0.04, 0.2))
                ]
                for unit in range(12)
            ]
            gains = [after / before for before, after in rates]
            assert min(gains[:4]) > 3
            assert max(gains[6:]) < 3


def test_the_signals_are_sound(lab):
    for eid in lab.eids:
        start, end = load(lab, eid, "alf/_ibl_trials.intervals.npy").T
        stim = load(lab, eid, "alf/_ibl_trials.stimOn_times.npy")
        feedback = load(lab, eid, "alf/_ibl_trials.feedback_times.npy")
        assert (start < stim).all()
        assert (stim < feedback).all()
        assert (feedback < end).all()
        assert (end[:-1] < start[1:]).all()
        left = load(lab, eid, "alf/_ibl_trials.contrastLeft.npy")
        right = load(lab, eid, "alf/_ibl_trials.contrastRight.npy")
        assert (np.isnan(left) != np.isnan(right)).all()
        for name in ("probe00/spikes.times", "probe01/spikes.times", "licks.times"):
            assert (np.diff(load(lab, eid, f"alf/{name}.npy")) >= 0).all()
        times = load(lab, eid, "alf/_ibl_wheel.timestamps.npy")
        assert len(times) == len(load(lab, eid, "alf/_ibl_wheel.position.npy"))


def test_tables_and_texts_are_read_by_pandas_and_json(lab):
    folder = lab.folder / lab.sessions[0].path / "alf"
    trials = pd.read_parquet(folder / "_ibl_trials.table.pqt")
    assert list(trials.index[:3]) == [0, 1, 2]
    assert set(trials.feedbackType) == {-1.0, 1.0}
    metrics = pd.read_csv(folder / "probe00/clusters.metrics.csv")
    spikes = np.load(folder / "probe00/spikes.clusters.npy")
    assert list(metrics.spike_count) == np.bincount(spikes).tolist()
    probes = json.loads((folder / "probes.description.json").read_bytes())
    assert [probe["label"] for probe in probes] == ["probe00", "probe01"]


@pytest.mark.filterwarnings("ignore")  # those of ONE-api itself
def test_one_api_reads_it(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    api = pytest.importorskip("one.api", reason="ONE-api is not installed (the compat extra)")
    one = api.One(cache_dir=lab.folder)
    assert {str(eid) for eid in one.search()} == set(lab.eids)
    eid = lab.revised[0].eid
    listed = {str(path) for path in one.list_datasets(eid)}
    assert listed == {dataset.rel_path for dataset in lab.datasets if dataset.eid == eid}
    trials = one.load_object(eid, "trials")
    assert len({len(values) for values in trials.values()}) == 1
    collection = "alf/probe00/pykilosort"
    drift = one.load_dataset(eid, "drift.times.npy", collection, download_only=True)
    assert drift.relative_to_session().as_posix() == lab.revised[1].rel_path
    drift = one.load_dataset(
        eid, "drift.times.npy", collection, revision="2024-04-01", download_only=True
    )
    assert drift.relative_to_session().as_posix() == lab.revised[0].rel_path
