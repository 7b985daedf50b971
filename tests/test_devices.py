"""What is known of a device, tried without one: words for an end of memory, TF32, GPUs of several processes."""

import pytest
import torch

from vgglib import devices, distributed, throughput
from vgglib.augment import view


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("GET was unable to find an engine to execute this computation"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_an_end_of_memory_has_several_names(error, expected):
    assert devices.out_of_memory(error) is expected


def test_tf32_is_a_gpus():
    assert not devices.rounds_to_tf32("cpu")
    assert devices.rounds_to_tf32("cuda") is (torch.backends.cudnn.conv.fp32_precision == "tf32")


def test_channels_last_is_faster_in_bf16_and_on_x86(monkeypatch):
    monkeypatch.setattr(devices.platform, "machine", lambda: "AMD64")
    assert devices.fast_channels_last("cpu", False) is torch.backends.mkldnn.is_available()
    assert not devices.fast_channels_last("cuda", False)
    monkeypatch.setattr(devices.platform, "machine", lambda: "arm64")
    assert not devices.fast_channels_last("cpu", False)
    assert devices.fast_channels_last("cpu", True)
    assert devices.fast_channels_last("cuda", True)


def test_compiling_needs_a_compiler(monkeypatch):
    monkeypatch.setattr(devices, "find_spec", lambda name: name)
    monkeypatch.setattr(devices, "which", lambda name: name if name == "gcc" else None)
    assert devices.can_compile("cuda")
    assert not devices.can_compile("cpu")
    monkeypatch.setattr(devices, "which", lambda name: None)
    assert not devices.can_compile("cuda")


def test_products_round_as_convolutions_do_only_while_the_peak_is_measured(monkeypatch):
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    monkeypatch.setattr(throughput, "rounds_to_tf32", lambda device: True)
    with throughput._as_convolutions_round(torch.device("cuda")):
        assert products.fp32_precision == "tf32"
    assert products.fp32_precision == before


def test_pictures_are_rescaled_in_float32_also_under_autocast():
    images = torch.arange(2 * 28 * 28).remainder(251).to(torch.uint8).view(2, 1, 28, 28)
    with torch.autocast("cpu", torch.bfloat16):
        found = view(images, 32)
    assert found.dtype == torch.float32
    assert torch.equal(found, view(images, 32))


@pytest.mark.parametrize(("device", "why"), [("cuda:0", "without a number"), ("cuda", "no GPU of its own")])
def test_processes_do_not_share_a_gpu(monkeypatch, device, why):
    for name, value in dict(WORLD_SIZE="2", MASTER_ADDR="localhost", LOCAL_RANK="1").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match=why), distributed.together(device):
        pass
