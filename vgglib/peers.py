"""The only file that imports torchvision's models and d2l, for comparison: each when called, not before."""

import contextlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from vgglib.checkpoint import CheckpointError, load_pt
from vgglib.data import DataError, check, prepare
from vgglib.devices import cpu_dice
from vgglib.model import VGG
from vgglib.sizes import torch_seed

BOOK = Path(__file__).resolve().parent.parent

TORCHVISION_NAMES = {"A": "vgg11", "B": "vgg13", "D": "vgg16", "E": "vgg19"}  # it has no A-LRN and no C


D2L_NAMES = (
    *("load_data_fashion_mnist", "train_ch6", "evaluate_accuracy_gpu"),
    *("Animator", "Accumulator", "Timer", "try_gpu"),
)


class PeerMissing(ImportError):
    """A library that we compare ourselves with is absent or broken; the rest of the book works without it."""


def peer(module: str) -> ModuleType:
    """Return an imported library; PeerMissing says why there is none, and what to do."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # a torchvision that does not match torch fails with RuntimeError
        raise PeerMissing(
            f"{module} cannot be imported ({type(error).__name__}: {error}); the comparison with it is left out, all "
            "else works. To mend it: pip install -r requirements.txt"
        ) from error


def torchvision_vgg(configuration: str, batch_norm: bool = False, seed: int = 0, **options: object) -> nn.Module:
    """Return torchvision's network for configuration A, B, D or E, with random weights from ``seed``.

    Raises ValueError for C and A-LRN, which torchvision does not have, PeerMissing without torchvision.
    """
    if configuration not in TORCHVISION_NAMES:
        raise ValueError(f"torchvision has no configuration {configuration!r}, only {', '.join(TORCHVISION_NAMES)}")
    name = TORCHVISION_NAMES[configuration] + ("_bn" if batch_norm else "")
    models = peer("torchvision.models")
    with cpu_dice(torch_seed(seed)):
        return getattr(models, name)(weights=None, **options)


def from_torchvision(theirs: nn.Module, configuration: str, batch_norm: bool | None = None) -> VGG:
    """Return our network with torchvision's weights; RuntimeError names the keys if they do not fit.

    batch_norm: whether there is batch normalisation, by default as in theirs.
    It is in the mode (training or evaluation), on the device and in the number format of theirs, with their dropout
    and with what is frozen frozen.
    Raises ValueError for a network without a classifier that ends in a linear layer.
    A state dict holds no mean and spread of pixels: net.mean stays 0 and net.std 1, so vgglib.evaluation hands pixels
    in 0..1 on as they are. imagenet_network() sets both for the published weights.
    """
    head = getattr(theirs, "classifier", None)
    if not isinstance(head, nn.Sequential) or not len(head) or not isinstance(head[-1], nn.Linear):
        raise ValueError(f"expected one of torchvision's VGG networks, got a {type(theirs).__name__}")
    weight = next(theirs.parameters())
    if batch_norm is None:
        batch_norm = any(isinstance(module, nn.BatchNorm2d) for module in theirs.modules())
    ours = _without_weights(configuration, num_classes=head[-1].out_features, batch_norm=batch_norm)
    ours.to(weight.dtype).to_empty(device=weight.device).load_state_dict(theirs.state_dict())
    ours.mean.zero_()
    ours.std.fill_(1)
    for name, parameter in ours.named_parameters():
        parameter.requires_grad_(theirs.get_parameter(name).requires_grad)
    both = ([layer for layer in net.classifier if isinstance(layer, nn.Dropout)] for net in (ours, theirs))
    for mine, other in zip(*both, strict=False):
        mine.p = other.p
    return ours.train(theirs.training)


def _without_weights(configuration: str, **options: object) -> VGG:
    """Return a network on device "meta": no first weights are drawn where others follow."""
    with torch.device("meta"):
        return VGG(configuration, **options)


def imagenet_network(configuration: str = "D", path: str | os.PathLike | None = None) -> VGG:
    """Return our network with the ImageNet weights that torchvision publishes, and with its mean and spread of pixels.

    path: the file, by default where torchvision keeps what it has downloaded. Nothing is downloaded here: PeerMissing
    says how to get the file if it is absent. Raises RuntimeError, naming the keys, if the weights do not fit,
    CheckpointError, naming the file, if it is damaged or holds anything but finite weights, and ValueError for C and
    A-LRN.
    """
    if configuration not in TORCHVISION_NAMES:
        raise ValueError(f"torchvision has no configuration {configuration!r}, only {', '.join(TORCHVISION_NAMES)}")
    name = TORCHVISION_NAMES[configuration]
    found = sorted((Path(torch.hub.get_dir()) / "checkpoints").glob(f"{name}-*.pth")) if path is None else [Path(path)]
    if path is not None and not found[0].is_file():
        raise PeerMissing(f"{path} {'is a folder, not a file' if found[0].is_dir() else 'does not exist'}")
    if not found:
        raise PeerMissing(
            f"no weights of {name} in {Path(torch.hub.get_dir()) / 'checkpoints'}; to download "
            f'them (about 0.5 GB): torchvision.models.{name}(weights="IMAGENET1K_V1")'
        )
    try:
        weights = load_pt(found[0])
    except CheckpointError as error:
        raise CheckpointError(f"{found[0]} holds no sound weights only: delete it and download it again") from error
    net = _without_weights(configuration).to_empty(device="cpu")
    net.load_state_dict(weights)
    net.mean.copy_(torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
    net.std.copy_(torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
    return net.eval()


OXFORD_MEAN = (103.939, 116.779, 123.68)  # blue, green, red, of pixels in 0..255


def with_oxford_preprocessing(net: VGG) -> VGG:
    """Return ``net``, which holds the weights that the authors published, made to take RGB pictures as all others do.

    Their networks expect blue, green, red, pixels in 0..255, less OXFORD_MEAN. The first layer's weights are put in
    RGB order in place, and the mean goes where prepared() finds it. Raises ValueError unless this is a VGG with three
    input channels, and where it was done before: a second time would undo the first.
    """
    if not isinstance(net, VGG):
        raise ValueError(
            f"expected a vgglib.model.VGG, got a {type(net).__name__}: do this first, then convert or wrap it"
        )
    if net.in_channels != 3:
        raise ValueError(f"Oxford's networks see three channels, this one {net.in_channels}")
    if torch.allclose(net.std, torch.full_like(net.std, 1 / 255)):
        raise ValueError("this network takes RGB pictures already: a second time would turn its colours back")
    with torch.no_grad():
        net.features[0].weight.copy_(net.features[0].weight.flip(1).clone())
    net.mean.copy_(torch.tensor(OXFORD_MEAN[::-1]).view(1, 3, 1, 1) / 255)
    net.std.fill_(1 / 255)
    return net


def d2l() -> ModuleType:
    """Return d2l's PyTorch library; PeerMissing if it is absent or a release whose training loop is another one."""
    library = peer("d2l.torch")
    if lacking := [name for name in D2L_NAMES if not hasattr(library, name)]:
        raise PeerMissing(f"this d2l lacks {', '.join(lacking)}: pip install d2l==1.0.0a1.post0")
    return library


