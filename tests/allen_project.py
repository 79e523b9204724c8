"""A made-up Neuropixels project of any size: rows as the warehouse has them, NWB files, templates.

Used by tests, by the example and by the benchmark. The same seed gives the same project.
"""

import io
import json
from dataclasses import dataclass, field

import numpy as np

STRUCTURES = {385: "VISp", 409: "VISl", 382: "CA1", 170: "LGd-sh", 215: "APN"}
TYPES = ("brain_observatory_1.1", "functional_connectivity")
FIRST = {"session": 715000001, "probe": 729000001, "channel": 849000001, "unit": 915000001}
PRODUCT = 714914585

UNIT_METRICS = [
    "PT_ratio",
    "amplitude",
    "cumulative_drift",
    "d_prime",
    "duration",
    "firing_rate",
    "halfwidth",
    "isolation_distance",
    "l_ratio",
    "max_drift",
    "nn_hit_rate",
    "nn_miss_rate",
    "recovery_slope",
    "repolarization_slope",
    "silhouette_score",
    "snr",
    "spread",
    "velocity_above",
    "velocity_below",
]


@dataclass
class Project:
    """Rows by model, and the bytes of files by id."""

    sessions: list
    probes: list
    channels: list
    units: list
    bundles: list = field(default_factory=list)
    files: list = field(default_factory=list)
    stimuli: list = field(default_factory=list)
    contents: dict = field(default_factory=dict)

    def file_of(self, kind, owner):
        """Give the id of the file of that kind and owner."""
        (found,) = (
            one["id"]
            for one in self.files
            if (one["_type"], one["attachable_id"]) == (kind, owner)
        )
        return found

    def add_file(self, kind, owner_type, owner, path, content):
        id_ = 1026000000 + len(self.files)
        self.files.append(
            {
                "id": id_,
                "path": path,
                "download_link": f"/api/v2/well_known_file_download/{id_}",
                "attachable_id": owner,
                "attachable_type": owner_type,
                "well_known_file_type_id": 1,
                "_type": kind,
            }
        )
        self.contents[id_] = content


def make_project(
    sessions=3,
    probes=2,
    channels=10,
    units=12,
    *,
    seed=1,
    files=True,
    angles=(0.0, 45.0),
    repeats=4,
):
    """Make a project: so many sessions, probes a session, channels and units a probe.

    Gratings of these angles are shown so many times each, and flashes of two colors.
    """
    rng = np.random.default_rng(seed)
    project = Project([], [], [], [], stimuli=stimuli_shown(angles, repeats))
    for number in range(sessions):
        project.sessions.append(_session(rng, number))
        for letter in range(probes):
            _add_probe(rng, project, project.sessions[-1], letter, channels, units)
    if files:
        _add_files(rng, project)
    return project


def _session(rng, number):
    genotype = [None, "Sst-IRES-Cre/wt;Ai32/wt", "wt/wt"][number % 3]
    return {
        "id": FIRST["session"] + 4 * number,
        "date_of_acquisition": f"2019-01-{number % 28 + 1:02d}T00:26:20Z",
        "fail_eye_tracking": False,
        "isi_experiment_id": None if number % 2 else 700000 + number,
        "published_at": "2019-10-03T00:00:00Z",
        "specimen_id": 699000001 + number,
        "stimulus_name": TYPES[number % 2],
        "specimen": {
            "id": 699000001 + number,
            "name": f"Mouse-{number}",
            "donor": {
                "sex": "MF"[number % 2],
                "full_genotype": genotype,
                "age": {"days": float(rng.integers(90, 150))},
            },
        },
        "well_known_files": [],
    }


def _add_probe(rng, project, session, letter, channels, units):
    probe = {
        "id": FIRST["probe"] + 2 * len(project.probes),
        "air_channel_index": 370,
        "ecephys_session_id": session["id"],
        "lfp_sampling_rate": 2500.0 - letter / 1000,
        "lfp_temporal_subsampling_factor": 2.0,
        "name": f"probe{'ABCDEF'[letter]}",
        "phase": "3a",
        "sampling_rate": 30000.0 - letter / 100,
        "surface_channel_index": 360,
        "use_lfp_data": True,
    }
    project.probes.append(probe)
    first = len(project.channels)
    for local in range(channels):
        project.channels.append(_channel(rng, first + local, probe, local, channels))
    for local in range(units):
        channel = project.channels[first + int(rng.integers(channels))]
        project.units.append(_unit(rng, len(project.units), channel, local))


