"""The Allen Neuropixels data: a project's tables, one session of it, one unit.

    python allen_neuropixels.py FOLDER               (from the Allen Institute, kept in FOLDER)
    python allen_neuropixels.py FOLDER --mode fixed  (only what was frozen there, no network)
    python allen_neuropixels.py                      (both, on the server of this project's tests)

The calls are those of AllenSDK's EcephysProjectCache, and FOLDER may be one that it made. A
session is a file of two to three gigabytes; --session says which, else a small one is taken.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from one_cache.ecephys import EcephysProjectCache

EDGES = np.arange(-0.1, 0.4001, 0.01)  # s around the onset


def opened(folder, mode="remote", **server):
    manifest = Path(folder, "manifest.json")
    if mode == "fixed":
        return EcephysProjectCache.fixed(manifest=manifest)
    return EcephysProjectCache.from_warehouse(manifest=manifest, silent=True, **server)


def tables(cache):
    """What there is: sessions, and what was measured in them."""
    sessions = cache.get_session_table()
    units = cache.get_units(amplitude_cutoff_maximum=0.05, isi_violations_maximum=0.1)
    kind = cache.get_all_session_types()[0]
    metrics = cache.get_unit_analysis_metrics_by_session_type(kind)
    return {
        "sessions": len(sessions),
        "probes": len(cache.get_probes()),
        "channels": len(cache.get_channels()),
        "units": len(cache.get_units()),
        "units of every quality": len(
            cache.get_units(
                filter_by_validity=False,
                amplitude_cutoff_maximum=None,
                presence_ratio_minimum=None,
                isi_violations_maximum=None,
            )
        ),
        "units cut more strictly": len(units),
        "types of sessions": cache.get_all_session_types(),
        "genotypes": cache.get_all_full_genotypes(),
        "ages, days": cache.get_all_ages(),
        "sexes": cache.get_all_sexes(),
        "structures": [name for name in cache.get_structure_acronyms() if isinstance(name, str)],
        f"units of {kind} with metrics": len(metrics),
    }


def smallest(cache):
    """Choose the session with the fewest units, of those that have a file."""
    sessions = cache.get_session_table(suppress=[])
    return int(sessions[sessions["has_nwb"]]["unit_count"].idxmin())


def liveliest(session, stimulus):
    """Choose the unit whose rates differ most between the conditions of a stimulus."""
    shown = session.get_stimulus_table(stimulus)
    found = session.conditionwise_spike_statistics(shown.index, use_rates=True)
    rates = found["spike_mean"].unstack("stimulus_condition_id")
    return int((rates.max(axis=1) - rates.min(axis=1)).idxmax())


def responses(session, unit, stimulus):
    """Give, for each condition of a stimulus, its name and the rate of the unit (spikes/s)."""
    shown = session.get_stimulus_table(stimulus)
    varies = [
        name
        for name, values in session.get_stimulus_parameter_values(shown.index).items()
        if len(values) > 1 and name != "phase"
    ]
    counts = session.presentationwise_spike_counts(EDGES, shown.index, [unit])
    rates = counts.isel(unit_id=0) / np.diff(EDGES)[:, np.newaxis].T
    for values, rows in shown.groupby(varies or "stimulus_name", sort=True):
        values = values if isinstance(values, tuple) else (values,)
        of_these = rates.sel(stimulus_presentation_id=rows.index)
        yield ", ".join(map(label, varies, values)), of_these.to_numpy()


def label(name, value):
    if value == "null":
        return "blank"
    units = {"orientation": "°", "temporal_frequency": " Hz", "spatial_frequency": " cycles/°"}
    if name == "color":
        return "light" if float(value) > 0 else "dark"
    return f"{value:g}{units.get(name, '')}"


def draw(session, unit, stimuli, path):
    """Draw the PSTH of a unit, a row for each condition, and its mean rate beside."""
    import matplotlib.pyplot as plt

    groups = [(name, list(responses(session, unit, name))) for name in stimuli]
    heights = [len(rows) for _, rows in groups]
    figure, axes = plt.subplots(
        len(groups),
        2,
        figsize=(7.2, 1.6 + 0.42 * sum(heights)),
        sharex="col",
        width_ratios=(3, 1),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    peak = max(rates.mean(axis=0).max() for _, rows in groups for _, rates in rows) or 1
    for (name, rows), (left, right), color in zip(groups, axes, ("C0", "C1"), strict=False):
        shown = float(session.get_stimulus_table(name)["duration"].mean())
        draw_rows(left, rows, peak, color, shown)
        draw_means(right, rows, color, shown)
        left.set_ylabel(name.replace("_", " "))
    for row in axes[:-1].flat:
        row.spines["bottom"].set_visible(False)
        row.tick_params(axis="x", length=0)
    draw_scale(axes[0, 0], peak)
    axes[-1, 0].set_xlabel("time from onset (s)")
    axes[-1, 1].set_xlabel("spikes/s while shown\n(mean ± s.e.m.)")
    where = session.units.at[unit, "ecephys_structure_acronym"]
    figure.suptitle(
        f"Unit {unit} in {where}, session {session.ecephys_session_id}", fontsize="medium"
    )
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_rows(axes, rows, peak, color, shown):
    axes.axvspan(0, min(shown, EDGES[-1]), color="0.93", linewidth=0)
    for place, (_, rates) in enumerate(rows):
        # the axis points down: the first condition is the uppermost
        base = place + 1
        height = rates.mean(axis=0) / peak * 0.9
        axes.stairs(base - height, EDGES, baseline=base, fill=True, color=color, alpha=0.8)
        axes.axhline(base, color="0.6", linewidth=0.5)
    axes.set_yticks([place + 0.7 for place in range(len(rows))], [name for name, _ in rows])
    axes.set(xlim=(EDGES[0], EDGES[-1]), ylim=(len(rows) + 0.05, 0))
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def draw_means(axes, rows, color, shown):
    middle = EDGES[:-1] + np.diff(EDGES) / 2
    during = (middle > 0) & (middle < shown)
    for place, (_, rates) in enumerate(rows):
        each = rates[:, during].mean(axis=1)
        error = each.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else 0
        axes.errorbar(each.mean(), place + 0.7, xerr=error, fmt="o", color=color, markersize=4)
    axes.set(ylim=(len(rows) + 0.05, 0), yticks=[])
    axes.set_xlim(left=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def draw_scale(axes, peak):
    """Say how many spikes/s the height of the rows means: a round number, some half of them."""
    round_numbers = [step * 10.0**power for power in range(-2, 4) for step in (1, 2, 5)]
    rate = max(one for one in round_numbers if one <= max(0.7 * peak, 0.01))
    beside = {"clip_on": False, "color": "0.2"}
    x, middle = EDGES[-1] + 0.012, 1 - 0.45 * rate / peak
    axes.plot([x, x], [1, 1 - 0.9 * rate / peak], linewidth=2, **beside)
    axes.text(x + 0.008, middle, f"{rate:g}\nspikes/s", va="center", fontsize="small", **beside)


def run(cache, session_id=None, picture=None):
    found = tables(cache)
    session_id = session_id or smallest(cache)
    metrics = cache.get_unit_analysis_metrics_for_session(session_id)
    with cache.get_session_data(session_id) as session:
        stimuli = [
            one for one in ("drifting_gratings", "flashes") if one in session.stimulus_names
        ]
        unit = liveliest(session, stimuli[0])
        if picture:
            draw(session, unit, stimuli, picture)
        lfp = session.get_lfp(int(session.probes.index[0]))
        found |= {
            "session": session_id,
            "its units": session.num_units,
            "its units with metrics": len(metrics),
            "its stimuli": session.stimulus_names,
            "its running speed, samples": len(session.running_speed),
            "LFP of its first probe": dict(lfp.sizes),
            "its liveliest unit": unit,
            "spikes of that unit": len(session.spike_times[unit]),
        }
    found["frames of natural movie 1"] = len(cache.get_natural_movie_template(1))
    found["pixels of natural scene 14"] = cache.get_natural_scene_template(14).size
    return found


def run_on_double(picture):
    """Run on the server that the tests of this project use, then without it."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from allen_double import AllenDouble
    from allen_project import make_project

    angles = tuple(np.arange(0.0, 360.0, 45.0).tolist())
    with tempfile.TemporaryDirectory() as folder:
        with AllenDouble(make_project(angles=angles, repeats=15)) as allen:
            cache = opened(folder, scheme="http", host=allen.host)
            found = run(cache, picture=picture)
            cache.freeze()
        fixed = run(opened(folder, "fixed"))
    if fixed != found:
        raise SystemExit(f"the modes differ: {json.dumps([found, fixed], indent=2)}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--mode", choices=("remote", "fixed"), default="remote")
    parser.add_argument("--scheme", help="of another server")
    parser.add_argument("--host", help="of another server")
    parser.add_argument("--session", type=int)
    parser.add_argument("--picture", default="allen_neuropixels.png")
    given = parser.parse_args()
    if given.folder is None:
        answer = run_on_double(given.picture)
    else:
        server = {"scheme": given.scheme, "host": given.host} if given.host else {}
        project = opened(given.folder, given.mode, **server)
        answer = run(project, given.session, given.picture)
        if given.mode == "remote":
            project.freeze()
    print(json.dumps(answer, indent=2))
