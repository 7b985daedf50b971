"""Views of a picture: torchvision's resize, crop and flip as the oracle, and draws that depend on nothing else."""

import math
import random

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as V

from vgglib.augment import Augment, _triangles, _weights, colour_axes, crop_offsets, placed, stream, view, whole


def pictures(count, channels, height, width, seed=0):
    """Noise, the hardest picture to resample."""
    dice = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=dice)


def by_torchvision(picture, scale, row, column, flip, crop):
    """One picture, float in 0..1: smallest side to ``scale``, the crop at two fractions of the free room, the flip."""
    picture = V.resize(picture.double() / 255, [scale], antialias=True)
    height, width = picture.shape[1:]
    top, left = int(row * (height - crop + 1)), int(column * (width - crop + 1))
    picture = V.crop(picture, top, left, crop, crop)
    return V.horizontal_flip(picture) if flip < 0.5 else picture


def test_augment_is_torchvisions_resize_crop_and_flip():
    dice, shrunk, grown = random.Random(3), 0, 0
    for n in range(40):
        height, width = dice.randint(9, 40), dice.randint(9, 40)
        low = dice.randint(7, 40)
        high = low + dice.randint(0, 15)
        crop = dice.randint(5, low)
        images = pictures(5, dice.choice((1, 3)), height, width, seed=n)
        augment = Augment(crop, (low, high))
        draws = augment.draws(5, seed=n, epoch=2)
        found = augment(images, draws)
        assert found.shape == (5, images.shape[1], crop, crop)
        assert found.dtype == torch.float32
        for picture, row, result in zip(images, draws.tolist(), found, strict=True):
            scale = low + int(row[0] * (high - low + 1))
            shrunk, grown = shrunk + (scale < min(height, width)), grown + (scale > min(height, width))
            expected = by_torchvision(picture, scale, *row[1:], crop)
            assert (result - expected).abs().max() < 1e-4
    assert shrunk > 30
    assert grown > 30


def test_two_hundred_views_are_torchvisions_within_a_grey_level():
    """Its bytes, rounded after the rows and after the columns, for a scale, an offset and a flip each."""
    dice, shrunk = random.Random(5), 0
    for n in range(200):
        side, scale = dice.randint(20, 60), dice.randint(28, 64)
        shrunk += scale < side
        image = pictures(1, 1, side, side, seed=n)
        augment = Augment(28, scale)
        draws = augment.draws(1, seed=n, epoch=1)
        _, row, column, flip = draws[0].tolist()
        expected = V.resize(image, [scale], antialias=True)
        expected = V.crop(expected, int(row * (scale - 27)), int(column * (scale - 27)), 28, 28).float() / 255
        expected = V.horizontal_flip(expected) if flip < 0.5 else expected
        assert (augment(image, draws) - expected).abs().max() <= 1.1 / 255
    assert shrunk > 50


def test_bytes_come_out_as_torchvision_rounds_them():
    """torchvision rounds to whole bytes after the rows and again after the columns: one grey level at most."""
    images = pictures(20, 1, 28, 28)
    for scale in (28, 37, 64, 19):
        expected = V.resize(images, [scale], antialias=True).float() / 255
        assert (view(images, scale) - expected).abs().max() < 1.1 / 255


def test_without_rescaling_the_pixels_come_back():
    images = pictures(3, 3, 11, 11)
    assert torch.equal(view(images, 11), images / 255)
    draws = torch.tensor([[0.5, 0.5, 0.5, 0.9]] * 3)
    assert torch.equal(Augment(11, 11)(images, draws), images / 255)
    draws[:, 3] = 0.1
    assert torch.equal(Augment(11, 11)(images, draws), images.flip(3) / 255)
    assert torch.equal(Augment(11, 11, flip=False)(images, draws), images / 255)


def test_draws_reach_every_scale_and_every_offset_equally():
    augment, count = Augment(5, (8, 11)), 40_000
    draws = augment.draws(count, seed=6, epoch=1)
    assert draws.shape == (count, 4)
    side = 23
    column = torch.arange(side, dtype=torch.uint8).mul(10).expand(count, 1, side, side)
    found = augment(column, torch.cat([draws[:, :3], torch.ones(count, 1)], dim=1))
    steps = (found[:, 0, 2, 4] - found[:, 0, 2, 0]) / 4 * 255 / 10  # source pixels per pixel: 23 / S
    scales = (side / steps).round().long()
    counts = scales.bincount(minlength=12)
    assert not counts[:8].any()
    for scale in range(8, 12):
        assert abs(counts[scale].item() - count / 4) < 5 * math.sqrt(count / 4)
        middle = found[scales == scale, 0, 2, 2] * 255 / 10
        left = ((middle + 0.5) * scale / side - 0.5).round().long() - 2
        offsets = left.bincount()
        assert len(offsets) == scale - 5 + 1  # 0 to S - crop, both included
        expected = counts[scale].item() / len(offsets)
        assert (offsets - expected).abs().max() < 5 * math.sqrt(expected)


