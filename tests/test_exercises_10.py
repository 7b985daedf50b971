"""Chapter 10's checks: content with the solution, patient with the stub, and not to be fooled by named mistakes."""

import math

import numpy as np
import pytest
import reference
import torch

from vgglib.configurations import layers
from vgglib.exercises import chapter_10 as check
from vgglib.localisation import iou
from vgglib.model import VGG
from vgglib.receptive_field import receptive_field
from vgglib.repvgg import identity_kernel


def fold_one(weight, gamma, beta, mean, variance, eps):
    factor = gamma / math.sqrt(variance + eps)
    return weight * factor, beta - mean * factor


WRONG_FOLDS = {
    "divides by the variance": (lambda w, g, b, m, v, e: (w * g / (v + e), b - m * g / (v + e)), "not its root"),
    "divides by nothing": (lambda w, g, b, m, v, e: (w * g, b - m * g), "nothing is divided by"),
    "forgets eps": (lambda w, g, b, m, v, e: fold_one(w, g, b, m, v, 0), "eps is left out"),
    "eps outside the root": (
        lambda w, g, b, m, v, e: fold_one(w, g, b, m, (math.sqrt(v) + e) ** 2, 0),
        "under the root",
    ),
    "adds the mean": (lambda w, g, b, m, v, e: fold_one(w, g, b, -m, v, e), "not added"),
    "does not scale the mean": (lambda w, g, b, m, v, e: (fold_one(w, g, b, m, v, e)[0], b - m), "before the scaling"),
    "scales the shift": (
        lambda w, g, b, m, v, e: (fold_one(w, g, b, m, v, e)[0], (b - m) * g / math.sqrt(v + e)),
        "the shift is added last",
    ),
    "multiplies the mean by the weight": (
        lambda w, g, b, m, v, e: (fold_one(w, g, b, m, v, e)[0], fold_one(w, g, b, m * w, v, e)[1]),
        "the weight does not meet the mean",
    ),
    "forgets the shift": (lambda w, g, b, m, v, e: fold_one(w, g, 0, m, v, e), "the shift is left out"),
    "forgets gamma": (lambda w, g, b, m, v, e: fold_one(w, 1, b, m, v, e), "gamma is left out"),
    "leaves the weight": (lambda w, g, b, m, v, e: (w, fold_one(w, g, b, m, v, e)[1]), "the weight is scaled"),
    "swaps gamma and beta": (lambda w, g, b, m, v, e: fold_one(w, b, g, m, v, e), "beta shifts"),
    "drops the weight's sign": (
        lambda w, g, b, m, v, e: fold_one(abs(w), g, b, m, v, e),
        "fold_one(-2.0, 3.0, -8.0, -4.0, 4.0, 0.0) should be (-3.0, -2.0)",
    ),
    "drops the shift's sign": (lambda w, g, b, m, v, e: fold_one(w, g, abs(b), m, v, e), "should be (-3.0, -2.0)"),
    "drops the mean's sign": (lambda w, g, b, m, v, e: fold_one(w, g, b, abs(m), v, e), "should be (-3.0, -2.0)"),
    "drops the bias's sign": (
        lambda w, g, b, m, v, e: (fold_one(w, g, b, m, v, e)[0], abs(fold_one(w, g, b, m, v, e)[1])),
        "should be (3.0, -4.0)",
    ),
    "bias first": (lambda w, g, b, m, v, e: fold_one(w, g, b, m, v, e)[::-1], "the weight comes first"),
}


def at(channels, place, everywhere=False):
    kernel = torch.zeros(channels, channels, 3, 3)
    for channel in range(channels):
        kernel[channel, slice(None) if everywhere else channel, place[0], place[1]] = 1
    return kernel