def _channel(rng, number, probe, local, channels):
    # the upper end lies outside the brain
    structure = list(STRUCTURES)[local * 6 // channels] if local * 6 // channels < 5 else None
    inside = structure is not None
    return {
        "id": str(FIRST["channel"] + 2 * number),
        "ecephys_probe_id": str(probe["id"]),
        "local_index": str(local),
        "probe_horizontal_position": str([43, 11, 59, 27][local % 4]),
        "probe_vertical_position": str(20 * (local // 2 + 1)),
        "anterior_posterior_ccf_coordinate": str(rng.integers(6000, 9000)) if inside else None,
        "dorsal_ventral_ccf_coordinate": str(rng.integers(1000, 4000)) if inside else None,
        "left_right_ccf_coordinate": str(rng.integers(5000, 9000)) if inside else None,
        "ecephys_structure_id": str(structure) if inside else None,
        "ecephys_structure_acronym": STRUCTURES[structure].split("-")[0] if inside else None,
    }


def _unit(rng, number, channel, local):
    drawn = rng.random(len(UNIT_METRICS))
    values = {name: round(float(one), 6) for name, one in zip(UNIT_METRICS, drawn, strict=True)}
    if number % 17 == 3:
        values["isolation_distance"] = None
    unit = {
        **values,
        "amplitude_cutoff": None if number % 23 == 5 else round(float(rng.random() / 5), 6),
        "cluster_id": local,
        "ecephys_channel_id": int(channel["id"]),
        "epoch_name_quality_metrics": "complete_session",
        "epoch_name_waveform_metrics": "complete_session",
        "id": FIRST["unit"] + 3 * number,
        "isi_violations": [0.0, 0.02, 0.5, 1.2][number % 4],
        "local_index": local,
        "presence_ratio": [0.99, 0.95, 0.8, 1.0][number % 4 if number % 3 else 0],
        "quality": "noise" if number % 9 == 4 else "good",
    }
    return dict(sorted(unit.items()))


# -- files ----------------------------------------------------------------------------------------


def _add_files(rng, project):
    for place, session in enumerate(project.sessions):
        probes = [one for one in project.probes if one["ecephys_session_id"] == session["id"]]
        # the last session has no NWB file
        if place + 1 < len(project.sessions):
            content = session_nwb(rng, project, session, probes)
            id_ = session["id"]
            project.add_file("EcephysNwb", "EcephysSession", id_, f"/{id_}.nwb", content)
            session["well_known_files"] = [{"well_known_file_type": {"name": "EcephysNwb"}}]
            for probe in probes:
                content = lfp_nwb(rng, project, session, probe)
                id_ = probe["id"]
                project.add_file("EcephysLfpNwb", "EcephysProbe", id_, f"/{id_}.nwb", content)
        for unit in units_of(project, session):
            project.bundles.append(_bundle(rng, len(project.bundles), unit, session))
    for number in (1, 3):
        movie = io.BytesIO()
        np.save(movie, rng.integers(0, 255, (4, 6, 8), dtype=np.uint8))
        path = f"/movies/natural_movie_{number}.npy"
        project.add_file("Stimulus", "Product", PRODUCT, path, movie.getvalue())
    for number in (0, 14):
        scene = rng.integers(0, 255, (6, 8), dtype=np.uint8)
        project.add_file("Stimulus", "Product", PRODUCT, f"/scenes/{number}.tiff", tiff(scene))
    project.add_file("Stimulus", "Product", PRODUCT, "/other/readme.txt", b"not a template")


def units_of(project, session):
    probes = {one["id"] for one in project.probes if one["ecephys_session_id"] == session["id"]}
    channels = {
        int(one["id"]) for one in project.channels if int(one["ecephys_probe_id"]) in probes
    }
    return [one for one in project.units if one["ecephys_channel_id"] in channels]


def _bundle(rng, number, unit, session):
    data = {
        "area_rf": float(rng.integers(100, 900)),
        # the server has these two in each other's place
        "on_screen_rf": round(float(rng.random()), 6),
        "p_value_rf": bool(rng.random() < 0.5),
        "pref_ori_dg": None if number % 5 == 0 else float(rng.integers(8) * 45),
    }
    if session["stimulus_name"] == TYPES[0]:
        data["pref_images_multi_ns"] = "[1,2]" if number % 2 else "[]"
    id_ = 1000 + number
    return {"data": json.dumps(data), "ecephys_unit_id": unit["id"], "id": id_}


def tiff(image):
    """Write a grey image as TIFF."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "TIFF")
    return file.getvalue()


def session_nwb(rng, project, session, probes):
    """Write the NWB file of a session, with what AllenSDK reads of one."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        _write_head(file, session)
        electrodes = [
            one
            for one in project.channels
            if int(one["ecephys_probe_id"]) in {probe["id"] for probe in probes}
        ]
        _write_probes(file, probes)
        _write_electrodes(file, electrodes, probes)
        _write_units(rng, file, units_of(project, session), electrodes, project.stimuli)
        _write_stimuli(file, project.stimuli)
        running = file.create_group("processing/running")
        times = np.arange(0, 20, 0.5)
        _write_series(running, "running_speed", rng.random(len(times)), times)
        _write_series(running, "running_speed_end_times", rng.random(len(times)), times + 0.5)
    return buffer.getvalue()


def _write_head(file, session):
    file.attrs["nwb_version"] = "2.2.2"
    file["identifier"] = str(session["id"])
    file["session_start_time"] = "2019-01-08T13:55:01+00:00"
    file["general/stimulus"] = session["stimulus_name"]
    subject = file.create_group("general/subject")
    donor = session["specimen"]["donor"]
    subject["genotype"] = donor["full_genotype"] or "wt"
    subject["sex"] = donor["sex"]
    subject.attrs["specimen_name"] = session["specimen"]["name"]
    subject.attrs["age_in_days"] = donor["age"]["days"]


def _write_table(group, columns, ids):
    group.attrs["colnames"] = list(columns)
    group["id"] = np.asarray(ids, dtype="int64")
    for name, values in columns.items():
        group[name] = list(values) if isinstance(values[0], str) else np.asarray(values)


def _write_series(group, name, data, times):
    series = group.create_group(name)
    series["data"], series["timestamps"] = data, times


def _write_probes(file, probes):
    for probe in probes:
        group = file.create_group(f"general/extracellular_ephys/{probe['name']}")
        group.attrs.update(
            {
                "probe_id": probe["id"],
                "location": "See electrode locations",
                "lfp_sampling_rate": 1250.0,
                "has_lfp_data": True,
            }
        )
        device = file.create_group(f"general/devices/{probe['name']}")
        device.attrs["sampling_rate"] = probe["sampling_rate"]


def _write_electrodes(file, electrodes, probes):
    names = {probe["id"]: probe["name"] for probe in probes}
    missing = {None: np.nan}
    columns = {
        "location": [one["ecephys_structure_acronym"] or "" for one in electrodes],
        "group_name": [names[int(one["ecephys_probe_id"])] for one in electrodes],
        "probe_vertical_position": [int(one["probe_vertical_position"]) for one in electrodes],
        "probe_horizontal_position": [int(one["probe_horizontal_position"]) for one in electrodes],
        "probe_id": [int(one["ecephys_probe_id"]) for one in electrodes],
        "local_index": [int(one["local_index"]) for one in electrodes],
        "valid_data": [int(one["local_index"]) != 2 for one in electrodes],
        "x": [
            float(missing.get(one["anterior_posterior_ccf_coordinate"], 1.0)) for one in electrodes
        ],
        "y": [1.0] * len(electrodes),
        "z": [1.0] * len(electrodes),
    }
    group = file.create_group("general/extracellular_ephys/electrodes")
    _write_table(group, columns, [int(one["id"]) for one in electrodes])


def _write_units(rng, file, units, electrodes, stimuli):
    group = file.create_group("units")
    plain = ("ecephys_channel_id", "id", "epoch_name_quality_metrics", "duration", "halfwidth")
    names = [
        name for name in units[0] if name not in plain and name != "epoch_name_waveform_metrics"
    ]
    columns = {
        name: [np.nan if one[name] is None else one[name] for one in units] for name in names
    }
    columns["peak_channel_id"] = [one["ecephys_channel_id"] for one in units]
    columns["waveform_duration"] = [one["duration"] for one in units]
    spikes = [spikes_of_unit(rng, stimuli) for _ in units]
    ends = np.cumsum([len(one) for one in spikes])
    _write_table(group, columns, [one["id"] for one in units])
    group.attrs["colnames"] = [*columns, "spike_times", "spike_amplitudes", "waveform_mean"]
    group["spike_times"], group["spike_times_index"] = np.concatenate(spikes), ends
    group["spike_amplitudes"] = rng.random(int(ends[-1]))
    group["spike_amplitudes_index"] = ends
    number = len(electrodes) // len({one["ecephys_probe_id"] for one in electrodes})
    group["waveform_mean"] = rng.random((number * len(units), 7))
    group["waveform_mean_index"] = number * (1 + np.arange(len(units)))


def make_released(sessions=58, probes=332, channels=123_224, units=99_180, *, seed=1):
    """Make tables as large as those that are released; without files."""
    rng = np.random.default_rng(seed)
    project = Project([], [], [], [])
    on_probe = zip(spread(channels, probes), spread(units, probes), strict=True)
    for number, own in enumerate(spread(probes, sessions)):
        project.sessions.append(_session(rng, number))
        for letter in range(own):
            _add_probe(rng, project, project.sessions[-1], letter, *next(on_probe))
    return project


def spread(number, places):
    """Part a number into whole numbers that are as equal as can be."""
    return [number * (one + 1) // places - number * one // places for one in range(places)]


def stimuli_shown(angles, repeats):
    """Say what is shown: name, onsets (s), and the parameters of each presentation."""
    flashes, gratings = 2 * repeats, len(angles) * repeats
    starts = 1 + 0.5 * np.arange(flashes + gratings)
    return [
        (
            "flash_250ms",
            starts[:flashes],
            {"Contrast": [0.8] * flashes, "color": ["1.0", "-1.0"] * repeats},
        ),
        (
            "drifting_gratings",
            starts[flashes:],
            {
                "Ori": list(angles) * repeats,
                "TF": [2.0] * gratings,
                "phase": ["[0.0, 0.0]"] * gratings,
            },
        ),
        ("spontaneous", np.array([0.0]), {}),
    ]


def spikes_of_unit(rng, stimuli):
    """Draw the spikes of a unit that prefers one direction, and one of the two flashes (s)."""
    end = max(times[-1] for _, times, _ in stimuli) + 1
    spikes = [rng.uniform(0, end, rng.poisson(rng.uniform(2, 6) * end))]
    angle, color = rng.uniform(0, 360), rng.choice(["1.0", "-1.0"])
    for name, onsets, shown in stimuli:
        if name == "drifting_gratings":
            off = np.abs((np.array(shown["Ori"]) - angle + 180) % 360 - 180)
            number = 8 * np.exp(-((off / 50) ** 2))
        elif name == "flash_250ms":
            number = np.where(np.array(shown["color"]) == color, 5.0, 1.0)
        else:
            continue
        each = np.repeat(onsets, rng.poisson(number))
        # 40 ms on the way to the cortex, strongest at once
        spikes.append(each + 0.04 + rng.gamma(1.5, 0.06, len(each)))
    return np.sort(np.concatenate(spikes))


def _write_stimuli(file, stimuli):
    for block, (name, times, extra) in enumerate(stimuli):
        group = file.create_group(f"intervals/{name}_presentations")
        number = len(times)
        columns = {
            "start_time": times,
            "stop_time": times + 0.25,
            "stimulus_block": [float(block) if extra else np.nan] * number,
            "stimulus_name": [name if extra else ""] * number,
            "stimulus_index": list(range(number)),
            **extra,
        }
        _write_table(group, columns, range(number))


def lfp_nwb(rng, project, session, probe):
    """Write the LFP file of a probe."""
    import h5py

    buffer = io.BytesIO()
    own = [one for one in project.channels if int(one["ecephys_probe_id"]) == probe["id"]]
    channels = own[::4]
    times = np.arange(0, 20, 0.1)
    with h5py.File(buffer, "w") as file:
        _write_head(file, session)
        _write_probes(file, [probe])
        _write_electrodes(file, channels, [probe])
        name = f"probe_{probe['id']}_lfp"
        data = rng.random((len(times), len(channels))).astype("float32")
        _write_series(file.create_group(f"acquisition/{name}"), f"{name}_data", data, times)
        csd = file.create_group("processing/current_source_density/ecephys_csd")
        _write_series(csd, "current_source_density", rng.random((10, 5)), np.arange(10) / 100)
        csd["virtual_electrode_x_positions"] = np.zeros(5)
        csd["virtual_electrode_y_positions"] = np.arange(5.0) * 40
    return buffer.getvalue()
