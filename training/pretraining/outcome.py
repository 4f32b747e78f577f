"""What identifies a pretraining run, and the folder it ends with."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from transformers import TokenizersBackend

from training.common.arguments import public_arguments
from training.common.files import write_json
from training.common.provenance import base_fingerprint, commit, machine, versions
from training.engine.run_folder import TEXTS, WORK_DIR, put_in_place
from training.pretraining.arguments import OPERATIONAL, PretrainArguments
from training.pretraining.data import Data
from training.pretraining.loss_curve import draw_loss_curve
from training.pretraining.start import vectors_fingerprint, vocabulary_fingerprint
from training.texts.corpus import Corpus
from training.texts.parquet_stream import ParquetStream
from training.texts.regions import Region

METRICS_SCHEMA = 1


def run_identity(
    args: PretrainArguments,
    source: Corpus | ParquetStream,
    validation_corpus: Corpus | None,
    tokenizer: TokenizersBackend,
) -> dict[str, Any]:
    """What has to be the same for a run to go on: the flags that change what comes out, the texts, the vocabulary."""
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
    progress: dict[str, Any],
    base: str | None,
    accelerator: Accelerator,
) -> None:
    """Make the output folder of the best model, and remove what was only needed to get there."""
    output_dir = Path(args.output_dir)
    best = output_dir / WORK_DIR / "best"
    tokenizer.save_pretrained(best)
    metrics = result(region, data, progress, accelerator) | {"base_fingerprint": base}
    write_json(best / "metrics.json", metrics)
    write_json(best / "training_args.json", public_arguments(args))
    draw_loss_curve(metrics, best / "loss_curve.png")
    put_in_place(best, output_dir)
    scores = metrics["validation"]
    print(
        f"{output_dir}: masked accuracy {scores['masked_accuracy']:.4f}, perplexity {scores['perplexity']:.2f} on "
        f"{scores['scored_tokens']:,} masked tokens of {scores['texts']:,} texts, "
        f"after {progress['seconds'] / 60:.1f} minutes"
    )


def result(region: Region, data: Data, progress: dict[str, Any], accelerator: Accelerator) -> dict[str, Any]:
    """What metrics.json holds."""
    return {
        "schema_version": METRICS_SCHEMA,
        "region": region.code,
        "validation": progress["best"] | {"texts": len(data.validation_texts)},
        "training": {
            "steps": progress["step"],
            "texts": len(data.train_texts),
            "texts_kept_for_testing": data.kept_for_testing,
            "duplicates_left_out": data.duplicates,
            "texts_seen": progress["texts"],
            "tokens_seen": progress["tokens"],
            "bad_batches": progress["bad_batches"],
            "seconds": round(progress["seconds"], 1),
        },
        "corpus": {
            "names": data.corpus.names(),
            "fingerprint": data.fingerprint,
            **dataclasses.asdict(data.report),
        },
        "machine": machine(accelerator.device)
        | {"processes": accelerator.num_processes, "mixed_precision": accelerator.mixed_precision},
        "versions": versions(),
        "commit": commit(),
        "history": progress["history"],
    }
