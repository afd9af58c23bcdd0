"""Prompts with completions as batches whose targets are the completions alone."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from gpt2_keras.data.batch_plan import IGNORED_TARGET, BatchPlan, check_batch_numbers, check_flags
from gpt2_keras.data.batches import make_batches
from gpt2_keras.data.corpus_files import FilePath, check_input_format, check_paths, format_of
from gpt2_keras.data.rows import read_rows
from gpt2_keras.data.shuffling import epoch_keys, permute
from gpt2_keras.tokenizer.special_tokens import SpecialTokens
from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer
from gpt2_keras.validation import check_choice, check_instance, check_text

if TYPE_CHECKING:
    import tensorflow as tf

    from gpt2_keras.data.keras_batches import KerasBatches

TOO_LONG = ("error", "truncate", "skip")


def read_examples(
    paths: Iterable[FilePath],
    *,
    prompt_field: str = "prompt",
    completion_field: str = "completion",
    input_format: str | None = None,
) -> Iterator[dict[str, str]]:
    """Reads prompts and completions from the rows of files.

    Args:
        paths: JSONL, CSV or Parquet files; JSONL and CSV may be compressed.
        prompt_field: The field with the prompt.
        completion_field: The field with the completion.
        input_format: `"jsonl"`, `"csv"` or `"parquet"`. By default the endings
            of the files' names tell it, and all other files are JSONL.

    Returns:
        For each row a dict of `prompt` and `completion`.

    Raises:
        TypeError, FileNotFoundError, IsADirectoryError: If the paths are not files, or a
            name is not text.
        ValueError: If the format is unknown. While reading: if a file is not of its
            format, or a row lacks a field. It names file and line.
        ImportError: If pyarrow is needed and not installed.
    """
    check_input_format(input_format)
    check_text("prompt_field", prompt_field)
    check_text("completion_field", completion_field)
    fields = {"prompt_field": prompt_field, "completion_field": completion_field}
    formats = [(file, format_of(file, input_format)) for file in check_paths(paths)]
    return (
        {"prompt": prompt, "completion": completion}
        for file, found in formats
        for prompt, completion in read_rows(file, "jsonl" if found == "text" else found, fields)
    )


def make_instruction_dataset(
    examples: Iterable[Mapping[str, str | list[int]]],
    tokenizer: GPT2Tokenizer,
    *,
    context_length: int,
    batch_size: int,
    too_long: str = "error",
    seed: int = 0,
    shuffle: bool = True,
    repeat: bool = True,
    start_step: int = 0,
    drop_remainder: bool = False,
    shard: tuple[int, int] = (0, 1),
    special_tokens: SpecialTokens | None = None,
) -> "tf.data.Dataset | KerasBatches":
    """Returns batches of examples whose targets are the completions alone.

    A row is an example: its prompt, its completion and the id of
    `<|endoftext|>`, padded with that id. The targets of the prompt and of the
    padding are `IGNORED_TARGET`. Prompt and completion are encoded separately,
    as they are when a model generates. An empty prompt is `<|endoftext|>`. With
    `shuffle` every epoch has its own order. A batch depends only on the
    examples, the sizes, the seed and its number.

    The token ids of all examples are kept in memory, 4 bytes each.

    Args:
        examples: Mappings with the texts `prompt` and `completion`, such as those
            of `read_examples`; or with the ids of both.
        tokenizer: Encodes the texts.
        context_length: Number of inputs in a row, at least 1.
        batch_size: Number of rows in a batch, at least 1.
        too_long: What to do with an example of more than `context_length + 1`
            tokens: raise an `"error"`, `"truncate"` its end, or `"skip"` it.
        seed: Seed of the random order, 0 to 2³¹ - 1.
        shuffle: Whether the examples come in random order.
        repeat: Whether to go on without end, epoch after epoch.
        start_step: Number of batches to skip at the start.
        drop_remainder: Without `repeat`, whether to leave out the last batch if
            it is smaller than the others.
        shard: The part of each batch that this process reads, see `BatchPlan`.
        special_tokens: The special tokens in the texts that become their ids, see
            `GPT2Tokenizer.with_special_tokens_policy`; by default the tokenizer's policy.

    Returns:
        Pairs `(token_ids, targets)`, each int32 `(batch, context_length)`, delivered as
        by `make_dataset`. Their number is known.

    Raises:
        TypeError: If an example has no texts, or an argument is of a wrong type.
        ValueError: If there is no example, one is too long (if truncated: has no
            token of its completion left), a number is out of its range, or
            `start_step` is after the last batch.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["a"], vocab_size=257)
        >>> data = make_instruction_dataset(
        ...     [{"prompt": "a", "completion": "!"}], tokenizer, context_length=4, batch_size=1
        ... )
        >>> for token_ids, targets in data.take(1).as_numpy_iterator():
        ...     print(token_ids.tolist(), targets.tolist())
        [[64, 0, 256, 256]] [[0, 256, -100, -100]]
    """
    check_instance("examples", examples, Iterable, "a list of dicts of prompt and completion")
    check_instance("tokenizer", tokenizer, GPT2Tokenizer, "a GPT2Tokenizer")
    check_batch_numbers(context_length, batch_size, seed, start_step)
    check_flags(shuffle=shuffle, repeat=repeat, drop_remainder=drop_remainder)
    check_choice("too_long", too_long, TOO_LONG)
    tokenizer = tokenizer.with_special_tokens_policy(special_tokens)
    encoded = [
        one
        for index, example in enumerate(examples)
        if (one := _encode(index, example, tokenizer, context_length, too_long)) is not None
    ]
    if not encoded:
        raise ValueError(
            f"No example is left, with context_length={context_length} and "
            f"too_long={too_long!r}. Use at least one that fits, or a longer context."
        )
    rows = _Examples(
        np.concatenate([ids for ids, _ in encoded]),
        np.cumsum([0, *(len(ids) for ids, _ in encoded)]),
        np.array([size for _, size in encoded]),
        context_length,
        tokenizer.end_token_id,
        seed if shuffle else None,
    )
    plan = BatchPlan(
        rows.read,
        lambda pairs: (pairs[..., :context_length], pairs[..., context_length:]),
        width=2 * context_length,
        num_rows=len(encoded),
        batch_size=batch_size,
        repeat=repeat,
        start_step=start_step,
        drop_remainder=drop_remainder,
        shard=shard,
    )
    return make_batches(plan)


def _encode(
    index: int,
    example: Mapping[str, str | list[int]],
    tokenizer: GPT2Tokenizer,
    context_length: int,
    too_long: str,
) -> tuple[np.ndarray, int] | None:
    """Returns the ids of an example, int32 `(n,)`, and the number of those of the prompt."""
    check_instance(f"examples[{index}]", example, Mapping, "a dict of prompt and completion")
    texts = [example.get(name) for name in ("prompt", "completion")]
    encoded = [ids for ids in texts if isinstance(ids, list)]
    if not encoded and not all(isinstance(text, str) for text in texts):
        raise TypeError(
            f"examples[{index}]={dict(example)!r:.200} lacks a text as its prompt or completion. "
            "Rename its fields, or name them to `read_examples`."
        )
    if len(encoded) != len(texts):
        encoded = tokenizer.encode([str(text) for text in texts])
    prompt, completion = encoded
    prompt = prompt or [tokenizer.end_token_id]
    ids = [*prompt, *completion, tokenizer.end_token_id]
    if len(ids) <= context_length + 1:
        return np.array(ids, np.int32), len(prompt)
    if too_long == "skip":
        return None
    if too_long == "error" or len(prompt) > context_length:
        raise ValueError(
            f"examples[{index}] has {len(ids)} tokens, {len(prompt)} of them the prompt's, too "
            f"many for context_length={context_length}. "
            "Use a longer context, or too_long='skip' (or 'truncate' if the prompt fits)."
        )
    return np.array(ids[: context_length + 1], np.int32), len(prompt)


@dataclasses.dataclass(frozen=True)
class _Examples:
    """The ids of all examples, and their order."""

    ids: np.ndarray  # int32 (tokens,)
    bounds: np.ndarray  # int64 (examples + 1,)
    prompt_sizes: np.ndarray  # int64 (examples,)
    context_length: int
    end_token_id: int
    seed: int | None  # None for the order they were given in

    def read(self, count: np.ndarray) -> np.ndarray:
        """Reads inputs and targets beside each other: int64 `(n,)` → int32 `(n, 2 * time)`."""
        time, num_examples = self.context_length, len(self.prompt_sizes)
        epochs, numbers = np.divmod(count, num_examples)
        if self.seed is not None:
            numbers = permute(numbers, epoch_keys(self.seed, epochs), num_examples)
        rows = np.full((len(count), 2 * time), IGNORED_TARGET, np.int32)
        rows[:, :time] = self.end_token_id
        for row, number in zip(rows, numbers.tolist(), strict=True):
            ids = self.ids[self.bounds[number] : self.bounds[number + 1]]
            prompt_size = self.prompt_sizes[number]
            row[: len(ids) - 1] = ids[:-1]
            row[time + prompt_size - 1 : time + len(ids) - 1] = ids[prompt_size:]
        return rows
