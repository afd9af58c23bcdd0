"""SavedModel: strings in, strings out, in core TensorFlow ops."""

import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from gpt2_keras.applications import Task
from gpt2_keras.atomic import new_directory
from gpt2_keras.export.metadata import artifact_metadata
from gpt2_keras.export.requests import per_row, sampling_of_request
from gpt2_keras.export.saved_model_task import SavedModelTask
from gpt2_keras.export.tasks import resolve_task
from gpt2_keras.export.text_graph import Tensors, TextModel
from gpt2_keras.export.warmup import write_warmup
from gpt2_keras.export.weights import StoredWeights
from gpt2_keras.generation.defaults import export_numbers
from gpt2_keras.generation.prompts import default_max_new_tokens
from gpt2_keras.generation.sampler import SamplingTensors
from gpt2_keras.generation.tensorflow_functions import traced
from gpt2_keras.model import GPT2Model
from gpt2_keras.private_api.tensorflow import file_errors
from gpt2_keras.validation import check_flag, check_integer
from gpt2_keras.verification.saved_model import METADATA_FILE

# The sampling parameters of a request.
_SAMPLING = ("temperature", "top_k", "top_p", "repetition_penalty", "seed")


def to_saved_model(
    model: GPT2Model,
    path: str | Path,
    *,
    max_new_tokens: int | None = None,
    dtype: str = "float32",
    on_invalid_text: str = "error",
    warmup: bool | None = None,
    task: Task | str | None = None,
) -> Path:
    """Writes a SavedModel with the tokenizer inside.

    It needs TensorFlow's core ops and nothing else: no package, no vocabulary
    file. Every input and output has the batch as its first dimension:

    | signature | inputs | outputs |
    |---|---|---|
    | `serving_default` | `text` | `text`, `text_bytes`, `token_ids`, `num_tokens`, `finish_reason` |
    | `generate` | `text`, `max_new_tokens`, `temperature`, `top_k`, `top_p`, `repetition_penalty`, `seed` | the same |
    | `score` | `text` | `token_ids`, `log_probs`, `num_tokens` |
    | `score_tokens` | `token_ids`, `num_tokens` | `log_probs`, `ranks` of every token but the first |
    | `generate_tokens` | `token_ids`, `num_tokens`, and the parameters of `generate` | `token_ids`, `num_tokens`, `finish_reason` |
    | `next_token` | `text` | `tokens`, `token_bytes`, `ids`, `probs` of the 10 most likely |
    | `tokenize` | `text` | `token_ids`, `num_tokens` |
    | `detokenize` | `token_ids`, `num_tokens` | `text`, `text_bytes` |

    `TextModel` says what each means. `serving_default` is greedy unless the
    model's generation config says otherwise. A parameter of
    `generate` has one value for all rows, or one for each; TensorFlow Serving fills in
    what a request leaves out (`defaults` of the signature). `assets.extra/gpt2_keras.json` has
    the model's shape and the ids of its end tokens.

    With a task, `serving_default`, also under the name of the task, answers it: its inputs are
    the texts of the task, see `SavedModelTask`; `generate` still continues texts.

    Args:
        model: A model with a tokenizer.
        path: The new directory.
        max_new_tokens: Largest number of tokens that `serving_default` adds to a
            text, and the default of `generate`; at least 1 and below the model's
            `context_length`. By default 64, or half the context if that is less.
        dtype: How the weights are stored, see `StoredWeights`.
        on_invalid_text: See `TextModel`.
        warmup: Whether to write the requests with which TensorFlow Serving warms up;
            they need `tensorflow-serving-api`. By default if that is installed.
        task: A task to have inside, of `gpt2_keras.applications`: `summary_task(model)` and the
            like; or the name of one with its usual settings.

    Returns:
        The path.

    Raises:
        FileExistsError: If the directory exists and is not empty.
        ImportError: If `warmup` is True and `tensorflow-serving-api` is missing.
        TypeError, ValueError: If an argument is of the wrong type or out of range,
            or the model has no tokenizer.
    """  # noqa: E501 -- a table's rows cannot be broken
    path = Path(path)
    if max_new_tokens is None:
        max_new_tokens = default_max_new_tokens(model)
    longest = model.config.context_length - 1
    check_integer("max_new_tokens", max_new_tokens, minimum=1, maximum=longest)
    if warmup is not None:
        check_flag("warmup", warmup)
    text_model = TextModel(model, on_invalid_text=on_invalid_text)
    inside = resolve_task(model, task)
    module = tf.Module()
    weights = StoredWeights(model, dtype)
    module.weights = weights.module
    with new_directory(path) as unfinished:
        signatures = _signatures(text_model, weights, max_new_tokens, export_numbers(model))
        if inside is not None:
            signatures |= _task_signatures(
                SavedModelTask(model, text_model, inside), inside, weights
            )
        for name, function in signatures.items():
            setattr(module, name, function)
        with file_errors():
            tf.saved_model.save(module, str(unfinished), signatures=signatures)
            write_warmup(unfinished, max_new_tokens, required=warmup, task=inside)
            _write_metadata(unfinished, artifact_metadata(model, longest + 1, dtype, inside))
    return path


