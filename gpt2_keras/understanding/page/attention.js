// Attention: a thumbnail of every head, one of them large.

import { colour, element, panel, percent, visible } from "./dom.js";

const GRID = 480; // pixels of the canvas, for the heads of a layer
const GAP = 4;
const MAP = 640;
const SHOWN = 8;

export function attentionPanel(explorer) {
  const grid = element("canvas", {
    class: "heads",
    tabindex: "0",
    role: "img",
    "aria-label": "The attention of every head; the arrow keys choose one",
    onclick: (event) => choose(event, grid, explorer),
    onkeydown: (event) => move(event, explorer),
  });
  const map = element("canvas", {
    class: "map",
    role: "img",
    "aria-label": "The attention of the chosen head",
    onpointermove: (event) => point(event, parts),
    onpointerleave: () => leave(parts),
    onclick: (event) => choosePosition(event, parts),
  });
  const parts = {
    explorer,
    grid,
    map,
    controls: element("div", { class: "row" }),
    readout: element("p", { class: "summary", role: "status" }),
    list: element("ol", { class: "bars" }),
    drawn: null,
  };
  const node = panel(
    "attention",
    "Where it looked",
    "Each row of a map is a position, each column what it reads from. Attention says where information may flow, and is not an explanation: other weights can give the same prediction.",
    parts.controls,
    element(
      "div",
      { class: "attention" },
      element("div", { class: "scroll" }, grid),
      element("div", {}, map, parts.readout),
      element("div", {}, element("h3", {}, "The chosen position looks at"), parts.list),
    ),
  );
  return { node, update: () => update(parts) };
}

function update(parts) {
  const { explorer } = parts;
  const { exploration, layer, head, withoutFirst } = explorer;
  const names = exploration.layers.map((each, index) =>
    element("option", { value: index, selected: index === layer }, `layer ${each}`),
  );
  const heads = Array.from({ length: exploration.heads }, (_, index) =>
    element("option", { value: index, selected: index === head }, `head ${index}`),
  );
  const hide = element("input", {
    type: "checkbox",
    id: "without-first",
    onchange: () => explorer.set({ withoutFirst: hide.checked }),
  });
  hide.checked = withoutFirst;
  parts.controls.replaceChildren(
    element(
      "select",
      {
        "aria-label": "Layer",
        onchange: (event) => explorer.set({ layer: Number(event.target.value) }),
      },
      ...names,
    ),
    element(
      "select",
      {
        "aria-label": "Head",
        onchange: (event) => explorer.set({ head: Number(event.target.value) }),
      },
      ...heads,
    ),
    element("label", {}, hide, " hide the first position, and count the others as all"),
  );
  // Of hundreds of heads, after the rest of the page is there.
  const wanted = JSON.stringify([
    explorer.index,
    withoutFirst,
    explorer.version,
    explorer.scheme(),
  ]);
  if (parts.drawn !== wanted) setTimeout(() => drawGrid(parts, wanted));
  else markHead(parts);
  parts.drawn = wanted;
  drawMap(parts);
  drawList(parts);
}

function ramp() {
  const [from, to] = [colour("--map-empty"), colour("--map-full")];
  const pixels = new Uint8ClampedArray(4 * 256);
  for (let i = 0; i < 256; i++) {
    pixels.set([...from.map((each, j) => each + (to[j] - each) * Math.sqrt(i / 255)), 255], 4 * i);
  }
  return new Uint32Array(pixels.buffer); // as an ImageData has them
}

/** Draws all thumbnails, a layer at a time, unless others are wanted meanwhile. */
function drawGrid(parts, wanted, layer = 0) {
  const { explorer, grid } = parts;
  const { exploration } = explorer;
  const size = sizeOf(exploration);
  if (parts.drawn !== wanted) return;
  const cell = size + GAP;
  if (layer === 0) {
    grid.width = exploration.heads * cell + GAP;
    grid.height = exploration.layers.length * cell + GAP;
    parts.plain = new OffscreenCanvas(grid.width, grid.height);
  }
  const context = parts.plain.getContext("2d");
  const colours = ramp();
  for (let head = 0; head < exploration.heads; head++) {
    const picture = thumbnail(explorer, layer, head, size, colours);
    context.putImageData(picture, GAP + head * cell, GAP + layer * cell);
  }
  markHead(parts);
  if (layer + 1 < exploration.layers.length) setTimeout(() => drawGrid(parts, wanted, layer + 1));
}

/** Pixels of a thumbnail. */
function sizeOf({ heads }) {
  return Math.min(96, Math.max(24, Math.floor(GRID / heads) - GAP));
}

/** The largest weights of a head's map, as few pixels as a thumbnail has. */
function thumbnail({ exploration, withoutFirst }, layer, head, pixels, colours) {
  const size = Math.min(pixels, exploration.time);
  const values = new Float32Array(size * size);
  for (let query = 0; query < exploration.time; query++) {
    const row = Math.floor((query * size) / exploration.time);
    const weights = exploration.attention(layer, head, query, withoutFirst);
    for (let key = 0; key <= query; key++) {
      const index = row * size + Math.floor((key * size) / exploration.time);
      if (weights[key] > values[index]) values[index] = weights[key];
    }
  }
  const picture = new ImageData(pixels, pixels);
  const target = new Uint32Array(picture.data.buffer);
  for (let y = 0; y < pixels; y++) {
    for (let x = 0; x < pixels; x++) {
      const from = Math.floor((y * size) / pixels) * size + Math.floor((x * size) / pixels);
      target[y * pixels + x] = colours[Math.round(255 * Math.min(1, values[from]))];
    }
  }
  return picture;
}