WRONG_IDENTITIES = {
    "sums all channels": (lambda c: at(c, (1, 1), everywhere=True), "should stay 1, yours makes it 14"),
    "in the corner": (lambda c: at(c, (0, 0)), "a 1 in row 0, column 0 of a kernel fetches a neighbour"),
    "off by one": (lambda c: at(c, (1, 2)), "should stay 1, yours makes it 2: a 1 in row 1, column 2"),
    "ones in the whole kernel": (lambda c: torch.ones(c, c, 3, 3), "should stay"),
    "an average": (lambda c: torch.eye(c)[:, :, None, None].expand(c, c, 3, 3) / 9, "should stay"),
    "1x1": (lambda c: torch.eye(c)[:, :, None, None], "should have the shape (1, 1, 3, 3)"),
    "one kernel for each channel": (lambda c: at(1, (1, 1)).expand(c, 1, 3, 3), "should have the shape (2, 2, 3, 3)"),
    "for one channel only": (lambda c: at(1, (1, 1)), "should have the shape (2, 2, 3, 3)"),
    "never filled": (lambda c: torch.full((c, c, 3, 3), float("nan")), "not finite"),
    "no numbers": (lambda c: np.full((c, c, 3, 3), None), "a tensor of numbers"),
    "channels reversed": (lambda c: at(c, (1, 1)).flip(0), "output channel 0 takes from input channel 1"),
    "a permutation": (lambda c: at(c, (1, 1)).roll(1, 0), "identity(2): channel 0, row 0"),
    "all from the first": (
        lambda c: at(1, (1, 1)).expand(c, 1, 3, 3) * torch.eye(c)[0].view(-1, 1, 1),
        "output channel 1",
    ),
    "the first channel only": (lambda c: at(c, (1, 1)) * torch.eye(c)[0].view(-1, 1, 1, 1), "takes nothing"),
    "a nested list": (lambda c: at(c, (1, 1)).tolist(), "yours is a list"),
    "a layer": (lambda c: torch.nn.Conv2d(c, c, 3), "yours is a Conv2d"),
    "an error": (lambda c: 1 / 0, "raised ZeroDivisionError"),
    "no tensor": (lambda c: 7, "shape"),
}


def test_a_forgotten_return_is_named():
    assert "is a `return` missing?" in check.check_identity(lambda channels: None).text


def test_solutions_pass():
    convolutional = [sum(p.numel() for p in VGG("E", batch_norm=norm).features.parameters()) for norm in (True, False)]
    assert check.check_norm_parameters(convolutional[0] - convolutional[1]).status == "passed"
    assert check.check_fold_one(fold_one).status == "passed"
    assert check.check_identity(identity_kernel).status == "passed"
    assert check.check_shift(3).status == "passed"


def test_the_shift_is_the_last_that_counts():
    right = [shift for shift in range(11) if iou((5, 5, 10, 10), (5 + shift, 5, 10, 10)) > 0.5]
    assert right == [0, 1, 2, 3]


@pytest.mark.parametrize("answer", [{1, 4, 6}, [6, 4, 1], (1, 4, 6), torch.tensor([1, 4, 6]), np.array([6, 1, 4])])
def test_what_the_paper_says_passes_in_any_order(answer):
    verdict = check.check_said(answer)
    assert verdict.status == "passed"
    assert verdict.text.startswith("[1, 4, 6] it is")


WRONGLY_SAID = {
    "no field": ({4, 6}, "sentence 1: section 2.3"),
    "a 7x7 network": ({1, 2, 4, 6}, "sentence 2: the paper set pairs of 3x3 layers against one 5x5"),
    "speed": ({1, 3, 4, 6}, "sentence 3: the paper argues by weights"),
    "a warm start for ever": ({1, 6}, "sentence 4: section 3.1"),
    "true, so said": ({1, 4, 5, 6}, "sentence 5: that is true, but"),
    "dense is enough": ({1, 4}, "sentence 6: section 4.3"),
    "all": (range(1, 7), "sentence 2"),
    "none": (set(), "sentence 1"),
    "the others": ([2, 3, 5], "sentence 1"),
    "one number": (4, "the numbers of all"),
    "a tensor of one number": (torch.tensor(4), "the numbers of all"),
    "a text": ("1, 4, 6", "the numbers of all"),
    "a number too many": ({1, 4, 6, 7}, "7 is no sentence"),
    "from zero": ([0, 3, 5], "0 is no sentence"),
    "verdicts": ([True, False, False, True, False, True], "is no sentence"),
    "texts": (["1", "4", "6"], "is no sentence"),
    "a list in a list": ([[1, 4, 6]], "is no sentence"),
    "a dictionary": ({1: True, 4: True, 6: True}, "the numbers of all"),
}


@pytest.mark.parametrize("mistake", WRONGLY_SAID)
def test_what_the_paper_does_not_say_is_named(mistake):
    answer, why = WRONGLY_SAID[mistake]
    verdict = check.check_said(answer)
    assert verdict.status == "failed"
    assert why in verdict.text


def test_sentence_one_is_so_and_five_is_true():
    assert receptive_field(layers("8 8 8")) == receptive_field(layers("8/7"))
    assert reference.FULLY_CONNECTED["fc6"] > 138_357_544 / 2


