"""The reader's tools: verdicts, counterexamples, named mistakes that are rejected, answers that stay hidden."""

import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from vgglib.teaching import Verdict, as_number, assert_learned, check_answer, check_function, check_words, fails, reveal
from vgglib.training import Epoch, History, Recipe

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
CASES = {(3, 1): 3, (3, 2): 5, (3, 3): 7, (5, 2): 9, (7, 1): 7}


def stacked_field(kernel, depth):
    return 1 + depth * (kernel - 1)


WRONG = {
    "adds the kernel, not kernel - 1": lambda k, n: 1 + k * n,
    "forgets the pixel itself": lambda k, n: (k - 1) * n,
    "counts layers": lambda k, n: n,
    "only right for 3x3": lambda k, n: 1 + 2 * n,
    "answers in words": lambda k, n: str(1 + n * (k - 1)),
    "answers in a list": lambda k, n: [1 + n * (k - 1)],
    "nearly right": lambda k, n: 1 + n * (k - 1) + 0.01,
    "nan": lambda k, n: math.nan,
    "true": lambda k, n: True,
}


def test_a_right_answer_passes():
    verdict = check_function(stacked_field, CASES)
    assert verdict == Verdict("passed", "stacked_field: 5 cases agree")
    assert str(verdict).startswith("✅ ")


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_answers_are_rejected(mistake):
    verdict = check_function(WRONG[mistake], CASES, "stacked_field")
    assert verdict.status == "failed"
    assert "stacked_field(" in verdict.text
    assert repr(verdict).startswith("❌ ")


def test_the_counterexample_is_named():
    verdict = check_function(WRONG["only right for 3x3"], CASES, "stacked_field")
    assert verdict.text == "stacked_field(5, 2) should be 9, yours gave 5"


def raising(error):
    def attempt(*_):
        raise error

    return attempt


@pytest.mark.parametrize("stub", [lambda k, n: ..., lambda k, n: None, raising(NotImplementedError())])
def test_a_stub_is_still_to_do(stub):
    verdict = check_function(stub, CASES, "stacked_field")
    assert verdict.status == "todo"
    assert str(verdict).startswith("⏳ stacked_field: ")


def test_none_hints_at_the_missing_return():
    assert "is a `return` missing?" in check_function(lambda k, n: None, CASES).text
    late = check_function(lambda k: k if k == 3 else None, {(3,): 3, (7,): 7}, "f")
    assert late == Verdict("failed", "f(7) should be 7, yours returned None; is a `return` missing?")
    assert check_function(lambda k: None, {(3,): None}).status == "passed"


def test_an_error_inside_is_reported_with_its_call():
    verdict = check_function(raising(ZeroDivisionError("by zero")), CASES, "f")
    assert verdict == Verdict("failed", "f(3, 1) should be 3, yours raised ZeroDivisionError: by zero")
    assert check_function(lambda k: k, {(3, 4): 5}, "f").text.startswith("f(3, 4) should be 5, yours raised TypeError")


def test_long_arguments_are_cut():
    verdict = check_function(lambda stack: 0, {(tuple(range(200)),): 5}, "f")
    assert verdict.status == "failed"
    assert len(verdict.text) < 150


@pytest.mark.parametrize(
    ("got", "expected", "same"),
    [
        (0.1 + 0.2, 0.3, True),
        (81.48148, 81.4814814, True),
        (81.4, 81.4814814, False),
        (212.0, 212, True),
        (10**17, 10**17 + 1, False),
        (True, 1, False),
        (1, True, False),
        (True, True, True),
        ((7, 7), [7, 7], True),
        ((7, 7), (7, 7, 7), False),
        ((1, (2, 3.0)), (1, (2, 3)), True),
        (torch.Size([2, 5]), (2, 5), True),
        (torch.tensor(212), 212, True),
        (torch.tensor(211), 212, False),
        (torch.tensor([[1.0, 2.5]]), torch.tensor([[1.0, 2.5]]), True),
        (torch.tensor([1.0, 2.5]), torch.tensor([1.0, 2.6]), False),
        (torch.tensor([1.0, 2.5]), torch.tensor([1.0, 2.5, 3.5]), False),
        (torch.tensor([1, 2]), [1, 2], True),
        (np.float32(0.5), 0.5, True),
        (np.int64(7), 7, True),
        (np.array([7, 9]), np.array([7, 9]), True),
        (np.array([7, 9]), np.array([7, 8]), False),
        ("D", "D", True),
        ("d", "D", False),
        ({"D": 16}, {"D": 16}, True),
        (math.nan, math.nan, False),
        (None, 0, False),
    ],
)
def test_what_counts_as_equal(got, expected, same):
    assert check_answer(got, expected).status == ("passed" if same else "failed")


