/* The receptive field explorer: a stack of layers that you edit, and all that each unit sees and influences.

The same file draws the widget in JupyterLab (vgglib/cone.py) and the page that needs no kernel. Layers are
{kind: "conv" or "pool", kernel, stride, padding, dilation}, input side first. Row 0 is the input, row n the map after
layer n; along one side a unit is an index, in a picture (row, column), and both sides are alike.
*/

// Arithmetic. tests/test_cone.py holds it against vgglib.receptive_field and against torch.

export const MOST = { pixels: 32, layers: 12, units: 64 };
const NUMBERS = ["kernel", "stride", "padding", "dilation"];

/** How many units a kernel spans, from its first tap to its last. */
export function reach(layer) {
  return layer.dilation * (layer.kernel - 1) + 1;
}

export function nameOf(layers, row) {
  return row === 0 ? "input" : `${layers[row - 1].kind} ${row}`;
}

/** Why this stack cannot be drawn over so many pixels; "" if it can. */
export function refusal(layers, pixels) {
  if (!Number.isInteger(pixels) || pixels < 1 || pixels > MOST.pixels)
    return `input: it has 1 to ${MOST.pixels} pixels here, not ${shown(pixels)}.`;
  if (layers.length > MOST.layers) return `There is room for ${MOST.layers} layers.`;
  let units = pixels;
  for (const [at, layer] of layers.entries()) {
    const { kernel, stride, padding, dilation } = layer;
    const refuse = (why) => `${nameOf(layers, at + 1)}: ${why}.`;
    for (const what of NUMBERS)
      if (!Number.isInteger(layer[what])) return refuse(`its ${what} is a whole number, not ${shown(layer[what])}`);
    if (kernel < 1) return refuse(`a kernel of ${kernel} reads nothing; the smallest is 1`);
    if (stride < 1) return refuse(`a stride of ${stride} would never move on; the smallest is 1`);
    if (padding < 0) return refuse(`a padding of ${padding} would cut pixels off; the smallest is 0`);
    if (dilation < 1) return refuse(`a dilation of ${dilation} would read no neighbours; the smallest is 1`);
    const span = reach(layer);
    const padded = units + 2 * padding;
    if (span > padded) {
      const held = padding ? `the map below holds ${padded}, padding included` : `the map below holds ${units}`;
      return refuse(`its kernel spans ${span} units, and ${held}`);
    }
    if (layer.kind === "pool" && padding > Math.floor(kernel / 2))
      return refuse(`a padding of ${padding} is more than half of its kernel of ${kernel}, which torch refuses`);
    if (padding >= span) return refuse(`with a padding of ${padding} its first unit would see nothing but padding`);
    if (padded > MOST.units) return refuse(`there is room for ${MOST.units} units in a row, padding included`);
    units = Math.floor((padded - span) / stride) + 1;
  }
  return "";
}

function shown(value) {
  return Number.isFinite(value) ? value : "nothing";
}

/** Units in each row. */
export function counts(layers, pixels) {
  const found = [pixels];
  for (const layer of layers)
    found.push(Math.floor((found.at(-1) + 2 * layer.padding - reach(layer)) / layer.stride) + 1);
  return found;
}

/** Size, stride and padding of the field of each row, in pixels. */
export function fields(layers) {
  const found = [{ size: 1, stride: 1, padding: 0 }];
  for (const layer of layers) {
    const below = found.at(-1);
    found.push({
      size: below.size + layer.dilation * (layer.kernel - 1) * below.stride,
      stride: below.stride * layer.stride,
      padding: below.padding + layer.padding * below.stride,
    });
  }
  return found;
}

/** First and last pixel of a unit's window, padding included. */
export function windowOf(field, unit) {
  const first = unit * field.stride - field.padding;
  return [first, first + field.size - 1];
}

export function centreOf(field, unit) {
  return unit * field.stride - field.padding + (field.size - 1) / 2;
}

/** The units of the row below that a unit reads; below 0 and beyond the map they are padding. */
export function taps(layer, unit) {
  return Array.from({ length: layer.kernel }, (_, tap) => unit * layer.stride - layer.padding + tap * layer.dilation);
}

/** For each row, 1 for the units that `unit` of `row` sees (below), is (in its row) or influences (above). */
export function cone(layers, pixels, row, unit) {
  const lit = counts(layers, pixels).map((count) => new Uint8Array(count));
  lit[row][unit] = 1;
  for (let at = row; at > 0; at--)
    lit[at].forEach((on, above) => {
      if (on) for (const tap of taps(layers[at - 1], above)) if (tap in lit[at - 1]) lit[at - 1][tap] = 1;
    });
  for (let at = row + 1; at < lit.length; at++)
    for (let above = 0; above < lit[at].length; above++)
      if (taps(layers[at - 1], above).some((tap) => lit[at - 1][tap])) lit[at][above] = 1;
  return lit;
}

/** Whether pixels between the first and the last that a unit sees are left out. */
function gaps(seen) {
  return seen.length > 0 && seen.length <= seen.at(-1) - seen[0];
}

function units(mask) {
  return Array.from(mask.keys()).filter((unit) => mask[unit]);
}

// Words

const conv = (kernel, more = {}) => ({ kind: "conv", kernel, stride: 1, padding: 0, dilation: 1, ...more });
const pool = (kernel = 2, stride = kernel) => ({ kind: "pool", kernel, stride, padding: 0, dilation: 1 });
const same = (kernel) => conv(kernel, { padding: (kernel - 1) / 2 });

