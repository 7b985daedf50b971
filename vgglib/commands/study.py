"""``study``: the book's experiments, which write what the chapters quote."""

import argparse
import math
from pathlib import Path

from vgglib.commands.files import expect_place_for_files, expect_place_for_record


def study_command(options: argparse.Namespace) -> int:
    """Run an experiment, or what its record lacks, and print what came out."""
    from vgglib import results
    from vgglib.clone import IN_CLONE, LEFT_OUT
    from vgglib.data import fashion_mnist
    from vgglib.protocol import PROTOCOLS, run_protocol, tables
    from vgglib.studies import STUDIES, run_study
    from vgglib.tolerance import run_test_scales

    own = own_studies()
    if not IN_CLONE and options.result is None:
        raise ValueError(f"say with --result where to record it: the book's data/results/ is {LEFT_OUT}")
    expect_place_for_record(options.result)
    if options.name in PROTOCOLS:
        _expect_a_plan(options)
        expect_place_for_files(options.out, f"--out {options.out}")
        data = PROTOCOLS[options.name](options.root)
        record = run_protocol(
            options.name, data, options.result, options.device, lambda text: print(text, flush=True), options.networks,
            options.width, options.pictures, options.longer, options.out, options.seeds,
        )  # fmt: skip
        for title, table in tables(record).items():
            print(f"\n{title} ({record['pictures']})\n{table}")
        return 0
    if options.name in {*STUDIES, *own, "test-scales"}:
        usual = {"networks": None, "width": None, "pictures": 30_000, "longer": 1, "seeds": None, "out": Path("runs")}
        if asked := [f"--{name}" for name, value in usual.items() if getattr(options, name) != value]:
            raise ValueError(f"study {options.name} has no {' and no '.join(asked)}: only the protocol's studies have")
    if options.name == "test-scales":
        run_test_scales(options.root, options.result, options.device)
        return 0
    if options.name not in {*STUDIES, *own}:
        known = [*STUDIES, *own, "test-scales", *PROTOCOLS]
        raise ValueError(f"unknown study {options.name!r}: choose from {', '.join(known)}")
    data = fashion_mnist(options.root)
    if options.name in own:
        record = own[options.name](data, options.result, options.device)
    else:
        record = run_study(options.name, data, options.result, options.device)
    for label, loss in record.get("late_loss", {}).items():
        print(f"{label}: train loss {loss['mean']:.3f} ± {loss['sd']:.3f} (n={loss['n']} seeds)")
    for label, accuracy in record.get("test_accuracy", {}).items():
        print(f"{label}: test accuracy {results.percent(accuracy)}, mean and standard deviation")
    return 0


def own_studies() -> dict[str, object]:
    """Return the studies that are functions of their own, by name; each takes (data, path, device)."""
    from vgglib.beginnings import run_batch_norm_starts, run_warm_starts
    from vgglib.depth import run_controls, run_depth
    from vgglib.later import run_digits, run_repvgg
    from vgglib.lighter import run_lighter

    return {
        "warm-start": run_warm_starts,
        "batch-norm-start": run_batch_norm_starts,
        "lighter": run_lighter,
        "depth": run_depth,
        "depth-controls": run_controls,
        "repvgg": run_repvgg,
        "digits": run_digits,
    }


def _expect_a_plan(options: argparse.Namespace) -> None:
    """Raise ValueError, naming the option, for settings of the protocol under which no network could be trained."""
    from vgglib.protocol import STAGES

    networks, pictures, width, longer = (getattr(options, name) for name in ("networks", "pictures", "width", "longer"))
    if networks is not None and networks < 1:
        raise ValueError(f"--networks must be 1 or more, got {networks}")
    if not 5_000 < pictures <= 60_000:
        raise ValueError(f"--pictures must be from 5001 to 60000, got {pictures}: 5,000 are held out to watch")
    if width is not None and not 1 / 512 <= width < math.inf:
        raise ValueError(f"--width must be a number from 1/512 on, got {width}: it is a factor on the channels")
    least = 1 / min(stage.epochs for stage in STAGES.values())
    if not least <= longer < math.inf:
        raise ValueError(f"--longer must be a number from {least} on, got {longer}: it is a factor on the epochs")
