"""What section 4's experiments gave: tables in the paper's shape, the ladder of D, and which of its steps are clear."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from vgglib import results
from vgglib.configurations import TABLE_1
from vgglib.protocol_plan import CROPS_ON, SEVEN, STAGES, TOGETHER, TWO, listed, named
from vgglib.tables import Table

# Top-1 validation errors on ImageNet in per cent, Tables 3 to 6; S and Q are written as here, an eighth of the paper's
PAPER_3 = {
    ("A", "32"): 29.6, ("A-LRN", "32"): 29.7, ("B", "32"): 28.7,
    ("C", "32"): 28.1, ("C", "48"): 28.1, ("C", "[32, 64]"): 27.3,
    ("D", "32"): 27.0, ("D", "48"): 26.8, ("D", "[32, 64]"): 25.6,
    ("E", "32"): 27.3, ("E", "48"): 26.9, ("E", "[32, 64]"): 25.5,
}  # fmt: skip
PAPER_4 = {
    ("B", "32"): 28.2, ("C", "32"): 27.7, ("C", "48"): 27.8, ("C", "[32, 64]"): 26.3,
    ("D", "32"): 26.6, ("D", "48"): 26.5, ("D", "[32, 64]"): 24.8,
    ("E", "32"): 26.9, ("E", "48"): 26.7, ("E", "[32, 64]"): 24.8,
}  # fmt: skip
PAPER_5 = {
    ("D", "dense"): 24.8, ("D", "multi-crop"): 24.6, ("D", "both"): 24.4,
    ("E", "dense"): 24.8, ("E", "multi-crop"): 24.6, ("E", "both"): 24.4,
}  # fmt: skip
PAPER_6 = {"dense": 24.0, "multi-crop": 23.9, "both": 23.7}  # of D and E together, both trained with jitter
PAPER_6_SEVEN = {"dense": 24.7}
# Top-5 errors, by table
PAPER_TOP_5 = {
    3: {
        ("A", "32"): 10.4, ("A-LRN", "32"): 10.5, ("B", "32"): 9.9,
        ("C", "32"): 9.4, ("C", "48"): 9.3, ("C", "[32, 64]"): 8.8,
        ("D", "32"): 8.8, ("D", "48"): 8.7, ("D", "[32, 64]"): 8.1,
        ("E", "32"): 9.0, ("E", "48"): 8.7, ("E", "[32, 64]"): 8.0,
    },
    4: {
        ("B", "32"): 9.6, ("C", "32"): 9.2, ("C", "48"): 9.2, ("C", "[32, 64]"): 8.2,
        ("D", "32"): 8.6, ("D", "48"): 8.6, ("D", "[32, 64]"): 7.5,
        ("E", "32"): 8.7, ("E", "48"): 8.6, ("E", "[32, 64]"): 7.5,
    },
    5: {
        ("D", "dense"): 7.5, ("D", "multi-crop"): 7.5, ("D", "both"): 7.2,
        ("E", "dense"): 7.5, ("E", "multi-crop"): 7.4, ("E", "both"): 7.1,
    },
    6: {
        (TWO, "dense"): 7.1, (TWO, "multi-crop"): 7.2, (TWO, "both"): 6.8, (SEVEN, "dense"): 7.5,
    },
}  # fmt: skip


def errors(
    record: dict,
    configuration: str,
    stage: str,
    method: str,
    several: bool,
    few: bool = False,
    measure: str = "top1_error",
) -> dict:
    """Return the errors in per cent by seed: {seed: error}; empty where nothing was run.

    several: of the three test scales, else of the single one. few: on the CROPS_ON test pictures of Table 5, those
    that crops were tried on. measure: "top1_error", or "top5_error", which older records do not hold.
    """
    found, of_crops = {}, ("multi-crop", "both")
    if method in of_crops and not few:
        return found
    for run in record["runs"]:
        if (run["configuration"], run["stage"]) != (configuration, stage):
            continue
        for test in run["tests"]:
            counts = [other["pictures"] for other in run["tests"] if other["method"] in of_crops or not few]
            wanted = max(counts, default=None)
            if (test["method"], len(test["scales"]) > 1, test["pictures"]) == (method, several, wanted):
                found |= {run["seed"]: 100 * test[measure]} if measure in test else {}
    return found


def tables(record: dict) -> dict[str, Table]:
    """Return our errors in the shape of the paper's Tables 3 to 6, beside the paper's: {title: table}.

    Ours are mean ± standard deviation over n seeds. The paper's are one network each, on ImageNet, at scales 8 times
    as large, or as large where the record says so. Rows that were not run are left out, and so are top-5 errors where
    the record holds none.
    """
    times = record.get("times", 1)
    tests = [*(test for run in record["runs"] for test in run["tests"]), *record["ensembles"]]
    measures = ("top1_error", "top5_error") if all("top5_error" in test for test in tests) else ("top1_error",)

    def table(title: str, *head: str) -> Table:
        made[title] = Table([(*head, *_HEADS[0], *(_HEADS[1] if len(measures) > 1 else ()))])
        return made[title]

    made: dict[str, Table] = {}
    for title, several, paper in (
        ("Table 3: one test scale", False, (PAPER_3, PAPER_TOP_5[3])),
        ("Table 4: three test scales", True, (PAPER_4, PAPER_TOP_5[4])),
    ):
        rows = table(title, "network", "S", "Q")
        for configuration in TABLE_1:
            for stage, chosen in STAGES.items():
                scales = [times * scale for scale in (chosen.test_scales if several else (chosen.test_scale,))]
                ours = [errors(record, configuration, stage, "dense", several, measure=one) for one in measures]
                begin = (configuration, named(stage, times), listed(scales))
                rows += _row(begin, ours, [each.get((configuration, stage)) for each in paper])
    rows = table(f"Table 5: dense or {50 * 3} crops, first {_few(record):,} test pictures", "network", "method")
    for configuration in TABLE_1:
        for method in ("dense", "multi-crop", "both"):
            ours = [errors(record, configuration, "[32, 64]", method, True, few=True, measure=one) for one in measures]
            papers = [each.get((configuration, method)) for each in (PAPER_5, PAPER_TOP_5[5])]
            rows += _row((configuration, method), ours, papers)
    rows = table("Table 6: networks together", "networks", "method", "pictures")
    of_ensembles = {TWO: PAPER_6, SEVEN: PAPER_6_SEVEN}
    for nets in TOGETHER:
        for method in ("dense", "multi-crop", "both"):
            found = [one for one in record["ensembles"] if (tuple(one["networks"]), one["method"]) == (nets, method)]
            ours = [{one["seed"]: 100 * one[measure] for one in found} for measure in measures]
            papers = [of_ensembles.get(nets, {}).get(method), PAPER_TOP_5[6].get((nets, method))]
            pictures = f"{found[0]['pictures']:,}" if found else ""
            rows += _row((named(" + ".join(nets), times), method, pictures), ours, papers)
    return {title: rows for title, rows in made.items() if len(rows) > 1}


_HEADS = (
    ("top-1 error (%)", "n", "the paper's (%)"),
    ("top-5 error (%)", "the paper's top-5 (%)"),
)


def _few(record: dict) -> int:
    counts = [test["pictures"] for run in record["runs"] for test in run["tests"] if test["method"] == "multi-crop"]
    return min(counts, default=CROPS_ON)


def _row(
    begin: tuple[str, ...], ours: Sequence[dict[int, float]], papers: Sequence[float | None]
) -> list[tuple[str, ...]]:
    """Return a row, none where nothing was run. ours: errors by seed, top-1 and perhaps top-5; papers: one each."""
    if not ours[0]:
        return []
    row = [*begin]
    for place, (by_seed, paper) in enumerate(zip(ours, papers, strict=False)):
        found = results.summary(list(by_seed.values()))
        spread = f" ± {found['sd']:.2f}" if found["n"] > 1 else ""
        row += [f"{found['mean']:.2f}{spread}", str(found["n"])][: 1 if place else 2]
        row.append("" if paper is None else f"{paper:.1f}")
    return [tuple(row)]


@dataclass(frozen=True)
class Rung:
    """One step of the ladder that section 4 climbs with configuration D."""

    label: str
    errors: dict[int, float]  # top-1 error in per cent by seed
    paper: float | None  # the paper's, on ImageNet; None: it tested nothing like it
    gain: dict | None  # of the step from the rung below, by the seeds that have both: n, mean, standard error


def ladder(record: dict) -> list[Rung]:
    """Return the ladder of D: the paper's 27.0, 25.6, 24.8, 24.6, 24.4 % beside ours; 23.7 where E was trained, too.

    A step is a difference of two errors of the same seed on the same pictures. Crops were tested on the first pictures
    only, so the rung below them appears twice: on all test pictures, and on those, where no step leads to it and the
    paper has no number.
    """
    jitter, of = "[32, 64]", partial(errors, record, "D")
    few = f"three test scales, first {_few(record):,} pictures"

    steps = [
        ("smallest S, one test scale", of("32", "dense", False), 27.0),
        ("scale jitter, one test scale", of(jitter, "dense", False), 25.6),
        ("three test scales", of(jitter, "dense", True), 24.8),
        (few, of(jitter, "dense", True, few=True), None),
        ("150 crops instead", of(jitter, "multi-crop", True, few=True), 24.6),
        ("dense and crops", of(jitter, "both", True, few=True), 24.4),
    ]
    both = {
        pair["seed"]: 100 * pair["top1_error"]
        for pair in record["ensembles"]
        if pair["networks"] == ["D [32, 64]", "E [32, 64]"] and pair["method"] == "both"
    }
    steps += [("with network E", both, 23.7)] if both else []
    rungs, below = [], None
    for label, ours, paper in steps:
        rungs.append(Rung(label, ours, paper, None if below is None or label == few else gain(below, ours)))
        below = ours
    return rungs


def gain(before: dict[int, float], after: dict[int, float]) -> dict | None:
    """Return by how many points the error falls, over the seeds that both have: n, mean and standard error.

    One seed has no standard error: None. Without any, the whole is None.
    """
    differences = [before[seed] - after[seed] for seed in before if seed in after]
    if not differences:
        return None
    found = results.summary(differences)
    error = found["sd"] / found["n"] ** 0.5 if found["n"] > 1 else None
    return {"n": found["n"], "mean": found["mean"], "standard_error": error}


# standard errors that a mean of n paired differences must exceed: Student's t, 95 %, both sides
CLEAR_BEYOND = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}


def described(step: dict) -> str:
    """Return what :func:`gain` found, in words: the error falls or rises, by how much, and how sure that is."""
    n, points = step["n"], abs(step["mean"])
    way = "falls" if step["mean"] > 0 else "rises"
    if step["standard_error"] is None:
        return f"{way} by {points:>5.2f} points (n={n}, no spread)"
    errors = points / step["standard_error"] if step["standard_error"] else math.inf
    return f"{way} by {points:>5.2f} points, {errors:>4.1f} standard errors (n={n})"


def judged(step: dict) -> str:
    """Return whether what :func:`gain` found is "clear" or "open", by Student's t over n paired differences.

    Of one seed alone nothing is clear. For more than ten seeds the limit is that of ten, which is a little too strict.
    """
    limit = CLEAR_BEYOND.get(step["n"], CLEAR_BEYOND[max(CLEAR_BEYOND)])
    return "clear" if step["n"] > 1 and abs(step["mean"]) > limit * step["standard_error"] else "open"
