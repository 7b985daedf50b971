"""Smaller layers: exact at full size, best among their kind, and equal to what is computed by hand."""

import pytest
import torch
from torch import nn

from vgglib.compress import lighter_head, low_rank, nonzero, pruned, replace_fc6
from vgglib.cost import cost
from vgglib.model import VGG, fully_convolutional
from vgglib.repvgg import with_branches


def layer(inputs=12, outputs=8, bias=True, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64)


def small(**changes):
    return VGG("5 | 7 |", num_classes=3, **(dict(image_size=(16, 24), hidden=9) | changes)).eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inputs", "outputs"), [(12, 8), (8, 12), (7, 7)])
def test_full_rank_changes_nothing(inputs, outputs, bias):
    whole = layer(inputs, outputs, bias)
    X = torch.rand(4, inputs, dtype=torch.float64)
    assert torch.allclose(low_rank(whole, min(inputs, outputs))(X), whole(X), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_low_rank_misses_what_the_theorem_says(rank):
    """The squared error is the sum of the squares of the singular values left out; another layer is worse."""
    whole = layer()
    first, second = low_rank(whole, rank)
    product, weight = (second.weight @ first.weight).detach(), whole.weight.detach()
    left_out = torch.linalg.svdvals(weight)[rank:].square().sum().item()
    error = (product - weight).square().sum().item()
    assert error == pytest.approx(left_out)
    assert torch.linalg.matrix_rank(product) == rank
    assert torch.equal(second.bias, whole.bias)
    assert first.bias is None
    assert (product * 1.01 - weight).square().sum() > error


def test_rank_one_by_hand():
    whole = nn.Linear(2, 3, bias=False, dtype=torch.float64)
    whole.weight.data = torch.tensor([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]], dtype=torch.float64)
    first, second = low_rank(whole, 1)
    assert first.weight.shape == (1, 2)
    assert second.weight.shape == (3, 1)
    assert torch.allclose(second.weight @ first.weight, whole.weight)


@pytest.mark.parametrize("rank", [0, -1, 9])
def test_impossible_ranks_are_refused(rank):
    with pytest.raises(ValueError, match=f"rank of a 8 x 12 weight is 1 to 8, got {rank}"):
        low_rank(layer(), rank)


def test_pruned_by_hand():
    whole = nn.Linear(3, 2)
    whole.weight.data = torch.tensor([[0.1, -0.9, 0.0], [0.5, -0.2, 0.3]])
    before = whole.weight.clone()
    half = pruned(whole, 0.5)
    assert torch.equal(half.weight, torch.tensor([[0.0, -0.9, 0.0], [0.5, 0.0, 0.3]]))
    assert torch.equal(half.bias, whole.bias)
    assert torch.equal(whole.weight, before)
    assert nonzero(half.weight) == 3
    assert torch.equal(pruned(whole, 1).weight, before)
    assert nonzero(pruned(whole, 1e-9).weight) == 1


def test_a_mask_saves_no_byte():
    whole = layer()
    sparse = pruned(whole, 0.1)
    assert sparse.weight.untyped_storage().nbytes() == whole.weight.untyped_storage().nbytes()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.half])
def test_weights_of_16_bits_are_approximated(kind):
    whole = layer().to(kind)
    first, second = low_rank(whole, 8)
    assert first.weight.dtype == second.weight.dtype == second.bias.dtype == kind
    assert torch.allclose((second.weight @ first.weight).float(), whole.weight.float(), atol=0.01)


def test_any_order_in_memory_and_a_convolution_are_pruned():
    flat = layer(4, 6)
    turned = layer(4, 6)
    turned.weight = nn.Parameter(flat.weight.detach().T.contiguous().T)
    assert not turned.weight.is_contiguous()
    assert torch.equal(pruned(turned, 0.3).weight, pruned(flat, 0.3).weight)
    assert nonzero(pruned(nn.Conv2d(3, 4, 3), 0.25).weight) == 27


@pytest.mark.parametrize("keep", [0, -0.5, 1.1])
def test_impossible_shares_are_refused(keep):
    with pytest.raises(ValueError, match=f"above 0 and up to 1, got {keep}"):
        pruned(layer(), keep)


def test_fc6_is_replaced_in_a_copy_only():
    net, X = small(), torch.rand(2, 3, 16, 24)
    before = net(X)
    changed = replace_fc6(net, low_rank(net.classifier[0], 2))
    assert torch.equal(net(X), before)
    assert not torch.allclose(changed(X), before)
    fc6 = net.classifier[0]
    saved = fc6.weight.numel() - 2 * (fc6.in_features + fc6.out_features)
    assert cost(net, (16, 24)).parameters - cost(changed, (16, 24)).parameters == saved
    same = replace_fc6(net, pruned(fc6, 1.0))
    assert torch.equal(same(X), before)
    same.train()
    assert not any(part.training for part in net.modules())
    assert not {*same.parameters()} & {*net.parameters()}


def test_what_fits_no_fc6_is_refused():
    net = small()
    for misfit, said in ((nn.Linear(168, 8), r"\[168, 8\]"), (nn.Linear(9, 9), r"\[9, 9\]"), (nn.ReLU(), "has no")):
        with pytest.raises(ValueError, match=rf"takes and gives \[168, 9\] numbers, the layer in its place {said}"):
            replace_fc6(net, misfit)


@pytest.mark.parametrize("change", [lambda net: lighter_head(net, "linear"), lambda net: replace_fc6(net, layer())])
def test_what_is_no_vgg_is_refused(change):
    for other in (fully_convolutional(small()), nn.Sequential(nn.Linear(2, 2))):
        with pytest.raises(ValueError, match="expected a VGG with its fully connected layers, got a"):
            change(other)


def test_a_lighter_head_stands_on_branches():
    lighter = lighter_head(with_branches(small()), "average")
    assert lighter(torch.rand(2, 3, 16, 24)).shape == (2, 3)


def test_the_average_head_by_hand():
    net, X = small(), torch.rand(2, 3, 16, 24)
    lighter = lighter_head(net, "average", seed=3)
    maps = net.features(X)
    assert maps.shape == (2, 7, 4, 6)
    last = lighter.classifier[0]
    assert torch.allclose(lighter(X), maps.mean(dim=(2, 3)) @ last.weight.T + last.bias, atol=1e-6)
    assert len(lighter.classifier) == 1
    assert cost(lighter, (16, 24)).parameters == cost(net.features, (16, 24)).parameters + (7 + 1) * 3


def test_the_linear_head_by_hand():
    net, X = small(), torch.rand(2, 3, 16, 24)
    lighter = lighter_head(net, "linear")
    last = lighter.classifier[0]
    assert torch.allclose(lighter(X), net.features(X).flatten(1) @ last.weight.T + last.bias, atol=1e-6)
    assert last.weight.shape == (3, 7 * 4 * 6)


def test_a_head_depends_on_its_seed_alone():
    net = small()
    before = torch.get_rng_state()
    one, same, other = (lighter_head(net, "average", seed).classifier[0].weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert len(net.features) == 6
    assert len(net.classifier) == 7
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unknown_head_is_refused():
    with pytest.raises(ValueError, match="must be 'linear' or 'average', got 'none'"):
        lighter_head(small(), "none")


def test_without_fully_connected_layers_d_is_small():
    """15.2 million parameters: the 14,714,688 of the convolutions and one layer from 512 averages to 1000 classes."""
    with torch.device("meta"):
        lighter = lighter_head(VGG("D"), "average")
    table = cost(lighter, 224)
    assert table.parameters == 14_714_688 + 513_000
    assert table.macs == 15_346_630_656 + 512_000
