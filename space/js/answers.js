// The first view: the answers of the regions, side by side.
import { NAMES } from "./regions.js";

const times = (lift) => `×${lift < 10 ? lift.toFixed(1) : Math.min(999, Math.round(lift))}`;
const decimal = (text, language) => (language === "es" ? String(text).replace(".", ",") : String(text));
const percent = (p) => (p >= 0.095 ? Math.round(p * 100) : (p * 100).toFixed(1));

function node(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function row(answer, most, t, language) {
  const item = node("li", answer.regional ? "answer regional" : "answer");
  item.dataset.word = answer.word;
  item.dataset.p = answer.p;
  item.style.setProperty("--share", `${(100 * answer.p) / most}%`);
  item.append(node("span", "word", answer.word));
  if (answer.regional) item.append(node("span", "visually-hidden", ` (${t.regionalAnswer}) `));
  item.append(node("span", "percent", `${decimal(percent(answer.p), language)} %`));
  return item;
}

/** The word that sets the region apart, large; a quiet sign where none does. */
function apart(answer, t, language) {
  const line = node("p", "apart");
  if (!answer) {
    line.classList.add("none");
    line.textContent = t.likeElsewhere;
    return line;
  }
  line.dataset.word = answer.word;
  line.append(node("span", "apart-word", answer.word), node("span", "apart-times", decimal(times(answer.lift), language)));
  line.append(node("span", "visually-hidden", t.timesElsewhere));
  return line;
}

/** Draw one card for each region; bars share one scale. */
export function showAnswers(grid, regions, t, language) {
  const most = Math.max(...regions.flatMap(({ answers }) => answers.map(({ p }) => p)), 1e-9);
  grid.replaceChildren(
    ...regions.map(({ region, answers, apart: own }) => {
      const card = node("article", `card ${region}`);
      card.dataset.region = region;
      const name = node("h3", "region-name", NAMES[region]?.[language] ?? region.toUpperCase());
      const list = node("ol", "answer-list");
      list.append(...answers.map((answer) => row(answer, most, t, language)));
      card.append(name, apart(own, t, language), list);
      return card;
    }),
  );
}
