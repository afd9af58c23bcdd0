"""GPT-2's optimizer: AdamW with gradient clipping, its constants and its default learning rates."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from gpt2_keras.private_api.keras import AdamWSteps
from gpt2_keras.training.schedule import FINAL_LEARNING_RATE_RATIO, make_schedule
from gpt2_keras.validation import check_number

# The 125M model of "Language Models are Few-Shot Learners" (Brown et al., 2020), table 2.1;
# karpathy/nanoGPT train.py, learning_rate.
LEARNING_RATE = 6e-4
SMALL_LEARNING_RATE = 1e-3  # karpathy/nanoGPT config/train_shakespeare_char.py, learning_rate
SMALL_PARAMETERS = 50_000_000  # between nanoGPT's small networks (11M) and GPT-2 (124M)
FINE_TUNING_LEARNING_RATE = 3e-5  # karpathy/nanoGPT config/finetune_shakespeare.py, learning_rate
BETA_1 = 0.9  # Brown et al. (2020), appendix B
BETA_2 = 0.95  # Brown et al. (2020), appendix B
EPSILON = 1e-8  # Brown et al. (2020), appendix B
WEIGHT_DECAY = 0.1  # Brown et al. (2020), appendix B
CLIP_NORM = 1.0  # Brown et al. (2020), appendix B
# Biases, the two weights of a LayerNormalization, and both embeddings, as Keras names them.
NO_DECAY = ("bias", "beta", "gamma", "embeddings")


@keras.saving.register_keras_serializable(package="gpt2_keras")
class AdamW(AdamWSteps):
    """Keras' AdamW that saves which weights do not decay, and updates in one pass over memory.

    With Keras' own class `exclude_from_weight_decay` is lost when a model is saved, and every
    weight decays after loading.

    Args:
        learning_rate: A number or a schedule.
        no_decay: Weights whose name contains one of these words do not decay.
        **kwargs: As for `keras.optimizers.AdamW`.

    Example:
        >>> optimizer = AdamW(1e-3, no_decay=["bias"])
        >>> AdamW.from_config(optimizer.get_config()).no_decay
        ('bias',)
    """

    def __init__(
        self, learning_rate: Any = LEARNING_RATE, no_decay: Sequence[str] = NO_DECAY, **kwargs: Any
    ) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.no_decay = tuple(no_decay)
        self.exclude_from_weight_decay(var_names=list(self.no_decay))

    def clip_gradients(self, gradients: list[Any]) -> list[Any]:
        """Returns the clipped gradients, or those given if `update_weights` clips them."""
        if not self.global_clipnorm:
            return super().clip_gradients(gradients)
        if _is_single_device():
            return gradients
        coefficient = self._clip_coefficient(gradients)
        return [
            gradient if gradient is None else gradient * ops.cast(coefficient, gradient.dtype)
            for gradient in gradients
        ]

    def _clip_coefficient(self, gradients: list[Any]) -> Any:
        """Returns the factor of the gradients that limits their global norm, float32 scalar."""
        return self.global_clipnorm / ops.maximum(global_norm(gradients), self.global_clipnorm)

    def update_weights(self, gradients: list[Any], variables: list[Any], rate: Any) -> None:
        """Updates all weights; on a single device gradients are clipped in the same pass."""
        if not (self.global_clipnorm and _is_single_device()):
            super().update_weights(gradients, variables, rate)
            return
        coefficient = self._clip_coefficient(gradients)
        for gradient, variable in zip(gradients, variables, strict=True):
            self.update_step(gradient, getattr(variable, "value", variable), rate, coefficient)

    def update_step(
        self, gradient: Any, variable: Any, learning_rate: Any, clip_coefficient: Any = 1.0
    ) -> None:
        """Updates one weight, on TensorFlow in a single pass over it and its moments."""
        if keras.backend.backend() != "tensorflow":
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        from gpt2_keras.layers.kernels import fused

        dtype = variable.dtype
        decay = self.weight_decay if self.has_weight_decay(variable) else 0.0
        decay = ops.cast(decay * learning_rate, dtype)
        gradient = ops.cast(tf.convert_to_tensor(gradient), dtype)
        clip_coefficient = ops.cast(clip_coefficient, dtype)
        if self.amsgrad:  # not in the formula of `fused.adamw`
            with tf.control_dependencies([gradient]):
                variable.assign_sub(variable * decay)
            super().update_step(gradient * clip_coefficient, variable, learning_rate)
            return
        momentum, velocity = self.moments(variable)
        numbers = (learning_rate, decay, self.beta_1, self.beta_2, self.epsilon)
        scalars = [ops.cast(number, dtype) for number in (*numbers, self.iterations + 1)]
        # Earlier, while the backward pass still reads the weight, it would be copied.
        with tf.control_dependencies([gradient]):
            state = (variable, momentum.value, velocity.value)
            fused.adamw(state, gradient, fused.AdamWNumbers(clip_coefficient, *scalars))

    def apply_weight_decay(self, variables: list[Any]) -> None:
        """Decays all weights; on TensorFlow `update_step` does it."""
        if keras.backend.backend() != "tensorflow":
            super().apply_weight_decay(variables)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the optimizer."""
        return {**super().get_config(), "no_decay": list(self.no_decay)}


