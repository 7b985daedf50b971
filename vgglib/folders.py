"""Any folder of pictures, one folder inside for each class, read while training: for data that do not fit in memory.

The layout is that of torchvision's ImageFolder and of ImageNet's ``train`` and ``val``. Each file is read by
vgglib.picture_file: it becomes the picture that a person would see, or is refused by its name.
"""

import copy
import hashlib
import multiprocessing
import os
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import functional as V

from vgglib.augment import Augment, view
from vgglib.batches import parts
from vgglib.data import DataError, ReaderDied
from vgglib.image_set import class_names, drawn_apart, position, positions
from vgglib.picture_file import LARGEST
from vgglib.picture_file import read_picture as read_picture
from vgglib.picture_file import without_advice as without_advice

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # ImageFolder's
_OF_ONE_SIZE = {".bmp", ".ppm", ".pgm", ".tif", ".tiff"}  # not compressed, or not always
PARTS = {"train", "training", "val", "valid", "validation", "test"}  # folders of sets, not of classes
SHOWN = 10  # faults that one message names
SAMPLED = 50_000  # files of which a part is read to tell a set from another


class FolderSet:
    """Labelled pictures in files, opened when they are needed. Made by vgglib.data.image_folder.

    labels: int64, (N,), positions in ``classes``. channels: 3 for RGB, 1 for grey, whatever the files hold.
    workers: processes that read ahead; 0 reads in this one.
    """

    def __init__(
        self, root: Path, names: np.ndarray, labels: Tensor, classes: tuple[str, ...], channels: int, workers: int
    ):
        self.root, self.labels, self.classes, self.channels, self.workers = root, labels, classes, channels, workers
        self.device = torch.device("cpu")  # of the batches
        self._names = names  # bytes in one array: a list of a million strings would be copied into every worker

    @cached_property
    def contents(self) -> str:
        """A digest of the files' names below ``root`` and of their sizes.

        Of formats in which pictures of one size have files of one size, a part in the middle counts, too; the others
        are not opened.
        """
        digest = hashlib.sha256()
        for index, name in enumerate(self._names):
            path, middle = self.path(index), b""
            try:
                size = path.stat().st_size
                if path.suffix.lower() in _OF_ONE_SIZE:
                    with open(path, "rb") as file:
                        file.seek(max(0, size // 2 - 2048))
                        middle = file.read(4096)
            except OSError:  # what is gone is said when it is opened
                size = -1
            digest.update(bytes(name) + f"\0{size}\n".encode() + middle)
        return digest.hexdigest()[:16]

    @cached_property
    def middles(self) -> str:
        """A digest of 64 bytes in the middle of each file, of 50,000 files evenly spread over the set if it has more.

        It tells a picture from another of the same size. 50,000 files take 1.4 s if the system has them in memory, and
        else as long as it takes to open them.
        """
        count, digest = len(self), hashlib.sha256()
        for index in range(count) if count <= SAMPLED else torch.linspace(0, count - 1, SAMPLED).long().tolist():
            with suppress(OSError), open(self.path(index), "rb", buffering=0) as file:  # what is gone is said later
                file.seek(os.fstat(file.fileno()).st_size // 2)
                digest.update(file.read(64))
        return digest.hexdigest()[:16]

    @property
    def read_by(self) -> dict[str, str]:
        """What opens and rescales the pictures, with versions: another one may round otherwise."""
        return {"pillow": Image.__version__, "torchvision": torchvision.__version__}

    @cached_property
    def names(self) -> str:
        """A digest of the files' names below ``root``, in the set's order."""
        return hashlib.sha256(b"\0".join(map(bytes, self._names))).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"FolderSet({len(self)} pictures in {self.root}, {len(self.classes)} classes)"

    def __getitem__(self, index: slice | int) -> "FolderSet | tuple[Tensor, int]":
        """The pictures of a slice; or one picture, opened now, uint8 (channels, H, W), with its label.

        So torch's DataLoader takes a set as it is, if its pictures have one size. Raises IndexError beyond the set,
        DataError where the file is no picture, TypeError for anything else.
        """
        if not isinstance(index, slice):
            at = position(index, len(self))
            return self.picture(at), int(self.labels[at])
        return self.subset(torch.arange(len(self))[index])

    def subset(self, indices: Sequence[int] | np.ndarray | Tensor) -> "FolderSet":
        """The pictures at these positions, in this order; or those where a mask of N booleans is true.

        Raises ValueError for an empty or wrongly shaped choice, IndexError for a position outside -N..N-1.
        """
        chosen = positions(indices, len(self))
        names, labels = self._names[chosen.numpy()], self.labels[chosen]
        return FolderSet(self.root, names, labels, self.classes, self.channels, self.workers).to(self.device)

    def split(self, validation: int = 5000, seed: int = 0) -> tuple["FolderSet", "FolderSet"]:
        """The set without ``validation`` pictures drawn at random, and these pictures; as ImageSet.split.

        Raises ValueError unless ``validation`` is a number of pictures that leaves neither part empty.
        """
        rest, drawn = drawn_apart(len(self), validation, seed)
        return self.subset(rest), self.subset(drawn)

    def path(self, index: int) -> Path:
        """The file of one picture."""
        return self.root / os.fsdecode(self._names[index])

    def picture(self, index: int) -> Tensor:
        """One picture, uint8 (channels, H, W); DataError where the file is not one."""
        return read_picture(self.path(index), self.channels)

    def pictures(self) -> Iterator[tuple[Tensor, int]]:
        """Yield each picture as it is, uint8 (channels, H, W) of any size, with its label, in the set's order.

        Raises DataError at the first file that is no picture.
        """
        for index, picture in enumerate(_done(self.picture, range(len(self)), self.workers)):
            yield _good(picture), int(self.labels[index])

    def centre_crops(self, crop: tuple[int, int], scale: int | None = None, batch_size: int = 32) -> Iterator[Tensor]:
        """Yield the views of single_crop, vgglib.augment.view, in batches: float32 (N, channels, *crop) in 0..1.

        The pictures may have any sizes. Raises DataError at the first file that is no picture.
        """
        waiting = []
        for crop_of_one in _done(partial(_centre, self, crop, scale), range(len(self)), self.workers):
            waiting.append(_good(crop_of_one))
            if len(waiting) == batch_size:
                yield torch.stack(waiting)
                waiting.clear()
        if waiting:
            yield torch.stack(waiting)

    def faults(self) -> list[str]:
        """A sentence for every file that cannot be used, by opening them all; an empty list if all is well."""
        found = _done(partial(_opened, self), range(len(self)), self.workers)
        return [sentence for sentence in found if isinstance(sentence, str)]

    def expect_pictures(self, most: int = 10_000) -> None:
        """Nothing; raises one DataError that names the files that are no pictures, as mean_and_std does on its way.

        Of more than ``most`` pictures only that many are opened, evenly spread over the set.
        """
        for _ in self._read(_opened, most):
            pass

    def _read(self, work: Callable, most: int) -> Iterator:
        """Yield what ``work`` gives for pictures spread over the set; at the end one DataError for all it refused."""
        read = range(len(self)) if len(self) <= most else torch.linspace(0, len(self) - 1, most).long().tolist()
        faults = []
        for result in _done(partial(work, self), read, self.workers):
            if isinstance(result, str):
                faults.append(result)
            else:
                yield result
        if faults:
            more = f"; and {len(faults) - SHOWN} more, see .faults()" if len(faults) > SHOWN else ""
            raise DataError(f"{len(faults)} of {len(read)} files cannot be used: {'; '.join(faults[:SHOWN])}{more}")

    def mean_and_std(self, most: int = 10_000) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel, (channels,) each, with pixels scaled to 0..1.

        Every picture counts alike, whatever its size. Files are read one after the other and forgotten. Of more than
        ``most`` pictures only that many are read, evenly spread over the set. Raises one DataError that names the files
        that are no pictures.
        """
        shares, levels = torch.zeros(self.channels, 256, dtype=torch.float64), torch.arange(256).double() / 255
        for histogram in self._read(_histogram, most):
            shares += histogram
        shares = shares / min(len(self), most)
        mean = shares @ levels
        variance = (shares * (levels - mean[:, None]) ** 2).sum(dim=1)
        return mean.float(), variance.sqrt().float()

    @cached_property
    def colour_axes(self) -> Tensor:
        """The principal axes of the colours, (3, 3), as vgglib.augment.colour_axes has them.

        Every picture counts alike. Of more than 10,000 pictures only that many are read. Raises DataError at the first
        file that is no picture.
        """
        read = range(len(self)) if len(self) <= 10_000 else torch.linspace(0, len(self) - 1, 10_000).long().tolist()
        moments = sum(_good(result) for result in _done(partial(_moments, self), read, self.workers)) / len(read)
        mean, products = moments[0], moments[1:]
        variances, axes = torch.linalg.eigh(products - torch.outer(mean, mean))
        return (axes * variances.clamp(min=0).sqrt()).float()

    def to(self, device: str | torch.device) -> "FolderSet":
        """The same pictures, whose batches lie on that device: they travel as whole numbers, a quarter of the bytes."""
        if torch.device(device) == self.device:
            return self
        there = copy.copy(self)
        there.device = torch.device(device)
        return there

    def batches(
        self, recipe: object, seed: int, epoch: int, start: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield an epoch's batches as section 3.1 has them: float32 (N, channels, crop, crop), and labels (N,).

        Pixels are in 0..1 before the shift of colours, if there is one: vgglib.evaluation.prepared makes of them what a
        network wants.

        Each picture is rescaled so that its smallest side is S, drawn anew where the recipe's scale is a range, then
        cropped once at random and perhaps mirrored. Views and order are those of vgglib.augment.Augment and depend on
        (seed, epoch, index) alone, not on ``workers``. start: batches to leave out, being done already. rank, world:
        of each batch of recipe.batch_size pictures this process gets the rank-th of ``world`` parts, which may be
        empty at the end of an epoch. recipe.rgb_shift shifts the colours of each picture, if there are any. A last
        batch is left out under batch normalisation if a part of it would have one picture.
        Raises DataError at the first file that is no picture, ValueError for a negative start, and for a rank that is
        none of 0 to world - 1.
        """
        colour = recipe.rgb_shift * self.colour_axes if recipe.rgb_shift and self.channels == 3 else None
        augment = Augment(recipe.image_size, recipe.scale, recipe.flip, colour)
        mine = [part.tolist() for part in parts(len(self), recipe, seed, epoch, start, rank, world)]
        views = partial(_views, self, augment, augment.draws(len(self), seed, epoch))
        for result in _done(views, mine, self.workers, pin=self.device.type == "cuda"):
            X, shift, y = (part.to(self.device, non_blocking=self.device.type == "cuda") for part in _good(result))
            X = X.float() / 255
            yield X if augment.colour is None else X + shift[:, :, None, None], y


def read_folder(
    root: str | os.PathLike, classes: Sequence[str] | None = None, channels: int = 3, workers: int = 0
) -> FolderSet:
    """The pictures in ``root``, unopened; what vgglib.data.image_folder returns."""
    root = Path(root)
    if channels not in (1, 3):
        raise ValueError(f"channels must be 3 (RGB) or 1 (grey), got {channels!r}")
    if not isinstance(workers, int | np.integer) or isinstance(workers, bool) or workers < 0:
        raise ValueError(f"workers must be a number of processes, 0 or more, got {workers!r}")
    cores = os.cpu_count() or 1
    if workers > max(64, 8 * cores):
        raise ValueError(
            f"workers are processes: {workers:,} are too many for the {cores} cores here, take at most "
            f"{max(64, 8 * cores)}"
        )
    if not root.is_dir():
        raise DataError(f"{root} {'is not a folder' if root.exists() else 'does not exist'}; {_LAYOUT}")
    entries = [entry for entry in os.scandir(root) if not entry.name.startswith(".")]
    for entry in entries:
        if entry.is_symlink() and not os.path.exists(entry.path):
            raise DataError(f"{entry.path} is a link to what is not there: mount or mend it, or remove the link")
    found = sorted(entry.name for entry in entries if entry.is_dir())
    if not found:
        raise DataError(f"{root} holds no folders; {_LAYOUT}")
    if set(found) <= PARTS and ("train" in found or len(found) > 1) and not set(found) & set(classes or ()):
        to_train, to_watch = ([name for name in found if name.startswith(start)] for start in ("train", "val"))
        part = (to_train or found if classes is None or not to_watch else to_watch)[0]
        raise DataError(
            f"{root} holds {' and '.join(found)}, which are sets, not classes; give one of them, such as {root / part}"
        )
    known = _class_names(found if classes is None else classes)
    _expect_no_strangers(root, found, known)
    names, labels, left_out = [], [], Counter()
    for label, name in enumerate(known):
        inside, others = _walked(root, name)
        if not inside and classes is None:
            others = f" (only {_listed(sorted(others))} files)" if others else ""
            raise DataError(f"{root / name} holds no picture{others}; picture files end in {', '.join(SUFFIXES)}")
        names += inside
        labels += [label] * len(inside)
        left_out += others
    if not names:
        raise DataError(f"{root} holds no picture; {_LAYOUT}")
    if left_out:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(left_out.items()))
        warnings.warn(f"{root}: left out {kinds}; pictures end in {', '.join(SUFFIXES)}", stacklevel=3)
    encoded = np.array([os.fsencode(name) for name in names])
    return FolderSet(root, encoded, torch.tensor(labels), known, channels, workers)


def train_and_validation(
    root: str | os.PathLike, channels: int = 3, workers: int = 0
) -> tuple[FolderSet, FolderSet | None]:
    """The sets in ``root/train`` and ``root/val`` (ImageNet's layout); or that in ``root`` itself, and None.

    The second has the classes of the first, so that a class which ``val`` lacks shifts no label. channels, workers and
    errors are those of image_folder.
    """
    root = Path(root)
    if not (root / "train").is_dir() or not (root / "val").is_dir():
        return read_folder(root, channels=channels, workers=workers), None
    train = read_folder(root / "train", None, channels, workers)
    return train, read_folder(root / "val", train.classes, channels, workers)


_LAYOUT = "expected one folder for each class, with its pictures inside, such as cats/1.jpg and dogs/2.jpg"


def _class_names(classes: Sequence[str]) -> tuple[str, ...]:
    """The names of classes as vgglib.image_set.class_names gives them; ValueError also for what names no folder."""
    names = class_names(classes)
    for name in names:
        if not isinstance(name, str) or name in ("", ".") or ".." in Path(name).parts or Path(name).is_absolute():
            raise ValueError(f"classes must be names of folders, got {name!r}")
    return names


def _expect_no_strangers(root: Path, found: list[str], known: tuple[str, ...]) -> None:
    """Raise DataError for what belongs to no class: a folder, or a picture in folder a of a class a/b beside b."""
    firsts = {Path(name).parts[0] for name in known}
    strangers = [name for name in found if name not in firsts]
    for outer in sorted(firsts - {*known}):
        inside = _walked(root, outer)[0]
        strangers += [one for one in inside if not any(Path(one).is_relative_to(name) for name in known)]
    if strangers:
        example = next((f"; the pictures of {name} belong into {root / name}" for name in known if "/" in name), "")
        raise DataError(
            f"{root / strangers[0]} is none of the {len(known)} classes, {_listed(known)}; rename or move it{example}"
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _walked(root: Path, name: str) -> tuple[list[str], Counter]:
    """The picture files below ``root / name``, relative to root, sorted; and how many others, by suffix."""
    pictures, others, seen = [], Counter(), set()
    for folder, folders, files in os.walk(root / name, onerror=_refuse, followlinks=True):
        here = os.stat(folder)
        if (here.st_dev, here.st_ino) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        folders[:] = sorted(inner for inner in folders if not inner.startswith("."))
        for file in sorted(files):
            suffix = os.path.splitext(file)[1].lower()
            if file.startswith("."):  # such as macOS's ._1.jpg, which is no picture
                continue
            if suffix in SUFFIXES:
                path = os.path.relpath(os.path.join(folder, file), root)
                pictures.append(path.replace(os.sep, "/"))  # one name on every system: a run may go on under another
            else:
                others[suffix or "without a suffix"] += 1
    return pictures, others


def _refuse(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):
        return  # a class without pictures here
    raise DataError(f"{error.filename} cannot be listed ({error.strerror}); allow it to be read, or move it away")


# --- work that a DataLoader spreads over processes -----------------------------------------------------------------


class _Jobs:
    """``work`` done to each item; or, where it raised a DataError, the sentence, which travels better."""

    def __init__(self, work: Callable, items: Sequence):
        self._work, self._items = work, items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, position: int) -> object:
        try:
            return self._work(self._items[position])
        except DataError as error:
            return str(error)


def _done(work: Callable, items: Sequence, workers: int, pin: bool = False) -> Iterator:
    """What ``work`` gives for each item, in order, a string where it failed. pin: for the way to a GPU."""
    loader = DataLoader(
        _Jobs(work, items), batch_size=None, num_workers=min(workers, len(items)), pin_memory=pin,
        generator=torch.Generator(),  # or it would draw a number from the global state
        worker_init_fn=_deaf,
    )  # fmt: skip
    try:
        yield from loader
    except RuntimeError as error:
        if isinstance(error, DataError) or not workers:
            raise
        unguarded = "" if multiprocessing.get_all_start_methods()[0] == "fork" else _UNGUARDED
        raise ReaderDied(
            f"a process that reads pictures has died ({str(error).splitlines()[0]}); perhaps memory or /dev/shm is "
            f"full: take fewer workers, or workers=0{unguarded}"
        ) from error


_UNGUARDED = '. Or a script of your own starts itself again in each: put its work under `if __name__ == "__main__":`'


def _deaf(_worker: int) -> None:
    """Leave Ctrl-C and SIGTERM, which go to all processes at once, to the one that trains: it still needs pictures."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _good(result: object) -> object:
    if isinstance(result, str):
        raise DataError(result)
    return result


def _opened(pictures: FolderSet, index: int) -> bool:
    pictures.picture(index)
    return True


def _centre(pictures: FolderSet, crop: tuple[int, int], scale: int | None, index: int) -> Tensor:
    """The centre crop of a rescaled picture, float32 (channels, *crop) in 0..1."""
    return view(pictures.picture(index)[None], crop, scale)[0]


def _histogram(pictures: FolderSet, index: int) -> Tensor:
    """The share of each grey level in each channel, (channels, 256)."""
    levels = pictures.picture(index).flatten(1)
    return torch.stack([channel.bincount(minlength=256) for channel in levels]).double() / levels.shape[1]


def _moments(pictures: FolderSet, index: int) -> Tensor:
    """The mean colour of a picture, and the mean products of its channels, (4, 3), pixels scaled to 0..1."""
    pixels = pictures.picture(index).flatten(1).double() / 255
    return torch.cat([pixels.mean(dim=1)[None], pixels @ pixels.T / pixels.shape[1]])


def _views(pictures: FolderSet, augment: Augment, draws: Tensor, indices: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """One batch: the training views of some pictures, uint8, the shift of their colours (none of grey ones), labels."""
    X = torch.empty(len(indices), pictures.channels, augment.crop, augment.crop, dtype=torch.uint8)
    for place, index in enumerate(indices):
        X[place] = _view(pictures.picture(index), augment, draws[index], pictures.path(index))
    shift = torch.empty(0) if augment.colour is None else augment.shift(X, draws[indices])
    return X, shift, pictures.labels[indices]


def _view(picture: Tensor, augment: Augment, draw: Tensor, path: Path) -> Tensor:
    """Section 3.1's view of one picture, as Augment has it of a batch, but uint8 (channels, crop, crop), no shift."""
    low, high = (augment.scale, augment.scale) if isinstance(augment.scale, int) else augment.scale
    scale = min(high, low + int(draw[0] * (high - low + 1)))
    height, width = (scale * side // min(picture.shape[1:]) for side in picture.shape[1:])
    if height * width > LARGEST:
        size = f"{picture.shape[2]} x {picture.shape[1]} pixels"
        raise DataError(f"{path} is {size}, too long and thin to be rescaled to {scale} pixels; crop it or delete it")
    top, left = int(draw[1] * (height - augment.crop + 1)), int(draw[2] * (width - augment.crop + 1))
    picture = V.crop(V.resize(picture, [height, width], antialias=True), top, left, augment.crop, augment.crop)
    return V.horizontal_flip(picture) if augment.flip and draw[3] < 0.5 else picture