export const PRESETS = [
  ["2x2, then 3x3", 7, [conv(2), conv(3)], "Of 7 pixels the first layer makes 6 units, the second 4. Each of these sees 4 pixels."],
  ["two 3x3 layers", 9, [conv(3), conv(3)], "Three neighbours that see 3 pixels each see 5 together: their windows overlap."],
  ["three 3x3 layers", 11, [conv(3), conv(3), conv(3)], "They see 7 pixels, as one layer with a kernel of 7 does."],
  ["one 7x7 layer", 11, [conv(7)], "One layer that sees 7 pixels. Compare it with three 3x3 layers."],
  ["a pooling between", 16, [conv(3), pool(), conv(3)], "After the pooling, neighbours lie 2 pixels apart: the last layer adds 4 pixels instead of 2."],
  ["VGG: blocks 1 and 2 of D", 28, [same(3), same(3), pool(), same(3), same(3), pool()], "Two layers, a pooling, two layers, a pooling. Watch the step from window to window: 1, 2, 4 pixels."],
  ["VGG: blocks 1 to 3 of A", 28, [same(3), pool(), same(3), pool(), same(3), same(3), pool()], "Each pooling doubles what the next layer adds."],
  ["dilations 1, 2, 4", 20, [conv(3), conv(3, { dilation: 2 }), conv(3, { dilation: 4 })], "The upper two kernels skip units, and yet no pixel of the 15 is left out."],
  ["dilation with holes", 20, [conv(3, { dilation: 2 }), conv(3, { dilation: 2 })], "Both layers skip every second pixel, and so does the field: count the pixels that are lit."],
  ["stride larger than kernel", 16, [conv(1, { stride: 3 }), conv(2)], "Two of three pixels are seen by nobody: try pixel 1."],
];

const minus = (number) => String(number).replace("-", "−");
const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const between = (first, last) => (first === last ? minus(first) : `${minus(first)} to ${minus(last)}`);
const by = (state, count) => (state.view === "picture" ? `${count} × ${count}` : `${count}`);

/** What the selected unit sees and influences, as sentences. */
export function sentence(state) {
  const { layers, size } = state;
  const [row, ...places] = state.selected;
  const unit = state.view === "picture" ? places : places.slice(1);
  const field = fields(layers)[row];
  const lit = unit.map((at) => cone(layers, size, row, at));
  const said = [];
  const who = `${row ? "Unit" : "Pixel"} ${unit.length > 1 ? `(${unit.join(", ")})` : unit[0]}`;
  if (row === 0) said.push(`${who} of the input sees itself.`);
  else {
    const seen = lit.map((masks) => units(masks[0]));
    const windows = unit.map((at) => windowOf(field, at));
    const names = unit.length > 1 ? ["rows ", "columns "] : [""];
    const where = (pairs) => pairs.map(([first, last], n) => names[n] + between(first, last)).join(", ");
    const number = seen.map((pixels) => pixels.length).join(" × ");
    const ofAll = unit.length === 1 && seen[0].length === 1 ? "pixel" : "pixels";
    if (seen.some((pixels) => !pixels.length)) said.push(`${who} of ${nameOf(layers, row)} sees nothing but padding.`);
    else {
      const ends = seen.map((pixels) => [pixels[0], pixels.at(-1)]);
      const holes = seen.some(gaps);
      said.push(`${who} of ${nameOf(layers, row)} sees ${number} ${ofAll}: ${where(ends)}${holes ? ", with gaps" : ""}.`);
      const rest = windows.map(([first, last]) => [Math.max(first, 0), Math.min(last, size - 1)]);
      const why = String(rest) === String(ends) ? "outside the picture is padding" : "the rest is padding or was left over by a layer below";
      if (String(ends) !== String(windows)) said.push(`Its window of ${by(state, field.size)} goes from ${where(windows)}; ${why}.`);
    }
    const centre = unit.map((at) => minus(centreOf(field, at))).join(", ");
    said.push(`Centre ${unit.length > 1 ? `(${centre})` : centre}${field.size % 2 ? "" : ", between two pixels"}.`);
  }
  const top = layers.length;
  if (row < top) {
    const count = (at) => lit.map((masks) => units(masks[at]).length);
    const many = (at) => {
      const found = count(at);
      const shownCount = found.includes(0) ? "0" : found.join(" × ");
      return `${shownCount} ${shownCount === "1" || shownCount === "1 × 1" ? "unit" : "units"} of ${nameOf(layers, at)}`;
    };
    said.push(`It influences ${many(row + 1)}${top > row + 1 ? ` and ${many(top)}` : ""}.`);
  }
  return said.join(" ");
}

/** Why numbers changed, or did not, when `before` became `after`; `edit` says what was done, and to which layer. */
export function why(before, after, pixels, edit) {
  const { what, at, from, to } = edit;
  const [old, now] = [fields(before), fields(after)];
  const rowName = at === undefined ? "" : nameOf(what === "remove" ? before : after, at + 1);
  const step = at === undefined ? 1 : now[Math.min(at, now.length - 1)].stride;
  const layer = after[at];
  
  const last = at === after.length - 1;
  const said = [];
  if (what === "kernel") {
    const grown = (to - from) * layer.dilation * step;
    const factors = [Math.abs(to - from), ...(layer.dilation > 1 ? [`dilation ${layer.dilation}`] : []), step].join(" × ");
    said.push(`Kernel of ${rowName} from ${from} to ${to}: ${plural(Math.abs(to - from), "step")} ${to > from ? "more" : "fewer"}.`);
    said.push(`Neighbours in the map below lie ${plural(step, "pixel")} apart, the product of the strides so far: its field and all above ${grown > 0 ? "grow" : "shrink"} by ${factors} = ${Math.abs(grown)}.`);
  } else if (what === "stride") {
    said.push(`Stride of ${rowName} from ${from} to ${to}. Its own field stays ${now[at + 1].size}: a stride acts on the layers above it.`);
    if (last) said.push(`There is none, so no size changes, only the step from window to window.`);
    else said.push(`Neighbours in its map now lie ${plural(now[at + 1].stride, "pixel")} apart instead of ${old[at + 1].stride}.`);
  } else if (what === "padding") {
    const moved = (to - from) * step;
    said.push(`Padding of ${rowName} from ${from} to ${to}. No size changes: padding moves windows and makes maps ${to > from ? "larger" : "smaller"}.`);
    said.push(`The first window starts ${plural(Math.abs(moved), "pixel")} further ${moved > 0 ? "left" : "right"}: ${Math.abs(to - from)} × ${step}.`);
  } else if (what === "dilation") {
    const grown = (to - from) * (layer.kernel - 1) * step;
    said.push(`Dilation of ${rowName} from ${from} to ${to}.`);
    if (grown === 0) said.push("A kernel of 1 takes no step that could be longer: nothing changes.");
    else said.push(`Its ${plural(layer.kernel - 1, "step")} ${to > from ? "reach" : "come"} ${plural(Math.abs(to - from), "unit")} ${to > from ? "further" : "closer"}, each ${plural(step, "pixel")}: ${Math.abs(grown)} ${to > from ? "more" : "fewer"} in its field and all above.`);
  } else if (what === "kind") {
    const [kernel, stride] = [layer.kernel, layer.stride];
    said.push(`Layer ${at + 1} is a ${to === "pool" ? "pooling" : "convolution"} now, with a kernel of ${kernel} and a stride of ${stride}. A pooling and a convolution with the same numbers read the same units; they differ in what they compute.`);
  } else if (what === "add") {
    said.push(`${rowName} on top: ${plural(layer.kernel - 1, "step")} of ${plural(step, "pixel")}, the product of the strides so far: ${(layer.kernel - 1) * layer.dilation * step} more.`);
  } else if (what === "remove") {
    const spread = at < before.length - 1 ? "spread all layers above" : "widened the step from window to window";
    const more = before[at].stride > 1 ? `, and its stride of ${before[at].stride} had ${spread}` : "";
    said.push(`${rowName} removed. It had added ${old[at + 1].size - old[at].size} to the size${more}.`);
  } else if (what === "move") {
    said.push(`Two layers have changed places. The order matters only through strides: a stride spreads what comes after it.`);
  } else if (what === "size") {
    said.push(`The input has ${pixels} pixels instead of ${from}. No field changes, for no formula asks how large the picture is; the maps do.`);
  } else if (what === "preset") {
    return edit.about;
  } else if (what === "undo") {
    said.push("The last change is taken back.");
  }
  const [a, b] = [old.at(-1), now.at(-1)];
  const change = (name, x, y) => (x === y ? `${name} ${minus(x)}` : `${name} ${minus(x)} → ${minus(y)}`);
  const numbers = [change("size", a.size, b.size), change("stride", a.stride, b.stride), change("padding", a.padding, b.padding)];
  said.push(`At the output: ${numbers.join(", ")}, ${change("first centre", centreOf(a, 0), centreOf(b, 0))}.`);
  return said.join(" ");
}

