"""The same calls as through the real AllenSDK, on the same server; the answers compared."""

import json
import shutil
from urllib.request import urlopen

import numpy as np
import pytest
from allen_expected import EXPECTED, compare, require_shared
from allen_fixtures import reference_stub  # noqa: F401

from one_cache.ecephys import EcephysProjectCache
from one_cache.errors import InvalidArgument

INF = np.inf
ALL = {
    "amplitude_cutoff_maximum": INF,
    "presence_ratio_minimum": -INF,
    "isi_violations_maximum": INF,
}
NONE = dict.fromkeys(ALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("allen")


@pytest.fixture(scope="module")
def cache(allen_stub, folder):
    return EcephysProjectCache.from_warehouse(
        "http", allen_stub, manifest=folder / "manifest.json", silent=True
    )


TABLES = {
    "session_table": lambda c: c.get_session_table(),
    "session_table__suppress_empty": lambda c: c.get_session_table(suppress=[]),
    "session_table__suppress_sex": lambda c: c.get_session_table(suppress=["sex", "nosuch"]),
    "probes": lambda c: c.get_probes(),
    "probes__suppress_empty": lambda c: c.get_probes(suppress=[]),
    "channels": lambda c: c.get_channels(),
    "channels__suppress_empty": lambda c: c.get_channels(suppress=[]),
    "units": lambda c: c.get_units(),
    "units__novalid": lambda c: c.get_units(filter_by_validity=False),
    "units__all_inf": lambda c: c.get_units(**ALL),
    "units__novalid_all_inf": lambda c: c.get_units(filter_by_validity=False, **ALL),
    "units__novalid_all_none": lambda c: c.get_units(filter_by_validity=False, **NONE),
    "units__all_none": lambda c: c.get_units(**NONE),
    "units__isi_0": lambda c: c.get_units(isi_violations_maximum=0),
    "units__isi_1": lambda c: c.get_units(isi_violations_maximum=1.0),
    "units__ampl_none": lambda c: c.get_units(amplitude_cutoff_maximum=None),
    "units__pres_0": lambda c: c.get_units(presence_ratio_minimum=0),
    "units__oob": lambda c: c.get_units(filter_out_of_brain_units=False),
    "units__novalid_all_none_oob": lambda c: c.get_units(
        filter_by_validity=False, filter_out_of_brain_units=False, **NONE
    ),
    "units__suppress_empty": lambda c: c.get_units(suppress=[]),
    "get_all_session_types": lambda c: c.get_all_session_types(),
    "get_all_full_genotypes": lambda c: c.get_all_full_genotypes(),
    "get_structure_acronyms": lambda c: c.get_structure_acronyms(),
    "get_all_ages": lambda c: c.get_all_ages(),
    "get_all_sexes": lambda c: c.get_all_sexes(),
    "metrics_session_715000001__novalid_all": lambda c: c.get_unit_analysis_metrics_for_session(
        715000001, filter_by_validity=False, **ALL
    ),
    **{
        f"metrics_session_{one}": lambda c, one=one: c.get_unit_analysis_metrics_for_session(one)
        for one in (715000001, 719000002, 766000003, 768000004)
    },
    **{
        f"metrics_session_{one}__noannotate": lambda c, one=one: (
            c.get_unit_analysis_metrics_for_session(one, annotate=False)
        )
        for one in (715000001, 719000002, 766000003, 768000004)
    },
    **{
        f"metrics_type_{kind}{name}": lambda c, kind=kind, options=options: (
            c.get_unit_analysis_metrics_by_session_type(kind, **options)
        )
        for kind in ("brain_observatory_1.1", "functional_connectivity")
        for name, options in (
            ("", {}),
            ("__noannotate", {"annotate": False}),
            ("__all_inf", ALL),
            ("__novalid", {"filter_by_validity": False}),
        )
    },
    "movie_1": lambda c: c.get_natural_movie_template(1),
    "movie_3": lambda c: c.get_natural_movie_template(3),
    "scene_0": lambda c: c.get_natural_scene_template(0),
    "scene_14": lambda c: c.get_natural_scene_template(14),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_or_template_is_that_of_allensdk(cache, name):
    compare(TABLES[name](cache), name)


def test_the_manifest_shows_the_paths_of_allensdk(cache, folder):
    frame = cache.manifest_dataframe()
    root = str(folder)
    frame["spec"] = [spec.removeprefix(root).lstrip("/") or "." for spec in frame.spec]
    compare(frame, "manifest_dataframe")


RAISING = {
    "get_structure_acronyms__suppressed": lambda c: c.get_structure_acronyms(
        suppress=["ecephys_structure_acronym"]
    ),
    "metrics_session_unknown": lambda c: c.get_unit_analysis_metrics_for_session(1),
    "metrics_type_bad": lambda c: c.get_unit_analysis_metrics_by_session_type("nope"),
    "movie_9": lambda c: c.get_natural_movie_template(9),
    "scene_9": lambda c: c.get_natural_scene_template(9),
    "session_no_nwb": lambda c: c.get_session_data(768000004),
    "session_unknown": lambda c: c.get_session_data(1),
}


@pytest.mark.parametrize("name", RAISING)
def test_what_allensdk_refuses_is_refused_with_an_error_of_that_kind(cache, name):
    meta = json.loads((EXPECTED / f"{name}.meta.json").read_text())
    kind = {"KeyError": KeyError, "ValueError": ValueError}[meta["exception"]]
    with pytest.raises(kind) as caught:
        RAISING[name](cache)
    start = meta["message"].partition(",")[0].partition(":")[0]
    if kind is ValueError:
        assert start in str(caught.value)


def test_a_misspelt_filter_is_refused_where_allensdk_filters_nothing(cache):
    with pytest.raises(InvalidArgument, match="no unit filter 'no_such_filter'; there are"):
        cache.get_units(no_such_filter=3)


def test_the_files_are_those_that_allensdk_writes(cache, folder):
    for call in TABLES.values():
        call(cache)
    wanted = sorted(path for path in (EXPECTED / "cache_dir").rglob("*") if path.is_file())
    for path in wanted:
        ours = folder / path.relative_to(EXPECTED / "cache_dir")
        assert ours.read_bytes() == path.read_bytes(), path.name


def requests_of(stub):
    with urlopen(f"http://{stub}/__ctl/log") as answer:
        return json.load(answer)


def test_four_questions_bring_the_session_table_and_none_the_next_time(allen_stub, tmp_path):
    before = len(requests_of(allen_stub))
    manifest = tmp_path / "manifest.json"
    EcephysProjectCache.from_warehouse("http", allen_stub, manifest=manifest).get_session_table()
    asked = [one["path"] for one in requests_of(allen_stub)[before:]]
    assert len(asked) == 4
    again = EcephysProjectCache.from_warehouse("http", allen_stub, manifest=manifest)
    compare(again.get_session_table(), "session_table")
    assert len(requests_of(allen_stub)) == before + 4


def test_a_folder_of_allensdk_is_a_cache(tmp_path):
    require_shared()
    folder = shutil.copytree(EXPECTED / "cache_dir", tmp_path / "cache")
    fixed = EcephysProjectCache.fixed(manifest=folder / "manifest.json")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    for name, call in TABLES.items():
        compare(call(fixed), name)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
