"""What is written by hand equals torch: values, gradients and paths, on inputs that cannot hide a mistake."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vgglib.foundations import (
    conv_gradients,
    correlate,
    cross_entropy,
    cross_entropy_gradient,
    descend,
    expect_shapes,
    linear_gradients,
    output_size,
    ravine,
    ravine_slope,
    window,
)


def noise(*shape, start=1):
    """Numbers without a pattern, without zeros or ones, the same on every machine."""
    count = torch.Size(shape).numel()
    return torch.sin((start + torch.arange(count, dtype=torch.float64)) ** 2).reshape(shape)


GEOMETRIES = [
    dict(stride=1, padding=0, dilation=1),
    dict(stride=2, padding=1, dilation=1),
    dict(stride=3, padding=2, dilation=2),
    dict(stride=1, padding=3, dilation=2),
    dict(stride=2, padding=0, dilation=3),
]


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_output_size_is_torchs(size, kernel):
    for stride in (1, 2, 3):
        for padding in (0, 1, 2):
            for dilation in (1, 2, 3):
                try:
                    theirs = F.conv1d(
                        torch.zeros(1, 1, size), torch.zeros(1, 1, kernel), None, stride, padding, dilation
                    )
                except RuntimeError:
                    with pytest.raises(ValueError, match="does not fit"):
                        output_size(size, kernel, stride, padding, dilation)
                else:
                    assert output_size(size, kernel, stride, padding, dilation) == theirs.shape[2]


@pytest.mark.parametrize(
    "wrong", [dict(kernel=0), dict(kernel=2, stride=0), dict(kernel=2, padding=-1), dict(size=-3, kernel=2, padding=9)]
)
def test_output_size_refuses_nonsense(wrong):
    with pytest.raises(ValueError, match="must be at least"):
        output_size(**{"size": 7, **wrong})


@pytest.mark.parametrize("wrong", [dict(size=28.5), dict(stride=1.5), dict(size=float("nan")), dict(padding=True)])
def test_output_size_takes_whole_numbers_only(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be a whole number"):
        output_size(**{"size": 28, "kernel": 3, **wrong})
    assert output_size(np.uint8(200), np.uint8(3), padding=np.uint8(100)) == 398


def test_a_window_is_what_lies_under_the_kernel():
    X = torch.arange(35).reshape(5, 7)
    assert X[window((1, 0), (2, 3), stride=2, dilation=2)].tolist() == [[14, 16, 18], [28, 30, 32]]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_correlate_is_torchs_convolution(geometry):
    X, K = noise(3, 11, 13), noise(5, 3, 2, 4, start=1000)
    torch.testing.assert_close(correlate(X, K, **geometry), F.conv2d(X, K, **geometry), rtol=0, atol=1e-12)


def test_correlate_promotes_what_it_is_given():
    """Pictures are uint8: 255 * 3 does not fit into it, nor half of it into any whole number."""
    X = torch.full((1, 3, 3), 255, dtype=torch.uint8)
    for K, expected in ((3, 4 * 255 * 3), (0.5, 4 * 127.5)):
        assert correlate(X, torch.full((1, 1, 2, 2), K)).tolist() == [[[expected] * 2] * 2]
    assert correlate(X, torch.full((1, 1, 2, 2), 3, dtype=torch.uint8)).tolist() == [[[3060] * 2] * 2]
    assert correlate(noise(1, 3, 3).float(), noise(1, 1, 2, 2)).dtype == torch.float64


def test_negative_padding_is_refused():
    with pytest.raises(ValueError, match="padding at least 0"):
        correlate(noise(1, 5, 6), noise(2, 1, 2, 2), padding=-1)
    with pytest.raises(ValueError, match="padding at least 0"):
        conv_gradients(noise(2, 3, 5, 6), noise(4, 3, 2, 2), noise(2, 4, 2, 3), padding=-1)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_correlate_refuses_other_channels(channels):
    with pytest.raises(ValueError, match="reach through"):
        correlate(noise(3, 5, 6), noise(2, channels, 2, 2))


def test_linear_gradients_are_autograds():
    X, W, b = (noise(*shape, start=n).requires_grad_() for n, shape in ((1, (4, 7)), (50, (5, 7)), (99, (5,))))
    G = noise(4, 5, start=200)
    theirs = torch.autograd.grad(F.linear(X, W, b), (X, W, b), G)
    for ours, expected in zip(linear_gradients(X.detach(), W.detach(), G), theirs, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_conv_gradients_are_autograds(geometry):
    X, K, b = noise(2, 3, 9, 11), noise(4, 3, 2, 4, start=700), noise(4, start=900)
    X, K, b = (tensor.requires_grad_() for tensor in (X, K, b))
    Y = F.conv2d(X, K, b, **geometry)
    G = noise(*Y.shape, start=2000)
    theirs = torch.autograd.grad(Y, (X, K, b), G)
    for ours, expected in zip(conv_gradients(X.detach(), K.detach(), G, **geometry), theirs, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [(2, 4, 7, 8), (2, 4, 9, 8)])
def test_conv_gradients_refuse_a_gradient_of_another_size(shape):
    with pytest.raises(ValueError, match="its gradient"):
        conv_gradients(noise(2, 3, 9, 11), noise(4, 3, 2, 4), noise(*shape))


X, K, G, W, scores = noise(2, 3, 9, 11), noise(4, 3, 2, 4), noise(2, 4, 8, 8), noise(5, 7), noise(3, 4)
MISFITS = {
    "maps of another layer": lambda: conv_gradients(X, K, G[:, :1]),
    "pictures of another batch": lambda: conv_gradients(X[:1], K, G),
    "channels": lambda: conv_gradients(X[:, :2], K, G),
    "one picture": lambda: conv_gradients(X[0], K, G),
    "weights": lambda: linear_gradients(noise(4, 6), W, noise(4, 5)),
    "batch": lambda: linear_gradients(noise(3, 7), W, noise(4, 5)),
    "labels": lambda: cross_entropy(scores, torch.tensor([1])),
    "labels of a gradient": lambda: cross_entropy_gradient(scores, torch.tensor([1])),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_shapes_that_do_not_fit_are_refused(misfit):
    with pytest.raises(ValueError, match=r"the shapes \(.*\) are not of the form \(n"):
        MISFITS[misfit]()


def test_shapes_are_named_by_letters():
    expect_shapes("ni oi no n", noise(4, 7), noise(5, 7), noise(4, 5), torch.arange(4))
    with pytest.raises(ValueError, match=r"\(2, 3\), \(3, 2\) are not of the form \(a, b\), \(a, b\)"):
        expect_shapes("ab ab", noise(2, 3), noise(3, 2))
    with pytest.raises(ValueError, match=r"one number format, got torch\.float32 and torch\.float64"):
        conv_gradients(X, K.float(), G)


def test_cross_entropy_and_its_gradient_are_torchs():
    scores, labels = (7 * noise(5, 3)).requires_grad_(), torch.tensor([2, 0, 1, 1, 2])
    theirs = F.cross_entropy(scores, labels)
    assert abs(cross_entropy(scores, labels) - theirs) < 1e-12
    (expected,) = torch.autograd.grad(theirs, scores)
    torch.testing.assert_close(cross_entropy_gradient(scores.detach(), labels), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scores", [[[1000.0, 0.0]], [[-1000.0, 0.0]], [[0.0, 3e38]]])
def test_cross_entropy_survives_large_scores(scores):
    for label in (0, 1):
        given, labels = torch.tensor(scores), torch.tensor([label])
        assert cross_entropy(given, labels) == F.cross_entropy(given, labels)


@pytest.mark.parametrize("label", [-1, 3])
def test_cross_entropy_refuses_a_label_without_score(label):
    with pytest.raises(RuntimeError):
        cross_entropy(noise(1, 3), torch.tensor([label]))


def torchs_path(rates, momentum, decay):
    w = torch.tensor([-8.0, 0.7], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([w], lr=rates[0], momentum=momentum, weight_decay=decay)
    path = [w.detach().clone()]
    for rate in rates:
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        ravine(w).backward()
        optimiser.step()
        path.append(w.detach().clone())
    return torch.stack(path)


STEADY, DROPPING = [0.03] * 100, [0.03] * 50 + [0.003] * 50


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.02])
@pytest.mark.parametrize("rates", [STEADY, DROPPING], ids=["steady", "dropping"])
def test_descend_is_torchs_sgd_over_a_hundred_steps(momentum, decay, rates):
    start = torch.tensor([-8.0, 0.7], dtype=torch.float64)
    ours = descend(ravine_slope, start, rates, momentum, decay)
    torch.testing.assert_close(ours, torchs_path(rates, momentum, decay), rtol=0, atol=1e-12)


def test_the_rate_inside_differs_only_once_the_rate_changes():
    start = torch.tensor([-8.0, 0.7], dtype=torch.float64)
    for rates, same in ((STEADY, 101), (DROPPING, 51)):
        outside, inside = (descend(ravine_slope, start, rates, 0.9, 0.02, rate_inside=r) for r in (False, True))
        torch.testing.assert_close(inside[:same], outside[:same], rtol=0, atol=1e-12)
        assert same == 101 or (inside[same] - outside[same]).abs().max() > 1e-3
    plain = [descend(ravine_slope, start, DROPPING, 0.0, 0.02, rate_inside=r) for r in (False, True)]
    torch.testing.assert_close(*plain, rtol=0, atol=1e-12)  # without momentum nothing is remembered


def test_the_ravines_slope_is_its_gradient():
    w = noise(4, 2).requires_grad_()
    (expected,) = torch.autograd.grad(ravine(w).sum(), w)
    torch.testing.assert_close(ravine_slope(w.detach()), expected)


def test_where_the_ravine_is_left_lowest_is_what_chapter_01_says():
    start = torch.tensor([-8.0, 1.0], dtype=torch.float64)
    rates, momenta = (0.01, 0.02, 0.05, 0.09, 0.1, 0.11, 0.13, 0.15, 0.18), (0.0, 0.5, 0.6, 0.8, 0.9, 0.99)
    ends = {(r, m): ravine(descend(ravine_slope, start, [r] * 40, m)[-1]).item() for r in rates for m in momenta}
    assert min(ends, key=ends.get) == (0.11, 0.6)
    assert ends[0.09, 0.0] < ravine(start) <= ends[0.11, 0.0]
