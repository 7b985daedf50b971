"""Receptive fields of any network, against gradients: random networks, published ones, single operations, refusals."""

import copy
import random

import pytest
import reference
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from vgglib.configurations import layers, names
from vgglib.cost import cost
from vgglib.model import VGG, fully_convolutional
from vgglib.receptive_field import (
    ReceptiveField,
    UnalignedError,
    UnknownReceptiveFieldError,
    measured,
    receptive_field,
    trace,
)

CHANNELS = 4
BOTH = (0, 1)  # height and width


# The oracle: real numbers through torch's own layers, and autograd. It knows no formula.


def reached(out, X, unit):
    """The rows and the columns of the pixels that have a gradient from a unit (row, column); None without one."""
    weights = torch.linspace(0.7, 1.3, out.shape[1], dtype=out.dtype)
    (gradient,) = torch.autograd.grad((out[0, :, *unit] * weights).sum(), X, retain_graph=True)
    touched = gradient[0].abs().sum(0) > 0
    if not touched.any():
        return None
    lines = [touched.any(axis).nonzero().flatten().tolist() for axis in (1, 0)]
    return tuple((line[0], line[-1]) for line in lines)


def looking(net, picture):
    """A function that tells what a unit of the network's output sees of the picture."""
    X = picture.detach().requires_grad_()
    out = net(X)
    return lambda unit: reached(out, X, unit)


def positive(net):
    """The network with equal positive weights, with averages for maxima and nothing that cuts a gradient off."""
    net = copy.deepcopy(net).double().eval()
    for weight in net.parameters():
        nn.init.constant_(weight, 1 / max(1, weight[0].numel()))
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode))
            if isinstance(child, nn.ReLU6 | nn.Hardswish | nn.Hardsigmoid | nn.LocalResponseNorm):
                setattr(module, name, nn.Identity())
    return net


def ones(size, channels=CHANNELS):
    return torch.ones(1, channels, *size, dtype=torch.float64)


