"""The receptive field explorer: its arithmetic in JavaScript against vgglib and torch, what Python reads, its page."""

import random

import pytest
import torch
from torch.nn import functional as F

from vgglib import cone
from vgglib.configurations import Layer
from vgglib.receptive_field import ReceptiveField, receptive_field

STACKS = 500


def random_layer(dice):
    """Mostly a layer that can be drawn."""
    kernel, dilation = dice.randint(1, 5), dice.choice([1, 1, 2, 3])
    span = dilation * (kernel - 1) + 1
    kind = dice.choice(["conv", "conv", "pool"])
    padding = dice.randint(0, span // 2 if kind == "pool" else span - 1)
    layer = dict(kind=kind, kernel=kernel, stride=dice.randint(1, 3), padding=padding, dilation=dilation)
    if dice.random() < 0.03:
        layer[dice.choice(["kernel", "stride", "padding", "dilation"])] = dice.choice([-1, 0, 9, 40])
    return Layer(**layer)


def cases():
    """(layers, input size, row and unit as fractions) for many stacks."""
    dice = random.Random(1409)
    return [
        (
            [random_layer(dice) for _ in range(dice.randint(0, 6))],
            dice.randint(1, 32),
            [[dice.random(), dice.random()] for _ in range(4)],
        )
        for _ in range(STACKS)
    ]


ASK = """cases => cases.map(([layers, size, places]) => {
    const {counts, fields, refusal, windowOf, centreOf, cone} = globalThis.cone;
    const refused = refusal(layers, size);
    if (refused) return {refused};
    const rows = counts(layers, size);
    const units = places.map(([part, more]) => {
        const row = Math.floor(part * rows.length), unit = Math.floor(more * rows[row]);
        const field = fields(layers)[row];
        const lit = cone(layers, size, row, unit).map(mask => Array.from(mask));
        return {row, unit, window: windowOf(field, unit), centre: centreOf(field, unit), lit};
    });
    return {refused, rows, fields: fields(layers), units};
})"""


@pytest.fixture(scope="module")
def program(browser):
    """A page that has loaded cone.js and shows nothing."""
    page = browser.new_page()
    names = "counts, fields, refusal, windowOf, centreOf, cone, why, sentence, PRESETS"
    source = (cone.HERE / "cone.js").read_text(encoding="utf-8") + f"\nglobalThis.cone = {{ {names} }};"
    page.add_script_tag(type="module", content=source)
    page.wait_for_function("globalThis.cone")
    yield page
    page.close()


def reads(layer, below):
    """Which units of the map below, by torch, each unit of a layer reads: booleans (units, below)."""
    pulses = torch.eye(below)[:, None]  # as many inputs as units, each with a single one
    padded = F.pad(pulses, (layer.padding, layer.padding))
    kernel = torch.ones(1, 1, layer.kernel)
    return F.conv1d(padded, kernel, stride=layer.stride, dilation=layer.dilation)[:, 0].T > 0


def connected(layers, size, row, unit):
    """For each row the units that a unit sees, is, or influences, by products of what torch says."""
    matrices, below = [], size
    for layer in layers:
        matrices.append(reads(layer, below).float())
        below = len(matrices[-1])
    rows = [size, *(len(matrix) for matrix in matrices)]
    lit = [torch.zeros(count) for count in rows]
    lit[row][unit] = 1
    for at in range(row, 0, -1):
        lit[at - 1] = (lit[at] @ matrices[at - 1] > 0).float()
    for at in range(row, len(matrices)):
        lit[at + 1] = (matrices[at] @ lit[at] > 0).float()
    return [mask.int().tolist() for mask in lit]


def test_the_arithmetic_is_that_of_vgglib_and_of_torch(program):
    asked = cases()
    plain = [([cone._plain(layer) for layer in layers], size, places) for layers, size, places in asked]
    drawn = 0
    for (layers, size, _), answer in zip(asked, program.evaluate(ASK, plain), strict=True):
        if answer["refused"]:
            with pytest.raises(ValueError) as refused:
                cone.counts(layers, size)
            assert str(refused.value).split(":")[0] == answer["refused"].split(":")[0], (layers, size)
            continue
        drawn += 1
        assert answer["rows"] == cone.counts(layers, size)
        for n, field in enumerate(answer["fields"]):
            assert receptive_field(layers[:n]) == ReceptiveField(**field)
        for found in answer["units"]:
            field = receptive_field(layers[: found["row"]])
            assert tuple(found["window"]) == field.window(found["unit"])
            assert found["centre"] == field.centre(found["unit"])
            assert found["lit"] == connected(layers, size, found["row"], found["unit"]), (layers, size, found)
    assert STACKS * 0.6 < drawn < STACKS * 0.97


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([Layer("conv", 3, stride=0)], "conv 1: a stride of 0 would never move on"),
        ([Layer("conv", 3), Layer("conv", 6)], "conv 2: its kernel spans 6 units, and the map below holds 5"),
        ([Layer("pool", 8, padding=0)], "pool 1: its kernel spans 8 units"),
        ([Layer("pool", 2, padding=2)], "pool 1: a padding of 2 is more than half"),
        ([Layer("pool", 3, padding=2, dilation=2)], "pool 1: a padding of 2 is more than half of its kernel of 3"),
        ([Layer("conv", 3, padding=3)], "conv 1: with a padding of 3 its first unit would see nothing"),
        ([Layer("conv", 0)], "conv 1: a kernel of 0 reads nothing"),
        ([Layer("conv", 2, dilation=0)], "conv 1: a dilation of 0 would read no neighbours"),
        ([Layer("conv", 2, padding=-1)], "conv 1: a padding of -1"),
        ([Layer("conv", 40, padding=39)], "conv 1: there is room for 64 units"),
        ([Layer("conv", 1)] * 13, "There is room for 12 layers"),
    ],
)
def test_refusals_name_the_layer_and_the_reason(program, layers, said):
    asked = "([layers, size]) => globalThis.cone.refusal(layers, size)"
    assert program.evaluate(asked, [[cone._plain(layer) for layer in layers], 7]).startswith(said)
    with pytest.raises(ValueError, match=r"^(conv \d|pool \d|there is room)"):
        cone.counts(layers, 7)


