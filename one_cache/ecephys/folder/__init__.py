"""The folder of a project: AllenSDK's files, and what of them is known.

::

    layout    AllenSDK's manifest, and which file lies where
    tables    project tables: fetched once, kept as CSV and as tables of this package
    files     NWB files and templates: fetched once, hashed, checked from then on
    formats   CSV, movies and scenes, read and written as AllenSDK does
    arrow     frames as Arrow tables and back
"""
