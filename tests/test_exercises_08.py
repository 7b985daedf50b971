"""Chapter 08's checks: content with the solution, patient with the stub, and not to be fooled by named mistakes."""

import math

import pytest
import torch

from vgglib.exercises import chapter_08 as check


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


def row_by_row(weight, keep):
    return torch.stack([prune(row, keep) for row in weight]) if weight.dim() > 1 else prune(weight, keep)


def in_place(weight, keep):
    return weight.copy_(prune(weight, keep))


WRONG_RANKS = {
    "equal is not fewer": lambda inputs, outputs: inputs * outputs // (inputs + outputs),
    "half of the smaller side": lambda inputs, outputs: min(inputs, outputs) // 2,
    "the smaller side": lambda inputs, outputs: min(inputs, outputs),
    "square root": lambda inputs, outputs: int((inputs * outputs) ** 0.5),
    "rounded up": lambda inputs, outputs: -(-inputs * outputs // (inputs + outputs)),
    "not a whole number": lambda inputs, outputs: inputs * outputs / (inputs + outputs),
    "one less than the floor": lambda inputs, outputs: inputs * outputs // (inputs + outputs) - 1,
    "at least one": lambda inputs, outputs: max(1, (inputs * outputs - 1) // (inputs + outputs)),
    "only one of the two layers": lambda inputs, outputs: outputs - 1,
}
WRONG_PRUNES = {
    "by value, not by size": by_value,
    "the sign is lost": lambda weight, keep: prune(weight, keep).abs(),
    "the smallest are kept": lambda weight, keep: weight - prune(weight, 1 - keep) if keep < 1 else weight,
    "the share of the largest, not of the count": lambda weight, keep: (
        weight * (weight.abs() >= keep * weight.abs().max())
    ),
    "row by row": row_by_row,
    "one too few": lambda weight, keep: (
        weight * (weight.abs() > prune(weight, keep).abs()[prune(weight, keep) != 0].min())
    ),
    "only the mask": lambda weight, keep: (prune(weight, keep) != 0).float(),
    "only what is left": lambda weight, keep: prune(weight, keep)[prune(weight, keep) != 0],
    "writes over its input": in_place,
    "nothing happens": lambda weight, keep: weight,
}


def test_solutions_pass():
    assert check.check_largest_rank(largest_rank).status == "passed"
    assert check.check_prune(prune).status == "passed"
    assert check.check_step_memory(3 * 4 * 15.2 + 32 * 73).status == "passed"
    assert check.check_step_memory(2518).status == "passed"
    assert check.check_step_memory(2520).status == "passed"  # rounded to the digits that are given
    assert check.check_step_memory(torch.tensor(2518.4)).status == "passed"
    assert check.check_step_memory(float("nan")).status == check.check_step_memory(2525).status == "failed"
    assert check.check_largest_batch(int((8000 - 3 * 4 * 15.2) // 73)).status == "passed"
    assert check.check_largest_batch(107).status == "passed"


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
    (check.check_step_memory, 3 * 15.2 + 32 * 73, "four bytes"),
    (check.check_step_memory, 4 * 15.2 + 32 * 73, "a gradient and a velocity"),
    (check.check_step_memory, 2 * 4 * 15.2 + 32 * 73, "one is missing"),
    (check.check_step_memory, 4 * 4 * 15.2 + 32 * 73, "Adam"),
    (check.check_step_memory, 3 * 4 * 15.2 + 73, "each of the 32 pictures"),
    (check.check_step_memory, 32 * (3 * 4 * 15.2 + 73), "held once"),
    (check.check_step_memory, 3 * 4 * 15.2 + 2 * 32 * 73, "not doubled"),
    (check.check_step_memory, 32 * 73, "activations alone"),
    (check.check_step_memory, 3 * 4 * 15.2, "gradients and velocities alone"),
    (check.check_step_memory, 12, "not it"),
    (check.check_step_memory, "2518", "not it"),
    (check.check_largest_batch, 8000 // 73, "need their place"),
    (check.check_largest_batch, 110, "need their place"),
    (check.check_largest_batch, 108, "round down"),
    (check.check_largest_batch, 106, "one more fits"),
    (check.check_largest_batch, 107.09, "a whole number"),
    (check.check_largest_batch, 8000 / 73, "need their place"),
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
    ],
)
def test_false_claims_fail(said, why):
    verdict = check.check_explanation(said)
    assert verdict.status == "failed"
    assert why in verdict.text


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("by value, not by size", "negative weights vanish: compare sizes"),
        ("the sign is lost", "the sign is lost"),
        ("the smallest are kept", "the smallest are kept, not the largest"),
        ("one too few", ">= keeps it"),
        ("only the mask", "that is which weights stay"),
        ("only what is left", "the shape stays"),
    ],
)
def test_mistakes_of_prune_are_named(mistake, said):
    verdict = check.check_prune(WRONG_PRUNES[mistake])
    assert verdict.text.count(said) == 1
    assert verdict.text.startswith("prune(")


@pytest.mark.parametrize(("answer", "unit"), [(2.5184, "GB"), (2518400, "kB"), (2_518_400_000, "bytes")])
def test_a_step_in_other_units_is_named(answer, unit):
    verdict = check.check_step_memory(answer)
    assert verdict.status == "failed"
    assert f"{answer:,} is not it: right in {unit}, but MB are asked" in verdict.text


def test_an_answer_is_quoted_as_it_was_typed():
    assert check.check_step_memory(3.75).text.startswith("3.75 is not it")
    assert check.check_step_memory(True).status == "failed"
    for no_number in ([2518], {2518: 1}, (2518, 0), None, "2518", torch.ones(2)):
        assert check.check_step_memory(no_number).status == "failed"
    assert check.check_step_memory(math.nan).status == "failed"
