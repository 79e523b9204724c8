"""What a rig names, out of an NWB file: ``(data, timestamps)`` in seconds on one clock."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.errors import ContentError, DependencyMissing, InvalidArgument, near_misses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from one_cache.rig.description import Feature, RigDescription

Animal = tuple[int, str]  # number in the rig; name, empty where the key has none


@dataclass(frozen=True, eq=False)
class Series:
    """A recording.

    Attributes
    ----------
    data : (n,) or (n, k) array
        In `unit`; the conversion and offset of the file are applied.
    timestamps : (n,) float, s
        On the clock of the session.
    unit : str
        As the file says.
    """

    data: NDArray[Any]
    timestamps: NDArray[Any]
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Recording:
    """What a rig names, as one file has it.

    Attributes
    ----------
    series : mapping of str to Series
        By feature; those that DeepLabCut makes later are not there.
    videos : mapping of str to (str, (n,) array)
        By name, the file as the NWB file names it, and the times of its frames in s.
    """

    series: Mapping[str, Series] = field(default_factory=dict)
    videos: Mapping[str, tuple[str, Any]] = field(default_factory=dict)


def read_nwb(path: Path, rig: RigDescription, animals: Sequence[Animal]) -> Recording:
    """Read all that a rig names, after checking that it is there.

    Parameters
    ----------
    path : pathlib.Path
        The NWB file. What the rig does not name is left aside.
    rig : RigDescription
        The rig.
    animals : sequence of (int, str)
        Numbers and names.

    Returns
    -------
    Recording

    Raises
    ------
    InvalidArgument
        Something is missing or of another kind: all of it, and what the file has instead.
    ContentError
        It is no NWB file.
    """
    with _opened(path) as nwb:
        found = _Contents(nwb)
        problems = [*found.problems(rig), *_animal_problems(nwb, rig, animals)]
        if not problems:
            recording = found.read(rig)
            problems = list(_content_problems(rig, recording))
    if problems:
        lines = "\n".join(f"- {problem}" for problem in problems)
        raise InvalidArgument(f"{path} does not fit the rig; nothing was inserted:\n{lines}")
    return recording


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        pynwb = import_module("pynwb")
    except ImportError as error:
        raise DependencyMissing(
            "NWB files are read with pynwb: pip install 'one_cache[nwb]'"
        ) from error
    if not path.is_file():
        raise InvalidArgument(f"there is no file {path}")
    with warnings.catch_warnings():
        # of cached namespaces and of what other versions wrote: nothing that a user can mend
        warnings.simplefilter("ignore")
        try:
            io = pynwb.NWBHDF5IO(str(path), mode="r", load_namespaces=True)
            nwb = io.read()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ContentError(f"{path} is not readable as NWB: {error}") from error
        with io:
            yield nwb


class _Contents:
    """What lies where in a file."""

    def __init__(self, nwb: Any) -> None:
        self._groups: dict[str, dict[str, Any]] = {
            "acquisition": dict(nwb.acquisition),
            "stimulus": dict(nwb.stimulus),
        }
        for name, module in nwb.processing.items():
            self._groups[f"processing/{name}"] = dict(_within(module.data_interfaces))

    def problems(self, rig: RigDescription) -> Iterator[str]:
        """Say what the rig names and the file lacks."""
        for feature in rig.features:
            if feature.source_type != "deeplabcut":
                yield from self._missing("feature", feature.name, _group(feature))
        for video in rig.videos:
            yield from self._missing("video", video, "acquisition")

    def _missing(self, kind: str, name: str, group: str) -> Iterator[str]:
        there = self._groups.get(group)
        if there is None:
            known = ", ".join(self._groups)
            yield f"{kind} {name!r}: there is no {group}; the file has {known}"
        elif name not in there:
            others = [g for g, names in self._groups.items() if name in names]
            hint = f" It is in {', '.join(others)}." if others else near_misses(name, there)
            has = ", ".join(sorted(there)) or "nothing"
            yield f"{kind} {name!r} is not in {group}, which has {has}.{hint}"
        elif not hasattr(there[name], "timestamps"):
            yield f"{kind} {name!r} in {group} is a {type(there[name]).__name__}, no time series"

    def read(self, rig: RigDescription) -> Recording:
        """Read what the rig names."""
        series = {
            one.name: _series(self._groups[_group(one)][one.name], one)
            for one in rig.features
            if one.source_type != "deeplabcut"
        }
        return Recording(
            series, {name: _video(self._groups["acquisition"][name]) for name in rig.videos}
        )


def _group(feature: Feature) -> str:
    if feature.source_type == "processing":
        return f"processing/{feature.module}"
    return feature.source_type


def _within(interfaces: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give the series of a module, those within containers (Position, ...) too."""
    for name, one in interfaces.items():
        yield name, one
        for inside in ("spatial_series", "time_series"):
            yield from dict(getattr(one, inside, None) or {}).items()


