"""Folders of pictures: every kind of file, really made here, is read as a person sees it or refused by its name."""

import gc
import io
import multiprocessing
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile, ImageOps
from torch import nn
from torchvision.datasets import ImageFolder

from vgglib import evaluation, folders, peers, picture_file, training
from vgglib.augment import Augment, colour_axes, stream, view
from vgglib.data import DataError, ImageSet, image_folder
from vgglib.folders import SUFFIXES, read_picture, train_and_validation
from vgglib.model import VGG
from vgglib.picture_file import TURNS
from vgglib.run import completed, told
from vgglib.tables import as_html
from vgglib.training import NotLearningWarning, recipe

HTML = b"\n <!DOCTYPE html><html><title>Not found</title></html>"


def noise(height, width, channels=3, seed=0):
    """A smooth picture of random colours, (H, W) or (H, W, channels)."""
    dice = np.random.default_rng(seed)
    small = dice.integers(0, 256, (5, 4, channels), dtype=np.uint8)
    whole = np.stack([np.asarray(Image.fromarray(small[..., c]).resize((width, height))) for c in range(channels)], 2)
    return whole if channels > 1 else whole[..., 0]


def save(path, pixels, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def pixels_of(path, channels=3):
    """read_picture as an array (H, W, C) or (H, W)."""
    picture = read_picture(path, channels)
    assert picture.dtype == torch.uint8
    assert picture.shape[0] == channels
    assert picture.is_contiguous()
    array = picture.permute(1, 2, 0).numpy()
    return array if channels == 3 else array[..., 0]


@pytest.fixture
def root(tmp_path):
    """Three classes, twelve pictures of different sizes and shapes."""
    for n in range(12):
        pixels = noise(20 + 3 * n, 50 - 2 * n, seed=n)
        save(tmp_path / "set" / ("ant", "bee", "cat")[n % 3] / f"{n:02}.png", pixels)
    return tmp_path / "set"


@pytest.fixture
def settings():
    return recipe("paper", image_size=16, scale=(18, 30), batch_size=5, rgb_shift=0.0)


def all_of(batches):
    Xs, ys = zip(*batches, strict=True)
    return torch.cat(Xs), torch.cat(ys)


# --- one file: read as a person sees it ----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp"])
def test_colours_come_back(tmp_path, suffix):
    pixels = noise(23, 31)
    path = save(tmp_path / f"x.{suffix}", pixels, **(dict(lossless=True) if suffix == "webp" else {}))
    assert (pixels_of(path) == pixels).all()


def test_jpeg_is_that_of_pillow_whatever_its_name(tmp_path):
    path = save(tmp_path / "x.png", noise(40, 30), format="JPEG", quality=90)
    expected = np.asarray(Image.open(path))
    assert (pixels_of(path) == expected).all()
    assert np.abs(expected.astype(int) - noise(40, 30)).mean() < 5


def test_grey_becomes_three_equal_channels_and_colour_becomes_grey(tmp_path):
    grey = noise(20, 30, channels=1)
    path = save(tmp_path / "grey.png", grey)
    assert (pixels_of(path) == grey[..., None]).all()
    assert (pixels_of(path, channels=1) == grey).all()
    colour = save(tmp_path / "colour.png", noise(20, 30))
    luma = noise(20, 30) @ [0.299, 0.587, 0.114]
    assert np.abs(pixels_of(colour, channels=1) - luma).max() < 1


def test_cmyk(tmp_path):
    red = Image.new("RGB", (40, 30), (200, 30, 20))
    path = save(tmp_path / "x.jpg", red, mode="CMYK", quality=95)
    assert Image.open(path).mode == "CMYK"
    assert np.abs(pixels_of(path).astype(int) - (200, 30, 20)).max() < 12


def test_cmyk_of_tiff(tmp_path):
    path = save(tmp_path / "x.tif", Image.new("CMYK", (4, 3), (0, 255, 255, 0)))
    assert (pixels_of(path) == (255, 0, 0)).all()


def test_palette(tmp_path):
    indexed = Image.fromarray(noise(20, 30)).quantize(64)
    path = save(tmp_path / "x.png", indexed)
    assert Image.open(path).mode == "P"
    assert (pixels_of(path) == np.asarray(indexed.convert("RGB"))).all()


def test_black_and_white(tmp_path):
    bits = noise(20, 30, channels=1) > 127
    path = save(tmp_path / "x.png", Image.fromarray(bits))
    assert Image.open(path).mode == "1"
    assert (pixels_of(path) == bits[..., None] * 255).all()


def test_what_is_transparent_is_white(tmp_path):
    pixels = np.dstack([noise(20, 30), np.full((20, 30), 255, np.uint8)])
    pixels[:10, :, 3] = 0
    pixels[10:12, :, 3] = 51  # a fifth
    found = pixels_of(save(tmp_path / "x.png", pixels))
    assert (found[:10] == 255).all(), "the colours below a transparent pixel are anyone's guess"
    assert np.abs(found[10:12] - (0.8 * 255 + 0.2 * pixels[10:12, :, :3])).max() <= 1
    assert (found[12:] == pixels[12:, :, :3]).all()


def test_transparency_of_palettes_of_grey_and_of_one_colour(tmp_path):
    palette = Image.new("P", (4, 4))
    palette.putpalette([0, 0, 0, 250, 0, 0])
    palette.putpixel((1, 1), 1)
    found = pixels_of(save(tmp_path / "p.png", palette, transparency=0))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[1, 1].tolist() == [250, 0, 0]
    grey = np.dstack([np.full((4, 4), 9, np.uint8), np.zeros((4, 4), np.uint8)])
    assert (pixels_of(save(tmp_path / "la.png", Image.fromarray(grey, "LA"))) == 255).all()
    one = Image.new("RGB", (4, 4), (1, 2, 3))
    one.putpixel((2, 0), (7, 8, 9))
    found = pixels_of(save(tmp_path / "rgb.png", one, transparency=(1, 2, 3)))
    assert found[0, 2].tolist() == [7, 8, 9]
    assert found[1, 1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_keep_the_upper_eight(tmp_path, suffix):
    """torchvision's loader cuts them off at 255, and shows white."""
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)[::4]
    path = save(tmp_path / f"x.{suffix}", deep)
    found = pixels_of(path)
    assert (found == (deep >> 8)[..., None]).all()
    assert (np.asarray(Image.open(path).convert("RGB")) > 254).mean() > 0.9, "Pillow mends it: simplify _upper_bits"


def test_sixteen_bit_colours(tmp_path):
    deep = (np.arange(36).reshape(3, 4, 3) * 1800).astype(">u2")
    (tmp_path / "x.ppm").write_bytes(b"P6\n4 3\n65535\n" + deep.tobytes())
    assert np.abs(pixels_of(tmp_path / "x.ppm").astype(int) - (deep >> 8)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_exif_turns_it_as_pillow_does(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"x.{suffix}", noise(20, 31), exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    found = pixels_of(path)
    assert (found == expected).all()
    assert found.shape[:2] == ((31, 20) if orientation > 4 else (20, 31))


def test_every_turn_is_there():
    assert sorted(TURNS) == list(range(2, 9))


def test_exif_that_cannot_be_read_counts_as_none(tmp_path):
    whole = save(tmp_path / "x.jpg", noise(20, 30)).read_bytes()
    broken = b"\xff\xe1" + struct.pack(">H", 40) + b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12" * 22
    (tmp_path / "y.jpg").write_bytes(whole[:2] + broken + whole[2:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (pixels_of(tmp_path / "y.jpg") == pixels_of(tmp_path / "x.jpg")).all()


def test_of_several_pages_the_first(tmp_path):
    pages = [Image.fromarray(noise(12, 14, seed=n)) for n in range(3)]
    path = save(tmp_path / "x.tif", pages[0], save_all=True, append_images=pages[1:])
    assert (pixels_of(path) == np.asarray(pages[0])).all()
    moving = save(tmp_path / "x.png", pages[0], format="GIF", save_all=True, append_images=pages[1:])
    assert pixels_of(moving).shape == (12, 14, 3)


# --- one file: refused by name -------------------------------------------------------------------------------------


def refused(path, match, channels=3):
    with pytest.raises(DataError, match=match) as raised:
        read_picture(path, channels)
    said = str(raised.value)
    assert said.startswith(f"{path} "), said
    assert ";" in said, "says what to do"
    assert raised.value.__cause__ is None
    return said


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "ppm", "webp"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97])
def test_truncated_files_are_refused(tmp_path, suffix, share):
    whole = save(tmp_path / f"x.{suffix}", noise(60, 70)).read_bytes()
    (tmp_path / f"x.{suffix}").write_bytes(whole[: int(share * len(whole))])
    refused(tmp_path / f"x.{suffix}", "damaged|decoded|no picture")


def test_truncated_files_are_refused_also_where_another_library_asked_for_them(tmp_path, monkeypatch):
    path = save(tmp_path / "x.jpg", noise(60, 70))
    path.write_bytes(path.read_bytes()[:-200])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    refused(path, "damaged")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True, "their setting is left as it was"


def test_flipped_bits_of_a_png_are_refused(tmp_path):
    """By its checksums: Pillow alone loads many of these, as another picture."""
    path = save(tmp_path / "x.png", noise(60, 70))
    whole, expected, dice, loaded = path.read_bytes(), pixels_of(path), np.random.default_rng(1), 0
    for place in dice.integers(8, len(whole), 100):
        broken = bytearray(whole)
        broken[place] ^= 1 << int(dice.integers(8))
        path.write_bytes(broken)
        loaded += is_another(path, expected)
        refused(path, "damaged|decoded|no picture|more than")
    assert loaded, "Pillow looks at the checksums itself: simplify"


def is_another(path, expected):
    """Whether Pillow loads a file without a word, as other pixels."""
    try:
        return not np.array_equal(np.asarray(Image.open(path)), expected)
    except Exception:
        return False


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (HTML, "is a web page, not a picture"),
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "pointer of Git LFS"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture of a kind that is read here"),
        (bytes(range(256)), "no picture of a kind"),
        (b"\x89PNG\r\n\x1a\n", "no picture|decoded|damaged"),
    ],
)
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_fake_pictures_are_refused(tmp_path, content, match, suffix):
    (tmp_path / f"x.{suffix}").write_bytes(content)
    refused(tmp_path / f"x.{suffix}", match)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
def test_a_single_row_or_pixel_is_refused(tmp_path, size):
    path = save(tmp_path / "x.png", Image.new("RGB", size))
    refused(path, f"is {size[0]} x {size[1]} pixels, no picture to learn from")


def test_small_pictures_are_read(tmp_path):
    assert pixels_of(save(tmp_path / "x.png", noise(2, 2))).shape == (2, 2, 3)
    assert pixels_of(save(tmp_path / "y.png", noise(31, 31))).shape == (31, 31, 3)


@pytest.mark.parametrize("sides", [(10_000, 9_000), (60_000, 60_000)])
def test_bombs_are_refused_unopened(tmp_path, sides):
    """A few bytes that say they are a picture of gigabytes."""
    whole = save(tmp_path / "x.png", noise(9, 9)).read_bytes()
    header = whole[12:16] + struct.pack(">II", *sides) + whole[24:29]
    bomb = whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]
    (tmp_path / "x.png").write_bytes(bomb)
    refused(tmp_path / "x.png", "more than 89,478,485 pixels; shrink it")


