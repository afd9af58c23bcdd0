"""The options of a file for devices, and its weights in smaller types by litert-quantizer."""

import importlib.util
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpt2_keras.atomic import check_output_file
from gpt2_keras.data.given_texts import Text
from gpt2_keras.export.calibration import PRODUCTS, Calibration
from gpt2_keras.export.litert_rounding import INT4_MAX, round_by_calibration
from gpt2_keras.model import GPT2Model
from gpt2_keras.private_api.tensorflow import lite_schema
from gpt2_keras.validation import check_choice, check_integer

schema = lite_schema()


LITERT_DTYPES = ("float32", "float16", "int8", "int4", "mixed")
_WEIGHTED_OPS = (schema.BuiltinOperator.FULLY_CONNECTED, schema.BuiltinOperator.EMBEDDING_LOOKUP)
BLOCK_SIZE = 32  # weights that share a scale in int4; the smallest that XNNPACK has kernels for
LARGEST_FILE = 2**31 - 1  # bytes: the offsets of a FlatBuffer are signed and have 32 bits
WIDE_FRACTION = 0.25  # of the weights, which "mixed" has in int8


def checked_options(
    model: GPT2Model,
    path: str | Path,
    context_length: int | None,
    dtype: str,
    calibrate: Text | Sequence[Text] | None = None,
) -> tuple[Path, int, Calibration | None]:
    """Returns the path of a new file, its context length, by default the model's, and calibration.

    Raises:
        FileExistsError: If the file exists.
        TypeError, ValueError: If `context_length` is below 2 or above the model's, or
            `dtype` is none of `LITERT_DTYPES`; if the float32 file would be larger than a
            FlatBuffer can be; if `dtype` is `"int4"` or `"mixed"` and a width of the model
            is no multiple of `BLOCK_SIZE`; or as `Calibration.of` says; if a text is given to a
            dtype that is not rounded, or none to `"mixed"`.
        ImportError: If `dtype` needs litert-quantizer, and that is missing.
    """
    path, config = Path(path), model.config
    check_output_file(path)
    if context_length is None:
        context_length = config.context_length
    advice = "The maximum is the model's context_length."
    check_integer(
        "context_length", context_length, minimum=2, maximum=config.context_length, advice=advice
    )
    check_choice("dtype", dtype, LITERT_DTYPES)
    size = 4 * config.num_parameters
    if size > LARGEST_FILE:
        raise ValueError(
            f"The model takes {size / 1e9:.1f} GB in float32, and a .tflite, which is written in "
            f"float32 before it is quantized, has at most {LARGEST_FILE / 1e9:.1f} GB. Prune or "
            "distill it (docs/compression.md), or export a SavedModel or GGUF."
        )
    if dtype in ("int4", "mixed") and (
        config.hidden_dim % BLOCK_SIZE or config.feed_forward_dim % BLOCK_SIZE
    ):
        raise ValueError(
            f"hidden_dim={config.hidden_dim}, feed_forward_dim={config.feed_forward_dim} are not "
            f"both multiples of {BLOCK_SIZE}, which dtype={dtype!r} needs. Use dtype='int8'."
        )
    if dtype != "float32" and importlib.util.find_spec("litert_quantizer") is None:
        raise ImportError(
            f"litert-quantizer is not installed, which dtype={dtype!r} needs. "
            "Run: pip install 'gpt2-keras[litert]'."
        )
    if calibrate is None and dtype == "mixed":
        raise ValueError(
            "dtype='mixed' is chosen by the loss on text, and there is none. Use calibrate, with a "
            "text like that which the model was trained on."
        )
    if calibrate is not None and dtype in ("float32", "float16"):
        raise ValueError(
            f"calibrate is given, but dtype={dtype!r} is not rounded to integers. Leave it out, or "
            "use dtype='int8', 'int4' or 'mixed'."
        )
    calibration = None if calibrate is None else Calibration.of(model, calibrate)
    return path, context_length, calibration