def test_no_word_of_its_own_for_what_a_kernel_reads(program):
    """The chapters speak of steps and units."""
    layer = {**CONV, "dilation": 2}
    for what, to in (("kernel", 5), ("stride", 2), ("dilation", 1), ("dilation", 3)):
        edit = {"what": what, "at": 0, "from": layer[what], "to": to}
        words = [[layer, CONV], [{**layer, what: to}, CONV], 20, edit]
        assert "tap" not in program.evaluate("words => globalThis.cone.why(...words)", words)
    assert "tap" not in str(program.evaluate("globalThis.cone.PRESETS"))


def test_sizes_that_are_no_sizes(program):
    for size in (0, 33, None, 2.5):
        assert "1 to 32 pixels" in program.evaluate("size => globalThis.cone.refusal([], size)", size)
        with pytest.raises(ValueError, match="1 to 32 pixels"):
            cone.counts([], size)


def test_presets_can_be_drawn_and_say_what_is_true(program):
    presets = program.evaluate("globalThis.cone.PRESETS")
    assert presets[0][1:3] == [7, [cone._plain(layer) for layer in cone.ARTICLE]]
    fields = {name: receptive_field([Layer(**layer) for layer in stack]) for name, _, stack, _ in presets}
    for _, size, stack, about in presets:
        assert cone.counts([Layer(**layer) for layer in stack], size)[-1] > 1
        assert len(about) > 20
    assert fields["two 3x3 layers"].size == 5
    assert fields["three 3x3 layers"].size == fields["one 7x7 layer"].size == 7
    assert fields["VGG: blocks 1 and 2 of D"] == ReceptiveField(16, 4, 6)
    assert fields["VGG: blocks 1 to 3 of A"] == ReceptiveField(30, 8, 11)
    assert fields["dilations 1, 2, 4"].size == 15


CONV = dict(kind="conv", kernel=3, stride=1, padding=0, dilation=1)
POOL = dict(kind="pool", kernel=2, stride=2, padding=0, dilation=1)


@pytest.mark.parametrize(
    ("before", "after", "edit", "parts"),
    [
        ([POOL, CONV], [POOL, {**CONV, "kernel": 5}], dict(what="kernel", at=1), ["grow by 2 × 2 = 4", "size 6 → 10"]),
        ([CONV, CONV], [{**CONV, "stride": 2}, CONV], dict(what="stride", at=0), ["stays 3", "size 5 → 7"]),
        ([CONV], [{**CONV, "stride": 2}], dict(what="stride", at=0), ["no size changes", "size 3, stride 1 → 2"]),
        ([CONV], [{**CONV, "padding": 1}], dict(what="padding", at=0), ["No size changes", "1 pixel further left"]),
        ([CONV], [{**CONV, "dilation": 3}], dict(what="dilation", at=0), ["2 steps", "4 more", "size 3 → 7"]),
        ([CONV], [POOL], dict(what="kind", at=0), ["pooling now, with a kernel of 2 and a stride of 2", "size 3 → 2"]),
        ([CONV], [{**CONV, "kind": "pool"}], dict(what="kind", at=0), ["same numbers read the same units", "size 3,"]),
        ([POOL], [POOL, CONV], dict(what="add", at=1), ["2 steps of 2 pixels", "so far: 4 more", "size 2 → 6"]),
        ([POOL, CONV], [CONV], dict(what="remove", at=0), ["had added 1 to the size", "size 6 → 3"]),
        ([POOL, CONV], [CONV], dict(what="remove", at=0), ["its stride of 2 had spread all layers above."]),
        ([CONV, POOL], [CONV], dict(what="remove", at=1), ["stride of 2 had widened the step from window to window."]),
        (
            [CONV, CONV],
            [CONV],
            dict(what="remove", at=0),
            ["conv 1 removed. It had added 2 to the size. At the output"],
        ),
        ([POOL, CONV], [CONV, POOL], dict(what="move", at=1), ["changed places", "size 6 → 4"]),
        ([CONV], [CONV], {"what": "size", "from": 7}, ["9 pixels instead of 7", "No field changes"]),
    ],
)
def test_it_says_why_a_number_changed(program, before, after, edit, parts):
    if edit["what"] in CONV:
        at = edit["at"]
        edit = {**edit, "from": before[at][edit["what"]], "to": after[at][edit["what"]]}
    said = program.evaluate("words => globalThis.cone.why(...words)", [before, after, 9, edit])
    for part in parts:
        assert part in said, said


