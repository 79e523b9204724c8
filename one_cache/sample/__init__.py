"""A small invented lab, the same at every run: for the demo, the documentation and tests.

Two labs, four subjects, twelve sessions with two probes each. Some units answer to the stimulus,
one dataset is revised, there is one of each QC level, and one that is on no server.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from one_cache.records import QC, Dataset, Session

__all__ = ["SampleLab", "write_sample_lab"]

_EPHYS = "_iblrig_tasks_ephysChoiceWorld6.4.2"
_PASSIVE = "_iblrig_tasks_passiveChoiceWorld6.4.2"

# lab, subject, task protocol, projects, and for each session its day and number;
# KS01 is the beginning of KS014 on purpose: an exact match is not a partial one
_SUBJECTS = [
    ("northlab", "KS01", _EPHYS, "brainwide", ["2024-01-15/1", "2024-01-16/1", "2024-01-17/1"]),
    ("northlab", "KS014", _EPHYS, "brainwide", ["2024-02-05/1", "2024-02-05/2", "2024-02-07/1"]),
    (
        "southlab",
        "ZM-07",
        _EPHYS,
        "brainwide,drift",
        ["2024-03-11/1", "2024-03-12/1", "2024-03-14/1"],
    ),
    ("southlab", "ZM_12", _PASSIVE, "drift", ["2024-04-02/1", "2024-04-03/1", "2024-04-03/2"]),
]
_WITH_REVISION = "KS014/2024-02-07/001"
_WITH_POOR = "ZM-07/2024-03-11/001"
_WITH_MISSING = "ZM_12/2024-04-03/002"
_QC = {
    "alf/probe00/spikes.times.npy": QC.PASS,
    "alf/licks.times.npy": QC.WARNING,
    "alf/_ibl_wheelMoves.intervals.npy": QC.FAIL,
    "alf/_ibl_leftCamera.times.npy": QC.CRITICAL,
}
_UNCHECKED = "alf/probes.description.json"
_MISSING = "alf/_ibl_leftCamera.dlc.pqt"


@dataclass(frozen=True)
class SampleLab:
    """What the sample lab holds.

    Attributes
    ----------
    folder : pathlib.Path
        Where it lies, with its access tables.
    sessions : tuple of Session
        By subject and date.
    datasets : tuple of Dataset
        By session and path.
    revised : (Dataset, Dataset)
        ``drift.times.npy`` as it was first, and its revision ``2024-05-06``, the default.
    by_qc : mapping of QC to Dataset
        One of each level, all in one session; the others are ``NOT_SET``.
    missing : Dataset
        Known to the tables, and on no server.
    """

    folder: Path
    sessions: tuple[Session, ...]
    datasets: tuple[Dataset, ...]
    revised: tuple[Dataset, Dataset]
    by_qc: Mapping[QC, Dataset]
    missing: Dataset

    @property
    def eids(self) -> tuple[str, ...]:
        """Ids of the sessions."""
        return tuple(session.id for session in self.sessions)

    @property
    def labs(self) -> tuple[str, ...]:
        """Names of the labs, sorted."""
        return tuple(sorted({session.lab for session in self.sessions}))

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of the subjects, sorted."""
        return tuple(sorted({session.subject for session in self.sessions}))

    def eid(self, ref: str) -> str:
        """Give the id of the session at ``subject/date/number``."""
        return next(one.id for one in self.sessions if one.path.endswith(f"/{ref}"))


def write_sample_lab(folder: str | os.PathLike[str]) -> SampleLab:
    """Write the sample lab: its files, and ``sessions.pqt`` and ``datasets.pqt`` about them.

    The files are the same bytes at every run (the Parquet ones: under one version of pyarrow);
    those that lie there already are left as they are.

    Parameters
    ----------
    folder : path-like
        Made when it is missing.

    Returns
    -------
    SampleLab

    Raises
    ------
    OSError
        The folder refuses.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     lab = write_sample_lab(folder)
    ...     print(len(lab.sessions), lab.subjects, lab.revised[1].rel_path)
    12 ('KS01', 'KS014', 'ZM-07', 'ZM_12') alf/probe00/pykilosort/#2024-05-06#/drift.times.npy
    """
    from one_cache.tables import Tables

    root = Path(folder)
    sessions = tuple(_sessions())
    datasets = [dataset for session in sessions for dataset in _write_session(root, session)]
    tables = Tables.open(None)
    tables.add("sessions", sessions, origin="sample")
    tables.add("datasets", datasets, origin="sample")
    tables.save(root, clobber=True)
    named = {(dataset.eid, dataset.rel_path): dataset for dataset in datasets}
    at = {session.path.split("Subjects/")[1]: session.id for session in sessions}
    poor = at[_WITH_POOR]
    drift = [one for one in datasets if one.name == "drift.times.npy"]
    return SampleLab(
        folder=root,
        sessions=sessions,
        datasets=tuple(datasets),
        revised=(drift[0], drift[1]),
        by_qc={
            QC.NOT_SET: named[poor, _UNCHECKED],
            **{level: named[poor, path] for path, level in _QC.items()},
        },
        missing=named[at[_WITH_MISSING], _MISSING],
    )


def _sessions() -> Iterator[Session]:
    for lab, subject, protocol, projects, days in _SUBJECTS:
        for day in days:
            date, _, number = day.partition("/")
            session = Session(
                "", lab, subject, dt.date.fromisoformat(date), int(number), protocol, projects
            )
            yield replace(session, id=_id(session.path))


def _write_session(root: Path, session: Session) -> Iterable[Dataset]:
    """Write the files of a session, and give their records sorted by path."""
    from one_cache.sample.files import drift_of, files_of, poor_of

    ref = session.path.split("Subjects/")[1]
    levels = _QC if ref == _WITH_POOR else {}
    contents = dict(files_of(session.path))
    if ref == _WITH_REVISION:
        contents.update(drift_of(session.path))
    if ref == _WITH_POOR:
        contents.update(poor_of(session.path))
    datasets = []
    for path, content in contents.items():
        _write(root / session.path / path, content)
        datasets.append(
            Dataset(
                _id(f"{session.path}/{path}"),
                session.id,
                path,
                file_size=len(content),
                hash=hashlib.md5(content, usedforsecurity=False).hexdigest(),
                qc=levels.get(path, QC.NOT_SET),
                # where there is a revision, the unrevised file is no longer the default
                default_revision="/#" in path or "/pykilosort/" not in path,
            )
        )
    if ref == _WITH_MISSING:
        missing = _id(f"{session.path}/{_MISSING}")
        datasets.append(
            Dataset(missing, session.id, _MISSING, exists=False, default_revision=True)
        )
    return sorted(datasets, key=lambda dataset: (dataset.name, dataset.rel_path.count("#")))


def _write(path: Path, content: bytes) -> None:
    # a file that is right keeps its time, so that caches and servers take it for the same
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _id(path: str) -> str:
    """Give the UUID of a path, in the shape of version 4, which ONE-api asks for."""
    digest = hashlib.sha256(f"one_cache sample lab {path}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))
