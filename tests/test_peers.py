"""The peers: present and as we know them, or absent with one clear sentence."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import reference
import torch
from torch import nn
from torchvision.transforms.v2 import Compose, Normalize

from vgglib import peers
from vgglib.checkpoint import CheckpointError
from vgglib.data import DataError
from vgglib.evaluation import dense, prepared
from vgglib.model import VGG, fully_convolutional, vgg


@pytest.mark.parametrize(
    "error",
    [ImportError("No module named 'd2l'"), RuntimeError("operator torchvision::nms does not exist"), OSError("x")],
)
@pytest.mark.parametrize("ask", [peers.d2l, lambda: peers.torchvision_vgg("A")], ids=["d2l", "torchvision"])
def test_an_absent_or_broken_peer_is_named_with_the_remedy(monkeypatch, error, ask):
    def broken(name):
        raise error

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(peers.PeerMissing, match=r"cannot be imported .*all else works.*requirements\.txt") as missing:
        ask()
    assert f"{type(error).__name__}: {error}" in str(missing.value)
    assert isinstance(missing.value, ImportError)


def test_a_d2l_with_another_training_loop_is_refused(monkeypatch):
    monkeypatch.setattr(importlib, "import_module", lambda name: type(sys)("d2l.torch"))
    with pytest.raises(peers.PeerMissing, match=r"lacks load_data_fashion_mnist, train_ch6.*d2l==1\.0\.0a1\.post0"):
        peers.d2l()


def test_the_installed_d2l_is_the_one_we_know():
    library = peers.d2l()
    assert all(callable(getattr(library, name)) for name in peers.D2L_NAMES)


@pytest.mark.parametrize("name", reference.TORCHVISION)
def test_torchvisions_names(name):
    configuration, batch_norm, count = reference.TORCHVISION[name]
    with torch.device("meta"):
        net = peers.torchvision_vgg(configuration, batch_norm)
    assert sum(parameter.numel() for parameter in net.parameters()) == count


@pytest.mark.parametrize("name", ["C", "A-LRN", "vgg16"])
def test_what_torchvision_lacks_is_refused(name):
    with pytest.raises(ValueError, match=f"torchvision has no configuration '{name}', only A, B, D, E"):
        peers.torchvision_vgg(name)


def test_torchvisions_weights_depend_on_the_seed_and_leave_the_dice(monkeypatch):
    class Models:
        @staticmethod
        def vgg13_bn(weights, num_classes):
            assert weights is None
            return torch.rand(num_classes)

    monkeypatch.setattr(importlib, "import_module", lambda name: Models)
    dice = torch.get_rng_state()
    one, two, other = (peers.torchvision_vgg("B", True, seed=seed, num_classes=5) for seed in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(dice, torch.get_rng_state())


@pytest.mark.parametrize(("ratio", "count"), [(1, reference.D2L_PARAMETERS), (4, reference.D2L_SMALL_PARAMETERS)])
def test_the_articles_network_has_d2ls_parameters(ratio, count):
    with torch.device("meta"):
        theirs = peers.d2l_network(ratio)
        ours = vgg([(convs, channels // ratio) for convs, channels in reference.CONV_ARCH])
    assert sum(parameter.numel() for parameter in theirs.parameters()) == count
    assert sum(parameter.numel() for parameter in ours.parameters()) == count


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book without data whose folder d2l_folder may stand in."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(peers, "BOOK", tmp_path)
    monkeypatch.setattr(peers, "prepare", lambda root: None)
    monkeypatch.setattr(peers, "check", lambda root: [("labels", True, "verified")])
    return tmp_path


def test_d2l_stands_in_the_notebooks_folder_and_comes_back(book):
    here = os.getcwd()
    with peers.d2l_folder():
        assert Path.cwd() == book / "notebooks"
    assert os.getcwd() == here
    with pytest.raises(KeyError):
        with peers.d2l_folder():
            raise KeyError("inside")
    assert os.getcwd() == here


def test_d2l_gets_no_unverified_data(book, monkeypatch):
    monkeypatch.setattr(peers, "check", lambda root: [("a", True, "verified"), ("b", False, "is damaged")])
    here = os.getcwd()
    with pytest.raises(DataError, match="b: is damaged"):
        with peers.d2l_folder():
            pytest.fail("d2l would have run")
    assert os.getcwd() == here


def test_d2l_trains_by_its_own_loop(book, monkeypatch):
    calls = []

    class Library:
        def load_data_fashion_mnist(self, *arguments):
            calls.append(("load", arguments, Path.cwd().name))
            return "train", "test"

        def try_gpu(self):
            return "device"

        def train_ch6(self, *arguments):
            calls.append(("train", arguments))

        def evaluate_accuracy_gpu(self, *arguments):
            calls.append(("test", arguments))
            return 0.9185

    monkeypatch.setattr(peers, "d2l", Library)
    assert peers.d2l_train("net", 10, 0.05, 128) == 0.9185
    assert calls == [
        ("load", (128, 224), "notebooks"),
        ("train", ("net", "train", "test", 10, 0.05, "device")),
        ("test", ("net", "test", "device")),
    ]


def test_peers_are_imported_when_called_not_before():
    program = "import sys, vgglib.peers; assert not {'torchvision', 'd2l'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], check=True)


# --- weights from outside -----------------------------------------------------------------------------------------


@pytest.fixture
def small_vgg(monkeypatch):
    """Networks of torchvision's layout, small enough to write to disk."""

    class Small(VGG):
        def __init__(self, configuration, **options):
            super().__init__(configuration, image_size=32, width=1 / 32, hidden=6, num_classes=5, **options)

    monkeypatch.setattr(peers, "VGG", Small)
    torch.manual_seed(5)
    return Small("D").eval()


