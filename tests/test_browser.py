"""The explorer as a reader meets it: in chapter 02 in JupyterLab, and as a page without a kernel or a network."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import nbformat
import pytest
from playwright.sync_api import expect

from vgglib import cone

ROOT = Path(__file__).resolve().parent.parent
CHAPTER = "02_receptive_fields.ipynb"
VIEW = """from vgglib import explorers, figures
explorers.explore(figures.shapes, start=dict(image_size=64), configuration=("A", "B", "D"), image_size=(32, 64, 224))"""


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    """A JupyterLab without the user's settings: the address of chapter 02 in it, not yet run, and its code cells."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "book").mkdir()
    news = (
        folder / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    )
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false"}', encoding="utf-8")
    notebook = nbformat.read(ROOT / "notebooks" / CHAPTER, as_version=4)
    small = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(VIEW)], metadata=notebook.metadata)
    nbformat.write(small, folder / "book" / "view.ipynb")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    nbformat.write(notebook, folder / "book" / CHAPTER)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    names = ["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"]
    names += ["JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"]
    env = {**os.environ, **{name: str(folder / name) for name in names}, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.root_dir={folder / 'book'}"]
    words += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    words += ["--IdentityProvider.token=walk", "--LabApp.news_url=None"]
    words += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    words += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with open(folder / "log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(words, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for_server(f"http://127.0.0.1:{port}/api", server, folder / "log")
        cells = sum(cell.cell_type == "code" for cell in notebook.cells)
        url, view = (f"http://127.0.0.1:{port}/lab/tree/{name}?token=walk&reset" for name in (CHAPTER, "view.ipynb"))
        yield SimpleNamespace(url=url, view=view, cells=cells)
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()


def wait_for_server(url, server, log):
    """Return as soon as it answers."""
    for _ in range(600):
        assert server.poll() is None, log.read_text(encoding="utf-8")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    pytest.fail(log.read_text(encoding="utf-8"))


@pytest.fixture
def page(browser):
    """A page that collects what the console says of errors in ``page.complaints``."""
    context = browser.new_context(viewport=dict(width=1500, height=950))
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.complaints = []
    page.on("console", lambda said: page.complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    yield page
    context.close()


def says(page, text):
    """Wait until the line above the drawing starts with this."""
    expect(page.locator(".cone-readout")).to_have_text(re.compile("^" + re.escape(text)), timeout=60_000)


def unit(page, row, index):
    """The middle of a unit's box, in pixels of the page; row 0 is the drawing's lowest."""
    boxes = page.locator(".cone-stage rect.cone-unit").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect()).map(box => [box.x + box.width / 2, box.y + box.height / 2])"
    )
    heights = sorted({round(y) for _, y in boxes}, reverse=True)
    found = sorted((x, y) for x, y in boxes if round(y) == heights[row])[index]
    return found


def point(page, row, index, said):
    """Move the pointer onto a unit; again, if the page around it has moved meanwhile."""
    for attempt in range(60):
        page.locator(".cone-stage").scroll_into_view_if_needed()
        x, y = unit(page, row, index)
        page.mouse.move(x + attempt % 2, y)
        if page.locator(".cone-readout").text_content().startswith(said):
            return x, y
        page.wait_for_timeout(250)
    says(page, said)


def walk(page):
    """Hover, click, press keys, edit, be refused: the same wherever the explorer stands."""
    stage = page.locator(".cone-stage")
    stage.scroll_into_view_if_needed()
    says(page, "Unit 1 of conv 2 sees 4 pixels: 1 to 4. Centre 2.5")
    point(page, 2, 3, "Unit 3 of conv 2 sees 4 pixels: 3 to 6.")
    assert page.locator(".cone-unit.cone-seen").count() == 3 + 4
    point(page, 0, 2, "Pixel 2 of the input sees itself. It influences 2 units of conv 1 and 3 units of conv 2.")
    assert page.locator(".cone-unit.cone-up").count() == 2 + 3
    page.mouse.move(5, 5)
    says(page, "Unit 1 of conv 2")  # what was only pointed at is forgotten
    page.mouse.click(*point(page, 2, 2, "Unit 2 of conv 2"))
    page.mouse.move(5, 5)
    says(page, "Unit 2 of conv 2 sees 4 pixels: 2 to 5.")
    stage.focus()
    for key, said in (
        ("ArrowRight", "Unit 3 of conv 2"),
        ("ArrowRight", "Unit 3 of conv 2"),
        ("ArrowDown", "Unit 4 of conv 1 sees 2 pixels: 4 to 5."),
        ("Home", "Unit 0 of conv 1"),
        ("ArrowDown", "Pixel 1 of the input"),
        ("ArrowUp", "Unit 0 of conv 1"),
        ("End", "Unit 5 of conv 1"),
        ("ArrowUp", "Unit 3 of conv 2"),
        ("ArrowLeft", "Unit 2 of conv 2"),
    ):
        page.keyboard.press(key)
        says(page, said)
        assert page.locator(".cone-live[role=status]").text_content().startswith(said)
    kernel = page.get_by_label("kernel of conv 2")
    kernel.fill("4")
    says(page, "Unit 2 of conv 2 sees 5 pixels: 2 to 6.")
    why = page.locator(".cone-why").text_content()
    assert "grow by 1 × 1 = 1" in why
    assert "size 4 → 5" in why
    assert "was 4" in page.locator(".cone-table").inner_text()
    stride = page.get_by_label("stride of conv 1")
    stride.fill("0")
    assert page.locator(".cone-why").text_content() == (
        "Refused. conv 1: a stride of 0 would never move on; the smallest is 1."
    )
    assert stride.get_attribute("aria-invalid") == "true"
    kernel.fill("9")
    assert "its kernel spans 9 units, and the map below holds 6" in page.locator(".cone-why").text_content()
    kernel.blur()
    assert kernel.input_value() == "4"
    assert stride.input_value() == "1"
    says(page, "Unit 2 of conv 2 sees 5 pixels: 2 to 6.")


def test_a_layer_of_another_kind_gets_its_usual_numbers(page):
    """A pooling has kernel 2 and stride 2; back again, the layer is what it was, or the paper's convolution."""
    page.goto(cone.PAGE.as_uri())

    def change(layer, to, numbers):
        page.get_by_label(f"kind of layer {layer}").select_option(to)
        found = [page.get_by_label(f"{what} of {to} {layer}").input_value() for what in ("kernel", "stride", "padding")]
        assert found == numbers

    change(1, "pool", ["2", "2", "0"])
    assert page.locator(".cone-why").text_content().startswith("Layer 1 is a pooling now, with a kernel of 2")
    change(1, "conv", ["2", "1", "0"])
    page.get_by_role("button", name="Add a pool layer on top").click()
    change(3, "conv", ["3", "1", "1"])
    change(3, "pool", ["2", "2", "0"])
    page.get_by_label("kernel of conv 2").fill("6")  # its map has one unit, too few for a pooling
    assert page.get_by_label("kernel of conv 2").get_attribute("aria-invalid") == "true"
    assert page.complaints == []


def test_the_page_works_offline(page):
    asked = []
    page.context.set_offline(True)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(cone.PAGE.as_uri())
    walk(page)
    page.get_by_role("button", name="Add a pool layer on top").click()
    says(page, "Unit 0 of pool 3 sees 6 pixels: 0 to 5.")
    page.get_by_role("button", name="Remove pool 3").click()
    page.get_by_role("button", name="Undo").click()
    page.get_by_label("input pixels along one side").fill("12")
    says(page, "Unit 0 of pool 3")
    assert page.locator(".cone-why").text_content().startswith("The input has 12 pixels instead of 7.")
    page.reload()
    says(page, "Unit 0 of pool 3 sees 6 pixels: 0 to 5.")  # the address keeps it
    page.get_by_label("Start from").select_option(label="VGG: blocks 1 and 2 of D")
    says(page, "Unit 3 of pool 6 sees 16 pixels: 6 to 21.")
    page.get_by_text("Picture", exact=True).first.click()
    says(page, "Unit (3, 3) of pool 6 sees 16 × 16 pixels: rows 6 to 21, columns 6 to 21.")
    assert page.locator("rect.cone-window").count() == 6  # one in another
    box = page.locator(".cone-map").nth(1).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator(".cone-readout")).to_contain_text("of conv 1 sees 3 × 3")
    page.mouse.move(5, 5)
    page.locator(".cone-stage").focus()
    for key, said in (("ArrowUp", "Unit (2, 3) of pool 6"), ("PageDown", "Unit (5, 7) of conv 5")):
        page.keyboard.press(key)
        says(page, said)
    assert page.complaints == []
    assert all(url.startswith(("file:", "data:")) for url in asked)