def test_a_lifted_limit_of_pillow_lifts_no_limit_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(picture_file, "LARGEST", 100)
    refused(save(tmp_path / "x.png", noise(20, 20)), "more than 100 pixels")


def test_numbers_without_a_range_are_refused(tmp_path):
    refused(save(tmp_path / "i.tif", Image.new("I", (9, 9), 70_000)), "32-bit numbers")
    refused(save(tmp_path / "f.tif", Image.new("F", (9, 9), 0.5)), "32-bit numbers")


def test_twelve_bits_in_sixteen_are_refused(tmp_path):
    refused(save(tmp_path / "x.png", np.full((9, 9), 4095, np.uint16)), "no value above 4095.*almost black")
    assert (pixels_of(save(tmp_path / "y.png", np.full((9, 9), 4096, np.uint16))) == 16).all()
    assert (pixels_of(save(tmp_path / "z.png", np.zeros((9, 9), np.uint16))) == 0).all()


def deep_png(path, values, kind):
    """A PNG of 16 bits, which Pillow does not write but for grey; kind: 2 colours, 4 grey and alpha, 6 both."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", values.shape[1], len(values), 16, kind, 0, 0, 0))]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    sealed = ((len(part), name + part, zlib.crc32(name + part)) for name, part in parts)
    said = (struct.pack(">I", size) + part + struct.pack(">I", checksum) for size, part, checksum in sealed)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(said))
    return path


@pytest.mark.parametrize(("kind", "colours", "alpha"), [(2, 3, 0), (4, 1, 1), (6, 3, 1)])
def test_twelve_bits_in_sixteen_are_refused_in_colour_and_with_transparency_too(tmp_path, kind, colours, alpha):
    whole = np.concatenate([np.full((9, 9, colours), 4095), np.full((9, 9, alpha), 65_535)], axis=2)
    for channels in (1, 3):
        refused(deep_png(tmp_path / "x.png", whole, kind), "no value above 4095.*almost black", channels)
    refused(deep_png(tmp_path / "x.png", whole // 16, kind), "no value above 255.*almost black")
    whole[0, 0, 0] = 4096
    found = pixels_of(deep_png(tmp_path / "y.png", whole, kind))
    assert (found[1:] == 15).all()
    assert found[0, 0, 0] == 16


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "folder.png").mkdir()
    refused(tmp_path / "folder.png", "is a folder or a device")
    refused(tmp_path / "nowhere.png", "is missing")
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    refused(tmp_path / "link.png", "is missing")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    refused(tmp_path / "x.png", "is a folder or a device")


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    path = save(tmp_path / "x.png", noise(9, 9))

    def closed(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", closed)  # root may read anything
    refused(path, r"cannot be read \(Permission denied\)")


# --- the folder ----------------------------------------------------------------------------------------------------


def test_files_and_labels_are_those_of_torchvision(root):
    save(root / "bee" / "deeper" / "still" / "x.JPG", noise(9, 9), format="JPEG")
    theirs, ours = ImageFolder(root), image_folder(root)
    assert list(ours.classes) == theirs.classes
    assert ours.labels.dtype == torch.int64
    assert ours.labels.tolist() == theirs.targets
    assert [str(ours.path(n)) for n in range(len(ours))] == [path for path, _ in theirs.samples]
    assert len(ours) == 13
    assert repr(ours) == f"FolderSet(13 pictures in {root}, 3 classes)"


def test_suffixes_are_those_of_torchvision():
    from torchvision.datasets.folder import IMG_EXTENSIONS

    assert set(SUFFIXES) == set(IMG_EXTENSIONS)


def test_pictures_come_in_order_and_as_they_are(root):
    found = list(image_folder(root).pictures())
    assert [label for _, label in found] == [0] * 4 + [1] * 4 + [2] * 4
    for (picture, _), n in zip(found, (0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11), strict=True):
        assert picture.dtype == torch.uint8
        assert (picture.permute(1, 2, 0).numpy() == noise(20 + 3 * n, 50 - 2 * n, seed=n)).all()
    assert all(picture.shape[0] == 1 for picture, _ in image_folder(root, channels=1).pictures())


@pytest.mark.parametrize("name", ["été 秋 🍁", "<img src=x onerror=alert(1)>", "$x_{$ & \"'", "a b", "%s{}"])
def test_any_name_of_a_class_or_file(tmp_path, name):
    save(tmp_path / name / f"{name.replace('/', '')}.png", noise(9, 9))
    save(tmp_path / "other" / "x.png", noise(9, 9, seed=1))
    found = image_folder(tmp_path)
    assert name in found.classes
    assert len(list(found.pictures())) == 2
    table = as_html([("class",), *((each,) for each in found.classes)])
    assert "<img" not in table


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_no_text(tmp_path):
    folder = os.fsencode(tmp_path / "cat")
    os.mkdir(folder)
    with open(os.path.join(folder, b"\xff\xfe.png"), "wb") as file:
        buffer = io.BytesIO()
        Image.fromarray(noise(9, 9)).save(buffer, "PNG")
        file.write(buffer.getvalue())
    assert len(list(image_folder(tmp_path).pictures())) == 1


def test_hidden_files_and_folders_are_not_classes_or_pictures(root):
    for name in (".ipynb_checkpoints/x.png", ".git/y.png", "ant/.hidden/z.png"):
        save(root / name, noise(9, 9))
    (root / "ant" / "._00.png").write_bytes(b"\0\5\x16\7")
    (root / "readme.txt").write_text("beside the classes")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = image_folder(root)
    assert found.classes == ("ant", "bee", "cat")
    assert len(found) == 12


def test_what_is_left_out_for_its_suffix_is_said(root):
    for name in ("ant/a.heic", "bee/b.HEIC", "bee/notes", "cat/c.avif"):
        (root / name).write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"left out 1 \.avif, 2 \.heic, 1 without a suffix; pictures end in \.jpg"):
        assert len(image_folder(root)) == 12


def test_a_link_back_is_not_followed_for_ever(root):
    (root / "ant" / "again").symlink_to(root / "ant")
    assert len(image_folder(root)) == 12
    (root / "bee" / "linked").symlink_to(root / "cat")
    assert len(image_folder(root)) == 16


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda root: None, "does not exist; expected one folder for each class"),
        (lambda root: root.write_text("x"), "is not a folder; expected"),
        (lambda root: root.mkdir(), "holds no folders; expected"),
        (lambda root: save(root / "x.png", noise(9, 9)), "holds no folders; expected"),
        (lambda root: (root / "cat").mkdir(parents=True), "cat holds no picture; picture files end in .jpg"),
        (lambda root: (root / "cat" / ".x").mkdir(parents=True), "cat holds no picture; "),
    ],
)
def test_folders_of_another_layout_are_refused(tmp_path, make, match):
    make(tmp_path / "set")
    with pytest.raises(DataError, match=match):
        image_folder(tmp_path / "set")


def test_a_class_of_other_files_is_refused(root):
    (root / "dog").mkdir()
    (root / "dog" / "x.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"dog holds no picture \(only \.heic files\)"):
        image_folder(root)


@pytest.mark.parametrize(("clear", "seen"), [(0, [255, 0, 117, 234]), (30_000, [0, 0, 255, 234])])
def test_what_is_transparent_in_sixteen_bits_becomes_white(tmp_path, clear, seen):
    """Only the level that is named: its neighbours look alike in eight bits."""
    levels = np.array([[0, 1], [30_000, 60_000]], np.uint16)
    Image.fromarray(levels).save(tmp_path / "x.png", transparency=clear)
    for channels in (1, 3):
        assert (read_picture(tmp_path / "x.png", channels).flatten(1) == torch.tensor(seen)).all()


@pytest.mark.parametrize(("names", "given"), [(("training", "validation"), "training"), (("test", "val"), "test")])
def test_sets_by_other_names_are_not_taken_for_classes(root, names, given):
    both = root.parent / "both"
    both.mkdir()
    for name in names:
        (both / name).symlink_to(root)
    with pytest.raises(DataError, match=rf"which are sets, not classes; give one of them, such as .*{given}$"):
        image_folder(both)
    assert image_folder(both / names[0]).classes == ("ant", "bee", "cat")


@pytest.mark.parametrize("classes", [None, ("ant", "bee", "cat")])
def test_a_folder_that_cannot_be_listed_is_refused(root, classes, monkeypatch):
    """Its pictures would be left out without a word. (Root may list everything, so the refusal is staged.)"""
    (root / "bee" / "more").mkdir()
    listed = os.scandir

    def scandir(path="."):
        if str(path).endswith("more"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"bee/more cannot be listed \(Permission denied\)"):
        image_folder(root, classes)


def test_train_and_val_are_not_taken_for_classes(root):
    """torchvision's ImageFolder gives two classes, "train" and "val", without a word."""
    both = root.parent / "both"
    both.mkdir()
    (both / "train").symlink_to(root)
    for n in range(2):
        save(both / "val" / "cat" / f"{n}.png", noise(9, 9))
    assert ImageFolder(both).classes == ["train", "val"]
    with pytest.raises(DataError, match="holds train and val, which are sets, not classes"):
        image_folder(both)
    train, validation = train_and_validation(both)
    assert len(train) == 12
    assert train.classes == validation.classes == ("ant", "bee", "cat")
    assert validation.labels.tolist() == [2, 2], "classes that val lacks do not shift the labels"
    whole, nothing = train_and_validation(root)
    assert len(whole) == 12
    assert nothing is None
    save(both / "val" / "fox" / "x.png", noise(9, 9))
    with pytest.raises(DataError, match="fox is none of the 3 classes, ant, bee, cat"):
        train_and_validation(both)
    with pytest.raises(DataError, match=r"give one of them, such as .*val$"):  # a network's classes are asked for
        image_folder(both, classes=("cats", "dogs"))


