"""Releases of a project of the Allen Institute: the manifest of one, and what changed between two.

A manifest names every file of a release with its address, its version in S3 and its hash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from one_cache.ecephys.releases.s3 import key_of
from one_cache.errors import InvalidArgument, ManifestError, near_misses

_NAME = re.compile(r".*_manifest_v(?P<version>.*)\.json")

Changes = list[tuple[str, str]]


@dataclass(frozen=True)
class ReleaseFile:
    """One file of a release.

    Attributes
    ----------
    url : str
        Its address in S3.
    version_id : str
        Which version of the object.
    file_hash : str
        Hex digest, blake2b.
    """

    url: str
    version_id: str
    file_hash: str

    @property
    def rel(self) -> str:
        """Path within the project."""
        return key_of(self.url).partition("/")[2]


@dataclass(frozen=True)
class Release:
    """What a manifest says.

    Attributes
    ----------
    project_name, version : str
        Which release of which project.
    file_id_column : str
        Column of the tables that numbers the files.
    metadata_files : mapping of str to ReleaseFile
        Tables by name.
    data_files : mapping of str to ReleaseFile
        Files by number.
    data_pipeline : list
        What made them.
    """

    project_name: str
    version: str
    file_id_column: str
    metadata_files: Mapping[str, ReleaseFile]
    data_files: Mapping[str, ReleaseFile]
    data_pipeline: list[Any]

    @classmethod
    def read(cls, path: Path) -> Release:
        """Read a manifest.

        Parameters
        ----------
        path : pathlib.Path
            The file.

        Returns
        -------
        Release

        Raises
        ------
        ManifestError
            It cannot be read.
        """
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            files = {
                kind: {name: ReleaseFile(**one) for name, one in sorted(value[kind].items())}
                for kind in ("metadata_files", "data_files")
            }
            return cls(
                str(value["project_name"]),
                str(value["manifest_version"]),
                str(value["metadata_file_id_column_name"]),
                files["metadata_files"],
                files["data_files"],
                list(value.get("data_pipeline") or ()),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ManifestError(
                f"{path}: cannot be read as the manifest of a release ({error!r}). Remove it to "
                "fetch it anew"
            ) from error

    def metadata_file(self, name: str) -> ReleaseFile:
        """Give a table's file.

        Raises
        ------
        InvalidArgument
            The release has no such table.
        """
        if name not in self.metadata_files:
            known = ", ".join(sorted(self.metadata_files))
            raise InvalidArgument(
                f"release {self.version} has no table {name!r}; it has {known}."
                f"{near_misses(name, self.metadata_files)}"
            )
        return self.metadata_files[name]

    def data_file(self, file_id: str | int) -> ReleaseFile:
        """Give a file by its number.

        Raises
        ------
        InvalidArgument
            The release has no such file.
        """
        found = self.data_files.get(str(file_id))
        if found is None:
            raise InvalidArgument(
                f"release {self.version} of {self.project_name} has no file {file_id!r}; it has "
                f"{len(self.data_files)}, see its tables, column {self.file_id_column!r}"
            )
        return found

    def files(self) -> Iterable[ReleaseFile]:
        """Give all files, tables first."""
        yield from self.metadata_files.values()
        yield from self.data_files.values()


def version_of(name: str) -> tuple[Any, ...]:
    """Read the version in the name of a manifest, to be compared with others.

    Parameters
    ----------
    name : str
        ``<project>_project_manifest_v<version>.json``.

    Returns
    -------
    tuple
        As semantic versions are ordered: a version to come stands before the version.

    Raises
    ------
    InvalidArgument
        The name has none.

    Examples
    --------
    >>> names = [f"a_manifest_v{one}.json" for one in ("0.10.0", "0.9.0", "0.10.0-rc1")]
    >>> max(names, key=version_of)
    'a_manifest_v0.10.0.json'
    """
    found = _NAME.fullmatch(name)
    release, _, coming = (found["version"] if found else "").partition("+")[0].partition("-")
    if not re.fullmatch(r"\d+(\.\d+)*", release):
        raise InvalidArgument(f"{name!r} names no version, as manifests of releases do")
    numbers = tuple(map(int, release.split(".")))
    parts = tuple((one.isdecimal() is False, one.zfill(12)) for one in coming.split("."))
    return numbers, not coming, parts


def is_manifest(name: str) -> bool:
    """Whether a file is called as manifests of releases are.

    Examples
    --------
    >>> is_manifest("visual-behavior-ophys_project_manifest_v1.0.1.json"), is_manifest("x.json")
    (True, False)
    """
    return bool(_NAME.fullmatch(name))


def latest(names: Iterable[str]) -> str:
    """Give the manifest of the latest version; empty where there is none."""
    return max(names, key=version_of, default="")


def changes(old: Iterable[ReleaseFile], new: Iterable[ReleaseFile]) -> Changes:
    """Say which files changed between two releases.

    Parameters
    ----------
    old, new : iterable of ReleaseFile
        Tables or files of both.

    Returns
    -------
    list of (str, str)
        Path within the project, and what became of it: ``"a changed"``, ``"a deleted"``,
        ``"a created"``, ``"a renamed b"``; sorted.
    """
    before = {file.rel: file.file_hash for file in old}
    after = {file.rel: file.file_hash for file in new}
    there = {digest: rel for rel, digest in after.items()}
    found = []
    for rel, digest in before.items():
        if rel in after:
            if after[rel] != digest:
                found.append((rel, f"{rel} changed"))
        elif digest in there:
            found.append((rel, f"{rel} renamed {there[digest]}"))
        else:
            found.append((rel, f"{rel} deleted"))
    known = set(before.values())
    found += [
        (rel, f"{rel} created")
        for rel, digest in after.items()
        if rel not in before and digest not in known
    ]
    return sorted(found)


def summary(old: str, new: str, changed: Mapping[str, Changes]) -> str:
    """Write what changed between two releases, as AllenSDK does.

    Parameters
    ----------
    old, new : str
        Names of the manifests.
    changed : mapping
        ``metadata_changes`` and ``data_changes``, from :func:`changes`.

    Returns
    -------
    str
    """
    lines = [text for kind in ("metadata_changes", "data_changes") for _, text in changed[kind]]
    if not lines:
        return "The two manifests are equivalent"
    return "\n".join(["Changes going from", old, "to", new, "", *lines, ""])
