"""Receptive fields of whole networks: against gradients, against published tables, and every refusal."""

import random

import pytest
import reference
import torch
from torch import nn
from torch.nn import functional as F

from vgglib import peers
from vgglib.configurations import TABLE_1, layers
from vgglib.model import VGG
from vgglib.receptive_field import (
    FieldTable,
    ReceptiveField,
    UnalignedError,
    UnknownReceptiveFieldError,
    measured,
    receptive_field,
    table,
    trace,
)

# --- the oracle: a positive, linear twin of the network, its own gradients, no rule of ours -------------------------


class Dilated(nn.Module):
    """The windows of a dilated pooling, as a sum."""

    def __init__(self, kernel, stride, padding, dilation):
        super().__init__()
        self.kernel, self.rest = kernel, (stride, padding, dilation)

    def forward(self, X):
        return F.conv2d(X, X.new_ones((X.shape[1], 1, *self.kernel)), None, *self.rest, groups=X.shape[1])


def positive(module):
    """The module in float64 with weights of 1 and no bias."""
    for name, parameter in module.named_parameters():
        nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
    return module.double().eval()


def true_window(values, X, row, column):
    """The first and last row and column that a unit depends on, None if it depends on none."""
    (gradient,) = torch.autograd.grad(values[0, :, row, column].sum(), X, retain_graph=True)
    seen = gradient[0].sum(dim=0) > 0
    if not seen.any():
        return None
    rows, columns = (seen.any(dim=1 - side).nonzero().flatten() for side in (0, 1))
    return (int(rows[0]), int(rows[-1])), (int(columns[0]), int(columns[-1]))