@pytest.mark.parametrize(
    "checked", [check.check_norm_parameters, check.check_shift, check.check_said, check.check_explanation]
)
def test_answers_wait(checked):
    assert checked(...).status == "todo"


def unfinished(*arguments):
    raise NotImplementedError


@pytest.mark.parametrize("checked", [check.check_fold_one, check.check_identity])
@pytest.mark.parametrize("stub", [lambda *arguments: ..., lambda *arguments: None, unfinished])
def test_functions_wait(checked, stub):
    assert checked(stub).status == "todo"


@pytest.mark.parametrize("mistake", WRONG_FOLDS)
def test_fold_one_rejects(mistake):
    attempt, why = WRONG_FOLDS[mistake]
    verdict = check.check_fold_one(attempt)
    assert verdict.status == "failed"
    assert "fold_one(" in verdict.text
    assert why in verdict.text


@pytest.mark.parametrize("mistake", WRONG_IDENTITIES)
def test_identity_rejects_with_the_counterexample(mistake):
    attempt, why = WRONG_IDENTITIES[mistake]
    verdict = check.check_identity(attempt)
    assert verdict.status == "failed"
    assert why in verdict.text


MISTAKES = [
    (check.check_norm_parameters, 5_504, "two numbers"),
    (check.check_norm_parameters, 22_016, "not trained"),
    (check.check_norm_parameters, 32, "not each layer"),
    (check.check_norm_parameters, 27_392, "fully connected"),
    (check.check_norm_parameters, 8_448, "that is D"),
    (check.check_norm_parameters, 1_920, "one layer in each block"),
    (check.check_norm_parameters, 6_912, "four layers with 512"),
    (check.check_norm_parameters, 16_512, "two numbers of each"),
    (check.check_norm_parameters, 1_376, "an eighth as wide"),
    (check.check_norm_parameters, [11_008], "without brackets"),
    (check.check_norm_parameters, torch.tensor([11_008]), "without brackets"),
    (check.check_norm_parameters, np.array([11_008]), "without brackets"),
    (check.check_norm_parameters, 38, "not it"),
    (check.check_shift, 5, "a third"),
    (check.check_shift, 4, "less than half"),
    (check.check_shift, 2, "one more"),
    (check.check_shift, 10 / 3, "whole pixels"),
    (check.check_shift, 6, "less than half"),
    (check.check_shift, 0, "not it"),
    (check.check_shift, 3.33, "whole pixels"),
    (check.check_shift, 1, "more is possible"),
    (check.check_shift, 7, "less than half"),
    (check.check_shift, 70, "area"),
]


@pytest.mark.parametrize(("checked", "wrong", "why"), MISTAKES)
def test_numbers_reject_with_the_reason(checked, wrong, why):
    verdict = checked(wrong)
    assert verdict.status == "failed"
    assert why in verdict.text


