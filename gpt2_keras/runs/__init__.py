"""What `gpt2-keras train` adds to `fit`: a run directory, checkpoints, resuming, several devices.

train, resume      a run with a directory to keep it in
TrainingSettings   its settings, as `settings.json` keeps them
RunDirectory       the directory: `model/`, `checkpoints/`, `history.csv`, `logs/`, `loss.png`
loss_curve_text    a loss curve for a terminal

Read `run.py` first.
"""

from gpt2_keras.runs.distribution import layout_map, open_strategy
from gpt2_keras.runs.plots import draw_loss_curve, loss_curve_text
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
    "draw_loss_curve",
    "layout_map",
    "loss_curve_text",
    "open_strategy",
    "resume",
    "train",
]
