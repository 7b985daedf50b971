"""The checks of chapter 10: what batch norm adds, how it folds, a kernel that does nothing, depth, a box, hearsay."""

import re
from collections.abc import Callable
from numbers import Number

import torch
from torch.nn import functional as F

from vgglib.teaching import Verdict, as_number, check_answer, check_function, check_words


def check_norm_parameters(answer: object) -> Verdict:
    """Return the verdict on the parameters that batch normalisation adds to the convolutions of E, at full width."""
    channels = 2 * 64 + 2 * 128 + 4 * 256 + 8 * 512
    answer = as_number(answer)
    if getattr(answer, "shape", None) == (1,) or (isinstance(answer, list | tuple) and len(answer) == 1):
        return Verdict("failed", f"{answer} is not it: one number is asked, without brackets")
    mistakes = {
        channels: "each channel has a scale and a shift: two numbers, and the biases stay",
        1920: "that is one layer in each block; the list above has more",
        6912: "that is four layers with 512 channels; E has eight, four in each of two blocks",
        3 * channels: "two numbers of each channel are trained",
        2 * channels // 8: "that is the network above, an eighth as wide: full width is asked",
        4 * channels: "the running mean and variance are measured, not trained: they are no parameters",
        2 * 16: "each channel has its own scale and shift, not each layer",
        2 * (channels + 2 * 4096): "no normalisation follows the fully connected layers here",
        8448: "that is D, with three layers in each of its last blocks; E has four",
    }
    return check_answer(answer, 2 * channels, mistakes)


def check_fold_one(attempt: Callable) -> Verdict:
    """Return the verdict on ``fold_one(weight, gamma, beta, mean, variance, eps)``, which gives (weight, bias)."""
    cases = {
        (3.0, 2.0, 1.0, 5.0, 4.0, 0.0): (3.0, -4.0),
        (2.0, 3.0, 1.0, 2.0, 3.0, 1.0): (3.0, -2.0),
        (1.0, -2.0, 3.0, 4.0, 16.0, 0.0): (-0.5, 5.0),
        (2.0, 1.0, 0.5, 1.0, 0.1875, 0.0625): (4.0, -1.5),
        (5.0, 0.0, 7.0, 3.0, 1.0, 0.0): (0.0, 7.0),
        (-2.0, 3.0, -8.0, -4.0, 4.0, 0.0): (-3.0, -2.0),
    }

    def right(w, g, b, m, v, e, root=None):
        factor = g / ((v + e) ** 0.5 if root is None else root)
        return w * factor, b - m * factor

    def weight_of(*given):
        return right(*given)[0]

    def bias_of(*given):
        return right(*given)[1]

    mistakes = {
        "the mean is taken off before the scaling: what becomes of it then?": lambda *a: (weight_of(*a), a[2] - a[3]),
        "eps belongs under the root, added to the variance": lambda *a: right(*a, root=a[4] ** 0.5 + a[5]),
        "the variance is divided by, and not its root": lambda *a: right(*a, root=a[4] + a[5]),
        "nothing is divided by here": lambda *a: right(*a, root=1),
        "the shift is added last: is it scaled?": lambda *a: (
            weight_of(*a),
            (a[2] - a[3]) * weight_of(1, *a[1:]),
        ),
        "the weight does not meet the mean: y is what the mean is taken off": lambda w, g, b, m, v, e: (
            weight_of(w, g, b, m, v, e),
            bias_of(w, g, b, m * w, v, e),
        ),
        "the weight comes first, then the bias": lambda *a: right(*a)[::-1],
        "eps is left out": lambda *a: right(*a[:5], 0),
        "the mean is taken off, not added": lambda w, g, b, m, v, e: right(w, g, b, -m, v, e),
        "the shift is left out": lambda w, g, b, m, v, e: right(w, g, 0, m, v, e),
        "the scale gamma is left out": lambda w, g, b, m, v, e: right(w, 1, b, m, v, e),
        "the weight is scaled, too": lambda *a: (a[0], bias_of(*a)),
        "gamma scales, beta shifts": lambda w, g, b, m, v, e: right(w, b, g, m, v, e),
    }
    return check_function(attempt, cases, "fold_one", mistakes)


