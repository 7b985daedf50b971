"""A device that is none: its tensors lie on the CPU, say that they lie elsewhere, and refuse to be mixed.

Where there is no GPU this finds what would fail on one: a tensor left behind on the CPU, a generator of the wrong
device, a step of training that waits for the device. It says nothing about speed, memory or CUDA itself.

``python tests/pretended.py``: training, testing, rebuilding and tracing on that device, as test_pretended.py runs them.
``python tests/pretended.py 03 05``: every cell of these chapters, for networks that go where a GPU would be (minutes).

It has a process of its own, because torch takes a new device only before the first backward pass, and keeps it.
"""

import contextlib
import json
import os
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch
from torch import nn
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
aten = torch.ops.aten
OF_DEVICE: dict = {}  # generators by their address; kept, so that no other gets it
WAITS: Counter = Counter()  # where the host waited for the device: (what for, file and line of vgglib) -> times


class _Module(backend_registration._DummyBackendModule):
    """What torch asks a device for."""

    def get_amp_supported_dtype(self):
        return [torch.bfloat16, torch.float16]

    def manual_seed(self, seed):
        pass

    def get_rng_state(self, *device):
        return torch.random.get_rng_state()

    def set_rng_state(self, state, *device):
        pass


backend_registration._setup_privateuseone_for_python_backend("pretended", backend_module=_Module())
DEVICE = torch.device("pretended", 0)


class There(torch.Tensor):
    """A tensor on the pretended device; ``held`` is the same on the CPU."""

    @staticmethod
    def __new__(cls, held):
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "layout": held.layout}
        made = torch.Tensor._make_wrapper_subclass(cls, held.shape, dtype=held.dtype, device=DEVICE, **layout)
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    def __repr__(self):
        return f"There({self.held})"

    def __deepcopy__(self, memo):
        copied = self.detach().clone().requires_grad_(self.requires_grad)
        memo[id(self)] = nn.Parameter(copied, self.requires_grad) if isinstance(self, nn.Parameter) else copied
        return memo[id(self)]

    def tolist(self):
        _waits("tolist")
        return self.held.tolist()

    def numpy(self, *arguments, **options):
        raise TypeError("a tensor on a device cannot become an array: use .cpu() first")

    __array__ = numpy


