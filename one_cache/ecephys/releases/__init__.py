"""Projects that are released on S3: one folder, all releases, each byte once.

::

    projects   the projects, their tables and files by what they are
    shapes     how those tables are shown
    project    a project: which releases there are, and which is in use
    holdings   the files of releases in a folder
    manifest   the manifest of a release, and what changed between two
    s3         buckets over plain HTTP
"""
