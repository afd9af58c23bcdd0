"""A classifier of texts: a GPT-2 with a new head."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from gpt2_keras import checkpoints
from gpt2_keras.applications import Classification
from gpt2_keras.layers.initializers import KERNEL_STDDEV
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer.special_tokens import SpecialTokens
from gpt2_keras.training.optimizer import FINE_TUNING_LEARNING_RATE, make_optimizer
from gpt2_keras.training.step import jit_by_default
from gpt2_keras.validation import check_instance, check_texts


@keras.saving.register_keras_serializable(package="gpt2_keras")
class GPT2Classifier(keras.Model):
    """A classifier that computes the label of a text from the hidden state of its last token.

    The last token is the only one that attends to the whole text. A standard Keras
    model: `compile()` without arguments sets an optimizer for fine-tuning, cross
    entropy and accuracy; `fit()` takes what `encode` returns for texts, and the
    indices of their labels. Source: `finetune` in section 3.2 of "Improving
    Language Understanding by Generative Pre-Training" (Radford et al., 2018).

    Args:
        language_model: A trained model, which becomes part of this one: training
            changes it. Call `freeze` or `enable_lora` first to keep its weights.
        labels: The names of the labels, at least two.
        dtype: Keras dtype or policy of the new head; by default float32.

    Call arguments:
        inputs: Int tensor `(batch, time)` of token ids, or a dictionary with these
            as `token_ids` and a bool tensor `(batch, time)` as `padding_mask`, False
            for padding on either side.

    Returns:
        Logits, float32 `(batch, labels)`.

    Raises:
        TypeError: If `labels` is not a list of `str`.
        ValueError: If there are fewer than two labels, or one is given twice.

    Example:
        >>> config = GPT2Config(vocab_size=100, context_length=16, num_layers=2,
        ...                     num_heads=2, hidden_dim=8)
        >>> classifier = GPT2Classifier(GPT2LM(config), ["dull", "exciting"])
        >>> classifier(np.array([[1, 2, 3]])).shape
        TensorShape([1, 2])
    """

    def __init__(self, language_model: GPT2Model, labels: Sequence[str], **kwargs: Any) -> None:
        check_instance("labels", labels, (list, tuple), "a list of names")
        names = check_texts("labels", labels)
        if not 2 <= len(names) == len(set(names)):
            raise ValueError(
                f"labels={names!r} are not two names or more, each given once. "
                'Use, for example, ["no", "yes"].'
            )
        super().__init__(**kwargs)
        self.language_model = language_model
        self.labels = names
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
            positions = ops.arange(ops.shape(mask)[1], dtype="int32")
            index = ops.max(ops.where(mask, positions, 0), axis=1, keepdims=True)  # (batch, 1)
            last = ops.take_along_axis(state, ops.expand_dims(index, 2), axis=1)[:, 0]
        return ops.cast(self.head(last), "float32")  # (batch, labels)

    def encode(
        self, texts: str | Sequence[str], *, special_tokens: SpecialTokens | None = None
    ) -> dict[str, np.ndarray]:
        """Tokenizes texts for `fit`, `predict` and a call.

        A text longer than the context is truncated to its last tokens. An empty text
        becomes a single `<|endoftext|>`.

        Args:
            texts: One text, or several.
            special_tokens: The special tokens in the texts that become their ids; by default
                the tokenizer's policy. `"none"` is right for text from outside.

        Returns:
            `token_ids`, int32 `(batch, time)`, and `padding_mask`, bool of the same
            shape; padding is on the right.

        Raises:
            TypeError: If a text is not a `str`.
            ValueError: If there is no text, or the language model has no tokenizer.
        """
        tokenizer = self.language_model.require_tokenizer()
        tokenizer = tokenizer.with_special_tokens_policy(special_tokens)
        end, length = tokenizer.end_token_id, self.language_model.config.context_length
        encoded = tokenizer.encode(check_texts("texts", texts))
        rows = [ids[-length:] or [end] for ids in encoded]
        lengths = np.array([len(ids) for ids in rows])
        padding_mask = np.arange(lengths.max()) < lengths[:, None]  # (batch, time)
        token_ids = np.full(padding_mask.shape, end, "int32")
        token_ids[padding_mask] = np.concatenate(rows)
        return {"token_ids": token_ids, "padding_mask": padding_mask}

    def classify(
        self, texts: Sequence[str], *, special_tokens: SpecialTokens | None = None
    ) -> list[str]:
        """Returns the most likely label of each text; arguments and errors are `encode`'s."""
        encoded = self.encode(texts, special_tokens=special_tokens)
        logits = ops.convert_to_numpy(self(encoded, training=False))
        return [self.labels[index] for index in logits.argmax(axis=-1)]

    def classify_details(
        self, texts: str | Sequence[str], *, special_tokens: SpecialTokens | None = None
    ) -> list[Classification]:
        """Finds the label of texts, with the probabilities of all labels.

        Args:
            texts, special_tokens: As for `encode`.

        Returns:
            For each text a `Classification`, whose prompt is the text that was read.

        Raises:
            TypeError, ValueError: As for `encode`.
        """
        encoded = self.encode(texts, special_tokens=special_tokens)
        logits = ops.convert_to_numpy(self(encoded, training=False)).astype("float64")
        log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)  # (batch, labels)
        tokenizer = self.language_model.require_tokenizer()
        tokenizer = tokenizer.with_special_tokens_policy(special_tokens)
        length = self.language_model.config.context_length
        found = []
        for ids, row in zip(tokenizer.encode(check_texts("texts", texts)), log_probs, strict=True):
            best = int(row.argmax())
            found.append(
                Classification(
                    label=self.labels[best],
                    probabilities=dict(zip(self.labels, np.exp(row).tolist(), strict=True)),
                    prompt=tokenizer.decode(ids[-length:]),
                    cropped=tokenizer.decode(ids[:-length]),
                    log_prob=float(row[best]),
                )
            )
        return found

    def compile(
        self, optimizer: Any = "auto", loss: Any = "auto", metrics: Any = "auto", **kwargs: Any
    ) -> None:
        """Configures training; every default is a usual choice for fine-tuning.

        Args:
            optimizer: A Keras optimizer; by default `training.make_optimizer` with
                the learning rate of fine-tuning.
            loss: A Keras loss of label indices and logits; by default cross entropy.
            metrics: Keras metrics; by default accuracy.
            **kwargs: As for `keras.Model.compile`.
        """
        if optimizer == "auto":
            optimizer = make_optimizer(FINE_TUNING_LEARNING_RATE)
        if loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        kwargs.setdefault("jit_compile", jit_by_default())
        metrics = ["accuracy"] if metrics == "auto" else metrics
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles with the config of a `.keras` file; Keras calls this."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the model again."""
        return {
            **super().get_config(),
            "language_model": keras.saving.serialize_keras_object(self.language_model),
            "labels": self.labels,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Makes the model of a `get_config` dictionary."""
        saved = config["language_model"]
        model = keras.saving.deserialize_keras_object(saved, custom_objects=custom_objects)
        return cls(**{**config, "language_model": model})

    @classmethod
    def from_preset(
        cls, preset: str | Path, *, model_class: type[GPT2Model] = GPT2Model, **kwargs: Any
    ) -> Self:
        """Loads a classifier; see `gpt2_keras.checkpoints.load_classifier`."""
        return checkpoints.load_classifier(
            preset, classifier_class=cls, model_class=model_class, **kwargs
        )

    def save_to_preset(self, directory: str | Path) -> None:
        """Writes a model directory; see `gpt2_keras.checkpoints.save_classifier`."""
        checkpoints.save_classifier(self, directory)
