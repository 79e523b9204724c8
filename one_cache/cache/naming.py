"""Names of sessions and files, turned into one another: eid, path, reference, record, URL."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from one_cache.cache.desk import Desk, as_uuid, uuid_text
from one_cache.errors import (
    ALFObjectNotFound,
    InvalidArgument,
    ModeError,
    NotOnServer,
    SessionNotFound,
    near_misses,
)
from one_cache.query import read_date
from one_cache.records import Bunch, Dataset, File, Session
from one_cache.remotes import connect
from one_cache.spec import ALFPath

if TYPE_CHECKING:
    import pandas as pd

    from one_cache.catalogue import Catalogue

Result = TypeVar("Result")

_REFERENCE = re.compile(r"(\d{4}-\d{2}-\d{2})_(\d{1,3})_(.+)")
_SESSION_PATH = re.compile(
    r"(?:^|/)(?:(?P<lab>[^/]+)/Subjects/)?(?P<subject>[^/]+)/(?P<date>\d{4}-\d{2}-\d{2})/"
    r"(?P<number>\d{1,3})(?=/|$)"
)


@dataclass(frozen=True)
class SessionPlace:
    """A session named by what it is, not by its id.

    Attributes
    ----------
    subject : str
        Subject.
    date : datetime.date
        Day.
    number : int
        Which one of that day.
    lab : str
        Empty where the name does not say.
    """

    subject: str
    date: dt.date
    number: int
    lab: str = ""

    def __str__(self) -> str:
        stem = f"{self.subject}/{self.date}/{self.number:03d}"
        return f"{self.lab}/Subjects/{stem}" if self.lab else stem


def read_session_name(value: Any) -> str | SessionPlace:
    """Read any name of a session: its id as text, or its place.

    Parameters
    ----------
    value : str, UUID, path, mapping, pandas.Series or Session
        An eid, a URL that ends with one, a path or URL with ``subject/date/number`` in it, a
        reference ``date_number_subject``, or a record with these fields.

    Returns
    -------
    str or SessionPlace

    Raises
    ------
    InvalidArgument
        It is none of them.

    Examples
    --------
    >>> read_session_name("2023-03-10_1_KS014")
    SessionPlace(subject='KS014', date=datetime.date(2023, 3, 10), number=1, lab='')
    >>> str(read_session_name("cortexlab/Subjects/KS014/2023-03-10/001/alf"))
    'cortexlab/Subjects/KS014/2023-03-10/001'
    """
    if isinstance(value, Session):
        return value.id
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, (str, PurePath)):
        return _read_text(str(value).replace("\\", "/"))
    if hasattr(value, "to_dict") and hasattr(value, "name"):
        # a pandas record: its name is its id, or (eid, dataset id)
        name = value.name[0] if isinstance(value.name, tuple) else value.name
        return uuid_text(name, "session")
    if isinstance(value, Mapping):
        return _read_mapping(value)
    raise InvalidArgument(
        f"{value!r} names no session; expected an eid, a path, subject/date/number, "
        "date_number_subject, a URL or a record"
    )


def _read_text(text: str) -> str | SessionPlace:
    reference = _REFERENCE.fullmatch(text)
    if reference:
        date, number, subject = reference.groups()
        return _place(subject, date, number)
    places = list(_SESSION_PATH.finditer(text))
    if places:
        last = places[-1]
        return _place(last["subject"], last["date"], last["number"], last["lab"] or "")
    try:
        return uuid_text(text[-36:], "session")
    except InvalidArgument:
        raise InvalidArgument(
            f"{text!r} names no session; expected an eid, a path, subject/date/number, "
            "date_number_subject or a URL"
        ) from None


def _read_mapping(value: Mapping[str, Any]) -> str | SessionPlace:
    for key in ("eid", "id"):
        if value.get(key):
            return uuid_text(value[key], "session")
    number = value.get("sequence", value.get("number"))
    date = value.get("date") or value.get("start_time")
    if value.get("subject") and date and number is not None:
        return _place(value["subject"], date, number, value.get("lab") or "")
    raise InvalidArgument(
        f"a record that names a session has an id, or subject, date and number; got the keys "
        f"{', '.join(map(str, value))}"
    )


def _place(subject: str, date: Any, number: Any, lab: str = "") -> SessionPlace:
    day = read_date(date)
    if day is None:
        raise InvalidArgument(f"session of {subject} without a date")
    return SessionPlace(subject, day, int(number), lab)


def each(value: Any, convert: Callable[[Any], Result]) -> Result | list[Result]:
    """Convert one value, or each of a list, tuple or array of them."""
    if isinstance(value, (list, tuple, set)) or type(value).__name__ == "ndarray":
        return [convert(one) for one in value]
    return convert(value)


class Naming(Desk):
    """The conversions of ONE-api; each takes one name or a list of them.

    What is not found is a :class:`SessionNotFound` or :class:`ALFObjectNotFound` that says
    where it was looked for, never None.
    """

    def _eid(self, value: Any, catalogue: Catalogue) -> str:
        name = read_session_name(value)
        return name if isinstance(name, str) else self._at(name, catalogue).id

    def _at(self, place: SessionPlace, catalogue: Catalogue) -> Session:
        found = catalogue.sessions_at(place.subject, place.date, place.number)
        if place.lab:
            # where no lab is known, the folder above Subjects is only a folder
            found = [one for one in found if one.lab in (place.lab, "")]
            found = [one for one in found if one.lab] or found
        if len(found) > 1:
            listed = ", ".join(one.path for one in found)
            raise InvalidArgument(
                f"{place} is several sessions: {listed}; name the lab or the eid"
            )
        if not found:
            raise SessionNotFound(
                f"no session {place} is known to {self._answerer(catalogue)}."
                + self._near(place, catalogue)
            )
        self._sessions_seen[found[0].id] = found[0]
        return found[0]

    def _near(self, place: SessionPlace, catalogue: Catalogue) -> str:
        """Say which sessions are near: the subject's, or those of subjects named alike."""
        same = catalogue.search({"subject": f"^{re.escape(place.subject)}$"}, wildcards=True)
        near = near_misses(str(place), [one.path for one in same])
        if near or same:
            return near or f" {place.subject} has: {', '.join(one.path for one in same[:3])}"
        return near_misses(place.subject, catalogue.subjects())

    def to_eid(self, id: Any = None, cache_dir: str | Path | None = None) -> Any:
        """Give the eid of a session from any name of it.

        Parameters
        ----------
        id : str, UUID, path, mapping, record, or list of these
            See :func:`read_session_name`.
        cache_dir : path-like, optional
            Accepted as in ONE-api; names do not depend on it.

        Returns
        -------
        uuid.UUID or list of uuid.UUID
            An eid that is given is returned without looking it up; None stays None.

        Raises
        ------
        SessionNotFound
            No session has that name; the nearest ones are told.
        InvalidArgument
            It names no session at all.
        """
        catalogue = self._catalogue()
        return each(id, lambda one: None if one is None else as_uuid(self._eid(one, catalogue)))

    def eid2path(self, eid: Any, query_type: str | None = None) -> Any:
        """Give the folder of a session in this cache (it may not exist yet).

        Parameters
        ----------
        eid : str, UUID, or list of these
            Session.
        query_type : {None, "remote", "local"}
            Who answers.

        Returns
        -------
        ALFPath or list of ALFPath

        Raises
        ------
        SessionNotFound
            It is unknown.
        """
        catalogue = self._catalogue(query_type)

        def convert(one: Any) -> ALFPath:
            session = self._session(uuid_text(one, "session"), catalogue)
            return ALFPath(self.store.path(session.path))

        return each(eid, convert)

    def path2eid(self, path_obj: Any, query_type: str | None = None) -> Any:
        """Give the eid of the session that a path lies in.

        Parameters
        ----------
        path_obj : str, path, or list of these
            A path with ``subject/date/number`` in it.
        query_type : {None, "remote", "local"}
            Who answers.

        Returns
        -------
        uuid.UUID or list of uuid.UUID
        """
        catalogue = self._catalogue(query_type)
        return each(path_obj, lambda one: as_uuid(self._eid(str(one), catalogue)))

    def eid2ref(self, eid: Any, as_dict: bool = True, parse: bool = True) -> Any:
        """Give the reference of a session.

        Parameters
        ----------
        eid : any name of a session, or list of these
            Session.
        as_dict : bool
            Give a record with `subject`, `date`, `sequence`; otherwise
            ``date_number_subject``.
        parse : bool
            Give date and number as such; otherwise as text, the number with three digits.

        Returns
        -------
        Bunch, str, or list of these
        """
        catalogue = self._catalogue()

        def convert(one: Any) -> Bunch | str:
            session = self._session(self._eid(one, catalogue), catalogue)
            place = SessionPlace(session.subject, session.date or dt.date.min, session.number or 0)
            return _reference(place, as_dict=as_dict, parse=parse)

        return each(eid, convert)

    def ref2eid(self, ref: Any) -> Any:
        """Give the eid of a reference ``date_number_subject`` or of its record, or of a list."""
        return self.to_eid(ref)

    def ref2path(self, ref: Any) -> Any:
        """Give the folder of the session of a reference, or of a list of them."""
        return each(ref, lambda one: self.eid2path(self.ref2eid(one)))

    def path2ref(self, path_str: Any, as_dict: bool = True, parse: bool = True) -> Any:
        """Give the reference that a path spells; nothing is looked up.

        Parameters
        ----------
        path_str : str, path, or list of these
            A path with ``subject/date/number`` in it.
        as_dict, parse : bool
            See :meth:`eid2ref`; as text the number has the digits that it has in the path.

        Returns
        -------
        Bunch, str, or list of these; None for a path that lies in no session
        """

        def convert(one: Any) -> Bunch | str | None:
            found = _SESSION_PATH.search(str(one).replace("\\", "/"))
            if not found:
                return None
            place = _place(found["subject"], found["date"], found["number"])
            return _reference(
                place, as_dict=as_dict, parse=parse and as_dict, digits=found["number"]
            )

        return each(path_str, convert)

    def path2record(self, path: Any, query_type: str | None = None) -> Any:
        """Give the record of a session folder or of a dataset's file.

        Parameters
        ----------
        path : str, path, or list of these
            Path or URL; a dataset UUID in the file name is used.
        query_type : {None, "remote", "local"}
            Who answers.

        Returns
        -------
        pandas.Series or list of pandas.Series
            Named by the eid (session) or by ``(eid, id)`` (dataset).

        Raises
        ------
        ALFObjectNotFound, SessionNotFound
            It is unknown.
        """
        from one_cache.cache.frames import dataset_series, session_series

        catalogue = self._catalogue(query_type)

        def convert(one: Any) -> pd.Series[Any]:
            text = str(one).replace("\\", "/").rstrip("/")
            place = _SESSION_PATH.search(text)
            if place and place.end() == len(text):
                return session_series(self._at(_place(*place.group(2, 3, 4, 1)), catalogue))
            return dataset_series(self._dataset_at(text, catalogue))

        return each(path, convert)

    def _dataset_at(self, path: str, catalogue: Catalogue) -> Dataset:
        name = ALFPath(path)
        plain = name.without_uuid()
        if plain.name != name.name:
            found = catalogue.datasets([name.stem.rpartition(".")[2].lower()])
            if found:
                return found[0]
        place = _SESSION_PATH.search(path)
        if not place and "aggregates/" in path:
            return self._aggregate_at(path, catalogue)
        if not place:
            raise InvalidArgument(f"{path!r} lies in no session")
        eid = self._at(_place(*place.group(2, 3, 4, 1)), catalogue).id
        rel_path = path[place.end() + 1 :][: -len(name.name)] + plain.name
        datasets = {dataset.rel_path: dataset for dataset in catalogue.datasets_of(eid)}
        if rel_path not in datasets:
            raise ALFObjectNotFound(
                f"{rel_path} is not among the datasets of session {eid}."
                + near_misses(rel_path, datasets)
            )
        return datasets[rel_path]

    def _aggregate_at(self, path: str, catalogue: Catalogue) -> Dataset:
        rel_path = path[path.rindex("aggregates/") :]
        known = {one.rel_path: one for one in catalogue.aggregates()}
        if rel_path not in known:
            raise ALFObjectNotFound(f"{rel_path} is no aggregate.{near_misses(rel_path, known)}")
        return known[rel_path]

    def record2path(self, dataset: Any) -> Any:
        """Give the path of a dataset's file from its record.

        Parameters
        ----------
        dataset : pandas.Series, pandas.DataFrame, mapping, Dataset, or list of these
            A record with its ids as ONE-api's tables have them, or with `eid` and `rel_path`.

        Returns
        -------
        ALFPath, or list of ALFPath for a frame or a list
        """
        from one_cache.cache.frames import read_dataset_records

        catalogue = self._catalogue()
        paths = [self._path(one, catalogue) for one in read_dataset_records(dataset)]
        many = hasattr(dataset, "columns") or isinstance(dataset, (list, tuple))
        return paths if many else paths[0]

    def path2url(self, filepath: Any, query_type: str | None = None) -> Any:
        """Give the address of a dataset's file, or of a session's folder, on the remote.

        Parameters
        ----------
        filepath : str, path, or list of these
            Path in this cache.
        query_type : {None, "remote", "local"}
            Who answers.

        Returns
        -------
        str or list of str

        Raises
        ------
        ModeError
            The cache has no remote, and the record no address.
        NotOnServer
            The dataset is on no server.
        """
        catalogue = self._catalogue(query_type)

        def convert(one: Any) -> str:
            text = str(one).replace("\\", "/").rstrip("/")
            place = _SESSION_PATH.search(text)
            if place and place.end() == len(text):
                session = self._at(_place(*place.group(2, 3, 4, 1)), catalogue)
                return self._address_of(File(session.path))
            dataset = self._dataset_at(text, catalogue)
            if not dataset.exists:
                raise NotOnServer(f"{text}: dataset {dataset.id} is recorded, but is on no server")
            return self._address_of(self._file(dataset, catalogue))

        return each(filepath, convert)

    def _address_of(self, file: File) -> str:
        remote = self.remote
        if remote is None and file.url:
            # nothing is asked: it only writes the address as it would ask for it
            remote = connect(file.url)
        if remote is None:
            raise ModeError(f"the cache {self.cache_dir} has no remote, so its files have no URL")
        return remote.url(file)


def _reference(
    place: SessionPlace, *, as_dict: bool, parse: bool, digits: str = ""
) -> Bunch | str:
    written = digits or f"{place.number:03d}"
    if not as_dict:
        return f"{place.date}_{place.number if parse else written}_{place.subject}"
    if parse:
        return Bunch(subject=place.subject, date=place.date, sequence=place.number)
    return Bunch(subject=place.subject, date=place.date.isoformat(), sequence=written)
