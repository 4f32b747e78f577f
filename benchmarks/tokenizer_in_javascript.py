"""Token ids in JavaScript, where the page needs them, next to those in Python: for texts and for all of Unicode.

    python -m benchmarks.tokenizer_in_javascript --texts ar.jsonl.gz mx.jsonl.gz es.jsonl.gz --count 100000

Every code point is tried by itself, inside a word and behind one. Of a text whose ids differ, the result holds the
shortest part whose ids differ. It needs node, and the packages of the page (`make page`).
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from benchmarks.hostile_texts import hostile_texts
from benchmarks.reporting import RESULTS, write_result
from modeling_bilma.tokenization_bilma import load_tokenizer
from training.common.progress import say
from training.texts.corpus import Corpus
from training.texts.files import find_files

Encode = Callable[[list[str]], list[list[int]]]
SCRIPT = Path(__file__).with_suffix(".mjs")
LIBRARY = SCRIPT.parents[1] / "space/node_modules/@huggingface/tokenizers/package.json"
PART = 50_000  # texts that are encoded in one go
LONGEST = 12  # characters of an example that is looked for
EXAMPLES = 20
HOSTILE = 20_000  # hostile texts


def in_javascript(folder: Path) -> Encode:
    """Return what gives the ids of texts by the tokenizer of a folder in JavaScript."""

    def encode(texts: list[str]) -> list[list[int]]:
        lines = "".join(json.dumps(text) + "\n" for text in texts)
        command = ["node", "--max-old-space-size=4096", str(SCRIPT), str(folder.resolve())]
        done = subprocess.run(command, input=lines, stdout=subprocess.PIPE, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    return encode


def in_python(folder: Path) -> Encode:
    """Return what gives the ids of texts by the tokenizer of a folder in Python."""
    tokenizer = load_tokenizer(folder)
    return lambda texts: tokenizer(texts, verbose=False)["input_ids"]


def differences(texts: Iterable[str], encoders: tuple[Encode, Encode]) -> Iterator[dict[str, Any]]:
    """Yield each text whose ids differ, with both of them."""
    rest = iter(texts)
    while part := list(islice(rest, PART)):
        both = zip(part, *(encode(part) for encode in encoders), strict=True)
        yield from ({"text": text, "python": one, "javascript": other} for text, one, other in both if one != other)


def compare(texts: list[str], encoders: tuple[Encode, Encode]) -> dict[str, Any]:
    """Return how many texts there are, how many have other ids, and for some of these the shortest such part."""
    found = [difference["text"] for difference in differences(texts, encoders)]
    shortest = (next(differences(parts_of(text), encoders), None) for text in found[:EXAMPLES])
    return {"texts": len(texts), "different": len(found), "examples": list(filter(None, shortest))}


def parts_of(text: str) -> list[str]:
    """Return all parts of a text of up to `LONGEST` characters, the shortest first."""
    lengths = range(1, min(LONGEST, len(text)) + 1)
    return list(dict.fromkeys(text[i : i + length] for length in lengths for i in range(len(text) - length + 1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", nargs="+", required=True, help="files of texts")
    parser.add_argument("--count", type=int, default=100_000, help="number of texts (default: 100000)")
    parser.add_argument("--model", type=Path, default=Path("models/bilma"), help="folder (default: models/bilma)")
    parser.add_argument("--output", type=Path, default=RESULTS / "tokenizer_in_javascript.json")
    args = parser.parse_args()
    if not LIBRARY.is_file():
        sys.exit(f"{LIBRARY.parent} is not there: run `make page`")
    encoders = (in_python(args.model), in_javascript(args.model))
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]  # no surrogates
    kinds = {
        "texts": islice(Corpus(find_files(args.texts)), args.count),
        "hostile texts": (text.encode(errors="ignore").decode() for text in hostile_texts(HOSTILE, long_lines=0)),
        "code points": characters,
        "code points inside a word": (f"ca{character}sa" for character in characters),
        "code points behind a word": (f"ca{character}" for character in characters),
    }
    found = {}
    for kind, texts in kinds.items():
        found[kind] = compare(list(texts), encoders)
        say(f"{kind}: {found[kind]['texts']:,}, of which {found[kind]['different']:,} have other ids")
    library = json.loads(LIBRARY.read_text())
    node = subprocess.run(["node", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    javascript = {"node": node, library["name"]: library["version"]}
    write_result(args.output, torch.device("cpu"), javascript=javascript, model=args.model.name, found=found)


if __name__ == "__main__":
    main()
