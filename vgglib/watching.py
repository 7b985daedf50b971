"""The accuracy that is watched after every epoch: one crop of each picture (section 4.1)."""

import torch
from torch import Tensor, nn

from vgglib import distributed
from vgglib.batches import is_streamed
from vgglib.data import ImageSet
from vgglib.devices import device_of
from vgglib.evaluation import accuracy, crop_of, crops_at_once, of_views, single_crop
from vgglib.largest_batch import halving
from vgglib.recipes import Recipe


def watched_accuracy(
    net: nn.Module,
    pictures: ImageSet,
    bf16: bool | None = None,
    scale: int | None = None,
    crop: tuple[int, int] | None = None,
) -> float:
    """Return the accuracy of ``net`` by single_crop at the test scale ``scale``, by default the side of its crop.

    crop: as for single_crop. Every process of a group looks at its share of the pictures.
    """
    if distributed.world() == 1:
        return _accuracy(net, pictures, bf16, scale, crop)
    mine = distributed.share(len(pictures))
    some = len(range(*mine.indices(len(pictures))))  # none, where there are more processes than pictures
    found = some * _accuracy(net, pictures[mine], bf16, scale, crop) if some else 0.0
    right = torch.tensor(round(found), device=device_of(net))
    return distributed.total(right).item() / len(pictures)


def _accuracy(
    net: nn.Module, pictures: ImageSet, bf16: bool | None, scale: int | None, crop: tuple[int, int] | None
) -> float:
    crop = crop_of(net) if crop is None else crop
    if hasattr(pictures, "centre_crops") and crop is not None:
        views = pictures.centre_crops(crop, scale, batch_size=32)
        return accuracy(torch.cat([_what_fits(net, X, bf16) for X in views]), pictures.labels)
    if is_streamed(pictures):  # one by one: they have many sizes
        found = [single_crop(net, picture[None], scale, bf16=bf16, crop=crop) for picture, _ in pictures.pictures()]
        return accuracy(torch.cat(found), pictures.labels)
    # until a batch fits into memory: the epoch that was trained must not be lost
    most = crops_at_once(crop or pictures.images.shape[2:])
    posteriors = halving(lambda size: single_crop(net, pictures.images, scale, size, bf16, crop), most)
    return accuracy(posteriors, pictures.labels)


def _what_fits(net: nn.Module, X: Tensor, bf16: bool | None) -> Tensor:
    """Return the posteriors of crops, in as many parts as memory asks for."""
    return halving(lambda size: torch.cat([of_views(net, part, bf16) for part in X.split(size)]), len(X))


def watched_at(net: nn.Module, recipe: Recipe) -> tuple[int | None, tuple[int, int]]:
    """Return the scale at which ``net`` is watched, and the crop.

    A network that does not say how large its pictures are sees the recipe's crop, as in training; one of larger
    pictures than the recipe's is watched at its own size (scale None).
    """
    crop = crop_of(net) or (recipe.image_size, recipe.image_size)
    return (recipe.test_scale if min(crop) <= recipe.test_scale else None), crop
