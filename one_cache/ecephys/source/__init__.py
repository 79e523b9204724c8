"""Where the data of a project come from.

::

    warehouse   the released data: what can be asked, and the tables that are made of the answers
    rma         the language in which the warehouse is asked, page by page
    lims        the Allen Institute's own database
    metrics     bundles of metrics as both of them keep them
"""
