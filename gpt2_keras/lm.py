"""The task model: GPT-2 with training, generation and export, thin methods over their folders."""

import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import keras
from keras import ops

from gpt2_keras import checkpoints
from gpt2_keras.model import GPT2Model
from gpt2_keras.private_api.keras import build_metrics, without_symbolic_build
from gpt2_keras.training.loss import make_loss
from gpt2_keras.training.optimizer import make_optimizer
from gpt2_keras.training.schedule import count_steps, set_schedule
from gpt2_keras.training.step import StepOptions, backend_steps, jit_by_default

if TYPE_CHECKING:
    from gpt2_keras.generation import NextToken, Score


@without_symbolic_build
@keras.saving.register_keras_serializable(package="gpt2_keras")
class GPT2LM(GPT2Model):
    """GPT-2 as a task model: trains, generates text, scores it and is exported.

    A standard Keras model: `compile()` without arguments sets GPT-2's usual optimizer,
    schedule and loss, `fit()` takes a dataset of `(token_ids, targets)`. Text needs a
    tokenizer; without one the model trains on token ids alone.

    Arguments, call and returns are those of `GPT2Model`.

    Example:
        >>> config = GPT2Config(vocab_size=100, context_length=16, num_layers=2,
        ...                     num_heads=2, hidden_dim=8)
        >>> model = GPT2LM(config)
        >>> model.compile()
        >>> history = model.fit(np.array([[1, 2, 3]]), np.array([[2, 3, 4]]), verbose=0)
        >>> sorted(history.history)
        ['gradient_norm', 'loss', 'perplexity']
    """

    step_options: StepOptions

    def compile(
        self,
        optimizer: Any = "auto",
        loss: Any = "auto",
        *,
        jit_compile: bool | str = "auto",
        accumulation_steps: int = 1,
        remat: bool = False,
        document_masking: bool = False,
        **kwargs: Any,
    ) -> None:
        """Configures training; every default is GPT-2's usual choice.

        With the default loss a step never holds the logits of a whole batch, gives every token
        the same weight however the batch is split, and adds `gradient_norm` to its logs.

        Args:
            optimizer: A Keras optimizer. By default `training.make_optimizer()`: AdamW with
                gradient clipping; the first `fit()` gives it a linear warm-up and a cosine decay
                over as many steps as that `fit()` takes.
            loss: A Keras loss of `(targets, logits)`. By default `training.make_loss()`:
                cross entropy that skips padding.
            jit_compile: Whether XLA compiles the steps. By default not on TensorFlow's CPU,
                where it is no faster and starts later.
            accumulation_steps: Number of micro-batches that a batch is split into, trained on
                one after the other: less memory, the same step. Needs the default loss.
            remat: Whether to rematerialize the activations of each block in the backward
                pass instead of keeping them: less memory, about a third more work.
            document_masking: Whether attention stops at the last `<|endoftext|>` before a
                token, so that the documents of one window do not mix. Needs the default loss
                and a tokenizer.
            **kwargs: As for `keras.Model.compile`.

        Raises:
            TypeError: If `accumulation_steps` is not an integer, or `remat` or
                `document_masking` not a bool.
            ValueError: If `accumulation_steps` is below 1, or micro-batches or document masking
                are asked for with another loss; in the first step, if document masking is
                asked for without a tokenizer.
        """
        self.step_options = StepOptions(accumulation_steps, remat, document_masking)
        self._schedule_at_fit = optimizer == "auto"
        self._has_loss_weights = kwargs.get("loss_weights") is not None
        super().compile(
            optimizer=make_optimizer() if optimizer == "auto" else optimizer,
            loss=make_loss() if loss == "auto" else loss,
            jit_compile=jit_by_default() if jit_compile == "auto" else jit_compile,
            **kwargs,
        )
        self.step_options.check(self)
        self.decoder.remat = remat
        # Keras would build both inside the first step, which is then traced twice.
        build_metrics(self, vocab_size=self.config.vocab_size)
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does, with its arguments.

        With the default optimizer the learning rate warms up and then decays along a cosine
        over the steps of this call.
        """
        given = inspect.signature(super().fit).bind(x, *args, **kwargs).arguments
        if getattr(self, "_schedule_at_fit", False):
            set_schedule(self.optimizer, count_steps(**given))
            self._schedule_at_fit = False
        if hasattr(x, "cardinality"):
            given.setdefault("shuffle", False)  # Keras warns that a dataset is not shuffled
        return super().fit(**given)

    def train_step(self, *args: Any) -> Any:
        """Takes one step; see `gpt2_keras.training.step`."""
        steps = backend_steps(self)
        return super().train_step(*args) if steps is None else steps.train_step(self, *args)

    def test_step(self, *args: Any) -> Any:
        """Computes the loss of one batch; see `gpt2_keras.training.step`."""
        steps = backend_steps(self)
        return super().test_step(*args) if steps is None else steps.test_step(self, *args)

    def get_compile_config(self) -> dict[str, Any]:
        """Returns the arguments of `compile`; Keras saves them in a `.keras` file."""
        options = dataclasses.asdict(self.step_options) if self.compiled else {}
        return {**(super().get_compile_config() or {}), **options}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as a `.keras` file says; Keras calls this."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns the metrics of the last steps; `perplexity` is exp(loss)."""
        results = super().get_metrics_result()
        if "loss" in results:
            results["perplexity"] = ops.exp(results["loss"])
        return results

    @classmethod
    def from_preset(cls, preset: str | Path, **kwargs: Any) -> Self:
        """Loads a checkpoint of any system, on disk or published.

        See `gpt2_keras.checkpoints.load`: a model or run directory, one of Hugging Face's,
        OpenAI's, gpt-2-simple's, KerasHub's or nanoGPT's, `"gpt2"` and the other published
        sizes, `"hf://owner/name"`, `"kaggle://…"`.
        """
        return checkpoints.load(preset, model_class=cls, **kwargs)

    def save_to_preset(self, directory: str | Path, *, overwrite: bool = False) -> None:
        """Writes a model directory; see `gpt2_keras.checkpoints.save`."""
        checkpoints.save(self, directory, overwrite=overwrite)

    # Text is generated and exported on TensorFlow, which a machine that trains on JAX may lack.

    def generate(self, prompts: str | Sequence[str] = "", **kwargs: Any) -> Any:
        """Continues texts; see `gpt2_keras.generation.generate`."""
        from gpt2_keras import generation

        return generation.generate(self, prompts, **kwargs)

    def generate_details(self, prompts: str | Sequence[str] = "", **kwargs: Any) -> Any:
        """Continues texts, with tokens and log-probabilities; see `generation.generate_details`."""
        from gpt2_keras import generation

        return generation.generate_details(self, prompts, **kwargs)

    def stream(self, prompt: str = "", **kwargs: Any) -> Iterator[str]:
        """Continues a text, a text delta at a time; see `gpt2_keras.generation.stream`."""
        from gpt2_keras import generation

        return generation.stream(self, prompt, **kwargs)

    def score(self, texts: str | Sequence[str], **kwargs: Any) -> "Score | list[Score]":
        """Computes the log-probability of every token; see `gpt2_keras.generation.score`."""
        from gpt2_keras import generation

        return generation.score(self, texts, **kwargs)

    def next_tokens(self, prompt: str, **kwargs: Any) -> "list[NextToken]":
        """Lists the most likely next tokens; see `gpt2_keras.generation.next_tokens`."""
        from gpt2_keras import generation

        return generation.next_tokens(self, prompt, **kwargs)

    def export(
        self,
        filepath: str | Path,
        format: str = "tf_saved_model",  # noqa: A002 -- Keras' name
        verbose: bool | None = None,
        input_signature: None = None,
        **kwargs: Any,
    ) -> Path:
        """Writes a self-contained artifact; see `gpt2_keras.export.export`."""
        from gpt2_keras import export

        return export.export(self, filepath, format, verbose, input_signature, **kwargs)