def test_a_class_with_a_slash_is_a_folder_in_a_folder(root):
    classes = ("cat/tabby", "ant", "bee", "dog")
    (root / "cat" / "tabby").mkdir()
    for picture in [file for file in (root / "cat").iterdir() if file.is_file()]:
        with pytest.raises(
            DataError, match=r"cat/.* is none of the 4 .*; the pictures of cat/tabby belong into .*tabby$"
        ):
            image_folder(root, classes)
        picture.rename(root / "cat" / "tabby" / picture.name)
    found = image_folder(root, classes)
    assert found.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    (root / "cat").rename(root / "cat_tabby")
    with pytest.raises(
        DataError, match=r"cat_tabby is none of the 4 .*; the pictures of cat/tabby belong into .*tabby$"
    ):
        image_folder(root, classes)


def test_classes_may_be_given(root):
    assert image_folder(root, classes=("cat", "dog", "bee", "ant")).labels.tolist() == [0] * 4 + [2] * 4 + [3] * 4
    empty = root.parent / "empty"
    (empty / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no picture; expected"):
        image_folder(empty, classes=("cat",))


@pytest.mark.parametrize("channels", [0, 2, 4, "RGB", None])
def test_other_numbers_of_channels_are_refused(root, channels):
    with pytest.raises(ValueError, match="channels must be 3"):
        image_folder(root, channels=channels)


@pytest.mark.parametrize("workers", [-1, 1.5, None, True])
def test_other_numbers_of_workers_are_refused(root, workers):
    with pytest.raises(ValueError, match="workers must be"):
        image_folder(root, workers=workers)


def test_a_16_bit_tiff_in_which_zero_is_white_is_no_negative(tmp_path):
    levels = (np.arange(30 * 40).reshape(30, 40) * 50).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "black.tif")
    Image.fromarray(65_535 - levels).save(tmp_path / "white.tif", tiffinfo={262: 0})
    with Image.open(tmp_path / "white.tif") as written:
        assert written.tag_v2[262] == 0
    assert torch.equal(read_picture(tmp_path / "black.tif"), read_picture(tmp_path / "white.tif"))


