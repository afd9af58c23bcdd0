"""The peers of the training benchmarks: each trains one `Job`.

Run as a program, it trains a job in this process and prints the result as a line of JSON.

Every peer trains the same shape on the same random ids by AdamW (weight decay 0.1, betas
0.9 and 0.95), clips gradients by their global norm 1.0 and has no dropout. A Keras peer
trains as users do, by `fit`: on TensorFlow over a `tf.data` dataset, on JAX over NumPy
arrays; a PyTorch peer by the usual loop.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _turns import Job, Times, needed_steps

CLIP_NORM = 1.0


def fit(model: Any, inputs: Any, targets: np.ndarray, job: Job, times: Times) -> dict[str, Any]:
    """Trains a compiled Keras model."""
    import keras

    class Clock(keras.callbacks.Callback):
        """Records when steps end, and waits for the device only at the timed ones."""

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
            if batch - 1 in needed_steps(job):
                # On JAX the current weights are in this state between steps.
                state = getattr(self.model, "_jax_state", None)
                weights = state["trainable_variables"] if state else self.model.trainable_variables
                keras.ops.convert_to_numpy(
                    weights[-1]
                )  # a small weight: ready when the step is done
                times.ends[batch - 1] = time.perf_counter()

    options = {"callbacks": [Clock()], "verbose": 0}
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        data = tf.data.Dataset.from_tensor_slices((inputs, targets))
        data = data.batch(job.batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
        history = model.fit(data, **options)
    else:
        options |= {"batch_size": job.batch_size, "shuffle": False}
        history = model.fit(inputs, targets, **options)
    times.loss = history.history["loss"][-1]
    return times.result(job) | keras_device()


def keras_device() -> dict[str, Any]:
    """Returns the name and peak memory of the GPU that Keras used; empty if none."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform == "cpu":
            return {}
        peak = (device.memory_stats() or {}).get("peak_bytes_in_use", math.nan)
        return {"device": device.device_kind, "peak_device_megabytes": peak / 2**20}
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return {}
    name = tf.config.experimental.get_device_details(gpus[0])["device_name"]
    peak = tf.config.experimental.get_memory_info("GPU:0")["peak"]
    return {"device": name, "peak_device_megabytes": peak / 2**20}


def torch_device() -> dict[str, Any]:
    """Returns the name and peak memory of the GPU that PyTorch used; empty if none."""
    import torch

    if not torch.cuda.is_available():
        return {}
    peak = torch.cuda.max_memory_allocated()
    return {"device": torch.cuda.get_device_name(), "peak_device_megabytes": peak / 2**20}


def set_keras_dtype(job: Job) -> None:
    import keras

    if job.dtype != "float32":
        keras.config.set_dtype_policy(f"mixed_{job.dtype}")


def train_gpt2_keras(job: Job) -> dict[str, Any]:
    import keras

    from gpt2_keras import GPT2LM, GPT2Config

    keras.ops.zeros(1)  # initializes the backend and its devices
    set_keras_dtype(job)
    inputs, targets = job.batches()
    times = Times()
    model = GPT2LM(GPT2Config(**job.shape(), dropout_rate=job.dropout_rate))
    model.compile(remat=job.remat)
    return fit(model, inputs, targets, job, times)


def train_keras_hub(job: Job, jit_compile: bool | str = "auto") -> dict[str, Any]:
    import keras
    import keras_hub

    keras.ops.zeros(1)
    set_keras_dtype(job)
    inputs, targets = job.batches()
    times = Times()
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=job.vocab_size,
        num_layers=job.num_layers,
        num_heads=job.num_heads,
        hidden_dim=job.hidden_dim,
        intermediate_dim=4 * job.hidden_dim,
        dropout=0.0,
        max_sequence_length=job.context_length,
    )
    model = keras_hub.models.GPT2CausalLM(backbone, preprocessor=None)
    optimizer = keras.optimizers.AdamW(
        6e-4, weight_decay=0.1, beta_2=0.95, epsilon=1e-8, global_clipnorm=CLIP_NORM
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "embeddings"])
    model.compile(optimizer=optimizer, weighted_metrics=[], jit_compile=jit_compile)
    features = {"token_ids": inputs, "padding_mask": np.ones_like(inputs)}
    return fit(model, features, targets, job, times)


def loop(model: Any, inputs: Any, targets: Any, job: Job, times: Times) -> dict[str, Any]:
    """Trains a PyTorch module that returns the loss of inputs and targets."""
    import torch
    from _plain_torch import make_adamw

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(os.cpu_count() or 1)
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU, as in JAX
    model = model.to(device).train()
    optimizer = make_adamw(model.parameters())
    mixed_precision = job.dtype != "float32"
    x, y = (torch.from_numpy(ids).long().split(job.batch_size) for ids in (inputs, targets))
    for step, (ids, labels) in enumerate(zip(x, y, strict=True)):
        with torch.autocast(device, dtype=torch.bfloat16, enabled=mixed_precision):
            loss = model(ids.to(device), labels.to(device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()
        if step in needed_steps(job):
            times.loss = float(loss)
            if device == "cuda":
                torch.cuda.synchronize()  # the loss is ready before the optimizer's update
            times.ends[step] = time.perf_counter()
        if step == needed_steps(job)[-1]:
            break
    return times.result(job) | torch_device()


def train_transformers(job: Job) -> dict[str, Any]:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    class LossOnly(torch.nn.Module):
        """Returns only the loss; the model shifts its labels itself."""

        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, _: Any) -> Any:
            return self.model(ids, labels=ids).loss

    inputs, targets = job.batches()
    times = Times()
    config = GPT2Config(
        **job.transformers_shape(),
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    return loop(LossOnly(GPT2LMHeadModel(config)), inputs, targets, job, times)


def train_torch(job: Job, compiled: bool = False) -> dict[str, Any]:
    import torch
    from _plain_torch import PlainGPT2

    inputs, targets = job.batches()
    times = Times()
    shape = (job.num_layers, job.num_heads, job.hidden_dim)
    model: Any = PlainGPT2(job.vocab_size, job.context_length, *shape)
    return loop(torch.compile(model) if compiled else model, inputs, targets, job, times)


TRAINERS: dict[str, Callable[[Job], dict[str, Any]]] = {
    "gpt2_keras": train_gpt2_keras,
    "gpt2_keras_jax": train_gpt2_keras,
    "keras_hub": train_keras_hub,
    "keras_hub_jit": lambda job: train_keras_hub(job, jit_compile=True),
    "keras_hub_jax": train_keras_hub,
    "transformers": train_transformers,
    "torch": train_torch,
    "torch_compile": lambda job: train_torch(job, compiled=True),
}


def main() -> None:
    peer, job = sys.argv[1:]
    print(json.dumps(TRAINERS[peer](Job(**json.loads(job)))))


if __name__ == "__main__":
    main()
