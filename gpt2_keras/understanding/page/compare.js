// Several models that read the same text.

import { bits, drawing, element, panel, visible } from "./dom.js";

const SIZE = { width: 520, height: 150, left: 44, right: 12, top: 12, bottom: 26 };

export function comparePanel(explorer) {
  const slider = element("input", {
    type: "range",
    id: "model",
    min: "0",
    max: String(explorer.explorations.length - 1),
    step: "1",
    oninput: () => explorer.set({ index: Number(slider.value) }),
  });
  const name = element("output", { for: "model" });
  const chart = element("div", { class: "chart" });
  const table = element("div", {
    class: "scroll",
    tabindex: "0",
    role: "region",
    "aria-label": "Table of models",
  });
  const node = panel(
    "compare",
    "Compare",
    "The same text by several models, or by the checkpoints of a run. The slider changes all panels.",
    element("div", { class: "row" }, element("label", { for: "model" }, "Model"), slider, name),
    chart,
    table,
  );
  return {
    node,
    update() {
      slider.value = String(explorer.index);
      name.textContent = explorer.exploration.model;
      slider.setAttribute("aria-valuetext", explorer.exploration.model);
      chart.replaceChildren(line(explorer));
      table.replaceChildren(rows(explorer));
    },
  };
}

/** The mean surprisal of a text's tokens, in bits. */
function meanBits({ logProbs }) {
  const known = logProbs.filter((each) => each !== null);
  return bits(known.reduce((sum, each) => sum + each, 0) / Math.max(1, known.length));
}

/** The surprisal of the chosen token by each model. */
function surprisals({ explorations, position, exploration }) {
  const target = exploration.target(position);
  return explorations.map((each) =>
    each.target(position) === target ? bits(each.logProb(position)) : null,
  );
}

function rows(explorer) {
  const values = surprisals(explorer);
  const head = ["model", "the token", "bits", "rank", "bits per token"].map((each) =>
    element("th", { scope: "col" }, each),
  );
  const body = explorer.explorations.map((each, index) =>
    element(
      "tr",
      { class: index === explorer.index ? "chosen" : null },
      element(
        "th",
        { scope: "row" },
        element("button", { type: "button", onclick: () => explorer.set({ index }) }, each.model),
      ),
      element("td", {}, visible(each.text(each.target(explorer.position)))),
      element("td", { class: "number" }, values[index] === null ? "–" : values[index].toFixed(2)),
      element("td", { class: "number" }, String(each.rank(explorer.position))),
      element("td", { class: "number" }, meanBits(each).toFixed(2)),
    ),
  );
  return element(
    "table",
    { class: "models" },
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...body),
  );
}

function line(explorer) {
  const { width, height, left, right, top, bottom } = SIZE;
  const values = surprisals(explorer);
  const known = values.filter((each) => each !== null);
  const highest = Math.max(1, Math.ceil(Math.max(...known)));
  const x = (index) => left + ((width - left - right) * index) / Math.max(1, values.length - 1);
  const y = (value) => top + (height - top - bottom) * (1 - value / highest);
  const picture = drawing("svg", {
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    "aria-label": `Surprisal by model: ${known.map((each) => each.toFixed(1)).join(", ")} bits`,
  });
  for (const value of [0, highest / 2, highest]) {
    picture.append(
      drawing("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), class: "grid" }),
      drawing("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, String(value)),
    );
  }
  const points = values.flatMap((value, index) =>
    value === null ? [] : [`${x(index)},${y(value)}`],
  );
  picture.append(drawing("polyline", { points: points.join(" "), class: "line" }));
  values.forEach((value, index) => {
    if (value === null) return;
    picture.append(
      drawing("circle", {
        cx: x(index),
        cy: y(value),
        r: index === explorer.index ? 6 : 3.5,
        class: "dot",
      }),
    );
  });
  picture.append(
    drawing(
      "text",
      { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" },
      "surprisal of the chosen token in bits, by model",
    ),
  );
  return picture;
}
