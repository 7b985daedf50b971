"""The batches of an epoch: order, crops and flips that depend on (seed, epoch, index) alone, shared among processes."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from vgglib.augment import Augment, stream
from vgglib.devices import device_of
from vgglib.image_set import ImageSet, is_streamed
from vgglib.preparing import laid_out, prepared, takes_any_layout
from vgglib.recipes import Recipe
from vgglib.sizes import whole


def batches(
    net: nn.Module,
    train: ImageSet,
    recipe: Recipe,
    seed: int,
    epoch: int,
    start: int = 0,
    rank: int = 0,
    world: int = 1,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of one epoch: pictures as ``net`` wants them, float (N, C, side, side), and labels (N,).

    Order and augmentation depend on (seed, epoch, index) alone. start: batches that are left out, being done already.
    rank, world: of each batch this process gets the rank-th of ``world`` parts. A last batch is left out under batch
    normalisation if a part of it would have one picture only. A set with ``batches`` of its own is asked for them.
    In memory the pictures lie as vgglib.preparing.laid_out says, unless recipe.channels_last is False. Raises
    ValueError for a negative start, and for a rank that is none of 0 to world - 1.
    """
    _expect_part(start, rank, world)

    def as_wanted(X: Tensor) -> Tensor:
        X = prepared(net, X)
        return X if recipe.channels_last is False else laid_out(net, X, recipe.bf16)

    if is_streamed(train):
        for X, y in train.batches(recipe, seed, epoch, start, rank, world):
            yield as_wanted(X.to(device_of(net))), y.to(device_of(net))
        return
    colour = recipe.rgb_shift * train.colour_axes if recipe.rgb_shift and train.images.shape[1] > 1 else None
    augment = Augment(recipe.image_size, recipe.scale, recipe.flip, colour)
    draws = augment.draws(len(train), seed, epoch).to(train.images.device)
    for index in parts(len(train), recipe, seed, epoch, start, rank, world, train.images.device):
        yield as_wanted(augment(train.images[index], draws[index])), train.labels[index]


def parts(
    count: int,
    recipe: Recipe,
    seed: int,
    epoch: int,
    start: int = 0,
    rank: int = 0,
    world: int = 1,
    device: str | torch.device = "cpu",
) -> list[Tensor]:
    """Return the positions, int64 on ``device``, of the pictures that this process gets in each batch of an epoch.

    count: pictures in the set. The rest as for batches; a part may be empty at the end of an epoch.
    """
    _expect_part(start, rank, world)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(stream(seed, epoch, "order"))).to(device)
    fewest = 2 * world if recipe.batch_norm else 1  # a part of one picture has no spread to divide by
    left = order.split(recipe.batch_size)[start:]
    return [batch.tensor_split(world)[rank] for batch in left if len(batch) >= fewest]


def _expect_part(start: int, rank: int, world: int) -> None:
    if whole(start, "start") < 0 or not 0 <= whole(rank, "rank") < whole(world, "world"):
        raise ValueError(f"start must be 0 or more, rank from 0 to world - 1, got {start}, {rank} of {world}")


def as_laid_out(net: nn.Module, recipe: Recipe, faster: bool) -> bool:
    """Lay a network's weights out with channels last, in place, where that is faster and it can; return whether it did.

    Its maps then lie so, too. A network that may not bear it, as takes_any_layout says, is laid out so only if the
    recipe asks for it.
    """
    if channels_last := faster and (recipe.channels_last is True or takes_any_layout(net)):
        net.to(memory_format=torch.channels_last)
    return channels_last