@pytest.mark.parametrize("format", ["bmp", "ppm", "tif"])
def test_exchanged_pictures_of_one_size_are_other_contents(tmp_path, format):
    for name, seed in (("ant/a", 1), ("bee/b", 2)):
        save(tmp_path / f"{name}.{format}", noise(40, 50, seed=seed))
    before = image_folder(tmp_path).contents
    assert image_folder(tmp_path).contents == before
    one, other = tmp_path / f"ant/a.{format}", tmp_path / f"bee/b.{format}"
    assert one.stat().st_size == other.stat().st_size
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    assert image_folder(tmp_path).contents != before


def test_a_class_that_is_a_link_to_nothing_is_named(root):
    os.symlink(root / "nowhere", root / "wasp")
    with pytest.raises(DataError, match="wasp is a link to what is not there: mount or mend it"):
        image_folder(root)


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ({"ant", "bee", "cat"}, "classes must be in an order"),
        (["ant", "bee", "cat", ""], "must be names of folders, got ''"),
        (["ant", "."], r"must be names of folders, got '\.'"),
        (["../val/ant"], "must be names of folders"),
        ([0, 1, 2], "must be names of folders, got 0"),
    ],
)
def test_classes_that_are_no_folders_names_are_refused(root, classes, said):
    with pytest.raises(ValueError, match=said):
        image_folder(root, classes=classes)


