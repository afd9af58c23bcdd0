// The most likely tokens of the chosen prediction.

import { element, panel, percent, visible } from "./dom.js";

export function candidatesPanel(explorer) {
  const list = element("ol", { class: "bars" });
  const hint = explorer.onCandidate
    ? "A click goes on with a token, from here."
    : "With the token that really follows marked.";
  const node = panel("candidates", "What it expected", hint, list);
  return { node, update: () => list.replaceChildren(...items(explorer)) };
}

function items(explorer) {
  const { exploration, position } = explorer;
  const candidates = exploration.candidates(position);
  const isKnown = position + 1 < exploration.time;
  const target = exploration.target(position);
  const shown = candidates.map((each, index) => candidateBar(each, index + 1, isKnown && each.id === target));
  if (isKnown && !candidates.some(({ id }) => id === target)) {
    const probability = Math.exp(exploration.logProb(position));
    shown.push(candidateBar({ id: target, text: exploration.text(target), probability }, exploration.rank(position), true));
  }
  if (explorer.onCandidate) {
    candidates.forEach(({ id }, index) => {
      const button = element("button", { type: "button", class: "bar-button", onclick: () => explorer.onCandidate(id) });
      button.append(...shown[index].childNodes);
      shown[index].append(button);
    });
  }
  return shown;
}

/** A token with its probability as a bar. */
export function candidateBar({ id, text, probability }, rank, isTarget = false) {
  return element(
    "li",
    { class: isTarget ? "bar target" : "bar", "data-id": id, "data-probability": probability,
      style: { "--size": `${100 * probability}%` } },
    element("span", { class: "rank" }, String(rank)),
    element("code", {}, visible(text)),
    element("span", { class: "number" }, percent(probability)),
  );
}
