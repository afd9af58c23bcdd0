"""The batches of a run that learns a task: prompts and completions in place of token shards."""

from typing import TYPE_CHECKING, Any

from gpt2_keras.applications.task_rows import TaskRows
from gpt2_keras.runs.settings import TrainingSettings
from gpt2_keras.runs.strategies import Strategy

if TYPE_CHECKING:
    from gpt2_keras.model import GPT2Model


def make_task_datasets(
    settings: TrainingSettings,
    rows: TaskRows,
    model: "GPT2Model",
    first_batch: int,
    strategy: Strategy,
) -> tuple[Any, Any]:
    """Returns the training batches from `first_batch` on, and the validation batches.

    Arguments and errors are those of `make_datasets`. The targets are the completions alone.
    """
    # Loaded here: where TensorFlow is installed, this loads it.
    from gpt2_keras.applications.training_examples import training_examples
    from gpt2_keras.data import make_instruction_dataset

    tokenizer = model.require_tokenizer()
    context_length = settings.window_config(model.config).context_length
    training, validation = (
        training_examples(model, part, context_length)
        for part in rows.split(settings.validation_fraction)
    )
    replicas = strategy.num_replicas
    size = min(settings.batch_size, len(validation) // replicas * replicas)
    if not size:
        raise ValueError(
            f"There are {len(validation)} examples to validate on, fewer than the {replicas} "
            "devices, and each needs one. Use more examples or a larger validation_fraction, or "
            "strategy='none'."
        )

    def training_dataset(shard: tuple[int, int]) -> Any:
        return make_instruction_dataset(
            training,
            tokenizer,
            context_length=context_length,
            batch_size=settings.batch_size,
            seed=settings.seed,
            start_step=first_batch,
            shard=shard,
        )

    def validation_dataset(shard: tuple[int, int]) -> Any:
        assert settings.evaluation_batches is not None  # noqa: S101 -- tells the type checker
        return make_instruction_dataset(
            validation,
            tokenizer,
            context_length=context_length,
            batch_size=size,
            shuffle=False,
            repeat=False,
            drop_remainder=True,
            shard=shard,
        ).take(settings.evaluation_batches)

    return strategy.distribute(training_dataset), strategy.distribute(validation_dataset)