def test_answers_know_their_mistakes():
    mistakes = {308: "that adds the strides in the wrong order", 404: "that is fc6"}
    assert check_answer(..., 212, mistakes).status == "todo"
    assert check_answer(212, 212, mistakes) == Verdict("passed", "212 it is")
    assert check_answer(308, 212, mistakes).text == "308 is not it: that adds the strides in the wrong order"
    assert check_answer(211, 212, mistakes) == Verdict("failed", "211 is not it")
    assert "212" not in str(check_answer(308, 212, mistakes))
    assert "without commas" in check_answer((221, 184), 221184).text
    assert "quotation marks" in check_answer("221184", 221184).text
    assert check_answer(1j, 212).status == check_answer(torch.empty(2, device="meta"), (1, 2)).status == "failed"


def test_explanations_must_speak_of_every_idea():
    ideas = {"the receptive field": ["field", "sees"], "the parameters": ["parameter", "weights"]}
    whole = "Three layers see the same FIELD as one 7x7, with fewer Weights to learn."
    assert check_words(whole, ideas).status == "passed"
    assert check_words(..., ideas).status == check_words("  ", ideas).status == "todo"
    assert check_words("fewer weights, same field", ideas).status == "failed"
    assert check_words("field field field field field weights weights weights", ideas).status == "failed"
    assert check_words(7, ideas).status == "failed"
    assert "one text" in check_words((whole, whole), ideas).text
    assert "a person decides" in check_words(whole, ideas, judge="a person").text
    for written in (whole.replace(" ", "\n  "), whole.replace("FIELD", "“field”")):
        assert check_words(written, ideas).status == "passed"
    either = {"no padding": [r"(without|no|t) (\w+ ){0,2}pad"]}
    assert check_words("A network that doesn't\nzero-pad gives the same twice, I think.", either).status == "passed"
    assert check_words("The padding is what makes the two so different here.", either).status == "failed"
    verdict = check_words("It is because three small layers simply have fewer weights.", ideas)
    assert verdict.status == "failed"
    assert verdict.text.startswith("your answer does not speak of the receptive field yet;")


def test_an_untouched_guess_never_shows_the_answer(capsys):
    reveal(..., actual=212)
    said = capsys.readouterr().out
    assert "212" not in said
    assert "three dots" in said


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("[01]*.ipynb")), ids=lambda path: path.stem[:2])
def test_no_cell_answers_while_the_dots_stand(path, capsys):
    """What a cell that reveals says or draws is stored with the dots standing: it ends with the nudge."""
    reveal(..., actual=0)
    nudge = capsys.readouterr().out
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    revealing = [cell for cell in cells if "reveal(guess" in cell.source]
    assert revealing
    for cell in revealing:
        assert [output.output_type for output in cell.outputs] == ["stream"], cell.source
        assert cell.outputs[0].text.endswith(nudge), cell.source


@pytest.mark.parametrize(
    ("guess", "actual", "said"),
    [
        (212, 212, "Yes: 212 pixels."),
        (106, 212, "It is 212 pixels; you guessed 106, too low by a factor 2.00."),
        (300_000_000, 138_357_544, "It is 138,357,544 pixels; you guessed 300,000,000, too high by a factor 2.17."),
        (16, 19, "It is 19 pixels; you guessed 16, too low by 3."),
        (20.0, 19, "It is 19 pixels; you guessed 20, too high by 1."),
        (-3, -9, "It is -9 pixels; you guessed -3, too high by 6."),
        (112, 99, "It is 99 pixels; you guessed 112, too high by a factor 1.13."),
        (math.inf, 19, "It is 19 pixels; you guessed inf, too high by a factor inf."),
        (0, 212, "It is 212 pixels; you guessed 0."),
        (-5, 212, "It is 212 pixels; you guessed -5."),
        ("many", 212, "A number is asked: 'many' is text. Write it without quotation marks."),
        (0.5, 0.25, "It is 0.25 pixels; you guessed 0.5, too high by a factor 2.00."),
        (553.43, 553, "Yes: 553 pixels."),
        (7.26, 7.3, "Yes: 7.3 pixels."),
        (7.24, 7.3, "It is 7.3 pixels; you guessed 7.24: close, less than 1 % too low."),
        (1001, 1000, "It is 1,000 pixels; you guessed 1,001: close, less than 1 % too high."),
        (26, 26.7, "It is 26.7 pixels; you guessed 26: close, 3 % too low."),
        (-20.8, -20, "It is -20 pixels; you guessed -20.8: close, 4 % too low."),
        (28.1, 26.7, "It is 26.7 pixels; you guessed 28.1, too high by a factor 1.05."),
        (4.4, 4, "It is 4 pixels; you guessed 4.4, too high by a factor 1.10."),
        (0.3, 0, "It is 0 pixels; you guessed 0.3."),
        (math.nan, 212, "It is 212 pixels; you guessed nan."),
        ((7, 7), (6, 6), "It is (6, 6) pixels; you guessed (7, 7)."),
        (1j, 4, "It is 4 pixels; you guessed 1j."),
        (Decimal("1.5"), 1, "It is 1 pixels; you guessed 1.5, too high by a factor 1.50."),
        (10**400, 4, f"It is 4 pixels; you guessed {10**400:,}."),
        (10.5, 10**400, f"It is {10**400:,} pixels; you guessed 10.5."),
    ],
)
def test_a_guess_is_compared(capsys, guess, actual, said):
    reveal(guess, actual, "pixels")
    assert capsys.readouterr().out == said + "\n"