// State

const copyOf = (value) => JSON.parse(JSON.stringify(value));
const within = (value, low, high) => Math.min(Math.max(value, low), high);

/** The selection, moved onto a unit that exists, as near to where it was as can be. */
export function settled(state) {
  const found = counts(state.layers, state.size);
  const row = within(state.selected[0], 0, state.layers.length);
  return [row, ...state.selected.slice(1).map((unit) => within(unit, 0, found[row] - 1))];
}

/** The picture as numbers from 0 to 1, (size x size): means of the pixels that each new one covers. */
function resized(picture, size) {
  const side = Math.round(Math.sqrt(picture.length));
  const weights = Array.from({ length: size }, (_, n) => {
    const [from, to] = [(n * side) / size, ((n + 1) * side) / size];
    const found = [];
    for (let at = Math.floor(from); at < Math.min(side, Math.ceil(to)); at++)
      found.push([at, (Math.min(at + 1, to) - Math.max(at, from)) / (to - from)]);
    return found;
  });
  return weights.map((rows) =>
    weights.map((columns) => {
      let sum = 0;
      for (const [row, down] of rows) for (const [column, across] of columns) sum += picture[row * side + column] * down * across;
      return sum / 255;
    }),
  );
}

/** The maps after each layer if all weights were equal: means, and maxima for poolings. */
function smoothed(layers, size, input) {
  const maps = [input];
  counts(layers, size).slice(1).forEach((count, at) => {
    const below = maps.at(-1);
    const layer = layers[at];
    const seen = Array.from({ length: count }, (_, unit) => taps(layer, unit).filter((tap) => tap in below));
    maps.push(seen.map((rows) => seen.map((columns) => {
      let [sum, most] = [0, 0];
      for (const row of rows) for (const column of columns) {
        sum += below[row][column];
        most = Math.max(most, below[row][column]);
      }
      return layer.kind === "pool" ? most : sum / layer.kernel ** 2;
    })));
  });
  return maps;
}

// Drawing

const SVG = "http://www.w3.org/2000/svg";
let instances = 0;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const HEAD = 46; // pixels of the table's head
const ADD = 42; // of its line with the buttons
const PITCH = 50; // from row to row
const BESIDE = 830; // width from which cone.css puts the drawing beside the table
const FOOT = 30; // below the input, for the bracket
const HALF = 0.42; // of a pixel's box

