"""The experiments of section 4 at 28 pixels: training scales, test scales, dense, many crops, ensembles.

``python -m vgglib study protocol`` trains and tests on Fashion-MNIST, ``study protocol-canvas`` on garments of many
sizes on a larger canvas (data.on_canvas). Each writes its record after every network; stopped, it goes on where it was.
The scales are the paper's divided by 8, so that score maps have the paper's sizes.
"""

import hashlib
import shutil
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vgglib import results
from vgglib.checkpoint import CheckpointError, load_network, save_network
from vgglib.data import fashion_mnist, fashion_mnist_on_canvas
from vgglib.devices import device_of
from vgglib.durable import write_durably
from vgglib.evaluation import dense, ensemble, multi_crop, single_crop
from vgglib.image_set import ImageSet
from vgglib.largest_batch import halving
from vgglib.metrics import top1_error, top5_error
from vgglib.model import VGG
from vgglib.protocol_plan import CHAIN, CROPS_ON, FULL_FRAMES, PLAN, PLAN_224, SIZES, STAGES, TOGETHER, listed, named
from vgglib.protocol_plan import Stage as Stage  # like all that has two names here, part of this interface
from vgglib.protocol_plan import at_28 as at_28
from vgglib.protocol_plan import recipe_of as recipe_of
from vgglib.protocol_tables import CLEAR_BEYOND as CLEAR_BEYOND
from vgglib.protocol_tables import PAPER_3 as PAPER_3
from vgglib.protocol_tables import PAPER_4 as PAPER_4
from vgglib.protocol_tables import PAPER_5 as PAPER_5
from vgglib.protocol_tables import PAPER_6 as PAPER_6
from vgglib.protocol_tables import Rung as Rung
from vgglib.protocol_tables import described as described
from vgglib.protocol_tables import errors as errors
from vgglib.protocol_tables import gain as gain
from vgglib.protocol_tables import judged as judged
from vgglib.protocol_tables import ladder as ladder
from vgglib.protocol_tables import tables as tables
from vgglib.studies import made_by, plain
from vgglib.training import Recipe, build, conditions, fit, split

PROTOCOLS = {  # where each gets its pictures
    "protocol": fashion_mnist,
    "protocol-canvas": fashion_mnist_on_canvas,
    "protocol-224": fashion_mnist,  # enlarged to the paper's own sizes, for a GPU
}


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
            tell(f"{configuration}, S = {named(run['stage'], times)}, seed {seed}: {_told(run)}")
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
    labels = labels.cpu()
    found = {"method": method, "scales": list(scales), "pictures": len(labels)}
    found["top1_error"] = top1_error(posteriors, labels)
    if posteriors.shape[1] > 5:
        found["top5_error"] = top5_error(posteriors, labels)
    return found | {"seconds": seconds}


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


def _folder_of(name: str, setting: dict) -> str:
    """Return where networks of one setting are kept."""
    longer = f"-{setting['longer']:g}" if setting["longer"] != 1 else ""
    return f"{name}-{setting['width']:g}-{setting['training_pictures']}{longer}"


def _key(run: dict) -> tuple[str, int, str]:
    return run["configuration"], run["seed"], run["stage"]


def _same(run: dict, recipe: Recipe) -> bool:
    return run["stage"] in STAGES and made_by(run, recipe)


def _told(run: dict) -> str:
    errors = [f"{test['method']} {listed(test['scales'])} {100 * test['top1_error']:.2f} %" for test in run["tests"]]
    tested = sum(test["seconds"] or 0 for test in run["tests"])
    return f"top-1 error {', '.join(errors)}; trained {run['seconds']:.0f} s, tested {tested:.0f} s"


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
