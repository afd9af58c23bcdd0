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
  const shown = candidates.map((each, index) =>
    candidateBar(each, index + 1, isKnown && each.id === target, explorer.onCandidate),
  );
  if (isKnown && !candidates.some(({ id }) => id === target)) {
    const probability = Math.exp(exploration.logProb(position));
    shown.push(
      candidateBar(
        { id: target, text: exploration.text(target), probability },
        exploration.rank(position),
        true,
      ),
    );
  }
  return shown;
}

/** A token with its probability as a bar; one to click, if `onClick(id)` does something. */
export function candidateBar({ id, text, probability }, rank, isTarget = false, onClick = null) {
  const parts = [
    element("span", { class: "rank" }, String(rank)),
    element("code", {}, visible(text)),
    element("span", { class: "number" }, percent(probability)),
  ];
  const data = { "data-id": id, "data-probability": probability };
  return element(
    "li",
    {
      class: isTarget ? "bar target" : "bar",
      ...data,
      style: { "--size": `${100 * probability}%` },
    },
    ...(onClick
      ? [
          element(
            "button",
            { type: "button", class: "bar-button", ...data, onclick: () => onClick(id) },
            ...parts,
          ),
        ]
      : parts),
  );
}
