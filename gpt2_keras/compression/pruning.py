"""Pruning of whole structures, which every export and every other system keeps.

The formats of GPT-2 have one number of heads and one feed-forward width for all layers. So what
can be left out is a layer, as many neurons of each layer, or a token.
"""

from collections.abc import Callable, Sequence

import numpy as np
from keras import ops

from gpt2_keras.compression.copies import (
    check_source,
    copy_all_but_blocks,
    copy_weights,
    uninitialized_copy,
)
from gpt2_keras.compression.importance import Importance, measure_importance
from gpt2_keras.compression.student import chosen_layers, make_student
from gpt2_keras.compression.vocabulary import trim_vocabulary
from gpt2_keras.data.given_texts import Text
from gpt2_keras.layers.feed_forward import FeedForward
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_integer


def prune(
    model: GPT2Model,
    *,
    layers: int | Sequence[int] | None = None,
    intermediate_dim: int | None = None,
    vocabulary: Text | Sequence[Text] | None = None,
    texts: Text | Sequence[Text] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> GPT2Model:
    """Returns a smaller model: fewer layers, narrower feed-forward networks, fewer tokens.

    It says other things than the model until it is trained, best as a student of it:
    `compile(distill_from=model)`, unless its vocabulary is smaller. A smaller vocabulary alone
    changes the probabilities only by those of the tokens left out.

    Args:
        model: The model; it does not change.
        layers: The layers to keep, from 0, or how many: with `texts` those that change the most,
            else evenly spaced ones.
        intermediate_dim: Number of neurons to keep in each feed-forward network: with `texts`
            those of the largest `Importance`, and biases stand for the means of the others;
            else those of the largest weights.
        vocabulary: Texts whose tokens are kept, with the bytes and the special tokens: they have
            as many tokens as before. Other texts have more.
        texts: Texts to measure the importance on, such as those to train on.
        on_progress: Called with the number of tokens measured and of all.

    Returns:
        A new model of the same class and dtype, not compiled.

    Raises:
        TypeError: If an argument is of a wrong type.
        ValueError: If nothing is to be pruned; there is no such layer, or fewer neurons; a text
            has no token; the model has no tokenizer where a text is given, or LoRA.
        FileNotFoundError: If a file does not exist.

    Example:
        >>> model = GPT2LM(GPT2Config(vocab_size=9, context_length=4, num_layers=4,
        ...                           num_heads=1, hidden_dim=4))
        >>> smaller = prune(model, layers=[0, 3], intermediate_dim=8)
        >>> smaller.config.num_layers, smaller.config.intermediate_dim
        (2, 8)
    """
    check_source("model", model)
    if layers is None and intermediate_dim is None and vocabulary is None:
        raise ValueError("There is nothing to prune. Use layers, intermediate_dim or vocabulary.")
    if layers is not None:
        chosen_layers(layers, model.config.num_layers)  # raises an error before the long work
    if intermediate_dim is not None:
        width = model.config.feed_forward_dim
        advice = f"The model has intermediate_dim={width}."
        check_integer("intermediate_dim", intermediate_dim, minimum=1, maximum=width, advice=advice)
    if vocabulary is not None:
        model = trim_vocabulary(model, vocabulary)
    structural = layers is not None or intermediate_dim is not None
    importance = None
    if texts is not None and structural:
        importance = measure_importance(model, texts, on_progress=on_progress)
    kept = list(range(model.config.num_layers))
    if layers is not None:
        kept = _layers_to_keep(layers, model.config.num_layers, importance)
        model = make_student(model, kept)
    if intermediate_dim is not None:
        model = _with_fewer_neurons(model, intermediate_dim, importance, kept)
    return model


def _layers_to_keep(
    layers: int | Sequence[int], num_layers: int, importance: Importance | None
) -> list[int]:
    """Returns the layers to keep, the most important ones if only their number is given."""
    if importance is None or not isinstance(layers, int):
        return chosen_layers(layers, num_layers)
    return sorted(np.argsort(-importance.layers, kind="stable")[:layers].tolist())


def _with_fewer_neurons(
    model: GPT2Model, count: int, importance: Importance | None, layers: Sequence[int]
) -> GPT2Model:
    """Returns a model with `count` neurons in each feed-forward network.

    Args:
        model: The model.
        count: Number of neurons.
        importance: Measured on the model that had all layers, or None.
        layers: The number that each layer of the model had there.
    """
    narrower = uninitialized_copy(model, intermediate_dim=count)
    copy_all_but_blocks(model, narrower)
    pairs = zip(model.decoder.blocks, narrower.decoder.blocks, strict=True)
    for layer, (old, new) in zip(layers, pairs, strict=True):
        for name in ("attention_norm", "attention", "feed_forward_norm"):
            copy_weights(getattr(old, name), getattr(new, name))
        scores = None if importance is None else importance.neurons[layer]
        means = None if importance is None else importance.neuron_means[layer]
        _narrow(old.feed_forward, new.feed_forward, scores, means)
    return narrower


def _narrow(
    old: FeedForward, new: FeedForward, scores: np.ndarray | None, means: np.ndarray | None
) -> None:
    """Sets the weights of a feed-forward network to those of the best neurons of another."""
    expand, project = old.expand.merged_kernel(), old.project.merged_kernel()
    if scores is None:  # (neurons, width) and (width, neurons)
        scores = np.linalg.norm(expand, axis=1) * np.linalg.norm(project, axis=0)
    keeps = np.zeros(len(scores), bool)
    keeps[np.argsort(-scores, kind="stable")[: new.intermediate_dim]] = True
    bias = ops.convert_to_numpy(old.project.bias.value).astype("float32")
    if means is not None:
        bias = bias + project[:, ~keeps] @ means[~keeps]
    new.expand.kernel.assign(expand[keeps])
    new.expand.bias.assign(ops.convert_to_numpy(old.expand.bias.value)[keeps])
    new.project.kernel.assign(project[:, keeps])
    new.project.bias.assign(bias)
