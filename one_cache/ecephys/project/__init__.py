"""AllenSDK's ``EcephysProjectCache``.

::

    cache     the class: its constructors, and the files of sessions and stimuli
    tables    the tables it shows
    base      keys, folder, and AllenSDK's base class
    joined    sessions, probes, channels and units put together, once for one version of them
    joins     the functions that this takes
"""
