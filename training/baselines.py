"""What a classifier has to beat: simple methods on the same labelled texts, cut in the same parts, as `finetune.py`.

    python training/baselines.py --task emoji15 --train_file mx.jsonl.gz --output_dir baselines-mx

Of each method a folder with a metrics.json as `finetune.py` writes it: the commonest label; TF-IDF of characters, and
of words, with a linear classifier; the mean of the fastText vectors of a text's words with one. How strongly a linear
classifier is regularised is chosen by validation accuracy. Needs `pip install "modeling-bilma[baselines]"`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from modeling_bilma.tokenization_bilma import normalize
from training.common.arguments import parse_arguments
from training.common.errors import InputError, as_input_error, run
from training.common.files import write_json, written_whole
from training.finetuning.baselines import (
    METHODS,
    WORD,
    BaselineArguments,
    check_arguments,
    fasttext,
    linear,
    majority,
    tfidf,
)
from training.finetuning.scores import classification_scores, describe_result, one_line
from training.texts.labelled import label_ids, open_labelled


def main() -> None:
    args = parse_arguments(BaselineArguments, __doc__.splitlines()[0])
    check_arguments(args)
    output_dir = Path(args.output_dir)
    check_replaceable(output_dir, args.overwrite)
    splits = open_labelled(args)
    print(f"{', '.join(splits.corpus.names())}: {splits.corpus.report.summary()}")
    labels = {name: label_ids(part, splits.label_names, name) for name, part in splits.parts().items()}
    texts = {name: [normalize(text) for text in part.texts] for name, part in splits.parts().items()}
    guesses: tuple[Callable[[], dict[str, np.ndarray]], ...] = (
        lambda: majority(labels),
        lambda: linear(tfidf(texts, analyzer="char_wb", ngram_range=(2, 5)), labels, args.class_weights),
        lambda: linear(tfidf(texts, token_pattern=WORD, ngram_range=(1, 2)), labels, args.class_weights),
        lambda: linear(fasttext(args, texts), labels, args.class_weights),
    )
    with as_input_error(OSError), written_whole(output_dir) as folder:
        for method, guess in tqdm(list(zip(METHODS, guesses, strict=True)), "methods", leave=False):
            guessed = guess()
            scores = {
                part: classification_scores(labels[part], guessed[part], len(splits.label_names))
                for part in ("validation", "test")
            }
            result = describe_result(method, splits, [{"seed": args.seed, **scores}], torch.device("cpu"))
            (folder / method).mkdir()
            write_json(folder / method / "metrics.json", result)
            tqdm.write(f"{method}: {one_line(scores)}")


def check_replaceable(output_dir: Path, overwrite: bool) -> None:
    """There is nothing, or what a run of this script left and the user means to replace."""
    is_new = not output_dir.exists() or (output_dir.is_dir() and not any(output_dir.iterdir()))
    is_own = output_dir.is_dir() and {path.name for path in output_dir.iterdir()} == set(METHODS)
    if not (is_new or (is_own and overwrite)):
        again = ", or --overwrite to replace what it holds" if is_own else ""
        raise InputError(f"{output_dir} exists already: give a new or empty folder as --output_dir{again}")


if __name__ == "__main__":
    run(main)
