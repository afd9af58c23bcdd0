"""Smaller weights in a `.tflite` file, by Google's ai-edge-quantizer."""

import contextlib
import importlib.util
import io
import re
from pathlib import Path

from gpt2_keras.config import GPT2Config
from gpt2_keras.model import GPT2Model
from gpt2_keras.private_api import lite_schema

schema = lite_schema()


LITERT_DTYPES = ("float32", "float16", "int8", "int4")
_WITH_WEIGHTS = (schema.BuiltinOperator.FULLY_CONNECTED, schema.BuiltinOperator.EMBEDDING_LOOKUP)
BLOCK_SIZE = 32  # weights that share a scale in int4; the smallest that XNNPACK has kernels for


def check_dtype(dtype: str, config: GPT2Config) -> None:
    """Raises if the weights of a model cannot be stored in a type.

    Raises:
        ValueError: If it is none of `LITERT_DTYPES`, or `"int4"` and a width is no
            multiple of `BLOCK_SIZE`.
        ImportError: If ai-edge-quantizer is needed and missing.
    """
    if dtype not in LITERT_DTYPES:
        raise ValueError(
            f"`dtype` must be one of {', '.join(LITERT_DTYPES)}. Received: dtype={dtype!r}."
        )
    if dtype == "int4" and (config.hidden_dim % BLOCK_SIZE or config.feed_forward_dim % BLOCK_SIZE):
        raise ValueError(
            f"int4 needs widths that are multiples of {BLOCK_SIZE}. "
            f"Received: hidden_dim={config.hidden_dim}, "
            f"feed_forward_dim={config.feed_forward_dim}. Use dtype='int8'."
        )
    if dtype != "float32" and importlib.util.find_spec("ai_edge_quantizer") is None:
        raise ImportError(
            "Smaller weights need ai-edge-quantizer, which is not installed. "
            f"Received: dtype={dtype!r}. Run: pip install 'gpt2-keras[litert]'."
        )


def quantize(contents: bytes, dtype: str) -> bytes:
    """Returns a `.tflite` file with the weights of its products and embeddings in a type.

    Never the activations, which ruins GPT-2: of `"int8"` and `"int4"` the runtime makes
    integers of the activations of each product as it goes; `"float16"` is widened again
    when the file is loaded. `"int8"` has a scale for each output channel. `"int4"` has one
    for each 32 weights of a product, and int8 for the embeddings and the product of the
    logits, which share their table.

    Args:
        contents: The float32 file.
        dtype: One of `LITERT_DTYPES`.
    """
    if dtype == "float32":
        return contents
    from ai_edge_quantizer import qtyping, quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    work = quantizer.Quantizer(bytearray(contents))
    names = qtyping.TFLOperationName
    if dtype == "float16":
        for name in (names.FULLY_CONNECTED, names.EMBEDDING_LOOKUP):
            work.update_quantization_recipe(
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
        work.add_dynamic_config(".*", names.EMBEDDING_LOOKUP, num_bits=8)
        work.add_dynamic_config(".*", names.FULLY_CONNECTED, num_bits=8)
    if dtype == "int4":
        granularity = qtyping.QuantGranularity[f"BLOCKWISE_{BLOCK_SIZE}"]
        for name in _products_of_blocks(contents):
            work.add_dynamic_config(re.escape(name), names.FULLY_CONNECTED, 4, granularity)
    with contextlib.redirect_stdout(io.StringIO()):  # its own report
        result = work.quantize().quantized_model
    assert result is not None  # noqa: S101 -- tells the type checker
    return bytes(result)


def _products_of_blocks(contents: bytes) -> set[str]:
    """Returns the outputs of all products but those with a table that is looked up in, too."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(contents))
    codes = [code.builtinCode for code in model.operatorCodes]
    weights: dict[int, list[tuple[str, int]]] = {}
    for graph in model.subgraphs:
        for op in graph.operators:
            if codes[op.opcodeIndex] not in _WITH_WEIGHTS:
                continue
            table, output = graph.tensors[op.inputs[1]], graph.tensors[op.outputs[0]]
            weights.setdefault(codes[op.opcodeIndex], []).append(
                (output.name.decode(), table.buffer)
            )
    looked_up = {buffer for _, buffer in weights.get(schema.BuiltinOperator.EMBEDDING_LOOKUP, [])}
    products = weights.get(schema.BuiltinOperator.FULLY_CONNECTED, [])
    return {name for name, buffer in products if buffer not in looked_up}


def checked_options(
    model: GPT2Model, path: str | Path, context_length: int | None, dtype: str
) -> tuple[Path, int]:
    """Returns the new file's path and its context, the model's if none is asked for.

    Raises:
        FileExistsError: If the path is taken.
        ValueError: If `context_length` is below 2 or above the model's, or `dtype`
            is unknown or not for this model.
        ImportError: If `dtype` needs ai-edge-quantizer, and that is missing.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(
            "The output must be a new file; nothing is overwritten. "
            f"Received: {path}, which exists. Name another place, or move it away first."
        )
    if context_length is None:
        context_length = model.config.context_length
    if not 2 <= context_length <= model.config.context_length:
        raise ValueError(
            "`context_length` must be at least 2 and at most the model's. "
            f"Received: context_length={context_length}, of {model.config.context_length}."
        )
    check_dtype(dtype, model.config)
    return path, context_length
