"""Testing: posteriors by hand, the identities of dense evaluation and of many crops, a network left as it was, dead
networks that score nothing, refusals."""

import math
import re

import pytest
import torch
from torch import nn
from torchvision.transforms.v2 import functional as V

from vgglib import evaluation, preparing
from vgglib.augment import view, whole
from vgglib.configurations import layers
from vgglib.data import ImageSet, image_folder
from vgglib.evaluation import (
    accuracy,
    accuracy_on,
    confusion,
    dense,
    ensemble,
    multi_crop,
    of_pictures,
    over_scales,
    prepared,
    score_map,
    single_crop,
    top1_error,
    top5_error,
)
from vgglib.model import VGG, fully_convolutional
from vgglib.receptive_field import receptive_field

EVERY = [single_crop, dense, multi_crop]


@pytest.fixture
def net():
    torch.manual_seed(2)
    net = VGG("5 | 7 |", in_channels=2, num_classes=4, image_size=(12, 16), hidden=11, batch_norm=True)
    net.mean.copy_(torch.tensor([0.3, 0.6]).view(1, 2, 1, 1))
    net.std.copy_(torch.tensor([0.2, 0.5]).view(1, 2, 1, 1))
    return net


@pytest.fixture
def images():
    return torch.randint(0, 256, (11, 2, 15, 22), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def test_single_crop_by_hand(net, images):
    found = single_crop(net, images, scale=13, batch_size=4, bf16=False)
    net.eval()
    for picture, row in zip(images, found, strict=True):
        X = V.center_crop(V.resize(picture.double() / 255, [13], antialias=True), (12, 16)).float()
        X = (X - torch.tensor([0.3, 0.6]).view(2, 1, 1)) / torch.tensor([0.2, 0.5]).view(2, 1, 1)
        scores = net(X[None])[0].double()
        expected = scores.exp() / scores.exp().sum()
        torch.testing.assert_close(row.double(), expected, atol=1e-5, rtol=1e-4)


def test_posteriors_are_probabilities_in_any_batching(net, images):
    whole = single_crop(net, images, bf16=False)
    assert whole.shape == (11, 4)
    assert whole.dtype == torch.float32
    assert not whole.requires_grad
    torch.testing.assert_close(whole.sum(dim=1), torch.ones(11))
    torch.testing.assert_close(single_crop(net, images, batch_size=3, bf16=False), whole)


@pytest.mark.parametrize("method", [dense, multi_crop, score_map])
def test_bf16_is_near_and_averages_in_single_precision(net, images, method):
    found = method(net, images, 20, bf16=True)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, method(net, images, 20, bf16=False), atol=0.03, rtol=0)
    assert method is score_map or not torch.equal(found, found.bfloat16().float())


def test_bf16_is_near(net, images):
    found = single_crop(net, images, bf16=True)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, single_crop(net, images, bf16=False), atol=0.03, rtol=0)


def test_pictures_of_the_networks_own_size_are_taken_as_they_are():
    net = nn.Sequential(nn.Flatten(), nn.Linear(30, 3))  # it has no image_size, no mean and no std
    images = torch.randint(0, 256, (4, 1, 5, 6), dtype=torch.uint8)
    expected = net(images / 255).softmax(dim=1)
    torch.testing.assert_close(single_crop(net, images, bf16=False), expected)
    assert torch.equal(prepared(net, images / 255), images / 255)


@pytest.mark.parametrize("wrap", [nn.Sequential, torch.compile, nn.DataParallel], ids=lambda wrap: wrap.__name__)
def test_the_mean_is_found_in_what_others_wrap(net, images, wrap):
    assert net.mean.abs().min() > 0
    X = whole(images, 12)
    assert torch.equal(prepared(wrap(net), X), prepared(net, X))


def test_what_torch_compile_wraps_is_converted(net, images):
    assert torch.equal(dense(torch.compile(net), images, bf16=False), dense(net, images, bf16=False))


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_in_its_mode(net, images, training):
    net.train(training)
    net.features[1].train(not training)
    modes = [module.training for module in net.modules()]
    state = {name: value.clone() for name, value in net.state_dict().items()}
    single_crop(net, images)
    assert [module.training for module in net.modules()] == modes
    with pytest.raises(ValueError, match="does not fit"):
        single_crop(net, images, scale=11)
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())


def test_another_number_of_channels_is_refused(net, images):
    for channels in (1, 3):  # one channel would be spread over both of the network's
        with pytest.raises(ValueError, match=f"built for 2 channels, the pictures have {channels}"):
            single_crop(net, images[:, :1].expand(-1, channels, -1, -1))


def test_no_pictures_are_refused(net, images):
    with pytest.raises(ValueError, match="no pictures"):
        single_crop(net, images[:0])


POSTERIORS = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8], [0.5, 0.2, 0.3], [0.3, 0.4, 0.3]])
LABELS = torch.tensor([1, 2, 2, 0, 2])


