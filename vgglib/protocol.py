"""The experiments of section 4 at 28 pixels: training scales, test scales, dense, many crops, ensembles.

``python -m vgglib study protocol`` trains and tests on Fashion-MNIST, ``study protocol-canvas`` on garments of many
sizes on a larger canvas (data.on_canvas). Each writes its record after every network; stopped, it goes on where it was.
The scales are the paper's divided by 8, so that score maps have the paper's sizes.
"""

import hashlib
import math
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vgglib import results
from vgglib.checkpoint import CheckpointError, load_network, save_network
from vgglib.configurations import TABLE_1
from vgglib.data import fashion_mnist, fashion_mnist_on_canvas
from vgglib.devices import device_of
from vgglib.durable import write_durably
from vgglib.evaluation import dense, ensemble, multi_crop, single_crop, top1_error
from vgglib.image_set import ImageSet
from vgglib.largest_batch import halving
from vgglib.model import VGG
from vgglib.studies import made_by, plain
from vgglib.tables import Table
from vgglib.training import Recipe, build, conditions, fit, split

PROTOCOLS = {  # where each gets its pictures
    "protocol": fashion_mnist,
    "protocol-canvas": fashion_mnist_on_canvas,
    "protocol-224": fashion_mnist,  # enlarged to the paper's own sizes, for a GPU
}


def at_28(name: str) -> str:
    """Return a configuration of Table 1 without its last three poolings: 28 pixels then leave the paper's 7x7 map."""
    first, second, *rest = TABLE_1[name].split("|")
    return f"{first.strip()} | {second.strip()} | {' '.join(' '.join(rest).split())}"


@dataclass(frozen=True)
class Stage:
    """One training run in a chain: its training scale, the stage that it continues, and its test scales."""

    scale: int | tuple[int, int]  # S in pixels, or (S_min, S_max)
    starts_from: str | None  # the stage whose network it continues; None: from random numbers
    epochs: int
    learning_rate: float
    test_scale: int  # the single Q
    test_scales: tuple[int, ...]  # the three of Table 4


# Section 3.1: S = 384 starts from the network of S = 256 at a tenth of the rate, jitter from that of S = 384. The last
# is not in the paper: it trains as long as the network with jitter, so that scale is told apart from time.
STAGES = {
    "32": Stage(32, None, 12, 0.05, 32, (28, 32, 36)),
    "48": Stage(48, "32", 4, 0.005, 48, (44, 48, 52)),
    "[32, 64]": Stage((32, 64), "48", 4, 0.005, 48, (32, 48, 64)),
    "32 longer": Stage(32, "32", 8, 0.005, 32, (28, 32, 36)),
}
FULL_FRAMES = "Fashion-MNIST"  # what a record of the study protocol says of its pictures
CROPS_ON = 1000  # test pictures for the comparison with 150 crops, which takes long
CHAIN = ("32", "48", "[32, 64]")
# what is run, the most wanted first: (configuration, seed, stage)
PLAN = (
    *((name, seed, stage) for seed in (0, 1, 2) for name in ("D", "B") for stage in CHAIN),
    *(("D", seed, "32 longer") for seed in (0, 1, 2)),
    *(("D", seed, stage) for seed in (3, 4) for stage in (*CHAIN, "32 longer")),
    *((name, seed, stage) for seed in (0, 1, 2) for name in ("E", "C") for stage in CHAIN),
    *((name, seed, "32") for seed in (0, 1, 2) for name in ("A", "A-LRN")),
    *(("E", seed, stage) for seed in (3, 4) for stage in CHAIN),
    *(("B", seed, "32") for seed in (3, 4)),
)
SIZES = {"protocol-224": 8}  # the scales of this study are so many times as large: the paper's own
# the ladder of D once; its last rung needs E
PLAN_224 = tuple((name, 0, stage) for name in ("D", "E") for stage in CHAIN)
TOGETHER = (("D 32", "D 48"), ("D [32, 64]", "E [32, 64]"), ("D [32, 64]", "B [32, 64]"))


