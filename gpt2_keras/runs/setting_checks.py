"""The check of each field of `TrainingSettings`."""

from collections.abc import Callable
from functools import partial
from typing import Any

from gpt2_keras.applications.task_rows import TRAINED_TASKS
from gpt2_keras.config import SIZES
from gpt2_keras.data.shuffling import LARGEST_SEED
from gpt2_keras.layers.remat import check_remat
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


def _check_layers(name: str, value: object) -> int | tuple[int, ...]:
    """Returns a number of layers, or a list of them, which JSON has as a list."""
    if not isinstance(value, list | tuple):
        return check_integer(name, value, minimum=1, advice="Or name a list of layers.")
    return tuple(
        check_integer(f"{name}[{index}]", layer, minimum=0) for index, layer in enumerate(value)
    )


_count = partial(check_integer, minimum=1)
_DTYPE_ADVICE = "Use mixed_bfloat16 on hardware that has it."

_FIELDS_BY_CHECK: list[tuple[Callable[[str, Any], object], list[str]]] = [
    (check_text, ["data", "tokenizer", "init", "teacher"]),
    (_check_layers, ["student_layers"]),
    (_check_size, ["size"]),
    (partial(check_choice, choices=TRAINED_TASKS), ["task"]),
    (_count, ["num_layers", "num_heads", "hidden_dim", "context_length"]),
    (_count, ["steps", "batch_size", "accumulation_steps", "model_parallel"]),
    (_count, ["evaluate_every", "evaluation_batches", "checkpoint_every", "keep_checkpoints"]),
    (partial(check_integer, minimum=0), ["warmup_steps", "patience"]),
    (partial(check_integer, minimum=0, maximum=LARGEST_SEED), ["seed"]),
    (partial(check_number, above=0), ["learning_rate", "peak_flops", "temperature"]),
    (partial(check_number, minimum=0), ["alpha_ce", "alpha_clm", "alpha_cos"]),
    (partial(check_number, minimum=0), ["weight_decay", "clip_norm", "checkpoint_minutes"]),
    (partial(check_number, minimum=0, below=1), ["dropout_rate", "beta_2"]),
    (partial(check_number, minimum=0, below=1), ["final_learning_rate_ratio"]),
    (partial(check_number, above=0, below=1), ["ema", "validation_fraction"]),
    (check_flag, ["document_masking", "jit_compile", "teacher_logits"]),
    (check_remat, ["remat"]),
    (partial(check_choice, choices=SCHEDULES, advice="Use cosine if in doubt."), ["schedule"]),
    (partial(check_choice, choices=STRATEGIES, advice="Use auto if in doubt."), ["strategy"]),
    (partial(check_choice, choices=DTYPES, advice=_DTYPE_ADVICE), ["dtype"]),
    (_check_prompts, ["sample_prompts"]),
]
CHECKS = {name: check for check, names in _FIELDS_BY_CHECK for name in names}
