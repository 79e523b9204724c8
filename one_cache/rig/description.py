"""Rig descriptions: a JSON file that names the features of a behaviour rig and where they lie."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from one_cache.errors import DependencyMissing, InvalidArgument, near_misses

_TEXT = {"type": "string", "minLength": 1}


def _when(place: Sequence[str], value: str, then: Mapping[str, Any]) -> dict[str, Any]:
    """Give the condition that `then` holds where a property has some value."""
    test: dict[str, Any] = {"const": value}
    for name in reversed(place):
        test = {"type": "object", "required": [name], "properties": {name: test}}
    return {"if": test, "then": then}


_SOURCE_VIDEO = {"properties": {"source": {"required": ["video"]}}}
_FEATURE = {
    "type": "object",
    "required": ["name", "source", "ownership", "data_type", "description"],
    "properties": {
        "name": _TEXT,
        "source": {
            "type": "object",
            "required": ["source_type"],
            "properties": {
                "source_type": {"enum": ["acquisition", "stimulus", "processing", "deeplabcut"]},
                "module": _TEXT,
                "video": _TEXT,
            },
            "allOf": [_when(["source_type"], "processing", {"required": ["module"]})],
        },
        "ownership": {
            "type": "object",
            "required": ["ownership"],
            "properties": {
                "ownership": {"enum": ["world", "self"]},
                # -1: which animal it is of is not known yet
                "animal": {"type": "integer", "minimum": -1, "not": {"const": 0}},
            },
            "allOf": [_when(["ownership"], "self", {"required": ["animal"]})],
        },
        "data_type": {"enum": ["digital", "analog", "interval", "kinematics"]},
        "coordinates": {
            "type": "array",
            "items": {"type": "number"},
            "minItems": 3,
            "maxItems": 3,
        },
        "description": {"type": "string"},
    },
    "allOf": [
        *(
            _when(["data_type"], kind, {"required": ["coordinates"]})
            for kind in ("digital", "analog", "interval")
        ),
        _when(["data_type"], "kinematics", _SOURCE_VIDEO),
        _when(["source", "source_type"], "deeplabcut", _SOURCE_VIDEO),
    ],
}
SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["specification", "version", "reference_point", "features"],
    "properties": {
        # rigs in the wild have either spelling
        "specification": {"enum": ["antelop-behaviour", "antelope-behaviour"]},
        "version": _TEXT,
        "reference_point": _TEXT,
        "features": {"type": "array", "items": _FEATURE},
        "videos": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "description", "format"],
                "properties": {
                    "name": _TEXT,
                    "description": {"type": "string"},
                    "format": {"enum": ["avi", "mp4", "mov"]},
                    "reference_point": {"type": "string"},
                },
            },
        },
    },
}
_MASKS: Mapping[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "description", "function"],
        "properties": {"name": _TEXT, "description": {"type": "string"}, "function": _TEXT},
    },
}


@dataclass(frozen=True)
class Feature:
    """One thing that a rig records.

    Attributes
    ----------
    name, description : str
        As the rig names it, and the NWB file too.
    data_type : {"analog", "digital", "interval", "kinematics"}
        What its data are.
    source_type : {"acquisition", "stimulus", "processing", "deeplabcut"}
        Where in the NWB file it lies; ``deeplabcut`` is made later.
    module, video : str
        Processing module and video; empty for none.
    animal : int or None
        Number of the animal that it belongs to, -1 where not known yet; None for the world.
    coordinates : tuple of float or None
        x, y, z in the rig's unit.
    """

    name: str
    description: str
    data_type: str
    source_type: str
    module: str = ""
    video: str = ""
    animal: int | None = None
    coordinates: tuple[float, ...] | None = None

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Feature:
        """Read a feature of a valid description."""
        source, owner = value["source"], value["ownership"]
        place = value.get("coordinates")
        return cls(
            value["name"],
            value["description"],
            value["data_type"],
            source["source_type"],
            source.get("module", ""),
            source.get("video", ""),
            owner["animal"] if owner["ownership"] == "self" else None,
            tuple(map(float, place)) if place is not None else None,
        )


@dataclass(frozen=True)
class RigDescription:
    """A valid description.

    Attributes
    ----------
    json : str
        Its text.
    features : tuple of Feature
        In their order.
    videos : tuple of str
        Their names.
    """

    json: str
    features: tuple[Feature, ...]
    videos: tuple[str, ...]

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> RigDescription:
        """Take a description that was checked."""
        features = tuple(map(Feature.read, value["features"]))
        videos = tuple(one["name"] for one in value.get("videos", ()))
        return cls(json.dumps(value, ensure_ascii=False), features, videos)

    @property
    def animals(self) -> tuple[int, ...]:
        """Numbers of the animals that features belong to."""
        return tuple(
            sorted({one.animal for one in self.features if one.animal and one.animal > 0})
        )


def read_rig(
    rig_json: str | Path | Mapping[str, Any],
    masklist: Sequence[Mapping[str, Any]] = (),
    functions: Collection[str] = (),
) -> RigDescription:
    """Read a rig description, or say all that is wrong with it and with its masks.

    Parameters
    ----------
    rig_json : path or mapping
        The file, or its content.
    masklist : list of dict
        Masks with ``name``, ``description``, ``function``.
    functions : collection of str
        Mask functions that there are, named ``script.function``.

    Returns
    -------
    RigDescription

    Raises
    ------
    InvalidArgument
        It is no valid description; each error stands on a line of its own, with its path.
    DependencyMissing
        The extra ``nwb`` is not installed.
    """
    value, name = _content(rig_json)
    errors = [*_schema_errors(SCHEMA, value)]
    if not errors:
        errors += _name_errors(value)
    errors += _mask_errors(list(masklist), functions)
    if errors:
        lines = "\n".join(f"- {error}" for error in errors)
        found = f"{len(errors)} error{'s' if len(errors) > 1 else ''}"
        raise InvalidArgument(f"{name} is no valid rig description, {found}:\n{lines}")
    return RigDescription.of(value)


def _content(rig_json: str | Path | Mapping[str, Any]) -> tuple[Any, str]:
    if isinstance(rig_json, Mapping):
        return rig_json, "the description"
    path = Path(rig_json)
    try:
        return json.loads(path.read_text(encoding="utf-8")), str(path)
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidArgument(f"{path} is no JSON: {error}") from error


def _schema_errors(schema: Mapping[str, Any], value: Any, *prefix: str) -> Iterator[str]:
    try:
        validator = import_module("jsonschema").Draft202012Validator(schema)
    except ImportError as error:
        raise DependencyMissing(
            "rig descriptions are checked with jsonschema: pip install 'one_cache[nwb]'"
        ) from error
    found = sorted(validator.iter_errors(value), key=lambda one: (_order(one), one.message))
    for one in found:
        yield f"{_path([*prefix, *one.absolute_path])}: {one.message}"


def _order(error: Any) -> list[tuple[int, str]]:
    """Give what sorts errors as they stand in the file, the tenth feature after the ninth."""
    return [(part, "") if isinstance(part, int) else (-1, part) for part in error.absolute_path]


def _path(parts: Any) -> str:
    """Write a path as one would in code.

    Examples
    --------
    >>> _path(["features", 2, "source", "module"]), _path([])
    ('features[2].source.module', 'the file')
    """
    text = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in parts)
    return text.lstrip(".") or "the file"


def _name_errors(value: Mapping[str, Any]) -> Iterator[str]:
    """Say which names come twice, and which videos are named and not there."""
    videos = [one["name"] for one in value.get("videos", ())]
    features = [one["name"] for one in value["features"]]
    for kind, names in (("features", features), ("videos", videos)):
        yield from _twice(kind, names)
    for at, feature in enumerate(value["features"]):
        video = feature["source"].get("video")
        if video is not None and video not in videos:
            hint = near_misses(video, videos)
            yield f"features[{at}].source.video: there is no video {video!r} in videos.{hint}"


def _mask_errors(masklist: Sequence[Any], functions: Collection[str]) -> Iterator[str]:
    errors = list(_schema_errors(_MASKS, masklist, "masklist"))
    yield from errors
    if errors:
        return
    yield from _twice("masklist", [one["name"] for one in masklist])
    for at, one in enumerate(masklist):
        if one["function"] not in functions:
            hint = near_misses(one["function"], functions)
            yield (
                f"masklist[{at}].function: there is no function {one['function']!r} in the "
                f"analysis folder.{hint}"
            )


def _twice(kind: str, names: Sequence[str]) -> Iterator[str]:
    many = {name for name, count in Counter(names).items() if count > 1}
    for at, name in enumerate(names):
        if name in many and names.index(name) != at:
            yield f"{kind}[{at}].name: {name!r} is the name of {kind}[{names.index(name)}] too"
