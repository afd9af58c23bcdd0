"""Plots a loss curve, as a PNG file and as a line of text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gpt2_keras.atomic import new_file
from gpt2_keras.validation import check_integer, check_number

BARS = "▁▂▃▄▅▆▇█"


def plot_loss_curve(
    path: str | Path,
    steps: Sequence[int],
    train_loss: Sequence[float],
    validation_loss: Sequence[float],
) -> None:
    """Writes a PNG file with the training and the validation loss over the steps.

    Args:
        path: The file; an existing one is replaced.
        steps: The steps of the evaluations.
        train_loss: The mean training loss since the evaluation before, in nats per token.
        validation_loss: The loss on the validation text, in nats per token.
    """
    # matplotlib.pyplot would choose a window system and keep every figure alive.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, train_loss, label="training", color="C0", marker=".")
    axes.plot(steps, validation_loss, label="validation", color="C1", marker=".")
    if len(validation_loss):
        best = int(np.argmin(validation_loss))
        label, point = f"best {validation_loss[best]:.3f}", (steps[best], validation_loss[best])
        axes.annotate(
            label, point, xytext=(0, 12), textcoords="offset points", ha="center", color="C1"
        )
    axes.set(xlabel="step", ylabel="loss (nats per token)", title="Loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(y=0.1)
    axes.grid(alpha=0.3)
    axes.legend()
    with new_file(path) as file:
        figure.savefig(file, format="png")


def loss_curve_text(values: Sequence[float], width: int = 60) -> str:
    """Returns a curve as one line of text: the first value, bars, the last value.

    Args:
        values: The losses in their order, at least one.
        width: Largest number of bars; more values are averaged in groups.

    Raises:
        TypeError: If `width` is not an integer.
        ValueError: If there is no value or one is not finite, or `width` is
            below 1.

    Example:
        >>> loss_curve_text([4.0, 3.0, 2.5, 2.0])
        '4.00 █▅▃▁ 2.00'
    """
    check_integer("width", width, minimum=1)
    if not len(values):
        raise ValueError("values is empty. Use at least one loss.")
    curve = np.array([check_number(f"values[{i}]", value) for i, value in enumerate(values)])
    means = np.array([group.mean() for group in np.array_split(curve, min(width, curve.size))])
    low, span = means.min(), float(np.ptp(means))
    levels = np.round((means - low) / (span or 1) * (len(BARS) - 1)).astype(int)
    bars = "".join(BARS[level] for level in levels)
    return f"{curve[0]:.2f} {bars} {curve[-1]:.2f}"
