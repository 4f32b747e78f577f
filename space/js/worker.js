// The model off the main thread. Of several requests that wait, only the newest of a kind is answered.
import { DamagedFile, UnreachableFile } from "./download.js";
import { Model } from "./model.js";

const ANSWERS = 6;
const newest = { answers: 0, speakers: 0 };
let model;
let last = Promise.resolve();

function reasonOf(error) {
  if (error instanceof DamagedFile) return "damaged";
  if (error instanceof UnreachableFile) return "unreachable";
  return "failed";
}

async function open() {
  try {
    model = await Model.open((progress) => postMessage({ type: "progress", progress }));
    postMessage({ type: "ready", regions: model.regions });
  } catch (error) {
    console.error(error);
    postMessage({ type: "error", reason: reasonOf(error) });
  }
}

async function answer({ id, text }) {
  const ids = model.encode(text);
  if (ids.length > model.maxLength) return postMessage({ type: "answers", id, reason: "tooLong" });
  const start = performance.now();
  const regions = await model.answers(ids, ANSWERS);
  postMessage({ type: "answers", id, regions, ms: Math.round(performance.now() - start) });
}

async function speak({ id, words }) {
  const pieces = words.map((word) => model.encode(word, { add_special_tokens: false }));
  if (pieces.flat().length + 2 > model.maxLength) return postMessage({ type: "speakers", id, reason: "tooLong" });
  for (const number of pieces.keys()) {
    if (newest.speakers !== id) return;
    if (!pieces[number].length || pieces[number].includes(model.mask)) continue;
    const scores = await model.scoreWord(pieces, number);
    postMessage({ type: "word", id, number, scores });
  }
  postMessage({ type: "speakers", id });
}

self.onmessage = ({ data }) => {
  if (data.type === "open") return void open();
  newest[data.type] = data.id;
  last = last
    .then(() => (newest[data.type] === data.id ? (data.type === "answers" ? answer(data) : speak(data)) : null))
    .catch((error) => {
      console.error(error);
      postMessage({ type: "error", reason: "failed" });
    });
};