def test_a_million_processes_are_refused(root):
    with pytest.raises(ValueError, match=r"1,000,000 are too many for the \d+ cores here, take at most \d+"):
        image_folder(root, workers=1_000_000)


def test_no_process_is_started_that_would_have_nothing_to_read(root, monkeypatch):
    asked = []
    real = folders.DataLoader
    monkeypatch.setattr(folders, "DataLoader", lambda *a, **k: asked.append(k["num_workers"]) or real(*a, **k))
    found = image_folder(root, workers=50)
    assert len(list(found[:2].pictures())) == 2
    assert asked == [2]


def test_fashion_mnist_needs_neither_torchvision_nor_pillow():
    """They are in an optional part of the package."""
    look = "import sys, vgglib.data, vgglib.training; print({'torchvision', 'PIL'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


# --- parts of the set ----------------------------------------------------------------------------------------------


def test_split_is_that_of_an_image_set(root):
    pictures = image_folder(root)
    alike = ImageSet(torch.arange(12, dtype=torch.uint8).view(12, 1, 1, 1), torch.zeros(12, dtype=torch.int64), ("a",))
    for ours, theirs in zip(pictures.split(4, seed=3), alike.split(4, seed=3), strict=True):
        chosen = theirs.images.flatten().tolist()
        assert [ours.path(n) for n in range(len(ours))] == [pictures.path(n) for n in chosen]
        assert ours.labels.tolist() == pictures.labels[chosen].tolist()
        assert ours.classes == pictures.classes
    for wrong in (0, 12, 1.5, -1):
        with pytest.raises(ValueError, match="validation must be"):
            pictures.split(wrong)


def test_slices_and_subsets(root):
    pictures = image_folder(root)
    assert pictures[2:5].path(0) == pictures.path(2)
    assert len(pictures[::2]) == 6
    assert pictures.subset([-1, 0]).path(0) == pictures.path(11)
    assert pictures.subset(pictures.labels == 1).labels.tolist() == [1] * 4
    for index in (3, -1, np.int64(5)):
        picture, label = pictures[index]
        assert torch.equal(picture, pictures.picture(int(index) % 12))
        assert label == pictures.labels[int(index)]
    same = image_folder(root).subset([3, 3])
    assert [tuple(X.shape[1:]) for X, _ in torch.utils.data.DataLoader(same, batch_size=2)] == [same[0][0].shape]
    with pytest.raises(TypeError, match="takes a position, or slices"):
        pictures["3"]
    with pytest.raises(IndexError, match="no picture 12 in a set of 12"):
        pictures[12]
    with pytest.raises(ValueError, match="at least one"):
        pictures[5:5]
    with pytest.raises(IndexError):
        pictures.subset([12])


def test_mean_and_std_count_every_picture_alike(root):
    pictures = image_folder(root)
    mean, std = pictures.mean_and_std()
    whole = [picture.double() / 255 for picture, _ in pictures.pictures()]
    expected = torch.stack([picture.mean(dim=(1, 2)) for picture in whole]).mean(dim=0)
    square = torch.stack([picture.square().mean(dim=(1, 2)) for picture in whole]).mean(dim=0)
    torch.testing.assert_close(mean, expected.float())
    torch.testing.assert_close(std, (square - expected**2).sqrt().float())
    assert mean.shape == std.shape == (3,)
    few, _ = pictures.mean_and_std(most=3)
    torch.testing.assert_close(few, torch.stack([whole[n].mean(dim=(1, 2)) for n in (0, 5, 11)]).mean(dim=0).float())


def test_mean_and_std_of_pictures_of_one_size_are_those_of_an_image_set(tmp_path):
    stack = np.stack([noise(14, 14, 1, seed=n) for n in range(6)])
    for n, pixels in enumerate(stack):
        save(tmp_path / "a" / f"{n}.png", pixels)
    alike = ImageSet(torch.from_numpy(stack)[:, None], torch.zeros(6, dtype=torch.int64), ("a",))
    mean, std = image_folder(tmp_path, channels=1).mean_and_std()
    assert (mean.item(), std.item()) == pytest.approx(alike.mean_and_std(), abs=1e-6)


# --- training views ------------------------------------------------------------------------------------------------