def recipe_of(configuration: str, stage: str, width: float = 0.125, longer: float = 1, times: int = 1) -> Recipe:
    """Return how a network is trained: section 3.1's momentum and weight decay, and what makes few epochs do.

    times: 8 for the paper's own sizes, with all five poolings and 4096 hidden units at full width.

    Batch normalisation, which the paper did not have, small batches, and a rate that falls in a straight line stand for
    its 74 epochs. Batches of 256 were tried first, in one run, and a quarter of the epochs in a whole study, which is
    recorded, too (longer = 0.25): the losses were still high. Nothing else was tuned.
    """
    chosen = STAGES[stage]
    scale = chosen.scale if isinstance(chosen.scale, tuple) else (chosen.scale,)
    scale = tuple(times * side for side in scale)
    return Recipe(
        at_28(configuration) if times == 1 else configuration, width=width, hidden=round(512 * times * width),
        batch_norm=True, dropout=0.2, image_size=28 * times, scale=scale if len(scale) > 1 else scale[0],
        flip=True, normalise="mean", initialisation="he", epochs=round(longer * chosen.epochs),
        batch_size=64, learning_rate=chosen.learning_rate, schedule="linear", momentum=0.9, weight_decay=5e-4,
        validation=5000,
    )  # fmt: skip


