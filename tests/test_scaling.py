"""Scaling out as arithmetic: means of shards, the ring against plain sums, step times against the paper."""

import itertools
import math
import random
import re

import pytest
import torch
from torch import nn

from vgglib import figures, scaling
from vgglib.scaling import averaged, bandwidth, ring_all_reduce, speed_up, step_seconds, traffic

D = 138_357_544
ABOUT = dict(batch=256, parameters=D, images_per_second=16.7)


@pytest.mark.parametrize("counts", [(7,), (3, 4), (1, 1, 5), (2, 0, 3)])
def test_averaged_is_the_mean_over_all(counts):
    rng = random.Random(sum(counts))
    shards = [[rng.uniform(-9, 9) for _ in range(count)] for count in counts]
    means = [sum(shard) / len(shard) if shard else 123.0 for shard in shards]
    everything = [value for shard in shards for value in shard]
    assert averaged(means, counts) == pytest.approx(sum(everything) / len(everything))


def test_averaged_gives_the_gradient_of_the_batch():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    X, y = torch.randn(9, 5, dtype=torch.float64), torch.arange(9) % 3

    def gradient(part):
        net.zero_grad()
        nn.functional.cross_entropy(net(X[part]), y[part]).backward()
        return torch.cat([p.grad.flatten() for p in net.parameters()])

    parts = [slice(0, 2), slice(2, 3), slice(3, 9)]
    assert torch.allclose(averaged([gradient(p) for p in parts], (2, 1, 6)), gradient(slice(None)), atol=1e-15)


def test_averaged_wants_a_count_for_each():
    with pytest.raises(ValueError, match="zip"):
        averaged([1.0, 2.0], [3])


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("length", [1, 4, 7, 24])
def test_the_ring_sums_and_counts(n, length):
    rng = random.Random(100 * n + length)
    vectors = [[rng.randrange(-99, 99) for _ in range(length)] for _ in range(n)]
    before = [list(vector) for vector in vectors]
    held, sent = ring_all_reduce(vectors)
    assert held == [[sum(column) for column in zip(*vectors, strict=True)]] * n
    assert vectors == before, "the reader's vectors are left alone"
    assert sum(sent) == 2 * (n - 1) * length
    if length % n == 0:
        assert sent == [2 * (n - 1) * length // n] * n


@pytest.mark.parametrize(
    ("devices", "pattern", "times"), [(1, "ring", 0), (4, "ring", 1.5), (4, "star", 6), (1000, "ring", 1.998)]
)
def test_traffic(devices, pattern, times):
    assert traffic(devices, D, pattern) == pytest.approx(times * 4 * D)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_rings_steps_are_those_of_the_sums(n):
    held = scaling.ring_steps(n)
    assert len(held) == 2 * n - 1
    everybody = set(range(1, n + 1))
    assert held[-1] == [[everybody] * n] * n
    if n > 1:
        assert held[0] == [[{device + 1}] * n for device in range(n)]
        finished = [sum(part == everybody for parts in step for part in parts) for step in held]
        assert finished == [0] * (n - 1) + [n * step for step in range(1, n + 1)]
    for before, after in itertools.pairwise(held):
        changed = [(d, p) for d in range(n) for p in range(n) if before[d][p] != after[d][p]]
        assert sorted(device for device, _ in changed) == list(range(n)), "each device takes in one part"
        assert all(after[d][p] == before[d][p] | before[d - 1][p] for d, p in changed)


@pytest.mark.parametrize("wrong", [1, 6])
def test_rings_that_cannot_be_drawn(wrong):
    with pytest.raises(ValueError, match="take 2 to 5 devices"):
        figures.ring(wrong)


def test_the_ring_is_drawn_as_it_runs():
    figure = figures.ring(3)
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert texts[0] == ["1"] * 3 + ["2"] * 3 + ["3"] * 3
    assert [step.count("all") for step in texts] == [0, 0, 3, 6, 9]
    assert "0, 0, 3, 6, 9 of 9" in figure.text_alternative
    rounds = ["start", *["reduce-scatter"] * 2, *["all-gather"] * 2]
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == rounds
    framed = [sum(patch.get_linewidth() > 2 for patch in axes.patches) for axes in figure.axes]
    assert framed == [0, 3, 3, 3, 3]
    arrows = [
        sum(text.arrow_patch is not None for text in axes.texts if hasattr(text, "arrow_patch")) for axes in figure.axes
    ]
    assert arrows == framed


def test_traffic_of_the_ring_is_what_the_ring_sends():
    _, sent = ring_all_reduce([[0.0] * 60] * 5)
    assert traffic(5, 60) == 4 * max(sent)


def test_a_step_by_hand():
    # 10 pictures on 4 devices: the largest shard has 3; 1,000 parameters in a star: 6 x 4,000 bytes
    by_hand = 3 / 2 + 24_000 / 48_000
    assert step_seconds(4, 10, 1000, 2, 48_000, pattern="star") == by_hand
    assert step_seconds(4, 10, 1000, 2, 48_000, pattern="star", hidden=0.2) == pytest.approx(by_hand - 0.3)
    assert step_seconds(4, 10, 1000, 2, 48_000, pattern="star", hidden=1) == 1.5
    assert step_seconds(1, 10, 1000, 2, 1) == 5


@pytest.mark.parametrize("pattern", scaling.PATTERNS)
@pytest.mark.parametrize("weeks", [2, 2.5, 3])
def test_the_papers_speed_up_on_four_gpus(pattern, weeks):
    """3.75 on 4 (section 3.3), from 2 to 3 weeks for 370,000 steps."""
    rate = 256 / (3.75 * weeks * 7 * 86_400 / 370_000)
    speed = bandwidth(3.75, 4, 256, D, rate, pattern=pattern)
    assert 2e9 < speed < 17e9
    assert speed_up(4, 256, parameters=D, images_per_second=rate, bytes_per_second=speed, pattern=pattern) == (
        pytest.approx(3.75)
    )


def test_the_ring_is_amdahls_law():
    """Its talk grows as (n - 1) / n, so it limits like a serial share of the work."""
    about = dict(ABOUT, bytes_per_second=3.25e9)
    alone = step_seconds(1, **about)
    share = 2 * 4 * D / 3.25e9 / alone
    for devices in (2, 4, 8, 64):
        assert speed_up(devices, **about) == pytest.approx(1 / (share + (1 - share) / devices), rel=0.02)


def test_the_star_has_a_best_number_and_shards_of_one_size_scale():
    star = [speed_up(2**n, **ABOUT, pattern="star", bytes_per_second=13e9) for n in range(11)]
    best = star.index(max(star))
    assert 0 < best < 10
    assert star[-1] < 1
    kept = [speed_up(2**n, 64, True, parameters=D, images_per_second=16.7, bytes_per_second=3.25e9) for n in range(11)]
    assert all(later > 1.8 * earlier for earlier, later in itertools.pairwise(kept))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (dict(batch=0), "batch"),
        (dict(images_per_second=-1), "images_per_second"),
        (dict(bytes_per_second=0), "bytes_per_second"),
        (dict(parameters=float("nan")), "parameters"),
        (dict(hidden=1.5), "hidden"),
        (dict(pattern="tree"), "ring, star"),
        (dict(devices=0), "devices"),
    ],
)
def test_nonsense_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        step_seconds(**{**ABOUT, "devices": 4, "bytes_per_second": 1e9, **wrong})


