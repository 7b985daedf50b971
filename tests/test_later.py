"""The two studies of chapter 10 beside depth, on data of their own."""

from dataclasses import replace

import pytest
import torch

from vgglib import later, results
from vgglib.data import ImageSet
from vgglib.later import run_digits, run_repvgg
from vgglib.peers import PeerMissing


@pytest.fixture
def tiny(monkeypatch):
    pictures = torch.randint(0, 256, (80, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(80) % 10
    classes = tuple("abcdefghij")
    small = dict(epochs=1, validation=20, batch_size=20, width=0.0625, hidden=8, image_size=32, scale=32)
    branched = {label: replace(one, **small) for label, one in later.BRANCHED.items()}
    monkeypatch.setattr(later, "BRANCHED", branched)
    monkeypatch.setattr(later, "SEEDS", (0,))
    monkeypatch.setattr(later, "PICTURES", 40)
    monkeypatch.setattr(later, "CLOTHES", replace(later.CLOTHES, **small | {"width": 0.25}))
    monkeypatch.setattr(later, "DIGITS_SEEDS", (0, 1))
    monkeypatch.setattr(later, "SPLITS", dict(n_splits=2, train_size=100, test_size=100, random_state=0))
    monkeypatch.setattr(later, "PRICES", (10,))
    monkeypatch.setattr(later, "DIGITS", tuple(f"{source}, C=10" for source in later.SOURCES))
    return ImageSet(pictures, labels, classes), ImageSet(pictures[:30], labels[:30], classes)


def test_branches_are_tested_before_and_after_folding(tiny, tmp_path):
    said, path = [], tmp_path / "repvgg.json"
    record = run_repvgg(tiny, path, "cpu", said.append)
    assert results.read(path) == record
    assert list(record["test_accuracy"]) == ["plain", "batch norm", "three branches"]
    plain, normed, branched = record["runs"]
    assert not {"folded"} & {*plain, *normed}
    once = branched["folded"]
    assert once["test_accuracy"] == branched["test_accuracy"]
    assert once["largest_difference"] < 1e-4
    assert (once["parameters"], once["macs"]) == (plain["parameters"], plain["macs"])
    assert branched["parameters"] > normed["parameters"] > plain["parameters"]
    assert branched["pictures"] == 40
    assert len(said) == 3
    assert run_repvgg(tiny, path, "cpu", said.append) == record
    assert [text.split(":")[0] for text in said[3:]] == [f"all 3 are in {path} already"]


def test_digits_are_read_by_each_look_and_seed(tiny, tmp_path, monkeypatch):
    trained, fit = [], later.fit
    monkeypatch.setattr(later, "fit", lambda *given: trained.append(given[4]) or fit(*given))
    path = tmp_path / "digits.json"
    record = run_digits(tiny, path, "cpu", lambda text: None)
    assert results.read(path) == record
    assert trained == [0, 1]  # once for all looks
    sizes = {run["label"].rsplit(", C=", 1)[0]: run["values"] for run in record["runs"]}
    assert sizes["raw pixels"] == 64
    assert sizes["clothes, block 3"] == 16 * sizes["clothes, block 3, averaged"] == 16 * later.MAPS
    assert sizes["untrained, last hidden layer"] == 8
    assert {label: found["n"] for label, found in record["test_accuracy"].items()} == {
        f"{source}, C=10": 1 if source == "raw pixels" else 2 for source in later.SOURCES
    }
    assert all(len(run["splits"]) == 2 and 0.05 < run["test_accuracy"] <= 1 for run in record["runs"])
    said = []
    assert run_digits(tiny, path, "cpu", said.append) == record
    assert [text.split(":")[0] for text in said] == [f"all {len(record['runs'])} are in {path} already"]
    assert trained == [0, 1]


def test_digits_that_are_missing_are_named(tiny, tmp_path, monkeypatch):
    def absent(module):
        raise PeerMissing(f"{module} cannot be imported")

    monkeypatch.setattr(later, "peer", absent)
    with pytest.raises(PeerMissing, match=r"sklearn.datasets cannot be imported"):
        run_digits(tiny, tmp_path / "digits.json", "cpu", print)
