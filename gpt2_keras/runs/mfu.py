"""Model FLOPs utilization (MFU): the fraction of the peak FLOP/s that the training uses."""

import dataclasses
import functools
import math
import time

import numpy as np
from keras import ops

from gpt2_keras.config import GPT2Config
from gpt2_keras.devices import current_device

# Peak FLOP/s of one GPU in matrix products without sparsity: of 16-bit numbers summed in
# float32, and of float32 numbers, which TensorFlow and JAX multiply as TF32 where the GPU can.
# The first name that the device's name contains counts. Source: NVIDIA's data sheets; figures
# with sparsity are halved.
GPU_PEAKS = {
    "B200": (2250e12, 1125e12),
    "H200": (989e12, 494e12),
    "H100 PCIe": (756e12, 378e12),
    "H100 NVL": (835e12, 417e12),
    "H100": (989e12, 494e12),
    "A100": (312e12, 156e12),
    "L40S": (362e12, 183e12),
    "L4": (121e12, 60e12),
    "A10": (125e12, 62.5e12),
    "V100": (125e12, 15.7e12),
    "T4": (65e12, 8.1e12),
}
# Matrices whose product runs at about the full speed, and takes some 30 ms on two CPU cores.
_CPU_SIZE, _ACCELERATOR_SIZE = 1024, 8192
_TIMINGS = 10  # the best one counts: other programs may run on the machine
_UNITS = ("", "k", "M", "G", "T", "P", "E")


def flops_per_token(config: GPT2Config, teacher: GPT2Config | None = None) -> int:
    """Returns the FLOPs of training on one token, forward and backward.

    `6 N + 12 L H Q T`: N weights without the position embeddings, which multiply nothing,
    L layers, H heads of width Q, T tokens of context. Rematerialization does not count,
    nor does causality. Source: appendix B of "PaLM" (Chowdhery et al., 2022)
    and `estimate_mfu` of karpathy/nanoGPT. A teacher adds its forward pass, a third of that.

    Args:
        config: The model that is trained.
        teacher: That of a teacher that computes in each step.

    Example:
        >>> flops_per_token(GPT2Config.gpt2())
        855166464
    """
    learned = config.position_embedding == "learned"
    positions = config.context_length * config.hidden_dim if learned else 0
    products = 12 * config.num_layers * config.hidden_dim * config.context_length
    own = 6 * (config.num_parameters - positions) + products
    if teacher is None:
        return own
    # It reads windows of the student, not of its own context.
    windows = dataclasses.replace(teacher, context_length=config.context_length)
    return own + flops_per_token(windows) // 3


@dataclasses.dataclass(frozen=True)
class Peak:
    """The peak FLOP/s that the utilization is a fraction of.

    Args:
        flops: FLOP/s of all devices.
        source: The source of the figure, in a few words.
    """

    flops: float
    source: str

    def __str__(self) -> str:
        """Returns the figure with its unit and its source."""
        return f"{format_flops(self.flops)}/s ({self.source})"


def find_peak(
    dtype: str, stated: float | None = None, *, device: str | None = None, num_devices: int = 1
) -> Peak:
    """Returns the peak FLOP/s of the devices.

    Args:
        dtype: The dtype of the computation, such as `"bfloat16"`.
        stated: The FLOP/s of all devices, if known.
        device: Name of the GPU; by default the one that Keras uses, if any.
        num_devices: Number of devices.

    Returns:
        The stated figure; else NVIDIA's figure for a GPU of that name; else the FLOP/s of
        a matrix product, measured once per process.
    """
    if stated is not None:
        return Peak(stated, "as stated")
    if device is None:
        found = current_device()
        device = "" if found.kind == "cpu" else found.name
    for name, peaks in GPU_PEAKS.items():
        if device and name in device:
            flops = peaks[0 if dtype in ("bfloat16", "float16") else 1]
            times = f"{num_devices} × " if num_devices > 1 else ""
            return Peak(flops * num_devices, f"{times}{device}, {dtype}, by its data sheet")
    size = _ACCELERATOR_SIZE if device else _CPU_SIZE
    source = f"measured: a {dtype} product of {size} × {size} matrices"
    # Several virtual devices of a CPU share its cores, which one product already uses.
    return Peak(_measure_product(dtype, size) * (num_devices if device else 1), source)


def format_flops(flops: float) -> str:
    """Returns a number of FLOPs as text with its unit.

    Example:
        >>> format_flops(8.55e8), format_flops(989e12)
        ('855 MFLOP', '989 TFLOP')
    """
    power = min(max(0, int(math.log10(max(flops, 1))) // 3), len(_UNITS) - 1)
    return f"{flops / 1000**power:.3g} {_UNITS[power]}FLOP"


@functools.cache
def _measure_product(dtype: str, size: int) -> float:
    """Returns the FLOP/s of a product of two square matrices, the best of several."""
    numbers = np.random.default_rng(0).normal(size=(size, size)).astype("float32")
    matrix = ops.cast(ops.convert_to_tensor(numbers), dtype)
    times = []
    for _ in range(1 + _TIMINGS):
        start = time.perf_counter()
        product = ops.matmul(matrix, matrix)
        float(ops.cast(product[0, 0], "float32"))  # waits for the device
        times.append(time.perf_counter() - start)
    return float(2 * size**3 / min(times[1:]))  # the first one may compile