def windows_agree(found, values, X):
    """Check a traced field, clipped, against gradients at the corners and in the middle."""
    height, width = values.shape[2:]
    assert found.units == (height, width)
    for unit in {(0, 0), (height // 2, width // 2), (height - 1, width - 1), (0, width // 2)}:
        true = true_window(values, X, *unit)
        if true is None:
            with pytest.raises(ValueError, match="padding"):
                found.window(unit, tuple(X.shape[2:]))
        else:
            assert found.window(unit, tuple(X.shape[2:])) == true, unit


# --- random networks ------------------------------------------------------------------------------------------------


def pair(choose, low, high):
    return choose.randint(low, high), choose.randint(low, high)


def random_layer(choose, channels=2):
    """A random layer, and its positive twin."""
    kernel, stride, dilation = pair(choose, 1, 4), pair(choose, 1, 3), pair(choose, 1, 3)
    kind = choose.choice(["conv", "conv", "depthwise", "max", "dilated max", "average", "between"])
    if kind in ("conv", "depthwise"):
        padding = tuple(choose.randint(0, d * (k - 1)) for k, d in zip(kernel, dilation, strict=True))
        groups = channels if kind == "depthwise" else 1
        layer = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups)
        twin = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups)
        return layer, positive(twin)
    padding = tuple(choose.randint(0, k // 2) for k in kernel)
    if kind == "max":
        ceil = choose.random() < 0.5
        return nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil), nn.AvgPool2d(kernel, stride, padding, ceil)
    if kind == "dilated max":
        return nn.MaxPool2d(kernel, stride, padding, dilation), Dilated(kernel, stride, padding, dilation)
    if kind == "average":
        ceil = choose.random() < 0.5
        return nn.AvgPool2d(kernel, stride, padding, ceil), nn.AvgPool2d(kernel, stride, padding, ceil)
    between = (nn.ReLU(), nn.BatchNorm2d(channels), nn.Dropout(), nn.LocalResponseNorm(3), nn.Softmax(1))
    return choose.choice(between), nn.Identity()


def random_chain(seed):
    """A random network of one to six layers, its twin and a picture, or nothing if a map would vanish."""
    choose = random.Random(seed)
    chain, twin = zip(*(random_layer(choose) for _ in range(choose.randint(1, 6))), strict=True)
    X = torch.ones(1, 2, choose.randint(16, 50), choose.randint(16, 50), dtype=torch.float64, requires_grad=True)
    try:
        maps = [X]
        for layer in twin:
            maps.append(layer(maps[-1]))
        nn.Sequential(*chain).eval()(torch.zeros(1, 2, *X.shape[2:]))
    except RuntimeError:
        return None
    return nn.Sequential(*chain), maps[1:], X


def test_chains_agree_with_gradients():
    done = 0
    for seed in range(1000):
        if (found := random_chain(seed)) is None:
            continue
        net, maps, X = found
        fields = trace(net, (2, *X.shape[2:]))
        assert list(fields) == [str(n) for n in range(len(net))]
        for field, values in zip(fields.values(), maps, strict=True):
            windows_agree(field, values, X)
        done += 1
        if done == 150:
            return
    raise AssertionError(f"only {done} networks")


class Branches(nn.Module):
    """Branches that meet in a sum, a product or a concatenation, with layers before and after."""

    def __init__(self, before, branches, after, join):
        super().__init__()
        self.before, self.after = nn.Sequential(*before), nn.Sequential(*after)
        self.branches = nn.ModuleList(nn.Sequential(*branch) for branch in branches)
        self.join = join

    def forward(self, X):
        X = self.before(X)
        values = [branch(X) for branch in self.branches]
        if self.join == "cat":
            return self.after(torch.cat(values, dim=1))
        total = values[0]
        for value in values[1:]:
            total = total + value if self.join == "add" else total * value
        return self.after(total)


def convolution(choose, stride, centred, channels=2, into=2):
    """Layer and twin; a centred one keeps windows centred, whatever its kernel."""
    dilation = choose.randint(1, 2)
    kernel = choose.choice((1, 3, 5)) if centred else choose.randint(1, 4)
    reach = dilation * (kernel - 1)
    padding = reach // 2 if centred else choose.choice((reach // 2, (reach + 1) // 2))
    made = [nn.Conv2d(channels, into, kernel, stride, padding, dilation) for _ in range(2)]
    return made[0], positive(made[1])


def by_the_article(branch, side):
    """Closed forms of Araujo et al. 2019 along one side: stride, and twice the centre of the first window."""
    strides, size, padding = 1, 1, 0
    for layer in branch:
        kernel = layer.dilation[side] * (layer.kernel_size[side] - 1) + 1
        size += (kernel - 1) * strides
        padding += layer.padding[side] * strides
        strides *= layer.stride[side]
    return strides, size - 1 - 2 * padding


def test_branches_agree_with_gradients_or_are_reported_as_unaligned():
    aligned = unaligned = 0
    for seed in range(3000):
        choose = random.Random(seed)
        centred, join = choose.random() < 0.6, choose.choice(("add", "mul", "cat"))
        count = choose.randint(2, 3)
        before = [convolution(choose, choose.randint(1, 2), centred) for _ in range(choose.randint(0, 1))]
        strides = [choose.randint(1, 2) for _ in range(2)]
        branches = []
        for _ in range(count):
            order = choose.sample(strides, 2) if centred or choose.random() < 0.5 else [choose.randint(1, 2)] * 2
            branches.append([convolution(choose, stride, centred) for stride in order[: choose.choice((1, 2, 2))]])
        width = 2 * count if join == "cat" else 2
        after = [convolution(choose, 1, False, width) for _ in range(choose.randint(0, 1))]
        net, twin = (
            Branches(
                [layers_of[k] for layers_of in before],
                [[layers_of[k] for layers_of in branch] for branch in branches],
                [layers_of[k] for layers_of in after],
                "add" if join == "mul" and k else join,
            )
            for k in (0, 1)
        )
        size = choose.randint(14, 40), choose.randint(14, 40)
        X = torch.ones(1, 2, *size, dtype=torch.float64, requires_grad=True)
        try:
            values = twin(X)
            net.eval()(torch.zeros(1, 2, *size))
            sides = {branch(twin.before(X)).shape[2:] for branch in twin.branches}
        except RuntimeError:
            continue
        if len(sides) > 1:  # one unit, spread over a map
            continue
        if any(len({by_the_article(branch, side) for branch in net.branches}) > 1 for side in (0, 1)):
            with pytest.raises(UnalignedError, match="not aligned"):
                trace(net, (2, *size))
            unaligned += 1
        elif aligned < 150:
            fields = trace(net, (2, *size))
            windows_agree(list(fields.values())[-1], values, X)
            aligned += 1
        if aligned >= 150 and unaligned >= 30:
            return
    raise AssertionError(f"only {aligned} aligned and {unaligned} unaligned networks")


# --- published values -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLE_1)
def test_vgg_as_the_arithmetic_and_the_published_rows(name):
    with torch.device("meta"):
        fields = trace(VGG(name), 224)
    weighted = [field for node, field in fields.items() if node.startswith("features")]
    expected = [field for label, field in table(layers(name)).items() if not label.startswith("lrn")]
    assert all(field in weighted for field in expected)
    assert fields["classifier.0"].size == receptive_field(layers(name)).size + 6 * 32
    assert fields["classifier.6"].window(0, 224) == (0, 223)
    assert weighted[-1] == receptive_field(layers(name))


@pytest.mark.parametrize("name", "ABCDE")
def test_the_published_rows_by_trace(name):
    with torch.device("meta"):
        found = list(trace(VGG(name), 224).values())
    rows = {label: row for label, row in reference.receptive_fields(name).items() if label != "fc6"}
    assert len(rows) > 12
    for label, row in rows.items():
        assert ReceptiveField(*row) in found, label


@pytest.mark.parametrize(("name", "size"), [("resnet18", 435), ("resnet50", 427), ("resnet152", 1451)])
def test_resnets(name, size):
    with torch.device("meta"):
        net = getattr(peers.peer("torchvision.models"), name)()
    last = [field for node, field in trace(net, 224).items() if node.startswith("layer4")][-1]
    assert (last.size, last.stride, last.padding) == (size, 32, (size - 1) // 2)


def test_alexnet_in_the_layout_of_tf_slim():
    pool = dict(kernel_size=3, stride=2)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 11, 4), nn.MaxPool2d(**pool), nn.Conv2d(4, 4, 5, padding=2), nn.MaxPool2d(**pool),
        *(nn.Conv2d(4, 4, 3, padding=1) for _ in range(3)), nn.MaxPool2d(**pool),
    )  # fmt: skip
    assert list(trace(net, 231).values())[-1] == ReceptiveField(195, 32, 64)