def test_explanation():
    good = (
        "Its training loss is higher, and overfitting would make that lower. The additional layers could have been "
        "copies of the identity, so the deeper network can do at least as well; it is not found."
    )
    for right in (
        good,
        "2E has the higher train loss, so it underfits; overfitting shows a lower one. Its added layers might let "
        "everything pass.",
        "The loss on the pictures that it learned from is higher, not only in testing: no overfitting. The layers "
        "between could have left their input alone.",
        "Even the training loss is higher; overfitting would lower it. The additional layers could have been no-ops.",
        "It is no overfitting, as the train loss is higher too; the additional layers could have been skipped.",
        "Its train loss is 1.12 and that of E 0.49. Overfitting shows as a gap. The additional layers could be no-ops.",
        "The train loss of E is 0.49, and of 2E 1.12. Overfitting shows as a gap. Its layers could be no-ops.",
        "Train loss 1.14 against 0.52; memorising would make that smaller. They might have forwarded the maps.",
        "2E's loss on the pictures it was fitted on is larger: 1.12 vs 0.49. With overfitting it would be small. The "
        "extra layers could have passed on their input.",
        "The train loss is higher in 2E. If the model were too flexible the training loss would be small. The extra "
        "layers could just have copied what they got.",
        "Not only the test loss is higher: so is that on the training pictures, which overfitting makes small. Its "
        "layers could have done nothing.",
        "It does not even fit the training pictures. Overfitting means that the training loss is lower and the test "
        "loss higher. The new layers could have let everything through unchanged.",
        "The training loss is lower in E than in 2E, and overfitting would be the other way round: higher train loss "
        "is no overfitting. Its layers could be identities.",
        "It is not because of overfitting: the training loss is higher, and overfitting would lower it. The additional "
        "layers could have been identities.",
        "My friend is not right. The training loss is higher, overfitting would make it lower, and the new layers "
        "could have done nothing.",
        "My friend is right that it is worse on new pictures. But the train loss is higher, too, where memorising "
        "would lower it; the extra layers could have copied their input.",
        "If it were because of overfitting, the train loss would be lower. It is higher: 1.12 against 0.49. The layers "
        "could have passed everything on.",
        "Overfitting means that the train loss is lower and the test loss higher. Here the train loss is higher, "
        "though the extra layers could have been the identity.",
        "My friend says that it is overfitting. But even the loss in training is higher, and overfitting shows as a "
        "low train loss beside a higher test loss. The added layers could have been no-ops.",
        "Overfitting gives a train loss below the test loss, with a growing gap; here the train loss is the higher "
        "one, 2E against E. That is no overfitting: the second layers could have left everything as it is.",
        "The deeper network does worse even on what it was trained on: its train loss is higher. I do not agree with "
        "my friend, as overfitting drives that loss down. Extra layers could be the identity.",
    ):
        assert check.check_explanation(right).status == "passed"
    for wrong in (
        "The deeper network has too many parameters, so it overfits the training pictures and fails on the others.",
        "Its training loss is higher, and with overfitting it would be lower, so this must be something else.",
        "Deeper networks can always copy the shallow one, so it is strange that the gradients vanish in them.",
        "The test loss is higher. Overfitting would look like a low training loss. The layers could have passed on "
        "their input.",
        "The training loss is *lower* in 2E, so it overfits, and the extra layers could have learned nothing.",
        "The train loss of 2E is 0.49 and that of E 1.12. Overfitting would be a small train loss. The additional "
        "layers could be identities.",
        "2E overfits. It has a lower training loss and a higher test loss. The layers could have been the identity.",
        "On the other hand the train and test curves go through overfitting in the end, so take more data.",
        "Overfitting it is: with twice the layers the training loss must be higher, because each layer adds noise, and "
        "identity layers were learned.",
        "Your friend is right: overfitting makes training loss higher; additional layers are identical.",
        "The train loss is higher because of overfitting: it memorised the training pictures, and the layers passed on "
        "nothing.",
        "I agree with my friend: with overfitting the training loss gets higher, and extra layers copy their input.",
        "This is a clear case of overfitting: the train loss is higher, as the additional layers pass nothing on.",
        "2E overfits: its many parameters make the training loss higher, and the added layers leave the maps alone.",
        "Overfitting raises the training loss. The deeper network is a victim of it, though its layers do nothing.",
        "My friend's explanation is correct. The train loss of 2E is higher due to overfitting, as its layers are idle "
        "and pass things on.",
        "no",
        2.3,
    ):
        assert check.check_explanation(wrong).status == "failed"
    assert (
        "which other loss"
        in check.check_explanation(
            "The test loss is higher. Overfitting would show as a low training loss. Layers could have passed it on."
        ).text
    )
    assert (
        "compare the train losses"
        in check.check_explanation(
            "The training loss is lower in 2E, so it overfits; the extra layers could have done nothing."
        ).text
    )


