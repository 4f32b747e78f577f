"""The BILMA tokenizer: all text rules are in `tokenizer.json`, so it opens without remote code.

The rules are those of the authors' `preprocessing.py` and `wordpiece_tokenizer.py` (PyPI package bilma 0.1.11),
as a pipeline of `tokenizers` that gives the same ids.
"""

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import takewhile
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers.models import WordPiece
from tokenizers.normalizers import NFD, Lowercase, Replace
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, TokenizersBackend

from .published import PUBLISHED_MAX_LENGTH, PUBLISHED_VOCAB_SIZE

PAD, UNK, START, END, MASK = SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[START]", "[END]", "[MASK]")
# The published code has no limit, but its search (and that of `tokenizers`) takes cubic time: half a minute for a word
# of 15,000 letters. Words longer than this become [UNK].
MAX_WORD_LENGTH = 1000

# Python's \s, which the published rules use, also matches the four separators U+001C-U+001F.
_SPACE = r"\s\x1c-\x1f"
_SEPARATOR = "\x1e"  # white space that hardly any text contains
# Letters and digits that libraries know or not, depending on their version of Unicode; no vocabulary contains them.
_NEW_CHARACTERS = (
    "\U00011383\U00011385\U0001138e\U00011391\U000113c5\U000113c7\U000113c8\U00011de0-\U00011de9"
    "\U00016121-\U00016128\U00016d68-\U00016d6a"
)
_REGION_TOKEN = re.compile(r"\[[A-Z]{2}\]")
_LETTERS_AND_DIGITS = "abcdefghijklmnopqrstuvwxyz0123456789"


def region_token(code: str) -> str:
    """Return the token that names the region of a text, such as `[MX]` for mx; no text rule produces it."""
    return f"[{code.upper()}]"


# If a rule writes more characters than it reads, all of them get the offset of the last one read. So that tokens span
# what they replace, the rules keep the first character, or mark it, and rewrite the rest. Marks are capitals, which do
# not occur in lower-cased text.


def _links_users_and_hashtags() -> list[Replace]:
    """Replace links, users and hashtags by `_url `, `_usr ` and `_htag `."""
    run = f"[^{_SPACE}]"
    return [
        Replace(Regex(f"h(?=ttp[sſ]?://{run})|f(?=tp://{run})"), "U"),
        Replace(Regex(f"(?<=U){run}+"), "url "),
        Replace(Regex(f"(?<=@){run}+"), "usr "),
        Replace(Regex(f"(?<=#){run}+"), "htag "),
        Replace(Regex("U|@(?=usr )|#(?=htag )"), "_"),
    ]


def _laughter() -> list[Replace]:
    """Replace `jajaaja` or `hahaha` by `jaja`, keeping the first vowel.

    `Replace` has no groups, so the tail after the first syllable becomes a mark, which is then spelt out. One pass
    finds both kinds, since laughter with j ends before an h, and laughter with h before a j.
    """
    tail = Replace(Regex("(?<=j[aei])[jaei]+|(?<=h[aei])[haei]+"), "J")
    to_j = Replace(Regex("h(?=[aei]J)"), "j")
    return [tail, to_j] + [Replace(Regex(f"(?<={vowel})J"), f"j{vowel}") for vowel in "aei"]


def _normalizer() -> normalizers.Normalizer:
    """Build the text rules. Entities and case come first, which changes no other rule and frees capitals for marks."""
    return normalizers.Sequence(
        [
            Replace(Regex(f"[{_NEW_CHARACTERS}]"), "\ufdd0"),
            Replace("&amp;", "&"),
            Replace("&gt;", ">"),
            Replace("&lt;", "<"),
            Replace("Σ", "σ"),  # at the end of a word, JavaScript lower-cases it differently from `tokenizers`
            Lowercase(),
            *_links_users_and_hashtags(),
            Replace(Regex(r"[-+]?\d+\.?\d*"), "0 "),  # spans only the last character of the number
            NFD(),
            # The only assigned character that Python decomposes and `tokenizers` does not.
            Replace("\U00011938", "\U00011935\U00011930"),
            Replace(Regex(r"[\u0300-\u036f]"), ""),
            *_laughter(),
        ]
    )


@cache
def _shared_normalizer() -> normalizers.Normalizer:
    return _normalizer()


def normalize(text: str) -> str:
    """Apply the text rules, without splitting into words: `¡Qué frío, @ana!` becomes `¡que frio, _usr `."""
    return re.sub(r"\s+", " ", _shared_normalizer().normalize_str(text))


