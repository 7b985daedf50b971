"""How long receptive fields take: the arithmetic, ``trace``, and the same windows by gradients, in turns, medians.

``python tests/benchmarks/bench_trace.py [--network resnet152] [--size 224] [--nodes 12] [--rounds 5] [--json]``

Probing all nodes by gradients takes minutes: a few, evenly spread, are probed at their middle unit, and the median is
multiplied by the number of nodes; the one forward pass that all share is counted once. A report: it judges nothing.
Goals on two quiet cores: arithmetic of E under 1 ms, trace of resnet152 under 1 s and at least 100 times faster than
the probe.
"""

import argparse
import json
import statistics
import time

import torch

from vgglib import peers
from vgglib.configurations import layers
from vgglib.receptive_field import measured, receptive_field, table, trace


def timed(work, *arguments):
    """Return the seconds that a call takes, and what it gives."""
    start = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - start, result


def probe(net, size, count):
    """Return the seconds for all nodes by gradients, extrapolated from ``count`` of them."""
    forward, found = timed(measured, net, size)
    nodes = [field for field in found.values() if field.values.dim() == 4]
    chosen = nodes[:: max(1, len(nodes) // count)]
    each = [timed(field.window, tuple(side // 2 for side in field.units))[0] for field in chosen]
    return forward + statistics.median(each) * len(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="resnet152", help="a network of torchvision.models")
    parser.add_argument("--size", type=int, default=224, help="side of the picture, pixels")
    parser.add_argument("--nodes", type=int, default=12, help="nodes to probe by gradients")
    parser.add_argument("--rounds", type=int, default=5, help="rounds")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    options = parser.parse_args()

    net = getattr(peers.peer("torchvision.models"), options.network)()
    stack, rounds = layers("E"), []
    timed(trace, net, options.size)  # what torch loads on first use is not counted
    for _ in range(options.rounds):
        arithmetic = timed(receptive_field, stack)[0]
        whole_table = timed(table, stack)[0]
        rounds.append(
            (arithmetic, whole_table, timed(trace, net, options.size)[0], probe(net, options.size, options.nodes))
        )
    arithmetic, whole_table, traced, probed = (statistics.median(column) for column in zip(*rounds, strict=True))
    result = {
        "n": options.rounds, "torch": torch.__version__, "threads": torch.get_num_threads(), "network": options.network,
        "arithmetic_E_ms": 1000 * arithmetic, "table_E_ms": 1000 * whole_table, "trace_s": traced,
        "probe_s_extrapolated": probed, "ratio": statistics.median(row[3] / row[2] for row in rounds),
    }  # fmt: skip
    if options.json:
        print(json.dumps(result))
    else:
        print(f"medians of {options.rounds}, torch {torch.__version__}, {torch.get_num_threads()} threads")
        print(f"arithmetic of E: {1000 * arithmetic:.3f} ms; layer by layer: {1000 * whole_table:.3f} ms")
        print(f"trace of {options.network} at {options.size} pixels: {traced:.3f} s")
        print(f"its nodes by gradients: {probed:.1f} s (extrapolated), {result['ratio']:.0f} times as long")
