"""VGG as a source of features for other pictures (appendix B). Taught in notebooks/10_after_vgg.ipynb."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vgglib import sizes
from vgglib.augment import whole
from vgglib.devices import device_of
from vgglib.model import VGG, fully_convolutional
from vgglib.modes import evaluation
from vgglib.preparing import laid_out, prepared


@torch.no_grad()
def features(
    net: VGG,
    images: Tensor,
    scale: int | None = None,
    flip: bool = False,
    block: int | None = None,
    batch_size: int = 500,
) -> Tensor:
    """Return one vector of length 1 for each picture, (N, values): what the last hidden layer says of it.

    As in appendix B: the last fully connected layer is left out, the others slide over the whole picture as
    convolutions, and their outputs are averaged over the places, over the picture and its mirror image with ``flip``,
    and divided by their length. images: uint8 (N, C, H, W); scale: the smallest side in pixels that they are rescaled
    to, by default the one the network was built for. block: take the maps after this block (from 1) instead, all
    their values side by side. The network is left in the mode it was in. Raises ValueError for no pictures, a batch
    size below 1, a network that is no VGG, a scale below the network's picture size, a block that there is not, and for
    a picture of which the network says nothing but zeros, so that no vector of length 1 can.
    """
    if not isinstance(net, VGG):
        raise ValueError(f"features are those of a vgglib.model.VGG, got a {type(net).__name__}")
    if sizes.whole(batch_size, "batch_size") < 1:
        raise ValueError(f"a batch has at least one picture, got {batch_size}")
    if len(images) == 0:
        raise ValueError("there are no pictures to take features of")
    scale = max(net.image_size) if scale is None else scale
    if scale < max(net.image_size):
        raise ValueError(f"scale {scale} is below the {max(net.image_size)} pixels that the network was built for")
    if block is not None and not 1 <= sizes.whole(block, "block") <= len(net.blocks):
        raise ValueError(f"the network has blocks 1 to {len(net.blocks)}, there is no block {block}")
    found = []
    with evaluation(net):
        for batch in images.split(batch_size):
            X = laid_out(net, prepared(net, whole(batch.to(device_of(net)), scale)))
            looks = [X, X.flip(3)] if flip else [X]
            found.append(sum(_look(net, look, block) for look in looks) / len(looks))
    vectors = torch.cat(found)
    if not vectors.any(dim=1).all():
        raise ValueError(f"all features of picture {int(vectors.any(dim=1).int().argmin())} are 0: they have no length")
    return F.normalize(vectors, dim=1)


def _look(net: VGG, X: Tensor, block: int | None) -> Tensor:
    """Return the maps after a block, flat, or the mean over all places of the last hidden layer: (N, values)."""
    for part in net.blocks[:block]:
        X = part(X)
    if block is not None:
        return X.flatten(1)
    return fully_convolutional(net).classifier[:-1](X).mean(dim=(2, 3))
