// Token ids as the page has them: JSON strings on standard input, one a line, become JSON lists of ids.
import { readFileSync } from "node:fs";
import { Tokenizer } from "../space/node_modules/@huggingface/tokenizers/dist/tokenizers.mjs";

const read = (name) => JSON.parse(readFileSync(`${process.argv[2]}/${name}`, "utf8"));
const tokenizer = new Tokenizer(read("tokenizer.json"), read("tokenizer_config.json"));
const texts = readFileSync(0, "utf8").split("\n").slice(0, -1);
process.stdout.write(texts.map((text) => `${JSON.stringify(tokenizer.encode(JSON.parse(text)).ids)}\n`).join(""));