def test_accuracy_and_error():
    assert accuracy(POSTERIORS, LABELS) == pytest.approx(0.6)
    assert top1_error(POSTERIORS, LABELS) == pytest.approx(0.4)


def test_the_top_5_error_against_a_loop():
    dice = torch.Generator().manual_seed(9)
    posteriors, labels = torch.rand(300, 8, generator=dice), torch.randint(0, 8, (300,), generator=dice)
    pairs = zip(posteriors.tolist(), labels.tolist(), strict=True)
    missed = sum(row[label] < sorted(row)[-5] for row, label in pairs)
    assert top5_error(posteriors, labels) == pytest.approx(missed / 300)
    assert 0 < missed < 300
    posteriors[:10] = torch.nan
    assert top5_error(posteriors[:10], labels[:10]) == 1
    with pytest.raises(ValueError, match="more than 5 classes, got 5"):
        top5_error(posteriors[:, :5], labels % 5)


def test_a_network_that_tells_nothing_apart_is_right_by_chance_only():
    labels = torch.arange(400) % 8
    assert top5_error(torch.full((400, 8), 1 / 8), labels) == pytest.approx(3 / 8)


def test_a_dead_network_scores_nothing():
    dead = torch.full((5, 3), torch.nan)
    assert accuracy(dead, torch.zeros(5, dtype=torch.long)) == 0
    assert top1_error(dead, torch.zeros(5, dtype=torch.long)) == 1
    some = POSTERIORS.clone()
    some[0, 2] = torch.nan
    some[3, 1] = torch.inf
    assert accuracy(some, LABELS) == pytest.approx(0.2)


def test_a_dead_network_scores_nothing_from_its_pictures(net, images):
    with torch.no_grad():
        net.classifier[0].weight[3, 5] = torch.nan
    part = ImageSet(images, torch.zeros(11, dtype=torch.long), tuple("abcd"))
    assert accuracy_on(net, part) == 0


def test_accuracy_on_a_set(net, images):
    labels = torch.arange(11) % 4
    part = ImageSet(images, labels, tuple("abcd"))
    assert accuracy_on(net, part, scale=14) == accuracy(single_crop(net, images, 14), labels)


def test_confusion_against_a_loop():
    dice = torch.Generator().manual_seed(8)
    posteriors, labels = torch.rand(200, 5, generator=dice), torch.randint(0, 4, (200,), generator=dice)
    counts = [[0] * 5 for _ in range(5)]
    for row, label in zip(posteriors.tolist(), labels.tolist(), strict=True):
        counts[label][row.index(max(row))] += 1
    found = confusion(posteriors, labels)
    assert found.tolist() == counts
    assert found.trace().item() / 200 == pytest.approx(accuracy(posteriors, labels))


def test_a_dead_network_has_no_confusion_matrix():
    some = POSTERIORS.clone()
    some[3, 1] = torch.nan
    with pytest.raises(ValueError, match="1 of 5 rows"):
        confusion(some, LABELS)


@pytest.mark.parametrize("measure", [accuracy, top1_error, top5_error, confusion])
@pytest.mark.parametrize(
    ("posteriors", "labels"),
    [(POSTERIORS, LABELS[:3]), (POSTERIORS[0], LABELS), (POSTERIORS[:0], LABELS[:0])],
    ids=["fewer labels", "one row", "nothing"],
)
def test_shapes_that_do_not_go_together_are_refused(measure, posteriors, labels):
    with pytest.raises(ValueError, match=r"expected posteriors \(N, classes\) and N labels"):
        measure(posteriors, labels)


@pytest.mark.parametrize("measure", [accuracy, top1_error, top5_error, confusion])
@pytest.mark.parametrize("wrong", [-1, 3])
def test_labels_without_a_posterior_are_refused(measure, wrong):
    labels = LABELS.clone()
    labels[2] = wrong
    with pytest.raises(ValueError, match="posteriors are for 0 to 2"):
        measure(POSTERIORS, labels)


# --- dense evaluation, many crops, scales, ensembles -------------------------------------------------------------


@pytest.fixture
def exact(net):
    """The network of ``net`` in double precision, with statistics that are not those of a new one."""
    dice = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.rand(module.num_features, generator=dice) - 0.5)
            module.running_var.copy_(torch.rand(module.num_features, generator=dice) + 0.5)
    for module in net.classifier:
        if isinstance(module, nn.Linear):
            module.weight.data *= 6  # a network with opinions, as trained ones have
    return net.double().eval()


def close(one, two):
    assert one.dtype == two.dtype == torch.float64
    torch.testing.assert_close(one, two, atol=1e-12, rtol=1e-12)


def differ(one, two):
    return (one - two).abs().max() > 1e-4


@torch.no_grad()
def test_dense_at_the_crop_is_the_plain_forward_pass(exact, images):
    images = images[:, :, :12, :16]
    X = prepared(exact, whole(images, 12))
    close(fully_convolutional(exact)(X)[:, :, 0, 0], exact(X))
    close(dense(exact, images, 12, flip=False, bf16=False), exact(X).softmax(dim=1))
    close(dense(exact, images, 12, flip=False, bf16=False), single_crop(exact, images, bf16=False))
    assert score_map(exact, images, bf16=False).shape == (11, 4, 1, 1)