def quantize(contents: bytes, dtype: str, calibration: Calibration | None = None) -> bytes:
    """Returns a `.tflite` file with the weights of matrix products and embeddings in a type.

    The activations stay float32 in the file, as static quantization of them ruins GPT-2: with
    the integers the runtime quantizes the activations of each product dynamically; `"float16"`
    weights are converted to float32 when the file is loaded. `"int8"` has a scale per output
    channel. `"int4"` has one per block of 32 weights, and int8 for the embeddings and the product
    of the logits, which share their table. `"mixed"` is int4, but int8 for a quarter of the
    weights: those of the products whose int4 costs the most, measured by the calibration.

    Args:
        contents: The float32 file.
        dtype: One of `LITERT_DTYPES`.
        calibration: The model and text, by which the integers are rounded: see `gptq`. By default
            each is rounded to the nearest.
    """
    if dtype == "float32":
        return contents
    from litert_quantizer import quantizer

    wide = set[bytes]()
    if dtype == "mixed":
        assert calibration is not None  # noqa: S101 -- `checked_options` has seen to it
        wide = _widest(calibration)
    tool = quantizer.Quantizer(bytearray(contents))
    _add_recipe(tool, contents, dtype, wide)
    quiet = {"enable_progress_bar": False, "enable_progress_report": False}
    result = tool.quantize(**quiet).quantized_model
    assert result is not None  # noqa: S101 -- tells the type checker
    quantized = bytearray(result)
    if calibration is not None:
        round_by_calibration(quantized, contents, calibration)
    return bytes(quantized)


def _add_recipe(tool: Any, contents: bytes, dtype: str, wide: Collection[bytes]) -> None:
    """Tells the quantizer which op has which weights; `wide` kernels stay int8 beside int4."""
    from litert_quantizer import qtyping
    from litert_quantizer.algorithm_manager import AlgorithmName

    names = qtyping.TFLOperationName
    if dtype == "float16":
        for name in (names.FULLY_CONNECTED, names.EMBEDDING_LOOKUP):
            tool.update_quantization_recipe(
                ".*",
                name,
                qtyping.OpQuantizationConfig(
                    weight_tensor_config=qtyping.TensorQuantizationConfig(
                        num_bits=16, dtype=qtyping.TensorDataType.FLOAT
                    ),
                    compute_precision=qtyping.ComputePrecision.FLOAT,
                    explicit_dequantize=True,
                ),
                AlgorithmName.FLOAT_CASTING,
            )
        return
    tool.add_dynamic_config(".*", names.EMBEDDING_LOOKUP, num_bits=8)
    tool.add_dynamic_config(".*", names.FULLY_CONNECTED, num_bits=8)
    if dtype != "int8":
        granularity = qtyping.QuantGranularity[f"BLOCKWISE_{BLOCK_SIZE}"]
        for name in _products_without_table(contents, wide):
            tool.add_dynamic_config(re.escape(name), names.FULLY_CONNECTED, 4, granularity)


def _widest(calibration: Calibration) -> set[bytes]:
    """Returns the kernels, as bytes, whose int4 costs the most: of a quarter of the weights."""
    costs = calibration.losses_of(_in_int4)
    kernels = {
        layer.path: layer.merged_kernel()
        for index in range(calibration.model.config.num_layers)
        for layer in (calibration.layer(index, product) for product in PRODUCTS)
    }
    left = WIDE_FRACTION * sum(kernel.size for kernel in kernels.values())
    wide = set()
    for path in sorted(costs, key=lambda path: -costs[path] / kernels[path].size):
        if kernels[path].size <= left:
            left -= kernels[path].size
            wide.add(kernels[path].tobytes())
    return wide


def _in_int4(kernel: np.ndarray) -> np.ndarray:
    """Returns a kernel, (units, width), rounded to int4 in blocks."""
    blocks = kernel.reshape(len(kernel), -1, BLOCK_SIZE)
    largest = np.abs(blocks).max(axis=2, keepdims=True)
    scales = np.where(largest > 0, largest / INT4_MAX, 1.0)
    return (np.rint(blocks / scales) * scales).astype("float32").reshape(kernel.shape)


def _products_without_table(contents: bytes, wide: Collection[bytes] = ()) -> set[str]:
    """Returns the output names of all products but those with the table of an embedding.

    Args:
        contents: The float32 file.
        wide: Weights, as bytes, whose products are left out too.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(contents))
    codes = [code.builtinCode for code in model.operatorCodes]
    weights: dict[int, list[tuple[str, int]]] = {}
    for graph in model.subgraphs:
        for op in graph.operators:
            if codes[op.opcodeIndex] not in _WEIGHTED_OPS:
                continue
            table, output = graph.tensors[op.inputs[1]], graph.tensors[op.outputs[0]]
            weights.setdefault(codes[op.opcodeIndex], []).append(
                (output.name.decode(), table.buffer)
            )
    left_out = {buffer for _, buffer in weights.get(schema.BuiltinOperator.EMBEDDING_LOOKUP, [])}
    products = weights.get(schema.BuiltinOperator.FULLY_CONNECTED, [])
    left_out |= {
        buffer for _, buffer in products if np.asarray(model.buffers[buffer].data).tobytes() in wide
    }
    return {name for name, buffer in products if buffer not in left_out}
