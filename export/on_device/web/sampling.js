// Sampling of the next token, with the random numbers of `model.generate` in Python.

/** Returns `count` tokens, the most likely first: `[{id, probability}]`. */
export function mostLikely(logits, count) {
  const probabilities = softmax(logits);
  const lowest = highest(probabilities, count);
  const ids = [];
  probabilities.forEach((probability, id) => probability >= lowest && ids.push(id));
  ids.sort((a, b) => probabilities[b] - probabilities[a] || a - b);
  return ids.slice(0, count).map((id) => ({ id, probability: probabilities[id] }));
}

/**
 * Chooses a token.
 * @param {Float32Array} logits
 * @param {{temperature: number, topK: number, seed: number}} settings
 *   A temperature of 0 takes the most likely; a `topK` of 0 keeps all.
 * @param {number} step how many tokens were chosen before
 */
export function choose(logits, { temperature, topK, seed }, step) {
  if (!(temperature > 0)) {
    return logits.reduce((best, logit, id) => (logit > logits[best] ? id : best), 0);
  }
  let scaled = logits.map((logit) => logit / temperature);
  if (topK > 0 && topK < scaled.length) {
    const lowest = highest(scaled, topK);
    scaled = scaled.map((logit) => (logit < lowest ? -Infinity : logit));
  }
  const probabilities = softmax(scaled);
  const total = probabilities.reduce((sum, probability) => sum + probability, 0);
  let left = uniform(seed, step) * total;
  let last = 0;
  for (const [id, probability] of probabilities.entries()) {
    if (probability === 0) continue;
    if (left < probability) return id;
    left -= probability;
    last = id;
  }
  return last; // rounding
}

/** The number in [0, 1) of gpt2_keras/generation/stateless_random.py for a seed and a step. */
export function uniform(seed, step) {
  const golden = 0x9e3779b9; // 2³² divided by the golden ratio
  return (mix(mix(seed) ^ Math.imul(step, golden)) >>> 8) * 2 ** -24;
}

/** lowbias32 of Chris Wellons, "Prospecting for Hash Functions" (2018). */
function mix(x) {
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return x ^ (x >>> 16);
}

/** The value of rank `rank`, the greatest first; the least possible if there are fewer. */
function highest(values, rank) {
  const best = new Float64Array(rank).fill(-Infinity); // the least of them first
  values.forEach((value) => {
    if (value <= best[0]) return;
    let index = 0;
    for (; index + 1 < rank && best[index + 1] < value; index++) best[index] = best[index + 1];
    best[index] = value;
  });
  return best[0];
}

function softmax(logits) {
  const greatest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = new Float64Array(logits).map((logit) => Math.exp(logit - greatest));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / total);
}
