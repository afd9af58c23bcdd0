// The chosen prediction without each attention head.

import { candidateBar } from "./candidates.js";
import { bits, element, panel, signed, visible } from "./dom.js";

const INSTEAD = {
  mean: "the mean of what it gives over the text",
  zero: "nothing",
  resample: "what it gives at another position",
};

export function ablationPanel(explorer) {
  const content = element("div");
  const node = panel(
    "ablation",
    "What each head does for it",
    "The change of the token's surprisal, in bits, without each attention head. Choose a head to see the prediction before and after.",
    content,
  );
  return { node, update: () => content.replaceChildren(...contents(explorer)) };
}

function contents(explorer) {
  const { exploration, position, ablatedHead } = explorer;
  if (!exploration.ablated(0, 0, position)) {
    return [element("p", { class: "empty" }, "Not computed here: it takes one pass per head.")];
  }
  const [layers, heads] = exploration.panels.ablatedShape;
  const change = (layer, head) =>
    bits(exploration.ablated(layer, head, position).logProb) - bits(exploration.logProb(position));
  let largest = 0.05; // bits: less is shown as nothing
  for (let layer = 0; layer < layers; layer++) {
    for (let head = 0; head < heads; head++)
      largest = Math.max(largest, Math.abs(change(layer, head)));
  }
  const rows = Array.from({ length: layers }, (_, layer) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, String(layer)),
      ...Array.from({ length: heads }, (_, head) => {
        const value = change(layer, head);
        const isChosen = ablatedHead[0] === layer && ablatedHead[1] === head;
        return element(
          "td",
          {},
          element(
            "button",
            {
              type: "button",
              class: value < 0 ? "against" : "for",
              "aria-pressed": String(isChosen),
              "aria-label": `layer ${layer}, head ${head}: ${signed(value)} bits`,
              "data-head": `${layer}.${head}`,
              "data-change": value,
              title: `${layer}.${head}: ${signed(value)} bits`,
              style: { "--strength": `${(100 * Math.abs(value)) / largest}%` },
              onclick: () => explorer.set({ ablatedHead: [layer, head] }),
            },
            Math.abs(value) >= 0.05 ? signed(value, 1) : "",
          ),
        );
      }),
    ),
  );
  const head = element(
    "tr",
    {},
    element("th", { scope: "col" }, "layer"),
    ...Array.from({ length: heads }, (_, index) => element("th", { scope: "col" }, String(index))),
  );
  const grid = element(
    "table",
    { class: "ablation" },
    element("thead", {}, head),
    element("tbody", {}, ...rows),
  );
  return [
    element(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of heads" },
      grid,
    ),
    beforeAndAfter(exploration, position, ablatedHead),
    element(
      "p",
      { class: "note" },
      `Without a head: it gives ${INSTEAD[exploration.panels.mode]} instead.`,
    ),
  ];
}

function beforeAndAfter(exploration, position, [layer, head]) {
  const after = exploration.ablated(layer, head, position);
  const before = exploration.candidates(position).slice(0, after.candidates.length);
  const target = exploration.target(position);
  const list = (title, candidates) =>
    element(
      "div",
      {},
      element("h3", {}, title),
      element(
        "ol",
        { class: "bars" },
        ...candidates.map((each, index) => candidateBar(each, index + 1, each.id === target)),
      ),
    );
  const bitsOf = (logProb) =>
    `${visible(exploration.text(target))} ${bits(logProb).toFixed(2)} bits`;
  return element(
    "div",
    { class: "pair" },
    list(`Before: ${bitsOf(exploration.logProb(position))}`, before),
    list(`Without ${layer}.${head}: ${bitsOf(after.logProb)}`, after.candidates),
  );
}