MODELS = ("resnet18", "googlenet", "mobilenet_v2", "mobilenet_v3_small", "densenet121", "squeezenet1_1", "mnasnet0_5")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_torchvisions_networks_agree_with_gradients(name):
    more = {"init_weights": False} if name == "googlenet" else {}
    net = getattr(peers.peer("torchvision.models"), name)(**more)
    fields, probed = trace(net, 96), measured(net, 96)
    assert list(fields) == list(probed)
    chosen = [*list(fields)[::9], list(fields)[-1]]
    for node in chosen:
        height, width = fields[node].units if probed[node].values.dim() == 4 else (1, 1)
        for unit in {(0, 0), (height // 2, width // 2), (height - 1, width - 1)}:
            assert fields[node].window(unit, 96) == probed[node].window(unit), (node, unit)


class Distill(nn.Module):
    """The two toy graphs of Araujo et al. 2019."""

    def __init__(self, aligned):
        super().__init__()
        if aligned:
            right = [nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(1, 1, 3, stride=2), nn.Conv2d(1, 1, 1, stride=2)]
            self.left, self.right = nn.Conv2d(1, 1, 1, stride=4), nn.Sequential(*right)
        else:
            self.left = nn.Sequential(nn.ZeroPad2d((2, 1, 2, 1)), nn.Conv2d(1, 1, 5, stride=2))
            self.right = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3))

    def forward(self, X):
        return self.left(X) + self.right(X)


