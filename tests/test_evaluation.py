"""Testing: posteriors by hand, a network left as it was, dead networks that score nothing, refusals."""

import pytest
import torch
from torch import nn
from torchvision.transforms.v2 import functional as V

from vgglib.data import ImageSet
from vgglib.evaluation import accuracy, accuracy_on, confusion, prepared, single_crop, top1_error
from vgglib.model import VGG


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
    part = ImageSet(images, torch.zeros(11, dtype=torch.long), "abcd")
    assert accuracy_on(net, part) == 0


def test_accuracy_on_a_set(net, images):
    labels = torch.arange(11) % 4
    part = ImageSet(images, labels, "abcd")
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


@pytest.mark.parametrize("measure", [accuracy, top1_error, confusion])
@pytest.mark.parametrize(
    ("posteriors", "labels"),
    [(POSTERIORS, LABELS[:3]), (POSTERIORS[0], LABELS), (POSTERIORS[:0], LABELS[:0])],
    ids=["fewer labels", "one row", "nothing"],
)
def test_shapes_that_do_not_go_together_are_refused(measure, posteriors, labels):
    with pytest.raises(ValueError, match=r"expected posteriors \(N, classes\) and N labels"):
        measure(posteriors, labels)


@pytest.mark.parametrize("measure", [accuracy, top1_error, confusion])
@pytest.mark.parametrize("wrong", [-1, 3])
def test_labels_without_a_posterior_are_refused(measure, wrong):
    labels = LABELS.clone()
    labels[2] = wrong
    with pytest.raises(ValueError, match="posteriors are for 0 to 2"):
        measure(POSTERIORS, labels)
