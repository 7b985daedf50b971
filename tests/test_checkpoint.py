"""Networks on disk: they come back exactly, damage is named, nothing half-written stays, nothing is unpickled."""

import json
import math
import os
import random
from contextlib import suppress

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from vgglib import checkpoint, durable
from vgglib.checkpoint import CheckpointError, digest, load_network, load_pt, save_network
from vgglib.model import VGG, initialise

ABOUT = {"seed": 3, "test_accuracy": 0.8125, "words": "größer <b>", "list": [1, None, True]}


@pytest.fixture
def net():
    """A network in which every option differs from its default."""
    net = VGG("5 lrn | 7 7/1 | 9", 2, 6, (12, 20), width=0.8, hidden=11, batch_norm=True, dropout=0.25)
    initialise(net, "he", seed=8)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if "running" in name or "bias" in name:
                value.uniform_(0.2, 0.9)
        net.mean.copy_(torch.tensor([0.1, 1 / 3]).view(1, 2, 1, 1))
        net.std.copy_(torch.tensor([0.7, 0.9]).view(1, 2, 1, 1))
    net.train()(torch.rand(3, 2, 12, 20))
    return net


@pytest.fixture
def path(net, tmp_path):
    path = tmp_path / "folder" / "net.safetensors"
    save_network(net, path, ABOUT)
    return path


def test_a_network_comes_back_exactly(net, path):
    found = load_network(path, digest(path))
    assert not found.training
    state = net.state_dict()
    assert found.state_dict().keys() == state.keys()
    for name, value in found.state_dict().items():
        assert value.dtype == state[name].dtype
        assert torch.equal(value, state[name])
    assert torch.equal(found.mean, net.mean)
    assert torch.equal(found.std, net.std)
    assert found.about == ABOUT
    assert (found.configuration, found.width, found.image_size) == ("5 lrn | 7 7/1 | 9", 0.8, (12, 20))
    assert found.classifier[2].p == 0.25
    X = torch.rand(2, 2, 12, 20)
    assert torch.equal(found(X), net.eval()(X))


@pytest.mark.parametrize("batch_norm", [True, False])
def test_batch_normalisation_is_remembered(tmp_path, batch_norm):
    save_network(VGG("5 |", image_size=6, hidden=7, batch_norm=batch_norm), tmp_path / "net")
    found = load_network(tmp_path / "net")
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in found.modules()) == batch_norm
    assert found.about == {}


def test_a_network_laid_out_channels_last_comes_back(net, tmp_path):
    save_network(net.to(memory_format=torch.channels_last), tmp_path / "net")
    assert torch.equal(load_network(tmp_path / "net").features[0].weight, net.features[0].weight)


def test_saving_leaves_the_network_and_names_its_digest(net, tmp_path):
    state = {name: value.clone() for name, value in net.state_dict().items()}
    said = save_network(net, tmp_path / "net")
    assert said == digest(tmp_path / "net")
    assert len(said) == 64
    assert net.training
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())


def test_loading_leaves_the_dice(path):
    dice = torch.get_rng_state()
    load_network(path)
    assert torch.equal(dice, torch.get_rng_state())


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 200, 0.5, -1])
def test_a_truncated_file_is_refused(path, kept):
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(CheckpointError, match=r"net\.safetensors is damaged or no safetensors file"):
        load_network(path)


def test_a_flipped_bit_is_refused_where_the_digest_is_known(path):
    expected, content = digest(path), path.read_bytes()
    for place in random.Random(1).sample(range(len(content)), 12):
        damaged = bytearray(content)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=rf"net\.safetensors is damaged .*expected {expected[:12]}"):
            load_network(path, expected)
    path.write_bytes(content)
    load_network(path, expected)


