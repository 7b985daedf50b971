"""The networks before VGG: LeNet-5, trained here as the baseline of the book, and AlexNet, for its shape.

Taught in notebooks/01_foundations.ipynb. ``python -m vgglib study lenet`` trains LeNet-5.
"""

import torch
from torch import Tensor, nn

from vgglib.cost import cost
from vgglib.devices import cpu_dice
from vgglib.image_set import ImageSet
from vgglib.sizes import torch_seed
from vgglib.tables import Table
from vgglib.training import Recipe, recipe

# the training of recipe "laptop", for a network without batch normalisation and dropout, at the pictures' own size; the
# weights start as torch draws them, whatever ``initialisation`` says
LENET = recipe(
    "laptop", configuration="LeNet-5", width=1.0, hidden=120, batch_norm=False, dropout=0.0, image_size=28, scale=28,
    bf16=False,
)  # fmt: skip


class LeNet5(nn.Module):
    """LeNet-5 (LeCun et al. 1998) as written today: pictures (N, in_channels, 28, 28) to scores (N, num_classes).

    Padded to the original's 32 pixels; tanh after each layer. Three parts of 1998 are replaced: pooling that learns
    a factor, a second convolution that leaves out some of its connections, and the last layer's distance to ideal
    pictures of the digits.
    """

    takes_prepared = True  # pictures less ``mean``, over ``std``: see vgglib.evaluation.prepared

    def __init__(self, in_channels: int = 1, num_classes: int = 10):
        super().__init__()
        self.in_channels, self.image_size = in_channels, (28, 28)
        self.features = nn.Sequential(
            *[nn.Conv2d(in_channels, 6, kernel_size=5, padding=2), nn.Tanh(), nn.AvgPool2d(2)],
            *[nn.Conv2d(6, 16, kernel_size=5), nn.Tanh(), nn.AvgPool2d(2)],
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * 5 * 5, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, num_classes)
        )
        # what prepared() subtracts and divides by; training sets them, they are no weights
        self.register_buffer("mean", torch.zeros(1, in_channels, 1, 1), persistent=False)
        self.register_buffer("std", torch.ones(1, in_channels, 1, 1), persistent=False)

    def forward(self, X: Tensor) -> Tensor:
        return self.classifier(self.features(X).flatten(start_dim=1))


def build_lenet(recipe: Recipe, train: ImageSet, seed: int = 0) -> LeNet5:
    """Return LeNet-5 for the pictures and classes of ``train``, its weights as torch draws them, from ``seed``.

    Raises ValueError for a recipe that is not LeNet-5's: only ``normalise`` of its fields shapes the network.
    """
    if recipe.configuration != "LeNet-5" or recipe.normalise != "mean and std":
        raise ValueError(f"expected LeNet-5 with 'mean and std', got {recipe.configuration} with {recipe.normalise!r}")
    with cpu_dice(torch_seed(seed)):
        net = LeNet5(train.images.shape[1], len(train.classes))
    mean, std = map(torch.as_tensor, train.mean_and_std())
    net.mean.copy_(mean.view(1, -1, 1, 1))
    net.std.copy_(std.view(1, -1, 1, 1))
    return net


def alexnet() -> nn.Sequential:
    """Return AlexNet (Krizhevsky et al. 2012) for pictures (N, 3, 227, 227): its layers in order, scores (N, 1000).

    groups=2: half of the channels lay on each of two GPUs and met only in some layers. The paper says 224 pixels;
    its maps of 55 x 55 need 227.
    """
    pool, norm = dict(kernel_size=3, stride=2), dict(size=5, alpha=5 * 1e-4, beta=0.75, k=2.0)
    return nn.Sequential(
        *[nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(), nn.LocalResponseNorm(**norm), nn.MaxPool2d(**pool)],
        *[nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), nn.LocalResponseNorm(**norm), nn.MaxPool2d(**pool)],
        *[nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()],
        *[nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()],
        *[nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(**pool)],
        *[nn.Flatten(), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(), nn.Dropout()],
        *[nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 1000)],
    )


def alexnet_table() -> Table:
    """Return AlexNet's layers with weights, a row each: kernels, output for a picture of 227 pixels, parameters, MACs.

    "reads": the channels, or for a fully connected layer the numbers, that one kernel or output reaches through.
    """
    with torch.device("meta"):  # shapes without numbers
        net = alexnet()
    rows = [row for row in cost(net, 227) if row.parameters]
    table = Table([("layer", "reads", "kernel", "stride", "output", "parameters", "MACs")])
    for row, name in zip(rows, ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"], strict=True):
        layer, output = net[int(row.name)], " x ".join(map(str, row.output_shape))
        sizes = [str(getattr(layer, what, ("",))[0]) for what in ("kernel_size", "stride")]
        table.append((name, f"{layer.weight.shape[1]:,}", *sizes, output, f"{row.parameters:,}", f"{row.macs:,}"))
    return table
