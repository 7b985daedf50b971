"""``cost``, ``receptive-field`` and ``measure-cost``: what a configuration costs and sees."""

import argparse
import json
from pathlib import Path

from vgglib.commands.files import expect_place_for_record


def cost_command(options: argparse.Namespace) -> int:
    """Print what a configuration costs, layer by layer."""
    from dataclasses import asdict

    import torch

    from vgglib.cost import cost
    from vgglib.model import VGG

    with torch.device("meta"):  # shapes are enough
        net = VGG(
            options.configuration, options.in_channels, options.classes, options.image_size, options.width,
            options.hidden, options.batch_norm == "true",
        )  # fmt: skip
    table = cost(net, options.image_size)
    if options.json:
        totals = {name: getattr(table, name) for name in ("parameters", "macs", "activation_bytes")}
        print(json.dumps({"command": options.command, **totals, "layers": [asdict(row) for row in table]}))
    else:
        print(table)
    return 0


def receptive_field_command(options: argparse.Namespace) -> int:
    """Print what one unit of each layer sees."""
    from vgglib.configurations import layers
    from vgglib.receptive_field import table

    found = table(layers(options.configuration))
    if options.json:
        rows = [{"name": n, "size": f.size, "stride": f.stride, "padding": f.padding} for n, f in found.items()]
        print(json.dumps({"command": options.command, "layers": rows}))
    else:
        print(found)
    return 0


def measure_cost_command(options: argparse.Namespace) -> int:
    """Measure A to E on a device, write the record and print its lines."""
    from vgglib.devices import best_device
    from vgglib.measured_cost import measure

    device = options.device or str(best_device())
    kind = device.partition(":")[0] + ("-bf16" if options.bf16 else "")
    path = options.result or Path("runs") / f"measured-cost-{kind}.json"
    expect_place_for_record(path)
    record = measure(
        image_size=options.image_size, batch=options.batch, steps=options.steps, rounds=options.rounds,
        device=device, bf16=options.bf16, note=options.note, path=path,
    )  # fmt: skip
    for name, found in record["networks"].items():
        for mode in ("inference", "training"):
            seconds, peak = found[mode]["seconds"]["mean"], found[mode]["peak_bytes"]
            said = "memory not known" if peak is None else f"{peak / 1e6:,.0f} MB"
            print(f"{name}, {mode}: {1000 * seconds / record['batch']:,.1f} ms a picture, {said}")
    print(f"wrote {path}")
    return 0
