"""What becomes of a cache in time: what is outdated, damaged, or may go."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from one_cache.bundle.clean import Plan, carry_out, make_plan, read_age, read_size
from one_cache.bundle.frozen import CORE
from one_cache.bundle.inventory import Inventory, expected, files_of_tables
from one_cache.bundle.outdated import changed, notices, outdated
from one_cache.bundle.report import Change, Problem, Report
from one_cache.bundle.verify import verify
from one_cache.bundle.wish import RECORD, AnyRecord, file_of, manifest_folder, read_wish
from one_cache.cache.again import Again
from one_cache.errors import InvalidArgument, ModeError, QueryNotCached
from one_cache.manifest import FILE_NAME
from one_cache.modes import Action, FileState
from one_cache.recorder import Entry
from one_cache.tables import Tables


class Upkeep(Again):
    """Looks at what is here, beside records and beside what is known today."""

    # -- what has become of it -----------------------------------------------------------------

    def outdated(self, record: AnyRecord) -> list[Change]:
        """Say what of a record is no longer the best there is.

        Parameters
        ----------
        record : path-like, Recorder, or sequence of Entry
            A full record or a bundle.

        Returns
        -------
        list of Change
            In the order of the record: ``gone``, other ``bytes``, a worse ``qc``, ``revised``
            (a later revision, up to the cut-off of this cache), no longer the ``default``, or a
            ``notice`` about it. In remote mode the remote is asked, otherwise the tables. Of
            answers to queries, results and mirrored tables this cache says what it knows: that
            they were asked for again since and are other ``bytes``.

        Raises
        ------
        InvalidArgument
            A list of ids, which does not say what was read.

        Examples
        --------
        >>> from tempfile import mkdtemp
        >>> from one_cache import Cache
        >>> from one_cache.sample import write_sample_lab
        >>> lab = write_sample_lab(mkdtemp())
        >>> cache = Cache(lab.folder)
        >>> with cache.recording() as recorder:
        ...     drift = cache.load_dataset(lab.revised[0].eid, "drift.times.npy", revision="2024")
        >>> [(change.kind, change.after) for change in cache.outdated(recorder)]
        [('revised', 'alf/probe00/pykilosort/#2024-05-06#/drift.times.npy')]
        """
        wish = read_wish(record)
        if wish.kind:
            raise InvalidArgument(f"{record} is a list of ids, which does not say what was read")
        found = list(changed(wish.entries, self._rows_of_others))
        if any(entry.kind == "dataset" for entry in wish.entries):
            found += self._outdated_datasets(wish.entries)
        place = {(entry.eid, entry.id): at for at, entry in enumerate(wish.entries)}
        return sorted(found, key=lambda change: place[change.eid, change.id])

    def _outdated_datasets(self, entries: Sequence[Entry]) -> list[Change]:
        knower, cut = self._catalogue(), self.revision_last_before
        found = list(outdated(entries, knower.datasets_of, knower.datasets, last_revision=cut))
        # tables, or a remote, may have none
        with suppress(QueryNotCached):
            found += notices(entries, knower.known("notices"))
        return found

    def _rows_of_others(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Give what tables of other kinds hold of these things."""
        found: dict[str, dict[str, Any]] = {}
        for name in self.tables.names():
            if name not in CORE and "id" in self.tables.columns(name):
                found.update(self.tables.by_id(name, ids))
        return found

    # -- every byte ----------------------------------------------------------------------------

    def verify(
        self,
        record: AnyRecord | None = None,
        *,
        repair: bool = False,
        threads: int | None = None,
    ) -> Report:
        """Hash what is here again, and say what is missing, different, extra or unfinished.

        A run that was interrupted goes on where it stopped.

        Parameters
        ----------
        record : path-like, Recorder, or sequence of Entry, optional
            Only what this record names. In a bundle its own record when not given.
        repair : bool
            Fetch again what is missing or different.
        threads : int, optional
            As many as there are processors when not given.

        Returns
        -------
        Report
            `files` are right, those that were repaired included. Without a record, what was
            verified here once and is gone is missing; where there is no remote, all that the
            tables know must be here.

        Raises
        ------
        ModeError
            `repair`, and the mode of this cache fetches nothing.
        """
        if repair and self.policy().on[FileState.MISSING] is not Action.FETCH:
            raise ModeError(
                f"mode {self.mode!r} fetches nothing, so nothing can be repaired; name the remote "
                "that has the files"
            )
        own = self.tables_dir / RECORD
        if record is None and own.is_file():
            record = own
        remarks: list[Problem] = []
        if record is not None:
            files = [file_of(entry, url=True) for entry in self._wish(record).entries]
        else:
            seen = Inventory.take(Path(self.cache_dir), self.tables_dir)
            known = expected(self.store, self.tables, seen, whole=not self.origins)
            files = list(known.values())
            remarks = [*seen.extra(known), *seen.unfinished()]
        found = verify(self.store, files, threads=threads, silent=self.silent)
        if repair and found:
            bad = {problem.path for problem in found}
            errors = self.bring([file for file in files if file.path in bad])
            found = [Problem.of(error, path) for path, error in errors.items()]
        bad = {problem.path for problem in found}
        good = tuple(file for file in files if file.path not in bad)
        return Report(good, (*found, *remarks))

    def clean(
        self,
        keep: AnyRecord | Sequence[AnyRecord] = (),
        *,
        older_than: str | float | dt.timedelta | None = None,
        max_size: str | int | None = None,
        dry_run: bool = False,
        confirm: Callable[[Plan], bool] = lambda plan: True,
    ) -> Plan:
        """Remove files that can be had again, and that nothing kept needs.

        Parameters
        ----------
        keep : record or manifest, or sequence of these
            What must stay complete: records, bundles, lists of ids, manifests. What the manifest
            of this cache pins stays too.
        older_than : str, float or datetime.timedelta, optional
            Files go that were not used for so long: ``"90d"``, ``"4w"``, or days. Where the disk
            keeps no times of reading, the time of writing counts.
        max_size : str or int, optional
            So much may stay, ``"200G"`` or bytes; files that were not used for longest go.
        dry_run : bool
            Only give the plan.
        confirm : callable
            Shown the plan before anything goes; nothing does unless it gives True.

        Returns
        -------
        Plan
            What goes, or went. Files that no table knows and this cache did not bring are never
            looked at.

        Raises
        ------
        ModeError
            A fixed cache, which nothing is taken from.
        InvalidArgument
            Neither an age nor a size; or a cache without a remote, which is its files' home.
        """
        if not self.policy().writes:
            raise ModeError(f"mode {self.mode!r} removes nothing from the cache")
        if older_than is None and max_size is None:
            raise InvalidArgument("say what may go: older_than='90d', max_size='200G', or both")
        if not self.origins:
            raise InvalidArgument(
                f"{self.cache_dir} has no remote: what is removed could not be had again"
            )
        seen = Inventory.take(Path(self.cache_dir), self.tables_dir)
        known = expected(self.store, self.tables, seen, whole=False)
        plan = make_plan(
            seen,
            known,
            self._needed(keep),
            older_than=None if older_than is None else read_age(older_than),
            max_size=None if max_size is None else read_size(max_size),
        )
        if dry_run:
            return plan
        # what is not agreed to stays
        agreed = plan if confirm(plan) else replace(plan, removals=(), kept=plan.kept + plan.freed)
        return carry_out(agreed, seen, self.store)

    def _needed(self, keep: AnyRecord | Sequence[AnyRecord]) -> set[str]:
        """Give the paths of what must stay."""
        kept: list[AnyRecord] = [keep]  # type: ignore[list-item]  # several are told apart below
        if isinstance(keep, (list, tuple)) and not any(isinstance(one, Entry) for one in keep):
            kept = [*keep]
        if (self.tables_dir / FILE_NAME).is_file():
            kept.append(self.tables_dir)
        needed: set[str] = set()
        for one in kept:
            folder = manifest_folder(one)
            if folder is None:
                needed.update(entry.path for entry in self._wish(one).entries)
            else:
                tables = Tables.open(folder, writable=False, silent=True)
                needed.update(file.path for file in files_of_tables(tables))
                tables.close()
        return needed