@torch.no_grad()
def test_imagenet_weights_are_found_where_torchvision_keeps_them(small_vgg, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(peers.PeerMissing, match=r"no weights of vgg16 in .*checkpoints; to download.*IMAGENET1K_V1"):
        peers.imagenet_network("D")
    (tmp_path / "checkpoints").mkdir()
    torch.save(small_vgg.state_dict(), tmp_path / "checkpoints" / "vgg16-397923af.pth")
    net = peers.imagenet_network("D")
    assert not net.training
    images = torch.randint(0, 256, (2, 3, 40, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    theirs = Compose([Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])(images / 255)
    whole = fully_convolutional(small_vgg)
    expected = [whole(side).mean(dim=(2, 3)).softmax(dim=1) for side in (theirs, theirs.flip(3))]
    torch.testing.assert_close(dense(net, images, 40, bf16=False), sum(expected) / 2, atol=1e-5, rtol=1e-4)
    other = tmp_path / "other.pth"
    torch.save({**small_vgg.state_dict(), "features.99.weight": torch.zeros(1)}, other)
    with pytest.raises(RuntimeError, match=r"features\.99\.weight"):
        peers.imagenet_network("D", other)
    with pytest.raises(peers.PeerMissing, match="no weights of vgg19"):
        peers.imagenet_network("E")
    with pytest.raises(ValueError, match="no configuration 'C'"):
        peers.imagenet_network("C")


def test_a_file_of_weights_cannot_run_code(small_vgg, tmp_path):
    path = tmp_path / "evil.pth"
    torch.save({"features.0.weight": subprocess.Popen}, path)
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        peers.imagenet_network("D", path)


@pytest.mark.parametrize("fault", ["empty", "cut", "a list", "nan", "text", "a whole network"])
def test_a_bad_file_of_weights_is_named_with_the_remedy(small_vgg, tmp_path, fault):
    path, weights = tmp_path / "vgg16-397923af.pth", small_vgg.state_dict()
    if fault == "nan":
        weights["features.0.bias"][1] = torch.nan
    torch.save({"a list": [1, 2], "a whole network": nn.ReLU()}.get(fault, weights), path)
    content = {"empty": b"", "cut": path.read_bytes()[:5000], "text": b"<html>not found</html>"}
    path.write_bytes(content.get(fault, path.read_bytes()))
    with pytest.raises(CheckpointError) as refused:
        peers.imagenet_network("D", path)
    assert str(refused.value) == f"{path} holds no sound weights only: delete it and download it again"
    said = [refused.value, refused.value.__cause__, refused.value.__cause__.__cause__]
    assert "weights_only" not in " ".join(map(str, said))


@torch.no_grad()
def test_oxfords_weights_get_oxfords_pictures(small_vgg):
    small_vgg.double()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    by_hand = images.flip(1).double() - torch.tensor([103.939, 116.779, 123.68]).double().view(1, 3, 1, 1)
    expected = small_vgg(by_hand)
    net = peers.with_oxford_preprocessing(small_vgg)
    torch.testing.assert_close(net(prepared(net, images.double() / 255)), expected, atol=1e-4, rtol=1e-5)
    with pytest.raises(ValueError, match="three channels, this one 1"):
        peers.with_oxford_preprocessing(type(small_vgg)("D", in_channels=1))


def test_oxfords_weights_are_turned_once(small_vgg):
    peers.with_oxford_preprocessing(small_vgg)
    weight = small_vgg.features[0].weight.clone()
    with pytest.raises(ValueError, match="takes RGB pictures already"):
        peers.with_oxford_preprocessing(small_vgg)
    assert torch.equal(small_vgg.features[0].weight, weight)


def test_oxfords_pictures_are_for_a_vgg_that_is_not_converted(small_vgg):
    weight = small_vgg.features[0].weight.clone()
    for wrong in (fully_convolutional(small_vgg), nn.Linear(3, 2)):
        with pytest.raises(
            ValueError, match=f"expected a vgglib.model.VGG, got a {type(wrong).__name__}: do this first"
        ):
            peers.with_oxford_preprocessing(wrong)
    assert torch.equal(small_vgg.features[0].weight, weight)


def test_a_given_file_of_weights_that_is_not_there(tmp_path):
    with pytest.raises(peers.PeerMissing, match=r"vgg\.pth does not exist$"):
        peers.imagenet_network("D", tmp_path / "vgg.pth")
    with pytest.raises(peers.PeerMissing, match="is a folder, not a file"):
        peers.imagenet_network("D", tmp_path)