def test_scales_are_those_that_a_view_is_made_with():
    draws = Augment(5, (5, 9)).draws(300, seed=2, epoch=1)
    scales = Augment(5, (5, 9)).scales(draws)
    assert scales.bincount().nonzero().flatten().tolist() == [5, 6, 7, 8, 9]  # both ends included
    assert Augment(5, 7).scales(draws).tolist() == [7] * 300
    images = pictures(20, 1, 9, 13)
    found = Augment(5, (5, 9))(images, draws[:20])
    for n, S in enumerate(scales[:20].tolist()):
        torch.testing.assert_close(found[n], Augment(5, S)(images[n : n + 1], draws[n : n + 1])[0])


def test_half_of_the_pictures_are_mirrored():
    images = torch.arange(9, dtype=torch.uint8).expand(4000, 1, 9, 9)
    augment = Augment(9, 9)
    found = augment(images, augment.draws(4000, seed=1, epoch=1))
    mirrored = (found[:, 0, 0, 0] > found[:, 0, 0, -1]).sum().item()
    assert abs(mirrored - 2000) < 5 * math.sqrt(1000)


def test_the_largest_draw_stays_inside():
    images = pictures(2, 1, 9, 13)
    top = torch.full((2, 4), 1 - 2**-24)
    found = Augment(7, (8, 10))(images, top)
    expected = by_torchvision(images[0], 10, *top[0, 1:].tolist(), 7)
    assert (found[0] - expected).abs().max() < 1e-4


def test_a_picture_gets_the_same_view_in_any_batch():
    images = pictures(12, 1, 14, 14)
    augment = Augment(10, (10, 20))
    draws = augment.draws(12, seed=5, epoch=3)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    whole = augment(images, draws)
    assert torch.equal(augment(images[order], draws[order]), whole[order])
    for part in order.split(5):
        torch.testing.assert_close(augment(images[part], draws[part]), whole[part])


def test_draws_depend_on_seed_epoch_and_index_alone():
    augment = Augment(10, 12)
    first, dice = augment.draws(50, seed=5, epoch=3), torch.get_rng_state()
    torch.rand(3)
    assert torch.equal(augment.draws(50, seed=5, epoch=3), first)
    assert torch.equal(augment.draws(20, seed=5, epoch=3), first[:20])
    torch.set_rng_state(dice)
    assert not torch.equal(augment.draws(50, seed=5, epoch=4), first)
    assert not torch.equal(augment.draws(50, seed=6, epoch=3), first)
    assert torch.equal(torch.get_rng_state(), dice)
    assert first.min() >= 0
    assert first.max() < 1


@pytest.mark.parametrize(("height", "width"), [(14, 14), (11, 19), (20, 13)])
@pytest.mark.parametrize(("crop", "scale"), [(9, 9), (8, 11), ((7, 9), 12), (10, None)])
def test_view_is_torchvisions_centre_crop(height, width, crop, scale):
    images = pictures(3, 2, height, width)
    smallest = scale or (crop if isinstance(crop, int) else min(crop))
    expected = V.center_crop(V.resize(images.double() / 255, [smallest], antialias=True), crop)
    found = view(images, crop, scale)
    assert (found - expected).abs().max() < 1e-4
    assert found.shape == expected.shape


@pytest.mark.parametrize(
    ("crop", "scale"), [(28, 27), (0, 28), (-3, 28), (28, (27, 30)), (28, (32, 28)), (28, 0), (28, (28, 27))]
)
def test_crops_and_scales_that_do_not_go_together_are_refused(crop, scale):
    with pytest.raises(ValueError, match=r"crop <= S_min <= S_max, got crop"):
        Augment(crop, scale)


