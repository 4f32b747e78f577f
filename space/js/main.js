// State, events, and the address that carries a sentence: #t=TEXT, &v=speakers, &l=en.
import { showAnswers } from "./answers.js";
import { GALLERY } from "./gallery.js";
import { MASK, countMasks, partsOf, replacePart } from "./sentence.js";
import { Speakers } from "./speakers.js";
import { STRINGS } from "./strings.js";

const TYPING_PAUSE = 150; // milliseconds without a key before the model is asked
const VIEWS = ["answers", "speakers"];
const $ = (id) => document.getElementById(id);
const state = { text: GALLERY[0].text, language: "es", view: "answers", ready: false, regions: null, request: 0, status: null };
let speakers, worker, timer;
const originals = new Map(); // what stood at a hidden word, by its place among the parts
const t = () => STRINGS[state.language];

function readAddress() {
  const address = new URLSearchParams(location.hash.slice(1));
  state.text = address.get("t") ?? GALLERY[0].text;
  state.language = address.get("l") === "en" ? "en" : "es";
  state.view = VIEWS.includes(address.get("v")) ? address.get("v") : "answers";
}

function writeAddress() {
  const address = new URLSearchParams({ t: state.text });
  if (state.view !== "answers") address.set("v", state.view);
  if (state.language !== "es") address.set("l", state.language);
  history.replaceState(null, "", `#${address}`);
}

function say(key, ...values) {
  state.status = key && [key, ...values];
  const message = key ? t()[key] : "";
  $("status").textContent = typeof message === "function" ? message(...values) : message;
}

function fail(reason) {
  $("loading").hidden = true;
  $("problem").hidden = false;
  $("problem-text").dataset.t = reason;
  $("problem-text").textContent = t()[reason];
  $("retry").hidden = reason === "noWasm";
}

function drawWords() {
  $("words").replaceChildren(
    ...partsOf(state.text).map((part, number) => {
      const masked = part.text === MASK;
      if (part.sign) return Object.assign(document.createElement("span"), { className: "chip-sign", textContent: part.text });
      const chip = Object.assign(document.createElement("button"), { type: "button", className: "chip" });
      chip.textContent = masked ? (originals.get(number) ?? "?") : part.text;
      chip.setAttribute("aria-pressed", masked);
      chip.classList.toggle("known", masked && originals.has(number));
      if (masked) chip.setAttribute("aria-label", `${originals.get(number) ?? MASK} (${t().hidden})`);
      chip.addEventListener("click", () => toggle(number));
      return chip;
    }),
  );
}

/** Hide a word, and show the one that was hidden; or show it again. */
function toggle(number) {
  const parts = partsOf(state.text);
  const hides = parts[number].text !== MASK;
  if (!hides && !originals.has(number)) return $("sentence").select(); // nobody knows what stood there
  let text = state.text;
  for (const place of [...parts.keys()].reverse()) {
    if (place === number && hides) text = replacePart(text, parts[place], MASK);
    else if (parts[place].text === MASK && originals.has(place)) text = replacePart(text, parts[place], originals.get(place));
  }
  originals.clear();
  if (hides) originals.set(number, parts[number].text);
  setText(text, { keepOriginals: true });
  $("words").querySelectorAll(".chip, .chip-sign")[number]?.focus();
}

function setText(text, { keepOriginals = false, typed = false } = {}) {
  if (!keepOriginals) originals.clear();
  state.text = text;
  if (!typed) $("sentence").value = text;
  writeAddress();
  drawWords();
  clearTimeout(timer);
  timer = setTimeout(ask, typed ? TYPING_PAUSE : 0);
}

function ask() {
  if (!state.ready) return;
  const id = ++state.request;
  if (state.view === "answers") {
    if (countMasks(state.text)) return worker.postMessage({ type: "answers", id, text: state.text });
    $("grid").replaceChildren();
    return say("noMask");
  }
  const words = partsOf(state.text);
  speakers.start(words);
  if (!words.some(({ sign, text }) => !sign && text !== MASK)) return say("noWords");
  say("thinking");
  worker.postMessage({ type: "speakers", id, words: words.map(({ text }) => text) });
}

