"""Trials beside pynapple in the same run: same values, and how many times faster.

usage: python benchmarks/trials.py [--smoke] [--repeat N]

- activity of 100 ROIs, one hour at 20 Hz, around 500 events, 5 s before and after; pynapple on its
  second call, when it is compiled (at least 4 times faster is the aim);
- spikes of 200 units at 5 Hz, one hour, around 500 events, 1 s before and after, in bins of
  20 ms (at least 50 times);
- one hour at 1 kHz split into 100 trials (under 10 ms), and the comparison of every sample with
  every border that it replaces.

Medians; each pair is measured in turn, because machines drift. ``--smoke`` takes a small recording
and checks the values only.
"""

import argparse
import statistics
import time
import warnings

import numpy as np

from one_cache.trials import align, event_windows, peth, split_trials

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pynapple
except ImportError:
    pynapple = None


def timed(call):
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found


def compare(name, ours, theirs, same, repeat, aim):
    """Measure in turn, check the values, and say the ratio."""
    mine, other = [], []
    for _ in range(repeat):
        seconds, found = timed(ours)
        mine.append(seconds)
        if theirs is not None:
            seconds, expected = timed(theirs)
            other.append(seconds)
            assert same(found, expected), f"{name}: other values"
    text = f"{name}: {statistics.median(mine) * 1e3:.2f} ms"
    if other:
        ratio = statistics.median(other) / statistics.median(mine)
        text += f", {statistics.median(other) * 1e3:.0f} ms: {ratio:.0f} times faster, same values"
    print(f"{text} (aim: {aim})")


def activity(seconds, n_roi, n_events, repeat):
    rng = np.random.default_rng(0)
    traces = rng.normal(size=(n_roi, seconds * 20))
    events = np.sort(rng.uniform(10, seconds - 10, n_events))
    windows = event_windows(events, (-5, 5))
    theirs = None
    if pynapple is not None:
        frame = pynapple.TsdFrame(t=np.arange(traces.shape[1]) / 20, d=traces.T)
        moments = pynapple.Ts(events)

        def theirs():
            return pynapple.compute_perievent(frame, moments, (-5, 5))

        theirs()

    def ours():
        return align(traces, windows, rate=20)

    ours()
    compare(
        f"align, {n_roi} ROIs, {n_events} events, pynapple",
        ours,
        theirs,
        lambda a, b: np.array_equal(a.data, b.values.transpose(2, 1, 0)),
        repeat,
        "4 times",
    )


def spikes(seconds, n_units, n_events, repeat):
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(0, seconds, n_units * seconds * 5))
    clusters = rng.integers(0, n_units, len(times))
    events = np.sort(rng.uniform(5, seconds - 5, n_events))
    theirs = None
    if pynapple is not None:
        units = {unit: pynapple.Ts(times[clusters == unit]) for unit in range(n_units)}
        group = pynapple.TsGroup(units)
        moments = pynapple.Ts(events)
        edges = peth(times, clusters, events, (-1, 1), 0.02).bin_edges

        def theirs():
            return pynapple.compute_perievent(group, moments, (-1, 1))

    def same(found, around):
        """Compare the counts of some units; to count all takes longer than to find them."""
        return all(
            np.array_equal(
                found.counts[unit],
                [np.histogram(around[unit][event].t, edges)[0] for event in range(n_events)],
            )
            for unit in range(0, n_units, max(1, n_units // 10))
        )

    compare(
        f"peth, {n_units} units, {n_events} events, pynapple (without counting)",
        lambda: peth(times, clusters, events, (-1, 1), 0.02),
        theirs,
        same,
        repeat,
        "50 times",
    )


def splitting(seconds, n_trials, repeat):
    rng = np.random.default_rng(2)
    times = np.arange(seconds * 1000) / 1000
    values = rng.normal(size=len(times))
    borders = np.sort(rng.uniform(0, seconds, 2 * n_trials))
    mask = np.tile([1, -1], n_trials), borders

    def theirs():
        pairs = zip(borders[::2], borders[1::2], strict=True)
        inside = [(times >= start) & (times <= end) for start, end in pairs]
        return [(values[one], times[one]) for one in inside]

    compare(
        f"split_trials, {len(times)} samples, {n_trials} trials, comparison of every sample",
        lambda: split_trials((values, times), mask),
        theirs,
        lambda a, b: all(
            np.array_equal(one[part], two[part])
            for one, two in zip(a, b, strict=True)
            for part in (0, 1)
        ),
        repeat,
        "under 10 ms",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="a small recording, values only")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    if pynapple is None:
        print("pynapple is not installed: no comparison with it")
    if options.smoke:
        activity(60, 3, 20, 1)
        spikes(60, 4, 10, 1)
        splitting(10, 5, 1)
        return
    activity(3600, 100, 500, options.repeat)
    spikes(3600, 200, 500, 1)
    splitting(3600, 100, options.repeat)


if __name__ == "__main__":
    main()
