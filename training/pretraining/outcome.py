"""The identity of a pretraining run, and the folder with its results."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from transformers import TokenizersBackend

from modeling_bilma.file_modes import give_default_modes
from training.common.arguments import public_arguments
from training.common.files import write_json
from training.common.progress import say
from training.common.provenance import base_fingerprint, commit, machine, versions
from training.engine.run_folder import TEXTS, WORK_DIR, put_in_place
from training.engine.run_state import BestScores, RunState
from training.pretraining.arguments import OPERATIONAL, PretrainArguments
from training.pretraining.data import Data, StreamedData
from training.pretraining.loss_curve import draw_loss_curve
from training.pretraining.start import vectors_fingerprint
from training.texts.corpus import Corpus
from training.texts.parquet_stream import ParquetStream
from training.texts.regions import Region
from training.texts.word_vectors import vocabulary_fingerprint

METRICS_SCHEMA = 1


def run_identity(
    args: PretrainArguments,
    source: Corpus | ParquetStream,
    validation_corpus: Corpus | None,
    tokenizer: TokenizersBackend,
) -> dict[str, Any]:
    """Collect what must not change when a run is resumed: flags that affect the result, texts, and vocabulary."""
    digests = [
        [[name, hashlib.sha256(content).hexdigest()] for name, content in (side or source).sources]
        for side in (source, validation_corpus)
    ]
    return {name: value for name, value in public_arguments(args).items() if name not in OPERATIONAL} | {
        **dict(zip(TEXTS, digests, strict=True)),
        "vocabulary": vocabulary_fingerprint(tokenizer),
        "base_fingerprint": base_fingerprint(args.init_from),
        "word_vectors_sha256": vectors_fingerprint(args.word_vectors, tokenizer),
    }


def finish(
    args: PretrainArguments,
    region: Region,
    data: Data,
    tokenizer: TokenizersBackend,
    state: RunState,
    accelerator: Accelerator,
) -> None:
    """Complete the folder of the best model, move it into place, and report its scores."""
    assert state.best is not None  # the last step is always evaluated
    output_dir = Path(args.output_dir)
    folder = output_dir / WORK_DIR / "best"
    tokenizer.save_pretrained(folder)
    metrics = run_metrics(region, data, state, state.best, accelerator)
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "training_args.json", public_arguments(args))
    draw_loss_curve(metrics, folder / "loss_curve.png")
    give_default_modes(folder)
    put_in_place(folder, output_dir)
    if isinstance(data, StreamedData):
        say(data.describe_left_out(accelerator.num_processes))
    if warning := doubt_about(state.best, state.history):
        say(warning)
    say(
        f"{output_dir}: masked accuracy {state.best['masked_accuracy']:.4f}, perplexity "
        f"{state.best['perplexity']:.2f} on {state.best['scored_tokens']:,} masked tokens of "
        f"{len(data.validation_texts):,} texts, at step {state.best['step']:,} of {state.step:,}, after "
        f"{state.seconds / 60:.1f} minutes"
    )


def doubt_about(best: BestScores, history: list[dict[str, float]]) -> str | None:
    """Warn if training did not help: if the best model is the starting model, or that of the first evaluation."""
    evaluations = [point["step"] for point in history if "eval_loss" in point]
    advice = "lower --learning_rate, or give more texts"
    if best["step"] == 0:
        return f"no evaluation was better than the model of --init_from, which is kept unchanged: {advice}"
    if best["step"] == evaluations[0] and len(evaluations) > 1:
        return f"the best model is that of the first evaluation, at step {best['step']:,}: {advice}"
    return None


def run_metrics(
    region: Region, data: Data, state: RunState, best: BestScores, accelerator: Accelerator
) -> dict[str, Any]:
    """Return the contents of metrics.json."""
    return {
        "schema_version": METRICS_SCHEMA,
        "region": region.code,
        "validation": {**best, "texts": len(data.validation_texts)},
        "training": {
            "steps": state.step,
            "texts": data.count_train_texts(),
            "texts_kept_for_testing": data.test_texts,
            "duplicates_left_out": data.duplicates,
            "texts_seen": state.texts,
            "tokens_seen": state.tokens,
            "bad_batches": state.bad_batches,
            "seconds": round(state.seconds, 1),
        },
        "corpus": {
            "names": data.corpus.names(),
            "fingerprint": data.fingerprint,
            **(
                {} if isinstance(data, StreamedData) else {"sha256": [hash_.hex() for _, hash_ in data.corpus.sources]}
            ),
            **dataclasses.asdict(data.report),
        },
        "machine": machine(accelerator.device)
        | {"processes": accelerator.num_processes, "mixed_precision": accelerator.mixed_precision},
        "versions": versions(),
        "commit": commit(),
        "history": state.history,
        "base_fingerprint": state.identity["base_fingerprint"],
    }