function onMessage({ data }) {
  if (data.type === "progress") return showProgress(data.progress);
  if (data.type === "error") return fail(data.reason);
  if (data.type === "ready") {
    state.ready = true;
    $("loading").hidden = true;
    speakers ??= new Speakers({ map: $("map"), list: $("speaker-list"), words: $("said"), caption: $("caption") }, data.regions);
    speakers.setLanguage(t(), state.language);
    say("ready");
    return ask();
  }
  if (data.id !== state.request) return; // an older sentence
  if (data.reason) return say(data.reason);
  if (data.type === "word") return speakers.addWord(data.number, data.scores);
  if (data.type === "speakers") return say(null);
  state.regions = data.regions;
  showAnswers($("grid"), data.regions, t(), state.language);
  document.body.dataset.answered = state.text;
  if (countMasks(state.text) > 1) say("manyMasks");
  else say("answered", data.ms);
}

function showProgress(progress) {
  $("loading").hidden = false;
  $("progress").hidden = !progress;
  $("loading-text").textContent = progress ? t().loading : t().opening;
  if (!progress) return void ($("megabytes").textContent = "");
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1).replace(".", state.language === "es" ? "," : ".");
  $("progress").max = progress.total;
  $("progress").value = progress.loaded;
  $("megabytes").textContent = `${megabytes(progress.loaded)} / ${megabytes(progress.total)} MB`;
}

function setLanguage(language) {
  state.language = language;
  document.documentElement.lang = language;
  document.title = t().title;
  for (const place of document.querySelectorAll("[data-t]")) place.textContent = t()[place.dataset.t];
  for (const place of document.querySelectorAll("[data-t-label]")) place.setAttribute("aria-label", t()[place.dataset.tLabel]);
  $("language").lang = language === "es" ? "en" : "es";
  $("gallery-list").replaceChildren(
    ...GALLERY.map((entry) => {
      const item = document.createElement("li");
      const button = Object.assign(document.createElement("button"), { type: "button", className: "example" });
      const label = Object.assign(document.createElement("span"), { className: "example-label", textContent: entry[language] });
      const text = Object.assign(document.createElement("span"), { className: "example-text", lang: "es" });
      const [before, after] = entry.text.split(MASK);
      text.append(before, Object.assign(document.createElement("span"), { className: "gap", textContent: "…" }), after);
      button.append(label, text);
      button.addEventListener("click", () => {
        setView("answers");
        setText(entry.text);
        $("ask").scrollIntoView({ block: "start" });
      });
      item.append(button);
      return item;
    }),
  );
  drawWords();
  speakers?.setLanguage(t(), language);
  if (state.regions && $("grid").childElementCount) showAnswers($("grid"), state.regions, t(), language);
  if (state.status) say(...state.status);
}

function setView(view) {
  state.view = view;
  for (const name of VIEWS) {
    $(`tab-${name}`).setAttribute("aria-selected", name === view);
    $(`tab-${name}`).tabIndex = name === view ? 0 : -1;
    $(name).hidden = name !== view;
  }
}

function changeView(view) {
  setView(view);
  writeAddress();
  ask();
}

async function share() {
  writeAddress();
  try {
    await navigator.clipboard.writeText(location.href);
    say("shared");
  } catch {
    say("notShared"); // no permission, or no secure context
  }
}

function startWorker() {
  const started = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  started.onmessage = onMessage;
  started.onerror = () => {
    worker = null; // it could not be loaded, or broke: the next try starts another
    fail("failed");
  };
  return started;
}

function open() {
  $("problem").hidden = true;
  if (typeof WebAssembly !== "object") return fail("noWasm");
  worker ??= startWorker();
  worker.postMessage({ type: "open" });
}

function start() {
  readAddress();
  $("sentence").value = state.text;
  setView(state.view);
  setLanguage(state.language);
  $("sentence").addEventListener("input", ({ target }) => setText(target.value, { typed: true }));
  $("ask").addEventListener("submit", (event) => (event.preventDefault(), ask()));
  $("language").addEventListener("click", () => (setLanguage(state.language === "es" ? "en" : "es"), writeAddress()));
  $("share").addEventListener("click", share);
  $("retry").addEventListener("click", open);
  for (const name of VIEWS) $(`tab-${name}`).addEventListener("click", () => changeView(name));
  $("tabs").addEventListener("keydown", ({ key }) => {
    if (key !== "ArrowLeft" && key !== "ArrowRight") return;
    const other = VIEWS.find((name) => name !== state.view);
    changeView(other);
    $(`tab-${other}`).focus();
  });
  addEventListener("hashchange", () => (readAddress(), setView(state.view), setLanguage(state.language), setText(state.text)));
  navigator.serviceWorker?.register("sw.js").catch((error) => console.warn(`no offline use: ${error.message}`));
  open();
}

start();
