"""A training run: from token shards to a run directory."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from gpt2_keras.atomic import refuse_taken
from gpt2_keras.data import TokenShards
from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.training.callbacks import RequireFiniteLoss, StepTensorBoard, TokensPerSecond
from gpt2_keras.training.loss import make_loss
from gpt2_keras.training.optimizer import default_learning_rate, make_optimizer
from gpt2_keras.training.recorder import Recorder
from gpt2_keras.training.run_directory import Progress, RunDirectory
from gpt2_keras.training.schedule import default_warmup_steps
from gpt2_keras.training.settings import TrainingSettings

if TYPE_CHECKING:
    from gpt2_keras.model import GPT2LM


def train(
    settings: TrainingSettings,
    out: str | Path,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
) -> "GPT2LM":
    """Trains a model and keeps everything in a run directory.

    At each evaluation the directory gets the state of the training (the last two
    are kept), the best model so far, `history.csv`, the loss curve and
    TensorBoard's logs. Whatever ends the training early, Ctrl-C, an error or a
    lost machine, that is kept, and `resume` goes on from there.

    Sets the random seeds of Python, NumPy and the backend.

    Args:
        settings: What to train on and how.
        out: The run directory, new or empty.
        callbacks: Further Keras callbacks.
        verbose: As for `keras.Model.fit`.

    Returns:
        The best model, by validation loss.

    Raises:
        FileExistsError: If `out` holds something.
        FileNotFoundError: If a directory of the settings is not there.
        ValueError: If the vocabularies of the shards, the tokenizer and `init`
            are not one, there are too few tokens, or the loss becomes NaN.
        OSError: If a file cannot be written.
    """
    run = RunDirectory(Path(out))
    refuse_taken(run.path)
    shards, tokenizer = _open_data(settings)
    keras.utils.set_random_seed(settings.seed)
    model = _new_model(settings, tokenizer)
    settings = _resolve(settings, model)
    _make_datasets(settings, shards, model, first_step=0)  # too few tokens are found out now
    _compile(model, settings)
    run.create(settings)
    return _run(model, settings, shards, run, Progress(), callbacks, verbose)


def resume(
    out: str | Path,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
) -> "GPT2LM":
    """Continues a run from its last checkpoint, as if it had never stopped.

    The weights, the optimizer with its schedule and the position in the data
    are those of the checkpoint; the settings are those of the run. A run that
    is over is only loaded.

    Args:
        out: The run directory.
        callbacks, verbose: As for `train`.

    Returns:
        The best model, by validation loss.

    Raises:
        FileNotFoundError: If `out` is no run directory.
        ValueError, OSError: As for `train`.
    """
    run = RunDirectory(Path(out))
    settings, progress = run.settings(), run.progress()
    run.remove_unfinished()
    shards, tokenizer = _open_data(settings)
    keras.utils.set_random_seed(settings.seed)
    model = run.load()
    if model is None:
        model = _new_model(settings, tokenizer)
        _compile(model, settings)
    return _run(model, settings, shards, run, progress, callbacks, verbose)


def _run(
    model: "GPT2LM",
    settings: TrainingSettings,
    shards: TokenShards,
    run: RunDirectory,
    progress: Progress,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: int | str,
) -> "GPT2LM":
    """Trains from where `progress` ends, and returns the best model."""
    ends = _ends_of_epochs(settings)
    recorder = Recorder(run, progress, settings, ends)
    for first_epoch, last_epoch, steps_per_epoch in _spans(ends, progress.step):
        if recorder.progress.is_over(settings):
            break
        first_step = 0 if first_epoch == 0 else ends[first_epoch - 1]
        train_data, validation_data = _make_datasets(settings, shards, model, first_step)
        model.fit(
            train_data,
            initial_epoch=first_epoch,
            epochs=last_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_data=validation_data,
            verbose=verbose,
            shuffle=False,  # the dataset does
            callbacks=[
                RequireFiniteLoss(first_step + 1),
                TokensPerSecond(settings.batch_size * model.config.context_length),
                StepTensorBoard(str(run.logs), dict(enumerate(ends))),
                *callbacks,
                recorder,
            ],
        )
    return type(model).from_preset(run.model)


def _open_data(settings: TrainingSettings) -> tuple[TokenShards, GPT2Tokenizer]:
    """Opens the shards and the tokenizer, which must be the one that made them."""
    tokenizer = GPT2Tokenizer.from_directory(settings.tokenizer)
    shards = TokenShards.open(settings.data)
    if shards.fingerprint != tokenizer.fingerprint:
        raise ValueError(
            "The tokenizer must be the one that made the token shards. "
            f"Received: tokenizer={settings.tokenizer} with {tokenizer.vocab_size} tokens, "
            f"data={settings.data} of another tokenizer, with {shards.vocab_size} tokens. "
            "Prepare the text again with this tokenizer, or name the other one."
        )
    return shards, tokenizer


def _new_model(settings: TrainingSettings, tokenizer: GPT2Tokenizer) -> "GPT2LM":
    """Makes the model of a run that begins."""
    from gpt2_keras.model import GPT2LM

    if settings.init is None:
        config = settings.model_config(tokenizer.vocab_size)
        return GPT2LM(config, tokenizer=tokenizer, dtype=settings.dtype)
    model = GPT2LM.from_preset(settings.init, dtype=settings.dtype, **settings.config_changes())
    if model.tokenizer is not None and model.tokenizer.fingerprint != tokenizer.fingerprint:
        raise ValueError(
            "The model to start from must have the tokenizer that made the token shards. "
            f"Received: init={settings.init} with {model.tokenizer.vocab_size} tokens, "
            f"tokenizer={settings.tokenizer} with {tokenizer.vocab_size} tokens. "
            f"Prepare the text again with the tokenizer in {settings.init}."
        )
    model.tokenizer = tokenizer
    return model


def _resolve(settings: TrainingSettings, model: "GPT2LM") -> TrainingSettings:
    """Fills in every default that depends on the model or on this place."""
    fine_tuning = settings.init is not None
    rate = default_learning_rate(model.config.num_parameters, fine_tuning=fine_tuning)
    places = {
        name: str(Path(getattr(settings, name)).resolve())
        for name in ("data", "tokenizer", "init")
        # A preset of `init` may be an address and not a path.
        if Path(getattr(settings, name) or "").exists() and getattr(settings, name)
    }
    settings = dataclasses.replace(settings, **places)  # type: ignore[arg-type]
    return settings.with_defaults(
        learning_rate=rate, warmup_steps=default_warmup_steps(settings.steps)
    )


def _compile(model: "GPT2LM", settings: TrainingSettings) -> None:
    """Compiles a model for the whole run."""
    assert settings.learning_rate is not None  # noqa: S101 -- tells the type checker
    model.compile(
        optimizer=make_optimizer(
            settings.learning_rate,
            total_steps=settings.steps,
            warmup_steps=settings.warmup_steps,
            weight_decay=settings.weight_decay,
        ),
        loss=make_loss(),
        jit_compile="auto" if settings.jit_compile is None else settings.jit_compile,
    )


def _make_datasets(
    settings: TrainingSettings, shards: TokenShards, model: "GPT2LM", first_step: int
) -> tuple[Any, Any]:
    """Returns the batches to train on from `first_step` on, and those to validate on."""
    # tf.data, loaded here so that models train on JAX without TensorFlow.
    from gpt2_keras.data import make_dataset

    train_tokens, validation_tokens = shards.split(settings.validation_fraction)
    sizes: dict[str, Any] = {
        "context_length": model.config.context_length,
        "batch_size": settings.batch_size,
    }
    train_data = make_dataset(train_tokens, seed=settings.seed, start_step=first_step, **sizes)
    # A smaller last batch would be compiled for itself; it is left out if there are others.
    many = len(validation_tokens) > settings.batch_size * model.config.context_length
    validation_data = make_dataset(
        validation_tokens, shuffle=False, repeat=False, drop_remainder=many, **sizes
    )
    return train_data, validation_data.take(settings.evaluation_batches)


def _ends_of_epochs(settings: TrainingSettings) -> list[int]:
    """Returns the steps after which there is an evaluation."""
    every = settings.evaluate_every or settings.steps
    return [*range(every, settings.steps, every), settings.steps]


def _spans(ends: list[int], done: int) -> Iterator[tuple[int, int, int]]:
    """Yields (first epoch, last epoch, steps an epoch) of what is left: `fit` wants them equal."""
    starts = [0, *ends[:-1]]
    left = [
        (end - start, epoch) for epoch, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]
    left = [(steps, epoch) for steps, epoch in left if starts[epoch] >= done]
    for steps, group in itertools.groupby(left, key=lambda item: item[0]):
        epochs = [epoch for _, epoch in group]
        yield epochs[0], epochs[-1] + 1, steps