@pytest.mark.parametrize(("crop", "scale"), [(12, 11), ((9, 20), 9), ((20, 9), 9), (1, 0)])
def test_a_centre_crop_that_does_not_fit_is_refused(crop, scale):
    with pytest.raises(ValueError, match=rf"does not fit into pictures rescaled to scale {scale}"):
        view(pictures(2, 1, 14, 14), crop, scale)


def test_colour_axes_are_the_principal_axes():
    images = pictures(1200, 3, 4, 5)
    images[:, 1] = images[:, 0] // 2 + images[:, 1] // 4
    axes = colour_axes(images)
    pixels = images.transpose(0, 1).flatten(1).double() / 255
    torch.testing.assert_close((axes @ axes.T).double(), torch.cov(pixels, correction=0), atol=1e-5, rtol=1e-4)
    lengths = axes.T @ axes
    assert (lengths - lengths.diag().diag()).abs().max() < 1e-5


def test_a_colour_shift_is_one_for_a_whole_picture_and_as_large_as_asked():
    images = pictures(20_000, 3, 2, 2)
    axes = torch.tensor([[0.3, 0.0, 0.1], [0.0, 0.2, 0.0], [-0.1, 0.0, 0.05]])
    plain, shifted = Augment(2, 2), Augment(2, 2, colour=0.1 * axes)
    draws = shifted.draws(20_000, seed=4, epoch=2)
    assert draws.shape == (20_000, 7)
    assert torch.equal(draws[:, :4], plain.draws(20_000, seed=4, epoch=2))
    shift = shifted(images, draws) - plain(images, draws)
    assert (shift.amax(dim=(2, 3)) - shift.amin(dim=(2, 3))).max() < 1e-6
    torch.testing.assert_close(torch.cov(shift[:, :, 0, 0].T), 0.01 * axes @ axes.T, atol=3e-5, rtol=0.05)
    assert shift.mean(dim=(0, 2, 3)).abs().max() < 1e-3
    torch.testing.assert_close(shifted(images[5:9], draws[5:9]), shifted(images, draws)[5:9])
    assert torch.equal(shifted.draws(50, seed=4, epoch=2), draws[:50])


@pytest.mark.parametrize("draws", [torch.rand(1, 4), torch.rand(5, 3), torch.rand(5, 4).numpy(), torch.rand(4)])
def test_draws_that_do_not_belong_to_the_pictures_are_refused(draws):
    with pytest.raises(ValueError, match=r"a row of draws for each picture, \(5, 4\), got (\(|a ndarray)"):
        Augment(4, 4)(pictures(5, 3, 4, 4), draws)


def test_a_colour_shift_wants_draws_of_its_own():
    with pytest.raises(ValueError, match=r"a row of draws for each picture, \(5, 7\), got \(5, 4\)"):
        Augment(4, 4, colour=torch.eye(3))(pictures(5, 3, 4, 4), Augment(4, 4).draws(5, 0, 1))


@pytest.mark.parametrize("colour", [torch.zeros(3), 0.1, torch.full((3, 3), torch.nan), torch.eye(3).numpy()])
def test_colours_that_are_no_axes_are_refused(colour):
    with pytest.raises(ValueError, match=r"colour must be a tensor \(3, 3\) of finite numbers"):
        Augment(4, 4, colour=colour)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (pictures(2, 3, 4, 4) / 255, "expected uint8 pictures"),
        (pictures(2, 3, 4, 4).numpy(), "got a ndarray"),
        (pictures(0, 3, 4, 4), "no pictures to take the colours of"),
    ],
)
def test_colours_are_those_of_pictures(images, said):
    with pytest.raises(ValueError, match=said):
        colour_axes(images)


def test_a_flip_is_true_or_false():
    with pytest.raises(ValueError, match="flip must be True or False, got 'no'"):
        Augment(4, 4, flip="no")


@pytest.mark.parametrize("one", [np.int64(1), torch.tensor(1), np.uint8(1)])
def test_seeds_epochs_and_counts_may_be_numpys(one):
    augment = Augment(4, 4)
    assert torch.equal(augment.draws(3 * one, one, one), augment.draws(3, 1, 1))
    assert stream(one, one, "order") == stream(1, 1, "order")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ((-1, 1, 1), "count must be a number of pictures, got -1"),
        ((2, 1.5, 1), "seed must be a whole number, got 1.5"),
        ((2, 1, "1"), "epoch must be a whole number, got '1'"),
    ],
)
def test_draws_of_nothing_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Augment(4, 4).draws(*wrong)


