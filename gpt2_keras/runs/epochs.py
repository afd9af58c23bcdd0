"""Divides a run into the epochs of `fit`, each of which ends with an evaluation."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras

from gpt2_keras.runs.progress import Progress
from gpt2_keras.runs.settings import TrainingSettings

if TYPE_CHECKING:
    from gpt2_keras.model import GPT2Model


def ends_of_epochs(settings: TrainingSettings) -> list[int]:
    """Returns the last step of each epoch."""
    every = settings.evaluate_every or settings.steps
    return [*range(every, settings.steps, every), settings.steps]


def remaining_epochs(epoch_ends: list[int], progress: Progress) -> Iterator[tuple[range, int]]:
    """Yields the remaining epochs in groups of equal length, as `fit` needs them.

    Yields:
        The epochs of a group, and the number of steps of each: 0 for an epoch that lacks
        only its evaluation.
    """
    starts = [0, *epoch_ends[:-1]]
    remaining = [
        (end - max(start, progress.step), epoch)
        for epoch, (start, end) in enumerate(zip(starts, epoch_ends, strict=True))
        if end > progress.step or end == progress.step > progress.evaluated_step
    ]
    for steps, group in itertools.groupby(remaining, key=lambda item: item[0]):
        epochs = [epoch for _, epoch in group]
        yield range(epochs[0], epochs[-1] + 1), steps


def evaluate_epoch(
    model: "GPT2Model",
    validation_data: Any,
    epoch: int,
    callbacks: Sequence[keras.callbacks.Callback],
    logs: Mapping[str, float],
) -> None:
    """Evaluates an epoch whose steps are done, and calls the callbacks as `fit` would.

    Args:
        model: The model, compiled.
        validation_data: As for `fit`.
        epoch: The epoch.
        callbacks: As for `fit`.
        logs: The logs of the epoch's last step.
    """
    container = keras.callbacks.CallbackList(list(callbacks), model=model)
    container.on_train_begin()
    container.on_epoch_begin(epoch)
    found = model.evaluate(validation_data, callbacks=container, verbose=0, return_dict=True)
    container.on_epoch_end(epoch, {**logs, **{f"val_{name}": found[name] for name in found}})
    container.on_train_end()
