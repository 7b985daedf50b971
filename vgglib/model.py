"""Blocks and the networks of Table 1 (sections 2.1 and 2.2), with torchvision's state-dict keys.

There is no adaptive pooling: a network is built for one picture size and refuses every other, as the
paper's first fully connected layer does. Taught in notebooks/04_blocks_and_configurations.ipynb.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from numbers import Integral, Real

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod

from vgglib.configurations import Layer, layers, names, notation
from vgglib.sizes import height_and_width, torch_seed


def vgg_block(num_convs: int, in_channels: int, out_channels: int) -> nn.Sequential:
    """Return 3x3 convolutions, each with a ReLU, and a 2x2 max-pooling: (N, in, H, W) to (N, out, H/2, W/2).

    Raises ValueError unless all three are whole numbers from 1 on.
    """
    block = []
    for _ in range(num_convs):
        block += [nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
        in_channels = out_channels
    return nn.Sequential(*block, nn.MaxPool2d(kernel_size=2, stride=2))


def _of_counts(function: Callable[[int, int, int], nn.Sequential]) -> Callable[[int, int, int], nn.Sequential]:
    """Return the function for numbers that were looked at first."""

    @wraps(function)
    def checked(num_convs: int, in_channels: int, out_channels: int) -> nn.Sequential:
        _refuse_nonsense(Integral, num_convs=num_convs, in_channels=in_channels, out_channels=out_channels)
        return function(num_convs, in_channels, out_channels)

    return checked


vgg_block = _of_counts(vgg_block)  # above it stands as chapter 04 shows it


class VGG(nn.Module):
    """A network of Table 1, or of any string in its notation: (N, in_channels, H, W) to scores (N, num_classes).

    configuration: "A", "A-LRN", "B", "C", "D", "E", or notation such as "64 64 | 128 128 |".
    image_size: side of the pictures in pixels, an int or (height, width). width: factor on the channels of
    every convolution. hidden: units in each of the first two fully connected layers. batch_norm: batch
    normalisation between each convolution and its ReLU (not in the paper). dropout: probability in the first
    two fully connected layers (section 3.1).
    forward takes pictures as vgglib.evaluation.prepared gives them, less ``mean``, over ``std``: two buffers that
    training sets. The state dict, as torchvision's, has neither; vgglib.checkpoint.save_network keeps both.
    Raises ValueError for an unknown configuration, for an image_size that a pooling reduces to nothing, for a number
    of another kind or out of range, and for more than 2^42 weights.
    """

    __jit_unused_properties__ = ("blocks",)  # torch.jit.script leaves it out
    takes_prepared = True  # pictures less ``mean``, over ``std``: see vgglib.evaluation.prepared

    def __init__(
        self,
        configuration: str,
        in_channels: int = 3,
        num_classes: int = 1000,
        image_size: int | tuple[int, int] = 224,
        width: float = 1.0,
        hidden: int = 4096,
        batch_norm: bool = False,
        dropout: float = 0.5,
    ):
        super().__init__()
        _refuse_nonsense(Integral, in_channels=in_channels, num_classes=num_classes, hidden=hidden)
        _refuse_nonsense(Real, width=width)
        if not isinstance(batch_norm, bool | Integral) or batch_norm not in (0, 1):
            raise ValueError(f"batch_norm must be True or False, got {batch_norm!r}")
        if not isinstance(dropout, Real) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(f"dropout must be a probability, from 0 to 1, got {dropout!r}")
        in_channels, num_classes, hidden, width = int(in_channels), int(num_classes), int(hidden), float(width)
        stack = layers(configuration)
        self.configuration, self.in_channels, self.width = configuration, in_channels, width
        self.image_size = height_and_width(image_size, "image_size")
        if min(self.image_size) < 1:
            raise ValueError(f"image_size must be positive, got {image_size}")
        side = map_size(stack, self.image_size)
        _refuse_the_unbuildable(stack, in_channels, width, side[0] * side[1], hidden, num_classes)
        modules, channels = [], in_channels
        for layer in stack:
            out = _channels(layer, channels, width)
            modules += _modules(layer, channels, out, batch_norm)
            channels = out
        self.features = nn.Sequential(*modules)
        self.classifier = nn.Sequential(
            *[nn.Linear(channels * side[0] * side[1], hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)],
            *[nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)],
            nn.Linear(hidden, num_classes),
        )
        self.classes: tuple[str, ...] | None = None  # their names, in the order of the scores; training sets them
        # what prepared() subtracts and divides by; training sets them, they are no weights
        self.register_buffer("mean", torch.zeros(1, in_channels, 1, 1), persistent=False)
        self.register_buffer("std", torch.ones(1, in_channels, 1, 1), persistent=False)

    @property
    def blocks(self) -> list[nn.Sequential]:
        """The layers of ``features``, cut after each pooling; they share their parameters with ``features``."""
        cut, block = [], []
        for module in self.features:
            block.append(module)
            if isinstance(module, nn.MaxPool2d):
                cut.append(nn.Sequential(*block))
                block = []
        return [*cut, nn.Sequential(*block)] if block else cut

    def __iter__(self) -> Iterator[nn.Module]:
        """The network as one chain: its blocks, the flattening, and the layers of the classifier."""
        yield from [*self.blocks, nn.Flatten(), *self.classifier]

    def forward(self, X: Tensor) -> Tensor:
        if not torch.jit.is_scripting():
            self._check(X)
        return self.classifier(torch.flatten(self.features(X), 1))

    def _check(self, X: Tensor) -> None:
        """Raise ValueError for a batch that this network was not built for, with both sizes."""
        if isinstance(X, torch.fx.Proxy):  # torch.fx traces with a stand-in that has no size
            return
        _expect_batch(X, self.in_channels)
        if tuple(X.shape[2:]) != self.image_size:
            built, got = (" x ".join(map(str, size)) for size in (self.image_size, X.shape[2:]))
            raise ValueError(
                f"this network was built for {built} pictures, got {got}: rescale or crop the pictures, or build it "
                f"with image_size={tuple(X.shape[2:])}"
            )
        _expect_floats(X)

    def extra_repr(self) -> str:
        return f"configuration={self.configuration!r}, image_size={self.image_size}"


class FullyConvolutional(nn.Module):
    """A VGG for pictures of any size from its crop on: (N, in_channels, H, W) to a map of scores (N, classes, h, w).

    The first fully connected layer is a convolution with a kernel as large as the map that it was built for (7x7),
    the others are 1x1 convolutions (section 3.2). The weights are the network's own, not copies of them: casting or
    moving it, which would leave the network it came from with half of its layers cast, raises ValueError.
    """

    takes_prepared = True

    def __init__(self, net: VGG):
        super().__init__()
        self.configuration, self.in_channels, self.image_size = net.configuration, net.in_channels, net.image_size
        self.classes = net.classes
        self.features = net.features
        kernel = map_size(layers(net.configuration), net.image_size)
        self.classifier = nn.Sequential()
        for module in net.classifier:
            if isinstance(module, nn.Linear):
                frozen = not module.weight.requires_grad
                for hook in module._forward_pre_hooks.values():  # prunings only, see _expect_plain
                    hook(module, None)  # fills in the weight, which is else as old as the last forward pass
                module = as_convolution(module, kernel)
                module.weight.requires_grad_(not frozen)
                kernel = (1, 1)
            self.classifier.append(module)
        self.register_buffer("mean", net.mean, persistent=False)
        self.register_buffer("std", net.std, persistent=False)
        self.training = net.training

    def forward(self, X: Tensor) -> Tensor:
        if not torch.jit.is_scripting():
            self._check(X)
        return self.classifier(self.features(X))

    def _apply(self, change: Callable[[Tensor], Tensor], recurse: bool = True) -> "FullyConvolutional":
        """What .to(), .half(), .cuda() and the like call; ValueError unless it would change nothing."""
        for tensor in [*self.parameters(), *self.buffers()]:
            changed = change(tensor)
            if (changed.dtype, changed.device) != (tensor.dtype, tensor.device):
                raise ValueError("this network shares its layers with a VGG: cast or move that, then convert it")
        return super()._apply(change, recurse)

    def _check(self, X: Tensor) -> None:
        """Raise ValueError for pictures smaller than the crop, with both sizes, and for what is no batch of them."""
        if isinstance(X, torch.fx.Proxy):
            return
        _expect_batch(X, self.in_channels)
        _expect_floats(X)
        if X.shape[2] < self.image_size[0] or X.shape[3] < self.image_size[1]:
            crop, got = (" x ".join(map(str, size)) for size in (self.image_size, X.shape[2:]))
            raise ValueError(f"the pictures are {got}, smaller than the crop {crop} that this network was trained on")


def _expect_batch(X: Tensor, channels: int) -> None:
    if not isinstance(X, Tensor):
        raise ValueError(f"expected a tensor (N, {channels}, H, W), got a {type(X).__name__}")
    if X.dim() != 4 or X.shape[1] != channels:
        raise ValueError(f"expected a batch (N, {channels}, H, W), got shape {tuple(X.shape)}")


def _expect_floats(X: Tensor) -> None:
    if not X.is_floating_point():
        raise ValueError(
            f"expected floating-point pictures, got {X.dtype}: divide by 255, then vgglib.evaluation.prepared "
            "takes the network's mean off"
        )


def as_convolution(linear: nn.Linear, kernel: tuple[int, int]) -> nn.Conv2d:
    """Return the convolution that computes ``linear`` at every place of a map; it shares its weights (section 3.2).

    Both parameters lie in the same memory, each has a gradient of its own.
    """
    channels = linear.in_features // (kernel[0] * kernel[1])
    conv = nn.Conv2d(channels, linear.out_features, kernel, device="meta")  # "meta": without weights of its own
    conv.weight = nn.Parameter(linear.weight.detach().view(linear.out_features, channels, *kernel))
    conv.bias = linear.bias
    return conv


def fully_convolutional(net: VGG) -> FullyConvolutional:
    """Return the network for pictures of any size from its crop on, which gives a map of scores (section 3.2).

    It shares its weights with ``net`` and is in the same mode: a step of an optimiser on its parameters changes both.
    Its gradients are its own: train it by its own parameters, since a backward pass through the map leaves the fully
    connected layers of ``net`` without gradients. A weight that is computed anew at each use (pruning, weight_norm) is
    taken as it is now. Convert after moving or casting: what happens to ``net`` later, this does not follow.
    Raises ValueError for a network that is converted already, and for any other kind: one with adaptive pooling, such
    as torchvision's, has no map to give; for one whose features are not its configuration's; and for one that computes
    more than its weights say, by a forward or a hook of its own, or by a layer that would take the width
    of a map for the classes. A network inside of a wrapper is found, as by unwrapped.
    """
    net = unwrapped(net)
    if isinstance(net, FullyConvolutional):
        raise ValueError("this network is fully convolutional already")
    if not isinstance(net, VGG):
        kind = type(net)
        of, hint = "", "; single_crop and multi_crop test other kinds"
        if kind.__name__ == "VGG":
            of, hint = f" of {kind.__module__}", " (see peers.from_torchvision)"
        raise ValueError(f"expected a vgglib.model.VGG, got a {kind.__name__}{of}{hint}")
    adaptive = any(isinstance(layer, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d) for layer in net.features.modules())
    if adaptive:
        raise ValueError(
            "the first fully connected layer of this network does not see the last map: there is no map to give"
        )
    _expect_map(net)
    _expect_plain(net)
    return FullyConvolutional(net)


def _expect_map(net: VGG) -> None:
    """Raise ValueError if the classifier does not begin with a linear layer over the maps of the configuration."""
    fc6 = net.classifier[0]
    if not isinstance(fc6, nn.Linear):
        raise ValueError(
            f"the classifier begins with a {type(fc6).__name__}, not with the one nn.Linear over the last map that "
            "becomes a convolution"
        )
    rows, columns = map_size(layers(net.configuration), net.image_size)
    last = [module.out_channels for module in net.features.modules() if isinstance(module, nn.Conv2d)]
    channels = last[-1] if last else net.in_channels
    if fc6.in_features != channels * rows * columns:
        raise ValueError(
            f"the configuration {net.configuration!r} leaves {channels:,} maps of {rows} x {columns}, and the first "
            f"fully connected layer has {fc6.in_features:,} inputs: the features were changed"
        )


def _expect_plain(net: VGG) -> None:
    """Raise ValueError if more is computed than the weights say: FullyConvolutional would leave it out."""
    plain = {VGG: net, nn.Sequential: net.classifier}
    for kind, module in plain.items():
        if type(module).forward is not kind.forward or "forward" in vars(module):
            what = type(net).__name__ if module is net else f"its classifier, a {type(module).__name__},"
            raise ValueError(f"{what} computes its scores by a forward of its own, which no map would have")
    linear = {f"classifier.{n}": layer for n, layer in enumerate(net.classifier) if isinstance(layer, nn.Linear)}
    for name, layer in linear.items():
        if type(layer).forward is not nn.Linear.forward or "forward" in vars(layer):
            raise ValueError(
                f"{name} is a {type(layer).__name__} with a forward of its own: its weights alone are no convolution"
            )
    for n, layer in enumerate(net.classifier):
        over_classes = isinstance(layer, nn.Softmax | nn.LogSoftmax) and layer.dim == 1
        if not isinstance(layer, (nn.Linear, *_ELEMENTWISE)) and not over_classes:
            raise ValueError(
                f"classifier.{n} is a {type(layer).__name__}, which may do another thing to a map than to a row of "
                "scores: no map is given"
            )
    for name, module in {"the network": net, "classifier": net.classifier, **linear}.items():
        hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        if any(not isinstance(hook, BasePruningMethod) for hook in hooks):  # a pruning only fills in the weights
            raise ValueError(f"{name} has a hook, which its convolution would not have: remove the hook")


_ELEMENTWISE = (nn.ReLU, nn.Dropout, nn.Identity, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish)
_ELEMENTWISE += (nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Softplus)
_ELEMENTWISE += (nn.PReLU, nn.Softsign, nn.Threshold, nn.AlphaDropout)


def unwrapped(net: nn.Module) -> nn.Module:
    """Return the network that torch.compile, DataParallel, DistributedDataParallel, AveragedModel or the like wraps.

    A wrapper is a module that holds one other, as ``module`` or ``_orig_mod``, or an nn.Sequential of one, and no
    parameter of its own. Anything else comes back as it is.
    """
    while True:
        inner = dict(net._modules.items())
        wrapped = set(inner) in ({"module"}, {"_orig_mod"}) or (type(net) is nn.Sequential and set(inner) == {"0"})
        if not wrapped or next(net.parameters(recurse=False), None) is not None:
            return net
        (net,) = inner.values()


def warm_start(deep: VGG, shallow: VGG) -> list[str]:
    """Return the names of the layers that were copied from a shallow, trained network into ``deep``, which it changes.

    Section 3.1: configuration A is trained first; its first four convolutions and its fully connected layers go into
    the deeper ones. Layers are matched by name (of A conv1_1, conv2_1, conv3_1, conv3_2): A's second layer is not D's.
    Batch normalisation after a copied layer is copied with it, and so are ``mean`` and ``std``: the first layer learned
    from pictures less that mean. The rest of ``deep`` stays as it was, and every copied layer goes on learning. Raises
    ValueError, before anything is copied, if a layer is missing or of another shape.
    """
    _expect_two(deep, shallow)
    chosen = [*[name for name in _weighted(shallow) if name.startswith("conv")][:4], "fc6", "fc7", "fc8"]
    return _copy(deep, shallow, chosen)


def start_from(net: VGG, trained: VGG) -> list[str]:
    """Return the names of the layers that were copied from a trained network into ``net``, which it changes.

    A network of the same configuration goes on where the other stopped, as at training scale 384 after 256 (section
    3.1): every layer is copied, but for the last one where the classes are others. From another configuration come
    the layers of warm_start. ``mean`` and ``std`` are copied, too. Every layer goes on learning. Raises ValueError,
    before anything is copied, if a layer is of another shape.
    """
    _expect_two(net, trained)
    if layers(net.configuration) != layers(trained.configuration):
        return warm_start(net, trained)
    outputs = [side.classifier[-1].out_features for side in (net, trained)]
    others = outputs[0] != outputs[1] or (net.classes and trained.classes and net.classes != trained.classes)
    return _copy(net, trained, [name for name in _weighted(net) if name != "fc8" or not others])


def _expect_two(*nets: VGG) -> None:
    for net in nets:
        if not isinstance(net, VGG):
            raise ValueError(f"expected two networks of vgglib.model.VGG, got a {type(net).__name__}")


def _copy(net: VGG, trained: VGG, chosen: list[str]) -> list[str]:
    """Copy the named layers, and the pictures' mean and std; ValueError, and no change, if one does not fit."""
    theirs, ours = _weighted(trained), _weighted(net)
    pairs = []
    for name in chosen:
        if name not in ours:
            raise ValueError(f"the new network has no {name} to copy the trained one's into")
        states = [[module.state_dict() for module in side[name]] for side in (ours, theirs)]
        shapes = [[tuple(value.shape) for state in side for value in state.values()] for side in states]
        if shapes[0] != shapes[1]:
            told = _unlike(ours[name][0].weight.shape, theirs[name][0].weight.shape)
            raise ValueError(f"{name} has {told}: {_wanted(net, trained)}")
        pairs += zip(ours[name], states[1], strict=True)
    for module, state in pairs:
        module.load_state_dict(state)
    net.mean.copy_(trained.mean)
    net.std.copy_(trained.std)
    return chosen