def _signatures(
    text_model: TextModel, weights: StoredWeights, default_limit: int, defaults: SamplingTensors
) -> dict[str, Callable[..., Tensors]]:
    """Returns the functions to save, by name."""
    texts = tf.TensorSpec([None], tf.string, name="text")
    ids = tf.TensorSpec([None, None], tf.int32, name="token_ids")
    counts = tf.TensorSpec([None], tf.int32, name="num_tokens")
    numbers = {"max_new_tokens": tf.constant([default_limit])} | _numbers_of_request(defaults)
    specs = [tf.TensorSpec([None], value.dtype, name=name) for name, value in numbers.items()]

    parameters = list(zip(specs, numbers.values(), strict=True))

    def generate_tokens(
        token_ids: Any, num_tokens: Any, max_new_tokens: Any, *sampled: Any
    ) -> Tensors:
        batch_size = tf.shape(token_ids)[0]
        limits = per_row("max_new_tokens", max_new_tokens, batch_size)
        named = dict(zip(_SAMPLING, sampled, strict=True))
        sampling = sampling_of_request(batch_size, defaults, **named)
        with weights.in_use():
            return text_model.generate_tokens(token_ids, num_tokens, sampling, limits)

    def score_tokens(token_ids: Any, num_tokens: Any) -> Tensors:
        with weights.in_use():
            return text_model.score_tokens(token_ids, num_tokens)

    # Functions of text call these, so that the graph has the model once for each task.
    required = [(ids, None), (counts, None)]
    traced_generate_tokens = _traced_with_defaults(generate_tokens, [*required, *parameters])
    traced_score_tokens = traced(score_tokens, [ids, counts])

    def generate(text: Any, *given: Any) -> Tensors:
        return text_model.generate(text, lambda *ids: traced_generate_tokens(*ids, *given))

    traced_generate = _traced_with_defaults(generate, [(texts, None), *parameters])

    def serving_default(text: Any) -> Tensors:
        # The same function again, not a second trace of the model.
        return traced_generate(text, *numbers.values())

    def score(text: Any) -> Tensors:
        return text_model.score(text, traced_score_tokens)

    def next_token(text: Any) -> Tensors:
        with weights.in_use():
            return text_model.next_token(text)

    return {
        "serving_default": traced(serving_default, [texts]),
        "generate": traced_generate,
        "score": traced(score, [texts]),
        "score_tokens": traced_score_tokens,
        "generate_tokens": traced_generate_tokens,
        "next_token": traced(next_token, [texts]),
        "tokenize": traced(text_model.tokenize, [texts]),
        "detokenize": traced(text_model.detokenize, [ids, counts]),
    }


def _task_signatures(
    answering: SavedModelTask, task: Task, weights: StoredWeights
) -> dict[str, Callable[..., Tensors]]:
    """Returns the signature of a task, under its name and as the default."""

    def run(*texts: Any) -> Tensors:
        with weights.in_use():
            return answering.run(*texts)

    function = _traced_with_defaults(run, answering.inputs())
    return {task.name: function, "serving_default": function}


def _traced_with_defaults(
    function: Callable[..., Tensors], inputs: Sequence[tuple[tf.TensorSpec, Any]]
) -> Callable[..., Tensors]:
    """Returns a traced function whose inputs have the names and defaults of a signature.

    Args:
        function: The function, which is called with the inputs in their order.
        inputs: The spec of each, and its default or None; those with a default last.
    """
    none, kind = inspect.Parameter.empty, inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(spec.name, kind, default=none if default is None else default)
            for spec, default in inputs
        ]
    )
    signed: Callable[..., Tensors] = traced(function, [spec for spec, _ in inputs])
    return signed


def _numbers_of_request(defaults: SamplingTensors) -> dict[str, tf.Tensor]:
    """Returns the sampling parameters of a request that names none."""
    return {name: tf.constant(getattr(defaults, name)) for name in _SAMPLING}


def _write_metadata(directory: Path, metadata: dict[str, Any]) -> None:
    """Writes the metadata where TensorFlow Serving leaves it alone."""
    path = directory / METADATA_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
