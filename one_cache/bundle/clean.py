"""Which files may go, and their going: first the plan, then the deed.

Only what can be had again goes: files that the tables know or that this cache has brought, and
none that a kept record or manifest needs, that somebody is writing, or that changed since the
plan was made.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from one_cache.bundle.inventory import Inventory
from one_cache.bundle.report import Problem
from one_cache.errors import InvalidArgument, StoreError
from one_cache.records import File
from one_cache.store import Store
from one_cache.store.incoming import is_abandoned, place_of, written_as
from one_cache.store.root import OWN
from one_cache.transfer.units import units_of

_RECENT = 7 * 86400.0  # s, within which somebody may continue a partial file
_SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_AGES = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0, "y": 365 * 86400.0}


@dataclass(frozen=True)
class Removal:
    """One file that goes.

    Attributes
    ----------
    path : str
        Relative to the root.
    size : int
        Bytes.
    used : float
        When it was last read or written, s since 1970, as far as the disk tells.
    reason : str
        In words.
    """

    path: str
    size: int
    used: float
    reason: str


@dataclass(frozen=True)
class Plan:
    """What goes, what stays, and, when it was carried out, what could not be removed.

    Attributes
    ----------
    removals : tuple of Removal
        What goes, the one that was not used for longest first.
    kept : int
        Bytes of the files that stay.
    needed : int
        Bytes of those among them that a kept record or manifest needs.
    problems : tuple of Problem
        What was to go and did not.
    """

    removals: tuple[Removal, ...]
    kept: int
    needed: int
    problems: tuple[Problem, ...] = ()

    @property
    def freed(self) -> int:
        """Bytes that go."""
        return sum(one.size for one in self.removals)


def make_plan(
    seen: Inventory,
    known: Collection[str],
    needed: Collection[str],
    *,
    older_than: float | None = None,
    max_size: int | None = None,
) -> Plan:
    """Decide which files go; nothing is touched.

    Parameters
    ----------
    seen : Inventory
        What lies in the cache.
    known : collection of str
        Paths of files that can be had again.
    needed : collection of str
        Paths of files that must stay.
    older_than : float, optional
        Files that were not used for so many seconds before `seen` go.
    max_size : int, optional
        Bytes that may stay; those that were not used for longest go.

    Returns
    -------
    Plan
    """
    stats = {path: found for path, found in seen.files.items() if path in known or path in needed}
    written = {written_as(part) for part in seen.parts if part not in seen.abandoned}
    free = sorted(
        (max(found.st_atime, found.st_mtime), path)
        for path, found in stats.items()
        if path not in needed and place_of(path) not in written
    )
    left = sum(found.st_size for found in stats.values())
    removals = []
    for used, path in free:
        idle = seen.at - used
        if older_than is not None and idle > older_than:
            reason = f"not used for {idle / 86400:.0f} days"
        elif max_size is not None and left > max_size:
            reason = "not used for longer than what stays"
        else:
            continue
        removals.append(Removal(path, stats[path].st_size, used, reason))
        left -= stats[path].st_size
    # a recent one may still be continued
    limit = _RECENT if older_than is None else min(older_than, _RECENT)
    for part in sorted(seen.abandoned):
        found = seen.parts[part]
        if seen.at - found.st_mtime > limit:
            reason = "left by a process that is gone"
            removals.append(Removal(part, found.st_size, found.st_mtime, reason))
    kept = sum(found.st_size for path, found in stats.items() if path in needed)
    return Plan(tuple(removals), left, kept)


def carry_out(plan: Plan, seen: Inventory, store: Store) -> Plan:
    """Remove what a plan says, where nothing has changed since.

    Parameters
    ----------
    plan : Plan
        What goes.
    seen : Inventory
        What the plan was made of.
    store : Store
        Where.

    Returns
    -------
    Plan
        With the removals that were made, and the problems.
    """
    planned = {one.path: one for one in plan.removals}
    problems: list[Problem] = []
    # the locks of those who fetch: what somebody is about to use is left alone
    for unit in units_of(File(one.path, one.size) for one in plan.removals):
        lock = store.acquire(unit.key)
        if lock is None:
            problems += [Problem("failed", one.path, "in use") for one in unit.files]
            continue
        try:
            problems += filter(None, (_remove(one.path, seen, store) for one in unit.files))
        finally:
            lock.release()
        _prune(store, unit.folder)
    stay = {problem.path for problem in problems}
    done = tuple(one for path, one in planned.items() if path not in stay)
    kept = plan.kept + sum(planned[path].size for path in stay if path in seen.files)
    return replace(plan, removals=done, kept=kept, problems=tuple(problems))


def _remove(path: str, seen: Inventory, store: Store) -> Problem | None:
    try:
        if path in seen.parts:
            if is_abandoned(str(store.path(path))):
                store.remove(path)
            return None
        before, now = seen.files[path], os.stat(store.path(path))
        if (before.st_size, before.st_mtime_ns, before.st_ino) != (
            now.st_size,
            now.st_mtime_ns,
            now.st_ino,
        ):
            return Problem("failed", path, "changed since the plan was made")
        store.remove(path)
    except FileNotFoundError:
        # gone already, which is what was wanted
        return None
    except StoreError as error:
        return Problem.of(error, path)
    return None


def _prune(store: Store, folder: str) -> None:
    """Remove a folder and those above it, as far as they are empty."""
    while folder and not folder.startswith(OWN):
        try:
            os.rmdir(store.path(f"{folder}/x").parent)
        except OSError:
            return
        folder = folder.rpartition("/")[0]


def read_age(value: str | float | dt.timedelta) -> float:
    """Read an age.

    Parameters
    ----------
    value : str, float or datetime.timedelta
        ``"90d"``, ``"12h"``, ``"4w"``, ``"1y"``; a number is days.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    InvalidArgument
        It is none.

    Examples
    --------
    >>> read_age("90d") == read_age(90) == 90 * 86400
    True
    """
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([mhdwy]?)", str(value).strip())
    if not found:
        raise InvalidArgument(f"an age is written like '90d', '12h' or '4w'; got {value!r}")
    return float(found[1]) * _AGES[found[2] or "d"]


def read_size(value: str | int) -> int:
    """Read a size.

    Parameters
    ----------
    value : str or int
        ``"200G"``, ``"500 MB"``; a number is bytes.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    InvalidArgument
        It is none.

    Examples
    --------
    >>> read_size("1.5G"), read_size("200 kB")
    (1500000000, 200000)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?", str(value).strip().upper())
    if not found:
        raise InvalidArgument(f"a size is written like '200G' or '500M'; got {value!r}")
    return int(float(found[1]) * _SIZES[found[2]])
