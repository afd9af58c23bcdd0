"""A training run: from token shards to a run directory."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from gpt2_keras import checkpoints
from gpt2_keras.atomic import refuse_taken
from gpt2_keras.data import TokenShards
from gpt2_keras.runs.callbacks import RequireFiniteLoss
from gpt2_keras.runs.checkpoint_callback import Recorder
from gpt2_keras.runs.distribution import Strategy, open_strategy
from gpt2_keras.runs.ema import AverageWeights
from gpt2_keras.runs.monitoring import Display
from gpt2_keras.runs.progress import Progress
from gpt2_keras.runs.run_directory import FollowedRunDirectory, RunDirectory
from gpt2_keras.runs.samples import check_can_sample
from gpt2_keras.runs.settings import TrainingSettings
from gpt2_keras.runs.setup import (
    compile_model,
    make_datasets,
    new_model,
    open_data,
    resolve,
)
from gpt2_keras.runs.signals import StopSignals

if TYPE_CHECKING:
    from gpt2_keras.model import GPT2Model


def train(
    settings: TrainingSettings,
    out: str | Path,
    *,
    model_class: "type[GPT2Model]",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
) -> "GPT2Model":
    """Trains a model and keeps everything in a run directory.

    The directory gets the state of the training before each evaluation and
    between them, and with each evaluation the best model so far, `history.csv`,
    the loss curve and TensorBoard's logs. Whatever ends the training early, an
    error, `kill -9` or a lost machine, that is kept, and `resume` goes on from
    there. SIGINT (Ctrl-C) and SIGTERM end it after the current step, which is
    saved; a second one ends it at once.

    Of several processes, each calls this with the same arguments; one of them, the
    chief, writes the directory, which all must be able to read.

    Sets the random seeds of Python, NumPy and the backend.

    Args:
        settings: What to train on and how.
        out: The run directory, new or empty.
        model_class: `GPT2LM` or a subclass.
        callbacks: Further Keras callbacks.
        verbose: As for `keras.Model.fit`.

    Returns:
        The best model, by validation loss.

    Raises:
        FileExistsError: If `out` holds something.
        FileNotFoundError: If a directory of the settings is not there.
        ValueError: If the vocabularies of the shards, the tokenizer and `init`
            are not one, there are too few tokens, the loss becomes NaN, or the
            devices do not allow the strategy.
        OSError: If a file cannot be written.
        Stopped: After SIGINT or SIGTERM; a `KeyboardInterrupt`.
    """
    strategy = open_strategy(settings.strategy, settings.model_parallel)
    run = _directory(out, strategy)
    if strategy.is_chief:
        refuse_taken(run.path)
    check_can_sample(settings.sample_prompts)
    shards, tokenizer = open_data(settings)
    keras.utils.set_random_seed(settings.seed)
    with strategy.building():
        model = new_model(model_class, settings, tokenizer)
        settings = resolve(settings, model)
        # Too few tokens are found out now.
        make_datasets(settings, shards, model, 0, strategy)
        compile_model(model, settings)
    run.create(settings)
    return _run(model, settings, shards, run, Progress(), callbacks, verbose, strategy)


def resume(
    out: str | Path,
    *,
    model_class: "type[GPT2Model]",
    steps: int | None = None,
    skip_batches: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
) -> "GPT2Model":
    """Continues a run from its last checkpoint, as if it had never stopped.

    Weights, optimizer, schedule, random state, position in the data and the
    running sums of the loss are those of the checkpoint; the settings are those
    of the run. A run that is over is only loaded. A checkpoint whose files are
    damaged is removed with a warning, and the one before it is used.

    Args:
        out: The run directory.
        model_class: `GPT2LM` or a subclass.
        steps: A larger number of steps than the run began with; only if its
            schedule is `"constant"`, as another one depends on the number.
        skip_batches: Number of batches to leave out of the data, after a loss
            that became NaN. PaLM (Chowdhery et al., 2022, section 5.1) left out
            some 200 to 500 after a spike of the loss.
        callbacks, verbose: As for `train`.

    Returns:
        The best model, by validation loss.

    Raises:
        FileNotFoundError: If `out` is no run directory.
        ValueError: If no checkpoint is whole, or `steps` does not fit.
        ValueError, OSError, Stopped: As for `train`.
    """
    settings = RunDirectory(Path(out)).settings()
    if steps is not None:
        settings = settings.extended(steps)
    strategy = open_strategy(settings.strategy, settings.model_parallel)
    run = _directory(out, strategy)
    if strategy.is_chief:
        run.recover()
        run.last_whole_checkpoint()  # removes damaged ones, before others look
    strategy.wait()
    checkpoint = run.last_whole_checkpoint()
    progress = Progress() if checkpoint is None else checkpoint.progress
    if progress.is_over(settings):
        return checkpoints.load(run.model, model_class=model_class)
    shards, tokenizer = open_data(settings)
    keras.utils.set_random_seed(settings.seed)
    with strategy.building():
        if checkpoint is None:
            model = new_model(model_class, settings, tokenizer)
            compile_model(model, settings)
        else:
            model = model_class(checkpoint.config, tokenizer=tokenizer, dtype=settings.dtype)
            compile_model(model, settings)
            checkpoint.restore(model)
    if steps is not None:
        run.change_settings(settings)
    progress = dataclasses.replace(progress, skipped=progress.skipped + skip_batches)
    return _run(model, settings, shards, run, progress, callbacks, verbose, strategy)


def _directory(out: str | Path, strategy: Strategy) -> RunDirectory:
    """Returns the run directory, which one process of several writes."""
    return (RunDirectory if strategy.is_chief else FollowedRunDirectory)(Path(out))


def _run(
    model: "GPT2Model",
    settings: TrainingSettings,
    shards: TokenShards,
    run: RunDirectory,
    progress: Progress,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: int | str,
    strategy: Strategy,
) -> "GPT2Model":
    """Trains from where `progress` ends, and returns the best model."""
    ends = _ends_of_epochs(settings)
    averages = AverageWeights() if settings.ema else None
    sums = None
    if progress.step > progress.evaluated:
        sums = [ops.convert_to_numpy(variable).copy() for variable in model.metrics_variables]
    verbose = verbose if strategy.is_chief else 0
    display = Display(
        model, settings, run, averages, verbose=verbose != 0, num_devices=strategy.num_devices
    )
    with StopSignals(verbose=verbose != 0) as signals, strategy.running():
        recorder = Recorder(run, progress, settings, ends, signals, strategy, sums, averages)
        for epochs, steps_per_epoch in _spans(ends, progress):
            step = recorder.progress.step
            train_data, validation_data = make_datasets(
                settings, shards, model, step + progress.skipped, strategy
            )
            every_callback = [
                RequireFiniteLoss(step + 1, recorder.advice),
                *(display.callbacks(dict(enumerate(ends)), step) if strategy.is_chief else []),
                *([averages] if averages else []),
                *callbacks,
                recorder,
            ]
            if not steps_per_epoch:
                _evaluate(model, validation_data, epochs.start, every_callback, progress.logs)
            else:
                model.fit(
                    train_data,
                    initial_epoch=epochs.start,
                    epochs=epochs.stop,
                    steps_per_epoch=steps_per_epoch,
                    validation_data=validation_data,
                    verbose=verbose,
                    shuffle=False,  # the dataset does
                    callbacks=every_callback,
                )
            if recorder.progress.is_over(settings) or getattr(model, "stop_training", False):
                break
    strategy.wait()
    return checkpoints.load(run.model, model_class=type(model))


def _evaluate(
    model: "GPT2Model",
    validation_data: Any,
    epoch: int,
    callbacks: Sequence[keras.callbacks.Callback],
    logs: Mapping[str, float],
) -> None:
    """Makes up for the evaluation of an epoch whose steps are done and gave these logs."""
    container = keras.callbacks.CallbackList(list(callbacks), model=model)
    container.on_train_begin()
    container.on_epoch_begin(epoch)
    found = model.evaluate(validation_data, callbacks=container, verbose=0, return_dict=True)
    container.on_epoch_end(epoch, {**logs, **{f"val_{name}": found[name] for name in found}})
    container.on_train_end()


def _ends_of_epochs(settings: TrainingSettings) -> list[int]:
    """Returns the steps after which there is an evaluation."""
    every = settings.evaluate_every or settings.steps
    return [*range(every, settings.steps, every), settings.steps]


def _spans(ends: list[int], progress: Progress) -> Iterator[tuple[range, int]]:
    """Yields the epochs that are left and their steps, grouped: `fit` wants them equal.

    An epoch of 0 steps is one that lacks nothing but its evaluation.
    """
    starts = [0, *ends[:-1]]
    left = [
        (end - max(start, progress.step), epoch)
        for epoch, (start, end) in enumerate(zip(starts, ends, strict=True))
        if end > progress.step or end == progress.step > progress.evaluated
    ]
    for steps, group in itertools.groupby(left, key=lambda item: item[0]):
        epochs = [epoch for _, epoch in group]
        yield range(epochs[0], epochs[-1] + 1), steps
