"""Floating-point operations of masked language modelling, counted from the shapes of the model."""

from collections.abc import Iterable

from modeling_bilma import BilmaConfig


def training_flops(config: BilmaConfig, lengths: Iterable[float], scored: Iterable[float]) -> float:
    """Count the operations of a training step that its loss depends on, so none for padding or unused states.

    A multiplication and an addition are two operations, and the backward pass costs twice the forward pass. In the
    last layer, queries, output and feed-forward are counted at scored positions only, as are the logits. Norms,
    softmax, activations, embeddings and the optimizer are left out: they are small beside the matrix products.

    Args:
        lengths: number of tokens of each text, or its average.
        scored: number of predicted tokens of each text.

    Returns:
        Floating-point operations.
    """
    hidden, width = config.hidden_size, config.num_attention_heads * config.head_dim
    keys_and_values = 2 * hidden * width
    rest = 2 * hidden * width + 2 * hidden * config.intermediate_size  # queries, attention output, feed-forward
    products = 0.0
    for length, predicted in zip(lengths, scored, strict=True):
        positions = [length] * (config.num_hidden_layers - 1) + [predicted]  # whose states each layer computes
        for count in positions:
            products += length * keys_and_values + count * (rest + 2 * length * width)
        products += predicted * hidden * config.vocab_size
    return 3 * 2 * products
