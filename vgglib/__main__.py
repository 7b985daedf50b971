"""``python -m vgglib train | evaluate | study | cost | receptive-field | doctor``."""

import argparse
import ast
import contextlib
import json
import shlex
import sys
from dataclasses import fields
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 failed with one sentence, 2 asked wrongly."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["doctor"]:  # before anything is imported that might be missing
        from vgglib import doctor

        return doctor.main(arguments[1:])
    try:
        options = _parser().parse_args(arguments)
        options.command = shlex.join(["python", "-m", "vgglib", *arguments])
        return options.run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, RuntimeError, OSError, ArithmeticError, AssertionError) as error:  # torch asserts its CUDA
        print(f"vgglib: {(str(error) or repr(error)).splitlines()[0]}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    from vgglib.configurations import TABLE_1
    from vgglib.training import RECIPES, Recipe

    parser = argparse.ArgumentParser(
        "python -m vgglib",
        description="The VGG paper from the command line: train a network, or ask what one costs and sees.",
        epilog="python -m vgglib train --recipe laptop   trains on all of Fashion-MNIST in minutes on two CPU cores",
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    train = commands.add_parser(
        "train",
        help="train a network on Fashion-MNIST by a recipe, test it once at the end",
        description="Train on Fashion-MNIST by a recipe and test once, at the end. Any field of the recipe can be "
        "replaced: --epochs 2 --learning-rate 0.02. The test set is used once; recipes seed and d2l follow their "
        "originals and show it after every epoch.",
    )
    train.set_defaults(run=_train)
    train.add_argument("--recipe", default="laptop", help=f"one of {', '.join(RECIPES)} (default: laptop)")
    train.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="one run per seed (default: 0)")
    train.add_argument("--device", help="cpu, cuda or mps (default: the fastest there is)")
    train.add_argument("--root", help="folder that holds FashionMNIST/ (default: the book's data/)")
    train.add_argument("--out", default="runs", help="folder for networks and histories (default: runs)")
    train.add_argument("--result", help="also write the summary of all seeds to this JSON file")
    train.add_argument("--estimate", action="store_true", help="measure a few steps, say how long it would take, stop")
    train.add_argument("--json", action="store_true", help="print the summary as JSON and nothing else")
    group = train.add_argument_group("fields of the recipe")
    for field in fields(Recipe):
        group.add_argument(f"--{field.name.replace('_', '-')}", dest=f"field_{field.name}", metavar="VALUE")

    evaluate = commands.add_parser(
        "evaluate",
        help="test a saved network: one crop, densely, or many crops, at one scale or several",
        description="Test a network that train saved, or one that comes with the book, as sections 3.2 and 4 do: "
        "python -m vgglib evaluate runs/laptop-seed0/network.safetensors --method dense --scales 32 36 40",
    )
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument("network", help="a .safetensors file, or the name of a network in data/networks")
    evaluate.add_argument("--method", choices=["single-crop", "dense", "multi-crop", "both"], default="dense")
    evaluate.add_argument("--scales", type=int, nargs="+", help="test scales Q in pixels (default: the network's crop)")
    evaluate.add_argument("--grid", type=int, default=5, help="multi-crop: crops along each side (default: 5)")
    evaluate.add_argument(
        "--data", default="fashion-mnist", help="fashion-mnist, canvas, or a folder with one folder for each class"
    )
    evaluate.add_argument("--root", help="folder that holds FashionMNIST/ (default: the book's data/)")
    evaluate.add_argument("--batch-size", type=int, default=500, help="crops in memory at once (default: 500)")
    evaluate.add_argument("--device", help="cpu, cuda or mps (default: the fastest there is)")
    evaluate.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")

    cost = commands.add_parser("cost", help="parameters, multiply-accumulates and memory of a configuration")
    cost.set_defaults(run=_cost)
    sees = commands.add_parser("receptive-field", help="what one unit sees of the picture, layer by layer")
    sees.set_defaults(run=_receptive_field)
    for command in (cost, sees):
        command.add_argument("configuration", help=f"{', '.join(TABLE_1)}, or notation such as '64 64 | 128 128 |'")
    cost.add_argument("--image-size", type=int, default=224, help="side of the picture in pixels (default: 224)")
    cost.add_argument("--in-channels", type=int, default=3, help="channels of the picture (default: 3)")
    cost.add_argument("--classes", type=int, default=1000, help="number of classes (default: 1000)")
    cost.add_argument("--width", type=float, default=1.0, help="factor on the channels (default: 1)")
    study = commands.add_parser("study", help="run one of the book's experiments, or go on with it")
    study.set_defaults(run=_study)
    study.add_argument("name", help="three-by-three, protocol or protocol-canvas")
    study.add_argument("--device", help="cpu, cuda or mps (default: the fastest there is)")
    study.add_argument("--root", help="folder that holds FashionMNIST/ (default: the book's data/)")
    study.add_argument("--result", type=Path, help="where to record it (default: data/results/<name>.json)")
    study.add_argument("--networks", type=int, help="protocol: stop after so many networks, to go on later")
    study.add_argument("--width", type=float, default=0.125, help="protocol: factor on the channels (default: 1/8)")
    study.add_argument("--pictures", type=int, default=30_000, help="protocol: training pictures (default: 30000)")
    study.add_argument("--longer", type=int, default=1, help="protocol: factor on the epochs (default: 1)")
    commands.add_parser("doctor", help="check this machine: Python, packages, data, device, memory, kernel")
    return parser


def _train(options: argparse.Namespace) -> int:
    from vgglib import results
    from vgglib.training import recipe

    changes = {
        name.removeprefix("field_"): _value(text)
        for name, text in vars(options).items()
        if name.startswith("field_") and text is not None
    }
    chosen = recipe(options.recipe, **changes)
    if options.estimate:
        return _estimate(options, chosen)
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        runs = [_one_run(options, chosen, seed) for seed in options.seeds]
    result = {
        "command": options.command,
        "recipe_name": options.recipe,
        "changes": changes,
        "test_accuracy": results.summary([run["test_accuracy"] for run in runs]),
        "seconds": results.summary([run["seconds"] for run in runs]),
        "runs": runs,
    }
    if options.result:
        results.write(options.result, result)
    if options.json:
        print(json.dumps(result))
    elif len(runs) > 1:
        accuracy = result["test_accuracy"]
        print(
            f"test accuracy {100 * accuracy['mean']:.2f} ± {100 * accuracy['sd']:.2f} % (mean and standard deviation, "
            f"n={accuracy['n']} seeds)"
        )
    return 0


def _estimate(options: argparse.Namespace, chosen: object) -> int:
    """Print how long the run would take on this device, and write it where asked."""
    from vgglib import results
    from vgglib.data import fashion_mnist
    from vgglib.devices import best_device
    from vgglib.progress import duration
    from vgglib.training import build, conditions, estimate, split

    train, _ = split(chosen, *fashion_mnist(options.root))
    device = options.device or best_device()
    measured = estimate(build(chosen, train, options.seeds[0]).to(device), train, chosen)
    where = conditions(chosen, device)
    result = {
        "command": options.command,
        "recipe_name": options.recipe,
        "images_per_second": measured.images_per_second,
        "seconds_extrapolated": measured.seconds,
        "steps_measured": measured.steps,
        "pictures_per_step": measured.pictures,
        "conditions": where,
    }
    if options.result:
        results.write(options.result, result)
    if options.json:
        print(json.dumps(result))
    else:
        whole, basis = duration(measured.seconds), f"{measured.steps} steps of {measured.pictures} pictures measured"
        print(f"recipe {options.recipe}: {measured.images_per_second:,.1f} images/s on {where['device']}")
        print(f"{chosen.epochs} epochs: about {whole} ({basis})")
    return 0


def _one_run(options: argparse.Namespace, chosen: object, seed: int) -> dict:
    """Train and test one network, write it and its history, and return what was measured."""
    from vgglib import results
    from vgglib.checkpoint import save_network
    from vgglib.data import fashion_mnist
    from vgglib.evaluation import accuracy_on
    from vgglib.progress import duration
    from vgglib.training import build, fit, split

    train, test = fashion_mnist(options.root)
    part, watched = split(chosen, train, test)
    net = build(chosen, part, seed)
    print(f"recipe {options.recipe}, seed {seed}: {len(part):,} training images, {_count(net):,} parameters")
    history = fit(net, part, watched, chosen, seed, options.device, watch=print)
    accuracy = accuracy_on(net, test.to(next(net.parameters()).device))
    run = {"seed": seed, "test_accuracy": accuracy, "seconds": history.seconds, **history.as_dict()}
    folder = Path(options.out) / f"{options.recipe}-seed{seed}"
    about = {"recipe": options.recipe, "seed": seed, "test_accuracy": accuracy, "conditions": history.conditions}
    digest = save_network(net, folder / "network.safetensors", about)
    results.write(folder / "history.json", run)
    print(f"test accuracy {100 * accuracy:.2f} % after {duration(history.seconds)} on {history.conditions['device']}")
    print(f"wrote {folder / 'network.safetensors'} (sha256 {digest[:12]}...) and {folder / 'history.json'}")
    return run


def _evaluate(options: argparse.Namespace) -> int:
    """Test one network on the test set, or on a folder, and print its top-1 error."""
    from vgglib import data
    from vgglib.checkpoint import load_network, shipped
    from vgglib.devices import best_device
    from vgglib.evaluation import dense, ensemble, multi_crop, of_pictures, over_scales, single_crop, top1_error

    net = load_network(options.network) if Path(options.network).suffix == ".safetensors" else shipped(options.network)
    net = net.to(options.device or best_device())
    scales = options.scales or [min(net.image_size)]

    def both(*arguments: object, **others: object) -> object:
        return ensemble([dense(*arguments, **others), multi_crop(*arguments, grid=options.grid, **others)])

    methods = {"single-crop": single_crop, "dense": dense, "multi-crop": multi_crop, "both": both}
    how = {"batch_size": options.batch_size} | ({"grid": options.grid} if options.method == "multi-crop" else {})
    sets = {"fashion-mnist": data.fashion_mnist, "canvas": data.fashion_mnist_on_canvas}
    if options.data in sets:
        test = sets[options.data](options.root)[1]
        _same_classes(net, test.classes)
        posteriors, labels = over_scales(methods[options.method], net, test.images, scales, **how), test.labels
    else:
        folder = data.image_folder(options.data, channels=net.in_channels)
        _same_classes(net, folder.classes)
        posteriors, labels = of_pictures(methods[options.method], net, folder.pictures(), scales, **how)
    error = top1_error(posteriors, labels)
    result = {
        "command": options.command,
        "data": options.data,
        "method": options.method,
        "scales": scales,
        "pictures": len(labels),
        "top1_error": error,
    }
    if options.json:
        print(json.dumps(result))
    else:
        at = ", ".join(map(str, scales))
        print(f"{options.method} at {at}: top-1 error {100 * error:.2f} % of {len(labels):,} pictures")
    return 0


def _same_classes(net: object, classes: tuple) -> None:
    """Raise ValueError if a network gives another number of scores than the pictures have classes."""
    scores = net.classifier[-1].out_features
    if scores != len(classes):
        raise ValueError(f"the network knows {scores} classes, the pictures have {len(classes)}")


def _study(options: argparse.Namespace) -> int:
    from vgglib.data import fashion_mnist
    from vgglib.protocol import PROTOCOLS, run_protocol, tables

    if options.name in PROTOCOLS:
        data = PROTOCOLS[options.name](options.root)
        record = run_protocol(
            options.name, data, options.result, options.device, lambda text: print(text, flush=True), options.networks,
            options.width, options.pictures, options.longer,
        )  # fmt: skip
        for title, table in tables(record).items():
            print(f"\n{title} ({record['pictures']})\n{table}")
        return 0
    from vgglib.studies import run_study

    record = run_study(options.name, fashion_mnist(options.root), options.result, options.device)
    for label, accuracy in record["test_accuracy"].items():
        spread = f"{100 * accuracy['mean']:.2f} ± {100 * accuracy['sd']:.2f} %"
        print(f"{label}: test accuracy {spread} (mean and standard deviation, n={accuracy['n']} seeds)")
    return 0


def _cost(options: argparse.Namespace) -> int:
    import torch

    from vgglib.cost import cost
    from vgglib.model import VGG

    with torch.device("meta"):  # shapes are enough
        net = VGG(options.configuration, options.in_channels, options.classes, options.image_size, options.width)
    print(cost(net, options.image_size))
    return 0


def _receptive_field(options: argparse.Namespace) -> int:
    from vgglib.configurations import layers
    from vgglib.receptive_field import table

    print(table(layers(options.configuration)))
    return 0


def _value(text: str) -> object:
    """Return an option's text as a number, pair, truth value or None where it is one, else as the text itself."""
    try:
        return ast.literal_eval(text.capitalize() if text.lower() in ("true", "false", "none") else text)
    except (ValueError, SyntaxError):
        return text


def _count(net: object) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


if __name__ == "__main__":
    raise SystemExit(main())
