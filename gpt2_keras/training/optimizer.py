"""AdamW as GPT-2 is trained with."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from gpt2_keras.private_api import AdamWSteps
from gpt2_keras.training.schedule import FINAL_LEARNING_RATE_RATIO, make_schedule

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
    """Keras' AdamW, which also remembers what weight decay leaves alone.

    With Keras' own class `exclude_from_weight_decay` is forgotten when a model
    is saved, and decay returns to every weight after loading.

    Args:
        learning_rate: A number or a schedule.
        no_decay: Weights whose name has one of these words do not decay.
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

    def update_step(
        self, gradient: Any, variable: Any, learning_rate: Any, share: Any = 1.0
    ) -> None:
        """Updates one weight, on TensorFlow in a single pass over it and its moments.

        `share` is what clipping leaves of the gradient.
        """
        if keras.backend.backend() != "tensorflow":
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        from gpt2_keras.layers.kernels import fused

        dtype = variable.dtype
        decay = self.weight_decay if self.has_weight_decay(variable) else 0.0
        decay = ops.cast(decay * learning_rate, dtype)
        gradient = ops.cast(tf.convert_to_tensor(gradient), dtype)
        share = ops.cast(share, dtype)
        if self.amsgrad:  # which the formula below does not know
            with tf.control_dependencies([gradient]):
                variable.assign_sub(variable * decay)
            super().update_step(gradient * share, variable, learning_rate)
            return
        momentum, velocity = self.moments(variable)
        numbers = (learning_rate, decay, self.beta_1, self.beta_2, self.epsilon)
        # Earlier, while the backward pass still reads the weight, it would be copied.
        with tf.control_dependencies([gradient]):
            fused.adamw(
                (variable, momentum.value, velocity.value),
                gradient,
                fused.AdamWNumbers(
                    share, *(ops.cast(each, dtype) for each in (*numbers, self.iterations + 1))
                ),
            )

    def apply_weight_decay(self, variables: list[Any]) -> None:
        """Decays all weights, where `update_step` does not."""
        if keras.backend.backend() != "tensorflow":
            super().apply_weight_decay(variables)  # on TensorFlow `update_step` does it

    def clip_gradients(self, grads: list[Any]) -> list[Any]:
        """Returns the clipped gradients, or leaves it to `update_weights`."""
        if not self.global_clipnorm:
            return super().clip_gradients(grads)
        if _is_alone():
            return grads  # `update_weights` does it
        share = self._share(grads)
        return [grad if grad is None else grad * ops.cast(share, grad.dtype) for grad in grads]

    def _share(self, grads: list[Any]) -> Any:
        """Returns by how much clipping multiplies the gradients."""
        return self.global_clipnorm / ops.maximum(global_norm(grads), self.global_clipnorm)

    def update_weights(self, grads: list[Any], variables: list[Any], rate: Any) -> None:
        """Updates all weights, gradients clipped."""
        if not (self.global_clipnorm and _is_alone()):
            super().update_weights(grads, variables, rate)
            return
        share = self._share(grads)
        for grad, variable in zip(grads, variables, strict=True):
            self.update_step(grad, getattr(variable, "value", variable), rate, share)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the optimizer."""
        return {**super().get_config(), "no_decay": list(self.no_decay)}


def _is_alone() -> bool:
    """Returns whether TensorFlow trains on one device, so that steps need no agreement."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.distribute.has_strategy()


def global_norm(gradients: Sequence[Any]) -> Any:
    """Returns the Euclidean norm of all gradients together; None among them counts 0.

    Example:
        >>> float(global_norm([np.array([3.0], "float32"), None, np.array([4.0], "float32")]))
        5.0
    """
    if not any(gradient is not None for gradient in gradients):
        return ops.zeros(())
    squares = [_sum_of_squares(gradient) for gradient in gradients if gradient is not None]
    return ops.sqrt(ops.sum(ops.stack(squares)))


def _sum_of_squares(gradient: Any) -> Any:
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

    AdamW, with gradients clipped by their global norm, and no decay of biases,
    norms and embeddings.

    Args:
        learning_rate: The largest learning rate.
        total_steps: Number of steps of the training, for a linear warm-up and a
            cosine, see `make_schedule`; None for a constant rate.
        warmup_steps: Number of warm-up steps; by default a twentieth of the
            whole, at most 2000.
        weight_decay: Share of each weight that decays, times the learning rate.
        beta_2: Memory of the squared gradients. nanoGPT has 0.99 for batches of
            few tokens.
        clip_norm: Largest global norm of the gradients; None for no limit.
        schedule, final_learning_rate_ratio: With `total_steps`, those of `make_schedule`.
        ema: Memory of a moving average of the weights, which the optimizer then
            keeps beside them; None for no average.

    Raises:
        ValueError: If a warm-up is wanted without `total_steps`, or the two do
            not fit together.

    Example:
        >>> make_optimizer(1e-3, total_steps=100).global_clipnorm
        1.0
    """
    rate: Any = learning_rate
    if total_steps is not None:
        rate = make_schedule(
            learning_rate,
            total_steps,
            warmup_steps,
            kind=schedule,
            final_learning_rate_ratio=final_learning_rate_ratio,
        )
    elif warmup_steps:
        raise ValueError(
            "A warm-up needs the number of steps of the whole training. "
            f"Received: warmup_steps={warmup_steps}, total_steps=None. Give `total_steps` too."
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
    """Returns the learning rate that is usual for a model.

    Args:
        num_parameters: The size of the model. Small ones take larger steps.
        fine_tuning: Whether the model is trained already.
    """
    if fine_tuning:
        return FINE_TUNING_LEARNING_RATE
    return SMALL_LEARNING_RATE if num_parameters < SMALL_PARAMETERS else LEARNING_RATE


def jit_by_default() -> bool | str:
    """Returns what `jit_compile` means where nobody says.

    On TensorFlow's CPU False: there XLA's matrix products are slower than
    TensorFlow's own, and compiling costs seconds. Measured with 4 layers of
    width 192 on 2 cores: 2700 to 2970 tokens per CPU-second without XLA, 2450 to
    2530 with it, and 10 s more before the first step. Elsewhere Keras' `"auto"`.
    """
    if keras.backend.backend() != "tensorflow":  # JAX raises where a kind of device is missing
        return "auto"
    accelerated = keras.distribution.list_devices("gpu") or keras.distribution.list_devices("tpu")
    return "auto" if accelerated else False
