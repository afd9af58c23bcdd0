"""How a step of training goes about a batch."""

import dataclasses
from typing import Any

import keras

from gpt2_keras.training.loss import is_default_loss


@dataclasses.dataclass(frozen=True)
class StepOptions:
    """How a step goes about a batch; see `GPT2LM.compile`.

    Raises:
        TypeError: If `accumulation_steps` is not an integer.
        ValueError: If it is below 1.
    """

    accumulation_steps: int = 1
    recompute: bool = False
    separate_documents: bool = False

    def __post_init__(self) -> None:
        steps = self.accumulation_steps
        if isinstance(steps, bool) or not isinstance(steps, int):
            raise TypeError(
                "`accumulation_steps` must be an integer. "
                f"Received: accumulation_steps={steps!r}. Use 1 for a batch in one part."
            )
        if steps < 1:
            raise ValueError(
                "`accumulation_steps` must be at least 1. "
                f"Received: accumulation_steps={steps}. Use 1 for a batch in one part."
            )

    def check(self, model: Any) -> None:
        """Raises ValueError if a compiled model cannot train so."""
        if self.accumulation_steps > 1 and not has_default_loss(model):
            raise ValueError(
                "Only the default loss is computed in parts. "
                f"Received: accumulation_steps={self.accumulation_steps}, loss={model.loss!r}. "
                'Use loss="auto", or `gradient_accumulation_steps` of a Keras optimizer.'
            )
        if self.separate_documents and not has_default_loss(model):
            raise ValueError(
                "Only the step with the default loss keeps documents apart. "
                f"Received: separate_documents=True, loss={model.loss!r}. "
                'Use loss="auto", without `loss_weights` or regularizers.'
            )


def has_default_loss(model: Any) -> bool:
    """Returns whether a compiled model minimises the loss of `make_loss` and nothing else."""
    overridden = type(model).compute_loss is not keras.Model.compute_loss
    weighed = getattr(model, "_weighs_loss", False)
    return is_default_loss(model.loss) and not (overridden or weighed or model.losses)