def normalize_all(texts: Sequence[str]) -> list[str]:
    """Apply the text rules to many texts, in half the time of `normalize`, and strip them."""
    rules = _shared_normalizer()
    # No rule looks beyond white space, and none adds or removes a separator.
    normalized = rules.normalize_str(_SEPARATOR.join(texts)).split(_SEPARATOR)
    if len(normalized) != len(texts):  # a text contains one itself
        normalized = [rules.normalize_str(text) for text in texts]
    return [" ".join(text.split()) for text in normalized]


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """Split into words, which are runs of a-z and 0-9, and any other characters one by one; drop white space."""
    # One step that also drops white space, instead of collapsing it before: every step costs a tenth of the time.
    return pre_tokenizers.Split(Regex(f"[a-z0-9]+|[^a-z0-9{_SPACE}]"), behavior="removed", invert=True)


def _decoder() -> decoders.Decoder:
    """Join pieces into readable text, without spaces where Spanish has none."""
    joined = [decoders.WordPiece(prefix="##", cleanup=True), decoders.Fuse()]
    return decoders.Sequence(joined + [decoders.Replace(f"{mark} ", mark) for mark in "¿¡_"])


def _pipeline(vocabulary: Sequence[str]) -> Tokenizer:
    ids = {token: i for i, token in enumerate(vocabulary)}
    pipeline = Tokenizer(WordPiece(ids, unk_token=UNK, max_input_chars_per_word=MAX_WORD_LENGTH))
    pipeline.normalizer = _normalizer()
    pipeline.pre_tokenizer = _pre_tokenizer()
    pipeline.decoder = _decoder()
    pipeline.post_processor = _frame(END)
    return pipeline


def _frame(*last: str) -> TemplateProcessing:
    """`[START]` before a text, and special tokens behind it."""
    return TemplateProcessing(
        single=[START, "$A", *last],
        pair=[START, "$A", END, "$B", *last],
        special_tokens=[(token, SPECIAL_TOKENS.index(token)) for token in dict.fromkeys((START, END, *last))],
    )