@torch.no_grad()
def test_dense_by_hand(exact, images):
    full, X = fully_convolutional(exact), prepared(exact, whole(images, 20))
    assert full(X).shape == (11, 4, 3, 4)  # 20 x 29 pixels
    by_hand = [full(side).flatten(2).mean(dim=2).softmax(dim=1) for side in (X, X.flip(3))]
    close(dense(exact, images, 20, batch_size=4, bf16=False), sum(by_hand) / 2)
    close(dense(full, images, 20, bf16=False), sum(by_hand) / 2)
    close(score_map(exact, images, 20, bf16=False, batch_size=3), full(X))
    assert differ(by_hand[0], full(X).softmax(dim=1).mean(dim=(2, 3)))  # averaging posteriors is something else


@torch.no_grad()
def test_without_padding_every_position_is_the_crop_there():
    """Unpadded, the network that was built for 16 pixels wants 24: its fully connected layer sees a 4x4 map."""
    torch.manual_seed(3)
    net = VGG("4 6 | 8 |", in_channels=2, num_classes=3, image_size=16, hidden=7).double().eval()
    for module in net.features:
        if isinstance(module, nn.Conv2d):
            module.padding = (0, 0)
    X = torch.rand(2, 2, 32, 36, dtype=torch.float64)
    found = fully_convolutional(net)(X)
    assert found.shape == (2, 3, 3, 4)
    for row in range(3):
        for column in range(4):
            crop = X[:, :, 4 * row : 4 * row + 24, 4 * column : 4 * column + 24]
            close(found[:, :, row, column], net.classifier(net.features(crop).flatten(1)))


@torch.no_grad()
def test_with_padding_the_units_that_see_it_differ_and_no_others():
    torch.manual_seed(4)
    net = VGG("4 | 6 |", in_channels=1, num_classes=3, image_size=24, hidden=5).double().eval()
    X, field = torch.rand(1, 1, 40, 40, dtype=torch.float64), receptive_field(layers("4 | 6 |"))
    inside = [field.window(n)[0] >= 0 and field.window(n)[1] < 24 for n in range(6)]
    assert inside == [False, *[True] * 4, False]
    over_all = net.features(X)
    for top, left in ((0, 8), (8, 4), (16, 16)):
        crop = net.features(X[:, :, top : top + 24, left : left + 24])[0]
        part = over_all[0, :, top // 4 : top // 4 + 6, left // 4 : left // 4 + 6]
        same = ((crop - part).abs() < 1e-12).all(dim=0)
        for i in range(6):
            for j in range(6):
                borders = [
                    (i == 0 and top == 0),
                    (i == 5 and top == 16),
                    (j == 0 and left == 0),
                    (j == 5 and left == 16),
                ]
                at_edge = sum(borders)  # there the whole picture is padded, too
                if inside[i] and inside[j]:
                    assert same[i, j]
                elif not at_edge:
                    assert not same[i, j]
    scores = fully_convolutional(net)(X)
    assert differ(scores[:, :, 2, 2], net(X[:, :, 8:32, 8:32]))  # so dense evaluation is not crops at the stride


@pytest.mark.parametrize(("scale", "side"), [(224, 1), (256, 2), (288, 3), (352, 5), (384, 6), (416, 7), (512, 10)])
def test_score_maps_of_the_full_network_d(scale, side):
    with torch.device("meta"):
        net = fully_convolutional(VGG("D"))
        assert net(torch.empty(1, 3, scale, scale)).shape == (1, 1000, side, side)


@pytest.mark.parametrize(("scale", "side"), [(28, 1), (32, 2), (48, 6), (64, 10)])
def test_score_maps_of_d_at_28_pixels(scale, side):
    with torch.device("meta"):
        net = VGG("64 64 | 128 128 | 256 256 256 512 512 512 512 512 512", 1, 10, image_size=28, hidden=64)
        assert fully_convolutional(net)(torch.empty(2, 1, scale, scale)).shape == (2, 10, side, side)


@torch.no_grad()
def test_one_crop_is_the_centre_crop(exact, images):
    for scale in (12, 13, 20):
        centre = single_crop(exact, images, scale, bf16=False)
        close(multi_crop(exact, images, scale, grid=1, flip=False, bf16=False), centre)


@torch.no_grad()
def test_many_crops_by_hand(exact, images):
    X, total = prepared(exact, whole(images, 21)), 0
    assert X.shape[2:] == (21, 30)
    for top in (0, 4, 9):  # 9 free rows, halves to even
        for left in (0, 7, 14):
            crop = X[:, :, top : top + 12, left : left + 16]
            total = total + exact(crop).softmax(dim=1) + exact(crop.flip(3)).softmax(dim=1)
    close(multi_crop(exact, images, 21, grid=3, batch_size=5, bf16=False), total / 18)


@torch.no_grad()
def test_a_grid_that_is_not_symmetric_is_laid_over_the_mirror_image_too(exact, images):
    X, total = prepared(exact, whole(images, 13)), 0
    assert X.shape[2:] == (13, 19)
    for side in (X, X.flip(3)):
        for top in (0, 0, 0, 1, 1):
            for left in (0, 1, 2, 2, 3):  # 3 free columns
                total = total + exact(side[:, :, top : top + 12, left : left + 16]).softmax(dim=1)
    close(multi_crop(exact, images, 13, bf16=False), total / 50)


@torch.no_grad()
def test_crops_that_coincide_are_computed_once(exact, images):
    images, seen = images[:, :, :12, :16], []
    exact.features.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    found = multi_crop(exact, images, 12, bf16=False)
    assert sum(seen) == 2 * len(images)
    close(found, dense(exact, images, 12, bf16=False))


@pytest.mark.parametrize(
    ("method", "scale"), [(dense, 12), (dense, 14), (dense, 23), (multi_crop, 13), (multi_crop, 14), (multi_crop, 25)]
)
def test_a_picture_and_its_mirror_image_get_the_same(exact, images, method, scale):
    mirrored = images.flip(3)
    one, other = (method(exact, side, scale, bf16=False) for side in (images, mirrored))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)  # the resampling is in single precision
    assert differ(*(method(exact, side, scale, flip=False, bf16=False) for side in (images, mirrored)))