def test_batches_are_section_3_1(root, settings):
    pictures = image_folder(root)
    batches = list(pictures.batches(settings, seed=4, epoch=2))
    assert [len(y) for _, y in batches] == [5, 5, 2]
    X, y = all_of(batches)
    assert X.shape == (12, 3, 16, 16)
    assert X.dtype == torch.float32
    assert y.dtype == torch.int64
    assert 0 <= X.min() < X.max() <= 1
    order = torch.randperm(12, generator=torch.Generator().manual_seed(stream(4, 2, "order")))
    augment = Augment(16, (18, 30))
    draws = augment.draws(12, seed=4, epoch=2)
    for found, label, index in zip(X, y, order, strict=True):
        expected = augment(pictures.picture(index)[None], draws[index][None])[0]
        assert (found - expected).abs().max() < 1.1 / 255, "the same view as on the device"
        assert label == pictures.labels[index]


def test_centre_crops_are_those_of_one_crop(root):
    pictures = image_folder(root, workers=2)
    found = list(pictures.centre_crops((16, 12), 20, batch_size=5))
    assert [len(some) for some in found] == [5, 5, 2]
    for crop, (picture, _) in zip(torch.cat(found), pictures.pictures(), strict=True):
        assert torch.equal(crop, view(picture[None], (16, 12), 20)[0])


def test_validation_takes_what_fits(root, settings, monkeypatch):
    """Crops of a folder are halved until memory holds them; their order stays."""
    pictures, small = image_folder(root), replace(settings, configuration="4 |", hidden=5)
    net, asked, there = training.build(small, pictures).eval(), [], evaluation.of_views

    def limited(net, X, bf16):
        asked.append(len(X))
        if len(X) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return there(net, X, bf16)

    expected = training.watched_accuracy(net, pictures, False, 20)
    posteriors = torch.cat([there(net, X, False) for X in pictures.centre_crops((16, 16), 20)])
    assert expected == evaluation.accuracy(posteriors, pictures.labels)
    monkeypatch.setattr("vgglib.evaluation.of_views", limited)
    assert training.watched_accuracy(net, pictures, False, 20) == expected
    assert asked == [12, 6, 3, 3, 3, 3]
    one_by_one = SimpleNamespace(batches=None, pictures=pictures.pictures, labels=pictures.labels)
    assert training.watched_accuracy(net, one_by_one, False, 20) == expected


def test_several_runs_read_the_colours_once(root, settings, monkeypatch):
    looked = []
    pictures, small = image_folder(root), replace(settings, configuration="4 |", hidden=5, rgb_shift=0.1, epochs=1)
    small = replace(small, schedule="constant")
    net, there = training.build(small, pictures), folders._moments
    monkeypatch.setattr(folders, "_moments", lambda *about: looked.append(1) or there(*about))
    for _ in range(2):
        training.fit(net, pictures, None, small, device="cpu")
    assert len(looked) == len(pictures)


def test_batches_lie_where_they_are_wanted(root, settings):
    pictures = image_folder(root)
    part, _ = pictures.to("meta").split(4)
    for X, y in part.batches(settings, seed=4, epoch=2):
        assert X.device.type == y.device.type == "meta"
        assert X.dtype == torch.float32
    assert pictures.device.type == "cpu"


def test_an_estimate_counts_the_readers(root, settings, monkeypatch):
    """Eight pictures are read in 4 seconds by one process, and learned in one."""
    monkeypatch.setattr(
        "vgglib.estimates._timed_step", lambda net, few, *_: (few.workers == 0 and len(few) / 2, len(few) / 8)
    )
    monkeypatch.setattr(training.os, "cpu_count", lambda: 16)
    pictures, small = image_folder(root), replace(settings, configuration="4 |", hidden=5, batch_size=8)
    net = training.build(small, pictures)
    for workers, speed in ((0, 1.6), (1, 2.0), (2, 4.0), (16, 8.0), (64, 8.0)):
        pictures.workers = workers
        found = training.estimate(net, pictures, small)
        assert found.images_per_second == pytest.approx(speed), workers
        assert pictures.workers == workers


def test_views_are_those_of_augment():
    """Every scale from shrinking to enlarging, both shapes; torchvision rounds to bytes, twice."""
    dice = np.random.default_rng(0)
    for n in range(80):
        height, width = dice.integers(9, 60, 2)
        low = int(dice.integers(8, 50))
        augment = Augment(int(dice.integers(5, low + 1)), (low, low + int(dice.integers(0, 20))), flip=bool(n % 2))
        picture = torch.from_numpy(noise(int(height), int(width), seed=n)).permute(2, 0, 1)
        draw = augment.draws(1, seed=n, epoch=1)
        found = folders._view(picture, augment, draw[0], "x.png")
        assert (found / 255 - augment(picture[None], draw)[0]).abs().max() < 1.1 / 255


def test_batches_depend_on_seed_epoch_and_index_alone(root, settings):
    pictures = image_folder(root)
    state = torch.get_rng_state()
    first, _ = all_of(pictures.batches(settings, seed=4, epoch=2))
    assert torch.equal(torch.get_rng_state(), state), "the global state is not touched"
    torch.rand(3)
    assert torch.equal(all_of(pictures.batches(settings, seed=4, epoch=2))[0], first)
    assert not torch.equal(all_of(pictures.batches(settings, seed=4, epoch=3))[0], first)
    assert not torch.equal(all_of(pictures.batches(settings, seed=5, epoch=2))[0], first)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(root, settings, workers):
    X, y = all_of(image_folder(root).batches(settings, seed=4, epoch=2))
    many = image_folder(root, workers=workers)
    X2, y2 = all_of(many.batches(settings, seed=4, epoch=2))
    assert torch.equal(X, X2)
    assert torch.equal(y, y2)
    for (a, i), (b, j) in zip(image_folder(root).pictures(), many.pictures(), strict=True):
        assert torch.equal(a, b)
        assert i == j
    assert torch.equal(many.mean_and_std()[1], image_folder(root).mean_and_std()[1])