def _unlike(here: torch.Size, there: torch.Size) -> str:
    """Return in what two layers differ first, from the shapes of their weights."""
    kinds = ("channels", "input channels", "rows", "columns") if len(here) == 4 else ("units", "inputs")
    for one, other, kind in zip(here, there, kinds, strict=True):
        if one != other:
            return f"{one:,} {kind} here, {other:,} in the trained network"
    return "not the parameters here that it has in the trained network"


def _wanted(net: VGG, trained: VGG) -> str:
    """Return which settings of the trained network the new one should take."""

    def settings(one: VGG) -> dict[str, object]:
        norm, side = any(isinstance(module, nn.BatchNorm2d) for module in one.features), one.image_size
        found = {"in_channels": one.in_channels, "width": one.width, "batch_norm": norm}
        found["image_size"] = side[0] if side[0] == side[1] else side
        return found | {"hidden": one.classifier[0].out_features, "num_classes": one.classifier[-1].out_features}

    mine, its = settings(net), settings(trained)
    wanted = [f"{name} {its[name]}" for name in its if its[name] != mine[name]]
    if layers(net.configuration) != layers(trained.configuration):
        wanted.append(f"{'perhaps ' if wanted else ''}configuration {trained.configuration!r}")
    return f"take its {', '.join(wanted)}"


