"""The authors' side of the parity tests and of the benchmark: their package, in its own environment, with TensorFlow.

    .venv-parity/bin/python tests/parity/authors.py models FOLDER   # FOLDER/texts.json -> weights files and numbers
    .venv-parity/bin/python tests/parity/authors.py tokens FOLDER   # FOLDER/token_texts.json -> token_ids.npy
    .venv-parity/bin/python tests/parity/authors.py serve FOLDER    # weights file, then times of what is asked

It imports nothing of this repository, and the tests import nothing of it: they meet in FOLDER (and in a pipe).
"""

import json
import os
import platform
import resource
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import bilma
import numpy as np
import tensorflow as tf
from bilma import bilma_model

VOCABULARY = Path(bilma.__file__).parent / "resources" / "vocab_file_ALL.txt"
MAX_LENGTH = 280
PUBLISHED = {
    "num_enc": 2,
    "embed_dim": 512,
    "max_length": MAX_LENGTH,
    "num_heads": 4,
    "ff_dim": 512,
    "vocab_size": 29025,
}


class HubModel(tf.keras.Model):
    """What transformers' TensorFlow classes were to Keras: a model that holds the functional one as `model`.

    Their `save_pretrained` called `save_weights` on it.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, inputs):
        return self.model(inputs)


def randomise(model, seed):
    """Noise on every weight, so that no bias is zero and no norm is one."""
    rng = np.random.default_rng(seed)
    model.set_weights([w + rng.normal(0, 0.05, w.shape).astype(w.dtype) for w in model.get_weights()])


def save_whole(model, path, losses):
    """As the authors saved: with the state of a compiled Adam in the file."""
    model.compile(optimizer=tf.keras.optimizers.Adam(1e-5), loss=losses)
    model.optimizer.build(model.trainable_variables)
    model.save(path)


def mlm_model():
    # Another model first, so that the counters in the layers' names do not begin at zero.
    bilma_model.bilma(num_enc=3, embed_dim=8, max_length=6, num_heads=2, ff_dim=8, vocab_size=9)
    model = bilma_model.bilma(**PUBLISHED)
    randomise(model, seed=1)
    return model


def classification_model(mlm_file):
    """The Emoji-15 model: a loaded MLM model with two dense layers and the classes on the `[START]` state."""
    model = bilma_model.load(mlm_file)
    encoder = next(layer for layer in model.layers if layer.name.startswith("encoder"))
    dense = tf.keras.layers.Dense
    state = encoder.output[:, 0]
    state = dense(512, activation="relu", name="ex_1")(state)
    state = dense(512, activation="relu", name="ex_2")(state)
    emoji = dense(15, activation="softmax", name="cp")(state)
    model = tf.keras.Model(model.input, [model.output, emoji])
    randomise(model, seed=2)
    return model


def predict(model, ids):
    """(logits of real positions, one after the other; all other outputs), four texts at a time."""
    logits, others = [], []
    for start in range(0, len(ids), 4):
        rows = ids[start : start + 4]
        outputs = model(rows, training=False)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        logits.append(outputs[0].numpy()[rows != 0])
        others.append([output.numpy() for output in outputs[1:]])
    return np.concatenate(logits), [np.concatenate(output) for output in zip(*others, strict=True)]


def models(folder):
    texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
    shutil.copy(VOCABULARY, folder / "vocab.txt")
    ids = bilma_model.tokenizer(str(VOCABULARY), max_length=MAX_LENGTH).tokenize(texts)
    np.save(folder / "ids.npy", ids)

    mlm = mlm_model()
    save_whole(mlm, folder / "mlm.h5", bilma_model.loss_function())
    np.save(folder / "mlm_logits.npy", predict(mlm, ids)[0])
    np.save(folder / "mlm_logits_all_positions.npy", mlm(ids[:4], training=False).numpy())

    hub = HubModel(mlm)
    hub(ids[:1])
    hub.save_weights(folder / "tf_model.h5")

    classification = classification_model(folder / "mlm.h5")
    losses = [bilma_model.loss_function(), tf.keras.losses.SparseCategoricalCrossentropy()]
    save_whole(classification, folder / "classification.h5", losses)
    logits, (probabilities,) = predict(classification, ids)
    np.save(folder / "classification_mlm_logits.npy", logits)
    np.save(folder / "classification_probabilities.npy", probabilities)


def tokens(folder):
    texts = json.loads((folder / "token_texts.json").read_text(encoding="utf-8"))
    tokenizer = bilma_model.tokenizer(str(VOCABULARY), max_length=MAX_LENGTH)
    rows = [tokenizer.tokenize(texts[start : start + 1000]) for start in range(0, len(texts), 1000)]
    np.save(folder / "token_ids.npy", np.concatenate(rows).astype(np.uint16))


def masked_batch(ids, rng, share=0.15):
    """Inputs and targets as the authors train: a share of the tokens is hidden, and 0 marks what is not asked."""
    asked = (rng.random(ids.shape) < share) & (ids > 4)
    return np.where(asked, 4, ids), np.where(asked, ids, 0)


def serve(folder):
    """For each request on stdin, {"verb": ..., "texts": [...]} (JSON), one line of seconds by way to do it.

    Verbs: `logits` from texts, and `fill_mask` (the best five for the third token), each by both ways to call Keras;
    `tokenize`; `train`, one step on the texts.
    """
    shutil.copy(VOCABULARY, folder / "vocab.txt")
    model = mlm_model()
    model.save(folder / "mlm.h5")
    model.compile(
        optimizer=tf.keras.optimizers.Adam(1e-5),
        loss=bilma_model.loss_function(),
        metrics=[bilma_model.accuracy_function()],
    )
    tokenizer = bilma_model.tokenizer(str(VOCABULARY), max_length=MAX_LENGTH)
    rng = np.random.default_rng(0)
    ways_to_call = {
        "predict": lambda ids: model.predict(ids, verbose=0),
        "call": lambda ids: model(ids, training=False).numpy(),
    }

    def logits(texts, call):
        return call(tokenizer.tokenize(texts))

    def fill_mask(texts, call):
        ids = tokenizer.tokenize(texts)
        ids[:, 2] = tokenizer.MASK
        return tokenizer.top_k(call(ids), [2] * len(ids), k=5)

    def timed(work, *arguments):
        start = time.perf_counter()
        work(*arguments)
        return time.perf_counter() - start

    def answer(verb, texts):
        if verb == "train":
            inputs, targets = masked_batch(tokenizer.tokenize(texts), rng)
            return {"train": timed(model.train_on_batch, inputs, targets)}
        if verb == "tokenize":
            return {"tokenize": timed(tokenizer.tokenize, texts)}
        work = {"logits": logits, "fill_mask": fill_mask}[verb]
        return {name: timed(work, texts, call) for name, call in ways_to_call.items()}

    print("ready", flush=True)
    for line in sys.stdin:
        seconds = answer(**json.loads(line))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "peak_bytes": peak}), flush=True)


def main():
    verb, folder = sys.argv[1], Path(sys.argv[2])
    tf.keras.utils.set_random_seed(0)
    {"models": models, "tokens": tokens, "serve": serve}[verb](folder)
    versions = {name: version(name) for name in ("bilma", "tensorflow-cpu", "keras", "numpy")}
    (folder / "versions.json").write_text(json.dumps({"python": platform.python_version(), **versions}))


if __name__ == "__main__":
    main()
