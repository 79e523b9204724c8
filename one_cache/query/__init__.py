"""Which rows are meant: search terms, dataset names, collections, revisions, quality.

:mod:`sessions` asks whole tables; :mod:`datasets` works on the datasets of one session, a short
list, in plain Python; :mod:`patterns` says which texts fit. A regular expression is always
Python's: it is tried on the distinct values of a column (few), and the tables are then asked for
the values that fit (fast), so an expression means the same at every size and in every mode.

The names and their meaning are those of ONE-api 3: search terms hold when the text contains
the value, lists are ORed except for ``datasets``, and all terms must hold.
"""

from one_cache.query.datasets import (
    FileName,
    Filter,
    choose_revisions,
    last_before,
    require_one,
)
from one_cache.query.patterns import Pattern, listed, text_test, whole_match
from one_cache.query.sessions import (
    SEARCH_TERMS,
    complete_term,
    complete_terms,
    read_date,
    read_date_range,
    search,
)

__all__ = [
    "SEARCH_TERMS",
    "FileName",
    "Filter",
    "Pattern",
    "choose_revisions",
    "complete_term",
    "complete_terms",
    "last_before",
    "listed",
    "read_date",
    "read_date_range",
    "require_one",
    "search",
    "text_test",
    "whole_match",
]