/** Draw an explorer into `root` and keep it in step with `host`.

host: {state, pictures: [{name, pixels}], save(state), listen(callback)}; `save` is told of every change that is to be
kept, `listen` calls back with a new state from elsewhere. Returns a function that takes the explorer away.
*/
export function mount(root, host) {
  const id = `cone-${++instances}-${Math.random().toString(36).slice(2, 8)}`;
  let state = copyOf(host.state);
  let pointed = null; // the unit under the pointer, which wins over the selected one while it is there
  let before = null; // layers before the last edit, to mark what changed
  const past = [];

  // The parts that stay
  const presets = make("select", { ariaLabel: "Start from" });
  presets.append(make("option", { value: "", textContent: "choose a stack ..." }), ...PRESETS.map(([name], n) => make("option", { value: n, textContent: name })));
  const views = ["line", "picture"].map((view) => {
    const radio = make("input", { type: "radio", name: `${id}-view`, value: view });
    radio.addEventListener("change", () => commit({ view }, null));
    return make("label", {}, radio, make("span", { textContent: view === "line" ? "One side" : "Picture" }));
  });
  const pictures = make("select", { ariaLabel: "Picture" });
  pictures.append(...host.pictures.map(({ name }, n) => make("option", { value: n, textContent: name })));
  const pictureLabel = make("label", { className: "cone-choice" }, "Picture ", pictures);
  const undo = make("button", { type: "button", textContent: "Undo", disabled: true });
  const readout = make("p", { className: "cone-readout", id: `${id}-readout` });
  const table = make("table", { className: "cone-table" });
  const stage = make("div", { className: "cone-stage", tabIndex: 0, id: `${id}-stage` });
  stage.setAttribute("role", "application");
  stage.setAttribute("aria-roledescription", "diagram of units");
  stage.setAttribute("aria-describedby", readout.id);
  const reason = make("p", { className: "cone-why", id: `${id}-why` });
  const note = make("span", { className: "cone-note", ariaHidden: "true" }); // a refusal, where it was caused
  const hint = make("p", { className: "cone-hint" });
  const live = make("p", { className: "cone-live" });
  live.setAttribute("role", "status");
  live.setAttribute("aria-live", "polite");
  const defs = draw("svg", { class: "cone-defs", width: 0, height: 0, "aria-hidden": "true" },
    draw("defs", {}, hatch(`${id}-pad`, 45, "cone-hatch-pad"), hatch(`${id}-up`, -45, "cone-hatch-up"),
      // pictures are drawn in the colour of the text, so that they follow the theme
      draw("filter", { id: `${id}-ink`, x: 0, y: 0, width: 1, height: 1 }, draw("feFlood", { class: "cone-flood" }), draw("feComposite", { in2: "SourceAlpha", operator: "in" }))));
  const box = make("div", { className: "cone" },
    make("div", { className: "cone-bar" },
      make("label", { className: "cone-choice" }, "Start from ", presets),
      make("span", { className: "cone-switch", role: "radiogroup", ariaLabel: "View" }, ...views),
      pictureLabel, undo),
    readout, make("div", { className: "cone-body" }, table, stage), reason, hint, live, defs);
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Receptive field explorer");
  box.addEventListener("keydown", (event) => { // in JupyterLab, letters and arrows are the notebook's: d, d deletes the cell
    const command = event.ctrlKey || event.metaKey || event.altKey || event.key === "Escape";
    if (!command && !(event.shiftKey && event.key === "Enter")) event.stopPropagation();
  });
  root.append(box);

  function hatch(name, angle, className) {
    return draw("pattern", { id: name, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: `rotate(${angle})` },
      draw("line", { x1: 0, y1: 0, x2: 0, y2: 5, class: className }));
  }

  const selected = () => pointed ?? state.selected;

  function say(text) {
    live.textContent = "";
    live.textContent = text;
  }

  let told = "Change a number of a layer: here stands why the field changed.";

  /** Put what was said last in the place of a refusal, once that no longer stands. */
  function settleReason() {
    note.remove();
    reason.className = "cone-why";
    reason.textContent = told;
  }

  /** Take a change over, if it can be drawn; `edit` is for `why`, null where no number changes. Return whether. */
  function commit(change, edit) {
    const next = { ...state, ...change };
    const refused = refusal(next.layers, next.size);
    if (refused) {
      reason.className = "cone-why cone-refused";
      reason.textContent = `Refused. ${refused}`;
      say(reason.textContent);
      note.textContent = refused;
      if (table.contains(document.activeElement)) document.activeElement.closest("td, th")?.append(note);
      note.style.left = 0; // then back, as far as it would stick out
      const [around, placed] = [box, note].map((one) => one.getBoundingClientRect());
      note.style.left = `${Math.max(Math.min(0, around.right - 12 - placed.right), Math.min(0, around.left - placed.left))}px`;
      return false;
    }
    next.selected = settled(next);
    if (edit) {
      if (edit.what !== "undo") past.push(copyOf(state));
      before = { layers: state.layers, size: state.size };
      told = why(before.layers, next.layers, next.size, edit);
      say(told);
    }
    settleReason();
    pointed = null;
    state = next;
    host.save(copyOf(state));
    render();
    return true;
  }

  function select(selection) {
    pointed = null;
    state.selected = selection;
    host.save(copyOf(state));
    light();
    say(sentence(state));
  }

  // The table

  const rows = []; // {inputs: {kernel: ...}, cells: {units, size, stride, padding, centre}, element}

  function buildTable() {
    rows.length = 0;
    const head = make("thead", {},
      make("tr", { className: "cone-groups" }, th("", 1), th("layer", 4), th("its map", 1), th("field of one unit, in pixels", 4), th("", 1)),
      make("tr", {}, ...["", "kernel", "stride", "padding", "dilation", "units", "size", "stride", "padding", "first centre", ""].map((name) => th(name, 1))));
    const add = ["conv", "pool"].map((kind) => {
      const button = make("button", { type: "button", textContent: `+ ${kind}`, ariaLabel: `Add a ${kind} layer on top` });
      button.addEventListener("click", () => {
        const layers = [...state.layers, kind === "conv" ? conv(3) : pool()];
        if (!commit({ layers, selected: [layers.length, ...state.selected.slice(1)] }, { what: "add", at: layers.length - 1 })) return;
        table.querySelector(".cone-add button")?.focus();
      });
      return button;
    });
    const body = make("tbody", {}, make("tr", { className: "cone-add" }, make("td", { colSpan: 11 }, ...add, make("span", { textContent: "on top of the stack" }))));
    for (let row = state.layers.length; row >= 0; row--) body.append(tableRow(row));
    table.replaceChildren(make("caption", { className: "cone-live", textContent: "Layers from the output, above, to the input, below" }), head, body);
  }

  function th(text, span) {
    const cell = make("th", { textContent: text, colSpan: span });
    cell.setAttribute("scope", span > 1 ? "colgroup" : "col");
    return cell;
  }

  function tableRow(row) {
    const name = nameOf(state.layers, row);
    const found = { inputs: {}, cells: {} };
    const element = make("tr", { className: "cone-layer" });
    const heading = make("th", { scope: "row" });
    element.append(heading);
    if (row === 0) {
      const slider = make("input", { type: "range", min: 1, max: MOST.pixels, step: 1, ariaLabel: "input pixels along one side" });
      slider.addEventListener("input", () => {
        const from = state.size;
        if (!commit({ size: slider.valueAsNumber }, { what: "size", from })) slider.value = state.size;
      });
      found.slider = slider;
      heading.textContent = "input";
      element.append(make("td", { colSpan: 4 }, slider));
    } else {
      const at = row - 1;
      const kind = make("select", { ariaLabel: `kind of layer ${row}` }, make("option", { textContent: "conv" }), make("option", { textContent: "pool" }));
      kind.addEventListener("change", () => {
        if (!edit(at, "kind", kind.value)) kind.value = state.layers[at].kind;
      });
      found.kind = kind;
      heading.append(kind, make("span", { textContent: ` ${row}` }));
      for (const what of NUMBERS) {
        const input = make("input", { type: "number", min: what === "padding" ? 0 : 1, max: MOST.units, step: 1, ariaLabel: `${what} of ${name}` });
        const settle = () => {
          if (input.hasAttribute("aria-invalid")) note.remove();
          input.removeAttribute("aria-invalid");
          input.value = state.layers[at]?.[what] ?? "";
        };
        input.addEventListener("input", () => {
          const back = input.valueAsNumber === state.layers[at][what];
          if (back) settleReason();
          if (back || edit(at, what, input.valueAsNumber)) input.removeAttribute("aria-invalid");
          else {
            input.setAttribute("aria-invalid", "true");
            input.setAttribute("aria-describedby", reason.id);
          }
        });
        input.addEventListener("blur", settle);
        input.addEventListener("keydown", (event) => {
          if (event.key !== "Escape") return;
          settle();
          settleReason();
        });
        found.inputs[what] = input;
        element.append(make("td", {}, input));
      }
    }
    for (const what of ["units", "size", "stride", "padding", "centre"]) {
      found.cells[what] = make("td", { className: "cone-number" });
      element.append(found.cells[what]);
    }
    const buttons = make("td", { className: "cone-buttons" });
    if (row > 0) {
      const up = make("button", { type: "button", textContent: "↑", title: "towards the output", ariaLabel: `Move ${name} towards the output`, disabled: row === state.layers.length });
      up.addEventListener("click", () => {
        const layers = [...state.layers];
        [layers[row - 1], layers[row]] = [layers[row], layers[row - 1]];
        commit({ layers }, { what: "move", at: row });
      });
      const remove = make("button", { type: "button", textContent: "×", title: "remove", ariaLabel: `Remove ${name}` });
      remove.addEventListener("click", () => {
        commit({ layers: state.layers.filter((_, n) => n !== row - 1) }, { what: "remove", at: row - 1 });
        stage.focus({ preventScroll: true });
      });
      buttons.append(up, remove);
    }
    element.append(buttons);
    found.element = element;
    rows[row] = found;
    return element;
  }

  function edit(at, what, to) {
    const layers = copyOf(state.layers);
    const from = layers[at][what];
    layers[at][what] = to;
    if (what === "kind") layers[at] = copyOf(earlier(at, to) ?? (to === "pool" ? pool() : same(3)));
    return commit({ layers }, { what, at, from, to });
  }

  /** The layer that stood in this place when it was last of that kind. */
  function earlier(at, kind) {
    return past.findLast(({ layers }) => layers.length === state.layers.length && layers[at].kind === kind)?.layers[at];
  }

  function fillTable() {
    const found = fields(state.layers);
    const unitCounts = counts(state.layers, state.size);
    const old = before && before.layers.length === state.layers.length ? fields(before.layers) : null;
    const oldCounts = before && before.layers.length === state.layers.length ? counts(before.layers, before.size) : null;
    for (const [row, { inputs, kind, slider, cells }] of rows.entries()) {
      if (slider) slider.value = state.size;
      if (kind) kind.value = state.layers[row - 1].kind;
      for (const [what, input] of Object.entries(inputs))
        if (input.valueAsNumber !== state.layers[row - 1][what]) {
          input.value = state.layers[row - 1][what];
          input.removeAttribute("aria-invalid");
        }
      const numbers = { units: unitCounts[row], ...found[row], centre: centreOf(found[row], 0) };
      const were = old ? { units: oldCounts[row], ...old[row], centre: centreOf(old[row], 0) } : numbers;
      for (const [what, cell] of Object.entries(cells)) {
        const changed = were[what] !== numbers[what];
        const key = `${numbers[what]}${changed ? ` ${were[what]}` : ""}`;
        if (cell.dataset.key === key) continue;
        cell.dataset.key = key;
        cell.className = changed ? "cone-number cone-changed" : "cone-number";
        cell.replaceChildren(make("b", { textContent: minus(numbers[what]) }));
        if (changed) cell.append(make("small", { textContent: `was ${minus(were[what])}` }));
      }
    }
  }

  // One side: rows of units above the pixels

  let geometry = null;
  let space = { stage: 0, box: 0 }; // widths, measured only when they may have changed: asking costs a layout

  function measure() {
    space = { stage: stage.clientWidth, box: box.clientWidth };
  }

  function buildLine() {
    const { layers, size } = state;
    const found = fields(layers);
    const unitCounts = counts(layers, size);
    const padding = (row) => layers[row]?.padding ?? 0; // empty cells that the layer above puts beside this row
    const half = (row) => Math.min(found[row].stride, 4) * HALF;
    let [low, high] = [0, 0];
    for (let row = 0; row <= layers.length; row++) {
      low = Math.min(low, centreOf(found[row], -padding(row)) - half(row));
      high = Math.max(high, centreOf(found[row], unitCounts[row] - 1 + padding(row)) + half(row));
    }
    const width = Math.max(space.stage, 260);
    const left = 50;
    const cell = Math.min((width - left - 8) / (high - low), 38);
    const start = left + (width - left - 8 - cell * (high - low)) / 2;
    const x = (pixel) => start + (pixel - low) * cell;
    const above = space.box - 24 > BESIDE ? HEAD + ADD : 8; // beside the table, rows stand level with its rows
    const y = (row) => above + (layers.length - row + 0.5) * PITCH;
    const height = y(0) + PITCH / 2 + FOOT;
    const svg = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    const hulls = draw("g");
    const edges = draw("g");
    const boxes = draw("g");
    const bracket = draw("g", { class: "cone-bracket" });
    svg.append(hulls, edges, boxes, bracket);
    const rects = [];
    for (let row = 0; row <= layers.length; row++) {
      const wide = 2 * half(row) * cell;
      const tall = Math.min(24, Math.max(14, cell * 0.84));
      rects[row] = new Map();
      boxes.append(draw("text", { x: 2, y: y(row) + 4, class: "cone-label" }, nameOf(layers, row)));
      for (let unit = -padding(row); unit < unitCounts[row] + padding(row); unit++) {
        const inside = unit >= 0 && unit < unitCounts[row];
        const middle = x(centreOf(found[row], unit));
        const rect = draw("rect", { x: middle - wide / 2, y: y(row) - tall / 2, width: wide, height: tall, rx: 2 });
        boxes.append(rect);
        const text = inside && wide > 15 ? draw("text", { x: middle, y: y(row) + 3.5 }, String(unit)) : null;
        if (text) boxes.append(text);
        rects[row].set(unit, { rect, text, inside, middle });
      }
    }
    stage.replaceChildren(svg);
    geometry = { kind: "line", above, x, y, cell, low, high, found, unitCounts, rects, hulls, edges, bracket, half, tall: Math.min(24, Math.max(14, cell * 0.84)) };
  }

  function lightLine() {
    const { layers, size } = state;
    const [row, , unit] = selected();
    const { x, y, found, rects, hulls, edges, bracket, half, tall, unitCounts } = geometry;
    const lit = cone(layers, size, row, unit);
    const read = layers.map(() => new Set()); // padding that is read, by row
    let [seen, zeros, up] = ["", "", ""];
    const top = (at) => y(at) - tall / 2;
    const bottom = (at) => y(at) + tall / 2;
    const hull = (at) => {
      const on = units(lit[at]);
      return on.length ? [x(centreOf(found[at], on[0]) - half(at)), x(centreOf(found[at], on.at(-1)) + half(at))] : null;
    };
    const shapes = [];
    for (let at = 1; at <= layers.length; at++) {
      const [high, low] = [hull(at), hull(at - 1)];
      if (high && low && (at <= row || at - 1 >= row))
        shapes.push(draw("path", {
          class: at <= row ? "cone-hull" : "cone-hull-up",
          d: `M${high[0]} ${bottom(at)}L${high[1]} ${bottom(at)}L${low[1]} ${top(at - 1)}L${low[0]} ${top(at - 1)}Z`,
        }));
      for (const above of at <= row || lit[at - 1].some(Boolean) ? units(lit[at]) : [])
        for (const tap of taps(layers[at - 1], above)) {
          const line = `M${rects[at].get(above).middle} ${bottom(at)}L${x(centreOf(found[at - 1], tap))} ${top(at - 1)}`;
          const inside = tap >= 0 && tap < unitCounts[at - 1];
          if (at > row) up += inside && lit[at - 1][tap] ? line : "";
          else if (inside) seen += line;
          else {
            zeros += line;
            read[at - 1].add(tap);
          }
        }
    }
    hulls.replaceChildren(...shapes);
    edges.replaceChildren(
      draw("path", { class: "cone-edge", d: seen }), draw("path", { class: "cone-edge-zero", d: zeros }), draw("path", { class: "cone-edge-up", d: up }));
    rects.forEach((cells, at) => {
      for (const [index, { rect, text, inside }] of cells) {
        let name = inside ? "cone-unit" : "cone-zero";
        if (at === row && index === unit) name += " cone-self";
        else if (inside && lit[at][index]) name += at < row ? " cone-seen" : " cone-up";
        else if (!inside && at < row && read[at].has(index)) name += " cone-read";
        if (rect.getAttribute("class") !== name) {
          rect.setAttribute("class", name);
          rect.style.fill = name.includes("cone-up") ? `url(#${id}-up)` : name.includes("cone-read") ? `url(#${id}-pad)` : "";
          text?.setAttribute("class", `cone-index ${name.replace(/cone-(unit|zero)/, "")}`);
        }
      }
    });
    drawBracket(bracket, row, unit);
  }

  /** The window of a unit, below the pixels: solid inside the picture, dashed outside, with arrows where it goes on. */
  function drawBracket(bracket, row, unit) {
    const { x, y, found, low, high } = geometry;
    const [first, last] = windowOf(found[row], unit);
    const line = y(0) + PITCH / 2 - 4;
    const ends = [Math.max(first - 0.5, low), Math.min(last + 0.5, high)];
    const goesOn = [first - HALF < low - 1e-9, last + HALF > high + 1e-9];
    const inner = [Math.max(ends[0], -0.5), Math.min(ends[1], state.size - 0.5)];
    const parts = [draw("path", { class: "cone-outside", d: `M${x(ends[0])} ${line}H${x(ends[1])}` })];
    if (inner[0] < inner[1]) parts.push(draw("path", { d: `M${x(inner[0])} ${line}H${x(inner[1])}` }));
    parts.push(draw("path", { d: goesOn[0] ? `M${x(ends[0]) + 6} ${line - 4}l-6 4l6 4` : `M${x(ends[0])} ${line - 6}v6` }));
    parts.push(draw("path", { d: goesOn[1] ? `M${x(ends[1]) - 6} ${line - 4}l6 4l-6 4` : `M${x(ends[1])} ${line - 6}v6` }));
    const padded = first < 0 || last >= state.size ? " with padding" : "";
    const label = draw("text", { x: within((x(ends[0]) + x(ends[1])) / 2, 110, Math.max(space.stage - 100, 110)), y: line + 17 });
    const seen = units(cone(state.layers, state.size, row, unit)[0]);
    const [wide, read] = gaps(seen) ? [`window of ${last - first + 1}`, `, ${seen.length} read`] : [plural(last - first + 1, "pixel"), ""];
    label.append(`${wide}${padded}${read}: ${between(first, last)}`);
    bracket.replaceChildren(...parts, label);
  }

  // Picture: the windows over the input, and a map for each layer

  function greys(values, scale) {
    const side = values.length;
    const canvas = make("canvas", { width: side, height: side });
    const context = canvas.getContext("2d");
    const image = context.createImageData(side, side);
    const most = Math.max(...values.map((line) => Math.max(...line)), 1e-9);
    values.flat().forEach((value, n) => (image.data[4 * n + 3] = Math.round((255 * value) / most)));
    context.putImageData(image, 0, 0);
    return draw("image", { href: canvas.toDataURL(), x: 0, y: 0, width: side * scale, height: side * scale, filter: `url(#${id}-ink)` });
  }

  function buildPicture() {
    const { layers, size } = state;
    const found = fields(layers);
    const unitCounts = counts(layers, size);
    const chosen = host.pictures[state.picture] ?? { pixels: new Uint8Array(784) };
    const maps = smoothed(layers, size, resized(chosen.pixels, size));
    const ends = found.map((field, row) => windowOf(field, unitCounts[row] - 1)[1] - size + 1);
    const out = Math.max(0, ...found.map((field) => field.padding), ...ends);
    const drawn = maps.map((values, row) => {
      const side = unitCounts[row];
      const [whole, edge] = row ? [110, 0.02 * side] : [300, Math.min(out, Math.ceil(0.75 * size)) + 0.02 * size];
      const scale = whole / (side + 2 * edge);
      const svg = draw("svg", { viewBox: `${-edge * scale} ${-edge * scale} ${whole} ${whole}`, class: "cone-map", "data-row": row, "aria-hidden": "true" });
      let grid = "";
      for (let n = 0; n <= side; n++) grid += `M${n * scale} 0V${side * scale}M0 ${n * scale}H${side * scale}`;
      const lit = draw("path");
      const over = draw("g");
      if (!row)
        svg.append(
          draw("rect", { x: -edge * scale, y: -edge * scale, width: whole, height: whole, class: "cone-outside-picture", style: `fill:url(#${id}-pad)` }),
          draw("rect", { x: 0, y: 0, width: side * scale, height: side * scale, class: "cone-paper" }));
      svg.append(greys(values, scale), draw("path", { d: grid, class: "cone-grid" }), lit, over);
      return { svg, lit, over, side, edge, scale };
    });
    const figures = drawn.map(({ svg, side }, row) =>
      make("figure", { className: row ? "" : "cone-large" }, svg, make("figcaption", { textContent: `${nameOf(layers, row)}, ${side}×${side}` })));
    stage.replaceChildren(figures[0], make("div", { className: "cone-maps" }, ...figures.slice(1)));
    geometry = { kind: "picture", drawn, found, unitCounts };
  }

  function lightPicture() {
    const { layers, size } = state;
    const [row, ...unit] = selected();
    const { drawn, found } = geometry;
    const lit = unit.map((at) => cone(layers, size, row, at));
    drawn.forEach(({ lit: path, scale }, at) => {
      const [down, across] = lit.map((masks) => runs(masks[at]).map((run) => run.map((value) => value * scale)));
      let d = "";
      for (const [top, tall] of down) for (const [left, wide] of across) d += `M${left} ${top}h${wide}v${tall}h${-wide}z`;
      path.setAttribute("d", d);
      path.setAttribute("class", at < row ? "cone-seen" : at > row ? "cone-up" : "cone-self");
      path.style.fill = at > row ? `url(#${id}-up)` : "";
    });
    // on the picture the windows of the units in the middle of the cone, one in another
    const { over, side, edge, scale } = drawn[0];
    const [windows, labels] = [[], []];
    for (let at = row; at > 0; at--) {
      const middle = lit.map((masks) => units(masks[at])).map((on) => on[Math.floor((on.length - 1) / 2)]);
      if (middle.includes(undefined)) continue;
      const [[top, bottom], [left, right]] = middle.map((index) => windowOf(found[at], index));
      const look = at === row ? "cone-window cone-window-self" : "cone-window";
      windows.unshift(draw("rect", { x: left * scale, y: top * scale, width: (right - left + 1) * scale, height: (bottom - top + 1) * scale, class: look }));
      if ((right - left + 1) * scale < 16 && at < row) continue; // too small for its number
      const [x, y] = [within(left, -edge, side) * scale + 3, within(bottom + 1, 0, side + edge) * scale - 3];
      if (labels.some((other) => Math.abs(other.x - x) < 13 && Math.abs(other.y - y) < 10)) continue; // it would cover that one
      labels.push({ x, y, text: draw("text", { x, y, class: look }, String(at)) });
    }
    over.replaceChildren(...windows, ...labels.map(({ text }) => text));
  }

  /** The runs of ones of a mask, as [start, length]. */
  function runs(mask) {
    const found = [];
    mask.forEach((on, n) => {
      if (!on) return;
      if (n && mask[n - 1]) found.at(-1)[1] += 1;
      else found.push([n, 1]);
    });
    return found;
  }

  // Pointer and keys

  function unitAt(event) {
    if (geometry?.kind === "line") {
      const bounds = stage.firstElementChild.getBoundingClientRect();
      const row = state.layers.length - Math.floor((event.clientY - bounds.top - geometry.above) / PITCH);
      if (row < 0 || row > state.layers.length) return null;
      const { x, found, unitCounts } = geometry;
      const step = x(found[row].stride) - x(0);
      const unit = Math.round((event.clientX - bounds.left - x(centreOf(found[row], 0))) / step);
      return unit >= 0 && unit < unitCounts[row] ? [row, state.selected[1], unit] : null;
    }
    const svg = event.target.closest?.(".cone-map");
    if (!svg) return null;
    const row = Number(svg.dataset.row);
    const { side, edge } = geometry.drawn[row];
    const bounds = svg.getBoundingClientRect();
    const place = [(event.clientY - bounds.top) / bounds.height, (event.clientX - bounds.left) / bounds.width];
    const unit = place.map((part) => Math.floor(part * (side + 2 * edge) - edge));
    return unit.every((index) => index >= 0 && index < side) ? [row, ...unit] : null;
  }

  function point(selection) {
    if (String(selection) === String(pointed)) return;
    pointed = selection && settled({ ...state, selected: selection });
    light();
  }

  stage.addEventListener("pointermove", (event) => point(unitAt(event)));
  stage.addEventListener("pointerleave", () => point(null));
  stage.addEventListener("click", (event) => {
    const found = unitAt(event);
    if (found) select(settled({ ...state, selected: found }));
  });
  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [row, down, across] = state.selected;
    const end = counts(state.layers, state.size)[row] - 1;
    const picture = state.view === "picture";
    const moves = {
      ArrowLeft: [row, down, across - 1], ArrowRight: [row, down, across + 1],
      ArrowUp: picture ? [row, down - 1, across] : "up", ArrowDown: picture ? [row, down + 1, across] : "down",
      PageUp: "up", PageDown: "down", Home: [row, picture ? 0 : down, 0], End: [row, picture ? end : down, end],
    };
    let move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    if (typeof move === "string") move = climbed(move === "up" ? 1 : -1);
    select(settled({ ...state, selected: move }));
  });

  /** The unit of the row above or below whose centre is nearest. */
  function climbed(step) {
    const found = fields(state.layers);
    const [row, ...unit] = state.selected;
    const next = within(row + step, 0, state.layers.length);
    const nearest = step > 0 ? (x) => Math.ceil(x - 0.5) : (x) => Math.floor(x + 0.5); // so that up undoes down
    return [next, ...unit.map((index) => nearest((centreOf(found[row], index) - centreOf(found[next], 0)) / found[next].stride))];
  }

  presets.addEventListener("change", () => {
    const [, size, layers, about] = PRESETS[Number(presets.value)] ?? [];
    if (!layers) return;
    const middle = Math.floor((counts(layers, size).at(-1) - 1) / 2);
    commit({ size, layers: copyOf(layers), selected: [layers.length, middle, middle] }, { what: "preset", about });
    before = null;
    fillTable();
  });
  pictures.addEventListener("change", () => commit({ picture: Number(pictures.value) }, null));
  undo.addEventListener("click", () => {
    const last = past.pop();
    if (last) commit({ layers: last.layers, size: last.size, selected: last.selected }, { what: "undo" });
  });

  // Everything together

  let tableFor = "";

  function render() {
    const kinds = state.layers.map(({ kind }) => kind).join(" ");
    if (kinds !== tableFor || !rows.length) {
      const focus = document.activeElement?.getAttribute?.("aria-label");
      const inside = table.contains(document.activeElement);
      buildTable();
      tableFor = kinds;
      if (inside && focus) table.querySelector(`[aria-label="${CSS.escape(focus)}"]`)?.focus();
    }
    fillTable();
    box.dataset.view = state.view;
    views.forEach((label) => (label.firstChild.checked = label.firstChild.value === state.view));
    pictureLabel.hidden = state.view !== "picture" || host.pictures.length < 2;
    pictures.value = state.picture;
    undo.disabled = !past.length;
    const preset = PRESETS.findIndex(([, size, layers]) => size === state.size && same_(layers, state.layers));
    presets.value = preset < 0 ? "" : preset;
    const picture = state.view === "picture";
    const keys = picture ? "Arrow keys move, Page Up and Page Down change the layer" : "← → move along a row, ↑ ↓ change the layer";
    const drawnAs = picture ? " Maps are drawn as if all weights of a layer were equal; dashed frames are windows of layers below." : "";
    const empty = !picture && state.layers.some(({ padding }) => padding) ? " Dashed cells are padding: zeros." : "";
    hint.textContent = `Point at a unit to light what it sees (filled) and what it influences (hatched). Click to keep it. ${keys}, Home and End jump.${empty}${drawnAs}`;
    stage.setAttribute("aria-label", `Units of ${plural(state.layers.length, "layer")} over ${state.size} pixels. ${keys}.`);
    if (state.view === "picture") buildPicture();
    else buildLine();
    light();
  }

  function same_(one, other) {
    return one.length === other.length && one.every((layer, n) => layer.kind === other[n].kind && NUMBERS.every((what) => layer[what] === other[n][what]));
  }

  function light() {
    if (geometry.kind === "line") lightLine();
    else lightPicture();
    readout.textContent = sentence({ ...state, selected: selected() });
    for (const [row, { element }] of rows.entries()) element.classList.toggle("cone-current", row === selected()[0]);
  }

  state.selected = settled(state);
  buildTable(); // its width decides how much is left for the drawing
  tableFor = state.layers.map(({ kind }) => kind).join(" ");
  measure();
  render();
  settleReason();
  host.listen((next) => {
    if (JSON.stringify(next) === JSON.stringify(state) || refusal(next.layers, next.size)) return;
    state = { ...copyOf(next), selected: settled(next) };
    before = null;
    settleReason();
    render();
  });
  const watcher = new ResizeObserver(() => {
    const was = space.stage;
    measure();
    if (state.view !== "line" || Math.abs(space.stage - was) <= 1) return;
    buildLine();
    light();
  });
  watcher.observe(stage);
  return () => {
    watcher.disconnect();
    box.remove();
  };
}