def test_a_damaged_description_is_refused_by_name_or_harmless(path):
    """Without a digest: whatever the damage to the header, nothing but CheckpointError comes out of it."""
    content, refused = path.read_bytes(), 0
    size = 8 + int.from_bytes(content[:8], "little")
    for place in random.Random(2).sample(range(size), 250):
        damaged = bytearray(content)
        damaged[place] ^= 1 << random.Random(place).randrange(8)
        path.write_bytes(damaged)
        with suppress(CheckpointError):
            load_network(path)
            refused -= 1
        refused += 1
    assert refused > 200


def described(path):
    with safe_open(path, framework="pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize("lost", ["format", "build", "mean", "std", "about"])
def test_a_missing_part_of_the_description_is_refused(path, lost):
    metadata, tensors = described(path)
    del metadata[lost]
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"net\.safetensors"):
        load_network(path)


@pytest.mark.parametrize(
    "change", [{"configuration": "VGG"}, {"hidden": 12}, {"image_size": 12}, {"depth": 5}, {"width": "wide"}]
)
def test_a_description_of_another_network_is_refused(path, change):
    metadata, tensors = described(path)
    metadata["build"] = json.dumps({**json.loads(metadata["build"]), **change})
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"net\.safetensors is damaged: weights and description do not fit"):
        load_network(path)


@pytest.mark.parametrize(
    "about", ["[1, 2]", "3", '{"classes": 5}', '{"classes": ["a", "b"]}', '{"classes": [1, 2, 3, 4]}']
)
def test_what_is_no_description_is_refused(path, about):
    metadata, tensors = described(path)
    metadata["about"] = about
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"net\.safetensors is damaged: weights and description do not fit"):
        load_network(path)


