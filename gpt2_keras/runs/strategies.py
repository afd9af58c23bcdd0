"""The strategies: one process with one device, `tf.distribute`, and `keras.distribution`.

The training step is the same with each; a strategy says who takes part, which rows of a batch
each process reads, and when processes wait for each other. `open_strategy` in distribution.py
chooses one.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

from gpt2_keras.config import GPT2Config


@dataclasses.dataclass(frozen=True)
class Strategy:
    """One process with one device; the base class of the strategies for several.

    Args:
        num_replicas: Number of copies of the model, each trained on as many rows of the batch.
        num_devices: Number of devices.
        is_chief: Whether this process writes the run directory.
    """

    num_replicas: int = 1
    num_devices: int = 1
    is_chief: bool = True

    def building(self) -> Any:
        """Returns the scope in which to make and compile the model."""
        return contextlib.nullcontext()

    def running(self) -> Any:
        """Returns the scope in which to train it."""
        return contextlib.nullcontext()

    def distribute(self, make: Callable[[tuple[int, int]], Any]) -> Any:
        """Returns a dataset for `fit`, of which this process reads its own rows.

        Args:
            make: Makes the dataset of the rows of each batch that belong to a `shard`, see
                `make_dataset`.
        """
        return make((0, 1))

    def wait(self) -> None:
        """Returns when all processes have called it."""

    def any(self, flag: bool) -> bool:
        """Returns whether any process has a true flag; all of them must call it together."""
        return flag

    def check(self, config: GPT2Config, batch_size: int, dtype: str) -> None:  # noqa: ARG002
        """Raises ValueError if a batch or a model cannot be divided among the devices.

        Or if the devices cannot train in that dtype.
        """
        if batch_size % self.num_replicas:
            larger = -(-batch_size // self.num_replicas) * self.num_replicas
            raise ValueError(
                f"batch_size={batch_size} is not divisible by the number of devices, "
                f"{self.num_replicas}. Use, for example, batch_size={larger}."
            )
        model_parallel = self.num_devices // self.num_replicas
        if config.num_heads % model_parallel:
            raise ValueError(
                f"model_parallel={model_parallel} does not divide num_heads={config.num_heads}. "
                f"Use, for example, model_parallel={math.gcd(config.num_heads, model_parallel)}."
            )


@dataclasses.dataclass(frozen=True)
class TensorFlowStrategy(Strategy):
    """A strategy of `tf.distribute`: a copy of the whole model on each device.

    Args:
        tf_strategy: The `tf.distribute.Strategy`.
    """

    tf_strategy: Any = None

    def check(self, config: GPT2Config, batch_size: int, dtype: str) -> None:
        """Raises ValueError also for a dtype in which Keras' step would not end."""
        super().check(config, batch_size, dtype)
        if dtype == "mixed_float16" and self.num_replicas > 1:
            # keras-team/keras issues 18666 and 21366
            raise ValueError(
                f"dtype={dtype!r} trains on one device only with TensorFlow, and there are "
                f"{self.num_replicas}. Use mixed_bfloat16, or KERAS_BACKEND=jax."
            )

    def building(self) -> Any:
        """Returns the scope in which each device gets a copy of every weight."""
        return self.tf_strategy.scope()

    def distribute(self, make: Callable[[tuple[int, int]], Any]) -> Any:
        """Returns a distributed dataset; each device reads its own rows."""
        import tensorflow as tf

        def worker_dataset(context: Any) -> Any:
            devices = context.num_replicas_in_sync // context.num_input_pipelines
            first = context.input_pipeline_id * devices
            datasets = [make((first + i, context.num_replicas_in_sync)) for i in range(devices)]
            turns = tf.data.Dataset.range(devices).repeat()
            return tf.data.Dataset.choose_from_datasets(datasets, turns)

        return self.tf_strategy.distribute_datasets_from_function(worker_dataset)

    def wait(self) -> None:
        """Returns when all workers have called it."""
        import tensorflow as tf

        if isinstance(self.tf_strategy, tf.distribute.MultiWorkerMirroredStrategy):
            self.tf_strategy.reduce(tf.distribute.ReduceOp.SUM, tf.constant(1.0), axis=None)

    def any(self, flag: bool) -> bool:
        """Returns whether any worker has a true flag; all of them must call it together."""
        import tensorflow as tf

        if not isinstance(self.tf_strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return flag
        return bool(self._sum(tf.constant(float(flag))) > 0)

    @functools.cached_property
    def _sum(self) -> Any:
        """A function that sums a number over all devices; one graph, run after every step."""
        import tensorflow as tf

        def sum_over_replicas(number: Any) -> Any:
            context = tf.distribute.get_replica_context()
            # The identity puts the number on the device; an argument is on none.
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(number))

        @tf.function(autograph=False)
        def total(number: Any) -> Any:
            sums = self.tf_strategy.run(sum_over_replicas, args=(number,))
            return self.tf_strategy.experimental_local_results(sums)[0]

        return total


@dataclasses.dataclass(frozen=True)
class JaxStrategy(Strategy):
    """A strategy of `keras.distribution`.

    Args:
        distribution: The `keras.distribution.Distribution`, made with
            `auto_shard_dataset=False`: each process reads its own rows.
    """

    distribution: Any = None

    def building(self) -> Any:
        """Returns the scope in which weights are laid out over the devices."""
        return self.distribution.scope()

    running = building

    def distribute(self, make: Callable[[tuple[int, int]], Any]) -> Any:
        """Returns the rows of this process."""
        return make((self.distribution.data_shard_id, self.distribution.num_processes))

    def wait(self) -> None:
        """Returns when all processes have called it."""
        if self.distribution.num_processes > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices("gpt2_keras")
