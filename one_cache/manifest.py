"""What a cache is, in one file: layout, remotes, release, cut-off, and the hash of each table.

The manifest pins the tables, the tables pin the files (size and hash): whoever holds a manifest
can tell whether every byte of an analysis is still the same. ``mode="fixed"`` opens one.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from one_cache.atomic import write_json
from one_cache.errors import ManifestError, ManifestMismatch, ManifestMissing

LAYOUT = 1
FILE_NAME = "manifest.json"


@dataclass(frozen=True)
class TablePin:
    """The state of one table.

    Attributes
    ----------
    file : str
        Name of the file, beside the manifest.
    sha256 : str
        Hex digest of its bytes.
    rows : int
        How many records it holds.
    """

    file: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Manifest:
    """What a cache is; frozen, a change makes a new one.

    Attributes
    ----------
    tables : mapping of str to TablePin
        The tables that are pinned.
    remotes : tuple of str
        Addresses that the data come from, without credentials.
    release : str or None
        Name of the data release, where the cache has one.
    revision_last_before : str or None
        Cut-off that was in force.
    created : str
        ISO time of the freeze, UTC.
    layout : int
        Version of this layout.
    """

    tables: Mapping[str, TablePin] = field(default_factory=dict)
    remotes: tuple[str, ...] = ()
    release: str | None = None
    revision_last_before: str | None = None
    created: str = ""
    layout: int = LAYOUT

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest.

        Parameters
        ----------
        path : pathlib.Path
            The file, or its folder.

        Returns
        -------
        Manifest

        Raises
        ------
        ManifestMissing
            There is none.
        ManifestMismatch
            It is of another layout version.
        ManifestError
            It cannot be read.
        """
        path = path / FILE_NAME if path.is_dir() else path
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ManifestMissing(
                f"no manifest at {path}; make one with Cache.freeze() in remote or local mode"
            ) from None
        except (OSError, ValueError) as error:
            raise ManifestError(f"manifest {path} cannot be read: {error}") from error
        if not isinstance(value, dict) or "layout" not in value:
            raise ManifestError(f"{path} is no manifest of one_cache: it names no layout version")
        if value["layout"] != LAYOUT:
            raise ManifestMismatch(
                f"manifest {path} has layout version {value['layout']!r}, this version of "
                f"one_cache reads {LAYOUT}; freeze the cache again or use the other version"
            )
        return cls._from_json(value, path)

    @classmethod
    def _from_json(cls, value: Mapping[str, Any], path: Path) -> Manifest:
        try:
            pins = {name: TablePin(**pin) for name, pin in value["tables"].items()}
            # a manifest names files beside itself and nothing else
            for pin in pins.values():
                if Path(pin.file).name != pin.file or pin.file in ("", ".", ".."):
                    raise ManifestError(f"manifest {path} pins a file elsewhere: {pin.file!r}")
            return cls(
                tables=pins,
                remotes=tuple(value.get("remotes", ())),
                release=value.get("release"),
                revision_last_before=value.get("revision_last_before"),
                created=value.get("created", ""),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ManifestError(f"manifest {path} lacks what it needs: {error!r}") from error

    def write(self, path: Path) -> Path:
        """Write the manifest, whole or not at all.

        Parameters
        ----------
        path : pathlib.Path
            The file, or its folder.

        Returns
        -------
        pathlib.Path
            The file.
        """
        path = path / FILE_NAME if path.is_dir() else path
        write_json(path, asdict(self))
        return path

    def require_release(self, version: str | None) -> None:
        """Refuse when another release was asked for.

        Raises
        ------
        ManifestMismatch
            Names both.
        """
        if version is not None and version != self.release:
            raise ManifestMismatch(
                f"this cache holds release {self.release!r}, version={version!r} was asked for"
            )


def now() -> str:
    """Give the time now as ISO text, UTC, whole seconds."""
    return dt.datetime.now(dt.timezone.utc).replace(microsecond=0).isoformat()