@pytest.mark.parametrize("method", EVERY)
def test_posteriors_sum_to_one_at_any_scale_in_any_batching(exact, images, method):
    found = over_scales(method, exact, images, [12, 15, 20], bf16=False)
    assert found.shape == (11, 4)
    close(found.sum(dim=1), torch.ones(11, dtype=torch.float64))
    close(over_scales(method, exact, images, [12, 15, 20], batch_size=2, bf16=False), found)


@pytest.mark.parametrize("method", EVERY)
def test_scales_have_no_order_and_come_from_the_original(exact, images, method):
    forth, back = (over_scales(method, exact, images, scales, bf16=False) for scales in ([12, 17, 25], [25, 12, 17]))
    close(forth, back)
    close(forth, sum(method(exact, images, scale, bf16=False) for scale in (12, 17, 25)) / 3)


@pytest.mark.parametrize("method", EVERY)
def test_memory_is_bounded(net, images, method):
    sizes = []
    net.features.register_forward_pre_hook(lambda module, inputs: sizes.append(inputs[0].shape))
    method(net, images, 30, batch_size=20)
    assert max(shape.numel() for shape in sizes) <= 2 * 20 * 12 * 16
    method(net, images, 30, batch_size=1)  # one picture is the least, however large


@pytest.mark.parametrize("method", [dense, multi_crop, score_map])
@pytest.mark.parametrize("training", [True, False])
def test_the_network_keeps_its_modes_and_weights(net, images, method, training):
    net.train(training)
    net.features[1].train(not training)
    modes = [module.training for module in net.modules()]
    state = {name: value.clone() for name, value in net.state_dict().items()}
    method(net, images, 20)
    with pytest.raises(ValueError):
        method(net, images[:, :1], 20)
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("method", EVERY)
def test_pictures_lie_as_convolutions_are_fastest(exact, images, method, fast, monkeypatch):
    expected, seen = method(exact, images, 28), []
    monkeypatch.setattr(preparing, "fast_channels_last", lambda device, bf16: fast)
    maps = exact.features[3].register_forward_hook(lambda layer, X, Y: seen.append(Y))
    torch.testing.assert_close(method(exact, images, 28), expected, rtol=1e-12, atol=1e-12)
    maps.remove()
    assert {Y.is_contiguous(memory_format=torch.channels_last) for Y in seen} == {fast}


@pytest.mark.parametrize("method", EVERY)
def test_a_layer_of_ones_own_can_view_its_maps_as_rows(exact, images, method, monkeypatch):
    monkeypatch.setattr(preparing, "fast_channels_last", lambda device, bf16: True)

    class Rows(nn.Module):
        def forward(self, X):
            return X - X.view(len(X), -1).mean(dim=1).view(-1, 1, 1, 1)

    exact.features.insert(1, Rows())
    assert method(exact, images, 28).isfinite().all()


@pytest.mark.parametrize("method", [dense, multi_crop])
def test_a_long_test_says_how_far_it_is(net, images, method, monkeypatch):
    said = []

    class Line:
        def show(self, text, final=False):
            said.append((text, final))

    clock = iter(range(0, 10_000, 6))
    monkeypatch.setattr("vgglib.evaluation.Progress", Line)
    monkeypatch.setattr("vgglib.evaluation.time.monotonic", lambda: next(clock))
    method(net, images, 12, batch_size=4)
    *before, (last, final) = said
    assert final
    assert before
    assert not any(final for _, final in before)
    assert re.fullmatch(r"(dense|multi-crop) at 12: 2 of 11 pictures, 27 s left", before[0][0])
    assert re.fullmatch(r"(dense|multi-crop) at 12: 11 pictures in 36 s", last)


