"""Sessions as the real AllenSDK reads them, from the same files; the answers compared."""

import json
import warnings

import numpy as np
import pytest
from allen_expected import EXPECTED, compare, require_shared
from allen_fixtures import reference_stub  # noqa: F401

from one_cache.ecephys import EcephysProjectCache
from one_cache.errors import CacheWarning

INF = np.inf
ALL = {
    "amplitude_cutoff_maximum": INF,
    "presence_ratio_minimum": -INF,
    "isi_violations_maximum": INF,
}
NONE = dict.fromkeys(ALL)
EDGES = np.arange(-0.05, 0.25, 0.05)


def flashes(session):
    return session.get_stimulus_table("flashes").index.values


def first_units(session):
    return session.units.index.values[:8]


def calls_of(session):
    """Give each call whose answer the reference has, by its name there."""
    both = (flashes(session), first_units(session))
    probes = list(session.probes.index)
    return {
        "get_stimulus_table": lambda s: s.get_stimulus_table(),
        "get_stimulus_table__flashes": lambda s: s.get_stimulus_table("flashes"),
        "get_stimulus_table__two": lambda s: s.get_stimulus_table(
            ["flashes", "gabors"],
            include_detailed_parameters=True,
            include_unused_parameters=True,
        ),
        "get_stimulus_epochs": lambda s: s.get_stimulus_epochs(),
        "get_stimulus_epochs__thr": lambda s: s.get_stimulus_epochs({"spontaneous": 0.9}),
        "get_invalid_times": lambda s: s.get_invalid_times(),
        "get_screen_gaze_data": lambda s: s.get_screen_gaze_data(),
        "get_screen_gaze_data__filtered": lambda s: s.get_screen_gaze_data(
            include_filtered_data=True
        ),
        "get_pupil_data": lambda s: s.get_pupil_data(),
        "get_inter_presentation_intervals_for_stimulus": lambda s: (
            s.get_inter_presentation_intervals_for_stimulus(["flashes"])
        ),
        "presentationwise_spike_counts": lambda s: s.presentationwise_spike_counts(EDGES, *both),
        "presentationwise_spike_counts__binarize": lambda s: s.presentationwise_spike_counts(
            EDGES, *both, binarize=True
        ),
        "presentationwise_spike_times": lambda s: s.presentationwise_spike_times(*both),
        "conditionwise_spike_statistics": lambda s: s.conditionwise_spike_statistics(*both),
        "conditionwise_spike_statistics__rates": lambda s: s.conditionwise_spike_statistics(
            *both, use_rates=True
        ),
        "get_parameter_values_for_stimulus": lambda s: s.get_parameter_values_for_stimulus(
            "drifting_gratings"
        ),
        "get_stimulus_parameter_values": lambda s: s.get_stimulus_parameter_values(),
        "channel_structure_intervals": lambda s: s.channel_structure_intervals(
            s.channels.index.values
        ),
        **{f"get_lfp_{probe}": lambda s, probe=probe: s.get_lfp(probe) for probe in probes},
        **{
            f"get_lfp_{probe}__nomask": lambda s, probe=probe: s.get_lfp(
                probe, mask_invalid_intervals=False
            )
            for probe in probes
        },
        **{
            f"get_csd_{probe}": lambda s, probe=probe: s.get_current_source_density(probe)
            for probe in probes
        },
    }


@pytest.fixture(scope="module")
def cache(allen_stub, tmp_path_factory):
    manifest = tmp_path_factory.mktemp("allen") / "manifest.json"
    return EcephysProjectCache.from_warehouse("http", allen_stub, manifest=manifest, silent=True)


def names_of(start):
    if not (EXPECTED / "INDEX.json").exists():
        return []
    index = json.loads((EXPECTED / "INDEX.json").read_text())
    return [name for name in index if name.startswith(f"{start}.")]


def ask(session, name):
    calls = calls_of(session)
    return calls[name](session) if name in calls else getattr(session, name)


SESSIONS = ("session_715000001", "session_766000003", "session_719000002")


@pytest.fixture(scope="module")
def sessions(cache):
    opened = {name: cache.get_session_data(int(name.partition("_")[2])) for name in SESSIONS}
    yield opened
    for session in opened.values():
        session.close()


# what differs from one run of AllenSDK to the next, or between versions of pandas
LOOSE = ("stimulus", "structurewise", "presentationwise_spike_times", "parameter")


@pytest.mark.parametrize("name", [name for one in SESSIONS for name in names_of(one)])
def test_a_part_of_a_session_is_that_of_allensdk(sessions, name):
    start, _, part = name.partition(".")
    meta = json.loads((EXPECTED / f"{name}.meta.json").read_text())
    session = sessions[start]
    if part == "get_lfp_unknown":
        with pytest.raises(KeyError):
            session.get_lfp(1)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        got = ask(session, part)
    assert meta["kind"] != "raises", meta
    loose = any(word in part for word in LOOSE)
    compare(got, name, columns_in_order=not loose)


OPTIONS = {
    "novalid": {"filter_by_validity": False},
    "all_inf": ALL,
    "novalid_all_inf": {"filter_by_validity": False, **ALL},
    "novalid_all_none": {"filter_by_validity": False, **NONE},
    "isi_0": {"isi_violations_maximum": 0},
    "oob": {"filter_out_of_brain_units": False},
    "novalid_all_none_oob": {
        "filter_by_validity": False,
        "filter_out_of_brain_units": False,
        **NONE,
    },
}


@pytest.mark.parametrize("name", OPTIONS)
def test_filters_choose_the_units_that_allensdk_chooses(cache, name):
    with cache.get_session_data(715000001, **OPTIONS[name]) as session:
        for full in names_of(f"session_715000001__{name}"):
            part = full.partition(".")[2]
            compare(ask(session, part), full, columns_in_order="structurewise" not in part)


def test_the_reference_is_there():
    require_shared()
    assert len(names_of("session_715000001")) > 40
