// Which tokens the chosen prediction comes from.

import { choice, element, panel, signed, visible } from "./dom.js";

const SHOWN = 8;
const METHODS = {
  input_x_gradient: "embedding × gradient",
  gradient_norm: "norm of the gradient",
  integrated_gradients: "integrated gradients",
  occlusion: "occlusion",
};

export function attributionPanel(explorer) {
  const content = element("div");
  const node = panel(
    "attribution",
    "Where that comes from",
    "What each token before it adds to the prediction: by itself, or in favour of it rather than of another token.",
    content,
  );
  return { node, update: () => content.replaceChildren(...contents(explorer)) };
}

function contents(explorer) {
  const { exploration, position, contrast } = explorer;
  const values = exploration.attribution(position, contrast);
  if (!values) {
    const positions = exploration.panels?.positions ?? [];
    if (explorer.onFoil) return [element("p", { class: "empty" }, "Computing …")];
    const where = positions.length ? `, but for the last ${positions.length} tokens` : "";
    return [element("p", { class: "empty" }, `Not computed for this token${where}.`)];
  }
  const target = visible(exploration.text(exploration.target(position)));
  const foil = visible(exploration.text(exploration.panels.foils[position]));
  const parts = [
    element(
      "div",
      { class: "row" },
      choice(
        "What is explained",
        [
          [false, `why ${target}`],
          [true, `why ${target} and not ${foil}`],
        ],
        contrast,
        (value) => explorer.set({ contrast: value }),
      ),
    ),
  ];
  if (explorer.onFoil) parts.push(foilForm(explorer));
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9);
  const strip = Array.from(values, (value, index) =>
    element(
      "span",
      {
        class: `token ${value < 0 ? "against" : "for"}`,
        title: signed(value, 3),
        style: { "--strength": `${(100 * Math.abs(value)) / largest}%` },
      },
      visible(exploration.text(exploration.ids[index])),
    ),
  );
  parts.push(
    element("div", { class: "tokens strip" }, ...strip),
    bars(exploration, values, largest),
  );
  const unit = contrast ? "the difference of two logits" : "the log-probability, in nats";
  parts.push(
    element("p", { class: "note" }, `${METHODS[exploration.panels.method]}; adds to ${unit}.`),
  );
  return parts;
}

function bars(exploration, values, largest) {
  const order = Array.from(values.keys()).sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]));
  const rows = order
    .slice(0, SHOWN)
    .map((index) =>
      element(
        "li",
        {
          class: values[index] < 0 ? "bar against" : "bar for",
          "data-index": index,
          "data-value": values[index],
          style: { "--size": `${(100 * Math.abs(values[index])) / largest}%` },
        },
        element("span", { class: "rank" }, String(index)),
        element("code", {}, visible(exploration.text(exploration.ids[index]))),
        element("span", { class: "number" }, signed(values[index])),
      ),
    );
  return element("ol", { class: "bars" }, ...rows);
}

/** Asks for another token to compare with. */
function foilForm(explorer) {
  const field = element("input", {
    type: "text",
    "aria-label": "Another token to compare with",
    placeholder: "another token",
  });
  return element(
    "form",
    {
      class: "row",
      onsubmit: (event) => {
        event.preventDefault();
        if (field.value) explorer.onFoil(field.value);
      },
    },
    field,
    element("button", { type: "submit" }, "Compare"),
  );
}