def test_the_articles_aligned_graph():
    assert list(trace(Distill(aligned=True), 16).values())[-1] == ReceptiveField(3, 4, 1)


def test_the_articles_misaligned_graph():
    with pytest.raises(UnalignedError, match=r"left\.1 \(size 5, stride 2.*right\.1 \(size 5, stride 1"):
        trace(Distill(aligned=False), 7)
    last = list(measured(Distill(aligned=False), 7).values())[-1]
    assert [last.window(unit)[1] - last.window(unit)[0] + 1 for unit in range(3)] == [5, 6, 5]


# --- single operations ----------------------------------------------------------------------------------------------


class Called(nn.Module):
    """A function of a picture as a module."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, X):
        return self.function(self, X)


def last(net, size=24):
    return list(trace(net, size).values())[-1]


SAME_TWICE = [
    (nn.Conv2d(3, 4, 3, 2, 1), lambda self, X: F.conv2d(X, self.weight, None, 2, 1), nn.Conv2d(3, 4, 3).weight),
    (nn.MaxPool2d(3, 2, 1), lambda self, X: F.max_pool2d(X, 3, stride=2, padding=1), None),
    (nn.AvgPool2d(4), lambda self, X: F.avg_pool2d(X, 4), None),
    (nn.AdaptiveAvgPool2d(6), lambda self, X: F.adaptive_avg_pool2d(X, 6), None),
    (nn.AdaptiveAvgPool2d(1), lambda self, X: X.mean(dim=(2, 3), keepdim=True), None),
    (nn.ReLU(), lambda self, X: F.relu(X), None),
    (nn.Upsample(scale_factor=2), lambda self, X: F.interpolate(X, scale_factor=2), None),
    (nn.Flatten(), lambda self, X: X.view(X.shape[0], -1), None),
    (nn.Flatten(), lambda self, X: torch.flatten(X, 1), None),
    (nn.ZeroPad2d((1, 2, 3, 4)), lambda self, X: F.pad(X, (1, 2, 3, 4)), None),
]


@pytest.mark.parametrize(("module", "function", "weight"), SAME_TWICE)
def test_functions_are_followed_as_modules_are(module, function, weight):
    parts = {"weight": weight} if weight is not None else {}
    assert last(Called(function, **parts), (3, 24, 24)) == last(module, (3, 24, 24))


def test_height_and_width_apart():
    field = last(nn.Conv2d(3, 4, (3, 5), stride=(1, 2), padding=(1, 0)), (20, 30))
    assert field == ReceptiveField((3, 5), (1, 2), (1, 0))
    assert field.window((2, 3)) == ((1, 3), (6, 10))
    assert field.window((0, 0), (20, 30)) == ((0, 1), (0, 4))
    assert field.centre((0, 1)) == (0, 4)
    with pytest.raises(ValueError, match="height and width differ"):
        field.window(1)


def test_transposed_convolution():
    assert last(nn.ConvTranspose2d(3, 4, 3)) == ReceptiveField(3, 1, 2)
    field = last(nn.ConvTranspose2d(3, 4, 3, stride=2))
    assert (field.size, field.stride, field.padding) == (None, None, None)
    assert [field.window(unit) for unit in range(4)] == [(0, 0), (0, 0), (0, 1), (1, 1)]


def test_transposed_convolutions_agree_with_gradients():
    for seed in range(40):
        choose = random.Random(seed)
        kernel, stride = pair(choose, 1, 4), pair(choose, 1, 3)
        padding = tuple(choose.randint(0, (k - 1) // 2) for k in kernel)
        make = [nn.ConvTranspose2d(2, 2, kernel, stride, padding) for _ in range(2)]
        X = torch.ones(1, 2, 9, 7, dtype=torch.float64, requires_grad=True)
        windows_agree(last(make[0], (2, 9, 7)), positive(make[1])(X), X)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_enlarging_agrees_with_gradients(mode, factor):
    X = torch.ones(1, 2, 5, 7, dtype=torch.float64, requires_grad=True)
    more = nn.Upsample(scale_factor=factor, mode=mode)
    values = more(X)
    found = last(more, (2, 5, 7))
    for unit in [(row, column) for row in range(values.shape[2]) for column in range(values.shape[3])]:
        assert found.window(unit, (5, 7)) == true_window(values, X, *unit)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
def test_adaptive_pooling_agrees_with_gradients(count):
    X = torch.ones(1, 2, 12, 9, dtype=torch.float64, requires_grad=True)
    windows_agree(last(nn.AdaptiveAvgPool2d(count), (2, 12, 9)), nn.AdaptiveAvgPool2d(count)(X), X)
    assert (last(nn.AdaptiveAvgPool2d(5), (2, 12, 12)).size is None) == (12 % 5 > 0)


def test_unused_pixels_stay_unseen():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, stride=2), nn.Conv2d(1, 1, 3, padding=1))
    field = last(net, (1, 8, 8))
    assert field.window(2) == (2, 8)  # by the arithmetic
    assert field.window(2, 8) == (2, 6)  # pixel 7 fits no window; what looks like it is padding


def test_padding_as_words():
    for kernel, padding in ((3, 1), (4, 1), (5, 2)):
        assert last(nn.Conv2d(3, 3, kernel, padding="same")).padding == padding
    assert last(nn.Conv2d(3, 3, 3, padding="valid")) == ReceptiveField(3, 1, 0)


def test_fully_connected_layers_are_convolutions_over_the_whole_map():
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * 36, 5))
    found = trace(net, 12)
    assert found["3"] == ReceptiveField(4 + 5 * 2, 2, 1)
    assert found["3"].window(0, 12) == (0, 11)
    assert found["2"] == found["1"]


def test_a_weight_for_the_whole_map_makes_every_unit_see_everything():
    class Excited(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.pool, self.gate = (
                nn.Conv2d(1, 2, 3, padding=1),
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(2, 2, 1),
            )

        def forward(self, X):
            X = self.first(X)
            return X * torch.sigmoid(self.gate(self.pool(X)))

    field = last(Excited(), (1, 10, 10))
    assert field.stride == 0
    assert field.window(0, 10) == field.window(9, 10) == (0, 9)


def test_a_module_used_twice_has_two_names():
    net = Called(lambda self, X: self.layer(self.layer(X)), layer=nn.Conv2d(2, 2, 3))
    assert {name: field.size for name, field in trace(net, 9).items()} == {"layer": 3, "layer_1": 5}


def test_channels():
    split = Called(lambda self, X: self.b(X.chunk(2, dim=1)[0]), b=nn.Conv2d(2, 2, 3))
    assert last(split, (4, 9, 9)) == ReceptiveField(3, 1, 0)
    shared = Called(lambda self, X: X[:, 1:3] + X[:, :2])
    assert last(shared, (4, 9, 9)) == ReceptiveField(1, 1, 0)


def test_the_module_is_left_as_it_is():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout())
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    trace(net, 9)
    measured(net, 9)
    assert net.training
    assert all(part.training for part in net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_input_sizes():
    net = nn.Conv2d(1, 2, 3)
    assert last(net, 9).units == (7, 7)
    assert last(net, (9, 12)).units == (7, 10)
    assert last(net, (1, 9, 12)).units == (7, 10)
    for wrong in (0, -3, 2.5, (1, 2, 3, 4), "9", (9, 0)):
        with pytest.raises(ValueError, match="input_size must be"):
            trace(net, wrong)


def test_indices():
    field = last(nn.Conv2d(1, 1, 3), 9)
    with pytest.raises(ValueError, match="units 0 to 6"):
        field.window(7)
    with pytest.raises(ValueError, match="counted from 0"):
        field.window(-1)
    with pytest.raises(ValueError, match="traced for 9 pixels, asked for 12"):
        field.window(0, 12)
    outside = last(nn.Conv2d(1, 1, 1, padding=2), 5)
    with pytest.raises(ValueError, match="nothing but padding"):
        outside.window(0, 5)
    assert outside.window(0) == (-2, -2)


# --- refusals -------------------------------------------------------------------------------------------------------


class Deep(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), inner)

    def forward(self, X):
        return self.block(X)


def call(function, **parts):
    return Called(lambda self, X: function(self, X), **parts)


REFUSED = {
    "control flow that depends on the data": call(lambda self, X: X if X.sum() > 0 else -X),
    "a layer that is not known": nn.PixelShuffle(2),
    "group normalisation": nn.GroupNorm(2, 4),
    "instance normalisation": nn.InstanceNorm2d(4),
    "batch normalisation without running statistics": nn.BatchNorm2d(4, track_running_stats=False),
    "reflected padding": nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    "circular padding": nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
    "a reflecting layer": nn.ReflectionPad2d(1),
    "padding by reflection as a function": call(lambda self, X: F.pad(X, (1, 1, 1, 1), mode="reflect")),
    "a soft-max over places": nn.Softmax(dim=3),
    "bicubic enlarging": nn.Upsample(scale_factor=2, mode="bicubic"),
    "enlarging with aligned corners": nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    "enlarging by no whole factor": nn.Upsample(size=13),
    "dropout that never rests": call(lambda self, X: F.dropout(X, 0.5)),
    "a part of the rows": call(lambda self, X: X[:, :, 1:]),
    "maps one above the other": call(lambda self, X: torch.cat([X, X], dim=2)),
    "turned around": call(lambda self, X: X.transpose(2, 3)),
    "reshaped": call(lambda self, X: X.view(X.shape[0], 2, 2, 12, 12)),
    "a mean over the rows": call(lambda self, X: X.mean(dim=2)),
    "a mean over everything": call(lambda self, X: X.mean()),
    "sorted": call(lambda self, X: torch.sort(X, dim=1)[0]),
    "some channels of unlike ones": call(
        lambda self, X: torch.cat([X, self.wide(X)], dim=1)[:, :2], wide=nn.Conv2d(4, 4, 3, padding=1)
    ),
    "a join with a map whose border sees only padding": call(
        lambda self, X: self.small(X) + self.large(X),
        small=nn.Conv2d(4, 4, 1, padding=1),
        large=nn.Conv2d(4, 4, 3, padding=2),
    ),
    "one direction of a fully connected layer": nn.Linear(12, 5),
    "a kernel that is too large": nn.Conv2d(4, 4, 15),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_the_modules_path(what):
    with pytest.raises(UnknownReceptiveFieldError, match=r"^block\.1"):
        trace(Deep(REFUSED[what]), 12)


def test_two_inputs_are_refused():
    class Two(nn.Module):
        def forward(self, X, Y):
            return X + Y

    with pytest.raises(UnknownReceptiveFieldError, match="y: a second input"):
        trace(Two(), 8)


def test_refusals_are_one_line():
    with pytest.raises(UnknownReceptiveFieldError) as refusal:
        trace(Deep(REFUSED["sorted"]), 12)
    assert "\n" not in str(refusal.value)


# --- the table ------------------------------------------------------------------------------------------------------


def test_the_table_prints():
    fields = trace(nn.Sequential(nn.Conv2d(1, 1, (3, 5)), nn.ConvTranspose2d(1, 1, 3, stride=2)), (9, 12))
    assert isinstance(fields, FieldTable)
    lines = str(fields).splitlines()
    assert lines[0].split() == ["layer", "size", "stride", "padding", "first", "centre", "units"]
    assert lines[1].split() == ["0", "3", "x", "5", "1", "0", "1", "x", "2", "7", "x", "8"]
    assert "varies" in lines[2]
    assert "<table" in fields._repr_html_()
    assert "3 x 5" in fields._repr_html_()


def test_the_names_are_easy_to_import():
    from vgglib import receptive_field as module

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # noqa: B018