def _series(one: Any, feature: Feature) -> Series:
    import numpy as np

    data = np.asarray(one.data[:])
    factor, offset = float(one.conversion), float(one.offset or 0.0)
    # plus and minus ones say on and off, and measure nothing
    if feature.data_type != "interval" and (factor != 1 or offset != 0):
        data = data * factor + offset
    return Series(data, _times(one, len(data)), str(one.unit or ""))


def _times(one: Any, length: int) -> NDArray[Any]:
    import numpy as np

    if one.timestamps is not None:
        return np.asarray(one.timestamps[:], dtype=np.float64)
    if one.rate is None:
        return np.empty(0)
    times: NDArray[Any] = float(one.starting_time or 0.0) + np.arange(length) / float(one.rate)
    return times


def _video(one: Any) -> tuple[str, Any]:
    files = [str(name) for name in (one.external_file if one.external_file is not None else ())]
    # the frames of a file elsewhere are counted in the file, or by who wrote it
    frames = int(getattr(one, "num_samples", None) or 0) if files else len(one.data)
    return (files[0].removeprefix("./") if files else ""), _times(one, frames)


def _content_problems(rig: RigDescription, recording: Recording) -> Iterator[str]:
    """Say which data are not what the rig says they are."""
    import numpy as np

    kinds = {one.name: one.data_type for one in rig.features}
    for name, series in recording.series.items():
        data, times, kind = series.data, series.timestamps, kinds[name]
        what = f"feature {name!r} ({kind})"
        if len(data) != len(times):
            yield f"{what} has {len(data)} values and {len(times)} timestamps"
        elif kind == "kinematics" and (data.ndim != 2 or data.shape[1] not in (2, 3)):
            yield f"{what} needs columns x, y, likelihood, has shape {data.shape}"
        elif kind != "kinematics" and data.ndim != 1:
            yield f"{what} needs one value a time, has shape {data.shape}"
        elif kind == "interval" and not np.isin(data, (-1, 1)).all():
            at = int(np.flatnonzero(~np.isin(data, (-1, 1)))[0])
            yield f"{what} needs +1 and -1, has {data[at]} at index {at}"


def _animal_problems(nwb: Any, rig: RigDescription, animals: Sequence[Animal]) -> Iterator[str]:
    """Say how the animals that were given are not those of the rig and of the file."""
    numbers, wanted = [number for number, _ in animals], list(rig.animals)
    # a feature whose animal is not known yet may be of a further one
    is_open = any(one.animal == -1 for one in rig.features)
    if (set(wanted) - set(numbers)) if is_open else sorted(numbers) != wanted:
        yield (
            f"animals: the rig has {len(wanted)} (numbers {wanted}), {len(numbers)} were given "
            f"(numbers {sorted(numbers)})"
        )
    names = [name for _, name in animals if name]
    subject = getattr(nwb.subject, "subject_id", None)
    if subject and names and len(names) == len(animals) and subject not in names:
        yield f"animals: the file is of {subject!r}, given were {', '.join(map(repr, names))}"