def _is_single_device() -> bool:
    """Returns whether TensorFlow trains without a `tf.distribute` strategy."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.distribute.has_strategy()


def global_norm(gradients: Sequence[Any]) -> Any:
    """Returns the Euclidean norm of all gradients together; None among them counts as 0.

    Example:
        >>> float(global_norm([np.array([3.0], "float32"), None, np.array([4.0], "float32")]))
        5.0
    """
    squares = [_sum_of_squares(gradient) for gradient in gradients if gradient is not None]
    return ops.sqrt(ops.sum(ops.stack(squares))) if squares else ops.zeros(())


def _sum_of_squares(gradient: Any) -> Any:
    """Returns the sum of the squares of a tensor, float32 scalar."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return 2 * tf.nn.l2_loss(tf.cast(tf.convert_to_tensor(gradient), "float32"))
    return ops.sum(ops.square(ops.cast(gradient, "float32")))


def make_optimizer(
    learning_rate: float = LEARNING_RATE,
    total_steps: int | None = None,
    *,
    warmup_steps: int | None = None,
    weight_decay: float = WEIGHT_DECAY,
    beta_2: float = BETA_2,
    clip_norm: float | None = CLIP_NORM,
    schedule: str = "cosine",
    final_learning_rate_ratio: float = FINAL_LEARNING_RATE_RATIO,
    ema: float | None = None,
) -> AdamW:
    """Returns the optimizer that GPT-2 is usually trained with.

    AdamW, with gradients clipped by their global norm, and no weight decay of biases,
    norms and embeddings.

    Args:
        learning_rate: The largest learning rate, at least 0.
        total_steps: Number of steps of the training, for a linear warm-up and a
            cosine decay, see `make_schedule`; None for a constant rate.
        warmup_steps: Number of warm-up steps; by default a twentieth of the
            whole, at most 2000.
        weight_decay: Fraction of each weight that decays per step, times the learning
            rate; at least 0.
        beta_2: Decay rate of the second moment, in [0, 1). nanoGPT has 0.99 for batches of
            few tokens.
        clip_norm: Largest global norm of the gradients, above 0; None for no limit.
        schedule, final_learning_rate_ratio: With `total_steps`, the `decay` and the ratio of
            `make_schedule`.
        ema: Decay rate of a moving average of the weights, in (0, 1), which the optimizer
            then keeps beside them; None for no average.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a number is out of its range, if there is a warm-up without
            `total_steps`, or it is not shorter than that.

    Example:
        >>> make_optimizer(1e-3, total_steps=100).global_clipnorm
        1.0
    """
    check_number("learning_rate", learning_rate, minimum=0)
    check_number("weight_decay", weight_decay, minimum=0)
    check_number("beta_2", beta_2, minimum=0, below=1)
    if clip_norm is not None:
        check_number("clip_norm", clip_norm, above=0, advice="Use None for no limit.")
    if ema is not None:
        check_number("ema", ema, above=0, below=1, advice="Use None for no average.")
    rate: Any = learning_rate
    if total_steps is not None:
        rate = make_schedule(
            learning_rate,
            total_steps,
            warmup_steps,
            decay=schedule,
            final_learning_rate_ratio=final_learning_rate_ratio,
        )
    elif warmup_steps:
        raise ValueError(
            f"warmup_steps={warmup_steps} was given without total_steps. A warm-up is part of a "
            "schedule over the whole training. Set `total_steps`, or leave out `warmup_steps`."
        )
    return AdamW(
        rate,
        weight_decay=weight_decay,
        beta_1=BETA_1,
        beta_2=beta_2,
        epsilon=EPSILON,
        global_clipnorm=clip_norm,
        use_ema=ema is not None,
        ema_momentum=ema or 0.0,
    )


def default_learning_rate(num_parameters: int, *, fine_tuning: bool = False) -> float:
    """Returns the usual learning rate of a model.

    Args:
        num_parameters: The size of the model. Small ones take larger steps.
        fine_tuning: Whether the model is pretrained.
    """
    if fine_tuning:
        return FINE_TUNING_LEARNING_RATE
    return SMALL_LEARNING_RATE if num_parameters < SMALL_PARAMETERS else LEARNING_RATE
