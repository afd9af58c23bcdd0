// Elements, and how numbers and tokens are written.

/**
 * Makes an element.
 * @param {string} tag
 * @param {Object} attributes `on…` are listeners, `style` custom properties; null leaves one out
 * @param {...(Node|string)} children
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") {
      for (const [property, each] of Object.entries(value)) node.style.setProperty(property, each);
    } else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** Makes an element of an SVG picture. */
export function drawing(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Makes a panel: a card with a heading, a hint, and what is shown in it. */
export function panel(id, title, hint, ...children) {
  return element(
    "section",
    { id, class: "panel", "aria-labelledby": `${id}-title` },
    element("h2", { id: `${id}-title` }, title),
    element("p", { class: "hint" }, hint),
    ...children,
  );
}

/** Makes a group of buttons of which one is pressed. */
export function choice(label, options, chosen, onChoose) {
  const buttons = options.map(([value, text]) =>
    element(
      "button",
      {
        type: "button",
        "aria-pressed": String(value === chosen),
        "data-value": String(value),
        onclick: () => onChoose(value),
      },
      text,
    ),
  );
  return element("div", { class: "choice", role: "group", "aria-label": label }, ...buttons);
}

const CONTROLS = { " ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍" };

/** A token's text with spaces, line ends and control characters made visible. */
export function visible(text) {
  return text.replace(
    /[\u0000-\u0020\u007f-\u00a0\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (each) => {
      return CONTROLS[each] ?? `⟨${each.codePointAt(0).toString(16).padStart(4, "0")}⟩`;
    },
  );
}

/** `12.3 %`, with more decimals where that is 0. */
export function percent(probability) {
  const value = 100 * probability;
  return `${value >= 0.05 ? value.toFixed(1) : value.toPrecision(1)} %`;
}

/** A surprisal in bits of a log-probability in nats. */
export function bits(logProb) {
  return -logProb / Math.LN2;
}

/** A number with a sign, and with a decimal more if it is small. */
export function signed(value, digits = Math.abs(value) < 0.095 ? 3 : 2) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
}

/** The value of a custom property of the style, such as a colour, as three numbers. */
export function colour(name) {
  const probe = element("span", { style: { color: `var(${name})` }, hidden: true });
  document.body.append(probe);
  const numbers = getComputedStyle(probe)
    .color.match(/[\d.]+/g)
    .map(Number);
  probe.remove();
  return numbers.slice(0, 3);
}
