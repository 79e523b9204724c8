"""What a call gave or raised, in one form for ONE-api and for ours."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd

CAUTIONS = ("No default revision", "Multiple revisions", "not recommended|not the default")


@dataclass(frozen=True)
class Answer:
    """What a call gave."""

    value: Any


@dataclass(frozen=True)
class Refusal:
    """The names of the error's classes, the nearest first."""

    kinds: tuple[str, ...]
    text: str = ""

    @property
    def kind(self):
        """The error's own class."""
        return self.kinds[0]


def told(call):
    """Make a call; give what it gave or raised, and the kinds of warnings about revisions."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            answer = Answer(call())
        except Exception as error:  # noqa: BLE001  whatever it is, it is the answer
            answer = Refusal(tuple(one.__name__ for one in type(error).__mro__), str(error))
    about = [str(one.message) for one in seen if one.category.__name__ == "ALFWarning"]
    return answer, {one for one in CAUTIONS if any(re.search(one, text) for text in about)}


def plain(value):
    """Reduce a value to what must be equal; frames and arrays are compared with their types."""
    if isinstance(value, (pd.DataFrame, np.ndarray)):
        return value
    if isinstance(value, pd.Series):
        return {"name": plain(value.name), **plain(value.to_dict())}
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, PurePath):
        return f"path {value}"
    if value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    return value.item() if isinstance(value, np.generic) else value


def assert_same(ours, expected):
    if isinstance(expected, pd.DataFrame):
        assert isinstance(ours, pd.DataFrame)
        # an index of no rows has no type
        kind = {} if len(expected) else {"check_index_type": False}
        pd.testing.assert_frame_equal(ours, expected, check_like=True, **kind)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(ours, expected)
    elif isinstance(expected, dict):
        assert set(ours) == set(expected)
        for key, value in expected.items():
            assert_same(ours[key], value)
    elif isinstance(expected, list):
        assert isinstance(ours, list)
        assert len(ours) == len(expected)
        for one, other in zip(ours, expected, strict=True):
            assert_same(one, other)
    else:
        assert ours == expected


def assert_agree(ours, expected, note=""):
    try:
        if isinstance(expected, Refusal):
            assert isinstance(ours, Refusal), f"expected {expected.kind}"
            assert expected.kind in ours.kinds, f"{expected.kind}: {expected.text}"
        else:
            assert isinstance(ours, Answer), ours
            assert_same(plain(ours.value), plain(expected.value))
    except AssertionError as error:
        raise AssertionError(f"{note}\nexpected {expected}\ngot      {ours}\n{error}") from None
