"""Chooses the devices to train on, and the layout of the weights over them.

The strategies themselves are in strategies.py.
"""

import os
from typing import Any

import keras

from gpt2_keras.json_text import parse_json
from gpt2_keras.private_api.keras import process_id
from gpt2_keras.runs.strategies import JaxStrategy, Strategy, TensorFlowStrategy
from gpt2_keras.validation import check_choice, check_integer

STRATEGIES = ("auto", "none", "mirrored", "multi-worker", "tpu")
_BATCH, _MODEL = "batch", "model"  # axes of the mesh of devices
# The environment variable that `keras.distribution.initialize()` reads.
_JAX_ADDRESSES = "KERAS_DISTRIBUTION_JOB_ADDRESSES"


def open_strategy(name: str = "auto", model_parallel: int = 1) -> Strategy:
    """Returns the strategy that trains on the devices at hand.

    With several workers it must be called before TensorFlow or JAX computes anything.

    Args:
        name: `"none"`: one device. `"mirrored"`: the devices of this machine.
            `"multi-worker"`: those of several machines, named by `TF_CONFIG` (TensorFlow) or
            `KERAS_DISTRIBUTION_*` (JAX). `"tpu"`: TPUs. `"auto"`: several workers if the
            environment names them, else all GPUs (with JAX all devices) of this machine.
        model_parallel: Number of devices that each copy of the model is laid out over, at
            least 1; JAX only.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If the name is unknown, or the backend or the number of devices does not
            allow it.

    Example:
        >>> open_strategy("none").num_replicas
        1
    """
    check_choice("strategy", name, STRATEGIES, advice="Use auto if in doubt.")
    check_integer("model_parallel", model_parallel, minimum=1)
    backend = keras.backend.backend()
    if backend == "jax":
        return _open_on_jax(name, model_parallel)
    if model_parallel > 1:
        raise ValueError(
            f"model_parallel={model_parallel} needs JAX, and Keras' backend is {backend}. "
            "Set KERAS_BACKEND=jax, or leave it out."
        )
    return _open_on_tensorflow(name)


def _open_on_tensorflow(name: str) -> Strategy:
    import tensorflow as tf

    cluster = parse_json(os.environ.get("TF_CONFIG") or "{}")
    num_workers = sum(map(len, (cluster.get("cluster") or {}).values()))
    if name == "multi-worker" and not num_workers:
        raise ValueError(
            "strategy='multi-worker' finds no workers in the environment variable "
            f"TF_CONFIG={os.environ.get('TF_CONFIG')!r}. Set it on each machine, or use mirrored "
            "for the devices of one."
        )
    if name == "multi-worker" or (name == "auto" and num_workers > 1):
        task = cluster.get("task", {})
        has_chief = "chief" in cluster["cluster"]
        is_chief = task.get("type") == "chief" or not (has_chief or int(task.get("index", 0)))
        return _tensorflow_strategy(tf.distribute.MultiWorkerMirroredStrategy(), is_chief=is_chief)
    if name == "tpu":
        address = os.environ.get("TPU_NAME", "local")
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(address)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return _tensorflow_strategy(tf.distribute.TPUStrategy(resolver))
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
        return _tensorflow_strategy(tf.distribute.MirroredStrategy(devices))
    return Strategy()


def _tensorflow_strategy(tf_strategy: Any, *, is_chief: bool = True) -> Strategy:
    count = tf_strategy.num_replicas_in_sync
    return TensorFlowStrategy(count, count, is_chief, tf_strategy)


def _open_on_jax(name: str, model_parallel: int) -> Strategy:
    if name == "multi-worker" or (name == "auto" and _JAX_ADDRESSES in os.environ):
        keras.distribution.initialize()
    devices = keras.distribution.list_devices("tpu" if name == "tpu" else None)
    if model_parallel == 1 and (name == "none" or (name == "auto" and len(devices) == 1)):
        return Strategy()
    if len(devices) % model_parallel or name == "none":
        raise ValueError(
            f"model_parallel={model_parallel} with strategy={name!r} does not divide "
            f"{len(devices)} devices evenly. Use a divisor of the number of devices, and "
            "strategy='auto'."
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
                f"model_parallel={model_parallel} lays the model out over the devices of one "
                f"process, and there are {distribution.num_processes}. Use model_parallel=1."
            )
    else:
        distribution = keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    return JaxStrategy(shape[0], len(devices), not process_id(distribution), distribution)


def layout_map(mesh: Any) -> Any:
    """Returns the layout of the weights of a `GPT2LM` over the model axis of a mesh.

    Of each pair of projections the first, to queries, keys and values or to the feed-forward
    width, is split by its outputs and the second by its inputs, as in "Megatron-LM" (Shoeybi
    et al., 2019, section 3). The token embeddings are split by their width, as the only
    divisors of 50257 are 29 and 1733. All other weights are replicated.

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
