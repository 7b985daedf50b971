"""The peers: present and as we know them, or absent with one clear sentence."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import reference
import torch

from vgglib import peers
from vgglib.data import DataError
from vgglib.model import vgg


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
