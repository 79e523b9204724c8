"""Records as the frames and series that ONE-api gives, and back."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from one_cache.errors import InvalidArgument
from one_cache.records import QC, Bunch, Dataset, Session
from one_cache.tables.frames import as_uuid

if TYPE_CHECKING:
    import pandas as pd

_SESSION_COLUMNS = ("lab", "subject", "date", "number", "task_protocol", "projects")
_DATASET_COLUMNS = ("rel_path", "file_size", "hash", "exists", "qc", "default_revision")
QC_NAMES = [level.name for level in sorted(QC)]


def session_record(session: Session) -> Bunch:
    """Give a session as the record that ``search(details=True)`` lists."""
    values = {name: getattr(session, name) for name in _SESSION_COLUMNS}
    return Bunch(id=as_uuid(session.id), **values, **session.extra)


def session_series(session: Session) -> pd.Series[Any]:
    """Give a session as a series named by its eid."""
    import pandas as pd

    record = session_record(session)
    eid = record.pop("id")
    return pd.Series(dict(record), name=eid, dtype=object)


def dataset_series(dataset: Dataset) -> pd.Series[Any]:
    """Give a dataset as a series named ``(eid, id)``."""
    import pandas as pd

    values = {name: getattr(dataset, name) for name in _DATASET_COLUMNS}
    values["qc"] = dataset.qc.name
    name = (as_uuid(dataset.eid), as_uuid(dataset.id))
    return pd.Series({**values, **dataset.extra}, name=name, dtype=object)


def dataset_frame(datasets: Sequence[Dataset], *, keep_eid: bool = False) -> pd.DataFrame:
    """Give datasets as a frame of ONE-api's shape.

    Parameters
    ----------
    datasets : sequence of Dataset
        Rows, in their order.
    keep_eid : bool
        Index ``(eid, id)`` instead of ``id``.

    Returns
    -------
    pandas.DataFrame
        `file_size` UInt64, `qc` an ordered category, ids as ``uuid.UUID``.
    """
    import pandas as pd

    records = [
        {
            "eid": dataset.eid,
            "id": dataset.id,
            **{name: getattr(dataset, name) for name in _DATASET_COLUMNS},
            "qc": dataset.qc.name,
            **dataset.extra,
        }
        for dataset in datasets
    ]
    columns = None if records else ["eid", "id", *_DATASET_COLUMNS]
    frame = pd.DataFrame.from_records(records, columns=columns)
    return one_frame(frame, keep_eid=keep_eid)


def one_frame(frame: pd.DataFrame, *, keep_eid: bool = False) -> pd.DataFrame:
    """Give a frame with the columns `eid` and `id` the index and types of ONE-api."""
    import pandas as pd

    frame["file_size"] = frame["file_size"].astype("UInt64")
    frame["qc"] = pd.Categorical(frame["qc"].fillna("NOT_SET"), categories=QC_NAMES, ordered=True)
    frame["exists"] = frame["exists"].astype(bool)
    # a column of nothing but null tells pandas nothing
    text = pd.Series(["text"]).dtype
    frame = frame.astype({"rel_path": text, "hash": text})
    flags = frame["default_revision"].astype("boolean")
    frame["default_revision"] = flags if flags.hasnans else flags.astype("bool")
    for name in ("eid", "id"):
        values = [as_uuid(text) for text in frame[name]]
        frame[name] = pd.Series(values, index=frame.index, dtype=object)
    if keep_eid:
        return frame.set_index(["eid", "id"])
    return frame.drop(columns="eid").set_index("id")


def dataset_record(dataset: Dataset) -> Bunch:
    """Give a dataset as the record that ``load_datasets`` returns beside the data."""
    values = {name: getattr(dataset, name) for name in _DATASET_COLUMNS}
    values["qc"] = dataset.qc.name
    eid = as_uuid(dataset.eid) or None
    known = {"eid": eid, "id": as_uuid(dataset.id), **values, "revision": dataset.revision}
    return Bunch({**dataset.extra, **known})


def read_dataset_records(value: Any) -> list[Dataset]:
    """Read datasets from what our calls and ONE-api's give: frames, series, mappings.

    Raises
    ------
    InvalidArgument
        A record without ids or relative path.
    """
    if isinstance(value, Dataset):
        return [value]
    if hasattr(value, "iterrows"):
        return [one for _, row in value.iterrows() for one in read_dataset_records(row)]
    if isinstance(value, (list, tuple)):
        return [one for item in value for one in read_dataset_records(item)]
    name = getattr(value, "name", None)
    record = dict(value)
    if isinstance(name, tuple) and len(name) == 2:
        record = {"eid": name[0], "id": name[1], **record}
    if not record.get("rel_path") or not record.get("eid"):
        raise InvalidArgument(
            "a dataset record has an eid (in its name or as a field) and a rel_path; got "
            f"{', '.join(map(str, record))}"
        )
    return [_dataset(record)]


def _dataset(record: Mapping[str, Any]) -> Dataset:
    known = {field.name for field in fields(Dataset)} - {"extra"}
    values = {key: None if _is_null(item) else item for key, item in record.items()}
    size = values.get("file_size")
    return Dataset(
        id=str(values.get("id") or ""),
        eid=str(values["eid"]),
        rel_path=str(values["rel_path"]),
        file_size=None if size is None else int(size),
        hash=values.get("hash"),
        exists=bool(values.get("exists", True)),
        qc=QC.read(values.get("qc") or "NOT_SET"),
        default_revision=values.get("default_revision"),
        extra={key: item for key, item in values.items() if key not in known},
    )


def _is_null(value: Any) -> bool:
    # NaN and pandas.NaT differ from themselves; pandas.NA refuses to be a truth value
    return type(value).__name__ == "NAType" or (isinstance(value, float) and value != value)


class SearchResult(list[Any]):
    """The eids that a search found: a list of ``uuid.UUID`` that shows itself as a table.

    Parameters
    ----------
    sessions : iterable of Session
        What was found, in order.
    """

    def __init__(self, sessions: Iterable[Session] = ()) -> None:
        self._sessions = list(sessions)
        super().__init__(as_uuid(session.id) for session in self._sessions)

    def _rows(self, most: int) -> list[list[str]]:
        rows = []
        for session in self._sessions[:most]:
            values = [getattr(session, name) for name in _SESSION_COLUMNS]
            rows.append([session.id, *("" if value is None else str(value) for value in values)])
        return rows

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("eid", *_SESSION_COLUMNS))
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._rows(20)
        )
        return (
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            f"<p>{len(self)} session{'' if len(self) == 1 else 's'}</p>"
        )

    def __repr__(self) -> str:
        if len(self) != len(self._sessions):
            # changed by its owner since the search: the table would no longer be true
            return list.__repr__(self)
        lines = [f"{len(self)} session{'' if len(self) == 1 else 's'}"]
        rows = self._rows(20)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  ".join(cells).rstrip())
        if len(self) > len(rows):
            lines.append(f"... and {len(self) - len(rows)} more")
        return "\n".join(lines)
