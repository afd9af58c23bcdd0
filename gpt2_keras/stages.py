"""The later stages as methods of the model, each loaded on first use."""

import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import keras
from keras import ops

if TYPE_CHECKING:
    from gpt2_keras.training import StepOptions


class Stages(keras.Model):
    """What a language model can do beyond its forward pass: learn, load, write, leave."""

    config: Any
    decoder: Any
    step_options: "StepOptions"

    def compile(
        self,
        optimizer: Any = "auto",
        loss: Any = "auto",
        *,
        jit_compile: bool | str = "auto",
        accumulation_steps: int = 1,
        recompute: bool = False,
        separate_documents: bool = False,
        **kwargs: Any,
    ) -> None:
        """Configures training; every default is GPT-2's usual choice.

        With the default loss a step never holds the logits of a whole batch, weighs each
        token alike however the batch is cut, and adds `gradient_norm` to its logs.

        Args:
            optimizer: A Keras optimizer. By default `training.make_optimizer()`:
                AdamW with clipping; the first `fit()` gives it a linear warm-up
                and a cosine over as many steps as that `fit()` takes.
            loss: A Keras loss on `(targets, logits)`. By default
                `training.make_loss()`: cross entropy that skips padding.
            jit_compile: Whether XLA compiles the steps. By default not on
                TensorFlow's CPU, where it is no faster and starts later.
            accumulation_steps: In how many parts a batch is trained on, one after the
                other: less memory, the same step. Needs the default loss.
            recompute: Whether the backward pass computes the activations of each block
                anew instead of keeping them: less memory, about a third more work.
            separate_documents: Whether no token looks behind an `<|endoftext|>` before
                it, so that documents in one window do not mix. Needs a tokenizer.
            **kwargs: As for `keras.Model.compile`.

        Raises:
            ValueError: If parts or separate documents are asked for with another loss; in
                the first step, if separate documents are without a tokenizer.
        """
        from gpt2_keras import training

        self.step_options = training.StepOptions(accumulation_steps, recompute, separate_documents)
        self._schedule_at_fit = optimizer == "auto"
        self._weighs_loss = kwargs.get("loss_weights") is not None
        super().compile(
            optimizer=training.make_optimizer() if optimizer == "auto" else optimizer,
            loss=training.make_loss() if loss == "auto" else loss,
            jit_compile=training.jit_by_default() if jit_compile == "auto" else jit_compile,
            **kwargs,
        )
        self.step_options.check(self)
        self.decoder.recompute = recompute
        self._build_metrics()
        # Otherwise its variables are made inside the first step, which is then traced twice.
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does.

        With the default optimizer the learning rate warms up and then falls
        along a cosine over the steps of this call.
        """
        if getattr(self, "_schedule_at_fit", False):
            from gpt2_keras import training

            given = inspect.signature(keras.Model.fit).bind_partial(self, x, *args, **kwargs)
            settings = dict(list(given.arguments.items())[2:])  # without `self` and `x`
            training.set_schedule(self.optimizer, training.count_steps(x, **settings))
            self._schedule_at_fit = False
        if hasattr(x, "cardinality") and len(args) < 8:  # `shuffle` is not among them
            kwargs.setdefault("shuffle", False)  # Keras warns that a dataset does it itself
        return super().fit(x, *args, **kwargs)

    def _build_metrics(self) -> None:
        """Makes the compiled metrics, which Keras would make inside the first step."""
        if self._compile_metrics is not None:
            logits = keras.KerasTensor((None, None, self.config.vocab_size))
            self._compile_metrics.build(keras.KerasTensor((None, None), "int32"), logits)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Does nothing: all is built. Keras' own fails where several workers train."""

    def train_step(self, *args: Any) -> Any:
        """Takes one step; see `gpt2_keras.training.step`."""
        from gpt2_keras import training

        step = training.step_of(self, "train")
        return super().train_step(*args) if step is None else step(self, *args)

    def test_step(self, *args: Any) -> Any:
        """Computes the loss of one batch; see `gpt2_keras.training.step`."""
        from gpt2_keras import training

        step = training.step_of(self, "test")
        return super().test_step(*args) if step is None else step(self, *args)

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

        See `gpt2_keras.checkpoints.load`: a model or run directory, one of Hugging
        Face's, OpenAI's, gpt-2-simple's, KerasHub's or nanoGPT's, `"gpt2"` and the
        other published sizes, `"hf://owner/name"`, `"kaggle://…"`.
        """
        from gpt2_keras import checkpoints

        return checkpoints.load(preset, model_class=cls, **kwargs)

    def save_to_preset(self, directory: str | Path, *, overwrite: bool = False) -> None:
        """Writes a model directory; see `gpt2_keras.checkpoints.save`."""
        from gpt2_keras import checkpoints

        checkpoints.save(self, directory, overwrite=overwrite)

    def generate(self, prompts: str | Sequence[str] = "", **kwargs: Any) -> Any:
        """Continues texts; see `gpt2_keras.generation.generate`."""
        from gpt2_keras import generation

        return generation.generate(self, prompts, **kwargs)

    def stream(self, prompt: str = "", **kwargs: Any) -> Iterator[str]:
        """Continues a text piece by piece; see `gpt2_keras.generation.stream`."""
        from gpt2_keras import generation

        return generation.stream(self, prompt, **kwargs)

    def score(self, texts: str | Sequence[str], **kwargs: Any) -> Any:
        """Computes the log-probability of every token; see `gpt2_keras.generation.score`."""
        from gpt2_keras import generation

        return generation.score(self, texts, **kwargs)

    def next_tokens(self, prompt: str, **kwargs: Any) -> Any:
        """Lists the likeliest next tokens; see `gpt2_keras.generation.next_tokens`."""
        from gpt2_keras import generation

        return generation.next_tokens(self, prompt, **kwargs)

    def export(self, path: str | Path, format: str = "tf_saved_model", **kwargs: Any) -> Path:  # noqa: A002
        """Writes a self-contained artefact; see `gpt2_keras.export.export`."""
        from gpt2_keras import export

        return export.export(self, path, format=format, **kwargs)
