"""Testing a network (sections 3.2 and 4): every method returns class posteriors (N, classes).

Posteriors, not scores, are what flips, crops, scales and networks average; dense evaluation alone averages scores
first, over the positions of one map. Taught in notebooks/07_testing.ipynb.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vgglib import sizes
from vgglib.augment import crop_offsets, expect_pictures, expect_truth, view, whole
from vgglib.devices import autocast, device_of, fast_in_bf16
from vgglib.image_set import ImageSet
from vgglib.largest_batch import halving
from vgglib.metrics import accuracy as accuracy  # the measures are part of this interface
from vgglib.metrics import confusion as confusion
from vgglib.metrics import top1_error as top1_error
from vgglib.metrics import top5_error as top5_error
from vgglib.model import VGG, FullyConvolutional, fully_convolutional, unwrapped
from vgglib.modes import evaluation
from vgglib.preparing import laid_out as laid_out
from vgglib.preparing import prepared as prepared
from vgglib.progress import Progress, duration

if TYPE_CHECKING:
    from vgglib.folders import FolderSet


@torch.no_grad()
def single_crop(
    net: nn.Module,
    images: Tensor,
    scale: int | None = None,
    batch_size: int | None = None,
    bf16: bool | None = None,
    crop: int | tuple[int, int] | None = None,
) -> Tensor:
    """Return the class posteriors (N, classes) of the centre crop of each picture.

    images: uint8 (N, C, H, W), rescaled so that their smallest side is ``scale`` pixels (the test scale Q;
    by default that of the crop), then cropped in the middle to ``crop``, by default ``net.image_size``.
    batch_size: as for dense. bf16: compute in bfloat16; by default where the device is fast in it. The network is left
    in the mode it was in. Raises ValueError for an empty batch, for a scale below the crop, and for a network that
    gives a map of scores.
    """
    crop = _crop(net, images, scale) if crop is None else sizes.height_and_width(crop, "crop")
    per_batch = _per_batch(images, crop, crop, batch_size)
    with _testing(net, images, per_batch, bf16, tell="") as batches:
        return torch.cat(
            [_posteriors(net(laid_out(net, prepared(net, view(batch, crop, scale))))) for batch in batches]
        )


@torch.no_grad()
def of_views(net: nn.Module, views: Tensor, bf16: bool | None = None) -> Tensor:
    """Return the class posteriors (N, classes) of pictures that are crops already: floats (N, C, H, W) in 0..1.

    They go through the network together, in evaluation mode. bf16: as for single_crop.
    """
    with _testing(net, views, len(views), bf16, tell="") as batches:
        return torch.cat([_posteriors(net(laid_out(net, prepared(net, X)))) for X in batches])


@torch.no_grad()
def score_map(
    net: nn.Module, images: Tensor, scale: int | None = None, batch_size: int | None = None, bf16: bool | None = None
) -> Tensor:
    """Return the scores (N, classes, h, w) that the fully convolutional network gives over the whole pictures.

    images: uint8 (N, C, H, W), rescaled so that their smallest side is ``scale`` pixels (the test scale Q; by default
    the smaller side of the crop that the network was trained on). batch_size: as for dense. Section 3.2.
    Raises ValueError for an empty batch and for a scale below the crop.
    """
    with _maps(net, images, scale, batch_size, bf16, tell="") as maps:
        return torch.cat([scores for scores, _ in maps(flip=False)])


@torch.no_grad()
def dense(
    net: nn.Module,
    images: Tensor,
    scale: int | None = None,
    flip: bool = True,
    batch_size: int | None = None,
    bf16: bool | None = None,
) -> Tensor:
    """Return the class posteriors (N, classes) of dense evaluation: the soft-max of the mean score over the map.

    The whole picture is seen, without cropping; with ``flip``, posteriors are averaged with the mirrored picture's.
    images: uint8 (N, C, H, W), rescaled so that their smallest side is ``scale`` pixels (the test scale Q; by default
    the smaller side of the network's crop). net: a VGG, or one that fully_convolutional gave. batch_size: how many
    pictures of the crop's size are in memory at once; of larger ones as many fewer. By default 500, of crops with more
    than 64 x 64 pixels as many fewer: 40 of 224 x 224. Section 3.2.
    Raises ValueError for an empty batch and for a scale below the crop.
    """
    expect_truth(flip, "flip")
    with _maps(net, images, scale, batch_size, bf16, tell="dense") as maps:
        found = []
        for scores, mirrored in maps(flip):
            posteriors = _posteriors(scores.mean(dim=(2, 3)))
            found.append((posteriors + _posteriors(mirrored.mean(dim=(2, 3)))) / 2 if flip else posteriors)
        return torch.cat(found)


@torch.no_grad()
def multi_crop(
    net: nn.Module,
    images: Tensor,
    scale: int | None = None,
    grid: int = 5,
    flip: bool = True,
    batch_size: int | None = None,
    bf16: bool | None = None,
) -> Tensor:
    """Return the mean class posteriors (N, classes) of ``grid`` x ``grid`` crops and their mirror images.

    The crops lie on a regular grid, from corner to corner, and overlap: 50 a scale for the paper's grid of 5 (section
    3.2). Those that coincide, as all do where the picture is no larger than the crop, are computed once. The mirror
    image of a picture is laid out with the same grid, so that a picture and its mirror image get the same.
    images, scale, batch_size: as for dense. Raises ValueError for an empty batch, a scale below the crop, a grid of 0.
    """
    expect_truth(flip, "flip")
    crop = _crop(net, images, scale)
    scale = min(crop) if scale is None else sizes.whole(scale, "a scale")
    per_batch, grid = _affordable(images, crop, scale, batch_size), sizes.whole(grid, "grid")
    with _testing(net, images, per_batch, bf16, tell=f"multi-crop at {scale}") as batches:
        found = []
        for batch in batches:
            pictures = prepared(net, whole(batch, scale))
            sides = zip(pictures.shape[2:], crop, strict=True)
            rows, columns = (list(Counter(crop_offsets(size, side, grid)).items()) for size, side in sides)
            both, total = (pictures, pictures.flip(3)) if flip else (pictures,), 0
            for top, often in rows:
                for places in zip(columns, reversed(columns), strict=True):  # a crop, then its mirror image
                    for side, (left, again) in zip(both, places, strict=False):
                        X = side[:, :, top : top + crop[0], left : left + crop[1]]
                        total = total + often * again * _posteriors(net(laid_out(net, X)))
            found.append(total / (grid**2 * (2 if flip else 1)))
        return torch.cat(found)


def over_scales(
    method: Callable[..., Tensor], net: nn.Module, images: Tensor, scales: Sequence[int], **options: object
) -> Tensor:
    """Return the mean of the posteriors that ``method`` (dense, multi_crop, single_crop) gives at each test scale.

    images: uint8 (N, C, H, W), the originals: each scale is made from them, not from another scale. options: passed
    on. Section 4.2. Raises ValueError for an empty list of scales, for a scale that is given twice, and for one below
    the crop.
    """
    if isinstance(scales, Integral):
        raise ValueError(f"expected a list of scales, got {scales}: write [{scales}]")
    scales = [] if scales is None else [sizes.whole(scale, "a scale") for scale in scales]
    if not scales:
        raise ValueError("there are no scales to test at: give at least one, such as scales=[28, 32, 48]")
    if twice := [scale for place, scale in enumerate(scales) if scale in scales[:place]]:
        raise ValueError(f"scale {twice[0]} is given twice: it would count twice in the mean posterior")
    return ensemble([method(net, images, scale, **options) for scale in scales])


def ensemble(posteriors: Iterable[Tensor]) -> Tensor:
    """Return the mean of several posteriors (N, classes): of scales, methods or networks (sections 4.2 to 4.4).

    That two networks mean the same by a column is not seen here: call expect_classes(net, classes) for each of them.
    Raises ValueError if there are none, if they are not of the same pictures and the same number of classes, and for
    what are no posteriors, such as scores. The rows of a network that died, nan, stay so, and count as wrong.
    """
    posteriors = list(posteriors)
    if not posteriors:
        raise ValueError("there are no posteriors to average")
    if strangers := [type(one).__name__ for one in posteriors if not isinstance(one, Tensor)]:
        raise ValueError(f"expected tensors (N, classes), got a {strangers[0]}: torch.as_tensor makes one of an array")
    for one in posteriors:
        if one.dim() != 2 or one.shape != posteriors[0].shape:
            shapes = " and ".join(str(tuple(each.shape)) for each in (posteriors[0], one))
            raise ValueError(f"posteriors of different pictures or classes have no average: {shapes}")
    for one in posteriors:  # bfloat16 rounds a sum of 1 by up to 0.004
        sums = one.sum(dim=1, dtype=torch.float32)
        if not one.is_floating_point() or (one < 0).any() or ((sums - 1).abs() > 0.01).any():
            raise ValueError(
                "expected posteriors, 0 or more with a sum of 1 in each row; of scores take .softmax(dim=1)"
            )
    return torch.stack([one.to(posteriors[0].device) for one in posteriors]).mean(dim=0)


def of_pictures(
    method: Callable[..., Tensor],
    net: nn.Module,
    pictures: "FolderSet | Iterable[tuple[Tensor, int]]",
    scales: Sequence[int],
    batch_size: int | None = None,
    **options: object,
) -> tuple[Tensor, Tensor]:
    """Return the posteriors (N, classes) and labels (N,) of pictures of any sizes, read one after the other.

    pictures: what vgglib.data.image_folder gives, or anything that yields uint8 (C, H, W) and a label. Neighbours of
    one size are tested together, and no more are ever in memory. batch_size: as for dense. Raises ValueError if there
    are no pictures, as over_scales does, and for a folder of other classes than the network was trained on.
    """
    if hasattr(pictures, "pictures"):
        expect_classes(net, pictures.classes)
        pictures = pictures.pictures()
    found, labels, waiting = [], [], []
    most = 0 if batch_size is None else sizes.whole(batch_size, "batch_size")

    def test() -> None:
        if waiting:
            found.append(over_scales(method, net, torch.stack(waiting), scales, batch_size=batch_size, **options))
            waiting.clear()

    for picture, label in pictures:
        if waiting and (picture.shape != waiting[0].shape or len(waiting) >= most):
            test()
        if not waiting:
            expect_pictures(picture[None])
            crop = crop_of(net) or picture.shape[1:]
            most = _per_batch(picture[None], crop, crop, batch_size)
        waiting.append(picture)
        labels.append(label)
    test()
    if not found:
        raise ValueError("there are no pictures to classify")
    return torch.cat(found), torch.tensor(labels)


@contextmanager
def _testing(
    net: nn.Module, images: Tensor, batch_size: int, bf16: bool | None, tell: str
) -> Iterator[Iterator[Tensor]]:
    """Give the pictures in batches on the network's device, the network in evaluation mode; put its modes back."""
    if len(images) == 0:
        raise ValueError("there are no pictures to classify")
    if (batch_size := sizes.whole(batch_size, "batch_size")) < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
    device = device_of(net)

    def batches() -> Iterator[Tensor]:
        progress, started, done = Progress(), time.monotonic(), 0
        for batch in images.split(batch_size):
            yield batch.to(device)
            done += len(batch)
            passed = time.monotonic() - started
            if not tell or passed < 5:  # what is soon over needs no line
                continue
            if done < len(images):
                left = f"{duration(passed * (len(images) / done - 1))} left"
                progress.show(f"{tell}: {done:,} of {len(images):,} pictures, {left}")
            else:
                progress.show(f"{tell}: {done:,} pictures in {duration(passed)}", final=True)

    with evaluation(net), autocast(device, fast_in_bf16(device) if bf16 is None else bf16):
        yield batches()


