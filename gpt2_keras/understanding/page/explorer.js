// All panels of a page, about one prediction of one text.

import { ablationPanel } from "./ablation.js";
import { attentionPanel } from "./attention.js";
import { attributionPanel } from "./attribution.js";
import { candidatesPanel } from "./candidates.js";
import { comparePanel } from "./compare.js";
import { element } from "./dom.js";
import { lensPanel } from "./lens.js";
import { textPanel } from "./text.js";

/**
 * Shows explorations in an element.
 *
 * @param {HTMLElement} root
 * @param {Exploration[]} explorations the same text by several models, or one
 * @param {Object} options `onCandidate(id)`, `onFoil(text)` and `onPosition(position)`: what a click
 *   on a candidate, another foil and another position do, where something can compute it
 */
export class Explorer {
  colouring = "rank";
  contrast = false;
  withoutFirst = false;
  ablatedHead = [0, 0];
  layer = 0;
  head = 0;
  index = 0;
  version = 0;

  constructor(root, explorations, { onCandidate = null, onFoil = null, onPosition = null } = {}) {
    Object.assign(this, { root, onCandidate, onFoil, onPosition });
    this.show(explorations);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.update());
  }

  get exploration() {
    return this.explorations[this.index];
  }

  /** Shows other explorations, of the same model or of others. */
  show(explorations) {
    this.explorations = explorations;
    this.index = Math.min(this.index, explorations.length - 1);
    this.position = this.exploration.time - 1;
    this.layer = Math.min(this.layer, this.exploration.layers.length - 1);
    this.head = Math.min(this.head, this.exploration.heads - 1);
    this.version++;
    const isExplained = Boolean(this.onFoil) || explorations.some(({ panels }) => panels);
    const makers = [
      textPanel,
      ...(explorations.length > 1 ? [comparePanel] : []),
      candidatesPanel,
      ...(isExplained ? [attributionPanel] : []),
      lensPanel,
      attentionPanel,
      ...(isExplained ? [ablationPanel] : []),
    ];
    this.panels = makers.map((make) => make(this));
    const shown = this.panels.map(({ node }) => node);
    this.root.replaceChildren(this.#heading(), ...shown);
    this.update();
  }

  /** Changes what is chosen, and shows it. */
  set(changes) {
    const before = this.position;
    Object.assign(this, changes);
    this.update();
    if (this.position !== before) this.onPosition?.(this.position);
  }

  update() {
    document.body.dataset.position = this.position;
    const focused = selectorOf(document.activeElement);
    for (const { update } of this.panels) update();
    // Panels make their controls again, and a keyboard must not lose its place.
    if (focused && document.activeElement === document.body)
      this.root.querySelector(focused)?.focus();
  }

  /** Whether the page is light or dark. */
  scheme() {
    return (
      getComputedStyle(document.documentElement).colorScheme +
      matchMedia("(prefers-color-scheme: dark)").matches
    );
  }

  #heading() {
    const toggle = element(
      "button",
      { type: "button", id: "scheme", onclick: () => this.#switchScheme() },
      "light / dark",
    );
    return element(
      "header",
      {},
      element(
        "div",
        {},
        element("h1", {}, "Inside GPT-2"),
        element("p", { class: "model" }, this.explorations.map(({ model }) => model).join(" · ")),
      ),
      toggle,
    );
  }

  #switchScheme() {
    const isDark = document.documentElement.style.colorScheme
      ? document.documentElement.style.colorScheme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.style.colorScheme = isDark ? "light" : "dark";
    this.update();
  }
}

const NAMES = [
  "id",
  "aria-label",
  "data-value",
  "data-head",
  "data-point",
  "data-position",
  "data-id",
];

/** What finds a control of a panel again, or null. */
function selectorOf(node) {
  const section = node?.closest("section[id]");
  if (!section) return null;
  const named = NAMES.filter((name) => node.hasAttribute(name));
  const attributes = named.map((name) => `[${name}="${CSS.escape(node.getAttribute(name))}"]`);
  return named.length ? `#${section.id} ${node.localName}${attributes.join("")}` : null;
}