def test_an_ensemble_is_the_mean():
    one, two = torch.tensor([[0.2, 0.8], [0.5, 0.5]]), torch.tensor([[0.6, 0.4], [0.1, 0.9]])
    torch.testing.assert_close(ensemble([one, two]), torch.tensor([[0.4, 0.6], [0.3, 0.7]]))
    torch.testing.assert_close(ensemble(iter([one])), one)


def test_ensembles_of_unlike_things_are_refused():
    with pytest.raises(ValueError, match="no posteriors"):
        ensemble([])
    with pytest.raises(ValueError, match=r"different pictures or classes have no average: \(5, 3\) and \(5, 4\)"):
        ensemble([torch.rand(5, 3), torch.rand(5, 4)])
    with pytest.raises(ValueError, match="different pictures"):
        ensemble([torch.rand(5, 3), torch.rand(4, 3)])


@pytest.mark.parametrize(
    "wrong",
    [torch.randn(5, 3), torch.eye(3).long(), torch.tensor([[1.5, -0.5]]), torch.full((2, 3), 0.3), LABELS[:, None]],
)
def test_what_are_no_posteriors_is_not_averaged(wrong):
    with pytest.raises(ValueError, match=r"expected posteriors, 0 or more with a sum of 1 in each row; of scores take"):
        ensemble([wrong, wrong])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_rounded_posteriors_are_averaged(dtype):
    scores = torch.randn(200, 1000, generator=torch.Generator().manual_seed(1))
    for spread in (0.1, 1, 8):
        one = (spread * scores).softmax(dim=1).to(dtype)
        torch.testing.assert_close(ensemble([one, one]), one)


def test_the_rows_of_a_dead_network_stay_so_in_an_ensemble():
    found = ensemble([POSTERIORS, torch.full((5, 3), torch.nan)])
    assert found.isnan().all()
    assert accuracy(found, LABELS) == 0


def test_a_map_of_scores_is_no_row_of_them(images):
    net = nn.Conv2d(2, 4, 3)
    net.image_size = (4, 5)
    for method in (single_crop, multi_crop):
        with pytest.raises(ValueError, match=r"the network gives maps \(11, 4, 2, 3\): average them"):
            method(net, images)
    net.image_size = (3, 3)
    assert single_crop(net, images).shape == (11, 4)


@pytest.mark.parametrize("method", [dense, multi_crop])
def test_a_flip_is_true_or_false(net, images, method):
    with pytest.raises(ValueError, match="flip must be True or False, got 'no'"):
        method(net, images, flip="no")


@pytest.mark.parametrize("method", EVERY)
def test_scales_that_make_no_test_are_refused(net, images, method):
    with pytest.raises(ValueError, match="no scales"):
        over_scales(method, net, images, [])
    with pytest.raises(ValueError, match="no scales"):
        over_scales(method, net, images, None)
    with pytest.raises(ValueError, match="scale 15 is given twice"):
        over_scales(method, net, images, [15, 13, 15])
    with pytest.raises(ValueError, match="scale"):
        over_scales(method, net, images, [12, 11])
    with pytest.raises(ValueError, match="no pictures"):
        method(net, images[:0], 12)
    with pytest.raises(ValueError, match="batch_size"):
        method(net, images, 12, batch_size=0)


def test_a_grid_of_none_is_refused(net, images):
    with pytest.raises(ValueError, match="grid of 1 or more"):
        multi_crop(net, images, 20, grid=0)


@pytest.mark.parametrize("method", [*EVERY, score_map])
def test_what_is_no_batch_of_pictures_or_no_scale_is_refused(net, images, method):
    for wrong, said in (
        (images[0], r"got \(2, 15, 22\); one picture is picture\[None\]"),
        (images.numpy(), "got a ndarray"),
        (images / 255, "expected uint8 pictures, 0 to 255"),
    ):
        with pytest.raises(ValueError, match=said):
            method(net, wrong)
    for scale in (15.0, 15.5):
        with pytest.raises(ValueError, match=f"whole number, got {scale}"):
            method(net, images, scale)
    with pytest.raises(ValueError, match=r"expected a list of scales, got 15: write \[15\]"):
        over_scales(method, net, images, 15)


def test_networks_without_a_map_are_refused(images):
    with pytest.raises(ValueError, match="got a Sequential"):
        dense(nn.Sequential(nn.Flatten(), nn.Linear(660, 3)), images)