def check_vocabulary(vocabulary: Sequence[str], source: str = "the vocabulary") -> None:
    """Raise `ValueError` unless the five special tokens come first, in order, and no token is repeated."""
    if tuple(vocabulary[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
        raise ValueError(
            f"{source} does not begin with the special tokens {' '.join(SPECIAL_TOKENS)} (it begins with "
            f"{' '.join(vocabulary[: len(SPECIAL_TOKENS)]) or 'nothing'}): put them first, one per line, in this order"
        )
    seen: set[str] = set()
    for line, token in enumerate(vocabulary, start=1):
        if token in seen:
            raise ValueError(f"{source} contains {token!r} twice (line {line}): keep one of them")
        seen.add(token)


def build_tokenizer(
    vocabulary: Sequence[str], max_length: int = PUBLISHED_MAX_LENGTH, source: str = "the vocabulary"
) -> TokenizersBackend:
    """Build the BILMA tokenizer for a vocabulary, with token i at index i; region tokens at its end become special.

    Raises:
        ValueError: if the special tokens are not the first five, or a token is repeated.
    """
    check_vocabulary(vocabulary, source)
    return _backend(_pipeline(vocabulary), _region_tokens_of(vocabulary), max_length)


def _region_tokens_of(vocabulary: Sequence[str]) -> list[str]:
    """Return the region tokens at the end of a vocabulary, in order."""
    tokens = takewhile(_REGION_TOKEN.fullmatch, reversed(vocabulary))
    return list(tokens)[::-1]


def _backend(pipeline: Tokenizer, tokens_of_regions: Sequence[str], max_length: int) -> TokenizersBackend:
    return TokenizersBackend(
        tokenizer_object=pipeline,
        pad_token=PAD,
        unk_token=UNK,
        cls_token=START,
        sep_token=END,
        bos_token=START,
        eos_token=END,
        mask_token=MASK,
        **({"extra_special_tokens": list(tokens_of_regions)} if tokens_of_regions else {}),
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,  # the decoder does it
    )


def region_tokens(tokenizer: TokenizersBackend) -> list[str]:
    """Return the region tokens at the end of a tokenizer's vocabulary, in order."""
    ids = tokenizer.get_vocab()
    return _region_tokens_of(sorted(ids, key=ids.__getitem__))


def with_region_tokens(tokenizer: TokenizersBackend, regions: Sequence[str]) -> TokenizersBackend:
    """Return the tokenizer with the tokens of `regions`, and of no others, at the end of its vocabulary.

    Raises:
        ValueError: if the vocabulary contains one of the tokens before its end.
    """
    before, tokens = region_tokens(tokenizer), [region_token(region) for region in regions]
    if tokens == before:
        return tokenizer
    rules = json.loads(tokenizer.backend_tokenizer.to_str()) | {"padding": None, "truncation": None}
    ids = rules["model"]["vocab"]
    for token in before:
        del ids[token]
    if elsewhere := ids.keys() & set(tokens):
        raise ValueError(f"the vocabulary contains {min(elsewhere)} before its end: train one without region tokens")
    rules["added_tokens"] = [token for token in rules["added_tokens"] if token["content"] not in before]
    for token in tokens:
        ids[token] = len(ids)
    return _backend(Tokenizer.from_str(json.dumps(rules)), tokens, tokenizer.model_max_length)


def with_final_mask(tokenizer: TokenizersBackend) -> TokenizersBackend:
    """The tokenizer with a `[MASK]` before the `[END]` of every text, for classifiers with the pooling "mask"."""
    rules = json.loads(tokenizer.backend_tokenizer.to_str()) | {"padding": None, "truncation": None}
    pipeline = Tokenizer.from_str(json.dumps(rules))
    pipeline.post_processor = _frame(MASK, END)
    return _backend(pipeline, region_tokens(tokenizer), tokenizer.model_max_length)


def read_vocabulary(path: str | Path) -> list[str]:
    """Read the tokens of a vocabulary file, one per line, as published by the authors (`vocab_file_ALL.txt`).

    Raises:
        ValueError: if the file is not UTF-8 or not a BILMA vocabulary.
    """
    try:
        text = Path(path).read_bytes().decode()  # not read_text(), which would end lines at "\r", too
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a vocabulary file: it is not UTF-8 text ({error.reason})") from None
    # Not splitlines(): some tokens are Unicode line separators.
    vocabulary = text.removesuffix("\n").replace("\r\n", "\n").split("\n")
    check_vocabulary(vocabulary, str(path))
    return vocabulary


def load_tokenizer(path_or_id: str | Path) -> TokenizersBackend:
    """Open a BILMA tokenizer from a vocabulary file, a saved folder or a Hub id.

    Raises:
        ValueError: if there is no tokenizer, if it lacks the special tokens at their ids, or if it is not a fast one.
    """
    if Path(path_or_id).is_file():
        return build_tokenizer(read_vocabulary(path_or_id), source=str(path_or_id))
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path_or_id), trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError | TypeError) else str(error).strip()
        reason = reason.splitlines()[0]
        raise ValueError(f"no tokenizer could be opened at {path_or_id}: {reason}") from None
    check_vocabulary(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))), f"the tokenizer at {path_or_id}")
    if not isinstance(tokenizer, TokenizersBackend):
        raise ValueError(f"the tokenizer at {path_or_id} is not a fast one: save it as tokenizer.json")
    return tokenizer


def train_vocabulary(
    texts: Iterable[str],
    vocab_size: int = PUBLISHED_VOCAB_SIZE,
    min_frequency: int = 2,
    show_progress: bool = False,
) -> list[str]:
    """Train a WordPiece vocabulary on texts, which are read once and not kept.

    Args:
        vocab_size: maximum number of tokens; a small corpus yields fewer.
        min_frequency: minimum frequency of a pair of pieces to be merged into a token.

    Raises:
        ValueError: if the special tokens, letters and signs of the texts alone exceed `vocab_size`.
    """
    pipeline = _pipeline(SPECIAL_TOKENS)
    # By default the trainer numbers the `##` letters in hash order and breaks ties by number, so that two runs differ
    # (huggingface/tokenizers issue 1794). Listed here, they have fixed ids; no others can occur in a word.
    continuing_letters = [f"##{letter}" for letter in _LETTERS_AND_DIGITS]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[*SPECIAL_TOKENS, *continuing_letters],
        initial_alphabet=list(_LETTERS_AND_DIGITS),
        limit_alphabet=1000,  # tweets contain thousands of rare signs, each of which would cost a row of the embedding
        continuing_subword_prefix="##",
        show_progress=show_progress,
    )
    pipeline.train_from_iterator(texts, trainer=trainer)
    ids = pipeline.get_vocab()
    if len(ids) > vocab_size:
        raise ValueError(
            f"vocab_size={vocab_size} is less than the {len(ids)} special tokens, letters and signs of these texts: "
            "give a larger one"
        )
    return sorted(ids, key=ids.__getitem__)
