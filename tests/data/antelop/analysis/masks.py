"""Mask functions of the lab."""

import numpy as np


def led_to_port(session):
    """Start when the LED turns on, end when the nose next leaves the port or at the next LED."""
    led_data, led_time = session["led"]
    port_data, port_time = session["port"]
    start, ends = led_time[led_data == 1], port_time[port_data == -1]
    start = start[start < ends[-1]]
    end = ends[np.searchsorted(ends, start, "right")]
    end = np.append(np.minimum(end[:-1], start[1:]), end[-1])
    times = np.append(start, end)
    data = np.append(np.ones(len(start)), -np.ones(len(end)))
    order = np.lexsort((data, times))
    return data[order], times[order]
