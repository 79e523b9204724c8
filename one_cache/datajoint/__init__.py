"""DataJoint: mirror a live pipeline once, then restrict, join and fetch without its server.

::

    from one_cache import Cache
    from one_cache.datajoint import Mirror

    cache = Cache("my_cache")
    mirror = Mirror(cache, host="db.lab.org", backend="mysql")    # DJ_USER, DJ_PASS
    mirror.pull("u24_trial", "u24_event")

    db = cache.schemas["u24_trial"]                               # from here on without a server
    ctrl = db.Trial & {"subject": "subject1"} & 'trial_type = "ctrl"'

``pull`` copies tables from their headings, so no code of the pipeline is needed: parents first,
all of one moment, and only rows that changed since the last pull. It needs the extra
``datajoint``; what it wrote is read without it (:mod:`one_cache.mirrored`).

::

    mirror    pull and status
    choice    which tables and rows are meant
    place     where the server is, and who asks
    server    the connection, one moment of it, what it refuses
    columns   what DataJoint says of a table, and how each column is read
    digests   which rows changed, found out on the server
    copying   rows into a Parquet file
    attached  attachments and files of stores, as datasets of the cache
"""

from __future__ import annotations

from one_cache.datajoint.mirror import Mirror

__all__ = ["Mirror"]
