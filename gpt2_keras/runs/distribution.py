"""Training on several devices and machines, by the engines that TensorFlow and Keras have.

A step is the same on one device and on many (see `step.py`); here is only who takes part.
"""

import contextlib
import dataclasses
import functools
import json
import os
from collections.abc import Callable
from typing import Any

import keras

from gpt2_keras.config import GPT2Config
from gpt2_keras.private_api.keras import process_id
from gpt2_keras.validation import check_choice

STRATEGIES = ("auto", "none", "mirrored", "multi-worker", "tpu")
_BATCH, _MODEL = "batch", "model"  # axes of the mesh of devices
# What `keras.distribution.initialize()` reads.
_JAX_JOBS = "KERAS_DISTRIBUTION_JOB_ADDRESSES"


@dataclasses.dataclass(frozen=True)
class Strategy:
    """One process with one device; the classes below are the same for several.

    Args:
        num_replicas: How many models are trained, each on an equal part of the batch.
        num_devices: How many devices there are.
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
        """Returns what `fit` takes, of which this process reads its own rows.

        Args:
            make: Makes the dataset of a part of each batch: see `shard` of `make_dataset`.
        """
        return make((0, 1))

    def wait(self) -> None:
        """Returns when all processes have come here."""

    def any(self, flag: bool) -> bool:
        """Returns whether the flag of a process is true; all of them must call it together."""
        return flag

    def check(self, config: GPT2Config, batch_size: int, dtype: str) -> None:  # noqa: ARG002
        """Raises ValueError if a model or a batch cannot be divided among the devices.

        Or if they cannot compute in that dtype.
        """
        if batch_size % self.num_replicas:
            raise ValueError(
                "Every device must get an equal part of the batch. "
                f"Received: batch_size={batch_size}, with {self.num_replicas} devices. "
                f"Use, for example, {-(-batch_size // self.num_replicas) * self.num_replicas}."
            )
        parts = self.num_devices // self.num_replicas
        if config.num_heads % parts:
            raise ValueError(
                "Every device must get as many attention heads. "
                f"Received: model_parallel={parts}, num_heads={config.num_heads}. "
                "Use a divisor of the number of heads."
            )


@dataclasses.dataclass(frozen=True)
class TensorFlowStrategy(Strategy):
    """A strategy of `tf.distribute`: a whole model on each device.

    Args:
        engine: The `tf.distribute.Strategy`.
    """

    engine: Any = None

    def check(self, config: GPT2Config, batch_size: int, dtype: str) -> None:
        """Raises ValueError where Keras' scaling of the loss would not come to an end."""
        super().check(config, batch_size, dtype)
        if dtype == "mixed_float16" and self.num_replicas > 1:
            # keras-team/keras issues 18666 and 21366
            raise ValueError(
                "On TensorFlow, mixed_float16 trains on one device only. "
                f"Received: dtype={dtype!r}, with {self.num_replicas} devices. "
                "Use mixed_bfloat16, or KERAS_BACKEND=jax."
            )

    def building(self) -> Any:
        """Returns the scope in which each device gets a copy of every weight."""
        return self.engine.scope()

    def distribute(self, make: Callable[[tuple[int, int]], Any]) -> Any:
        """Returns a distributed dataset; each device reads its own rows."""
        import tensorflow as tf

        def of_worker(context: Any) -> Any:
            devices = context.num_replicas_in_sync // context.num_input_pipelines
            first = context.input_pipeline_id * devices
            parts = [make((first + i, context.num_replicas_in_sync)) for i in range(devices)]
            turns = tf.data.Dataset.range(devices).repeat()
            return tf.data.Dataset.choose_from_datasets(parts, turns)

        return self.engine.distribute_datasets_from_function(of_worker)

    def wait(self) -> None:
        """Returns when all workers have come here."""
        import tensorflow as tf

        if isinstance(self.engine, tf.distribute.MultiWorkerMirroredStrategy):
            self.engine.reduce(tf.distribute.ReduceOp.SUM, tf.constant(1.0), axis=None)

    def any(self, flag: bool) -> bool:
        """Returns whether the flag of a worker is true; all of them must call it together."""
        import tensorflow as tf

        if not isinstance(self.engine, tf.distribute.MultiWorkerMirroredStrategy):
            return flag
        return bool(self._sum(tf.constant(float(flag))) > 0)

    @functools.cached_property
    def _sum(self) -> Any:
        """The sum of a number of each device; one graph, as it is asked for in every step."""
        import tensorflow as tf

        def of_device(number: Any) -> Any:
            context = tf.distribute.get_replica_context()
            # A copy is on the device, where an argument is nowhere.
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(number))

        @tf.function(autograph=False)
        def total(number: Any) -> Any:
            sums = self.engine.run(of_device, args=(number,))
            return self.engine.experimental_local_results(sums)[0]

        return total


