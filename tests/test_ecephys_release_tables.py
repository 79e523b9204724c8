"""Tables of released projects are shown as AllenSDK 2.16.2 shows them."""

import hashlib
import json

import pandas as pd
import pytest

from one_cache.ecephys import (
    VisualBehaviorNeuropixelsProjectCache,
    VisualBehaviorOphysProjectCache,
)
from one_cache.errors import ContentError

# what the tables of imaging share
SHARED = {
    "file_id": [-999, 2, 3],
    "mouse_id": ["0457841", "423606", "2"],
    "session_number": [1, None, 3],
    "driver_line": ["['Slc17a7-IRES2-Cre', 'Camk2a-tTA']", None, "['x']"],
    "date_of_acquisition": ["2018-11-30 23:28:37", "2019-01-02 03:04:05.678000", "2019-01-02"],
    "extra": ["a", "b", None],
}
IMAGING = {
    "behavior_session_table": {
        **SHARED,
        "ophys_experiment_id": ["[21, 22]", None, "[23]"],
        "ophys_session_id": [1, None, 3],
        "behavior_session_id": [11, 12, 13],
    },
    "ophys_session_table": {**SHARED, "ophys_session_id": [1, 2, 3]},
    "ophys_experiment_table": {**SHARED, "ophys_experiment_id": [21, 22, 23]},
    "ophys_cells_table": {"cell_roi_id": [1, 2], "cell_specimen_id": [5, None]},
}
RECORDINGS = {
    "ecephys_sessions": {
        "ecephys_session_id": [3, 1, 2],
        "prior_exposures_to_image_set": [26, None, 0],
        "unit_count": [1, 2, 3],
        "abnormal_histology": [None, "['tear']", None],
        "abnormal_activity": [None, None, None],
    },
    "behavior_sessions": {"behavior_session_id": [11, 12], "ecephys_session_id": [1, None]},
    "probes": {"ecephys_probe_id": [3, 1], "unit_count": [4.0, None]},
    "channels": {"ecephys_channel_id": [3, 1]},
    "units": {"unit_id": [3, 1], "snr": [0.1234567890123456, None]},
}


def released(cls, folder, tables):
    """Write a release to disk as AllenSDK keeps one, and open it."""
    project, entries = cls.PROJECT_NAME, {}
    for name, columns in tables.items():
        rel = f"project_metadata/{name}.csv"
        path = folder / f"{project}-1.0.0" / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(columns).to_csv(path, index=False)
        entries[name] = {
            "url": f"https://{cls.BUCKET_NAME}.s3.us-west-2.amazonaws.com/{project}/{rel}",
            "version_id": "v",
            "file_hash": hashlib.blake2b(path.read_bytes()).hexdigest(),
        }
    manifest = {
        "project_name": project,
        "manifest_version": "1.0.0",
        "metadata_file_id_column_name": "file_id",
        "data_pipeline": [],
        "metadata_files": entries,
        "data_files": {},
    }
    (folder / f"{project}_project_manifest_v1.0.0.json").write_text(json.dumps(manifest))
    return cls.from_local_cache(folder)


def test_tables_of_imaging_have_lists_times_texts_and_whole_numbers(tmp_path):
    cache = released(VisualBehaviorOphysProjectCache, tmp_path, IMAGING)
    table = cache.get_behavior_session_table()
    assert table.index.tolist() == [11, 12, 13]
    # AllenSDK's order first, then that of the file
    assert table.columns.tolist() == [
        "ophys_session_id",
        "mouse_id",
        "driver_line",
        "session_number",
        "date_of_acquisition",
        "ophys_experiment_id",
        "file_id",
        "extra",
    ]
    assert table["mouse_id"].tolist() == SHARED["mouse_id"]
    assert table["driver_line"].tolist()[0] == ["Slc17a7-IRES2-Cre", "Camk2a-tTA"]
    assert table["ophys_experiment_id"].tolist()[::2] == [[21, 22], [23]]
    assert table["ophys_experiment_id"].isna().tolist() == [False, True, False]
    assert table["date_of_acquisition"].dt.tz is not None
    assert table["date_of_acquisition"].iloc[1] == pd.Timestamp(
        "2019-01-02 03:04:05.678", tz="UTC"
    )
    for name in ("session_number", "ophys_session_id"):
        assert table[name].dtype == "Int64"
    assert cache.get_ophys_session_table().index.dtype == "Int64"
    experiments = cache.get_ophys_experiment_table()
    assert experiments.index.dtype == "int64"
    cells = cache.get_ophys_cells_table()
    assert cells["cell_specimen_id"].isna().tolist() == [False, True]
    assert cells["cell_specimen_id"].dtype == "Int64"


def test_tables_of_recordings_have_whole_numbers_some_of_which_are_missing(tmp_path):
    cache = released(VisualBehaviorNeuropixelsProjectCache, tmp_path, RECORDINGS)
    every = cache.get_ecephys_session_table(filter_abnormalities=False)
    assert every.index.tolist() == [3, 1, 2]
    assert (every.index.dtype, every["prior_exposures_to_image_set"].dtype) == ("Int64", "Int64")
    assert cache.get_ecephys_session_table().index.tolist() == [3, 2]
    assert cache.get_behavior_session_table()["ecephys_session_id"].dtype == "Int64"
    assert cache.get_probe_table()["unit_count"].dtype == "float64"
    assert cache.get_unit_table().loc[3, "snr"] == 0.1234567890123456
    assert cache.get_channel_table().index.tolist() == [3, 1]


def test_a_table_belongs_to_who_asked_for_it(tmp_path):
    cache = released(VisualBehaviorNeuropixelsProjectCache, tmp_path, RECORDINGS)
    mine = cache.get_unit_table()
    mine["snr"] = 0.0
    assert cache.get_unit_table().loc[3, "snr"] == 0.1234567890123456


def test_a_table_of_another_form_is_named(tmp_path):
    tables = {**IMAGING, "ophys_cells_table": {"cell_roi_id": [1], "cell_specimen_id": ["five"]}}
    cache = released(VisualBehaviorOphysProjectCache, tmp_path, tables)
    with pytest.raises(ContentError, match="ophys_cells_table"):
        cache.get_ophys_cells_table()
