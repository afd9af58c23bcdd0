"""Rewrites a converted `.tflite` file: constants and subgraphs once, and metadata."""

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np
from tensorflow.lite.tools import flatbuffer_utils

from gpt2_keras.private_api.tensorflow import lite_schema
from gpt2_keras.verification.litert_metadata import METADATA_NAME

schema = lite_schema()


_BUILTIN = schema.BuiltinOperator
# The fields of an op's options that name another subgraph.
_REFERENCES = (
    "condSubgraphIndex",
    "bodySubgraphIndex",
    "thenSubgraphIndex",
    "elseSubgraphIndex",
    "initSubgraphIndex",
)


def finish(contents: bytes, metadata: Mapping[str, Any]) -> bytes:
    """Returns a `.tflite` file with repeated constants and subgraphs merged, and metadata.

    Embeddings become `EMBEDDING_LOOKUP`, which can share a quantized table with the
    output projection; `GATHER` cannot.

    Args:
        contents: The converter's file.
        metadata: Written as JSON under the name `gpt2_keras`.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(contents))
    _look_up_embeddings(model)
    _merge_constants(model)
    for graph in model.subgraphs:
        for op in list(graph.operators):
            if model.operatorCodes[op.opcodeIndex].builtinCode == _BUILTIN.WHILE:
                _move_variables_inside(model, graph, op)
    while _merge_subgraphs(model):
        pass
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(json.dumps(dict(metadata), sort_keys=True).encode(), np.uint8)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    return _to_bytes(model)


def _to_bytes(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _look_up_embeddings(model: Any) -> None:
    """Replaces each `GATHER` of rows of a constant float32 matrix by `EMBEDDING_LOOKUP`."""
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = _BUILTIN.EMBEDDING_LOOKUP
    code.version = 1
    model.operatorCodes.append(code)
    for graph in model.subgraphs:
        for op in graph.operators:
            if model.operatorCodes[op.opcodeIndex].builtinCode != _BUILTIN.GATHER:
                continue
            table, rows = (graph.tensors[index] for index in op.inputs)
            constant = model.buffers[table.buffer].data is not None
            floats = table.type == schema.TensorType.FLOAT32 and len(table.shape) == 2
            if constant and floats and len(rows.shape) == 1 and op.builtinOptions.axis == 0:
                op.opcodeIndex = len(model.operatorCodes) - 1
                op.inputs = op.inputs[::-1]
                op.builtinOptions, op.builtinOptionsType = None, 0


def _move_variables_inside(model: Any, graph: Any, loop: Any) -> None:
    """Gives the body of a loop its own handles of variables, instead of handles as inputs.

    XNNPACK runs variables whose handles are in the subgraph; variables that are inputs are
    copied by a single thread. Inner loops come later in the file than the outer ones.
    """
    handles = {
        int(op.outputs[0]): op
        for op in graph.operators
        if model.operatorCodes[op.opcodeIndex].builtinCode == _BUILTIN.VAR_HANDLE
    }
    indices = [index for index, tensor in enumerate(loop.inputs) if int(tensor) in handles]
    body = model.subgraphs[loop.builtinOptions.bodySubgraphIndex]
    cond = model.subgraphs[loop.builtinOptions.condSubgraphIndex]
    for index in indices:
        handle = copy.copy(handles[int(loop.inputs[index])])
        handle.outputs = [body.inputs[index]]
        body.operators.insert(0, handle)
    for owner in (loop, body, cond):
        owner.inputs = [t for index, t in enumerate(owner.inputs) if index not in indices]
        if owner is not cond:
            owner.outputs = [t for index, t in enumerate(owner.outputs) if index not in indices]
    used = {int(tensor) for op in graph.operators for tensor in op.inputs}
    graph.operators = [
        op for op in graph.operators if op not in handles.values() or int(op.outputs[0]) in used
    ]


def _merge_constants(model: Any) -> None:
    """Keeps one buffer of those with equal contents."""
    first: dict[Any, int] = {}
    target = {}
    for index, buffer in enumerate(model.buffers):
        if buffer.data is not None:
            target[index] = first.setdefault(hashlib.sha256(buffer.data).digest(), index)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = target.get(tensor.buffer, tensor.buffer)
    for index, kept in target.items():
        if index != kept:
            model.buffers[index].data = None


def _merge_subgraphs(model: Any) -> bool:
    """Merges subgraphs that are equal but for names; returns whether there were any.

    The converter copies loops and branches for each signature, and XNNPACK repacks the
    weights of each copy.
    """
    # Tensors without contents have empty buffers of their own, which do not tell them apart.
    empty = {i for i, buffer in enumerate(model.buffers) if buffer.data is None}
    first: dict[Any, int] = {}
    target = {}
    entry_points = {0, *(signature.subgraphIndex for signature in model.signatureDefs)}
    for index, graph in enumerate(model.subgraphs):
        same = first.setdefault(_structure(graph, empty), index)
        target[index] = index if index in entry_points else same
    kept = [index for index in target if target[index] == index]
    if len(kept) == len(target):
        return False
    number = {old: new for new, old in enumerate(kept)}
    for graph in model.subgraphs:
        for op in graph.operators:
            for name in _REFERENCES:
                if hasattr(op.builtinOptions, name):
                    old = getattr(op.builtinOptions, name)
                    setattr(op.builtinOptions, name, number[target[old]])
    for signature in model.signatureDefs:
        signature.subgraphIndex = number[signature.subgraphIndex]
    model.subgraphs = [model.subgraphs[index] for index in kept]
    return True


def _structure(graph: Any, empty: set[int]) -> Any:
    """Returns all of a subgraph but its names, as nested tuples that compare equal."""
    number: dict[int, int] = {-1: -1}  # -1 is an optional input that is left out

    def numbers(tensors: Any) -> list[int]:
        # In order of first use: the converter's numbers differ from copy to copy.
        return [number.setdefault(int(tensor), len(number)) for tensor in tensors]

    inputs = numbers(graph.inputs)
    operators = [
        (op.opcodeIndex, numbers(op.inputs), numbers(op.outputs), op.builtinOptions)
        for op in graph.operators
    ]
    outputs = numbers(graph.outputs)
    tensors = [
        (t.shape, t.shapeSignature, t.type, 0 if t.buffer in empty else t.buffer, t.isVariable)
        for t in (graph.tensors[index] for index in number if index >= 0)
    ]
    return _plain([tensors, operators, inputs, outputs])


def _plain(value: Any) -> Any:
    """Returns a value of the schema as nested tuples."""
    if isinstance(value, np.ndarray | list | tuple):
        return tuple(_plain(item) for item in value)
    if hasattr(value, "__dict__"):
        return (type(value).__name__, *sorted((k, _plain(v)) for k, v in vars(value).items()))
    return int(value) if isinstance(value, np.integer) else value
