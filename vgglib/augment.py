"""What a network sees of a picture: rescaled, cropped, perhaps mirrored; whole batches at once, on the device.

Section 3.1 for training (Augment), section 3.2 for testing (view, crop_offsets). Sizes are in pixels.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vgglib import sizes


@dataclass(frozen=True)
class Augment:
    """Section 3.1's training view: rescale to S, one random crop, a random horizontal flip; in batches, on the device.

    crop: side of the crop in pixels. scale: the smallest side S of the rescaled picture in pixels, or (S_min, S_max)
    to draw S anew for every picture. colour: how far to shift the colours of a whole picture, as a multiple of
    ``colour_axes(images)`` (Krizhevsky 2012 takes 0.1); None for none, and for greyscale. What happens to a picture
    depends on (seed, epoch, its index) alone: ``augment(images, augment.draws(len(images), seed, epoch))``. Raises
    ValueError unless crop <= S_min <= S_max, and for a flip or a colour of another kind.
    """

    crop: int
    scale: int | tuple[int, int]
    flip: bool = True
    colour: Tensor | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "crop", sizes.whole(self.crop, "crop"))
        if not isinstance(self.scale, tuple | list):
            object.__setattr__(self, "scale", sizes.whole(self.scale, "scale"))
        elif len(self.scale) == 2:
            object.__setattr__(self, "scale", tuple(sizes.whole(one, "each of two scales") for one in self.scale))
        else:
            raise ValueError(f"scale must be a whole number or (S_min, S_max), got {self.scale!r}")
        low, high = self._range()
        if not 0 < self.crop <= low <= high:
            raise ValueError(
                f"expected crop <= S_min <= S_max, got crop {self.crop} and scale {self.scale}: a crop is cut out of "
                "the rescaled picture (in a recipe: image_size and scale)"
            )
        expect_truth(self.flip, "flip")
        colour = torch.zeros(3, 3) if self.colour is None else self.colour
        if not isinstance(colour, Tensor) or colour.shape != (3, 3) or not colour.isfinite().all():
            raise ValueError("colour must be a tensor (3, 3) of finite numbers, such as 0.1 * colour_axes(images)")

    def _range(self) -> tuple[int, int]:
        return (self.scale, self.scale) if isinstance(self.scale, int) else tuple(self.scale)

    def draws(self, count: int, seed: int, epoch: int) -> Tensor:
        """Return (count, 4) uniform random numbers, one row a picture: for its scale, row, column and flip.

        With ``colour`` there are three more columns, for the shift along each of the three axes. Raises ValueError
        for what are no whole numbers, and for a count below 0.
        """
        if (count := sizes.whole(count, "count")) < 0:
            raise ValueError(f"count must be a number of pictures, got {count}")
        wanted = [("pictures", 4)] if self.colour is None else [("pictures", 4), ("colours", 3)]
        dice = [(torch.Generator().manual_seed(stream(seed, epoch, purpose)), more) for purpose, more in wanted]
        return torch.cat(
            [torch.rand(count, more, generator=generator, dtype=torch.float32) for generator, more in dice], dim=1
        )

    def scales(self, draws: Tensor) -> Tensor:
        """Return the scale S of each picture, whole pixels, by its row of draws: (N,)."""
        low, high = self._range()
        return low + (draws[:, 0] * (high - low + 1)).long().clamp(max=high - low)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return float32 (N, C, crop, crop) from uint8 images (N, C, H, W) and their rows of ``draws``.

        Values are in 0..1; shifted colours may leave that range, as in Krizhevsky's own code. Raises ValueError for
        draws that are not a row for each picture, and for a colour shift of pictures that have not three channels.
        """
        expect_pictures(images)
        columns = (4, 7) if self.colour is None else (7,)
        if not isinstance(draws, Tensor) or tuple(draws.shape) not in [(len(images), count) for count in columns]:
            got = tuple(draws.shape) if isinstance(draws, Tensor) else f"a {type(draws).__name__}"
            raise ValueError(f"expected a row of draws for each picture, ({len(images)}, {columns[0]}), got {got}")
        draws = draws.to(images.device)
        height, width = _rescaled(images, self.scales(draws))
        top = (draws[:, 1] * (height - self.crop + 1)).long()
        left = (draws[:, 2] * (width - self.crop + 1)).long()
        mirrored = draws[:, 3] < 0.5 if self.flip else torch.zeros_like(top, dtype=torch.bool)
        found = _resample(images, (height, width), (top, left), (self.crop, self.crop), mirrored)
        return found if self.colour is None else found + self.shift(images, draws)[:, :, None, None]

    def shift(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return what ``colour`` adds to the three channels of each picture, (N, 3), by its row of draws."""
        if images.shape[1] != 3:
            raise ValueError(f"a colour shift needs pictures with three channels, these have {images.shape[1]}")
        alpha = torch.special.ndtri(draws[:, 4:].clamp(1e-6, 1 - 1e-6))  # uniform to normal
        return alpha @ self.colour.to(images.device, torch.float32).T


def colour_axes(images: Tensor) -> Tensor:
    """Return the principal axes of the colours of uint8 images (N, 3, H, W): a column each, (3, 3), pixels in 0..1.

    A column is as long as the standard deviation of the pixels along it. Krizhevsky 2012, whom section 3.1 follows,
    writes the eigenvalue there, which is a variance; his published code takes the standard deviation, and so do we.
    Raises ValueError for what are no such pictures, or none at all.
    """
    expect_pictures(images)
    if len(images) == 0:
        raise ValueError("there are no pictures to take the colours of")
    if images.shape[1] != 3:
        raise ValueError(f"colours have three channels, these pictures have {images.shape[1]}")
    total, products, count = torch.zeros(3).double(), torch.zeros(3, 3).double(), 0
    for batch in images.split(1000):  # the whole training set as doubles would not fit into memory
        pixels = batch.transpose(0, 1).flatten(1).cpu().double() / 255
        total, products, count = total + pixels.sum(1), products + pixels @ pixels.T, count + pixels.shape[1]
    variances, axes = torch.linalg.eigh(products / count - torch.outer(total, total) / count**2)
    return (axes * variances.clamp(min=0).sqrt()).float()


def stream(seed: int, epoch: int, purpose: str) -> int:
    """Return the seed of one of an epoch's streams of random numbers: "order", "pictures", "dropout" or "colours".

    Raises ValueError unless seed and epoch are whole numbers.
    """
    seed, epoch = sizes.whole(seed, "seed"), sizes.whole(epoch, "epoch")
    number = (seed * 1_000_003 + epoch) * 3 + {"order": 0, "pictures": 1, "dropout": 2, "colours": 2**48}[purpose]
    return number % 2**64  # torch takes no larger seeds


def view(images: Tensor, crop: int | tuple[int, int], scale: int | None = None) -> Tensor:
    """Return the centre crop of each picture, rescaled so that its smallest side is ``scale`` (by default the crop's).

    images: uint8 (N, C, H, W). Returns float32 (N, C, *crop) in 0..1. Bilinear, antialiased where it shrinks.
    Raises ValueError if the crop does not fit.
    """
    crop = sizes.height_and_width(crop, "crop")
    scale = min(crop) if scale is None else sizes.whole(scale, "scale")
    height, width = _rescaled(images, torch.tensor([scale], device=images.device))
    if scale < 1 or height < crop[0] or width < crop[1]:
        raise ValueError(f"a crop of {crop[0]} x {crop[1]} does not fit into pictures rescaled to scale {scale}")
    offsets = ((height - crop[0]).div(2).round().long(), (width - crop[1]).div(2).round().long())
    return _resample(images, (height, width), offsets, crop, torch.zeros(1, dtype=torch.bool, device=images.device))


def whole(images: Tensor, scale: int) -> Tensor:
    """Return whole pictures, rescaled so that their smallest side is ``scale``: float32 (N, C, H', W') in 0..1.

    images: uint8 (N, C, H, W), always the originals: pictures that were rescaled once have lost detail for good.
    """
    scale = sizes.whole(scale, "scale")
    height, width = (int(side) for side in _rescaled(images, torch.tensor([scale])))
    return view(images, (height, width), scale)


def crop_offsets(size: int, crop: int, grid: int = 5) -> list[int]:
    """Return where ``grid`` crops of ``crop`` pixels start on a side of ``size`` pixels: evenly, end to end.

    A grid of one is the centre crop. Section 3.2 takes 5 x 5. Raises ValueError for a crop that does not fit and for
    a grid of none.
    """
    size, crop, grid = (sizes.whole(*one) for one in ((size, "size"), (crop, "crop"), (grid, "grid")))
    if not 1 <= crop <= size or grid < 1:
        raise ValueError(f"expected 1 <= crop <= size and a grid of 1 or more, got crop {crop}, {size} and {grid}")
    if grid == 1:
        return [round((size - crop) / 2)]
    return [round(step * (size - crop) / (grid - 1)) for step in range(grid)]


def placed(images: Tensor, canvas: int, sides: Tensor, offsets: tuple[Tensor, Tensor]) -> Tensor:
    """Return each square picture at a side of its own, on an empty canvas: uint8 (N, C, canvas, canvas).

    sides: (N,) pixels that a picture is wide on the canvas. offsets: rows and columns of its upper left corner.
    Raises ValueError for pictures that are not square, which would be squeezed.
    """
    expect_pictures(images)
    if images.shape[2] != images.shape[3]:
        raise ValueError(f"expected square pictures, got {images.shape[2]} x {images.shape[3]}: crop them first")
    here, steps = torch.zeros_like(sides, dtype=torch.bool), torch.arange(canvas, device=images.device)
    weights = []
    for source, first in zip(images.shape[2:], offsets, strict=True):
        inside = (steps >= first[:, None]) & (steps < (first + sides)[:, None])
        found = _weights(source, sides, -first, canvas, here)
        weights.append(torch.where(inside[..., None], found, 0))
    with torch.autocast(images.device.type, enabled=False):  # pixels are not rounded to bfloat16
        found = weights[0][:, None] @ images.float() @ weights[1][:, None].transpose(2, 3)
    return found.round().clamp(0, 255).to(torch.uint8)


def expect_pictures(images: Tensor) -> None:
    """Raise ValueError unless these are uint8 pictures (N, C, H, W)."""
    if not isinstance(images, Tensor):
        raise ValueError(f"expected a tensor of pictures (N, C, H, W), got a {type(images).__name__}")
    if images.dtype != torch.uint8:
        raise ValueError(f"expected uint8 pictures, 0 to 255, got {images.dtype}")
    if images.dim() != 4:
        raise ValueError(f"expected pictures (N, C, H, W), got {tuple(images.shape)}; one picture is picture[None]")
    if 0 in images.shape[1:]:
        raise ValueError(f"pictures of {tuple(images.shape[1:])} (C, H, W) have no pixels")


def expect_truth(value: object, what: str) -> None:
    """Raise ValueError unless this is True or False: the word "no" would count as True."""
    if value not in (True, False):
        raise ValueError(f"{what} must be True or False, got {value!r}")


def _rescaled(images: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return the heights and widths (pixels) of pictures whose smallest side becomes ``scale``, the shape kept."""
    expect_pictures(images)
    height, width = images.shape[2:]
    return scale * height // min(height, width), scale * width // min(height, width)


def _resample(images: Tensor, size: tuple, offsets: tuple, crop: tuple[int, int], mirrored: Tensor) -> Tensor:
    """Return crops of rescaled pictures as two small matrix products per picture: rows, then columns."""
    with torch.autocast(images.device.type, enabled=False):  # pixels are not rounded to bfloat16
        return _products(images.float() / 255, size, offsets, crop, mirrored)


def _products(images: Tensor, size: tuple, offsets: tuple, crop: tuple[int, int], mirrored: Tensor) -> Tensor:
    rows = _weights(images.shape[2], size[0], offsets[0], crop[0], torch.zeros_like(mirrored))
    columns = _weights(images.shape[3], size[1], offsets[1], crop[1], mirrored)
    return rows[:, None] @ images @ columns[:, None].transpose(2, 3)


def _weights(source: int, scaled: Tensor, first: Tensor, count: int, mirrored: Tensor) -> Tensor:
    """Return weights (N or 1, count, source): how much each source pixel gives to each pixel of the crop.

    The crop starts at pixel ``first`` of a line rescaled from ``source`` to ``scaled`` pixels; its pixels beyond that
    line get no meaningful weights. On a CPU each length that occurs is worked out once; on a GPU that would have to
    wait for the device.
    """
    place = torch.arange(count, device=scaled.device)
    place = first[:, None] + torch.where(mirrored[:, None], count - 1 - place, place)
    if scaled.device.type != "cpu" or len(scaled) == 0:
        return _triangles(source, scaled, place)
    lengths, which = scaled.unique(return_inverse=True)
    line = torch.arange(int(lengths.max()))
    return _triangles(source, lengths, line)[which[:, None], place.clamp(0, len(line) - 1)]


def _triangles(source: int, scaled: Tensor, place: Tensor) -> Tensor:
    """Return weights (N, places, source) of the pixels ``place`` of lines rescaled from ``source`` to ``scaled``."""
    ratio = source / scaled[:, None].float()  # source pixels per pixel of the rescaled line
    centre = (place.float() + 0.5) * ratio - 0.5
    reach = ratio.clamp(min=1)[..., None]  # a triangle one pixel wide, wider where the line shrinks
    distance = (torch.arange(source, device=scaled.device) - centre[..., None]).abs()
    weights = (1 - distance / reach).clamp(min=0)
    return weights / weights.sum(dim=2, keepdim=True)
