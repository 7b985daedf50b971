"""The study of section 4: the paper's geometry and figures, chains that go on after a stop, tables, the ladder."""

import copy
import dataclasses
import functools
import json

import pytest
import reference
import torch
from safetensors.torch import load

from vgglib import protocol
from vgglib.checkpoint import load_network
from vgglib.configurations import TABLE_1, layers
from vgglib.data import ImageSet
from vgglib.evaluation import dense, ensemble, multi_crop, over_scales, top1_error
from vgglib.protocol import PLAN, STAGES, at_28, errors, gain, ladder, recipe_of, run_protocol, tables
from vgglib.protocol_plan import SEVEN, TWO
from vgglib.protocol_tables import PAPER_6_SEVEN, PAPER_TOP_5

pytestmark = pytest.mark.filterwarnings("ignore::vgglib.training.NotLearningWarning")  # a few pictures teach nothing
JITTER = "[32, 64]"


@pytest.fixture
def tiny(monkeypatch):
    """A plan of one chain each of D and E on 120 pictures, narrow and short."""
    images = torch.randint(0, 256, (80, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    data = ImageSet(images.repeat(2, 1, 1, 1), torch.arange(160) % 10)
    whole = recipe_of

    def short(configuration, stage, width=0.125, longer=1):
        chosen = whole(configuration, stage, 1 / 64)
        return dataclasses.replace(chosen, epochs=1, validation=16, batch_size=32, hidden=4, bf16=False)

    monkeypatch.setattr(protocol, "recipe_of", short)
    monkeypatch.setattr(protocol, "CROPS_ON", 6)
    monkeypatch.setattr(protocol, "PLAN", [(name, 0, stage) for name in "DE" for stage in ("32", "48", JITTER)])
    short_run = functools.partial(run_protocol, pictures=120)
    monkeypatch.setitem(globals(), "run_protocol", short_run)
    return data, data[:30]


def test_the_configurations_at_28_pixels():
    assert at_28("D") == "64 64 | 128 128 | 256 256 256 512 512 512 512 512 512"
    for name in TABLE_1:
        kept = [layer for layer in layers(at_28(name)) if layer.kind != "pool"]
        assert kept == [layer for layer in layers(name) if layer.kind != "pool"]
        assert sum(layer.kind == "pool" for layer in layers(at_28(name))) == 2


def test_scales_are_an_eighth_of_the_papers():
    for table, paper, several in (
        (reference.ERRORS_AT_ONE_SCALE, (protocol.PAPER_3, PAPER_TOP_5[3]), False),
        (reference.ERRORS_AT_THREE_SCALES, (protocol.PAPER_4, PAPER_TOP_5[4]), True),
    ):
        rows = [line.split() for line in table.strip().splitlines()]
        assert len(rows) == len(paper[0]) == len(paper[1])
        for name, training, tested, *both in rows:
            stage = "[32, 64]" if training == "[256;512]" else str(int(training) // 8)
            assert [one[name, stage] for one in paper] == [float(error) for error in both]
            chosen = STAGES[stage]
            assert list(chosen.test_scales if several else (chosen.test_scale,)) == [
                int(q) // 8 for q in tested.split(",")
            ]


def test_the_papers_other_figures():
    rows = [line.split() for line in reference.ERRORS_BY_METHOD.strip().splitlines()]
    assert {(name, method): float(top1) for name, method, top1, _ in rows} == protocol.PAPER_5
    assert {(name, method): float(top5) for name, method, _, top5 in rows} == PAPER_TOP_5[5]
    assert reference.ERRORS_OF_TWO == protocol.PAPER_6
    (top1, top5) = reference.ERRORS_OF_SEVEN
    assert {"dense": top1} == PAPER_6_SEVEN
    of_two = {(TWO, method): error for method, error in reference.TOP_5_ERRORS_OF_TWO.items()}
    assert PAPER_TOP_5[6] == of_two | {(SEVEN, "dense"): top5}


def test_the_seven_of_the_contest():
    found = []
    for one in reference.SEVEN.replace("\n", " ").split("; "):
        name, training, tested = one.strip(" ;").split("/")
        stage = JITTER if training == "[256;512]" else str(int(training) // 8)
        assert STAGES[stage].test_scales == tuple(int(Q) // 8 for Q in tested.split(","))
        found.append(f"{name} {stage}")
    assert tuple(found) == SEVEN


def test_chains_follow_section_3():
    assert STAGES["48"].starts_from == "32"
    assert STAGES["48"].learning_rate == STAGES["32"].learning_rate / 10
    assert STAGES[JITTER].starts_from == "48"
    chain = sum(STAGES[stage].epochs for stage in ("48", JITTER))
    assert STAGES["32 longer"].epochs == chain  # as long as the network with jitter
    recipe = recipe_of("D", JITTER)
    assert (recipe.scale, recipe.image_size, recipe.batch_size, recipe.momentum) == ((32, 64), 28, 64, 0.9)
    assert len(set(PLAN)) == len(PLAN)
    for name, seed, stage in PLAN:
        before = STAGES[stage].starts_from
        assert before is None or PLAN.index((name, seed, before)) < PLAN.index((name, seed, stage))


def test_the_papers_own_sizes():
    """At 224 pixels the scales are the paper's, and the networks, too, but for batch normalisation."""
    rows = [line.split() for line in reference.ERRORS_AT_ONE_SCALE.strip().splitlines()]
    for name, training, tested, *_ in rows:
        stage = JITTER if training == "[256;512]" else str(int(training) // 8)
        recipe = recipe_of(name, stage, 1, times=8)
        assert recipe.scale == ((256, 512) if stage == JITTER else int(training))
        assert 8 * STAGES[stage].test_scale == int(tested) == recipe.test_scale
        assert (recipe.configuration, recipe.image_size, recipe.width, recipe.hidden) == (name, 224, 1, 4096)
        small = recipe_of(name, stage)
        same = ("epochs", "learning_rate", "batch_size", "dropout", "batch_norm", "normalise", "initialisation")
        assert [getattr(recipe, field) for field in same] == [getattr(small, field) for field in same]
    assert [seed for _, seed, _ in protocol.PLAN_224] == [0] * 6


def test_the_study_at_224_pixels(tiny, tmp_path, monkeypatch):
    whole, data = recipe_of, tiny[0]
    monkeypatch.setitem(globals(), "recipe_of", whole)

    def short(configuration, stage, width, longer, times):
        assert (width, longer, times) == (1, 1, 8)
        chosen = whole(configuration, stage, 1 / 64, times=times)
        return dataclasses.replace(chosen, epochs=1, validation=8, batch_size=8, hidden=4, bf16=False)

    monkeypatch.setattr(protocol, "recipe_of", short)
    few, told = (data[:24], data[:4]), []
    record = run_protocol(
        "protocol-224", few, tmp_path / "it.json", "cpu", told.append, 1, pictures=24, folder=tmp_path
    )
    (run,) = record["runs"]
    assert (run["configuration"], run["seed"], run["stage"]) == ("D", 0, "32")
    assert [test["scales"] for test in run["tests"]] == [[256], [256], [224, 256, 288]]
    assert told[0].startswith("D, S = 256, seed 0: top-1 error single crop 256")
    assert record["command"] == "python -m vgglib study protocol-224 --pictures 24 --result FILE"
    assert (record["times"], record["width"]) == (8, 1)
    assert [row[:3] for row in tables(record)["Table 4: three test scales"][1:]] == [("D", "256", "224, 256, 288")]
    net = load_network(next(tmp_path.glob("protocol-224-1-24/D-32-seed0.network.safetensors")))
    assert net.image_size == (224, 224)
    expected = top1_error(over_scales(dense, net, few[1].images, [224, 256, 288]), few[1].labels)
    assert run["tests"][2]["top1_error"] == pytest.approx(expected)


def test_a_chain_is_trained_tested_and_recorded(tiny, tmp_path):
    said, path = [], tmp_path / "r.json"
    record = run_protocol("protocol", tiny, path, "cpu", said.append, folder=tmp_path)
    assert len(said) == 6
    assert json.loads(path.read_text()) == record
    run = record["runs"][2]
    assert (run["configuration"], run["stage"], run["seed"]) == ("D", JITTER, 0)
    net = load_network(tmp_path / "protocol-0.125-120" / "D-32-64-seed0.network.safetensors")
    images, labels = tiny[1].images[:20], tiny[1].labels[:20]
    scales, few = [32, 48, 64], slice(6)
    over_all = over_scales(dense, net, images, scales)
    crops = over_scales(multi_crop, net, images[few], scales)
    expected = {
        ("dense", 1, 20): dense(net, images, 48),
        ("dense", 3, 20): over_all,
        ("dense", 3, 6): over_all[few],
        ("multi-crop", 3, 6): crops,
        ("both", 3, 6): ensemble([over_all[few], crops]),
    }
    tests = {(one["method"], len(one["scales"]), one["pictures"]): one["top1_error"] for one in run["tests"]}
    for key, posteriors in expected.items():
        assert tests[key] == pytest.approx(top1_error(posteriors, labels[: len(posteriors)]))
    assert ("single crop", 1, 20) in tests
    two = [
        load_network(tmp_path / "protocol-0.125-120" / f"D-{stage}-seed0.network.safetensors") for stage in ("32", "48")
    ]
    together = ensemble(
        over_scales(dense, net, images, STAGES[stage].test_scales) for net, stage in zip(two, ("32", "48"), strict=True)
    )
    found = next(one for one in record["ensembles"] if one["networks"] == ["D 32", "D 48"])
    assert found["top1_error"] == pytest.approx(top1_error(together, labels))
    assert {one["method"] for one in record["ensembles"] if "E" in one["networks"][1]} == {
        "dense",
        "multi-crop",
        "both",
    }


def test_a_stopped_study_goes_on_to_the_same_end(tiny, tmp_path):
    whole = run_protocol("protocol", tiny, tmp_path / "whole.json", "cpu", str, folder=tmp_path / "a")
    for _ in range(6):
        part = run_protocol("protocol", tiny, tmp_path / "r.json", "cpu", str, networks=1, folder=tmp_path / "b")
    said = []
    again = run_protocol("protocol", tiny, tmp_path / "r.json", "cpu", said.append, folder=tmp_path / "b")
    assert not said
    for record in (part, again):
        assert [[test["top1_error"] for test in run["tests"]] for run in record["runs"]] == [
            [test["top1_error"] for test in run["tests"]] for run in whole["runs"]
        ]
        assert record["ensembles"] == whole["ensembles"]


def test_two_studies_that_share_a_folder_do_not_mix(tiny, tmp_path, monkeypatch):
    """Such as one in another number format, with a record of its own."""
    alone = run_protocol("protocol", tiny, tmp_path / "alone.json", "cpu", str, networks=4, folder=tmp_path / "alone")
    mine, other, build = tmp_path / "mine.json", tmp_path / "other.json", protocol.build

    def both(networks):
        record = run_protocol("protocol", tiny, mine, "cpu", str, networks=networks, folder=tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(protocol, "build", lambda recipe, part, seed: build(recipe, part, seed + 1))
            run_protocol("protocol", tiny, other, "cpu", str, networks=networks, folder=tmp_path)
        return record

    both(1)
    record = both(2)  # the chain does not go on from the other's network
    assert {(*one["networks"], one["method"]) for one in record["ensembles"]} == {("D 32", "D 48", "dense")}
    with pytest.warns(UserWarning, match=r"is damaged, or another study's: ensembles with this network stay as"):
        record = run_protocol("protocol", tiny, mine, "cpu", str, networks=1, folder=tmp_path)
    for one, expected in zip(record["runs"], alone["runs"], strict=True):
        assert one["train_loss"] == expected["train_loss"]
        assert [test["top1_error"] for test in one["tests"]] == [test["top1_error"] for test in expected["tests"]]
    assert record["ensembles"] == alone["ensembles"]


@pytest.mark.parametrize("older", [False, True])
def test_damaged_posteriors_stop_no_study(tiny, tmp_path, older):
    path = tmp_path / "r.json"
    record = run_protocol("protocol", tiny, path, "cpu", str, networks=1, folder=tmp_path)
    if older:  # it does not say what its files were
        del record["runs"][0]["kept"]
        path.write_text(json.dumps(record))
    (kept,) = tmp_path.glob("protocol-0.125-120/*.posteriors.safetensors")
    kept.write_bytes(kept.read_bytes()[:70])
    with pytest.warns(UserWarning, match=r"posteriors.safetensors is damaged.*: ensembles with this network stay as"):
        record = run_protocol("protocol", tiny, path, "cpu", str, networks=1, folder=tmp_path)
    assert [run["stage"] for run in record["runs"]] == ["32", "48"]
    assert record["ensembles"] == []


def test_where_networks_are_gone_the_chain_is_trained_again(tiny, tmp_path):
    run_protocol("protocol", tiny, tmp_path / "r.json", "cpu", str, networks=1, folder=tmp_path / "here")
    said = []
    record = run_protocol(
        "protocol", tiny, tmp_path / "r.json", "cpu", said.append, networks=1, folder=tmp_path / "elsewhere"
    )
    assert [text.partition(", seed")[0] for text in said] == ["D, S = 32", "D, S = 48"]
    assert [run["stage"] for run in record["runs"]] == ["32", "48"]


def test_what_was_trained_is_not_lost_where_its_test_fails(tiny, tmp_path, monkeypatch):
    whole = run_protocol("protocol", tiny, tmp_path / "whole.json", "cpu", str, networks=1, folder=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(protocol, "dense", lambda *given, **more: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_protocol("protocol", tiny, tmp_path / "r.json", "cpu", str, networks=1, folder=tmp_path)
    place = tmp_path / "protocol-0.125-120"
    assert [path.name for path in place.iterdir()] == ["D-32-seed0.run"]
    with monkeypatch.context() as patch:
        patch.setattr("vgglib.training._gradients", lambda *given: 1 / 0)  # not a step more
        record = run_protocol("protocol", tiny, tmp_path / "r.json", "cpu", str, networks=1, folder=tmp_path)
    assert record["runs"][0]["tests"][0]["top1_error"] == whole["runs"][0]["tests"][0]["top1_error"]
    assert not (place / "D-32-seed0.run").exists()


def test_a_network_is_tested_in_parts_that_fit_into_memory(tiny, tmp_path, monkeypatch):
    whole = run_protocol("protocol", tiny, tmp_path / "whole.json", "cpu", str, networks=1, folder=tmp_path / "whole")
    tried = []

    def small(net, images, scale, batch_size=500):
        tried.append(batch_size)
        if batch_size > 10:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return dense(net, images, scale, batch_size=batch_size)

    monkeypatch.setattr(protocol, "dense", small)
    record = run_protocol("protocol", tiny, tmp_path / "r.json", "cpu", str, networks=1, folder=tmp_path)
    errors = [[test["top1_error"] for test in one["runs"][0]["tests"]] for one in (record, whole)]
    assert errors[0] == errors[1]
    assert tried[:7] == [500, 250, 125, 62, 31, 15, 7]


def test_a_changed_recipe_is_run_again(tiny, tmp_path, monkeypatch):
    run_protocol("protocol", tiny, tmp_path / "r.json", "cpu", str, networks=1, folder=tmp_path)
    before = protocol.recipe_of
    monkeypatch.setattr(
        protocol, "recipe_of", lambda *arguments: dataclasses.replace(before(*arguments), weight_decay=0.1)
    )
    said = []
    run_protocol("protocol", tiny, tmp_path / "r.json", "cpu", said.append, networks=1, folder=tmp_path)
    assert said[0].startswith("D, S = 32")


def test_wrong_studies_are_refused(tiny, tmp_path):
    with pytest.raises(ValueError, match="choose from protocol, protocol-canvas"):
        run_protocol("nonsense")
    run_protocol("protocol", tiny, tmp_path / "r.json", "cpu", str, networks=1, folder=tmp_path)
    with pytest.raises(ValueError, match=r"'width': 0\.125, .*give another --result for \{'width': 0\.25"):
        run_protocol("protocol", tiny, tmp_path / "r.json", "cpu", str, width=0.25)


def made_up(errors):
    """A record of D with one network a seed and stage: {(stage, method, number of scales, pictures): [errors]}."""
    runs = []
    for seed in (0, 1):
        for stage in ("32", JITTER):
            tests = [
                {"method": method, "scales": [1] * count, "pictures": pictures, "top1_error": values[seed]}
                for (where, method, count, pictures), values in errors.items()
                if where == stage
            ]
            runs.append({"configuration": "D", "stage": stage, "seed": seed, "tests": tests})
    pair = {"networks": ["D [32, 64]", "E [32, 64]"], "pictures": 20, "top1_error": 0.11, "method": "both", "seed": 0}
    return {"runs": runs, "ensembles": [pair]}


RECORD = made_up(
    {
        ("32", "single crop", 1, 100): [0.5, 0.5],
        ("32", "dense", 1, 100): [0.20, 0.22],
        ("32", "dense", 3, 100): [0.19, 0.2],
        (JITTER, "dense", 1, 100): [0.18, 0.18],
        (JITTER, "dense", 3, 100): [0.17, 0.175],
        (JITTER, "multi-crop", 3, 20): [0.15, 0.17],
        (JITTER, "dense", 3, 20): [0.16, 0.16],
        (JITTER, "both", 3, 20): [0.14, 0.15],
    }
)


def test_errors_by_seed():
    assert errors(RECORD, "D", "32", "dense", False) == {0: 20.0, 1: 22.0}
    assert errors(RECORD, "D", JITTER, "dense", True) == pytest.approx({0: 17.0, 1: 17.5})
    assert errors(RECORD, "D", JITTER, "dense", True, few=True) == {0: 16.0, 1: 16.0}
    assert errors(RECORD, "B", "32", "dense", True) == {}


def test_tables_have_the_papers_shape():
    made = tables(RECORD)
    assert [title[:7] for title in made] == ["Table 3", "Table 4", "Table 5", "Table 6"]
    three, four, five, six = made.values()
    assert three[1] == ("D", "32", "32", "21.00 ± 1.41", "2", "27.0")
    assert four[2] == ("D", JITTER, "32, 48, 64", "17.25 ± 0.35", "2", "24.8")
    assert [row[:2] for row in five[1:]] == [("D", "dense"), ("D", "multi-crop"), ("D", "both")]
    assert five[3][2:] == ("14.50 ± 0.71", "2", "24.4")
    assert six[1] == ("D [32, 64] + E [32, 64]", "both", "20", "11.00", "1", "23.7")
    assert "27.0" in str(three)
    assert "<table>" in three._repr_html_()


def test_tables_have_top_5_errors_where_all_tests_have_them():
    record = copy.deepcopy(RECORD)
    tests = [*(test for run in record["runs"] for test in run["tests"]), *record["ensembles"]]
    for test in tests:
        test["top5_error"] = test["top1_error"] / 10
    three, four, five, six = tables(record).values()
    assert three[0][3:] == ("top-1 error (%)", "n", "the paper's (%)", "top-5 error (%)", "the paper's top-5 (%)")
    assert three[1] == ("D", "32", "32", "21.00 ± 1.41", "2", "27.0", "2.10 ± 0.14", "8.8")
    assert four[2][6:] == ("1.73 ± 0.04", "7.5")
    assert five[3][4:] == ("24.4", "1.45 ± 0.07", "7.2")
    assert six[1][3:] == ("11.00", "1", "23.7", "1.10", "6.8")
    del tests[-1]["top5_error"]
    assert all(len(row) <= 6 for table in tables(record).values() for row in table)


def test_seven_networks_are_tested_together(tiny, tmp_path, monkeypatch):
    plan = [(name, 0, stage) for name, stage in (member.split(" ", 1) for member in SEVEN)]
    monkeypatch.setattr(protocol, "PLAN", plan)
    record = run_protocol("protocol", tiny, tmp_path / "r.json", "cpu", str, folder=tmp_path)
    (found,) = [one for one in record["ensembles"] if tuple(one["networks"]) == SEVEN]
    assert found["method"] == "dense"
    each = [load(path.read_bytes())["dense"] for path in sorted(tmp_path.rglob("*.posteriors.safetensors"))]
    assert len(each) == 7
    assert found["top1_error"] == pytest.approx(top1_error(ensemble(each), tiny[1].labels[: len(each[0])]))
    assert tables(record)["Table 6: networks together"][-1][0] == " + ".join(SEVEN)


def test_the_ladder_compares_seeds_with_themselves():
    rungs = ladder(RECORD)
    again = rungs.pop(3)  # the rung below the crops, on their pictures
    assert again == protocol.Rung("three test scales, first 20 pictures", {0: 16.0, 1: 16.0}, None, None)
    assert tuple(rung.paper for rung in rungs) == reference.LADDER_OF_D
    assert rungs[0].gain is None
    assert rungs[1].gain == pytest.approx({"n": 2, "mean": 3.0, "standard_error": 1.0})
    assert rungs[3].gain == pytest.approx({"n": 2, "mean": 0.0, "standard_error": 1.0})  # 16, 16 against 15, 17
    assert rungs[4].errors == pytest.approx({0: 14.0, 1: 15.0})
    assert rungs[5].errors == pytest.approx({0: 11.0})
    assert rungs[5].gain == {"n": 1, "mean": pytest.approx(3.0), "standard_error": None}
    assert gain({0: 5.0}, {1: 4.0}) is None


def test_of_some_seeds_alone(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(protocol, "PLAN", [(name, seed, "32") for seed in (0, 1, 2) for name in "DE"])
    record = run_protocol("protocol", tiny, tmp_path / "r.json", "cpu", str, folder=tmp_path, seeds=[2, 1])
    assert [(run["configuration"], run["seed"]) for run in record["runs"]] == [("D", 1), ("E", 1), ("D", 2), ("E", 2)]
    assert record["command"].endswith("--seeds 1 2 --result FILE")
    assert record["seeds"] == [1, 2]
    again = run_protocol("protocol", tiny, tmp_path / "r.json", "cpu", str, folder=tmp_path, seeds=iter([1, 2, 2]))
    assert again == record
    for others in (None, [0]):  # another choice would make a whole record one of some seeds, or the reverse
        with pytest.raises(ValueError, match="give another --result"):
            run_protocol("protocol", tiny, tmp_path / "r.json", "cpu", str, folder=tmp_path, seeds=others)
    for wrong in ([3], []):
        with pytest.raises(ValueError, match="seeds 0 to 2"):
            run_protocol("protocol", tiny, tmp_path / "r.json", "cpu", str, folder=tmp_path, seeds=wrong)


def test_shipped_networks_are_small_and_described(tiny, tmp_path, monkeypatch):
    record = run_protocol("protocol", tiny, tmp_path / "r.json", "cpu", str, networks=3, folder=tmp_path)
    monkeypatch.setattr(protocol.results, "load", lambda name: record)
    entries = protocol.ship("protocol", tmp_path / "out", folder=tmp_path)
    assert list(entries) == ["protocol-D-32", "protocol-D-48", "protocol-D-32-64"]
    for name, entry in entries.items():
        net = load_network(tmp_path / "out" / f"{name}.safetensors", entry["sha256"])
        assert net.about["stage"] == entry["stage"]
        assert net.about["test_scale"] == entry["test_scale"] == STAGES[entry["stage"]].test_scale
        assert next(net.parameters()).dtype == torch.float32
        whole = load_network(
            tmp_path / "protocol-0.125-120" / f"{name.removeprefix('protocol-')}-seed0.network.safetensors"
        )
        assert torch.equal(net.mean, whole.mean)
        torch.testing.assert_close(net.classifier[0].weight, whole.classifier[0].weight, atol=1e-3, rtol=1e-3)


def test_where_crops_see_all_pictures_table_5_has_its_dense_row():
    tests = [
        {"method": method, "scales": [32, 48, 64], "pictures": 900, "top1_error": 0.1 * n}
        for n, method in enumerate(("dense", "multi-crop", "both"), start=1)
    ]
    record = {"runs": [{"configuration": "D", "stage": "32", "seed": 0, "tests": tests}]}
    found = [errors(record, "D", "32", test["method"], True, few=True) for test in tests]
    assert found == [{0: pytest.approx(10)}, {0: pytest.approx(20)}, {0: pytest.approx(30)}]
    assert errors(record, "D", "32", "dense", True) == found[0]
    assert errors(record, "D", "32", "both", True) == {}


@pytest.mark.parametrize("n", protocol.CLEAR_BEYOND)
def test_a_step_is_judged_by_students_t(n):
    from scipy import stats

    needed = stats.t.ppf(0.975, n - 1)
    assert protocol.CLEAR_BEYOND[n] == pytest.approx(needed, abs=0.005)
    for sign in (1, -1):
        assert protocol.judged({"n": n, "mean": sign * 1.01 * needed, "standard_error": 1.0}) == "clear"
        assert protocol.judged({"n": n, "mean": sign * 0.99 * needed, "standard_error": 1.0}) == "open"


def test_a_step_in_words():
    found = protocol.gain({0: 15.0, 1: 14.0, 2: 13.0}, {0: 14.0, 1: 12.0, 2: 10.0})
    assert protocol.described(found) == "falls by  2.00 points,  3.5 standard errors (n=3)"
    assert protocol.judged(found) == "open"
    assert protocol.described({"n": 5, "mean": -10.34, "standard_error": 0.78}).startswith(
        "rises by 10.34 points, 13.3"
    )


def test_one_seed_no_spread_and_many_seeds_are_judged_too():
    one = protocol.gain({0: 15.0}, {0: 14.0})
    assert protocol.described(one) == "falls by  1.00 points (n=1, no spread)"
    assert protocol.judged(one) == "open"
    alike = protocol.gain({0: 15.0, 1: 14.0}, {0: 14.0, 1: 13.0})
    assert protocol.described(alike) == "falls by  1.00 points,  inf standard errors (n=2)"
    assert protocol.judged(alike) == "clear"
    assert protocol.judged({"n": 11, "mean": 2.5, "standard_error": 1.0}) == "clear"
    assert protocol.judged({"n": 11, "mean": 2.2, "standard_error": 1.0}) == "open"
