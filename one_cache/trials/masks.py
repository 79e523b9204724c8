"""Mask functions: plain functions in the ``.py`` files of an analysis folder.

A mask function takes what its caller hands it (a session) and returns ``(data, timestamps)`` of
plus and minus ones: +1 where a trial starts, -1 where it ends. It is named ``script.function``,
with the folders of the script before it where there are some (``lab.rigs.led_to_port``).
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from one_cache.errors import InvalidArgument, near_misses
from one_cache.trials.split import Series, check_mask


@dataclass(frozen=True)
class MaskFunction:
    """A mask function that was found, not yet run.

    Attributes
    ----------
    name : str
        ``script.function``.
    path : Path
        The script.
    source : str
        Text of the whole script, which is what a result depends on.
    """

    name: str
    path: Path
    source: str

    def __call__(self, *args: Any) -> Series:
        """Run it, and check that what it returns is a mask.

        Parameters
        ----------
        *args
            For the function: the session.

        Returns
        -------
        (data, timestamps)

        Raises
        ------
        InvalidArgument
            It does not return ``(data, timestamps)``, or these are no mask.
        """
        found = self.load()(*args)
        if not isinstance(found, tuple) or len(found) != 2:
            raise InvalidArgument(
                f"{self.name} must return (data, timestamps), got {type(found).__name__}"
            )
        try:
            return check_mask(found)
        except InvalidArgument as error:
            raise InvalidArgument(f"{self.name}: {error}") from error

    def load(self) -> Callable[..., Any]:
        """Run the script and give its function."""
        # its own namespace, as a fresh import would: scripts of one name in two folders stay apart
        space: dict[str, Any] = {"__name__": self.path.stem, "__file__": str(self.path)}
        exec(compile(self.source, str(self.path), "exec"), space)
        function: Callable[..., Any] = space[self.name.rpartition(".")[2]]
        return function


def mask_functions(folder: str | Path) -> dict[str, MaskFunction]:
    """Find the functions of an analysis folder; no script is run.

    Parameters
    ----------
    folder : path
        Searched with its subfolders. Functions and scripts whose name begins with ``_`` are left
        out.

    Returns
    -------
    dict of str to MaskFunction
        Keyed by name, in the order of the scripts and of their functions.

    Raises
    ------
    InvalidArgument
        There is no such folder, or a script is no Python.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InvalidArgument(f"no analysis folder {root}")
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if any(part.startswith(("_", ".")) for part in parts):
            continue
        source = path.read_text(encoding="utf-8")
        for function in _functions(source, path):
            name = ".".join((*parts, function))
            found[name] = MaskFunction(name, path, source)
    return found


def mask_function(name: str, folder: str | Path) -> MaskFunction:
    """Find one function of an analysis folder.

    Parameters
    ----------
    name : str
        ``script.function``.
    folder : path
        The analysis folder.

    Returns
    -------
    MaskFunction

    Raises
    ------
    InvalidArgument
        There is none of that name; names those that are near.
    """
    found = mask_functions(folder)
    if name not in found:
        raise InvalidArgument(
            f"no function {name!r} in the analysis folder {folder}.{near_misses(name, found)}"
        )
    return found[name]


def _functions(source: str, path: Path) -> list[str]:
    """Give the names of the public functions that a script defines."""
    try:
        tree = ast.parse(source, filename=str(path))
    except SyntaxError as error:
        raise InvalidArgument(f"{path} is no Python: line {error.lineno}: {error.msg}") from error
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]
