"""Fashion-MNIST as tensors, every byte of them checked against upstream's SHA-256 in the call that hands them out.

The four ``.gz`` files of Zalando Research lie in ``data/FashionMNIST/raw``, the folder in which torchvision and d2l
look. Extracted copies are kept beside them. Whatever is damaged is restored from the next source that verifies
(extracted file, ``.gz``, mirror) or refused by name. No file is unpickled; ``processed/*.pt`` is never opened.
"""

import errno
import hashlib
import os
import queue
import stat
import tempfile
import threading
import time
import urllib.request
import warnings
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vgglib.augment import Augment as Augment  # part of this interface, one idea per file
from vgglib.augment import placed
from vgglib.clone import IN_CLONE, ROOT
from vgglib.durable import replace
from vgglib.image_set import CLASSES as CLASSES
from vgglib.image_set import ImageSet as ImageSet
from vgglib.sizes import torch_seed

if TYPE_CHECKING:
    from vgglib.folders import FolderSet


# name: bytes of the .gz, its SHA-256, bytes when extracted, their SHA-256
FILES = {
    "train-images-idx3-ubyte": (
        26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    "train-labels-idx1-ubyte": (
        29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "t10k-images-idx3-ubyte": (
        4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "t10k-labels-idx1-ubyte": (
        5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}  # fmt: skip

# upstream's repository, then torchvision's mirror, which has no https: what arrives is verified by SHA-256
MIRRORS = [
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
]
PATIENCE = 5  # seconds a mirror may take to answer, and again for every 64 KiB after that

MISSING = "is missing"
NOT_A_FILE = "is a folder or a device, not a file"
PREPARE = '"make data"' if IN_CLONE else 'python -c "from vgglib.data import prepare; prepare()"'
RESTORE = 'restore it with "git checkout -- data"'
if not IN_CLONE:
    RESTORE = "set VGGLIB_DATA to the data/ of a clone (the installed package has none)"
REMEDY = f"put the file there by hand, or {RESTORE}, then run {PREPARE}"


class DataError(RuntimeError):
    """The data are not there or not what they should be; the message names the file and the remedy."""


class ReaderDied(DataError):
    """A process that reads pictures has died; the pictures may be good."""


def fashion_mnist(
    root: str | os.PathLike | None = None, device: str | torch.device = "cpu"
) -> tuple[ImageSet, ImageSet]:
    """Fashion-MNIST's 60,000 training and 10,000 test images, (N, 1, 28, 28), from bytes verified in this call.

    root: what torchvision calls root, the folder that holds ``FashionMNIST/raw``; None means the environment
    variable VGGLIB_DATA if set, else the clone's ``data``; what pip installs has none, there the
    files are fetched. Raises DataError where no source verifies, ValueError for a device that is not here; warns where
    a damaged file was replaced or could not be.
    """
    sets = []
    for part in ("train", "t10k"):
        images = bytearray(_content(_folder(root), f"{part}-images-idx3-ubyte"))
        labels = bytearray(_content(_folder(root), f"{part}-labels-idx1-ubyte"))
        images = torch.frombuffer(images, dtype=torch.uint8, offset=16).view(-1, 1, 28, 28)
        labels = torch.frombuffer(labels, dtype=torch.uint8, offset=8).long()
        sets.append(ImageSet(images, labels).to(device))
    return sets[0], sets[1]


CANVAS, SMALLEST = 64, 24  # pixels: the side of a canvas, and of the smallest garment on one


def on_canvas(garments: ImageSet, seed: int = 0) -> ImageSet:
    """A derived set: each picture of ``garments`` at a random size and place on an empty canvas of 64 x 64 pixels.

    Sides are whole pixels from 24 to 64, their logarithm uniform; every place where the garment fits is as likely. It
    is no benchmark that anybody else uses: say "on canvases" beside every result. Picture number n depends on the
    seed and on n alone; another machine may round a grey level differently. Raises ValueError for pictures that are
    not square.
    """
    dice = torch.Generator().manual_seed(torch_seed(seed))
    dice = torch.rand(len(garments), 3, generator=dice, dtype=torch.float32).double()
    sides = (SMALLEST * ((CANVAS + 1) / SMALLEST) ** dice[:, 0]).long().clamp(max=CANVAS)
    rows, columns = ((dice[:, n] * (CANVAS - sides + 1)).long() for n in (1, 2))
    parts = [part.to(garments.images.device).split(2000) for part in (garments.images, sides, rows, columns)]
    images = [placed(images, CANVAS, side, (row, column)) for images, side, row, column in zip(*parts, strict=True)]
    return ImageSet(torch.cat(images), garments.labels, garments.classes)


def fashion_mnist_on_canvas(
    root: str | os.PathLike | None = None, device: str | torch.device = "cpu", seed: int = 0
) -> tuple[ImageSet, ImageSet]:
    """Fashion-MNIST's training and test images by on_canvas, (N, 1, 64, 64); the test set is drawn from another seed.

    Raises DataError as fashion_mnist does.
    """
    train, test = fashion_mnist(root, device)
    return on_canvas(train, 2 * seed), on_canvas(test, 2 * seed + 1)


def prepare(root: str | os.PathLike | None = None) -> None:
    """Nothing; afterwards the four extracted files are verified and lie where torchvision and d2l find them.

    Raises DataError as fashion_mnist does; warns where the folder takes no files.
    """
    for name in FILES:
        path = _folder(root) / name
        _content(path.parent, name)
        if not path.is_file():
            warnings.warn(f"{path} cannot be written: vgglib reads the .gz, torchvision and d2l cannot", stacklevel=2)


def check(root: str | os.PathLike | None = None) -> list[tuple[str, bool, str]]:
    """(file, whether all is well, a sentence with the remedy) for each file; changes nothing and never raises."""
    rows = []
    for name in FILES:
        try:
            path = _folder(root) / name
            packed = path.with_name(f"{name}.gz")
            fault, packed_fault = _source(path)[1], _source(packed)[1]
            if not fault and not packed_fault:
                rows.append((name, True, "verified"))
            elif not fault:
                rows.append((name, True, f"verified, but {packed} {packed_fault}; {_remedy(packed, RESTORE)}"))
            elif packed_fault:
                rows.append((name, False, f"{packed} {packed_fault}; {_remedy(packed)}"))
            elif fault == MISSING:
                rows.append((name, True, f"verified in its .gz; {_prepare(path)} extracts it for torchvision and d2l"))
            else:
                rows.append((name, False, f"{path} {fault}; delete it and run {_prepare(path)}"))
        except Exception as error:  # a doctor that falls ill helps nobody
            rows.append((name, False, f"cannot be checked: {error!r}"))
    with suppress(Exception):
        stale = _folder(root).parent / "processed"
        if any(stale.glob("*.pt")):
            rows.append(("processed", False, f"torchvision and d2l would read {stale} unverified; delete that folder"))
    return rows


def image_folder(
    root: str | os.PathLike, classes: Sequence[str] | None = None, channels: int = 3, workers: int = 0
) -> "FolderSet":
    """The pictures in ``root``, a folder for each class inside, as torchvision's ImageFolder has it; read when needed.

    classes: the names in the order of their labels; None means the folders' own, sorted. Give the training set's to
    another set, or a class that is missing there would shift the labels of the rest; the pictures of a class a/b lie
    in a folder b in a folder a. channels: 3 (RGB) or 1 (grey), whatever the files hold. workers: processes that read
    ahead. The set has ``labels``, ``classes``, ``split``, ``mean_and_std``, ``batches`` (section 3.1) and ``pictures``
    (for section 3.2); see vgglib/folders.py.
    Raises ValueError for a name given twice, DataError for a folder that is not laid out so; files that are no pictures
    are named when they are opened, all of them by ``faults()``. Warns of files that are left out for their suffix.
    """
    from vgglib.folders import read_folder  # needs torchvision and Pillow, which Fashion-MNIST does not

    return read_folder(root, classes, channels, workers)


def _folder(root: str | os.PathLike | None) -> Path:
    """The folder of the four files."""
    if root is None:
        root = os.environ.get("VGGLIB_DATA") or ROOT / "data"
    return Path(root) / "FashionMNIST" / "raw"


def _remedy(packed: Path, usual: str = REMEDY) -> str:
    """How to get a good .gz: as usual in the clone's own folder, which git knows; in any other by a copy from there."""
    own = _folder(ROOT / "data")
    return usual if not IN_CLONE or packed.parent.resolve() == own.resolve() else f"copy {own / packed.name} there"


def _prepare(path: Path) -> str:
    """The command that extracts a file into its folder."""
    here = f'python -c "from vgglib.data import prepare; prepare({str(path.parents[2])!r})"'
    return PREPARE if path.parent == _folder(None) else here


def _content(folder: Path, name: str) -> bytes:
    """The verified bytes of one extracted file, from the first source that has them; DataError if none has."""
    path, packed = folder / name, folder / f"{name}.gz"
    content, fault = _source(path)
    if not fault:
        return content
    if fault == NOT_A_FILE:
        raise DataError(f"{path} {fault}; move it away and run {_prepare(path)}")
    content, packed_fault = _source(packed)
    if packed_fault:
        content = _from_mirrors(packed, packed_fault)
    _put(path, content, fault)
    return content


def _source(path: Path) -> tuple[bytes, str]:
    """The verified content of one file, extracted or .gz, and ""; or no bytes and what is wrong with the file."""
    _, _, size, digest = FILES[path.name.removesuffix(".gz")]
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b"", NOT_A_FILE
        with open(path, "rb") as file:
            data = file.read(size + 1)
    except FileNotFoundError:
        return b"", MISSING
    except OSError as error:
        return b"", f"cannot be read ({error.strerror})"
    content = _unpacked(data, size) if path.suffix == ".gz" else data
    if hashlib.sha256(content).hexdigest() == digest:
        return content, ""
    return b"", _fault(path.name, data, content)


def _unpacked(data: bytes, size: int) -> bytes:
    """What a .gz holds, at most size + 1 bytes of it however far it would inflate; nothing if it is no .gz."""
    packed = zlib.decompressobj(wbits=31)
    with suppress(zlib.error):
        content = packed.decompress(data, size + 1)
        return content if packed.eof or len(content) != size else b""  # all but the checksum at the end: cut
    return b""


def _fault(name: str, data: bytes, content: bytes) -> str:
    """What is wrong with a file's data, which unpack to content, as the end of a sentence that starts with its name."""
    if not data:
        return "is empty"
    if any(text[:99].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") for text in (data, content)):
        return "is a web page, not data"
    _, packed_digest, size, digest = FILES[name.removesuffix(".gz")]
    expected = packed_digest if name.endswith(".gz") else digest
    hashes = f"(sha256 {hashlib.sha256(data).hexdigest()[:12]}..., expected {expected[:12]}...)"
    labels = "labels" in name
    magic, count = (b"\0\0\x08\x01", size - 8) if labels else (b"\0\0\x08\x03", (size - 16) // 784)
    if content[:4] != magic:
        return f"is damaged {hashes}"
    if (says := int.from_bytes(content[4:8])) != count:
        return f"is not Fashion-MNIST: it says {says} {'labels' if labels else 'images'}, expected {count}"
    if len(content) != size:  # one byte too many means: at least one, no more were read
        return f"is damaged: {'over ' * (len(content) > size)}{min(len(content), size)} bytes of data, expected {size}"
    if labels and (highest := max(content[8:])) > 9:
        return f"is not Fashion-MNIST: it holds the label {highest}, expected 0 to 9"
    return f"is damaged or is not Fashion-MNIST (perhaps MNIST: the file names are the same) {hashes}"


def _from_mirrors(packed: Path, fault: str) -> bytes:
    """The verified content of a .gz that is fetched and put in its place; DataError saying why no mirror helped."""
    if fault == NOT_A_FILE:
        raise DataError(f"{packed} {fault}; move it away, then {_remedy(packed)}")
    existing = next(filter(os.path.exists, packed.parents), packed.parent)
    if not os.access(existing, os.W_OK):
        raise DataError(f"{packed} {fault} and {existing} is read-only; set VGGLIB_DATA to a folder with the data")
    size, digest, content_size, _ = FILES[packed.name.removesuffix(".gz")]
    tried = []
    for mirror in MIRRORS:
        url = mirror + packed.name
        try:
            data = _fetch(url, size)
        except (OSError, ValueError) as error:
            tried.append(f"{url}: {error}")
            continue
        content = _unpacked(data, content_size)
        if hashlib.sha256(data).hexdigest() == digest:
            _put(packed, data, fault)
            return content
        tried.append(f"{url}: what came {_fault(packed.name, data, content)}")
    raise DataError(f"{packed} {fault}; {_remedy(packed)}. Tried {'; '.join(tried) or 'no mirror'}")


def _fetch(url: str, size: int) -> bytes:
    """What lies behind a URL, at most 64 KiB more than size; OSError after PATIENCE seconds without news."""
    blocks: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
    given_up = threading.Event()

    def read() -> None:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                while not given_up.is_set() and (block := answer.read(65_536)):
                    blocks.put(block)
            blocks.put(b"")
        except Exception as error:
            blocks.put(error)

    # a thread, because a socket's timeout bounds neither the name look-up nor a server that sends byte by byte
    threading.Thread(target=read, daemon=True).start()
    data = bytearray()
    try:
        while len(data) <= size and (block := blocks.get(timeout=PATIENCE)):
            if isinstance(block, Exception):
                raise OSError(str(block) or repr(block)) from block
            data += block
    except queue.Empty:
        raise TimeoutError(f"no answer, or less than 64 KiB, within {PATIENCE} seconds") from None
    finally:
        given_up.set()
    return bytes(data)


def _put(path: Path, data: bytes, fault: str) -> None:
    """Nothing; data take the faulty file's place whole, or not at all and with a warning."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.glob(f".{path.name}.*.part"):  # of a process that was killed
            with suppress(OSError):
                if time.time() - old.stat().st_mtime > 3600:
                    old.unlink()
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        replace(temporary, path)
        temporary = None
    except OSError as error:
        # a read-only folder is a fine place to read from
        if fault != MISSING or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            reason = error.strerror or error
            warnings.warn(f"{path} {fault} and was not replaced ({reason}); good data are in use", stacklevel=2)
    else:
        if fault != MISSING:
            warnings.warn(f"{path} {fault}; a verified copy has replaced it", stacklevel=2)
    finally:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)