def check_identity(attempt: Callable) -> Verdict:
    """Return the verdict on ``identity(channels)``, the weights of a padded 3x3 convolution that changes nothing."""
    for channels in (1, 2, 3):
        call = f"identity({channels})"
        try:
            kernel = attempt(channels)
        except NotImplementedError:
            return Verdict("todo", "identity: not attempted yet")
        except Exception as error:
            return Verdict("failed", f"{call} raised {type(error).__name__}: {error}")
        if kernel is ...:
            return Verdict("todo", "identity: not attempted yet")
        if kernel is None:
            return Verdict("todo", "identity: returned None; is a `return` missing?")
        if isinstance(kernel, list | tuple | torch.nn.Module):
            return Verdict("failed", f"{call} should be a tensor, the kernel alone; yours is a {type(kernel).__name__}")
        shape = tuple(getattr(kernel, "shape", ()))
        if shape != (channels, channels, 3, 3):
            return Verdict("failed", f"{call} should have the shape {(channels, channels, 3, 3)}, yours has {shape}")
        try:
            kernel = torch.as_tensor(kernel).detach().float()
        except (TypeError, ValueError) as error:
            return Verdict("failed", f"{call} should be a tensor of numbers: {error}")
        if not kernel.isfinite().all():
            return Verdict("failed", f"{call} holds numbers that are not finite; torch.empty is not filled with zeros")
        X = torch.arange(1.0, 12 * channels + 1).view(1, channels, 3, 4)
        Y = F.conv2d(X, kernel, padding=1)
        if not torch.allclose(X, Y):
            _, channel, row, column = (X - Y).abs().gt(1e-6).nonzero()[0].tolist()
            was, became = X[0, channel, row, column].item(), Y[0, channel, row, column].item()
            place = f"channel {channel}, row {row}, column {column}"
            return Verdict(
                "failed", f"{call}: {place} should stay {was:g}, yours makes it {became:g}{_misplaced(kernel)}"
            )
    return Verdict("passed", "identity: 1, 2 and 3 channels come out as they went in")


def _misplaced(kernel: torch.Tensor) -> str:
    """Return ": " and why a kernel of single ones in wrong places is wrong, or nothing for other kernels."""
    ones = kernel.nonzero().tolist()
    if len(ones) > len(kernel) or not all(kernel[*one] == 1 for one in ones):
        return ""
    for out, into, row, column in ones:
        if (row, column) != (1, 1):
            return f": a 1 in row {row}, column {column} of a kernel fetches a neighbour of each pixel"
        if out != into:
            return f": output channel {out} takes from input channel {into}"
    return ": an output channel without a 1 takes nothing"


def check_shift(answer: object) -> Verdict:
    """Return the verdict on how many whole pixels a 10 x 10 box may lie beside the true one and count as right."""
    mistakes = {
        5: "shared by half, the two cover 150 pixels together and share 50: a third",
        4: "they share 60 pixels and cover 140 together: less than half",
        2: "one more is possible: they would share 70 pixels and cover 130 together",
        0: "a box may be shifted and still be right",
        1: "more is possible: they would share 90 pixels and cover 110 together",
        7: "they share 30 pixels and cover 170 together: less than half",
        70: "that is the area that they then share; how far apart are they?",
        6: "they share 40 pixels and cover 160 together: less than half",
    }
    if isinstance(answer, float) and 3 < answer < 4:
        return Verdict("failed", f"{answer:g} is not it: whole pixels")
    return check_answer(answer, 3, mistakes)


