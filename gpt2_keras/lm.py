"""The task model: GPT-2 with training, generation and export, thin methods over their folders."""

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import keras
from keras import ops

from gpt2_keras import checkpoints
from gpt2_keras.model import GPT2Model
from gpt2_keras.private_api.keras import (
    build_loss,
    build_metrics,
    weights_kept_on_error,
    without_symbolic_build,
)
from gpt2_keras.training.batch_form import BatchRules
from gpt2_keras.training.batch_loss import update_compiled_metrics
from gpt2_keras.training.distillation import (
    ALPHA_CE,
    ALPHA_CLM,
    ALPHA_COS,
    TEMPERATURE,
    Distillation,
    make_distillation,
)
from gpt2_keras.training.fit_inputs import check_inputs, check_predict_inputs
from gpt2_keras.training.fit_optimizer import FitAdamW
from gpt2_keras.training.loss import check_loss, make_loss, token_weights
from gpt2_keras.training.schedule import count_steps
from gpt2_keras.training.step import (
    StepOptions,
    backend_steps,
    has_default_loss,
    jit_by_default,
)

if TYPE_CHECKING:
    from gpt2_keras.generation import NextToken, Score
    from gpt2_keras.understanding import Exploration


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
        remat: bool | str = False,
        document_masking: bool = False,
        distill_from: GPT2Model | str | None = None,
        temperature: float = TEMPERATURE,
        alpha_ce: float = ALPHA_CE,
        alpha_clm: float = ALPHA_CLM,
        alpha_cos: float = ALPHA_COS,
        **kwargs: Any,
    ) -> None:
        """Configures training; every default is GPT-2's usual choice.

        With the default loss a step never holds the logits of a whole batch, gives every token
        the same weight however the batch is split, and adds `gradient_norm` to its logs.

        Args:
            optimizer: A Keras optimizer. By default `training.FitAdamW()`: AdamW with gradient
                clipping; each `fit()` starts a linear warm-up and a cosine decay over as many
                steps as it takes.
            loss: A Keras loss of `(targets, logits)`. By default `training.make_loss()`:
                cross entropy that skips padding.
            jit_compile: Whether XLA compiles the steps. By default not on TensorFlow's CPU,
                where it is no faster and starts later.
            accumulation_steps: Number of micro-batches that a batch is split into, trained on
                one after the other: less memory, the same step. Needs the default loss.
            remat: Whether to rematerialize the activations of each block in the backward
                pass instead of keeping them: less memory, about a third more work. With
                `"products"`, on JAX, the results of linear maps are kept: about half of the
                memory, little more work.
            document_masking: Whether attention stops at the last `<|endoftext|>` before a
                token, so that the documents of one window do not mix. Needs the default loss
                and a tokenizer.
            distill_from: A teacher, whose weights stay as they are, of the same tokenizer; or
                `"stored"`: the batches have its largest logits. The loss of a step is that of
                `training.distillation`, its logs have the `cross_entropy` within it, and
                `perplexity` is that of the cross entropy. `evaluate` computes cross entropies.
                A `.keras` file does not hold the teacher. Needs the default loss.
            temperature, alpha_ce, alpha_clm, alpha_cos: The temperature of the divergence from
                the teacher, and the weights of the divergence, of the cross entropy and of the
                distance of the last hidden states; see `training.distillation`.
            **kwargs: As for `keras.Model.compile`.

        Raises:
            TypeError: If `accumulation_steps` is not an integer, or `remat` or
                `document_masking` none of their values.
            ValueError: If `accumulation_steps` is below 1, the backend cannot do `remat`, or
                micro-batches, document masking or a teacher are asked for with another loss; if
                the loss expects probabilities; if the teacher has another vocabulary, or a
                number of the distillation is out of its range; in the first step, if document
                masking is asked for without a tokenizer, or stored logits of batches without.
        """
        loss = make_loss() if loss == "auto" else loss
        check_loss(loss)
        numbers = (temperature, alpha_ce, alpha_clm, alpha_cos)
        distillation = make_distillation(distill_from, *numbers)
        self.step_options = StepOptions(accumulation_steps, remat, document_masking, distillation)
        self._has_loss_weights = kwargs.get("loss_weights") is not None
        super().compile(
            optimizer=FitAdamW() if optimizer == "auto" else optimizer,
            loss=loss,
            jit_compile=jit_by_default() if jit_compile == "auto" else jit_compile,
            **kwargs,
        )
        self.step_options.check(self)
        self.decoder.remat = remat
        # Not by `__setattr__`: Keras would go on reporting it after another `compile`.
        self.__dict__["cross_entropy_tracker"] = (
            None if distillation is None else keras.metrics.Mean(name="cross_entropy")
        )
        # Keras would build them inside the first step, which is then traced twice.
        build_metrics(self, vocab_size=self.config.vocab_size)
        if has_default_loss(self):
            build_loss(self, vocab_size=self.config.vocab_size)
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does, with its arguments.

        With the default optimizer the learning rate warms up and then decays along a cosine
        over the steps of this call, until `optimizer.learning_rate` is set. A batch holds token
        ids and targets, `IGNORED_TARGET` (-100) for those to ignore; see
        `gpt2_keras.training.fit_inputs` for the other forms accepted.

        Raises:
            ValueError: If a batch is of another form, or has an id outside the vocabulary; from
                a `tf.data.Dataset` the latter is TensorFlow's InvalidArgumentError.
        """
        given = self._checked(super().fit, x, *args, **kwargs)
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        if isinstance(optimizer, FitAdamW):
            optimizer.start_schedule(count_steps(**given))
        if hasattr(x, "cardinality") or isinstance(x, Iterator):
            given.setdefault("shuffle", False)  # Keras warns that neither is shuffled
        with weights_kept_on_error(self):
            return super().fit(**given)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Computes loss and metrics as `keras.Model.evaluate` does; accepts what `fit` does."""
        if kwargs.get("_use_cached_eval_dataset"):  # of `fit`, which has checked it
            return super().evaluate(*args, **kwargs)
        given = self._checked(super().evaluate, *args, **kwargs)
        with weights_kept_on_error(self):
            return super().evaluate(**given)

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Takes one step as `keras.Model.train_on_batch` does; accepts what `fit` does."""
        return super().train_on_batch(**self._checked(super().train_on_batch, *args, **kwargs))

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the loss of a batch as `keras.Model.test_on_batch` does."""
        return super().test_on_batch(**self._checked(super().test_on_batch, *args, **kwargs))

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Computes the logits of token ids as `keras.Model.predict` does.

        Raises:
            ValueError: As `fit` does, for token ids.
        """
        x = self._checked_ids(x)
        with weights_kept_on_error(self):
            return super().predict(x, *args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        """Computes the logits of a batch as `keras.Model.predict_on_batch` does."""
        return super().predict_on_batch(self._checked_ids(x))

    def _checked_ids(self, x: Any) -> Any:
        """Returns what is given to `predict`, checked unless a subclass reads something else."""
        is_own = type(self).call is not GPT2LM.call
        return x if is_own else check_predict_inputs(self._batch_rules(), x)

    def _batch_rules(self) -> BatchRules:
        config, distillation = self.config, self._distillation
        return BatchRules(
            config.vocab_size,
            config.context_length,
            has_default_loss(self),
            reads_teacher_logits=distillation is not None and distillation.is_stored,
        )

    @property
    def _distillation(self) -> Distillation | None:
        """What a step learns from a teacher; None of a model that has none."""
        options = getattr(self, "step_options", None)
        return None if options is None else options.distillation

    def _checked(self, method: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Returns the arguments of a method of Keras' by name, with batches checked."""
        given: dict[str, Any] = inspect.signature(method).bind(*args, **kwargs).arguments
        given |= given.pop("kwargs", {})
        # A subclass with steps of its own reads batches of its own.
        if type(self).train_step is GPT2LM.train_step:
            check_inputs(self._batch_rules(), given)
        return given

    def train_step(self, *args: Any) -> Any:
        """Takes one step; see `gpt2_keras.training.step`."""
        steps = backend_steps(self)
        return super().train_step(*args) if steps is None else steps.train_step(self, *args)

    def test_step(self, *args: Any) -> Any:
        """Computes the loss of one batch; see `gpt2_keras.training.step`."""
        steps = backend_steps(self)
        return super().test_step(*args) if steps is None else steps.test_step(self, *args)

    @property
    def non_trainable_variables(self) -> list[keras.Variable]:
        """The variables without gradients; on JAX, whose steps are given them, a teacher's too."""
        distillation = self._distillation
        if distillation is None or distillation.is_stored or keras.backend.backend() != "jax":
            return super().non_trainable_variables
        return [*super().non_trainable_variables, *distillation.teacher.variables]

    def get_compile_config(self) -> dict[str, Any]:
        """Returns the arguments of `compile`; Keras saves them in a `.keras` file."""
        options = self.step_options.to_config() if self.compiled else {}
        return {**(super().get_compile_config() or {}), **options}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as a `.keras` file says; Keras calls this."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:  # noqa: ARG002
        """Updates the compiled metrics, none of which counts the targets to ignore."""
        update_compiled_metrics(self, y, y_pred, token_weights(y, sample_weight))
        return self.get_metrics_result()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics of a step; of a student also the cross entropy within its loss."""
        tracker = self.__dict__.get("cross_entropy_tracker")
        return [*super().metrics, *([] if tracker is None else [tracker])]

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns the metrics of the last steps; `perplexity` is that of the cross entropy."""
        results = super().get_metrics_result()
        if "loss" in results:
            cross_entropy = results.get("cross_entropy", results["loss"])
            results["perplexity"] = ops.exp(cross_entropy)
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

    def explore(self, text: str | Sequence[int], **kwargs: Any) -> "Exploration":
        """Looks inside at what it makes of a text; see `gpt2_keras.understanding.explore`."""
        from gpt2_keras import understanding

        return understanding.explore(self, text, **kwargs)

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
