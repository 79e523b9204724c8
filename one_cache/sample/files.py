"""The files of a sample session: which there are, and their bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from one_cache.sample.arrays import (
    N_UNITS,
    Dice,
    Trials,
    make_drift,
    make_licks,
    make_spikes,
    make_trials,
    make_wheel,
)

PROBES = ("probe00", "probe01")
REVISION = "2024-05-06"
REVISED = "alf/probe00/pykilosort"


def files_of(session: str) -> Iterator[tuple[str, bytes]]:
    """Give what each session has.

    Parameters
    ----------
    session : str
        Path of the session; all its data follow from it.

    Yields
    ------
    (str, bytes)
        Relative path and content.
    """
    trials = make_trials(session)
    yield "alf/_ibl_trials.table.pqt", parquet(_columns(trials))
    yield from _npy("alf/_ibl_trials", _attributes(trials))
    yield from _npy("alf/_ibl_wheel", make_wheel(trials))
    yield from _npy("alf/licks", {"times": make_licks(trials)})
    yield "alf/probes.description.json", _describe_probes(session)
    for probe in PROBES:
        folder = f"alf/{probe}"
        spikes = make_spikes(f"{session} {probe}", trials)
        yield from _npy(f"{folder}/spikes", spikes)
        dice = Dice(f"{session} {probe} clusters")
        channels = np.sort(dice.integers(N_UNITS, 384)).astype(np.int32)
        yield from _npy(
            f"{folder}/clusters", {"channels": channels, "depths": channels // 2 * 20.0}
        )
        yield f"{folder}/clusters.metrics.csv", _metrics(spikes, trials.end)


def drift_of(session: str) -> Iterator[tuple[str, bytes]]:
    """Give the drift of a probe twice: as it was found first, and revised."""
    trials = make_trials(session)
    yield from _npy(f"{REVISED}/drift", make_drift(f"{session} drift", trials, 4))
    again = make_drift(f"{session} drift {REVISION}", trials, 2)
    yield from _npy(f"{REVISED}/#{REVISION}#/drift", again)


def poor_of(session: str) -> Iterator[tuple[str, bytes]]:
    """Give what a session has that did not pass its checks."""
    trials = make_trials(session)
    moves = np.stack([trials.first_movement, trials.response], axis=1)
    yield from _npy("alf/_ibl_wheelMoves", {"intervals": moves})
    yield from _npy("alf/_ibl_leftCamera", {"times": np.arange(int(trials.end * 60)) / 60})


def _attributes(trials: Trials) -> dict[str, Any]:
    nothing = np.full(len(trials.contrast), np.nan)
    return {
        "choice": trials.choice,
        "contrastLeft": np.where(trials.is_left, trials.contrast, nothing),
        "contrastRight": np.where(trials.is_left, nothing, trials.contrast),
        "feedback_times": trials.feedback,
        "goCue_times": trials.go_cue,
        "intervals": trials.intervals,
        "stimOn_times": trials.stim_on,
    }


def _columns(trials: Trials) -> dict[str, Any]:
    return {
        "feedbackType": np.where(trials.is_correct, 1.0, -1.0),
        "firstMovement_times": trials.first_movement,
        "probabilityLeft": trials.probability_left,
        "response_times": trials.response,
        "rewardVolume": np.where(trials.is_correct, 3.0, 0.0),
    }


def _describe_probes(session: str) -> bytes:
    serials = Dice(f"{session} serials").integers(len(PROBES), 10**8) + 10**8
    probes = [
        {
            "label": probe,
            "model": "3B2",
            "serial": int(serial),
            "raw_file_name": f"{probe}.ap.cbin",
        }
        for probe, serial in zip(PROBES, serials, strict=True)
    ]
    return json.dumps(probes, indent=1).encode()


def _metrics(spikes: Mapping[str, Any], end: float) -> bytes:
    lines = ["cluster_id,spike_count,firing_rate,label"]
    for unit, count in enumerate(np.bincount(spikes["clusters"], minlength=N_UNITS).tolist()):
        lines.append(f"{unit},{count},{count / end:.4f},{1 if count / end > 2 else 0.5}")
    return ("\n".join(lines) + "\n").encode()


def _npy(stem: str, attributes: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    for attribute, array in attributes.items():
        yield f"{stem}.{attribute}.npy", npy(array)


def npy(array: Any) -> bytes:
    """Give an array in the npy format, version 1.0.

    Written out here, as numpy has changed how much space it leaves in the header.

    Examples
    --------
    >>> np.load(io.BytesIO(npy(np.arange(3, dtype="<f8"))))
    array([0., 1., 2.])
    """
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    content: bytes = array.tobytes()
    header = f"{{'descr': {array.dtype.str!r}, 'fortran_order': False, 'shape': {array.shape}, }}"
    # magic, version and length take 10 bytes, the line end one; the data start at a multiple of 64
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + content


def parquet(columns: Mapping[str, Any]) -> bytes:
    """Give columns as a Parquet file that pandas reads with an index of 0, 1, 2...

    The bytes name the version of pyarrow, so they are the same under one version of it.
    """
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it ships no types

    table = pa.table(dict(columns))
    index = {"kind": "range", "name": None, "start": 0, "stop": table.num_rows, "step": 1}
    described = [
        {
            "name": name,
            "field_name": name,
            "pandas_type": "float64",
            "numpy_type": "float64",
            "metadata": None,
        }
        for name in columns
    ]
    said = {
        "index_columns": [index],
        "column_indexes": [],
        "columns": described,
        "pandas_version": "2.1.0",
    }
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(said)}), buffer)
    return buffer.getvalue()
