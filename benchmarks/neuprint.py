"""A connectome notebook run again: asked again, from the cache, and from memory.

usage: python benchmarks/neuprint.py [--smoke] [--repeat N] [--latency MS]

The notebook is that of ``examples/connectome.py``, 14 functions and some 40 queries to a server
on loopback that answers from memory; ``--latency`` adds what a real one takes for each request.

- asked: neuprint-python's own client;
- cached: ours, in each mode, after the first run;
- memory: the answers as JSON texts in a dict, so that what is left is making the frames.

Then one answer of one row, and one of many rows with a map in each, as synapses have. Each time
the client is made anew, as in a new process. Last, the peak memory of a process that asks for the
many rows or reads them.
"""

import argparse
import contextlib
import io
import json
import random
import runpy
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

HERE = Path(__file__).parent
# in the place of this folder: this file has the name of a package that it needs
sys.path[0] = str(HERE.parent / "tests")

import neuprint  # noqa: E402
import ujson  # noqa: E402
from neuprint_double import DATASET, NeuprintDouble  # noqa: E402

from one_cache import Cache  # noqa: E402
from one_cache.neuprint import Client  # noqa: E402

ONE_ROW = "MATCH (n:Neuron) WHERE n.bodyId = 5813027016 RETURN n.type, n.instance"
SYNAPSES = "MATCH (n)-[:Contains]->(s:Synapse) RETURN n.bodyId AS bodyId, s AS syn_info"


CHILD = """
import sys, warnings
warnings.simplefilter("ignore")
kind, server, certificate, folder, dataset, query = sys.argv[1:]
known = {"verify": certificate, "progress": False}
if kind == "asked":
    from neuprint import Client
    client = Client(server, dataset, "t", **known)
else:
    from one_cache.neuprint import Client
    client = Client(server, dataset, cache=folder, mode="local", **known)
def peak():
    marks = dict(line.split(":") for line in open("/proc/self/status"))
    return int(marks["VmHWM"].split()[0]) / 1024
before = peak()
client.fetch_custom(query)
print(f"{peak() - before:.0f} MB beyond the {before:.0f} MB of the imports")
"""


class FromMemory(neuprint.Client):
    """Answers that were given once, as texts in a dict."""

    def __init__(self, *args, **kwargs):
        self.texts = {}
        super().__init__(*args, **kwargs)

    def arrow_endpoint(self):
        """Ask for no version."""
        return False

    def _fetch_raw(self, url, json=None, ispost=False):
        key = url, str(json)
        if key not in self.texts:
            self.texts[key] = super()._fetch_raw(url, json, ispost)
        return self.texts[key]

    def _fetch_json(self, url, json=None, ispost=False):
        return ujson.loads(self._fetch_raw(url, json, ispost))

    def __deepcopy__(self, memo):
        return self


class Latent(NeuprintDouble):
    """A server that takes its time for each request."""

    latency = 0.0

    def answer(self, method, path, body):
        """Wait, then answer."""
        time.sleep(self.latency)
        return super().answer(method, path, body)


def notebook():
    pages = runpy.run_path(str(HERE.parent / "examples" / "connectome.py"))["PAGE"]

    def run():
        for page in pages:
            for _ in page():
                pass

    return run


def big_answer(rows):
    chance = random.Random(1)

    def synapse():
        rois = chance.sample(["SLP(R)", "SNP(R)", "SMP(R)", "MB(R)", "aL(R)"], 2)
        place = {"coordinates": [chance.randrange(40_000) for _ in "xyz"], "type": "Point"}
        known = {"type": "pre", "confidence": chance.random(), "location": place}
        return {**known, **dict.fromkeys(rois, True)}

    data = [[chance.randrange(10**10), synapse()] for _ in range(rows)]
    return json.dumps({"columns": ["bodyId", "syn_info"], "data": data, "debug": ""})


def forget():
    """Forget what neuprint-python remembers for all clients, as a new process does."""
    neuprint.Client.DATASETS_CACHE.clear()
    for name in ("meta", "primary_rois", "all_rois"):
        getattr(neuprint.Client, name).fget.cache_clear()
    neuprint.Client.fetch_neuron_keys.cache_clear()
    neuprint.Client.fetch_synapse_nt_keys.cache_clear()


def fastest(run, make, repeat):
    """Give the shortest times of a run on a new client, s: on the clock, of the processor."""
    clock, processor = [], []
    for _ in range(repeat):
        forget()
        start = time.perf_counter(), time.process_time()
        client = make()  # the registry of clients holds it weakly
        neuprint.set_default_client(client)
        run()
        clock.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    return min(clock), min(processor)


def in_memory(run, server, known, repeat):
    """Give the shortest time of a run when all texts are in memory."""
    memory = FromMemory(server.url, DATASET, "t", **known)
    fastest(run, lambda: memory, 1)
    return fastest(run, lambda: memory, repeat)


def compare(what, run, server, folder, repeat):
    known = {"verify": server.certificate, "progress": False}

    def kept(mode):
        cache = Cache(folder, mode=mode, silent=True)
        return Client(server.url, DATASET, "t", cache=cache, **known)

    client = kept("remote")
    neuprint.set_default_client(client)
    run()
    client.cache.freeze()
    del client
    neuprint.clear_default_client()
    _, floor = in_memory(run, server, known, repeat)
    print(
        f"{what}: making the frames from texts in memory takes the processor {floor * 1e3:.1f} ms"
    )
    server.forget()
    asked, _ = fastest(run, lambda: neuprint.Client(server.url, DATASET, "t", **known), repeat)
    print(f"  asked again    {asked * 1e3:6.1f} ms, {len(server.asked) // repeat} requests")
    for mode in ("remote", "local", "fixed"):
        server.forget()
        took, work = fastest(run, lambda mode=mode: kept(mode), repeat)
        print(
            f"  cached, {mode:<6} {took * 1e3:6.1f} ms, {len(server.asked) // repeat} requests: "
            f"{asked / took:.1f} times as fast as asking; {work / floor:.1f} times the work of "
            "making the frames"
        )


def memory(server, folder, query):
    """Print the peak memory of a process that gives one answer, where the system tells it."""
    if not Path("/proc/self/status").exists():
        return
    for kind in ("asked", "cached"):
        given = [kind, server.url, server.certificate, str(folder), DATASET, query]
        command = [sys.executable, "-c", CHILD, *given]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(f"  peak memory, {kind:<6} {told.strip()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few seconds, for CI")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--latency", type=float, default=0.0, help="of each request, ms")
    given = parser.parse_args()
    repeat, rows = (1, 2_000) if given.smoke else (given.repeat, 100_000)
    warnings.simplefilter("ignore")
    with Latent() as server, tempfile.TemporaryDirectory() as folder:
        server.say("s AS syn_info", body=big_answer(rows))
        server.latency = given.latency / 1e3
        compare("notebook", notebook(), server, Path(folder, "notebook"), repeat)

        for what, query in {"one row": ONE_ROW, f"{rows:,} rows with a map": SYNAPSES}.items():

            def one(query=query):
                with contextlib.redirect_stderr(io.StringIO()):
                    neuprint.fetch_custom(query)

            compare(what, one, server, Path(folder, what), repeat)
        memory(server, Path(folder, what), SYNAPSES)
        if server.unknown:
            raise SystemExit(f"{len(server.unknown)} queries are not on the tape")


if __name__ == "__main__":
    main()
