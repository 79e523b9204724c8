"""The folder that AllenSDK keeps: its manifest, and which file lies where.

AllenSDK's manifest says where files lie and in which version of the layout, and nothing of what
they hold. It is read here as AllenSDK reads it, and written as AllenSDK writes it, so that either
program can open the folder of the other. What the files hold is pinned in tables and a manifest
of this package, which lie in the folder ``one_cache`` beside them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from one_cache.atomic import write_bytes
from one_cache.errors import ManifestError, ManifestMismatch, ManifestMissing, StoreError

if TYPE_CHECKING:
    import pandas as pd

VERSIONS = ("0.2.1", "0.3.0")
"""Versions of the layout, which differ in their number only; new folders get the last."""

OWN = "one_cache"
"""Folder of our tables and manifest, beside AllenSDK's files."""

DEFAULT_NAME = "ecephys_project_manifest.json"

# key, spec, key of the folder, type; in the order in which AllenSDK writes them
_LAYOUT = (
    ("BASEDIR", ".", None, "dir"),
    ("sessions", "sessions.csv", "BASEDIR", "file"),
    ("probes", "probes.csv", "BASEDIR", "file"),
    ("channels", "channels.csv", "BASEDIR", "file"),
    ("units", "units.csv", "BASEDIR", "file"),
    ("session_data", "session_%d", "BASEDIR", "dir"),
    ("session_nwb", "session_%d.nwb", "session_data", "file"),
    ("session_analysis_metrics", "session_%d_analysis_metrics.csv", "session_data", "file"),
    ("probe_lfp_nwb", "probe_%d_lfp.nwb", "session_data", "file"),
    ("movie_dir", "natural_movie_templates", "BASEDIR", "dir"),
    ("typewise_analysis_metrics", "%s_analysis_metrics.csv", "BASEDIR", "file"),
    ("natural_movie", "natural_movie_%d.h5", "movie_dir", "file"),
    ("natural_scene_dir", "natural_scene_templates", "BASEDIR", "dir"),
    ("natural_scene", "natural_scene_%d.tiff", "natural_scene_dir", "file"),
)


class ManifestVersionError(ManifestMismatch):
    """The manifest is of another version than was asked for.

    Parameters
    ----------
    message : str
        Names both versions.
    version, found_version : str or None
        What was asked for, and what the file says.
    """

    def __init__(self, message: str, version: str | None, found_version: str | None) -> None:
        super().__init__(message)
        self.version = version
        self.found_version = found_version

    @property
    def outdated(self) -> bool | None:
        """Whether the file is older than asked for; None where one of them is no version."""
        found, asked = _numbers(self.found_version), _numbers(self.version)
        return None if found is None or asked is None else found < asked


def _numbers(version: str | None) -> tuple[int, ...] | None:
    text = version or ""
    return tuple(map(int, text.split("."))) if re.fullmatch(r"\d+(\.\d+)*", text) else None


def manifest_text(version: str = VERSIONS[-1]) -> str:
    """Write a manifest of the usual layout, as AllenSDK does.

    Parameters
    ----------
    version : str
        One of :data:`VERSIONS`.

    Returns
    -------
    str
        JSON.
    """
    entries: list[dict[str, str]] = [{"type": "manifest_version", "value": version}]
    for key, spec, parent, kind in _LAYOUT:
        entry = {"key": key, "type": kind, "spec": spec}
        entries.append({**entry, "parent_key": parent} if parent else entry)
    return json.dumps({"manifest": entries}, indent=2)


