"""Prints what a run will cost: `gpt2-keras train --dry-run`."""

import json
from typing import Any

from gpt2_keras.cli.table import in_columns


def print_estimate(settings: Any, *, as_json: bool) -> None:
    """Estimates a run and prints what it will cost.

    Args:
        settings: The `TrainingSettings` of the run.
        as_json: Whether to print JSON instead of a table.
    """
    from gpt2_keras import GPT2LM
    from gpt2_keras.runs.cost_estimate import estimate_run

    estimate = estimate_run(settings, model_class=GPT2LM)
    if as_json:
        print(json.dumps(estimate.to_dict(), indent=2))
        return
    print(in_columns(_rows(estimate), right=[1]))
    print(f"\nSpeed: {estimate.timing}. Nothing was written.")


def _rows(estimate: Any) -> list[tuple[str, str, str]]:
    """Returns a row for each figure: its name, its value, a remark."""
    from gpt2_keras.runs.mfu import format_flops

    rows = [("parameters", f"{estimate.num_parameters:,}", "")]
    rows += [(f"  {name}", f"{number:,}", "") for name, number in estimate.parameters.items()]
    rows.append(("memory, at least", _bytes(estimate.memory_bytes), ""))
    rows += [
        (f"  {name}", _bytes(number), "") for name, number in estimate.memory.items() if number
    ]
    peak = estimate.peak
    return [
        *rows,
        ("FLOPs per token", format_flops(estimate.flops_per_token), ""),
        ("FLOPs per step", format_flops(estimate.flops_per_step), ""),
        ("tokens per step", f"{estimate.tokens_per_step:,}", ""),
        ("steps", f"{estimate.steps:,}", ""),
        ("tokens", f"{estimate.tokens:,}", ""),
        ("epochs", f"{estimate.epochs:,.2f}", f"of {estimate.training_tokens:,} tokens"),
        ("tokens/s", f"{estimate.tokens_per_second:,.0f}", ""),
        ("mfu", f"{estimate.mfu:.1%}", f"of {peak}"),
        (
            "time",
            _duration(estimate.seconds),
            f"of which evaluations take {_duration(estimate.evaluation_seconds)}",
        ),
    ]


def _bytes(number: int) -> str:
    return f"{number / 1e9:,.2f} GB" if number >= 1e10 else f"{number / 1e6:,.1f} MB"


def _duration(seconds: float) -> str:
    """Returns a time in its two largest units."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours = minutes // 60
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
