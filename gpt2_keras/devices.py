"""What Keras computes on: its backend; its device, why that is no GPU, and the choice of it."""

import dataclasses
import importlib.util
import os
import platform
import warnings
from pathlib import Path
from typing import Any, Literal

DeviceKind = Literal["cpu", "gpu", "tpu"]
KINDS = ("cpu", "gpu")  # that a user may choose

# What NVIDIA's driver makes on Linux, whether or not a program may use the GPU.
_DRIVER = Path("/proc/driver/nvidia/version")
_CPU_INFO = Path("/proc/cpuinfo")
# JAX takes one of them and, given both, does not start its CUDA plug-in.
_MEMORY = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")
# The kinds of device that this process was told to compute on.
_chosen: set[str] = set()
_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")


@dataclasses.dataclass(frozen=True)
class Device:
    """The device that Keras computes on, the first of several.

    Args:
        kind: `"cpu"`, `"gpu"` or `"tpu"`.
        name: Its name, such as `"NVIDIA H100 80GB HBM3"`.
        backend: Keras' backend.
    """

    kind: DeviceKind
    name: str
    backend: str

    def __str__(self) -> str:
        """Returns its kind, its name and the backend."""
        return f"{self.kind} ({self.name}), {self.backend}"

    def to_json(self) -> dict[str, str]:
        """Returns the fields."""
        return dataclasses.asdict(self)


def current_device() -> Device:
    """Returns the device that Keras computes on; loads Keras and its backend.

    Example:
        >>> current_device().backend
        'tensorflow'
    """
    import keras

    backend = keras.backend.backend()
    kind: DeviceKind
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        kind = device.platform if device.platform in ("cpu", "tpu") else "gpu"
        return Device(kind, _cpu_name() if kind == "cpu" else str(device.device_kind), backend)
    if backend == "tensorflow":
        import tensorflow as tf

        if gpus := tf.config.get_visible_devices("GPU"):
            details = tf.config.experimental.get_device_details(gpus[0])
            return Device("gpu", str(details.get("device_name", "unknown")), backend)
        if tf.config.get_visible_devices("TPU"):
            return Device("tpu", "TPU", backend)
    return Device("cpu", _cpu_name(), backend)


def why_no_gpu(device: Device) -> str | None:
    """Returns why a GPU of this machine is not used, and what to do; None if there is none.

    Args:
        device: The device that is used.
    """
    if device.kind != "cpu" or not _DRIVER.exists():
        return None
    for name, hidden in (("CUDA_VISIBLE_DEVICES", ("", "-1")), ("JAX_PLATFORMS", ("cpu",))):
        if os.environ.get(name) in hidden and (name.startswith("CUDA") or device.backend == "jax"):
            return f"{name}={os.environ[name]!r} hides it. Unset {name}."
    if device.backend == "jax":
        return _why_not_on_jax()
    if device.backend == "tensorflow":
        return (
            "TensorFlow does not find its CUDA libraries. "
            'Run: pip install "tensorflow[and-cuda]", or train on JAX with KERAS_BACKEND=jax.'
        )
    return f"the backend {device.backend} does not use it."


def warn_of_unused_gpu(device: Device) -> None:
    """Warns if this machine has a GPU that is not used, unless `hide_gpus` was called."""
    if "cpu" not in _chosen and (cause := why_no_gpu(device)):
        warnings.warn(f"There is a GPU, and it is not used: {cause}", stacklevel=3)


def _why_not_on_jax() -> str:
    both = [name for name in _MEMORY if name in os.environ]
    if len(both) > 1:
        return f"JAX starts no CUDA plug-in where {' and '.join(both)} are set. Unset one of them."
    if not any(map(importlib.util.find_spec, _PLUGINS)):
        return 'JAX has no CUDA plug-in. Run: pip install "jax[cuda13]".'
    return (
        "JAX' CUDA plug-in does not start. "
        "`JAX_PLATFORMS=cuda python -c 'import jax; jax.devices()'` says why."
    )


def require_tensorflow(what: str) -> None:
    """Checks that Keras runs on TensorFlow.

    Args:
        what: What needs it, such as `"An export"`.

    Raises:
        RuntimeError: If it runs on another backend.
    """
    import keras

    if (backend := keras.backend.backend()) != "tensorflow":
        raise RuntimeError(
            f"{what} needs TensorFlow, and Keras runs on the backend {backend!r}. Save the model "
            "(`save_to_preset`), and load it where KERAS_BACKEND=tensorflow."
        )


def check_compute_dtype(dtype: str) -> None:
    """Raises ValueError if the device has no products of a dtype, such as `"float16"`."""
    if dtype != "float16":  # seen in each call of a model: nothing is imported for others
        return
    import keras

    if keras.backend.backend() != "jax":
        return
    import jax

    if jax.default_backend() == "cpu":
        raise ValueError(
            "dtype float16 cannot be computed by JAX on a CPU, which has no products of it. Use "
            "bfloat16 (mixed_bfloat16), or a GPU."
        )


def hide_gpus() -> None:
    """Makes Keras compute on the CPU; call it before Keras is imported."""
    _chosen.add("cpu")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["JAX_PLATFORMS"] = "cpu"


def check_device(kind: str | None) -> Device:
    """Returns the device that Keras computes on.

    Args:
        kind: The one that the user chose, `"cpu"` or `"gpu"`, or None.

    Raises:
        ValueError: If it is another one.
    """
    device = current_device()
    if kind == "gpu" and device.kind == "cpu":
        cause = why_no_gpu(device) or "This machine has no NVIDIA driver. Leave out device='gpu'."
        raise ValueError(f"device='gpu' was chosen, and Keras computes on the {device}: {cause}")
    return device


def _cpu_name() -> str:
    """Returns the name of the processor, as Linux knows it."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names: list[Any] = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
    return str(names[0]).strip() if names else platform.processor() or platform.machine()