def _weighted(net: VGG) -> dict[str, list[nn.Module]]:
    """Return the modules with weights under the paper's names: a convolution with its normalisation, fc6 to fc8."""
    found: list[list[nn.Module]] = []
    for module in net.features:
        if isinstance(module, nn.Conv2d):
            found.append([module])
        elif isinstance(module, nn.BatchNorm2d):
            found[-1].append(module)
    labels = [name for name in names(layers(net.configuration)) if name.startswith("conv")]
    linear = [[module] for module in net.classifier if isinstance(module, nn.Linear)]
    return dict(zip([*labels, "fc6", "fc7", "fc8"], [*found, *linear], strict=True))


def vgg(
    conv_arch: Iterable[tuple[int, int]], in_channels: int = 1, num_classes: int = 10, image_size: int = 224
) -> VGG:
    """Return the network of ``((num_convs, channels), ...)``, as d2l writes it: greyscale pictures, ten classes.

    Raises ValueError for what is no such list of pairs, and as VGG does.
    """
    return VGG(notation(conv_arch), in_channels=in_channels, num_classes=num_classes, image_size=image_size)


def map_size(stack: Iterable[Layer], image_size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of the feature maps after ``stack``; ValueError names the layer that leaves nothing."""
    stack = list(stack)
    size = image_size
    for layer, name in zip(stack, names(stack), strict=True):
        reach = layer.dilation * (layer.kernel - 1) + 1
        after = tuple((side + 2 * layer.padding - reach) // layer.stride + 1 for side in size)
        if min(after) < 1:
            raise ValueError(
                f"image_size {image_size[0]} x {image_size[1]} is too small: {name} would reduce {size[0]} x {size[1]} "
                f"to nothing (this stack needs at least {math.prod(other.stride for other in stack)} pixels)"
            )
        size = after
    return size


def _modules(layer: Layer, in_channels: int, out_channels: int, batch_norm: bool) -> list[nn.Module]:
    """Return the modules for one layer of a configuration; a ReLU follows every convolution (section 2.1)."""
    if layer.kind == "pool":
        return [nn.MaxPool2d(layer.kernel, layer.stride)]
    if layer.kind == "lrn":
        return [local_response_norm()]
    conv = nn.Conv2d(in_channels, out_channels, layer.kernel, layer.stride, layer.padding, layer.dilation)
    return [conv, *([nn.BatchNorm2d(out_channels)] if batch_norm else []), nn.ReLU(inplace=True)]


def local_response_norm(n: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75) -> nn.LocalResponseNorm:
    """Return Krizhevsky's normalisation: each value divided by (k + alpha * sum of squares of n channels) ** beta.

    torch divides its alpha by n; the factor n here makes the formula Krizhevsky's.
    """
    return nn.LocalResponseNorm(n, alpha=n * alpha, beta=beta, k=k)


def _normal(std: float) -> Callable[..., object]:
    return lambda weight, generator: nn.init.normal_(weight, std=std, generator=generator)


MOST_WEIGHTS = 2**42  # 16 TiB in float32
INITIALISATIONS: dict[str, Callable[..., object]] = {
    "normal-0.01": _normal(0.01),  # section 3.1 as most implementations read it: standard deviation 0.01
    "normal-0.1": _normal(0.1),  # section 3.1 to the letter: variance 0.01
    "glorot": lambda weight, generator: nn.init.xavier_uniform_(weight, generator=generator),
    "he": lambda weight, generator: nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator),
}


def initialise(net: nn.Module, how: str, seed: int = 0, biases: bool = True) -> nn.Module:
    """Return ``net`` with the weights of its convolutions and linear layers drawn anew, and their biases set to 0.

    how: a key of INITIALISATIONS: the two readings of the paper's "10^-2 variance", Glorot & Bengio 2010
    (uniform), He et al. 2015 (normal). biases=False leaves the biases as they are, as d2l does.
    The numbers depend on ``seed`` alone. Raises ValueError for an unknown name.
    """
    if how not in list(INITIALISATIONS):
        raise ValueError(f"unknown initialisation {how!r}: choose from {', '.join(INITIALISATIONS)}")
    generator = torch.Generator().manual_seed(torch_seed(seed))
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            drawn = torch.empty_like(module.weight, device="cpu")  # the same numbers on every device
            INITIALISATIONS[how](drawn, generator)
            with torch.no_grad():
                module.weight.copy_(drawn)
            if biases and module.bias is not None:
                nn.init.zeros_(module.bias)
    return net


def _channels(layer: Layer, before: int, width: float) -> int:
    """Return the channels that a layer gives, in a network whose convolutions are ``width`` times as wide."""
    return before if layer.channels is None else max(1, round(layer.channels * width))


def _refuse_the_unbuildable(
    stack: list[Layer], in_channels: int, width: float, places: int, hidden: int, num_classes: int
) -> None:
    """Raise ValueError for a network of more weights than any machine holds, before torch overflows."""
    weights, channels = 0, in_channels
    for layer in stack:
        wanted = channels if layer.channels is None else layer.channels * width
        before, channels = channels, _channels(layer, channels, width) if wanted < 1e300 else 10**300
        weights += before * channels * layer.kernel**2 if layer.kind == "conv" else 0
    fully_connected = channels * places * hidden + hidden**2 + hidden * num_classes
    if weights + fully_connected > MOST_WEIGHTS:
        every, share = (round(math.log10(count)) for count in (weights + fully_connected, fully_connected))
        raise ValueError(
            f"this network would have about 10^{every} weights, 10^{share} of them fully connected: take a smaller "
            "width, image_size or hidden, or more poolings"
        )


def _refuse_nonsense(kind: type, **sizes: float) -> None:
    for name, value in sizes.items():
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{name} must be a {'whole ' if kind is Integral else ''}number, got {value!r}")
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive{' and finite' if value > 0 else ''}, got {value}")