def bracket(page):
    """Whether the window drawn below the pixels goes on to the left and to the right: an arrow has two strokes."""
    shapes = page.locator(".cone-bracket path").evaluate_all("all => all.map(one => one.getAttribute('d'))")
    return [shape.count("l") == 2 for shape in shapes[-2:]]


def test_arrows_only_where_a_window_goes_on(page):
    page.goto(cone.PAGE.as_uri())
    page.locator(".cone-stage").focus()
    for key, said in (("Home", "Unit 0"), ("End", "Unit 3")):
        page.keyboard.press(key)
        says(page, f"{said} of conv 2 sees 4 pixels")
        assert bracket(page) == [False, False]
    page.get_by_label("Start from").select_option(label="VGG: blocks 1 and 2 of D")
    page.locator(".cone-stage").focus()
    page.keyboard.press("Home")
    says(page, "Unit 0 of pool 6 sees 10 pixels: 0 to 9. Its window of 16 goes from −6")
    assert bracket(page) == [True, False]
    page.keyboard.press("End")
    assert bracket(page) == [False, True]


def test_a_refusal_stands_where_it_was_caused_and_goes_when_it_is_mended(page):
    page.goto(cone.PAGE.as_uri())
    why, note, kernel = page.locator(".cone-why"), page.locator(".cone-note"), page.get_by_label("kernel of conv 2")
    said = why.text_content()
    refused = "its kernel spans 9 units, and the map below holds 6"
    for mend in (
        lambda: kernel.fill("3"),  # the value that it had
        lambda: kernel.press("Escape"),
        lambda: page.get_by_text("Picture", exact=True).first.click(),
    ):
        kernel.fill("9")
        assert refused in why.text_content()
        assert refused in note.text_content()
        beside, box = note.bounding_box(), kernel.bounding_box()
        assert 0 < beside["y"] - box["y"] < 60
        mend()
        expect(note).to_have_count(0)
        expect(why).to_have_text(said)
        assert why.get_attribute("class") == "cone-why"
        assert kernel.input_value() == "3"
    kernel.fill("4")
    changed = why.text_content()
    kernel.fill("9")
    kernel.fill("4")
    expect(why).to_have_text(changed)
    kernel.fill("9")
    page.get_by_role("button", name="Undo").click()
    expect(why).to_contain_text("The last change is taken back.")
    expect(note).to_have_count(0)
    for number in range(3, 13):
        page.get_by_role("button", name="Add a conv layer on top").click()
        page.get_by_label(f"padding of conv {number}").fill("1")
    page.get_by_role("button", name="Add a conv layer on top").click()
    expect(note).to_have_text("There is room for 12 layers.")
    beside, box = note.bounding_box(), page.get_by_role("button", name="Add a conv layer on top").bounding_box()
    assert 0 < beside["y"] - box["y"] < 60
    assert page.complaints == []


