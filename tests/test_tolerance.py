"""The networks that are shipped, tested at many test scales: what is recorded, and how a record goes on."""

import pytest
import torch

from vgglib import results, tolerance
from vgglib.checkpoint import shipped
from vgglib.evaluation import dense, top1_error
from vgglib.protocol import CHAIN, PROTOCOLS
from vgglib.tolerance import SETS, curves, network, run_test_scales


@pytest.fixture
def small(monkeypatch):
    """Both sets with six random pictures."""
    generator = torch.Generator().manual_seed(0)

    def pictures(side):
        from vgglib.data import ImageSet

        images = torch.randint(0, 256, (6, 1, side, side), dtype=torch.uint8, generator=generator)
        return ImageSet(images, torch.arange(6), tuple("abcdefghij"))

    for name, side in zip(SETS, (28, 64), strict=True):
        found = pictures(side)
        monkeypatch.setitem(PROTOCOLS, name, lambda root, found=found: (None, found))
    return {name: PROTOCOLS[name](None)[1] for name in SETS}


def test_every_network_is_tested_at_every_scale(small, tmp_path):
    said, path = [], tmp_path / "record.json"
    record = run_test_scales(None, path, "cpu", said.append, scales=(28, 40), pictures=5)
    assert results.read(path) == record
    assert len(said) == len(record["networks"]) == 6
    for one in record["networks"]:
        net, test = shipped(network(one["set"], one["stage"])), small[one["set"]][:5]
        assert one["top1_error"] == [top1_error(dense(net, test.images, Q), test.labels) for Q in (28, 40)]
    found = curves(record, "protocol")
    assert list(found) == [f"S = {stage}" for stage in CHAIN]
    assert [Q for Q, _ in found["S = 32"]] == [28, 40]
    assert found["S = 32"][1][1] == 100 * record["networks"][0]["top1_error"][1]


def test_a_stopped_record_goes_on(small, tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    path = tmp_path / "record.json"
    with pytest.raises(KeyboardInterrupt):
        run_test_scales(None, path, "cpu", stop, scales=(28,), pictures=5)
    assert len(results.read(path)["networks"]) == 1
    said = []
    assert len(run_test_scales(None, path, "cpu", said.append, scales=(28,), pictures=5)["networks"]) == 6
    assert len(said) == 5
    run_test_scales(None, path, "cpu", said.append, scales=(28,), pictures=5)
    assert len(said) == 5


@pytest.mark.parametrize("content", ['{"command": "python -m vgglib study lenet", "runs": []}', "[]"])
def test_the_record_of_another_study_is_refused(small, tmp_path, content):
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"record\.json is no record of the study test-scales"):
        run_test_scales(None, path, "cpu", str)
    assert path.read_text() == content


def test_the_record_that_comes_with_the_book_is_whole():
    record = results.load("test-scales")
    kinds = {(one["set"], one["stage"]) for one in record["networks"]}
    assert kinds == {(name, stage) for name in SETS for stage in CHAIN}
    for one in record["networks"]:
        assert (one["scales"], one["pictures"]) == (list(tolerance.SCALES), tolerance.PICTURES)
        assert all(0 < error < 1 for error in one["top1_error"])
    recorded = {
        (run["stage"], test["scales"][0]): test["top1_error"]
        for run in results.load("protocol-canvas")["runs"]
        if (run["configuration"], run["seed"]) == ("D", 0)
        for test in run["tests"]
        if test["method"] == "dense" and len(test["scales"]) == 1 and test["pictures"] == tolerance.PICTURES
    }
    for one in record["networks"]:
        for Q, error in zip(one["scales"], one["top1_error"], strict=True):
            if one["set"] == "protocol-canvas" and (one["stage"], Q) in recorded:
                assert error == pytest.approx(recorded[one["stage"], Q], abs=0.006)  # rounded weights, number format