def check_said(answer: object) -> Verdict:
    """Return the verdict on which of six sentences about VGG the paper says: their numbers, in a set, list or tuple."""
    answer = as_number(answer)
    if answer is ... or (isinstance(answer, dict) and not answer):  # {} is a dict
        return Verdict("todo", "not attempted yet")
    numbers = answer.tolist() if hasattr(answer, "tolist") else answer
    if not isinstance(numbers, set | frozenset | list | tuple | range):
        return Verdict("failed", "give the numbers of all the sentences that the paper says, such as {2, 3}")
    given = [as_number(number) for number in numbers]
    strangers = [one for one in given if isinstance(one, bool) or not isinstance(one, Number) or one not in _SAID]
    if strangers:
        return Verdict("failed", f"{strangers[0]!r} is no sentence: their numbers go from 1 to {len(_SAID)}")
    for number, (said, why) in _SAID.items():
        if (number in given) != said:
            return Verdict("failed", f"sentence {number}: {why}")
    agreed = [number for number, (said, _) in _SAID.items() if said]
    return Verdict("passed", f"{agreed} it is: the paper says these, and not the others")


_SAID = {
    1: (True, 'section 2.3 says so, where no pooling lies "in between"'),
    2: (False, "the paper set pairs of 3x3 layers against one 5x5 layer each, and trained no network with 7x7"),
    3: (False, "the paper argues by weights and ReLUs; the only time it gives is that of training on four GPUs"),
    4: (True, "section 3.1 says so, of what was found after the submission"),
    5: (False, "that is true, but it is our sum: the paper gives only totals"),
    6: (True, "section 4.3 says so, and supposes why: they treat the border of a crop differently"),
}


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on why a deeper network that is worse is no case of overfitting."""
    ideas = {
        "which loss is higher": (_LEARNED_FROM,),
        "what overfitting would look like": (
            "over ?fit|memori[sz]|gap|low(er)? (train|loss on)|too many (param|weight)|by heart|too flexible",
        ),
        "what the additional layers could have done": (
            r"cop(y|ies|ied)|identi|nothing(?! (else|more|but|new))|pass(?!es (are|were|over))|unchanged|untouched",
            r"let\w* .{0,30}through|relay|delta|dirac|transparent|transmit|ke(ep\w*|pt) (its|the|their|what)",
            "as (it|they) (is|are|were|was)",
            r"add(s|ed|ing)? (only )?(zeros?|0)\b",
            "leave|left (alone|as|out|un)|alone|unaltered|same (output|function|result)|do no(thing| harm)|imitate",
            "mimic|equal the shallow|at least as (good|well|low)|no worse|reproduce|hand(s|ed)? (it|them|on)|forward",
            "output ?= ?(the )?input|no ?ops?|skip|not there|were absent|were missing|as good as|do what the shallow",
        ),
    }
    verdict = check_words(answer, ideas, against=_FALSE)
    if verdict.status != "passed":
        return verdict
    said = re.sub(r"[*_`\"“”]", "", " ".join(str(answer).lower().replace("’", "'").split()))
    sentences = re.findall(r"(?:[^.;!?]|\.\d)+(?![^.;!?]*\?)", said)
    if any(_lowers(sentence) for sentence in sentences):
        return Verdict("failed", _COMPARE)
    observed = ";".join(re.sub(f"({_IN_GENERAL}).*", "", sentence) for sentence in sentences)
    if not re.search(_HIGHER, observed) and not any(ratio > 1 for one in sentences for ratio in _ratio(one)):
        why = "which loss is higher in 2E than in E?"
        if re.search(rf"\b(test|validation|(new|unseen|other) pictures){_SENTENCE}{_MORE}", observed):
            why = "the test loss is higher in overfitting, too: which other loss is higher in 2E than in E?"
        return Verdict("failed", f"{why} If you said so in other words, the folded solution decides")
    return verdict


def _lowers(sentence: str) -> bool:
    """Return whether a sentence claims, and does not only imagine, that the train loss of 2E is the lower one."""
    if not re.search(_LEARNED_FROM, sentence):
        return False
    for match in (match for pattern in _DEEPER_LOWER for match in re.finditer(pattern, sentence)):
        if not re.search(_IMAGINED, sentence[: match.end()] + match.string[match.end() :].partition(",")[0]):
            return True
    return not re.search(_IMAGINED, sentence) and any(ratio < 1 for ratio in _ratio(sentence))


def _ratio(sentence: str) -> list[float]:
    """Return, in a list, how often the train loss of E goes into that of 2E by a sentence's numbers, if it says so."""
    sentence = re.sub(r"[^,]*\b(test|validation|accura)[^,]*(,|$)", "", sentence)
    losses = {match[2]: float(match[1]) for match in re.finditer(_NUMBER + r" (?:for|in|of|with) (2?e)\b", sentence)}
    for net, number in re.findall(rf"\b(2?e|its?)\b(?:(?!\b(?:2?e|its?)\b).)*?{_NUMBER}", sentence):
        if float(number) not in losses.values():
            losses.setdefault("e" if net == "e" else "2e", float(number))
    if len(losses) == 2:
        return [losses["2e"] / (losses["e"] or 1)]
    match = re.search(rf"{_NUMBER},? \(?{_VERSUS} (?:\w+ )?{_NUMBER}|(\d+(?:\.\d+)?) times|\btwice|\bdouble", sentence)
    if match is None:
        return []
    ratio = float(match[1]) / (float(match[2]) or 1) if match[1] else float(match[3] or 2)
    named = re.findall(r"\b(2?e|its?)\b", sentence[: match.start()])
    return [1 / (ratio or 1)] if named and named[-1] == "e" else [ratio]


