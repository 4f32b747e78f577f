// The model: ids in, probabilities out. Shapes: B rows, L positions, Q masks, V vocabulary.
import * as ort from "../vendor/ort.wasm.min.mjs";
import { Tokenizer } from "../vendor/tokenizers.min.mjs";
import { getJson, getLarge } from "./download.js";

const ROOT = new URL("..", import.meta.url);
const GRAPH = "model/onnx/masked_quantized.onnx";
const WASM = "vendor/ort-wasm-simd-threaded.wasm";
const FIRST_WORD = 5; // after [PAD], [UNK], [START], [END] and [MASK]
const REGIONAL = 2; // so many times likelier than elsewhere, a word is the region's own
const WORTH_SAYING = 0.003; // a probability below which even that says nothing
const WORD = /^[\p{L}\p{Emoji_Presentation}]/u;
const url = (name) => new URL(name, ROOT).href;
const int64 = (values, dims) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), dims);

/** In place: the natural logarithms of the softmax. */
function logSoftmax(logits) {
  let max = -Infinity;
  for (const value of logits) if (value > max) max = value;
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - max);
  const shift = max + Math.log(sum);
  for (let i = 0; i < logits.length; i++) logits[i] -= shift;
  return logits;
}

/** Like Promise.all, but nothing is on its way any more when it fails: a file that came whole is kept for the next try. */
async function allWhole(promises) {
  const results = await Promise.allSettled(promises);
  const failed = results.find(({ status }) => status === "rejected");
  if (failed) throw failed.reason;
  return results.map(({ value }) => value);
}

export class Model {
  /** Download and open; `onProgress({loaded, total})` in bytes, while something is downloaded. */
  static async open(onProgress) {
    const files = await getJson(url("files.json"));
    const loaded = { [GRAPH]: 0, [WASM]: 0 };
    const total = files[GRAPH].bytes + files[WASM].bytes;
    const get = (name) =>
      getLarge(url(name), files[name], (bytes) => {
        loaded[name] = bytes;
        onProgress({ loaded: loaded[GRAPH] + loaded[WASM], total });
      });
    const [graph, wasm, config, rules, settings] = await allWhole([
      get(GRAPH),
      get(WASM),
      ...["config.json", "tokenizer.json", "tokenizer_config.json"].map((name) => getJson(url(`model/${name}`))),
    ]);
    onProgress(null);
    ort.env.wasm.wasmBinary = wasm;
    ort.env.wasm.wasmPaths = { mjs: url("vendor/ort-wasm-simd-threaded.mjs") };
    ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
    const session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"] });
    return new Model(session, config, new Tokenizer(rules, settings), rules.model.vocab);
  }

  constructor(session, config, tokenizer, vocabulary) {
    this.session = session;
    this.tokenizer = tokenizer;
    this.regions = config.regions;
    this.maxLength = config.max_position_embeddings;
    this.mask = config.mask_token_id;
    this.size = config.first_region_token_id;
    this.tokens = []; // by id
    for (const [token, id] of Object.entries(vocabulary)) this.tokens[id] = token;
    this.words = [...this.tokens.keys()].filter((id) => id >= FIRST_WORD && id < this.size && WORD.test(this.tokens[id]));
  }

  /** Ids of a text; the token of a region in it would be none of the vocabulary that the graph knows. */
  encode(text, options = {}) {
    return this.tokenizer.encode(text, options).ids.filter((id) => id < this.size);
  }

  /** Logarithms of the probabilities at `positions` in every region: [region][position], each of V. */
  async predict(ids, positions) {
    const count = this.regions.length;
    const rows = (values) => Array.from({ length: count }, () => values).flat();
    const { logits } = await this.session.run({
      input_ids: int64(rows(ids), [count, ids.length]),
      attention_mask: int64(Array(count * ids.length).fill(1), [count, ids.length]),
      mask_positions: int64(rows(positions), [count, positions.length]),
      region: int64(this.regions.keys(), [count]),
    });
    const at = (row) => logSoftmax(logits.data.subarray(row * this.size, (row + 1) * this.size));
    return this.regions.map((_, region) => positions.map((_, number) => at(region * positions.length + number)));
  }

  /**
   * For each region the likeliest words at the first mask, and the one that sets it apart, or null: {word, p, lift,
   * regional}.
   *
   * Signs, pieces of words and placeholders are left out, but p is of the whole vocabulary. `lift` is how many times
   * likelier the word is here than in the mean of the other regions. What sets a region apart is the regional word with
   * the greatest p log(lift), its share of the divergence from that mean.
   */
  async answers(ids, count) {
    const rows = (await this.predict(ids, [ids.indexOf(this.mask)])).map(([row]) => row.map(Math.exp));
    const sums = rows[0].map((_, id) => rows.reduce((sum, row) => sum + row[id], 0));
    return this.regions.map((region, number) => {
      const own = rows[number];
      const lift = (id) => own[id] / ((sums[id] - own[id]) / (rows.length - 1));
      const regional = (id) => own[id] >= WORTH_SAYING && lift(id) >= REGIONAL;
      const answer = (id) => ({ word: this.tokens[id], p: own[id], lift: lift(id), regional: regional(id) });
      const best = [];
      let apart = null;
      let divergence = 0;
      for (const id of this.words) {
        const share = regional(id) ? own[id] * Math.log(lift(id)) : 0;
        if (share > divergence) [apart, divergence] = [id, share];
        if (best.length === count && own[id] <= own[best[count - 1]]) continue;
        let place = best.length;
        while (place > 0 && own[best[place - 1]] < own[id]) place--;
        best.splice(place, 0, id);
        if (best.length > count) best.pop();
      }
      return { region, answers: best.map(answer), apart: apart === null ? null : answer(apart) };
    });
  }

  /** The logarithm of the probability of one word of a text, all its pieces hidden at once, in each region. */
  async scoreWord(pieces, number) {
    const start = 1 + pieces.slice(0, number).flat().length;
    const hidden = pieces[number];
    const whole = this.encode("");
    const ids = [whole[0], ...pieces.flat(), whole.at(-1)].map((id, place) =>
      place >= start && place < start + hidden.length ? this.mask : id,
    );
    const logs = await this.predict(ids, hidden.map((_, place) => start + place));
    return logs.map((rows) => rows.reduce((sum, row, place) => sum + row[hidden[place]], 0));
  }
}
