// Put the page, the model and the libraries into one folder, a static Space as it stands.
//
//     node space/build.mjs MODEL_ONNX_FOLDER OUTPUT_FOLDER
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const PAGE = ["index.html", "style.css", "icon.svg", "README.md", "sw.js", "js"];
const MODEL = ["config.json", "tokenizer.json", "tokenizer_config.json", "onnx/masked_quantized.onnx"];
const LIBRARIES = [
  "onnxruntime-web/dist/ort.wasm.min.mjs",
  "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs",
  "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
  "@huggingface/tokenizers/dist/tokenizers.min.mjs",
];
// The weights' terms, and those of the code.
const LICENCES = { LICENSE: "../model_cards/LICENSE", "LICENSE.code": "../LICENSE" };
const LARGE = ["model/onnx/masked_quantized.onnx", "vendor/ort-wasm-simd-threaded.wasm"];

function fail(message) {
  console.error(`build.mjs: error: ${message}`);
  process.exit(2);
}

function filesIn(folder) {
  return readdirSync(folder, { recursive: true })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
    .map((path) => relative(folder, path).split(sep).join("/"))
    .sort();
}

const sha256 = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");

const [model, output] = process.argv.slice(2);
if (!output) fail("give the folder of training/export_onnx.py and the folder to make");
for (const name of MODEL) if (!existsSync(join(model, name))) fail(`${model} has no ${name}: make it with training/export_onnx.py`);
if (!JSON.parse(readFileSync(join(model, "config.json"))).regions) fail(`${model} has no regions: give a model with regional parts`);
if (existsSync(output) && !existsSync(join(output, "precache.js"))) fail(`${output} exists and holds no page: give another folder`);

rmSync(output, { recursive: true, force: true });
mkdirSync(join(output, "vendor"), { recursive: true });
for (const name of PAGE) cpSync(join(here, name), join(output, name), { recursive: true });
for (const name of MODEL) cpSync(join(model, name), join(output, "model", name));
for (const [name, source] of Object.entries(LICENCES)) cpSync(join(here, source), join(output, name));
for (const name of LIBRARIES) {
  const source = join(here, "node_modules", name);
  if (!existsSync(source)) fail(`${name} is not installed: run npm ci in ${here}`);
  cpSync(source, join(output, "vendor", name.split("/").at(-1)));
}

// What the worker downloads itself, shows the progress of, checks and keeps.
const large = Object.fromEntries(
  LARGE.map((name) => [name, { sha256: sha256(join(output, name)), bytes: statSync(join(output, name)).size }]),
);
writeFileSync(join(output, "files.json"), JSON.stringify(large, null, 2) + "\n");

// What the service worker keeps; another version of any file is another version of the page.
const files = filesIn(output).filter((name) => !LARGE.includes(name) && !["sw.js", "README.md", ...Object.keys(LICENCES)].includes(name));
const version = createHash("sha256");
for (const name of files) version.update(name).update(sha256(join(output, name)));
const precache = { version: version.digest("hex").slice(0, 16), files: ["./", ...files] };
writeFileSync(join(output, "precache.js"), `self.PRECACHE = ${JSON.stringify(precache, null, 2)};\n`);

const bytes = filesIn(output).reduce((sum, name) => sum + statSync(join(output, name)).size, 0);
console.log(`${output}: ${(bytes / 1e6).toFixed(1)} MB`);