@pytest.mark.slow
def test_workers_may_be_spawned(root, settings, monkeypatch):
    """As on Windows and macOS, where nothing of the parent is there but what was pickled."""
    loader = partial(folders.DataLoader, multiprocessing_context="spawn")
    X, _ = all_of(image_folder(root).batches(settings, seed=4, epoch=2))
    monkeypatch.setattr(folders, "DataLoader", loader)
    spawned, _ = all_of(image_folder(root, workers=1).batches(settings, seed=4, epoch=2))
    assert torch.equal(X, spawned)


def test_colours_are_shifted_as_augment_shifts_them(root, settings):
    pictures = image_folder(root)
    X, _ = all_of(pictures.batches(settings, seed=4, epoch=2))
    shifted, _ = all_of(pictures.batches(replace(settings, rgb_shift=0.5), seed=4, epoch=2))
    augment = Augment(16, (18, 30), colour=0.5 * pictures.colour_axes)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(stream(4, 2, "order")))
    draws = augment.draws(12, seed=4, epoch=2)
    for found, plain, index in zip(shifted, X, order, strict=True):
        expected = augment(pictures.picture(index)[None], draws[index][None])[0]
        assert (found - expected).abs().max() < 1.1 / 255
        assert not torch.equal(found, plain)


def test_colour_axes_of_pictures_of_one_size_are_those_of_augment(tmp_path):
    stack = np.stack([noise(14, 14, seed=n) for n in range(6)])
    for n, pixels in enumerate(stack):
        save(tmp_path / "a" / f"{n}.png", pixels)
    expected = colour_axes(torch.from_numpy(stack).permute(0, 3, 1, 2))
    found = image_folder(tmp_path).colour_axes
    torch.testing.assert_close(found @ found.T, expected @ expected.T)


def test_batches_go_on_in_the_middle(root, settings):
    pictures = image_folder(root)
    whole = list(pictures.batches(settings, seed=4, epoch=2))
    rest = list(pictures.batches(settings, seed=4, epoch=2, start=2))
    assert len(rest) == 1
    assert torch.equal(rest[0][0], whole[2][0])
    assert list(pictures.batches(settings, seed=4, epoch=2, start=3)) == []


@pytest.mark.parametrize("world", [2, 3, 6])
def test_processes_share_each_batch(root, settings, world):
    pictures = image_folder(root)
    shards = [list(pictures.batches(settings, seed=4, epoch=2, rank=rank, world=world)) for rank in range(world)]
    for step, (X, y) in enumerate(pictures.batches(settings, seed=4, epoch=2)):
        assert torch.equal(torch.cat([shard[step][0] for shard in shards]), X)
        assert torch.equal(torch.cat([shard[step][1] for shard in shards]), y)
        sizes = [len(shard[step][1]) for shard in shards]
        assert max(sizes) - min(sizes) <= 1


def test_a_last_batch_of_one_is_left_out_under_batch_normalisation(root, settings):
    pictures = image_folder(root)[:11]
    sizes = [len(y) for _, y in pictures.batches(recipe("laptop", batch_size=5), seed=0, epoch=1)]
    assert sizes == [5, 5]
    assert [len(y) for _, y in pictures.batches(settings, seed=0, epoch=1)] == [5, 5, 1]
    four = recipe("laptop", batch_size=4)
    assert [len(y) for _, y in pictures.batches(four, seed=0, epoch=1)] == [4, 4, 3]
    assert [len(y) for _, y in pictures.batches(four, seed=0, epoch=1, rank=1, world=2)] == [2, 2]


def test_long_thin_pictures(root, settings):
    save(root / "ant" / "thin.png", noise(2, 4000))
    X, _ = all_of(image_folder(root).batches(settings, seed=4, epoch=2))
    assert len(X) == 13
    wide = recipe("paper", image_size=224, scale=384, rgb_shift=0.0)
    with pytest.raises(DataError, match=r"thin.png is 4000 x 2 pixels, too long and thin to be rescaled to 384"):
        list(image_folder(root).batches(wide, seed=4, epoch=2))


# --- faults in the middle of the work ------------------------------------------------------------------------------


@pytest.fixture
def spoiled(root):
    (root / "ant" / "00.png").write_bytes(HTML)
    (root / "cat" / "05.png").write_bytes(b"")
    return root


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_the_file_is_named_wherever_it_is_met(spoiled, settings, workers):
    pictures = image_folder(spoiled, workers=workers)
    page, empty = pictures.faults()
    assert page.startswith(f"{spoiled / 'ant' / '00.png'} is a web page, not a picture; delete it")
    assert empty.startswith(f"{spoiled / 'cat' / '05.png'} is empty; delete it")
    with pytest.raises(DataError, match=r"^2 of 12 files cannot be used: .*00\.png is a web page.*05\.png is empty"):
        pictures.mean_and_std()
    with pytest.raises(DataError, match=r"^2 of 12 files cannot be used: .*00\.png is a web page.*05\.png is empty"):
        pictures.expect_pictures()
    pictures[4:8].expect_pictures()
    with pytest.raises(DataError, match=r"^1 of 3 files cannot be used: .*00\.png"):  # the first, the middle, the last
        pictures.expect_pictures(most=3)
    for meet in (pictures.pictures(), pictures.batches(settings, seed=0, epoch=1)):
        with pytest.raises(DataError) as raised:
            list(meet)
        assert str(raised.value) in (page, empty), "no traceback of another process around it"
    assert image_folder(spoiled)[4:8].faults() == []


def test_many_faults_are_counted(root):
    for file in root.rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"^12 of 12 files.*; and 2 more, see \.faults"):
        image_folder(root).mean_and_std()


@pytest.mark.slow
def test_a_worker_that_dies_is_said(root, settings):
    pictures = image_folder(root, workers=1)
    small = recipe("paper", image_size=16, scale=(18, 30), batch_size=1, rgb_shift=0.0)
    before = set(multiprocessing.active_children())
    batches = pictures.batches(small, seed=0, epoch=1)
    next(batches)
    (worker,) = set(multiprocessing.active_children()) - before
    time.sleep(2)  # until it waits for work: killed in the moment it asks the loader's event, it takes the lock along
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    with pytest.raises(DataError, match=r"a process that reads pictures has died.*workers=0"):
        list(batches)