def test_another_kind_of_safetensors_is_refused(tmp_path):
    save_file({"weight": torch.ones(3)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"other\.safetensors was not written by vgglib \(format None\)"):
        load_network(tmp_path / "other.safetensors")


def test_the_saved_state_of_a_run_is_called_one(tmp_path):
    save_file({"x": torch.ones(1)}, tmp_path / "state.safetensors", {"format": "vgglib run 1"})
    with pytest.raises(CheckpointError, match=r"is the saved state of a run, not a network: fit.*resume"):
        load_network(tmp_path / "state.safetensors")


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_refused_by_name(net, tmp_path, bad):
    with torch.no_grad():
        net.classifier[3].weight[2, 5] = bad
    with pytest.raises(ValueError, match=r"classifier\.3\.weight holds numbers that are not finite"):
        save_network(net, tmp_path / "dead.safetensors")
    assert not list(tmp_path.iterdir())
    with pytest.MonkeyPatch.context() as patch:  # as an older version did
        patch.setattr(checkpoint, "not_finite", lambda tensors: None)
        save_network(net, tmp_path / "dead.safetensors")
    with pytest.raises(CheckpointError, match=r"dead\.safetensors: classifier\.3\.weight holds numbers that are not"):
        load_network(tmp_path / "dead.safetensors")


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        load_network(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match=r"is a folder: give a file in it$"):
        load_network(tmp_path)
    (tmp_path / "network.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"is a folder: give a file in it, such as .*network\.safetensors$"):
        load_network(tmp_path)
    with pytest.raises(CheckpointError, match=r"is a folder: give a file in it$"):
        load_pt(tmp_path)


def test_nothing_is_left_where_saving_fails(net, path, monkeypatch):
    before = path.read_bytes()

    def full(_path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "_sync", full)
    with pytest.raises(OSError, match="No space left"):
        save_network(net, path)
    with pytest.raises(OSError, match="No space left"):
        save_network(net, path.with_name("new.safetensors"))
    assert os.listdir(path.parent) == [path.name]
    assert path.read_bytes() == before


def test_saving_over_an_old_network_leaves_one_file(net, path):
    save_network(net, path, {"second": True})
    assert load_network(path).about == {"second": True}
    assert os.listdir(path.parent) == [path.name]


class Payload:
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def bare_pickle(payload, path):
    path.write_bytes(b"cbuiltins\nopen\n(V%s\nVw\ntR." % os.fsencode(payload.path))


@pytest.mark.parametrize("write", [bare_pickle, torch.save])
def test_a_pickle_is_refused_and_does_not_run(tmp_path, write):
    path, trap = tmp_path / "net.safetensors", tmp_path / "it ran"
    write(Payload(trap), path)
    with pytest.raises(CheckpointError, match="damaged or no safetensors file") as refused:
        load_network(path)
    assert not trap.exists()
    assert "weights_only" not in str(refused.value)


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"state_dict": w, "epoch": 3}, lambda w: {"model": w}])
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_of_others_are_loaded(net, tmp_path, wrap, zipped):
    weights = {f"module.{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save(wrap(weights), tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
    found = load_pt(tmp_path / "net.pt")
    assert found.keys() == net.state_dict().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("write", [bare_pickle, torch.save])
def test_a_pickle_of_others_does_not_run(tmp_path, write):
    path, trap = tmp_path / "net.pt", tmp_path / "it ran"
    write(Payload(trap), path)
    with pytest.raises(CheckpointError, match=r"net\.pt (holds more than weights|is damaged)") as refused:
        load_pt(path)
    assert not trap.exists()
    assert refused.value.__context__ is None
    assert "weights_only" not in str(refused.value)


def test_whole_networks_and_other_things_are_refused(net, tmp_path):
    path = tmp_path / "net.pt"
    torch.save(net, path)
    with pytest.raises(CheckpointError, match=r"a whole network.*nothing was run"):
        load_pt(path)
    for other in ([1, 2], {}, {"a": 1}, torch.ones(2)):
        torch.save(other, path)
        with pytest.raises(CheckpointError, match="holds no weights by name"):
            load_pt(path)
    for other, kind in (
        (torch.eye(2).to_sparse(), "'w' is of type Tensor, layout torch.sparse_coo"),
        (3, "'w' is of type int"),
    ):
        torch.save({"v": torch.ones(1), "w": other}, path)
        with pytest.raises(CheckpointError, match=kind):
            load_pt(path)
    torch.save({0: torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="its key 0 is no name"):
        load_pt(path)
    torch.save({"w": torch.tensor([complex(0, math.inf)])}, path)
    with pytest.raises(CheckpointError, match="w holds numbers that are not finite"):
        load_pt(path)
    torch.save({"w": torch.tensor([torch.nan])}, path)
    with pytest.raises(CheckpointError, match=r"net\.pt: w holds numbers that are not finite"):
        load_pt(path)
    torch.save({"w": torch.ones(50)}, path)
    for content in (path.read_bytes()[:-40], b"", b"<html>"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"net\.pt (is damaged|holds more)"):
            load_pt(path)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_pt(tmp_path / "none.pt")


def test_the_same_network_is_the_same_file(tmp_path):
    net = VGG("8 | 16 |", 1, 4, image_size=12, hidden=8)
    digests = {save_network(net, tmp_path / f"{n}.safetensors", {"Größe": "日本", "seed": 0}) for n in range(8)}
    assert len(digests) == 1
    assert load_network(tmp_path / "0.safetensors").about == {"Größe": "日本", "seed": 0}


def test_names_of_classes_travel_with_the_network(net, tmp_path):
    net.classes = ("größer", "b", "c", "d", "e", "f")
    save_network(net, tmp_path / "net.safetensors")
    found = load_network(tmp_path / "net.safetensors")
    assert found.classes == net.classes
    assert found.about == {"classes": list(net.classes)}
    for net.classes in (None, ("of", "another", "layer")):
        save_network(net, tmp_path / "net.safetensors", ABOUT)
        assert load_network(tmp_path / "net.safetensors").classes is None
    before = digest(tmp_path / "net.safetensors")
    for classes in ("abcdef", ["a", "b"], [1, 2, 3, 4, 5, 6]):
        with pytest.raises(ValueError, match="are no names of 6 classes, a string each"):
            save_network(net, tmp_path / "net.safetensors", {"classes": classes})
    assert digest(tmp_path / "net.safetensors") == before


def test_weights_of_others_are_sent_to_load_pt(net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"net\.pth is .*; vgglib\.checkpoint\.load_pt reads weights of others"):
        load_network(tmp_path / "net.pth")


def test_only_our_networks_are_saved(tmp_path):
    with pytest.raises(ValueError, match=r"got a Linear: for others, torch\.save"):
        save_network(torch.nn.Linear(2, 2), tmp_path / "net.safetensors")


def leaky(net):
    net.features[2] = torch.nn.LeakyReLU()


def averaging(net):
    net.features[2] = torch.nn.AvgPool2d(2)


def another_kernel(net):
    net.features[0] = torch.nn.Conv2d(2, 4, 5, padding=2)


def without_bias(net):
    net.features[0].bias = None


def reflecting(net):
    net.features[0].padding_mode = "reflect"


def one_more(net):
    net.features.append(torch.nn.ReLU())


def one_less(net):
    del net.features[-1]


def another_head(net):
    net.classifier = torch.nn.Linear(10, 3)


def another_forward(net):
    net.__class__ = type("Mine", (VGG,), {"forward": lambda self, X: X})


CHANGES = [
    leaky,
    averaging,
    another_kernel,
    without_bias,
    reflecting,
    one_more,
    one_less,
    another_head,
    another_forward,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_network_that_would_come_back_as_another_is_not_saved(tmp_path, change):
    net = VGG("4 | 5", in_channels=2, num_classes=3, image_size=6, hidden=7)
    change(net)
    with pytest.raises(ValueError, match=r"load_network would build another network; torch\.save"):
        save_network(net, tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_what_changes_no_function_is_saved(tmp_path):
    net = VGG("4 | 5 lrn", in_channels=2, num_classes=3, image_size=6, hidden=7)
    for module in net.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    net.features[0].weight.requires_grad_(False)
    net.classifier[-1] = torch.nn.Linear(7, 4)  # other classes: the way to fine-tune
    save_network(net, tmp_path / "net.safetensors")
    X = torch.rand(2, 2, 6, 6)
    assert torch.equal(load_network(tmp_path / "net.safetensors")(X), net.eval()(X))


def test_another_dropout_or_momentum_is_no_network_to_save(tmp_path):
    net = VGG("4 | 5", in_channels=2, num_classes=3, image_size=6, hidden=7, batch_norm=True)
    net.classifier[5].p = 0.1
    with pytest.raises(ValueError, match=r"classifier.5 is Dropout\(p=0.1\), where .* has Dropout\(p=0.5\)"):
        save_network(net, tmp_path / "net.safetensors")
    net.classifier[5].p, net.features[1].momentum = 0.5, 0.3
    with pytest.raises(ValueError, match=r"momentum=0\.3"):
        save_network(net, tmp_path / "net.safetensors")


def test_what_torch_compile_wraps_is_saved(tmp_path):
    net = VGG("4 | 5", in_channels=2, num_classes=3, image_size=6, hidden=7)
    save_network(torch.compile(net), tmp_path / "net.safetensors")
    assert torch.equal(load_network(tmp_path / "net.safetensors").features[0].weight, net.features[0].weight)


def test_a_network_in_double_precision_comes_back_in_it(tmp_path):
    net = VGG("4 | 8 |", 1, 3, 8, width=1.0, hidden=4).double()
    save_network(net, tmp_path / "net.safetensors")
    again = load_network(tmp_path / "net.safetensors")
    assert {one.dtype for one in again.parameters()} == {torch.float64}
    X = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    assert torch.equal(again(X), net.eval()(X))


@pytest.mark.parametrize("name", ["mean", "std"])
def test_statistics_that_no_picture_could_be_prepared_with(name, tmp_path):
    net = VGG("4 | 8 |", 3, 2, 16, hidden=16)
    for wrong in (float("nan"), float("inf"), *([0.0, -1.0] if name == "std" else [])):
        getattr(net, name).fill_(wrong)
        with pytest.raises(ValueError, match=f"the network's {name} is .*: no picture could be prepared with it"):
            save_network(net, tmp_path / "net.safetensors")
    getattr(net, name).fill_(0.5)
    save_network(net, path := tmp_path / "net.safetensors")
    tensors = {key: value.contiguous() for key, value in net.state_dict().items()}
    with safe_open(path, framework="pt") as file:
        described = file.metadata()
    save_file(tensors, path, metadata=described | {name: json.dumps([0.5, float("nan"), 0.5])})
    with pytest.raises(CheckpointError, match=f"the network's {name} is"):
        load_network(path)


def test_a_class_is_named_once(tmp_path):
    net = VGG("4 | 8 |", 3, 2, 16, hidden=16)
    net.classes = ("cat", "cat")
    with pytest.raises(ValueError, match="classes name 'cat' twice"):
        save_network(net, tmp_path / "net.safetensors")


def test_a_forward_of_ones_own_is_not_saved_as_if_it_were_ours(tmp_path):
    for part in ("", "classifier", "features.0"):
        net = VGG("4 | 8 |", 3, 2, 16, hidden=16)
        module = net.get_submodule(part)
        plain = module.forward
        module.forward = lambda X, plain=plain: 3 * plain(X)
        with pytest.raises(ValueError, match=f"{part or 'VGG'} has a forward of its own"):
            save_network(net, tmp_path / "net.safetensors")


def test_flipped_bits_in_weights_of_others_are_seen(net, tmp_path):
    """Torch alone loads them, as other weights."""
    path, dice, seen = tmp_path / "net.pt", random.Random(1), 0
    torch.save(net.state_dict(), path)
    content, expected = path.read_bytes(), load_pt(path)
    for _ in range(100):
        broken = bytearray(content)
        broken[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        path.write_bytes(broken)
        found, seen = {}, seen + 1
        with suppress(CheckpointError):
            found, seen = load_pt(path), seen - 1
        # where nothing was seen, what flipped says nothing, as the date of a part
        assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    assert seen > 80


def test_tensors_without_plain_numbers_are_refused_by_name(tmp_path):
    path = tmp_path / "net.pt"
    for tensor, said in (
        (torch.zeros(2).to(torch.float8_e4m3fn), "'w' is of type Tensor, torch.float8_e4m3fn"),
        (torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8), "'w' is of type Tensor, torch.qint8"),
        (torch.empty(2, device="meta"), "'w' is of type Tensor, on the device meta"),
    ):
        torch.save({"v": torch.ones(1), "w": tensor}, path)
        with pytest.raises(CheckpointError, match=said):
            load_pt(path)


def test_a_name_with_and_without_its_prefix_is_refused(tmp_path):
    torch.save({"module.a": torch.ones(1), "a": torch.zeros(1)}, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"net\.pt holds 'a' and 'module\.a'"):
        load_pt(tmp_path / "net.pt")


@pytest.mark.parametrize(("held", "windows"), [(3, True), (9, True), (1, False)])
def test_a_file_that_is_held_for_a_moment_gets_its_name_on_windows(held, windows, tmp_path, monkeypatch):
    new, old, asked, there = tmp_path / "new", tmp_path / "old", [], os.replace
    new.write_text("1")

    def refuse(*paths):
        asked.append(paths)
        if len(asked) <= held:
            raise PermissionError("another program holds it")
        there(*paths)

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(durable.time, "sleep", lambda seconds: None)
    if held == 3:
        durable.replace(new, old, windows=windows)
        assert old.read_text() == "1"
    else:
        with pytest.raises(PermissionError, match="another program"):
            durable.replace(new, old, windows=windows)
        assert len(asked) == (6 if windows else 1)
