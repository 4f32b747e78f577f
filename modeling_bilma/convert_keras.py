"""Convert published BILMA checkpoints (Keras HDF5) to transformers, with the same results and without TensorFlow.

    python -m modeling_bilma.convert_keras --weights bilma_small_MX_epoch-1.h5 --vocab vocab_file_All.txt \
        --region mx --output_dir bilma-mx
    python -m modeling_bilma.convert_keras --weights guillermoruiz/bilma_MX --region mx --output_dir bilma-mx

Two layouts are read: full model files (`model_weights/<layer>/...`) and the Hub's `tf_model.h5` (`model/...`).
Only arrays and one JSON text are read from a file: no class, function or pickle in it is ever loaded.
"""

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    StrictDataclassError,
)
from huggingface_hub.utils import logging as hub_logging
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from .configuration_bilma import BilmaConfig
from .file_modes import give_default_modes
from .keras_weights import KerasFile, Weights, assign_weights, one_line, read_keras_file
from .modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification, BilmaPreTrainedModel
from .published import EMOJI_15, PUBLISHED_MAX_LENGTH, REGIONS, check_region, config_from_published
from .tokenization_bilma import build_tokenizer, read_vocabulary

HUB_WEIGHTS = "tf_model.h5"
HUB_VOCABULARIES = ("vocab_file_All.txt", "vocab_file_ALL.txt", "vocab.txt")


@dataclass(frozen=True)
class Source:
    """Where the weights come from: a local file, or the files of a Hub repository."""

    name: str
    weights: Path
    vocab: Path | None
    published_config: dict[str, Any] = field(default_factory=dict)


def _config_arguments(
    source: Source, file: KerasFile, weights: Weights, region: str, max_positions: int | None
) -> dict[str, Any]:
    """Return what the tensors determine and, from the published config, the rest; check that the two agree."""
    arguments = config_from_published(source.published_config)
    del arguments["architectures"]  # the tensors say which heads there are, and saving writes it
    known = {**weights.sizes, "region": region}
    for name, value in known.items():
        if arguments.get(name, value) != value:
            raise ValueError(
                f"{source.name}: its config.json says {name}={arguments[name]!r}, but the "
                f"{'--region given is' if name == 'region' else 'weights say'} {value!r}"
            )
    if weights.classifier and arguments.get("pooling", "cls") != "cls":
        raise ValueError(
            f"{source.name}: pooling={arguments['pooling']!r} cannot be converted: only 'cls', the [START] state, "
            "was checked against the authors' code"
        )
    known["max_position_embeddings"] = (
        max_positions or file.input_length or arguments.get("max_position_embeddings", PUBLISHED_MAX_LENGTH)
    )
    arguments.update(known)
    return arguments


def convert(
    weights: str,
    region: str,
    output_dir: str | Path,
    vocab: str | Path | None = None,
    output_mlm_dir: str | Path | None = None,
    max_positions: int | None = None,
    overwrite: bool = False,
) -> None:
    """Convert a published checkpoint, and write each output folder completely or not at all.

    Args:
        weights: a Keras file, or the Hub id of a repository with a `tf_model.h5`.
        vocab: the vocabulary file; may be omitted if the Hub repository has one.
        output_dir: folder for the classification model if the file contains one, else for the MLM model.
        output_mlm_dir: folder for the MLM head that a classification file contains as well.
        max_positions: rows are padded to this length (default: that in the file or the repository, else 280).

    Raises:
        ValueError: in one line, if anything is wrong with the input; then nothing is written.
        OSError: if a file cannot be read or written.
    """
    region = check_region(region)
    if max_positions is not None and max_positions < 1:
        raise ValueError(f"max_positions={max_positions} must be at least 1")
    outputs = [Path(folder) for folder in (output_dir, output_mlm_dir) if folder is not None]
    source = find_source(weights, vocab)
    if source.vocab is None:
        raise ValueError(f"{source.name} has no vocabulary: give the authors' file with --vocab")
    check_outputs(outputs, [source.weights, source.vocab], overwrite)
    file = read_keras_file(source.weights, with_input_length=max_positions is None)
    found = assign_weights(file)
    if output_mlm_dir is not None and not (found.classifier and found.decoder):
        raise ValueError(f"{source.name} does not contain two models: omit --output_mlm_dir")
    arguments = _config_arguments(source, file, found, region, max_positions)
    vocabulary = read_vocabulary(source.vocab)
    check_vocabulary_size(vocabulary, found.sizes["vocab_size"], source)
    models = _build_models(found, arguments)[: len(outputs)]
    tokenizer = build_tokenizer(vocabulary, arguments["max_position_embeddings"])
    digest = _sha256(source.weights)
    with whole_folders(outputs) as folders:
        for model, folder, output in zip(models, folders, outputs, strict=True):
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            (folder / "README.md").write_text(_card(model, region, source, digest, output.name), encoding="utf-8")