function decoded(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** The page without a kernel: what is kept stands in the address, behind the #. */
export function page(root, { start, pictures }) {
  let state = start;
  try {
    const kept = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    if (!refusal(kept.layers, kept.size)) state = { ...start, ...kept };
  } catch {
    // no state in the address, or one that cannot be read
  }
  return mount(root, {
    state,
    pictures: pictures.map(({ name, pixels }) => ({ name, pixels: decoded(pixels) })),
    save: (next) => {
      try {
        history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(next))}`);
      } catch {
        // a page inside another, such as JupyterLab's, may not change its address
      }
    },
    listen: () => {},
  });
}

const SYNCED = { layers: "stack", size: "size", selected: "selected", view: "view", picture: "picture" };

/** What anywidget calls for each place where the widget is shown. */
function render({ model, el }) {
  const read = () => Object.fromEntries(Object.entries(SYNCED).map(([name, trait]) => [name, copyOf(model.get(trait))]));
  let follow = () => {};
  let saving = false; // what we change ourselves is no news
  const changed = () => saving || follow(read());
  const events = Object.values(SYNCED).map((trait) => `change:${trait}`);
  const leave = mount(el, {
    state: read(),
    pictures: model.get("pictures").map(({ name, pixels }) => ({ name, pixels: decoded(pixels) })),
    save: (state) => {
      saving = true;
      for (const [name, trait] of Object.entries(SYNCED))
        if (JSON.stringify(model.get(trait)) !== JSON.stringify(state[name])) model.set(trait, state[name]);
      saving = false;
      model.save_changes();
    },
    listen: (callback) => (follow = callback),
  });
  for (const event of events) model.on(event, changed);
  return () => {
    for (const event of events) model.off(event, changed);
    leave();
  };
}

export default { render };
