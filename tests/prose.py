"""Numbers in the text of the notebooks: which are computed, and which few may stand as typed.

A number that is computed stands behind its expression, in a comment that no page shows:
``<!--=cost(VGG("D"), 224).parameters-->138,357,544``. NAMES are what the expression may use.
"""

import math
import re

import torch

from vgglib import protocol, results, scaling
from vgglib.configurations import TABLE_1, layers, names
from vgglib.cost import CostTable, cost
from vgglib.model import VGG, vgg
from vgglib.receptive_field import receptive_field, table
from vgglib.tolerance import curves
from vgglib.training import RECIPES, recipe

try:  # the outside numbers lie beside this file, on pytest's path
    import reference
except ImportError:
    reference = None

MARKED = re.compile(r"<!--=(.+?)-->", re.DOTALL)
ALLOWED = [
    r"\b(19[5-9]\d|20[0-3]\d)\b",  # years
    r"\b(sections?|chapters?|tables?|figures?|exercises?|questions?|parts?|steps?) \d+(\.\d+)*( to \d+(\.\d+)*)?",
    r"\b0\d\b",  # chapters
    r"\b\d+ ?[x×] ?\d+( ?[x×] ?\d+)*\b",  # kernels and pictures
    r"\b(VGG|ResNet|AlexNet|FC|LeNet|ILSVRC|Inception|WRN|DenseNet)-?\d+(-\d+)*\b",
    r"\b(conv|pool|fc|lrn|block|blocks|vgg|float|int|uint|bf|bfloat|relu|arXiv) ?\d+(_\d+)?(-\d+)?(_bn)?\b",
    r"\b\d+ (minutes?|min)\b",
    r"\barXiv:? ?\d{4}\.\d{4,5}\b",
    r"\bPython 3\.\d+\b",
    r"\b(28|32|48|64|128|224|225|256|384|512|1000|4096)\b",  # the paper's picture sizes and channels
    r"(?<![\d.,])(1?\d|20)(?![\d]|[.,]\d)",  # what one counts on fingers and toes
]


def count(configuration: str, **options: object) -> int:
    """Return a configuration's parameters."""
    with torch.device("meta"):
        net = VGG(configuration, **options)
    return sum(parameter.numel() for parameter in net.parameters())


def costs(configuration: str, image_size: int = 224, **options: object) -> CostTable:
    """Return a configuration's costs."""
    with torch.device("meta"):
        net = VGG(configuration, image_size=image_size, **options)
    return cost(net, image_size)


def macs(configuration: str, image_size: int = 224, **options: object) -> int:
    """Return a configuration's multiply-accumulates for one picture."""
    return costs(configuration, image_size, **options).macs


def top1(name: str, stage: str, method: str = "dense", several: bool = False, few: bool = False, of: str = "D") -> str:
    """Return the mean top-1 error of a network in a record of the protocol, in per cent."""
    found = protocol.errors(results.load(name), of, stage, method, several, few).values()
    return f"{sum(found) / len(found):.2f}"


def fall(name: str, before: str, after: str) -> dict[str, float]:
    """By how much D's top-1 error falls from one stage of training to another, seed by seed."""
    return protocol.gain(*(protocol.errors(results.load(name), "D", one, "dense", False) for one in (before, after)))


def together(name: str, *networks: str, method: str = "dense") -> str:
    """Return the mean top-1 error of networks together, such as "D 32", in a record of the protocol, in per cent."""
    tests = [one for one in results.load(name)["ensembles"] if one["method"] == method]
    found = [one["top1_error"] for one in tests if one["networks"] == [*networks]]
    return f"{100 * sum(found) / len(found):.2f}"


def at_scale(name: str, stage: str, Q: int) -> str:
    """Return the top-1 error at one test scale of the network D of a stage that comes with the book, in per cent."""
    return f"{dict(curves(results.load('test-scales'), name)[f'S = {stage}'])[Q]:.1f}"


NAMES = {
    **dict(math=math, torch=torch, results=results, reference=reference, scaling=scaling, protocol=protocol),
    **dict(layers=layers, names=names, receptive_field=receptive_field, table=table, TABLE_1=TABLE_1),
    **dict(VGG=VGG, vgg=vgg, cost=cost, RECIPES=RECIPES, recipe=recipe, count=count, macs=macs, costs=costs, top1=top1),
    **dict(together=together, at_scale=at_scale, fall=fall),
}


def wrong_numbers(markdown: str) -> list[str]:
    """Return a complaint for every marked number that is not what its expression gives, and every unmarked one."""
    found = []

    def evaluated(match: re.Match) -> str:
        value = eval(match.group(1), dict(NAMES))
        shown = f"{value:,}" if isinstance(value, int) else str(value)
        after = markdown[match.end() :]
        if not after.startswith(shown) or re.match(r"[.,]?\d", after[len(shown) :]):
            found.append(f"{match.group(1)} gives {shown}, the text says {after[: len(shown) + 5]!r}")
        spans.append((match.start(), match.end() + len(shown)))
        return ""

    spans: list[tuple[int, int]] = []
    for match in MARKED.finditer(markdown):
        evaluated(match)
    for start, end in reversed(spans):
        markdown = markdown[:start] + " " + markdown[end:]
    return found + [f"unmarked number in {context!r}" for context in unmarked(markdown)]


def unmarked(markdown: str) -> list[str]:
    """Return the surroundings of every number that is neither in code, formulas or addresses, nor allowed."""
    for pattern in (
        r"```.*?```",
        r"`[^`]*`",
        r"\$\$.*?\$\$",
        r"\$[^$\n]+\$",
        r"<!--.*?-->",
        r"<[^>]+>",
        r"\]\([^)]*\)",
        r"https?://\S+",
        r"(?m)^\s*\d+\. ",
        *(f"(?i){allowed}" for allowed in ALLOWED),
    ):
        markdown = re.sub(pattern, " ", markdown, flags=re.DOTALL)
    return [markdown[max(0, m.start() - 25) : m.end() + 15] for m in re.finditer(r"\d[\d.,]*", markdown)]


NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")


def typed(markdown: str) -> list[str]:
    """Return the numbers that stand in backticks as numbers: not in names, calls, formulas or blocks of code."""
    plain = re.sub(r"```.*?```|<!--.*?-->", "", markdown, flags=re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", plain)
    return [
        number
        for span in spans
        if not re.search(r"[A-Za-z_]{3,}|[A-Za-z]\d|[=(\[*_/]", span)
        for number in NUMBER.findall(span)
    ]


def numbers(text: str) -> set[str]:
    """Return the numbers in code or output, without the commas of thousands."""
    return {number.replace(",", "").replace("_", "") for number in NUMBER.findall(text.replace("_", ""))}
