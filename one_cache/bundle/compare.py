"""What differs between two sets of tables, releases, bundles or records.

Two tables of millions of rows are compared by short digests of their rows first, so that only
what differs is ever held as a whole.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_cache.bundle.report import Change
from one_cache.bundle.wish import read_wish
from one_cache.errors import InvalidArgument, ManifestMismatch
from one_cache.manifest import FILE_NAME, Manifest
from one_cache.recorder import Entry
from one_cache.remotes import Remote, connect
from one_cache.store import Store
from one_cache.tables.engine import Engine, as_arrow_table, explained
from one_cache.tables.engine import connect as connect_engine
from one_cache.tables.files import SUFFIX, TableFile, hash_of, open_file
from one_cache.transfer import fetch

if TYPE_CHECKING:
    import duckdb

KINDS = ("added", "removed", "revised", "bytes", "qc", "default", "moved")
"""What can be different, in the order in which it is listed."""

_MEMORY = "800MB"  # of the engine; what needs more goes to the disk


class Diff:
    """What differs, ordered by kind, session and path.

    Attributes
    ----------
    counts : dict of str to int
        How many there are of each kind that occurs.
    """

    def __init__(self, found: Any) -> None:
        self._found = found
        self.counts: dict[str, int] = dict(Counter(found.column("kind").to_pylist()))

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Change]:
        for batch in self._found.to_batches():
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield Change(*values)

    def __repr__(self) -> str:
        listed = ", ".join(f"{count} {kind}" for kind, count in self.counts.items())
        return f"{type(self).__name__}({listed or 'no difference'})"


@dataclass(frozen=True)
class _Side:
    """One of the two: the tables of a folder, or the entries of a record."""

    files: Mapping[str, TableFile] = field(default_factory=dict)
    entries: Sequence[Entry] | None = None


def diff(before: str | Path | Remote, after: str | Path | Remote, *, silent: bool = False) -> Diff:
    """Compare two sets of tables, releases, bundles or records.

    Parameters
    ----------
    before, after : path-like or Remote
        Each a folder with tables, a manifest, a bundle, a record, or a remote that carries
        tables, or its address where it needs no credentials. Beside a record, of tables only
        the datasets of that record count and their later revisions.
    silent : bool
        No progress bar while tables are fetched.

    Returns
    -------
    Diff

    Raises
    ------
    InvalidArgument
        Nothing that can be compared.
    ManifestMismatch
        A manifest whose tables are not those that it pins.
    TableError, TransferError
        Tables that cannot be read or fetched.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from tempfile import mkdtemp
    >>> from one_cache.records import QC, Dataset
    >>> from one_cache.tables import Tables
    >>> rows = [Dataset("i", "e", "alf/a.b.npy"), Dataset("j", "e", "alf/a.c.npy", hash="0" * 32)]
    >>> later = [Dataset("k", "e", "alf/#2024-01-01#/a.b.npy"), replace(rows[1], qc=QC.FAIL)]
    >>> folders = [Path(mkdtemp()), Path(mkdtemp())]
    >>> for folder, found in zip(folders, (rows, rows[:1] + later)):
    ...     tables = Tables.open(None)
    ...     tables.add("datasets", found)
    ...     _ = tables.save(folder)
    >>> for change in diff(*folders):
    ...     print(change.kind, change.path, change.before, change.after)
    revised alf/#2024-01-01#/a.b.npy alf/a.b.npy alf/#2024-01-01#/a.b.npy
    qc alf/a.c.npy NOT_SET FAIL
    """
    with contextlib.ExitStack() as stack:
        sides = [_open(stack, one, silent=silent) for one in (before, after)]
        connection = stack.enter_context(contextlib.closing(connect_engine(memory=_MEMORY)))
        with explained(f"{before} and {after} cannot be compared"):
            for name, side in zip("ab", sides, strict=True):
                _register(connection, name, side)
            records = [side.entries is not None for side in sides]
            sql = _compare(connection, *records)
            connection.register("others", _other_tables(*sides))
            order = f"list_position({list(KINDS)}, kind), eid, path, id"
            found = as_arrow_table(
                connection,
                f"SELECT * FROM ({sql} UNION ALL SELECT * FROM others) ORDER BY {order}",
            )
        return Diff(found)


# -- what is compared --------------------------------------------------------------------------


def _open(stack: contextlib.ExitStack, name: str | Path | Remote, *, silent: bool) -> _Side:
    if isinstance(name, (str, Path)):
        path = Path(name).expanduser()
        if "://" not in str(name) and not (path.is_file() and path.suffix.lower() == ".zip"):
            return _read(path)
        name = connect(str(name))
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    files = [listing.file for listing in name.tables()]
    fetch(files, name, Store(folder), silent=silent)
    return _tables(folder)


def _read(path: Path) -> _Side:
    if path.is_dir():
        return _tables(path)
    if path.name == FILE_NAME and path.is_file():
        _check_pins(path)
        return _tables(path.parent)
    wish = read_wish(path)
    if wish.kind:
        raise InvalidArgument(f"{path} is a list of ids, which says nothing to compare")
    return _Side(entries=wish.entries)


def _check_pins(path: Path) -> None:
    for name, pin in Manifest.read(path).tables.items():
        place = path.parent / pin.file
        got = hash_of(place) if place.is_file() else "no such file"
        if got != pin.sha256:
            raise ManifestMismatch(
                f"table {name!r}: {path} expects sha256 {pin.sha256}, {pin.file} has {got}"
            )


def _tables(folder: Path) -> _Side:
    engine = Engine()
    found = [open_file(engine, path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
    if not any(found):
        raise InvalidArgument(f"there are no tables in {folder}")
    return _Side({file.name: file for file in found if file is not None})


def _register(connection: duckdb.DuckDBPyConnection, name: str, side: _Side) -> None:
    """Let a side be asked as a view of datasets and one of sessions, in one form."""
    if "datasets" in side.files:
        connection.execute(
            f"CREATE VIEW {name} AS SELECT id::VARCHAR AS id, coalesce(eid::VARCHAR, '') AS eid, "
            "rel_path, file_size::UBIGINT AS size, nullif(hash, '') AS hash, "
            "coalesce(\"exists\", true) AS held, coalesce(qc::VARCHAR, 'NOT_SET') AS qc, "
            f"default_revision AS is_default FROM ({side.files['datasets'].select})"
        )
    else:
        connection.register(f"{name}_entries", _as_arrow(side.entries or ()))
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {name}_entries")
    if "sessions" in side.files:
        connection.execute(
            f"CREATE VIEW {name}_sessions AS SELECT id::VARCHAR AS id, concat_ws('/', "
            "nullif(lab, ''), subject, date::VARCHAR, printf('%03d', number)) AS path "
            f"FROM ({side.files['sessions'].select})"
        )
    else:
        connection.execute(f"CREATE VIEW {name}_sessions AS SELECT '' AS id, '' AS path LIMIT 0")


def _as_arrow(entries: Sequence[Entry]) -> Any:
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    rows = [
        {
            "id": entry.id,
            "eid": entry.eid,
            "rel_path": entry.rel_path or entry.path,
            "size": entry.size,
            "hash": entry.hash or None,
            "held": True,
            "qc": entry.qc or "NOT_SET",
            "is_default": entry.default,
        }
        for entry in entries
    ]
    texts = ("id", "eid", "rel_path", "hash", "qc")
    fields = [pa.field(name, pa.string()) for name in texts]
    fields += [pa.field("size", pa.uint64())]
    fields += [pa.field(name, pa.bool_()) for name in ("held", "is_default")]
    return pa.Table.from_pylist(rows, pa.schema(fields))


def _other_tables(before: _Side, after: _Side) -> Any:
    """Compare the tables of other kinds, each as a whole."""
    import pyarrow as pa

    names = ({*before.files} | {*after.files}) - {"sessions", "datasets"}
    changes = []
    if before.entries is None and after.entries is None:
        for name in sorted(names):
            old, new = (
                hash_of(side.files[name].path) if name in side.files else ""
                for side in (before, after)
            )
            if old != new:
                kind = "bytes" if old and new else "added" if new else "removed"
                changes.append(Change(kind, f"{name}{SUFFIX}", old, new))
    fields = Change._fields
    return pa.table(
        {name: pa.array([getattr(c, name) for c in changes], pa.string()) for name in fields}
    )


# -- the comparison ----------------------------------------------------------------------------

_COLUMNS = "id, eid, rel_path, size, hash, held, qc, is_default"


def _compare(connection: duckdb.DuckDBPyConnection, before: bool, after: bool) -> str:
    """Compare the views ``a`` and ``b``; give the SQL that tells the changes.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Has the views.
    before, after : bool
        Whether that side is a record.
    """
    for name in "ab":
        # two hashes stand for an id: that of one alone would be shared within 10^9 of them
        connection.execute(
            f"CREATE TEMP TABLE {name}_short AS SELECT hash(id) AS k, hash(id || '+') AS l, "
            f"hash({_COLUMNS}) AS v FROM {name}"
        )
    connection.execute(
        "CREATE TEMP TABLE differs AS SELECT k, l FROM a_short FULL JOIN b_short USING (k, l) "
        "WHERE a_short.v IS DISTINCT FROM b_short.v"
    )
    for name in "ab":
        connection.execute(f"DROP TABLE {name}_short")
        connection.execute(
            f"CREATE TEMP TABLE {name}_rows AS SELECT {_COLUMNS} FROM {name} "
            "SEMI JOIN differs ON hash(id) = k AND hash(id || '+') = l"
        )
    connection.execute(_SORTED_OUT)
    parts = [_PAIRS, _REVISED]
    # beside a record, what else there is in tables is no difference
    if after or not before:
        parts.append(_ADDED)
    if before or not after:
        parts.append(_REMOVED)
    if not (before or after):
        parts.append(_SESSIONS)
    return " UNION ALL ".join(parts)


# pairs: the same id, or the same place under another one; what is left has no partner
_SORTED_OUT = """
CREATE TEMP MACRO plain(path) AS regexp_replace(path, '#[^#/]*#/', '');
CREATE TEMP MACRO revision(path) AS regexp_extract(path, '#([^#/]*)#/', 1);
CREATE TEMP TABLE a_only AS FROM a_rows ANTI JOIN b_rows USING (id);
CREATE TEMP TABLE b_only AS FROM b_rows ANTI JOIN a_rows USING (id);
CREATE TEMP TABLE pairs AS
    SELECT a, b FROM a_rows AS a JOIN b_rows AS b ON a.id = b.id
    UNION ALL
    SELECT a, b FROM a_only AS a JOIN b_only AS b ON a.eid = b.eid AND a.rel_path = b.rel_path;
