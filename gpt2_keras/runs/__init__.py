"""What `gpt2-keras train` adds to `fit`: a run directory, checkpoints, resuming, several devices.

train, resume      a run from its beginning, or from its last checkpoint
TrainingSettings   the settings of a run, `settings.json`
RunDirectory       its directory: `model/`, `checkpoints/`, `history.csv`, `logs/`, `loss.png`
open_strategy      the devices to train on
loss_curve_text    a loss curve for a terminal

Read `run.py` first.
"""

from gpt2_keras.runs.distribution import layout_map, open_strategy
from gpt2_keras.runs.plots import loss_curve_text, plot_loss_curve
from gpt2_keras.runs.progress import Progress
from gpt2_keras.runs.run import resume, train
from gpt2_keras.runs.run_directory import RunDirectory
from gpt2_keras.runs.settings import TrainingSettings
from gpt2_keras.runs.signals import Stopped

__all__ = [
    "Progress",
    "RunDirectory",
    "Stopped",
    "TrainingSettings",
    "layout_map",
    "loss_curve_text",
    "open_strategy",
    "plot_loss_curve",
    "resume",
    "train",
]
