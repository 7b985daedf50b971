"""Features: against the network's own layers, over more places than one, and what is refused."""

import pytest
import torch
from torch.nn import functional as F

from vgglib.augment import view
from vgglib.evaluation import prepared
from vgglib.model import VGG, initialise
from vgglib.transfer import features


@pytest.fixture
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = VGG("3 | 4 |", 1, 5, image_size=8, hidden=6, batch_norm=True)
    net.mean.fill_(0.3)
    net.std.fill_(0.4)
    return net.train()


def pictures(count=5, side=8):
    return torch.randint(0, 256, (count, 1, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def hidden(net, X):
    """The last hidden layer by the network's own modules."""
    net.eval()
    with torch.no_grad():
        return net.classifier[:-1](net.features(X).flatten(1))


def test_at_its_own_size_it_is_the_last_hidden_layer(net):
    X = prepared(net, pictures() / 255)
    torch.testing.assert_close(features(net, pictures()), F.normalize(hidden(net, X), dim=1))


def test_flips_are_averaged_before_the_length_is_taken(net):
    X = prepared(net, pictures() / 255)
    mean = (hidden(net, X) + hidden(net, X.flip(3))) / 2
    torch.testing.assert_close(features(net, pictures(), flip=True), F.normalize(mean, dim=1))


def test_larger_pictures_are_averaged_over_their_places(net):
    """12 pixels give 2 x 2 places for fc6: each is the window of maps that starts there."""
    X = prepared(net, view(pictures(), (12, 12), 12))
    net.eval()
    with torch.no_grad():
        maps = net.features(X)
        places = [maps[:, :, top : top + 2, left : left + 2].flatten(1) for top in (0, 1) for left in (0, 1)]
        mean = sum(net.classifier[:-1](place) for place in places) / 4
    torch.testing.assert_close(features(net, pictures(), scale=12), F.normalize(mean, dim=1))


def test_maps_after_a_block(net):
    X = prepared(net, pictures() / 255)
    net.eval()
    with torch.no_grad():
        maps = net.blocks[0](X).flatten(1)
    torch.testing.assert_close(features(net, pictures(), block=1), F.normalize(maps, dim=1))
    assert features(net, pictures(), block=2).shape == (5, 4 * 2 * 2)


def test_length_batches_and_mode(net):
    found = features(net, pictures(), batch_size=2)
    torch.testing.assert_close(found, features(net, pictures()))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5))
    assert net.training
    assert not found.requires_grad


def test_nonsense_is_refused(net):
    with pytest.raises(ValueError, match="no pictures"):
        features(net, pictures(0))
    with pytest.raises(ValueError, match="below the 8 pixels"):
        features(net, pictures(), scale=7)
    for block in (0, 3, -1):
        with pytest.raises(ValueError, match="blocks 1 to 2"):
            features(net, pictures(), block=block)
    with pytest.raises(ValueError, match="block must be a whole number, got True"):
        features(net, pictures(), block=True)
    with pytest.raises(ValueError, match="at least one picture, got 0"):
        features(net, pictures(), batch_size=0)
    with pytest.raises(ValueError, match="got a Sequential"):
        features(net.features, pictures())


def test_a_vector_of_zeros_has_no_length(net):
    torch.nn.init.zeros_(net.classifier[3].weight)
    torch.nn.init.constant_(net.classifier[3].bias, -1.0)
    with pytest.raises(ValueError, match="all features of picture 0 are 0"):
        features(net, pictures())


def test_all_of_a_wide_picture_is_seen():
    net = initialise(VGG("16 16 | 32 |", 3, 10, 16, hidden=32), "he").eval()
    picture = torch.randint(0, 256, (1, 3, 16, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    other = picture.clone()
    other[..., 36:] = 255 - other[..., 36:]
    assert (features(net, picture) - features(net, other)).abs().max() > 1e-3