@pytest.mark.parametrize("measured", [1.0, 4.0, 5.0, float("nan")])
def test_no_connection_gives_such_a_speed_up(measured):
    with pytest.raises(ValueError, match="4 devices"):
        bandwidth(measured, 4, **ABOUT)


def test_figures_say_what_they_show():
    said = figures.speed_ups(gigabytes_per_second=3.25).text_alternative
    ring = speed_up(1024, **ABOUT, bytes_per_second=3.25e9)
    assert re.search(rf"ring .*, {ring:.1f} at 1,024; star", said)
    with pytest.raises(ValueError, match="at most three"):
        figures.doublings({name: [1, 2] for name in "abcd"}, "speed-up")


@pytest.mark.parametrize("per_device", [False, True])
@pytest.mark.parametrize("gigabytes", [1, 450])
@pytest.mark.parametrize("hidden", [0.0, 0.6])
def test_every_corner_draws(per_device, gigabytes, hidden):
    figure = figures.speed_ups(6_624_904, 32, per_device, 4000, gigabytes, hidden)
    assert figure._repr_mimebundle_()[0]["image/png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("measured", [2.5, 3, 3.9])
def test_no_connection_makes_up_for_uneven_shards(measured):
    """Five pictures on four devices: two for the busiest, 2.5 times at most."""
    with pytest.raises(ValueError, match=r"less than 2\.5 times, got"):
        bandwidth(measured, 4, 5, 1000, 10.0)
    assert bandwidth(2.4, 4, 5, 1000, 10.0) > 0


@pytest.mark.parametrize("wrong", [dict(devices=-5), dict(devices=2.5), dict(devices=math.nan), dict(parameters=-1)])
def test_traffic_of_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        traffic(**{"devices": 4, "parameters": 1000, **wrong})


@pytest.mark.parametrize("wrong", [dict(batch=2.5), dict(images_per_second=math.inf), dict(bytes_per_second=math.nan)])
def test_steps_of_what_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        step_seconds(**{**ABOUT, "devices": 4, "bytes_per_second": 1e9, **wrong})
