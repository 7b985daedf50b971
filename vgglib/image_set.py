"""What a network is trained and tested on: labelled pictures in memory, and what it takes to choose among them.

Pictures in files are vgglib.folders' FolderSet, which has the same methods, no ``images``, and ``batches`` of its own.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from vgglib.augment import colour_axes
from vgglib.devices import known_device
from vgglib.sizes import torch_seed, whole

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """Labelled images on one device.

    images: uint8, (N, C, H, W), 0 to 255. labels: int64, (N,), positions in ``classes``. Never empty.
    classes: a list of names, or of anything else that tells them apart; by default Fashion-MNIST's ten.
    Raises ValueError naming what was expected and what was given.
    """

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...] = CLASSES

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", class_names(self.classes))
        for name, dtype, shape in [("images", torch.uint8, "(N, C, H, W)"), ("labels", torch.int64, "(N,)")]:
            tensor = getattr(self, name)
            if not isinstance(tensor, torch.Tensor):
                raise ValueError(f"{name} must be a torch tensor, got {type(tensor).__name__}")
            if tensor.dtype != dtype or tensor.ndim != shape.count(",") + (name == "images"):
                got = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
                raise ValueError(f"{name} must be {dtype} of shape {shape}, got {got}")
            if tensor.numel() == 0:
                raise ValueError(f"{name} must not be empty, got shape {tuple(tensor.shape)}")
        if len(self.images) != len(self.labels):
            raise ValueError(f"every image needs one label, got {len(self.images)} images, {len(self.labels)} labels")
        if self.images.device != self.labels.device:
            raise ValueError(f"expected one device, got images on {self.images.device}, labels on {self.labels.device}")
        # on the host: on a GPU a wrong label would only show in the loss, and take the process with it
        labels = self.labels.cpu()
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= len(self.classes):
            raise ValueError(f"labels must be 0 to {len(self.classes) - 1}, got {low if low < 0 else high}")

    @cached_property
    def contents(self) -> str:
        """A digest of the pixels: what tells these pictures from as many others with the same labels."""
        return hashlib.sha256(self.images.cpu().contiguous().numpy()).hexdigest()[:16]

    @cached_property
    def colour_axes(self) -> torch.Tensor:
        """The principal axes of the colours, (3, 3), on the device, as vgglib.augment.colour_axes has them."""
        return colour_axes(self.images).to(self.images.device)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.images.shape[1:]))
        return f"ImageSet({len(self)} images of {size}, {len(self.classes)} classes, {self.images.device})"

    def __getitem__(self, index: slice | int) -> "ImageSet | tuple[torch.Tensor, int]":
        """The images of a slice, sharing memory with this set; or one image, uint8 (C, H, W), with its label.

        So torch's DataLoader takes a set as it is. Raises IndexError beyond the set, TypeError for anything else.
        """
        if not isinstance(index, slice):
            at = position(index, len(self))
            return self.images[at], int(self.labels[at])
        return ImageSet(self.images[index], self.labels[index], self.classes)

    def subset(self, indices: Sequence[int] | np.ndarray | torch.Tensor) -> "ImageSet":
        """The images at these positions, in this order, copied; or those where a mask of N booleans is true.

        Raises ValueError for an empty or wrongly shaped choice, IndexError for a position outside -N..N-1.
        """
        chosen = positions(indices, len(self)).to(self.images.device)
        return ImageSet(self.images[chosen], self.labels[chosen], self.classes)

    def split(self, validation: int = 5000, seed: int = 0) -> tuple["ImageSet", "ImageSet"]:
        """The set without ``validation`` images drawn at random, and these images.

        Depends on ``seed`` alone and leaves the global random state untouched. The draw is not stratified: the
        classes are as even as chance makes them. Both parts keep the order of the set and are copies.
        Raises ValueError unless ``validation`` is a number of images that leaves neither part empty.
        """
        rest, drawn = drawn_apart(len(self), validation, seed)
        return self.subset(rest), self.subset(drawn)

    def to(self, device: str | torch.device) -> "ImageSet":
        """The same set on another device; ValueError for one that torch does not know, or that is not here."""
        device = known_device(device)
        return ImageSet(self.images.to(device), self.labels.to(device), self.classes)

    def mean_and_std(self) -> tuple[float, float] | tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation over all pixels, scaled to 0..1: two numbers; for each channel, (C,), if several.

        Section 2.1 subtracts the mean RGB value.
        """
        levels, found = torch.arange(256, dtype=torch.float64) / 255, []
        for channel in self.images.unbind(1):
            # the counts of 256 grey levels are exact, and need no 376 MB copy of the training images as doubles
            counts = torch.bincount(channel.flatten(), minlength=256).cpu().double()
            mean = (counts * levels).sum() / counts.sum()
            variance = (counts * (levels - mean) ** 2).sum() / counts.sum()
            found.append((mean.item(), variance.sqrt().item()))
        return found[0] if len(found) == 1 else tuple(map(torch.tensor, zip(*found, strict=True)))


