"""Sets up a run: opens its data, makes its model, compiles it, makes its datasets."""

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt2_keras import checkpoints
from gpt2_keras.applications.task_rows import TaskRows, read_task_rows
from gpt2_keras.data import TokenShards
from gpt2_keras.data.teacher_logits import TeacherLogits
from gpt2_keras.devices import check_compute_dtype
from gpt2_keras.runs.settings import TrainingSettings
from gpt2_keras.runs.strategies import Strategy
from gpt2_keras.runs.student import distillation_options, new_student
from gpt2_keras.runs.task_data import make_task_datasets
from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.training.loss import make_loss
from gpt2_keras.training.optimizer import default_learning_rate, make_optimizer
from gpt2_keras.training.schedule import default_warmup_steps

if TYPE_CHECKING:
    from gpt2_keras.model import GPT2Model


def open_data(settings: TrainingSettings) -> tuple[TokenShards | TaskRows, GPT2Tokenizer]:
    """Returns the shards and the tokenizer that made them, or the examples of a task.

    Raises:
        FileNotFoundError: If a directory is not there.
        ValueError: If another tokenizer made the shards.
    """
    if settings.task is not None:
        return read_task_rows(settings.task, settings.data), _tokenizer_of(settings)
    tokenizer = _tokenizer_of(settings)
    shards = TokenShards.open(settings.data)
    if shards.fingerprint != tokenizer.fingerprint:
        raise ValueError(
            f"tokenizer={settings.tokenizer!r}, with a vocabulary of {tokenizer.vocab_size}, did "
            f"not make data={settings.data!r}, with one of {shards.vocab_size}. Prepare the text "
            "again with this tokenizer, or use the one that made the token shards."
        )
    return shards, tokenizer


def _tokenizer_of(settings: TrainingSettings) -> GPT2Tokenizer:
    """Returns the tokenizer in a directory, or in that of a checkpoint."""
    if settings.tokenizer in (settings.init, settings.teacher):
        return GPT2Tokenizer.from_directory(checkpoints.directory_of(settings.tokenizer))
    return GPT2Tokenizer.from_directory(settings.tokenizer)


def new_model(
    model_class: "type[GPT2Model]",
    settings: TrainingSettings,
    tokenizer: GPT2Tokenizer,
    teacher: "GPT2Model | None" = None,
) -> "GPT2Model":
    """Returns the model of a new run: random weights, those of `init`, or layers of a teacher.

    Raises:
        ValueError: If the model has another tokenizer, or a vocabulary of another size.
    """
    if teacher is not None and settings.trains_student_of_layers:
        return new_student(teacher, settings)
    if settings.init is None:
        config = settings.model_config(tokenizer.vocab_size)
        return model_class(config, tokenizer=tokenizer, dtype=settings.dtype)
    load = functools.partial(
        checkpoints.load,
        settings.init,
        model_class=model_class,
        dtype=settings.dtype,
        **settings.config_changes(),
    )
    model = load()
    if model.tokenizer is None and model.config.vocab_size > tokenizer.vocab_size:
        return load(tokenizer=tokenizer)  # which leaves out the padding of a vocabulary
    if model.tokenizer is not None and model.tokenizer.fingerprint != tokenizer.fingerprint:
        raise ValueError(
            f"init={settings.init!r} has another tokenizer, with a vocabulary of "
            f"{model.tokenizer.vocab_size}, than tokenizer={settings.tokenizer!r}, with one of "
            f"{tokenizer.vocab_size}. Prepare the text again with the tokenizer of the model."
        )
    model.tokenizer = tokenizer
    return model


