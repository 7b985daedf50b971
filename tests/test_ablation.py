"""The fast path taken apart: each variant is what its name says, and they take turns."""

from dataclasses import replace

import pytest
import torch
from test_training import TINY, patterns

from vgglib import ablation as module
from vgglib.ablation import Ablation, ablation


def test_variants_on_a_cpu_without_bf16(monkeypatch):
    monkeypatch.setattr(module, "fast_in_bf16", lambda device: False)
    monkeypatch.setattr(module, "fast_channels_last", lambda device, bf16: False)
    monkeypatch.setattr(module, "can_keep_memory", lambda device: False)
    told = []
    found = ablation(TINY, patterns(60), pictures=40, rounds=2, device="cpu", tell=told.append)
    assert list(found.speeds) == ["everything", "fused"]
    assert all(len(speeds) == 2 and min(speeds) > 0 for speeds in found.speeds.values())
    assert found.brings("fused") > 0
    assert (found.conditions["bf16"], found.conditions["fused"], len(told)) == (False, True, 2)


def test_where_float32_is_faster_channels_last_that_is_a_variant(monkeypatch):
    monkeypatch.setattr(module, "fast_in_bf16", lambda device: False)
    monkeypatch.setattr(module, "fast_channels_last", lambda device, bf16: True)
    monkeypatch.setattr(module, "can_keep_memory", lambda device: False)
    assert list(module._variants(TINY, torch.device("cpu"))) == ["everything", "channels_last", "fused"]


def test_each_variant_leaves_out_one_thing(monkeypatch):
    monkeypatch.setattr(module, "fast_in_bf16", lambda device: True)
    monkeypatch.setattr(module, "can_compile", lambda device: True)
    monkeypatch.setattr(module, "can_keep_memory", lambda device: True)
    found = module._variants(TINY, torch.device("cuda"))
    assert " ".join(found) == "everything bf16 channels_last compile fused keep_memory data on the device"
    whole, on_device = found["everything"]
    assert on_device
    for name, (recipe, there) in found.items():
        off = {} if name in ("everything", "data on the device") else {name: False}
        assert recipe == replace(whole, **off)
        assert there == (name != "data on the device")


def test_with_bf16_and_with_data_on_the_host(monkeypatch):
    monkeypatch.setattr(module, "fast_in_bf16", lambda device: True)
    monkeypatch.setattr(module, "can_keep_memory", lambda device: False)
    found = ablation(TINY, patterns(60), pictures=40, rounds=1, device="cpu")
    assert list(found.speeds) == ["everything", "bf16", "channels_last", "fused"]
    variant = module._Variant(TINY, False, patterns(60), torch.device("cpu"))
    beside = module._Variant(TINY, True, patterns(60), torch.device("cpu"))
    for (X, y), (U, v) in zip(variant._batches(patterns(60), 1), beside._batches(patterns(60), 1), strict=True):
        torch.testing.assert_close(X, U)
        assert torch.equal(y, v)


def test_apart_each_has_a_process_of_its_own(monkeypatch):
    made = []
    real = module.ProcessPoolExecutor

    def counted(*arguments, **options):
        made.append(real(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(module, "ProcessPoolExecutor", counted)
    monkeypatch.setattr(module, "_variants", lambda *_: {"everything": (TINY, True), "fused": (TINY, True)})
    found = ablation(TINY, patterns(60), pictures=40, rounds=1, device="cpu", apart=True)
    assert len(made) == 2
    assert [len(speeds) for speeds in found.speeds.values()] == [1, 1]
    assert min(found.median(name) for name in found.speeds) > 0


def test_what_is_told():
    found = Ablation({"everything": [10.0, 12.0, 11.0], "bf16": [5.0, 4.0, 11.0]}, {})
    assert found.median("everything") == 11
    assert found.brings("bf16") == 2
    with pytest.raises(ValueError, match="at least a batch of 20 pictures"):
        ablation(TINY, patterns(60), pictures=10)


def test_a_name_in_place_of_a_recipe_is_refused():
    with pytest.raises(ValueError, match=r"expected a Recipe, got 'laptop': write recipe\('laptop'\)"):
        ablation("laptop", patterns(64))
    with pytest.raises(ValueError, match="expected a set of labelled pictures, got a Tensor"):
        ablation(TINY, patterns(64).images)