AXES = (("x", "width"), ("y", "height"))
BOXES = """() => Object.fromEntries([...document.querySelectorAll(".cone, .cone-note, .cone-table input")].map(
    (one) => [one.matches("input") ? one.ariaLabel : one.classList[0], one.getBoundingClientRect()]))"""  # at once


def test_a_refusal_covers_no_input(page):
    page.goto(cone.PAGE.as_uri())
    page.get_by_label("Start from").select_option(label="VGG: blocks 1 to 3 of A")
    inputs = page.locator(".cone-table input").count()
    for width in (1240, 900, 640):
        page.set_viewport_size(dict(width=width, height=900))
        for label, wrong, right in (("padding of conv 3", "9", "1"), ("dilation of conv 6", "9", "1")):
            page.get_by_label(label).fill(wrong)
            boxes = page.evaluate(BOXES)
            box, around = boxes.pop("cone-note"), boxes.pop("cone")
            assert around["x"] <= box["x"]
            assert box["x"] + box["width"] <= around["x"] + around["width"]
            assert len(boxes) == inputs
            for other, place in boxes.items():
                apart = [box[x] >= place[x] + place[w] or place[x] >= box[x] + box[w] for x, w in AXES]
                assert any(apart), (width, label, other)
            page.get_by_label(label).fill(right)
    assert page.complaints == []