/** A picture to draw again, under other lines. */
function copyOf(canvas) {
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  copy.getContext("2d").drawImage(canvas, 0, 0);
  return copy;
}

function markHead({ explorer, grid, plain }) {
  if (!plain) return;
  const context = grid.getContext("2d");
  context.clearRect(0, 0, grid.width, grid.height);
  context.drawImage(plain, 0, 0);
  context.strokeStyle = `rgb(${colour("--accent").join(" ")})`;
  context.lineWidth = 3;
  const cell = sizeOf(explorer.exploration) + GAP;
  context.strokeRect(GAP / 2 + explorer.head * cell, GAP / 2 + explorer.layer * cell, cell, cell);
}

function drawMap(parts) {
  const { explorer, map } = parts;
  const { exploration, layer, head, withoutFirst } = explorer;
  const { time } = exploration;
  map.width = map.height = MAP;
  const context = map.getContext("2d");
  const colours = ramp();
  const small = new OffscreenCanvas(time, time);
  const picture = new ImageData(time, time);
  const target = new Uint32Array(picture.data.buffer);
  for (let query = 0; query < time; query++) {
    const row = exploration.attention(layer, head, query, withoutFirst);
    for (let key = 0; key < time; key++) {
      const weight = key <= query ? row[key] : 0;
      target[query * time + key] = colours[Math.round(255 * Math.min(1, weight))];
    }
  }
  small.getContext("2d").putImageData(picture, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, MAP, MAP);
  parts.plainMap = copyOf(map);
  leave(parts);
}

/** The map without lines but that of the chosen position. */
function leave(parts) {
  const { explorer, map } = parts;
  const context = map.getContext("2d");
  context.drawImage(parts.plainMap, 0, 0);
  const size = MAP / explorer.exploration.time;
  context.strokeStyle = `rgb(${colour("--accent").join(" ")})`;
  context.lineWidth = 1.5;
  context.strokeRect(0.75, explorer.position * size, MAP - 1.5, Math.max(2, size));
  parts.readout.textContent = `Layer ${explorer.exploration.layers[explorer.layer]}, head ${explorer.head}. Point at the map to read it.`;
}

function point(event, parts) {
  const { explorer, map } = parts;
  const { exploration, layer, head, withoutFirst } = explorer;
  const [key, query] = indicesAt(event, map, exploration.time);
  leave(parts);
  const context = map.getContext("2d");
  const size = MAP / exploration.time;
  context.beginPath();
  context.moveTo(0, (query + 0.5) * size);
  context.lineTo(MAP, (query + 0.5) * size);
  context.moveTo((key + 0.5) * size, 0);
  context.lineTo((key + 0.5) * size, MAP);
  context.strokeStyle = `rgb(${colour("--text").join(" ")} / 0.6)`;
  context.lineWidth = 1;
  context.stroke();
  const [from, to] = [query, key].map(
    (index) => `${index} ${visible(exploration.text(exploration.ids[index]))}`,
  );
  parts.readout.textContent =
    key > query
      ? `${from} cannot look at ${to}, which comes later.`
      : `${from} looks at ${to}: ${percent(exploration.attention(layer, head, query, withoutFirst)[key])}`;
}

function choosePosition(event, { explorer, map }) {
  explorer.set({ position: indicesAt(event, map, explorer.exploration.time)[1] });
}

/** The column and the row of a map that is pointed at. */
function indicesAt(event, canvas, count) {
  const box = canvas.getBoundingClientRect();
  const at = (offset, size) =>
    Math.min(count - 1, Math.max(0, Math.floor((offset / size) * count)));
  return [at(event.clientX - box.left, box.width), at(event.clientY - box.top, box.height)];
}

function choose(event, grid, explorer) {
  const box = grid.getBoundingClientRect();
  const { heads, layers } = explorer.exploration;
  const head = Math.floor(((event.clientX - box.left) / box.width) * heads);
  const layer = Math.floor(((event.clientY - box.top) / box.height) * layers.length);
  explorer.set({ head: Math.min(head, heads - 1), layer: Math.min(layer, layers.length - 1) });
}

function move(event, explorer) {
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[
    event.key
  ];
  if (!steps) return;
  event.preventDefault();
  const { heads, layers } = explorer.exploration;
  explorer.set({
    layer: Math.min(Math.max(explorer.layer + steps[0], 0), layers.length - 1),
    head: Math.min(Math.max(explorer.head + steps[1], 0), heads - 1),
  });
}

function drawList({ explorer, list }) {
  const { exploration, position, layer, head, withoutFirst } = explorer;
  const row = exploration.attention(layer, head, position, withoutFirst);
  const order = Array.from(row.keys())
    .sort((a, b) => row[b] - row[a])
    .slice(0, SHOWN);
  list.replaceChildren(
    ...order.map((key) =>
      element(
        "li",
        {
          class: "bar",
          "data-key": key,
          "data-weight": row[key],
          style: { "--size": `${100 * row[key]}%` },
        },
        element("span", { class: "rank" }, String(key)),
        element("code", {}, visible(exploration.text(exploration.ids[key]))),
        element("span", { class: "number" }, percent(row[key])),
      ),
    ),
  );
}
