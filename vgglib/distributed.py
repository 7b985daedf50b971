"""Several processes that train one network: who is who, and what they tell each other (section 3.3).

Every function also works in a lone process, where there is nothing to tell. ``torchrun`` starts the processes and
numbers them by environment variables; ``together`` makes them a group.
"""

import ipaddress
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

import torch
from torch import Tensor, distributed, nn

from vgglib.interrupts import Interrupted

PATIENCE = timedelta(minutes=10)  # with processes that do not answer: then an error, and torchrun may start anew
FIRST_WORDS = 60  # seconds for the first words between any two, which take far less than one


def rank() -> int:
    """Return this process's number, from 0."""
    return distributed.get_rank() if _grouped() else 0


def world() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if _grouped() else 1


def _grouped() -> bool:
    return distributed.is_available() and distributed.is_initialized()


@contextmanager
def together(device: torch.device | str | None = None) -> Iterator[torch.device | str | None]:
    """Join the processes that torchrun started, and give the device that this one should use.

    Each process gets a GPU of its own and talks by NCCL where every one of them can have one and no device is asked
    for; else all use their CPU, and gloo. Outside of torchrun nothing happens. Leaves the group at the end, unless an
    error ends this process. Raises ValueError where GPUs are asked for, and one process has none of its own.
    """
    if not in_torchrun():
        yield device
        return
    os.environ.setdefault("TORCH_GLOO_LAZY_INIT", "1")  # connecting all at once now and then hangs
    if device is not None and torch.device(device).type == "cuda" and torch.device(device).index is not None:
        raise ValueError(f"each process needs a GPU of its own, got {device} for all: say cuda, without a number")
    if distributed.is_initialized():  # left behind by an error
        distributed.destroy_process_group()
    store, number, count = next(distributed.rendezvous("env://", timeout=PATIENCE))
    store = distributed.PrefixStore(_this_start(store, number, count), store)
    if device is None or torch.device(device).type == "cuda":
        mine, without = _own_gpu(store, number, count)
        if without and device is not None:
            raise ValueError(f"no GPU of its own has process {', '.join(map(str, without))} of {count}")
        device = torch.device("cpu") if without else torch.device("cuda", mine)
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    if backend == "gloo":
        _listen_to_other_machines(store, number, count)
    distributed.init_process_group(backend, store=store, rank=number, world_size=count, timeout=PATIENCE)
    with within(FIRST_WORDS):
        _first_words()
    try:
        yield device
    except (Interrupted, ArithmeticError):  # in all processes at once: a stop, a loss that is not finite
        distributed.destroy_process_group()
        raise
    # after another error the others may be waiting for this one: to leave the group in order could wait for them, too
    distributed.destroy_process_group()


