"""The released data of the Allen Institute: its questions, and rows as the tables hold them."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from one_cache.ecephys.source.metrics import metrics_frame
from one_cache.ecephys.source.rma import HOST, SCHEME, Download, Rma, Row
from one_cache.errors import InvalidArgument, RemoteError, SessionNotFound

if TYPE_CHECKING:
    import pandas as pd

PRODUCT = 714914585  # the Neuropixels data, whose files are the templates of the stimuli

_MOVIE = re.compile(r".*natural_movie_(\d+)\.npy")
_SCENE = re.compile(r".*/(\d+)\.tiff")

_SESSIONS = (
    "criteria=model::EcephysSession{filters}"
    ",rma::include,specimen(donor(age)),well_known_files(well_known_file_type)"
)
_PROBES = "criteria=model::EcephysProbe{filters}"
_CHANNELS = (
    "criteria=model::EcephysChannel{filters},rma::include,structure,rma::options[tabular$eq'"
    "ecephys_channels.id,ecephys_probe_id,local_index,"
    "probe_horizontal_position,probe_vertical_position,"
    "anterior_posterior_ccf_coordinate,dorsal_ventral_ccf_coordinate,left_right_ccf_coordinate,"
    "structures.id as ecephys_structure_id,structures.acronym as ecephys_structure_acronym']"
)
_UNITS = "criteria=model::EcephysUnit{filters}"
_METRICS = "criteria=model::EcephysUnitMetricBundle{filters}"
_FILES = (
    "criteria=model::WellKnownFile,rma::criteria,well_known_file_type[name$eq'{kind}']"
    "[attachable_type$eq'{owner}'][attachable_id$eq{id}]"
)
_OF_SESSION = ",rma::criteria,ecephys_unit(ecephys_channel(ecephys_probe(ecephys_session{})))"

Ids = Sequence[int] | None
Names = Sequence[str] | None


def _among(column: str, values: Iterable[Any] | None) -> str:
    """Write the filter that a column is one of some values; nothing where there are none.

    Examples
    --------
    >>> _among("id", [1, 2]), _among("stimulus_name", ["a", "b"]), _among("id", None)
    ('[id$in1,2]', "[stimulus_name$in'a','b']", '')
    """
    if values is None:
        return ""
    items = [f"'{_name(value)}'" if isinstance(value, str) else _number(value) for value in values]
    if not items:
        raise InvalidArgument(f"an empty list of {column} asks for nothing")
    return f"[{column}$in{','.join(items)}]"


def _number(value: Any) -> str:
    try:
        return str(int(value))
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"{value!r} is not a number, as ids are") from error


def _name(value: str) -> str:
    # a name is put between quotes and has no other way to end them
    if re.search(r"['\[\]]", value):
        raise InvalidArgument(f"{value!r}: a name may not hold quotes or brackets")
    return value


class Warehouse:
    """What the warehouse can be asked: AllenSDK's ``EcephysProjectWarehouseApi``.

    Tables come as frames indexed by id, files as :class:`~one_cache.ecephys.source.rma.Download`.

    Parameters
    ----------
    rma : Rma, optional
        Asks; the Allen Institute's own server when not given.

    Examples
    --------
    >>> warehouse = Warehouse()
    >>> warehouse.rma.remote.name
    'http://api.brain-map.org'
    """

    def __init__(self, rma: Rma | None = None) -> None:
        self.rma = rma or Rma()
        self._templates: dict[tuple[str, int], str] | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rma.remote.name!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"rma": self.rma, "_templates": self._templates}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @classmethod
    def default(
        cls,
        scheme: str = SCHEME,
        host: str = HOST,
        *,
        asynchronous: bool = False,
        tries: int = 2,
        timeout: float = 30.0,
    ) -> Warehouse:
        """Give one for an address.

        Parameters
        ----------
        scheme, host : str
            Where it is.
        asynchronous : bool
            Files and pages come side by side in any case.
        tries : int
            How often a question is asked, at most.
        timeout : float
            Seconds without a byte after which a question failed.

        Returns
        -------
        Warehouse
        """
        return cls(Rma(scheme, host, tries=tries, timeout=timeout))

    # -- tables ------------------------------------------------------------------------------

    def get_sessions(
        self,
        session_ids: Ids = None,
        has_eye_tracking: bool | None = None,
        stimulus_names: Names = None,
    ) -> pd.DataFrame:
        """Give the sessions.

        Parameters
        ----------
        session_ids : sequence of int, optional
            Those wanted.
        has_eye_tracking : bool, optional
            Whether the eye was tracked.
        stimulus_names : sequence of str, optional
            Session types.

        Returns
        -------
        pandas.DataFrame
            Index ``id``; type, age (days), sex and genotype of the mouse, whether there is an NWB
            file.
        """
        eye = "" if has_eye_tracking is None else str(not has_eye_tracking).lower()
        filters = (
            _among("id", session_ids)
            + (f"[fail_eye_tracking$eq{eye}]" if eye else "")
            + _among("stimulus_name", stimulus_names)
        )
        rows = self.rma.rows(_SESSIONS.format(filters=filters))
        return _frame([_session(row) for row in rows])

    def get_probes(self, probe_ids: Ids = None, session_ids: Ids = None) -> pd.DataFrame:
        """Give the probes.

        Parameters
        ----------
        probe_ids, session_ids : sequence of int, optional
            Those wanted, and those of sessions.

        Returns
        -------
        pandas.DataFrame
            Index ``id``.
        """
        filters = _among("id", probe_ids) + _among("ecephys_session_id", session_ids)
        frame = _frame(self.rma.rows(_PROBES.format(filters=filters)))
        return frame.rename(columns={"use_lfp_data": "has_lfp_data"})

    def get_channels(self, channel_ids: Ids = None, probe_ids: Ids = None) -> pd.DataFrame:
        """Give the channels, each with the brain structure that it lies in.

        Parameters
        ----------
        channel_ids, probe_ids : sequence of int, optional
            Those wanted, and those of probes.

        Returns
        -------
        pandas.DataFrame
            Index ``id``.
        """
        filters = _among("id", channel_ids) + _among("ecephys_probe_id", probe_ids)
        return _frame(self.rma.rows(_CHANNELS.format(filters=filters)), texts=True)

    def get_units(
        self,
        unit_ids: Ids = None,
        channel_ids: Ids = None,
        probe_ids: Ids = None,
        session_ids: Ids = None,
    ) -> pd.DataFrame:
        """Give the units.

        Parameters
        ----------
        unit_ids, channel_ids, probe_ids, session_ids : sequence of int, optional
            Those wanted, and those of channels, probes, sessions.

        Returns
        -------
        pandas.DataFrame
            Index ``id``.
        """
        filters = "".join(
            form.format(_among(column, ids))
            for form, column, ids in (
                (",rma::criteria{}", "id", unit_ids),
                (",rma::criteria{}", "ecephys_channel_id", channel_ids),
                (",rma::criteria,ecephys_channel(ecephys_probe{})", "id", probe_ids),
                (
                    ",rma::criteria,ecephys_channel(ecephys_probe(ecephys_session{}))",
                    "id",
                    session_ids,
                ),
            )
            if ids is not None
        )
        return _frame(self.rma.rows(_UNITS.format(filters=filters)))

    def get_unit_analysis_metrics(
        self,
        unit_ids: Ids = None,
        ecephys_session_ids: Ids = None,
        session_types: Names = None,
    ) -> pd.DataFrame:
        """Give what was calculated of the responses of units to stimuli.

        Parameters
        ----------
        unit_ids, ecephys_session_ids : sequence of int, optional
            Units wanted, and sessions whose units are wanted.
        session_types : sequence of str, optional
            Types of sessions whose units are wanted.

        Returns
        -------
        pandas.DataFrame
            Index ``ecephys_unit_id``; the columns depend on the session type.

        Raises
        ------
        SessionNotFound
            There are none.
        """
        filters = ""
        if unit_ids is not None:
            filters += f",rma::criteria{_among('ecephys_unit_id', unit_ids)}"
        if ecephys_session_ids is not None:
            filters += _OF_SESSION.format(_among("id", ecephys_session_ids))
        if session_types is not None:
            filters += _OF_SESSION.format(_among("stimulus_name", session_types))
        rows = self.rma.rows(_METRICS.format(filters=filters))
        if not rows:
            asked = {
                "units": unit_ids,
                "sessions": ecephys_session_ids,
                "session types": session_types,
            }
            what = ", ".join(f"{name} {list(of)}" for name, of in asked.items() if of is not None)
            raise SessionNotFound(
                f"{self.rma.remote.name} knows no analysis metrics of {what or 'any unit'}"
            )
        return metrics_frame(rows)

    def count(self, table: str) -> int:
        """Ask how many rows a whole table has.

        Parameters
        ----------
        table : {"sessions", "probes", "channels", "units"}
            Which.

        Returns
        -------
        int
        """
        question = {
            "sessions": _SESSIONS,
            "probes": _PROBES,
            "channels": _CHANNELS,
            "units": _UNITS,
        }[table]
        return self.rma.count(question.format(filters=""))

    # -- files -------------------------------------------------------------------------------

    def get_session_data(self, session_id: int) -> Download:
        """Give the NWB file of a session.

        Parameters
        ----------
        session_id : int
            Which.

        Returns
        -------
        Download

        Raises
        ------
        SessionNotFound
            There is not exactly one.
        """
        return self._one_file("EcephysNwb", "EcephysSession", session_id, "nwb file for session")

    def get_probe_lfp_data(self, probe_id: int) -> Download:
        """Give the NWB file with the LFP of a probe; see :meth:`get_session_data`."""
        return self._one_file("EcephysLfpNwb", "EcephysProbe", probe_id, "LFP NWB file for probe")

    def get_natural_movie_template(self, number: int) -> Download:
        """Give the frames of a movie.

        Parameters
        ----------
        number : int
            Which.

        Returns
        -------
        Download

        Raises
        ------
        InvalidArgument
            There is not exactly one.
        """
        return self._template("movie", number)

    def get_natural_scene_template(self, number: int) -> Download:
        """Give an image; see :meth:`get_natural_movie_template`."""
        return self._template("scene", number)

    def _one_file(self, kind: str, owner: str, id_: int, what: str) -> Download:
        rows = self.rma.rows(_FILES.format(kind=kind, owner=owner, id=_number(id_)))
        if len(rows) != 1:
            raise SessionNotFound(
                f"expected exactly 1 {what} {id_}, found {len(rows)} on {self.rma.remote.name}"
            )
        return self._download(rows[0])

    def _template(self, kind: str, number: int) -> Download:
        with self._lock:
            if self._templates is None:
                self._templates = self._list_templates()
        key = (kind, int(number))
        if key not in self._templates:
            known = ", ".join(
                str(other) for name, other in sorted(self._templates) if name == kind
            )
            raise InvalidArgument(
                f"expected exactly one natural {kind} template with number {number}, found 0; "
                f"there are: {known or 'none'}"
            )
        return Download(self.rma.remote, self._templates[key])

    def _list_templates(self) -> dict[tuple[str, int], str]:
        found: dict[tuple[str, int], str] = {}
        for row in self.rma.rows(_FILES.format(kind="Stimulus", owner="Product", id=PRODUCT)):
            # the product has other files, too
            for kind, pattern in (("scene", _SCENE), ("movie", _MOVIE)):
                match = pattern.match(str(row.get("path")))
                if match:
                    found[kind, int(match[1])] = self._download(row).url
        return found

    def _download(self, row: Mapping[str, Any]) -> Download:
        link = str(row.get("download_link") or "")
        if not link:
            raise RemoteError(f"{self.rma.remote.name} gives no link to file {row.get('id')}")
        return Download(self.rma.remote, f"{self.rma.remote.name}/{link.lstrip('/')}")


def _session(row: Mapping[str, Any]) -> Row:
    """Flatten what the server says of a session, its mouse and its files."""
    try:
        donor = row["specimen"]["donor"]
        files = [file["well_known_file_type"]["name"] for file in row["well_known_files"]]
        flat = {
            "session_type" if name == "stimulus_name" else name: value
            for name, value in row.items()
            if name not in ("specimen", "fail_eye_tracking", "well_known_files")
        }
        return {
            **flat,
            "age_in_days": donor["age"]["days"],
            "sex": donor["sex"],
            "genotype": "wt" if donor["full_genotype"] is None else donor["full_genotype"],
            "has_nwb": "EcephysNwb" in files,
        }
    except (KeyError, TypeError) as error:
        raise RemoteError(
            f"the warehouse describes session {row.get('id')} in another way: {error!r} is missing"
        ) from error


def _frame(rows: Sequence[Row], *, texts: bool = False) -> pd.DataFrame:
    import pandas as pd

    if not rows:
        raise RemoteError("the warehouse gives an empty table")
    frame = pd.DataFrame(rows)
    if texts:
        # numbers come as texts from tabular questions; a file of theirs reads the same
        frame["id"] = frame["id"].astype("int64")
    return frame.set_index("id")
