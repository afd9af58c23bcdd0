"""A student: some layers of its teacher."""

import itertools
from collections.abc import Sequence

from gpt2_keras.compression.copies import (
    check_source,
    copy_all_but_blocks,
    copy_weights,
    uninitialized_copy,
)
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_instance, check_integer


def make_student(
    teacher: GPT2Model, layers: int | Sequence[int], *, dropout_rate: float | None = None
) -> GPT2Model:
    """Returns a model of some layers of a teacher, and its embeddings and last norm.

    DistilGPT2 has the layers 0, 2, 4, 7, 9 and 11 of 12: `scripts/extract.py` in
    huggingface/transformers-research-projects distillation.

    Args:
        teacher: The model; it does not change.
        layers: The layers to keep, from 0, in the order of the teacher; or how many, which are
            then evenly spaced, the first and the last among them.
        dropout_rate: As in `GPT2Config`; by default the teacher's.

    Returns:
        A new model of the teacher's class, tokenizer and dtype, not compiled.

    Raises:
        TypeError: If `teacher` is no model, or a layer no integer.
        ValueError: If the teacher lacks a layer, or `layers` is empty, not in order or has one
            twice; if LoRA is enabled.

    Example:
        >>> teacher = GPT2LM(GPT2Config(vocab_size=9, context_length=4, num_layers=12,
        ...                             num_heads=1, hidden_dim=4))
        >>> student = make_student(teacher, layers=[0, 2, 4, 7, 9, 11])
        >>> student.compile(distill_from=teacher)
        >>> student.config.num_layers
        6
    """
    check_source("teacher", teacher)
    kept = chosen_layers(layers, teacher.config.num_layers)
    dropout_rate = teacher.config.dropout_rate if dropout_rate is None else dropout_rate
    student = uninitialized_copy(teacher, num_layers=len(kept), dropout_rate=dropout_rate)
    copy_all_but_blocks(teacher, student)
    for layer, block in zip(kept, student.decoder.blocks, strict=True):
        copy_weights(teacher.decoder.blocks[layer], block)
    return student


def chosen_layers(layers: int | Sequence[int], num_layers: int) -> list[int]:
    """Returns the layers to keep of a model of `num_layers`.

    Example:
        >>> chosen_layers(6, 12)
        [0, 2, 4, 7, 9, 11]
    """
    advice = f"The model has num_layers={num_layers}."
    if not isinstance(layers, list | tuple | range):
        count = check_integer("layers", layers, minimum=1, maximum=num_layers, advice=advice)
        return evenly_spaced(count, num_layers)
    check_instance("layers", layers, (list, tuple, range), "a list of layers")
    kept = [
        check_integer(f"layers[{index}]", layer, minimum=0, maximum=num_layers - 1, advice=advice)
        for index, layer in enumerate(layers)
    ]
    if not kept or any(after <= before for before, after in itertools.pairwise(kept)):
        raise ValueError(
            f"layers={list(layers)!r} {'are not in order, each once' if kept else 'is empty'}. "
            f"Name layers of 0 to {num_layers - 1}, such as layers="
            f"{evenly_spaced(max(1, num_layers // 2), num_layers)}."
        )
    return kept


def evenly_spaced(count: int, num_layers: int) -> list[int]:
    """Returns `count` of the layers, the first and the last among them if there are two."""
    if count == 1:
        return [0]
    # Halves away from zero, as DistilGPT2's layers are, and not to even numbers.
    return [int(index * (num_layers - 1) / (count - 1) + 0.5) for index in range(count)]
