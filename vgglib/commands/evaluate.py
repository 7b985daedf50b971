"""``evaluate`` and ``predict``: trained networks on a test set, a folder or pictures of one's own (sections 3.2, 4)."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from vgglib.commands.files import file_of, network_of

GRID = 5  # crops along each side, as in the paper


def evaluate_command(options: argparse.Namespace) -> int:
    """Test one network, or several together, on the test set or on a folder, and print the errors."""
    from vgglib import data
    from vgglib.devices import best_device
    from vgglib.evaluation import confusion, ensemble, top1_error, top5_error

    if twice := given_twice([str((file_of(name) or Path(name)).resolve()) for name in options.networks]):
        raise ValueError(f"the network {twice} is given twice: it would count twice in the mean posterior")
    nets = [network_of(name) for name in options.networks]
    sets = {"fashion-mnist": data.fashion_mnist, "canvas": data.fashion_mnist_on_canvas}
    expect_pictures_of(options, options.data in sets)
    test = sets[options.data](options.root)[1] if options.data in sets else None
    tested, found = _tester(options), []
    known, first = _common_classes(options.networks, nets) if test is None else (None, None)
    for name, net in zip(options.networks, nets, strict=True):
        pictures = test
        if test is None:
            pictures = data.image_folder(options.data, known, net.in_channels, options.workers)
            if net.classes is None:
                order = f"the order of {first}" if first else "alphabetical order"
                print(
                    f"vgglib: the file of {name} does not name its classes; the folders are taken in {order}",
                    file=sys.stderr,
                )
        posteriors, labels = tested(net.to(options.device or best_device()), pictures)
        found.append(posteriors.cpu())
        if options.data == "fashion-mnist" and getattr(net, "about", {}).get("result") == "protocol-canvas":
            print(f"vgglib: {name} was trained on canvases, such as --data canvas has", file=sys.stderr)
    shown = {
        "fashion-mnist": "test pictures of Fashion-MNIST",
        "canvas": "test pictures of Fashion-MNIST on canvases",
    }.get(options.data, f"pictures in {options.data}")
    posteriors = ensemble(found)
    own = [_own_scale(net) for net in nets]
    scales = options.scales or sorted({*own})
    result = {
        "command": options.command,
        "networks": options.networks,
        "data": options.data,
        "method": options.method,
        "scales": scales,
        **({} if options.scales else {"scale_of_each": own}),
        "pictures": len(labels),
        "top1_error": top1_error(posteriors, labels),
    }
    said = f"top-1 error {100 * result['top1_error']:.2f} %"
    if posteriors.shape[1] > 5:
        result["top5_error"] = top5_error(posteriors, labels)
        said += f", top-5 error {100 * result['top5_error']:.2f} %"
    if options.per_class:
        result["classes"] = by_class(confusion(posteriors, labels), pictures.classes)
    if options.json:
        print(json.dumps(result))
    else:
        who = f"{len(nets)} networks together, " if len(nets) > 1 else ""
        where = ", ".join(map(str, scales))
        where = f"at {where}" if options.scales or len(scales) == 1 else f"each at its own scale ({where})"
        print(f"{who}{options.method} {where}: {said} of {len(labels):,} {shown}")
        for one in result.get("classes", []):
            mostly = f", most often taken for {one['most_often']}" if one["most_often"] else ""
            error = "no pictures" if not one["pictures"] else f"error {100 * one['error']:.2f} % of {one['pictures']:,}"
            print(f"{one['class']}: {error}{mostly}")
    return 0


def predict_command(options: argparse.Namespace) -> int:
    """Print the likeliest classes of picture files; 1 if one of them could not be read, which costs no other."""
    from vgglib.data import DataError
    from vgglib.devices import best_device
    from vgglib.folders import read_picture, without_advice

    if "" in options.pictures:
        raise ValueError("the name of a picture is empty")
    net = network_of(options.network).to(options.device or best_device())
    classes = net.classes or [f"class {number}" for number in range(net.classifier[-1].out_features)]
    top = min(3, len(classes)) if options.top is None else options.top
    if not 1 <= top <= len(classes):
        raise ValueError(f"--top must be from 1 to {len(classes)}, the number of classes, got {top}")
    broken: dict[int, DataError] = {}

    def read() -> Iterator[tuple]:
        for place, path in enumerate(options.pictures):
            try:
                yield read_picture(path, net.in_channels), place
            except DataError as error:
                broken[place] = DataError(without_advice(error))
        if len(broken) == len(options.pictures):
            raise broken[0]

    posteriors, read_ones = _tester(options)(net, read())
    if not posteriors.isfinite().all():
        raise ValueError(f"{options.network} gives posteriors that are not finite")
    found, result = dict(zip(read_ones.tolist(), posteriors.cpu(), strict=True)), []
    for place, path in enumerate(options.pictures):
        if place in broken:
            result.append({"picture": path, "error": str(broken[place])})
            print(f"vgglib: {broken[place]}", file=sys.stderr)
            continue
        shares, places = found[place].topk(top)
        likeliest = {classes[one]: share for one, share in zip(places.tolist(), shares.tolist(), strict=True)}
        result.append({"picture": path, "posteriors": likeliest})
        if not options.json:
            print(f"{path}: {', '.join(f'{name} {100 * share:.1f} %' for name, share in likeliest.items())}")
    if options.json:
        print(json.dumps({"command": options.command, "network": options.network, "pictures": result}))
    return 1 if broken else 0


def _tester(options: argparse.Namespace) -> object:
    """Return a function that gives a network's posteriors and labels on a set or a folder, tested as asked for."""
    from vgglib.evaluation import dense, ensemble, expect_classes, multi_crop, of_pictures, over_scales, single_crop

    def both(*arguments: object, **others: object) -> object:
        return ensemble([dense(*arguments, **others), multi_crop(*arguments, grid=options.grid, **others)])

    if (twice := given_twice(options.scales or [])) is not None:
        raise ValueError(f"the scale {twice} is given twice: it would count twice in the mean posterior")
    method = {"single-crop": single_crop, "dense": dense, "multi-crop": multi_crop, "both": both}[options.method]
    if options.grid != GRID and options.method not in ("multi-crop", "both"):
        raise ValueError(f"--grid is for --method multi-crop and both, not for {options.method}")
    how = {"batch_size": options.batch_size} | ({"grid": options.grid} if options.method == "multi-crop" else {})

    def tested(net: object, pictures: object) -> tuple:
        scales = options.scales or [_own_scale(net)]
        if hasattr(pictures, "images"):
            expect_classes(net, pictures.classes)
            return over_scales(method, net, pictures.images, scales, **how), pictures.labels
        return of_pictures(method, net, pictures, scales, **how)

    return tested


