"""How `GPT2LM.fit` takes a step: the options of `compile`, and which backend's step runs.

The steps are in `tensorflow_step.py` and `jax_step.py`, what both compute in `batch_loss.py`.
A batch is trained on in micro-batches if asked. The gradients of the micro-batches, and those
of all replicas, add up to the gradient of the mean over all tokens of the whole batch, and
only then are they clipped and applied. So neither the number of micro-batches nor that of
devices changes what is learned, whatever the padding.
"""

import dataclasses
import importlib
from types import ModuleType
from typing import Any

import keras

from gpt2_keras.layers.remat import check_remat
from gpt2_keras.training.distillation import Distillation
from gpt2_keras.training.loss import is_default_loss
from gpt2_keras.validation import check_flag, check_integer


@dataclasses.dataclass(frozen=True)
class StepOptions:
    """The options of a step: arguments of `GPT2LM.compile`, see there.

    Raises:
        TypeError: If an option is of the wrong type.
        ValueError: If `accumulation_steps` is below 1, or the backend cannot do `remat`.
    """

    accumulation_steps: int = 1
    remat: bool | str = False
    document_masking: bool = False
    distillation: Distillation | None = None

    def __post_init__(self) -> None:
        name, advice = "accumulation_steps", "Use 1 to train on whole batches."
        steps = check_integer(name, self.accumulation_steps, minimum=1, advice=advice)
        object.__setattr__(self, name, steps)
        check_remat("remat", self.remat)
        check_flag("document_masking", self.document_masking)

    def to_config(self) -> dict[str, Any]:
        """Returns the options that a `.keras` file holds: all but the teacher."""
        return {
            "accumulation_steps": self.accumulation_steps,
            "remat": self.remat,
            "document_masking": self.document_masking,
        }

    def check(self, model: Any) -> None:
        """Raises ValueError if a compiled model cannot train with these options."""
        if self.distillation is not None:
            self.distillation.check(model)
        given = {
            "accumulation_steps": (self.accumulation_steps, 1),
            "document_masking": (self.document_masking, False),
            "distill_from": (self.distillation and type(self.distillation.teacher).__name__, None),
        }
        for name, (value, unused) in given.items():
            if value != unused and not has_default_loss(model):
                raise ValueError(
                    f"{name}={value} needs the default loss and nothing added to "
                    f"it, but the model is compiled with loss={model.loss!r}. "
                    'Use loss="auto", without `loss_weights` or regularizers.'
                )


def has_default_loss(model: Any) -> bool:
    """Returns whether a compiled model minimizes the loss of `make_loss` and nothing else."""
    is_overridden = type(model).compute_loss is not keras.Model.compute_loss
    has_loss_weights = getattr(model, "_has_loss_weights", False)
    return is_default_loss(model.loss) and not (is_overridden or has_loss_weights or model.losses)


def backend_steps(model: Any) -> ModuleType | None:
    """Returns the module of `train_step` and `test_step` for the backend.

    Args:
        model: A compiled `GPT2LM`.

    Returns:
        `tensorflow_step` or `jax_step`; None where Keras' own steps are to be used: on
        another backend or with another loss.
    """
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax") or not has_default_loss(model):
        return None
    return importlib.import_module(f"gpt2_keras.training.{backend}_step")


def jit_by_default() -> bool | str:
    """Returns the default of `jit_compile`.

    On TensorFlow's CPU False: there XLA's matrix products are slower than
    TensorFlow's own, and compiling costs seconds. Measured with 4 layers of
    width 192 on 2 cores: 2700 to 2970 tokens per CPU-second without XLA, 2450 to
    2530 with it, and 10 s more before the first step. Elsewhere Keras' `"auto"`.
    """
    if keras.backend.backend() != "tensorflow":  # JAX raises if no such device exists
        return "auto"
    accelerated = keras.distribution.list_devices("gpu") or keras.distribution.list_devices("tpu")
    return "auto" if accelerated else False
