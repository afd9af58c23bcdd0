// A page whose server computes what is typed and clicked.

import { unpack } from "./data.js";
import { element } from "./dom.js";
import { Explorer } from "./explorer.js";

/** Shows a page that asks its own server. */
export function showLive(root, data) {
  const field = element("textarea", { id: "prompt", rows: "2" });
  const status = element("p", { class: "status", role: "status" });
  const panels = element("div", { class: "panels" });
  let latest = 0; // the number of the last question; answers to earlier ones are dropped

  /** Asks for something and shows what goes wrong; returns null then, or if a later question came. */
  async function ask(path, request, doing) {
    const number = ++latest;
    say(doing);
    document.body.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(request),
      });
      const answer = await response.json();
      if (number !== latest) return null;
      if (!response.ok) throw new Error(answer.error);
      say(`Computed in ${answer.seconds.toFixed(1)} s.`);
      document.body.setAttribute("aria-busy", "false");
      return answer;
    } catch (error) {
      if (number !== latest) return null;
      say(error.message, "error");
      document.body.setAttribute("aria-busy", "false");
      return null;
    }
  }

  function say(message, kind = "") {
    status.className = `status ${kind}`;
    status.textContent = message;
  }

  async function look(request) {
    const answer = await ask("explore", request, "Looking …");
    if (!answer) return;
    field.value = answer.text;
    explorer.show(unpack(answer));
    await explain();
  }

  /** Asks what the chosen prediction comes from, and what each head does for it. */
  async function explain(foil) {
    const { exploration, position } = explorer;
    const request = { ids: exploration.ids, position, foil };
    const answer = await ask("panels", request, "Asking every head …");
    if (!answer) return;
    explorer.explorations[0] = unpack(answer)[0];
    if (foil) explorer.contrast = true;
    explorer.update();
  }

  const form = element(
    "form",
    {
      class: "panel prompt",
      onsubmit: (event) => {
        event.preventDefault();
        look({ text: field.value });
      },
    },
    element(
      "label",
      { for: "prompt" },
      "Type a text, and look; or click a candidate to go on with it.",
    ),
    field,
    element("div", { class: "row" }, element("button", { type: "submit" }, "Look"), status),
  );
  root.replaceChildren(form, panels);
  field.value = data.text;
  const explorer = new Explorer(panels, unpack(data), {
    onCandidate: (id) =>
      look({ ids: [...explorer.exploration.ids.slice(0, explorer.position + 1), id] }),
    onFoil: explain,
    onPosition: () => explain(),
  });
  explain();
}
