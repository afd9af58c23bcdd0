// The text, each token coloured by how much the model expected it.

import { bits, choice, element, panel, visible } from "./dom.js";

const BUCKETS = [
  [1, "first"],
  [10, "to 10"],
  [100, "to 100"],
  [1000, "to 1000"],
  [Infinity, "later"],
];
const BITS = [1, 3.4, 6.7, 10, Infinity]; // as of one of 2, 10, 100 and 1000 equals

export function textPanel(explorer) {
  const controls = element("div", { class: "row" });
  const legend = element("div", { class: "legend", "aria-hidden": "true" });
  const tokens = element("div", {
    class: "tokens",
    role: "listbox",
    "aria-label": "Tokens of the text; the arrow keys move from one to the next",
    onkeydown: (event) => move(event, explorer),
  });
  const summary = element("p", { class: "summary", role: "status" });
  const node = panel(
    "text",
    "The text",
    "Each token is coloured by how far up the model's list it stood. Choose one: all below is about its prediction.",
    controls,
    legend,
    tokens,
    summary,
  );
  return { node, update: () => update(explorer, controls, legend, tokens, summary) };
}

function update(explorer, controls, legend, tokens, summary) {
  const { exploration, position, colouring } = explorer;
  const options = [
    ["rank", "by rank"],
    ["bits", "by bits"],
    ["entropy", "by uncertainty"],
  ];
  if (explorer.explorations.length > 1) options.push(["change", "by change"]);
  controls.replaceChildren(
    choice("Colour tokens", options, colouring, (value) => explorer.set({ colouring: value })),
  );
  legend.replaceChildren(...legendOf(colouring));
  const hadFocus = tokens.contains(document.activeElement);
  const nodes = exploration.ids.map((id, index) => token(explorer, id, index));
  nodes.push(next(explorer));
  tokens.replaceChildren();
  const texts = exploration.ids.map((id) => exploration.text(id));
  nodes.forEach((node, index) => {
    tokens.append(node);
    // After the last line end of several.
    if (texts[index]?.includes("\n") && !texts[index + 1]?.startsWith("\n"))
      tokens.append(element("br"));
  });
  if (hadFocus) nodes[position + 1].focus();
  summary.textContent = summaryOf(exploration, position);
}

function token(explorer, id, index) {
  const { exploration, position } = explorer;
  const text = exploration.text(id);
  const chosen = index === position + 1;
  return element(
    "span",
    {
      class: `token ${index ? classOf(explorer, index) : "given"}`,
      role: "option",
      "aria-selected": String(chosen),
      "aria-disabled": index ? null : "true",
      tabindex: index ? (chosen ? "0" : "-1") : null,
      "data-index": index,
      title: index ? titleOf(exploration, index) : "given to begin with",
      onclick: index ? () => explorer.set({ position: index - 1 }) : null,
    },
    visible(text),
  );
}

/** The token after the text. */
function next(explorer) {
  const { exploration, position } = explorer;
  const last = exploration.time - 1;
  return element(
    "span",
    {
      class: "token next",
      role: "option",
      "aria-selected": String(position === last),
      tabindex: position === last ? "0" : "-1",
      "data-index": last + 1,
      title: "what comes next",
      onclick: () => explorer.set({ position: last }),
    },
    "next?",
  );
}

function move(event, explorer) {
  const { position, exploration } = explorer;
  const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
  if (!(event.key in steps)) return;
  event.preventDefault();
  const moved = Math.min(Math.max(position + steps[event.key], 0), exploration.time - 1);
  explorer.set({ position: moved });
}

function classOf({ exploration, explorations, colouring }, index) {
  if (colouring === "rank")
    return `level-${BUCKETS.findIndex(([rank]) => exploration.ranks[index] <= rank)}`;
  if (colouring === "change") {
    const change = exploration.logProbs[index] - explorations[0].logProbs[index];
    if (Math.abs(change) < 0.1) return "same";
    return `${change > 0 ? "better" : "worse"}-${Math.min(3, 1 + Math.floor(Math.abs(change)))}`;
  }
  const value =
    colouring === "bits"
      ? bits(exploration.logProbs[index])
      : exploration.entropies[index - 1] / Math.LN2;
  return `level-${BITS.findIndex((limit) => value <= limit)}`;
}

function legendOf(colouring) {
  if (colouring === "change") {
    return [
      element("span", { class: "token better-2" }, "more expected than by the first model"),
      element("span", { class: "token worse-2" }, "less"),
    ];
  }
  const labels =
    colouring === "rank"
      ? BUCKETS.map(([, label]) => label)
      : ["1 bit", "3.4", "6.7", "10", "more"];
  const title = { rank: "rank", bits: "surprisal", entropy: "entropy before it" }[colouring];
  return [
    element("span", {}, title),
    ...labels.map((label, index) => element("span", { class: `token level-${index}` }, label)),
  ];
}

function titleOf(exploration, index) {
  return `rank ${exploration.ranks[index]}, ${bits(exploration.logProbs[index]).toFixed(2)} bits`;
}

function summaryOf(exploration, position) {
  const entropy = (exploration.entropies[position] / Math.LN2).toFixed(1);
  const uncertain = `The model was uncertain by ${entropy} bits.`;
  const name = visible(exploration.text(exploration.target(position)));
  if (position === exploration.time - 1) {
    return `After the text, ${name} is the most likely. ${uncertain.replace("was", "is")}`;
  }
  const surprisal = bits(exploration.logProb(position)).toFixed(2);
  return `Token ${position + 1}, ${name}: rank ${exploration.rank(position)}, ${surprisal} bits. ${uncertain}`;
}
