"""How fast the explorer answers, in Chromium: from the event to the repaint; a report, it judges nothing.

``python tests/benchmarks/bench_explorer.py [--times 60] [--json]``

Goal: under 50 ms, median, for pointing at a unit, for the slider of the input and for editing a layer, of a stack of
seven layers over 28 pixels, in both views. A time runs from the event until the frame that follows it has been painted,
so it holds up to one frame of waiting (17 ms).
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from browser import chromium, launch
from playwright.sync_api import sync_playwright

from vgglib.cone import PAGE

PAINTED = """async ([what, times]) => {
    const stage = document.querySelector(".cone-stage");
    const spots = what === "point" ? [...document.querySelectorAll(".cone-unit, .cone-map")].map(one => {
        const box = one.getBoundingClientRect();
        return [one, box.x + box.width * 0.4, box.y + box.height * 0.4];
    }) : [];
    const slider = document.querySelector("input[type=range]");
    const kernel = document.querySelector("[aria-label='kernel of conv 1']");
    const set = (input, value) => {
        input.value = value;
        input.dispatchEvent(new Event("input", {bubbles: true}));
    };
    const act = {
        point: n => {
            const [target, x, y] = spots[(n * 37) % spots.length];
            target.dispatchEvent(new PointerEvent("pointermove", {clientX: x, clientY: y, bubbles: true}));
        },
        slide: n => set(slider, 20 + (n % 12)),
        edit: n => set(kernel, n % 2 ? 3 : 5),
    }[what];
    const taken = [];
    for (let n = 0; n < times; n++) {
        const start = performance.now();
        act(n);
        await new Promise(done => requestAnimationFrame(() => {
            const channel = new MessageChannel();
            channel.port1.onmessage = done;
            channel.port2.postMessage(null); // comes after the frame has been painted
        }));
        taken.push(performance.now() - start);
    }
    return taken;
}"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=60, help="repetitions of each")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if chromium() is None:
        print("no Chromium is installed: nothing measured")
        return
    report = {}
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport=dict(width=1400, height=900))
        report["browser"] = f"Chromium {browser.version}"
        page.goto(PAGE.as_uri())
        page.get_by_label("Start from").select_option(label="VGG: blocks 1 to 3 of A")
        for view, label in (("line", "One side"), ("picture", "Picture")):
            page.get_by_text(label, exact=True).first.click()
            for what in ("point", "slide", "edit"):
                taken = page.evaluate(PAINTED, [what, options.times])[5:]  # the first ones warm up
                p90 = statistics.quantiles(taken, n=10)[-1]
                fast = statistics.quantiles(taken, n=10)[0]  # what it takes where nothing else runs
                report[f"{view}, {what}"] = {"median ms": statistics.median(taken), "p10 ms": fast, "p90 ms": p90}
        browser.close()
    if options.json:
        print(json.dumps(report))
        return
    for name, value in report.items():
        shown = ", ".join(f"{key} {one:.1f}" for key, one in value.items()) if isinstance(value, dict) else value
        print(f"{name:20} {shown}")


if __name__ == "__main__":
    main()
