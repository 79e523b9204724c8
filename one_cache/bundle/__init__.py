"""What is made of a record: restored files, frozen tables, bundles, comparisons, plans of removal.

::

    wish      what a record asks for
    rows      sessions and datasets as a record saw them
    report    what is there, and what is not and why
    verify    every byte hashed again
    frozen    tables and manifest of a record, the same bytes at every run
    pack      a bundle: these, the record and the files, in a folder or a zip file
    compare   what differs between two sets of tables or records
    outdated  what of a record is no longer the best there is
    clean     which files may go, and their going

These know files, tables and records, and no cache: ``Cache`` calls them.
"""