def check_vocabulary_size(vocabulary: Sequence[str], rows: int, source: Source) -> None:
    """Raise `ValueError` unless each row of the embedding has its token, except perhaps the last one.

    The published embedding has one row more than the vocabulary file has tokens: 29,025 for 29,024.
    """
    if not rows - 1 <= len(vocabulary) <= rows:
        raise ValueError(
            f"{source.vocab} has {len(vocabulary):,} tokens, but the embedding of {source.name} has {rows:,} rows: "
            f"expected {rows:,} tokens or, as published, one fewer"
        )


def _build_models(weights: Weights, arguments: dict[str, Any]) -> list[BilmaPreTrainedModel]:
    """Build the classification model, if there is one, and then the MLM model, if there is one."""
    models: list[BilmaPreTrainedModel] = []
    encoder = {f"bilma.{name}": tensor for name, tensor in weights.encoder.items()}
    arguments = dict(arguments)
    num_labels = arguments.pop("num_labels", None)
    if weights.classifier:
        labels = EMOJI_15 if num_labels == len(EMOJI_15) else [f"LABEL_{i}" for i in range(num_labels)]
        config = _config(
            **arguments,
            id2label=dict(enumerate(labels)),
            label2id={label: i for i, label in enumerate(labels)},
        )
        models.append(BilmaForSequenceClassification(config))
        models[-1].load_state_dict({**encoder, **weights.classifier}, strict=True)
    if weights.decoder:
        models.append(BilmaForMaskedLM(_config(**arguments)))
        models[-1].load_state_dict({**encoder, **weights.decoder}, strict=True)
    return models


def _config(**arguments: Any) -> BilmaConfig:
    try:
        return BilmaConfig(**arguments)
    except StrictDataclassError as error:
        raise ValueError(f"the sizes in the file do not make a BILMA model: {one_line(error)}") from None


def check_outputs(outputs: Sequence[Path], inputs: Sequence[Path], overwrite: bool) -> None:
    """Raise `ValueError` if an output folder is in use, or writing it would destroy an input or the other one."""
    for output in outputs:
        for other in [*inputs, *(o for o in outputs if o is not output)]:
            if other.resolve().is_relative_to(output.resolve()):
                raise ValueError(f"{other} is, or is inside, the output folder {output}: give a folder of its own")
        if output.is_dir() and any(output.iterdir()):
            if not overwrite:
                raise ValueError(f"{output} is not empty: give another folder, or --overwrite to replace it")
            if not (output / "config.json").is_file():
                raise ValueError(f"{output} contains something other than a model: --overwrite replaces only models")
        elif output.exists() and not output.is_dir():
            raise ValueError(f"{output} is a file: give a folder")


@contextmanager
def whole_folders(finals: Sequence[Path]) -> Iterator[list[Path]]:
    """Create new folders beside `finals` that replace them at the end of the block, or are removed if it fails."""
    partials = [final.with_name(f".{final.name}.partial") for final in finals]
    try:
        for partial in partials:
            shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed
            partial.mkdir(parents=True)
        yield partials
        for partial, final in zip(partials, finals, strict=True):
            give_default_modes(partial)
            replaced = final.with_name(f".{final.name}.replaced")
            if final.exists():
                shutil.rmtree(replaced, ignore_errors=True)
                final.rename(replaced)
            partial.rename(final)
            shutil.rmtree(replaced, ignore_errors=True)
    finally:
        for partial in partials:
            shutil.rmtree(partial, ignore_errors=True)


def find_source(weights: str, vocab: str | Path | None) -> Source:
    """Find the local file named by `weights`, or download the files of that Hub repository.

    Raises:
        ValueError: if the file does not exist, or the repository cannot be downloaded.
    """
    path = Path(weights)
    vocab = None if vocab is None else Path(vocab)
    if path.exists() or path.suffix in (".h5", ".hdf5") or weights.count("/") != 1:
        return Source(path.name, path, vocab)
    weights_file = _download(weights, HUB_WEIGHTS)
    if weights_file is None:
        raise ValueError(f"the Hub repository {weights} has no {HUB_WEIGHTS}: it is not a published BILMA")
    config_file = _download(weights, "config.json")
    if vocab is None:
        vocab = next((file for file in (_download(weights, name) for name in HUB_VOCABULARIES) if file), None)
    try:
        published = json.loads(config_file.read_text(encoding="utf-8")) if config_file else {}
    except ValueError:
        raise ValueError(f"the config.json of the Hub repository {weights} is not JSON") from None
    if not isinstance(published, dict):
        raise ValueError(f"the config.json of the Hub repository {weights} is not a JSON object")
    return Source(weights, weights_file, vocab, published)


