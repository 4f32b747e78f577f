import numpy as np
import pytest
import torch
from datasets import Dataset

from benchmarks.packed_rows import unmasked
from training.pretraining.steps import MaskedSteps, pack
from training.texts.batches import IGNORED, step_seed


@pytest.fixture(scope="module")
def tokens(tokenizer):
    """300 texts of 3 to 20 tokens; the second token of each is its own number."""
    rng = np.random.default_rng(0)
    words = np.arange(5, len(tokenizer))
    texts = [[2, *rng.choice(words, size=rng.integers(1, 19)).tolist(), 3] for _ in range(300)]
    return Dataset.from_dict({"input_ids": texts})


def steps(tokens, tokenizer, **options):
    defaults = {"texts_per_step": 64, "tokens_per_micro_batch": 10_000}
    return MaskedSteps(tokens, np.arange(len(tokens)), tokenizer, **{**defaults, **options})


def texts_of(batch) -> list[tuple[int, ...]]:
    """The texts of a step as they were before masking."""
    return list(map(tuple, unmasked(batch.micro_batches)))


@pytest.mark.parametrize("lengths", [[5], [5, 5, 5], [3, 9, 4, 10, 1, 6, 7, 2], list(range(1, 11)) * 9])
def test_packing_places_every_text_once_within_the_row(lengths):
    rows = pack(lengths, 10)
    assert sorted(text for row in rows for text in row) == list(range(len(lengths)))
    assert all(sum(lengths[text] for text in row) <= 10 for row in rows)


def test_packing_leaves_little_empty():
    lengths = np.random.default_rng(0).normal(21, 8, size=256).clip(3, 45).astype(int).tolist()  # as tweets are
    rows = pack(lengths, max(lengths))
    assert sum(lengths) / (len(rows) * max(lengths)) > 0.97


def test_a_step_holds_its_texts_whole_and_once(tokens, tokenizer):
    batch = steps(tokens, tokenizer, shuffle=False)[1]
    assert sorted(texts_of(batch)) == sorted(map(tuple, tokens["input_ids"][64:128]))
    assert batch.texts == 64
    assert batch.tokens == sum(map(len, tokens["input_ids"][64:128]))


def test_an_epoch_holds_every_text_once_in_an_order_of_its_own(tokens, tokenizer):
    run = steps(tokens, tokenizer)
    assert run.steps_per_epoch == 5
    epochs = [[text for step in range(5) for text in texts_of(run[epoch * 5 + step])] for epoch in range(2)]
    everything = sorted(map(tuple, tokens["input_ids"]))
    assert sorted(epochs[0]) == sorted(epochs[1]) == everything
    assert set(texts_of(run[0])) != set(texts_of(run[5]))


def test_a_step_is_the_same_whenever_it_is_asked_for(tokens, tokenizer):
    run, other = steps(tokens, tokenizer), steps(tokens, tokenizer)
    other[9], other[2]
    for a, b in zip(run[7].micro_batches, other[7].micro_batches, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(run[0].micro_batches[0]["labels"], run[5].micro_batches[0]["labels"][:1])


def test_masks_have_the_standard_shares(tokens, tokenizer):
    run = steps(tokens, tokenizer, texts_per_step=300)
    masked = kept = replaced = total = 0
    for step in range(20):
        (micro,) = run[step].micro_batches
        labelled = micro["labels"] != IGNORED
        ids = micro["input_ids"]
        original = torch.where(labelled, micro["labels"], ids)
        total += int((original > 4).sum())
        assert int((original[labelled] <= 4).sum()) == 0, "special tokens are never masked"
        masked += int((ids[labelled] == tokenizer.mask_token_id).sum())
        kept += int((ids == micro["labels"])[labelled].sum())
        replaced += int(labelled.sum())
    assert replaced / total == pytest.approx(0.15, abs=0.01)
    assert masked / replaced == pytest.approx(0.8, abs=0.02)
    assert kept / replaced == pytest.approx(0.1, abs=0.02)


def test_scored_tokens_are_those_of_the_whole_step(tokens, tokenizer):
    batch = steps(tokens, tokenizer, tokens_per_micro_batch=100)[0]
    assert len(batch.micro_batches) > 3
    assert sum(int((micro["labels"] != IGNORED).sum()) for micro in batch.micro_batches) == batch.scored_tokens


def scored_rows(*batches) -> list[list[int]]:
    rows = [row for batch in batches for micro in batch.micro_batches for row in micro["labels"].tolist()]
    return sorted(row for row in rows if set(row) != {IGNORED})


@pytest.mark.parametrize("num_processes", [2, 3])
def test_processes_share_a_step_without_overlap_and_with_the_same_masks(tokens, tokenizer, num_processes):
    whole = steps(tokens, tokenizer)[3]
    shares = [steps(tokens, tokenizer, process=p, num_processes=num_processes)[3] for p in range(num_processes)]
    assert scored_rows(*shares) == scored_rows(whole)
    # Where a process had to run the model more often than the others, sharded models would wait for ever.
    assert len({share.micro_batches[0]["labels"].shape for share in shares}) == 1
    assert {share.scored_tokens for share in shares} == {whole.scored_tokens}


def test_a_process_without_a_row_still_takes_part(tokens, tokenizer):
    share = steps(tokens, tokenizer, texts_per_step=1, process=1, num_processes=2)[0]
    (micro,) = share.micro_batches
    assert (micro["labels"] == IGNORED).all()
    assert share.scored_tokens == int(
        (steps(tokens, tokenizer, texts_per_step=1)[0].micro_batches[0]["labels"] != IGNORED).sum()
    )


def test_unpacked_steps_have_a_text_a_row_and_a_mask(tokens, tokenizer):
    (micro,) = steps(tokens, tokenizer, packed=False, shuffle=False)[0].micro_batches
    assert set(micro) == {"input_ids", "attention_mask", "labels"}
    assert micro["attention_mask"].sum(1).tolist() == [len(text) for text in tokens["input_ids"][:64]]


def test_seeds_of_steps_differ():
    assert (
        len({step_seed(seed, step, process) for seed in range(3) for step in range(50) for process in range(2)}) == 300
    )


@pytest.mark.parametrize(("share", "least", "most"), [(1.0, 1, 1), (0.8, 0.7, 0.9)])
def test_share_of_the_tokens_to_predict_that_become_masks(tokens, tokenizer, share, least, most):
    options = {"texts_per_step": 300, "mlm_probability": 0.4, "mask_replace_prob": share}
    (batch,) = steps(tokens, tokenizer, **options)[0].micro_batches
    shown = batch["input_ids"][batch["labels"] != IGNORED]
    assert len(shown) > 500
    assert least <= (shown == tokenizer.mask_token_id).float().mean() <= most
