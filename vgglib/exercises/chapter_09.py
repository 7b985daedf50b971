"""Checks of the exercises in notebooks/09_scaling_out.ipynb."""

from collections.abc import Callable

from vgglib.teaching import Verdict, check_answer, check_function, check_words

PARAMETERS = 138_357_544  # of configuration D
MEGABYTES = 4 * PARAMETERS / 1e6  # of its gradient in float32


def check_shard_sizes(attempt: Callable) -> Verdict:
    """Return the verdict on how many pictures of a batch each device gets, the larger shards first."""
    cases = {
        (256, 4): [64, 64, 64, 64],
        (5, 2): [3, 2],
        (11, 4): [3, 3, 3, 2],
        (23, 5): [5, 5, 5, 4, 4],
        (7, 1): [7],
        (2, 3): [1, 1, 0],
    }
    return check_function(attempt, cases, "shard_sizes")


def check_accumulated(attempt: Callable) -> Verdict:
    """Return the verdict on the gradient of a batch from those of its shards, taken in turns."""
    cases = {
        ((5.0, 7.0), (3, 3)): 6.0,
        ((4.0, 9.0), (2, 3)): 7.0,
        ((8.0, -4.0, 2.5), (5, 3, 2)): 3.3,
        ((2.5,), (7,)): 2.5,
        ((-3.0, 5.0, 4.0, 10.0), (4, 3, 2, 1)): 2.1,
    }
    return check_function(lambda *given: attempt(*map(list, given)), cases, "accumulated")


def check_ring_of_four(answer: object) -> Verdict:
    """Return the verdict on the megabytes that each of four devices in a ring sends."""
    return _check_ring(answer, 4)


def check_ring_of_thousand(answer: object) -> Verdict:
    """Return the verdict on the megabytes that each of a thousand devices in a ring sends."""
    return _check_ring(answer, 1000)


def _check_ring(answer: object, devices: int) -> Verdict:
    """Return the verdict on a device's megabytes, taken to the nearest one."""
    known = {
        2
        * MEGABYTES
        * (devices - 1)
        * devices: "that is far more than all devices send together; each sends n-th parts",
        2 * MEGABYTES * (devices - 1): "a part is one n-th of the gradient, and only a part moves in each step",
        MEGABYTES * (devices - 1) / devices: "that is one round; the sums must also be spread",
        MEGABYTES: "that is the gradient once; it is cut into parts, and there are two rounds",
        2 * MEGABYTES: "nearly: in each round there is one step fewer than there are devices",
        2 * MEGABYTES * (devices - 1) / devices / 4: "a number in float32 takes 4 bytes",
        2 * MEGABYTES * (devices - 1) / devices * 1e6: "that is in bytes; a megabyte has 1,000,000 of them",
        2 * MEGABYTES * (devices - 1) / devices / 1.048576: "that is in MiB; a megabyte has 1,000,000 bytes",
    }
    actual = round(2 * MEGABYTES * (devices - 1) / devices)
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        answer = round(answer) if abs(answer) < 1e15 else answer
    return check_answer(answer, actual, {round(wrong): why for wrong, why in known.items()})


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on why many times the devices and the batch are not simply as many times faster."""
    ideas = {
        "how many steps are left": ("steps", "updates", "iterations"),
        "the learning rate": ("rate", "step size"),
        "what travels between the devices": (
            "travel",
            "send",
            "sent",
            "communicat",
            "bandwidth",
            "exchange",
            "connection",
        ),
    }
    return check_words(answer, ideas)
