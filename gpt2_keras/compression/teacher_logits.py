"""Stores a teacher's largest logits beside token shards, so that it need not run in training."""

import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from gpt2_keras.data.shards import DTYPES, TokenShards
from gpt2_keras.data.teacher_logits import (
    FOLDER,
    FORMAT,
    FORMAT_VERSION,
    IDS_NAME,
    INDEX_NAME,
    LOGITS_DTYPE,
    LOGITS_NAME,
    TeacherLogits,
    shard_hashes,
)
from gpt2_keras.generation.arrays import xp
from gpt2_keras.generation.compiled import call_cached
from gpt2_keras.generation.padding import left_padding_mask
from gpt2_keras.generation.specs import COUNTS, IDS
from gpt2_keras.model import GPT2Model
from gpt2_keras.training.distillation import TEMPERATURE
from gpt2_keras.validation import check_instance, check_integer, check_number

TOP_K = 32
UNFINISHED = f"{FOLDER}.unfinished"
_LEAST_SUM = 1e-30  # whose logarithm float32 and float16 have
_LARGEST_LOGITS = 2**25  # of a batch of windows: 128 MB in float32


def store_teacher_logits(
    shards: TokenShards,
    teacher: GPT2Model,
    *,
    top_k: int = TOP_K,
    temperature: float = TEMPERATURE,
    on_progress: Callable[[int, int], None] | None = None,
) -> TeacherLogits:
    """Computes a teacher's largest logits for each token of shards, and stores them beside these.

    They take `4 * top_k + 2` bytes per token, or `6 * top_k + 2` with a vocabulary of more than
    65,536. The teacher reads windows of its context, each half a window after the one before:
    every token but the first ones has at least half a context before it. What was interrupted
    is continued.

    Args:
        shards: The token shards.
        teacher: The model.
        top_k: Number of logits per token.
        temperature: That of the distillation, whose probabilities they are to give; above 0.
        on_progress: Called with the number of tokens done and of all.

    Returns:
        The logits, opened, for `data.make_dataset(…, teacher_logits=…)`.

    Raises:
        TypeError: If an argument is of a wrong type.
        ValueError: If the teacher has another tokenizer than the shards, `top_k` is below 1 or
            above its vocabulary, `temperature` is not above 0, or logits of another teacher,
            number or temperature are there.
        OSError: If a file cannot be written.
    """
    check_instance("shards", shards, TokenShards, "TokenShards")
    check_instance("teacher", teacher, GPT2Model, "a GPT-2 model")
    index = _index(shards, teacher, top_k, temperature)
    folder, unfinished = shards.directory / FOLDER, shards.directory / UNFINISHED
    if folder.exists():
        _check_same(folder, index)
        return TeacherLogits.open(shards)
    if (unfinished / INDEX_NAME).exists():
        _check_same(unfinished, index)
    unfinished.mkdir(exist_ok=True)
    (unfinished / INDEX_NAME).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    _compute(shards, teacher, top_k, temperature, unfinished, on_progress)
    unfinished.rename(folder)
    return TeacherLogits.open(shards)


def teacher_fingerprint(teacher: GPT2Model) -> str:
    """Returns a SHA-256 of a model's shape and weights."""
    digest = hashlib.sha256(repr(teacher.config).encode())
    for variable in teacher.weights:
        digest.update(ops.convert_to_numpy(ops.cast(variable.value, "float32")).tobytes())
    return digest.hexdigest()


def _index(
    shards: TokenShards, teacher: GPT2Model, top_k: int, temperature: float
) -> dict[str, Any]:
    """Returns the contents of `index.json`.

    Raises:
        ValueError: If the teacher does not fit the shards.
    """
    tokenizer, config = teacher.require_tokenizer(), teacher.config
    if tokenizer.fingerprint != shards.fingerprint:
        raise ValueError(
            f"The teacher has another tokenizer, with a vocabulary of {tokenizer.vocab_size}, than "
            f"the one that made {shards.directory}, with {shards.vocab_size}. Prepare the text "
            "with the tokenizer of the teacher."
        )
    advice = "The maximum is the vocabulary."
    check_integer("top_k", top_k, minimum=1, maximum=config.vocab_size, advice=advice)
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "top_k": top_k,
        "temperature": check_number("temperature", temperature, above=0),
        "num_tokens": len(shards),
        "vocab_size": config.vocab_size,
        "context_length": config.context_length,
        "teacher": teacher_fingerprint(teacher),
        "tokenizer": shards.fingerprint,
        "shards": shard_hashes(shards),
    }


