"""What to do where a batch does not fit into the memory of the device."""

import contextlib
from collections.abc import Iterator

import keras

from gpt2_keras.config import GPT2Config
from gpt2_keras.devices import current_device
from gpt2_keras.runs.cost_estimate import estimate_memory
from gpt2_keras.runs.settings import TrainingSettings

# What TensorFlow and JAX say; their classes of errors have no name in common.
_FULL = ("RESOURCE_EXHAUSTED", "ResourceExhausted", "out of memory", "OOM when allocating")
# The estimate is of the least memory; the backend needs more for itself.
_USABLE = 0.7


@contextlib.contextmanager
def batch_advice(
    settings: TrainingSettings, config: GPT2Config, num_replicas: int
) -> Iterator[None]:
    """Tells which batch would fit, if training ends because memory is full.

    Args:
        settings: The settings of the run.
        config: The config of the model, with the tokens per window as its context.
        num_replicas: Number of devices that a batch is divided among.

    Raises:
        RuntimeError: In place of the backend's error.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise RuntimeError(advice(settings, config, num_replicas, memory_limit())) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error of TensorFlow or JAX says that memory is full."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _FULL)


def memory_limit() -> int | None:
    """Returns the bytes that the device may use, if the backend tells."""
    if keras.backend.backend() != "jax":
        return None
    import jax

    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    return None if limit is None else int(limit)


def advice(
    settings: TrainingSettings, config: GPT2Config, num_replicas: int, limit: int | None
) -> str:
    """Returns what an error says: what was needed at least, and what to do.

    Args:
        settings, config, num_replicas: As for `batch_advice`.
        limit: The bytes that the device may use, if known.
    """

    def needed(batch_size: int) -> int:
        parts = estimate_memory(
            config,
            -(-batch_size // num_replicas),
            settings.dtype,
            ema=settings.ema is not None,
            accumulation_steps=settings.accumulation_steps,
            remat=settings.remat,
        )
        return sum(parts.values())

    batch_size, smaller = settings.batch_size, settings.batch_size // 2
    while limit is not None and smaller and needed(smaller) > _USABLE * limit:
        smaller //= 2
    smaller -= smaller % num_replicas
    of = "" if limit is None else f" of the {limit / 1e9:.1f} GB that it may use"
    told = (
        f"batch_size={batch_size} does not fit into the memory of {current_device()}: it needs "
        f"{needed(batch_size) / 1e9:.1f} GB at least{of}. "
    )
    remat = "" if settings.remat is True else ", or remat=True"
    if smaller < 1:
        return f"{told}No batch fits. Use a smaller model or shorter windows{remat}."
    steps = -(-batch_size // smaller) * settings.accumulation_steps
    return (
        f"{told}Use batch_size={smaller}, or accumulation_steps={steps}, which takes the same "
        f"steps{remat}."
    )
