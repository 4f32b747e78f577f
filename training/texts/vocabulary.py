"""Learn a vocabulary from the training texts."""

from dataclasses import dataclass, field

from transformers import TokenizersBackend

from modeling_bilma.published import PUBLISHED_VOCAB_SIZE
from modeling_bilma.tokenization_bilma import build_tokenizer, train_vocabulary
from training.common.arguments import option
from training.common.errors import InputError, as_input_error
from training.common.progress import ProgressBar
from training.texts.corpus import CorpusArguments, open_corpus
from training.texts.splits import is_test, split_hash


@dataclass(kw_only=True)
class TokenizerArguments(CorpusArguments):
    """Flags of `train_tokenizer.py`."""

    output_dir: str = field(metadata={"help": "folder for the tokenizer"})
    vocab_file: str | None = option(None, "use this vocabulary, one token a line, instead of learning one")
    vocab_size: int = option(PUBLISHED_VOCAB_SIZE, "largest number of tokens; a small corpus yields fewer")
    min_frequency: int = option(2, "how often two pieces must occur side by side to become one token")
    overwrite: bool = option(False, "replace the tokenizer that the output folder holds")


def learn(args: TokenizerArguments) -> TokenizersBackend:
    """Learn a vocabulary from the texts that are not kept for testing, and make its tokenizer.

    Raises:
        InputError: as reading the corpus does, and if there is no text to learn from.
    """
    corpus = open_corpus(args)
    training_side = (
        text for text, group in corpus.grouped() if not is_test(split_hash(text, group), args.test_fraction)
    )
    bar = ProgressBar(training_side, desc="reading", unit=" texts", unit_scale=True)
    with as_input_error(ValueError):
        vocabulary = train_vocabulary(bar, args.vocab_size, args.min_frequency, show_progress=True)
    if not bar.n:
        raise InputError(f"{', '.join(corpus.names())}: no text to learn a vocabulary from; {corpus.report.summary()}")
    print(f"{bar.n:,} texts learnt from; {corpus.report.summary()}")
    return build_tokenizer(vocabulary)
