// A map of the eight regions; Spain is drawn nearer than it is, and larger.
import { OUTLINES } from "./regions.js";

const SVG = "http://www.w3.org/2000/svg";
const SCALE = 4.2;
const SPAIN = { scale: 2.1, shift: [-45, -1] }; // about its own middle, in degrees
const LABELS = { us: [-98, 39.5], mx: [-102.5, 24], co: [-73.2, 4.2], ve: [-65.5, 7.6], cl: [-76.5, -30], ar: [-65.3, -35.5], uy: [-51, -33.2], es: [-3.6, 40.2] };

function place(code, [longitude, latitude]) {
  if (code === "es") {
    const middle = LABELS.es;
    longitude = middle[0] + SPAIN.shift[0] + (longitude - middle[0]) * SPAIN.scale;
    latitude = middle[1] + SPAIN.shift[1] + (latitude - middle[1]) * SPAIN.scale * 1.25;
  }
  return [((longitude + 126) * 0.92 * SCALE).toFixed(1), ((51 - latitude) * SCALE).toFixed(1)];
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export class RegionMap {
  constructor(svg, regions) {
    this.shapes = {};
    svg.setAttribute("viewBox", "0 0 358 452");
    for (const code of regions.filter((code) => OUTLINES[code])) {
      const points = OUTLINES[code].map((point) => place(code, point).join(" "));
      const shape = element("path", { d: `M${points.join("L")}Z`, class: "country" });
      const [x, y] = place(code, LABELS[code]);
      const label = element("text", { x, y, class: "country-label" });
      label.textContent = code.toUpperCase();
      svg.append(shape, label);
      this.shapes[code] = { shape, label };
    }
  }

  /** Colour every region by a strength from 0 to 1. */
  show(strengths) {
    for (const [code, { shape, label }] of Object.entries(this.shapes)) {
      const strength = strengths[code] ?? 0;
      shape.style.setProperty("--strength", `${Math.round(strength * 100)}%`);
      label.classList.toggle("on-strong", strength > 0.55);
    }
  }
}