def test_the_window_says_how_much_of_it_is_read(page):
    page.goto(cone.PAGE.as_uri())
    says(page, "Unit 1 of conv 2 sees 4 pixels")
    label = page.locator(".cone-bracket text")
    expect(label).to_have_text("4 pixels: 1 to 4")
    page.get_by_label("input pixels along one side").fill("20")
    page.get_by_label("stride of conv 1").fill("4")
    says(page, "Unit 1 of conv 2 sees 6 pixels: 4 to 13, with gaps.")
    expect(label).to_have_text("window of 10, 6 read: 4 to 13")
    page.get_by_label("padding of conv 1").fill("1")
    expect(label).to_have_text("window of 10, 6 read: 3 to 12")
    page.locator(".cone-stage").focus()
    page.keyboard.press("Home")
    expect(label).to_have_text("window of 10 with padding, 5 read: −1 to 8")


def test_padding_has_no_index_and_is_explained(page):
    page.goto(cone.PAGE.as_uri())
    says(page, "Unit 1 of conv 2 sees 4 pixels")
    hint = page.locator(".cone-hint")
    expect(hint).not_to_contain_text("zeros")
    numbers = page.locator(".cone-stage .cone-index")
    before = numbers.count()
    page.get_by_label("padding of conv 2").fill("1")
    expect(page.locator(".cone-zero")).to_have_count(2)
    assert numbers.count() == before + 2  # its map has two more units
    expect(hint).to_contain_text("Dashed cells are padding: zeros.")


def with_twelve_layers(page):
    """Open the page on blocks 1 and 2 of D and six more layers."""
    page.goto(cone.PAGE.as_uri())
    page.get_by_label("Start from").select_option(label="VGG: blocks 1 and 2 of D")
    for number in range(7, 13):
        page.get_by_role("button", name="Add a conv layer on top").click()
        page.get_by_label(f"padding of conv {number}").fill("1")


def test_numbers_of_windows_and_captions_of_maps_do_not_overlap(page):
    with_twelve_layers(page)
    page.get_by_text("Picture", exact=True).first.click()
    says(page, "Unit (3, 3) of conv 12 sees")
    for size in (dict(width=1500, height=950), dict(width=640, height=900)):
        page.set_viewport_size(size)
        page.wait_for_timeout(300)
        for what, least, blank in (
            ("text.cone-window", 4, 6),
            (".cone figcaption", 13, 0),
        ):  # blank above and below digits
            boxes = page.locator(what).evaluate_all(
                "all => all.map(one => {const range = document.createRange(); range.selectNodeContents(one); "
                "const box = range.getBoundingClientRect(); return [box.left, box.top, box.right, box.bottom]})"
            )
            assert len(boxes) >= least
            for one, other in combinations(boxes, 2):
                apart = one[2] <= other[0] or other[2] <= one[0] or min(one[3] - other[1], other[3] - one[1]) <= blank
                assert apart, (what, one, other)


def test_the_picture_is_large_enough_and_no_window_lies_on_its_caption(page):
    with_twelve_layers(page)
    page.locator(".cone-switch").get_by_text("Picture", exact=True).click()
    says(page, "Unit (3, 3) of conv 12 sees 28 × 28 pixels: rows 0 to 27, columns 0 to 27. Its window of 64 × 64")
    for width in (1500, 900, 640):  # 900: as wide as a notebook's output in JupyterLab
        page.set_viewport_size(dict(width=width, height=950))
        page.wait_for_timeout(300)
        picture = page.locator(".cone-large svg").bounding_box()
        assert picture["width"] > 240
        maps = [one.bounding_box() for one in page.locator(".cone-maps svg").all()]
        assert len(maps) == 12
        assert all(60 < one["width"] < picture["width"] / 2 for one in maps)
        window = page.locator(".cone-large rect.cone-window-self").bounding_box()
        assert picture["x"] <= window["x"]
        assert window["y"] + window["height"] <= picture["y"] + picture["height"]
        assert page.locator(".cone-large figcaption").bounding_box()["y"] >= picture["y"] + picture["height"]


