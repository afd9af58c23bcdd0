"""The options of a file for devices, and its weights in smaller types by ai-edge-quantizer."""

import contextlib
import importlib.util
import io
import re
from pathlib import Path

from gpt2_keras.atomic import check_output_file
from gpt2_keras.model import GPT2Model
from gpt2_keras.private_api.tensorflow import lite_schema
from gpt2_keras.validation import check_choice, check_integer

schema = lite_schema()


LITERT_DTYPES = ("float32", "float16", "int8", "int4")
_WEIGHTED_OPS = (schema.BuiltinOperator.FULLY_CONNECTED, schema.BuiltinOperator.EMBEDDING_LOOKUP)
BLOCK_SIZE = 32  # weights that share a scale in int4; the smallest that XNNPACK has kernels for


def checked_options(
    model: GPT2Model, path: str | Path, context_length: int | None, dtype: str
) -> tuple[Path, int]:
    """Returns the path of a new file and its context length, by default the model's.

    Raises:
        FileExistsError: If the file exists.
        TypeError, ValueError: If `context_length` is below 2 or above the model's, or
            `dtype` is none of `LITERT_DTYPES`, or `"int4"` and a width of the model is
            no multiple of `BLOCK_SIZE`.
        ImportError: If `dtype` needs ai-edge-quantizer, and that is missing.
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
    if dtype == "int4" and (config.hidden_dim % BLOCK_SIZE or config.feed_forward_dim % BLOCK_SIZE):
        raise ValueError(
            f"hidden_dim={config.hidden_dim}, feed_forward_dim={config.feed_forward_dim} are not "
            f"both multiples of {BLOCK_SIZE}, which dtype='int4' needs. Use dtype='int8'."
        )
    if dtype != "float32" and importlib.util.find_spec("ai_edge_quantizer") is None:
        raise ImportError(
            f"ai-edge-quantizer is not installed, which dtype={dtype!r} needs. "
            "Run: pip install 'gpt2-keras[litert]'."
        )
    return path, context_length


def quantize(contents: bytes, dtype: str) -> bytes:
    """Returns a `.tflite` file with the weights of matrix products and embeddings in a type.

    The activations stay float32 in the file, as static quantization of them ruins GPT-2:
    with `"int8"` and `"int4"` the runtime quantizes the activations of each product
    dynamically; `"float16"` weights are converted to float32 when the file is loaded.
    `"int8"` has a scale per output channel. `"int4"` has one per block of 32 weights, and
    int8 for the embeddings and the product of the logits, which share their table.

    Args:
        contents: The float32 file.
        dtype: One of `LITERT_DTYPES`.
    """
    if dtype == "float32":
        return contents
    from ai_edge_quantizer import qtyping, quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    tool = quantizer.Quantizer(bytearray(contents))
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
    else:
        tool.add_dynamic_config(".*", names.EMBEDDING_LOOKUP, num_bits=8)
        tool.add_dynamic_config(".*", names.FULLY_CONNECTED, num_bits=8)
    if dtype == "int4":
        granularity = qtyping.QuantGranularity[f"BLOCKWISE_{BLOCK_SIZE}"]
        for name in _products_without_table(contents):
            tool.add_dynamic_config(re.escape(name), names.FULLY_CONNECTED, 4, granularity)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints a report
        result = tool.quantize().quantized_model
    assert result is not None  # noqa: S101 -- tells the type checker
    return bytes(result)


def _products_without_table(contents: bytes) -> set[str]:
    """Returns the output names of all products but those with the table of an embedding."""
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
    looked_up = {buffer for _, buffer in weights.get(schema.BuiltinOperator.EMBEDDING_LOOKUP, [])}
    products = weights.get(schema.BuiltinOperator.FULLY_CONNECTED, [])
    return {name for name, buffer in products if buffer not in looked_up}
