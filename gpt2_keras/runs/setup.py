"""What a run is made of: its data, its model, its optimizer."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt2_keras import checkpoints
from gpt2_keras.data import TokenShards
from gpt2_keras.runs.distribution import Strategy
from gpt2_keras.runs.settings import TrainingSettings
from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.training.loss import make_loss
from gpt2_keras.training.optimizer import default_learning_rate, make_optimizer
from gpt2_keras.training.schedule import default_warmup_steps

if TYPE_CHECKING:
    from gpt2_keras.model import GPT2Model


def open_data(settings: TrainingSettings) -> tuple[TokenShards, GPT2Tokenizer]:
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


def new_model(
    model_class: "type[GPT2Model]", settings: TrainingSettings, tokenizer: GPT2Tokenizer
) -> "GPT2Model":
    """Makes the model of a run that begins."""
    if settings.init is None:
        config = settings.model_config(tokenizer.vocab_size)
        return model_class(config, tokenizer=tokenizer, dtype=settings.dtype)
    model = checkpoints.load(
        settings.init,
        model_class=model_class,
        dtype=settings.dtype,
        **settings.config_changes(),
    )
    if model.tokenizer is not None and model.tokenizer.fingerprint != tokenizer.fingerprint:
        raise ValueError(
            "The model to start from must have the tokenizer that made the token shards. "
            f"Received: init={settings.init} with {model.tokenizer.vocab_size} tokens, "
            f"tokenizer={settings.tokenizer} with {tokenizer.vocab_size} tokens. "
            f"Prepare the text again with the tokenizer in {settings.init}."
        )
    model.tokenizer = tokenizer
    return model


def resolve(settings: TrainingSettings, model: "GPT2Model") -> TrainingSettings:
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


def compile_model(model: "GPT2Model", settings: TrainingSettings) -> None:
    """Compiles a model for the whole run."""
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
    )


def make_datasets(
    settings: TrainingSettings,
    shards: TokenShards,
    model: "GPT2Model",
    first_batch: int,
    strategy: Strategy | None = None,
) -> tuple[Any, Any]:
    """Returns the batches to train on from `first_batch` on, and those to validate on.

    Each process reads its own rows of them; together they are those of one process.

    Raises:
        ValueError: If there are too few tokens, or a batch cannot be divided among the
            devices.
    """
    # Loaded here: where TensorFlow is installed, this loads it.
    from gpt2_keras.data import make_dataset

    strategy = strategy or Strategy()
    strategy.check(model.config, settings.batch_size, settings.dtype)
    train_tokens, validation_tokens = shards.split(settings.validation_fraction)
    context_length, batch_size = model.config.context_length, settings.batch_size
    # A smaller last batch would be compiled for itself; it is left out if there are others.
    many = len(validation_tokens) > batch_size * context_length
    validation_size = batch_size
    if not many and strategy.num_replicas > 1:
        windows = (len(validation_tokens) - 1) // context_length
        validation_size = windows // strategy.num_replicas * strategy.num_replicas
        if not validation_size:
            raise ValueError(
                "Every device must get a window to validate on. "
                f"Received: {windows} windows, with {strategy.num_replicas} devices. "
                "Use more text or a larger validation_fraction, or strategy='none'."
            )

    def training_part(shard: tuple[int, int]) -> Any:
        return make_dataset(
            train_tokens,
            context_length=context_length,
            batch_size=batch_size,
            seed=settings.seed,
            start_step=first_batch,
            shard=shard,
        )

    def validation_part(shard: tuple[int, int]) -> Any:
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

    return strategy.distribute(training_part), strategy.distribute(validation_part)
