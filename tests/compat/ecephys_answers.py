"""Asks for the tables of a project and writes them down; runs under AllenSDK, too.

usage: python ecephys_answers.py PACKAGE HOST FOLDER [TRIES]
"""

import importlib
import itertools
import json
import sys
import warnings

warnings.simplefilter("ignore")

LIFTED = dict.fromkeys(
    ("amplitude_cutoff_maximum", "presence_ratio_minimum", "isi_violations_maximum")
)
FILTERS = (
    {},
    LIFTED,
    {"filter_by_validity": False},
    {"filter_by_validity": False, **LIFTED},
    {"isi_violations_maximum": 0},
    {"amplitude_cutoff_maximum": 0.02, "presence_ratio_minimum": 0},
    {"filter_out_of_brain_units": False},
)
TABLES = ("get_session_table", "get_probes", "get_channels", "get_units")
LISTS = ("ages", "sexes", "full_genotypes", "session_types")


def plain(value):
    """Give a value as JSON holds it: frames by column, numbers in full."""
    if hasattr(value, "columns"):
        flat = value.sort_index().reset_index()
        kinds = {name: str(kind) for name, kind in value.dtypes.items()}
        # texts have a type of their own in pandas 3
        kinds = {name: "object" if kind == "str" else kind for name, kind in kinds.items()}
        return {"types": kinds, "cells": {name: plain(flat[name].tolist()) for name in flat}}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return "missing" if value != value else repr(value)
    return value


def answers(cache):
    """Ask everything; an error is an answer, by whether it is one."""
    types = cache.get_all_session_types()
    sessions = sorted(cache.get_session_table().index)
    calls = {
        f"{name} without {hidden}": lambda name=name, hidden=hidden: getattr(cache, name)(hidden)
        for name, hidden in itertools.product(TABLES, (None, [], ["sex", "name", "id"]))
    }
    for number, options in enumerate(FILTERS):
        calls[f"units {number}"] = lambda options=options: cache.get_units(**options)
        for one in sessions:
            calls[f"metrics of {one}, {number}"] = lambda one=one, options=options: (
                cache.get_unit_analysis_metrics_for_session(one, **options)
            )
        for one, wide in itertools.product(types, (True, False)):
            calls[f"metrics of {one}, {number}, {wide}"] = (
                lambda one=one, wide=wide, options=options: (
                    cache.get_unit_analysis_metrics_by_session_type(one, annotate=wide, **options)
                )
            )
    for name in LISTS:
        calls[name] = getattr(cache, f"get_all_{name}")
    calls["structures"] = cache.get_structure_acronyms
    found = {}
    for name, call in calls.items():
        try:
            found[name] = plain(call())
        except (KeyError, ValueError):
            found[name] = "an error"
    return found


def main():
    package, host, folder, tries = (*sys.argv[1:], "2")[:4]
    module = importlib.import_module(package)
    cache = module.EcephysProjectCache.from_warehouse(
        "http", host, manifest=f"{folder}/manifest.json", fetch_tries=int(tries)
    )
    json.dump(answers(cache), sys.stdout)


if __name__ == "__main__":
    main()