def _check_same(folder: Path, index: dict[str, Any]) -> None:
    """Raises ValueError if a folder has other logits than those that are asked for."""
    text = (folder / INDEX_NAME).read_text(encoding="utf-8") if folder.is_dir() else ""
    if text != json.dumps(index, indent=2) + "\n":
        raise ValueError(
            f"{folder} has logits of another teacher, of other token shards or of other numbers "
            f"than top_k={index['top_k']}, temperature={index['temperature']}, and nothing is "
            "overwritten. Move it away first."
        )


def _compute(
    shards: TokenShards,
    teacher: GPT2Model,
    top_k: int,
    temperature: float,
    folder: Path,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Appends the logits of all tokens that are not in the files yet."""
    dtypes = {IDS_NAME: DTYPES[shards.index["dtype"]], LOGITS_NAME: LOGITS_DTYPE}
    columns = {IDS_NAME: top_k, LOGITS_NAME: top_k + 1}
    sizes = {name: dtype.itemsize * columns[name] for name, dtype in dtypes.items()}
    for name in dtypes:
        (folder / name).touch()
    # What was written last may be in one file and not in the other.
    done = min((folder / name).stat().st_size // size for name, size in sizes.items())
    with (folder / IDS_NAME).open("r+b") as ids_file, (folder / LOGITS_NAME).open("r+b") as logits:
        files = {IDS_NAME: ids_file, LOGITS_NAME: logits}
        for name, file in files.items():
            file.truncate(done * sizes[name])
            file.seek(0, 2)
        for rows, count in _batches(shards, teacher, done):
            found = _largest(teacher, rows, count, top_k, temperature)
            for (name, file), part in zip(files.items(), found, strict=True):
                file.write(part.astype(dtypes[name]).tobytes())
            done += len(rows) * count
            if on_progress is not None:
                on_progress(done, len(shards))


def _batches(
    shards: TokenShards, teacher: GPT2Model, done: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Yields windows, int32 (rows, time), and how many of their last tokens are next.

    Args:
        shards: The tokens.
        teacher: Its context is the length of a window.
        done: Number of tokens before the first to yield.
    """
    context, total = min(teacher.config.context_length, len(shards)), len(shards)
    new = max(1, context // 2)
    most = max(1, _LARGEST_LOGITS // (new * teacher.config.vocab_size))
    while done < total:
        if done < context:
            yield np.asarray(shards[:context], np.int32)[None], context - done
            done = context
        elif done + new > total:
            yield np.asarray(shards[total - context :], np.int32)[None], total - done
            done = total
        else:
            rows = min(most, (total - done) // new)
            ends = [done + (row + 1) * new for row in range(rows)]
            windows = [np.asarray(shards[end - context : end], np.int32) for end in ends]
            yield np.stack(windows), new
            done = ends[-1]


def _largest(
    teacher: GPT2Model, rows: np.ndarray, count: int, top_k: int, temperature: float
) -> tuple[Any, Any]:
    """Returns the ids of the largest logits of the last `count` tokens, and the logits.

    The logits, (rows, count, top_k + 1), are relative to the largest one, so that float16 has
    digits for them; the last is that of all other tokens together.
    """
    logits, ids = call_cached(
        teacher,
        f"the {top_k} largest logits of the last {count}",
        (temperature,),
        functools.partial(_top_k, teacher, count, top_k, temperature),
        [IDS, COUNTS],
        rows,
        np.full(len(rows), rows.shape[1], np.int32),
    )
    return ids, logits


def _top_k(
    teacher: GPT2Model, count: int, top_k: int, temperature: float, token_ids: Any, num_tokens: Any
) -> Any:
    """Tensors (batch, time), (batch,) → float (batch, count, top_k + 1), int32 (…, top_k)."""
    mask = left_padding_mask(num_tokens, xp.shape(token_ids)[1])
    logits = teacher(token_ids, padding_mask=mask, num_logits=count, training=False)
    largest, ids = ops.top_k(logits, top_k)
    logits, largest = logits - largest[..., :1], largest - largest[..., :1]
    rest = temperature * ops.log(_sum_of_others(logits, largest, temperature))
    return ops.concatenate([largest, rest], axis=-1), ops.cast(ids, "int32")


def _sum_of_others(logits: Any, largest: Any, temperature: float) -> Any:
    """Returns the sum of exponentials of all logits but the largest, (batch, count, 1).

    Added up by itself: the sum of all less that of the largest would have no digits left.
    """
    least = largest[..., -1:]
    terms = ops.where(logits < least, ops.exp(logits / temperature), 0.0)
    # Others may be as large as the least of the largest.
    equal = [
        ops.sum(ops.cast(each == least, "float32"), -1, keepdims=True) for each in (logits, largest)
    ]
    same = (equal[0] - equal[1]) * ops.exp(least / temperature)
    return ops.maximum(ops.sum(terms, axis=-1, keepdims=True) + same, _LEAST_SUM)
