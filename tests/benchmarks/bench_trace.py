"""How long receptive fields take: the arithmetic, trace, and the same by gradients; a report, it judges nothing.

``python tests/benchmarks/bench_trace.py [--size 224] [--nodes 12] [--json]``

Goals on one quiet core: the arithmetic of configuration E under 1 ms; trace of torchvision's resnet152 under 1 s after
import, and at least 100 times faster than asking its nodes by gradients, one unit each. The gradients are asked in two
ways: by plain autograd through the network itself, in single precision, with positive weights and averages for maxima
(one forward pass, then one backward pass a node, for a few nodes spread over the depth; the rest is extrapolated), and
by vgglib's own ``measured``, which adds up equal channels instead of multiplying them.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
import torchvision
from torch import nn

from vgglib.configurations import layers
from vgglib.receptive_field import measured, receptive_field, table, trace


def seconds(run: Callable[[], object], times: int = 1) -> float:
    """Return the seconds of one call, averaged over ``times``."""
    started = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - started) / times


def linear(net: nn.Module) -> nn.Module:
    """Return the network, changed so that no gradient vanishes."""
    for weight in net.parameters():
        nn.init.constant_(weight, 1 / max(1, weight[0].numel())).requires_grad_(False)
    net.maxpool = nn.AvgPool2d(3, 2, 1)
    return net.eval()


def by_autograd(net: nn.Module, size: int, names: list[str]) -> tuple[float, float]:
    """Return the seconds of a forward pass and the mean seconds of a backward pass from the middle of each node."""
    outputs, modules = {}, dict(net.named_modules())
    for name in names:
        modules[name].register_forward_hook(lambda *got, name=name: outputs.update({name: got[-1].clone()}))
    X = torch.ones(1, 3, size, size, requires_grad=True)
    forward = seconds(lambda: net(X))

    def ask(output: torch.Tensor) -> None:
        row, column = (length // 2 for length in output.shape[2:])
        torch.autograd.grad(output[0, :, row, column].sum(), X, retain_graph=True)

    return forward, statistics.mean(seconds(lambda output=output: ask(output)) for output in outputs.values())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=224, help="side of the pictures in pixels")
    parser.add_argument("--nodes", type=int, default=12, help="how many nodes are asked by plain autograd")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torchvision.models.resnet152()
    first = seconds(lambda: trace(net, options.size))
    traced = statistics.median(seconds(lambda: trace(net, options.size)) for _ in range(5))
    found = trace(net, options.size)
    replayed = seconds(lambda: measured(net, options.size))
    asked = {name: units for name, units in measured(net, options.size).items() if name in found}
    middles = {name: tuple(length // 2 for length in found[name].units.size) for name in found}
    own = replayed + sum(seconds(lambda name=name: asked[name].window(middles[name])) for name in asked)
    modules = dict(net.named_modules())
    maps = [name for name in found if name in modules and found[name].units.size != (1, 1)]
    forward, backward = by_autograd(linear(net), options.size, maps[:: max(1, len(maps) // options.nodes)])
    plain = forward + backward * len(found)
    report = {
        "torch": torch.__version__,
        "threads": 1,
        "arithmetic of E, ms": 1e3 * seconds(lambda: receptive_field(layers("E")), 1000),
        "table of E, ms": 1e3 * seconds(lambda: table(layers("E")), 100),
        "resnet152, nodes": len(found),
        "trace, first call, s": first,
        "trace, median of 5, s": traced,
        "plain autograd, forward pass, s": forward,
        "plain autograd, mean backward pass, s": backward,
        "plain autograd, all nodes (extrapolated), s": plain,
        "plain autograd / trace": plain / traced,
        "measured, all nodes, s": own,
        "measured / trace": own / traced,
    }
    if options.json:
        print(json.dumps(report))
        return
    for name, value in report.items():
        print(f"{name:45} {value:,.3f}" if isinstance(value, float) else f"{name:45} {value}")


if __name__ == "__main__":
    main()
