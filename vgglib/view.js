// The line "drawing ..." of a view. Where it stands, it also looks after the view around it: keys that are pressed in
// the view stay in it, and a screen reader is told what its controls and its figure are.

/** Set an attribute, unless it says so already. */
function put(node, attribute, value) {
  if (node && value && node.getAttribute(attribute) !== value) node.setAttribute(attribute, value);
}

/** Name sliders by their labels and values by what is read beside them; the figure by the sentence below it. */
function name(view) {
  for (const unnamed of view.querySelectorAll('[title="null"]')) unnamed.removeAttribute("title");
  for (const slider of view.querySelectorAll(".widget-slider")) {
    const label = slider.querySelector(".widget-label")?.textContent;
    const [handle, readout] = [".noUi-handle", ".widget-readout"].map((part) => slider.querySelector(part));
    put(handle, "aria-label", label);
    put(readout, "aria-label", label);
    put(handle, "aria-valuetext", readout?.textContent);
  }
  for (const button of view.querySelectorAll("button[title]")) {
    put(button, "aria-label", `${button.title.split(":")[0]}: ${button.textContent}`);
  }
  const words = [...view.querySelectorAll(".widget-html-content")].at(-1);
  put(words, "aria-live", "polite");
  put(view.querySelector("img"), "alt", words?.textContent);
}

export default {
  render({ model, el }) {
    el.textContent = model.get("value");
    let view = null;
    // in JupyterLab, letters and arrows are the notebook's wherever no text is typed: d, d in a list deletes its cell
    const keep = (event) => {
      const command = event.ctrlKey || event.metaKey || event.altKey || event.key === "Escape";
      if (!command && !(event.shiftKey && event.key === "Enter")) event.stopPropagation();
    };
    const observer = new MutationObserver(() => name(view));
    let frame = requestAnimationFrame(function start() {
      view = el.closest(".vgglib-view");
      if (!view) return void (frame = requestAnimationFrame(start)); // not yet on the page
      view.addEventListener("keydown", keep);
      name(view);
      const attributeFilter = ["aria-valuetext", "title"];
      observer.observe(view, { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter });
    });
    return () => {
      cancelAnimationFrame(frame);
      observer.disconnect();
      view?.removeEventListener("keydown", keep);
    };
  },
};
