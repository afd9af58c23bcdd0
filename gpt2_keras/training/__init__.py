"""Training: GPT-2's optimizer, schedule and loss, and runs that keep what they reach.

make_optimizer     AdamW with GPT-2's constants
make_loss          cross entropy that skips padding
train, resume      a run with a directory to keep it in
TrainingSettings   what a run is told
loss_curve_text    a loss curve for a terminal

`GPT2LM.compile()` and `fit()` use the first two; read `optimizer.py` first.
"""

from gpt2_keras.data.targets import IGNORED_TARGET
from gpt2_keras.training.compilation import jit_by_default
from gpt2_keras.training.loss import make_loss
from gpt2_keras.training.optimizer import AdamW, make_optimizer
from gpt2_keras.training.options import StepOptions
from gpt2_keras.training.picture import draw_loss_curve, loss_curve_text
from gpt2_keras.training.progress import Progress
from gpt2_keras.training.run import resume, train
from gpt2_keras.training.run_directory import RunDirectory
from gpt2_keras.training.schedule import count_steps, make_schedule, set_schedule
from gpt2_keras.training.settings import TrainingSettings
from gpt2_keras.training.step import step_of
from gpt2_keras.training.stopping import Stopped
from gpt2_keras.training.strategy import layout_map, open_strategy

__all__ = [
    "IGNORED_TARGET",
    "AdamW",
    "Progress",
    "RunDirectory",
    "StepOptions",
    "Stopped",
    "TrainingSettings",
    "count_steps",
    "draw_loss_curve",
    "jit_by_default",
    "layout_map",
    "loss_curve_text",
    "make_loss",
    "make_optimizer",
    "make_schedule",
    "open_strategy",
    "resume",
    "set_schedule",
    "step_of",
    "train",
]