_COMPARE = "compare the train losses of 2E and E once more: which is higher?"
_NUMBER, _VERSUS = r"(\d\.\d+)", r"(?:against|vs\.?|versus|rather than|instead of|in place of|compared (?:to|with)|to)"
_LEARNED_FROM = (
    r"train(?!\w* (epoch|step|time|longer|pass))|learne?[dt] (from|on)|(has|had|have) seen|fit(ted)? (on|to)|"
    r"optimi[sz]ed (on|for)"
)
_SENTENCE = r"(?:[^.;!?]|\.\d){0,80}?"  # what may stand between two words of one sentence
_MORE = (
    r"(high|larg|great|bigg|worse|more|above|increas|ris(es|en)|rose|goes up|up\b|exceed|surpass|less well|poor|"
    r"not (as|so) (low|small|good|well))"
)
_DEEP = r"\b(?:2e|(?:deeper|longer) (?:network|net|one|model))\b"
_SHALLOW = r"(?<!2)\be\b"
_THERE = r"(?:(?!\b2?e\b)[^;:.])*"  # no other network in between
_LESS = r"\b(?:lower|smaller|less|better|below|under)\b"
_GREATER = r"\b(?:higher|larger|greater|bigger|above|exceeds)\b"
_HIGHER = (
    rf"\b({_LEARNED_FROM}){_SENTENCE}{_MORE}|\b{_MORE}{_SENTENCE}\b({_LEARNED_FROM})|"
    rf"(not|cannot|n['’]t|fails to) (even )?(fit|learn){_SENTENCE}\btrain|fails (\w+ )?in training|"
    rf"\btrain[^.;!?]*[.;] (but )?(here |in fact )?(it|that) (is|was|gets|got) (\w+ )?{_MORE}|"
    rf"{_SHALLOW}{_THERE}{_LESS}{_THERE}{_DEEP}|{_LESS} (?:in|for|with|of) {_SHALLOW}{_THERE}{_DEEP}"
)
_DEEPER_LOWER = (
    rf"{_DEEP}{_THERE}{_LESS}{_THERE}{_SHALLOW}",
    rf"{_LESS} (?:in|for|with|of) {_DEEP}{_THERE}{_SHALLOW}",
    rf"{_SHALLOW}{_THERE}{_GREATER}{_THERE}{_DEEP}",
    rf"{_GREATER} (?:in|for|with|of) {_SHALLOW}{_THERE}{_DEEP}",
    rf"{_SHALLOW} (?:has|gets|shows|reaches) (?:a|the) (?:\w+ )?{_GREATER} train",
)
_IMAGINED = (
    r"\b(would|could|might|should|if|when|not|never|neither|nor|cannot|over-?fit\w*|memori[sz]\w*|friend|claim\w*|"
    r"says?|wrong)\b|n't\b"
)
_IN_GENERAL = r"^\W*((with|in|by) )?over-? ?fit(?!.*\b(but|here)\b)|\bover-? ?fitting (means|is|shows|gives)\b"
_NO_CLAIM = (
    r"\b(would|could|might|should|if|when|not|never|neither|nor|over-?fitting|over-?fitted|memori[sz]\w*|"
    r"friend|claim\w*|says?|wrong)\b|n['’]t\b|\b(in|for|of|with) e\b|\be['’]s\b|\be (is|has|gets|reaches)\b"
)
_OVERFIT = r"over-? ?fitt?ing\b"
_DOUBT = (
    r"\b(not|no|never|neither|nor|cannot|wrong|mistaken|disagree|if|when|were|had|would|could|might|should|"
    r"instead of|rather than|says?|said|thinks?|claim\w*|calls?|believes?|sees?|whether|unless)\b|n['’]t\b"
)
_FALSE = (  # what is claimed, what makes it no such claim, and what to answer
    (
        r"\btrain\w* (loss|error) (\w+ ){0,3}?(is|was|gets|becomes) (\w+ )?\W*(lower|smaller|less|better)\b|"
        r"\b(2e|it|deeper (network|net|one)) (has|shows|reaches|gets) (a |the )?\W*(lower|smaller|better) train",
        _NO_CLAIM,
        _COMPARE,
    ),
    (
        rf"\b(test|validation)\b{_SENTENCE}{_MORE}{_SENTENCE}(, |\band |\bbut )not (\w+ ){{0,3}}?train|"
        rf"\bonly (on |in )?(the )?(\w+ )?(test|validation)\b{_SENTENCE}{_MORE}",
        rf"{_IN_GENERAL}|\b(would|could|might|if|when|not (only|just)|friend|says?)\b",
        _COMPARE,
    ),
    (
        r"\bfriend(['’]s (\w+ ){1,2}|,? (\w+ )?)(is|was|has) (\w+ )?(right|correct|true|a point)\b|"
        r"\bagree with (\w+ )?friend\b|\b(he|she) is (\w+ )?(right|correct)\b",
        _DOUBT + r"|\b(that|about|in|on|but|yet|though|although|half|partly|only)\b",
        "the friend is wrong: compare the train losses, and say which one overfitting would lower",
    ),
    (
        rf"^\W*((yes|indeed|exactly|true|right|correct)\W+)?{_OVERFIT} (it is|indeed)\b",
        r"\b(not|never|no|wrong|mistaken)\b|n['’]t\b",
        "the friend is wrong: compare the train losses, and say which one overfitting would lower",
    ),
    (
        rf"\b(because of|due to|caused by|comes? from|reason (is|for (this|it|that) is)|a victim of) (\w+ )?{_OVERFIT}|"
        rf"\b(this|it|that|2e|result)( is|['’]s| shows) (\w+ )?(a (\w+ )?(case|example|sign) of )?{_OVERFIT}|"
        r"\b(2e|it|deeper (network|net|one|model)) (\w+ly |just )?over-? ?fit(s|ted)\b",
        _DOUBT + r"|\b(means?|called|low\w*|small\w*)\b",
        "the train loss of 2E is the higher one, and overfitting lowers that loss: look for another reason",
    ),
    (
        rf"{_OVERFIT} (\w+ ){{0,2}}?(makes?|gives?|means?|raises?|increases?|causes?|leads? to|shows?) (that )?"
        rf"(as )?(an? |the |its )?((high|larg|great|bigg)\w+ train|train\w* (loss|error) (\w+ ){{0,2}}?{_MORE})|"
        rf"{_OVERFIT} (\w+ )?(raises?|increases?|worsens?) (the |its )?train|"
        rf"\b(with|in|by|under) {_OVERFIT},? (the |its )?train\w* (loss|error) (\w+ ){{0,3}}?{_MORE}",
        r"\b(not|never|no|neither|nor|cannot|wrong|lower\w*|low|below|small\w*|under|than)\b|n['’]t\b",
        "overfitting lowers the training loss and raises that on new pictures: which of them is higher here?",
    ),
)
