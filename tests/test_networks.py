"""The trained networks that the book ships: whole, described, and as good as is said."""

import json
from pathlib import Path

import pytest

from vgglib.checkpoint import digest, load_network, shipped
from vgglib.data import CLASSES, fashion_mnist, on_canvas
from vgglib.evaluation import accuracy_on
from vgglib.results import load

FOLDER = Path(__file__).resolve().parent.parent / "data" / "networks"
LISTED = json.loads((FOLDER / "networks.json").read_text(encoding="utf-8"))


def test_every_network_is_listed_and_small():
    assert {path.name for path in FOLDER.glob("*.safetensors")} == {f"{name}.safetensors" for name in LISTED}
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) < 12e6


@pytest.mark.parametrize("name", LISTED)
def test_network_is_what_is_said(name):
    said, path = LISTED[name], FOLDER / f"{name}.safetensors"
    assert digest(path) == said["sha256"]
    net = load_network(path, said["sha256"])
    assert shipped(name).classes == CLASSES
    _, test = fashion_mnist()
    if "result" in said:  # one of several networks of a study, tested on a part of the test set
        record = load(said["result"])
        test = test[: record["training_pictures"] // 6]
        test = on_canvas(test, 1) if said["result"] == "protocol-canvas" else test
        run = next(run for run in record["runs"] if _key(run) == _key(said))
        expected = 1 - run["tests"][0]["top1_error"]
    else:
        expected = next(run for run in load(name)["runs"] if run["seed"] == said["seed"])["test_accuracy"]
    # another machine rounds differently, with bfloat16 or without: a few pictures of a thousand may turn
    assert accuracy_on(net, test, said.get("scale")) == pytest.approx(said["test_accuracy"], abs=0.003)
    assert said["test_accuracy"] == net.about["test_accuracy"] == pytest.approx(expected)


def _key(run):
    return run["configuration"], run["stage"], run["seed"]