SEEN, COPIED = (
    "Overfitting means a lower train loss and a worse test.",
    "The extra layers could have copied their input.",
)
TOLD_WRONGLY = [
    f"The train loss of 2E is lower than that of E. {SEEN} The extra layers could have copied.",
    f"The train loss of 2E is smaller than that of E; {SEEN} {COPIED}",
    f"In 2E the train loss is lower than in E. {SEEN} {COPIED}",
    f"In 2E the train loss is lower than in E, as overfitting would have it. {COPIED}",
    f"E's train loss 1.12 is higher than 2E's 0.49. {SEEN} {COPIED}",
    f"The validation loss is higher, not the train loss. {SEEN} {COPIED}",
    f"The validation loss is higher, not the train loss, as in overfitting; {COPIED}",
    f"Only the test loss of 2E is higher, and its train loss is not. {SEEN} {COPIED}",
    "2E underfits because it has too few training epochs; overfitting is something else. Nothing else.",
    "2E underfits because it has too few training epochs, overfitting is something else. Nothing else.",
    f"2E's train loss is 0.49 rather than 1.12. {SEEN} {COPIED}",
    f"Its train loss is 0.49 against 1.12. {SEEN} {COPIED}",
    f"2E's train loss is 0.4 times E's. {SEEN} {COPIED}",
    f"E's train loss is higher than that of 2E. {SEEN} {COPIED}",
    f"The train loss of E is larger than 2E's. {SEEN} {COPIED}",
    f"E has the higher train loss. {SEEN} {COPIED}",
    f"The train loss is higher in E than in 2E. {SEEN} {COPIED}",
    f"The train loss falls in 2E. Overfitting is a gap. {COPIED}",
    f"The train loss of 2E is less than E's. {SEEN} {COPIED}",
    f"2E has a smaller train loss than E. {SEEN} {COPIED}",
    f"2E's training error is below E's. {SEEN} {COPIED}",
    f"Train loss down, test accuracy down: {SEEN} {COPIED}",
]
TOLD_RIGHTLY = [
    f"2E's training error exceeds E's. {SEEN} {COPIED}",
    f"2E's training error exceeds E's, and overfitting would lower it. {COPIED}",
    f"2E's train loss is 2.3 times E's. {SEEN} {COPIED}",
    f"2E's train loss is twice E's. {SEEN} {COPIED}",
    f"its loss on the pictures it was trained on is 2.02 rather than 0.78, and overfitting would "
    f"make it small. {COPIED}",
    f"Here: train loss up, test accuracy down. Overfitting: train loss down. {COPIED}",
    f"Overfitting: train loss down, test accuracy down. Here: train loss up, test accuracy down. {COPIED}",
    "The train loss of 2E is higher, overfitting would lower it. The additional layers could simply relay the signal.",
    "The train loss of 2E is higher, overfitting would lower it. Each additional layer could be a delta kernel.",
    "The train loss of 2E is higher, overfitting would lower it. The additional layers could have kept their input.",
    "The train loss of 2E is higher, overfitting would lower it. The additional layers could have been transparent.",
    f"The train loss of 2E is higher. {SEEN} They could add zero, as the shortcuts do.",
    f"The train loss of 2E is higher. {SEEN} The additional layers could have added nothing.",
    f"The train loss of 2E is higher. {SEEN} With a shortcut each layer starts by adding 0 to what it gets.",
    f"E's train loss is lower than that of 2E. {SEEN} {COPIED}",
    f"The train loss is lower in E than in 2E. {SEEN} {COPIED}",
    f"E's train loss 0.49 is lower than 2E's 1.12. {SEEN} {COPIED}",
    f"2E's train loss is not lower than E's, it is higher. {SEEN} {COPIED}",
    f"The train loss is higher in 2E than in E. {SEEN} {COPIED}",
    f"It cannot be overfitting: the train loss of 2E is above that of E. {SEEN} {COPIED}",
    f"If 2E overfitted, its train loss would be lower than that of E. It is higher. {COPIED}",
    f"With overfitting the train loss of 2E is lower than that of E; here it is 1.12 instead of 0.49. {COPIED}",
    f"Not only the validation loss is higher, but also the train loss. {SEEN} {COPIED}",
    f"The train loss is higher, not only the test loss. {SEEN} {COPIED}",
    f"2E has a higher train loss than E, so it is not overfitting, which would give it a lower "
    f"train loss than E's. {COPIED}",
    f"The train loss of E is less than the train loss of 2E. {SEEN} {COPIED}",
    f"Compared with E, 2E's train loss is higher. {SEEN} {COPIED}",
    f"2E's train loss is 1.12, E's is 0.49. {SEEN} {COPIED}",
]


def test_every_way_of_telling_which_loss_is_higher_is_understood():
    assert [told for told in TOLD_RIGHTLY if check.check_explanation(told).status != "passed"] == []
    assert [told for told in TOLD_WRONGLY if check.check_explanation(told).status != "failed"] == []


def test_the_words_of_the_question_are_no_answer():
    said = "The train loss of 2E is higher. {} The additional layers could do so that 2E answers as E does."
    assert "what the additional layers" in check.check_explanation(said.format(SEEN)).text


def test_only_a_higher_test_loss_is_answered_by_asking_for_the_other():
    for said, why in (
        ("The test loss is higher.", "the test loss is higher"),
        ("Training differs.", "which loss is higher"),
    ):
        assert check.check_explanation(f"{said} {SEEN} {COPIED}").text.startswith(why)