def _own_scale(net: object) -> int:
    """Return the scale at which train, or a study, tested a network, where it says so; else the side of its crop."""
    about = getattr(net, "about", {})
    return about.get("test_scale") or about.get("scale") or min(net.image_size)


def by_class(counts: object, names: tuple[str, ...]) -> list[dict]:
    """Return, for each class, its pictures, the share that is wrong, and the class most often given in its place."""
    found = []
    for place, (name, row) in enumerate(zip(names, counts.tolist(), strict=True)):
        wrong = [0 if other == place else count for other, count in enumerate(row)]
        most = names[wrong.index(max(wrong))] if any(wrong) else None
        error = sum(wrong) / sum(row) if any(row) else None
        found.append({"class": name, "pictures": sum(row), "error": error, "most_often": most})
    return found


def _common_classes(names: list[str], nets: list) -> tuple[tuple[str, ...] | None, str | None]:
    """The classes that all networks which name them name alike, and the first that does; ValueError for others.

    A row of posteriors is a class: those of another order, averaged, would be an answer about nothing.
    """
    naming = [(name, tuple(net.classes)) for name, net in zip(names, nets, strict=True) if net.classes is not None]
    for name, classes in naming:
        if classes != naming[0][1]:
            other = "in another order" if sorted(classes) == sorted(naming[0][1]) else "other ones"
            raise ValueError(
                f"the classes of {name} are {', '.join(classes)}, those of {naming[0][0]} are "
                f"{', '.join(naming[0][1])}: {other}, so their posteriors cannot be averaged"
            )
    return (naming[0][1], naming[0][0]) if naming else (None, None)


def given_twice(given: list) -> object:
    """Return the first that is given a second time, None if there is none."""
    return next((one for place, one in enumerate(given) if one in given[:place]), None)


def expect_pictures_of(options: argparse.Namespace, fashion_mnist: bool) -> None:
    """Raise ValueError for an option that has no effect on the pictures that are asked for."""
    if options.root is not None and not fashion_mnist:
        raise ValueError(f"--root is where Fashion-MNIST lies: --data {options.data} is a folder of its own")
    if options.workers and fashion_mnist:
        raise ValueError("--workers is for a folder of pictures: Fashion-MNIST is held in memory")
