"""New special tokens for a trained model."""

import dataclasses
from collections.abc import Sequence

import keras
from keras import ops

from gpt2_keras.layers.initializers import uninitialized_weights
from gpt2_keras.model import GPT2Model


def add_special_tokens(model: GPT2Model, tokens: Sequence[str]) -> GPT2Model:
    """Returns a model with more special tokens, such as `"<|user|>"`.

    The embedding of each new token is the mean of the old embeddings. Its logit is then
    the mean of the old logits, its probability at most the average one, and the other
    probabilities hardly change. Training makes the new ones differ. Source: Hewitt,
    "Initializing New Word Embeddings for Pretrained Language Models" (2021).

    Args:
        model: A model with a tokenizer; it does not change.
        tokens: Texts that are no tokens yet. They get the next ids.

    Returns:
        A new model with a new tokenizer, not compiled.

    Raises:
        ValueError: If there is no tokenizer, a token exists already or is given twice,
            or LoRA is enabled.
    """
    if any("lora" in variable.name for variable in model.weights):
        raise ValueError(
            "The model has LoRA, and tokens are added before it is enabled. Call merge_lora first."
        )
    tokenizer = model.require_tokenizer().with_special_tokens(tokens)
    config = dataclasses.replace(model.config, vocab_size=tokenizer.vocab_size)
    with uninitialized_weights():
        larger = type(model)(config, tokenizer=tokenizer, dtype=model.dtype_policy)
    larger.generation_config = model.generation_config
    for old, new in zip(model.weights, larger.weights, strict=True):
        # A copy: on JAX both variables would hold one array, which training deletes.
        new.assign(_with_mean_rows(old, new.shape[0]) if old.shape != new.shape else ops.copy(old))
    return larger


def _with_mean_rows(table: keras.Variable, num_rows: int) -> keras.KerasTensor:
    """Returns a table with new rows at its end, each the mean of the old rows."""
    mean = ops.mean(ops.cast(table, "float32"), axis=0, keepdims=True)  # (1, width)
    new = ops.repeat(ops.cast(mean, table.dtype), num_rows - table.shape[0], axis=0)
    return ops.concatenate([ops.convert_to_tensor(table), new], axis=0)