def d2l_network(ratio: int = 1) -> nn.Sequential:
    """Return the article's VGG-11 as it is written there: greyscale 224 x 224, ten classes, channels over ``ratio``."""
    layers, channels = [], 1
    for num_convs, out in ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512)):
        for _ in range(num_convs):
            layers += [nn.Conv2d(channels, out // ratio, 3, padding=1), nn.ReLU()]
            channels = out // ratio
        layers.append(nn.MaxPool2d(2, 2))
    first = [nn.Flatten(), nn.Linear(channels * 49, 4096), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, *first, nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4096, 10))


def d2l_train(net: nn.Module, epochs: int, learning_rate: float, batch_size: int, resize: int = 224) -> float:
    """Train ``net`` by d2l's own loader and loop on d2l's choice of device, and return its test accuracy, 0 to 1.

    Draws d2l's plot where there is a notebook. Raises PeerMissing without d2l.
    """
    library = d2l()
    with d2l_folder():
        train, test = library.load_data_fashion_mnist(batch_size, resize)
        device = library.try_gpu()
        library.train_ch6(net, train, test, epochs, learning_rate, device)
        return library.evaluate_accuracy_gpu(net, test, device)


@contextlib.contextmanager
def d2l_folder() -> Iterator[None]:
    """Stand in notebooks/ with the data verified and extracted: d2l looks in ../data. DataError if they are not."""
    prepare(BOOK / "data")
    if faults := [f"{name}: {what}" for name, fine, what in check(BOOK / "data") if not fine]:
        raise DataError(f"d2l would read data that nobody verified: {faults[0]}")
    here = os.getcwd()
    os.chdir(BOOK / "notebooks")
    try:
        yield
    finally:
        os.chdir(here)
