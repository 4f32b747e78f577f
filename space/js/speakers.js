// The second view: which region would say the sentence, as a whole and word by word.
import { NAMES } from "./regions.js";
import { RegionMap } from "./map.js";

const CLEAR = 1.5; // times the average: from here on a word is marked as a region's

function softmax(logs) {
  const max = Math.max(...logs);
  const weights = logs.map((log) => Math.exp(log - max));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / sum);
}

function node(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export class Speakers {
  /** @param {{map: SVGElement, list: HTMLElement, words: HTMLElement, caption: HTMLElement}} parts */
  constructor(parts, regions) {
    this.parts = parts;
    this.regions = regions;
    this.map = new RegionMap(parts.map, regions);
    parts.words.addEventListener("mouseleave", () => this.showWhole());
    this.start([]);
  }

  /** Begin with a new sentence, given as parts of js/sentence.js. */
  start(sentence) {
    this.sentence = sentence;
    this.scores = new Map();
    this.drawWords();
    this.showWhole();
  }

  setLanguage(t, language) {
    this.t = t;
    this.language = language;
    this.drawWords();
    this.showWhole();
  }

  addWord(number, scores) {
    this.scores.set(number, scores);
    this.drawWords();
    this.showWhole();
  }

  /** How many times likelier a word is in each region than in the (geometric) mean of all. */
  timesOf(number) {
    const logs = this.scores.get(number);
    const mean = logs.reduce((a, b) => a + b) / logs.length;
    return logs.map((log) => Math.exp(log - mean));
  }

  drawWords() {
    if (!this.t) return;
    const focused = document.activeElement?.dataset?.number;
    this.parts.words.replaceChildren(
      ...this.sentence.map((part, number) => {
        if (part.sign || !this.scores.has(number)) return node("span", part.sign ? "said sign" : "said waiting", part.text);
        const times = this.timesOf(number);
        const best = times.indexOf(Math.max(...times));
        const word = node("button", "said", part.text);
        word.type = "button";
        word.dataset.number = number;
        if (times[best] >= CLEAR) {
          word.classList.add("marked", this.regions[best]);
          word.append(node("span", "said-region", this.regions[best].toUpperCase()));
        }
        for (const event of ["mouseenter", "focus", "click"]) word.addEventListener(event, () => this.showWord(number));
        word.addEventListener("blur", () => this.showWhole());
        return word;
      }),
    );
    if (focused) this.parts.words.querySelector(`[data-number="${focused}"]`)?.focus();
  }

  showWhole() {
    if (!this.t) return;
    const sums = this.regions.map((_, region) => [...this.scores.values()].reduce((sum, scores) => sum + scores[region], 0));
    const shares = this.scores.size ? softmax(sums) : sums.map(() => 0);
    const text = (share) => `${Math.round(share * 100)} %`;
    this.show(this.t.wholeSentence, shares, Math.max(...shares), text, (name, share) => this.t.shareOf(name, Math.round(share * 100)));
  }

  showWord(number) {
    const times = this.timesOf(number);
    const round = (value) => {
      const shown = value.toFixed(value < 10 ? 1 : 0);
      return this.language === "es" ? shown.replace(".", ",") : shown;
    };
    const text = (value) => `×${round(value)}`;
    this.show(this.t.theWord(this.sentence[number].text), times, Math.max(...times), text, (name, value) => this.t.timesOf(name, round(value)));
  }

  show(caption, values, most, text, spoken) {
    this.parts.caption.textContent = caption;
    this.map.show(Object.fromEntries(this.regions.map((code, number) => [code, most ? values[number] / most : 0])));
    const order = [...this.regions.keys()].sort((a, b) => values[b] - values[a]);
    this.parts.list.replaceChildren(
      ...order.map((number) => {
        const code = this.regions[number];
        const name = NAMES[code]?.[this.language] ?? code.toUpperCase();
        const item = node("li", `speaker ${code}`);
        item.dataset.region = code;
        item.dataset.value = values[number];
        item.style.setProperty("--share", `${most ? (100 * values[number]) / most : 0}%`);
        const shown = node("span", "speaker-value", this.scores.size ? text(values[number]) : "–");
        shown.setAttribute("aria-hidden", "true");
        const label = node("span", "speaker-name", name);
        label.setAttribute("aria-hidden", "true");
        item.append(label, shown, node("span", "visually-hidden", spoken(name, values[number])));
        return item;
      }),
    );
  }
}
