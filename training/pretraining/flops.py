"""Floating-point operations of masked language modelling, counted by hand from the shapes of the model."""

from collections.abc import Iterable

from modeling_bilma import BilmaConfig


def training_flops(config: BilmaConfig, lengths: Iterable[float], scored: Iterable[float]) -> float:
    """Operations of one training step that enter its loss: nothing for padding, nor for states nobody scores.

    A product and a sum are two operations, and the gradients cost twice what the forward pass does. In the last layer
    queries, output and feed-forward are counted at scored positions only, as are the logits. Left out are sums
    that are small beside the matrix products: norms, softmax, activations, embeddings, the optimizer.

    Args:
        lengths: tokens of each text, or what they are on average.
        scored: how many of them are predicted.
    """
    hidden, width = config.hidden_size, config.num_attention_heads * config.head_dim
    keys_and_values = 2 * hidden * width
    rest = 2 * hidden * width + 2 * hidden * config.intermediate_size  # queries, attention output, feed-forward
    products = 0
    for length, asked in zip(lengths, scored, strict=True):
        positions = [length] * (config.num_hidden_layers - 1) + [asked]  # whose states each layer computes
        for count in positions:
            products += length * keys_and_values + count * (rest + 2 * length * width)
        products += asked * hidden * config.vocab_size
    return 3 * 2 * products