@contextmanager
def _maps(
    net: nn.Module, images: Tensor, scale: int | None, batch_size: int | None, bf16: bool | None, tell: str
) -> Iterator[Callable[[bool], Iterator[tuple[Tensor, Tensor | None]]]]:
    """Give a function to go through the score maps of whole pictures, and of their mirror images where wanted."""
    full = net if isinstance(unwrapped(net), FullyConvolutional) else fully_convolutional(net)
    crop = _crop(full, images, scale)
    scale = min(crop) if scale is None else sizes.whole(scale, "a scale")
    per_batch = _affordable(images, crop, scale, batch_size)
    with _testing(full, images, per_batch, bf16, f"{tell} at {scale}" if tell else "") as batches:

        def maps(flip: bool) -> Iterator[tuple[Tensor, Tensor | None]]:
            for batch in batches:
                X = laid_out(full, prepared(full, whole(batch, scale)))
                yield _wide(full(X)), _wide(full(X.flip(3))) if flip else None

        yield maps


def _crop(net: nn.Module, images: Tensor, scale: int | None) -> tuple[int, int]:
    """Return the size of picture that a network wants: the one it was built for, else that of the pictures.

    Raises ValueError for what is no batch of pictures and no scale in pixels, and for a scale where the network does
    not say how large a crop it wants.
    """
    expect_pictures(images)
    if scale is not None:
        sizes.whole(scale, "a scale, in pixels,")
    return tuple(images.shape[2:]) if scale is None and crop_of(net) is None else _image_size(net)


