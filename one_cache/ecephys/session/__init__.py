"""One session of the Allen Neuropixels data: AllenSDK's ``EcephysSession`` on its NWB file.

The class is made of layers, and each stands on the one below; the others are what they read with.

::

    session         spikes put to stimuli            spikes
    surroundings    stimuli, running, light, eyes    presentations, stimuli, gaze
    recordings      probes, channels, units, LFP     units, lfp
    file            the file, opened and closed      nwb
"""
