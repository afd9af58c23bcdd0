// A page whose server computes what is typed and clicked.

import { unpack } from "./data.js";
import { element } from "./dom.js";
import { Explorer } from "./explorer.js";

/** Shows a page that asks its own server. */
export function showLive(root, data) {
  const field = element("textarea", { id: "prompt", rows: "2", "aria-label": "Text to look into" });
  const status = element("p", { class: "status", role: "status" });
  const button = element("button", { type: "submit" }, "Look");
  const panels = element("div", { class: "panels" });
  let ids = [];
  let busy = false;

  async function ask(request) {
    if (busy) return;
    busy = true;
    document.body.setAttribute("aria-busy", "true");
    status.className = "status";
    status.textContent = "Computing …";
    try {
      const response = await fetch("explore", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(request),
      });
      const answer = await response.json();
      if (!response.ok) throw new Error(answer.error);
      show(answer);
      status.textContent = `Computed in ${answer.seconds.toFixed(1)} s.`;
    } catch (error) {
      status.className = "status error";
      status.textContent = error.message;
    }
    busy = false;
    document.body.setAttribute("aria-busy", "false");
  }

  function show(answer) {
    const explorations = unpack(answer);
    ids = explorations[0].ids;
    field.value = answer.text;
    explorer.show(explorations);
  }

  const form = element(
    "form",
    {
      class: "panel prompt",
      onsubmit: (event) => {
        event.preventDefault();
        ask({ text: field.value });
      },
    },
    element("label", { for: "prompt" }, "Type a text, and look; or click a candidate to go on with it."),
    field,
    element("div", { class: "row" }, button, status),
  );
  root.replaceChildren(form, panels);
  field.value = data.text;
  const first = unpack(data);
  ids = first[0].ids;
  const explorer = new Explorer(panels, first, {
    onCandidate: (id) => ask({ ids: [...ids.slice(0, explorer.position + 1), id] }),
    onFoil: (foil) => ask({ ids, foil }),
  });
  document.body.setAttribute("aria-busy", "false");
}