def test_pictures_of_any_size_are_tested_as_they_come(net, images):
    dice = torch.Generator().manual_seed(2)
    sizes = [(20, 30), (20, 30), (20, 30), (16, 16), (31, 17), (20, 30)]
    folder = [torch.randint(0, 256, (2, *size), dtype=torch.uint8, generator=dice) for size in sizes]
    pairs = [(picture, n % 4) for n, picture in enumerate(folder)]
    for method in (dense, multi_crop):
        found, labels = of_pictures(method, net, iter(pairs), [17, 20], batch_size=2, bf16=False)
        assert labels.tolist() == [0, 1, 2, 3, 0, 1]
        for row, picture in zip(found, folder, strict=True):
            torch.testing.assert_close(row, over_scales(method, net, picture[None], [17, 20], bf16=False)[0])
    with pytest.raises(ValueError, match="no pictures"):
        of_pictures(dense, net, [], [20])


def test_a_mean_of_scores_is_a_geometric_mean_of_posteriors():
    scores = torch.randn(5, 7, dtype=torch.float64)
    posteriors = scores.softmax(dim=1)
    geometric = posteriors.log().mean(dim=0).exp()
    torch.testing.assert_close(scores.mean(dim=0).softmax(dim=0), geometric / geometric.sum())
    assert math.isclose(posteriors.mean(dim=0).sum().item(), 1)


