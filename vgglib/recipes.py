"""How a network is trained, as data: a Recipe, those that the book names, and the learning rate of every step."""

import math
from dataclasses import dataclass, replace
from types import UnionType
from typing import get_origin

import numpy as np

from vgglib.image_set import ImageSet, is_streamed
from vgglib.model import INITIALISATIONS


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network is trained, besides the data and the seed."""

    configuration: str  # a name of Table 1 or a string in its notation
    width: float = 1.0  # factor on the channels of every convolution
    hidden: int = 4096  # units in each of the first two fully connected layers
    batch_norm: bool = False  # normalise after each convolution; the paper, older than that, has none
    dropout: float = 0.5  # probability, on the first two fully connected layers
    image_size: int = 224  # side of the crop that the network sees, in pixels
    scale: int | tuple[int, int] = 224  # training scale S in pixels, or (S_min, S_max) for scale jitter
    flip: bool = False  # mirror half of the pictures
    rgb_shift: float = 0.0  # standard deviation, in those of the training set's colours; off for grey pictures
    normalise: str = "nothing"  # to pixels in 0..1; "mean": less the training mean; "mean and std": over std too
    initialisation: str = "he"  # a key of vgglib.model.INITIALISATIONS
    zero_biases: bool = True  # False: the biases start as PyTorch draws them
    epochs: int = 10  # passes over the training images
    batch_size: int = 256  # images per step
    learning_rate: float = 0.01  # of the first step, or the highest one for schedule "linear"
    schedule: str = "constant"  # "plateau": divided by 10 when validation stops improving; "linear": up, then down to 0
    warm_up: float = 0.1  # share of the steps over which "linear" raises the rate
    patience: int = 5  # epochs without improvement before "plateau" drops the rate; three drops, then the end
    momentum: float = 0.9  # of stochastic gradient descent
    weight_decay: float = 5e-4  # the L2 multiplier
    validation: int = 5000  # training images held out to watch; 0 for none
    watch_test: bool = False  # True: the curve shows the test set, as the article and d2l do
    bf16: bool | None = None  # multiply in bfloat16; None: where the device is fast in it
    channels_last: bool | None = None  # memory layout; None: where it is faster
    compile: bool | None = False  # hand the network to torch.compile; None: on GPUs, where it can
    fused: bool | None = None  # all parameters in one pass of the optimiser; None: where the device can
    keep_memory: bool | None = None  # a CPU's freed memory stays for the next step; None: where the C library can
    micro_batch: int | None = None  # images at once, their gradients added up; None: the batch, or what fits in memory

    @property
    def test_scale(self) -> int:
        """Section 4.1's test scale Q in pixels, for one crop: S, or the middle of S_min and S_max."""
        return self.scale if isinstance(self.scale, int) else sum(self.scale) // 2

    def __post_init__(self) -> None:
        for name, kind in Recipe.__annotations__.items():
            object.__setattr__(self, name, _plain(getattr(self, name)))
            if not _is_a(getattr(self, name), kind):
                what = {bool: "true or false", int: "a whole number"}.get(kind, getattr(kind, "__name__", kind))
                hint = "; 0 holds none out" if name == "validation" else ""
                raise ValueError(f"{name} must be {what}, got {getattr(self, name)!r}{hint}")
        for name in ("epochs", "batch_size", "learning_rate", "patience"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("learning_rate", "weight_decay", "rgb_shift", "width"):
            if math.isinf(getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {getattr(self, name)}")
        for name, allowed in ALLOWED.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}, allowed are {', '.join(allowed)}")
        most_of = {"momentum": 1, "dropout": 1, "warm_up": 1, "weight_decay": math.inf, "rgb_shift": math.inf}
        for name, most in most_of.items():
            if not 0 <= getattr(self, name) <= most:
                limits = "0 or more" if most == math.inf else f"from 0 to {most}"
                raise ValueError(f"{name} must be {limits}, got {getattr(self, name)}")
        if self.validation < 0:
            raise ValueError(f"validation must be a number of images, 0 for none, got {self.validation}")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ValueError(f"micro_batch must be positive, got {self.micro_batch}")
        if self.micro_batch is not None and self.micro_batch < self.batch_size and self.batch_norm:
            raise ValueError("micro_batch with batch normalisation: each part would be normalised by itself")
        if self.batch_norm and self.batch_size == 1:
            raise ValueError(
                "batch_size 1 with batch normalisation: one picture has no spread to divide by; take 2 or more"
            )
        if self.schedule == "plateau" and not self.validation and not self.watch_test:
            raise ValueError(
                "schedule 'plateau' watches the validation accuracy: hold out some images (validation=5000)"
            )


def _plain(value: object) -> object:
    """Return numpy's numbers as Python's, and lists as tuples, as they are recorded and compared."""
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value


def _is_a(value: object, kind: object) -> bool:
    """Return whether a value is of an annotated kind: an int does for a float, a truth value for neither."""
    if isinstance(kind, UnionType):
        return any(_is_a(value, one) for one in kind.__args__)
    if get_origin(kind) is tuple:
        pair = isinstance(value, list | tuple) and len(value) == len(kind.__args__)
        return pair and all(map(_is_a, value, kind.__args__))
    if kind in (int, float):
        return isinstance(value, int | kind) and not isinstance(value, bool)
    return isinstance(value, kind)


ALLOWED = {
    "schedule": ("constant", "plateau", "linear"),
    "normalise": ("nothing", "mean", "mean and std"),
    "initialisation": tuple(INITIALISATIONS),
}


_ARTICLE = dict(
    initialisation="glorot", zero_biases=False, momentum=0.0, weight_decay=0.0, validation=0, watch_test=True
)  # fmt: skip


RECIPES: dict[str, Recipe] = {
    # the classic run: the network of the article at full width
    "seed": Recipe("A", learning_rate=0.01, batch_size=256, **_ARTICLE),
    # Dive into Deep Learning's published setting: a quarter of the channels
    "d2l": Recipe("A", width=0.25, learning_rate=0.05, batch_size=128, **_ARTICLE),
    # section 3.1: configuration A is the one that the paper trains from random numbers
    "paper": Recipe(
        "A", scale=256, flip=True, rgb_shift=0.1, normalise="mean", initialisation="normal-0.01", epochs=74,
        schedule="plateau",
    ),
    # ours, for two CPU cores and a few minutes: batch normalisation, which the paper did not have, makes it quick
    "laptop": Recipe(
        "A", width=0.25, hidden=512, batch_norm=True, dropout=0.2, image_size=32, scale=32, flip=True,
        normalise="mean and std", epochs=8, batch_size=128, learning_rate=0.1, schedule="linear",
    ),
    # ours, for one GPU: configuration D at 28 pixels, with batch normalisation
    "gpu": Recipe(
        "64 64 | 128 128 | 256 256 256 512 512 512 512 512 512", width=0.5, hidden=512, batch_norm=True, image_size=28,
        scale=(28, 32), flip=True, normalise="mean and std", epochs=30, batch_size=512, learning_rate=0.2,
        schedule="linear",
    ),
}  # fmt: skip


def recipe(name: str, **changes: object) -> Recipe:
    """Return the recipe called ``name`` with some fields changed. Raises ValueError listing what is allowed."""
    if name not in list(RECIPES):
        raise ValueError(f"unknown recipe {name!r}: choose from {', '.join(RECIPES)}")
    if unknown := changes.keys() - Recipe.__dataclass_fields__.keys():
        raise ValueError(
            f"a recipe has no {', '.join(sorted(unknown))}; it has {', '.join(Recipe.__dataclass_fields__)}"
        )
    return replace(RECIPES[name], **changes)


def expect_recipe(chosen: Recipe, *sets: ImageSet) -> None:
    """Raise ValueError for what is no recipe, and for what is no set of labelled pictures."""
    if not isinstance(chosen, Recipe):
        hint = f": write recipe({chosen!r})" if chosen in list(RECIPES) else ""
        raise ValueError(f"expected a Recipe, got {chosen!r}{hint}")
    for some in sets:
        held = is_streamed(some) or hasattr(some, "images")
        if not held or not hasattr(some, "labels") or not hasattr(some, "classes"):
            raise ValueError(
                f"expected a set of labelled pictures, got a {type(some).__name__}: vgglib.data.ImageSet(images, "
                "labels, classes) makes one of tensors, vgglib.data.image_folder one of files"
            )


class Rate:
    """The learning rate of every step, by the recipe's schedule."""

    DROPS = 3  # section 3.1: the rate was decreased three times

    def __init__(self, recipe: Recipe, steps_per_epoch: int):
        self._recipe, self._steps = recipe, steps_per_epoch
        self._drops, self._best, self._waited = 0, -1.0, 0

    def state(self) -> dict[str, float]:
        """Return what the schedule remembers, as plain numbers."""
        return {"drops": self._drops, "best": self._best, "waited": self._waited}

    def restore(self, state: dict[str, float]) -> None:
        """Remember what state() gave."""
        self._drops, self._best, self._waited = state["drops"], state["best"], state["waited"]

    def __call__(self, epoch: int, step: int) -> float:
        """Return the learning rate of ``step`` (from 0) in ``epoch`` (from 1)."""
        highest = self._recipe.learning_rate
        if self._recipe.schedule != "linear":
            return highest / 10 ** min(self._drops, self.DROPS)
        whole = self._recipe.epochs * self._steps
        done, rise = (epoch - 1) * self._steps + step + 1, max(1, int(self._recipe.warm_up * whole))
        return highest * min(done / rise, (whole + 1 - done) / (whole + 1 - rise))

    def goes_on(self, watched: float | None) -> bool:
        """Take in an epoch's validation accuracy, drop the rate if it is time, and say whether training goes on.

        It ends (False) where a fourth drop would be due; the rate stays at that of the third.
        """
        if self._recipe.schedule != "plateau":
            return True
        self._waited = 0 if watched > self._best else self._waited + 1
        self._best = max(self._best, watched)
        if self._waited < self._recipe.patience:
            return True
        self._drops, self._waited = self._drops + 1, 0
        return self._drops <= self.DROPS