def test_another_default_number_format_changes_no_view():
    images, augment = pictures(5, 3, 14, 17), Augment(9, (10, 20), colour=0.1 * torch.eye(3))

    def views():
        draws = augment.draws(5, 1, 2)
        return draws, augment(images, draws), view(images, 9, 11), whole(images, 20)

    expected = views()
    try:
        torch.set_default_dtype(torch.float64)
        found = views()
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_greyscale_has_no_colours():
    with pytest.raises(ValueError, match="these pictures have 1"):
        colour_axes(pictures(2, 1, 4, 4))
    augment = Augment(4, 4, colour=torch.eye(3))
    with pytest.raises(ValueError, match="three channels, these have 1"):
        augment(pictures(2, 1, 4, 4), augment.draws(2, 0, 1))


@pytest.mark.parametrize(("height", "width", "scale"), [(14, 14, 20), (11, 19, 24), (20, 13, 9)])
def test_whole_is_torchvisions_resize(height, width, scale):
    images = pictures(3, 2, height, width)
    expected = V.resize(images.double() / 255, [scale], antialias=True)
    found = whole(images, scale)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4


@pytest.mark.parametrize(("size", "step"), [(256, 8), (384, 40), (512, 72), (32, 1), (48, 5), (64, 9), (28, 0)])
def test_five_crops_a_side_start_at_the_papers_steps(size, step):
    crop = 224 if size > 64 else 28
    assert crop_offsets(size, crop) == [n * step for n in range(5)]
    assert crop_offsets(size, crop, 1) == [(size - crop) // 2]
    assert crop_offsets(size, crop, 2) == [0, size - crop]


@pytest.mark.parametrize("wrong", [(27, 28, 5), (28, 28, 0), (28, 0, 5)])
def test_crops_that_cannot_be_laid_out_are_refused(wrong):
    with pytest.raises(ValueError, match="crop <= size and a grid"):
        crop_offsets(*wrong)


def test_placed_is_torchvisions_resize_pasted():
    images, sides = pictures(4, 1, 14, 14), torch.tensor([14, 9, 20, 24])
    rows, columns = torch.tensor([3, 0, 4, 0]), torch.tensor([10, 15, 0, 0])
    found = placed(images, 24, sides, (rows, columns))
    assert found.dtype == torch.uint8
    for image, canvas, side, row, column in zip(images, found, sides, rows, columns, strict=True):
        expected = torch.zeros(1, 24, 24)
        expected[:, row : row + side, column : column + side] = V.resize(image.float(), [int(side)], antialias=True)
        assert (canvas - expected).abs().max() < 0.51


def test_placed_is_exact_under_autocast_and_of_squares_alone():
    images, sides, corner = pictures(4, 1, 14, 14), torch.tensor([14, 9, 20, 24]), torch.zeros(4, dtype=torch.long)
    expected = placed(images, 24, sides, (corner, corner))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(placed(images, 24, sides, (corner, corner)), expected)
    with pytest.raises(ValueError, match="expected square pictures, got 14 x 12"):
        placed(images[..., :12], 24, sides, (corner, corner))


def test_an_empty_share_of_a_batch_stays_empty():
    augment = Augment(crop=12, scale=(12, 15))
    assert augment(torch.zeros(0, 1, 14, 14, dtype=torch.uint8), torch.zeros(0, 4)).shape == (0, 1, 12, 12)


@pytest.mark.parametrize("source", [28, 50])
def test_weights_worked_out_once_or_for_each_picture_are_the_same(source):
    """A GPU takes the second way, which has nothing to wait for."""
    scaled, first = torch.tensor([28, 40, 28, 64]), torch.tensor([0, 7, 0, 36])
    mirrored = torch.tensor([False, True, True, False])
    place = torch.arange(28)
    place = first[:, None] + torch.where(mirrored[:, None], 27 - place, place)
    assert torch.equal(_weights(source, scaled, first, 28, mirrored), _triangles(source, scaled, place))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_pictures_that_are_not_bytes_are_refused(dtype):
    """Divided by 255 already, they would be divided once more."""
    pictures = torch.ones(2, 1, 8, 8, dtype=dtype)
    augment = Augment(4, 8)
    for attempt in (
        lambda: view(pictures, 4),
        lambda: whole(pictures, 8),
        lambda: augment(pictures, augment.draws(2, 0, 1)),
    ):
        with pytest.raises(ValueError, match=f"expected uint8 pictures, 0 to 255, got {dtype}"):
            attempt()
