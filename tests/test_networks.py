"""The trained networks that the book ships: whole, described, and as good as is said."""

import json
from pathlib import Path

import pytest

from vgglib.checkpoint import digest, load_network
from vgglib.data import fashion_mnist
from vgglib.evaluation import accuracy_on
from vgglib.results import load

FOLDER = Path(__file__).resolve().parent.parent / "data" / "networks"
LISTED = json.loads((FOLDER / "networks.json").read_text(encoding="utf-8"))


def test_every_network_is_listed_and_small():
    assert {path.name for path in FOLDER.glob("*.safetensors")} == {f"{name}.safetensors" for name in LISTED}
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) < 10e6


@pytest.mark.parametrize("name", LISTED)
def test_network_is_what_is_said(name):
    said, path = LISTED[name], FOLDER / f"{name}.safetensors"
    assert digest(path) == said["sha256"]
    net = load_network(path, said["sha256"])
    _, test = fashion_mnist()
    # another machine rounds differently, with bfloat16 or without: a few pictures of ten thousand may turn
    assert accuracy_on(net, test) == pytest.approx(said["test_accuracy"], abs=0.003)
    run = next(run for run in load(name)["runs"] if run["seed"] == said["seed"])
    assert run["test_accuracy"] == said["test_accuracy"] == net.about["test_accuracy"]