def some_units(size, dice=None):
    """Corners, the middle, and one at random."""
    height, width = size
    found = {(0, 0), (height // 2, width // 2), (height - 1, width - 1), (0, width - 1)}
    return sorted(found | ({(dice.randrange(height), dice.randrange(width))} if dice else set()))


def window(field, unit, size):
    """What a traced field says of a unit, None where it sees only padding."""
    if field.units.rows[0][unit] <= field.units.rows[1][unit]:
        return field.window(unit, size)
    with pytest.raises(ValueError, match="nothing but padding"):
        field.window(unit, size)
    return None


def sides(field):
    """(size, stride, padding) along rows and along columns."""
    return [[value[n] if isinstance(value, tuple) else value for value in parts(field)] for n in BOTH]


def parts(field):
    return field.size, field.stride, field.padding


def compare(field, see, size, units, about):
    """Hold a field against the gradient, window by window, and its formula against both; return how many agreed."""
    for unit in units:
        seen = see(unit)
        assert window(field, unit, size) == seen, (about, size, unit)
        formulas = [
            (at * stride - padding, at * stride - padding + reach - 1)
            for at, (reach, stride, padding) in zip(unit, sides(field), strict=True)
            if reach is not None and seen is not None
        ]
        inside = [0 <= first <= last < length for (first, last), length in zip(formulas, size, strict=False)]
        for n, (first, last) in enumerate(formulas) if len(formulas) == 2 else ():
            assert first <= seen[n][0] <= seen[n][1] <= last, (about, size, unit)
            if all(inside) and about != "cropped":  # the window lies in the picture: then nothing may be missing
                assert (first, last) == seen[n], (about, size, unit)
    return len(units)


# Random networks


def two(dice, low, high):
    return dice.randint(low, high), dice.randint(low, high)


def random_layer(dice):
    """A layer that may change the size of a map, height and width apart."""
    kind = dice.choice(["conv", "conv", "conv", "conv", "pool", "pool", "same", "transposed", "padding", "norm"])
    kernel = two(dice, 1, 4)
    if kind == "conv":
        dilation = two(dice, 1, 3)
        padding = tuple(dice.randint(0, d * (k - 1) + 1) for k, d in zip(kernel, dilation, strict=True))
        groups = dice.choice([1, 1, 2, 4])
        return nn.Conv2d(CHANNELS, CHANNELS, kernel, two(dice, 1, 3), padding, dilation, groups)
    if kind == "pool":
        make, padding = dice.choice([nn.MaxPool2d, nn.AvgPool2d]), tuple(dice.randint(0, k // 2) for k in kernel)
        return make(kernel, two(dice, 1, 3), padding, ceil_mode=dice.random() < 0.5)
    if kind == "same":
        return nn.Conv2d(CHANNELS, CHANNELS, kernel, padding="same", dilation=two(dice, 1, 2))
    if kind == "transposed":
        return nn.ConvTranspose2d(CHANNELS, CHANNELS, kernel, padding=two(dice, 0, min(kernel) - 1))
    if kind == "padding":
        return nn.ZeroPad2d([dice.randint(0, 2) for _ in range(4)])
    return nn.Sequential(nn.BatchNorm2d(CHANNELS), nn.ReLU(), nn.LocalResponseNorm(3), nn.Dropout())


def fits(net, size):
    """Whether a network leaves anything of a picture, and not too much."""
    try:
        with torch.no_grad():
            return 0 < net.eval()(torch.zeros(1, CHANNELS, *size)).numel() < 40_000
    except RuntimeError:
        return False


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_random_chains_see_what_gradients_say():
    dice, compared, nets = random.Random(2014), 0, 0
    while nets < 160:
        net, size = nn.Sequential(*(random_layer(dice) for _ in range(dice.randint(2, 5)))), two(dice, 9, 36)
        if not fits(net, size):
            continue
        nets += 1
        field = list(trace(net, (CHANNELS, *size)).values())[-1]
        assert None not in sides(field)[0] + sides(field)[1]
        compared += compare(field, looking(positive(net), ones(size)), size, some_units(field.units.size, dice), net)
    assert compared > 600


class Branched(nn.Module):
    """A stem, paths that leave it and meet again, and a tail."""

    def __init__(self, stem, paths, tail, chained):
        super().__init__()
        self.stem, self.paths, self.tail, self.chained = stem, nn.ModuleList(paths), tail, chained
        self.mix = nn.Conv2d(CHANNELS * len(paths), CHANNELS, 1)

    def forward(self, X):
        X = self.stem(X)
        outputs = [path(X) for path in self.paths]
        if self.chained:
            return self.tail(self.mix(torch.cat(outputs, dim=1)))
        return self.tail(sum(outputs[1:], outputs[0]))


def random_path(dice, stride):
    """A path that keeps the map, or halves a map of even sides, by one of several layers."""
    path = []
    for _ in range(dice.randint(0, 2)):
        (k, d), (m, e) = (dice.choice([1, 3, 5]), dice.randint(1, 2)), (dice.choice([1, 3, 5]), dice.randint(1, 2))
        padding = (d * (k - 1) // 2, e * (m - 1) // 2)
        path.append(nn.Conv2d(CHANNELS, CHANNELS, (k, m), 1, padding, (d, e), dice.choice([1, 2, 4])))
    if stride == 1 and dice.random() < 0.15:  # the same size, but off the centre
        path.append(nn.Sequential(nn.ZeroPad2d(dice.choice([(2, 0, 1, 1), (1, 1, 0, 2)])), nn.AvgPool2d(3, 1)))
    if stride == 2:
        kernel, padding = dice.choice([(2, 0), (2, 0), (4, 1), (6, 2), (3, 1)])
        make = dice.choice([nn.MaxPool2d, nn.AvgPool2d, None])
        halving = nn.Conv2d(CHANNELS, CHANNELS, kernel, 2, padding) if make is None else make(kernel, 2, padding)
        path.insert(dice.randint(0, len(path)), halving)
    return nn.Sequential(*path)


def by_gradients(path, size=(72, 80)):
    """Stride and centre of a path along both sides, from the gradients of neighbouring units in the middle."""
    oracle = positive(path)
    see, (row, column) = looking(oracle, ones(size)), (length // 2 for length in oracle(ones(size)).shape[2:])
    found = []
    for n, beside in ((0, (row + 1, column)), (1, (row, column + 1))):
        here, there = see((row, column))[n], see(beside)[n]
        assert 0 < here[0] <= there[1] < size[n] - 1, "give it a larger picture"
        stride, unit = there[0] - here[0], (row, column)[n]
        found.append((stride, sum(here) / 2 - stride * unit))
    return found


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_random_branches_see_what_gradients_say_and_unaligned_ones_are_reported():
    dice, aligned, unaligned = random.Random(2019), 0, 0
    while aligned + unaligned < 180:
        stem, stride = nn.Sequential(*(random_layer(dice) for _ in range(dice.randint(0, 1)))), dice.randint(1, 2)
        paths = [random_path(dice, stride) for _ in range(dice.randint(2, 3))]
        net = Branched(stem, paths, nn.Sequential(random_layer(dice)), chained=dice.random() < 0.5)
        size = two(dice, 14, 30)
        if not fits(net, size):
            continue
        if len({str(by_gradients(path)) for path in paths}) == 1:
            aligned += 1
            field = list(trace(net, (CHANNELS, *size)).values())[-1]
            compare(field, looking(positive(net), ones(size)), size, some_units(field.units.size, dice), net)
        else:
            unaligned += 1
            with pytest.raises(UnalignedError, match=r"(cat|add\w*) in Branched: its paths .* are not aligned"):
                trace(net, (CHANNELS, *size))
    assert aligned >= 100
    assert unaligned >= 20


# Published networks


@pytest.mark.parametrize("name", "ABCDE")
def test_every_layer_of_every_configuration(name):
    with torch.device("meta"):
        net = nn.Sequential(*VGG(name).features, nn.Conv2d(512, 4096, 7))
    found = trace(net, 224)
    counted = [n for n, module in enumerate(net) if not isinstance(module, nn.ReLU)]
    named = dict(zip([*names(layers(name)), "fc6"], counted, strict=True))
    published = reference.receptive_fields(name)
    assert {label: parts(found[str(n)]) for label, n in named.items()} == published
    assert found[str(counted[-2])] == receptive_field(layers(name))
    assert all(found[str(n)] == found[str(n - 1)] for n, module in enumerate(net) if isinstance(module, nn.ReLU))


def test_the_classifier_sees_the_whole_picture():
    with torch.device("meta"):
        found = trace(VGG("A"), 224)
    last = [found[name] for name in ("flatten", "classifier.0", "classifier.6")]
    assert last == [ReceptiveField(224, 0, 0)] * 3
    assert last[-1].window(0) == (0, 223)
    assert last[-1].units.size == (1, 1)


def test_alexnet_of_tf_slim():
    net = nn.Sequential(
        *[nn.Conv2d(3, 4, 11, 4), nn.ReLU(), nn.MaxPool2d(3, 2)],
        *[nn.Conv2d(4, 4, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)],
        *[nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()] * 3,
        nn.MaxPool2d(3, 2),
    )
    found = trace(net, 231)
    assert parts(found["12"]) == reference.ALEXNET_V2
    assert found["6"].size < found["6 (2)"].size < found["6 (3)"].size  # one layer, used three times


class TwoPaths(nn.Module):
    def __init__(self, left, right):
        super().__init__()
        self.left, self.right = left, right

    def forward(self, X):
        return self.left(X) + self.right(X)


def test_the_misaligned_example_of_the_distill_article():
    left = nn.Sequential(nn.ZeroPad2d((2, 1, 2, 1)), nn.Conv2d(1, 1, 5, 2))
    net = TwoPaths(left, nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)))
    with pytest.raises(UnalignedError, match=r"paths left\.1 and right\.1 .*stride 2 .* meets stride 1"):
        trace(net, 8)
    see = looking(positive(net), ones((8, 8), 1))
    assert [see((unit, unit))[0] for unit in range(4)] == reference.MISALIGNED


def test_the_aligned_example_of_the_distill_article():
    right = nn.Sequential(nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(1, 1, 3, 2), nn.Conv2d(1, 1, 1, 2))
    assert parts(trace(TwoPaths(nn.Conv2d(1, 1, 1, 4), right), 16)["add"]) == reference.ALIGNED


@pytest.mark.parametrize("name", reference.RESIDUAL)
def test_residual_networks(name):
    with torch.device("meta"):
        found = trace(getattr(torchvision.models, name)(), 224)
    last = [label for label in found if label.startswith("layer4")][-1]
    assert parts(found[last]) == reference.RESIDUAL[name]
    assert found[last].units.size == (7, 7)
    assert found["avgpool"] == found["fc"] == ReceptiveField(224, 0, 0)


@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "resnet50", "resnet152", "googlenet", "mobilenet_v2", "mobilenet_v3_small", "densenet121"),
        *("shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5", "regnet_x_400mf", "inception_v3"),
    ],
)
def test_torchvisions_networks_see_what_gradients_say(name):
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    net, size = getattr(torchvision.models, name)(**options).eval(), (75, 107) if name == "inception_v3" else (43, 107)
    found = trace(net, size)
    modules = dict(net.named_modules())
    known = [label for label in found if label in modules and f"{label} (2)" not in found]
    known = [label for label in known if found[label].units.size != (1, 1)]
    chosen = random.Random(name).sample(known[:-1], 4) + known[-1:]
    outputs, oracle, X = {}, positive(net), ones(size, 3).requires_grad_()
    for label in chosen:
        dict(oracle.named_modules())[label].register_forward_hook(
            lambda *got, label=label: outputs.update({label: got[-1].clone()})
        )
    oracle(X)
    for label in chosen:
        units = some_units(found[label].units.size)[1:]
        compare(found[label], lambda unit, label=label: reached(outputs[label], X, unit), size, units, label)


# Single operations, with random weights and as they are: nothing in them can cut a gradient off

SIZE = (18, 20)


class Does(nn.Module):
    """A module whose forward is a function of itself, with the layers it needs, and of the picture."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, X):
        return self.function(self, X)


def conv(kernel=3, *more, **options):
    return nn.Conv2d(CHANNELS, CHANNELS, kernel, *more, **options)


def excited(self, X):
    Y = self.conv(X)
    return Y * self.gate(Y.mean((2, 3), keepdim=True)).sigmoid()


def excited_by_vectors(self, X):
    Y = self.conv(X)
    return Y * self.line(Y.mean((2, 3))).view(1, CHANNELS, 1, 1)


def chained(self, X):
    return torch.cat([self.wide(X), self.small(X)], 1)


def shuffled(self, X):
    Y = chained(self, X).view(1, 2, CHANNELS, X.shape[2], X.shape[3])
    return Y.transpose(1, 2).reshape(1, 2 * CHANNELS, X.shape[2], X.shape[3])


def attended(self, X):
    Y = X.flatten(2).transpose(1, 2)
    return self.attention(Y, Y, Y, need_weights=False)[0].transpose(1, 2).reshape(X.shape)


def there_and_back(self, X):
    return torch.cat([self.up(self.down(X)), self.conv(X)], 1)


def paths(**more):
    return dict(wide=conv(5, padding=2), small=conv(1), **more)


EXACT = {
    "sizes apart": conv((2, 5), (3, 1), (1, 4), (3, 2), groups=2),
    "same, even kernels": conv((2, 4), padding="same", dilation=(3, 1)),
    "reflected border": nn.Sequential(conv(3, padding=2, padding_mode="reflect"), conv(1, 3)),
    "repeated border": nn.Sequential(conv(2, padding=(3, 1), padding_mode="replicate"), conv(3, padding=1)),
    "functional": Does(lambda self, X: F.avg_pool2d(F.conv2d(X, self.conv.weight, padding=2), (2, 3)), conv=conv()),
    "a module used twice": Does(lambda self, X: self.conv(self.conv(X)), conv=conv(3, 2, 1)),
    "transposed": nn.ConvTranspose2d(CHANNELS, CHANNELS, (3, 2), padding=(1, 0), dilation=(1, 3)),
    "transposed with a stride": nn.ConvTranspose2d(CHANNELS, CHANNELS, (2, 5), (3, 2), (0, 2), (1, 1), groups=2),
    "transposed with holes": nn.Sequential(nn.ConvTranspose2d(CHANNELS, CHANNELS, 1, 3), conv(2, padding=1)),
    "there and back": Does(
        there_and_back, down=conv(2, 2), up=nn.ConvTranspose2d(CHANNELS, CHANNELS, 2, 2), conv=conv(padding=1)
    ),
    "uneven adaptive pooling": nn.Sequential(conv(), nn.AdaptiveAvgPool2d((5, 4))),
    "even adaptive pooling": nn.AdaptiveAvgPool2d((6, 5)),
    "adaptive pooling to more units": nn.Sequential(conv(5, 3), nn.AdaptiveAvgPool2d(7)),
    "global pooling behind leftover columns": nn.Sequential(conv(3, 3), nn.AdaptiveAvgPool2d(1)),
    "leftover rows that come back as padding": nn.Sequential(conv(3, 2), conv(3, padding=1)),
    "nearest": nn.Sequential(conv(), nn.Upsample(scale_factor=(2, 1.5))),
    "bilinear": nn.Sequential(nn.Upsample(size=(7, 40), mode="bilinear"), conv(2)),
    "bilinear, corners aligned": nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    "bicubic": nn.Upsample(size=(9, 30), mode="bicubic"),
    "area": nn.Upsample(size=(5, 30), mode="area"),
    "cropped": nn.Sequential(conv(), nn.ZeroPad2d((-2, 1, 3, -1)), conv(padding=1)),
    "every second row": Does(lambda self, X: self.conv(X)[:, :, 1::2, 2:-1], conv=conv()),
    "one row of two channels": Does(lambda self, X: self.conv(X)[:, 1:3, 4].unsqueeze(2), conv=conv()),
    "upside down": Does(lambda self, X: X.flip(2)),
    "turned over": Does(lambda self, X: self.conv(self.conv(X).flip(2)), conv=conv()),
    "rolled": Does(lambda self, X: self.conv(X.roll((2, 3), (2, 3))), conv=conv()),
    "maps one above the other": Does(lambda self, X: torch.cat([self.conv(X), X], 2), conv=conv((3, 1))),
    "rows one below the other, channels last": Does(
        lambda self, X: torch.cat([self.conv(X).permute(0, 2, 3, 1), X.permute(0, 2, 3, 1)], 1).permute(0, 3, 1, 2),
        conv=conv((3, 1)),
    ),
    "instance normalisation": nn.Sequential(conv(), nn.InstanceNorm2d(CHANNELS)),
    "no running statistics": nn.BatchNorm2d(CHANNELS, track_running_stats=False),
    "group normalisation": nn.Sequential(conv(), nn.GroupNorm(2, CHANNELS)),
    "groups that see different rows": Does(
        lambda self, X: F.group_norm(torch.cat([X, F.pad(X[:, :, 3:-4], (0, 0, 3, 4))], 1), 2)[:, 4:]
    ),
    "channels last": Does(
        lambda self, X: self.line(self.norm(self.conv(X).permute(0, 2, 3, 1))).permute(0, 3, 1, 2) + X,
        **dict(conv=conv(padding=1), norm=nn.LayerNorm(CHANNELS), line=nn.Linear(CHANNELS, CHANNELS)),
    ),
    "rows normalised": Does(lambda self, X: F.layer_norm(self.conv(X), [18]), conv=conv()),
    "soft-max over rows": Does(lambda self, X: self.conv(X).softmax(2), conv=conv()),
    "soft-max over channels": Does(lambda self, X: self.conv(X).log_softmax(1), conv=conv()),
    "local response": nn.Sequential(conv(), nn.LocalResponseNorm(3)),
    "gate": Does(lambda self, X: F.glu(self.conv(X), dim=1), conv=conv()),
    "columns mixed": nn.Sequential(conv(), nn.Linear(18, 7)),
    "rows as one line": Does(
        lambda self, X: F.conv1d(X.flatten(2), self.conv.weight[:, :, 1], padding=1).view(X.shape), conv=conv()
    ),
    "a line cut shorter": Does(
        lambda self, X: F.conv1d(X.flatten(2), self.conv.weight[:, :, 1]).view(1, CHANNELS, 2, 179), conv=conv()
    ),
    "gate by a layer as large as the picture": Does(lambda self, X: self.conv(X) * X, conv=conv(SIZE)),
    "a map from one unit": Does(lambda self, X: self.conv(X).view(1, 1, 2, 2), conv=conv(SIZE)),
    "squeeze and excite": Does(excited, conv=conv(3, 2), gate=conv(1)),
    "squeeze and excite by vectors": Does(excited_by_vectors, conv=conv(), line=nn.Linear(CHANNELS, CHANNELS)),
    "statistics": Does(lambda self, X: self.conv(X) / X.std((2, 3), keepdim=True) + X.sum(), conv=conv(1)),
    "columns together": Does(lambda self, X: self.conv(X).mean(3, keepdim=True).expand(-1, -1, -1, 5), conv=conv()),
    "chained and mixed": Does(lambda self, X: self.mix(chained(self, X)), **paths(mix=nn.Conv2d(8, 4, 2))),
    "the wide channels of a chain": Does(lambda self, X: chained(self, X)[:, :4], **paths()),
    "the small channels of a chain": Does(lambda self, X: chained(self, X)[:, 5:], **paths()),
    "shuffled and split": Does(lambda self, X: shuffled(self, X).chunk(2, 1)[0].split([1, 3], 1)[0], **paths()),
    "torch's shuffle": Does(lambda self, X: F.channel_shuffle(chained(self, X), 2)[:, 1::2], **paths()),
    "groups of a chain": Does(
        lambda self, X: self.mix(chained(self, X))[:, 4:], **paths(mix=nn.Conv2d(8, 8, 3, groups=4))
    ),
    "local response across a chain": Does(
        lambda self, X: self.response(chained(self, X))[:, 6:], **paths(response=nn.LocalResponseNorm(3))
    ),
    "local response of a small channel beside a wide one": Does(
        lambda self, X: self.response(chained(self, X))[:, 4:5], **paths(response=nn.LocalResponseNorm(3))
    ),
    "ones between channels": Does(
        lambda self, X: torch.cat([torch.cat([self.conv(X), torch.ones_like(X)[:, :, 1:, 1:]], 1), self.conv(X)], 1),
        conv=conv(2),
    ),
    "ones as channels": Does(
        lambda self, X: self.mix(torch.cat([X, torch.ones_like(X)], 1)), mix=nn.Conv2d(8, 4, 3, 2, 1)
    ),
    "pixel shuffle": nn.Sequential(conv(), nn.PixelShuffle(2), nn.Conv2d(1, 1, 2)),
    "pixel unshuffle": nn.Sequential(conv(1, padding=(1, 0)), nn.PixelUnshuffle(2)),
    "stacked": Does(lambda self, X: torch.stack([self.wide(X), self.small(X)], 2).sum(2), **paths()),
    "attention": Does(attended, attention=nn.MultiheadAttention(CHANNELS, 2, batch_first=True)),
    "products of maps": Does(lambda self, X: self.conv(X) @ X.mT, conv=conv((1, 3), padding=(0, 1))),
    "a map from a vector": Does(
        lambda self, X: self.conv(self.line(X.mean((2, 3))).view(1, 1, 3, 4)),
        **dict(line=nn.Linear(CHANNELS, 12), conv=nn.Conv2d(1, 2, 3, padding=1)),
    ),
    "changed in place": Does(lambda self, X: self.small(X).add_(self.wide(X)).mul_(2), **paths()),
    "padding alone": nn.Sequential(conv(1, padding=2), conv(2, padding=1)),
    "padding alone, on one path": Does(
        lambda self, X: self.mix(self.tall(X) + self.long(X)),
        **dict(tall=conv((5, 1), padding=(2, 2)), long=conv((1, 5), padding=(0, 4)), mix=conv((1, 2))),
    ),
    "dropped, in evaluation": nn.Sequential(conv(), nn.Dropout2d(), nn.PReLU(), nn.Hardswish(), nn.LogSigmoid()),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("about", EXACT)
def test_operations_see_what_gradients_say(about):
    with torch.random.fork_rng():
        torch.manual_seed(sum(map(ord, about)))
        net, picture = copy.deepcopy(EXACT[about]).double().eval(), torch.randn(1, CHANNELS, *SIZE).double()
        for weight in net.parameters():
            nn.init.normal_(weight)
    field = list(trace(net, (CHANNELS, *SIZE)).values())[-1]
    assert field.units.size == tuple(net(picture).shape[2:])
    height, width = field.units.size
    units = [(row, column) for row in range(height) for column in range(width)][:: max(1, height * width // 40)]
    compare(field, looking(net, picture), SIZE, [*units, (height - 1, width - 1)], about)


@pytest.mark.parametrize(
    ("about", "expected"),
    {
        "sizes apart": ((4, 9), (3, 1), (1, 4)),
        "same, even kernels": (4, 1, 1),
        "transposed": ((3, 4), 1, (1, 3)),
        "transposed with a stride": (None, None, None),
        "uneven adaptive pooling": ((6, None), (3, None), (0, None)),
        "even adaptive pooling": ((3, 4), (3, 4), 0),
        "global pooling behind leftover columns": (18, 0, 0),
        "cropped": (5, 1, (4, -1)),
        "every second row": (3, (2, 1), (-1, -2)),
        "upside down": ((None, 1), (None, 1), (None, 0)),
        "rows as one line": (None, None, None),
        "columns mixed": ((3, 20), (1, 0), 0),
        "gate by a layer as large as the picture": (SIZE, 0, 0),
        "a map from one unit": (SIZE, 0, 0),
        "local response across a chain": (1, 1, 0),
        "local response of a small channel beside a wide one": (5, 1, 2),
        "ones between channels": (2, 1, 0),
        "turned over": ((None, 5), (None, 1), (None, 0)),
        "rolled": (None, None, None),
        "groups that see different rows": ((11, 20), 0, ((-3, 0))),
        "columns together": ((3, 20), (1, 0), 0),
        "squeeze and excite": ((17, 19), 0, 0),
        "ones as channels": (3, 2, 1),
        "the wide channels of a chain": (5, 1, 2),
        "the small channels of a chain": (1, 1, 0),
        "groups of a chain": (3, 1, 0),
        "products of maps": ((None, 20), (None, 0), (None, 0)),
        "attention": ((18, 20), 0, 0),
        "channels last": (3, 1, 1),
    }.items(),
)
def test_sizes_worked_out_by_hand(about, expected):
    assert parts(list(trace(EXACT[about], (CHANNELS, *SIZE)).values())[-1]) == expected


def test_rows_are_counted_where_channels_come_last():
    found = trace(EXACT["rows one below the other, channels last"], (CHANNELS, *SIZE))
    assert found["cat"].units.size == (34, 20)
    assert found["cat"].window((17, 3), SIZE) == ((1, 1), (3, 3))


def test_weights_that_are_only_rounding_are_no_sight():
    field = trace(nn.Upsample(scale_factor=3, mode="bilinear"), (1, 13, 13))["0"]  # in single precision
    assert [field.window(unit, 13) for unit in range(1, 39, 3)] == [(pixel, pixel) for pixel in range(13)]
    assert field.window(2, 13) == (0, 1)


def test_a_map_that_sees_nothing_but_padding():
    field = trace(nn.Sequential(conv(1, 7, 3), nn.LocalResponseNorm(3)), 3)["1"]
    assert parts(field) == (None, None, None)
    with pytest.raises(ValueError, match=r"unit \(1, 1\) sees nothing but padding"):
        field.window(1, 3)


def test_the_largest_value_of_all_is_of_the_whole_picture():
    net = nn.Sequential(conv(3, 3), nn.AdaptiveMaxPool2d(1), nn.Flatten())
    found = trace(net, SIZE)
    assert found["1"] == found["2"] == ReceptiveField(18, 0, 0)  # two columns are left over


def test_a_vector_of_one_unit_is_the_whole_picture_too():
    with torch.device("meta"):
        found = trace(VGG("A", image_size=32), 32)
    assert parts(found["features.20"]) == reference.receptive_fields("A")["pool5"]
    assert found["flatten"] == found["classifier.6"] == ReceptiveField(32, 0, 0)


def test_a_diagonal_has_neither_rows_nor_columns():
    found = trace(nn.Sequential(conv(1), nn.Flatten(2), Does(lambda self, X: X[:, :, ::7])), 6)
    assert found["getitem"] == ReceptiveField(6, 0, 0)
    assert found["getitem"].units.size == (1, 1)


@pytest.mark.parametrize("dilation", [1, 2, (1, 3)])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_maximum_pooling_by_raising_one_pixel_at_a_time(dilation, ceil_mode):
    pool, size = nn.MaxPool2d((3, 2), (2, 3), 1, dilation, ceil_mode=ceil_mode), (9, 11)
    (field,) = trace(pool, (1, *size)).values()
    raised = torch.eye(9 * 11).view(-1, 1, *size)  # as many pictures as pixels
    risen = pool(raised)[:, 0].view(*size, *pool(raised).shape[2:]) > 0
    for row in range(risen.shape[2]):
        for column in range(risen.shape[3]):
            rows, columns = (risen[:, :, row, column].any(axis).nonzero().flatten().tolist() for axis in (1, 0))
            assert field.window((row, column), size) == ((rows[0], rows[-1]), (columns[0], columns[-1]))


# Names, sizes and what trace leaves alone


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.relu = conv(padding=1), nn.ReLU(inplace=True)

    def forward(self, X):
        return self.relu(self.conv(self.relu(self.conv(X))) + X)


def test_names_are_paths_and_torch_fxs_names_where_there_are_none():
    found = trace(nn.Sequential(conv(1), Block(), nn.Flatten()), (CHANNELS, 6, 7))
    assert list(found) == ["0", "1.conv", "1.relu", "1.conv (2)", "add", "1.relu (2)", "2"]
    assert [field.size for field in found.values()] == [1, 3, 3, 5, 5, 5, (6, 7)]
    assert parts(found["add"]) == (5, 1, 2)
    assert found["2"].units.size == (1, 1)


def test_windows_of_traced_fields():
    field = trace(nn.Sequential(conv((3, 5), (2, 1), (1, 0))), (9, 11))["0"]
    assert field == ReceptiveField((3, 5), (2, 1), (1, 0))
    assert field.window((0, 0)) == ((-1, 1), (0, 4))
    assert field.window((0, 0), (9, 11)) == ((0, 1), (0, 4))
    assert field.window((4, 6), (9, 11)) == ((7, 8), (6, 10))
    assert field.centre((0, 6)) == (0, 8)
    with pytest.raises(ValueError, match=r"rows \(-1, 1\) and columns \(0, 4\) differ: ask for the unit \(0, 0\)"):
        field.window(0)
    with pytest.raises(ValueError, match=r"there is no unit \(5, 0\) in a map of 5 x 7"):
        field.window((5, 0))
    with pytest.raises(ValueError, match="traced with pictures of 9 x 11, asked about 9 x 9: trace it"):
        field.window((0, 0), 9)


def test_leftover_pixels_are_not_seen_even_where_the_formula_would_reach_them():
    net = nn.Sequential(conv(3, 2), conv(3, padding=1))  # eight pixels make three units; the eighth pixel is left over
    field = trace(net, 8)["1"]
    assert parts(field) == (7, 2, 2)
    assert field.window(2) == (2, 8)
    assert field.window(2, 8) == (2, 6)


def test_units_without_a_single_size_have_windows_all_the_same():
    field = trace(nn.Sequential(nn.ConvTranspose2d(CHANNELS, CHANNELS, 3, 2)), 4)["0"]
    assert [field.window(unit, 4) for unit in range(9)] == [
        *[(0, 0), (0, 0), (0, 1), (1, 1), (1, 2)],
        *[(2, 2), (2, 3), (3, 3), (3, 3)],
    ]
    for ask in (field.window, field.centre):
        with pytest.raises(UnknownReceptiveFieldError, match="no single size fits these units: give input_size"):
            ask(2)


def test_pictures_may_be_given_by_side_by_both_or_with_channels():
    net = nn.Sequential(conv(3, 2))
    assert trace(net, 9)["0"].units.picture == (9, 9)
    assert trace(net, (9, 11))["0"].units.size == trace(net, (CHANNELS, 9, 11))["0"].units.size == (4, 5)
    for wrong in ((CHANNELS, 0, 11), (1, CHANNELS, 9, 11), (9,), -9):
        with pytest.raises(ValueError, match=r"input_size is a side, .*, got"):
            trace(net, wrong)
    with pytest.raises(ValueError, match=r"\(channels, height, width\)"):
        trace(nn.ReLU(), 9)


def test_the_table_shows_centres_and_maps():
    net = nn.Sequential(conv(2, 2), nn.ConvTranspose2d(CHANNELS, CHANNELS, (1, 3), (1, 2)), nn.Flatten())
    lines = [line.split() for line in str(trace(net, 8)).splitlines()]
    assert lines[0] == ["layer", "size", "stride", "padding", "centre", "map"]
    assert lines[1] == ["0", "2", "2", "0", "0.5", "4", "x", "4"]
    assert " ".join(lines[2]) == "1 2 x varies 2 x varies 0 x varies 0.5 x varies 4 x 9"
    assert lines[3] == ["2", "8", "0", "0", "3.5", "1", "x", "1"]
    assert trace(net, 8)._repr_html_().count("<tr>") == 4


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training):
    net = nn.Sequential(conv(), nn.BatchNorm2d(CHANNELS), nn.Dropout(), Does(lambda _, X: X + torch.ones(1))).train(
        training
    )
    net[1].eval()
    net(torch.rand(2, CHANNELS, 5, 5)).sum().backward()
    heard = []
    for module in (net[0], net[3], net):
        module.register_forward_hook(lambda *_: heard.append("a hook"))
    state = {name: value.clone() for name, value in net.state_dict().items()}
    gradients = {name: value.grad.clone() for name, value in net.named_parameters()}
    known = {name: set(vars(module)) for name, module in net.named_modules()}
    modes, dice = [module.training for module in net.modules()], torch.get_rng_state()
    parameters = list(net.parameters())
    assert trace(net, 5)["add"].size == 3
    with pytest.raises(UnknownReceptiveFieldError):
        trace(net, 1)
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())
    assert all(torch.equal(gradients[name], value.grad) for name, value in net.named_parameters())
    assert all(one is other for one, other in zip(parameters, net.parameters(), strict=True))
    assert {name: set(vars(module)) for name, module in net.named_modules()} == known
    assert modes == [module.training for module in net.modules()]
    assert torch.equal(dice, torch.get_rng_state())
    assert heard == []


def test_training_mode_changes_nothing():
    net = nn.Sequential(conv(), nn.BatchNorm2d(CHANNELS), nn.Dropout2d()).train()
    assert parts(trace(net, 7)["2"]) == (3, 1, 0)


def test_optional_arguments_take_their_defaults():
    class Optional(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv()

        def forward(self, X, twice=False, mask=None):
            X = self.conv(self.conv(X)) if twice else self.conv(X)
            return X if mask is None else X * mask

    assert trace(Optional(), 9)["conv"].size == 3


def test_upsampling_in_half_precision():
    net = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), conv()).half()
    assert [trace(net, 6)["0"].window(unit, 6) for unit in (0, 1, 2, 11)] == [(0, 0), (0, 1), (0, 1), (5, 5)]


def test_networks_in_half_precision_and_channels_last():
    net = nn.Sequential(conv(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).to(
        torch.bfloat16, memory_format=torch.channels_last
    )
    assert trace(net, 9)["2"] == ReceptiveField(9, 0, 0)


# Refusals


def test_paths_that_are_not_aligned_are_named():
    net = nn.Sequential(
        conv(), TwoPaths(conv(2, padding=1), nn.Sequential(conv(3, padding=1), nn.ZeroPad2d((1, 0, 1, 0))))
    )
    with pytest.raises(
        UnalignedError, match=r"^add in 1 \(TwoPaths\): its paths 1\.left and 1\.right\.1 are not aligned"
    ):
        trace(net, 9)
    with pytest.raises(UnalignedError, match=r"stride 1 and first centre 0\.5 meets stride 1 and first centre 0$"):
        trace(net, 9)
    thin, thick = nn.Sequential(conv(), conv()), nn.Sequential(nn.ZeroPad2d((2, 1, 2, 1)), conv(5, 2))
    for paths, met in (((thin, thick), "1 .* 2 meets stride 2 .* 0"), ((thick, thin), "2 .* 0 meets stride 1 .* 2")):
        with pytest.raises(UnalignedError, match=f"stride {met}$"):  # in the order of the paths that are named
            trace(TwoPaths(*paths), 7)


def test_whole_pictures_and_maps_are_aligned_only_where_they_are_whole():
    net = TwoPaths(nn.Sequential(conv(3, 3), nn.AdaptiveAvgPool2d(1)), conv(1))
    assert parts(trace(net, 9)["add"]) == (9, 0, 0)
    assert parts(trace(net, 10)["add"]) == (None, None, None)  # the tenth pixel is left over, but one unit sees it
    assert trace(net, 10)["add"].window(9, 10) == (0, 9)
    assert trace(net, 10)["add"].window(8, 10) == (0, 8)


class Branching(nn.Module):
    def forward(self, X):
        return X if X.sum() > 0 else -X


class Reading(nn.Module):
    def forward(self, X):
        return X * X.flatten()[0].item()


class Iterating(nn.Module):
    def forward(self, X):
        return sum(picture.mean() for picture in X)


class TwoInputs(nn.Module):
    def forward(self, X, Y):
        return X + Y


def doing(function, **more):
    return Does(lambda self, X: function(X), **more)


def changed_through_a_view(X):
    Y = X * 2
    Y.flatten(1).add_(X.flip(2).flatten(1))
    return Y


def changed_in_part(X):
    Y = X * 2
    Y[:, 0] = X[:, 1]
    return Y


def filled(X):
    Y = torch.zeros_like(X)
    Y[:, :1].add_(X[:, :1])
    return Y


def unpooled(X):
    Y, places = F.max_pool2d(X, 2, return_indices=True)
    return F.max_unpool2d(Y, places, 2)


def by_statistics(X):
    return torch.native_layer_norm(X, [6], None, None, 1e-5)[1]


REFUSED = {
    "control flow that looks at values": (Branching(), r"inner \(Branching\): torch\.fx cannot follow"),
    "iterating over the batch": (Iterating(), r"inner \(Iterating\): torch\.fx cannot follow"),
    "a value read off": (Reading(), r"item in inner \(Reading\), given a picture \(4, 6, 6\)"),
    "sampling at places that are computed": (
        doing(lambda X: F.grid_sample(X, X[:, :2].permute(0, 2, 3, 1), align_corners=False)),
        r"grid_sample in inner \(Does\): what torch's operation grid_sampler_2d sees is not known",
    ),
    "places of maxima": (doing(unpooled), "max_unpool2d"),
    "the order of values": (doing(lambda X: X.sort(2)[0]), "sort in inner .*torch's operation sort sees is not known"),
    "running sums": (doing(lambda X: X.cumsum(2)), "operation cumsum"),
    "frequencies": (doing(torch.fft.rfft2), "fft_rfft2 in inner"),
    "patches as columns": (doing(lambda X: F.unfold(X, 3)), "operation im2col"),
    "rows picked by a tensor": (doing(lambda X: X[:, :, torch.tensor([2, 0])]), "operation index"),
    "weights made from the picture": (
        doing(lambda X: F.conv2d(X, X.mean((2, 3)).view(1, 4, 1, 1))),
        "operation convolution with weights made from the picture",
    ),
    "a border that goes round": (conv(padding=1, padding_mode="circular"), r"inner \(Conv2d\): .*circular padding"),
    "a part that is overwritten": (
        doing(changed_in_part),
        r"inner \(Does\): torch\.fx cannot follow .* item assignment",
    ),
    "a view that changes its base": (doing(changed_through_a_view), r"add_ in inner .*memory that other tensors share"),
    "an empty tensor filled in part": (doing(filled), r"add_ in inner .*memory that other tensors share"),
    "elements told by their place in memory": (
        doing(lambda X: (X * 2).as_strided_((1, 4, 6, 6), (144, 36, 1, 6))),
        "as_strided_ in inner .*: as_strided_ moves elements in memory",
    ),
    "a by-product": (doing(lambda X: by_statistics(X) + 1), "add in inner .*by-product"),
    "results written elsewhere": (doing(lambda X: torch.mul(X, 2, out=torch.empty_like(X))), "out="),
    "a picture that is too small": (conv(7), r"inner \(Conv2d\), given a picture \(4, 6, 6\): .*Kernel size"),
    "another number of channels": (nn.Conv2d(3, 4, 1), r"inner \(Conv2d\), given a picture \(4, 6, 6\)"),
}


@pytest.mark.parametrize("about", REFUSED)
def test_what_cannot_be_known_is_refused_with_the_modules_path(about):
    inner, message = REFUSED[about]
    net = Does(lambda self, X: self.inner(X), inner=inner)
    with pytest.raises(UnknownReceptiveFieldError, match=message):
        trace(net, (CHANNELS, 6, 6))


def test_a_network_of_two_inputs_is_refused():
    with pytest.raises(UnknownReceptiveFieldError, match=r"TwoInputs: .* it needs 'Y' beside the picture"):
        trace(TwoInputs(), (CHANNELS, 6, 6))


@pytest.mark.filterwarnings("ignore:Using padding")
def test_padding_in_words():
    for kernel, padding in ((3, 1), (4, 1), (5, 2)):
        assert list(trace(nn.Conv2d(3, 3, kernel, padding="same"), 24).values())[-1].padding == padding
    valid = nn.Sequential(nn.Conv2d(3, 3, 3, padding="valid"), nn.Conv2d(3, 3, (3, 5), padding="valid"))
    assert list(trace(valid, 24).values())[-1] == ReceptiveField((5, 7), 1, 0)
    assert measured(valid, 24)["1"].window((1, 2)) == ((1, 5), (2, 8))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(4, 4), (3, 5)])
def test_an_antialiased_rescaling_sees_what_changes_it(mode, size):
    class Down(nn.Module):
        def forward(self, X):
            return F.interpolate(X, size=size, mode=mode, antialias=True)

    units = trace(Down(), (1, 9, 9))["interpolate"].units
    pictures = torch.eye(81, dtype=torch.float64).reshape(81, 1, 9, 9)
    seen = Down()(pictures).abs().squeeze(1) > 1e-6
    for row in range(size[0]):
        for column in range(size[1]):
            rows, columns = seen[:, row, column].reshape(9, 9).nonzero().unbind(1)
            expected = tuple((int(found.min()), int(found.max())) for found in (rows, columns))
            assert units.window((row, column)) == expected


def test_what_the_code_writes_down_is_put_back():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.register_buffer("calls", torch.zeros(1))
            self.seen = None

        def forward(self, X):
            self.calls += 1
            self.seen = self.last = self.conv(X)
            return self.last

    net = nn.Sequential(Counting(), nn.ReLU())
    calls = net[0].calls
    assert trace(net, 8)["0.conv"].size == 3
    assert net[0].calls is calls
    assert calls.item() == 0
    assert net[0].seen is None
    assert not hasattr(net[0], "last")


def test_a_vgg_is_traced_at_its_own_size():
    """Flattened, 17 pixels give the map of 16: the network refuses them, and so does what looks at it."""
    net = VGG("5 | 7 |", in_channels=2, num_classes=3, image_size=16, hidden=8)
    assert trace(net, 16)["classifier.0"].size == 16
    for ask in (trace, measured, cost):
        with pytest.raises(ValueError, match="built for 16 x 16 pictures, got 17 x 17"):
            ask(net, 17)
        with pytest.raises(ValueError, match="smaller than the crop 16 x 16"):
            ask(fully_convolutional(net), 15)
        with pytest.raises(ValueError, match=r"expected a batch \(N, 2, H, W\)"):
            ask(net, (3, 16, 16))
    assert trace(fully_convolutional(net), 17)["classifier.0"].size == 22


def test_what_forward_notes_down_is_taken_back():
    net = Does(lambda self, X: self.seen.append(X) or X + 1)
    net.seen = ["before"]
    assert trace(net, (CHANNELS, 5, 5))["add"].size == 1
    assert net.seen == ["before"]
