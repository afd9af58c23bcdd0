// What a page shows, read from its JSON; see packing.py.

/** Returns the explorations of a page's data. */
export function unpack(data) {
  return data.explorations.map((each) => {
    const { attention, ...fields } = each;
    const { candidateIds, candidateProbs, lensIds, lensProbs, lensRanks, lensKl } = fields;
    const decoded = attention.map(() => null); // when they are asked for
    const time = each.ids.length;
    const triangle = (time * (time + 1)) / 2;
    return new Exploration({
      ...fields,
      names: data.texts,
      fragments: data.bytes,
      candidateIds: unpackIds(candidateIds),
      candidateProbs: unpackArray(candidateProbs, Float32Array),
      lensIds: unpackIds(lensIds),
      lensProbs: unpackProbabilities(lensProbs),
      lensRanks: unpackArray(lensRanks, Uint32Array),
      lensKl: unpackArray(lensKl, Float32Array),
      panels: each.panels && unpackPanels(each.panels),
      readRow(layer, head, query) {
        decoded[layer] ??= {
          rows: unpackArray(attention[layer].rows, Uint8Array),
          scales: unpackArray(attention[layer].scales, Uint16Array),
        };
        const { rows, scales } = decoded[layer];
        const start = head * triangle + (query * (query + 1)) / 2;
        const scale = scales[head * time + query] / 65535 / 255;
        const weights = new Float32Array(query + 1);
        for (let key = 0; key <= query; key++) weights[key] = rows[start + key] * scale;
        return weights;
      },
    });
  });
}

function unpackPanels(panels) {
  return {
    ...panels,
    attributions: unpackArray(panels.attributions, Float32Array),
    contrasts: unpackArray(panels.contrasts, Float32Array),
    ablatedLogProbs: unpackArray(panels.ablatedLogProbs, Float32Array),
    ablatedIds: unpackIds(panels.ablatedIds),
    ablatedProbs: unpackProbabilities(panels.ablatedProbs),
  };
}

function unpackIds({ bytes, data }) {
  return unpackArray(data, bytes === 2 ? Uint16Array : Uint32Array);
}

function unpackProbabilities(text) {
  return Float32Array.from(unpackArray(text, Uint16Array), (value) => value / 65535);
}

/** Returns base64 as a typed array. */
function unpackArray(text, Type) {
  if (Uint8Array.fromBase64) return new Type(Uint8Array.fromBase64(text).buffer);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return new Type(bytes.buffer);
}

/** A text as one model sees it. A position is that of the token after which a prediction is made. */
export class Exploration {
  constructor(fields) {
    Object.assign(this, fields);
    this.time = this.ids.length;
    this.k = this.candidateIds.length / this.time;
  }

  /** The text of a token; of bytes that are no text, these in hexadecimal. */
  text(id) {
    return this.fragments[id] === undefined
      ? (this.names[id] ?? `[${id}]`)
      : `⟨${this.fragments[id]}⟩`;
  }

  /** The token that is predicted at a position; after the last one the most likely. */
  target(position) {
    return position + 1 < this.time ? this.ids[position + 1] : this.candidateIds[position * this.k];
  }

  candidates(position) {
    return this.#candidates(this.candidateIds, this.candidateProbs, position, this.k);
  }

  /** What is predicted at a point of the lens. */
  lens(point, position) {
    const index = point * this.time + position;
    return {
      candidates: this.#candidates(
        this.lensIds,
        this.lensProbs,
        index,
        this.lensIds.length / this.lensRanks.length,
      ),
      rank: this.lensRanks[index],
      kl: this.lensKl[index],
    };
  }

  /** The weights that a position gives to itself and to those before it. */
  attention(layer, head, position, withoutFirst) {
    const row = this.readRow(layer, head, position);
    if (!withoutFirst || position === 0) return row;
    row[0] = 0;
    const total = row.reduce((sum, weight) => sum + weight, 0);
    return total > 0 ? row.map((weight) => weight / total) : row;
  }

  /** What each token adds to a prediction, or null if that was not computed. */
  attribution(position, contrast) {
    const index = this.panels?.positions.indexOf(position) ?? -1;
    if (index < 0) return null;
    const values = contrast ? this.panels.contrasts : this.panels.attributions;
    return values.subarray(index * this.time, index * this.time + position + 1);
  }

  /** What is predicted without a head, or null. */
  ablated(layer, head, position) {
    if (!this.panels?.ablatedShape) return null;
    const [, heads, time, k] = this.panels.ablatedShape;
    const index = (layer * heads + head) * time + position;
    return {
      logProb: this.panels.ablatedLogProbs[index],
      candidates: this.#candidates(this.panels.ablatedIds, this.panels.ablatedProbs, index, k),
    };
  }

  /** The log-probability of the target of a position. */
  logProb(position) {
    return position + 1 < this.time
      ? this.logProbs[position + 1]
      : Math.log(this.candidateProbs[position * this.k]);
  }

  rank(position) {
    return position + 1 < this.time ? this.ranks[position + 1] : 1;
  }

  #candidates(ids, probs, index, k) {
    return Array.from({ length: k }, (_, i) => {
      const id = ids[index * k + i];
      return { id, text: this.text(id), probability: probs[index * k + i] };
    });
  }
}
