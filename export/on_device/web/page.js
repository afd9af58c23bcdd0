// The page: what is clicked, and what is shown.

import { TextModel, decode } from "./model.js";
import { choose, mostLikely } from "./sampling.js";

const CANDIDATES = 10;
const element = (id) => document.getElementById(id);
const state = {
  model: null,
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
    state.model = model;
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
  say(`${written} tokens, ${perSecond.toFixed(1)} tokens/s${hasRoom() ? "" : "; the context is full"}.`);
}

/** Goes on with one token that was clicked. */
async function take(id) {
  state.ids.push(id);
  await advance();
  element("candidates").querySelector("button")?.focus();
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
  element("text").replaceChildren(state.prompt, written);
  element("candidates").replaceChildren(...candidates.map(candidate));
}

/** A token to click, with its probability. */
function candidate({ id, probability }) {
  const button = document.createElement("button");
  button.dataset.id = id;
  button.dataset.probability = probability;
  button.style.setProperty("--probability", `${100 * probability}%`);
  const text = document.createElement("code");
  text.textContent = visible(decode(state.model.tokens[id]));
  const percent = document.createElement("span");
  percent.textContent = `${(100 * probability).toFixed(1)} %`;
  button.append(text, percent);
  button.addEventListener("click", () => attempt(() => take(id)));
  const item = document.createElement("li");
  item.append(button);
  return item;
}

/** A token's text with visible spaces and line ends. */
function visible(text) {
  return text.replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥");
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
