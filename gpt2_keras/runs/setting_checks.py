"""The check of each field of `TrainingSettings`."""

from collections.abc import Callable
from functools import partial
from typing import Any

from gpt2_keras.config import SIZES
from gpt2_keras.data.shuffling import LARGEST_SEED
from gpt2_keras.runs.distribution import STRATEGIES
from gpt2_keras.training.schedule import SCHEDULES
from gpt2_keras.validation import (
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_text,
    check_texts,
)

DTYPES = ("float32", "mixed_bfloat16", "mixed_float16")


def _check_size(name: str, value: object) -> str:
    """Returns a published size; a hyphen stands for an underscore."""
    return check_choice(name, check_text(name, value).replace("-", "_"), SIZES)


def _check_prompts(name: str, value: object) -> tuple[str, ...]:
    """Returns texts, none or several; JSON has them as a list."""
    is_empty = isinstance(value, list | tuple) and not value
    return () if is_empty else tuple(check_texts(name, value))


_count = partial(check_integer, minimum=1)
_count_or_zero = partial(check_integer, minimum=0)
_open_fraction = partial(check_number, above=0, below=1)
_half_open_fraction = partial(check_number, minimum=0, below=1)

CHECKS: dict[str, Callable[[str, Any], object]] = {
    "data": check_text,
    "tokenizer": check_text,
    "init": check_text,
    "size": _check_size,
    "num_layers": _count,
    "num_heads": _count,
    "hidden_dim": _count,
    "context_length": _count,
    "dropout_rate": _half_open_fraction,
    "steps": _count,
    "batch_size": _count,
    "learning_rate": partial(check_number, above=0),
    "weight_decay": partial(check_number, minimum=0),
    "warmup_steps": _count_or_zero,
    "schedule": partial(check_choice, choices=SCHEDULES, advice="Use cosine if in doubt."),
    "final_learning_rate_ratio": _half_open_fraction,
    "beta_2": _half_open_fraction,
    "clip_norm": partial(check_number, minimum=0),
    "ema": _open_fraction,
    "seed": partial(check_integer, minimum=0, maximum=LARGEST_SEED),
    "evaluate_every": _count,
    "evaluation_batches": _count,
    "validation_fraction": _open_fraction,
    "patience": _count_or_zero,
    "checkpoint_every": _count,
    "checkpoint_minutes": partial(check_number, minimum=0),
    "keep_checkpoints": _count,
    "sample_prompts": _check_prompts,
    "peak_flops": partial(check_number, above=0),
    "accumulation_steps": _count,
    "remat": check_flag,
    "document_masking": check_flag,
    "strategy": partial(check_choice, choices=STRATEGIES, advice="Use auto if in doubt."),
    "model_parallel": _count,
    "dtype": partial(
        check_choice, choices=DTYPES, advice="Use mixed_bfloat16 on hardware that has it."
    ),
    "jit_compile": check_flag,
}