def resolve(settings: TrainingSettings, model: "GPT2Model") -> TrainingSettings:
    """Returns the settings with every default filled in and absolute paths."""
    fine_tuning = settings.init is not None
    rate = default_learning_rate(model.config.num_parameters, fine_tuning=fine_tuning)
    paths = {
        name: str(Path(value).resolve())
        for name in ("data", "tokenizer", "init", "teacher")
        # The last two may also be the address of a published model.
        if (value := getattr(settings, name)) and Path(value).exists()
    }
    settings = dataclasses.replace(settings, **paths)  # type: ignore[arg-type]
    warmup_steps = default_warmup_steps(settings.steps)
    return settings.with_defaults(learning_rate=rate, warmup_steps=warmup_steps)


def compile_model(
    model: "GPT2Model", settings: TrainingSettings, teacher: "GPT2Model | None" = None
) -> None:
    """Compiles a model for the whole run.

    Raises:
        ValueError: If the device lacks its dtype, or the teacher does not fit it.
    """
    check_compute_dtype(model.compute_dtype)
    assert settings.learning_rate is not None  # noqa: S101 -- tells the type checker
    model.compile(
        optimizer=make_optimizer(
            settings.learning_rate,
            total_steps=settings.steps,
            warmup_steps=settings.warmup_steps,
            weight_decay=settings.weight_decay,
            beta_2=settings.beta_2,
            clip_norm=settings.clip_norm or None,
            schedule=settings.schedule,
            final_learning_rate_ratio=settings.final_learning_rate_ratio,
            ema=settings.ema,
        ),
        loss=make_loss(),
        jit_compile="auto" if settings.jit_compile is None else settings.jit_compile,
        accumulation_steps=settings.accumulation_steps,
        remat=settings.remat,
        document_masking=settings.document_masking,
        **distillation_options(settings, teacher),
    )


def make_datasets(
    settings: TrainingSettings,
    shards: TokenShards | TaskRows,
    model: "GPT2Model",
    first_batch: int,
    strategy: Strategy,
) -> tuple[Any, Any]:
    """Returns the training batches from `first_batch` on, and the validation batches.

    Each process reads its own rows of them; together they are the batches of one process.

    Raises:
        ValueError: If there are too few tokens, or a batch cannot be divided among the
            devices.
    """
    # Loaded here: where TensorFlow is installed, this loads it.
    from gpt2_keras.data import make_dataset

    strategy.check(model.config, settings.batch_size, settings.dtype)
    if isinstance(shards, TaskRows):
        return make_task_datasets(settings, shards, model, first_batch, strategy)
    teacher_logits = TeacherLogits.open(shards) if settings.teacher_logits else None
    train_tokens, validation_tokens = shards.split(settings.validation_fraction)
    context_length = settings.window_config(model.config).context_length
    batch_size = settings.batch_size
    # A smaller last batch would be compiled for itself; it is left out if there are others.
    many = len(validation_tokens) > batch_size * context_length
    validation_size = batch_size
    if not many and strategy.num_replicas > 1:
        windows = (len(validation_tokens) - 1) // context_length
        validation_size = windows // strategy.num_replicas * strategy.num_replicas
        if not validation_size:
            raise ValueError(
                f"The validation text has {windows} windows, fewer than the "
                f"{strategy.num_replicas} devices, and each needs one. Use more text or a larger "
                "validation_fraction, or strategy='none'."
            )

    def training_dataset(shard: tuple[int, int]) -> Any:
        return make_dataset(
            train_tokens,
            context_length=context_length,
            batch_size=batch_size,
            seed=settings.seed,
            start_step=first_batch,
            shard=shard,
            teacher_logits=teacher_logits,
        )

    def validation_dataset(shard: tuple[int, int]) -> Any:
        assert settings.evaluation_batches is not None  # noqa: S101 -- tells the type checker
        return make_dataset(
            validation_tokens,
            context_length=context_length,
            batch_size=validation_size,
            shuffle=False,
            repeat=False,
            drop_remainder=many or validation_size < batch_size,
            shard=shard,
        ).take(settings.evaluation_batches)

    return strategy.distribute(training_dataset), strategy.distribute(validation_dataset)