def _own_gpu(store: "distributed.Store", number: int, count: int) -> tuple[int, list[int]]:
    """Return the number of the GPU that this process should use, and the processes that have none of their own.

    The local processes share out the GPUs that they see; where each sees a single one, as under Slurm, it is that.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mine = 0 if seen == 1 else local
    machine = os.environ.get("GROUP_RANK", socket.gethostname())
    which = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    store.set(f"vgglib/gpu/{number}", f"{machine} {which} {mine}" if mine < seen else "")
    every = [store.get(f"vgglib/gpu/{other}").decode() for other in range(count)]  # waits for each
    return mine, [other for other, gpu in enumerate(every) if not gpu or gpu in every[:other]]


def _this_start(store: "distributed.Store", number: int, count: int) -> str:
    """Return a name for this start of ``count`` processes, on which they agree.

    torchrun keeps one store for all its starts (PyTorch's issue 135712): a process that is quick would find in it the
    addresses of processes that ended before. So process 0 answers each word that it finds, and counts only those who
    have read its answer. Raises TimeoutError where some do not come.
    """
    mine = uuid4().hex
    if number:
        store.set(f"vgglib/here/{number}", mine)
        store.wait([f"vgglib/start/{mine}"], PATIENCE)
        start = store.get(f"vgglib/start/{mine}").decode()
        store.set(f"vgglib/came/{start}/{number}", "")
        return start
    missing, until = set(range(1, count)), time.monotonic() + PATIENCE.total_seconds()
    while missing:
        if time.monotonic() > until:
            raise TimeoutError(f"of {count} processes {', '.join(map(str, sorted(missing)))} did not come")
        for other in tuple(missing):
            if store.check([f"vgglib/came/{mine}/{other}"]):
                missing.discard(other)
            elif store.check([f"vgglib/here/{other}"]):
                store.set(f"vgglib/start/{store.get(f'vgglib/here/{other}').decode()}", mine)
        time.sleep(0.01)
    return mine


def _listen_to_other_machines(store: "distributed.Store", number: int, count: int) -> None:
    """Let gloo listen where other machines come, unless GLOO_SOCKET_IFNAME already says where; on Linux, with IPv4.

    By itself gloo listens at the address of this machine's name. Debian and Ubuntu make that 127.0.1.1, which no other
    machine reaches.
    """
    alone = count == int(os.environ.get("LOCAL_WORLD_SIZE", count))
    if alone or "GLOO_SOCKET_IFNAME" in os.environ or sys.platform != "linux":
        return
    mine = _address_towards(os.environ["MASTER_ADDR"])
    store.set(f"vgglib/address/{number}", mine)
    others = [store.get(f"vgglib/address/{other}").decode() for other in range(count)]  # waits for each
    if not _only_here(_address_of(socket.gethostname())):
        return
    if _only_here(mine):  # process 0's machine, which calls itself
        mine = next((_address_towards(other) for other in others if not _only_here(other)), mine)
    if not _only_here(mine) and (interface := _interface_at(mine)):
        os.environ["GLOO_SOCKET_IFNAME"] = interface


def _address_of(name: str) -> str:
    """Return the IPv4 address of a machine, "" if it has none."""
    try:
        return socket.gethostbyname(name)
    except OSError:
        return ""


def _address_towards(machine: str) -> str:
    """Return the IPv4 address from which this machine speaks to another, "" if there is no way; nothing is sent."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as speaker:
            speaker.connect((machine, 9))
            return speaker.getsockname()[0]
    except OSError:
        return ""


def _only_here(address: str) -> bool:
    return not address or ipaddress.ip_address(address).is_loopback


def _interface_at(address: str) -> str | None:
    """Return the name of this machine's network interface with an IPv4 address, None if there is none (Linux)."""
    import fcntl  # Windows has none

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                told = fcntl.ioctl(asked, 0x8915, struct.pack("256s", name.encode()))  # SIOCGIFADDR
            except OSError:  # it has no address
                continue
            if socket.inet_ntoa(told[20:24]) == address:
                return name
    return None


@contextmanager
def within(seconds: float, give_up: Callable[[], None] | None = None) -> Iterator[None]:
    """End this process if what is done in this context takes longer; ``give_up`` is for tests.

    Gloo waits for a connection without a limit, and now and then for ever.
    """
    timer = threading.Timer(seconds, give_up or _give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _give_up() -> None:
    again = "torchrun starts them anew where --max-restarts allows it"
    sys.stderr.write(f"vgglib: the processes found no connection within {FIRST_WORDS} s; {again}\n")
    sys.stderr.flush()
    os._exit(1)


def _first_words() -> None:
    """Send a number from every process to every other, so that all are connected; NCCL does so by itself."""
    if distributed.get_backend() != "gloo":
        return
    for distance in range(1, world()):
        heard = torch.empty(1, dtype=torch.int64)
        sent = distributed.isend(torch.tensor([rank()]), (rank() + distance) % world())
        distributed.recv(heard, (rank() - distance) % world())
        sent.wait()


def lost(error: Exception) -> str:
    """Return a sentence for an error of torch's that says another process has gone or is silent, "" for any other."""
    torchs = isinstance(error, distributed.DistBackendError) or "gloo/transport" in str(error)
    again = "torchrun starts all anew where --max-restarts allows it, and they go on from the last checkpoint"
    return f"another process was lost, see its own message; {again}" if torchs else ""


def in_torchrun() -> bool:
    """Return whether torchrun started this process together with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MASTER_ADDR" in os.environ


def replicated(net: nn.Module) -> nn.Module:
    """Return a network whose backward pass averages the gradients over all processes; ``net`` itself in a lone one.

    Its weights become those of process 0. Batch normalisation keeps the statistics of its own shard, and process 0's
    running averages count.
    """
    return nn.parallel.DistributedDataParallel(net) if world() > 1 else net


def share_buffers(net: nn.Module) -> None:
    """Give every process the buffers of process 0's network: batch normalisation's running averages."""
    if world() > 1:
        for buffer in net.buffers():
            distributed.broadcast(buffer, 0)


def total(values: Tensor) -> Tensor:
    """Return the sum over all processes."""
    return _reduced(values, distributed.ReduceOp.SUM) if world() > 1 else values


def highest(values: Tensor) -> Tensor:
    """Return the largest of all processes' values, element by element."""
    return _reduced(values, distributed.ReduceOp.MAX) if world() > 1 else values


def _reduced(values: Tensor, how: object) -> Tensor:
    values = values.clone()
    distributed.all_reduce(values, how)
    return values


def _talks_on() -> torch.device:
    """Return where tensors must lie to be sent."""
    nccl = distributed.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")


def from_all(values: Tensor) -> list[Tensor]:
    """Return every process's ``values`` (of one shape, on the CPU), in the order of their numbers, on the CPU."""
    if world() == 1:
        return [values]
    mine = values.to(_talks_on())
    found = [torch.empty_like(mine) for _ in range(world())]
    distributed.all_gather(found, mine)
    return [one.cpu() for one in found]


def from_first(content: bytes) -> bytes:
    """Return process 0's ``content`` in every process; what the others give is not looked at."""
    if world() == 1:
        return content
    device = _talks_on()
    length = torch.tensor([len(content)], device=device)
    distributed.broadcast(length, 0)
    if not length.item():
        return b""
    sent = torch.frombuffer(bytearray(content), dtype=torch.uint8).to(device) if rank() == 0 else None
    sent = torch.empty(length.item(), dtype=torch.uint8, device=device) if sent is None else sent
    distributed.broadcast(sent, 0)
    return content if rank() == 0 else sent.cpu().numpy().tobytes()


def share(count: int) -> slice:
    """Return which of ``count`` things are this process's: every world()-th, from rank() on."""
    return slice(rank(), count, world())
