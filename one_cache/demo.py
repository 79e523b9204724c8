"""The demonstration: one script, three modes, the same bytes.

A sample lab is written and served; the quickstart runs against the server in a process of its
own; then the server stops, and the same script runs again in local and in fixed mode.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from one_cache.errors import OneCacheError
from one_cache.sample import write_sample_lab
from one_cache.serve import DataServer

# what differs between runs of the same analysis: where it put its own files
_PLACES = ("record", "picture")


def run_demo(folder: Path | None, say: Callable[[str], None]) -> bool:
    """Run the demonstration.

    Parameters
    ----------
    folder : pathlib.Path or None
        Where to put the sample lab, the cache and the pictures; a new temporary folder for None.
    say : callable
        Told what happens.

    Returns
    -------
    bool
        Whether all three runs read the same datasets and computed the same numbers.

    Raises
    ------
    OneCacheError
        The quickstart failed; its own message is in it.
    """
    if find_spec("matplotlib") is None:
        say("matplotlib is not installed: no pictures (pip install 'one_cache[plot]' for them)")
    root = folder or Path(tempfile.mkdtemp(prefix="one_cache_demo_"))
    root = root.expanduser().absolute()
    out = root / "results"
    out.mkdir(parents=True, exist_ok=True)
    sample = write_sample_lab(root / "lab")
    say(f"sample lab: {len(sample.eids)} sessions in {root / 'lab'}")
    results: dict[str, dict[str, Any]] = {}
    with DataServer(root / "lab") as server:
        say(f"served at {server.url}")
        results["remote"] = _quickstart(root, server.url, "remote")
        say(_summary("remote", results["remote"]))
    say("the server is gone")
    for mode in ("local", "fixed"):
        results[mode] = _quickstart(root, server.url, mode)
        say(_summary(mode, results[mode]))
    first = _numbers(results["remote"])
    same = all(_numbers(result) == first for result in results.values())
    count = len(first["datasets"])
    say(
        f"all three runs read the same {count} datasets and produced the same numbers"
        if same
        else f"the runs differ: {json.dumps(results, indent=2)}"
    )
    say(f"what the runs wrote is in {out}")
    return same


def _numbers(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key not in _PLACES}


def _summary(mode: str, result: Mapping[str, Any]) -> str:
    return (
        f"{mode:>6}: {len(result['datasets'])} datasets, {result['trials']} trials, "
        f"{result['spikes']} spikes"
        + (f", picture {result['picture']}" if result["picture"] else "")
    )


def _quickstart(root: Path, url: str, mode: str) -> dict[str, Any]:
    """Run the example in a process of its own and give what it printed as JSON."""
    out = root / "results"
    command = [sys.executable, str(_script()), url, "--mode", mode]
    command += ["--out", str(out), "--cache-dir", str(root / "cache")]
    # the settings of the person who looks at a demonstration stay as they are
    surroundings = {**os.environ, "ONE_CACHE_CONFIG": str(root / "config")}
    surroundings.pop("ONE_REVISION_LAST_BEFORE", None)
    done = subprocess.run(
        command, capture_output=True, text=True, env=surroundings, cwd=out, check=False
    )
    if done.returncode:
        raise OneCacheError(f"the quickstart failed in mode {mode}:\n{done.stderr.strip()}")
    text = done.stdout
    result: dict[str, Any] = json.loads(text[text.index("\n{\n") :])
    return result


def _script() -> Path:
    here = Path(__file__).parent
    # installed, or in a checkout
    for path in (here / "examples" / "quickstart.py", here.parent / "examples" / "quickstart.py"):
        if path.exists():
            return path
    raise OneCacheError(f"quickstart.py is neither in {here} nor beside it; install again")
