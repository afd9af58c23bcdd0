"""LiteRT: one file for devices, bytes in and bytes out, in builtin ops alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from gpt2_keras.applications import Task
from gpt2_keras.atomic import new_file
from gpt2_keras.data.given_texts import Text
from gpt2_keras.export.device_explorer import DeviceExplorer
from gpt2_keras.export.device_graph import DeviceModel
from gpt2_keras.export.device_task import DeviceTask
from gpt2_keras.export.flatbuffer import finish
from gpt2_keras.export.litert_quantization import checked_options, quantize
from gpt2_keras.export.metadata import artifact_metadata
from gpt2_keras.export.tasks import resolve_task
from gpt2_keras.export.weights import StoredWeights
from gpt2_keras.generation.tensorflow_functions import traced
from gpt2_keras.layers.kernels import using_kernels
from gpt2_keras.layers.kernels.litert import LITERT
from gpt2_keras.litert_conversion import convert
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_flag


def to_litert(
    model: GPT2Model,
    path: str | Path,
    *,
    context_length: int | None = None,
    dtype: str = "float32",
    calibrate: Text | Sequence[Text] | None = None,
    with_explore: bool = False,
    task: Task | str | None = None,
) -> Path:
    """Writes a `.tflite` file with tokenizer, model, cache and decoding loop inside.

    Its signatures consist of LiteRT's builtin ops alone, so that any LiteRT runtime
    loads it:

    | signature | inputs | outputs |
    |---|---|---|
    | `generate` | `text` uint8 `(size,)`; `max_new_tokens`, `temperature`, `top_k`, `seed`, each `(1,)` | `text`, `text_bytes` uint8; `token_ids`, `num_tokens`, `finish_reason` |
    | `next_token` | `text` uint8 `(size,)` | `ids`, `probs` of the 10 most likely |
    | `tokenize` | `text` uint8 `(size,)` | `token_ids` int32 `(tokens,)`, `num_tokens` |
    | `prefill` | `token_ids` int32 `(tokens,)` | `logits` float32 `(1, vocab)` |
    | `decode` | `token_id`, `position` int32 `(1,)` | `logits` float32 `(1, vocab)` |
    | `detokenize` | `token_ids` int32 `(tokens,)` | `text`, `text_bytes` uint8 `(size,)` |

    | `explore`, if asked for | `token_ids` int32 `(tokens,)` | candidates, ranks, attention, logit lens |
    | the name of the task, if there is one | its texts, each uint8 `(size,)` | `text` uint8: the answer, or the label; `probabilities` of labels; `num_cropped` |

    `DeviceModel`, `DeviceExplorer` and `DeviceTask` say what each means. `prefill` and `decode` are for a host that
    streams: they share a cache inside the interpreter.

    Args:
        model: The model. Without a tokenizer the file has one signature, `logits`: from
            `token_ids`, int32 `(1, time)`, to float32 `(1, time, vocab)`.
        path: The new file, named `*.tflite` by convention.
        context_length: Largest number of tokens of prompt and new text, at least 2. By
            default the model's; a smaller one takes less memory and time.
        dtype: How the weights are stored: `"float32"`, `"float16"`, `"int8"`, `"int4"` or
            `"mixed"`; see `litert_quantization.quantize`.
        calibrate: Texts like those that the model was trained on, a `str` a text, a `Path` a
            file, by which `"int8"` and `"int4"` are rounded, and `"mixed"` is chosen: it takes
            longer and loses less.
        with_explore: Whether the file has the signature `explore`, which a page shows.
        task: A task to have inside, of `gpt2_keras.applications`: `summary_task(model)` and the
            like; or the name of one with its usual settings.

    Returns:
        The path.

    Raises:
        FileExistsError: If the file exists.
        TypeError, ValueError: If `with_explore` is no bool, `context_length` is below 2 or above the model's, or
            `dtype` is none of these, or not for this model, or the text of `calibrate` is too
            short or in a script that the vocabulary does not know.
        ImportError: If `dtype` needs litert-quantizer, and that is missing.
        ConversionError: If LiteRT's converter fails.
    """  # noqa: E501 -- a table's rows cannot be broken
    check_flag("with_explore", with_explore)
    inside = resolve_task(model, task)
    path, context_length, calibration = checked_options(
        model, path, context_length, dtype, calibrate
    )
    with new_file(path) as unfinished:
        contents = _convert(model, context_length, with_explore, inside)
        finished = finish(contents, artifact_metadata(model, context_length, dtype, inside))
        unfinished.write_bytes(quantize(finished, dtype, calibration))
    return path


def _convert(model: GPT2Model, context_length: int, with_explore: bool, task: Task | None) -> bytes:
    """Returns the contents of the file."""
    module = tf.Module()
    module.weights = StoredWeights(model).module

    def logits(token_ids: Any) -> dict[str, Any]:
        return {"logits": model(token_ids, training=False)}

    ids = tf.TensorSpec([None], tf.int32, name="token_ids")
    row = tf.TensorSpec([1, None], tf.int32, name="token_ids")
    functions: dict[str, tuple[Callable[..., Any], list[tf.TensorSpec]]] = {}
    if model.tokenizer is None:
        functions["logits"] = (logits, [row])
    else:
        device = DeviceModel(model, context_length)
        module.decoder, module.tokenizer = device.decoder, device.tokenizer
        text = tf.TensorSpec([None], tf.uint8, name="text")
        functions = {
            "generate": (device.generate, [text, *_request_specs()]),
            "next_token": (device.next_token, [text]),
            "tokenize": (device.tokenizer.tokenize, [text]),
            "prefill": (device.prefill, [ids]),
            "decode": (device.decode, [_single("token_id"), _single("position")]),
            "detokenize": (device.tokenizer.detokenize, [ids]),
        }
        if task is not None:
            answering = DeviceTask(model, device, task)
            functions[task.name] = (answering.run, answering.inputs())
    if with_explore:
        functions["explore"] = (DeviceExplorer(model).explore, [ids])
    with using_kernels(LITERT):
        concrete = {
            name: traced(function, specs).get_concrete_function()
            for name, (function, specs) in functions.items()
        }
    return convert(module, concrete)


def _request_specs() -> list[tf.TensorSpec]:
    return [
        _single("max_new_tokens"),
        _single("temperature", tf.float32),
        _single("top_k"),
        _single("seed"),
    ]


def _single(name: str, dtype: tf.DType = tf.int32) -> tf.TensorSpec:
    return tf.TensorSpec([1], dtype, name=name)
