"""A larger vocabulary for a trained model."""

import dataclasses
from collections.abc import Sequence

import keras
from keras import ops

from gpt2_keras.layers.initializers import uninitialized_weights
from gpt2_keras.model import GPT2Model


def add_special_tokens(model: GPT2Model, tokens: Sequence[str]) -> GPT2Model:
    """Returns a model that knows more special tokens, such as `"<|user|>"`.

    The embedding of each begins as the mean of all there were. Its logit is then the
    mean of theirs, its probability at most the average one, and the other
    probabilities hardly change. Training tells the new ones apart. Source: Hewitt,
    "Initializing New Word Embeddings for Pretrained Language Models" (2021).

    Args:
        model: A model with a tokenizer; it stays as it is.
        tokens: Texts that are no tokens yet. They get the ids that come next.

    Returns:
        A new model with a new tokenizer, not compiled.

    Raises:
        ValueError: If there is no tokenizer, a token is known already or given
            twice, or LoRA is enabled.
    """
    if any("lora" in variable.name for variable in model.weights):
        raise ValueError(
            "The vocabulary grows before LoRA is enabled. Received: a model with LoRA. "
            "Call merge_lora first."
        )
    tokenizer = model.require_tokenizer().with_special_tokens(tokens)
    config = dataclasses.replace(model.config, vocab_size=tokenizer.vocab_size)
    with uninitialized_weights():
        larger = type(model)(config, tokenizer=tokenizer, dtype=model.dtype_policy)
    for old, new in zip(model.weights, larger.weights, strict=True):
        new.assign(_with_mean_rows(old, new.shape[0]) if old.shape != new.shape else old)
    return larger


def _with_mean_rows(table: keras.Variable, num_rows: int) -> keras.KerasTensor:
    """Returns a table with rows added, each the mean of all there were."""
    mean = ops.mean(ops.cast(table, "float32"), axis=0, keepdims=True)  # (1, width)
    new = ops.repeat(ops.cast(mean, table.dtype), num_rows - table.shape[0], axis=0)
    return ops.concatenate([ops.convert_to_tensor(table), new], axis=0)
