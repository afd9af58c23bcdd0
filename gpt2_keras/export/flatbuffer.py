"""What LiteRT's converter leaves to do on a `.tflite` file: each thing once in it, and metadata."""

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np
from tensorflow.lite.tools import flatbuffer_utils

from gpt2_keras.private_api import lite_schema
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

    Embeddings become `EMBEDDING_LOOKUP`, which takes a quantised table and can share
    it with the output projection; `GATHER` cannot.

    Args:
        contents: What the converter made.
        metadata: Is written as JSON under the name `gpt2_keras`.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(contents))
    _look_up_embeddings(model)
    _share_constants(model)
    for graph in model.subgraphs:
        for op in list(graph.operators):
            if model.operatorCodes[op.opcodeIndex].builtinCode == _BUILTIN.WHILE:
                _take_variables_inside(model, graph, op)
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
    """Replaces each `GATHER` of rows of float numbers that are part of the file."""
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


def _take_variables_inside(model: Any, graph: Any, loop: Any) -> None:
    """Makes the body of a loop name the variables that it uses, instead of being given them.

    XNNPACK takes over the variables that a subgraph names; those that it is given are
    copied by a single thread. Loops inside come later in the file than those around them.
    """
    handles = {
        int(op.outputs[0]): op
        for op in graph.operators
        if model.operatorCodes[op.opcodeIndex].builtinCode == _BUILTIN.VAR_HANDLE
    }
    places = [place for place, tensor in enumerate(loop.inputs) if int(tensor) in handles]
    body = model.subgraphs[loop.builtinOptions.bodySubgraphIndex]
    cond = model.subgraphs[loop.builtinOptions.condSubgraphIndex]
    for place in places:
        handle = copy.copy(handles[int(loop.inputs[place])])
        handle.outputs = [body.inputs[place]]
        body.operators.insert(0, handle)
    for owner in (loop, body, cond):
        owner.inputs = [t for place, t in enumerate(owner.inputs) if place not in places]
        if owner is not cond:
            owner.outputs = [t for place, t in enumerate(owner.outputs) if place not in places]
    used = {int(tensor) for op in graph.operators for tensor in op.inputs}
    graph.operators = [
        op for op in graph.operators if op not in handles.values() or int(op.outputs[0]) in used
    ]


def _share_constants(model: Any) -> None:
    """Leaves one buffer of those that hold the same."""
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
    """Merges subgraphs that are the same but for names; returns whether there were any.

    Each signature has its own copy of loops and branches, and XNNPACK keeps the weights
    of each in a form of its own.
    """
    # Tensors without contents have buffers of their own, which are empty and say nothing.
    empty = {i for i, buffer in enumerate(model.buffers) if buffer.data is None}
    first: dict[Any, int] = {}
    target = {}
    entry_points = {0, *(signature.subgraphIndex for signature in model.signatureDefs)}
    for index, graph in enumerate(model.subgraphs):
        same = first.setdefault(_meaning(graph, empty), index)
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


def _meaning(graph: Any, empty: set[int]) -> Any:
    """Returns all of a subgraph but its names, as something to compare."""
    number: dict[int, int] = {-1: -1}  # what an optional input that is left out has

    def numbers(tensors: Any) -> list[int]:
        # Counted as they come: the converter's own order differs from copy to copy.
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
