// The logit lens: what the model would say if it stopped after each step.

import { drawing, element, panel, percent, visible } from "./dom.js";

const AROUND = 4; // positions on each side of the chosen one
const SIZE = { width: 520, height: 190, left: 44, right: 12, top: 12, bottom: 34 };

export function lensPanel(explorer) {
  const chart = element("div", { class: "chart" });
  const table = element("div", {
    class: "scroll",
    tabindex: "0",
    role: "region",
    "aria-label": "Table of the lens",
  });
  const details = element("p", { class: "summary", role: "status" });
  const node = panel(
    "lens",
    "When it knew",
    "The prediction after each step, read as if it were the last. The line is the rank of the chosen token; the darker a cell, the surer.",
    chart,
    table,
    details,
  );
  return { node, update: () => update(explorer, chart, table, details) };
}

function update(explorer, chart, table, details) {
  const { exploration, position } = explorer;
  chart.replaceChildren(line(exploration, position));
  const first = Math.max(0, Math.min(position - AROUND, exploration.time - 1 - 2 * AROUND));
  const last = Math.min(exploration.time - 1, first + 2 * AROUND);
  const positions = Array.from({ length: last - first + 1 }, (_, index) => first + index);
  const head = element(
    "tr",
    {},
    element("th", { scope: "col" }, "after"),
    ...positions.map((each) =>
      element(
        "th",
        { scope: "col", class: each === position ? "chosen" : null },
        visible(exploration.text(exploration.ids[each])),
      ),
    ),
  );
  const rows = exploration.points.map((name, point) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      ...positions.map((each) => cell(explorer, point, each, details)),
    ),
  );
  table.replaceChildren(
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows.reverse())),
  );
  const column = table.querySelector("th.chosen");
  table.scrollLeft = column.offsetLeft - table.clientWidth / 2;
  describe(exploration, exploration.points.length - 1, position, details);
}

function cell(explorer, point, position, details) {
  const { exploration } = explorer;
  const { candidates } = exploration.lens(point, position);
  const isTarget = candidates[0].id === exploration.target(position);
  const button = element(
    "button",
    {
      type: "button",
      class: isTarget ? "target" : null,
      "data-point": point,
      "data-position": position,
      style: { "--strength": `${100 * Math.sqrt(candidates[0].probability)}%` },
      onclick: () => describe(exploration, point, position, details),
    },
    visible(candidates[0].text),
  );
  return element("td", { class: position === explorer.position ? "chosen" : null }, button);
}

function describe(exploration, point, position, details) {
  const { candidates, rank, kl } = exploration.lens(point, position);
  const best = candidates
    .slice(0, 5)
    .map(({ text, probability }) => `${visible(text)} ${percent(probability)}`);
  const token = visible(exploration.text(exploration.target(position)));
  details.textContent =
    `After ${exploration.points[point]}: ${best.join(", ")}. ` +
    `${token} has rank ${rank}; ${(kl / Math.LN2).toFixed(2)} bits from the final prediction.`;
}

/** The rank of the target at every point, as a line. */
function line(exploration, position) {
  const { width, height, left, right, top, bottom } = SIZE;
  const ranks = exploration.points.map((_, point) => exploration.lens(point, position).rank);
  const decades = Math.max(1, Math.ceil(Math.log10(Math.max(...ranks))));
  const x = (index) => left + ((width - left - right) * index) / Math.max(1, ranks.length - 1);
  const y = (rank) => top + ((height - top - bottom) * Math.log10(rank)) / decades;
  const picture = drawing("svg", {
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    "aria-label": `Rank at each step: ${ranks.join(", ")}`,
  });
  for (let decade = 0; decade <= decades; decade++) {
    const at = y(10 ** decade);
    picture.append(
      drawing("line", { x1: left, x2: width - right, y1: at, y2: at, class: "grid" }),
      drawing(
        "text",
        { x: left - 6, y: at + 4, "text-anchor": "end" },
        (10 ** decade).toLocaleString("en"),
      ),
    );
  }
  picture.append(
    drawing("polyline", {
      points: ranks.map((rank, index) => `${x(index)},${y(rank)}`).join(" "),
      class: "line",
    }),
  );
  ranks.forEach((rank, index) => {
    const dot = drawing("circle", { cx: x(index), cy: y(rank), r: 3.5, class: "dot" });
    dot.append(drawing("title", {}, `after ${exploration.points[index]}: rank ${rank}`));
    picture.append(dot);
  });
  picture.append(
    drawing("text", { x: left, y: height - 10 }, "embeddings"),
    drawing("text", { x: width - right, y: height - 10, "text-anchor": "end" }, "last layer"),
    drawing(
      "text",
      { x: (left + width - right) / 2, y: height - 10, "text-anchor": "middle" },
      "rank of the chosen token, by step",
    ),
  );
  return picture;
}
