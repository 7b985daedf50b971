"""What is known of a device, tried without one: words for an end of memory, TF32, GPUs of several processes."""

from contextlib import suppress
from functools import partial

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from vgglib import devices, distributed, largest_batch, throughput
from vgglib.augment import view
from vgglib.model import VGG


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("GET was unable to find an engine to execute this computation"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling cublasCreate(handle)"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5.1 GB, other allocations: 2.0 GB)"), True),
        (RuntimeError("Invalid buffer size: 40.00 GB"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_an_end_of_memory_has_several_names(error, expected):
    assert devices.out_of_memory(error) is expected


def test_devices_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.known_device("cpu") == torch.device("cpu")
    assert devices.known_device("cuda:1") == torch.device("cuda", 1)
    assert devices.known_device(torch.device("meta")).type == "meta"
    for wrong in ("gpu", "warp", "", "meta", None, 2.5):
        with pytest.raises(ValueError, match=r"unknown device .* take cpu, cuda, cuda:1"):
            devices.known_device(wrong)
    with pytest.raises(ValueError, match="torch finds no cuda:2 here"):
        devices.known_device("cuda:2")


def test_as_much_is_tried_as_fits_into_memory(monkeypatch):
    tried, released = [], []
    monkeypatch.setattr(largest_batch, "release", lambda: released.append(tried[-1]))

    def attempt(size, most=30, why="CUDA error: out of memory"):
        tried.append(size)
        if size > most:
            raise RuntimeError(why)
        return torch.tensor(size)

    assert largest_batch.halving(attempt, 100) == 25
    assert (tried, released) == ([100, 50, 25], [100, 50])
    with pytest.raises(RuntimeError, match="out of memory"):
        largest_batch.halving(partial(attempt, most=0), 3)
    assert tried[3:] == [3, 1]
    with pytest.raises(RuntimeError, match="shapes"):
        largest_batch.halving(partial(attempt, why="shapes"), 100)
    assert tried[5:] == [100]


def test_tf32_is_a_newer_gpus(monkeypatch):
    assert not devices.rounds_to_tf32("cpu")
    for capability, able in (((9, 0), True), ((8, 0), True), ((7, 5), False)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        usual = torch.backends.cudnn.conv.fp32_precision == "tf32"
        assert devices.rounds_to_tf32("cuda") is (able and usual)


def test_dice_of_the_cpu_leave_all_others_alone():
    torch.manual_seed(5)
    before, queued = torch.get_rng_state(), dict(vars(torch.cuda._lazy_seed_tracker))
    with devices.cpu_dice(3):
        drawn = torch.rand(4)
    assert torch.equal(drawn, torch.rand(4, generator=torch.Generator().manual_seed(3)))
    assert torch.equal(torch.get_rng_state(), before)
    assert vars(torch.cuda._lazy_seed_tracker) == queued  # what a GPU will be seeded with


def test_a_macs_gpu_gets_its_dice_back_also_after_an_error(monkeypatch):
    states, before = ["theirs"], torch.get_rng_state()
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: states[-1])
    monkeypatch.setattr(torch.mps, "set_rng_state", states.append)
    with suppress(ZeroDivisionError), devices.kept_dice():
        states.append("ours")
        _ = torch.rand(3), 1 / 0
    assert states[-1] == "theirs"
    assert torch.equal(torch.get_rng_state(), before)


def test_every_network_is_compiled_for_every_size_of_its_batches(monkeypatch):
    """By itself torch.compile gives up after eight networks of one class, without a word that anybody reads."""
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    for number in range(1, 11):
        net = VGG("4 |", 1, 3, 8, hidden=4).eval()
        forward = devices.compiled(net)
        for size in (6, 5, 6, 5):
            X = torch.rand(size, 1, 8, 8)
            torch.testing.assert_close(forward(X), net(X))
        assert counter.frame_count == 2 * number


def test_older_versions_of_compile_get_a_higher_limit(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda net, dynamic: (net, dynamic))
    with torch._dynamo.config.patch(recompile_limit=8):
        assert devices.compiled(net := nn.ReLU()) == (net, False)
        assert torch._dynamo.config.recompile_limit == 256


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
    monkeypatch.setattr(devices.Path, "is_file", lambda path: path.name == "Python.h")
    assert devices.can_compile("cuda")
    assert not devices.can_compile("cpu")
    monkeypatch.setattr(devices, "which", lambda name: None)
    assert not devices.can_compile("cuda")
    monkeypatch.setattr(devices, "which", lambda name: name)
    monkeypatch.setattr(devices.Path, "is_file", lambda path: False)  # Python without its headers
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


def processes(monkeypatch, gpus, *others, visible=None, local=0, machine="0"):
    """A store in which ``others`` have said which GPU is theirs, and this process, number 0, sees so many."""
    monkeypatch.setenv("LOCAL_RANK", str(local))
    monkeypatch.setenv("GROUP_RANK", machine)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    store = torch.distributed.HashStore()
    for number, said in enumerate(others, start=1):
        store.set(f"vgglib/gpu/{number}", said)
    return store, 0, 1 + len(others)


@pytest.mark.parametrize(
    ("here", "others", "mine", "without"),
    [
        (dict(gpus=2), ["0 all 1"], 0, []),
        (dict(gpus=4, local=2), ["0 all 0", "0 all 1", "0 all 3"], 2, []),
        (dict(gpus=1), ["0 all 0"], 0, [1]),  # one GPU for two
        (dict(gpus=0), [""], 0, [0, 1]),
        (dict(gpus=1, local=1, visible="1"), ["0 0 0", "0 2 0"], 0, []),  # each sees one, another one
        (dict(gpus=1, visible="0"), ["1 0 0"], 0, []),  # of two machines
        (dict(gpus=2), ["0 all 1", "1 all 0", ""], 0, [3]),  # the second machine has too few
        (dict(gpus=2, local=2), ["0 all 0"], 2, [0]),
    ],
)
def test_each_process_has_a_gpu_of_its_own_or_is_told_who_has_none(monkeypatch, here, others, mine, without):
    assert distributed._own_gpu(*processes(monkeypatch, here.pop("gpus"), *others, **here)) == (mine, without)


@pytest.mark.parametrize(
    ("device", "why"), [("cuda:0", "without a number"), ("cuda", "GPU of its own has process 1 of 2")]
)
def test_processes_do_not_share_a_gpu(monkeypatch, device, why):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    given = processes(monkeypatch, 1, "0 all 0")
    monkeypatch.setattr(torch.distributed, "rendezvous", lambda *how, **more: iter([given]))
    monkeypatch.setattr(distributed, "_this_start", lambda *given: "now")
    given[0].set("now/vgglib/gpu/1", "0 all 0")
    with pytest.raises(ValueError, match=why), distributed.together(device):
        pass