@pytest.mark.parametrize(
    ("guess", "said"),
    [
        (0.74, "It is 74 %; you guessed 0.74: the answer is wanted in per cent."),
        (0.72, "It is 74 %; you guessed 0.72: the answer is wanted in per cent."),
        (0.6, "It is 74 %; you guessed 0.6, too low by a factor 123.33."),
        (74.0, "Yes: 74 %."),
    ],
)
def test_a_share_guessed_as_a_fraction_is_told_its_unit(capsys, guess, said):
    reveal(guess, 74, "%")
    assert capsys.readouterr().out == said + "\n"
    reveal(guess / 100, 0.74, "times")
    assert "per cent" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "made", [np.float32, np.int64, np.array, torch.tensor, Fraction, Decimal], ids=lambda made: made.__name__
)
def test_a_number_may_come_as_an_array_or_a_fraction(capsys, made):
    assert type(as_number(made(830))) in (int, float)
    for guess in (830, 415):
        reveal(made(guess), 830, "MB")
    right, half = capsys.readouterr().out.splitlines()
    assert right == "Yes: 830 MB."
    assert half == "It is 830 MB; you guessed 415, too low by a factor 2.00."


@pytest.mark.parametrize("kept", ["830", [830], Fraction(10**400), Decimal("sNaN"), torch.zeros((), device="meta")])
def test_what_is_no_number_stays_as_it_is(kept):
    assert as_number(kept) is kept


def test_fails_prints_the_first_line(capsys):
    with fails(RuntimeError, match="cannot be multiplied"):
        torch.ones(2, 3) @ torch.ones(2, 3)
    said = capsys.readouterr().out
    assert said.startswith("RuntimeError: ")
    assert said.count("\n") == 1
    with fails(ValueError, match="one"):
        raise ValueError("one\ntwo")
    assert capsys.readouterr().out == "ValueError: one\n"
    with fails(KeyError):
        raise KeyError
    assert capsys.readouterr().out == "KeyError: \n"


def test_fails_objects_where_nothing_failed():
    with pytest.raises(AssertionError, match="nothing failed, and a RuntimeError was expected"):
        with fails(RuntimeError):
            pass
    with pytest.raises(AssertionError, match="nothing failed"):
        with fails(AssertionError):
            pass


def test_fails_objects_to_another_message():
    with pytest.raises(AssertionError, match="lacks 'shapes'"):
        with fails(ValueError, match="shapes"):
            raise ValueError("something else")


def test_other_errors_pass_through():
    with pytest.raises(KeyError):
        with fails(ValueError):
            raise KeyError("other")


def history(*losses, classes=10):
    epochs = [Epoch(n + 1, loss, 0.1, None, 0.01, 1.0, 100.0) for n, loss in enumerate(losses)]
    return History(Recipe("A"), 0, classes, {}, epochs)


def test_learning_is_asserted():
    assert_learned([2.3, 1.9, 0.4])
    assert_learned(history(2.2, 0.4))
    assert_learned(torch.tensor([2.3, 1.0]))
    assert_learned([0.5], classes=2)


@pytest.mark.parametrize("losses", [(math.nan,), (math.log(10),), (0.4, 2.298), (0.5, math.inf), (0.4, math.nan)])
def test_not_learning_is_an_error(losses):
    with pytest.raises(AssertionError, match=r"ln\(10\) = 2\.303: the network has not learned"):
        assert_learned(list(losses))
    with pytest.raises(AssertionError, match="not learned"):
        assert_learned(history(*losses))


def test_a_history_knows_its_number_of_classes():
    with pytest.raises(AssertionError, match=r"ln\(2\) = 0\.693"):
        assert_learned(history(0.69, classes=2))
    assert_learned(history(0.5, classes=2))


def test_no_losses_are_an_error():
    for nothing in ([], history(), None):
        with pytest.raises(AssertionError, match="has not been trained"):
            assert_learned(nothing)


def test_a_false_claim_fails_unless_its_sentence_takes_it_back():
    ideas, against = {"the field": ("field",)}, [(r"padding enlarges", r"\bnot\b|n't", "it moves the windows")]

    def verdict(said):
        return check_words(said, ideas, against=against)

    assert verdict("Here padding enlarges the field of every unit in it.").text == "it moves the windows"
    assert verdict("It is not true that padding enlarges the field of a unit.").status == "passed"
    assert verdict("Padding enlarges the map. The field of a unit is not changed by it.").status == "failed"
    assert verdict("The kernel decides on the field of each unit, and so does the stride.").status == "passed"
    assert verdict("Is it that padding enlarges the field? The kernel alone decides on it.").status == "passed"
    assert verdict("Is it the kernel? No: here padding enlarges the field of each unit.").status == "failed"


def test_whole_numbers_of_numpy_are_compared_to_the_unit():
    assert check_answer(np.int64(138_357_545), 138_357_544).status == "failed"
    assert check_answer(np.int64(138_357_544), 138_357_544).status == "passed"
