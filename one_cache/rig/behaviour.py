"""Rigs uploaded, sessions inserted, masks computed: all of it, or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from one_cache.cache import Cache
from one_cache.cache.relating import row_id
from one_cache.errors import DuplicateKey, InvalidArgument, ModeError, OneCacheError, near_misses
from one_cache.relation import Relation
from one_cache.rig import headings
from one_cache.rig.description import RigDescription, read_rig
from one_cache.rig.nwb import read_nwb
from one_cache.rig.session import (
    Masks,
    SessionData,
    SessionDraft,
    animals_of,
    masks_rows,
    one_world,
    with_id,
)
from one_cache.tables import Tables
from one_cache.trials.masks import mask_functions

Key = Mapping[str, Any]
Rows = dict[str, list[dict[str, Any]]]


class Behaviour:
    """The rigs of a lab and what they recorded, in a cache.

    Parameters
    ----------
    cache : Cache
        Holds rows and arrays.
    analysis : path, optional
        Folder of the mask functions; ``analysis`` in the cache when not given.

    Attributes
    ----------
    BehaviourRig, Feature, MaskFunction, World, Self, Object, Video : Relation
        Descriptions of rigs and sessions, with Antelop's columns.
    AnalogEvents, DigitalEvents, IntervalEvents, Kinematics, Mask : Relation
        What was recorded: ``data`` and ``timestamps`` (s) are arrays, read when they are fetched.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> lab = Behaviour(Cache(mkdtemp()))
    >>> lab.upload_rig_json("alice", "arena", {
    ...     "specification": "antelop-behaviour", "version": "1", "reference_point": "the floor",
    ...     "features": [], "videos": []}, [])
    {'experimenter': 'alice', 'behaviourrig_id': 1}
    >>> lab.BehaviourRig.fetch("behaviourrig_name").tolist()
    ['arena']
    """

    def __init__(self, cache: Cache, *, analysis: str | Path | None = None) -> None:
        self.cache = cache
        self.analysis = Path(analysis) if analysis else Path(cache.cache_dir) / "analysis"

    def __getattr__(self, name: str) -> Relation:
        if name in headings.NAMES and "cache" in self.__dict__:
            return headings.relation(name, self.cache)
        raise AttributeError(f"no relation {name!r}.{near_misses(name, headings.NAMES)}")

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *headings.NAMES])

    # -- rigs ------------------------------------------------------------------------------

    def upload_rig_json(
        self,
        experimenter: str,
        rig_name: str,
        rig_json: str | Path | Mapping[str, Any],
        masklist: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """Check the description of a rig, and keep it with its features and masks.

        Parameters
        ----------
        experimenter : str
            Whose rig it is.
        rig_name : str
            A name that no other rig has.
        rig_json : path or mapping
            The description.
        masklist : list of dict
            Masks with ``name``, ``description`` and ``function``, which names a function of the
            analysis folder as ``script.function``.

        Returns
        -------
        dict
            Key of the rig.

        Raises
        ------
        InvalidArgument
            The description or the masks are wrong: all errors at once, each with its path.
        DuplicateKey
            There is a rig of that name.
        ModeError
            The mode of the cache writes nothing.
        """
        self._require_writable()
        known = mask_functions(self.analysis) if masklist else {}
        rig = read_rig(rig_json, masklist, known)
        # two that upload at once would take one number
        with self.cache.store.lock("rig/rigs"):
            self.cache.tables.refresh()
            if self.BehaviourRig & {"behaviourrig_name": rig_name}:
                raise DuplicateKey(f"there is a rig {rig_name!r} already; rig names are unique")
            taken = (self.BehaviourRig & {"experimenter": experimenter}).fetch("behaviourrig_id")
            key = {"experimenter": experimenter, "behaviourrig_id": int(max(taken, default=0)) + 1}
            self._add_last("BehaviourRig", _rig_rows(key, rig_name, rig, masklist))
        return key

    # -- sessions --------------------------------------------------------------------------

    def insert_nwb(
        self, session: Key, animals: Sequence[Key] | Mapping[int, Key], nwbpath: str | Path
    ) -> dict[str, Any]:
        """Insert all that a rig names of one session, and compute its masks; or nothing.

        Parameters
        ----------
        session : dict
            ``experimenter``, ``experiment_id``, ``session_id``, and ``behaviourrig_id`` or
            ``behaviourrig_name`` where the experimenter has several rigs.
        animals : list of dict, or dict
            Keys of the animals, in the order of their numbers in the rig (1, 2, ...), or by
            number. A name (``animal_name``) is compared with the subject of the file.
        nwbpath : path
            The file. What the rig does not name is left aside.

        Returns
        -------
        dict
            Key of the session and its rig.

        Raises
        ------
        InvalidArgument
            The file lacks something, animals do not match, or a mask function fails to give a
            mask: all that is missing is listed with what there is instead.
        DuplicateKey
            The session is there already.
        ModeError
            The mode of the cache writes nothing.
        """
        self._require_writable()
        path = Path(nwbpath)
        key, rig = self._rig_of(session)
        given = animals_of(animals, key["experimenter"])
        world = {**{name: session[name] for name in headings.SESSION}, **key}
        with self.cache.store.lock(f"rig/{row_id('worlds', *world.values())}"):
            self.cache.tables.refresh()
            if self.World & {name: world[name] for name in headings.SESSION}:
                raise DuplicateKey(f"there is a session {dict(session)} already")
            numbered = [(number, name) for number, _, name in given]
            recording = read_nwb(path, rig, numbered)
            data = SessionData(
                world, {n: (s.data, s.timestamps) for n, s in recording.series.items()}
            )
            masks = self._masks(world).compute(data)
            draft = SessionDraft(self.cache, world, rig, given)
            try:
                self._add_last("World", draft.of(recording, masks, path))
            except (OneCacheError, OSError):
                draft.withdraw()
                raise
        return world

    def recompute_masks(self, key: Any) -> list[dict[str, Any]]:
        """Compute the masks of sessions anew, in the place of those that are there.

        Parameters
        ----------
        key : dict, or any restriction
            Of a session, or a wider one: of an experiment, a rig, everything (``{}``).

        Returns
        -------
        list of dict
            Keys of the masks.

        Raises
        ------
        InvalidArgument
            No session fits, or a mask function is gone or gives no mask; nothing has changed then.
        ModeError
            The mode of the cache writes nothing.
        """
        self._require_writable()
        worlds = (self.World & key).to_dicts()
        if not worlds:
            raise InvalidArgument(f"no session fits {key!r}; there are {len(self.World)} in all")
        computed = []
        for one in worlds:
            world = one_world(one)
            computed.append((world, self._masks(world).compute(self.session(world))))
        rows = [row for world, masks in computed for row in masks_rows(self.cache, world, masks)]
        self._add_last("Mask", {"Mask": rows})
        return [{name: row[name] for name in headings.key_of("Mask")} for row in rows]

    def session(self, key: Key) -> SessionData:
        """Give the recordings of a session by name, as mask functions get them.

        Parameters
        ----------
        key : dict
            Of one session.

        Returns
        -------
        SessionData
            A mapping of name to ``(data, timestamps)``, each read when it is asked for.
        """
        return SessionData(one_world((self.World & key).fetch1()), dict(self._recorded(key)))

    # -- the machinery ---------------------------------------------------------------------

    def _recorded(self, key: Key) -> Iterator[tuple[str, Any]]:
        """Give how each recording of a session is read, by its name."""
        for name in ("AnalogEvents", "DigitalEvents", "IntervalEvents", "Kinematics"):
            relation = getattr(self, name) & {one: key[one] for one in headings.SESSION}
            column = f"{name.lower()}_name"
            for row in relation.to_dicts("KEY", column):
                one = {part: row[part] for part in headings.key_of(name)}
                yield row[column], relation & one

    def _rig_of(self, session: Key) -> tuple[dict[str, Any], RigDescription]:
        """Give the rig of a session, and its description."""
        missing = [name for name in headings.SESSION if name not in session]
        if missing:
            raise InvalidArgument(f"the session key {dict(session)} lacks {', '.join(missing)}")
        names = ("experimenter", "behaviourrig_id", "behaviourrig_name")
        rigs = self.BehaviourRig & {one: session[one] for one in names if one in session}
        found = rigs.to_dicts()
        if len(found) != 1:
            mine = self.BehaviourRig & {"experimenter": session["experimenter"]}
            known = ", ".join(f"{r['behaviourrig_id']} {r['behaviourrig_name']!r}" for r in mine)
            raise InvalidArgument(
                f"{len(found)} rigs fit the session {dict(session)}; name one by behaviourrig_id "
                f"or behaviourrig_name. {session['experimenter']} has {known or 'none'}"
            )
        key = {name: found[0][name] for name in headings.RIG}
        return key, RigDescription.of(json.loads(found[0]["rig_json"]))

    def _masks(self, world: Key) -> Masks:
        wanted = (self.MaskFunction & {name: world[name] for name in headings.RIG}).to_dicts()
        return Masks(wanted, self.analysis)

    def _require_writable(self) -> None:
        if not self.cache.policy().writes:
            raise ModeError(f"mode {self.cache.mode!r} writes nothing into {self.cache.cache_dir}")

    def _add_last(self, name: str, rows: Rows) -> None:
        """Save rows at once, those of one table after all others."""
        for part in ({one: rows[one] for one in rows if one != name}, {name: rows[name]}):
            tables = Tables.open(self.cache.tables_dir, silent=True)
            for one, added in part.items():
                if added:
                    tables.add(headings.table_of(one), added)
            if tables.dirty:
                tables.save()
            tables.close()
        self.cache.tables.refresh()


def _rig_rows(
    key: Key, name: str, rig: RigDescription, masklist: Sequence[Mapping[str, Any]]
) -> Rows:
    """Give the rows that describe a rig."""
    features = [
        {
            **key,
            "feature_id": number,
            "feature_name": one.name,
            "source_type": one.source_type,
            "data_type": one.data_type,
            "feature_description": one.description,
            "feature_data": None,
        }
        for number, one in enumerate(rig.features, 1)
    ]
    masks = [
        {
            **key,
            "mask_id": number,
            "maskfunction_name": one["name"],
            "mask_function": one["function"],
            "maskfunction_description": one["description"],
        }
        for number, one in enumerate(masklist, 1)
    ]
    rigs = [{**key, "behaviourrig_name": name, "rig_json": rig.json}]
    rows = {"Feature": features, "MaskFunction": masks, "BehaviourRig": rigs}
    return {table: [with_id(table, row) for row in found] for table, found in rows.items()}