@dataclasses.dataclass(frozen=True)
class JaxStrategy(Strategy):
    """A distribution of `keras.distribution`.

    Args:
        distribution: Keras' own, which is told that each process reads its own rows.
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
        """Returns when all processes have come here."""
        if self.distribution.num_processes > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices("gpt2_keras")


def open_strategy(name: str = "auto", model_parallel: int = 1) -> Strategy:
    """Returns what trains on the devices at hand.

    With several workers it must come before all else that TensorFlow or JAX computes.

    Args:
        name: `"none"`: one device. `"mirrored"`: the devices of this machine.
            `"multi-worker"`: those of several machines, as `TF_CONFIG` (TensorFlow) or
            `KERAS_DISTRIBUTION_*` (JAX) say. `"tpu"`: TPUs. `"auto"`: the first of these
            that fits what is there.
        model_parallel: Over how many devices each model is laid out; JAX only.

    Raises:
        ValueError: If the backend or the number of devices does not allow it.

    Example:
        >>> open_strategy("none").num_replicas
        1
    """
    check_choice("strategy", name, STRATEGIES, advice="Use auto if in doubt.")
    backend = keras.backend.backend()
    if backend == "jax":
        return _open_on_jax(name, model_parallel)
    if model_parallel > 1:
        raise ValueError(
            "One model is laid out over several devices on JAX only. "
            f"Received: model_parallel={model_parallel}, with the {backend} backend. "
            "Set KERAS_BACKEND=jax, or leave it out."
        )
    return _open_on_tensorflow(name)


def _open_on_tensorflow(name: str) -> Strategy:
    import tensorflow as tf

    cluster = json.loads(os.environ.get("TF_CONFIG") or "{}")
    machines = sum(map(len, (cluster.get("cluster") or {}).values()))
    if name == "multi-worker" and not machines:
        raise ValueError(
            "Several workers find each other by the environment variable TF_CONFIG. "
            f"Received: strategy='multi-worker', TF_CONFIG={os.environ.get('TF_CONFIG')!r}. "
            "Set it on each machine, or use mirrored for the devices of one."
        )
    if name == "multi-worker" or (name == "auto" and machines > 1):
        engine = tf.distribute.MultiWorkerMirroredStrategy()
        task = cluster.get("task", {})
        has_chief = "chief" in cluster["cluster"]
        is_chief = task.get("type") == "chief" or not (has_chief or int(task.get("index", 0)))
        return _tensorflow_strategy(engine, is_chief=is_chief)
    if name == "tpu":
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            os.environ.get("TPU_NAME", "local")
        )
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return _tensorflow_strategy(tf.distribute.TPUStrategy(resolver))
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
        return _tensorflow_strategy(tf.distribute.MirroredStrategy(devices))
    return Strategy()


def _tensorflow_strategy(engine: Any, *, is_chief: bool = True) -> Strategy:
    count = engine.num_replicas_in_sync
    return TensorFlowStrategy(count, count, is_chief, engine)


def _open_on_jax(name: str, model_parallel: int) -> Strategy:
    several = os.environ.get(_JAX_JOBS) is not None
    if name == "multi-worker" or (name == "auto" and several):
        keras.distribution.initialize()
    devices = keras.distribution.list_devices("tpu" if name == "tpu" else None)
    if model_parallel == 1 and (name == "none" or (name == "auto" and len(devices) == 1)):
        return Strategy()
    if len(devices) % model_parallel or name == "none":
        raise ValueError(
            "`model_parallel` must divide the number of devices. "
            f"Received: model_parallel={model_parallel}, strategy={name!r}, "
            f"with {len(devices)} devices. Use another one, and strategy='auto'."
        )
    shape = (len(devices) // model_parallel, model_parallel)
    mesh = keras.distribution.DeviceMesh(shape, (_BATCH, _MODEL), devices)
    distribution: Any
    if model_parallel > 1:
        distribution = keras.distribution.ModelParallel(
            layout_map=layout_map(mesh), batch_dim_name=_BATCH, auto_shard_dataset=False
        )
        if distribution.num_processes > 1:
            raise ValueError(
                "A model is laid out over the devices of one process only. "
                f"Received: model_parallel={model_parallel}, with "
                f"{distribution.num_processes} processes. Use model_parallel=1."
            )
    else:
        distribution = keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    is_chief = not process_id(distribution)
    return JaxStrategy(shape[0], len(devices), is_chief, distribution)


def layout_map(mesh: Any) -> Any:
    """Returns how the weights of a `GPT2LM` are laid out over the model axis of a mesh.

    The first map of each pair, to queries, keys and values or to the wide middle, is cut
    by its outputs and the second by its inputs, as in "Megatron-LM" (Shoeybi et al.,
    2019, section 3); the token embeddings are cut by their width, as 50257 has no divisor
    that one would want. What is not named here is on every device.

    Args:
        mesh: A `keras.distribution.DeviceMesh` with an axis `"model"`.

    Returns:
        A `keras.distribution.LayoutMap`.
    """
    layouts = keras.distribution.LayoutMap(mesh)
    layouts[".*/(qkv|expand)/kernel"] = (_MODEL, None)  # (units, width)
    layouts[".*/(output_projection|project)/kernel"] = (None, _MODEL)
    layouts[".*/(qkv|expand)/bias"] = (_MODEL,)
    layouts[".*token_embedding/embeddings"] = (None, _MODEL)
    return layouts
