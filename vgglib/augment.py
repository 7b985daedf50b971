"""What a network sees of a picture: rescaled, cropped, perhaps mirrored; whole batches at once, on the device.

Section 3.1 for training (Augment), section 3.2 for testing (view). Sizes are in pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augment:
    """Section 3.1's training view: rescale to S, one random crop, a random horizontal flip; in batches, on the device.

    crop: side of the crop in pixels. scale: the smallest side S of the rescaled picture in pixels, or (S_min, S_max)
    to draw S anew for every picture. What happens to a picture depends on (seed, epoch, its index) alone.
    """

    crop: int
    scale: int | tuple[int, int]
    flip: bool = True

    def __post_init__(self) -> None:
        low, high = self._range()
        if not 0 < self.crop <= low <= high:
            raise ValueError(f"expected crop <= S_min <= S_max, got crop {self.crop} and scale {self.scale}")

    def _range(self) -> tuple[int, int]:
        return (self.scale, self.scale) if isinstance(self.scale, int) else tuple(self.scale)

    def draws(self, count: int, seed: int, epoch: int) -> Tensor:
        """Return (count, 4) uniform random numbers, one row a picture: for its scale, row, column and flip."""
        generator = torch.Generator().manual_seed(stream(seed, epoch, "pictures"))
        return torch.rand(count, 4, generator=generator)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return float32 (N, C, crop, crop) in 0..1 from uint8 images (N, C, H, W) and their rows of ``draws``."""
        low, high = self._range()
        draws = draws.to(images.device)
        scale = low + (draws[:, 0] * (high - low + 1)).long().clamp(max=high - low)
        height, width = _rescaled(images, scale)
        top = (draws[:, 1] * (height - self.crop + 1)).long()
        left = (draws[:, 2] * (width - self.crop + 1)).long()
        mirrored = draws[:, 3] < 0.5 if self.flip else torch.zeros_like(top, dtype=torch.bool)
        return _resample(images, (height, width), (top, left), (self.crop, self.crop), mirrored)


def stream(seed: int, epoch: int, purpose: str) -> int:
    """Return the seed of one of an epoch's streams of random numbers: "order", "pictures" or "dropout"."""
    return (seed * 1_000_003 + epoch) * 3 + ("order", "pictures", "dropout").index(purpose)


def view(images: Tensor, crop: int | tuple[int, int], scale: int | None = None) -> Tensor:
    """Return the centre crop of each picture, rescaled so that its smallest side is ``scale`` (by default the crop's).

    images: uint8 (N, C, H, W). Returns float32 (N, C, *crop) in 0..1. Bilinear, antialiased where it shrinks.
    Raises ValueError if the crop does not fit.
    """
    crop = (crop, crop) if isinstance(crop, int) else tuple(crop)
    scale = min(crop) if scale is None else scale
    height, width = _rescaled(images, torch.tensor([scale], device=images.device))
    if scale < 1 or height < crop[0] or width < crop[1]:
        raise ValueError(f"a crop of {crop[0]} x {crop[1]} does not fit into pictures rescaled to scale {scale}")
    offsets = ((height - crop[0]).div(2).round().long(), (width - crop[1]).div(2).round().long())
    return _resample(images, (height, width), offsets, crop, torch.zeros(1, dtype=torch.bool, device=images.device))


def _rescaled(images: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return the heights and widths (pixels) of pictures whose smallest side becomes ``scale``, the shape kept."""
    height, width = images.shape[2:]
    return scale * height // min(height, width), scale * width // min(height, width)


def _resample(images: Tensor, size: tuple, offsets: tuple, crop: tuple[int, int], mirrored: Tensor) -> Tensor:
    """Return crops of rescaled pictures as two small matrix products per picture: rows, then columns."""
    pictures = images.float() / 255
    rows = _weights(images.shape[2], size[0], offsets[0], crop[0], torch.zeros_like(mirrored))
    columns = _weights(images.shape[3], size[1], offsets[1], crop[1], mirrored)
    return rows[:, None] @ pictures @ columns[:, None].transpose(2, 3)


def _weights(source: int, scaled: Tensor, first: Tensor, count: int, mirrored: Tensor) -> Tensor:
    """Return weights (N or 1, count, source): how much each source pixel gives to each pixel of the crop.

    The crop starts at pixel ``first`` of a line rescaled from ``source`` to ``scaled`` pixels.
    """
    place = torch.arange(count, device=scaled.device)
    place = first[:, None] + torch.where(mirrored[:, None], count - 1 - place, place)
    ratio = source / scaled[:, None].float()  # source pixels per pixel of the rescaled line
    centre = (place + 0.5) * ratio - 0.5
    reach = ratio.clamp(min=1)[..., None]  # a triangle one pixel wide, wider where the line shrinks
    distance = (torch.arange(source, device=scaled.device) - centre[..., None]).abs()
    weights = (1 - distance / reach).clamp(min=0)
    return weights / weights.sum(dim=2, keepdim=True)
