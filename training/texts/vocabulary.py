"""Learn a vocabulary from the training texts."""

from dataclasses import dataclass, field

from tqdm import tqdm
from transformers import TokenizersBackend

from modeling_bilma.published import PUBLISHED_VOCAB_SIZE
from modeling_bilma.tokenization_bilma import build_tokenizer, train_vocabulary
from training.common.arguments import option
from training.common.errors import as_input_error
from training.texts.corpus import CorpusArguments, open_corpus
from training.texts.splits import is_test, split_hash


@dataclass(kw_only=True)
class TokenizerArguments(CorpusArguments):
    output_dir: str = field(metadata={"help": "folder for the tokenizer"})
    vocab_file: str | None = option(None, "use this vocabulary, one token a line, instead of learning one")
    vocab_size: int = option(PUBLISHED_VOCAB_SIZE, "most tokens of the vocabulary; a small corpus yields fewer")
    min_frequency: int = option(2, "two pieces must meet this often to become a token")
    overwrite: bool = option(False, "replace the tokenizer that the output folder holds")


def learn(args: TokenizerArguments) -> TokenizersBackend:
    corpus = open_corpus(args)
    training_side = (
        text for text, group in corpus.grouped() if not is_test(split_hash(text, group), args.test_fraction)
    )
    bar = tqdm(training_side, desc="reading", unit=" texts", unit_scale=True)
    with as_input_error(ValueError):
        vocabulary = train_vocabulary(
            bar,
            args.vocab_size,
            args.min_frequency,
            show_progress=True,
        )
    if not bar.n:
        raise corpus.no_text_error()
    print(f"{bar.n:,} texts learnt from; {corpus.report.summary()}")
    return build_tokenizer(vocabulary)