@pytest.mark.parametrize(
    ("view", "selected", "said"),
    [
        ("line", [2, 0, 1], "Unit 1 of conv 2 sees 4 pixels: 1 to 4. Centre 2.5, between two pixels."),
        ("line", [0, 0, 3], "Pixel 3 of the input sees itself. It influences 2 units of conv 1 and 4 units of conv 2."),
        ("picture", [2, 0, 1], "Unit (0, 1) of conv 2 sees 4 × 4 pixels: rows 0 to 3, columns 1 to 4. "),
    ],
)
def test_it_says_what_a_unit_sees(program, view, selected, said):
    state = dict(layers=[{**CONV, "kernel": 2}, CONV], size=7, view=view, selected=selected, picture=0)
    assert program.evaluate("state => globalThis.cone.sentence(state)", state).startswith(said)


def test_it_says_what_lies_in_the_padding_and_between_the_taps(program):
    ask = "state => globalThis.cone.sentence(state)"
    padded = dict(layers=[{**CONV, "padding": 1}] * 2, size=7, view="line", selected=[2, 0, 0])
    assert "sees 3 pixels: 0 to 2. Its window of 5 goes from −2 to 2; outside the picture is padding" in (
        program.evaluate(ask, padded)
    )
    gaps = dict(layers=[{**CONV, "dilation": 2}], size=7, view="line", selected=[1, 0, 0])
    assert "sees 3 pixels: 0 to 4, with gaps." in program.evaluate(ask, gaps)
    left = dict(layers=[{**CONV, "stride": 2}, {**CONV, "padding": 1}], size=8, view="line", selected=[2, 0, 2])
    assert "sees 5 pixels: 2 to 6. Its window of 7 goes from 2 to 8; the rest is padding or was left over" in (
        program.evaluate(ask, left)
    )


# What Python reads


@pytest.fixture
def fresh(monkeypatch):
    monkeypatch.setattr(cone, "_made", {})


def test_the_same_question_gets_the_same_explorer(fresh):
    explorer = cone.explorer()
    explorer.layers = [Layer("conv", 3), Layer("pool", 2, 2)]
    assert cone.explorer() is explorer
    assert cone.explorer().layers == [Layer("conv", 3), Layer("pool", 2, 2)]
    assert cone.explorer([Layer("conv", 3)], 9) is not explorer
    assert cone.explorer([Layer("conv", 3)], 9).size == 9


def test_layers_and_selection_are_read(fresh):
    explorer = cone.explorer()
    assert explorer.layers == list(cone.ARTICLE)
    assert explorer.selection == cone.Selection(2, 1, ReceptiveField(4, 1, 0), (1, 4))
    explorer.view = "picture"
    explorer.selected = [1, 0, 5]
    assert explorer.selection == cone.Selection(1, (0, 5), ReceptiveField(2, 1, 0), ((0, 1), (5, 6)))
    explorer.selected = [0, 2, 5]
    assert explorer.selection.window == ((2, 2), (5, 5))


def test_layers_that_cannot_be_drawn_are_refused(fresh):
    explorer = cone.explorer()
    with pytest.raises(ValueError, match="conv 1: kernel, stride and dilation are 1 or more"):
        explorer.layers = [Layer("conv", 3, stride=0)]
    with pytest.raises(ValueError, match="lrn 1: the explorer knows conv and pool"):
        explorer.layers = [Layer("lrn")]
    with pytest.raises(ValueError, match="conv 1: its kernel spans 9 units, and the padded map below holds 7"):
        cone.explorer([Layer("conv", 9)])
    assert explorer.layers == list(cone.ARTICLE)


def test_without_a_kernel_it_says_what_it_is(fresh):
    explorer = cone.explorer()
    sentence = "Receptive field explorer: run this cell to move it."
    assert repr(explorer) == sentence
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == sentence
    assert "application/vnd.jupyter.widget-view+json" in bundle


# The page


def test_the_page_is_up_to_date_and_loads_nothing():
    written = cone.PAGE.read_text(encoding="utf-8")
    assert written == cone.page(), "write it again: python -m vgglib.cone"
    assert "http://www.w3.org/2000/svg" in written
    rest = written.replace("http://www.w3.org/2000/svg", "")
    assert "http" not in rest
    assert "import(" not in rest
    assert len(written) < 120_000