def test_a_converted_network_gives_posteriors_of_the_same_shape():
    net = VGG("8 | 16 |", 1, 4, image_size=12, hidden=8).eval()
    images = torch.randint(0, 256, (3, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    for method in (single_crop, multi_crop):
        torch.testing.assert_close(method(fully_convolutional(net), images, 14), method(net, images, 14))


def test_the_scale_that_is_advised_is_enough():
    net = VGG("8 8 |", 3, 10, (8, 16), hidden=8).eval()
    for shape, least in (((20, 20), 16), ((20, 30), 11), ((40, 20), 16)):
        images = torch.zeros(2, 3, *shape, dtype=torch.uint8)
        with pytest.raises(ValueError, match=f"take a scale of at least {least}$"):
            dense(net, images, 8)
        assert dense(net, images, least).shape == (2, 10)


def test_labels_in_a_column_are_refused():
    for judge in (accuracy, confusion):
        with pytest.raises(ValueError, match=r"N labels, got \(4, 4\) and \(4, 1\)"):
            judge(torch.eye(4), torch.arange(4)[:, None])


def test_what_is_not_in_0_to_1_is_not_prepared(net, images):
    with pytest.raises(ValueError, match=r"got torch\.uint8: divide by 255"):
        prepared(net, images)
    with pytest.raises(ValueError, match=r"got values up to 2[0-9]{2}: divide by 255"):
        prepared(net, images.float())
    assert prepared(net, 1.3 * torch.ones(1, 2, 12, 16)).shape == (1, 2, 12, 16)  # a shifted colour


@pytest.mark.parametrize("method", EVERY)
def test_a_network_of_another_number_format(net, images, method):
    expected = method(net, images, 17, bf16=False)
    torch.testing.assert_close(method(net.double(), images, 17, bf16=False), expected.double(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(method(net.half(), images, 17, bf16=False), expected, atol=0.02, rtol=0)


def folder_of(tmp_path, names):
    """Two grey pictures for each class, of two sizes."""
    for n, name in enumerate(names):
        (tmp_path / name).mkdir(parents=True)
        for k in (0, 1):
            noise = torch.randint(
                0, 256, (20 + k, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(n + k)
            )
            V.to_pil_image(noise).save(tmp_path / name / f"{k}.png")
    return image_folder(tmp_path, channels=1)


def test_a_folder_is_tested_as_it_is(tmp_path):
    net = VGG("5 | 7 |", in_channels=1, num_classes=3, image_size=12, hidden=11)
    pictures = folder_of(tmp_path, ["ant", "bee", "cat"])
    posteriors, labels = of_pictures(dense, net, pictures, [12, 16], bf16=False)
    expected, _ = of_pictures(dense, net, pictures.pictures(), [12, 16], bf16=False)
    assert torch.equal(posteriors, expected)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    single, _ = of_pictures(single_crop, net, pictures, [12])
    assert accuracy_on(net, pictures) == accuracy(single, labels)
    assert accuracy_on(net, pictures, 18) == accuracy(of_pictures(single_crop, net, pictures, [18])[0], labels)


def test_a_set_of_other_classes_is_refused(tmp_path, images):
    net = VGG("5 | 7 |", in_channels=1, num_classes=3, image_size=12, hidden=11)
    pictures = folder_of(tmp_path / "some", ["ant", "bee", "cat"])
    with pytest.raises(ValueError, match="the network knows 3 classes, the pictures have 2"):
        accuracy_on(net, folder_of(tmp_path / "fewer", ["ant", "bee"]))
    net.classes = ("bee", "ant", "cat")
    for test in (lambda: of_pictures(dense, net, pictures, [12]), lambda: accuracy_on(net, pictures)):
        with pytest.raises(ValueError, match="class 0 is 'bee' to the network, 'ant' to the pictures"):
            test()
    with pytest.raises(ValueError, match="class 2 is 'cat' to the network, 'dog' to the pictures"):
        accuracy_on(net, ImageSet(images[:3, :1], torch.arange(3), ("bee", "ant", "dog")))
    net.classes = ("ant", "bee", "cat")
    assert 0 <= accuracy_on(net, pictures) <= 1


def test_a_network_that_does_not_say_its_crop_may_be_given_one(images):
    other = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, 3)).eval()
    expected = other(view(images, (10, 10), 16)).softmax(dim=1)
    assert torch.equal(single_crop(other, images, 16, bf16=False, crop=10), expected)


@pytest.mark.parametrize("method", [single_crop, multi_crop])
def test_a_network_of_others_says_its_crop_first(images, method, tmp_path):
    other = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    assert method(other, images).shape == (11, 3)  # pictures as they are
    with pytest.raises(ValueError, match="a Sequential does not say how large a crop it wants: set its image_size"):
        method(other, images, 13)
    with pytest.raises(ValueError, match="set its image_size"):
        accuracy_on(other, folder_of(tmp_path, ["ant", "bee", "cat"]))
    other.image_size = (10, 10)
    assert method(other, images, 13).shape == (11, 3)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32])
def test_confusion_counts_labels_of_any_whole_numbers(dtype):
    assert torch.equal(confusion(torch.eye(20), torch.arange(20, dtype=dtype)), torch.eye(20, dtype=torch.int64))


def test_a_compiled_map_is_taken_as_it_is():
    net = VGG("4 | 8 |", 1, 3, 8, width=1.0, hidden=4).eval()
    images = torch.randint(0, 256, (2, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    compiled = torch.compile(fully_convolutional(net), backend="eager")
    torch.testing.assert_close(dense(compiled, images, 12, bf16=False), dense(net, images, 12, bf16=False))


class Normalising(nn.Module):
    """What others write: the picture less its mean in forward, from buffers that go by the same names."""

    def __init__(self, net):
        super().__init__()
        self.image_size, self.net = (12, 16), net
        self.register_buffer("mean", torch.full((1, 2, 1, 1), 0.4))
        self.register_buffer("std", torch.full((1, 2, 1, 1), 0.5))

    def forward(self, X):
        return self.net((X - self.mean) / self.std)


def test_a_network_with_a_mean_says_whether_it_takes_it_off(net, images):
    own = Normalising(net).eval()
    with pytest.raises(ValueError, match="a Normalising has a mean and a std: set its takes_prepared to True if"):
        single_crop(own, images)
    X = whole(images, 12)[:, :, :, :16]
    own.takes_prepared = False
    assert torch.equal(prepared(own, X), X)
    torch.testing.assert_close(single_crop(own, images, bf16=False), by_hand(own, images))
    for around in (nn.DataParallel(own), nn.Sequential(own, nn.Identity())):  # nor is the mean of what it holds taken
        assert torch.equal(prepared(around, X), X)
    del own.takes_prepared
    with pytest.raises(ValueError, match="a Normalising has a mean and a std"):
        prepared(nn.DataParallel(own), X)
    own.takes_prepared = True
    torch.testing.assert_close(prepared(own, X), (X - 0.4) / 0.5)


def by_hand(net, images):
    """Posteriors of the centre crops of what is 15 x 22, rescaled to 12 x 17."""
    with torch.no_grad():
        return net(whole(images, 12)[:, :, :, :16]).softmax(dim=1)


@pytest.mark.filterwarnings("ignore:`torch.jit", "ignore::torch.jit.TracerWarning")
def test_what_torch_makes_of_a_network_is_tested_with_its_mean(net, images):
    net.eval()
    images = images[:, :, :12, :16]  # such modules do not say their size: the pictures have it
    expected, X = single_crop(net, images, bf16=False), whole(images, 12)
    batch = torch.export.Dim("batch", min=2)
    exported = torch.export.export(net, (X,), dynamic_shapes=({0: batch},)).module()
    for other in (torch.jit.trace(net, X), exported):
        torch.testing.assert_close(prepared(other, X), prepared(net, X))
        torch.testing.assert_close(single_crop(other, images, bf16=False), expected)
    traced = torch.fx.symbolic_trace(net)
    with pytest.raises(ValueError, match=r"torch\.fx leaves a network's mean and std behind: set them"):
        single_crop(traced, images)
    traced.mean, traced.std, traced.takes_prepared = net.mean, net.std, True
    torch.testing.assert_close(single_crop(traced, images, bf16=False), expected)


def test_two_networks_in_one_module_have_one_mean(net, images):
    class Two(nn.Module):
        def __init__(self, *nets):
            super().__init__()
            self.nets, self.image_size = nn.ModuleList(nets), (12, 16)

        def forward(self, X):
            return sum(one(X) for one in self.nets)

    other = VGG("3 | 4 |", in_channels=2, num_classes=4, image_size=(12, 16), hidden=5)
    with pytest.raises(ValueError, match="two networks inside of this Two want pictures less unlike means"):
        single_crop(Two(net, other), images)
    other.mean.copy_(net.mean), other.std.copy_(net.std)
    assert single_crop(Two(net, other), images).shape == (11, 4)


@pytest.mark.parametrize(
    "wrap",
    [nn.DataParallel, torch.optim.swa_utils.AveragedModel, nn.Sequential, torch.compile],
    ids=lambda wrap: wrap.__name__,
)
def test_what_wraps_a_network_knows_what_it_knows(net, images, wrap):
    net.eval().classes = tuple("abcd")
    wrapped = wrap(net)
    ordered = ImageSet(images, torch.arange(11) % 4, tuple("abcd"))
    if wrap is not torch.compile:  # which would compile
        assert accuracy_on(wrapped, ordered) == accuracy_on(net, ordered)
        torch.testing.assert_close(single_crop(wrapped, images, 14), single_crop(net, images, 14))
    torch.testing.assert_close(dense(wrapped, images), dense(net, images))
    with pytest.raises(ValueError, match="class 0 is 'a' to the network, 'd' to the pictures"):
        accuracy_on(wrapped, ImageSet(images, torch.arange(11) % 4, tuple("dcba")))
    net.classes = None
    with pytest.raises(ValueError, match="the network knows 4 classes, the pictures have 3"):
        accuracy_on(wrapped, ImageSet(images, torch.arange(11) % 3, tuple("abc")))


def test_what_others_call_their_attributes_is_no_matter(images):
    class Other(nn.Module):
        """As CIFAR's ResNets and torchvision's transformers have them."""

        def __init__(self):
            super().__init__()
            self.in_channels, self.image_size, self.classes = 128, 12, 10
            self.conv, self.fc = nn.Conv2d(2, 6, 3), nn.Linear(6, 10)

        def forward(self, X):
            return self.fc(self.conv(X).mean((2, 3)))

    labelled = ImageSet(images, torch.arange(11) % 10, tuple("abcdefghij"))
    assert single_crop(Other(), images, 13).shape == multi_crop(Other(), images, 13, grid=2).shape == (11, 10)
    assert 0 <= accuracy_on(Other(), labelled) <= 1
    assert of_pictures(single_crop, Other(), [(picture, 0) for picture in images], [13])[0].shape == (11, 10)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_network_without_parameters_and_pictures_without_pixels(images):
    frozen = torch.jit.freeze(torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(2 * 15 * 22, 3)).eval()))
    assert not list(frozen.parameters())
    assert single_crop(frozen, images).shape == (11, 3)
    for empty in (images[:, :, :0], images[:, :0]):
        with pytest.raises(ValueError, match=r"\(C, H, W\) have no pixels"):
            single_crop(frozen, empty)


def test_large_pictures_are_tested_few_at_a_time(net, images):
    """Memory is bounded by what the pictures are before they are rescaled, too."""
    seen, large = [], torch.randint(0, 256, (6, 2, 60, 80), dtype=torch.uint8)
    net.eval().register_forward_pre_hook(lambda _, X: seen.append(len(X[0])))
    expected = single_crop(net, large, batch_size=100, bf16=False)  # 25 crops' worth each: 4 together
    assert seen == [4, 2]
    seen.clear()
    labelled = ((picture, 0) for picture in large)
    found, _ = of_pictures(single_crop, net, labelled, [12], batch_size=60, bf16=False)
    assert seen == [2, 2, 2]
    torch.testing.assert_close(found, expected)
    seen.clear()
    of_pictures(single_crop, net, ((picture, 0) for picture in images), [12], batch_size=8, bf16=False)
    assert max(seen) == 4  # 15 x 22 pixels for 12 x 16


class Counting(nn.Module):
    """Says how many pictures it was given at once."""

    def __init__(self, side):
        super().__init__()
        self.image_size, self.seen = (side, side), []

    def forward(self, X):
        self.seen.append(len(X))
        return torch.zeros(len(X), 3)


@pytest.mark.parametrize(("side", "at_once"), [(28, 500), (64, 500), (224, 40), (2000, 1)])
def test_large_crops_are_tested_in_smaller_batches(side, at_once):
    assert evaluation.crops_at_once((side, side)) == at_once


def test_a_folder_of_large_pictures_of_one_size_is_not_tested_at_once():
    pictures = [(torch.zeros(3, 224, 224, dtype=torch.uint8), 0)] * 90
    net = Counting(224)
    evaluation.of_pictures(single_crop, net, pictures, [224])
    assert net.seen == [40, 40, 10]
    few = ImageSet(torch.zeros(90, 3, 224, 224, dtype=torch.uint8), torch.zeros(90, dtype=torch.int64), ("a", "b", "c"))
    for how, seen in ((None, [40, 40, 10]), (60, [60, 30])):
        net.seen.clear()
        evaluation.accuracy_on(net, few, batch_size=how)
        assert net.seen == seen
    with pytest.raises(ValueError, match="batch_size must be 1 or more, got 0"):
        evaluation.accuracy_on(net, few, batch_size=0)
