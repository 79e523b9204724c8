"""ALF names and paths: read, build, match and check them. Standard library only."""

from __future__ import annotations

from one_cache.records import QC
from one_cache.spec.description import SPEC_DESCRIPTION, describe
from one_cache.spec.grammar import (
    COLLECTION_SPEC,
    FILE_SPEC,
    FULL_SPEC,
    REL_PATH_SPEC,
    SESSION_SPEC,
    fits,
    is_session_path,
    is_valid,
    path_pattern,
    regex,
)
from one_cache.spec.names import is_uuid, is_uuid_string, join_name, readableALF, to_alf
from one_cache.spec.paths import (
    ALFPath,
    PureALFPath,
    PurePosixALFPath,
    PureWindowsALFPath,
    ensure_alf_path,
)
from one_cache.spec.reading import (
    filename_parts,
    folder_parts,
    full_path_parts,
    rel_path_parts,
    session_path_parts,
)

__all__ = [
    "COLLECTION_SPEC",
    "FILE_SPEC",
    "FULL_SPEC",
    "QC",
    "REL_PATH_SPEC",
    "SESSION_SPEC",
    "SPEC_DESCRIPTION",
    "ALFPath",
    "PureALFPath",
    "PurePosixALFPath",
    "PureWindowsALFPath",
    "describe",
    "ensure_alf_path",
    "filename_parts",
    "fits",
    "folder_parts",
    "full_path_parts",
    "is_session_path",
    "is_uuid",
    "is_uuid_string",
    "is_valid",
    "join_name",
    "path_pattern",
    "readableALF",
    "regex",
    "rel_path_parts",
    "session_path_parts",
    "to_alf",
]
