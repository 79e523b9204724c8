"""File names built from their parts, and the UUIDs that may stand in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from uuid import UUID

from one_cache.errors import ALFInvalid, ALFPartMissing
from one_cache.spec.reading import filename_parts

_UUID_TEXT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def to_alf(
    object: str,
    attribute: str,
    extension: str,
    namespace: str | None = None,
    timescale: str | Iterable[str] | None = None,
    extra: str | Iterable[str] | None = None,
) -> str:
    """Build a file name from its parts; spaces and underscores become camel case.

    Parameters
    ----------
    object, attribute : str
        What the file is about. ``_times``, ``_timestamps`` and ``_intervals`` at the end of an
        attribute stay as they are.
    extension : str
        With or without its dot.
    namespace : str, optional
        Without underscores.
    timescale : str or iterable of str, optional
        One or more, joined by underscores.
    extra : str or iterable of str, optional
        One or more, joined by dots.

    Returns
    -------
    str

    Raises
    ------
    ALFPartMissing
        No object, attribute or extension.
    ALFInvalid
        The parts do not make an ALF name.

    Examples
    --------
    >>> to_alf("spikes", "times", "npy", namespace="ibl", timescale=("ephys clock", "minutes"))
    '_ibl_spikes.times_ephysClock_minutes.npy'
    >>> to_alf("wheel", "timestamps", ".npy", extra=("raw", "v12"))
    'wheel.timestamps.raw.v12.npy'
    """
    for part, value in (("object", object), ("attribute", attribute), ("extension", extension)):
        if not value:
            raise ALFPartMissing(f"a name needs its {part}, got {value!r}")
    if object.startswith("_"):
        raise ALFInvalid(f"an object starts with no underscore, got {object!r}; give namespace=")
    scales = [timescale] if isinstance(timescale, str) else list(timescale or ())
    for value in (object, attribute, extension.removeprefix("."), namespace or "", *scales):
        if "." in value:
            raise ALFInvalid(f"only extra parts may hold a dot, got {value!r}")
    clock = re.search(r"_(?:times|timestamps|intervals)\Z", attribute)
    stem_end = clock.start() if clock else len(attribute)
    name = join_name(
        {
            "namespace": namespace,
            "object": _camel(object),
            "attribute": _camel(attribute[:stem_end]) + attribute[stem_end:],
            "timescale": "_".join(_camel(scale) for scale in scales if scale),
            "extra": extra if isinstance(extra, str) else ".".join(extra or ()),
            "extension": extension.removeprefix("."),
        }
    )
    read = filename_parts(name, as_dict=True)
    if (read["namespace"] or "") != (namespace or ""):
        raise ALFInvalid(f"{namespace!r} is no namespace: expected letters and digits only")
    return name


def join_name(parts: Mapping[str, str | None]) -> str:
    """Put the parts of a name together as they are.

    Parameters
    ----------
    parts : mapping of str to str or None
        As ``filename_parts(name, as_dict=True)`` gives them.

    Returns
    -------
    str

    Examples
    --------
    >>> join_name(filename_parts("_ibl_trials.intervals_bpod.npy", as_dict=True))
    '_ibl_trials.intervals_bpod.npy'
    """
    namespace, timescale, extra = (parts.get(p) for p in ("namespace", "timescale", "extra"))
    return (
        (f"_{namespace}_" if namespace else "")
        + f"{parts['object']}.{parts['attribute']}"
        + (f"_{timescale}" if timescale else "")
        + (f".{extra}" if extra else "")
        + f".{parts['extension']}"
    )


def readableALF(name: str, capitalize: bool = False) -> str:
    """Give an object or attribute as words, for labels; acronyms stay in capitals.

    Parameters
    ----------
    name : str
        In camel case.
    capitalize : bool
        Start with a capital.

    Returns
    -------
    str

    Examples
    --------
    >>> readableALF("sparseNoise"), readableALF("someROIDataset", capitalize=True)
    ('sparse noise', 'Some ROI dataset')
    """
    # a word starts at a capital after a small letter or digit, and at one before a small letter
    # other than the plural s of an acronym
    words = re.split(r"(?=[A-Z][a-rt-z0-9])|(?<=[a-z0-9])(?=[A-Z])", name)
    text = " ".join(word if _is_acronym(word) else word.lower() for word in words if word)
    return text[:1].upper() + text[1:] if capitalize else text


def is_uuid(uuid: object, versions: Iterable[int] = (4, 3)) -> bool:
    """Whether a value is, or can be read as, a UUID of one of these versions.

    Parameters
    ----------
    uuid : object
        A UUID, or its text (with or without hyphens), 16 bytes, or int.
    versions : iterable of int
        Those that count: 4 is given by Alyx, 3 by tables made of a folder.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_uuid("f6ffe2582706425aaaf5919f70025835"), is_uuid("f6ffe258"), is_uuid(None)
    (True, False, False)
    """
    try:
        if isinstance(uuid, str):
            uuid = UUID(uuid)
        elif isinstance(uuid, bytes):
            uuid = UUID(bytes=uuid)
        elif isinstance(uuid, int):
            uuid = UUID(int=uuid)
    except ValueError:
        return False
    return isinstance(uuid, UUID) and uuid.version in tuple(versions)


def is_uuid_string(string: object) -> bool:
    """Whether a value is the text of a UUID as databases write it: small letters and hyphens.

    Parameters
    ----------
    string : object
        Anything; only a str can be one. Versions 3, 4 and 5 count.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_uuid_string("f6ffe258-2706-425a-aaf5-919f70025835")
    True
    >>> is_uuid_string("F6FFE258-2706-425A-AAF5-919F70025835")
    False
    """
    return isinstance(string, str) and is_uuid(string, (3, 4, 5)) and str(UUID(string)) == string


def split_uuid(extra: str | None) -> tuple[str | None, str | None]:
    """Take the UUID off the end of the extra parts of a name.

    Parameters
    ----------
    extra : str or None
        Extra parts, with dots between.

    Returns
    -------
    others, uuid : str or None
        Each None where there is none. Hex digits without hyphens are a hash, not a UUID.

    Examples
    --------
    >>> split_uuid("raw.f6ffe258-2706-425a-aaf5-919f70025835")
    ('raw', 'f6ffe258-2706-425a-aaf5-919f70025835')
    >>> split_uuid("raw.v12")
    ('raw.v12', None)
    """
    others, _, last = (extra or "").rpartition(".")
    if _UUID_TEXT.fullmatch(last):
        return others or None, last
    return extra or None, None


def _camel(words: str) -> str:
    """Join words: ``motion_energy`` becomes ``motionEnergy``; acronyms stay as they are."""
    first, *others = re.split(r"[_\s]", words)
    if not others:
        return first[:1].lower() + first[1:]
    capitalized = (word if _is_acronym(word) else word.capitalize() for word in others)
    return (first if _is_acronym(first) else first.lower()) + "".join(capitalized)


def _is_acronym(word: str) -> bool:
    return re.fullmatch(r"[A-Z]+s?", word) is not None
