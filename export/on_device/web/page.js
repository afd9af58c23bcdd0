// The page: what is clicked, and what is shown.

import { TextModel, decode } from "./model.js";
import { candidateBar } from "./panels/candidates.js";
import { Explorer } from "./panels/explorer.js";
import { choose, mostLikely } from "./sampling.js";

const CANDIDATES = 10;
const element = (id) => document.getElementById(id);
const state = {
  model: null,
  name: "", // of its file
  explorer: null, // the panels, once they are asked for
  prompt: null, // the text whose tokens these are
  ids: [], // the prompt's tokens, then what was written
  promptLength: 0,
  logits: null, // of the next token; null if the context is full
  busy: false,
  writing: false,
};

element("file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  if (file) await load(file.name, () => file.arrayBuffer());
});
element("write").addEventListener("click", () => attempt(write));
element("stop").addEventListener("click", () => (state.writing = false));
element("clear").addEventListener("click", () => attempt(startOver));
element("look").addEventListener("click", () => attempt(look));
element("prompt").addEventListener("change", () => attempt(startOver));

const named = new URLSearchParams(location.search).get("model");
if (named) {
  await load(named, async () => {
    const response = await fetch(named);
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    return response.arrayBuffer();
  });
}

/** Loads a model and shows what it thinks of the prompt. */
async function load(name, contents) {
  await attempt(async () => {
    say(`Loading ${name} …`);
    const started = performance.now();
    let file;
    let model;
    try {
      file = new Uint8Array(await contents());
      model = await TextModel.load(file);
    } catch (error) {
      throw new Error(`${name}: ${error.message}`, { cause: error });
    }
    state.model?.delete();
    Object.assign(state, { model, name });
    element("explorer").replaceChildren();
    state.explorer = null;
    await startOver();
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const { config, weights } = model.about;
    say(
      `${name}: ${(file.length / 1e6).toFixed(1)} MB, ${config.num_layers} layers of ` +
        `${config.hidden_dim}, ${config.vocab_size} tokens, context ${config.context_length}, ` +
        `${weights}; loaded in ${seconds} s.`,
    );
  });
}

/** Forgets what was written, and reads the prompt. */
async function startOver() {
  if (!state.model) return;
  state.writing = false;
  state.prompt = element("prompt").value;
  state.ids = await state.model.tokenize(state.prompt);
  state.promptLength = state.ids.length;
  await advance();
}

/** Reads the tokens so far, and shows them with what may follow. */
async function advance() {
  state.logits = hasRoom() ? await state.model.read(state.ids) : null;
  show();
}

/** Goes on with as many tokens as asked for, one after the other. */
async function write() {
  if (state.prompt !== element("prompt").value) await startOver();
  const settings = {
    temperature: number("temperature"),
    topK: number("top-k"),
    seed: number("seed"),
  };
  state.writing = true;
  enable();
  const started = performance.now();
  let written = 0;
  for (const count = number("count"); written < count && state.writing && hasRoom(); written++) {
    const id = choose(state.logits, settings, state.ids.length - state.promptLength);
    if (state.model.about.end_token_ids.includes(id)) break;
    state.ids.push(id);
    await advance();
    await painted();
  }
  const perSecond = (written / (performance.now() - started)) * 1000;
  say(
    `${written} tokens, ${perSecond.toFixed(1)} tokens/s${hasRoom() ? "" : "; the context is full"}.`,
  );
}

/** Goes on with one token that was clicked. */
async function take(id) {
  state.ids.push(id);
  await advance();
  element("next").querySelector("button")?.focus();
}

/** Shows what the model makes of the text so far. */
async function look() {
  if (state.prompt !== element("prompt").value) await startOver();
  say("Looking inside …");
  await painted();
  const started = performance.now();
  const { start_token_id: start } = state.model.about;
  const begins = state.ids[0] === start || state.ids.length === state.model.contextLength;
  const exploration = await state.model.explore(
    state.name,
    begins ? state.ids.slice() : [start, ...state.ids],
  );
  if (state.explorer) state.explorer.show([exploration]);
  else state.explorer = new Explorer(element("explorer"), [exploration], { onCandidate: goOn });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  say(`Looked inside in ${seconds} s.`);
}

/** Goes on from the chosen position of the panels with a token, and looks again. */
function goOn(id) {
  return attempt(async () => {
    const { exploration, position } = state.explorer;
    const first = exploration.ids[0] === state.model.about.start_token_id ? 1 : 0;
    state.ids = [...exploration.ids.slice(first, position + 1), id];
    state.promptLength = state.ids.length;
    state.prompt = decode(
      Uint8Array.from(state.ids.flatMap((each) => [...state.model.tokens[each]])),
    );
    element("prompt").value = state.prompt;
    await advance();
    await look();
  });
}

function hasRoom() {
  return state.ids.length < state.model.contextLength;
}

/** Shows the text so far and the most likely next tokens. */
function show() {
  const { tokens } = state.model;
  const candidates = state.logits ? mostLikely(state.logits, CANDIDATES) : [];
  const bytes = state.ids.slice(state.promptLength).flatMap((id) => [...tokens[id]]);
  const written = document.createElement("span");
  written.className = "new";
  written.textContent = decode(Uint8Array.from(bytes));
  element("written").replaceChildren(state.prompt, written);
  const shown = candidates.map(({ id, probability }, index) =>
    candidateBar({ id, probability, text: decode(tokens[id]) }, index + 1, false, () =>
      attempt(() => take(id)),
    ),
  );
  element("next").replaceChildren(...shown);
}

/** Does one thing at a time, and shows what goes wrong. */
async function attempt(action) {
  if (state.busy) return;
  state.busy = true;
  enable();
  try {
    await action();
  } catch (error) {
    say(error.message ?? String(error), "error");
  }
  state.busy = state.writing = false;
  enable();
}

function enable() {
  const ready = state.model !== null && !state.busy;
  element("write").disabled = element("clear").disabled = !ready;
  element("look").disabled = !ready || !state.model.canExplore;
  element("stop").disabled = !state.writing;
  document.body.setAttribute("aria-busy", String(state.busy));
}

function say(message, kind = "") {
  element("status").textContent = message;
  element("status").className = kind;
}

function number(id) {
  return Number(element(id).value);
}

/** Waits until the browser has drawn what was shown. */
function painted() {
  return new Promise((resolve) => setTimeout(resolve));
}
