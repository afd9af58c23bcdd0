// A .tflite file of `gpt2-keras export --format litert`, run by LiteRT.js.

import { Tensor, loadAndCompile, loadLiteRt } from "@litertjs/core";
import { readMetadata, withSignatures } from "./flatbuffer.js";
import { Exploration } from "./panels/data.js";

const WASM = new URL("./node_modules/@litertjs/core/wasm/", import.meta.url).href;
// Bytes that no UTF-8 text has, and so no token but those of these bytes themselves. GPT-2's
// table of bytes (bytes_to_unicode in openai/gpt-2 src/encoder.py) gives 0xFE 186, 0xFF 187.
const MARK = [0xff, 0xfe, 0xff];
const MARK_IDS = [187, 186, 187];
const MAX_TEXT_BYTES = 65536;
let runtime;

/** A model that reads and writes text, one text at a time. */
export class TextModel {
  /**
   * Loads a model.
   * @param {Uint8Array} file contents of the .tflite
   */
  static async load(file) {
    const about = readMetadata(file);
    if (!about?.config) {
      throw new Error("not a .tflite file of gpt2-keras export --format litert");
    }
    runtime ??= loadLiteRt(WASM);
    await runtime;
    const model = new TextModel();
    model.about = about;
    model.contextLength = about.config.context_length;
    model.part = (names, room) => withSignatures(file, names, room);
    model.tokens = await model.#readTokens(about.config.vocab_size);
    model.compiled = await loadAndCompile(file, { accelerator: "wasm" });
    model.canExplore = "explore" in model.compiled.signatures;
    return model;
  }

  cached = []; // the ids that the cache inside the interpreter holds
  logits = null; // of the token after them

  /** Frees the memory of the model. */
  delete() {
    this.compiled.delete();
  }

  /**
   * Returns the token ids of a text: of a long one the last ids, with room for one
   * more; of an empty one the token that begins a text.
   * @param {string} text
   */
  async tokenize(text) {
    const bytes = new TextEncoder().encode(text);
    if (bytes.length > MAX_TEXT_BYTES) {
      throw new Error(`The text has ${bytes.length} bytes; at most ${MAX_TEXT_BYTES} are read.`);
    }
    if (bytes.length === 0) return [this.about.start_token_id];
    const answer = await this.#ask("tokenize", { text: bytes }, bytes.length);
    const ids = Array.from(answer.token_ids.subarray(0, answer.num_tokens[0]));
    return ids.slice(-(this.contextLength - 1));
  }

  /**
   * Returns the logits of the token after some: one step if it is one more than last time.
   * @param {number[]} ids at least one, and fewer than the context holds
   * @returns {Promise<Float32Array>}
   */
  async read(ids) {
    const known = this.cached.length;
    const goesOn = known > 0 && this.cached.every((id, i) => id === ids[i]);
    if (goesOn && ids.length === known) return this.logits;
    const answer =
      goesOn && ids.length === known + 1
        ? await run(this.compiled, "decode", {
            token_id: Int32Array.of(ids[known]),
            position: Int32Array.of(known),
          })
        : await run(this.compiled, "prefill", { token_ids: Int32Array.from(ids) });
    this.cached = ids.slice();
    this.logits = answer.logits;
    return this.logits;
  }

  /**
   * Returns what the model makes of a text, for the panels: candidates, attention, logit lens.
   * @param {string} name what the model is called
   * @param {number[]} ids at least one, and at most as many as the context holds
   * @returns {Promise<Exploration>}
   */
  async explore(name, ids) {
    const found = await this.#ask("explore", { token_ids: Int32Array.from(ids) }, ids.length);
    const { num_layers: layers, num_heads: heads } = this.about.config;
    const each = Array.from({ length: layers }, (_, layer) => layer);
    const time = ids.length;
    const k = found.lens_ids.length / ((2 * layers + 1) * time);
    return new Exploration({
      model: name,
      ids,
      ...this.#texts(),
      // The numbers of the file are of the token that follows each.
      logProbs: [null, ...found.log_probs.subarray(0, time - 1)],
      ranks: [0, ...found.lens_ranks.subarray(-time, -1)],
      entropies: Array.from(found.entropies),
      candidateIds: found.lens_ids.subarray(-time * k), // the last point is the prediction
      candidateProbs: found.lens_probs.subarray(-time * k),
      points: [
        "embeddings",
        ...each.flatMap((layer) => [`${layer} attention`, `${layer} feed-forward`]),
      ],
      lensIds: found.lens_ids,
      lensProbs: found.lens_probs,
      lensRanks: found.lens_ranks,
      lensKl: found.lens_kl,
      layers: each,
      heads,
      panels: null,
      readRow(layer, head, query) {
        const start = ((layer * heads + head) * time + query) * time;
        return found.attention.slice(start, start + query + 1);
      },
    });
  }

  /** Returns the texts of all tokens by id, and the bytes in hexadecimal of those that are none. */
  #texts() {
    if (this.texts) return this.texts;
    const [names, fragments] = [{}, {}];
    const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    this.tokens.forEach((bytes, id) => {
      try {
        names[id] = strict.decode(bytes);
      } catch {
        fragments[id] = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
      }
    });
    this.texts = { names, fragments };
    return this.texts;
  }

  /** Returns the bytes of each token: all of them in one call, a mark after each. */
  async #readTokens(count) {
    const ids = Int32Array.from({ length: count * 4 }, (_, i) =>
      i % 4 === 0 ? i / 4 : MARK_IDS[(i % 4) - 1],
    );
    const { text_bytes: bytes } = await this.#ask("detokenize", { token_ids: ids }, count * 32);
    const tokens = [];
    for (let start = 0; tokens.length < count;) {
      let end = start;
      while (end < bytes.length && MARK.some((byte, i) => bytes[end + i] !== byte)) end++;
      if (end === bytes.length) throw new Error("LiteRT could not read this file's tokens.");
      tokens.push(bytes.slice(start, end));
      start = end + MARK.length;
    }
    return tokens;
  }

  /**
   * Runs a signature by itself. Compiles it each time, as LiteRT.js gives an output of unknown
   * length no more room than it needed the last time.
   */
  async #ask(name, inputs, room) {
    const part = await loadAndCompile(this.part([name], room), { accelerator: "wasm" });
    try {
      return await run(part, name, inputs);
    } finally {
      part.delete();
    }
  }
}

/**
 * Runs a signature with typed arrays by name; returns typed arrays by name.
 *
 * Not by `compiled.run`: it refuses an input whose length the file leaves open
 * ("Int32[3] does not match expected ranked tensor type Int32[-1]"). What it calls then
 * resizes such an input. These names are those of @litertjs/core 2.5.3.
 */
async function run(compiled, name, inputs) {
  const signature = compiled.signatures[name];
  if (!signature) throw new Error(`The file has no signature "${name}".`);
  const tensors = signature.inputDetails.map((detail) => new Tensor(inputs[detail.name]));
  const buffers = await signature.liteRtCompiledModel.run(
    signature.signatureIndex,
    tensors.map((tensor) => tensor.liteRtTensorBuffer),
  );
  tensors.forEach((tensor) => tensor.delete());
  const answer = {};
  buffers.forEach((buffer, i) => {
    const tensor = new Tensor(buffer, signature.options.environment);
    answer[signature.outputDetails[i].name] = tensor.toTypedArray().slice();
    tensor.delete();
  });
  return answer;
}

/** The text of bytes; of those that are none, the replacement character. */
export function decode(bytes) {
  return new TextDecoder().decode(bytes);
}
