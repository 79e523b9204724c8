"""One session: its animals, its recordings by name, its masks, and the rows that it becomes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from one_cache.cache import Cache
from one_cache.cache.relating import row_id
from one_cache.errors import InvalidArgument, near_misses
from one_cache.rig import headings
from one_cache.rig.description import Feature, RigDescription
from one_cache.rig.files import write
from one_cache.rig.nwb import Recording
from one_cache.trials.masks import MaskFunction, mask_functions
from one_cache.trials.split import Series

Given = tuple[int, int, str]  # number in the rig, animal_id, name or ""
_TABLE_OF = {
    "analog": "AnalogEvents",
    "digital": "DigitalEvents",
    "interval": "IntervalEvents",
    "kinematics": "Kinematics",
}


def animals_of(animals: Any, experimenter: str) -> list[Given]:
    """Read the keys of animals.

    Parameters
    ----------
    animals : list of dict, or dict of int to dict
        In the order of their numbers, or by number.
    experimenter : str
        Of the session; keys that name another one are refused.

    Returns
    -------
    list of (number, animal_id, name)

    Raises
    ------
    InvalidArgument
        A key is none, or of another experimenter.

    Examples
    --------
    >>> animals_of([{"animal_id": 7, "animal_name": "mouse1"}], "alice")
    [(1, 7, 'mouse1')]
    """
    numbered = animals.items() if isinstance(animals, Mapping) else enumerate(animals, 1)
    found = []
    for number, key in numbered:
        if not isinstance(number, int) or not isinstance(key, Mapping):
            raise InvalidArgument(
                f"animals are a list of keys, or a dict of number and key, got {number!r}: {key!r}"
            )
        if key.get("experimenter", experimenter) != experimenter:
            raise InvalidArgument(
                f"animal {number} is of experimenter {key['experimenter']!r}, the session of "
                f"{experimenter!r}"
            )
        id, name = key.get("animal_id", number), key.get("animal_name", "")
        found.append((number, number, str(id)) if isinstance(id, str) else (number, int(id), name))
    return found


def one_world(row: Mapping[str, Any]) -> dict[str, Any]:
    """Give the key of a session and its rig."""
    return {name: row[name] for name in (*headings.SESSION, "behaviourrig_id")}


class SessionData(Mapping[str, Series]):
    """The recordings of a session by name, as a mask function gets them.

    Parameters
    ----------
    key : mapping
        Of the session and its rig.
    recorded : mapping
        Name to ``(data, timestamps)``, or to a relation of one row that has both.
    """

    def __init__(self, key: Mapping[str, Any], recorded: Mapping[str, Any]) -> None:
        self.key = dict(key)
        self._recorded = recorded

    def __getitem__(self, name: str) -> Series:
        if name not in self._recorded:
            raise InvalidArgument(f"no recording {name!r}.{near_misses(name, self._recorded)}")
        found = self._recorded[name]
        data, timestamps = (
            found if isinstance(found, tuple) else found.fetch1("data", "timestamps")
        )
        return data, timestamps

    def __contains__(self, name: object) -> bool:
        return name in self._recorded

    def __iter__(self) -> Iterator[str]:
        return iter(self._recorded)

    def __len__(self) -> int:
        return len(self._recorded)


class Masks:
    """The mask functions of a rig, found in the analysis folder.

    Parameters
    ----------
    wanted : sequence of dict
        Rows of MaskFunction.
    folder : path
        The analysis folder.

    Raises
    ------
    InvalidArgument
        Functions that are not there, all of them.
    """

    def __init__(self, wanted: Sequence[Mapping[str, Any]], folder: Path) -> None:
        known = mask_functions(folder) if wanted else {}
        gone = [row["mask_function"] for row in wanted if row["mask_function"] not in known]
        if gone:
            said = ", ".join(f"{one!r}{near_misses(one, known)}" for one in gone)
            raise InvalidArgument(f"mask functions are not in {folder}: {said}")
        self._functions: list[tuple[Mapping[str, Any], MaskFunction]] = [
            (row, known[row["mask_function"]]) for row in wanted
        ]

    def compute(self, session: SessionData) -> list[tuple[Mapping[str, Any], Series]]:
        """Compute all masks of a session.

        Returns
        -------
        list of (row of MaskFunction, (data, timestamps))
        """
        return [(row, function(session)) for row, function in self._functions]


class SessionDraft:
    """The rows that a session becomes; its arrays are written on the way.

    Parameters
    ----------
    cache : Cache
        Gets the arrays.
    world : mapping
        Key of the session and its rig.
    rig : RigDescription
        What was recorded.
    animals : sequence of (number, animal_id, name)
        Whose features they are.
    """

    def __init__(
        self,
        cache: Cache,
        world: Mapping[str, Any],
        rig: RigDescription,
        animals: Sequence[Given],
    ) -> None:
        self._cache = cache
        self._world = dict(world)
        self._rig = rig
        self._animals = {number: (id, name) for number, id, name in animals}
        self._written: list[str] = []

    def of(
        self, recording: Recording, masks: Sequence[tuple[Mapping[str, Any], Series]], path: Path
    ) -> dict[str, list[dict[str, Any]]]:
        """Write the arrays; give the rows of all tables.

        Parameters
        ----------
        recording : Recording
            What the file has.
        masks : sequence of (row of MaskFunction, (data, timestamps))
            What was computed.
        path : pathlib.Path
            The file.

        Returns
        -------
        dict of str to list of dict
            By relation.
        """
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in _TABLE_OF.values()}
        rows["Video"] = [self._video(at, name, recording) for at, name in self._videos()]
        rows["Object"] = []
        for number, feature in enumerate(self._rig.features, 1):
            rows["Object"].append(self._object(number, feature))
            if feature.name in recording.series:
                name = _TABLE_OF[feature.data_type]
                rows[name].append(self._events(name, number, feature, recording))
        rows["Self"] = [self._self(number) for number in self._animals]
        rows["Mask"] = []
        for one in masks:
            rows["Mask"] += masks_rows(self._cache, self._world, [one])
            self._written.append(rows["Mask"][-1]["path"])
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        world = {
            **self._world,
            "dlc_training": "False",
            "nwb_file": path.name,
            "nwb_hash": f"sha256:{digest}",
        }
        rows["World"] = [with_id("World", world)]
        return rows

    def withdraw(self) -> None:
        """Remove the arrays that were written, where their rows were not."""
        for path in self._written:
            self._cache.store.remove(path)

    def _videos(self) -> Iterator[tuple[int, str]]:
        return enumerate(self._rig.videos, 1)

    def _video(self, number: int, name: str, recording: Recording) -> dict[str, Any]:
        file, times = recording.videos[name]
        row = {**self._world, "video_id": number, "video_name": name, "video": file}
        # no data of its own: where the frames lie, and when they were taken
        found = self._with_arrays("Video", row, name, times, times)
        del found["data"]
        return found

    def _object(self, number: int, feature: Feature) -> dict[str, Any]:
        return with_id(
            "Object",
            {
                **self._world,
                "feature_id": number,
                "object_name": feature.name,
                "object_type": "World" if feature.animal is None else "Self",
                "animal_id": self._animal(feature),
            },
        )

    def _animal(self, feature: Feature) -> int | None:
        return self._animals[feature.animal][0] if feature.animal in self._animals else None

    def _self(self, number: int) -> dict[str, Any]:
        id, name = self._animals[number]
        key = {one: self._world[one] for one in headings.SESSION}
        row = {**key, "animal_id": id, "animal_number": number, "animal_name": name}
        return with_id("Self", row)

    def _events(
        self, name: str, number: int, feature: Feature, recording: Recording
    ) -> dict[str, Any]:
        series = recording.series[feature.name]
        row = {
            **self._world,
            "feature_id": number,
            "animal_id": self._animal(feature),
            f"{name.lower()}_name": feature.name,
        }
        if feature.data_type == "kinematics":
            row["video_id"] = self._rig.videos.index(feature.video) + 1
        elif feature.coordinates is not None:
            x, y, z = feature.coordinates
            row.update(x_coordinate=x, y_coordinate=y, z_coordinate=z)
        if feature.data_type in ("analog", "digital"):
            row["unit"] = series.unit
        return self._with_arrays(name, row, feature.name, series.data, series.timestamps)

    def _with_arrays(
        self, name: str, row: Mapping[str, Any], what: str, data: Any, timestamps: Any
    ) -> dict[str, Any]:
        found = _with_arrays(self._cache, name, row, what, data, timestamps)
        self._written.append(found["path"])
        return found


def masks_rows(
    cache: Cache, world: Mapping[str, Any], masks: Sequence[tuple[Mapping[str, Any], Series]]
) -> list[dict[str, Any]]:
    """Write masks; give their rows, each in the place of the one of its key.

    Parameters
    ----------
    cache : Cache
        Gets the arrays.
    world : mapping
        Key of the session and its rig.
    masks : sequence of (row of MaskFunction, (data, timestamps))
        What was computed.

    Returns
    -------
    list of dict
    """
    rows = []
    for found, (data, timestamps) in masks:
        row = {**world, "mask_id": found["mask_id"], "mask_name": found["maskfunction_name"]}
        rows.append(_with_arrays(cache, "Mask", row, row["mask_name"], data, timestamps))
    return rows


def with_id(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Give a row with the id that follows from its key."""
    key = (row[one] for one in headings.key_of(name))
    return {"id": row_id(headings.table_of(name), *key), **row}


def _with_arrays(
    cache: Cache, name: str, row: Mapping[str, Any], what: str, data: Any, timestamps: Any
) -> dict[str, Any]:
    """Write the arrays of a row; give the row."""
    found = with_id(name, row)
    session = "/".join(str(row[one]) for one in headings.SESSION)
    stem = f"{session}/{headings.table_of(name)}/{what}"
    return {**found, **write(cache, found["id"], stem, data, timestamps)}
