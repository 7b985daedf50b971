"""Convolution, its gradients, cross-entropy and the update rules by hand, as slow as they are clear.

torch does all of this faster and, as the tests show, with the same result. Taught in notebooks/01_foundations.ipynb.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vgglib.sizes import whole

RAVINE = (0.5, 20.0)  # how steep its two sides are: slope per unit of distance, along and across


def output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Return how many places a kernel has along one side of ``size`` pixels.

    padding: pixels added at *each* end. Raises ValueError for a kernel that does not fit even once, for a stride,
    kernel or dilation below 1 or a negative size or padding, and for what is no whole number.
    """
    given = dict(size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    size, kernel, stride, padding, dilation = (whole(value, name) for name, value in given.items())
    if min(kernel, stride, dilation) < 1 or min(size, padding) < 0:
        raise ValueError(
            f"kernel, stride and dilation must be at least 1, size and padding at least 0, got {kernel}, {stride}, "
            f"{dilation}, {size} and {padding}"
        )
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if room < 0:
        raise ValueError(
            f"a kernel that spans {dilation * (kernel - 1) + 1} pixels does not fit into {size} with padding {padding}"
        )
    return room // stride + 1


def window(place: tuple[int, int], kernel: Sequence[int], stride: int = 1, dilation: int = 1) -> tuple:
    """Return the index of the pixels that lie under a kernel (height, width) at a place (row, column) of the map."""
    starts = [stride * step for step in place]
    ends = [start + dilation * (side - 1) + 1 for start, side in zip(starts, kernel, strict=True)]
    return ..., slice(starts[0], ends[0], dilation), slice(starts[1], ends[1], dilation)


def expect_shapes(letters: str, *tensors: Tensor) -> None:
    """Raise ValueError unless tensors have the shapes of ``letters``, a word for each and a letter for each length.

    "ni oi no" stands for (n, i), (o, i) and (n, o): the same letter is the same length. All tensors but those of one
    dimension, such as labels, must have one number format.
    """
    words, shapes = letters.split(), [tuple(tensor.shape) for tensor in tensors]
    lengths = dict(zip("".join(words), sum(shapes, ()), strict=False))  # of each letter, where it stands last
    if shapes != [tuple(map(lengths.get, word)) for word in words]:
        wanted = ", ".join(f"({', '.join(word)})" for word in words)
        raise ValueError(f"the shapes {', '.join(map(str, shapes))} are not of the form {wanted}")
    if len(formats := {str(tensor.dtype) for tensor in tensors if tensor.dim() > 1}) > 1:
        raise ValueError(f"all must have one number format, got {' and '.join(sorted(formats))}")


def correlate(X: Tensor, K: Tensor, stride: int = 1, padding: int = 0, dilation: int = 1) -> Tensor:
    """Return the cross-correlation that torch calls a convolution: (C, H, W) with (O, C, h, w) gives (O, H', W').

    Numbers of different formats are promoted, and whole numbers of 8 bits summed in 64. Raises ValueError for kernels
    that do not reach through all channels, or do not fit, and as output_size does.
    """
    if len(X) != K.shape[1]:
        raise ValueError(f"the kernels reach through {K.shape[1]} channels, the picture has {len(X)}")
    height = output_size(X.shape[1], K.shape[2], stride, padding, dilation)
    width = output_size(X.shape[2], K.shape[3], stride, padding, dilation)
    X = F.pad(X, (padding,) * 4)
    Y = X.new_zeros(len(K), height, width, dtype=(X.sum() + K.sum()).dtype)  # bytes would overflow
    for i in range(height):
        for j in range(width):
            seen = X[window((i, j), K.shape[2:], stride, dilation)]
            Y[:, i, j] = (K * seen.to(Y.dtype)).sum(dim=(1, 2, 3))
    return Y


def linear_gradients(X: Tensor, W: Tensor, G: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of input, weights and biases of a fully connected layer, given that of its output.

    X: input (N, in); W: weights (out, in); G: gradient of the loss by the output (N, out). Raises ValueError for other
    shapes and for different number formats.
    """
    expect_shapes("ni oi no", X, W, G)
    return G @ W, G.T @ X, G.sum(dim=0)


def conv_gradients(
    X: Tensor, K: Tensor, G: Tensor, stride: int = 1, padding: int = 0, dilation: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of input, kernels and biases of a convolution, given that of its output.

    X: input (N, C, H, W); K: kernels (O, C, h, w); G: gradient of the loss by the output (N, O, H', W').
    Raises ValueError for other shapes, also for a gradient that is not as large as the output, and for different
    number formats.
    """
    expect_shapes("nchw ocuv noij", X, K, G)
    places = [output_size(X.shape[d], K.shape[d], stride, padding, dilation) for d in (2, 3)]
    if list(G.shape[2:]) != places:
        raise ValueError(f"the maps of the output are {places}, those of its gradient {list(G.shape[2:])}")
    X = F.pad(X, (padding,) * 4)
    dX, dK = torch.zeros_like(X), torch.zeros_like(K)
    for i, j in itertools.product(*map(range, places)):
        here, g = window((i, j), K.shape[2:], stride, dilation), G[:, :, i, j]
        dK += torch.einsum("no,nchw->ochw", g, X[here])
        dX[here] += torch.einsum("no,ochw->nchw", g, K)
    return F.pad(dX, (-padding,) * 4), dK, G.sum(dim=(0, 2, 3))


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over a batch of minus the logarithm of the right class's posterior, without overflow.

    scores: (N, classes); labels: (N,), int64. Raises ValueError for other shapes, RuntimeError for a label without a
    score.
    """
    expect_shapes("nc n", scores, labels)
    shifted = scores - scores.max(dim=1, keepdim=True).values
    log_sum = shifted.exp().sum(dim=1).log()
    right = shifted.gather(1, labels[:, None])[:, 0]
    return (log_sum - right).mean()


def cross_entropy_gradient(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of the mean cross-entropy by the scores: posteriors less 1 at the right class, over N.

    Takes and raises what cross_entropy does.
    """
    expect_shapes("nc n", scores, labels)
    return (scores.softmax(dim=1) - F.one_hot(labels, scores.shape[1])) / len(labels)


def descend(
    slope: Callable[[Tensor], Tensor],
    start: Tensor,
    rates: Iterable[float],
    momentum: float = 0.0,
    decay: float = 0.0,
    rate_inside: bool = False,
) -> Tensor:
    """Return the path (steps + 1, ...) of gradient descent from ``start``, with one learning rate for each step.

    slope: gives the gradient at a point; decay: weight decay, the L2 multiplier. The velocity sums gradients and the
    rate comes after, as in torch.optim.SGD, or with ``rate_inside`` before, as in Krizhevsky et al. (2012) and Caffe.
    """
    w, v, path = start, torch.zeros_like(start), [start]
    for rate in rates:
        g = slope(w) + decay * w
        v = momentum * v + (rate * g if rate_inside else g)
        w = w - (v if rate_inside else rate * v)
        path.append(w)
    return torch.stack(path)


def ravine(w: Tensor) -> Tensor:
    """Return the height of the ravine at points (..., 2): gentle along the first coordinate, steep along the second."""
    return (w.square() * w.new_tensor(RAVINE)).sum(dim=-1) / 2


def ravine_slope(w: Tensor) -> Tensor:
    """Return the gradient of the ravine's height at points (..., 2)."""
    return w * w.new_tensor(RAVINE)
