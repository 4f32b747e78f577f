"""Small random models of other families, with tokenizers trained on the synthetic texts."""

from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
)

from tests.training.conftest import REGIONS
from training.texts.synthetic import generate_texts

TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def trained_tokenizer(
    pipeline: Tokenizer, trainer: trainers.Trainer, start: str, end: str, **special: str
) -> PreTrainedTokenizerFast:
    pipeline.train_from_iterator([text for region in REGIONS for text in generate_texts(region, 60)], trainer)
    ends = [(token, pipeline.token_to_id(token)) for token in (start, end)]
    pipeline.post_processor = processors.TemplateProcessing(single=f"{start} $A {end}", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=pipeline, model_max_length=32, **special)


def save_bert(folder: Path) -> Path:
    """Save a BERT whose WordPiece tokenizer lower-cases and strips accents."""
    pipeline = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pipeline.normalizer, pipeline.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    tokenizer = trained_tokenizer(pipeline, trainer, "[CLS]", "[SEP]", **names)
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **TINY)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_roberta(folder: Path) -> Path:
    """Save a RoBERTa with a byte-level tokenizer, which counts the space in front with a word."""
    pipeline = Tokenizer(models.BPE())
    pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
    tokenizer = trained_tokenizer(pipeline, trainer, "<s>", "</s>", **names)
    RobertaForMaskedLM(RobertaConfig(vocab_size=len(tokenizer), **TINY)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
