"""Tables and manifest of a record: what was read, as it was then, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from one_cache.manifest import Manifest, TablePin
from one_cache.recorder import Entry
from one_cache.tables import Tables
from one_cache.tables.schema import quoted

CORE = ("sessions", "datasets")
# these are of the record, not of the cache that it was read through
_OF_RECORD = ("date_created", "date_modified", "origin")


@dataclass(frozen=True)
class Frozen:
    """What is pinned, before it is written.

    Attributes
    ----------
    rows : mapping
        By table, records or a ``pyarrow.Table``.
    meta : mapping
        By table, what it says of itself; dates and origin are left out.
    date : str
        ISO time that everything is dated with.
    remotes : tuple of str
        Where it came from.
    release : str or None
        Name of the data release.
    revision_last_before : str or None
        Cut-off that was in force.
    """

    rows: Mapping[str, Any]
    meta: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    date: str = ""
    remotes: tuple[str, ...] = ()
    release: str | None = None
    revision_last_before: str | None = None

    def write(self, folder: Path) -> Path:
        """Write tables and manifest into a folder; the same content gives the same bytes.

        Parameters
        ----------
        folder : pathlib.Path
            Where; it exists, and nobody reads in it yet.

        Returns
        -------
        pathlib.Path
            The manifest.
        """
        from one_cache.tables.exact import write_exact

        # ONE-api reads the date in this form
        meta = {"date_created": self.date[:16].replace("T", " "), "origin": list(self.remotes)}
        for name, rows in self.rows.items():
            if len(rows):
                own = self.meta.get(name, {}).items()
                kept = {key: value for key, value in own if key not in _OF_RECORD}
                write_exact(folder, name, rows, {**meta, **kept})
        tables = Tables.open(folder, writable=False, silent=True)
        pins = {
            name: TablePin(f"{name}.pqt", digest, tables.count(name))
            for name, digest in tables.hashes().items()
        }
        tables.close()
        manifest = Manifest(
            tables=pins,
            remotes=self.remotes,
            release=self.release,
            revision_last_before=self.revision_last_before,
            created=self.date,
        )
        return manifest.write(folder)


def other_tables(entries: Iterable[Entry], tables: Tables) -> dict[str, Any]:
    """Give what the tables of other kinds hold of the things that a record names.

    Parameters
    ----------
    entries : iterable of Entry
        What was read: a table as a whole, or things that have a row in one, by their ids.
    tables : Tables
        Of the cache that read it.

    Returns
    -------
    dict
        By table: a ``pyarrow.Table``, or a list of rows, which name the file that was read.
    """
    named = {entry.id: entry for entry in entries if entry.kind != "dataset"}
    found: dict[str, Any] = {}
    for name in tables.names():
        if name in CORE:
            continue
        if name in named and named[name].kind == "table":
            found[name] = tables.arrow(f"SELECT * FROM {quoted(name)}")
        elif named and "id" in tables.columns(name):
            sql = (
                f"SELECT * FROM {quoted(name)} WHERE id::VARCHAR IN (SELECT unnest(?::VARCHAR[]))"
            )
            rows = tables.rows(sql, [list(named)])
            found[name] = [_as_read(row, named[str(row["id"])]) for row in rows]
    return found


def _as_read(row: Mapping[str, Any], entry: Entry) -> dict[str, Any]:
    """Let a row name the file that was read, where it has another one today."""
    read = {"path": entry.path, "size": entry.size, "hash": entry.hash}
    return {**row, **{key: value for key, value in read.items() if key in row}}