def crop_of(net: nn.Module) -> tuple[int, int] | None:
    """Return the size of the crop that a network, wrapped or not, was built for: (height, width), None if unsaid."""
    said = next((one.image_size for one in (net, unwrapped(net)) if hasattr(one, "image_size")), None)
    return None if said is None else sizes.height_and_width(said, "image_size")


def _image_size(net: nn.Module) -> tuple[int, int]:
    """Return the size of the crop that a network was built for, (height, width); ValueError if it does not say."""
    if (crop := crop_of(net)) is None:
        raise ValueError(
            f"a {type(net).__name__} does not say how large a crop it wants: set its image_size, such as (224, 224)"
        )
    return crop


def _affordable(images: Tensor, crop: tuple[int, int], scale: int, batch_size: int | None) -> int:
    """Return how many pictures at ``scale`` take the memory of a batch of crops. ValueError if one is too small."""
    height, width = (scale * side // min(images.shape[2:]) for side in images.shape[2:])
    if height < crop[0] or width < crop[1]:
        short = min(images.shape[2:])
        least = max(-(-side * short // length) for side, length in zip(crop, images.shape[2:], strict=True))
        raise ValueError(
            f"at scale {scale} the pictures are {height} x {width}, smaller than the network's crop of {crop[0]} x "
            f"{crop[1]}: take a scale of at least {least}"
        )
    return _per_batch(images, crop, (height, width), batch_size)


def crops_at_once(crop: Sequence[int]) -> int:
    """Return how many crops of a size (height, width) are tested together by default: 500, of large ones fewer.

    So a VGG-16 at 224 pixels takes about a gigabyte.
    """
    return max(1, min(500, 500 * 64 * 64 // math.prod(crop)))


def _per_batch(images: Tensor, crop: Sequence[int], size: Sequence[int], batch_size: int | None) -> int:
    """Return how many pictures take the memory of ``batch_size`` crops, at ``size`` or, if that is more, their own."""
    batch_size = crops_at_once(crop) if batch_size is None else sizes.whole(batch_size, "batch_size")
    area = max(math.prod(size), math.prod(images.shape[2:]))
    return max(min(1, batch_size), min(batch_size, batch_size * math.prod(crop) // area))


def _wide(scores: Tensor) -> Tensor:
    """Return scores in float32 at least: averages want more digits than bfloat16 has."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _posteriors(scores: Tensor) -> Tensor:
    """Return the soft-max of scores (N, classes), in float32 at least; ValueError for maps of several places."""
    if math.prod(scores.shape[2:]) != 1:
        raise ValueError(
            f"expected scores (N, classes), the network gives maps {tuple(scores.shape)}: average them first"
        )
    return _wide(scores.flatten(1)).softmax(dim=1)


def accuracy_on(
    net: nn.Module,
    images: "ImageSet | FolderSet",
    scale: int | None = None,
    bf16: bool | None = None,
    batch_size: int | None = None,
) -> float:
    """Return the accuracy of ``net`` by single_crop on a labelled set, in memory or in a folder.

    scale, bf16, batch_size: as for single_crop; where memory ends, a batch is halved.
    Raises ValueError for a set of other classes than the network was trained on, where it knows their names.
    """
    expect_classes(net, images.classes)
    return accuracy_by_crops(net, images, scale, bf16, batch_size)


def accuracy_by_crops(
    net: nn.Module,
    images: "ImageSet | FolderSet",
    scale: int | None = None,
    bf16: bool | None = None,
    batch_size: int | None = None,
    crop: tuple[int, int] | None = None,
) -> float:
    """Return what accuracy_on does, whatever the classes are called; of fewer classes than scores, too.

    crop: as for single_crop.
    """
    if batch_size is not None and sizes.whole(batch_size, "batch_size") < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
    if not hasattr(images, "pictures"):
        most = batch_size or crops_at_once(crop or crop_of(net) or images.images.shape[2:])
        found = halving(lambda size: single_crop(net, images.images, scale, size, bf16, crop), most)
        return accuracy(found, images.labels)
    crop = _image_size(net) if crop is None else crop
    if not hasattr(images, "centre_crops"):  # one after the other
        scales = [min(crop) if scale is None else scale]
        posteriors, labels = of_pictures(single_crop, net, images.pictures(), scales, batch_size, bf16=bf16, crop=crop)
        return accuracy(posteriors, labels)
    views = images.centre_crops(crop, scale, batch_size or 32)
    return accuracy(torch.cat([_what_fits(net, X, bf16) for X in views]), images.labels)


def _what_fits(net: nn.Module, X: Tensor, bf16: bool | None) -> Tensor:
    """Return the posteriors of crops, in as many parts as memory asks for."""
    return halving(lambda size: torch.cat([of_views(net, part, bf16) for part in X.split(size)]), len(X))


def expect_classes(net: nn.Module, classes: Sequence[str]) -> None:
    """Raise ValueError if a network knows other classes, or in another order; without names, another number of them."""
    net = unwrapped(net)
    known = getattr(net, "classes", None)
    known = tuple(known) if isinstance(known, list | tuple) else ()
    last = net.classifier[-1] if isinstance(net, VGG) else None
    scores = last.out_features if isinstance(last, nn.Linear) else len(known) or len(classes)
    if scores != len(classes):
        raise ValueError(f"the network knows {scores} classes, the pictures have {len(classes)}")
    for place, (own, given) in enumerate(zip(known, classes, strict=False)):
        if str(own) != str(given):
            raise ValueError(
                f"class {place} is {own!r} to the network, {given!r} to the pictures: give the pictures the network's "
                "own classes, net.classes"
            )