def _download(repository: str, filename: str) -> Path | None:
    """Download a file of a Hub repository; None if the repository does not have it."""
    try:
        return Path(hf_hub_download(repository, filename))
    except HFValidationError:
        raise ValueError(f"{repository} is neither a file nor a Hub id (organisation/name)") from None
    except GatedRepoError:
        raise ValueError(
            f"the Hub repository {repository} needs a token: ask for access, then `hf auth login`"
        ) from None
    except RepositoryNotFoundError:
        raise ValueError(
            f"{repository} is neither a file nor a visible Hub repository: check the name; if it is private, "
            "it needs a token: `hf auth login`"
        ) from None
    except LocalEntryNotFoundError:
        raise ValueError(
            f"{repository} is not a file here, and {filename} of the Hub repository cannot be downloaded: the Hub "
            "cannot be reached (or HF_HUB_OFFLINE is set), and the file is not in the cache"
        ) from None
    except EntryNotFoundError:
        return None
    except OSError as error:
        raise ValueError(
            f"{filename} of the Hub repository {repository} cannot be downloaded: {one_line(error)}"
        ) from None


# ---- the card --------------------------------------------------------------------------------------------------

CARD = """\
---
language: es
library_name: transformers
pipeline_tag: {task}
tags:
- bilma
- spanish
- twitter
---

# BILMA {region}: {title}

The published BILMA for the Spanish of region {region}, converted from Keras to transformers. The weights are the
authors' own, and like theirs, the model pads every text to {positions} tokens internally and gives the same results.

```python
from transformers import pipeline

pipe = pipeline("{task}", model="{name}", trust_remote_code=True)
pipe("{example}")
```

## Source

| | |
|---|---|
| weights | `{source}` |
| SHA-256 | `{digest}` |
| authors | Eric S. Tellez, Daniela Moctezuma, Sabino Miranda, Mario Graff and Guillermo Ruiz |
| paper | [Regionalized models for Spanish language variations based on Twitter](https://arxiv.org/abs/2110.06128) |
| code | PyPI package `bilma`, MIT licence, © 2022 Luis Guillermo Ruiz Velázquez |

The MIT licence is that of the authors' package; the weights file itself does not name one.
"""


def _card(model: BilmaPreTrainedModel, region: str, source: Source, digest: str, name: str) -> str:
    if isinstance(model, BilmaForSequenceClassification):
        task, example = "text-classification", "Vamos a comer unos tacos"
        title = "the emoji of a text" if model.config.num_labels == len(EMOJI_15) else "text classification"
    else:
        task, example, title = "fill-mask", "Vamos a comer unos [MASK]", "masked language model"
    return CARD.format(
        task=task,
        title=title,
        example=example,
        region=region.upper(),
        positions=model.config.max_position_embeddings,
        source=source.name,
        digest=digest,
        name=name,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="convert_keras", description="Convert a published BILMA checkpoint from Keras HDF5 to transformers."
    )
    parser.add_argument("--weights", required=True, help="a Keras .h5 file, or a Hub id with a tf_model.h5")
    parser.add_argument("--vocab", help="the authors' vocabulary file; may be omitted if the Hub id has one")
    parser.add_argument("--region", required=True, help=f"the region of the model: {', '.join(REGIONS)}")
    parser.add_argument("--output_dir", required=True, help="folder for the model, of either kind")
    parser.add_argument("--output_mlm_dir", help="folder for the MLM head that a classification file contains as well")
    parser.add_argument("--max_positions", type=int, help="row length, if the file does not contain it (default: 280)")
    parser.add_argument("--overwrite", action="store_true", help="replace the model in an output folder")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert, and return 0, or 2 with one line on stderr if the input is wrong."""
    args = parse_arguments(arguments)
    hub_logging.set_verbosity_error()  # our one line replaces its message at every retry
    transformers_logging.disable_progress_bar()
    try:
        convert(**vars(args))
    except (ValueError, OSError, SafetensorError) as error:
        print(f"convert_keras: error: {one_line(error)}", file=sys.stderr)
        return 2
    print(f"wrote {' and '.join(filter(None, (args.output_dir, args.output_mlm_dir)))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
