"""The accuracy that is watched after every epoch: one crop of each picture (section 4.1)."""

import torch
from torch import nn

from vgglib import distributed
from vgglib.devices import device_of
from vgglib.evaluation import accuracy_by_crops, crop_of
from vgglib.image_set import ImageSet
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
        return accuracy_by_crops(net, pictures, scale, bf16, crop=crop)
    mine = distributed.share(len(pictures))
    some = len(range(*mine.indices(len(pictures))))  # none, where there are more processes than pictures
    found = some * accuracy_by_crops(net, pictures[mine], scale, bf16, crop=crop) if some else 0.0
    right = torch.tensor(round(found), device=device_of(net))
    return distributed.total(right).item() / len(pictures)


def watched_at(net: nn.Module, recipe: Recipe) -> tuple[int | None, tuple[int, int]]:
    """Return the scale at which ``net`` is watched, and the crop.

    A network that does not say how large its pictures are sees the recipe's crop, as in training; one of larger
    pictures than the recipe's is watched at its own size (scale None).
    """
    crop = crop_of(net) or (recipe.image_size, recipe.image_size)
    return (recipe.test_scale if min(crop) <= recipe.test_scale else None), crop