def channels_of(train: ImageSet) -> int:
    """Return the channels of a set's pictures, whether it has them in memory or in files."""
    return train.channels if is_streamed(train) else train.images.shape[1]


def is_streamed(pictures: ImageSet) -> bool:
    """Return whether a set reads its pictures while training, as vgglib.data.image_folder's does."""
    return hasattr(pictures, "batches")


def on_device(train: ImageSet, device: torch.device) -> ImageSet:
    """Return a set on a device; one that is read while training gives its batches there."""
    return train.to(device) if hasattr(train, "to") else train


def class_names(classes: Sequence[str]) -> tuple[str, ...]:
    """The names of classes as a tuple; ValueError for what is no list of them, and for a name given twice."""
    if isinstance(classes, str):
        raise ValueError(f"classes must be a list of names, got {classes!r}: write [{classes!r}]")
    if isinstance(classes, set | frozenset):
        raise ValueError("classes must be in an order, which a set has not: give a list")
    if not isinstance(classes, Iterable):
        raise ValueError(f"classes must be a list of names, got {classes!r}")
    names = tuple(classes)
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise ValueError(f"classes name {twice[0]!r} twice")
    return names


def drawn_apart(count: int, validation: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The positions of ``count`` images, in order, without ``validation`` that are drawn at random, and these."""
    number = 0
    with suppress(ValueError):
        number = whole(validation, "validation")
    if not 1 <= number < count:
        raise ValueError(f"validation must be a number of images from 1 to {count - 1}, got {validation!r}")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(torch_seed(seed)))
    return order[number:].sort().values, order[:number].sort().values


def position(index: int, count: int) -> int:
    """Return a position in a set of ``count``, from 0; IndexError beyond it, TypeError for no whole number."""
    try:
        at = whole(index, "a position")
    except ValueError:
        several = "for several positions use .subset([...])"
        raise TypeError(f"a set takes a position, or slices such as [:100], got {index!r}; {several}") from None
    if not -count <= at < count:
        raise IndexError(f"there is no picture {at} in a set of {count}")
    return at % count


def positions(indices: Sequence[int] | np.ndarray | torch.Tensor, count: int) -> torch.Tensor:
    """The positions, int64 on the host, that ``indices`` chooses from ``count``: whole numbers, or ``count`` booleans.

    Raises ValueError for an empty or wrongly shaped choice, IndexError for a position outside -count..count-1.
    """
    chosen = torch.as_tensor(indices).cpu()
    if chosen.dtype == torch.bool and chosen.shape == (count,):
        chosen = chosen.nonzero().flatten()
    if chosen.numel() == 0:
        raise ValueError("indices must choose at least one image, got none")
    if chosen.ndim != 1 or chosen.dtype == torch.bool or chosen.is_floating_point() or chosen.is_complex():
        got = f"{chosen.dtype} of shape {tuple(chosen.shape)}"
        raise ValueError(f"indices must be whole numbers in one row, or {count} booleans, got {got}")
    low, high = int(chosen.min()), int(chosen.max())
    if low < -count or high >= count:
        raise IndexError(f"indices must be below {count}, got {high if high >= count else low}")
    return chosen.long()
