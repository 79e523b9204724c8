"""One key to compute: the function, its arguments, and the id that follows from them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from one_cache.trials.fingerprint import fingerprint

_SHOWN = 200  # characters of a key in its row


@dataclass(frozen=True, eq=False)
class Task:
    """One key.

    Attributes
    ----------
    id : str
        UUID that follows from function, arguments and key.
    label : str
        The key, or its name, for people.
    function : callable
        Takes the cache, the key and the arguments.
    key : any
        What it computes from.
    arguments : mapping
        By name.
    name : str
        Of the function.
    """

    id: str
    label: str
    function: Callable[..., Any]
    key: Any
    arguments: Mapping[str, Any]
    name: str

    def run(self, cache: Any) -> Any:
        """Compute."""
        return self.function(cache, self.key, **self.arguments)


def tasks_of(
    keys: Mapping[str, Any] | Iterable[Any], function: Callable[..., Any], arguments: Any
) -> list[tuple[Any, Task]]:
    """Give each key, or its name, with its task.

    Parameters
    ----------
    keys : mapping of str to any, or iterable
        Names and keys, or keys.
    function : callable
        See :class:`Task`.
    arguments : mapping
        For all keys.

    Returns
    -------
    list of (any, Task)
    """
    named = keys.items() if isinstance(keys, Mapping) else ((key, key) for key in keys)
    name = name_of(function)
    both = fingerprint(function, arguments)
    return [
        (label, Task(_id(both, key), _shown(label), function, key, arguments, name))
        for label, key in named
    ]


def _id(function: str, key: Any) -> str:
    return str(uuid.UUID(fingerprint(function, key)[:32]))


def name_of(function: Any) -> str:
    """Give the name of a function, for bars and folders.

    Examples
    --------
    >>> name_of(name_of)
    'name_of'
    """
    inner = getattr(function, "func", function)
    return str(getattr(inner, "__name__", None) or getattr(inner, "name", type(inner).__name__))


def _shown(label: Any) -> str:
    text = label if isinstance(label, str) else json.dumps(label, default=str, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
