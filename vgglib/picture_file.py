"""One file as the picture that a person would see, or refused by its name; nothing is let through as something else.

What a file is, its bytes say and not its name. Colour profiles are not applied. A JPEG has no checksum: bits that
flipped inside it show as wrong colours, and no program can tell.
"""

import os
import stat
import warnings

import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError
from torch import Tensor

from vgglib.data import DataError

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")  # what the bytes may be; some others run programs
TURNS = {  # of EXIF's orientation, tag 0x0112
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LARGEST = 89_478_485  # pixels, Pillow's own limit: what says it has more is a mistake or an attack
REPLACE = "delete it or put a good copy in its place"
MOVE, RELIST = "move it away", "put it back, or list the folder again"


def read_picture(path: str | os.PathLike, channels: int = 3) -> Tensor:
    """A picture file as a person sees it: uint8 (channels, H, W), RGB or grey, turned as its EXIF says.

    What is transparent becomes white; 16 bits become the upper 8; of several pages the first counts. Raises DataError
    that names the file, what is wrong and what to do: missing, empty, truncated, damaged, no picture at all, 1 pixel
    wide or high, too large, 16 bits that use the lowest 12 only, or numbers without a range.
    """
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise DataError(f"{path} is a folder or a device, not a file; {MOVE}")
        ImageFile.LOAD_TRUNCATED_IMAGES = False  # other libraries set it, and get pictures that end in grey
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of EXIF data that cannot be read, without the name of the file
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                return _as_tensor(image, path, channels)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"{path} {_what_it_is(path)}; {REPLACE}") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise DataError(f"{path} has more than {LARGEST:,} pixels; shrink it or delete it") from None
    except FileNotFoundError:
        raise DataError(f"{path} is missing; {RELIST}") from None
    except OSError as error:
        reason = f"cannot be read ({error.strerror})" if error.strerror else f"is damaged ({error})"
        raise DataError(f"{path} {reason}; {REPLACE}") from None
    except Exception as error:  # whatever a decoder meets in damaged bytes
        raise DataError(f"{path} cannot be decoded ({error}); {REPLACE}") from None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def without_advice(error: DataError) -> str:
    """What read_picture says of a file, without the advice that is for files in a folder of classes."""
    said = str(error)
    for advice in (REPLACE, MOVE, RELIST):
        said = said.removesuffix(f"; {advice}")
    return said


def _as_tensor(image: Image.Image, path: str | os.PathLike, channels: int) -> Tensor:
    """The opened picture as read_picture gives it."""
    if image.width * image.height > LARGEST:
        raise Image.DecompressionBombError
    if min(image.size) < 2:
        raise DataError(f"{path} is {image.width} x {image.height} pixels, no picture to learn from; delete it")
    sixteen_bits = image.mode == "I" and image.format in ("PNG", "PPM")
    deep_colours = ";16" in str(image.tile)  # before loading, which leaves their upper 8 bits
    if image.format == "PNG":
        with Image.open(path, formats=("PNG",)) as copy:
            copy.verify()  # its checksums, which loading does not look at
    image.load()
    turn = _turn(image)  # after loading, which turns a TIFF by itself
    if image.mode.startswith("I;16") or sixteen_bits:
        values, transparent = np.asarray(image).astype(np.int32), image.info.get("transparency")
        if image.format == "TIFF" and image.tag_v2.get(262) == 0:  # WhiteIsZero, which Pillow heeds with 8 bits only
            values = 65_535 - values
        levels = _upper_bits(values, path)
        if isinstance(transparent, int):  # one grey level, which eight bits would not tell from its neighbours
            levels[values == transparent] = 255
        image = Image.fromarray(levels)
    elif image.mode in ("I", "F"):
        raise DataError(f"{path} holds 32-bit numbers, without a range from black to white; save it with 8 or 16 bits")
    elif deep_colours:
        _upper_bits(256 * np.asarray(image.convert("RGB")).astype(np.int32) + 255, path)  # at most these
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB" if channels == 3 else "L")
    if turn is not None:
        image = image.transpose(turn)
    pixels = np.array(image)
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy() if channels == 3 else pixels[None])


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The turn that EXIF asks for; none where it cannot be read."""
    try:
        return TURNS.get(image.getexif().get(0x0112))
    except Exception:  # whatever a parser meets in damaged bytes; the picture beside them is whole
        return None


def _upper_bits(values: np.ndarray, path: str | os.PathLike) -> np.ndarray:
    """The upper 8 of 16 bits; Pillow's own conversion cuts all above 255 off, and torchvision's loader shows white."""
    if 0 < values.max() < 4096:
        raise DataError(
            f"{path} has 16 bits and no value above {values.max()}, as from a camera of 12 bits: it would be almost "
            "black; multiply its values by 16 or save it with 8 bits"
        )
    return (values >> 8).astype(np.uint8)


def _what_it_is(path: str | os.PathLike) -> str:
    """What a file is that is no picture, as the end of a sentence."""
    with open(path, "rb") as file:
        start = file.read(200)
    if not start:
        return "is empty"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "is a web page, not a picture"
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the picture (git lfs pull)"
    return f"is no picture of a kind that is read here ({', '.join(kind for kind in FORMATS if kind != 'GIF')})"
