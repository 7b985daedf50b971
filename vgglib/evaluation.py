"""Testing a network (sections 3.2 and 4): every method returns class posteriors (N, classes)."""

import torch
from torch import Tensor, nn

from vgglib.augment import view
from vgglib.data import ImageSet
from vgglib.devices import autocast, device_of, fast_in_bf16


def prepared(net: nn.Module, pictures: Tensor) -> Tensor:
    """Return pictures in 0..1 less the network's mean, over its standard deviation (0 and 1 where it has none).

    Raises ValueError for another number of channels, which the subtraction would otherwise spread one over.
    """
    channels = getattr(net, "in_channels", pictures.shape[1])
    if pictures.shape[1] != channels:
        raise ValueError(f"the network was built for {channels} channels, the pictures have {pictures.shape[1]}")
    return (pictures - getattr(net, "mean", 0.0)) / getattr(net, "std", 1.0)


@torch.no_grad()
def single_crop(
    net: nn.Module, images: Tensor, scale: int | None = None, batch_size: int = 500, bf16: bool | None = None
) -> Tensor:
    """Return the class posteriors (N, classes) of the centre crop of each picture.

    images: uint8 (N, C, H, W), rescaled so that their smallest side is ``scale`` pixels (the test scale Q;
    by default the side the network was built for), then cropped in the middle to ``net.image_size``.
    bf16: compute in bfloat16; by default where the device is fast in it. The network is left in the mode it was in.
    Raises ValueError for an empty batch and for a scale below the crop.
    """
    if len(images) == 0:
        raise ValueError("there are no pictures to classify")
    device, modes = device_of(net), {module: module.training for module in net.modules()}
    crop = getattr(net, "image_size", tuple(images.shape[2:]))
    bf16 = fast_in_bf16(device) if bf16 is None else bf16
    net.eval()
    try:
        posteriors = []
        for batch in images.split(batch_size):
            X = prepared(net, view(batch.to(device), crop, scale))
            with autocast(device, bf16):
                scores = net(X)
            posteriors.append(scores.float().softmax(dim=1))
    finally:
        for module, mode in modes.items():
            module.training = mode
    return torch.cat(posteriors)


def accuracy(posteriors: Tensor, labels: Tensor) -> float:
    """Return the share of pictures whose largest posterior is that of their label, from 0 to 1.

    A row that is not finite counts as wrong: a network that died must not score the share of class 0.
    """
    _check(posteriors, labels)
    right = (posteriors.argmax(dim=1) == labels.to(posteriors.device)) & posteriors.isfinite().all(dim=1)
    return right.double().mean().item()


def top1_error(posteriors: Tensor, labels: Tensor) -> float:
    """Return the share of pictures that are classified wrongly, from 0 to 1 (the paper prints it in percent)."""
    return 1 - accuracy(posteriors, labels)


def _check(posteriors: Tensor, labels: Tensor) -> None:
    if posteriors.dim() != 2 or len(posteriors) != len(labels) or len(labels) == 0:
        raise ValueError(
            f"expected posteriors (N, classes) and N labels, got {tuple(posteriors.shape)} and {tuple(labels.shape)}"
        )
    low, high, classes = labels.min().item(), labels.max().item(), posteriors.shape[1]
    if low < 0 or high >= classes:
        raise ValueError(f"labels run from {low} to {high}, but the posteriors are for 0 to {classes - 1} only")


def confusion(posteriors: Tensor, labels: Tensor) -> Tensor:
    """Return counts (classes, classes): how often a picture of the row's class was given the column's class.

    Raises ValueError for posteriors that are not finite: a network that died gives no answers to count.
    """
    _check(posteriors, labels)
    if dead := (~posteriors.isfinite().all(dim=1)).sum().item():
        raise ValueError(f"{dead} of {len(posteriors)} rows of posteriors are not finite: the network has died")
    classes = posteriors.shape[1]
    pairs = labels.to(posteriors.device) * classes + posteriors.argmax(dim=1)
    return pairs.bincount(minlength=classes**2).view(classes, classes)


def accuracy_on(net: nn.Module, images: ImageSet, scale: int | None = None) -> float:
    """Return the accuracy of ``net`` by single_crop on a labelled set."""
    return accuracy(single_crop(net, images.images, scale), images.labels)
