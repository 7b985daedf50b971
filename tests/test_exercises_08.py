"""Chapter 08's checks: content with the solution, patient with the stub, and not to be fooled by named mistakes."""

import math

import pytest
import torch

from vgglib.compress import lighter_head
from vgglib.exercises import chapter_08 as check
from vgglib.memory import memory
from vgglib.model import VGG


def largest_rank(inputs, outputs):
    """The solution."""
    return (inputs * outputs - 1) // (inputs + outputs)


def prune(weight, keep):
    """The solution."""
    count = round(keep * weight.numel())
    threshold = weight.abs().flatten().sort(descending=True).values[count - 1]
    return weight * (weight.abs() >= threshold)


def by_value(weight, keep):
    threshold = weight.flatten().sort(descending=True).values[round(keep * weight.numel()) - 1]
    return weight * (weight >= threshold)


def nth(values, keep):
    return values.flatten().sort(descending=True).values[round(keep * values.numel()) - 1]


def in_place(weight, keep):
    return weight.copy_(prune(weight, keep))


ALWAYS = torch.Generator().manual_seed(0)
WRONG_RANKS = {
    "equal is not fewer": lambda inputs, outputs: inputs * outputs // (inputs + outputs),
    "half of the smaller side": lambda inputs, outputs: min(inputs, outputs) // 2,
    "the smaller side": lambda inputs, outputs: min(inputs, outputs),
    "square root": lambda inputs, outputs: int((inputs * outputs) ** 0.5),
    "rounded up": lambda inputs, outputs: -(-inputs * outputs // (inputs + outputs)),
    "rounded": lambda inputs, outputs: round(inputs * outputs / (inputs + outputs)),
    "not a whole number": lambda inputs, outputs: inputs * outputs / (inputs + outputs),
    "one less than the floor": lambda inputs, outputs: inputs * outputs // (inputs + outputs) - 1,
    "at least one": lambda inputs, outputs: max(1, (inputs * outputs - 1) // (inputs + outputs)),
    "only one of the two layers": lambda inputs, outputs: outputs - 1,
}
NAMED_RANKS = {
    "equal is not fewer": "exactly as many",
    "half of the smaller side": "half of the smaller side is not the border",
    "the smaller side": "that is the full rank",
    "rounded": "rounds to the nearest",
    "rounded up": "rounds up",
    "not a whole number": "a rank is a whole number",
    "one less than the floor": "one more still is fewer",
    "at least one": "where rank 1 saves nothing, 0 is asked",
}
WRONG_PRUNES = {
    "by value, not by size": by_value,
    "threshold by size, compared with the sign": lambda weight, keep: weight * (weight >= nth(weight.abs(), keep)),
    "threshold with the sign, compared by size": lambda weight, keep: weight * (weight.abs() >= nth(weight, keep)),
    "sorted with the smallest first": lambda weight, keep: (
        weight * (weight.abs() >= weight.abs().flatten().sort().values[round(keep * weight.numel()) - 1])
    ),
    "sorted with the smallest first, by value": lambda weight, keep: (
        weight * (weight >= weight.flatten().sort().values[round(keep * weight.numel()) - 1])
    ),
    "the share that goes": lambda weight, keep: prune(weight, 1 - keep),
    "the sign is lost": lambda weight, keep: prune(weight, keep).abs(),
    "the smallest are kept": lambda weight, keep: weight - prune(weight, 1 - keep) if keep < 1 else weight,
    "what should stay goes": lambda weight, keep: weight - prune(weight, keep),
    "the share of the largest, not of the count": lambda weight, keep: (
        weight * (weight.abs() >= keep * weight.abs().max())
    ),
    "row by row": lambda weight, keep: torch.stack([prune(row, keep) for row in weight]),
    "column by column": lambda weight, keep: torch.stack([prune(column, keep) for column in weight.T], dim=1),
    "one too few": lambda weight, keep: weight * (weight.abs() > nth(weight.abs(), keep)),
    "only the mask": lambda weight, keep: prune(weight, keep) != 0,
    "only what is left": lambda weight, keep: prune(weight, keep)[prune(weight, keep) != 0],
    "writes over its input": in_place,
    "nothing happens": lambda weight, keep: weight,
    "no numbers": lambda weight, keep: torch.empty(weight.shape, device="meta"),
    "a sparse format": lambda weight, keep: prune(weight, keep).to_sparse(),
    "a sparse format, and by value": lambda weight, keep: by_value(weight, keep).to_sparse(),
    "at random": lambda weight, keep: weight * (torch.rand(weight.shape, generator=ALWAYS) < keep),
}
NAMED_PRUNES = {
    "by value, not by size": "negative weights vanish: compare sizes",
    "threshold by size, compared with the sign": "one line still compares with the sign",
    "threshold with the sign, compared by size": "one line still compares with the sign",
    "sorted with the smallest first": "sort puts the smallest first",
    "sorted with the smallest first, by value": "sort puts the smallest first",
    "the share that goes": "not the share that goes",
    "the sign is lost": "the sign is lost",
    "the smallest are kept": "the smallest are kept, not the largest",
    "what should stay goes": "what should go stays",
    "the share of the largest, not of the count": "a share of the weights is asked",
    "row by row": "each row keeps its own share",
    "column by column": "each column keeps its own share",
    "one too few": ">= keeps it",
    "only the mask": "that is which weights stay",
    "only what is left": "the shape stays",
    "writes over its input": "writes over the weight",
    "nothing happens": "nothing is set to zero",
    "a sparse format": "in a sparse format: give a plain matrix",
    "a sparse format, and by value": "negative weights vanish: compare sizes",
}


def double_loop(weight, keep):
    rows, cols = weight.shape
    sizes = sorted((abs(weight[r, c]) for r in range(rows) for c in range(cols)), reverse=True)
    least = sizes[round(keep * rows * cols) - 1]
    return [[weight[r, c] if abs(weight[r, c]) >= least else 0.0 for c in range(cols)] for r in range(rows)]


def filled(weight, keep):
    rows, cols = weight.shape
    pruned = torch.zeros(rows, cols)
    for place in weight.abs().flatten().topk(round(keep * rows * cols)).indices.tolist():
        pruned[place // cols, place % cols] = weight[place // cols, place % cols]
    return pruned


RIGHT_PRUNES = {
    "the solution": prune,
    "two loops, lists": double_loop,
    "two loops, a tensor": filled,
    "a list of rows": lambda weight, keep: list(prune(weight, keep)),
    "a quantile": lambda weight, keep: weight * (weight.abs() >= weight.abs().quantile(1 - keep)),
    "torch.where": lambda weight, keep: torch.where(weight.abs() >= nth(weight.abs(), keep), weight, 0.0),
    "numpy": lambda weight, keep: prune(weight, keep).numpy(),
    "a parameter": lambda weight, keep: torch.nn.Parameter(prune(weight, keep)),
}


@pytest.mark.parametrize("right", RIGHT_PRUNES)
def test_prune_accepts(right):
    assert check.check_prune(RIGHT_PRUNES[right]).status == "passed"


def test_a_random_mask_gets_no_cause():
    for seed in range(20):
        ALWAYS.manual_seed(seed)
        verdict = check.check_prune(WRONG_PRUNES["at random"])
        assert verdict.status == "failed"
        assert not any(what in verdict.text for what in NAMED_PRUNES.values())


def test_solutions_pass():
    assert check.check_largest_rank(largest_rank).status == "passed"
    assert check.check_prune(prune).status == "passed"
    assert check.check_step_memory(3 * 4 * 15.2 + 32 * 73.1).status == "passed"
    assert check.check_step_memory(3 * 4 * 15.227688 + 32 * 73.062312).status == "passed"  # before rounding
    assert check.check_step_memory(2522).status == "passed"
    assert check.check_step_memory(2520).status == "passed"  # rounded to the digits that are given
    assert check.check_step_memory(torch.tensor(2521.6)).status == "passed"
    assert check.check_step_memory(float("nan")).status == check.check_step_memory(2525).status == "failed"
    assert check.check_largest_batch(int((6000 - 3 * 4 * 15.2) // 73.1)).status == "passed"
    assert check.check_largest_batch(79).status == "passed"


def test_rounded_and_exact_numbers_give_the_same_batch():
    """And with one, two, three or four numbers for each parameter four different ones."""
    with torch.device("meta"):
        net = lighter_head(VGG("D"), "average")
    millions = sum(parameter.numel() for parameter in net.parameters()) / 1e6
    kept = (memory(net, 2).activations - memory(net, 1).activations) / 1e6
    assert (round(millions, 1), round(kept, 1)) == (check.MILLIONS, check.KEPT)
    for one, each in ((millions, kept), (check.MILLIONS, check.KEPT)):
        assert [(check.CAPACITY - numbers * 4 * one) // each for numbers in (1, 2, 3, 4)] == [81, 80, 79, 78]
    assert memory(net, 79).total < check.CAPACITY * 1e6 < memory(net, 80).total


@pytest.mark.parametrize("checked", [check.check_largest_rank, check.check_prune])
@pytest.mark.parametrize("stub", [lambda *arguments: ..., lambda *arguments: None])
def test_functions_wait(checked, stub):
    assert checked(stub).status == "todo"


@pytest.mark.parametrize("mistake", WRONG_RANKS)
def test_largest_rank_rejects(mistake):
    verdict = check.check_largest_rank(WRONG_RANKS[mistake])
    assert verdict.status == "failed"
    assert "largest_rank(" in verdict.text


@pytest.mark.parametrize("mistake", WRONG_PRUNES)
def test_prune_rejects(mistake):
    verdict = check.check_prune(WRONG_PRUNES[mistake])
    assert verdict.status == "failed"
    assert "prune(" in verdict.text


def test_answers_wait():
    for checked in (check.check_step_memory, check.check_largest_batch, check.check_explanation):
        assert checked(...).status == "todo"


MISTAKES = [
    (check.check_step_memory, 3 * 15.2 + 32 * 73.1, "four bytes"),
    (check.check_step_memory, 15.2 + 32 * 73.1, "four bytes, and parameters"),
    (check.check_step_memory, 4 * 15.2 + 32 * 73.1, "a gradient and a velocity"),
    (check.check_step_memory, 4 * 15.227688 + 32 * 73.062312, "a gradient and a velocity"),
    (check.check_step_memory, 2 * 4 * 15.2 + 32 * 73.1, "one is missing"),
    (check.check_step_memory, 4 * 4 * 15.2 + 32 * 73.1, "Adam"),
    (check.check_step_memory, 3 * 8 * 15.2 + 32 * 73.1, "not eight"),
    (check.check_step_memory, 3 * 4 * 15.2 + 73.1, "each of the 32 pictures"),
    (check.check_step_memory, 32 * (3 * 4 * 15.2 + 73.1), "held once"),
    (check.check_step_memory, 3 * 4 * 15.2 + 2 * 32 * 73.1, "not doubled"),
    (check.check_step_memory, 32 * 73.1, "activations alone"),
    (check.check_step_memory, 3 * 4 * 15.2, "gradients and velocities alone"),
    (check.check_step_memory, 3 * 4 * 138.4 + 32 * 73.1, "D's parameters"),
    (check.check_step_memory, (3 * 4 * 15.2 + 32 * 73.1) / 1.048576, "not 2**20"),
    (check.check_step_memory, 12, "not it"),
    (check.check_step_memory, "2521", "not it"),
    (check.check_largest_batch, 6000 // 73.1, "need their place"),
    (check.check_largest_batch, (6000 - 4 * 15.2) // 73.1, "too few bytes"),
    (check.check_largest_batch, (6000 - 3 * 15.2) // 73.1, "too few bytes"),
    (check.check_largest_batch, (6000 - 2 * 4 * 15.2) // 73.1, "the velocity"),
    (check.check_largest_batch, (6000 - 4 * 4 * 15.2) // 73.1, "Adam"),
    (check.check_largest_batch, (6000 - 4 * 4 * 15.227688) // 73.062312, "Adam"),
    (check.check_largest_batch, 80, "round down"),
    (check.check_largest_batch, 32 * 6000 // 2521.6, "grows with the batch"),
    (check.check_largest_batch, (6000 * 1.048576 - 3 * 4 * 15.2) // 73.1, "not 2**20"),
    (check.check_largest_batch, (6000 - 3 * 4 * 138.4) // 73.1, "D's parameters"),
    (check.check_largest_batch, 6000 // (3 * 4 * 15.2 + 73.1), "held once"),
    (check.check_largest_batch, (6000 - 32 * 3 * 4 * 15.2) // 73.1, "held once"),
    (check.check_largest_batch, (6000 - 3 * 4 * 15.2) // (2 * 73.1), "not doubled"),
    (check.check_largest_batch, 79.58, "a whole number"),
    (check.check_largest_batch, 6000 / 73.1, "need their place"),
    (check.check_largest_batch, float("inf"), "a whole number"),
]


@pytest.mark.parametrize(("checked", "wrong", "why"), MISTAKES)
def test_numbers_reject_with_the_reason(checked, wrong, why):
    verdict = checked(wrong)
    assert verdict.status == "failed"
    assert why in verdict.text


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("It is not, because a mask is only a mask and no more", "what is stored"),
        ("The zeros are still stored in memory, so nothing is saved by them at all", "what is computed"),
        ("The zeros are stored and multiplied like any other number in the layer", "what would help"),
    ],
)
def test_explanation_names_what_is_missing(said, what):
    verdict = check.check_explanation(said)
    assert verdict.status == "failed"
    assert what in verdict.text


@pytest.mark.parametrize(
    "said",
    [
        "Zeros are stored and multiplied like other numbers; a sparse format, or a low rank, would save something.",
        "Each zero occupies its 32 bits and costs its multiplication. One would have to delete whole neurons.",
        "The same storage and the same FLOPs: cut out entire columns of the matrix, then it is smaller.",
        "All entries are kept in RAM and the GPU does every operation. Write the layer as two smaller matrices.",
        "The matrix has the same shape and dtype, so nothing shrinks and every zero is still multiplied. Low rank "
        "helps.",
        "My friend is not right: all floats remain, and each is multiplied. A low rank matrix is smaller.",
        "It is not smaller, for zeros are stored, and it is neither smaller nor faster in the product. Remove rows.",
        "The friend says it is smaller, but zeros take the same memory and time; if zeros are skipped by a sparse "
        "format it is smaller.",
        "It is no smaller and no faster: the zeros remain in memory and are multiplied. Two thin layers would help.",
        "Zeros are not skipped: they are stored and multiplied. Only a sparse format leaves them out.",
        "With the mask it has the same number of bytes and the same number of FLOPs. You would need SVD.",
        "Zeros take up the same room and the same multiplications. Truncated SVD would reduce both.",
        "The zeros are saved like every other value and multiplied, too. Save only nonzero values with their indices "
        "and use a kernel that knows of them.",
        "In the matrix each zero is a number like any other, and it's multiplied like any other. Fewer numbers: two "
        "thin layers.",
        "Zeros take no less memory than other numbers and no less time. Two thin layers of rank 128 would do.",
        "It does not take one twentieth of the memory: zeros are stored and multiplied. A low rank takes one "
        "twentieth of the memory.",
        "Zeros are stored and multiplied. A sparse format holds places too, so it is not 20 times smaller.",
        "She says memory falls by 20, but zeros are stored like other numbers, and computed with. Remove rows.",
        "Zeros are stored and multiplied; if zeros take no memory, as in a sparse format, the product needs its code.",
    ],
)
def test_explanation_passes(said):
    assert check.check_explanation(said).status == "passed"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (
            "My friend is right: it is twenty times smaller in memory and twenty times faster, because the rows of "
            "zeros are skipped.",
            "your friend is not right",
        ),
        ("It is smaller in memory but not faster, because time depends on the format.", "neither smaller nor faster"),
        ("Nothing is wrong: less is stored and multiplied, and a sparse format is not needed at all.", "not right"),
        ("It is now 20 times faster, since memory holds fewer rows to compute with.", "neither smaller nor faster"),
        (
            "Memory stays as large, but the zeros are skipped in the product; low rank saves memory, too.",
            "like any number",
        ),
        (
            "Zeros take no memory but are multiplied, so time stays the same; a low rank helps memory.",
            "like any number",
        ),
        (
            "Zeros do not need any memory, they are just multiplied; a low rank helps the time as well.",
            "like any number",
        ),
        (
            "Memory falls by 20 because zeros cost no bytes. The time stays, a low rank would help.",
            "neither smaller nor faster",
        ),
        (
            "Now it takes one twentieth of memory, the computing is the same; remove rows.",
            "neither smaller nor faster",
        ),
        ("A sparse format stores only nonzeros: 20 times less memory and 20 times faster at once.", "the places"),
        (
            "Zeros are stored and multiplied. In a sparse format it is twenty times smaller and faster.",
            "the places",
        ),
    ],
)
def test_false_claims_fail(said, why):
    verdict = check.check_explanation(said)
    assert verdict.status == "failed"
    assert why in verdict.text


@pytest.mark.parametrize("mistake", NAMED_RANKS)
def test_mistakes_of_largest_rank_are_named(mistake):
    assert NAMED_RANKS[mistake] in check.check_largest_rank(WRONG_RANKS[mistake]).text


@pytest.mark.parametrize(("mistake", "said"), NAMED_PRUNES.items())
def test_mistakes_of_prune_are_named(mistake, said):
    verdict = check.check_prune(WRONG_PRUNES[mistake])
    assert verdict.text.count(said) == 1
    assert verdict.text.startswith("prune(")


@pytest.mark.parametrize(("answer", "unit"), [(2.5216, "GB"), (2521600, "kB"), (2_521_600_000, "bytes")])
def test_a_step_in_other_units_is_named(answer, unit):
    verdict = check.check_step_memory(answer)
    assert verdict.status == "failed"
    assert f"{answer:,} is not it: right in {unit}, but MB are asked" in verdict.text


def test_an_answer_is_quoted_as_it_was_typed():
    assert check.check_step_memory(3.75).text.startswith("3.75 is not it")
    assert check.check_step_memory(True).status == "failed"
    for no_number in ([2521], {2521: 1}, (2521, 0), None, "2521", torch.ones(2)):
        assert check.check_step_memory(no_number).status == "failed"
    assert check.check_step_memory(math.nan).status == "failed"
