"""Content of files and objects: from a file name to arrays and frames, and back.

- :mod:`one_cache.alf.files` and :mod:`one_cache.alf.writers`: one file, by its extension;
- :mod:`one_cache.alf.bunch`: the attributes of one object, with
  :mod:`one_cache.alf.dimensions` for the rows they share and :mod:`one_cache.alf.frames` for
  the data frame they make;
- :mod:`one_cache.alf.objects`: the files of one object, joined.
"""

from __future__ import annotations

from one_cache.alf.bunch import AlfBunch
from one_cache.alf.dimensions import check_dimensions, ts2vec
from one_cache.alf.files import decoders, load_file
from one_cache.alf.frames import dataframe
from one_cache.alf.objects import load_object, read_ts
from one_cache.alf.writers import save_file

__all__ = [
    "AlfBunch",
    "check_dimensions",
    "dataframe",
    "decoders",
    "load_file",
    "load_object",
    "read_ts",
    "save_file",
    "ts2vec",
]
