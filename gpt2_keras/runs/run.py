"""A training run: from token shards to a run directory, and on from its last checkpoint."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from keras import ops

from gpt2_keras import checkpoints
from gpt2_keras.applications.task_rows import TaskRows
from gpt2_keras.atomic import check_output_directory
from gpt2_keras.data import TokenShards
from gpt2_keras.model import GPT2Model
from gpt2_keras.runs.callbacks import RequireFiniteLoss
from gpt2_keras.runs.checkpoint import Checkpoint
from gpt2_keras.runs.checkpoint_callback import CheckpointCallback
from gpt2_keras.runs.device_report import report_device
from gpt2_keras.runs.distribution import open_strategy
from gpt2_keras.runs.ema import EMAWeights
from gpt2_keras.runs.epochs import ends_of_epochs, evaluate_epoch, remaining_epochs
from gpt2_keras.runs.memory_errors import batch_advice
from gpt2_keras.runs.monitoring import Monitoring
from gpt2_keras.runs.progress import Progress
from gpt2_keras.runs.run_directory import ReadOnlyRunDirectory, RunDirectory
from gpt2_keras.runs.samples import check_can_sample
from gpt2_keras.runs.settings import TrainingSettings
from gpt2_keras.runs.setup import compile_model, make_datasets, new_model, open_data, resolve
from gpt2_keras.runs.signals import StopSignals
from gpt2_keras.runs.strategies import Strategy
from gpt2_keras.runs.student import check_teacher_logits, load_teacher
from gpt2_keras.validation import check_instance, check_integer, check_path


def train(
    settings: TrainingSettings,
    out: str | Path,
    *,
    model_class: type[GPT2Model],
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
) -> GPT2Model:
    """Trains a model and writes everything to a run directory.

    Checkpoints are written before each evaluation and between them, and with each
    evaluation the best model so far, `history.csv`, the loss curve and TensorBoard's
    logs. They survive whatever ends the training early, an error, `kill -9` or a lost
    machine, and `resume` continues from them. SIGINT (Ctrl-C) and SIGTERM end the
    training after the current step, with a checkpoint; a second one ends it at once.

    Of several processes, each calls this with the same arguments; one of them, the
    chief, writes the directory, which all must be able to read.

    Sets the random seeds of Python, NumPy and the backend.

    Args:
        settings: The settings of the run.
        out: The run directory, new or empty.
        model_class: `GPT2LM` or a subclass.
        callbacks: Further Keras callbacks.
        verbose: 0, 1, 2 or `"auto"`, as for `keras.Model.fit`.

    Returns:
        The best model, by validation loss.

    Raises:
        TypeError: If an argument is of the wrong type.
        FileExistsError: If `out` is not empty.
        FileNotFoundError: If a directory of the settings is not there.
        ValueError: If the shards, the tokenizer and `init` have different
            vocabularies, there are too few tokens, the loss becomes NaN, or the
            devices do not allow the strategy.
        OSError: If a file cannot be written.
        RuntimeError: If another process trains in `out`, or a batch does not fit into the
            memory of the device; says which would.
        Stopped: After SIGINT or SIGTERM; a `KeyboardInterrupt`.
    """
    check_instance("settings", settings, TrainingSettings, "TrainingSettings")
    _check_arguments(model_class, out, callbacks, verbose)
    strategy = open_strategy(settings.strategy, settings.model_parallel)
    directory = _directory(out, strategy)
    if strategy.is_chief:
        check_output_directory(directory.path)
    check_can_sample(settings.sample_prompts)
    shards, tokenizer = open_data(settings)
    keras.utils.set_random_seed(settings.seed)
    with strategy.building():
        teacher = load_teacher(model_class, settings, tokenizer)
        check_teacher_logits(settings, shards, teacher)
        model = new_model(model_class, settings, tokenizer, teacher)
        settings = resolve(settings, model)
        make_datasets(settings, shards, model, 0, strategy)  # raises an error of too few tokens
        compile_model(model, settings, teacher)
    directory.create(settings)
    with directory.locked():
        return _run(model, settings, shards, directory, Progress(), callbacks, verbose, strategy)


def resume(
    out: str | Path,
    *,
    model_class: type[GPT2Model],
    steps: int | None = None,
    skip_batches: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
) -> GPT2Model:
    """Continues a run from its last checkpoint, as if it had never stopped.

    Weights, optimizer, schedule, random state, position in the data and the
    running sums of the loss are those of the checkpoint; the settings are those
    of the run. Of a run that is over only the best model is loaded. A checkpoint
    whose files are damaged is removed with a warning, and the one before it is used.

    Args:
        out: The run directory.
        model_class: `GPT2LM` or a subclass.
        steps: A larger number of steps than the run began with; only if its
            schedule is `"constant"`, as another one depends on the number.
        skip_batches: Number of batches of the data to skip, after a loss that
            became NaN. PaLM (Chowdhery et al., 2022, section 5.1) skipped some
            200 to 500 after a spike of the loss.
        callbacks, verbose: As for `train`.

    Returns:
        The best model, by validation loss.

    Raises:
        TypeError: If an argument is of the wrong type.
        FileNotFoundError: If `out` is no run directory.
        ValueError: If every checkpoint is damaged, `steps` is smaller than before or
            the schedule depends on it, or `skip_batches` is negative.
        ValueError, OSError, RuntimeError, Stopped: As for `train`.
    """
    _check_arguments(model_class, out, callbacks, verbose)
    check_integer("skip_batches", skip_batches, minimum=0)
    settings = RunDirectory(Path(out)).settings()
    if steps is not None:
        settings = settings.extended(steps)
    strategy = open_strategy(settings.strategy, settings.model_parallel)
    directory = _directory(out, strategy)
    with directory.locked():
        if strategy.is_chief:
            directory.recover()
            directory.last_whole_checkpoint()  # removes damaged ones, before other processes read
        strategy.wait()
        checkpoint = directory.last_whole_checkpoint()
        progress = Progress() if checkpoint is None else checkpoint.progress
        if progress.is_over(settings):
            return checkpoints.load(directory.model, model_class=model_class)
        model, shards = _restored(model_class, settings, checkpoint, strategy)
        if steps is not None:
            directory.change_settings(settings)
        progress = dataclasses.replace(progress, skipped=progress.skipped + skip_batches)
        return _run(model, settings, shards, directory, progress, callbacks, verbose, strategy)


def _restored(
    model_class: type[GPT2Model],
    settings: TrainingSettings,
    checkpoint: Checkpoint | None,
    strategy: Strategy,
) -> tuple[GPT2Model, TokenShards | TaskRows]:
    """Returns the compiled model of a checkpoint, or a new one if there is none, and its data."""
    shards, tokenizer = open_data(settings)
    keras.utils.set_random_seed(settings.seed)
    with strategy.building():
        teacher = None
        if checkpoint is None or not settings.teacher_logits:
            teacher = load_teacher(model_class, settings, tokenizer)
        if checkpoint is None:
            model = new_model(model_class, settings, tokenizer, teacher)
            compile_model(model, settings, teacher)
        else:
            model = model_class(checkpoint.config, tokenizer=tokenizer, dtype=settings.dtype)
            compile_model(model, settings, teacher)
            checkpoint.restore(model)
    return model, shards


def _directory(out: str | Path, strategy: Strategy) -> RunDirectory:
    """Returns the run directory, which only the chief writes."""
    return (RunDirectory if strategy.is_chief else ReadOnlyRunDirectory)(Path(out))


def _check_arguments(model_class: object, out: object, callbacks: Any, verbose: object) -> None:
    """Raises an error if an argument of `train` or `resume` is wrong."""
    if not (isinstance(model_class, type) and issubclass(model_class, GPT2Model)):
        raise TypeError(f"model_class={model_class!r} is no model class. Use GPT2LM.")
    check_path("out", out)
    check_instance("callbacks", callbacks, (list, tuple), "a list of Keras callbacks")
    for index, callback in enumerate(callbacks):
        name, expected = f"callbacks[{index}]", keras.callbacks.Callback
        check_instance(name, callback, expected, "a Keras callback")
    if verbose != "auto":
        check_integer("verbose", verbose, minimum=0, maximum=2, advice='Or use "auto".')


def _run(
    model: GPT2Model,
    settings: TrainingSettings,
    shards: TokenShards | TaskRows,
    directory: RunDirectory,
    progress: Progress,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: int | str,
    strategy: Strategy,
) -> GPT2Model:
    """Trains from the step of `progress` on, and returns the best model."""
    if strategy.is_chief:
        progress = report_device(progress, settings.dtype, verbose)
    epoch_ends = ends_of_epochs(settings)
    ema = EMAWeights() if settings.ema else None
    metric_sums = None
    if progress.step > progress.evaluated_step:
        metric_sums = [ops.convert_to_numpy(sums).copy() for sums in model.metrics_variables]
    verbose = verbose if strategy.is_chief else 0
    monitoring = Monitoring(
        model, settings, directory, ema, verbose=verbose != 0, num_devices=strategy.num_devices
    )
    windows = settings.window_config(model.config)
    with (
        StopSignals(verbose=verbose != 0) as signals,
        strategy.running(),
        batch_advice(settings, windows, strategy.num_replicas),
    ):
        checkpoint_callback = CheckpointCallback(
            directory, progress, settings, epoch_ends, signals, strategy, metric_sums, ema
        )
        for epochs, steps_per_epoch in remaining_epochs(epoch_ends, progress):
            step = checkpoint_callback.progress.step
            train_data, validation_data = make_datasets(
                settings, shards, model, step + progress.skipped, strategy
            )
            ends = dict(enumerate(epoch_ends))
            monitors = monitoring.callbacks(ends, step) if strategy.is_chief else []
            every_callback = [
                RequireFiniteLoss(step + 1, checkpoint_callback.advice),
                *monitors,
                *([ema] if ema else []),
                *callbacks,
                checkpoint_callback,
            ]
            if not steps_per_epoch:
                evaluate_epoch(model, validation_data, epochs.start, every_callback, progress.logs)
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
            if getattr(model, "stop_training", False):
                break
    strategy.wait()
    return checkpoints.load(directory.model, model_class=type(model))
