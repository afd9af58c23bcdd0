"""LiteRT-LM: a bundle of model and tokenizer for Google's on-device runtime."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from gpt2_keras.atomic import new_file
from gpt2_keras.data.given_texts import Text
from gpt2_keras.export.device_decoder import chunk_length
from gpt2_keras.export.flatbuffer import finish
from gpt2_keras.export.litert_quantization import checked_options, quantize
from gpt2_keras.export.weights import StoredWeights
from gpt2_keras.generation.defaults import default_sampler
from gpt2_keras.generation.tensorflow_functions import traced
from gpt2_keras.layers.kernels import using_kernels
from gpt2_keras.layers.kernels.litert import LITERT
from gpt2_keras.litert_conversion import convert
from gpt2_keras.model import GPT2Model

Tensors = dict[str, tf.Tensor]


def to_litertlm(
    model: GPT2Model,
    path: str | Path,
    *,
    context_length: int | None = None,
    dtype: str = "float32",
    calibrate: Text | Sequence[Text] | None = None,
) -> Path:
    """Writes a `.litertlm` bundle, which the LiteRT-LM runtime reads.

    It holds the model as a `.tflite`, `tokenizer.json`, and the ids of the end tokens.
    The runtime brings the sampler and the loop; of the model's generation config it has
    temperature, top-k and top-p. It reads every special token in a text as such, whatever
    the tokenizer's policy. A prompt stays as it is: GPT-2 has no
    prompt template and no start token.

    The `.tflite` has two signatures, which share their weights: `prefill_N` reads
    `N` tokens of a prompt and `decode` reads one. Source of their names and shapes:
    google-ai-edge/LiteRT-LM, `runtime/executor/`.

    | | shape | in | out |
    |---|---|---|---|
    | `tokens` | int32 `(1, N)` | yes | |
    | `input_pos` | int32 `(N,)`, positions of the tokens | yes | |
    | `kv_cache_k_i`, `kv_cache_v_i` | float32 `(1, heads, context_length, head_dim)` | yes | yes |
    | `logits` | float32 `(1, 1, vocab)` | | of `decode` |

    Args:
        model: A model with a tokenizer.
        path: The new file, named `*.litertlm` by convention.
        context_length: Largest number of tokens of prompt and new text, at least 2. By
            default the model's; a smaller one takes less memory and time. `N` is its
            largest divisor up to 32, so a multiple of 32 is best.
        dtype, calibrate: How the weights are stored, and texts to round them by; as for
            `litert.to_litert`.

    Returns:
        The path.

    Raises:
        FileExistsError: If the file exists.
        ImportError: If litert-lm-builder is missing, or `dtype` needs
            litert-quantizer and that is.
        TypeError, ValueError: If `context_length` is below 2 or above the model's,
            `dtype` is none of these or not for this model, or the model has no
            tokenizer.
        ConversionError: If LiteRT's converter fails.
    """
    builder = _require_builder()
    tokenizer = model.require_tokenizer()
    path, context_length, calibration = checked_options(
        model, path, context_length, dtype, calibrate
    )
    with tempfile.TemporaryDirectory() as directory, new_file(path) as unfinished:
        folder = Path(directory)
        finished = finish(_convert(model, context_length), {"weights": dtype})
        (folder / "model.tflite").write_bytes(quantize(finished, dtype, calibration))
        (folder / "metadata.pb").write_bytes(_metadata(model, context_length))
        tokenizer.save(folder)
        bundle = builder.LitertLmFileBuilder()
        bundle.add_llm_metadata(str(folder / "metadata.pb"))
        bundle.add_hf_tokenizer(str(folder / "tokenizer.json"))
        bundle.add_tflite_model(
            str(folder / "model.tflite"), builder.TfLiteModelType.PREFILL_DECODE
        )
        with unfinished.open("wb") as stream:
            bundle.build(stream, validate_metadata=True)
    return path


def _require_builder() -> Any:
    """Returns the module that writes bundles."""
    try:
        from litert_lm_builder import litertlm_builder
    except ImportError as error:
        raise ImportError(
            "litert-lm-builder is not installed, which a .litertlm file needs. "
            "Run: pip install 'gpt2-keras[litertlm]'."
        ) from error
    return litertlm_builder


def _metadata(model: GPT2Model, context_length: int) -> bytes:
    """Returns the bundle's LlmMetadata."""
    from litert_lm_builder.runtime.proto import llm_metadata_pb2

    metadata = llm_metadata_pb2.LlmMetadata(
        max_num_tokens=context_length, supports_thinking=False, supports_function_calling=False
    )
    metadata.llm_model_type.generic_model.SetInParent()
    # Without a start token, which the runtime would put before every prompt.
    for token_id in model.end_token_ids:
        metadata.stop_tokens.add().token_ids.ids.append(token_id)
    sampler = default_sampler(model)
    if sampler.temperature:
        params = metadata.sampler_params
        params.type = params.Type.Value("TOP_P")
        params.k = sampler.top_k or model.config.vocab_size
        params.p, params.temperature = sampler.top_p, sampler.temperature
    return bytes(metadata.SerializeToString())


def _convert(model: GPT2Model, context_length: int) -> bytes:
    """Returns the contents of the `.tflite` file."""
    prefill_length = chunk_length(context_length)
    module = tf.Module()
    module.weights = StoredWeights(model).module
    cache_names = [f"kv_cache_{name}_{i}" for i in range(model.config.num_layers) for name in "kv"]
    shape = (1, model.config.num_heads, context_length, model.config.head_dim)
    cache_specs = [tf.TensorSpec(shape, tf.float32, name=name) for name in cache_names]

    def decode(tokens: tf.Tensor, input_pos: tf.Tensor, *tensors: tf.Tensor) -> Tensors:
        cache = list(zip(tensors[::2], tensors[1::2], strict=True))
        logits, cache = model(
            tokens, cache=cache, cache_index=input_pos[0], num_logits=1, training=False
        )
        written = [tensor for pair in cache for tensor in pair]
        return {"logits": logits, **dict(zip(cache_names, written, strict=True))}

    def prefill(*arguments: tf.Tensor) -> Tensors:
        # The runtime passes the last token of a prompt to `decode`.
        outputs = decode(*arguments)
        del outputs["logits"]
        return outputs

    def concrete(function: Callable[..., Tensors], time: int) -> Any:
        signature = [
            tf.TensorSpec([1, time], tf.int32, name="tokens"),
            tf.TensorSpec([time], tf.int32, name="input_pos"),
            *cache_specs,
        ]
        return traced(function, signature).get_concrete_function()

    with using_kernels(LITERT):
        signatures = {
            "decode": concrete(decode, 1),
            f"prefill_{prefill_length}": concrete(prefill, prefill_length),
        }
    return convert(module, signatures)
