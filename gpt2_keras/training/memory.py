"""Where the numbers of a model are, and what training them holds in memory."""

from gpt2_keras.config import GPT2Config
from gpt2_keras.training.loss import CHUNK_BYTES


def parameters_by_part(config: GPT2Config) -> dict[str, int]:
    """Returns how many trained numbers each part of a model has.

    Example:
        >>> sum(parameters_by_part(GPT2Config.gpt2()).values())
        124439808
    """
    width, inner, layers = config.hidden_dim, config.feed_forward_dim, config.num_layers
    learned = config.position_embedding == "learned"
    return {
        "token embeddings": config.vocab_size * width,
        "positions": config.context_length * width if learned else 0,
        "attention": layers * (4 * width * width + 4 * width),
        "feed-forward": layers * (2 * width * inner + inner + width),
        "norms": layers * 4 * width + 2 * width,
    }


def estimate_memory(
    config: GPT2Config,
    batch_size: int,
    dtype: str,
    *,
    averages: bool = False,
    accumulation_steps: int = 1,
    recompute: bool = False,
) -> dict[str, int]:
    """Returns how many bytes a training step needs at least, by what they hold.

    Weights, gradients and AdamW's two moments are float32, 4 bytes a weight each;
    mixed precision adds copies in 16 bits. What a block keeps for the backward pass
    is 17 H + 2.5 A T numbers a token (width H, A heads, T tokens of context) in the
    type the model computes in. Source: equation 1 of "Reducing Activation
    Recomputation in Large Transformer Models" (Korthikanti et al., 2022), which
    counts 34 H + 5 A T bytes for 16-bit numbers. With `recompute` that is so of one
    block at a time; the others keep their input. A batch in parts keeps a part's
    activations, and its gradients beside the sum of all. Logits are computed some
    rows at a time, see `cross_entropy_sum`: they, their slopes and the softmax.
    A backend needs more for itself, and for what it has not yet let go.

    Args:
        config: The shape of the model.
        batch_size: Windows in a batch.
        dtype: The Keras dtype policy.
        averages: Whether averages of the weights are kept.
        accumulation_steps, recompute: As for `GPT2LM.compile`.

    Example:
        >>> estimate_memory(GPT2Config.gpt2(), 1, "float32")["weights"] / 4
        124439808.0
    """
    weights = config.num_parameters
    tokens = -(-batch_size // accumulation_steps) * config.context_length
    is_mixed = dtype != "float32"
    kept = 17 * config.hidden_dim + 2.5 * config.num_heads * config.context_length
    layers = config.num_layers
    numbers = kept + layers * config.hidden_dim if recompute else layers * kept  # a token
    logits = min(CHUNK_BYTES, 4 * tokens * config.vocab_size)
    return {
        "weights": 4 * weights,
        "gradients": 4 * weights * (1 if accumulation_steps == 1 else 2),
        "moments": 8 * weights,
        "averages": 4 * weights if averages else 0,
        "copies in 16 bits": 2 * weights if is_mixed else 0,
        "activations": round(tokens * numbers * (2 if is_mixed else 4)),
        "logits": 3 * logits,
    }