def test_contents_tell_one_folder_from_another(root, tmp_path):
    here = image_folder(root)
    moved = shutil.copytree(root, tmp_path / "moved")
    assert image_folder(moved).contents == here.contents
    assert here[:6].contents != here.contents
    (moved / "ant" / "00.png").rename(moved / "ant" / "other.png")
    assert image_folder(moved).contents != here.contents
    (moved / "ant" / "other.png").rename(moved / "ant" / "00.png")
    save(moved / "ant" / "00.png", noise(9, 9, seed=1))
    assert image_folder(moved).contents != here.contents


@pytest.mark.slow
def test_workers_are_gone_when_the_loop_is_left(root, settings):
    before, threads = set(multiprocessing.active_children()), threading.active_count()
    batches = image_folder(root, workers=2).batches(settings, seed=0, epoch=1)
    next(batches)
    batches.close()
    gc.collect()
    assert set(multiprocessing.active_children()) <= before
    until = time.monotonic() + 30
    while threading.active_count() > threads and time.monotonic() < until:
        time.sleep(0.01)  # the threads that fed the processes end a moment after them
    assert threading.active_count() <= threads


def _hears(_item):
    return [signal.getsignal(number) is signal.SIG_IGN for number in (signal.SIGINT, signal.SIGTERM)]


def test_who_reads_pictures_does_not_hear_the_signals_of_all():
    assert list(folders._done(_hears, range(2), 1)) == [[True, True]] * 2
    assert list(folders._done(_hears, range(1), 0)) == [[False, False]]


def test_classes_that_are_no_list_of_different_names_are_refused(root):
    with pytest.raises(ValueError, match=r"must be a list of names, got 'cat': write \['cat'\]"):
        image_folder(root, classes="cat")
    with pytest.raises(ValueError, match="classes name 'bee' twice"):
        image_folder(root, classes=("ant", "bee", "cat", "bee"))


def test_the_readmes_code_for_practitioners_runs(tmp_path, monkeypatch):
    """Every block of Python in both READMEs, in order, on small pictures and with a narrow network for ImageNet's."""
    pages = [Path(__file__).parent.parent / page for page in ("README.md", "vgglib/README.md")]
    readme = "".join(page.read_text(encoding="utf-8") for page in pages)
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```", readme)
    assert len(blocks) == 3
    for n in range(9):
        save(tmp_path / "flowers" / "train" / ("lily", "rose")[n % 2] / f"{n}.png", noise(240 + n, 260, seed=n))
    save(tmp_path / "flowers" / "val" / "rose" / "a.png", noise(230, 250))
    save(tmp_path / "flowers" / "val" / "rose" / "b.png", noise(250, 230))
    monkeypatch.chdir(tmp_path)
    small = partial(VGG, width=1 / 64, hidden=8)
    monkeypatch.setattr(peers, "imagenet_network", lambda name: narrow(small(name)))
    names = {"any_module": nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())}
    code = "\n".join(blocks).replace(".split(200)", ".split(3)").replace("workers=8", "workers=1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotLearningWarning)  # of six pictures
        exec(compile(code, "README.md", "exec"), names)
    assert names["net"].classes == ("lily", "rose")
    assert names["labels"].tolist() == [1, 1]
    assert names["posteriors"].shape == (2, 2)
    assert names["scores"].shape == (6, 2)
    assert names["net"].training


def narrow(net):
    """A network that takes pictures as ImageNet's do."""
    net.mean.fill_(0.45)
    net.std.fill_(0.22)
    return net


def test_a_run_that_knew_less_of_its_folder_is_the_same_run(root):
    now = told(image_folder(root))
    older = {key: value for key, value in now.items() if key != "middles"}
    assert older.keys() == {"pictures", "labels", "contents", "names"}
    assert completed(older, now) == now


def test_pictures_replaced_by_others_of_the_same_size_are_noticed(root, monkeypatch):
    before, path = image_folder(root), root / "ant" / "00.png"
    known = before.middles
    assert image_folder(root).middles == known
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    now = image_folder(root)
    assert now.contents == before.contents
    assert now.middles != known
    monkeypatch.setattr(folders, "SAMPLED", 3)  # the first, one in the middle, the last
    assert image_folder(root).middles not in (known, now.middles)
    path.unlink()
    assert now.middles
    assert before.read_by.keys() == {"pillow", "torchvision"}


def test_names_are_the_same_on_every_system(tmp_path, monkeypatch):
    """A run that began on Windows may go on elsewhere: names go into what is compared."""
    save(tmp_path / "ant" / "deep" / "1.png", noise(20, 20))
    save(tmp_path / "bee" / "1.png", noise(20, 20))
    here = image_folder(tmp_path).names
    there = os.path.relpath
    monkeypatch.setattr(folders.os.path, "relpath", lambda *paths: there(*paths).replace("/", "\\"))
    monkeypatch.setattr(folders.os, "sep", "\\")
    assert image_folder(tmp_path).names == here


def test_readers_that_begin_anew_name_the_guard(root, settings, monkeypatch):
    def died(*_, **__):
        raise RuntimeError("DataLoader worker exited unexpectedly")

    monkeypatch.setattr(folders, "DataLoader", lambda *a, **k: (died() for _ in range(1)))
    for method, named in (("fork", False), ("spawn", True)):
        monkeypatch.setattr(folders.multiprocessing, "get_all_start_methods", lambda method=method: [method])
        with pytest.raises(folders.ReaderDied, match="take fewer workers") as raised:
            all_of(image_folder(root, workers=1).batches(settings, seed=4, epoch=2))
        assert ('`if __name__ == "__main__":`' in str(raised.value)) == named
