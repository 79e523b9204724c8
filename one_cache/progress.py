"""One bar for a whole piece of work, where somebody can see it."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib import import_module
from types import TracebackType
from typing import Any


class Progress:
    """A bar, or nothing; a context manager.

    Parameters
    ----------
    bar : tqdm or None
        What to show.
    """

    def __init__(self, bar: Any = None) -> None:
        self._bar = bar

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    @property
    def shown(self) -> bool:
        """Whether there is a bar."""
        return self._bar is not None

    def update(self, n: float = 1) -> None:
        """Move on by `n`; back, where it is negative."""
        if self._bar is not None and n:
            self._bar.update(n)

    def note(self, text: str) -> None:
        """Say something behind the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)


def progress(total: float | None, unit: str, desc: str, silent: bool = False) -> Progress:
    """Start a bar; quiet unless standard error is a terminal, or this is a notebook.

    Parameters
    ----------
    total : float or None
        What there is to do, in `unit`; None where nobody knows.
    unit : str
        ``"B"`` is written with k, M, G.
    desc : str
        Before the bar.
    silent : bool
        Show nothing; so does ``ONE_CACHE_PROGRESS=0``.

    Returns
    -------
    Progress

    Examples
    --------
    >>> with progress(3, "file", "Counting", silent=True) as bar:
    ...     bar.update(3)
    """
    if silent or not is_watched():
        return Progress()
    return Progress(
        _bar_class()(
            total=total,
            unit=unit,
            unit_scale=unit == "B",
            unit_divisor=1000,
            desc=desc,
            file=sys.stderr,
            dynamic_ncols=True,
            mininterval=0.2,
        )
    )


def _bar_class() -> Any:
    widgets = _in_notebook() and importlib.util.find_spec("ipywidgets") is not None
    tqdm: Any = import_module("tqdm.notebook" if widgets else "tqdm").tqdm
    # the thread with which tqdm repaints idle bars would outlive the call
    return type("Bar", (tqdm,), {"monitor_interval": 0})


def is_watched() -> bool:
    """Tell whether a bar would be seen: a terminal or a notebook, and not switched off."""
    wish = os.environ.get("ONE_CACHE_PROGRESS", "").strip().lower()
    if wish in ("0", "false", "no", "off"):
        return False
    stream = sys.stderr
    if stream is None:
        return False
    return stream.isatty() or _in_notebook()


def _in_notebook() -> bool:
    # a notebook has loaded IPython already: nothing is imported to find out
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
