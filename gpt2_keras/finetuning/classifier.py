"""Labels for texts, by a GPT-2 with a new head."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from gpt2_keras.layers.initializers import KERNEL_STDDEV
from gpt2_keras.model import GPT2Model


@keras.saving.register_keras_serializable(package="gpt2_keras")
class GPT2Classifier(keras.Model):
    """Tells which of some labels a text has, from the hidden state of its last token.

    The last token is the only one that has seen the whole text. A standard Keras
    model: `compile()` without arguments sets an optimizer for fine-tuning, cross
    entropy and accuracy; `fit()` takes what `encode` makes of texts, and the
    numbers of their labels. Source: `finetune` in section 3.2 of "Improving
    Language Understanding by Generative Pre-Training" (Radford et al., 2018).

    Args:
        language_model: A trained model, which becomes part of this one: training
            changes it. `freeze` or `enable_lora` it first to leave it be.
        labels: The names of the labels, at least two.
        dtype: Keras dtype or policy of the new head; by default float32.

    Call arguments:
        inputs: Int tensor `(batch, time)` of token ids, or a dictionary of these
            as `token_ids` and, as `padding_mask`, a bool tensor `(batch, time)`,
            False for padding on either side.

    Returns:
        Logits, float32 `(batch, labels)`.

    Raises:
        ValueError: If there are fewer than two labels, or one is given twice.

    Example:
        >>> config = GPT2Config(vocab_size=100, context_length=16, num_layers=2,
        ...                     num_heads=2, hidden_dim=8)
        >>> classifier = GPT2Classifier(GPT2LM(config), ["dull", "exciting"])
        >>> classifier(np.array([[1, 2, 3]])).shape
        TensorShape([1, 2])
    """

    def __init__(self, language_model: GPT2Model, labels: Sequence[str], **kwargs: Any) -> None:
        if isinstance(labels, str) or not 2 <= len(labels) == len(set(labels)):
            raise ValueError(
                "`labels` must be two names or more, each once. "
                f'Received: labels={labels!r}. Use, for example, ["no", "yes"].'
            )
        super().__init__(**kwargs)
        self.language_model = language_model
        self.labels = list(labels)
        self.head = keras.layers.Dense(
            len(labels),
            use_bias=False,
            kernel_initializer=keras.initializers.RandomNormal(stddev=KERNEL_STDDEV),
            dtype=self.dtype_policy,
            name="head",
        )
        self.head.build((None, language_model.config.hidden_dim))
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Computes the logits of the labels; see the class."""
        mask = None
        if isinstance(inputs, dict):
            inputs, mask = inputs["token_ids"], inputs.get("padding_mask")
        _, states = self.language_model(
            inputs, padding_mask=mask, num_logits=1, return_hidden_states=True, training=training
        )
        state = states[-1]  # (batch, time, width)
        if mask is None:
            last = state[:, -1]  # (batch, width)
        else:
            slots = ops.arange(ops.shape(mask)[1], dtype="int32")
            at = ops.max(ops.where(mask, slots, 0), axis=1)  # (batch,)
            at = ops.expand_dims(ops.expand_dims(at, 1), 2)  # (batch, 1, 1)
            last = ops.take_along_axis(state, at, axis=1)[:, 0]  # (batch, width)
        return ops.cast(self.head(last), "float32")  # (batch, labels)

    def encode(self, texts: str | Sequence[str]) -> dict[str, np.ndarray]:
        """Returns what `fit`, `predict` and a call take for texts.

        Of a text longer than the context the last tokens are kept. An empty text
        is a single `<|endoftext|>`.

        Returns:
            `token_ids`, int32 `(batch, time)`, and `padding_mask`, bool of the same
            shape; padding is on the right.

        Raises:
            ValueError: If the language model has no tokenizer.
        """
        tokenizer = self.language_model.require_tokenizer()
        end, length = tokenizer.end_token_id, self.language_model.config.context_length
        texts = [texts] if isinstance(texts, str) else list(texts)
        rows = [ids[-length:] or [end] for ids in tokenizer.encode(texts)]
        token_ids = np.full((len(rows), max(map(len, rows), default=1)), end, "int32")
        padding_mask = np.zeros(token_ids.shape, "bool")
        for row, ids in enumerate(rows):
            token_ids[row, : len(ids)] = ids
            padding_mask[row, : len(ids)] = True
        return {"token_ids": token_ids, "padding_mask": padding_mask}

    def classify(self, texts: Sequence[str]) -> list[str]:
        """Returns the likeliest label of each text.

        Raises:
            ValueError: If the language model has no tokenizer.
        """
        logits = ops.convert_to_numpy(self(self.encode(texts), training=False))
        return [self.labels[number] for number in logits.argmax(axis=-1)]

    def compile(
        self, optimizer: Any = "auto", loss: Any = "auto", metrics: Any = "auto", **kwargs: Any
    ) -> None:
        """Configures training; every default is a usual choice for fine-tuning.

        Args:
            optimizer: A Keras optimizer; by default `training.make_optimizer` with
                the learning rate of fine-tuning.
            loss: A Keras loss on label numbers and logits; by default cross entropy.
            metrics: Keras metrics; by default accuracy.
            **kwargs: As for `keras.Model.compile`.
        """
        from gpt2_keras import training

        if optimizer == "auto":
            optimizer = training.make_optimizer(training.optimizer.FINE_TUNING_LEARNING_RATE)
        if loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        kwargs.setdefault("jit_compile", training.jit_by_default())
        metrics = ["accuracy"] if metrics == "auto" else metrics
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as a `.keras` file says; Keras calls this."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the model."""
        return {
            **super().get_config(),
            "language_model": keras.saving.serialize_keras_object(self.language_model),
            "labels": self.labels,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Rebuilds the model of a `get_config` dictionary."""
        model = keras.saving.deserialize_keras_object(
            config["language_model"], custom_objects=custom_objects
        )
        return cls(**{**config, "language_model": model})

    @classmethod
    def from_preset(
        cls, preset: str | Path, *, model_class: type[GPT2Model] = GPT2Model, **kwargs: Any
    ) -> Self:
        """Loads a classifier; see `gpt2_keras.checkpoints.load_classifier`."""
        from gpt2_keras import checkpoints

        return checkpoints.load_classifier(
            preset, classifier_class=cls, model_class=model_class, **kwargs
        )

    def save_to_preset(self, directory: str | Path) -> None:
        """Writes a directory; see `gpt2_keras.checkpoints.save_classifier`."""
        from gpt2_keras import checkpoints

        checkpoints.save_classifier(self, directory)
