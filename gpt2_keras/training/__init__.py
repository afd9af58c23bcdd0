"""What `GPT2LM.compile` and `fit` run: GPT-2's optimizer, schedule, loss and step.

make_optimizer    AdamW with GPT-2's constants
make_schedule     linear warm-up, then a cosine or linear decay
make_loss         cross entropy that skips padding

Read `step.py` first. `gpt2_keras.runs` is what `gpt2-keras train` adds: a run directory,
checkpoints, resuming.
"""

from gpt2_keras.data.instructions import IGNORED_TARGET
from gpt2_keras.training.loss import make_loss
from gpt2_keras.training.optimizer import AdamW, jit_by_default, make_optimizer
from gpt2_keras.training.schedule import count_steps, make_schedule, set_schedule
from gpt2_keras.training.step import StepOptions, step_of

__all__ = [
    "IGNORED_TARGET",
    "AdamW",
    "StepOptions",
    "count_steps",
    "jit_by_default",
    "make_loss",
    "make_optimizer",
    "make_schedule",
    "set_schedule",
    "step_of",
]
