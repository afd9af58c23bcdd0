"""Reads a `.tflite` file without running it: types, ops, sizes of inputs, metadata."""

from pathlib import Path
from typing import Any

import numpy as np

from gpt2_keras.json_text import parse_json
from gpt2_keras.private_api.tensorflow import lite_schema
from gpt2_keras.verification.artifact import Artifact

schema = lite_schema()

METADATA_NAME = "gpt2_keras"


class LiteRTContents:
    """The FlatBuffer of a `.tflite` file.

    Args:
        data: The file, uint8 `(size,)`.
    """

    def __init__(self, data: np.ndarray) -> None:
        self.model: Any = schema.Model.GetRootAs(data)

    def dtype(self) -> str:
        """Returns the smallest type among those of the constants, tables of integers left out.

        `"mixed"` if there are products in int4 and, besides that of the token embeddings, in int8.
        """
        if self._has_mixed_products():
            return "mixed"
        found = set()
        for graph in self.graphs():
            for tensor in map(graph.Tensors, range(graph.TensorsLength())):
                buffer = self.model.Buffers(tensor.Buffer())
                # The large ones of a quantized file are stored after the FlatBuffer.
                if buffer.DataLength() == 0 and buffer.Offset() == 0:
                    continue
                scaled = tensor.Quantization() and tensor.Quantization().ScaleLength()
                if tensor.Type() == schema.TensorType.INT4:
                    found.add("int4")
                elif tensor.Type() == schema.TensorType.INT8 and scaled:
                    found.add("int8")
                elif tensor.Type() == schema.TensorType.FLOAT16:
                    found.add("float16")
        return next((name for name in ("int4", "int8", "float16") if name in found), "float32")

    def _has_mixed_products(self) -> bool:
        codes = [code.BuiltinCode() for code in self._codes()]
        tables, products = set(), set()
        for graph in self.graphs():
            for op in map(graph.Operators, range(graph.OperatorsLength())):
                code = codes[op.OpcodeIndex()]
                if code == schema.BuiltinOperator.FULLY_CONNECTED:
                    weights = graph.Tensors(op.Inputs(1))
                    products.add((weights.Buffer(), weights.Type()))
                elif code == schema.BuiltinOperator.EMBEDDING_LOOKUP:
                    tables.add(graph.Tensors(op.Inputs(1)).Buffer())
        types = {dtype for buffer, dtype in products if buffer not in tables}
        return types == {schema.TensorType.INT4, schema.TensorType.INT8}

    def ops(self) -> list[str]:
        """Returns the names of the ops, a custom op by its own name."""
        names = {code: name for name, code in vars(schema.BuiltinOperator).items()}
        builtin = {names[code.BuiltinCode()] for code in self._codes()} - {"CUSTOM"}
        return sorted(builtin | set(self.non_builtin_ops()))

    def non_builtin_ops(self) -> list[str]:
        """Returns the names of the custom ops, TensorFlow's (Flex) among them."""
        custom = schema.BuiltinOperator.CUSTOM
        return sorted(
            code.CustomCode().decode() for code in self._codes() if code.BuiltinCode() == custom
        )

    def graphs(self) -> list[Any]:
        """Returns the subgraphs."""
        return [self.model.Subgraphs(i) for i in range(self.model.SubgraphsLength())]

    def input_shape(self, signature: str, name: str) -> list[int]:
        """Returns the shape of a signature's input; empty if there is no such input."""
        for entry in map(self.model.SignatureDefs, range(self.model.SignatureDefsLength())):
            inputs = map(entry.Inputs, range(entry.InputsLength()))
            found = (each for each in inputs if each.Name().decode() == name)
            if entry.SignatureKey().decode() == signature and (tensor := next(found, None)):
                graph = self.model.Subgraphs(entry.SubgraphIndex())
                return list(map(int, graph.Tensors(tensor.TensorIndex()).ShapeAsNumpy()))
        return []

    def _codes(self) -> list[Any]:
        return [self.model.OperatorCodes(i) for i in range(self.model.OperatorCodesLength())]


class LiteRTBased(Artifact):
    """An artifact that is a `.tflite` file, or contains one.

    Args:
        path: The file.
        data: The `.tflite` file, uint8 `(size,)`.
    """

    op_set = "LiteRT's builtin ops"

    def __init__(self, path: Path, data: np.ndarray) -> None:
        super().__init__(path)
        self.contents = LiteRTContents(data)

    @property
    def dtype(self) -> str:
        """How the weights are stored; see `LiteRTContents.dtype`."""
        return self.contents.dtype()

    def ops(self) -> list[str]:
        """Returns the names of the ops."""
        return self.contents.ops()

    def non_builtin_ops(self) -> list[str]:
        """Returns the names of the custom ops."""
        return self.contents.non_builtin_ops()


def read_metadata(contents: bytes | np.ndarray) -> dict[str, Any] | None:
    """Returns the metadata that `export.flatbuffer.finish` wrote; None if there is none."""
    model = schema.Model.GetRootAsModel(contents, 0)
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == METADATA_NAME.encode():
            data = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
            found: dict[str, Any] = parse_json(data)
            return found
    return None
