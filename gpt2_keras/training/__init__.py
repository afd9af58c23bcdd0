"""Training: the optimizer, schedule, loss and step that `GPT2LM.compile` and `fit` use.

FitAdamW          the default optimizer: its schedule follows the steps of each `fit`
make_optimizer    AdamW with GPT-2's constants
make_schedule     linear warm-up, then a cosine or linear decay
make_loss         cross entropy that skips padding

step.py has the options of a step and chooses tensorflow_step.py or jax_step.py, the two ways
to take one; batch_loss.py is common to both. `gpt2_keras.runs` is what `gpt2-keras train`
adds: a run directory, checkpoints, resuming.
"""

from gpt2_keras.data.batch_plan import IGNORED_TARGET
from gpt2_keras.training.fit_optimizer import FitAdamW
from gpt2_keras.training.loss import make_loss
from gpt2_keras.training.optimizer import AdamW, make_optimizer
from gpt2_keras.training.schedule import count_steps, make_schedule
from gpt2_keras.training.step import StepOptions, backend_steps, jit_by_default

__all__ = [
    "IGNORED_TARGET",
    "AdamW",
    "FitAdamW",
    "StepOptions",
    "backend_steps",
    "count_steps",
    "jit_by_default",
    "make_loss",
    "make_optimizer",
    "make_schedule",
]
