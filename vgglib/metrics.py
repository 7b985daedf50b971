"""What is told of posteriors and labels: accuracy, the paper's top-1 and top-5 error (section 4), the confusions."""

import torch
from torch import Tensor


def accuracy(posteriors: Tensor, labels: Tensor) -> float:
    """Return the share of pictures whose largest posterior is that of their label, from 0 to 1.

    A row that is not finite counts as wrong: a network that died must not score the share of class 0.
    """
    _check(posteriors, labels)
    right = (posteriors.argmax(dim=1) == labels.to(posteriors.device)) & posteriors.isfinite().all(dim=1)
    return right.sum().item() / len(right)


def top1_error(posteriors: Tensor, labels: Tensor) -> float:
    """Return the share of pictures that are classified wrongly, from 0 to 1 (the paper prints it in percent)."""
    return 1 - accuracy(posteriors, labels)


def top5_error(posteriors: Tensor, labels: Tensor) -> float:
    """Return the share of pictures whose label is not among the five largest posteriors, from 0 to 1 (section 4).

    Raises ValueError for five classes or fewer, where it could not but be 0. A row that is not finite counts as wrong.
    """
    _check(posteriors, labels)
    if posteriors.shape[1] <= 5:
        raise ValueError(f"the top-5 error needs more than 5 classes, got {posteriors.shape[1]}")
    found = (posteriors.topk(5).indices == labels.to(posteriors.device)[:, None]).any(dim=1)
    return 1 - (found & posteriors.isfinite().all(dim=1)).sum().item() / len(labels)


def confusion(posteriors: Tensor, labels: Tensor) -> Tensor:
    """Return counts (classes, classes): how often a picture of the row's class was given the column's class.

    Raises ValueError for posteriors that are not finite: a network that died gives no answers to count.
    """
    _check(posteriors, labels)
    if dead := (~posteriors.isfinite().all(dim=1)).sum().item():
        raise ValueError(f"{dead} of {len(posteriors)} rows of posteriors are not finite: the network has died")
    classes = posteriors.shape[1]
    pairs = labels.to(posteriors.device, torch.int64) * classes + posteriors.argmax(dim=1)
    return pairs.bincount(minlength=classes**2).view(classes, classes)


def _check(posteriors: Tensor, labels: Tensor) -> None:
    for what, given in (("posteriors", posteriors), ("labels", labels)):
        if not isinstance(given, Tensor):
            raise ValueError(f"{what} must be a tensor, got a {type(given).__name__}: torch.as_tensor makes one")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be whole numbers, the places of the classes, got {labels.dtype}")
    if posteriors.dim() != 2 or labels.dim() != 1 or len(posteriors) != len(labels) or len(labels) == 0:
        raise ValueError(
            f"expected posteriors (N, classes) and N labels, got {tuple(posteriors.shape)} and {tuple(labels.shape)}"
        )
    low, high, classes = labels.min().item(), labels.max().item(), posteriors.shape[1]
    if low < 0 or high >= classes:
        raise ValueError(f"labels run from {low} to {high}, but the posteriors are for 0 to {classes - 1} only")