class Disk:
    """Where AllenSDK keeps each file of a cache.

    Parameters
    ----------
    manifest : path-like
        The manifest; its folder is the cache.
    version : str, optional
        That the manifest must have; either of :data:`VERSIONS` will do when not given.
    make : bool
        Write the manifest when there is none.

    Attributes
    ----------
    manifest : pathlib.Path
        Absolute.
    root : pathlib.Path
        Folder of the cache.
    version : str
        Of the manifest.

    Raises
    ------
    ManifestMissing
        There is none, and none is to be made.
    ManifestVersionError
        Of another version than asked for, or than is known.
    ManifestError
        It cannot be read, or leads out of its folder.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     disk = Disk(Path(folder, "manifest.json"), make=True)
    ...     disk.rel("probe_lfp_nwb", 715093703, 810755797)
    'session_715093703/probe_810755797_lfp.nwb'
    """

    def __init__(
        self, manifest: str | Path, *, version: str | None = None, make: bool = False
    ) -> None:
        self.manifest = Path(manifest).expanduser().absolute()
        self.root = self.manifest.parent
        if not self.manifest.exists():
            self._make(version, make=make)
        entries = self._entries()
        self.version = self._check_version(entries, version)
        self._specs = self._resolve(entries)

    def _make(self, version: str | None, *, make: bool) -> None:
        if version not in (None, *VERSIONS):
            known = " and ".join(VERSIONS)
            raise ManifestVersionError(
                f"no manifest at {self.manifest}, and none of version {version!r} can be made: "
                f"the known versions are {known}",
                version,
                None,
            )
        if not make:
            raise ManifestMissing(
                f"no manifest at {self.manifest}; name the manifest of a cache that was filled, "
                "or fill one with EcephysProjectCache.from_warehouse(manifest=...)"
            )
        try:
            write_bytes(self.manifest, manifest_text(version or VERSIONS[-1]).encode())
        except OSError as error:
            raise StoreError(
                f"{self.manifest}: cannot be written: {error.strerror or error}. Name a manifest "
                "in a folder that you can write to",
                error.errno,
            ) from error

    def _entries(self) -> list[Mapping[str, Any]]:
        advice = (
            "Restore it, or move it away: it is then written anew, and the files beside it are "
            "used as they are"
        )
        if self.manifest.is_dir():
            raise ManifestError(
                f"{self.manifest} is a folder; name the manifest in it, for instance "
                f"{self.manifest / DEFAULT_NAME}"
            )
        try:
            value = json.loads(self.manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ManifestError(
                f"manifest {self.manifest} cannot be read: {error}. {advice}"
            ) from error
        entries = value.get("manifest") if isinstance(value, dict) else None
        good = isinstance(entries, list) and all(isinstance(one, dict) for one in entries)
        if not good or not entries:
            raise ManifestError(
                f"{self.manifest} is no manifest of AllenSDK: it has no list of paths under "
                f"'manifest'. {advice}"
            )
        return list(entries)

    def _check_version(self, entries: list[Mapping[str, Any]], asked: str | None) -> str:
        versions = [one.get("value") for one in entries if one.get("type") == "manifest_version"]
        found = versions[-1] if versions else None
        known = (asked,) if asked else VERSIONS
        if found not in known or not isinstance(found, str):
            wanted = " or ".join(map(repr, known))
            raise ManifestVersionError(
                f"manifest {self.manifest} has version {found!r}, version {wanted} was asked for. "
                "Ask for the one it has, or move it away: it is then written anew, and the files "
                "beside it are used as they are",
                asked or VERSIONS[-1],
                found,
            )
        return found

    def _resolve(self, entries: list[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
        """Give type and relative spec by key, each below the folder it names as its parent."""
        specs: dict[str, dict[str, str]] = {}
        for entry in entries:
            if entry.get("type") not in ("file", "dir"):
                continue
            try:
                key, spec, parent = entry["key"], entry["spec"], entry.get("parent_key")
                above = specs[parent]["spec"] if parent else ""
                specs[key] = {"type": entry["type"], "spec": self._within(above, spec)}
            except (KeyError, TypeError, AttributeError) as error:
                raise ManifestError(
                    f"manifest {self.manifest}: entry {entry} lacks what it needs: {error!r}"
                ) from error
        missing = [key for key, *_ in _LAYOUT if key not in specs]
        if missing:
            raise ManifestError(f"manifest {self.manifest} names no path for {', '.join(missing)}")
        return specs

    def _within(self, above: str, spec: str) -> str:
        place = os.path.normpath(os.path.join(self.root, above, spec))
        rel = os.path.relpath(place, self.root)
        if rel == ".." or rel.startswith(f"..{os.sep}"):
            raise ManifestError(
                f"manifest {self.manifest} leads out of its folder, to {place}; move the "
                "manifest to its files"
            )
        return PurePosixPath(Path(rel)).as_posix() if rel != "." else ""

    @property
    def own(self) -> Path:
        """Folder of our tables and manifest."""
        return self.root / OWN

    @property
    def path_info(self) -> dict[str, dict[str, str]]:
        """Type and absolute spec of each path, by key, as AllenSDK's manifest object has them."""
        return {
            key: {"type": one["type"], "spec": os.path.normpath(self.root / one["spec"])}
            for key, one in self._specs.items()
        }

    def rel(self, key: str, *args: Any) -> str:
        """Give the path of a file, relative to the root.

        Parameters
        ----------
        key : str
            As in the manifest.
        *args
            For each ``%d`` and ``%s`` of the folder and of the file, in this order.

        Returns
        -------
        str
            With ``/`` between the parts.

        Raises
        ------
        ManifestError
            The manifest has no such key.
        """
        if key not in self._specs:
            raise ManifestError(
                f"manifest {self.manifest} has no path {key!r}; it has {', '.join(self._specs)}"
            )
        spec = self._specs[key]["spec"]
        return spec % args if args else spec

    def get_path(self, key: str, *args: Any) -> str:
        """Give the absolute path of a file; see :meth:`rel`."""
        return os.path.normpath(self.root / self.rel(key, *args))

    def read(self, rel: str) -> tuple[str, tuple[str, ...]] | None:
        """Say what a file is, from its path.

        Parameters
        ----------
        rel : str
            Relative to the root.

        Returns
        -------
        key : str
            As in the manifest.
        args : tuple of str
            What stands for each ``%d`` and ``%s``.
        """
        for key, one in self._specs.items():
            if one["type"] == "file":
                pattern = re.escape(one["spec"]).replace("%d", r"(\d+)").replace("%s", "([^/]+)")
                found = re.fullmatch(pattern, rel)
                if found:
                    return key, found.groups()
        return None

    def files(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Give key and values of each file of the layout that lies in the folder, sorted."""
        for place, folders, names in os.walk(self.root):
            folders[:] = sorted(one for one in folders if one != OWN and not one.startswith("."))
            for name in sorted(names):
                rel = Path(place, name).relative_to(self.root).as_posix()
                found = self.read(rel)
                if found:
                    yield found

    def frame(self) -> pd.DataFrame:
        """Show the paths as a table.

        Returns
        -------
        pandas.DataFrame
            Columns ``type`` and ``spec``, a row a key.
        """
        import pandas as pd

        return pd.DataFrame.from_dict(self.path_info, orient="index")


class ManifestBuilder:
    """Collects paths for a manifest, as AllenSDK's class of that name does.

    Attributes
    ----------
    path_info : list of dict
        One entry a path, in order.
    """

    def __init__(self) -> None:
        self.path_info: list[dict[str, str]] = []

    def set_version(self, value: str) -> None:
        """Say the version of the layout."""
        self.path_info.append({"type": "manifest_version", "value": value})

    def add_path(
        self, key: str, spec: str, typename: str = "dir", parent_key: str | None = None
    ) -> None:
        """Add a path.

        Parameters
        ----------
        key : str
            Its name.
        spec : str
            Relative to the parent, with ``%d`` and ``%s`` where values go.
        typename : {"dir", "file"}
            What lies there.
        parent_key : str, optional
            Key of the folder that it lies in.
        """
        entry = {"key": key, "type": typename, "spec": spec}
        self.path_info.append({**entry, "parent_key": parent_key} if parent_key else entry)


def add_layout(builder: Any) -> Any:
    """Add the paths of the usual layout to a builder.

    Parameters
    ----------
    builder : ManifestBuilder
        Ours or AllenSDK's.

    Returns
    -------
    ManifestBuilder
        The same.
    """
    for key, spec, parent, kind in _LAYOUT:
        builder.add_path(key, spec, typename=kind, parent_key=parent)
    return builder
