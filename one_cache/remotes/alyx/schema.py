"""What an Alyx server can be asked: endpoints and the filters of their lists.

The server ignores a filter that it does not know and answers with everything, so an unknown
one is refused here, before anything is asked, with the nearest names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from one_cache.errors import InvalidArgument, near_misses

Filters = Mapping[str, Sequence[str]]
"""Names of the filters of each endpoint's list."""

PAGING = ("limit", "offset")

# of Alyx 3.6, for a server that does not describe itself
_KNOWN = """
brain-regions: acronym ancestors descendants description django id name parent
channels: axial brain_region django id lab lateral name probe_insertion session subject
  trajectory_estimate x y z
chronic-insertions: atlas_acronym atlas_id atlas_name django end_time id lab location model name
  narrative probe procedures serial session start_time subject users
data-formats:
data-notices: affected_date_end affected_date_start created_by dataset_tag datasets django
  importance name version_affected
data-repository: globus_endpoint_id globus_is_personal name
dataset-types:
datasets: auto_datetime collection content_type created_by created_date created_date_gte
  created_date_lte created_datetime data_format dataset_type date default_dataset django exists
  experiment_number file_size generating_software hash id lab md5 name object_id probe_insertion
  protected provenance_directory public qc revision session subject tag tags version
fields-of-view: atlas_acronym atlas_id atlas_name dataset_types datasets date django
  experiment_number id imaging_type lab name project session stack subject
files: data_repository dataset django exists globus_is_personal id lab name relative_path
insertions: atlas_acronym atlas_id atlas_name auto_datetime chronic_insertion dataset_qc_lte
  dataset_types datasets date django experiment_number id lab model name project serial session
  subject tag task_protocol
labs: address cage_cleaning_frequency_days cage_type django enrichment food id institution
  light_cycle name reference_weight_pct repositories timezone zscore_weight_pct
locations:
notes: django
procedures:
projects:
revisions: name
sessions: atlas_acronym atlas_id atlas_name auto_datetime dataset_qc_lte dataset_types datasets
  date_range django end_time extended_qc histology id json lab location n_correct_trials n_trials
  name narrative nickname number parent_session performance_gte performance_lte procedures
  project projects qc start_time subject tag task_protocol type users
subjects: actual_severity adverse_effects alive birth_date cage death_date description django
  ear_mark genotype genotype_date genotype_test id json lab line litter name nickname project
  projects protocol_number reduced_date request responsible_user sex source species stock strain
  to_be_culled to_be_genotyped water_restricted wean_date
surgeries: date_range django end_time id implant_weight json lab location name narrative nickname
  outcome_type procedure procedures start_time subject users
tags: name
tasks: arguments cpu data_repository datetime django executable gpu graph id io_charge lab level
  log name parents priority ram session status time_elapsed_secs time_out_secs version
trajectories: chronic_insertion coordinate_system date datetime depth django experiment_number id
  phi probe probe_insertion project provenance roll session subject theta x y z
users: django email first_name groups id is_active last_name username
water-administrations: adlib date_range date_time django id json lab location name nickname
  session subject user users water_administered water_type
water-restriction: date_range django end_time id json lab location name narrative nickname
  procedures reference_weight start_time subject users water_type
weighings: date_range date_time django id json lab location name nickname subject user users
  weight
"""


def _read_known(text: str) -> dict[str, tuple[str, ...]]:
    lines = text.replace("\n  ", " ").strip().splitlines()
    pairs = (line.partition(":") for line in lines)
    return {name: tuple(filters.split()) for name, _, filters in pairs}


BUILT_IN: Filters = _read_known(_KNOWN)


def read_openapi(document: Any) -> dict[str, list[str]]:
    """Read endpoints and filters from what a server says of itself.

    Parameters
    ----------
    document : mapping
        An OpenAPI 3 description.

    Returns
    -------
    dict of str to list of str
        Empty where it describes nothing that can be listed.

    Examples
    --------
    >>> read_openapi({"paths": {
    ...     "/tags": {"get": {"parameters": [{"in": "query", "name": "name"}]}},
    ...     "/tags/{name}": {"get": {}}}})
    {'tags': ['name']}
    """
    paths = document.get("paths") if isinstance(document, Mapping) else None
    found: dict[str, list[str]] = {}
    for path, methods in (paths or {}).items():
        endpoint = path.strip("/")
        if "get" in methods and "{" not in endpoint:
            parameters = methods["get"].get("parameters", ())
            names = (one["name"] for one in parameters if one.get("in") == "query")
            found[endpoint] = [name for name in names if name not in PAGING]
    return found


def check_endpoint(endpoint: str, known: Filters) -> None:
    """Refuse an endpoint that the server does not have.

    Raises
    ------
    InvalidArgument
        With the nearest names.
    """
    if endpoint not in known:
        raise InvalidArgument(
            f"Alyx has no endpoint {endpoint!r}; there are: {', '.join(sorted(known))}."
            + near_misses(endpoint, known)
        )


def check_filters(endpoint: str, names: Iterable[str], known: Filters) -> None:
    """Refuse filters that the server would ignore.

    Raises
    ------
    InvalidArgument
        With the nearest names and with all there are.

    Examples
    --------
    >>> check_filters("sessions", ["subjct"], BUILT_IN)
    Traceback (most recent call last):
    one_cache.errors.InvalidArgument: unknown filter 'subjct' of sessions. Did you mean 'subject'?
    """
    check_endpoint(endpoint, known)
    filters = [*known[endpoint], *PAGING]
    for name in names:
        if name not in filters:
            raise InvalidArgument(
                f"unknown filter {name!r} of {endpoint}.{near_misses(name, filters)} "
                f"The server would ignore it and answer with everything; "
                f"there are: {', '.join(filters)}"
            )