CREATE TEMP TABLE a_left AS FROM a_only ANTI JOIN b_only USING (eid, rel_path);
CREATE TEMP TABLE b_left AS FROM b_only ANTI JOIN a_only USING (eid, rel_path);
CREATE TEMP TABLE revised AS
    WITH fresh AS (
        SELECT id, eid, rel_path, plain(rel_path) AS plain, revision(rel_path) AS revision
        FROM b_left WHERE held
    ), had AS (
        SELECT
            eid,
            plain(rel_path) AS plain,
            max(revision(rel_path)) AS revision,
            max_by(rel_path, {'d': coalesce(is_default, false), 'r': revision(rel_path)}) AS path
        FROM a SEMI JOIN fresh USING (eid)
        GROUP BY 1, 2
    )
    SELECT fresh.id, fresh.eid, fresh.rel_path, had.path AS before
    FROM fresh JOIN had USING (eid, plain)
    WHERE fresh.revision > had.revision;
"""
_PAIRS = """
SELECT 'removed' AS kind, a.rel_path AS path, a.rel_path AS before, '' AS after,
    a.id AS id, a.eid AS eid
FROM pairs WHERE a.held AND NOT b.held
UNION ALL
SELECT 'added', b.rel_path, '', b.rel_path, b.id, b.eid FROM pairs WHERE b.held AND NOT a.held
UNION ALL
SELECT 'bytes', b.rel_path, a.hash, b.hash, b.id, b.eid FROM pairs
WHERE length(a.hash) = length(b.hash) AND lower(a.hash) <> lower(b.hash)
UNION ALL
SELECT 'bytes', b.rel_path, a.size || ' bytes', b.size || ' bytes', b.id, b.eid FROM pairs
WHERE coalesce(length(a.hash) <> length(b.hash), true) AND a.size <> b.size
UNION ALL
SELECT 'qc', b.rel_path, a.qc, b.qc, b.id, b.eid FROM pairs WHERE a.qc <> b.qc
UNION ALL
SELECT 'default', b.rel_path, if(a.is_default, 'yes', 'no'), if(b.is_default, 'yes', 'no'),
    b.id, b.eid
FROM pairs WHERE a.is_default <> b.is_default
UNION ALL
SELECT 'moved', b.rel_path, a.rel_path, b.rel_path, b.id, b.eid
FROM pairs WHERE a.rel_path <> b.rel_path
"""
_REVISED = "SELECT 'revised', rel_path, before, rel_path, id, eid FROM revised"
_ADDED = """
SELECT 'added', rel_path, '', rel_path, id, eid
FROM (FROM b_left ANTI JOIN revised USING (id)) WHERE held
"""
_REMOVED = "SELECT 'removed', rel_path, rel_path, '', id, eid FROM a_left WHERE held"
_SESSIONS = """
SELECT 'added', path, '', path, '', id FROM (FROM b_sessions ANTI JOIN a_sessions USING (id))
UNION ALL
SELECT 'removed', path, path, '', '', id FROM (FROM a_sessions ANTI JOIN b_sessions USING (id))
"""