class _Everything(TorchDispatchMode):
    """Also sees what makes tensors and takes none."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class Generator(torch.Generator):
    """A generator that is known by the device for which it was made; torch hands on others with the same content."""

    def __new__(cls, device="cpu"):
        made = super().__new__(cls)
        if _is_there(device):
            OF_DEVICE[made._cdata] = made
        return made

    def __init__(self, device="cpu"):
        pass


def _is_there(device):
    return device is not None and torch.device(device).type == DEVICE.type


def _waits(what):
    ours = [frame for frame in traceback.extract_stack() if f"{os.sep}vgglib{os.sep}" in frame.filename]
    WAITS[what, f"{Path(ours[-1].filename).name}: {ours[-1].line}" if ours else ""] += 1


def _here(value):
    return value.held if isinstance(value, There) else value


def _run(func, args, kwargs):
    """Do it on the CPU, and refuse what a device would."""
    flat, _ = tree_flatten((args, kwargs))
    there = [one for one in flat if isinstance(one, There)]
    here = [one for one in flat if isinstance(one, torch.Tensor) and not isinstance(one, There)]
    outcome = bool(there)  # whether what comes out lies there
    kwargs = {name: value for name, value in kwargs.items() if name != "pin_memory"}
    if kwargs.get("device") is not None:
        outcome = _is_there(kwargs["device"])
        kwargs["device"] = torch.device("cpu")
    for one in flat:
        if isinstance(one, Generator.__base__) and (one._cdata in OF_DEVICE) != outcome:
            raise RuntimeError(f"{func}: the generator is on another device")
    if there and here and func not in (aten._to_copy.default, aten.copy_.default):
        indices = func in (aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default)
        if (
            indices
            and isinstance(args[0], There)
            and (len(args) < 3 or isinstance(args[2], There) or args[2].dim() == 0)
        ):
            _waits("indices from the CPU")
        elif any(one.dim() for one in here):
            shapes = [tuple(one.shape) for one in here]
            raise RuntimeError(f"{func}: expected all tensors on the same device, but those of {shapes} are on the CPU")
    if there and func in (aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default):
        _waits(str(func))
    if (there and not outcome) or (func is aten.copy_.default and there and not isinstance(args[0], There)):
        _waits("to the CPU")
    if (
        there
        and func is aten.index.Tensor
        and any(index is not None and index.dtype == torch.bool for index in args[1])
    ):
        _waits("a mask")
    done = func(*tree_map(_here, args), **tree_map(_here, kwargs))
    if func is aten.copy_.default:
        return args[0]
    if not outcome:
        return done
    if func is aten._to_copy.default and any(done is one for one in here):
        done = done.clone()
    known = {id(one.held): one for one in there}

    def carried(one):
        return (known[id(one)] if id(one) in known else There(one)) if isinstance(one, torch.Tensor) else one

    return tree_map(carried, done)


@contextlib.contextmanager
def pretended():
    """Within, tensors and networks can be moved to DEVICE."""
    plain, plain_as = torch.tensor, torch.as_tensor

    def tensor(data, *, device=None, **options):
        return plain(data, **options).to(device or "cpu")

    def as_tensor(data, dtype=None, device=None):
        if isinstance(data, There):
            return data.to(device or data.device, dtype or data.dtype)
        return plain_as(data, dtype=dtype).to(device or "cpu")

    new = {"tensor": tensor, "as_tensor": as_tensor, "Generator": Generator}
    with contextlib.ExitStack() as stack:
        for name, value in new.items():
            stack.enter_context(mock.patch.object(torch, name, value))
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, False)
        stack.enter_context(_Everything())
        yield


def mixing():
    X = torch.ones(2, device=DEVICE)
    for wrong in (
        lambda: X + torch.ones(2),
        lambda: torch.ones(2)[X.long()],
        lambda: X.numpy(),
        lambda: torch.rand(2, device=DEVICE, generator=torch.Generator()),
        lambda: torch.rand(2, generator=torch.Generator(DEVICE)),
        lambda: torch.nn.Linear(2, 2)(X),
    ):
        try:
            wrong()
        except (RuntimeError, TypeError):
            continue
        raise AssertionError("two devices were mixed, and nothing was said")
    assert (X + torch.tensor(1.0)).sum().item() == 4  # a lone number may come from the CPU
    assert WAITS.total() > 0


def training():
    """As on a GPU, no step waits for the device: all that a step adds is one copy, which is not waited for."""
    from test_training import TINY, patterns

    from vgglib import training
    from vgglib.guard import Guard
    from vgglib.training import build, fit

    recipe = replace(TINY, fused=True, flip=True, scale=(12, 16), batch_size=10, epochs=1)
    as_on_cuda = mock.patch.object(
        training, "Guard", lambda optimiser, device, wait: Guard(optimiser, device, wait=False)
    )
    seen = {}
    for steps in (4, 12):
        train = patterns(10 * steps)
        net = build(recipe, train, 0).to(DEVICE)
        WAITS.clear()
        with as_on_cuda:
            fit(net, train, None, recipe, 0, DEVICE)
        seen[steps] = Counter(WAITS)
    more = seen[12] - seen[4]
    assert more.total() == 8, more
    assert all("non_blocking=True" in line for _, line in more), more

    train, recipe = patterns(60), replace(recipe, epochs=3)
    whole, begun, gone_on = (build(recipe, train, 0) for _ in range(3))
    fit(whole, train, train[:20], recipe, 0, DEVICE)
    with tempfile.TemporaryDirectory() as folder:
        try:
            fit(begun, train, train[:20], recipe, 0, DEVICE, checkpoint=Path(folder), every=1, watch=_stops_after(2))
        except KeyboardInterrupt:
            fit(gone_on, train, train[:20], recipe, 0, DEVICE, checkpoint=Path(folder), every=1)
        else:
            raise AssertionError("the run was not stopped")
    ends = [torch.nn.utils.parameters_to_vector(net.parameters()).cpu() for net in (whole, begun, gone_on)]
    assert torch.equal(ends[0], ends[2])
    assert not torch.equal(ends[0], ends[1])


def _stops_after(epochs):
    def watch(history):
        if len(history.epochs) == epochs:
            raise KeyboardInterrupt

    return watch


def testing():
    from test_training import patterns

    from vgglib.evaluation import accuracy, dense, ensemble, multi_crop, over_scales, single_crop
    from vgglib.model import VGG, initialise

    images, labels = patterns(20).images, patterns(20).labels
    net = initialise(VGG("8 | 8 |", 1, 4, 12, hidden=8), "he", seed=0).eval()
    answers = []
    for device in ("cpu", DEVICE):
        net = net.to(device)
        one = single_crop(net, images, bf16=False)
        two = over_scales(dense, net, images, (12, 16), bf16=False)
        three = multi_crop(net, images, 16, grid=2, bf16=False)
        assert 0 <= accuracy(one, labels) <= 1
        answers.append(torch.stack([one, two, three, ensemble([two, three])]).cpu())
    torch.testing.assert_close(*answers)


def rebuilding():
    from vgglib.compress import lighter_head, low_rank, pruned, replace_fc6
    from vgglib.model import VGG, fully_convolutional, initialise, warm_start
    from vgglib.repvgg import folded, with_branches
    from vgglib.residual import with_shortcuts

    def there(batch_norm=False, notation="8 8 | 8 8 |"):
        return VGG(notation, 1, 4, 12, hidden=8, batch_norm=batch_norm).to(DEVICE).eval()

    net, X = there(), torch.rand(2, 1, 12, 12, device=DEVICE)
    fc6, warm = net.classifier[0], there()
    drawn = [initialise(one, "glorot", seed=2).features[0].weight.cpu() for one in (there(), there().cpu())]
    assert torch.equal(*drawn)
    assert warm_start(warm, there(notation="8 | 8 |"))
    for made in (
        *(initialise(there(), how, seed=1) for how in ("he", "glorot", "normal-0.01")),
        warm,
        with_shortcuts(there(batch_norm=True)).eval(),
        with_branches(there(), seed=0).eval(),
        folded(with_branches(there(), seed=0).eval()),
        *(replace_fc6(there(), layer) for layer in (low_rank(fc6, 2), pruned(fc6, 0.5))),
        *(lighter_head(there(), head).eval() for head in ("linear", "average")),
        fully_convolutional(net),
    ):
        assert made(X).device == DEVICE


def counting():
    from test_training import TINY, patterns

    from vgglib.cost import cost
    from vgglib.gradients import effective
    from vgglib.model import VGG
    from vgglib.receptive_field import trace
    from vgglib.training import build, estimate

    net = VGG("8 | 8 |", 1, 4, 12, hidden=8)
    before = cost(net, 12).macs, dict(trace(net.features, 12)), effective(net.features, 12, samples=2)
    net = net.to(DEVICE)
    assert (cost(net, 12).macs, dict(trace(net.features, 12))) == before[:2]
    after = effective(net.features, 12, samples=2)
    assert (after.node, after.unit, after.window) == (before[2].node, before[2].unit, before[2].window)
    assert abs(after.map - before[2].map).max() < 1e-6
    assert {one.device for one in net.parameters()} == {DEVICE}
    train = patterns(40)
    for there in (False, True):
        trained = build(TINY, train, 0).to(DEVICE if there else "cpu")
        where, asked = next(trained.parameters()).device, []
        trained.register_forward_pre_hook(lambda net, given, asked=asked: asked.append(given[0].device))
        assert estimate(trained, train, TINY, steps=1, device=DEVICE).seconds > 0
        assert {one.device for one in trained.parameters()} == {where}
        assert set(asked) == {DEVICE}  # a copy keeps the hook


CHECKS = (mixing, training, testing, rebuilding, counting)


def chapter(number):
    """How many cells of a chapter fail where its networks go to the device; their errors are printed."""
    from IPython.core.interactiveshell import InteractiveShell

    (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    os.chdir(path.parent)
    shell, failed = InteractiveShell(), 0
    for place, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] == "code":
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
                done = shell.run_cell("".join(cell["source"]), silent=True)
            if error := done.error_before_exec or done.error_in_exec:
                failed += 1
                print(f"{path.name}, cell {place}:", *traceback.format_exception(error)[-3:], flush=True)
    print(f"{path.name}: {failed} cells failed")
    return failed


def main(numbers):
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(ROOT / "tests"))
    if not numbers:
        with pretended():
            for check in CHECKS:
                WAITS.clear()
                check()
                print(f"{check.__name__}: all is where it should be", flush=True)
        return 0
    import importlib
    import pkgutil

    import vgglib

    modules = [importlib.import_module(f"vgglib.{one.name}") for one in pkgutil.iter_modules(vgglib.__path__)]
    with contextlib.ExitStack() as stack:
        for module in modules:
            if hasattr(module, "best_device"):
                stack.enter_context(mock.patch.object(module, "best_device", return_value=DEVICE))
        stack.enter_context(pretended())
        return int(sum(map(chapter, numbers)) > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
