"""The networks before VGG have the shapes that are known of them, and LeNet-5 trains by the book's loop."""

from dataclasses import replace

import pytest
import torch

from vgglib.cost import cost
from vgglib.data import ImageSet
from vgglib.earlier import LENET, LeNet5, alexnet, alexnet_table, build_lenet
from vgglib.studies import STUDIES
from vgglib.training import fit

LENET_SHAPES = {
    "features.0": (6, 28, 28),
    "features.2": (6, 14, 14),
    "features.3": (16, 10, 10),
    "features.5": (16, 5, 5),
}
LENET_PARAMETERS = {"features.0": 156, "features.3": 2_416, "classifier.0": 48_120, "classifier.2": 10_164}
ALEXNET_MAPS = [(96, 55, 55), (256, 27, 27), (384, 13, 13), (384, 13, 13), (256, 13, 13)]


def few():
    images = torch.randint(0, 256, (40, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    return ImageSet(images, torch.arange(40) % 4, tuple("abcd"))


def test_lenet_has_its_shape():
    """LeCun et al. (1998), figure 2; parameters worked out, the sum as in Dive into Deep Learning's LeNet."""
    found = cost(LeNet5(), 28)
    rows = {row.name: row for row in found}
    assert {name: rows[name].output_shape for name in LENET_SHAPES} == LENET_SHAPES
    assert {name: rows[name].parameters for name in LENET_PARAMETERS} == LENET_PARAMETERS
    assert found.parameters == 61_706


def test_alexnet_has_its_shape():
    """The maps of Krizhevsky et al., figure 2; Caffe's bvlc_alexnet: 60,965,224 parameters; 724 million MACs."""
    with torch.device("meta"):
        found = cost(alexnet(), 227)
    assert [row.output_shape for row in found if row.kind == "Conv2d"] == ALEXNET_MAPS
    assert found.parameters == 60_965_224
    assert found.macs == 724_406_816


def test_lenet_is_built_from_its_seed_for_its_pictures():
    before = torch.get_rng_state()
    a, b, c = (build_lenet(LENET, few(), seed) for seed in (5, 5, 6))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a.classifier[0].weight, b.classifier[0].weight)
    assert not torch.equal(a.classifier[0].weight, c.classifier[0].weight)
    assert a(torch.zeros(2, 1, 28, 28)).shape == (2, 4)
    mean, std = few().mean_and_std()
    assert (a.mean.item(), a.std.item()) == pytest.approx((mean, std))
    colour = ImageSet(few().images.view(20, 2, 28, 28), few().labels[:20], few().classes)
    assert torch.equal(build_lenet(LENET, colour).mean.flatten(), colour.mean_and_std()[0])


@pytest.mark.parametrize("changes", [dict(configuration="A"), dict(normalise="nothing")])
def test_another_recipe_is_refused(changes):
    with pytest.raises(ValueError, match="expected LeNet-5"):
        build_lenet(replace(LENET, **changes), few())


@pytest.mark.filterwarnings("ignore::vgglib.training.NotLearningWarning")
def test_lenet_trains_by_the_books_loop():
    chosen = replace(LENET, epochs=1, batch_size=16, validation=0)
    net = build_lenet(chosen, few())
    before = net.features[0].weight.detach().clone()
    history = fit(net, few(), None, chosen, device="cpu")
    assert history.classes == 4
    assert not torch.equal(before, net.features[0].weight)


def test_the_study_trains_lenet_three_times():
    study = STUDIES["lenet"]
    assert study.recipes == {"LeNet-5": LENET}
    assert len(study.seeds) >= 3
    assert isinstance(study.build(LENET, few(), 0), LeNet5)


def test_alexnets_normalisation_is_that_of_its_paper():
    """Over 5 channels b = a / (2 + 1e-4 sum a^2)^0.75; torch would divide alpha by 5."""
    X = 100 * torch.randn(1, 96, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for norm in (alexnet()[2], alexnet()[6]):
        squares = torch.stack([(X[:, max(0, n - 2) : n + 3] ** 2).sum(1) for n in range(96)], 1)
        torch.testing.assert_close(norm(X), X / (2 + 1e-4 * squares) ** 0.75)


def test_alexnets_table_by_hand():
    header, first, second, *_, connected, last = alexnet_table()
    assert header == ("layer", "reads", "kernel", "stride", "output", "parameters", "MACs")
    assert first == ("conv1", "3", "11", "4", "96 x 55 x 55", "34,944", f"{55 * 55 * 96 * 3 * 121:,}")
    assert second[:5] == ("conv2", "48", "5", "1", "256 x 27 x 27")
    assert connected == ("fc7", "4,096", "", "", "4096", f"{4097 * 4096:,}", f"{4096**2:,}")
    assert last[0] == "fc8"
    assert sum(int(row[5].replace(",", "")) for row in alexnet_table()[1:]) == 60_965_224