def test_the_table_fits_into_a_narrow_window(page):
    """As narrow as a notebook's output is beside JupyterLab's list of files, in a window of 900 pixels."""
    with_twelve_layers(page)
    for width in (640, 520, 500):  # the page's margins beside it
        page.set_viewport_size(dict(width=width, height=900))
        page.wait_for_timeout(300)
        box, table = (page.locator(name).bounding_box() for name in (".cone", ".cone-table"))
        assert table["x"] + table["width"] <= box["x"] + box["width"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for what in ("kernel", "stride", "padding", "dilation"):
            number = page.get_by_label(f"{what} of conv 12")
            assert number.evaluate("input => input.scrollWidth <= input.clientWidth")


def run_again(page, source):
    """Click into the cell whose code contains ``source`` and press Ctrl+Enter."""
    cell = page.locator(".jp-CodeCell").filter(has=page.locator(".jp-InputArea-editor", has_text=source))
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")


def test_the_page_inside_another_redraws(page):
    """JupyterLab shows a page in a sandboxed frame, under another base address, which may not be written to."""
    based = cone.PAGE.read_text(encoding="utf-8").replace("<head>", '<head><base href="http://127.0.0.1:8888/files/">')
    page.set_content("<iframe sandbox='allow-scripts' width='1400' height='900'></iframe>")
    page.evaluate(
        "page => { document.querySelector('iframe').src = URL.createObjectURL(new Blob([page], {type: 'text/html'})) }",
        based,
    )
    frame = page.frame_locator("iframe")
    expect(frame.locator(".cone-readout")).to_have_text(re.compile("^Unit 1 of conv 2 sees 4 pixels"), timeout=60_000)
    frame.locator("select").first.select_option(label="three 3x3 layers")
    expect(frame.locator(".cone-readout")).to_have_text(re.compile("of conv 3 sees 7 pixels"), timeout=60_000)
    assert page.complaints == []


def test_the_explorer_in_jupyterlab(page, lab):
    page.goto(lab.url)
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt")
    expect(prompts).to_have_count(lab.cells, timeout=120_000)
    expect(page.get_by_text(re.compile("^Python 3 .*Idle$"))).to_be_visible(timeout=120_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Run All Cells$")).click()
    expect(prompts.last).to_have_text(re.compile(r"\[\d+\]"), timeout=240_000)
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    walk(page)
    run_again(page, "print(explorer.selection)")
    page.get_by_text("Selection(layer=2, unit=2, field=ReceptiveField(size=5, stride=1, padding=0)").wait_for()
    page.get_by_text("kernels of 2 and 3 only: conv 2 has another").wait_for()
    run_again(page, "explorer = cone.explorer()")
    expect(page.locator(".cone")).to_have_count(1)
    says(page, "Unit 2 of conv 2 sees 5 pixels: 2 to 6.")
    cells = page.locator(".jp-Cell").count()
    for part in (".cone-stage", ".cone select"):
        page.locator(part).first.focus()
        for key in "dda":
            page.keyboard.press(key)
    assert page.locator(".jp-Cell").count() == cells
    assert page.complaints == []


def test_a_view_in_jupyterlab_keeps_its_keys_and_names_its_parts(page, lab):
    page.goto(lab.view)
    expect(page.get_by_text(re.compile("^Python 3 .*Idle$"))).to_be_visible(timeout=120_000)
    run_again(page, "explorers.explore")
    chosen, figure = page.locator(".vgglib-view select"), page.locator(".vgglib-view img")
    slider = page.get_by_role("slider", name="image size")
    expect(slider).to_have_attribute("aria-valuetext", "64", timeout=120_000)
    expect(figure).to_have_attribute("alt", re.compile("^Feature maps of A for an input 64 wide"))
    chosen.focus()
    page.keyboard.press("ArrowDown")
    expect(figure).to_have_attribute("alt", re.compile("^Feature maps of B"))
    for key in "ddab":  # commands, outside of a view: two delete the cell, two make new ones
        page.keyboard.press(key)
    page.keyboard.press("d")
    expect(figure).to_have_attribute("alt", re.compile("^Feature maps of D"))
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "224")
    expect(figure).to_have_attribute("alt", re.compile("^Feature maps of D for an input 224 wide"))
    for key in "dda":
        page.keyboard.press(key)
    assert page.locator(".jp-Cell").count() == 1
    assert page.locator('.vgglib-view [title="null"]').count() == 0
    assert page.complaints == []