def run_protocol(
    name: str,
    data: tuple[ImageSet, ImageSet] | None = None,
    path: Path | None = None,
    device: str | None = None,
    tell: Callable[[str], object] = print,
    networks: int | None = None,
    width: float | None = None,
    pictures: int = 30_000,
    longer: float = 1,
    folder: Path = Path("runs"),
    seeds: Iterable[int] | None = None,
) -> dict:
    """Train and test what the plan holds and the record does not, and return the whole record.

    data: training and test set, by default those of the study. path: of the record, by default
    ``data/results/<name>.json``. networks: stop after so many, to go on later. width: factor on the channels, by
    default 1/8, and 1 at 224 pixels. pictures: how many training pictures are used, 5,000 of them to watch; a sixth as
    many test pictures. longer: factor on the epochs. seeds: only networks of these, as on a machine that computes in
    another number format. Each setting of these four needs a record of its own. folder: where trained networks and
    their posteriors are kept, from which chains and ensembles go on; what another record's study put in their place is
    not used. The test set is used once for each network, after its training.
    Raises ValueError for an unknown name or seed, and for a record that was made with another setting.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown study {name!r}: choose from {', '.join(PROTOCOLS)}")
    path = path or results.FOLDER / f"{name}.json"
    plan, times = PLAN_224 if name in SIZES else PLAN, SIZES.get(name, 1)
    planned = {seed for _, seed, _ in plan}
    chosen = planned if seeds is None else {*seeds}
    if not chosen or not chosen <= planned:
        raise ValueError(f"the plan has seeds 0 to {max(planned)}, got {sorted(chosen)}")
    width = _usual(name)["width"] if width is None else width
    size = (width, longer) if times == 1 else (width, longer, times)
    setting = {"width": width, "training_pictures": pictures, "longer": longer}
    setting |= {} if seeds is None else {"seeds": sorted(chosen)}
    record = results.so_far(path, name, "configuration", "seed", "stage")
    if not isinstance(record.setdefault("ensembles", []), list):
        raise ValueError(f"{path} is no record of this study: its ensembles are no list")
    record = record if path.is_file() else {**setting, **record}
    made = {key: record.get(key, 1) for key in setting if key != "seeds"}
    made |= {"seeds": record["seeds"]} if "seeds" in record else {}
    if made != setting:
        raise ValueError(f"{path} was made with {made}: give another --result for {setting}")
    runs = [run for run in record["runs"] if _same(run, recipe_of(run["configuration"], run["stage"], *size))]
    todo = [item for item in plan if item[1] in chosen and item not in {_key(run) for run in runs}][:networks]
    if todo:
        train, test = PROTOCOLS[name]() if data is None else data
        data = train[:pictures], test[: pictures // 6]
    place = _Place(Path(folder) / _folder_of(name, setting), runs)
    for configuration, seed, stage in todo:
        if (configuration, seed, stage) in {_key(run) for run in runs}:
            continue  # it was trained on the way to another
        for run in _chain(configuration, seed, stage, data, size, device, place):
            runs = [other for other in runs if _key(other) != _key(run)] + [run]
            results.write(
                path, _record(name, setting, runs, _ensembles(runs, data[1].labels, place, record["ensembles"]))
            )
            tell(f"{configuration}, S = {_named(run['stage'], times)}, seed {seed}: {_told(run)}")
    together = _ensembles(runs, data[1].labels, place, record["ensembles"]) if todo else record["ensembles"]
    return _record(name, setting, runs, together)


class _Place:
    """Where trained networks and posteriors wait for the stages and ensembles that need them.

    Studies with records of their own may share a folder: ``kept`` says which files are those of this record's runs.
    """

    def __init__(self, folder: Path, runs: Iterable[dict]):
        self._folder = folder
        self.kept = {_key(run): run["kept"] for run in runs if "kept" in run}  # older runs do not say it

    def file(self, configuration: str, seed: int, stage: str, what: str) -> Path:
        scale = stage.strip("[]").replace(", ", "-").replace(" ", "-")
        return self._folder / f"{configuration}-{scale}-seed{seed}.{what}.safetensors"

    def running(self, configuration: str, seed: int, stage: str) -> Path:
        """Return the folder of the state of a training, until its network is tested and recorded."""
        return self.file(configuration, seed, stage, "run").with_suffix("")

    def network(self, configuration: str, seed: int, stage: str) -> VGG | None:
        sha256 = self.kept.get((configuration, seed, stage), {}).get("network")
        try:
            return load_network(self.file(configuration, seed, stage, "network"), sha256)
        except CheckpointError:
            return None

    def posteriors(self, configuration: str, seed: int, stage: str) -> dict[str, Tensor]:
        path = self.file(configuration, seed, stage, "posteriors")
        if not path.is_file():
            return {}
        content, kept = path.read_bytes(), self.kept.get((configuration, seed, stage))
        try:
            if kept is None or hashlib.sha256(content).hexdigest() == kept["posteriors"]:
                return load(content)
            said = "is damaged, or another study's"
        except SafetensorError:
            said = "is damaged"
        warnings.warn(f"{path} {said}: ensembles with this network stay as the record has them", stacklevel=2)
        return {}

    def save(self, configuration: str, seed: int, stage: str, net: VGG, posteriors: dict[str, Tensor]) -> dict:
        """Write what a run gave, and return the SHA-256 of both files, as its record keeps them."""
        about, content = {"stage": stage, "seed": seed}, save(posteriors)
        kept = {"network": save_network(net, self.file(configuration, seed, stage, "network"), about)}
        write_durably(self.file(configuration, seed, stage, "posteriors"), content)
        self.kept[configuration, seed, stage] = kept | {"posteriors": hashlib.sha256(content).hexdigest()}
        return self.kept[configuration, seed, stage]


def _chain(
    configuration: str, seed: int, stage: str, data: tuple[ImageSet, ImageSet], size: tuple[float, ...],
    device: str | None, place: _Place,
) -> Iterable[dict]:  # fmt: skip
    """Yield what the stage gave, after those stages before it whose network is not there."""
    before = STAGES[stage].starts_from
    if before is not None and place.network(configuration, seed, before) is None:
        yield from _chain(configuration, seed, before, data, size, device, place)
    recipe = recipe_of(configuration, stage, *size)
    part, watched = split(recipe, *data)
    net = build(recipe, part, seed) if before is None else place.network(configuration, seed, before)
    running = place.running(configuration, seed, stage)
    # each stage sees its own order, crops and flips
    history = fit(net, part, watched, recipe, seed + 1000 * list(STAGES).index(stage), device, checkpoint=running)
    test, crops = data[1].to(device_of(net)), configuration in ("D", "E")
    tested, posteriors = _tested(net, stage, test, crops, net.image_size[0] // 28)
    run = {
        "configuration": configuration,
        "stage": stage,
        "seed": seed,
        "validation_accuracy": history.epochs[-1].validation_accuracy,
        "validation_scale": recipe.test_scale,  # runs that do not say it were watched at the crop's side, 28
        "train_loss": history.epochs[-1].train_loss,
        "seconds": history.seconds,
        "tests": tested,
        "conditions": conditions(recipe, device_of(net)),
        "recipe": plain(recipe),
    }
    yield run | {"kept": place.save(configuration, seed, stage, net, posteriors)}
    shutil.rmtree(running, ignore_errors=True)


def _tested(net: VGG, stage: str, test: ImageSet, crops: bool, times: int) -> tuple[list[dict], dict[str, Tensor]]:
    """Return the top-1 errors of a network by every method, and the posteriors that ensembles need."""
    one, several = times * STAGES[stage].test_scale, tuple(times * scale for scale in STAGES[stage].test_scales)
    few, tested, kept = test[: min(CROPS_ON, len(test))], [], {}

    def measured(label: str, method: Callable[..., Tensor], part: ImageSet, scales: Iterable[int]) -> list[Tensor]:
        found = []
        for scale in scales:  # each scale once: the single one is also among the several
            started = time.perf_counter()
            found.append(halving(lambda size, Q=scale: method(net, part.images, Q, batch_size=size).cpu(), 500))
            seconds[label] = seconds.get(label, 0) + time.perf_counter() - started
        return found

    seconds: dict[str, float] = {}
    (centre,) = measured("single crop", single_crop, test, [one])
    tested.append(_test("single crop", [one], centre, test.labels, seconds["single crop"]))
    each = measured("dense", dense, test, several)
    tested.append(_test("dense", [one], each[several.index(one)], test.labels))
    kept["dense"] = ensemble(each)
    tested.append(_test("dense", several, kept["dense"], test.labels, seconds["dense"]))
    if crops and stage == "[32, 64]":  # Table 5
        kept["multi-crop"] = ensemble(measured("multi-crop", multi_crop, few, several))
        of_few = kept["dense"][: len(few)]
        tested.append(_test("multi-crop", several, kept["multi-crop"], few.labels, seconds["multi-crop"]))
        tested.append(_test("dense", several, of_few, few.labels))
        tested.append(_test("both", several, ensemble([of_few, kept["multi-crop"]]), few.labels))
    return tested, kept


def _test(method: str, scales: Iterable[int], posteriors: Tensor, labels: Tensor, seconds: float | None = None) -> dict:
    error = top1_error(posteriors, labels.cpu())
    return {
        "method": method, "scales": list(scales), "pictures": len(labels), "top1_error": error, "seconds": seconds
    }  # fmt: skip


def _ensembles(runs: list[dict], labels: Tensor, place: _Place, before: list[dict]) -> list[dict]:
    """Return the top-1 errors of networks together, for all seeds whose posteriors are there (section 4.4).

    Where they are not, as on another machine, what the record held ``before`` stays.
    """
    labels, found, done = labels.cpu(), [], {_key(run) for run in runs}
    for pair in TOGETHER:
        for seed in sorted({run["seed"] for run in runs}):
            members = [(*member.split(" ", 1),) for member in pair]
            if any((configuration, seed, stage) not in done for configuration, stage in members):
                continue
            each = [place.posteriors(configuration, seed, stage) for configuration, stage in members]
            for method in ("dense", "multi-crop"):
                if all(method in one for one in each):
                    together = ensemble([one[method] for one in each])
                    test = _test(method, [], together, labels[: len(together)])
                    found.append({"networks": list(pair), "seed": seed, **test})
            if all("multi-crop" in one for one in each):
                few = [ensemble([one["dense"][: len(one["multi-crop"])], one["multi-crop"]]) for one in each]
                test = _test("both", [], ensemble(few), labels[: len(few[0])])
                found.append({"networks": list(pair), "seed": seed, **test})
    which = [(one["networks"], one["seed"], one["method"]) for one in found]
    return found + [one for one in before if (one["networks"], one["seed"], one["method"]) not in which]


def _record(name: str, setting: dict, runs: list[dict], together: list[dict]) -> dict:
    order = {item: n for n, item in enumerate(PLAN)}
    pictures = {"protocol": FULL_FRAMES, "protocol-224": f"{FULL_FRAMES}, at the paper's sizes"}
    return {
        "command": _command(name, setting),
        "question": "section 4: what do training scale, test scales, dense evaluation, many crops and ensembles give?",
        "pictures": pictures.get(name, "Fashion-MNIST on canvases of 64 x 64 pixels"),
        **({"times": SIZES[name]} if name in SIZES else {}),
        **setting,
        "runs": sorted(runs, key=lambda run: order.get(_key(run), len(order))),
        "ensembles": together,
    }


def _command(name: str, setting: dict) -> str:
    """Return the command that makes the record; one of another setting stands beside it, in a file of its own."""
    usual = _usual(name)
    options = [
        f"--{key.split('_')[-1]} {value:g}" for key, value in setting.items() if key in usual and value != usual[key]
    ]
    options += [f"--seeds {' '.join(map(str, setting['seeds']))}"] if "seeds" in setting else []
    return " ".join([f"python -m vgglib study {name}", *options, *(["--result FILE"] if options else [])])


def _usual(name: str) -> dict:
    """Return the setting of a study where nothing is asked for."""
    return {"width": 1.0 if name in SIZES else 0.125, "training_pictures": 30_000, "longer": 1}


def _named(stage: str, times: int) -> str:
    """Return the name of a stage, or of several, with scales so many times as large."""
    return re.sub(r"\d+", lambda found: str(times * int(found[0])), stage) if times != 1 else stage


def _folder_of(name: str, setting: dict) -> str:
    """Return where networks of one setting are kept."""
    longer = f"-{setting['longer']:g}" if setting["longer"] != 1 else ""
    return f"{name}-{setting['width']:g}-{setting['training_pictures']}{longer}"


def _key(run: dict) -> tuple[str, int, str]:
    return run["configuration"], run["seed"], run["stage"]


def _same(run: dict, recipe: Recipe) -> bool:
    return run["stage"] in STAGES and made_by(run, recipe)


def _told(run: dict) -> str:
    errors = [f"{test['method']} {_scales(test['scales'])} {100 * test['top1_error']:.2f} %" for test in run["tests"]]
    tested = sum(test["seconds"] or 0 for test in run["tests"])
    return f"top-1 error {', '.join(errors)}; trained {run['seconds']:.0f} s, tested {tested:.0f} s"


def _scales(scales: Iterable[int]) -> str:
    return ", ".join(map(str, scales))


# --- the paper's tables beside ours --------------------------------------------------------------------------------

# Top-1 validation errors on ImageNet in per cent, Tables 3 to 6; S and Q are written as here, an eighth of the paper's
PAPER_3 = {
    ("A", "32"): 29.6, ("A-LRN", "32"): 29.7, ("B", "32"): 28.7,
    ("C", "32"): 28.1, ("C", "48"): 28.1, ("C", "[32, 64]"): 27.3,
    ("D", "32"): 27.0, ("D", "48"): 26.8, ("D", "[32, 64]"): 25.6,
    ("E", "32"): 27.3, ("E", "48"): 26.9, ("E", "[32, 64]"): 25.5,
}  # fmt: skip
PAPER_4 = {
    ("B", "32"): 28.2, ("C", "32"): 27.7, ("C", "48"): 27.8, ("C", "[32, 64]"): 26.3,
    ("D", "32"): 26.6, ("D", "48"): 26.5, ("D", "[32, 64]"): 24.8,
    ("E", "32"): 26.9, ("E", "48"): 26.7, ("E", "[32, 64]"): 24.8,
}  # fmt: skip
PAPER_5 = {
    ("D", "dense"): 24.8, ("D", "multi-crop"): 24.6, ("D", "both"): 24.4,
    ("E", "dense"): 24.8, ("E", "multi-crop"): 24.6, ("E", "both"): 24.4,
}  # fmt: skip
PAPER_6 = {"dense": 24.0, "multi-crop": 23.9, "both": 23.7}  # of D and E together, both trained with jitter


def errors(record: dict, configuration: str, stage: str, method: str, several: bool, few: bool = False) -> dict:
    """Return the top-1 errors in per cent by seed: {seed: error}; empty where nothing was run.

    several: of the three test scales, else of the single one. few: on the CROPS_ON test pictures of Table 5, those
    that crops were tried on.
    """
    found, of_crops = {}, ("multi-crop", "both")
    if method in of_crops and not few:
        return found
    for run in record["runs"]:
        if (run["configuration"], run["stage"]) != (configuration, stage):
            continue
        for test in run["tests"]:
            counts = [other["pictures"] for other in run["tests"] if other["method"] in of_crops or not few]
            wanted = max(counts, default=None)
            if (test["method"], len(test["scales"]) > 1, test["pictures"]) == (method, several, wanted):
                found[run["seed"]] = 100 * test["top1_error"]
    return found


def tables(record: dict) -> dict[str, Table]:
    """Return our errors in the shape of the paper's Tables 3 to 6, beside the paper's: {title: table}.

    Ours are mean ± standard deviation over n seeds. The paper's are one network each, on ImageNet, at scales 8 times
    as large, or as large where the record says so. Rows that were not run are left out.
    """
    times = record.get("times", 1)
    head = ("network", "S", "Q", "top-1 error (%)", "n", "the paper's (%)")
    made = {}
    for title, several, paper in (
        ("Table 3: one test scale", False, PAPER_3),
        ("Table 4: three test scales", True, PAPER_4),
    ):
        rows = Table([head])
        for configuration in TABLE_1:
            for stage, chosen in STAGES.items():
                scales = [times * scale for scale in (chosen.test_scales if several else (chosen.test_scale,))]
                ours = errors(record, configuration, stage, "dense", several)
                begin = (configuration, _named(stage, times), _scales(scales))
                rows += _row(begin, ours, paper.get((configuration, stage)))
        made[title] = rows
    rows = Table([("network", "method", "top-1 error (%)", "n", "the paper's (%)")])
    for configuration in TABLE_1:
        for method in ("dense", "multi-crop", "both"):
            ours = errors(record, configuration, "[32, 64]", method, True, few=True)
            rows += _row((configuration, method), ours, PAPER_5.get((configuration, method)))
    made[f"Table 5: dense or {50 * 3} crops, first {_few(record):,} test pictures"] = rows
    rows = Table([("networks", "method", "pictures", "top-1 error (%)", "n", "the paper's (%)")])
    for pair in TOGETHER:
        for method in ("dense", "multi-crop", "both"):
            found = [one for one in record["ensembles"] if (tuple(one["networks"]), one["method"]) == (pair, method)]
            ours = {one["seed"]: 100 * one["top1_error"] for one in found}
            paper = PAPER_6[method] if pair == ("D [32, 64]", "E [32, 64]") else None
            pictures = f"{found[0]['pictures']:,}" if found else ""
            rows += _row((_named(" + ".join(pair), times), method, pictures), ours, paper)
    made["Table 6: networks together"] = rows
    return {title: rows for title, rows in made.items() if len(rows) > 1}


def _few(record: dict) -> int:
    counts = [test["pictures"] for run in record["runs"] for test in run["tests"] if test["method"] == "multi-crop"]
    return min(counts, default=CROPS_ON)


def _row(begin: tuple[str, ...], ours: dict[int, float], paper: float | None) -> list[tuple[str, ...]]:
    if not ours:
        return []
    found = results.summary(list(ours.values()))
    spread = f" ± {found['sd']:.2f}" if found["n"] > 1 else ""
    return [(*begin, f"{found['mean']:.2f}{spread}", str(found["n"]), "" if paper is None else f"{paper:.1f}")]


@dataclass(frozen=True)
class Rung:
    """One step of the ladder that section 4 climbs with configuration D."""

    label: str
    errors: dict[int, float]  # top-1 error in per cent by seed
    paper: float | None  # the paper's, on ImageNet; None: it tested nothing like it
    gain: dict | None  # of the step from the rung below, by the seeds that have both: n, mean, standard error


def ladder(record: dict) -> list[Rung]:
    """Return the ladder of D: the paper's 27.0, 25.6, 24.8, 24.6, 24.4 % beside ours; 23.7 where E was trained, too.

    A step is a difference of two errors of the same seed on the same pictures. Crops were tested on the first pictures
    only, so the rung below them appears twice: on all test pictures, and on those, where no step leads to it and the
    paper has no number.
    """
    jitter, of = "[32, 64]", partial(errors, record, "D")
    few = f"three test scales, first {_few(record):,} pictures"

    steps = [
        ("smallest S, one test scale", of("32", "dense", False), 27.0),
        ("scale jitter, one test scale", of(jitter, "dense", False), 25.6),
        ("three test scales", of(jitter, "dense", True), 24.8),
        (few, of(jitter, "dense", True, few=True), None),
        ("150 crops instead", of(jitter, "multi-crop", True, few=True), 24.6),
        ("dense and crops", of(jitter, "both", True, few=True), 24.4),
    ]
    both = {
        pair["seed"]: 100 * pair["top1_error"]
        for pair in record["ensembles"]
        if pair["networks"] == ["D [32, 64]", "E [32, 64]"] and pair["method"] == "both"
    }
    steps += [("with network E", both, 23.7)] if both else []
    rungs, below = [], None
    for label, ours, paper in steps:
        rungs.append(Rung(label, ours, paper, None if below is None or label == few else gain(below, ours)))
        below = ours
    return rungs


def gain(before: dict[int, float], after: dict[int, float]) -> dict | None:
    """Return by how many points the error falls, over the seeds that both have: n, mean and standard error.

    One seed has no standard error: None. Without any, the whole is None.
    """
    differences = [before[seed] - after[seed] for seed in before if seed in after]
    if not differences:
        return None
    found = results.summary(differences)
    error = found["sd"] / found["n"] ** 0.5 if found["n"] > 1 else None
    return {"n": found["n"], "mean": found["mean"], "standard_error": error}


# standard errors that a mean of n paired differences must exceed: Student's t, 95 %, both sides
CLEAR_BEYOND = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}


def described(step: dict) -> str:
    """Return what :func:`gain` found, in words: the error falls or rises, by how much, and how sure that is."""
    n, points = step["n"], abs(step["mean"])
    way = "falls" if step["mean"] > 0 else "rises"
    if step["standard_error"] is None:
        return f"{way} by {points:>5.2f} points (n={n}, no spread)"
    errors = points / step["standard_error"] if step["standard_error"] else math.inf
    return f"{way} by {points:>5.2f} points, {errors:>4.1f} standard errors (n={n})"


def judged(step: dict) -> str:
    """Return whether what :func:`gain` found is "clear" or "open", by Student's t over n paired differences.

    Of one seed alone nothing is clear. For more than ten seeds the limit is that of ten, which is a little too strict.
    """
    limit = CLEAR_BEYOND.get(step["n"], CLEAR_BEYOND[max(CLEAR_BEYOND)])
    return "clear" if step["n"] > 1 and abs(step["mean"]) > limit * step["standard_error"] else "open"


def ship(name: str, path: Path, seed: int = 0, folder: Path = Path("runs")) -> dict[str, dict]:
    """Write the networks D of one seed to ``path``, in half precision, and return their entries for networks.json.

    The accuracy in an entry is that of the record: the single centre crop at ``scale``, before the weights were
    rounded. Raises CheckpointError if the study has not trained them on this machine.
    """
    record, entries = results.load(name), {}
    for run in record["runs"]:
        if (run["configuration"], run["seed"]) != ("D", seed) or run["stage"] not in CHAIN:
            continue
        source = _Place(Path(folder) / _folder_of(name, record), [run]).file("D", seed, run["stage"], "network")
        net, test = load_network(source, run.get("kept", {}).get("network")), run["tests"][0]
        label = f"{name}-D-{run['stage'].strip('[]').replace(', ', '-')}"
        about = {
            "result": name, "configuration": "D", "stage": run["stage"], "seed": seed, "scale": test["scales"][0],
            "test_scale": test["scales"][0], "test_accuracy": 1 - test["top1_error"],
        }  # fmt: skip
        mean, std = net.mean.clone(), net.std.clone()
        net.half()
        net.mean, net.std = mean, std
        digest = save_network(net, path / f"{label}.safetensors", {**about, "stored": "half precision"})
        size = (path / f"{label}.safetensors").stat().st_size
        entries[label] = {"sha256": digest, "bytes": size, "command": record["command"], **about}
        entries[label]["conditions"] = run["conditions"]
    return entries
